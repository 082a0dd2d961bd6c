"""What "the cells partition the union of the footprints" means, as a check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from processor.stages.seamlines.records import Seamlines


def assert_partition(seamlines: Seamlines, footprints: Mapping[str, BaseGeometry]) -> None:
    """Fail unless the cells cover what the footprints cover, share no area, fit vertex for vertex and keep to their own scene.

    Areas may differ by what rounding to the precision grid can make of the outlines.
    """
    names = sorted(footprints)
    cells = [cell.polygon for cell in seamlines.cells]
    assert [cell.scene for cell in seamlines.cells] == names
    assert all(cell.is_valid for cell in cells)
    tolerance = 20 * seamlines.grid_size * sum(footprint.length for footprint in footprints.values())
    valid = {name: shapely.make_valid(footprint) for name, footprint in footprints.items()}
    covered, wanted = shapely.union_all(cells), shapely.union_all(list(valid.values()))
    assert shapely.symmetric_difference(covered, wanted).area <= tolerance
    assert abs(sum(cell.area for cell in cells) - covered.area) <= tolerance
    for name, cell in zip(names, cells, strict=True):
        assert shapely.difference(cell, shapely.buffer(valid[name], 20 * seamlines.grid_size)).area <= tolerance, name
    assert_matched(cells)


def assert_matched(cells: Sequence[BaseGeometry]) -> None:
    """Fail unless the borders of all cells meet only in common vertices, and no segment has more than two cells.

    GEOS' own test of a coverage refuses polygons whose hole touches their shell in a vertex of a neighbour.
    """
    rings = shapely.get_rings(np.array(cells, dtype=object))
    coordinates, ring = shapely.get_coordinates(rings, return_index=True)
    inner = ring[1:] == ring[:-1]
    ends = np.stack([coordinates[:-1][inner], coordinates[1:][inner]], axis=1)
    if len(ends) == 0:
        return
    backward = (ends[:, 0, 0] > ends[:, 1, 0]) | ((ends[:, 0, 0] == ends[:, 1, 0]) & (ends[:, 0, 1] > ends[:, 1, 1]))
    ends[backward] = ends[backward][:, ::-1]
    segments, users = np.unique(ends.reshape(-1, 4), axis=0, return_counts=True)
    assert users.max() <= 2
    lines = shapely.linestrings(segments.reshape(-1, 2, 2))
    one, other = shapely.STRtree(lines).query(lines, predicate="intersects")
    pairs = one < other
    at_ends_only = shapely.relate_pattern(lines[one[pairs]], lines[other[pairs]], "FF*F0****")
    assert at_ends_only.all()
