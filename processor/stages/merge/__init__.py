"""Merging: one raster from all scenes."""

from __future__ import annotations

from typing import Final

from processor.stages.merge.options import MergeRastersOptions
from processor.stages.registry import Method

__all__ = ["MERGE_METHODS"]

MERGE_METHODS: Final = {
    "merge_rasters": Method(options=MergeRastersOptions, implementation="processor.stages.merge.merge_rasters:MergeRasters"),
}
