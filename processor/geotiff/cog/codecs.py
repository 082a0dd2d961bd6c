"""Blocks of pixels, compressed as TIFF wants them: prediction, compression, padding, and blocks that hold nothing.

A block is (height, width, bands), samples of a pixel next to each other. An empty block (every sample the fill value, which is
nodata, or 0 without one) is stored as no bytes at all, and readers make it from the fill value.

Every function is pure, works outside of Python's global lock for nearly all of its time, and gives the same bytes for the same
pixels on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from processor.errors import ConfigError
from processor.model.dtypes import is_representable

__all__ = [
    "DTYPES",
    "CogProfile",
    "encode_block",
    "find_neighbour",
    "find_predictor",
    "is_empty",
    "is_fill",
    "make_fill",
]

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

    blocksize: int = 512
    """Edge of the blocks, pixels, a multiple of 16."""
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
        if self.blocksize < 16 or self.blocksize % 16:
            msg = f"blocksize must be a positive multiple of 16, got {self.blocksize}"
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


def find_predictor(profile: CogProfile, dtype: np.dtype[Any]) -> Literal[1, 2, 3]:
    """Choose the TIFF predictor: 1 none, 2 horizontal differences, 3 floating point.

    TIFF defines prediction only together with deflate, zstd and lzw.
    """
    if not profile.predictor or profile.compression == "none":
        return 1
    return 3 if dtype.kind == "f" else 2


def make_fill(dtype: np.dtype[Any], nodata: float | None) -> Any:
    """Give the value of a sample that holds nothing: nodata in the dtype, or 0 without one (as readers fill absent blocks).

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


def find_neighbour(fill: Any) -> Any:
    """Give the nearest value of the dtype that is not the fill value: the next one up, or down from the largest.

    For a valid result that happens to equal nodata.

    Parameters
    ----------
    fill
        A numpy scalar that is not NaN.
    """
    if fill.dtype.kind == "f":
        down = fill >= np.finfo(fill.dtype).max
        return np.nextafter(fill, fill.dtype.type(-np.inf if down else np.inf))
    down = fill >= np.iinfo(fill.dtype).max
    return fill.dtype.type(int(fill) + (-1 if down else 1))


def is_fill(pixels: NDArray[Any], fill: Any) -> NDArray[np.bool_]:
    """Say which samples hold the fill value (NaN equals NaN); any shape."""
    return np.asarray(np.isnan(pixels) if np.isnan(fill) else pixels == fill)


def is_empty(pixels: NDArray[Any], fill: Any) -> bool:
    """Whether every sample holds the fill value; any shape with at least one element."""
    corners = pixels[tuple(slice(None, None, max(1, size - 1)) for size in pixels.shape)]
    return bool(is_fill(corners, fill).all() and is_fill(pixels, fill).all())


def encode_block(block: NDArray[Any], profile: CogProfile, *, nodata: float | None = None) -> bytes:
    """Compress a block.

    Parameters
    ----------
    block
        (height, width, bands), any strides; a view of (bands, height, width) with the bands last is fastest. Smaller than
        blocksize at the right and lower edge of the image: padded with the fill value.
    profile
        How to encode.
    nodata
        The value of invalid samples, or None.

    Returns
    -------
    The bytes of a TIFF tile; none where the block is empty.

    Raises
    ------
    ConfigError
        The dtype is not one of ``DTYPES``, or cannot hold nodata.
    ValueError
        The block is larger than blocksize, or empty of pixels.
    """
    fill = _checked_fill(block, profile, nodata)
    if is_empty(block, fill):
        return b""
    padded = _interleave(block, profile.blocksize, fill)
    predictor = find_predictor(profile, padded.dtype)
    samples = padded.shape[2]
    if predictor == 2:
        return _compress(_difference(padded.reshape(padded.shape[0], -1), samples), profile)
    if predictor == 3:
        return _compress(_difference(_split_bytes(padded), samples), profile)
    return _compress(padded, profile)


def _checked_fill(block: NDArray[Any], profile: CogProfile, nodata: float | None) -> Any:
    """Check a block and give its fill value.

    Raises
    ------
    ConfigError
        The dtype is not one of ``DTYPES``, or cannot hold nodata.
    ValueError
        The shape is not that of a block.
    """
    if block.dtype.name not in DTYPES:
        msg = f"dtype {block.dtype.name} cannot be written; choose one of {', '.join(DTYPES)}"
        raise ConfigError(msg)
    if block.ndim != 3 or 0 in block.shape or max(block.shape[:2]) > profile.blocksize:
        msg = f"a block must be (height, width, bands) of at most {profile.blocksize} rows and columns, got {block.shape}"
        raise ValueError(msg)
    return make_fill(block.dtype, nodata)


def _interleave(block: NDArray[Any], blocksize: int, fill: Any) -> NDArray[Any]:
    """Copy a block to (blocksize, blocksize, bands), contiguous and little-endian, padded with the fill value."""
    height, width, bands = block.shape
    dtype = block.dtype.newbyteorder("<")
    if (height, width) == (blocksize, blocksize) and block.flags.c_contiguous and block.dtype == dtype:
        return block
    out = np.empty((blocksize, blocksize, bands), dtype)
    for band in range(bands):  # band by band is 2 to 7 times as fast as one transposed copy
        out[:height, :width, band] = block[:, :, band]
    out[:height, width:] = fill
    out[height:] = fill
    return out


def _difference(rows: NDArray[Any], stride: int) -> NDArray[Any]:
    """Replace each value of a row by its difference from the one ``stride`` before, modulo the dtype; (rows, n), contiguous."""
    flat = rows.reshape(-1)
    out = np.empty_like(flat)
    np.subtract(flat[stride:], flat[:-stride], out=out[stride:])  # across row ends too: one long loop is 3 times as fast
    table = out.reshape(rows.shape)
    table[:, :stride] = rows[:, :stride]
    return table


def _split_bytes(block: NDArray[Any]) -> NDArray[np.uint8]:
    """Order the bytes of each row of floats by significance: all the first bytes, then the second…; (height, bytes of a row).

    TIFF Technical Note 3, floating point predictor: the most significant byte comes first whatever the byte order.
    """
    height, size = block.shape[0], block.dtype.itemsize
    octets = block.view(np.uint8).reshape(height, -1, size)
    out = np.empty((height, size, octets.shape[1]), np.uint8)
    for index in range(size):
        out[:, index] = octets[:, :, size - 1 - index]
    return out.reshape(height, -1)


def _compress(data: NDArray[Any], profile: CogProfile) -> bytes:
    """Compress contiguous bytes."""
    octets = cast("bytes", data.reshape(-1).view(np.uint8).data)  # any buffer will do, without a copy
    if profile.compression == "deflate":
        return bytes(imagecodecs.deflate_encode(octets, profile.effort))
    if profile.compression == "zstd":
        return bytes(imagecodecs.zstd_encode(octets, profile.effort))
    if profile.compression == "lzw":
        return bytes(imagecodecs.lzw_encode(octets))
    return bytes(octets)
