"""Where pixels lie: bounds, windows and grids. Rows count down from the top, columns from the left."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """An axis-aligned rectangle in CRS units."""

    left: float
    """Smallest x, CRS units."""
    bottom: float
    """Smallest y, CRS units."""
    right: float
    """Largest x, CRS units."""
    top: float
    """Largest y, CRS units."""

    def __post_init__(self) -> None:
        """Refuse a rectangle that is empty or not finite."""
        values = (self.left, self.bottom, self.right, self.top)
        if not all(map(math.isfinite, values)) or self.left >= self.right or self.bottom >= self.top:
            msg = f"bounds must be finite with left < right and bottom < top, got {values}"
            raise ValueError(msg)

    @property
    def width(self) -> float:
        """Extent along x, CRS units."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Extent along y, CRS units."""
        return self.top - self.bottom

    def as_tuple(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top)."""
        return (self.left, self.bottom, self.right, self.top)

    def union(self, other: Bounds) -> Bounds:
        """The smallest rectangle that holds both."""
        return Bounds(
            left=min(self.left, other.left),
            bottom=min(self.bottom, other.bottom),
            right=max(self.right, other.right),
            top=max(self.top, other.top),
        )

    def intersection(self, other: Bounds) -> Bounds | None:
        """What both cover, or None where that has no area."""
        left, right = max(self.left, other.left), min(self.right, other.right)
        bottom, top = max(self.bottom, other.bottom), min(self.top, other.top)
        if left >= right or bottom >= top:
            return None
        return Bounds(left=left, bottom=bottom, right=right, top=top)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A rectangle of pixels of some grid: row and col of its upper left pixel, height and width in pixels."""

    row: int
    """Row of the upper left pixel, from 0."""
    col: int
    """Column of the upper left pixel, from 0."""
    height: int
    """Number of rows."""
    width: int
    """Number of columns."""

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return (self.height, self.width)

    @property
    def row_end(self) -> int:
        """One past the last row."""
        return self.row + self.height

    @property
    def col_end(self) -> int:
        """One past the last column."""
        return self.col + self.width

    @property
    def is_empty(self) -> bool:
        """Whether it holds no pixel."""
        return self.height <= 0 or self.width <= 0

    def intersection(self, other: Window) -> Window | None:
        """What both hold, or None where they share no pixel."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        height = min(self.row_end, other.row_end) - row
        width = min(self.col_end, other.col_end) - col
        return Window(row=row, col=col, height=height, width=width) if height > 0 and width > 0 else None

    def shifted(self, *, rows: int, cols: int) -> Window:
        """The same rectangle, moved by whole pixels."""
        return Window(row=self.row + rows, col=self.col + cols, height=self.height, width=self.width)

    def grown(self, pixels: int) -> Window:
        """The same rectangle and so many pixels on every side."""
        return Window(
            row=self.row - pixels, col=self.col - pixels, height=self.height + 2 * pixels, width=self.width + 2 * pixels
        )

    def slices_in(self, outer: Window) -> tuple[slice, slice]:
        """(row slice, column slice) of this window in an array that covers ``outer``."""
        row, col = self.row - outer.row, self.col - outer.col
        return slice(row, row + self.height), slice(col, col + self.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A north-up raster grid: where its pixels lie."""

    crs: str
    """WKT2 of the coordinate reference system, whether or not it has an EPSG code."""
    left: float
    """Left edge of the upper left pixel, CRS units."""
    top: float
    """Top edge of the upper left pixel, CRS units."""
    pixel_width: float
    """Size of a pixel along x, CRS units; positive."""
    pixel_height: float
    """Size of a pixel along y, CRS units; positive, although rows run south."""
    width: int
    """Number of columns."""
    height: int
    """Number of rows."""

    def __post_init__(self) -> None:
        """Refuse a grid without pixels."""
        if not (self.pixel_width > 0 and self.pixel_height > 0 and self.width > 0 and self.height > 0):
            msg = (
                f"a grid needs positive pixel sizes and counts, got {self.pixel_width} x {self.pixel_height} CRS units, "
                f"{self.width} x {self.height} pixels"
            )
            raise ValueError(msg)

    @property
    def bounds(self) -> Bounds:
        """Outer bounds, CRS units."""
        return Bounds(
            left=self.left,
            top=self.top,
            right=self.left + self.width * self.pixel_width,
            bottom=self.top - self.height * self.pixel_height,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return (self.height, self.width)

    @property
    def window(self) -> Window:
        """The window of all pixels."""
        return Window(row=0, col=0, height=self.height, width=self.width)

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """Affine coefficients (a, b, c, d, e, f) as rasterio and STAC ``proj:transform`` order them."""
        return (self.pixel_width, 0.0, self.left, 0.0, -self.pixel_height, self.top)

    def window_bounds(self, window: Window) -> Bounds:
        """Outer bounds of a window, CRS units."""
        return Bounds(
            left=self.left + window.col * self.pixel_width,
            right=self.left + window.col_end * self.pixel_width,
            top=self.top - window.row * self.pixel_height,
            bottom=self.top - window.row_end * self.pixel_height,
        )

    def subgrid(self, window: Window) -> Grid:
        """The grid of a window of this grid (which may reach beyond it)."""
        return Grid(
            crs=self.crs,
            left=self.left + window.col * self.pixel_width,
            top=self.top - window.row * self.pixel_height,
            pixel_width=self.pixel_width,
            pixel_height=self.pixel_height,
            width=window.width,
            height=window.height,
        )

    def window_of_centres(self, bounds: Bounds) -> Window:
        """The pixels whose centre lies in half-open bounds [left, right) x (bottom, top], clipped to the grid; maybe empty.

        Bounds that tile the plane give windows that tile the grid.
        """
        col = min(max(math.ceil((bounds.left - self.left) / self.pixel_width - 0.5), 0), self.width)
        col_end = min(max(math.ceil((bounds.right - self.left) / self.pixel_width - 0.5), 0), self.width)
        row = min(max(math.ceil((self.top - bounds.top) / self.pixel_height - 0.5), 0), self.height)
        row_end = min(max(math.ceil((self.top - bounds.bottom) / self.pixel_height - 0.5), 0), self.height)
        return Window(row=row, col=col, height=max(0, row_end - row), width=max(0, col_end - col))

    def window_touching(self, bounds: Bounds) -> Window:
        """The smallest window, clipped to the grid, that covers the bounds; maybe empty."""
        tolerance = 1e-6  # pixels: bounds computed from another grid's corner meet ours within rounding
        col = min(max(math.floor((bounds.left - self.left) / self.pixel_width + tolerance), 0), self.width)
        col_end = min(max(math.ceil((bounds.right - self.left) / self.pixel_width - tolerance), 0), self.width)
        row = min(max(math.floor((self.top - bounds.top) / self.pixel_height + tolerance), 0), self.height)
        row_end = min(max(math.ceil((self.top - bounds.bottom) / self.pixel_height - tolerance), 0), self.height)
        return Window(row=row, col=col, height=max(0, row_end - row), width=max(0, col_end - col))
