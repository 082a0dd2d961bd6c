"""Made-up runs whose true gains and offsets are known: no file, no randomness beyond a seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from records import compute_moments, make_grid, make_scene

from processor.config import load_config
from processor.model import Adjustment, Band, BlockGrid, Bounds, Cell, Finding, Grid, Overlap, OverlapSamples, Scene
from processor.report.figures import PixelCounts, Preview, ReportInputs
from processor.stages.matching.local_block_adjustment import LocalCorrection
from processor.stages.seam_steps import SeamSteps

SIZE = 20  # pixels of a scene's edge; neighbours share a third of it
STEP = 14
CRS = "EPSG:32735"
RGB = tuple(Band(name=name, common_name=name) for name in ("red", "green", "blue"))
COMMON = ("red", "green", "blue", "nir")


def _make_overlap(
    first: Scene, second: Scene, tilt: NDArray[np.float64], *, truth: NDArray[np.float64], sampled: bool
) -> Overlap:
    """Both scenes see the same truth (bands, n); tilt (2, 2, bands) holds gain and offset of the first and of the second."""
    seen = [(gain[:, None] * truth + offset[:, None]).astype(np.float32) for gain, offset in tilt]
    bounds = first.grid.bounds.intersection(second.grid.bounds)
    assert bounds is not None
    fraction = (np.arange(truth.shape[1]) + 0.5) / truth.shape[1]
    samples = OverlapSamples(
        x=bounds.left + fraction * bounds.width,
        y=bounds.bottom + fraction * bounds.height,
        first=seen[0],
        second=seen[1],
    )
    return Overlap(
        first=first.name,
        second=second.name,
        first_moments=compute_moments(seen[0]),
        second_moments=compute_moments(seen[1]),
        samples=samples if sampled else None,
    )


def make_report_inputs(
    rows: int = 2,
    cols: int = 2,
    bands: int = 3,
    *,
    names: Sequence[str] | None = None,
    sampled: bool = True,
    matched: bool = True,
    local: bool = True,
    cells: bool = True,
    samples: int = 60,
    scale: float = 1.0,
    flags: dict[str, Any] | None = None,
    findings: tuple[Finding, ...] = (),
) -> ReportInputs:
    """A checkerboard of scenes; scene i sees gain_i · truth + offset_i, and ``matched`` undoes it exactly, times ``scale``."""
    random = np.random.default_rng(7)
    count, pixel = rows * cols, 10.0
    called = names or [f"scene_{i:04d}" for i in range(count)]
    named = [Band(name=f"band_{i + 1}", common_name=common) for i, common in enumerate([*COMMON, *[None] * bands][:bands])]
    grids = [make_grid(CRS, i % cols * STEP * pixel, -(i // cols) * STEP * pixel, pixel=pixel, size=SIZE) for i in range(count)]
    scenes = tuple(make_scene(called[i], grid=grid, bands=named, priority=i, dtype="float32") for i, grid in enumerate(grids))
    inverse = 1 + 0.2 * random.uniform(-1, 1, (count, bands))
    gain = inverse.mean(axis=0) / inverse  # so that undoing it scales by 1 in the mean
    offset = 30 * random.uniform(-1, 1, (count, bands))
    overlaps = []
    for i in range(count):
        for j in (i + 1, i + cols):
            if j < count and (j == i + cols or j % cols):
                pair = (i, j) if called[i] < called[j] else (j, i)
                truth = 500 + 100 * random.standard_normal((bands, samples))
                tilt = np.array([[gain[k], offset[k]] for k in pair])
                overlaps.append(_make_overlap(scenes[pair[0]], scenes[pair[1]], tilt, truth=truth, sampled=sampled))
    grid = Grid(
        crs=CRS,
        left=0,
        top=0,
        pixel_width=pixel,
        pixel_height=pixel,
        width=(cols - 1) * STEP + SIZE,
        height=(rows - 1) * STEP + SIZE,
    )
    adjustments = tuple(
        Adjustment(scene=scene.name, scale=scale / gain[i], offset=-scale * offset[i] / gain[i])
        for i, scene in enumerate(scenes)
    )
    blocks = BlockGrid(bounds=grid.bounds, rows=4, cols=4)
    corrections = tuple(
        LocalCorrection(
            scene=scene.name, grid=blocks, method="linear", parameter=np.full((bands, 4, 4), 1.01), alpha=1.0, c=0.0
        )
        for scene in scenes
    )
    boxes = tuple(Cell(scene=scene.name, polygon=shapely.box(*scene.grid.bounds.as_tuple())) for scene in scenes)
    total = grid.width * grid.height
    whole = {
        scene.name: compute_moments((gain[i][:, None] * (500 + 100 * random.standard_normal((bands, 50)))) + offset[i][:, None])
        for i, scene in enumerate(scenes)
    }
    return ReportInputs(
        item_id="made-up",
        version="0.0.0",
        digest="0" * 64,
        scenes=scenes,
        whole=whole,
        overlaps=tuple(overlaps),
        adjustments=adjustments if matched else (),
        corrections=corrections if local else (),
        cells=boxes if cells else (),
        grid=grid,
        counts=PixelCounts(mosaic=total, union=total, fallback=0, owned={scene.name: total // count for scene in scenes}),
        statistics=compute_moments(np.full((bands, 4), 500.0)),
        findings=findings,
        config=load_config(flags=flags or {}, environment={}),
        steps=SeamSteps(across_count=4, across=np.full(bands, 5.0), beside_count=8, beside=np.full(bands, 8.0)),
    )


def make_preview(inputs: ReportInputs) -> Preview:
    """A picture of a run: a ramp in each band, without a value in one corner."""
    height, width = inputs.grid.shape
    bands = max(1, len(inputs.bands))
    ramp = np.linspace(100, 900, width, dtype=np.float32)
    values = np.broadcast_to(ramp, (bands, height, width)) + 40 * np.arange(bands, dtype=np.float32)[:, None, None]
    valid = np.ones((height, width), bool)
    valid[:3, :3] = False
    columns = max(1, round(len(inputs.scenes) ** 0.5))
    row, col = np.indices((height, width)) // STEP
    index = np.minimum(row * columns + col + 1, len(inputs.scenes))
    return Preview(values=values, valid=valid, bounds=inputs.grid.bounds, scene_index=np.where(valid, index, 0))


def preview_of(
    values: ArrayLike, valid: NDArray[np.bool_] | None = None, scene_index: NDArray[np.integer] | None = None
) -> Preview:
    """A preview of 40 x 20 units of the CRS, valid everywhere unless told."""
    values = np.asarray(values)
    valid = np.ones(values.shape[1:], bool) if valid is None else valid
    return Preview(values=values, valid=valid, bounds=Bounds(left=0, bottom=0, right=40, top=20), scene_index=scene_index)


def noise(height: int = 20, width: int = 40, bands: int = 3) -> NDArray[np.uint8]:
    """Pixels (bands, height, width) without a pattern."""
    return np.random.default_rng(1).integers(0, 255, (bands, height, width), np.uint8)
