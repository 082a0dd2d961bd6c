"""Sums over valid pixels: counts, means and spreads that can be computed in pieces and merged.

For integer pixels the sums of a piece are exact integers, so a piece's moments do not depend on the order of its pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from processor.model import Histogram, Moments

_CHUNK = 65_536  # values a step: scratch arrays stay in the second-level cache, and so many of 16 bits sum to less than 2**32
_BUCKETS: Final = 64
_MOST_SHOWN: Final = 1 << 18  # pixels that a histogram is made from: what more would change nobody sees
_FLOAT_CHUNK = 32_768  # values a step, which decides how float64 sums round: not to be changed


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


def zero_invalid(values: NDArray[np.generic], valid: NDArray[np.bool_]) -> NDArray[np.generic]:
    """A copy of an array, 0 where it is invalid.

    Parameters
    ----------
    values
        (bands, height, width) or (height, width), any real dtype; invalid pixels may hold anything.
    valid
        (height, width), True where valid.
    """
    if values.dtype.kind == "f":
        return np.where(valid, values, values.dtype.type(0))
    return np.asarray(np.bitwise_and(values, _spread(valid, values.dtype)))


def _spread(valid: NDArray[np.bool_], dtype: np.dtype[Any]) -> NDArray[Any]:
    """All bits set where valid and none where not, in an integer dtype: a mask that costs an eighth of choosing."""
    kind = np.dtype(f"i{dtype.itemsize}").type
    return np.negative(valid.view(np.int8), dtype=kind).view(dtype)


def compute_valid_moments(values: NDArray[np.generic], valid: NDArray[np.bool_] | None) -> Moments:
    """Count, mean, sum of squared departures, minimum and maximum of the valid pixels of each band.

    Parameters
    ----------
    values
        (bands, height, width), any real dtype; valid pixels are finite.
    valid
        (height, width), True where valid; None: everywhere.

    Returns
    -------
    Moments in the units of the pixels. Integer types of up to 16 bits are summed exactly; others in float64, about the mean.
    """
    bands, height, width = values.shape
    count = height * width if valid is None else int(np.count_nonzero(valid))
    if count == 0:
        return empty_moments(bands)
    if count == height * width:
        valid = None
    compute = _exact_sums if values.dtype.kind in "iu" and values.dtype.itemsize <= 2 else _float_sums
    sums = [compute(band, valid, count) for band in values]
    mean, m2, minimum, maximum = np.array(sums).T
    return Moments(count=count, mean=mean, m2=m2, minimum=minimum, maximum=maximum)


def _exact_sums(band: NDArray[np.generic], valid: NDArray[np.bool_] | None, count: int) -> tuple[float, float, float, float]:
    """Mean, sum of squared departures, minimum and maximum of an integer band (height, width) of up to 16 bits.

    Mean and sum are rounded once each.
    """
    wide, square = (np.int64, np.int32) if band.dtype.kind == "i" else (np.uint64, np.uint32)
    limits = np.iinfo(band.dtype.str)
    total, squares, low, high = 0, 0, limits.max, limits.min
    scratch = np.empty(min(_CHUNK, band.size), square)
    for piece, inside in _cut_pieces(band, valid):
        low, high = _widen(piece, inside, low, high)
        out = scratch[: piece.size].reshape(piece.shape)
        np.copyto(out, piece if inside is None else zero_invalid(piece, inside))
        total += int(out.sum(dtype=square))
        np.multiply(out, out, out=out)
        squares += int(out.sum(dtype=wide))
    return total / count, (count * squares - total * total) / count, float(low), float(high)


def _cut_pieces(
    band: NDArray[np.generic], valid: NDArray[np.bool_] | None
) -> Iterator[tuple[NDArray[np.generic], NDArray[np.bool_] | None]]:
    """Pieces (rows, columns) of at most 65,536 pixels with their masks, None where all are valid; none without a valid one."""
    height, width = band.shape
    rows, cols = max(1, _CHUNK // width), min(width, _CHUNK)
    for row in range(0, height, rows):
        for col in range(0, width, cols):
            place = slice(row, row + rows), slice(col, col + cols)
            inside = None if valid is None else valid[place]
            if inside is None or inside.all():
                yield band[place], None
            elif inside.any():
                yield band[place], inside


def _widen(piece: NDArray[np.generic], inside: NDArray[np.bool_] | None, low: int, high: int) -> tuple[int, int]:
    """The smallest and largest of two bounds and the valid pixels of an integer array."""
    if inside is None:
        return min(low, int(piece.min())), max(high, int(piece.max()))
    # Seen as unsigned and counted from the dtype's least number, an invalid pixel of all bits or of none decides nothing.
    unsigned = np.dtype(f"u{piece.dtype.itemsize}")
    least = int(np.iinfo(piece.dtype.str).min)
    shifted = np.bitwise_xor(piece.view(unsigned), unsigned.type(-least))
    mask = _spread(inside, unsigned)
    return (
        min(low, int(np.bitwise_or(shifted, np.invert(mask)).min()) + least),
        max(high, int(np.bitwise_and(shifted, mask).max()) + least),
    )


def _float_sums(band: NDArray[np.generic], valid: NDArray[np.bool_] | None, count: int) -> tuple[float, float, float, float]:
    """Mean, sum of squared departures, minimum and maximum of a band (height, width), in float64, in two passes."""
    chosen = np.ascontiguousarray(band).reshape(-1) if valid is None else band[valid]
    mean = float(chosen.sum(dtype=np.float64)) / count
    square = np.empty(min(_FLOAT_CHUNK, count), np.float64)
    m2 = 0.0
    for start in range(0, count, _FLOAT_CHUNK):
        piece = chosen[start : start + _FLOAT_CHUNK]
        out = square[: piece.size]
        np.copyto(out, piece)
        np.subtract(out, mean, out=out)
        np.multiply(out, out, out=out)
        m2 += float(out.sum())
    return mean, m2, float(chosen.min()), float(chosen.max())


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
        if merged is None or merged.count == 0:
            merged = part
        elif part.count:
            count = merged.count + part.count
            delta = part.mean - merged.mean
            merged = Moments(
                count=count,
                mean=merged.mean + delta * (part.count / count),
                m2=merged.m2 + part.m2 + delta * delta * (merged.count * (part.count / count)),
                minimum=np.minimum(merged.minimum, part.minimum),
                maximum=np.maximum(merged.maximum, part.maximum),
            )
    if merged is None:
        msg = "nothing to merge"
        raise ValueError(msg)
    return merged


def compute_histograms(values: NDArray[np.generic], valid: NDArray[np.bool_]) -> tuple[Histogram | None, ...]:
    """How the values of each band of a picture are spread: 64 equal buckets from the smallest to the largest, and percentiles.

    Parameters
    ----------
    values
        (bands, height, width), any real dtype; every nth row and column counts, so that at most some 260,000 pixels do.
    valid
        (height, width), True where a pixel is valid; values that are not finite count for nothing.

    Returns
    -------
    One a band, None where it has no such pixel.
    """
    step = max(1, math.ceil(math.sqrt(valid.size / _MOST_SHOWN)))
    return tuple(_compute_histogram(band[::step, ::step][valid[::step, ::step]]) for band in values)


def _compute_histogram(values: NDArray[np.generic]) -> Histogram | None:
    known = values[np.isfinite(values)].astype(np.float64)
    if not known.size:
        return None
    least, most = float(known.min()), float(known.max())
    counts, _ = np.histogram(known, bins=_BUCKETS, range=(least, most))
    low, high = np.percentile(known, (2, 98)).tolist()
    return Histogram(minimum=least, maximum=most, buckets=tuple(counts.tolist()), low=low, high=high)
