"""Each method off, in all 64 combinations: what is made then, pixel by pixel, and which combinations make no sense."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from commands import keeping_process_state, read_files, run_command
from effort import exhaustive
from numpy.typing import NDArray
from outcomes import Bench, Outcome, Raster, find_facets, make_odd, make_plain
from scipy.ndimage import map_coordinates

from processor.cli.commands import main

METHODS = {
    "matching_global_method": "global_regression",
    "matching_local_method": "local_block_adjustment",
    "align_method": "align_rasters",
    "seamline_method": "voronoi_center_seamline",
    "clip_method": "mask_rasters",
    "merge_method": "merge_rasters",
}
SCENES = ("a", "b", "c")


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """Which stages are on."""

    stages: frozenset[str]

    @property
    def flags(self) -> dict[str, Any]:
        """What switches the others off."""
        return {f"methods.{method}": None for method, stage in METHODS.items() if stage not in self.stages}

    @property
    def is_plain(self) -> bool:
        """Whether all are on, or all but one, or one alone."""
        return len(self.stages) in {1, len(METHODS) - 1, len(METHODS)}

    @property
    def nonsense(self) -> str | None:
        """Why it makes no sense, or None."""
        if not self.stages:
            return "every stage is off"
        if "mask_rasters" in self.stages and "voronoi_center_seamline" not in self.stages:
            return "mask_rasters' has nothing to cut by"
        return None

    def __str__(self) -> str:
        """Its stages, in order."""
        return " ".join(stage.partition("_")[0] for stage in METHODS.values() if stage in self.stages) or "nothing"


COMBINATIONS = [
    Combination(stages=frozenset(itertools.compress(METHODS.values(), chosen)))
    for chosen in itertools.product((True, False), repeat=len(METHODS))
]
SENSIBLE = [combination for combination in COMBINATIONS if combination.nonsense is None]
NONSENSE = [combination for combination in COMBINATIONS if combination.nonsense is not None]


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("methods"), {"odd": make_odd, "plain": make_plain})


def test_the_combinations_are_all_there_are() -> None:
    assert (len(COMBINATIONS), len(SENSIBLE), len(NONSENSE)) == (64, 47, 17)


@pytest.mark.parametrize("combination", [one if one.is_plain else exhaustive(one)[0] for one in SENSIBLE], ids=str)
def test_what_is_on_is_done_and_nothing_else(combination: Combination, bench: Bench) -> None:
    outcome = bench.run("odd", {**combination.flags, "output.artifacts": "full"})
    assert set(outcome.files) == list_files(combination.stages)
    check_shared(outcome, combination.stages, bench)
    layers = {name: follow_scene(outcome, name, combination.stages, bench) for name in SCENES}
    if "merge_rasters" in combination.stages:
        check_mosaic(outcome, layers, combination.stages)
    if combination == COMBINATIONS[0]:  # all stages; what is kept of them changes nothing
        assert outcome.files["mosaic.tif"] == bench.run_once("odd", {}).files["mosaic.tif"]


def list_files(stages: frozenset[str]) -> set[str]:
    """What is published with these stages on, and every raster kept."""
    files = {"config.yaml"}
    if "global_regression" in stages:
        files |= {"adjustments.json"}
    if "local_block_adjustment" in stages:
        files |= {"block_maps.npz"}
    if "voronoi_center_seamline" in stages:
        files |= {"seamlines.gpkg"}
    if "merge_rasters" in stages:
        files |= {"mosaic.tif", "scene_index.tif", "scene_index.tif.aux.xml", "overview.png", "report.html", "report.json"}
    with_rasters = stages - {"voronoi_center_seamline", "merge_rasters"}
    return files | {f"{stage}/{name}.tif" for stage in with_rasters for name in SCENES}


def check_shared(outcome: Outcome, stages: frozenset[str], bench: Bench) -> None:
    """A stage's findings hang on the stages that it is made from, not on those after it."""
    facets = find_facets(outcome)
    everything = find_facets(bench.run_once("odd", {}))
    for facet, stage in (
        ("adjustments", "global_regression"),
        ("statistics", "global_regression"),
        ("cells", "voronoi_center_seamline"),
    ):
        if stage in stages:
            assert facets[facet] == everything[facet]
    if "local_block_adjustment" in stages:
        base = {} if "global_regression" in stages else {"methods.matching_global_method": None}
        assert facets["block maps"] == find_facets(bench.run_once("odd", base))["block maps"]


def follow_scene(outcome: Outcome, name: str, stages: frozenset[str], bench: Bench) -> Raster:
    """Check a scene after each stage against the stage before; how it is before it is cut."""
    layer = read_scene(Path(bench.find_inputs("odd")).parent / f"{name}.tif")
    if "global_regression" in stages:
        before, layer = layer, outcome.read(f"global_regression/{name}.tif")
        known = json.loads(outcome.files["adjustments.json"])[name]["adjustments"]
        scale, offset = (
            np.array([known[f"band_{band}"][key] for band in (0, 1)])[:, None, None] for key in ("scale", "offset")
        )
        assert_near(layer, before, scale * before.values + offset, by=0.51)
    if "local_block_adjustment" in stages:
        before, layer = layer, outcome.read(f"local_block_adjustment/{name}.tif")
        assert_near(layer, before, correct_locally(outcome, name, before), by=1.1)  # what came before was not rounded
        assert (layer.values != before.values).any()
    if "align_rasters" in stages:
        before, layer = layer, outcome.read(f"align_rasters/{name}.tif")
        check_resampled(before, layer)
    if "mask_rasters" in stages:
        check_cut(layer, outcome.read(f"mask_rasters/{name}.tif"), read_cells(outcome)[name])
    return layer


def read_scene(path: Path) -> Raster:
    with rasterio.open(path) as raster:
        return Raster(values=raster.read(), transform=tuple(raster.transform)[:6], nodata=raster.nodata, overviews=())


def find_valid(raster: Raster) -> NDArray[np.bool_]:
    valid: NDArray[np.bool_] = (raster.values != raster.nodata).any(axis=0)
    return valid


def assert_near(layer: Raster, before: Raster, expected: NDArray[np.float64], *, by: float) -> None:
    """The same pixels are valid, on the same grid, and hold what is expected."""
    assert layer.transform == before.transform
    valid = find_valid(before)
    assert (find_valid(layer) == valid).all()
    assert np.abs(layer.values[:, valid] - expected[:, valid]).max() <= by


def correct_locally(outcome: Outcome, name: str, before: Raster) -> NDArray[np.float64]:
    """The correction "offset" with alpha 1, from the published maps: x^P with P = ln R / ln L, as all values are positive."""
    maps = outcome.read_block_maps()
    reference, local = maps["reference"], maps[name]
    height, width = before.values.shape[1:]
    x, y = centres(before, width, height)
    cols = (x - local.transform[2]) / local.transform[0] - 0.5
    rows = (y - local.transform[5]) / local.transform[4] - 0.5
    places = np.stack(np.broadcast_arrays(rows[:, None], cols[None, :]))
    known = np.isfinite(local.values[0]) & np.isfinite(reference.values[0])
    weight = map_coordinates(known.astype(float), places, order=1, mode="nearest")
    corrected = before.values.astype(float)
    for band in range(len(corrected)):
        with np.errstate(invalid="ignore", divide="ignore"):
            power = np.where(known, np.log(reference.values[band].astype(float)) / np.log(local.values[band].astype(float)), 0)
            near = map_coordinates(power, places, order=1, mode="nearest") / weight
        corrected[band] **= np.where(weight > 0, near, 1)
    return corrected


def check_resampled(before: Raster, after: Raster) -> None:
    """Bilinear between pixel centres, wherever all four are valid; the grid is that of whole CRS units."""
    assert after.transform[::4] == (1.0, -1.0)
    assert (after.transform[2] % 1, after.transform[5] % 1) == (0, 0)
    height, width = after.values.shape[1:]
    x, y = centres(after, width, height)
    cols = (x - before.transform[2]) / before.transform[0] - 0.5
    rows = (y - before.transform[5]) / before.transform[4] - 0.5
    places = np.stack(np.broadcast_arrays(rows[:, None], cols[None, :]))
    valid = find_valid(before)
    inside = map_coordinates(valid.astype(float), places, order=1, cval=0) > 1 - 1e-9
    assert inside.any()
    assert find_valid(after)[inside].all()
    for old, new in zip(before.values.astype(float), after.values, strict=True):
        assert np.abs(map_coordinates(old, places, order=1)[inside] - new[inside]).max() <= 1.01  # both are rounded


def check_cut(whole: Raster, cut: Raster, cell: shapely.Geometry) -> None:
    """Values stay where a pixel's centre is in the cell and become nodata elsewhere."""
    assert cut.transform == whole.transform
    sure, outside = locate(cut, cell)
    assert (cut.values[:, sure] == whole.values[:, sure]).all()
    assert (cut.values[:, outside] == cut.nodata).all()


def centres(raster: Raster, width: int, height: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """x and y of pixel centres."""
    step, _, left, _, down, top = raster.transform
    return left + (np.arange(width) + 0.5) * step, top + (np.arange(height) + 0.5) * down


def locate(raster: Raster, cell: shapely.Geometry) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Pixels whose centre is surely in a cell, and those whose centre is surely not."""
    height, width = raster.values.shape[1:]
    x, y = np.meshgrid(*centres(raster, width, height))
    return shapely.contains_xy(cell.buffer(-1e-6), x, y), ~shapely.contains_xy(cell.buffer(1e-6), x, y)


def read_cells(outcome: Outcome) -> Mapping[str, shapely.Geometry]:
    path = outcome.folder / "cells.gpkg"
    path.write_bytes(outcome.files["seamlines.gpkg"])
    frame = geopandas.read_file(path)
    return dict(zip(frame["image"], frame.geometry, strict=True))


def check_mosaic(outcome: Outcome, layers: Mapping[str, Raster], stages: frozenset[str]) -> None:
    """Every pixel that some scene has is there, from the scene that it has to be from, with that scene's values."""
    mosaic, index = outcome.read("mosaic.tif"), outcome.read("scene_index.tif").values[0]
    placed = [place(layers[name], mosaic) for name in SCENES]
    valid = [(values != 0).any(axis=0) for values in placed]
    assert (find_valid(mosaic) == np.any(valid, axis=0)).all()
    for number, values in enumerate(placed, start=1):
        assert (mosaic.values[:, index == number] == values[:, index == number]).all()
    if "mask_rasters" not in stages:
        expected = np.zeros(index.shape)
        for number, mask in enumerate(valid, start=1):
            expected[mask] = number
        assert (index == expected).all()
    else:
        cells = read_cells(outcome)
        for number, (name, mask) in enumerate(zip(SCENES, valid, strict=True), start=1):
            sure, _ = locate(mosaic, cells[name])
            assert (index[sure & mask] == number).all()


def place(layer: Raster, mosaic: Raster) -> NDArray[Any]:
    """A layer on the mosaic's grid: the pixel that each centre lies in, 0 outside."""
    height, width = mosaic.values.shape[1:]
    x, y = centres(mosaic, width, height)
    cols = np.floor((x - layer.transform[2]) / layer.transform[0]).astype(int)
    rows = np.floor((y - layer.transform[5]) / layer.transform[4]).astype(int)
    inside = ((rows >= 0) & (rows < layer.values.shape[1]))[:, None] & ((cols >= 0) & (cols < layer.values.shape[2]))[None, :]
    values = layer.values[:, rows.clip(0, layer.values.shape[1] - 1)][:, :, cols.clip(0, layer.values.shape[2] - 1)]
    return np.where(inside, values, 0)


@pytest.mark.parametrize("combination", NONSENSE, ids=str)
def test_what_makes_no_sense_is_refused_with_advice_and_exit_code_2(
    combination: Combination, bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [f"--{name}=null" for name in combination.flags]
    with keeping_process_state():
        code = main(["run", str(bench.find_inputs("odd")), "--output", str(tmp_path / "out"), *options])
    printed = capsys.readouterr()
    message = json.loads(printed.err.splitlines()[-1])["message"]
    assert (code, printed.out) == (2, "")
    assert str(combination.nonsense) in message
    assert "switch" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("keep", [("mask_rasters",), ("global_regression", "mask_rasters")], ids=",".join)
def test_scenes_are_cut_by_a_mask_of_the_users_without_seamlines(keep: tuple[str, ...], bench: Bench) -> None:
    """What makes no sense without a vector mask does with one."""
    items = Path(bench.find_inputs("plain"))
    frame = geopandas.GeoDataFrame(
        {"id": [1]}, geometry=[shapely.box(500_060, 5_299_800, 500_200, 5_299_950)], crs="EPSG:32633"
    )
    if not (items.parent / "keep.gpkg").exists():
        frame.to_file(items.parent / "keep.gpkg", driver="GPKG", engine="pyogrio")
    flags = {f"methods.{method}": None for method, stage in METHODS.items() if stage not in {*keep, "merge_rasters"}} | {
        "mask_rasters.vector_mask": ["include", "{scenes}/keep.gpkg"]
    }
    mosaic = bench.run("plain", flags).read("mosaic.tif")
    sure, outside = locate(mosaic, frame.geometry[0])
    assert find_valid(mosaic)[sure].all()
    assert not find_valid(mosaic)[outside].any()


@pytest.mark.slow
@pytest.mark.parametrize(
    "off", [("global", "local", "align", "seamline", "clip"), *exhaustive((("local", "align"),))], ids=",".join
)
def test_the_report_is_drawn_whatever_is_off(off: tuple[str, ...], bench: Bench, tmp_path: Path) -> None:
    names = [name for name in METHODS if any(word in name for word in off)]
    options = [f"--methods.{name}=null" for name in names]
    finished = run_command(
        "run",
        str(bench.find_inputs("odd")),
        "--output",
        "out",
        "--item-id",
        "m",
        *options,
        cwd=tmp_path,
        scratch=tmp_path / "tmp",
    )
    assert finished.code == 0, finished.stderr
    assert len(names) == len(off)
    files = read_files(tmp_path / "out" / "m")
    assert files["overview.png"].startswith(b"\x89PNG")
    assert files["report.html"].count(b"<svg") >= 2
