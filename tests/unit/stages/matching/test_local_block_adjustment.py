"""Block sums, maps, surfaces and corrections against plain per-pixel arithmetic."""

from __future__ import annotations

import itertools
import math
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from processor.model import Adjustment, BlockGrid, BlockMap, Bounds, Grid, Moments, Window
from processor.stages.block_sums import BlockSums, compute_block_sums, merge_block_sums
from processor.stages.matching.local_block_adjustment import (
    LocalCorrection,
    apply_correction,
    compute_block_grid,
    compute_block_map,
    compute_contrast_ratio,
    compute_departure,
    compute_reference_map,
    compute_surface,
    solve_correction,
)

Method = Literal["gamma", "linear", "offset"]
METHODS: tuple[Method, ...] = ("gamma", "linear", "offset")
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
NAN = math.nan


def grid(height: int, width: int, *, left: float = 0.0, top: float = 0.0, pixel: tuple[float, float] = (1.0, 1.0)) -> Grid:
    return Grid(crs="", left=left, top=top, pixel_width=pixel[0], pixel_height=pixel[1], width=width, height=height)


def canvas(rows: int, cols: int, *, left: float = 0.0, bottom: float = 0.0, right: float = 1.0, top: float = 1.0) -> BlockGrid:
    return BlockGrid(bounds=Bounds(left=left, bottom=bottom, right=right, top=top), rows=rows, cols=cols)


def moments(mean: float, std: float, count: int) -> Moments:
    return Moments(
        count=count, mean=np.array([mean]), m2=np.array([std * std * count]), minimum=np.zeros(1), maximum=np.zeros(1)
    )


def correct(
    values: Any, departure: Any, method: Method, *, alpha: float = 1.0, c: float = 0.0, dtype: Any = np.float64
) -> NDArray[np.floating[Any]]:
    pixels = np.array(values, dtype)
    correction = LocalCorrection(scene="a", grid=canvas(1, 1), method=method, parameter=np.ones((1, 1, 1)), alpha=alpha, c=c)
    with np.errstate(over="ignore", invalid="ignore"):
        result = apply_correction(pixels, np.array(np.broadcast_to(departure, pixels.shape), dtype), correction)
    assert result is pixels
    return result


# Block grid


@pytest.mark.parametrize(
    ("width", "height", "scenes", "target", "shape"),
    [
        (100, 100, 1, 100, (10, 10)),
        (200, 100, 1, 100, (7, 14)),  # cols = round(14.14), rows = round(7.14): 98 < 100, so cols 15 -> 105, then back to 14
        (75, 130, 4, 100, (26, 15)),  # as in data/ngi
        (100, 100, 3, 100, (18, 16)),  # cols = round(17.32), rows = round(17.65): 306 > 300, so cols 16
        (100, 100, 1, 1, (1, 1)),
        (100, 1, 1, 4, (1, 4)),
        (1, 100, 1, 4, (4, 1)),
        (10_000, 1, 1, 7, (1, 7)),
        (100, 100, 1, 2, (2, 1)),
    ],
)
def test_blocks_follow_the_rule_of_the_specification(
    width: float, height: float, scenes: int, target: int, shape: tuple[int, int]
) -> None:
    bounds = Bounds(left=5, bottom=7, right=5 + width, top=7 + height)
    blocks = compute_block_grid(bounds, scenes, target)
    assert (blocks.rows, blocks.cols) == shape
    assert blocks.bounds == bounds


def test_a_pair_is_taken_as_rows_and_columns_of_the_canvas() -> None:
    blocks = compute_block_grid(Bounds(left=0, bottom=0, right=9, top=4), 5, (3, 7))
    assert (blocks.rows, blocks.cols) == (3, 7)
    assert blocks.block_width == pytest.approx(9 / 7)
    assert blocks.block_height == pytest.approx(4 / 3)


@pytest.mark.parametrize(("ratio", "edge"), [(1.0, 10), (0.5, 5), (2.04, 20), (0.01, 1), (-1.0, 1), (NAN, 10), (None, 10)])
def test_contrast_decides_the_number_of_blocks(ratio: float | None, edge: int) -> None:
    bounds = Bounds(left=0, bottom=0, right=300, top=100)
    blocks = compute_block_grid(bounds, 9, "coefficient_of_variation", contrast_ratio=ratio)
    assert (blocks.rows, blocks.cols) == (edge, edge)


def test_contrast_is_pooled_over_the_pixels_of_all_scenes() -> None:
    first, second = np.array([10.0, 20, 30, 40]), np.array([100.0, 140])
    pooled = np.concatenate([first, second])
    ratio = compute_contrast_ratio([moments(first.mean(), first.std(), 4), moments(second.mean(), second.std(), 2)])
    assert ratio == pytest.approx(pooled.std() / pooled.mean() / (45 / 125), rel=1e-14)


def test_scenes_like_the_published_ones_have_ratio_one() -> None:
    assert compute_contrast_ratio([moments(125, 45, 1000)]) == pytest.approx(1, rel=1e-15)


def test_contrast_of_nothing_is_not_a_number() -> None:
    assert math.isnan(compute_contrast_ratio([]))
    assert math.isnan(compute_contrast_ratio([moments(0, 3, 10)]))


# Block sums


def sum_blocks(
    values: NDArray[Any], valid: NDArray[np.bool_] | None, place: Grid, window: Window, blocks: BlockGrid
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Area and total of every block of the canvas, from the length that each pixel shares with each block along each axis."""

    def share(low: float, size: float, count: int, first: float, step: float, blocks_along: int) -> NDArray[np.float64]:
        edges, starts = first + step * np.arange(blocks_along + 1), low + size * np.arange(count)
        common = np.minimum(edges[1:, None], starts + size) - np.maximum(edges[:-1, None], starts)
        return np.asarray(np.maximum(common, 0) / size, np.float64)

    top = window.row * place.pixel_height - place.top
    left = window.col * place.pixel_width + place.left
    height, width = blocks.block_height, blocks.block_width
    down = share(top, place.pixel_height, window.height, -blocks.bounds.top, height, blocks.rows)
    across = share(left, place.pixel_width, window.width, blocks.bounds.left, width, blocks.cols)
    ones = np.ones(window.shape) if valid is None else valid.astype(np.float64)
    pixels = np.where(ones > 0, values.astype(np.float64), 0)
    return np.einsum("ri,cj,ij->rc", down, across, ones), np.einsum("ri,cj,bij->brc", down, across, pixels)


def expand(sums: BlockSums, blocks: BlockGrid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    area, total = np.zeros((blocks.rows, blocks.cols)), np.zeros((len(sums.total), blocks.rows, blocks.cols))
    rows, cols = slice(sums.row, sums.row + sums.area.shape[0]), slice(sums.col, sums.col + sums.area.shape[1])
    area[rows, cols], total[:, rows, cols] = sums.area, sums.total
    return area, total


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "blocks",
    [
        canvas(3, 4, left=100, bottom=50, right=112, top=60),  # the scene exactly, blocks of fractions of pixels
        canvas(1, 1, left=90, bottom=0, right=200, top=90),  # one block for more than the scene
        canvas(23, 31, left=100, bottom=50, right=112, top=60),  # blocks smaller than a pixel
        canvas(2, 3, left=103.3, bottom=52.1, right=108.7, top=58.4),  # a canvas smaller than the scene
        canvas(4, 4, left=107.5, bottom=20.5, right=160, top=56.25),  # a canvas that the scene meets with a corner
    ],
    ids=["exact", "one", "tiny", "inner", "corner"],
)
def test_block_sums_equal_pixel_by_pixel_shares(dtype: str, masked: bool, blocks: BlockGrid) -> None:
    rng = np.random.default_rng(1)
    place = grid(5, 8, left=100, top=60, pixel=(1.5, 2.0))
    values = rng.uniform(0, 100, (2, 5, 8)).astype(dtype)
    valid = rng.random((5, 8)) < 0.6 if masked else None
    sums = compute_block_sums(values, valid, place, place.window, blocks)
    assert sums is not None
    area, total = sum_blocks(values, valid, place, place.window, blocks)
    found_area, found_total = expand(sums, blocks)
    np.testing.assert_allclose(found_area, area, atol=1e-9)
    np.testing.assert_allclose(found_total, total, atol=1e-7)


def test_blocks_of_whole_pixels_are_summed_exactly() -> None:
    """Coordinates as large as UTM's and pixels that no binary fraction holds: still whole pixels, to the last bit."""
    rng = np.random.default_rng(2)
    place = grid(12, 20, left=499_980.1, top=5_300_040.3, pixel=(0.1, 0.1))
    values = rng.integers(0, 65_535, (1, 12, 20), dtype=np.uint16)
    bounds = place.bounds
    sums = compute_block_sums(values, None, place, place.window, BlockGrid(bounds=bounds, rows=3, cols=5))
    assert sums is not None
    np.testing.assert_array_equal(sums.area, 16)
    np.testing.assert_array_equal(sums.total, values.astype(np.float64).reshape(1, 3, 4, 5, 4).sum(axis=(2, 4)))


def test_invalid_pixels_may_hold_anything() -> None:
    place = grid(4, 4, top=4)
    values = np.full((1, 4, 4), np.nan, np.float32)
    valid = np.zeros((4, 4), np.bool_)
    values[0, 1, 2], valid[1, 2] = 7, True
    sums = compute_block_sums(values, valid, place, place.window, canvas(2, 2, right=4, top=4))
    assert sums is not None
    np.testing.assert_array_equal(sums.area, [[0, 1], [0, 0]])
    np.testing.assert_array_equal(sums.total, [[[0, 7], [0, 0]]])


@pytest.mark.parametrize(("left", "top"), [(-10, 4), (4, 4), (0, 14), (0, 0)])
def test_a_window_outside_the_canvas_has_no_sums(left: float, top: float) -> None:
    place = grid(4, 4, left=left, top=top)
    assert compute_block_sums(np.ones((1, 4, 4)), None, place, place.window, canvas(2, 2, right=4, top=4)) is None


def test_large_integers_do_not_overflow() -> None:
    values = np.full((1, 300, 300), 65_535, np.uint16)
    place = grid(300, 300, top=300)
    sums = compute_block_sums(values, None, place, place.window, canvas(1, 1, right=300, top=300))
    assert sums is not None
    assert sums.total[0, 0, 0] == 300 * 300 * 65_535


def test_the_arrays_given_are_left_as_they_are() -> None:
    values, valid = np.ones((1, 4, 4), np.uint8), np.eye(4, dtype=np.bool_)
    values.flags.writeable = valid.flags.writeable = False
    place = grid(4, 4, top=4)
    compute_block_sums(values, valid, place, place.window, canvas(3, 3, right=4, top=4))
    np.testing.assert_array_equal(values, 1)


def test_merged_windows_equal_the_whole() -> None:
    rng = np.random.default_rng(3)
    place = grid(17, 13, left=3.25, top=40.5, pixel=(0.75, 1.25))
    values = rng.integers(0, 255, (2, 17, 13), dtype=np.uint8)
    valid = rng.random((17, 13)) < 0.8
    blocks = canvas(5, 4, left=2, bottom=15, right=14, top=41)
    whole = compute_block_sums(values, valid, place, place.window, blocks)
    parts = []
    for rows, cols in itertools.product([(0, 6), (6, 7), (7, 17)], [(0, 1), (1, 9), (9, 13)]):
        window = Window(row=rows[0], col=cols[0], height=rows[1] - rows[0], width=cols[1] - cols[0])
        inside = window.slices_in(place.window)
        part = compute_block_sums(values[:, *inside], valid[inside], place, window, blocks)
        assert part is not None
        parts.append(part)
    merged = merge_block_sums(parts, 2)
    assert whole is not None
    assert (merged.row, merged.col) == (whole.row, whole.col)
    np.testing.assert_allclose(merged.area, whole.area, atol=1e-10)
    np.testing.assert_allclose(merged.total, whole.total, atol=1e-7)


def test_merging_nothing_gives_a_map_without_blocks() -> None:
    sums = merge_block_sums([], 3)
    assert sums.area.shape == (0, 0)
    assert sums.total.shape == (3, 0, 0)
    adjustment = Adjustment(scene="a", scale=np.ones(3), offset=np.zeros(3))
    block_map = compute_block_map(sums, canvas(2, 2), adjustment)
    assert np.isnan(block_map.expand()).all()


# Maps


def test_local_map_holds_the_means_of_the_adjusted_pixels() -> None:
    rng = np.random.default_rng(4)
    values = rng.uniform(10, 90, (2, 6, 6))
    valid = rng.random((6, 6)) < 0.7
    valid[:3, :3] = False
    place, blocks = grid(6, 6, top=6), canvas(2, 2, right=6, top=6)
    adjustment = Adjustment(scene="a", scale=np.array([1.5, 0.5]), offset=np.array([-7.0, 30.0]))
    sums = compute_block_sums(values, valid, place, place.window, blocks)
    assert sums is not None
    block_map = compute_block_map(sums, blocks, adjustment)
    adjusted = adjustment.scale[:, None, None] * values + adjustment.offset[:, None, None]
    assert block_map.name == "a"
    for r, c, band in itertools.product(range(2), range(2), range(2)):
        part = (slice(3 * r, 3 * r + 3), slice(3 * c, 3 * c + 3))
        if r == c == 0:
            assert math.isnan(block_map.values[band, r, c])
        else:
            assert block_map.values[band, r, c] == pytest.approx(adjusted[band, *part][valid[part]].mean(), rel=1e-12)


def block_map(values: Any, *, name: str = "a", blocks: BlockGrid | None = None, row: int = 0, col: int = 0) -> BlockMap:
    array = np.array(values, np.float64)
    return BlockMap(name=name, grid=blocks or canvas(*array.shape[1:]), values=array, row=row, col=col)


def test_reference_map_is_the_mean_of_the_maps_present() -> None:
    blocks = canvas(2, 3)
    first = block_map([[[1, NAN], [3, 4]]], blocks=blocks)
    second = block_map([[[10, 20], [NAN, 40]]], blocks=blocks, name="b", row=0, col=1)
    reference = compute_reference_map([first, second])
    assert reference.name == "reference"
    np.testing.assert_array_equal(reference.values, [[[1, 10, 20], [3, 4, 40]]])
    same = compute_reference_map([first, first, second])
    np.testing.assert_array_equal(same.values, reference.values)
    overlapping = block_map([[[5, NAN], [NAN, 8]]], blocks=blocks, name="c")
    np.testing.assert_array_equal(compute_reference_map([first, overlapping]).values, [[[3, NAN, NAN], [3, 6, NAN]]])


def test_reference_map_of_nothing_or_of_two_canvases_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one local map"):
        compute_reference_map([])
    with pytest.raises(ValueError, match="one block grid"):
        compute_reference_map([block_map([[[1]]]), block_map([[[1]]], blocks=canvas(1, 1, right=2))])


# Parameters


def test_parameters_follow_the_formulas() -> None:
    local, reference = block_map([[[100, 200, NAN]]]), block_map([[[110, 150, 120]]], name="reference")
    expected = {
        "linear": [1.1, 0.75],
        "gamma": [math.log(110) / math.log(100), math.log(150) / math.log(200)],
        "offset": [math.log(110) / math.log(100), math.log(150) / math.log(200)],
    }
    for method in METHODS:
        correction = solve_correction(local, reference, method=method, alpha=0.9, minimum=5.0)
        np.testing.assert_allclose(correction.parameter[0, 0, :2], expected[method], rtol=1e-15)
        assert math.isnan(correction.parameter[0, 0, 2])
        assert (correction.c, correction.alpha, correction.method, correction.scene) == (0.0, 0.9, method, "a")


@pytest.mark.parametrize(
    ("minimum", "local", "reference", "c"),
    [
        (5.0, [50, 60], [40, 70], 0.0),
        (0.0, [50, 60], [40, 70], 1.0),
        (-3.5, [50, 60], [40, 70], 4.5),
        (5.0, [50, -60], [40, 70], 61.0),
        (5.0, [50, 60], [-40, 70], 41.0),
        (5.0, [50, NAN], [0, NAN], 1.0),
        (1e-9, [50, 60], [40, 70], 0.0),
    ],
)
def test_shift_is_decided_by_the_smallest_value_anywhere(minimum: float, local: Any, reference: Any, c: float) -> None:
    maps = block_map([[local]]), block_map([[reference]], name="reference")
    correction = solve_correction(*maps, method="offset", alpha=1.0, minimum=minimum)
    assert correction.c == c
    for found, mean, target in zip(correction.parameter[0, 0], local, reference, strict=True):
        if mean + c > 1:
            assert found == pytest.approx(math.log(target + c) / math.log(mean + c), rel=1e-15)
        else:  # the logarithm of 1 divides nothing; and what is missing stays so
            assert math.isnan(found)
    for method in ("gamma", "linear"):
        assert solve_correction(*maps, method=method, alpha=1.0, minimum=minimum).c == 0.0


def test_reference_far_from_the_scene_still_counts_for_the_shift() -> None:
    blocks = canvas(1, 3)
    local = block_map([[[50.0]]], blocks=blocks, col=2)
    reference = block_map([[[-9.0, 60, 70]]], blocks=blocks, name="reference")
    correction = solve_correction(local, reference, method="offset", alpha=1.0, minimum=3.0)
    assert correction.c == 10.0
    np.testing.assert_allclose(correction.parameter, [[[math.log(80) / math.log(60)]]], rtol=1e-15)
    assert (correction.row, correction.col) == (0, 2)


@pytest.mark.parametrize(("method", "level"), [("gamma", 1.0), ("gamma", 0.0), ("gamma", -5.0), ("linear", 0.0)])
def test_parameters_that_are_not_finite_are_missing(method: Method, level: float) -> None:
    correction = solve_correction(
        block_map([[[level, 100]]]), block_map([[[50, 50]]], name="reference"), method=method, alpha=1.0, minimum=0.0
    )
    assert math.isnan(correction.parameter[0, 0, 0])
    assert math.isfinite(correction.parameter[0, 0, 1])


def test_a_scene_without_any_block_has_no_parameters() -> None:
    blocks = canvas(2, 2, top=2, right=2)
    local = BlockMap(name="a", grid=blocks, values=np.zeros((1, 0, 0)))
    reference = block_map(np.ones((1, 2, 2)), blocks=blocks, name="reference")
    correction = solve_correction(local, reference, method="offset", alpha=1.0, minimum=5.0)
    surface = compute_surface(correction, grid(2, 2, top=2), Window(row=0, col=0, height=2, width=2), np.float32)
    np.testing.assert_array_equal(surface.read_rows(0, slice(0, 2), np.ones((2, 2), np.float32)), 0)


# Surface


def interpolate(parameter: NDArray[np.float64], blocks: BlockGrid, x: float, y: float) -> float:
    """P - 1 at a point, by the definition; ``parameter`` on the whole canvas."""
    u = min(max((x - blocks.bounds.left) / blocks.block_width - 0.5, 0.0), blocks.cols - 1.0)
    v = min(max((blocks.bounds.top - y) / blocks.block_height - 0.5, 0.0), blocks.rows - 1.0)
    total = near = 0.0
    for r, c in itertools.product(range(blocks.rows), range(blocks.cols)):
        weight = max(0.0, 1 - abs(u - c)) * max(0.0, 1 - abs(v - r))
        if weight > 0 and math.isfinite(parameter[r, c]):
            total += weight * (parameter[r, c] - 1)
            near += weight
    return total / near if near > 0 else 0.0


def make_correction(parameter: NDArray[np.float64], blocks: BlockGrid, *, row: int = 0, col: int = 0) -> LocalCorrection:
    return LocalCorrection(scene="a", grid=blocks, method="linear", parameter=parameter, alpha=1.0, c=0.0, row=row, col=col)


def read_surface(
    correction: LocalCorrection, place: Grid, window: Window, dtype: type[np.floating[Any]] = np.float64
) -> NDArray[np.floating[Any]]:
    surface = compute_surface(correction, place, window, dtype)
    return np.stack(
        [
            surface.read_rows(band, slice(0, window.height), np.empty(window.shape, dtype))
            for band in range(len(correction.parameter))
        ]
    )


@pytest.mark.parametrize("missing", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("rows", "cols"), [(4, 5), (1, 6), (5, 1), (1, 1), (2, 2)])
def test_surface_equals_bilinear_interpolation(rows: int, cols: int, missing: float) -> None:
    rng = np.random.default_rng(rows * 10 + cols)
    blocks = canvas(rows, cols, left=10, bottom=5, right=31, top=29)
    parameter = rng.uniform(0.8, 1.2, (2, rows, cols))
    parameter[rng.random(parameter.shape) < missing] = NAN
    place = grid(24, 25, left=7.5, top=30.3, pixel=(1.1, 1.3))  # reaches beyond the canvas on every side
    correction = make_correction(parameter, blocks)
    found = read_surface(correction, place, place.window)
    x = place.left + (np.arange(25) + 0.5) * 1.1
    y = place.top - (np.arange(24) + 0.5) * 1.3
    expected = [[[interpolate(band, blocks, a, b) for a in x] for b in y] for band in parameter]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    grid_x, grid_y = np.meshgrid(x, y)
    points = compute_departure(correction, grid_x.ravel(), grid_y.ravel())
    np.testing.assert_allclose(points.reshape(2, 24, 25), expected, atol=1e-12)


def test_surface_in_float32_follows_that_in_float64() -> None:
    """Wherever a present block weighs a quarter or more, as in every block that has a mean."""
    rng = np.random.default_rng(9)
    blocks = canvas(6, 7, right=70, top=60)
    parameter = rng.uniform(0.9, 1.1, (1, 6, 7))
    parameter[0, 2:4, 3] = parameter[0, 0, 0] = NAN
    place = grid(60, 70, top=60)
    correction = make_correction(parameter, blocks)
    exact = read_surface(correction, place, place.window)
    single = read_surface(correction, place, place.window, np.float32)
    assert single.dtype == np.float32
    inside = np.isfinite(parameter[0]).repeat(10, axis=0).repeat(10, axis=1)
    assert np.abs(single - exact)[:, inside].max() < 1e-7


def test_surface_is_constant_beyond_the_outermost_centres() -> None:
    blocks = canvas(2, 2, left=0, bottom=0, right=20, top=20)
    correction = make_correction(np.array([[[1.1, 1.2], [1.3, 1.4]]]), blocks)
    x, y = np.array([5.0, 0.0, -100.0, 15.0, 30.0]), np.array([15.0, 20.0, 500.0, 5.0, -7.0])
    np.testing.assert_allclose(compute_departure(correction, x, y), [[0.1, 0.1, 0.1, 0.4, 0.4]], atol=1e-12)


def test_a_missing_block_takes_its_neighbours_value() -> None:
    blocks = canvas(1, 3, right=30, top=10)
    correction = make_correction(np.array([[[1.5, NAN, NAN]]]), blocks)
    departure = compute_departure(correction, np.array([5.0, 10.0, 14.9, 15.0, 16.0, 29.0]), np.full(6, 5.0))
    np.testing.assert_allclose(departure, [[0.5, 0.5, 0.5, 0.0, 0.0, 0.0]], atol=1e-12)


def test_a_part_of_the_canvas_is_the_whole_with_missing_blocks_around() -> None:
    rng = np.random.default_rng(11)
    blocks = canvas(6, 6, right=60, top=60)
    part = rng.uniform(0.9, 1.1, (1, 2, 3))
    whole = np.full((1, 6, 6), NAN)
    whole[:, 3:5, 1:4] = part
    place = grid(40, 50, left=2, top=55)
    np.testing.assert_array_equal(
        read_surface(make_correction(part, blocks, row=3, col=1), place, place.window),
        read_surface(make_correction(whole, blocks), place, place.window),
    )
    x, y = rng.uniform(0, 60, 50), rng.uniform(0, 60, 50)
    np.testing.assert_array_equal(
        compute_departure(make_correction(part, blocks, row=3, col=1), x, y),
        compute_departure(make_correction(whole, blocks), x, y),
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_surface_of_a_window_equals_that_part_of_the_whole_bit_for_bit(dtype: type[np.floating[Any]], missing: float) -> None:
    rng = np.random.default_rng(12)
    blocks = canvas(5, 7, left=499_999.7, bottom=5_300_000.1, right=500_049.2, top=5_300_041.4)
    parameter = rng.uniform(0.8, 1.2, (2, 5, 7))
    parameter[rng.random(parameter.shape) < missing] = NAN
    place = grid(60, 80, left=499_995.0, top=5_300_045.0, pixel=(0.7, 0.7))
    correction = make_correction(parameter, blocks)
    whole = read_surface(correction, place, place.window, dtype)
    for _ in range(25):
        row, col = int(rng.integers(0, 60)), int(rng.integers(0, 80))
        window = Window(row=row, col=col, height=int(rng.integers(1, 61 - row)), width=int(rng.integers(1, 81 - col)))
        rows, cols = window.slices_in(place.window)
        np.testing.assert_array_equal(read_surface(correction, place, window, dtype), whole[:, rows, cols])


def test_rows_read_in_strips_equal_those_read_at_once() -> None:
    rng = np.random.default_rng(13)
    parameter = rng.uniform(0.8, 1.2, (1, 4, 4))
    parameter[0, 1, 1] = NAN
    place = grid(30, 20, top=30)
    surface = compute_surface(make_correction(parameter, canvas(4, 4, right=20, top=30)), place, place.window, np.float32)
    whole = surface.read_rows(0, slice(0, 30), np.empty((30, 20), np.float32))
    strips = [surface.read_rows(0, slice(i, i + 7), np.empty((min(7, 30 - i), 20), np.float32)) for i in range(0, 30, 7)]
    np.testing.assert_array_equal(np.concatenate(strips), whole)


# Correction


@pytest.mark.parametrize(
    ("method", "alpha", "c", "expected"),
    [
        ("linear", 1.0, 0.0, 100 * 1.1),
        ("linear", 0.9, 0.0, 100 * 1.1),  # alpha is a factor of the powers only
        ("gamma", 1.0, 0.0, 100**1.1),
        ("gamma", 0.9, 0.0, 0.9 * 100**1.1),
        ("offset", 1.0, 0.0, 100**1.1),
        ("offset", 0.9, 0.0, 0.9 * 100**1.1),
        ("offset", 0.9, 25.0, 0.9 * 125**1.1 - 25),
    ],
)
def test_corrections_follow_the_formulas(method: Method, alpha: float, c: float, expected: float) -> None:
    assert correct([100.0], 0.1, method, alpha=alpha, c=c)[0] == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_departure_changes_nothing(method: Method, dtype: Any) -> None:
    values = np.array([-0.0, 0.0, 1e-30, 0.5, 1.0, 255.0, 65_535.0, 1e30], dtype)
    np.testing.assert_array_equal(correct(values, 0.0, method, dtype=dtype), values)


@pytest.mark.parametrize(("reach", "bound"), [(0.1, 4e-7), (0.01, 2.5e-7)])
@pytest.mark.parametrize("method", ["gamma", "offset"])
def test_powers_in_float32_are_as_near_as_the_docstring_says(method: Method, reach: float, bound: float) -> None:
    rng = np.random.default_rng(14)
    values = np.exp(rng.uniform(math.log(1e-3), math.log(65_535), 200_000)).astype(np.float32)
    departure = rng.uniform(-reach, reach, values.size).astype(np.float32)
    exact = values.astype(np.longdouble) ** (1 + departure.astype(np.longdouble))
    found = correct(values, departure, method, dtype=np.float32)
    assert float((np.abs(found - exact) / exact).max()) < bound


def test_linear_in_float32_is_within_two_roundings() -> None:
    rng = np.random.default_rng(15)
    values = rng.uniform(-65_535, 65_535, 100_000).astype(np.float32)
    departure = rng.uniform(-0.5, 0.5, values.size).astype(np.float32)
    exact = values.astype(np.float64) * (1 + departure.astype(np.float64))
    found = correct(values, departure, "linear", dtype=np.float32)
    assert float((np.abs(found - exact) / np.abs(exact)).max()) < 1.3e-7


def test_shifted_powers_are_near_on_the_scale_of_the_shifted_value() -> None:
    """Adding and taking off c costs a rounding of x + c each."""
    rng = np.random.default_rng(16)
    values = rng.uniform(-900, 5000, 100_000).astype(np.float32)
    departure = rng.uniform(-0.05, 0.05, values.size).astype(np.float32)
    exact = 0.97 * (values.astype(np.longdouble) + 901.0) ** (1 + departure.astype(np.longdouble)) - 901.0
    found = correct(values, departure, "offset", alpha=0.97, c=901.0, dtype=np.float32)
    assert float((np.abs(found - exact) / (np.abs(exact) + 901.0)).max()) < 6e-7


@pytest.mark.parametrize("method", ["gamma", "offset"])
def test_powers_in_float64_are_exact_to_a_few_ulp(method: Method) -> None:
    rng = np.random.default_rng(17)
    values, departure = rng.uniform(1e-3, 65_535, 50_000), rng.uniform(-0.1, 0.1, 50_000)
    exact = values.astype(np.longdouble) ** (1 + departure.astype(np.longdouble))
    assert float((np.abs(correct(values, departure, method) - exact) / exact).max()) < 1e-15


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gamma_leaves_values_without_a_power_as_they_are(dtype: Any) -> None:
    values = np.array([-1e6, -3.0, 0.0, 4.0], dtype)
    found = correct(values, 0.5, "gamma", alpha=0.8, dtype=dtype)
    np.testing.assert_array_equal(found[:3], values[:3])
    assert found[3] == pytest.approx(0.8 * 8, rel=1e-6)


def test_offset_takes_the_power_of_what_is_below_minus_c_as_zero() -> None:
    found = correct([-20.0, -11.0, -10.0, -9.0], 0.5, "offset", alpha=0.8, c=11.0)
    np.testing.assert_allclose(found, [-11, -11, 0.8 * 1 - 11, 0.8 * 2**1.5 - 11], rtol=1e-14)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("garbage", [NAN, -np.inf, np.inf, -9999.0, 0.0])
def test_invalid_pixels_change_no_valid_one(method: Method, garbage: float) -> None:
    """What an invalid pixel holds must not decide how its neighbours are treated, NaN least of all."""
    values = np.array([[-4.0, 0.0, 50.0], [7.0, garbage, 3.0]], np.float32)
    alone = correct(np.array([-4.0, 0.0, 50.0, 7.0, 3.0]), 0.1, method, alpha=0.9, dtype=np.float32)
    together = correct(values, 0.1, method, alpha=0.9, dtype=np.float32).ravel()[[0, 1, 2, 3, 5]]
    assert np.isfinite(together).all()
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("method", METHODS)
def test_huge_values_stay_finite(method: Method) -> None:
    found = correct([1e30, -1e30, 4e9], 0.1, method, c=2e30 if method == "offset" else 0.0, dtype=np.float32)
    assert np.isfinite(found).all()


def test_an_empty_piece_stays_empty() -> None:
    for method in METHODS:
        assert correct(np.empty((0, 5)), 0.1, method).shape == (0, 5)
