"""Smooth corrections of a scene: a gain and an offset at control points, bilinear between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from processor.model import Bounds, Grid, Window
from processor.stages.matching.local_block_adjustment import Surface

_COMPOSED: Final = 33  # control points a side: of 3, 5, 9 or 17 all are among them, and a product departs from bilinear by 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlGrid:
    """Rows x cols control points; the outermost lie on the edges of the bounds, row 0 at the top."""

    bounds: Bounds
    """From the first control points to the last, CRS units."""
    rows: int
    """Rows of control points, at least 2."""
    cols: int
    """Columns of control points, at least 2."""

    def __post_init__(self) -> None:
        """Refuse fewer than two points a side."""
        if self.rows < 2 or self.cols < 2:
            msg = f"a surface needs at least 2 x 2 control points, got {self.rows} x {self.cols}"
            raise ValueError(msg)

    @property
    def x(self) -> NDArray[np.float64]:
        """X of the columns, float64 (cols,), CRS units."""
        return np.linspace(self.bounds.left, self.bounds.right, self.cols)

    @property
    def y(self) -> NDArray[np.float64]:
        """Y of the rows, float64 (rows,), CRS units."""
        return np.linspace(self.bounds.top, self.bounds.bottom, self.rows)

    def locate_x(self, x: NDArray[np.floating]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Column to the left of each x, and the distance from it in columns, 0 to 1; held at the outermost columns."""
        return _locate((x - self.bounds.left) / self.bounds.width, self.cols)

    def locate_y(self, y: NDArray[np.floating]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Row above each y, and the distance from it in rows, 0 to 1; held at the outermost rows."""
        return _locate((self.bounds.top - y) / self.bounds.height, self.rows)


def _locate(part: NDArray[np.floating], points: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    place = np.clip(part * (points - 1), 0.0, points - 1.0)
    low = np.minimum(place.astype(np.intp), points - 2)
    return low, np.asarray(place - low, dtype=np.float64)


def _interpolate(
    values: NDArray[np.float64], grid: ControlGrid, x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Bilinear values (bands, n) at points (n,)."""
    col, tx = grid.locate_x(x)
    row, ty = grid.locate_y(y)
    above = values[:, row, col] + (values[:, row, col + 1] - values[:, row, col]) * tx
    below = values[:, row + 1, col] + (values[:, row + 1, col + 1] - values[:, row + 1, col]) * tx
    return np.asarray(above + (below - above) * ty)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ControlSurface:
    """The smooth correction of a scene: y = g(p) x + o(p) at position p, of globally adjusted values."""

    scene: str
    """Name of the scene."""
    grid: ControlGrid
    """Where the control points are."""
    gain: NDArray[np.float64] | None
    """G at the control points, float64 (bands, rows, cols), dimensionless; None: 1 everywhere."""
    offset: NDArray[np.float64] | None
    """O at the control points, float64 (bands, rows, cols), source units; None: 0 everywhere."""

    def on_window(self, grid: Grid, window: Window, dtype: type[np.floating], strip: int) -> ControlStrips:
        """See :meth:`processor.stages.matching.method.SceneCorrection.on_window`."""
        departure = None if self.gain is None else _spread_rows(self.gain - 1.0, self.grid, grid, window, dtype)
        offset = None if self.offset is None else _spread_rows(self.offset, self.grid, grid, window, dtype)
        return ControlStrips(departure=departure, offset=offset, scratch=np.empty((3, strip, window.width), dtype))

    def apply_at(self, values: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """See :meth:`processor.stages.matching.method.SceneCorrection.apply_at`."""
        corrected = values.copy()
        if self.gain is not None:
            corrected += values * _interpolate(self.gain - 1.0, self.grid, x, y)
        if self.offset is not None:
            corrected += _interpolate(self.offset, self.grid, x, y)
        return corrected

    def gain_at(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Gain at CRS coordinates (n,), float64 (bands, n); None: 1."""
        return None if self.gain is None else _interpolate(self.gain, self.grid, x, y)

    def compute_factors(self, level: NDArray[np.float64]) -> NDArray[np.float64]:
        """What becomes of a level (bands,) at the control points, as factors (bands, rows, cols); NaN at level 0."""
        factors = np.ones((len(level), self.grid.rows, self.grid.cols)) if self.gain is None else self.gain
        if self.offset is None:
            return factors
        base = np.asarray(level, dtype=np.float64)[:, None, None]
        return np.where(base != 0, factors + self.offset / np.where(base != 0, base, 1.0), np.nan)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ControlStrips:
    """The smooth correction of a scene over a window, applied to strips of its rows."""

    departure: Surface | None
    """G - 1 over the window."""
    offset: Surface | None
    """O over the window."""
    scratch: NDArray[np.floating]
    """(3, rows, width) of the calculation's dtype, overwritten by every strip."""

    def apply(self, values: NDArray[np.floating], band: int, rows: slice) -> NDArray[np.floating]:
        """See :meth:`processor.stages.matching.method.StripCorrection.apply`."""
        out = self.scratch[0, : len(values)]
        if self.departure is not None:
            self.departure.read_rows(band, rows, out, self.scratch[1:])
            np.multiply(out, values, out=out)
            np.add(values, out, out=values)
        if self.offset is not None:
            self.offset.read_rows(band, rows, out, self.scratch[1:])
            np.add(values, out, out=values)
        return values


def _spread_rows(
    values: NDArray[np.float64], control: ControlGrid, grid: Grid, window: Window, dtype: type[np.floating]
) -> Surface:
    """Values of control points on the rows of a window, by absolute position."""
    y = grid.top - (window.row + np.arange(window.height) + 0.5) * grid.pixel_height
    x = grid.left + (window.col + np.arange(window.width) + 0.5) * grid.pixel_width
    row, ty = control.locate_y(y)
    col, tx = control.locate_x(x)
    first, last = (int(col[0]), int(col[-1]) + 2) if len(col) else (0, 2)
    used = values[:, :, first:last]
    low = used[:, row]
    weighted = low + (used[:, row + 1] - low) * ty[None, :, None]
    breaks = np.flatnonzero(np.diff(col)) + 1
    starts, ends = [0, *breaks.tolist()], [*breaks.tolist(), window.width]
    return Surface(
        weighted=weighted.astype(dtype),
        weight=None,
        segments=tuple((start, end, int(col[start]) - first) for start, end in zip(starts, ends, strict=True) if end > start),
        fraction=tx.astype(dtype),
    )


def compose_surfaces(first: ControlSurface, then: ControlSurface) -> ControlSurface:
    """One correction in place of two of the same scene, ``first`` before ``then``, on 33 x 33 control points.

    Bounds are those of ``then``. Between control points a product of bilinear surfaces is not bilinear: it departs by less than
    1e-4 of a gain where each varies by a half across the scene.
    """
    grid = ControlGrid(bounds=then.grid.bounds, rows=max(_COMPOSED, then.grid.rows), cols=max(_COMPOSED, then.grid.cols))
    x, y = (axis.ravel() for axis in np.meshgrid(grid.x, grid.y))
    shape = (grid.rows, grid.cols)

    def sample(surface: ControlSurface, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return _interpolate(values, surface.grid, x, y).reshape(len(values), *shape)

    gains = [sample(one, one.gain) for one in (first, then) if one.gain is not None]
    moved = None if first.offset is None else sample(first, first.offset)
    if moved is not None and then.gain is not None:
        moved = moved * sample(then, then.gain)
    offsets = [one for one in (moved, None if then.offset is None else sample(then, then.offset)) if one is not None]
    return ControlSurface(
        scene=then.scene,
        grid=grid,
        gain=np.multiply.reduce(gains) if gains else None,
        offset=np.add.reduce(offsets) if offsets else None,
    )
