"""The Jobs of a run as the Kubernetes API takes them. Nothing here talks to a cluster."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from processor.config.general import Kubernetes
from processor.mosaic.plan import Phase

Manifest = dict[str, Any]

CONTAINER: Final = "mosaic"  # the name of the container, in the coordinator's pod as in the workers'
FINAL_CODES: Final = (2, 13, 70)  # exit codes after which trying again is useless: configuration, bad input, a bug
SCRATCH: Final = "/scratch"
USER: Final = 10001  # of the image
RUN_LABEL: Final = "mosaic-processor/run"
RUN_ANNOTATION: Final = "mosaic-processor/run-url"
DIGEST_ANNOTATION: Final = "mosaic-processor/manifest"
FACTOR_ANNOTATION: Final = "mosaic-processor/factor"
_QUEUE_LABEL: Final = "kueue.x-k8s.io/queue-name"
_MOST_PODS: Final = 1000  # at once, of a phase: the API allows more, its servers do not thank for it
_LOG_SPACE: Final = 256 * 2**20  # bytes: a node counts a pod's logs as ephemeral storage too
_LEAST_TTL: Final = 120  # seconds: a Job that vanished at its end could not be told from one that somebody deleted

# What the coordinator's pod has for itself alone: its own name, and what build_job sets for a worker.
_OWN_ENV: Final = frozenset({"POD_NAME", "POD_NAMESPACE", "TMPDIR", "HOME", "XDG_CACHE_HOME", "MOSAIC_SHARED__TEMP_DIR"})
_OWN_SECTION: Final = "MOSAIC_KUBERNETES__"
_OWN_KEYS: Final = re.compile(
    r"(.*/)?(controller-uid|job-name|job-completion-index)|(app\.kubernetes\.io|kueue\.x-k8s\.io|kubectl\.kubernetes\.io)/.*"
)
_IDENTITY: Final = ("runAsUser", "runAsGroup", "fsGroup", "fsGroupChangePolicy", "supplementalGroups")
_NEVER_COPIED: Final = ("emptyDir", "ephemeral", "hostPath")  # volumes that belong to one pod or one node


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseJob:
    """A phase of a run, to be done by pods."""

    phase: Phase
    """Name, as ``mosaic-processor task`` takes it."""
    tasks: int
    """How many there are; none: the phase is skipped."""
    shards: int
    """Pods that share the tasks, each tasks[i::shards]."""
    memory_bytes: int
    """Of one pod, by the plan's estimate."""
    scratch_bytes: int
    """Of one pod's scratch volume, likewise."""
    deadline_seconds: int
    """After which the phase has failed."""

    def __post_init__(self) -> None:
        """Check the figures."""
        if self.tasks < 0 or min(self.shards, self.memory_bytes, self.scratch_bytes, self.deadline_seconds) < 1:
            msg = f"phase {self.phase}: tasks must be 0 or more, all other figures 1 or more: {self}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """What the pods of all phases have in common, in the API's own form."""

    image: str
    """reference."""
    pod: Manifest
    """Fields of the pod's spec, such as tolerations."""
    env: tuple[Manifest, ...] = ()
    """Variables of the container; secrets are references, never values."""
    env_from: tuple[Manifest, ...] = ()
    """Sources of further variables."""
    mounts: tuple[Manifest, ...] = ()
    """Volumes mounted in the container."""
    volumes: tuple[Manifest, ...] = ()
    """Those that are mounted."""
    identity: Manifest
    """User and groups."""
    labels: Mapping[str, str]
    """Labels of the pods."""
    annotations: Mapping[str, str]
    """Annotations of the pods."""
    owner: Manifest | None = None
    """OwnerReference of the Jobs, or None."""


def name_job(run_url: str, phase: str) -> str:
    """The name of a phase's Job: the same for the same run, whoever asks.

    A pod's host name is this and its index: together they stay within the 63 characters of a DNS label.
    """
    return f"mosaic-{_run_label(run_url)}-{phase}"


def _run_label(run_url: str) -> str:
    return hashlib.sha256(run_url.encode()).hexdigest()[:16]


def read_worker(template: Manifest | None, settings: Kubernetes, owner: Manifest | None = None) -> Worker | None:
    """What workers take over from the coordinator's pod template.

    Taken from the template, not from the running pod: that also holds what admission webhooks put there for this one pod.
    Without a template, a bare worker of ``settings.image``.

    Returns
    -------
    None where no image is known.
    """
    spec: Manifest = template["spec"] if template else {}
    containers = spec.get("containers") or [{}]
    container = next((container for container in containers if container.get("name") == CONTAINER), containers[0])
    image = settings.image or container.get("image")
    if not image:
        return None
    metadata = (template or {}).get("metadata") or {}
    volumes = {volume["name"]: volume for volume in spec.get("volumes") or () if not any(k in volume for k in _NEVER_COPIED)}
    mounts = tuple(
        mount
        for mount in container.get("volumeMounts") or ()
        if mount["name"] in volumes and not f"{mount['mountPath']}/".startswith(f"{SCRATCH}/")
    )
    mounted = {mount["name"] for mount in mounts}
    security = spec.get("securityContext") or {}
    identity = {key: security[key] for key in _IDENTITY if key in security}
    placed = ("imagePullSecrets", "nodeSelector", "tolerations", "affinity", "priorityClassName")
    return Worker(
        image=str(image),
        pod={key: spec[key] for key in placed if spec.get(key)},
        env=tuple(
            entry
            for entry in container.get("env") or ()
            if entry["name"] not in _OWN_ENV and not entry["name"].startswith(_OWN_SECTION)
        ),
        env_from=tuple(container.get("envFrom") or ()),
        mounts=mounts,
        volumes=tuple(volume for name, volume in volumes.items() if name in mounted),
        identity=identity if template else {"runAsUser": USER, "runAsGroup": USER, "fsGroup": USER},
        labels=_drop_own_keys(metadata.get("labels")),
        annotations=_drop_own_keys(metadata.get("annotations")),
        owner=owner,
    )


def _drop_own_keys(keys: Mapping[str, str] | None) -> dict[str, str]:
    return {key: value for key, value in (keys or {}).items() if not _OWN_KEYS.fullmatch(key)}


def build_job(
    job: PhaseJob,
    worker: Worker,
    settings: Kubernetes,
    *,
    run_url: str,
    options: Sequence[str] = (),
    factor: int = 1,
) -> Manifest:
    """The manifest of a phase's Job.

    Parameters
    ----------
    options
        Further arguments of ``mosaic-processor task``; they can be read by everybody who can read the Job.
    factor
        Multiplies memory and scratch, where the estimate was too low. The digest is that of the estimate, so that whoever
        comes later takes a raised Job for the one that is wanted.
    """
    labels = {
        "app.kubernetes.io/name": "mosaic-processor",
        "app.kubernetes.io/component": job.phase,
        "app.kubernetes.io/managed-by": "mosaic-processor",
        RUN_LABEL: _run_label(run_url),
    }
    arguments = task_arguments(job, run_url, options)
    wanted = _build_spec(job, worker, settings, arguments, labels)
    raised = replace(job, memory_bytes=job.memory_bytes * factor, scratch_bytes=job.scratch_bytes * factor)
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
    metadata: Manifest = {
        "name": name_job(run_url, job.phase),
        "labels": labels | ({_QUEUE_LABEL: settings.queue} if settings.queue else {}),
        "annotations": {RUN_ANNOTATION: run_url, DIGEST_ANNOTATION: digest, FACTOR_ANNOTATION: str(factor)},
        **({"ownerReferences": [worker.owner]} if worker.owner else {}),
    }
    spec = _build_spec(raised, worker, settings, arguments, labels)
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _build_spec(
    job: PhaseJob, worker: Worker, settings: Kubernetes, arguments: list[str], labels: Mapping[str, str]
) -> Manifest:
    return {
        "completionMode": "Indexed",
        "completions": job.shards,
        "parallelism": min(job.shards, _MOST_PODS),
        "backoffLimitPerIndex": settings.retries_per_index,
        # What other shards do is kept, so one that fails need not stop them; where many fail, all will.
        "maxFailedIndexes": job.shards // 10,
        "podReplacementPolicy": "Failed",  # the only one that goes with a podFailurePolicy
        "podFailurePolicy": _FAILURE_POLICY,
        "activeDeadlineSeconds": settings.deadline or job.deadline_seconds,
        "ttlSecondsAfterFinished": max(settings.keep_finished, _LEAST_TTL),
        **({"suspend": True} if settings.queue else {}),
        "template": {
            "metadata": {"labels": {**worker.labels, **labels}, "annotations": dict(worker.annotations)},
            "spec": _build_pod(job, worker, settings, arguments),
        },
    }


def task_arguments(job: PhaseJob, run_url: str, options: Sequence[str]) -> list[str]:
    """Arguments of ``mosaic-processor`` in a pod, which finds its index in JOB_COMPLETION_INDEX."""
    return ["task", job.phase, "--run", run_url, "--shards", str(job.shards), *options]


# Read from the top: a pod that the cluster took away is not a failure, whatever its exit code.
_FAILURE_POLICY: Final[Manifest] = {
    "rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": list(FINAL_CODES)}},
    ]
}


def _build_pod(job: PhaseJob, worker: Worker, settings: Kubernetes, arguments: list[str]) -> Manifest:
    places = {
        "TMPDIR": SCRATCH,
        "HOME": SCRATCH,
        "MOSAIC_SHARED__TEMP_DIR": SCRATCH,
        "XDG_CACHE_HOME": f"{SCRATCH}/.cache",
    }
    fixed = {"memory": _quantity(job.memory_bytes), "ephemeral-storage": _quantity(job.scratch_bytes + _LOG_SPACE)}
    limit = {"cpu": _cores(settings.cpu_limit)} if settings.cpu_limit is not None else {}
    container: Manifest = {
        "name": CONTAINER,
        "image": worker.image,
        "command": ["mosaic-processor"],
        "args": arguments,
        "env": [*worker.env, *({"name": name, "value": value} for name, value in places.items())],
        "envFrom": list(worker.env_from),
        # Memory and disk are promised in full, so that no neighbour takes them; processors may be borrowed where they idle.
        "resources": {"requests": {"cpu": _cores(settings.cpu), **fixed}, "limits": {**limit, **fixed}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [*worker.mounts, {"name": "mosaic-scratch", "mountPath": SCRATCH}],
    }
    scratch = {"name": "mosaic-scratch", "emptyDir": {"sizeLimit": _quantity(job.scratch_bytes)}}
    return {
        **worker.pod,
        "restartPolicy": "Never",
        "serviceAccountName": settings.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        "securityContext": {**worker.identity, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [*worker.volumes, scratch],
    }


def _quantity(size: int) -> str:
    return f"{math.ceil(size / 2**20)}Mi"


def _cores(count: float) -> str:
    return f"{math.ceil(count * 1000)}m"
