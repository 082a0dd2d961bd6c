"""Tasks in threads: results in order, a bounded number in flight, the first error ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from processor.process.threads import count_processors, map_ordered, read_ahead, resolve_threads


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_results_come_in_the_order_of_the_items_whatever_finishes_first(threads: int) -> None:
    def work(item: int) -> int:
        time.sleep(0.002 * (item % 5 == 0))
        return item * item

    for count in (60, 0):
        assert list(map_ordered(work, range(count), threads=threads)) == [item * item for item in range(count)]


def test_tasks_run_at_the_same_time() -> None:
    meeting = threading.Barrier(4)
    assert list(map_ordered(lambda _: meeting.wait(10) >= 0, range(4), threads=4)) == [True] * 4


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_no_more_than_twice_as_many_items_as_threads_are_taken_ahead(threads: int) -> None:
    taken = 0

    def count() -> Iterator[int]:
        nonlocal taken
        for item in range(100):
            taken += 1
            yield item

    ahead = []
    for done, _ in enumerate(map_ordered(abs, count(), threads=threads)):
        ahead.append(taken - done)
    assert max(ahead) <= 2 * threads + 1
    assert taken == 100


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_first_error_in_order_is_raised_and_nothing_more_is_begun(threads: int) -> None:
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        if item in (7, 9):
            msg = f"task {item}"
            raise ValueError(msg)
        return item

    results = map_ordered(work, range(1000), threads=threads)
    got: list[int] = []
    with pytest.raises(ValueError, match="task 7"):
        got.extend(results)
    assert len(begun) <= 8 + 2 * threads
    before = len(begun)
    time.sleep(0.01)
    assert len(begun) == before


def test_an_error_and_a_consumer_that_stops_early_leave_no_thread_behind() -> None:
    finished = []

    def work(item: int) -> None:
        if item == 0:
            raise ValueError
        time.sleep(0.05)
        finished.append(item)

    with pytest.raises(ValueError):  # noqa: PT011 - the type is what is raised above
        list(map_ordered(work, range(2), threads=2))
    assert finished in ([1], [])  # it either ran to its end or never began
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("task")]
    results = map_ordered(abs, range(1000), threads=3)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("task")]


def test_settings_mean_numbers_of_threads() -> None:
    processors = count_processors()
    assert processors >= 1
    assert resolve_threads(None) == 1
    assert resolve_threads(3) == 3
    assert resolve_threads("cpu") == processors
    assert resolve_threads("auto") == processors
    assert resolve_threads("auto", auto=8) == 8
    assert resolve_threads("cpu", auto=8) == processors


# Reading ahead


def test_items_come_in_order_and_a_few_are_made_ahead_by_another_thread() -> None:
    made: list[int] = []
    threads = set()

    def make() -> Iterator[int]:
        for item in range(30):
            threads.add(threading.get_ident())
            made.append(item)
            yield item

    seen = []
    for item in read_ahead(make()):
        seen.append(item)
        assert len(made) <= len(seen) + 3
    assert seen == list(range(30))
    assert threading.get_ident() not in threads
    assert list(read_ahead([])) == []


def test_an_error_comes_after_the_items_before_it() -> None:
    def make() -> Iterator[int]:
        yield 1
        yield 2
        msg = "no third"
        raise ValueError(msg)

    ahead = read_ahead(make())
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(ValueError, match="no third"):
        next(ahead)


def test_what_is_not_read_to_its_end_is_closed() -> None:
    closed = threading.Event()

    def make() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    ahead = read_ahead(make())
    assert next(ahead) == 1
    ahead.close()  # type: ignore[attr-defined]
    assert closed.is_set()
