"""A run by its tasks: planned, done by this process or by others, and concluded; what is done outlives an interruption."""

from __future__ import annotations

from typing import Any

from processor.errors import ConfigError, StorageError
from processor.execution.phases import Run, find_published_item, list_phases, open_run
from processor.execution.run import Outcome, Request, check_place, conclude
from processor.execution.run_manifest import write_run
from processor.execution.work import run_shard
from processor.process.progress import Tracker
from processor.publish.item import Prepared
from processor.storage.folders import remove_folder

__all__ = ["execute_tasks", "plan_tasks"]


def plan_tasks(request: Request, prepared: Prepared, **cut: Any) -> str:
    """Write the document of a planned run, and give its path or URL.

    Parameters
    ----------
    cut
        ``chunks_per_task`` and ``tile_blocks``, where they are not the usual ones.

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
    check_place(request, prepared)
    return write_run(prepared, request.destination, created=request.created, overwrite=request.overwrite, **cut)


def execute_tasks(request: Request, prepared: Prepared, tracker: Tracker, **cut: Any) -> Outcome:
    """Do all tasks in this process, with results in the store: the same command goes on where it was interrupted.

    Raises
    ------
    MosaicError
        As :func:`plan_tasks` and every phase.
    """
    published = check_place(request, prepared)
    if published is not None:
        return conclude(request, prepared, published, already_done=True)
    run = open_run(plan_tasks(request, prepared, **cut), prepared.plan.config)
    for phase in list_phases(run):
        run_shard(run, phase, shards=1, index=0, tracker=tracker)
    return conclude_tasks(request, prepared, run)


def conclude_tasks(request: Request, prepared: Prepared, run: Run) -> Outcome:
    """Conclude a run whose tasks are done, and remove what they left, unless that is to be kept."""
    item = find_published_item(run)
    if item is None:
        msg = f"all tasks were done, and {run.destination.item_url} is not there: somebody removed it; do it again"
        raise StorageError(msg)
    if prepared.plan.config.shared.delete_temp_dir:
        remove_folder(run.work.store, run.work.folder, above=2)
    return conclude(request, prepared, item)
