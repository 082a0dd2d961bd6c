"""One run, from INPUT to a published Item: open, plan, measure, solve, render, publish."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

from processor.config import Config, apply_options
from processor.errors import ConfigError, InputError
from processor.geotiff.cog.tags import is_crs_kept
from processor.geotiff.gdal import is_remote
from processor.geotiff.range_cache import RangeCache
from processor.geotiff.reader import RasterReader, open_scene
from processor.model import Finding, Scene
from processor.mosaic.digest import compute_digest
from processor.mosaic.estimate import allot_memory, estimate_scratch
from processor.mosaic.passes import measure_and_solve, render_mosaic
from processor.mosaic.plan import Plan, plan_run
from processor.process.logs import log_event
from processor.process.memory import load_ahead
from processor.process.progress import Silent, Tracker
from processor.process.threads import map_ordered, resolve_threads
from processor.publish.artifacts import render_claim
from processor.publish.assemble import count_things, finish, log_finding, log_solved, make_rasters
from processor.publish.destination import Destination, check_claim, check_destination, find_published
from processor.publish.item import Prepared, Result, Stamp
from processor.publish.output_paths import find_kept_stages
from processor.publish.register import announce, check_belonging, plan_announcement
from processor.publish.thresholds import Threshold
from processor.report.traffic import TRAFFIC_NAME, PassTraffic
from processor.scenes.inputs import ResolvedInputs, read_inputs
from processor.scenes.unify import unify_scenes
from processor.scenes.user_files import read_given
from processor.storage.options import Access, resolve_access
from processor.storage.scratch import ending_passes, find_room, scratch_folder, warn_of_space
from processor.storage.store import Store, join_url
from processor.version import read_version
from stac.api.request import SearchRequest
from stac.documents import is_item_id, parse_features, process_options
from stac.links import make_absolute
from stac.read.payload import is_payload, update_payload
from stac.write.geoparquet import render_geoparquet
from stac.write.item import create_item_collection

__all__ = ["Outcome", "Prepared", "Request", "check_place", "conclude", "execute", "prepare", "run"]

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for."""

    inputs: tuple[str, ...] | SearchRequest
    """As :func:`processor.scenes.inputs.read_inputs` takes them."""
    destination: str
    """Folder path or URL; the mosaic goes to ``destination/item_id/``."""
    item_id: str | None
    """None: made from the digest of inputs and configuration."""
    overwrite: bool
    """Whether what exists under this name may be replaced."""
    created: str
    """RFC 3339 time that the Item says it was created at."""
    stdin: IO[bytes] | None = None
    """Where an ItemCollection comes from if the input is "-"."""
    mosaic_url: str | None = None
    """Path or URL of the mosaic; None: in the Item's folder."""
    collection: str | None = None
    """Path or URL of the Collection that gets the Item, or the id of that in ``destination``; None: none does."""
    post: str | None = None
    """Landing page of the STAC API that gets the Item, or None."""
    thresholds: tuple[Threshold, ...] = ()
    """What the mosaic has to meet; otherwise it is published, but made known nowhere, and an error says so."""

    def place(self, item_id: str, access: Access) -> Destination:
        """Where an Item goes, and everything that it names."""
        folder = join_url(self.destination, item_id)
        return Destination(store=Store(access=access), folder=folder, item_id=item_id, overwrite=self.overwrite)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it."""

    item: dict[str, Any]
    """The Item, as published."""
    folder: str
    """Path or URL of everything published."""
    already_done: bool
    """Whether a former run had published it."""
    findings: tuple[Finding, ...]
    """Of all stages, warnings first; empty where a former run did the work."""
    payload: Mapping[str, Any] | None = None
    """What a workflow handed to the run, or None."""

    @property
    def item_collection(self) -> dict[str, Any]:
        """The Item in an ItemCollection, or in the payload that goes to the next task of a workflow, for standard output."""
        if self.payload is not None:
            return update_payload(self.payload, [make_absolute(self.item)])
        return create_item_collection(self.item)


def run(request: Request, config: Config, tracker: Tracker) -> Outcome:
    """Do the whole run, or say that it was done before.

    Raises
    ------
    InputError, ConfigError, ExistsError, StorageError
        Naming what is wrong; nothing is published then.
    """
    return execute(request, prepare(request, config, tracker), tracker)


def prepare(request: Request, config: Config, tracker: Tracker | None = None) -> Prepared:
    """Read the input, open every scene, and plan; nothing is written.

    Raises
    ------
    InputError, ConfigError, StorageError
        Naming what is wrong.
    """
    check_destination(request.destination)
    if request.item_id is not None and not is_item_id(request.item_id):
        msg = (
            f"item id {request.item_id!r} is not a safe file name: use letters, digits, '.', '_' and '-', beginning with a "
            "letter or a digit, at most 200"
        )
        raise ConfigError(msg)
    base = config
    resolved = read_inputs(
        request.inputs,
        stdin=request.stdin,
        inputs=base.inputs,
        store=Store(access=resolve_access(base.io)),
        refine=lambda document, is_remote: apply_options(base, process_options(document), is_remote=is_remote).inputs,
    )
    config = apply_options(base, process_options(resolved.document), is_remote=resolved.is_remote)
    access = resolve_access(config.io)
    announcement = plan_announcement(
        destination=request.destination,
        collection=request.collection,
        post=request.post,
        inputs=request.inputs,
        config=config,
        store=Store(access=access),
        thresholds=request.thresholds,
    )
    threads = resolve_threads(config.shared.image_threads, auto=8)
    nodata = config.shared.custom_nodata_value
    opening = map_ordered(lambda ref: open_scene(ref, nodata=nodata, access=access), resolved.refs, threads=threads)
    watch = Silent() if tracker is None else tracker
    opened = list(watch.track(opening, name="open", total=len(resolved.refs), amount=lambda _: 1.0, unit="scenes"))
    unified = unify_scenes(opened, config)
    scenes = unified.scenes
    given = read_given(scenes, config, Store(access=access))
    plan = plan_run(scenes, config, given)
    find_kept_stages(config, plan.scenes)  # a setting that does not fit is refused before a pixel is read
    _check_crs(scenes[0])
    digest = compute_digest(scenes, config, read_version(), given.fingerprints)
    described = (finding for scene in opened for finding in scene.findings)
    findings = (*resolved.findings, *described, *unified.findings, *plan.findings)
    for finding in findings:
        log_finding(finding)
    log_event(
        _LOGGER,
        "planned",
        f"planned {count_things(scenes, 'scene')} with {count_things(plan.pairs, 'overlap')} on "
        f"{plan.grid.width} x {plan.grid.height} pixels",
        scenes=len(scenes),
        overlaps=len(plan.pairs),
        width=plan.grid.width,
        height=plan.grid.height,
        input=resolved.description,
    )
    return Prepared(
        plan=plan,
        digest=digest,
        item_id=request.item_id or f"mosaic-{digest[:16]}",
        findings=findings,
        access=access,
        inputs=resolved,
        announcement=announcement,
        inputs_table=_render_inputs(resolved) if config.output.inputs_geoparquet else None,
    )


def _render_inputs(resolved: ResolvedInputs) -> bytes | None:
    """Render the Items of the inputs as a table; None where rasters were given without Items."""
    if resolved.document is None:
        message = "output.inputs_geoparquet has nothing to hold: the inputs are rasters without Items"
        log_event(_LOGGER, "inputs-without-items", message)
        return None
    return render_geoparquet(parse_features(resolved.document), resolved.bases)


def _check_crs(scene: Scene) -> None:
    if not is_crs_kept(scene.grid.crs):
        msg = f"scene {scene.name}: GeoTIFF cannot hold its coordinate reference system; warp the scenes to one that it can"
        raise InputError(msg)


def execute(request: Request, prepared: Prepared, tracker: Tracker) -> Outcome:
    """Measure, solve, render and publish what was planned."""
    config = prepared.plan.config
    destination = request.place(prepared.item_id, prepared.access)
    published = check_place(request, prepared)
    if published is not None:
        return conclude(request, prepared, published, already_done=True)
    stamp = _make_stamp(request, destination)
    with scratch_folder(config) as scratch:
        warn_of_space(scratch, estimate_scratch(prepared.plan))
        made = _make(destination, prepared, scratch, tracker, stamp)
    if not isinstance(made, Result):
        return conclude(request, prepared, made, already_done=True)
    return conclude(request, prepared, made.item, findings=made.findings)


def check_place(request: Request, prepared: Prepared) -> dict[str, Any] | None:
    """The Item, where a former run published it; None where this one may.

    Raises
    ------
    ExistsError
        Something else is there, which may not be replaced.
    InputError
        Nothing may be written there.
    StorageError
        Storage or the network failed.
    """
    destination = request.place(prepared.item_id, prepared.access)
    published = None if request.overwrite else find_published(destination, prepared.digest)
    if published is None:
        if not request.overwrite:
            check_claim(destination, render_claim(prepared.plan.config, prepared.digest))
        destination.store.check_writable(destination.item_url)
    return published


def _make_stamp(request: Request, destination: Destination) -> Stamp:
    mosaic = request.mosaic_url
    if mosaic is not None and "://" not in mosaic:
        mosaic = str(Path(mosaic).absolute())
    return Stamp(created=request.created, self_href=destination.absolute_item_url, mosaic_url=mosaic)


def conclude(
    request: Request,
    prepared: Prepared,
    item: dict[str, Any],
    *,
    findings: tuple[Finding, ...] = (),
    already_done: bool = False,
) -> Outcome:
    """Make a published Item known, which does nothing where that was done before, and say what came of the run."""
    destination = request.place(prepared.item_id, prepared.access)
    if already_done:
        check_belonging(item, prepared.announcement, item_url=destination.item_url)
        message = f"already done: {destination.item_url} has these inputs and this configuration"
        log_event(_LOGGER, "already-done", message, item=destination.item_url)
    announce(prepared.announcement, item, folder=destination.folder, store=destination.store, overwrite=request.overwrite)
    return Outcome(
        item=item, folder=destination.folder, already_done=already_done, findings=findings, payload=_find_payload(prepared)
    )


def _find_payload(prepared: Prepared) -> Mapping[str, Any] | None:
    document = None if prepared.inputs is None else prepared.inputs.document
    return document if isinstance(document, Mapping) and is_payload(document) else None


def _reads_again(plan: Plan) -> bool:
    """Whether what one pass reads over the network is read by another one too."""
    passes = (plan.reads_for_measures and None in plan.levels, plan.methods.merge.is_on)
    several = sum(passes) + len(find_kept_stages(plan.config, plan.scenes)) > 1
    parts = (part.raster.source.href for scene in plan.scenes for part in scene.parts)
    return several and any(map(is_remote, chain(parts, (scene.source.href for scene in plan.scenes if not scene.parts))))


def _make(
    destination: Destination, prepared: Prepared, scratch: Path, tracker: Tracker, stamp: Stamp
) -> dict[str, Any] | Result:
    """Read the pixels, twice, and make and publish everything."""
    plan = prepared.plan
    allotment = allot_memory(plan)
    load_ahead()
    with ExitStack() as stack:
        rendered = None
        room = find_room(scratch, plan.config.shared.disk_cache, estimate_scratch(plan)) if _reads_again(plan) else 0
        cache = stack.enter_context(RangeCache(scratch / "read.ranges", room=room)) if room else None
        with (
            RasterReader(cache_bytes=allotment.cache_bytes, access=prepared.access, range_cache=cache) as reader,
            ending_passes(),
        ):
            traffic = PassTraffic(reader.count_traffic)
            with traffic.counting("measure"):
                measures, solution = measure_and_solve(plan, reader, tracker, threads=allotment.measure_threads)
            log_solved(measures)
            with traffic.counting("render"):
                if plan.methods.merge.is_on:
                    rendering = render_mosaic(
                        plan, measures, solution, reader, scratch, tracker, threads=allotment.render_threads
                    )
                    rendered = stack.enter_context(rendering)
            with traffic.counting("write"):
                rasters = make_rasters(prepared, solution, reader, scratch, tracker)
        result = finish(destination, prepared, measures, solution, rendered, rasters, scratch, stamp)
    counts = traffic.render()
    if counts is not None:  # after the Item, which does not vouch for it
        destination.store.write_bytes(destination.url(TRAFFIC_NAME), counts, overwrite=True)
    return result
