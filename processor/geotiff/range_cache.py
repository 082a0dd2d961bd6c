"""Ranges of objects that came over the network, in a scratch file: the second pass, and who reads on, finds them there."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

from processor.storage.scratch_file import ScratchFile


@dataclass(slots=True, kw_only=True)
class _Range:
    """Bytes of an object that are in the scratch file, or on their way there."""

    start: int
    """First byte in the object."""
    end: int
    """One past the last byte in the object."""
    offset: int
    """Where they begin in the scratch file."""
    is_there: bool = False
    """False while they are fetched."""


@dataclass(slots=True)
class _Object:
    """What is known of one object."""

    size: int | None = None
    """Bytes, or None as long as nobody asked."""
    ranges: list[_Range] = field(default_factory=list)
    """By start; they share no byte."""

    def find(self, start: int, end: int) -> tuple[list[_Range], int]:
        """Ranges that hold the bytes from ``start`` on without a gap, and the first byte that is in none, at most ``end``."""
        found: list[_Range] = []
        i = max(0, bisect.bisect_right(self.ranges, start, key=attrgetter("start")) - 1)
        for held in self.ranges[i:]:
            if not held.start <= start < min(end, held.end):
                break
            found.append(held)
            start = min(end, held.end)
        return found, start

    def claim(self, start: int, limit: int, offset: int) -> _Range:
        """Take the bytes from ``start`` on, up to the next range or the limit, to be fetched."""
        i = bisect.bisect_right(self.ranges, start, key=attrgetter("start"))
        end = min([limit, *(held.start for held in self.ranges[i : i + 1])])
        self.ranges.insert(i, _Range(start=start, end=end, offset=offset))
        return self.ranges[i]


class RangeCache(AbstractContextManager["RangeCache", None]):
    """Ranges of objects in a scratch file; used from any thread, as a context manager that closes it.

    Parameters
    ----------
    path
        Of the scratch file, made anew; the caller removes it.
    room
        Bytes that may be kept; what comes later is not.
    """

    def __init__(self, path: Path, *, room: int) -> None:
        self._file = ScratchFile(path)
        self._changed = threading.Condition()
        self._objects: dict[str, _Object] = {}
        self._room, self._held = room, 0

    def __exit__(self, *_: object) -> None:
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
        with self._changed:
            known = self._objects.setdefault(url, _Object())
        while True:
            with self._changed:
                found, missing = known.find(start, end)
                if missing == end and not all(held.is_there for held in found):
                    self._changed.wait()
                    continue
                room = self._room - self._held
                if end - missing > max(0, room):
                    break
                if missing < end:
                    limit = end if length is None else min(length, max(end, missing + min(ahead, room)))
                    claimed = known.claim(missing, limit, self._held)
                    self._held += claimed.end - claimed.start
            if missing == end:
                cuts = ((max(start, held.start), min(end, held.end), held) for held in found)
                return b"".join(self._file.read(held.offset + first - held.start, last - first) for first, last, held in cuts)
            self._fetch(known, claimed, fetch)
        return fetch(start, end)

    def _fetch(self, known: _Object, claimed: _Range, fetch: Callable[[int, int], bytes]) -> None:
        """Fetch a range into the scratch file; a disk that is full keeps nothing more, which is no error."""
        is_there = False
        try:
            self._file.write(claimed.offset, fetch(claimed.start, claimed.end))
            is_there = True
        except OSError:  # of the scratch file: those of storage have been wrapped
            self._room = 0
        finally:
            with self._changed:
                claimed.is_there = is_there
                if not is_there:
                    known.ranges.remove(claimed)
                self._changed.notify_all()
