"""Matched blocks of another run: solved again without its pixels, and with new scenes beside it."""

from __future__ import annotations

from pathlib import Path

from outcomes import Outcome, make_plain, run_quietly
from small_runs import open_scenes

from processor.config import load_config
from processor.mosaic.planning import plan_run
from processor.scenes.user_files import read_user_files
from processor.storage.store import Store

TRUE = {"methods.matching_global_method": "robust_regression", "methods.matching_local_method": "surface_adjustment"}


def known(made: Outcome) -> dict[str, str]:
    folder = made.folder / "out" / "m"
    return {
        "robust_regression.load_adjustments": str(folder / "adjustments.json"),
        "robust_regression.load_blocks": str(folder / "matched_blocks.npz"),
    }


def test_a_later_solve_is_the_same_and_measures_no_block(tmp_path: Path) -> None:
    items = make_plain(tmp_path / "scenes")
    first = run_quietly(items, tmp_path / "first", TRUE)
    second = run_quietly(items, tmp_path / "second", {**TRUE, **known(first)})
    assert {"mosaic.tif", "adjustments.json", "matched_blocks.npz", "agreement.tif", "surfaces.json"} <= first.files.keys()
    told = {"config.yaml", "report.json", "report.html"}  # they name the files, and what was measured
    assert {name: data for name, data in first.files.items() if name not in told} == {
        name: data for name, data in second.files.items() if name not in told
    }
    scenes = open_scenes(sorted((tmp_path / "scenes").glob("*.tif")))
    config = load_config(
        flags={**TRUE, **known(first), "methods.seamline_method": None, "methods.clip_method": None}, environment={}
    )
    plan = plan_run(scenes, config, read_user_files(scenes, config, Store()))
    assert plan.needs == frozenset()
    assert "measure" not in plan.phases


def test_new_scenes_are_measured_beside_known_ones(tmp_path: Path) -> None:
    items = make_plain(tmp_path / "scenes")
    paths = sorted((tmp_path / "scenes").glob("*.tif"))
    fewer = run_quietly(str(tmp_path / "scenes" / "scene_1_*.tif"), tmp_path / "fewer", TRUE)
    blocks = {"robust_regression.load_blocks": known(fewer)["robust_regression.load_blocks"]}
    whole = run_quietly(items, tmp_path / "whole", TRUE)
    again = run_quietly(items, tmp_path / "again", {**TRUE, **blocks})
    assert len(paths) == 4
    assert again.files["mosaic.tif"] == whole.files["mosaic.tif"]
    assert again.files["surfaces.json"] == whole.files["surfaces.json"]


def test_a_file_of_the_same_name_and_other_content_is_another_run(tmp_path: Path) -> None:
    """As for every file that decides the result; blocks and surfaces were passed over."""
    scenes = open_scenes(sorted(make_plain(tmp_path / "scenes").parent.glob("*.tif")))
    made = run_quietly(tmp_path / "scenes" / "items.json", tmp_path / "first", TRUE)
    folder = made.folder / "out" / "m"
    loads = {**known(made), "surface_adjustment.load_surfaces": str(folder / "surfaces.json")}
    config = load_config(flags={**TRUE, **loads}, environment={})
    before = read_user_files(scenes, config, Store()).fingerprints
    assert sorted(before) == sorted(loads.values())
    for path in loads.values():
        data = Path(path).read_bytes()
        Path(path).write_bytes(data + b" " if path.endswith(".json") else data)
    after = read_user_files(scenes, config, Store()).fingerprints
    changed = {path for path in before if before[path] != after[path]}
    assert changed == {path for path in loads.values() if path.endswith(".json")}
