"""Cells between the cuts of overlaps, one a scene: what the methods of this stage share.

How two footprints part is the work of :mod:`processor.stages.seamlines.pair_split`; that the cells of any number of scenes
partition the union of the footprints is the work of :mod:`processor.stages.seamlines.partition`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import shapely
from shapely import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from processor.errors import InputError
from processor.model import Cell, Finding
from processor.stages.seamlines.centre_line import SplitRule
from processor.stages.seamlines.pair_split import FindWay, PartSplit, solve_splits
from processor.stages.seamlines.partition import (
    REFINEMENT,
    Run,
    collect_polygons,
    compute_grid_size,
    select_polygons,
    snap_polygons,
    solve_partition,
)
from processor.stages.seamlines.records import Cutline, Seamlines

FindWays = Callable[[str, str], FindWay | None]

#: Polygons of a footprint smaller than this relative to its largest are islands: they make no seams.
ISLAND_SHARE = 0.01

_ADVICE = {
    "min-cut-length-ignored": "min_cut_length leaves no connected centre line, so edges of every length were used; lower it",
    "straight-seamline": "their overlap has no centre line, so a straight line between the crossing outlines was used",
    "no-seamline": "their overlap has no centre line, so it went whole to the scene that it adjoins most; check the footprints",
}


def solve_cells(
    footprints: Mapping[str, BaseGeometry],
    *,
    min_point_spacing: float,
    min_cut_length: float,
    debug: bool = False,
    run: Run = map,
    find_ways: FindWays | None = None,
    places: Sequence[int] | None = None,
    stage: str = "voronoi_center_seamline",
) -> Seamlines:
    """Partition the union of the footprints into one cell a scene, along the centre lines of the overlaps.

    Parameters
    ----------
    footprints
        {scene: polygons in one CRS}. Their order does not matter: scenes are taken in name order. Polygons of a footprint
        below one hundredth of its largest are islands, which make no seams and keep what no other scene covers.
    min_point_spacing
        Distance between seeds along an intersection's outline, CRS units; but an outline gets at least 64 seeds, and at
        most about 2048 beside its own vertices.
    min_cut_length
        Voronoi edges shorter than this are left out, CRS units.
    debug
        Keep intersections, seeds and Voronoi edges as the cutlines' traces.
    run
        As ``map``, or the map of a pool: cuts of one scene with several others may be found at once.
    find_ways
        What finds the cuts of two scenes, by their names in name order, that are preferred to the centre lines; None where
        nothing does.
    places
        Of the scenes in name order: where two cover one another, the one with the lesser has all; those of equal ones are cut.
    stage
        That findings name.

    Returns
    -------
    Seamlines
        A scene whose footprint is empty, or whose every place another scene wins, has an empty cell.

    Raises
    ------
    InputError
        If the spacing is not positive, the cut length is negative, or a footprint is not finite.

    """
    if not (0 < min_point_spacing < np.inf and 0 <= min_cut_length < np.inf):
        msg = (
            f"min_point_spacing has to be positive and min_cut_length at least 0, both finite and in CRS units; "
            f"got {min_point_spacing} and {min_cut_length}"
        )
        raise InputError(msg)
    names = sorted(footprints)
    for name in names:
        if not footprints[name].is_empty and not np.isfinite(footprints[name].bounds).all():
            msg = f"the footprint of scene {name!r} has bounds {footprints[name].bounds}; its coordinates have to be finite"
            raise InputError(msg)
    grid_size = compute_grid_size(footprints.values())
    rule = SplitRule(min_point_spacing=min_point_spacing, min_cut_length=min_cut_length, grid_size=grid_size / REFINEMENT)
    snapped = [snap_polygons(footprints[name], grid_size) for name in names]
    main, islands = zip(*map(_part_islands, snapped), strict=True) if names else ((), ())
    solved: dict[tuple[int, int], list[PartSplit]] = {}

    def split(other: int, one: int) -> BaseGeometry:
        if places is not None and places[one] != places[other]:
            is_won = places[other] < places[one]
            common = shapely.intersection(main[one], main[other], grid_size=rule.grid_size) if is_won else Polygon()
            return select_polygons(common)
        find_way = find_ways(names[one], names[other]) if find_ways is not None else None
        parts = solve_splits(main[one], main[other], rule, find_way)
        # Of thousands of pairs, pieces and traces would fill the memory.
        solved[one, other] = [replace(part, second_piece=Polygon(), trace=part.trace if debug else None) for part in parts]
        return collect_polygons(part.second_piece for part in parts)

    polygons = solve_partition(main, islands, split, grid_size, run=run)
    cells = tuple(Cell(scene=name, polygon=polygon) for name, polygon in zip(names, polygons, strict=True))
    pairs = [(names[one], names[other], part) for (one, other), parts in sorted(solved.items()) for part in parts]
    problems = [
        Finding(
            severity="warning",
            code=part.problem,
            message=f"scenes {first!r} and {second!r}: {_ADVICE[part.problem]}",
            scene=first,
            stage=stage,
        )
        for first, second, part in pairs
        if part.problem is not None
    ]
    empty = [
        Finding(
            severity="info",
            code="empty-cell",
            message=f"scene {cell.scene!r} owns no part of the mosaic: its footprint is empty or other scenes win all of it",
            scene=cell.scene,
            stage=stage,
        )
        for cell in cells
        if cell.polygon.is_empty
    ]
    return Seamlines(
        cells=cells,
        footprints=tuple(snapped),
        cutlines=tuple(
            Cutline(first=first, second=second, line=part.line, follows=part.follows, trace=part.trace)
            for first, second, part in pairs
            if part.line is not None
        ),
        findings=tuple(problems + empty),
        grid_size=grid_size,
        places=tuple(places or ()),
    )


def clip_cells(cells: Iterable[Cell], area: BaseGeometry) -> tuple[Cell, ...]:
    """Keep the part of each cell inside an area of interest (same CRS); the cells still share no area."""
    kept = select_polygons(shapely.make_valid(area, method="structure", keep_collapsed=False))
    return tuple(replace(cell, polygon=select_polygons(shapely.intersection(cell.polygon, kept))) for cell in cells)


def _part_islands(footprint: Polygon | MultiPolygon) -> tuple[Polygon | MultiPolygon, Polygon | MultiPolygon]:
    """Divide a footprint into the polygons that make seams and its islands."""
    if isinstance(footprint, Polygon):
        return footprint, Polygon()
    parts = shapely.get_parts(footprint)
    areas = shapely.area(parts)
    is_island = areas < ISLAND_SHARE * areas.max(initial=0.0)
    return collect_polygons(parts[~is_island]), collect_polygons(parts[is_island])
