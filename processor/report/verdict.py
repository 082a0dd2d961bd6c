"""The verdict on a mosaic: good, look here, or bad, by stated thresholds on figures of the report's summary.

Absolute figures decide, not only risen ones: scenes that were never matched differ as much as before, and that is bad. A
warning decides nothing by itself. Thresholds were chosen by what is known of mosaics: the demo is good by default and by each
preset, bad without matching, and bad with clouds that nothing masks; four real aerial scenes are good by the presets and bad
without matching. Between lies what a person has to look at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from processor.config import Config
from processor.model import Finding

Grade = Literal["good", "look", "bad"]
GRADES: Final[tuple[Grade, ...]] = ("good", "look", "bad")


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """A figure that a mosaic is judged by."""

    figure: str
    """Name in the report's summary."""
    title: str
    """What it is, a few words."""
    meaning: str
    """What is seen where it fails: the end of a sentence that begins with the title and the value."""
    look: float
    """Beyond this a person has to look; in the figure's unit."""
    bad: float | None = None
    """Beyond this the mosaic is bad; None: it never is for this figure."""
    is_least: bool = False
    """Whether less is worse, and the limits are the least values that pass."""

    def grade(self, value: float) -> Grade:
        """Grade of a value that is known."""
        if self.bad is not None and self._is_beyond(value, self.bad):
            return "bad"
        return "look" if self._is_beyond(value, self.look) else "good"

    def _is_beyond(self, value: float, limit: float) -> bool:
        return value < limit if self.is_least else value > limit


CRITERIA: Final = (
    Criterion(
        figure="coverage",
        title="Coverage",
        meaning="pixels that some scene has are missing",
        look=1.0,
        bad=0.5,
        is_least=True,
    ),
    Criterion(
        figure="overlaps",
        title="Overlaps",
        meaning="no two scenes share a pixel, so nothing ties their levels",
        look=1,
        is_least=True,
    ),
    Criterion(
        figure="seam_step_percent_of_spread",
        title="Step at the seams",
        meaning="the step across seams is larger than that of the ground beside them: seams show",
        look=12,
        bad=20,
    ),
    Criterion(
        figure="seam_difference_percent_of_spread",
        title="Difference along the seams",
        meaning="matched scenes differ where they meet",
        look=40,
        bad=80,
    ),
    Criterion(
        figure="seam_difference_high_percent_of_spread",
        title="Difference along the worst seams",
        meaning="some seams run through what the two scenes do not share",
        look=100,
    ),
    Criterion(
        figure="bias_after_percent_of_spread",
        title="Bias in the overlaps",
        meaning="scenes have other levels where they overlap",
        look=10,
        bad=50,
    ),
    Criterion(
        figure="residual_after_percent_of_spread",
        title="Residual in the overlaps",
        meaning="scenes hardly show the same where they overlap",
        look=75,
        bad=100,
    ),
    Criterion(
        figure="sample_disagreement",
        title="Clouds and change",
        meaning="so much of what scenes share differs by more than gain, offset and noise, and draws the matching with it",
        look=0.05,
        bad=0.25,
    ),
    Criterion(
        figure="disagreement",
        title="Clouds and change",
        meaning="in so many blocks of the overlaps scenes disagree; left out of the matching, but not of the mosaic",
        look=0.12,
        bad=0.5,
    ),
    Criterion(figure="contrast", title="Contrast", meaning="the gains flatten the scenes", look=0.8, bad=0.5, is_least=True),
    Criterion(
        figure="fidelity",
        title="Fidelity to the checks",
        meaning="the mosaic explains no more than that of what the checks show",
        look=0.6,
        bad=0.4,
        is_least=True,
    ),
)
"""In the order in which they are told. Percentages are of standard deviations, which lower contrast cannot improve."""

_BY_NAME: Final = {criterion.figure: criterion for criterion in CRITERIA}
_IN_OVERLAPS: Final = ("bias_after_percent_of_spread", "residual_after_percent_of_spread", "sample_disagreement")
_MATCHING: Final = ("matching_global_method", "matching_local_method")
_ROBUST: Final = frozenset({"robust_regression", "surface_adjustment"})
_SEAMS: Final = frozenset(
    {"seam_step_percent_of_spread", "seam_difference_percent_of_spread", "seam_difference_high_percent_of_spread"}
)
_CLOUDS: Final = frozenset({"sample_disagreement", "disagreement"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a figure says."""

    criterion: Criterion
    """By which it is judged."""
    value: float | None
    """Of the figure; None where no scene has a pixel."""
    grade: Grade
    """Of the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Flags of the command that a mosaic is likely to be better by."""

    flags: str
    """As they are written on a command line."""
    reason: str
    """What they do, and for whom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a mosaic can be used as it is."""

    grade: Grade
    """The worst of the judgements; good where nothing is known against it."""
    judgements: tuple[Judgement, ...]
    """Of the figures that say something about this run, in the order of :data:`CRITERIA`."""
    advice: Advice | None
    """How to run it again, or None."""


def judge(summary: Mapping[str, Any], config: Config, findings: Sequence[Finding]) -> Verdict:
    """Judge a mosaic by the figures that are known of it.

    Parameters
    ----------
    summary
        Figures of the report by name; None where unknown.
    config
        As run.
    findings
        Of all stages; those that name a kind of light or place choose the advice.
    """
    judgements = tuple(
        Judgement(criterion=criterion, value=value, grade=criterion.grade(value))
        for criterion in CRITERIA
        if (value := summary.get(criterion.figure)) is not None and _counts(criterion.figure, summary, config)
    )
    if summary.get("coverage") is None:
        judgements = (Judgement(criterion=_BY_NAME["coverage"], value=None, grade="bad"), *judgements)
    grade = max((judgement.grade for judgement in judgements), key=GRADES.index)
    codes = {finding.code for finding in findings}
    has_seams = summary.get("seam_step_percent_of_spread") is not None  # a stack has none
    failed = frozenset(judgement.criterion.figure for judgement in judgements if judgement.grade != "good")
    return Verdict(grade=grade, judgements=judgements, advice=_advise(failed, config, codes, has_seams=has_seams))


def _counts(figure: str, summary: Mapping[str, Any], config: Config) -> bool:
    """Whether a figure that is known says something about this run.

    What a robust method left out stands in the overlaps, and not at the seams that go around it. Disagreement of blocks says
    nothing where the samples differ by no more than noise; gains to a reference change units, not contrast.
    """
    if figure == "overlaps":
        return int(summary["scenes"]) > 1
    if figure in _IN_OVERLAPS:
        return summary.get("disagreement") is None
    if figure == "disagreement":
        sampled = summary.get("sample_disagreement")
        return sampled is None or sampled > _BY_NAME["sample_disagreement"].look
    return figure != "contrast" or config.reference.images is None


def _advise(failed: frozenset[str], config: Config, codes: set[str], *, has_seams: bool) -> Advice | None:
    """Flags by what failed and what is on; None where nothing that could be switched on would help."""
    methods = {config.find_method(switch) for switch in _MATCHING} - {None}
    preset = "aerial" if "illumination-trend" in codes else "satellite"
    flags, reasons = [], []
    if failed - {"coverage", "overlaps", "disagreement"} and (not methods or not methods & _ROBUST):
        flags.append(f"--preset {preset}")
        reasons.append(
            "matches the scenes by a method that keeps their contrast and leaves out clouds and change"
            if methods
            else "matches the scenes, which nothing does now (leave out what switches the matching off)"
        )
    elif failed & _SEAMS and preset == "aerial" and config.methods.__dict__["preset"] != preset:
        flags.append(f"--preset {preset}")
        reasons.append("follows the light within the scenes, which is alike in all")
    around = failed & _CLOUDS or (methods and failed & _SEAMS)
    if around and has_seams and config.find_method("seamline_method") == "voronoi_center_seamline":
        flags.append("--methods.seamline_method least_difference_seamline")
        reasons.append("cuts where the scenes are alike")
    if "fidelity" in failed and not flags and config.reference.images is None:
        flags.append("--reference RASTER")
        reasons.append("brings all scenes to the levels of an image of known radiometry")
    if failed & _CLOUDS:
        reasons.append("a mask of the clouds, where the scenes have one, is better still (inputs.mask)")
    return Advice(flags=" ".join(flags), reason="; ".join(reasons)) if flags else None
