"""GDAL's C interface where rasterio does not show it: its files, counters of requests, and the cache of what was read.

It is that of the library which rasterio has loaded. Where it cannot be found, what GDAL read is not known, and its cache stays.
"""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import rasterio

_SIGNATURES: Final[Mapping[str, tuple[Any, ...]]] = {  # result and arguments
    "VSINetworkStatsGetAsSerializedJSON": (ctypes.c_void_p, ctypes.c_void_p),
    "VSIFree": (None, ctypes.c_void_p),
    "VSICurlClearCache": (None,),
    "VSIFOpenExL": (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int),
    "VSIFSeekL": (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int),
    "VSIFTellL": (ctypes.c_uint64, ctypes.c_void_p),
    "VSIFReadL": (ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p),
    "VSIFCloseL": (ctypes.c_int, ctypes.c_void_p),
    "VSIGetLastErrorMsg": (ctypes.c_char_p,),
    "CPLGetLastErrorMsg": (ctypes.c_char_p,),
}


def read_network_counts() -> tuple[int, int] | None:
    """Requests and bytes that GDAL counted in this process; None where that cannot be known."""
    library = find_library()
    if library is None:
        return None
    text = library.VSINetworkStatsGetAsSerializedJSON(None)
    try:
        document: dict[str, Any] = json.loads(ctypes.string_at(text)) if text else {}
    finally:
        library.VSIFree(text)
    methods = document.get("methods", {}).values()
    requests, size = (sum(int(method.get(what, 0)) for method in methods) for what in ("count", "downloaded_bytes"))
    return requests, size


def clear_network_cache() -> None:
    """Let GDAL forget what it read over the network, so that the next run in this process sees objects that were replaced."""
    library = find_library()
    if library is not None:
        library.VSICurlClearCache()


def has_files() -> bool:
    """Whether :class:`VsiFile` works in this process."""
    return find_library() is not None


class VsiFile:
    """A file as GDAL reads it, whose name begins with ``/vsi``; used by one thread at a time.

    GDAL's options of the thread that calls count, as they do where it reads rasters. It is opened when it is first needed.

    Parameters
    ----------
    name
        As GDAL has it.
    """

    def __init__(self, name: str) -> None:
        self._name = name.encode()
        self._handle: int | None = None
        self._library: Any = find_library()

    def find_size(self) -> int:
        """Bytes of the file.

        Raises
        ------
        OSError
            GDAL cannot open it.
        """
        self._open()
        self._library.VSIFSeekL(self._handle, 0, os.SEEK_END)
        return int(self._library.VSIFTellL(self._handle))

    def read(self, start: int, end: int) -> bytes:
        """Bytes from ``start`` to ``end``.

        Raises
        ------
        OSError
            GDAL cannot open the file, or not all of them came.
        """
        self._open()
        self._library.CPLErrorReset()
        buffer = bytearray(end - start)
        self._library.VSIFSeekL(self._handle, start, os.SEEK_SET)
        read = int(self._library.VSIFReadL((ctypes.c_char * len(buffer)).from_buffer(buffer), 1, len(buffer), self._handle))
        if read != len(buffer):
            said = self._library.CPLGetLastErrorMsg().decode(errors="replace")
            msg = said or f"{read} bytes came where {len(buffer)} were asked for"
            raise OSError(msg)
        return bytes(buffer)

    def rename(self, name: str) -> None:
        """Read from another name from now on."""
        if name.encode() != self._name:
            self.close()
            self._name = name.encode()

    def close(self) -> None:
        """Close the file, if it was opened."""
        if self._handle is not None:
            self._library.VSIFCloseL(self._handle)
            self._handle = None

    def _open(self) -> None:
        if self._handle is None:
            self._library.CPLErrorReset()
            self._library.VSIErrorReset()
            self._handle = self._library.VSIFOpenExL(self._name, b"rb", 1)
        if self._handle is None:
            said = self._library.VSIGetLastErrorMsg() or self._library.CPLGetLastErrorMsg()
            raise OSError(said.decode(errors="replace") or "it cannot be opened")


@cache
def find_library() -> ctypes.CDLL | None:
    """The GDAL that rasterio has loaded, or None where it cannot be found."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return None
    paths = {line.split(maxsplit=5)[5] for line in maps.read_text().splitlines() if "/libgdal" in line}
    if len(paths) > 1:  # pyogrio's wheel brings one of its own
        folder = str(Path(rasterio.__file__).parent)
        paths = {path for path in paths if path.startswith(folder)}  # also rasterio.libs, beside the package
    if len(paths) != 1:
        return None
    library = ctypes.CDLL(paths.pop())
    for name, (result, *arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
