"""What Jobs and pods say of themselves, read from the Kubernetes API's own form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from processor.execution.kubernetes.jobs import CONTAINER, DIGEST_ANNOTATION, FACTOR_ANNOTATION, RUN_ANNOTATION, Manifest

_INDEX: Final = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """What a Job says of itself."""

    name: str
    """Name of the Job."""
    uid: str
    """Its uid, which a Job of the same name made later does not share."""
    version: str
    """Its resourceVersion, from which it is watched."""
    run_url: str | None
    """URL of the run, as :func:`build_job` noted it, or None."""
    digest: str | None
    """Digest of the run, as :func:`build_job` noted it, or None."""
    factor: int
    """By which the estimate of memory and scratch was raised."""
    finished: Literal["complete", "failed"] | None
    """How, or None."""
    reason: str
    """Reason of the condition that ended it, or ""."""
    message: str
    """Message of that condition, or ""."""
    completed: str
    """Indexes that completed, such as "0,3-5"."""
    failed: str
    """Indexes that failed, such as "0,3-5"."""
    active: int
    """Number of pods that run or wait."""
    failures: int
    """Number of pods that failed, those that the cluster took away left out."""
    ready: int
    """Number of pods that are ready."""
    begun: bool
    """Whether there ever was a pod."""
    suspended: bool
    """True where the Job is suspended."""
    deleting: bool
    """True where the Job is being deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodState:
    """What a pod says of its one container."""

    name: str
    """Name of the pod."""
    uid: str
    """Its uid."""
    index: int | None
    """Completion index, or None where the pod has none."""
    owners: tuple[str, ...]
    """Uids of the objects that own it."""
    exit_code: int | None
    """None while it runs or waits."""
    reason: str
    """Why it ended or waits, such as OOMKilled, Evicted, ImagePullBackOff, Unschedulable."""
    message: str
    """What the kubelet or the scheduler says, or ""."""
    ended: str
    """Time, ISO 8601, or ""."""
    disrupted: bool
    """Whether the cluster, not the program, ended it."""


def read_state(job: Manifest) -> JobState:
    """What a Job's metadata and status say."""
    metadata, status = job["metadata"], job.get("status") or {}
    annotations = metadata.get("annotations") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or () if c.get("status") == "True"}
    end = conditions.get("Failed") or conditions.get("Complete") or {}
    return JobState(
        name=metadata["name"],
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        run_url=annotations.get(RUN_ANNOTATION),
        digest=annotations.get(DIGEST_ANNOTATION),
        factor=int(annotations.get(FACTOR_ANNOTATION) or 1),
        finished="failed" if "Failed" in conditions else "complete" if "Complete" in conditions else None,
        reason=end.get("reason") or "",
        message=end.get("message") or "",
        completed=status.get("completedIndexes") or "",
        failed=status.get("failedIndexes") or "",
        active=status.get("active") or 0,
        failures=status.get("failed") or 0,
        ready=status.get("ready") or 0,
        begun=any(status.get(count) for count in ("active", "succeeded", "failed", "terminating")),
        suspended=bool((job.get("spec") or {}).get("suspend")),
        deleting=bool(metadata.get("deletionTimestamp")),
    )


def read_pod(pod: Manifest) -> PodState:
    """What a pod's metadata and status say."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    statuses = [s for s in status.get("containerStatuses") or () if s["name"] == CONTAINER]
    state = (statuses[0].get("state") or {}) if statuses else {}
    ended, waiting = state.get("terminated") or {}, state.get("waiting") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    unscheduled = conditions.get("PodScheduled") or {}
    told = ended or waiting or (unscheduled if unscheduled.get("status") == "False" else status)
    if status.get("reason"):  # what the node did to the pod (Evicted) is why its container ended as it did
        told = status
    index = {**(metadata.get("annotations") or {}), **(metadata.get("labels") or {})}.get(_INDEX)
    return PodState(
        name=metadata["name"],
        uid=metadata["uid"],
        index=None if index is None else int(index),
        owners=tuple(owner["uid"] for owner in metadata.get("ownerReferences") or ()),
        exit_code=ended.get("exitCode"),
        reason=told.get("reason") or "",
        message=told.get("message") or "",
        ended=str(ended.get("finishedAt") or ""),
        disrupted=(conditions.get("DisruptionTarget") or {}).get("status") == "True",
    )


def read_event(event: Manifest) -> tuple[str, str]:
    """Reason and message of an event."""
    return event.get("reason") or "", event.get("message") or ""


def compress_indexes(indexes: Iterable[int]) -> str:
    """Indexes as the API writes them.

    >>> compress_indexes([7, 3, 5, 6])
    '3,5-7'
    """
    runs: list[list[int]] = []
    for index in sorted(set(indexes)):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def expand_indexes(indexes: str) -> frozenset[int]:
    """The indexes that are meant.

    >>> sorted(expand_indexes("3,5-7")), len(expand_indexes(""))
    ([3, 5, 6, 7], 0)
    """
    ends = [part.partition("-") for part in indexes.split(",") if part]
    return frozenset(index for first, _, last in ends for index in range(int(first), int(last or first) + 1))
