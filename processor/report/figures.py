"""The figures that judge a mosaic: residuals of the overlaps before and after each stage, contrast, coverage.

Pure: records in, records out. A state is what the scenes look like after a stage: "before" (raw), "global", "local". A stage
that is off leaves its state equal to the one before it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from shapely import Geometry, MultiLineString

from processor.config import Config
from processor.model import (
    Adjustment,
    Artifact,
    Band,
    Bounds,
    Cell,
    Finding,
    Grid,
    Moments,
    Overlap,
    Scene,
)
from processor.stages.align.coregistration import Coregistration
from processor.stages.check_cells import Fidelity
from processor.stages.matching.global_regression import compute_contrast
from processor.stages.matching.match_figures import MatchFigures
from processor.stages.matching.method import SceneCorrection
from processor.stages.seam_steps import SeamSteps
from processor.stages.seamlines.records import Follows

State = Literal["before", "global", "local"]
STATES: Final[tuple[State, ...]] = ("before", "global", "local")
F64 = NDArray[np.float64]

_LEAST_SAMPLES: Final = 64  # of a pair
_OUTLIER: Final = 4.5  # robust standard deviations
_MAD: Final = 1.4826  # standard deviations of a normal distribution in its median absolute deviation
_LEAST_SPREAD: Final = 0.1  # median absolute departures of a scene


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelCounts:
    """Pixels of the mosaic's grid, counted in the render pass."""

    mosaic: int
    """Valid pixels of the mosaic."""
    union: int
    """Pixels where at least one scene is valid (within the area of interest, where there is one)."""
    fallback: int
    """Valid pixels whose cell belongs to a scene that has nothing there, so that another scene filled them."""
    owned: Mapping[str, int]
    """Pixels that each scene contributed, by name; in a stack a pixel is of several scenes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Preview:
    """The mosaic at the size of a picture (about 1,000 pixels on the longer side is enough)."""

    values: NDArray[np.generic]
    """(bands, height, width), any real dtype, units of the mosaic."""
    valid: NDArray[np.bool_]
    """bool (height, width), True where the mosaic has a value."""
    bounds: Bounds
    """Outer bounds of the pixels, CRS units."""
    scene_index: NDArray[np.integer] | None = None
    """Integers (height, width): 1 + position in ``ReportInputs.scenes``, 0 where there is none; or None."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeamView:
    """A place on a seam, at the size of its pixels."""

    first: str
    """Name of the scene on one side."""
    second: str
    """Name of the scene on the other side."""
    follows: Follows
    """What the cut follows."""
    row: int
    """Row of the upper left pixel in the mosaic."""
    col: int
    """Column of the upper left pixel in the mosaic."""
    difference: float | None
    """Of the matched scenes, in their standard deviations; None: not measured."""
    before: NDArray[np.generic]
    """The scenes as they came, three bands, (3, height, width)."""
    after: NDArray[np.generic]
    """The mosaic, (3, height, width)."""
    index: NDArray[np.unsignedinteger]
    """(height, width): a number for each scene, 0 where there is none."""
    first_number: int
    """Of the first scene in ``index``."""
    second_number: int
    """Of the second."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReportInputs:
    """All that a run knows about its mosaic when the pixels are done."""

    item_id: str
    """Id of the Item that is published."""
    version: str
    """Of this software."""
    digest: str
    """Hex digest of inputs and configuration."""
    scenes: tuple[Scene, ...]
    """In input order."""
    whole: Mapping[str, Moments]
    """Moments of each scene's own valid pixels, by name, source units."""
    overlaps: tuple[Overlap, ...]
    """Pairs of scenes with common pixels."""
    adjustments: tuple[Adjustment, ...]
    """Global corrections; empty where the stage is off."""
    corrections: tuple[SceneCorrection, ...]
    """Local corrections; empty where the stage is off."""
    cells: tuple[Cell, ...]
    """What each scene owns; empty where the stage is off."""
    ranks: Mapping[str, int] = field(default_factory=dict)
    """Places of the scenes by name, from 1, where an expression ranks them; else empty."""
    seam_views: tuple[SeamView, ...] = ()
    """Places on the worst seams, the worst first."""
    other_cuts: Geometry = field(default_factory=MultiLineString)
    """Seams whose cut does not follow what the method would have it follow, lines in CRS units."""
    is_converted: bool = False
    """Whether the mosaic is in other units than the scenes."""
    grid: Grid
    """Of the mosaic."""
    counts: PixelCounts
    """Of the mosaic's pixels."""
    statistics: Moments | None
    """Moments of the mosaic's valid pixels, or None where unknown."""
    findings: tuple[Finding, ...]
    """Of the other stages."""
    config: Config
    """As run."""
    steps: SeamSteps | None = None
    """Steps of the mosaic across seams and beside them, or None where unknown."""
    fidelity: tuple[Fidelity, ...] = ()
    """How well the mosaic agrees with each check; empty where there is none."""
    scene_fidelity: Fidelity | None = None
    """How well the mosaic agrees with its scenes as they came, or None where unknown."""
    match: MatchFigures | None = None
    """What matched blocks say of the matching, or None where no method needed them."""
    coregistration: Coregistration | None = None
    """How far scenes lie beside one another, of scenes in input order; None where that is not asked for."""
    artifacts: tuple[Artifact, ...] = ()
    """What is published beside the report."""

    @property
    def bands(self) -> tuple[Band, ...]:
        """Bands of the mosaic: the first scene's."""
        return self.scenes[0].bands if self.scenes else ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Residual:
    """How far two scenes are apart in one state; float64 (bands,), source units, NaN where unknown."""

    bias: F64
    """Mean of first minus second over the samples; over all common pixels where there are no samples."""
    exact_bias: F64
    """The same over all common pixels; NaN after a local correction, which moments cannot follow."""
    rms: F64
    """Root of the mean squared difference over the samples."""
    level: F64
    """Mean of both scenes."""
    spread: F64
    """Quadratic mean of the two standard deviations."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OverlapResidual:
    """The residuals of a pair of scenes in the three states."""

    first: str
    """Name of the scene that comes first in name order."""
    second: str
    """Name of the other scene."""
    count: int
    """Common pixels that were measured."""
    samples: int
    """How many of them were followed through the stages."""
    before: Residual
    """Residual of the pixels as they were read."""
    after_global: Residual
    """Residual after the global adjustment."""
    after_local: Residual
    """Residual after the local adjustment too."""

    @property
    def states(self) -> tuple[Residual, Residual, Residual]:
        """In the order of :data:`STATES`."""
        return (self.before, self.after_global, self.after_local)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ResidualSummary:
    """One state over all overlaps, each weighted by its pixels; float64 (bands,), source units, NaN where unknown."""

    rms: F64
    """Root of the weighted mean of the pairs' squared RMS differences."""
    bias: F64
    """Root of the weighted mean of the pairs' squared biases."""
    level: F64
    """Weighted mean level."""
    spread: F64
    """Quadratic mean of the spreads."""
    worst: OverlapResidual | None
    """The pair of greatest RMS difference over all bands, or None."""

    def percent_of_level(self, values: F64) -> float:
        """Quadratic mean over the bands of ``values`` (bands,) in percent of the mean level; NaN where that has no meaning."""
        return _percent(values, np.abs(self.level))

    def percent_of_spread(self, values: F64) -> float:
        """Quadratic mean over the bands of ``values`` (bands,) in percent of the spread; NaN where that has no meaning."""
        return _percent(values, self.spread)


def _percent(values: F64, whole: F64) -> float:
    known = np.isfinite(values) & np.isfinite(whole) & (whole > 0)
    if not known.all() or not known.size:
        return math.nan
    return 100.0 * pool(values / whole)


def pool(values: F64) -> float:
    """Quadratic mean over the bands; NaN where a band is unknown."""
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else math.nan


def compute_states(
    overlap: Overlap, adjustments: Mapping[str, Adjustment], corrections: Mapping[str, SceneCorrection]
) -> tuple[tuple[F64, F64], ...] | None:
    """Follow an overlap's samples through the stages.

    Parameters
    ----------
    overlap
        The pair.
    adjustments, corrections
        By scene; a scene that is missing is left as it is.

    Returns
    -------
    For each of :data:`STATES` the values of both scenes, float64 (bands, n), source units, before rounding to the mosaic's
    dtype; None where there are no samples.
    """
    samples = overlap.samples
    if samples is None or not samples.x.size:
        return None
    raw = (samples.first.astype(np.float64), samples.second.astype(np.float64))
    matched, local = [], []
    for name, values in zip((overlap.first, overlap.second), raw, strict=True):
        adjustment, correction = adjustments.get(name), corrections.get(name)
        matched.append(values if adjustment is None else adjustment.scale[:, None] * values + adjustment.offset[:, None])
        local.append(matched[-1] if correction is None else correction.apply_at(matched[-1], samples.x, samples.y))
    return (raw, (matched[0], matched[1]), (local[0], local[1]))


def compute_residuals(
    overlaps: Sequence[Overlap], adjustments: Sequence[Adjustment], corrections: Sequence[SceneCorrection]
) -> tuple[OverlapResidual, ...]:
    """Residuals of every overlap that has a common pixel, before and after each stage.

    The RMS difference of two scenes never reaches 0: noise, changed ground and shifts of a pixel stay. What shows as a seam
    is the bias.

    Parameters
    ----------
    overlaps
        With samples, or without: then only the bias before and after the global stage is known.
    adjustments, corrections
        Of the stages; empty where a stage is off.

    Returns
    -------
    In the order of the overlaps.
    """
    adjusted = {adjustment.scene: adjustment for adjustment in adjustments}
    corrected = {correction.scene: correction for correction in corrections}
    return tuple(_residual(overlap, adjusted, corrected) for overlap in overlaps if overlap.first_moments.count)


def _residual(
    overlap: Overlap, adjusted: Mapping[str, Adjustment], corrected: Mapping[str, SceneCorrection]
) -> OverlapResidual:
    names = (overlap.first, overlap.second)
    moments = (overlap.first_moments, overlap.second_moments)
    unknown = np.full(len(moments[0].mean), np.nan)
    before = _from_moments(moments, (None, None), unknown)
    after = _from_moments(moments, (adjusted.get(names[0]), adjusted.get(names[1])), unknown)
    local = after
    if any(name in corrected for name in names):
        local = Residual(bias=unknown, exact_bias=unknown, rms=unknown, level=unknown, spread=unknown)
    states = compute_states(overlap, adjusted, corrected)
    if states is not None:
        before, after, local = (
            Residual(
                bias=(first - second).mean(axis=1),
                exact_bias=known.exact_bias,
                rms=np.sqrt(np.square(first - second).mean(axis=1)),
                level=(first.mean(axis=1) + second.mean(axis=1)) / 2,
                spread=np.sqrt((first.var(axis=1) + second.var(axis=1)) / 2),
            )
            for (first, second), known in zip(states, (before, after, local), strict=True)
        )
    return OverlapResidual(
        first=names[0],
        second=names[1],
        count=moments[0].count,
        samples=0 if states is None or overlap.samples is None else overlap.samples.x.size,
        before=before,
        after_global=after,
        after_local=local,
    )


def _from_moments(
    moments: tuple[Moments, Moments], adjustments: tuple[Adjustment | None, Adjustment | None], unknown: F64
) -> Residual:
    means, variances = [], []
    for moment, adjustment in zip(moments, adjustments, strict=True):
        scale = 1.0 if adjustment is None else adjustment.scale
        offset = 0.0 if adjustment is None else adjustment.offset
        means.append(scale * moment.mean + offset)
        variances.append(np.square(scale * moment.std))
    bias = means[0] - means[1]
    return Residual(
        bias=bias,
        exact_bias=bias,
        rms=unknown,
        level=(means[0] + means[1]) / 2,
        spread=np.sqrt((variances[0] + variances[1]) / 2),
    )


def summarise_residuals(residuals: Sequence[OverlapResidual], bands: int) -> dict[State, ResidualSummary]:
    """Each state over all overlaps; every figure over the pairs for which it is known."""
    weight = np.array([residual.count for residual in residuals], np.float64)
    summaries: dict[State, ResidualSummary] = {}
    for position, name in enumerate(STATES):
        states = [residual.states[position] for residual in residuals]
        pooled = np.array([pool(state.rms) for state in states])
        summaries[name] = ResidualSummary(
            rms=np.sqrt(_weighted_mean([np.square(state.rms) for state in states], weight, bands)),
            bias=np.sqrt(_weighted_mean([np.square(state.bias) for state in states], weight, bands)),
            level=_weighted_mean([state.level for state in states], weight, bands),
            spread=np.sqrt(_weighted_mean([np.square(state.spread) for state in states], weight, bands)),
            worst=residuals[int(np.nanargmax(pooled))] if np.isfinite(pooled).any() else None,
        )
    return summaries


def _weighted_mean(rows: Sequence[F64], weight: F64, bands: int) -> F64:
    values = np.array(rows).reshape(-1, bands)
    known = np.isfinite(values).all(axis=1)
    if not known.any():
        return np.full(bands, np.nan)
    used = weight[known, None]
    return np.asarray((values[known] * used).sum(axis=0) / used.sum(), np.float64)


def compute_sample_disagreement(overlaps: Sequence[Overlap]) -> float:
    """Share of the samples of overlaps whose difference is none of gain, offset and noise: clouds and change; NaN if unknown.

    Of each pair and band the values are taken as departures from their median, in median absolute departures, so that a gain
    and an offset cancel and a minority of clouds moves nothing. A sample disagrees where the difference of both exceeds 4.5
    robust standard deviations of the differences in some band; these are at least a step of whole numbers, and 0.1. Pairs are
    weighted by their pixels; those of fewer than 64 samples say nothing.
    """
    shares, weights = [], []
    for overlap in overlaps:
        samples = overlap.samples
        if samples is not None and samples.x.size >= _LEAST_SAMPLES:
            sides = samples.first.astype(np.float64), samples.second.astype(np.float64)
            disagrees = np.zeros(samples.x.size, np.bool_)
            for band in zip(*sides, strict=True):
                disagrees |= _find_outliers(*band)
            shares.append(float(disagrees.mean()))
            weights.append(overlap.first_moments.count)
    return float(np.average(shares, weights=weights)) if shares else math.nan


def _find_outliers(first: F64, second: F64) -> NDArray[np.bool_]:
    """Which of two scenes' values (n,) differ by more than a gain, an offset and noise, bool (n,)."""
    centred = [side - np.median(side) for side in (first, second)]
    sizes = [float(np.median(np.abs(side))) for side in centred]
    if min(sizes) <= 0:
        return np.zeros(first.shape, np.bool_)
    difference = centred[0] / sizes[0] - centred[1] / sizes[1]
    difference -= np.median(difference)
    are_whole = all((side == np.rint(side)).all() for side in (first, second))
    least = max(_LEAST_SPREAD, 1 / min(sizes) if are_whole else 0.0)
    spread = max(_MAD * float(np.median(np.abs(difference))), least)
    return np.asarray(np.abs(difference) > _OUTLIER * spread)


def compute_mean_scale(inputs: ReportInputs) -> F64:
    """Mean scale over the scenes of the run, (bands,): below 1, the solve lowers the contrast; 1 where the stage is off."""
    names = {scene.name for scene in inputs.scenes}
    used = [adjustment for adjustment in inputs.adjustments if adjustment.scene in names]
    return compute_contrast(used) if used else np.ones(len(inputs.bands))


def compute_coverage(counts: PixelCounts) -> float:
    """Share of the pixels that some scene has which the mosaic has too; NaN where no scene has any."""
    return counts.mosaic / counts.union if counts.union else math.nan


def compute_gradient_excess(inputs: ReportInputs) -> F64:
    """Mean step across seams / mean step beside them, (bands,): 1 is invisible, more is seen, less is blurred; NaN: unknown."""
    return np.full(len(inputs.bands), np.nan) if inputs.steps is None else inputs.steps.compute_excess()


def compute_seam_step(inputs: ReportInputs) -> float:
    """(Mean step across seams - mean step beside them) / standard deviation of the mosaic, percent, mean over the bands.

    A gradient excess of 3 on smooth ground is a step that nobody sees; this one is as large as it looks. NaN: unknown.
    """
    steps, statistics = inputs.steps, inputs.statistics
    if steps is None or statistics is None or not steps.across_count or not steps.beside_count:
        return math.nan
    more = steps.across / steps.across_count - steps.beside / steps.beside_count
    return 100 * float(np.mean(np.divide(more, statistics.std, out=np.full(len(more), np.nan), where=statistics.std > 0)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeamDifference:
    """How far matched scenes are apart along the seams; float64 (bands,), NaN where unknown."""

    mean: F64
    """Mean over the blocks that seams pass through of their RMS difference, units of the mosaic."""
    high: F64
    """Its 95th percentile."""
    spread: F64
    """Standard deviation of the mosaic."""

    def percent_of_spread(self, values: F64) -> float:
        """Quadratic mean over the bands of ``values`` (bands,) in percent of the spread; NaN where that has no meaning."""
        return _percent(values, self.spread)


def get_seam_difference(inputs: ReportInputs) -> SeamDifference:
    """Of a run; unknown where no blocks were matched, or no seam passes through one."""
    unknown = np.full(len(inputs.bands), np.nan)
    match, statistics = inputs.match, inputs.statistics
    return SeamDifference(
        mean=unknown if match is None else match.seam_mean,
        high=unknown if match is None else match.seam_high,
        spread=unknown if statistics is None else statistics.std,
    )


def compute_contrast_kept(inputs: ReportInputs) -> F64:
    """Standard deviation of the mosaic / mean of the scenes', (bands,), as they came; NaN: unknown, or in a reference's units.

    Where the ground varies more from scene to scene than within one, it is more than 1 without any matching.
    """
    known = [inputs.whole[scene.name] for scene in inputs.scenes if scene.name in inputs.whole]
    spreads = np.array([moments.std for moments in known if moments.count]).reshape(-1, len(inputs.bands))
    if inputs.statistics is None or not len(spreads) or inputs.config.reference.images is not None:
        return np.full(len(inputs.bands), np.nan)
    spread = spreads.mean(axis=0)
    return np.asarray(np.divide(inputs.statistics.std, spread, out=np.full(len(spread), np.nan), where=spread > 0))


def compute_scene_fidelity(inputs: ReportInputs) -> F64:
    """R² of the mosaic's cells against those of the scenes as they came, (bands,), 0 to 1; NaN: unknown."""
    return np.full(len(inputs.bands), np.nan) if inputs.scene_fidelity is None else inputs.scene_fidelity.explained


def compute_fidelity_mean(inputs: ReportInputs) -> float:
    """R² of the mosaic against the checks, mean over bands, then over checks by their cells; NaN where a check says nothing."""
    known = [(check.cells, float(check.explained.mean())) for check in inputs.fidelity if check.cells]
    total = sum(cells for cells, _ in known)
    return sum(cells * share for cells, share in known) / total if total else math.nan
