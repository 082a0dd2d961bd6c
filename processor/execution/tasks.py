"""How the two passes are cut into tasks whose results can be handed on, and what each of them does.

A measuring task is some consecutive chunks of the plan, a rendering task a tile of the mosaic: several blocks, aligned so that
the overviews inside it are made there. Neither cut decides about a byte of the mosaic, since results are merged chunk by chunk
and block by block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, overload

from processor.execution.tile_parts import PartHead, describe_raster, part_levels
from processor.geotiff.cog.overviews import Pyramid
from processor.geotiff.cog.spec import CogSpec, Level
from processor.geotiff.cog.tiles import ShiftedTiles, TileStore
from processor.geotiff.reader import RasterReader
from processor.model import BlockGrid, Overlap, Window
from processor.model.z_order import iter_z_order
from processor.mosaic.chunks import Chunk
from processor.mosaic.measure import ChunkMeasures, Measures, measure_blocks, measure_chunk
from processor.mosaic.passes import index_spec, iter_rendered, mosaic_spec
from processor.mosaic.plan import BLOCK_EDGE, Plan
from processor.mosaic.render import Renderer
from processor.mosaic.render_statistics import TallyCount
from processor.mosaic.solve import Solution
from processor.process.threads import map_ordered
from processor.stages.block_sums import BlockSums

__all__ = [
    "CHUNKS_PER_TASK",
    "TILE_BLOCKS",
    "Batch",
    "Batches",
    "BlockBatch",
    "Overlaps",
    "Solved",
    "Tile",
    "batch_chunks",
    "join_measures",
    "measure_batch",
    "plan_tiles",
    "render_tile",
    "split_measures",
    "sum_batch",
]

CHUNKS_PER_TASK: Final = 64
TILE_BLOCKS: Final = 8  # on the edge: 4096 pixels


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """The result of a measuring task, in the order of the chunks."""

    chunks: tuple[ChunkMeasures, ...]
    """Measures of each chunk."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockBatch:
    """Block sums of a measuring task's chunks, each scene's by its position in the plan, in the order of the chunks."""

    chunks: tuple[tuple[tuple[int, BlockSums], ...], ...]
    """(position of the scene in the plan, block sums) of each scene, for each chunk."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solved:
    """What rendering needs: the measures without what only the report needs, and what is done to the pixels."""

    measures: Measures
    """Measures without what only the report needs."""
    solution: Solution
    """What is done to the pixels."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Overlaps:
    """The rest of the measures: pairs with their statistics and samples."""

    overlaps: tuple[Overlap, ...]
    """Every pair with common valid pixels, in name order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A rendering task: row and column among the tiles, and the pixels of the mosaic's grid."""

    row: int
    """Row among the tasks' tiles."""
    col: int
    """Column among the tasks' tiles."""
    window: Window
    """Pixels of the mosaic's grid."""


class Batches(Sequence[tuple[Chunk, ...]]):
    """The measuring tasks of a plan, each made when it is asked for.

    Parameters
    ----------
    chunks
        Of the plan.
    size
        How many chunks are one task.
    """

    def __init__(self, chunks: Sequence[Chunk], size: int) -> None:
        self._chunks, self._size = chunks, size

    def __len__(self) -> int:
        """How many there are."""
        return (len(self._chunks) + self._size - 1) // self._size

    @overload
    def __getitem__(self, place: int) -> tuple[Chunk, ...]: ...
    @overload
    def __getitem__(self, place: slice) -> list[tuple[Chunk, ...]]: ...
    def __getitem__(self, place: int | slice) -> tuple[Chunk, ...] | list[tuple[Chunk, ...]]:
        """The chunks of a task, or of several."""
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        start = range(len(self))[place] * self._size
        return tuple(self._chunks[start : start + self._size])


def batch_chunks(plan: Plan, size: int) -> Batches:
    """The measuring tasks: ``size`` consecutive chunks each; none where nothing has to be measured."""
    return Batches(plan.chunks if plan.reads_for_measures else (), size)


def plan_tiles(plan: Plan, tile_blocks: int) -> tuple[Tile, ...]:
    """The rendering tasks, along a Z-order curve; none where there is no mosaic."""
    if not plan.methods.merge.is_on:
        return ()
    edge = tile_blocks * BLOCK_EDGE
    windows = iter_z_order(plan.grid.height, plan.grid.width, edge)
    return tuple(Tile(row=window.row // edge, col=window.col // edge, window=window) for window in windows)


def measure_batch(plan: Plan, reader: RasterReader, chunks: Sequence[Chunk], *, threads: int) -> Batch:
    """Measure some chunks."""
    return Batch(chunks=tuple(map_ordered(partial(measure_chunk, plan, reader), chunks, threads=threads)))


def sum_batch(plan: Plan, reader: RasterReader, blocks: BlockGrid, chunks: Sequence[Chunk], *, threads: int) -> BlockBatch:
    """Sum the blocks of some chunks, where their number hangs on the statistics."""
    return BlockBatch(chunks=tuple(map_ordered(partial(measure_blocks, plan, reader, blocks), chunks, threads=threads)))


def split_measures(measures: Measures, solution: Solution) -> tuple[Solved, Overlaps]:
    """Part what rendering needs from what only the report does; block sums, which nobody needs any more, are dropped."""
    scenes = tuple(replace(scene, sums=None) for scene in measures.scenes)
    return (
        Solved(measures=replace(measures, scenes=scenes, overlaps=()), solution=solution),
        Overlaps(overlaps=measures.overlaps),
    )


def join_measures(solved: Solved, overlaps: Overlaps) -> Measures:
    """The measures again, without block sums."""
    return replace(solved.measures, overlaps=overlaps.overlaps)


@contextmanager
def render_tile(
    plan: Plan, renderer: Renderer, tile: Tile, tile_blocks: int, scratch: Path, *, threads: int
) -> Iterator[tuple[PartHead, tuple[TileStore, ...]]]:
    """Render a tile and encode it with the overviews inside it: the head of its part, and the blocks of its rasters.

    The blocks are in scratch files, which are gone afterwards.
    """
    specs = mosaic_spec(plan), index_spec(plan)
    levels = [part_levels(spec, tile.row, tile.col, tile_blocks) for spec in specs]
    files = [scratch / f"{name}-{tile.row}-{tile.col}.blocks" for name in ("mosaic", "index")]
    edge = min(plan.window_edge // BLOCK_EDGE, tile_blocks)
    try:
        with TileStore(files[0], levels[0]) as first, TileStore(files[1], levels[1]) as second:
            stores = first, second
            pyramids = [_make_pyramid(spec, store, tile, tile_blocks, edge) for spec, store in zip(specs, stores, strict=True)]
            count = TallyCount(plan)
            for result in iter_rendered(renderer, pyramids, _iter_windows(tile, edge), threads=threads):
                count.add(result)
            yield _describe(tile, count, stores, levels, pyramids), stores
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def _make_pyramid(spec: CogSpec, store: TileStore, tile: Tile, tile_blocks: int, window_tiles: int) -> Pyramid:
    shifted = ShiftedTiles(store=store, row=tile.row * tile_blocks, col=tile.col * tile_blocks)
    return Pyramid(spec, shifted, window_tiles=window_tiles, top=tile_blocks.bit_length() - 1)


def _iter_windows(tile: Tile, window_tiles: int) -> Iterator[Window]:
    for window in iter_z_order(tile.window.height, tile.window.width, window_tiles * BLOCK_EDGE):
        yield window.shifted(rows=tile.window.row, cols=tile.window.col)


def _describe(
    tile: Tile,
    count: TallyCount,
    stores: Sequence[TileStore],
    levels: Sequence[tuple[Level, ...]],
    pyramids: Sequence[Pyramid],
) -> PartHead:
    rasters = zip(stores, levels, pyramids, strict=True)
    return PartHead(
        row=tile.row,
        col=tile.col,
        rasters=tuple(describe_raster(store, own, pyramid.take_pending()) for store, own, pyramid in rasters),
        summary=count.sum_up(),
    )
