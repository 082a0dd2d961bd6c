"""Check rasters: what the finished mosaic is judged by. They are read as references are, and never fitted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pyproj.exceptions import CRSError
from rasterio.crs import CRS

from processor.config.general import Check
from processor.errors import InputError
from processor.model import Grid, Scene
from processor.scenes.references import Known, open_known, unify_known
from processor.stages.align.warp import compute_pixel_ratio, project_bounds
from processor.storage.options import Access

CHECK_PREFIX: Final = "check:"
"""What names of checks begin with, so that none is a scene's."""

_MOST_CELLS: Final = 500_000
_NEARLY: Final = 0.01  # of a pixel: a cell that is smaller than the check's pixel by this is one


def read_checks(setting: Check, scenes: Sequence[Scene], access: Access, *, threads: int) -> Known:
    """Open the checks that the configuration names, and give them the bands of the scenes, in name order.

    Raises
    ------
    InputError
        They cannot be read, or bands of the scenes are missing in one.
    StorageError
        Storage or the network failed.
    """
    opened, known = open_known(setting, access, section="check", threads=threads)
    found = (unify_known(check, scenes[0], setting.bands, section="check") for check in opened)
    return replace(known, scenes=tuple(sorted(found, key=lambda check: check.name)))


def place_check(check: Scene, grid: Grid) -> tuple[Scene, int, int] | None:
    """Put a check on a lattice of the mosaic's grid.

    Returns
    -------
    The check on a lattice whose cells are as large as its own pixels; the edge of those in pixels of the mosaic; and how many a
    side are joined, so that the mosaic has at most 500,000 cells. None where it lies beside the mosaic.

    Raises
    ------
    InputError
        It cannot be projected to the mosaic's CRS.
    """
    placed = _place_on_lattice(check, grid)
    if placed is None:
        return None
    edge = round(placed.grid.pixel_width / grid.pixel_width)
    joined = 1
    while math.ceil(grid.width / (edge * joined)) * math.ceil(grid.height / (edge * joined)) > _MOST_CELLS:
        joined += 1
    return placed, edge, joined


def _place_on_lattice(check: Scene, grid: Grid) -> Scene | None:
    """A check on a lattice of the mosaic's grid whose cells are as large as its own pixels."""
    same = CRS.from_wkt(check.grid.crs) == CRS.from_wkt(grid.crs)
    try:
        bounds = check.grid.bounds if same else project_bounds(check.grid, grid.crs)
        own = replace(check.grid, crs=grid.crs) if same else check.grid
        finest = min(compute_pixel_ratio(own, grid))
    except (ValueError, CRSError) as error:
        msg = f"{check.name}: {error}; give one that can be projected to the CRS of the scenes"
        raise InputError(msg) from error
    cell = max(1, math.ceil(1 / max(finest, 1e-9) - _NEARLY))
    lattice = replace(
        grid,
        pixel_width=grid.pixel_width * cell,
        pixel_height=grid.pixel_height * cell,
        width=math.ceil(grid.width / cell),
        height=math.ceil(grid.height / cell),
    )
    shared = bounds.intersection(lattice.bounds)
    if shared is None:
        return None
    place = lattice.subgrid(lattice.window_touching(shared))
    parts = tuple(
        replace(part, raster=replace(part.raster, grid=replace(part.raster.grid, crs=grid.crs)) if same else part.raster)
        for part in check.parts
    )
    return replace(check, grid=place, parts=parts)
