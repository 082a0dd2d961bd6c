"""Clipping: which pixels of a scene may go into the mosaic."""

from __future__ import annotations

from typing import Final

from processor.stages.clip.options import MaskRastersOptions
from processor.stages.registry import Method

__all__ = ["CLIP_METHODS"]

CLIP_METHODS: Final = {
    "mask_rasters": Method(options=MaskRastersOptions, implementation="processor.stages.clip.mask_rasters:MaskRasters"),
}
