"""catalog.json of a folder of mosaics, the output of an OGC Application Package (OGC 20-089r1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from processor.errors import InputError
from stac.extensions import STAC_VERSION
from stac.hrefs import publish_href
from stac.links import is_link_to, list_links, make_link, relative_href

CATALOG: Final = "catalog.json"
"""File name that the convention prescribes."""

_DESCRIPTION: Final = "Radiometrically matched, seamless mosaics made by mosaic-processor."


def check_catalog(catalog: Mapping[str, Any], *, href: str) -> None:
    """Refuse a document that no link can be added to.

    Raises
    ------
    InputError
        It is no Catalog.
    """
    links = catalog.get("links")
    if catalog.get("type") != "Catalog" or not isinstance(links, list) or not all(isinstance(link, dict) for link in links):
        msg = f"{href} is there and is no STAC Catalog: choose another folder with --output, or leave output.catalog off"
        raise InputError(msg)


def make_catalog(
    item_href: str,
    *,
    href: str,
    catalog: Mapping[str, Any] | None = None,
    item_title: str | None = None,
    collection_href: str | None = None,
) -> dict[str, Any]:
    """Make a Catalog that links to an Item, or add the link to an existing one; adding it again changes nothing.

    Links are relative, so that the folder can be moved.

    Parameters
    ----------
    item_href
        Absolute path or URL of the Item.
    href
        Absolute path or URL of the Catalog.
    catalog
        The existing Catalog, decoded; not changed. None: there is none.
    item_title
        Title of the link.
    collection_href
        Absolute path or URL of the Collection that the Item belongs to; it becomes a child of the Catalog.

    Raises
    ------
    InputError
        The existing document is no Catalog.

    Notes
    -----
    Two runs that extend one Catalog must not overwrite each other: see :func:`stac.write.update.update_document`.
    """
    base = publish_href(href)
    if catalog is None:
        catalog = {
            "type": "Catalog",
            "stac_version": STAC_VERSION,
            "id": "mosaics",
            "title": "Mosaics",
            "description": _DESCRIPTION,
            "links": [make_link("root", relative_href(base, base=base))],
        }
    check_catalog(catalog, href=href)
    wanted = [("item", item_href, item_title)]
    wanted += [("child", collection_href, None)] if collection_href is not None else []
    links = list_links(catalog)
    for rel, target, title in wanted:
        url = publish_href(target)
        if not any(is_link_to(link, rel, url, base=base) for link in links):
            links.append(make_link(rel, relative_href(url, base=base), title))
    return {**catalog, "links": links}
