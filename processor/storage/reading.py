"""Objects found and read: local files and what fsspec reaches."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar, cast

import fsspec

from processor.errors import ConfigError, InputError
from processor.redaction import redact_url
from processor.storage.backends.base import is_absence
from processor.storage.backends.local import Archive
from processor.storage.options import Access, resolve_access
from processor.storage.renewal import renew_url
from processor.storage.retry import MOST_ROUNDS, repeat
from processor.storage.url import parse_url, storage_errors

T = TypeVar("T")

_PIECE: Final = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """What storage tells of an object without reading it."""

    size: int | None
    """Bytes, or None."""
    version: str | None
    """Entity tag, generation or time of change, whichever it tells; None where it tells none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadStore:
    """Every object the program reads that is not read through GDAL."""

    access: Access = field(default_factory=resolve_access)
    """How storage is reached; default: as the environment says."""

    def exists(self, url: str) -> bool:
        """Whether an object (not a folder) has this name.

        Raises
        ------
        StorageError
            Storage does not answer: that is no proof of absence.
        InputError
            Access is denied.
        """
        place = parse_url(url)

        def ask() -> bool:
            if place.is_local:
                return Path(place.path).is_file()
            try:
                filesystem, path = find_object(url, self.access)
                return str(filesystem.info(path)["type"]) == "file"
            except FileNotFoundError as error:
                if is_absence(error):
                    return False
                raise

        return self._retry(url, ask)

    def describe(self, url: str) -> ObjectInfo:
        """Size and version of an object; errors as of :meth:`open_stream`."""
        place = parse_url(url)
        if place.is_local:
            with storage_errors(url):
                status = Path(place.path).stat()
            return ObjectInfo(size=status.st_size, version=str(status.st_mtime_ns))

        def ask() -> Mapping[str, Any]:
            filesystem, path = find_object(url, self.access)
            return cast("Mapping[str, Any]", filesystem.info(path))

        info = self._retry(url, ask)
        known = (info.get(key) for key in ("ETag", "etag", "md5Hash", "generation", "LastModified", "Last-Modified", "CRC"))
        version = next((str(value).strip('"') for value in known if value), None)
        return ObjectInfo(size=info.get("size"), version=version)

    def list_objects(self, url: str) -> list[str]:
        """URLs of the objects directly in a folder.

        Raises
        ------
        InputError
            Access is denied, or there is no such folder.
        StorageError
            Storage or the network failed.
        """
        return self._list(url, lambda filesystem, path: filesystem.ls(path, detail=True))

    def glob(self, pattern: str) -> list[str]:
        """URLs of the objects that a pattern matches; errors as of :meth:`list_objects`."""
        return self._list(pattern, lambda filesystem, path: filesystem.glob(path, detail=True).values())

    def _list(self, url: str, ask: Callable[[Any, str], Iterable[Mapping[str, Any]]]) -> list[str]:
        def find() -> list[str]:
            filesystem = find_filesystem(url, self.access)
            entries = ask(filesystem, parse_url(url).path)
            return [str(filesystem.unstrip_protocol(entry["name"])) for entry in entries if entry["type"] == "file"]

        return self._retry(url, find)

    def _retry(self, url: str, call: Callable[[], T]) -> T:
        """Repeat what failed for now, once its protocol's client has given up; its errors become those of this project."""
        backend = parse_url(url).backend

        def attempt() -> T:
            with storage_errors(url):
                return call()

        times = 0 if backend.is_steady else self.access.retries
        with self.access.watch(url):
            return repeat(attempt, times=min(times, MOST_ROUNDS) if backend.repeats else times)

    def read_bytes(self, url: str, *, max_bytes: int, remedy: str = "check that it is the right object") -> bytes:
        """Read a whole object of at most ``max_bytes`` bytes; ``remedy`` is what to do about one that is larger.

        Raises
        ------
        InputError
            It is larger; other errors as of :meth:`open_stream`.
        """

        def read() -> bytes:
            with self.open_stream(url) as stream:
                return _read_whole(stream, max_bytes + 1)

        data = self._retry(url, read)
        if len(data) > max_bytes:
            msg = f"{redact_url(url)} is larger than the {max_bytes} bytes allowed for it; {remedy}"
            raise InputError(msg)
        return data

    @contextmanager
    def open_stream(self, url: str) -> Iterator[BinaryIO]:
        """Open an object for reading; errors inside the block are wrapped as those of this module.

        Raises
        ------
        InputError
            There is no such object, or access is denied.
        StorageError
            Storage or the network failed.
        """
        place = parse_url(url)
        with storage_errors(url):
            if place.is_local:
                with Path(place.path).open("rb") as file:
                    yield file
            else:
                filesystem, path = find_object(url, self.access)
                with filesystem.open(path, "rb") as stream:
                    if (getattr(stream, "details", None) or {}).get("type") == "directory":  # which s3fs reads as nothing
                        raise IsADirectoryError(url)
                    try:
                        yield cast("BinaryIO", stream)
                    except IndexError as error:  # s3fs looks for a number in a time-out that holds none
                        if isinstance(error.__context__, OSError):
                            raise error.__context__ from None
                        raise


def _read_whole(stream: BinaryIO, most: int) -> bytes:
    """Read a stream to its end, or so many bytes of it; a read may give fewer than it is asked for.

    Raises
    ------
    OSError
        It ended before it had given what it said it has.
    """
    pieces, missing = [], most
    while missing and (piece := stream.read(min(missing, _PIECE))):
        pieces.append(piece)
        missing -= len(piece)
    size = getattr(stream, "size", None)
    if missing and isinstance(size, int) and most - missing < size:
        msg = f"it ended after {most - missing} of {size} bytes"
        raise ConnectionResetError(msg)
    return b"".join(pieces)


def find_filesystem(url: str, access: Access) -> Any:  # fsspec has no types
    """Make, or find again, the fsspec filesystem that holds a URL.

    Raises
    ------
    ConfigError
        The package that speaks the protocol is not installed.
    """
    try:
        return access.of(url).make_filesystem(access.fsspec_options(url))
    except ImportError as error:
        msg = f"{url.partition('://')[0]}:// cannot be read: {error}"
        raise ConfigError(msg) from error


def find_object(url: str, access: Access) -> tuple[Any, str]:
    """The fsspec filesystem that holds an object, and the object's name there.

    A member of an archive is named ``zip://member::archive``, the archive by its path or URL.

    Raises
    ------
    ConfigError
        The package that speaks the protocol is not installed, or the archive has no name.
    """
    place = parse_url(renew_url(url))
    if place.backend is not Archive:
        return find_filesystem(url, access), place.path
    member, _, archive = place.path.partition("://")[2].partition("::")
    if not member or not archive:
        msg = f"{redact_url(url)}: name a member of an archive and the archive, as zip://member.tif::s3://bucket/archive.zip"
        raise ConfigError(msg)
    inner = parse_url(archive).path
    try:
        return fsspec.filesystem("zip", fo=find_filesystem(archive, access).open(inner, "rb")), member
    except zipfile.BadZipFile as error:
        msg = f"{redact_url(archive)} is no zip archive: {error}"
        raise InputError(msg) from error
