"""How long the robust solves take and how much memory they need: gains and offsets, surfaces, shared light.

    python benchmarks/bench_matching.py [--sides 45 100] [--bands 4] [--blocks 100]

Scenes lie on a square grid, each overlapping its eight neighbours by a quarter, with gains, offsets, vignettes and tilts of
their own and noise in every block. Prints a line a size: 45 along a side are 2,025 scenes, 100 are 10,000. Peak is that of the
process so far.
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import Final

import numpy as np

from processor.stages.matching.block_weights import BlockTable, adjust_table
from processor.stages.matching.illumination import light_table, solve_illumination
from processor.stages.matching.robust_regression import solve_robust_regression
from processor.stages.matching.surface_adjustment import solve_surfaces

_NEIGHBOURS: Final = ((0, 1), (1, -1), (1, 0), (1, 1))  # each pair once
_SIZE, _STEP = 100.0, 75.0  # CRS units: a scene's edge, and from one to the next


def make_table(side: int, bands: int, blocks: int, seed: int) -> BlockTable:
    """Blocks of ``side * side`` scenes, so many a pair, in source units of 12-bit reflectance."""
    draw = np.random.default_rng(seed)
    scenes = side * side
    row, col = np.divmod(np.arange(scenes), side)
    left, top = col * _STEP, -row * _STEP
    bounds = np.stack([left, top - _SIZE, left + _SIZE, top], axis=1)
    pairs = []
    for down, across in _NEIGHBOURS:
        inside = (row + down < side) & (col + across >= 0) & (col + across < side)
        pairs.append(np.stack([np.flatnonzero(inside), ((row + down) * side + col + across)[inside]]))
    first, second = np.concatenate(pairs, axis=1)
    order = np.lexsort((second, first))
    first, second = first[order], second[order]
    number, pair = len(first) * blocks, np.repeat(np.arange(len(first)), blocks)
    low, high = (np.maximum(bounds[first, :2], bounds[second, :2]), np.minimum(bounds[first, 2:], bounds[second, 2:]))
    x, y = (low[pair] + draw.random((number, 2)) * (high - low)[pair]).T
    gain, offset = np.exp(0.12 * draw.normal(size=(scenes, bands))), 60 * draw.normal(size=(scenes, bands))
    vignette, tilt = 0.03 + 0.09 * draw.random(scenes), 0.02 * draw.normal(size=(scenes, 2))
    truth = 1000 + 300 * draw.normal(size=(bands, number)).clip(-3, 3)
    mean, variance = np.empty((2, bands, number)), np.empty((2, bands, number))
    for position, scene in enumerate((first[pair], second[pair])):
        u, v = (x - bounds[scene, 0]) / _SIZE * 2 - 1, (bounds[scene, 3] - y) / _SIZE * 2 - 1
        light = 1 - vignette[scene] * (u * u + v * v) + tilt[scene, 0] * u + tilt[scene, 1] * v
        mean[position] = truth * light * gain[scene].T + offset[scene].T + 2 * draw.normal(size=(bands, number))
        variance[position] = (100 * gain[scene].T) ** 2 * np.exp(0.05 * draw.normal(size=(bands, number)))
    return BlockTable(
        names=tuple(f"s{scene:05d}" for scene in range(scenes)),
        bounds=bounds,
        held=np.zeros(scenes, np.bool_),
        first=first,
        second=second,
        starts=np.arange(len(first) + 1) * blocks,
        trust=np.ones(len(first)),
        lattice=np.zeros(len(first), np.intp),
        edge=np.full(len(first), 16.0),
        row=np.zeros(number, np.int32),
        col=np.arange(number, dtype=np.int32),
        x=x,
        y=y,
        count=np.full(number, 256.0),
        rho=0.7 + 0.25 * draw.random(number),
        mean=mean,
        variance=variance,
    )


def main() -> None:
    """Solve each size once, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[45, 100], help="scenes along a side of the grid")
    parser.add_argument("--bands", type=int, default=4)
    parser.add_argument("--blocks", type=int, default=100, help="matched blocks a pair")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for side in options.sides:
        table = make_table(side, options.bands, options.blocks, options.seed)
        marks = [time.process_time()]
        robust = solve_robust_regression(table)
        marks.append(time.process_time())
        adjusted = adjust_table(table, robust.scale, robust.offset)
        solve_surfaces(adjusted)
        marks.append(time.process_time())
        del adjusted
        light = solve_illumination(table, [""] * len(table.names))
        marks.append(time.process_time())
        solve_surfaces(light_table(table, light), smoothness=0.03, ridge=0.05, vignettes=False)
        marks.append(time.process_time())
        gains, surfaces, shared, lit = np.diff(marks).round(1).tolist()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{side * side} scenes, {len(table.first)} pairs, {len(table.x)} blocks, CPU seconds: "
            f"satellite {gains} + {surfaces} (gains and offsets, surfaces), "
            f"aerial {shared} + {lit} (shared light, surfaces); peak {peak:.0f} MB"
        )


if __name__ == "__main__":
    main()
