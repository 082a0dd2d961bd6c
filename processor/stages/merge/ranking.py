"""The order of the values of a stack, pixel by pixel, and the middle of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray


def sort_valid(values: NDArray[np.generic], valid: NDArray[np.bool_]) -> NDArray[Any]:
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


def take_middle(ordered: NDArray[Any], count: NDArray[np.intp]) -> NDArray[Any]:
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
