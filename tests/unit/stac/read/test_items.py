"""ItemCollections become scenes; whatever is wrong with one is told by name."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pystac
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.config import Inputs
from processor.errors import InputError
from processor.model import Band, SceneRef
from processor.model.names import is_safe_name
from processor.scenes.inputs import read_inputs, select_assets
from stac.documents import find_page, process_options
from stac.read.items import parse_item_collection

COG = "image/tiff; application=geotiff; profile=cloud-optimized"


def make_item(name: str = "a", **changes: Any) -> dict[str, Any]:
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": name,
        "geometry": None,
        "properties": {"datetime": "2020-06-01T10:00:00Z", "platform": "p", "gsd": 5},
        "links": [{"rel": "self", "href": f"./items/{name}.json"}],
        "assets": {"image": {"href": f"./{name}.tif", "type": COG, "roles": ["data"]}},
    }
    return item | changes


def collect(*items: object) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(items)}


def parse(document: object, *, base: str = "s3://bucket/in/items.json", **inputs: Any) -> tuple[SceneRef, ...]:
    return parse_item_collection(document, base=base, is_remote="://" in base, selection=select_assets(Inputs(**inputs)))


def parse_one(item: dict[str, Any], **inputs: Any) -> SceneRef:
    (ref,) = parse(collect(item), **inputs)
    return ref


def test_scenes_keep_the_order_of_the_document_as_their_priority() -> None:
    refs = parse(collect(make_item("b"), make_item("a"), make_item("c")))
    assert [(ref.name, ref.priority, ref.rasters[0].href) for ref in refs] == [
        ("b", 0, "s3://bucket/in/b.tif"),
        ("a", 1, "s3://bucket/in/a.tif"),
        ("c", 2, "s3://bucket/in/c.tif"),
    ]


def test_scene_carries_what_the_item_says() -> None:
    ref = parse_one(make_item("a", collection="c"))
    assert (ref.rasters[0].asset, ref.rasters[0].bands) == ("image", ())
    assert ref.provenance.self_href == "s3://bucket/in/items/a.json"
    assert ref.provenance.collection == "c"
    assert (ref.provenance.start, ref.provenance.end) == ("2020-06-01T10:00:00Z", "2020-06-01T10:00:00Z")
    assert ref.provenance.properties == {"datetime": "2020-06-01T10:00:00Z", "platform": "p", "gsd": 5}


@pytest.mark.parametrize(
    "item_id", ["17/031331303211/10300100DB064000", "../../etc/x", "two words", "Südhang", "reference", "."]
)
def test_any_id_is_read_and_kept(item_id: str) -> None:
    ref = parse_one(make_item(item_id, links=[], assets={"image": {"href": "1.tif"}}))
    assert is_safe_name(ref.name)
    assert ref.provenance.title == item_id
    assert unquote(str(ref.provenance.self_href)) == f"s3://bucket/in/items.json#{item_id}"


def test_one_id_in_two_collections_is_of_two_scenes() -> None:
    refs = parse(collect(make_item("a", collection="x"), make_item("a", collection="y"), make_item("b")))
    assert [(ref.name, ref.provenance.title) for ref in refs] == [("x_a", "a"), ("y_a", "a"), ("b", None)]


def test_single_item_and_payload_are_read_like_a_collection() -> None:
    assert parse(make_item("a")) == parse(collect(make_item("a")))
    payload = collect(make_item("a")) | {"id": "run", "process": [{"tasks": {}}]}
    assert parse(payload) == parse(collect(make_item("a")))


def test_input_is_not_changed() -> None:
    document = collect(make_item("a"))
    before = copy.deepcopy(document)
    parse(document)
    assert document == before


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"type": "Catalog", "id": "cat"}, "the Catalog 'cat'"),
        ({"type": "Collection", "id": "col"}, "the Collection 'col': give its own path or URL"),
        ({"code": "NotFoundError", "description": "no such collection"}, "error NotFoundError of an API: no such collection"),
        ({"detail": "Not authenticated"}, "error of an API: Not authenticated"),
        ({"type": "FeatureCollection"}, '"features" is not a list'),
        ({"type": "Polygon", "coordinates": []}, "type 'Polygon'"),
        ([1, 2], "a list of 2: wrap it"),
        (None, "a JSON null"),
        ("x", "a JSON string"),
        (3, "a JSON number"),
        ({"type": "FeatureCollection", "features": []}, "no features"),
        (collect("x"), "feature number 1 of the ItemCollection is a JSON string"),
        (collect(make_item("a"), {"type": "Feature", "assets": {}}), "feature number 2 of the ItemCollection has no id"),
        (collect(make_item("a", id=7)), "has no id"),
        (
            collect({"type": "Feature", "id": "a", "properties": {}}),
            "feature 'a' (number 1) is not a STAC Item, it has no assets",
        ),
        (collect(make_item("a", type="Point")), 'it has no type "Feature"'),
        (
            collect(make_item("a", stac_version="0.9.0")),
            "stac_version '0.9.0', and 1.0 and 1.1 are read: migrate it with pystac",
        ),
        (
            {"stac_version": "0.9.0", "id": "c", "description": "old", "links": []},
            "a catalogue of STAC 0.9.0, and 1.0 and 1.1 are read: migrate it with pystac, pystac.read_file('OLD')",
        ),
        (collect(make_item("a", properties=[])), "properties are a JSON array"),
        (collect(make_item("a"), make_item("b"), make_item("a")), "Items 'a' and 'a' (number 1 and 3) have the same name"),
        (collect(make_item("a", properties={"datetime": "yesterday"})), "Item 'a' has the datetime 'yesterday'"),
        (collect(make_item("a", properties={"datetime": 2020})), "Item 'a' has the datetime '2020'"),
    ],
)
def test_document_is_refused_with_what_it_is_instead(document: object, reason: str) -> None:
    with pytest.raises(InputError, match=re.escape(reason)):
        parse(document)


def test_too_many_items_are_refused_by_the_configured_limit() -> None:
    document = collect(make_item("a"), make_item("b"))
    assert len(parse(document, max_scenes=2)) == 2
    with pytest.raises(InputError, match=r"2 Items, more than --inputs.max_scenes 1"):
        parse(document, max_scenes=1)


@pytest.mark.parametrize(
    ("assets", "expected"),
    [
        ({"x": {"href": "1.tif", "type": "image/tiff"}}, "x"),
        ({"x": {"href": "1", "type": "IMAGE/TIFF; application=geotiff"}, "m": {"href": "1.xml", "type": "text/xml"}}, "x"),
        ({"x": {"href": "1", "type": "image/vnd.stac.geotiff; cloud-optimized=true"}}, "x"),
        ({"x": {"href": "https://h/1.TIF?sig=2"}, "y": {"href": "1.json"}}, "x"),
        ({"x": {"href": "1.tif"}, "t": {"href": "t.tif", "roles": ["thumbnail"]}}, "x"),
        ({"x": {"href": "1.tif", "roles": ["data"]}, "v": {"href": "v.tif", "roles": ["visual"]}}, "x"),
        ({"x": {"href": "1.tif"}, "o": {"href": "o.tif", "roles": ["overview"]}}, "x"),
        ({"y": {"href": "y.tif"}, "x": {"href": "1.tif", "roles": ["data"]}}, "x"),
        ({"x": {"href": "1.tif", "roles": ["data"]}, "m": {"href": "m.tif", "roles": ["data-mask"]}}, "x"),
        ({"v": {"href": "v.tif", "roles": ["visual"]}, "t": {"href": "t.tif", "roles": ["thumbnail"]}}, "v"),
    ],
)
def test_only_raster_asset_is_chosen_data_before_pictures(assets: dict[str, Any], expected: str) -> None:
    assert parse_one(make_item("a", assets=assets)).rasters[0].asset == expected


def test_several_rasters_need_the_option() -> None:
    assets = {key: {"href": f"{key}.tif", "type": COG, "roles": ["data"]} for key in ("B02", "B03")}
    with pytest.raises(
        InputError, match=r"Item 'a' has 2 raster assets, 'B02', 'B03': choose bands with --inputs.bands B02,B03"
    ):
        parse_one(make_item("a", assets=assets))
    assert parse_one(make_item("a", assets=assets), asset="B03").rasters[0].href == "s3://bucket/in/B03.tif"


@pytest.mark.parametrize(
    ("assets", "wanted", "reason"),
    [
        ({}, None, "Item 'a' has no raster asset among no assets at all"),
        ({"t": {"href": "t.tif", "roles": ["thumbnail"]}}, None, "no raster asset among 't'"),
        ({"t": {"href": "t.png", "type": "image/png"}}, "t", "asset 't' is 'image/png'"),
        ({"x": {"href": "x.tif"}, "y": {"href": "y.tif"}}, "z", "Item 'a' has no asset 'z' (--inputs.asset): it has 'x', 'y'"),
        ({"x": "x.tif"}, "x", "has no asset 'x'"),
        ({"x": {"type": COG}}, None, "Item 'a', asset 'x': has no href"),
        ({"x": {"type": COG, "href": "/etc/x.tif"}}, None, "Item 'a', asset 'x': href /etc/x.tif is a file of this machine"),
        ({"x": {"type": COG, "href": "1", "bands": {}}}, None, "Item 'a', asset 'x': its bands must be lists of objects"),
    ],
)
def test_unusable_assets_are_named(assets: dict[str, Any], wanted: str | None, reason: str) -> None:
    with pytest.raises(InputError, match=re.escape(reason)):
        parse_one(make_item("a", assets=assets), asset=wanted)


def test_asset_asked_for_may_be_a_picture() -> None:
    assets = {"data": {"href": "d.tif"}, "visual": {"href": "v.tif", "roles": ["visual"]}}
    assert parse_one(make_item("a", assets=assets), asset="visual").rasters[0].asset == "visual"


def test_alternate_href_is_used_where_the_first_cannot_be_followed() -> None:
    asset = {
        "type": COG,
        "href": "ftp://host/1.tif",
        "alternate": {"x": {"href": "az://c/1.tif"}, "s3": {"href": "s3://b/1.tif"}},
    }
    assert parse_one(make_item("a", assets={"x": asset})).rasters[0].href == "s3://b/1.tif"
    with pytest.raises(InputError, match="scheme 'ftp'"):
        parse_one(make_item("a", assets={"x": {**asset, "alternate": {"x": {"href": "sftp://c/1.tif"}}}}))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"bands": [{"name": "r", "eo:common_name": "red", "description": "Red\n band"}, {}]},
            (Band(name="r", common_name="red", description="Red band"), Band(name="band_2")),
        ),
        (
            {"eo:bands": [{"name": "r", "common_name": "red"}], "raster:bands": [{"name": "x"}, {"nodata": 0}]},
            (Band(name="r", common_name="red"), Band(name="band_2")),
        ),
        ({"raster:bands": [{"nodata": 0}]}, (Band(name="image"),)),
        ({"raster:bands": [{"unit": "m"}, {}]}, (Band(name="band_1", unit="m"), Band(name="band_2"))),
        ({"bands": [{"name": "r"}], "eo:bands": [{"name": "old"}]}, (Band(name="r"),)),
        ({"eo:common_name": "nir"}, (Band(name="image", common_name="nir"),)),
        ({}, ()),
    ],
)
def test_bands_of_both_stac_versions_are_read(fields: dict[str, Any], expected: tuple[Band, ...]) -> None:
    assert parse_one(make_item("a", assets={"image": {"href": "1.tif", **fields}})).rasters[0].bands == expected


@pytest.mark.parametrize(
    ("properties", "start", "end"),
    [
        ({"datetime": "2020-06-01T12:00:00+02:00"}, "2020-06-01T10:00:00Z", "2020-06-01T10:00:00Z"),
        ({"datetime": "2020-06-01T10:00:00.5"}, "2020-06-01T10:00:00.500000Z", "2020-06-01T10:00:00.500000Z"),
        (
            {"datetime": None, "start_datetime": "2020-06-01T00:00:00Z", "end_datetime": "2020-06-02T00:00:00Z"},
            "2020-06-01T00:00:00Z",
            "2020-06-02T00:00:00Z",
        ),
        (
            {"datetime": "2020-06-01T10:00:00Z", "start_datetime": "2020-06-01T09:00:00Z"},
            "2020-06-01T09:00:00Z",
            "2020-06-01T10:00:00Z",
        ),
        ({"datetime": None}, None, None),
        (None, None, None),
    ],
)
def test_times_are_normalised_to_utc(properties: dict[str, Any] | None, start: str | None, end: str | None) -> None:
    provenance = parse_one(make_item("a", properties=properties)).provenance
    assert (provenance.start, provenance.end) == (start, end)


def test_item_that_ends_before_it_starts_is_refused() -> None:
    properties = {"start_datetime": "2020-06-02T00:00:00Z", "end_datetime": "2020-06-01T00:00:00Z"}
    with pytest.raises(InputError, match="Item 'a' starts at 2020-06-02T00:00:00Z and ends before that"):
        parse_one(make_item("a", properties=properties))


def test_numbers_that_json_cannot_hold_become_null_and_properties_nested_too_deep_are_cut() -> None:
    properties = json.loads('{"a": NaN, "b": [1e999, {"c": -Infinity}], "d": 1.5}')
    expected = {"a": None, "b": [None, {"c": None}], "d": 1.5}
    assert parse_one(make_item("a", properties=properties)).provenance.properties == expected
    deep: Any = math.nan
    for _ in range(500):
        deep = [deep]
    provenance = parse_one(make_item("a", properties={"deep": deep})).provenance
    assert "nan" not in json.dumps(provenance.properties).lower()


@pytest.mark.parametrize(
    "links", [None, [], [{"rel": "root", "href": "r"}], [{"rel": "self"}], [{"rel": "self", "href": "x:y"}], 3]
)
def test_item_without_a_usable_self_link_is_known_by_its_document_and_id(links: object) -> None:
    assert parse_one(make_item("a", links=links)).provenance.self_href == "s3://bucket/in/items.json#a"


def test_item_without_a_self_link_on_standard_input_has_no_self_href() -> None:
    (ref,) = parse(collect(make_item("a", links=[])), base="/data/")
    assert ref.provenance.self_href is None


@pytest.mark.parametrize(
    ("process", "expected"),
    [
        ([{"tasks": {"mosaic": {"merge_rasters": {"resolution": "lowest"}}}}], {"merge_rasters": {"resolution": "lowest"}}),
        ([{"tasks": [{"name": "other"}, {"name": "mosaic", "parameters": {"a": 1}}]}], {"a": 1}),
        ({"tasks": {"mosaic": {"a": 1}}}, {"a": 1}),
        ([{"tasks": {"other": {"a": 1}}}], {}),
        ([{}], {}),
        ([], {}),
        (None, {}),
    ],
)
def test_options_of_this_task_are_found(process: object, expected: dict[str, Any]) -> None:
    assert process_options(collect() | {"process": process}) == expected
    assert process_options(collect()) == process_options([]) == {}


@pytest.mark.parametrize("process", [["x"], [{"tasks": 3}], [{"tasks": {"mosaic": [1]}}], [{"tasks": ["x"]}], 3])
def test_malformed_process_is_refused(process: object) -> None:
    with pytest.raises(InputError, match='payload\'s "process"'):
        process_options(collect() | {"process": process})


@pytest.mark.parametrize("options", [{"inputs": {"allow_local_files": True}}, {"inputs.allow_local_files": True}])
def test_payload_cannot_grant_itself_local_files(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="may not grant itself"):
        process_options({"process": [{"tasks": {"mosaic": options}}]})


@pytest.mark.parametrize("extra", [{"numberMatched": 12}, {"context": {"matched": 12}}])
def test_page_of_a_longer_answer_is_a_finding(extra: dict[str, Any]) -> None:
    finding = find_page(collect(make_item("a")) | extra | {"links": [{"rel": "next", "href": "x"}]})
    assert finding is not None
    assert finding.severity == "warning"
    assert "one page with 1 of 12 Items" in finding.message


@pytest.mark.parametrize("links", [None, [], [{"rel": "next", "href": None}]], ids=str)
def test_fewer_items_than_matched_are_a_finding_without_a_link_too(links: object) -> None:
    finding = find_page(collect(make_item("a")) | {"numberMatched": 250, "links": links})
    assert finding is not None
    assert "1 of 250 Items, as its numberMatched says" in finding.message


@pytest.mark.parametrize("document", [collect(), collect() | {"links": [{"rel": "self"}, {"rel": "next"}]}, make_item("a"), []])
def test_whole_answer_is_no_finding(document: object) -> None:
    assert find_page(document) is None


def _mutate(draw: Callable[[st.SearchStrategy[Any]], Any]) -> dict[str, Any]:
    item = make_item("a")
    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["href", "rel", "type", "name", "roles", "x"]), inner, max_size=3)
        ),
        max_leaves=6,
    )
    target: Any = item
    for key in draw(
        st.sampled_from([("id",), ("assets",), ("properties",), ("links",), ("assets", "image"), ("stac_version",)])
    ):
        parent, last = target, key
        target = target[key]
    parent[last] = draw(json_values)
    return item


@given(st.data())
def test_whatever_a_stranger_writes_is_parsed_or_refused_by_name(data: st.DataObject) -> None:
    item = _mutate(data.draw)
    try:
        (ref,) = parse(collect(item))
    except InputError as error:
        assert str(error)  # noqa: PT017 - most mutations are refused
        return
    assert is_safe_name(ref.name)
    assert ref.rasters[0].href.startswith(("s3://", "gs://", "http://", "https://"))
    json.dumps(dict(ref.provenance.properties), allow_nan=False)


def test_bands_by_number_are_those_of_the_item() -> None:
    """As documents before STAC 1.0 have it, and what is migrated by pystac 1.12 still."""
    item = make_item("a")
    item["properties"]["eo:bands"] = [{"name": "b"}, {"name": "r", "common_name": "red"}]
    item["assets"]["image"] = {"href": "s3://b/a.tif", "eo:bands": [1]}
    (ref,) = parse(collect(item))
    assert ref.rasters[0].bands == (Band(name="r", common_name="red"),)
    for wrong in ([2], [-1], [True], ["1"]):
        item["assets"]["image"]["eo:bands"] = wrong
        with pytest.raises(InputError, match="its bands must be lists of objects"):
            parse(collect(item))


def test_what_the_messages_say_migrates_old_documents(tmp_path: Path) -> None:
    """An Item and a catalogue of 0.9, by the calls that the messages name."""
    item = make_item("a", stac_version="0.9.0", geometry={"type": "Point", "coordinates": [0, 0]}, bbox=[0, 0, 0, 0])
    item |= {"stac_extensions": ["eo"], "links": []}
    item["properties"]["eo:bands"] = [{"name": "r", "common_name": "red"}]
    item["assets"]["image"] = {"href": "s3://b/a.tif", "eo:bands": [0]}
    (tmp_path / "items.json").write_text(json.dumps(collect(item)))
    pystac.ItemCollection.from_file(str(tmp_path / "items.json")).save_object(str(tmp_path / "new.json"))
    (ref,) = parse(json.loads((tmp_path / "new.json").read_text()))
    assert ref.rasters[0].bands == (Band(name="r", common_name="red"),)
    (tmp_path / "a.json").write_text(json.dumps(item))
    links = [{"rel": "item", "href": "./a.json"}]
    old = {"stac_version": "0.9.0", "id": "c", "description": "old", "links": links}
    (tmp_path / "catalog.json").write_text(json.dumps(old))
    catalog = pystac.read_file(str(tmp_path / "catalog.json"))
    assert isinstance(catalog, pystac.Catalog)
    catalog.normalize_and_save(str(tmp_path / "new"), "SELF_CONTAINED")
    (ref,) = read_inputs([str(tmp_path / "new" / "catalog.json")], stdin=None, inputs=Inputs()).refs
    assert ref.rasters[0].bands == (Band(name="r", common_name="red"),)
