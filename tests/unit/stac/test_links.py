"""Hrefs between documents."""

from __future__ import annotations

from typing import Any

import pytest

from stac.links import absolute_href, find_self, is_link_to, list_links, make_absolute, make_link, relative_href

PLACES = [
    ("s3://b/out/m/m.json", "s3://b/out/collection.json", "../collection.json"),
    ("s3://b/out/collection.json", "s3://b/out/m/m.json", "./m/m.json"),
    ("s3://b/out/catalog.json", "s3://b/out/catalog.json", "./catalog.json"),
    ("file:///a/b/c.json", "file:///a/d/e.json", "../d/e.json"),
    ("https://h/a.json", "https://h/x/y.json", "./x/y.json"),
    ("s3://b//odd//m.json", "s3://b//odd/c.json", "../c.json"),
    ("s3://b/m.json", "s3://other/m.json", "s3://other/m.json"),
    ("s3://b/m.json", "https://b/m.json", "https://b/m.json"),
]


@pytest.mark.parametrize(("base", "target", "expected"), PLACES)
def test_relative_hrefs_lead_back_to_where_they_were_made_for(base: str, target: str, expected: str) -> None:
    assert relative_href(target, base=base) == expected
    assert absolute_href(expected, base=base) == target


def test_href_cannot_climb_above_its_bucket() -> None:
    assert absolute_href("../../../x.tif", base="s3://b/a/m.json") == "s3://b/x.tif"


def test_absolute_document_names_the_same_places() -> None:
    document: dict[str, Any] = {
        "links": [{"rel": "self", "href": "s3://b/a/m.json"}, {"rel": "root", "href": "../c.json"}],
        "assets": {"x": {"href": "./x.tif", "title": "X"}, "y": {"href": "https://h/y.tif"}},
    }
    made = make_absolute(document)
    assert made["links"][1]["href"] == "s3://b/c.json"
    assert made["assets"] == {"x": {"href": "s3://b/a/x.tif", "title": "X"}, "y": {"href": "https://h/y.tif"}}
    assert document["assets"]["x"]["href"] == "./x.tif"


def test_document_without_a_self_link_stays_as_it_is() -> None:
    document = {"links": [{"rel": "self", "href": "m.json"}], "assets": {"x": {"href": "./x.tif"}}}
    assert find_self(document) is None
    assert make_absolute(document) == document


@pytest.mark.parametrize("href", ["./m/m.json", "m/m.json", "s3://b/out/m/m.json"])
def test_links_are_known_however_they_are_written(href: str) -> None:
    link = {"rel": "item", "href": href}
    assert is_link_to(link, "item", "s3://b/out/m/m.json", base="s3://b/out/catalog.json")
    assert not is_link_to(link, "child", "s3://b/out/m/m.json", base="s3://b/out/catalog.json")
    assert not is_link_to(link, "item", "s3://b/out/n/n.json", base="s3://b/out/catalog.json")


def test_a_title_and_a_kind_are_given_where_they_are_known() -> None:
    assert make_link("item", "./a.json", "A") == {
        "rel": "item",
        "href": "./a.json",
        "type": "application/geo+json",
        "title": "A",
    }
    assert make_link("root", "./c.json") == {"rel": "root", "href": "./c.json", "type": "application/json"}


@pytest.mark.parametrize("links", [None, "x", 3, [1, "a", None]])
def test_what_are_no_links_are_none(links: object) -> None:
    assert list_links({"links": links}) == []
    assert find_self({"links": links}) is None
