from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike
from reports import make_report_inputs

from processor.cli.commands import build_parser
from processor.config import iter_parameters
from processor.model import Finding
from processor.report import findings as module
from processor.report.figures import (
    ReportInputs,
    compute_residuals,
    compute_sample_disagreement,
    summarise_residuals,
)
from processor.report.findings import compute_findings
from processor.stages.matching.control_surface import ControlGrid, ControlSurface
from processor.stages.matching.match_figures import MatchFigures


def find(inputs: ReportInputs) -> tuple[Finding, ...]:
    residuals = compute_residuals(inputs.overlaps, inputs.adjustments, inputs.corrections)
    states = summarise_residuals(residuals, len(inputs.bands))
    return compute_findings(inputs, residuals, states, compute_sample_disagreement(inputs.overlaps))


def codes(inputs: ReportInputs) -> list[tuple[str, str, str | None]]:
    return [(finding.severity, finding.code, finding.scene) for finding in find(inputs)]


def change_scale(inputs: ReportInputs, position: int, factor: ArrayLike) -> ReportInputs:
    adjustments = list(inputs.adjustments)
    adjustments[position] = dataclasses.replace(adjustments[position], scale=adjustments[position].scale * np.asarray(factor))
    return dataclasses.replace(inputs, adjustments=tuple(adjustments))


def change_parameter(inputs: ReportInputs, position: int, value: float, **fields: Any) -> ReportInputs:
    corrections = list(inputs.corrections)
    parameter = corrections[position].parameter.copy()
    parameter[0, 1, 2] = value
    corrections[position] = dataclasses.replace(corrections[position], parameter=parameter, **fields)
    return dataclasses.replace(inputs, corrections=tuple(corrections))


def test_good_run_has_none() -> None:
    assert find(make_report_inputs()) == ()


def test_single_scene_has_none() -> None:
    assert find(make_report_inputs(1, 1, 1)) == ()


@pytest.mark.parametrize(("scale", "expected"), [(0.91, []), (0.89, [("warning", "contrast-lowered", None)])])
def test_lower_contrast_is_reported_below_nine_tenths(scale: float, expected: list[tuple[str, str, str | None]]) -> None:
    found = [code for code in codes(make_report_inputs(50, 1, scale=scale)) if code[1] == "contrast-lowered"]
    assert found == expected


def find_low(inputs: ReportInputs) -> list[Finding]:
    return [finding for finding in find(inputs) if finding.code == "contrast-lowered"]


def test_lower_contrast_is_answered_by_the_command_that_keeps_it() -> None:
    (finding,) = find_low(make_report_inputs(50, 1, scale=0.8))
    assert finding.stage == "global_regression"
    for advice in ("--preset satellite", "--preset aerial", "custom_mean_factor"):
        assert advice in finding.message
    build_parser().parse_args(["run", "items.json", "--output", "mosaics", "--preset", "satellite"])


def test_advice_is_that_of_the_method_that_ran() -> None:
    (finding,) = find_low(make_report_inputs(50, 1, scale=0.8, flags={"methods.preset": "satellite"}))
    assert finding.stage == "robust_regression"
    assert "custom_mean_factor" not in finding.message
    assert "--preset" not in finding.message


@pytest.mark.parametrize(
    ("flags", "severity", "advice"),
    [
        ({}, "warning", "number_of_blocks"),
        ({"methods.preset": "satellite"}, "warning", "surface_adjustment.ridge"),
        ({"methods.preset": "aerial"}, "info", "--preset satellite"),
    ],
)
def test_contrast_lost_in_the_local_stage_is_answered_by_its_method(flags: dict[str, Any], severity: str, advice: str) -> None:
    inputs = make_report_inputs(flags=flags)
    flat = tuple(
        dataclasses.replace(c, method="offset", parameter=np.full_like(c.parameter, 0.6), alpha=10.0)
        for c in inputs.corrections
    )
    (finding,) = find_low(dataclasses.replace(inputs, corrections=flat))
    assert (finding.severity, finding.stage) == (severity, inputs.config.find_method("matching_local_method"))
    assert advice in finding.message


def test_levels_and_contrast_of_a_reference_are_no_findings() -> None:
    def judge(flags: dict[str, Any]) -> set[str]:
        inputs = make_report_inputs(scale=0.3, flags={"methods.preset": "satellite", **flags})
        return {finding.code for finding in find(change_parameter(inputs, 1, 3.0))}

    assert {"contrast-lowered", "scale-outlier", "offset-outlier", "local-outlier"} <= judge({})
    assert judge({"reference.images": "sentinel2.tif"}) <= {"overlaps-worse", "residual-raised"}


def test_contrast_lost_in_the_local_stage_is_reported_as_that_stages() -> None:
    inputs = make_report_inputs()
    flat = tuple(
        dataclasses.replace(c, method="offset", parameter=np.full_like(c.parameter, 0.6), alpha=10.0)
        for c in inputs.corrections
    )
    found = [finding for finding in find(dataclasses.replace(inputs, corrections=flat)) if finding.code == "contrast-lowered"]
    assert [finding.stage for finding in found] == ["local_block_adjustment"]


def test_missing_pixels_are_counted() -> None:
    inputs = make_report_inputs()
    counts = dataclasses.replace(inputs.counts, union=inputs.counts.mosaic + 1234)
    (finding,) = find(dataclasses.replace(inputs, counts=counts))
    assert (finding.severity, finding.code) == ("warning", "coverage-gap")
    assert "1,234 pixels" in finding.message


@pytest.mark.parametrize(("share", "expected"), [(0.005, []), (0.02, [("info", "fallback-used", None)])])
def test_fallback_is_noted_above_one_percent(share: float | None, expected: list[tuple[str, str, str | None]]) -> None:
    inputs = make_report_inputs()
    counts = dataclasses.replace(inputs.counts, fallback=round(share * inputs.counts.mosaic))
    assert codes(dataclasses.replace(inputs, counts=counts)) == expected


def test_negative_scale_names_scene_and_bands() -> None:
    inputs = change_scale(make_report_inputs(), 1, np.array([1, -1, 1]))
    (finding,) = (finding for finding in find(inputs) if finding.code == "negative-scale")
    assert finding.scene == "scene_0001"
    assert "green -" in finding.message
    assert "red" not in finding.message


@pytest.mark.parametrize(("factor", "outlier"), [(1.2, False), (3.0, True), (0.2, True)])
def test_scale_beyond_a_factor_of_two_is_an_outlier(factor: float, outlier: bool) -> None:
    found = codes(change_scale(make_report_inputs(), 2, factor))
    assert (("warning", "scale-outlier", "scene_0002") in found) == outlier


def test_large_shift_of_a_mean_is_an_outlier() -> None:
    inputs = make_report_inputs()
    adjustments = (
        dataclasses.replace(inputs.adjustments[0], offset=inputs.adjustments[0].offset + 1000),
        *inputs.adjustments[1:],
    )
    assert ("warning", "offset-outlier", "scene_0000") in codes(dataclasses.replace(inputs, adjustments=adjustments))


@pytest.mark.parametrize(
    ("value", "fields", "outlier"),
    [
        (1.5, {}, False),
        (2.5, {}, True),
        (0.3, {}, True),
        (np.nan, {}, False),
        (1.05, {"method": "gamma"}, False),  # 500 ** 0.05 = 1.36
        (1.2, {"method": "gamma"}, True),  # 500 ** 0.2 = 3.5
        (0.8, {"method": "offset", "c": 10.0}, True),
    ],
)
def test_local_change_of_the_level_beyond_a_factor_of_two_is_an_outlier(
    value: float, fields: dict[str, Any], outlier: bool
) -> None:
    found = codes(change_parameter(make_report_inputs(), 3, value, **fields))
    assert (("warning", "local-outlier", "scene_0003") in found) == outlier


def test_blocks_of_few_pixels_at_the_edge_of_clouds_are_no_outliers() -> None:
    """Where a mask cuts blocks, what is left of them may be bright or dark by chance; a few of many say nothing either."""
    inputs = make_report_inputs()
    parameter = np.ones((3, 60, 60))
    parameter[:, 10:30, 10:30] = np.nan
    parameter[:, 9, 9:31:3] = parameter[:, 30, 9:31:3] = 1.8
    parameter[:, 45, [5, 25, 50]] = 4.0

    def judge(more: int) -> set[str]:
        changed = parameter.copy()
        changed[:, 50 : 50 + more, 20 : 20 + more] = 3.0
        corrections = [dataclasses.replace(c, parameter=changed, method="linear") for c in inputs.corrections]
        return {finding.code for finding in find(dataclasses.replace(inputs, corrections=tuple(corrections)))}

    assert "local-outlier" not in judge(0)
    assert "local-outlier" in judge(6)  # a cloud


def test_a_correction_that_makes_a_level_negative_is_the_worst_outlier() -> None:
    inputs = make_report_inputs()
    level = inputs.whole["scene_0003"].mean * inputs.adjustments[3].scale + inputs.adjustments[3].offset
    gain = np.ones((len(level), 2, 2))
    gain[0, 0] = 5.0, -0.25
    grid = ControlGrid(bounds=inputs.scenes[3].grid.bounds, rows=2, cols=2)
    corrections = list(inputs.corrections)
    corrections[3] = ControlSurface(scene="scene_0003", grid=grid, gain=gain, offset=None)
    (finding,) = (f for f in find(dataclasses.replace(inputs, corrections=tuple(corrections))) if f.code == "local-outlier")
    assert "in 2 blocks (the most: -0.25)" in finding.message


def test_matching_that_makes_things_worse_is_reported() -> None:
    inputs = make_report_inputs()
    wrong = tuple(dataclasses.replace(a, scale=1 / a.scale, offset=-3 * a.offset / a.scale) for a in inputs.adjustments)
    found = codes(dataclasses.replace(inputs, adjustments=wrong, corrections=()))
    assert ("warning", "residual-raised", None) in found
    assert ("info", "overlaps-worse", None) in found


def test_scenes_that_do_not_meet_are_reported() -> None:
    assert codes(dataclasses.replace(make_report_inputs(), overlaps=())) == [("warning", "no-overlap", None)]


def test_scene_without_an_overlap_is_noted() -> None:
    inputs = make_report_inputs()
    left = tuple(o for o in inputs.overlaps if "scene_0003" not in (o.first, o.second))
    assert codes(dataclasses.replace(inputs, overlaps=left)) == [("info", "scene-isolated", "scene_0003")]


def test_scene_that_gives_no_pixel_is_noted() -> None:
    inputs = make_report_inputs()
    counts = dataclasses.replace(inputs.counts, owned={**inputs.counts.owned, "scene_0001": 0})
    assert codes(dataclasses.replace(inputs, counts=counts)) == [("info", "scene-unused", "scene_0001")]


def test_unknown_contributions_are_not_taken_for_none() -> None:
    inputs = make_report_inputs()
    assert codes(dataclasses.replace(inputs, counts=dataclasses.replace(inputs.counts, owned={}))) == []


def test_many_alike_are_named_a_few_and_counted() -> None:
    inputs = make_report_inputs(10, 10, 1, local=False)
    bad = tuple(dataclasses.replace(a, scale=-a.scale) for a in inputs.adjustments)
    found = [finding for finding in find(dataclasses.replace(inputs, adjustments=bad)) if finding.code == "negative-scale"]
    assert len(found) == 6
    assert "95 more scenes" in found[-1].message


def test_findings_of_other_stages_are_kept_and_warnings_come_first() -> None:
    note = Finding(severity="info", code="resampled", message="a scene was resampled")
    alarm = Finding(severity="warning", code="dtype-mixed", message="the scenes differ in dtype")
    inputs = make_report_inputs(findings=(note, alarm))
    assert find(inputs) == (alarm, note)


def test_every_parameter_that_a_message_names_exists() -> None:
    known = {parameter.path for parameter in iter_parameters()}
    sections = "|".join({path.partition(".")[0] for path in known})
    named = set(re.findall(rf"\b(?:{sections})\.\w+", Path(module.__file__).read_text(encoding="utf-8")))
    assert named
    assert named <= known


def test_every_code_is_in_the_list_of_the_module() -> None:
    used = set(re.findall(r'code="([\w-]+)"', Path(module.__file__).read_text(encoding="utf-8")))
    assert used == set(re.findall(r"``([\w-]+)``", module.__doc__ or ""))


LIT = MatchFigures(
    seam_blocks=1,
    seam_mean=np.ones(3),
    seam_high=np.ones(3),
    disagreement=0.1,
    trend=0.05,
    trend_global=0.6,
    trend_size=0.1,
)


def test_light_that_gains_cannot_follow_recommends_the_preset_that_does() -> None:
    inputs = dataclasses.replace(make_report_inputs(), match=LIT)
    (finding,) = (finding for finding in find(inputs) if finding.code == "illumination-trend")
    assert "60% of what the gains leave" in finding.message
    assert "--preset aerial" in finding.message


@pytest.mark.parametrize(
    ("changes", "matched"),
    [({"trend_global": 0.2}, True), ({"trend_size": 0.01}, True), ({"trend_global": np.nan}, True), ({}, False)],
)
def test_light_that_is_small_or_not_left_to_gains_is_not_worth_a_word(changes: dict[str, float], matched: bool) -> None:
    inputs = dataclasses.replace(make_report_inputs(matched=matched), match=dataclasses.replace(LIT, **changes))
    assert "illumination-trend" not in {finding.code for finding in find(inputs)}


def hide(inputs: ReportInputs, share: float) -> ReportInputs:
    """The same with clouds over a share of the samples of the second scene of each pair."""
    overlaps = []
    for overlap in inputs.overlaps:
        assert overlap.samples is not None
        second = overlap.samples.second.copy()
        second[:, : round(share * second.shape[1])] += 5000
        overlaps.append(dataclasses.replace(overlap, samples=dataclasses.replace(overlap.samples, second=second)))
    return dataclasses.replace(inputs, overlaps=tuple(overlaps))


@pytest.mark.parametrize(("share", "expected"), [(0.0, False), (0.04, False), (0.06, True), (0.3, True)])
def test_clouds_in_the_overlaps_recommend_the_preset_that_leaves_them_out(share: float, expected: bool) -> None:
    inputs = hide(make_report_inputs(samples=400), share)
    found = [finding for finding in find(inputs) if finding.code == "scenes-disagree"]
    assert bool(found) == expected
    assert all(one.severity == "warning" and "--preset satellite" in one.message for one in found)
    assert compute_sample_disagreement(inputs.overlaps) == pytest.approx(share, abs=0.005)


def test_unmatched_scenes_are_told_of_no_method() -> None:
    inputs = make_report_inputs(samples=400, matched=False, local=False)
    assert "scenes-disagree" not in {finding.code for finding in find(hide(inputs, 0.3))}


@pytest.mark.parametrize(("share", "expected"), [(0.1, False), (0.2, True), (math.nan, False)])
@pytest.mark.parametrize("preset", ["satellite", "aerial"])
def test_what_a_robust_method_left_out_is_said_and_where_to_look(preset: str, share: float, expected: bool) -> None:
    inputs = make_report_inputs(flags={"methods.preset": preset})
    found = find(dataclasses.replace(inputs, match=dataclasses.replace(LIT, disagreement=share)))
    told = [finding for finding in found if finding.code == "scenes-disagree"]
    assert bool(told) == expected
    for one in told:
        assert one.severity == "info"
        assert "agreement.tif" in one.message


def test_steps_of_whole_numbers_and_few_samples_are_no_disagreement() -> None:
    random = np.random.default_rng(5)
    (overlap, *_) = make_report_inputs(bands=1, samples=400).overlaps
    assert overlap.samples is not None
    dark = random.integers(3, 7, (1, 400)).astype(np.float32)
    other = dark + (random.random((1, 400)) < 0.2)
    samples = dataclasses.replace(overlap.samples, first=dark, second=other.astype(np.float32))
    assert compute_sample_disagreement([dataclasses.replace(overlap, samples=samples)]) == 0
    few = dataclasses.replace(samples, **{name: getattr(samples, name)[..., :63] for name in ("x", "y", "first", "second")})
    assert math.isnan(compute_sample_disagreement([dataclasses.replace(overlap, samples=few)]))
