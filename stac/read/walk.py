"""Items of a static catalogue, found by following its links."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from processor.errors import InputError
from stac.decode import Decoder
from stac.documents import clean_text, describe_old
from stac.hrefs import resolve_href, show_href

MAX_LINKED_BYTES: Final = 32 << 20
"""Largest document that is read."""

_MAX_DEPTH: Final = 32
_READ_AT_ONCE: Final = 8  # documents; the result does not depend on it
_MAX_CATALOGS: Final = 20_000
_CATALOGS: Final = ("Catalog", "Collection")  # no set: what stands as a type may be a list
_FOLLOWED: Final = frozenset({"item", "child"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """The Items of a catalogue."""

    document: dict[str, Any]
    """ItemCollection of the Items, each once, in the order of the links; a child's Items stand where its link does."""
    bases: tuple[str, ...]
    """URL or absolute path of each Item's own document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    """A document of the catalogue."""

    order: tuple[int, ...]
    """Position of every link on the way to it."""
    href: str
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Link:
    order: tuple[int, ...]
    href: str
    is_item: bool
    is_from_here: bool
    """Whether the document that has it is a file of this machine."""


def is_catalog(document: object) -> bool:
    """Whether a document is a STAC Catalog or Collection."""
    return isinstance(document, Mapping) and document.get("type") in _CATALOGS


def walk_catalog(
    document: Mapping[str, Any],
    *,
    base: str,
    read: Callable[[str], bytes],
    max_scenes: int,
    allow_local_files: bool,
    allow: Callable[[Sequence[str]], None] = lambda _: None,
    decoder: Decoder | None = None,
) -> Walked:
    """Follow the ``child`` and ``item`` links of a catalogue to its Items.

    Each document is read once, so cycles end. Hrefs are resolved and refused like those of assets.

    Parameters
    ----------
    document
        The Catalog or Collection.
    base
        Its URL or absolute path; a folder ends with ``/``.
    read
        Reads an absolute path or URL, at most :data:`MAX_LINKED_BYTES`; called from several threads.
    max_scenes
        Largest number of Items.
    allow_local_files
        Whether a document from a URL may link to files of this machine.
    allow
        Told, before they are read, which URLs documents of this machine link to.
    decoder
        Of what is read; default: one of its own.

    Raises
    ------
    InputError
        Naming the document, and what to do.
    StorageError
        If storage or the network failed.
    """
    decoder, seen = decoder or Decoder(), {base}
    level = [_Node(order=(), href=base, document=document)]
    found: list[_Node] = []
    catalogs = 1
    pool = ThreadPoolExecutor(max_workers=_READ_AT_ONCE)
    try:
        for _ in range(_MAX_DEPTH):
            links = [link for node in level for link in _list_links(node, seen, allow_local_files=allow_local_files)]
            leaves = sum(link.is_item for link in links)
            allow([link.href for link in links if link.is_from_here and "://" in link.href])
            _check_count(len(found) + leaves, max_scenes, base)
            _check_catalogs(catalogs + len(links) - leaves, base)
            nodes = []
            for link, data in zip(links, pool.map(read, [link.href for link in links]), strict=True):
                nodes.append(_Node(order=link.order, href=link.href, document=_decode(decoder, data, link.href)))
            found += [node for node in nodes if node.document.get("type") == "Feature"]
            level = [node for node in nodes if node.document.get("type") in _CATALOGS]
            _check_kinds(nodes)
            _check_count(len(found), max_scenes, base)
            catalogs += len(level)
            _check_catalogs(catalogs, base)
            if not level:
                break
        else:
            msg = f"the catalogue {show_href(base)} is more than {_MAX_DEPTH} levels deep: give a part of it"
            raise InputError(msg)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    if not found:
        msg = f"the catalogue {show_href(base)} links to no Item (rel item), nor do its children: give one with Items"
        raise InputError(msg)
    found.sort(key=lambda node: node.order)
    items = {"type": "FeatureCollection", "features": [node.document for node in found]}
    return Walked(document=items, bases=tuple(node.href for node in found))


def _list_links(node: _Node, seen: set[str], *, allow_local_files: bool) -> list[_Link]:
    """Links of a catalogue to documents not seen before, which are added to ``seen``."""
    given = node.document.get("links")
    links = [link for link in given if isinstance(link, Mapping)] if isinstance(given, list) else []
    followed = [(position, link) for position, link in enumerate(links) if link.get("rel") in _FOLLOWED]
    _refuse_api(node, links, has_followed=bool(followed))
    fresh = []
    for position, link in followed:
        try:
            href = resolve_href(
                link.get("href"),
                base=node.href,
                is_remote=not node.href.startswith("/"),
                allow_local_files=allow_local_files,
            )
        except ValueError as error:
            msg = f"{show_href(node.href)}: its {link['rel']} link {error}"
            raise InputError(msg) from error
        if href not in seen:
            seen.add(href)
            order, is_here = (*node.order, position), node.href.startswith("/")
            fresh.append(_Link(order=order, href=href, is_item=link["rel"] == "item", is_from_here=is_here))
    return fresh


def _refuse_api(node: _Node, links: Sequence[Mapping[str, Any]], *, has_followed: bool) -> None:
    """Refuse a STAC API: it does not link to its Items one by one, so a walk would find none or take very long."""
    conforms = node.document.get("conformsTo")
    is_landing_page = isinstance(conforms, list) and any("item-search" in str(uri) for uri in conforms)
    if is_landing_page or (not has_followed and any(link.get("rel") == "items" for link in links)):
        root = next((link.get("href") for link in links if link.get("rel") == "root"), None)
        api = show_href(root if isinstance(root, str) and "://" in root else node.href)
        kind = clean_text(node.document.get("id"))
        hint = f" --collections {kind}" if node.document.get("type") == "Collection" else ""
        msg = f"{show_href(node.href)} is of a STAC API, which is searched, not walked: run --api {api}{hint}"
        raise InputError(msg)


def _check_count(count: int, max_scenes: int, base: str) -> None:
    if count > max_scenes:
        limit = f"--inputs.max_scenes {max_scenes}"
        msg = f"the catalogue {show_href(base)} has {count} Items or more, above {limit}: raise the limit"
        raise InputError(msg)


def _check_catalogs(count: int, base: str) -> None:
    if count > _MAX_CATALOGS:
        msg = f"the catalogue {show_href(base)} has more than {_MAX_CATALOGS} Catalogs in it: give a part of it"
        raise InputError(msg)


def _check_kinds(nodes: Sequence[_Node]) -> None:
    for node in nodes:
        kind = node.document.get("type")
        if kind != "Feature" and kind not in _CATALOGS:
            what = f"of type {clean_text(kind)!r}, neither an Item nor a Catalog nor a Collection: correct the link"
            msg = f"{show_href(node.href)} is {describe_old(node.document) or what}"
            raise InputError(msg)


def _decode(decoder: Decoder, data: bytes, href: str) -> Mapping[str, Any]:
    try:
        document = decoder.decode(data)
    except (ValueError, RecursionError) as error:
        msg = f"{show_href(href)}, which the catalogue links to, is not JSON ({clean_text(error)}): correct the link"
        raise InputError(msg) from error
    if not isinstance(document, dict):
        msg = f"{show_href(href)}, which the catalogue links to, is not a JSON object: correct the link"
        raise InputError(msg)
    return document
