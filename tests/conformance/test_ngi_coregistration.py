"""How far four real scenes lie beside one another: known to be half a pixel to a pixel or so between pairs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import CREATED

from processor.config import load_config
from processor.execution.run import Request, run
from processor.process.progress import Silent

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "ngi"

pytestmark = pytest.mark.skipif(not (SHARED / "items.json").is_file(), reason=f"the real scenes are not at {SHARED}")


def test_pairs_lie_half_a_pixel_to_a_pixel_beside_one_another_and_one_shift_a_scene_mends_most(tmp_path: Path) -> None:
    config = load_config(flags={"align_rasters.coregister": "measure"}, environment={})
    request = Request(
        inputs=(str(SHARED / "items.json"),), destination=str(tmp_path), item_id="ngi", overwrite=False, created=CREATED
    )
    run(request, config, Silent())
    report = json.loads((tmp_path / "ngi" / "report.json").read_text())
    summary = report["summary"]
    assert len(report["coregistration"]["pairs"]) == 6
    assert 0.5 <= summary["misregistration"] <= 1.2
    assert summary["misregistration_after"] < 0.5 * summary["misregistration"]
    assert summary["misregistration_after_high"] < summary["misregistration_high"]
