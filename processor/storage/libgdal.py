"""GDAL's C interface where rasterio does not show it: counters of requests, and the cache of what was read over the network.

It is that of the library which rasterio has loaded. Where it cannot be found, what GDAL read is not known, and its cache stays.
"""

from __future__ import annotations

import ctypes
import json
from functools import cache
from pathlib import Path
from typing import Any

import rasterio

__all__ = ["clear_network_cache", "read_network_counts"]


def read_network_counts() -> tuple[int, int] | None:
    """Requests and bytes that GDAL counted in this process; None where that cannot be known."""
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


def clear_network_cache() -> None:
    """Let GDAL forget what it read over the network, so that the next run in this process sees objects that were replaced."""
    library = _find_library()
    if library is not None:
        library.VSICurlClearCache()


@cache
def _find_library() -> ctypes.CDLL | None:
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
    library.VSINetworkStatsGetAsSerializedJSON.restype = ctypes.c_void_p
    library.VSINetworkStatsGetAsSerializedJSON.argtypes = [ctypes.c_void_p]
    library.VSIFree.argtypes = [ctypes.c_void_p]
    library.VSIFree.restype = None
    library.VSICurlClearCache.argtypes = []
    library.VSICurlClearCache.restype = None
    return library
