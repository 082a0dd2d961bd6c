"""The Voronoi centre line of an area between two points of its outline, as in SPEC section 4.

What the rule leaves open is settled here: how a line is kept inside an area whose outline is ragged, and what is done where
there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import scipy
import shapely
from shapely import LineString, Polygon

from processor.stages.seamlines.graph_path import Graph, solve_path
from processor.stages.seamlines.records import Follows

if TYPE_CHECKING:
    from numpy.typing import NDArray


#: Fewest and most seeds along an outline: a line needs some seeds, and no line needs more, whatever the spacing.
MIN_SEEDS, MAX_SEEDS = 64, 2048
#: By how much seeds are moved for their triangulation, relative to their extent.
JOGGLE = 1e-10
#: Distance between nodes that are one, relative to the extent of the seeds: rounding of circumcentres.
COINCIDENT = 1e-9
#: Rounds in which seeds are added in narrow necks before the line is given up.
MAX_REFINEMENTS = 6
#: Share of the seeds' spacing by which a cut may be straightened; the diagram wavers by more between two rows of seeds.
STRAIGHTENING = 0.05

Problem = Literal["min-cut-length-ignored", "straight-seamline", "no-seamline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRule:
    """How intersections are cut."""

    min_point_spacing: float
    """Distance between seeds, CRS units."""
    min_cut_length: float
    """Voronoi edges shorter than this are left out, CRS units."""
    grid_size: float
    """Working grid that the polygons and the cuts lie on, CRS units."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CentreLine:
    """A cut and what it was found from."""

    line: LineString | None
    """In CRS units, None where there is none."""
    seeds: NDArray[np.float64]
    """float64 (n, 2), CRS units."""
    voronoi_edges: NDArray[np.float64]
    """float64 (m, 4), x and y of both ends, CRS units: the graph inside the area."""
    problem: Problem | None = None
    """Why the line is not the centre line that the rule asks for, or None."""
    follows: Follows = "centre-line"
    """What the line follows."""


def compute_seeds(ring: NDArray[np.float64], *, spacing: float) -> NDArray[np.float64]:
    """Place points along a closed ring, each edge in the even division nearest to the spacing.

    Parameters
    ----------
    ring
        float64 (n + 1, 2), closed; its vertices are seeds too.
    spacing
        CRS units, positive.

    Returns
    -------
    numpy.ndarray
        float64 (m, 2), in ring order, without the closing point.

    Examples
    --------
    >>> compute_seeds(np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 0.0]]), spacing=1.9).tolist()
    [[0.0, 0.0], [2.0, 0.0], [4.0, 0.0], [2.0, 0.0]]

    """
    step = np.diff(ring, axis=0)
    return _divide(ring, np.maximum(1, np.rint(np.hypot(step[:, 0], step[:, 1]) / spacing)).astype(np.int64))


def _divide(ring: NDArray[np.float64], count: NDArray[np.int64]) -> NDArray[np.float64]:
    """Points (m, 2) of a closed ring (n + 1, 2) whose edges are divided into so many equal steps."""
    edge = np.repeat(np.arange(len(count)), count)
    within = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    return np.asarray(ring[edge] + np.diff(ring, axis=0)[edge] * (within / count[edge])[:, None], dtype=np.float64)


def solve_centre_line(
    area: Polygon, ring: NDArray[np.float64], ends: tuple[NDArray[np.float64], NDArray[np.float64]], rule: SplitRule
) -> CentreLine:
    """Find the centre line of an area between two vertices of its outline, or the straight line, or none.

    Parameters
    ----------
    area
        Without holes; prepared, for it is asked often.
    ring
        float64 (n + 1, 2), the closed outline of the area.
    ends
        Where the line starts and ends, float64 (2,) each: vertices of the ring.
    rule
        Spacing, shortest edge and working grid.

    """
    step = np.diff(ring, axis=0)
    perimeter = float(np.hypot(step[:, 0], step[:, 1]).sum())
    spacing = min(max(rule.min_point_spacing, perimeter / MAX_SEEDS), perimeter / MIN_SEEDS)
    for seeds, min_cut_length, problem in _attempt_seeds(ring, spacing, rule.min_cut_length):
        graph = _compute_graph(seeds, area, min_cut_length)
        if graph is None:
            continue
        path = solve_path(graph, area, ends)
        if path is not None:
            edges = np.hstack([graph.nodes[graph.edges[:, 0]], graph.nodes[graph.edges[:, 1]]])
            line = _straighten(path, area, spacing, rule.grid_size)
            return CentreLine(line=line, seeds=seeds, voronoi_edges=edges, problem=problem)
    straight = LineString(ends)
    found = area.covers(straight)
    return CentreLine(
        line=straight if found else None,
        seeds=np.empty((0, 2)),
        voronoi_edges=np.empty((0, 4)),
        problem="straight-seamline" if found else "no-seamline",
        follows="straight-line",
    )


def follow_way(way: LineString) -> CentreLine:
    """A cut that was found otherwise."""
    return CentreLine(line=way, seeds=np.empty((0, 2)), voronoi_edges=np.empty((0, 4)), follows="difference")


def _attempt_seeds(
    ring: NDArray[np.float64], spacing: float, min_cut_length: float
) -> Iterator[tuple[NDArray[np.float64], float, Problem | None]]:
    """(seeds, shortest edge, problem) to try in turn: the rule, the rule with every edge, then closer seeds."""
    ignored: Problem | None = "min-cut-length-ignored" if min_cut_length > 0 else None
    seeds = compute_seeds(ring, spacing=spacing)
    if min_cut_length > 0:
        yield seeds, min_cut_length, None
    yield seeds, 0.0, ignored
    seeds = compute_seeds(ring, spacing=spacing / 4)
    yield seeds, 0.0, ignored
    for _ in range(MAX_REFINEMENTS):
        refined = _refine_seeds(seeds)
        if len(refined) == len(seeds):
            return
        seeds = refined
        yield seeds, 0.0, ignored


def _refine_seeds(seeds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add seeds where the outline comes closer to itself than its seeds are to each other, as in a narrow neck.

    There the Voronoi diagram has no edges along the middle. A step from seed to seed is divided so as to be no longer than
    the shortest Delaunay edge from its ends across the area.
    """
    triangulation = _triangulate(seeds)
    if triangulation is None:
        return seeds
    triangles, size = triangulation.simplices, len(seeds)
    one, other = triangles.ravel(), np.roll(triangles, 1, axis=1).ravel()
    across = ~np.isin((one - other) % size, (1, size - 1))
    one, other = one[across], other[across]
    reach = seeds[one] - seeds[other]
    width = np.full(size, np.inf)
    np.minimum.at(width, one, np.hypot(reach[:, 0], reach[:, 1]))
    np.minimum.at(width, other, np.hypot(reach[:, 0], reach[:, 1]))
    ring = np.concatenate([seeds, seeds[:1]])
    step = np.diff(ring, axis=0)
    length = np.hypot(step[:, 0], step[:, 1])
    allowed = np.minimum(width, np.roll(width, -1))
    # A point where the ring touches itself has no width; it cannot be helped.
    ratio = np.divide(length, allowed, out=np.ones(size), where=allowed > 0)
    count = np.clip(np.ceil(ratio), 1, 4).astype(np.int64)
    return _divide(ring, count)


def _compute_graph(seeds: NDArray[np.float64], area: Polygon, min_cut_length: float) -> Graph | None:
    """Voronoi diagram of the seeds: its edges of sufficient length with both ends inside the area.

    It is read off its dual, the Delaunay triangulation, which is several times faster to have: the nodes are the triangles'
    circumcentres, the edges join those of neighbouring triangles.
    """
    triangulation = _triangulate(seeds)
    if triangulation is None:
        return None
    nodes = _compute_circumcentres(seeds[triangulation.simplices])
    inside = np.asarray(np.isfinite(nodes).all(axis=1), dtype=np.bool_)
    inside[inside] = shapely.contains_xy(area, nodes[inside])
    if not inside.any():
        return None
    triangles = triangulation.simplices
    one, other = np.repeat(np.arange(len(nodes)), 3), triangulation.neighbors.ravel()
    kept = np.flatnonzero((one < other) & inside[one] & inside[other])
    # The neighbour opposite a corner lies beyond the other two. Between two seeds that follow each other along the outline
    # the edge leaves the area if it has one end on each side of the step from seed to seed.
    left, right = triangles[:, [1, 2, 0]].ravel()[kept], triangles[:, [2, 0, 1]].ravel()[kept]
    along = np.isin((left - right) % len(seeds), (1, len(seeds) - 1))
    step, foot = seeds[right] - seeds[left], seeds[left]
    sides = [
        (step[:, 0] * (end - foot)[:, 1] > step[:, 1] * (end - foot)[:, 0]) for end in (nodes[one[kept]], nodes[other[kept]])
    ]
    kept = kept[~(along & (sides[0] != sides[1]))]
    index = np.cumsum(inside) - 1
    nodes, edges = nodes[inside], np.column_stack([index[one[kept]], index[other[kept]]])
    step = nodes[edges[:, 1]] - nodes[edges[:, 0]]
    reach = nodes - seeds[triangles[inside, 0]]
    graph = Graph(
        nodes=nodes,
        clearance=np.hypot(reach[:, 0], reach[:, 1]),
        edges=edges,
        costs=np.hypot(step[:, 0], step[:, 1]),
    )
    # Nodes that coincide, where more than three seeds are equally near, are one node of the diagram.
    joins = graph.costs <= COINCIDENT * np.ptp(seeds, axis=0).max()
    return graph.without((graph.costs < min_cut_length) & ~joins)


def _triangulate(seeds: NDArray[np.float64]) -> scipy.spatial.Delaunay | None:
    """Delaunay triangulation of seeds; None for fewer than three, or all on a line.

    Seeds in even steps along straight edges are the worst case of the underlying hull algorithm. Moved by a part in 1e10, each
    another way, they take a tenth of the time; only who neighbours whom is used of the result.
    """
    low, high = seeds.min(axis=0), seeds.max(axis=0)
    # Multiples of irrational numbers, modulo 1: as good as random, and the same everywhere.
    fraction = np.modf(np.arange(1, len(seeds) + 1)[:, None] * [0.6180339887498949, 0.4142135623730951])[0]
    try:
        return scipy.spatial.Delaunay(seeds - (low + high) / 2 + (fraction - 0.5) * JOGGLE * (high - low).max())
    except (scipy.spatial.QhullError, ValueError):
        return None


def _compute_circumcentres(triangles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Circumcentres (n, 2) of triangles (n, 3, 2); not finite for flat ones."""
    first, second = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    area = 2 * (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
    first_square, second_square = (first**2).sum(axis=1), (second**2).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        x = (second[:, 1] * first_square - first[:, 1] * second_square) / area
        y = (first[:, 0] * second_square - second[:, 0] * first_square) / area
    return np.asarray(triangles[:, 0] + np.column_stack([x, y]), dtype=np.float64)


def _straighten(path: NDArray[np.float64], area: Polygon, spacing: float, grid_size: float) -> LineString:
    """Drop the vertices that change nothing, and round the rest to the precision grid."""
    path = np.rint(path / grid_size) * grid_size
    keep = np.concatenate([[True], (np.diff(path, axis=0) != 0).any(axis=1)])
    line = LineString(path[keep])
    straight = line.simplify(STRAIGHTENING * spacing)
    return straight if isinstance(straight, LineString) and area.covers(straight) else line
