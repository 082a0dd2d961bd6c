"""Footprints, seamlines along the Voronoi centre lines of their overlaps, and the cells between them.

How two footprints part is the work of :mod:`processor.stages.seamlines.pair_split`; that the cells of any number of scenes
partition the union of the footprints is the work of :mod:`processor.stages.seamlines.partition`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio.features
import scipy
import shapely
from affine import Affine
from shapely import Geometry, LineString, MultiLineString, MultiPoint, MultiPolygon, Polygon, STRtree
from shapely.geometry.base import BaseGeometry

from processor.errors import InputError
from processor.model import Cell, Finding, Grid
from processor.stages.measures import Measures
from processor.stages.method import Footprints, WantedCopy
from processor.stages.seamlines.centre_line import SplitRule
from processor.stages.seamlines.method import SeamlineMethod
from processor.stages.seamlines.options import VoronoiCenterSeamlineOptions
from processor.stages.seamlines.pair_split import PartSplit, solve_splits
from processor.stages.seamlines.partition import (
    REFINEMENT,
    Run,
    collect_polygons,
    compute_grid_size,
    select_polygons,
    snap_polygons,
    solve_partition,
)
from processor.stages.seamlines.records import Cutline, CutlineTrace, Seamlines

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "VoronoiCenterSeamline",
    "clip_cells",
    "compute_footprint",
    "largest_polygon",
    "solve_cells",
    "solve_cutline",
]

STAGE = "voronoi_center_seamline"

#: Polygons of a footprint smaller than this relative to its largest are islands: they make no seams.
ISLAND_SHARE = 0.01

_ADVICE = {
    "min-cut-length-ignored": "min_cut_length leaves no connected centre line, so edges of every length were used; lower it",
    "straight-seamline": "their overlap has no centre line, so a straight line between the crossing outlines was used",
    "no-seamline": "their overlap has no centre line, so it went whole to the scene that it adjoins most; check the footprints",
}


def compute_footprint(mask: NDArray[np.bool_], grid: Grid, *, simplify: float = 0.0) -> Polygon | MultiPolygon:
    """Outline the valid pixels of a scene.

    Parameters
    ----------
    mask
        bool (height, width), True = valid.
    grid
        Grid of the mask.
    simplify
        Tolerance in CRS units; 0 keeps every pixel edge. Above 0 the outline is simplified outward: it still covers every
        valid pixel, reaches about twice the tolerance beyond at most, and gaps and holes narrower than that are filled.
        One and a half pixels turn the staircase of a slanted edge into a straight line.

    Returns
    -------
    Polygon or MultiPolygon
        All parts, 8-connected, in CRS units; empty where no pixel is valid.

    Raises
    ------
    InputError
        If the mask does not have the grid's shape.

    """
    if mask.shape != grid.shape:
        msg = f"the validity mask has shape {mask.shape}, but its grid has {grid.shape}; pass the mask of the same grid"
        raise InputError(msg)
    parts = _outline(mask, Affine(*grid.transform))
    # Pixels that meet at a corner make a ring touch itself, which is valid only as several rings.
    touching = np.flatnonzero(~shapely.is_valid(parts))
    parts[touching] = shapely.make_valid(parts[touching], method="structure", keep_collapsed=False)
    return collect_polygons(_simplify_outward(parts, simplify) if simplify > 0 and parts.size else parts)


def _outline(mask: NDArray[np.bool_], transform: Affine) -> NDArray[Any]:
    """Outlines of the 8-connected parts of a mask, object (n,), along the edges of its pixels.

    Rows and columns that repeat the one before have no corner of an outline between them, so they are traced as one: a full
    frame of 2048 x 2048 pixels takes 3 ms instead of 70.
    """
    rows = np.flatnonzero(np.concatenate([[True], (mask[1:] != mask[:-1]).any(axis=1)]))
    distinct = mask[rows]
    cols = np.flatnonzero(np.concatenate([[True], (distinct[:, 1:] != distinct[:, :-1]).any(axis=0)]))
    distinct = np.ascontiguousarray(distinct[:, cols])
    shapes = rasterio.features.shapes(distinct.view(np.uint8), mask=distinct, connectivity=8)
    x_edges = transform.c + np.append(cols, mask.shape[1]) * transform.a
    y_edges = transform.f + np.append(rows, mask.shape[0]) * transform.e

    def place(ring: list[tuple[float, float]]) -> NDArray[np.float64]:
        col, row = np.array(ring, np.intp).T
        return np.column_stack([x_edges[col], y_edges[row]])

    outlines = [[place(ring) for ring in shape["coordinates"]] for shape, _ in shapes]
    return np.array([Polygon(rings[0], rings[1:]) for rings in outlines], dtype=object)


def largest_polygon(footprint: BaseGeometry) -> Polygon:
    """Largest polygon of a footprint by area, the first of equals; an empty polygon where there is none."""
    polygons = [part for part in shapely.get_parts(select_polygons(footprint)) if isinstance(part, Polygon)]
    return max(polygons, key=lambda polygon: polygon.area, default=Polygon())


def solve_cutline(
    first: BaseGeometry, second: BaseGeometry, *, min_point_spacing: float, min_cut_length: float
) -> LineString | None:
    """Solve the centre line of the largest part of two footprints' intersection.

    Parameters
    ----------
    first, second
        Footprints in one CRS.
    min_point_spacing
        Distance between seeds along the intersection's outline, CRS units.
    min_cut_length
        Voronoi edges shorter than this are left out, CRS units.

    Returns
    -------
    LineString or None
        From one crossing of the outlines to another, inside the intersection; None where the footprints share no area.

    """
    rule = _make_rule((first, second), min_point_spacing, min_cut_length)
    splits = solve_splits(snap_polygons(first, rule.grid_size), snap_polygons(second, rule.grid_size), rule)
    return splits[0].line if splits else None


def solve_cells(
    footprints: Mapping[str, BaseGeometry],
    *,
    min_point_spacing: float,
    min_cut_length: float,
    debug: bool = False,
    run: Run = map,
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

    Returns
    -------
    Seamlines
        A scene whose footprint is empty, or whose every place another scene wins, has an empty cell.

    Raises
    ------
    InputError
        If the spacing is not positive, the cut length is negative, or a footprint is not finite.

    """
    names = sorted(footprints)
    for name in names:
        if not footprints[name].is_empty and not np.isfinite(footprints[name].bounds).all():
            msg = f"the footprint of scene {name!r} has bounds {footprints[name].bounds}; its coordinates have to be finite"
            raise InputError(msg)
    rule = _make_rule(footprints.values(), min_point_spacing, min_cut_length)
    grid_size = REFINEMENT * rule.grid_size
    snapped = [snap_polygons(footprints[name], grid_size) for name in names]
    main, islands = zip(*map(_part_islands, snapped), strict=True) if names else ((), ())
    solved: dict[tuple[int, int], list[PartSplit]] = {}

    def split(one: int, other: int) -> BaseGeometry:
        parts = solve_splits(main[one], main[other], rule)
        solved[one, other] = parts if debug else [_without_trace(part) for part in parts]
        return collect_polygons(part.second_piece for part in parts)

    polygons = solve_partition(main, islands, split, grid_size, run=run)
    cells = tuple(Cell(scene=name, polygon=polygon) for name, polygon in zip(names, polygons, strict=True))
    pairs = [(names[one], names[other], part) for (one, other), parts in sorted(solved.items()) for part in parts]
    return Seamlines(
        cells=cells,
        footprints=tuple(snapped),
        cutlines=tuple(
            Cutline(first=first, second=second, line=part.line, trace=_make_trace(part) if debug else None)
            for first, second, part in pairs
            if part.line is not None
        ),
        findings=(*_find_problems(pairs), *_find_empty(cells)),
        grid_size=grid_size,
    )


def clip_cells(cells: Iterable[Cell], area: BaseGeometry) -> tuple[Cell, ...]:
    """Keep the part of each cell inside an area of interest (same CRS); the cells still share no area."""
    kept = select_polygons(shapely.make_valid(area, method="structure", keep_collapsed=False))
    return tuple(replace(cell, polygon=select_polygons(shapely.intersection(cell.polygon, kept))) for cell in cells)


def _make_rule(footprints: Iterable[BaseGeometry], min_point_spacing: float, min_cut_length: float) -> SplitRule:
    """Check the parameters and choose the precision grid."""
    if not (0 < min_point_spacing < np.inf and 0 <= min_cut_length < np.inf):
        msg = (
            f"min_point_spacing has to be positive and min_cut_length at least 0, both finite and in CRS units; "
            f"got {min_point_spacing} and {min_cut_length}"
        )
        raise InputError(msg)
    grid_size = compute_grid_size(footprints) / REFINEMENT
    return SplitRule(min_point_spacing=min_point_spacing, min_cut_length=min_cut_length, grid_size=grid_size)


def _part_islands(footprint: Polygon | MultiPolygon) -> tuple[Polygon | MultiPolygon, Polygon | MultiPolygon]:
    """Divide a footprint into the polygons that make seams and its islands."""
    if isinstance(footprint, Polygon):
        return footprint, Polygon()
    parts = shapely.get_parts(footprint)
    areas = shapely.area(parts)
    is_island = areas < ISLAND_SHARE * areas.max(initial=0.0)
    return collect_polygons(parts[~is_island]), collect_polygons(parts[is_island])


def _simplify_outward(parts: NDArray[Any], tolerance: float) -> list[BaseGeometry]:
    """Simplify outlines so that the result covers the parts, and put together what then overlaps.

    Simplification moves an outline by at most the tolerance; growing by as much covers what it cut off. What sharp corners
    still leave uncovered is added again.
    """
    grown = shapely.buffer(shapely.simplify(parts, tolerance), tolerance, join_style="mitre", mitre_limit=2.0)
    short = np.flatnonzero(~shapely.covers(grown, parts))
    grown[short] = shapely.union(grown[short], parts[short])
    pairs = STRtree(grown).query(grown, predicate="intersects")
    touches = scipy.sparse.coo_array((np.ones(pairs.shape[1]), (pairs[0], pairs[1])), shape=(len(grown), len(grown)))
    count, group = scipy.sparse.csgraph.connected_components(touches, directed=False)
    # Group by group: one union of thousands of islands and as many holes would take quadratic time.
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(count + 1))
    groups = [grown[order[starts[i] : starts[i + 1]]] for i in range(count)]
    return [members[0] if len(members) == 1 else shapely.union_all(members) for members in groups]


def _without_trace(part: PartSplit) -> PartSplit:
    """Keep of a split only what the cutline and the findings need: thousands of pairs would fill the memory."""
    nothing = np.empty((0, 2))
    return replace(part, intersection=Polygon(), second_piece=Polygon(), seeds=nothing, voronoi_edges=nothing)


def _make_trace(part: PartSplit) -> CutlineTrace:
    """Keep of a split what the debug layers show."""
    return CutlineTrace(intersection=part.intersection, seeds=part.seeds, voronoi_edges=part.voronoi_edges)


def _find_problems(pairs: Iterable[tuple[str, str, PartSplit]]) -> list[Finding]:
    """Report each pair whose cut is not the centre line that the rule asks for."""
    return [
        Finding(
            severity="warning",
            code=part.problem,
            message=f"scenes {first!r} and {second!r}: {_ADVICE[part.problem]}",
            scene=first,
            stage=STAGE,
        )
        for first, second, part in pairs
        if part.problem is not None
    ]


def _find_empty(cells: Iterable[Cell]) -> list[Finding]:
    """Report each scene that owns nothing."""
    return [
        Finding(
            severity="info",
            code="empty-cell",
            message=f"scene {cell.scene!r} owns no part of the mosaic: its footprint is empty or other scenes win all of it",
            scene=cell.scene,
            stage=STAGE,
        )
        for cell in cells
        if cell.polygon.is_empty
    ]


class VoronoiCenterSeamline(SeamlineMethod[VoronoiCenterSeamlineOptions]):
    """Cuts overlaps along their centre lines."""

    @property
    def footprints(self) -> Footprints | None:
        """Of ``vector_mask``."""
        return self.files.get("vector_mask", Footprints)

    @property
    def area(self) -> Geometry | None:
        """Of ``aoi_path``."""
        return self.files.get("aoi_path", Geometry)

    @property
    def scene_field(self) -> str:
        """As configured."""
        return self.options.image_field_name

    @property
    def layers_url(self) -> str | None:
        """As configured."""
        return self.options.debug_vectors_path

    def list_copies(self, scenes: Sequence[str]) -> Iterator[WantedCopy]:
        """The cells, and the layers that show how they came about."""
        del scenes
        for option, key, url in (
            ("output_mask", "seamlines", self.options.output_mask),
            ("debug_vectors_path", "layers", self.options.debug_vectors_path),
        ):
            if url is not None:
                yield WantedCopy(option=option, key=key, url=url)

    def solve(self, footprints: Mapping[str, Geometry], measures: Measures, *, run: Run) -> Seamlines:
        """:func:`solve_cells`."""
        del measures
        return solve_cells(
            footprints,
            min_point_spacing=self.options.min_point_spacing,
            min_cut_length=self.options.min_cut_length,
            debug=self.options.debug_vectors_path is not None,
            run=run,
        )

    def list_layers(self, seamlines: Seamlines) -> dict[str, Sequence[tuple[Geometry, str]]]:
        """Layers by the names that spectralmatch 1.2.1 gives them."""
        traced = [(cut, cut.trace, f"{cut.first} | {cut.second}") for cut in seamlines.cutlines]
        return {
            "emp_outline": [
                (footprint, cell.scene)
                for cell, footprint in zip(seamlines.cells, seamlines.footprints, strict=True)
                if not footprint.is_empty
            ],
            "intersections": [(trace.intersection, name) for _, trace, name in traced if trace is not None],
            "voronoi_seeds": [(MultiPoint(trace.seeds), name) for _, trace, name in traced if trace is not None],
            "voronoi_cells": [(_join_edges(trace), name) for _, trace, name in traced if trace is not None],
            "cutlines": [(cut.line, name) for cut, _, name in traced],
        }


def _join_edges(trace: CutlineTrace) -> MultiLineString:
    return MultiLineString([LineString(edge.reshape(2, 2)) for edge in trace.voronoi_edges])
