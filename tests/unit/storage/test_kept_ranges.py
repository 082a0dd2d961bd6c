"""What is kept of objects comes back as it was, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.storage.kept_ranges import KeptRanges

CONTENT = bytes(range(1, 65))
RANGES = st.lists(
    st.tuples(st.integers(0, 63), st.integers(1, 64)).map(lambda pair: (pair[0], min(64, sum(pair)))), max_size=20
)


@settings(derandomize=True, deadline=None)
@given(kept=RANGES, asked=RANGES)
def test_a_range_comes_back_only_where_all_of_it_was_kept(
    tmp_path_factory: pytest.TempPathFactory, kept: list[tuple[int, int]], asked: list[tuple[int, int]]
) -> None:
    known: set[int] = set()
    with KeptRanges(tmp_path_factory.mktemp("kept") / "ranges", room=10_000) as ranges:
        for start, end in kept:
            ranges.keep("a", start, CONTENT[start:end])
            ranges.keep("b", start, bytes(end - start))
            known |= set(range(start, end))
            assert ranges.find("a", start, end) in {CONTENT[start:end], None}
        for start, end in asked:
            found = ranges.find("a", start, end)
            assert found in {CONTENT[start:end], None}
            assert found is None or known >= set(range(start, end))


def test_neighbours_are_found_together(tmp_path: Path) -> None:
    with KeptRanges(tmp_path / "ranges", room=100) as ranges:
        ranges.keep("a", 10, b"klm")
        ranges.keep("a", 0, b"abcde")
        ranges.keep("a", 5, b"fghij")
        assert ranges.find("a", 2, 13) == b"cdefghijklm"
        assert ranges.find("a", 2, 14) is None
        assert ranges.find("b", 2, 3) is None


def test_no_more_is_kept_than_there_is_room_for(tmp_path: Path) -> None:
    with KeptRanges(tmp_path / "ranges", room=8) as ranges:
        ranges.keep("a", 0, b"abcde")
        ranges.keep("a", 5, b"fghij")
        assert (ranges.find("a", 0, 5), ranges.find("a", 5, 10), ranges.held) == (b"abcde", None, 5)


def test_a_full_disk_keeps_nothing_more(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, a device that is always full")
    (tmp_path / "ranges").symlink_to("/dev/full")
    with KeptRanges(tmp_path / "ranges", room=100) as ranges:
        ranges.keep("a", 0, b"abcde")
        ranges.keep("a", 5, b"fghij")
        assert ranges.find("a", 0, 5) is None
        assert ranges.find("a", 5, 10) is None


def test_sizes_are_kept_too(tmp_path: Path) -> None:
    with KeptRanges(tmp_path / "ranges", room=8) as ranges:
        assert ranges.find_size("a") is None
        ranges.keep_size("a", 12)
        assert ranges.find_size("a") == 12
