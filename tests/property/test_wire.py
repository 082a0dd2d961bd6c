"""Records as bytes: the same come back, and whatever is not what was written is refused."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import pytest
import shapely
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from shapely.geometry.base import BaseGeometry

from processor.execution.wire import PREFIX_BYTES, Codec, DamagedError, read_frame_size


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Leaf:
    """Anything."""

    value: Any
    other: Any = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tree:
    """Several of them."""

    leaves: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stranger:
    """Not one that the codec knows."""

    value: int = 0


CODEC = Codec((Leaf, Tree))
DTYPES = st.sampled_from(["bool", "uint8", "int8", "uint16", "int32", "uint32", "int64", "float32", "float64", ">f8", ">u2"])
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9)
POINTS = st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
GEOMETRIES = st.one_of(
    st.builds(shapely.Point, POINTS),
    st.builds(lambda points: shapely.MultiPoint(points).convex_hull, st.lists(POINTS, min_size=3, max_size=9)),
    st.sampled_from([shapely.Polygon(), shapely.MultiPolygon(), shapely.box(0, 0, 1, 1).union(shapely.box(3, 3, 4, 5))]),
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS)
VALUES = st.recursive(
    st.one_of(SCALARS, arrays.arrays(DTYPES, SHAPES), GEOMETRIES),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(
            st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.tuples(st.integers())), inner, max_size=3
        ),
        st.builds(Leaf, value=inner, other=inner),
        st.builds(Tree, leaves=st.lists(inner, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)


def is_same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        native = one.astype(one.dtype.newbyteorder("="))
        return native.dtype == other.dtype and native.shape == other.shape and native.tobytes() == other.tobytes()
    if type(one) is not type(other):
        return False
    if isinstance(one, BaseGeometry):
        return bool(shapely.to_wkb(one) == shapely.to_wkb(other))
    if isinstance(one, dict):
        return list(one) == list(other) and is_same(tuple(one.values()), tuple(other.values()))
    if is_dataclass(one):
        one, other = (tuple(getattr(each, field.name) for field in fields(one)) for each in (one, other))
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(is_same, one, other))
    return bool(one == other) or (one != one and other != other)  # noqa: PLR0124 - NaN


@examples(200)
@given(value=VALUES)
def test_what_comes_back_is_what_was_put_in(value: Any) -> None:
    data = CODEC.encode(Leaf(value=value))
    assert read_frame_size(data[:PREFIX_BYTES]) == len(data)
    assert is_same(value, CODEC.decode(data, Leaf).value)
    assert CODEC.encode(CODEC.decode(data, Leaf)) == CODEC.encode(Leaf(value=value))


@examples(100)
@given(value=VALUES, data=st.data())
def test_what_was_cut_short_or_changed_is_refused(value: Any, data: st.DataObject) -> None:
    good = CODEC.encode(Leaf(value=value))
    cut = data.draw(st.integers(0, len(good) - 1))
    with pytest.raises(DamagedError):
        CODEC.decode(good[:cut], Leaf)
    place, bit = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(0, 7))
    changed = bytearray(good)
    changed[place] ^= 1 << bit
    with pytest.raises(DamagedError):
        CODEC.decode(bytes(changed), Leaf)
    with pytest.raises(DamagedError):
        CODEC.decode(good + b"\0", Leaf)


def test_another_kind_of_record_is_refused() -> None:
    with pytest.raises(DamagedError, match="a Tree instead of a Leaf"):
        CODEC.decode(CODEC.encode(Tree(leaves=())), Leaf)


def test_nothing_is_made_but_the_records_that_are_known() -> None:
    foreign = Codec((Stranger,)).encode(Stranger(value=1))
    with pytest.raises(DamagedError, match="cannot be decoded"):
        CODEC.decode(foreign, Leaf)


@pytest.mark.parametrize("value", [Stranger(), {1, 2}, b"bytes", np.array([object()]), np.array(["text"]), object])
def test_what_cannot_be_handed_on_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="cannot be handed to another task"):
        CODEC.encode(Leaf(value=value))


def test_numbers_of_numpy_become_pythons() -> None:
    leaf = CODEC.decode(CODEC.encode(Leaf(value=np.float64(0.1), other=np.int32(3))), Leaf)
    assert (type(leaf.value), leaf.value, type(leaf.other), leaf.other) == (float, 0.1, int, 3)


def test_two_records_of_one_name_are_refused() -> None:
    other = type("Leaf", (Leaf,), {})
    with pytest.raises(TypeError, match="two of that name"):
        Codec((Leaf, other))
    with pytest.raises(TypeError, match="no dataclass"):
        Codec((int,))


def test_a_frame_that_promises_more_than_it_may_hold_is_refused_before_anything_is_made() -> None:
    good = bytearray(CODEC.encode(Leaf(value=1)))
    good[16:24] = (1 << 40).to_bytes(8, "little")
    with pytest.raises(DamagedError):
        CODEC.decode(bytes(good), Leaf)
