"""Full-resolution rasters of single scenes after a stage, written only when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from shapely import Polygon, intersects

from processor.config import Config
from processor.geotiff.cog.writer import BlockStore, CogProfile, CogSpec, Pyramid, write_cog
from processor.geotiff.reader import RasterReader
from processor.model import Grid, Window
from processor.mosaic.contribution import burn_owners
from processor.mosaic.plan import BLOCK_EDGE, Plan
from processor.mosaic.scene_pipeline import ScenePipeline, make_pipelines
from processor.mosaic.solve import Solution
from processor.process.threads import map_ordered
from processor.stages.clip.mask_rasters import compute_cell_mask, compute_region_mask
from processor.storage.store import Written

__all__ = ["STAGES", "Stage", "find_last_stage", "is_stage_on", "stage_spec", "write_stage_raster"]

Stage = Literal["global_regression", "local_block_adjustment", "align_rasters", "mask_rasters"]
STAGES: tuple[Stage, ...] = ("global_regression", "local_block_adjustment", "align_rasters", "mask_rasters")


def find_last_stage(config: Config) -> Stage | None:
    """The last stage that is on and has a raster for each scene, or None."""
    return next((stage for stage in reversed(STAGES) if is_stage_on(config, stage)), None)


def is_stage_on(config: Config, stage: Stage) -> bool:
    """Whether a stage is on."""
    methods = config.methods
    return {
        "global_regression": methods.matching_global_method,
        "local_block_adjustment": methods.matching_local_method,
        "align_rasters": methods.align_method,
        "mask_rasters": methods.clip_method,
    }[stage] is not None


def _stage_grid(plan: Plan, position: int, stage: Stage) -> tuple[Grid, Window]:
    """The grid that a stage's rasters lie on, and the scene's window of it."""
    scene = plan.scenes[position]
    is_aligned = STAGES.index(stage) >= STAGES.index("align_rasters") and plan.config.methods.align_method is not None
    if not is_aligned:
        return scene.grid, scene.grid.window
    return plan.grid, plan.grid.window_touching(scene.grid.bounds)


def stage_spec(plan: Plan, position: int, stage: Stage) -> CogSpec:
    """What the file of a scene after a stage is."""
    grid, whole = _stage_grid(plan, position, stage)
    output = plan.config.output
    return CogSpec(
        grid=grid.subgrid(whole),
        bands=plan.bands,
        dtype=plan.dtype,
        nodata=plan.nodata,
        profile=CogProfile(compression=output.compression, level=output.level, predictor=output.predictor),
        overviews=_has_overviews(plan.config, stage),
        descriptions=tuple(band.name for band in plan.scenes[position].bands),
    )


def write_stage_raster(
    plan: Plan, solution: Solution, reader: RasterReader, position: int, stage: Stage, file: Path, *, threads: int
) -> Written:
    """Write one scene as it is after a stage, as a COG in the mosaic's dtype."""
    grid, whole = _stage_grid(plan, position, stage)
    pipeline = make_pipelines(plan, solution, reader)[position]
    if stage == "global_regression":
        pipeline = replace(pipeline, correction=None)
    clip = _make_clip(plan, solution, position, grid) if stage == "mask_rasters" else None
    spec = stage_spec(plan, position, stage)
    with BlockStore(file.with_suffix(".blocks"), spec.levels) as store:
        pyramid = Pyramid(spec, store, window_blocks=plan.window_edge // BLOCK_EDGE)

        def task(window: Window) -> None:
            place = window.shifted(rows=whole.row, cols=whole.col)
            pyramid.add(window, _render(plan, pipeline, grid, place, clip))

        _drain(map_ordered(task, pyramid.iter_windows(), threads=threads))
        written = write_cog(file, spec, store.drain())
    file.with_suffix(".blocks").unlink()
    return written


def _has_overviews(config: Config, stage: Stage) -> bool:
    if stage == "global_regression":
        return config.global_regression.build_overviews
    return config.local_block_adjustment.build_overviews if stage == "local_block_adjustment" else True


def _drain(results: Iterable[None]) -> None:
    for _ in results:
        pass


def _make_clip(plan: Plan, solution: Solution, position: int, grid: Grid) -> Callable[[Window], NDArray[np.bool_]]:
    """What keeps the pixels of a scene: the user's mask, else its cell; cells share no pixel of the mosaic's grid."""
    touched = plan.config.mask_rasters.include_touched_pixels
    region = plan.given.clip_region
    if region is not None:
        name = plan.scenes[position].name
        return partial(compute_region_mask, region, name, grid, include_touched_pixels=touched)
    cells = [cell.polygon for cell in solution.seamlines.cells] if solution.seamlines is not None else []
    cell = cells[position] if cells else Polygon()
    if touched or grid != plan.grid:
        return partial(compute_cell_mask, cell, grid, include_touched_pixels=touched)
    near = {int(other): cells[other] for other in np.flatnonzero(intersects(cells, cell))}
    return lambda window: burn_owners(grid, near, window) == position + 1


def _render(
    plan: Plan,
    pipeline: ScenePipeline,
    grid: Grid,
    window: Window,
    clip: Callable[[Window], NDArray[np.bool_]] | None,
) -> NDArray[np.generic]:
    """A window of a stage's raster, nodata where the scene is invalid or cut off."""
    values = np.full((plan.bands, *window.shape), plan.nodata, np.dtype(plan.dtype))
    layer = pipeline.read_aligned(grid, window)
    if layer is None:
        return values
    rows, cols = layer.window.slices_in(window)
    take = layer.valid if clip is None else layer.valid & clip(layer.window)
    np.copyto(values[:, rows, cols], layer.values, where=take)
    return values
