"""Bytes and seconds that documents may take."""

import threading

import pytest

from processor.errors import InputError, StorageError
from processor.storage.allowance import Allowance


def test_bytes_are_counted_together() -> None:
    allowance = Allowance(max_bytes=10, seconds=60)
    allowance.spend(6, "a")
    assert allowance.left == 4
    allowance.spend(4, "b")
    with pytest.raises(InputError, match=r"c is larger than what is left of --inputs.max_bytes 10"):
        allowance.spend(1, "c")


def test_what_never_ends_is_left_behind() -> None:
    never = threading.Event()
    with pytest.raises(StorageError, match=r"a: .* within --inputs.max_seconds 0.05"):
        Allowance(max_bytes=1, seconds=0.05).within(never.wait, "a")
    never.set()


def test_the_time_runs_from_the_beginning() -> None:
    now = [0.0]
    allowance = Allowance(max_bytes=1, seconds=60, clock=lambda: now[0])
    assert allowance.within(lambda: 3, "a") == 3
    now[0] = 61.0
    never = threading.Event()
    with pytest.raises(StorageError, match="max_seconds"):
        allowance.within(never.wait, "b")
    never.set()


def test_errors_come_through() -> None:
    def fail() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        Allowance(max_bytes=1, seconds=60).within(fail, "a")
