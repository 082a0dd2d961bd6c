"""Objects that are not rasters: read, write once, upload; local files and what fsspec reaches.

A name that exists is complete: local writes go to a hidden ".part" file beside the destination, are synced and then linked
into place; object stores show an object only once it is whole. Without ``overwrite`` a write is create-once, and that holds
between processes and machines:

- local files (:mod:`processor.storage.atomic`): hard link, which fails where the name exists. On file systems without hard
  links the name is reserved first (an empty file for a moment), then replaced.
- ``s3://``: ``If-None-Match: *`` on the request that completes the object. A server that ignores the header overwrites.
- ``gs://``: generation 0 as a precondition.
- ``az://``: ``If-None-Match: *`` on the request that writes the blob or commits its blocks.
- ``memory://`` (tests): within the process.
- ``http(s)://`` and other protocols of fsspec are read only.

Requests that failed for now are repeated, with growing and random pauses: to object stores by their clients, request by
request; here, what failed all the same or has a client that repeats nothing.

Writing the same bytes again is not an error, so that a task that was killed after its write can be repeated.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

from processor.errors import ExistsError, MosaicError
from processor.redaction import redact_url
from processor.storage.atomic import link_file, write_file
from processor.storage.linux import start_writeback
from processor.storage.reading import ReadStore, find_filesystem
from processor.storage.url import Place, local_path, parse_writable_url, storage_errors

_CHUNK: Final = 8 << 20  # bytes read or hashed at once
_SLICE: Final = 256 * 2**10  # bytes written to a local file at once: for more, the kernel takes new pages, not those just freed
_MODES: Final = {True: "overwrite", False: "create"}  # fsspec's words for whether an object may be replaced
_PART: Final = 16 << 20  # bytes of a part of an upload; S3 allows 10,000 parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written."""

    size: int
    """Size of the object, bytes."""
    sha256: str
    """SHA-256 of the object, lower-case hexadecimal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store(ReadStore):
    """Every object the program reads or writes that is not read through GDAL."""

    def check_writable(self, url: str) -> None:
        """Refuse a place in a bucket where nothing may be written, before work is done for it; nothing is left behind.

        Where the storage can tell, it is asked by a request that needs the same right as writing.

        Raises
        ------
        InputError
            Access is denied, or there is no such bucket.
        StorageError
            Storage or the network failed.
        """
        place = parse_writable_url(url)
        if place.is_local:
            return
        self._retry(url, lambda: place.backend().check_writable(find_filesystem(url, self.access), place.path))

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
        if place.is_local:
            return self._write_local(url, [data], overwrite=overwrite)
        filesystem, kwargs = find_filesystem(url, self.access), _content_type(place, content_type)
        put = partial(filesystem.pipe_file, place.path, data, mode=_MODES[overwrite], **kwargs)
        written = _digest([data])
        self._retry(url, partial(self._forgive, url, written, put, overwrite=overwrite))
        return written

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
        InputError
            The file does not exist.
        ExistsError, ConfigError, InputError, StorageError
            As :meth:`write_bytes`.
        """
        place, source = parse_writable_url(url), os.fspath(path)
        if place.is_local:
            if written is not None:
                finish = partial(self._forgive, url, written, overwrite=overwrite)
                with storage_errors(url):
                    if link_file(source, local_path(url), finish, overwrite=overwrite):
                        return written
            return self._write_local(url, iter_file(source), overwrite=overwrite)
        known = written if written is not None else _digest(iter_file(source))
        filesystem = find_filesystem(url, self.access)
        kwargs = _content_type(place, content_type) | place.backend().upload_options(_part_size(known.size))
        if known.size >= _PART and not overwrite and self._is_taken(url, known):
            return known
        put = partial(filesystem.put_file, source, place.path, mode=_MODES[overwrite], **kwargs)
        self._retry(url, partial(self._forgive, url, known, put, overwrite=overwrite))
        return known

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
        ExistsError, ConfigError, InputError, StorageError
            As :meth:`write_bytes`.
        """
        place = parse_writable_url(url)
        if place.is_local:
            return self._write_local(url, chunks, overwrite=overwrite)
        if not overwrite and self.exists(url):
            written = _digest(chunks)
            self._is_taken(url, written)
            return written
        hasher, size = hashlib.sha256(), 0
        creates = place.backend.creates_streams
        kwargs = _content_type(place, content_type) if creates else {}
        mode = "xb" if creates and not overwrite else "wb"
        try:
            with storage_errors(url):
                target = find_filesystem(url, self.access).open(place.path, mode, block_size=_part_size(largest), **kwargs)
                try:
                    for chunk in chunks:
                        hasher.update(chunk)
                        size += len(chunk)
                        target.write(chunk)
                    target.close()
                except BaseException:
                    # What stays behind all the same is removed by the next run (processor.storage.leftovers).
                    with suppress(MosaicError), storage_errors(url):
                        target.discard()
                    target.closed = True  # else it would be finished when it is forgotten
                    raise
        except ExistsError:  # another writer was faster
            written = Written(size=size, sha256=hasher.hexdigest())
            if not self._holds(url, written):
                raise
        return Written(size=size, sha256=hasher.hexdigest())

    def remove(self, url: str) -> None:
        """Remove an object; one that is gone already is no error. Others are as of :meth:`check_writable`."""
        place = parse_writable_url(url)

        def delete() -> None:
            if place.is_local:
                Path(place.path).unlink(missing_ok=True)
            else:
                with suppress(FileNotFoundError):
                    find_filesystem(url, self.access).rm_file(place.path)

        self._retry(url, delete)

    def _write_local(self, url: str, chunks: Iterable[bytes], *, overwrite: bool) -> Written:
        """Write a local file atomically; an existing one with the same bytes is left as it is."""
        written: list[Written] = []

        def fill(stream: BinaryIO) -> None:
            written.append(_write_hashed(chunks, stream))

        with storage_errors(url):
            write_file(
                local_path(url),
                fill,
                lambda place: self._forgive(url, written[0], place, overwrite=overwrite),
                overwrite=overwrite,
            )
        return written[0]

    def _forgive(self, url: str, written: Written, put: Callable[[], object], *, overwrite: bool) -> None:
        """Run a write; where the name was taken, as by an attempt that came through all the same, forgive these bytes."""
        try:
            with storage_errors(url):
                put()
        except ExistsError:
            if overwrite or not self._holds(url, written):
                raise

    def _is_taken(self, url: str, written: Written) -> bool:
        """Whether an object is there already with these bytes, before many of them are sent for nothing.

        Raises
        ------
        ExistsError
            It has others.
        """
        if not self.exists(url):
            return False
        if not self._holds(url, written):
            msg = f"{redact_url(url)} exists already and may not be overwritten; choose another name or allow overwriting"
            raise ExistsError(msg)
        return True

    def _holds(self, url: str, written: Written) -> bool:
        """Whether the object at the URL has these bytes."""

        def compare() -> bool:
            with self.open_stream(url) as stream:
                return _digest(iter(partial(stream.read, _CHUNK), b"")) == written

        return self._retry(url, compare)


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
        yield from iter(partial(stream.read, _CHUNK), b"")


def _content_type(place: Place, content_type: str | None) -> dict[str, Any]:
    """Name the media type as each filesystem wants it."""
    return place.backend().media_type(content_type) if content_type else {}


def _part_size(size: int) -> int:
    """Bytes of a part of an upload such that memory is bounded and there are fewer than 10,000 of them."""
    return max(_PART, -(-size // 9000 // (1 << 20)) << 20)


def _write_hashed(chunks: Iterable[bytes], stream: BinaryIO) -> Written:
    """Write bytes to a local file, and hash each piece while it is written."""
    digest, size = hashlib.sha256(), 0
    with ThreadPoolExecutor(1, thread_name_prefix="hash") as pool:
        for chunk in chunks:
            hashing = pool.submit(digest.update, chunk)
            view = memoryview(chunk)
            stream.writelines(view[start : start + _SLICE] for start in range(0, len(view), _SLICE))
            start_writeback(stream.fileno(), size, len(chunk))
            size += len(chunk)
            hashing.result()
    return Written(size=size, sha256=digest.hexdigest())


def _digest(chunks: Iterable[bytes]) -> Written:
    """Measure and hash bytes."""
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
    return Written(size=size, sha256=digest.hexdigest())
