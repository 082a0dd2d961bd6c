"""The cheapest cut through the blocks that two scenes share: where the matched scenes differ least, and around obstacles.

METHODS, "seamline_method: least_difference_seamline". Costs are whole numbers, so that no sum hangs on an order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import shapely
from rasterio.features import rasterize
from rasterio.transform import Affine
from shapely import Geometry, LineString, Polygon, STRtree

from processor.model import Grid
from processor.stages.matching.block_weights import LEAST_VALID
from processor.stages.matching.matched_blocks import MatchedBlocks
from processor.stages.seamlines.graph_path import Graph, solve_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LENGTH: Final = 0.01  # cost of a step without any difference, in the scenes' variances: the path stays short
_UNIT: Final = 1000  # costs of a block in one of the scenes' variances
_MOST: Final = 100 * _UNIT  # of a block
_OBSTACLE: Final = (
    10_000 * _UNIT
)  # of a cell that an obstacle touches: a detour through a hundred of the worst blocks is cheaper
_STEPS: Final = ((0, 1, 1000), (1, 0, 1000), (1, 1, 1414), (1, -1, 1414))  # rows, columns, length in thousandths of a cell
_FINER: Final = 4  # cells along a block where there are obstacles
_MOST_CELLS: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockCosts:
    """What it costs to pass through the blocks of a pair's lattice."""

    left: float
    """Left edge of column 0, CRS units."""
    top: float
    """Top edge of row 0, CRS units."""
    width: float
    """Of a block, CRS units."""
    height: float
    """Of a block, CRS units."""
    row: NDArray[np.int32]
    """Rows of the blocks whose difference is known, int32 (n,)."""
    col: NDArray[np.int32]
    """Their columns, int32 (n,)."""
    cost: NDArray[np.int64]
    """Of each of them, int64 (n,), positive."""
    other: int
    """Cost of any other block: the median of those that are known."""


def make_block_costs(
    part: MatchedBlocks, difference: NDArray[np.float64], spread: NDArray[np.float64], canvas: Grid
) -> BlockCosts | None:
    """Costs of the blocks of a pair: the mean square of the difference in units of the scenes' variance, and a little.

    Parameters
    ----------
    part
        The pair.
    difference
        RMS difference of the two matched scenes in its blocks, float64 (bands, n), units of the matched scenes.
    spread
        Standard deviations of the matched scenes, float64 (bands,), in the same units; bands in which it is 0 do not count.
    canvas
        Grid on which the lattice hangs.

    Returns
    -------
    None where no block has enough pixels, or no band varies.
    """
    varies = spread > 0
    known = (part.count >= LEAST_VALID * part.whole) & np.isfinite(difference).all(axis=0)
    if not varies.any() or not known.any():
        return None
    square = ((difference[varies][:, known] / spread[varies, None]) ** 2).mean(axis=0)
    cost = np.rint((square + _LENGTH) * _UNIT).clip(1, _MOST).astype(np.int64)
    return BlockCosts(
        left=canvas.left,
        top=canvas.top,
        width=part.edge * canvas.pixel_width,
        height=part.edge * canvas.pixel_height,
        row=part.row[known],
        col=part.col[known],
        cost=cost,
        other=int(np.sort(cost)[len(cost) // 2]),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Obstacles:
    """Things that cuts go around where there is a way."""

    tree: STRtree
    """Of polygons, CRS units."""

    def find(self, area: Polygon) -> list[Geometry]:
        """Those that meet an area."""
        return list(self.tree.geometries[np.sort(self.tree.query(area, predicate="intersects"))])


def make_obstacles(geometries: Iterable[Geometry]) -> Obstacles:
    """Obstacles of polygons in CRS units."""
    return Obstacles(tree=STRtree(list(geometries)))


def find_cheapest_way(
    costs: BlockCosts,
    area: Polygon,
    ends: tuple[NDArray[np.float64], NDArray[np.float64]],
    obstacles: Iterable[Geometry] = (),
) -> LineString | None:
    """The cheapest path from centre to centre of the cells of an area, between two points of its outline.

    A step to one of eight neighbours costs its length times the mean cost of both. Cells are blocks, or quarters of their edges
    where there are obstacles; those that an obstacle touches cost more than any way around.

    Parameters
    ----------
    costs
        Of the blocks of the pair.
    area
        Without holes; prepared.
    ends
        Vertices of its outline, float64 (2,) each, CRS units.
    obstacles
        Polygons in CRS units.

    Returns
    -------
    Inside the area, its vertices the corners of the path; None where the area is too narrow for a path, or larger than a
    million cells.
    """
    obstacles = list(obstacles)
    finer = _FINER if obstacles else 1
    width, height = costs.width / finer, costs.height / finer
    left, bottom, right, top = area.bounds
    first_row, end_row = math.floor((costs.top - top) / height), math.ceil((costs.top - bottom) / height)
    first_col, end_col = math.floor((left - costs.left) / width), math.ceil((right - costs.left) / width)
    shape = end_row - first_row, end_col - first_col
    if shape[0] * shape[1] > _MOST_CELLS:
        return None
    blocks = _spread_costs(costs, (first_row, first_col), shape, finer)
    if obstacles:
        place = Affine(width, 0, costs.left + first_col * width, 0, -height, costs.top - first_row * height)
        touched = rasterize(obstacles, out_shape=shape, transform=place, all_touched=True, dtype=np.uint8)
        blocks[touched > 0] += _OBSTACLE
    x = costs.left + (first_col + np.arange(shape[1]) + 0.5) * width
    y = costs.top - (first_row + np.arange(shape[0]) + 0.5) * height
    across, down = np.meshgrid(x, y)
    inside = shapely.contains_xy(area, across, down)
    graph = _make_graph(blocks, inside, np.column_stack([across[inside], down[inside]]))
    path = solve_path(graph, area, ends) if graph is not None else None
    if path is None:
        return None
    line = LineString(_keep_corners(path))
    return line if line.is_simple else None


def _spread_costs(costs: BlockCosts, first: tuple[int, int], shape: tuple[int, int], finer: int) -> NDArray[np.int64]:
    """Costs of the cells of a part of the lattice, int64 (rows, cols)."""
    row, col = (np.arange(start, start + size) // finer for start, size in zip(first, shape, strict=True))
    found = np.full((row[-1] - row[0] + 1, col[-1] - col[0] + 1), costs.other, np.int64)
    at, beside = costs.row - row[0], costs.col - col[0]
    within = (at >= 0) & (at < found.shape[0]) & (beside >= 0) & (beside < found.shape[1])
    found[at[within], beside[within]] = costs.cost[within]
    return found[np.ix_(row - row[0], col - col[0])]


def _make_graph(cost: NDArray[np.int64], inside: NDArray[np.bool_], nodes: NDArray[np.float64]) -> Graph | None:
    """The cells inside, and the steps between neighbours; None without any step."""
    number = np.cumsum(inside).reshape(inside.shape) - 1
    edges, costs = [], []
    for down, across, length in _STEPS:
        rows = slice(None, -down or None), slice(down, None)
        cols = (
            (slice(None, -across or None), slice(across, None)) if across >= 0 else (slice(-across, None), slice(None, across))
        )
        one, other = (rows[0], cols[0]), (rows[1], cols[1])
        both = inside[one] & inside[other]
        edges.append(np.column_stack([number[one][both], number[other][both]]))
        costs.append(length * (cost[one][both] + cost[other][both]))
    joined = np.concatenate(edges)
    if not len(joined):
        return None
    reach = np.full(len(nodes), np.inf)
    return Graph(nodes=nodes, clearance=reach, edges=joined, costs=np.concatenate(costs).astype(np.float64))


def _keep_corners(path: NDArray[np.float64]) -> NDArray[np.float64]:
    """A path (n, 2) without the vertices at which it goes straight on."""
    step = np.diff(path, axis=0)
    turn = step[:-1, 0] * step[1:, 1] - step[:-1, 1] * step[1:, 0]
    size = np.hypot(*step[:-1].T) * np.hypot(*step[1:].T)
    keep = np.abs(turn) > 1e-9 * size
    return np.asarray(path[np.concatenate([[True], keep, [True]])], dtype=np.float64)
