"""Moments of a scene's blocks against a reference: blocks are whole pixels of the reference, wherever these lie.

A reference is never resampled where its pixels are coarser than the scene's: a scene's pixel belongs to the reference's pixel
that holds its centre, so that both are means over the same ground. Interpolated between its pixels, a reference would be
blurred and the scenes not, and everything fitted to it would have too little contrast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from processor.model import Grid, Window
from processor.stages.matching.matched_blocks import MatchedBlocks, list_positions

STRIP: Final = 524_288
"""Pixels of a scene whose places are held at a time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReferencePixels:
    """A window of a reference."""

    values: NDArray[np.generic]
    """(bands, height, width), any real dtype, its own units; invalid ones may hold anything."""
    valid: NDArray[np.bool_] | None
    """(height, width), True where valid; None: everywhere."""
    window: Window
    """Of the reference's grid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSize:
    """How large the blocks of a scene against a reference are."""

    pixels: int
    """Pixels of the reference on the edge of a block."""
    edge: float
    """Edge of a block, pixels of the canvas."""
    whole: float
    """Measured pixels of the scene in a whole block."""


def compute_reference_blocks(
    names: tuple[str, str],
    values: NDArray[np.generic],
    valid: NDArray[np.bool_] | None,
    places: tuple[NDArray[np.intp], NDArray[np.intp]],
    reference: ReferencePixels,
    size: BlockSize,
    positions: tuple[Grid, Window, Grid],
) -> MatchedBlocks:
    """Sum a window of a scene, block by block of a reference.

    Parameters
    ----------
    names
        Of the scene and of the reference.
    values, valid
        Pixels of the scene, (bands, height, width), any real dtype, and (height, width), True where valid; None: everywhere.
    places
        Row and column of the reference's pixel that holds each pixel, (height, width) or what broadcasts to it, on the
        reference's grid.
    reference
        Its pixels; scene's pixels that lie in none of them do not count.
    size
        Of the blocks.
    positions
        Grid of the scene's pixels, their window of it, and the canvas.
    """
    bands, height, width = values.shape
    window = reference.window
    rows, cols = (np.broadcast_to(place, (height, width)) for place in places)
    inside = (rows >= window.row) & (rows < window.row_end) & (cols >= window.col) & (cols < window.col_end)
    if valid is not None:
        inside &= valid
    index = ((rows - window.row) * window.width + (cols - window.col))[inside]
    if reference.valid is not None:
        kept = reference.valid.ravel()[index]
        inside[inside] = kept
        index = index[kept]
    number = window.height * window.width
    across, down = list_positions(*positions)
    count = np.bincount(index, minlength=number)
    x = np.bincount(index, np.broadcast_to(across, inside.shape)[inside], minlength=number)
    y = np.bincount(index, np.broadcast_to(down[:, None], inside.shape)[inside], minlength=number)
    held = np.flatnonzero(count)
    count, x, y = count[held], x[held], y[held]
    known = reference.values.reshape(bands, -1)[:, held].astype(np.float64)
    sums = np.empty((5, bands, len(held)))
    for band in range(bands):
        level = values[band][inside].astype(np.float64)
        sums[0, band] = np.bincount(index, level, minlength=number)[held]
        sums[2, band] = np.bincount(index, level * level, minlength=number)[held]
    sums[1], sums[3], sums[4] = count * known, count * known * known, sums[0] * known
    row, col = (window.row + held // window.width) // size.pixels, (window.col + held % window.width) // size.pixels
    return MatchedBlocks(
        first=names[0],
        second=names[1],
        edge=size.edge,
        whole=size.whole,
        row=row.astype(np.int32),
        col=col.astype(np.int32),
        count=count.astype(np.int64),
        x=np.asarray(x, dtype=np.float64),
        y=np.asarray(y, dtype=np.float64),
        sums=sums,
    )
