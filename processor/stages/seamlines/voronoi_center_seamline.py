"""Seamlines along the Voronoi centre lines of the overlaps of footprints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shapely import Geometry

from processor.stages.matching.pair_difference import Radiometry
from processor.stages.measures import Measures
from processor.stages.seamlines.cells import solve_cells
from processor.stages.seamlines.cut_method import CutMethod
from processor.stages.seamlines.options import VoronoiCenterSeamlineOptions
from processor.stages.seamlines.partition import Run
from processor.stages.seamlines.records import Seamlines


class VoronoiCenterSeamline(CutMethod[VoronoiCenterSeamlineOptions]):
    """Cuts overlaps along their centre lines."""

    def solve(
        self,
        footprints: Mapping[str, Geometry],
        measures: Measures,
        radiometry: Radiometry,
        *,
        places: Sequence[int] | None,
        run: Run,
    ) -> Seamlines:
        """:func:`solve_cells`."""
        del measures, radiometry
        return solve_cells(
            footprints,
            min_point_spacing=self.options.min_point_spacing,
            min_cut_length=self.options.min_cut_length,
            debug=self.options.debug_vectors_path is not None,
            stage=self.name,
            places=places,
            run=run,
        )
