"""How much of a disk may be taken for what could be read again."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from processor.storage.scratch import find_room

GB = 10**9


@pytest.mark.parametrize(
    ("setting", "free", "needed", "room"),
    [
        ("auto", 100 * GB, 2 * GB, 8 * GB),
        ("auto", 7 * GB, 2 * GB, 5 * GB),
        ("auto", 1 * GB, 2 * GB, 0),
        (20.0, 1 * GB, 2 * GB, 20 * GB),
        (None, 100 * GB, 0, 0),
    ],
)
def test_room_is_what_the_run_leaves_unless_it_is_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, setting: float | str | None, free: int, needed: int, room: int
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert find_room(tmp_path, setting, needed) == room  # type: ignore[arg-type]
