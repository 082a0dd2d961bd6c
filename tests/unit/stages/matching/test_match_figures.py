"""Figures from matched blocks against the pixels that they were summed from, and against a known truth."""

from __future__ import annotations

import numpy as np
import pytest
from matched_scenes import Scenes, draw_truth
from numpy.typing import NDArray

from processor.model import Adjustment, BlockGrid, BlockMap, Bounds, Grid, Window
from processor.stages.matching.control_surface import ControlGrid, ControlSurface
from processor.stages.matching.match_figures import MatchFigures, compute_match_figures
from processor.stages.measures import MatchedPairs

PIXEL = 10.0
SIZE = 384


def make_scenes(*windows: tuple[int, int, int, int]) -> Scenes:
    truth = draw_truth(SIZE, SIZE)
    canvas = Grid(crs="EPSG:32633", left=0.0, top=0.0, pixel_width=PIXEL, pixel_height=PIXEL, width=SIZE, height=SIZE)
    named = {f"s{i}": Window(row=r, col=c, height=h, width=w) for i, (r, c, h, w) in enumerate(windows)}
    scenes = Scenes(canvas=canvas, windows=named, truth=truth)
    for name in named:
        scenes.values[name] = scenes.true_values(name).copy()
    return scenes


def join(scenes: Scenes) -> MatchedPairs:
    return MatchedPairs(
        canvas=scenes.canvas,
        bounds=scenes.bounds,
        references=(),
        reference_weight=1.0,
        bands=3,
        held=(),
        known={},
        groups={},
        blocks=tuple(scenes.measure()),
    )


def judge(
    scenes: Scenes,
    seam_blocks: NDArray[np.int64],
    adjustments: tuple[Adjustment, ...] = (),
    corrections: tuple[ControlSurface, ...] = (),
    agreement: BlockMap | None = None,
) -> MatchFigures:
    return compute_match_figures(join(scenes), seam_blocks, tuple(scenes.windows), adjustments, corrections, agreement)


def test_the_seam_difference_is_that_of_the_matched_pixels() -> None:
    scenes = make_scenes((0, 0, 384, 240), (0, 144, 384, 240))
    random = np.random.default_rng(5)
    scenes.values["s1"] = (scenes.values["s1"] - 50) / 1.25 + random.normal(0, 20, scenes.values["s1"].shape)
    adjustment = Adjustment(scene="s1", scale=np.full(3, 1.25), offset=np.full(3, 40.0))
    grid = ControlGrid(bounds=scenes.bounds["s0"], rows=2, cols=2)
    surface = ControlSurface(scene="s0", grid=grid, gain=np.full((3, 2, 2), 1.1), offset=np.full((3, 2, 2), -30.0))
    blocks = np.array([[1, 2, row, 12, 16 - row // 2] for row in range(24)]).T
    found = judge(scenes, blocks, (adjustment,), (surface,))
    difference = 1.1 * scenes.values["s0"][:, :, 192:208] - 30 - (1.25 * scenes.values["s1"][:, :, 48:64] + 40)
    rms = np.sqrt((difference.reshape(3, 24, 16, 16) ** 2).mean(axis=(2, 3)))
    assert found.seam_blocks == 24
    np.testing.assert_allclose(found.seam_mean, np.average(rms, axis=1, weights=blocks[4]), rtol=1e-9)
    for band in range(3):
        lengths = blocks[4][np.argsort(rms[band])]
        place = int(np.searchsorted(np.cumsum(lengths), 0.95 * lengths.sum()))
        assert found.seam_high[band] == pytest.approx(np.sort(rms[band])[place])


def test_seams_of_pairs_and_blocks_that_were_not_measured_do_not_count() -> None:
    scenes = make_scenes((0, 0, 384, 240), (0, 144, 384, 240))
    found = judge(scenes, np.array([[1, 2, 0, 12, 4], [1, 2, 0, 20, 4], [1, 3, 0, 12, 4]]).T[:, :2])
    assert found.seam_blocks == 1
    nothing = judge(scenes, np.zeros((5, 0), np.int64))
    assert nothing.seam_blocks == 0
    assert np.isnan(nothing.seam_mean).all()
    assert np.isnan(nothing.seam_high).all()


def test_scenes_that_agree_have_no_difference_and_no_trend() -> None:
    found = judge(make_scenes((0, 0, 384, 240), (0, 144, 384, 240)), np.array([[1, 2, 3, 12, 4]]).T)
    assert found.seam_mean.max() < 1e-3
    assert np.isnan(found.trend)
    assert np.isnan(found.disagreement)


def test_disagreement_is_the_share_of_blocks_on_the_map() -> None:
    grid = BlockGrid(bounds=Bounds(left=0, bottom=0, right=4, top=1), rows=1, cols=4)
    agreement = BlockMap(name="agreement", grid=grid, values=np.array([[[0.0, 0.2, 0.9, np.nan]]]))
    scenes = make_scenes((0, 0, 384, 240), (0, 144, 384, 240))
    assert judge(scenes, np.zeros((5, 0), np.int64), agreement=agreement).disagreement == pytest.approx(2 / 3)


def test_light_within_the_scenes_is_told_from_noise() -> None:
    windows = ((0, 0, 240, 240), (0, 144, 240, 240), (144, 0, 240, 240), (144, 144, 240, 240))
    noisy, lit = make_scenes(*windows), make_scenes(*windows)
    random = np.random.default_rng(8)
    fall = np.linspace(-1, 1, 240)
    for name in noisy.values:
        noisy.values[name] *= np.exp(np.repeat(np.repeat(random.normal(0, 0.05, (1, 15, 15)), 16, 1), 16, 2))
        lit.values[name] *= np.exp(-0.1 * (fall[:, None] ** 2 + fall**2) + 0.05 * fall)
    nothing = np.zeros((5, 0), np.int64)
    assert judge(noisy, nothing).trend < 0.1
    found = judge(lit, nothing)
    assert found.trend == found.trend_global > 0.9
    assert 0.03 < found.trend_size < 0.2
