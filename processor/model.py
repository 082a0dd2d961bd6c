"""The nouns of the project: frozen records that flow forward from planning to publishing.

Axes are (bands, height, width); masks are (height, width), True where a pixel is valid. Coordinates are in CRS units unless
a field says otherwise; rows count down from the top, columns from the left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely import MultiPolygon, Polygon

__all__ = [
    "Adjustment",
    "Artifact",
    "Band",
    "BlockGrid",
    "BlockMap",
    "Bounds",
    "Cell",
    "Declared",
    "Finding",
    "Grid",
    "LocalCorrection",
    "Mask",
    "MaskRef",
    "Moments",
    "Overlap",
    "OverlapSamples",
    "Part",
    "Provenance",
    "RasterRef",
    "Scaling",
    "Scene",
    "SceneRef",
    "Source",
    "Window",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """An axis-aligned rectangle in CRS units."""

    left: float
    bottom: float
    right: float
    top: float

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
    col: int
    height: int
    width: int

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

    def slices_in(self, outer: Window) -> tuple[slice, slice]:
        """(row slice, column slice) of this window in an array that covers ``outer``."""
        row, col = self.row - outer.row, self.col - outer.col
        return slice(row, row + self.height), slice(col, col + self.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A north-up raster grid: where its pixels lie.

    crs: WKT2 of the coordinate reference system, whether or not it has an EPSG code.
    left, top: CRS coordinates of the outer corner of the upper left pixel.
    pixel_width, pixel_height: size of a pixel, CRS units, both positive.
    width, height: number of columns and rows.
    """

    crs: str
    left: float
    top: float
    pixel_width: float
    pixel_height: float
    width: int
    height: int

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """What stored values mean: physical value = scale * stored value + offset (STAC ``raster:scale``, ``raster:offset``)."""

    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """What a band of a scene is called, and what its values mean.

    name: as the Item or the file names it, else ``band_1`` … (1-based).
    common_name: STAC ``eo:common_name`` (red, nir, …) or None.
    description: free text or None.
    scaling: None where the Item says nothing of it.
    """

    name: str
    common_name: str | None = None
    description: str | None = None
    scaling: Scaling | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a scene's pixels are and how the file stores them.

    href: fsspec URL or absolute local path of the raster.
    asset: key of the STAC asset, or None for a plain file.
    band_indexes: 1-based indexes of the data bands in the file (an alpha band is not one of them).
    validity: what says which pixels are valid: a nodata value, an alpha band, a per-dataset mask, or nothing (all are).
    nodata: the value of invalid pixels when validity is "nodata" (may be NaN), else None.
    block_height, block_width: size of the file's own blocks, pixels.
    overviews: decimation factors of the file's overviews, ascending; empty where there are none.
    size: bytes of the file, or None where storage does not tell.
    fingerprint: tells whether the file was replaced: digest of samples of a local file's bytes, or what storage calls the
        version of a remote one (entity tag, generation, time of change); None where it does not tell.
    overview_shapes: (height, width) of those overviews in pixels, in the same order; empty: sizes are rounded up.
    requester_pays: whether its bucket lets those who read pay, and the Item says so.
    region: of its bucket, where the Item names it.
    """

    href: str
    asset: str | None
    band_indexes: tuple[int, ...]
    validity: Literal["nodata", "alpha", "mask", "all"]
    nodata: float | None
    block_height: int
    block_width: int
    overviews: tuple[int, ...]
    size: int | None = None
    overview_shapes: tuple[tuple[int, int], ...] = ()
    fingerprint: str | None = None
    requester_pays: bool = False
    region: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What is known of a scene beyond its pixels; STAC facts parsed once at the edge.

    self_href: href of the scene's Item (``derived_from``), or None for a plain file (then ``via`` the raster).
    collection: id of the Item's collection, or None.
    start, end: RFC 3339 datetimes in UTC, or None where unknown.
    properties: the Item's properties, as given (JSON values).
    """

    self_href: str | None = None
    collection: str | None = None
    start: str | None = None
    end: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What an Item says of a raster's file, to be compared with the file; None where it says nothing.

    shape: (height, width) in pixels.
    transform: affine coefficients (a, b, c, d, e, f).
    crs: authority code ("EPSG:32632") or WKT2.
    nodata: value of invalid pixels, maybe NaN.
    """

    shape: tuple[int, int] | None = None
    transform: tuple[float, float, float, float, float, float] | None = None
    crs: str | None = None
    nodata: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterRef:
    """A raster file that the input names and nobody has opened yet.

    href: absolute local path or URL.
    asset: key of the STAC asset, or None for a plain file.
    bands: what the Item says of the file's bands, in file order; empty where it says nothing.
    wanted: which bands are read, and in which order: 1-based indexes, or names to be found among the file's descriptions;
        empty: all of them.
    declared: what the Item says of the file.
    requester_pays, region: of the bucket, as the Item says.
    """

    href: str
    asset: str | None = None
    bands: tuple[Band, ...] = ()
    wanted: tuple[int | str, ...] = ()
    declared: Declared = Declared()
    requester_pays: bool = False
    region: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskRef:
    """A raster that says which pixels of a scene are invalid.

    raster: its first band, or the one wanted, is read.
    invalid: values that mark invalid pixels.
    bits: numbers of bits (0 is the lowest) of which any that is set marks an invalid pixel.
    """

    raster: RasterRef
    invalid: tuple[int, ...] = ()
    bits: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneRef:
    """A scene that the input names and nobody has opened yet.

    name: item id, or file name without extension; unique in a run.
    priority: position in the input, from 0.
    rasters: the files whose bands make the scene, stacked in this order; at least one.
    mask: what marks invalid pixels besides the files' own nodata and masks, or None.
    """

    name: str
    priority: int
    rasters: tuple[RasterRef, ...]
    mask: MaskRef | None = None
    provenance: Provenance = field(default_factory=Provenance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One input scene, opened and described, as the engine sees it.

    name: item id, or file name without extension; unique in a run.
    priority: position in the input; where scenes still overlap after clipping, the higher one wins.
    grid: its pixels; where it is composed, not necessarily those of any file.
    bands: one a data band.
    dtype: numpy dtype name of its values.
    source: the file that holds it; where it is composed, its first file, with overviews and blocks as they are read here.
    parts: the rasters it is composed of, in band order; empty where it is what ``source`` stores.
    mask: what marks further pixels as invalid, or None.
    """

    name: str
    priority: int
    grid: Grid
    bands: tuple[Band, ...]
    dtype: str
    source: Source
    provenance: Provenance = field(default_factory=Provenance)
    parts: tuple[Part, ...] = ()
    mask: Mask | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A raster that gives some bands of a composed scene.

    raster: as its file stores it, on its own grid and in its own CRS, maybe another than the scene's.
    conversions: for each of its bands what makes its stored values those of the scene, new = scale * stored + offset; empty:
        they are taken as they are.
    resampling: used where its pixels are not those of the scene.
    """

    raster: Scene
    conversions: tuple[Scaling, ...]
    resampling: Literal["nearest", "bilinear", "cubic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """A raster that marks invalid pixels, read nearest-neighbour: by values, by bits of which any is set, or both."""

    raster: Scene
    invalid: tuple[int, ...]
    bits: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """Count, mean and spread of the valid pixels of a region; one element a band, source units.

    count: number of pixels (the same for every band, because validity is a pixel's, not a band's).
    mean: float64 (bands,); NaN where count is 0.
    m2: float64 (bands,), sum of squared departures from the mean.
    minimum, maximum: float64 (bands,); +inf and -inf where count is 0.
    """

    count: int
    mean: NDArray[np.float64]
    m2: NDArray[np.float64]
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]

    @property
    def std(self) -> NDArray[np.float64]:
        """Population standard deviation, float64 (bands,); NaN where count is 0."""
        if self.count == 0:
            return np.full_like(self.mean, np.nan)
        return np.sqrt(self.m2 / self.count)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OverlapSamples:
    """Pixels that two scenes share, on a regular lattice: what the residuals of the report are computed from.

    x, y: float64 (n,), CRS coordinates of the pixel centres.
    first, second: float32 (bands, n), source units of each scene.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    first: NDArray[np.float32]
    second: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Overlap:
    """A pair of scenes and their statistics over the pixels valid in both; first < second by name."""

    first: str
    second: str
    first_moments: Moments
    second_moments: Moments
    samples: OverlapSamples | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Adjustment:
    """The global correction of a scene: y = scale * x + offset.

    scale: float64 (bands,), dimensionless.
    offset: float64 (bands,), source units.
    """

    scene: str
    scale: NDArray[np.float64]
    offset: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockGrid:
    """The canvas of the local adjustment, cut into rows x cols equal blocks; row 0 is at the top."""

    bounds: Bounds
    rows: int
    cols: int

    @property
    def block_width(self) -> float:
        """Width of a block, CRS units."""
        return self.bounds.width / self.cols

    @property
    def block_height(self) -> float:
        """Height of a block, CRS units."""
        return self.bounds.height / self.rows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockMap:
    """Block means on the part of a block grid that a scene touches; all other blocks are missing.

    name: the scene's name, or "reference".
    grid: the whole canvas.
    row, col: the upper left block of the part.
    values: float64 (bands, rows, cols) of the part, source units after the global adjustment; NaN where a block is missing.
    """

    name: str
    grid: BlockGrid
    values: NDArray[np.float64]
    row: int = 0
    col: int = 0

    @property
    def slices(self) -> tuple[slice, slice]:
        """(row slice, column slice) of the part in the whole canvas."""
        return slice(self.row, self.row + self.values.shape[1]), slice(self.col, self.col + self.values.shape[2])

    def expand(self) -> NDArray[np.float64]:
        """Values on the whole canvas, float64 (bands, grid.rows, grid.cols); NaN where missing."""
        whole = np.full((self.values.shape[0], self.grid.rows, self.grid.cols), np.nan)
        whole[:, *self.slices] = self.values
        return whole


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalCorrection:
    """The local correction of a scene: P on the part of the block grid that it touches, and how it is applied.

    grid: the whole canvas.
    row, col: the upper left block of the part.
    parameter: float64 (bands, rows, cols) of the part, dimensionless; NaN where missing.
    c: shift in source units (correction "offset" only, else 0).
    alpha: factor of the corrections "gamma" and "offset".
    """

    scene: str
    grid: BlockGrid
    method: Literal["gamma", "linear", "offset"]
    parameter: NDArray[np.float64]
    alpha: float
    c: float
    row: int = 0
    col: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cell:
    """The part of the mosaic that a scene owns; the cells of all scenes partition the union of their footprints.

    polygon: in CRS units; may be empty (a scene that owns nothing) or have several parts.
    """

    scene: str
    polygon: Polygon | MultiPolygon


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A finished object that the run publishes.

    key: STAC asset key, e.g. "mosaic".
    path: relative to the Item's folder with "/" as separator, or absolute (path or URL) where the user named its place.
    media_type: IANA media type with parameters.
    title: for people.
    roles: STAC roles.
    size: bytes.
    sha256: lower-case hex digest of the bytes.
    """

    key: str
    path: str
    media_type: str
    title: str
    roles: tuple[str, ...]
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something about quality that a user should know; data, not an exception.

    severity: "info" or "warning".
    code: short kebab-case word, stable across versions.
    message: one sentence that names the value and what to do.
    scene, stage: what it is about, or None.
    """

    severity: Literal["info", "warning"]
    code: str
    message: str
    scene: str | None = None
    stage: str | None = None
