"""What tasks leave for one another: done once, refused where it is missing or damaged, never mixed, and gone in the end."""

from __future__ import annotations

import argparse
import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from commands import CREATED, call_command, make_items, read_files
from effort import crossed, exhaustive
from outcomes import leaving_out_drawings, make_plain

from processor.cli import task
from processor.config import Config, load_config
from processor.errors import ConfigError, ExistsError, InputError, StorageError
from processor.execution.phases import Run, run_shard
from processor.execution.run import Outcome, Request, execute, plan_tasks, prepare
from processor.execution.run_manifest import open_run, parse_run_url
from processor.execution.tasks import Cut
from processor.mosaic.plan import Phase
from processor.process.progress import Silent
from processor.storage.store import Store

SMALL = Cut(chunks_per_task=1, tile_blocks=1)
FULL = {"output.artifacts": "full"}


@pytest.fixture(autouse=True)
def _without_drawings() -> Iterator[None]:
    with leaving_out_drawings():
        yield


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_items(tmp_path_factory.mktemp("scenes"), edge=600)  # a mosaic of four tiles


@dataclass(kw_only=True)
class Bench:
    """Runs of some scenes into one folder."""

    items: Path
    folder: Path

    def request(self, **changes: Any) -> Request:
        values = {"destination": str(self.folder), "item_id": "m", "overwrite": False, "created": CREATED}
        return Request(inputs=(str(self.items),), **(values | changes))

    def run(self, flags: dict[str, Any] | None = None, **changes: Any) -> dict[str, bytes]:
        """Run in one go, and take away what it published."""
        request = self.request(**changes)
        execute(request, prepare(request, load(flags)), Silent())
        return self.take()

    def run_tasks(self, flags: dict[str, Any] | None = None, **changes: Any) -> Outcome:
        request = self.request(**changes)
        return execute(request, prepare(request, load(flags)), Silent(), cut=SMALL)

    def plan(self, flags: dict[str, Any] | None = None, **changes: Any) -> str:
        request = self.request(**changes)
        return plan_tasks(request, prepare(request, load(flags)), cut=SMALL)

    def open(self, flags: dict[str, Any] | None = None, **changes: Any) -> Run:
        return open_run(self.plan(flags, **changes), Config())

    def take(self) -> dict[str, bytes]:
        files = read_files(self.folder)
        shutil.rmtree(self.folder)
        return files

    def read(self) -> dict[str, bytes]:
        return read_files(self.folder)


def load(flags: dict[str, Any] | None) -> Config:
    return load_config(flags=flags or {}, environment={})


@pytest.fixture
def bench(items: Path, tmp_path: Path) -> Bench:
    return Bench(items=items, folder=tmp_path / "out")


def do(run: Run, phase: Phase, *, shards: int = 1, index: int = 0) -> bool:
    """Do a shard; whether that changed anything in the folder of all runs."""
    folder = Path(run.destination.folder).parent
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    run_shard(run, phase, shards=shards, index=index, tracker=Silent())
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")} != before


def do_until(run: Run, last: Phase) -> None:
    for phase in run.prepared.plan.phases:
        do(run, phase)
        if phase == last:
            return


# The same bytes, whatever there is to do


@pytest.mark.parametrize(
    "flags",
    [
        {"local_block_adjustment.number_of_blocks": "coefficient_of_variation"},  # a phase more
        {f"methods.{stage}_method": None for stage in ("matching_global", "matching_local", "seamline", "clip", "align")},
        *exhaustive(
            {"methods.merge_method": None},
            {"merge_rasters.build_overviews": False},
            {"shared.output_dtype": "float32", "shared.custom_nodata_value": float("nan")},
        ),
    ],
    ids=["blocks by statistics", "nothing but merging", "no mosaic", "no overviews", "NaN"],
)
def test_tasks_give_the_bytes_of_a_run(flags: dict[str, Any], bench: Bench) -> None:
    expected = bench.run(flags)
    outcome = bench.run_tasks(flags)
    files = bench.take()
    assert sorted(files) == sorted(expected)
    assert [name for name, data in files.items() if data != expected[name]] == []
    assert json.loads(files["m/m.json"]) == outcome.item


def test_only_some_runs_have_every_phase(bench: Bench) -> None:
    assert bench.open().prepared.plan.phases == ("measure", "solve", "render", "assemble")
    by_statistics = {"local_block_adjustment.number_of_blocks": "coefficient_of_variation"}
    assert bench.open(by_statistics).prepared.plan.phases == ("measure", "blocks", "solve", "render", "assemble")
    assert bench.open({"methods.merge_method": None}).prepared.plan.phases == ("measure", "solve", "assemble")
    merging_alone = {f"methods.{stage}_method": None for stage in ("matching_global", "matching_local", "seamline", "clip")}
    assert bench.open(merging_alone).prepared.plan.phases == ("solve", "render", "assemble")


def test_how_a_run_is_cut_is_not_in_its_result(bench: Bench) -> None:
    request = bench.request()
    expected = bench.run()
    for cut in (Cut(tile_blocks=2), Cut(tile_blocks=16)):
        execute(request, prepare(request, load(None)), Silent(), cut=cut)
        assert bench.take() == expected


# Once, and in order


def test_a_phase_that_is_done_is_not_done_again(bench: Bench) -> None:
    run = bench.open()
    for phase in ("measure", "solve", "render"):
        assert do(run, phase)
        before = {path: path.stat().st_mtime_ns for path in bench.folder.rglob("*")}
        assert not do(run, phase)
        assert {path: path.stat().st_mtime_ns for path in bench.folder.rglob("*")} == before
    assert do(run, "assemble")
    published = {path: path.stat().st_mtime_ns for path in (bench.folder / "m").rglob("*")}
    for phase in ("measure", "solve", "render", "assemble"):
        assert not do(run, phase)  # also when what the tasks left is gone
    assert {path: path.stat().st_mtime_ns for path in (bench.folder / "m").rglob("*")} == published


def test_shards_share_the_tasks_and_one_may_have_none(bench: Bench) -> None:
    run = bench.open()
    do_until(run, "solve")
    assert [len(run.store.tiles), run.find_missing("render")] == [4, [0, 1, 2, 3]]
    assert do(run, "render", shards=3, index=0)
    assert run.find_missing("render") == [1, 2]
    assert do(run, "render", shards=3, index=2)
    assert run.find_missing("render") == [1]
    assert not do(run, "render", shards=7, index=6)


@pytest.mark.parametrize(
    ("done", "phase", "words"),
    [
        ((), "solve", "solve needs all results of measure, and 1 of 1 are not there"),
        (("measure",), "render", "render needs all results of solve"),
        (("measure",), "assemble", "nothing is solved yet"),
        (("measure", "solve"), "assemble", "assemble needs all results of render, and 4 of 4 are not there"),
    ],
)
def test_a_phase_is_refused_before_the_one_before_it_is_complete(
    done: tuple[Phase, ...], phase: Phase, words: str, bench: Bench
) -> None:
    run = bench.open()
    for before in done:
        do(run, before)
    with pytest.raises(StorageError, match=words) as caught:
        do(run, phase)
    assert "mosaic-processor task" in str(caught.value)
    assert not (bench.folder / "m").exists()


# Damaged


def find_result(bench: Bench, pattern: str) -> Path:
    return min(bench.folder.glob(f".work/m/*/{pattern}"))


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def change_last(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def change_first(path: Path) -> None:
    path.write_bytes(b"\0" + path.read_bytes()[1:])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@crossed(
    "made damage",
    [("measure/*.bin", "measure", "solve"), ("solved.json", "solve", "render"), ("render/*/*.part", "render", "assemble")],
    [cut_short, change_last, change_first, empty],
)
def test_a_damaged_result_is_refused_removed_and_made_anew(made: tuple[str, Phase, Phase], damage: Any, bench: Bench) -> None:
    pattern, maker, reader = made
    expected = bench.run()
    run = bench.open()
    do_until(run, maker)
    path = find_result(bench, pattern)
    damage(path)
    with pytest.raises(StorageError, match="was damaged"):
        do(run, reader)
    assert not path.exists()
    assert "m/m.json" not in bench.read()
    for phase in run.prepared.plan.phases:
        do(run, phase)
    shutil.rmtree(bench.folder / ".work")
    assert bench.take() == expected


def test_a_part_of_another_tile_is_refused(bench: Bench) -> None:
    run = bench.open()
    do_until(run, "render")
    parts = sorted(bench.folder.glob(".work/m/*/render/*/*.part"))
    parts[1].write_bytes(parts[0].read_bytes())
    with pytest.raises(StorageError, match="it is of another tile"):
        do(run, "assemble")


# Never mixed


def test_runs_that_differ_have_their_results_in_different_places(bench: Bench) -> None:
    one, same, other = bench.plan(), bench.plan(), bench.plan({"local_block_adjustment.alpha": 0.98})
    assert one == same != other
    places = [parse_run_url(url) for url in (one, other)]
    assert [place.destination for place in places] == [str(bench.folder)] * 2


def test_what_was_rendered_with_another_solution_is_not_used(bench: Bench) -> None:
    run = bench.open()
    do_until(run, "render")
    solved = json.loads(find_result(bench, "solved.json").read_text())
    other = {**solved, "solution": "0" * 64}
    find_result(bench, "solved.json").write_text(json.dumps(other))
    assert run.find_missing("render") == [0, 1, 2, 3]


def test_a_file_of_the_users_own_that_was_replaced_since_is_noticed(bench: Bench, tmp_path: Path) -> None:
    bench.run({"global_regression.save_adjustments": str(tmp_path / "a.json")})
    url = bench.plan({"global_regression.load_adjustments": str(tmp_path / "a.json")})
    open_run(url, Config())
    document = json.loads((tmp_path / "a.json").read_text())
    document["a"]["whole_stats"]["band_0"]["mean"] += 1
    (tmp_path / "a.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="a file that the configuration names was replaced"):
        open_run(url, Config())


# The end


def test_nothing_of_the_tasks_stays_unless_it_is_to_be_kept(bench: Bench) -> None:
    bench.run_tasks()
    assert not (bench.folder / ".work").exists()
    bench.take()
    run = open_run(bench.plan(), load({"shared.delete_temp_dir": False}))
    do_until(run, "assemble")
    assert [path.name for path in bench.folder.glob(".work/m/*/render/*/*.part")] != []


def test_tasks_done_by_hand_leave_the_document_alone_so_that_whoever_comes_late_learns_it_is_done(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    run = bench.open()
    do_until(run, "assemble")
    assert [name for name in bench.read() if name.startswith(".work")] == [
        f".work/m/{run.prepared.digest}/run.json",
    ]
    with caplog.at_level(logging.INFO):
        assert not do(open_run(run.url, Config()), "render")
    assert "already done" in caplog.text


def test_a_process_that_was_killed_after_publishing_leaves_nothing_once_it_runs_again(bench: Bench) -> None:
    do_until(bench.open(), "assemble")
    assert list(bench.folder.glob(".work/m/*/run.json")) != []
    assert bench.run_tasks().already_done
    assert not (bench.folder / ".work").exists()


def test_a_finished_run_is_not_done_again(bench: Bench) -> None:
    bench.run_tasks()
    before = bench.read()
    again = bench.run_tasks(created="2027-01-01T00:00:00Z")
    assert again.already_done
    assert bench.read() == before


def test_a_run_that_is_planned_again_keeps_the_time_of_the_first(bench: Bench) -> None:
    run = bench.open()
    do_until(run, "solve")
    later = bench.run_tasks(created="2027-01-01T00:00:00Z")
    assert later.item["properties"]["created"] == CREATED


def test_overwriting_removes_what_only_the_former_run_had_even_if_it_was_interrupted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.run_tasks()
    alone = {"methods.matching_local_method": None}
    assert any(name.startswith("m/block_maps") for name in bench.read())
    with pytest.raises(ExistsError):
        bench.run_tasks(alone)
    run = bench.open(alone, overwrite=True)
    do_until(run, "render")
    upload = Store.upload_file

    def fail(store: Store, path: Any, url: str, **options: Any) -> Any:
        if url.endswith("report.json"):
            message = "for now"
            raise StorageError(message)
        return upload(store, path, url, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "upload_file", fail)
        with pytest.raises(StorageError, match="for now"):
            do(run, "assemble")
    assert "m/m.json" not in bench.read()
    do(run, "assemble")
    files = bench.read()
    assert not any(name.startswith("m/block_maps") for name in files)
    named = {asset["href"].removeprefix("./") for asset in json.loads(files["m/m.json"])["assets"].values()}
    assert {name for name in files if name.startswith("m/")} == {f"m/{name}" for name in named} | {"m/m.json"}
    assert not do(run, "assemble")  # its own Item, which is not replaced again


def test_a_mosaic_that_a_killed_attempt_had_written_is_not_written_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = bench.run()
    run = bench.open()
    do_until(run, "render")
    written: list[str] = []
    stream = Store.write_stream

    def note(store: Store, url: str, *rest: Any, **options: Any) -> Any:
        written.append(url.rpartition("/")[2])
        if url.endswith("scene_index.tif") and len(written) == 2:
            message = "for now"
            raise StorageError(message)
        return stream(store, url, *rest, **options)

    monkeypatch.setattr(Store, "write_stream", note)
    with pytest.raises(StorageError, match="for now"):
        do(run, "assemble")
    do(run, "assemble")
    assert written == ["mosaic.tif", "scene_index.tif", "scene_index.tif"]
    shutil.rmtree(bench.folder / ".work")
    assert bench.take() == expected


# Secrets


SECRETS = {
    "io.s3_access_key_id": "AKIASECRETKEY",
    "io.s3_secret_access_key": "verysecret",
    "io.s3_session_token": "tokensecret",
}


def test_no_secret_gets_into_the_document_or_a_result(bench: Bench) -> None:
    run = open_run(bench.plan(SECRETS), load({**SECRETS, "shared.delete_temp_dir": False}))
    do_until(run, "assemble")
    files = bench.read()
    assert len([name for name in files if name.startswith(".work")]) >= 8
    for name, data in files.items():
        assert not any(secret.encode() in data for secret in SECRETS.values()), name


# The command


def test_the_commands_plan_and_task_and_their_exit_codes(bench: Bench, tmp_path: Path) -> None:
    expected = bench.run()
    target = ("--output", str(bench.folder), "--item-id", "m", "--created", CREATED)

    def call(*words: str) -> Any:
        return call_command(*words, cwd=tmp_path, scratch=tmp_path / "scratch")

    planned = call("plan", str(bench.items), *target)
    assert planned.code == 0, planned.stderr
    url = planned.stdout.strip()
    assert Path(url).is_file()
    early = call("task", "render", "--run", url)
    assert (early.code, early.events[-1]["event"]) == (1, "failed-for-now")
    for phase in ("measure", "blocks", "solve", "render", "assemble"):
        done = call("task", phase, "--run", url, "--shared.tile_threads", "1")
        assert done.code == 0, done.stderr
        assert done.stdout == ""
    assert {name: data for name, data in bench.read().items() if not name.startswith(".work")} == expected
    again = call("task", "assemble", "--run", url)
    assert (again.code, again.events[-1]["event"]) == (0, "already-done")
    for words, code in (
        (("task", "render", "--run", "nowhere"), 2),
        (("task", "render", "--run", url.replace("m/", "n/")), 13),
        (("task", "render", "--run", url, "--shards", "2", "--index", "2"), 2),
        (("task", "render", "--run", url, "--local_block_adjustment.alpha", "1"), 2),
        (("task", "publish", "--run", url), 2),
    ):
        refused = call(*words)
        assert refused.code == code, refused.stderr


@pytest.mark.parametrize(
    ("text", "wrong"),
    [("2", "--run nowhere"), ("", "--run nowhere"), *((text, "JOB_COMPLETION_INDEX") for text in ("3", "-1", "x"))],
)
def test_a_task_finds_its_index_where_kubernetes_puts_it(text: str, wrong: str) -> None:
    options = argparse.Namespace(phase="render", run="nowhere", index=None, shards=3)
    with pytest.raises(ConfigError, match=wrong):
        task.execute(options, {"JOB_COMPLETION_INDEX": text})


def test_every_stage_kept_by_tasks_is_as_in_one_go(tmp_path: Path) -> None:
    bench = Bench(items=make_plain(tmp_path / "scenes"), folder=tmp_path / "out")
    assert bench.run(FULL) == (bench.run_tasks(FULL) and bench.take())
