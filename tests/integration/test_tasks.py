"""A run by tasks: in one shard or seven, in any order, killed and done twice, here and on S3: the bytes of one process."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from commands import CREATED, make_items, read_files
from servers import ObjectServer
from task_processes import KILLED, Nursery, open_nursery

from processor.config import load_config
from processor.execution.run import Request, plan_tasks, prepare
from processor.execution.tasks import Cut

PHASES = ("measure", "solve", "render", "assemble")
SMALL = Cut(chunks_per_task=1, tile_blocks=2)  # for scenes of 1,000 pixels
LITTLE = ("--shared.tile_threads", "1", "--shared.window_size", "512")


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with open_nursery(tmp_path_factory.mktemp("nursery")) as opened:
        yield opened


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_items(tmp_path_factory.mktemp("scenes"), edge=1000)


@dataclass(kw_only=True)
class Place:
    """Where runs of one set of scenes publish, one after the other under the same name, and how that is reached."""

    items: str
    destination: str
    nursery: Nursery
    cwd: Path
    flags: dict[str, Any] = field(default_factory=dict)
    server: ObjectServer | None = None

    @property
    def options(self) -> tuple[str, ...]:
        return self.server.options if self.server else ()

    @property
    def settings(self) -> tuple[str, ...]:
        return tuple(f"--{name}={value}" for name, value in self.flags.items())

    def run(self, *more: str) -> dict[str, bytes]:
        """Run in one process, and take away what it published."""
        target = ("--output", self.destination, "--item-id", "m", "--created", CREATED)
        done = self.nursery.run("run", self.items, *target, *self.settings, *self.options, *more, cwd=self.cwd)
        assert done.code == 0, done.stderr
        return self.take()

    def plan(self, **changes: Any) -> str:
        """Write a document that cuts the run into small tasks, and give its URL."""
        words = self.options
        io = dict(zip((word.removeprefix("--") for word in words[::2]), words[1::2], strict=True))
        config = load_config(flags={**self.flags, **io, **changes}, environment={})
        request = Request(inputs=(self.items,), destination=self.destination, item_id="m", overwrite=False, created=CREATED)
        return plan_tasks(request, prepare(request, config), cut=SMALL)

    def task(self, phase: str, url: str, *more: str, die_at: int = 0) -> int:
        return self.nursery.start("task", phase, "--run", url, *LITTLE, *self.options, *more, cwd=self.cwd, die_at=die_at)

    def read(self) -> dict[str, bytes]:
        """Everything below the destination, by name, but documents of runs, and counts of requests, which differ each time."""
        if self.server is not None:
            files = self.server.get_folder(self.destination.removeprefix(f"{self.server.base}/"))
        else:
            files = read_files(Path(self.destination))
        return {name: data for name, data in files.items() if not name.endswith(("/run.json", "/traffic.json"))}

    def take(self) -> dict[str, bytes]:
        """The same, which is gone then."""
        files = self.read()
        if self.server is not None:
            for name in self.server.get_folder(self.destination.removeprefix(f"{self.server.base}/")):
                self.server.store.remove(f"{self.destination}/{name}")
        else:
            shutil.rmtree(self.destination)
        return files


@pytest.fixture
def here(items: Path, nursery: Nursery, tmp_path: Path) -> Place:
    return Place(items=str(items), destination=str(tmp_path / "out"), nursery=nursery, cwd=tmp_path)


@dataclass(kw_only=True)
class Chaos:
    """Runs the shards of a phase in random order, some twice, and kills most of them at least once."""

    place: Place
    chance: random.Random
    killed: int = 0

    def run(self, phase: str, url: str, *, shards: int, steps: int) -> None:
        """Run a phase to its end; those that are killed are so within a number of steps of their work."""
        waiting = [*range(shards), *self.chance.sample(range(shards), shards // 2)]
        self.chance.shuffle(waiting)
        attempts: dict[int, int] = {}
        running: dict[int, int] = {}
        while waiting or running:
            while waiting and len(running) < 3:
                index = waiting.pop(0)
                attempts[index] = attempts.get(index, 0) + 1
                die_at = self.chance.randint(1, steps) if attempts[index] <= 2 else 0
                pid = self.place.task(phase, url, "--shards", str(shards), "--index", str(index), die_at=die_at)
                running[pid] = index
            pid, done = self.place.nursery.wait()
            index = running.pop(pid)
            if done.code == KILLED:
                self.killed += 1
                waiting.insert(self.chance.randint(0, len(waiting)), index)
            else:
                assert done.code == 0, done.stderr


def assert_same(files: dict[str, bytes], expected: dict[str, bytes]) -> None:
    assert sorted(files) == sorted(expected)
    assert [name for name, data in files.items() if data != expected[name]] == []


def run_in_chaos(place: Place, *, seed: int) -> Chaos:
    chaos = Chaos(place=place, chance=random.Random(seed))  # noqa: S311 - no secret
    url = place.plan()
    for phase, steps in zip(PHASES, (6, 3, 30, 60), strict=True):
        chaos.run(phase, url, shards=7, steps=steps)
    return chaos


@pytest.mark.exhaustive
@pytest.mark.slow
def test_one_process_one_shard_and_seven_in_chaos_give_the_same_bytes(here: Place) -> None:
    here.flags = {"output.artifacts": "full"}
    expected = here.run()
    assert {"m/mosaic.tif", "m/m.json", "m/report.html", "m/mask_rasters/a.tif"} <= expected.keys()
    assert_same(here.run("--executor", "tasks"), expected)
    chaos = run_in_chaos(here, seed=1)
    assert chaos.killed >= 10
    assert_same(here.take(), expected)


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.server
def test_on_s3_too(items: Path, nursery: Nursery, s3_server: ObjectServer, tmp_path: Path) -> None:
    scenes = s3_server.put_folder(items.parent, "tasks-scenes")
    place = Place(
        items=f"{scenes}/{items.name}",
        destination=f"{s3_server.base}/tasks-out",
        nursery=nursery,
        cwd=tmp_path,
        server=s3_server,
    )
    expected = place.run()
    assert_same(place.run("--executor", "tasks"), expected)
    chaos = run_in_chaos(place, seed=2)
    assert chaos.killed >= 10
    assert_same(place.take(), expected)
