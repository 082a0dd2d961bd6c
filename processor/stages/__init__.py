"""The six stages, in the order in which they run, and the methods of each.

A stage has a folder here, whose ``__init__`` holds the registry of its methods. From these registries follow the sections and
switches of the configuration, the digest, memory estimates, stage rasters, published files and the pages of the documentation.
"""

from __future__ import annotations

from typing import Final

from processor.stages.align import ALIGN_METHODS
from processor.stages.clip import CLIP_METHODS
from processor.stages.matching import GLOBAL_METHODS, LOCAL_METHODS
from processor.stages.merge import MERGE_METHODS
from processor.stages.registry import Method, Stage
from processor.stages.seamlines import SEAMLINE_METHODS

__all__ = ["STAGES", "Method", "Stage"]

STAGES: Final = (
    Stage(
        name="matching_global",
        switch="matching_global_method",
        description="Global gain and offset of each scene and band.",
        default="global_regression",
        methods=GLOBAL_METHODS,
        off="processor.stages.matching.method:NoGlobalMatching",
    ),
    Stage(
        name="matching_local",
        switch="matching_local_method",
        description="Local correction on a grid of blocks.",
        default="local_block_adjustment",
        methods=LOCAL_METHODS,
        off="processor.stages.matching.method:NoLocalMatching",
    ),
    Stage(
        name="align",
        switch="align_method",
        description="Resampling of the scenes onto one grid.",
        default="align_rasters",
        methods=ALIGN_METHODS,
        off="processor.stages.align.method:NoAlignment",
    ),
    Stage(
        name="seamlines",
        switch="seamline_method",
        description="Seamlines between overlapping scenes.",
        default="voronoi_center_seamline",
        methods=SEAMLINE_METHODS,
        off="processor.stages.seamlines.method:NoSeamlines",
        has_rasters=False,
    ),
    Stage(
        name="clip",
        switch="clip_method",
        description="Cut of each scene by its cell.",
        default="mask_rasters",
        methods=CLIP_METHODS,
        off="processor.stages.clip.method:NoClipping",
    ),
    Stage(
        name="merge",
        switch="merge_method",
        description="One raster from all scenes.",
        default="merge_rasters",
        methods=MERGE_METHODS,
        off="processor.stages.merge.method:NoMerging",
        has_rasters=False,
    ),
)
