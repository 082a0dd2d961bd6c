"""The verdict on four real aerial scenes: by their pictures, seams are plain without matching and hardly seen with any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from outcomes import Bench

NGI = Path(__file__).parents[2].parent / "shared" / "data" / "ngi"

pytestmark = [pytest.mark.skipif(not NGI.is_dir(), reason=f"the real scenes are not in {NGI}"), pytest.mark.slow]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("verdict"), {"ngi": lambda _: NGI / "items.json"})


@pytest.mark.parametrize(
    ("flags", "grade", "failed"),
    [
        ({}, "look", {"contrast"}),
        ({"methods.preset": "satellite"}, "good", set()),
        ({"methods.preset": "aerial"}, "good", set()),
        (
            {"methods.matching_global_method": None, "methods.matching_local_method": None},
            "bad",
            {"seam_step_percent_of_spread", "bias_after_percent_of_spread", "residual_after_percent_of_spread"},
        ),
    ],
)
def test_matched_scenes_are_good_or_flat_and_unmatched_ones_bad(
    bench: Bench, flags: dict[str, Any], grade: str, failed: set[str]
) -> None:
    verdict = json.loads(bench.run_once("ngi", flags).files["report.json"])["verdict"]
    assert verdict["grade"] == grade
    assert {one["figure"] for one in verdict["figures"] if one["grade"] != "good"} == failed
