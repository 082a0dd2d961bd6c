"""Rasters over the network: GDAL reads through an opener that fetches exactly the ranges that are asked for, once.

Small reads (headers, directories) come from blocks of 64 KiB; a tile is fetched as it lies; tiles asked for together, with gaps
smaller than such a block, in one request. Where there is room for it, what was fetched is kept for the next pass.
"""

from __future__ import annotations

import contextvars
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from typing import Any, Final, Self, TypeVar, Union

import rasterio
from rasterio.abc import MultiByteRangeResourceContainer
from rasterio.io import DatasetReader

from processor.errors import InputError, MosaicError
from processor.geotiff.libgdal import VsiFile
from processor.geotiff.range_cache import RangeCache
from processor.geotiff.traffic import Traffic
from processor.redaction import redact_url
from processor.storage.options import Access
from processor.storage.reading import find_object
from processor.storage.renewal import is_renewed, renew_url
from processor.storage.retry import repeat
from processor.storage.url import parse_url, storage_errors

T = TypeVar("T")

_BLOCK: Final = 64 * 2**10
_BLOCKS: Final = 32  # kept of a file
_LARGEST: Final = 16 * 2**20  # bytes of one request
_AHEAD: Final = 4 * 2**20  # bytes fetched at once where there is a place to keep them

RemoteObject = Union["FsspecObject", VsiFile]
"""What ranges are fetched from; used by one thread at a time. Its errors are those of this project."""

# rasterio keeps openers and open files in context variables, which each thread has its own of; a file that one thread opened
# may be closed by another only where both do it in one context.
_CONTEXT: Final = contextvars.copy_context()
_CONTEXT_LOCK: Final = threading.Lock()
_FAILURES: Final = threading.local()


class FsspecObject:
    """An object as fsspec fetches it.

    Parameters
    ----------
    url, access
        Where it is, and how that is reached.
    traffic
        Counts what is fetched.

    Raises
    ------
    ConfigError
        The protocol's package is not installed.
    """

    def __init__(self, url: str, access: Access, traffic: Traffic) -> None:
        self._url, self._traffic = url, traffic
        self._filesystem, self._path = find_object(url, access)
        self._backend = access.of(url)
        self._repeats = 0 if self._backend.repeats or self._backend.is_steady else access.retries

    def find_size(self) -> int:
        """Bytes of the object."""
        return repeat(self._ask_size, times=self._repeats)

    def _ask_size(self) -> int:
        with storage_errors(self._url):
            self._traffic.count(requests=1, size=0)
            size = self._filesystem.info(self._find_path())["size"]
        if size is None:
            msg = f"{redact_url(self._url)} cannot be read in parts: its server does not tell its size; fetch the file"
            raise InputError(msg)
        return int(size)

    def read(self, start: int, end: int) -> bytes:
        """Exactly the bytes that were asked for."""
        return repeat(partial(self._fetch, start, end), times=self._repeats)

    def _fetch(self, start: int, end: int) -> bytes:
        with storage_errors(self._url):
            data = self._backend.read_range(self._filesystem, self._find_path(), start, end)
            if len(data) != end - start:
                msg = f"{len(data)} bytes came where {end - start} were asked for"
                raise OSError(msg)
        self._traffic.count(requests=1, size=len(data))
        return data

    def _find_path(self) -> str:
        """Its name now: a signature may have been renewed."""
        return parse_url(renew_url(self._url)).path if is_renewed(self._url) else self._path

    def close(self) -> None:
        """Nothing is open between requests."""


def open_ranged(url: str, reach: Callable[[], RemoteObject], range_cache: RangeCache | None, **options: Any) -> DatasetReader:
    """Open a raster with GDAL on ranges of an object; close it with :func:`close_opened`.

    Parameters
    ----------
    url
        Of the object.
    reach
        Makes what its ranges are fetched from.
    range_cache
        Keeps them for the next pass, or None.
    options
        Of :func:`rasterio.open`.

    Raises
    ------
    ConfigError
        The protocol's package is not installed.
    RasterioError
        As :func:`rasterio.open`; :func:`find_failure` then tells what storage said.
    """
    opener = _Container(url, reach, range_cache)
    if range_cache is not None:
        opener.fetch_head(range_cache)
    _FAILURES.error = None
    dataset = _in_context(lambda: rasterio.open("raster/raster.tif", opener=opener, sharing=False, **options))
    _FAILURES.error = None  # of what GDAL could do without
    return dataset


def close_opened(dataset: DatasetReader) -> None:
    """Close a raster, in whatever thread it was opened."""
    _in_context(dataset.close)


def find_failure() -> MosaicError | None:
    """What storage said when this thread's last read of ranges failed, once; GDAL only knows that it did."""
    error: MosaicError | None = getattr(_FAILURES, "error", None)
    _FAILURES.error = None
    return error


def _in_context(call: Callable[[], T]) -> T:
    with _CONTEXT_LOCK:
        return _CONTEXT.run(call)


class _Container(MultiByteRangeResourceContainer):  # type: ignore[misc]  # rasterio has no types
    """What rasterio calls a file system: one object, whatever name it is asked for."""

    def __init__(self, url: str, reach: Callable[[], RemoteObject], range_cache: RangeCache | None) -> None:
        self._url, self._reach, self._range_cache = url, reach, range_cache
        self._length: int | None = None

    def fetch_head(self, range_cache: RangeCache) -> None:
        """Fetch what opening reads first, before other threads have to wait for this one to open it."""
        with suppress(MosaicError), closing(self._reach()) as remote:  # opening meets the error again, and tells it
            size = range_cache.find_size(self._url, remote.find_size)
            range_cache.read(self._url, 0, min(_BLOCK, size), remote.read)

    def open(self, path: str, mode: str = "rb", **_: Any) -> _RangedFile:
        """Open the object; nothing else has a name here, so that no sidecar is ever found."""
        if not self.isfile(path) or "w" in mode or "+" in mode:
            raise FileNotFoundError(path)
        return _RangedFile(self._url, self._reach(), self.size(path), self._range_cache)

    def isfile(self, path: str) -> bool:
        """Whether it is the object."""
        return path.endswith("raster/raster.tif")

    def isdir(self, _: str) -> bool:
        """Nothing is a folder."""
        return False

    def ls(self, _: str) -> list[str]:
        """Nothing is listed."""
        return []

    def mtime(self, _: str) -> int:
        """Unknown."""
        return 0

    def rm(self, path: str) -> None:
        """Refused."""
        raise PermissionError(path)

    def size(self, path: str) -> int:
        """Bytes of the object."""
        if not self.isfile(path):
            raise FileNotFoundError(path)
        if self._length is None:
            cache = self._range_cache
            self._length = _noting(self._ask_size if cache is None else partial(cache.find_size, self._url, self._ask_size))
        return self._length

    def _ask_size(self) -> int:
        with closing(self._reach()) as remote:
            return remote.find_size()


class _RangedFile:
    """A file object over ranges of an object."""

    def __init__(self, url: str, remote: RemoteObject, length: int, range_cache: RangeCache | None) -> None:
        self._url = url
        self._remote = remote
        self._length = length
        self._range_cache = range_cache
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._blocks.clear()
        self._remote.close()

    def tell(self) -> int:
        """Position, bytes."""
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move; beyond the end is allowed."""
        base = (0, self._position, self._length)[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int = -1) -> bytes:
        """The next bytes; fewer at the end, and where storage fails, which :func:`find_failure` tells of."""
        end = self._length if size < 0 else min(self._position + size, self._length)
        start, self._position = self._position, max(self._position, end)
        if end <= start:
            return b""
        try:
            return _noting(lambda: self._read_range(start, end))
        except MosaicError:
            self._position = start
            return b""

    def get_byte_ranges(self, offsets: list[int], sizes: list[int]) -> list[bytes]:
        """Several ranges; neighbours are fetched together. Zeros where storage fails, which :func:`find_failure` tells of."""
        try:
            return _noting(lambda: self._read_ranges(offsets, sizes))
        except MosaicError:
            return [bytes(size) for size in sizes]

    def _read_ranges(self, offsets: list[int], sizes: list[int]) -> list[bytes]:
        order = sorted(range(len(offsets)), key=lambda i: offsets[i])
        last = max(map(sum, zip(offsets, sizes, strict=True)), default=0)
        if last > self._length:
            name = redact_url(self._url)
            msg = f"{name} has {self._length} bytes where its directory names {last}; it is truncated: fetch it again"
            raise InputError(msg)
        found: dict[int, bytes] = {}
        while order:
            first = order[0]
            start, end, group = offsets[first], offsets[first] + sizes[first], [first]
            for i in order[1:]:
                if offsets[i] - end > _BLOCK or offsets[i] + sizes[i] - start > _LARGEST:
                    break
                end = max(end, offsets[i] + sizes[i])
                group.append(i)
            data = self._read_range(start, end)
            for i in group:
                found[i] = data[offsets[i] - start : offsets[i] - start + sizes[i]]
            order = order[len(group) :]
        return [found[i] for i in range(len(offsets))]

    def _read_range(self, start: int, end: int) -> bytes:
        if end - start >= _BLOCK:
            return self._fetch(start, end, ahead=_AHEAD)  # blocks of pixels are read in their order, what is smaller is not
        pieces = []
        for number in range(start // _BLOCK, (end - 1) // _BLOCK + 1):
            block = self._blocks.get(number)
            if block is None:
                block = self._blocks[number] = self._fetch(number * _BLOCK, min((number + 1) * _BLOCK, self._length))
                if len(self._blocks) > _BLOCKS:
                    self._blocks.popitem(last=False)
            self._blocks.move_to_end(number)
            pieces.append(block[max(0, start - number * _BLOCK) : end - number * _BLOCK])
        return b"".join(pieces)

    def _fetch(self, start: int, end: int, *, ahead: int = 0) -> bytes:
        if self._range_cache is None:
            return self._remote.read(start, end)
        return self._range_cache.read(self._url, start, end, self._remote.read, ahead=ahead, length=self._length)


def _noting(call: Callable[[], T]) -> T:
    """Keep an error for :func:`find_failure`; what GDAL makes of it says nothing."""
    try:
        return call()
    except MosaicError as error:
        _FAILURES.error = error
        raise
