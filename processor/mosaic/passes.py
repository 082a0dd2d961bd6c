"""The two passes on this machine: the plan's tasks in threads, their results merged in the plan's order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from processor.geotiff.cog.overviews import Pyramid
from processor.geotiff.cog.spec import CogProfile, CogSpec
from processor.geotiff.cog.tiles import TileSource, TileStore
from processor.geotiff.reader import RasterReader
from processor.model import Grid, Moments, Window
from processor.mosaic.measure import (
    Measures,
    assume_measures,
    mask_grid,
    measure_blocks,
    measure_chunk,
    merge_block_chunks,
    merge_chunks,
)
from processor.mosaic.plan import BLOCK_EDGE, Plan
from processor.mosaic.render import RenderedWindow, Renderer
from processor.mosaic.render_statistics import TallyCount
from processor.mosaic.solve import Solution, find_block_grid, solve
from processor.process.progress import Tracker
from processor.process.threads import map_ordered, resolve_threads

__all__ = [
    "Rendered",
    "index_spec",
    "iter_rendered",
    "make_rendered",
    "measure_and_solve",
    "mosaic_spec",
    "render_mosaic",
]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rendered:
    """The result of the second pass: compressed blocks, and what was counted on the way."""

    mosaic: TileSource
    """Compressed tiles of the mosaic."""
    index: TileSource
    """Compressed tiles of the scene index."""
    statistics: Moments
    """Moments of the mosaic's valid pixels."""
    counts: NDArray[np.int64]
    """int64 (scenes + 1,), pixels by scene index; 0 is nodata."""
    filled: int
    """Pixels whose cell's owner has none there."""
    mask: NDArray[np.bool_]
    """Mask of the mosaic's valid pixels, bool (rows, cols) of :func:`processor.mosaic.measure.mask_grid`."""
    mask_grid: Grid
    """Where the mosaic has a value, at most 2048 cells wide or high; a cell is set where any of its pixels is."""
    resources: ExitStack = field(default_factory=ExitStack, repr=False)
    """What the blocks are in; use the result as a context manager, which closes it."""

    def __enter__(self) -> Self:
        """Give the result, whose blocks are closed at the end of the block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Close what the blocks are in."""
        self.resources.close()


def measure_and_solve(
    plan: Plan, reader: RasterReader, tracker: Tracker, *, threads: int | None = None
) -> tuple[Measures, Solution]:
    """Read every pixel once and decide all that follows; ``threads`` tasks at once, by default ``shared.tile_threads``."""
    threads = resolve_threads(plan.config.shared.tile_threads) if threads is None else threads
    if not plan.reads_for_measures:
        measures = assume_measures(plan)
        return measures, solve(plan, measures, None, ())
    grids = [plan.measure_grid(scene) for scene in range(len(plan.scenes))]
    tracked = tracker.track(
        map_ordered(partial(measure_chunk, plan, reader), plan.chunks, threads=threads),
        name="measure",
        total=sum(grid.width * grid.height for grid in grids),
        amount=lambda result: float(result.pixels),
    )
    measures = merge_chunks(plan, tracked)
    blocks = plan.blocks
    sums = tuple(scene.sums for scene in measures.scenes if scene.sums is not None)
    if blocks is None:
        blocks = find_block_grid(plan, measures)
        if blocks is not None:
            sums = merge_block_chunks(
                plan, map_ordered(partial(measure_blocks, plan, reader, blocks), plan.chunks, threads=threads)
            )
    return measures, solve(plan, measures, blocks, sums)


def mosaic_spec(plan: Plan, *, statistics: Moments | None = None) -> CogSpec:
    """What the mosaic's file is."""
    output, bands = plan.config.output, plan.scenes[0].bands
    colours = [band.common_name or band.name for band in bands[:3]]
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


def iter_rendered(
    renderer: Renderer, pyramids: Sequence[Pyramid], windows: Iterable[Window], *, threads: int
) -> Iterator[RenderedWindow]:
    """Render windows of the mosaic and encode them, once; yield what was counted, in the order of the windows.

    Parameters
    ----------
    pyramids
        Of the mosaic and of the scene index.
    """

    def task(window: Window) -> RenderedWindow:
        rendered = renderer.render(window)
        pyramids[0].add(window, rendered.values)
        pyramids[1].add(window, rendered.index[None])
        return rendered.without_pixels()

    return map_ordered(task, windows, threads=threads)


def render_mosaic(
    plan: Plan,
    measures: Measures,
    solution: Solution,
    reader: RasterReader,
    scratch: Path,
    tracker: Tracker,
    *,
    threads: int | None = None,
) -> Rendered:
    """Render every window of the mosaic and encode it, once; the blocks stay in scratch files.

    ``threads`` tasks run at once, by default ``shared.tile_threads``.

    Raises
    ------
    InputError
        If not one pixel is left.
    """
    threads = resolve_threads(plan.config.shared.tile_threads) if threads is None else threads
    renderer = Renderer(plan, measures, solution, reader)
    specs = mosaic_spec(plan), index_spec(plan)
    with ExitStack() as stack:
        stores = [
            stack.enter_context(TileStore(scratch / f"{name}.blocks", spec.levels))
            for name, spec in zip(("mosaic", "index"), specs, strict=True)
        ]
        edge = plan.window_edge // BLOCK_EDGE
        pyramids = [Pyramid(spec, store, window_tiles=edge) for spec, store in zip(specs, stores, strict=True)]
        done = tracker.track(
            iter_rendered(renderer, pyramids, pyramids[0].iter_windows(), threads=threads),
            name="render",
            total=plan.grid.width * plan.grid.height,
            amount=lambda result: float(result.window.width * result.window.height),
        )
        count = TallyCount(plan)
        for result in done:
            count.add(result)
        count.check_pixels()
        return make_rendered(plan, count, *stores, resources=stack.pop_all())


def make_rendered(
    plan: Plan, count: TallyCount, mosaic: TileSource, index: TileSource, *, resources: ExitStack | None = None
) -> Rendered:
    """Put together what the second pass made and counted."""
    return Rendered(
        resources=resources if resources is not None else ExitStack(),
        mosaic=mosaic,
        index=index,
        statistics=count.statistics,
        counts=count.counts,
        filled=count.filled,
        mask=count.mask,
        mask_grid=mask_grid(plan.grid),
    )
