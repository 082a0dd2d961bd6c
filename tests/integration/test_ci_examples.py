"""The examples of docs/ci.md are what the two services and the command take."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from processor.cli import commands as cli
from processor.publish.thresholds import FIGURES, parse_threshold
from processor.report.verdict import CRITERIA
from processor.version import read_version

PAGE = (Path(__file__).parents[2] / "docs" / "ci.md").read_text()
EXAMPLES = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
IMAGE = f"registry.example.org/mosaic-processor:{read_version()}"


def iter_scripts(document: dict[Any, Any]) -> Iterator[str]:
    """Everything that a shell runs, of GitHub's jobs and of GitLab's."""
    for job in (document.get("jobs") or document).values():
        if isinstance(job, dict):
            yield from (step["run"] for step in job.get("steps", ()) if "run" in step)
            yield from job.get("script", ())


def find_commands() -> list[list[str]]:
    """The words of every call of the program, without its name and without the container's options."""
    found = []
    for script in (script for example in EXAMPLES for script in iter_scripts(example)):
        words = shlex.split(script.replace("\\\n", " "))
        if words[:2] == ["docker", "run"]:
            found.append(words[words.index(IMAGE) + 1 :])
        elif words[0] == "mosaic-processor":
            found.append(words[1:])
    return found


COMMANDS = find_commands()


def test_there_is_an_example_for_each_service() -> None:
    assert len(COMMANDS) == 3
    assert sum("jobs" in example for example in EXAMPLES) == 1
    assert all(example for example in EXAMPLES)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_is_one(words: list[str]) -> None:
    parser = cli.build_parser()
    assert parser.parse_args(words).output


def test_limits_of_the_verdict_are_those_that_decide() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([<>]) ([\d.]+) \| (?:[<>] ([\d.]+)|\u2013) \|", PAGE, re.MULTILINE)
    assert [(figure, mark == "<", float(look), float(bad) if bad else None) for figure, mark, look, bad in rows] == [
        (one.figure, one.is_least, one.look, one.bad) for one in CRITERIA
    ]


def test_thresholds_are_named_as_the_report_names_them() -> None:
    conditions = re.findall(r"--fail-on '([^']+)'", PAGE)
    assert {"coverage<1", "residual_after>5"} <= {str(parse_threshold(text)) for text in conditions}
    assert {parse_threshold(text).figure for text in conditions} | set(re.findall(r"`([a-z_]+)`", PAGE)) >= set(FIGURES)


def test_the_container_is_locked_down_and_no_key_is_written_anywhere() -> None:
    (script,) = (script for example in EXAMPLES for script in iter_scripts(example) if "docker run" in script)
    words = shlex.split(script.replace("\\\n", " "))
    options = words[: words.index(IMAGE)]
    assert {"--read-only", "--cap-drop", "--security-opt", "--rm"} <= set(options)
    assert not [word for word in options if re.match(r"AWS_\w+=", word)], "variables are handed on by name"
    assert not re.search(r"(?i)secret_access_key\s*[:=]", PAGE)


def test_only_what_may_pass_is_retried() -> None:
    codes = [
        code
        for example in EXAMPLES
        for job in example.values()
        if isinstance(job, dict)
        for code in job.get("retry", {}).get("exit_codes", ())
    ]
    assert codes == [1, 143]


def test_images_are_of_this_version() -> None:
    assert set(re.findall(r"registry\.example\.org/mosaic-processor:(\S+)", PAGE)) == {read_version()}
