"""The second pass beside a slow renderer that works on whole arrays in float64, and what each setting changes."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from effort import exhaustive
from numpy.typing import NDArray
from passes import measure_and_solve, open_bench, render_mosaic
from scenes import LEFT, TOP, gradient_truth, write_scene
from small_runs import make_plan

from processor.geotiff.cog.writer import write_cog
from processor.geotiff.reader import RasterReader
from processor.mosaic.plan import Plan
from processor.mosaic.rendered import Rendered
from processor.mosaic.solve import Solution
from processor.mosaic.stage_outputs import find_last_stage, write_stage_raster
from processor.publish.artifacts import make_mosaic_products, write_headers
from processor.stages.matching.local_block_adjustment import LocalCorrection
from processor.stages.measures import Measures
from processor.synthetic.scenes import SceneRecipe, make_scenes

F64 = NDArray[Any]
Bool = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mosaic:
    """A rendered mosaic: pixels (bands, height, width), index (height, width), and how it came about."""

    plan: Plan
    measures: Measures
    solution: Solution
    rendered: Rendered
    pixels: NDArray[Any]
    index: NDArray[Any]
    digests: tuple[str, str]

    @property
    def valid(self) -> Bool:
        """Where it has a value."""
        return self.index > 0


def render(paths: list[Path], folder: Path, *, cache_bytes: int = 10**8, **flags: Any) -> Mosaic:
    """Both passes; ``folder`` is made for the files."""
    folder.mkdir()
    plan = make_plan(paths, **flags)
    whole = folder / "whole"
    whole.mkdir()
    with open_bench(plan, folder, cache_bytes=cache_bytes) as bench:
        measures, solution = measure_and_solve(plan, bench)
        with render_mosaic(plan, measures, solution, bench) as rendered:
            headers = write_headers(plan, rendered, folder)
            make_mosaic_products(plan, rendered, headers, lambda path, spec, blocks: write_cog(whole / path, spec, blocks))
    files = [whole / "mosaic.tif", whole / "scene_index.tif"]
    with rasterio.open(files[0]) as raster:
        pixels = raster.read()
        assert raster.nodata == plan.nodata or (np.isnan(raster.nodata) and np.isnan(plan.nodata))
        assert set(raster.dtypes) == {plan.dtype}
    with rasterio.open(files[1]) as raster:
        index = raster.read(1)
        assert [raster.tags()[f"SCENE_{i}"] for i in range(1, len(plan.scenes) + 1)] == [s.name for s in plan.scenes]
    digests = (hashlib.sha256(files[0].read_bytes()).hexdigest(), hashlib.sha256(files[1].read_bytes()).hexdigest())
    return Mosaic(
        plan=plan, measures=measures, solution=solution, rendered=rendered, pixels=pixels, index=index, digests=digests
    )


# The reference: whole arrays, float64, formulas as SPEC has them.


def read_scene(path: Path, nodata: float | None) -> tuple[F64, Bool]:
    with rasterio.open(path) as raster:
        pixels = raster.read().astype(np.float64)
        nodata = raster.nodata if nodata is None else nodata
    valid = np.isfinite(pixels).all(axis=0)
    if nodata is not None and np.isfinite(nodata):
        valid &= (pixels != nodata).any(axis=0)
    return pixels, valid


def compute_parameter(correction: LocalCorrection, x: F64, y: F64) -> F64:
    """P on a grid of places, (bands, len(y), len(x)); NaN where no block is near."""
    grid = correction.grid
    blocks = np.full((len(correction.parameter), grid.rows, grid.cols), np.nan)
    height, width = correction.parameter.shape[1:]
    blocks[:, correction.row : correction.row + height, correction.col : correction.col + width] = correction.parameter
    u = np.clip((x - grid.bounds.left) / grid.block_width - 0.5, 0, grid.cols - 1)
    v = np.clip((grid.bounds.top - y) / grid.block_height - 0.5, 0, grid.rows - 1)
    total = np.zeros((len(blocks), len(y), len(x)))
    weights = np.zeros_like(total)
    for right, below in itertools.product((0, 1), (0, 1)):
        cols = np.minimum(np.floor(u).astype(int) + right, grid.cols - 1)
        rows = np.minimum(np.floor(v).astype(int) + below, grid.rows - 1)
        share_x = u - np.floor(u) if right else 1 - (u - np.floor(u))
        share_y = v - np.floor(v) if below else 1 - (v - np.floor(v))
        values = blocks[:, rows][:, :, cols]
        weight = np.where(np.isfinite(values), share_y[:, None] * share_x[None, :], 0.0)
        total += np.where(np.isfinite(values), values, 0.0) * weight
        weights += weight
    return np.divide(total, weights, out=np.full_like(total, np.nan), where=weights > 0)


def correct(pixels: F64, correction: LocalCorrection, x: F64, y: F64) -> F64:
    parameter = compute_parameter(correction, x, y)
    with np.errstate(invalid="ignore", divide="ignore"):
        if correction.method == "linear":
            corrected = pixels * parameter
        elif correction.method == "gamma":
            corrected = np.where(pixels > 0, correction.alpha * pixels**parameter, pixels)
        else:
            shifted = pixels + correction.c
            corrected = correction.alpha * np.where(shifted > 0, shifted, 0) ** parameter - correction.c
    return np.where(np.isfinite(parameter), corrected, pixels)


def to_dtype(values: F64, dtype: str, nodata: float) -> F64:
    """Rounded, clipped, and moved off nodata towards where the value came from; still float64."""
    if np.dtype(dtype).kind == "f":
        cast = values.astype(dtype)
        return np.where(cast == nodata, np.nextafter(cast, np.dtype(dtype).type(np.inf)), cast).astype(np.float64)
    limits = np.iinfo(dtype)
    rounded = np.clip(np.rint(values), limits.min, limits.max)
    step = np.where((values >= nodata) & (nodata < limits.max) | (nodata == limits.min), 1, -1)
    return np.where(rounded == nodata, nodata + step, rounded)


def compute_layers(mosaic: Mosaic, *, rounded: bool = True) -> tuple[list[F64], list[Bool]]:
    """Every scene as it should be, on the mosaic's grid: pixels (in its type unless asked otherwise), and where valid."""
    plan, solution = mosaic.plan, mosaic.solution
    layers, masks = [], []
    for position, scene in enumerate(plan.scenes):
        pixels, valid = read_scene(Path(scene.source.href), plan.config.shared.custom_nodata_value)
        if solution.adjustments:
            adjustment = solution.adjustments[position]
            pixels = adjustment.scale[:, None, None] * pixels + adjustment.offset[:, None, None]
        if solution.corrections:
            x = scene.grid.left + (np.arange(scene.grid.width) + 0.5) * scene.grid.pixel_width
            y = scene.grid.top - (np.arange(scene.grid.height) + 0.5) * scene.grid.pixel_height
            pixels = correct(pixels, solution.corrections[position], x, y)
        row = round((plan.grid.top - scene.grid.top) / plan.grid.pixel_height)
        col = round((scene.grid.left - plan.grid.left) / plan.grid.pixel_width)
        place = slice(row, row + scene.grid.height), slice(col, col + scene.grid.width)
        layer, mask = np.zeros((len(pixels), *plan.grid.shape)), np.zeros(plan.grid.shape, np.bool_)
        layer[:, *place] = to_dtype(pixels, plan.dtype, plan.nodata) if rounded else pixels
        mask[place] = valid
        layers.append(layer)
        masks.append(mask)
    return layers, masks


def find_owners(mosaic: Mosaic, masks: list[Bool]) -> tuple[NDArray[np.int64], Bool]:
    """Whose cell each pixel's centre lies in (+ 1), the first in name order that is valid where that one is not; and where a
    centre lies on a border, so that either side may have it."""
    grid = mosaic.plan.grid
    x = grid.left + (np.arange(grid.width) + 0.5) * grid.pixel_width
    y = grid.top - (np.arange(grid.height) + 0.5) * grid.pixel_height
    xs, ys = np.meshgrid(x, y)
    owners, border = np.zeros(grid.shape, np.int64), np.zeros(grid.shape, np.bool_)
    assert mosaic.solution.seamlines is not None
    for position, cell in enumerate(mosaic.solution.seamlines.cells):
        shapely.prepare(cell.polygon)
        owners[shapely.contains_xy(cell.polygon, xs, ys)] = position + 1
        edge = shapely.buffer(cell.polygon.boundary, 1e-6 * grid.pixel_width)
        shapely.prepare(edge)
        border |= shapely.contains_xy(edge, xs, ys)
    owned = np.zeros(grid.shape, np.bool_)
    for position, mask in enumerate(masks):
        owned |= (owners == position + 1) & mask
    for position, mask in enumerate(masks):
        owners[~owned & mask] = position + 1
        owned |= mask
    owners[~owned] = 0
    return owners, border


def check_mosaic(mosaic: Mosaic) -> None:
    """Compare with the reference; every pixel that some scene has must be there, from the scene that the index names."""
    layers, masks = compute_layers(mosaic)
    owners, border = find_owners(mosaic, masks)
    np.testing.assert_array_equal(mosaic.valid, np.logical_or.reduce(masks))
    assert ((mosaic.index == owners) | border).all()
    assert border.mean() < 1e-3
    check_values(mosaic, layers, masks)


def check_values(mosaic: Mosaic, layers: list[F64], masks: list[Bool]) -> None:
    pixels = mosaic.pixels.astype(np.float64)
    for position, (layer, mask) in enumerate(zip(layers, masks, strict=True)):
        own = mosaic.index == position + 1
        assert mask[own].all()
        difference = np.abs(pixels[:, own] - layer[:, own])
        if np.dtype(mosaic.plan.dtype).kind == "f":
            np.testing.assert_allclose(pixels[:, own], layer[:, own], rtol=2e-6, atol=1e-4)
        elif own.any():
            assert difference.max() <= 1
            assert np.count_nonzero(difference) <= 1e-3 * difference.size
    nodata = np.isnan(pixels) if np.isnan(mosaic.plan.nodata) else pixels == mosaic.plan.nodata
    np.testing.assert_array_equal(nodata, np.broadcast_to(~mosaic.valid, nodata.shape))


RECIPE = SceneRecipe(
    rows=2, cols=2, height=230, width=260, bands=2, overlap=0.3, haze=0.05, rotation=4.0, ragged=9.0, compression=None,
    noise=0.004, block_size=64,
)  # fmt: skip


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four turned, ragged scenes of two bands that meet in the middle."""
    return make_paths(tmp_path_factory.mktemp("scenes"), RECIPE)


def make_paths(folder: Path, recipe: SceneRecipe) -> list[Path]:
    return [folder / f"{scene.name}.tif" for scene in make_scenes(folder, recipe).scenes]


def punch(path: Path, rows: slice, cols: slice, value: float) -> None:
    """Make a hole in a scene."""
    with rasterio.open(path, "r+") as raster:
        pixels = raster.read()
        pixels[:, rows, cols] = value
        raster.write(pixels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_the_mosaic_equals_the_slow_renderer(tmp_path: Path, dtype: Any) -> None:
    nodata = {"uint8": 255.0, "uint16": 0.0, "int16": -32768.0, "float32": float("nan")}[dtype]
    paths = make_paths(tmp_path / "scenes", dataclasses.replace(RECIPE, dtype=dtype, nodata=nodata))
    check_mosaic(render(paths, tmp_path / "out"))


@pytest.mark.parametrize("calculation", ["float32", "float64"])
@pytest.mark.parametrize("method", ["offset", "gamma", "linear"])
def test_every_correction_equals_the_slow_renderer(tmp_path: Path, paths: list[Path], method: str, calculation: str) -> None:
    mosaic = render(
        paths,
        tmp_path / "out",
        local_block_adjustment__correction_method=method,
        local_block_adjustment__alpha=0.98,
        local_block_adjustment__number_of_blocks=40,
        shared__calculation_dtype=calculation,
    )
    check_mosaic(mosaic)
    assert mosaic.solution.corrections[0].method == method


def test_values_below_zero_are_shifted_before_the_power(tmp_path: Path) -> None:
    folder = tmp_path / "scenes"
    for name, col in (("a", 0), ("b", 60)):
        truth = gradient_truth(90, 100, 1, left=LEFT + col) - 800
        write_scene(folder / f"{name}.tif", truth * (1.1 if name == "b" else 1), left=LEFT + col, dtype="int16", nodata=-32768)
    mosaic = render(sorted(folder.glob("*.tif")), tmp_path / "out")
    assert mosaic.solution.corrections[0].c > 0
    check_mosaic(mosaic)


def test_a_mosaic_of_many_windows_equals_the_slow_renderer(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, rows=1, cols=3, height=600, width=700, bands=1, dtype="uint8")
    check_mosaic(render(make_paths(tmp_path / "scenes", recipe), tmp_path / "out", shared__window_size=512))


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three scenes over 1,800 x 700 pixels; the third on a grid of its own, with another phase and pixel size."""
    folder = tmp_path_factory.mktemp("wide")
    recipe = dataclasses.replace(RECIPE, rows=1, cols=2, height=700, width=800, bands=1, dtype="uint8")
    paths = make_paths(folder, recipe)
    left, top = recipe.left + 2 * 1100.3, recipe.top - 2 * 20.7
    truth = gradient_truth(300, 350, 1, left=left, top=top, pixel=4.4) / 12
    return [*paths, write_scene(folder / "third.tif", truth, left=left, top=top, pixel=4.4, dtype="uint8", overviews=[2])]


@pytest.fixture(scope="module")
def wide_mosaic(wide: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Mosaic:
    return render(wide, tmp_path_factory.mktemp("out") / "wide", shared__tile_threads=1)


@pytest.mark.parametrize(
    ("order", "cache_bytes", "options"),
    [
        ((0, 1, 2), 10**8, {"shared__window_size": 512, "shared__tile_threads": 1}),
        ((0, 1, 2), 10**8, {"shared__window_size": 2048, "shared__tile_threads": 2}),
        ((2, 1, 0), 0, {"shared__window_size": 1024, "shared__tile_threads": 2}),
        ((1, 2, 0), 300_000, {"shared__window_size": 512, "shared__tile_threads": 5}),
        ((1, 0, 2), 10**8, {"shared__window_size": 1008, "shared__tile_threads": "auto"}),
    ],
)
def test_the_bytes_do_not_depend_on_windows_threads_memory_or_order(
    tmp_path: Path,
    wide: list[Path],
    wide_mosaic: Mosaic,
    order: tuple[int, ...],
    cache_bytes: int,
    options: dict[str, Any],
) -> None:
    mosaic = render([wide[i] for i in order], tmp_path / "out", cache_bytes=cache_bytes, **options)
    assert mosaic.digests == wide_mosaic.digests
    assert mosaic.rendered.filled == wide_mosaic.rendered.filled
    np.testing.assert_array_equal(mosaic.rendered.mask, wide_mosaic.rendered.mask)
    for part in ("count", "mean", "m2", "minimum", "maximum"):
        np.testing.assert_array_equal(getattr(mosaic.rendered.statistics, part), getattr(wide_mosaic.rendered.statistics, part))
    for part in ("across_count", "across", "beside_count", "beside"):
        np.testing.assert_array_equal(getattr(mosaic.rendered.steps, part), getattr(wide_mosaic.rendered.steps, part))


def test_what_is_counted_is_what_is_in_the_mosaic(wide_mosaic: Mosaic) -> None:
    rendered, index = wide_mosaic.rendered, wide_mosaic.index
    np.testing.assert_array_equal(rendered.counts, np.bincount(index.ravel(), minlength=4))
    values = wide_mosaic.pixels[:, wide_mosaic.valid].astype(np.float64)
    assert rendered.statistics.count == values.shape[1]
    np.testing.assert_allclose(rendered.statistics.mean, values.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(rendered.statistics.std, values.std(axis=1), rtol=1e-9)
    np.testing.assert_array_equal(rendered.mask, wide_mosaic.valid)


def test_another_scene_fills_the_holes_of_a_cells_owner(tmp_path: Path) -> None:
    paths = make_paths(tmp_path / "scenes", dataclasses.replace(RECIPE, rows=1, cols=2, rotation=0.0, ragged=0.0))
    before = render(paths, tmp_path / "before")
    width = RECIPE.width
    punch(paths[1], slice(90, 120), slice(60, 75), 0)  # inside the overlap, on the second scene's side
    punch(paths[1], slice(90, 120), slice(150, 160), 0)  # where no other scene is
    mosaic = render(paths, tmp_path / "out", shared__cache=None)
    hole = np.s_[90:120, 182 + 60 : 182 + 75]
    assert mosaic.plan.grid.width == 182 + width
    assert (before.index[hole] == 2).all()
    assert (mosaic.index[hole] == 1).all()
    assert mosaic.rendered.filled == 0  # the hole is not in the owner's footprint, so not in its cell
    assert not mosaic.valid[90:120, 182 + 150 : 182 + 160].any()
    check_mosaic(mosaic)


def test_a_hole_is_filled_from_estimated_footprints_too(tmp_path: Path) -> None:
    """What overviews do not show is found where the pixels are read."""
    recipe = dataclasses.replace(RECIPE, rows=1, cols=2, height=80, width=2100, bands=1, dtype="uint8", rotation=0.0)
    paths = make_paths(tmp_path / "scenes", dataclasses.replace(recipe, ragged=0.0))
    punch(paths[1], slice(30, 31), slice(400, 401), 0)
    for path in paths:
        with rasterio.open(path, "r+") as raster:
            raster.build_overviews([2], rasterio.enums.Resampling.average)
    mosaic = render(paths, tmp_path / "out", global_regression__estimate_stats=True)
    assert mosaic.plan.levels == (0, 0)
    check_mosaic(mosaic)
    assert mosaic.valid.all()
    assert (mosaic.rendered.filled, mosaic.index[30, 1470 + 400]) == (1, 1)


def draw_valid(rng: np.random.Generator, height: int, width: int) -> Bool:
    """All of a scene, or with specks, or an ellipse, or with a hole, or half of it noise."""
    kind = rng.integers(5)
    valid = np.ones((height, width), np.bool_)
    rows, cols = np.mgrid[:height, :width]
    if kind == 1:
        valid = rng.random((height, width)) > 0.1
    elif kind == 2:
        valid = ((2 * rows + 1) / height - 1) ** 2 + ((2 * cols + 1) / width - 1) ** 2 <= 1
    elif kind == 3:
        valid[height // 3 : 2 * height // 3 + 1, width // 3 : 2 * width // 3 + 1] = False
    elif kind == 4:
        valid[:, : width // 2] = rng.random((height, width // 2)) > 0.5
    if not valid.any():
        valid[0, 0] = True
    return valid


@pytest.mark.parametrize("seed", [*range(6), *exhaustive(*range(6, 24))])
def test_scenes_of_any_size_shape_and_place_equal_the_slow_renderer(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    dtype, nodata = [("uint8", 100), ("uint8", 255), ("uint16", 0), ("int16", -32768), ("float32", np.nan)][seed % 5]
    paths = []
    for number in range(rng.integers(1, 7)):
        (height, width), (col, row) = rng.integers(1, 90, 2), rng.integers(0, 120, 2)
        truth = gradient_truth(height, width, 2, left=LEFT + col, top=TOP - row) * rng.uniform(0.8, 1.2)
        truth = np.rint((truth + rng.normal(0, 5, truth.shape)) / (8 if dtype == "uint8" else 1))
        truth[truth == nodata] += 1
        truth[:, ~draw_valid(rng, height, width)] = nodata
        path = tmp_path / "scenes" / f"s{number}.tif"
        paths.append(write_scene(path, truth, left=LEFT + col, top=TOP - row, dtype=dtype, nodata=nodata, block=32))
    mosaic = render(paths, tmp_path / "out", local_block_adjustment__number_of_blocks=int(rng.choice([1, 4, 30, 100])))
    exact, masks = compute_layers(mosaic, rounded=False)
    owners, border = find_owners(mosaic, masks)
    assert ((mosaic.index == owners) | border).all()
    np.testing.assert_array_equal(mosaic.valid, np.logical_or.reduce(masks))
    limits = np.iinfo(dtype) if dtype != "float32" else np.finfo(dtype)
    for position, layer in enumerate(exact):
        own = mosaic.index == position + 1
        difference = np.abs(mosaic.pixels[:, own] - np.clip(layer[:, own], limits.min, limits.max))
        beside = np.abs(mosaic.pixels[:, own].astype(np.float64) - nodata) == 1  # moved off nodata
        assert (difference[~beside] <= (0.502 if dtype != "float32" else 1e-3)).all()
        assert (difference[beside] <= 1.502).all()


def test_touched_pixels_go_to_the_later_scene_and_nothing_is_missing(tmp_path: Path, paths: list[Path]) -> None:
    forward = render(paths, tmp_path / "forward", mask_rasters__include_touched_pixels=True)
    backward = render(paths[::-1], tmp_path / "backward", mask_rasters__include_touched_pixels=True)
    plain = render(paths, tmp_path / "plain")
    changed = forward.index != backward.index
    assert 0 < np.count_nonzero(changed) < 0.02 * changed.size  # along the seams only
    assert (forward.index[changed] > backward.index[changed]).all()
    for mosaic in (forward, backward):
        np.testing.assert_array_equal(mosaic.valid, plain.valid)
        check_values(mosaic, *compute_layers(mosaic))
    np.testing.assert_array_equal(forward.index[~changed & (forward.index == backward.index)] > 0, plain.valid[~changed])


@pytest.mark.parametrize("seamlines", ["voronoi_center_seamline", None])
def test_without_clipping_the_later_scene_wins_wherever_it_is_valid(
    tmp_path: Path, paths: list[Path], seamlines: str | None
) -> None:
    options: dict[str, Any] = {"methods__clip_method": None, "methods__seamline_method": seamlines}
    for turned, order in enumerate((paths, paths[::-1])):
        mosaic = render(order, tmp_path / f"out{turned}", **options)
        layers, masks = compute_layers(mosaic)
        expected = np.zeros(mosaic.index.shape, np.int64)
        for position in sorted(range(4), key=lambda i: mosaic.plan.scenes[i].priority):
            expected[masks[position]] = position + 1
        np.testing.assert_array_equal(mosaic.index, expected)
        check_values(mosaic, layers, masks)


def test_with_every_stage_off_but_merging_raw_pixels_come_out(tmp_path: Path, paths: list[Path]) -> None:
    stages = ("matching_global", "matching_local", "align", "seamline", "clip")
    off: dict[str, Any] = {f"methods__{stage}_method": None for stage in stages}
    mosaic = render(paths, tmp_path / "out", **off)
    raw = [read_scene(path, None) for path in paths]
    expected = np.zeros_like(mosaic.pixels)
    for scene, (pixels, valid) in zip(mosaic.plan.scenes, raw, strict=True):
        row = round((mosaic.plan.grid.top - scene.grid.top) / 2)
        col = round((scene.grid.left - mosaic.plan.grid.left) / 2)
        part = expected[:, row : row + scene.grid.height, col : col + scene.grid.width]
        np.copyto(part, pixels.astype("uint16"), where=valid)
    np.testing.assert_array_equal(mosaic.pixels, expected)


def test_each_stage_switched_off_changes_what_it_does_and_nothing_else(tmp_path: Path, paths: list[Path]) -> None:
    usual = render(paths, tmp_path / "usual")
    no_global = render(paths, tmp_path / "global", methods__matching_global_method=None)
    assert no_global.solution.adjustments == ()
    check_mosaic(no_global)
    no_local = render(paths, tmp_path / "local", methods__matching_local_method=None)
    assert no_local.solution.corrections == ()
    check_mosaic(no_local)
    for mosaic in (no_global, no_local):
        np.testing.assert_array_equal(mosaic.index, usual.index)
        assert np.count_nonzero(mosaic.pixels != usual.pixels) > 0.3 * usual.pixels.size
    no_align = render(paths, tmp_path / "align", methods__align_method=None)
    check_mosaic(no_align)
    assert usual.digests == no_align.digests  # the scenes' grids agree already


def draw_smooth(left: float, top: float, height: int, width: int, pixel: float) -> F64:
    return 100 + gradient_truth(height, width, 1, left=left, top=top, pixel=pixel)


SHIFTED = {
    "sub-pixel": [(0.0, 0.0, 1.0, (150, 160)), (100.37, 10.61, 1.0, (150, 160)), (43.5, 99.5, 1.0, (150, 160))],
    "sizes": [(0.0, 0.0, 1.0, (150, 160)), (100.4, 10.6, 1.9, (80, 90)), (40.3, 99.2, 1.3, (130, 130))],
}


@pytest.mark.parametrize("name", SHIFTED)
@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic"])
@pytest.mark.parametrize("tap", [True, False])
def test_resampled_scenes_stay_in_place_and_leave_no_gap_at_a_seam(
    tmp_path: Path, name: str, resampling: str, tap: bool
) -> None:
    folder = tmp_path / "scenes"
    boxes = []
    for number, (col, row, pixel, shape) in enumerate(SHIFTED[name]):
        left, top = LEFT + col, TOP - row
        write_scene(
            folder / f"s{number}.tif",
            draw_smooth(left, top, *shape, pixel)[0],
            left=left, top=top, pixel=pixel, dtype="float32", nodata=None,
        )  # fmt: skip
        boxes.append(shapely.box(left, top - shape[0] * pixel, left + shape[1] * pixel, top))
    mosaic = render(
        sorted(folder.glob("*.tif")),
        tmp_path / "out",
        methods__matching_global_method=None,
        methods__matching_local_method=None,
        align_rasters__resampling_method=resampling,
        align_rasters__tap=tap,
    )
    grid = mosaic.plan.grid
    assert grid.pixel_width == 1.0
    assert not tap or (grid.left % 1, grid.top % 1) == (0, 0)
    xs, ys = np.meshgrid(grid.left + np.arange(grid.width) + 0.5, grid.top - np.arange(grid.height) - 0.5)
    union = shapely.union_all(boxes)
    clearly = shapely.contains_xy(union.buffer(-1e-6), xs, ys)
    np.testing.assert_array_equal(mosaic.valid[clearly], True)
    assert not mosaic.valid[~shapely.contains_xy(union.buffer(1e-6), xs, ys)].any()
    assert set(np.unique(mosaic.index)) >= {1, 2, 3}
    truth = draw_smooth(grid.left, grid.top, *grid.shape, 1.0)[0]
    down, across = np.gradient(truth)
    for number in (1, 2, 3):
        # Away from the scene's rim, where a kernel is cut, the error is that of a shift (dx, dy) and noise.
        own = (mosaic.index == number) & shapely.contains_xy(boxes[number - 1].buffer(-6), xs, ys)
        slopes = np.stack([across[own], down[own]], axis=1)
        error = mosaic.pixels[0][own].astype(np.float64) - truth[own]
        shift = np.linalg.lstsq(slopes, error, rcond=None)[0]
        assert np.abs(shift).max() < (0.5 * SHIFTED[name][number - 1][2] + 0.01 if resampling == "nearest" else 0.02)
        if resampling != "nearest":
            assert np.abs(error).max() < 0.15


def test_nearest_resampling_takes_the_pixel_under_the_centre(tmp_path: Path) -> None:
    """Without alignment too, where the scenes' grids differ."""
    folder = tmp_path / "scenes"
    rng = np.random.default_rng(0)
    write_scene(folder / "a.tif", rng.integers(1, 200, (60, 60)).astype("uint8"))
    coarse = rng.integers(1, 200, (40, 30)).astype("uint8")
    write_scene(folder / "b.tif", coarse, left=LEFT + 60.3, top=TOP - 0.4, pixel=1.7)
    mosaic = render(
        sorted(folder.glob("*.tif")),
        tmp_path / "out",
        methods__matching_global_method=None,
        methods__matching_local_method=None,
        methods__align_method=None,
    )
    grid = mosaic.plan.grid
    rows, cols = np.nonzero(mosaic.index == 2)
    x, y = grid.left + cols + 0.5, grid.top - rows - 0.5
    expected = coarse[((TOP - 0.4 - y) // 1.7).astype(int), ((x - LEFT - 60.3) // 1.7).astype(int)]
    np.testing.assert_array_equal(mosaic.pixels[0][rows, cols], expected)
    assert len(rows) > 0.95 * 40 * 30 * 1.7**2


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"])
def test_the_output_type_is_the_one_asked_for_and_no_value_wraps_or_vanishes(
    tmp_path: Path, paths: list[Path], dtype: str
) -> None:
    mosaic = render(paths, tmp_path / "out", shared__output_dtype=dtype)
    assert mosaic.pixels.dtype == dtype
    assert mosaic.plan.nodata == 0
    layers, masks = compute_layers(mosaic)
    check_values(mosaic, layers, masks)
    if dtype in ("uint8", "int8"):
        assert (mosaic.pixels[:, mosaic.valid] == np.iinfo(dtype).max).mean() > 0.9


def test_a_custom_nodata_value_is_that_of_inputs_and_mosaic(tmp_path: Path, paths: list[Path]) -> None:
    value = int(read_scene(paths[0], None)[0][0, 100, 100])
    mosaic = render(paths, tmp_path / "out", shared__custom_nodata_value=value, methods__clip_method=None)
    assert mosaic.plan.nodata == value
    check_values(mosaic, *compute_layers(mosaic))
    assert mosaic.valid.all()  # the former nodata is a value now


@pytest.mark.parametrize(
    ("stage", "off"),
    [
        ("clip", ()),
        ("align", ("clip",)),
        ("matching_local", ("clip", "align")),
        ("matching_global", ("clip", "align", "matching_local")),
    ],
)
def test_with_merging_off_every_scene_is_written_after_the_last_stage(
    tmp_path: Path, paths: list[Path], stage: Any, off: tuple[str, ...]
) -> None:
    options: dict[str, Any] = {f"methods__{name}_method": None for name in off}
    mosaic = render(paths, tmp_path / "out", **options)
    layers, masks = compute_layers(mosaic)
    plan = make_plan(paths, methods__merge_method=None, **options)
    assert find_last_stage(plan.methods) == stage
    grid = mosaic.plan.grid
    owners, border = find_owners(mosaic, masks)
    with RasterReader(cache_bytes=10**8) as reader:
        for position, scene in enumerate(plan.scenes):
            file = tmp_path / f"{scene.name}.tif"
            write_stage_raster(plan, mosaic.solution, reader, position, stage, file, threads=2)
            with rasterio.open(file) as raster:
                pixels, transform = raster.read(), raster.transform
                assert raster.nodata == plan.nodata
            row, col = round((grid.top - transform.f) / 2), round((transform.c - grid.left) / 2)
            place = slice(row, row + pixels.shape[1]), slice(col, col + pixels.shape[2])
            kept = masks[position][place]
            if stage == "clip":
                kept = kept & (owners[place] == position + 1)
                kept = np.where(border[place], (pixels != plan.nodata).all(axis=0), kept)  # either side may have it
            difference = np.abs(pixels - np.where(kept, layers[position][:, *place], plan.nodata))
            assert difference[:, kept].max() <= 1
            assert np.count_nonzero(difference) <= 1e-3 * difference.size
            np.testing.assert_array_equal((pixels != plan.nodata).all(axis=0), kept)


def test_a_raster_kept_of_the_global_stage_is_not_corrected_locally(tmp_path: Path, paths: list[Path]) -> None:
    plan = make_plan(paths)
    only_global = render(paths, tmp_path / "out", methods__matching_local_method=None)
    layers, masks = compute_layers(only_global)
    file = tmp_path / "stage.tif"
    with open_bench(plan) as bench, bench.reading("test") as reader:
        _, solution = measure_and_solve(plan, bench)
        write_stage_raster(plan, solution, reader, 0, "matching_global", file, threads=1)
    assert solution.corrections
    with rasterio.open(file) as raster:
        pixels = raster.read()
    place = np.s_[: pixels.shape[1], : pixels.shape[2]]
    kept = masks[0][place]
    assert np.abs(pixels[:, kept] - layers[0][:, *place][:, kept]).max() <= 1
    np.testing.assert_array_equal((pixels != plan.nodata).all(axis=0), kept)


@pytest.mark.parametrize("stage", ["clip", "align"])
def test_stage_rasters_do_not_depend_on_windows_threads_or_memory(tmp_path: Path, wide: list[Path], stage: Any) -> None:
    digests = set()
    for number, (window, threads, cache) in enumerate(((512, 1, 10**8), (1024, 2, 0), (2048, 2, 10**6))):
        plan = make_plan(wide, shared__window_size=window)
        with open_bench(plan, cache_bytes=cache) as bench, bench.reading("test") as reader:
            _, solution = measure_and_solve(plan, bench)
            written = [
                write_stage_raster(plan, solution, reader, i, stage, tmp_path / f"{number}_{i}.tif", threads=threads).sha256
                for i in range(3)
            ]
        digests.add(tuple(written))
    assert len(digests) == 1


def test_a_single_scene_comes_out_as_it_went_in(tmp_path: Path, paths: list[Path]) -> None:
    mosaic = render(paths[:1], tmp_path / "out")
    pixels, valid = read_scene(paths[0], None)
    np.testing.assert_array_equal(mosaic.valid, valid)
    np.testing.assert_allclose(mosaic.pixels[:, valid], pixels[:, valid], atol=1)
