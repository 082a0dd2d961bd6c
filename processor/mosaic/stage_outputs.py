"""Full-resolution rasters of single scenes after a stage, written only when asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from shapely import Polygon, intersects

from processor.config.methods import Methods
from processor.geotiff.cog.overviews import Pyramid
from processor.geotiff.cog.spec import CogProfile, CogSpec
from processor.geotiff.cog.tiles import TileStore
from processor.geotiff.cog.writer import write_cog
from processor.geotiff.reader import RasterReader
from processor.model import Grid, Window
from processor.mosaic.contribution import burn_owners
from processor.mosaic.plan import BLOCK_EDGE, Plan
from processor.mosaic.scene_pipeline import make_pipelines
from processor.mosaic.solve import Solution
from processor.process.threads import map_ordered
from processor.stages.align.coregistration import move_grid
from processor.stages.clip.mask_rasters import compute_cell_mask, compute_region_mask
from processor.storage.store import Written

_BEFORE_ALIGNMENT: Final = frozenset({"matching_global", "matching_local"})


def find_last_stage(methods: Methods) -> str | None:
    """The name of the last stage that is on and has a raster for each scene, or None."""
    return next((stage.name for stage, _ in reversed(tuple(methods)) if stage.has_rasters), None)


def _stage_grid(plan: Plan, solution: Solution, position: int, stage: str) -> tuple[Grid, Window]:
    """The grid that a stage's rasters lie on, and the scene's window of it."""
    scene = plan.scenes[position]
    if not plan.methods.align.is_on or stage in _BEFORE_ALIGNMENT:
        return scene.grid, scene.grid.window
    return plan.grid, plan.grid.window_touching(move_grid(scene.grid, solution.coregistration, position).bounds)


def stage_spec(plan: Plan, solution: Solution, position: int, stage: str) -> CogSpec:
    """What the file of a scene after a stage is."""
    grid, whole = _stage_grid(plan, solution, position, stage)
    output, told = plan.config.output, plan.describe_bands()
    return CogSpec(
        grid=grid.subgrid(whole),
        bands=plan.bands,
        dtype=plan.dtype,
        nodata=plan.nodata,
        profile=CogProfile(compression=output.compression, level=output.level, predictor=output.predictor),
        overviews=plan.methods.find(stage).has_overviews,
        descriptions=tuple(band.name for band in plan.scenes[position].bands),
        scalings=tuple(band.scaling for band in told),
        units=tuple(band.unit for band in told),
    )


def write_stage_raster(
    plan: Plan, solution: Solution, reader: RasterReader, position: int, stage: str, file: Path, *, threads: int
) -> Written:
    """Write one scene as it is after a stage, as a COG in the mosaic's dtype."""
    grid, whole = _stage_grid(plan, solution, position, stage)
    pipeline = make_pipelines(plan, solution, reader)[position]
    if stage in _BEFORE_ALIGNMENT:
        pipeline = replace(pipeline, placed=pipeline.scene.grid)
    if stage == "matching_global":
        pipeline = replace(pipeline, correction=None)
    clip = _make_clip(plan, solution, position, grid) if stage == "clip" else None
    spec = stage_spec(plan, solution, position, stage)
    with TileStore(file.with_suffix(".blocks"), spec.levels) as store:
        pyramid = Pyramid(spec, store, window_tiles=plan.window_edge // BLOCK_EDGE)

        def task(window: Window) -> None:
            place = window.shifted(rows=whole.row, cols=whole.col)
            values = np.full((plan.bands, *place.shape), plan.nodata, np.dtype(plan.dtype))
            layer = pipeline.read_aligned(grid, place)
            if layer is not None:
                rows, cols = layer.window.slices_in(place)
                take = layer.valid if clip is None else layer.valid & clip(layer.window)
                np.copyto(values[:, rows, cols], layer.values, where=take)
            pyramid.add(window, values)

        for _ in map_ordered(task, pyramid.iter_windows(), threads=threads):
            pass
        written = write_cog(file, spec, store.drain())
    file.with_suffix(".blocks").unlink()
    return written


def _make_clip(plan: Plan, solution: Solution, position: int, grid: Grid) -> Callable[[Window], NDArray[np.bool_]]:
    """What keeps the pixels of a scene: the user's mask, else its cell; cells share no pixel of the mosaic's grid."""
    touched = plan.methods.clip.keeps_touched
    region = plan.methods.clip.region
    if region is not None:
        name = plan.scenes[position].name
        return partial(compute_region_mask, region, name, grid, include_touched_pixels=touched)
    cells = [cell.polygon for cell in solution.seamlines.cells] if solution.seamlines is not None else []
    cell = cells[position] if cells else Polygon()
    if touched or grid != plan.grid:
        return partial(compute_cell_mask, cell, grid, include_touched_pixels=touched)
    near = {int(other): cells[other] for other in np.flatnonzero(intersects(cells, cell))}
    return lambda window: burn_owners(grid, near, window) == position + 1
