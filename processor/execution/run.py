"""One run, from INPUT to a published Item: prepare, then phase by phase, then make the Item known.

It is the same whoever does the work: executors differ in where results of tasks are kept, and in whose hands do the phases.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from typing import IO, Any

from processor.config import Config, apply_options, list_places
from processor.errors import ConfigError, InputError
from processor.execution.leftovers import clean_up
from processor.execution.opening import ONCE, open_scenes, probe_scenes, trust_overviews, without_overviews
from processor.execution.phases import Run, do_missing
from processor.execution.run_manifest import WORK_FOLDER, RunPlace, open_run, write_run
from processor.execution.task_store import LocalStore
from processor.execution.tasks import Cut
from processor.execution.workbench import count_passes, open_workbench
from processor.geotiff.cog.tags import is_crs_kept
from processor.model import Finding, Scene
from processor.model.findings import merge_findings
from processor.mosaic.budget import estimate_scratch
from processor.mosaic.digest import compute_digest
from processor.mosaic.plan import Plan
from processor.mosaic.planning import plan_run
from processor.process.logs import count_things, log_event
from processor.process.memory import load_ahead
from processor.process.progress import Tracker
from processor.process.threads import resolve_threads
from processor.publish.artifacts import list_fixed_paths, render_lock
from processor.publish.assemble import Published, log_finding
from processor.publish.conflicts import check_places, list_hrefs
from processor.publish.destination import Destination, check_destination
from processor.publish.item import Prepared
from processor.publish.register import Registration, check_belonging, plan_registration, register
from processor.publish.thresholds import Threshold
from processor.redaction import redact_url
from processor.report.traffic import TRAFFIC_NAME
from processor.scenes.checks import read_checks
from processor.scenes.inputs import ResolvedInputs, read_inputs
from processor.scenes.references import Known, read_references
from processor.scenes.user_files import UserFiles, read_user_files
from processor.storage.folders import remove_folder
from processor.storage.options import Access, resolve_access
from processor.storage.scratch import warn_of_space
from processor.storage.store import Store
from processor.storage.url import absolute_path, join_url
from processor.version import read_version
from stac.api.request import SearchRequest
from stac.documents import is_item_id, parse_features, process_options
from stac.hrefs import NOWHERE
from stac.links import make_absolute
from stac.read.payload import is_payload, update_payload
from stac.write.geoparquet import render_geoparquet
from stac.write.item import create_item_collection

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
    stdin: IO[bytes] | bytes | None = None
    """Where an ItemCollection comes from if the input is "-"."""
    mosaic_url: str | None = None
    """Path or URL of the mosaic; None: in the Item's folder."""
    collection: str | None = None
    """Path or URL of the Collection that gets the Item, or the id of that in ``destination``; None: none does."""
    post: str | None = None
    """Landing page of the STAC API that gets the Item, or None."""
    read_from: tuple[str, ...] = ()
    """Paths and URLs of configurations that the request was made from; nothing that is written may replace them."""
    preset_by_default: str | None = None
    """The preset where neither the configuration nor the document names one, or None."""
    thresholds: tuple[Threshold, ...] = ()
    """What the mosaic has to meet; otherwise it is published, but made known nowhere, and an error says so."""

    def find_destination(self, prepared: Prepared) -> Destination:
        """Where the Item of a planned run goes, and everything that it names."""
        mosaic = None if self.mosaic_url is None else absolute_path(self.mosaic_url)
        return Destination(
            store=Store(access=prepared.access),
            folder=join_url(self.destination, prepared.item_id),
            item_id=prepared.item_id,
            overwrite=self.overwrite,
            digest=prepared.digest,
            created=self.created,
            lock=render_lock(prepared.plan.config, prepared.digest),
            paths=list_fixed_paths(prepared.plan, mosaic_url=mosaic),
            mosaic_url=mosaic,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it."""

    item: dict[str, Any]
    """The Item, as published."""
    folder: str
    """Path or URL of everything published."""
    already_done: bool
    """Whether a previous run had published it."""
    findings: tuple[Finding, ...]
    """Of all stages, warnings first; empty where a previous run did the work."""
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


def _list_words(inputs: SearchRequest | str | Sequence[str] | None) -> Sequence[str]:
    """What a user names, as paths and URLs."""
    if isinstance(inputs, SearchRequest):
        return (inputs.api,)
    return () if inputs is None else (inputs,) if isinstance(inputs, str) else inputs


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A plan, and what it was made from."""

    scenes: tuple[Scene, ...]
    """As the stages see them, in the order of the input."""
    files: UserFiles
    """What the user's own files say."""
    references: Known
    """What the scenes are matched to."""
    checks: Known
    """What the mosaic is judged by."""
    plan: Plan
    """Everything that is decided before a pixel is read."""

    def replan(self, scenes: tuple[Scene, ...], config: Config) -> _Draft:
        """The same of scenes that are measured otherwise."""
        plan = plan_run(scenes, config, self.files, self.references.scenes, self.checks.scenes)
        return replace(self, scenes=scenes, plan=plan)


def _draft(scenes: tuple[Scene, ...], config: Config, access: Access) -> _Draft:
    """Plan a run, and refuse settings and scenes that make none; errors as those of planning."""
    threads = resolve_threads(config.shared.image_threads, auto=8)
    files = read_user_files(scenes, config, Store(access=access))
    references = read_references(config.reference, scenes, access, threads=threads)
    checks = read_checks(config.check, scenes, access, threads=threads)
    plan = plan_run(scenes, config, files, references.scenes, checks.scenes)
    if not is_crs_kept(scenes[0].grid.crs):
        msg = f"scene {scenes[0].name}: GeoTIFF cannot hold its coordinate reference system; warp the scenes to one that it can"
        raise InputError(msg)
    return _Draft(scenes=scenes, files=files, references=references, checks=checks, plan=plan)


def _check_places(
    request: Request, draft: _Draft, resolved: ResolvedInputs, registration: Registration, item_id: str | None
) -> None:
    """Refuse files elsewhere that would replace what the run reads or publishes, as far as that is known without an id."""
    config = draft.plan.config
    read = dict.fromkeys(draft.files.fingerprints, "a file of the configuration")
    read |= dict.fromkeys((url for url in (*resolved.bases, *_list_words(request.inputs)) if url != NOWHERE), "INPUT")
    read |= dict.fromkeys(request.read_from, "the file of --config")
    known = (*draft.references.scenes, *draft.checks.scenes)
    read |= {href: f"reference {scene.name}" for scene in known for href in list_hrefs(scene)}
    published = {join_url(request.destination, WORK_FOLDER): "the folder of tasks"}
    published |= {url: what for url, what in registration.list_places() if url is not None}
    folder = None if item_id is None else join_url(request.destination, item_id)
    check_places(config, draft.plan.scenes, read=read, published=published, folder=folder, mosaic_url=request.mosaic_url)


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
    named = [*_list_words(request.inputs), *_list_words(base.reference.images), *_list_words(base.check.images)]
    allowed = [*named, *list_places(base)]
    resolved = read_inputs(
        request.inputs,
        stdin=request.stdin,
        inputs=base.inputs,
        store=Store(
            access=resolve_access(base.io).for_hosts(named).allowing(allowed, everywhere=base.inputs.allow_private_networks)
        ),
        refine=lambda document, is_remote: apply_options(base, process_options(document), is_remote=is_remote).inputs,
    )
    config = apply_options(
        base,
        process_options(resolved.document),
        is_remote=resolved.is_remote,
        preset_by_default=request.preset_by_default,
    )
    allowed += [*resolved.named, *(() if resolved.is_remote else list_places(config))]
    access = resolve_access(config.io).for_hosts([*named, *resolved.list_hosts()])
    access = access.allowing(allowed, everywhere=config.inputs.allow_private_networks)
    registration = plan_registration(
        destination=request.destination,
        collection=request.collection,
        post=request.post,
        inputs=request.inputs,
        config=config,
        store=Store(access=access),
        thresholds=request.thresholds,
    )
    opened = open_scenes(resolved.refs, config, access, tracker)
    draft = _draft(opened.scenes, config, access)  # refuses what makes no sense before a pixel is read
    _check_places(request, draft, resolved, registration, request.item_id)
    probed = probe_scenes(opened, config, access)
    if probed is not opened:
        opened, draft = probed, _draft(probed.scenes, config, access)
    doubtful, doubts = trust_overviews(draft.plan, access)
    if doubtful:
        draft = draft.replan(without_overviews(draft.scenes, doubtful), config)
    plan, scenes, references, checks = draft.plan, draft.scenes, draft.references, draft.checks
    digest = compute_digest(scenes, config, read_version(), draft.files.fingerprints, references.scenes, checks.scenes)
    item_id = request.item_id or f"mosaic-{digest[:16]}"
    _check_places(request, draft, resolved, registration, item_id)
    known = merge_findings((*references.findings, *checks.findings), ONCE)
    findings = (*resolved.findings, *opened.findings, *known, *doubts, *plan.findings)
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
    table = None
    if config.output.inputs_geoparquet and resolved.document is not None:
        table = render_geoparquet(parse_features(resolved.document), resolved.bases)
    elif config.output.inputs_geoparquet:
        message = "output.inputs_geoparquet has nothing to hold: the inputs are rasters without Items"
        log_event(_LOGGER, "inputs-without-items", message)
    return Prepared(
        plan=plan,
        digest=digest,
        item_id=item_id,
        findings=findings,
        access=access.allowing([*references.named, *checks.named]),
        inputs=resolved,
        references=references.scenes,
        checks=checks.scenes,
        registration=registration,
        inputs_table=table,
    )


def execute(request: Request, prepared: Prepared, tracker: Tracker, *, cut: Cut | None = None) -> Outcome:
    """Do a planned run in this process.

    Parameters
    ----------
    cut
        How the run is cut into tasks whose results are objects: the same command goes on where it was interrupted. None:
        results are in memory and scratch files.

    Raises
    ------
    MosaicError
        As :func:`plan_tasks` and every phase.
    """
    destination, plan = request.find_destination(prepared), prepared.plan
    item = destination.check()
    if item is not None:
        return conclude(request, prepared, Published(item=item), already_done=True, by_tasks=cut is not None)
    if cut is None:
        run = Run(prepared=prepared, destination=destination, store=LocalStore(plan=plan))
    else:
        run = open_run(plan_tasks(request, prepared, cut=cut), plan.config)
    load_ahead()
    published = None
    with closing(run.store), open_workbench(run.prepared, tracker, passes=count_passes(plan)) as bench:
        if cut is None:  # tasks that hand on objects hold one tile at a time
            warn_of_space(bench.scratch, estimate_scratch(plan))
        for phase in plan.phases:
            published = do_missing(run, phase, nullcontext(bench)) or published
        counts = bench.render_traffic()
        if counts is not None:  # after the Item, which does not vouch for it
            destination.store.write_bytes(destination.url(TRAFFIC_NAME), counts, overwrite=True)
    return conclude(request, prepared, published or Published(item=run.require_item()), by_tasks=cut is not None)


def plan_tasks(request: Request, prepared: Prepared, *, cut: Cut | None = None) -> str:
    """Write the manifest of a planned run, and give its path or URL.

    Raises
    ------
    ConfigError
        Where a secret would get into it, or what is asked for cannot be done by tasks.
    ExistsError
        Something else is published under this name.
    StorageError
        Storage or the network failed.
    """
    if request.mosaic_url is not None:
        msg = "tasks publish the mosaic in the Item's folder: leave out another place for it"
        raise ConfigError(msg)
    request.find_destination(prepared).check()
    url = write_run(prepared, request.destination, created=request.created, overwrite=request.overwrite, cut=cut or Cut())
    shown = redact_url(url)
    log_event(_LOGGER, "tasks-planned", f"`mosaic-processor status {shown}` says how far the run is", document=shown)
    return url


def conclude(
    request: Request, prepared: Prepared, published: Published, *, already_done: bool = False, by_tasks: bool = False
) -> Outcome:
    """Remove what was left on the way to a published Item, make it known wherever it is not, and say what came of the run.

    Parameters
    ----------
    by_tasks
        Whether tasks have handed on objects; they are removed, unless they are to be kept.
    """
    destination, item = request.find_destination(prepared), published.item
    if already_done:
        check_belonging(item, prepared.registration, item_url=destination.item_url)
        message = f"already done: {destination.item_url} has these inputs and this configuration"
        log_event(_LOGGER, "already-done", message, item=destination.item_url)
    work = None
    if by_tasks:
        work = RunPlace(destination=absolute_path(request.destination), item_id=prepared.item_id, digest=prepared.digest).folder
        if prepared.plan.config.shared.delete_temp_dir:
            remove_folder(destination.store, work, above=2)
    clean_up(destination, prepared, work=work)
    register(prepared.registration, item, folder=destination.folder, store=destination.store, overwrite=request.overwrite)
    document = None if prepared.inputs is None else prepared.inputs.document
    return Outcome(
        item=item,
        folder=destination.folder,
        already_done=already_done,
        findings=published.findings,
        payload=document if isinstance(document, Mapping) and is_payload(document) else None,
    )
