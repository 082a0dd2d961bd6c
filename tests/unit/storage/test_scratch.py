"""Scratch: how much of a disk may be taken for what could be read again, and whose folders are removed by whom."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from processor.errors import ConfigError
from processor.storage import scratch as module
from processor.storage.scratch import find_room, remove_dead_scratch, scratch_folder

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


HOLDER = """
import sys
from processor.storage.scratch import scratch_folder
with scratch_folder(sys.argv[1]) as folder:
    (folder / "deep").mkdir()
    (folder / "deep" / "blocks").write_bytes(b"1")
    print(folder, flush=True)
    sys.stdin.read()
"""


@contextmanager
def holding(parent: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process with a scratch folder, and the folder."""
    command = [sys.executable, "-c", HOLDER, str(parent)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    root = Path(module.__file__).parents[2]
    with subprocess.Popen(command, text=True, cwd=root, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_the_folder_of_a_killed_process_is_removed_by_the_next_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    with holding(tmp_path) as (first, dead), holding(tmp_path) as (_, living):
        first.kill()
        first.wait()
        assert {dead, living} == set(tmp_path.iterdir())
        with scratch_folder(str(tmp_path)) as own:
            assert set(tmp_path.iterdir()) == {living, own}
            assert (living / "deep" / "blocks").read_bytes() == b"1"
            remove_dead_scratch(str(tmp_path))  # this process is alive too
            assert set(tmp_path.iterdir()) == {living, own}
        assert set(tmp_path.iterdir()) == {living}


def test_a_folder_whose_process_was_killed_before_it_was_locked_is_removed(tmp_path: Path) -> None:
    (tmp_path / "mosaic-processor-0123456789abcdef").mkdir()
    remove_dead_scratch(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_what_is_kept_and_what_others_have_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "owner.lock").touch()
    place = tmp_path / "scratch"
    with scratch_folder(str(place), keep=True) as kept:
        (kept / "blocks").touch()
    (place / "mosaic-processor-crash-0123.txt").touch()
    (place / "mosaic-processor-0123456789abcdef").symlink_to(elsewhere)
    (place / "mosaic-processor-0000000000000000").touch()
    for name in ("mosaic-processor-1111111111111111", "mosaic-processor-222222222222222g"):
        (place / name).mkdir()
        (place / name / "owner.lock" if name.endswith("g") else place / name / "mine").touch()
    before = sorted(place.rglob("*"))
    remove_dead_scratch(str(place))
    assert sorted(place.rglob("*")) == before
    (place / "mosaic-processor-3333333333333333").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: place.stat().st_uid + 1)
    remove_dead_scratch(str(place))
    assert (place / "mosaic-processor-3333333333333333").is_dir()


def test_a_folder_that_another_run_took_for_a_dead_ones_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Path.mkdir
    calls: list[Path] = []

    def mkdir(path: Path, *args: int, **kwargs: bool) -> None:
        made(path, *args, **kwargs)  # type: ignore[arg-type]
        if path.name.startswith("mosaic-processor-"):
            calls.append(path)
            if len(calls) == 1:
                remove_dead_scratch(str(tmp_path))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with scratch_folder(str(tmp_path)) as folder:
        assert calls[1:] == [folder]
        assert [path.name for path in folder.iterdir()] == ["owner.lock"]
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_has_scratch_that_nobody_else_removes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> bool:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(module, "lock_file", refuse)
    with scratch_folder(str(tmp_path)) as folder:
        remove_dead_scratch(str(tmp_path))
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_not_there_has_nothing_to_remove_and_one_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    remove_dead_scratch(str(tmp_path / "none"))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"--shared\.temp_dir"), scratch_folder(str(tmp_path / "file" / "scratch")):
        pass


def test_scratch_is_where_this_machine_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with scratch_folder() as folder:
        assert folder.parent == tmp_path
        assert folder.stat().st_mode & 0o777 == 0o700
