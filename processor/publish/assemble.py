"""The end of a run: from what its phases found to a published Item."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from processor.errors import ExistsError
from processor.geotiff.cog.spec import CogSpec
from processor.geotiff.cog.tiles import TileSource
from processor.model import Finding
from processor.process.logs import log_event
from processor.process.threads import resolve_threads
from processor.publish.destination import Destination, lock_folder, publish, publish_raster
from processor.publish.item import Mosaic, Prepared, make_item
from processor.publish.thresholds import VERDICT_PROPERTY
from processor.storage.store import Written

_LOGGER = logging.getLogger(__name__)


class Journal(Protocol):
    """What an attempt to publish notes for one that follows it, where it is killed."""

    def keep_previous(self, paths: frozenset[str]) -> frozenset[str]:
        """Keep which files a replaced Item named; give them and those that were kept before."""
        ...

    def write_once(self, path: str, is_there: Callable[[], bool], write: Callable[[], Written]) -> Written:
        """Write a raster to its place, unless that was noted and it is there."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The Item at its place."""

    item: dict[str, Any]
    """The Item, as published."""
    findings: tuple[Finding, ...] = ()
    """Of all stages, warnings first; empty where another run published it."""


def assemble(destination: Destination, prepared: Prepared, mosaic: Mosaic, scratch: Path, journal: Journal) -> Published:
    """Make everything that is to be published, and publish it; the mosaic goes to its place as it is assembled.

    Returns
    -------
    What was published; or the Item that another process had published meanwhile, made from the same.

    Raises
    ------
    ExistsError
        Something else is there.
    MosaicError
        As everything that is made and published here.
    """
    shared = prepared.plan.config.shared

    def write(path: str, spec: CogSpec, blocks: TileSource) -> Written:
        """Write a raster to its place, once."""
        there = partial(destination.store.exists, destination.url(path))
        return journal.write_once(path, there, partial(publish_raster, destination, path, spec, blocks))

    try:
        previous = journal.keep_previous(lock_folder(destination))
        files = make_item(destination, prepared, mosaic, scratch, write)
        threads = resolve_threads(shared.io_threads, auto=4)
        publish(destination, files.artifacts, files.copies, files.item, threads=threads, previous=previous)
    except ExistsError:
        published = destination.find_item()
        if published is None:
            raise
        return Published(item=published)  # another process made the same and was faster
    for finding in files.findings:
        if finding not in prepared.findings:
            log_finding(finding)
    verdict = files.item["properties"].get(VERDICT_PROPERTY)
    if verdict is not None:
        log_event(_LOGGER, "judged", f"the verdict is {verdict}; the report says why", verdict=verdict)
    log_event(_LOGGER, "published", f"published {destination.item_url}", item=destination.item_url)
    return Published(item=files.item, findings=files.findings)


def log_finding(finding: Finding) -> None:
    """Log a finding, once it is known."""
    level = logging.WARNING if finding.severity == "warning" else logging.INFO
    log_event(
        _LOGGER, finding.code, finding.message, level=level, **({"scene": finding.scene} if finding.scene is not None else {})
    )
