"""The end of a run: from what the two passes found to a published Item."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sized
from functools import partial
from pathlib import Path
from typing import Any

from processor.errors import ExistsError
from processor.geotiff.reader import RasterReader
from processor.model import Finding
from processor.mosaic.measure import Measures
from processor.mosaic.passes import Rendered
from processor.mosaic.solve import Solution
from processor.process.logs import log_event
from processor.process.progress import Tracker
from processor.process.threads import resolve_threads
from processor.publish.artifacts import Product, RasterWriter, make_stage_products, render_claim
from processor.publish.destination import Destination, begin, find_published, publish, publish_raster
from processor.publish.item import Prepared, Result, Stamp, describe_mosaic, describe_scenes
from processor.publish.output_paths import find_kept_stages

__all__ = ["count_things", "finish", "log_finding", "log_solved", "make_rasters"]

_LOGGER = logging.getLogger(__name__)


def make_rasters(
    prepared: Prepared, solution: Solution, reader: RasterReader, scratch: Path, tracker: Tracker
) -> tuple[Product, ...]:
    """The rasters of single scenes that are asked for, in scratch."""
    plan = prepared.plan
    rasters: list[Product] = []
    for stage in find_kept_stages(plan.config, plan.scenes):
        made = make_stage_products(plan, solution, reader, stage.stage, scratch, stage.urls)
        rasters += tracker.track(made, name="write", total=len(plan.scenes), amount=lambda _: 1.0, unit="scenes")
    return tuple(rasters)


def finish(
    destination: Destination,
    prepared: Prepared,
    measures: Measures,
    solution: Solution,
    rendered: Rendered | None,
    rasters: tuple[Product, ...],
    scratch: Path,
    stamp: Stamp,
    *,
    remember: Callable[[frozenset[str]], frozenset[str]] = lambda former: former,
    is_own: Callable[[dict[str, Any]], bool] = lambda _: False,
    write: RasterWriter | None = None,
) -> dict[str, Any] | Result:
    """Make everything that is to be published, and publish it; the mosaic goes to its place as it is assembled.

    Parameters
    ----------
    rendered
        The blocks of the mosaic; None with merging off.
    rasters
        Of single scenes (:func:`make_rasters`).
    remember
        Told which files the result that is replaced had, and gives them back, with those that it was told before where a former
        attempt was interrupted.
    is_own
        Tells an Item that another process published for this very run.
    write
        What writes the mosaic and the scene index; default: :func:`processor.publish.destination.publish_raster`.

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
    plan = prepared.plan
    findings = (*prepared.findings, *solution.findings)
    threads = resolve_threads(plan.config.shared.io_threads, auto=4)
    try:
        former = remember(begin(destination, render_claim(plan.config, prepared.digest), is_own=is_own))
        if rendered is None:
            result = describe_scenes(prepared, measures, solution, rasters, scratch, stamp, findings)
        else:
            write = write if write is not None else partial(publish_raster, destination)
            result = describe_mosaic(prepared, measures, solution, rendered, rasters, scratch, write, stamp, findings)
        publish(destination, result.products, result.copies, result.item, threads=threads, former=former)
    except ExistsError:
        published = find_published(destination, prepared.digest)
        if published is None:
            raise
        return published  # another process made the same and was faster
    for finding in result.findings:
        if finding not in prepared.findings:
            log_finding(finding)
    log_event(_LOGGER, "published", f"published {destination.item_url}", item=destination.item_url)
    return result


def log_finding(finding: Finding) -> None:
    """Log a finding, once it is known."""
    level = logging.WARNING if finding.severity == "warning" else logging.INFO
    log_event(
        _LOGGER, finding.code, finding.message, level=level, **({"scene": finding.scene} if finding.scene is not None else {})
    )


def log_solved(measures: Measures) -> None:
    """Log that everything between the two passes is decided."""
    log_event(
        _LOGGER,
        "solved",
        f"solved {count_things(measures.scenes, 'scene')} over {count_things(measures.overlaps, 'overlap')}",
        scenes=len(measures.scenes),
        overlaps=len(measures.overlaps),
    )


def count_things(things: Sized, noun: str) -> str:
    """How many there are, in words."""
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"
