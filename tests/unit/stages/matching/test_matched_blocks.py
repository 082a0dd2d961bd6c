"""Sums of matched blocks against a double loop over their pixels."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from numpy.typing import NDArray

from processor.model import Grid, Window
from processor.stages.matching.matched_blocks import (
    MatchedBlocks,
    choose_edge,
    coarsen,
    compute_matched_blocks,
    merge_matched_blocks,
)

CANVAS = Grid(crs="", left=500_000.0, top=9_000_000.0, pixel_width=10.0, pixel_height=10.0, width=400, height=400)


def assert_equal(one: MatchedBlocks, other: MatchedBlocks) -> None:
    for field in fields(MatchedBlocks):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), err_msg=field.name)


def measure(
    a: NDArray[np.generic], b: NDArray[np.generic], valid: NDArray[np.bool_] | None, grid: Grid, window: Window, edge: int
) -> MatchedBlocks:
    return compute_matched_blocks(("a", "b"), (a, b), valid, grid, window, CANVAS, edge)


def sum_slowly(
    a: NDArray[np.generic], b: NDArray[np.generic], valid: NDArray[np.bool_] | None, grid: Grid, window: Window, edge: int
) -> dict[tuple[int, int], NDArray[np.float64]]:
    """Count, x, y and the five sums of each band, by block, pixel after pixel."""
    found: dict[tuple[int, int], NDArray[np.float64]] = {}
    for i in range(window.height):
        for j in range(window.width):
            if valid is not None and not valid[i, j]:
                continue
            x = (grid.left + (window.col + j + 0.5) * grid.pixel_width - CANVAS.left) / CANVAS.pixel_width
            y = (CANVAS.top - grid.top + (window.row + i + 0.5) * grid.pixel_height) / CANVAS.pixel_height
            one, other = a[:, i, j].astype(float), b[:, i, j].astype(float)
            row = np.concatenate([[1, x, y], one, other, one * one, other * other, one * other])
            place = int(y // edge), int(x // edge)
            found[place] = found.get(place, np.zeros(len(row))) + row
    return found


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("pixel", "shift"), [(10.0, 0.0), (10.0, 3.75), (5.0, 0.0), (25.0, 5.0)])
def test_sums_are_those_of_a_double_loop(dtype: str, masked: bool, pixel: float, shift: float) -> None:
    rng = np.random.default_rng(5)
    grid = Grid(
        crs="",
        left=CANVAS.left + 30 + shift,
        top=CANVAS.top - 50 + shift,
        pixel_width=pixel,
        pixel_height=pixel,
        width=90,
        height=90,
    )
    window = Window(row=3, col=7, height=41, width=37)
    a, b = rng.integers(0, 250, (2, 3, *window.shape)).astype(dtype)
    valid = rng.random(window.shape) < 0.7 if masked else None
    if valid is not None:
        valid[:20, :20] = False
    blocks = measure(a, b, valid, grid, window, 8)
    slow = sum_slowly(a, b, valid, grid, window, 8)
    assert list(zip(blocks.row.tolist(), blocks.col.tolist(), strict=True)) == sorted(slow)
    expected = np.array([slow[place] for place in sorted(slow)]).T
    np.testing.assert_array_equal(blocks.count, expected[0])
    np.testing.assert_allclose(np.stack([blocks.x, blocks.y]), expected[1:3], rtol=1e-15)
    np.testing.assert_array_equal(blocks.sums.reshape(15, -1), expected[3:])
    assert blocks.whole == (8 * 10 / pixel) ** 2
    assert (blocks.row.dtype, blocks.col.dtype, blocks.count.dtype) == (np.int32, np.int32, np.int64)


def test_invalid_pixels_may_hold_anything_and_arguments_stay_as_they_are() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(100, 10, (2, 2, 32, 32))
    valid = rng.random((32, 32)) < 0.5
    window = Window(row=0, col=0, height=32, width=32)
    clean = measure(a, b, valid, CANVAS, window, 16)
    a[:, ~valid], b[:, ~valid] = np.nan, np.inf
    kept = a.copy()
    assert_equal(measure(a, b, valid, CANVAS, window, 16), clean)
    np.testing.assert_array_equal(a, kept)


def test_a_window_without_a_valid_pixel_has_no_block() -> None:
    zeros = np.zeros((2, 16, 16), np.uint8)
    window = Window(row=0, col=0, height=16, width=16)
    nothing = measure(zeros, zeros, np.zeros((16, 16), np.bool_), CANVAS, window, 16)
    assert nothing.sums.shape == (5, 2, 0)
    assert_equal(merge_matched_blocks([nothing, nothing]), nothing)
    assert coarsen(nothing).count.shape == (0,)


def test_sums_of_16_bits_are_exact_at_the_largest_values() -> None:
    whole = np.full((1, 256, 256), 65535, np.uint16)
    blocks = measure(whole, whole, None, CANVAS, Window(row=0, col=0, height=256, width=256), 256)
    assert int(blocks.sums[2, 0, 0]) == 256 * 256 * 65535**2


def test_parts_of_other_pairs_or_lattices_are_refused() -> None:
    ones = np.ones((1, 16, 16), np.uint8)
    window = Window(row=0, col=0, height=16, width=16)
    part = measure(ones, ones, None, CANVAS, window, 16)
    with pytest.raises(ValueError, match="one pair"):
        merge_matched_blocks([part, measure(ones, ones, None, CANVAS, window, 8)])
    with pytest.raises(ValueError, match="one pair"):
        merge_matched_blocks([part, compute_matched_blocks(("a", "c"), (ones, ones), None, CANVAS, window, CANVAS, 16)])
    with pytest.raises(ValueError, match="nothing"):
        merge_matched_blocks([])


@pytest.mark.parametrize(
    ("window", "pairs", "edge"),
    [
        (Window(row=0, col=0, height=1024, width=1024), 1, 16),
        (Window(row=0, col=0, height=1024, width=1025), 1, 32),
        (Window(row=8, col=8, height=1024, width=1024), 1, 32),
        (Window(row=0, col=0, height=160, width=160), 40_000, 16),
        (Window(row=0, col=0, height=176, width=160), 40_000, 32),
        (Window(row=5, col=5, height=0, width=7), 1, 16),
        (Window(row=-9, col=-9, height=5000, width=5000), 10_000_000, 4096 * 2),
    ],
)
def test_the_edge_doubles_until_blocks_are_few_enough(window: Window, pairs: int, edge: int) -> None:
    assert choose_edge(window, pairs) == edge


def test_the_size_is_the_least_edge() -> None:
    assert choose_edge(Window(row=0, col=0, height=100, width=100), 1, size=24) == 24
    assert choose_edge(Window(row=0, col=0, height=3000, width=3000), 1, size=24) == 48
