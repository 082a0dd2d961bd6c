"""Runs in this process without report and publishing, and brute force on whole arrays to compare them with."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import rasterio.warp
import shapely
from numpy.typing import NDArray
from passes import measure_and_solve, open_bench
from rasterio.transform import Affine
from shapely import Geometry, box

from processor.config import Config, load_config
from processor.geotiff.open import open_scene
from processor.model import Moments, RasterRef, Scene, SceneRef, Window
from processor.mosaic.plan import Plan
from processor.mosaic.planning import plan_run
from processor.mosaic.render import Renderer
from processor.mosaic.solve import Solution
from processor.scenes.user_files import read_user_files
from processor.stages.files import TextFile
from processor.stages.matching.local_block_adjustment import BlockAdjustment
from processor.stages.measures import Measures
from processor.storage.store import Store
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
EXACT = {"global_regression.estimate_stats": False}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Made:
    """A run up to the pixels of its mosaic.

    mosaic: (bands, height, width) in the mosaic's dtype, and index: (height, width), 0 where there is no scene; or None.
    measured_bytes: bytes of pixels decoded by the first pass.
    """

    plan: Plan
    measures: Measures
    solution: Solution
    measured_bytes: int
    mosaic: NDArray[Any]
    index: NDArray[Any]
    filled: int

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Pixels of the mosaic that come from some scene."""
        return np.asarray(self.index > 0)

    @property
    def scales(self) -> dict[str, list[float]]:
        """Scales by scene."""
        return {adjustment.scene: adjustment.scale.tolist() for adjustment in self.solution.adjustments}

    @property
    def offsets(self) -> dict[str, list[float]]:
        """Offsets by scene."""
        return {adjustment.scene: adjustment.offset.tolist() for adjustment in self.solution.adjustments}

    @property
    def adjustments(self) -> str:
        """The adjustments file's text."""
        (file,) = self.plan.methods.matching_global.list_files(self.measures, self.solution.matching_global)
        assert isinstance(file, TextFile)
        return file.text

    @property
    def block_adjustment(self) -> BlockAdjustment:
        """Block maps and corrections."""
        assert isinstance(self.solution.matching_local, BlockAdjustment)
        return self.solution.matching_local

    def take(self, scene: str) -> NDArray[np.bool_]:
        """Pixels of the mosaic that come from a scene."""
        names = [scene.name for scene in self.plan.scenes]
        return np.asarray(self.index == names.index(scene) + 1)


def open_scenes(paths: Sequence[Path], *, nodata: float | None = None) -> list[Scene]:
    return [
        open_scene(SceneRef(name=path.stem, priority=i, rasters=(RasterRef(href=str(path)),)), nodata=nodata).scene
        for i, path in enumerate(paths)
    ]


@lru_cache
def _load(flags: str) -> Config:
    return load_config(flags=json.loads(flags), environment={})


def make_plan(
    paths: Sequence[Path],
    flags: Mapping[str, Any] | None = None,
    references: Sequence[Scene] = (),
    checks: Sequence[Scene] = (),
    **more: Any,
) -> Plan:
    """Plan a run of plain files with exact statistics; flags by ``section.name``, or as keywords by ``section__name``."""
    config = _load(json.dumps({**EXACT, **(flags or {}), **{key.replace("__", "."): value for key, value in more.items()}}))
    scenes = open_scenes(paths, nodata=config.shared.custom_nodata_value)
    return plan_run(scenes, config, read_user_files(scenes, config, Store()), references, checks)


def make(paths: Sequence[Path], flags: Mapping[str, Any] | None = None) -> Made:
    """Plan, measure, solve and render the whole mosaic."""
    plan = make_plan(paths, flags)
    with open_bench(plan, cache_bytes=50_000_000) as bench, bench.reading("test") as reader:
        measures, solution = measure_and_solve(plan, bench)
        measured = reader.decoded_bytes
        renderer = Renderer(plan, measures, solution, reader)
        height, width = plan.grid.shape
        edge = plan.window_edge
        mosaic = np.empty((plan.bands, height, width), plan.dtype)
        index = np.zeros((height, width), np.uint16)
        filled = 0
        for row in range(0, height, edge):
            for col in range(0, width, edge):
                window = Window(row=row, col=col, height=min(edge, height - row), width=min(edge, width - col))
                rendered = renderer.render(window)
                mosaic[:, row : window.row_end, col : window.col_end] = rendered.values
                index[row : window.row_end, col : window.col_end] = rendered.index
                filled += rendered.statistics.filled
    return Made(
        plan=plan, measures=measures, solution=solution, measured_bytes=measured, mosaic=mosaic, index=index, filled=filled
    )


def write_map(path: Path, values: NDArray[Any], bounds: tuple[float, float, float, float], *, crs: str = "EPSG:32633") -> Path:
    """Write a block map (bands, rows, cols), NaN where missing, over (left, bottom, right, top)."""
    bands, rows, cols = values.shape
    left, bottom, right, top = bounds
    transform = Affine((right - left) / cols, 0, left, 0, (bottom - top) / rows, top)
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=bands,
        height=rows,
        width=cols,
        dtype="float64",
        nodata=np.nan,
        crs=crs,
        transform=transform,
    ) as raster:
        raster.write(values.astype("float64"))
    return path


def read_adjustments(text: str, name: str) -> dict[str, list[float]]:
    """Scales or offsets by scene, as an adjustments file has them."""
    document: dict[str, Any] = json.loads(text)
    return {scene: [band[name] for band in entry["adjustments"].values()] for scene, entry in document.items()}


# Four overlapping scenes on one grid, as arrays of the mosaic's grid


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
    np.testing.assert_allclose(found.std, pixels.std(axis=1), rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(found.minimum, pixels.min(axis=1))
    np.testing.assert_array_equal(found.maximum, pixels.max(axis=1))


def sum_shares(edges: NDArray[np.floating], blocks: NDArray[np.floating]) -> F64:
    """Share of each pixel in each block along an axis: (blocks, pixels)."""
    low, high = np.maximum(edges[None, :-1], blocks[:-1, None]), np.minimum(edges[None, 1:], blocks[1:, None])
    return np.asarray(np.maximum(high - low, 0) / np.diff(edges)[None, :])


def find_block_means(scene: Known, counted: Bool, made: Made) -> F64:
    """Means of the counted pixels by block, raw, (bands, rows, cols); NaN where there are none."""
    assert made.solution.matching_local.reference is not None
    grid, blocks = made.plan.grid, made.solution.matching_local.reference.grid
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
