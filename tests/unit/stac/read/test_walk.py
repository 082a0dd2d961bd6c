"""Static catalogues: every Item once, in the order of the links, and nothing that a stranger's document may not name."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from processor.errors import InputError
from stac.read import walk as module
from stac.read.walk import Walked, is_catalog, walk_catalog

ROOT = "s3://bucket/c/catalog.json"


def link(rel: str, href: object) -> dict[str, object]:
    return {"rel": rel, "href": href}


def catalog(*links: Mapping[str, object], kind: str = "Catalog", **more: Any) -> dict[str, Any]:
    return {"type": kind, "id": "c", "links": list(links), **more}


def item(name: str) -> dict[str, Any]:
    return {"type": "Feature", "id": name, "links": []}


def walk(
    document: dict[str, Any],
    others: Mapping[str, Any] | None = None,
    *,
    base: str = ROOT,
    max_scenes: int = 100,
    allow_local_files: bool = False,
) -> Walked:
    """Walk documents of a bucket that is a mapping; what is not in it is not there."""
    files = others or {}
    read: list[str] = []

    def read_bytes(href: str) -> bytes:
        read.append(href)
        if href not in files:
            msg = f"{href} does not exist"
            raise InputError(msg)
        content = files[href]
        return content if isinstance(content, bytes) else json.dumps(content).encode()

    walked = walk_catalog(document, base=base, read=read_bytes, max_scenes=max_scenes, allow_local_files=allow_local_files)
    assert len(read) == len(set(read)), "a document was read twice"
    return walked


def list_names(walked: Walked) -> list[str]:
    return [feature["id"] for feature in walked.document["features"]]


def test_items_are_found_in_the_order_of_the_links_children_where_theirs_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    document = catalog(link("item", "./a.json"), link("child", "x/catalog.json"), link("item", "b.json"), link("self", ROOT))
    files = {
        "s3://bucket/c/a.json": item("a"),
        "s3://bucket/c/b.json": item("b"),
        "s3://bucket/c/x/catalog.json": catalog(link("item", "../../y.json"), link("child", "z.json"), link("parent", ROOT)),
        "s3://bucket/y.json": item("y"),
        "s3://bucket/c/x/z.json": catalog(link("item", "https://elsewhere.example.org/z.json"), kind="Collection"),
        "https://elsewhere.example.org/z.json": item("z"),
    }
    walked = walk(document, files)
    assert list_names(walked) == ["a", "y", "z", "b"]
    assert walked.bases == (
        "s3://bucket/c/a.json",
        "s3://bucket/y.json",
        "https://elsewhere.example.org/z.json",
        "s3://bucket/c/b.json",
    )
    monkeypatch.setattr(module, "_READ_AT_ONCE", 1)
    assert walk(document, files) == walked


def test_documents_are_read_at_once() -> None:
    names = [f"s3://bucket/c/{number}.json" for number in range(4)]
    meeting = threading.Barrier(4, timeout=10)

    def read(href: str) -> bytes:
        meeting.wait()
        return json.dumps(item(href[-6])).encode()

    document = catalog(*(link("item", name) for name in names))
    walked = walk_catalog(document, base=ROOT, read=read, max_scenes=9, allow_local_files=False)
    assert list_names(walked) == ["0", "1", "2", "3"]


def test_cycles_end_and_what_several_lead_to_is_read_once() -> None:
    child = "s3://bucket/c/x.json"
    document = catalog(link("child", "x.json"), link("child", ROOT), link("child", "./x.json"), link("item", "a.json"))
    files = {
        child: catalog(link("child", "catalog.json"), link("child", "x.json"), link("item", "a.json"), link("item", "b.json")),
        "s3://bucket/c/a.json": item("a"),
        "s3://bucket/c/b.json": item("b"),
    }
    assert list_names(walk(document, files)) == ["b", "a"]


def test_depth_has_a_limit() -> None:
    files: dict[str, Any] = {f"s3://bucket/c/{n}.json": catalog(link("child", f"{n + 1}.json")) for n in range(40)}
    with pytest.raises(InputError, match="more than 32 levels deep"):
        walk(catalog(link("child", "0.json")), files)
    files["s3://bucket/c/20.json"] = catalog(link("item", "a.json"))
    files["s3://bucket/c/a.json"] = item("a")
    assert list_names(walk(catalog(link("child", "0.json")), files)) == ["a"]


def test_too_many_items_or_catalogues_are_refused_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"3 Items or more, above --inputs.max_scenes 2: raise the limit"):
        walk(catalog(*(link("item", f"{n}.json") for n in range(3))), {}, max_scenes=2)
    monkeypatch.setattr(module, "_MAX_CATALOGS", 5)
    with pytest.raises(InputError, match="more than 5 Catalogs"):
        walk(catalog(*(link("child", f"{n}.json") for n in range(6))), {})


def test_children_that_turn_out_to_be_items_count_as_items() -> None:
    files = {f"s3://bucket/c/{n}.json": item(str(n)) for n in range(3)}
    with pytest.raises(InputError, match="3 Items or more"):
        walk(catalog(*(link("child", f"{n}.json") for n in range(3))), files, max_scenes=2)


@pytest.mark.parametrize(
    ("href", "reason"),
    [
        ("/etc/passwd", "a file of this machine"),
        ("file:///etc/passwd", "a file of this machine"),
        ("/vsicurl/http://host/x", "a file of this machine"),
        ("../../../x.json", "climbs"),
        ("gopher://host/x", "scheme 'gopher'"),
        ("https://me:pw@host/x.json", "user name or a password"),
        ("x\ny.json", "control character"),
        ("C:x.json", "neither a path nor a URL"),
        ("", "has no href"),
        (None, "has no href"),
        (["x"], "has no href"),
    ],
)
def test_links_that_a_document_from_elsewhere_has_no_business_with_are_refused(href: object, reason: str) -> None:
    for rel in ("item", "child"):
        with pytest.raises(InputError, match=f"catalog.json: its {rel} link .*{reason}") as caught:
            walk(catalog(link(rel, href)))
        assert "pw" not in str(caught.value)


def test_local_catalogues_may_name_local_documents_but_no_virtual_file_systems() -> None:
    files = {"/data/a.json": item("a")}
    assert walk(catalog(link("item", "../a.json")), files, base="/data/c/catalog.json").bases == ("/data/a.json",)
    assert walk(catalog(link("item", "/data/a.json")), files, allow_local_files=True).bases == ("/data/a.json",)
    with pytest.raises(InputError, match="virtual file system"):
        walk(catalog(link("item", "/vsizip/x")), files, base="/data/c/catalog.json")


def test_a_local_child_that_a_remote_one_leads_to_is_refused() -> None:
    """The right to name local files is that of the document that does it, not that of the first one."""
    files = {"https://host/c.json": catalog(link("item", "/etc/passwd"))}
    with pytest.raises(InputError, match="a file of this machine"):
        walk(catalog(link("child", "https://host/c.json")), files, base="/data/catalog.json")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html>", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is not a JSON object"),
        ({"type": "FeatureCollection"}, "of type 'FeatureCollection', neither an Item nor a Catalog"),
        ({}, "of type '', neither"),
    ],
    ids=str,
)
def test_what_a_link_leads_to_has_to_be_stac(content: object, reason: str) -> None:
    with pytest.raises(InputError, match=f"x.json.* {reason}"):
        walk(catalog(link("item", "x.json")), {"s3://bucket/c/x.json": content})


@pytest.mark.parametrize("links", [[], None, "x", [1, None], [{"rel": "item"}][:0]], ids=str)
def test_a_catalogue_without_items_is_refused(links: object) -> None:
    with pytest.raises(InputError, match="links to no Item"):
        walk({"type": "Catalog", "id": "c", "links": links})


def test_an_api_is_searched_not_walked() -> None:
    api = catalog(link("child", "https://host/collections/a"), conformsTo=["https://api.stacspec.org/v1.0.0/item-search"])
    with pytest.raises(InputError, match="is searched, not walked: run --api https://host/v1"):
        walk(api, base="https://host/v1")
    links = (link("items", "https://host/v1/collections/a/items"), link("root", "https://host/v1?key=secret"))
    collection = catalog(*links, kind="Collection")
    with pytest.raises(InputError, match="run --api https://host/v1 --collections c") as caught:
        walk(collection, base="https://host/v1/collections/a")
    assert "secret" not in str(caught.value)


def test_what_is_a_catalogue() -> None:
    assert is_catalog({"type": "Catalog"})
    assert is_catalog({"type": "Collection"})
    assert not any(map(is_catalog, [{"type": "Feature"}, {"type": "FeatureCollection"}, {}, [], None, "Catalog"]))


@pytest.mark.parametrize("kind", [[], {}, None, 1])
def test_a_type_that_is_no_text_is_no_catalogue(kind: object) -> None:
    assert not is_catalog({"type": kind})
