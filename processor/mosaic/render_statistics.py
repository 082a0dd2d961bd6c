"""Render statistics: what is counted while a mosaic is rendered, of a window, a tile or the whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processor.errors import InputError
from processor.model import Moments
from processor.mosaic.measure import mask_grid
from processor.mosaic.plan import Plan
from processor.mosaic.render import RenderedWindow
from processor.stages.statistics import empty_moments, merge_moments

__all__ = ["RenderCounter", "RenderStatistics"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RenderStatistics:
    """Sums over a part of the mosaic; those of all parts together do not depend on how it was cut."""

    moments: tuple[tuple[tuple[int, int], Moments], ...]
    """Of the valid pixels of each block, with the block's (row, column)."""
    scenes: NDArray[np.int64]
    """Scene indexes that occur, int64 (n,), ascending, 0 for nodata."""
    counts: NDArray[np.int64]
    """Number of pixels of each of them, int64 (n,)."""
    filled: int
    """Pixels whose cell's owner has none there."""
    mask: NDArray[np.bool_]
    """Cells of the mosaic's mask (:func:`processor.mosaic.measure.mask_grid`) in the part, bool (rows, cols)."""
    mask_row: int
    """Row of the upper left of those cells in the mosaic's mask."""
    mask_col: int
    """Column of the upper left of those cells in the mosaic's mask."""


class RenderCounter:
    """Adds up what is counted, in any order.

    Parameters
    ----------
    plan
        Of the run.
    """

    def __init__(self, plan: Plan) -> None:
        self._bands = plan.bands
        self._moments: dict[tuple[int, int], Moments] = {}
        self._counts = np.zeros(len(plan.scenes) + 1, np.int64)
        self._filled = 0
        self._grid = mask_grid(plan.grid)
        self._mask = np.zeros(self._grid.shape, np.bool_)
        self._ends = [self._grid.height, self._grid.width, 0, 0]  # of the cells that were touched

    def add(self, piece: RenderedWindow | RenderStatistics) -> None:
        """Count in a window or a part."""
        self._moments.update(piece.moments)
        if isinstance(piece, RenderStatistics):
            self._counts[piece.scenes] += piece.counts
        else:
            self._counts += piece.counts
        self._filled += piece.filled
        row, col = piece.mask_row, piece.mask_col
        row_end, col_end = row + piece.mask.shape[0], col + piece.mask.shape[1]
        self._mask[row:row_end, col:col_end] |= piece.mask
        top, left, bottom, right = self._ends
        self._ends = [min(top, row), min(left, col), max(bottom, row_end), max(right, col_end)]

    def sum_up(self) -> RenderStatistics:
        """What was counted."""
        top, left, bottom, right = self._ends
        scenes = np.flatnonzero(self._counts).astype(np.int64)
        return RenderStatistics(
            moments=tuple((place, self._moments[place]) for place in sorted(self._moments)),
            scenes=scenes,
            counts=self._counts[scenes],
            filled=self._filled,
            mask=self._mask[top:bottom, left:right].copy(),
            mask_row=top,
            mask_col=left,
        )

    @property
    def statistics(self) -> Moments:
        """Moments of all valid pixels, merged in the order of the blocks."""
        if not self._moments:
            return empty_moments(self._bands)
        return merge_moments(self._moments[place] for place in sorted(self._moments))

    @property
    def counts(self) -> NDArray[np.int64]:
        """Pixels by scene index, int64 (scenes + 1,); 0 is nodata."""
        return self._counts

    @property
    def filled(self) -> int:
        """Pixels whose cell's owner has none there."""
        return self._filled

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Where the mosaic has a value, bool, shape of its mask's grid."""
        return self._mask

    def check_pixels(self) -> None:
        """Refuse a mosaic without pixels.

        Raises
        ------
        InputError
            If not one pixel is left.
        """
        if not self._counts[1:].any():
            msg = (
                "the mosaic would have no pixel: voronoi_center_seamline.aoi_path, voronoi_center_seamline.vector_mask or "
                "mask_rasters.vector_mask leaves nothing of any scene; check where they lie, and their CRS"
            )
            raise InputError(msg)
