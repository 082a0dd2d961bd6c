"""An Item that states a wrong offset does not destroy its scene: what lies below zero is matched before it is clipped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from commands import call_command
from outcomes import leaving_out_drawings
from scenes import gradient_truth, write_items, write_scene


def make_dark_items(folder: Path) -> Path:
    """Three scenes of Sentinel-2 whose pixels hold no offset; the Item of one, a dark one, says that they do."""
    truth = gradient_truth(120, 200, 1)
    truth = 200 + 1200 * (truth - truth.min()) / (truth.max() - truth.min())
    paths = [
        write_scene(folder / f"{name}.tif", truth[:, :, col : col + 120], dtype="uint16", left=500_000.0 + col, top=5_300_000.0)
        for name, col in (("a", 0), ("b", 40), ("c", 80))
    ]
    items = write_items(folder, paths, bands=["red"])
    document = json.loads(items.read_text())
    for feature in document["features"]:
        feature["properties"] |= {"earthsearch:boa_offset_applied": feature["id"] != "b", "s2:processing_baseline": "05.09"}
        feature["assets"]["image"]["raster:bands"] = [{"scale": 1e-4, "offset": -0.1}]
    items.write_text(json.dumps(document))
    return items


@pytest.mark.parametrize("executor", ["local", "tasks"])
def test_a_scene_whose_item_states_a_wrong_offset_is_matched_whole(executor: str, tmp_path: Path) -> None:
    items = make_dark_items(tmp_path / "scenes")
    flags = ("--output", "out", "--item-id", "m", "--executor", executor)
    with leaving_out_drawings():
        done = call_command("run", str(items), *flags, cwd=tmp_path, scratch=tmp_path / "scratch")
    assert done.code == 0, done.stderr
    with rasterio.open(tmp_path / "out" / "m" / "mosaic.tif") as mosaic:
        assert mosaic.dtypes == ("uint16",)
        values = mosaic.read(1, masked=True)
    truth = gradient_truth(120, 200, 1)[0]
    assert values.shape == truth.shape
    assert np.corrcoef(values.compressed(), truth[~np.ma.getmaskarray(values)])[0, 1] > 0.99
    (told,) = [event["message"] for event in done.events if event["event"] == "converted-beyond"]
    assert "scene b: " in told
    assert "% of the pixels looked at lie beyond uint16" in told
