"""A guard against lost optimisations, for CI: ratios of processor times that are measured in one process, in turn.

Run as ``python benchmarks/guard.py``; exit code 1 where a ratio is above its bound. What is compared:

- both passes over four small, ragged scenes against GDAL's COG driver writing their plain mosaic, codec ZSTD 1, which leaves
  the most weight to what is not encoding;
- pixels that the passes decode, against those that the scenes have, twice: this one has no noise;
- each kernel against decoding the same pixels through GDAL.

Both sides of a ratio slow down with the machine; the least of several rounds is taken of each, and what is above its bound is
measured again, twice at most: noise passes, a lost optimisation does not. The bounds are 1.25 times (passes) and about twice
(kernels) what was measured on a busy machine; what each optimisation is worth, and so what fails without it, is in
docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import rasterio
import rasterio.shutil
from bench_kernels import measure_kernels
from floor import make_vrt

from processor.config import load_config
from processor.execution.passes import measure, render, solve
from processor.execution.task_store import LocalStore
from processor.execution.workbench import Workbench
from processor.geotiff.open import open_scene
from processor.model import RasterRef, SceneRef
from processor.mosaic.budget import Allotment
from processor.mosaic.plan import Plan
from processor.mosaic.planning import plan_run
from processor.process.memory import tune_process
from processor.process.progress import Silent
from processor.scenes.unify import unify_scenes
from processor.storage.options import Access
from processor.synthetic.scenes import SceneRecipe, make_scenes

ROUNDS = 3
ATTEMPTS = 3
CACHE = 32 * 10**6  # bytes

#: Most that a ratio may be. Passes: against the floor. The others: against decoding.
BOUNDS = {
    "passes": 2.2,
    "decoded": 1.35,
    "moments": 0.25,
    "moments, masked": 0.55,
    "block sums, masked": 0.25,
    "surface": 0.16,
    "power": 0.5,
    "rounding": 0.2,
    "merge": 0.2,
    "overview": 0.25,
    "encode deflate 6": 9.0,
}


def open_plan(folder: Path) -> Plan:
    """The plan of all scenes in a folder."""
    flags = {
        "global_regression.estimate_stats": False,
        "output.compression": "zstd",
        "output.level": 1,
        "shared.tile_threads": 1,
        "shared.window_size": 512,
    }
    config = load_config(flags=flags, environment={})
    refs = [
        SceneRef(name=path.stem, priority=position, rasters=(RasterRef(href=str(path)),))
        for position, path in enumerate(sorted(folder.glob("scene_*.tif")))
    ]
    return plan_run(unify_scenes([open_scene(ref) for ref in refs], config).scenes, config)


def run_passes(plan: Plan, scratch: Path) -> int:
    """Read every pixel twice, decide, correct, cut, merge and encode; bytes of pixels that were decoded."""
    allotment = Allotment(total=0, cache_bytes=CACHE, measure_threads=1, render_threads=1)
    bench = Workbench(scratch=scratch, tracker=Silent(), allotment=allotment, access=Access())
    with closing(bench), closing(LocalStore(plan=plan)) as store, bench.reading("guard") as reader:
        measure(plan, store, "measure", store.find_missing("measure"), bench)
        solve(plan, store)
        render(plan, store, store.find_missing("render"), bench)
        return reader.decoded_bytes


def run_floor(plan: Plan, scratch: Path) -> None:
    """Write the plain mosaic with GDAL."""
    vrt = scratch / "floor.vrt"
    vrt.write_text(make_vrt([scene.source.href for scene in plan.scenes]), encoding="utf-8")
    options: dict[str, Any] = {"COMPRESS": "ZSTD", "LEVEL": 1, "PREDICTOR": "YES", "NUM_THREADS": 1, "BLOCKSIZE": 512}
    rasterio.shutil.copy(vrt, scratch / "floor.tif", driver="COG", OVERVIEW_RESAMPLING="AVERAGE", **options)


def time_process(work: Callable[[], object]) -> float:
    """Processor seconds of all threads."""
    start = time.process_time()
    work()
    return time.process_time() - start


def compare_passes() -> dict[str, float]:
    """Processor seconds of both passes and of the floor, least of the rounds, and their ratio."""
    recipe = SceneRecipe(
        rows=2, cols=2, height=1536, width=1536, overlap=0.25, bands=4, dtype="uint16", seed=1, rotation=2.0, ragged=40.0
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_scenes(folder / "scenes", recipe)
        plan = open_plan(folder / "scenes")
        ours, floor = [], []
        for number in range(ROUNDS):
            scratch = folder / str(number)
            scratch.mkdir()
            ours.append(time_process(lambda scratch=scratch: run_passes(plan, scratch)))
            floor.append(time_process(lambda scratch=scratch: run_floor(plan, scratch)))
        decoded = run_passes(plan, folder)
    pixels = sum(scene.grid.width * scene.grid.height for scene in plan.scenes)
    return {
        "passes_s": round(min(ours), 3),
        "floor_s": round(min(floor), 3),
        "passes": round(min(ours) / min(floor), 3),
        "decoded": round(decoded / (2 * pixels * plan.bands * 2), 3),
    }


def main() -> int:
    """Measure, print the figures as JSON, and say what is above its bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    tune_process()
    ratios: dict[str, float] = {}
    for _ in range(ATTEMPTS):
        lost = sorted(name for name in BOUNDS if ratios.get(name, float("inf")) > BOUNDS[name])
        if not lost:
            break
        figures = {**compare_passes(), **measure_kernels(5)} if {"passes", "decoded"} & set(lost) else measure_kernels(5)
        shown = {name: figures[name] if name in {"passes", "decoded"} else figures[name] / figures["decode"] for name in lost}
        ratios |= {name: round(min(value, ratios.get(name, value)), 3) for name, value in shown.items()}
        sys.stdout.write(json.dumps({"measured": figures, "ratios": ratios, "bounds": BOUNDS}, indent=1) + "\n")
    slower = [f"{name}: {ratios[name]} > {bound}" for name, bound in BOUNDS.items() if ratios[name] > bound]
    if slower:
        sys.stderr.write(f"slower than it was: {'; '.join(slower)}\n")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
