"""Stage 5, mask rasters: each scene keeps the pixels of its cell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.transform import Affine
from shapely import Geometry, MultiPolygon, Polygon, box, clip_by_rect, difference

from processor.model import Grid, Window
from processor.model.options import Paths
from processor.stages.clip.method import ClipMethod
from processor.stages.clip.options import MaskRastersOptions
from processor.stages.method import Region


def _transform(grid: Grid, window: Window) -> Affine:
    return Affine(*grid.subgrid(window).transform)


def _keep_area(geometry: Geometry) -> Geometry:
    """The polygons of a geometry: clipping can leave points and lines beside them, which rasterizing would burn."""
    if isinstance(geometry, Polygon | MultiPolygon):
        return geometry
    parts = [part for part in getattr(geometry, "geoms", ()) if isinstance(part, Polygon | MultiPolygon)]
    return MultiPolygon([polygon for part in parts for polygon in getattr(part, "geoms", (part,)) if not polygon.is_empty])


def compute_cell_mask(polygon: Geometry, grid: Grid, window: Window, *, include_touched_pixels: bool) -> NDArray[np.bool_]:
    """The pixels of a window whose centre lies in a polygon, or, with ``include_touched_pixels``, that it touches.

    A centre exactly on the border may count as inside; that of two polygons that share the border is inside at least one.

    Returns
    -------
    (height, width), True inside.
    """
    area = _keep_area(polygon)
    if area.is_empty:
        return np.zeros(window.shape, np.bool_)
    burned = rasterize(
        [(area, 1)],
        out_shape=window.shape,
        transform=_transform(grid, window),
        all_touched=include_touched_pixels,
        dtype=np.uint8,
    )
    return np.asarray(burned, dtype=np.bool_)


def compute_owners(polygons: dict[int, Geometry], grid: Grid, window: Window) -> NDArray[np.uint16]:
    """Which cell each pixel's centre lies in.

    Parameters
    ----------
    polygons
        Cells by number, 1 and up; they do not overlap. Where a centre lies on a border, the higher number has it.
    grid, window
        Where the pixels lie.

    Returns
    -------
    (height, width), uint16, 0 where no cell is.
    """
    areas = {number: _keep_area(polygon) for number, polygon in sorted(polygons.items())}
    shapes = [(area, number) for number, area in areas.items() if not area.is_empty]
    if not shapes:
        return np.zeros(window.shape, np.uint16)
    burned = rasterize(shapes, out_shape=window.shape, transform=_transform(grid, window), dtype=np.uint16)
    return np.asarray(burned, dtype=np.uint16)


def compute_region_mask(
    region: Region, scene: str, grid: Grid, window: Window, *, include_touched_pixels: bool = False
) -> NDArray[np.bool_]:
    """The pixels of a window that a region allows a scene, by their centres, or, if so wanted, that it touches.

    Returns
    -------
    (height, width), True where allowed.
    """
    geometry = region.geometries.get(scene)
    bounds = grid.window_bounds(window)
    outline = box(
        bounds.left - grid.pixel_width,
        bounds.bottom - grid.pixel_height,
        bounds.right + grid.pixel_width,
        bounds.top + grid.pixel_height,
    )
    inside = _keep_area(clip_by_rect(_keep_area(geometry), *outline.bounds)) if geometry is not None else Polygon()
    allowed = inside if region.is_included else difference(outline, inside)
    return compute_cell_mask(allowed, grid, window, include_touched_pixels=include_touched_pixels)


class MaskRasters(ClipMethod[MaskRastersOptions]):
    """Cuts each scene by its cell, or by the user's vector file."""

    @property
    def output_images(self) -> Paths | None:
        """As configured."""
        return self.options.output_images

    @property
    def has_region(self) -> bool:
        """Whether ``vector_mask`` is given."""
        return self.options.vector_mask is not None

    @property
    def region(self) -> Region | None:
        """Of ``vector_mask``."""
        return self.files.get("vector_mask", Region)

    @property
    def keeps_touched(self) -> bool:
        """As configured."""
        return self.options.include_touched_pixels
