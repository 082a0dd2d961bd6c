"""Stage 6, merge rasters: corrected pixels to the mosaic's dtype, and scenes into one array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from processor.model.dtypes import is_representable
from processor.model.options import Resolution
from processor.stages.merge.method import LayerMethod
from processor.stages.merge.options import MergeRastersOptions


def choose_nodata(preferred: float | None, dtype: str) -> float:
    """Nodata value of an output: the preferred one if the dtype has it, else NaN, the least signed integer, or 0."""
    if preferred is not None and is_representable(preferred, dtype):
        return float(preferred)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return float("nan")
    return float(np.iinfo(kind).min)


def apply_dtype(values: NDArray[np.generic], dtype: str, nodata: float, *, out: NDArray[np.generic]) -> NDArray[np.generic]:
    """Round half to even, clip to the dtype's range, and move a value off nodata to its nearest neighbour in the dtype.

    A clipped value never wraps, and a valid pixel never becomes nodata. Where the output is integer, a value that would equal
    nodata moves towards the unrounded value, or up where they are equal; where it is floating point, to the next number up. At
    the dtype's ends it moves inwards.

    Parameters
    ----------
    values
        Pixels, any shape, real; valid ones are finite. What NaN becomes where the output is integer is not defined.
    dtype, nodata
        Of the output; nodata is representable in dtype.
    out
        Receives the result, same shape; returned.
    """
    target = np.dtype(dtype)
    if target.kind == "f":
        np.copyto(out, values, casting="unsafe")
        if values.dtype.kind == "f":  # a power may have overflowed, and infinity would be read as no pixel
            bound = target.type(min(float(np.finfo(values.dtype.str).max), float(np.finfo(target).max)))
            np.clip(out, -bound, bound, out=out)
        if not np.isnan(nodata):
            inward = -np.inf if nodata >= float(np.finfo(target).max) else np.inf
            np.copyto(out, np.nextafter(target.type(nodata), target.type(inward)), where=out == target.type(nodata))
        return out
    limits = np.iinfo(target)
    if values.dtype.kind != "f":
        own = np.iinfo(values.dtype.str)
        low, high = max(limits.min, own.min), min(limits.max, own.max)  # python integers: exact for every pair of dtypes
        np.copyto(out, values if values.dtype == target else np.clip(values, low, high), casting="unsafe")
        hit = out == target.type(nodata)
        if hit.any():
            out[hit] = _neighbour(int(nodata), limits, up=True)
        return out
    rounded = np.rint(values)
    highest = np.asarray(limits.max, values.dtype)
    if float(highest) > limits.max:  # float32 has no 2**31 - 1: clip to the largest number below
        highest = np.nextafter(highest, values.dtype.type(0))
    np.clip(rounded, values.dtype.type(limits.min), highest, out=rounded)
    np.copyto(out, rounded, casting="unsafe")
    hit = out == target.type(nodata)
    if hit.any():
        up = values[hit] >= values.dtype.type(nodata)
        out[hit] = np.where(up, _neighbour(int(nodata), limits, up=True), _neighbour(int(nodata), limits, up=False))
    return out


def _neighbour(nodata: int, limits: np.iinfo[np.signedinteger], *, up: bool) -> int:
    """The integer beside nodata, within the dtype."""
    if nodata == limits.max:
        return nodata - 1
    if nodata == limits.min or up:
        return nodata + 1
    return nodata - 1


def merge_layer(
    mosaic: NDArray[np.generic],
    index: NDArray[np.generic],
    layer: NDArray[np.generic],
    take: NDArray[np.bool_],
    number: int,
) -> None:
    """Lay the pixels of one scene over a mosaic, in place.

    Parameters
    ----------
    mosaic, index
        (bands, height, width) and (height, width); both are written where ``take`` holds.
    layer
        (bands, height, width), the scene's pixels in the mosaic's dtype.
    take
        (height, width), True where the scene's pixel goes into the mosaic.
    number
        The scene's number in the index.
    """
    if take.all():
        mosaic[...] = layer
        index[...] = number
        return
    np.copyto(mosaic, layer, where=take)
    np.copyto(index, index.dtype.type(number), where=take)


class MergeRasters(LayerMethod[MergeRastersOptions]):
    """Lays the scenes over one another."""

    @property
    def resolution(self) -> Resolution:
        """As configured."""
        return self.options.resolution

    @property
    def has_overviews(self) -> bool:
        """As configured."""
        return self.options.build_overviews

    @property
    def blend(self) -> float:
        """As configured."""
        return self.options.blend

    lay = staticmethod(merge_layer)
