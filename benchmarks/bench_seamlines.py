"""Time and memory of the seamlines of many scenes: a grid of ragged footprints, each overlapping its eight neighbours.

Run as ``python benchmarks/bench_seamlines.py [--scenes 2000] [--vertices 200] [--overlap 0.25] [--method
least_difference_seamline]``; prints one JSON object. The area figures check the partition: what the cells miss or share is to
be zero but for rounding. With the method named, every pair has blocks of four bands, as many as a run keeps, and every scene a
surface.
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

from processor.model import Adjustment, Bounds, Grid, Moments
from processor.stages.matching.control_surface import ControlGrid, ControlSurface
from processor.stages.matching.matched_blocks import MatchedBlocks, choose_edge, choose_fine_edge
from processor.stages.matching.pair_difference import Radiometry, make_radiometry
from processor.stages.measures import MatchedPairs, Measures, SceneMeasures
from processor.stages.seamlines.cells import solve_cells
from processor.stages.seamlines.least_difference_seamline import LeastDifferenceSeamline
from processor.stages.seamlines.options import LeastDifferenceSeamlineOptions

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


def make_measures(footprints: dict[str, Polygon], *, size: float, bands: int, seed: int) -> tuple[Measures, Radiometry]:
    """What is known of the scenes: blocks of all pairs whose bounds meet, 500 pixels along a scene, random in all bands."""
    rng = np.random.default_rng(seed)
    names, polygons = list(footprints), list(footprints.values())
    left, bottom, right, top = shapely.total_bounds(polygons)
    pixel = size / 500
    canvas = Grid(
        crs="EPSG:32633",
        left=left,
        top=top,
        pixel_width=pixel,
        pixel_height=pixel,
        width=math.ceil((right - left) / pixel),
        height=math.ceil((top - bottom) / pixel),
    )
    bounds = {
        name: Bounds(left=west, bottom=south, right=east, top=north)
        for name, (west, south, east, north) in zip(names, shapely.bounds(polygons).tolist(), strict=True)
    }
    one, other = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    pairs = [(first, second) for first, second in zip(one.tolist(), other.tolist(), strict=True) if first < second]
    parts = []
    for first, second in pairs:
        shared = canvas.window_touching(bounds[names[first]].intersection(bounds[names[second]]) or canvas.bounds)
        edge = choose_fine_edge(shared, len(pairs), edge=choose_edge(shared, len(pairs)), least=4)
        rows = np.arange(shared.row // edge, (shared.row_end - 1) // edge + 1)
        cols = np.arange(shared.col // edge, (shared.col_end - 1) // edge + 1)
        row, col = (each.ravel().astype(np.int32) for each in np.meshgrid(rows, cols, indexing="ij"))
        count = np.full(len(row), edge * edge)
        mean = rng.uniform(90, 110, (bands, len(row)))
        moments = np.stack(
            [mean, mean + 1, mean**2 + 25, (mean + 1) ** 2 + 25, mean * (mean + 1) + rng.uniform(0, 25, mean.shape)]
        )
        parts.append(
            MatchedBlocks(
                first=names[first],
                second=names[second],
                edge=edge,
                whole=edge * edge,
                row=row,
                col=col,
                count=count,
                x=(col + 0.5) * edge * count,
                y=(row + 0.5) * edge * count,
                sums=moments * count,
            )
        )
    moments = Moments(
        count=100,
        mean=np.full(bands, 100.0),
        m2=np.full(bands, 2500.0),
        minimum=np.full(bands, 80.0),
        maximum=np.full(bands, 120.0),
    )
    measures = Measures(
        scenes=tuple(
            SceneMeasures(name=name, moments=moments, valid=moments, sums=None, footprint=footprints[name]) for name in names
        ),
        overlaps=(),
        matched=MatchedPairs(
            canvas=canvas,
            bounds=bounds,
            references=(),
            reference_weight=1.0,
            bands=bands,
            held=(),
            known={},
            groups={},
            blocks=tuple(parts),
        ),
        cells=None,
        union=None,
    )
    surfaces = [
        ControlSurface(
            scene=name,
            grid=ControlGrid(bounds=bounds[name], rows=5, cols=5),
            gain=rng.uniform(0.9, 1.1, (bands, 5, 5)),
            offset=np.zeros((bands, 5, 5)),
        )
        for name in names
    ]
    adjustments = [Adjustment(scene=name, scale=np.ones(bands), offset=np.zeros(bands)) for name in names]
    return measures, make_radiometry(adjustments, surfaces)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run once and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scenes", type=int, default=2000)
    parser.add_argument("--vertices", type=int, default=200, help="vertices of a footprint")
    parser.add_argument("--overlap", type=float, default=0.25, help="share of a footprint's width")
    parser.add_argument("--size", type=float, default=10_000.0, help="width of a footprint, CRS units")
    parser.add_argument("--spacing", type=float, default=100.0, help="min_point_spacing, CRS units")
    parser.add_argument("--method", choices=["voronoi_center_seamline", "least_difference_seamline"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    footprints = make_footprints(
        scenes=options.scenes, vertices=options.vertices, overlap=options.overlap, size=options.size, seed=options.seed
    )
    method = LeastDifferenceSeamline(name="least_difference_seamline", options=LeastDifferenceSeamlineOptions())
    given = make_measures(footprints, size=options.size, bands=4, seed=options.seed) if options.method == method.name else None
    start, start_cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(options.threads) as pool:
        if given is not None:
            seamlines = method.solve(footprints, *given, run=pool.map)
        else:
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
        "by_difference": sum(cut.follows == "difference" for cut in seamlines.cutlines),
        "findings": len(seamlines.findings),
        "cell_vertices": int(shapely.get_num_coordinates(cells).sum()),
        "area": wanted.area,
        "area_missed_or_added": missed,
        "area_shared": shared,
    }
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
