"""`run --executor kubernetes` against the fake cluster, with pods that really do their tasks, and what its Jobs are given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from commands import CREATED, call_command, keeping_process_state, make_items, read_files
from effort import exhaustive
from kubernetes_fake import NAMESPACE, Cluster, Fails, PodRun, Works
from kubernetes_server import Server, serve, write_kubeconfig
from scenes import gradient_truth, write_scene

from processor.cli import commands as cli
from processor.cli import task
from processor.config import Config, load_config
from processor.errors import ConfigError, InputError, MosaicError, TransientError
from processor.execution.kubernetes import phase_jobs as jobs
from processor.execution.kubernetes.api import connect
from processor.execution.run import Outcome, Request, plan_tasks, prepare
from processor.execution.run_manifest import open_run
from processor.execution.tasks import Cut
from processor.process.progress import LogProgress, Silent, Tracker

PHASES = ["measure", "solve", "render", "assemble"]
CODES: tuple[tuple[type[MosaicError], int], ...] = ((ConfigError, 2), (TransientError, 1), (MosaicError, 13))


def do_task(run: PodRun) -> Works | Fails:
    """What the container of a pod does, and its exit code."""
    container = run.job["spec"]["template"]["spec"]["containers"][0]
    options = cli.build_parser().parse_args(container["args"])
    try:
        task.execute(options, {"JOB_COMPLETION_INDEX": str(run.index)})
    except MosaicError as error:
        code = next(code for kind, code in CODES if isinstance(error, kind))
        return Fails(code=code, log=json.dumps({"level": "error", "message": str(error)}) + "\n")
    return Works()


def make_request(items: Path, folder: Path | str) -> Request:
    return Request(inputs=(str(items),), destination=str(folder), item_id="summer", overwrite=False, created=CREATED)


def load(flags: dict[str, Any]) -> Config:
    return load_config(flags={"kubernetes.image": "mosaic:1", "kubernetes.cpu": 1, **flags}, environment={})


@dataclass(kw_only=True)
class Place:
    """Scenes, a cluster, and what one process makes of the scenes."""

    folder: Path
    items: Path
    server: Server
    expected: dict[str, bytes]
    kubeconfig: Path

    @property
    def cluster(self) -> Cluster:
        return self.server.cluster

    def run(self, tracker: Tracker | None = None) -> Outcome:
        """Be a coordinator."""
        request = make_request(self.items, f"file://{self.folder / 'jobs'}")
        prepared = prepare(request, load({}), Silent())
        api = connect(None, {"KUBECONFIG": str(self.kubeconfig)}, self.cluster.pace)
        try:
            return jobs.execute_kubernetes(request, prepared, tracker or Silent(), api=api, environ={})
        finally:
            api.close()

    def read(self) -> dict[str, bytes]:
        return read_files(self.folder / "jobs" / "summer")

    def phases(self) -> list[str]:
        return list(dict.fromkeys(run.phase for run in self.cluster.runs))


@pytest.fixture(scope="module")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """Scenes, and the files that one process makes of them."""
    folder = tmp_path_factory.mktemp("one")
    items = make_items(folder / "scenes", edge=1000)  # four tiles
    place = ("--output", str(folder / "out"), "--item-id", "summer", "--created", CREATED)
    done = call_command("run", str(items), *place, cwd=folder, scratch=folder / "scratch")
    assert done.code == 0, done.stderr
    return items, read_files(folder / "out" / "summer")


@pytest.fixture
def place(tmp_path: Path, one_process: tuple[Path, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(jobs, "plan_tasks", partial(plan_tasks, cut=Cut(chunks_per_task=1, tile_blocks=2)))
    monkeypatch.setattr(jobs, "_SHARD_BYTES", 1)
    items, expected = one_process
    with keeping_process_state(), serve(Cluster(do_task)) as server:
        kubeconfig = write_kubeconfig(tmp_path / "config", server.url)
        yield Place(folder=tmp_path, items=items, server=server, expected=expected, kubeconfig=kubeconfig)


def check_same(place: Place) -> None:
    made = place.read()
    assert made.keys() == place.expected.keys()
    differing = {name for name in made if made[name] != place.expected[name]}
    assert differing <= {"summer.json"}, "the Item names its place; nothing else does"


def test_pods_make_the_bytes_of_one_process(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = place.run(LogProgress())
    assert outcome.item["id"] == "summer"
    assert place.phases() == PHASES
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [event["stage"] for event in events if event["event"] == "pass-finished" and "shards" in event] == PHASES
    assert max(run.index for run in place.cluster.runs) > 0, "phases had several shards"
    check_same(place)


def test_pods_that_are_killed_before_and_after_their_work_change_nothing(place: Place) -> None:
    def program(run: PodRun) -> Works | Fails:
        if run.attempt == 0 and run.index % 3 == 0:
            return Fails(code=137, disrupted=True)
        done = do_task(run)
        return Fails(code=137) if run.attempt <= 1 and run.index % 3 == 1 else done

    place.cluster.program = program
    place.run()
    assert max(run.attempt for run in place.cluster.runs) >= 2
    check_same(place)


def test_a_run_that_is_done_makes_no_job(place: Place) -> None:
    place.run()
    made = len(place.cluster.created)
    assert place.run().already_done
    assert len(place.cluster.created) == made


def test_a_coordinator_that_is_killed_at_the_end_leaves_nothing_once_it_runs_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> Outcome:
        raise SystemExit(137)

    with monkeypatch.context() as patched:
        patched.setattr(jobs, "conclude", die)
        with pytest.raises(SystemExit):
            place.run()
    assert list((place.folder / "jobs" / ".work").iterdir()) != []
    assert place.run().already_done
    assert not (place.folder / "jobs" / ".work").exists()


@pytest.mark.parametrize("phase", ["render", *exhaustive("measure", "solve", "assemble")])
def test_a_phase_that_failed_is_resumed_by_the_same_command(phase: str, place: Place) -> None:
    place.cluster.program = lambda run: Fails(code=1, log="no route\n") if run.phase == phase else do_task(run)
    with pytest.raises(TransientError, match=rf"(?s){phase} failed: Job {NAMESPACE}/mosaic-.*\| no route.*to resume: "):
        place.run()
    first = [run.phase for run in place.cluster.runs]
    place.cluster.program = do_task
    place.run()
    later = [run.phase for run in place.cluster.runs[len(first) :]]
    assert list(dict.fromkeys(later)) == PHASES[PHASES.index(phase) :], "what is in the store is not done again"
    check_same(place)


def test_a_scene_that_a_pod_cannot_read_ends_the_run_and_is_named(place: Place) -> None:
    gone = place.items.parent / "b.tif"
    data = gone.read_bytes()

    def program(run: PodRun) -> Works | Fails:
        gone.write_bytes(b"no raster")
        try:
            return do_task(run)
        finally:
            gone.write_bytes(data)

    place.cluster.program = program
    with pytest.raises(InputError, match=r"(?s)measure failed: .*\| error: .*b"):
        place.run()
    assert place.phases() == ["measure"]
    assert not place.read()


def test_pods_match_to_a_reference_and_judge_by_a_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "plan_tasks", partial(plan_tasks, cut=Cut(chunks_per_task=1, tile_blocks=2)))
    items = make_items(tmp_path / "scenes", edge=240)
    coarse = gradient_truth(400, 400, 2).reshape(2, 50, 8, 50, 8).mean(axis=(2, 4))
    images = {}
    for name, values in (("reference", 0.3 * coarse + 7), ("check", 2 * coarse)):
        path = write_scene(tmp_path / "known" / f"{name}.tif", values, pixel=8.0, dtype="float32", nodata=None)
        images[f"{name}.images"] = str(path)
    flags = {"methods.preset": "satellite", **images}
    words = [word for name, value in flags.items() for word in (f"--{name}", value)]
    place = ("--output", str(tmp_path / "out"), "--item-id", "summer", "--created", CREATED)
    done = call_command("run", str(items), *place, *words, cwd=tmp_path, scratch=tmp_path / "scratch")
    assert done.code == 0, done.stderr
    expected = read_files(tmp_path / "out" / "summer")
    request = make_request(items, f"file://{tmp_path / 'jobs'}")
    with keeping_process_state(), serve(Cluster(do_task)) as server:
        kubeconfig = write_kubeconfig(tmp_path / "config", server.url)
        api = connect(None, {"KUBECONFIG": str(kubeconfig)}, server.cluster.pace)
        try:
            prepared = prepare(request, load(flags), Silent())
            outcome = jobs.execute_kubernetes(request, prepared, Silent(), api=api, environ={})
        finally:
            api.close()
    made = read_files(tmp_path / "jobs" / "summer")
    assert made.keys() == expected.keys()
    assert {name for name in made if made[name] != expected[name]} <= {"summer.json"}
    assert outcome.item["properties"]["mosaic:fidelity"] > 0.9
    assert "matched to reference" in outcome.item["properties"]["processing:lineage"]


def test_a_folder_of_this_machine_is_refused_outside_of_a_cluster(
    one_process: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    request = make_request(one_process[0], tmp_path / "out")
    with pytest.raises(ConfigError, match="name a bucket"):
        jobs.execute_kubernetes(request, prepare(request, load({})), Silent(), environ={})
    assert not (tmp_path / "out").exists()


def test_jobs_are_sized_by_the_plan(one_process: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    request = make_request(one_process[0], tmp_path / "out")

    def plan(**flags: Any) -> dict[str, Any]:
        run = open_run(
            plan_tasks(request, prepare(request, load(flags)), cut=Cut(chunks_per_task=1, tile_blocks=2)), load(flags)
        )
        return {job.phase: job for job in jobs.plan_jobs(run)}

    usual = plan()
    assert list(usual) == ["measure", "solve", "render", "assemble"]
    assert [job.tasks for job in usual.values()] == [4, 1, 4, 1]
    assert [job.shards for job in usual.values()] == [1, 1, 1, 1]  # little work: one pod each
    assert [job.shards for job in plan(**{"kubernetes.shards": 3}).values()] == [3, 1, 3, 1]
    more = plan(**{"kubernetes.cpu": 8})
    assert more["render"].memory_bytes > usual["render"].memory_bytes
    assert all(job.memory_bytes < 2e9 and job.scratch_bytes < 2e9 for job in usual.values())
    kept = plan(**{"output.artifacts": "full"})
    assert kept["assemble"].scratch_bytes > usual["assemble"].scratch_bytes


def test_pods_are_told_what_changes_no_byte_and_no_secret() -> None:
    config = load(
        {
            "shared.cache": 0.5,
            "shared.temp_dir": "/here",
            "io.s3_endpoint": "http://127.0.0.1:8333",
            "io.s3_access_key_id": "KEY",
            "io.s3_secret_access_key": "SECRET",
            "io.s3_path_style": True,
            "local_block_adjustment.alpha": 0.5,
        }
    )
    assert jobs.list_options(config) == (
        "--io.s3_endpoint=http://127.0.0.1:8333",
        "--io.s3_path_style=true",
        "--shared.cache=0.5",
        "--shared.tile_threads=1",
    )
    assert "--shared.tile_threads=3" in jobs.list_options(load({"kubernetes.cpu": 2.5}))
    assert "--shared.tile_threads=7" in jobs.list_options(load({"shared.tile_threads": 7}))
