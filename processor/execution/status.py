"""How far a run by tasks is, seen from the objects of its tasks alone: no process that works on it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from processor.execution.failures import read_failures
from processor.execution.phases import Run
from processor.execution.task_store import ObjectStore

_LEAST: Final = 2  # results that a rate follows from


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseStatus:
    """How far a phase is."""

    phase: str
    """Its name."""
    tasks: int
    """How many it has."""
    done: int
    """How many results are there."""
    first: datetime | None
    """When the first of them was written, UTC; None where none is or storage does not tell."""
    last: datetime | None
    """When the last of them was."""

    @property
    def rate(self) -> float | None:
        """Tasks a second between the first result and the last; None before there are two at different times."""
        if self.first is None or self.last is None or self.done < _LEAST or self.last <= self.first:
            return None
        return (self.done - 1) / (self.last - self.first).total_seconds()

    def describe(self) -> dict[str, Any]:
        """As the command prints it."""
        told: dict[str, Any] = {"done": self.done, "tasks": self.tasks}
        if self.first is not None and self.last is not None:
            told |= {"first": _show(self.first), "last": _show(self.last)}
        rate = self.rate
        if rate is not None:
            told["per_minute"] = float(f"{60 * rate:.3g}")
            if self.done < self.tasks:
                told["minutes_left"] = float(f"{(self.tasks - self.done) / rate / 60:.3g}")
        return told


def describe_run(run: Run) -> dict[str, Any]:
    """State of a run, its phases, and the shards that failed last.

    The state is ``published``, or the first phase that is not complete. Results of a published run are removed, so that its
    phases are not listed.

    Raises
    ------
    ExistsError
        Something else is published under the run's name.
    InputError
        Access is denied.
    StorageError
        Storage or the network failed.
    """
    store = cast("ObjectStore", run.store)
    told: dict[str, Any] = {"item": run.destination.item_url, "digest": run.prepared.digest}
    if run.destination.find_item() is not None:
        return {**told, "state": "published"}
    phases = [_find_status(run, store, phase) for phase in run.prepared.plan.phases]
    told["state"] = next((one.phase for one in phases if one.done < one.tasks), phases[-1].phase)
    latest = max((one.last for one in phases if one.last is not None), default=None)
    if latest is not None:
        told["seconds_since_last_result"] = max(0, round((datetime.now(UTC) - latest) / timedelta(seconds=1)))
    told["phases"] = {one.phase: one.describe() for one in phases}
    failures, count = read_failures(store.store, store.folder)
    told["failed_shards"] = count
    if failures:
        told["failures"] = [
            {
                "phase": one.phase,
                "shard": f"{one.shard} of {one.shards}",
                "at": one.at,
                "error": f"{one.kind}: {one.reason}",
            }
            for one in failures
        ]
    return told


def _find_status(run: Run, store: ObjectStore, phase: str) -> PhaseStatus:
    times = store.list_results(phase)
    known = [time for time in times if time is not None]
    return PhaseStatus(
        phase=phase,
        tasks=run.count_tasks(phase),  # type: ignore[arg-type]
        done=len(times),
        first=min(known, default=None),
        last=max(known, default=None),
    )


def _show(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
