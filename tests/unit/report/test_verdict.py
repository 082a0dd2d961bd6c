"""What is good, what has to be looked at, and what is bad."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.config import load_config
from processor.model import Finding
from processor.report.verdict import CRITERIA, GRADES, Verdict, judge

FINE: dict[str, Any] = {
    "coverage": 1,
    "overlaps": 7,
    "scenes": 6,
    "seam_step_percent_of_spread": 2.0,
    "bias_after_percent_of_spread": 2.0,
    "residual_after_percent_of_spread": 15.0,
    "sample_disagreement": 0.01,
    "disagreement": None,
    "contrast": 0.9,
    "fidelity": None,
}
"""Figures of a mosaic that nobody would complain of."""

OFF = {"methods.matching_global_method": None, "methods.matching_local_method": None}
SATELLITE = {"methods.preset": "satellite"}
AROUND = "--methods.seamline_method least_difference_seamline"


def decide(flags: Mapping[str, Any] | None = None, codes: tuple[str, ...] = (), **changed: Any) -> Verdict:
    findings = [Finding(severity="warning", code=code, message="m") for code in codes]
    return judge({**FINE, **changed}, load_config(flags=dict(flags or {}), environment={}), findings)


def find_grade(verdict: Verdict, figure: str) -> str | None:
    return next((one.grade for one in verdict.judgements if one.criterion.figure == figure), None)


def test_a_mosaic_without_fault_is_good_and_a_warning_changes_nothing() -> None:
    for verdict in (decide(), decide(codes=("contrast-lowered", "scale-outlier"))):
        assert verdict.grade == "good"
        assert verdict.advice is None
        assert {one.criterion.figure for one in verdict.judgements} == {key for key in FINE if FINE[key] is not None} - {
            "scenes"
        }


@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda criterion: criterion.figure)
def test_each_figure_alone_decides_at_its_limits(criterion: Any) -> None:
    beyond = -1e-6 if criterion.is_least else 1e-6
    others = {"sample_disagreement": None} if criterion.figure == "disagreement" else {}
    steps = [(criterion.look, "good"), (criterion.look + beyond, "look")]
    if criterion.bad is not None:
        steps += [(criterion.bad, "look"), (criterion.bad + beyond, "bad")]
    for value, grade in steps:
        verdict = decide(**{**others, criterion.figure: value})
        assert find_grade(verdict, criterion.figure) == grade
        assert verdict.grade == grade


@given(st.fixed_dictionaries({c.figure: st.none() | st.floats(-10, 300) for c in CRITERIA} | {"scenes": st.integers(1, 9)}))
def test_the_verdict_is_the_worst_of_what_it_says(summary: dict[str, Any]) -> None:
    verdict = judge(summary, load_config(environment={}), ())
    assert verdict.grade == max((one.grade for one in verdict.judgements), key=GRADES.index)


def test_a_mosaic_without_a_pixel_is_bad() -> None:
    verdict = decide(coverage=None)
    assert verdict.grade == "bad"
    assert verdict.judgements[0].value is None


def test_a_single_scene_has_no_overlaps_and_is_not_blamed_for_it() -> None:
    nothing = dict.fromkeys(FINE)
    assert judge({**nothing, "coverage": 1, "scenes": 1, "overlaps": 0}, load_config(environment={}), ()).grade == "good"
    assert judge({**nothing, "coverage": 1, "scenes": 2, "overlaps": 0}, load_config(environment={}), ()).grade == "look"


def test_what_a_robust_method_left_out_does_not_count_against_it_where_seams_go_around_it() -> None:
    clouded = {"bias_after_percent_of_spread": 60.0, "residual_after_percent_of_spread": 120.0, "sample_disagreement": 0.1}
    assert decide(**clouded).grade == "bad"
    assert decide(SATELLITE, **clouded, disagreement=0.3).grade == "look"


def test_blocks_that_disagree_by_less_than_noise_do_not_count() -> None:
    assert decide(SATELLITE, disagreement=0.3, sample_disagreement=0.01).grade == "good"
    assert decide(SATELLITE, disagreement=0.3, sample_disagreement=0.1).grade == "look"


def test_gains_to_a_reference_are_no_loss_of_contrast() -> None:
    assert decide(contrast=0.1).grade == "bad"
    assert decide({"reference.images": ["r.tif"]}, contrast=0.1).grade == "good"


BIAS = {"bias_after_percent_of_spread": 100.0, "seam_step_percent_of_spread": 80.0}
STEP = {"seam_step_percent_of_spread": 15.0}
CLOUDS = {"sample_disagreement": 0.1}


@pytest.mark.parametrize(
    ("flags", "codes", "figures", "expected"),
    [
        (OFF, (), BIAS, "--preset satellite"),
        ({}, (), {"contrast": 0.7}, "--preset satellite"),
        ({}, (), CLOUDS, f"--preset satellite {AROUND}"),
        ({}, (), STEP, f"--preset satellite {AROUND}"),
        (SATELLITE, (), STEP, AROUND),
        (SATELLITE, ("illumination-trend",), STEP, f"--preset aerial {AROUND}"),
        (SATELLITE, (), {"disagreement": 0.3, "sample_disagreement": None}, AROUND),
        ({**SATELLITE, "methods.seamline_method": "least_difference_seamline"}, (), STEP, None),
        (SATELLITE, (), {"fidelity": 0.3}, "--reference RASTER"),
        ({**SATELLITE, "reference.images": ["r.tif"]}, (), {"fidelity": 0.3}, None),
        ({}, (), {"coverage": 0.9}, None),
        (SATELLITE, (), {"disagreement": 0.3, "sample_disagreement": None, "seam_step_percent_of_spread": None}, None),
    ],
)
def test_it_names_flags_that_change_something(
    flags: dict[str, Any], codes: tuple[str, ...], figures: dict[str, float | None], expected: str | None
) -> None:
    advice = decide(flags, codes, **figures).advice
    assert (None if advice is None else advice.flags) == expected
    assert advice is None or advice.reason
