"""Blocks: what was compressed comes back, empty tiles cost nothing, and nodata keeps its meaning."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from cog_tiles import decode_tile
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from processor.errors import ConfigError
from processor.geotiff.cog.codecs import encode_tile, find_neighbour, find_predictor, is_empty
from processor.geotiff.cog.spec import DTYPES, CogProfile, make_fill

COMPRESSIONS = ("deflate", "zstd", "lzw", "none")


def random_tile(dtype: str, shape: tuple[int, int, int], seed: int = 0) -> NDArray[Any]:
    """Every value the dtype has, not only small ones: differences wrap around."""
    count = int(np.prod(shape))
    octets = np.random.default_rng(seed).integers(0, 256, count * np.dtype(dtype).itemsize, dtype=np.uint8)
    tile = octets.view(dtype).reshape(shape).copy()
    if tile.dtype.kind == "f":
        tile[~np.isfinite(tile)] = 1.5
    return tile


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_tile_comes_back(dtype: str, compression: Any) -> None:
    for predictor, bands in itertools.product((True, False), (1, 3, 4, 7)):
        profile = CogProfile(tile_size=32, compression=compression, predictor=predictor)
        tile = random_tile(dtype, (32, 32, bands))
        data = encode_tile(tile, profile)
        np.testing.assert_array_equal(decode_tile(data, profile, bands=bands, dtype=dtype), tile)


@examples(60)
@given(
    height=st.integers(1, 32),
    width=st.integers(1, 32),
    bands=st.integers(1, 5),
    dtype=st.sampled_from(DTYPES),
    nodata=st.sampled_from([None, 0, 7]),
    seed=st.integers(0, 99),
)
def test_an_edge_tile_comes_back_padded_with_nodata(
    height: int, width: int, bands: int, dtype: str, nodata: float | None, seed: int
) -> None:
    profile = CogProfile(tile_size=32)
    tile = random_tile(dtype, (height, width, bands), seed)
    decoded = decode_tile(encode_tile(tile, profile, nodata=nodata), profile, bands=bands, dtype=dtype, nodata=nodata)
    expected = np.full((32, 32, bands), nodata or 0, dtype)
    expected[:height, :width] = tile
    np.testing.assert_array_equal(decoded, expected)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_the_memory_layout_does_not_matter(compression: Any) -> None:
    profile = CogProfile(tile_size=32, compression=compression)
    planes = np.ascontiguousarray(np.moveaxis(random_tile("uint16", (32, 32, 3)), -1, 0))
    tile = np.moveaxis(planes, 0, -1)
    assert encode_tile(tile, profile) == encode_tile(tile.copy(), profile) == encode_tile(tile.astype(">u2"), profile)


def test_the_input_is_not_changed() -> None:
    tile = random_tile("float32", (32, 32, 3))
    before = tile.copy()
    encode_tile(tile, CogProfile(tile_size=32))
    np.testing.assert_array_equal(tile, before)


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("uint8", None), ("uint8", 255), ("int16", -32768), ("float32", np.nan), ("float64", -9999)]
)
def test_an_empty_tile_is_no_bytes_and_comes_back(dtype: str, nodata: float | None) -> None:
    profile = CogProfile(tile_size=32)
    tile = np.full((32, 20, 2), 0 if nodata is None else nodata, dtype)
    assert encode_tile(tile, profile, nodata=nodata) == b""
    decoded = decode_tile(b"", profile, bands=2, dtype=dtype, nodata=nodata)
    np.testing.assert_array_equal(decoded[:, :20], tile)
    for row, col, band in ((0, 0, 0), (31, 19, 1), (13, 7, 1)):
        almost = tile.copy()
        almost[row, col, band] = 1
        assert encode_tile(almost, profile, nodata=nodata) != b""


def test_emptiness_looks_at_every_sample() -> None:
    pixels = np.zeros((3, 5, 7), np.uint8)
    assert is_empty(pixels, np.uint8(0))
    for index in np.ndindex(pixels.shape):
        pixels[index] = 1
        assert not is_empty(pixels, np.uint8(0))
        pixels[index] = 0


def test_prediction_follows_the_dtype() -> None:
    assert find_predictor(CogProfile(), np.dtype("uint8")) == 2
    assert find_predictor(CogProfile(), np.dtype("float32")) == 3
    assert find_predictor(CogProfile(predictor=False), np.dtype("uint8")) == 1
    assert find_predictor(CogProfile(compression="none"), np.dtype("float64")) == 1


def test_prediction_makes_smooth_tiles_smaller() -> None:
    rows, cols = np.mgrid[:256, :256]
    smooth = 3000 + 800 * np.sin(rows / 40) + 600 * np.cos(cols / 55) + np.random.default_rng(0).normal(0, 8, (256, 256))
    for dtype in ("uint16", "float32"):
        tile = smooth[:, :, None].astype(dtype)
        with_it, without = (len(encode_tile(tile, CogProfile(tile_size=256, predictor=choice))) for choice in (True, False))
        assert with_it < 0.85 * without


def test_more_effort_does_not_change_the_pixels() -> None:
    tile = random_tile("uint16", (32, 32, 2)) // 1000
    for profile in (CogProfile(tile_size=32, level=12), CogProfile(tile_size=32, compression="zstd", level=19)):
        np.testing.assert_array_equal(decode_tile(encode_tile(tile, profile), profile, bands=2, dtype="uint16"), tile)


@pytest.mark.parametrize(
    ("dtype", "nodata", "neighbour"),
    [
        ("uint8", 0, 1),
        ("uint8", 255, 254),
        ("int16", -32768, -32767),
        ("int32", 2**31 - 1, 2**31 - 2),
        ("float32", 0, np.nextafter(np.float32(0), np.float32(1))),
        ("float64", -9999, np.nextafter(-9999.0, 0)),
        ("float32", float(np.finfo(np.float32).max), np.nextafter(np.finfo(np.float32).max, np.float32(0))),
    ],
)
def test_the_neighbour_of_nodata_is_the_nearest_other_value(dtype: str, nodata: float, neighbour: float) -> None:
    found = find_neighbour(make_fill(np.dtype(dtype), nodata))
    assert found == neighbour
    assert found.dtype == dtype


@pytest.mark.parametrize("value", ["-3.4028234663852886e+38", "-3.4028235e+38"])
def test_the_lowest_float_may_be_nodata_however_it_was_rounded(value: str) -> None:
    assert make_fill(np.dtype("float32"), float(value)) == np.finfo(np.float32).min


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("uint8", -1), ("uint8", 256), ("uint8", 0.5), ("int16", np.nan), ("float32", 1e39)]
)
def test_nodata_must_be_a_value_of_the_dtype(dtype: str, nodata: float) -> None:
    with pytest.raises(ConfigError, match=f"is not a {dtype}"):
        make_fill(np.dtype(dtype), nodata)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile_size": 0}, "multiple of 16, got 0"),
        ({"tile_size": 500}, "multiple of 16, got 500"),
        ({"compression": "jpeg"}, "'jpeg'"),
        ({"level": 13}, "from 1 to 12, got 13"),
        ({"level": 0}, "from 1 to 12, got 0"),
        ({"compression": "zstd", "level": 23}, "from 1 to 22, got 23"),
        ({"compression": "lzw", "level": 3}, "got 3"),
        ({"overview_resampling": "cubic"}, "'cubic'"),
    ],
)
def test_profiles_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CogProfile(**options)


@pytest.mark.parametrize("shape", [(33, 32, 1), (32, 33, 1), (0, 4, 1), (4, 4, 0), (4, 4)])
def test_blocks_of_a_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="tile must be"):
        encode_tile(np.ones(shape, np.uint8), CogProfile(tile_size=32))


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(ConfigError, match="int64 cannot be written"):
        encode_tile(np.ones((4, 4, 1), np.int64), CogProfile(tile_size=32))
