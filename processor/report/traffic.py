"""How much each pass read from storage: for the log, and for ``traffic.json`` beside the report.

These counts hang on threads, caches, what reads the rasters, and on every request that had to be repeated. So they stand in no
file that the Item vouches for (``docs/adr/0007-traffic-beside-the-report.md``).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from processor.geotiff.traffic import TrafficCount
from processor.process.logs import log_event

TRAFFIC_NAME: Final = "traffic.json"

_LOGGER = logging.getLogger(__name__)


class PassTraffic:
    """Counts what is read pass by pass.

    Parameters
    ----------
    count
        Requests and bytes so far.
    """

    def __init__(self, count: Callable[[], TrafficCount]) -> None:
        self._count = count
        self._passes: dict[str, TrafficCount] = {}

    @contextmanager
    def counting(self, name: str) -> Iterator[None]:
        """Count what is read within the block, and log it where something was."""
        before = self._count()
        yield
        spent = self._count().minus(before)
        self._passes[name] = spent
        if spent.requests:
            log_event(
                _LOGGER,
                "traffic",
                f"{name}: {spent.requests:,} requests brought {(spent.bytes or 0) / 1e6:,.1f} MB",
                stage=name,
                requests=spent.requests,
                bytes=spent.bytes,
            )

    def render(self) -> bytes | None:
        """``traffic.json``; None where nothing was read over the network."""
        passes: Mapping[str, Any] = {
            name: {"requests": spent.requests, "bytes": spent.bytes} for name, spent in self._passes.items() if spent.requests
        }
        if not passes:
            return None
        return (json.dumps({"passes": passes}, indent=2) + "\n").encode()
