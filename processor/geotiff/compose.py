"""Pixels of composed scenes: bands from several files, on one grid and in one unit, and what a mask takes away.

Every file is read near the resolution that is asked for, from its own overviews where it has them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from processor.geotiff.open import level_grid
from processor.model import BandRule, Grid, Scaling, Scene, Window
from processor.stages.align.align_rasters import (
    Resampling,
    compute_shift,
    compute_source_window,
    resample_bands,
    resample_window,
)
from processor.stages.align.warp import choose_lattice, compute_pixel_ratio, compute_places, resample_places, shrink

_NEAR = 1.001  # how much finer than asked for an overview has to be at most to serve
_MARGIN = 3  # source pixels around a window for the widest kernel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pixels:
    """Pixels of a window, as stored."""

    values: NDArray[np.generic]
    """(bands, height, width), the source's dtype; invalid pixels may hold anything. Read-only."""
    valid: NDArray[np.bool_] | None
    """bool (height, width), True where valid; None: everywhere."""
    bands: NDArray[np.bool_] | None = None
    """bool (bands, height, width), True where the band has a value; None: where the pixel is valid, as mostly. By the rule
    "any" a band may have a value where the pixel is invalid.
    """

    @property
    def complete(self) -> NDArray[np.bool_] | None:
        """Valid pixels in which every band has a value, which are those that are measured, bool (height, width); None: all."""
        return self.valid if self.bands is None else np.asarray(self.bands.all(axis=0))

    def count_partial(self) -> int:
        """Pixels in which some bands have a value and others do not."""
        if self.bands is None:
            return 0
        return int(np.count_nonzero(self.bands.any(axis=0))) - int(np.count_nonzero(self.bands.all(axis=0)))


def combine_bands(
    found: Sequence[NDArray[np.bool_]], allowed: NDArray[np.bool_] | None, rule: BandRule
) -> tuple[NDArray[np.bool_] | None, NDArray[np.bool_] | None]:
    """The valid mask of bands whose validity may differ, and :attr:`Pixels.bands`.

    Parameters
    ----------
    found
        For each band bool (height, width), True where it has a value; at least one.
    allowed
        (height, width), False where no band has one; None: nowhere.
    rule
        Where the pixel is invalid.
    """
    short = [band for band in found if not band.all()]
    if not short:
        return allowed, None
    every = short[0] if len(short) == 1 else np.logical_and.reduce(short)
    some = None if len(short) < len(found) else short[0] if len(short) == 1 else np.logical_or.reduce(short)
    if some is not None and np.array_equal(some, every):
        return every if allowed is None else allowed & every, None
    bands = np.stack(found)
    if allowed is not None:
        bands &= allowed
        every, some = every & allowed, allowed if some is None else some & allowed
    return every if rule == "any" else some, bands


Read = Callable[[Scene, Window, int | None], Pixels]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sampled:
    """A raster's pixels on another grid."""

    values: NDArray[np.generic]
    """(bands, height, width), the source's dtype or the one it was resampled in; invalid pixels may hold anything."""
    valid: NDArray[np.bool_]
    """bool (height, width), True where valid."""
    bands: NDArray[np.bool_] | None
    """bool (bands, height, width), as of :class:`Pixels`."""
    inside: NDArray[np.bool_]
    """bool (height, width), True where the raster has a pixel at all, valid or not."""


def compose_window(scene: Scene, grid: Grid, window: Window, read: Read) -> Pixels:
    """Compose a window of a scene, on its grid or that of one of its levels.

    No pixel is valid where a file ends short of it, or where the mask does not allow it; elsewhere the scene's rule decides.

    Parameters
    ----------
    scene
        With parts.
    grid, window
        What is asked for.
    read
        Reads a window of one file at one of its levels.
    """
    values = np.empty((len(scene.bands), *window.shape), scene.dtype)
    allowed = np.ones(window.shape, np.bool_)
    found: list[NDArray[np.bool_]] = []
    for part in scene.parts:
        sampled = _sample(part.raster, grid, window, part.resampling, read)
        allowed &= sampled.inside
        for position in range(len(part.raster.bands)):
            valid = sampled.valid if sampled.bands is None else sampled.bands[position]
            conversion = part.conversions[position] if part.conversions else None
            _convert(sampled.values[position], conversion, values[len(found)])
            if part.raster.source.nodata is not None and not valid.all():
                nodata = np.array(part.raster.source.nodata).astype(scene.dtype)
                values[len(found)][~valid] = nodata
            found.append(valid)
    if scene.mask is not None and allowed.any():  # where the mask has no pixel, nothing is said
        sampled = _sample(scene.mask.raster, grid, window, "nearest", read)
        marked = np.isin(sampled.values[0], scene.mask.invalid)
        if scene.mask.valid:
            marked |= ~np.isin(sampled.values[0], scene.mask.valid)
        if scene.mask.bits:
            marked |= (sampled.values[0].astype(np.int64) & sum(1 << bit for bit in scene.mask.bits)) != 0
        allowed &= ~(marked & sampled.inside)
    valid, bands = combine_bands(found, allowed, scene.band_rule)
    return Pixels(values=values, valid=None if valid is None or valid.all() else valid, bands=bands)


def _convert(values: NDArray[np.generic], conversion: Scaling | None, out: NDArray[np.generic]) -> None:
    """Write values in the scene's unit and dtype, rounded to whole numbers and clipped where that is an integer type."""
    if conversion is None and values.dtype == out.dtype:
        out[...] = values
        return
    wide = values.astype(np.float64)
    if conversion is not None:
        wide = wide * conversion.scale + conversion.offset
    if out.dtype.kind in "ui":
        limits = np.iinfo(np.dtype(out.dtype).name)
        out[...] = np.nan_to_num(np.rint(wide)).clip(limits.min, limits.max).astype(out.dtype)
    else:
        out[...] = wide.astype(out.dtype)


def find_fineness(scene: Scene, grid: Grid) -> float:
    """Pixels of the finest level that is read of any part on the edge of a pixel of a grid, at least 1."""
    rasters = [part.raster for part in scene.parts] + ([] if scene.mask is None else [scene.mask.raster])
    return max(1.0, *(_find_ratio(raster.grid, raster.source.overviews, grid) for raster in rasters))


@lru_cache(maxsize=1024)
def _find_ratio(own: Grid, overviews: tuple[int, ...], grid: Grid) -> float:
    """Pixels of a file's level that is chosen on the longer edge of a pixel of a grid."""
    down, across = grid.pixel_height / own.pixel_height, grid.pixel_width / own.pixel_width
    if own.crs != grid.crs:
        down, across = compute_pixel_ratio(own, grid)
    coarsest = max((factor for factor in overviews if factor <= min(down, across) * _NEAR), default=1)
    return max(down, across) / coarsest


def _choose_level(raster: Scene, ratio: float) -> int | None:
    """The coarsest overview that is no coarser than what is asked for; None: full resolution."""
    chosen = None
    for level, factor in enumerate(raster.source.overviews):
        if factor <= ratio * _NEAR:
            chosen = level
    return chosen


def _sample(raster: Scene, grid: Grid, window: Window, resampling: Resampling, read: Read) -> _Sampled:
    if raster.grid.crs != grid.crs:
        return _warp(raster, grid, window, resampling, read)
    ratio = min(grid.pixel_width / raster.grid.pixel_width, grid.pixel_height / raster.grid.pixel_height)
    level = _choose_level(raster, ratio)
    own = level_grid(raster, level)
    shift = compute_shift(own, grid)
    if shift is not None:
        return _move(raster, own, level, window.shifted(rows=shift.rows, cols=shift.cols), read)
    source = compute_source_window(own, grid, window, resampling)
    if source is None:
        return _nothing(raster, window)
    pixels = read(raster, source, level)
    valid = _full(pixels)
    values, result_valid, bands = resample_bands(
        partial(resample_window, scene=own, source=source, target=grid, window=window, method=resampling),
        _widen(pixels.values),
        valid,
        _own_bands(raster, pixels.bands),
    )
    _, inside = resample_window(_widen(pixels.values[:1]), np.ones_like(valid), own, source, grid, window, "nearest")
    return _Sampled(values=values, valid=result_valid, bands=bands, inside=inside)


def _own_bands(raster: Scene, bands: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    """The bands' masks where they matter; by the rule "any" the mask of the pixels says it all."""
    return None if raster.band_rule == "any" else bands


def _move(raster: Scene, own: Grid, level: int | None, wanted: Window, read: Read) -> _Sampled:
    """Pixels that lie exactly where they are wanted, and invalid ones around them where the raster ends."""
    source = wanted.intersection(own.window)
    if source is None:
        return _nothing(raster, wanted)
    pixels = read(raster, source, level)
    if source == wanted:
        bands = _own_bands(raster, pixels.bands)
        return _Sampled(values=pixels.values, valid=_full(pixels), bands=bands, inside=np.ones(wanted.shape, np.bool_))
    result = _nothing(raster, wanted)
    rows, cols = source.slices_in(wanted)
    result.values[:, rows, cols] = pixels.values
    result.valid[rows, cols] = _full(pixels)
    result.inside[rows, cols] = True
    bands = _own_bands(raster, pixels.bands)
    if bands is None:
        return result
    around = np.zeros(result.values.shape, np.bool_)
    around[:, rows, cols] = bands
    return replace(result, bands=around)


def _warp(raster: Scene, grid: Grid, window: Window, resampling: Resampling, read: Read) -> _Sampled:
    """Pixels of another CRS; a source that is much finer is averaged first, so that nothing aliases."""
    down, across = compute_pixel_ratio(raster.grid, grid)
    level = _choose_level(raster, min(down, across))
    own = level_grid(raster, level)
    rows, cols = compute_places(own, grid, window, choose_lattice(own, grid))
    factor = (1, 1)
    if resampling != "nearest":
        scale = (own.height / raster.grid.height, own.width / raster.grid.width)
        factor = (max(1, math.floor(down * scale[0])), max(1, math.floor(across * scale[1])))
    source = _find_source(rows, cols, factor, own)
    if source is None or source.intersection(own.window) is None:
        return _nothing(raster, window)
    moved = _move(raster, own, level, source, read)
    places = (rows - source.row) / factor[0], (cols - source.col) / factor[1]

    def resample(values: NDArray[np.floating], valid: NDArray[np.bool_]) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
        return resample_places(*shrink(values, valid, factor), *places, resampling)

    values, result_valid, bands = resample_bands(resample, _widen(moved.values), moved.valid, moved.bands)
    inside = (rows >= 0) & (rows < own.height) & (cols >= 0) & (cols < own.width)
    bands = None if bands is None else bands & inside
    return _Sampled(values=values, valid=result_valid & inside, bands=bands, inside=inside)


def _find_source(rows: NDArray[np.float64], cols: NDArray[np.float64], factor: tuple[int, int], own: Grid) -> Window | None:
    """Pixels that places need, whole blocks of the factor counted from the raster's corner; None where they need none."""
    near = (rows >= 0) & (rows < own.height) & (cols >= 0) & (cols < own.width)
    if not near.any():
        return None
    spans = []
    for places, size in ((rows[near], factor[0]), (cols[near], factor[1])):
        margin = _MARGIN * size
        start = (math.floor(float(places.min())) - margin) // size * size
        end = -(-(math.ceil(float(places.max())) + margin) // size) * size
        spans.append((start, end - start))
    return Window(row=spans[0][0], col=spans[1][0], height=spans[0][1], width=spans[1][1])


def _nothing(raster: Scene, window: Window) -> _Sampled:
    return _Sampled(
        values=np.zeros((len(raster.bands), *window.shape), raster.dtype),
        valid=np.zeros(window.shape, np.bool_),
        bands=None,
        inside=np.zeros(window.shape, np.bool_),
    )


def _widen(values: NDArray[np.generic]) -> NDArray[np.floating]:
    """A floating type that holds every value exactly."""
    exact = np.float32 if values.dtype.kind in "ui" and values.dtype.itemsize <= 2 else np.float64
    return values.astype(np.float32 if values.dtype == np.float32 else exact)


def _full(pixels: Pixels) -> NDArray[np.bool_]:
    return np.ones(pixels.values.shape[1:], np.bool_) if pixels.valid is None else pixels.valid
