"""Cells that partition the union of footprints: the geometry below the seamlines.

Two steps. First the scenes enter one after another, and each takes from the cells of those before it what a pairwise split
gives it. Then all borders are noded together on one precision grid, the faces of that single arrangement are given to their
owners and dissolved: neighbouring cells share every vertex of their border, so there is no gap and no overlap by construction.

Everything works on a precision grid of a power of two (see :func:`compute_grid_size`), where overlays by snap rounding
(Hobby 1999, doi 10.1016/S0925-7721(99)00021-8) cannot fail for want of precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from shapely import MultiPolygon, Polygon, STRtree
from shapely.geometry.base import BaseGeometry

if TYPE_CHECKING:
    from numpy.typing import NDArray


#: A detached piece of a cell smaller than this share of the scene's largest piece may go to a neighbour that covers it.
DETACHED_SHARE = 0.05

#: Steps of the working grid in one of the precision grid. Borders that should match are off by a few steps of the working
#: grid after as many overlays; on the coarser grid they fall together.
REFINEMENT = 8

Split = Callable[[int, int], BaseGeometry]
Run = Callable[[Callable[[int], BaseGeometry], Iterable[int]], Iterable[BaseGeometry]]
"""As ``map``: it may work on several at once, and gives results in order."""


def compute_grid_size(geometries: Iterable[BaseGeometry]) -> float:
    """Choose the precision grid for a set of geometries.

    Parameters
    ----------
    geometries
        All geometries that will be overlaid, in one CRS.

    Returns
    -------
    float
        CRS units, a power of two, so that coordinates on the grid are exact in float64: at most 3e-11 of the
        extent, unless coordinates so large would leave fewer than eight bits of float64 below it.

    """
    bounds = np.array([geometry.bounds for geometry in geometries if not geometry.is_empty])
    if len(bounds) == 0:
        return 1.0
    extent = max(np.ptp(bounds[:, [0, 2]]), np.ptp(bounds[:, [1, 3]]))
    smallest = max(extent * 2.0**-36, np.abs(bounds).max() * 2.0**-45)
    return float(2.0 ** math.ceil(math.log2(smallest))) if smallest > 0 else 1.0


def select_polygons(geometry: BaseGeometry) -> Polygon | MultiPolygon:
    """Keep what has area: the polygons of any geometry, as one polygon, a multipolygon or an empty polygon."""
    if isinstance(geometry, Polygon | MultiPolygon):
        return geometry
    return collect_polygons(shapely.get_parts(shapely.get_parts(geometry)))


def collect_polygons(geometries: Iterable[BaseGeometry]) -> Polygon | MultiPolygon:
    """Put polygons and multipolygons that share no area together into one, without empty parts."""
    parts = shapely.get_parts(np.array(list(geometries), dtype=object))
    polygons = [part for part in parts if isinstance(part, Polygon) and not part.is_empty]
    if not polygons:
        return Polygon()
    return polygons[0] if len(polygons) == 1 else MultiPolygon(polygons)


def snap_polygons(geometry: BaseGeometry, grid_size: float) -> Polygon | MultiPolygon:
    """Make a geometry valid, round it to the precision grid, and keep its polygons."""
    if not geometry.is_valid:
        geometry = shapely.make_valid(geometry, method="structure", keep_collapsed=False)
    return select_polygons(shapely.set_precision(select_polygons(geometry), grid_size))


def solve_partition(
    polygons: Sequence[BaseGeometry],
    islands: Sequence[BaseGeometry],
    split: Split,
    grid_size: float,
    *,
    run: Run = map,
) -> list[Polygon | MultiPolygon]:
    """Partition the union of polygons and islands into one cell a scene.

    Parameters
    ----------
    polygons
        Footprint of each scene without its islands, on the precision grid, maybe empty; earlier scenes come first.
    islands
        The small remaining parts of each scene's footprint, which take only what no polygon covers; maybe empty.
    split
        ``split(j, i)`` with i < j gives the part of the intersection of ``polygons[i]`` and ``polygons[j]`` that j wins.
        It is called only for scenes whose cells meet.
    run
        Runs the splits of one scene.
    grid_size
        Precision grid, CRS units. Overlays before the last use a grid that is ``REFINEMENT`` times finer, as should ``split``.

    Returns
    -------
    list
        A cell a scene, in the order given, normalised. Their union is that of the footprints, they share no area, they
        match vertex for vertex along their borders, and each lies in its own footprint, all to within ``grid_size``.

    """
    cells = _solve_cells_in_turn(polygons, split, grid_size / REFINEMENT, run)
    if any(not island.is_empty for island in islands):
        cells = _add_islands(cells, islands, grid_size / REFINEMENT)
    whole = [collect_polygons(pair) for pair in zip(polygons, islands, strict=True)]
    return _node_cells(cells, _object_array(whole), grid_size)


def _solve_cells_in_turn(polygons: Sequence[BaseGeometry], split: Split, grid_size: float, run: Run) -> NDArray[Any]:
    """Let the scenes enter one after another, each taking what it wins from the cells that it meets.

    The owner of a place is thus the scene that beats all others there, wherever one does; where three beat each other in a
    circle, the last decides. Only cells that still meet are ever split: all cuts of a deep stack of scenes at once would cross
    each other in millions of points.
    """
    cells = _object_array(polygons)
    later, earlier = STRtree(cells).query(cells, predicate="intersects")
    pairs = np.stack([later, earlier])[:, earlier < later]
    pairs = pairs[:, np.lexsort((pairs[1], pairs[0]))]
    starts = np.searchsorted(pairs[0], np.arange(len(cells) + 1))
    for index, polygon in enumerate(polygons):
        rivals = pairs[1, starts[index] : starts[index + 1]]
        shapely.prepare(polygon)
        rivals = rivals[shapely.intersects(polygon, cells[rivals])]
        if rivals.size == 0:
            continue
        won = _object_array(list(run(partial(split, index), rivals.tolist())))
        left = shapely.difference(cells[rivals], won, grid_size=grid_size)
        cells[rivals] = _object_array([select_polygons(each) for each in left])
        for taken in cells[rivals]:
            cells[index] = select_polygons(shapely.difference(cells[index], taken, grid_size=grid_size))
    return cells


def _add_islands(cells: NDArray[Any], islands: Sequence[BaseGeometry], grid_size: float) -> NDArray[Any]:
    """Give each scene the parts of its islands that no cell holds yet."""
    result = cells.copy()
    parts, owners = shapely.get_parts(_object_array(islands), return_index=True)
    covered = np.unique(STRtree(parts).query(cells, predicate="covers")[1])
    free = np.delete(np.arange(len(parts)), covered)
    owners = owners[free]
    rest = _object_array([collect_polygons(parts[free[owners == index]]) for index in range(len(cells))])
    hits = STRtree(rest).query(cells, predicate="intersects")
    among = STRtree(rest).query(rest, predicate="intersects")
    for index in np.unique(owners):
        earlier = among[1, (among[0] == index) & (among[1] < index)]
        for taken in (*cells[hits[0, hits[1] == index]], *rest[earlier]):
            rest[index] = select_polygons(shapely.difference(rest[index], taken, grid_size=grid_size))
        result[index] = collect_polygons([cells[index], rest[index]])
    return result


def _node_cells(cells: NDArray[Any], footprints: NDArray[Any], grid_size: float) -> list[Polygon | MultiPolygon]:
    """Rebuild cells that nearly fit as faces of one arrangement, so that they fit exactly."""
    lines = shapely.union_all(shapely.boundary(cells), grid_size=grid_size)
    faces = shapely.get_parts(shapely.polygonize([lines]))
    if faces.size == 0:
        return [Polygon() for _ in cells]
    owners = _label_faces(faces, cells, footprints, grid_size)
    faces, owners = faces[owners >= 0], owners[owners >= 0]
    owners = _absorb_detached(faces, owners, footprints, grid_size)
    order = np.argsort(owners, kind="stable")
    starts = np.searchsorted(owners[order], np.arange(len(cells) + 1))
    return [_dissolve(faces[order[starts[i] : starts[i + 1]]]) for i in range(len(cells))]


def _label_faces(faces: NDArray[Any], cells: NDArray[Any], footprints: NDArray[Any], grid_size: float) -> NDArray[np.int64]:
    """Owner of each face, -1 for a face outside all footprints.

    A hair (a face thinner than the precision grid, where borders that should have matched differ by rounding) belongs to the
    neighbour that it shares most border with.
    """
    none = len(cells)
    points = STRtree(_compute_inner_points(faces, grid_size))
    owners = np.full(len(faces), none)
    holder, held = points.query(cells, predicate="intersects")
    np.minimum.at(owners, held, holder)
    hair = shapely.area(faces) <= 2 * grid_size * shapely.length(faces)
    if hair.any() or (owners == none).any():
        by_footprint = np.full(len(faces), none)
        holder, held = points.query(footprints, predicate="intersects")
        np.minimum.at(by_footprint, held, holder)
        doubtful = (hair | (owners == none)) & (by_footprint < none)
        fallback = np.where(owners < none, owners, by_footprint)
        owners[doubtful] = none
        borders = _compute_borders(faces, np.flatnonzero(doubtful))
        for face in np.flatnonzero(doubtful):
            ranked = _rank_neighbours(int(face), borders, owners)
            known = [owner for owner in ranked if owner < none]
            owners[face] = known[0] if known else fallback[face]
    owners[owners == none] = -1
    return owners


def _compute_inner_points(faces: NDArray[Any], grid_size: float) -> NDArray[Any]:
    """Compute a point well inside each face; where one was found in a hair of the face, the centre of its largest circle."""
    points = np.asarray(shapely.point_on_surface(faces))
    edges = shapely.boundary(faces)
    doubtful = np.flatnonzero(shapely.distance(points, edges) < 100 * grid_size)
    if doubtful.size:
        circles = shapely.maximum_inscribed_circle(faces[doubtful])
        points[doubtful] = shapely.get_point(circles, 0)
    return points


def _absorb_detached(
    faces: NDArray[Any], owners: NDArray[np.int64], footprints: NDArray[Any], grid_size: float
) -> NDArray[np.int64]:
    """Give small detached pieces of a cell to the neighbour with the longest border whose footprint covers them."""
    areas = shapely.area(faces)
    largest = np.zeros(len(footprints))
    np.maximum.at(largest, owners, areas)
    small = np.flatnonzero(areas < DETACHED_SHARE * largest[owners])
    borders = _compute_borders(faces, small)
    result = owners.copy()
    for face in small[np.argsort(areas[small], kind="stable")]:
        for owner in _rank_neighbours(int(face), borders, result):
            if owner == result[face]:
                continue
            outside = shapely.area(shapely.difference(faces[face], footprints[owner], grid_size=grid_size))
            if outside <= 2 * grid_size * shapely.length(faces[face]):
                result[face] = owner
                break
    return result


def _rank_neighbours(face: int, borders: dict[int, list[tuple[int, float]]], owners: NDArray[np.int64]) -> list[int]:
    """Owners of the neighbouring faces, the longest shared border first, then in scene order."""
    lengths: dict[int, float] = {}
    for neighbour, length in borders.get(face, []):
        owner = int(owners[neighbour])
        lengths[owner] = lengths.get(owner, 0.0) + length
    return sorted(lengths, key=lambda owner: (-lengths[owner], owner))


def _compute_borders(faces: NDArray[Any], chosen: NDArray[np.int64]) -> dict[int, list[tuple[int, float]]]:
    """Shared border between some faces and their neighbours: {face: [(neighbour, length in CRS units), …]}.

    The faces come from one arrangement, so a shared border is a set of identical segments.
    """
    if chosen.size == 0:
        return {}
    around = np.unique(STRtree(faces).query(faces[chosen], predicate="intersects")[1])
    rings, ring_face = shapely.get_rings(faces[around], return_index=True)
    coordinates, ring = shapely.get_coordinates(rings, return_index=True)
    same_ring = ring[1:] == ring[:-1]
    start, end = coordinates[:-1][same_ring], coordinates[1:][same_ring]
    segment_face = around[ring_face[ring[:-1][same_ring]]]
    swap = (start[:, 0] > end[:, 0]) | ((start[:, 0] == end[:, 0]) & (start[:, 1] > end[:, 1]))
    key = np.where(swap[:, None], np.hstack([end, start]), np.hstack([start, end]))
    order = np.lexsort((segment_face, *key.T))
    key, segment_face = key[order], segment_face[order]
    twin = np.flatnonzero((key[1:] == key[:-1]).all(axis=1))
    length = np.hypot(key[twin, 2] - key[twin, 0], key[twin, 3] - key[twin, 1])
    wanted = set(chosen.tolist())
    borders: dict[int, list[tuple[int, float]]] = {}
    for one, other, shared in zip(segment_face[twin].tolist(), segment_face[twin + 1].tolist(), length.tolist(), strict=True):
        if one in wanted:
            borders.setdefault(one, []).append((other, shared))
        if other in wanted:
            borders.setdefault(other, []).append((one, shared))
    return borders


def _dissolve(faces: NDArray[Any]) -> Polygon | MultiPolygon:
    """Union of faces that share vertices along their borders, normalised so that equal cells are equal bytes."""
    merged = faces[0] if len(faces) == 1 else shapely.coverage_union_all(faces) if len(faces) else Polygon()
    polygons = select_polygons(merged)
    if isinstance(polygons, MultiPolygon) and len(polygons.geoms) == 1:
        polygons = polygons.geoms[0]
    return select_polygons(shapely.normalize(polygons))


def _object_array(geometries: Sequence[BaseGeometry] | NDArray[Any]) -> NDArray[Any]:
    """Copy geometries into a one-dimensional object array."""
    array = np.empty(len(geometries), dtype=object)
    array[:] = geometries
    return array
