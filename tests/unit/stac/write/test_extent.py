"""Extents that cover several Items."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stac.write.extent import union_bbox, union_extent, union_interval

LONGITUDES = st.integers(-180, 180).map(float)


def covers(box: list[float], lon: float) -> bool:
    west, east = box[0], box[2]
    return west <= lon <= east if west <= east else lon >= west or lon <= east


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([0, 0, 1, 1], [2, -3, 4, 0.5], [0, -3, 4, 1]),
        ([0, 0, 10, 1], [2, 0, 4, 1], [0, 0, 10, 1]),
        ([170, 0, 175, 1], [-175, 0, -170, 1], [170, 0, -170, 1]),
        ([170, 0, -170, 1], [-175, 0, -160, 1], [170, 0, -160, 1]),
        ([170, 0, -170, 1], [160, 0, 165, 1], [160, 0, -170, 1]),
        ([-180, -90, 180, 90], [170, 0, -170, 1], [-180, -90, 180, 90]),
        ([-100, 0, 100, 1], [90, 0, -90, 1], [-180, 0, 180, 1]),
        ([0, 0, 5, 1, 1, 9], [2, -3, 4, 0.5], [0, -3, 5, 4, 1, 9]),
    ],
)
def test_box_covers_both(one: list[float], other: list[float], expected: list[float]) -> None:
    assert union_bbox(one, other) == expected


@given(LONGITUDES, LONGITUDES, LONGITUDES, LONGITUDES)
@settings(derandomize=True, deadline=None)
def test_every_longitude_of_both_is_covered_and_adding_again_changes_nothing(a: float, b: float, c: float, d: float) -> None:
    one, other = [a, 0.0, b, 1.0], [c, 0.0, d, 1.0]
    union = union_bbox(one, other)
    for lon in range(-179, 180):
        if covers(one, lon + 0.5) or covers(other, lon + 0.5):
            assert covers(union, lon + 0.5), (union, lon)
    assert union_bbox(union, other) == union
    assert union_bbox(union, one) == union


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (
            ["2020-01-02T00:00:00Z", "2020-01-03T00:00:00Z"],
            ["2020-01-01T00:00:00Z"] * 2,
            ["2020-01-01T00:00:00Z", "2020-01-03T00:00:00Z"],
        ),
        (
            ["2020-01-02T00:00:00.5Z"] * 2,
            ["2020-01-02T00:00:00Z", "2020-01-02T00:00:01Z"],
            ["2020-01-02T00:00:00Z", "2020-01-02T00:00:01Z"],
        ),
        (["2020-01-01T00:00:00Z", None], ["2021-01-01T00:00:00Z"] * 2, ["2020-01-01T00:00:00Z", None]),
        ([None, None], ["2021-01-01T00:00:00Z"] * 2, [None, None]),
    ],
)
def test_interval_covers_both_and_stays_open(one: list[str | None], other: list[str], expected: list[str | None]) -> None:
    assert union_interval(one, other) == expected


def test_only_the_extent_of_all_items_is_widened() -> None:
    extent = {
        "spatial": {"bbox": [[0, 0, 1, 1], [0, 0, 0.5, 0.5]]},
        "temporal": {"interval": [["2020-01-01T00:00:00Z", None], ["2020-01-01T00:00:00Z", None]]},
    }
    item = {"bbox": [5, 5, 6, 6], "properties": {"datetime": "2019-01-01T00:00:00Z"}}
    assert union_extent(extent, item) == {
        "spatial": {"bbox": [[0, 0, 6, 6], [0, 0, 0.5, 0.5]]},
        "temporal": {"interval": [["2019-01-01T00:00:00Z", None], ["2020-01-01T00:00:00Z", None]]},
    }


def test_item_without_a_place_leaves_space_as_it_is() -> None:
    extent = {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [[None, None]]}}
    assert union_extent(extent, {"properties": {"datetime": "2019-01-01T00:00:00Z"}}) == extent
