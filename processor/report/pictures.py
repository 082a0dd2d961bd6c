"""The mosaic itself as a picture: stretched to what a screen shows, and small.

Encoded without metadata: the same arrays give the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from processor.model import Band
from processor.model.bands import choose_shown
from processor.report.figures import Preview


def encode(image: Image.Image, form: str, **options: Any) -> bytes:
    """A picture in a format that Pillow writes, with its options."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def stretch(preview: Preview, bands: Sequence[Band]) -> Image.Image:
    """RGBA picture of the preview, transparent where it is not valid.

    Stretched from the 2nd to the 98th percentile of the valid pixels: over the three bands together where they are red, green
    and blue, which keeps their hue; each for itself where they are not, because their levels are not comparable.
    """
    count = preview.values.shape[0]
    chosen, natural = choose_shown(bands[:count])
    shown = preview.valid.copy()
    for band in {*chosen}:
        shown &= np.isfinite(preview.values[band])
    rgba = np.zeros((*shown.shape, 4), np.uint8)
    if shown.any():
        exact = np.float32 if preview.values.dtype.itemsize <= 2 else np.float64  # sorted in half of the time
        known = {band: np.percentile(preview.values[band][shown].astype(exact), (2, 98)) for band in {*chosen}}
        limits = np.array([known[band] for band in chosen], np.float64).T
        low = np.full(3, limits[0].min()) if natural else limits[0]
        high = np.full(3, limits[1].max()) if natural else limits[1]
        span = np.where(high > low, high - low, 1.0)
        for position, band in enumerate(chosen):  # one after the other: float64 is large
            scaled = preview.values[band][shown].astype(np.float64)
            scaled -= low[position]
            scaled /= span[position]
            np.clip(scaled, 0, 1, out=scaled)
            scaled *= 255
            plane = np.zeros(shown.shape, np.uint8)
            plane[shown] = np.rint(scaled, out=scaled)
            rgba[..., position] = plane
        rgba[..., 3] = 255 * shown
    return Image.fromarray(rgba)


def shrink(image: Image.Image, side: int, how: Image.Resampling) -> Image.Image:
    """A picture of at most ``side`` pixels on the longer side."""
    longest = max(image.size)
    if longest <= side:
        return image
    size = tuple(max(1, round(edge * side / longest)) for edge in image.size)
    return image.resize((size[0], size[1]), how)


def render_thumbnail(stretched: Image.Image, *, side: int = 512) -> bytes:
    """``overview.png``: the mosaic alone, as :func:`stretch` makes it, at most ``side`` pixels on the longer side."""
    return encode(shrink(stretched, side, Image.Resampling.BOX), "PNG", compress_level=2)  # 6: four times the time, 4 % less
