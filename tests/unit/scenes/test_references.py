"""References: which of their bands are read, on which lattice, and that what is measured is what the pixels are."""

from __future__ import annotations

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
from processor.errors import InputError
from processor.model import Grid, Scene
from processor.mosaic.measure import measure_chunk, merge_chunks
from processor.scenes.references import place_reference, read_references
from processor.storage.options import Access

UTM33 = CRS.from_epsg(32633).to_wkt()
GRID = Grid(crs=UTM33, left=LEFT, top=TOP, pixel_width=1.0, pixel_height=1.0, width=200, height=160)


def read(image: Path, scenes: list[Scene], **settings: Any) -> tuple[Scene, ...]:
    return read_references(Reference(images=str(image), **settings), scenes, Access(), threads=1)


@pytest.fixture
def scenes(tmp_path: Path) -> list[Scene]:
    path = write_scene(tmp_path / "one.tif", gradient_truth(64, 64, 3), dtype="uint16", descriptions=("red", "green", "blue"))
    return open_scenes([path])


def test_bands_are_matched_by_name_and_where_names_say_nothing_by_position(tmp_path: Path, scenes: list[Scene]) -> None:
    named = write_scene(tmp_path / "a.tif", gradient_truth(8, 8, 4), pixel=10, descriptions=("blue", "green", "red", "nir"))
    plain = write_scene(tmp_path / "b.tif", gradient_truth(8, 8, 3), pixel=10)
    assert [part.raster.source.band_indexes for part in read(named, scenes)[0].parts] == [(3,), (2,), (1,)]
    assert [part.raster.source.band_indexes for part in read(plain, scenes)[0].parts] == [(1,), (2,), (3,)]


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


@pytest.mark.parametrize(("pixel", "cell", "edge"), [(10.0, 10, 10), (1.0, 1, 8), (3.0, 3, 9), (0.5, 1, 8), (40.0, 40, 40)])
def test_the_lattice_has_cells_of_the_references_pixels(
    tmp_path: Path, scenes: list[Scene], pixel: float, cell: int, edge: int
) -> None:
    path = write_scene(tmp_path / "a.tif", gradient_truth(16, 16, 3, pixel=pixel), pixel=pixel)
    placed = place_reference(read(path, scenes)[0], GRID, 1.0)
    assert placed is not None
    assert (placed[0].grid.pixel_width, placed[1]) == (cell, edge)
    assert (placed[0].grid.left, placed[0].grid.top) == (LEFT, TOP)


def test_a_reference_beside_the_mosaic_is_left_out_and_none_that_meets_it_is_refused(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "one.tif", gradient_truth(64, 64), dtype="uint16")
    beside = write_scene(tmp_path / "far.tif", gradient_truth(8, 8), pixel=10, left=LEFT + 5000)
    references = read(beside, open_scenes([scene]))
    assert place_reference(references[0], GRID, 1.0) is None
    with pytest.raises(InputError, match="reference far lies beside all scenes"):
        make_plan([scene], {"methods.matching_global_method": "robust_regression"}, references=references)


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:3035"])
def test_blocks_hold_the_scenes_mean_and_the_references_value(tmp_path: Path, crs: str) -> None:
    truth = gradient_truth(160, 200, 2)
    scene = write_scene(tmp_path / "one.tif", truth, dtype="float64", nodata=None)
    if crs == "EPSG:32633":
        coarse = truth.reshape(2, 16, 10, 20, 10).mean(axis=(2, 4))
        reference = write_scene(tmp_path / "known.tif", 3 * coarse + 7, pixel=10, dtype="float64", nodata=None)
    else:
        (left,), (top,) = transform_points("EPSG:32633", crs, [LEFT - 60], [TOP + 60])
        x, y = np.meshgrid(left + (np.arange(40) + 0.5) * 10, top - (np.arange(40) + 0.5) * 10)
        xs, ys = transform_points(crs, "EPSG:32633", x.ravel().tolist(), y.ravel().tolist())
        values = np.stack([3 * (0.4 * (np.array(xs) - LEFT) + 0.3 * (TOP - np.array(ys)) + 700) + 7] * 2).reshape(2, 40, 40)
        reference = write_scene(tmp_path / "known.tif", values, left=left, top=top, pixel=10, crs=crs, nodata=None)
        plane = 0.4 * (np.arange(200) + 0.5)[None, :] + 0.3 * (np.arange(160) + 0.5)[:, None] + 700
        scene = write_scene(tmp_path / "one.tif", np.stack([plane, plane]), dtype="float32", nodata=None)
    references = read(reference, open_scenes([scene]))
    plan = make_plan([scene], {"methods.matching_global_method": "robust_regression"}, references=references)
    with open_bench(plan, cache_bytes=1_000_000) as bench, bench.reading("test") as reader:
        matched = merge_chunks(plan, [measure_chunk(plan, reader, chunk) for chunk in plan.chunks]).require_matched()
    (blocks,) = matched.blocks
    assert (blocks.first, blocks.second, blocks.edge) == ("one", "reference:known", 10)
    assert blocks.count.sum() == 160 * 200
    ours, theirs = blocks.sums[:2] / blocks.count
    assert np.abs(theirs - (3 * ours + 7)).max() < (1e-9 if crs == "EPSG:32633" else 0.5) * 3
