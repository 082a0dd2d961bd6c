"""The file of surfaces: what is refused of one that others wrote."""

from __future__ import annotations

import json
from typing import Any

import pytest

from processor.errors import InputError
from processor.stages.matching.surfaces_file import parse_surfaces, render_surfaces

SURFACE: dict[str, Any] = {"bounds": [0, 0, 1, 1], "gain": [[[1, 1], [1, 2]]], "offset": None}


def write(**changes: Any) -> str:
    scene = {"surface": {**SURFACE, **changes}, "pattern": None, "fit": None}
    return json.dumps({"format": "mosaic-processor surfaces", "version": 1, "scenes": {"a": scene}})


def test_what_is_written_is_read() -> None:
    known = parse_surfaces(write(), source="f", bands=1).by_scene["a"]
    assert json.loads(render_surfaces([known]))["scenes"]["a"]["surface"]["gain"] == SURFACE["gain"]


def test_adjustments_are_read_to_their_last_bit() -> None:
    entry = {"surface": SURFACE, "adjustment": {"scale": [1.1 / 3], "offset": [-1 / 3]}}
    text = json.dumps({"format": "mosaic-processor surfaces", "version": 1, "scenes": {"a": entry}})
    known = parse_surfaces(text, source="f", bands=1).by_scene["a"]
    assert known.adjustment is not None
    assert json.loads(render_surfaces([known]))["scenes"]["a"]["adjustment"] == entry["adjustment"]
    assert parse_surfaces(write(), source="f", bands=1).by_scene["a"].adjustment is None


@pytest.mark.parametrize(
    "changes",
    [
        {"gain": [[[1, 1], [1, 10**400]]]},
        {"gain": [[[1, 1], [1, 1e39]]]},
        {"gain": [[[1, 1], [1, float("nan")]]]},
        {"gain": [[[1, 1], [1]]]},
        {"gain": [[[1]]]},
        {"gain": [[[1, 1], [1, 1]]] * 2},
        {"gain": None},
        {"gain": [[[1, 1], [1, 1]]], "offset": [[[1, 1, 1], [1, 1, 1]]]},
        {"bounds": [-1e308, 0, 1e308, 1]},
        {"bounds": [1, 0, 0, 1]},
        {"bounds": {}},
        {"bounds": [0, 0, 1e300, 1]},
    ],
)
def test_numbers_that_are_none_and_other_shapes_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="f, scene a"):
        parse_surfaces(write(**changes), source="f", bands=1)


@pytest.mark.parametrize(
    "entry",
    [
        1,
        {},
        {"surface": 1},
        {"surface": SURFACE, "fit": 1},
        {"surface": SURFACE, "pattern": [[99] * 5]},
        {"surface": SURFACE, "adjustment": 1},
        {"surface": SURFACE, "adjustment": {"scale": [1]}},
        {"surface": SURFACE, "adjustment": {"scale": [1, 1], "offset": [0, 0]}},
        {"surface": SURFACE, "adjustment": {"scale": [0], "offset": [0]}},
        {"surface": SURFACE, "adjustment": {"scale": [1], "offset": [float("nan")]}},
    ],
)
def test_scenes_that_are_none_are_refused(entry: Any) -> None:
    text = json.dumps({"format": "mosaic-processor surfaces", "version": 1, "scenes": {"a": entry}})
    with pytest.raises(InputError, match="f, scene a"):
        parse_surfaces(text, source="f", bands=1)


@pytest.mark.parametrize("text", ["[" * 100_000, "1", '{"format": "x"}', '{"scenes": 1}'])
def test_documents_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="f"):
        parse_surfaces(text, source="f", bands=1)
