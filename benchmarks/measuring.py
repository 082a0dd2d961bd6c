"""Running a command as a process of its own and measuring it, and the scenes that commands are run on.

Only the standard library is imported here: a child inherits the peak memory of the process that starts it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
KEY, SECRET = "TESTKEY", "TESTSECRET"
_HINDERING = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONDEVMODE", "PYTHONWARNINGS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one process took; MB are 10^6 bytes.

    wall_s: seconds from start to end.
    cpu_s: user and system seconds, its finished children's included.
    peak_mb: largest resident set of the main process.
    read_mb, written_mb: bytes that passed through read and write calls, page cache or not.
    disk_read_mb, disk_written_mb: bytes that the storage layer fetched, and that were left for it to write.
    output_mb: size of the largest GeoTIFF that the process left.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    read_mb: float
    written_mb: float
    disk_read_mb: float
    disk_written_mb: float
    output_mb: float


def make_environment(work: Path) -> dict[str, str]:
    """The environment of every contestant: compiled modules are kept, as they are where a package is installed."""
    kept = {name: value for name, value in os.environ.items() if name not in _HINDERING}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(work / "pycache")}


def run_measured(command: list[str], output: Path, environment: dict[str, str]) -> Run:
    """Run a command that writes below ``output``, and measure it; what it says is shown only if it fails, which ends all."""
    os.sync()  # what an earlier run left to be written is not this one's to wait for
    said = output.with_name(f"{output.name}.log")
    start = time.perf_counter()
    with said.open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, but not yet reaped: its figures are still there
    wall = time.perf_counter() - start
    lines = (Path("/proc") / str(process.pid) / "io").read_text(encoding="ascii").splitlines()
    moved = {key: int(value) / 1e6 for key, value in (line.split(": ") for line in lines)}
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        print(said.read_text(encoding="utf-8", errors="replace"), file=sys.stderr)
        print(f"exit code {process.returncode}: {shlex.join(command)}", file=sys.stderr)
        raise SystemExit(1)
    rasters = [output] if output.is_file() else output.rglob("*.tif")
    return Run(
        wall_s=wall,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_mb=usage.ru_maxrss * 1024 / 1e6,
        read_mb=moved["rchar"],
        written_mb=moved["wchar"],
        disk_read_mb=moved["read_bytes"],
        disk_written_mb=moved["write_bytes"],
        output_mb=max(path.stat().st_size for path in rasters) / 1e6,
    )


def remove_output(path: Path) -> None:
    """Remove what a run left, if anything."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def read_through(folder: Path) -> None:
    """Read every scene once, so that all runs find them in the page cache."""
    for path in sorted(folder.glob("scene_*.tif")):
        with path.open("rb") as file:
            while file.read(1 << 22):
                pass


def prepare_scenes(work: Path, environment: dict[str, str], wanted: dict[str, Any], *flags: str) -> Path:
    """Folder of scenes with ``items.json``; they are made unless an earlier benchmark left them."""
    words = [f"--{name}={value}" for name, value in wanted.items()] + [f"--{flag}" for flag in flags]
    folder = work / "_".join(["scenes", *(word.lstrip("-").replace("=", "") for word in words)])
    if not (folder / "items.json").exists():  # written last: its presence says that the scenes are complete
        maker = str(ROOT / "benchmarks" / "make_scenes.py")
        subprocess.run([sys.executable, maker, str(folder), *words], check=True, cwd=ROOT, env=environment)
    return folder


@contextmanager
def serve_s3(work: Path) -> Iterator[str]:
    """Endpoint of a SeaweedFS server on the loopback interface with a bucket ``scenes``, which ends with the block."""
    folder = work / "s3"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "data").mkdir(parents=True)
    identity = {"name": "ci", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin", "Read", "Write"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
    master, volume, filer, port = (_find_port(start) for start in (20_500, 21_000, 21_500, 22_000))
    command = [
        *(str(Path(sys.executable).with_name("weed")), "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1"),
        *("-ip.bind=127.0.0.1", f"-master.port={master}", "-master.telemetry=false", f"-volume.port={volume}"),
        *("-volume.max=64", "-filer", f"-filer.port={filer}", "-s3", f"-s3.port={port}", f"-s3.config={folder / 's3.json'}"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false"),
    ]
    endpoint = f"http://127.0.0.1:{port}"
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            _wait_for(endpoint)
            yield endpoint
        finally:
            process.terminate()
            process.wait(30)
    shutil.rmtree(folder, ignore_errors=True)


def _find_port(start: int) -> int:
    """A port that nobody listens on, and that gRPC may have 10,000 above."""
    for port in range(start, start + 400):
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10_000))
            return port
    msg = f"no free port from {start} on"
    raise SystemExit(msg)


def _wait_for(endpoint: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{endpoint}/healthz", timeout=2):  # noqa: S310 - http, as written above
                return
        except urllib.error.HTTPError:
            return  # it answers
        except OSError:
            time.sleep(0.2)
    msg = f"no S3 server at {endpoint} after 30 s"
    raise SystemExit(msg)
