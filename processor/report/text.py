"""How figures and strangers' words are written in the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final

__all__ = [
    "BANDS",
    "DASH",
    "clip_text",
    "count_text",
    "coverage_text",
    "format_change",
    "format_figure",
    "format_figures",
    "format_size",
    "name_html",
    "rest_html",
]

DASH: Final = "\u2013"
BANDS: Final = 4  # figures in a cell
_MINUS: Final = "\u2212"
_LONGEST: Final = 160  # characters of a name or a value


def clip_text(value: object) -> str:
    """A name or a value of at most 160 characters."""
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 2 :]}"


def name_html(value: object) -> str:
    """A stranger's word as HTML: clipped, escaped, and kept from turning the direction of the text around it."""
    return f"<bdi>{escape(clip_text(value))}</bdi>"


def rest_html(total: int, shown: int, what: str, where: str = "report.json") -> str:
    """A note on the rows that a table leaves out, as HTML; nothing where it shows all."""
    return "" if total <= shown else f'\n<p class="note">{shown} of {total:,} {what} are shown; {where} has them all.</p>'


def format_figure(value: float | None, digits: int = 3) -> str:
    """A number to so many significant digits, whole numbers in full; a dash where it is unknown.

    >>> format_figure(1234567), format_figure(0.012345), format_figure(98.76, 2)
    ('1,234,567', '0.0123', '99')
    """
    if value is None:
        return DASH
    if isinstance(value, int) or value == 0 or abs(value) >= 10**digits:
        text = f"{value:,.0f}"
    elif abs(value) < 1e-4:
        text = f"{value:.{digits - 1}e}"
    else:
        text = f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"
    return text.replace("-", _MINUS)


def format_figures(values: Sequence[float | None]) -> str:
    """A figure for each band, or the range where there are many."""
    known = [value for value in values if value is not None]
    if len(values) <= BANDS or not known:
        return " / ".join(format_figure(value) for value in values[:BANDS])
    return f"{format_figure(min(known))} … {format_figure(max(known))}"


def format_change(before: float | None, after: float | None) -> str:
    """Change in percent, with its sign; nothing where it is unknown."""
    if before is None or after is None or not before:
        return ""
    change = 100 * (after / before - 1)
    sign = "+" if change > 0 else _MINUS if change < 0 else ""
    return f"{sign}{abs(change):.0f} %"


def format_size(size: int) -> str:
    """Bytes in decimal units."""
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{format_figure(value)} {unit}"


def coverage_text(share: float | None) -> str:
    """Rounded down, so that only a complete mosaic is 100 %."""
    if share is None:
        return DASH
    return "100 %" if share == 1 else f"{math.floor(share * 1e6) / 1e4:.4f} %"


def count_text(number: int, noun: str) -> str:
    """A count and its noun in the right number."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
