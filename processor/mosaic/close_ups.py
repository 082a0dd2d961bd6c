"""Close-ups of the seams along which the matched scenes differ most: where they are, and their pixels while these are at hand.

Places are chosen between the passes, from what the first one measured, so that any task of the second can take the pixels of
those that lie in its windows: no pixel is read for them that is not read anyway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from processor.model import Cell, Grid, Window
from processor.mosaic.plan import BLOCK_EDGE
from processor.stages.matching.matched_blocks import MatchedBlocks
from processor.stages.matching.pair_difference import Radiometry, compute_pair_difference, compute_spread
from processor.stages.measures import Measures
from processor.stages.seamlines.records import Cutline, Follows

MOST_CLOSE_UPS: Final = 6

_EDGE: Final = 96  # pixels
_MOST_CUTS: Final = 2000  # the longest
_MOST_PLACES: Final = 64  # along a cut
_BESIDE: Final = 1.5  # pixels from a cell's border: a place that is on it
_COLUMNS: Final = 1 << 32


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseUp:
    """A place on a seam."""

    first: str
    """Name of the scene on one side that comes first in name order."""
    second: str
    """Name of the scene on the other side."""
    follows: Follows
    """What the cut follows."""
    row: int
    """Row of the upper left pixel in the mosaic."""
    col: int
    """Column of the upper left pixel in the mosaic."""
    height: int
    """Pixels."""
    width: int
    """Pixels."""
    difference: float | None
    """RMS difference of the matched scenes in the block that the place lies in, mean over bands, in the scenes' standard
    deviations; None where no blocks were measured.
    """

    @property
    def window(self) -> Window:
        """Of the mosaic's grid; within one of its blocks."""
        return Window(row=self.row, col=self.col, height=self.height, width=self.width)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CloseUpPixels:
    """The pixels of a close-up."""

    number: int
    """Of the close-up, from 0."""
    before: NDArray[np.generic]
    """The scenes as they came, cut alike, (bands, height, width), in the mosaic's dtype."""
    after: NDArray[np.generic]
    """The mosaic, (bands, height, width)."""
    index: NDArray[np.unsignedinteger]
    """Scene of each pixel, (height, width), 0 where there is none."""


def choose_close_ups(
    cuts: Sequence[Cutline], cells: Sequence[Cell], measures: Measures, radiometry: Radiometry, grid: Grid
) -> tuple[CloseUp, ...]:
    """The worst place of each of the six worst cuts; the middles of the longest ones where no blocks were measured.

    Parameters
    ----------
    cuts, cells
        Of the seamlines.
    measures
        Of the raw scenes.
    radiometry
        What matching makes of them.
    grid
        Of the mosaic.
    """
    longest = sorted(cuts, key=lambda cut: (-cut.line.length, cut.first, cut.second))[:_MOST_CUTS]
    polygons = {cell.scene: cell.polygon for cell in cells}
    blocks = {} if measures.matched is None else {(part.first, part.second): part for part in measures.matched.blocks}
    spread = compute_spread(measures.scenes, radiometry) if blocks else np.ones(1)
    found: dict[tuple[str, str], tuple[float, float, Cutline, shapely.Point]] = {}
    for cut in longest:
        places = _list_places(cut, polygons, grid)
        if not places:
            continue
        part = blocks.get((cut.first, cut.second))
        difference = np.full(len(places), np.nan) if part is None else _look_up(part, places, spread, grid, radiometry)
        known = np.nan_to_num(difference, nan=-1.0)
        worst = int(np.argmax(known)) if known.max() >= 0 else len(places) // 2
        candidate = (float(known[worst]), cut.line.length, cut, places[worst])
        pair = cut.first, cut.second
        if pair not in found or candidate[:2] > found[pair][:2]:
            found[pair] = candidate
    worst_first = sorted(found.values(), key=lambda one: (-one[0], -one[1], one[2].first, one[2].second))
    return tuple(_make_close_up(*one, grid) for one in worst_first[:MOST_CLOSE_UPS])


def take_close_ups(close_ups: Sequence[CloseUp], window: Window) -> list[tuple[int, CloseUp]]:
    """Those that lie in a window of whole blocks, with their numbers."""
    return [
        (number, close_up)
        for number, close_up in enumerate(close_ups)
        if window.row <= close_up.row < window.row_end and window.col <= close_up.col < window.col_end
    ]


def _list_places(cut: Cutline, polygons: Mapping[str, shapely.Geometry], grid: Grid) -> list[shapely.Point]:
    """Points along a cut that lie on the border of the two cells, as they became."""
    step = max(_EDGE / 3 * grid.pixel_width, cut.line.length / _MOST_PLACES)
    along = np.arange(step / 2, cut.line.length, step)
    points = shapely.line_interpolate_point(cut.line, along if len(along) else np.array([cut.line.length / 2]))
    near = _BESIDE * max(grid.pixel_width, grid.pixel_height)
    kept = np.ones(len(points), np.bool_)
    for name in (cut.first, cut.second):
        if name not in polygons or polygons[name].is_empty:
            return []
        shapely.prepare(polygons[name])
        kept &= shapely.dwithin(polygons[name], points, near)
    return list(points[kept])


def _look_up(
    part: MatchedBlocks, places: Sequence[shapely.Point], spread: NDArray[np.float64], grid: Grid, radiometry: Radiometry
) -> NDArray[np.float64]:
    """Differences in the blocks that places lie in, mean over the bands that vary, (n,); NaN where none was measured."""
    row = np.array([(grid.top - place.y) / grid.pixel_height for place in places]) // part.edge
    col = np.array([(place.x - grid.left) / grid.pixel_width for place in places]) // part.edge
    keys = part.row.astype(np.int64) * _COLUMNS + part.col
    order = np.argsort(keys, kind="stable")
    wanted = row.astype(np.int64) * _COLUMNS + col.astype(np.int64)
    found = np.full(len(places), np.nan)
    varies = spread > 0
    if not len(keys) or not varies.any():
        return found
    at = order[np.searchsorted(keys, wanted, sorter=order).clip(max=len(keys) - 1)]
    known = keys[at] == wanted
    difference = compute_pair_difference(part, at[known], grid, radiometry)
    found[known] = (difference[varies] / spread[varies, None]).mean(axis=0)
    return found


def _make_close_up(difference: float, length: float, cut: Cutline, place: shapely.Point, grid: Grid) -> CloseUp:
    """A square around a place, moved into the block of the mosaic in which that lies."""
    del length
    row, height = _fit((grid.top - place.y) / grid.pixel_height, grid.height)
    col, width = _fit((place.x - grid.left) / grid.pixel_width, grid.width)
    return CloseUp(
        first=cut.first,
        second=cut.second,
        follows=cut.follows,
        row=row,
        col=col,
        height=height,
        width=width,
        difference=difference if difference >= 0 else None,
    )


def _fit(place: float, size: int) -> tuple[int, int]:
    """First pixel and number of pixels around a place, within its block and the grid."""
    pixel = min(max(int(place), 0), size - 1)
    first = pixel // BLOCK_EDGE * BLOCK_EDGE
    end = min(first + BLOCK_EDGE, size)
    start = min(max(pixel - _EDGE // 2, first), max(end - _EDGE, first))
    return start, min(_EDGE, end - start)
