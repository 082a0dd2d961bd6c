"""Scenes ranked by what is known of them: whose pixels win where they cover one another, and who fills holes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
from outcomes import Outcome, run_both_ways, run_quietly
from scenes import UTM, write_items, write_scene
from shapely import box

from processor.errors import ConfigError

EDGE = 120
RANK = "voronoi_center_seamline.rank"
PLAIN: dict[str, Any] = {"methods.matching_global_method": None, "methods.matching_local_method": None}
CLOUDS = {"a": 40, "b": 5, "c": 20}


def make_scenes(
    folder: Path,
    places: dict[str, tuple[int, int]],
    *,
    holes: dict[str, list[tuple[slice, slice]]] | None = None,
    **cloud: object,
) -> Path:
    """Scenes of one value each at places (row, col), with holes, and with the cloud cover that is told of some."""
    paths = []
    for number, (name, (row, col)) in enumerate(sorted(places.items()), start=1):
        pixels = np.full((1, EDGE, EDGE), 10.0 * number)
        for rows, cols in (holes or {}).get(name, []):
            pixels[:, rows, cols] = 0
        paths.append(
            write_scene(folder / f"{name}.tif", pixels, dtype="uint8", left=500_000 + col, top=5_300_000 - row, nodata=0)
        )
    items = write_items(folder, paths)
    document = json.loads(items.read_text())
    for item in document["features"]:
        if item["id"] in cloud:
            item["properties"]["eo:cloud_cover"] = cloud[item["id"]]
    items.write_text(json.dumps(document))
    return items


def tell_whole_footprints(folder: Path) -> dict[str, Any]:
    """Flags that give the three scenes cells with their holes in them, so that others have to fill these."""
    square = box(500_000, 5_300_000 - EDGE, 500_000 + EDGE, 5_300_000)
    frame = geopandas.GeoDataFrame({"scene": list("abc")}, geometry=[square] * 3, crs=UTM)
    frame.to_file(folder / "whole.gpkg", engine="pyogrio")
    return {"voronoi_center_seamline.vector_mask": [str(folder / "whole.gpkg"), "scene"]}


def find_index(outcome: Outcome) -> np.ndarray[Any, Any]:
    return np.asarray(outcome.read("scene_index.tif").values[0])


def count_filled(outcome: Outcome) -> int:
    """Pixels whose cell's owner has none there, by the report."""
    return int(json.loads(outcome.files["report.json"])["coverage"]["fallback_pixels"])


def find_messages(outcome: Outcome, code: str) -> list[str]:
    return [one["message"] for one in json.loads(outcome.files["report.json"])["findings"] if one["code"] == code]


def test_the_clearest_of_equal_footprints_has_everything(tmp_path: Path) -> None:
    items = make_scenes(tmp_path / "in", dict.fromkeys("abc", (0, 0)), **CLOUDS)
    outcome = run_both_ways(items, tmp_path, {**PLAIN, RANK: "eo:cloud_cover"})
    assert set(find_index(outcome).ravel().tolist()) == {2}
    assert [scene["rank"] for scene in json.loads(outcome.files["report.json"])["scenes"]] == [3, 1, 2]
    assert "rank" not in json.loads(run_quietly(items, tmp_path / "without", PLAIN).files["report.json"])["scenes"][0]


def test_a_better_scene_has_all_of_its_overlaps_and_equal_ones_are_cut(tmp_path: Path) -> None:
    items = make_scenes(tmp_path / "in", {"a": (0, 0), "b": (0, 80), "c": (0, 160)}, **CLOUDS)
    index = find_index(run_quietly(items, tmp_path / "ranked", {**PLAIN, RANK: "eo:cloud_cover"}))
    assert [np.count_nonzero(index[60] == number) for number in (1, 2, 3)] == [80, 120, 80]
    coarse = find_index(run_quietly(items, tmp_path / "coarse", {**PLAIN, RANK: "floor(eo:cloud_cover / 30)"}))
    counts = [np.count_nonzero(coarse[60] == number) for number in (1, 2, 3)]
    assert counts == [80, 100, 100], "b and c are equal, so the 40 pixels that they share are cut in the middle"


def test_holes_are_filled_by_the_best_that_has_a_pixel(tmp_path: Path) -> None:
    hole = (slice(40, 80), slice(40, 80))
    items = make_scenes(tmp_path / "in", dict.fromkeys("abc", (0, 0)), holes={"b": [hole]}, **CLOUDS)
    flags = {**PLAIN, **tell_whole_footprints(tmp_path)}
    outcome = run_both_ways(items, tmp_path, {**flags, RANK: "eo:cloud_cover"})
    index = find_index(outcome)
    assert count_filled(outcome) == 40 * 40
    assert set(index[hole].ravel().tolist()) == {3}, "c is the second best, a the first by name"


def test_of_equal_ones_a_hole_is_filled_by_the_one_that_is_farther_from_its_own(tmp_path: Path) -> None:
    holes = {
        "b": [(slice(40, 80), slice(20, 100))],
        "a": [(slice(0, 120), slice(0, 25))],
        "c": [(slice(0, 120), slice(95, 120))],
    }
    items = make_scenes(tmp_path / "in", dict.fromkeys("abc", (0, 0)), holes=holes, a=9, b=1, c=9)
    flags = {**PLAIN, **tell_whole_footprints(tmp_path)}
    outcome = run_both_ways(items, tmp_path, {**flags, RANK: "eo:cloud_cover"})
    index = find_index(outcome)
    assert count_filled(outcome) == 40 * 80
    row = index[60]
    assert set(row[20:59].tolist()) == {3}, "a has none to the left of column 25"
    assert set(row[61:100].tolist()) == {1}, "c has none from column 95 on"


def test_scenes_of_which_nothing_is_known_come_last_and_are_named(tmp_path: Path) -> None:
    items = make_scenes(tmp_path / "in", dict.fromkeys("abc", (0, 0)), a=1e400, b="much", c=90)
    outcome = run_quietly(items, tmp_path / "run", {**PLAIN, RANK: "eo:cloud_cover"})
    assert set(find_index(outcome).ravel().tolist()) == {3}
    assert find_messages(outcome, "rank-unknown") == [f"{RANK} has no value for 2 of 3 scenes (a, b), which come last"]


def test_an_expression_that_tells_no_scenes_apart_says_so(tmp_path: Path) -> None:
    items = make_scenes(tmp_path / "in", {"a": (0, 0), "b": (0, 80)}, a=3, b=3)
    outcome = run_quietly(items, tmp_path / "run", {**PLAIN, RANK: "eo:cloud_cover"})
    assert find_messages(outcome, "rank-equal") == [f"{RANK} has one value for all scenes: they are cut as without it"]
    assert np.array_equal(find_index(outcome), find_index(run_quietly(items, tmp_path / "without", PLAIN)))


@pytest.mark.parametrize(
    ("rank", "first"),
    [("abs(datetime - '2024-06-15T10:01:00Z')", 2), ("-datetime", 3), ("valid_share", 1), ("-valid_share", 2)],
)
def test_dates_and_measured_figures_rank_too(rank: str, first: int, tmp_path: Path) -> None:
    holes = {"a": [(slice(0, 10), slice(0, 60))], "c": [(slice(0, 10), slice(0, 20))]}
    items = make_scenes(tmp_path / "in", dict.fromkeys("abc", (0, 0)), holes=holes)
    index = find_index(run_quietly(items, tmp_path / "run", {**PLAIN, RANK: rank}))
    assert index[60, 60] == first


def test_a_wrong_expression_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"voronoi_center_seamline\.rank .*has the function 'open'"):
        run_quietly(tmp_path / "none.json", tmp_path / "run", {RANK: "open(1)"})
