"""Memory is shared out so that what is held never exceeds what was asked for, as far as one task fits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import make_large_scene, make_plan

from processor.model import Band
from processor.mosaic.budget import (
    FIXED,
    SPARE,
    allot_memory,
    count_depth,
    estimate_memory,
    estimate_phases,
    estimate_scratch,
    find_cache_bytes,
    find_stack_rows,
    find_total,
    fit_window_edge,
    share_out,
)
from processor.mosaic.plan import Plan

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


@pytest.mark.parametrize(("setting", "expected"), [(None, 0), ("auto", 125_000_000), (0.5, 500_000_000)])
def test_the_cache_is_given_in_gigabytes(setting: Any, expected: int) -> None:
    assert find_cache_bytes(setting) == expected


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ({"shared.tile_threads": 4}, {"shared.tile_threads": 2}),
        ({"shared.window_size": 4096}, {"shared.window_size": 1024}),
        ({"shared.cache": 0.1, "shared.window_size": 2048}, {"shared.cache": None, "shared.window_size": 2048}),
        (
            {"shared.output_dtype": "float64", "shared.window_size": 2048},
            {"shared.output_dtype": "uint16", "shared.window_size": 2048},
        ),
    ],
)
def test_memory_grows_with_what_is_asked_for(more: dict[str, Any], less: dict[str, Any]) -> None:
    assert estimate_memory(make_plan(**more)) > estimate_memory(make_plan(**less))


def test_memory_for_small_scenes_does_not_grow_with_a_cache_that_they_cannot_fill() -> None:
    tiny = (make_large_scene("a", edge=100), make_large_scene("b", left=50, edge=100))
    assert estimate_memory(make_plan(*tiny, **{"shared.cache": 10})) == estimate_memory(make_plan(*tiny, **{"shared.cache": 1}))
    assert estimate_memory(make_plan(*tiny)) < 450e6


def test_long_strips_need_room_because_they_are_decoded_whole() -> None:
    tiled = make_large_scene("a", edge=30_000)
    strips = replace(tiled, source=replace(tiled.source, block_height=1, block_width=30_000))
    more = estimate_memory(make_plan(strips, **{"shared.cache": 1})) - estimate_memory(make_plan(tiled, **{"shared.cache": 1}))
    # Threads, strips of 256 rows in a window of 1024, width, bands, bytes, and what the allocator adds.
    assert more == pytest.approx(SPARE * 2 * 5 * 256 * 30_000 * 2 * 2, abs=2)


def test_memory_that_is_set_is_kept_to_by_smaller_windows_and_fewer_tasks() -> None:
    wide = tuple(replace(make_large_scene(name), bands=tuple(Band(name=str(i)) for i in range(16))) for name in "ab")
    roomy, tight = (make_plan(*wide, **{"shared.memory": memory, "shared.tile_threads": 8}) for memory in (4, 0.6))
    assert (roomy.window_edge, tight.window_edge) == (1024, 512)
    assert (allot_memory(roomy).measure_threads, allot_memory(tight).measure_threads) == (8, 2)
    assert allot_memory(tight).cache_bytes < allot_memory(roomy).cache_bytes == 125_000_000
    assert estimate_memory(tight) <= 600e6 < estimate_memory(roomy) <= 4e9


def test_resampling_needs_room_for_the_pixels_on_both_grids() -> None:
    large = {"shared.window_size": 2048}
    aligned = make_plan(make_large_scene("a"), make_large_scene("b", left=2048), **large)
    shifted = make_plan(make_large_scene("a"), make_large_scene("b", left=2048.5), **large)
    assert estimate_memory(shifted) > estimate_memory(aligned)


def test_a_megapixel_mosaic_on_two_threads_fits_into_a_gigabyte() -> None:
    assert 0.4e9 < estimate_memory(make_plan()) < 1e9


def test_scratch_is_the_pixels_with_their_overviews_and_what_pictures_are_made_from() -> None:
    pixels, shown = 6144 * 4096, 4096**2
    assert estimate_scratch(make_plan()) == pytest.approx((pixels + shown) * (2 * 2 + 1) * 4 / 3, rel=1e-3)
    bare = make_plan(**{"merge_rasters.build_overviews": False})  # the whole file is what pictures are made from
    assert estimate_scratch(bare) == pytest.approx(2 * pixels * (2 * 2 + 1) * 4 / 3, rel=1e-3)


@pytest.mark.parametrize("method", ["median", "geomedian"])
def test_a_stack_takes_no_more_memory_however_many_scenes_lie_over_one_another(method: str) -> None:
    def plan(count: int) -> Plan:
        return make_plan(*(make_large_scene(f"s{number:03}") for number in range(count)), **{"methods.merge_method": method})

    few, many = plan(24), plan(200)
    assert few.window_edge < make_plan().window_edge or few.window_edge == 512
    assert count_depth(many.scenes, many.grid, many.window_edge) == 200
    rows = find_stack_rows(many, 200, many.window_edge)
    assert rows < 512
    assert rows * many.window_edge * 200 * (many.bands * 2 + 1) <= 32 * MB
    tasks = [estimate_phases(one, 8, kept_stages=0)["render"].memory for one in (few, many)]
    assert tasks[1] - tasks[0] < 64 * MB  # two tasks, and what is known of each scene


def test_depth_is_that_of_the_deepest_window() -> None:
    scenes = [make_large_scene("a"), make_large_scene("b", left=2048), make_large_scene("c", left=6144)]
    plan = make_plan(*scenes)
    assert count_depth(plan.scenes, plan.grid, 512) == 2
