"""Each kernel alone on one core: nanoseconds for a value, of four bands of uint16 in windows of 1024 x 1024.

Run as ``python benchmarks/bench_kernels.py [--quick]``; prints one JSON object. Processor time of the thread, the best of
several runs. The pixels are those of a synthetic scene, so that codecs work as hard as on a real image.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from bench_cog import make_scene
from numpy.typing import NDArray
from rasterio.transform import Affine
from rasterio.windows import Window as RasterWindow

from processor.geotiff.cog.codecs import encode_tile
from processor.geotiff.cog.overviews import reduce_average
from processor.geotiff.cog.spec import CogProfile
from processor.model import Adjustment, BlockGrid, Bounds, Grid, Window
from processor.stages.block_sums import compute_block_sums
from processor.stages.matching.global_regression import apply_adjustment
from processor.stages.matching.local_block_adjustment import LocalCorrection, apply_correction, compute_surface
from processor.stages.merge.merge_rasters import apply_dtype, merge_layer
from processor.stages.statistics import compute_valid_moments

EDGE, BANDS = 1024, 4
STRIP = 48  # rows that are corrected in one step


def time_kernel(kernel: Callable[[], object], values: int, runs: int) -> float:
    """Nanoseconds a value."""
    kernel()
    best = float("inf")
    for _ in range(runs):
        start = time.thread_time()
        kernel()
        best = min(best, time.thread_time() - start)
    return round(best / values * 1e9, 3)


def bench_reading(pixels: NDArray[Any], runs: int) -> dict[str, float]:
    """Decode a tiled, pixel-interleaved DEFLATE file through GDAL."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.tif"
        options = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "predictor": 2}
        options |= {"crs": "EPSG:32633", "transform": Affine(2, 0, 500_000, 0, -2, 5_300_000)}
        shape = {"count": BANDS, "height": EDGE, "width": EDGE, "dtype": pixels.dtype}
        with rasterio.open(path, "w", driver="GTiff", interleave="pixel", **shape, **options) as raster:
            raster.write(pixels)
        with rasterio.Env(GDAL_CACHEMAX=1), rasterio.open(path, sharing=False) as raster:
            blocks = [RasterWindow(col, row, 512, 512) for row in (0, 512) for col in (0, 512)]
            return {"decode": time_kernel(lambda: [raster.read(window=block) for block in blocks], pixels.size, runs)}


def bench_sums(pixels: NDArray[Any], blocks: BlockGrid, grid: Grid, runs: int) -> dict[str, float]:
    """Moments and block sums, with and without invalid pixels."""
    window = Window(row=0, col=0, height=EDGE, width=EDGE)
    valid = np.random.default_rng(0).random((EDGE, EDGE)) < 0.9
    found = {}
    for name, mask in (("", None), (", masked", valid)):
        found[f"moments{name}"] = time_kernel(lambda mask=mask: compute_valid_moments(pixels, mask), pixels.size, runs)
        found[f"block sums{name}"] = time_kernel(
            lambda mask=mask: compute_block_sums(pixels, mask, grid, window, blocks), pixels.size, runs
        )
    return found


def bench_correction(pixels: NDArray[Any], blocks: BlockGrid, grid: Grid, runs: int) -> dict[str, float]:
    """Gain, surface, power and rounding, strip by strip as in the render pass."""
    parameter = 1 + 0.02 * np.random.default_rng(0).standard_normal((BANDS, blocks.rows, blocks.cols))
    correction = LocalCorrection(scene="a", grid=blocks, row=0, col=0, method="gamma", parameter=parameter, alpha=1.0, c=0.0)
    window = Window(row=0, col=0, height=EDGE, width=EDGE)
    surface = compute_surface(correction, grid, window, np.float32)
    adjustment = Adjustment(scene="a", scale=np.full(BANDS, 1.01), offset=np.full(BANDS, 3.0))
    strip, buffers = pixels[0, :STRIP], np.empty((4, STRIP, EDGE), np.float32)
    out, count, rows = np.empty(strip.shape, strip.dtype), strip.size, slice(0, STRIP)
    values = apply_adjustment(strip, 1.01, 3.0, out=np.empty(strip.shape, np.float32))
    departure = surface.read_rows(0, rows, np.empty_like(values))

    def correct() -> None:
        np.copyto(buffers[0], values)
        np.copyto(buffers[1], departure)
        apply_correction(buffers[0], buffers[1], correction)

    scale, offset = float(adjustment.scale[0]), float(adjustment.offset[0])
    return {
        "gain": time_kernel(lambda: apply_adjustment(strip, scale, offset, out=buffers[0]), count, 20 * runs),
        "surface": time_kernel(lambda: surface.read_rows(0, rows, buffers[1], buffers[2:]), count, 20 * runs),
        "power": time_kernel(correct, count, 20 * runs),
        "rounding": time_kernel(lambda: apply_dtype(values, "uint16", 0.0, out=out), count, 20 * runs),
    }


def bench_writing(pixels: NDArray[Any], runs: int) -> dict[str, float]:
    """Merge, average and encode blocks."""
    mosaic, index = np.zeros_like(pixels), np.zeros((EDGE, EDGE), np.uint8)
    take = np.arange(EDGE)[None, :] < np.full((EDGE, 1), 600)
    found = {
        "merge": time_kernel(lambda: merge_layer(mosaic, index, pixels, take, 1), pixels.size, runs),
        "overview": time_kernel(lambda: reduce_average(pixels, 0), pixels.size, runs),
    }
    block = np.ascontiguousarray(pixels[:, :512, :512])
    for codec, level in (("deflate", 1), ("deflate", 6), ("zstd", 1)):
        profile = CogProfile(compression=codec, level=level)  # type: ignore[arg-type]
        encode = lambda profile=profile: encode_tile(block.transpose(1, 2, 0), profile, nodata=0)  # noqa: E731
        found[f"encode {codec} {level}"] = time_kernel(encode, block.size, runs)
    return found


def measure_kernels(runs: int) -> dict[str, float]:
    """Nanoseconds a value, by kernel."""
    pixels = make_scene("uint16", BANDS, EDGE)
    grid = Grid(crs="", left=0, top=0, pixel_width=1, pixel_height=1, width=EDGE, height=EDGE)
    blocks = BlockGrid(bounds=Bounds(left=0, bottom=-EDGE, right=EDGE, top=0), rows=3, cols=3)
    found = bench_reading(pixels, runs) | bench_sums(pixels, blocks, grid, runs)
    return found | bench_correction(pixels, blocks, grid, runs) | bench_writing(pixels, runs)


def main() -> None:
    """Run once and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two runs of everything")
    runs = 2 if parser.parse_args().quick else 7
    found = measure_kernels(runs)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
