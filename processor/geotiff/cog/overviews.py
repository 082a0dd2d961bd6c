"""Overviews while the full resolution is being made: halving pixels, and a pyramid that takes windows in any order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from processor.geotiff.cog.codecs import encode_tile, find_neighbour, is_empty, is_fill
from processor.geotiff.cog.spec import CogSpec, make_fill
from processor.geotiff.cog.tiles import TileSink
from processor.model import Window
from processor.model.z_order import iter_z_order

_CHUNK: Final = 1 << 17  # samples averaged at once: the temporaries stay in a core's cache


def reduce_average(pixels: NDArray[Any], nodata: float | None) -> NDArray[Any]:
    """Halve by averaging 2 x 2 samples.

    A sample counts for itself: what equals nodata (or is NaN) in one band is left out in that band only. Where all four are
    left out, the result is nodata. Integers are rounded to nearest, halves away from zero, as GDAL does. A mean that equals
    nodata by accident becomes its nearest neighbour in the dtype. A last odd row or column is averaged over what there is. No
    result depends on more than its own 2 x 2 samples, so an image may be cut at any even row and column.

    Parameters
    ----------
    pixels
        (bands, height, width), a dtype of ``codecs.DTYPES``.
    nodata
        Value of invalid samples (maybe NaN), or None.

    Returns
    -------
    (bands, ceil(height / 2), ceil(width / 2)), same dtype.
    """
    source = _even(pixels)
    bands, height, width = source.shape
    out = np.empty((bands, height // 2, width // 2), pixels.dtype)
    step = max(1, _CHUNK // (2 * width))
    with np.errstate(over="ignore", invalid="ignore"):  # infinite samples give infinite or NaN means
        for band in range(bands):
            for row in range(0, height // 2, step):
                out[band, row : row + step] = _average_rows(source[band, 2 * row : 2 * (row + step)], nodata)
    return out


def reduce_nearest(pixels: NDArray[Any], nodata: float | None) -> NDArray[Any]:
    """Halve by taking, of 2 x 2 samples, the first in reading order that is not nodata (not 0 without nodata).

    Parameters
    ----------
    pixels
        (bands, height, width), a dtype of ``codecs.DTYPES``.
    nodata
        Value of samples that say nothing, or None for 0.

    Returns
    -------
    (bands, ceil(height / 2), ceil(width / 2)), same dtype.
    """
    source, fill = _even(pixels), make_fill(pixels.dtype, nodata)
    out = source[:, ::2, ::2].copy()
    for rows, cols in ((0, 1), (1, 0), (1, 1)):
        np.copyto(out, source[:, rows::2, cols::2], where=is_fill(out, fill))
    return out


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reduced:
    """Pixels of an overview that wait for their neighbours: half a tile wide and high, or less at the edge."""

    level: int
    """Index of the overview they belong to."""
    row: int
    """Row in half tiles of that level, which is the row in tiles of the level below."""
    col: int
    """Column in half tiles of that level, which is the column in tiles of the level below."""
    pixels: NDArray[Any] | None
    """(bands, height, width), or None where all are nodata."""


class Pyramid:
    """Encodes windows of the full resolution and the overviews above them into a tile store.

    Windows may come in any order and from several threads: the tiles are the same. A parent waits until its up to four
    children are there, so memory holds three quarters of a tile for each level when windows come in Z-order from one
    thread. Encoding and averaging run outside of the lock.

    Parameters
    ----------
    spec
        What is written.
    store
        Takes the compressed tiles.
    window_tiles
        Edge of the windows in tiles, a power of two.
    top
        Index of the last level whose tiles are made; what is for those above only waits. None: all are made.

    Raises
    ------
    ValueError
        window_tiles is not a power of two.
    """

    def __init__(self, spec: CogSpec, store: TileSink, *, window_tiles: int = 1, top: int | None = None) -> None:
        if window_tiles < 1 or window_tiles & (window_tiles - 1):
            msg = f"window_tiles must be a power of two, got {window_tiles}"
            raise ValueError(msg)
        self._profile, self._nodata, self._bands = spec.profile, spec.nodata, spec.bands
        self._dtype = np.dtype(spec.dtype)
        self._fill = make_fill(self._dtype, spec.nodata)
        self._levels = spec.levels
        self._store = store
        self._window_tiles = window_tiles
        self._top = len(self._levels) if top is None else top
        self._reduce = reduce_average if spec.profile.overview_resampling == "average" else reduce_nearest
        self._lock = threading.Lock()
        self._pending: dict[tuple[int, int, int], list[Reduced]] = {}

    def iter_windows(self) -> Iterator[Window]:
        """Yield every window once, cut to the image, in Z-order, in which few parents are half done at any time."""
        level = self._levels[0]
        return iter_z_order(level.height, level.width, self._window_tiles * level.tile_size)

    @property
    def pending(self) -> int:
        """Number of reduced windows that wait for their neighbours."""
        with self._lock:
            return sum(map(len, self._pending.values()))

    def add(self, window: Window, pixels: NDArray[Any] | None) -> None:
        """Encode one window of the full resolution and whatever it completes.

        Parameters
        ----------
        window
            One of :meth:`iter_windows`.
        pixels
            (bands, height, width) in the dtype of the spec, or None where all are nodata. Not kept and not changed.

        Raises
        ------
        ValueError
            The window is not one of the pyramid's or came before, or the pixels do not fit it.
        StorageError
            The tile store cannot be written.
        """
        row, col = self._check(window, pixels)
        level, span = 0, self._window_tiles
        while True:
            pixels = self._encode(level, row, col, span, pixels)
            level += 1
            if level == len(self._levels):
                return
            if span == 1:
                break
            row, col, span = row // 2, col // 2, span // 2
        self.add_reduced(Reduced(level=level, row=row, col=col, pixels=pixels))

    def add_reduced(self, reduced: Reduced) -> None:
        """Add pixels of an overview that were made elsewhere (:meth:`take_pending`), and encode what they complete."""
        while True:
            level, row, col = reduced.level, reduced.row // 2, reduced.col // 2
            below = self._levels[level - 1]
            expected = min(2, below.rows - 2 * row) * min(2, below.cols - 2 * col)
            with self._lock:
                siblings = self._pending.setdefault((level, row, col), [])
                siblings.append(reduced)
                if len(siblings) < expected or level > self._top:
                    return
                del self._pending[level, row, col]
            pixels = self._encode(level, row, col, 1, self._join(siblings, self._levels[level].window(row, col)))
            if level + 1 == len(self._levels):
                return
            reduced = Reduced(level=level + 1, row=row, col=col, pixels=pixels)

    def take_pending(self) -> tuple[Reduced, ...]:
        """Take out what still waits, in a fixed order: what a worker that made a part of the windows hands over."""
        with self._lock:
            waiting = [reduced for siblings in self._pending.values() for reduced in siblings]
            self._pending.clear()
        return tuple(sorted(waiting, key=lambda reduced: (reduced.level, reduced.row, reduced.col)))

    def _check(self, window: Window, pixels: NDArray[Any] | None) -> tuple[int, int]:
        """Check a window and give the row and column of its first tile."""
        level = self._levels[0]
        edge = self._window_tiles * level.tile_size
        row, col = window.row // level.tile_size, window.col // level.tile_size
        inside = 0 <= window.row < level.height and 0 <= window.col < level.width
        if not inside or window.row % edge or window.col % edge or window != level.window(row, col, tiles=self._window_tiles):
            msg = f"{window} is not a window of {edge} x {edge} pixels of an image of {level.width} x {level.height}"
            raise ValueError(msg)
        if pixels is not None and (pixels.shape != (self._bands, *window.shape) or pixels.dtype != self._dtype):
            msg = f"pixels must be {self._dtype} {(self._bands, *window.shape)} for {window}, got {pixels.dtype} {pixels.shape}"
            raise ValueError(msg)
        return row, col

    def _encode(self, level: int, row: int, col: int, span: int, pixels: NDArray[Any] | None) -> NDArray[Any] | None:
        """Encode and store ``span`` x ``span`` tiles from (row, col) on, as far as the level has them, and halve them."""
        plan, edge = self._levels[level], self._profile.tile_size
        if pixels is not None and is_empty(pixels, self._fill):
            pixels = None
        for down in range(min(span, plan.rows - row)):
            for right in range(min(span, plan.cols - col)):
                data = b""
                if pixels is not None:
                    tile = pixels[:, down * edge : (down + 1) * edge, right * edge : (right + 1) * edge]
                    data = encode_tile(tile.transpose(1, 2, 0), self._profile, nodata=self._nodata)
                self._store.put(level, row + down, col + right, data)
        return None if pixels is None or level + 1 == len(self._levels) else self._reduce(pixels, self._nodata)

    def _join(self, siblings: list[Reduced], window: Window) -> NDArray[Any] | None:
        """Join the children of a tile of an overview."""
        half = self._profile.tile_size // 2
        out = None
        for reduced in siblings:
            if reduced.pixels is not None:
                if out is None:
                    out = np.full((self._bands, *window.shape), self._fill)
                top, left = reduced.row % 2 * half, reduced.col % 2 * half
                height, width = reduced.pixels.shape[1:]
                out[:, top : top + height, left : left + width] = reduced.pixels
        return out


def _even(pixels: NDArray[Any]) -> NDArray[Any]:
    """Repeat a last odd row or column: then the mean of 2 x 2 is the mean of what there is; (bands, height, width)."""
    _, height, width = pixels.shape
    if height % 2 == 0 and width % 2 == 0:
        return pixels
    return np.pad(pixels, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")


def _average_rows(rows: NDArray[Any], nodata: float | None) -> NDArray[Any]:
    """Average 2 x 2 samples of (2 n, 2 m), giving (n, m)."""
    dtype = rows.dtype
    fill = make_fill(dtype, nodata)
    left_out = None if nodata is None else is_fill(rows, fill)
    if dtype.kind == "f" and (left_out is None or not np.isnan(fill)):
        left_out = np.isnan(rows) if left_out is None else left_out | np.isnan(rows)
    if left_out is None or not left_out.any():
        means, counts = _average_all(rows), None
    else:
        means, counts = _average_some(rows, left_out)
    if nodata is not None and not np.isnan(fill):
        accident = means == fill
        if accident.any():
            means[accident] = find_neighbour(fill)
    if counts is not None:
        means[counts == 0] = np.nan if nodata is None else fill
    return means


def _sum_squares(rows: NDArray[Any], dtype: str | None = None) -> NDArray[Any]:
    """Sum 2 x 2 samples of (2 n, 2 m); without a dtype in that of twice the size, as far as there is one."""
    pairs = np.add(rows[::2], rows[1::2], dtype=dtype or f"{rows.dtype.kind}{min(8, 2 * rows.dtype.itemsize)}")
    return np.asarray(pairs[:, ::2] + pairs[:, 1::2])


def _average_all(rows: NDArray[Any]) -> NDArray[Any]:
    """Average where every sample counts; integers without leaving integers."""
    total = _sum_squares(rows)
    if rows.dtype.kind == "f":
        return (total * 0.25).astype(rows.dtype)
    if rows.dtype.kind == "i":
        total -= total < 0  # halves away from zero
    two = total.dtype.type(2)
    return np.asarray((total + two) >> two, rows.dtype)


def _average_some(rows: NDArray[Any], left_out: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Average the samples that count; (means, how many counted), means without meaning where none did."""
    counts = _sum_squares((~left_out).view(np.uint8), "u1")
    total = _sum_squares(np.where(left_out, rows.dtype.type(0), rows))
    # A quotient by 2 or 4 is exact and one by 3 is far from a half, so single precision is enough for 16-bit samples.
    precision = np.float32 if total.dtype.itemsize <= 4 else np.float64
    means = np.divide(total, np.maximum(counts, 1), dtype=precision)
    if rows.dtype.kind != "f":
        means += precision(0.5) if rows.dtype.kind == "u" else np.copysign(precision(0.5), means)
    return means.astype(rows.dtype), counts
