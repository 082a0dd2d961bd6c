"""Reading windows of scenes.

Source blocks are decoded once and kept in a cache that all threads share, so that neighbouring windows do not decode the blocks
between them again.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from processor.errors import InputError
from processor.geotiff.compose import Pixels, combine_bands, compose_window, find_fineness
from processor.geotiff.gdal import (
    DRIVER,
    MASK_SUFFIX,
    GdalReader,
    UnexplainedError,
    check_storage,
    describe_failure,
    find_mask,
    first_line,
    gdal_env,
    is_ranged,
    is_remote,
)
from processor.geotiff.handles import HandlePool
from processor.geotiff.open import has_mask, level_grid, resize_grid, unit_shape
from processor.geotiff.placement import read_grid
from processor.geotiff.range_cache import RangeCache
from processor.geotiff.traffic import TrafficCount
from processor.model import Grid, Scene, Window
from processor.redaction import redact_url
from processor.storage.options import Access

_MOST_SMALL = 1 << 30  # bytes of a raster that is read whole: a sparse file of a few kilobytes may say it has any number
_MOST_SOURCE = 2048  # pixels of a file on the edge of what is made at once of a composed scene


class _Key(NamedTuple):
    """A unit of reading: some whole blocks of one scene at one level."""

    scene: str
    """Name of the scene."""
    level: int | None
    """Index of the overview, None for full resolution."""
    row: int
    """Row among the units of that level."""
    col: int
    """Column among the units of that level."""


class RasterReader(AbstractContextManager["RasterReader", None]):
    """Reads windows of scenes from any thread; use as a context manager, which closes every file.

    Parameters
    ----------
    cache_bytes
        How much decoded source is kept, bytes; 0 keeps nothing beyond the window being read.
    access
        How storage is reached; default: nothing is set.
    range_cache
        Where what is read over the network is kept for the next pass, or None.
    forgets
        Whether GDAL forgets at the end what it read over the network.
    """

    def __init__(
        self,
        *,
        cache_bytes: int,
        access: Access | None = None,
        range_cache: RangeCache | None = None,
        forgets: bool = True,
    ) -> None:
        self._capacity = cache_bytes
        self._forgets = forgets
        self._gdal = GdalReader(access if access is not None else Access(), range_cache)
        self._lock = threading.Lock()
        self._units: OrderedDict[_Key, Future[Pixels]] = OrderedDict()
        self._sizes: dict[_Key, int] = {}
        self._held = 0
        self._decoded = 0
        self._handles = HandlePool(self._gdal)

    def __exit__(self, *_: object) -> None:
        """Close every file."""
        self._handles.close()
        self._units.clear()
        if self._forgets:
            self._gdal.forget()

    @property
    def decoded_bytes(self) -> int:
        """Bytes of pixels decoded so far."""
        return self._decoded

    def count_traffic(self) -> TrafficCount:
        """Requests and bytes that reading has taken so far."""
        return self._gdal.traffic.read()

    def read(self, scene: Scene, window: Window, *, level: int | None = None) -> Pixels:
        """Read a window, which must lie within the scene's grid at that level.

        Raises
        ------
        InputError, StorageError
            If the file cannot be decoded; the message names the scene.
        """
        grid = level_grid(scene, level)
        unit_height, unit_width = _choose_unit(scene, grid, level)
        rows = range(window.row // unit_height, (window.row_end - 1) // unit_height + 1)
        cols = range(window.col // unit_width, (window.col_end - 1) // unit_width + 1)
        keys = [_Key(scene.name, level, row, col) for row in rows for col in cols]
        with self._lock:
            mine = [key for key in keys if key not in self._units]
            futures: dict[_Key, Future[Pixels]] = {}
            for key in keys:
                futures[key] = self._units.setdefault(key, Future())
                self._units.move_to_end(key)
        if mine:
            self._decode(scene, grid, level, (unit_height, unit_width), mine, futures)
        size = {"height": unit_height, "width": unit_width}
        units = {Window(row=k.row * unit_height, col=k.col * unit_width, **size): futures[k].result() for k in keys}
        return _assemble(units, window, len(scene.bands), scene.dtype)

    def _decode(
        self,
        scene: Scene,
        grid: Grid,
        level: int | None,
        unit: tuple[int, int],
        keys: list[_Key],
        futures: dict[_Key, Future[Pixels]],
    ) -> None:
        """Read the units that this call claimed and hand them to whoever waits.

        Neighbours along a row are read together where that saves requests; elsewhere one by one, which saves copies.
        """
        pending = list(keys)
        joins = (bool(scene.parts) or is_remote(scene.source.href)) and unit == unit_shape(scene, grid, level)
        try:
            for run in _runs(keys) if joins else ([key] for key in keys):
                top, left = run[0].row * unit[0], run[0].col * unit[1]
                height, width = min(unit[0], grid.height - top), min(unit[1] * len(run), grid.width - left)
                pixels = self._read_file(scene, Window(row=top, col=left, height=height, width=width), level)
                for position, key in enumerate(run):
                    piece = pixels
                    if len(run) > 1:
                        cols = slice(position * unit[1], min((position + 1) * unit[1], width))
                        piece = _make_pixels(
                            *(_copy_columns(part, cols) for part in (pixels.values, pixels.valid, pixels.bands))
                        )
                    futures[key].set_result(piece)
                    pending.remove(key)
                self._keep(run, futures)
        except BaseException as error:
            with self._lock:
                for key in pending:
                    self._units.pop(key, None)
            for key in pending:
                futures[key].set_exception(error)
            raise

    def _keep(self, keys: list[_Key], futures: dict[_Key, Future[Pixels]]) -> None:
        """Count finished units in, and drop the least recently used finished ones beyond the capacity."""
        with self._lock:
            for key in keys:
                pixels = futures[key].result()
                held = (pixels.values, pixels.valid, pixels.bands)
                size = sum(array.nbytes for array in held if array is not None)
                self._sizes[key] = size
                self._held += size
                self._decoded += size
            for key in list(self._units):
                if self._held <= self._capacity:
                    break
                if key in self._sizes:
                    del self._units[key]
                    self._held -= self._sizes.pop(key)

    def _read_file(self, scene: Scene, window: Window, level: int | None) -> Pixels:
        if scene.parts:
            return compose_window(
                scene, level_grid(scene, level), window, lambda part, place, depth: self.read(part, place, level=depth)
            )
        if is_remote(scene.source.href):
            return self._gdal.repeat(scene.source.href, lambda: self._read_remote(scene, window, level))
        return self._read_once(scene, window, level)

    def _read_remote(self, scene: Scene, window: Window, level: int | None) -> Pixels:
        """Read what is over the network; where GDAL fails and does not say why, again through ranges, which tell."""
        try:
            return self._read_once(scene, window, level)
        except UnexplainedError:
            return self._read_once(scene, window, level, ranged=True)

    @contextmanager
    def _open_ranged(self, href: str, scene: str, factor: int | None) -> Iterator[DatasetReader]:
        handle = self._gdal.open(href, scene, factor, ranged=True)
        try:
            yield handle
        finally:
            self._gdal.close(handle)

    def _read_once(self, scene: Scene, window: Window, level: int | None, *, ranged: bool = False) -> Pixels:
        source, where = scene.source, f"rows {window.row} to {window.row_end - 1}, columns {window.col} to {window.col_end - 1}"
        box = _find_stored(window, level_grid(scene, level), source.flipped)
        factor = None if level is None else source.overviews[level]
        try:
            with (
                self._gdal.env(source.href, requester_pays=source.requester_pays, region=source.region),
                (self._open_ranged if ranged else self._handles.borrow)(source.href, scene.name, factor) as handle,
            ):
                _check_shape(handle, scene, level)
                values = handle.read(list(source.band_indexes), window=box)
                mask = self._read_mask(handle, scene, box)
                check_storage(scene.name)
        except RasterioError as error:
            if is_remote(source.href):
                check_storage(scene.name)
                raise describe_failure(
                    source.href, scene.name, f"cannot read {where}", error, ranged=is_ranged(handle)
                ) from error
            reason = first_line(error.__cause__ or error)
            msg = (
                f"scene {scene.name}: cannot read {where} of {redact_url(source.href)}: {reason}; "
                "the file is truncated or corrupt: fetch it again"
            )
            raise InputError(msg) from error
        if any(source.flipped):
            rows, cols = (slice(None, None, -1 if flipped else 1) for flipped in source.flipped)
            values = np.ascontiguousarray(values[:, rows, cols])
            mask = None if mask is None else np.ascontiguousarray(mask[rows, cols])
        return _make_pixels(values, *_compute_valid(values, scene, mask))

    def _read_mask(self, handle: DatasetReader, scene: Scene, box: rasterio.windows.Window) -> NDArray[np.generic] | None:
        """What the alpha band or the mask says of a window: 0 where invalid; None where there is neither."""
        source = scene.source
        if source.validity == "alpha":
            return np.asarray(handle.read(handle.colorinterp.index(ColorInterp.alpha) + 1, window=box))
        if source.validity != "mask":
            return None
        if has_mask(handle):
            return np.asarray(handle.read_masks(1, window=box))
        path = find_mask(source.href)
        if path is None:
            msg = f"scene {scene.name}: its mask {redact_url(source.href)}{MASK_SUFFIX} has gone since the run was planned"
            raise InputError(msg)
        with self._handles.borrow(path, scene.name) as beside:
            return np.asarray(beside.read(1, window=box))


def _find_stored(window: Window, grid: Grid, flipped: tuple[bool, bool]) -> rasterio.windows.Window:
    """Where a file stores a window of its grid."""
    row = grid.height - window.row_end if flipped[0] else window.row
    col = grid.width - window.col_end if flipped[1] else window.col
    return rasterio.windows.Window(col, row, window.width, window.height)


def _check_shape(handle: DatasetReader, scene: Scene, level: int | None) -> None:
    expected = level_grid(scene, level).shape
    if handle.shape != expected:
        what = "the raster" if level is None else f"overview 1:{scene.source.overviews[level]}"
        msg = (
            f"scene {scene.name}: {what} has {handle.height} x {handle.width} pixels where {expected[0]} x {expected[1]} were "
            "expected; rebuild the overviews or use exact statistics (--global_regression.estimate_stats false)"
        )
        raise InputError(msg)


def _choose_unit(scene: Scene, grid: Grid, level: int | None) -> tuple[int, int]:
    """What is read at once, (height, width); less where the pixels of a composed scene are made of many finer ones."""
    height, width = unit_shape(scene, grid, level)
    if not scene.parts:
        return height, width
    edge = max(1, int(_MOST_SOURCE / find_fineness(scene, grid)))
    return min(height, edge), min(width, edge)


def _runs(keys: list[_Key]) -> Iterator[list[_Key]]:
    """Group keys, given row by row, into runs of neighbours along a row."""
    for _, run in groupby(enumerate(keys), key=lambda place: (place[1].row, place[1].col - place[0])):
        yield [key for _, key in run]


def _compute_valid(
    values: NDArray[np.generic], scene: Scene, mask: NDArray[np.generic] | None
) -> tuple[NDArray[np.bool_] | None, NDArray[np.bool_] | None]:
    """The valid mask, by the rule of the scene; and which bands have a value, None where they have it in the same pixels.

    A band has none where it holds nodata, where the mask says so, and where it is not finite; by the rules "any" and "all" a
    value that is not finite makes the whole pixel invalid.
    """
    allowed = None if mask is None else np.greater(mask, 0)
    is_float, by_band = values.dtype.kind == "f", scene.band_rule == "band"
    if is_float and not by_band:
        finite = np.isfinite(values).all(axis=0)
        allowed = finite if allowed is None else allowed & finite
    nodata = scene.source.nodata
    if nodata is not None and np.isfinite(nodata):
        fill = values.dtype.type(nodata)
        found = [np.not_equal(band, fill) for band in values]
        for low, high in scene.source.fills:
            found = [valued & _lies_outside(band, low, high) for valued, band in zip(found, values, strict=True)]
    elif by_band and is_float:
        found = []
    else:
        return allowed, None
    if by_band and is_float:
        sane = [np.isfinite(band) for band in values]
        found = [one & other for one, other in zip(found, sane, strict=True)] if found else sane
    return combine_bands(found, allowed, scene.band_rule)


def _lies_outside(band: NDArray[Any], low: float, high: float) -> NDArray[np.bool_]:
    """Where a band's values are in no closed range."""
    if band.dtype.kind == "f":
        return np.asarray(~((band >= low) & (band <= high)))
    limits = np.iinfo(band.dtype.name)
    least, most = (int(min(max(end, limits.min), limits.max)) for end in (math.ceil(low), math.floor(high)))
    is_met = low <= limits.max and high >= limits.min
    return np.asarray((band < least) | (band > most)) if is_met else np.ones(band.shape, np.bool_)


def _copy_columns(array: NDArray[Any] | None, cols: slice) -> Any:
    return None if array is None else np.ascontiguousarray(array[..., cols])


def _make_pixels(values: NDArray[np.generic], valid: NDArray[np.bool_] | None, bands: NDArray[np.bool_] | None) -> Pixels:
    """Without a mask where all are valid."""
    if bands is not None and bands.all():
        bands = None
    return Pixels(values=values, valid=None if valid is None or valid.all() else valid, bands=bands)


def _assemble(units: dict[Window, Pixels], window: Window, bands: int, dtype: str) -> Pixels:
    """Cut a window out of the units that cover it; a view where one unit holds it all."""
    if len(units) == 1:
        unit, pixels = next(iter(units.items()))
        rows, cols = window.slices_in(unit)
        valid, known = (None if mask is None else mask[..., rows, cols] for mask in (pixels.valid, pixels.bands))
        return _make_pixels(pixels.values[:, rows, cols], valid, known)
    values = np.empty((bands, *window.shape), dtype)
    valid = by_band = None
    if any(pixels.valid is not None for pixels in units.values()):
        valid = np.ones(window.shape, np.bool_)
    if any(pixels.bands is not None for pixels in units.values()):
        by_band = np.ones((bands, *window.shape), np.bool_)
    for unit, pixels in units.items():
        shared = unit.intersection(window)
        if shared is None:
            continue
        target, origin = shared.slices_in(window), shared.slices_in(unit)
        values[:, *target] = pixels.values[:, *origin]
        if valid is not None and pixels.valid is not None:
            valid[target] = pixels.valid[origin]
        known = pixels.valid if pixels.bands is None else pixels.bands
        if by_band is not None and known is not None:
            by_band[:, *target] = known[..., *origin]
    return _make_pixels(values, valid, by_band)


def read_decimated(file: Path, *, edge: int) -> tuple[NDArray[np.generic], Grid]:
    """Read a raster that this program wrote, at most ``edge`` pixels wide and high, from its overviews.

    Returns
    -------
    (bands, height, width), the file's dtype, nearest-neighbour; and the grid of those pixels.
    """
    with gdal_env(), rasterio.open(file, driver=DRIVER) as dataset:
        whole = read_grid(dataset, file.name)
        factor = max(1.0, max(whole.width, whole.height) / edge)
        height, width = max(1, round(whole.height / factor)), max(1, round(whole.width / factor))
        values = dataset.read(out_shape=(dataset.count, height, width))
    return values, resize_grid(whole, height, width)


def read_small(data: bytes, *, what: str) -> tuple[NDArray[np.generic], NDArray[np.bool_], Grid]:
    """Read a whole small GeoTIFF from its bytes.

    Returns
    -------
    (bands, height, width); which values are valid, same shape; and the grid.

    Raises
    ------
    InputError
        If it is no GeoTIFF, has no georeference, or more than 1 GiB of pixels; ``what`` says what it is.
    """
    try:
        with gdal_env(), rasterio.MemoryFile(data) as file, file.open(driver=DRIVER) as dataset:
            grid = read_grid(dataset, what)
            size = grid.height * grid.width * sum(np.dtype(dtype).itemsize for dtype in dataset.dtypes)
            if size > _MOST_SMALL:
                shown = f"{grid.width} x {grid.height} pixels of {size} bytes"
                msg = f"{what} has {shown}, and at most {_MOST_SMALL} bytes are read: make it coarser"
                raise InputError(msg)
            values = dataset.read()
            valid = dataset.read_masks() > 0
    except RasterioError as error:
        msg = f"{what} is not a readable GeoTIFF: {first_line(error)}"
        raise InputError(msg) from error
    return values, valid & np.isfinite(values), grid
