"""Maps: the mosaic with its seamlines, and which scene each pixel came from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image

from processor.model import Bounds, Cell
from processor.model.colours import PALETTE
from processor.report.axes import CrsLabel, Scale, draw_columns, draw_rows, draw_turned
from processor.report.figures import Preview
from processor.report.pictures import encode, shrink
from processor.report.svg import (
    BLACK,
    FONT,
    WIDTH,
    Picture,
    assemble,
    draw_image,
    draw_path,
    draw_rectangle,
    draw_text,
    elide,
    measure_text,
    trace_lines,
)

_SEAM: Final = "#F0E442"
_OTHER: Final = "#D55E00"
_NO_SCENE: Final = "#ffffff"

_TALLEST: Final = 830  # pixels of map
_LEAST: Final = 100
_NARROWEST: Final = 420  # pixels of picture
_PIXELS: Final = 1000  # longest side of the image inside a map
_SMOOTH: Final = 3  # pixels of the screen: larger ones are shown as squares
_JPEG_LIMIT: Final = 600_000  # bytes
_NAMED: Final = 12  # scenes that get their name on a map
_NUMBERED: Final = 60  # scenes that get a number
_LEFT: Final = 46  # pixels for the numbers and the name of the vertical axis
_FOOT: Final = 44
_TOP: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class _Map:
    """Where a map lies in its picture."""

    x: Scale
    y: Scale
    """Scales of the coordinates, which show a little more than the bounds, so that outlines at the edge are whole."""
    bounds: Bounds
    """CRS units."""

    @property
    def width(self) -> float:
        """Of the picture, pixels."""
        return max(float(_NARROWEST), self.x.end + FONT)

    @property
    def height(self) -> float:
        """Of the picture, pixels."""
        return self.y.start + _FOOT

    @property
    def tolerance(self) -> float:
        """Half a pixel, CRS units: outlines need no more."""
        return abs(self.x.high - self.x.low) / abs(self.x.end - self.x.start) / 2

    def draw_raster(self, data: bytes, media_type: str, columns: int) -> str:
        """An encoded image of the bounds, so many columns wide."""
        left, right = self.x.place((self.bounds.left, self.bounds.right)).tolist()
        top, bottom = self.y.place((self.bounds.top, self.bounds.bottom)).tolist()
        smooth = (right - left) / columns < _SMOOTH
        return draw_image(left, top, right - left, bottom - top, data, media_type, smooth=smooth)

    def draw_axes(self, label: CrsLabel) -> list[str]:
        """Coordinates at the left and below."""
        names = ("Longitude", "Latitude") if label.geographic else ("Easting", "Northing")
        middle = (self.y.start + self.y.end) / 2
        return [
            '<g class="axes">',
            *draw_columns(self.x, self.y.end, self.y.start, f"{names[0]} ({label.unit})", grid=False),
            *draw_rows(self.y, self.x.start, self.x.end, grid=False, upright=False),
            draw_turned(FONT, middle, f"{names[1]} ({label.unit})"),
            "</g>",
        ]

    def draw_outlines(self, cells: Sequence[Cell], colour: str, casing: str, width: float) -> list[str]:
        """Outlines of the cells, thinned to what the picture can show, on a casing that keeps them apart from what is below."""
        rings = (
            np.stack([self.x.place(ring[:, 0]), self.y.place(ring[:, 1])], axis=1) for ring in _outlines(cells, self.tolerance)
        )
        data = trace_lines(rings)
        return [
            draw_path(data, fill="none", stroke_linejoin="round", stroke=casing, stroke_width=2 * width, stroke_opacity=0.55),
            draw_path(data, fill="none", stroke_linejoin="round", stroke=colour, stroke_width=width),
        ]

    def draw_lines(self, lines: shapely.Geometry, colour: str, width: float) -> str:
        """Lines in CRS units, thinned likewise."""
        parts = [shapely.get_coordinates(part) for part in shapely.get_parts(shapely.simplify(lines, self.tolerance))]
        data = trace_lines(np.stack([self.x.place(part[:, 0]), self.y.place(part[:, 1])], axis=1) for part in parts)
        return draw_path(data, fill="none", stroke_linejoin="round", stroke=colour, stroke_width=width) if data else ""

    def draw_labels(self, cells: Sequence[Cell], names: Sequence[str]) -> list[str]:
        """Names of the scenes where their cells are widest; numbers of the table of scenes where there are many."""
        number = {name: position + 1 for position, name in enumerate(names)}
        if len(cells) > _NUMBERED:
            return []
        parts = []
        for cell in cells:
            if cell.polygon.is_empty or cell.scene not in number:
                continue
            largest = max(getattr(cell.polygon, "geoms", (cell.polygon,)), key=lambda part: part.area)
            circle = shapely.maximum_inscribed_circle(largest, math.sqrt(largest.area) / 100)
            x, y = shapely.get_coordinates(circle)[0]
            text = elide(cell.scene, 24) if len(names) <= _NAMED else str(number[cell.scene])
            parts.append(
                draw_text(
                    float(self.x.place(x)),
                    float(self.y.place(y)) + 0.35 * FONT,
                    text,
                    text_anchor="middle",
                    font_weight="bold",
                    fill=BLACK,
                    paint_order="stroke",
                    stroke="white",
                    stroke_width=3.5,
                    stroke_linejoin="round",
                )
            )
        return parts


def _make_map(bounds: Bounds, label: CrsLabel, *, tallest: float = _TALLEST, legend: float = 0.0) -> _Map:
    """A map in CRS coordinates, as wide as the page or as tall as fits."""
    aspect = 1.0
    if label.geographic:  # a degree of longitude is shorter than one of latitude
        aspect = 1 / max(0.05, math.cos(math.radians(min(89.0, abs(bounds.bottom + bounds.top) / 2))))
    ratio = bounds.height * aspect / bounds.width
    width = min(WIDTH - _LEFT - FONT - legend, tallest / ratio)
    height = max(float(_LEAST), width * ratio)
    width = max(width, 1.0)
    margin_x, margin_y = bounds.width / 200, bounds.height / 200
    left, bottom = bounds.left - margin_x, bounds.bottom - margin_y
    return _Map(
        x=Scale(low=left, high=bounds.right + margin_x, start=_LEFT, end=_LEFT + width),
        y=Scale(low=bottom, high=bounds.top + margin_y, start=_TOP + height, end=_TOP),
        bounds=bounds,
    )


def _encode_jpeg(image: Image.Image) -> tuple[bytes, str]:
    """A photograph as JPEG of at most about 600 kB, white where it is transparent."""
    opaque = Image.new("RGB", image.size, "white")
    opaque.paste(image, mask=image.getchannel("A"))
    data = b""
    for quality in (88, 78, 66, 52, 36):
        data = encode(opaque, "JPEG", quality=quality, subsampling=0 if quality > 60 else 2)
        if len(data) <= _JPEG_LIMIT:
            break
    return data, "image/jpeg"


def _outlines(cells: Sequence[Cell], tolerance: float) -> list[NDArray[np.float64]]:
    """Rings of the cells, thinned to what the picture can show."""
    rings = shapely.simplify(shapely.get_rings(shapely.get_parts([cell.polygon for cell in cells])), tolerance)
    return [shapely.get_coordinates(ring) for ring in rings]


def _line_width(cells: Sequence[Cell]) -> float:
    return 2.0 if len(cells) <= 40 else 1.2 if len(cells) <= 400 else 0.6


def draw_mosaic(
    preview: Preview,
    stretched: Image.Image,
    cells: Sequence[Cell],
    names: Sequence[str],
    label: CrsLabel,
    *,
    other_cuts: shapely.Geometry | None = None,
) -> Picture:
    """The mosaic with the seamlines and the names of the scenes.

    Parameters
    ----------
    preview
        The mosaic, decimated.
    stretched
        Made of it by :func:`~processor.report.pictures.stretch`.
    cells
        What each scene owns; empty where there are no seamlines.
    names
        Of all scenes, in input order; above a dozen, their numbers are shown instead.
    label
        Of the coordinate reference system.
    other_cuts
        Seams to be marked, lines in CRS units.
    """
    drawn = _make_map(preview.bounds, label)
    image = shrink(stretched, _PIXELS, Image.Resampling.BOX)
    parts = [
        drawn.draw_raster(*_encode_jpeg(image), image.width),
        *drawn.draw_axes(label),
        *drawn.draw_outlines(cells, _SEAM, "black", _line_width(cells)),
        drawn.draw_lines(other_cuts, _OTHER, 1.5 * _line_width(cells)) if other_cuts is not None else "",
        *drawn.draw_labels(cells, names),
    ]
    alt = f"The mosaic with the seamlines of {len(cells)} cells."
    return assemble("mosaic", alt, drawn.height, parts, width=drawn.width, kind="map")


def draw_coverage(preview: Preview, cells: Sequence[Cell], names: Sequence[str], label: CrsLabel) -> Picture | None:
    """Which scene each pixel came from, in colours that differ between neighbours; None without a scene index."""
    if preview.scene_index is None:
        return None
    step = max(1, math.ceil(max(preview.scene_index.shape) / _PIXELS))
    index = np.clip(preview.scene_index[::step, ::step].astype(np.int64), 0, len(names))
    colours = _colour_scenes(index, len(names))
    image = Image.fromarray(colours.astype(np.uint8)[index])
    image.putpalette(bytes.fromhex("".join((_NO_SCENE, *PALETTE)).replace("#", "")))
    labels = [elide(name, 26) for name in names] if len(names) <= _NAMED and not cells else []
    room = max(map(measure_text, labels)) + 60 if labels else 0.0
    drawn = _make_map(preview.bounds, label, tallest=0.75 * _TALLEST, legend=room)
    width = drawn.width + room
    parts = [
        drawn.draw_raster(encode(image, "PNG", compress_level=6), "image/png", image.width),
        *drawn.draw_axes(label),
        *drawn.draw_outlines(cells, BLACK, "white", _line_width(cells) / 2),
        *([] if labels else drawn.draw_labels(cells, names)),
    ]
    for row, (name, colour) in enumerate(zip(labels, colours[1:], strict=False)):
        left, top = width - room + 24, _TOP + 22 * row
        parts += [draw_rectangle(left, top, 20, 12, fill=PALETTE[colour - 1]), draw_text(left + 28, top + 11, name)]
    alt = f"Which of the {len(names)} scenes each pixel of the mosaic came from."
    height = max(drawn.height, _TOP + 22.0 * len(labels))
    return assemble("coverage", alt, height, parts, width=width, kind="map")


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
