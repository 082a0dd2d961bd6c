"""The phases of a run, and the shards that the tasks of a phase are done in.

measure: runs of chunks. blocks: the same chunks again, where the number of blocks depends on the statistics. solve: everything
that needs no pixel. render: tiles of the mosaic. assemble: the files, the report and the Item, whose being there ends the run.
Which of them a run has is in its plan.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from processor.errors import MosaicError, StorageError
from processor.execution.failures import noting_failures
from processor.execution.leftovers import clean_up
from processor.execution.passes import measure, render, solve
from processor.execution.task_store import TaskStore
from processor.execution.workbench import Workbench, open_workbench
from processor.mosaic.fidelity import judge_fidelity
from processor.mosaic.plan import Phase
from processor.process.logs import log_event
from processor.process.progress import Tracker
from processor.publish.artifacts import ArtifactFile, make_stage_products
from processor.publish.assemble import Published, assemble
from processor.publish.destination import Destination
from processor.publish.item import Mosaic, Prepared
from processor.publish.output_paths import find_kept_stages
from processor.publish.register import register
from processor.redaction import redact_url
from processor.stages.check_cells import Fidelity

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A planned run, and where the results of its tasks are."""

    prepared: Prepared
    """The planned run."""
    destination: Destination
    """Where it publishes."""
    store: TaskStore
    """Where its tasks hand their results to one another."""
    url: str = ""
    """Path or URL of its manifest; empty where it has none, in one process."""

    def find_missing(self, phase: Phase) -> list[int]:
        """Numbers of the tasks of a phase whose results are not there.

        Raises
        ------
        ExistsError
            Something else is published under the run's name.
        StorageError
            Storage or the network failed; or, for render, nothing is solved yet.
        """
        if phase == "assemble":
            return [0] if self.destination.find_item() is None else []
        return self.store.find_missing(phase)

    def is_done(self, phase: Phase) -> bool:
        """Whether all results of a phase are there; errors as those of :meth:`find_missing`."""
        if phase == "render" and self.store.find_missing("solve"):
            return False
        return not self.find_missing(phase)

    def count_tasks(self, phase: Phase) -> int:
        """How many tasks a phase has."""
        return {"solve": 1, "assemble": 1, "render": len(self.store.tiles)}.get(phase, len(self.store.batches))

    def require_before(self, phase: Phase) -> None:
        """Refuse a phase before the one before it is complete.

        Raises
        ------
        StorageError
            It is not, or storage failed.
        """
        phases = self.prepared.plan.phases
        before = phases[max(phases.index(phase) - 1, 0)]
        missing = [] if before == phase else self.find_missing(before)
        if missing:
            msg = (
                f"{phase} needs all results of {before}, and {len(missing)} of {self.count_tasks(before)} are not there, the "
                f"first that of task {missing[0]}; run `mosaic-processor task {before} --run {redact_url(self.url)}` first"
            )
            raise StorageError(msg)

    def require_item(self) -> dict[str, Any]:
        """The Item, which is there when all phases are done.

        Raises
        ------
        StorageError
            It is not.
        """
        item = self.destination.find_item()
        if item is None:
            msg = f"all tasks were done, and {self.destination.item_url} is not there: somebody removed it; do it again"
            raise StorageError(msg)
        return item


def _assemble(run: Run, bench: Workbench) -> Published:
    """Make and publish everything, and remove the results of tasks."""
    store = run.store
    try:
        measures, solution = store.get_solution(with_overlaps=True)
        rendered = store.get_mosaic(bench.tracker)
        plan = run.prepared.plan
        rasters: list[ArtifactFile] = []
        with bench.reading("write") as reader:
            for kept in find_kept_stages(plan.config, plan.scenes):
                made = make_stage_products(plan, solution, reader, kept.stage, bench.scratch, kept.urls)
                rasters += bench.tracker.track(made, name="write", total=len(plan.scenes), amount=lambda _: 1.0, unit="scenes")
        fidelity: tuple[Fidelity, ...] = ()
        if plan.checks and rendered is not None:
            with bench.reading("check") as reader:
                fidelity = judge_fidelity(plan, rendered, reader)
        bench.close()
        mosaic = Mosaic(
            fidelity=fidelity, measures=measures, solution=solution, rendered=rendered, stage_rasters=tuple(rasters)
        )
        published = assemble(run.destination, run.prepared, mosaic, bench.scratch, store)
    except MosaicError:
        item = run.destination.find_item()
        if item is None:
            raise
        published = Published(item=item)  # another process was faster, and has removed the parts
    if run.prepared.plan.config.shared.delete_temp_dir:
        store.clear()
    return published


def do_missing(
    run: Run, phase: Phase, opening: AbstractContextManager[Workbench], *, shards: int = 1, index: int = 0
) -> Published | None:
    """Do the tasks of a phase that fall to a shard and are not done: tasks[index::shards].

    Parameters
    ----------
    opening
        Opens the workbench, where there is anything to do.

    Returns
    -------
    What was published, by this process or by another that was faster; None before the last phase, or where nothing was left.

    Raises
    ------
    StorageError
        The phase before is not complete, or storage failed.
    MosaicError
        As everything that is done here.
    """
    try:
        run.require_before(phase)
        mine = [number for number in run.find_missing(phase) if number % shards == index]
        if not mine:
            log_event(_LOGGER, "tasks-done", f"{phase}: nothing is left to do for shard {index} of {shards}")
            return None
        with opening as bench:
            plan, store = run.prepared.plan, run.store
            if phase == "assemble":
                return _assemble(run, bench)
            if phase == "solve":
                solve(plan, store)
            elif phase == "render":
                render(plan, store, mine, bench)
            else:
                measure(plan, store, phase, mine, bench)
            return None
    except MosaicError:
        # Another process may have finished meanwhile, and what this one wanted to read is gone; assembling looks itself.
        item = None if phase == "assemble" else run.destination.find_item()
        if item is None:
            raise
        return Published(item=item)


def run_shard(run: Run, phase: Phase, *, shards: int, index: int, tracker: Tracker) -> None:
    """Do a shard of a phase in a process of its own; after the last one, make the Item known. Errors: :func:`do_missing`."""
    if phase not in run.prepared.plan.phases:
        log_event(_LOGGER, "phase-empty", f"{phase}: this run has no such task")
        return
    item = run.destination.find_item()
    if item is None:
        folder = run.url.rpartition("/")[0]
        with noting_failures(run.destination.store, folder, phase=phase, shards=shards, index=index):
            published = do_missing(run, phase, open_workbench(run.prepared, tracker), shards=shards, index=index)
        item = None if published is None else published.item
    else:
        url = run.destination.item_url
        log_event(_LOGGER, "already-done", f"already done: {url} has these inputs and this configuration", item=url)
    if phase == "assemble" and item is not None:  # the process that published it may not have come so far
        destination = run.destination
        clean_up(destination, run.prepared, work=run.url.rpartition("/")[0])
        register(
            run.prepared.registration, item, folder=destination.folder, store=destination.store, overwrite=destination.overwrite
        )
