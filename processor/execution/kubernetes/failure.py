"""Why a Job failed: what its pods and their logs say, in words that lead on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from processor.errors import ConfigError, InputError, MosaicError, TransientError
from processor.execution.kubernetes.api import JobsApi
from processor.execution.kubernetes.jobs import CONTAINER, FINAL_CODES
from processor.execution.kubernetes.status import JobState, PodState, compress_indexes, expand_indexes, read_pod

STARVED: Final = {"OOMKilled": "memory", "Evicted": "scratch space"}  # an eviction by the cluster is a disruption instead
_POLICY: Final = "PodFailurePolicy"
_LATE: Final = "DeadlineExceeded"
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_EXIT_CODE: Final = re.compile(r"failed with exit code (\d+)")
_LONGEST_LINE: Final = 400  # characters
_LONGEST_LIST: Final = 120  # characters
_BAD_INPUT: Final = 13
_USAGE: Final = 2
_BUG: Final = 70


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a Job failed."""

    job: JobState
    """As it was at its end."""
    pod: PodState | None
    """The failed pod that tells most, or None where all are gone."""
    failed: str
    """Indexes, such as "3,5-7", or ""."""
    log: tuple[str, ...]
    """The last lines of that pod."""
    starved: str | None
    """What a pod was killed for lack of, memory or scratch space, where none failed for good; else None."""

    @property
    def exit_code(self) -> int | None:
        """Exit code that decided, or None where none did."""
        if self.job.reason != _POLICY:
            return None
        if self.pod is not None and self.pod.exit_code in FINAL_CODES:
            return self.pod.exit_code
        told = _EXIT_CODE.search(self.job.message)
        return int(told[1]) if told else _BAD_INPUT

    def describe(self, *, phase: str, shards: int, place: str, again: str, resume: str, pending: str = "") -> MosaicError:
        """The error to raise.

        Parameters
        ----------
        place
            Namespace and name of the Job.
        again
            The command that does one shard again, but for its index.
        resume
            What to do next.
        pending
            Why pods did not begin, or "".
        """
        given_up = self.failed
        if len(given_up) > _LONGEST_LIST:
            given_up = f"{given_up[:_LONGEST_LIST].rpartition(',')[0]},…"
        failed = f"; failed shards {given_up} of {shards}" if given_up else ""
        lines = [f"{phase} failed: Job {place} ended with {self.job.reason or 'no reason'}: {self.job.message}{failed}"]
        if self.job.reason == _LATE:
            lines += [f"it had no more time: {pending or 'pods were at work; --kubernetes.deadline gives it more'}"]
        if self.pod is not None:
            pod, index, shard = self.pod, "", ""
            if pod.index is not None:
                index, shard = f" --index {pod.index}", f" (shard {pod.index})"
            lines += [
                f"pod {pod.name}{shard} ended with {_name_end(pod)}; its last lines:",
                *(f"  | {line}" for line in self.log),
            ]
            lines += [f"one shard alone, to look into it: {again}{index}"]
        error, next_step = _ERRORS.get(self.exit_code, (TransientError, "what was done is kept"))
        return error("\n".join([*lines, f"{next_step}; to resume: {resume}"]))


_ERRORS: Final[dict[int | None, tuple[type[MosaicError], str]]] = {
    _BAD_INPUT: (InputError, "trying again is useless before the input is mended; what was done is kept"),
    _BUG: (InputError, "this is a bug, please report it: trying again is useless; what was done is kept"),
    _USAGE: (ConfigError, "trying again is useless before the configuration is mended; what was done is kept"),
}


def find_failure(api: JobsApi, state: JobState) -> Failure:
    """Ask the failed pods of a Job."""
    pods = [pod for pod in map(read_pod, api.list_pods(state.name, "Failed")) if not pod.owners or state.uid in pod.owners]
    pods = [pod for pod in pods if not pod.disrupted] or pods
    given_up = expand_indexes(state.failed)

    def weigh(pod: PodState) -> tuple[bool | str, ...]:
        """How much a pod tells: what ended the Job first, then shards that were given up, what was starved, what failed."""
        is_last = state.reason == _POLICY and pod.exit_code in FINAL_CODES
        return is_last, pod.index in given_up, pod.reason in STARVED, bool(pod.exit_code), pod.ended, pod.name

    pod = max(pods, key=weigh, default=None)
    indexes = compress_indexes(pod.index for pod in pods if pod.index is not None and pod.exit_code in FINAL_CODES)
    return Failure(
        job=state,
        pod=pod,
        failed=state.failed or indexes,
        log=tuple(_read_log(api, pod)) if pod is not None else (),
        starved=STARVED.get(pod.reason) if pod is not None else None,
    )


def _read_log(api: JobsApi, pod: PodState) -> Iterator[str]:
    """What the lines of a pod's log say: the messages of our events, any other line as it is."""
    try:
        text = api.read_log(pod.name, CONTAINER)
    except MosaicError as error:
        yield f"(no log: {error})"
        return
    yield from _read_lines(text if text.strip() else "(the log is empty)")


def _read_lines(log: str) -> Iterator[str]:
    for line in filter(str.strip, log.splitlines()):
        told = line
        with suppress(ValueError, KeyError, TypeError):
            event = json.loads(line)
            told = f"{event['level']}: {event['message']}"
        yield clean_line(told)


def clean_line(text: str) -> str:
    """A line of bounded length, without what a terminal obeys."""
    return _CONTROL.sub(" ", text)[:_LONGEST_LINE]


def describe_end(pod: PodState) -> str:
    """How a pod ended, in one line: what it lacked, or else its exit code and the last line that it wrote."""
    if pod.reason in STARVED:
        return f"it lacked {STARVED[pod.reason]} ({pod.reason})"
    *_, last = ["", *_read_lines(pod.message)]
    return f"{_name_end(pod)}{': ' if last else ''}{last}"


def _name_end(pod: PodState) -> str:
    how = f"exit code {pod.exit_code}" if pod.exit_code is not None else "no exit code"
    return how if pod.reason in {"", "Error"} else f"{how}, {pod.reason}"
