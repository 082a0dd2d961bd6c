"""What a mosaic has to meet: ``coverage<1`` fails one that is not complete.

A condition names what is *not* accepted, a figure of the report's ``summary``, a comparison and a number. It decides about an
exit code and never about a pixel, so it is not part of a run's digest: a mosaic that was made before is judged again by its
published report. A figure that the report does not know (there are no overlaps, say) fails too: nothing shows that it is met.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from processor.errors import ConfigError, QualityError

__all__ = ["FIGURES", "Threshold", "check_thresholds", "find_breaches", "parse_threshold"]

FIGURES: Final = (
    "coverage",
    "residual_before",
    "residual_after",
    "residual_before_percent",
    "residual_after_percent",
    "residual_before_percent_of_spread",
    "residual_after_percent_of_spread",
    "bias_before",
    "bias_after",
    "bias_before_percent",
    "bias_after_percent",
    "worst_residual_after",
    "worst_residual_after_percent",
    "contrast",
    "scenes",
    "overlaps",
    "warnings",
    "infos",
)
"""Names in ``summary`` of ``report.json``; :mod:`processor.report.document` says what each is."""

_FORM: Final = re.compile(r"\s*([A-Za-z_]+)\s*(<=|>=|<|>)\s*(\S+)\s*")
_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A condition that a mosaic must not meet."""

    figure: str
    """Name in the report's summary."""
    comparison: str
    """<, <=, > or >=."""
    limit: float
    """Number, in the figure's unit."""

    def __str__(self) -> str:
        """As it is written."""
        return f"{self.figure}{self.comparison}{repr(self.limit).removesuffix('.0')}"

    def is_breached(self, value: float | None) -> bool:
        """Whether a value of the figure fails; an unknown one (None) does."""
        return value is None or math.isnan(value) or _COMPARISONS[self.comparison](value, self.limit)


def parse_threshold(text: str) -> Threshold:
    """Parse a condition.

    >>> print(parse_threshold("residual_after > 5"))
    residual_after>5

    Raises
    ------
    ConfigError
        If it is none, or names no figure of the report.
    """
    found = _FORM.fullmatch(text)
    limit = _parse_number(found[3]) if found else None
    if found is None or limit is None:
        msg = (
            f"--fail-on {text!r} is no condition; write a figure, <, <=, > or >=, and a number, such as 'coverage<1', in quotes"
        )
        raise ConfigError(msg)
    if found[1] not in FIGURES:
        matches = get_close_matches(found[1], FIGURES, n=1)
        hint = f" (did you mean {matches[0]}?)" if matches else ""
        msg = f"--fail-on {text!r}: the report has no figure {found[1]}{hint}; it has {', '.join(FIGURES)}"
        raise ConfigError(msg)
    return Threshold(figure=found[1], comparison=found[2], limit=limit)


def _parse_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def find_breaches(thresholds: Iterable[Threshold], summary: Mapping[str, float | None]) -> tuple[Threshold, ...]:
    """The conditions that a report's summary meets, which no mosaic should."""
    return tuple(threshold for threshold in thresholds if threshold.is_breached(summary.get(threshold.figure)))


def check_thresholds(thresholds: Iterable[Threshold], summary: Mapping[str, float | None], *, report: str) -> None:
    """Refuse a mosaic that meets a condition.

    Parameters
    ----------
    summary
        ``summary`` of ``report.json``.
    report
        Where the report is, for the message.

    Raises
    ------
    QualityError
        Naming each figure with its value.
    """
    breaches = find_breaches(thresholds, summary)
    if breaches:
        told = "; ".join(_describe(breach, summary.get(breach.figure)) for breach in breaches)
        msg = f"the mosaic was published and is not what was asked for: {told}; see {report}"
        raise QualityError(msg)


def _describe(breach: Threshold, value: float | None) -> str:
    if value is None or math.isnan(value):
        return f"{breach.figure} is not known (--fail-on '{breach}')"
    return f"{breach.figure} is {value:.9g} (--fail-on '{breach}')"
