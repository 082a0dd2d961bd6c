"""CQL2 from one encoding into another."""

from __future__ import annotations

from typing import Any

import pytest

from stac.api.cql2 import UntranslatableError, parse_text, write_query, write_text

A: dict[str, Any] = {"property": "a"}


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("eo:cloud_cover<=1.5e1", {"op": "<=", "args": [{"property": "eo:cloud_cover"}, 15.0]}),
        ("platform = 'landsat-9'", {"op": "=", "args": [{"property": "platform"}, "landsat-9"]}),
        ("a = 'it''s'", {"op": "=", "args": [A, "it's"]}),
        ('"b c" <> -3', {"op": "<>", "args": [{"property": "b c"}, -3]}),
        ("10 > a", {"op": ">", "args": [10, A]}),
        ("properties.s2:nodata-share != true", {"op": "<>", "args": [{"property": "properties.s2:nodata-share"}, True]}),
        (
            "a BETWEEN 1 AND 2 and b in (1, 'x')",
            {"op": "and", "args": [{"op": "between", "args": [A, 1, 2]}, {"op": "in", "args": [{"property": "b"}, [1, "x"]]}]},
        ),
        ("NOT a LIKE 'x%'", {"op": "not", "args": [{"op": "like", "args": [A, "x%"]}]}),
        ("a not in (1)", {"op": "not", "args": [{"op": "in", "args": [A, [1]]}]}),
        ("a IS NOT NULL", {"op": "not", "args": [{"op": "isNull", "args": [A]}]}),
        (
            "datetime >= TIMESTAMP('2024-06-01T00:00:00Z')",
            {"op": ">=", "args": [{"property": "datetime"}, {"timestamp": "2024-06-01T00:00:00Z"}]},
        ),
        (
            "a = 1 or a = 2 and a = 3",
            {
                "op": "or",
                "args": [
                    {"op": "=", "args": [A, 1]},
                    {"op": "and", "args": [{"op": "=", "args": [A, 2]}, {"op": "=", "args": [A, 3]}]},
                ],
            },
        ),
        (
            "(a = 1 or a = 2) and a = 3",
            {
                "op": "and",
                "args": [
                    {"op": "or", "args": [{"op": "=", "args": [A, 1]}, {"op": "=", "args": [A, 2]}]},
                    {"op": "=", "args": [A, 3]},
                ],
            },
        ),
    ],
)
def test_text_is_parsed_and_written_back(text: str, expression: dict[str, Any]) -> None:
    assert parse_text(text) == expression
    assert parse_text(write_text(expression)) == expression


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "a =", "a = 1 b", "a = 1 and", "a = b c", "a in ()", "a = 'x", "(a = 1", "a like", "a is 3", "a + 1 = 2"),
        *("S_INTERSECTS(geometry, POINT(1 2))", "casei(a) = 'x'", "a not = 3", "a = timestamp(3)", "a = 1;", "notnot"),
        *("(" * 5000, "a = " + "(" * 100 + "1", "x" * 100_000),
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_what_is_not_understood_is_said(text: str) -> None:
    with pytest.raises(UntranslatableError, match=r"understood|nested|characters"):
        parse_text(text)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("a > 1 and a <= 5 and b = 'x'", {"a": {"gt": 1, "lte": 5}, "b": {"eq": "x"}}),
        ("5 < properties.a", {"a": {"gt": 5}}),
        ("a between 1 and 2", {"a": {"gte": 1, "lte": 2}}),
        ("a in (1, 2)", {"a": {"in": [1, 2]}}),
        (
            "a like 'x%' and b like '%x' and c like '%x%' and d like 'x'",
            {"a": {"startsWith": "x"}, "b": {"endsWith": "x"}, "c": {"contains": "x"}, "d": {"eq": "x"}},
        ),
        ("a > DATE('2024-06-01')", {"a": {"gt": "2024-06-01"}}),
    ],
)
def test_conditions_that_all_hold_become_a_query(text: str, query: dict[str, Any]) -> None:
    assert write_query(parse_text(text)) == query


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a = 1 or b = 2", "OR is none"),
        ("not a = 1", "NOT is none"),
        ("a is null", "IS NULL is none"),
        ("a = b", "no value"),
        ("1 = 2", "no property"),
        ("a > 1 and a > 2", "twice"),
        ("a like 'x%y'", "wildcard"),
        ("a like '%'", "wildcard"),
    ],
)
def test_a_query_that_cannot_be_is_said(text: str, reason: str) -> None:
    with pytest.raises(UntranslatableError, match=reason):
        write_query(parse_text(text))


@pytest.mark.parametrize(
    "expression",
    [
        {},
        {"op": "="},
        {"op": "=", "args": [A]},
        {"op": "s_intersects", "args": [A, {"type": "Point", "coordinates": [1, 2]}]},
        {"op": "=", "args": [{"op": "casei", "args": [A]}, "x"]},
        {"op": "in", "args": [A, []]},
        {"op": "=", "args": [{"property": 'a"b'}, 1]},
    ],
    ids=str,
)
def test_json_that_is_no_comparison_is_not_translated(expression: dict[str, Any]) -> None:
    with pytest.raises(UntranslatableError):
        write_text(expression)
