"""Thread pools: results in the order of the items, and a bounded number of items in flight."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Final, Literal, TypeVar, cast

T = TypeVar("T")
R = TypeVar("R")

_AHEAD: Final = 2  # items


def count_processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def resolve_threads(setting: int | Literal["cpu", "auto"] | None, *, auto: int | None = None) -> int:
    """Number of threads: "cpu" is one a processor, "auto" the given number (default: as "cpu"), None one."""
    if setting is None:
        return 1
    if setting == "auto" and auto is not None:
        return auto
    return setting if isinstance(setting, int) else count_processors()


def map_ordered(function: Callable[[T], R], items: Iterable[T], *, threads: int) -> Iterator[R]:
    """Apply a function to every item, several at once, and yield the results in the order of the items.

    At most two items a thread are in flight, which bounds memory. The first error stops the pool: items that have not started
    are dropped, running ones are waited for, and the error is raised.
    """
    if threads == 1:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="task")
    try:
        rest = iter(items)
        pending: deque[Future[R]] = deque(pool.submit(function, item) for item in islice(rest, 2 * threads))
        while pending:
            yield pending.popleft().result()
            for item in islice(rest, 1):
                pending.append(pool.submit(function, item))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def read_ahead(items: Iterable[T]) -> Iterator[T]:
    """Yield items while another thread computes the next two."""
    iterator, end = iter(items), object()
    pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
    try:
        pending = deque(pool.submit(next, iterator, cast("T", end)) for _ in range(_AHEAD))
        while (item := pending.popleft().result()) is not end:
            pending.append(pool.submit(next, iterator, cast("T", end)))
            yield item
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        if isinstance(iterator, Generator):
            iterator.close()
