"""Adjustments, block maps and vectors that users save and give again, and the page about them."""

from __future__ import annotations

import itertools
import json
import re
import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from outcomes import read_block_maps
from scenes import LEFT, TOP, gradient_truth, write_scene
from shapely import box
from small_runs import (
    F64,
    GLOBAL_ONLY,
    NAMES,
    PIXEL,
    Known,
    Made,
    find_block_means,
    make,
    make_plan,
    place_scenes,
    read_adjustments,
    read_raster,
    write_four,
    write_map,
    write_vectors,
)

from processor.api import pipeline
from processor.errors import ConfigError, InputError
from processor.model import BlockMap
from processor.stages.method import BlockMaps

DOCS = Path(__file__).parents[2] / "docs" / "files.md"
ONE_WORKER = pytest.mark.xdist_group("published")  # the run that they look at is made once


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_four(tmp_path_factory.mktemp("scenes"))


@pytest.fixture(scope="module")
def plain(paths: list[Path]) -> Made:
    """The mosaic without any file given."""
    return make(paths)


@pytest.fixture(scope="module")
def known(paths: list[Path], plain: Made) -> dict[str, Known]:
    return place_scenes(paths, plain)


# Which scenes pull on the model


@pytest.fixture(scope="module")
def exact_paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A chain a - b - c and d, which overlaps all, of one truth with gains and offsets; float32, so nothing is rounded away."""
    folder = tmp_path_factory.mktemp("exact")
    radiometry = {"a": (1.0, 0.0), "b": (1.25, -40.0), "c": (0.75, 90.0), "d": (1.1, 15.0)}
    places = {"a": (0, 0, 60), "b": (0, 40, 60), "c": (0, 80, 60), "d": (30, 20, 100)}
    found = {}
    for name, (gain, offset) in radiometry.items():
        row, col, width = places[name]
        truth = gradient_truth(60, width, 2, left=LEFT + col, top=TOP - row) * gain + offset
        found[name] = write_scene(folder / f"{name}.tif", truth, left=LEFT + col, top=TOP - row, dtype="float32", nodata=-1e9)
    return found


def test_all_scenes_but_one_excluded_match_that_one(exact_paths: dict[str, Path]) -> None:
    setting = ["exclude", ["a", "b.tif", "c"]]
    made = make(list(exact_paths.values()), {"global_regression.specify_model_images": setting, **GLOBAL_ONLY})
    truth = gradient_truth(90, 140, 2)
    np.testing.assert_allclose(made.scales["d"], 1, rtol=1e-6)
    np.testing.assert_allclose(made.scales["a"], 1.1, rtol=1e-5)
    assert made.valid.sum() == 60 * 140 + 30 * 100  # the rows of a, b and c, and of d below them
    np.testing.assert_allclose(made.mosaic[:, made.valid], (truth * 1.1 + 15)[:, made.valid], rtol=1e-4)
    included = ["include", ["/data/d.tif"]]
    again = make(list(exact_paths.values()), {"global_regression.specify_model_images": included, **GLOBAL_ONLY})
    assert again.scales == made.scales
    np.testing.assert_array_equal(again.mosaic, made.mosaic)


def test_a_scene_outside_the_model_is_fitted_to_it_and_pulls_nothing(exact_paths: dict[str, Path]) -> None:
    chain = [exact_paths[name] for name in "abc"]
    flags = {"global_regression.specify_model_images": ["exclude", ["c"]], **GLOBAL_ONLY}
    made = make(chain, flags)
    last = made.measures.overlaps[-1]
    assert (last.first, last.second) == ("b", "c")
    for attribute in ("mean", "std"):
        offsets = (made.offsets["b"], made.offsets["c"]) if attribute == "mean" else (0, 0)
        ours = np.array(made.scales["b"]) * getattr(last.first_moments, attribute) + offsets[0]
        theirs = np.array(made.scales["c"]) * getattr(last.second_moments, attribute) + offsets[1]
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    free = make(chain, GLOBAL_ONLY)
    assert abs(free.scales["b"][0] - made.scales["b"][0]) > 0.005  # where c pulls too


# Adjustments


def test_saved_adjustments_give_the_same_mosaic_again(paths: list[Path], plain: Made, tmp_path: Path) -> None:
    (tmp_path / "adjustments.json").write_text(plain.adjustments)
    again = make(paths, {"global_regression.load_adjustments": str(tmp_path / "adjustments.json")})
    for name in NAMES:
        np.testing.assert_allclose(again.scales[name], plain.scales[name], rtol=1e-13)
        assert read_adjustments(plain.adjustments, "scale")[name] == plain.scales[name]
        assert read_adjustments(plain.adjustments, "offset")[name] == plain.offsets[name]
    np.testing.assert_array_equal(again.mosaic, plain.mosaic)
    assert json.loads(again.adjustments).keys() == json.loads(plain.adjustments).keys()


def test_with_the_global_stage_alone_loaded_adjustments_spare_the_first_read(
    paths: list[Path], plain: Made, tmp_path: Path
) -> None:
    (tmp_path / "adjustments.json").write_text(plain.adjustments)
    again = make(paths, {"global_regression.load_adjustments": str(tmp_path / "adjustments.json"), **GLOBAL_ONLY})
    assert again.measured_bytes == 0
    np.testing.assert_allclose(again.scales["scene_2_1"], plain.scales["scene_2_1"], rtol=1e-13)
    np.testing.assert_array_equal(again.mosaic, make(paths, GLOBAL_ONLY).mosaic)


def test_scenes_that_are_not_in_the_file_are_measured(paths: list[Path], plain: Made, tmp_path: Path) -> None:
    """The same statistics from wherever they come give the same adjustments."""
    document = json.loads(plain.adjustments)
    document.pop("scene_1_2")
    (tmp_path / "adjustments.json").write_text(json.dumps(document))
    again = make(paths, {"global_regression.load_adjustments": str(tmp_path / "adjustments.json")})
    for name in NAMES:
        np.testing.assert_allclose(again.scales[name], plain.scales[name], rtol=1e-12)
    document["scene_1_1"]["whole_stats"]["band_0"]["mean"] += 50
    (tmp_path / "adjustments.json").write_text(json.dumps(document))
    changed = make(paths, {"global_regression.load_adjustments": str(tmp_path / "adjustments.json")})
    assert (
        abs(changed.scales["scene_1_1"][0] - plain.scales["scene_1_1"][0]) > 1e-4
    )  # the file's figures count, not the pixels'


def test_scenes_only_in_the_file_still_count_in_the_model(paths: list[Path], plain: Made, tmp_path: Path) -> None:
    (tmp_path / "adjustments.json").write_text(plain.adjustments)
    flags = {"global_regression.load_adjustments": str(tmp_path / "adjustments.json")}
    some = make(paths[:2], flags)
    assert set(some.scales) == {"scene_1_1", "scene_1_2"}
    for name in some.scales:
        np.testing.assert_allclose(some.scales[name], plain.scales[name], rtol=1e-13)
    assert abs(make(paths[:2]).scales["scene_1_1"][0] - plain.scales["scene_1_1"][0]) > 1e-3
    assert read_adjustments(some.adjustments, "scale").keys() == set(NAMES)  # and they are handed on
    excluded = make(paths[:2], {**flags, "global_regression.specify_model_images": ["exclude", ["scene_2_1", "scene_2_2"]]})
    assert abs(excluded.scales["scene_1_1"][0] - plain.scales["scene_1_1"][0]) > 1e-4


# Block maps


def save_maps(folder: Path, made: Made) -> tuple[str, list[str]]:
    """Write a run's maps as its products are written."""
    bounds = made.block_adjustment.reference.grid.bounds.as_tuple()
    reference = write_map(folder / "reference.tif", made.block_adjustment.reference.expand(), bounds)
    local = [
        write_map(folder / f"map_{block_map.name}_Global.tif", block_map.expand(), bounds)
        for block_map in made.block_adjustment.local_maps
    ]
    return str(reference), [str(path) for path in local]


@pytest.mark.parametrize("form", ["both", "reference", "local"])
def test_maps_that_were_saved_give_the_same_mosaic_in_every_form(
    paths: list[Path], plain: Made, tmp_path: Path, form: str
) -> None:
    reference, local = save_maps(tmp_path, plain)
    setting = [reference if form != "local" else None, local if form != "reference" else None]
    again = make(paths, {"local_block_adjustment.load_block_maps": setting})
    np.testing.assert_array_equal(again.mosaic, plain.mosaic)


def test_a_loaded_map_is_used_and_not_computed(paths: list[Path], plain: Made, tmp_path: Path) -> None:
    """A reference twice as bright makes the mosaic twice as bright; a local map twice as bright makes its scene half as."""
    reference, local = save_maps(tmp_path, plain)
    linear = {"local_block_adjustment.correction_method": "linear"}
    before = make(paths, linear)
    bounds = plain.block_adjustment.reference.grid.bounds.as_tuple()
    write_map(tmp_path / "twice.tif", 2 * plain.block_adjustment.reference.expand(), bounds)
    twice = make(paths, {**linear, "local_block_adjustment.load_block_maps": [str(tmp_path / "twice.tif"), None]})
    np.testing.assert_allclose(twice.mosaic[:, before.valid] / before.mosaic[:, before.valid], 2, rtol=2e-3)
    bright = plain.block_adjustment.local_maps[1]
    write_map(Path(local[1]), 2 * bright.expand(), bounds)
    half = make(paths, {**linear, "local_block_adjustment.load_block_maps": [reference, local]})
    taken = before.take(bright.name)
    np.testing.assert_allclose(half.mosaic[:, taken] / before.mosaic[:, taken], 0.5, rtol=4e-3)
    np.testing.assert_array_equal(half.mosaic[:, ~taken], before.mosaic[:, ~taken])


def test_maps_of_scenes_that_are_no_inputs_count_in_the_reference(paths: list[Path], plain: Made, tmp_path: Path) -> None:
    _, local = save_maps(tmp_path, plain)
    some = make(paths[:3], {"local_block_adjustment.load_block_maps": [None, local]})
    assert [block_map.name for block_map in some.block_adjustment.local_maps] == list(NAMES[:3])
    np.testing.assert_allclose(some.block_adjustment.reference.values, plain.block_adjustment.reference.values, rtol=1e-12)
    lost = make(paths[:3], {"local_block_adjustment.load_block_maps": [None, local[:3]]})
    assert not np.allclose(lost.block_adjustment.reference.values, plain.block_adjustment.reference.values, equal_nan=True)


def test_the_reference_is_the_mean_of_the_loaded_and_the_computed_maps(paths: list[Path], plain: Made, tmp_path: Path) -> None:
    _, local = save_maps(tmp_path, plain)
    maps = [block_map.expand() for block_map in plain.block_adjustment.local_maps]
    write_map(Path(local[0]), maps[0] + 100, plain.block_adjustment.local_maps[0].grid.bounds.as_tuple())
    made = make(paths, {"local_block_adjustment.load_block_maps": [None, local[:1]]})
    stack = np.stack([maps[0] + 100, *maps[1:]])
    count = np.isfinite(stack).sum(axis=0)
    expected = np.where(count, np.nansum(stack, axis=0) / np.maximum(count, 1), np.nan)
    np.testing.assert_allclose(made.block_adjustment.reference.values, expected, rtol=1e-9)


def add_scene(folder: Path, paths: list[Path]) -> Path:
    """A scene that overlaps only scene_2_2, reaching beyond the canvas: a part of it, shifted and much brighter."""
    with rasterio.open(paths[3]) as raster:
        values, transform = raster.read(), raster.transform
    values = np.where(values > 0, np.minimum(values.astype(float) * 1.5 + 200, 65535), 0)
    place = {"left": transform.c + 80 * PIXEL, "top": transform.f - 80 * PIXEL, "pixel": PIXEL}
    return write_scene(folder / "scene_3_3.tif", values, dtype="uint16", **place)


def find_parameters(made: Made) -> dict[str, F64]:
    """Local corrections by scene on the whole canvas."""
    return {
        correction.scene: BlockMap(
            name="", grid=correction.grid, values=correction.parameter, row=correction.row, col=correction.col
        ).expand()
        for correction in made.solution.corrections
    }


def test_a_new_scene_leaves_the_corrections_of_the_old_ones_as_they_were(
    paths: list[Path], plain: Made, tmp_path: Path
) -> None:
    """Its former maps make an old scene's correction what it was; without local maps it follows the solve."""
    reference, local = save_maps(tmp_path, plain)
    (tmp_path / "adjustments.json").write_text(plain.adjustments)
    flags: dict[str, Any] = {"global_regression.load_adjustments": str(tmp_path / "adjustments.json")}
    more = [*paths, add_scene(tmp_path, paths)]
    kept = make(more, {**flags, "local_block_adjustment.load_block_maps": [reference, local]})
    before, after = find_parameters(plain), find_parameters(kept)
    assert set(after) == {*before, "scene_3_3"}
    for name, parameter in before.items():
        np.testing.assert_allclose(after[name], parameter, rtol=1e-9)
    assert kept.block_adjustment.reference.grid.bounds.as_tuple() == pytest.approx(
        plain.block_adjustment.reference.grid.bounds.as_tuple()
    )
    assert kept.plan.canvas != plain.plan.canvas


def test_a_new_scene_outside_the_model_hardly_moves_the_old_ones(paths: list[Path], plain: Made, tmp_path: Path) -> None:
    """It is fitted without residual to the one it overlaps; only the weight of the anchors, overlaps / 2 N, is another."""
    reference, _ = save_maps(tmp_path, plain)
    (tmp_path / "adjustments.json").write_text(plain.adjustments)
    made = make(
        [*paths, add_scene(tmp_path, paths)],
        {
            "global_regression.load_adjustments": str(tmp_path / "adjustments.json"),
            "global_regression.specify_model_images": ["exclude", ["scene_3_3"]],
            "local_block_adjustment.load_block_maps": [reference, None],
        },
    )
    for name in NAMES:
        np.testing.assert_allclose(made.scales[name], plain.scales[name], rtol=0.01)
    before, after = find_parameters(plain), find_parameters(made)
    for name, parameter in before.items():
        np.testing.assert_allclose(after[name], parameter, rtol=0.002)
    assert np.array(made.scales["scene_3_3"]) == pytest.approx(np.array(made.scales["scene_2_2"]) / 1.5, rel=0.1)


def test_a_new_scene_changes_no_pixel_of_old_ones_that_are_matched_already(paths: list[Path], tmp_path: Path) -> None:
    """With the global stage off and the former reference, a pixel of an old scene is what it was."""
    off = {"methods.matching_global_method": None}
    old = make(paths, off)
    reference, _ = save_maps(tmp_path, old)
    new = make([*paths, add_scene(tmp_path, paths)], {**off, "local_block_adjustment.load_block_maps": [reference, None]})
    height, width = old.index.shape
    same = (new.index[:height, :width] == old.index) & (old.index > 0)
    assert same.sum() > 0.9 * old.valid.sum()
    np.testing.assert_array_equal(new.mosaic[:, :height, :width][:, same], old.mosaic[:, same])


@pytest.mark.parametrize(
    "bounds", [(499_900.0, 5_299_400.0, 500_600.0, 5_300_100.0), (500_103.0, 5_299_611.0, 500_390.0, 5_299_902.0)]
)
def test_blocks_over_other_bounds_hold_the_pixels_within_them(
    paths: list[Path], known: dict[str, Known], bounds: tuple[float, float, float, float]
) -> None:
    """Larger than the scenes, and smaller: pixels beyond the canvas do not count and are corrected as those at its edge."""
    flags = {
        "local_block_adjustment.override_bounds_canvas_coords": bounds,
        "local_block_adjustment.number_of_blocks": [7, 9],
        "methods.matching_global_method": None,
    }
    made = make(paths, flags)
    assert made.block_adjustment.reference.grid.bounds.as_tuple() == bounds
    maps = {block_map.name: block_map.expand() for block_map in made.block_adjustment.local_maps}
    for name, scene in known.items():
        np.testing.assert_allclose(maps[name], find_block_means(scene, scene.valid, made), rtol=1e-9)
    np.testing.assert_array_equal(made.valid, np.logical_or.reduce([scene.valid for scene in known.values()]))


# Everything at once, and in an object store


@pytest.fixture(scope="module")
def memory() -> Iterator[str]:
    filesystem = fsspec.filesystem("memory")
    yield "memory://given-files"
    filesystem.rm("/given-files", recursive=True) if filesystem.exists("/given-files") else None


STAGES = ("global_regression", "local_block_adjustment", "align_rasters", "mask_rasters")


@pytest.fixture(scope="module")
def published(paths: list[Path], memory: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that writes all there is to write into the object store; the folder of its mosaic."""
    folder = tmp_path_factory.mktemp("published")
    pipeline(
        paths,
        folder / "mosaic.tif",
        global_regression_estimate_stats=False,
        voronoi_center_seamline_image_field_name="scene",
        global_regression_save_adjustments=f"{memory}/save/adjustments.json",
        local_block_adjustment_save_block_maps=(f"{memory}/save/reference.tif", f"{memory}/save/local_$.tif"),
        voronoi_center_seamline_output_mask=f"{memory}/save/seamlines.gpkg",
        voronoi_center_seamline_debug_vectors_path=f"{memory}/save/debug.gpkg",
        global_regression_output_images=f"{memory}/images/global_$.tif",
        local_block_adjustment_output_images=f"{memory}/images/local",
        align_rasters_output_images=[f"{memory}/images/aligned_{number}.tif" for number in range(4)],
        mask_rasters_output_images=f"{memory}/images/$_clipped.tif",
    )
    return folder


def fetch(url: str, folder: Path) -> Path:
    """Copy an object to a local folder."""
    folder.mkdir(exist_ok=True)
    path = folder / url.rpartition("/")[2]
    path.write_bytes(fsspec.filesystem("memory").cat_file(url.removeprefix("memory:/")))
    return path


@ONE_WORKER
def test_copies_are_what_is_published(published: Path, memory: str, tmp_path: Path) -> None:
    mosaic = published / "mosaic"
    for name in ("adjustments.json", "seamlines.gpkg"):
        assert fetch(f"{memory}/save/{name}", tmp_path).read_bytes() == (mosaic / name).read_bytes()
    maps = read_block_maps((mosaic / "block_maps.npz").read_bytes())
    for name, copy in (("reference", "reference"), *((scene, f"local_{scene}") for scene in NAMES)):
        np.testing.assert_array_equal(
            read_raster(fetch(f"{memory}/save/{copy}.tif", tmp_path)), maps[name].values.astype(np.float32)
        )
    assert not (mosaic / "block_maps").exists()


@ONE_WORKER
@pytest.mark.parametrize("form", ["both", "reference", "local"])
def test_published_block_maps_give_the_same_mosaic_to_the_byte(published: Path, paths: list[Path], form: str) -> None:
    archive = str(published / "mosaic" / "block_maps.npz")
    setting = [archive if form != "local" else None, [archive] if form != "reference" else None]
    flags = {"global_regression.estimate_stats": False, "local_block_adjustment.load_block_maps": setting}
    np.testing.assert_array_equal(make(paths, flags).mosaic, read_raster(published / "mosaic.tif"))


@ONE_WORKER
def test_everything_that_was_saved_gives_the_same_mosaic_again(published: Path, paths: list[Path], memory: str) -> None:
    """From the object store, block maps in float32: a pixel may round to the next number."""
    flags = {
        "global_regression.load_adjustments": f"{memory}/save/adjustments.json",
        "local_block_adjustment.load_block_maps": [
            f"{memory}/save/reference.tif",
            [f"{memory}/save/local_{scene}.tif" for scene in NAMES],
        ],
        "mask_rasters.vector_mask": ["include", f"{memory}/save/seamlines.gpkg", "scene"],
        "methods.seamline_method": None,
    }
    again = make(paths, flags)
    mosaic = read_raster(published / "mosaic.tif").astype(int)
    difference = np.abs(again.mosaic.astype(int) - mosaic)
    assert difference.max() <= 1
    assert difference.mean() < 1e-4


@ONE_WORKER
def test_footprints_and_area_are_read_from_the_object_store(published: Path, paths: list[Path], memory: str) -> None:
    del published
    flags: dict[str, Any] = {
        "voronoi_center_seamline.vector_mask": [f"{memory}/save/debug.gpkg", "scene"],  # its first layer: the footprints
        "voronoi_center_seamline.aoi_path": f"{memory}/save/seamlines.gpkg",
    }
    made = make(paths, flags)
    np.testing.assert_array_equal(made.index, make(paths).index)


@ONE_WORKER
def test_debug_layers_show_how_the_seamlines_came_about(published: Path, memory: str, tmp_path: Path) -> None:
    del published
    path = fetch(f"{memory}/save/debug.gpkg", tmp_path)
    layers = ["emp_outline", "intersections", "voronoi_seeds", "voronoi_cells", "cutlines"]
    assert [name for name, _ in pyogrio.list_layers(path)] == layers
    outlines, parts, seeds, edges, cuts = (geopandas.read_file(path, layer=layer) for layer in layers)
    assert outlines["scene"].tolist() == list(NAMES)
    pairs = [f"{first} | {second}" for first, second in itertools.combinations(NAMES, 2)]
    assert sorted(set(cuts["scene"])) == pairs
    footprint = dict(zip(outlines["scene"], outlines.geometry, strict=True))
    for pair, part, points, graph, cut in zip(
        parts["scene"], parts.geometry, seeds.geometry, edges.geometry, cuts.geometry, strict=True
    ):
        first, second = pair.split(" | ")
        assert part.difference(footprint[first].intersection(footprint[second])).area < 0.1
        assert shapely.distance(part.boundary, np.array(points.geoms)).max() < 0.01
        assert part.buffer(0.1).covers(graph)
        assert part.buffer(0.1).covers(cut)


@ONE_WORKER
def test_kept_rasters_of_every_stage_are_where_they_were_asked_for(
    published: Path, memory: str, plain: Made, tmp_path: Path
) -> None:
    names = {
        "global_regression": [f"global_{scene}.tif" for scene in NAMES],
        "local_block_adjustment": [f"local/{scene}.tif" for scene in NAMES],
        "align_rasters": [f"aligned_{number}.tif" for number in range(4)],
        "mask_rasters": [f"{scene}_clipped.tif" for scene in NAMES],
    }
    found = fsspec.filesystem("memory").find("/given-files/images")
    assert sorted(found) == sorted(f"/given-files/images/{name}" for files in names.values() for name in files)
    mosaic = read_raster(published / "mosaic.tif")
    grid = plain.plan.grid
    merged = np.zeros_like(mosaic)
    for name in names["mask_rasters"]:
        with rasterio.open(fetch(f"{memory}/images/{name}", tmp_path)) as raster:
            row, col = round((grid.top - raster.transform.f) / PIXEL), round((raster.transform.c - grid.left) / PIXEL)
            values = raster.read()
        part = merged[:, row : row + values.shape[1], col : col + values.shape[2]]
        assert not (part.any(axis=0) & values.any(axis=0)).any()  # the cells share no pixel
        part += values
    np.testing.assert_array_equal(merged, mosaic)


@pytest.mark.parametrize("parameter", ["voronoi_center_seamline_aoi_path", "mask_rasters_vector_mask"])
def test_a_mosaic_without_a_pixel_is_refused(paths: list[Path], tmp_path: Path, parameter: str) -> None:
    """The corner of a scene, where its turned footprint leaves it empty."""
    url = write_vectors(tmp_path / "corner.gpkg", [box(500_000.3, 5_299_999.1, 500_001.7, 5_299_999.9)])
    value = url if parameter.endswith("path") else ["include", url]
    with pytest.raises(InputError, match=r"the mosaic would have no pixel: .* leaves nothing of any scene"):
        pipeline(paths, tmp_path / "mosaic.tif", **{parameter: value})
    assert not (tmp_path / "mosaic.tif").exists()


def test_a_run_that_measures_nothing_reports_what_it_knows(paths: list[Path], plain: Made, tmp_path: Path) -> None:
    (tmp_path / "adjustments.json").write_text(plain.adjustments)
    off = dict.fromkeys(("matching_local_method", "align_method", "seamline_method", "clip_method"))
    pipeline(paths, tmp_path / "mosaic.tif", global_regression_load_adjustments=str(tmp_path / "adjustments.json"), **off)
    item = json.loads((tmp_path / "mosaic" / "mosaic.json").read_text())
    report = json.loads((tmp_path / "mosaic" / "report.json").read_text())
    assert item["properties"]["mosaic:coverage"] == 1
    assert len(report["overlaps"]) == 6
    assert (tmp_path / "mosaic" / "adjustments.json").read_text() == make(
        paths, {"global_regression.load_adjustments": str(tmp_path / "adjustments.json"), **GLOBAL_ONLY}
    ).adjustments


def test_vector_files_are_geopackages(paths: list[Path], tmp_path: Path) -> None:
    for parameter in ("output_mask", "debug_vectors_path"):
        with pytest.raises(ConfigError, match=rf"voronoi_center_seamline.{parameter} = .*\.shp'.* must end in \.gpkg"):
            pipeline(paths, tmp_path / "m.tif", **{f"voronoi_center_seamline_{parameter}": str(tmp_path / "cells.shp")})
    assert list(tmp_path.iterdir()) == []


def test_names_that_contain_each_other_are_kept_apart(tmp_path: Path) -> None:
    """Mask, footprints and maps of s_1, s_10 and s_1_b never meet."""
    names = ["s_1", "s_10", "s_1_b"]
    scenes = [
        write_scene(
            tmp_path / f"{name}.tif",
            gradient_truth(60, 60, 1, left=LEFT + 40 * i) * (1 + i / 10),
            left=LEFT + 40 * i,
            dtype="float32",
        )
        for i, name in enumerate(names)
    ]
    url = write_vectors(tmp_path / "clouds.gpkg", [box(LEFT, TOP - 30, LEFT + 200, TOP)], image=["s_1_b"])
    made = make(scenes, {"global_regression.vector_mask": ["exclude", url, "image"]})
    assert {scene.name: scene.moments.count for scene in made.measures.scenes} == {"s_1": 3600, "s_10": 3600, "s_1_b": 1800}
    bounds = made.plan.canvas.as_tuple()
    maps = [
        write_map(tmp_path / f"local_{name}_Global.tif", np.full((1, 2, 2), 100.0 + i), bounds) for i, name in enumerate(names)
    ]
    setting = [None, [str(path) for path in maps]]
    plan = make_plan(scenes, {"local_block_adjustment.load_block_maps": setting})
    loaded = plan.methods.matching_local.files.get("load_block_maps", BlockMaps)
    assert loaded is not None
    assert {name: block_map.values[0, 0, 0] for name, block_map in loaded.local.items()} == {
        "s_1": 100,
        "s_10": 101,
        "s_1_b": 102,
    }


# The page about these files


def read_examples() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def test_the_examples_of_the_page_run(paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, as a reader tries them, in a folder with the scenes."""
    (tmp_path / "scenes").mkdir()
    for path in paths:
        shutil.copy(path, tmp_path / "scenes")
    monkeypatch.chdir(tmp_path)
    examples = read_examples()
    assert len(examples) >= 3
    (tmp_path / "examples.py").write_text("\n".join(examples), encoding="utf-8")
    found = runpy.run_path(str(tmp_path / "examples.py"))
    assert set(found["adjustments"]) == set(NAMES[:3])
    made = {"mosaic.tif", "larger.tif", "lit.tif", "lit_larger.tif", "area.tif"}
    assert {path.name for path in tmp_path.glob("*.tif")} == made
    old, new, cut = (read_raster(tmp_path / name) for name in ("mosaic.tif", "larger.tif", "area.tif"))
    assert 0 < np.count_nonzero(cut) < np.count_nonzero(new)
    height, width = old.shape[1:]
    both = (old != 0) & (new[:, :height, :width] != 0)
    changed = np.abs(new[:, :height, :width].astype(float) - old)[both]
    assert np.median(changed) < 25  # of about 1500
    lit, larger = (read_raster(tmp_path / name) for name in ("lit.tif", "lit_larger.tif"))
    same = (lit == larger[:, :height, :width])[:, both.any(axis=0)]
    assert same.mean() > 0.5  # the rest is in the cell of the scene that came later
    assert set(json.loads((tmp_path / "surfaces.json").read_text())["scenes"]) == set(NAMES[:3])
