"""Displacements of known scenes are found, wherever they lie in pixels, and solved for all scenes at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from registration import PARTS, make_ground, see_ground

from processor.model import Grid, Window
from processor.stages.align.coregistration import (
    PairShift,
    WindowShifts,
    compute_window_shift,
    compute_window_shifts,
    iter_windows,
    merge_window_shifts,
    move_grid,
    solve_coregistration,
)


def see(ground: NDArray[np.float64], right: int, down: int, size: int) -> NDArray[np.float64]:
    """A square of the ground, away from its edge."""
    return see_ground(ground, row=8, col=8, height=size, width=size, right=right, down=down)


@pytest.mark.parametrize(("right", "down"), [(0, 0), (1, 0), (0, -2), (5, 7), (-12, 3), (12, -12)])
def test_displacement_of_up_to_three_pixels_is_found_within_a_tenth(right: int, down: int) -> None:
    ground = make_ground(96)
    draw = np.random.default_rng(2)
    first = see(ground, 0, 0, 64)
    second = 1.7 * see(ground, right, down, 64) + 300.0
    second += draw.normal(scale=0.05 * second.std(), size=second.shape)
    found = compute_window_shift(first, second)
    assert found is not None
    assert found == pytest.approx((right / PARTS, down / PARTS), abs=0.1)


def test_windows_that_show_nothing_alike_tell_nothing() -> None:
    draw = np.random.default_rng(3)
    first, second = draw.normal(size=(2, 3, 64, 64))
    assert compute_window_shift(first, second) is None
    assert compute_window_shift(np.ones((3, 64, 64)), first) is None
    assert compute_window_shift(np.zeros((3, 64, 64), np.uint8), np.zeros((3, 64, 64), np.uint8)) is None


def test_a_constant_band_does_not_hide_what_others_tell() -> None:
    ground = make_ground(96)
    first, second = see(ground, 0, 0, 64), see(ground, 6, 0, 64)
    first[1] = 7.0
    found = compute_window_shift(first, second)
    assert found == pytest.approx((1.5, 0.0), abs=0.1)


def test_displacement_is_told_in_crs_units_with_y_up() -> None:
    ground = make_ground(160)
    grid = Grid(crs="", left=0.0, top=0.0, pixel_width=10.0, pixel_height=5.0, width=128, height=128)
    first, second = see(ground, 0, 0, 128), see(ground, 4, 6, 128)
    whole = grid.window
    found = compute_window_shifts(("a", "b"), (first, second), None, (grid, whole, whole), (0.5, 0.25), 1)
    assert found is not None
    shift = merge_window_shifts([found])
    assert shift is not None
    assert shift.windows == 4
    assert (shift.right, shift.up) == pytest.approx((10.5, -7.25), abs=0.6)


def test_windows_with_an_invalid_pixel_are_left_out() -> None:
    ground = make_ground(160)
    grid = Grid(crs="", left=0.0, top=0.0, pixel_width=1.0, pixel_height=1.0, width=128, height=128)
    first = see(ground, 0, 0, 128)
    valid = np.ones((128, 128), np.bool_)
    valid[10, 10] = valid[100, 100] = False
    found = compute_window_shifts(("a", "b"), (first, first), valid, (grid, grid.window, grid.window), (0.0, 0.0), 1)
    assert found is not None
    assert len(found.right) == 2
    assert merge_window_shifts([found]) is None  # two are too few


@pytest.mark.parametrize(("height", "width"), [(1000, 1000), (64, 5000), (100, 3000), (3000, 80), (63, 5000), (200, 200)])
@pytest.mark.parametrize("pairs", [1, 100_000])
def test_windows_are_bounded_and_do_not_depend_on_how_the_overlap_is_cut(height: int, width: int, pairs: int) -> None:
    whole = Window(row=17, col=5, height=height, width=width)
    windows = list(iter_windows(whole, whole, pairs))
    assert len(windows) <= 72
    assert bool(windows) == (min(height, width) >= 64)
    half = width // 2
    left = Window(row=17, col=5, height=height, width=half)
    right = Window(row=17, col=5 + half, height=height, width=width - half)
    parts = [*iter_windows(left, whole, pairs), *iter_windows(right, whole, pairs)]
    assert {(part.row, part.col) for part in parts} <= {(window.row, window.col) for window in windows}
    assert all(window.intersection(whole) == window for window in windows)


def make_pairs(right: list[float], up: list[float]) -> list[PairShift]:
    """The displacements of a row of scenes, each pair of neighbours and next ones, that lie so far beside their places."""
    return [
        PairShift(first=str(i), second=str(j), right=right[j] - right[i], up=up[j] - up[i], spread=0.5, windows=16)
        for i in range(len(right))
        for j in range(i + 1, min(i + 3, len(right)))
    ]


def test_shifts_of_all_scenes_are_solved_up_to_what_they_have_in_common() -> None:
    right, up = [3.0, -1.0, 0.5, -2.5], [0.0, 4.0, -4.0, 0.0]
    found = solve_coregistration("0123", make_pairs(right, up), 2.0, is_applied=True)
    assert found.right == pytest.approx(right)
    assert found.up == pytest.approx(up)
    assert found.median_after == pytest.approx(0.0, abs=1e-9)
    assert found.high > found.median > 1.0
    assert found.find_move(1) == pytest.approx((1.0, -4.0))


def test_one_wrong_pair_does_not_move_the_scenes() -> None:
    right, up = [3.0, -1.0, 0.5, -2.5, 0.0], [0.0, 4.0, -4.0, 0.0, 0.0]
    pairs = make_pairs(right, up)
    wrong = pairs[2]
    pairs[2] = PairShift(first=wrong.first, second=wrong.second, right=wrong.right + 12.0, up=-9.0, spread=0.5, windows=16)
    found = solve_coregistration("01234", pairs, 2.0, is_applied=True)
    assert found.right == pytest.approx(right, abs=0.02)
    assert found.up == pytest.approx(up, abs=0.02)


def test_scenes_without_pairs_stay_and_nothing_is_claimed() -> None:
    found = solve_coregistration("01", [], 2.0, is_applied=True)
    assert found.right == found.up == (0.0, 0.0)
    assert math.isnan(found.median)
    assert math.isnan(found.high_after)


def test_scenes_are_moved_only_where_that_is_asked_for() -> None:
    grid = Grid(crs="", left=0.0, top=0.0, pixel_width=1.0, pixel_height=1.0, width=8, height=8)
    pairs = make_pairs([1.0, -1.0], [0.0, 0.0])
    assert move_grid(grid, solve_coregistration("01", pairs, 1.0, is_applied=False), 0) is grid
    assert move_grid(grid, None, 0) is grid
    moved = move_grid(grid, solve_coregistration("01", pairs, 1.0, is_applied=True), 0)
    assert (moved.left, moved.top) == (-1.0, 0.0)


def test_parts_of_a_pair_merge_to_the_median() -> None:
    parts = [
        WindowShifts(first="a", second="b", right=np.array([1.0, 2.0]), up=np.array([0.0, 0.0])),
        WindowShifts(first="a", second="b", right=np.array([9.0]), up=np.array([0.0])),
    ]
    found = merge_window_shifts(parts)
    assert found is not None
    assert (found.right, found.up, found.windows) == (2.0, 0.0, 3)
    assert found.spread == pytest.approx(1.4826)
