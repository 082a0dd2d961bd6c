"""Conversion to the mosaic's dtype against exact integers, and layers over one another."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from processor.model.dtypes import is_representable
from processor.stages.merge.merge_rasters import apply_dtype, choose_nodata, merge_layer

INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32")
FLOATS = ("float32", "float64")
WIDE = ("int64", "uint64")


def convert(values: NDArray[Any], dtype: str, nodata: float) -> NDArray[Any]:
    """What the engine does: sources that cannot be changed, an output of its own."""
    out = np.empty(values.shape, dtype)
    result = apply_dtype(values.copy(), dtype, nodata, out=out)
    assert result is out
    return out


def limits(dtype: str) -> tuple[int, int]:
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def expect_integer(value: Any, dtype: str, nodata: int) -> int:
    """The rule in exact arithmetic: round half to even, clip, step off nodata towards the unrounded value."""
    low, high = limits(dtype)
    exact = Fraction(value.item())
    if value.dtype.kind == "f":  # the highest number that the type of the calculation has
        while int(value.dtype.type(high)) > high:
            high = int(np.nextafter(value.dtype.type(high), value.dtype.type(0)))
    rounded = min(max(round(exact), low), high)
    if rounded != nodata:
        return rounded
    upward = exact >= nodata
    low, high = limits(dtype)
    if nodata == high or (not upward and nodata != low):
        return nodata - 1
    return nodata + 1


def interesting(source: str, dtype: str, nodata: float) -> NDArray[Any]:
    """Values of the source dtype about every edge of the target: its limits, nodata, ties, and far beyond."""
    marks = [*limits(dtype), int(nodata), 0, 2**7, 2**8, 2**15, 2**16, 2**31, 2**32, 10**9]
    exact = [Fraction(sign * mark) + Fraction(step, 4) for mark in marks for sign in (1, -1) for step in range(-6, 7)]
    kind = np.dtype(source)
    if kind.kind == "f":
        extremes = [-3e38, 3e38, -0.0, 1e-30, -1e-30]
        return np.array([float(value) for value in exact] + extremes, source)
    low, high = limits(source)
    return np.array(sorted({min(max(int(value), low), high) for value in exact} | {low, high}), source)


def nodata_values(dtype: str) -> list[float]:
    low, high = limits(dtype)
    return [float(low), float(high), float((low + high) // 2 + 37), 0.0]


@pytest.mark.parametrize("source", [*INTEGERS, *FLOATS, *WIDE])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_follow_the_rule_from_every_dtype(source: str, dtype: str) -> None:
    for nodata in nodata_values(dtype):
        values = interesting(source, dtype, nodata)
        expected = [expect_integer(value, dtype, int(nodata)) for value in values]
        found = convert(values, dtype, nodata)
        assert found.dtype == dtype
        assert (found != np.dtype(dtype).type(nodata)).all()
        np.testing.assert_array_equal(found, np.array(expected, dtype), err_msg=f"nodata {nodata}")


@pytest.mark.parametrize(
    ("value", "expected"), [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (126.5, 126), (127.5, 127)]
)
def test_halves_round_to_even(value: float, expected: int) -> None:
    assert convert(np.array([value], np.float32), "int8", -128.0)[0] == expected


def test_bytes_saturate_and_never_wrap() -> None:
    values = np.array([-1e9, -1, 0, 0.4, 254.5, 255, 256, 300, 65_536, 1e9], np.float32)
    np.testing.assert_array_equal(convert(values, "uint8", 255.0), [0, 0, 0, 0, 254, 254, 254, 254, 254, 254])
    np.testing.assert_array_equal(convert(values, "uint8", 0.0), [1, 1, 1, 1, 254, 255, 255, 255, 255, 255])
    np.testing.assert_array_equal(convert(np.array([-32_768, 300, 32_767], np.int16), "uint8", 7.0), [0, 255, 255])


def test_values_about_a_nodata_in_mid_range_keep_their_side() -> None:
    values = np.array([98.5, 99.4, 99.5, 99.9, 100.0, 100.1, 100.5, 101.0], np.float64)
    np.testing.assert_array_equal(convert(values, "uint8", 100.0), [98, 99, 99, 99, 101, 101, 101, 101])
    np.testing.assert_array_equal(convert(np.array([99, 100, 101], np.uint16), "uint8", 100.0), [99, 101, 101])


@pytest.mark.parametrize("calculation", FLOATS)
@pytest.mark.parametrize(("dtype", "top"), [("int32", 2**31 - 1), ("uint32", 2**32 - 1)])
def test_32_bits_reach_the_highest_number_of_the_calculation(calculation: str, dtype: str, top: int) -> None:
    """float32 has no 2**31 - 1; the largest below is meant, not a number that wraps."""
    found = int(convert(np.array([1e30], calculation), dtype, 0.0)[0])
    if calculation == "float64":
        assert found == top
    else:
        assert found == top + 1 - 2 ** (top.bit_length() - 24)
    assert int(convert(np.array([1e30], calculation), dtype, float(top))[0]) == (top - 1 if calculation == "float64" else found)


@pytest.mark.parametrize("dtype", ["int32", "uint32"])
def test_integers_of_32_bits_pass_unchanged_through_float64(dtype: str) -> None:
    low, high = limits(dtype)
    values = np.array([low + 1, 16_777_217, 123_456_789, high - 1, high], dtype)
    np.testing.assert_array_equal(convert(values.astype(np.float64), dtype, float(low)), values)


@pytest.mark.parametrize("source", [*INTEGERS, *FLOATS])
@pytest.mark.parametrize("dtype", FLOATS)
def test_floats_move_off_nodata_to_the_next_number(source: str, dtype: str) -> None:
    kind = np.dtype(dtype).type
    values = interesting(source, "int16", 5.0)
    for nodata in (0.0, 5.0, -7.0, math.nan):
        with np.errstate(over="ignore"):
            found = convert(values, dtype, nodata)
        expected = values.astype(dtype)
        expected[expected == kind(nodata)] = np.nextafter(kind(nodata), kind(np.inf))
        np.testing.assert_array_equal(found, expected)
        assert not (found == kind(nodata)).any()
        assert np.isfinite(found).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("end", ["max", "min", "inf", "-inf"])
def test_floats_at_the_ends_of_the_dtype_move_inwards(dtype: str, end: str) -> None:
    info = np.finfo(dtype)
    nodata = {"max": float(info.max), "min": float(info.min), "inf": math.inf, "-inf": -math.inf}[end]
    found = convert(np.array([nodata, 1.0], dtype), dtype, nodata)
    assert np.isfinite(found).all()
    assert found[0] == pytest.approx(min(max(nodata, float(info.min)), float(info.max)), rel=1e-6)
    assert found[0] != nodata
    assert found[1] == 1


def test_a_float64_that_rounds_onto_a_float32_nodata_moves_off_it() -> None:
    found = convert(np.array([5.0 + 1e-12]), "float32", 5.0)
    assert found[0] == np.nextafter(np.float32(5), np.float32(6))


def test_overflow_to_infinity_is_not_nodata() -> None:
    with np.errstate(over="ignore"):
        assert convert(np.array([1e39]), "float32", math.inf)[0] == np.finfo(np.float32).max


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS])
def test_values_of_the_output_dtype_pass_unchanged(dtype: str) -> None:
    values = np.arange(1, 100).astype(dtype)
    np.testing.assert_array_equal(convert(values, dtype, 0.0), values)


@pytest.mark.parametrize("source", ["uint16", "float32"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_any_shape_and_stride_is_converted(source: str, dtype: str) -> None:
    values = np.arange(120).reshape(2, 6, 10).astype(source)[:, ::2, 1:-1]
    np.testing.assert_array_equal(convert(values, dtype, 255.0), values.astype(dtype))
    assert convert(np.empty((0, 4), source), dtype, 255.0).shape == (0, 4)


# Nodata


@pytest.mark.parametrize(
    ("value", "dtype", "exists"),
    [
        (0, "uint8", True),
        (255, "uint8", True),
        (256, "uint8", False),
        (-1, "uint8", False),
        (0.5, "uint8", False),
        (-9999, "int16", True),
        (-32_769, "int16", False),
        (math.nan, "int32", False),
        (math.inf, "uint32", False),
        (2**32 - 1, "uint32", True),
        (math.nan, "float32", True),
        (-math.inf, "float32", True),
        (-9999.1, "float32", True),
        (1e39, "float32", False),
        (1e39, "float64", True),
        (-3.4028234663852886e38, "float32", True),
        (-3.4028235e38, "float32", True),  # as texts round it: beyond the least float32, but nearest to it
        (-1.7976931348623157e308, "float32", False),
    ],
)
def test_nodata_exists_in_a_dtype_or_not(value: float, dtype: str, exists: bool) -> None:
    assert is_representable(value, dtype) == exists
    if exists:
        assert choose_nodata(value, dtype) == pytest.approx(value, nan_ok=True)


@pytest.mark.parametrize(
    ("dtype", "default"), [("uint8", 0), ("uint16", 0), ("uint32", 0), ("int8", -128), ("int16", -32_768), ("int32", -(2**31))]
)
@pytest.mark.parametrize("preferred", [None, math.nan, 0.5, 1e12])
def test_nodata_falls_back_to_the_least_integer(preferred: float | None, dtype: str, default: int) -> None:
    assert choose_nodata(preferred, dtype) == default


@pytest.mark.parametrize("dtype", FLOATS)
def test_nodata_of_floats_falls_back_to_nan(dtype: str) -> None:
    assert math.isnan(choose_nodata(None, dtype))


# Layers


def test_a_layer_covers_only_what_it_takes() -> None:
    mosaic, index = np.zeros((2, 2, 3), np.uint16), np.zeros((2, 3), np.uint8)
    take = np.array([[True, False, True], [False, False, True]])
    merge_layer(mosaic, index, np.full((2, 2, 3), 9, np.uint16), take, 3)
    np.testing.assert_array_equal(index, np.where(take, 3, 0))
    np.testing.assert_array_equal(mosaic, np.where(take, 9, 0)[None].repeat(2, axis=0))


def test_later_layers_lie_on_top() -> None:
    mosaic, index = np.zeros((1, 1, 3), np.float32), np.zeros((1, 3), np.uint16)
    merge_layer(mosaic, index, np.full((1, 1, 3), 1, np.float32), np.ones((1, 3), np.bool_), 1)
    merge_layer(mosaic, index, np.full((1, 1, 3), 2, np.float32), np.array([[False, True, True]]), 400)
    merge_layer(mosaic, index, np.full((1, 1, 3), 3, np.float32), np.zeros((1, 3), np.bool_), 7)
    np.testing.assert_array_equal(mosaic, [[[1, 2, 2]]])
    np.testing.assert_array_equal(index, [[1, 400, 400]])


@pytest.mark.parametrize("everywhere", [True, False])
def test_a_layer_is_laid_into_a_part_of_a_mosaic(everywhere: bool) -> None:
    whole, index = np.zeros((1, 4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    take = np.full((2, 2), fill_value=True)
    take[0, 0] = everywhere
    merge_layer(whole[:, 1:3, 1:3], index[1:3, 1:3], np.full((1, 2, 2), 5, np.uint8), take, 1)
    assert whole.sum() == 5 * take.sum()
    assert index.sum() == take.sum()
    assert whole[0, 1, 1] == (5 if everywhere else 0)
