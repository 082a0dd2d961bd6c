"""The phases of a run as Indexed Jobs: created or found again, waited for, explained where they fail.

A Job's name follows from the run and the phase, so a coordinator that was restarted finds what the one before it began: it
waits for a Job that runs, and replaces one that failed or was made otherwise. Whatever a pod did is in the store and counts as
done, so nothing of this decides about results, only about when they are there.
"""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Final

from processor.config.general import Kubernetes
from processor.errors import ConfigError, MosaicError, TransientError
from processor.execution.kubernetes.api import JobsApi, Pace, QuotaError, connect
from processor.execution.kubernetes.failure import find_failure
from processor.execution.kubernetes.jobs import (
    DIGEST_ANNOTATION,
    Manifest,
    PhaseJob,
    Worker,
    build_job,
    name_job,
    read_worker,
    task_arguments,
)
from processor.execution.kubernetes.pending import PendingPods, advise, judge_refusal
from processor.execution.kubernetes.shard_failures import ShardFailures
from processor.execution.kubernetes.status import JobState, expand_indexes, read_state
from processor.process.logs import log_event

_LOGGER = logging.getLogger(__name__)
_MOST_RAISED: Final = 4  # times the plan's estimate of memory and scratch
_MOST_VANISHED: Final = 3
_RESUME: Final = "run the same command again"
_LAST_WORDS: Final = 4.0  # seconds: to delete a Job in, when asked to stop


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseProgress:
    """How far a phase has come."""

    phase: str
    """Name of the phase."""
    job: str
    """Name of its Job."""
    shards: int
    """Number of shards."""
    done: int
    """Number of shards that are done."""
    failed: int
    """Number of shards that failed."""
    active: int
    """pods."""


def run_phases(
    jobs: Sequence[PhaseJob],
    *,
    run_url: str,
    settings: Kubernetes,
    api: JobsApi | None = None,
    options: Sequence[str] = (),
    is_done: Callable[[PhaseJob], bool] | None = None,
    on_progress: Callable[[PhaseProgress], None] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Run phases one after the other, each as an Indexed Job, and wait for them.

    Parameters
    ----------
    run_url
        Where the plan is, as ``mosaic-processor task --run`` takes it.
    api
        Connection; None: to the cluster that this runs in, or that of the kubeconfig.
    options
        Further arguments of ``mosaic-processor task``, none of them secret.
    is_done
        Whether a phase's results are all in the store: it is skipped then, and a Job that succeeded once but whose results are
        gone is replaced. None: a Job that succeeded is believed.
    on_progress
        Told of each change.
    environ
        POD_NAME and POD_NAMESPACE name the coordinator's pod, where it is one.

    Raises
    ------
    ConfigError
        Where the API refuses what is asked, or a pod ended with exit code 2.
    InputError
        Where a pod ended with exit code 13.
    TransientError
        Where a phase failed otherwise, or the API cannot be reached.
    """
    with ExitStack() as stack:
        if api is None:
            api = connect(settings.namespace, environ, Pace())
            stack.callback(api.close)
        worker = find_worker(api, settings, environ)
        executor = _Executor(api, worker, settings, run_url, options, on_progress)
        for job in jobs:
            if job.tasks > 0 and not (is_done and is_done(job)):
                executor.run(job, believed=is_done is None)
            executor.leave(job)


def find_worker(api: JobsApi, settings: Kubernetes, environ: Mapping[str, str]) -> Worker:
    """What workers take over from the coordinator, found by its pod's name: from the template of its Job, else from the pod."""
    name, namespace = environ.get("POD_NAME"), environ.get("POD_NAMESPACE", api.namespace)
    template, owner = None, None
    if name and namespace == api.namespace:
        pod = api.find_pod(name)
        if pod is None:
            msg = f"there is no pod {name} in namespace {namespace}: POD_NAME and POD_NAMESPACE must name the coordinator's own"
            raise ConfigError(msg)
        template, owner = pod, _refer(pod, "v1", "Pod")
        owners = [
            o for o in pod["metadata"].get("ownerReferences") or () if (o["apiVersion"], o["kind"]) == ("batch/v1", "Job")
        ]
        job = api.find_job(owners[0]["name"]) if owners else None
        if job is not None:
            template, owner = job["spec"]["template"], _refer(job, "batch/v1", "Job")
    worker = read_worker(template, settings, owner)
    if worker is None:
        msg = (
            "kubernetes.image is needed outside of a pod of its own namespace: name the image of the workers by "
            "--kubernetes.image; in a pod, give it POD_NAME and POD_NAMESPACE (see k8s/overlays/coordinator)"
        )
        raise ConfigError(msg)
    return worker


def _refer(thing: Manifest, version: str, kind: str) -> Manifest:
    """Have the garbage collector remove what this owns; not as its controller, or a queue would take both for one workload."""
    return {"apiVersion": version, "kind": kind, "name": thing["metadata"]["name"], "uid": thing["metadata"]["uid"]}


class _Executor:
    """Runs the phases of one run."""

    def __init__(
        self,
        api: JobsApi,
        worker: Worker,
        settings: Kubernetes,
        run_url: str,
        options: Sequence[str],
        on_progress: Callable[[PhaseProgress], None] | None,
    ) -> None:
        self._api, self._pace, self._worker, self._settings = api, api.pace, worker, settings
        self._run_url, self._options, self._on_progress = run_url, tuple(options), on_progress
        self._last: PhaseProgress | None = None
        self._pending = ""
        self._earlier: list[str] = []  # Jobs of phases that are done
        self._factor = 1  # of the plan's estimates: what one phase learns holds for those after it

    def run(self, job: PhaseJob, *, believed: bool) -> None:
        """Run one phase to its end.

        Parameters
        ----------
        believed
            Whether a Job that succeeded need not be run again.
        """
        try:
            self._run(job, believed=believed)
        except MosaicError:
            raise
        except BaseException:  # a signal, most likely: what it leaves behind is for the user to say
            self._stop(name_job(self._run_url, job.phase))
            raise

    def leave(self, job: PhaseJob) -> None:
        """Take note that a phase is done: nobody waits for its Job any more."""
        self._earlier.append(name_job(self._run_url, job.phase))

    def _run(self, job: PhaseJob, *, believed: bool) -> None:
        name = name_job(self._run_url, job.phase)
        log_event(_LOGGER, "phase-started", f"{job.phase}: began, {job.shards} shards in Job {name}", job=name)
        self._tell(PhaseProgress(phase=job.phase, job=name, shards=job.shards, done=0, failed=0, active=0))
        while True:
            manifest = build_job(
                job, self._worker, self._settings, run_url=self._run_url, options=self._options, factor=self._factor
            )
            state, lack = self._finish(job, manifest, believed=believed)
            if state.finished == "complete":
                log_event(_LOGGER, "phase-finished", f"{job.phase}: all shards were done", job=state.name)
                return
            if state.finished:
                failure = find_failure(self._api, state)
                lack = failure.starved
                if lack is None or state.factor >= _MOST_RAISED:
                    task = ["mosaic-processor", *task_arguments(job, self._run_url, self._options)]
                    raise failure.describe(
                        phase=job.phase,
                        shards=job.shards,
                        place=f"{self._api.namespace}/{failure.job.name}",
                        again=shlex.join(task),
                        resume=_RESUME,
                        pending=self._pending,
                    )
            self._factor = state.factor * 2  # of the Job, which a coordinator before this one may have raised
            message = f"{job.phase}: pods lacked {lack}; this and later phases get {self._factor} times the estimate"
            log_event(_LOGGER, "estimate-raised", message, level=logging.WARNING, job=state.name, factor=self._factor)
            if not state.finished:
                self._api.delete_job(state.name, state.uid)

    def _finish(self, job: PhaseJob, manifest: Manifest, *, believed: bool) -> tuple[JobState, str | None]:
        """Have a Job, and wait for it; once more if somebody deletes it.

        Returns
        -------
        The Job at its end; or while it runs, and what its pods are killed for lack of.
        """
        name = manifest["metadata"]["name"]
        for _ in range(_MOST_VANISHED):
            failures = ShardFailures(self._api, job)
            state = self._wait(job, manifest, self._ensure(manifest, believed=believed), failures)
            if state is not None:
                return state, failures.lack
            log_event(_LOGGER, "job-vanished", f"Job {name} was deleted by somebody else", level=logging.WARNING, job=name)
        msg = f"Job {self._api.namespace}/{name} was deleted {_MOST_VANISHED} times while it ran; to resume: {_RESUME}"
        raise TransientError(msg)

    def _ensure(self, manifest: Manifest, *, believed: bool) -> JobState:
        """The Job of a manifest: the one that is there, if it will do, else a new one."""
        name, digest = manifest["metadata"]["name"], manifest["metadata"]["annotations"][DIGEST_ANNOTATION]
        begin, attempt, refusal = self._pace.clock(), 0, ""
        while True:
            found = self._api.find_job(name)
            if found is None:
                try:
                    created = self._api.create_job(manifest)
                except QuotaError as error:
                    refusal = self._make_room(name, str(error), begin, refusal)
                    created = None
                if created is not None:
                    log_event(_LOGGER, "job-created", f"created Job {name}", job=name, namespace=self._api.namespace)
                    return read_state(created)
            elif self._is_wanted(read_state(found), digest, believed=believed):
                return read_state(found)
            if not refusal and self._pace.clock() > begin + self._pace.gone:
                msg = f"Job {self._api.namespace}/{name} was deleted but does not go away; to resume: {_RESUME}"
                raise TransientError(msg)
            self._pace.sleep(self._pace.pause(attempt))
            attempt += 1

    def _make_room(self, name: str, refusal: str, begin: float, told: str) -> str:
        """Delete what this run has in the way of another Job: those that are complete count until they are gone.

        Raises
        ------
        ConfigError, TransientError
            Where the quota has refused for longer than is allowed.
        """
        found = [job for job in map(self._api.find_job, self._earlier) if job is not None]
        self._earlier.clear()
        for state in (state for state in map(read_state, found) if state.finished == "complete"):
            message = f"deleted Job {state.name}, which was complete: a quota has no room for another"
            log_event(_LOGGER, "job-deleted", message, job=state.name)
            self._api.delete_job(state.name, state.uid)
        advice = advise(refusal, self._settings)
        if not told:
            log_event(_LOGGER, "job-refused", f"Job {name} has to wait: {advice}", level=logging.WARNING, job=name)
        limit = self._pace.patience if self._settings.pending_limit is None else self._settings.pending_limit
        if self._pace.clock() >= begin + limit:
            msg = f"Job {self._api.namespace}/{name} was refused for {limit:.0f} s: {advice}; to resume: {_RESUME}"
            raise (judge_refusal(refusal) or TransientError)(msg)
        return advice

    def _is_wanted(self, state: JobState, digest: str, *, believed: bool) -> bool:
        """Whether a Job that is there will do; one that will not is deleted, unless it is on its way already."""
        if state.run_url != self._run_url:
            msg = f"Job {self._api.namespace}/{state.name} is not of this run: delete it, or use another namespace"
            raise ConfigError(msg)
        if state.deleting:
            return False
        if believed if state.finished == "complete" else not state.finished and state.digest == digest:
            message = f"found Job {state.name}, {len(expand_indexes(state.completed))} shards done"
            log_event(_LOGGER, "job-found", message, job=state.name, namespace=self._api.namespace)
            return True
        end = f" ({state.reason}: {state.message})" if state.finished == "failed" else ""
        message = f"replaced Job {state.name}, which {state.finished or 'was made otherwise'}{end}"
        log_event(_LOGGER, "job-replaced", message, job=state.name, namespace=self._api.namespace)
        self._api.delete_job(state.name, state.uid)
        return False

    def _wait(self, job: PhaseJob, manifest: Manifest, state: JobState, failures: ShardFailures) -> JobState | None:
        """Wait for the end of a Job, or until it is plain that its pods need more; None where it vanished.

        What is read anew after each watch counts, so it does not matter how a watch ends or what it missed.
        """
        uid, limit, attempt = state.uid, manifest["spec"]["activeDeadlineSeconds"] + self._pace.grace, 0
        pending, self._pending = PendingPods(self._api, self._settings, f"{self._api.namespace}/{state.name}"), ""
        until, patience = self._pace.clock() + limit, self._pace.clock() + self._pace.queue
        while True:
            self._report(job, state)
            failures.look(state)
            begin = self._pace.clock()
            if state.finished or _is_short(state, failures):
                return state
            if state.suspended:  # the API's own count begins anew, too
                until = min(begin + limit, patience)
            if begin >= until:
                why = "is still suspended: its queue does not admit it" if state.suspended else "outlived its own deadline"
                waits = f" ({pending.why})" if pending.why else ""
                msg = f"Job {self._api.namespace}/{state.name} {why}{waits}; to resume: {_RESUME}"
                raise TransientError(msg)
            is_calm = (state.ready or state.suspended) and not failures.are_new(state)
            length = self._pace.watch if is_calm else self._pace.look
            latest = self._follow(job, state, failures, min(until, begin + length))
            if latest is None or latest.finished:
                return latest
            if latest.version == state.version and self._pace.clock() - begin < length / 2:
                self._pace.sleep(self._pace.pause(attempt))
                attempt += 1
            else:
                attempt = 0
            found = self._api.find_job(state.name)
            if found is None or found["metadata"]["uid"] != uid:
                return None
            state = read_state(found)
            if not state.finished:  # else it counts why its pods waited until then
                pending.look(state)
                self._pending = pending.why

    def _follow(self, job: PhaseJob, state: JobState, failures: ShardFailures, until: float) -> JobState | None:
        """The state of a Job at the end of one watch, or when failed pods are to be looked at; None where it was deleted."""
        with closing(self._api.watch_job(state.name, state.version, until - self._pace.clock())) as events:
            for kind, found in events:
                state = read_state(found)
                self._report(job, state)
                if state.finished or failures.are_due(state):
                    break
                if kind == "DELETED":
                    return None
                if self._pace.clock() >= until:
                    break
        return state

    def _report(self, job: PhaseJob, state: JobState) -> None:
        """Tell of a change."""
        progress = PhaseProgress(
            phase=job.phase,
            job=state.name,
            shards=job.shards,
            done=len(expand_indexes(state.completed)),
            failed=len(expand_indexes(state.failed)),
            active=state.active,
        )
        self._tell(progress)

    def _tell(self, progress: PhaseProgress) -> None:
        if progress != self._last and self._on_progress is not None:
            self._on_progress(progress)
        self._last = progress

    def _stop(self, name: str) -> None:
        """Delete or leave a Job, as was asked; what happened stays in the store in either case."""
        if self._settings.on_interrupt == "leave":
            log_event(_LOGGER, "job-left", f"left Job {name} to itself: a rerun finds it", job=name)
            return
        try:
            self._api.delete_job(name, patience=_LAST_WORDS)
        except MosaicError as error:
            message = f"could not delete Job {name}: {error}; kubectl -n {self._api.namespace} delete job {name}"
            log_event(_LOGGER, "job-left", message, level=logging.WARNING, job=name)
            return
        log_event(_LOGGER, "job-deleted", f"deleted Job {name}", job=name)


def _is_short(state: JobState, failures: ShardFailures) -> bool:
    """Whether more memory and scratch space help, and may be had."""
    return failures.lack is not None and state.factor < _MOST_RAISED
