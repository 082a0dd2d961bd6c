"""What holds for the radiometric stages whatever the scenes are."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from records import compute_moments

from processor.model import Adjustment, BlockGrid, Bounds, Grid, Moments, Overlap, Window
from processor.stages.block_sums import BlockSums, compute_block_sums, merge_block_sums
from processor.stages.matching.global_regression import solve_adjustments
from processor.stages.matching.local_block_adjustment import (
    LocalCorrection,
    apply_correction,
    compute_block_map,
    compute_departure,
    compute_reference_map,
    compute_surface,
    solve_correction,
)
from processor.stages.statistics import merge_moments

SEEDS = st.integers(0, 2**32 - 1)
FEW = examples(40)  # where an example takes milliseconds and holds many cases
DTYPES = st.sampled_from(["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"])
EXACT = st.sampled_from(["uint8", "int8", "uint16", "int16"])


def draw_pixels(seed: int, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return rng.normal(rng.uniform(-1e3, 1e4), rng.uniform(0.1, 1e3), shape).astype(kind)
    low, high = sorted(rng.integers(np.iinfo(kind).min, np.iinfo(kind).max, 2, dtype=kind, endpoint=True).tolist())
    return rng.integers(low, high, shape, dtype=kind, endpoint=True)


# Moments


@given(SEEDS, DTYPES, st.integers(1, 300), st.lists(st.integers(0, 300), max_size=6))
def test_merged_moments_equal_those_of_the_whole(seed: int, dtype: str, count: int, cuts: list[int]) -> None:
    pixels = draw_pixels(seed, dtype, (2, count))
    whole = compute_moments(pixels)
    merged = merge_moments(compute_moments(part) for part in np.split(pixels, sorted(min(cut, count) for cut in cuts), axis=1))
    assert merged.count == whole.count
    np.testing.assert_array_equal(merged.minimum, whole.minimum)
    np.testing.assert_array_equal(merged.maximum, whole.maximum)
    size = np.maximum(np.abs(whole.minimum), np.abs(whole.maximum))
    np.testing.assert_array_less(np.abs(merged.mean - whole.mean), 1e-14 * size + 1e-300)
    np.testing.assert_array_less(np.abs(merged.m2 - whole.m2), 1e-12 * (whole.m2 + count * size * 1e-12 * size) + 1e-300)


@given(SEEDS, EXACT, st.integers(1, 2000))
def test_moments_of_integers_do_not_depend_on_the_order_of_the_pixels(seed: int, dtype: str, count: int) -> None:
    pixels = draw_pixels(seed, dtype, (1, count))
    whole, shuffled = compute_moments(pixels), compute_moments(np.random.default_rng(seed).permuted(pixels, axis=1))
    assert whole.mean[0] == shuffled.mean[0]
    assert whole.m2[0] == shuffled.m2[0]


# Global regression


def moments(mean: float, std: float) -> Moments:
    return Moments(count=10, mean=np.array([mean]), m2=np.array([10 * std * std]), minimum=np.zeros(1), maximum=np.zeros(1))


def draw_block(seed: int, scenes: int, density: float) -> tuple[dict[str, Moments], list[Overlap]]:
    """Scenes with any statistics, and any pairs of them that overlap."""
    rng = np.random.default_rng(seed)
    level = 10.0 ** rng.uniform(-1, 4)

    def one() -> Moments:
        return moments(level * rng.uniform(0.5, 1.5), level * rng.uniform(0.02, 0.5))

    names = [f"s{i}" for i in range(scenes)]
    overlaps = [
        Overlap(first=i, second=j, first_moments=one(), second_moments=one())
        for i, j in itertools.combinations(names, 2)
        if rng.random() < density
    ]
    return {name: one() for name in names}, overlaps


def rename(
    whole: dict[str, Moments], overlaps: list[Overlap], names: dict[str, str]
) -> tuple[dict[str, Moments], list[Overlap]]:
    """The same scenes under other names; a pair whose names change their order is turned round."""
    renamed = []
    for overlap in overlaps:
        sides = (names[overlap.first], overlap.first_moments), (names[overlap.second], overlap.second_moments)
        first, second = sorted(sides, key=lambda side: side[0])
        renamed.append(Overlap(first=first[0], second=second[0], first_moments=first[1], second_moments=second[1]))
    return {names[name]: m for name, m in whole.items()}, renamed


SETS = st.tuples(SEEDS, st.integers(1, 7), st.floats(0, 1))


@given(SETS)
@FEW
def test_scenes_that_agree_are_left_as_they_are(drawn: tuple[int, int, float]) -> None:
    """Identical statistics on both sides of every overlap, however the scenes differ as a whole."""
    whole, overlaps = draw_block(*drawn)
    same = [
        Overlap(first=o.first, second=o.second, first_moments=o.first_moments, second_moments=o.first_moments) for o in overlaps
    ]
    for adjustment in solve_adjustments(whole, same):
        np.testing.assert_array_equal(adjustment.scale, 1)
        np.testing.assert_array_equal(adjustment.offset, 0)


@given(SETS, st.randoms(use_true_random=False), st.booleans())
@FEW
def test_renamed_scenes_have_the_same_adjustments_under_their_new_names(
    drawn: tuple[int, int, float], random: Any, partial: bool
) -> None:
    whole, overlaps = draw_block(*drawn)
    shuffled = list(whole)
    random.shuffle(shuffled)
    names = {name: f"t{shuffled.index(name)}" for name in whole}
    model = list(whole)[::2] if partial else None
    before = {a.scene: a for a in solve_adjustments(whole, overlaps, model=model)}
    new_model = None if model is None else [names[name] for name in model]
    after = {a.scene: a for a in solve_adjustments(*rename(whole, overlaps, names), model=new_model)}
    for name, m in whole.items():
        size = float(m.mean[0])
        np.testing.assert_allclose(after[names[name]].scale, before[name].scale, atol=1e-9)
        np.testing.assert_allclose(after[names[name]].offset, before[name].offset, atol=1e-9 * size)


@given(SETS, st.floats(0.1, 10), st.floats(-1, 1))
@FEW
def test_a_gain_and_an_offset_of_all_scenes_pass_through(drawn: tuple[int, int, float], gain: float, share: float) -> None:
    """Of x' = g x + h every row is g times what it was, if the scale stays and the offset becomes g b + h (1 - a)."""
    whole, overlaps = draw_block(*drawn)
    level = max(float(m.mean[0]) for m in whole.values())
    shift = share * level

    def change(m: Moments) -> Moments:
        return moments(gain * float(m.mean[0]) + shift, gain * float(m.std[0]))

    changed = [
        Overlap(first=o.first, second=o.second, first_moments=change(o.first_moments), second_moments=change(o.second_moments))
        for o in overlaps
    ]
    before = solve_adjustments(whole, overlaps)
    after = solve_adjustments({name: change(m) for name, m in whole.items()}, changed)
    for old, new in zip(before, after, strict=True):
        np.testing.assert_allclose(new.scale, old.scale, atol=1e-9)
        expected = gain * old.offset + shift * (1 - old.scale)
        np.testing.assert_allclose(new.offset, expected, atol=1e-8 * (gain + 1) * level)


@given(SETS)
@FEW
def test_the_solution_leaves_no_gradient(drawn: tuple[int, int, float]) -> None:
    """At a least-squares solution the residual is orthogonal to every column: no small step lowers the cost."""
    whole, overlaps = draw_block(*drawn)
    solved = {a.scene: np.array([a.scale[0], a.offset[0]]) for a in solve_adjustments(whole, overlaps)}
    weight = len(overlaps) / (2 * len(whole)) if overlaps else 1.0

    def cost(at: dict[str, NDArray[np.float64]]) -> float:
        total = 0.0
        for o in overlaps:
            (a, b), (c, d) = at[o.first], at[o.second]
            m, n, s, t = (
                float(v[0]) for v in (o.first_moments.mean, o.second_moments.mean, o.first_moments.std, o.second_moments.std)
            )
            total += (a * m + b - c * n - d) ** 2 + (a * s - c * t) ** 2
        for name, (a, b) in at.items():
            mean, std = float(whole[name].mean[0]), float(whole[name].std[0])
            total += (weight * (a * mean + b - mean)) ** 2 + (weight * (a - 1) * std) ** 2
        return total

    best = cost(solved)
    level = max(float(m.mean[0]) for m in whole.values())
    for name, value in solved.items():
        for step in (np.array([1e-4, 0.0]), np.array([0.0, 1e-4 * level]), np.array([1e-4, -1e-4 * level])):
            for sign in (1, -1):
                assert cost({**solved, name: value + sign * step}) >= best - 1e-13 * level**2


# Block sums

CANVASES = st.tuples(
    st.floats(-3, 9), st.floats(-3, 9), st.floats(0.3, 14), st.floats(0.3, 14), st.integers(1, 25), st.integers(1, 25)
)
PLACES = st.tuples(st.sampled_from([0.0, 500_000.2]), st.sampled_from([0.1, 0.75, 1.0, 2.0]), st.sampled_from([0.3, 1.0, 1.25]))


def place_scene(place: tuple[float, float, float], height: int, width: int) -> Grid:
    left, pixel_width, pixel_height = place
    return Grid(
        crs="", left=left, top=left * 10, pixel_width=pixel_width, pixel_height=pixel_height, width=width, height=height
    )


def place_canvas(canvas: tuple[float, float, float, float, int, int], scene: Grid) -> BlockGrid:
    """A canvas given in pixels of the scene: smaller, larger, or beside it."""
    col, row, width, height, rows, cols = canvas
    left, top = scene.left + col * scene.pixel_width, scene.top - row * scene.pixel_height
    bounds = Bounds(left=left, top=top, right=left + width * scene.pixel_width, bottom=top - height * scene.pixel_height)
    return BlockGrid(bounds=bounds, rows=rows, cols=cols)


def shares(scene: Grid, bounds: Bounds) -> NDArray[np.float64]:
    """The part of each pixel that lies in a rectangle."""
    x = scene.left + np.arange(scene.width + 1) * scene.pixel_width
    y = scene.top - np.arange(scene.height + 1) * scene.pixel_height
    across = np.clip(x, bounds.left, bounds.right)
    down = np.clip(y, bounds.bottom, bounds.top)
    return np.outer(-np.diff(down) / scene.pixel_height, np.diff(across) / scene.pixel_width)


@given(SEEDS, DTYPES, st.integers(1, 11), st.integers(1, 11), PLACES, CANVASES, st.booleans())
def test_block_sums_add_up_to_the_pixels_of_the_canvas(
    seed: int,
    dtype: str,
    height: int,
    width: int,
    place: tuple[float, float, float],
    canvas: tuple[float, float, float, float, int, int],
    masked: bool,
) -> None:
    scene = place_scene(place, height, width)
    blocks = place_canvas(canvas, scene)
    values = draw_pixels(seed, dtype, (2, height, width))
    valid = np.random.default_rng(seed).random((height, width)) < 0.7 if masked else None
    share = shares(scene, blocks.bounds) * (1.0 if valid is None else valid)
    sums = compute_block_sums(values, valid, scene, scene.window, blocks)
    tolerance = 1e-6 * (height + width)  # of a pixel: edges that near to one count as it
    size = float(np.abs(values.astype(np.float64)).max()) + 1
    if sums is None:
        assert share.sum() <= tolerance
        return
    assert abs(float(sums.area.sum()) - float(share.sum())) <= tolerance * (height + width)
    total = (values.astype(np.float64) * share).sum(axis=(1, 2))
    np.testing.assert_array_less(np.abs(sums.total.sum(axis=(1, 2)) - total), tolerance * (height + width) * size + 1e-12)
    assert (sums.area >= 0).all()


@given(
    SEEDS,
    EXACT,
    st.integers(1, 12),
    st.integers(1, 12),
    PLACES,
    CANVASES,
    st.lists(st.integers(1, 11), max_size=3),
    st.lists(st.integers(1, 11), max_size=3),
)
@FEW
def test_windows_cut_anywhere_give_the_same_sums(
    seed: int,
    dtype: str,
    height: int,
    width: int,
    place: tuple[float, float, float],
    canvas: tuple[float, float, float, float, int, int],
    row_cuts: list[int],
    col_cuts: list[int],
) -> None:
    scene = place_scene(place, height, width)
    blocks = place_canvas(canvas, scene)
    values = draw_pixels(seed, dtype, (2, height, width))
    valid = np.random.default_rng(seed).random((height, width)) < 0.7
    whole = compute_block_sums(values, valid, scene, scene.window, blocks)
    parts = []
    for top, bottom in itertools.pairwise(sorted({0, height, *(cut for cut in row_cuts if cut < height)})):
        for left, right in itertools.pairwise(sorted({0, width, *(cut for cut in col_cuts if cut < width)})):
            window = Window(row=top, col=left, height=bottom - top, width=right - left)
            rows, cols = window.slices_in(scene.window)
            parts.append(compute_block_sums(values[:, rows, cols], valid[rows, cols], scene, window, blocks))
    merged = merge_block_sums([part for part in parts if part is not None], 2)
    found, expected = (_spread(sums, blocks) for sums in (merged, whole))
    size = float(np.abs(values.astype(np.float64)).max()) + 1
    np.testing.assert_allclose(found[0], expected[0], atol=1e-5)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-5 * size)


def _spread(sums: BlockSums | None, blocks: BlockGrid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    area, total = np.zeros((blocks.rows, blocks.cols)), np.zeros((2, blocks.rows, blocks.cols))
    if sums is not None:
        rows = slice(sums.row, sums.row + sums.area.shape[0])
        cols = slice(sums.col, sums.col + sums.area.shape[1])
        area[rows, cols], total[:, rows, cols] = sums.area, sums.total
    return area, total


@given(SEEDS, st.integers(1, 6), st.integers(1, 6))
@FEW
def test_one_scene_alone_is_its_own_reference(seed: int, rows: int, cols: int) -> None:
    """Its correction is the identity, by every method."""
    rng = np.random.default_rng(seed)
    scene = place_scene((0.0, 1.0, 1.0), 12, 15)
    blocks = BlockGrid(bounds=scene.bounds, rows=rows, cols=cols)
    values = rng.uniform(2, 200, (1, 12, 15))
    sums = compute_block_sums(values, rng.random((12, 15)) < 0.5, scene, scene.window, blocks)
    assert sums is not None
    local = compute_block_map(sums, blocks, Adjustment(scene="a", scale=np.ones(1), offset=np.zeros(1)))
    reference = compute_reference_map([local])
    for method in ("gamma", "linear", "offset"):
        correction = solve_correction(local, reference, method=method, alpha=1.0, minimum=2.0)
        surface = compute_surface(correction, scene, scene.window, np.float64)
        np.testing.assert_allclose(surface.read_rows(0, slice(0, 12), np.empty((12, 15))), 0, atol=1e-14)


# Surfaces and corrections


@given(SEEDS, st.integers(1, 7), st.integers(1, 7), st.floats(0, 1), st.sampled_from([np.float32, np.float64]), st.data())
@FEW
def test_surface_does_not_depend_on_the_window(
    seed: int, rows: int, cols: int, missing: float, dtype: type[np.floating[Any]], data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    scene = place_scene((500_000.2, 0.75, 1.25), 30, 40)
    blocks = place_canvas((rng.uniform(-5, 15), rng.uniform(-5, 15), rng.uniform(5, 50), rng.uniform(5, 50), rows, cols), scene)
    parameter = rng.uniform(0.5, 1.5, (1, rows, cols))
    parameter[rng.random(parameter.shape) < missing] = np.nan
    correction = LocalCorrection(scene="a", grid=blocks, method="linear", parameter=parameter, alpha=1.0, c=0.0)
    row, col = data.draw(st.integers(0, 29)), data.draw(st.integers(0, 39))
    window = Window(row=row, col=col, height=data.draw(st.integers(1, 30 - row)), width=data.draw(st.integers(1, 40 - col)))
    whole = _read(correction, scene, scene.window, dtype)
    part = _read(correction, scene, window, dtype)
    np.testing.assert_array_equal(part, whole[window.slices_in(scene.window)])
    x = scene.left + (col + np.arange(window.width) + 0.5) * scene.pixel_width
    y = scene.top - (row + np.arange(window.height) + 0.5) * scene.pixel_height
    grid_x, grid_y = np.meshgrid(x, y)
    points = compute_departure(correction, grid_x.ravel(), grid_y.ravel())[0].reshape(window.shape)
    _, near = _interpolate(parameter[0], blocks, grid_x, grid_y)
    # Where hardly a block is near, its weight has lost most of its digits; no pixel of a block that has a mean is there.
    present = near > 0.2
    np.testing.assert_allclose(part[present], points[present], atol=1e-6 if dtype is np.float32 else 1e-8)
    low, high = (np.nanmin(parameter), np.nanmax(parameter)) if np.isfinite(parameter).any() else (1.0, 1.0)
    assert (points >= min(low - 1, 0) - 1e-12).all()
    assert (points <= max(high - 1, 0) + 1e-12).all()


def _read(correction: LocalCorrection, scene: Grid, window: Window, dtype: type[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    surface = compute_surface(correction, scene, window, dtype)
    return surface.read_rows(0, slice(0, window.height), np.empty(window.shape, dtype))


def _interpolate(
    parameter: NDArray[np.float64], blocks: BlockGrid, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted sum of P - 1 of the blocks present, and their weight."""
    u = np.clip((x - blocks.bounds.left) / blocks.block_width - 0.5, 0, blocks.cols - 1)
    v = np.clip((blocks.bounds.top - y) / blocks.block_height - 0.5, 0, blocks.rows - 1)
    total, near = np.zeros(x.shape), np.zeros(x.shape)
    for (row, col), value in np.ndenumerate(parameter):
        if math.isfinite(value):
            weight = np.maximum(0, 1 - np.abs(u - col)) * np.maximum(0, 1 - np.abs(v - row))
            total += weight * (value - 1)
            near += weight
    return total, near


@given(
    SEEDS,
    st.floats(-0.4, 0.4),
    st.sampled_from(["gamma", "linear", "offset"]),
    st.floats(0.5, 1.5),
    st.sampled_from([0.0, 1.0, 1e3, 1e6 + 1]),
)
def test_corrections_are_finite_and_keep_the_order_of_the_values(
    seed: int, departure: float, method: Any, alpha: float, c: float
) -> None:
    """One P for all: what is brighter stays brighter, and nothing turns to nonsense, positive or not."""
    correction = LocalCorrection(
        scene="a",
        grid=BlockGrid(bounds=Bounds(left=0, bottom=0, right=1, top=1), rows=1, cols=1),
        method=method,
        parameter=np.ones((1, 1, 1)),
        alpha=alpha,
        c=c if method == "offset" else 0.0,
    )
    rng = np.random.default_rng(seed)
    pixels = np.sort(np.concatenate([rng.choice([-1, 1], 60) * 10 ** rng.uniform(-6, 6, 60), [0.0, 1.0, -c, 1 - c]]))
    found = apply_correction(pixels.copy(), np.full(pixels.shape, departure), correction)
    assert np.isfinite(found).all()
    positive = pixels + correction.c > 0
    ordered = found if method in ("linear", "offset") else found[positive]
    assert (np.diff(ordered) >= -1e-9 * (np.abs(ordered).max(initial=1))).all()
    base, power = pixels + correction.c, 1 + departure
    chosen = base > 0
    if method == "linear":
        np.testing.assert_allclose(found, pixels * power, rtol=1e-12)
    else:
        np.testing.assert_allclose(found[chosen], alpha * base[chosen] ** power - correction.c, rtol=1e-12, atol=1e-9 * (1 + c))
