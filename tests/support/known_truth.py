"""Scenes cut from a ground that is known, each with a radiometry of its own, and what a mosaic of them is like beside it.

A scene shows ``ground * light * gain + offset + noise``, with clouds that nothing marks, and fields that have changed. Nothing
of the program makes or judges them, but for the noise from which the grounds and the clouds are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from outcomes import Outcome
from scenes import LEFT, TOP, write_items, write_scene

from processor.model import Window
from processor.synthetic.difficulties import make_changes, make_clouds
from processor.synthetic.terrain import Landscape, make_noise

F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

ROWS, COLS = 3, 2
HEIGHT, WIDTH = 384, 352  # of a scene
DOWN, ACROSS = 288, 256  # from scene to scene
GROUND = ((ROWS - 1) * DOWN + HEIGHT, (COLS - 1) * ACROSS + WIDTH)
BANDS = ("red", "green", "blue")
CELL = 8  # pixels of the ground on the edge of a pixel of the reference
COARSE = 32  # pixels on the edge of the blocks in which low frequencies are judged


def draw_fields(seed: int = 3) -> F64:
    """Fields, woods, villages and a river: float64 (3, height, width), about 300 to 5000."""
    height, width = GROUND
    landscape = Landscape(bands=len(BANDS), seed=seed, river_row=height // 2)
    reflectance = landscape.compute_reflectance(Window(row=0, col=0, height=height, width=width))
    return np.asarray(300 + 9500 * reflectance.astype(np.float64))


def draw_hills(seed: int = 8) -> F64:
    """Ground without an edge: sums of smooth shapes of all sizes, mostly common to the bands; about 500 to 4000."""
    window = Window(row=0, col=0, height=GROUND[0], width=GROUND[1])
    sizes = (260, 120, 55, 24, 11, 5, 3)
    common = make_noise(seed * 1000, sizes, window, decay=0.8)
    own = [make_noise(seed * 1000 + 333 * (band + 1), sizes, window, decay=0.8) for band in range(len(BANDS))]
    levels = [1500 + 250 * band + (1100 - 150 * band) * (common + 0.4 * one) for band, one in enumerate(own)]
    return np.stack(levels).astype(np.float64).clip(200, 6000)


@dataclass(frozen=True, kw_only=True)
class KnownScenes:
    """Scenes, and what they were made from."""

    items: Path
    """Their ItemCollection."""
    reference: Path
    """The ground on pixels of ``CELL`` times the size."""
    truth: F64
    """The ground, (3, height, width)."""
    clear: dict[str, Bool]
    """Pixels of each scene that show the ground as it is, (HEIGHT, WIDTH)."""
    gains: F64
    """Of each scene and band, in name order."""
    offsets: F64
    """Ditto, source units."""
    contrasts: F64
    """Standard deviation of the clear pixels of each scene and band, over that of the ground there."""


def place_scenes() -> dict[str, Window]:
    """Where the scenes lie on the ground, by name."""
    return {
        f"s{row}{col}": Window(row=row * DOWN, col=col * ACROSS, height=HEIGHT, width=WIDTH)
        for row in range(ROWS)
        for col in range(COLS)
    }


def cut_known_scenes(
    folder: Path,
    ground: F64,
    *,
    gains: float = 0.12,
    offsets: float = 0.15,
    light: float = 0.06,
    noise: float = 0.01,
    clouds: float = 0.0,
    changes: float = 0.0,
    seed: int = 1,
) -> KnownScenes:
    """Write the scenes of a ground and a reference.

    Parameters
    ----------
    gains
        Standard deviation of their logarithms; two thirds of the variance are common to the bands.
    offsets, noise
        Standard deviations, in those of the ground.
    light
        Darkening half-way along the edges, and three times the standard deviation of each scene's own slopes.
    clouds
        Share of every other scene.
    changes
        Share of every scene whose ground is that of elsewhere, brightened or darkened.
    """
    random = np.random.default_rng(seed)
    spread = ground.std(axis=(1, 2))[:, None, None]
    paths, clear, factors, shifts, contrasts = [], {}, [], [], []
    down, across = np.linspace(-1, 1, HEIGHT)[:, None], np.linspace(-1, 1, WIDTH)[None, :]
    for number, (name, window) in enumerate(place_scenes().items()):
        gain = np.exp(gains * (0.8 * random.normal() + 0.6 * random.normal(size=(len(BANDS), 1, 1))))
        offset = offsets * spread * random.normal(size=(len(BANDS), 1, 1))
        slopes = light / 3 * random.normal(size=2)
        field = 1 - light * (down**2 + across**2) + slopes[0] * down + slopes[1] * across
        place = window.slices_in(Window(row=0, col=0, height=GROUND[0], width=GROUND[1]))
        scene = ground[:, *place]
        visible = np.ones(window.shape, np.bool_)
        if changes:
            changed = make_changes(changes, 100 + seed * 10 + number, window)
            factor = 0.75 if number % 2 else 1.3
            scene = np.where(changed, factor * np.roll(scene, (97, 131), axis=(1, 2)), scene)
            visible &= ~changed
        pixels = scene * field * gain + offset + noise * spread * random.normal(size=scene.shape)
        if clouds and number % 2 == 0:
            opacity = make_clouds(clouds, 500 + seed * 10 + number, window, window).astype(np.float64)
            texture = make_noise(700 + number, (40, 13, 5), window)
            pixels += opacity * (ground.max() * (1 + 0.1 * texture) - pixels)
            visible &= opacity == 0
        path = folder / f"{name}.tif"
        corner = {"left": LEFT + window.col, "top": TOP - window.row}
        paths.append(write_scene(path, pixels.clip(1, 65535), dtype="uint16", descriptions=BANDS, **corner))
        clear[name] = visible
        factors.append(gain.ravel())
        shifts.append(offset.ravel())
        contrasts.append(pixels[:, visible].std(axis=1) / ground[:, *place][:, visible].std(axis=1))
    return KnownScenes(
        items=write_items(folder, paths, bands=BANDS),
        reference=write_reference(folder / "known" / "sensor.tif", ground),
        truth=ground,
        clear=clear,
        gains=np.array(factors),
        offsets=np.array(shifts),
        contrasts=np.array(contrasts),
    )


def write_reference(path: Path, ground: F64, *, cell: int = CELL, nodata: float | None = None, **options: Any) -> Path:
    """The ground averaged to pixels of ``cell`` times its own."""
    bands, height, width = ground.shape
    rows, cols = height // cell, width // cell
    coarse = ground[:, : rows * cell, : cols * cell].reshape(bands, rows, cell, cols, cell).mean(axis=(2, 4))
    return write_scene(path, coarse.astype(np.float32), pixel=float(cell), nodata=nodata, descriptions=BANDS, **options)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a mosaic is like beside the ground, mean over bands, over the pixels where it shows the ground as it is."""

    error: float
    """RMS of what is left of its difference to the ground after one line a band, over the ground's standard deviation."""
    plain_error: float
    """The same without the line."""
    low_error: float
    """The plain error of the means of blocks of ``COARSE`` pixels a side, of which half at least are clear."""
    contrast: float
    """Its standard deviation over the ground's; of the scenes that it is made of, the mean of that is 1.

    Not simply its standard deviation over the scenes': the ground varies more over all scenes than within one.
    """


def judge(made: Outcome, known: KnownScenes) -> Judged:
    """Compare a mosaic with the ground that its scenes were cut from."""
    mosaic = made.read("mosaic.tif").values.astype(np.float64)
    owner = made.read("scene_index.tif").values[0]
    assert mosaic.shape == known.truth.shape
    clear = np.zeros(owner.shape, np.bool_)
    whole = Window(row=0, col=0, height=GROUND[0], width=GROUND[1])
    for number, (name, window) in enumerate(place_scenes().items(), start=1):
        place = window.slices_in(whole)
        clear[place] |= (owner[place] == number) & known.clear[name]
    spread = known.truth[:, clear].std(axis=1)
    errors, plain, contrast = [], [], []
    for band, (made_band, true_band) in enumerate(zip(mosaic[:, clear], known.truth[:, clear], strict=True)):
        line = np.polyval(np.polyfit(made_band, true_band, 1), made_band)
        errors.append(_rms(line - true_band) / spread[band])
        plain.append(_rms(made_band - true_band) / spread[band])
        contrast.append(made_band.std() / spread[band] / known.contrasts[:, band].mean())
    share = _average(clear[None].astype(np.float64))[0]
    difference = _average((mosaic - known.truth) * clear)[:, share >= 0.5] / share[share >= 0.5]
    return Judged(
        error=float(np.mean(errors)),
        plain_error=float(np.mean(plain)),
        low_error=float(np.mean(np.sqrt((difference**2).mean(axis=1)) / spread)),
        contrast=float(np.mean(contrast)),
    )


def _rms(values: F64) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _average(values: F64) -> F64:
    bands, height, width = values.shape
    rows, cols = height // COARSE, width // COARSE
    cut = values[:, : rows * COARSE, : cols * COARSE].reshape(bands, rows, COARSE, cols, COARSE)
    return np.asarray(cut.mean(axis=(2, 4)))


def read_ground(path: Path, *, row: int, col: int) -> F64:
    """A window of an image of three bands of 8 bits as a ground, about 200 to 2300."""
    with rasterio.open(path) as raster:
        pixels = raster.read(window=((row, row + GROUND[0]), (col, col + GROUND[1])))
    assert pixels.shape[1:] == GROUND
    return np.asarray(pixels.astype(np.float64) * 8 + 200)
