"""Mosaics cut where the scenes differ least: changed fields, clouds and misregistered roads are gone around."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from outcomes import Bench, Outcome, run_both_ways
from scenes import write_scene
from shapely import box

from processor.errors import InputError
from processor.synthetic.difficulties import Difficulties
from processor.synthetic.scenes import SceneRecipe, make_scenes

RECIPES = {
    "shifted": SceneRecipe(rows=2, cols=2, height=320, width=320, bands=3, dtype="uint8", difficulties=Difficulties(shift=1.5)),
    "changed": SceneRecipe(
        rows=2, cols=2, height=320, width=320, bands=3, dtype="uint8", difficulties=Difficulties(changes=0.1)
    ),
    "clouds": SceneRecipe(
        rows=2, cols=2, height=320, width=320, bands=3, dtype="uint8", difficulties=Difficulties(clouds=0.12)
    ),
    "two": SceneRecipe(rows=1, cols=2, height=320, width=320, bands=3, dtype="uint8", difficulties=Difficulties(changes=0.1)),
}
SATELLITE = {"methods.preset": "satellite"}
LEAST = {"methods.seamline_method": "least_difference_seamline"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    def maker(name: str) -> Any:
        return lambda folder: make_scenes(folder, RECIPES[name]).items

    return Bench(tmp_path_factory.mktemp("least"), {name: maker(name) for name in RECIPES})


def summarise(outcome: Outcome) -> dict[str, float]:
    summary: dict[str, float] = json.loads(outcome.files["report.json"])["summary"]
    return summary


def list_borders(outcome: Outcome) -> shapely.Geometry:
    """Lines between two cells."""
    cells = geopandas.read_file(outcome.folder / "out" / "m" / "seamlines.gpkg").geometry.to_numpy()
    return shapely.difference(
        shapely.union_all(shapely.boundary(cells)), shapely.boundary(shapely.union_all(cells)).buffer(0.1)
    )


@pytest.mark.parametrize(("scenes", "share"), [("shifted", 0.75), ("changed", 0.5), ("clouds", 0.5)])
def test_what_the_scenes_differ_by_along_the_seams_shrinks(bench: Bench, scenes: str, share: float) -> None:
    """Measured: .62, .29 and .20 of what the centre lines have."""
    middle = summarise(bench.run_once(scenes, SATELLITE))
    least = summarise(bench.run_once(scenes, {**SATELLITE, **LEAST}))
    assert least["seam_difference"] < share * middle["seam_difference"]
    assert least["gradient_excess"] < middle["gradient_excess"]


def test_matching_is_the_same_whatever_the_blocks_are_measured_in(bench: Bench) -> None:
    """Fine blocks add up to those that matching is solved from, for integers to the last digit."""
    middle, least = (bench.run_once("shifted", {**SATELLITE, **flags}) for flags in ({}, LEAST))
    for path in ("adjustments.json", "matched_blocks.npz", "surfaces.json", "agreement.tif"):
        assert least.files[path] == middle.files[path], path


def test_one_process_and_tasks_cut_alike(bench: Bench, tmp_path: Path) -> None:
    run_both_ways(bench.find_inputs("changed"), tmp_path, {**SATELLITE, **LEAST})


def test_cuts_go_around_obstacles_and_what_is_to_be_avoided(bench: Bench, tmp_path: Path) -> None:
    """Squares on the cuts that were made without them, one from each kind of file, in another CRS."""
    before = bench.run_once("two", LEAST)
    borders = list_borders(before)
    places = [shapely.line_interpolate_point(shapely.line_merge(borders), share, normalized=True) for share in (0.35, 0.65)]
    with rasterio.open(before.folder / "out" / "m" / "mosaic.tif") as mosaic:
        crs, bounds = mosaic.crs, mosaic.bounds
    size = 16
    building = box(places[0].x - size, places[0].y - size, places[0].x + size, places[0].y + size)
    buildings = tmp_path / "buildings.geojson"
    geopandas.GeoDataFrame(geometry=[building], crs=crs).to_crs(4326).to_file(buildings)
    marked = np.zeros((1, round(bounds.top - bounds.bottom) // 8, round(bounds.right - bounds.left) // 8))
    col, row = int((places[1].x - bounds.left) / 8), int((bounds.top - places[1].y) / 8)
    marked[0, row - 2 : row + 3, col - 2 : col + 3] = 1
    mask = tmp_path / "avoid.tif"
    write_scene(mask, marked, dtype="uint8", left=bounds.left, top=bounds.top, pixel=8)
    lake = box(
        *(bounds.left + 8 * (col - 2), bounds.top - 8 * (row + 3), bounds.left + 8 * (col + 3), bounds.top - 8 * (row - 2))
    )
    after = bench.run_once(
        "two",
        {
            **LEAST,
            "least_difference_seamline.obstacles": str(buildings),
            "least_difference_seamline.avoid": str(mask),
        },
    )
    assert min(borders.intersection(thing).length for thing in (building, lake)) > size
    assert list_borders(after).intersection(building.buffer(-0.5)).length == 0
    assert list_borders(after).intersection(lake.buffer(-0.5)).length == 0


def test_a_mask_of_too_many_specks_is_refused_with_the_remedy(bench: Bench, tmp_path: Path) -> None:
    specks = np.zeros((1, 700, 700))
    specks[0, ::2, ::2] = 1
    write_scene(tmp_path / "specks.tif", specks, dtype="uint8")
    with pytest.raises(InputError, match="more than 100000 separate areas that are not 0: sieve it"):
        bench.run("changed", {**LEAST, "least_difference_seamline.avoid": str(tmp_path / "specks.tif")})
