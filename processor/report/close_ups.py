"""Close-ups of the worst seams, pixel by pixel: the scenes as they came, cut alike, beside the mosaic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from processor.model import Band
from processor.model.bands import choose_shown
from processor.report.axes import draw_title
from processor.report.figures import SeamView
from processor.report.pictures import encode
from processor.report.svg import FONT, MUTED, WIDTH, Picture, assemble, draw_image, draw_text, elide
from processor.stages.seam_steps import find_seams, sum_seam_steps

_COLUMNS: Final = 3
_SIDE: Final = 160.0
_GAP: Final = 8.0
_PITCH: Final = WIDTH / _COLUMNS
_HEAD, _FOOT = 3.0 * FONT, 5.8 * FONT
_FOLLOWS: Final = {
    "centre-line": "cut along the middle of the overlap",
    "straight-line": "cut along a straight line",
    "difference": "cut along what is alike",
}


def draw_close_ups(views: Sequence[SeamView], bands: Sequence[Band], *, is_alike: bool) -> Picture | None:
    """The strip of close-ups; None without any.

    Parameters
    ----------
    views
        The worst seam first.
    bands
        Of the scenes.
    is_alike
        Whether the scenes as they came are in the mosaic's units, so that both are stretched alike.
    """
    if not views:
        return None
    _, natural = choose_shown(bands)
    parts: list[str] = []
    rows = -(-len(views) // _COLUMNS)
    for number, view in enumerate(views):
        left = number % _COLUMNS * _PITCH
        top = number // _COLUMNS * (_HEAD + _SIDE + _FOOT) + _HEAD
        limits = _find_limits(view.after, view.index > 0, natural=natural)
        own = limits if is_alike else _find_limits(view.before, view.index > 0, natural=natural)
        edges = [_SIDE * size / max(view.index.shape) for size in view.index.shape]
        for side, (words, values, between) in enumerate((("as they came", view.before, own), ("mosaic", view.after, limits))):
            across = left + side * (_SIDE + _GAP)
            png = encode(_stretch(values, view.index > 0, between), "PNG", compress_level=6)
            parts += [
                draw_text(across, top - 0.5 * FONT, words, fill=MUTED),
                draw_image(across, top, edges[1], edges[0], png, "image/png", smooth=False),
            ]
        parts.append(draw_title(left, top - 1.8 * FONT, f"{elide(view.first, 20)} | {elide(view.second, 20)}"))
        below = top + edges[0]
        place = f"from row {view.row}, column {view.col}"
        lines = (_describe_difference(view), _describe_step(view), _FOLLOWS[view.follows], place)
        parts += [draw_text(left, below + (1.2 + 1.2 * line) * FONT, words) for line, words in enumerate(lines)]
    alt = f"The {len(views)} seams along which the matched scenes differ most, before and after."
    return assemble("close_ups", alt, rows * (_HEAD + _SIDE + _FOOT), parts)


def _describe_difference(view: SeamView) -> str:
    if view.difference is None:
        return "difference of the matched scenes not measured"
    return f"matched scenes differ by {view.difference:.2f} standard deviations"


def _describe_step(view: SeamView) -> str:
    """Steps across the seam over those beside it, in the close-up alone."""
    before, after = (_compute_excess(values, view.index) for values in (view.before, view.after))
    if before is None or after is None:
        return "steps beside the seam are unknown"
    return f"step across it {before:.2f} to {after:.2f} times that beside it"


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
