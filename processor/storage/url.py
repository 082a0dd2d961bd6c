"""Names of objects (URLs, local paths) joined safely and shown without credentials, and the errors of what is behind them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import parse_qs

from processor.errors import ConfigError, ExistsError, InputError, MosaicError, StorageError, UnreadableError
from processor.redaction import hide_secrets, redact_url
from processor.storage.backends import Backend, Http, Local, find_backend, list_protocols
from processor.storage.networks import REFUSAL, is_refusal

HTML_START: Final = 512
"""Bytes that tell a web page."""

_LONGEST: Final = 8192  # characters; a signed URL may have some thousands
_DEEPEST: Final = 256  # folders of a path
_SHOWN: Final = 80  # characters of a name that is refused

CONTAINER: Final = re.compile(r"[A-Za-z0-9$_-]+@")
"""What stands before the account in a URL that names one (:func:`names_account`)."""


class Place(NamedTuple):
    """A URL taken apart."""

    backend: type[Backend]
    """Of its scheme."""
    path: str
    """Local path, or URL that is handed on."""

    @property
    def is_local(self) -> bool:
        """Whether it is a path of this machine."""
        return self.backend.is_local


def join_url(base: str, *parts: str) -> str:
    """Join a folder's URL or path and relative parts, which cannot lead out of it.

    Raises
    ------
    ConfigError
        A part is empty, absolute, has "." or ".." or an empty segment, a backslash or a control character, or, below a URL,
        "?" or "#", which would be read as a query, version or fragment; or the base has those.

    Examples
    --------
    >>> join_url("s3://bucket/run/", "scenes", "a/b.tif")
    's3://bucket/run/scenes/a/b.tif'
    """
    remote = not parse_url(base).is_local
    forbidden = "\\?#" if remote else "\\"
    for part in parts:
        bad_segment = any(segment in {"", ".", ".."} for segment in part.split("/"))
        if bad_segment or any(character in forbidden or not character.isprintable() for character in part):
            msg = (
                f"{part!r} cannot be a path below {redact_url(base)}: it must be relative, without empty segments, '.', '..', "
                f"control characters or any of {forbidden!r}; rename it"
            )
            raise ConfigError(msg)
    if remote and ("?" in base or "#" in base):
        msg = f"{redact_url(base)} has a query or fragment, so nothing can be joined to it; give the folder without it"
        raise ConfigError(msg)
    root = base if base.endswith(("/", "://")) or not base else f"{base}/"
    return root + "/".join(parts)


def holds_credentials(url: str) -> bool:
    """Whether a URL has a user name or password before its host; ``container@account`` is neither."""
    scheme, _, rest = url.partition("://")
    authority = rest.partition("/")[0]
    if names_account(scheme):
        authority = CONTAINER.sub("", authority, count=1) if CONTAINER.match(authority) else authority
    return "@" in authority


def names_account(scheme: str) -> bool:
    """Whether the authority of such URLs may be ``container@account``."""
    backend = find_backend(scheme)
    return backend is not None and backend.names_account


def local_path(url: str) -> Path:
    """Give the local path of a path or ``file://`` URL.

    Raises
    ------
    ConfigError
        It is not local.
    """
    place = parse_url(url)
    if not place.is_local:
        msg = f"{redact_url(url)} is not a local path"
        raise ConfigError(msg)
    return Path(place.path)


def absolute_path(path_or_url: str) -> str:
    """A URL as it is; a path from the root, with neither links nor ".." resolved."""
    return path_or_url if "://" in path_or_url else str(Path(path_or_url).absolute())


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turn foreign errors of storage and network into those of this project, naming the (redacted) URL.

    Raises
    ------
    InputError
        Not found, or access denied: trying again is useless.
    ExistsError
        The name is taken.
    StorageError
        Anything else that storage or the network raises.
    """
    backend = parse_url(url).backend()
    foreign: tuple[type[Exception], ...] = (OSError, *backend.foreign_errors())
    try:
        yield
    except MosaicError:
        raise
    except foreign as error:
        if is_refusal(error):
            msg = f"{redact_url(url)} {REFUSAL}"
            raise UnreadableError(msg) from None
        detail = hide_secrets(backend.describe(error))
        # The original is kept as the cause only where it says nothing that the message had to leave out.
        cause = error if detail == str(error) else None
        name, detail = redact_url(url), f"{type(error).__name__}: {detail}"
        raise {
            "taken": ExistsError(f"{name} exists already and may not be overwritten; choose another name or allow overwriting"),
            "missing": UnreadableError(f"{name} does not exist or is not an object ({detail}); check its name"),
            "denied": describe_denial(url, backend, detail),
            "refused": InputError(f"the server refuses {name} ({detail}); check the storage options ({backend.hint})"),
            "for now": StorageError(f"storage failed for {name} ({detail}); try again later"),
        }[backend.explain(error)] from cause


def describe_denial(url: str, backend: Backend, detail: str) -> UnreadableError:
    """The error of this project for access that is denied: it names the options of credentials, or the signature's end."""
    ended = find_end(url)
    if ended is not None and ended < datetime.now(UTC):
        when = ended.strftime("%Y-%m-%dT%H:%M:%SZ")
        return UnreadableError(f"the signature of {redact_url(url)} ended at {when} ({detail}); fetch the Items anew")
    name = redact_url(url)
    return UnreadableError(
        f"access to {name} is denied ({detail}); check the credentials and the storage options ({backend.hint})"
    )


def find_end(url: str) -> datetime | None:
    """When the signature of a URL ends, as it says itself; None where it has none, or does not say.

    Examples
    --------
    >>> find_end("https://host/a.tif?X-Amz-Date=20240601T000000Z&X-Amz-Expires=3600&X-Amz-Signature=1").isoformat()
    '2024-06-01T01:00:00+00:00'
    """
    query = url.partition("?")[2] if url.startswith(("http://", "https://")) else ""
    given = {name.lower(): values[-1] for name, values in parse_qs(query).items()}
    try:
        for vendor in ("x-amz", "x-goog"):
            if f"{vendor}-date" in given and f"{vendor}-expires" in given:
                start = datetime.strptime(given[f"{vendor}-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
                return start + timedelta(seconds=int(given[f"{vendor}-expires"]))
        if "se" in given and "sig" in given:  # Azure; a day, or an instant
            end = datetime.fromisoformat(given["se"])
            return end.replace(tzinfo=UTC) if end.tzinfo is None else end
        if "expires" in given and "signature" in given:  # CloudFront, S3's second version
            return datetime.fromtimestamp(int(given["expires"]), UTC)
    except (ValueError, OverflowError):  # a signature that nobody understands ends at no time
        return None
    return None


def parse_url(url: str) -> Place:
    """Find the protocol of a URL or local path.

    Raises
    ------
    ConfigError
        The scheme is not one of the allowed ones, the URL is one of object storage with a user name or a password, or longer
        than any name is.
    """
    if len(url) > _LONGEST or url.count("/") > _DEEPEST:
        shown = f"{redact_url(url[:_SHOWN])}… has {len(url)} characters and {url.count('/')} slashes"
        msg = f"{shown}: check its name, at most {_LONGEST} and {_DEEPEST} are allowed"
        raise ConfigError(msg)
    scheme, separator, rest = url.partition("://")
    if not separator or "/" in scheme:
        return Place(Local, url)
    backend = find_backend(scheme)
    if backend is None:
        allowed = ", ".join(list_protocols())
        msg = f"{redact_url(url)}: scheme {scheme!r} is not supported; use a local path or one of {allowed}"
        raise ConfigError(msg)
    if not backend.is_local and backend is not Http and holds_credentials(url):  # which clients take for a bucket's name
        msg = f"{redact_url(url)} holds a user name or a password: give credentials as storage options instead"
        raise ConfigError(msg)
    return Place(backend, rest if backend.is_local else url)


def parse_writable_url(url: str) -> Place:
    """Parse the URL of a destination.

    Raises
    ------
    ConfigError
        It is read only or not supported.
    """
    place = parse_url(url)
    if not place.backend.is_writable:
        scheme = url.partition("://")[0]
        msg = (
            f"{redact_url(url)} is read only: {scheme}:// cannot be written; choose a local path or one of "
            f"{', '.join(_name_writable())}"
        )
        raise ConfigError(msg)
    if place.is_local and place.path.startswith("/vsi"):
        msg = f"{url} is a virtual file system of GDAL: give the plain path or one of {', '.join(_name_writable())}"
        raise ConfigError(msg)
    return place


def _name_writable() -> list[str]:
    return [f"{name}://" for name in list_protocols(writable=True, followed=True)]


def describe_html(data: bytes) -> str | None:
    """What a web page is that came in place of what was asked for; None where the bytes do not begin one."""
    start = data[:HTML_START].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return "HTML: a login page?" if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) else None
