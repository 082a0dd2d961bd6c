"""What is measured of scenes and decided about them: statistics, adjustments, block maps, cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from processor.model.grid import Bounds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from shapely import MultiPolygon, Polygon


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """Count, mean and spread of the valid pixels of a region; one element a band, source units.

    m2: float64 (bands,), sum of squared departures from the mean.
    """

    count: int
    """Number of valid pixels, the same for every band: a pixel is valid in all bands or in none."""
    mean: NDArray[np.float64]
    """float64 (bands,), source units; NaN where count is 0."""
    m2: NDArray[np.float64]
    """Sum of squared departures from the mean, float64 (bands,), squared source units."""
    minimum: NDArray[np.float64]
    """Smallest valid value, float64 (bands,), source units; +inf where count is 0."""
    maximum: NDArray[np.float64]
    """Largest valid value, float64 (bands,), source units; -inf where count is 0."""

    @property
    def std(self) -> NDArray[np.float64]:
        """Population standard deviation, float64 (bands,); NaN where count is 0."""
        import numpy as np  # noqa: PLC0415 - the command line reads records before it needs arrays

        if self.count == 0:
            return np.full_like(self.mean, np.nan)
        return np.sqrt(self.m2 / self.count)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OverlapSamples:
    """Pixels that two scenes share, on a regular lattice: what the residuals of the report are computed from."""

    x: NDArray[np.float64]
    """X of the pixel centres, float64 (n,), CRS units."""
    y: NDArray[np.float64]
    """Y of the pixel centres, float64 (n,), CRS units."""
    first: NDArray[np.float32]
    """Pixels of the first scene, float32 (bands, n), source units; valid in both scenes."""
    second: NDArray[np.float32]
    """The same pixels of the second scene, float32 (bands, n), source units."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Overlap:
    """A pair of scenes and their statistics over the pixels valid in both; first < second by name."""

    first: str
    """Name of the scene that comes first in name order."""
    second: str
    """Name of the other scene."""
    first_moments: Moments
    """Moments of the first scene over the common valid pixels."""
    second_moments: Moments
    """Moments of the second scene over the same pixels."""
    samples: OverlapSamples | None = None
    """Common pixels for the report's residuals, or None where none were sampled."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Adjustment:
    """The global correction of a scene: y = scale * x + offset."""

    scene: str
    """Name of the scene."""
    scale: NDArray[np.float64]
    """Gain of each band, float64 (bands,), dimensionless."""
    offset: NDArray[np.float64]
    """Offset of each band, float64 (bands,), source units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How the values of a band are spread, as far as a picture of it shows."""

    minimum: float
    """Lower end of the first bucket: the smallest value seen."""
    maximum: float
    """Upper end of the last bucket: the largest value seen."""
    buckets: tuple[int, ...]
    """Number of pixels of the picture in each of equal buckets."""
    low: float
    """2nd percentile."""
    high: float
    """98th percentile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockGrid:
    """The canvas of the local adjustment, cut into rows x cols equal blocks; row 0 is at the top."""

    bounds: Bounds
    """Extent of the canvas, CRS units."""
    rows: int
    """Number of rows of blocks."""
    cols: int
    """Number of columns of blocks."""

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
    """Block means on the part of a block grid that a scene touches; all other blocks are missing."""

    name: str
    """The scene's name, or "reference"."""
    grid: BlockGrid
    """Block grid of the whole canvas."""
    values: NDArray[np.float64]
    """Block means of the part, float64 (bands, rows, cols), source units after the global adjustment; NaN where a block is
    missing.
    """
    row: int = 0
    """Row of the part's upper left block in the grid."""
    col: int = 0
    """Column of the part's upper left block in the grid."""

    @property
    def slices(self) -> tuple[slice, slice]:
        """(row slice, column slice) of the part in the whole canvas."""
        return slice(self.row, self.row + self.values.shape[1]), slice(self.col, self.col + self.values.shape[2])

    def expand(self) -> NDArray[np.float64]:
        """Values on the whole canvas, float64 (bands, grid.rows, grid.cols); NaN where missing."""
        import numpy as np  # noqa: PLC0415 - as above

        whole = np.full((self.values.shape[0], self.grid.rows, self.grid.cols), np.nan)
        whole[:, *self.slices] = self.values
        return whole


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cell:
    """The part of the mosaic that a scene owns; the cells of all scenes partition the union of their footprints."""

    scene: str
    """Name of the scene that owns the cell."""
    polygon: Polygon | MultiPolygon
    """Area that the scene owns, CRS units; empty where it owns nothing, several polygons where it is cut apart."""
