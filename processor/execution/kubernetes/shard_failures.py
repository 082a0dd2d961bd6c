"""Shards that fail while their Job is waited for: told as they do, and counted where they lack memory or scratch space."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

from processor.execution.kubernetes.api import JobsApi
from processor.execution.kubernetes.failure import STARVED, describe_end
from processor.execution.kubernetes.jobs import PhaseJob
from processor.execution.kubernetes.status import JobState, PodState, compress_indexes, expand_indexes, read_pod
from processor.process.logs import log_event

_LOGGER = logging.getLogger(__name__)
_PERIOD: Final = 10.0  # seconds between looks
_KILLS: Final = 2  # one may be chance, such as a neighbour's; two say that the estimate was too low
_TIMES: Final = {1: "once", 2: "twice"}


class ShardFailures:
    """The failed pods of one Job.

    Parameters
    ----------
    job
        The phase whose Job it is.
    """

    def __init__(self, api: JobsApi, job: PhaseJob) -> None:
        self._api, self._job = api, job
        self._count = 0
        self._seen: dict[str, PodState] = {}
        self._looked = -math.inf

    @property
    def lack(self) -> str | None:
        """What the pods are killed for lack of again and again, memory or scratch space, or None."""
        kills = Counter(STARVED[pod.reason] for pod in self._seen.values() if pod.reason in STARVED)
        return max(kills, key=kills.__getitem__) if kills.total() >= _KILLS else None

    def are_new(self, state: JobState) -> bool:
        """Whether there are pods that were not looked at."""
        return state.failures > self._count

    def are_due(self, state: JobState) -> bool:
        """Whether to look at them now: thousands may fail one after the other."""
        return self.are_new(state) and self._api.pace.clock() >= self._looked + _PERIOD

    def look(self, state: JobState) -> None:
        """Look at the pods that have failed since, and tell of them in a line, if that is due."""
        if not self.are_due(state):
            return
        self._count, self._looked = state.failures, self._api.pace.clock()
        pods = [pod for pod in map(read_pod, self._api.list_pods(state.name, "Failed")) if state.uid in pod.owners]
        new = [pod for pod in pods if not pod.disrupted and pod.name not in self._seen]
        self._seen |= {pod.name: pod for pod in new}
        if new:
            self._tell(state, new)

    def _tell(self, state: JobState, pods: Sequence[PodState]) -> None:
        ends = Counter(map(describe_end, pods))
        tries = Counter(pod.index for pod in self._seen.values())
        indexes = sorted({pod.index for pod in pods if pod.index is not None})
        if len(indexes) == 1:
            which = f"shard {indexes[0]} failed {_TIMES.get(tries[indexes[0]], f'{tries[indexes[0]]} times')}"
        else:
            which = f"shards {compress_indexes(indexes)} failed"
        done = len(expand_indexes(state.completed))
        message = f"{self._job.phase}: {done} of {self._job.shards} done, {which}: {max(sorted(ends), key=ends.__getitem__)}"
        fields = {"job": state.name, "done": done, "shards": self._job.shards, "failed_pods": self._count}
        log_event(_LOGGER, "shards-failed", message, level=logging.WARNING, **fields)
