"""Moments of matched blocks do not depend on how a pair's pixels are cut, and a coarser lattice is their sum."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from processor.model import Grid, Window
from processor.stages.matching.matched_blocks import MatchedBlocks, coarsen, compute_matched_blocks, merge_matched_blocks

SEEDS = st.integers(0, 2**32 - 1)
CANVAS = Grid(crs="", left=-3.3, top=7.7, pixel_width=0.1, pixel_height=0.1, width=300, height=300)


def assert_equal(one: MatchedBlocks, other: MatchedBlocks) -> None:
    for field in fields(MatchedBlocks):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), err_msg=field.name)


def cut(window: Window, cuts: list[tuple[int, int]]) -> list[Window]:
    """Windows that tile a window, cut again and again at rows and columns."""
    parts = [window]
    for number, (which, at) in enumerate(cuts):
        part = parts.pop(which % len(parts))
        if number % 2:
            low = at % part.height
            new = [
                Window(row=part.row, col=part.col, height=low, width=part.width),
                Window(row=part.row + low, col=part.col, height=part.height - low, width=part.width),
            ]
        else:
            low = at % part.width
            new = [
                Window(row=part.row, col=part.col, height=part.height, width=low),
                Window(row=part.row, col=part.col + low, height=part.height, width=part.width - low),
            ]
        parts += [one for one in new if not one.is_empty]
    return parts


@given(
    SEEDS,
    st.sampled_from(["uint8", "int8", "uint16", "int16"]),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([1, 3, 8, 16]),
    st.sampled_from([0.1, 0.07, 0.25]),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 40)), max_size=6),
)
@examples(100)
def test_parts_however_cut_merge_into_the_whole_to_the_last_bit(
    seed: int, dtype: str, height: int, width: int, edge: int, pixel: float, masked: bool, cuts: list[tuple[int, int]]
) -> None:
    rng = np.random.default_rng(seed)
    kind = np.iinfo(dtype)
    grid = Grid(crs="", left=-2.0, top=5.0, pixel_width=pixel, pixel_height=pixel, width=100, height=100)
    window = Window(row=int(rng.integers(0, 50)), col=int(rng.integers(0, 50)), height=height, width=width)
    a, b = rng.integers(kind.min, kind.max, (2, 2, height, width), dtype=dtype, endpoint=True)
    valid = rng.random((height, width)) < rng.random() if masked else None

    def measure(part: Window, size: int) -> MatchedBlocks:
        rows, cols = part.slices_in(window)
        held: NDArray[np.bool_] | None = None if valid is None else valid[rows, cols]
        return compute_matched_blocks(("a", "b"), (a[:, rows, cols], b[:, rows, cols]), held, grid, part, CANVAS, size)

    whole = measure(window, edge)
    parts = [measure(part, edge) for part in cut(window, cuts)]
    merged = merge_matched_blocks(parts)
    assert_equal(merged, whole)
    assert_equal(merge_matched_blocks(parts[::-1]), whole)
    assert_equal(coarsen(merged), measure(window, 2 * edge))
    assert_equal(coarsen(coarsen(whole)), measure(window, 4 * edge))
