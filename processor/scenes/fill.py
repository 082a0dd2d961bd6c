"""Fill that no file declares: collars of one extreme value, and what lossy compression makes of a declared one.

Scenes are looked at in few places: corners and the middle where nothing marks invalid pixels, and a row of blocks across the
middle where a lossy file has nodata. What is certain is taken as nodata; all is said, with the value that would do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from processor.geotiff.open import OpenedScene, unit_shape
from processor.geotiff.reader import RasterReader
from processor.model import Finding, Scene, Source, Window

_EDGE: Final = 256  # pixels a side of what is looked at in a corner
_LEAST: Final = 64  # pixels of a collar
_PATCH: Final = 4  # pixels a side of a corner that has to be fill
_SENTINELS: Final = frozenset({-9999.0, -99999.0, -999.0, -32768.0, -32767.0, 9999.0, 99999.0, -1e10, 1e10})
_HUGE: Final = 1e19  # no measured value
_TURNS: Final = ((1, 1), (1, -1), (-1, 1), (-1, -1))  # of the corners, so that the outermost pixel comes first
_REACH: Final = 16  # pixels that lossy compression smears an edge: a block of colour
_NEAR: Final = (32, 16, 8, 4, 2)  # levels of 8 bits by which it may depart from nodata, the first that fits
_DARK: Final = 0.05  # share of the pixels beside nodata that are nearly nodata
_RARE: Final = 1e-4  # share of such pixels elsewhere


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Fill of a scene."""

    value: float
    """Of all bands."""
    low: float
    """Smallest value that has to be given as nodata."""
    high: float
    """Largest value that has to be given as nodata."""
    is_certain: bool
    """Whether it cannot be data."""

    @property
    def remedy(self) -> str:
        """What is to be typed."""
        return f"{self.value:g}" if self.low == self.high else f"{self.low:g}..{self.high:g}"


def mark_fill(opened: OpenedScene, reader: RasterReader) -> OpenedScene:
    """The same scene, with fill that cannot be data taken as nodata, and findings of all fill; itself where there is none.

    Raises
    ------
    InputError, StorageError
        A raster cannot be read.
    """
    rasters, told = [], []
    for raster in opened.rasters:
        found = find_fill(raster, reader) if raster.source.validity == "all" else None
        collar = _find_collar(raster, reader) if raster.source.is_lossy and raster.source.validity == "nodata" else None
        rasters.append(raster if found is None or not found.is_certain else replace(raster, source=_declare(raster, found)))
        told += [] if found is None else [_describe_fill(raster, found)]
        told += [] if collar is None else [_describe_collar(raster, collar)]
    if not told:
        return opened
    known = {finding.scene for finding in told if finding.code == "undeclared-fill"}
    kept = (finding for finding in opened.findings if finding.code != "no-nodata" or finding.scene not in known)
    return replace(opened, rasters=tuple(rasters), findings=(*kept, *told))


def _describe_fill(raster: Scene, found: _Found) -> Finding:
    taken = "it is taken as nodata" if found.is_certain else "every pixel is taken as valid"
    message = (
        f"scene {raster.name} has neither a nodata value nor a mask, and a border of {found.value:g} in all bands: {taken}; if "
        f"it is nodata, say so with --inputs.nodata {found.remedy}"
    )
    severity: Literal["info", "warning"] = "info" if found.is_certain else "warning"
    return Finding(severity=severity, code="undeclared-fill", message=message, scene=raster.name.partition("/")[0])


def _describe_collar(raster: Scene, collar: _Found) -> Finding:
    message = (
        f"scene {raster.name} is stored with losses: pixels beside nodata are nearly nodata, and count as dark ground; give "
        f"them as nodata too, with --inputs.nodata {collar.remedy}"
    )
    return Finding(severity="warning", code="lossy-collar", message=message, scene=raster.name.partition("/")[0])


def _declare(raster: Scene, found: _Found) -> Source:
    ranges = () if found.low == found.high else ((found.low, found.high),)
    return replace(raster.source, validity="nodata", nodata=found.value, fills=ranges)


def find_fill(raster: Scene, reader: RasterReader) -> _Found | None:
    """One constant that a corner is filled with and that is no value of the rest, or None."""
    pieces = [reader.read(raster, window).values for window in _iter_corners(raster)]
    turned = [piece[:, ::down, ::across] for piece, (down, across) in zip(pieces, _TURNS, strict=True)]
    values = {float(piece[0, 0, 0]) for piece in turned if _is_filled(piece)}
    if values:
        pieces.append(reader.read(raster, _find_middle(raster)).values)
    for value in sorted(values, key=lambda value: (-abs(value), value)):
        filled = [np.isclose(piece, value, rtol=1e-6, atol=0).all(axis=0) for piece in pieces]
        if sum(int(np.count_nonzero(mask)) for mask in filled) < _LEAST:
            continue
        rest = np.concatenate([piece[:, ~mask].reshape(-1) for piece, mask in zip(pieces, filled, strict=True)])
        found = _judge(value, rest.astype(np.float64), raster)
        if found is not None:
            return found
    return None


def _is_filled(corner: NDArray[np.generic]) -> bool:
    """Whether the outermost pixels are one finite value in all bands."""
    patch = corner[:, :_PATCH, :_PATCH]
    return bool(np.isfinite(patch[0, 0, 0]) and (patch == patch[0, 0, 0]).all())


def _judge(value: float, rest: NDArray[np.float64], raster: Scene) -> _Found | None:
    """Whether a constant is fill, given the other pixels."""
    if abs(value) >= _HUGE:
        low, high = (-math.inf, -_HUGE) if value < 0 else (_HUGE, math.inf)
        return _Found(value=value, low=low, high=high, is_certain=True)
    rest = rest[np.isfinite(rest) & (np.abs(rest) < _HUGE)]
    if not len(rest):
        return None
    least, most = float(rest.min()), float(rest.max())
    is_beyond = value < least - (most - least) or value > most + (most - least)
    is_end = np.dtype(raster.dtype).kind != "f" and value in _list_ends(raster.dtype)
    if is_end and raster.source.is_lossy:
        return _widen(value, np.abs(rest - value))
    if not is_end and not is_beyond:
        return None
    return _Found(value=value, low=value, high=value, is_certain=is_beyond and value in _SENTINELS)


def _list_ends(dtype: str) -> tuple[float, ...]:
    """0 and the ends of an integer dtype."""
    limits = np.iinfo(dtype)
    return 0.0, float(limits.min), float(limits.max)


def _widen(value: float, distances: NDArray[np.float64]) -> _Found:
    """The range around a value that lossy compression may have made of it, given how far other pixels are from it."""
    near = next((step for step in _NEAR if np.count_nonzero(distances <= step) <= _RARE * len(distances)), _NEAR[-1])
    low, high = (value, value + near) if value == 0 else (value - near, value)
    return _Found(value=value, low=low, high=high, is_certain=False)


def _find_collar(raster: Scene, reader: RasterReader) -> _Found | None:
    """Pixels beside nodata that are nearly nodata, in a row of blocks across the middle, where the others are not."""
    nodata = raster.source.nodata
    if nodata is None or np.dtype(raster.dtype) != np.uint8 or nodata not in (0.0, 255.0):
        return None
    height = unit_shape(raster, raster.grid, None)[0]
    row = raster.grid.height // 2 // height * height
    strip = Window(row=row, col=0, height=min(height, raster.grid.height - row), width=raster.grid.width)
    pixels = reader.read(raster, strip)
    if pixels.valid is None:
        return None
    beside = pixels.valid & (_spread(~pixels.valid, 0) | _spread(~pixels.valid, 1))
    distance = np.abs(pixels.values.astype(np.int16) - int(nodata)).max(axis=0).astype(np.float64)
    far = distance[pixels.valid & ~beside]
    if not len(far):
        return None
    found = _widen(nodata, far)
    dark = distance[beside] <= found.high - found.low
    return found if np.count_nonzero(dark) >= max(_LEAST, _DARK * len(dark)) else None


def _spread(mask: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """What lies no farther than the reach of lossy compression from a mask, along one axis."""
    size, place = mask.shape[axis], np.arange(mask.shape[axis])
    count = np.cumsum(np.pad(mask, [(1, 0) if axis == own else (0, 0) for own in (0, 1)]), axis=axis, dtype=np.int64)
    after = count.take(np.minimum(place + _REACH + 1, size), axis)
    before = count.take(np.maximum(place - _REACH, 0), axis)
    return np.asarray(after > before)


def _iter_corners(raster: Scene) -> Iterator[Window]:
    """The four corners: upper left, upper right, lower left, lower right."""
    height, width = min(_EDGE, raster.grid.height), min(_EDGE, raster.grid.width)
    for row in (0, raster.grid.height - height):
        for col in (0, raster.grid.width - width):
            yield Window(row=row, col=col, height=height, width=width)


def _find_middle(raster: Scene) -> Window:
    """A window in the middle, in one block where that is as large."""
    height, width = min(_EDGE, raster.grid.height), min(_EDGE, raster.grid.width)
    row, col = raster.grid.height // 2 // height * height, raster.grid.width // 2 // width * width
    return Window(row=row, col=col, height=min(height, raster.grid.height - row), width=min(width, raster.grid.width - col))
