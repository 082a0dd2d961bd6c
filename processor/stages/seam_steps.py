"""Steps between neighbouring pixels, across seams and beside them: whether a seam is seen in the mosaic itself.

A residual of the overlaps says how far scenes are apart, not what the eye meets: texture, contrast and where the cut runs
decide too. The ratio of both steps needs neither scenes nor a model. It is 1 where the seam is as rough as the ground beside
it, more where it shows, less where it is blurred.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_REACH: Final = 12  # pairs of neighbours to either side; the nearest is left out, because resampling and blending reach it
_MOST: Final = 8192  # pairs across seams of a block in one direction; a straight seam has 512


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeamSteps:
    """Sums of the absolute difference of neighbours, in rows and in columns; both are valid pixels of the mosaic."""

    across_count: int
    """Pairs of neighbours that come from two scenes."""
    across: NDArray[np.float64]
    """Sum over those pairs of the absolute difference, float64 (bands,), units of the mosaic."""
    beside_count: int
    """Pairs of neighbours of one scene, 2 to 12 pixels beside such a pair in the same row or column; once for each."""
    beside: NDArray[np.float64]
    """Sum over those of the absolute difference, float64 (bands,), units of the mosaic."""

    def compute_excess(self) -> NDArray[np.float64]:
        """Mean step across / mean step beside, float64 (bands,), dimensionless; NaN where either is unknown, or none beside."""
        if not self.across_count or not self.beside_count:
            return np.full(len(self.across), np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            excess = (self.across / self.across_count) / (self.beside / self.beside_count)
        return np.where(self.beside > 0, excess, np.nan)


def find_seams(index: NDArray[np.unsignedinteger]) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
    """Where pixels of two scenes are neighbours.

    Parameters
    ----------
    index
        (height, width): the scene of each pixel, 0 where there is none.

    Returns
    -------
    Flat positions, ascending, of the upper one of neighbours in a column, and of the left one of neighbours in a row, intp (n,)
    each; None where there is neither.
    """
    if not index.size or index.min() == index.max():
        return None
    flat, width = index.reshape(-1), index.shape[1]
    found = []
    for stride in (width, 1):
        at = np.flatnonzero(flat[:-stride] != flat[stride:])
        found.append(at[(flat[at] > 0) & (flat[at + stride] > 0)])
    down, across = found
    across = across[across % width < width - 1]
    return (down, across) if down.size or across.size else None


def sum_seam_steps(
    values: NDArray[np.generic], index: NDArray[np.unsignedinteger], seams: tuple[NDArray[np.intp], NDArray[np.intp]]
) -> SeamSteps:
    """Sum the steps of a block of the mosaic; pairs that leave it do not count.

    Where a block is so speckled that more than 8,192 pairs in rows or in columns come from two scenes, evenly spread ones do.

    Parameters
    ----------
    values
        (bands, height, width), any real dtype; pixels without a scene may hold anything.
    index
        (height, width): the scene of each pixel, 0 where there is none.
    seams
        From :func:`find_seams`.

    Returns
    -------
    The sums, exact for integers of up to 32 bits, else as float64 rounds them.
    """
    found = [_sum_along(values, index, at[:: -(-at.size // _MOST)], axis) for axis, at in enumerate(seams) if at.size]
    return merge_seam_steps(found, len(values))


def _sum_along(values: NDArray[np.generic], index: NDArray[np.unsignedinteger], at: NDArray[np.intp], axis: int) -> SeamSteps:
    """Sums of the pairs that begin at flat positions ``at`` (n,), in columns (axis 0) or in rows (axis 1)."""
    width, extent = index.shape[1], index.shape[axis]
    stride = 1 if axis == 1 else width
    place = (at % width if axis == 1 else at // width) + np.arange(-_REACH, _REACH + 2)[:, None]
    inside = (place >= 0) & (place < extent)
    line = at + (np.clip(place, 0, extent - 1) - place[_REACH]) * stride
    scene = np.where(inside, index.reshape(-1)[line], 0)
    beside = (scene[:-1] == scene[1:]) & (scene[1:] > 0)
    beside[_REACH - 1 : _REACH + 2] = False
    kind = _choose_type(values.dtype)
    sums = np.zeros((2, len(values)))
    for band, plane in enumerate(values):
        pixels = np.ascontiguousarray(plane).reshape(-1)[line].astype(kind)
        steps = np.abs(pixels[1:] - pixels[:-1])
        sums[:, band] = steps[_REACH].sum(), steps.sum(where=beside)
    return SeamSteps(across_count=at.size, across=sums[0], beside_count=int(np.count_nonzero(beside)), beside=sums[1])


def _choose_type(dtype: np.dtype[Any]) -> type[np.number[Any]]:
    """The type in which differences are taken: exact for integers of up to 32 bits."""
    if dtype.kind in "iu" and dtype.itemsize <= 4:
        return np.int32 if dtype.itemsize <= 2 else np.int64
    return np.float64


def merge_seam_steps(parts: Iterable[SeamSteps], bands: int) -> SeamSteps:
    """Add up the sums of parts, in the order given."""
    across_count, beside_count = 0, 0
    across, beside = np.zeros(bands), np.zeros(bands)
    for part in parts:
        across_count += part.across_count
        beside_count += part.beside_count
        across = across + part.across
        beside = beside + part.beside
    return SeamSteps(across_count=across_count, across=across, beside_count=beside_count, beside=beside)
