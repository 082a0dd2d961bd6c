"""Where the pixels of an open raster lie: its grid, and in which order its file stores them."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.io import DatasetReader
from rasterio.transform import Affine

from processor.errors import InputError
from processor.model import Grid
from processor.model.crs_text import check_grid_files
from processor.redaction import redact_url
from processor.stages.align.rotated import find_upright_crs, make_rotated_grid
from processor.storage.url import parse_url

_MAX_ASPECT: Final = 1000.0  # of a pixel
_STRAIGHT: Final = 1e-3  # pixels by which the far end of a row or column may lie beside the near one: rounding noise
_WORLD_FILES: Final = (".tfw", ".tifw", ".tiffw", ".jgw", ".j2w", ".jp2w", ".wld")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where the pixels of a raster lie."""

    grid: Grid
    """North-up; that of a rotated raster in a CRS of its own (:mod:`processor.stages.align.rotated`)."""
    flipped: tuple[bool, bool] = (False, False)
    """(rows, columns): whether the file stores them from south to north, or from east to west."""


def read_placement(dataset: DatasetReader, scene: str, declared: str | None = None) -> Placement:
    """Where an open raster's pixels lie; in the CRS that its Item declares where it has none of its own.

    Raises
    ------
    InputError
        If it has no georeference, or its geotransform makes no grid.
    """
    transform: Affine = dataset.transform
    own = dataset.crs if dataset.crs is not None else _parse_crs(declared)
    if own is None or transform.is_identity:
        raise _describe_missing(dataset, scene)
    crs = own.to_wkt(version="WKT2_2019")
    try:
        check_grid_files(crs)
    except ValueError as error:
        msg = f"scene {scene}: its coordinate reference system {error}"
        raise InputError(msg) from error
    a, b, c, d, e, f = tuple(transform)[:6]
    width, height = dataset.width, dataset.height
    try:
        if abs(b) * height > _STRAIGHT * abs(a) or abs(d) * width > _STRAIGHT * abs(e):
            placement = Placement(grid=make_rotated_grid(crs, (a, b, c, d, e, f), width=width, height=height))
        else:
            grid = Grid(
                crs=crs,
                left=c if a > 0 else c + width * a,
                top=f if e < 0 else f + height * e,
                pixel_width=abs(a),
                pixel_height=abs(e),
                width=width,
                height=height,
            )
            placement = Placement(grid=grid, flipped=(e > 0, a < 0))
        grid, bounds = placement.grid, placement.grid.bounds
        aspect = max(grid.pixel_width, grid.pixel_height) / min(grid.pixel_width, grid.pixel_height)
        sound = aspect <= _MAX_ASPECT and all(map(math.isfinite, (a, b, c, d, e, f))) and bounds.width > 0
    except (ValueError, np.linalg.LinAlgError):  # pixels without area, or as good as none
        sound = False
    if not sound:
        msg = f"scene {scene}: the geotransform {(a, b, c, d, e, f)} makes no grid; georeference the raster anew"
        raise InputError(msg)
    return placement


def _parse_crs(text: str | None) -> CRS | None:
    """A CRS by its code or WKT2; None where there is none."""
    try:
        return None if text is None else CRS.from_user_input(text)
    except CRSError:
        return None


def read_grid(dataset: DatasetReader, scene: str) -> Grid:
    """The grid of an open raster that has to be north-up.

    Raises
    ------
    InputError
        As :func:`read_placement`, and if its grid is rotated or flipped.
    """
    placement = read_placement(dataset, scene)
    if any(placement.flipped) or find_upright_crs(placement.grid.crs) != placement.grid.crs:
        msg = (
            f"scene {scene}: the grid is rotated or flipped (geotransform {tuple(dataset.transform)[:6]}); "
            "make it north-up, e.g. with gdalwarp"
        )
        raise InputError(msg)
    return placement.grid


def _describe_missing(dataset: DatasetReader, scene: str) -> InputError:
    """What is missing of a georeference, and how to make it of what the file has instead."""
    shown = redact_url(dataset.name)
    points, points_crs = dataset.gcps
    if points:
        target = "EPSG:…"
        if points_crs is not None and points_crs.is_geographic:
            lon, lat = (sum(values) / len(points) for values in ((p.x for p in points), (p.y for p in points)))
            target = _choose_zone(lon, lat)
        return InputError(
            f"scene {scene}: the raster has {len(points)} ground control points instead of a geotransform; rectify it with "
            f"gdalwarp -t_srs {target} -r bilinear {shown} rectified.tif (with -tps where they bend the raster)"
        )
    if dataset.rpcs is not None:
        target = _choose_zone(dataset.rpcs.long_off, dataset.rpcs.lat_off)
        return InputError(
            f"scene {scene}: the raster has rational polynomial coefficients (RPC) instead of a geotransform; rectify it with "
            f"gdalwarp -rpc -to RPC_DEM=heights.tif -t_srs {target} -r bilinear {shown} rectified.tif"
        )
    world = _find_world_file(dataset.name) if dataset.transform.is_identity else None
    assign = "-a_srs EPSG:… " if dataset.crs is None else ""
    missing = "coordinate reference system" if assign else "geotransform"
    if world is not None:
        return InputError(
            f"scene {scene}: the raster has no {missing}, and the world file {world} beside it is not read; put both into one "
            f"file with gdal_translate {assign}{shown} georeferenced.tif"
        )
    place = f"{assign}-a_ullr LEFT TOP RIGHT BOTTOM " if dataset.transform.is_identity else assign
    return InputError(
        f"scene {scene}: the raster has no {missing}; georeference it, e.g. with gdal_translate {place}{shown} "
        "georeferenced.tif"
    )


def _choose_zone(lon: float, lat: float) -> str:
    """The UTM zone of a place, degrees."""
    zone = int((lon + 180) // 6) % 60 + 1
    return f"EPSG:{32600 + zone if lat >= 0 else 32700 + zone}"


def _find_world_file(name: str) -> str | None:
    """Name of the world file beside a local raster, or None."""
    if not parse_url(name).is_local:
        return None
    stem = PurePosixPath(name).with_suffix("")
    candidates = [f"{stem}{suffix}" for lower in _WORLD_FILES for suffix in (lower, lower.upper())]
    return next((path for path in candidates if os.path.isfile(path)), None)  # noqa: PTH113 - a name, not a path to work on
