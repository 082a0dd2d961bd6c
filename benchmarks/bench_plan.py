"""Time and memory of everything between two reads of the pixels, for many scenes: plan, global solve, seamlines, cells.

Run as ``python benchmarks/bench_plan.py [--scenes 2000] [--vertices 200] [--overlap 0.25] [--threads 2]``; prints one JSON
object. Scenes lie on a grid, each overlapping its eight neighbours, with ragged footprints.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from bench_seamlines import make_footprints
from rasterio.crs import CRS

from processor.config import load_config
from processor.model import Band, Bounds, Grid, Moments, Overlap, OverlapSamples, Scene, Source
from processor.mosaic.plan import Plan
from processor.mosaic.planning import plan_run
from processor.mosaic.solve import solve
from processor.process.memory import tune_process
from processor.stages.measures import Measures, SceneMeasures

BANDS, PIXEL = 4, 2.0


def make_scenes(scenes: int, *, overlap: float, size: int) -> list[Scene]:
    """Scenes of ``size`` x ``size`` pixels on a grid that is as square as their number allows."""
    columns, wkt = math.ceil(math.sqrt(scenes)), CRS.from_epsg(32633).to_wkt()
    step = round(size * (1 - overlap)) * PIXEL
    made = []
    for index in range(scenes):
        row, column = divmod(index, columns)
        name = f"scene_{index:05d}"
        grid = Grid(
            crs=wkt,
            left=500_000 + column * step,
            top=5_300_000 - row * step,
            pixel_width=PIXEL,
            pixel_height=PIXEL,
            width=size,
            height=size,
        )
        source = Source(
            href=f"/data/{name}.tif",
            asset=None,
            band_indexes=tuple(range(1, BANDS + 1)),
            validity="nodata",
            nodata=0,
            block_height=512,
            block_width=512,
            overviews=(),
            size=1,
        )
        bands = tuple(Band(name=f"b{band}") for band in range(BANDS))
        made.append(Scene(name=name, priority=index, grid=grid, bands=bands, dtype="uint16", source=source))
    return made


def make_moments(random: np.random.Generator, count: int) -> Moments:
    """Moments of some pixels about 3000."""
    mean = random.normal(3000, 100, BANDS)
    return Moments(count=count, mean=mean, m2=count * np.full(BANDS, 250_000.0), minimum=mean - 900, maximum=mean + 900)


def make_measures(plan: Plan, vertices: int, overlap: float) -> Measures:
    """What the first pass might have found."""
    random = np.random.default_rng(0)
    size = plan.scenes[0].grid.bounds.width
    shapes = make_footprints(scenes=len(plan.scenes), vertices=vertices, overlap=overlap, size=size, seed=0)
    none = np.empty(0)
    samples = OverlapSamples(x=none, y=none, first=np.empty((BANDS, 0)), second=np.empty((BANDS, 0)))
    scenes = []
    for scene, shape in zip(plan.scenes, shapes.values(), strict=True):
        moments = make_moments(random, 10**7)
        scenes.append(SceneMeasures(name=scene.name, moments=moments, valid=moments, sums=None, footprint=shape))
    overlaps = [
        Overlap(
            first=plan.scenes[i].name,
            second=plan.scenes[j].name,
            first_moments=make_moments(random, 10**6),
            second_moments=make_moments(random, 10**6),
            samples=samples,
        )
        for i, j in plan.pairs
    ]
    return Measures(scenes=tuple(scenes), overlaps=tuple(overlaps), matched=None, union=None, cells=None)


@contextmanager
def timed(figures: dict[str, float], name: str) -> Iterator[None]:
    """Note wall and CPU seconds of what is done meanwhile."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    figures[f"{name}_wall_s"] = round(time.perf_counter() - wall, 2)
    figures[f"{name}_cpu_s"] = round(time.process_time() - cpu, 2)


def main() -> None:
    """Run once and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=2000)
    parser.add_argument("--vertices", type=int, default=200, help="vertices of a footprint")
    parser.add_argument("--overlap", type=float, default=0.25, help="share of a footprint's width")
    parser.add_argument("--size", type=int, default=5000, help="pixels on a scene's edge")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    tune_process()
    flags = {
        "shared.tile_threads": options.threads,
        "methods.matching_local_method": None,
        "voronoi_center_seamline.min_point_spacing": options.size * PIXEL / 100,
    }
    config = load_config(flags=flags, environment={})
    figures: dict[str, float] = {**vars(options)}
    scenes = make_scenes(options.scenes, overlap=options.overlap, size=options.size)
    with timed(figures, "plan"):
        plan = plan_run(scenes, config)
    measures = make_measures(plan, options.vertices, options.overlap)
    with timed(figures, "solve"):
        solution = solve(plan, measures, None, ())
    assert solution.seamlines is not None
    assert isinstance(plan.canvas, Bounds)
    figures |= {
        "pairs": len(plan.pairs),
        "chunks": len(plan.chunks),
        "cutlines": len(solution.seamlines.cutlines),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6),
    }
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
