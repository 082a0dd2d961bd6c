"""Names of objects (URLs, local paths) joined safely and shown without credentials, and the errors of what is behind them."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, cast
from urllib.parse import urlsplit

from processor.errors import ConfigError, ExistsError, InputError, MosaicError, StorageError

__all__ = [
    "Place",
    "is_absence",
    "join_url",
    "local_path",
    "parse_url",
    "parse_writable_url",
    "quieten_gcsfs",
    "redact_url",
    "storage_errors",
]

_PROTOCOLS: Final[Mapping[str, str]] = {
    "abfs": "abfs",
    "abfss": "abfs",
    "az": "abfs",
    "file": "file",
    "gcs": "gs",
    "gs": "gs",
    "hf": "hf",
    "http": "http",
    "https": "http",
    "memory": "memory",
    "s3": "s3",
    "zip": "zip",
}
_WRITABLE: Final = frozenset({"file", "gs", "memory", "s3"})
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")
_UNAUTHORIZED: Final = frozenset({401, 403})
_GONE: Final = frozenset({404, 410})
_PRECONDITION_FAILED: Final = 412


class Place(NamedTuple):
    """A URL taken apart: the protocol of the allowlist and the local path or URL that is handed on."""

    protocol: str
    """Protocol of the allowlist."""
    path: str
    """Local path, or URL that is handed on."""


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
    remote = parse_url(base).protocol != "file"
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


def redact_url(url: str) -> str:
    """Make a URL fit for messages: without user, password, query and fragment, which may hold credentials.

    Examples
    --------
    >>> redact_url("https://me:secret@host/a.tif?X-Amz-Signature=1")
    'https://host/a.tif'
    """
    scheme, separator, _ = url.partition("://")
    if not separator:
        return url
    try:
        parsed = urlsplit(url)
    except ValueError:  # such as an unbalanced bracket in the host
        return f"{scheme}://…"
    return f"{scheme}://{parsed.netloc.rpartition('@')[2]}{parsed.path}"


def local_path(url: str) -> Path:
    """Give the local path of a path or ``file://`` URL.

    Raises
    ------
    ConfigError
        It is not local.
    """
    place = parse_url(url)
    if place.protocol != "file":
        msg = f"{redact_url(url)} is not a local path"
        raise ConfigError(msg)
    return Path(place.path)


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
    foreign: tuple[type[Exception], ...] = (OSError, *_foreign_errors(url))
    try:
        yield
    except MosaicError:
        raise
    except foreign as error:
        detail = _URL.sub(lambda match: redact_url(match[0]), str(error))
        # The original is kept as the cause only where it says nothing that the message had to leave out.
        cause = error if detail == str(error) else None
        raise _translate(redact_url(url), error, f"{type(error).__name__}: {detail}") from cause


def is_absence(error: FileNotFoundError) -> bool:
    """Whether "not found" means that; fsspec says it of any failure over HTTP, with the failure as its cause."""
    cause = error.__cause__
    return not isinstance(cause, Exception) or isinstance(cause, FileNotFoundError) or _status(cause) in _GONE


def _translate(name: str, error: Exception, detail: str) -> MosaicError:
    """Choose the error of this project for a foreign one."""
    if isinstance(error, FileNotFoundError) and isinstance(error.__cause__, Exception) and not is_absence(error):
        error = error.__cause__
    status = _status(error)
    if isinstance(error, FileExistsError) or status == _PRECONDITION_FAILED:
        return ExistsError(f"{name} exists already and may not be overwritten; choose another name or allow overwriting")
    if isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
        return InputError(f"{name} does not exist or is not an object ({detail}); check its name")
    denied = isinstance(error, PermissionError) or status in _UNAUTHORIZED or type(error).__name__ == "NoCredentialsError"
    if denied or str(error).startswith("Forbidden"):  # as gcsfs words status 403
        return InputError(f"access to {name} is denied ({detail}); check the credentials and the storage options (--io.…)")
    if isinstance(error, ValueError):
        return InputError(f"the server refuses {name} ({detail}); check the storage options (--io.…)")
    return StorageError(f"storage failed for {name} ({detail}); try again later")


def _status(error: Exception) -> int | None:
    """Find the HTTP status behind an error of aiohttp, gcsfs or botocore (which s3fs makes the cause of an OSError)."""
    for origin in (error, error.__cause__):
        for attribute in ("status", "code"):
            value = getattr(origin, attribute, None)
            if isinstance(value, int):
                return value
        response = getattr(origin, "response", None)
        if isinstance(response, Mapping):
            return cast("int | None", response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
    return None


def _foreign_errors(url: str) -> tuple[type[Exception], ...]:
    """Name the errors of a protocol's client that are not OSErrors; imports only what the protocol needs anyway."""
    names = {
        "http": (("aiohttp", "ClientError"),),
        "s3": (("botocore.exceptions", "BotoCoreError"), ("botocore.exceptions", "ClientError"), ("aiohttp", "ClientError")),
        "gs": (
            ("builtins", "ValueError"),  # of gcsfs, where the server calls a request bad
            ("aiohttp", "ClientError"),
            ("gcsfs.retry", "HttpError"),
            ("google.auth.exceptions", "GoogleAuthError"),
            ("requests.exceptions", "RequestException"),
        ),
    }
    protocol = parse_url(url).protocol
    if protocol == "gs":
        quieten_gcsfs()
    wanted = names.get(protocol, ())
    return tuple(cast("type[Exception]", getattr(importlib.import_module(module), name)) for module, name in wanted)


def quieten_gcsfs() -> None:
    """Keep gcsfs, which has not been imported yet, from asking buckets for hierarchical namespaces at its first call.

    Servers that speak as Google's do not answer that, and it waits a minute for them.
    """
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")


def parse_url(url: str) -> Place:
    """Find the protocol of a URL or local path.

    Raises
    ------
    ConfigError
        The scheme is not one of the allowed ones.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or "/" in scheme:
        return Place("file", url)
    protocol = _PROTOCOLS.get(scheme.lower())
    if protocol is None:
        msg = f"{redact_url(url)}: scheme {scheme!r} is not supported; use a local path or one of {', '.join(_PROTOCOLS)}"
        raise ConfigError(msg)
    return Place(protocol, rest if protocol == "file" else url)


def parse_writable_url(url: str) -> Place:
    """Parse the URL of a destination.

    Raises
    ------
    ConfigError
        It is read only or not supported.
    """
    place = parse_url(url)
    if place.protocol not in _WRITABLE:
        scheme = url.partition("://")[0]
        msg = f"{redact_url(url)} is read only: {scheme}:// cannot be written; choose a local path, s3:// or gs://"
        raise ConfigError(msg)
    return place
