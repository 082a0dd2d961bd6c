"""A mosaic that fails its thresholds is published, so that its report can be looked at, and made known nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import CREATED, call_command, make_items, read_files


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_items(tmp_path_factory.mktemp("in"))


def test_mosaic_that_meets_every_condition_succeeds(items: Path, tmp_path: Path) -> None:
    arguments = ("run", str(items), "--output", "out", "--item-id", "m", "--collection", "c", "--fail-on", "coverage<1")
    done = call_command(*arguments, "--fail-on", "residual_after>1e6", cwd=tmp_path, scratch=tmp_path / "scratch")
    assert done.code == 0, done.stderr
    assert (tmp_path / "out" / "collection.json").is_file()


@pytest.mark.parametrize("executor", ["local", "tasks"])
def test_mosaic_that_fails_is_published_and_made_known_nowhere_and_so_it_stays(
    items: Path, tmp_path: Path, executor: str
) -> None:
    def run(*conditions: str) -> tuple[int, str]:
        flags = [word for condition in conditions for word in ("--fail-on", condition)]
        arguments = ("run", str(items), "--output", "out", "--item-id", "m", "--collection", "c", "--created", CREATED)
        done = call_command(*arguments, "--executor", executor, *flags, cwd=tmp_path, scratch=tmp_path / "scratch")
        return done.code, "" if done.code == 0 else done.events[-1]["message"]

    code, message = run("coverage<1", "warnings>99", "scenes>=3")
    report = tmp_path / "out" / "m" / "report.json"
    summary = json.loads(report.read_bytes())["summary"]
    assert summary["scenes"] == 3
    assert code == 13
    assert "scenes is 3 (--fail-on 'scenes>=3')" in message
    assert "coverage is" not in message
    assert "out/m/report.json" in message
    assert not (tmp_path / "out" / "collection.json").exists()
    before = read_files(tmp_path / "out" / "m")
    assert "m.json" in before

    assert run("scenes>=3")[0] == 13  # the same again is judged by the published report
    assert read_files(tmp_path / "out" / "m") == before
    assert run("scenes>3")[0] == 0
    assert read_files(tmp_path / "out" / "m") == before
    assert (tmp_path / "out" / "collection.json").is_file()


def test_condition_that_is_none_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    done = call_command("run", "nothing.json", "--output", "o", "--fail-on", "coverage", cwd=tmp_path, scratch=tmp_path / "s")
    assert done.code == 2
    assert "--fail-on 'coverage' is no condition" in done.events[-1]["message"]
    assert not (tmp_path / "o").exists()


def test_nothing_is_known_of_a_mosaic_without_a_report(items: Path, tmp_path: Path) -> None:
    arguments = ("run", str(items), "--output", "out", "--item-id", "m", "--methods.merge_method", "null")
    done = call_command(*arguments, "--fail-on", "coverage<1", cwd=tmp_path, scratch=tmp_path / "scratch")
    assert done.code == 13
    assert "coverage is not known" in done.events[-1]["message"]
