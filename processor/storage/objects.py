"""Objects that are not rasters: read, write once, upload; local files and what fsspec reaches.

A name that exists is complete: local writes go to a hidden ".part" file beside the destination, are synced and then linked
into place; object stores show an object only once it is whole. Without ``overwrite`` a write is create-once, and that holds
between processes and machines:

- local files: hard link, which fails where the name exists. On file systems without hard links the name is reserved first
  (an empty file for a moment), then replaced.
- ``s3://``: ``If-None-Match: *`` on the request that completes the object. A server that ignores the header overwrites.
- ``gs://``: generation 0 as a precondition.
- ``memory://`` (tests): within the process.
- ``http(s)://`` and other protocols of fsspec are read only.

Requests that failed for now are repeated, with growing and random pauses: to S3 and GCS by their clients, to others here.

Writing the same bytes again is not an error, so that a task that was killed after its write can be repeated.
"""

from __future__ import annotations

import errno
import hashlib
import os
import random
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, TypeVar, cast

import fsspec

from processor.errors import ConfigError, ExistsError, InputError, MosaicError, StorageError
from processor.storage.access import Access, resolve_access
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

__all__ = [
    "ObjectInfo",
    "Store",
    "Written",
    "find_filesystem",
    "iter_file",
    "join_url",
    "local_path",
    "redact_url",
    "storage_errors",
]

T = TypeVar("T")

_CHUNK: Final = 8 << 20  # bytes read or hashed at once
_PART: Final = 16 << 20  # bytes of a part of an upload; S3 allows 10,000 parts
_UPLOADS_AT_ONCE: Final = 4  # parts in flight: bounds memory to 64 MiB for objects below 144 GB
_RETRYING: Final = frozenset({"file", "memory", "s3", "gs"})
"""Protocols whose clients repeat requests themselves, or need not."""

_LONGEST_PAUSE: Final = 15.0  # seconds
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
class ObjectInfo:
    """What storage tells of an object without reading it.

    size: bytes, or None.
    version: entity tag, generation or time of change, whichever it tells; None where it tells none.
    """

    size: int | None
    version: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Every object the program reads or writes that is not read through GDAL.

    access: how storage is reached; default: as the environment says.
    """

    access: Access = field(default_factory=resolve_access)

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
        if place.protocol == "file":
            with storage_errors(url):
                return Path(place.path).is_file()
        return self._retry(place, lambda: self._find(place, url))

    def _find(self, place: Place, url: str) -> bool:
        with storage_errors(url):
            try:
                return str(self._filesystem(place).info(place.path)["type"]) == "file"
            except FileNotFoundError as error:
                if is_absence(error):
                    return False
                raise

    def describe(self, url: str) -> ObjectInfo:
        """Size and version of an object.

        Raises
        ------
        InputError
            There is no such object, or access is denied.
        StorageError
            Storage or the network failed.
        """
        place = parse_url(url)
        if place.protocol == "file":
            with storage_errors(url):
                status = Path(place.path).stat()
            return ObjectInfo(size=status.st_size, version=str(status.st_mtime_ns))

        def ask() -> Mapping[str, Any]:
            with storage_errors(url):
                return cast("Mapping[str, Any]", self._filesystem(place).info(place.path))

        info = self._retry(place, ask)
        known = (info.get(key) for key in ("ETag", "etag", "md5Hash", "generation", "LastModified", "Last-Modified"))
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
        place = parse_url(url)
        with storage_errors(url):
            filesystem = self._filesystem(place)
            entries = filesystem.ls(place.path, detail=True)
            return [str(filesystem.unstrip_protocol(entry["name"])) for entry in entries if entry["type"] == "file"]

    def glob(self, pattern: str) -> list[str]:
        """URLs of the objects that a pattern matches.

        Raises
        ------
        InputError
            Access is denied.
        StorageError
            Storage or the network failed.
        """
        place = parse_url(pattern)
        with storage_errors(pattern):
            filesystem = self._filesystem(place)
            entries = filesystem.glob(place.path, detail=True).values()
            return [str(filesystem.unstrip_protocol(entry["name"])) for entry in entries if entry["type"] == "file"]

    def remove(self, url: str) -> None:
        """Remove an object; one that is gone already is no error.

        Raises
        ------
        InputError
            Access is denied.
        StorageError
            Storage or the network failed.
        """
        place = parse_writable_url(url)
        with storage_errors(url):
            if place.protocol == "file":
                Path(place.path).unlink(missing_ok=True)
            else:
                with suppress(FileNotFoundError):
                    self._filesystem(place).rm_file(place.path)

    def _retry(self, place: Place, call: Callable[[], T]) -> T:
        """Repeat what failed for now, where the protocol's client does not do that itself."""
        attempts = 0 if place.protocol in _RETRYING else self.access.retries
        for attempt in range(attempts):
            try:
                return call()
            except StorageError:
                time.sleep(random.uniform(0.5, 1.0) * min(_LONGEST_PAUSE, 0.5 * 2**attempt))  # noqa: S311 - not a secret
        return call()

    def read_bytes(self, url: str, *, max_bytes: int) -> bytes:
        """Read a whole object of at most ``max_bytes`` bytes.

        Raises
        ------
        InputError
            There is no such object, access is denied, or it is larger.
        StorageError
            Storage or the network failed.
        """

        def read() -> bytes:
            with self.open_stream(url) as stream:
                return stream.read(max_bytes + 1)

        data = self._retry(parse_url(url), read)
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
        created = self._create(url, known, lambda: filesystem.put_file(source, place.path, mode=mode, **kwargs))
        if place.protocol == "s3" and known.size >= 2 * _part_size(known.size):
            self._abort_uploads(place)
        return created

    def write_stream(
        self,
        url: str,
        chunks: Iterable[bytes],
        *,
        overwrite: bool = False,
        content_type: str | None = None,
        largest: int = 0,
    ) -> Written:
        """Write an object from its pieces, in parts, hashing them on the way; no more than two parts are in memory.

        Where it fails or is interrupted, its upload is aborted and nothing has the name.

        Parameters
        ----------
        url
            The destination.
        chunks
            The bytes, in order.
        overwrite
            Whether an object of that name may be replaced.
        content_type
            IANA media type, for stores that keep one.
        largest
            Size that the object may have at most, bytes, from which the size of the parts follows.

        Returns
        -------
        Size and digest; also when the object was there already with the same bytes.

        Raises
        ------
        ExistsError
            The object exists with other bytes.
        ConfigError, InputError, StorageError
            As :meth:`upload_file`.
        """
        place = parse_writable_url(url)
        if place.protocol == "file":
            return self._write_local(url, chunks, overwrite=overwrite)
        digest, size = hashlib.sha256(), 0
        kwargs = {} if place.protocol == "memory" else _content_type(place, content_type)
        mode = "wb" if overwrite or place.protocol == "memory" else "xb"
        block = _part_size(largest)
        try:
            with storage_errors(url):
                target = self._filesystem(place).open(place.path, mode, block_size=block, **kwargs)
                try:
                    for chunk in chunks:
                        digest.update(chunk)
                        size += len(chunk)
                        target.write(chunk)
                    target.close()
                except BaseException:
                    _discard(target)
                    raise
        except ExistsError:
            written = Written(size=size, sha256=digest.hexdigest())
            if not self._holds(url, written):
                raise
        return Written(size=size, sha256=digest.hexdigest())

    def _filesystem(self, place: Place) -> Any:  # fsspec has no types
        """Make, or find again, the fsspec filesystem of a place."""
        return find_filesystem(place.protocol, self.access)

    def _abort_uploads(self, place: Place) -> None:
        """Abort unfinished uploads of an object that is complete now: they are a dead writer's, or can only fail."""
        filesystem = self._filesystem(place)
        bucket, key, _ = filesystem.split_path(place.path)
        with suppress(OSError):  # whoever may write need not be allowed to list uploads; a lifecycle rule removes them then
            listed = filesystem.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=key)
            for upload in listed.get("Uploads", ()):
                if upload.get("Key") == key:
                    filesystem.call_s3("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload["UploadId"])

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
    chunksize = _part_size(size)
    if place.protocol == "s3":
        return {"chunksize": chunksize, "max_concurrency": _UPLOADS_AT_ONCE}
    return {"chunksize": chunksize} if place.protocol == "gs" else {}


def _part_size(size: int) -> int:
    return max(_PART, -(-size // 9000 // (1 << 20)) << 20)


def _discard(target: Any) -> None:
    """Abort an unfinished upload; what stays behind all the same is removed by the next writer or a lifecycle rule."""
    with suppress(MosaicError), storage_errors(str(target.path)):
        target.discard()
    target.closed = True  # else it would be finished when it is forgotten


def find_filesystem(protocol: str, access: Access) -> Any:  # fsspec has no types
    """Make, or find again, the fsspec filesystem of a protocol.

    Raises
    ------
    ConfigError
        The package that speaks it is not installed.
    """
    try:
        return fsspec.filesystem(protocol, **access.fsspec_options(protocol))
    except ImportError as error:
        msg = f"{protocol}:// cannot be read: {error}"
        raise ConfigError(msg) from error


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
