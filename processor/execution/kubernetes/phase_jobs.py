"""A run whose phases are Kubernetes Jobs: how large they are, what their pods are told, and how far they have come."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from processor.config import Config, local_settings, render_value
from processor.errors import ConfigError
from processor.execution.kubernetes.api import JobsApi
from processor.execution.kubernetes.coordinator import PhaseProgress, run_phases
from processor.execution.kubernetes.jobs import PhaseJob
from processor.execution.phases import Run
from processor.execution.run import Outcome, Request, conclude, plan_tasks
from processor.execution.run_manifest import open_run
from processor.mosaic.budget import estimate_phases
from processor.process.progress import Tracker
from processor.publish.assemble import Published
from processor.publish.item import Prepared
from processor.publish.output_paths import find_kept_stages

_SHARD_BYTES: Final = 64 * 10**9  # decoded, of one pod: minutes of work, beside the seconds that a pod takes to start
_MOST_SHARDS: Final = 1000
_SLOWEST: Final = 10 * 10**6  # decoded bytes that a pod gets done in a second, at the least: far away, on a busy network
_PATIENCE: Final = 1800  # seconds: for pods to be placed, to fetch the image and to be repeated
_SINGLE: Final = frozenset({"solve", "assemble"})
_OWN: Final = "shared.temp_dir"


def execute_kubernetes(
    request: Request,
    prepared: Prepared,
    tracker: Tracker,
    *,
    api: JobsApi | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Outcome:
    """Have all tasks done by pods; the same command goes on where it was interrupted.

    Parameters
    ----------
    api, environ
        As for :func:`processor.execution.kubernetes.coordinator.run_phases`.

    Raises
    ------
    ConfigError
        Pods could not reach the destination; or as :func:`processor.execution.kubernetes.coordinator.run_phases`.
    MosaicError
        As every phase.
    """
    if "://" not in request.destination and "KUBERNETES_SERVICE_HOST" not in environ:
        msg = f"--output {request.destination}: pods do not have the files of this machine; name a bucket"
        raise ConfigError(msg)
    item = request.find_destination(prepared).check()
    if item is not None:
        return conclude(request, prepared, Published(item=item), already_done=True, by_tasks=True)
    config = prepared.plan.config
    run = open_run(plan_tasks(request, prepared), config)
    watch = _Watch(tracker)
    try:
        run_phases(
            plan_jobs(run),
            run_url=run.url,
            settings=config.kubernetes,
            api=api,
            options=list_options(config),
            is_done=lambda job: run.is_done(job.phase),
            on_progress=watch.update,
            environ=environ,
        )
    finally:
        watch.close()
    return conclude(request, prepared, Published(item=run.require_item()), by_tasks=True)


def plan_jobs(run: Run) -> tuple[PhaseJob, ...]:
    """The Jobs of a run's phases, sized by the plan."""
    plan = run.prepared.plan
    shared = plan.config.shared.model_copy(update={"tile_threads": _threads(plan.config)})
    sized = replace(plan, config=plan.config.model_copy(update={"shared": shared}))
    kept = len(find_kept_stages(plan.config, plan.scenes))
    estimates = estimate_phases(sized, run.store.cut.tile_blocks, kept_stages=kept)
    jobs = []
    for phase in plan.phases:
        estimate, tasks = estimates[phase], run.count_tasks(phase)
        wanted = plan.config.kubernetes.shards or min(_MOST_SHARDS, math.ceil(estimate.amount / _SHARD_BYTES))
        shards = 1 if phase in _SINGLE else max(1, min(tasks, wanted))
        job = PhaseJob(
            phase=phase,
            tasks=tasks,
            shards=shards,
            memory_bytes=estimate.memory,
            scratch_bytes=estimate.scratch,
            deadline_seconds=_PATIENCE + estimate.seconds + math.ceil(estimate.amount / shards / _SLOWEST),
        )
        jobs.append(job)
    return tuple(jobs)


def _threads(config: Config) -> int:
    """Threads of a pod: a node has more processors than the pod may use."""
    setting = config.shared.tile_threads
    return setting if isinstance(setting, int) else max(1, math.ceil(config.kubernetes.cpu))


def list_options(config: Config) -> tuple[str, ...]:
    """What pods are told besides the run: settings of this process that are not the usual ones, no secret among them."""
    flags = {
        parameter.path: value
        for parameter, value in local_settings(config).items()
        if not parameter.is_secret and parameter.path != _OWN and parameter.section != "kubernetes"
    }
    flags["shared.tile_threads"] = _threads(config)
    return tuple(
        f"--{path}={value if isinstance(value, str) else render_value(value)}" for path, value in sorted(flags.items())
    )


class _Watch:
    """Shows the shards of each phase that are done as the results of a pass.

    Parameters
    ----------
    tracker
        Shows passes.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._phase: str | None = None
        self._done = 0
        self._new: deque[int] = deque()
        self._pass: Iterator[int] = iter(())

    def update(self, progress: PhaseProgress) -> None:
        """Take note of a change."""
        if progress.phase != self._phase:
            self.close()
            self._phase, self._done = progress.phase, 0
            self._pass = self._tracker.track(
                self._feed(), name=progress.phase, total=progress.shards, amount=float, unit="shards"
            )
            self._new.append(0)  # from here on the clock runs, whenever the first shard is done
            next(self._pass)
        if progress.done > self._done:
            self._new.append(progress.done - self._done)
            self._done = progress.done
            next(self._pass)

    def close(self) -> None:
        """End the pass that is shown."""
        for _ in self._pass:
            pass

    def _feed(self) -> Iterator[int]:
        """What is new, as far as it has come; whoever asks for more than that ends the pass."""
        while self._new:
            yield self._new.popleft()
