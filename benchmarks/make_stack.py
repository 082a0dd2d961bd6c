"""Write the dates that ``bench_stack.py`` runs on, or judge a mosaic of them.

Run as ``python benchmarks/make_stack.py FOLDER [--dates 24] [--size 4096] …``, or with ``--judge MOSAIC``; see ``--help``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

from processor.model import Window
from processor.synthetic.difficulties import make_clouds
from processor.synthetic.terrain import make_noise


def make_stack(folder: Path, dates: int, size: int, share: float, *, masked: bool) -> None:
    """Write the dates and the ground, ``truth.npy``, which comes last."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = Window(row=0, col=0, height=size, width=size)
    common = make_noise(8000, (900, 260, 120, 55, 24, 11, 5, 3), whole, decay=0.8)
    truth = np.stack([1500 + 250 * band + (1100 - 150 * band) * common for band in range(4)]).clip(200, 6000)
    profile = {
        "driver": "GTiff",
        "count": 4,
        "dtype": "uint16",
        "height": size,
        "width": size,
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "compress": "lzw",
        "nodata": 0,
        "crs": "EPSG:32633",
        "transform": from_origin(400_000, 5_000_000, 10, 10),
    }
    for date in range(dates):
        random = np.random.default_rng(date)
        opacity = make_clouds(share, 300 + date, whole, whole)
        bright = np.float32(truth.max()) * (1.2 + 0.1 * make_noise(900 + date, (40, 13, 5), whole))
        place = folder / f"d{date:02}.tif"
        with rasterio.open(place, "w", **profile) as raster:
            for band, ground in enumerate(truth):
                spread = float(ground.std())
                pixels = ground * np.float32(np.exp(0.1 * random.normal())) + np.float32(0.1 * spread * random.normal())
                pixels += np.float32(0.03 * spread) * random.standard_normal(ground.shape, np.float32)
                pixels += opacity * (bright - pixels)
                if masked:
                    pixels[opacity > 0] = 0
                raster.write(np.rint(pixels).clip(0, 65535).astype(np.uint16), band + 1)
    np.save(folder / "truth.npy", truth.astype(np.float32))


def compute_error(mosaic: Path, truth: Path) -> float:
    """RMS departure of the mosaic from the ground, pixels without data left out."""
    errors = []
    with rasterio.open(mosaic) as raster:
        for band, ground in enumerate(np.load(truth, mmap_mode="r")):
            made = raster.read(band + 1)
            some = made > 0
            x, y = made[some].astype(np.float64), ground[some].astype(np.float64)
            covariance = np.cov(x, y)
            left = covariance[1, 1] - covariance[0, 1] ** 2 / covariance[0, 0]
            errors.append(np.sqrt(max(left, 0.0) / covariance[1, 1]))
    return float(np.mean(errors))


def main() -> None:
    """Parse the command line, and write or judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dates", type=int, default=24)
    parser.add_argument("--size", type=int, default=4096, help="pixels along a side")
    parser.add_argument("--clouds", type=float, default=0.4, help="share of each date")
    parser.add_argument("--masked", action="store_true", help="clouds are nodata")
    parser.add_argument("--judge", type=Path, help="mosaic whose truth error is printed")
    options = parser.parse_args()
    if options.judge is not None:
        print(f"{compute_error(options.judge, options.folder / 'truth.npy'):.4f}")
    else:
        make_stack(options.folder, options.dates, options.size, options.clouds, masked=options.masked)


if __name__ == "__main__":
    main()
