"""How a run is cut into tasks.

A measuring task is some consecutive chunks of the plan, a rendering task a tile of the mosaic: several blocks, aligned so that
the overviews inside it are made there. Neither cut decides a byte of the mosaic, since results are merged chunk by chunk and
block by block. A run in one process has a task for each chunk, and a single tile: the whole mosaic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from processor.geotiff.cog.overviews import Reduced
from processor.geotiff.cog.spec import Level
from processor.geotiff.cog.tiles import TileStore
from processor.model import Overlap, Window
from processor.model.z_order import iter_z_order
from processor.mosaic.plan import BLOCK_EDGE, Plan
from processor.mosaic.render import RenderStatistics
from processor.mosaic.solve import Solution
from processor.stages.measures import MatchedPairs, Measures

CHUNKS_PER_TASK: Final = 64
TILE_BLOCKS: Final = 8  # on the edge: 4096 pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A rendering task."""

    row: int
    """Row among the tasks' tiles."""
    col: int
    """Column among the tasks' tiles."""
    window: Window
    """Pixels of the mosaic's grid."""


@dataclass(frozen=True, slots=True)
class Batches:
    """The measuring tasks of a plan: consecutive chunks."""

    count: int
    """Number of the plan's chunks."""
    size: int
    """How many chunks are one task."""

    def __len__(self) -> int:
        """How many tasks there are."""
        return (self.count + self.size - 1) // self.size

    def list_chunks(self, numbers: Sequence[int]) -> NDArray[np.int64]:
        """Numbers of the chunks of some tasks, in order, int64."""
        chunks = (np.asarray(numbers, np.int64)[:, None] * self.size + np.arange(self.size)).reshape(-1)
        return chunks[chunks < self.count]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How the two passes of a run are cut into tasks."""

    chunks_per_task: int = CHUNKS_PER_TASK
    """Chunks of a measuring task."""
    tile_blocks: int = TILE_BLOCKS
    """Blocks on the edge of a rendering task, a power of two."""

    @classmethod
    def of_one_process(cls, plan: Plan) -> Self:
        """A task for each chunk, and one tile that holds the whole mosaic."""
        blocks = -(-max(plan.grid.height, plan.grid.width) // BLOCK_EDGE)
        return cls(chunks_per_task=1, tile_blocks=1 << (blocks - 1).bit_length())

    def list_tiles(self, plan: Plan) -> tuple[Tile, ...]:
        """The rendering tasks, along a Z-order curve; none where there is no mosaic."""
        if "render" not in plan.phases:
            return ()
        edge = self.tile_blocks * BLOCK_EDGE
        windows = iter_z_order(plan.grid.height, plan.grid.width, edge)
        return tuple(Tile(row=window.row // edge, col=window.col // edge, window=window) for window in windows)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """The result of a measuring task."""

    numbers: tuple[int, ...]
    """Of its chunks."""
    chunks: tuple[object, ...]
    """Measures of each chunk."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solved:
    """What rendering needs."""

    measures: Measures
    """Measures without what only the report needs."""
    solution: Solution
    """What is done to the pixels."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Overlaps:
    """The rest of the measures, which only the report needs."""

    overlaps: tuple[Overlap, ...]
    """Every pair with common valid pixels, in name order."""
    matched: MatchedPairs | None
    """Moments of the blocks of pairs; None where no method needs them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RenderedTile:
    """The result of a rendering task, in scratch."""

    tile: Tile
    """Which one."""
    statistics: RenderStatistics
    """What was counted in it."""
    blocks: tuple[TileStore, ...]
    """Blocks of the mosaic and of the scene index, open; whoever takes the tile closes them."""
    files: tuple[Path, ...]
    """The scratch files that the blocks are in."""
    levels: tuple[tuple[Level, ...], ...]
    """Levels of both that are made in a tile."""
    pending: tuple[tuple[Reduced, ...], ...]
    """Pixels of both that wait for the overviews above the tile."""
