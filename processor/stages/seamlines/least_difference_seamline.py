"""Seamlines where the matched scenes differ least: around what would be cut in two, through what is equal in both.

The arrangement of the cells, their partition, and what is done where there is no such path are those of the centre lines
(:mod:`processor.stages.seamlines.voronoi_center_seamline`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from shapely import Geometry, LineString, Polygon

from processor.stages.matching.pair_difference import Radiometry, compute_pair_difference, compute_spread
from processor.stages.measures import Measures
from processor.stages.method import Need
from processor.stages.seamlines.block_path import BlockCosts, Obstacles, find_cheapest_way, make_block_costs
from processor.stages.seamlines.cells import solve_cells
from processor.stages.seamlines.cut_method import CutMethod
from processor.stages.seamlines.options import LeastDifferenceSeamlineOptions
from processor.stages.seamlines.pair_split import FindWay
from processor.stages.seamlines.partition import Run
from processor.stages.seamlines.records import Seamlines


class LeastDifferenceSeamline(CutMethod[LeastDifferenceSeamlineOptions]):
    """Cuts overlaps along the cheapest path through the blocks of their moments."""

    def list_needs(self, scenes: Collection[str]) -> frozenset[Need]:
        """Moments of small blocks too."""
        return super().list_needs(scenes) | {"matched_blocks", "fine_blocks"}

    def solve(
        self,
        footprints: Mapping[str, Geometry],
        measures: Measures,
        radiometry: Radiometry,
        *,
        places: Sequence[int] | None,
        run: Run,
    ) -> Seamlines:
        """The cells between those paths."""
        del run  # two threads wait for one another between so many small steps: they took as long, and a third more CPU
        matched = measures.require_matched()
        canvas = matched.canvas
        parts = {(part.first, part.second): part for part in (*matched.blocks, *matched.fine)}  # fine where measured
        spread = compute_spread(measures.scenes, radiometry)
        given = (self.files.get("obstacles", Obstacles), self.files.get("avoid", Obstacles))
        obstacles = tuple(one for one in given if one is not None)

        def find_ways(first: str, second: str) -> FindWay | None:
            part = parts.get((first, second))
            if part is None or not len(part.count):
                return None
            difference = compute_pair_difference(part, np.arange(len(part.count)), canvas, radiometry)
            costs = make_block_costs(part, difference, spread, canvas)
            return None if costs is None else partial(_find_way, costs, obstacles)

        return solve_cells(
            footprints,
            min_point_spacing=16 * math.sqrt(canvas.pixel_width * canvas.pixel_height),
            min_cut_length=0.0,
            debug=self.options.debug_vectors_path is not None,
            stage=self.name,
            places=places,
            find_ways=find_ways,
        )


def _find_way(
    costs: BlockCosts,
    obstacles: tuple[Obstacles, ...],
    area: Polygon,
    ends: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> LineString | None:
    return find_cheapest_way(costs, area, ends, [thing for given in obstacles for thing in given.find(area)])
