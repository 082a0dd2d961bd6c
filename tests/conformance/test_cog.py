"""Files of this project as GDAL and rio-cogeo read them, and its overviews beside GDAL's own."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
from effort import crossed
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Compression, Resampling
from rasterio.io import MemoryFile
from rasterio.transform import Affine
from rasterio.windows import Window as RasterioWindow
from rio_cogeo.cogeo import cog_validate

from processor.errors import PermanentError
from processor.geotiff.cog import writer
from processor.geotiff.cog.codecs import encode_tile
from processor.geotiff.cog.overviews import Pyramid, reduce_average
from processor.geotiff.cog.spec import DTYPES, CogProfile, CogSpec
from processor.geotiff.cog.tags import is_crs_kept
from processor.geotiff.cog.tiles import TileStore
from processor.geotiff.cog.writer import check_cog, plan_layout, write_cog, write_cog_array, write_cog_header
from processor.geotiff.reader import read_decimated
from processor.model import Grid, Moments

UTM = CRS.from_epsg(32735).to_wkt(version="WKT2_2019")


def make_grid(width: int, height: int, crs: str = UTM) -> Grid:
    return Grid(crs=crs, left=499_980.125, top=7_000_020.5, pixel_width=0.1, pixel_height=0.3, width=width, height=height)


def make_pixels(dtype: str, shape: tuple[int, int, int], nodata: float | None) -> NDArray[Any]:
    """A smooth field with noise and holes; an eighth of the image holds nothing."""
    bands, height, width = shape
    rng = np.random.default_rng(0)
    rows, cols = np.mgrid[:height, :width]
    field = np.stack([60 + 40 * np.sin(rows / 9 + band) + 20 * np.cos(cols / 7) for band in range(bands)])
    pixels = (field + rng.normal(0, 3, shape)).astype(dtype)
    if nodata is not None:
        pixels[:, rng.random((height, width)) < 0.05] = nodata
        pixels[:, : height // 2, : width // 4] = nodata
    return pixels


def halve(pixels: NDArray[Any], times: int, nodata: float | None) -> NDArray[Any]:
    for _ in range(times):
        pixels = reduce_average(pixels, nodata)
    return pixels


def check(path: Path, spec: CogSpec, pixels: NDArray[Any]) -> None:
    """A valid COG with these pixels, at every level, in the right place."""
    assert cog_validate(path, strict=True, quiet=True) == (True, [], [])
    with rasterio.open(path) as dataset:
        assert dataset.files == [str(path)]
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.dtypes == (spec.dtype,) * spec.bands
        assert dataset.transform == Affine(*spec.grid.transform)
        assert dataset.block_shapes == [(spec.profile.tile_size, spec.profile.tile_size)] * spec.bands
        np.testing.assert_equal(dataset.nodata, spec.nodata)
        np.testing.assert_array_equal(dataset.read(), pixels)
        overviews = dataset.overviews(1)
    assert len(overviews) == len(spec.levels) - 1
    for level in spec.levels[1:]:
        with rasterio.open(path, overview_level=level.index - 1) as dataset:
            assert dataset.shape == (level.height, level.width)
            np.testing.assert_array_equal(dataset.read(), halve(pixels, level.index, spec.nodata))


@crossed("dtype compression predictor", DTYPES, ["deflate", "zstd", "lzw", "none"], [True, False])
def test_every_dtype_and_compression_is_read_back(tmp_path: Path, dtype: str, compression: Any, predictor: bool) -> None:
    profile = CogProfile(tile_size=64, compression=compression, predictor=predictor)
    spec = CogSpec(grid=make_grid(150, 97), bands=3, dtype=dtype, nodata=7, profile=profile)
    pixels = make_pixels(dtype, (3, 97, 150), 7)
    write_cog_array(tmp_path / "a.tif", pixels, spec)
    check(tmp_path / "a.tif", spec, pixels)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.compression == (None if compression == "none" else Compression[compression])
        expected = None if compression == "none" or not predictor else "3" if dtype.startswith("f") else "2"
        assert dataset.tags(ns="IMAGE_STRUCTURE").get("PREDICTOR") == expected


@crossed(
    "size bands stored",
    [(1, 1), (63, 63), (64, 64), (65, 65), (190, 91), (3, 130)],
    [1, 3, 4, 7],
    [("uint8", None), ("int16", -1), ("float32", np.nan)],
)
def test_every_size_and_number_of_bands_is_read_back(
    tmp_path: Path, size: tuple[int, int], bands: int, stored: tuple[str, float | None]
) -> None:
    (width, height), (dtype, nodata) = size, stored
    spec = CogSpec(grid=make_grid(width, height), bands=bands, dtype=dtype, nodata=nodata, profile=CogProfile(tile_size=64))
    pixels = make_pixels(dtype, (bands, height, width), nodata)
    write_cog_array(tmp_path / "a.tif", pixels, spec)
    check(tmp_path / "a.tif", spec, pixels)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (511, 511), (512, 512), (513, 513), (1500, 700)])
def test_every_size_is_read_back_at_the_usual_blocksize(tmp_path: Path, width: int, height: int) -> None:
    spec = CogSpec(grid=make_grid(width, height), bands=3, dtype="uint8", nodata=0)
    pixels = make_pixels("uint8", (3, height, width), 0)
    write_cog_array(tmp_path / "a.tif", pixels, spec)
    check(tmp_path / "a.tif", spec, pixels)


def test_block_maps_are_valid_files(tmp_path: Path) -> None:
    spec = CogSpec(grid=make_grid(15, 26), bands=3, dtype="float32", nodata=np.nan, descriptions=("red", "green", "blue"))
    pixels = make_pixels("float32", (3, 26, 15), np.nan)
    write_cog_array(tmp_path / "a.tif", pixels, spec)
    check(tmp_path / "a.tif", spec, pixels)


def test_bigtiff_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_LARGEST_CLASSIC", 0)
    spec = CogSpec(grid=make_grid(300, 200), bands=3, dtype="uint16", nodata=0, profile=CogProfile(tile_size=64))
    pixels = make_pixels("uint16", (3, 200, 300), 0)
    write_cog_array(tmp_path / "a.tif", pixels, spec)
    assert (tmp_path / "a.tif").read_bytes()[:4] == b"II+\0"
    check(tmp_path / "a.tif", spec, pixels)


class Declared:
    """Four blocks of which three are declared to have 2 GiB, so that the last lies beyond 4 GiB."""

    def __init__(self, last: int) -> None:
        self.last = last

    def sizes(self, level: int) -> NDArray[np.uint32]:
        return np.array([[2**31, 2**31, 2**31, self.last]] if level == 0 else [[0] * (4 >> level)], np.uint32)

    def iter_tiles(self, level: int) -> Any:
        raise AssertionError(level)


def test_blocks_beyond_four_gibibytes_are_found(tmp_path: Path) -> None:
    spec = CogSpec(grid=make_grid(128, 32), bands=1, dtype="uint16", profile=CogProfile(tile_size=32))
    pixels = make_pixels("uint16", (1, 32, 32), None)
    data = encode_tile(np.moveaxis(pixels, 0, -1), spec.profile)
    layout = plan_layout(spec, Declared(len(data)))
    with (tmp_path / "a.tif").open("wb") as stream:  # a sparse file: the blocks between are holes
        stream.write(layout.header)
        stream.seek(layout.size - len(data) - 8)
        stream.write(struct.pack("<I", len(data)) + data + data[-4:])
    assert layout.header[:4] == b"II+\0"
    assert layout.size > 6 * 2**30
    assert (tmp_path / "a.tif").stat().st_size == layout.size
    with rasterio.open(tmp_path / "a.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(window=RasterioWindow(96, 0, 32, 32)), pixels)


def test_empty_blocks_take_no_room_and_are_nodata(tmp_path: Path) -> None:
    spec = CogSpec(grid=make_grid(2600, 1500), bands=2, dtype="int16", nodata=-1)
    pixels = np.full((2, 1500, 2600), -1, np.int16)
    pixels[:, 1200:1300, 2100:2200] = 5
    record = write_cog_array(tmp_path / "a.tif", pixels, spec)
    check(tmp_path / "a.tif", spec, pixels)
    assert record.size < 60_000
    empty = CogSpec(grid=make_grid(1000, 900), bands=2, dtype="int16", nodata=-1)
    write_cog_array(tmp_path / "b.tif", np.full((2, 900, 1000), -1, np.int16), empty)
    with rasterio.open(tmp_path / "b.tif") as dataset:
        assert (dataset.read() == -1).all()
        assert (dataset.read(out_shape=(2, 225, 250)) == -1).all()


def test_metadata_is_read_back(tmp_path: Path) -> None:
    statistics = Moments(
        count=3000,
        mean=np.array([10.5, 1 / 3, -2e-7]),
        m2=np.array([3000.0, 0, 12e3]),
        minimum=np.array([0.0, 1 / 3, -1e10]),
        maximum=np.array([20.0, 1 / 3, 7]),
    )
    spec = CogSpec(
        grid=make_grid(100, 60),
        bands=3,
        dtype="float32",
        nodata=np.nan,
        descriptions=("near infrared", None, "größe <&>"),
        statistics=statistics,
        tags={"RUN": "1", "TITLE": "a < b & c 'ü'", "EMPTY": ""},
    )
    write_cog_array(tmp_path / "a.tif", make_pixels("float32", (3, 60, 100), np.nan), spec)
    assert cog_validate(tmp_path / "a.tif", strict=True, quiet=True) == (True, [], [])
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.descriptions == spec.descriptions
        tags = dataset.tags()
        assert {key: tags.get(key, "") for key in spec.tags} == spec.tags
        assert tags["AREA_OR_POINT"] == "Area"
        for band in range(3):
            tags = dataset.tags(band + 1)
            assert float(tags["STATISTICS_MEAN"]) == statistics.mean[band]
            assert float(tags["STATISTICS_STDDEV"]) == statistics.std[band]
            assert float(tags["STATISTICS_MINIMUM"]) == statistics.minimum[band]
            assert float(tags["STATISTICS_MAXIMUM"]) == statistics.maximum[band]
            assert tags["STATISTICS_VALID_PERCENT"] == "50"
    nothing = Moments(count=0, mean=np.full(3, np.nan), m2=np.zeros(3), minimum=np.full(3, np.inf), maximum=np.full(3, -np.inf))
    write_cog_array(
        tmp_path / "b.tif", np.full((3, 60, 100), np.nan, np.float32), dataclasses.replace(spec, statistics=nothing)
    )
    with rasterio.open(tmp_path / "b.tif") as dataset:
        assert dataset.tags(1) == {}


def test_a_grid_at_the_origin_with_pixels_of_one_unit_has_its_place(tmp_path: Path) -> None:
    grid = Grid(crs=UTM, left=0, top=0, pixel_width=1, pixel_height=1, width=20, height=10)
    write_cog_array(tmp_path / "a.tif", np.ones((1, 10, 20), np.uint8), CogSpec(grid=grid, bands=1, dtype="uint8"))
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.transform == Affine(1, 0, 0, 0, -1, 0)
        assert dataset.crs.to_epsg() == 32735


@pytest.mark.parametrize("bands", [3, 4, 5])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_colours_are_as_said(tmp_path: Path, dtype: str, bands: int) -> None:
    pixels = make_pixels(dtype, (bands, 40, 50), None)
    spec = CogSpec(grid=make_grid(50, 40), bands=bands, dtype=dtype)
    write_cog_array(tmp_path / "grey.tif", pixels, spec)
    write_cog_array(tmp_path / "rgb.tif", pixels, dataclasses.replace(spec, photometric="rgb"))
    rest = (ColorInterp.undefined,)
    with rasterio.open(tmp_path / "grey.tif") as dataset:
        assert dataset.colorinterp == (ColorInterp.gray, *rest * (bands - 1))
    with rasterio.open(tmp_path / "rgb.tif") as dataset:
        assert dataset.colorinterp == (ColorInterp.red, ColorInterp.green, ColorInterp.blue, *rest * (bands - 3))
        np.testing.assert_array_equal(dataset.read(), pixels)


LOCAL_GRID = (
    'ENGCRS["site grid",EDATUM["site datum"],CS[Cartesian,2],AXIS["(E)",east,ORDER[1]],AXIS["(N)",north,ORDER[2]],'
    'LENGTHUNIT["metre",1]]'
)
OWN_DATUM = (
    'PROJCRS["own",BASEGEOGCRS["own geographic",DATUM["own datum",ELLIPSOID["own ellipsoid",6378100,298.1,'
    'LENGTHUNIT["metre",1]]],PRIMEM["Greenwich",0]],CONVERSION["own",METHOD["Lambert Azimuthal Equal Area",ID["EPSG",9820]],'
    'PARAMETER["Latitude of natural origin",12],PARAMETER["Longitude of natural origin",34],PARAMETER["False easting",0],'
    'PARAMETER["False northing",0]],CS[Cartesian,2],AXIS["easting",east],AXIS["northing",north],LENGTHUNIT["metre",1]]'
)
ROTATED_POLE = "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=30 +lon_0=10 +datum=WGS84"


@pytest.mark.parametrize(
    "definition",
    [
        "EPSG:4326",
        "EPSG:2048",  # axes south and west
        "EPSG:2056",
        "EPSG:3035",  # axes northing, easting
        "EPSG:7405",  # with heights
        "ESRI:54009",
        "ESRI:102001",
        "+proj=laea +lat_0=12.34 +lon_0=45.6 +x_0=1000 +y_0=2000 +ellps=GRS80 +units=m",
        "+proj=tmerc +lat_0=0 +lon_0=29 +k=1 +x_0=0 +y_0=0 +axis=wsu +ellps=WGS84 +units=m",
        "+proj=utm +zone=33 +ellps=intl +towgs84=-87,-98,-121,0,0,0,0",
        "+proj=laea +lat_0=52 +lon_0=10 +datum=WGS84 +units=us-ft",
        "+proj=sinu +lon_0=0 +R=6371007.181 +units=m",
        "+proj=geos +h=35785831 +lon_0=0 +ellps=GRS80 +sweep=y",
        OWN_DATUM,
        LOCAL_GRID,
    ],
)
def test_a_crs_is_read_back_with_or_without_a_code(tmp_path: Path, definition: str) -> None:
    wkt = pyproj.CRS.from_user_input(definition).to_wkt()
    spec = CogSpec(grid=make_grid(20, 10, wkt), bands=1, dtype="uint8")
    write_cog_array(tmp_path / "a.tif", np.ones((1, 10, 20), np.uint8), spec)
    assert is_crs_kept(wkt)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.files == [str(tmp_path / "a.tif")]
        assert dataset.crs == CRS.from_wkt(wkt)
        assert dataset.transform == Affine(*spec.grid.transform)
        assert "CRS_WKT2" not in dataset.tags()


def test_a_crs_that_geotiff_cannot_express_is_kept_as_metadata(tmp_path: Path) -> None:
    wkt = pyproj.CRS.from_user_input(ROTATED_POLE).to_wkt()
    spec = CogSpec(grid=make_grid(20, 10, wkt), bands=1, dtype="uint8", tags={"A": "b"})
    write_cog_array(tmp_path / "a.tif", np.ones((1, 10, 20), np.uint8), spec)
    assert not is_crs_kept(wkt)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.tags()["CRS_WKT2"] == wkt
        assert dataset.tags()["A"] == "b"


def test_a_grid_may_have_no_crs(tmp_path: Path) -> None:
    spec = CogSpec(grid=make_grid(20, 10, ""), bands=1, dtype="uint8")
    write_cog_array(tmp_path / "a.tif", np.ones((1, 10, 20), np.uint8), spec)
    assert is_crs_kept("")
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.crs is None
        assert dataset.transform == Affine(*spec.grid.transform)


def average_with_gdal(pixels: NDArray[Any], nodata: float | None) -> NDArray[Any]:
    bands, height, width = pixels.shape
    options = {"driver": "GTiff", "width": width, "height": height, "count": bands, "dtype": pixels.dtype, "nodata": nodata}
    with MemoryFile() as file:
        with file.open(transform=Affine(1, 0, 1, 0, -1, 1), **options) as dataset:
            dataset.write(pixels)
        with rasterio.open(file.name, "r+") as dataset:
            dataset.build_overviews([2], Resampling.average)
        with file.open(overview_level=0) as dataset:
            reduced: NDArray[Any] = dataset.read()
            return reduced


@pytest.mark.parametrize("nodata", [None, 50])
@pytest.mark.parametrize("dtype", DTYPES)
def test_overviews_are_those_of_gdal_where_sizes_are_even(dtype: str, nodata: float | None) -> None:
    pixels = make_pixels(dtype, (2, 64, 80), nodata)
    if not dtype.startswith("u"):
        pixels[1] = np.where(pixels[1] == nodata, pixels[1], -pixels[1])
    ours, theirs = reduce_average(pixels, nodata), average_with_gdal(pixels, nodata)
    # GDAL lets a mean become nodata by accident, this project does not: those samples differ by the smallest step.
    counted = reduce_average((pixels != nodata).astype(np.float32), None) if nodata is not None else np.ones(ours.shape)
    by_accident = (theirs == nodata) & (counted > 0)
    np.testing.assert_allclose(ours[~by_accident], theirs[~by_accident], rtol=2e-7 if dtype.startswith("f") else 0)
    assert (ours[by_accident] != theirs[by_accident]).all()
    np.testing.assert_allclose(ours[by_accident].astype(float), theirs[by_accident].astype(float), atol=1)


def test_overviews_are_close_to_those_of_gdal_where_sizes_are_odd() -> None:
    rows, cols = np.mgrid[:333, :251]
    pixels = (1000 + 300 * np.sin(rows / 60) + 200 * np.cos(cols / 50))[None].astype(np.float32)
    difference = np.abs(reduce_average(pixels, None) - average_with_gdal(pixels, None))
    # GDAL stretches 2 x 167 rows over 333, so that its samples lie up to a pixel off; the field has 5 and 4 units a pixel.
    assert difference.max() < 9
    assert np.median(difference) < 2


# The head: all that is looked at before a mosaic is published


@pytest.mark.parametrize(("width", "height"), [(3000, 2100), (5000, 900), (400, 300)])
def test_the_head_of_a_file_is_all_that_the_check_and_the_pictures_read(tmp_path: Path, width: int, height: int) -> None:
    pixels = np.random.default_rng(0).integers(1, 2000, (1, height, width)).astype(np.uint16)
    spec = CogSpec(grid=make_grid(width, height), bands=1, dtype="uint16", nodata=0, profile=CogProfile(tile_size=128))
    whole, head = tmp_path / "whole.tif", tmp_path / "head.tif"
    with TileStore(None, spec.levels) as store:
        pyramid = Pyramid(spec, store)
        for window in pyramid.iter_windows():
            rows, cols = window.slices_in(spec.grid.window)
            pyramid.add(window, pixels[:, rows, cols])
        write_cog(whole, spec, store)
        write_cog_header(head, spec, store, edge=2 * 1200)
    start, data = head.read_bytes(), whole.read_bytes()
    assert len(start) == len(data)
    if max(width, height) <= 2 * 1200:
        assert start == data
    else:
        end = len(start.rstrip(b"\0"))
        assert 0 < end < len(data) / 2
        assert start[:end] == data[:end]
        head.write_bytes(data[:end].ljust(len(data), b"\xff"))  # whoever reads the rest now gets something else
    check_cog(head)
    for edge in (1200, 300):
        (values, grid), (expected, its_grid) = read_decimated(head, edge=edge), read_decimated(whole, edge=edge)
        assert grid == its_grid
        np.testing.assert_array_equal(values, expected)


def test_without_overviews_the_head_is_the_whole_file(tmp_path: Path) -> None:
    pixels = np.ones((1, 900, 900), np.uint8)
    spec = CogSpec(grid=make_grid(900, 900), bands=1, dtype="uint8", nodata=0, overviews=False)
    with TileStore(None, spec.levels) as store:
        pyramid = Pyramid(spec, store)
        for window in pyramid.iter_windows():
            rows, cols = window.slices_in(spec.grid.window)
            pyramid.add(window, pixels[:, rows, cols])
        write_cog(tmp_path / "whole.tif", spec, store)
        write_cog_header(tmp_path / "head.tif", spec, store, edge=100)
    assert (tmp_path / "head.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()
    check_cog(tmp_path / "head.tif", strict=False)


def test_a_head_that_is_no_valid_cog_is_refused(tmp_path: Path) -> None:
    spec = CogSpec(grid=make_grid(900, 900), bands=1, dtype="uint8", nodata=0, overviews=False)
    with TileStore(None, spec.levels) as store:
        for row, col in np.ndindex(2, 2):
            store.put(0, row, col, b"x")
        write_cog_header(tmp_path / "head.tif", spec, store, edge=100)
    with pytest.raises(PermanentError, match="no valid COG"):
        check_cog(tmp_path / "head.tif")


def test_a_palette_is_read_back_at_every_level(tmp_path: Path) -> None:
    colours = ("#000000", "#0072B2", "#E69F00")
    profile = CogProfile(tile_size=64, predictor=False, overview_resampling="nearest")
    spec = CogSpec(
        grid=make_grid(300, 200), bands=1, dtype="uint8", nodata=0, profile=profile, photometric="palette", colours=colours
    )
    pixels = np.random.default_rng(3).integers(0, 3, (1, 200, 300)).astype("uint8")
    write_cog_array(tmp_path / "a.tif", pixels, spec)
    for level in (None, 0, 1):
        with rasterio.open(tmp_path / "a.tif", **({} if level is None else {"overview_level": level})) as raster:
            assert raster.colorinterp[0].name == "palette"
            assert raster.nodata == 0
            assert [raster.colormap(1)[value][:3] for value in (1, 2)] == [(0, 0x72, 0xB2), (0xE6, 0x9F, 0)]
            assert level is not None or (raster.read() == pixels).all()
