"""The first pass beside a plain computation on whole arrays in float64: moments, overlaps, block sums, footprints, union."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from passes import measure_and_solve, open_bench
from rasterio.features import rasterize
from rasterio.transform import Affine
from scenes import LEFT, TOP, gradient_truth, write_scene
from small_runs import check_moments, make_plan, sum_shares

from processor.errors import InputError
from processor.geotiff.reader import RasterReader
from processor.model import BlockGrid
from processor.mosaic.measure import mask_factor, measure_chunk, merge_chunks
from processor.mosaic.plan import Plan
from processor.mosaic.solve import Solution
from processor.stages.block_sums import BlockSums
from processor.stages.matching.local_block_adjustment import BlockAdjustment
from processor.stages.measures import Measures
from processor.synthetic.scenes import SceneRecipe, make_scenes

F64 = NDArray[Any]
Bool = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Known:
    """A scene as whole arrays: pixels float64 (bands, height, width), valid (height, width), place and pixel size."""

    pixels: F64
    valid: Bool
    left: float
    top: float
    pixel: float

    @property
    def x(self) -> F64:
        """Coordinates of the columns' centres."""
        return self.left + (np.arange(self.valid.shape[1]) + 0.5) * self.pixel

    @property
    def y(self) -> F64:
        """Coordinates of the rows' centres."""
        return self.top - (np.arange(self.valid.shape[0]) + 0.5) * self.pixel


def write_known(
    folder: Path,
    name: str,
    valid: Bool,
    *,
    col: float = 0.0,
    row: float = 0.0,
    pixel: float = 1.0,
    dtype: str = "uint16",
    nodata: float | None = 0.0,
    bands: int = 2,
    seed: int = 0,
) -> None:
    """Write a noisy piece of the gradient whose upper left corner is at a column and row in pixels of 1 CRS unit."""
    left, top = LEFT + col, TOP - row
    height, width = valid.shape
    truth = gradient_truth(height, width, bands, left=left, top=top, pixel=pixel)
    truth += np.random.default_rng(seed).normal(0, 8, truth.shape)
    if dtype == "uint8":
        truth = truth / 10
    if dtype == "int16":
        truth = truth - 800
    marked = truth.copy()
    marked[:, ~valid] = np.nan if nodata is None else nodata
    if nodata is not None and dtype != "float32":  # a value beside nodata is a value
        marked = np.where(valid & (np.rint(truth) == nodata), nodata + 1, marked)
    write_scene(folder / f"{name}.tif", marked, left=left, top=top, pixel=pixel, dtype=dtype, nodata=nodata)


def draw_mask(height: int, width: int, seed: int, *, holes: float = 0.0, ragged: int = 0) -> Bool:
    rng = np.random.default_rng(seed)
    valid = rng.random((height, width)) >= holes
    if ragged:
        inset = rng.integers(0, ragged, (4, max(height, width)))
        rows, cols = np.arange(height)[:, None], np.arange(width)[None, :]
        valid &= (rows >= inset[0, :width]) & (rows < height - inset[1, :width])
        valid &= (cols >= inset[2, :height, None]) & (cols < width - inset[3, :height, None])
    return valid


def all_valid(height: int, width: int) -> Bool:
    return np.ones((height, width), np.bool_)


def write_shifted(folder: Path) -> None:
    for seed, (name, col, row) in enumerate((("a", 0, 0), ("b", 90, 15), ("c", 40, 100), ("d", 300, 300))):
        write_known(folder, name, all_valid(150, 170), col=col, row=row, seed=seed, bands=3)


def write_ragged(folder: Path) -> None:
    for seed, (name, col, row) in enumerate((("a", 0, 0), ("b", 100, 20), ("c", 30, 90))):
        write_known(folder, name, draw_mask(140, 160, seed, ragged=30), col=col, row=row, dtype="uint8", seed=seed)


def write_holed(folder: Path) -> None:
    for seed, (name, col, row) in enumerate((("a", 0, 0), ("b", 70, 33))):
        valid = draw_mask(130, 120, seed, holes=0.3)
        write_known(folder, name, valid, col=col, row=row, dtype="int16", nodata=-32768.0, seed=seed)


def write_floats(folder: Path) -> None:
    for seed, (name, col, row) in enumerate((("a", 0, 0), ("b", 64, -20), ("c", 128, 7))):
        valid = draw_mask(128, 100, seed, holes=0.01, ragged=5)
        write_known(folder, name, valid, col=col, row=row, dtype="float32", nodata=None, seed=seed)


def write_one_pixel(folder: Path) -> None:
    for name, col, row in (("a", 0, 0), ("b", 63, 63), ("c", 63, 0)):
        write_known(folder, name, all_valid(64, 64), col=col, row=row)


def write_sizes(folder: Path) -> None:
    write_known(folder, "a", draw_mask(130, 140, 1, holes=0.01), pixel=1.0)
    write_known(folder, "b", draw_mask(50, 60, 2, holes=0.01), col=60.4, row=30.7, pixel=2.7)
    write_known(folder, "c", draw_mask(210, 170, 3, holes=0.01), col=20.21, row=40.9, pixel=0.6)
    write_known(folder, "d", draw_mask(90, 90, 4, ragged=9), col=10.37, row=55.61, pixel=1.0)


def write_inside(folder: Path) -> None:
    write_known(folder, "a", draw_mask(150, 150, 1, holes=0.02))
    write_known(folder, "b", all_valid(20, 9), col=64, row=64)


def write_strangers(folder: Path) -> None:
    """Bounds that overlap, pixels that do not."""
    left_half = all_valid(80, 80)
    left_half[:, 40:] = False
    write_known(folder, "a", left_half)
    write_known(folder, "b", ~left_half, col=5)


SETS: dict[str, Callable[[Path], None]] = {
    "shifted": write_shifted,
    "ragged": write_ragged,
    "holed": write_holed,
    "floats": write_floats,
    "one-pixel": write_one_pixel,
    "sizes": write_sizes,
    "inside": write_inside,
    "strangers": write_strangers,
}


def read_known(path: Path) -> Known:
    with rasterio.open(path) as raster:
        pixels = raster.read().astype(np.float64)
        nodata, transform = raster.nodata, raster.transform
    valid = np.isfinite(pixels).all(axis=0)
    if nodata is not None and np.isfinite(nodata):
        valid &= (pixels != nodata).any(axis=0)
    return Known(pixels=pixels, valid=valid, left=transform.c, top=transform.f, pixel=transform.a)


def measure(plan: Plan) -> tuple[Measures, Solution]:
    with open_bench(plan, cache_bytes=50_000_000) as bench:
        return measure_and_solve(plan, bench)


def measure_only(plan: Plan) -> Measures:
    with RasterReader(cache_bytes=50_000_000) as reader:
        return merge_chunks(plan, [measure_chunk(plan, reader, chunk) for chunk in plan.chunks])


Case = tuple[dict[str, Known], Plan, Measures]


@pytest.fixture(scope="module", params=itertools.product(SETS, (64, 1024)), ids=lambda case: f"{case[0]}-chunks-of-{case[1]}")
def measured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Scenes as they are and as they were measured, in chunks of 64 pixels (of which small scenes have many) and of 1024."""
    name, edge = request.param
    folder = tmp_path_factory.mktemp(name)
    SETS[name](folder)
    paths = sorted(folder.glob("*.tif"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("processor.mosaic.chunks.CHUNK_EDGE", edge)
        plan = make_plan(paths, local_block_adjustment__number_of_blocks=30)
    return {path.stem: read_known(path) for path in paths}, plan, measure_only(plan)


def find_common(first: Known, second: Known) -> tuple[F64, F64, Bool]:
    """Pixels of both on the first one's grid (bands, height, width), and where both are valid."""
    col = np.floor((first.x - second.left) / second.pixel).astype(int)
    row = np.floor((second.top - first.y) / second.pixel).astype(int)
    inside = ((row >= 0) & (row < second.valid.shape[0]))[:, None] & ((col >= 0) & (col < second.valid.shape[1]))[None, :]
    place = np.ix_(row.clip(0, second.valid.shape[0] - 1), col.clip(0, second.valid.shape[1] - 1))
    return first.pixels, second.pixels[:, *place], inside & first.valid & second.valid[place]


def test_whole_scene_moments_are_those_of_its_valid_pixels(measured: Case) -> None:
    known, _, measures = measured
    assert [scene.name for scene in measures.scenes] == sorted(known)
    for scene in measures.scenes:
        check_moments(scene.moments, known[scene.name].pixels[:, known[scene.name].valid])


def test_overlap_moments_are_those_of_common_pixels(measured: Case) -> None:
    known, _, measures = measured
    found = {(overlap.first, overlap.second): overlap for overlap in measures.overlaps}
    assert list(found) == sorted(found)
    expected = {pair: find_common(known[pair[0]], known[pair[1]]) for pair in itertools.combinations(sorted(known), 2)}
    assert set(found) == {pair for pair, (_, _, common) in expected.items() if common.any()}
    for pair, overlap in found.items():
        ours, theirs, common = expected[pair]
        check_moments(overlap.first_moments, ours[:, common])
        check_moments(overlap.second_moments, theirs[:, common])


def test_overlap_samples_are_common_pixels_spread_over_the_overlap(measured: Case) -> None:
    known, _, measures = measured
    for overlap in measures.overlaps:
        assert overlap.samples is not None
        ours, theirs, common = find_common(known[overlap.first], known[overlap.second])
        grid = known[overlap.first]
        col = np.rint((overlap.samples.x - grid.left) / grid.pixel - 0.5).astype(int)
        row = np.rint((grid.top - overlap.samples.y) / grid.pixel - 0.5).astype(int)
        np.testing.assert_allclose(grid.x[col], overlap.samples.x, atol=1e-6)
        np.testing.assert_allclose(grid.y[row], overlap.samples.y, atol=1e-6)
        assert common[row, col].all()
        np.testing.assert_array_equal(overlap.samples.first, ours[:, row, col].astype(np.float32))
        np.testing.assert_array_equal(overlap.samples.second, theirs[:, row, col].astype(np.float32))
        assert len(set(zip(row.tolist(), col.tolist(), strict=True))) == len(row) <= 4096 * 1.1
        assert len(row) >= min(int(common.sum()), 4096) * 0.2  # the lattice's step is a whole number of pixels


def sum_blocks(known: Known, blocks: BlockGrid) -> tuple[F64, F64]:
    """Area (rows, cols) and total (bands, rows, cols) on the whole canvas."""
    height, width = known.valid.shape
    rows = sum_shares(
        -known.top + np.arange(height + 1) * known.pixel, -blocks.bounds.top + np.arange(blocks.rows + 1) * blocks.block_height
    )
    cols = sum_shares(
        known.left + np.arange(width + 1) * known.pixel, blocks.bounds.left + np.arange(blocks.cols + 1) * blocks.block_width
    )
    values = np.where(known.valid, np.nan_to_num(known.pixels), 0.0)
    return rows @ known.valid @ cols.T, np.stack([rows @ band @ cols.T for band in values])


def expand(sums: BlockSums, blocks: BlockGrid) -> tuple[F64, F64]:
    area, total = np.zeros((blocks.rows, blocks.cols)), np.zeros((len(sums.total), blocks.rows, blocks.cols))
    place = slice(sums.row, sums.row + sums.area.shape[0]), slice(sums.col, sums.col + sums.area.shape[1])
    area[place], total[:, *place] = sums.area, sums.total
    return area, total


def test_block_sums_weigh_each_pixel_by_its_area_in_the_block(measured: Case) -> None:
    known, plan, measures = measured
    assert plan.blocks is not None
    for scene in measures.scenes:
        assert scene.sums is not None
        area, total = expand(scene.sums, plan.blocks)
        expected_area, expected_total = sum_blocks(known[scene.name], plan.blocks)
        np.testing.assert_allclose(area, expected_area, atol=1e-4)
        np.testing.assert_allclose(total, expected_total, atol=1e-4 * np.nanmax(np.abs(known[scene.name].pixels)), rtol=1e-9)


def test_footprints_hold_exactly_the_valid_pixels(measured: Case) -> None:
    known, _, measures = measured
    for scene in measures.scenes:
        expected = known[scene.name]
        assert scene.footprint.is_valid
        burned = rasterize(
            [scene.footprint],
            out_shape=expected.valid.shape,
            transform=Affine(expected.pixel, 0, expected.left, 0, -expected.pixel, expected.top),
        )
        np.testing.assert_array_equal(burned.astype(bool), expected.valid)
        assert scene.footprint.area == pytest.approx(expected.valid.sum() * expected.pixel**2, rel=1e-9)


def test_the_union_counts_every_pixel_of_the_mosaic_that_some_scene_has(measured: Case) -> None:
    known, plan, measures = measured
    if len({scene.pixel for scene in known.values()}) > 1:
        assert measures.union is None  # not pixel for pixel on the mosaic's grid
        return
    union = np.zeros(plan.grid.shape, np.bool_)
    for scene in known.values():
        row, col = round(plan.grid.top - scene.top), round(scene.left - plan.grid.left)
        union[row : row + scene.valid.shape[0], col : col + scene.valid.shape[1]] |= scene.valid
    assert measures.union == union.sum()


def flatten(value: object) -> Iterator[object]:
    """All numbers, arrays and geometries in records, in order; arrays as bytes."""
    if isinstance(value, np.ndarray):
        yield value.dtype.str, value.shape, value.tobytes()
    elif dataclasses.is_dataclass(value):
        for part in dataclasses.fields(value):
            yield from flatten(getattr(value, part.name))
    elif isinstance(value, tuple | list):
        for part in value:
            yield from flatten(part)
    elif isinstance(value, Mapping):
        for key in sorted(value):
            yield key
            yield from flatten(value[key])
    else:
        yield getattr(value, "wkb", value)


@pytest.mark.parametrize("name", ["shifted", "floats", "sizes"])
def test_the_result_is_the_same_to_the_last_bit_for_any_threads_and_order(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processor.mosaic.chunks.CHUNK_EDGE", 64)
    SETS[name](tmp_path)
    paths = sorted(tmp_path.glob("*.tif"))
    expected = list(flatten(measure(make_plan(paths, shared__tile_threads=1))))
    assert len(expected) > 50
    for order, threads in ((paths[::-1], 1), (paths, 2), (paths[1:] + paths[:1], 5)):
        assert list(flatten(measure(make_plan(order, shared__tile_threads=threads)))) == expected


def test_blocks_chosen_by_contrast_are_summed_as_blocks_given(tmp_path: Path) -> None:
    write_ragged(tmp_path)
    paths = sorted(tmp_path.glob("*.tif"))
    _, chosen = measure(make_plan(paths, local_block_adjustment__number_of_blocks="coefficient_of_variation"))
    assert isinstance(chosen.matching_local, BlockAdjustment)
    grid = chosen.matching_local.reference.grid
    _, given = measure(make_plan(paths, local_block_adjustment__number_of_blocks=(grid.rows, grid.cols)))
    assert list(flatten(chosen)) == list(flatten(given))
    known = [read_known(path) for path in paths]
    band = np.concatenate([scene.pixels[0, scene.valid] for scene in known])
    assert grid.rows == grid.cols == max(1, round(10 * band.std() / band.mean() / (45 / 125)))


def test_a_scene_without_a_valid_pixel_is_named(tmp_path: Path) -> None:
    write_known(tmp_path, "a", all_valid(40, 40))
    write_known(tmp_path, "b", ~all_valid(40, 40), col=20)
    write_known(tmp_path, "c", ~all_valid(40, 40), col=20)
    with pytest.raises(InputError, match="scene b, c: no valid pixel; leave it out, or correct its nodata value or mask"):
        measure_only(make_plan(sorted(tmp_path.glob("*.tif"))))


def test_a_wide_scene_has_a_footprint_that_covers_it_within_a_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processor.mosaic.measure._MASK_EDGE", 40)
    monkeypatch.setattr("processor.mosaic.chunks.CHUNK_EDGE", 47)
    write_known(tmp_path, "a", draw_mask(150, 170, 3, ragged=30))
    plan = make_plan([tmp_path / "a.tif"])
    factor = mask_factor(plan.scenes[0].grid)
    assert factor == 5
    valid = read_known(tmp_path / "a.tif").valid
    footprint = measure_only(plan).scenes[0].footprint
    burned = rasterize([footprint], out_shape=valid.shape, transform=Affine(*plan.scenes[0].grid.transform)).astype(bool)
    cells = valid.reshape(30, 5, 34, 5).any(axis=(1, 3)).repeat(5, axis=0).repeat(5, axis=1)
    np.testing.assert_array_equal(burned, cells)


Both = tuple[Measures, Solution]


@pytest.fixture(scope="module")
def estimated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Both, Both]:
    """Scenes of 2048 x 700 pixels with overviews, measured at 1:2 and exactly."""
    recipe = SceneRecipe(
        rows=1, cols=3, height=700, width=2048, bands=2, overviews=True, compression=None, rotation=2.0, noise=0.004
    )
    made = make_scenes(tmp_path_factory.mktemp("estimated"), recipe)
    paths = [made.items.parent / f"{scene.name}.tif" for scene in made.scenes]
    rough = make_plan(paths, global_regression__estimate_stats=True)
    levels = [
        None if level is None else scene.source.overviews[level]
        for scene, level in zip(rough.scenes, rough.levels, strict=True)
    ]
    assert levels == [2, 2, 2]
    return measure(rough), measure(make_plan(paths))


def test_estimated_means_are_near_and_spreads_low_by_the_same_share(estimated: tuple[Both, Both]) -> None:
    """Overviews average, so spreads shrink, but in all scenes alike: scales hang on their ratios."""
    (rough, _), (exact, _) = estimated
    pairs = [(one.moments, other.moments) for one, other in zip(rough.scenes, exact.scenes, strict=True)]
    for one, other in zip(rough.overlaps, exact.overlaps, strict=True):
        pairs += [(one.first_moments, other.first_moments), (one.second_moments, other.second_moments)]
    shares = np.array([one.std / other.std for one, other in pairs])
    np.testing.assert_allclose([one.mean / other.mean for one, other in pairs], 1, atol=5e-4)
    assert (shares > 0.96).all()
    assert (shares < 1).all()
    assert (np.ptp(shares, axis=0) < 0.01).all()
    for scene, whole in zip(rough.scenes, exact.scenes, strict=True):
        assert scene.footprint.symmetric_difference(whole.footprint).area < 0.003 * whole.footprint.area


def test_estimated_gains_and_block_maps_are_near_the_exact_ones(estimated: tuple[Both, Both]) -> None:
    (_, rough), (_, exact) = estimated
    for one, other in zip(rough.adjustments, exact.adjustments, strict=True):
        np.testing.assert_allclose(one.scale, other.scale, rtol=1e-3)
        np.testing.assert_allclose(one.offset, other.offset, atol=2)  # source units, of a range from 300 to 5050
        np.testing.assert_allclose(one.scale * 1500 + one.offset, other.scale * 1500 + other.offset, rtol=1e-3)
    assert isinstance(rough.matching_local, BlockAdjustment)
    assert isinstance(exact.matching_local, BlockAdjustment)
    for near, whole in zip(rough.matching_local.local_maps, exact.matching_local.local_maps, strict=True):
        departure = np.abs(near.expand() / whole.expand() - 1)
        assert np.nanmean(departure) < 1e-3
        assert np.nanmax(departure) < 2e-2
        np.testing.assert_array_equal(np.isnan(near.expand()), np.isnan(whole.expand()))


def test_overviews_of_any_writer_can_be_measured(tmp_path: Path) -> None:
    """GDAL's own COG driver rounds their sizes down, its GTiff driver up."""
    paths = []
    for number in range(2):
        truth = np.rint(gradient_truth(301, 2345, 1, left=LEFT + 900 * number)).astype("uint16")
        paths.append(tmp_path / f"s{number}.tif")
        with rasterio.open(
            paths[-1],
            "w",
            driver="COG",
            height=301,
            width=2345,
            count=1,
            dtype="uint16",
            crs="EPSG:32633",
            transform=Affine(1, 0, LEFT + 900 * number, 0, -1, TOP),
            nodata=0,
            blocksize=256,
        ) as raster:
            raster.write(truth)
    plan = make_plan(paths, global_regression__estimate_stats=True)
    assert [plan.measure_grid(scene).shape for scene in (0, 1)] == [(150, 1172), (150, 1172)]
    _, rough = measure(plan)
    _, exact = measure(make_plan(paths))
    for one, other in zip(rough.adjustments, exact.adjustments, strict=True):
        np.testing.assert_allclose(one.scale, other.scale, rtol=2e-3)
