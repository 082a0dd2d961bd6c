"""Stage 3 where CRSs differ: pixels of one CRS on the grid of another.

A pixel's place in the source is interpolated on a lattice of exactly transformed places that is anchored to the target grid, so
that a pixel's value does not depend on the window it is computed in.
"""

from __future__ import annotations

import math
import threading
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from processor.model import Bounds, Grid, Window
from processor.model.transformers import make_transformer
from processor.stages.align.align_rasters import Resampling, compute_kernel

_EDGE_POINTS = 41  # along each edge of a grid, to find the bounds it has in another CRS
_TOLERANCE = 0.01  # source pixels by which interpolated places may be off
_STEPS = (64, 32, 16, 8, 4, 2, 1)  # pixels between the places of a lattice
_PROBES = 9  # places along each axis where a lattice is tried
_ASTRAY = 0.5  # source pixels by which a place that is taken to another CRS and back may be off
_LATITUDES = (-45.0, 0.0, 45.0)  # degrees at which a projection shows whether its meridians are parallel
_PARALLEL = 1e-9  # of a quarter turn, by which they may not be
_CURRENT = threading.local()


def _transformer(source: str, target: str) -> Transformer:
    """A transformer of this thread, x before y."""
    known: dict[tuple[str, str], Transformer] | None = getattr(_CURRENT, "transformers", None)
    if known is None:
        known = _CURRENT.transformers = {}
    key = (source, target)
    if key not in known:
        known[key] = make_transformer(source, target)
    return known[key]


def _transform(
    source: str, target: str, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places of one CRS in another, x before y; not finite where there is none.

    pyproj takes an array of one for a point, in a way that numpy 2.0 deprecates: so a point it is given.
    """
    if x.size != 1:
        east, north = _transformer(source, target).transform(x, y)
        return np.asarray(east), np.asarray(north)
    point = _transformer(source, target).transform(x.item(), y.item())
    return np.full(x.shape, point[0]), np.full(x.shape, point[1])


def project_bounds(grid: Grid, crs: str) -> Bounds:
    """Bounds of a grid in another CRS, from points along its outline and across it.

    Where the grid lies across the end of that CRS's map, such as the antimeridian, the bounds go on beyond it.

    Raises
    ------
    ValueError
        If part of it has no place there, or one that does not lead back.
    """
    bounds = grid.bounds
    x = np.linspace(bounds.left, bounds.right, _EDGE_POINTS)
    y = np.linspace(bounds.bottom, bounds.top, _EDGE_POINTS)
    xs, ys = (axis.ravel() for axis in np.meshgrid(x, y))
    east, north = _transform(grid.crs, crs, xs, ys)
    back_x, back_y = _transform(crs, grid.crs, east, north)
    with np.errstate(invalid="ignore"):  # a place that does not exist is infinite
        turn = find_turn(grid.crs)
        if turn is not None:
            back_x = _bring_near(np.asarray(back_x), (bounds.left + bounds.right) / 2, turn)
        off = np.maximum(np.abs(back_x - xs) / grid.pixel_width, np.abs(back_y - ys) / grid.pixel_height)
    if not (off <= _ASTRAY).all():  # also False where a place is infinite
        msg = f"the grid at {bounds.as_tuple()} has no place in {CRS.from_user_input(crs).name}"
        raise ValueError(msg)
    turn = find_turn(crs)
    if turn is not None and _leaps(east.reshape(_EDGE_POINTS, _EDGE_POINTS), turn):
        east = np.where(east < 0, east + turn, east)
    return Bounds(left=float(east.min()), right=float(east.max()), bottom=float(north.min()), top=float(north.max()))


def _leaps(east: NDArray[np.float64], turn: float) -> bool:
    """Whether neighbours among places (rows, columns) lie at opposite ends of the map."""
    return any(float(np.abs(np.diff(east, axis=axis)).max()) > turn / 2 for axis in (0, 1))


@lru_cache(maxsize=256)
def find_turn(crs: str) -> float | None:
    """What x grows by in a turn around the Earth, CRS units, where places a turn apart are the same; None elsewhere.

    It is 360 of degrees. Of projections it is known of those whose meridians are parallel lines at equal distances, such as web
    Mercator's; the end of their map is as arbitrary as the antimeridian.
    """
    known = CRS.from_user_input(crs)
    if known.is_derived and not known.is_projected:  # a projection counts as derived too
        return None
    if known.is_geographic:
        return float(f"{math.tau / known.axis_info[0].unit_conversion_factor:.12g}")
    if not known.is_projected or known.geodetic_crs is None or not known.geodetic_crs.is_geographic:
        return None
    degrees = known.geodetic_crs.to_wkt("WKT2_2019")
    quarter = (find_turn(degrees) or math.nan) / 4
    middle, _ = _transformer(crs, degrees).transform(0.0, 0.0)
    lon, lat = np.meshgrid([middle - quarter, middle, middle + quarter], np.multiply(_LATITUDES, quarter / 90))
    east = _transform(degrees, crs, lon.ravel(), lat.ravel())[0].reshape(lon.shape)
    steps = np.diff(east, axis=1) if np.isfinite(east).all() else np.zeros((1, 1))
    if not steps.min() > 0 or np.ptp(steps) > _PARALLEL * steps.min():
        return None
    return float(4 * steps[1, 0])


def _bring_near(east: NDArray[np.float64], middle: float, turn: float) -> NDArray[np.float64]:
    """The same places, by whole turns, within half a turn of another."""
    turns = np.round((east - middle) / turn)
    return np.where(turns == 0, east, east - turns * turn)


def _exact_places(
    source: Grid, target: Grid, rows: NDArray[np.float64], cols: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fractional (row, column) in the source, pixel edges at integers, of fractional places in the target."""
    x = target.left + cols * target.pixel_width
    y = target.top - rows * target.pixel_height
    east, north = _transform(target.crs, source.crs, x.ravel(), y.ravel())
    turn = find_turn(source.crs)
    if turn is not None:
        with np.errstate(invalid="ignore"):  # as above
            east = _bring_near(np.asarray(east), source.left + source.width * source.pixel_width / 2, turn)
    return (
        ((source.top - np.asarray(north)) / source.pixel_height).reshape(rows.shape),
        ((np.asarray(east) - source.left) / source.pixel_width).reshape(rows.shape),
    )


@lru_cache(maxsize=4096)
def choose_lattice(source: Grid, target: Grid) -> int:
    """Pixels between the exact places: the most for which interpolated ones are off by less than 0.01 source pixels."""
    for step in _STEPS:
        rows = np.unique((np.linspace(0, max(target.height - step, 0), _PROBES) // step * step).round())
        cols = np.unique((np.linspace(0, max(target.width - step, 0), _PROBES) // step * step).round())
        row, col = np.meshgrid(rows, cols, indexing="ij")
        corners = [_exact_places(source, target, row + i * step, col + j * step) for i in (0, 1) for j in (0, 1)]
        middle = _exact_places(source, target, row + step / 2, col + step / 2)
        off = max(float(np.abs(sum(corner[axis] for corner in corners) / 4 - middle[axis]).max(initial=0.0)) for axis in (0, 1))
        if off < _TOLERANCE:
            return step
    return 1


@lru_cache(maxsize=4096)
def compute_pixel_ratio(source: Grid, target: Grid) -> tuple[float, float]:
    """Source pixels that a target pixel spans along (rows, columns), at the middle of the target."""
    row, col = np.full(4, target.height / 2), np.full(4, target.width / 2)
    row[1] += 1
    col[2] += 1
    rows, cols = _exact_places(source, target, row, col)
    return (
        math.hypot(rows[1] - rows[0], rows[2] - rows[0]),
        math.hypot(cols[1] - cols[0], cols[2] - cols[0]),
    )


def compute_places(source: Grid, target: Grid, window: Window, step: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places in the source of the centres of a window's pixels.

    Parameters
    ----------
    source, target
        The two grids, each in its own CRS.
    window
        Pixels of the target.
    step
        As :func:`choose_lattice` chose for these grids.

    Returns
    -------
    Fractional rows and columns of the source, float64 (height, width), pixel edges at integers; not finite where a pixel has no
    place.
    """
    first_row, first_col = window.row // step, window.col // step
    lattice_rows = np.arange(first_row, -(-window.row_end // step) + 1) * float(step)
    lattice_cols = np.arange(first_col, -(-window.col_end // step) + 1) * float(step)
    row, col = np.meshgrid(lattice_rows, lattice_cols, indexing="ij")
    known = _exact_places(source, target, row, col)
    down = (window.row + np.arange(window.height) + 0.5) / step - first_row
    across = (window.col + np.arange(window.width) + 0.5) / step - first_col
    return _interpolate(known[0], down, across), _interpolate(known[1], down, across)


def _interpolate(known: NDArray[np.float64], down: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bilinear interpolation at fractional lattice places, separably."""
    col = np.floor(across).astype(np.intp)
    part = across - col
    rows = known[:, col] * (1 - part) + known[:, col + 1] * part
    row = np.floor(down).astype(np.intp)
    part = (down - row)[:, None]
    return np.asarray(rows[row] * (1 - part) + rows[row + 1] * part)


def shrink(
    values: NDArray[np.floating], valid: NDArray[np.bool_], factor: tuple[int, int]
) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Means of the valid pixels in blocks of (rows, columns), a block valid where any of its pixels is.

    Parameters
    ----------
    values, valid
        (bands, height, width) and (height, width), whose sizes are whole multiples of the factor.
    factor
        Rows and columns of a block.
    """
    (down, across), (bands, height, width) = factor, values.shape
    if factor == (1, 1):
        return values, valid
    shape = (height // down, down, width // across, across)
    count = valid.reshape(shape).sum(axis=(1, 3))
    total = np.where(valid, values, values.dtype.type(0)).reshape(bands, *shape).sum(axis=(2, 4))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (total / count.astype(values.dtype)).astype(values.dtype), count > 0


def resample_places(
    values: NDArray[np.floating],
    valid: NDArray[np.bool_],
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
    method: Resampling,
) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Resample pixels at fractional places.

    A result is valid where the source pixel under the place is. Its value is the weighted mean of the valid pixels under the
    kernel; where these carry less than half of the weight (cubic only), it is the pixel under the place: the rule of
    :func:`processor.stages.align.align_rasters.resample_window`.

    Parameters
    ----------
    values, valid
        (bands, height, width) and (height, width).
    rows, cols
        Places in those arrays, float64 (h, w), pixel edges at integers; those outside or not finite give invalid pixels.
    method
        "nearest", "bilinear" or "cubic".

    Returns
    -------
    (bands, h, w) of the values' dtype, 0 where invalid, and the valid mask (h, w).
    """
    height, width = valid.shape
    inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)  # False for NaN
    rows, cols = np.where(inside, rows, 0.0), np.where(inside, cols, 0.0)
    row, col = np.floor(rows).astype(np.intp), np.floor(cols).astype(np.intp)
    result_valid = inside & valid[row, col]
    kind = values.dtype.type
    nearest = np.where(result_valid, values[:, row, col], kind(0))
    if method == "nearest":
        return nearest, result_valid
    taps = 2 if method == "bilinear" else 4
    first_row = np.floor(rows - 0.5).astype(np.intp) - (taps // 2 - 1)
    first_col = np.floor(cols - 0.5).astype(np.intp) - (taps // 2 - 1)
    total = np.zeros((values.shape[0], *rows.shape), values.dtype)
    weights = np.zeros(rows.shape, values.dtype)
    clean = np.where(valid, values, kind(0))
    for i in range(taps):
        down = rows - 0.5 - (first_row + i)
        weight_down = compute_kernel(down, method)
        at_row = (first_row + i).clip(0, height - 1)
        for j in range(taps):
            across = cols - 0.5 - (first_col + j)
            weight = weight_down * compute_kernel(across, method)
            at_col = (first_col + j).clip(0, width - 1)
            exists = (first_row + i == at_row) & (first_col + j == at_col) & valid[at_row, at_col]
            counted = np.where(exists, weight, 0.0).astype(values.dtype)
            total += clean[:, at_row, at_col] * counted
            weights += counted
    enough = result_valid & (weights >= kind(0.5 if method == "cubic" else 1e-6))
    return np.divide(total, weights, out=nearest, where=enough), result_valid
