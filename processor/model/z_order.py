"""The Z-order (Morton) curve: what lies near one another in a raster comes near one another in time."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from processor.model.grid import Window

_STEPS = (
    (16, 0x0000FFFF0000FFFF),
    (8, 0x00FF00FF00FF00FF),
    (4, 0x0F0F0F0F0F0F0F0F),
    (2, 0x3333333333333333),
    (1, 0x5555555555555555),
)


def iter_z_order(height: int, width: int, edge: int) -> Iterator[Window]:
    """Windows of ``edge`` pixels that tile a raster, clipped to it, along a Z-order curve."""
    rows, cols = math.ceil(height / edge), math.ceil(width / edge)

    def visit(row: int, col: int, size: int) -> Iterator[Window]:
        if row >= rows or col >= cols:
            return
        if size == 1:
            top, left = row * edge, col * edge
            yield Window(row=top, col=left, height=min(edge, height - top), width=min(edge, width - left))
            return
        half = size // 2
        for down, across in ((0, 0), (0, half), (half, 0), (half, half)):
            yield from visit(row + down, col + across, half)

    return visit(0, 0, 1 << (max(rows, cols) - 1).bit_length())


def spread_bits(numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Put a zero between any two of the 32 bits of each number."""
    spread = numbers.astype(np.uint64)
    for step, mask in _STEPS:
        spread = (spread | spread << np.uint64(step)) & np.uint64(mask)
    return spread


def gather_bits(codes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Undo :func:`spread_bits`, whatever stands in the bits between."""
    gathered = codes & np.uint64(_STEPS[-1][1])
    masks = (*(mask for _, mask in _STEPS[-2::-1]), 0x00000000FFFFFFFF)
    for (step, _), mask in zip(_STEPS[::-1], masks, strict=True):
        gathered = (gathered | gathered >> np.uint64(step)) & np.uint64(mask)
    return gathered.astype(np.int64)
