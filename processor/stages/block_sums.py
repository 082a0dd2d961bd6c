"""Sums of raw pixels by block: what the local methods are solved from, in the same read as the scene statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processor.model import BlockGrid, Grid, Window
from processor.stages.statistics import zero_invalid


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockSums:
    """Area-weighted sums of raw pixels in the blocks that a window touches."""

    row: int
    """Row of the upper left of those blocks in the block grid."""
    col: int
    """Column of the upper left of those blocks in the block grid."""
    area: NDArray[np.float64]
    """float64 (rows, cols), valid pixels in each block, fractions of pixels counted."""
    total: NDArray[np.float64]
    """float64 (bands, rows, cols), sum of the pixels, source units."""


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
