"""STAC extensions whose fields are written, and which of them a document uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

STAC_VERSION: Final = "1.1.0"
EXTENSIONS: Final[Mapping[str, str]] = {
    name: f"https://stac-extensions.github.io/{name}/v{version}/schema.json"
    for name, version in (
        ("projection", "2.0.0"),
        ("raster", "2.0.0"),
        ("eo", "1.1.0"),  # not 2.0.0, which forbids the names under which pystac and odc-stac find bands
        ("processing", "1.2.0"),
        ("file", "2.1.0"),
        ("view", "1.1.0"),
        ("grid", "1.1.0"),
        ("alternate-assets", "1.2.0"),
        ("render", "2.0.0"),
        ("classification", "2.0.0"),
        ("web-map-links", "1.2.0"),
    )
}
"""Schema URIs by name."""

_PREFIXES: Final[Mapping[str, str]] = {
    "projection": "proj:",
    "raster": "raster:",
    "eo": "eo:",
    "processing": "processing:",
    "file": "file:",
    "view": "view:",
    "grid": "grid:",
    "alternate-assets": "alternate",
    "render": "renders",
    "classification": "classification:",
    "web-map-links": "xyz",  # relation of a link
}


def list_extensions(document: Mapping[str, Any]) -> list[str]:
    """Extensions that an Item or Collection uses; a schema refuses a document that lists it without using any of its fields."""
    used = set(_iter_fields(document))
    return [uri for name, uri in EXTENSIONS.items() if any(field.startswith(_PREFIXES[name]) for field in used)]


def _iter_fields(document: Mapping[str, Any]) -> Iterator[str]:
    """Names of all fields that may be of an extension."""
    holders = [document.get("properties"), document.get("summaries")]
    links = document.get("links")
    yield from (str(link.get("rel")) for link in (links if isinstance(links, list) else ()) if isinstance(link, Mapping))
    for group in (document.get("assets"), document.get("item_assets")):
        holders += group.values() if isinstance(group, Mapping) else ()
    for holder in holders:
        if isinstance(holder, Mapping):
            yield from holder
            bands = holder.get("bands")
            for band in bands if isinstance(bands, list) else ():
                yield from band if isinstance(band, Mapping) else ()
