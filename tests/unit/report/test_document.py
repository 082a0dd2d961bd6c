from __future__ import annotations

import dataclasses
import json
import math
import re
from typing import Any

import numpy as np
import pytest
from records import compute_moments
from reports import make_report_inputs

from processor.model import Finding
from processor.publish.thresholds import FIGURES, VERDICT
from processor.report import document
from processor.report.document import SCHEMA_VERSION, build_report, encode_report
from processor.report.figures import ReportInputs
from processor.stages.check_cells import Fidelity
from processor.stages.matching.match_figures import MatchFigures
from processor.stages.statistics import empty_moments


def read(inputs: ReportInputs) -> dict[str, Any]:
    return json.loads(encode_report(build_report(inputs)))


def test_document_survives_a_round_trip() -> None:
    report = build_report(make_report_inputs())
    assert json.loads(encode_report(report)) == report


def test_sections_are_those_that_are_documented() -> None:
    report = build_report(make_report_inputs())
    documented = set(re.findall(r"``(\w+)``", (document.__doc__ or "").partition("The other sections")[2]))
    assert set(report) == documented | {"schema_version", "summary"}
    assert report["schema_version"] == SCHEMA_VERSION


def test_every_key_of_the_summary_is_documented() -> None:
    table = (document.__doc__ or "").split("=====\n")[1]
    words = set(re.findall(r"\w+", table))
    for key in build_report(make_report_inputs())["summary"]:
        stem = key.replace("_percent", "").replace("_of_spread", "")
        assert key in words or stem in words, key


def test_thresholds_know_every_figure_of_the_summary() -> None:
    assert tuple(build_report(make_report_inputs())["summary"]) == (VERDICT, *FIGURES)


def test_summary_of_a_perfect_match() -> None:
    summary = read(make_report_inputs(local=False))["summary"]
    assert summary["coverage"] == 1
    assert summary["residual_before"] > 10
    assert summary["residual_after"] < 1e-3
    assert summary["bias_after_percent"] < 1e-3
    assert summary["worst_residual_after"] < 1e-3
    assert summary["contrast"] == 1
    assert (summary["scenes"], summary["overlaps"], summary["warnings"], summary["infos"]) == (4, 4, 0, 0)


def test_seams_are_told_by_band_and_in_the_summary() -> None:
    report = read(make_report_inputs(bands=2))
    assert report["summary"]["gradient_excess"] == 1.25
    assert report["seams"] == {
        "gradient_excess": [1.25, 1.25],
        "step_across": [1.25, 1.25],
        "step_beside": [1, 1],
        "pairs_across": 4,
        "pairs_beside": 8,
        "difference": [None, None],
        "difference_high": [None, None],
        "are_ranked": False,
        "difference_blocks": 0,
    }


def test_what_matched_blocks_say_is_in_the_summary() -> None:
    match = MatchFigures(
        seam_blocks=7,
        seam_mean=np.array([3.0, 4.0]),
        seam_high=np.array([6.0, 8.0]),
        disagreement=0.125,
        trend=0.25,
        trend_global=0.5,
        trend_size=math.nan,
    )
    inputs = make_report_inputs(bands=2)
    assert inputs.statistics is not None
    statistics = dataclasses.replace(inputs.statistics, count=4, m2=np.array([400.0, 400.0]))
    report = read(dataclasses.replace(inputs, match=match, statistics=statistics))
    summary = report["summary"]
    assert (summary["seam_difference"], summary["seam_difference_high"]) == pytest.approx((12.5**0.5, 50**0.5))
    assert summary["seam_difference_percent_of_spread"] == pytest.approx(100 * 12.5**0.5 / 10)
    assert summary["seam_difference_high_percent_of_spread"] == pytest.approx(100 * 50**0.5 / 10)
    assert (summary["disagreement"], summary["illumination_trend"]) == (0.125, 0.25)
    assert (report["seams"]["difference"], report["seams"]["difference_blocks"]) == ([3, 4], 7)
    assert report["match"] == {
        "disagreement": 0.125,
        "illumination_trend": 0.25,
        "illumination_trend_after_global": 0.5,
        "illumination_size_after_global": None,
    }


def test_fidelity_is_the_mean_over_bands_and_then_over_cells() -> None:
    checks = tuple(
        Fidelity(name=name, cell=6, cells=cells, explained=np.array(explained))
        for name, cells, explained in (("a", 30, [0.5, 0.7]), ("b", 10, [0.9, 1.0]), ("c", 0, [np.nan, np.nan]))
    )
    report = read(dataclasses.replace(make_report_inputs(bands=2), fidelity=checks))
    assert report["summary"]["fidelity"] == pytest.approx((30 * 0.6 + 10 * 0.95) / 40)
    assert report["fidelity"][2] == {"check": "c", "cell_pixels": 6, "cells": 0, "r2": [None, None]}
    assert read(make_report_inputs())["summary"]["fidelity"] is None


def test_fidelity_to_the_scenes_is_the_mean_over_bands() -> None:
    found = Fidelity(name="scenes", cell=8, cells=90, explained=np.array([0.5, 0.7]))
    report = read(dataclasses.replace(make_report_inputs(bands=2), scene_fidelity=found))
    assert report["summary"]["fidelity_to_scenes"] == pytest.approx(0.6)
    assert report["scene_fidelity"] == {"cell_pixels": 8, "cells": 90, "r2": [0.5, 0.7]}
    assert read(make_report_inputs())["summary"]["fidelity_to_scenes"] is None


def test_contrast_kept_is_the_mosaics_deviation_over_the_scenes() -> None:
    made = make_report_inputs(bands=2)
    spread = np.mean([made.whole[scene.name].std for scene in made.scenes], axis=0)
    statistics = compute_moments(np.array([[400.0, 600.0], [450.0, 550.0]]))
    report = read(dataclasses.replace(made, statistics=statistics))
    assert report["contrast"]["kept"] == pytest.approx((np.array([100.0, 50.0]) / spread).tolist())
    assert report["summary"]["contrast_kept"] == pytest.approx((np.array([100.0, 50.0]) / spread).mean())
    unknown = read(make_report_inputs(flags={"reference.images": "known.tif"}))  # in other units
    assert unknown["summary"]["contrast_kept"] is None


def test_without_a_seam_its_figures_are_unknown() -> None:
    report = read(dataclasses.replace(make_report_inputs(bands=2), steps=None))
    assert report["summary"]["gradient_excess"] is None
    assert report["seams"]["step_across"] == [None, None]


def test_residuals_name_the_worst_pair_of_each_state() -> None:
    report = read(make_report_inputs())
    for state in ("before", "global", "local"):
        worst = report["residuals"][state]["worst"]
        named = max(report["overlaps"], key=lambda overlap: overlap[state]["rms_all_bands"])
        assert (worst["first"], worst["second"]) == (named["first"], named["second"])


def test_scene_rows_hold_what_was_done_to_the_scene() -> None:
    inputs = make_report_inputs(1, 2, 2)
    row = read(inputs)["scenes"][1]
    assert row["name"] == "scene_0001"
    assert row["gain"] == pytest.approx(inputs.adjustments[1].scale, rel=1e-8)
    assert row["offset"] == pytest.approx(inputs.adjustments[1].offset, rel=1e-8)
    assert row["contributed_share"] == pytest.approx(0.5)
    assert (row["cell_area"], row["cell_pieces"]) == (200 * 200, 1)


def test_stage_that_is_off_changes_nothing() -> None:
    row = read(make_report_inputs(matched=False, local=False, cells=False))["scenes"][0]
    assert (row["gain"], row["offset"]) == ([1, 1, 1], [0, 0, 0])
    assert (row["cell_area"], row["cell_pieces"]) == (None, None)


def test_unknown_figures_are_null() -> None:
    inputs = make_report_inputs(sampled=False)
    inputs = dataclasses.replace(inputs, statistics=empty_moments(3), whole={name: empty_moments(3) for name in inputs.whole})
    report = read(inputs)
    assert report["summary"]["residual_after"] is None
    assert report["mosaic"]["mean"] == [None] * 3
    assert report["mosaic"]["minimum"] == [None] * 3
    assert report["scenes"][0]["mean"] == [None] * 3


def test_run_that_found_nothing_at_all_still_reports() -> None:
    inputs = make_report_inputs(1, 1, 1, matched=False, local=False, cells=False)
    counts = dataclasses.replace(inputs.counts, mosaic=0, union=0, owned={})
    report = read(dataclasses.replace(inputs, counts=counts, whole={}, statistics=None))
    assert report["summary"]["coverage"] is None
    assert report["overlaps"] == []


def test_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        encode_report({"summary": {"coverage": float("nan")}})


def test_how_a_run_is_executed_does_not_show() -> None:
    plain = encode_report(build_report(make_report_inputs()))
    flags = {"shared.window_size": 256, "shared.tile_threads": 1, "shared.cache": 0.5, "shared.temp_dir": "/scratch"}
    assert encode_report(build_report(make_report_inputs(flags=flags))) == plain


def test_parameters_that_decide_pixels_are_listed_when_changed() -> None:
    flags = {
        "local_block_adjustment.number_of_blocks": [4, 5],
        "align_rasters.resolution": "highest",
        "shared.custom_nodata_value": "nan",
    }
    assert read(make_report_inputs(flags=flags))["parameters"] == {
        "shared.custom_nodata_value": "nan",
        "local_block_adjustment.number_of_blocks": [4, 5],
    }


def test_figures_do_not_show_the_last_bits() -> None:
    inputs = make_report_inputs()
    nudged = tuple(dataclasses.replace(a, scale=np.nextafter(a.scale, 9)) for a in inputs.adjustments)
    assert read(dataclasses.replace(inputs, adjustments=nudged))["scenes"] == read(inputs)["scenes"]


def test_each_scene_and_overlap_has_its_line() -> None:
    lines = encode_report(build_report(make_report_inputs())).decode().splitlines()
    assert sum(line.startswith('  {"name": "scene_') for line in lines) == 4
    assert sum(line.startswith('  {"first": "scene_') for line in lines) == 4


@pytest.mark.parametrize("name", ['"</script>', "été", "景\u202e", "\ud800", "a\nb"])
def test_any_name_survives(name: str) -> None:
    names = [name, "b", "c", "d"]
    assert [scene["name"] for scene in read(make_report_inputs(names=names))["scenes"]] == names


def test_findings_are_listed() -> None:
    finding = Finding(severity="info", code="resampled", message="m", scene="scene_0000", stage="align_rasters")
    assert read(make_report_inputs(findings=(finding,)))["findings"] == [dataclasses.asdict(finding)]
