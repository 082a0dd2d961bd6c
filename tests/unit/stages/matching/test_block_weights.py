"""Correlations with a reference from the blocks around: by their places, however far apart these are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from processor.model import Bounds, Grid
from processor.stages.matching.block_weights import make_block_table
from processor.stages.matching.matched_blocks import MatchedBlocks
from processor.stages.matching.reference_fit import fit_in_kernels

CANVAS = Grid(crs="EPSG:32633", left=0.0, top=0.0, pixel_width=1.0, pixel_height=1.0, width=1 << 20, height=1 << 20)
WORLD = Bounds(left=-1e12, bottom=-1e12, right=1e12, top=1e12)


def make_blocks(
    row: NDArray[np.int32], col: NDArray[np.int32], *, second: str = "reference:r", edge: float = 8
) -> MatchedBlocks:
    """Blocks of one band, whole, of a scene "a" and a reference."""
    random = np.random.default_rng(len(row))
    count = np.full(len(row), 64, np.int64)
    a = random.normal(100, 10, len(row))
    b = a + random.normal(0, 5, len(row))
    return MatchedBlocks(
        first="a",
        second=second,
        edge=edge,
        whole=64.0,
        row=row,
        col=col,
        count=count,
        x=count * (col + 0.5) * edge,
        y=count * (row + 0.5) * edge,
        sums=np.stack([a, b, a * a, b * b, a * b])[:, None] * count,
    )


def correlate_densely(blocks: MatchedBlocks) -> NDArray[np.float64]:
    """The correlation over the 5 x 5 blocks around each, on the whole lattice."""
    level = blocks.sums[:2, 0] / blocks.count
    lattice = np.full((2, blocks.row.max() + 5, blocks.col.max() + 5), np.nan)
    lattice[:, blocks.row + 2, blocks.col + 2] = level
    found = np.zeros(len(blocks.row))
    for number, (row, col) in enumerate(zip(blocks.row, blocks.col, strict=True)):
        near = lattice[:, row : row + 5, col : col + 5].reshape(2, -1)
        near = near[:, np.isfinite(near[0])]
        if near.shape[1] >= 5:
            found[number] = np.corrcoef(near)[0, 1]
    return found


def test_correlations_are_those_of_the_blocks_around() -> None:
    random = np.random.default_rng(3)
    row, col = np.nonzero(random.random((20, 30)) < 0.4)
    blocks = make_blocks(row.astype(np.int32), col.astype(np.int32))
    table = make_block_table([blocks], {"a": WORLD, "reference:r": WORLD}, CANVAS, bands=1, references=["reference:r"])
    np.testing.assert_allclose(table.rho, correlate_densely(blocks), atol=1e-9)
    assert np.count_nonzero(table.rho) > 100


def test_blocks_far_apart_take_no_memory_between_them() -> None:
    row = np.repeat(np.array([0, 2**30], np.int32), 25) + np.tile(np.repeat(np.arange(5, dtype=np.int32), 5), 2)
    col = np.repeat(np.array([0, -(2**30)], np.int32), 25) + np.tile(np.arange(5, dtype=np.int32), 10)
    blocks = make_blocks(row.astype(np.int32), col.astype(np.int32))
    table = make_block_table([blocks], {"a": WORLD, "reference:r": WORLD}, CANVAS, bands=1, references=["reference:r"])
    assert np.count_nonzero(table.rho) == 50


@pytest.mark.parametrize("distance", [100, 100_000_000])
def test_small_references_far_apart_are_fitted_on_one_bounded_lattice(distance: int) -> None:
    row, col = (axis.ravel().astype(np.int32) for axis in np.indices((6, 6)))
    near = make_blocks(row, col, second="reference:n")
    far = make_blocks(row + np.int32(distance), col + np.int32(distance), second="reference:f")
    scenes = {"a": WORLD, "reference:f": WORLD, "reference:n": WORLD}
    table = make_block_table([near, far], scenes, CANVAS, bands=1, references=["reference:f", "reference:n"])
    (fit, *_) = fit_in_kernels(table, np.ones(len(table.x)), replace(CANVAS))
    assert fit is not None
    assert fit.gain is not None
    assert fit.gain.size <= 1_000_000
    assert np.isfinite(fit.gain).all()
