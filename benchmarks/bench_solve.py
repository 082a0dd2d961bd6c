"""How long the global solve takes and how much memory it needs, and how near it comes to a dense one.

    python benchmarks/bench_solve.py [--side 100] [--bands 4] [--check-side 5]

Scenes lie on a square grid, each overlapping its eight neighbours, as seen through gains and offsets of their own with noise in
every statistic. Prints one JSON object. The accuracy is that of a smaller grid, solved as one dense matrix by singular values;
of the large one, the gradient of the sum of squares says how near it is to its least: 0 at the solution.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import sys
import time
from typing import TYPE_CHECKING

import numpy as np

from processor.model import Adjustment, Moments, Overlap
from processor.stages.matching.global_regression import solve_adjustments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

NEIGHBOURS = ((0, 1), (1, -1), (1, 0), (1, 1))  # each pair once


def make_statistics(side: int, bands: int, seed: int) -> tuple[dict[str, Moments], list[Overlap]]:
    """Statistics of ``side * side`` scenes and of their overlaps, in source units of 12-bit reflectance."""
    rng = np.random.default_rng(seed)
    gain, offset = rng.uniform(0.8, 1.25, (side, side, bands)), rng.uniform(-80, 80, (side, side, bands))

    def draw(row: int, col: int, mean: NDArray[np.float64], std: NDArray[np.float64], count: int) -> Moments:
        seen = gain[row, col] * mean + offset[row, col] + rng.normal(0, 3, bands)
        spread = gain[row, col] * std * rng.uniform(0.97, 1.03, bands)
        return Moments(count=count, mean=seen, m2=spread**2 * count, minimum=seen - 3 * spread, maximum=seen + 3 * spread)

    def draw_truth() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return rng.uniform(300, 2500, bands), rng.uniform(50, 400, bands)

    whole = {
        name_scene(row, col): draw(row, col, *draw_truth(), 100_000) for row, col in itertools.product(range(side), repeat=2)
    }
    overlaps = []
    for row, col in itertools.product(range(side), repeat=2):
        for down, across in NEIGHBOURS:
            other = row + down, col + across
            if other[0] < side and 0 <= other[1] < side:
                truth = draw_truth()
                first, second = draw(row, col, *truth, 9000), draw(*other, *truth, 9000)
                overlaps.append(
                    Overlap(first=name_scene(row, col), second=name_scene(*other), first_moments=first, second_moments=second)
                )
    return whole, overlaps


def name_scene(row: int, col: int) -> str:
    """Name of a scene; its order is that of rows and columns."""
    return f"scene_{row:04d}_{col:04d}"


def solve_dense(whole: Mapping[str, Moments], overlaps: Sequence[Overlap], band: int) -> NDArray[np.float64]:
    """Scale and offset of every scene in turn, from all rows in one matrix; least departure from 1 and 0."""
    index = {name: position for position, name in enumerate(sorted(whole))}
    rows, right = [], []
    for overlap in overlaps:
        i, j = 2 * index[overlap.first], 2 * index[overlap.second]
        mean, spread = np.zeros(2 * len(index)), np.zeros(2 * len(index))
        mean[[i, i + 1, j, j + 1]] = overlap.first_moments.mean[band], 1, -overlap.second_moments.mean[band], -1
        spread[[i, j]] = overlap.first_moments.std[band], -overlap.second_moments.std[band]
        rows += [mean, spread]
        right += [0.0, 0.0]
    weight = len(overlaps) / (2 * len(index))
    for name, position in index.items():
        mean, spread = np.zeros(2 * len(index)), np.zeros(2 * len(index))
        mean[[2 * position, 2 * position + 1]] = weight * whole[name].mean[band], weight
        spread[2 * position] = weight * whole[name].std[band]
        rows += [mean, spread]
        right += [weight * whole[name].mean[band], weight * whole[name].std[band]]
    system, identity = np.array(rows), np.tile([1.0, 0.0], len(index))
    departure = np.linalg.lstsq(system, np.array(right) - system @ identity, rcond=None)[0]
    return np.asarray(identity + departure, np.float64)


def measure_departure(side: int, bands: int, seed: int) -> dict[str, float]:
    """The largest difference from the dense solve, over all scenes and bands of a small grid."""
    whole, overlaps = make_statistics(side, bands, seed)
    solved = solve_adjustments(whole, overlaps)
    dense = np.stack([solve_dense(whole, overlaps, band) for band in range(bands)])
    scales, offsets = np.stack([s.scale for s in solved], axis=1), np.stack([s.offset for s in solved], axis=1)
    return {"scale": float(np.abs(scales - dense[:, 0::2]).max()), "offset": float(np.abs(offsets - dense[:, 1::2]).max())}


def measure_gradient(whole: Mapping[str, Moments], overlaps: Sequence[Overlap], solved: Sequence[Adjustment]) -> float:
    """Largest component of the gradient of the sum of squares, relative to the sum of its terms' sizes."""
    adjustments = {adjustment.scene: adjustment for adjustment in solved}
    weight = len(overlaps) / (2 * len(whole))
    gradient = {name: np.zeros((4, len(adjustment.scale))) for name, adjustment in adjustments.items()}  # by a, by b; and sizes

    def add(name: str, by_scale: NDArray[np.float64], by_offset: NDArray[np.float64]) -> None:
        gradient[name] += np.stack([by_scale, by_offset, np.abs(by_scale), np.abs(by_offset)])

    for name, moments in whole.items():
        adjustment = adjustments[name]
        level = weight * (adjustment.scale * moments.mean + adjustment.offset - moments.mean)
        spread = weight * (adjustment.scale - 1) * moments.std
        add(name, weight * (moments.mean * level + moments.std * spread), weight * level)
    for overlap in overlaps:
        one, other = adjustments[overlap.first], adjustments[overlap.second]
        first, second = overlap.first_moments, overlap.second_moments
        level = one.scale * first.mean + one.offset - other.scale * second.mean - other.offset
        spread = one.scale * first.std - other.scale * second.std
        add(overlap.first, first.mean * level + first.std * spread, level)
        add(overlap.second, -(second.mean * level + second.std * spread), -level)
    return max(float((np.abs(parts[:2]) / parts[2:]).max()) for parts in gradient.values())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run once and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--side", type=int, default=100, help="scenes along a side of the grid")
    parser.add_argument("--bands", type=int, default=4)
    parser.add_argument("--check-side", type=int, default=6, help="scenes along a side of the grid that is solved densely too")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    departure = measure_departure(options.check_side, options.bands, options.seed)
    whole, overlaps = make_statistics(options.side, options.bands, options.seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, start_cpu = time.perf_counter(), time.process_time()
    solved = solve_adjustments(whole, overlaps)
    wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures = {
        **vars(options),
        "scenes": len(whole),
        "overlaps": len(overlaps),
        "wall_seconds": round(wall, 2),
        "cpu_seconds": round(cpu, 2),
        "peak_rss_mb": round(peak / 1024),
        "peak_rss_before_mb": round(before / 1024),
        "largest_gradient": measure_gradient(whole, overlaps, solved),
        "departure_from_dense": departure,
    }
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    assert departure["scale"] < 1e-9
    assert figures["largest_gradient"] < 1e-9


if __name__ == "__main__":
    main()
