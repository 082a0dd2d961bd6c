"""Commands in processes of their own that start in milliseconds, and die when they are told to.

They are forks of one process that has loaded the program. Death is SIGKILL, at a step of the work that is counted: a read of
pixels or of a part, a block, a write, a piece of a stream, a name that is about to be given.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands import Finished, make_environment

__all__ = ["KILLED", "Nursery", "Task", "open_nursery"]

KILLED = -signal.SIGKILL


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A process that was started: its id, and the files of its output."""

    pid: int
    stdout: Path
    stderr: Path


class Nursery:
    """Starts processes and waits for them.

    Parameters
    ----------
    process
        The one that is forked.
    folder
        For their output and scratch files.
    """

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process, self._folder = process, folder
        self._running: dict[int, Task] = {}
        self._started = 0

    def _ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, *arguments: str, cwd: Path, die_at: int = 0, variables: Mapping[str, str] | None = None) -> int:
        """Start a command and give its id; it kills itself at a step of its work, counted from 1, if that is not 0."""
        self._started += 1
        base = self._folder / f"task-{self._started}"
        environment = make_environment(self._folder / "scratch", **(variables or {}))
        request = {"arguments": arguments, "cwd": str(cwd), "environment": environment, "die_at": die_at}
        pid = int(self._ask(**request, stdout=f"{base}.out", stderr=f"{base}.err"))
        self._running[pid] = Task(pid=pid, stdout=Path(f"{base}.out"), stderr=Path(f"{base}.err"))
        return pid

    def wait(self) -> tuple[int, Finished]:
        """Wait for any of the processes, and give its id and what came of it."""
        pid, code = self._ask()
        task = self._running.pop(pid)
        return pid, Finished(code=code, stdout=task.stdout.read_text(), stderr=task.stderr.read_text())

    def run(self, *arguments: str, cwd: Path, die_at: int = 0, variables: Mapping[str, str] | None = None) -> Finished:
        """Run a command to its end; no other may be running."""
        assert not self._running
        self.start(*arguments, cwd=cwd, die_at=die_at, variables=variables)
        return self.wait()[1]


@contextmanager
def open_nursery(folder: Path) -> Iterator[Nursery]:
    """A nursery that goes, with all its processes, at the end of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=make_environment(folder / "scratch"),
    ) as process:
        try:
            yield Nursery(process, folder)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def _serve() -> None:
    """Fork for each request with arguments, and wait for any child for each without."""

    for line in sys.stdin:
        request = json.loads(line)
        if "arguments" in request:
            pid = os.fork()
            if pid == 0:
                _be_task(**request)
            answer: Any = pid
        else:
            pid, status = os.wait()
            answer = [pid, os.waitstatus_to_exitcode(status)]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _be_task(*, arguments: list[str], cwd: str, environment: dict[str, str], die_at: int, stdout: str, stderr: str) -> None:
    from processor.cli.commands import main

    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for number, (path, mode) in enumerate(((os.devnull, "r"), (stdout, "w"), (stderr, "w"))):
        with Path(path).open(mode) as stream:
            os.dup2(stream.fileno(), number)
    if die_at:
        _die_at(die_at)
    code = 70
    try:
        code = main(arguments)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _die_at(step: int) -> None:
    """Have this process killed when it comes to a step."""
    from processor.execution import task_store as workplace
    from processor.execution import tile_parts as parts
    from processor.geotiff.cog.tiles import TileStore
    from processor.geotiff.reader import RasterReader
    from processor.publish import destination as publish
    from processor.storage import atomic as local_files
    from processor.storage.store import Store

    left = step

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counting(function: Any) -> Any:
        def counted(*args: Any, **kwargs: Any) -> Any:
            count()
            return function(*args, **kwargs)

        return counted

    def counting_pieces(function: Any) -> Any:
        def counted(*args: Any, **kwargs: Any) -> Any:
            for piece in function(*args, **kwargs):
                count()
                yield piece

        return counted

    for owner, name in (
        (RasterReader, "read"),
        (TileStore, "put"),
        (Store, "write_bytes"),
        (Store, "upload_file"),
        (local_files, "_place_part"),
        (parts, "read_range"),
        (workplace, "read_range"),
    ):
        setattr(owner, name, counting(getattr(owner, name)))
    workplace.iter_part = counting_pieces(workplace.iter_part)  # type: ignore[attr-defined]
    publish.iter_cog = counting_pieces(publish.iter_cog)  # type: ignore[attr-defined]


if __name__ == "__main__":
    _serve()
