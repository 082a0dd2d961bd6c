"""What was read over the network in one pass, kept in a scratch file for the next."""

from __future__ import annotations

import bisect
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from processor.storage.scratch_file import ScratchFile

__all__ = ["KeptRanges"]


@dataclass(slots=True)
class _Object:
    """Ranges of one object, by where they start; ``ends`` and ``places`` (offsets in the scratch file) in the same order."""

    size: int | None = None
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)


class KeptRanges:
    """Ranges of objects in a scratch file; used from any thread, as a context manager that closes it.

    Parameters
    ----------
    path
        Of the scratch file, made anew; the caller removes it.
    room
        How many bytes may be kept; what comes later is not.
    """

    def __init__(self, path: Path, *, room: int) -> None:
        self._file = ScratchFile(path)
        self._lock = threading.Lock()
        self._objects: dict[str, _Object] = {}
        self._room, self._end = room, 0

    def __enter__(self) -> Self:
        """Nothing is kept yet."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Close the scratch file."""
        self._file.close()

    @property
    def held(self) -> int:
        """Bytes kept so far."""
        return self._end

    def find_size(self, url: str) -> int | None:
        """Size of an object, where that was kept."""
        with self._lock:
            known = self._objects.get(url)
            return None if known is None else known.size

    def keep_size(self, url: str, size: int) -> None:
        """Keep the size of an object."""
        with self._lock:
            self._objects.setdefault(url, _Object()).size = size

    def find(self, url: str, start: int, end: int) -> bytes | None:
        """The bytes of an object from ``start`` to ``end``, or None where not all of them were kept."""
        pieces: list[tuple[int, int]] = []  # place, size
        with self._lock:
            known = self._objects.get(url)
            while known is not None and start < end:
                i = bisect.bisect_right(known.starts, start) - 1
                if i < 0 or known.ends[i] <= start:
                    return None
                stop = min(end, known.ends[i])
                pieces.append((known.places[i] + start - known.starts[i], stop - start))
                start = stop
        if start < end:
            return None
        return b"".join(self._file.read(place, size) for place, size in pieces)

    def keep(self, url: str, start: int, data: bytes) -> None:
        """Keep bytes of an object, if there is room; a disk that is full keeps no more, which is no error.

        What is kept of one place twice (two threads may have fetched it) is found under either.
        """
        with self._lock:
            place = self._end
            if not data or place + len(data) > self._room:
                return
            self._end += len(data)
        try:
            self._file.write(place, data)
        except OSError:  # it will be read over the network again
            self._room = 0
            return
        with self._lock:
            known = self._objects.setdefault(url, _Object())
            i = bisect.bisect_left(known.starts, start)
            if i < len(known.starts) and known.starts[i] == start and known.ends[i] >= start + len(data):
                return
            known.starts.insert(i, start)
            known.ends.insert(i, start + len(data))
            known.places.insert(i, place)
