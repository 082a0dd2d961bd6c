"""Ground with structure at all scales, seen by scenes that lie beside their places by quarters of a pixel."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

PARTS: Final = 4
"""Parts of a pixel that displacements are told in."""


def make_ground(size: int, seed: int = 1) -> NDArray[np.float64]:
    """Three bands in parts of pixels, float64 (3, size * PARTS, size * PARTS), of mean 0 and standard deviation 1; periodic."""
    draw = np.random.default_rng(seed)
    shape = size * PARTS, size * PARTS
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1]))
    frequency[0, 0] = 1.0
    ground = np.fft.ifft2(np.fft.fft2(draw.normal(size=(3, *shape)).cumsum(axis=0)) / frequency**1.3).real
    ground -= ground.mean(axis=(1, 2), keepdims=True)
    return np.asarray(ground / ground.std(axis=(1, 2), keepdims=True))


def see_ground(
    ground: NDArray[np.float64], *, row: int, col: int, height: int, width: int, right: int = 0, down: int = 0
) -> NDArray[np.float64]:
    """A window of it in pixels, with its content moved right and down by parts of a pixel; float64 (3, height, width)."""
    moved = np.roll(ground, (down, right), axis=(1, 2))
    cut = moved[:, row * PARTS : (row + height) * PARTS, col * PARTS : (col + width) * PARTS]
    return cut.reshape(len(cut), height, PARTS, width, PARTS).mean(axis=(2, 4))
