"""One scene's pixels through the stages that treat it alone: adjust, correct, align."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from processor.geotiff.compose import Pixels
from processor.geotiff.reader import RasterReader
from processor.model import Adjustment, Grid, Scene, Window
from processor.mosaic.plan import Plan
from processor.mosaic.solve import Solution
from processor.stages.align.align_rasters import (
    Resampling,
    compute_shift,
    compute_source_window,
    resample_bands,
    resample_window,
)
from processor.stages.align.coregistration import move_grid
from processor.stages.matching.global_regression import apply_adjustment
from processor.stages.matching.method import SceneCorrection
from processor.stages.merge.merge_rasters import apply_dtype

_STRIP = 49_152  # values a step: the scratch arrays stay in the second-level cache


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """Finished pixels of one scene."""

    window: Window
    """Of the grid they lie on."""
    values: NDArray[np.generic]
    """(bands, height, width) in the mosaic's dtype; invalid pixels hold anything. By the rule "band" a band of a valid pixel
    holds nodata where it has no value.
    """
    valid: NDArray[np.bool_]
    """bool (height, width)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScenePipeline:
    """A scene with what is done to it; used from any thread."""

    scene: Scene
    """The scene that is read."""
    placed: Grid
    """Where its pixels are laid: its grid, moved where scenes are co-registered."""
    reader: RasterReader
    """Reads its pixels."""
    adjustment: Adjustment | None
    """None where the scene's values are not adjusted."""
    correction: SceneCorrection | None
    """None where they are not corrected locally."""
    dtype: str
    """Numpy dtype name of what comes out."""
    nodata: float
    """Value of invalid pixels of what comes out."""
    calculation: type[np.floating]
    """Type of the arithmetic."""
    resampling: Resampling
    """Kernel for pixels that do not lie on the mosaic's grid."""

    def read_native(self, window: Window) -> Layer:
        """Corrected pixels of a window of the scene's own grid."""
        pixels = self.reader.read(self.scene, window)
        out = np.empty(pixels.values.shape, np.dtype(self.dtype))
        with np.errstate(invalid="ignore", over="ignore"):
            if self.adjustment is None and self.correction is None:
                values = pixels.values.copy() if pixels.values.dtype.kind == "f" else pixels.values
                apply_dtype(values, self.dtype, self.nodata, out=out)
            else:
                for band, rows, piece in self._correct(window, pixels):
                    apply_dtype(piece, self.dtype, self.nodata, out=out[band, rows])
        if pixels.bands is not None and self.scene.band_rule == "band":
            out[~pixels.bands] = self.nodata
        return Layer(window=window, values=out, valid=_full_mask(pixels))

    def read_aligned(self, grid: Grid, window: Window) -> Layer | None:
        """Corrected pixels on as much of a window of another grid as the scene covers, or None where it covers nothing.

        A scene whose grid agrees is moved by whole pixels; any other is resampled.
        """
        shift = compute_shift(self.placed, grid)
        if shift is not None:
            source = window.shifted(rows=shift.rows, cols=shift.cols).intersection(self.scene.grid.window)
            if source is None:
                return None
            layer = self.read_native(source)
            return Layer(window=source.shifted(rows=-shift.rows, cols=-shift.cols), values=layer.values, valid=layer.valid)
        source = compute_source_window(self.placed, grid, window, self.resampling)
        if source is None:
            return None
        pixels = self.reader.read(self.scene, source)
        corrected = np.empty(pixels.values.shape, self.calculation)
        for band, rows, piece in self._correct(source, pixels):
            corrected[band, rows] = piece
        resample = partial(resample_window, scene=self.placed, source=source, target=grid, window=window)
        mask, by_band, rule = _full_mask(pixels), pixels.bands, self.scene.band_rule
        resampled, valid, bands = resample_bands(
            partial(resample, method=self.resampling), corrected, mask, None if rule == "any" else by_band
        )
        if bands is not None and rule == "all":  # the mosaic takes such a pixel as a value, which no other is mixed with
            np.copyto(resampled, resample(corrected, mask, method="nearest")[0], where=~bands)
        out = np.empty(resampled.shape, np.dtype(self.dtype))
        with np.errstate(invalid="ignore", over="ignore"):
            apply_dtype(resampled, self.dtype, self.nodata, out=out)
        if bands is not None and rule == "band":
            out[~bands] = self.nodata
        return Layer(window=window, values=out, valid=valid)

    def _correct(self, source: Window, pixels: Pixels) -> Iterator[tuple[int, slice, NDArray[np.floating]]]:
        """Adjusted and corrected values, strip by strip; the array given out is used again for the next one."""
        bands, height, width = pixels.values.shape
        step = max(1, _STRIP // width)
        correct = None
        if self.correction is not None:
            correct = self.correction.on_window(self.scene.grid, source, self.calculation, min(step, height)).apply
        buffer = np.empty((min(step, height), width), self.calculation)
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            for band in range(bands):
                scale, offset = 1.0, 0.0
                if self.adjustment is not None:
                    scale, offset = float(self.adjustment.scale[band]), float(self.adjustment.offset[band])
                for start in range(0, height, step):
                    rows = slice(start, min(start + step, height))
                    count = rows.stop - rows.start
                    piece = apply_adjustment(pixels.values[band, rows], scale, offset, out=buffer[:count])
                    yield band, rows, piece if correct is None else correct(piece, band, rows)


def make_pipelines(plan: Plan, solution: Solution, reader: RasterReader) -> tuple[ScenePipeline, ...]:
    """The pipeline of every scene, in plan order; stages that are off are left out."""
    nothing = (None,) * len(plan.scenes)
    return tuple(
        ScenePipeline(
            scene=scene,
            placed=move_grid(scene.grid, solution.coregistration, position),
            reader=reader,
            adjustment=adjustment,
            correction=correction,
            dtype=plan.dtype,
            nodata=plan.nodata,
            calculation=np.float64 if plan.config.shared.calculation_dtype == "float64" else np.float32,
            resampling=plan.methods.align.resampling,
        )
        for position, (scene, adjustment, correction) in enumerate(
            zip(plan.scenes, solution.adjustments or nothing, solution.corrections or nothing, strict=True)
        )
    )


def _full_mask(pixels: Pixels) -> NDArray[np.bool_]:
    return np.ones(pixels.values.shape[1:], np.bool_) if pixels.valid is None else pixels.valid
