"""How fast blocks are encoded and halved, and files assembled, beside GDAL's COG driver.

    python benchmarks/bench_cog.py [--size 4096] [--quick]

MB are 10^6 bytes of pixels. One thread, processor time, unless a column says otherwise (then elapsed time); the best of several
runs. The scene is a smooth field with noise, so that compression works as hard as on a real image.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import Affine

from processor.geotiff.cog.codecs import encode_tile
from processor.geotiff.cog.overviews import Pyramid, reduce_average, reduce_nearest
from processor.geotiff.cog.spec import CogProfile, CogSpec
from processor.geotiff.cog.tiles import TileStore
from processor.geotiff.cog.writer import iter_cog, write_cog
from processor.model import Grid

CODECS: list[tuple[Any, tuple[int | None, ...]]] = [
    ("deflate", (1, 3, 6, 9)),
    ("zstd", (1, 2, 3, 6, 9)),
    ("lzw", (None,)),
    ("none", (None,)),
]
CASES = [("uint8", 3), ("uint16", 4), ("float32", 4)]


def make_scene(dtype: str, bands: int, size: int) -> NDArray[Any]:
    """(bands, size, size): hills, fields with edges, and noise of about 1 % of the range; never 0."""
    rng = np.random.default_rng(0)
    rows, cols = np.mgrid[:size, :size].astype(np.float32)
    fields = rng.normal(0, 300, (size // 64 + 1, size // 64 + 1))[np.ix_(np.arange(size) // 64, np.arange(size) // 64)]
    scene = np.empty((bands, size, size), dtype)
    for band in range(bands):
        hills = 3000 + 800 * np.sin(rows / 140 + band) + 600 * np.cos(cols / 155 + band / 3)
        values = np.clip(hills + fields + rng.normal(0, 25, (size, size)), 60, None)
        scene[band] = values / 20 if dtype == "uint8" else values
    return scene


def measure(function: Callable[[], object], *, runs: int, clock: Callable[[], float] = time.process_time) -> float:
    """Seconds of the fastest run."""
    best = float("inf")
    for _ in range(runs):
        start = clock()
        function()
        best = min(best, clock() - start)
    return best


class Nowhere(io.BytesIO):
    """A stream that forgets."""

    def write(self, data: Any) -> int:
        """Say that all was written."""
        return len(data)


def bench_codecs(runs: int) -> None:
    """Encode one block of 512 x 512 for every codec, level and predictor."""
    header = f"{'block':14} {'codec':11} {'pred':4} {'encode MB/s':>11} {'ns/value':>8} "
    print(f"{header} {'2 threads':>9} {'size':>6}")
    for dtype, bands in CASES:
        block = make_scene(dtype, bands, 512).transpose(1, 2, 0)
        for compression, levels in CODECS:
            for level in levels:
                for predictor in (True, False) if compression != "none" else (False,):
                    profile = CogProfile(compression=compression, level=level, predictor=predictor)
                    bench_profile(block, profile, runs)


def bench_profile(block: NDArray[Any], profile: CogProfile, runs: int) -> None:
    """Encode one block."""
    bands, dtype, megabytes = block.shape[2], block.dtype, block.nbytes / 1e6
    data = encode_tile(block, profile)
    encode = measure(lambda: encode_tile(block, profile), runs=runs)
    with ThreadPoolExecutor(2) as pool:
        both = measure(
            lambda: list(pool.map(lambda _: encode_tile(block, profile), range(8))), runs=runs, clock=time.perf_counter
        )
    codec = profile.compression if profile.compression in {"lzw", "none"} else f"{profile.compression} {profile.effort}"
    print(
        f"{f'{dtype} x {bands}':14} {codec:11} {'yes' if profile.predictor else 'no':4} "
        f"{megabytes / encode:11.0f} {1e9 * encode / block.size:8.2f}  {8 * megabytes / both:9.0f} "
        f"{len(data) / block.nbytes:6.3f}"
    )


def bench_reduce(runs: int) -> None:
    """Halve a window of 1024 x 1024."""
    print(f"\n{'window':14} {'holes':>6} {'average MB/s':>12} {'ns/value':>8} {'nearest MB/s':>12}   (MB of input)")
    for dtype, bands in [*CASES, ("int16", 4), ("float64", 1)]:
        for holes in (0.0, 0.05):
            scene = make_scene(dtype, bands, 1024)
            scene[:, np.random.default_rng(1).random((1024, 1024)) < holes] = 0
            bench_window(scene, holes, runs)


def bench_window(scene: NDArray[Any], holes: float, runs: int) -> None:
    """Halve one window."""
    average = measure(lambda: reduce_average(scene, 0), runs=runs)
    nearest = measure(lambda: reduce_nearest(scene, 0), runs=runs)
    print(
        f"{f'{scene.dtype} x {len(scene)}':14} {holes:6.0%} {scene.nbytes / 1e6 / average:12.0f} "
        f"{1e9 * average / scene.size:8.2f} {scene.nbytes / 1e6 / nearest:12.0f}"
    )


class Seconds(NamedTuple):
    """How long something took, and how much of all processors it used."""

    elapsed: float
    processor: float


def make_file(path: Path, spec: CogSpec, scene: NDArray[Any], threads: int) -> Seconds:
    """Encode the blocks of all levels and assemble the file."""
    start, used = time.perf_counter(), time.process_time()
    with TileStore(path.with_suffix(".blocks"), spec.levels) as store, ThreadPoolExecutor(threads) as pool:
        pyramid = Pyramid(spec, store, window_tiles=2)
        windows = list(pyramid.iter_windows())
        list(pool.map(lambda w: pyramid.add(w, scene[:, w.row : w.row_end, w.col : w.col_end]), windows))
        write_cog(path, spec, store)
    path.with_suffix(".blocks").unlink()
    return Seconds(time.perf_counter() - start, time.process_time() - used)


def make_file_with_gdal(path: Path, spec: CogSpec, scene: NDArray[Any], threads: int) -> Seconds:
    """Let GDAL's COG driver make the same: pixels, codec, level, predictor, overviews."""
    options = {
        "compress": spec.profile.compression.upper(),
        "level": spec.profile.effort,
        "predictor": "YES",
        "blocksize": spec.profile.tile_size,
        "overview_resampling": "AVERAGE",
        "num_threads": threads,
    }
    start, used = time.perf_counter(), time.process_time()
    with rasterio.open(
        path,
        "w",
        driver="COG",
        width=spec.grid.width,
        height=spec.grid.height,
        count=spec.bands,
        dtype=spec.dtype,
        nodata=spec.nodata,
        crs=CRS.from_wkt(spec.grid.crs),
        transform=Affine(*spec.grid.transform),
        **options,
    ) as dataset:
        dataset.write(scene)
    return Seconds(time.perf_counter() - start, time.process_time() - used)


def bench_files(folder: Path, size: int, runs: int) -> None:
    """Make a whole file of ``size`` x ``size`` with its overviews."""
    print(f"\n{'':34} {'this project':>24} {'GDAL':>24} {'GDAL / this':>15} {'bytes':>25}")
    header = f"{f'{size} x {size}':14} {'codec':11} {'threads':>7} "
    print(header + f"{'s':>8} {'cpu s':>7} {'MB/s':>7} " * 2 + f"{'s':>7} {'cpu s':>7} {'this':>12} {'GDAL':>12}")
    wkt = CRS.from_epsg(32735).to_wkt()
    grid = Grid(crs=wkt, left=500_000, top=7_000_000, pixel_width=1, pixel_height=1, width=size, height=size)
    for dtype, bands in CASES:
        scene = make_scene(dtype, bands, size)
        for profile in (
            CogProfile(),
            CogProfile(level=6),
            CogProfile(compression="zstd"),
            CogProfile(compression="zstd", level=3),
        ):
            spec = CogSpec(grid=grid, bands=bands, dtype=dtype, nodata=0, profile=profile)
            for threads in (1, 2):
                ours = min(make_file(folder / "a.tif", spec, scene, threads) for _ in range(runs))
                theirs = min(make_file_with_gdal(folder / "b.tif", spec, scene, threads) for _ in range(runs))
                sizes = [(folder / name).stat().st_size for name in ("a.tif", "b.tif")]
                megabytes = scene.nbytes / 1e6
                print(
                    f"{f'{dtype} x {bands}':14} {f'{profile.compression} {profile.effort}':11} {threads:7} "
                    f"{ours.elapsed:8.2f} {ours.processor:7.2f} {megabytes / ours.elapsed:7.0f} "
                    f"{theirs.elapsed:8.2f} {theirs.processor:7.2f} {megabytes / theirs.elapsed:7.0f} "
                    f"{theirs.elapsed / ours.elapsed:7.2f} {theirs.processor / ours.processor:7.2f} {sizes[0]:12} {sizes[1]:12}"
                )


def bench_assembly(runs: int) -> None:
    """Assemble a file from compressed blocks in memory: bytes of the file a second."""
    grid = Grid(crs="", left=0, top=0, pixel_width=1, pixel_height=1, width=16384, height=16384)
    spec = CogSpec(grid=grid, bands=1, dtype="uint8", profile=CogProfile())
    block = np.random.default_rng(0).integers(0, 256, 200_000, np.uint8).tobytes()
    with TileStore(None, spec.levels) as store:
        for level in spec.levels:
            for row, col in np.ndindex(level.rows, level.cols):
                store.put(level.index, row, col, block)
        size = sum(len(part) for part in iter_cog(spec, store))
        parts = measure(lambda: sum(len(part) for part in iter_cog(spec, store)), runs=runs)
        whole = measure(lambda: write_cog(Nowhere(), spec, store), runs=runs)
    digest = measure(lambda: hashlib.sha256(block), runs=runs) * size / len(block)
    print(f"\nassembly of {size / 1e6:.0f} MB: parts {size / 1e6 / parts:.0f} MB/s, with digest ", end="")
    print(f"{size / 1e6 / whole:.0f} MB/s (digest alone {size / 1e6 / digest:.0f} MB/s)")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=4096, help="edge of the whole files, pixels")
    parser.add_argument("--quick", action="store_true", help="one run of everything, small files")
    arguments = parser.parse_args()
    runs = 1 if arguments.quick else 5
    bench_codecs(runs)
    bench_reduce(runs)
    bench_assembly(min(runs, 3))
    with tempfile.TemporaryDirectory() as folder:
        bench_files(Path(folder), 1024 if arguments.quick else arguments.size, min(runs, 2))


if __name__ == "__main__":
    main()
