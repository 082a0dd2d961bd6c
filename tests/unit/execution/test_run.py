"""The run's own decisions, before any file is touched."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from processor.config import Config
from processor.errors import ConfigError, InputError
from processor.execution.run import Outcome, Request, prepare, run
from processor.publish.item import Prepared


def make_request(**changes: object) -> Request:
    values = {
        "inputs": ("in.json",),
        "destination": "out",
        "item_id": None,
        "overwrite": False,
        "created": "2026-01-31T12:00:00Z",
    }
    return Request(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("item_id", ["", ".hidden", "-x", "a/b", "../a", "a b", "a\n", "ü", "a" * 201, "a?b", "a#b"])
def test_an_id_that_is_no_safe_file_name_is_refused_before_anything_is_read(item_id: str) -> None:
    with pytest.raises(ConfigError, match="not a safe file name"):
        prepare(make_request(item_id=item_id), Config())


@pytest.mark.parametrize("item_id", ["m", "S2A_33UUP_2024.v1", "0", "a" * 200])
def test_an_id_that_is_a_safe_file_name_is_taken(item_id: str) -> None:
    with pytest.raises(InputError, match="no input"):
        prepare(make_request(item_id=item_id, inputs=()), Config())


@pytest.mark.parametrize("destination", ["https://example.org/x", "ftp://example.org"])
def test_a_destination_that_cannot_be_written_is_refused_before_anything_is_read(destination: str) -> None:
    from processor.process.progress import Silent

    with pytest.raises(ConfigError):
        run(make_request(destination=destination), Config(), Silent())


@pytest.mark.parametrize(
    ("destination", "expected"),
    [("s3://bucket/x/", "s3://bucket/x/m/m.json"), ("/data", "/data/m/m.json"), ("memory://a", "memory://a/m/m.json")],
)
def test_an_item_goes_into_a_folder_of_its_own_name(destination: str, expected: str) -> None:
    nothing = SimpleNamespace(is_on=False)
    plan = SimpleNamespace(config=Config(), methods=SimpleNamespace(merge=nothing, seamlines=nothing))
    prepared = Prepared(plan=plan, digest="d" * 64, item_id="m", findings=())  # type: ignore[arg-type]
    found = make_request(destination=destination, overwrite=True).find_destination(prepared)
    assert found.item_url == found.absolute_item_url == expected
    assert found.overwrite


def test_an_outcome_is_a_collection_of_one_item_with_absolute_hrefs() -> None:
    item = {
        "id": "m",
        "links": [{"rel": "self", "href": "s3://bucket/m/m.json"}],
        "assets": {"mosaic": {"href": "./mosaic.tif"}},
    }
    collection = Outcome(item=item, folder="s3://bucket/m", already_done=False, findings=()).item_collection
    assert collection["type"] == "FeatureCollection"
    assert [feature["assets"]["mosaic"]["href"] for feature in collection["features"]] == ["s3://bucket/m/mosaic.tif"]
