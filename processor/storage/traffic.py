"""How much was read from storage: requests and bytes, by GDAL and by fsspec.

GDAL counts its own requests; its counters are part of its C interface, which rasterio does not show. Where they cannot be
reached, what GDAL read is not known, and is said not to be.
"""

from __future__ import annotations

import ctypes
import json
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["Traffic", "TrafficCount", "reset_gdal_traffic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficCount:
    """Requests that read pixels' files, and the bytes they brought; None where nobody counted."""

    requests: int | None
    bytes: int | None

    def minus(self, before: TrafficCount) -> TrafficCount:
        """What came since an earlier count."""
        if self.requests is None or self.bytes is None or before.requests is None or before.bytes is None:
            return TrafficCount(requests=None, bytes=None)
        return TrafficCount(requests=self.requests - before.requests, bytes=self.bytes - before.bytes)


class Traffic:
    """Counts of one run; used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests = 0
        self._bytes = 0

    def count(self, *, requests: int, size: int) -> None:
        """Add what fsspec fetched."""
        with self._lock:
            self._requests += requests
            self._bytes += size

    def read(self) -> TrafficCount:
        """Everything so far, GDAL's included (which counts for the whole process)."""
        gdal = _read_gdal()
        if gdal is None:
            return TrafficCount(requests=None, bytes=None)
        return TrafficCount(requests=self._requests + gdal[0], bytes=self._bytes + gdal[1])


def _read_gdal() -> tuple[int, int] | None:
    """Requests and bytes that GDAL counted since its counters were reset."""
    library = _find_library()
    if library is None:
        return None
    text = library.VSINetworkStatsGetAsSerializedJSON(None)
    try:
        document: dict[str, Any] = json.loads(ctypes.string_at(text)) if text else {}
    finally:
        library.VSIFree(text)
    methods = document.get("methods", {}).values()
    return sum(int(method.get("count", 0)) for method in methods), sum(
        int(method.get("downloaded_bytes", 0)) for method in methods
    )


def reset_gdal_traffic() -> None:
    """Let GDAL count from zero."""
    library = _find_library()
    if library is not None:
        library.VSINetworkStatsReset()


@cache
def _find_library() -> ctypes.CDLL | None:
    """The GDAL that rasterio has loaded, or None where it cannot be found."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return None
    paths = {line.split(maxsplit=5)[5] for line in maps.read_text().splitlines() if "/libgdal" in line}
    if len(paths) != 1:
        return None
    library = ctypes.CDLL(paths.pop())
    library.VSINetworkStatsGetAsSerializedJSON.restype = ctypes.c_void_p
    library.VSINetworkStatsGetAsSerializedJSON.argtypes = [ctypes.c_void_p]
    library.VSIFree.argtypes = [ctypes.c_void_p]
    library.VSIFree.restype = None
    library.VSINetworkStatsReset.restype = None
    return library
