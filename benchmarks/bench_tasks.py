"""What a run by tasks takes, phase by phase, on a real S3 server; and what that comes to for a run of any size.

    python benchmarks/bench_tasks.py [--layout 2x3] [--size 4096] [--files] [--scenes 10000] [--scene-gb 10]

Scenes of four bands of uint16 with 25 % overlap are made, and each phase is done by a process of its own, in one shard.
Processor time is what counts, user and system, because wall time hangs on what else the machine does. GB are 10^9 bytes of
pixels as decoded.

The projection takes each phase's cost for each decoded GB of the scenes as it was measured; requests by what the parts are made
of; prices as they are written below. It is arithmetic, not a measurement.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from make_scenes import parse_pair

from processor.config import iter_parameters, load_config
from processor.execution.phases import run_shard
from processor.execution.run import Request, plan_tasks, prepare
from processor.execution.run_manifest import open_run
from processor.execution.tasks import CHUNKS_PER_TASK, TILE_BLOCKS
from processor.geotiff.traffic import Traffic
from processor.process.progress import Silent
from processor.storage.store import Store
from processor.synthetic.scenes import SceneRecipe, make_scenes

_GB = 1e9
_BANDS = 4
_SAMPLE = 2  # bytes
_OVERLAP = 0.25

# Prices in US dollars, as large clouds have had them for years: on demand twice to three times as much for processors.
_CORE_HOUR = 0.015  # preemptible
_GETS = 0.40e-6
_PUTS = 5.0e-6
_GB_MONTH = 0.023
_COPY_MB = 100  # a second, of one stream: between what bench_assembly.py shows for files and for S3


def make_folder(folder: Path, layout: tuple[int, int], size: tuple[int, int]) -> float:
    """Make the scenes; GB of their pixels."""
    recipe = SceneRecipe(
        rows=layout[0],
        cols=layout[1],
        height=size[0],
        width=size[1],
        overlap=_OVERLAP,
        bands=_BANDS,
        dtype="uint16",
        seed=1,
        haze=0.05,
        keep_truth=False,
    )
    made = make_scenes(folder, recipe)
    return sum(scene.window.height * scene.window.width for scene in made.scenes) * _BANDS * _SAMPLE / _GB


@contextmanager
def open_place(folder: Path, *, files: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Put the scenes where they are read from; its URL, and the parameters that say how it is reached."""
    if files:
        yield str(folder), {}
        return
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
    from servers import run_s3  # noqa: PLC0415 - from the tests, with the server of the development lock

    with run_s3(folder / "s3") as server:
        server.put_folder(folder / "scenes", "bench/scenes")
        words = server.options
        flags = {name.removeprefix("--"): text for name, text in zip(words[::2], words[1::2], strict=True)}
        yield f"{server.base}/bench", flags


def do_phase(phase: Any, url: str, flags: dict[str, Any]) -> dict[str, float]:
    """Do a phase in this process, and say what it took."""
    run = open_run(url, load_config(flags={**flags, "shared.delete_temp_dir": False}, environment={}))
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    run_shard(run, phase, shards=1, index=0, tracker=Silent())
    after, seconds = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - start
    traffic = Traffic().read()
    status = Path("/proc/self/status").read_text()
    (peak,) = (int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
    return {
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "wall": seconds,
        "peak_mb": peak / 1e6,
        "gets": traffic.requests or 0,
        "get_gb": (traffic.bytes or 0) / _GB,
    }


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Make scenes, do all phases, and say what each took and left."""
    pixels = make_folder(folder / "scenes", options.layout, options.size)
    stored = sum(path.stat().st_size for path in (folder / "scenes").glob("*.tif")) / _GB
    with open_place(folder, files=options.files) as (base, flags):
        flags |= {"shared.tile_threads": 2, "global_regression.estimate_stats": False}
        config = load_config(flags=flags, environment={})
        request = Request(
            inputs=(f"{base}/scenes/items.json",),
            destination=f"{base}/out",
            item_id="m",
            overwrite=False,
            created="2026-01-31T12:00:00Z",
        )
        prepared = prepare(request, config)
        url = plan_tasks(request, prepared)
        run = open_run(url, config)
        phases: dict[str, dict[str, float]] = {}
        own = {p.path: flags[p.path] for p in iter_parameters() if p.path in flags and not p.is_decisive}
        for phase in run.prepared.plan.phases:
            words = ["--phase", phase, "--run", url, "--flags", json.dumps(own)]
            done = subprocess.run([sys.executable, __file__, *words], check=True, capture_output=True, text=True)
            phases[phase] = json.loads(done.stdout.splitlines()[-1])
        store, work = Store(access=prepared.access), url.rpartition("/")[0]
        for phase in ("measure", "solve", "render"):
            sizes = [store.describe(found).size or 0 for found in store.glob(f"{work}/{phase}/**") if found.count(".") > 0]
            phases[phase] |= {"objects": len(sizes), "left_gb": sum(sizes) / _GB}
        mosaic = store.describe(f"{base}/out/m/mosaic.tif").size or 0
    grid = prepared.plan.grid
    return {
        "scenes": len(prepared.plan.scenes),
        "decoded_gb": pixels,
        "stored_gb": stored,
        "mosaic_gb": mosaic / _GB,
        "mosaic_pixels": grid.width * grid.height,
        "phases": phases,
    }


def show(figures: dict[str, Any]) -> None:
    """Print what was measured."""
    print(
        f"{figures['scenes']} scenes, {figures['decoded_gb']:.2f} GB decoded, {figures['stored_gb']:.2f} GB stored; "
        f"mosaic {figures['mosaic_pixels'] / 1e6:.0f} Mpx, {figures['mosaic_gb']:.2f} GB"
    )
    titles = ("CPU s", "CPU s/GB", "wall s", "peak MB", "GETs", "read GB", "objects", "left GB")
    print(f"{'phase':<10}" + "".join(f"{title:>9}" for title in titles))
    for phase, found in figures["phases"].items():
        print(
            f"{phase:<10}{found['cpu']:>9.1f}{found['cpu'] / figures['decoded_gb']:>9.2f}{found['wall']:>9.1f}"
            f"{found['peak_mb']:>9.0f}{found['gets']:>9.0f}{found['get_gb']:>9.2f}{found.get('objects', 0):>9.0f}"
            f"{found.get('left_gb', 0):>9.3f}"
        )


def project(figures: dict[str, Any], scenes: int, scene_gb: float) -> None:
    """Print what a run of another size comes to."""
    factor = scenes * scene_gb / figures["decoded_gb"]
    phases = figures["phases"]
    pixels = figures["mosaic_pixels"] * factor
    tiles = pixels / (TILE_BLOCKS * 512) ** 2
    batches = scenes * scene_gb * _GB / (_BANDS * _SAMPLE) * (1 - _OVERLAP) ** 2 / 1024**2 / CHUNKS_PER_TASK
    mosaic = figures["mosaic_gb"] * factor
    hours = {phase: phases[phase]["cpu"] * factor / 3600 for phase in ("measure", "render")}
    copying = mosaic * 1000 / _COPY_MB / 3600
    day = phases["render"]["left_gb"] * factor * _GB_MONTH / 30
    gets = (phases["measure"]["gets"] + phases["render"]["gets"]) * factor + batches + tiles * 2 * (15 + 2)
    puts = batches + tiles + mosaic * _GB / max(16 * 2**20, mosaic * _GB / 9000)
    pods, cores = 1000, 2
    spread = (hours["measure"] + hours["render"]) / (pods * cores)
    rows = {
        "scenes": f"{scenes:,} of {scene_gb:g} GB, {scenes * scene_gb / 1000:,.0f} TB decoded",
        "mosaic": f"{pixels / 1e12:.1f} Tpx, {mosaic / 1000:,.1f} TB in {tiles:,.0f} tiles",
        "tasks": f"{batches:,.0f} to measure, {tiles:,.0f} to render",
        "core hours": f"{hours['measure']:,.0f} measure + {hours['render']:,.0f} render",
        "wall": f"{spread:.1f} h on {pods} pods of {cores} cores; assemble, one pod: {copying:,.0f} h at {_COPY_MB} MB/s",
        "processors": f"$ {(sum(hours.values()) + copying * cores) * _CORE_HOUR:,.0f}",
        "requests": f"{gets / 1e6:,.0f} million GETs, {puts / 1e3:,.0f} thousand PUTs: $ {gets * _GETS + puts * _PUTS:,.0f}",
        "parts": f"{phases['render']['left_gb'] * factor / 1000:,.1f} TB for a day: $ {day:,.0f}",
        "mosaic kept": f"$ {mosaic * _GB_MONTH:,.0f} a month",
    }
    print()
    for title, text in rows.items():
        print(f"{title:<12} {text}")


def main() -> None:
    """Measure, print, project."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layout", type=parse_pair, default=(2, 3), help="scenes down x across (2x3)")
    parser.add_argument("--size", type=parse_pair, default=(4096, 4096), help="pixels of a scene, HEIGHTxWIDTH or one number")
    parser.add_argument("--files", action="store_true", help="on files instead of an S3 server")
    parser.add_argument("--scenes", type=int, default=10_000)
    parser.add_argument("--scene-gb", type=float, default=10.0)
    parser.add_argument("--phase", help=argparse.SUPPRESS)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--flags", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.phase:
        print(json.dumps(do_phase(options.phase, options.run, json.loads(options.flags))))
        return
    folder = Path(tempfile.mkdtemp(prefix="tasks-"))
    try:
        figures = measure(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(figures)
    project(figures, options.scenes, options.scene_gb)


if __name__ == "__main__":
    main()
