"""Three mosaics of made scenes, judged by `--fail-on verdict=bad`: a good one, one that nothing matched, a clouded one."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import Finished, call_command

from processor.synthetic.scenes import make_demo_scenes

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("verdict")]

OFF = ("--methods.matching_global_method", "null", "--methods.matching_local_method", "null")
Run = Callable[..., tuple[Finished, dict[str, Any]]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("verdict")
    made: dict[bool, Path] = {}

    def go(name: str, *flags: str, difficult: bool = False) -> tuple[Finished, dict[str, Any]]:
        if difficult not in made:
            made[difficult] = make_demo_scenes(folder / str(difficult), difficult=difficult)
        arguments = ("run", str(made[difficult]), "--output", "out", "--item-id", name, "--overwrite", *flags)
        done = call_command(*arguments, "--fail-on", "verdict=bad", cwd=folder, scratch=folder / "scratch")
        return done, json.loads((folder / "out" / name / "report.json").read_bytes())

    return go


@pytest.mark.parametrize("flags", [(), ("--preset", "satellite"), ("--preset", "aerial")], ids=" ".join)
def test_the_demo_is_good_by_default_and_by_each_preset(run: Run, flags: tuple[str, ...]) -> None:
    done, report = run("good", *flags)
    assert done.code == 0, done.stderr
    assert report["summary"]["verdict"] == "good"


def test_scenes_that_nothing_matched_are_bad_though_no_figure_rose(run: Run) -> None:
    done, report = run("off", *OFF)
    assert done.code == 13
    assert "verdict is bad (--fail-on 'verdict=bad')" in done.events[-1]["message"]
    assert report["summary"]["warnings"] == 0
    assert report["verdict"]["advice"]["flags"] == "--preset satellite"
    assert run("off-mended", *shlex.split(report["verdict"]["advice"]["flags"]))[1]["summary"]["verdict"] == "good"


def test_clouds_that_nothing_masks_are_bad_by_default_and_the_command_that_is_named_helps(run: Run) -> None:
    done, report = run("clouds", difficult=True)
    assert done.code == 13
    assert "sample_disagreement" in {one["figure"] for one in report["verdict"]["figures"] if one["grade"] != "good"}
    flags = shlex.split(report["verdict"]["advice"]["flags"])
    done, mended = run("clouds-mended", *flags, difficult=True)
    assert done.code == 0, done.stderr
    assert mended["summary"]["verdict"] == "look"  # clouds stay where no clear scene lies
    step = "seam_step_percent_of_spread"
    assert mended["summary"][step] < 0.4 * report["summary"][step]
