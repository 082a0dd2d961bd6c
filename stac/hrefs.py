"""Hrefs in documents from strangers: which ones are read, and how relative ones are resolved.

A resolved href begins with ``/`` or with an allowed ``scheme://``. GDAL therefore never reads a driver's prefix
(``GTIFF_DIR:…``), inline XML (``<VRT…``) or a virtual file system (``/vsi…``) out of one.
"""

from __future__ import annotations

import os
import posixpath
import re
from typing import Final
from urllib.parse import quote, unquote

from processor.redaction import is_credential, redact_url
from processor.storage.backends import list_protocols
from processor.storage.url import CONTAINER, holds_credentials, names_account

MAX_HREF_LENGTH: Final = 8192
"""Characters; the longest signed URLs have about 3,000."""

_SHOWN_LENGTH: Final = 200
_MEMORY: Final = "memory"
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_AUTHORITY: Final = re.compile(r"[A-Za-z0-9._~-]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?")
_FORBIDDEN: Final = re.compile(r'[\\<>"]')


NOWHERE: Final = "-"
"""Base of a document that was read from no place, such as standard input: relative hrefs lead nowhere from it."""


def resolve_href(href: object, *, base: str, is_remote: bool, allow_local_files: bool) -> str:
    """Make an href absolute, and refuse one that its document may not use.

    Relative hrefs may climb (``../``), as those of static catalogs do, but a relative href in a remote document stays on the
    document's host or in its bucket. A path that begins with ``/`` is a file of this machine.

    Parameters
    ----------
    href
        As the document has it.
    base
        URL or absolute path of the document, or :data:`NOWHERE`; a folder ends with ``/``.
    is_remote
        Whether the document is a stranger's: read from a URL or standard input.
    allow_local_files
        Whether a remote document may name files of this machine.

    Returns
    -------
    str
        An absolute local path, or a URL of one whose scheme is followed (in tests, of ``memory`` too).

    Raises
    ------
    ValueError
        The end of a sentence: the href without its secrets, and what is allowed.

    Examples
    --------
    >>> resolve_href("../b/2.tif", base="s3://bucket/a/items.json", is_remote=True, allow_local_files=False)
    's3://bucket/b/2.tif'
    """
    if not isinstance(href, str) or not href:
        msg = "has no href: give the path or URL of the raster"
        raise ValueError(msg)
    _check_characters(href)
    scheme, is_url, rest = href.partition("://")
    if is_url and _SCHEME.fullmatch(scheme):
        href = href.replace(" ", "%20") if scheme.lower() in {"http", "https"} else href
        rest = href.partition("://")[2]
        path_or_url = _parse_url(scheme.lower(), rest, href, in_memory=base.startswith(f"{_MEMORY}://"))
    elif ":" in href.partition("/")[0]:
        msg = f"href {show_href(href)} is neither a path nor a URL: use one of {_listed_schemes()}, or ./ before a file name"
        raise ValueError(msg)
    elif href.startswith("//"):
        msg = f"href {show_href(href)} names no scheme: write it out, for example https:{show_href(href)}"
        raise ValueError(msg)
    elif href.startswith("/"):
        path_or_url = href
    else:
        return _join(base, href)
    if not path_or_url.startswith("/"):
        return path_or_url
    if is_remote and not allow_local_files:
        msg = (
            f"href {show_href(href)} is a file of this machine, which a document from a URL or standard input may not name: "
            "use a relative href or a URL, or set --inputs.allow_local_files true if you trust the document"
        )
        raise ValueError(msg)
    return _parse_local(path_or_url)


def is_absolute(href: str) -> bool:
    """Whether an href is a URL or an absolute path."""
    return href.startswith("/") or "://" in href


def show_href(href: str) -> str:
    """An href for messages: printable, without credentials, at most 200 characters."""
    href = "".join(character if character.isprintable() else "?" for character in redact_url(href))
    return href if len(href) <= _SHOWN_LENGTH else f"{href[:_SHOWN_LENGTH]}…"


def href_suffix(href: str) -> str:
    """Lower-case file suffix of an href, without its query; empty where there is none.

    Examples
    --------
    >>> href_suffix("https://host/a.TIF?sig=b.c")
    '.tif'
    """
    stem, dot, suffix = href_name(href).rpartition(".")
    return f".{suffix.lower()}" if stem and dot else ""


def href_name(href: str) -> str:
    """Last segment of an href's path; for ``zip://member::archive`` that of the member."""
    if href.startswith("zip://"):
        href = href.partition("::")[0]
    is_http = href.lower().startswith(("http://", "https://"))
    return (_split_query(href)[0] if is_http else href).rpartition("/")[2]


def publish_href(href: str) -> str:
    """An href for publishing: an absolute URI without user name, fragment, signature and token.

    Examples
    --------
    >>> publish_href("https://host/a.tif?file=3&X-Amz-Signature=abc")
    'https://host/a.tif?file=3'
    """
    scheme, is_url, rest = href.partition("://")
    if not is_url:
        return f"file://{quote(href)}"
    authority, slash, path = rest.partition("/")
    path, query = _split_query(path) if scheme in {"http", "https"} else (path, "")
    kept = [
        pair
        for pair in query.removeprefix("?").partition("#")[0].split("&")
        if pair and not is_credential(pair.partition("=")[0])
    ]
    authority = authority if not holds_credentials(href) else authority.rpartition("@")[2]
    plain = f"{scheme}://{authority}{slash}{path}{'?' if kept else ''}{'&'.join(kept)}"
    return plain.replace(" ", "%20")


def drop_signature(href: str) -> str:
    """A URL without user name, signature and token; a path, or a URL without any, as it is.

    Examples
    --------
    >>> drop_signature("https://host/a.tif?file=3&sig=abc"), drop_signature("a.tif?sig=abc")
    ('https://host/a.tif?file=3', 'a.tif?sig=abc')
    """
    if "://" not in href:
        return href
    plain = publish_href(href)
    return href if plain == href.replace(" ", "%20") else plain


def _check_characters(href: str) -> None:
    if len(href) > MAX_HREF_LENGTH:
        msg = f"href {show_href(href)} has {len(href)} characters: at most {MAX_HREF_LENGTH} are allowed"
        raise ValueError(msg)
    if not href.isprintable() or _FORBIDDEN.search(href):
        msg = f'href {show_href(href)} holds a control character or one of \\ < > ": remove or percent-encode it'
        raise ValueError(msg)


def _parse_url(scheme: str, rest: str, href: str, *, in_memory: bool) -> str:
    """Check a URL; the path of a ``file:`` URL."""
    authority, _, path = rest.partition("/")
    if scheme not in list_protocols(followed=True) and not (in_memory and scheme == _MEMORY):
        msg = f"href {show_href(href)} has the scheme {scheme!r}: use one of {_listed_schemes()}"
        raise ValueError(msg)
    if holds_credentials(href):
        msg = f"href {show_href(href)} holds a user name or a password: give credentials through the storage options instead"
        raise ValueError(msg)
    if scheme == "file":
        if authority not in {"", "localhost"}:
            msg = f"href {show_href(href)} is a file of another machine: write file:///path"
            raise ValueError(msg)
        return f"/{unquote(path)}"
    if not _AUTHORITY.fullmatch(CONTAINER.sub("", authority, count=1) if names_account(scheme) else authority):
        what = "host" if scheme.startswith("http") else "bucket"
        msg = f"href {show_href(href)} names no valid {what}: write {scheme}://{what}/path"
        raise ValueError(msg)
    return f"{scheme}://{authority}/{_remove_dot_segments(scheme, path)}"


def _parse_local(path: str) -> str:
    """Normalise an absolute path, and refuse GDAL's virtual file systems."""
    _check_characters(path)  # again: percent-encoding in a file: URL may have hidden some
    path = "/" + posixpath.normpath(path).lstrip("/")
    if path.lower().startswith("/vsi"):
        msg = f"href {show_href(path)} is a virtual file system of GDAL: use the plain path or one of {_listed_schemes()}"
        raise ValueError(msg)
    plain = unquote(path)
    # Written as a URI, as catalogues on disk do.
    if plain != path and not os.path.exists(path) and os.path.exists(plain):  # noqa: PTH110 - too long a name is no file
        return _parse_local(plain)
    return path


def _join(base: str, href: str) -> str:
    """Resolve a relative href against the URL or path of its document."""
    if base == NOWHERE:
        msg = (
            f"href {show_href(href)} is relative, and what comes on standard input lies nowhere: use a URL, or set "
            "--inputs.allow_local_files true to start from the working folder, if you trust the document"
        )
        raise ValueError(msg)
    scheme, is_url, rest = base.partition("://")
    if not is_url or scheme.lower() == "file":
        folder = (unquote(rest) if is_url else base).rpartition("/")[0]
        return _parse_local(f"{folder}/{href}")
    if scheme in {"http", "https"}:
        href, rest = href.replace(" ", "%20"), rest.replace(" ", "%20")
    authority, _, path = rest.partition("/")
    path = _split_query(path)[0] if scheme in {"http", "https"} else path
    folder = path.rpartition("/")[0]
    return f"{scheme}://{authority}/{_remove_dot_segments(scheme, f'{folder}/{href}' if folder else href)}"


def _remove_dot_segments(scheme: str, path: str) -> str:
    """Remove ``.`` and ``..`` (RFC 3986, 5.2.4) from a URL's path; empty segments stay, because object keys may have them."""
    path, query = _split_query(path) if scheme in {"http", "https"} else (path, "")
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == ".." and not kept:
            msg = "has an href that climbs with ../ above its host or bucket: write the whole URL"
            raise ValueError(msg)
        if segment == "..":
            kept.pop()
        elif segment != ".":
            kept.append(segment)
    return "/".join(kept) + query


def _split_query(path: str) -> tuple[str, str]:
    """Split a path from its query and fragment, which keep their ``?`` and ``#``."""
    end = min((position for position in (path.find("?"), path.find("#")) if position >= 0), default=len(path))
    return path[:end], path[end:]


def _listed_schemes() -> str:
    return ", ".join(f"{scheme}://" for scheme in list_protocols(followed=True))
