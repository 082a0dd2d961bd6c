"""Stage 2, local block adjustment: every scene is drawn to a reference map of block means.

After Yu et al. 2017, doi 10.1016/j.isprsjprs.2017.08.002. Because the global adjustment is linear, the block means of an
adjusted scene follow from those of the raw one, so blocks are summed in the same read as the scene statistics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from processor.model import Adjustment, BlockGrid, BlockMap, Bounds, Grid, LocalCorrection, Moments, Window
from processor.stages.statistics import zero_invalid

__all__ = [
    "BlockSums",
    "Surface",
    "apply_correction",
    "compute_block_grid",
    "compute_block_map",
    "compute_block_sums",
    "compute_contrast_ratio",
    "compute_departure",
    "compute_reference_map",
    "compute_surface",
    "merge_block_sums",
    "solve_correction",
]

_REFERENCE_CONTRAST = 45 / 125  # the published rule's coefficient of variation, for which 10 x 10 blocks are right


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockSums:
    """Area-weighted sums of raw pixels in the blocks that a window touches."""

    row: int
    col: int
    """The upper left of those blocks in the block grid."""
    area: NDArray[np.float64]
    """float64 (rows, cols), valid pixels in each block, fractions of pixels counted."""
    total: NDArray[np.float64]
    """float64 (bands, rows, cols), sum of the pixels, source units."""


def compute_contrast_ratio(moments: Sequence[Moments]) -> float:
    """Coefficient of variation of band 1, pooled over the scenes, against the published 45 / 125; NaN where there is none."""
    count = sum(m.count for m in moments)
    if count == 0:
        return math.nan
    mean = sum(m.count * float(m.mean[0]) for m in moments if m.count) / count
    spread = sum(float(m.m2[0]) + m.count * (float(m.mean[0]) - mean) ** 2 for m in moments if m.count)
    return math.sqrt(spread / count) / mean / _REFERENCE_CONTRAST if mean else math.nan


def compute_block_grid(
    bounds: Bounds,
    scenes: int,
    number_of_blocks: int | tuple[int, int] | Literal["coefficient_of_variation"],
    *,
    contrast_ratio: float | None = None,
) -> BlockGrid:
    """Cut the canvas into blocks.

    A target of t blocks a scene gives T = t N blocks: cols = max(1, round(sqrt(T width / height))) and
    rows = max(1, round(T / cols)), then the longer side's count is raised while rows cols < T and lowered while rows cols > T.
    A pair is (rows, cols).
    "coefficient_of_variation" is 10 x 10 times ``contrast_ratio`` of :func:`compute_contrast_ratio`, rounded, at least 1.
    """
    if number_of_blocks == "coefficient_of_variation":
        ratio = contrast_ratio if contrast_ratio is not None and math.isfinite(contrast_ratio) else 1.0
        edge = max(1, round(10 * ratio))
        return BlockGrid(bounds=bounds, rows=edge, cols=edge)
    if isinstance(number_of_blocks, tuple):
        rows, cols = number_of_blocks
        return BlockGrid(bounds=bounds, rows=rows, cols=cols)
    target = number_of_blocks * scenes
    wide = bounds.width >= bounds.height
    cols = max(1, round(math.sqrt(target * bounds.width / bounds.height)))
    rows = max(1, round(target / cols))
    # What raising and then lowering the longer side's count one by one ends at, however long and thin the canvas.
    rows, cols = (rows, max(1, target // rows)) if wide else (max(1, target // cols), cols)
    return BlockGrid(bounds=bounds, rows=rows, cols=cols)


def _edges(start: float, step: float, first: float, block: float, pixels: int, blocks: int) -> tuple[int, NDArray[np.float64]]:
    """Index of the first block that pixels touch, and the edges of all such blocks in pixels, clipped to [0, pixels].

    ``start`` and ``first`` are the distances of the first pixel's and the first block's edge from a common origin.
    """
    low = math.floor((start - first) / block)
    high = math.ceil((start + pixels * step - first) / block)
    low, high = min(max(low, 0), blocks), min(max(high, 0), blocks)
    edges = (first + block * np.arange(low, high + 1) - start) / step
    nearest = np.rint(edges)
    edges = np.where(np.abs(edges - nearest) < 1e-6, nearest, edges)  # blocks of whole pixels get whole pixels
    return low, np.clip(edges, 0.0, float(pixels))


def _reduce_rows(values: NDArray[np.generic], edges: NDArray[np.float64], wide: type[np.generic]) -> NDArray[np.float64]:
    """Sum an array along its second-last axis between fractional edges; float64 (…, blocks, columns)."""
    shape = (*values.shape[:-2], len(edges) - 1, values.shape[-1])
    sums = np.zeros(shape)
    for block in range(len(edges) - 1):
        low, high = float(edges[block]), float(edges[block + 1])
        if high <= low:
            continue
        first, last = math.ceil(low), math.floor(high)
        if last < first:  # the block lies within one row
            sums[..., block, :] = (high - low) * values[..., last, :].astype(np.float64)
            continue
        if last > first:
            sums[..., block, :] = np.add.reduce(values[..., first:last, :], axis=-2, dtype=wide)
        if first > low:
            sums[..., block, :] += (first - low) * values[..., first - 1, :].astype(np.float64)
        if high > last:
            sums[..., block, :] += (high - last) * values[..., last, :].astype(np.float64)
    return sums


def compute_block_sums(
    values: NDArray[np.generic], valid: NDArray[np.bool_] | None, grid: Grid, window: Window, blocks: BlockGrid
) -> BlockSums | None:
    """Sum the valid pixels of a window by block, each pixel weighted by the part of it that lies in the block.

    Parameters
    ----------
    values
        (bands, height, width), any real dtype; invalid pixels may hold anything.
    valid
        (height, width), True where valid; None: everywhere.
    grid, window
        Where the pixels lie.
    blocks
        The canvas; pixels outside it do not count.

    Returns
    -------
    The sums, or None where the window lies outside the canvas.
    """
    canvas = blocks.bounds
    top = grid.top - window.row * grid.pixel_height
    left = grid.left + window.col * grid.pixel_width
    row, row_edges = _edges(-top, grid.pixel_height, -canvas.top, blocks.block_height, window.height, blocks.rows)
    col, col_edges = _edges(left, grid.pixel_width, canvas.left, blocks.block_width, window.width, blocks.cols)
    if len(row_edges) < 2 or len(col_edges) < 2:
        return None
    wide: type[np.generic] = np.float64
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 2:
        wide = np.int64 if values.dtype.kind == "i" else np.uint64
    if valid is not None:
        values = zero_invalid(values, valid)
        ones = _reduce_rows(valid.view(np.uint8), row_edges, np.uint64)
        area = _reduce_rows(ones.swapaxes(-1, -2), col_edges, np.float64).swapaxes(-1, -2)
    else:
        area = np.diff(row_edges)[:, None] * np.diff(col_edges)[None, :]
    down = _reduce_rows(values, row_edges, wide)
    total = _reduce_rows(np.ascontiguousarray(down.swapaxes(-1, -2)), col_edges, np.float64).swapaxes(-1, -2)
    return BlockSums(row=row, col=col, area=np.ascontiguousarray(area), total=np.ascontiguousarray(total))


def merge_block_sums(parts: Sequence[BlockSums], bands: int) -> BlockSums:
    """Sum over the smallest part of the canvas that holds all parts, added in the order given."""
    if not parts:
        return BlockSums(row=0, col=0, area=np.zeros((0, 0)), total=np.zeros((bands, 0, 0)))
    row, col = min(p.row for p in parts), min(p.col for p in parts)
    rows = max(p.row + p.area.shape[0] for p in parts) - row
    cols = max(p.col + p.area.shape[1] for p in parts) - col
    area, total = np.zeros((rows, cols)), np.zeros((bands, rows, cols))
    for part in parts:
        down = slice(part.row - row, part.row - row + part.area.shape[0])
        across = slice(part.col - col, part.col - col + part.area.shape[1])
        area[down, across] += part.area
        total[:, down, across] += part.total
    return BlockSums(row=row, col=col, area=area, total=total)


def compute_block_map(sums: BlockSums, blocks: BlockGrid, adjustment: Adjustment) -> BlockMap:
    """Local map of a scene: means of its globally adjusted valid pixels; NaN where a block has none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(sums.area > 0, sums.total / sums.area, np.nan)
    values = adjustment.scale[:, None, None] * means + adjustment.offset[:, None, None]
    return BlockMap(name=adjustment.scene, grid=blocks, row=sums.row, col=sums.col, values=values)


def compute_reference_map(local: Sequence[BlockMap]) -> BlockMap:
    """Reference map: the mean over the local maps of the blocks that are present; NaN where none is.

    Raises
    ------
    ValueError
        If there is no map, or the maps differ in grid.
    """
    if not local or any(block_map.grid != local[0].grid for block_map in local):
        msg = "the reference map needs at least one local map, all on one block grid"
        raise ValueError(msg)
    grid = local[0].grid
    total = np.zeros((local[0].values.shape[0], grid.rows, grid.cols))
    count = np.zeros(total.shape, np.int64)
    for block_map in local:
        present = np.isfinite(block_map.values)
        total[:, *block_map.slices] += np.where(present, block_map.values, 0.0)
        count[:, *block_map.slices] += present
    values = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return BlockMap(name="reference", grid=grid, values=values)


def solve_correction(
    local: BlockMap,
    reference: BlockMap,
    *,
    method: Literal["gamma", "linear", "offset"],
    alpha: float,
    minimum: float,
) -> LocalCorrection:
    """Parameter map P of a scene: linear R / L, gamma ln R / ln L, offset ln (R + c) / ln (L + c).

    P is missing, NaN, where it or the logarithm that it is divided by is not finite: of L = 0, P would be 0, and gamma would
    make every pixel near that block 1.

    Parameters
    ----------
    local, reference
        Maps of the scene and of the reference on one grid; the reference covers the whole canvas.
    method, alpha
        As configured.
    minimum
        Smallest globally adjusted valid value of the scene over all bands; decides c: 0 if it, the smallest of the scene's map
        and the smallest of the reference are positive, else 1 + the absolute value of the smallest of them.
    """
    mean, target = local.values, reference.values[:, *local.slices]
    c = 0.0
    if method == "offset":
        present = [float(np.nanmin(m)) for m in (mean, reference.values) if np.isfinite(m).any()]
        smallest = min([minimum, *present])
        c = 0.0 if smallest > 0 else 1.0 + abs(smallest)
    with np.errstate(invalid="ignore", divide="ignore"):
        upper, lower = (target, mean) if method == "linear" else (np.log(target + c), np.log(mean + c))
        parameter = upper / lower
    parameter = np.where(np.isfinite(parameter) & np.isfinite(lower), parameter, np.nan)
    return LocalCorrection(
        scene=local.name,
        grid=local.grid,
        row=local.row,
        col=local.col,
        method=method,
        parameter=parameter,
        alpha=alpha,
        c=c,
    )


def _take_blocks(correction: LocalCorrection, rows: NDArray[np.intp], cols: NDArray[np.intp]) -> NDArray[np.float64]:
    """P of blocks given by absolute row and column (any broadcastable shapes); NaN beyond the part that the scene touches."""
    height, width = correction.parameter.shape[1:]
    row, col = rows - correction.row, cols - correction.col
    inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    if not (height and width):
        return np.full((len(correction.parameter), *inside.shape), np.nan)
    taken = correction.parameter[:, row.clip(0, height - 1), col.clip(0, width - 1)]
    return np.where(inside, taken, np.nan)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surface:
    """P - 1 on the pixels of a window, interpolated along rows already; columns are interpolated strip by strip."""

    weighted: NDArray[np.floating]
    """(bands, height, columns), P - 1 times the weight of the blocks that are present, at the block columns involved."""
    weight: NDArray[np.floating] | None
    """The same shape, or None where no block is missing."""
    segments: tuple[tuple[int, int, int], ...]
    """(first pixel, end pixel, left column) of runs of pixels between the same two block columns."""
    fraction: NDArray[np.floating]
    """(width,), distance of each pixel from the left column, in blocks."""

    def read_rows(
        self, band: int, rows: slice, out: NDArray[np.floating], scratch: NDArray[np.floating] | None = None
    ) -> NDArray[np.floating]:
        """P - 1 of some rows of a band, into ``out`` (rows, width); 0 where nothing is near.

        ``scratch`` (2, rows, width) is overwritten; whoever asks often gives the same one again.
        """
        low, near = np.empty((2, *out.shape), out.dtype) if scratch is None else scratch[:, : len(out)]
        self._spread(self.weighted[band, rows], low, out)
        if self.weight is not None:
            self._spread(self.weight[band, rows], low, near)
            with np.errstate(divide="ignore", invalid="ignore"):
                np.divide(out, near, out=out)
            nothing = near <= 0
            if nothing.any():
                out[nothing] = 0
        return out

    def _spread(self, columns: NDArray[np.floating], low: NDArray[np.floating], out: NDArray[np.floating]) -> None:
        """Interpolate between columns into ``out``; ``low`` is overwritten. Whole rows are faster than row by segment."""
        steps = columns[:, 1:] - columns[:, :-1]
        for start, end, left in self.segments:
            low[:, start:end] = columns[:, left, None]
            out[:, start:end] = steps[:, left, None]
        np.multiply(out, self.fraction, out=out)
        np.add(out, low, out=out)


def _positions(
    origin: float, step: float, start: int, count: int, first: float, block: float, blocks: int
) -> NDArray[np.float64]:
    """Positions of pixel centres between block centres, in blocks, held at the outermost centres."""
    centres = origin + (start + np.arange(count) + 0.5) * step
    return np.clip((centres - first) / block - 0.5, 0.0, blocks - 1.0)


def compute_surface(correction: LocalCorrection, grid: Grid, window: Window, dtype: type[np.floating]) -> Surface:
    """Bilinear surface of P - 1 over a window; missing blocks are left out and the weights renormalised.

    Computed from absolute pixel positions, so that a pixel's value does not depend on the window it is computed in.
    """
    blocks = correction.grid
    down = _positions(
        -grid.top, grid.pixel_height, window.row, window.height, -blocks.bounds.top, blocks.block_height, blocks.rows
    )
    across = _positions(
        grid.left, grid.pixel_width, window.col, window.width, blocks.bounds.left, blocks.block_width, blocks.cols
    )
    column = np.minimum(across.astype(np.intp), max(blocks.cols - 2, 0))
    row = np.minimum(down.astype(np.intp), max(blocks.rows - 2, 0))
    first, last = int(column[0]), int(column[-1]) + 1
    top, bottom = int(row[0]), int(row[-1]) + 1
    # Beyond the last block there is none; its weight there is 0, so repeating it changes nothing.
    used_rows = np.arange(top, bottom + 1).clip(max=blocks.rows - 1)
    used_cols = np.arange(first, last + 1).clip(max=blocks.cols - 1)
    used = _take_blocks(correction, used_rows[:, None], used_cols[None, :])
    t = (down - row)[None, :, None]
    row = row - top
    present = np.isfinite(used)
    departure = np.where(present, used - 1.0, 0.0)
    weighted = departure[:, row] * (1 - t) + departure[:, row + 1] * t
    weight = None if present.all() else (present[:, row] * (1 - t) + present[:, row + 1] * t).astype(dtype)
    breaks = np.flatnonzero(np.diff(column)) + 1
    starts, ends = [0, *breaks.tolist()], [*breaks.tolist(), window.width]
    segments = tuple((start, end, int(column[start]) - first) for start, end in zip(starts, ends, strict=True))
    return Surface(
        weighted=weighted.astype(dtype),
        weight=weight,
        segments=segments,
        fraction=(across - column).astype(dtype),
    )


def compute_departure(correction: LocalCorrection, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """P - 1 at scattered points, float64 (bands, n): the same surface as :func:`compute_surface`, point by point.

    Parameters
    ----------
    x, y
        CRS coordinates, (n,).
    """
    blocks = correction.grid
    across = np.clip((x - blocks.bounds.left) / blocks.block_width - 0.5, 0.0, blocks.cols - 1.0)
    down = np.clip((blocks.bounds.top - y) / blocks.block_height - 0.5, 0.0, blocks.rows - 1.0)
    col, row = across.astype(np.intp), down.astype(np.intp)
    right, below = np.minimum(col + 1, blocks.cols - 1), np.minimum(row + 1, blocks.rows - 1)
    tx, ty = across - col, down - row
    total = np.zeros((len(correction.parameter), len(x)))
    near = np.zeros_like(total)
    corners = (
        (row, col, (1 - ty) * (1 - tx)),
        (row, right, (1 - ty) * tx),
        (below, col, ty * (1 - tx)),
        (below, right, ty * tx),
    )
    for r, c, weight in corners:
        value = _take_blocks(correction, r, c)
        present = np.isfinite(value)
        total += np.where(present, value - 1.0, 0.0) * weight
        near += present * weight
    return np.divide(total, near, out=np.zeros_like(total), where=near > 0)


def apply_correction(
    values: NDArray[np.floating], departure: NDArray[np.floating], correction: LocalCorrection
) -> NDArray[np.floating]:
    """Apply the local correction of one band in place and return the array.

    The corrections are linear y = x P; gamma y = alpha x^P; offset y = alpha (x + c)^P - c. A power v^P is computed as
    v exp((P - 1) ln v), so that its error shrinks with the departure of P from 1: in float32, for v from 0.001 to 65,535, it
    stays below 4e-7 of v^P while P is within 0.1 of 1 (2.8e-7 measured) and below 2.5e-7 while it is within 0.01 (2.0e-7).
    Where a power is not defined, gamma leaves x <= 0 as it is, and offset takes the power of x + c <= 0 (which only estimated
    statistics make possible) as 0. Invalid pixels among the values change no other.

    Parameters
    ----------
    values
        Floating point, any shape, globally adjusted, source units; overwritten.
    departure
        P - 1, same shape and dtype; overwritten.
    correction
        Method, alpha and c.
    """
    kind = values.dtype.type
    if correction.method == "linear":
        np.add(departure, kind(1), out=departure)
        np.multiply(values, departure, out=values)
        return values
    if correction.c:
        np.add(values, kind(correction.c), out=values)
    undefined: NDArray[np.bool_] | None = None
    kept: NDArray[np.floating] | float = 0.0
    if not values.min(initial=np.inf) > 0:  # NaN too: an invalid pixel must not hide a valid one that is not positive
        undefined = values <= 0
        kept = values[undefined] if correction.method == "gamma" else 0.0
        values[undefined] = 1
    np.multiply(departure, np.log(values), out=departure)
    np.exp(departure, out=departure)
    np.multiply(values, departure, out=values)
    if correction.alpha != 1.0:
        np.multiply(values, kind(correction.alpha), out=values)
    if undefined is not None:
        values[undefined] = kept
    if correction.c:
        np.subtract(values, kind(correction.c), out=values)
    return values
