"""The footprint of a scene: the outline of its valid pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio.features
import shapely
from affine import Affine
from shapely import MultiPolygon, Polygon

from processor.errors import InputError
from processor.model import Grid
from processor.stages.seamlines.partition import collect_polygons

if TYPE_CHECKING:
    from numpy.typing import NDArray


def compute_footprint(mask: NDArray[np.bool_], grid: Grid) -> Polygon | MultiPolygon:
    """Outline the valid pixels of a scene.

    Parameters
    ----------
    mask
        bool (height, width), True = valid.
    grid
        Grid of the mask.

    Returns
    -------
    Polygon or MultiPolygon
        All parts, 8-connected, in CRS units; empty where no pixel is valid.

    Raises
    ------
    InputError
        If the mask does not have the grid's shape.

    """
    if mask.shape != grid.shape:
        msg = f"the validity mask has shape {mask.shape}, but its grid has {grid.shape}; pass the mask of the same grid"
        raise InputError(msg)
    parts = _outline(mask, Affine(*grid.transform))
    # Pixels that meet at a corner make a ring touch itself, which is valid only as several rings.
    touching = np.flatnonzero(~shapely.is_valid(parts))
    parts[touching] = shapely.make_valid(parts[touching], method="structure", keep_collapsed=False)
    return collect_polygons(parts)


def _outline(mask: NDArray[np.bool_], transform: Affine) -> NDArray[Any]:
    """Outlines of the 8-connected parts of a mask, object (n,), along the edges of its pixels.

    Rows and columns that repeat the one before have no corner of an outline between them, so they are traced as one: a full
    frame of 2048 x 2048 pixels takes 3 ms instead of 70.
    """
    rows = np.flatnonzero(np.concatenate([[True], (mask[1:] != mask[:-1]).any(axis=1)]))
    distinct = mask[rows]
    cols = np.flatnonzero(np.concatenate([[True], (distinct[:, 1:] != distinct[:, :-1]).any(axis=0)]))
    distinct = np.ascontiguousarray(distinct[:, cols])
    shapes = rasterio.features.shapes(distinct.view(np.uint8), mask=distinct, connectivity=8)
    x_edges = transform.c + np.append(cols, mask.shape[1]) * transform.a
    y_edges = transform.f + np.append(rows, mask.shape[0]) * transform.e

    def place(ring: list[tuple[float, float]]) -> NDArray[np.float64]:
        col, row = np.array(ring, np.intp).T
        return np.column_stack([x_edges[col], y_edges[row]])

    outlines = [[place(ring) for ring in shape["coordinates"]] for shape, _ in shapes]
    return np.array([Polygon(rings[0], rings[1:]) for rings in outlines], dtype=object)
