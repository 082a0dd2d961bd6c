"""What a mosaic is like beside another sensor's image, and at its seams, as METHODS.md of the shared folder defines it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.warp import Resampling, reproject

F64 = NDArray[np.float64]

LEAST_SEAM = 100  # pixels: a pair of cells that share fewer says nothing of its seam


def compute_fidelity(mosaic: Path, sensor: Path, bands: Sequence[int]) -> F64:
    """R² of the mosaic's bands to bands of a sensor, after one line a band: (bands,).

    The mosaic is averaged to the sensor's pixels; those count of which it has 99 %.
    """
    with rasterio.open(sensor) as raster:
        known = raster.read(list(bands)).astype(np.float64)
        counted = raster.dataset_mask() > 0
        place = {"dst_transform": raster.transform, "dst_crs": raster.crs}
    with rasterio.open(mosaic) as raster:
        values, valid = raster.read().astype(np.float32), raster.dataset_mask() > 0
        place |= {"src_transform": raster.transform, "src_crs": raster.crs, "resampling": Resampling.average}

    def average(array: NDArray[np.float32]) -> NDArray[np.float32]:
        result = np.zeros(known.shape[1:], np.float32)
        reproject(array, result, **place)
        return result

    counted &= average(valid.astype(np.float32)) > 0.99
    return np.array(
        [
            np.corrcoef(average(np.where(valid, one, 0))[counted], other[counted])[0, 1] ** 2
            for one, other in zip(values, known, strict=True)
        ]
    )


def compute_seam_step(mosaic: Path, scene_index: Path) -> float:
    """RMS over pairs of cells and bands of the mean signed jump across their seam, in the mosaic's standard deviations.

    The jump is between the means of three pixels on either side, along rows and columns. METHODS.md does not say which pairs
    count: here those with more than 100 such places, because where two cells meet in a corner chance decides.
    """
    with rasterio.open(mosaic) as raster:
        values = raster.read().astype(np.float64)
    with rasterio.open(scene_index) as raster:
        owner = raster.read(1).astype(np.int64)
    found: dict[tuple[int, int], list[F64]] = {}
    for cells, pixels in ((owner, values), (owner.T, values.transpose(0, 2, 1))):
        sides = np.lib.stride_tricks.sliding_window_view(cells, 6, axis=1)
        first, second = sides[..., 0], sides[..., 5]
        seam = (first != second) & (first > 0) & (second > 0)
        seam &= (sides[..., :3] == first[..., None]).all(axis=-1) & (sides[..., 3:] == second[..., None]).all(axis=-1)
        row, col = np.nonzero(seam)
        around = pixels[:, row[:, None], col[:, None] + np.arange(6)]
        jump = around[..., 3:].mean(axis=-1) - around[..., :3].mean(axis=-1)
        low, high = np.minimum(first, second)[seam], np.maximum(first, second)[seam]
        jump *= np.where(first[seam] == low, 1, -1)
        for pair in sorted({*zip(low.tolist(), high.tolist(), strict=True)}):
            found.setdefault(pair, []).append(jump[:, (low == pair[0]) & (high == pair[1])])
    deviation = values[:, owner > 0].std(axis=1)
    jumps = [np.concatenate(parts, axis=1) for parts in found.values()]
    steps = np.array([one.mean(axis=1) / deviation for one in jumps if one.shape[1] > LEAST_SEAM])
    return float(np.sqrt(np.mean(steps**2)))


def compute_contrast(mosaic: Path, scenes: Sequence[Path]) -> float:
    """The mosaic's standard deviation, mean over bands, over the mean of the scenes'."""
    return _compute_spread(mosaic) / float(np.mean([_compute_spread(scene) for scene in scenes]))


def _compute_spread(path: Path) -> float:
    with rasterio.open(path) as raster:
        return float(np.mean([band[raster.dataset_mask() > 0].std() for band in raster.read().astype(np.float64)]))
