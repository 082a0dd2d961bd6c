"""References: which of their bands are read, on which lattice, and that what is measured is what the pixels are."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from passes import open_bench
from rasterio.crs import CRS
from rasterio.warp import transform as transform_points
from scenes import LEFT, TOP, gradient_truth, write_items, write_scene
from small_runs import make_plan, open_scenes

from processor.config.general import Reference
from processor.errors import ConfigError, InputError
from processor.model import Grid, Scene
from processor.mosaic.measure import measure_chunk, merge_chunks
from processor.scenes.references import place_reference, read_references
from processor.stages.matching.matched_blocks import MatchedBlocks
from processor.storage.options import Access

UTM33 = CRS.from_epsg(32633).to_wkt()
GRID = Grid(crs=UTM33, left=LEFT, top=TOP, pixel_width=1.0, pixel_height=1.0, width=200, height=160)


def read(image: Path, scenes: list[Scene], **settings: Any) -> tuple[Scene, ...]:
    return read_references(Reference(images=str(image), **settings), scenes, Access(), threads=1).scenes


@pytest.fixture
def scenes(tmp_path: Path) -> list[Scene]:
    path = write_scene(tmp_path / "one.tif", gradient_truth(64, 64, 3), dtype="uint16", descriptions=("red", "green", "blue"))
    return open_scenes([path])


def test_bands_are_matched_by_name_and_where_names_say_nothing_by_position(tmp_path: Path, scenes: list[Scene]) -> None:
    named = write_scene(tmp_path / "a.tif", gradient_truth(8, 8, 4), pixel=10, descriptions=("blue", "green", "red", "nir"))
    plain = write_scene(tmp_path / "b.tif", gradient_truth(8, 8, 3), pixel=10)
    assert [part.raster.source.band_indexes for part in read(named, scenes)[0].parts] == [(3,), (2,), (1,)]
    assert [part.raster.source.band_indexes for part in read(plain, scenes)[0].parts] == [(1,), (2,), (3,)]


def test_files_of_one_band_each_are_one_reference(tmp_path: Path, scenes: list[Scene]) -> None:
    truth = gradient_truth(8, 8, 4)
    for number, name in enumerate(("B02", "B03", "B04", "B08")):
        write_scene(tmp_path / "s2" / f"T32TPT_2024_{name}_10m.tif", truth[number], pixel=10)
    (found,) = read(tmp_path / "s2", scenes)
    assert [band.name for band in found.bands] == ["B04", "B03", "B02"]
    (named,) = read(tmp_path / "s2", scenes, bands=("B08", "B04", "B03"))
    assert [part.raster.source.asset for part in named.parts] == ["B08", "B04", "B03"]


def test_bands_can_be_named(tmp_path: Path, scenes: list[Scene]) -> None:
    path = write_scene(tmp_path / "a.tif", gradient_truth(8, 8, 4), pixel=10, descriptions=("B2", "B3", "B4", "B8"))
    chosen = read(path, scenes, bands=("B4", "B3", "B2"))[0]
    assert [band.name for band in chosen.bands] == ["B4", "B3", "B2"]
    assert [part.raster.source.band_indexes for part in read(path, scenes, bands=("1", "2", "4"))[0].parts] == [
        (1,),
        (2,),
        (4,),
    ]
    with pytest.raises(InputError, match="wanted are B4, B3, B9"):
        read(path, scenes, bands=("B4", "B3", "B9"))
    with pytest.raises(InputError, match="names 2 bands, and the scenes have 3"):
        read(path, scenes, bands=("B4", "B3"))


def test_missing_bands_are_named_with_the_parameter_that_helps(tmp_path: Path, scenes: list[Scene]) -> None:
    path = write_scene(tmp_path / "a.tif", gradient_truth(8, 8, 2), pixel=10)
    with pytest.raises(
        InputError, match=r"reference a has bands band_1, band_2, and what is wanted are red, green, blue.*bands"
    ):
        read(path, scenes)


def test_items_with_one_asset_a_band_are_stacked(tmp_path: Path, scenes: list[Scene]) -> None:
    path = write_scene(tmp_path / "a.tif", gradient_truth(8, 8, 3), pixel=10, dtype="float32")
    items = write_items(tmp_path, [path], bands=("red", "green", "blue"))
    (reference,) = read(items, scenes)
    assert (reference.name, reference.dtype) == ("reference:a", "float32")


def test_references_of_different_units_are_refused(tmp_path: Path, scenes: list[Scene]) -> None:
    for name, dtype in (("a", "uint16"), ("b", "float32")):
        write_scene(tmp_path / "known" / f"{name}.tif", gradient_truth(8, 8, 3), pixel=10, dtype=dtype)
    with pytest.raises(InputError, match="different units"):
        read(tmp_path / "known", scenes)


@pytest.mark.parametrize(("pixel", "measured", "joined"), [(10.0, 1.0, 1), (1.0, 1.0, 1), (0.5, 1.0, 2), (10.0, 25.0, 3)])
def test_a_reference_stays_on_its_own_pixels_joined_where_they_are_finer_than_the_measured_ones(
    tmp_path: Path, scenes: list[Scene], pixel: float, measured: float, joined: int
) -> None:
    path = write_scene(tmp_path / "a.tif", gradient_truth(16, 16, 3, pixel=pixel), pixel=pixel, left=LEFT + 3, top=TOP - 2)
    placed = place_reference(read(path, scenes)[0], GRID, measured)
    assert placed is not None
    assert placed.pixel == pytest.approx((joined * pixel, joined * pixel))
    assert placed.scene.grid.pixel_width == joined * pixel
    assert (placed.scene.grid.left, placed.scene.grid.top) == (LEFT + 3, TOP - 2)


@pytest.mark.parametrize("pixel", [0.1, 0.004])
def test_of_a_reference_of_the_whole_world_only_what_meets_the_mosaic_is_taken(
    tmp_path: Path, scenes: list[Scene], pixel: float
) -> None:
    grid = Grid(crs=CRS.from_epsg(4326).to_wkt(), left=-180, top=90, pixel_width=pixel, pixel_height=pixel, width=1, height=1)
    path = write_scene(tmp_path / "a.tif", gradient_truth(8, 8, 3), pixel=1)
    known = read(path, scenes)[0]
    world = replace(known, grid=replace(grid, width=round(360 / pixel), height=round(180 / pixel)))
    placed = place_reference(world, GRID, 1.0)
    assert placed is not None
    assert placed.scene.grid.width <= 8
    assert placed.scene.grid.height <= 8
    assert placed.bounds == GRID.bounds


def test_a_reference_across_the_antimeridian_is_taken_on_both_sides(tmp_path: Path, scenes: list[Scene]) -> None:
    grid = replace(GRID, crs=CRS.from_epsg(32601).to_wkt(), left=290_000, top=6_000_000, pixel_width=100, pixel_height=100)
    path = write_scene(tmp_path / "a.tif", gradient_truth(8, 8, 3), pixel=1)
    degrees = Grid(crs=CRS.from_epsg(4326).to_wkt(), left=-180, top=90, pixel_width=1, pixel_height=1, width=360, height=180)
    placed = place_reference(replace(read(path, scenes)[0], grid=degrees), grid, 1.0)
    assert placed is not None
    assert placed.scene.grid.width == 360


def test_a_reference_beside_the_mosaic_is_left_out_and_none_that_meets_it_is_refused(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "one.tif", gradient_truth(64, 64), dtype="uint16")
    beside = write_scene(tmp_path / "far.tif", gradient_truth(8, 8), pixel=10, left=LEFT + 5000)
    references = read(beside, open_scenes([scene]))
    assert place_reference(references[0], GRID, 1.0) is None
    with pytest.raises(InputError, match="reference far lies beside all scenes"):
        make_plan([scene], {"methods.matching_global_method": "robust_regression"}, references=references)


def test_model_images_beside_references_are_refused(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "one.tif", gradient_truth(64, 64), dtype="uint16")
    near = write_scene(tmp_path / "near.tif", gradient_truth(4, 3), pixel=10)
    flags = {
        "methods.matching_global_method": "robust_regression",
        "robust_regression.specify_model_images": ["include", ["one"]],
    }
    with pytest.raises(ConfigError, match="both say what keeps its radiometry"):
        make_plan([scene], flags, references=read(near, open_scenes([scene])))


def test_scenes_that_hang_on_no_reference_are_named(tmp_path: Path) -> None:
    lefts = {"one": 0, "two": 40, "far": 500}
    scenes = [
        write_scene(tmp_path / f"{name}.tif", gradient_truth(64, 64), left=LEFT + left, dtype="uint16")
        for name, left in lefts.items()
    ]
    near = write_scene(tmp_path / "near.tif", gradient_truth(4, 3), pixel=10)
    flags = {"methods.matching_global_method": "robust_regression"}
    plan = make_plan(scenes, flags, references=read(near, open_scenes(scenes)))
    (finding,) = plan.findings
    assert finding.code == "reference-out-of-reach"
    assert "1 of 3 scenes" in finding.message
    assert ": far;" in finding.message
    assert not make_plan(scenes[:2], flags, references=read(near, open_scenes(scenes))).findings


@pytest.mark.parametrize("shift", [0.0, 5.0, 3.7])
def test_blocks_hold_the_scenes_mean_over_the_references_pixel_wherever_that_lies(tmp_path: Path, shift: float) -> None:
    rng = np.random.default_rng(5)
    truth = rng.uniform(100, 1000, (2, 160, 200))
    scene = write_scene(tmp_path / "one.tif", truth, dtype="float64", nodata=None)
    first = math.ceil(shift - 0.5)
    inner = truth[:, first : first + 150, first : first + 190]
    coarse = inner.reshape(2, 15, 10, 19, 10).mean(axis=(2, 4))
    known = 3 * coarse + 7
    reference = write_scene(
        tmp_path / "known.tif", known, pixel=10, left=LEFT + shift, top=TOP - shift, dtype="float64", nodata=None
    )
    (blocks,) = measure_references([scene], reference)
    assert (blocks.first, blocks.second, blocks.edge) == ("one", "reference:known", 10)
    assert blocks.count.tolist() == [100] * 15 * 19
    ours, theirs = blocks.sums[:2] / blocks.count
    np.testing.assert_allclose(theirs, 3 * ours + 7, rtol=1e-9)


def test_blocks_against_a_reference_of_another_crs_are_its_pixels(tmp_path: Path) -> None:
    (left,), (top,) = transform_points("EPSG:32633", "EPSG:3035", [LEFT - 60], [TOP + 60])
    x, y = np.meshgrid(left + (np.arange(40) + 0.5) * 10, top - (np.arange(40) + 0.5) * 10)
    xs, ys = transform_points("EPSG:3035", "EPSG:32633", x.ravel().tolist(), y.ravel().tolist())
    values = np.stack([3 * (0.4 * (np.array(xs) - LEFT) + 0.3 * (TOP - np.array(ys)) + 700) + 7] * 2).reshape(2, 40, 40)
    reference = write_scene(tmp_path / "known.tif", values, left=left, top=top, pixel=10, crs="EPSG:3035", nodata=None)
    plane = 0.4 * (np.arange(200) + 0.5)[None, :] + 0.3 * (np.arange(160) + 0.5)[:, None] + 700
    scene = write_scene(tmp_path / "one.tif", np.stack([plane, plane]), dtype="float32", nodata=None)
    (blocks,) = measure_references([scene], reference)
    assert blocks.count.sum() == 160 * 200
    whole = blocks.count > 95
    assert whole.sum() > 200
    ours, theirs = blocks.sums[:2, :, whole] / blocks.count[whole]
    assert np.abs(theirs - (3 * ours + 7)).max() < 0.5


def measure_references(scenes: list[Path], reference: Path) -> tuple[MatchedBlocks, ...]:
    references = read(reference, open_scenes(scenes))
    plan = make_plan(scenes, {"methods.matching_global_method": "robust_regression"}, references=references)
    with open_bench(plan, cache_bytes=1_000_000) as bench, bench.reading("test") as reader:
        return merge_chunks(plan, [measure_chunk(plan, reader, chunk) for chunk in plan.chunks]).require_matched().blocks


def test_a_reference_may_be_called_reference(tmp_path: Path, scenes: list[Scene]) -> None:
    path = write_scene(tmp_path / "reference.tif", gradient_truth(8, 8, 3), pixel=10)
    assert read(path, scenes)[0].name == "reference:reference_scene"
