"""Expressions that rank scenes: arithmetic over properties, never anything else."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.stages.seamlines.rank import parse_rank, rank_scenes, read_value

KNOWN: dict[str, Any] = {
    "eo:cloud_cover": 20,
    "view:sun_elevation": 35.5,
    "datetime": "2024-06-03T12:00:00Z",
    "my-own property": 7,
    "platform": "sentinel-2a",
    "flag": True,
    "huge": 10**400,
    "nan": math.nan,
    "list": [1],
    "s2:x.y": 4,
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("eo:cloud_cover", 20),
        ("-view:sun_elevation", -35.5),
        ("2 + 3 * 4 - 6 / 3", 12),
        ("(2 + 3) * 4", 20),
        ("10 - 3 - 2", 5),
        ("--2", 2),
        ("abs(datetime - '2024-06-10')", 6.5),
        ("'2024-06-10' - '2024-06-01T12:00:00Z'", 8.5),
        ('"my-own property" * 2', 14),
        ("round(eo:cloud_cover / 8)", 2),
        ("floor(2.7) + ceil(2.1) + max(1, 2) * min(3, 4)", 11),
        ("s2:x.y", 4),
        ("1e3", 1000),
        ("  eo:cloud_cover  ", 20),
        ("platform", None),
        ("flag", None),
        ("huge", None),
        ("nan", None),
        ("list", None),
        ("absent + 1", None),
        ("1 / (eo:cloud_cover - 20)", None),
        ("1e300 * 1e300", None),
        ("round(1e308 * 10)", None),
    ],
)
def test_what_an_expression_is_worth(text: str, value: float | None) -> None:
    assert parse_rank(text).evaluate(KNOWN) == (None if value is None else pytest.approx(value))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "ends where a number, a name or a bracket is expected"),
        ("1 +", "ends where a number"),
        ("(1", r"ends where a '\)' is expected"),
        ("1 2", "has '2' at character 3, where nothing more is expected"),
        ("* 3", r"has '\*' at character 1"),
        ("a ** b", r"has '\*' at character 4"),
        ("__import__('os')", "has the date 'os'|has the function '__import__'"),
        ("exec(1)", "has the function 'exec', and there are abs, ceil"),
        ("abs(1, 2)", "gives abs 2 arguments; it has 1"),
        ("'soon'", "has the date 'soon'; one is written '2024-06-01'"),
        ("a; b", "cannot be read from character 2 on: '; b'"),
        ("(" * 60 + "1" + ")" * 60, "nested more than 40 deep"),
        ("-" * 100 + "1", "nested more than 40 deep"),
        ("+".join("1" * 101), "has 201 parts, and at most 200"),
        ("1" * 1001, "has 1001 characters"),
        ("a[0]", "cannot be read from character 2"),
        ("a.__class__ = 1", "cannot be read"),
    ],
)
def test_anything_else_is_refused_with_where(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_rank(text)


def test_names_are_known() -> None:
    assert parse_rank("eo:cloud_cover + abs(datetime - '2024-01-01') + \"x y\"").names == {"eo:cloud_cover", "datetime", "x y"}


def test_the_least_comes_first_and_equal_ones_share_a_place() -> None:
    scenes = [{"c": 30}, {"c": 10}, {}, {"c": 30}, {"c": "much"}]
    assert rank_scenes(parse_rank("c"), scenes) == ((1, 0, 2, 1, 2), (2, 4))
    assert rank_scenes(parse_rank("-c"), scenes) == ((0, 1, 2, 0, 2), (2, 4))


@given(st.text(alphabet="abe:(1.)'\" +-*/,9", max_size=60) | st.text(max_size=60))
def test_any_text_is_an_expression_or_a_value_error(text: str) -> None:
    try:
        expression = parse_rank(text)
    except ValueError:
        return
    value = expression.evaluate({"a": 1, "b": 2.5, "e": "2020-01-01"})
    assert value is None or math.isfinite(value)


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()))
def test_any_value_is_a_finite_number_or_nothing(value: object) -> None:
    found = read_value(value)
    assert found is None or math.isfinite(found)
