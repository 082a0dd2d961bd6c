"""Windows of scenes as the project reads them beside what rasterio reads, and files that try to lead the reader astray."""

from __future__ import annotations

import http.server
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.transform import Affine
from rasterio.windows import Window as RasterioWindow
from scenes import write_scene

from processor.errors import InputError
from processor.geotiff.compose import Pixels
from processor.geotiff.open import level_grid, open_scene
from processor.geotiff.reader import RasterReader
from processor.model import RasterRef, Scene, SceneRef, Window

ENOUGH = 2**30  # bytes of cache that hold everything a test reads

LAYOUTS: dict[str, dict[str, Any]] = {
    "tiled": {"shape": (3, 200, 330), "tiled": True, "block": 64},
    "strips": {"shape": (3, 300, 100), "tiled": False},
    "one-strip-a-row": {"shape": (1, 700, 31), "tiled": False, "blockysize": 1},
    "one-band-odd": {"shape": (1, 257, 259), "tiled": True, "block": 16},
    "seven-bands": {"shape": (7, 90, 70), "tiled": True, "block": 32},
    "pixel-interleaved": {"shape": (4, 130, 140), "tiled": True, "block": 128, "interleave": "pixel"},
    "block-larger-than-image": {"shape": (2, 33, 47), "tiled": True, "block": 512},
    "one-pixel": {"shape": (2, 1, 1), "tiled": True, "block": 16},
}


def make_noise(shape: tuple[int, int, int], dtype: str = "uint16", *, holes: bool = True) -> NDArray[Any]:
    rng = np.random.default_rng(7)
    pixels = rng.integers(0, 4, shape).astype(dtype) if holes else rng.integers(1, 200, shape).astype(dtype)
    if holes:
        pixels[:, rng.random(shape[1:]) < 0.2] = 0
    return pixels


def open_file(path: Path, **options: Any) -> Scene:
    return open_scene(SceneRef(name=path.stem, priority=0, rasters=(RasterRef(href=str(path)),)), **options).scene


def draw_windows(height: int, width: int, count: int, seed: int = 0) -> list[Window]:
    """The whole, single pixels in the corners, and random windows."""
    rng = np.random.default_rng(seed)
    windows = [Window(row=0, col=0, height=height, width=width)]
    windows += [Window(row=r, col=c, height=1, width=1) for r in (0, height - 1) for c in (0, width - 1)]
    for _ in range(count):
        row, col = int(rng.integers(height)), int(rng.integers(width))
        size = int(rng.integers(1, height - row + 1)), int(rng.integers(1, width - col + 1))
        windows.append(Window(row=row, col=col, height=size[0], width=size[1]))
    return windows


def read_reference(path: Path, window: Window, bands: int, factor: int | None = None) -> NDArray[Any]:
    options = {}
    if factor is not None:
        with rasterio.open(path) as raster:
            options["OVERVIEW_LEVEL"] = raster.overviews(1).index(factor)
    with rasterio.open(path, **options) as raster:
        pixels: NDArray[Any] = raster.read(
            list(range(1, bands + 1)), window=RasterioWindow(window.col, window.row, window.width, window.height)
        )
    return pixels


def to_mask(pixels: Pixels) -> NDArray[np.bool_]:
    return np.ones(pixels.values.shape[1:], np.bool_) if pixels.valid is None else pixels.valid


def read_valid(path: Path, **options: Any) -> NDArray[np.bool_]:
    scene = open_file(path, **options)
    with RasterReader(cache_bytes=ENOUGH) as reader:
        return to_mask(reader.read(scene, scene.grid.window))


@pytest.mark.parametrize("cache_bytes", [0, 20_000, ENOUGH])
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_window_equals_rasterio_from_many_threads_whatever_the_cache(tmp_path: Path, name: str, cache_bytes: int) -> None:
    options = dict(LAYOUTS[name])
    pixels = make_noise(options.pop("shape"))
    path = write_scene(tmp_path / "scene.tif", pixels, **options)
    scene = open_file(path)
    windows = draw_windows(*scene.grid.shape, count=40) * 2
    with RasterReader(cache_bytes=cache_bytes) as reader, ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda window: reader.read(scene, window), windows))
    for window, result in zip(windows, results, strict=True):
        expected = read_reference(path, window, len(pixels))
        assert result.values.dtype == expected.dtype
        np.testing.assert_array_equal(result.values, expected)
        np.testing.assert_array_equal(to_mask(result), (expected != 0).any(axis=0))


@pytest.mark.parametrize("order", [[2, 4, 8], [8, 2, 4]])
def test_overview_windows_equal_rasterio_whatever_the_order_in_the_file(tmp_path: Path, order: list[int]) -> None:
    path = write_scene(tmp_path / "scene.tif", make_noise((2, 301, 517)), block=64)
    for factor in order:
        with rasterio.open(path, "r+") as raster:
            raster.build_overviews([factor], rasterio.enums.Resampling.average)
    with rasterio.open(path) as raster:
        assert raster.overviews(1) == order
    scene = open_file(path)
    assert scene.source.overviews == (2, 4, 8)
    with RasterReader(cache_bytes=50_000) as reader, ThreadPoolExecutor(8) as pool:
        for level, factor in enumerate((2, 4, 8)):
            windows = draw_windows(*level_grid(scene, level).shape, count=15)
            results = list(pool.map(lambda window, level=level: reader.read(scene, window, level=level), windows))
            for window, result in zip(windows, results, strict=True):
                np.testing.assert_array_equal(result.values, read_reference(path, window, 2, factor))


@pytest.mark.parametrize("size", [(1023, 2745), (700, 1501), (515, 514)])
def test_overviews_of_a_writer_that_rounds_sizes_down_are_read_as_they_are(tmp_path: Path, size: tuple[int, int]) -> None:
    """GDAL's own COG driver does."""
    path = tmp_path / "scene.tif"
    pixels = make_noise((1, *size), "uint8")
    with rasterio.open(
        path,
        "w",
        driver="COG",
        height=size[0],
        width=size[1],
        count=1,
        dtype="uint8",
        crs="EPSG:32633",
        transform=Affine(2, 0, 5e5, 0, -2, 5e6),
        nodata=0,
        blocksize=256,
    ) as raster:
        raster.write(pixels)
    scene = open_file(path)
    assert scene.source.overviews
    with RasterReader(cache_bytes=10**6) as reader:
        for level, factor in enumerate(scene.source.overviews):
            grid = level_grid(scene, level)
            assert grid.shape == (size[0] // factor, size[1] // factor)
            assert grid.bounds.as_tuple() == pytest.approx(scene.grid.bounds.as_tuple(), abs=1e-6)
            for window in draw_windows(*grid.shape, count=5):
                found = reader.read(scene, window, level=level)
                np.testing.assert_array_equal(found.values, read_reference(path, window, 1, factor))


def test_overviews_cover_the_ground_of_the_scene(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", make_noise((1, 301, 517)), overviews=[2, 4])
    scene = open_file(path)
    for level in (0, 1):
        assert level_grid(scene, level).bounds.as_tuple() == pytest.approx(scene.grid.bounds.as_tuple(), abs=1e-6)
        with rasterio.open(path, OVERVIEW_LEVEL=level) as raster:
            assert level_grid(scene, level).transform == pytest.approx(tuple(raster.transform)[:6], rel=1e-12)


@pytest.mark.parametrize("name", ["tiled", "strips", "one-strip-a-row", "one-band-odd", "pixel-interleaved"])
def test_every_block_is_decoded_once_where_the_cache_holds_them(tmp_path: Path, name: str) -> None:
    options = dict(LAYOUTS[name])
    pixels = make_noise(options.pop("shape"), holes=False)
    scene = open_file(write_scene(tmp_path / "scene.tif", pixels, **options))
    windows = draw_windows(*scene.grid.shape, count=100)
    with RasterReader(cache_bytes=ENOUGH) as reader, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda window: reader.read(scene, window), windows))
        assert reader.decoded_bytes == pixels.nbytes


def test_blocks_that_no_window_touches_are_not_decoded(tmp_path: Path) -> None:
    scene = open_file(write_scene(tmp_path / "scene.tif", make_noise((2, 1024, 1024), holes=False), block=256))
    with RasterReader(cache_bytes=ENOUGH) as reader:
        reader.read(scene, Window(row=250, col=600, height=10, width=10))
        assert reader.decoded_bytes == 2 * 256 * 256 * 2 * 2


def test_nothing_is_kept_without_a_cache(tmp_path: Path) -> None:
    scene = open_file(write_scene(tmp_path / "scene.tif", make_noise((1, 64, 64), holes=False)))
    with RasterReader(cache_bytes=0) as reader:
        for _ in range(3):
            reader.read(scene, scene.grid.window)
        assert reader.decoded_bytes == 3 * 64 * 64 * 2


def test_memory_stays_near_the_capacity(tmp_path: Path) -> None:
    scene = open_file(write_scene(tmp_path / "scene.tif", make_noise((1, 2048, 2048), holes=False), block=256))
    capacity = 2**20
    with RasterReader(cache_bytes=capacity) as reader:
        tracemalloc.start()
        for row in range(0, 2048, 64):
            for col in range(0, 2048, 256):
                reader.read(scene, Window(row=row, col=col, height=64, width=256))
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert held < 1.5 * capacity


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_a_pixel_is_nodata_only_where_every_band_is(tmp_path: Path, dtype: str) -> None:
    pixels = np.full((3, 4, 4), 5, dtype)
    pixels[:, 0, 0] = 9
    pixels[1, 1, 1] = 9
    path = write_scene(tmp_path / "scene.tif", pixels, nodata=9, block=16)
    expected = np.ones((4, 4), np.bool_)
    expected[0, 0] = False
    np.testing.assert_array_equal(read_valid(path), expected)
    with rasterio.open(path) as raster:
        np.testing.assert_array_equal(raster.dataset_mask() > 0, expected)


@pytest.mark.parametrize("bands", [1, 3])  # 2 and 4 with the alpha band
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_an_alpha_band_says_what_is_valid_and_is_no_data_band(tmp_path: Path, bands: int, dtype: str) -> None:
    pixels = make_noise((bands, 100, 90), dtype)
    opaque = np.random.default_rng(1).random((100, 90)) < 0.7
    path = write_scene(tmp_path / "scene.tif", pixels, nodata=None, alpha=opaque)
    scene = open_file(path)
    assert (scene.source.validity, scene.source.band_indexes) == ("alpha", tuple(range(1, bands + 1)))
    assert len(scene.bands) == bands
    np.testing.assert_array_equal(read_valid(path), opaque)


def test_an_alpha_band_may_stand_first_and_be_half_transparent(tmp_path: Path) -> None:
    pixels = np.stack([np.array([[0, 1], [128, 255]]), np.full((2, 2), 7)]).astype("uint8")
    path = write_scene(tmp_path / "scene.tif", pixels, nodata=None, block=16, photometric="minisblack")
    with rasterio.open(path, "r+") as raster:
        raster.colorinterp = [ColorInterp.alpha, ColorInterp.gray]
    assert open_file(path).source.band_indexes == (2,)
    np.testing.assert_array_equal(read_valid(path), [[False, True], [True, True]])


def test_alpha_and_nodata_both_hold(tmp_path: Path) -> None:
    pixels = np.array([[[0, 5], [0, 5]]], "uint8")
    opaque = np.array([[True, True], [False, False]])
    path = write_scene(tmp_path / "scene.tif", pixels, nodata=0, alpha=opaque, block=16)
    np.testing.assert_array_equal(read_valid(path), [[False, True], [False, False]])


@pytest.mark.parametrize("internal", [True, False])
def test_a_mask_says_what_is_valid(tmp_path: Path, internal: bool) -> None:
    pixels = make_noise((2, 100, 90))
    seen = np.random.default_rng(1).random((100, 90)) < 0.7
    path = write_scene(tmp_path / "scene.tif", pixels, nodata=None, mask=seen if internal else False)
    if not internal:
        write_scene(tmp_path / "mask" / "scene.tif", seen.astype("uint8") * 255, nodata=None).rename(f"{path}.msk")
    scene = open_file(path)
    assert scene.source.validity == "mask"
    np.testing.assert_array_equal(read_valid(path), seen)
    with RasterReader(cache_bytes=0) as reader:
        part = reader.read(scene, Window(row=10, col=20, height=30, width=40))
    np.testing.assert_array_equal(to_mask(part), seen[10:40, 20:60])


def test_a_mask_that_gdal_wrote_beside_the_file_is_read(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", make_noise((2, 100, 90), holes=False), nodata=None)
    seen = np.random.default_rng(1).random((100, 90)) < 0.7
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as raster:
        raster.write_mask(seen)
    assert path.with_name("scene.tif.msk").exists()
    np.testing.assert_array_equal(read_valid(path), seen)


def test_a_mask_and_nodata_both_hold(tmp_path: Path) -> None:
    pixels = np.array([[[0, 5], [0, 5]]], "uint8")
    seen = np.array([[True, True], [False, False]])
    path = write_scene(tmp_path / "scene.tif", pixels, nodata=0, mask=seen, block=16)
    np.testing.assert_array_equal(read_valid(path), [[False, True], [False, False]])


def test_an_internal_mask_holds_on_overviews_too(tmp_path: Path) -> None:
    seen = np.zeros((256, 256), np.bool_)
    seen[:, 128:] = True
    path = write_scene(tmp_path / "scene.tif", make_noise((1, 256, 256), holes=False), nodata=None, mask=seen, overviews=[2, 4])
    scene = open_file(path)
    with RasterReader(cache_bytes=ENOUGH) as reader:
        for level, factor in enumerate(scene.source.overviews):
            mask = to_mask(reader.read(scene, level_grid(scene, level).window, level=level))
            np.testing.assert_array_equal(mask, seen[::factor, ::factor])


def test_a_mask_beside_the_file_turns_overviews_off_because_it_has_none(tmp_path: Path) -> None:
    seen = np.random.default_rng(1).random((256, 256)) < 0.7
    path = write_scene(tmp_path / "scene.tif", make_noise((1, 256, 256)), nodata=None, overviews=[2])
    write_scene(tmp_path / "mask" / "scene.tif", seen.astype("uint8"), nodata=None).rename(f"{path}.msk")
    assert open_file(path).source.overviews == ()


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", make_noise((1, 64, 64)), nodata=None)
    write_scene(tmp_path / "mask" / "scene.tif", np.ones((32, 64), "uint8"), nodata=None).rename(f"{path}.msk")
    with pytest.raises(InputError, match=r"scene: its mask .* has 32 x 64 pixels, the scene has 64 x 64"):
        open_file(path)


@pytest.mark.parametrize("nodata", [None, float("nan"), -9999.0])
def test_a_value_that_is_not_finite_makes_the_pixel_invalid(tmp_path: Path, nodata: float | None) -> None:
    pixels = np.ones((2, 4, 4), "float32")
    pixels[:, 0, 0] = np.nan
    pixels[1, 1, 1] = np.nan
    pixels[0, 2, 2] = -np.inf
    pixels[:, 3, 3] = -9999
    expected = np.ones((4, 4), np.bool_)
    expected[[0, 1, 2], [0, 1, 2]] = False
    expected[3, 3] = nodata != -9999
    np.testing.assert_array_equal(read_valid(write_scene(tmp_path / "scene.tif", pixels, nodata=nodata, block=16)), expected)


@pytest.mark.parametrize("nodata", [-9999.0, 256.0, 3.5, float("nan")])
def test_nodata_that_the_type_cannot_hold_marks_nothing_and_says_so(tmp_path: Path, nodata: float) -> None:
    path = write_scene(tmp_path / "scene.tif", np.array([[0, 3], [4, 255]], "uint8"), nodata=None, block=16)
    opened = open_scene(SceneRef(name="scene", priority=0, rasters=(RasterRef(href=str(path)),)), nodata=nodata)
    assert (opened.scene.source.validity, opened.scene.source.nodata) == ("all", None)
    assert [finding.code for finding in opened.findings] == ["no-nodata"]
    assert "that uint8 cannot hold" in opened.findings[0].message
    assert read_valid(path, nodata=nodata).all()


def test_nodata_of_the_file_that_its_type_cannot_hold_marks_nothing(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", np.array([[0, 3], [4, 5]], "uint8"), nodata=255, block=16)
    path.write_bytes(path.read_bytes().replace(b"255\0", b"-99\0"))  # what rasterio refuses to write
    opened = open_scene(SceneRef(name="scene", priority=0, rasters=(RasterRef(href=str(path)),)))
    assert [finding.code for finding in opened.findings] == ["no-nodata"]
    assert read_valid(path).all()


@pytest.mark.parametrize("nodata", [float(np.finfo("float32").min), -3.4e38, 0.1, 1e300])
def test_float_nodata_is_compared_in_the_type_of_the_pixels(tmp_path: Path, nodata: float) -> None:
    pixels = np.ones((1, 2, 2), "float32")
    with np.errstate(over="ignore"):
        pixels[0, 0, 0] = np.float32(nodata) if abs(nodata) < 1e39 else 2
    path = write_scene(tmp_path / "scene.tif", pixels, nodata=None, block=16)
    assert np.count_nonzero(~read_valid(path, nodata=nodata)) == (abs(nodata) < 1e39)


def test_a_custom_nodata_value_replaces_that_of_the_file(tmp_path: Path) -> None:
    pixels = np.array([[0, 3], [4, 255]], "uint8")
    path = write_scene(tmp_path / "scene.tif", pixels, nodata=0, block=16)
    np.testing.assert_array_equal(read_valid(path), pixels != 0)
    np.testing.assert_array_equal(read_valid(path, nodata=255), pixels != 255)


def test_a_scene_without_nodata_or_mask_is_all_valid_and_says_so(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", np.zeros((1, 8, 8), "uint8"), nodata=None, block=16)
    opened = open_scene(SceneRef(name="scene", priority=0, rasters=(RasterRef(href=str(path)),)))
    assert opened.scene.source.validity == "all"
    assert [(finding.severity, finding.code, finding.scene) for finding in opened.findings] == [
        ("warning", "no-nodata", "scene")
    ]
    assert read_valid(path).all()


def test_a_float_scene_needs_no_nodata(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", np.zeros((1, 8, 8), "float32"), nodata=None, block=16)
    assert open_scene(SceneRef(name="scene", priority=0, rasters=(RasterRef(href=str(path)),))).findings == ()


def damage(path: Path) -> None:
    """Cut the second half of a file's bytes off."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def test_a_truncated_file_is_an_error_in_every_waiting_thread_and_names_the_place(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "torn.tif", make_noise((1, 512, 512), holes=False), block=256)
    damage(path)
    scene = open_file(path)
    windows = [Window(row=256, col=256, height=200, width=200)] * 16
    begin = threading.Barrier(8)

    def read(window: Window) -> str:
        begin.wait(10)
        try:
            reader.read(scene, window)
        except InputError as error:
            return str(error)
        return ""

    with RasterReader(cache_bytes=ENOUGH) as reader, ThreadPoolExecutor(8) as pool:
        messages = list(pool.map(read, windows))
        good = reader.read(scene, Window(row=0, col=0, height=256, width=256))
    assert good.values.any()
    for message in messages:
        assert message.startswith("scene torn: cannot read rows 256 to 511, columns 256 to 511 of")
        assert message.endswith("the file is truncated or corrupt: fetch it again")


def test_an_error_is_not_kept_once_the_file_is_whole_again(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", make_noise((1, 512, 512), holes=False), block=256)
    whole = path.read_bytes()
    scene = open_file(path)
    damage(path)
    with RasterReader(cache_bytes=ENOUGH) as reader:
        with pytest.raises(InputError, match="truncated"):
            reader.read(scene, scene.grid.window)
        path.write_bytes(whole)
        np.testing.assert_array_equal(reader.read(scene, scene.grid.window).values, read_reference(path, scene.grid.window, 1))


def test_a_file_that_changed_its_size_since_it_was_planned_is_refused(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", make_noise((1, 64, 64)))
    scene = open_file(path)
    path.unlink()
    write_scene(path, make_noise((1, 32, 64)))
    with RasterReader(cache_bytes=0) as reader, pytest.raises(InputError, match=r"scene scene: the raster has 32 x 64 pixels"):
        reader.read(scene, Window(row=0, col=0, height=8, width=8))


VRT = """<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>EPSG:32633</SRS>
<GeoTransform>500000, 1, 0, 5300000, 0, -1</GeoTransform>
<VRTRasterBand dataType="{dtype}" band="1"><SimpleSource><SourceFilename relativeToVRT="0">{source}</SourceFilename>
<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"""


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of this machine that no scene has any business to read."""
    return write_scene(tmp_path / "secret" / "secret.tif", np.full((64, 64), 99, "uint16"), nodata=None)


def test_a_vrt_under_the_name_of_a_tiff_is_refused(tmp_path: Path, secret: Path) -> None:
    path = tmp_path / "scene.tif"
    path.write_text(VRT.format(width=64, height=64, dtype="UInt16", source=secret))
    with pytest.raises(InputError, match=r"^scene scene: .* is not a readable GeoTIFF"):
        open_file(path)


def test_overviews_in_a_file_beside_the_scene_are_not_followed(tmp_path: Path, secret: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", np.full((128, 128), 7, "uint16"), nodata=None)
    path.with_name("scene.tif.ovr").write_text(VRT.format(width=64, height=64, dtype="UInt16", source=secret))
    with rasterio.open(path) as raster:
        assert raster.overviews(1) == [2]  # GDAL follows it
    assert open_file(path).source.overviews == ()


def test_overviews_named_by_metadata_beside_the_scene_are_not_followed(tmp_path: Path, secret: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", np.full((128, 128), 7, "uint16"), nodata=None)
    path.with_name("scene.tif.aux.xml").write_text(
        f'<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{secret}</MDI></Metadata></PAMDataset>'
    )
    with rasterio.open(path) as raster:
        assert raster.overviews(1) == [2]  # GDAL follows it
    assert open_file(path).source.overviews == ()


def test_overviews_named_by_metadata_within_the_scene_are_refused(tmp_path: Path, secret: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", np.full((128, 128), 7, "uint16"), nodata=None)
    with rasterio.open(path, "r+") as raster:
        raster.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=str(secret))
    with rasterio.open(path) as raster:
        assert raster.overviews(1) == [2]  # GDAL follows it
    with pytest.raises(InputError, match=r"scene scene: the metadata .* name another file as its overviews"):
        open_file(path)


@pytest.fixture
def requests() -> Iterator[tuple[str, list[str]]]:
    """The address of a server on this machine, and what it was asked for."""
    seen: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as http.server names it
            del format, args

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()
        thread.join()


def test_a_scene_cannot_make_the_reader_ask_a_server(tmp_path: Path, requests: tuple[str, list[str]]) -> None:
    path = write_scene(tmp_path / "scene.tif", np.full((128, 128), 7, "uint16"), nodata=None)
    with rasterio.open(path, "r+") as raster:
        raster.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=f"/vsicurl/{requests[0]}/metadata")
    with pytest.raises(InputError, match="OVERVIEW_FILE"):
        open_file(path)
    assert requests[1] == []


def test_a_mask_beside_the_scene_is_read_as_geotiff_only(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", np.full((128, 128), 7, "uint16"), nodata=None)
    mask = write_scene(tmp_path / "secret" / "mask.tif", np.ones((128, 128), "uint8"), nodata=None)
    path.with_name("scene.tif.msk").write_text(VRT.format(width=128, height=128, dtype="Byte", source=mask))
    with pytest.raises(InputError, match=r"scene\.tif\.msk is not a readable GeoTIFF"):
        open_file(path)


@pytest.mark.parametrize(
    "prefix",
    ["/vsizip/", "/vsicurl/http://127.0.0.1:9/", "/vsistdin/", "/vsimem/", "GTIFF_DIR:1:", "GTIFF_RAW:", "J2K_SUBFILE:0,100,"],
)
def test_names_with_a_meaning_to_gdal_are_no_files(tmp_path: Path, prefix: str) -> None:
    path = write_scene(tmp_path / "scene.tif", np.ones((8, 8), "uint8"), nodata=0, block=16)
    with pytest.raises(InputError, match="scene: no such file"):
        open_scene(SceneRef(name="scene", priority=0, rasters=(RasterRef(href=f"{prefix}{path}"),)))


def write_declared(path: Path, size: int, block: int, bands: int = 1) -> Path:
    """A file of a few hundred bytes that declares a large raster and holds none of it."""
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=size,
        height=size,
        count=bands,
        dtype="uint8",
        crs="EPSG:32633",
        transform=Affine(1, 0, 5e5, 0, -1, 5e6),
        nodata=0,
        tiled=True,
        blockxsize=block,
        blockysize=block,
        SPARSE_OK=True,
        compress="deflate",
    ):
        pass
    assert path.stat().st_size < 100_000
    return path


def test_blocks_too_large_to_decode_are_refused_when_the_scene_is_opened(tmp_path: Path) -> None:
    path = write_declared(tmp_path / "scene.tif", 65_536, 32_768)
    tracemalloc.start()
    with pytest.raises(InputError, match=r"scene scene: the file is stored in blocks of 32768 x 32768 pixels \(1024 MiB\)"):
        open_file(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


def test_a_window_of_a_huge_scene_takes_the_memory_of_its_blocks(tmp_path: Path) -> None:
    scene = open_file(write_declared(tmp_path / "scene.tif", 200_000, 4096))
    tracemalloc.start()
    with RasterReader(cache_bytes=0) as reader:
        pixels = reader.read(scene, Window(row=150_000, col=150_000, height=64, width=64))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not to_mask(pixels).any()
    assert peak < 4 * 4096**2


def test_damaged_headers_give_an_error_that_names_the_scene_or_a_scene(tmp_path: Path) -> None:
    """Two hundred files with a few bytes of their tags changed; whatever GDAL makes of them, nothing else comes out."""
    rng = np.random.default_rng(3)
    whole = write_scene(
        tmp_path / "whole.tif", make_noise((2, 64, 64)), block=32, compress="deflate", overviews=[2]
    ).read_bytes()
    start = int.from_bytes(whole[4:8], "little")
    path = tmp_path / "scene.tif"
    outcomes = set()
    for _ in range(200):
        data = bytearray(whole)
        for place in start + rng.integers(0, 250, 2):
            data[min(int(place), len(data) - 1)] = int(rng.choice([0, 1, 255, int(rng.integers(256))]))
        path.write_bytes(data)
        try:
            scene = open_file(path)
            with RasterReader(cache_bytes=0) as reader:
                reader.read(scene, Window(row=0, col=0, height=min(64, scene.grid.height), width=min(64, scene.grid.width)))
            outcomes.add("read")
        except InputError as error:
            outcomes.add(str(error)[:13])
    assert outcomes == {"read", "scene scene: "}


@pytest.mark.parametrize(
    ("transform", "reason"),
    [
        (Affine(1, 1, 5e5, -1, -1, 5e6), "makes no grid"),
        (Affine(1e-300, 0, 5e5, 0, -1, 5e6), "makes no grid"),
        (Affine(1, 0, 5e5, 0, -5000, 5e6), "makes no grid"),
        (Affine(float("nan"), 0, 5e5, 0, -1, 5e6), "makes no grid"),
        (Affine(1, 0, float("inf"), 0, -1, 5e6), "makes no grid"),
        (Affine.identity(), "no geotransform"),
    ],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_grid_that_cannot_be_used_is_refused(tmp_path: Path, transform: Affine, reason: str) -> None:
    path = write_scene(tmp_path / "scene.tif", np.ones((8, 8), "uint8"), block=16, transform=transform)
    with pytest.raises(InputError, match=rf"^scene scene: .*{reason}"):
        open_file(path)


def test_a_raster_of_colour_numbers_is_refused(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", np.ones((8, 8), "uint8"), block=16, photometric="palette")
    with rasterio.open(path, "r+") as raster:
        raster.write_colormap(1, {1: (255, 0, 0, 255)})
    with pytest.raises(InputError, match="scene scene: the raster holds numbers of colours"):
        open_file(path)


@pytest.mark.parametrize("dtype", ["complex64", "int64"])
def test_types_that_are_not_supported_are_refused(tmp_path: Path, dtype: str) -> None:
    path = write_scene(tmp_path / "scene.tif", np.ones((8, 8), dtype), block=16, nodata=None)
    with pytest.raises(InputError, match=rf"scene scene: the bands' type is {dtype}; allowed is one of uint8"):
        open_file(path)


def test_bands_are_named_by_the_file_where_the_item_does_not(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", np.ones((2, 8, 8), "uint8"), block=16, descriptions=["red", ""])
    assert [band.name for band in open_file(path).bands] == ["red", "band_2"]
