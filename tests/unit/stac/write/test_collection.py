"""The Collection of mosaics: made, extended, never narrowed, and never changed by adding an Item again."""

from __future__ import annotations

import copy
import json
from typing import Any

import pystac
import pytest

from processor.errors import InputError
from stac.write.collection import check_collection, extend_collection, make_collection

HREF = "s3://bucket/out/collection.json"
RED, NIR = {"name": "red", "eo:common_name": "red", "data_type": "uint16"}, {"name": "nir", "data_type": "uint16"}


def make_item(name: str = "m", **properties: Any) -> dict[str, Any]:
    known = {"datetime": None, "start_datetime": "2024-06-01T00:00:00Z", "end_datetime": "2024-06-02T00:00:00Z"}
    mosaic = {"href": "./mosaic.tif", "title": "Mosaic", "type": "image/tiff", "roles": ["data"], "file:size": 9}
    statistics = {"statistics": {"minimum": 1}}
    return {
        "type": "Feature",
        "id": name,
        "bbox": [10.0, 50.0, 11.0, 51.0],
        "properties": {**known, "title": "June", "gsd": 10.0, "platform": "p", "instruments": ["i"], **properties},
        "links": [
            {"rel": "self", "href": f"s3://bucket/out/{name}/{name}.json"},
            {"rel": "derived_from", "href": "https://x/a.json", "title": "a"},
        ],
        "assets": {
            "mosaic": {**mosaic, "bands": [{**RED, **statistics}, {**NIR, **statistics}]},
            "align_rasters_a": {"href": "./a.tif", "title": "of a", "roles": ["intermediate"], "mosaic:scene": "a"},
        },
    }


def list_links(collection: dict[str, Any], rel: str = "item") -> list[str]:
    return [link["href"] for link in collection["links"] if link["rel"] == rel]


def test_a_collection_is_made_of_its_first_item() -> None:
    collection = make_collection(make_item(), "mosaics", href=HREF)
    assert collection["extent"] == {
        "spatial": {"bbox": [[10.0, 50.0, 11.0, 51.0]]},
        "temporal": {"interval": [["2024-06-01T00:00:00Z", "2024-06-02T00:00:00Z"]]},
    }
    assert collection["summaries"] == {
        "platform": ["p"],
        "instruments": ["i"],
        "gsd": {"minimum": 10.0, "maximum": 10.0},
        "bands": [RED, NIR],
    }
    assert collection["item_assets"] == {
        "mosaic": {"title": "Mosaic", "type": "image/tiff", "roles": ["data"], "bands": [RED, NIR]}
    }
    assert list_links(collection) == ["./m/m.json"]
    assert list_links(collection, "root") == ["./collection.json"]
    assert collection["stac_extensions"] == ["https://stac-extensions.github.io/eo/v1.1.0/schema.json"]
    read = pystac.Collection.from_dict(copy.deepcopy(collection), migrate=False)
    assert read.id == "mosaics"


def test_a_collection_below_a_catalogue_leads_to_it() -> None:
    collection = make_collection(make_item(), "mosaics", href=HREF, root_href="s3://bucket/catalog.json")
    assert list_links(collection, "root") == list_links(collection, "parent") == ["../catalog.json"]


def test_adding_an_item_again_changes_nothing() -> None:
    collection = make_collection(make_item(), "mosaics", href=HREF)
    before = json.dumps(collection)
    assert extend_collection(collection, make_item(), href=HREF) == collection
    assert extend_collection(collection, make_item()) == collection  # found by its self link
    assert json.dumps(collection) == before


def test_extents_and_summaries_are_widened_and_never_narrowed() -> None:
    other = make_item("n", gsd=20.0, platform="q", start_datetime="2023-01-01T00:00:00Z", end_datetime="2023-01-02T00:00:00Z")
    other["bbox"] = [9.0, 50.5, 9.5, 52.0]
    collection = extend_collection(make_collection(make_item(), "mosaics", href=HREF), other, href=HREF)
    assert collection["extent"]["spatial"]["bbox"] == [[9.0, 50.0, 11.0, 52.0]]
    assert collection["extent"]["temporal"]["interval"] == [["2023-01-01T00:00:00Z", "2024-06-02T00:00:00Z"]]
    assert collection["summaries"]["gsd"] == {"minimum": 10.0, "maximum": 20.0}
    assert collection["summaries"]["platform"] == ["p", "q"]
    assert list_links(collection) == ["./m/m.json", "./n/n.json"]
    narrower = make_item("m")
    assert extend_collection(collection, narrower, href=HREF) == collection


def test_the_order_of_extension_does_not_matter_to_what_is_known() -> None:
    one, other = make_item("m"), make_item("n", gsd=20.0)
    forth = extend_collection(make_collection(one, "c", href=HREF), other, href=HREF)
    back = extend_collection(make_collection(other, "c", href=HREF), one, href=HREF)
    assert {key: forth[key] for key in ("extent", "summaries")} == {key: back[key] for key in ("extent", "summaries")}
    assert sorted(list_links(forth)) == sorted(list_links(back))


def test_what_only_some_items_have_is_dropped_from_what_all_have() -> None:
    other = make_item("n")
    other["assets"]["mosaic"]["bands"] = [RED, {**NIR, "data_type": "uint8"}]
    other["assets"]["mosaic"]["type"] = "image/jp2"
    collection = extend_collection(make_collection(make_item(), "c", href=HREF), other, href=HREF)
    assert collection["summaries"]["bands"] == [RED, {"name": "nir"}]
    assert "type" not in collection["item_assets"]["mosaic"]
    other["assets"]["mosaic"]["bands"] = [RED]
    assert "bands" not in extend_collection(collection, other, href=HREF)["summaries"]


def test_a_users_collection_keeps_what_the_user_wrote() -> None:
    mine = {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": "mine",
        "description": "My words.",
        "license": "CC-BY-4.0",
        "providers": [{"name": "me"}],
        "extent": {
            "spatial": {"bbox": [[170.0, -10.0, -170.0, 10.0], [170.0, -10.0, 180.0, 10.0]]},
            "temporal": {"interval": [["2020-01-01T00:00:00Z", None]]},
        },
        "summaries": {"gsd": {"minimum": 1, "maximum": 2}, "platform": {"type": "string"}},
        "links": [{"rel": "license", "href": "https://x"}, {"rel": "item", "href": "./old.json"}],
        "anything": 1,
    }
    item = make_item()
    item["bbox"] = [175.0, 0.0, -160.0, 1.0]
    extended = extend_collection(mine, item, href=HREF)
    kept = {key: extended[key] for key in mine if key not in {"extent", "summaries", "links"}}
    assert kept == {key: mine[key] for key in kept}
    assert extended["extent"]["spatial"]["bbox"] == [[170.0, -10.0, -160.0, 10.0], [170.0, -10.0, 180.0, 10.0]]
    assert extended["extent"]["temporal"] == mine["extent"]["temporal"]  # type: ignore[index]
    assert extended["summaries"] == {"gsd": {"minimum": 1, "maximum": 10.0}, "platform": {"type": "string"}}
    assert "item_assets" not in extended  # of STAC 1.0
    assert list_links(extended) == ["./old.json", "./m/m.json"]


def test_an_item_without_a_place_or_a_place_on_earth() -> None:
    item = make_item()
    del item["bbox"]
    assert make_collection(item, "c", href=HREF)["extent"]["spatial"]["bbox"] == [[-180.0, -90.0, 180.0, 90.0]]
    item["links"] = []
    with pytest.raises(ValueError, match="no self link"):
        make_collection(item, "c", href=HREF)


EXTENT = {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [[None, None]]}}
GOOD = {"type": "Collection", "stac_version": "1.1.0", "id": "c", "extent": EXTENT}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"type": "Catalog"}, "of type 'Catalog'"),
        ({"stac_version": "0.9.0"}, "version '0.9.0'"),
        ({"id": 1}, "not a STAC Collection"),
        ({"extent": None}, "no valid bbox"),
        ({"extent": {**EXTENT, "spatial": {"bbox": []}}}, "no valid bbox"),
        ({"extent": {**EXTENT, "spatial": {"bbox": [[0, 0, 1]]}}}, "no valid bbox"),
        ({"extent": {**EXTENT, "spatial": {"bbox": [["a", 0, 1, 1]]}}}, "no valid bbox"),
        ({"extent": {**EXTENT, "spatial": 7}}, "no valid bbox"),
        ({"extent": {**EXTENT, "temporal": {"interval": [["2020"]]}}}, "no valid interval"),
        ({"extent": {**EXTENT, "temporal": {"interval": [["yesterday", None]]}}}, "no valid interval"),
    ],
    ids=str,
)
def test_what_cannot_be_extended_is_refused(changes: dict[str, Any], reason: str) -> None:
    check_collection(GOOD)
    with pytest.raises(InputError, match=reason):
        check_collection({**GOOD, **changes})


@pytest.mark.parametrize("changes", [{"summaries": 3}, {"item_assets": []}, {"links": "x"}, {"stac_extensions": [1]}])
def test_a_collection_whose_parts_are_of_wrong_types_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"has {next(iter(changes))} that are n"):
        extend_collection({**GOOD, **changes}, make_item(), href=HREF)


@pytest.mark.parametrize(
    "summaries",
    [{"bands": 1}, {"bands": ["red", "nir"]}, {"gsd": {"minimum": "a", "maximum": 1}}, {"gsd": 3}, {"platform": {}}],
    ids=str,
)
def test_summaries_of_wrong_types_stay_or_go_but_stop_nothing(summaries: dict[str, Any]) -> None:
    extended = extend_collection({**GOOD, "summaries": summaries}, make_item(), href=HREF)
    assert list_links(extended) == ["./m/m.json"]
    assert extended["summaries"].get("gsd") == summaries.get("gsd", {"minimum": 10.0, "maximum": 10.0})
