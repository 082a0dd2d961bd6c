"""Where the compressed tiles of a Cloud-Optimized GeoTIFF come from and go to, and a scratch store for them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from processor.geotiff.cog.spec import Level
from processor.storage.scratch_file import ScratchFile, ScratchMemory
from processor.storage.url import storage_errors

_ABSENT: Final = -1  # offset of a tile that was not stored
_LARGEST: Final = 2**32 - 16  # bytes of a tile: its size is stored in four bytes


class TileSource(Protocol):
    """Where the compressed tiles of all levels come from, however they were made and wherever they lie."""

    def sizes(self, level: int) -> NDArray[np.uint32]:
        """Bytes of each tile, (rows, cols); 0 for an empty tile."""
        ...

    def iter_tiles(self, level: int) -> Iterator[bytes]:
        """The tiles that are not empty, row by row."""
        ...

    def drain(self) -> TileSource:
        """The same tiles, to be read for the last time: what holds them here gives their room back as they are read."""
        ...


class TileSink(Protocol):
    """Where the compressed tiles of all levels go, in any order, from any thread."""

    def put(self, level: int, row: int, col: int, data: bytes) -> None:
        """Take a tile, once."""
        ...


class TileStore(AbstractContextManager["TileStore", None]):
    """A scratch file of compressed tiles in any order, with their places in memory (12 bytes a tile).

    Several threads may use one store.

    Parameters
    ----------
    path
        The scratch file, made anew; the caller removes it. Without one, memory holds the tiles.
    levels
        The levels whose tiles will come.
    """

    def __init__(self, path: Path | None, levels: tuple[Level, ...]) -> None:
        self._name = "memory" if path is None else str(path)
        self._lock = threading.Lock()
        self._end = 0
        self.frees = False  # the room of what is read
        self._offsets = [np.full((level.rows, level.cols), _ABSENT, np.int64) for level in levels]
        self._sizes = [np.zeros((level.rows, level.cols), np.uint32) for level in levels]
        with storage_errors(self._name):
            self._bytes = ScratchMemory() if path is None else ScratchFile(path)

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close the scratch file; the tiles are gone from this object."""
        self._bytes.close()

    def put(self, level: int, row: int, col: int, data: bytes) -> None:
        """Store a tile, once.

        Raises
        ------
        ValueError
            The tile was stored before, or is too large.
        StorageError
            The scratch file cannot be written.
        """
        if len(data) > _LARGEST:
            msg = f"tile {row}, {col} of level {level} has {len(data)} bytes, more than {_LARGEST}; choose a smaller tile_size"
            raise ValueError(msg)
        with self._lock:
            if self._offsets[level][row, col] != _ABSENT:
                msg = f"tile {row}, {col} of level {level} was stored before; every window is fed once"
                raise ValueError(msg)
            offset, self._end = self._end, self._end + len(data)
            self._offsets[level][row, col] = offset
            self._sizes[level][row, col] = len(data)
        if data:
            with storage_errors(self._name):  # outside of the lock: the tile has its place
                self._bytes.write(offset, data)

    def get(self, level: int, row: int, col: int) -> bytes:
        """Read a tile; no bytes for an empty one.

        Raises
        ------
        KeyError
            The tile was not stored.
        StorageError
            The scratch file cannot be read.
        """
        offset, size = int(self._offsets[level][row, col]), int(self._sizes[level][row, col])
        if offset == _ABSENT:
            msg = f"tile {row}, {col} of level {level} was not stored"
            raise KeyError(msg)
        with storage_errors(self._name):
            data = self._bytes.read(offset, size)
            if self.frees:
                self._bytes.free(offset, size)
        return data

    def sizes(self, level: int) -> NDArray[np.uint32]:
        """Bytes of each tile of a level, uint32 (rows, cols); 0 for an empty tile.

        Raises
        ------
        KeyError
            Not all tiles were stored.
        """
        absent = np.argwhere(self._offsets[level] == _ABSENT)
        if len(absent):
            row, col = absent[0]
            msg = f"{len(absent)} tiles of level {level} were not stored, the first at row {row}, column {col}"
            raise KeyError(msg)
        return self._sizes[level].copy()

    def iter_tiles(self, level: int) -> Iterator[bytes]:
        """Yield the tiles of a level that are not empty, row by row."""
        for row, col in np.argwhere(self.sizes(level) > 0):
            yield self.get(level, int(row), int(col))

    def drain(self) -> TileSource:
        """The same tiles, each to be read once more, after which its room in the scratch file is given back."""
        drained = copy(self)
        drained.frees = True
        return drained


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftedTiles:
    """A store of a part of an image: takes tiles by their places in the whole one."""

    store: TileStore
    """Takes the tiles, counted from the part's own corner."""
    level: int = 0
    """First level that the store has."""
    row: int = 0
    """Row of the part's first tile at the full resolution; a multiple of what a tile of the part's last level spans."""
    col: int = 0
    """Column of that tile; a multiple of the same."""

    def put(self, level: int, row: int, col: int, data: bytes) -> None:
        """Take a tile, once."""
        self.store.put(level - self.level, row - (self.row >> level), col - (self.col >> level), data)
