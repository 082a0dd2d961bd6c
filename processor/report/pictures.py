"""Pictures of the mosaic itself: thumbnail, overview with seamlines, and which scene each pixel came from.

Drawn with Agg alone, under the library's own defaults whatever the user's settings are, and without metadata: the same
arrays give the same bytes.
"""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import shapely
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from PIL import Image

from processor.model import Band, Bounds, Cell
from processor.report.figures import Preview
from processor.report.units import CrsLabel

__all__ = [
    "INK",
    "MUTED",
    "PALETTE",
    "Picture",
    "draw_coverage",
    "draw_mosaic",
    "elide",
    "encode_png",
    "make_figure",
    "plain_style",
    "render_thumbnail",
    "stretch",
]

# Colours that people with any common colour blindness tell apart: Okabe and Ito 2008, "Color universal design".
PALETTE: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#8C8C8C")
INK: Final = "#1b1f24"
MUTED: Final = "#667079"
_SEAM: Final = "#F0E442"
_GAP: Final = "#ffffff"

_DPI: Final = 120
_WIDTH: Final = 10.0  # inches: 1,200 pixels
_TALLEST: Final = 8.0  # inches of map
_PIXELS: Final = 1000  # longest side of the image inside a map
_JPEG_LIMIT: Final = 600_000  # bytes
_NAMED: Final = 12  # scenes that get their name on a map
_NUMBERED: Final = 60  # scenes that get a number
_LOCK: Final = threading.Lock()
_STYLE: Final[dict[str, Any]] = {
    "axes.edgecolor": "#b4bcc4",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.formatter.useoffset": False,
    "font.size": 9,
    "grid.color": "#e4e8ec",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An encoded picture.

    name: short word, unique in a report.
    media_type: IANA media type.
    data: the encoded bytes.
    width, height: pixels.
    alt: what it shows, for those who cannot see it.
    """

    name: str
    media_type: str
    data: bytes
    width: int
    height: int
    alt: str


@contextmanager
def plain_style() -> Iterator[None]:
    """The library's defaults and this report's style, instead of the user's settings, which are put back."""
    with _LOCK, mpl.rc_context():
        settings: Any = mpl.rcParams  # whose keys are typed one by one
        mpl.rcdefaults()
        settings.update(_STYLE)
        yield


def make_figure(height: float, width: float = _WIDTH) -> Figure:
    """An empty figure of a size in inches, drawn without any window system."""
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _rasterise(figure: Figure) -> Image.Image:
    canvas: Any = figure.canvas  # Agg's, from make_figure
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _encode(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def encode_png(figure: Figure, name: str, alt: str) -> Picture:
    """A figure as PNG."""
    image = _rasterise(figure)
    data = _encode(image, "PNG", compress_level=6)
    return Picture(name=name, media_type="image/png", data=data, width=image.width, height=image.height, alt=alt)


def _encode_jpeg(figure: Figure, name: str, alt: str) -> Picture:
    """A figure that is mostly a photograph, as JPEG of at most about 600 kB."""
    image = _rasterise(figure)
    data = b""
    for quality in (88, 78, 66, 52, 36):
        data = _encode(image, "JPEG", quality=quality, subsampling=0 if quality > 60 else 2)
        if len(data) <= _JPEG_LIMIT:
            break
    return Picture(name=name, media_type="image/jpeg", data=data, width=image.width, height=image.height, alt=alt)


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(FT2Font(str(Path(mpl.get_data_path()) / "fonts/ttf/DejaVuSans.ttf")).get_charmap())


def elide(text: str, length: int) -> str:
    """A label of at most ``length`` characters that the font can draw; the middle gives way: names differ at their ends."""
    drawn = "".join(c if ord(c) in _glyphs() and c.isprintable() else "?" for c in text)
    if len(drawn) <= length:
        return drawn
    head = (length - 1) // 2
    return f"{drawn[:head]}…{drawn[head + 1 - length :]}"


def _choose_bands(bands: Sequence[Band], count: int) -> tuple[tuple[int, int, int], bool]:
    """Indexes of the bands to show as red, green and blue, and whether they are those colours."""
    common = [band.common_name for band in bands[:count]]
    if all(colour in common for colour in ("red", "green", "blue")):
        return (common.index("red"), common.index("green"), common.index("blue")), True
    return ((0, 1, 2), False) if count >= 3 else ((0, 0, 0), False)


def stretch(preview: Preview, bands: Sequence[Band]) -> Image.Image:
    """RGBA picture of the preview, transparent where it is not valid.

    Stretched from the 2nd to the 98th percentile of the valid pixels: over the three bands together where they are red, green
    and blue, which keeps their hue; each for itself where they are not, because their levels are not comparable.
    """
    chosen, natural = _choose_bands(bands, preview.values.shape[0])
    shown = preview.valid.copy()
    for band in {*chosen}:
        shown &= np.isfinite(preview.values[band])
    rgba = np.zeros((*shown.shape, 4), np.uint8)
    if shown.any():
        known = {band: np.percentile(preview.values[band][shown].astype(np.float64), (2, 98)) for band in {*chosen}}
        limits = np.array([known[band] for band in chosen]).T
        low = np.full(3, limits[0].min()) if natural else limits[0]
        high = np.full(3, limits[1].max()) if natural else limits[1]
        span = np.where(high > low, high - low, 1.0)
        for position, band in enumerate(chosen):  # one after the other: float64 is large
            scaled = preview.values[band][shown].astype(np.float64)
            scaled -= low[position]
            scaled /= span[position]
            np.clip(scaled, 0, 1, out=scaled)
            scaled *= 255
            rgba[shown, position] = np.rint(scaled, out=scaled).astype(np.uint8)
        rgba[shown, 3] = 255
    return Image.fromarray(rgba)


def _shrink(image: Image.Image, side: int, how: Image.Resampling) -> Image.Image:
    longest = max(image.size)
    if longest <= side:
        return image
    size = tuple(max(1, round(edge * side / longest)) for edge in image.size)
    return image.resize((size[0], size[1]), how)


def render_thumbnail(stretched: Image.Image, *, side: int = 512) -> bytes:
    """``overview.png``: the mosaic alone, as :func:`stretch` makes it, at most ``side`` pixels on the longer side."""
    return _encode(_shrink(stretched, side, Image.Resampling.BOX), "PNG", compress_level=6)


def _make_map(bounds: Bounds, label: CrsLabel, *, tallest: float = _TALLEST, legend: float = 0.0) -> tuple[Figure, Axes]:
    """A figure with one axes in CRS coordinates, as wide as the page or as tall as fits."""
    aspect = 1.0
    if label.geographic:  # a degree of longitude is shorter than one of latitude
        aspect = 1 / max(0.05, math.cos(math.radians(min(89.0, abs(bounds.bottom + bounds.top) / 2))))
    ratio = bounds.height * aspect / bounds.width
    width = min(_WIDTH - 1.0 - legend, tallest / ratio)
    height = max(1.0, width * ratio)
    figure = make_figure(height + 0.75, max(4.0, width + 1.0) + legend)
    margin_x, margin_y = bounds.width / 200, bounds.height / 200  # so that seamlines at the edge are drawn whole
    axes = figure.add_subplot()
    axes.set_aspect(aspect)
    axes.grid(visible=False)
    axes.set_xlim(bounds.left - margin_x, bounds.right + margin_x)
    axes.set_ylim(bounds.bottom - margin_y, bounds.top + margin_y)
    names = ("Longitude", "Latitude") if label.geographic else ("Easting", "Northing")
    axes.set_xlabel(f"{names[0]} ({label.unit})")
    axes.set_ylabel(f"{names[1]} ({label.unit})")
    axes.locator_params(nbins=5)
    axes.ticklabel_format(style="plain")
    for tick in axes.get_yticklabels():
        tick.set_rotation(90)
        tick.set_verticalalignment("center")
    return figure, axes


def _show(axes: Axes, image: Image.Image | NDArray[np.uint8], bounds: Bounds, how: str) -> None:
    extent = (bounds.left, bounds.right, bounds.bottom, bounds.top)
    limits = (axes.get_xlim(), axes.get_ylim())
    axes.imshow(np.asarray(image), extent=extent, interpolation=how, aspect=axes.get_aspect(), zorder=1)
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])


def _outlines(cells: Sequence[Cell], tolerance: float) -> list[NDArray[np.float64]]:
    """Rings of the cells, thinned to what the picture can show."""
    rings: list[NDArray[np.float64]] = []
    for cell in cells:
        for part in getattr(cell.polygon, "geoms", (cell.polygon,)):
            if part.is_empty:
                continue
            rings += [shapely.get_coordinates(ring.simplify(tolerance)) for ring in (part.exterior, *part.interiors)]
    return rings


def _draw_outlines(axes: Axes, rings: list[NDArray[np.float64]], colour: str, casing: str, width: float) -> None:
    axes.add_collection(LineCollection(rings, colors=casing, linewidths=2 * width, alpha=0.55, zorder=3), autolim=False)
    axes.add_collection(LineCollection(rings, colors=colour, linewidths=width, zorder=4), autolim=False)


def _draw_labels(axes: Axes, cells: Sequence[Cell], names: Sequence[str]) -> None:
    """Names of the scenes where their cells are widest; numbers of the table of scenes where there are many."""
    number = {name: position + 1 for position, name in enumerate(names)}
    if len(cells) > _NUMBERED:
        return
    for cell in cells:
        if cell.polygon.is_empty or cell.scene not in number:
            continue
        largest = max(getattr(cell.polygon, "geoms", (cell.polygon,)), key=lambda part: part.area)
        tolerance = math.sqrt(largest.area) / 100
        x, y = shapely.get_coordinates(shapely.maximum_inscribed_circle(largest, tolerance))[0]
        text = elide(cell.scene, 24) if len(names) <= _NAMED else str(number[cell.scene])
        axes.text(
            x,
            y,
            text,
            ha="center",
            va="center",
            fontweight="bold",
            clip_on=True,
            zorder=5,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )


def _line_width(cells: Sequence[Cell]) -> float:
    return 1.6 if len(cells) <= 40 else 0.9 if len(cells) <= 400 else 0.4


def draw_mosaic(
    preview: Preview, stretched: Image.Image, cells: Sequence[Cell], names: Sequence[str], label: CrsLabel
) -> Picture:
    """The mosaic with the seamlines and the names of the scenes.

    Parameters
    ----------
    preview
        The mosaic, decimated.
    stretched
        Made of it by :func:`stretch`.
    cells
        What each scene owns; empty where there are no seamlines.
    names
        Of all scenes, in input order; above a dozen, their numbers are shown instead.
    label
        Of the coordinate reference system.
    """
    with plain_style():
        figure, axes = _make_map(preview.bounds, label)
        image = _shrink(stretched, _PIXELS, Image.Resampling.BOX)
        _show(axes, image, preview.bounds, "auto")
        step = max(preview.bounds.width, preview.bounds.height) / max(image.size)
        _draw_outlines(axes, _outlines(cells, step / 2), _SEAM, "black", _line_width(cells))
        _draw_labels(axes, cells, names)
        return _encode_jpeg(figure, "mosaic", f"The mosaic with the seamlines of {len(cells)} cells.")


def draw_coverage(preview: Preview, cells: Sequence[Cell], names: Sequence[str], label: CrsLabel) -> Picture | None:
    """Which scene each pixel came from, in colours that differ between neighbours; None without a scene index."""
    if preview.scene_index is None:
        return None
    step = max(1, math.ceil(max(preview.scene_index.shape) / _PIXELS))
    index = preview.scene_index[::step, ::step].astype(np.int64)
    colours = _colour_scenes(index, len(names))
    table = np.array([mpl.colors.to_rgb(c) for c in (_GAP, *PALETTE)])
    rgb = np.rint(255 * table).astype(np.uint8)[colours][np.clip(index, 0, len(names))]
    listed = len(names) <= _NAMED
    with plain_style():
        figure, axes = _make_map(preview.bounds, label, tallest=0.75 * _TALLEST, legend=1.9 if listed else 0.0)
        _show(axes, rgb, preview.bounds, "nearest")
        tolerance = max(preview.bounds.width, preview.bounds.height) / _PIXELS / 2
        _draw_outlines(axes, _outlines(cells, tolerance), INK, "white", _line_width(cells) / 2)
        if listed:
            handles = [Patch(color=table[colours[1 + i]], label=elide(name, 26)) for i, name in enumerate(names)]
            figure.legend(handles=handles, loc="outside right upper", title="Scene", alignment="left")
        else:
            _draw_labels(axes, cells, names)
        return encode_png(figure, "coverage", f"Which of the {len(names)} scenes each pixel of the mosaic came from.")


def _colour_scenes(index: NDArray[np.int64], scenes: int) -> NDArray[np.intp]:
    """A colour for each scene, (scenes + 1,), 0 for none: neighbours differ as long as the palette allows."""
    colours = np.zeros(scenes + 1, np.intp)
    count = len(PALETTE) - 1  # grey and yellow only where needed
    neighbours = _neighbours(np.clip(index, 0, scenes))
    for scene in range(1, scenes + 1):
        if scenes <= len(PALETTE):
            colours[scene] = scene
            continue
        taken = {int(colours[other]) for other in neighbours.get(scene, ())}
        start = (scene - 1) % count
        order = [(start + shift) % count + 1 for shift in range(count)]
        colours[scene] = next((colour for colour in order if colour not in taken), len(PALETTE))
    return colours


def _neighbours(index: NDArray[np.int64]) -> dict[int, set[int]]:
    """Scenes that touch in the index."""
    sides = ((index[:, :-1], index[:, 1:]), (index[:-1], index[1:]))
    pairs = np.concatenate([np.stack([one[one != other], other[one != other]], axis=1) for one, other in sides])
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    touching: dict[int, set[int]] = {}
    for first, second in pairs.tolist():
        touching.setdefault(first, set()).add(second)
        touching.setdefault(second, set()).add(first)
    return touching
