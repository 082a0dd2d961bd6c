"""Runs in this process without report and publishing: what the files that users give and get do to parameters and pixels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine

from processor.config import Config, load_config
from processor.geotiff.reader import RasterReader, open_scene
from processor.model import RasterRef, Scene, SceneRef, Window
from processor.mosaic.measure import Measures
from processor.mosaic.passes import measure_and_solve
from processor.mosaic.plan import Plan, plan_run
from processor.mosaic.render import Renderer
from processor.mosaic.solve import Solution, join_statistics
from processor.process.progress import Silent
from processor.scenes.adjustments_file import render_adjustments
from processor.scenes.user_files import Given, read_given
from processor.storage.store import Store

EXACT = {"global_regression.estimate_stats": False}


@dataclass(frozen=True, kw_only=True)
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
        whole, overlaps = join_statistics(self.plan, self.measures)
        solved = sorted((*self.solution.adjustments, *self.solution.others), key=lambda adjustment: adjustment.scene)
        return render_adjustments(solved, whole, overlaps)

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


def make_plan(paths: Sequence[Path], flags: Mapping[str, Any] | None = None) -> Plan:
    """Plan a run of plain files with exact statistics; flags by ``section.name``."""
    config = _load(json.dumps({**EXACT, **(flags or {})}))
    scenes = open_scenes(paths, nodata=config.shared.custom_nodata_value)
    return plan_run(scenes, config, read_given(scenes, config, Store()))


def make_given(paths: Sequence[Path], flags: Mapping[str, Any]) -> Given:
    """Read only what the flags name."""
    return read_given(open_scenes(paths), _load(json.dumps(dict(flags))), Store())


def make(paths: Sequence[Path], flags: Mapping[str, Any] | None = None) -> Made:
    """Plan, measure, solve and render the whole mosaic."""
    plan = make_plan(paths, flags)
    with RasterReader(cache_bytes=50_000_000) as reader:
        measures, solution = measure_and_solve(plan, reader, Silent())
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
                filled += rendered.filled
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
