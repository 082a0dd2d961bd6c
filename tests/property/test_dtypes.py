"""What holds for the conversion to the mosaic's dtype, for every pair of dtypes, every value and every nodata."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from processor.model.dtypes import is_representable
from processor.stages.merge.merge_rasters import apply_dtype, choose_nodata, merge_layer

INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32")
FLOATS = ("float32", "float64")
SOURCES = (*INTEGERS, *FLOATS, "int64", "uint64")


def limits(dtype: str) -> tuple[int, int]:
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def nodata_values(dtype: str) -> st.SearchStrategy[float]:
    """Any nodata that the dtype has, its ends and the middle of its range most of all."""
    if dtype in FLOATS:
        top = float(np.finfo(dtype).max)
        ends = [0.0, -0.0, -9999.0, top, -top, math.inf, -math.inf, math.nan]
        return st.sampled_from(ends) | st.floats(width=32 if dtype == "float32" else 64)
    low, high = limits(dtype)
    return st.sampled_from([low, high, low + 1, high - 1, (low + high) // 2, 0]).map(float) | st.integers(low, high).map(float)


@st.composite
def conversions(draw: st.DrawFn, targets: tuple[str, ...]) -> tuple[NDArray[Any], str, float]:
    """Values that gather about nodata and the ends of both dtypes, and values anywhere."""
    source, dtype = draw(st.sampled_from(SOURCES)), draw(st.sampled_from(targets))
    nodata = draw(nodata_values(dtype))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    marks = [0, *(limit for kind in (source, dtype) if kind not in FLOATS for limit in limits(kind))]
    if math.isfinite(nodata):
        marks.append(int(nodata))
    chosen = [marks[i] for i in rng.integers(0, len(marks), 24)]
    if source in FLOATS:
        top = float(np.finfo("float32").max) / 2
        near = np.array(chosen, np.float64) + rng.integers(-9, 10, 24) / 4
        anywhere = rng.choice([-1, 1], 12) * 10.0 ** rng.uniform(-3, 30, 12)
        return np.clip(np.concatenate([near, anywhere]), -top, top).astype(source), dtype, nodata
    low, high = limits(source)
    steps = rng.integers(-3, 4, 24).tolist()
    close = [min(max(mark + step, low), high) for mark, step in zip(chosen, steps, strict=True)]
    anywhere = rng.integers(low, high, 12, dtype=source, endpoint=True).tolist()
    return np.array(close + anywhere, source), dtype, nodata


def convert(values: NDArray[Any], dtype: str, nodata: float) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        return apply_dtype(values.copy(), dtype, nodata, out=np.empty(values.shape, dtype))


@given(conversions(FLOATS))
@examples(100)
def test_floats_are_rounded_once_and_moved_to_the_nearest_number_off_nodata(drawn: tuple[NDArray[Any], str, float]) -> None:
    values, dtype, nodata = drawn
    kind = np.dtype(dtype).type
    found = convert(values, dtype, nodata)
    hole = kind(nodata)
    with np.errstate(over="ignore"):
        plain = values.astype(dtype)
    assert not (found == hole).any()
    assert np.isfinite(found).all()
    hit = plain == hole
    np.testing.assert_array_equal(found[~hit], plain[~hit])
    with np.errstate(over="ignore"):
        neighbours = [np.nextafter(hole, kind(-np.inf)), np.nextafter(hole, kind(np.inf))]
    assert np.isin(found[hit], neighbours).all()


@given(conversions((*INTEGERS, *FLOATS)))
@examples(100)
def test_conversion_keeps_the_order_of_the_values(drawn: tuple[NDArray[Any], str, float]) -> None:
    """Nothing wraps: what is brighter in the source is never darker in the mosaic."""
    values, dtype, nodata = drawn
    ordered = convert(np.sort(values), dtype, nodata)
    assert all(a <= b for a, b in zip(ordered.tolist(), ordered.tolist()[1:], strict=False))


@given(conversions((*INTEGERS, *FLOATS)))
def test_a_pixel_does_not_depend_on_those_beside_it(drawn: tuple[NDArray[Any], str, float]) -> None:
    values, dtype, nodata = drawn
    alone = [convert(values[i : i + 1], dtype, nodata)[0] for i in range(len(values))]
    np.testing.assert_array_equal(convert(values, dtype, nodata), np.array(alone, dtype))


@given(conversions((*INTEGERS, *FLOATS)))
def test_converting_twice_is_converting_once(drawn: tuple[NDArray[Any], str, float]) -> None:
    values, dtype, nodata = drawn
    once = convert(values, dtype, nodata)
    np.testing.assert_array_equal(convert(once, dtype, nodata), once)


@given(st.floats() | st.integers(-(2**33), 2**33).map(float) | st.none(), st.sampled_from((*INTEGERS, *FLOATS)))
def test_nodata_chosen_exists_in_the_dtype(preferred: float | None, dtype: str) -> None:
    chosen = choose_nodata(preferred, dtype)
    assert is_representable(chosen, dtype)
    with np.errstate(over="ignore"):
        stored = float(np.dtype(dtype).type(chosen))
    if dtype in INTEGERS:
        assert stored == chosen
    if preferred is not None and is_representable(preferred, dtype):
        assert chosen == preferred or (math.isnan(chosen) and math.isnan(preferred))


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.sampled_from(["uint8", "int16", "float32"]))
def test_the_index_tells_which_layer_every_pixel_came_from(seed: int, layers: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    mosaic, index = np.zeros((2, 5, 7), dtype), np.zeros((5, 7), np.uint8)
    stack = rng.integers(1, 100, (layers, 2, 5, 7)).astype(dtype)
    takes = rng.random((layers, 5, 7)) < rng.uniform(0, 1.3, (layers, 1, 1))
    for number, (layer, take) in enumerate(zip(stack, takes, strict=True), start=1):
        merge_layer(mosaic, index, layer, take, number)
    expected = np.zeros((5, 7), int)
    for number, take in enumerate(takes, start=1):
        expected[take] = number
    np.testing.assert_array_equal(index, expected)
    padded = np.concatenate([np.zeros((1, 2, 5, 7), dtype), stack])
    np.testing.assert_array_equal(mosaic, np.take_along_axis(padded, expected[None, None], axis=0)[0])
