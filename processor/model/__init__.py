"""The nouns of the project: frozen records that flow forward from planning to publishing.

Axes are (bands, height, width); masks are (height, width), True where a pixel is valid. Coordinates are in CRS units unless
a field says otherwise; rows count down from the top, columns from the left.
"""

from __future__ import annotations

from processor.model.findings import Artifact, Finding
from processor.model.grid import Bounds, Grid, Window
from processor.model.scene import (
    Band,
    BandRule,
    Declared,
    Mask,
    MaskRef,
    Part,
    Provenance,
    RasterRef,
    Scaling,
    Scene,
    SceneRef,
    Source,
)
from processor.model.statistics import Adjustment, BlockGrid, BlockMap, Cell, Histogram, Moments, Overlap, OverlapSamples

__all__ = [
    "Adjustment",
    "Artifact",
    "Band",
    "BandRule",
    "BlockGrid",
    "BlockMap",
    "Bounds",
    "Cell",
    "Declared",
    "Finding",
    "Grid",
    "Histogram",
    "Mask",
    "MaskRef",
    "Moments",
    "Overlap",
    "OverlapSamples",
    "Part",
    "Provenance",
    "RasterRef",
    "Scaling",
    "Scene",
    "SceneRef",
    "Source",
    "Window",
]
