"""How two overlapping footprints share their intersection, part by part.

Which points the cut goes between is settled here where SPEC section 4 leaves it open; the cut itself is the work of
:mod:`processor.stages.seamlines.centre_line`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy
import shapely
from shapely import LineString, MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from processor.stages.seamlines.centre_line import Problem, SplitRule, follow_way, solve_centre_line
from processor.stages.seamlines.partition import select_polygons
from processor.stages.seamlines.records import CutlineTrace, Follows

if TYPE_CHECKING:
    from numpy.typing import NDArray


#: Parts of an intersection smaller than this relative to the largest are not cut, but go whole to the scene they adjoin.
MINOR_SHARE = 0.005
#: Most meeting points of two outlines that are compared with each other.
MAX_MEETINGS = 512
#: A cut must separate the two outlines at least this well, relative to the best that could be done.
SEPARATION_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PartSplit:
    """One part of the intersection of two polygons, and how it is shared."""

    line: LineString | None
    """The cut in CRS units, or None where the part goes whole to one polygon."""
    second_piece: Polygon | MultiPolygon
    """What the second polygon wins; the first wins the rest. Maybe empty."""
    trace: CutlineTrace | None = None
    """How the cut was found; None where there is none."""
    problem: Problem | None = None
    """Why the line is not the centre line that the rule asks for, or None."""
    follows: Follows = "centre-line"
    """What the line follows."""


FindWay = Callable[[Polygon, tuple["NDArray[np.float64]", "NDArray[np.float64]"]], LineString | None]
"""Finds a cut through an area without holes, prepared, between two vertices of its outline, float64 (2,) each; None: there is
none to prefer.
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Outline:
    """The outline of a part of an intersection, and whose outline it follows.

    where it follows the first's, 0 where it follows both.
    """

    ring: NDArray[np.float64]
    """float64 (n + 1, 2), closed, CRS units."""
    position: NDArray[np.float64]
    """float64 (n + 1,), length along the ring up to each vertex, CRS units."""
    side: NDArray[np.int8]
    """int8 (n,), one an edge: +1 where it follows the second polygon's outline (beyond it there is only the first), -1."""

    @property
    def balance(self) -> NDArray[np.float64]:
        """float64 (n + 1,): length that follows the second's outline less that which follows the first's, up to a vertex."""
        return np.concatenate([[0.0], np.cumsum(self.side * np.diff(self.position))])

    def arc(self, start: float, end: float) -> NDArray[np.float64]:
        """Coordinates (k, 2) from one position forward to another, both included."""
        if end <= start:
            head, tail = self.arc(start, float(self.position[-1])), self.arc(0.0, end) if end > 0 else self.ring[:1]
            return np.concatenate([head[:-1], tail])
        inner = self.ring[(self.position > start) & (self.position < end)]
        ends = [
            [np.interp(at, self.position, self.ring[:, 0]), np.interp(at, self.position, self.ring[:, 1])]
            for at in (start, end)
        ]
        return np.concatenate([ends[:1], inner, ends[1:]])


def solve_splits(
    first: BaseGeometry, second: BaseGeometry, rule: SplitRule, find_way: FindWay | None = None
) -> list[PartSplit]:
    """Share the intersection of two polygons between them, part by part.

    A part whose outline follows now one polygon's outline, now the other's, is cut from one change to another: where there
    are more than two, the shortest cut that parts the outlines well. Beyond the second's outline there is only the
    first, so the piece that adjoins it is the first's. A part whose outline follows only one polygon's (nested or equal
    footprints) is cut between its two farthest points, and the nested polygon keeps the piece with its centroid.

    Parameters
    ----------
    first, second
        Valid polygons on the precision grid.
    rule
        Spacing, shortest edge and precision grid.
    find_way
        Finds a cut that is preferred to the centre line.

    Returns
    -------
    list of PartSplit
        The largest part first; empty where the polygons share no area.

    """
    common = select_polygons(shapely.intersection(first, second, grid_size=rule.grid_size))
    parts = [part for part in shapely.get_parts(common) if isinstance(part, Polygon) and not part.is_empty]
    if not parts:
        return []
    parts.sort(key=lambda part: (-part.area, part.bounds))
    boundaries = (shapely.boundary(first), shapely.boundary(second))
    shapely.prepare(boundaries)
    smallest = MINOR_SHARE * parts[0].area
    splits = []
    for part in parts:
        outline = _compute_outline(part, boundaries, rule.grid_size)
        # A hair along outlines that only touch is no overlap.
        is_minor = part.area < smallest or part.area <= 4 * rule.grid_size * part.length
        splits.append(_solve_whole(part, outline) if is_minor else _solve_part(part, outline, (first, second), rule, find_way))
    return splits


def _solve_whole(part: Polygon, outline: _Outline, problem: Problem | None = None) -> PartSplit:
    """Give a part uncut to the polygon that it adjoins most, the first in a tie."""
    return PartSplit(line=None, second_piece=part if outline.balance[-1] < 0 else Polygon(), problem=problem)


def _solve_part(
    part: Polygon,
    outline: _Outline,
    polygons: tuple[BaseGeometry, BaseGeometry],
    rule: SplitRule,
    find_way: FindWay | None,
) -> PartSplit:
    """Cut a part along the way that was found for it, else along its centre line."""
    crossings = _choose_crossings(outline)
    start, end = _choose_farthest(outline) if crossings is None else crossings
    forth, back = (np.rint(arc / rule.grid_size) * rule.grid_size for arc in (outline.arc(start, end), outline.arc(end, start)))
    ring = np.concatenate([forth, back[1:]])
    area = Polygon(ring)
    if not area.is_valid:  # thinner than the precision grid where an end of the cut was put between two vertices
        return _solve_whole(part, outline, "no-seamline")
    shapely.prepare(area)
    ends = forth[0], forth[-1]
    way = find_way(area, ends) if find_way is not None else None
    solved = solve_centre_line(area, ring, ends, rule) if way is None else follow_way(way)
    if solved.line is None:
        return _solve_whole(part, outline, "no-seamline")
    line = shapely.get_coordinates(solved.line)
    pieces = [_make_piece(np.concatenate([forth, line[-2::-1]]), part), _make_piece(np.concatenate([back, line[1:]]), part)]
    mine = 1  # with crossings, forth follows the second's outline and adjoins the first: the other piece is the second's
    if crossings is None:  # the nested polygon keeps the piece with its centroid
        second_is_nested = outline.balance[-1] > 0
        centroid = shapely.centroid(polygons[1 if second_is_nested else 0])
        near = 0 if pieces[0].distance(centroid) <= pieces[1].distance(centroid) else 1
        mine = near if second_is_nested else 1 - near
    return PartSplit(
        line=solved.line,
        second_piece=pieces[mine],
        trace=CutlineTrace(intersection=area, seeds=solved.seeds, voronoi_edges=solved.voronoi_edges),
        problem=solved.problem,
        follows=solved.follows,
    )


def _make_piece(ring: NDArray[np.float64], part: Polygon) -> Polygon | MultiPolygon:
    """One side of a cut, without the part's holes: what lies in a hole is not common to both polygons."""
    piece: BaseGeometry = Polygon(ring)
    if not piece.is_valid:
        piece = shapely.make_valid(piece, method="structure", keep_collapsed=False)
    if part.interiors:
        piece = shapely.intersection(piece, part)
    return select_polygons(piece)


def _compute_outline(part: Polygon, boundaries: tuple[BaseGeometry, BaseGeometry], grid_size: float) -> _Outline:
    """Tell for each edge of a part's outline whose outline it follows."""
    ring = shapely.get_coordinates(part.exterior)
    step = np.diff(ring, axis=0)
    middle = shapely.points((ring[:-1] + ring[1:]) / 2)
    tolerance = 4 * grid_size  # an edge bends by the grid where a crossing was rounded
    on_first, on_second = (shapely.dwithin(boundary, middle, tolerance).astype(np.int8) for boundary in boundaries)
    return _Outline(
        ring=ring,
        position=np.concatenate([[0.0], np.cumsum(np.hypot(step[:, 0], step[:, 1]))]),
        side=np.asarray(on_second - on_first, dtype=np.int8),
    )


def _choose_crossings(outline: _Outline) -> tuple[float, float] | None:
    """Positions (start, end) of the two meeting points between which to cut; None where the outlines do not cross.

    Outlines meet where the ring passes from one's outline to the other's, or follows both for a while (then halfway). A cut
    separates well if the ring forward from start to end is the second's outline rather than the first's, and the rest of it
    the other way round; of the cuts that separate at least half as well as the best, the shortest is chosen.
    """
    decided = np.flatnonzero(outline.side)
    following = np.roll(decided, -1)
    is_crossing = outline.side[decided] != outline.side[following]
    if not is_crossing.any():
        return None
    perimeter = float(outline.position[-1])
    meeting = np.flatnonzero(is_crossing | (following != (decided + 1) % len(outline.side)))
    leave = outline.position[decided[meeting] + 1]
    reach = outline.position[following[meeting]]
    at = (leave + np.where(reach < leave, reach + perimeter, reach)) / 2
    balance = outline.balance[decided[meeting] + 1]
    is_past = at >= perimeter
    at, balance = np.where(is_past, at - perimeter, at), np.where(is_past, balance - outline.balance[-1], balance)
    if len(at) > MAX_MEETINGS:  # ragged outlines that run together meet at every other pixel
        spread = np.linspace(0, len(at) - 1, MAX_MEETINGS).astype(np.intp)
        chosen = np.unique([*spread, np.argmin(balance), np.argmax(balance)])
        at, balance = at[chosen], balance[chosen]
    forward = balance[None, :] - balance[:, None]
    forward += np.where(at[None, :] <= at[:, None], outline.balance[-1], 0.0)
    separation = 2 * forward - outline.balance[-1]
    np.fill_diagonal(separation, -np.inf)
    points = np.column_stack([np.interp(at, outline.position, axis) for axis in outline.ring.T])
    length = np.where(separation >= SEPARATION_SHARE * separation.max(), scipy.spatial.distance.cdist(points, points), np.inf)
    start, end = divmod(int(np.argmin(length)), len(at))
    return float(at[start]), float(at[end])


def _choose_farthest(outline: _Outline) -> tuple[float, float]:
    """Positions of the two vertices farthest apart, the first such pair in ring order."""
    ring = outline.ring[:-1]
    corners = {(x, y) for x, y in shapely.get_coordinates(shapely.convex_hull(shapely.multipoints(ring))).tolist()}
    hull = np.flatnonzero([(x, y) in corners for x, y in ring.tolist()])
    distance = scipy.spatial.distance.cdist(ring[hull], ring[hull])
    one, other = divmod(int(np.argmax(distance)), len(hull))
    return float(outline.position[hull[one]]), float(outline.position[hull[other]])
