"""Scratch bytes that are written once, read, and given back piece by piece: in a file, or in memory.

Several threads may write and read at once, each its own piece.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from processor.storage.linux import punch_hole


class ScratchFile:
    """A scratch file, made anew; the caller removes it.

    Its pieces are given back as holes, where the file system makes them: whatever is written next needs no further room on the
    disk, and takes over pages of the kernel's cache, which is several times as fast as having new ones.

    Parameters
    ----------
    path
        Of the file.

    Raises
    ------
    OSError
        What the system says, here and in all methods; reading: also where bytes are missing.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0), 0o600)

    def write(self, offset: int, data: bytes) -> None:
        """Write a piece, at whose place nothing was written before."""
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._descriptor, rest, offset)
            rest, offset = rest[written:], offset + written

    def read(self, offset: int, size: int) -> bytes:
        """Read a piece back."""
        data = os.pread(self._descriptor, size, offset)
        while len(data) < size:  # a signal may cut a read short, and one of more than 2 GiB always is
            more = os.pread(self._descriptor, size - len(data), offset + len(data))
            if not more:
                msg = f"only {len(data)} of {size} bytes are left at offset {offset}: something else cut the file short"
                raise OSError(msg)
            data += more
        return data

    def free(self, offset: int, size: int) -> None:
        """Make a hole; where that is not possible the piece stays until the file is removed."""
        punch_hole(self._descriptor, offset, size)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class ScratchMemory:
    """The same in memory, for what is small."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pieces: dict[int, bytes] = {}

    def write(self, offset: int, data: bytes) -> None:
        """Keep a piece."""
        with self._lock:
            self._pieces[offset] = data

    def read(self, offset: int, size: int) -> bytes:
        """Give a piece, which is asked for as it was written."""
        with self._lock:
            return self._pieces[offset] if size else b""

    def free(self, offset: int, size: int) -> None:
        """Forget a piece, which nobody reads again."""
        with self._lock:
            if size:
                del self._pieces[offset]

    def close(self) -> None:
        """Forget everything."""
        self._pieces.clear()
