"""Running the command as users do, in processes of its own, on scenes small enough for a test."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from scenes import gradient_truth, write_items, write_scene

from processor.cli.commands import main

COMMAND = (sys.executable, "-m", "processor.cli")
CREATED = "2026-01-31T12:00:00Z"
GAINS = {"a": 1.0, "b": 1.2, "c": 0.9}


def make_items(folder: Path, *, edge: int = 240, bands: int = 2, items: dict[str, Any] | None = None) -> Path:
    """Three overlapping scenes a, b, c of uint16, each with a gain of its own, and their ItemCollection; its path."""
    step = edge * 2 // 3
    corners = {"a": (0, 0), "b": (0, step), "c": (step, step // 2)}
    truth = gradient_truth(edge + step, edge + step, bands)
    paths = []
    for name, (row, col) in corners.items():
        array = truth[:, row : row + edge, col : col + edge] * GAINS[name]
        array[:, : edge // 20, : edge // 20] = 0  # a corner without data
        place = {"left": 500_000.0 + col, "top": 5_300_000.0 - row}
        paths.append(write_scene(folder / f"{name}.tif", array, dtype="uint16", **place))
    return write_items(folder, paths, bands=[f"band_{i}" for i in range(bands)], **(items or {}))


def make_environment(scratch: Path, **variables: str) -> dict[str, str]:
    """This process's environment with scratch files in a folder that can be looked at, and no parameter set."""
    scratch.mkdir(parents=True, exist_ok=True)
    kept = {name: text for name, text in os.environ.items() if not name.startswith("MOSAIC_") and name != "SOURCE_DATE_EPOCH"}
    return {**kept, "TMPDIR": str(scratch), **variables}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """The lines of standard error, each of which has to be a JSON object."""
        return [json.loads(line) for line in self.stderr.splitlines()]

    @property
    def item(self) -> dict[str, Any]:
        """The one Item of the ItemCollection on standard output."""
        (item,) = json.loads(self.stdout)["features"]
        return dict(item)


def run_command(
    *arguments: str, cwd: Path, scratch: Path, stdin: bytes = b"", program: Sequence[str] = COMMAND, **variables: str
) -> Finished:
    """Run the command to its end."""
    done = subprocess.run(
        [*program, *arguments],
        cwd=cwd,
        env=make_environment(scratch, **variables),
        input=stdin,
        capture_output=True,
        check=False,
        timeout=500,
    )
    return Finished(code=done.returncode, stdout=done.stdout.decode(), stderr=done.stderr.decode())


class Terminal(io.StringIO):
    """A stream that says that people look at it."""

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return True


def call_command(*arguments: str, cwd: Path, scratch: Path, on_terminal: bool = False, **variables: str) -> Finished:
    """Run the command in this process, which saves the seconds that loading takes."""
    stdout, stderr = (Terminal(), Terminal()) if on_terminal else (io.StringIO(), io.StringIO())
    with (
        keeping_process_state(),
        mock.patch.dict(os.environ, make_environment(scratch, **variables), clear=True),
        mock.patch.object(tempfile, "tempdir", str(scratch)),
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        code = main(arguments)
    return Finished(code=code, stdout=stdout.getvalue(), stderr=stderr.getvalue())


def _heed_interrupts() -> None:
    """What runs in the background of a shell script inherits an ignored SIGINT, and keeps it; a user's command does not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def start_command(*arguments: str, cwd: Path, scratch: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the command; it is killed at the end of the block if it still runs."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=make_environment(scratch),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_heed_interrupts,  # noqa: PLW1509 - resets one signal, takes no lock
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(condition: Callable[[], object], process: subprocess.Popen[str], *, seconds: float = 300) -> None:
    """Wait until something is so while a command runs."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the command ended before"
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)


def read_files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too, by its path in it; nothing where there is no folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@contextmanager
def keeping_loggers(*names: str) -> Iterator[None]:
    """Undo what is done to loggers."""
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    try:
        yield
    finally:
        for logger, handlers, level, propagate in before:
            logger.handlers[:] = handlers
            logger.setLevel(level)
            logger.propagate = propagate


@contextmanager
def keeping_process_state() -> Iterator[None]:
    """Undo what the command does to the process that it is called in."""
    try:
        with keeping_loggers("", "processor", "stac"):
            yield
    finally:
        logging.captureWarnings(capture=False)
