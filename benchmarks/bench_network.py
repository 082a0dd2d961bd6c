"""What a second reading over the network costs: one run with the range cache, one without, from an S3 server near and far.

    python benchmarks/bench_network.py [--layout 2x3] [--size 3072] [--rounds 3] [--delay 10] [--rate 50]

The far server is the same one behind a relay that delays every byte in both directions and paces what comes back, over all
connections together, because few kernels of containers have ``tc netem``. Statistics are exact, so both passes read full
resolution. Runs take turns; medians are shown. MB are 10^6 bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from measuring import KEY, ROOT, SECRET, make_environment, prepare_scenes, remove_output, run_measured, serve_s3

_PIECE = 64 * 1024  # bytes


class Pace:
    """A line that all connections share: when the next bytes are through."""

    def __init__(self, rate: float | None) -> None:
        self._rate, self._free = rate, 0.0

    def pass_through(self, size: int) -> float:
        """Time at which so many more bytes are through, seconds of the monotonic clock."""
        now = time.monotonic()
        if self._rate is None:
            return now
        self._free = max(now, self._free) + size / self._rate
        return self._free


async def relay(source: asyncio.StreamReader, target: asyncio.StreamWriter, delay: float, pace: Pace) -> None:
    """Hand bytes on, each ``delay`` seconds after the line let it through; at most a second of the line is under way."""
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=64)

    async def deliver() -> None:
        while True:
            due, data = await under_way.get()
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            if not data:
                return
            target.write(data)
            await target.drain()

    delivery = asyncio.ensure_future(deliver())
    with suppress(OSError):
        while data := await source.read(_PIECE):
            await under_way.put((pace.pass_through(len(data)) + delay, data))
    await under_way.put((time.monotonic() + delay, b""))
    with suppress(OSError):
        await delivery
    target.close()


async def serve_far(endpoint: str, delay: float, rate: float) -> None:
    """Relay a free port to a server until this process ends; the port is printed."""
    there, back = Pace(None), Pace(rate)
    target = urlsplit(endpoint)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(target.hostname, target.port)
        await asyncio.gather(relay(reader, far_writer, delay, there), relay(far_reader, writer, delay, back))

    with suppress(PermissionError):
        os.nice(-10)  # a network does not wait for the processors of this machine
    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def move_away(endpoint: str, delay_ms: float, rate_mb: float) -> Iterator[str]:
    """Endpoint of the same server, far away."""
    command = [sys.executable, __file__, "--far", endpoint, "--delay", str(delay_ms), "--rate", str(rate_mb)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def run_once(items: Path, endpoint: str, disk_cache: str, work: Path, environment: dict[str, str]) -> dict[str, float]:
    """Make a mosaic from the server into a local folder; what it took."""
    output = work / "out"
    command = [
        *(sys.executable, "-m", "processor.cli", "run", str(items), "--output", str(output), "--item-id", "m"),
        *("--global_regression.estimate_stats", "false", "--shared.disk_cache", disk_cache, "--shared.tile_threads", "2"),
        *("--io.s3_endpoint", endpoint, "--io.s3_region", "us-east-1"),
        *("--io.s3_access_key_id", KEY, "--io.s3_secret_access_key", SECRET),
    ]
    remove_output(output)
    run = run_measured(command, output, environment)
    events = [json.loads(line) for line in output.with_name("out.log").read_text().splitlines() if line.startswith("{")]
    traffic = [event for event in events if event.get("event") == "traffic"]
    seconds = {event["stage"]: event["seconds"] for event in events if event.get("event") == "pass-finished"}
    return {
        "wall_s": run.wall_s,
        "measure_s": seconds["measure"],
        "render_s": seconds["render"],
        "cpu_s": run.cpu_s,
        "peak_mb": run.peak_mb,
        "requests": sum(event["requests"] for event in traffic),
        "fetched_mb": sum(event["bytes"] for event in traffic) / 1e6,
    }


def upload(folder: Path, endpoint: str, environment: dict[str, str]) -> Path:
    """Copy the scenes to the server; the ItemCollection that names them there."""
    command = [sys.executable, str(ROOT / "benchmarks" / "upload_scenes.py"), str(folder), "s3://scenes/in"]
    subprocess.run([*command, "--endpoint", endpoint], check=True, env=environment)
    return folder / "items-s3.json"


def measure(options: argparse.Namespace, work: Path) -> dict[str, list[dict[str, float]]]:
    """Run near and far, with the range cache and without, in turn."""
    keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    environment = make_environment(work) | keys
    folder = prepare_scenes(work, environment, {"layout": options.layout, "size": options.size})
    found: dict[str, list[dict[str, float]]] = {}
    with serve_s3(work) as near, move_away(near, options.delay, options.rate) as far:
        items = upload(folder, near, environment)
        for number in range(options.rounds):
            for name, endpoint in (("far", far), ("near", near)):
                for disk_cache in ("auto", "null") if number % 2 else ("null", "auto"):
                    taken = run_once(items, endpoint, disk_cache, work, environment)
                    found.setdefault(f"{name}, disk_cache {disk_cache}", []).append(taken)
                    print(name, disk_cache, {key: round(value, 1) for key, value in taken.items()}, file=sys.stderr, flush=True)
    return found


def show(found: dict[str, list[dict[str, Any]]]) -> None:
    """Print the medians."""
    titles = list(next(iter(found.values()))[0])
    print(f"{'':<26}" + "".join(f"{title:>12}" for title in titles))
    for name, runs in found.items():
        print(f"{name:<26}" + "".join(f"{statistics.median(run[title] for run in runs):>12.1f}" for title in titles))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layout", default="2x3", help="scenes down x across")
    parser.add_argument("--size", default="3072", help="pixels of a scene, HEIGHTxWIDTH or one number")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delay", type=float, default=10, help="ms in each direction")
    parser.add_argument("--rate", type=float, default=50, help="MB/s of all that comes back")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "bench-network", help="working folder, kept")
    parser.add_argument("--far", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.far:
        asyncio.run(serve_far(options.far, options.delay / 1000, options.rate * 1e6))
        return
    options.work.mkdir(parents=True, exist_ok=True)
    show(measure(options, options.work))


if __name__ == "__main__":
    main()
