"""Links between STAC documents: absolute hrefs and relative ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from stac.hrefs import is_absolute

_DOCUMENTS: Final[Mapping[str, str]] = {"item": "application/geo+json", "derived_from": "application/geo+json"}


def absolute_href(href: str, *, base: str) -> str:
    """An href of a document, made absolute.

    Parameters
    ----------
    href
        As the document has it.
    base
        Published URL of the document (``file://`` for a local one).

    Examples
    --------
    >>> absolute_href("../collection.json", base="s3://bucket/out/m/m.json")
    's3://bucket/out/collection.json'
    """
    if is_absolute(href):
        return href
    root, segments = _split(base)
    kept = segments[:-1]
    for segment in href.split("/"):
        if segment == "..":
            kept = kept[:-1]
        elif segment != ".":
            kept.append(segment)
    return f"{root}/{'/'.join(kept)}"


def relative_href(target: str, *, base: str) -> str:
    """Relative href from one document to another; absolute where host or bucket differ.

    Parameters
    ----------
    target
        Published URL of the other document.
    base
        Published URL of the document that holds the href.

    Examples
    --------
    >>> relative_href("s3://bucket/out/collection.json", base="s3://bucket/out/m/m.json")
    '../collection.json'
    """
    root, segments = _split(target)
    base_root, base_segments = _split(base)
    if root != base_root:
        return target
    folder, base_folder = segments[:-1], base_segments[:-1]
    pairs = zip(folder, base_folder, strict=False)
    shared = next((position for position, (one, other) in enumerate(pairs) if one != other), min(len(folder), len(base_folder)))
    up = [".."] * (len(base_folder) - shared)
    return "/".join([*(up or ["."]), *segments[shared:]])


def find_self(document: Mapping[str, Any]) -> str | None:
    """Absolute href of a document's self link; None where it has none."""
    hrefs = (link.get("href") for link in list_links(document) if link.get("rel") == "self")
    return next((href for href in hrefs if isinstance(href, str) and is_absolute(href)), None)


def list_links(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Copies of a document's links; entries that are no objects are left out."""
    links = document.get("links")
    return [dict(link) for link in links if isinstance(link, Mapping)] if isinstance(links, list) else []


def make_link(rel: str, href: str, title: str | None = None) -> dict[str, Any]:
    """A link to a STAC document."""
    link: dict[str, Any] = {"rel": rel, "href": href, "type": _DOCUMENTS.get(rel, "application/json")}
    return {**link, "title": title} if title else link


def is_link_to(link: Mapping[str, Any], rel: str, href: str, *, base: str | None) -> bool:
    """Whether a link of the document at ``base`` leads to an href; relative and absolute forms compare equal."""
    own = link.get("href")
    if link.get("rel") != rel or not isinstance(own, str):
        return False
    if base is None:
        return own.removeprefix("./") == href.removeprefix("./")
    return absolute_href(own, base=base) == absolute_href(href, base=base)


def make_absolute(document: Mapping[str, Any]) -> dict[str, Any]:
    """Copy of a document with absolute hrefs of links and assets; unchanged where it has no self link."""
    base = find_self(document)
    if base is None:
        return dict(document)
    changed = {**document, "links": [_lift(link, base) for link in list_links(document)]}
    assets = document.get("assets")
    if isinstance(assets, Mapping):
        changed["assets"] = {key: _lift(asset, base) for key, asset in assets.items()}
    return changed


def _lift(holder: Mapping[str, Any], base: str) -> dict[str, Any]:
    href = holder.get("href")
    return {**holder, "href": absolute_href(href, base=base)} if isinstance(href, str) else dict(holder)


def _split(url: str) -> tuple[str, list[str]]:
    """Scheme with host or bucket of a URL, and the segments of its path."""
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    return f"{scheme}://{authority}", path.split("/")
