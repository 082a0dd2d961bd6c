"""Collection of mosaics: made with the first Item, extended by every further one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pystac.utils import str_to_datetime

from processor.errors import InputError
from stac.documents import json_type
from stac.extensions import EXTENSIONS, STAC_VERSION, list_extensions
from stac.fields import is_number
from stac.hrefs import publish_href
from stac.links import find_self, is_link_to, list_links, make_link, relative_href
from stac.write.extent import WORLD, union_extent

_SETS: Final = ("platform", "instruments", "constellation", "proj:code", "processing:level")
_RANGES: Final = ("gsd", "eo:cloud_cover", "view:off_nadir", "view:sun_elevation")
_ASSET_FIELDS: Final = ("title", "description", "type", "roles")
_BAND_FIELDS: Final = (
    "name",
    "description",
    "eo:common_name",
    "data_type",
    "nodata",
    "unit",
    "raster:scale",
    "raster:offset",
)
_KINDS: Final[Mapping[str, type[dict[str, Any] | list[Any]]]] = {
    "links": list,
    "summaries": dict,
    "item_assets": dict,
    "stac_extensions": list,
}
_WORDS: Final = frozenset({"title", "description"})
_DESCRIPTION: Final = "Radiometrically matched, seamless mosaics made by mosaic-processor."


def make_collection(
    item: Mapping[str, Any],
    collection_id: str,
    *,
    href: str,
    root_href: str | None = None,
) -> dict[str, Any]:
    """Make a Collection with its first Item.

    Parameters
    ----------
    item
        From :func:`stac.write.item.create_item`, with a self link.
    collection_id
        Id of the Collection.
    href
        Absolute path or URL of the Collection.
    root_href
        Absolute path or URL of the Catalog above it; None: the Collection is the root.

    Returns
    -------
    JSON values of a STAC 1.1 Collection.

    Raises
    ------
    ValueError
        The Item has no self link.
    """
    base = publish_href(href)
    links = [make_link("self", base), make_link("root", relative_href(base, base=base))]
    links += [dict(link) for link in list_links(item) if link.get("rel") == "license"]
    if root_href is not None:
        root = relative_href(publish_href(root_href), base=base)
        links[1:2] = [make_link("root", root), make_link("parent", root)]
    properties = item["properties"]
    taken = [properties.get(key) or properties.get("datetime") for key in ("start_datetime", "end_datetime")]
    empty: dict[str, Any] = {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "stac_extensions": [],
        "id": collection_id,
        "title": collection_id,
        "description": _DESCRIPTION,
        "keywords": ["mosaic"],
        "license": properties.get("license", "other"),
        **({"providers": properties["providers"]} if properties.get("providers") else {}),
        "extent": {"spatial": {"bbox": [item.get("bbox") or WORLD]}, "temporal": {"interval": [taken]}},
        "links": links,
    }
    return extend_collection(empty, item, href=href)


def extend_collection(collection: Mapping[str, Any], item: Mapping[str, Any], *, href: str | None = None) -> dict[str, Any]:
    """Add an Item to a Collection; adding it again changes nothing.

    Extents and summaries only grow: those of a replaced Item stay. A summary that the Collection lacks is added with its first
    Item only, because the values of earlier Items are unknown. Everything else, links too, stays as it is.

    Two runs that extend one Collection must not overwrite each other: see :func:`stac.write.update.update_document`.

    Parameters
    ----------
    collection
        Decoded JSON of a STAC 1.0 or 1.1 Collection; not changed.
    item
        From :func:`stac.write.item.create_item`, with a self link.
    href
        Absolute path or URL of the Collection; None: that of its self link, else the Item's link is absolute.

    Raises
    ------
    InputError
        The document is no Collection, or its extent cannot be widened.
    ValueError
        The Item has no self link.
    """
    check_collection(collection)
    target = find_self(item)
    if target is None:
        msg = f"Item {item.get('id')!r} has no self link that a Collection could lead to"
        raise ValueError(msg)
    base = publish_href(href) if href is not None else find_self(collection)
    links = list_links(collection)
    present = [is_link_to(link, "item", target, base=base) for link in links]
    alone = not any(link.get("rel") == "item" and not own for link, own in zip(links, present, strict=True))
    if not any(present):
        own = relative_href(target, base=base) if base is not None else target
        title = item["properties"].get("title")
        links.append({**make_link("item", own), "title": f"{item['id']}: {title}" if title else item["id"]})
    changed = {**collection, "extent": union_extent(collection["extent"], item), "links": links}
    modern = not str(collection.get("stac_version")).startswith("1.0")
    summaries = _extend_summaries(collection.get("summaries") or {}, item, complete=alone and modern)
    changed |= {"summaries": summaries} if summaries else {}
    if not summaries:
        changed.pop("summaries", None)
    if modern:
        changed["item_assets"] = _extend_assets(collection.get("item_assets") or {}, item)
        changed["stac_extensions"] = _extend_extensions(collection.get("stac_extensions") or [], changed)
    copied: dict[str, Any] = json.loads(json.dumps(changed))
    return copied


def check_collection(collection: Mapping[str, Any]) -> None:
    """Refuse a document that is no Collection, or whose extent cannot be widened.

    Raises
    ------
    InputError
        Naming what is wrong.
    """
    extent = collection.get("extent")
    version = str(collection.get("stac_version", ""))
    if collection.get("type") != "Collection" or not version.startswith("1.") or not isinstance(collection.get("id"), str):
        msg = (
            f"{collection.get('id')!r} is not a STAC Collection of version 1 but of type {collection.get('type')!r}, version "
            f"{version!r}: name the file of a Collection with --collection, or an id to make one"
        )
        raise InputError(msg)
    name = repr(collection["id"])
    for part, kind, is_valid in (("spatial", "bbox", _is_bbox), ("temporal", "interval", _is_interval)):
        found = extent.get(part) if isinstance(extent, Mapping) else None
        values = found.get(kind) if isinstance(found, Mapping) else None
        if not isinstance(values, list) or not values or not is_valid(values[0]):
            msg = f"Collection {name} has no valid {kind} in its extent: correct it, so that it can be extended"
            raise InputError(msg)
    for key, wanted in _KINDS.items():
        if collection.get(key) is not None and not isinstance(collection[key], wanted):
            msg = f"Collection {name} has {key} that are no JSON {json_type(wanted())}: correct it, so that it can be extended"
            raise InputError(msg)
    if not all(isinstance(uri, str) for uri in collection.get("stac_extensions") or ()):
        msg = f"Collection {name} has stac_extensions that are not all texts: correct it, so that it can be extended"
        raise InputError(msg)


def _is_bbox(value: object) -> bool:
    return isinstance(value, list) and len(value) in {4, 6} and all(is_number(number) for number in value)


def _is_interval(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(end is None or _is_time(end) for end in value)


def _is_time(value: object) -> bool:
    try:
        str_to_datetime(value if isinstance(value, str) else "")
    except (ValueError, OverflowError):
        return False
    return True


def _extend_summaries(known: Mapping[str, Any], item: Mapping[str, Any], *, complete: bool) -> dict[str, Any]:
    """Widen summaries; ``complete`` (this is the only Item) also adds missing ones."""
    properties, summaries = item["properties"], dict(known)
    for key in (*_SETS, *_RANGES):
        value = properties.get(key)
        values = value if isinstance(value, list) else [] if value is None else [value]
        if values and (complete or key in known):
            summaries[key] = _widen(known.get(key), values, is_range=key in _RANGES)
    bands = _find_bands(item)
    if complete and "bands" not in known and bands:
        summaries["bands"] = bands
    elif "bands" in known:
        merged = _merge_bands(known["bands"], bands)
        summaries |= {"bands": merged} if merged else {}
        if not merged:
            del summaries["bands"]
    return summaries


def _widen(known: Any, values: Sequence[Any], *, is_range: bool) -> Any:
    """Widen a set or a range of values; a JSON schema stays as it is."""
    if known is None:
        return {"minimum": min(values), "maximum": max(values)} if is_range else sorted(set(values))
    if isinstance(known, list):
        return [*known, *sorted({value for value in values if value not in known})]
    if is_range and isinstance(known, Mapping) and all(is_number(known.get(end)) for end in ("minimum", "maximum")):
        return {**known, "minimum": min(known["minimum"], *values), "maximum": max(known["maximum"], *values)}
    return known


def _find_bands(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Bands that all data assets of an Item share; empty where they differ."""
    data = [asset["bands"] for asset in item["assets"].values() if "data" in asset.get("roles", ()) and asset.get("bands")]
    merged = [_trim(band) for band in data[0]] if data else []
    for bands in data[1:]:
        merged = _merge_bands(merged, [_trim(band) for band in bands])
    return merged


def _trim(band: Mapping[str, Any]) -> dict[str, Any]:
    """A band without the fields that hold for one file only."""
    return {key: band[key] for key in _BAND_FIELDS if key in band}


def _merge_bands(known: Any, bands: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Fields that bands of the same names agree on, and those of the known bands only; empty where names differ."""
    names = [band.get("name") for band in known if isinstance(band, Mapping)] if isinstance(known, list) else None
    if names != [band.get("name") for band in bands]:
        return []
    return [
        {key: value for key, value in one.items() if key not in other or other[key] == value}
        for one, other in zip(known, bands, strict=True)
    ]


def _extend_assets(known: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    """Add the assets of an Item, except those of single scenes; fields that differ between Items are dropped."""
    merged = dict(known)
    for key, asset in _iter_assets(item):
        definition = {field: asset[field] for field in _ASSET_FIELDS if field in asset}
        bands = [_trim(band) for band in asset.get("bands", ())]
        definition |= {"bands": bands} if bands else {}
        merged[key] = _merge_definition(known[key], definition) if isinstance(known.get(key), Mapping) else definition
    return merged


def _merge_definition(known: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    merged = {key: value for key, value in known.items() if key in _WORDS or key not in other or other[key] == value}
    if "bands" in known and "bands" in other:
        bands = _merge_bands(known["bands"], other["bands"])
        merged |= {"bands": bands} if bands else {}
    return merged


def _iter_assets(item: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Assets that every Item has: those of no single scene."""
    return [(key, asset) for key, asset in item["assets"].items() if "mosaic:scene" not in asset]


def _extend_extensions(known: Sequence[str], collection: Mapping[str, Any]) -> list[str]:
    """Add the extensions that are used; an extension that is listed in another version stays."""
    names = {uri: name for name, uri in EXTENSIONS.items()}
    named = tuple(known)
    missing = [uri for uri in list_extensions(collection) if not any(f"/{names[uri]}/v" in other for other in named)]
    return [*known, *missing]
