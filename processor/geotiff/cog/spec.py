"""What a Cloud-Optimized GeoTIFF is: its grid, sample type and nodata, how it is encoded, and the levels of its pyramid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

from processor.errors import ConfigError
from processor.model import Grid, Moments, Scaling, Window
from processor.model.dtypes import is_representable

DTYPES: Final = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
"""The sample types that are written."""

# Compression -> (default, smallest, largest) level. Measured by benchmarks/bench_cog.py: with libdeflate, level 1 is 1.2 to 6
# times as fast as level 6; 16-bit samples get smaller, real aerial pictures of 8 bits up to 3 % larger, smooth synthetic ones
# 6 %. ZSTD level 1 is 2 to 6 times as fast as level 3, and between 10 % smaller and 9 % larger.
_LEVELS: Final[Mapping[str, tuple[int, int, int]]] = {
    "deflate": (1, 1, 12),
    "zstd": (1, 1, 22),
    "lzw": (0, 0, 0),
    "none": (0, 0, 0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CogProfile:
    """How a Cloud-Optimized GeoTIFF is encoded."""

    tile_size: int = 512
    """Edge of the tiles, pixels, a multiple of 16."""
    compression: Literal["deflate", "zstd", "lzw", "none"] = "deflate"
    """"deflate" (every reader has it), "zstd" (fastest), "lzw" or "none"."""
    level: int | None = None
    """Effort of deflate (1 to 12) or zstd (1 to 22); None is the measured default."""
    predictor: bool = True
    """Whether differences of neighbours are compressed (TIFF predictor 2 for integers, 3 for floats)."""
    overview_resampling: Literal["average", "nearest"] = "average"
    """"average" for pictures, "nearest" for labels (the first of 2 x 2 that is not the fill value)."""

    def __post_init__(self) -> None:
        """Refuse what cannot be encoded."""
        if self.tile_size < 16 or self.tile_size % 16:
            msg = f"tile_size must be a positive multiple of 16, got {self.tile_size}"
            raise ConfigError(msg)
        if self.compression not in _LEVELS:
            msg = f"compression must be one of {', '.join(_LEVELS)}, got {self.compression!r}"
            raise ConfigError(msg)
        if self.overview_resampling not in {"average", "nearest"}:
            msg = f"overview_resampling must be average or nearest, got {self.overview_resampling!r}"
            raise ConfigError(msg)
        _, smallest, largest = _LEVELS[self.compression]
        if self.level is not None and not smallest <= self.level <= largest:
            msg = f"level of compression {self.compression} must be from {smallest} to {largest}, got {self.level}"
            raise ConfigError(msg)

    @property
    def effort(self) -> int:
        """The level that is used."""
        return _LEVELS[self.compression][0] if self.level is None else self.level


def make_fill(dtype: np.dtype[Any], nodata: float | None) -> Any:
    """Give the value of a sample that holds nothing: nodata in the dtype, or 0 without one (as readers fill absent tiles).

    Returns
    -------
    A numpy scalar of the dtype.

    Raises
    ------
    ConfigError
        The dtype cannot hold nodata.
    """
    if nodata is None:
        return dtype.type(0)
    if not is_representable(nodata, dtype):
        msg = f"nodata {nodata} is not a {dtype.name}; choose a value that the output dtype can hold"
        raise ConfigError(msg)
    return dtype.type(nodata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One image of a pyramid: the full resolution (index 0) or an overview."""

    index: int
    """Number of halvings."""
    width: int
    """Number of columns of pixels."""
    height: int
    """Number of rows of pixels."""
    tile_size: int
    """Edge of a tile, pixels."""

    @property
    def rows(self) -> int:
        """Number of rows of tiles."""
        return -(-self.height // self.tile_size)

    @property
    def cols(self) -> int:
        """Number of columns of tiles."""
        return -(-self.width // self.tile_size)

    def window(self, row: int, col: int, *, tiles: int = 1) -> Window:
        """The pixels of ``tiles`` x ``tiles`` tiles from tile (row, col) on, as far as they lie in the image."""
        top, left, edge = row * self.tile_size, col * self.tile_size, tiles * self.tile_size
        return Window(row=top, col=left, height=min(edge, self.height - top), width=min(edge, self.width - left))


def plan_levels(width: int, height: int, tile_size: int) -> tuple[Level, ...]:
    """Halve, rounding up, until the image fits into one tile; full resolution first.

    Examples
    --------
    >>> [(level.width, level.height) for level in plan_levels(1500, 701, 512)]
    [(1500, 701), (750, 351), (375, 176)]
    """
    levels = [Level(index=0, width=width, height=height, tile_size=tile_size)]
    while max(width, height) > tile_size:
        width, height = -(-width // 2), -(-height // 2)
        levels.append(Level(index=len(levels), width=width, height=height, tile_size=tile_size))
    return tuple(levels)


@dataclass(frozen=True, slots=True, kw_only=True)
class CogSpec:
    """Everything about a Cloud-Optimized GeoTIFF but its pixels."""

    grid: Grid
    """Pixels of the full resolution and the CRS (WKT; empty for none)."""
    bands: int
    """Number of bands."""
    dtype: str
    """Numpy dtype name, one of ``codecs.DTYPES``."""
    nodata: float | None = None
    """Value of invalid samples (maybe NaN), or None."""
    profile: CogProfile = field(default_factory=CogProfile)
    """Tile size, codec and resampling of the overviews."""
    overviews: bool = True
    """True where the file has overviews."""
    descriptions: tuple[str | None, ...] = ()
    """Description of each band, None where there is nothing to say; empty: no band has one."""
    scalings: tuple[Scaling | None, ...] = ()
    """Scale and offset of each band, None where nothing is known of them; empty: of no band."""
    units: tuple[str | None, ...] = ()
    """Unit of each band's physical values, None where it is unknown; empty: of no band."""
    statistics: Moments | None = None
    """Moments of the valid pixels of the full resolution, written as STATISTICS_* of each band; None: none are written."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Other metadata items of the dataset."""
    photometric: Literal["minisblack", "rgb", "palette"] = "minisblack"
    """"rgb" where the first three bands are red, green, blue to look at, "palette" with ``colours``, else "minisblack"."""
    colours: tuple[str, ...] = ()
    """Colour of each value from 0 on, "#RRGGBB"; empty: none has one."""

    def __post_init__(self) -> None:
        """Refuse what a GeoTIFF cannot hold."""
        if self.dtype not in DTYPES:
            msg = f"dtype {self.dtype} cannot be written; choose one of {', '.join(DTYPES)}"
            raise ConfigError(msg)
        make_fill(np.dtype(self.dtype), self.nodata)
        if not 1 <= self.bands <= 65535:
            msg = f"a raster has 1 to 65535 bands, got {self.bands}"
            raise ConfigError(msg)
        for name, told in (("descriptions", self.descriptions), ("scalings", self.scalings), ("units", self.units)):
            if told and len(told) != self.bands:
                msg = f"{name} must be one a band, got {len(told)} for {self.bands} bands"
                raise ConfigError(msg)
        if self.statistics is not None and self.statistics.mean.shape != (self.bands,):
            msg = f"statistics must be one a band, got shape {self.statistics.mean.shape} for {self.bands} bands"
            raise ConfigError(msg)
        if self.photometric == "rgb" and (self.bands < 3 or self.dtype not in {"uint8", "uint16"}):
            msg = f"photometric rgb needs three bands of uint8 or uint16, got {self.bands} of {self.dtype}"
            raise ConfigError(msg)

        if (self.photometric == "palette") != bool(self.colours) or len(self.colours) > 256:
            msg = f"photometric palette needs 1 to 256 colours and no other takes any, got {len(self.colours)}"
            raise ConfigError(msg)
        if self.colours and (self.bands, self.dtype) != (1, "uint8"):
            msg = f"photometric palette needs one band of uint8, got {self.bands} of {self.dtype}"
            raise ConfigError(msg)

    @property
    def levels(self) -> tuple[Level, ...]:
        """The full resolution and its overviews."""
        levels = plan_levels(self.grid.width, self.grid.height, self.profile.tile_size)
        return levels if self.overviews else levels[:1]
