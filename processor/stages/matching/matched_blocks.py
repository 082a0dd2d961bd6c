"""Moments of matched blocks: sums over the common pixels of a pair, on one lattice of the canvas.

What robust matching, illumination, surfaces, least-difference seamlines and the report's figures are solved from. The lattice
hangs on the canvas, so that the blocks of all pairs, chunks and tasks lie on the same lines, and a lattice of twice the edge is
a sum of it. A block's means, variances, its correlation and its mean squared difference after any gain and offset follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from processor.model import Grid, Window
from processor.stages.statistics import zero_invalid

_BLOCKS_A_PAIR: Final = 4096
_FINE_BLOCKS_A_PAIR: Final = 32_768
_BLOCKS_AGAINST_REFERENCE: Final = 65_536  # small kernels live on many
_BLOCKS_A_RUN: Final = 4_000_000
_STEP: Final = 1 / 1024  # canvas pixels: positions are multiples of it, so that their sums are exact in any order
_STRIP: Final = 65_536  # values of a scene widened at a time: both scenes' stay in the second-level cache


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MatchedBlocks:
    """Sums over the common valid pixels of a pair, block by block, in order of (row, col); blocks without a pixel are left out.

    Integer pixels of up to 16 bits are summed exactly.
    """

    first: str
    """Name of the scene that comes first in name order, or of the part of it; a below."""
    second: str
    """Name of the other scene; b below."""
    edge: float
    """Edge of a block, pixels of the canvas; a fraction against a reference."""
    whole: float
    """Measured pixels in a whole block; a fraction where they are not the canvas's own."""
    row: NDArray[np.int32]
    """Rows of the blocks in the lattice, int32 (n,); row 0 begins at the top edge of the canvas or the reference."""
    col: NDArray[np.int32]
    """Columns of the blocks in the lattice, int32 (n,); column 0 begins at the left edge of the canvas or the reference."""
    count: NDArray[np.int64]
    """Common valid pixels, int64 (n,); positive."""
    x: NDArray[np.float64]
    """Sum over those pixels of the distance from the canvas's left edge to the pixel centre, float64 (n,), canvas pixels."""
    y: NDArray[np.float64]
    """Sum over those pixels of the distance from the canvas's top edge to the pixel centre, float64 (n,), canvas pixels."""
    sums: NDArray[np.float64]
    """Sums of a, b, a², b² and ab over those pixels, float64 (5, bands, n), source units and their squares."""


def choose_edge(overlap: Window, pairs: int, *, size: int = 16) -> int:
    """Edge of a pair's blocks in canvas pixels: the least of size, 2 size, 4 size … that keeps their number bounded.

    A pair has at most 4,096 blocks and a run about four million: then a pair has that many divided by the number of pairs, but
    always four.

    Parameters
    ----------
    overlap
        What the scenes' bounds share, pixels of the canvas; as planned, whatever is valid in it.
    pairs
        Number of pairs of the run.
    size
        Smallest edge, canvas pixels; positive.
    """
    edge = size
    while not overlap.is_empty and _count_cells(overlap, edge) > most_blocks(pairs):
        edge *= 2
    return edge


def choose_fine_edge(overlap: Window, pairs: int, *, edge: int, least: int) -> int:
    """Edge of the fine blocks of a pair in canvas pixels: its blocks' edge, halved while their number is bounded.

    A pair has at most 32,768 fine blocks and a run about four million.

    Parameters
    ----------
    overlap, pairs
        As for :func:`choose_edge`.
    edge
        Of the pair's blocks.
    least
        Smallest edge, canvas pixels; positive.
    """
    most = min(_FINE_BLOCKS_A_PAIR, _BLOCKS_A_RUN // max(pairs, 1))
    while edge % 2 == 0 and edge // 2 >= least and _count_cells(overlap, edge // 2) <= most:
        edge //= 2
    return edge


def most_blocks(pairs: int, *, is_reference: bool = False) -> int:
    """Blocks of a pair, or of a scene against a reference, at most, in a run with so many pairs; at least four."""
    most = _BLOCKS_AGAINST_REFERENCE if is_reference else _BLOCKS_A_PAIR
    return max(4, min(most, _BLOCKS_A_RUN // max(pairs, 1)))


def _count_cells(window: Window, edge: int) -> int:
    rows = (window.row_end - 1) // edge - window.row // edge + 1
    cols = (window.col_end - 1) // edge - window.col // edge + 1
    return rows * cols


def compute_matched_blocks(
    names: tuple[str, str],
    values: tuple[NDArray[np.generic], NDArray[np.generic]],
    valid: NDArray[np.bool_] | None,
    grid: Grid,
    window: Window,
    canvas: Grid,
    edge: int,
) -> MatchedBlocks:
    """Sum the pixels that two scenes share in a window, block by block. A pixel counts in the block that holds its centre.

    Parameters
    ----------
    names
        Of the two scenes.
    values
        Pixels of the two scenes, each (bands, height, width), any real dtype, source units; invalid ones may hold anything.
    valid
        (height, width), True where both are valid; None: everywhere.
    grid, window
        Where those pixels lie: a window of the grid on which the pair is compared.
    canvas
        Grid of the mosaic, on which the lattice hangs.
    edge
        Of a block, canvas pixels.
    """
    across, down = list_positions(grid, window, canvas)
    rows, cols = np.floor(down / edge).astype(np.int32), np.floor(across / edge).astype(np.int32)
    row_starts, col_starts = _find_runs(rows), _find_runs(cols)
    count, x, y = _sum_positions(valid, across, down, row_starts, col_starts)
    sums = _sum_products(*values, valid, row_starts, col_starts)
    row, col = np.nonzero(count)
    return MatchedBlocks(
        first=names[0],
        second=names[1],
        edge=edge,
        whole=edge * edge * (canvas.pixel_width / grid.pixel_width) * (canvas.pixel_height / grid.pixel_height),
        row=rows[row_starts][row],
        col=cols[col_starts][col],
        count=count[row, col],
        x=x[row, col],
        y=y[row, col],
        sums=sums[:, :, row, col],
    )


def list_positions(grid: Grid, window: Window, canvas: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances of pixel centres from the canvas's left edge (width,) and from its top edge (height,), canvas pixels.

    They are multiples of 1/1024, so that their sums are exact in any order.
    """
    across = grid.left - canvas.left + (window.col + np.arange(window.width) + 0.5) * grid.pixel_width
    down = canvas.top - grid.top + (window.row + np.arange(window.height) + 0.5) * grid.pixel_height
    return _quantise(across / canvas.pixel_width), _quantise(down / canvas.pixel_height)


def _quantise(position: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(np.rint(position / _STEP) * _STEP, dtype=np.float64)


def _find_runs(index: NDArray[np.int32]) -> NDArray[np.intp]:
    """Where runs of an equal index begin."""
    return np.concatenate([np.zeros(min(1, len(index)), np.intp), np.flatnonzero(np.diff(index)) + 1])


def _sum_positions(
    valid: NDArray[np.bool_] | None,
    across: NDArray[np.float64],
    down: NDArray[np.float64],
    row_starts: NDArray[np.intp],
    col_starts: NDArray[np.intp],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Number of valid pixels of each run of rows and columns, and the sums of their positions: (row runs, column runs) each."""
    if valid is None:
        heights, widths = np.diff(row_starts, append=len(down)), np.diff(col_starts, append=len(across))
        count = np.multiply.outer(heights, widths).astype(np.int64)
        x = np.multiply.outer(heights, np.add.reduceat(across, col_starts))
        y = np.multiply.outer(np.add.reduceat(down, row_starts), widths)
        return count, x, y
    ones = valid.view(np.uint8)
    by_column = np.add.reduceat(ones, row_starts, axis=0, dtype=np.float64)
    by_row = np.add.reduceat(ones, col_starts, axis=1, dtype=np.float64)
    return (
        np.add.reduceat(by_column, col_starts, axis=1).astype(np.int64),
        np.add.reduceat(by_column * across, col_starts, axis=1),
        np.add.reduceat(by_row * down[:, None], row_starts, axis=0),
    )


def _sum_products(
    first: NDArray[np.generic],
    second: NDArray[np.generic],
    valid: NDArray[np.bool_] | None,
    row_starts: NDArray[np.intp],
    col_starts: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Sums of a, b, a², b² and ab, float64 (5, bands, row runs, column runs); rows first, in strips that stay in the cache."""
    bands, height, width = first.shape
    by_column = np.zeros((5, bands, len(row_starts), width))
    strip = max(1, _STRIP // max(bands * width, 1))
    ends = [*row_starts[1:].tolist(), height]
    for run, (start, end) in enumerate(zip(row_starts.tolist(), ends, strict=True)):
        for row in range(start, end, strip):
            rows = slice(row, min(row + strip, end))
            a, b = (_widen(scene[:, rows], None if valid is None else valid[rows]) for scene in (first, second))
            for number, scene in enumerate((a, b)):
                by_column[number, :, run] += scene.sum(axis=1)
            for number, (one, other) in enumerate(((a, a), (b, b), (a, b)), start=2):
                by_column[number, :, run] += np.einsum("brw,brw->bw", one, other)
    return np.asarray(np.add.reduceat(by_column, col_starts, axis=3))


def _widen(values: NDArray[np.generic], valid: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    return (values if valid is None else zero_invalid(values, valid)).astype(np.float64)


def merge_matched_blocks(parts: Sequence[MatchedBlocks]) -> MatchedBlocks:
    """Sum the parts of one pair, which must have the same edge, in the order given; a block may be in one part repeatedly.

    Raises
    ------
    ValueError
        If there is no part at all, or if they are of different pairs, lattices or grids.
    """
    if not parts:
        msg = "nothing to merge"
        raise ValueError(msg)
    kinds = sorted({(part.first, part.second, part.edge, part.whole) for part in parts})
    if len(kinds) > 1:
        msg = f"only blocks of one pair, edge and grid can be merged, got {kinds}"
        raise ValueError(msg)
    first = parts[0]
    return _sum_cells(
        first,
        edge=first.edge,
        whole=first.whole,
        row=np.concatenate([part.row for part in parts]),
        col=np.concatenate([part.col for part in parts]),
        count=np.concatenate([part.count for part in parts]),
        positions=np.concatenate([np.stack([part.x, part.y]) for part in parts], axis=1),
        sums=np.concatenate([part.sums for part in parts], axis=2),
    )


def coarsen(blocks: MatchedBlocks) -> MatchedBlocks:
    """The same on a lattice of twice the edge, four blocks in one: what measuring with that edge gives."""
    return _sum_cells(
        blocks,
        edge=2 * blocks.edge,
        whole=4 * blocks.whole,
        row=blocks.row // 2,
        col=blocks.col // 2,
        count=blocks.count,
        positions=np.stack([blocks.x, blocks.y]),
        sums=blocks.sums,
    )


def _sum_cells(
    blocks: MatchedBlocks,
    *,
    edge: float,
    whole: float,
    row: NDArray[np.int32],
    col: NDArray[np.int32],
    count: NDArray[np.int64],
    positions: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> MatchedBlocks:
    """Add up what has the same row and column, in the order given, and sort it by them; the names are those of ``blocks``."""
    order = np.lexsort((col, row))  # stable
    row, col = row[order], col[order]
    changes = (np.diff(row) != 0) | (np.diff(col) != 0)
    starts = np.concatenate([np.zeros(min(1, len(row)), np.intp), np.flatnonzero(changes) + 1])
    if len(starts) == len(row):
        count, positions, sums = count[order], positions[:, order], sums[:, :, order]
    else:
        count = np.add.reduceat(count[order], starts)
        positions = np.add.reduceat(positions[:, order], starts, axis=1)
        sums = np.add.reduceat(sums[:, :, order], starts, axis=2)
    return MatchedBlocks(
        first=blocks.first,
        second=blocks.second,
        edge=edge,
        whole=whole,
        row=row[starts],
        col=col[starts],
        count=count,
        x=positions[0],
        y=positions[1],
        sums=sums,
    )
