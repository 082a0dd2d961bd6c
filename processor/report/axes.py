"""The frame of a chart or a map: scales, round numbers along them, grid lines, and what the axes are called."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from processor.report.svg import FONT, draw_path, draw_text, format_length, measure_text

_GRID: Final = "var(--grid)"
EDGE: Final = "var(--edge)"
_BEFORE: Final = 8  # pixels that the first number of a horizontal axis may begin before it
_BEYOND: Final = 12  # and that the last may end beyond
_TICK: Final = 4  # pixels
_MOST: Final = 8  # ticks
_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_MARGIN: Final = 0.04  # of the range, on either side of what is shown


@dataclass(frozen=True, slots=True, kw_only=True)
class CrsLabel:
    """Words for a coordinate reference system."""

    name: str
    """For people."""
    unit: str
    """Of its axes, e.g. "m" or "°"; "CRS units" where unknown."""
    geographic: bool
    """Whether coordinates are longitude and latitude."""


def describe_crs(wkt: str) -> CrsLabel:
    """Name and unit of a reference system in WKT or any form that PROJ reads; "CRS units" where it reads none."""
    try:
        crs = CRS.from_user_input(wkt)
    except CRSError:
        return CrsLabel(name="unknown", unit="CRS units", geographic=False)
    axes = crs.axis_info
    unit = axes[0].unit_name if axes else "CRS units"
    return CrsLabel(name=crs.name, unit={"metre": "m", "degree": "°"}.get(unit, unit), geographic=bool(crs.is_geographic))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """A linear scale."""

    low: float
    """Value at the start, below ``high``."""
    high: float
    """Value at the end."""
    start: float
    """Pixel of ``low``; beyond ``end`` where values grow upwards."""
    end: float
    """Pixel of ``high``."""

    def place(self, values: ArrayLike) -> NDArray[np.float64]:
        """Pixels of values."""
        return self.start + (np.asarray(values, np.float64) - self.low) / (self.high - self.low) * (self.end - self.start)


def fit_scale(values: ArrayLike, start: float, end: float, *, zero: bool = False) -> Scale:
    """A scale that shows every finite value, with some room beyond; ``zero``: it begins at 0, which no value is below."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    low = 0.0 if zero else low
    room = _MARGIN * (high - low)
    if room <= 1e-12 * abs(high):  # one value
        room = abs(high) / 20 or 1.0
    return Scale(low=0.0 if zero else low - room, high=high + room, start=start, end=end)


def choose_ticks(scale: Scale, *, width: float | None = None, gap: float = FONT) -> list[float]:
    """Round values of a scale, as many as there is room for, at most 8.

    Parameters
    ----------
    scale
        The scale.
    width
        Pixels that a label takes along the scale; None: as wide as the numbers are.
    gap
        Pixels that have to be between labels.
    """
    span, room = scale.high - scale.low, abs(scale.end - scale.start)
    if not math.isfinite(span):
        return []
    least = 10.0 ** math.floor(math.log10(span / _MOST))
    ticks: list[float] = []
    for step in (least * factor * shift for shift in (1.0, 10.0, 100.0) for factor in _STEPS[:-1]):
        numbers = np.arange(math.ceil(scale.low / step - 1e-9), math.floor(scale.high / step + 1e-9) + 1)
        ticks = [float(number) for number in numbers * step]
        widest = max((measure_text(text) for text in format_ticks(ticks)), default=0.0) if width is None else width
        if len(ticks) <= _MOST and (len(ticks) <= 2 or step * room >= (widest + gap) * span):
            break
    return ticks


def format_ticks(ticks: Sequence[float]) -> list[str]:
    """Numbers with the digits that tell them apart.

    >>> format_ticks([0.0, 0.25, 0.5]), format_ticks([5298000.0, 5299000.0]), format_ticks([1e12, 2e12])
    (['0.00', '0.25', '0.50'], ['5298000', '5299000'], ['1e+12', '2e+12'])
    """
    largest = max(map(abs, ticks), default=0.0)
    step = min((b - a for a, b in pairwise(ticks)), default=largest) or 1.0
    if largest and not 1e-4 <= largest < 1e9:
        return [f"{tick:.6g}".replace("-", "\u2212") for tick in ticks]
    digits = next((digits for digits in range(10) if abs(round(step, digits) - step) < 1e-6 * step), 10)
    return [f"{tick + 0.0:.{digits}f}".replace("-", "\u2212") for tick in ticks]


def draw_columns(scale: Scale, top: float, bottom: float, label: str, *, grid: bool = True) -> list[str]:
    """The horizontal axis below a panel: grid lines, ticks, numbers and what they are."""
    ticks = choose_ticks(scale)
    places = scale.place(ticks).tolist()
    left, right = sorted((scale.start, scale.end))
    lines = "".join(f"M{format_length(x)} {format_length(top)}V{format_length(bottom)}" for x in places)
    marks = "".join(f"M{format_length(x)} {format_length(bottom)}v{_TICK}" for x in places)
    edge = f"M{format_length(left)} {format_length(bottom)}H{format_length(right)}"
    return [
        draw_path(lines, stroke=_GRID) if grid else "",
        draw_path(edge + marks, stroke=EDGE, fill="none"),
        *(
            draw_text(_keep_within(x, text, left, right), bottom + _TICK + FONT, text, text_anchor="middle")
            for x, text in zip(places, format_ticks(ticks), strict=True)
        ),
        draw_text((left + right) / 2, bottom + 2.6 * FONT + _TICK, label, text_anchor="middle"),
    ]


def _keep_within(x: float, text: str, left: float, right: float) -> float:
    """The middle of a number below an axis, moved so that neither end of it is cut."""
    half = measure_text(text) / 2
    return max(left - _BEFORE + half, min(x, right + _BEYOND - half))


def draw_rows(scale: Scale, left: float, right: float, *, grid: bool = True, upright: bool = True) -> list[str]:
    """The vertical axis at the left of a panel: grid lines, ticks and numbers, ``upright`` or along the axis."""
    ticks = choose_ticks(scale, width=FONT) if upright else choose_ticks(scale, gap=4 * FONT)
    places = scale.place(ticks).tolist()
    lines = "".join(f"M{format_length(left)} {format_length(y)}H{format_length(right)}" for y in places)
    marks = "".join(f"M{format_length(left)} {format_length(y)}h-{_TICK}" for y in places)
    edge = f"M{format_length(left)} {format_length(scale.start)}V{format_length(scale.end)}"
    x = left - _TICK - 3
    texts = []
    for y, text in zip(places, format_ticks(ticks), strict=True):
        if upright:
            texts.append(draw_text(x, y + 0.35 * FONT, text, text_anchor="end"))
        else:  # at its ends, within the axis
            half = measure_text(text) / 2
            texts.append(draw_turned(x, max(scale.end + half, min(y, scale.start - half)), text))
    return [draw_path(lines, stroke=_GRID) if grid else "", draw_path(edge + marks, stroke=EDGE, fill="none"), *texts]


def draw_turned(x: float, y: float, words: str) -> str:
    """Words from the bottom to the top, centred at y, their baseline at x."""
    return draw_text(x, y, words, text_anchor="middle", transform=f"rotate(-90 {format_length(x)} {format_length(y)})")


def draw_title(x: float, y: float, words: str) -> str:
    """The title of a panel."""
    return draw_text(x, y, words, font_weight="bold")
