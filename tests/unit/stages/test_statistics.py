"""Moments against exact rational arithmetic and known cases."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from records import compute_moments

from processor.model import Moments
from processor.stages.statistics import compute_valid_moments, empty_moments, merge_moments, zero_invalid

CHUNK = 65_536  # values that the module sums in one step; longer bands take several
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32")
EXACT = ("int8", "uint8", "int16", "uint16")


def exact_sums(band: NDArray[Any]) -> tuple[Fraction, Fraction]:
    """Mean and sum of squared departures without any rounding."""
    values = [Fraction(value) for value in band.tolist()]
    mean = sum(values, Fraction()) / len(values)
    return mean, sum(((value - mean) ** 2 for value in values), Fraction())


def draw(dtype: str, shape: tuple[int, ...], seed: int = 0) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(500, 90, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def assert_same(actual: Moments, expected: Moments) -> None:
    assert actual.count == expected.count
    for name in ("mean", "m2", "minimum", "maximum"):
        np.testing.assert_array_equal(getattr(actual, name), getattr(expected, name), err_msg=name)


def test_hand_computed_case() -> None:
    moments = compute_moments(np.array([[1, 2, 3, 4], [7, 7, 7, 7]], np.uint8))
    assert moments.count == 4
    np.testing.assert_array_equal(moments.mean, [2.5, 7.0])
    np.testing.assert_array_equal(moments.m2, [5.0, 0.0])
    np.testing.assert_array_equal(moments.std, [math.sqrt(1.25), 0.0])
    np.testing.assert_array_equal(moments.minimum, [1.0, 7.0])
    np.testing.assert_array_equal(moments.maximum, [4.0, 7.0])


@pytest.mark.parametrize("dtype", EXACT)
def test_integers_of_up_to_16_bits_are_summed_exactly_and_rounded_once(dtype: str) -> None:
    pixels = draw(dtype, (2, 1001))
    moments = compute_moments(pixels)
    for band in range(2):
        mean, m2 = exact_sums(pixels[band])
        assert moments.mean[band] == float(mean)
        assert moments.m2[band] == float(m2)


@pytest.mark.parametrize("dtype", ["int32", "uint32", "float32", "float64"])
def test_other_types_are_within_float64_rounding_of_exact_sums(dtype: str) -> None:
    pixels = draw(dtype, (2, 1001))
    moments = compute_moments(pixels)
    for band in range(2):
        mean, m2 = exact_sums(pixels[band])
        assert moments.mean[band] == pytest.approx(float(mean), rel=1e-14)
        assert moments.m2[band] == pytest.approx(float(m2), rel=1e-13)


@pytest.mark.parametrize(("dtype", "low", "high"), [("uint16", 0, 65_535), ("int16", -32_768, 32_767), ("int8", -128, 127)])
def test_sums_of_extreme_integers_neither_overflow_nor_lose_a_bit(dtype: str, low: int, high: int) -> None:
    count = 2 * CHUNK + 5
    band = np.full(count, high, dtype)
    band[: count // 3] = low
    lows, highs = count // 3, count - count // 3
    moments = compute_moments(band[None])
    assert moments.mean[0] == float(Fraction(lows * low + highs * high, count))
    assert moments.m2[0] == float(Fraction(lows * highs * (high - low) ** 2, count))


@pytest.mark.parametrize("dtype", EXACT)
def test_order_of_integer_pixels_changes_no_bit(dtype: str) -> None:
    pixels = draw(dtype, (2, CHUNK + 77))
    shuffled = np.random.default_rng(5).permuted(pixels, axis=1)
    assert_same(compute_moments(shuffled), compute_moments(pixels))


def test_small_spread_about_a_large_mean_keeps_its_precision() -> None:
    offsets = np.tile([-1.0, 1.0], CHUNK + 11)
    moments = compute_moments((1e8 + offsets)[None])
    assert moments.mean[0] == pytest.approx(1e8, rel=1e-15)
    assert moments.std[0] == pytest.approx(1.0, rel=1e-9)


def test_no_pixels_give_empty_moments() -> None:
    moments = compute_moments(np.empty((3, 0), np.uint8))
    assert_same(moments, empty_moments(3))
    assert moments.count == 0
    assert np.isnan(moments.mean).all()
    assert np.isnan(moments.std).all()
    np.testing.assert_array_equal(moments.m2, 0)
    np.testing.assert_array_equal(moments.minimum, np.inf)
    np.testing.assert_array_equal(moments.maximum, -np.inf)


def test_pixels_are_left_as_they_are() -> None:
    pixels = draw("int16", (2, 100))
    pixels.flags.writeable = False
    before = pixels.copy()
    compute_moments(pixels)
    np.testing.assert_array_equal(pixels, before)


def test_noncontiguous_pixels_count_like_contiguous_ones() -> None:
    wide = draw("uint16", (2, 300))
    assert_same(compute_moments(wide[:, ::3]), compute_moments(np.ascontiguousarray(wide[:, ::3])))


def test_merging_an_empty_part_changes_no_bit() -> None:
    moments = compute_moments(draw("float32", (2, 50)))
    assert_same(merge_moments([moments, empty_moments(2)]), moments)
    assert_same(merge_moments([empty_moments(2), moments]), moments)
    assert_same(merge_moments([empty_moments(2), empty_moments(2)]), empty_moments(2))


def test_merging_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to merge"):
        merge_moments([])


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 1.0])
def test_valid_moments_are_those_of_the_selected_pixels_bit_for_bit(dtype: str, share: float) -> None:
    random = np.random.default_rng(4)
    values = draw(dtype, (3, 300 * 700)).reshape(3, 300, 700)[:, :, 20:680]
    valid = random.random(values.shape[1:]) < share
    assert_same(compute_valid_moments(values, valid), compute_moments(values[:, valid]))


def test_valid_moments_of_values_at_the_ends_of_a_signed_dtype() -> None:
    values = np.array([[[-32768, 32767, 5, -7]]], np.int16)
    valid = np.array([[False, False, True, True]])
    moments = compute_valid_moments(values, valid)
    assert (moments.count, moments.minimum[0], moments.maximum[0], moments.mean[0]) == (2, -7, 5, -1)


def test_a_row_longer_than_a_step_is_summed_whole() -> None:
    row = np.full((1, 1, 200_001), 65535, np.uint16)
    valid = np.ones((1, 200_001), np.bool_)
    valid[0, 7] = False
    for moments, count in ((compute_valid_moments(row, None), 200_001), (compute_valid_moments(row, valid), 200_000)):
        assert (moments.count, moments.mean[0], moments.m2[0]) == (count, 65535, 0)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float32"])
def test_invalid_pixels_are_zero_whatever_they_held(dtype: str) -> None:
    values = draw(dtype, (2, 12)).reshape(2, 3, 4)
    valid = np.arange(12).reshape(3, 4) % 3 > 0
    if values.dtype.kind == "f":
        values[:, ~valid] = np.nan
    zeroed = zero_invalid(values, valid)
    assert zeroed.dtype == values.dtype
    np.testing.assert_array_equal(zeroed, np.where(valid, values, 0))
