"""The mosaic averaged to the cells of a check raster, and how much of the check it explains.

A check is never fitted, so that nothing in a run can have learnt from it. Sums are taken block by block while windows are
rendered: no pixel of the mosaic is read again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from processor.stages.statistics import zero_invalid

_LEAST_COVERED: Final = 0.9  # of a cell's pixels, in the mosaic and in the check
_LEAST_CELLS: Final = 10
_ROUNDING: Final = 1e-12  # of the mean square: a variance below is none


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CellSums:
    """Sums over the valid pixels of cells of a lattice, over a part of it."""

    row: int
    """Row of the part's upper left cell in the lattice."""
    col: int
    """Column of the part's upper left cell in the lattice."""
    count: NDArray[np.float64]
    """Valid pixels, or the area for which they stand, in pixels of the lattice's grid; float64 (rows, cols)."""
    sums: NDArray[np.float64]
    """Sums of their values, weighted alike, float64 (bands, rows, cols), units of the raster."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fidelity:
    """How well a mosaic agrees with a check, or with its scenes."""

    name: str
    """Of the check."""
    cell: int
    """Edge of the cells that were compared, pixels of the mosaic."""
    cells: int
    """How many of them both have."""
    explained: NDArray[np.float64]
    """R² of the cells' means after one line a band, float64 (bands,), 0 to 1; NaN where unknown."""


def sum_cells(values: NDArray[np.generic], valid: NDArray[np.bool_], place: tuple[int, int], cell: int) -> CellSums:
    """Sum a window's pixels by cells of a lattice that begins at the grid's upper left corner.

    Parameters
    ----------
    values
        (bands, height, width), any real dtype; invalid pixels may hold anything.
    valid
        bool (height, width).
    place
        Row and column of the window in the grid.
    cell
        Edge of a cell, pixels of the grid.
    """
    rows, cols = ((start + np.arange(size)) // cell for start, size in zip(place, valid.shape, strict=True))
    starts = [np.concatenate([[0], np.flatnonzero(np.diff(index)) + 1]) for index in (rows, cols)]

    def add(plane: NDArray[np.generic]) -> NDArray[np.float64]:
        rowwise = np.add.reduceat(plane, starts[0], axis=0, dtype=np.float64)
        return np.asarray(np.add.reduceat(rowwise, starts[1], axis=1))

    sums = np.stack([add(zero_invalid(band, valid)) for band in values])
    return CellSums(row=int(rows[0]), col=int(cols[0]), count=add(valid), sums=sums)


def merge_cell_sums(parts: Iterable[CellSums], bands: int, shape: tuple[int, int]) -> CellSums:
    """Add up parts, in the order given, on the whole lattice of a shape (rows, cols)."""
    count, sums = np.zeros(shape), np.zeros((bands, *shape))
    for part in parts:
        height, width = part.count.shape
        place = slice(part.row, part.row + height), slice(part.col, part.col + width)
        count[place] += part.count
        sums[:, *place] += part.sums
    return CellSums(row=0, col=0, count=count, sums=sums)


def compute_fidelity(
    mosaic: CellSums, mosaic_pixels: float, check: CellSums, check_pixels: float
) -> tuple[int, NDArray[np.float64]]:
    """R² of the means of a mosaic's cells against a check's, after one line a band: the squared correlation.

    Cells count that both have at least 90 % of; each counts the same.

    Parameters
    ----------
    mosaic, check
        On the same whole lattice.
    mosaic_pixels, check_pixels
        Pixels of a whole cell.

    Returns
    -------
    Number of cells, and float64 (bands,), 0 to 1; NaN with fewer than ten, or where either does not vary.
    """
    used = (mosaic.count >= _LEAST_COVERED * mosaic_pixels) & (check.count >= _LEAST_COVERED * check_pixels)
    cells = int(np.count_nonzero(used))
    if cells < _LEAST_CELLS:
        return cells, np.full(len(mosaic.sums), np.nan)
    first, second = (side.sums[:, used] / side.count[used] for side in (mosaic, check))
    squares = [np.square(side).mean(axis=1) for side in (first, second)]
    first, second = (side - side.mean(axis=1, keepdims=True) for side in (first, second))
    spread = [np.square(side).mean(axis=1) for side in (first, second)]
    varies = (spread[0] > _ROUNDING * squares[0]) & (spread[1] > _ROUNDING * squares[1])
    shared = np.square((first * second).mean(axis=1))
    return cells, np.divide(shared, spread[0] * spread[1], out=np.full(len(shared), np.nan), where=varies)
