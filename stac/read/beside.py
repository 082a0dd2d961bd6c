"""Items that lie in a folder beside the rasters that they describe, as downloads of single scenes come."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote

from stac.hrefs import href_name, href_suffix

_DOCUMENT: Final = frozenset({".json", ".geojson"})
_STAC: Final = re.compile(r"([-_.](stac([-_.]?item)?|item))?([-_.]v[0-9])?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemBeside:
    """An Item in a folder, and the rasters there that it describes."""

    feature: Mapping[str, Any]
    """Decoded JSON; its rasters are those of the folder."""
    href: str
    """Path or URL of its document."""
    files: tuple[str, ...]
    """Paths or URLs of its rasters."""


def find_items(rasters: Sequence[str], files: Sequence[str], read: Callable[[str], bytes]) -> list[ItemBeside]:
    """Find the Items whose assets lie in the same folder, in the order of the rasters; each raster is of one Item.

    A document is looked at where the name of a raster begins with its own (``x.json`` or ``x.stac.json`` beside ``x.tif`` or
    ``x_B02.tif``). What is no Item, or names none of the rasters, is something else and is left alone. The Item's href may lead
    elsewhere: it is the file of that name that is read.

    Parameters
    ----------
    rasters
        Paths or URLs, all in one folder.
    files
        Paths or URLs of all that lies there.
    read
        Reads one of them.
    """
    by_name = {href_name(raster): raster for raster in rasters}
    stems = [name.casefold() for name in by_name]
    found: dict[int, ItemBeside] = {}
    taken: set[str] = set()
    for href in sorted(file for file in files if href_suffix(file) in _DOCUMENT):
        stem = _STAC.sub("", href_name(href).rpartition(".")[0]).casefold()
        if not stem or not any(name.startswith(stem) and not name[len(stem)].isalnum() for name in stems):
            continue
        item = _parse_item(read(href), href, {name: file for name, file in by_name.items() if file not in taken})
        if item is not None:
            taken.update(item.files)
            found[min(map(rasters.index, item.files))] = item
    return [found[position] for position in sorted(found)]


def _parse_item(data: bytes, href: str, by_name: Mapping[str, str]) -> ItemBeside | None:
    """The Item of a document with those of its assets that are rasters of the folder; None where it is no such Item."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):  # metadata of some other kind
        return None
    if not isinstance(document, dict) or document.get("type") != "Feature" or "stac_version" not in document:
        return None
    listed = document.get("assets")
    assets: dict[str, Any] = listed if isinstance(listed, dict) else {}
    kept: dict[str, Any] = {}
    files: dict[str, None] = {}
    for key, asset in assets.items():
        told = asset.get("href") if isinstance(asset, dict) else None
        name = unquote(href_name(told)) if isinstance(told, str) else ""
        if name in by_name:
            files[by_name[name]] = None
            kept[key] = {**asset, "href": f"./{quote(name) if '://' in href else name}"}
    return ItemBeside(feature={**document, "assets": kept}, href=href, files=tuple(files)) if files else None
