"""The cheapest path through a graph that lies inside an area, between two points of the area's outline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import scipy
import shapely
from shapely import Polygon

if TYPE_CHECKING:
    from numpy.typing import NDArray


#: Nodes nearest to the end of a cut that are tried as its way into the graph.
MAX_ENTRIES = 16
#: Relative rounding of a node's distance to its own seeds.
OWN_TOLERANCE = 1e-9
#: Times that the edges of a path which leave the area are taken out of the graph before all edges are tested.
MAX_REPAIRS = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Graph:
    """Places inside an area, and the steps between them."""

    nodes: NDArray[np.float64]
    """float64 (n, 2), CRS units."""
    clearance: NDArray[np.float64]
    """How far from a node its own surroundings reach, float64 (n,), CRS units: beyond, a node is no entry for an end that
    has another; infinite where all are alike.
    """
    edges: NDArray[np.intp]
    """Intp (m, 2), indexes of nodes."""
    costs: NDArray[np.float64]
    """What it costs to follow an edge, float64 (m,), at least 0; lengths in CRS units, or whole numbers."""

    def without(self, unwanted: NDArray[np.bool_]) -> Graph:
        """Drop edges."""
        return replace(self, edges=self.edges[~unwanted], costs=self.costs[~unwanted])


def solve_path(
    graph: Graph, area: Polygon, ends: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> NDArray[np.float64] | None:
    """The cheapest path through the graph between two points of the outline, inside the area; float64 (k, 2) or None.

    An edge with both ends inside may still leave the area where the outline has a narrow bay. The path is tested first: edges
    that leave are taken out and it is sought again; only then are all edges tested, which takes longer.
    """
    for count in (1, MAX_ENTRIES):
        starts, goals = (_find_entries(graph, area, end, count) for end in ends)
        rest = graph
        for repair in range(MAX_REPAIRS + 1):
            if repair == MAX_REPAIRS:
                rest = rest.without(~shapely.covers(area, shapely.linestrings(rest.nodes[rest.edges])))
            nodes = _trace_path(rest, starts, goals)
            if nodes is None:
                break
            hops = np.sort(np.column_stack([nodes[:-1], nodes[1:]]), axis=1)
            leaving = hops[~shapely.covers(area, shapely.linestrings(rest.nodes[hops]))] if len(hops) else hops
            if len(leaving) == 0:
                return np.concatenate([ends[0][None], rest.nodes[nodes], ends[1][None]])
            rest = rest.without((np.sort(rest.edges, axis=1)[:, None] == leaving[None]).all(axis=2).any(axis=1))
    return None


def _find_entries(graph: Graph, area: Polygon, end: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """Nodes nearest to a point of the outline that are seen from it inside the area, the nearest first.

    The point is a seed. Nodes of its own Voronoi cell go before all others, which lie off the way into the diagram: from
    the middle of a straight edge the nearest node of all is on the branch to one of the corners.
    """
    distance = np.hypot(graph.nodes[:, 0] - end[0], graph.nodes[:, 1] - end[1])
    is_foreign = distance > graph.clearance * (1 + OWN_TOLERANCE)
    near = np.lexsort((distance, is_foreign))[:count]
    sight = np.empty((len(near), 2, 2))
    sight[:, 0], sight[:, 1] = end, graph.nodes[near]
    return np.asarray(near[shapely.covers(area, shapely.linestrings(sight))], dtype=np.intp)


def _trace_path(graph: Graph, starts: NDArray[np.intp], goals: NDArray[np.intp]) -> NDArray[np.intp] | None:
    """Indexes of the nodes along the cheapest path between the first start and the first goal that are connected."""
    size = len(graph.nodes)
    # A node that stands on another has an edge that costs nothing, which a sparse graph would take for no edge.
    weights = np.maximum(graph.costs, np.finfo(np.float64).tiny)
    one, other = graph.edges.T
    row, column = np.concatenate([one, other]), np.concatenate([other, one])
    order = np.argsort(row, kind="stable")
    pointer = np.searchsorted(row[order], np.arange(size + 1))
    matrix = scipy.sparse.csr_array((np.concatenate([weights, weights])[order], column[order], pointer), shape=(size, size))
    for start in starts:
        distances, previous = scipy.sparse.csgraph.dijkstra(matrix, indices=np.array([start]), return_predecessors=True)
        reached = goals[np.isfinite(distances[0, goals])]
        if reached.size:
            nodes = [int(reached[0])]
            while nodes[-1] != start:
                nodes.append(int(previous[0, nodes[-1]]))
            return np.array(nodes[::-1], dtype=np.intp)
    return None
