"""Memory is shared out so that what is held never exceeds what was asked for, as far as one task fits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.mosaic.budget import FIXED, SPARE, find_total, fit_window_edge, share_out

MB = 10**6


@pytest.mark.parametrize(
    ("setting", "threads", "task", "expected"),
    [
        ("auto", 1, 10 * MB, 320 * MB),
        ("auto", 2, 45 * MB, 384 * MB),
        ("auto", 2, 100 * MB, FIXED + (32 + 2 * 125) * MB),  # of which one needs more than its share
        (0.5, 16, 900 * MB, 500 * MB),
    ],
)
def test_memory_is_256_mb_and_64_a_thread_unless_set(setting: Any, threads: int, task: int, expected: int) -> None:
    assert find_total(setting, threads, task=task) == expected


@pytest.mark.parametrize(("pixel", "edge"), [(48, 1024), (61, 1024), (62, 512), (5000, 512)])
def test_windows_are_halved_until_their_task_fits_into_64_mb(pixel: int, edge: int) -> None:
    assert fit_window_edge(1024, 512, pixel=pixel, setting="auto", threads=8) == edge


def test_windows_may_be_large_where_memory_is_set_high_and_not_where_many_threads_share_it() -> None:
    assert fit_window_edge(4096, 512, pixel=40, setting=8, threads=2) == 4096
    assert fit_window_edge(4096, 512, pixel=40, setting=8, threads=64) == 1024


@given(
    setting=st.one_of(st.just("auto"), st.floats(0.25, 64)),
    threads=st.integers(1, 64),
    kept=st.integers(0, 100 * MB),
    tasks=st.tuples(st.integers(1, 3000 * MB), st.integers(1, 3000 * MB)),
    cache=st.one_of(st.none(), st.just("auto"), st.floats(0.001, 4)),
)
def test_what_is_shared_out_fits_unless_the_least_does_not(
    setting: Any, threads: int, kept: int, tasks: tuple[int, int], cache: Any
) -> None:
    allotment = share_out(setting, threads, kept=kept, measure_task=tasks[0], render_task=tasks[1], cache=cache)
    counts = allotment.measure_threads, allotment.render_threads
    assert all(1 <= count <= threads for count in counts)
    least = 0 if cache is None else 32 * MB if cache == "auto" else round(cache * 1e9)
    assert allotment.cache_bytes >= least
    for count, task in zip(counts, tasks, strict=True):
        held = FIXED + kept + allotment.cache_bytes + SPARE * count * task
        assert held <= allotment.total + 1 or (count == 1 and allotment.cache_bytes == least)


def test_on_their_own_settings_threads_all_work() -> None:
    for threads in (1, 2, 8, 64):
        allotment = share_out("auto", threads, kept=0, measure_task=50 * MB, render_task=40 * MB, cache="auto")
        assert (allotment.measure_threads, allotment.render_threads) == (threads, threads)
        assert allotment.cache_bytes >= 32 * MB
