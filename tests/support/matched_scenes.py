"""Overlapping scenes cut from a known truth, and the matched blocks of all their pairs."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from processor.model import Bounds, Grid, Window
from processor.stages.matching.block_weights import BlockTable, make_block_table
from processor.stages.matching.matched_blocks import MatchedBlocks, compute_matched_blocks
from processor.synthetic.difficulties import make_clouds
from processor.synthetic.terrain import make_noise

PIXEL = 10.0


def draw_truth(height: int = 384, width: int = 384, bands: int = 3, seed: int = 4) -> NDArray[np.float64]:
    """Ground with structure at every scale, (bands, height, width), about 400 to 1600."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((bands, height, width))
    for step, size in ((96, 200.0), (24, 150.0), (6, 100.0), (1, 40.0)):
        coarse = rng.normal(0, size, (bands, -(-height // step) + 1, -(-width // step) + 1))
        truth += np.repeat(np.repeat(coarse, step, axis=1), step, axis=2)[:, :height, :width]
    return truth.clip(-700, 700) + 1000


@dataclass
class Scenes:
    """Scenes on one canvas; ``values`` may be changed before blocks are measured."""

    canvas: Grid
    windows: dict[str, Window]
    truth: NDArray[np.float64]
    values: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    valid: dict[str, NDArray[np.bool_]] = field(default_factory=dict)

    @property
    def bounds(self) -> dict[str, Bounds]:
        return {name: self.canvas.window_bounds(window) for name, window in self.windows.items()}

    def true_values(self, name: str) -> NDArray[np.float64]:
        window = self.windows[name]
        return self.truth[:, window.row : window.row_end, window.col : window.col_end]

    def position(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """X and y of the pixel centres, (1, width) and (height, 1), CRS units."""
        window = self.windows[name]
        x = self.canvas.left + (window.col + np.arange(window.width) + 0.5) * PIXEL
        y = self.canvas.top - (window.row + np.arange(window.height) + 0.5) * PIXEL
        return x[None, :], y[:, None]

    def measure(self, edge: int = 16) -> list[MatchedBlocks]:
        parts = []
        for a, b in itertools.combinations(sorted(self.windows), 2):
            shared = self.windows[a].intersection(self.windows[b])
            if shared is None:
                continue
            cuts = [shared.slices_in(self.windows[name]) for name in (a, b)]
            values = tuple(self.values[name][:, *cut] for name, cut in zip((a, b), cuts, strict=True))
            masks = [self.valid[name][cut] for name, cut in zip((a, b), cuts, strict=True) if name in self.valid]
            valid = np.logical_and.reduce(masks) if masks else None
            parts.append(compute_matched_blocks((a, b), (values[0], values[1]), valid, self.canvas, shared, self.canvas, edge))
        return parts

    def table(
        self, edge: int = 16, held: Collection[str] = (), references: Collection[str] = (), trust: float = 1.0
    ) -> BlockTable:
        return make_block_table(
            self.measure(edge),
            self.bounds,
            self.canvas,
            bands=len(self.truth),
            held=held,
            references=references,
            reference_trust=trust,
        )


def cut_scenes(
    gains: Mapping[str, tuple[float, float]] | None = None, size: int = 224, step: int = 160, bands: int = 3, seed: int = 4
) -> Scenes:
    """Four scenes a, b, c, d, two by two, which overlap by 64 pixels; gains and offsets by name are applied to the truth."""
    truth = draw_truth(size + step, size + step, bands, seed)
    canvas = Grid(
        crs="",
        left=400_000.0,
        top=5_000_000.0,
        pixel_width=PIXEL,
        pixel_height=PIXEL,
        width=size + step,
        height=size + step,
    )
    places = {"a": (0, 0), "b": (0, step), "c": (step, 0), "d": (step, step)}
    windows = {name: Window(row=row, col=col, height=size, width=size) for name, (row, col) in places.items()}
    scenes = Scenes(canvas=canvas, windows=windows, truth=truth)
    for name in windows:
        gain, offset = (gains or {}).get(name, (1.0, 0.0))
        scenes.values[name] = (scenes.true_values(name) - offset) / gain
    return scenes


def stack_scenes(gains: Mapping[str, tuple[float, float]], *, clouds: float, size: int = 192, seed: int = 4) -> Scenes:
    """Dates of one tile, each with such a share of cloud, wherever the others have theirs; ``valid`` is not set."""
    truth = draw_truth(size, size, 3, seed)
    canvas = Grid(crs="", left=400_000.0, top=5_000_000.0, pixel_width=PIXEL, pixel_height=PIXEL, width=size, height=size)
    whole = Window(row=0, col=0, height=size, width=size)
    scenes = Scenes(canvas=canvas, windows=dict.fromkeys(gains, whole), truth=truth)
    random = np.random.default_rng(seed)
    for number, (name, (gain, offset)) in enumerate(gains.items()):
        values = truth * gain + offset + 0.03 * truth.std() * random.normal(size=truth.shape)
        opacity = make_clouds(clouds, 100 * seed + number, whole, whole).astype(np.float64)
        bright = truth.max() * (1.2 + 0.1 * make_noise(1000 * seed + number, (40, 13, 5), whole))
        scenes.values[name] = values + opacity * (bright - values)
    return scenes
