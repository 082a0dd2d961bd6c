"""Progress of a pass: bars on a terminal, else an event every ten seconds."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TextIO, TypeVar

from processor.process.logs import log_event

R = TypeVar("R")
Unit = Literal["pixels", "scenes", "shards"]
_LOGGER = logging.getLogger(__name__)
_PERIOD = 10.0  # seconds between events


class Tracker:
    """Shows the progress of a pass while its results go by; this one shows nothing."""

    def track(
        self, results: Iterable[R], *, name: str, total: float, amount: Callable[[R], float], unit: Unit = "pixels"
    ) -> Iterator[R]:
        """Yield the results unchanged; ``amount`` counts the units of one result, ``total`` is the sum over all."""
        del name, total, amount, unit
        yield from results


class Silent(Tracker):
    """Shows nothing."""


@dataclass(slots=True)
class _Pass:
    """State of a pass."""

    name: str
    total: float
    unit: Unit
    clock: Callable[[], float]
    start: float
    done: float = 0.0
    tasks: int = 0

    @property
    def seconds(self) -> float:
        """Elapsed time."""
        return self.clock() - self.start

    @property
    def rate(self) -> float:
        """Units a second, on average."""
        seconds = self.seconds
        return self.done / seconds if seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Remaining time at this rate; None before the first result."""
        rate = self.rate
        return max(0.0, self.total - self.done) / rate if rate > 0 else None

    def show(self, amount: float) -> str:
        """An amount with its unit."""
        return f"{amount / 1e6:.1f} million pixels" if self.unit == "pixels" else f"{amount:.0f} {self.unit}"

    def show_rate(self) -> str:
        """The rate with its unit."""
        return f"{self.rate / 1e6:.1f} Mpx/s" if self.unit == "pixels" else f"{self.rate:.1f} {self.unit}/s"

    def add(self, amount: float) -> None:
        """Count a task's result; one of nothing only says that the pass has begun."""
        if not amount:
            return
        self.done += amount
        self.tasks += 1
        self.log("task-finished", f"{self.name}: task {self.tasks} was done", level=logging.DEBUG, task=self.tasks)

    def log(self, event: str, message: str, *, level: int = logging.INFO, **fields: float) -> None:
        """Log an event with the figures of this pass."""
        left = self.seconds_left
        figures = {
            self.unit: round(self.done),
            f"{self.unit}_total": round(self.total),
            "seconds": round(self.seconds, 3),
            f"{self.unit}_per_second": round(self.rate, 1),
            "seconds_left": None if left is None else round(left, 1),
        }
        log_event(_LOGGER, event, message, level=level, stage=self.name, **figures, **fields)


class LogProgress(Tracker):
    """Logs an event every ten seconds and at the end of a pass.

    Parameters
    ----------
    clock
        Seconds since any fixed time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock

    def track(
        self, results: Iterable[R], *, name: str, total: float, amount: Callable[[R], float], unit: Unit = "pixels"
    ) -> Iterator[R]:
        """Yield the results unchanged and log the progress."""
        watched = _Pass(name=name, total=total, unit=unit, clock=self._clock, start=self._clock())
        last = watched.start
        for result in results:
            watched.add(amount(result))
            if self._clock() - last >= _PERIOD:
                last, left = self._clock(), watched.seconds_left
                end = "" if left is None else f", about {left:.0f} s left"
                share = f"{100 * watched.done / total if total > 0 else 100:.0f} % of {watched.show(total)}"
                watched.log("pass-progressed", f"{name}: {share} done at {watched.show_rate()}{end}")
            yield result
        message = f"{name}: {watched.show(watched.done)} done in {watched.seconds:.1f} s ({watched.show_rate()})"
        watched.log("pass-finished", message)


class TerminalProgress(Tracker):
    """A bar for each pass, with rate and time left."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console  # noqa: PLC0415 - terminals only: batch jobs have none

        self._console = Console(file=stream)

    def track(
        self, results: Iterable[R], *, name: str, total: float, amount: Callable[[R], float], unit: Unit = "pixels"
    ) -> Iterator[R]:
        """Yield the results unchanged and move the bar."""
        from rich.progress import (  # noqa: PLC0415 - as above
            BarColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description:<8}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[rate]:>15}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        watched = _Pass(name=name, total=total, unit=unit, clock=time.monotonic, start=time.monotonic())
        with Progress(*columns, console=self._console) as progress:
            bar = progress.add_task(name, total=total, rate="")
            for result in results:
                watched.add(amount(result))
                progress.update(bar, completed=watched.done, rate=watched.show_rate())
                yield result
            progress.update(bar, completed=total, rate=watched.show_rate())


def choose_tracker(stream: TextIO | None = None) -> Tracker:
    """Bars where the stream (default stderr) is a terminal, else events."""
    target = sys.stderr if stream is None else stream
    return TerminalProgress(target) if target.isatty() else LogProgress()
