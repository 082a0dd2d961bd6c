"""Stage 3, align rasters: one pixel grid for all scenes.

Resampling is separable and computed from absolute pixel positions, so that a pixel's value does not depend on the window it is
computed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from processor.model import Bounds, Grid, Window
from processor.model.options import Paths, Resolution
from processor.stages.align.method import AlignMethod
from processor.stages.align.options import AlignRastersOptions
from processor.stages.method import Need

Resampling = Literal["nearest", "bilinear", "cubic"]

_SAME = 1e-6  # relative difference of pixel sizes that counts as none
_WHOLE = 1e-3  # pixels: a shift this near to a whole number is one


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Whole pixels that take a target pixel to the scene's: scene row = target row + rows."""

    rows: int
    """Scene row minus target row, pixels."""
    cols: int
    """Scene column minus target column, pixels."""


def compute_pixel_size(grids: Sequence[Grid], resolution: Resolution) -> tuple[float, float]:
    """Target (pixel width, pixel height) in CRS units: the smallest, mean or largest of the grids', x and y separately."""
    return (
        _choose_size([grid.pixel_width for grid in grids], resolution),
        _choose_size([grid.pixel_height for grid in grids], resolution),
    )


def _choose_size(sizes: Sequence[float], resolution: Resolution) -> float:
    smallest, largest = min(sizes), max(sizes)
    if resolution == "average":  # exactly the size that all have, where all have one
        return min(max(math.fsum(sizes) / len(sizes), smallest), largest)
    return smallest if resolution == "highest" else largest


def snap_grid(bounds: Bounds, crs: str, *, pixel_width: float, pixel_height: float, tap: bool) -> Grid:
    """The target grid over some bounds.

    With ``tap`` (target aligned pixels) the bounds snap outward to whole multiples of the pixel size; without, the grid starts
    at the upper left corner of the bounds. Snapping a snapped grid changes nothing.
    """
    origin = (0.0, 0.0) if tap else (bounds.left, bounds.top)
    return _snap_grid(bounds, crs, pixel_width, pixel_height, origin)


def _snap_grid(bounds: Bounds, crs: str, pixel_width: float, pixel_height: float, origin: tuple[float, float]) -> Grid:
    """The smallest grid over some bounds of which an origin (x, y), CRS units, is a corner of a pixel."""
    tolerance = 1e-6  # pixels: bounds that are whole multiples up to rounding stay where they are
    x, y = origin
    first_col = math.floor((bounds.left - x) / pixel_width + tolerance)
    first_row = math.ceil((bounds.top - y) / pixel_height - tolerance)  # counted upward
    width = math.ceil((bounds.right - x) / pixel_width - tolerance) - first_col
    height = first_row - math.floor((bounds.bottom - y) / pixel_height + tolerance)
    return Grid(
        crs=crs,
        left=x + first_col * pixel_width,
        top=y + first_row * pixel_height,
        pixel_width=pixel_width,
        pixel_height=pixel_height,
        width=max(1, width),
        height=max(1, height),
    )


def choose_target(scenes: Sequence[Grid], bounds: Bounds, crs: str, *, resolution: Resolution, tap: bool | None) -> Grid:
    """The grid of the mosaic.

    Parameters
    ----------
    scenes
        Grids in the mosaic's CRS, whose pixels decide; at least one.
    bounds
        What it has to cover, CRS units: at least those of the scenes.
    crs
        WKT of that CRS.
    resolution
        Which of the scenes' pixel sizes it has.
    tap
        True: it lies on whole multiples of the pixel size. False: a pixel begins at the upper left corner of the scenes'
        bounds. None: the scenes' grid where they share one, else whole multiples; these too where they agree with that grid.
    """
    width, height = compute_pixel_size(scenes, resolution)
    tapped = snap_grid(bounds, crs, pixel_width=width, pixel_height=height, tap=True)
    if tap or (tap is None and (not share_grid(scenes) or compute_shift(scenes[0], tapped) is not None)):
        return tapped
    corner = reduce(Bounds.union, (grid.bounds for grid in scenes))
    return _snap_grid(bounds, crs, width, height, (corner.left, corner.top))


def share_grid(scenes: Sequence[Grid]) -> bool:
    """Whether scenes of one CRS have one pixel size and lie whole pixels apart."""
    return all(compute_shift(grid, scenes[0]) is not None for grid in scenes[1:])


def compute_shift(scene: Grid, target: Grid) -> Shift | None:
    """The whole-pixel shift between two grids that agree, or None where the scene has to be resampled."""
    for size, other in ((scene.pixel_width, target.pixel_width), (scene.pixel_height, target.pixel_height)):
        if abs(size - other) > _SAME * other:
            return None
    cols = (target.left - scene.left) / target.pixel_width
    rows = (scene.top - target.top) / target.pixel_height
    if abs(cols - round(cols)) > _WHOLE or abs(rows - round(rows)) > _WHOLE:
        return None
    drift = max(
        abs(scene.pixel_width - target.pixel_width) * scene.width / target.pixel_width,
        abs(scene.pixel_height - target.pixel_height) * scene.height / target.pixel_height,
    )
    return Shift(rows=round(rows), cols=round(cols)) if drift <= _WHOLE else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Taps:
    """Source pixels and weights along one axis: index int (n, taps), weight float64 (n, taps); nearest int (n,)."""

    index: NDArray[np.intp]
    weight: NDArray[np.float64]
    nearest: NDArray[np.intp]


def compute_kernel(distance: NDArray[np.float64], method: Resampling) -> NDArray[np.float64]:
    """Weights at distances in source pixels: triangle (bilinear), or Catmull-Rom (cubic), which is Keys 1981 with a = -1/2."""
    d = np.abs(distance)
    if method == "bilinear":
        return np.maximum(0.0, 1.0 - d)
    near = (1.5 * d - 2.5) * d * d + 1.0
    far = ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
    return np.where(d < 1, near, np.where(d < 2, far, 0.0))


def _compute_taps(
    origin: float, step: float, start: int, count: int, source_origin: float, source_step: float, method: Resampling
) -> _Taps:
    """Taps of ``count`` target pixels from ``start`` on; a coarser target widens the kernel, so that nothing aliases."""
    centre = (origin + (start + np.arange(count) + 0.5) * step - source_origin) / source_step  # source pixel edges at integers
    nearest = np.floor(centre).astype(np.intp)
    if method == "nearest":
        return _Taps(index=nearest[:, None], weight=np.ones((count, 1)), nearest=nearest)
    stretch = max(1.0, step / source_step)
    radius = (1.0 if method == "bilinear" else 2.0) * stretch
    first = np.ceil(centre - 0.5 - radius).astype(np.intp)
    taps = math.ceil(2 * radius) + 1
    index = first[:, None] + np.arange(taps)
    weight = compute_kernel((index + 0.5 - centre[:, None]) / stretch, method)
    return _Taps(index=index, weight=weight / weight.sum(axis=1, keepdims=True), nearest=nearest)


def _axes(scene: Grid, target: Grid, window: Window, method: Resampling) -> tuple[_Taps, _Taps]:
    rows = _compute_taps(-target.top, target.pixel_height, window.row, window.height, -scene.top, scene.pixel_height, method)
    cols = _compute_taps(target.left, target.pixel_width, window.col, window.width, scene.left, scene.pixel_width, method)
    return rows, cols


def compute_source_window(scene: Grid, target: Grid, window: Window, method: Resampling) -> Window | None:
    """The scene's pixels that a target window needs, or None where it needs none."""
    rows, cols = _axes(scene, target, window, method)
    row, row_end = max(int(rows.index.min()), 0), min(int(rows.index.max()) + 1, scene.height)
    col, col_end = max(int(cols.index.min()), 0), min(int(cols.index.max()) + 1, scene.width)
    if row_end <= row or col_end <= col:
        return None
    return Window(row=row, col=col, height=row_end - row, width=col_end - col)


def resample_window(
    values: NDArray[np.floating],
    valid: NDArray[np.bool_],
    scene: Grid,
    source: Window,
    target: Grid,
    window: Window,
    method: Resampling,
) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Resample pixels of a scene onto a window of the target grid.

    A target pixel is valid where the source pixel under its centre is. Its value is the weighted mean of the valid source
    pixels under the kernel; where these carry less than half of the weight (cubic only), it is the pixel under the centre.

    Parameters
    ----------
    values, valid
        (bands, height, width) and (height, width) over ``source``, a window of ``scene``.
    scene, source
        Where those pixels lie.
    target, window
        Where the result lies.
    method
        "nearest", "bilinear" or "cubic".

    Returns
    -------
    (bands, height, width) of the values' dtype, 0 where invalid, and the valid mask (height, width).
    """
    rows, cols = _axes(scene, target, window, method)
    near_row, near_col = rows.nearest - source.row, cols.nearest - source.col
    inside_row = (near_row >= 0) & (near_row < source.height)
    inside_col = (near_col >= 0) & (near_col < source.width)
    near_row, near_col = near_row.clip(0, source.height - 1), near_col.clip(0, source.width - 1)
    result_valid = valid[near_row][:, near_col] & inside_row[:, None] & inside_col[None, :]
    nearest = values[:, near_row][:, :, near_col]
    if method == "nearest":
        return np.where(result_valid, nearest, values.dtype.type(0)), result_valid
    kind = values.dtype.type
    mask = valid.astype(values.dtype)
    stacked = np.concatenate([np.where(valid, values, kind(0)), mask[None]])
    across = _gather(stacked, cols, source.col, source.width)
    down = _gather(across.swapaxes(1, 2), rows, source.row, source.height).swapaxes(1, 2)
    weight = down[-1]
    enough = result_valid & (weight >= kind(0.5 if method == "cubic" else 1e-6))
    result = np.divide(down[:-1], weight, out=np.where(result_valid, nearest, kind(0)), where=enough)
    return result, result_valid


def resample_bands(
    resample: Callable[[NDArray[np.floating], NDArray[np.bool_]], tuple[NDArray[np.floating], NDArray[np.bool_]]],
    values: NDArray[np.floating],
    valid: NDArray[np.bool_],
    bands: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.floating], NDArray[np.bool_], NDArray[np.bool_] | None]:
    """Resample pixels whose bands may have values in different places: what a band does not have enters no mean.

    Parameters
    ----------
    resample
        Takes and gives pixels (bands, height, width) and their valid mask (height, width).
    values, valid
        What is resampled.
    bands
        (bands, height, width), True where the band has a value; None: where the pixel is valid.

    Returns
    -------
    Pixels, 0 where the band has no value; the valid mask, True where any band has one; and ``bands`` of the result.
    """
    if bands is None:
        result, result_valid = resample(values, valid)
        return result, result_valid, None
    found = [resample(values[band : band + 1], own) for band, own in enumerate(bands)]
    by_band = np.stack([own for _, own in found])
    return np.concatenate([band for band, _ in found]), np.asarray(by_band.any(axis=0)), by_band


def _gather(stacked: NDArray[np.floating], taps: _Taps, start: int, count: int) -> NDArray[np.floating]:
    """Weighted sum of taps along the last axis, taps outside the source left out."""
    index = taps.index - start
    inside = (index >= 0) & (index < count)
    weight = np.where(inside, taps.weight, 0.0).astype(stacked.dtype)
    index = index.clip(0, count - 1)
    total = stacked[..., index[:, 0]] * weight[:, 0]
    for tap in range(1, index.shape[1]):
        total += stacked[..., index[:, tap]] * weight[:, tap]
    return total


class AlignRasters(AlignMethod[AlignRastersOptions]):
    """Puts all scenes on one grid."""

    @property
    def output_images(self) -> Paths | None:
        """As configured."""
        return self.options.output_images

    @property
    def resolution(self) -> Resolution:
        """As configured."""
        return self.options.resolution

    @property
    def coregister(self) -> Literal["measure"] | bool:
        """As configured."""
        return self.options.coregister

    def list_needs(self, scenes: Collection[str]) -> frozenset[Need]:
        """Displacements of pairs, where they are asked for."""
        del scenes
        return frozenset({"shifts"} if self.options.coregister else ())

    @property
    def tap(self) -> bool | None:
        """As configured."""
        return self.options.tap

    @property
    def resampling(self) -> Resampling:
        """As configured."""
        return self.options.resampling_method
