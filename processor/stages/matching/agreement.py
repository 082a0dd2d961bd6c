"""The map of agreement: where the scenes differ by gain and offset alone, and where there are clouds, shadows and change."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from processor.model import BlockGrid, BlockMap, Bounds, Grid
from processor.stages.files import BlockRaster
from processor.stages.matching.block_weights import BlockTable

_MOST_CELLS: Final = 4_000_000
_LEAST_TRUST: Final = 0.05


def draw_agreement(table: BlockTable, weights: NDArray[np.float64], canvas: Grid) -> BlockMap | None:
    """Weights of blocks on the canvas, one band, 0 to 1; NaN where no scenes overlap. None without any block.

    A cell has the mean over all pairs, weighted by pixels, of what the residuals of a block say: its weight without the
    part that its texture has in it. A block counts in the cell that holds the mean position of its pixels; cells are as large
    as the largest blocks, so that each block of the canvas's lattices lies in one.

    Parameters
    ----------
    table, weights
        Of all pairs; weights float64 (n,).
    canvas
        Grid on which the lattices hang.
    """
    if not len(weights):
        return None
    edge = math.ceil(table.edge.max())
    while math.ceil(canvas.height / edge) * math.ceil(canvas.width / edge) > _MOST_CELLS:
        edge *= 2
    rows, cols = math.ceil(canvas.height / edge), math.ceil(canvas.width / edge)
    row = np.floor((canvas.top - table.y) / (edge * canvas.pixel_height)).clip(0, rows - 1)
    col = np.floor((table.x - canvas.left) / (edge * canvas.pixel_width)).clip(0, cols - 1)
    cell = row.astype(np.intp) * cols + col.astype(np.intp)
    agreement = weights / table.rho.clip(_LEAST_TRUST, 1.0) * table.count
    total = np.bincount(cell, agreement, minlength=rows * cols)
    count = np.bincount(cell, table.count, minlength=rows * cols)
    values = np.divide(total, count, out=np.full(rows * cols, np.nan), where=count > 0)
    bounds = Bounds(
        left=canvas.left,
        bottom=canvas.top - rows * edge * canvas.pixel_height,
        right=canvas.left + cols * edge * canvas.pixel_width,
        top=canvas.top,
    )
    grid = BlockGrid(bounds=bounds, rows=rows, cols=cols)
    return BlockMap(name="agreement", grid=grid, values=values.clip(0.0, 1.0).reshape(1, rows, cols))


def make_agreement_raster(agreement: BlockMap) -> BlockRaster:
    """The map as a published file."""
    return BlockRaster(
        key="agreement",
        path="agreement.tif",
        title="Agreement of the scenes in the blocks of their overlaps: 0 under clouds and change",
        blocks=agreement,
        bands=("agreement",),
    )


def compute_scene_agreement(table: BlockTable) -> dict[str, float]:
    """Mean correlation inside the blocks that a scene shares with others, weighted by pixels, by name: clouds destroy it.

    A scene without blocks is not in it.
    """
    totals, counts = np.zeros(len(table.names)), np.zeros(len(table.names))
    for side in (table.first, table.second):
        scene = table.spread(side)
        totals += np.bincount(scene, table.rho * table.count, minlength=len(totals))
        counts += np.bincount(scene, table.count, minlength=len(counts))
    known = zip(table.names, totals.tolist(), counts.tolist(), strict=True)
    return {name: total / count for name, total, count in known if count > 0}
