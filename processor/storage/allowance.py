"""How many bytes and how much time the documents may take that say what is read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from typing import TypeVar

from processor.errors import InputError, StorageError

T = TypeVar("T")


class Allowance:
    """Bytes and seconds for all documents of an input together: its ItemCollection, its catalogues, the answers of a search.

    May be used from several threads.

    Parameters
    ----------
    max_bytes
        Bytes of all documents.
    seconds
        Time from now on in which they have to be there.
    clock
        Seconds from any origin.
    """

    def __init__(self, *, max_bytes: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes, self._left = max_bytes, max_bytes
        self._seconds, self._clock, self._end = seconds, clock, clock() + seconds
        self._lock = threading.Lock()

    @property
    def left(self) -> int:
        """Bytes that are left."""
        return self._left

    def spend(self, size: int, shown: str) -> None:
        """Count the bytes of a document.

        Parameters
        ----------
        size
            Of them, or more than :attr:`left` where the document was not read to its end.
        shown
            What was read, for messages.

        Raises
        ------
        InputError
            All of them together are too many.
        """
        with self._lock:
            self._left -= size
            is_over = self._left < 0
        if is_over:
            msg = (
                f"{shown} is larger than what is left of --inputs.max_bytes {self._max_bytes}, for all documents of the input: "
                "give a part of it, or raise the limit"
            )
            raise InputError(msg)

    def within(self, call: Callable[[], T], shown: str) -> T:
        """Call in a thread that is left behind when the time is up: no server can hold the run by giving little, or nothing.

        Raises
        ------
        StorageError
            The time is up.
        """
        results: list[T] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                results.append(call())
            except BaseException as error:  # noqa: BLE001 - raised below
                errors.append(error)

        thread = threading.Thread(target=copy_context().run, args=(work,), name="document", daemon=True)
        thread.start()
        thread.join(max(0.0, self._end - self._clock()))
        if errors:
            raise errors[0]
        if not results:
            msg = (
                f"{shown}: the documents of the input were not there within --inputs.max_seconds {self._seconds:g}: the server "
                "is too slow, or never ends; give a part of them, or raise the limit"
            )
            raise StorageError(msg)
        return results[0]
