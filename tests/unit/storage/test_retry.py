"""Trying again: only what may pass by itself, not for ever, and ever later."""

from __future__ import annotations

import math

import pytest

from processor.errors import InputError, MosaicError, StorageError
from processor.storage.retry import Backoff, RetryableError, repeat


class Failing:
    """Fails as often as it is told to, and notes how long it is left alone."""

    def __init__(self, times: float, error: MosaicError | None = None) -> None:
        self.left, self.calls, self.pauses = times, 0, list[float]()
        self._error = error or StorageError()
        self.backoff = Backoff(sleep=self.pauses.append, clock=lambda: sum(self.pauses))

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.left:
            raise self._error
        return "done"


def test_what_passes_is_outlasted_with_growing_and_random_pauses() -> None:
    call = Failing(4)
    assert repeat(call, times=5, backoff=call.backoff) == "done"
    assert len(call.pauses) == 4
    for attempt, pause in enumerate(call.pauses):
        assert 0.25 * 2**attempt <= pause <= 0.5 * 2**attempt


@pytest.mark.parametrize(("error", "times", "calls"), [(StorageError(), 12, 13), (StorageError(), 0, 1), (InputError(), 12, 1)])
def test_what_lasts_is_given_up_and_what_cannot_pass_is_not_tried_again(error: MosaicError, times: int, calls: int) -> None:
    call = Failing(math.inf, error)
    with pytest.raises(type(error)):
        repeat(call, times=times, backoff=call.backoff)
    assert (call.calls, len(call.pauses)) == (calls, calls - 1)
    assert max(call.pauses, default=0) <= 15


def test_nothing_is_begun_after_the_time() -> None:
    call = Failing(math.inf)
    with pytest.raises(StorageError):
        repeat(call, seconds=60, backoff=call.backoff)
    assert 45 < sum(call.pauses) <= 60


def test_a_server_is_left_alone_as_long_as_it_wants_within_reason() -> None:
    for wait, expected in ((7.0, 7.0), (99.0, 15.0)):
        call = Failing(1, RetryableError("for now", wait))
        repeat(call, backoff=call.backoff)
        assert call.pauses == [expected]


def test_other_failures_than_those_that_are_named_are_not_repeated() -> None:
    call = Failing(1)
    with pytest.raises(StorageError):
        repeat(call, times=2, backoff=call.backoff, error=RetryableError)
    assert call.calls == 1
