"""What makes real scenes difficult, with a known truth: a hotspot, haze across scenes, clouds, change, misregistration.

Gains, offsets and vignettes are in every sample scene; these come on top. Everything is computed window by window from a seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from processor.model import Window
from processor.synthetic.terrain import make_noise

_CLOUD_CELLS: Final = (170, 80, 35, 15)  # pixels
_PATCH: Final = 61  # pixels, so that fields do not end where blocks do


@dataclass(frozen=True, slots=True, kw_only=True)
class Difficulties:
    """How difficult the scenes are; by default not at all."""

    hotspot: float = 0.0
    """Brightening of the place opposite the sun, as a share; it lies at the same place within every scene."""
    clouds: float = 0.0
    """Share of every other scene that clouds hide; nothing marks them."""
    changes: float = 0.0
    """Share of every scene where the ground is another than in the truth: fields that were sown or cut meanwhile."""
    haze: float = 0.0
    """Light that smooth haze of its own adds to a scene, as a share of the truth's range, strongest in blue."""
    shift: float = 0.0
    """Pixels by which a scene is misregistered along each axis, at most."""


def make_hotspot(strength: float, down: NDArray[np.float32], across: NDArray[np.float32]) -> NDArray[np.float32]:
    """Factor of the light, float32 (height, width), from positions in the scene, -1 to 1: (height, 1) and (1, width)."""
    distance = (down - np.float32(0.35)) ** 2 + (across + np.float32(0.25)) ** 2
    bright: NDArray[np.float32] = np.maximum(np.float32(1) - distance / np.float32(2), np.float32(0)) ** 2
    return np.float32(1) + np.float32(strength) * bright


def make_clouds(share: float, seed: int, scene: Window, window: Window) -> NDArray[np.float32]:
    """Opacity of clouds over a window of a scene, 0 to 1, float32 (height, width); a share of the scene is half hidden."""
    level = np.float32(np.quantile(make_noise(seed, _CLOUD_CELLS, scene), 1 - share))
    ramp = (make_noise(seed, _CLOUD_CELLS, window) - level) * np.float32(8) + np.float32(0.5)
    opacity: NDArray[np.float32] = np.clip(ramp, np.float32(0), np.float32(1))
    return opacity


def make_changes(share: float, seed: int, window: Window) -> NDArray[np.bool_]:
    """Where the ground has changed: whole squares of the canvas, about a share of all, bool (height, width)."""
    rows = np.arange(window.row, window.row_end) // _PATCH
    cols = np.arange(window.col, window.col_end) // _PATCH
    height, width = int(rows[-1] - rows[0]) + 1, int(cols[-1] - cols[0]) + 1
    draws = np.empty((height, width))
    for row in range(height):
        for col in range(width):
            draws[row, col] = np.random.Generator(np.random.PCG64([seed, rows[0] + row, cols[0] + col])).random()
    changed: NDArray[np.bool_] = (draws < share)[np.ix_(rows - rows[0], cols - cols[0])]
    return changed
