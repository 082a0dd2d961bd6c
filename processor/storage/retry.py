"""Trying again: growing and random pauses between attempts, so that many workers do not come back at once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

from processor.errors import StorageError

__all__ = ["MOST_ROUNDS", "repeat"]

T = TypeVar("T")

MOST_ROUNDS: Final = 3
"""Repetitions of what a client has repeated request by request before it gave up; the waits of both multiply."""

_FIRST_PAUSE = 0.5  # seconds
_LONGEST_PAUSE = 15.0  # seconds


def repeat(call: Callable[[], T], *, times: int) -> T:
    """Call, and call again where storage failed for now.

    Parameters
    ----------
    call
        What may fail; nothing else than :class:`StorageError` is worth another attempt.
    times
        Attempts after the first one.

    Raises
    ------
    StorageError
        The last attempt's.
    """
    for attempt in range(times):
        try:
            return call()
        except StorageError:
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt)
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - not a secret
    return call()
