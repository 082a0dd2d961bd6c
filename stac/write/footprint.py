"""Footprint of a mosaic in longitude and latitude, for a STAC Item (RFC 7946)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import ProjError
from shapely import LinearRing, MultiPolygon, Polygon
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from processor.model import Grid

_METRES_PER_DEGREE: Final = 111_194.9  # of latitude, on a sphere of 6371 km
_DECIMALS: Final = 7  # about a centimetre
_MAX_VERTICES: Final = 1_000  # about 40 kB of JSON; a ragged mosaic of thousands of scenes has millions
_MAX_SIMPLIFIED: Final = 20_000  # vertices that are simplified with care for topology: a second or two at worst
_MAX_SPLITS: Final = 16
_FIRST_SPLITS: Final = 16

Coordinates = NDArray[np.float64]
ToLonLat = Callable[[Coordinates], Coordinates]


@dataclass(frozen=True, slots=True, kw_only=True)
class LonLatFootprint:
    """Footprint in WGS 84, as JSON values."""

    geometry: dict[str, Any]
    """GeoJSON Polygon or MultiPolygon; degrees, 7 decimals; exteriors counter-clockwise; cut at the antimeridian."""
    bbox: tuple[float, float, float, float]
    """(west, south, east, north), degrees; west > east where it crosses the antimeridian."""
    centroid: tuple[float, float]
    """(longitude, latitude) of the centre of gravity, degrees."""
    tolerance: float
    """How far the geometry may lie from the footprint, pixels; parts and holes smaller than its square are left out."""


def compute_pixel_metres(grid: Grid) -> tuple[float, float] | None:
    """Size of the grid's central pixel on the ground.

    Returns
    -------
    (width, height) in metres along the geodesics of WGS 84, or None where the CRS is not tied to the Earth.
    """
    to_lonlat = _make_transform(grid.crs)
    if to_lonlat is None:
        return None
    bounds = grid.bounds
    x, y = (bounds.left + bounds.right) / 2, (bounds.bottom + bounds.top) / 2
    corners = to_lonlat(np.array([[x, y], [x + grid.pixel_width, y], [x, y - grid.pixel_height]]))
    if not np.isfinite(corners).all():
        return None
    (lon, lat), (lon_east, lat_east), (lon_south, lat_south) = corners.tolist()
    geod = Geod(ellps="WGS84")
    width, height = geod.inv(lon, lat, lon_east, lat_east)[2], geod.inv(lon, lat, lon_south, lat_south)[2]
    return (float(width), float(height)) if width > 0 and height > 0 else None


def compute_footprint(footprint: Polygon | MultiPolygon, grid: Grid, *, within: float = 0.25) -> LonLatFootprint | None:
    """Transform a footprint to WGS 84, simplified within a tolerance.

    Edges that are straight in the CRS are divided until the chords in degrees follow them. Polygons that cross the antimeridian
    or contain a pole are cut (RFC 7946, 3.1.9). Beyond 1,000 vertices the footprint is simplified further, because an Item is
    read whole by whoever lists it; ``tolerance`` says how far.

    Parameters
    ----------
    footprint
        In the CRS of the grid, CRS units; may have holes and several parts.
    grid
        Its CRS and pixel size are used.
    within
        Tolerance, pixels.

    Returns
    -------
    None where the footprint cannot be projected: the CRS is local or of another body, or the footprint reaches outside the area
    of the projection.

    Raises
    ------
    ValueError
        If the footprint is empty.
    """
    if footprint.is_empty:
        msg = "the footprint of the mosaic is empty"
        raise ValueError(msg)
    to_lonlat, pixel = _make_transform(grid.crs), compute_pixel_metres(grid)
    if to_lonlat is None or pixel is None:
        return None
    tolerance = min(pixel) / _METRES_PER_DEGREE  # a pixel, degrees of latitude; a degree of longitude is never longer
    edge = min(grid.pixel_width, grid.pixel_height)
    parts, reach = _generalise(footprint, within * edge)
    try:
        world = shapely.union_all([_transform_polygon(part, to_lonlat, 0.05 * tolerance) for part in parts])
    except _OffTheMapError:
        return None
    crosses = bool(world.bounds[0] <= -180 and world.bounds[2] >= 180)
    smooth = shapely.set_precision(shapely.simplify(world, 0.2 * tolerance), 10.0**-_DECIMALS)
    polygons = _polygons(smooth)
    if not polygons:
        return None
    oriented = [shapely.orient_polygons(polygon) for polygon in polygons]
    rings = [[_ring_coordinates(ring) for ring in (polygon.exterior, *polygon.interiors)] for polygon in oriented]
    single = len(rings) == 1
    geometry = {"type": "Polygon" if single else "MultiPolygon", "coordinates": rings[0] if single else rings}
    tolerance = math.ceil(4 * (reach / edge + 0.25)) / 4  # of both CRS and degrees, in quarters of a pixel
    return LonLatFootprint(
        geometry=geometry,
        bbox=_compute_bbox(rings, crosses=crosses),
        centroid=_find_centre(polygons, crosses=crosses),
        tolerance=tolerance,
    )


class _OffTheMapError(ValueError):
    """A footprint reaches outside the area of its projection."""


@lru_cache(maxsize=64)
def _make_transform(wkt: str) -> ToLonLat | None:
    """Function from (n, 2) coordinates of a CRS to longitude and latitude; None where there is none."""
    try:
        transformer = Transformer.from_crs(CRS.from_wkt(wkt), CRS.from_user_input("OGC:CRS84"), always_xy=True)
    except ProjError:
        return None

    def to_lonlat(coordinates: Coordinates) -> Coordinates:
        lon, lat = transformer.transform(coordinates[:, 0], coordinates[:, 1])
        return np.column_stack([lon, lat]).astype(np.float64)

    return to_lonlat


def _generalise(footprint: BaseGeometry, tolerance: float) -> tuple[list[Polygon], float]:
    """Simplify within the tolerance, which doubles while there are too many vertices; small parts and holes are dropped.

    Returns
    -------
    The polygons, and how far they may lie from the footprint, CRS units.
    """
    parts: list[BaseGeometry] = shapely.get_parts(footprint).tolist()
    moved = 0.0
    while True:
        if _count_vertices(parts) <= _MAX_SIMPLIFIED:
            smooth = _polygons(shapely.simplify(MultiPolygon(_polygons(MultiPolygon(parts))), tolerance))
            if _count_vertices(smooth) <= _MAX_VERTICES:
                return smooth, moved + tolerance
        tolerance *= 2
        moved += tolerance
        areas = shapely.area(parts)
        smallest = min(tolerance**2, float(areas.max()))
        parts = [_simplify_rings(parts[index], tolerance) for index in np.flatnonzero(areas >= smallest).tolist()]


def _count_vertices(parts: Sequence[BaseGeometry]) -> int:
    return int(shapely.get_num_coordinates(list(parts)).sum())


def _simplify_rings(part: BaseGeometry, tolerance: float) -> Polygon:
    """Simplify ring by ring, which is fast but may make rings cross; fill holes smaller than the tolerance squared."""
    exterior, *holes = shapely.simplify(shapely.get_rings(part), tolerance).tolist()
    areas = shapely.area(shapely.polygons(holes)) if holes else ()
    return Polygon(exterior, [hole for hole, area in zip(holes, areas, strict=True) if area >= tolerance**2])


def _transform_polygon(polygon: Polygon, to_lonlat: ToLonLat, tolerance: float) -> BaseGeometry:
    """Transform ring by ring, because a hole may contain a pole just as the exterior may."""
    exterior, *holes = (_transform_ring(ring, to_lonlat, tolerance) for ring in (polygon.exterior, *polygon.interiors))
    return shapely.difference(exterior, shapely.union_all(holes)) if holes else exterior


def _transform_ring(ring: LinearRing, to_lonlat: ToLonLat, tolerance: float) -> BaseGeometry:
    """Area inside a ring, as polygons between the longitudes -180 and 180."""
    left, bottom, right, top = ring.bounds
    source = shapely.get_coordinates(shapely.segmentize(ring, max(right - left, top - bottom) / _FIRST_SPLITS))
    lonlat = _densify(source, to_lonlat, tolerance)
    lon, lat = np.unwrap(lonlat[:, 0], period=360.0), lonlat[:, 1]
    if abs(lon[-1] - lon[0]) > 180:  # once around the Earth: the ring contains a pole
        pole = float(np.copysign(90.0, lat.mean()))
        lon, lat = np.append(lon, [lon[-1], lon[0]]), np.append(lat, [pole, pole])
    return _cut(shapely.union_all(_polygons(Polygon(np.column_stack([lon, lat])))))


def _densify(source: Coordinates, to_lonlat: ToLonLat, tolerance: float) -> Coordinates:
    """Divide edges until each midpoint is within the tolerance of its chord (degrees of latitude)."""
    lonlat = to_lonlat(source)
    for _ in range(_MAX_SPLITS):
        middle = (source[:-1] + source[1:]) / 2
        exact = to_lonlat(middle)
        if not (np.isfinite(lonlat).all() and np.isfinite(exact).all()):
            msg = "the footprint reaches beyond what its projection covers"
            raise _OffTheMapError(msg)
        step = np.diff(lonlat, axis=0)
        step[:, 0] = _wrap(step[:, 0])
        departure = exact - (lonlat[:-1] + step / 2)
        departure[:, 0] = _wrap(departure[:, 0]) * np.cos(np.radians(exact[:, 1]))
        at = np.flatnonzero(np.hypot(departure[:, 0], departure[:, 1]) > tolerance) + 1
        if at.size == 0:
            break
        source, lonlat = np.insert(source, at, middle[at - 1], axis=0), np.insert(lonlat, at, exact[at - 1], axis=0)
    return lonlat


def _wrap(degrees: Coordinates) -> Coordinates:
    """Differences of longitude, between -180 and 180."""
    return (degrees + 180.0) % 360.0 - 180.0


def _cut(area: BaseGeometry) -> BaseGeometry:
    """Cut at the antimeridian, and shift every piece to between -180 and 180."""
    west, _, east, _ = area.bounds
    if west >= -180 and east <= 180:
        return area
    turns = range(int((west + 180) // 360), int((east + 180) // 360) + 1)
    pieces = [translate(area.intersection(shapely.box(360 * k - 180, -90, 360 * k + 180, 90)), xoff=-360.0 * k) for k in turns]
    return shapely.union_all([polygon for piece in pieces for polygon in _polygons(piece)])


def _polygons(geometry: BaseGeometry) -> list[Polygon]:
    """Polygons of a geometry, made valid; lines and points are dropped."""
    valid = geometry if geometry.is_valid else shapely.make_valid(geometry, method="structure", keep_collapsed=False)
    parts = shapely.get_parts(shapely.get_parts(valid))  # twice: make_valid may put a MultiPolygon into a collection
    return [part for part in parts.tolist() if isinstance(part, Polygon) and not part.is_empty]


def _ring_coordinates(ring: LinearRing) -> list[list[float]]:
    return [[round(x, _DECIMALS) + 0.0, round(y, _DECIMALS) + 0.0] for x, y in shapely.get_coordinates(ring).tolist()]


def _find_centre(polygons: Sequence[Polygon], *, crosses: bool) -> tuple[float, float]:
    """Centre of gravity of the polygons in degrees; across the antimeridian those in the west count as beyond it."""
    lifted = [translate(part, xoff=360.0) if crosses and part.bounds[0] < 0 else part for part in polygons]
    centre = MultiPolygon(lifted).centroid
    return round(float(_wrap(np.array(centre.x))), _DECIMALS), round(centre.y, _DECIMALS)


def _compute_bbox(rings: list[list[list[list[float]]]], *, crosses: bool) -> tuple[float, float, float, float]:
    """Bounding box; across the antimeridian it starts after the widest gap between the parts (RFC 7946, 5.2)."""
    exteriors = [np.array(polygon[0]) for polygon in rings]
    south, north = min(float(ring[:, 1].min()) for ring in exteriors), max(float(ring[:, 1].max()) for ring in exteriors)
    spans = sorted((float(ring[:, 0].min()), float(ring[:, 0].max())) for ring in exteriors)
    west, east = spans[0][0], max(end for _, end in spans)
    if crosses:
        widest, reached = 0.0, spans[0][1]
        for start, end in spans[1:]:
            if start - reached > widest:
                widest, west, east = start - reached, start, reached
            reached = max(reached, end)
    return (west, south, east, north)
