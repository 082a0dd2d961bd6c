"""Time and memory of the seamlines of many scenes: a grid of ragged footprints, each overlapping its eight neighbours.

Run as ``python benchmarks/bench_seamlines.py [--scenes 2000] [--vertices 200] [--overlap 0.25]``; prints one JSON object. The
area figures check the partition: what the cells miss or share is to be zero but for rounding.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import shapely
from shapely import Polygon

from processor.stages.seamlines.voronoi_center_seamline import solve_cells

if TYPE_CHECKING:
    from collections.abc import Sequence


def make_footprints(*, scenes: int, vertices: int, overlap: float, size: float, seed: int) -> dict[str, Polygon]:
    """Make square footprints with ragged sides on a grid that is as square as their number allows.

    overlap: share of a footprint's width that it has in common with the next one.
    size: width of a footprint, CRS units; sides waver by 2 % of it.
    """
    rng = np.random.default_rng(seed)
    columns = math.ceil(math.sqrt(scenes))
    along = np.linspace(0, size, vertices // 4, endpoint=False)
    zero = np.zeros_like(along)
    square = np.concatenate(
        [
            np.column_stack([along, zero]),
            np.column_stack([zero + size, along]),
            np.column_stack([size - along, zero + size]),
            np.column_stack([zero, size - along]),
        ]
    )
    footprints = {}
    for index in range(scenes):
        row, column = divmod(index, columns)
        corner = np.array([column, -row]) * size * (1 - overlap)
        wavering = rng.uniform(-0.02, 0.02, square.shape) * size
        footprints[f"scene_{index:05d}"] = Polygon(square + corner + wavering).buffer(0)
    return footprints


def main(arguments: Sequence[str] | None = None) -> None:
    """Run once and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scenes", type=int, default=2000)
    parser.add_argument("--vertices", type=int, default=200, help="vertices of a footprint")
    parser.add_argument("--overlap", type=float, default=0.25, help="share of a footprint's width")
    parser.add_argument("--size", type=float, default=10_000.0, help="width of a footprint, CRS units")
    parser.add_argument("--spacing", type=float, default=100.0, help="min_point_spacing, CRS units")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    footprints = make_footprints(
        scenes=options.scenes, vertices=options.vertices, overlap=options.overlap, size=options.size, seed=options.seed
    )
    start, start_cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(options.threads) as pool:
        seamlines = solve_cells(footprints, min_point_spacing=options.spacing, min_cut_length=0.0, run=pool.map)
    wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cells = [cell.polygon for cell in seamlines.cells]
    covered, wanted = shapely.union_all(cells), shapely.union_all(list(footprints.values()))
    missed = shapely.symmetric_difference(covered, wanted).area
    shared = math.fsum(cell.area for cell in cells) - covered.area
    assert max(missed, abs(shared)) < 1e-9 * wanted.area, (missed, shared)
    figures = {
        **vars(options),
        "wall_seconds": round(wall, 2),
        "cpu_seconds": round(cpu, 2),
        "peak_rss_mb": round(peak / 1024),
        "cutlines": len(seamlines.cutlines),
        "findings": len(seamlines.findings),
        "cell_vertices": int(shapely.get_num_coordinates(cells).sum()),
        "area": wanted.area,
        "area_missed_or_added": missed,
        "area_shared": shared,
    }
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
