"""How figures and strangers' words are written in the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

_DASH: Final = "\u2013"
FEW_BANDS: Final = 4  # as many figures as a cell shows
BLURRED: Final = 0.9  # gradient excess
_MINUS: Final = "\u2212"
_SHARES: Final = frozenset({"coverage", "disagreement", "sample_disagreement"})  # told in percent
_LONGEST: Final = 160  # characters of a name or a value


def clip_text(value: object) -> str:
    """A name or a value of at most 160 characters."""
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 2 :]}"


def name_band(band: Mapping[str, Any]) -> str:
    """A band's common name, or its own where it has none."""
    return clip_text(band["common_name"] or band["name"])


def format_figure(value: float | None, digits: int = 3) -> str:
    """A number to so many significant digits, whole numbers in full; a dash where it is unknown.

    >>> format_figure(1234567), format_figure(0.012345), format_figure(98.76, 2)
    ('1,234,567', '0.0123', '99')
    """
    if value is None:
        return _DASH
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
    if len(values) <= FEW_BANDS or not known:
        return " / ".join(format_figure(value) for value in values[:FEW_BANDS])
    return f"{format_figure(min(known))} … {format_figure(max(known))}"


def format_change(before: float | None, after: float | None) -> str:
    """Change in percent, with its sign; nothing where it is unknown."""
    if before is None or after is None or not before:
        return ""
    change = 100 * (after / before - 1)
    sign = "+" if change > 0 else _MINUS if change < 0 else ""
    return f"{sign}{abs(change):.0f} %"


def format_arrow(before: float | None, after: float | None) -> str:
    """Two figures, the second with two digits where it is much smaller."""
    if before is None and after is None:
        return _DASH
    small = before is not None and after is not None and after < before / 10
    return f"{format_figure(before)} → {format_figure(after, 2 if small else 3)}"


def format_change_of_level(before: float | None, after: float | None, percent: float | None) -> str:
    """Change of a difference, and what it is now in percent of the mean level."""
    now = "" if percent is None else f"now {format_figure(percent, 2)} % of the mean level"
    return "; ".join(part for part in (format_change(before, after), now) if part) or "unknown"


def describe_excess(excess: float | None, step: float | None) -> str:
    """What a gradient excess is, and the step at the seams in percent of the standard deviation."""
    if excess is None:
        return "no seam was measured"
    if excess < BLURRED:
        return "that of the ground beside; seams are blurred"
    more = "" if step is None else f"; {format_figure(step, 2)} % of the standard deviation more"
    return f"that of the ground beside{more}"


def format_percent(share: float | None, digits: int) -> str:
    """A share in percent, with so many decimals."""
    return _DASH if share is None else f"{100 * share:.{digits}f} %"


def format_judged(judged: Mapping[str, Any]) -> str:
    """A value that a verdict judges, with its unit.

    >>> format_judged({"figure": "bias_percent", "value": 2.25}), format_judged({"figure": "fidelity", "value": 1})
    ('2.25 %', '1')
    """
    value = judged["value"]
    if judged["figure"] == "coverage":
        return coverage_text(value)
    if judged["figure"] in _SHARES:
        return format_percent(value, 1)
    return f"{format_figure(value)}{_find_unit(judged)}" if value is not None else _DASH


def _find_unit(judged: Mapping[str, Any]) -> str:
    return " %" if "percent" in judged["figure"] or judged["figure"] in _SHARES else ""


def format_limit(judged: Mapping[str, Any], grade: str = "") -> str:
    """Beyond what a value gets a grade, its own where none is named.

    >>> format_limit({"figure": "fidelity", "comparison": "<", "look": 0.6, "bad": 0.4, "grade": "look"})
    'below 0.6'
    """
    key = grade or str(judged["grade"])
    if judged[key] is None:
        return _DASH
    limit = judged[key] * (100 if judged["figure"] in _SHARES else 1)
    return f"{'below' if judged['comparison'] == '<' else 'above'} {limit:g}{_find_unit(judged)}"


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
        return _DASH
    return "100 %" if share == 1 else f"{math.floor(share * 1e6) / 1e4:.4f} %"


def count_text(number: int, noun: str) -> str:
    """A count and its noun in the right number."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
