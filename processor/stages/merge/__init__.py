"""Merging: one raster from all scenes."""

from __future__ import annotations

from typing import Final

from processor.stages.merge.options import GeomedianOptions, MedianOptions, MergeRastersOptions
from processor.stages.registry import Method

__all__ = ["MERGE_METHODS"]

MERGE_METHODS: Final = {
    "merge_rasters": Method(options=MergeRastersOptions, implementation="processor.stages.merge.merge_rasters:MergeRasters"),
    "median": Method(options=MedianOptions, implementation="processor.stages.merge.stacks:Median"),
    "geomedian": Method(options=GeomedianOptions, implementation="processor.stages.merge.stacks:Geomedian"),
}
