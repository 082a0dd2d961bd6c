"""Tiles of a TIFF decoded as readers decode them, independently of the code that encodes them."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from processor.geotiff.cog.codecs import find_predictor
from processor.geotiff.cog.spec import CogProfile, make_fill

DECOMPRESS = {
    "deflate": imagecodecs.deflate_decode,
    "zstd": imagecodecs.zstd_decode,
    "lzw": imagecodecs.lzw_decode,
    "none": bytes,
}


def decode_tile(data: bytes, profile: CogProfile, *, bands: int, dtype: str, nodata: float | None = None) -> NDArray[Any]:
    """Samples of a tile, (tile_size, tile_size, bands); the fill value where there are no bytes."""
    shape = (profile.tile_size, profile.tile_size, bands)
    if not data:
        return np.full(shape, make_fill(np.dtype(dtype), nodata))
    tile = np.frombuffer(bytes(DECOMPRESS[profile.compression](data)), dtype).reshape(shape)
    undo = {2: imagecodecs.delta_decode, 3: imagecodecs.floatpred_decode}.get(find_predictor(profile, tile.dtype))
    return tile if undo is None else np.asarray(undo(tile, axis=-2))
