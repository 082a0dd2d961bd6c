"""Why pods do not begin: what they, their Job and their events say, whether waiting helps, and which option does."""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from processor.config.general import Kubernetes
from processor.errors import ConfigError, MosaicError, TransientError
from processor.execution.kubernetes.api import JobsApi
from processor.execution.kubernetes.failure import clean_line
from processor.execution.kubernetes.status import JobState, PodState, read_event, read_pod
from processor.process.logs import log_event

_LOGGER = logging.getLogger(__name__)
_ASKED: Final = 3  # pods whose events are read
_BEGINNING: Final = frozenset({"", "ContainerCreating", "PodInitializing"})
_SCALING: Final = frozenset(
    {"TriggeredScaleUp", "Nominated"}
)  # events of the cluster autoscaler and of Karpenter: a node comes
_UNFIT: Final = "Unschedulable"
_SAME: Final = {"ErrImagePull": "ImagePullBackOff"}  # a pod goes to and fro between them
_IMAGES: Final = frozenset({"ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"})
_CREATION: Final = frozenset({"CreateContainerConfigError", "CreateContainerError"})
_OUTAGE: Final = re.compile(r"time.?out|refused|reset by|no such host|too ?many|unavailable|\b5\d\d\b", re.IGNORECASE)
_QUANTITIES: Final = re.compile(r"exceeded quota: .*requested: (\S+), used: \S+, limited: (\S+)")
_UNITS: Final = {"m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12} | {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}
_HINTS: Final = (
    (r"^(ImagePull|InvalidImage|ErrImage|ImageInspect)", "is --kubernetes.image right, and may the nodes pull it?"),
    (r"service ?account", "is there a service account {account}? --kubernetes.service_account names another"),
    (r"must specify .*limits\.cpu", "--kubernetes.cpu_limit gives workers what the quota asks for"),
    (r"exceeded quota.*count/jobs", "finished Jobs count, too: --kubernetes.keep_finished lets them go sooner"),
    (r"exceeded quota.*limits\.cpu", "--kubernetes.cpu_limit and --kubernetes.shards say what workers may take"),
    (r"exceeded quota", "--kubernetes.cpu and --kubernetes.shards say what workers take"),
    (r"Insufficient|(maximum|max) ", "--kubernetes.cpu says what a worker asks for: less of it needs less memory, too"),
    (r"taint|affinity|selector", "workers have the tolerations and the placement of the coordinator's pod"),
    (r"secret|configmap", "workers refer to the Secrets and ConfigMaps of the coordinator's pod"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Why the pods of a Job do not begin."""

    reason: str
    """One word, such as ImagePullBackOff."""
    told: str
    """How many wait, why, and what helps."""
    error: type[MosaicError] | None
    """What it is if it lasts: permanent, or worth another attempt later; None where it may pass by itself."""


class PendingPods:
    """The pods of one Job that wait.

    Parameters
    ----------
    place
        Namespace and name of the Job.
    """

    def __init__(self, api: JobsApi, settings: Kubernetes, place: str) -> None:
        self._api, self._settings, self._place = api, settings, place
        self._since: float | None = None
        self._told: set[str] = set()
        self.why = ""

    def look(self, state: JobState) -> None:
        """Say why no pod is at work, once for each reason.

        Raises
        ------
        ConfigError, TransientError
            Where the reason is one that waiting does not help, and has been for longer than is allowed.
        """
        is_waiting = not (state.finished or state.suspended or state.ready)
        wait = find_wait(self._api, state, self._settings) if is_waiting else None
        self.why = wait.told if wait else ""
        if wait is not None and wait.reason not in self._told:
            self._told.add(wait.reason)
            log_event(_LOGGER, "pods-pending", f"{state.name}: {wait.told}", level=logging.WARNING, job=state.name)
        if wait is None or wait.error is None:
            self._since = None
            return
        now, limit = self._api.pace.clock(), self._settings.pending_limit
        self._since = now if self._since is None else self._since
        if limit is not None and now - self._since >= limit:
            msg = f"no pod of Job {self._place} began for {limit} s: {wait.told}; --kubernetes.pending_limit waits longer"
            raise wait.error(msg)


def find_wait(api: JobsApi, state: JobState, settings: Kubernetes) -> Wait | None:
    """Why the pods of a Job do not begin, of which none is at work; None where nothing is known to be wrong."""
    pods = [pod for pod in map(read_pod, api.list_pods(state.name, "Pending")) if state.uid in pod.owners]
    if pods:
        return _judge_pods(pods, dict(_find_reasons(api, pods)), settings)
    if state.begun:
        return None
    said = [message for reason, message in map(read_event, api.list_events(state.uid)) if reason == "FailedCreate"]
    if said:
        told = f"no pod could be created: {advise(said[-1], settings)}"
        return Wait(reason="FailedCreate", told=told, error=judge_refusal(said[-1]))
    told = (
        f"no pod could be created: is there a service account {settings.service_account} (--kubernetes.service_account), and "
        "does a quota allow pods (with a limit of processors: --kubernetes.cpu_limit)?"
    )
    return Wait(reason="NoPods", told=told, error=TransientError)


def _find_reasons(api: JobsApi, pods: Sequence[PodState]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Pods and why they wait, in a word and a sentence; those that are beginning without trouble are left out."""
    groups: dict[str, list[PodState]] = {}
    for pod in pods:
        groups.setdefault("" if pod.reason in _BEGINNING else _SAME.get(pod.reason, pod.reason), []).append(pod)
    for reason, members in groups.items():
        answers = [_ask_events(api, pod, reason) for pod in members[:_ASKED]] if reason in {"", _UNFIT} else []
        if answers and all(answers):
            answers += answers[-1:] * (len(members) - len(answers))  # what all say that were asked holds for those like them
        for pod, answer in zip_longest(members, answers):
            if answer or reason:
                yield pod.name, answer or (reason, pod.message)


def _ask_events(api: JobsApi, pod: PodState, reason: str) -> tuple[str, str] | None:
    """What hinders a pod that is beginning, or that a node is coming for one that fits none; None where nothing is told."""
    events = [read_event(event) for event in api.list_events(pod.uid)]
    if reason == _UNFIT:
        return next((("ScalingUp", message) for why, message in reversed(events) if why in _SCALING), None)
    return next(((why, told) for why, told in reversed(events) if why.startswith("Failed") and why != "FailedScheduling"), None)


def _judge_pods(pods: Sequence[PodState], reasons: dict[str, tuple[str, str]], settings: Kubernetes) -> Wait | None:
    if not reasons:
        return None
    counts = Counter(reason for reason, _ in reasons.values())
    reason = max(sorted(counts), key=counts.__getitem__)
    message = max(sorted({told for why, told in reasons.values() if why == reason}), key=len)
    errors = {_judge_pod(*why) for why in reasons.values()} | ({None} if len(reasons) < len(pods) else set())
    error = None if None in errors else TransientError if TransientError in errors else ConfigError
    told = f"{counts[reason]} of {len(pods)} pending pods wait: {advise(f'{reason}: {message}', settings)}"
    return Wait(reason=reason, told=told, error=error)


def _judge_pod(reason: str, message: str) -> type[MosaicError] | None:
    """What it is if it lasts."""
    if reason in _IMAGES:
        return TransientError if _OUTAGE.search(message) else ConfigError
    if reason in _CREATION or (reason == "FailedMount" and "not found" in message):
        return ConfigError
    if reason == _UNFIT and "not helpful" in message and "No preemption victims" not in message:
        # Whatever ends, no node takes it; but a node with a taint may be one that is just being repaired.
        return TransientError if "taint" in message else ConfigError
    return None


def judge_refusal(message: str) -> type[MosaicError] | None:
    """What it is if what refuses an object does not change: permanent, or None where it may pass by itself."""
    quantities = _QUANTITIES.search(message)
    if quantities:
        requested, limited = (dict(part.partition("=")[::2] for part in text.split(",")) for text in quantities.groups())
        is_too_much = any(_read_quantity(size) > _read_quantity(limited.get(name, "")) for name, size in requested.items())
        return ConfigError if is_too_much else None
    return ConfigError if re.search("is forbidden|is invalid", message) else None


def _read_quantity(text: str) -> float:
    """A quantity of the API; NaN where it is written in a way that is not known here.

    >>> _read_quantity("500m"), _read_quantity("2Ki"), _read_quantity("1.2.3")
    (0.5, 2048.0, nan)
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([a-zA-Z]*)", text)
    return float(found[1]) * _UNITS.get(found[2], math.nan) if found else math.nan


def advise(message: str, settings: Kubernetes) -> str:
    """A message of the cluster, and the option that helps, where one is known."""
    found = (hint for pattern, hint in _HINTS if re.search(pattern, message))
    return clean_line(message) + next((f"; {hint.format(account=settings.service_account)}" for hint in found), "")
