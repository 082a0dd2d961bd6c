"""Objects that are not rasters: read, write once, upload; local files and what fsspec reaches.

A name that exists is complete: local writes go to a hidden ".part" file beside the destination, are synced and then linked
into place; object stores show an object only once it is whole. Without ``overwrite`` a write is create-once, and that holds
between processes and machines:

- local files: hard link, which fails where the name exists. On file systems without hard links the name is reserved first
  (an empty file for a moment), then replaced.
- ``s3://``: ``If-None-Match: *`` on the request that completes the object. A server that ignores the header overwrites.
- ``gs://``: generation 0 as a precondition.
- ``memory://`` (tests): within the process.
- ``http(s)://`` is read only.

Writing the same bytes again is not an error, so that a task that was killed after its write can be repeated.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, cast

import fsspec

from processor.errors import ExistsError, InputError
from processor.storage.urls import (
    Place,
    is_absence,
    join_url,
    local_path,
    parse_url,
    parse_writable_url,
    redact_url,
    storage_errors,
)

if sys.platform != "win32":
    import fcntl

__all__ = ["Store", "Written", "iter_file", "join_url", "local_path", "redact_url", "storage_errors"]

_CHUNK: Final = 8 << 20  # bytes read or hashed at once
_PART: Final = 16 << 20  # bytes of a part of an upload; S3 allows 10,000 parts
_UPLOADS_AT_ONCE: Final = 4  # parts in flight: bounds memory to 64 MiB for objects below 144 GB
_LEFTOVER: Final = re.compile(r"\..+\.[0-9a-f]{16}\.part")
_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EXDEV})


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written.

    size: bytes.
    sha256: lower-case hex digest of the bytes.
    """

    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Every object the program reads or writes that is not read through GDAL.

    options: fsspec storage options for each protocol ("s3", "gs", "http"); may hold credentials.
    """

    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

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
        with storage_errors(url):
            if place.protocol == "file":
                return Path(place.path).is_file()
            try:
                return str(self._filesystem(place).info(place.path)["type"]) == "file"
            except FileNotFoundError as error:
                if is_absence(error):
                    return False
                raise

    def read_bytes(self, url: str, *, max_bytes: int) -> bytes:
        """Read a whole object of at most ``max_bytes`` bytes.

        Raises
        ------
        InputError
            There is no such object, access is denied, or it is larger.
        StorageError
            Storage or the network failed.
        """
        with self.open_stream(url) as stream:
            data = stream.read(max_bytes + 1)
        if len(data) > max_bytes:
            msg = f"{redact_url(url)} is larger than the {max_bytes} bytes allowed for it; check that it is the right object"
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
            if place.protocol == "file":
                with Path(place.path).open("rb") as file:
                    yield file
            else:
                with self._filesystem(place).open(place.path, "rb") as stream:
                    yield cast("BinaryIO", stream)

    def write_bytes(self, url: str, data: bytes, *, overwrite: bool = False, content_type: str | None = None) -> Written:
        """Write an object; create-once unless ``overwrite``.

        Returns
        -------
        Size and digest; also when the object was there already with the same bytes.

        Raises
        ------
        ExistsError
            The object exists with other bytes.
        ConfigError
            The URL cannot be written.
        InputError
            Access is denied.
        StorageError
            Storage or the network failed.
        """
        place = parse_writable_url(url)
        if place.protocol == "file":
            return self._write_local(url, [data], overwrite=overwrite)
        written = Written(size=len(data), sha256=hashlib.sha256(data).hexdigest())
        filesystem = self._filesystem(place)
        mode = _mode(overwrite=overwrite)
        kwargs = _content_type(place, content_type)
        return self._create(url, written, lambda: filesystem.pipe_file(place.path, data, mode=mode, **kwargs))

    def upload_file(
        self,
        path: str | os.PathLike[str],
        url: str,
        *,
        overwrite: bool = False,
        content_type: str | None = None,
        written: Written | None = None,
    ) -> Written:
        """Publish a local file as an object, in parts where it is large; create-once unless ``overwrite``.

        Parameters
        ----------
        path
            The local file, which must never change again: on one file system the object is another name of it where its
            size and digest are known.
        url
            The destination.
        overwrite
            Whether an object of that name may be replaced.
        content_type
            IANA media type, for stores that keep one.
        written
            Size and digest of the file where they are known, so that it is not read twice.

        Returns
        -------
        Size and digest; also when the object was there already with the same bytes.

        Raises
        ------
        ExistsError
            The object exists with other bytes.
        ConfigError
            The URL cannot be written.
        InputError
            The file does not exist, or access is denied.
        StorageError
            Storage or the network failed.
        """
        place, source = parse_writable_url(url), os.fspath(path)
        if place.protocol == "file":
            if written is not None and self._link_local(source, url, written, overwrite=overwrite):
                return written
            return self._write_local(url, iter_file(source), overwrite=overwrite)
        known = written if written is not None else _digest(iter_file(source))
        filesystem, mode = self._filesystem(place), _mode(overwrite=overwrite)
        kwargs = _content_type(place, content_type) | _parts(place, known.size)
        return self._create(url, known, lambda: filesystem.put_file(source, place.path, mode=mode, **kwargs))

    def _filesystem(self, place: Place) -> Any:  # fsspec has no types
        """Make, or find again, the fsspec filesystem of a place; listings are never cached, so absence is never stale."""
        options = dict(self.options.get(place.protocol, {}))
        if place.protocol != "memory":
            options.setdefault("use_listings_cache", False)
        return fsspec.filesystem(place.protocol, **options)

    def _write_local(self, url: str, chunks: Iterable[bytes], *, overwrite: bool) -> Written:
        """Write a local file atomically; an existing one with the same bytes is left as it is."""
        with storage_errors(url):
            destination = local_path(url)
            destination.parent.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(destination.parent)
            with _part_file(destination) as (part, stream):
                written = _digest(chunks, stream)
                stream.flush()
                os.fsync(stream.fileno())
                self._create(url, written, lambda: _place_part(part, destination, overwrite=overwrite))
            _sync_folder(destination.parent)
        return written

    def _link_local(self, source: str, url: str, written: Written, *, overwrite: bool) -> bool:
        """Give a finished local file another name; False where the destination is on another file system."""
        with storage_errors(url):
            destination = local_path(url)
            destination.parent.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(destination.parent)
            try:
                with _part_link(source, destination) as part:
                    self._create(url, written, lambda: _place_part(part, destination, overwrite=overwrite))
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                return False
            _sync_folder(destination.parent)
        return True

    def _create(self, url: str, written: Written, put: Callable[[], object]) -> Written:
        """Run a write; where the name was taken, forgive it if it holds these bytes."""
        try:
            with storage_errors(url):
                put()
        except ExistsError:
            if not self._holds(url, written):
                raise
        return written

    def _holds(self, url: str, written: Written) -> bool:
        """Whether the object at the URL has these bytes."""
        with self.open_stream(url) as stream:
            return _digest(_iter_stream(stream)) == written


def iter_file(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """Yield the bytes of a local file in pieces of 8 MiB.

    Raises
    ------
    InputError
        The file does not exist or may not be read.
    StorageError
        Reading failed.
    """
    with storage_errors(os.fspath(path)), Path(path).open("rb") as stream:
        yield from _iter_stream(stream)


def _mode(*, overwrite: bool) -> Literal["overwrite", "create"]:
    """Say "may replace" in fsspec's words."""
    return "overwrite" if overwrite else "create"


def _content_type(place: Place, content_type: str | None) -> dict[str, Any]:
    """Name the media type as each filesystem wants it."""
    key = {"s3": "ContentType", "gs": "content_type"}.get(place.protocol)
    return {key: content_type} if key and content_type else {}


def _parts(place: Place, size: int) -> dict[str, Any]:
    """Choose the parts of an upload such that memory is bounded and there are fewer than 10,000 of them."""
    chunksize = max(_PART, -(-size // 9000 // (1 << 20)) << 20)
    if place.protocol == "s3":
        return {"chunksize": chunksize, "max_concurrency": _UPLOADS_AT_ONCE}
    return {"chunksize": chunksize} if place.protocol == "gs" else {}


def _iter_stream(stream: BinaryIO) -> Iterator[bytes]:
    """Yield what is left of a stream in pieces."""
    while chunk := stream.read(_CHUNK):
        yield chunk


def _digest(chunks: Iterable[bytes], stream: BinaryIO | None = None) -> Written:
    """Measure and hash bytes, and write them where a stream is given."""
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
        if stream is not None:
            stream.write(chunk)
    return Written(size=size, sha256=digest.hexdigest())


@contextmanager
def _part_file(destination: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Open a new hidden file beside the destination, locked as long as it is written; gone afterwards, whatever happens."""
    while True:
        part = destination.with_name(f".{destination.name}.{secrets.token_hex(8)}.part")
        stream = part.open("xb")
        if _lock(stream) and _is_same_file(part, stream):
            break
        stream.close()  # another process took it for a leftover between opening and locking
    try:
        with stream:
            yield part, stream
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _part_link(source: str, destination: Path) -> Iterator[Path]:
    """Link a finished file to a hidden name beside the destination, as :func:`_part_file` makes one."""
    while True:
        part = destination.with_name(f".{destination.name}.{secrets.token_hex(8)}.part")
        part.hardlink_to(source)
        with suppress(FileNotFoundError):
            stream = part.open("rb")
            if _lock(stream) and _is_same_file(part, stream):
                break
            stream.close()  # another writer took it for a leftover between linking and locking
        part.unlink(missing_ok=True)  # the lock is the file's, not the name's: that writer removes only the name it found
    try:
        with stream:
            os.fsync(stream.fileno())
            yield part
    finally:
        part.unlink(missing_ok=True)


def _place_part(part: Path, destination: Path, *, overwrite: bool) -> None:
    """Give a finished part its name."""
    if overwrite:
        part.replace(destination)
        return
    try:
        destination.hardlink_to(part)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        destination.open("xb").close()
        part.replace(destination)


def _remove_leftovers(folder: Path) -> None:
    """Remove the part files of writers that were killed: ours by name, and locked by nobody."""
    for path in folder.glob(".*.part"):
        if _LEFTOVER.fullmatch(path.name):
            with suppress(OSError), path.open("rb") as stream:  # someone else may have removed it, or may own it
                if _lock(stream):
                    path.unlink(missing_ok=True)


def _lock(stream: BinaryIO) -> bool:
    """Lock an open file until it is closed or its process dies; False where another holds it.

    Windows needs no lock: there an open file cannot be removed.
    """
    if sys.platform != "win32":
        try:
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _is_same_file(path: Path, stream: BinaryIO) -> bool:
    """Whether the name still leads to the open file."""
    try:
        return path.stat().st_ino == os.fstat(stream.fileno()).st_ino
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    """Make a new name survive a crash; where folders cannot be synced, nothing is lost but that promise."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
