"""Medians of stacks: against numpy pixel by pixel, and a geometric median that no neighbour betters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from processor.stages.merge.stacks import compute_geomedians, compute_medians


def draw_stack(
    scenes: int, bands: int = 3, pixels: int = 900, dtype: str = "uint16", seed: int = 4
) -> tuple[NDArray[Any], ...]:
    """Values and which of them are valid; the others hold what would show."""
    random = np.random.default_rng(seed)
    top = 255 if dtype == "uint8" else 1000
    stack = random.integers(1, top + 1, (scenes, bands, pixels)).astype(dtype)
    valid = random.random((scenes, pixels)) < 0.6
    stack.swapaxes(0, 1)[:, ~valid] = np.nan if stack.dtype.kind == "f" else np.iinfo(dtype).max
    return stack, valid


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("scenes", [1, 2, 3, 5, 8, 20, 33])
def test_the_median_is_that_of_the_valid_values(scenes: int, dtype: str) -> None:
    stack, valid = draw_stack(scenes, dtype=dtype)
    nodata = -1.0 if stack.dtype.kind in "fi" else 0.0
    made = compute_medians(stack, valid, nodata, out=np.empty(stack.shape[1:], stack.dtype))
    for pixel in range(stack.shape[2]):
        seen = stack[valid[:, pixel], :, pixel].astype(np.float64)
        expected = np.median(seen, axis=0) if len(seen) else np.full(stack.shape[1], nodata)
        expected = expected if stack.dtype.kind == "f" else np.rint(expected)  # half to even
        np.testing.assert_array_equal(made[:, pixel], expected.astype(dtype))


def test_a_median_that_equals_nodata_moves_to_its_neighbour() -> None:
    stack = np.array([[[1, 7]], [[3, 7]]], np.uint16)
    made = compute_medians(stack, np.ones((2, 2), np.bool_), 2.0, out=np.empty((1, 2), np.uint16))
    assert made.tolist() == [[3, 7]]


def test_the_middle_of_two_large_numbers_does_not_overflow() -> None:
    stack = np.array([[[3e38]], [[3.2e38]]], np.float32)
    made = compute_medians(stack, np.ones((2, 1), np.bool_), np.nan, out=np.empty((1, 1), np.float32))
    np.testing.assert_allclose(made, 3.1e38, rtol=1e-6)


@pytest.mark.parametrize("combine", [compute_medians, lambda *args, out: compute_geomedians(*args, iterations=9, out=out)])
def test_pixels_do_not_depend_on_their_neighbours_nor_on_what_is_invalid(combine: Any) -> None:
    stack, valid = draw_stack(11, pixels=70_000)
    whole = combine(stack, valid, 0.0, out=np.empty(stack.shape[1:], stack.dtype))
    other = np.where(valid[:, None], stack, np.uint16(77))
    part = slice(60_001, 60_090)
    again = combine(other[:, :, part], valid[:, part], 0.0, out=np.empty((3, 89), stack.dtype))
    np.testing.assert_array_equal(whole[:, part], again)


def sum_distances(stack: NDArray[np.float64], valid: NDArray[np.bool_], point: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((np.sqrt(((stack - point) ** 2).sum(axis=1)) * valid).sum(axis=0))


@pytest.mark.parametrize("scenes", [3, 4, 9])
def test_no_other_point_is_nearer_to_all_scenes_than_the_geometric_median(scenes: int) -> None:
    stack, valid = draw_stack(scenes, dtype="float64")
    stack = np.where(valid[:, None], stack, 0.0)
    made = compute_geomedians(stack, valid, -1.0, iterations=150, out=np.empty(stack.shape[1:]))
    some = valid.any(axis=0)
    least = sum_distances(stack, valid, made)[some]
    random = np.random.default_rng(1)
    for reach in (0.5, 5.0, 50.0):
        for _ in range(40):
            beside = made + reach * random.normal(size=made.shape)
            assert (sum_distances(stack, valid, beside)[some] >= least - 1e-3 * least).all()
    for scene in range(scenes):  # a scene's own values may be the point
        here = some & valid[scene]
        assert (sum_distances(stack, valid, stack[scene])[here] >= least[here[some]] * (1 - 1e-3)).all()
    assert (made[:, ~some] == -1).all()


def test_the_geometric_median_leaves_a_scene_that_it_starts_on() -> None:
    stack = np.array([[0, 0], [1, 1], [2, 5]], np.float64)[:, :, None]  # the median of each band is the second, which is best
    held = compute_geomedians(stack, np.ones((3, 1), np.bool_), -1.0, iterations=50, out=np.empty((2, 1)))
    np.testing.assert_allclose(held[:, 0], [1, 1], atol=1e-9)
    stack = np.array([[0, 0], [1, 1], [1.2, 9], [9, 1.2], [1, 1], [-3, 4], [4, -3]], np.float64)[:, :, None]
    valid = np.ones((7, 1), np.bool_)
    point = compute_geomedians(stack, valid, -1.0, iterations=100, out=np.empty((2, 1)))
    assert sum_distances(stack, valid, point)[0] <= sum_distances(stack, valid, stack[1])[0] + 1e-9
