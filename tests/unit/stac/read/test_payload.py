"""Payloads of workflows: told from ItemCollections, and handed on as they came but for their Items."""

from __future__ import annotations

import json

import pytest

from stac.read.payload import is_payload, update_payload

PAYLOAD = {
    "type": "FeatureCollection",
    "id": "sentinel-2/workflow-mosaic/2024-06",
    "process": [{"workflow": "mosaic", "tasks": {"mosaic": {"shared": {"cache": 0.5}}}}, {"workflow": "next"}],
    "features": [{"id": "a"}, {"id": "b"}],
    "links": [{"rel": "next", "href": "x"}],
    "context": {"matched": 7},
    "numberMatched": 7,
    "bbox": [0, 0, 1, 1],
    "url": "s3://bucket/input.json",
    "extra": {"kept": True},
}


def test_a_payload_says_how_it_is_processed() -> None:
    assert is_payload(PAYLOAD)
    assert is_payload({"process": {"tasks": {}}, "features": []})
    for other in (
        {"type": "FeatureCollection", "features": []},
        {"type": "Feature", "process": []},
        {"process": "x"},
        [],
        None,
    ):
        assert not is_payload(other)


def test_what_goes_on_is_all_but_the_items_and_what_an_api_said_of_them() -> None:
    before = json.dumps(PAYLOAD)
    updated = update_payload(PAYLOAD, [{"id": "m"}])
    assert updated == {key: PAYLOAD[key] for key in ("type", "id", "process", "url", "extra")} | {"features": [{"id": "m"}]}
    assert json.dumps(PAYLOAD) == before


@pytest.mark.parametrize("process", [[], {}, [{}]])
def test_a_payload_without_a_type_gets_one(process: object) -> None:
    assert update_payload({"process": process}, [])["type"] == "FeatureCollection"
