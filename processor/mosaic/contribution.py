"""Which pixels a scene gives to the mosaic: those of its cell, as far as the user's own files allow.

Masks are computed in fixed pieces of the mosaic's grid, so that a pixel on a border is on the same side in both passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from shapely import Geometry, clip_by_rect

from processor.model import Grid, Window
from processor.mosaic.plan import BLOCK_EDGE, Plan
from processor.stages.clip.mask_rasters import compute_cell_mask, compute_owners, compute_region_mask

_MARGIN = 2.0  # pixels kept around a window when a polygon is clipped to it
_Number = TypeVar("_Number", np.bool_, np.uint16)


def burn_owners(grid: Grid, cells: Mapping[int, Geometry], window: Window) -> NDArray[np.uint16]:
    """The scene in whose cell each pixel's centre lies: position plus 1, (height, width); 0 where it lies in none.

    Parameters
    ----------
    cells
        By position: all whose border may lie in the window, so that a centre on it has one owner.
    """

    def compute(block: Window) -> NDArray[np.uint16]:
        clipped = {position + 1: _clip(cell, grid, block) for position, cell in cells.items()}
        return compute_owners(clipped, grid, block)

    return _by_blocks(grid, window, compute, np.uint16)


def burn_touched(grid: Grid, polygon: Geometry, window: Window) -> NDArray[np.bool_]:
    """The pixels of a window that a polygon touches, (height, width)."""
    return _by_blocks(grid, window, partial(_burn, grid, polygon, touched=True), np.bool_)


def compute_area_mask(plan: Plan, window: Window) -> NDArray[np.bool_] | None:
    """The pixels of a window of the mosaic's grid in the area of interest, (height, width); None: there is no such area."""
    area = plan.methods.seamlines.area
    if not plan.methods.cuts_by_cells or area is None:
        return None
    touched = plan.methods.clip.keeps_touched
    return _by_blocks(plan.grid, window, partial(_burn, plan.grid, area, touched=touched), np.bool_)


def compute_scene_mask(plan: Plan, position: int, window: Window) -> NDArray[np.bool_] | None:
    """The pixels of a window of the mosaic's grid that a scene may give, (height, width); None: all.

    The area of interest, which is the same for all scenes, is not in it.
    """
    name, grid, clip = plan.scenes[position].name, plan.grid, plan.methods.clip
    if clip.region is not None:
        compute = partial(compute_region_mask, clip.region, name, grid, include_touched_pixels=clip.keeps_touched)
        return _by_blocks(grid, window, compute, np.bool_)
    footprints = plan.methods.seamlines.footprints
    if not plan.methods.cuts_by_cells or footprints is None:
        return None
    return _by_blocks(grid, window, partial(_burn, grid, footprints.geometries[name], touched=clip.keeps_touched), np.bool_)


def _burn(grid: Grid, polygon: Geometry, block: Window, *, touched: bool) -> NDArray[np.bool_]:
    return compute_cell_mask(_clip(polygon, grid, block), grid, block, include_touched_pixels=touched)


def _clip(polygon: Geometry, grid: Grid, window: Window) -> Geometry:
    """The part of a polygon in a window and a little around it: enough to burn it there, and small."""
    bounds = grid.window_bounds(window)
    x, y = _MARGIN * grid.pixel_width, _MARGIN * grid.pixel_height
    return clip_by_rect(polygon, bounds.left - x, bounds.bottom - y, bounds.right + x, bounds.top + y)


def _by_blocks(
    grid: Grid, window: Window, compute: Callable[[Window], NDArray[_Number]], dtype: type[_Number]
) -> NDArray[_Number]:
    """An array over a window, computed in whole blocks of the grid."""
    burned: NDArray[_Number] = np.zeros(window.shape, dtype)
    for row in range(window.row // BLOCK_EDGE * BLOCK_EDGE, window.row_end, BLOCK_EDGE):
        for col in range(window.col // BLOCK_EDGE * BLOCK_EDGE, window.col_end, BLOCK_EDGE):
            height, width = min(BLOCK_EDGE, grid.height - row), min(BLOCK_EDGE, grid.width - col)
            block = Window(row=row, col=col, height=height, width=width)
            shared = block.intersection(window)
            if shared is not None:
                burned[shared.slices_in(window)] = compute(block)[shared.slices_in(block)]
    return burned
