"""Items with side remarks that nobody can use: the file is right, and a finding names them; in one process and by tasks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import call_command, make_items, read_files
from outcomes import leaving_out_drawings

ODD = {
    "proj:code": "EPSG:None",
    "proj:shape": [None, None],
    "proj:transform": [],
    "nodata": "none",
    "gsd": "ten",
    "type": "application/octet-stream",
}


@pytest.mark.parametrize("executor", ["local", "tasks"])
def test_side_remarks_never_end_a_run(executor: str, tmp_path: Path) -> None:
    items = make_items(tmp_path / "scenes", edge=60)
    document = json.loads(items.read_text())
    for feature in document["features"]:
        feature["assets"]["image"] |= ODD
        feature["properties"] |= {"proj:epsg": "32632", "s2:processing_baseline": "five", "storage:region": "eu central"}
    (items.parent / "odd.json").write_text(json.dumps(document))
    files = {}
    with leaving_out_drawings():
        for name in ("items", "odd"):
            flags = ("--output", name, "--item-id", "m", "--executor", executor, "--inputs.bands", "band_0,band_1")
            done = call_command("run", f"scenes/{name}.json", *flags, cwd=tmp_path, scratch=tmp_path / "scratch")
            assert done.code == 0, done.stderr
            files[name] = read_files(tmp_path / name / "m")
    assert files["odd"]["mosaic.tif"] == files["items"]["mosaic.tif"]
    told = [event["message"] for event in done.events if event["event"] == "item-unusable"]
    assert len(told) == 3
    assert all("proj:code is 'EPSG:None', not as EPSG:32632" in text and "storage:region" in text for text in told)
    assert all("nodata is 'none', not a number" in text and "the file is taken as it is" in text for text in told)
