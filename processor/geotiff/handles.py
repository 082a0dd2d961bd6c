"""Open rasters that all threads share: each is used by one at a time, and few are kept open while nobody reads them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rasterio.io import DatasetReader

from processor.geotiff.gdal import GdalReader

_IDLE_A_READER: Final = 4
"""Files kept open for each read that has been under way at one time: as many scenes meet where windows are. Each holds a
decoded block of all its bands, and a compressed one."""


class HandlePool:
    """Open rasters, kept for whoever reads them next.

    Parameters
    ----------
    gdal
        Opens and closes them.
    """

    def __init__(self, gdal: GdalReader) -> None:
        self._gdal = gdal
        self._lock = threading.Lock()
        self._idle: OrderedDict[DatasetReader, tuple[str, int | None]] = OrderedDict()
        self._borrowed = 0
        self._most_borrowed = 0

    @contextmanager
    def borrow(self, href: str, scene: str, factor: int | None = None) -> Iterator[DatasetReader]:
        """A raster, or its overview of a decimation factor, for this thread alone while the block runs.

        To be used within :meth:`GdalReader.env`; errors as of :meth:`GdalReader.open`. Where the block fails, the file is
        closed: what it holds may be what went wrong.
        """
        with self._lock:  # the one used last
            self._borrowed += 1
            self._most_borrowed = max(self._most_borrowed, self._borrowed)
            handle = next((one for one, known in reversed(self._idle.items()) if known == (href, factor)), None)
            if handle is not None:
                del self._idle[handle]
        try:
            if handle is None:
                handle = self._gdal.open(href, scene, factor)
            yield handle
        except BaseException:
            self._give_back(None)
            if handle is not None:
                self._gdal.close(handle)
            raise
        for old in self._give_back(((href, factor), handle)):
            self._gdal.close(old)

    def close(self) -> None:
        """Close every file that is not being read."""
        with self._lock:
            handles = list(self._idle)
            self._idle.clear()
        for handle in handles:
            self._gdal.close(handle)

    def _give_back(self, entry: tuple[tuple[str, int | None], DatasetReader] | None) -> list[DatasetReader]:
        """Keep a handle; those that are too many now, the longest unused first."""
        with self._lock:
            self._borrowed -= 1
            if entry is not None:
                self._idle[entry[1]] = entry[0]
            surplus = max(0, len(self._idle) - _IDLE_A_READER * self._most_borrowed)
            return [self._idle.popitem(last=False)[0] for _ in range(surplus)]
