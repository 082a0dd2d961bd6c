"""The catalogue of a folder of mosaics."""

from __future__ import annotations

import json
from typing import Any

import pystac
import pytest

from processor.errors import InputError
from stac.write.catalog import make_catalog

HREF = "s3://bucket/out/catalog.json"
ITEM = "s3://bucket/out/m/m.json"


def list_links(catalog: dict[str, Any]) -> list[tuple[str, str]]:
    return [(link["rel"], link["href"]) for link in catalog["links"]]


def test_a_catalogue_leads_to_the_item_relatively_and_is_its_own_root() -> None:
    catalog = make_catalog(ITEM, href=HREF, item_title="June")
    assert list_links(catalog) == [("root", "./catalog.json"), ("item", "./m/m.json")]
    assert catalog["links"][1]["title"] == "June"
    assert pystac.Catalog.from_dict(catalog).id == "mosaics"


def test_adding_an_item_again_changes_nothing_and_another_one_comes_after_it() -> None:
    catalog = make_catalog(ITEM, href=HREF)
    assert make_catalog(ITEM, href=HREF, catalog=catalog) == catalog
    before = json.dumps(catalog)
    more = make_catalog("s3://bucket/out/n/n.json", href=HREF, catalog=catalog)
    assert list_links(more) == [*list_links(catalog), ("item", "./n/n.json")]
    assert json.dumps(catalog) == before


def test_what_others_wrote_stays() -> None:
    catalog = {"type": "Catalog", "id": "mine", "links": [{"rel": "item", "href": ITEM, "x": 1}], "title": "Mine", "y": 2}
    assert make_catalog(ITEM, href=HREF, catalog=catalog) == catalog


def test_a_collection_is_a_child() -> None:
    catalog = make_catalog(ITEM, href=HREF, collection_href="s3://bucket/out/collection.json")
    assert ("child", "./collection.json") in list_links(catalog)
    assert make_catalog(ITEM, href=HREF, catalog=catalog, collection_href="s3://bucket/out/collection.json") == catalog


def test_places_elsewhere_are_absolute_and_local_ones_are_urls_without_secrets() -> None:
    assert ("item", "gs://other/m.json") in list_links(make_catalog("gs://other/m.json", href=HREF))
    assert ("item", "./m%20m/m.json") in list_links(make_catalog("/out/m m/m.json", href="/out/catalog.json"))


@pytest.mark.parametrize(
    "present", [{}, {"type": "Collection", "links": []}, {"type": "Catalog"}, {"type": "Catalog", "links": 1}]
)
def test_what_is_no_catalogue_is_not_overwritten(present: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="is no STAC Catalog: choose another folder"):
        make_catalog(ITEM, href=HREF, catalog=present)
