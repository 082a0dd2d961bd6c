"""What a mosaic has to meet: ``verdict=bad`` fails one that is bad, ``coverage<1`` one that is not complete.

A condition names what is *not* accepted: a figure of the report's ``summary``, a comparison and a number; or the verdict. It
decides about an exit code and never about a pixel, so it is not part of a run's digest: a mosaic that was made before is
judged again by its published report. A figure that the report does not know (there are no overlaps, say) fails too: nothing
shows that it is met.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, cast

from processor.errors import ConfigError, QualityError
from processor.report.verdict import GRADES, Grade

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
    "bias_before_percent_of_spread",
    "bias_after_percent_of_spread",
    "worst_residual_after",
    "worst_residual_after_percent",
    "contrast",
    "gradient_excess",
    "seam_step_percent_of_spread",
    "seam_difference",
    "seam_difference_high",
    "seam_difference_percent_of_spread",
    "seam_difference_high_percent_of_spread",
    "disagreement",
    "sample_disagreement",
    "illumination_trend",
    "contrast_kept",
    "fidelity_to_scenes",
    "fidelity",
    "misregistration",
    "misregistration_high",
    "misregistration_after",
    "misregistration_after_high",
    "scenes",
    "overlaps",
    "warnings",
    "infos",
)
"""Names of numbers in ``summary`` of ``report.json``; :mod:`processor.report.document` says what each is."""

VERDICT: Final = "verdict"
"""Name of the one word in it."""

VERDICT_PROPERTY: Final = f"mosaic:{VERDICT}"
"""The same as a property of the Item."""

_FORM: Final = re.compile(r"\s*([A-Za-z_]+)\s*(<=|>=|<|>)\s*(\S+)\s*")
_WORDS: Final = re.compile(rf"\s*{VERDICT}\s*(=|!=)\s*({'|'.join(GRADES)})\s*")
_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
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
    """<, <=, > or >= for a number; = or != for the verdict."""
    limit: float | Grade
    """Number, in the figure's unit; or a grade."""

    def __str__(self) -> str:
        """As it is written."""
        return f"{self.figure}{self.comparison}{str(self.limit).removesuffix('.0')}"

    def is_breached(self, value: float | str | None) -> bool:
        """Whether a value of the figure fails; an unknown one (None) does."""
        return not _is_known(value) or bool(_COMPARISONS[self.comparison](value, self.limit))


def _is_known(value: float | str | None) -> bool:
    return value is not None and (isinstance(value, str) or not math.isnan(value))


def parse_threshold(text: str) -> Threshold:
    """Parse a condition.

    >>> print(parse_threshold("residual_after > 5"))
    residual_after>5

    Raises
    ------
    ConfigError
        If it is none, or names no figure of the report.
    """
    said = _WORDS.fullmatch(text)
    if said is not None:
        return Threshold(figure=VERDICT, comparison=said[1], limit=cast("Grade", said[2]))
    found, limit = _FORM.fullmatch(text), math.nan
    with suppress(ValueError):
        limit = float(found[3]) if found else math.nan
    if found is None or not math.isfinite(limit):
        msg = (
            f"--fail-on {text!r} is no condition; write verdict=bad (or verdict!=good), or a figure, <, <=, > or >=, and a "
            "number, such as 'coverage<1', in quotes"
        )
        raise ConfigError(msg)
    if found[1] not in FIGURES:
        matches = get_close_matches(found[1], FIGURES, n=1)
        hint = f" (did you mean {matches[0]}?)" if matches else ""
        msg = f"--fail-on {text!r}: the report has no figure {found[1]}{hint}; it has {', '.join(FIGURES)}"
        raise ConfigError(msg)
    return Threshold(figure=found[1], comparison=found[2], limit=limit)


def check_thresholds(thresholds: Iterable[Threshold], summary: Mapping[str, float | str | None], *, report: str) -> None:
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
    told = []
    for threshold in thresholds:
        value = summary.get(threshold.figure)
        if threshold.is_breached(value):
            known = "not known" if not _is_known(value) else value if isinstance(value, str) else f"{value:.9g}"
            told.append(f"{threshold.figure} is {known} (--fail-on '{threshold}')")
    if told:
        msg = f"the mosaic was published and is not what was asked for: {'; '.join(told)}; see {report}"
        raise QualityError(msg)
