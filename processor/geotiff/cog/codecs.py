"""Tiles of pixels, compressed as TIFF wants them: prediction, compression, padding, and tiles that hold nothing.

A tile is (height, width, bands), samples of a pixel next to each other. An empty tile (every sample the fill value, which is
nodata, or 0 without one) is stored as no bytes at all, and readers make it from the fill value.

Every function is pure, works outside of Python's global lock for nearly all of its time, and gives the same bytes for the same
pixels on every machine.
"""

from __future__ import annotations

from typing import Any, Literal, cast

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from processor.errors import ConfigError
from processor.geotiff.cog.spec import DTYPES, CogProfile, make_fill


def find_predictor(profile: CogProfile, dtype: np.dtype[Any]) -> Literal[1, 2, 3]:
    """Choose the TIFF predictor: 1 none, 2 horizontal differences, 3 floating point.

    TIFF defines prediction only together with deflate, zstd and lzw.
    """
    if not profile.predictor or profile.compression == "none":
        return 1
    return 3 if dtype.kind == "f" else 2


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


def encode_tile(tile: NDArray[Any], profile: CogProfile, *, nodata: float | None = None) -> bytes:
    """Compress a tile.

    Parameters
    ----------
    tile
        (height, width, bands), any strides; a view of (bands, height, width) with the bands last is fastest. Smaller than
        tile_size at the right and lower edge of the image: padded with the fill value.
    profile
        How to encode.
    nodata
        The value of invalid samples, or None.

    Returns
    -------
    The bytes of a TIFF tile; none where the tile is empty.

    Raises
    ------
    ConfigError
        The dtype is not one of ``DTYPES``, or cannot hold nodata.
    ValueError
        The tile is larger than tile_size, or empty of pixels.
    """
    if tile.dtype.name not in DTYPES:
        msg = f"dtype {tile.dtype.name} cannot be written; choose one of {', '.join(DTYPES)}"
        raise ConfigError(msg)
    if tile.ndim != 3 or 0 in tile.shape or max(tile.shape[:2]) > profile.tile_size:
        msg = f"a tile must be (height, width, bands) of at most {profile.tile_size} rows and columns, got {tile.shape}"
        raise ValueError(msg)
    fill = make_fill(tile.dtype, nodata)
    if is_empty(tile, fill):
        return b""
    padded = _interleave(tile, profile.tile_size, fill)
    predictor = find_predictor(profile, padded.dtype)
    samples = padded.shape[2]
    if predictor == 2:
        return _compress(_difference(padded.reshape(padded.shape[0], -1), samples), profile)
    if predictor == 3:
        return _compress(_difference(_split_bytes(padded), samples), profile)
    return _compress(padded, profile)


def _interleave(tile: NDArray[Any], tile_size: int, fill: Any) -> NDArray[Any]:
    """Copy a tile to (tile_size, tile_size, bands), contiguous and little-endian, padded with the fill value."""
    height, width, bands = tile.shape
    dtype = tile.dtype.newbyteorder("<")
    if (height, width) == (tile_size, tile_size) and tile.flags.c_contiguous and tile.dtype == dtype:
        return tile
    out = np.empty((tile_size, tile_size, bands), dtype)
    for band in range(bands):  # band by band is 2 to 7 times as fast as one transposed copy
        out[:height, :width, band] = tile[:, :, band]
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


def _split_bytes(tile: NDArray[Any]) -> NDArray[np.uint8]:
    """Order the bytes of each row of floats by significance: all the first bytes, then the second…; (height, bytes of a row).

    TIFF Technical Note 3, floating point predictor: the most significant byte comes first whatever the byte order.
    """
    height, size = tile.shape[0], tile.dtype.itemsize
    octets = tile.view(np.uint8).reshape(height, -1, size)
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
