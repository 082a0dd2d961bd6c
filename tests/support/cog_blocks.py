"""Tiles of a TIFF decoded as readers decode them, independently of the code that encodes them."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from processor.geotiff.cog.codecs import CogProfile, find_predictor, make_fill

DECOMPRESS = {
    "deflate": imagecodecs.deflate_decode,
    "zstd": imagecodecs.zstd_decode,
    "lzw": imagecodecs.lzw_decode,
    "none": bytes,
}


def decode_block(data: bytes, profile: CogProfile, *, bands: int, dtype: str, nodata: float | None = None) -> NDArray[Any]:
    """Samples of a tile, (blocksize, blocksize, bands); the fill value where there are no bytes."""
    shape = (profile.blocksize, profile.blocksize, bands)
    if not data:
        return np.full(shape, make_fill(np.dtype(dtype), nodata))
    block = np.frombuffer(bytes(DECOMPRESS[profile.compression](data)), dtype).reshape(shape)
    undo = {2: imagecodecs.delta_decode, 3: imagecodecs.floatpred_decode}.get(find_predictor(profile, block.dtype))
    return block if undo is None else np.asarray(undo(block, axis=-2))
