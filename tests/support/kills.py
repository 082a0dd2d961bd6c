"""Runs that are killed at random moments and run again: the same bytes in the end, and nothing left over.

A trial starts the command in a process of its own, sends it SIGKILL or SIGTERM after a random time, three in ten times kills
the repetition too, and then lets the same command end, in this process, which need not load it again. Compared are all files
at the destination, the Item, Collection and catalogue among them, with those of a run that nobody killed. Left over is whatever
else there is then: at the destination, in the folder of temporary files, and among the bucket's unfinished uploads.
"""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import TimeoutExpired

from commands import CREATED, call_command, make_items, read_files, start_command
from servers import ObjectServer

KINDS = ("local", "tasks", "s3", "s3-tasks")
SIGNALS = (signal.SIGKILL, signal.SIGTERM)
_AGAIN = 0.3  # share of the trials whose repetition is killed too
_LONG = 10.0  # seconds that a run which was told to stop may take to end well, on a busy machine too
_ENDINGS = {0: "ended before", -signal.SIGKILL: "killed", 128 + signal.SIGTERM: "stopped", -signal.SIGTERM: "stopped"}
_PLACE = b"PLACE"
_EDGES = {False: 300, True: 1200}  # pixels: what goes to a bucket is uploaded in several parts


@dataclass(kw_only=True)
class Figures:
    """What came of all trials."""

    sent: Counter[str] = field(default_factory=Counter)
    """Signals by kind of run, name and what came of them."""
    faults: list[str] = field(default_factory=list)
    """What differed or was left, a line each."""

    @property
    def kills(self) -> int:
        """How many signals met a run that had not ended."""
        return sum(count for name, count in self.sent.items() if not name.endswith("ended before"))


class Trials:
    """Trials of one kind of run.

    Parameters
    ----------
    kind
        One of :data:`KINDS`.
    folder
        For everything.
    server
        Where buckets are, for the kinds that have one.
    """

    def __init__(self, kind: str, folder: Path, server: ObjectServer | None = None) -> None:
        self._kind, self._folder, self._server = kind, folder / kind, server
        self._is_remote = kind.startswith("s3")
        self._items = make_items(self._folder / "in", edge=_EDGES[self._is_remote], bands=3)
        self._seconds = 0.0
        code, said, _ = self._start("reference")
        assert code == 0, said
        self._expected = self._read("reference")
        assert {"m/m.json", "m/mosaic.tif", "collection.json", "catalog.json"} <= self._expected.keys(), [*self._expected]

    def try_once(self, name: str, moments: list[float], signals: list[signal.Signals], figures: Figures) -> None:
        """Kill the run of a new place after so many of its seconds, each time with its signal, then let it end, and compare."""
        for moment, number in zip(moments, signals, strict=True):
            before = self._list_unfinished(name)
            code, said, seconds = self._start(name, moment, number)
            figures.sent[f"{self._kind} {number.name} {_ENDINGS.get(code, f'exit code {code}')}"] += 1
            if code not in _ENDINGS:
                figures.faults.append(f"{self._kind} {name}: {number.name} gave exit code {code}: {said[-300:]}")
            elif code == 0 and seconds > _LONG:
                figures.faults.append(
                    f"{self._kind} {name}: {number.name} came, and the run went on for {seconds:.0f} s: {said}"
                )
            elif code == 128 + signal.SIGTERM:
                left = [one for one in self._list_unfinished(name) if one not in before]
                figures.faults += [f"{self._kind} {name}: {one} after SIGTERM" for one in left]
        done = call_command(*self._list_words(name), cwd=self._folder / name, scratch=self._folder / name / "scratch")
        if done.code != 0:
            figures.faults.append(f"{self._kind} {name}: the repetition ended with {done.code}: {done.stderr[-300:]}")
            return
        found = self._read(name)
        figures.faults += [
            f"{self._kind} {name}: {path} differs" for path, data in self._expected.items() if found.get(path) != data
        ]
        figures.faults += [f"{self._kind} {name}: {path} is left" for path in sorted(found.keys() - self._expected.keys())]
        figures.faults += [f"{self._kind} {name}: {one} is left" for one in self._list_unfinished(name)]

    def _start(self, name: str, moment: float = 1.0, number: signal.Signals | None = None) -> tuple[int, str, float]:
        """Run the command in a process, to its end or to a signal after a share of a whole run's time, which is measured anew.

        Returns
        -------
        Exit code, standard error, and the seconds that it went on for after that.
        """
        place = self._folder / name
        is_first = not place.exists()
        place.mkdir(exist_ok=True)
        start = time.monotonic()
        with start_command(*self._list_words(name), cwd=place, scratch=place / "scratch") as process:
            if number is not None:
                with contextlib.suppress(TimeoutExpired):
                    process.wait(moment * self._seconds)
                process.send_signal(number)
            came = time.monotonic()
            _, said = process.communicate(timeout=500)
        if is_first:  # what ends tells the time, and what does not, that it may have grown
            self._seconds = time.monotonic() - start if process.returncode == 0 else self._seconds * 1.05
        return process.returncode, said, time.monotonic() - came

    def _list_words(self, name: str) -> list[str]:
        """The command."""
        words = ["run", str(self._items), "--output", self._locate(name), "--item-id", "m", "--created", CREATED]
        words += ["--collection", "c", "--output.catalog", "true", "--output.compression", "none"]
        words += ["--executor", "tasks" if self._kind.endswith("tasks") else "local"]
        return [*words, *(self._server.options if self._server is not None and self._is_remote else ())]

    def _locate(self, name: str) -> str:
        """The destination."""
        if self._server is not None and self._is_remote:
            return f"{self._server.base}/{self._kind}/{name}"
        return str(self._folder / name / "out")

    def _read(self, name: str) -> dict[str, bytes]:
        """All that is at the destination, as if it were always the same place."""
        if self._server is not None and self._is_remote:
            files = self._server.get_folder(f"{self._kind}/{name}")
        else:
            files = read_files(self._folder / name / "out")
        return {path: data.replace(self._locate(name).encode(), _PLACE) for path, data in files.items()}

    def _list_unfinished(self, name: str) -> list[str]:
        """Scratch, half-written files and unfinished uploads."""
        place = self._folder / name
        left = [f"scratch/{path.name}" for path in place.glob("scratch/*")]
        left += [str(path.relative_to(place)) for path in place.rglob(".*") if path.suffix in {".part", ".lock"}]
        uploads = self._server.list_uploads() if self._server is not None and self._is_remote else []
        return left + [f"upload {key}" for key in uploads if key.startswith(f"{self._kind}/{name}/")]


def draw(chance: random.Random) -> tuple[list[float], list[signal.Signals]]:
    """Moments of kills, as shares of a whole run's time, half of them in its last third, and their signals."""
    count = 2 if chance.random() < _AGAIN else 1
    moments = [chance.uniform(0.65, 1.05) if chance.random() < 0.5 else chance.uniform(0.0, 1.0) for _ in range(count)]
    return moments, [chance.choice(SIGNALS) for _ in range(count)]
