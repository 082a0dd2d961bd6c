"""A run whose pods are real processes, on a cluster that is a fake: the bytes of one process, whatever happens to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from commands import CREATED, make_items, read_files
from kubernetes_fake import Cluster, Fails, PodRun, Works
from kubernetes_server import serve, write_kubeconfig
from task_processes import Nursery, open_nursery

from processor.config import Config, load_config
from processor.errors import ConfigError, InputError
from processor.execution import executors
from processor.execution.executors import plan_tasks
from processor.execution.kubernetes import phase_jobs as jobs
from processor.execution.kubernetes.coordinator import JobsApi, connect
from processor.execution.kubernetes.phase_jobs import execute_kubernetes, list_options, plan_jobs
from processor.execution.phases import open_run
from processor.execution.run import Outcome, Request, execute, prepare
from processor.process.progress import LogProgress, Silent, Tracker

IN_CLUSTER = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
SMALL: dict[str, Any] = {"chunks_per_task": 1, "tile_blocks": 1}


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with open_nursery(tmp_path_factory.mktemp("nursery")) as opened:
        yield opened


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_items(tmp_path_factory.mktemp("scenes"), edge=600)


@pytest.fixture(scope="module")
def expected(items: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run by one process published, without the Item, which says where it is."""
    folder = tmp_path_factory.mktemp("expected")
    request = make_request(items, folder)
    execute(request, prepare(request, load({})), Silent())
    return {name: data for name, data in read_files(folder).items() if name != "m/m.json"}


def make_request(items: Path, folder: Path) -> Request:
    return Request(inputs=(str(items),), destination=str(folder), item_id="m", overwrite=False, created=CREATED)


def load(flags: dict[str, Any]) -> Config:
    return load_config(flags={"kubernetes.image": "mosaic:1", "kubernetes.cpu": 1, **flags}, environment={})


class Stopped(BaseException):
    """A signal, as the command line makes one an exception."""


@dataclass(kw_only=True)
class World:
    """A cluster whose pods do what their Job says, in processes; and a coordinator."""

    items: Path
    folder: Path
    nursery: Nursery
    kubeconfig: Path
    cluster: Cluster = field(default_factory=Cluster)
    pods: list[tuple[str, int, int]] = field(default_factory=list)
    deaths: dict[tuple[str, int], list[int]] = field(default_factory=dict)

    def do(self, run: PodRun) -> Works | Fails:
        """Be a pod: its attempts die at the steps that are listed for its phase and index."""
        (container,) = run.job["spec"]["template"]["spec"]["containers"]
        die_at = [*self.deaths.get((run.phase, run.index), []), *[0] * 9][run.attempt]
        done = self.nursery.run(
            *container["args"], cwd=self.folder, die_at=die_at, variables={"JOB_COMPLETION_INDEX": str(run.index)}
        )
        self.pods.append((run.phase, run.index, done.code))
        return Works() if done.code == 0 else Fails(code=137 if done.code < 0 else done.code, log=done.stderr)

    def run(self, flags: dict[str, Any] | None = None, *, tracker: Tracker | None = None) -> Outcome:
        """Be a coordinator, from its start to its end."""
        request = make_request(self.items, self.folder / "out")
        api: JobsApi = connect(None, {"KUBECONFIG": str(self.kubeconfig)}, self.cluster.pace)
        try:
            return execute_kubernetes(
                request,
                prepare(request, load({"kubernetes.shards": 2} | (flags or {}))),
                tracker or Silent(),
                api=api,
                environ=IN_CLUSTER,
                pace=self.cluster.pace,
            )
        finally:
            api.close()

    def check(self, expected: dict[str, bytes]) -> None:
        files = read_files(self.folder / "out")
        item = json.loads(files.pop("m/m.json"))
        assert item["properties"]["created"] == CREATED
        assert sorted(files) == sorted(expected)
        assert [name for name, data in files.items() if data != expected[name]] == []


@pytest.fixture
def world(items: Path, nursery: Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    plan: Callable[..., str] = plan_tasks
    for module in (executors, jobs):
        monkeypatch.setattr(module, "plan_tasks", lambda request, prepared: plan(request, prepared, **SMALL))
    cluster = Cluster()
    with serve(cluster) as server:
        made = World(
            items=items,
            folder=tmp_path,
            nursery=nursery,
            kubeconfig=write_kubeconfig(tmp_path / "config", server.url),
            cluster=cluster,
        )
        cluster.program = made.do
        yield made


@pytest.mark.exhaustive
@pytest.mark.slow
def test_pods_make_the_bytes_of_one_process_though_some_are_killed(
    world: World, expected: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    world.deaths = {("measure", 0): [1], ("render", 1): [3, 12], ("assemble", 0): [5]}
    with caplog.at_level("INFO"):
        outcome = world.run(tracker=LogProgress())
    assert not outcome.already_done
    world.check(expected)
    codes = {phase: [code for name, _, code in world.pods if name == phase] for phase, _, _ in world.pods}
    assert codes == {"measure": [-9, 0], "solve": [0], "render": [0, -9, -9, 0], "assemble": [-9, 0]}
    finished = [record.message for record in caplog.records if "shards" in record.message and "done in" in record.message]
    assert [message.split(":")[0] for message in finished] == ["measure", "solve", "render", "assemble"]
    assert world.run().already_done


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize("phase", ["measure", "solve", "render", "assemble"])
def test_a_coordinator_that_is_started_again_goes_on(phase: str, world: World, expected: dict[str, bytes]) -> None:
    ends = world.cluster.program

    def stop(run: PodRun) -> Any:
        if run.phase == phase:
            world.cluster.program = ends
            return Fails(code=2, log="stopped here")
        return ends(run)

    world.cluster.program = stop
    with pytest.raises(ConfigError):
        world.run()
    before = len(world.pods)
    world.run()
    world.check(expected)
    redone = {name for name, _, _ in world.pods[before:]}
    assert redone == set(("measure", "solve", "render", "assemble")[("measure", "solve", "render", "assemble").index(phase) :])


@pytest.mark.slow
def test_a_pod_that_ends_for_good_ends_the_run_with_its_words(world: World) -> None:
    (world.items.parent / "b.tif").rename(world.items.parent / "b.away")
    try:
        with pytest.raises((InputError, FileNotFoundError)):
            world.run()
    finally:
        (world.items.parent / "b.away").rename(world.items.parent / "b.tif")
    ends = world.cluster.program
    world.cluster.program = lambda run: Fails(code=13, log="scene b: it is gone") if run.phase == "render" else ends(run)
    with pytest.raises(InputError, match="scene b: it is gone"):
        world.run()


def test_a_folder_of_this_machine_is_refused_outside_of_a_cluster(items: Path, tmp_path: Path) -> None:
    request = make_request(items, tmp_path / "out")
    with pytest.raises(ConfigError, match="name a bucket"):
        execute_kubernetes(request, prepare(request, load({})), Silent(), environ={})
    assert not (tmp_path / "out").exists()


def test_jobs_are_sized_by_the_plan(items: Path, tmp_path: Path) -> None:
    request = make_request(items, tmp_path / "out")

    def plan(**flags: Any) -> dict[str, Any]:
        run = open_run(plan_tasks(request, prepare(request, load(flags)), **SMALL), load(flags))
        return {job.phase: job for job in plan_jobs(run)}

    usual = plan()
    assert list(usual) == ["measure", "solve", "render", "assemble"]
    assert [job.tasks for job in usual.values()] == [1, 1, 4, 1]
    assert [job.shards for job in usual.values()] == [1, 1, 1, 1]  # little work: one pod each
    assert [job.shards for job in plan(**{"kubernetes.shards": 3}).values()] == [1, 1, 3, 1]
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
    assert list_options(config) == (
        "--io.s3_endpoint=http://127.0.0.1:8333",
        "--io.s3_path_style=true",
        "--shared.cache=0.5",
        "--shared.tile_threads=1",
    )
    assert "--shared.tile_threads=3" in list_options(load({"kubernetes.cpu": 2.5}))
    assert "--shared.tile_threads=7" in list_options(load({"shared.tile_threads": 7}))
