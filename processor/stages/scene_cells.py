"""Means of the scenes, as they came, and of the mosaic over the cells of one lattice: how much of the scenes a mosaic keeps.

A few rows of each cell are summed, the same of the scenes and of the mosaic where both have the same pixels, while these are at
hand anyway: no pixel is read again. Cells are so large that a mosaic of any size has at most 4,096 of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from processor.model import Grid, Window
from processor.stages.check_cells import CellSums
from processor.stages.statistics import zero_invalid

_MOST_CELLS: Final = 4096
_LEAST_EDGE: Final = 8  # pixels of the mosaic
_ROWS: Final = 2  # of a cell, that are summed: a window of the mosaic takes 1 % longer


@dataclass(frozen=True, slots=True, kw_only=True)
class CellLattice:
    """Cells of a mosaic's grid, from its upper left corner."""

    edge: int
    """Edge of a cell, pixels of the mosaic; a power of two."""
    step: int
    """Every so many rows of the mosaic one is summed."""
    shape: tuple[int, int]
    """Rows and columns of cells."""

    @property
    def pixels(self) -> int:
        """Pixels of the mosaic that are summed in a whole cell."""
        return self.edge * (self.edge // self.step)


def choose_lattice(grid: Grid) -> CellLattice:
    """The lattice of a mosaic: the smallest cells, of 8, 16, 32 … pixels a side, of which there are no more than 4,096."""
    edge = _LEAST_EDGE
    while math.ceil(grid.height / edge) * math.ceil(grid.width / edge) > _MOST_CELLS:
        edge *= 2
    shape = math.ceil(grid.height / edge), math.ceil(grid.width / edge)
    return CellLattice(edge=edge, step=edge // _ROWS, shape=shape)


def sum_mosaic(
    values: NDArray[np.generic], index: NDArray[np.unsignedinteger], place: tuple[int, int], lattice: CellLattice
) -> CellSums | None:
    """Sum a window of the mosaic by cells.

    Parameters
    ----------
    values
        (bands, height, width), any real dtype; pixels without a scene may hold anything.
    index
        (height, width): the scene of each pixel, 0 where there is none.
    place
        Row and column of the window in the mosaic's grid.
    lattice
        Of the mosaic.

    Returns
    -------
    Sums over the pixels of the rows chosen; None where the window has none of these rows.
    """
    phase = _find_phase(place[0], lattice.step)
    row_cells = (place[0] + np.arange(phase, index.shape[0], lattice.step)) // lattice.edge
    col_cells = (place[1] + np.arange(index.shape[1])) // lattice.edge
    chosen = slice(phase, None, lattice.step)
    return _sum_rows(values[:, chosen], index[chosen] > 0, row_cells, col_cells, 1.0)


def sum_scene(
    values: NDArray[np.generic],
    valid: NDArray[np.bool_] | None,
    grid: Grid,
    window: Window,
    mosaic: Grid,
    lattice: CellLattice,
) -> CellSums | None:
    """Sum a window of a scene's grid by cells of the mosaic's lattice; a pixel counts in the cell that holds its centre.

    Parameters
    ----------
    values, valid
        (bands, height, width), any real dtype, and (height, width), True where valid; None: everywhere.
    grid, window
        Where those pixels lie: a window of the grid on which the scene is measured.
    mosaic, lattice
        Grid of the mosaic, and its lattice.

    Returns
    -------
    Sums weighted by the area for which a pixel stands, pixels of the mosaic; None where no row is chosen in the window.
    """
    height, width = grid.pixel_height / mosaic.pixel_height, grid.pixel_width / mosaic.pixel_width
    down = (mosaic.top - grid.top) / mosaic.pixel_height + (window.row + np.arange(window.height) + 0.5) * height
    across = (grid.left - mosaic.left) / mosaic.pixel_width + (window.col + np.arange(window.width) + 0.5) * width
    place = np.floor(down).astype(np.int64)
    step = max(1, math.floor(lattice.step / height))
    is_same = step == lattice.step and len(place)  # pixels as large as the mosaic's: the same rows
    chosen = slice(_find_phase(int(place[0]) if is_same else window.row, step), None, step)
    row_cells = (place[chosen] // lattice.edge).clip(0, lattice.shape[0] - 1)
    col_cells = (np.floor(across).astype(np.int64) // lattice.edge).clip(0, lattice.shape[1] - 1)
    mask = None if valid is None else valid[chosen]
    return _sum_rows(values[:, chosen], mask, row_cells, col_cells, step * height * width)


def _find_phase(row: int, step: int) -> int:
    """The first row from a row on, counted from it, whose number leaves half a step."""
    return (step // 2 - row) % step


def _sum_rows(
    values: NDArray[np.generic],
    valid: NDArray[np.bool_] | None,
    row_cells: NDArray[np.integer],
    col_cells: NDArray[np.integer],
    area: float,
) -> CellSums | None:
    """Sums over the rows chosen of a window, whose rows and columns lie in ascending cells; each pixel counts as its area."""
    if not len(row_cells) or not len(col_cells):
        return None
    row_starts, col_starts = _find_runs(row_cells), _find_runs(col_cells)

    def add(plane: NDArray[np.generic]) -> NDArray[np.float64]:
        colwise = np.add.reduceat(plane, col_starts, axis=-1, dtype=np.float64)
        return np.asarray(area * np.add.reduceat(colwise, row_starts, axis=-2))

    if valid is None or valid.all():
        heights, widths = np.diff(row_starts, append=len(row_cells)), np.diff(col_starts, append=len(col_cells))
        count, sums = area * np.multiply.outer(heights, widths), add(values)
    else:
        count, sums = add(valid), add(zero_invalid(values, valid))
    first, last = (int(row_cells[0]), int(col_cells[0])), (int(row_cells[-1]), int(col_cells[-1]))
    shape = last[0] - first[0] + 1, last[1] - first[1] + 1
    if shape != count.shape:  # cells that no pixel's centre lies in
        row, col = np.ix_(row_cells[row_starts] - first[0], col_cells[col_starts] - first[1])
        few, count, sums = (count, sums), np.zeros(shape), np.zeros((len(sums), *shape))
        count[row, col], sums[:, row, col] = few
    return CellSums(row=first[0], col=first[1], count=count, sums=sums)


def _find_runs(index: NDArray[np.integer]) -> NDArray[np.intp]:
    """Where runs of an equal index begin."""
    return np.concatenate([np.zeros(1, np.intp), np.flatnonzero(np.diff(index)) + 1])
