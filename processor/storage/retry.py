"""Trying again: growing and random pauses between attempts, so that many workers do not come back at once."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from processor.errors import StorageError

T = TypeVar("T")

MOST_ROUNDS: Final = 3
"""Repetitions of what a client has repeated request by request before it gave up; the waits of both multiply."""


class RetryableError(StorageError):
    """An attempt failed; ``wait`` is how long the server wants to be left alone, seconds."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Pauses between attempts, each up to twice as long as the one before."""

    first: float = 0.5
    """Longest first pause, seconds."""
    longest: float = 15.0
    """Longest pause, seconds, also where a server asks for more."""
    clock: Callable[[], float] = time.monotonic
    """Seconds from any origin."""
    sleep: Callable[[float], object] = time.sleep
    """Waits so many seconds."""
    jitter: Callable[[], float] = random.random
    """A number from 0 to 1, which half of a pause is multiplied by, so that those who failed together come back apart."""

    def pause(self, attempt: int, least: float = 0.0) -> float:
        """Seconds to wait after a number of failures, counted from 0."""
        bound = min(self.longest, self.first * 2.0 ** min(attempt, 30))
        return min(self.longest, max(least, bound * (0.5 + 0.5 * self.jitter())))


_OF_STORAGE: Final = Backoff()


def repeat(
    call: Callable[[], T],
    *,
    times: float = math.inf,
    seconds: float = math.inf,
    backoff: Backoff | None = None,
    error: type[StorageError] = StorageError,
) -> T:
    """Call, and call again where that failed for now.

    Parameters
    ----------
    call
        What may fail.
    times
        Most attempts after the first one.
    seconds
        Time after which no attempt is begun.
    backoff
        The pauses; default: those of storage.
    error
        What is worth another attempt.

    Raises
    ------
    StorageError
        The last attempt's.
    """
    backoff = backoff or _OF_STORAGE
    begin = backoff.clock()
    for attempt in itertools.count():
        try:
            return call()
        except error as failure:
            pause = backoff.pause(attempt, getattr(failure, "wait", 0.0))
            if attempt >= times or backoff.clock() + pause - begin > seconds:
                raise
        backoff.sleep(pause)
    raise AssertionError  # itertools.count has no end
