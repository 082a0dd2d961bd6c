"""Which observations of a stack show the same ground: what clouds, shadows and change make of the others is left out.

In each block of 16 x 16 pixels of the mosaic the dates are compared with one another. Ground looks alike on all dates, after
matching, and a cloud like nothing else, mostly not even another cloud. The dates of the densest group are its core. Each
pixel of every date then counts if it lies near the median of the core there, however cloudy the rest of its block is. Blocks
hang on the mosaic's grid, and sums over their pixels are exact, so that nothing depends on the window, on which other scenes
are near it, or on the order of anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from processor.stages.merge.ranking import sort_valid, take_middle

EDGE: Final = 16
"""Pixels of the mosaic on the edge of a block."""

_PIXELS: Final = EDGE * EDGE
_TILE_BYTES: Final = 3 << 19  # of all dates' pixels of the blocks that are treated together
_SUMMED: Final = 1 << 18  # values in float64: those of the blocks that are summed together stay in the cache
_ASKED: Final = 64  # dates that a block's others are compared with, at most
_BITS: Final = 20  # of a value that is summed: the sum of 256 products has 48, and float64 holds 53
_LEAST_COMMON: Final = 0.3  # of a block's pixels that any date has, for two dates to be compared
_CONSTANT: Final = 1e-12  # of the mean square: a variance below is rounding
_FLOOR: Final = 0.01  # of what two dates lack to full concordance
_LEAST_DISTANCE: Final = 1e-4  # in units of the median: the same date twice, clouds and all, is no dense group
_LEAST_CORE: Final = 3  # dates that agree, for the others to be left out
_DENSE: Final = 6  # or one in so many, if those are more
_NEAR: Final = 256.0  # times the distance of the nearest two: who is no farther belongs to them, a factor of 16 in values
_ALIKE: Final = 0.5  # concordance with the centre: whoever has it belongs to them too
_CUT_OFF: Final = 6.0  # standard deviations from the core's median


def count_choosing_bytes(scenes: int, bands: int) -> int:
    """Bytes that :func:`choose_observations` holds beside its arguments."""
    block = 8 * bands * scenes * (3 * _PIXELS + 14 * min(scenes, _ASKED))
    return 6 * _TILE_BYTES + max(block, 24 * _SUMMED)


def choose_observations(stack: NDArray[np.generic], valid: NDArray[np.bool_], *, out: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Leave out the observations of a part of the mosaic that do not show what other dates agree on.

    Two dates are as far apart in a block as D (1 - c). D is their mean squared difference, in units of the block's median of
    it, summed over bands. The concordance c = 2 C / (V_1 + V_2 + (m_1 - m_2)²), mean over bands (Lin 1989, "A concordance
    correlation coefficient to evaluate reproducibility", Biometrics 45), is near 1 only where structure, contrast and level are
    equal, so that ground with structure is nearer to itself than cloud to cloud. The centre is the date with the least mean
    logarithm of its distances to the nearest two, or to the nearest sixth of the others if that is more: the date in the
    densest group, however few the group has. Its core are the dates that are no farther than 256 times its second nearest, or
    that have c of 0.5 with it. White without any structure is in no core, and fewer than three dates make none.

    An observation counts where it departs from the median of the core in no band by more than 6 s, s² half the median of the
    core's mean squared differences from the centre. Where none does, those of the core count; without a core, all.

    Of more than 64 dates in a block, 64 evenly spaced ones are possible centres.

    Parameters
    ----------
    stack
        (scenes, bands, height, width), integer or floating point, matched, scenes in name order; valid values are finite,
        others anything. The upper left pixel is the corner of a block.
    valid
        (scenes, height, width).
    out
        Of valid's shape; receives the observations that count, and is returned. It may be ``valid``.
    """
    scenes, bands, height, width = stack.shape
    if scenes < _LEAST_CORE:
        out[...] = valid
        return out
    step = EDGE * max(1, _TILE_BYTES // (scenes * (bands * stack.dtype.itemsize + 1) * _PIXELS))
    for row in range(0, height, EDGE):
        for col in range(0, width, step):
            rows, cols = slice(row, min(row + EDGE, height)), slice(col, min(col + step, width))
            seen = _split_blocks(valid[:, rows, cols])
            values = _split_blocks(stack[:, :, rows, cols])
            kept = _choose(values, seen)
            out[:, rows, cols] = _join_blocks(kept, rows.stop - row, cols.stop - col)
    return out


def _split_blocks(values: NDArray[Any]) -> NDArray[Any]:
    """Blocks of a row of them, (..., height, width) to (..., blocks, 256); what is outside is 0."""
    *others, height, width = values.shape
    blocks = -(-width // EDGE)
    if (height, width) != (EDGE, blocks * EDGE):
        whole = np.zeros((*others, EDGE, blocks * EDGE), values.dtype)
        whole[..., :height, :width] = values
        values = whole
    return values.reshape(*others, EDGE, blocks, EDGE).swapaxes(-3, -2).reshape(*others, blocks, _PIXELS)


def _join_blocks(values: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    scenes, blocks, _ = values.shape
    rows = values.reshape(scenes, blocks, EDGE, EDGE).swapaxes(1, 2).reshape(scenes, EDGE, blocks * EDGE)
    return np.asarray(rows[:, :height, :width])


def _choose(values: NDArray[np.generic], seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Observations that count, (scenes, blocks, 256), of values (scenes, bands, blocks, 256)."""
    scenes, bands, blocks, pixels = values.shape
    cores = _find_cores(values, seen)
    flat, valid = values.reshape(scenes, bands, -1), seen.reshape(scenes, -1)
    core = valid & np.repeat(cores.members, pixels, axis=1)
    count = np.count_nonzero(core, axis=0)
    kept = valid & (count > 0)
    kind = np.dtype(np.float32 if values.dtype.itemsize <= 2 or values.dtype == np.float32 else np.float64)
    reach = np.repeat((_CUT_OFF * cores.spread).astype(kind), pixels, axis=1)
    if values.dtype.kind in "iu":
        np.maximum(reach, 1, out=reach)  # what rounding makes of values that are equal
    for band in range(bands):
        centre = take_middle(sort_valid(flat[:, band], core), count).astype(kind)
        with np.errstate(invalid="ignore", over="ignore"):  # of what is not valid
            departure = np.abs(flat[:, band].astype(kind) - centre)
            kept &= departure <= reach[band]
    none = ~kept.any(axis=0)
    if none.any():
        kept[:, none] = np.where(count[none] > 0, core[:, none], valid[:, none])
    return np.asarray(kept.reshape(scenes, blocks, pixels), dtype=np.bool_)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Cores:
    """The dates that agree in each block."""

    members: NDArray[np.bool_]
    """(scenes, blocks)."""
    spread: NDArray[np.float64]
    """Standard deviation of an observation, (bands, blocks), source units; infinite where nothing tells it."""


def _find_cores(values: NDArray[np.generic], seen: NDArray[np.bool_]) -> _Cores:
    scenes, bands, blocks, _ = values.shape
    members, spread = np.empty((scenes, blocks), np.bool_), np.empty((bands, blocks))
    step = 1 if scenes > _ASKED else max(1, _SUMMED // (scenes * bands * _PIXELS))
    for start in range(0, blocks, step):
        part = slice(start, min(start + step, blocks))
        asked, compared = _compare(values[:, :, part], seen[:, part])
        chosen, variance = _choose_cores(asked, compared)
        members[:, part], spread[:, part] = chosen.T, np.sqrt(variance).T
    return _Cores(members=members, spread=spread)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Compared:
    """How far dates agree with those that are asked, block by block."""

    concordance: NDArray[np.float64]
    """Mean over bands, (blocks, asked, scenes); 0 of a date with itself, where two have too little in common, and where one is
    constant in all bands, as white is.
    """
    square: NDArray[np.float64]
    """Mean squared difference, (bands, blocks, asked, scenes), squared source units; infinite in those places."""


def _compare(values: NDArray[np.generic], seen: NDArray[np.bool_]) -> tuple[NDArray[np.intp], _Compared]:
    """Compare dates, (scenes, bands, blocks, 256), with those that are asked, which are returned by number."""
    scenes = len(values)
    mask = seen.transpose(1, 0, 2).astype(np.float64)  # (blocks, scenes, 256)
    present = mask.sum(axis=2)
    least = _LEAST_COMMON * mask.max(axis=1).sum(axis=1)
    asked = np.arange(scenes)
    if scenes > _ASKED:  # one block at a time
        asked = np.flatnonzero(present[0] >= max(least[0], 1.0))
        if len(asked) > _ASKED:
            asked = asked[np.arange(_ASKED) * len(asked) // _ASKED]
    is_whole = bool(seen.all())
    common = mask[:, asked] @ mask.swapaxes(1, 2)
    number = np.maximum(common, 1.0)
    concordance, squares, constant = np.zeros(common.shape), [], np.ones(present.shape, np.bool_)
    for band in range(values.shape[1]):
        pixels, unit = _make_exact(values[:, band].swapaxes(0, 1), seen.swapaxes(0, 1))
        power = pixels * pixels
        product = pixels[:, asked] @ pixels.swapaxes(1, 2) / number
        sums, powers = (one.sum(axis=2) / np.maximum(present, 1.0) for one in (pixels, power))
        constant &= powers - sums * sums <= _CONSTANT * powers
        if is_whole:
            mean, other_mean = sums[:, asked, None], sums[:, None, :]
            square, other_square = powers[:, asked, None], powers[:, None, :]
        else:
            mean, square = (one[:, asked] @ mask.swapaxes(1, 2) / number for one in (pixels, power))
            other_mean, other_square = (mask[:, asked] @ one.swapaxes(1, 2) / number for one in (pixels, power))
        difference = np.maximum(square + other_square - 2.0 * product, 0.0)
        covariance = product - mean * other_mean
        both = difference + 2.0 * covariance  # V_1 + V_2 + (m_1 - m_2)²
        concordance += np.divide(2.0 * covariance, both, out=np.zeros_like(both), where=both > 0)
        with np.errstate(over="ignore", invalid="ignore"):  # of values whose squares no number has
            squares.append(difference * (unit * unit)[:, None, None])
    apart = (common < np.maximum(least, 1.0)[:, None, None]) | constant[:, asked, None] | constant[:, None, :]
    apart[:, np.arange(len(asked)), asked] = True
    apart |= ~np.isfinite(squares).all(axis=0)
    return asked, _Compared(
        concordance=np.where(apart, 0.0, concordance / values.shape[1]), square=np.where(apart, np.inf, np.stack(squares))
    )


def _make_exact(values: NDArray[np.generic], seen: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Whole numbers in a unit for each block, whose products sum exactly in any order; 0 where nothing is valid."""
    pixels = np.where(seen, values, values.dtype.type(0)).astype(np.float64)
    unit = np.ones(len(pixels))
    if values.dtype.kind == "f" or values.dtype.itemsize > 2:
        exponent = np.frexp(np.abs(pixels).max(axis=(1, 2)))[1]
        unit = np.ldexp(1.0, exponent - _BITS)
        pixels = np.rint(np.ldexp(pixels, (_BITS - exponent)[:, None, None]))
    return pixels, unit


def _choose_cores(asked: NDArray[np.intp], compared: _Compared) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """The core of each block, (blocks, scenes), and the variance of an observation, (blocks, bands)."""
    blocks, _, scenes = compared.concordance.shape
    chosen, variance = np.zeros((blocks, scenes), np.bool_), np.full((blocks, len(compared.square)), np.inf)
    if not len(asked):
        return chosen, variance
    total = np.zeros(compared.concordance.shape)
    for square in compared.square:
        unit = _find_median(square.reshape(blocks, -1))
        total += square / np.where(np.isfinite(unit) & (unit > 0), unit, 1.0)[:, None, None]
    total *= np.maximum(1.0 - compared.concordance, _FLOOR)
    ordered = np.sort(total, axis=2)
    others = np.isfinite(total).sum(axis=2).max(axis=1)
    number = np.maximum(_LEAST_CORE - 1, (others + 1) // _DENSE).clip(max=scenes)
    away = np.take_along_axis(np.cumsum(_compute_logarithms(ordered), axis=2), number[:, None, None] - 1, axis=2)[:, :, 0]
    every, centre = np.arange(blocks), away.argmin(axis=1)
    distance, concordance = total[every, centre], compared.concordance[every, centre]
    reach = _NEAR * ordered[every, centre, _LEAST_CORE - 2]
    found = np.flatnonzero(np.isfinite(away[every, centre]))
    chosen[found] = (((distance <= reach[:, None]) | (concordance >= _ALIKE)) & np.isfinite(distance))[found]
    for band, square in enumerate(compared.square):
        variance[found, band] = _find_median(np.where(chosen[found], square[found, centre[found]], np.inf)) / 2.0
    chosen[found, asked[centre[found]]] = True
    return chosen, variance


def _compute_logarithms(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms to base 2, but between powers of 2 along lines: exact, and the same on every machine."""
    mantissa, exponent = np.frexp(np.maximum(values, _LEAST_DISTANCE))
    return np.asarray(exponent + 2.0 * mantissa)


def _find_median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median of what is finite in each row, (n,); infinite where nothing is."""
    ordered, count = np.sort(values, axis=1), np.isfinite(values).sum(axis=1)
    every = np.arange(len(values))
    last = values.shape[1] - 1
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, last)
    return np.asarray(0.5 * ordered[every, low] + 0.5 * ordered[every, high])
