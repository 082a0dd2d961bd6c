"""`mosaic-processor status`: how far a run by tasks is, from its results in storage alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import CREATED, Finished, call_command, make_items

from processor.execution.status import PhaseStatus


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_items(tmp_path_factory.mktemp("in"))


def test_a_run_is_told_of_from_its_plan_to_its_item(items: Path, tmp_path: Path) -> None:
    def call(*words: str) -> Finished:
        return call_command(*words, cwd=tmp_path, scratch=tmp_path / "scratch")

    def ask() -> dict[str, Any]:
        done = call("status", url)
        assert done.code == 0, done.stderr
        return dict(yaml.safe_load(done.stdout))

    target = ("--output", "out", "--item-id", "m", "--created", CREATED)
    url = call("plan", str(items), *target).stdout.strip()
    told = ask()
    assert (told["state"], told["failed_shards"]) == ("measure", 0)
    assert list(told["phases"]) == ["measure", "solve", "render", "assemble"]
    assert {phase["done"] for phase in told["phases"].values()} == {0}
    assert told["phases"]["solve"] == {"done": 0, "tasks": 1}

    assert call("task", "render", "--run", url, "--shards", "3", "--index", "1").code == 1
    told = ask()
    assert told["failed_shards"] == 1
    (failure,) = told["failures"]
    assert (failure["phase"], failure["shard"]) == ("render", "1 of 3")
    assert failure["error"].startswith("StorageError: render needs all results of solve, and 1 of 1 are not there")

    assert call("task", "measure", "--run", url).code == 0
    told = ask()
    measured = told["phases"]["measure"]
    assert measured["done"] == measured["tasks"] > 0
    assert told["state"] == "solve"
    assert told["seconds_since_last_result"] < 600
    assert call("task", "solve", "--run", url).code == 0
    assert ask()["state"] == "render"
    assert call("task", "render", "--run", url, "--shards", "3", "--index", "1").code == 0
    assert ask()["failed_shards"] == 0
    for phase in ("render", "assemble"):
        assert call("task", phase, "--run", url).code == 0
    told = ask()
    assert told == {"item": told["item"], "digest": told["digest"], "state": "published"}
    assert json.loads(Path(told["item"]).read_text())["properties"]["mosaic:digest"] == told["digest"]
    assert not [path for path in (tmp_path / "out" / ".work").rglob("*") if "failed" in path.name]


@pytest.mark.parametrize(
    ("words", "code"),
    [(("nowhere",), 2), (("out/.work/m/d/run.json",), 13), (("out/.work/m/d/run.json", "--shared.output_dtype", "uint8"), 2)],
)
def test_what_is_no_run_is_refused(words: tuple[str, ...], code: int, tmp_path: Path) -> None:
    done = call_command("status", *words, cwd=tmp_path, scratch=tmp_path / "scratch")
    assert done.code == code, done.stderr


def test_a_rate_follows_from_the_times_of_results() -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC)
    status = PhaseStatus(phase="render", tasks=31, done=11, first=first, last=first + timedelta(seconds=100))
    assert status.rate == pytest.approx(0.1)
    assert status.describe() == {
        "done": 11,
        "tasks": 31,
        "first": "2026-01-01T00:00:00Z",
        "last": "2026-01-01T00:01:40Z",
        "per_minute": 6.0,
        "minutes_left": 3.33,
    }
    for done, last in ((1, first), (2, first), (2, None)):
        assert PhaseStatus(phase="render", tasks=3, done=done, first=first, last=last).rate is None
