"""Trying again: only what may pass by itself, not for ever, and ever later."""

from __future__ import annotations

import pytest

from processor.errors import InputError, StorageError
from processor.storage import retry


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(retry.time, "sleep", found.append)
    return found


class Failing:
    """Fails as often as it is told to."""

    def __init__(self, times: int, error: type[Exception]) -> None:
        self.left, self.calls, self._error = times, 0, error

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.left:
            raise self._error
        return "done"


def test_what_passes_is_outlasted_with_growing_and_random_pauses(pauses: list[float]) -> None:
    assert retry.repeat(Failing(4, StorageError), times=5) == "done"
    assert len(pauses) == 4
    for attempt, pause in enumerate(pauses):
        assert 0.25 * 2**attempt <= pause <= 0.5 * 2**attempt


def test_pauses_have_an_end(pauses: list[float]) -> None:
    with pytest.raises(StorageError):
        retry.repeat(Failing(99, StorageError), times=12)
    assert max(pauses) <= 15


def test_what_lasts_is_given_up(pauses: list[float]) -> None:
    call = Failing(9, StorageError)
    with pytest.raises(StorageError):
        retry.repeat(call, times=2)
    assert (call.calls, len(pauses)) == (3, 2)


def test_what_cannot_pass_is_not_tried_again(pauses: list[float]) -> None:
    call = Failing(9, InputError)
    with pytest.raises(InputError):
        retry.repeat(call, times=2)
    assert (call.calls, pauses) == (1, [])
