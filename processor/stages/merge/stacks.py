"""Merging of stacks: each pixel from all scenes that have one there.

What a pixel becomes depends on the values there alone, in the order of the scenes' names, and on nothing beside it; which of
them count, on its block of the mosaic (:mod:`processor.stages.merge.agreeing`).
"""

from __future__ import annotations

from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from processor.model.options import Resolution
from processor.stages.merge.agreeing import choose_observations, count_choosing_bytes
from processor.stages.merge.merge_rasters import apply_dtype
from processor.stages.merge.method import StackMethod
from processor.stages.merge.options import GeomedianOptions, MedianOptions, StackOptions
from processor.stages.merge.ranking import sort_valid, take_middle

StackOptionsT = TypeVar("StackOptionsT", bound=StackOptions)

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
            ordered = sort_valid(stack[:, band, part], valid[:, part])
            apply_dtype(take_middle(ordered, count), stack.dtype.str, nodata, out=out[band, part])
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
            point[band] = take_middle(sort_valid(stack[:, band, part], seen), count)
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


class DateStack(StackMethod[StackOptionsT]):
    """Makes a pixel of the observations that count."""

    @property
    def resolution(self) -> Resolution:
        """As configured."""
        return self.options.resolution

    @property
    def has_overviews(self) -> bool:
        """As configured."""
        return self.options.build_overviews

    def count_choosing_bytes(self, scenes: int, bands: int) -> int:
        """Of the comparison of the dates, where there is one."""
        return count_choosing_bytes(scenes, bands) if self.options.observations == "agreeing" else 0

    def choose(self, stack: NDArray[np.generic], valid: NDArray[np.bool_]) -> None:
        """:func:`processor.stages.merge.agreeing.choose_observations`, unless all count."""
        if self.options.observations == "agreeing":
            choose_observations(stack, valid, out=valid)


class Median(DateStack[MedianOptions]):
    """The median of each band."""

    combine = staticmethod(compute_medians)


class Geomedian(DateStack[GeomedianOptions]):
    """The geometric median of all bands."""

    def combine(
        self, stack: NDArray[np.generic], valid: NDArray[np.bool_], nodata: float, *, out: NDArray[np.generic]
    ) -> NDArray[np.generic]:
        """The geometric median."""
        return compute_geomedians(stack, valid, nodata, iterations=self.options.iterations, out=out)
