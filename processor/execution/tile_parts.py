"""Parts of a mosaic: one object for each tile of several blocks, with the tile's compressed blocks of one or several rasters.

A part begins with its head, a record (:mod:`processor.execution.wire`): how many bytes each block has, and with what checksum;
the pixels of the first overview whose blocks span more than the tile; whatever the caller wants to say of the tile. The blocks
follow, raster by raster, level by level from the full resolution up, row by row. So what a row of blocks of the whole mosaic
needs of a part is one range, and a COG is assembled by copying ranges.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from processor.execution.wire import PREFIX_BYTES, Codec, DamagedError, read_frame_size
from processor.geotiff.cog.overviews import Pyramid, Reduced
from processor.geotiff.cog.spec import CogSpec, Level
from processor.geotiff.cog.tiles import ShiftedTiles, TileSource, TileStore
from processor.storage.folders import read_range
from processor.storage.store import Store

_FIRST_READ: Final = 256 << 10  # bytes: holds most heads whole
_STRIP: Final = 16 << 20  # bytes: rows of blocks that together are smaller are fetched together, all parts at once
_SPAN: Final = 4 << 20  # bytes of one range elsewhere, or one block


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RasterPart:
    """What a part holds of one raster."""

    sizes: tuple[NDArray[np.uint32], ...]
    """For each level in the part, uint32 (rows, cols) of the tile: bytes of each block, 0 for an empty one."""
    checks: tuple[NDArray[np.uint32], ...]
    """CRC-32 of each block, uint32, same shapes."""
    reduced: NDArray[Any] | None
    """(bands, height, width) of the tile in the first overview above those levels; None where all are nodata or the raster has
    no such overview.
    """


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PartHead:
    """What a part begins with."""

    row: int
    """Row of the task's tile."""
    col: int
    """Column of the task's tile."""
    rasters: tuple[RasterPart, ...]
    """In the order of their blocks."""
    summary: object
    """A record of the caller's."""


def part_levels(spec: CogSpec, row: int, col: int, tile_blocks: int) -> tuple[Level, ...]:
    """The levels of a raster that a part of it has, as images of their own: those whose blocks do not span more than the tile.

    Parameters
    ----------
    row, col
        Of the tile.
    tile_blocks
        Edge of a tile in blocks of the full resolution, a power of two.
    """
    levels = []
    for level in spec.levels[: tile_blocks.bit_length()]:
        blocks = tile_blocks >> level.index
        window = level.window(row * blocks, col * blocks, tiles=blocks)
        levels.append(Level(index=level.index, width=window.width, height=window.height, tile_size=level.tile_size))
    return tuple(levels)


def describe_raster(blocks: TileStore, levels: Sequence[Level], reduced: Sequence[Reduced]) -> RasterPart:
    """Measure the blocks of a tile and take what waits for the overviews above it, at most one."""
    checks = []
    for level in levels:
        found = np.zeros((level.rows, level.cols), np.uint32)
        for row, col in np.argwhere(blocks.sizes(level.index) > 0):
            found[row, col] = zlib.crc32(blocks.get(level.index, int(row), int(col)))
        checks.append(found)
    return RasterPart(
        sizes=tuple(blocks.sizes(level.index) for level in levels),
        checks=tuple(checks),
        reduced=reduced[0].pixels if reduced else None,
    )


def iter_part(head: PartHead, blocks: Sequence[TileStore], codec: Codec) -> Iterator[bytes]:
    """The bytes of a part, in order."""
    yield codec.encode(head)
    for raster, store in zip(head.rasters, blocks, strict=True):
        for level in range(len(raster.sizes)):
            yield from store.iter_tiles(level)


def read_head(store: Store, url: str, codec: Codec) -> tuple[PartHead, int]:
    """Read a part's head, and tell how many bytes it takes.

    Raises
    ------
    DamagedError
        It is not what was written.
    InputError, StorageError
        There is no such part, or storage failed.
    """
    size = store.describe(url).size
    known = _FIRST_READ if size is None else min(size, _FIRST_READ)
    data = read_range(store, url, 0, known)
    length = read_frame_size(data[:PREFIX_BYTES])
    if size is not None and length > size:
        msg = f"it ends after {size} bytes"
        raise DamagedError(msg)
    if length > len(data):
        data += read_range(store, url, len(data), length - len(data))
    head = codec.decode(data[:length], PartHead)
    end = length + _count_bytes(head.rasters)
    if size is not None and end != size:
        msg = f"it has {size} bytes instead of {end}"
        raise DamagedError(msg)
    return head, length


def _count_bytes(rasters: Sequence[RasterPart]) -> int:
    """Bytes of all blocks."""
    return sum(int(level.sum(dtype=np.uint64)) for raster in rasters for level in raster.sizes)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReader:
    """How ranges of parts are read."""

    read: Callable[[int, int, int, int], bytes]
    """Bytes of the part of a tile (row, col) from an offset on, so many."""
    map_ordered: Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[Any]]
    """Applies a function to items, several at once, results in order."""
    refuse: Callable[[int, int], Exception]
    """Raises the error for a part whose block (raster, level, row, col) is not what was written."""


@dataclass(frozen=True, slots=True)
class _Span:
    """Neighbouring blocks of a part: of rows (of the whole level) from row to row_end, columns from col to col_end."""

    row: int
    row_end: int
    col: int
    col_end: int
    offset: int
    size: int


class PartedBlocks:
    """All blocks of a raster whose parts are in a store: a source for a COG (:class:`processor.geotiff.cog.tiles.TileSource`).

    Overviews above the parts are made here, from what the heads hold, in memory: together they are as large as one block in
    four to the power of the parts' levels.

    Parameters
    ----------
    spec
        What the raster is.
    raster
        Its position in the parts.
    tile_blocks
        Edge of a tile in blocks of the full resolution, a power of two.
    reader
        How ranges are read.
    """

    def __init__(self, spec: CogSpec, raster: int, *, tile_blocks: int, reader: PartReader) -> None:
        self._raster, self._tile_blocks, self._reader = raster, tile_blocks, reader
        self._levels = spec.levels
        self._held = min(len(spec.levels), tile_blocks.bit_length())
        self._sizes = [np.zeros((level.rows, level.cols), np.uint32) for level in spec.levels[: self._held]]
        self._checks = [np.zeros((level.rows, level.cols), np.uint32) for level in spec.levels[: self._held]]
        rows, cols = -(-spec.levels[0].rows // tile_blocks), -(-spec.levels[0].cols // tile_blocks)
        self._starts = np.zeros((self._held, rows, cols), np.uint64)
        self._above = TileStore(None, spec.levels[self._held :])
        self._pyramid = Pyramid(spec, ShiftedTiles(store=self._above, level=self._held))

    def add(self, head: PartHead, length: int) -> None:
        """Take in a part's head, whose length is given; every tile once, best in Z-order.

        Raises
        ------
        DamagedError
            The part is of another raster.
        """
        start = length + _count_bytes(head.rasters[: self._raster])
        part = head.rasters[self._raster]
        for level in range(self._held):
            edge = self._tile_blocks >> level
            place = np.s_[head.row * edge : (head.row + 1) * edge, head.col * edge : (head.col + 1) * edge]
            if self._sizes[level][place].shape != part.sizes[level].shape:
                msg = f"it has {part.sizes[level].shape} blocks of level {level} instead of {self._sizes[level][place].shape}"
                raise DamagedError(msg)
            self._sizes[level][place] = part.sizes[level]
            self._checks[level][place] = part.checks[level]
            self._starts[level, head.row, head.col] = start
            start += int(part.sizes[level].sum(dtype=np.uint64))
        if self._held < len(self._levels):
            self._pyramid.add_reduced(Reduced(level=self._held, row=head.row, col=head.col, pixels=part.reduced))

    def sizes(self, level: int) -> NDArray[np.uint32]:
        """Bytes of each block of a level, uint32 (rows, cols); 0 for an empty block."""
        return self._sizes[level] if level < self._held else self._above.sizes(level - self._held)

    def iter_tiles(self, level: int) -> Iterator[bytes]:
        """Yield the blocks of a level that are not empty, row by row.

        Raises
        ------
        Exception
            What the reader makes of a block that is not what was written.
        """
        if level >= self._held:
            yield from self._above.iter_tiles(level - self._held)
            return
        for rows in self._plan_strips(level):
            is_small = int(self._sizes[level][rows.start : rows.stop].sum(dtype=np.uint64)) <= _STRIP
            spans = list(self._plan_spans(level, rows, limit=None if is_small else _SPAN))
            found = self._reader.map_ordered(partial(self._fetch, level), spans)
            if is_small:  # all parts at once, or their blocks would not come row by row
                found = iter([{place: block for blocks in found for place, block in blocks.items()}])
            for blocks in found:
                for place in sorted(blocks):
                    yield blocks.pop(place)

    def drain(self) -> TileSource:
        """These blocks: none of them is held here."""
        return self

    def _plan_strips(self, level: int) -> Iterator[range]:
        """Rows of blocks that are fetched together: of one row of tiles, as many as are small together, at least one."""
        edge = self._tile_blocks >> level
        totals = self._sizes[level].sum(axis=1, dtype=np.uint64)
        start, held = 0, 0
        for row, total in enumerate(totals):
            if row > start and (row % edge == 0 or held + int(total) > _STRIP):
                yield range(start, row)
                start, held = row, 0
            held += int(total)
        yield range(start, len(totals))

    def _plan_spans(self, level: int, rows: range, *, limit: int | None) -> Iterator[_Span]:
        """Ranges with all blocks of some rows of one row of tiles; cut after ``limit`` bytes where the rows are one."""
        edge = self._tile_blocks >> level
        sizes = self._sizes[level]
        tile_row, top = rows.start // edge, rows.start // edge * edge
        for left in range(0, sizes.shape[1], edge):
            right = min(left + edge, sizes.shape[1])
            before = int(sizes[top : rows.start, left:right].sum(dtype=np.uint64))
            offset = int(self._starts[level, tile_row, left // edge]) + before
            cuts = [left, right] if limit is None else _cut(sizes[rows.start, left:right], left, limit)
            for col, col_end in pairwise(cuts):
                size = int(sizes[rows.start : rows.stop, col:col_end].sum(dtype=np.uint64))
                if size:
                    yield _Span(rows.start, rows.stop, col, col_end, offset, size)
                offset += size

    def _fetch(self, level: int, span: _Span) -> dict[tuple[int, int], bytes]:
        """Fetch a range and cut it into its blocks, by (row, column)."""
        edge = self._tile_blocks >> level
        tile = span.row // edge, span.col // edge
        data = self._reader.read(*tile, span.offset, span.size)
        blocks, offset = {}, 0
        for row in range(span.row, span.row_end):
            for col in range(span.col, span.col_end):
                size = int(self._sizes[level][row, col])
                if size:
                    block = data[offset : offset + size]
                    if zlib.crc32(block) != self._checks[level][row, col]:
                        raise self._reader.refuse(*tile)
                    blocks[row, col] = block
                    offset += size
        return blocks


def _cut(sizes: NDArray[np.uint32], first: int, limit: int) -> list[int]:
    """Where a row of blocks is cut so that no piece is larger than the limit, unless it is one block."""
    cuts, held = [first], 0
    for col, size in enumerate(sizes, start=first):
        if col > cuts[-1] and held + int(size) > limit:
            cuts.append(col)
            held = 0
        held += int(size)
    return [*cuts, first + len(sizes)]
