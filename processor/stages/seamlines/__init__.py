"""Seamlines: which part of the mosaic each scene owns."""

from __future__ import annotations

from typing import Final

from processor.stages.registry import Method
from processor.stages.seamlines.options import LeastDifferenceSeamlineOptions, VoronoiCenterSeamlineOptions

__all__ = ["SEAMLINE_METHODS"]

SEAMLINE_METHODS: Final = {
    "voronoi_center_seamline": Method(
        options=VoronoiCenterSeamlineOptions,
        implementation="processor.stages.seamlines.voronoi_center_seamline:VoronoiCenterSeamline",
    ),
    "least_difference_seamline": Method(
        options=LeastDifferenceSeamlineOptions,
        implementation="processor.stages.seamlines.least_difference_seamline:LeastDifferenceSeamline",
    ),
}
