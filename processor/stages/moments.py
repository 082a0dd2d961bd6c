"""Sums over valid pixels: counts, means and spreads that can be computed in pieces and merged.

For integer pixels the sums of a piece are exact integers, so a piece's moments do not depend on the order of its pixels.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from processor.model import Moments

__all__ = ["compute_moments", "empty_moments", "merge_moments", "select_valid"]

_CHUNK = 32_768  # values a step: the scratch arrays stay in the second-level cache


def empty_moments(bands: int) -> Moments:
    """Moments of no pixel at all."""
    nothing = np.full(bands, np.nan)
    return Moments(
        count=0,
        mean=nothing,
        m2=np.zeros(bands),
        minimum=np.full(bands, np.inf),
        maximum=np.full(bands, -np.inf),
    )


def select_valid(values: NDArray[np.generic], valid: NDArray[np.bool_] | None) -> NDArray[np.generic]:
    """The valid pixels of an array.

    Parameters
    ----------
    values
        (bands, height, width), any real dtype.
    valid
        (height, width), True where valid; None: everywhere.

    Returns
    -------
    (bands, n), the same dtype, pixels in raster order.
    """
    if valid is None:
        return values.reshape(values.shape[0], -1)
    return np.ascontiguousarray(values[:, valid])


def compute_moments(pixels: NDArray[np.generic]) -> Moments:
    """Count, mean, sum of squared departures, minimum and maximum of each band.

    Parameters
    ----------
    pixels
        (bands, n), any real dtype, all valid and finite.

    Returns
    -------
    Moments in the units of the pixels. Integer types of up to 16 bits are summed exactly; others in float64, about the mean.
    """
    bands, count = pixels.shape
    if count == 0:
        return empty_moments(bands)
    exact = pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= 2
    sums = [(_exact_sums if exact else _float_sums)(np.ascontiguousarray(band)) for band in pixels]
    return Moments(
        count=count,
        mean=np.array([mean for mean, _ in sums]),
        m2=np.array([m2 for _, m2 in sums]),
        minimum=pixels.min(axis=1).astype(np.float64),
        maximum=pixels.max(axis=1).astype(np.float64),
    )


def _exact_sums(band: NDArray[np.generic]) -> tuple[float, float]:
    """Mean and sum of squared departures of an integer band of up to 16 bits, rounded once each."""
    wide = np.int64 if band.dtype.kind == "i" else np.uint64
    square = np.empty(min(_CHUNK, band.size), np.int32 if band.dtype.kind == "i" else np.uint32)
    total, squares = int(band.sum(dtype=wide)), 0
    for start in range(0, band.size, _CHUNK):
        piece = band[start : start + _CHUNK]
        out = square[: piece.size]
        np.copyto(out, piece)
        np.multiply(out, out, out=out)
        squares += int(out.sum(dtype=wide))
    count = band.size
    return total / count, (count * squares - total * total) / count


def _float_sums(band: NDArray[np.generic]) -> tuple[float, float]:
    """Mean and sum of squared departures of a band in float64, in two passes."""
    mean = float(band.sum(dtype=np.float64)) / band.size
    square = np.empty(min(_CHUNK, band.size), np.float64)
    m2 = 0.0
    for start in range(0, band.size, _CHUNK):
        piece = band[start : start + _CHUNK]
        out = square[: piece.size]
        np.subtract(piece, mean, out=out, dtype=np.float64)  # a python float would leave float32 pixels in float32
        np.multiply(out, out, out=out)
        m2 += float(out.sum())
    return mean, m2


def merge_moments(parts: Iterable[Moments]) -> Moments:
    """Moments of the union of disjoint regions, merged in the order given.

    Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances".

    Raises
    ------
    ValueError
        If there is no part at all.
    """
    merged: Moments | None = None
    for part in parts:
        merged = part if merged is None else _merge_two(merged, part)
    if merged is None:
        msg = "nothing to merge"
        raise ValueError(msg)
    return merged


def _merge_two(first: Moments, second: Moments) -> Moments:
    if second.count == 0:
        return first
    if first.count == 0:
        return second
    count = first.count + second.count
    delta = second.mean - first.mean
    return Moments(
        count=count,
        mean=first.mean + delta * (second.count / count),
        m2=first.m2 + second.m2 + delta * delta * (first.count * (second.count / count)),
        minimum=np.minimum(first.minimum, second.minimum),
        maximum=np.maximum(first.maximum, second.maximum),
    )
