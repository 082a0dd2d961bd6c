"""The run document: a planned run as one object, from which every task, wherever it runs, makes the same plan again.

It holds what was found out once (the scenes as they were opened) and what decides the result. How storage is reached, keys,
threads and memory are of the machine that a task runs on, and are not in it. It may come from anywhere, so it is checked as all
input is, and what is made from it must have the digest that it names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from processor.config import Config, check_unsigned, decisive_settings, load_config, local_settings
from processor.errors import ConfigError, InputError, MosaicError
from processor.execution.phases import Run
from processor.execution.task_store import ObjectStore
from processor.execution.tasks import CHUNKS_PER_TASK, TILE_BLOCKS, Cut
from processor.model import Finding, Scene
from processor.mosaic.digest import compute_digest
from processor.mosaic.planning import plan_run
from processor.publish.artifacts import render_lock
from processor.publish.destination import Destination
from processor.publish.item import Prepared
from processor.publish.register import Registration
from processor.redaction import hide_published, redact_url
from processor.scenes.user_files import read_user_files
from processor.storage.networks import Networks
from processor.storage.options import resolve_access
from processor.storage.store import Store
from processor.storage.url import absolute_path, join_url
from processor.version import read_version
from stac.documents import ITEM_ID
from stac.hrefs import drop_signature
from stac.read.sign import make_signer

WORK_FOLDER: Final = ".work"
"""Below the destination: no Item has such a name, and one lifecycle rule covers what all runs leave there."""

RUN_NAME: Final = "run.json"
_TABLE: Final = "inputs.parquet"
_MAX_BYTES: Final = 512 << 20
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlace:
    """Where a run is, taken from the URL of its document, so that a document that was copied leads nowhere else."""

    destination: str
    """Folder path or URL; the mosaic goes to ``destination/item_id/``."""
    item_id: str
    """Id of the Item."""
    digest: str
    """Of inputs, configuration and version."""

    @property
    def folder(self) -> str:
        """Path or URL of everything that tasks hand to one another."""
        return join_url(self.destination, WORK_FOLDER, self.item_id, self.digest)

    @property
    def url(self) -> str:
        """Path or URL of the document."""
        return join_url(self.folder, RUN_NAME)


class RunManifest(BaseModel):
    """A planned run."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    kind: Literal["mosaic-processor run"] = "mosaic-processor run"
    version: Annotated[str, Field(max_length=100)]
    """Of the program; another one refuses it."""
    digest: _Digest
    """Of inputs, configuration and version."""
    item_id: Annotated[str, Field(pattern=ITEM_ID)]
    created: Annotated[str, Field(max_length=100)]
    """RFC 3339 time that the Item says it was created at."""
    overwrite: bool
    """Whether what exists under this name may be replaced."""
    config: dict[str, dict[str, Any]]
    """Every parameter that decides the result, by section."""
    scenes: Annotated[tuple[Scene, ...], Field(min_length=1)]
    """As opened and brought on common terms, in input order, without signatures in their hrefs."""
    references: tuple[Scene, ...] = ()
    """What the scenes are matched to, as opened, without signatures in their hrefs."""
    checks: tuple[Scene, ...] = ()
    """What the mosaic is judged by, as opened, without signatures in their hrefs."""
    findings: tuple[Finding, ...] = ()
    """Of opening and planning."""
    registration: Registration = Registration()
    """Where else the Item is made known in storage, and what its mosaic has to meet before; posting to an API takes a token, so
    it is left to the coordinator.
    """
    inputs_table: _Digest | None = None
    """SHA-256 of the table of input Items, which lies beside the document; None: there is none."""
    hosts: tuple[str, ...] = ()
    """Origins that keys of web servers go to."""
    networks: Networks = Networks()
    """Where requests to web servers may go besides public addresses."""
    chunks_per_task: Annotated[int, Field(ge=1, le=4096)] = CHUNKS_PER_TASK
    tile_blocks: Annotated[int, Field(ge=1, le=32)] = TILE_BLOCKS
    """How the passes are cut."""

    @field_validator("tile_blocks")
    @classmethod
    def _check_tile(cls, value: int) -> int:
        if value & (value - 1):
            msg = "a power of two"
            raise ValueError(msg)
        return value


def _drop_signature(href: str, *, name: str, is_signing: bool) -> str:
    plain = drop_signature(href)
    if plain != href and not is_signing:
        msg = (
            f"{redact_url(href)} is signed, and the signature would stand in the document of the run for all who can read it: "
            f"give the plain href and let the tasks have credentials, or use --{name}.sign"
        )
        raise ConfigError(msg)
    return plain


def _map_hrefs(scene: Scene, change: Callable[[str], str]) -> Scene:
    """The same scene with all hrefs of files changed."""
    parts = tuple(replace(part, raster=_map_hrefs(part.raster, change)) for part in scene.parts)
    mask = scene.mask
    if mask is not None:
        mask = replace(mask, raster=_map_hrefs(mask.raster, change))
    return replace(scene, source=replace(scene.source, href=change(scene.source.href)), parts=parts, mask=mask)


def open_run(url: str, machine: Config) -> Run:
    """Read a run's manifest and make its plan again.

    Parameters
    ----------
    machine
        Configuration of this process, of which only what changes no byte counts: threads, memory, how storage is reached.

    Raises
    ------
    ConfigError, InputError
        It is not the manifest of a run, what it says cannot be planned, or is not what its digest is of: the user's own files
        have changed since.
    StorageError
        Storage or the network failed.
    """
    place, manifest = read_run(url, Store(access=resolve_access(machine.io)))
    merged = {section: dict(values) for section, values in manifest.config.items()}
    for parameter, value in local_settings(machine).items():
        merged.setdefault(parameter.section, {})[parameter.name] = value
    config = load_config(document=merged, environment={})
    store = Store(access=resolve_access(config.io).for_hosts(manifest.hosts).within(manifest.networks))
    files = read_user_files(manifest.scenes, config, store)
    digest = compute_digest(manifest.scenes, config, read_version(), files.fingerprints, manifest.references, manifest.checks)
    if digest != manifest.digest:
        msg = (
            f"{redact_url(place.url)}: what it says is not what was planned; a file that the configuration names was replaced "
            "since, or the document was changed: plan again"
        )
        raise InputError(msg)
    table = None
    if manifest.inputs_table is not None:
        table = store.read_bytes(join_url(place.folder, _TABLE), max_bytes=_MAX_BYTES)
        if hashlib.sha256(table).hexdigest() != manifest.inputs_table:
            msg = f"{redact_url(join_url(place.folder, _TABLE))} is not the table of this run's inputs: plan again"
            raise InputError(msg)
    sign, sign_known, sign_check = (make_signer(section.sign) for section in (config.inputs, config.reference, config.check))
    prepared = Prepared(
        inputs_table=table,
        plan=plan_run(
            tuple(_map_hrefs(scene, sign) for scene in manifest.scenes),
            config,
            files,
            tuple(_map_hrefs(reference, sign_known) for reference in manifest.references),
            tuple(_map_hrefs(check, sign_check) for check in manifest.checks),
        ),
        references=manifest.references,
        checks=manifest.checks,
        digest=digest,
        item_id=manifest.item_id,
        findings=manifest.findings,
        access=store.access,
        registration=manifest.registration,
    )
    cut = Cut(chunks_per_task=manifest.chunks_per_task, tile_blocks=manifest.tile_blocks)
    return Run(
        prepared=prepared,
        destination=Destination(
            store=store,
            folder=join_url(place.destination, place.item_id),
            item_id=place.item_id,
            overwrite=manifest.overwrite,
            digest=manifest.digest,
            created=manifest.created,
            lock=render_lock(prepared.plan.config, manifest.digest),
            is_shared=True,
        ),
        store=ObjectStore(store=store, folder=place.folder, plan=prepared.plan, cut=cut),
        url=place.url,
    )


def parse_run_url(url: str) -> RunPlace:
    """Where the run of a document is.

    Raises
    ------
    ConfigError
        It is not a place where a run's document is put.
    """
    place = absolute_path(url)
    *above, work, item_id, digest, name = ["", "", "", *place.split("/")]
    destination = "/".join(above[3:])
    if work != WORK_FOLDER or name != RUN_NAME or not destination or destination.endswith(("/", ":")):
        msg = f"--run {redact_url(url)}: give what `plan` printed, …/{WORK_FOLDER}/ITEM/DIGEST/{RUN_NAME}"
        raise ConfigError(msg)
    return RunPlace(destination=destination, item_id=item_id, digest=digest)


def read_run(url: str, store: Store) -> tuple[RunPlace, RunManifest]:
    """Read a run's document.

    Raises
    ------
    ConfigError
        The URL is not one of a run, or the document is of another version.
    InputError
        There is no such object, or it is no such document.
    StorageError
        Storage or the network failed.
    """
    place = parse_run_url(url)
    name = redact_url(place.url)
    try:
        raw = json.loads(store.read_bytes(place.url, max_bytes=_MAX_BYTES))
        version = raw.get("version") if isinstance(raw, dict) else None
        if isinstance(version, str) and version != read_version():
            msg = f"{name} was planned by version {version[:100]}, and this is {read_version()}: plan again"
            raise ConfigError(msg)
        document = RunManifest.model_validate(raw)
    except (ValueError, RecursionError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        msg = f"{name} is not the document of a run ({reason[:300]}); plan again"
        raise InputError(msg) from error
    if (document.item_id, document.digest) != (place.item_id, place.digest):
        msg = f"{name} is the document of another run ({document.item_id}, {document.digest[:16]}); plan again"
        raise InputError(msg)
    return place, document


def write_run(prepared: Prepared, destination: str, *, created: str, overwrite: bool, cut: Cut) -> str:
    """Write the document of a planned run, and tell its path or URL.

    Where the run was planned before and is not finished, it keeps the time of that: what was done for it still counts, and its
    Item comes out the same.

    Parameters
    ----------
    destination
        Folder path or URL; the mosaic goes to ``destination/item_id/``.

    Raises
    ------
    ConfigError
        Where a secret would get into it, or it cannot be written there.
    StorageError
        Storage or the network failed.
    """
    base = absolute_path(destination)
    place = RunPlace(destination=base, item_id=prepared.item_id, digest=prepared.digest)
    store = Store(access=prepared.access)
    config, table = prepared.plan.config, prepared.inputs_table
    check_unsigned(config)
    drop = partial(_drop_signature, name="inputs", is_signing=config.inputs.sign is not None)
    drop_known = partial(_drop_signature, name="reference", is_signing=config.reference.sign is not None)
    drop_check = partial(_drop_signature, name="check", is_signing=config.check.sign is not None)
    scenes = sorted(prepared.plan.scenes, key=lambda scene: scene.priority)
    document = RunManifest(
        version=read_version(),
        digest=prepared.digest,
        item_id=prepared.item_id,
        created=created,
        overwrite=overwrite,
        config=decisive_settings(config),
        scenes=tuple(_map_hrefs(scene, drop) for scene in scenes),
        references=tuple(_map_hrefs(reference, drop_known) for reference in prepared.references),
        checks=tuple(_map_hrefs(check, drop_check) for check in prepared.checks),
        findings=tuple(replace(finding, message=hide_published(finding.message)) for finding in prepared.findings),
        registration=replace(prepared.registration, api=None, token=None),
        hosts=prepared.access.hosts,
        networks=prepared.access.networks,
        inputs_table=None if table is None else hashlib.sha256(table).hexdigest(),
        chunks_per_task=cut.chunks_per_task,
        tile_blocks=cut.tile_blocks,
    )
    with suppress(MosaicError):
        if store.exists(place.url):
            previous = read_run(place.url, store)[1]
            document = document.model_copy(update={"created": previous.created})
    if table is not None:
        store.write_bytes(join_url(place.folder, _TABLE), table, overwrite=True)
    store.write_bytes(place.url, document.model_dump_json().encode(), overwrite=True, content_type="application/json")
    return place.url
