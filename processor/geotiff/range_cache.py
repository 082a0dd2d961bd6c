"""What was read over the network in one pass, kept in a scratch file for the next, and for whoever reads on from there."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from processor.storage.scratch_file import ScratchFile

__all__ = ["KeptRanges"]


@dataclass(slots=True)
class _Object:
    """Ranges of one object that share no byte."""

    size: int | None = None
    """Of the object, or None as long as nobody asked."""
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    """Of what is kept, by where it starts; places are offsets in the scratch file."""
    coming: list[tuple[int, int]] = field(default_factory=list)
    """Start and end of what is being fetched."""

    def add(self, start: int, size: int, place: int) -> None:
        """Keep a range."""
        i = bisect.bisect_left(self.starts, start)
        self.starts.insert(i, start)
        self.ends.insert(i, start + size)
        self.places.insert(i, place)

    def find(self, start: int, end: int) -> tuple[list[tuple[int, int]], int]:
        """Places and sizes of what is kept of a range from its start on, and where that ends."""
        pieces: list[tuple[int, int]] = []
        i = bisect.bisect_right(self.starts, start) - 1
        while start < end and 0 <= i < len(self.starts) and self.starts[i] <= start < self.ends[i]:
            stop = min(end, self.ends[i])
            pieces.append((self.places[i] + start - self.starts[i], stop - start))
            start, i = stop, i + 1
        return pieces, start

    def is_coming(self, position: int) -> bool:
        """Whether a byte is being fetched."""
        return any(start <= position < end for start, end in self.coming)

    def bound(self, start: int, end: int) -> int:
        """Where the range from ``start`` on ends that is neither kept nor coming, at most ``end``."""
        i = bisect.bisect_right(self.starts, start)
        taken = [other for other, _ in self.coming if other > start] + self.starts[i : i + 1]
        return min([end, *taken])


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
        self._changed = threading.Condition()
        self._objects: dict[str, _Object] = {}
        self._room, self._held = room, 0

    def __enter__(self) -> Self:
        """Nothing is kept yet."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Close the scratch file."""
        self._file.close()

    @property
    def held(self) -> int:
        """Bytes of the room that are taken, also by what is being fetched or failed to come."""
        return self._held

    def find_size(self, url: str, ask: Callable[[], int]) -> int:
        """Size of an object, which is asked for once."""
        with self._changed:
            known = self._objects.setdefault(url, _Object())
        if known.size is None:
            known.size = ask()
        return known.size

    def read(
        self, url: str, start: int, end: int, fetch: Callable[[int, int], bytes], *, ahead: int = 0, length: int | None = None
    ) -> bytes:
        """Read bytes of an object and keep them; what is kept is not fetched again, what another thread fetches is waited for.

        Parameters
        ----------
        url
            Of the object.
        start, end
            Of the bytes.
        fetch
            Fetches a range, exactly; its errors are passed on.
        ahead
            Bytes to fetch at once where some are missing, also beyond ``end``.
        length
            Of the object; needed to read ahead.
        """
        known = self._objects.setdefault(url, _Object())
        while True:
            with self._changed:
                pieces, missing = known.find(start, end)
                room = self._room - self._held
                if missing < end and room >= end - missing:
                    if known.is_coming(missing):
                        self._changed.wait()
                        continue
                    limit = end if length is None else min(length, max(end, missing + min(ahead, room)))
                    stop = known.bound(missing, limit)
                    known.coming.append((missing, stop))
                    place, self._held = self._held, self._held + stop - missing
            if missing >= end:
                return b"".join(self._file.read(offset, size) for offset, size in pieces)
            if room < end - missing:
                return fetch(start, end)
            self._fetch(known, missing, stop, place, fetch)

    def _fetch(self, known: _Object, start: int, end: int, place: int, fetch: Callable[[int, int], bytes]) -> None:
        """Fetch a range and keep it at its place; a disk that is full keeps nothing more, which is no error."""
        is_kept = False
        try:
            self._file.write(place, fetch(start, end))
            is_kept = True
        except OSError:  # of the scratch file: those of storage have been wrapped
            self._room = 0
        finally:
            with self._changed:
                known.coming.remove((start, end))
                if is_kept:
                    known.add(start, end - start, place)
                self._changed.notify_all()
