"""The mosaic as the second pass leaves it: encoded blocks, what was counted on the way, and what its files are to be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processor.geotiff.cog.spec import CogProfile, CogSpec
from processor.geotiff.cog.tiles import TileSource
from processor.model import Grid, Moments
from processor.mosaic.measure import mask_grid
from processor.mosaic.plan import BLOCK_EDGE, Plan
from processor.mosaic.render_statistics import RenderCounter

__all__ = ["Rendered", "index_spec", "make_rendered", "mosaic_spec"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rendered:
    """The result of the second pass: compressed blocks, and what was counted on the way."""

    mosaic: TileSource
    """Blocks of the mosaic, wherever they are."""
    index: TileSource
    """Blocks of the scene index, wherever they are."""
    statistics: Moments
    """Moments of the mosaic's valid pixels."""
    counts: NDArray[np.int64]
    """int64 (scenes + 1,), pixels by scene index; 0 is nodata."""
    filled: int
    """Pixels whose cell's owner has none there."""
    mask: NDArray[np.bool_]
    """Where the mosaic has a value, bool (height, width) of ``mask_grid``; a cell is set where any of its pixels is."""
    mask_grid: Grid
    """Grid of the mask, at most 2048 cells wide or high."""


def make_rendered(plan: Plan, counter: RenderCounter, mosaic: TileSource, index: TileSource) -> Rendered:
    """Put together what the second pass made and counted.

    Raises
    ------
    InputError
        If not one pixel is left.
    """
    counter.check_pixels()
    return Rendered(
        mosaic=mosaic,
        index=index,
        statistics=counter.statistics,
        counts=counter.counts,
        filled=counter.filled,
        mask=counter.mask,
        mask_grid=mask_grid(plan.grid),
    )


def mosaic_spec(plan: Plan, *, statistics: Moments | None = None) -> CogSpec:
    """What the mosaic's file is."""
    output, bands = plan.config.output, plan.scenes[0].bands
    colours = [band.label for band in bands[:3]]
    is_picture = colours == ["red", "green", "blue"] and plan.dtype == "uint8"
    return CogSpec(
        grid=plan.grid,
        bands=plan.bands,
        dtype=plan.dtype,
        nodata=plan.nodata,
        profile=CogProfile(
            tile_size=BLOCK_EDGE, compression=output.compression, level=output.level, predictor=output.predictor
        ),
        overviews=plan.methods.merge.has_overviews,
        descriptions=tuple(band.name for band in bands),
        statistics=statistics,
        photometric="rgb" if is_picture else "minisblack",
    )


def index_spec(plan: Plan) -> CogSpec:
    """What the scene index's file is; the names stand in it too, in the order of the numbers."""
    output = plan.config.output
    return CogSpec(
        grid=plan.grid,
        bands=1,
        dtype="uint8" if len(plan.scenes) < 2**8 else "uint16",
        nodata=0,
        profile=CogProfile(
            tile_size=BLOCK_EDGE,
            compression=output.compression,
            level=output.level,
            predictor=False,
            overview_resampling="nearest",
        ),
        overviews=plan.methods.merge.has_overviews,
        descriptions=("scene_index",),
        tags={f"SCENE_{number}": scene.name for number, scene in enumerate(plan.scenes, start=1)},
    )
