"""Rules that turn figures into findings: what a user should know before using the mosaic, and what to do about it.

Codes are stable: ``contrast-lowered``, ``coverage-gap``, ``fallback-used``, ``groups-apart``, ``illumination-trend``,
``local-outlier``, ``misregistered``, ``negative-scale``, ``no-overlap``, ``offset-outlier``, ``overlaps-worse``,
``residual-raised``, ``scale-outlier``, ``scene-isolated``, ``scene-unused``,
``scenes-disagree``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from processor.model import Band, Finding
from processor.mosaic.plan_findings import describe_groups
from processor.report.figures import (
    OverlapResidual,
    ReportInputs,
    ResidualSummary,
    State,
    compute_coverage,
    compute_mean_scale,
    pool,
)
from processor.stages.matching.options import SurfaceAdjustmentOptions
from processor.stages.matching.pair_network import find_groups

LOWEST_CONTRAST: Final = 0.9  # mean scale, or spread after the local stage against before it
_FACTOR = 2.0  # a gain, or a local change of the level, by more than this factor either way is an outlier
_SHIFT = 2.0  # standard deviations that an adjustment may move a scene's mean
_FEW = 0.0075  # share of a scene's blocks up to which outliers are those that few pixels decide by chance
_WORSE = 1.05  # a residual that grows by less is not worth a word
_FALLBACK = 0.01  # share of the mosaic
_TREND = 0.3  # share of what the gains leave that is light within the scenes
_TREND_SIZE = 0.03  # of the level: light that varies by less is not worth a word
_BESIDE: Final = 1.0  # pixels: pairs that lie farther apart are told of
_DISAGREEMENT = 0.05  # share of samples: scenes without clouds have up to 0.025
_BLOCK_DISAGREEMENT = 0.12  # share of blocks: scenes without clouds have up to 0.08
_SHOWN = 5  # scenes named per code; one finding speaks for the rest
_ANCHORED: Final = "global_regression"
_BLOCKS: Final = "local_block_adjustment"
_SURFACES: Final = "surface_adjustment"
_PRESETS: Final = "match with --preset satellite (--preset aerial where the light varies within all scenes alike)"
_UNANCHORED: Final = (
    f"{_PRESETS}, which keeps it, lower global_regression.custom_mean_factor (try 0.25) to keep more of it and leave more "
    "to the local adjustment, or "
)
_FEWER_BLOCKS: Final = (
    "; use fewer blocks (local_block_adjustment.number_of_blocks), so that they follow the light and not the ground, or "
    f"{_PRESETS}"
)
_STIFFER: Final = "; raise surface_adjustment.ridge (try 0.2), so that surfaces correct less"
_SHARED_LIGHT: Final = (
    "; where the scenes were lit unevenly that light was part of it and is rightly gone; where they were not, match with "
    "--preset satellite"
)


def compute_findings(
    run: ReportInputs,
    residuals: Sequence[OverlapResidual],
    summary: Mapping[State, ResidualSummary],
    sampled: float,
) -> tuple[Finding, ...]:
    """Findings of the run's other stages, then the report's own; warnings before infos, else in a fixed order.

    Parameters
    ----------
    run
        Of the run.
    residuals, summary
        From :func:`~processor.report.figures.compute_residuals` and
        :func:`~processor.report.figures.summarise_residuals`.
    sampled
        From :func:`~processor.report.figures.compute_sample_disagreement`.
    """
    own = (
        *_judge_coverage(run),
        *_judge_contrast(run, summary),
        *_judge_residuals(residuals, summary),
        *_judge_light(run),
        *_judge_places(run),
        *_judge_disagreement(run, sampled),
        *_judge_adjustments(run),
        *_judge_corrections(run),
        *_judge_overlaps(run, residuals),
        *_judge_cells(run),
    )
    return tuple(sorted((*run.findings, *own), key=lambda finding: finding.severity != "warning"))


def _has_reference(run: ReportInputs) -> bool:
    """Whether the mosaic is in the units of a reference, whose levels and contrast say nothing of the scenes'."""
    return run.config.reference.images is not None


def _judge_coverage(run: ReportInputs) -> Iterator[Finding]:
    missing = run.counts.union - run.counts.mosaic
    if missing > 0:
        yield Finding(
            severity="warning",
            code="coverage-gap",
            stage=run.config.find_method("merge_method"),
            message=(
                f"{missing:,} pixels that some scene has are missing from the mosaic (coverage "
                f"{compute_coverage(run.counts):.6f}, expected 1); a mask that was asked for explains this, otherwise it is "
                "a defect: please report it"
            ),
        )
    share = run.counts.fallback / run.counts.mosaic if run.counts.mosaic else 0.0
    if share > _FALLBACK:
        yield Finding(
            severity="info",
            code="fallback-used",
            stage="mask_rasters",
            message=(
                f"{share:.1%} of the mosaic was filled by a scene that does not own the cell, because the owner has no valid "
                "pixel there; scenes with large holes (cloud masks) do this, and seams may run along the holes' edges"
            ),
        )


def _judge_contrast(run: ReportInputs, summary: Mapping[State, ResidualSummary]) -> Iterator[Finding]:
    if _has_reference(run):
        return
    scale = compute_mean_scale(run)
    method = run.config.find_method("matching_global_method")
    low = [f"{band.label} {value:.3f}" for band, value in zip(run.bands, scale, strict=True) if value < LOWEST_CONTRAST]
    if low:
        yield Finding(
            severity="warning",
            code="contrast-lowered",
            stage=method,
            message=(
                f"the global solve lowers the contrast: mean scale {', '.join(low)} (1 keeps it, below {LOWEST_CONTRAST:g} is "
                f"reported); {_UNANCHORED if method == _ANCHORED else ''}leave out scenes that differ most (haze, cloud, "
                "another season)"
            ),
        )
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = summary["local"].spread / summary["global"].spread
    flat = [f"{band.label} {value:.3f}" for band, value in zip(run.bands, ratio, strict=True) if value < LOWEST_CONTRAST]
    if flat and run.corrections:
        lit = run.config.of(SurfaceAdjustmentOptions).illumination is not None
        method = run.config.find_method("matching_local_method")
        advice = {_BLOCKS: _FEWER_BLOCKS, _SURFACES: _SHARED_LIGHT if lit else _STIFFER}.get(str(method), "")
        yield Finding(
            severity="info" if advice == _SHARED_LIGHT else "warning",
            code="contrast-lowered",
            stage=method,
            message=(
                f"the local adjustment lowers the standard deviation in the overlaps by a factor of {', '.join(flat)} (below "
                f"{LOWEST_CONTRAST:g} is reported){advice}"
            ),
        )


def _judge_residuals(residuals: Sequence[OverlapResidual], summary: Mapping[State, ResidualSummary]) -> Iterator[Finding]:
    before, after = pool(summary["before"].rms), pool(summary["local"].rms)
    if after > _WORSE * before:
        yield Finding(
            severity="warning",
            code="residual-raised",
            message=(
                f"the overlaps differ more after matching than before (RMS {before:.4g} to {after:.4g} source units); compare "
                "the pairs in the report, and switch off the stage that raises it or leave out the scene they share"
            ),
        )
    worse = [r for r in residuals if pool(r.after_local.rms) > _WORSE * pool(r.before.rms)]
    if worse:
        named = ", ".join(f"{r.first} - {r.second}" for r in worse[:3])
        more = f" and {len(worse) - 3} more" if len(worse) > 3 else ""
        yield Finding(
            severity="info",
            code="overlaps-worse",
            message=(
                f"{len(worse):,} of {len(residuals):,} overlaps differ more after matching than before: {named}{more}; a "
                "compromise between many pairs does this to a few, cloud or changed ground in an overlap to those near it"
            ),
        )


def _judge_light(run: ReportInputs) -> Iterator[Finding]:
    """Whether light within the scenes is left to gains that cannot follow it; a method that solves for it has no such gains."""
    if run.match is None or not run.adjustments:
        return
    if run.match.trend_global > _TREND and run.match.trend_size > _TREND_SIZE:
        yield Finding(
            severity="info",
            code="illumination-trend",
            stage="robust_regression",
            message=(
                f"{run.match.trend_global:.0%} of what the gains leave between scenes is light within them, alike in all "
                f"(about {run.match.trend_size:.0%} of the level), which gains and offsets cannot follow; if these are aerial "
                "or drone scenes, or wide swaths, run it again with --preset aerial"
            ),
        )


def _judge_places(run: ReportInputs) -> Iterator[Finding]:
    """Whether scenes lie so far beside one another that one shift each would show."""
    known = run.coregistration
    if known is None or known.is_applied or not known.high > _BESIDE or not known.high_after < 0.5 * known.high:
        return
    yield Finding(
        severity="info",
        code="misregistered",
        stage="align_rasters",
        message=(
            f"scenes lie {known.median:.1f} pixels beside one another (median over {len(known.pairs):,} pairs; 90th percentile "
            f"{known.high:.1f}), and one shift a scene leaves {known.median_after:.1f} ({known.high_after:.1f}): run it again "
            "with --align_rasters.coregister true, and resample with --align_rasters.resampling_method cubic to stay sharp"
        ),
    )


def _judge_disagreement(run: ReportInputs, sampled: float) -> Iterator[Finding]:
    """Whether clouds or change stand in the overlaps: by blocks where a robust method leaves them out, else by samples."""
    share = math.nan if run.match is None else run.match.disagreement
    if math.isnan(share):
        share = sampled
        if share > _DISAGREEMENT and (run.adjustments or run.corrections):
            yield Finding(
                severity="warning",
                code="scenes-disagree",
                stage=run.config.find_method("matching_global_method"),
                message=(
                    f"scenes differ in {share:.0%} of what they share by more than gain, offset and noise (above "
                    f"{_DISAGREEMENT:.0%} is reported): clouds, shadows or changed ground, which draw the matching with them; "
                    "mark them (inputs.mask), or match with --preset satellite, which leaves them out"
                ),
            )
    elif share > _BLOCK_DISAGREEMENT and not sampled <= _DISAGREEMENT:  # which scenes do that differ by less than noise
        lit = run.config.of(SurfaceAdjustmentOptions).illumination is not None
        yield Finding(
            severity="info",
            code="scenes-disagree",
            stage=run.config.find_method("matching_local_method" if lit else "matching_global_method"),
            message=(
                f"scenes disagree in {share:.0%} of their overlaps' blocks (above {_BLOCK_DISAGREEMENT:.0%} is reported): "
                "clouds, shadows or changed ground, left out of the matching, but not of the mosaic; agreement.tif says where, "
                "inputs.mask hides them"
            ),
        )


def _judge_adjustments(run: ReportInputs) -> Iterator[Finding]:
    negative, scales, shifts = [], [], []
    moved = not _has_reference(run)
    outlier = partial(Finding, severity="warning", stage=run.config.find_method("matching_global_method"))
    for adjustment in run.adjustments:
        scene, scale = adjustment.scene, adjustment.scale
        bad = scale <= 0
        if bad.any():
            message = (
                f"the scale is not positive ({_listing(scale, run.bands, bad)}), which turns bright into dark; leave the scene "
                "out, or lower global_regression.custom_mean_factor"
            )
            negative.append(outlier(code="negative-scale", scene=scene, message=message))
        far = moved & ~bad & ((scale > _FACTOR) | (scale < 1 / _FACTOR))
        if far.any():
            message = (
                f"the scale is far from 1 ({_listing(scale, run.bands, far)}; {1 / _FACTOR:g} to {_FACTOR:g} is usual); check "
                "the scene's units and calibration, and its overlaps for cloud"
            )
            scales.append(outlier(code="scale-outlier", scene=scene, message=message))
        moments = run.whole.get(scene)
        if moments is None or not moments.count:
            continue
        with np.errstate(invalid="ignore", divide="ignore"):
            shift = (scale * moments.mean + adjustment.offset - moments.mean) / moments.std
        shifted = moved & (np.abs(shift) > _SHIFT)
        if shifted.any():
            message = (
                f"scale and offset move the scene's mean by more than {_SHIFT:g} of its standard deviations "
                f"({_listing(shift, run.bands, shifted)}); check the scene's units and calibration, and its overlaps for cloud"
            )
            shifts.append(outlier(code="offset-outlier", scene=scene, message=message))
    yield from _cap(negative)
    yield from _cap(scales)
    yield from _cap(shifts)


def _judge_corrections(run: ReportInputs) -> Iterator[Finding]:
    if _has_reference(run):
        return
    adjusted = {adjustment.scene: adjustment for adjustment in run.adjustments}
    method = run.config.find_method("matching_local_method")
    fewer = " or fewer blocks (local_block_adjustment.number_of_blocks)" if method == _BLOCKS else ""
    places = "blocks" if method == _BLOCKS else "control points"
    outliers = []
    for correction in run.corrections:
        moments = run.whole.get(correction.scene)
        if moments is None or not moments.count:
            continue
        adjustment = adjusted.get(correction.scene)
        level = moments.mean if adjustment is None else adjustment.scale * moments.mean + adjustment.offset
        factor = correction.compute_factors(level)
        far = _keep_sound(factor, (factor > _FACTOR) | (factor < 1 / _FACTOR))  # NaN, a missing block, is neither
        if far.any(axis=0).sum() > _FEW * np.isfinite(factor).any(axis=0).sum():
            beyond = factor[far]
            change = np.abs(np.log(beyond, out=np.full_like(beyond, np.inf), where=beyond > 0))
            extreme = float(beyond[np.argmax(change)])
            message = (
                f"the local adjustment changes the level by more than a factor of {_FACTOR:g} in {int(far.any(axis=0).sum())} "
                f"{places} (the most: {extreme:.3g}); look there for cloud, snow or glint in one scene, and use a cleaner "
                f"scene{fewer}"
            )
            outliers.append(
                Finding(
                    severity="warning",
                    code="local-outlier",
                    scene=correction.scene,
                    stage=method,
                    message=message,
                )
            )
    yield from _cap(outliers)


def _keep_sound(factor: NDArray[np.float64], far: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Without blocks beside missing ones: at the edge of what a scene has, a block may hold a few pixels that say nothing.

    Parameters
    ----------
    factor
        (bands, rows, cols), NaN where a block is missing.
    far
        Same shape, True where a factor is an outlier.
    """
    padded = np.pad(np.isfinite(factor), ((0, 0), (1, 1), (1, 1)), constant_values=True)
    whole = sliding_window_view(padded, (3, 3), axis=(1, 2)).all(axis=(3, 4))
    return np.asarray(far & whole)


def _judge_overlaps(run: ReportInputs, residuals: Sequence[OverlapResidual]) -> Iterator[Finding]:
    if len(run.scenes) < 2:
        return
    stage = next(filter(None, map(run.config.find_method, ("matching_global_method", "matching_local_method"))), None)
    if not residuals:
        yield Finding(
            severity="warning",
            code="no-overlap",
            stage=stage,
            message=(
                f"no two of the {len(run.scenes):,} scenes share a valid pixel, so nothing could be matched; check that "
                "they cover the same area and that shared.custom_nodata_value is what the files mean by nodata"
            ),
        )
        return
    yield from _judge_groups(run, residuals, stage)
    met = {name for residual in residuals for name in (residual.first, residual.second)}
    yield from _cap(
        [
            Finding(
                severity="info",
                code="scene-isolated",
                scene=scene.name,
                stage=stage,
                message="the scene shares no valid pixel with another, so nothing ties its level to theirs; look at its edges",
            )
            for scene in run.scenes
            if scene.name not in met
        ]
    )


def _judge_groups(run: ReportInputs, residuals: Sequence[OverlapResidual], stage: str | None) -> Iterator[Finding]:
    """Groups of scenes whose bounds overlap, but not their valid pixels; the plan names those that not even bounds tie."""
    if _has_reference(run) or stage is None or any(finding.code == "groups-apart" for finding in run.findings):
        return
    position = {scene.name: number for number, scene in enumerate(run.scenes)}
    first, second = np.array([(position[r.first], position[r.second]) for r in residuals], dtype=np.intp).T
    groups = find_groups(first, second, np.ones(len(first)), len(position))
    listed = [
        [run.scenes[at].name for at in np.flatnonzero(groups == group).tolist()] for group in range(int(groups.max()) + 1)
    ]
    several = [names for names in listed if len(names) > 1]
    if len(several) > 1:
        yield Finding(severity="warning", code="groups-apart", stage=stage, message=describe_groups(several))


def _judge_cells(run: ReportInputs) -> Iterator[Finding]:
    unused = [scene.name for scene in run.scenes if not run.counts.owned.get(scene.name, 0)]
    if run.counts.owned and len(unused) < len(run.scenes):
        yield from _cap(
            [
                Finding(
                    severity="info",
                    code="scene-unused",
                    scene=name,
                    stage="voronoi_center_seamline",
                    message=(
                        "the scene contributes no pixel to the mosaic, because others cover its ground; it still pulls on the "
                        "matching, so leave it out if it is poor"
                    ),
                )
                for name in unused
            ]
        )


def _cap(findings: list[Finding]) -> Iterator[Finding]:
    """The first of them, and one that counts the rest."""
    yield from findings[:_SHOWN]
    rest = findings[_SHOWN:]
    if rest:
        named = ", ".join(str(finding.scene) for finding in rest[: 2 * _SHOWN])
        more = ", …" if len(rest) > 2 * _SHOWN else ""
        yield Finding(
            severity=rest[0].severity,
            code=rest[0].code,
            stage=rest[0].stage,
            message=f"the same holds for {len(rest):,} more scenes: {named}{more}",
        )


def _listing(values: NDArray[np.float64], bands: Sequence[Band], which: NDArray[np.bool_]) -> str:
    named = zip(bands, values, which, strict=True)
    return ", ".join(f"{band.label} {value:.3g}" for band, value, chosen in named if chosen and not math.isnan(value))
