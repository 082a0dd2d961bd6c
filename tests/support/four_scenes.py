"""Four overlapping scenes, and brute force on whole arrays: one array of the mosaic's grid, of which they are whole pixels."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import rasterio.warp
import shapely
from numpy.typing import NDArray
from shapely import Geometry, box
from small_runs import Made

from processor.model import Moments
from processor.synthetic.scenes import SceneRecipe, make_scenes

F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]
PIXEL = 2.0  # CRS units
NAMES = ("scene_1_1", "scene_1_2", "scene_2_1", "scene_2_2")
GLOBAL_ONLY = {
    f"methods.{method}": None for method in ("matching_local_method", "align_method", "seamline_method", "clip_method")
}
HOLED = box(500_020.5, 5_299_530.5, 500_470.5, 5_299_980.5).difference(
    box(500_180.3, 5_299_650.1, 500_280.7, 5_299_760.9)
)  # area of interest


def write_four(folder: Path) -> list[Path]:
    """Four noisy, turned and ragged scenes of 140 x 140 pixels of 2 CRS units; each overlaps all others."""
    recipe = SceneRecipe(
        rows=2,
        cols=2,
        height=140,
        width=140,
        overlap=0.3,
        bands=2,
        rotation=4,
        ragged=6,
        noise=0.004,
        block_size=64,
        pixel_size=PIXEL,
        keep_truth=False,
    )
    make_scenes(folder, recipe)
    return [folder / f"{name}.tif" for name in NAMES]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Known:
    """A scene on the mosaic's grid: float64 (bands, height, width), NaN outside it, and where it is valid."""

    pixels: F64
    valid: Bool


def place_scenes(paths: list[Path], made: Made) -> dict[str, Known]:
    known = {}
    grid = made.plan.grid
    for path in paths:
        with rasterio.open(path) as raster:
            values, transform = raster.read().astype(np.float64), raster.transform
        row, col = round((grid.top - transform.f) / grid.pixel_height), round((transform.c - grid.left) / grid.pixel_width)
        pixels = np.full((len(values), *grid.shape), np.nan)
        pixels[:, row : row + values.shape[1], col : col + values.shape[2]] = values
        known[path.stem] = Known(pixels=pixels, valid=np.isfinite(pixels).all(axis=0) & (pixels != 0).any(axis=0))
    return known


def find_inside(geometry: Geometry, made: Made, *, crs: int = 32633) -> Bool:
    """Pixels of the mosaic whose centre lies in a geometry of some CRS."""
    grid = made.plan.grid
    x = grid.left + (np.arange(grid.width) + 0.5) * grid.pixel_width
    y = grid.top - (np.arange(grid.height) + 0.5) * grid.pixel_height
    x, y = (plane.ravel() for plane in np.meshgrid(x, y))
    if crs != 32633:
        x, y = rasterio.warp.transform(32633, crs, x, y)
    return np.asarray(shapely.contains_xy(geometry, x, y)).reshape(grid.shape)


def check_moments(found: Moments, pixels: F64) -> None:
    """Compare with the pixels (bands, n) that should have been counted."""
    assert found.count == pixels.shape[1] > 0
    np.testing.assert_allclose(found.mean, pixels.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.std, pixels.std(axis=1), rtol=1e-9)


def sum_shares(edges: NDArray[np.floating], blocks: NDArray[np.floating]) -> F64:
    """Share of each pixel in each block along an axis: (blocks, pixels)."""
    low, high = np.maximum(edges[None, :-1], blocks[:-1, None]), np.minimum(edges[None, 1:], blocks[1:, None])
    return np.asarray(np.maximum(high - low, 0) / np.diff(edges)[None, :])


def find_block_means(scene: Known, counted: Bool, made: Made) -> F64:
    """Means of the counted pixels by block, raw, (bands, rows, cols); NaN where there are none."""
    assert made.solution.reference is not None
    grid, blocks = made.plan.grid, made.solution.reference.grid
    rows = sum_shares(
        -grid.top + np.arange(grid.height + 1) * grid.pixel_height,
        -blocks.bounds.top + np.arange(blocks.rows + 1) * blocks.block_height,
    )
    cols = sum_shares(
        grid.left + np.arange(grid.width + 1) * grid.pixel_width,
        blocks.bounds.left + np.arange(blocks.cols + 1) * blocks.block_width,
    )
    area = rows @ counted @ cols.T
    with np.errstate(invalid="ignore", divide="ignore"):
        sums = [rows @ np.where(counted, band, 0.0) @ cols.T for band in scene.pixels]
        return np.where(area > 1e-9, np.stack(sums) / area, np.nan)


def write_vectors(path: Path, geometries: list[Geometry], *, crs: int = 32633, **fields: list[Any]) -> str:
    geopandas.GeoDataFrame(fields or {"id": list(range(len(geometries)))}, geometry=geometries, crs=crs).to_file(path)
    return str(path)


def read_raster(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as raster:
        return np.asarray(raster.read())
