"""Merging of stacks: each pixel from all scenes that have one there.

What a pixel becomes depends on the values there alone, in the order of the scenes' names, and on nothing beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from processor.model.options import Resolution
from processor.stages.merge.merge_rasters import apply_dtype
from processor.stages.merge.method import StackMethod
from processor.stages.merge.options import GeomedianOptions, MedianOptions

_SORTED_BYTES: Final = 1 << 19  # of one band's values that are sorted together: they stay in the second-level cache
_PLACED_VALUES: Final = 1 << 17  # float64 of all bands and scenes: ditto
_COINCIDENT: Final = 1e-6  # of the mean distance to the scenes: nearer is on one of them


def compute_medians(
    stack: NDArray[np.generic], valid: NDArray[np.bool_], nodata: float, *, out: NDArray[np.generic]
) -> NDArray[np.generic]:
    """Median over scenes of each pixel and band; of an even number of values the mean of the two in the middle.

    Where the output is integer a half is rounded to even, and what would equal nodata moves to its neighbour.

    Parameters
    ----------
    stack
        (scenes, bands, pixels), integer or floating point; valid values are finite, others anything.
    valid
        (scenes, pixels).
    nodata
        Of the output; what a pixel without a valid value becomes.
    out
        (bands, pixels) of the stack's dtype; receives the result and is returned.
    """
    step = max(64, _SORTED_BYTES // (stack.dtype.itemsize * max(1, len(stack))))
    for start in range(0, stack.shape[2], step):
        part = slice(start, start + step)
        count = np.count_nonzero(valid[:, part], axis=0)
        for band in range(stack.shape[1]):
            ordered = _sort(stack[:, band, part], valid[:, part])
            apply_dtype(_take_middle(ordered, count), stack.dtype.str, nodata, out=out[band, part])
        out[:, part][:, count == 0] = nodata
    return out


def compute_geomedians(
    stack: NDArray[np.generic],
    valid: NDArray[np.bool_],
    nodata: float,
    *,
    iterations: int,
    out: NDArray[np.generic],
) -> NDArray[np.generic]:
    """The point with the least sum of distances to the scenes' values, all bands at once, for each pixel.

    Weiszfeld's method in the form that leaves a point it falls on (Vardi & Zhang 2000, "The multivariate L1-median and
    associated data depth", PNAS 97), in float64, so many steps from the median of each band on. Of two scenes it is their
    mean. Rounding and nodata as in :func:`compute_medians`.

    Parameters
    ----------
    stack, valid, nodata, out
        As in :func:`compute_medians`.
    iterations
        Number of steps.
    """
    scenes, bands, pixels = stack.shape
    step = max(64, _PLACED_VALUES // max(1, scenes * bands))
    for start in range(0, pixels, step):
        part = slice(start, start + step)
        seen = valid[:, part]
        count = np.count_nonzero(seen, axis=0)
        values = np.where(seen[:, None], stack[:, :, part], stack.dtype.type(0)).astype(np.float64)
        point = np.empty(values.shape[1:], np.float64)
        for band in range(bands):
            point[band] = _take_middle(_sort(stack[:, band, part], seen), count)
        for _ in range(iterations):
            _approach(point, values, seen, count)
        apply_dtype(point, stack.dtype.str, nodata, out=out[:, part])
        out[:, part][:, count == 0] = nodata
    return out


def _approach(
    point: NDArray[np.float64], values: NDArray[np.float64], seen: NDArray[np.bool_], count: NDArray[np.intp]
) -> None:
    """One step of Weiszfeld's method, in place; sums go scene by scene and band by band."""
    distances = np.zeros(seen.shape)
    for number, scene in enumerate(values):
        for band, here in zip(scene, point, strict=True):
            distances[number] += (band - here) ** 2
    np.sqrt(distances, out=distances)
    distances[~seen] = 0
    total = np.zeros(seen.shape[1])
    for away in distances:
        total += away
    near = _COINCIDENT * total / np.maximum(count, 1)
    apart = seen & (distances > near)
    weights = np.divide(1.0, distances, out=np.zeros(distances.shape), where=apart)
    weight = np.zeros(seen.shape[1])
    pull = np.zeros(point.shape)
    for one, scene in zip(weights, values, strict=True):
        weight += one
        for band in range(len(point)):
            pull[band] += one * (scene[band] - point[band])
    strength = np.zeros(seen.shape[1])
    for band in pull:
        strength += band**2
    np.sqrt(strength, out=strength)
    held = count - np.count_nonzero(apart, axis=0)  # scenes that the point lies on: it leaves them where the others pull harder
    share = np.divide(held, strength, out=np.ones(len(strength)), where=strength > 0)
    move = np.divide(np.maximum(1.0 - share, 0.0), weight, out=np.zeros(len(weight)), where=weight > 0)
    point += move * pull


def _sort(values: NDArray[np.generic], valid: NDArray[np.bool_]) -> NDArray[Any]:
    """Sort over scenes, valid values first, (scenes, pixels); the rest is the largest number of the dtype."""
    kind = values.dtype
    last = np.inf if kind.kind == "f" else np.iinfo(kind.str).max
    ordered = np.where(valid, values, kind.type(last))
    lower = np.empty(ordered.shape[1], kind)
    for first, second in _list_comparisons(len(ordered)):
        np.minimum(ordered[first], ordered[second], out=lower)
        np.maximum(ordered[first], ordered[second], out=ordered[second])
        ordered[first] = lower
    return ordered


@lru_cache(maxsize=64)
def _list_comparisons(count: int) -> tuple[tuple[int, int], ...]:
    """Batcher's odd-even merge sort: which two of so many are put in order, one pair after another.

    Whole rows are compared at once, which is many times faster than sorting each pixel's few values.
    """
    return tuple(_iter_comparisons(count))


def _iter_comparisons(count: int) -> Iterator[tuple[int, int]]:
    """Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M."""
    top = 1 << max(0, (count - 1).bit_length() - 1)
    width = top
    while width and count > 1:
        part, reach, offset = top, width, 0
        while True:
            for first in range(count - reach):
                if first & width == offset:
                    yield first, first + reach
            if part == width:
                break
            reach, part, offset = part - width, part // 2, width
        width //= 2


def _take_middle(ordered: NDArray[Any], count: NDArray[np.intp]) -> NDArray[Any]:
    """The middle of the first so many values of each pixel; of two in the middle their mean, float64 (or the floating dtype).

    Where there is none, 0.
    """
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(ordered) - 1)
    is_even = count.size > 0 and count.min() == count.max()
    if is_even:
        first, second = ordered[low[0]], ordered[high[0]]
    else:
        columns = np.arange(ordered.shape[1])
        first, second = ordered[low, columns], ordered[high, columns]
    kind = ordered.dtype if ordered.dtype.kind == "f" else np.dtype(np.float64)
    half = kind.type(0.5)
    middle: NDArray[Any] = first.astype(kind) * half + second.astype(kind) * half
    np.copyto(middle, 0, where=count == 0)
    return middle


class Median(StackMethod[MedianOptions]):
    """The median of each band."""

    @property
    def resolution(self) -> Resolution:
        """As configured."""
        return self.options.resolution

    @property
    def has_overviews(self) -> bool:
        """As configured."""
        return self.options.build_overviews

    combine = staticmethod(compute_medians)


class Geomedian(StackMethod[GeomedianOptions]):
    """The geometric median of all bands."""

    @property
    def resolution(self) -> Resolution:
        """As configured."""
        return self.options.resolution

    @property
    def has_overviews(self) -> bool:
        """As configured."""
        return self.options.build_overviews

    def combine(
        self, stack: NDArray[np.generic], valid: NDArray[np.bool_], nodata: float, *, out: NDArray[np.generic]
    ) -> NDArray[np.generic]:
        """The geometric median."""
        return compute_geomedians(stack, valid, nodata, iterations=self.options.iterations, out=out)
