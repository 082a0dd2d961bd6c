"""The plan as a document: what is read at most, and what is listed."""

from __future__ import annotations

import yaml
from records import make_large_scene, make_plan

from processor.mosaic.plan_document import describe_plan, render_plan


def test_bytes_read_are_those_of_both_passes_and_unknown_where_a_size_is() -> None:
    estimate = describe_plan(make_plan())["estimate"]
    assert estimate["decoded_bytes_read_at_most"] == 2 * 2 * 4096**2 * 2 * 2
    assert estimate["stored_bytes_read_at_most"] == 2 * 2 * 1000
    overviews = describe_plan(make_plan(**{"global_regression.estimate_stats": True}))["estimate"]
    assert overviews["decoded_bytes_read_at_most"] < estimate["decoded_bytes_read_at_most"]
    unknown = describe_plan(make_plan(make_large_scene("a"), make_large_scene("b", left=2048, size=None)))
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
    scenes = [make_large_scene(f"s{number:03}", left=64 * number, edge=100) for number in range(130)]
    document = describe_plan(make_plan(*scenes))
    assert (document["scenes"]["count"], len(document["scenes"]["first"])) == (130, 100)
    assert document["overlaps"]["count"] == 129
    assert len(document["overlaps"]["first"]) == 100


def test_a_run_without_a_mosaic_renders_no_window() -> None:
    assert describe_plan(make_plan())["tasks"]["render"] == 24
    assert describe_plan(make_plan(**{"methods.merge_method": None}))["tasks"]["render"] == 0
