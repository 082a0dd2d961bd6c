"""What the first pass finds out: everything that the methods of the stages are solved from."""

from __future__ import annotations

from dataclasses import dataclass

from shapely import MultiPolygon, Polygon

from processor.model import Moments, Overlap
from processor.stages.block_sums import BlockSums


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SceneMeasures:
    """Everything measured of one scene."""

    name: str
    """Name of the scene."""
    moments: Moments
    """Moments of the pixels that count for the global statistics."""
    valid: Moments
    """Moments of all valid pixels."""
    sums: BlockSums | None
    """Block sums; None where the local adjustment needs none."""
    footprint: Polygon | MultiPolygon
    """Outline of the valid pixels, CRS units."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measures:
    """The result of the first pass."""

    scenes: tuple[SceneMeasures, ...]
    """In plan order."""
    overlaps: tuple[Overlap, ...]
    """Pairs with at least one common valid pixel, in name order."""
    union: int | None
    """Pixels of the mosaic's grid that some scene has and may give (within the area of interest, where there is one), or None
    where that was not counted exactly (statistics from overviews, or scenes on other grids).
    """
