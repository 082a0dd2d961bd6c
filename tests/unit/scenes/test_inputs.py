"""INPUT in all its forms, in memory, on standard input and an API; local files are in ``integration/test_input_files.py``."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from stac_api import make_item, run_api

from processor.config import Inputs
from processor.errors import ConfigError, InputError
from processor.scenes.inputs import ResolvedInputs, read_inputs
from stac.api.request import SearchRequest

ROOT = "memory://test-inputs"


def make_collection(*hrefs: str) -> dict[str, Any]:
    features = [
        {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": f"scene-{number}",
            "properties": {"datetime": None},
            "assets": {"image": {"href": href, "type": "image/tiff"}},
        }
        for number, href in enumerate(hrefs)
    ]
    return {"type": "FeatureCollection", "features": features}


@pytest.fixture(autouse=True)
def _clean_memory() -> Iterator[None]:
    yield
    memory = fsspec.filesystem("memory")
    if memory.exists(ROOT):
        memory.rm(ROOT, recursive=True)


def put(name: str, data: object = b"II*\0") -> str:
    url = f"{ROOT}/{name}"
    fsspec.filesystem("memory").pipe_file(url, data if isinstance(data, bytes) else json.dumps(data).encode())
    return url


def read(*arguments: str, stdin: bytes | None = None, **inputs: Any) -> ResolvedInputs:
    return read_inputs(arguments, stdin=None if stdin is None else io.BytesIO(stdin), inputs=Inputs(**inputs))


def names(resolved: ResolvedInputs) -> list[tuple[str, int]]:
    return [(ref.name, ref.priority) for ref in resolved.refs]


def test_item_collection_is_read_and_its_hrefs_are_resolved_against_it() -> None:
    document = make_collection("./b.tif", "../a.tif")
    resolved = read(put("in/items.json", document))
    assert [ref.rasters[0].href for ref in resolved.refs] == [f"{ROOT}/in/b.tif", f"{ROOT}/a.tif"]
    assert resolved.document == document
    assert resolved.description == f"ItemCollection {ROOT}/in/items.json"
    assert resolved.findings == ()


def test_document_may_have_any_name() -> None:
    assert len(read(put("in/search", make_collection("a.tif"))).refs) == 1


def test_document_of_a_url_may_not_name_local_files_unless_allowed() -> None:
    url = put("items.json", make_collection("/data/a.tif"))
    with pytest.raises(InputError, match=r"items.json: Item 'scene-0', asset 'image': .*allow_local_files"):
        read(url)
    assert read(url, allow_local_files=True).refs[0].rasters[0].href == "/data/a.tif"


def test_document_with_options_of_its_own_is_read_with_them() -> None:
    document = make_collection("/data/a.tif")
    seen: list[tuple[object, bool]] = []

    def refine(found: object, is_remote: bool) -> Inputs:
        seen.append((found, is_remote))
        return Inputs(allow_local_files=True)

    resolved = read_inputs([put("items.json", document)], stdin=None, inputs=Inputs(), refine=refine)
    assert resolved.refs[0].rasters[0].href == "/data/a.tif"
    assert resolved.is_remote
    assert seen == [(document, True)]


def test_page_of_a_longer_answer_is_a_finding() -> None:
    document = make_collection("a.tif") | {"links": [{"rel": "next", "href": "x"}]}
    assert [finding.code for finding in read(put("items.json", document)).findings] == ["input-is-a-page"]


def test_standard_input_that_is_trusted_resolves_against_the_working_folder() -> None:
    data = json.dumps(make_collection("a/b.tif", "/c.tif", "s3://bucket/d.tif")).encode("utf-8-sig")
    resolved = read("-", stdin=data, allow_local_files=True)
    assert [ref.rasters[0].href for ref in resolved.refs] == [f"{Path.cwd()}/a/b.tif", "/c.tif", "s3://bucket/d.tif"]
    assert resolved.description == "ItemCollection standard input"


@pytest.mark.parametrize("href", ["/etc/a.tif", "file:///etc/a.tif", "a.tif", "../../a.tif", "./a.tif", "?a.tif", "#a.tif"])
@pytest.mark.parametrize("kind", ["Feature", "Collection"])
def test_standard_input_is_a_stranger(href: str, kind: str) -> None:
    document: dict[str, Any] = make_collection(href)
    if kind == "Collection":
        document = {"type": "Collection", "id": "c", "links": [{"rel": "item", "href": href}]}
    data = json.dumps(document).encode()
    with pytest.raises(InputError, match="allow_local_files"):
        read("-", stdin=data)


def test_a_document_that_a_program_hands_over_is_local() -> None:
    data = json.dumps(make_collection("/data/a.tif")).encode()
    resolved = read_inputs(["-"], stdin=data, inputs=Inputs())
    assert resolved.refs[0].rasters[0].href == "/data/a.tif"
    assert not resolved.is_remote


def test_options_of_standard_input_are_a_strangers() -> None:
    seen: list[bool] = []

    def refine(document: object, is_remote: bool) -> Inputs:
        del document
        seen.append(is_remote)
        return Inputs()

    data = io.BytesIO(json.dumps(make_collection("s3://bucket/a.tif")).encode())
    assert read_inputs(["-"], stdin=data, inputs=Inputs(), refine=refine).is_remote
    assert seen == [True]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "standard input is empty"),
        (b" \n", "standard input is empty"),
        (b"<html>", r"standard input is not JSON, but HTML: a login page\?"),
        (b"\xff\xfe\xfa", "standard input is not JSON"),
        (b"[" * 100_000, "standard input is not JSON"),
        (b"II*\0abc", "standard input is a TIFF"),
        (b"{}", "standard input: the input is not an ItemCollection"),
    ],
)
def test_standard_input_that_is_no_item_collection_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read("-", stdin=data)


def test_missing_standard_input_is_an_error() -> None:
    with pytest.raises(InputError, match="no standard input"):
        read("-")


def test_documents_have_a_limit() -> None:
    data = json.dumps(make_collection("s3://bucket/a.tif")).encode()
    url = put("items.json", data)
    assert len(read("-", stdin=data, max_bytes=len(data)).refs) == len(read(url, max_bytes=len(data)).refs) == 1
    for argument in ("-", url):
        with pytest.raises(InputError, match="larger than"):
            read(argument, stdin=data, max_bytes=len(data) - 1)


def test_the_documents_of_a_catalogue_have_a_limit_together() -> None:
    items = [put(f"c/{n}.json", make_collection(f"s3://bucket/{n}.tif")["features"][0]) for n in range(4)]
    catalog = {"type": "Catalog", "id": "c", "links": [{"rel": "item", "href": href} for href in items]}
    url = put("c/catalog.json", catalog)
    size = sum(len(fsspec.open(href).open().read()) for href in [url, *items])
    with pytest.raises(InputError, match=r"--inputs\.max_bytes"):
        read(url, max_bytes=size - 1)


def test_rasters_keep_their_order_and_are_named_after_their_files() -> None:
    resolved = read("s3://bucket/b.tif", "https://host/a.TIFF?X-Amz-Signature=x.y", "gs://bucket/c.d.tif")
    assert names(resolved) == [("b", 0), ("a", 1), ("c.d", 2)]
    assert resolved.refs[1].rasters[0].href == "https://host/a.TIFF?X-Amz-Signature=x.y"
    assert resolved.document is None
    assert "Signature" not in resolved.description


# Catalogues


def make_catalog(*names: str) -> dict[str, Any]:
    """A catalogue that leads to Items beside it, which it writes."""
    features = make_collection(*(f"./{name}.tif" for name in names))["features"]
    for name, feature in zip(names, features, strict=True):
        put(f"c/items/{name}.json", {**feature, "id": name})
    links = [{"rel": "item", "href": f"./items/{name}.json"} for name in names]
    return {"type": "Catalog", "id": "c", "description": "c", "stac_version": "1.0.0", "links": links}


@pytest.mark.parametrize("argument", ["c/catalog.json", "c/", "c"])
def test_a_catalogue_or_the_folder_that_holds_it_leads_to_its_items(argument: str) -> None:
    put("c/stray.tif")
    put("c/catalog.json", make_catalog("b", "a"))
    resolved = read(f"{ROOT}/{argument}")
    assert names(resolved) == [("b", 0), ("a", 1)]
    assert [ref.rasters[0].href for ref in resolved.refs] == [f"{ROOT}/c/items/b.tif", f"{ROOT}/c/items/a.tif"]
    assert resolved.bases == (f"{ROOT}/c/items/b.json", f"{ROOT}/c/items/a.json")
    assert resolved.description.startswith(f"Catalog {ROOT}/c")
    assert [ref.provenance.self_href for ref in resolved.refs] == list(resolved.bases)
    document = resolved.document
    assert isinstance(document, dict)
    assert document["type"] == "FeatureCollection"


def test_a_local_folder_with_a_catalogue_is_one(tmp_path: Path) -> None:
    """As an OGC Application Package hands scenes on: the catalogue, Items and rasters in one folder."""
    (item,) = make_collection("./s.tif")["features"]
    (tmp_path / "s.json").write_text(json.dumps(item))
    (tmp_path / "s.tif").write_bytes(b"II*\0")
    links = [{"rel": "item", "href": "s.json"}]
    (tmp_path / "catalog.json").write_text(json.dumps({"type": "Catalog", "id": "c", "links": links}))
    resolved = read(str(tmp_path))
    assert [ref.rasters[0].href for ref in resolved.refs] == [f"{tmp_path}/s.tif"]
    assert not resolved.is_remote


def test_a_catalogue_of_standard_input_starts_from_the_working_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (item,) = make_collection("./s.tif")["features"]
    (tmp_path / "s.json").write_text(json.dumps(item))
    links = [{"rel": "item", "href": "s.json"}]
    resolved = read("-", stdin=json.dumps({"type": "Collection", "id": "c", "links": links}).encode(), allow_local_files=True)
    assert names(resolved) == [("scene-0", 0)]


def test_a_catalogue_has_no_options_of_its_own() -> None:
    catalog = make_catalog("a") | {"process": [{"tasks": {"mosaic": {"inputs": {"asset": "x"}}}}]}
    asked: list[object] = []

    def refine(document: object, is_remote: bool) -> Inputs:
        del is_remote
        asked.append(document)
        return Inputs()

    resolved = read_inputs([put("c/catalog.json", catalog)], stdin=None, inputs=Inputs(), refine=refine)
    assert asked == []
    assert "process" not in (resolved.document if isinstance(resolved.document, dict) else {})


def test_a_catalogue_may_have_no_more_items_than_allowed() -> None:
    url = put("c/catalog.json", make_catalog("a", "b"))
    with pytest.raises(InputError, match=r"inputs\.max_scenes 1"):
        read(url, max_scenes=1)


# Several inputs


def make_named(*names: str, **more: Any) -> dict[str, Any]:
    """An ItemCollection of Items with these ids, whose hrefs are relative."""
    document = make_collection(*(f"./{name}.tif" for name in names))
    for name, feature in zip(names, document["features"], strict=True):
        feature |= {"id": name, **more}
    return document


def test_several_collections_and_rasters_are_one_input() -> None:
    first, second = put("x/one.json", make_named("b", "a")), put("y/two.json", make_named("c", "a"))
    resolved = read(first, f"{ROOT}/z/a.tif", second)
    assert [ref.rasters[0].href.removeprefix(ROOT) for ref in resolved.refs] == [
        *("/x/b.tif", "/x/a.tif", "/z/a.tif", "/y/c.tif", "/y/a.tif")
    ]
    assert [ref.name for ref in resolved.refs] == ["b", "x_a", "z_a", "c", "y_a"]
    assert [ref.priority for ref in resolved.refs] == [0, 1, 2, 3, 4]
    assert [ref.provenance.title for ref in resolved.refs] == [None, "a", "a", None, "a"]
    assert resolved.bases == (first, first, second, second)
    assert isinstance(resolved.document, dict)
    assert [feature["id"] for feature in resolved.document["features"]] == ["b", "a", "c", "a"]


def test_an_item_in_two_collections_is_used_once() -> None:
    document = make_collection("s3://b/a.tif", "s3://b/b.tif")
    other = make_collection("s3://b/a.tif")
    resolved = read(put("one.json", document), put("two.json", other))
    assert names(resolved) == [("scene-0", 0), ("scene-1", 1)]
    assert [finding.message for finding in resolved.findings] == [
        "1 Items are there more than once and are used once: 'scene-0'"
    ]
    document["features"] += [{**document["features"][0], "links": [{"rel": "self", "href": "x"}]}]
    resolved = read(put("three.json", document))
    assert names(resolved) == [("scene-0", 0), ("scene-1", 1)]
    assert [finding.code for finding in resolved.findings] == ["items-repeated"]
    assert resolved.bases == (f"{ROOT}/three.json",) * 2


def test_items_beside_rasters_in_a_folder_are_used() -> None:
    """Their hrefs may lead to where they were downloaded from."""
    for name in ("a.tif", "b_GEC.tif", "c.tif"):
        put(f"in/{name}")
    (item,) = make_collection("https://host/x/a.tif?sig=1")["features"]
    item["assets"]["picture"] = {"href": "https://host/x/a.png", "type": "image/png"}
    item["properties"] = {"datetime": "2024-06-01T00:00:00Z"}
    put("in/a.json", {**item, "id": "17/a"})
    (other,) = make_collection("https://host/y/b_GEC.tif")["features"]
    put("in/b.stac.v2.json", {**other, "id": "b"})
    put("in/c.json", {"type": "metadata"})
    put("in/unlike.json", {**other, "id": "other"})
    put("in/c_report.json", b"no json")
    resolved = read(f"{ROOT}/in")
    assert [(ref.name, ref.rasters[0].href.rpartition("/test-inputs")[2]) for ref in resolved.refs] == [
        ("17_a", "/in/a.tif"),
        ("b", "/in/b_GEC.tif"),
        ("c", "/in/c.tif"),
    ]
    assert resolved.refs[0].provenance.start == "2024-06-01T00:00:00Z"
    assert str(resolved.refs[0].provenance.self_href).endswith("/in/a.json")
    assert [base.rpartition("/")[2] for base in resolved.bases] == ["a.json", "b.stac.v2.json"]


@pytest.mark.parametrize(
    "properties",
    [
        {"grid:code": "MGRS-33UVP"},
        {"s2:mgrs_tile": "33UVP"},
        {"landsat:wrs_path": "191", "landsat:wrs_row": "026"},
        {"mgrs:utm_zone": 33, "mgrs:latitude_band": "U", "mgrs:grid_square": "VP"},
    ],
)
def test_versions_of_one_acquisition_are_a_finding(properties: dict[str, Any]) -> None:
    document = make_named("old", "new", "later")
    times = ("2024-06-01T10:00:00Z", "2024-06-01T10:00:02Z", "2024-06-03T10:00:00Z")
    for feature, time in zip(document["features"], times, strict=True):
        feature["properties"] = {"datetime": time, "platform": "x", **properties}
    (finding,) = read(put("items.json", document)).findings
    assert finding.code == "items-twice-processed"
    assert "Items 'old' and 'new' are of one platform, tile and time" in finding.message
    document["features"].pop(1)
    assert read(put("items.json", document)).findings == ()


def test_deprecated_items_are_a_finding() -> None:
    document = make_named("a", "b")
    document["features"][1]["properties"] = {"datetime": None, "deprecated": True}
    (finding,) = read(put("items.json", document)).findings
    assert (finding.code, finding.severity) == ("items-deprecated", "warning")
    assert "'b'" in finding.message
    document["features"][1]["properties"]["deprecated"] = False
    assert read(put("items.json", document)).findings == ()


# Searches


def test_a_search_is_an_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STAC_API_TOKEN", raising=False)
    with run_api() as api:
        api.items = {name: make_item(name, time=f"2024-06-0{day}T00:00:00Z") for day, name in ((2, "b"), (1, "a"))}
        resolved = read_inputs(SearchRequest(api=api.url, max_items=1), stdin=None, inputs=Inputs())
        assert names(resolved) == [("b", 0)]
        assert [finding.code for finding in resolved.findings] == ["search-has-more"]
        resolved = read_inputs(SearchRequest(api=api.url), stdin=None, inputs=Inputs())
        assert names(resolved) == [("a", 0), ("b", 1)]
        assert resolved.is_remote
        assert resolved.description == f"search on {api.url}"
        assert resolved.bases == tuple(f"{api.url}/collections/scenes/items/{name}" for name in "ab")
        assert [ref.provenance.self_href for ref in resolved.refs] == list(resolved.bases)


def test_what_a_search_finds_may_not_name_local_files_unless_allowed() -> None:
    with run_api() as api:
        item = make_item("a")
        item["assets"]["image"]["href"] = "/etc/a.tif"
        api.items = {"a": item}
        with pytest.raises(InputError, match=r"search on http.*allow_local_files"):
            read_inputs(SearchRequest(api=api.url), stdin=None, inputs=Inputs())
        resolved = read_inputs(SearchRequest(api=api.url), stdin=None, inputs=Inputs(allow_local_files=True))
        assert resolved.refs[0].rasters[0].href == "/etc/a.tif"


def test_ids_that_a_search_finds_are_no_paths() -> None:
    with run_api() as api:
        item = make_item("../../etc/x")
        item["assets"]["image"]["href"] = "./x.tif"
        api.items = {"x": item}
        (ref,) = read_inputs(SearchRequest(api=api.url), stdin=None, inputs=Inputs()).refs
        assert (ref.name, ref.provenance.title) == ("_.._etc_x", "../../etc/x")


def test_files_may_be_called_anything() -> None:
    resolved = read("s3://b/x/a.tif", "s3://b/y/a.tif", "s3://b/y/b c.tif", "s3://b/B.tif", "s3://b/ä/b.tif")
    assert [ref.name for ref in resolved.refs[:3]] == ["x_a", "y_a", "b_c"]
    assert [ref.provenance.title for ref in resolved.refs] == ["a", "a", "b c", None, "b"]
    assert len({ref.name.lower() for ref in resolved.refs}) == 5


def test_single_raster_is_not_opened() -> None:
    resolved = read("https://host/x/a.tif?sig=secret")
    assert names(resolved) == [("a", 0)]
    assert resolved.description == "https://host/x/a.tif"


@pytest.mark.parametrize("folder", ["in", "in/"])
def test_folder_gives_its_geotiffs_by_name(folder: str) -> None:
    for name in ("in/b.tif", "in/a.TIFF", "in/c.tif.aux.xml", "in/.hidden.tif", "in/deeper/d.tif", "in/items.json"):
        put(name)
    resolved = read(f"{ROOT}/{folder}")
    assert names(resolved) == [("a", 0), ("b", 1)]
    assert fsspec.filesystem("memory").exists(resolved.refs[0].rasters[0].href)


@pytest.mark.parametrize(
    ("pattern", "expected"), [("in/*.tif", ["a", "b"]), ("in/[b]*", ["b"]), ("in/**/*.tif", ["a", "b", "d"])]
)
def test_pattern_gives_its_geotiffs_by_name(pattern: str, expected: list[str]) -> None:
    for name in ("in/b.tif", "in/a.tif", "in/b.xml", "in/deeper/d.tif"):
        put(name)
    assert [ref.name for ref in read(f"{ROOT}/{pattern}").refs] == expected


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("in/none*.tif", "none*.tif matches no file"),
        ("in/*.json", "matches 1 files, none of them a .tif"),
        ("in", "holds no .tif or .tiff file but items.json: give that file itself"),
        ("empty", "holds no .tif or .tiff file: if they are in its folders, use the pattern"),
        ("missing/", "does not exist"),
        ("missing.json", "does not exist"),
    ],
)
def test_url_without_geotiffs_is_refused_with_a_hint(argument: str, reason: str) -> None:
    put("in/items.json", {})
    put("empty/deeper/a.tif")
    with pytest.raises(InputError, match=re.escape(reason)):
        read(f"{ROOT}/{argument}")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "no input"),
        (("",), "empty or holds control characters"),
        (("a\nb.tif",), "empty or holds control characters"),
        (("https://me:secret@host/a.tif",), "https://host/a.tif holds a user name or a password"),
        (("/vsis3/bucket/a.tif",), "virtual file system of GDAL"),
        (("/x/../vsimem/a.tif",), "virtual file system of GDAL"),
        (("s3://b/a.tif", "-"), "- is one of several inputs"),
        (("s3://b/a.tif", "s3://b/folder/"), "does not end in .tif"),
        (("s3://b/a.tif", "/nowhere/a.tif"), "no such file: /nowhere/a.tif"),
        (("/nowhere",), "no such file or folder: /nowhere"),
        (("s3://b/x/a.tif", "gs://c/x/a.tif"), "files s3://b/x/a.tif and gs://c/x/a.tif (number 1 and 2) have the same name"),
    ],
)
def test_unusable_arguments_are_refused_by_name(arguments: tuple[str, ...], reason: str) -> None:
    with pytest.raises(InputError, match=re.escape(reason)) as caught:
        read(*arguments)
    assert "secret" not in str(caught.value)


def test_unknown_scheme_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="scheme 'ftp'"):
        read("ftp://host/a.tif")


def test_limit_counts_rasters_too() -> None:
    with pytest.raises(InputError, match=r"2 scenes, more than --inputs.max_scenes 1"):
        read("s3://b/a.tif", "s3://b/b.tif", max_scenes=1)
