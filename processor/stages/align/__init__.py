"""Alignment: one pixel grid for all scenes."""

from __future__ import annotations

from typing import Final

from processor.stages.align.options import AlignRastersOptions
from processor.stages.registry import Method

__all__ = ["ALIGN_METHODS"]

ALIGN_METHODS: Final = {
    "align_rasters": Method(options=AlignRastersOptions, implementation="processor.stages.align.align_rasters:AlignRasters"),
}
