"""``report.json``: every figure of the report under stable keys, for programs.

The document holds no clock and no timing, so that the same inputs and configuration give the same bytes. It never holds NaN or
infinity: what is unknown is null. Floats are rounded to nine significant digits. Keys may be added within a major version of
``schema_version``; none is renamed or changes its meaning.

``summary`` is what a gate in CI looks at, one scalar each:

======================================  ==============================================================================
verdict                                 good, look or bad: the worst of what ``verdict`` says of single figures
coverage                                pixels of the mosaic / pixels that some scene has; 1 is complete
residual_before, residual_after         RMS difference in the overlaps, raw and after the last stage, source units, quadratic
                                        mean over the bands, each overlap weighted by its pixels
residual_before_percent, …_after_…      the same in percent of the mean level of the same state
residual_after_percent_of_spread        the same in percent of the standard deviation, which lower contrast cannot improve
bias_before, bias_after, …_percent      the same for the pairs' mean differences, which show as seams
bias_…_percent_of_spread                the same in percent of the standard deviation
worst_residual_after, …_percent         RMS difference of the worst pair (``residuals.<state>.worst`` names it)
contrast                                smallest mean scale of a band; below 0.9 is reported
gradient_excess                         mean step between neighbours across seams / mean step 2 to 12 pixels beside them, mean
                                        over the bands: 1 is invisible, above 1.1 is seen, below 0.9 is blurred
seam_step_percent_of_spread             how much larger the step across seams is than that beside them, percent of the mosaic's
                                        standard deviation, mean over the bands: on smooth ground a step may be many times
                                        that beside it and not be seen
seam_difference, seam_difference_high   RMS difference of the matched scenes in the blocks that seams pass through, units of the
                                        mosaic, quadratic mean over the bands: its mean along the seams, its 95th percentile
seam_difference_percent_of_spread, …    the same in percent of the mosaic's standard deviation
disagreement                            share of the blocks of overlaps in which the scenes disagree: clouds and change
sample_disagreement                     share of the samples of overlaps that differ by more than gain, offset and noise: the
                                        same without blocks, known for every run that has overlaps
illumination_trend                      how much of what is left between scenes is light within them, alike in all: R² of the
                                        blocks' differences against that pattern, 0 to 1, mean over the bands
contrast_kept                           standard deviation of the mosaic / mean of the scenes' as they came, mean over the
                                        bands; null with a reference, whose units the mosaic has
fidelity_to_scenes                      how much of the scenes as they came, averaged where several lie, the mosaic explains: R²
                                        over cells after one line a band, mean over bands. Ground that matching took away
                                        lowers it, and so does light that it rightly took out: only a check tells which
fidelity                                how much of the check rasters, which nothing was fitted to, the mosaic explains: R² over
                                        their cells after one line a band, mean over bands and checks; null without --check
misregistration, misregistration_high   how far apart pairs of scenes show the same ground, before anything is mended: median
                                        and 90th percentile over pairs, pixels of the mosaic; null unless
                                        align_rasters.coregister asks for it
misregistration_after                   what one shift a scene leaves of the median
misregistration_after_high              what it leaves of the 90th percentile
overlaps, scenes, warnings, infos       how many there are
                                        seam_difference…, disagreement and illumination_trend are known where a method
                                        matched blocks (robust_regression, surface_adjustment), else null.
======================================  ==============================================================================

The other sections: ``run``, ``verdict`` (the grade, that of each figure that counted, the limits beyond which it has to be
looked at or is bad, and flags that are likely to help), ``bands``, ``grid``, ``coverage``, ``contrast``, ``seams`` (one
element a band), ``match`` (what matched blocks say), ``fidelity`` (R² to each check, one element a band), ``scene_fidelity``
(the same to the scenes as they came), ``residuals`` (by state: before, global, local; one element a band), ``coregistration``
(displacements in CRS units), ``mosaic`` (statistics, one element a band), ``scenes``, ``overlaps``, ``parameters`` (those
that differ from their default and decide pixels) and ``findings``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from processor.config import dump_settings, iter_parameters
from processor.model import Finding
from processor.report.axes import describe_crs
from processor.report.figures import (
    STATES,
    OverlapResidual,
    ReportInputs,
    ResidualSummary,
    State,
    compute_contrast_kept,
    compute_coverage,
    compute_fidelity_mean,
    compute_gradient_excess,
    compute_mean_scale,
    compute_residuals,
    compute_sample_disagreement,
    compute_scene_fidelity,
    compute_seam_step,
    get_seam_difference,
    pool,
    summarise_residuals,
)
from processor.report.findings import compute_findings
from processor.report.verdict import Verdict, judge

SCHEMA_VERSION: Final = "1.0"


def build_report(inputs: ReportInputs, residuals: Sequence[OverlapResidual] | None = None) -> dict[str, Any]:
    """The content of ``report.json``: JSON values only.

    Parameters
    ----------
    inputs
        Of the run.
    residuals
        From :func:`~processor.report.figures.compute_residuals` where they have been computed already.
    """
    if residuals is None:
        residuals = compute_residuals(inputs.overlaps, inputs.adjustments, inputs.corrections)
    states = summarise_residuals(residuals, len(inputs.bands))
    sampled = compute_sample_disagreement(inputs.overlaps)
    findings = compute_findings(inputs, residuals, states, sampled)
    scale = compute_mean_scale(inputs)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread_ratio = states["local"].spread / states["before"].spread
    summary = _summary(inputs, residuals, states, scale, sampled, findings)
    verdict = judge(summary, inputs.config, findings)
    grid, counts, statistics = inputs.grid, inputs.counts, inputs.statistics
    crs = describe_crs(grid.crs)
    values = dump_settings(inputs.config)
    return {
        "schema_version": SCHEMA_VERSION,
        "run": {"item_id": inputs.item_id, "software": "mosaic-processor", "version": inputs.version, "digest": inputs.digest},
        "summary": {"verdict": verdict.grade, **summary},
        "verdict": _verdict(verdict),
        "bands": [{"name": band.name, "common_name": band.common_name} for band in inputs.bands],
        "grid": {
            "crs": grid.crs,
            "crs_name": crs.name,
            "unit": crs.unit,
            "bounds": list(grid.bounds.as_tuple()),
            "pixel_width": grid.pixel_width,
            "pixel_height": grid.pixel_height,
            "width": grid.width,
            "height": grid.height,
        },
        "coverage": {
            "share": _number(compute_coverage(counts)),
            "mosaic_pixels": counts.mosaic,
            "union_pixels": counts.union,
            "missing_pixels": counts.union - counts.mosaic,
            "fallback_pixels": counts.fallback,
            "grid_pixels": grid.width * grid.height,
        },
        "contrast": {
            "mean_scale": _numbers(scale),
            "overlap_spread_ratio": _numbers(spread_ratio),
            "kept": _numbers(compute_contrast_kept(inputs)),
        },
        "seams": _seams(inputs),
        "match": _match(inputs),
        "coregistration": _coregistration(inputs),
        "fidelity": [
            {"check": check.name, "cell_pixels": check.cell, "cells": check.cells, "r2": _numbers(check.explained)}
            for check in inputs.fidelity
        ],
        "scene_fidelity": None
        if inputs.scene_fidelity is None
        else {
            "cell_pixels": inputs.scene_fidelity.cell,
            "cells": inputs.scene_fidelity.cells,
            "r2": _numbers(inputs.scene_fidelity.explained),
        },
        "residuals": {state: _state(states[state], position) for position, state in enumerate(STATES)},
        "mosaic": None
        if statistics is None
        else {
            "pixels": statistics.count,
            "mean": _numbers(statistics.mean),
            "std": _numbers(statistics.std),
            "minimum": _numbers(statistics.minimum),
            "maximum": _numbers(statistics.maximum),
        },
        "scenes": _scenes(inputs),
        "overlaps": [_overlap(residual) for residual in residuals],
        "parameters": {
            parameter.path: _plain(values[parameter.section][parameter.name])
            for parameter in iter_parameters(inputs.config)
            if parameter.is_decisive and inputs.config.get(parameter) != parameter.field.default
        },
        "findings": [asdict(finding) for finding in findings],
    }


def encode_report(report: Mapping[str, Any]) -> bytes:
    """ASCII JSON with a fixed layout: a section a line, and a line for each scene, overlap and finding.

    Raises
    ------
    ValueError
        If a number is not finite.
    """
    sections = []
    for key, value in report.items():
        text = json.dumps(value, allow_nan=False)
        if isinstance(value, list) and value:
            text = "[\n" + ",\n".join(f"  {json.dumps(row, allow_nan=False)}" for row in value) + "\n ]"
        sections.append(f" {json.dumps(key)}: {text}")
    return ("{\n" + ",\n".join(sections) + "\n}\n").encode()


def _number(value: float) -> float | int | None:
    """Nine significant digits: more would show in which order a processor adds. Whole numbers as integers."""
    if not math.isfinite(value):
        return None
    rounded = float(f"{value:.9g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 2**53 else rounded


def _numbers(values: Iterable[float] | NDArray[np.float64]) -> list[float | int | None]:
    return [_number(float(value)) for value in values]


def _summary(
    inputs: ReportInputs,
    residuals: Sequence[OverlapResidual],
    states: Mapping[State, ResidualSummary],
    scale: NDArray[np.float64],
    sampled: float,
    findings: Sequence[Finding],
) -> dict[str, Any]:
    before, after, seam = states["before"], states["local"], get_seam_difference(inputs)
    kept = compute_contrast_kept(inputs)
    worst = np.full(len(inputs.bands), np.nan) if after.worst is None else after.worst.after_local.rms
    warnings = sum(finding.severity == "warning" for finding in findings)
    return {
        "coverage": _number(compute_coverage(inputs.counts)),
        "residual_before": _number(pool(before.rms)),
        "residual_after": _number(pool(after.rms)),
        "residual_before_percent": _number(before.percent_of_level(before.rms)),
        "residual_after_percent": _number(after.percent_of_level(after.rms)),
        "residual_before_percent_of_spread": _number(before.percent_of_spread(before.rms)),
        "residual_after_percent_of_spread": _number(after.percent_of_spread(after.rms)),
        "bias_before": _number(pool(before.bias)),
        "bias_after": _number(pool(after.bias)),
        "bias_before_percent": _number(before.percent_of_level(before.bias)),
        "bias_after_percent": _number(after.percent_of_level(after.bias)),
        "bias_before_percent_of_spread": _number(before.percent_of_spread(before.bias)),
        "bias_after_percent_of_spread": _number(after.percent_of_spread(after.bias)),
        "worst_residual_after": _number(pool(worst)),
        "worst_residual_after_percent": _number(after.percent_of_level(worst)),
        "contrast": _number(float(scale.min())) if scale.size else None,
        "gradient_excess": _number(float(compute_gradient_excess(inputs).mean())) if inputs.bands else None,
        "seam_step_percent_of_spread": _number(compute_seam_step(inputs)),
        "seam_difference": _number(pool(seam.mean)),
        "seam_difference_high": _number(pool(seam.high)),
        "seam_difference_percent_of_spread": _number(seam.percent_of_spread(seam.mean)),
        "seam_difference_high_percent_of_spread": _number(seam.percent_of_spread(seam.high)),
        "disagreement": None if inputs.match is None else _number(inputs.match.disagreement),
        "sample_disagreement": _number(sampled),
        "illumination_trend": None if inputs.match is None else _number(inputs.match.trend),
        "contrast_kept": _number(float(kept.mean())) if kept.size else None,
        "fidelity_to_scenes": _number(float(compute_scene_fidelity(inputs).mean())) if inputs.bands else None,
        "fidelity": _number(compute_fidelity_mean(inputs)),
        **_misregistration(inputs),
        "scenes": len(inputs.scenes),
        "overlaps": len(residuals),
        "warnings": warnings,
        "infos": len(findings) - warnings,
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "grade": verdict.grade,
        "figures": [
            {
                "figure": judgement.criterion.figure,
                "title": judgement.criterion.title,
                "meaning": judgement.criterion.meaning,
                "value": judgement.value,
                "grade": judgement.grade,
                "comparison": "<" if judgement.criterion.is_least else ">",
                "look": judgement.criterion.look,
                "bad": judgement.criterion.bad,
            }
            for judgement in verdict.judgements
        ],
        "advice": None if verdict.advice is None else {"flags": verdict.advice.flags, "reason": verdict.advice.reason},
    }


def _misregistration(inputs: ReportInputs) -> dict[str, float | None]:
    known = inputs.coregistration
    return {
        "misregistration": None if known is None else _number(known.median),
        "misregistration_high": None if known is None else _number(known.high),
        "misregistration_after": None if known is None else _number(known.median_after),
        "misregistration_after_high": None if known is None else _number(known.high_after),
    }


def _coregistration(inputs: ReportInputs) -> dict[str, Any] | None:
    known = inputs.coregistration
    if known is None:
        return None
    return {
        "is_applied": known.is_applied,
        "scenes": [
            {"name": scene.name, "right": _number(right), "up": _number(up)}
            for scene, right, up in zip(inputs.scenes, known.right, known.up, strict=True)
        ],
        "pairs": [
            {
                "first": pair.first,
                "second": pair.second,
                "right": _number(pair.right),
                "up": _number(pair.up),
                "spread": _number(pair.spread),
                "windows": pair.windows,
            }
            for pair in known.pairs
        ],
    }


def _state(summary: ResidualSummary, position: int) -> dict[str, Any]:
    worst = summary.worst
    return {
        "rms": _numbers(summary.rms),
        "bias": _numbers(summary.bias),
        "level": _numbers(summary.level),
        "spread": _numbers(summary.spread),
        "rms_percent": _number(summary.percent_of_level(summary.rms)),
        "rms_percent_of_spread": _number(summary.percent_of_spread(summary.rms)),
        "bias_percent": _number(summary.percent_of_level(summary.bias)),
        "worst": None
        if worst is None
        else {"first": worst.first, "second": worst.second, "rms": _numbers(worst.states[position].rms)},
    }


def _seams(inputs: ReportInputs) -> dict[str, Any]:
    steps, difference = inputs.steps, get_seam_difference(inputs)
    pairs = (0, 0) if steps is None else (steps.across_count, steps.beside_count)
    sums = (np.zeros(len(inputs.bands)),) * 2 if steps is None else (steps.across, steps.beside)
    means = [_numbers(total / count) if count else [None] * len(inputs.bands) for total, count in zip(sums, pairs, strict=True)]
    return {
        "gradient_excess": _numbers(compute_gradient_excess(inputs)),
        "step_across": means[0],
        "step_beside": means[1],
        "pairs_across": pairs[0],
        "pairs_beside": pairs[1],
        "difference": _numbers(difference.mean),
        "difference_high": _numbers(difference.high),
        "are_ranked": any(view.difference is not None for view in inputs.seam_views),
        "difference_blocks": 0 if inputs.match is None else inputs.match.seam_blocks,
    }


def _match(inputs: ReportInputs) -> dict[str, Any] | None:
    if inputs.match is None:
        return None
    return {
        "disagreement": _number(inputs.match.disagreement),
        "illumination_trend": _number(inputs.match.trend),
        "illumination_trend_after_global": _number(inputs.match.trend_global),
        "illumination_size_after_global": _number(inputs.match.trend_size),
    }


def _scenes(inputs: ReportInputs) -> list[dict[str, Any]]:
    adjustments = {adjustment.scene: adjustment for adjustment in inputs.adjustments}
    cells = {cell.scene: cell.polygon for cell in inputs.cells}
    bands, total = len(inputs.bands), inputs.counts.mosaic
    rows = []
    for scene in inputs.scenes:
        adjustment, polygon = adjustments.get(scene.name), cells.get(scene.name)
        owned, moments = inputs.counts.owned.get(scene.name), inputs.whole.get(scene.name)
        rows.append(
            {
                "name": scene.name,
                **({} if scene.title == scene.name else {"id": scene.title}),
                "measured_pixels": None if moments is None else moments.count,  # fewer than its own where from overviews
                "mean": [None] * bands if moments is None else _numbers(moments.mean),
                "std": [None] * bands if moments is None else _numbers(moments.std),
                "gain": _numbers(np.ones(bands) if adjustment is None else adjustment.scale),
                "offset": _numbers(np.zeros(bands) if adjustment is None else adjustment.offset),
                "contributed_pixels": owned,
                "contributed_share": None if owned is None or not total else _number(owned / total),
                **({"rank": inputs.ranks[scene.name]} if scene.name in inputs.ranks else {}),
                "cell_area": None if polygon is None else _number(float(polygon.area)),
                "cell_pieces": None if polygon is None else sum(not part.is_empty for part in shapely.get_parts(polygon)),
                "pixel_size": [scene.grid.pixel_width, scene.grid.pixel_height],
            }
        )
    return rows


def _overlap(residual: OverlapResidual) -> dict[str, Any]:
    return {
        "first": residual.first,
        "second": residual.second,
        "measured_pixels": residual.count,
        "samples": residual.samples,
        **{
            state: {
                "bias": _numbers(figures.bias),
                "bias_exact": _numbers(figures.exact_bias),
                "rms": _numbers(figures.rms),
                "rms_all_bands": _number(pool(figures.rms)),
            }
            for state, figures in zip(STATES, residual.states, strict=True)
        },
    }


def _plain(value: Any) -> Any:
    """A value of the configuration as JSON has it: nodata may be NaN, which becomes the word."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
