"""Items that lie in a folder beside the rasters that they describe, as downloads of single scenes come."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote

from processor.errors import InputError
from stac.hrefs import href_name, href_suffix, show_href

MAX_BESIDE_BYTES: Final = 512 << 20
"""Of all documents that are looked at in a folder."""

_READ_AT_ONCE: Final = 8  # documents; the result does not depend on it
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
        Reads one of them; called from several threads.

    Raises
    ------
    InputError
        They are too large together.
    """
    by_name = {href_name(raster): raster for raster in rasters}
    order = {raster: position for position, raster in enumerate(rasters)}
    beginnings = {start for name in by_name for start in _list_beginnings(name.casefold())}
    documents = [file for file in sorted(files) if href_suffix(file) in _DOCUMENT and _find_stem(file) in beginnings]
    found: dict[int, ItemBeside] = {}
    taken: set[str] = set()
    size = 0
    with ThreadPoolExecutor(max_workers=_READ_AT_ONCE) as pool:
        for href, data in zip(documents, pool.map(read, documents), strict=True):
            size += len(data)
            if size > MAX_BESIDE_BYTES:
                msg = f"the documents beside {show_href(rasters[0])} have more than {MAX_BESIDE_BYTES} bytes: give the rasters"
                raise InputError(msg)
            item = _parse_item(data, href, by_name, taken)
            if item is not None:
                taken.update(item.files)
                found[min(order[file] for file in item.files)] = item
    return [found[position] for position in sorted(found)]


def _list_beginnings(name: str) -> list[str]:
    """What a name begins with before a character that is no letter or digit."""
    return [name[:end] for end in range(1, len(name)) if not name[end].isalnum()]


def _find_stem(href: str) -> str:
    return _STAC.sub("", href_name(href).rpartition(".")[0]).casefold()


def _parse_item(data: bytes, href: str, by_name: Mapping[str, str], taken: Collection[str]) -> ItemBeside | None:
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
        if name in by_name and by_name[name] not in taken:
            files[by_name[name]] = None
            kept[key] = {**asset, "href": f"./{quote(name) if '://' in href else name}"}
    return ItemBeside(feature={**document, "assets": kept}, href=href, files=tuple(files)) if files else None
