"""Blending by two bands: monotonous across a step, exact where scenes are equal, and nothing beyond its width."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from processor.stages.merge.blending import BlendRule, compute_blend, compute_shares, find_surroundings

SHAPE = (40, 120)
RULE = BlendRule(width=40.0, pixel_height=2.0, pixel_width=2.0)
Index = NDArray[np.uint8]
Layers = dict[int, NDArray[np.float32]]
Valid = dict[int, NDArray[np.bool_]]


def halves(seam: int = 60) -> Index:
    """Scene 1 to the left of a seam, scene 2 to the right."""
    index = np.full(SHAPE, 2, np.uint8)
    index[:, :seam] = 1
    return index


def everywhere(*numbers: int) -> Valid:
    return {number: np.ones(SHAPE, np.bool_) for number in numbers}


def blend(index: Index, layers: Layers, valid: Valid, rule: BlendRule = RULE) -> tuple[NDArray[np.bool_], NDArray[np.floating]]:
    """What is laid, with the blend over it; and where it is."""
    values = np.zeros((len(next(iter(layers.values()))), *index.shape))
    for number, layer in layers.items():
        values[:, index == number] = layer[:, index == number]
    shares = compute_shares(index, valid, rule)
    if shares is None:
        return np.zeros(index.shape, np.bool_), values
    changed, blended = compute_blend(index, layers, valid, shares, rule)
    values[:, changed] = blended[:, changed]
    return changed, values


def test_a_step_between_flat_scenes_becomes_a_ramp_over_the_width() -> None:
    layers = {number: np.full((2, *SHAPE), 100.0 * number, np.float32) for number in (1, 2)}
    changed, values = blend(halves(), layers, everywhere(1, 2))
    row = values[0, 20]
    assert (np.diff(row) >= -1e-3).all()
    assert np.diff(row).max() < 100 / 20 + 1e-3, "no step is larger than the ramp's"
    assert row[:50].max() == 100
    assert row[70:].min() == 200
    assert np.flatnonzero(changed[20]).tolist() == list(range(50, 70)), "half the width, 10 pixels, on either side"
    assert row[59] + row[60] == pytest.approx(300, abs=1e-3)


def test_equal_scenes_stay_as_they_are_whatever_their_holes() -> None:
    ground = np.random.default_rng(0).normal(100, 20, (3, *SHAPE)).astype(np.float32)
    valid = everywhere(1, 2)
    valid[2][:, :55] = valid[1][5:12, 66:70] = False
    index = halves()
    valid[2][30:, 58:] = index[30:, 58:] = False
    index[30:, 58:66] = 1
    _, values = blend(index, {1: ground, 2: ground.copy()}, valid)
    laid = np.where(index > 0, ground, 0)
    np.testing.assert_allclose(values, laid, atol=2e-4)


def test_details_of_the_owner_are_kept() -> None:
    """Scenes with the same level and noise of their own: at the seam's side each keeps its own, and none is averaged away."""
    rng = np.random.default_rng(1)
    layers = {number: rng.normal(100, 10, (1, *SHAPE)).astype(np.float32) for number in (1, 2)}
    index = halves()
    changed, values = blend(index, layers, everywhere(1, 2))
    laid = np.where(index == 1, layers[1], layers[2])
    within = changed & (np.abs(np.arange(SHAPE[1]) - 59.5) > 1)
    assert values[0][within].std() > 0.97 * laid[0][within].std()
    assert np.corrcoef(values[0][within], laid[0][within])[0, 1] > 0.97


def test_a_scene_fades_towards_its_own_edge() -> None:
    """Scene 2 ends 6 pixels beyond the seam: no jump where it does."""
    layers = {number: np.full((1, *SHAPE), 100.0 * number, np.float32) for number in (1, 2)}
    valid = everywhere(1, 2)
    valid[2][:, :54] = False
    changed, values = blend(halves(), layers, valid)
    assert not changed[:, :54].any()
    assert np.abs(np.diff(values[0, 20, 50:60])).max() < 15
    assert np.abs(np.diff(values[0, 20])).max() < 25


def test_what_a_scene_may_not_give_has_no_part() -> None:
    layers = {1: np.full((1, *SHAPE), 100.0, np.float32), 2: np.full((1, *SHAPE), np.nan, np.float32)}
    layers[2][:, :, 62:] = 200
    valid = everywhere(1, 2)
    valid[2][:, :62] = False
    index = halves(62)
    _, values = blend(index, layers, valid)
    assert np.isfinite(values).all()
    assert (values[:, :, :62] == 100).all()


def test_large_integers_are_differenced_exactly() -> None:
    layers = {1: np.full((1, *SHAPE), 2**31 - 11, np.int32), 2: np.full((1, *SHAPE), 2**31 - 1, np.int32)}
    shares = compute_shares(halves(), everywhere(1, 2), RULE)
    assert shares is not None
    changed, values = compute_blend(halves(), layers, everywhere(1, 2), shares, RULE)
    assert values.dtype == np.float64
    assert values[0][changed].min() >= 2**31 - 11
    assert values[0][changed].max() <= 2**31 - 1


@given(seed=st.integers(0, 2**32 - 1), scenes=st.integers(2, 5), holes=st.floats(0, 0.4))
def test_shares_add_up_and_blends_stay_between_flat_scenes(seed: int, scenes: int, holes: float) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(1, scenes + 1, (4, 12))
    owner = np.kron(coarse, np.ones((10, 10), int)).astype(np.uint8)
    valid = {number: (rng.random(SHAPE) >= holes) | (owner == number) for number in range(1, scenes + 1)}
    index = np.where(rng.random(SHAPE) < 0.02, 0, owner).astype(np.uint8)
    levels = rng.uniform(50, 250, scenes + 1)
    layers = {number: np.full((1, *SHAPE), levels[number], np.float32) for number in valid}
    shares = compute_shares(index, valid, RULE)
    if shares is None:
        return
    anyone = np.any(list(valid.values()), axis=0)
    for kind in (shares.low, shares.high):
        total = sum(kind.values())
        np.testing.assert_allclose(total[anyone & (index > 0)], 1, atol=1e-5)
        assert all(share.min() >= 0 for share in kind.values())
    changed, values = compute_blend(index, layers, valid, shares, RULE)
    assert not changed[index == 0].any()
    assert values[0][changed].min() >= levels[1:].min() - 1e-3
    assert values[0][changed].max() <= levels[1:].max() + 1e-3


def test_only_what_is_near_a_seam_is_looked_at() -> None:
    wide = np.full((400, 400), 1, np.uint8)
    assert find_surroundings(wide, RULE) is None
    wide[:, 300:] = 2
    assert find_surroundings(wide, RULE) == (slice(0, 400), slice(299 - 22, 299 + 24))
    wide[:, 295:305] = 0
    assert find_surroundings(wide, RULE) is None, "scenes that do not touch"


@pytest.mark.parametrize(("width", "kernel", "reach"), [(2.0, (1, 1), 2), (32.0, (13, 13), 17), (1.0, (1, 1), 2)])
def test_the_kernel_is_two_fifths_of_the_width(width: float, kernel: tuple[int, int], reach: int) -> None:
    rule = BlendRule(width=width, pixel_height=1.0, pixel_width=1.0)
    assert (rule.kernel, rule.reach) == (kernel, reach)


def test_pixels_need_not_be_square() -> None:
    rule = BlendRule(width=40.0, pixel_height=4.0, pixel_width=2.0)
    assert rule.kernel == (5, 9)
    layers = {number: np.full((1, *SHAPE), 100.0 * number, np.float32) for number in (1, 2)}
    across, _ = blend(halves(), layers, everywhere(1, 2), rule)
    index = np.ones(SHAPE, np.uint8)
    index[20:] = 2
    down, _ = blend(index, layers, everywhere(1, 2), rule)
    assert np.flatnonzero(across[20]).tolist() == list(range(50, 70))
    assert np.flatnonzero(down[:, 60]).tolist() == list(range(15, 25))
