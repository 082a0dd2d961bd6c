"""What is kept of objects comes back as it was, and is fetched once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.errors import StorageError
from processor.geotiff.range_cache import RangeCache

CONTENT = bytes(range(1, 65))
RANGES = st.lists(
    st.tuples(st.integers(0, 63), st.integers(1, 64)).map(lambda pair: (pair[0], min(64, sum(pair)))), max_size=12
)


class Source:
    """An object, and every range that was fetched of it."""

    def __init__(self, content: bytes = CONTENT, wait: float = 0.0) -> None:
        self._content, self._wait = content, wait
        self.fetched: list[tuple[int, int]] = []

    def fetch(self, start: int, end: int) -> bytes:
        self.fetched.append((start, end))
        time.sleep(self._wait)
        return self._content[start:end]


@pytest.fixture
def make(tmp_path: Path) -> Callable[[int], RangeCache]:
    return lambda room: RangeCache(tmp_path / "ranges", room=room)


@settings(derandomize=True, deadline=None)
@given(asked=RANGES, ahead=st.integers(0, 20), room=st.integers(0, 100))
def test_every_range_comes_as_it_is_and_no_byte_twice_while_there_is_room(
    tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[int, int]], ahead: int, room: int
) -> None:
    first, second = Source(), Source(CONTENT[::-1])
    with RangeCache(tmp_path_factory.mktemp("kept") / "ranges", room=room) as ranges:
        for start, end in asked:
            assert ranges.read("a", start, end, first.fetch, ahead=ahead, length=64) == CONTENT[start:end]
            assert ranges.read("b", start, end, second.fetch, ahead=ahead, length=64) == CONTENT[::-1][start:end]
        assert ranges.held <= room
        if room >= 2 * 64:
            for source in (first, second):
                taken = [position for start, end in source.fetched for position in range(start, end)]
                assert len(taken) == len(set(taken))
                assert max(taken, default=0) < 64


def test_what_follows_is_read_ahead_up_to_what_is_there_already(make: Callable[[int], RangeCache]) -> None:
    source = Source()
    with make(100) as ranges:
        ranges.read("a", 20, 24, source.fetch)
        assert ranges.read("a", 2, 4, source.fetch, ahead=10, length=64) == CONTENT[2:4]
        assert ranges.read("a", 13, 30, source.fetch, ahead=10, length=64) == CONTENT[13:30]
        assert ranges.read("a", 60, 62, source.fetch, ahead=10, length=64) == CONTENT[60:62]
    assert source.fetched == [(20, 24), (2, 12), (13, 20), (24, 34), (60, 64)]


def test_threads_wait_for_what_another_one_fetches(make: Callable[[int], RangeCache]) -> None:
    content = bytes(range(256)) * 4
    source = Source(content, wait=0.02)
    with make(10_000) as ranges, ThreadPoolExecutor(8) as pool:
        spans = [(start, start + 64) for start in range(0, 1024, 32) if start + 64 <= 1024]
        found = list(pool.map(lambda span: ranges.read("a", *span, source.fetch, ahead=100, length=1024), spans))
    assert found == [content[start:end] for start, end in spans]
    taken = [position for start, end in source.fetched for position in range(start, end)]
    assert sorted(taken) == list(range(1024))


def test_a_fetch_that_fails_leaves_nothing_and_is_tried_by_the_next(make: Callable[[int], RangeCache]) -> None:
    begun = threading.Event()

    def fail(start: int, end: int) -> bytes:
        begun.set()
        time.sleep(0.05)
        msg = f"no bytes {start} to {end}"
        raise StorageError(msg)

    source = Source()
    with make(100) as ranges, ThreadPoolExecutor(1) as pool:
        failing = pool.submit(ranges.read, "a", 0, 8, fail)
        assert begun.wait(5)
        assert ranges.read("a", 4, 8, source.fetch) == CONTENT[4:8]
        with pytest.raises(StorageError, match="no bytes 0 to 8"):
            failing.result()
    assert source.fetched == [(4, 8)]


def test_a_full_disk_keeps_nothing_more(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, a device that is always full")
    (tmp_path / "ranges").symlink_to("/dev/full")
    source = Source()
    with RangeCache(tmp_path / "ranges", room=100) as ranges:
        for _ in range(2):
            assert ranges.read("a", 0, 5, source.fetch, ahead=20, length=64) == CONTENT[:5]
    assert source.fetched == [(0, 20), (0, 5), (0, 5)]


def test_a_size_is_asked_for_once(make: Callable[[int], RangeCache]) -> None:
    with make(8) as ranges:
        assert ranges.find_size("a", lambda: 12) == 12
        assert ranges.find_size("a", lambda: 13) == 12
        assert ranges.find_size("b", lambda: 14) == 14
