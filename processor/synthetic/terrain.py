"""A synthetic landscape of any size, computed window by window from a seed; the sample scenes show it.

A pixel depends on the seed and its position only, so windows agree where they meet. The bytes are the same on every machine: no
transcendental function touches a pixel, because their last bit differs between processors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from processor.model import Window

F32 = NDArray[np.float32]
U32 = NDArray[np.uint32]

BAND_NAMES: Final = ("red", "green", "blue", "nir", "rededge", "swir16")
"""STAC common names of the bands; a scene has the first 1 to 6 of them."""

# Reflectance of land cover, in the order of BAND_NAMES: rounded values within the range of published field spectra.
_CROPS: Final = np.array(
    [
        [0.070, 0.110, 0.050, 0.420, 0.160, 0.170],  # young wheat
        [0.250, 0.210, 0.125, 0.360, 0.280, 0.330],  # ripe wheat
        [0.185, 0.145, 0.100, 0.260, 0.210, 0.320],  # bare soil
        [0.130, 0.105, 0.080, 0.190, 0.150, 0.250],  # dark soil
        [0.055, 0.088, 0.045, 0.380, 0.140, 0.150],  # maize
        [0.225, 0.230, 0.085, 0.430, 0.270, 0.220],  # rape in flower
        [0.095, 0.130, 0.068, 0.400, 0.170, 0.180],  # meadow
        [0.085, 0.118, 0.062, 0.370, 0.160, 0.175],  # pasture
        [0.215, 0.180, 0.120, 0.310, 0.240, 0.330],  # stubble
    ],
    dtype=np.float32,
)
_SOWN: Final = np.array([0, 0, 1, 1, 2, 2, 3, 4, 4, 5, 6, 6, 7, 7, 8, 8], dtype=np.intp)  # how common each crop is
_FOREST: Final = (0.038, 0.058, 0.036, 0.290, 0.095, 0.100)
_HEDGE: Final = (0.050, 0.072, 0.042, 0.310, 0.110, 0.120)
_WATER: Final = (0.042, 0.066, 0.072, 0.030, 0.035, 0.012)
_GRAVEL: Final = (0.290, 0.270, 0.225, 0.320, 0.300, 0.330)
_ROAD: Final = (0.210, 0.205, 0.195, 0.230, 0.215, 0.240)
_GARDEN: Final = (0.105, 0.125, 0.080, 0.330, 0.160, 0.190)
_ROOFS: Final = np.array(
    [[0.30, 0.17, 0.13, 0.33, 0.31, 0.35], [0.25, 0.25, 0.26, 0.27, 0.26, 0.28], [0.42, 0.40, 0.37, 0.43, 0.42, 0.40]],
    dtype=np.float32,
)
_DISTRICT: Final = 640  # pixels between the centres of districts, whose borders are the roads
_HEADINGS: Final = ((1.0, 0.0), (0.8, 0.6), (0.96, 0.28), (0.6, -0.8), (0.923, -0.385))  # cosine and sine, without trigonometry


def _hash(seed: int, *keys: NDArray[np.int64] | U32) -> U32:
    """Well-mixed 32 bits for a seed and integer keys that broadcast (Murmur3's finaliser after each key)."""
    mixed: U32 = np.full(1, (seed * 0x9E3779B1 + 0x7F4A7C15) & 0xFFFFFFFF, dtype=np.uint32)
    for key in keys:
        mixed = mixed * np.uint32(0x01000193) ^ key.astype(np.uint32) * np.uint32(0x85EBCA6B)
        mixed ^= mixed >> np.uint32(16)
        mixed *= np.uint32(0x85EBCA6B)
        mixed ^= mixed >> np.uint32(13)
        mixed *= np.uint32(0xC2B2AE35)
        mixed ^= mixed >> np.uint32(16)
    return mixed


def _uniform(bits: U32) -> F32:
    """Numbers in [0, 1) from the upper 24 bits: exact in float32."""
    return (bits >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def _bell(bits: U32) -> F32:
    """Nearly normal numbers of mean 0 and deviation 1, within ±3.5: the sum of the four bytes."""
    total: U32 = (bits & np.uint32(255)) + (bits >> np.uint32(8) & np.uint32(255)) + (bits >> np.uint32(16) & np.uint32(255))
    total += bits >> np.uint32(24)
    return (total.astype(np.float32) - np.float32(510.0)) * np.float32(1.0 / 147.8)


def _noise(seed: int, cell: float, window: Window) -> F32:
    """Value noise in [-1, 1): random values ``cell`` pixels apart, joined by smooth steps; float32 (height, width)."""

    def place(start: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64], F32]:
        at = np.arange(start, start + count, dtype=np.float64) / cell
        floor = np.floor(at)
        t = at - floor
        index = floor.astype(np.int64)
        knots = np.arange(index[0], index[-1] + 2, dtype=np.int64)
        return knots, index - index[0], (t * t * (3.0 - 2.0 * t)).astype(np.float32)

    row_knots, rows, row_t = place(window.row, window.height)
    col_knots, cols, col_t = place(window.col, window.width)
    knots = _uniform(_hash(seed, row_knots[:, None], col_knots[None, :])) * np.float32(2.0) - np.float32(1.0)
    lines = knots[rows] + (knots[rows + 1] - knots[rows]) * row_t[:, None]
    left: F32 = np.take(lines, cols, axis=1)
    left += (np.take(lines, cols + 1, axis=1) - left) * col_t
    return left


def make_noise(seed: int, cells: tuple[int, ...], window: Window, *, decay: float = 0.5) -> F32:
    """Octaves of noise summed with falling weight, in about [-1, 1]; float32 (height, width)."""
    total: F32 = np.zeros(window.shape, dtype=np.float32)
    weight, weights = 1.0, 0.0
    for octave, cell in enumerate(cells):
        total += np.float32(weight) * _noise(seed + 101 * octave, cell, window)
        weights += weight
        weight *= decay
    total *= np.float32(1.6 / weights)
    return total


def _step(value: F32, start: float, end: float) -> F32:
    """0 below ``start``, 1 above ``end``, linear between (``end`` may be the smaller)."""
    ramp: F32 = np.clip((value - np.float32(start)) * np.float32(1.0 / (end - start)), np.float32(0.0), np.float32(1.0))
    return ramp


@dataclass(frozen=True, slots=True, kw_only=True)
class _Districts:
    """The district of each pixel and the direction of its fields; arrays (height, width)."""

    border: F32
    """Pixels to the district's edge, roughly."""
    centre: F32
    """Pixels to the district's centre."""
    bits: U32
    """Random bits of the district."""
    u: F32
    v: F32
    """Pixels along and across the heading of its fields."""


def _make_districts(seed: int, window: Window) -> _Districts:
    """Cells of a jittered Voronoi diagram whose edges are slightly bent."""
    x = np.arange(window.col, window.col_end, dtype=np.float32)[None, :] + 26 * make_noise(seed + 1, (260, 90), window)
    y = np.arange(window.row, window.row_end, dtype=np.float32)[:, None] + 26 * make_noise(seed + 2, (260, 90), window)
    # Two cells around: the second nearest centre is never farther, so neighbouring windows see the same ones.
    rows = np.arange(window.row // _DISTRICT - 2, (window.row_end - 1) // _DISTRICT + 3, dtype=np.int64)
    cols = np.arange(window.col // _DISTRICT - 2, (window.col_end - 1) // _DISTRICT + 3, dtype=np.int64)
    keys = np.stack(np.meshgrid(rows, cols, indexing="ij")).reshape(2, -1)
    bits = _hash(seed, keys[0], keys[1])
    centre_y = ((keys[0] + 0.15 + 0.7 * _uniform(_hash(seed + 3, bits))) * _DISTRICT).astype(np.float32)
    centre_x = ((keys[1] + 0.15 + 0.7 * _uniform(_hash(seed + 4, bits))) * _DISTRICT).astype(np.float32)
    first = np.full(window.shape, np.inf, dtype=np.float32)
    second = first.copy()
    owner = np.zeros(window.shape, dtype=np.intp)
    for index, (at_y, at_x) in enumerate(zip(centre_y, centre_x, strict=True)):
        gap_y = max(window.row - at_y, at_y - window.row_end, 0.0)
        gap_x = max(window.col - at_x, at_x - window.col_end, 0.0)
        if math.hypot(gap_y, gap_x) > 1.8 * _DISTRICT:
            continue
        distance = (x - at_x) * (x - at_x) + (y - at_y) * (y - at_y)
        owner[distance < first] = index
        second = np.minimum(second, np.maximum(first, distance))
        first = np.minimum(first, distance)
    heading = np.array(_HEADINGS, dtype=np.float32)[bits % np.uint32(len(_HEADINGS))][owner]
    away_x, away_y = x - centre_x[owner], y - centre_y[owner]
    centre = np.sqrt(first)
    return _Districts(
        border=(np.sqrt(second) - centre) * np.float32(0.5),
        centre=centre,
        bits=bits[owner],
        u=away_x * heading[..., 0] + away_y * heading[..., 1],
        v=away_y * heading[..., 0] - away_x * heading[..., 1],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parcels:
    """A brick pattern: the brick of each pixel and the position in it; arrays (height, width)."""

    bits: U32
    """Random bits of the brick."""
    along: F32
    across: F32
    """Position within the brick, 0 to 1."""
    edge: F32
    """Pixels to the brick's edge."""


def _make_parcels(seed: int, districts: _Districts, length: F32 | float, depth: F32 | float) -> _Parcels:
    """Cut districts into bricks of ``length`` x ``depth`` pixels; each course is shifted at random."""
    v = districts.v / depth
    course = np.floor(v)
    keys = course.astype(np.int64)
    u = districts.u / length + _uniform(_hash(seed, keys, districts.bits))
    brick = np.floor(u)
    along, across = u - brick, v - course
    edge = np.minimum(np.minimum(along, 1 - along) * length, np.minimum(across, 1 - across) * depth)
    return _Parcels(bits=_hash(seed + 1, keys, brick.astype(np.int64), districts.bits), along=along, across=across, edge=edge)


@dataclass(frozen=True, slots=True, kw_only=True)
class Landscape:
    """A landscape without end: fields, woods, villages, roads and a river, about 2 m a pixel."""

    bands: int
    """Number of bands, the first of ``BAND_NAMES``."""
    seed: int
    """Seed of all random numbers."""
    river_row: int
    """Row around which the river winds."""

    def __post_init__(self) -> None:
        """Refuse a number of bands that has no names."""
        if not 1 <= self.bands <= len(BAND_NAMES):
            msg = f"bands must be 1 to {len(BAND_NAMES)}, got {self.bands}"
            raise ValueError(msg)

    def compute_reflectance(self, window: Window) -> F32:
        """Reflectance of a window, 0.01 to 0.5, float32 (bands, height, width); pixels do not depend on the window."""
        seed, bands = self.seed * 1000, self.bands
        halo = Window(row=window.row - 1, col=window.col - 1, height=window.height + 1, width=window.width + 1)
        height = make_noise(seed + 10, (900, 450, 220, 110, 55, 27), halo, decay=0.55)
        relief = (height[:-1, :-1] - height[1:, 1:]) * np.float32(7.0)  # light from the upper left
        crowns = _noise(seed + 20, 7, halo) + _noise(seed + 21, 4, halo) * np.float32(0.7)
        canopy = (crowns[:-1, :-1] - crowns[1:, 1:]) * np.float32(0.42)
        mottle = make_noise(seed + 30, (60, 23, 9, 3), window, decay=0.7)
        soils = make_noise(seed + 35, (310, 130, 48), window, decay=0.8)
        districts = _make_districts(seed + 40, window)

        size = np.float32(0.7) + _uniform(_hash(seed + 50, districts.bits))
        fields = _make_parcels(seed + 51, districts, 190 * size, 62 * size)
        colour = _CROPS[_SOWN[fields.bits % np.uint32(len(_SOWN))], :bands].transpose(2, 0, 1).copy()
        furrow = np.where(fields.bits & np.uint32(64), districts.v, districts.u + districts.v * np.float32(0.1)) / np.float32(5)
        lines = np.abs(furrow - np.floor(furrow) - np.float32(0.5)) - np.float32(0.25)
        shade = np.float32(0.86) + np.float32(0.28) * _uniform(_hash(seed + 52, fields.bits))
        shade += np.float32(0.16) * lines + np.float32(0.22) * mottle + np.float32(0.16) * soils
        wild = _step(mottle + fields.edge * np.float32(-0.45), -1.1, -0.6)
        wild *= (fields.bits & np.uint32(48) != 0).astype(np.float32)  # three fields in four have a hedge
        _lay(colour, _HEDGE, wild)

        town = _step(districts.centre + 70 * make_noise(seed + 60, (120, 40), window), 165, 155)
        town *= (districts.bits % np.uint32(3) == 0).astype(np.float32)
        plots = _make_parcels(seed + 61, districts, 22.0, 30.0)
        _lay(colour, _GARDEN, town)
        _lay(colour, _HEDGE, town * _step(mottle + soils, 0.35, 0.5))
        wide = np.float32(0.12) + np.float32(0.14) * _uniform(plots.bits)
        built = town * (plots.bits % np.uint32(4) != 0) * _step(np.abs(plots.along - np.float32(0.5)) - wide, 0.04, 0)
        built *= _step(np.abs(plots.across - np.float32(0.5)) - np.float32(0.7) * wide, 0.03, 0)
        _lay(colour, _ROAD, town * _step(np.minimum(plots.across, 1 - plots.across), 0.08, 0.05))
        roofs = _ROOFS[_hash(seed + 62, plots.bits) % np.uint32(len(_ROOFS)), :bands].transpose(2, 0, 1)
        _lay(colour, roofs, built)

        river = self._river_distance(window)
        woods = make_noise(seed + 70, (420, 210, 100, 40, 12), window, decay=0.55)
        woods += _step(river, 150, 20) * np.float32(0.3) - town * np.float32(1.0)
        wood = _step(woods, 0.30, 0.33)
        _lay(colour, _FOREST, wood)
        trees = np.maximum(wood, wild)
        shade += trees * (1 + canopy - shade)
        _lay(colour, _GRAVEL, _step(river + 9 * mottle, 24, 20))
        road = _step(districts.border, 2.6, 1.6)
        water = _step(river + 2 * mottle, 19, 17) * (1 - road)  # roads cross on bridges
        _lay(colour, _WATER, water)
        _lay(colour, _ROAD, road)
        shade += water * (1 + np.float32(0.03) * mottle - shade)

        rows = np.arange(window.row, window.row_end, dtype=np.int64)[:, None]
        cols = np.arange(window.col, window.col_end, dtype=np.int64)[None, :]
        grain = _bell(_hash(seed + 80, rows, cols))
        shade *= 1 + relief * (1 - water) + np.float32(0.05) * grain
        return np.clip(colour * shade, np.float32(0.01), np.float32(0.5))

    def _river_distance(self, window: Window) -> F32:
        """Pixels to the middle of the river, roughly; float32 (height, width)."""
        line = Window(row=0, col=window.col - 1, height=1, width=window.width + 1)
        middle = np.zeros(line.shape, dtype=np.float32)
        for index, (cell, swing) in enumerate(((900, 220.0), (330, 110.0), (120, 18.0))):
            middle += np.float32(swing) * _noise(self.seed * 1000 + 90 + index, cell, line)
        slope = middle[:, 1:] - middle[:, :-1]
        row = np.arange(window.row - self.river_row, window.row_end - self.river_row, dtype=np.float32)[:, None]
        distance: F32 = np.abs(row - middle[:, 1:]) / np.sqrt(1 + slope * slope)
        return distance


def _lay(colour: F32, cover: F32 | tuple[float, ...], share: F32) -> None:
    """Cover the ground, in place, by a share of 0 to 1: ``colour`` is scratch of the landscape that is being built."""
    for band in range(len(colour)):
        colour[band] += share * (cover[band] - colour[band])
