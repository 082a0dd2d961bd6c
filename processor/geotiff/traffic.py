"""How much was read from storage: requests and bytes, by GDAL and by fsspec."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from processor.geotiff.libgdal import read_network_counts


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficCount:
    """Requests that read pixels' files, and the bytes they brought; None where nobody counted."""

    requests: int | None
    """Number of requests, or None."""
    bytes: int | None
    """Bytes of the answers' bodies, or None."""

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
        gdal = read_network_counts()
        if gdal is None:
            return TrafficCount(requests=None, bytes=None)
        return TrafficCount(requests=self._requests + gdal[0], bytes=self._bytes + gdal[1])
