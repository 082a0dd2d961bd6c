"""The phases of a run, the results that each leaves, and which of them are there.

measure: runs of chunks. blocks: the same chunks again, where the number of blocks hangs on the statistics. solve: everything
that needs no pixel. render: tiles of the mosaic. assemble: the files, the report and the Item, whose being there ends the run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from processor.config import Config
from processor.errors import ExistsError, StorageError
from processor.execution.run_manifest import RunDocument, RunPlace, prepare_run, read_run
from processor.execution.task_store import Workplace
from processor.execution.tasks import Batches, Tile, batch_chunks, plan_tiles
from processor.publish.destination import Destination, find_published
from processor.publish.item import Prepared, Stamp
from processor.storage.options import resolve_access
from processor.storage.store import Store, join_url
from processor.storage.url import redact_url

__all__ = [
    "PHASES",
    "SOLVED",
    "Phase",
    "Run",
    "count_tasks",
    "find_missing",
    "find_published_item",
    "is_done",
    "is_own",
    "list_phases",
    "name_batch",
    "name_tile",
    "open_run",
    "read_solved",
    "require_before",
]

Phase = Literal["measure", "blocks", "solve", "render", "assemble"]
PHASES: Final[tuple[Phase, ...]] = get_args(Phase)

SOLVED: Final = "solved.json"
"""Which solution this run has: its digest keys what is rendered with it, so that parts of two never come together."""

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that was opened from its document."""

    place: RunPlace
    """Where the run's document lies."""
    document: RunDocument
    """The run's document."""
    prepared: Prepared
    """The planned run."""
    work: Workplace
    """Results of its tasks."""
    batches: Batches
    """The measuring tasks."""
    tiles: tuple[Tile, ...]
    """The rendering tasks."""

    @property
    def destination(self) -> Destination:
        """Where it publishes."""
        return Destination(
            store=self.work.store,
            folder=join_url(self.place.destination, self.place.item_id),
            item_id=self.place.item_id,
            overwrite=self.document.overwrite,
        )

    @property
    def stamp(self) -> Stamp:
        """What its Item says of its making."""
        return Stamp(created=self.document.created, self_href=self.destination.absolute_item_url)


def open_run(url: str, surroundings: Config) -> Run:
    """Read a run's document and make its plan again.

    Parameters
    ----------
    surroundings
        Configuration of this process, of which only what changes no byte counts.

    Raises
    ------
    ConfigError, InputError, StorageError
        As :func:`processor.execution.run_manifest.read_run` and :func:`processor.execution.run_manifest.prepare_run`.
    """
    store = Store(access=resolve_access(surroundings.io))
    place, document = read_run(url, store)
    prepared = prepare_run(document, place, surroundings)
    return Run(
        place=place,
        document=document,
        prepared=prepared,
        work=Workplace(store=Store(access=prepared.access), folder=place.folder),
        batches=batch_chunks(prepared.plan, document.chunks_per_task),
        tiles=plan_tiles(prepared.plan, document.tile_blocks),
    )


def list_phases(run: Run) -> tuple[Phase, ...]:
    """The phases that a run has, in order."""
    has_blocks = run.prepared.plan.has_late_blocks and bool(run.batches)
    absent = {"measure": not run.batches, "blocks": not has_blocks, "render": not run.tiles}
    return tuple(phase for phase in PHASES if not absent.get(phase, False))


def find_published_item(run: Run) -> dict[str, Any] | None:
    """The Item of this run, where it is published.

    Where a run replaces what is there, an Item made from the same at another time is not its own.

    Raises
    ------
    ExistsError
        There is another one, which may not be replaced.
    StorageError
        Storage or the network failed.
    """
    try:
        item = find_published(run.destination, run.document.digest)
    except ExistsError:
        if not run.document.overwrite:
            raise
        return None
    return item if item is not None and (not run.document.overwrite or is_own(run, item)) else None


def is_own(run: Run, item: dict[str, Any]) -> bool:
    """Whether this run, and not another one with the same inputs and configuration, made an Item."""
    properties = item.get("properties")
    found = properties if isinstance(properties, dict) else {}
    return (found.get("mosaic:digest"), found.get("created")) == (run.document.digest, run.document.created)


def find_missing(run: Run, phase: Phase) -> list[int]:
    """Numbers of the tasks of a phase whose results are not there.

    Raises
    ------
    ExistsError
        Something else is published under the run's name.
    StorageError
        Storage or the network failed; or, for render, nothing is solved yet.
    """
    if phase in {"measure", "blocks"}:
        present = run.work.list_names(phase)
        return [number for number in range(len(run.batches)) if name_batch(number) not in present]
    if phase == "render":
        present = run.work.list_names(f"render/{read_solved(run)[0]}")
        return [number for number, tile in enumerate(run.tiles) if name_tile(tile.row, tile.col) not in present]
    if phase == "solve":
        return [] if run.work.read_note(SOLVED) is not None else [0]
    return [] if find_published_item(run) is not None else [0]


def is_done(run: Run, phase: Phase) -> bool:
    """Whether all results of a phase are there; errors as those of :func:`find_missing`."""
    if phase == "render" and run.work.read_note(SOLVED) is None:
        return False
    return not find_missing(run, phase)


def count_tasks(run: Run, phase: Phase) -> int:
    """How many tasks a phase has."""
    return {"measure": len(run.batches), "blocks": len(run.batches), "render": len(run.tiles)}.get(phase, 1)


def require_before(run: Run, phase: Phase) -> None:
    """Refuse a phase before the one before it is complete.

    Raises
    ------
    StorageError
        It is not, or storage failed.
    """
    phases = list_phases(run)
    if phases.index(phase) == 0:
        return
    before = phases[phases.index(phase) - 1]
    missing = find_missing(run, before)
    if missing:
        total = count_tasks(run, before)
        msg = (
            f"{phase} needs all results of {before}, and {len(missing)} of {total} are not there, the first that of task "
            f"{missing[0]}; run `mosaic-processor task {before} --run {redact_url(run.place.url)}` first"
        )
        raise StorageError(msg)


def name_batch(number: int) -> str:
    """Name of a measuring task's result."""
    return f"{number:06d}.bin"


def name_tile(row: int, col: int) -> str:
    """Name of a tile's part."""
    return f"{row:05d}-{col:05d}.part"


def read_solved(run: Run) -> tuple[str, str]:
    """Digests of the solution and of the overlaps of this run.

    Raises
    ------
    StorageError
        Nothing is solved yet, or storage failed.
    """
    note = run.work.read_note(SOLVED)
    if note is None:
        msg = (
            f"nothing is solved yet for {redact_url(run.place.url)}; run `mosaic-processor task solve --run "
            f"{redact_url(run.place.url)}` first"
        )
        raise StorageError(msg)
    digests = note.get("solution", ""), note.get("overlaps", "")
    if not all(_DIGEST.fullmatch(digest) for digest in digests):
        raise run.work.refuse(SOLVED, "it names no solution")
    return digests
