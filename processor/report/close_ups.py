"""Close-ups of seams, pixel by pixel: the scenes as they came, cut alike, beside the mosaic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from processor.model import Band
from processor.model.bands import choose_shown
from processor.report.axes import CrsLabel, draw_title
from processor.report.figures import SeamView
from processor.report.pictures import encode
from processor.report.svg import (
    FONT,
    INK,
    MUTED,
    Picture,
    assemble,
    assemble_strip,
    draw_image,
    draw_path,
    draw_text,
    elide,
    format_length,
)
from processor.stages.seam_steps import find_seams, sum_seam_steps

_SIDE: Final = 160.0
_GAP: Final = 8.0
_HEAD, _FOOT = 3.0 * FONT, 7.2 * FONT
_LONGEST_BAR: Final = 0.5  # of the image's width
_FOLLOWS: Final = {
    "centre-line": "cut along the middle of the overlap",
    "straight-line": "cut along a straight line",
    "difference": "cut along what is alike",
}


def draw_close_ups(
    views: Sequence[SeamView], bands: Sequence[Band], *, is_alike: bool, pixel_width: float, label: CrsLabel
) -> Picture | None:
    """The strip of close-ups, a drawing each, which stand beside or below one another as there is room; None without any.

    Parameters
    ----------
    views
        The worst seam first.
    bands
        Of the scenes.
    is_alike
        Whether the scenes as they came are in the mosaic's units, so that both are stretched alike.
    pixel_width
        Of the mosaic, CRS units.
    label
        Of the coordinate reference system.
    """
    if not views:
        return None
    _, natural = choose_shown(bands)
    metres = pixel_width if label.unit == "m" else None
    drawn = [_draw_view(view, is_alike=is_alike, natural=natural, metres=metres) for view in views]
    alt = f"{len(views)} places on seams, before and after matching."
    return assemble_strip("close_ups", alt, drawn)


def _draw_view(view: SeamView, *, is_alike: bool, natural: bool, metres: float | None) -> Picture:
    """The scenes as they came beside the mosaic, with a scale bar and what is known of the seam."""
    valid = view.index > 0
    limits = _find_limits(view.after, valid, natural=natural)
    own = limits if is_alike else _find_limits(view.before, valid, natural=natural)
    edges = [_SIDE * size / max(view.index.shape) for size in view.index.shape]
    parts = [draw_title(0, 1.2 * FONT, f"{elide(view.first, 18)} | {elide(view.second, 18)}")]
    for side, (words, values, between) in enumerate((("as they came", view.before, own), ("mosaic", view.after, limits))):
        left = side * (_SIDE + _GAP)
        png = encode(_stretch(values, valid, between), "PNG", compress_level=6)
        parts += [
            draw_text(left, _HEAD - 0.5 * FONT, words, fill=MUTED),
            draw_image(left, _HEAD, edges[1], edges[0], png, "image/png", smooth=False),
        ]
    below = _HEAD + edges[0]
    parts += _draw_bar(below + 0.5 * FONT, edges[1] / view.index.shape[1], view.index.shape[1], metres)
    lines = (
        _describe_difference(view),
        _describe_step(view),
        _FOLLOWS[view.follows],
        f"from row {view.row}, column {view.col}",
    )
    parts += [draw_text(0, below + (2.9 + 1.2 * line) * FONT, words) for line, words in enumerate(lines)]
    alt = f"The seam of {elide(view.first, 40)} and {elide(view.second, 40)}, before and after matching."
    return assemble("close_up", alt, below + _FOOT, parts, width=2 * _SIDE + _GAP)


def _draw_bar(top: float, scale: float, pixels: int, metres: float | None) -> list[str]:
    """A bar of a round length, in metres where they are known; else in pixels of the mosaic.

    Parameters
    ----------
    top
        Of the bar.
    scale
        Pixels of the screen that one of the mosaic has.
    pixels
        Width of the image, of the mosaic.
    metres
        Width of one of those, or None.
    """
    unit, size = ("px", 1.0) if metres is None else ("m", metres)
    longest = _LONGEST_BAR * pixels * size
    power = 10.0 ** math.floor(math.log10(longest))
    length = next(power * factor for factor in (5, 2, 1) if power * factor <= longest)
    width = length / size * scale
    return [
        draw_path(f"M0.5 {format_length(top)}v6h{format_length(width)}v-6", stroke=INK, stroke_width=1.5, fill="none"),
        draw_text(width + 8, top + 8, f"{length:g} {unit}"),
    ]


def _describe_difference(view: SeamView) -> str:
    if view.difference is None:
        return "difference not measured"
    return f"differ by {view.difference:.2f} standard deviations"


def _describe_step(view: SeamView) -> str:
    """Steps across the seam of the two scenes over those beside it, in the close-up alone."""
    index = np.where(np.isin(view.index, (view.first_number, view.second_number)), view.index, 0)
    before, after = (_compute_excess(values, index) for values in (view.before, view.after))
    if before is None or after is None:
        return "steps beside the seam are unknown"
    return f"step {before:.2f} → {after:.2f} times that beside it"


def _compute_excess(values: NDArray[np.generic], index: NDArray[np.unsignedinteger]) -> float | None:
    seams = find_seams(index)
    if seams is None:
        return None
    excess = sum_seam_steps(values, index, seams).compute_excess()
    known = excess[np.isfinite(excess)]
    return float(known.mean()) if len(known) else None


def _find_limits(values: NDArray[np.generic], valid: NDArray[np.bool_], *, natural: bool) -> NDArray[np.float64]:
    """What is drawn black and white in each of three bands, (2, 3): the second percentiles from below and above."""
    known = values[:, valid].astype(np.float64)
    known = known[:, np.isfinite(known).all(axis=0)]
    if not known.shape[1]:
        return np.array([[0.0] * 3, [1.0] * 3])
    limits = np.percentile(known, (2, 98), axis=1)
    if natural:
        limits = np.array([[limits[0].min()] * 3, [limits[1].max()] * 3])
    limits[1] = np.where(limits[1] > limits[0], limits[1], limits[0] + 1)
    return limits


def _stretch(values: NDArray[np.generic], valid: NDArray[np.bool_], limits: NDArray[np.float64]) -> Image.Image:
    low, high = limits[:, :, None, None]
    scaled = np.nan_to_num(255 * (values.astype(np.float64) - low) / (high - low)).clip(0, 255)
    rgba = np.concatenate([np.rint(scaled), 255.0 * valid[None]]).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(rgba.transpose(1, 2, 0)))
