"""What seamline methods decide: cells, and how they came about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from shapely import LineString, MultiPolygon, Polygon

from processor.model import Cell, Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

Follows = Literal["centre-line", "straight-line", "difference"]
"""What a cut follows: the middle of the overlap, a straight line where that has none, or where the scenes differ least."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CutlineTrace:
    """How a cut was found, for the debug layers."""

    intersection: Polygon
    """The part of the footprints' intersection that is cut, without its holes."""
    seeds: NDArray[np.float64]
    """float64 (n, 2), x and y in CRS units."""
    voronoi_edges: NDArray[np.float64]
    """float64 (m, 4), x and y of both ends in CRS units; the graph inside the intersection."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cutline:
    """Where two scenes part in one part of their intersection; first < second by name."""

    first: str
    """Name of the scene that comes first in name order."""
    second: str
    """Name of the other scene."""
    line: LineString
    """In CRS units, from one crossing of the outlines to another."""
    follows: Follows = "centre-line"
    """What the line follows."""
    trace: CutlineTrace | None = None
    """None unless debug layers were asked for."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seamlines:
    """The cells of all scenes and how they came about."""

    cells: tuple[Cell, ...]
    """One a scene, in name order; they partition the union of the footprints."""
    footprints: tuple[Polygon | MultiPolygon, ...]
    """The footprints as used (valid, on the precision grid), in the same order."""
    cutlines: tuple[Cutline, ...]
    """One for each pair and part of an intersection that had to be cut, in name order, the largest part first."""
    findings: tuple[Finding, ...]
    """Pairs whose centre line could not be found; scenes that own nothing."""
    grid_size: float
    """Precision grid of all coordinates, CRS units; the partition is exact to within it."""
    places: tuple[int, ...] = ()
    """Places of the scenes, in name order, from 0, where they are ranked: pixels of a lesser one win; else empty."""
