"""Runs that are interrupted, killed, repeated, or done twice at once: the same bytes in the end, nothing half-written ever."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from commands import CREATED, Finished, call_command, make_items, read_files, run_command, start_command, wait_until
from effort import exhaustive

OPTIONS = ("--output", "out", "--item-id", "m", "--created", CREATED)

# Runs the command, and kills it without warning when the named file is whole and about to get its name, or has just got it.
KILLED = """
import os, signal, sys
from processor.storage import atomic as local_files
from processor.cli.commands import main
place = local_files._place_part
when, name, *words = sys.argv[1:]
def place_or_die(part, destination, *, overwrite):
    if when == "before" and destination.name == name:
        os.kill(os.getpid(), signal.SIGKILL)
    place(part, destination, overwrite=overwrite)
    if destination.name == name:
        os.kill(os.getpid(), signal.SIGKILL)
local_files._place_part = place_or_die
sys.exit(main(words))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An uninterrupted run."""

    items: Path
    files: dict[str, bytes]
    finished: Finished


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    items = make_items(tmp_path_factory.mktemp("scenes"), edge=600)
    folder = tmp_path_factory.mktemp("reference")
    finished = run_command("run", str(items), *OPTIONS, cwd=folder, scratch=folder / "scratch")
    assert finished.code == 0, finished.stderr
    return Reference(items=items, files=read_files(folder / "out" / "m"), finished=finished)


def run(reference: Reference, folder: Path, *options: str) -> Finished:
    return call_command("run", str(reference.items), *OPTIONS, *options, cwd=folder, scratch=folder / "scratch")


def run_killed(name: str, reference: Reference, folder: Path, *options: str, when: str = "before") -> Finished:
    """Run the command in a process that is killed before or after the named file gets its name."""
    program = (sys.executable, "-c", KILLED, when, name)
    place = {"cwd": folder, "scratch": folder / "scratch"}
    return run_command("run", str(reference.items), *OPTIONS, *options, program=program, **place)


def list_events(finished: Finished) -> list[str]:
    return [event["event"] for event in finished.events]


def without_self(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files, with the Item's link to itself left out: it says in which folder the test ran."""
    item = json.loads(files["m.json"])
    item["links"] = [link for link in item["links"] if link["rel"] != "self"]
    return {**files, "m.json": json.dumps(item).encode()}


def assert_same(folder: Path, reference: Reference) -> None:
    files = read_files(folder / "out" / "m")
    assert sorted(files) == sorted(reference.files)
    expected = without_self(reference.files)
    assert [name for name, data in without_self(files).items() if data != expected[name]] == []


def assert_nothing_half_written(folder: Path, reference: Reference) -> None:
    """Every name that exists holds what the uninterrupted run wrote, and there is no Item."""
    files = {name: data for name, data in read_files(folder / "out" / "m").items() if not name.endswith(".part")}
    assert [name for name, data in files.items() if data != reference.files[name]] == []
    assert "m.json" not in files


def has_begun(stage: str, folder: Path) -> bool:
    """Whether a run has come to a stage, as far as its files tell."""
    pattern = {"measure": "scratch/mosaic-processor-*", "render": "scratch/*/mosaic-0-0.blocks", "report": "out/m/mosaic.tif"}
    return any(folder.glob(pattern[stage]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "stage", "code"),
    [(signal.SIGINT, "render", 130), (signal.SIGTERM, "report", 143), *exhaustive((signal.SIGTERM, "measure", 143))],
)
def test_an_interrupted_run_leaves_nothing_half_written_and_says_so(
    number: signal.Signals, stage: str, code: int, reference: Reference, tmp_path: Path
) -> None:
    arguments = ("run", str(reference.items), *OPTIONS)
    start = time.monotonic()
    with start_command(*arguments, cwd=tmp_path, scratch=tmp_path / "scratch") as process:
        wait_until(lambda: has_begun(stage, tmp_path), process)
        process.send_signal(number)
        stopped = time.monotonic()
        stdout, stderr = process.communicate(timeout=300)
        # Ten seconds, and on a busy machine as much more as the start took.
        assert time.monotonic() - stopped < 10 + (stopped - start)
    assert process.returncode == code, stderr
    assert stdout == ""
    last = json.loads(stderr.splitlines()[-1])
    assert (last["event"], last["exit_code"]) == ("interrupted", code)
    assert number.name in last["message"]
    assert list((tmp_path / "scratch").iterdir()) == []
    if stage == "report":  # the mosaic is where it belongs before the report is drawn, and it is there in time
        assert {"config.yaml", "mosaic.tif"} <= read_files(tmp_path / "out" / "m").keys()
        assert_nothing_half_written(tmp_path, reference)
    else:
        assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["render", *exhaustive("measure")])
def test_a_run_killed_before_it_publishes_leaves_nothing_there(stage: str, reference: Reference, tmp_path: Path) -> None:
    with start_command("run", str(reference.items), *OPTIONS, cwd=tmp_path, scratch=tmp_path / "scratch") as process:
        wait_until(lambda: has_begun(stage, tmp_path), process)
        process.kill()
        process.wait()
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mosaic.tif", *exhaustive("block_maps.npz", "m.json")])
def test_a_run_killed_while_it_publishes_leaves_whole_files_and_is_resumed_to_the_same_bytes(
    name: str, reference: Reference, tmp_path: Path
) -> None:
    killed = run_killed(name, reference, tmp_path)
    assert killed.code == -signal.SIGKILL, killed.stderr
    assert killed.stdout == ""
    assert any(path.startswith(f".{name}.") or f"/.{name}." in path for path in read_files(tmp_path / "out" / "m"))
    assert_nothing_half_written(tmp_path, reference)
    again = run(reference, tmp_path)
    assert again.code == 0, again.stderr
    assert_same(tmp_path, reference)
    assert "already-done" not in list_events(again)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "executor", "left"),
    [
        ("m.json", "tasks", {".work/m/DIGEST/run.json", "m/.m.json.HEX.part"}),
        ("collection.json", "local", {".collection.json.lock"}),
        *exhaustive(("m.json", "local", {"m/.m.json.HEX.part"}), ("collection.json", "tasks", {".collection.json.lock"})),
    ],
)
def test_a_run_killed_when_its_item_was_there_leaves_nothing_to_the_next(
    name: str, executor: str, left: set[str], reference: Reference, tmp_path: Path
) -> None:
    options = ("--executor", executor, "--collection", "c")
    killed = run_killed(name, reference, tmp_path, *options, when="after")
    assert killed.code == -signal.SIGKILL, killed.stderr
    known = {f"m/{path}" for path in reference.files} | {"collection.json"}
    names = [re.sub("[0-9a-f]{64}", "DIGEST", path) for path in read_files(tmp_path / "out")]
    assert left <= {re.sub("[0-9a-f]{16}[.]part", "HEX.part", path) for path in names}
    assert len(list((tmp_path / "scratch").iterdir())) == (1 if name == "m.json" else 0)
    again = run(reference, tmp_path, *options)
    assert again.code == 0, again.stderr
    assert "already-done" in list_events(again)
    assert read_files(tmp_path / "out").keys() == known
    assert list((tmp_path / "scratch").iterdir()) == []
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()] == ["m"]


def test_a_finished_run_is_not_done_again_and_prints_the_same_collection(reference: Reference, tmp_path: Path) -> None:
    write_files(tmp_path / "out" / "m", reference.files)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    again = run(
        reference, tmp_path, "--created", "2027-01-01T00:00:00Z", "--shared.tile_threads", "1", "--shared.cache", "0.01"
    )
    assert again.code == 0
    assert again.stdout == reference.finished.stdout
    assert list_events(again) == ["pass-finished", "planned", "already-done"]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before
    assert list((tmp_path / "scratch").iterdir()) == []


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def test_another_configuration_under_the_same_id_is_refused_with_advice(reference: Reference, tmp_path: Path) -> None:
    write_files(tmp_path / "out" / "m", reference.files)
    other = run(reference, tmp_path, "--local_block_adjustment.alpha", "0.98")
    assert (other.code, other.stdout) == (13, "")
    message = other.events[-1]["message"]
    assert "out/m/m.json exists and was made from other inputs, another configuration" in message
    assert "--overwrite" in message
    assert "--item-id" in message
    assert read_files(tmp_path / "out" / "m") == reference.files


@pytest.mark.parametrize("item", [b"{", b"[]", b'{"properties": null}', b'{"type": "Feature", "properties": {}}'])
def test_an_item_that_no_run_wrote_is_not_replaced(item: bytes, reference: Reference, tmp_path: Path) -> None:
    write_files(tmp_path / "out" / "m", {"m.json": item})
    assert run(reference, tmp_path).code == 13
    assert read_files(tmp_path / "out" / "m") == {"m.json": item}


@pytest.mark.parametrize("claimed", [True, False], ids=["with its claim", "without its claim"])
def test_files_of_an_unfinished_run_with_another_configuration_are_refused_with_advice(
    claimed: bool, reference: Reference, tmp_path: Path
) -> None:
    left = {"adjustments.json": reference.files["adjustments.json"], "mosaic.tif": b"of another run"}
    if claimed:
        left["config.yaml"] = reference.files["config.yaml"]
    write_files(tmp_path / "out" / "m", left)
    option = ("--local_block_adjustment.alpha", "0.98") if claimed else ()
    other = run(reference, tmp_path, *option)
    assert (other.code, other.stdout) == (13, "")
    message = other.events[-1]["message"]
    assert f"{'config.yaml' if claimed else 'mosaic.tif'} exists with other content and there is no Item beside it" in message
    assert "--overwrite" in message
    assert "--item-id" in message
    files = read_files(tmp_path / "out" / "m")
    assert {name: files[name] for name in left} == left
    assert "m.json" not in files
    if claimed:  # refused before any work was done
        assert list_events(other) == ["pass-finished", "planned", "refused"]
        assert files == left


@pytest.mark.slow
def test_overwriting_does_the_work_again_and_removes_what_the_new_run_does_not_have(
    reference: Reference, tmp_path: Path
) -> None:
    write_files(tmp_path / "out" / "m", {**reference.files, "notes.txt": b"mine"})
    other = run(reference, tmp_path, "--overwrite", "--methods.matching_local_method", "null")
    assert other.code == 0, other.stderr
    files = read_files(tmp_path / "out" / "m")
    assert not [name for name in files if name.startswith("block_maps")]
    assert files.pop("notes.txt") == b"mine"
    assert files["mosaic.tif"] != reference.files["mosaic.tif"]
    named = {asset["href"].rpartition("/out/m/")[2] for asset in other.item["assets"].values()}
    assert set(files) == named | {"m.json"}


@pytest.mark.slow
def test_a_run_killed_while_it_overwrites_leaves_no_item_that_names_files_of_another(
    reference: Reference, tmp_path: Path
) -> None:
    write_files(tmp_path / "out" / "m", reference.files)
    options = ("--overwrite", "--local_block_adjustment.alpha", "0.98")
    killed = run_killed("mosaic.tif", reference, tmp_path, *options)
    assert killed.code == -signal.SIGKILL
    assert not (tmp_path / "out" / "m" / "m.json").exists()
    refused = run(reference, tmp_path)
    assert refused.code == 13
    assert "unfinished run" in refused.events[-1]["message"]
    assert run(reference, tmp_path, "--overwrite").code == 0
    assert_same(tmp_path, reference)  # what the killed run left is gone too


@pytest.mark.exhaustive
@pytest.mark.slow
def test_two_processes_that_do_the_same_at_once_both_end_well_with_one_result(reference: Reference, tmp_path: Path) -> None:
    times = ("2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z")
    arguments = ("run", str(reference.items), "--output", "out", "--item-id", "m", "--created")
    with (
        start_command(*arguments, times[0], cwd=tmp_path, scratch=tmp_path / "scratch") as first,
        start_command(*arguments, times[1], cwd=tmp_path, scratch=tmp_path / "scratch") as second,
    ):
        ended = [process.communicate(timeout=500) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], ended
    assert ended[0][0] == ended[1][0]
    item = json.loads((tmp_path / "out" / "m" / "m.json").read_text())
    assert item["properties"]["created"] in times
    files = read_files(tmp_path / "out" / "m")
    assert {name: data for name, data in files.items() if name != "m.json"} == {
        name: data for name, data in reference.files.items() if name != "m.json"
    }


@pytest.mark.slow
def test_threads_memory_and_windows_change_no_byte(reference: Reference, tmp_path: Path) -> None:
    threads = [f"--shared.{name}_threads=1" for name in ("image", "io", "tile")]
    assert run(reference, tmp_path, *threads, "--shared.cache", "null", "--shared.window_size", "512").code == 0
    assert_same(tmp_path, reference)
