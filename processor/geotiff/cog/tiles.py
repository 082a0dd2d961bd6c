"""What a Cloud-Optimized GeoTIFF is made of: its description, its levels, and a scratch store for its compressed blocks."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from processor.errors import ConfigError
from processor.geotiff.cog.codecs import DTYPES, CogProfile, make_fill
from processor.model import Grid, Moments, Window
from processor.storage.scratch_file import ScratchBytes, ScratchFile, ScratchMemory
from processor.storage.url import storage_errors

__all__ = ["BlockSink", "BlockSource", "BlockStore", "CogSpec", "Level", "ShiftedBlocks", "plan_levels"]

_ABSENT: Final = -1  # offset of a block that was not stored
_LARGEST: Final = 2**32 - 16  # bytes of a block: its size is stored in four bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One image of a pyramid: the full resolution (index 0) or an overview."""

    index: int
    """Number of halvings."""
    width: int
    height: int
    """pixels."""
    blocksize: int
    """Edge of a block, pixels."""

    @property
    def rows(self) -> int:
        """Number of rows of blocks."""
        return -(-self.height // self.blocksize)

    @property
    def cols(self) -> int:
        """Number of columns of blocks."""
        return -(-self.width // self.blocksize)

    def window(self, row: int, col: int, *, blocks: int = 1) -> Window:
        """The pixels of ``blocks`` x ``blocks`` blocks from block (row, col) on, as far as they lie in the image."""
        top, left, edge = row * self.blocksize, col * self.blocksize, blocks * self.blocksize
        return Window(row=top, col=left, height=min(edge, self.height - top), width=min(edge, self.width - left))


def plan_levels(width: int, height: int, blocksize: int) -> tuple[Level, ...]:
    """Halve, rounding up, until the image fits into one block; full resolution first.

    Examples
    --------
    >>> [(level.width, level.height) for level in plan_levels(1500, 701, 512)]
    [(1500, 701), (750, 351), (375, 176)]
    """
    levels = [Level(index=0, width=width, height=height, blocksize=blocksize)]
    while max(width, height) > blocksize:
        width, height = -(-width // 2), -(-height // 2)
        levels.append(Level(index=len(levels), width=width, height=height, blocksize=blocksize))
    return tuple(levels)


@dataclass(frozen=True, slots=True, kw_only=True)
class CogSpec:
    """Everything about a Cloud-Optimized GeoTIFF but its pixels."""

    grid: Grid
    """Pixels of the full resolution and the CRS (WKT; empty for none)."""
    bands: int
    """Number of bands."""
    dtype: str
    """Numpy dtype name, one of ``codecs.DTYPES``."""
    nodata: float | None = None
    """Value of invalid samples (maybe NaN), or None."""
    profile: CogProfile = field(default_factory=CogProfile)
    overviews: bool = True
    """Whether there are any."""
    descriptions: tuple[str | None, ...] = ()
    """One a band, None where there is nothing to say; or empty."""
    statistics: Moments | None = None
    """Of the full resolution's valid pixels, written as STATISTICS_* for each band; or None."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Other metadata items of the dataset."""
    photometric: Literal["minisblack", "rgb"] = "minisblack"
    """"rgb" where the first three bands are red, green, blue to look at, else "minisblack"."""

    def __post_init__(self) -> None:
        """Refuse what a GeoTIFF cannot hold."""
        if self.dtype not in DTYPES:
            msg = f"dtype {self.dtype} cannot be written; choose one of {', '.join(DTYPES)}"
            raise ConfigError(msg)
        make_fill(np.dtype(self.dtype), self.nodata)
        if not 1 <= self.bands <= 65535:
            msg = f"a raster has 1 to 65535 bands, got {self.bands}"
            raise ConfigError(msg)
        if self.descriptions and len(self.descriptions) != self.bands:
            msg = f"descriptions must be one a band, got {len(self.descriptions)} for {self.bands} bands"
            raise ConfigError(msg)
        if self.statistics is not None and self.statistics.mean.shape != (self.bands,):
            msg = f"statistics must be one a band, got shape {self.statistics.mean.shape} for {self.bands} bands"
            raise ConfigError(msg)
        if self.photometric == "rgb" and (self.bands < 3 or self.dtype not in {"uint8", "uint16"}):
            msg = f"photometric rgb needs three bands of uint8 or uint16, got {self.bands} of {self.dtype}"
            raise ConfigError(msg)

    @property
    def levels(self) -> tuple[Level, ...]:
        """The full resolution and its overviews."""
        levels = plan_levels(self.grid.width, self.grid.height, self.profile.blocksize)
        return levels if self.overviews else levels[:1]


class BlockSource(Protocol):
    """Where the compressed blocks of all levels come from, however they were made and wherever they lie."""

    def sizes(self, level: int) -> NDArray[np.uint32]:
        """Bytes of each block, (rows, cols); 0 for an empty block."""
        ...

    def iter_blocks(self, level: int) -> Iterator[bytes]:
        """The blocks that are not empty, row by row."""
        ...

    def drain(self) -> BlockSource:
        """The same blocks, to be read for the last time: what holds them here gives their room back as they are read."""
        ...


class BlockSink(Protocol):
    """Where the compressed blocks of all levels go, in any order, from any thread."""

    def put(self, level: int, row: int, col: int, data: bytes) -> None:
        """Take a block, once."""
        ...


class BlockStore:
    """A scratch file of compressed blocks in any order, with their places in memory (12 bytes a block).

    Several threads may use one store.

    Parameters
    ----------
    path
        The scratch file, made anew; the caller removes it. Without one, memory holds the blocks.
    levels
        The levels whose blocks will come.
    """

    def __init__(self, path: Path | None, levels: tuple[Level, ...]) -> None:
        self._name = "memory" if path is None else str(path)
        self._lock = threading.Lock()
        self._end = 0
        self._offsets = [np.full((level.rows, level.cols), _ABSENT, np.int64) for level in levels]
        self._sizes = [np.zeros((level.rows, level.cols), np.uint32) for level in levels]
        with storage_errors(self._name):
            self._bytes: ScratchBytes = ScratchMemory() if path is None else ScratchFile(path)

    def __enter__(self) -> Self:
        """Give the store, to be closed at the end of the block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close the scratch file; the blocks are gone from this object."""
        self._bytes.close()

    def put(self, level: int, row: int, col: int, data: bytes) -> None:
        """Store a block, once.

        Raises
        ------
        ValueError
            The block was stored before, or is too large.
        StorageError
            The scratch file cannot be written.
        """
        if len(data) > _LARGEST:
            msg = f"block {row}, {col} of level {level} has {len(data)} bytes, more than {_LARGEST}; choose a smaller blocksize"
            raise ValueError(msg)
        with self._lock:
            if self._offsets[level][row, col] != _ABSENT:
                msg = f"block {row}, {col} of level {level} was stored before; every window is fed once"
                raise ValueError(msg)
            offset, self._end = self._end, self._end + len(data)
            self._offsets[level][row, col] = offset
            self._sizes[level][row, col] = len(data)
        if data:
            with storage_errors(self._name):  # outside of the lock: the block has its place
                self._bytes.write(offset, data)

    def get(self, level: int, row: int, col: int) -> bytes:
        """Read a block; no bytes for an empty one.

        Raises
        ------
        KeyError
            The block was not stored.
        StorageError
            The scratch file cannot be read.
        """
        offset, size = self._find(level, row, col)
        with storage_errors(self._name):
            return self._bytes.read(offset, size)

    def take(self, level: int, row: int, col: int) -> bytes:
        """Read a block for the last time: its room in the scratch file is given back; errors as of :meth:`get`."""
        offset, size = self._find(level, row, col)
        with storage_errors(self._name):
            data = self._bytes.read(offset, size)
            self._bytes.free(offset, size)
        return data

    def sizes(self, level: int) -> NDArray[np.uint32]:
        """Bytes of each block of a level, uint32 (rows, cols); 0 for an empty block.

        Raises
        ------
        KeyError
            Not all blocks were stored.
        """
        absent = np.argwhere(self._offsets[level] == _ABSENT)
        if len(absent):
            row, col = absent[0]
            msg = f"{len(absent)} blocks of level {level} were not stored, the first at row {row}, column {col}"
            raise KeyError(msg)
        return self._sizes[level].copy()

    def iter_blocks(self, level: int) -> Iterator[bytes]:
        """Yield the blocks of a level that are not empty, row by row."""
        for row, col in np.argwhere(self.sizes(level) > 0):
            yield self.get(level, int(row), int(col))

    def drain(self) -> BlockSource:
        """The same blocks, each to be read once more, after which its room is given back (:meth:`take`)."""
        return _DrainedBlocks(self)

    def _find(self, level: int, row: int, col: int) -> tuple[int, int]:
        """Offset and size of a block."""
        offset, size = int(self._offsets[level][row, col]), int(self._sizes[level][row, col])
        if offset == _ABSENT:
            msg = f"block {row}, {col} of level {level} was not stored"
            raise KeyError(msg)
        return offset, size


@dataclass(frozen=True, slots=True)
class _DrainedBlocks:
    """Blocks of a store on their way out of it."""

    store: BlockStore

    def sizes(self, level: int) -> NDArray[np.uint32]:
        """Bytes of each block."""
        return self.store.sizes(level)

    def iter_blocks(self, level: int) -> Iterator[bytes]:
        """The blocks that are not empty, row by row, each for the last time."""
        for row, col in np.argwhere(self.store.sizes(level) > 0):
            yield self.store.take(level, int(row), int(col))

    def drain(self) -> BlockSource:
        """Themselves."""
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftedBlocks:
    """A store of a part of an image: takes blocks by their places in the whole one."""

    store: BlockStore
    level: int = 0
    """The first one that the store has."""
    row: int = 0
    col: int = 0
    """Of the part's first block at the full resolution; a multiple of what a block of the part's last level spans."""

    def put(self, level: int, row: int, col: int, data: bytes) -> None:
        """Take a block, once."""
        self.store.put(level - self.level, row - (self.row >> level), col - (self.col >> level), data)
