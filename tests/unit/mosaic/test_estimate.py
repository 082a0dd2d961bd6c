"""What a plan is said to cost: grows with what is asked for, and never with more than there is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import records
import yaml

from processor.config import load_config
from processor.model import Band, Scene
from processor.mosaic.budget import SPARE, allot_memory, estimate_memory, estimate_scratch, find_cache_bytes
from processor.mosaic.estimate import describe_plan, render_plan
from processor.mosaic.plan import Plan
from processor.mosaic.planning import plan_run


def make_scene(name: str, *, left: float = 0, edge: int = 4096, pixel: float = 1.0, size: int | None = 1000) -> Scene:
    place = {"left": left, "top": 0, "pixel_width": pixel, "pixel_height": pixel, "width": edge, "height": edge}
    file = {"block_height": 512, "block_width": 512, "overviews": (2, 4), "size": size}
    return records.make_scene(name, bands=("x", "y"), **place, **file)


def make_plan(*scenes: Scene, **flags: Any) -> Plan:
    settings = {"global_regression.estimate_stats": False, "shared.tile_threads": 2, **flags}
    return plan_run(scenes or (make_scene("a"), make_scene("b", left=2048)), load_config(flags=settings, environment={}))


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
    tiny = (make_scene("a", edge=100), make_scene("b", left=50, edge=100))
    assert estimate_memory(make_plan(*tiny, **{"shared.cache": 10})) == estimate_memory(make_plan(*tiny, **{"shared.cache": 1}))
    assert estimate_memory(make_plan(*tiny)) < 450e6


def test_long_strips_need_room_because_they_are_decoded_whole() -> None:
    tiled = make_scene("a", edge=30_000)
    strips = replace(tiled, source=replace(tiled.source, block_height=1, block_width=30_000))
    more = estimate_memory(make_plan(strips, **{"shared.cache": 1})) - estimate_memory(make_plan(tiled, **{"shared.cache": 1}))
    # Threads, strips of 256 rows in a window of 1024, width, bands, bytes, and what the allocator adds.
    assert more == pytest.approx(SPARE * 2 * 5 * 256 * 30_000 * 2 * 2, abs=2)


def test_memory_that_is_set_is_kept_to_by_smaller_windows_and_fewer_tasks() -> None:
    wide = tuple(replace(make_scene(name), bands=tuple(Band(name=str(i)) for i in range(16))) for name in "ab")
    roomy, tight = (make_plan(*wide, **{"shared.memory": memory, "shared.tile_threads": 8}) for memory in (4, 0.6))
    assert (roomy.window_edge, tight.window_edge) == (1024, 512)
    assert (allot_memory(roomy).measure_threads, allot_memory(tight).measure_threads) == (8, 2)
    assert allot_memory(tight).cache_bytes < allot_memory(roomy).cache_bytes == 125_000_000
    assert estimate_memory(tight) <= 600e6 < estimate_memory(roomy) <= 4e9


def test_resampling_needs_room_for_the_pixels_on_both_grids() -> None:
    large = {"shared.window_size": 2048}
    aligned = make_plan(make_scene("a"), make_scene("b", left=2048), **large)
    shifted = make_plan(make_scene("a"), make_scene("b", left=2048.5), **large)
    assert estimate_memory(shifted) > estimate_memory(aligned)


def test_a_megapixel_mosaic_on_two_threads_fits_into_a_gigabyte() -> None:
    assert 0.4e9 < estimate_memory(make_plan()) < 1e9


def test_scratch_is_the_pixels_with_their_overviews_and_what_pictures_are_made_from() -> None:
    pixels, shown = 6144 * 4096, 4096**2
    assert estimate_scratch(make_plan()) == pytest.approx((pixels + shown) * (2 * 2 + 1) * 4 / 3, rel=1e-3)
    bare = make_plan(**{"merge_rasters.build_overviews": False})  # the whole file is what pictures are made from
    assert estimate_scratch(bare) == pytest.approx(2 * pixels * (2 * 2 + 1) * 4 / 3, rel=1e-3)


def test_bytes_read_are_those_of_both_passes_and_unknown_where_a_size_is() -> None:
    estimate = describe_plan(make_plan())["estimate"]
    assert estimate["decoded_bytes_read_at_most"] == 2 * 2 * 4096**2 * 2 * 2
    assert estimate["stored_bytes_read_at_most"] == 2 * 2 * 1000
    overviews = describe_plan(make_plan(**{"global_regression.estimate_stats": True}))["estimate"]
    assert overviews["decoded_bytes_read_at_most"] < estimate["decoded_bytes_read_at_most"]
    unknown = describe_plan(make_plan(make_scene("a"), make_scene("b", left=2048, size=None)))
    assert unknown["estimate"]["stored_bytes_read_at_most"] is None


def test_the_text_is_the_document_with_bytes_explained() -> None:
    plan = make_plan()
    text = render_plan(plan, item="s3://bucket/m/m.json", digest="d" * 64)
    document = yaml.safe_load(text)
    assert document == {"item": "s3://bucket/m/m.json", "digest": "d" * 64, **describe_plan(plan)}
    memory = document["estimate"]["memory_bytes_at_most"]
    assert f"memory_bytes_at_most: {memory}  # {memory / 1e6:.1f} MB\n" in text
    assert "decoded_bytes_read_at_most: 268435456  # 268.4 MB\n" in text
    assert "\n  - [a, b]\n" in text


def test_of_many_scenes_and_overlaps_the_first_hundred_are_listed() -> None:
    scenes = [make_scene(f"s{number:03}", left=64 * number, edge=100) for number in range(130)]
    document = describe_plan(make_plan(*scenes))
    assert (document["scenes"]["count"], len(document["scenes"]["first"])) == (130, 100)
    assert document["overlaps"]["count"] == 129
    assert len(document["overlaps"]["first"]) == 100


def test_a_run_without_a_mosaic_renders_no_window() -> None:
    assert describe_plan(make_plan())["tasks"]["render"] == 24
    assert describe_plan(make_plan(**{"methods.merge_method": None}))["tasks"]["render"] == 0
