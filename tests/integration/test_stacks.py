"""Mosaics of stacks: each pixel from all dates that have one there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from known_truth import draw_hills
from numpy.typing import NDArray
from outcomes import Outcome, run_both_ways, run_quietly
from scenes import LEFT, TOP, UTM, write_items, write_scene
from shapely import box

from processor.model import Window
from processor.mosaic import budget
from processor.synthetic.difficulties import make_clouds, make_noise

EDGE, DATES = 192, 20
BANDS = ("red", "green", "blue")
SATELLITE = {"methods.preset": "satellite"}
MEDIAN = {"methods.merge_method": "median"}
ALL = {**MEDIAN, "median.observations": "all"}


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Dates of one tile, twice."""

    cloudy: Path
    """Items of the dates as they came."""
    masked: Path
    """Items of the same dates whose clouds are nodata."""
    truth: NDArray[np.float64]
    """The ground, (3, EDGE, EDGE)."""
    clear: NDArray[np.bool_]
    """Whether a date shows the ground, (DATES, EDGE, EDGE)."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    return make_stack(tmp_path_factory.mktemp("stack"), clouds=0.4)


def make_stack(folder: Path, *, clouds: float, seed: int = 0) -> Stack:
    """Write dates of which each has so large a share of cloud, wherever the others have theirs."""
    truth = draw_hills(8 + seed)[:, :EDGE, :EDGE]
    random = np.random.default_rng(5 + seed)
    whole = Window(row=0, col=0, height=EDGE, width=EDGE)
    spread = truth.std(axis=(1, 2))[:, None, None]
    paths: dict[str, list[Path]] = {"cloudy": [], "masked": []}
    clear = []
    for date in range(DATES):
        gain = np.exp(0.1 * random.normal(size=(3, 1, 1)))
        offset = 0.1 * spread * random.normal(size=(3, 1, 1))
        pixels = truth * gain + offset + 0.03 * spread * random.normal(size=truth.shape)
        opacity = make_clouds(clouds, 300 + 1000 * seed + date, whole, whole).astype(np.float64)
        bright = truth.max() * (1.2 + 0.1 * make_noise(900 + 1000 * seed + date, (40, 13, 5), whole))
        pixels += opacity * (bright - pixels)
        clear.append(opacity == 0)
        for kind, values in (("cloudy", pixels), ("masked", np.where(clear[-1], pixels, 0))):
            (folder / kind).mkdir(exist_ok=True)
            path = folder / kind / f"d{date:02}.tif"
            paths[kind].append(write_scene(path, np.rint(values).clip(0, 65535), dtype="uint16", descriptions=BANDS))
    items = {kind: write_items(folder / kind, found, bands=BANDS) for kind, found in paths.items()}
    return Stack(**items, truth=truth, clear=np.array(clear))


def compute_error(made: Outcome, truth: NDArray[np.float64], where: NDArray[np.bool_]) -> float:
    """RMS of the difference to the ground after one line a band, over the ground's standard deviation, mean over bands."""
    mosaic = made.read("mosaic.tif").values.astype(np.float64)
    errors = []
    for band, true in zip(mosaic[:, where], truth[:, where], strict=True):
        line = np.polyval(np.polyfit(band, true, 1), band)
        errors.append(np.sqrt(np.mean((line - true) ** 2)) / true.std())
    return float(np.mean(errors))


OFF = {
    f"methods.{name}": None for name in ("matching_global_method", "matching_local_method", "seamline_method", "clip_method")
}


def find_median(stack: Stack, scenes: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """The median of what is clear, halves rounded to even; 0 where nothing is."""
    values = np.where(stack.clear[:, None], scenes, np.nan)
    middle = np.nanmedian(values, axis=0)
    return np.where(np.isnan(middle), 0, np.rint(middle)).astype(np.uint16)


def read_dates(items: Path) -> NDArray[np.uint16]:
    """All dates, (DATES, 3, EDGE, EDGE)."""
    pixels = []
    for date in range(DATES):
        with rasterio.open(items.parent / f"d{date:02}.tif") as raster:
            pixels.append(raster.read())
    return np.array(pixels)


def test_a_pixel_is_the_median_of_all_scenes_that_have_it(stack: Stack, tmp_path: Path) -> None:
    made = run_quietly(stack.masked, tmp_path, {**OFF, **ALL})
    np.testing.assert_array_equal(made.read("mosaic.tif").values, find_median(stack, read_dates(stack.masked)))
    np.testing.assert_array_equal(made.read("observations.tif").values[0], stack.clear.sum(axis=0))


def test_the_number_of_observations_takes_the_scene_indexs_place(stack: Stack, tmp_path: Path) -> None:
    made = run_quietly(stack.masked, tmp_path, ALL)
    assert not {"scene_index.tif", "seamlines.gpkg"} & set(made.files)
    asset = made.item["assets"]["observations"]
    assert asset["href"] == "./observations.tif"
    assert [band["name"] for band in asset["bands"]] == ["observations"]
    report = json.loads(made.files["report.json"])
    shares = [scene["contributed_pixels"] for scene in report["scenes"]]
    assert shares == stack.clear.sum(axis=(1, 2)).tolist()
    assert report["summary"]["coverage"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(("method", "observations"), [("median", "agreeing"), ("geomedian", "agreeing"), ("geomedian", "all")])
def test_a_stack_is_the_same_by_tasks_and_in_pieces(
    method: str, observations: str, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = {**SATELLITE, "methods.merge_method": method, f"{method}.observations": observations}
    whole = run_both_ways(stack.cloudy, tmp_path / "whole", flags)
    monkeypatch.setattr(budget, "_STACK", 1)  # the fewest rows at a time
    pieces = run_quietly(stack.cloudy, tmp_path / "pieces", {**flags, "shared.tile_threads": 1})
    for file in ("mosaic.tif", "observations.tif"):
        assert pieces.files[file] == whole.files[file]


def test_scenes_give_what_the_users_files_allow(stack: Stack, tmp_path: Path) -> None:
    """An area, and what is cut out of each scene."""
    middle = box(LEFT, TOP - EDGE, LEFT + EDGE / 2, TOP)
    geopandas.GeoDataFrame({"id": [1]}, geometry=[middle], crs=UTM).to_file(tmp_path / "a.gpkg", engine="pyogrio")
    flags = {**ALL, "methods.matching_global_method": None, "methods.matching_local_method": None}
    whole = find_median(stack, read_dates(stack.masked))
    seen = np.zeros((EDGE, EDGE), np.bool_)
    seen[:, : EDGE // 2] = True
    for name, option in (
        ("area", {"voronoi_center_seamline.aoi_path": str(tmp_path / "a.gpkg")}),
        ("mask", {"mask_rasters.vector_mask": ["include", str(tmp_path / "a.gpkg")]}),
    ):
        made = run_quietly(stack.masked, tmp_path / name, {**flags, **option})
        values = made.read("mosaic.tif").values
        if name == "area" and values.shape[2] < EDGE:
            np.testing.assert_array_equal(values, whole[:, :, : values.shape[2]])
            continue
        np.testing.assert_array_equal(values, np.where(seen, whole, 0))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "seed"), [("median", 0), ("median", 1), ("median", 2), ("geomedian", 0)])
def test_clouds_over_40_percent_of_each_date_vanish_as_if_they_had_been_masked(method: str, seed: int, tmp_path: Path) -> None:
    """Measured with the median: 1.01, 1.01 and 1.07 times the error; of all observations 72 to 83 times."""
    stack = make_stack(tmp_path, clouds=0.4, seed=seed)
    everywhere = np.ones((EDGE, EDGE), np.bool_)
    flags = {**SATELLITE, "methods.merge_method": method}
    masked = run_quietly(stack.masked, tmp_path / "masked-run", {**flags, f"{method}.observations": "all"})
    cloudy = run_quietly(stack.cloudy, tmp_path / "cloudy-run", flags)
    every = run_quietly(stack.cloudy, tmp_path / "all-run", {**flags, f"{method}.observations": "all"})
    least = compute_error(masked, stack.truth, everywhere)
    assert compute_error(cloudy, stack.truth, everywhere) <= 1.2 * least
    assert compute_error(every, stack.truth, everywhere) > 20 * least
    counted = cloudy.read("observations.tif").values[0]
    clear = stack.clear.sum(axis=0)
    assert np.mean(counted >= clear) > 0.99
    assert np.mean(counted - clear) < 0.5  # thin edges of clouds


def test_observations_of_clear_dates_all_count(stack: Stack, tmp_path: Path) -> None:
    """What is masked already loses nothing."""
    every = run_quietly(stack.masked, tmp_path / "all", {**SATELLITE, **ALL})
    agreeing = run_quietly(stack.masked, tmp_path / "agreeing", {**SATELLITE, **MEDIAN})
    counted = agreeing.read("observations.tif").values[0]
    assert counted.sum() > 0.999 * stack.clear.sum()
    assert (counted <= stack.clear.sum(axis=0)).all()
    report = json.loads(agreeing.files["report.json"])
    assert sum(scene["contributed_pixels"] for scene in report["scenes"]) == counted.sum()
    everywhere = np.ones((EDGE, EDGE), np.bool_)
    errors = [compute_error(made, stack.truth, everywhere) for made in (agreeing, every)]
    assert errors[0] < 1.01 * errors[1]


def test_of_all_observations_clouds_vanish_where_most_dates_are_clear(tmp_path: Path) -> None:
    """With a tenth of each date under cloud a plain median is nearly as good as if all were masked."""
    stack = make_stack(tmp_path, clouds=0.1)
    everywhere = np.ones((EDGE, EDGE), np.bool_)
    errors = {}
    for kind, items in (("masked", stack.masked), ("cloudy", stack.cloudy)):
        made = run_quietly(items, tmp_path / f"{kind}-run", {**SATELLITE, **ALL})
        errors[kind] = compute_error(made, stack.truth, everywhere)
    covered = run_quietly(stack.cloudy, tmp_path / "one-run", SATELLITE)
    assert errors["cloudy"] < 1.4 * errors["masked"]
    assert compute_error(covered, stack.truth, everywhere) > 10 * errors["cloudy"]
