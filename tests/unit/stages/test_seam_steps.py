"""Steps across seams against known values and a slow count of whole arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from processor.stages.seam_steps import SeamSteps, find_seams, merge_seam_steps, sum_seam_steps


def count_slowly(values: NDArray[Any], index: NDArray[Any]) -> tuple[int, list[float], int, list[float]]:
    """The same, pair by pair."""
    across_count = beside_count = 0
    across, beside = [0.0] * len(values), [0.0] * len(values)
    for planes, scene in ((values, index), (values.swapaxes(1, 2), index.T)):
        height, width = scene.shape
        for row in range(height):
            pairs = [(int(scene[row, col]), int(scene[row, col + 1])) for col in range(width - 1)]
            steps = np.abs(np.diff(planes[:, row].astype(float), axis=1))
            for col, (left, right) in enumerate(pairs):
                if left == right or not left or not right:
                    continue
                across_count += 1
                across = [total + float(step) for total, step in zip(across, steps[:, col], strict=True)]
                for other, (one, two) in enumerate(pairs):
                    if 2 <= abs(other - col) <= 12 and one == two > 0:
                        beside_count += 1
                        beside = [total + float(step) for total, step in zip(beside, steps[:, other], strict=True)]
    return across_count, across, beside_count, beside


def sum_block(values: NDArray[Any], index: NDArray[Any]) -> SeamSteps | None:
    seams = find_seams(index)
    return None if seams is None else sum_seam_steps(values, index, seams)


def test_a_ramp_with_a_jump_at_the_seam() -> None:
    """Every step is 2, that across the seam 6."""
    line = 2 * np.arange(40) + np.where(np.arange(40) >= 20, 4, 0)
    values = np.broadcast_to(line, (1, 10, 40)).astype(np.uint8)
    index = np.broadcast_to(np.where(np.arange(40) < 20, 1, 2), (10, 40)).astype(np.uint8)
    steps = sum_block(values, index)
    assert steps is not None
    assert (steps.across_count, steps.beside_count) == (10, 10 * 22)
    np.testing.assert_array_equal(steps.compute_excess(), [3.0])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "uint32", "int32", "float32", "float64"])
def test_the_sums_are_those_of_a_slow_count(dtype: str) -> None:
    random = np.random.default_rng(3)
    values = (random.random((2, 23, 31)) * 120).astype(dtype)
    if dtype == "uint32":
        values[0, :5] = 2**32 - 1
    index = np.where(np.add.outer(np.arange(23), np.arange(31)) > 24, 2, 1).astype(np.uint8)
    index[3:6, 10:14] = 0
    index[15:20, 20:29] = 3
    steps = sum_block(values, index)
    assert steps is not None
    across_count, across, beside_count, beside = count_slowly(values, index)
    assert (steps.across_count, steps.beside_count) == (across_count, beside_count)
    np.testing.assert_allclose(steps.across, across, rtol=1e-12)
    np.testing.assert_allclose(steps.beside, beside, rtol=1e-12)


def test_what_pixels_without_a_scene_hold_does_not_matter() -> None:
    values = np.full((1, 4, 30), np.nan)
    values[:, :, 8:22] = np.arange(14)
    index = np.zeros((4, 30), np.uint8)
    index[:, 8:15], index[:, 15:22] = 1, 2
    steps = sum_block(values, index)
    assert steps is not None
    np.testing.assert_array_equal(steps.compute_excess(), [1.0])


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (0, 4)])
def test_blocks_of_a_pixel_or_a_line(shape: tuple[int, int]) -> None:
    assert sum_block(np.zeros((1, *shape), np.uint8), np.ones(shape, np.uint8)) is None
    split = np.ones(shape, np.uint8)
    split.reshape(-1)[-1:] = 2
    steps = sum_block(np.zeros((1, *shape), np.uint8), split)
    assert (0 if steps is None else steps.across_count) == (1 if 5 in shape else 0)


def test_a_gap_between_scenes_is_no_seam() -> None:
    index = np.array([[1, 1, 0, 2, 2]], np.uint8)
    assert sum_block(np.zeros((3, 1, 5), np.uint8), index) is None


def test_of_a_speckled_block_evenly_spread_pairs_count() -> None:
    random = np.random.default_rng(5)
    index = random.integers(1, 3, (300, 300)).astype(np.uint16)
    steps = sum_block(random.integers(0, 100, (1, 300, 300)).astype(np.uint8), index)
    assert steps is not None
    assert 8192 < steps.across_count <= 2 * 8192
    np.testing.assert_allclose(steps.compute_excess(), [1.0], atol=0.03)


def test_merging_adds_up_and_nothing_is_unknown() -> None:
    one = SeamSteps(across_count=2, across=np.array([6.0, 0.0]), beside_count=4, beside=np.array([4.0, 0.0]))
    both = merge_seam_steps([one, one], 2)
    assert (both.across_count, both.beside_count) == (4, 8)
    np.testing.assert_array_equal(both.compute_excess(), [3.0, np.nan])  # a flat band has no step to compare with
    np.testing.assert_array_equal(merge_seam_steps([], 2).compute_excess(), [np.nan, np.nan])
