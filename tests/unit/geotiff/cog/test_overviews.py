"""Overviews: right values, whatever way and order the image is cut, with bounded memory."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import pytest
from cog_tiles import decode_tile
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from processor.geotiff.cog import overviews as module
from processor.geotiff.cog.overviews import Pyramid, reduce_average, reduce_nearest
from processor.geotiff.cog.spec import DTYPES, CogProfile, CogSpec
from processor.geotiff.cog.tiles import TileStore
from processor.model import Grid, Window


def random_pixels(dtype: str, shape: tuple[int, int, int], seed: int, nodata: float | None, holes: float) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    low = 0 if dtype.startswith("u") else -120
    pixels = (rng.uniform(low, 127, shape)).astype(dtype)
    if nodata is not None:
        pixels[rng.random(shape) < holes] = nodata
    return pixels


def exact_means(pixels: NDArray[Any], nodata: float | None) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Means in float64 and counts, computed sample by sample."""
    bands, height, width = pixels.shape
    means = np.zeros((bands, -(-height // 2), -(-width // 2)))
    counts = np.zeros(means.shape, np.int64)
    for band, row, col in np.ndindex(means.shape):
        square = pixels[band, 2 * row : 2 * row + 2, 2 * col : 2 * col + 2].astype(np.float64).ravel()
        valid = [v for v in square if not (np.isnan(v) or (nodata is not None and v == nodata))]
        counts[band, row, col] = len(valid)
        means[band, row, col] = sum(valid) / len(valid) if valid else 0
    return means, counts


class TestAverage:
    @examples(120)
    @given(
        dtype=st.sampled_from(DTYPES),
        height=st.integers(1, 9),
        width=st.integers(1, 9),
        nodata=st.sampled_from([None, 0, 7, 100, "nan"]),
        holes=st.sampled_from([0, 0.1, 0.6, 1]),
        seed=st.integers(0, 99),
    )
    def test_it_is_the_mean_of_the_valid_samples(
        self, dtype: str, height: int, width: int, nodata: Any, holes: float, seed: int
    ) -> None:
        if nodata == "nan":
            nodata = np.nan if dtype.startswith("f") else None
        pixels = random_pixels(dtype, (2, height, width), seed, nodata, holes)
        reduced = reduce_average(pixels, nodata)
        means, counts = exact_means(pixels, nodata)
        assert reduced.dtype == dtype
        assert reduced.shape == means.shape
        if dtype.startswith("f"):
            expected = means.astype(dtype)
            tolerance = 1e-15 if dtype == "float64" else 0
        else:
            expected = np.trunc(means + np.copysign(0.5, means)).astype(dtype)
            tolerance = 0
        valid = counts > 0
        moved = valid & (expected == nodata) if nodata is not None else np.zeros(valid.shape, bool)
        same = valid & ~moved
        np.testing.assert_allclose(reduced[same], expected[same], rtol=tolerance, atol=tolerance * 100)
        hole = nodata if nodata is not None else np.nan
        if (~valid).any():
            np.testing.assert_array_equal(reduced[~valid], np.asarray(hole, dtype))
        if nodata is not None and not np.isnan(nodata):
            assert (reduced[moved] != nodata).all()
            np.testing.assert_allclose(reduced[moved].astype(float), nodata, atol=1)

    @pytest.mark.parametrize(
        ("dtype", "square", "expected"),
        [
            ("uint8", (255, 255, 255, 255), 255),
            ("uint8", (1, 2, 1, 2), 2),
            ("uint8", (1, 1, 1, 2), 1),
            ("uint16", (65535, 65535, 65535, 65534), 65535),
            ("int8", (-128, -128, -128, -128), -128),
            ("int16", (-1, -2, -1, -2), -2),
            ("int16", (-1, -1, -1, -2), -1),
            ("int16", (1, 2, 1, 2), 2),
            ("uint32", (2**32 - 1, 2**32 - 1, 2**32 - 1, 2**32 - 1), 2**32 - 1),
            ("int32", (-(2**31), -(2**31), -(2**31), -(2**31)), -(2**31)),
            ("float32", (3e38, 3e38, 3e38, 3e38), np.float32(3e38)),
        ],
    )
    def test_it_rounds_halves_away_from_zero_and_does_not_overflow(
        self, dtype: str, square: tuple[float, ...], expected: float
    ) -> None:
        for nodata in (None, 77):
            pixels = np.array(square, dtype).reshape(1, 2, 2)
            assert reduce_average(pixels, nodata)[0, 0, 0] == expected
            wide = np.concatenate([pixels, np.full((1, 2, 2), 77, dtype)], axis=2)  # with a hole beside it: the other path
            assert reduce_average(wide, nodata)[0, 0, 0] == expected

    def test_bands_are_weighted_apart(self) -> None:
        pixels = np.array([[[0, 10], [20, 30]], [[1, 0], [0, 0]], [[0, 0], [0, 0]]], np.uint8)
        np.testing.assert_array_equal(reduce_average(pixels, 0)[:, 0, 0], [20, 1, 0])

    def test_a_mean_that_equals_nodata_by_accident_does_not_become_nodata(self) -> None:
        for dtype in ("int16", "float32", "float64"):
            pixels = np.array([[[-1, 1], [-2, 2]]], dtype)
            value = reduce_average(pixels, 0)[0, 0, 0]
            assert value != 0
            assert abs(value) <= 1

    def test_nan_is_left_out_also_when_nodata_is_another_value(self) -> None:
        pixels = np.array([[[np.nan, 4, np.nan, np.nan], [-9999, 6, np.nan, -9999]]], np.float32)
        np.testing.assert_array_equal(reduce_average(pixels, -9999)[0, 0], [5, -9999])
        np.testing.assert_array_equal(reduce_average(pixels[:, :1], None)[0, 0], [4, np.nan])

    def test_infinite_samples_do_not_warn(self) -> None:
        pixels = np.array([[[np.inf, 1, np.inf, -np.inf], [1, 1, 1, 1]]], np.float32)
        np.testing.assert_array_equal(reduce_average(pixels, None)[0, 0], [np.inf, np.nan])

    @pytest.mark.parametrize("chunk", [1, 7, 64, 10_000])
    def test_the_size_of_chunks_does_not_matter(self, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
        pixels = random_pixels("uint16", (2, 64, 50), 1, 0, 0.02)
        expected = reduce_average(pixels, 0)
        monkeypatch.setattr(module, "_CHUNK", chunk)
        np.testing.assert_array_equal(reduce_average(pixels, 0), expected)

    def test_the_input_is_not_changed(self) -> None:
        pixels = random_pixels("int16", (2, 9, 9), 1, 0, 0.3)
        before = pixels.copy()
        reduce_average(pixels, 0)
        reduce_nearest(pixels, 0)
        np.testing.assert_array_equal(pixels, before)


class TestNearest:
    def test_it_takes_the_first_label_in_reading_order(self) -> None:
        pixels = np.array([[[1, 2, 0, 2, 0, 0, 0, 0], [3, 4, 3, 4, 3, 4, 0, 4]]], np.uint16)
        np.testing.assert_array_equal(reduce_nearest(pixels, 0)[0, 0], [1, 2, 3, 4])
        np.testing.assert_array_equal(reduce_nearest(pixels, None)[0, 0], [1, 2, 3, 4])

    @pytest.mark.parametrize("nodata", [9, 0, np.nan])
    def test_odd_sizes_and_other_nodata(self, nodata: float) -> None:
        pixels = np.full((1, 3, 3), nodata, np.float32)
        pixels[0, 1, 1], pixels[0, 2, 2] = 5, 6
        np.testing.assert_array_equal(reduce_nearest(pixels, nodata)[0], np.array([[5, nodata], [nodata, 6]], np.float32))


class TestZOrder:
    @examples(60)
    @given(
        width=st.integers(1, 400),
        height=st.integers(1, 400),
        tiles=st.sampled_from([1, 2, 4]),
    )
    def test_windows_tile_the_image(self, width: int, height: int, tiles: int) -> None:
        seen = np.zeros((height, width), np.uint8)
        for window in list_windows(make_spec(width, height), tiles):
            assert window.row % (tiles * 16) == window.col % (tiles * 16) == 0
            assert not window.is_empty
            seen[window.row : window.row_end, window.col : window.col_end] += 1
        assert (seen == 1).all()

    def test_the_order_is_that_of_interleaved_bits(self) -> None:
        places = [(window.row // 16, window.col // 16) for window in list_windows(make_spec(64, 64), 1)]
        keys = [sum((row >> bit & 1) << 2 * bit + 1 | (col >> bit & 1) << 2 * bit for bit in range(2)) for row, col in places]
        assert keys == list(range(16))

    @pytest.mark.parametrize("tiles", [0, 3, -2])
    def test_windows_that_do_not_halve_are_refused(self, tiles: int) -> None:
        with pytest.raises(ValueError, match="power of two"):
            list_windows(make_spec(64, 64), tiles)


def make_spec(
    width: int,
    height: int,
    *,
    dtype: str = "uint8",
    nodata: float | None = 0,
    bands: int = 2,
    resampling: Literal["average", "nearest"] = "average",
) -> CogSpec:
    grid = Grid(crs="", left=0, top=0, pixel_width=1, pixel_height=1, width=width, height=height)
    profile = CogProfile(tile_size=16, compression="zstd", overview_resampling=resampling)
    return CogSpec(grid=grid, bands=bands, dtype=dtype, nodata=nodata, profile=profile)


def list_windows(spec: CogSpec, tiles: int) -> list[Window]:
    return list(Pyramid(spec, TileStore(None, spec.levels), window_tiles=tiles).iter_windows())


def cut(pixels: NDArray[Any], window: Window) -> NDArray[Any]:
    return pixels[:, window.row : window.row_end, window.col : window.col_end]


def read_level(store: TileStore, spec: CogSpec, index: int) -> NDArray[Any]:
    """Decode a whole level."""
    level = spec.levels[index]
    out = np.empty((spec.bands, level.height, level.width), spec.dtype)
    for row, col in np.ndindex(level.rows, level.cols):
        window = level.window(row, col)
        tile = decode_tile(store.get(index, row, col), spec.profile, bands=spec.bands, dtype=spec.dtype, nodata=spec.nodata)
        cut(out, window)[...] = np.moveaxis(tile, -1, 0)[:, : window.height, : window.width]
    return out


def all_tiles(store: TileStore, spec: CogSpec) -> list[bytes]:
    return [store.get(level.index, row, col) for level in spec.levels for row, col in np.ndindex(level.rows, level.cols)]


class TestPyramid:
    @examples(40)
    @given(
        width=st.integers(1, 150),
        height=st.integers(1, 150),
        tiles=st.sampled_from([1, 2, 4]),
        dtype=st.sampled_from(["uint8", "int16", "float32"]),
        resampling=st.sampled_from(["average", "nearest"]),
        seed=st.integers(0, 99),
    )
    def test_each_level_is_the_whole_level_below_halved(
        self, width: int, height: int, tiles: int, dtype: str, resampling: Any, seed: int
    ) -> None:
        spec = make_spec(width, height, dtype=dtype, resampling=resampling)
        pixels = random_pixels(dtype, (2, height, width), seed, 0, 0.3)
        pixels[:, : height // 2] = 0
        windows = list_windows(spec, tiles)
        order = np.random.default_rng(seed).permutation(len(windows))
        with TileStore(None, spec.levels) as store:
            pyramid = Pyramid(spec, store, window_tiles=tiles)
            for index in order:
                window = windows[index]
                part = cut(pixels, window)
                pyramid.add(window, part if part.any() or seed % 2 else None)
            assert pyramid.pending == 0
            reduce = reduce_average if resampling == "average" else reduce_nearest
            expected = pixels
            for level in spec.levels:
                np.testing.assert_array_equal(read_level(store, spec, level.index), expected)
                expected = reduce(expected, 0)

    def test_threads_and_order_and_windows_do_not_change_a_byte(self) -> None:
        spec = make_spec(300, 200)
        pixels = random_pixels("uint8", (2, 200, 300), 3, 0, 0.2)
        results = []
        for workers, tiles in ((1, 1), (1, 4), (6, 1), (6, 2)):
            windows = list_windows(spec, tiles)
            if workers > 1:
                np.random.default_rng(tiles).shuffle(windows)
            with TileStore(None, spec.levels) as store, ThreadPoolExecutor(workers) as pool:
                pyramid = Pyramid(spec, store, window_tiles=tiles)
                list(pool.map(lambda window, made=pyramid: made.add(window, cut(pixels, window)), windows))
                results.append(all_tiles(store, spec))
        assert all(result == results[0] for result in results)

    def test_none_is_the_same_as_nodata(self) -> None:
        spec = make_spec(100, 70, dtype="float32", nodata=np.nan)
        results = []
        for empty in (None, "array"):
            with TileStore(None, spec.levels) as store:
                pyramid = Pyramid(spec, store)
                for window in pyramid.iter_windows():
                    full = np.full((2, *window.shape), np.nan if window.col < 48 else 5, np.float32)
                    pyramid.add(window, None if empty is None and window.col < 48 else full)
                results.append(all_tiles(store, spec))
        assert results[0] == results[1]
        assert b"" in results[0]

    def test_parts_made_apart_make_the_same_pyramid(self) -> None:
        spec = make_spec(200, 130)
        pixels = random_pixels("uint8", (2, 130, 200), 3, 0, 0.2)
        with TileStore(None, spec.levels) as store, TileStore(None, spec.levels) as whole:
            one = Pyramid(spec, whole)
            workers = [Pyramid(spec, store) for _ in range(3)]
            for index, window in enumerate(one.iter_windows()):
                one.add(window, cut(pixels, window))
                workers[index // 16 % 3].add(window, cut(pixels, window))
            last = Pyramid(spec, store)
            for reduced in [reduced for worker in workers for reduced in worker.take_pending()][::-1]:
                last.add_reduced(reduced)
            assert last.take_pending() == ()
            assert all(worker.pending == 0 for worker in workers)
            assert all_tiles(store, spec) == all_tiles(whole, spec)

    def test_few_parents_wait_in_z_order(self) -> None:
        spec = make_spec(700, 500, bands=1)
        with TileStore(None, spec.levels) as store:
            pyramid, most = Pyramid(spec, store), 0
            for window in pyramid.iter_windows():
                pyramid.add(window, np.ones((1, *window.shape), np.uint8))
                most = max(most, pyramid.pending)
        assert most <= 3 * (len(spec.levels) - 1)

    def test_memory_does_not_grow_with_the_image(self, tmp_path: Any) -> None:
        grid = Grid(crs="", left=0, top=0, pixel_width=1, pixel_height=1, width=24_000, height=24_000)
        spec = CogSpec(grid=grid, bands=1, dtype="uint16", nodata=0, profile=CogProfile(compression="zstd"))
        noise = np.random.default_rng(0).integers(1, 4000, (1, 1024, 1024), np.uint16)
        with TileStore(tmp_path / "tiles", spec.levels) as store:
            pyramid = Pyramid(spec, store, window_tiles=2)
            tracemalloc.start()
            for number, window in enumerate(pyramid.iter_windows()):
                pyramid.add(window, noise[:, : window.height, : window.width] if number % 10 == 0 else None)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert int(store.sizes(0).sum()) > 50e6
        assert peak < 16e6  # the pixels of the image are 1.2e9 bytes, its tiles more than 50e6

    def test_a_window_comes_once(self) -> None:
        spec = make_spec(40, 40)
        with TileStore(None, spec.levels) as store:
            pyramid = Pyramid(spec, store)
            window = next(pyramid.iter_windows())
            pyramid.add(window, None)
            with pytest.raises(ValueError, match="stored before"):
                pyramid.add(window, None)

    @pytest.mark.parametrize(
        "window",
        [
            Window(row=0, col=0, height=16, width=16),
            Window(row=16, col=0, height=24, width=32),
            Window(row=32, col=32, height=32, width=32),
            Window(row=64, col=0, height=32, width=32),
            Window(row=-32, col=0, height=32, width=32),
        ],
    )
    def test_other_windows_are_refused(self, window: Window) -> None:
        spec = make_spec(40, 40)
        with TileStore(None, spec.levels) as store, pytest.raises(ValueError, match="is not a window"):
            Pyramid(spec, store, window_tiles=2).add(window, None)

    @pytest.mark.parametrize(("shape", "dtype"), [((1, 16, 16), "uint8"), ((2, 16, 15), "uint8"), ((2, 16, 16), "int16")])
    def test_pixels_that_do_not_fit_are_refused(self, shape: tuple[int, ...], dtype: str) -> None:
        spec = make_spec(40, 40)
        with TileStore(None, spec.levels) as store, pytest.raises(ValueError, match="pixels must be uint8"):
            Pyramid(spec, store).add(Window(row=0, col=0, height=16, width=16), np.ones(shape, dtype))
