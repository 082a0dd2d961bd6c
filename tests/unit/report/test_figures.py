from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from records import compute_moments
from reports import make_report_inputs

from processor.model import Adjustment, BlockGrid, Bounds, Overlap, OverlapSamples
from processor.report.figures import (
    PixelCounts,
    compute_coverage,
    compute_mean_scale,
    compute_residuals,
    compute_states,
    pool,
    summarise_residuals,
)
from processor.stages.matching.local_block_adjustment import LocalCorrection
from processor.stages.statistics import empty_moments

Method = Literal["gamma", "linear", "offset"]


BOUNDS = Bounds(left=0, bottom=0, right=100, top=100)


def make_overlap(first: ArrayLike, second: ArrayLike, *, names: tuple[str, str] = ("a", "b"), sampled: bool = True) -> Overlap:
    """An overlap of pixels given one by one, (bands, n), along the diagonal of the bounds."""
    first, second = np.atleast_2d(np.asarray(first, np.float32)), np.atleast_2d(np.asarray(second, np.float32))
    place = (np.arange(first.shape[1]) + 0.5) * 100 / first.shape[1]
    samples = OverlapSamples(x=place, y=place, first=first, second=second)
    return Overlap(
        first=names[0],
        second=names[1],
        first_moments=compute_moments(first),
        second_moments=compute_moments(second),
        samples=samples if sampled else None,
    )


def make_correction(
    scene: str, parameter: float, method: Method = "linear", alpha: float = 1.0, c: float = 0.0
) -> LocalCorrection:
    grid = BlockGrid(bounds=BOUNDS, rows=2, cols=2)
    return LocalCorrection(
        scene=scene, grid=grid, method=method, parameter=np.full((1, 2, 2), float(parameter)), alpha=alpha, c=c
    )


def make_adjustment(scene: str, scale: float, offset: float) -> Adjustment:
    return Adjustment(scene=scene, scale=np.array([float(scale)]), offset=np.array([float(offset)]))


def test_raw_residuals_are_those_computed_by_hand() -> None:
    (residual,) = compute_residuals([make_overlap([10, 20, 30], [11, 18, 33])], (), ())
    assert residual.before.bias == pytest.approx([-2 / 3])
    assert residual.before.rms == pytest.approx([math.sqrt((1 + 4 + 9) / 3)])
    assert residual.before.level == pytest.approx([(20 + 62 / 3) / 2])
    assert residual.count == residual.samples == 3


def test_undoing_the_true_gains_leaves_nothing() -> None:
    inputs = make_report_inputs(bands=4, local=False)
    for residual in compute_residuals(inputs.overlaps, inputs.adjustments, ()):
        assert pool(residual.before.rms) > 10
        assert residual.after_global.rms == pytest.approx(np.zeros(4), abs=1e-3)
        assert residual.after_global.exact_bias == pytest.approx(np.zeros(4), abs=1e-3)


def test_adjustment_scales_then_shifts() -> None:
    (residual,) = compute_residuals([make_overlap([10, 20], [10, 20])], [make_adjustment("a", 2, 5)], ())
    assert residual.after_global.bias == pytest.approx([20.0])
    assert residual.after_global.rms == pytest.approx([math.sqrt((15**2 + 25**2) / 2)])


def test_stage_that_is_off_leaves_its_state_as_it_was() -> None:
    inputs = make_report_inputs(matched=False)
    (residual, *_) = compute_residuals(inputs.overlaps, (), ())
    for state in residual.states[1:]:
        for field in dataclasses.fields(state):
            np.testing.assert_array_equal(getattr(state, field.name), getattr(residual.before, field.name))


@pytest.mark.parametrize(
    ("correction", "expected"),
    [
        (make_correction("a", 1.5), [15.0, 30.0]),
        (make_correction("a", 1.1, "gamma", alpha=0.9), [0.9 * 10**1.1, 0.9 * 20**1.1]),
        (make_correction("a", 1.1, "offset", alpha=0.9, c=3), [0.9 * 13**1.1 - 3, 0.9 * 23**1.1 - 3]),
    ],
    ids=["linear", "gamma", "offset"],
)
def test_local_correction_follows_its_formula(correction: LocalCorrection, expected: list[float]) -> None:
    states = compute_states(make_overlap([10, 20], [10, 20]), {}, {"a": correction})
    assert states is not None
    np.testing.assert_allclose(states[2][0], [expected], rtol=1e-12)
    np.testing.assert_array_equal(states[2][1], [[10, 20]])
    np.testing.assert_array_equal(states[0][0], [[10, 20]])


def test_samples_are_not_changed_by_following_them() -> None:
    overlap = make_overlap([10, 20], [10, 20])
    compute_states(overlap, {}, {"a": make_correction("a", 1.1, "offset", c=3.0), "b": make_correction("b", 2)})
    np.testing.assert_array_equal(overlap.samples.first, [[10, 20]])


def test_without_samples_the_bias_comes_from_the_moments() -> None:
    overlap = make_overlap([10, 20], [14, 28], sampled=False)
    adjustments = [make_adjustment("b", 0.5, 1)]
    (residual,) = compute_residuals([overlap], adjustments, [make_correction("a", 2)])
    assert residual.before.bias == pytest.approx([-6.0])
    assert residual.after_global.bias == pytest.approx([15 - 11.5])
    assert residual.after_global.level == pytest.approx([(15 + 11.5) / 2])
    assert residual.after_global.spread == pytest.approx([math.sqrt((5**2 + 3.5**2) / 2)])
    assert residual.samples == 0
    assert np.isnan(residual.before.rms).all()
    assert np.isnan(residual.after_local.bias).all()


def test_without_samples_and_local_stage_the_last_state_is_the_global_one() -> None:
    (residual,) = compute_residuals([make_overlap([10], [14], sampled=False)], [make_adjustment("a", 1, 3)], ())
    assert residual.after_local.bias == pytest.approx([-1.0])


def test_empty_samples_count_as_none() -> None:
    empty = np.empty((1, 0), np.float32)
    nowhere = OverlapSamples(x=np.empty(0), y=np.empty(0), first=empty, second=empty)
    overlap = dataclasses.replace(make_overlap([10], [14]), samples=nowhere)
    (residual,) = compute_residuals([overlap], (), ())
    assert (residual.samples, residual.before.bias.tolist()) == (0, [-4.0])


def test_exact_bias_sees_pixels_that_were_not_sampled() -> None:
    whole = make_overlap([10, 20, 90], [10, 20, 30])
    part = make_overlap([10, 20], [10, 20])
    (residual,) = compute_residuals([dataclasses.replace(whole, samples=part.samples)], (), ())
    assert residual.before.bias == pytest.approx([0.0])
    assert residual.before.exact_bias == pytest.approx([20.0])


def test_overlap_without_common_pixel_is_left_out() -> None:
    overlap = dataclasses.replace(make_overlap([1], [1]), first_moments=empty_moments(1), second_moments=empty_moments(1))
    assert compute_residuals([overlap], (), ()) == ()


@settings(derandomize=True, deadline=None)
@given(
    st.lists(st.tuples(st.floats(1, 1e4, width=32), st.floats(1, 1e4, width=32)), min_size=1, max_size=30),
    st.floats(0.5, 2),
    st.floats(-10, 10),
)
def test_exchanging_the_scenes_exchanges_the_sign_and_nothing_else(
    pixels: list[tuple[float, float]], scale: float, offset: float
) -> None:
    first, second = zip(*pixels, strict=True)
    adjustments = [make_adjustment("a", scale, offset)]
    (one,) = compute_residuals([make_overlap(first, second)], adjustments, ())
    (two,) = compute_residuals([make_overlap(second, first, names=("b", "a"))], adjustments, ())
    for a, b in zip(one.states, two.states, strict=True):
        np.testing.assert_allclose(a.bias, -b.bias, atol=1e-9)
        np.testing.assert_allclose(a.rms, b.rms, atol=1e-9)
        assert (np.abs(a.bias) <= a.rms * (1 + 1e-12) + 1e-12).all()


def test_summary_weights_each_overlap_by_its_pixels() -> None:
    residuals = compute_residuals([make_overlap([3.0], [0.0]), make_overlap([1.0] * 3, [0.0] * 3, names=("a", "c"))], (), ())
    summary = summarise_residuals(residuals, 1)["before"]
    assert summary.rms == pytest.approx([math.sqrt((9 + 3) / 4)])
    assert summary.bias == pytest.approx([math.sqrt((9 + 3) / 4)])
    assert summary.level == pytest.approx([(1.5 + 3 * 0.5) / 4])
    assert summary.worst is residuals[0]


def test_summary_uses_the_overlaps_whose_figures_are_known() -> None:
    overlaps = [make_overlap([3.0], [0.0], sampled=False), make_overlap([1.0], [0.0], names=("a", "c"))]
    summary = summarise_residuals(compute_residuals(overlaps, (), ()), 1)["before"]
    assert summary.rms == pytest.approx([1.0])
    assert summary.bias == pytest.approx([math.sqrt(5)])


def test_summary_of_nothing_is_unknown() -> None:
    summary = summarise_residuals((), 2)["local"]
    assert np.isnan(summary.rms).all()
    assert summary.rms.shape == (2,)
    assert summary.worst is None
    assert math.isnan(summary.percent_of_level(summary.rms))


def test_percent_of_a_level_of_nothing_is_unknown() -> None:
    summary = summarise_residuals(compute_residuals([make_overlap([1.0], [-1.0])], (), ()), 1)["before"]
    assert math.isnan(summary.percent_of_level(summary.rms))


def test_flattening_the_scenes_shrinks_the_rms_but_not_its_share_of_the_spread() -> None:
    random = np.random.default_rng(3)
    first, second = random.normal(100, 20, (2, 500))
    flat = [make_adjustment("a", 0.1, 90), make_adjustment("b", 0.1, 90)]
    states = summarise_residuals(compute_residuals([make_overlap(first, second)], flat, ()), 1)
    before, after = states["before"], states["global"]
    assert after.rms == pytest.approx(0.1 * before.rms, rel=1e-4)
    assert after.percent_of_spread(after.rms) == pytest.approx(before.percent_of_spread(before.rms), rel=1e-4)


@pytest.mark.parametrize(("mosaic", "union", "coverage"), [(50, 50, 1.0), (49, 50, 0.98), (0, 50, 0.0)])
def test_coverage_is_the_share_of_what_some_scene_has(mosaic: int, union: int, coverage: float) -> None:
    assert compute_coverage(PixelCounts(mosaic=mosaic, union=union, fallback=0, owned={})) == coverage


def test_coverage_of_no_scene_is_unknown() -> None:
    assert math.isnan(compute_coverage(PixelCounts(mosaic=0, union=0, fallback=0, owned={})))


def test_mean_scale_counts_the_scenes_of_the_run_only() -> None:
    inputs = make_report_inputs(1, 2, 1)
    scaled = [make_adjustment(scene.name, 0.5 + i, 0) for i, scene in enumerate(inputs.scenes)]
    inputs = dataclasses.replace(inputs, adjustments=(*scaled, make_adjustment("loaded", 99, 0)))
    assert compute_mean_scale(inputs) == pytest.approx([1.0])


def test_mean_scale_is_one_where_the_stage_is_off() -> None:
    assert compute_mean_scale(make_report_inputs(matched=False)).tolist() == [1, 1, 1]
