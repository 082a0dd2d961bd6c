"""A small Kubernetes API on the loopback interface, for the executor: Jobs, pods and logs of one namespace, over real HTTP.

It follows what the documentation says of Indexed Jobs (completions, parallelism, retries per index with their growing pauses,
maxFailedIndexes, podFailurePolicy, deadline, suspension, clean-up by time and by owner), of watches (resource versions, expiry
with 410), of deletion (preconditions), of refusals (RBAC, quotas, 409, 422) and of events. Pods are scripts: a function says
how each ends.

Time is its own. It passes while somebody sleeps by :attr:`Cluster.pace`, and while a watch is open; so a test takes as long as
its requests, and comes out the same each time. One thing is kinder than a cluster: a watch ends with the event that ends its
Job, and with one that tells of a failed pod, because a client that has read it no longer looks, and time must not pass unseen.
"""

from __future__ import annotations

import copy
import itertools
import math
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from processor.execution.kubernetes.api import Pace

__all__ = ["NEEDED_RIGHTS", "Cluster", "Fails", "PodRun", "Refused", "Stuck", "Works"]

Thing = dict[str, Any]

NAMESPACE: Final = "mosaics"
NEEDED_RIGHTS: Final = frozenset(
    {
        ("get", "jobs"),
        ("create", "jobs"),
        ("delete", "jobs"),
        ("watch", "jobs"),
        ("get", "pods"),
        ("list", "pods"),
        ("get", "pods/log"),
        ("list", "events"),
    }
)
_BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
_FIRST_BACKOFF: Final = 10.0  # seconds, doubled for each failure of an index
_LONGEST_BACKOFF: Final = 360.0
_LABEL: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")


@dataclass(frozen=True, kw_only=True)
class PodRun:
    """One start of a pod: attempt counts from 0 for each index of a Job."""

    job: Thing
    phase: str
    index: int
    attempt: int


@dataclass(frozen=True, kw_only=True)
class Works:
    """A pod that does its work."""

    seconds: float = 10.0


@dataclass(frozen=True, kw_only=True)
class Fails:
    """A pod that fails; reason is that of its container, pod_reason that of the pod (Evicted)."""

    code: int
    seconds: float = 5.0
    log: str = ""
    reason: str = "Error"
    pod_reason: str = ""
    disrupted: bool = False


@dataclass(frozen=True, kw_only=True)
class Stuck:
    """A pod that never begins. events: reasons and messages."""

    reason: str
    message: str
    scheduled: bool = True
    events: tuple[tuple[str, str], ...] = ()


class Refused(Exception):  # noqa: N818 - an answer, not an error of the fake
    """An answer of the API that is a failure."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message


@dataclass(kw_only=True)
class _Work:
    """What the controller knows of a Job beside its status."""

    failures: Counter[int] = field(default_factory=Counter)
    attempts: Counter[int] = field(default_factory=Counter)
    ready_at: dict[int, float] = field(default_factory=dict)
    succeeded: set[int] = field(default_factory=set)
    given_up: set[int] = field(default_factory=set)
    started: float | None = None
    finished: float | None = None
    lost: int = 0  # failed pods that counted
    noted: Thing = field(default_factory=dict)  # the status that was last told


class Cluster:
    """The state of a cluster, and its controllers.

    program: says how a pod ends.
    rights: what the client may do. used: what it did.
    accounts: the service accounts that there are. quota: what the namespace may have, by the names of a ResourceQuota:
    count/jobs.batch, limits.cpu.
    """

    def __init__(self, program: Callable[[PodRun], Works | Fails | Stuck] | None = None) -> None:
        self.program = program or (lambda _: Works())
        self.rights = set(NEEDED_RIGHTS)
        self.used: set[tuple[str, str]] = set()
        self.jobs: dict[str, Thing] = {}
        self.pods: dict[str, Thing] = {}
        self.runs: list[PodRun] = []
        self.created: list[Thing] = []  # manifests, as they were sent
        self.history: list[tuple[int, str, Thing]] = []
        self.oldest = 0  # version; watches from before it have expired
        self.accounts = {"mosaic-worker"}
        self.quota: dict[str, float] = {}
        self.events: dict[tuple[str, str, str], Thing] = {}  # by uid of what they are about, reason and message
        self.ends_late_jobs = True  # else deadlines pass unnoticed: the Job controller is down
        self.linger = 0.0  # seconds for which finalizers keep a deleted Job
        self.lock = threading.RLock()
        self._now = 0.0
        self._works: dict[str, _Work] = {}
        self._logs: dict[str, str] = {}
        self._ends: dict[str, tuple[float, Works | Fails]] = {}
        self._deeds: list[tuple[float, Callable[[], None]]] = []
        self._numbers = itertools.count(1)
        self._version = 0

    # ---- time

    def clock(self) -> float:
        """Seconds since the cluster began."""
        return self._now

    @property
    def pace(self) -> Pace:
        """The executor's patience, in this cluster's time and without chance."""
        return Pace(clock=self.clock, sleep=self.sleep, jitter=lambda: 1.0)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        until = self._now + seconds
        while self.step(until):
            pass

    def at(self, seconds: float, deed: Callable[[], None]) -> None:
        """Have something happen at a time."""
        self._deeds.append((seconds, deed))

    def step(self, until: float) -> bool:
        """Go to the next moment at which something happens, or to a time; whether that is still ahead."""
        with self.lock:
            moments = [moment for moment in self._moments() if moment <= until]
            self._now = max(self._now, min(moments, default=until))
            due = [deed for moment, deed in self._deeds if moment <= self._now]
            self._deeds = [(moment, deed) for moment, deed in self._deeds if moment > self._now]
            for deed in due:
                deed()
            self._control()
            return bool(moments) or self._now < until

    def _moments(self) -> Iterator[float]:
        yield from (moment for moment, _ in self._deeds)
        yield from (moment for moment, _ in self._ends.values())
        for name, work in self._works.items():
            spec = self.jobs[name]["spec"]
            if work.finished is not None:
                if "ttlSecondsAfterFinished" in spec:
                    yield work.finished + spec["ttlSecondsAfterFinished"]
                continue
            yield from (moment for moment in work.ready_at.values() if moment > self._now)
            if work.started is not None and "activeDeadlineSeconds" in spec and self.ends_late_jobs:
                yield work.started + spec["activeDeadlineSeconds"]

    def _stamp(self) -> str:
        return (_BEGIN + timedelta(seconds=self._now)).strftime("%Y-%m-%dT%H:%M:%SZ")

    # ---- requests

    def create_job(self, manifest: Thing) -> Thing:
        """Take a Job in."""
        name = manifest["metadata"]["name"]
        if name in self.jobs:
            raise Refused(409, "AlreadyExists", f'jobs.batch "{name}" already exists')
        problem = find_problem(manifest)
        if problem:
            raise Refused(422, "Invalid", f'Job.batch "{name}" is invalid: {problem}')
        self._check_quota(f'jobs.batch "{name}"', "count/jobs.batch", 1, len(self.jobs))
        job = copy.deepcopy(manifest)
        job["metadata"] |= {"uid": f"uid-{next(self._numbers)}", "namespace": NAMESPACE, "creationTimestamp": self._stamp()}
        job["status"] = {}
        self.created.append(copy.deepcopy(manifest))
        self.jobs[name], self._works[name] = job, _Work()
        self._note("ADDED", job)
        self._control()
        return job

    def _check_quota(self, what: str, name: str, requested: float, used: float) -> None:
        """Refuse what a quota has no room for."""
        limited = self.quota.get(name, math.inf)
        if used + requested > limited:
            figures = f"requested: {name}={requested:g}, used: {name}={used:g}, limited: {name}={limited:g}"
            raise Refused(403, "Forbidden", f"{what} is forbidden: exceeded quota: mosaics, {figures}")

    def _admit_pod(self, job: Thing) -> None:
        """Refuse a pod that has no account or that a quota has no room for."""
        spec, what = job["spec"]["template"]["spec"], f'pods "{job["metadata"]["name"]}-0-" is forbidden'
        account = spec["serviceAccountName"]
        if account not in self.accounts:
            told = f'error looking up service account {NAMESPACE}/{account}: serviceaccount "{account}" not found'
            raise Refused(403, "Forbidden", f"{what}: {told}")
        if "limits.cpu" in self.quota:
            (limit,) = (container["resources"]["limits"].get("cpu") for container in spec["containers"])
            if limit is None:
                raise Refused(403, "Forbidden", f"{what}: failed quota: mosaics: must specify limits.cpu for: mosaic")
            cores = int(limit.removesuffix("m")) / 1000
            active = sum(pod["status"]["phase"] in {"Pending", "Running"} for pod in self.pods.values())
            self._check_quota(what.removesuffix(" is forbidden"), "limits.cpu", cores, active * cores)

    def add_event(self, uid: str, reason: str, message: str) -> None:
        """Tell of what happened to a thing."""
        event = {"reason": reason, "message": message, "involvedObject": {"uid": uid}, "lastTimestamp": self._stamp()}
        self.events[uid, reason, message] = event

    def delete_job(self, name: str, uid: str | None = None) -> None:
        """Remove a Job, its pods, and the Jobs that it owns."""
        job = self.find_job(name)
        if uid is not None and uid != job["metadata"]["uid"]:
            raise Refused(409, "Conflict", f"the UID in the precondition ({uid}) does not match {job['metadata']['uid']}")
        if self.linger > 0 and "deletionTimestamp" not in job["metadata"]:
            job["metadata"]["deletionTimestamp"] = self._stamp()
            self._note("MODIFIED", job)
            self.at(self._now + self.linger, lambda: self.delete_job(name))
            return
        del self.jobs[name], self._works[name]
        self._note("DELETED", job)
        for pod in self._pods_of(job):
            self._remove_pod(pod)
        for owned in [owned for owned in self.jobs.values() if _is_owned(owned, job)]:
            self.delete_job(owned["metadata"]["name"])

    def find_job(self, name: str) -> Thing:
        """A Job."""
        if name not in self.jobs:
            raise Refused(404, "NotFound", f'jobs.batch "{name}" not found')
        return self.jobs[name]

    def find_pod(self, name: str) -> Thing:
        """A pod."""
        if name not in self.pods:
            raise Refused(404, "NotFound", f'pods "{name}" not found')
        return self.pods[name]

    def read_log(self, name: str, container: str, lines: int) -> str:
        """The end of a log."""
        pod = self.find_pod(name)
        if container not in {c["name"] for c in pod["spec"]["containers"]}:
            raise Refused(400, "BadRequest", f"container {container} is not valid for pod {name}")
        return "".join(self._logs.get(name, "").splitlines(keepends=True)[-lines:])

    def suspend(self, name: str, *, suspended: bool) -> None:
        """What a queue does: hold a Job back, or let it go."""
        job = self.find_job(name)
        job["spec"]["suspend"] = suspended
        if suspended:
            self._works[name].started = None
            for pod in self._pods_of(job):
                self._remove_pod(pod)
        self._note("MODIFIED", job)
        self._control()

    def add_pod(self, pod: Thing) -> None:
        """Put a pod there that no Job of this cluster made: the coordinator's."""
        self.pods[pod["metadata"]["name"]] = pod

    def forget_history(self) -> None:
        """Let every watch expire that begins before now."""
        self.oldest = self._version + 1

    # ---- controllers

    def _control(self) -> None:
        """Let the controllers do what is due, until there is nothing more to do."""
        for name in list(self.jobs):
            if name in self.jobs and name in self._works:
                self._control_job(self.jobs[name], self._works[name])

    def _control_job(self, job: Thing, work: _Work) -> None:
        spec = job["spec"]
        if work.finished is not None:
            if self._now >= work.finished + spec.get("ttlSecondsAfterFinished", math.inf):
                self.delete_job(job["metadata"]["name"])
            return
        if not spec.get("suspend"):
            work.started = self._now if work.started is None else work.started
            end = self._count_ended(job, work) or self._find_end(spec, work)
            if end:
                self._finish(job, work, *end)
                return
            self._start_pods(job, work)
        self._update(job, work)

    def _count_ended(self, job: Thing, work: _Work) -> tuple[str, str, str] | None:
        """Count the pods that have ended; what ends the Job, if one does."""
        for pod in self._pods_of(job):
            name, index = pod["metadata"]["name"], _index_of(pod)
            if self._ends.get(name, (math.inf, None))[0] > self._now:
                continue
            _, how = self._ends.pop(name)
            self._end_pod(pod, how)
            if isinstance(how, Works):
                work.succeeded.add(index)
                continue
            rule = _find_rule(job, pod, how)
            if rule is not None and rule[1]["action"] == "Ignore":
                continue
            work.lost += 1
            if rule is not None and rule[1]["action"] == "FailJob":
                told = f"Container mosaic for pod {NAMESPACE}/{name} failed with exit code {how.code} matching FailJob rule"
                return "Failed", "PodFailurePolicy", f"{told} at index {rule[0]}"
            work.failures[index] += 1
            if work.failures[index] > job["spec"].get("backoffLimitPerIndex", math.inf):
                work.given_up.add(index)
            else:
                pause = min(_FIRST_BACKOFF * 2.0 ** (work.failures[index] - 1), _LONGEST_BACKOFF)
                work.ready_at[index] = self._now + pause
        return None

    def _find_end(self, spec: Thing, work: _Work) -> tuple[str, str, str] | None:
        deadline = spec.get("activeDeadlineSeconds", math.inf) if self.ends_late_jobs else math.inf
        if work.started is not None and self._now >= work.started + deadline:
            return "Failed", "DeadlineExceeded", "Job was active longer than specified deadline"
        if len(work.given_up) > spec.get("maxFailedIndexes", math.inf):
            return "Failed", "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes"
        if len(work.succeeded | work.given_up) == spec["completions"]:
            if work.given_up:
                return "Failed", "FailedIndexes", "Job has failed indexes"
            return "Complete", "CompletionsReached", "Reached expected number of succeeded pods"
        return None

    def _finish(self, job: Thing, work: _Work, kind: str, reason: str, message: str) -> None:
        """End a Job in two steps, as the API does: first it is decided, then its pods are gone."""
        for pod in self._pods_of(job):
            if pod["status"]["phase"] in {"Pending", "Running"}:
                self._remove_pod(pod)
        told = {"status": "True", "reason": reason, "message": message}
        first = {"Failed": "FailureTarget", "Complete": "SuccessCriteriaMet"}[kind]
        job["status"] = job["status"] | {"conditions": [{"type": first, **told}]}
        self._update(job, work)
        job["status"] = job["status"] | {"conditions": [*job["status"]["conditions"], {"type": kind, **told}]}
        work.finished = self._now
        self._update(job, work)

    def _start_pods(self, job: Thing, work: _Work) -> None:
        spec, pods = job["spec"], self._pods_of(job)
        active = {_index_of(pod) for pod in pods if pod["status"]["phase"] in {"Pending", "Running"}}
        for index in range(spec["completions"]):
            if len(active) >= spec["parallelism"]:
                break
            busy = index in active or index in work.succeeded or index in work.given_up
            if not busy and work.ready_at.get(index, 0.0) <= self._now:
                try:
                    self._admit_pod(job)
                except Refused as refused:
                    self.add_event(job["metadata"]["uid"], "FailedCreate", f"Error creating: {refused.message}")
                    return
                self._start_pod(job, index, work.attempts[index])
                work.attempts[index] += 1
                active.add(index)

    def _start_pod(self, job: Thing, index: int, attempt: int) -> None:
        phase = job["metadata"]["labels"]["app.kubernetes.io/component"]
        run = PodRun(job=job, phase=phase, index=index, attempt=attempt)
        self.runs.append(run)
        how = self.program(run)
        owner = job["metadata"]
        name = f"{owner['name']}-{index}-{next(self._numbers):05d}"
        keys = {"batch.kubernetes.io/job-name": owner["name"], "batch.kubernetes.io/controller-uid": owner["uid"]}
        keys["batch.kubernetes.io/job-completion-index"] = str(index)
        owners = [{"apiVersion": "batch/v1", "kind": "Job", "name": owner["name"], "uid": owner["uid"], "controller": True}]
        self.pods[name] = {
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "uid": f"uid-{next(self._numbers)}",
                "labels": {**job["spec"]["template"]["metadata"]["labels"], **keys},
                "annotations": {"batch.kubernetes.io/job-completion-index": str(index)},
                "ownerReferences": owners,
            },
            "spec": copy.deepcopy(job["spec"]["template"]["spec"]),
            "status": _describe_start(how),
        }
        if isinstance(how, Stuck):
            for reason, message in how.events:
                self.add_event(self.pods[name]["metadata"]["uid"], reason, message)
        else:
            self._ends[name] = (self._now + how.seconds, how)

    def _end_pod(self, pod: Thing, how: Works | Fails) -> None:
        code = 0 if isinstance(how, Works) else how.code
        state = {"exitCode": code, "reason": "Completed", "finishedAt": self._stamp()}
        pod["status"] = {"phase": "Succeeded" if code == 0 else "Failed"}
        if isinstance(how, Fails):
            state |= {"reason": how.reason, "message": how.log[-2048:]}  # FallbackToLogsOnError
            self._logs[pod["metadata"]["name"]] = how.log
            if how.pod_reason:
                pod["status"] |= {"reason": how.pod_reason, "message": f"the pod was {how.pod_reason}"}
            if how.disrupted:
                pod["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True"}]
        pod["status"]["containerStatuses"] = [{"name": "mosaic", "state": {"terminated": state}}]

    def _update(self, job: Thing, work: _Work) -> None:
        """Write a Job's status, if it changed."""
        phases = Counter(pod["status"]["phase"] for pod in self._pods_of(job))
        figures = {
            "active": phases["Pending"] + phases["Running"],
            "ready": phases["Running"],
            "succeeded": len(work.succeeded),
            "failed": work.lost,
            "completedIndexes": write_indexes(work.succeeded),
            "failedIndexes": write_indexes(work.given_up),
        }
        conditions = {"conditions": job["status"]["conditions"]} if "conditions" in job["status"] else {}
        job["status"] = {key: value for key, value in figures.items() if value} | conditions
        if job["status"] != work.noted:
            work.noted = job["status"]
            self._note("MODIFIED", job)

    def _note(self, kind: str, job: Thing) -> None:
        self._version += 1
        job["metadata"]["resourceVersion"] = str(self._version)
        self.history.append((self._version, kind, copy.deepcopy(job)))

    def _pods_of(self, job: Thing) -> list[Thing]:
        return [pod for pod in self.pods.values() if _is_owned(pod, job)]

    def _remove_pod(self, pod: Thing) -> None:
        name = pod["metadata"]["name"]
        self.pods.pop(name, None)
        self._ends.pop(name, None)


def _is_owned(thing: Thing, owner: Thing) -> bool:
    return any(o["uid"] == owner["metadata"]["uid"] for o in thing["metadata"].get("ownerReferences") or ())


def _index_of(pod: Thing) -> int:
    return int(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"])


def _describe_start(how: Works | Fails | Stuck) -> Thing:
    if not isinstance(how, Stuck):
        return {"phase": "Running", "containerStatuses": [{"name": "mosaic", "state": {"running": {}}}]}
    told = {"reason": how.reason, "message": how.message}
    if how.scheduled:
        return {"phase": "Pending", "containerStatuses": [{"name": "mosaic", "state": {"waiting": told}}]}
    return {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", **told}]}


def _find_rule(job: Thing, pod: Thing, how: Fails) -> tuple[int, Thing] | None:
    """The first rule of a podFailurePolicy that a failed pod meets."""
    conditions = {(c["type"], c["status"]) for c in pod["status"].get("conditions", ())}
    for position, rule in enumerate((job["spec"].get("podFailurePolicy") or {"rules": ()})["rules"]):
        if any((pattern["type"], pattern["status"]) in conditions for pattern in rule.get("onPodConditions", ())):
            return position, rule
        codes = rule.get("onExitCodes")
        if codes and (how.code in codes["values"]) == (codes["operator"] == "In"):
            return position, rule
    return None


def write_indexes(indexes: set[int]) -> str:
    """Indexes as the documentation writes them: 1,3-5,7."""
    groups = itertools.groupby(enumerate(sorted(indexes)), key=lambda pair: pair[1] - pair[0])
    runs = [[index for _, index in group] for _, group in groups]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def find_problem(job: Mapping[str, Any]) -> str:
    """What the API's validation has against a Job, or ""."""
    name, spec = job["metadata"]["name"], job["spec"]
    template = spec["template"]["spec"]
    policy = spec.get("podFailurePolicy")
    codes = [rule["onExitCodes"]["values"] for rule in (policy or {"rules": ()})["rules"] if "onExitCodes" in rule]
    volumes = {volume["name"] for volume in template.get("volumes", ())}
    mounts = [mount for container in template["containers"] for mount in container.get("volumeMounts", ())]
    labels = [*job["metadata"].get("labels", {}).values(), *spec["template"]["metadata"].get("labels", {}).values()]
    checks = {
        "name and index must be a DNS label": _LABEL.fullmatch(f"{name}-{spec['completions'] - 1}"),
        "labels have 63 characters at most": all(len(label) <= 63 for label in labels),
        "completions are needed": spec["completionMode"] == "Indexed" and spec["completions"] > 0,
        "restartPolicy must be Never": template["restartPolicy"] == "Never",
        "maxFailedIndexes needs backoffLimitPerIndex": "maxFailedIndexes" not in spec or "backoffLimitPerIndex" in spec,
        "maxFailedIndexes is at most completions": spec.get("maxFailedIndexes", 0) <= spec["completions"],
        "podReplacementPolicy must be Failed": not policy or spec.get("podReplacementPolicy", "Failed") == "Failed",
        "exit codes are ordered, different, not 0": all(sorted(set(values)) == values and 0 not in values for values in codes),
        "volumes have different names": len(volumes) == len(template.get("volumes", ())),
        "mounts name volumes": all(mount["name"] in volumes for mount in mounts),
        "mount paths differ": len({mount["mountPath"] for mount in mounts}) == len(mounts),
    }
    return "; ".join(problem for problem, holds in checks.items() if not holds)
