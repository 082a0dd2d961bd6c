"""Where pixels lie in files as they really come: stored in any direction, turned, or placed by something else."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC
from rasterio.transform import Affine
from scenes import LEFT, TOP, write_scene

from processor.errors import InputError
from processor.geotiff.open import OpenedScene, open_scene
from processor.geotiff.placement import read_grid
from processor.geotiff.reader import RasterReader
from processor.model import RasterRef, SceneRef, Window

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
VALUES = (np.arange(2 * 90 * 70).reshape(2, 90, 70) % 251 + 1).astype("uint8")
HOLE = np.s_[:, 20:30, 5:10]


def open_raster(path: Path) -> OpenedScene:
    return open_scene(SceneRef(name="a", priority=0, rasters=(RasterRef(href=str(path)),)))


def refuse(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        open_raster(path)
    return str(caught.value)


def write_turned(path: Path, values: NDArray[Any], rows: int, cols: int, **options: Any) -> Path:
    """A scene whose file stores its rows and columns in these directions."""
    height, width = values.shape[1:]
    transform = Affine(cols, 0, LEFT if cols > 0 else LEFT + width, 0, -rows, TOP if rows > 0 else TOP - height)
    return write_scene(path, np.ascontiguousarray(values[:, ::rows, ::cols]), transform=transform, **options)


@pytest.mark.parametrize(("rows", "cols"), [(-1, 1), (1, -1), (-1, -1)])
@pytest.mark.parametrize("kind", ["nodata", "mask", "alpha", "beside"])
def test_a_flipped_scene_is_read_exactly_as_a_straight_one(tmp_path: Path, rows: int, cols: int, kind: str) -> None:
    values = VALUES.copy()
    values[HOLE] = 0
    marks: dict[str, Any] = {"nodata": 0 if kind == "nodata" else None, "block": 32, "overviews": (2,)}
    marks |= {kind: True} if kind in ("mask", "alpha") else {}
    found = []
    for name, directions in (("straight", (1, 1)), ("flipped", (rows, cols))):
        path = write_turned(tmp_path / f"{name}.tif", values, *directions, **marks)
        if kind == "beside":
            shown = ((values != 0).any(axis=0)[None] * 255).astype("uint8")
            write_turned(tmp_path / "mask.tif", shown, *directions, nodata=None).rename(f"{path}.msk")
        found.append(open_raster(path).scene)
    straight, flipped = found
    assert flipped.grid == straight.grid
    assert (flipped.source.flipped, straight.source.flipped) == ((rows < 0, cols < 0), (False, False))
    with RasterReader(cache_bytes=0) as one, RasterReader(cache_bytes=0) as other:
        for window in (
            straight.grid.window,
            Window(row=13, col=3, height=40, width=60),
            Window(row=89, col=69, height=1, width=1),
        ):
            ours, theirs = other.read(flipped, window), one.read(straight, window)
            np.testing.assert_array_equal(ours.values, theirs.values)
            assert (ours.valid is None) == (theirs.valid is None)
            if ours.valid is not None:
                np.testing.assert_array_equal(ours.valid, theirs.valid)
        if straight.source.overviews:
            level = Window(row=0, col=0, height=45, width=35)
            np.testing.assert_array_equal(other.read(flipped, level, level=0).values, one.read(straight, level, level=0).values)


def test_shear_of_rounding_noise_is_none(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", VALUES, transform=Affine(0.1, 1e-17, LEFT, -1e-13, -0.1, TOP))
    scene = open_raster(path).scene
    straight = open_raster(write_scene(tmp_path / "b.tif", VALUES, pixel=0.1)).scene
    assert scene.grid == straight.grid
    assert scene.source.flipped == (False, False)


def test_a_rotated_scene_keeps_its_pixel_size_and_corner(tmp_path: Path) -> None:
    sine, cosine = math.sin(0.4), math.cos(0.4)
    turned = Affine(2 * cosine, 3 * sine, LEFT, 2 * sine, -3 * cosine, TOP)
    scene = open_raster(write_scene(tmp_path / "a.tif", VALUES, transform=turned)).scene
    assert (scene.grid.pixel_width, scene.grid.pixel_height) == pytest.approx((2, 3))
    assert (scene.grid.left, scene.grid.top, scene.grid.shape) == (0, 0, (90, 70))


@pytest.mark.parametrize(
    "transform", [Affine(1, 0, LEFT, 0, -1, TOP), Affine(1, 0, LEFT, 0, 1, TOP), Affine(1, 0.3, LEFT, 0.3, -1, TOP)]
)
def test_files_that_have_to_be_north_up(tmp_path: Path, transform: Affine) -> None:
    path = write_scene(tmp_path / "a.tif", VALUES, transform=transform)
    with rasterio.open(path) as dataset:
        if transform.e < 0 and not transform.b:
            assert read_grid(dataset, "a").top == TOP
        else:
            with pytest.raises(InputError, match="scene a: the grid is rotated or flipped"):
                read_grid(dataset, "a")


@pytest.mark.parametrize(
    "transform", [Affine(1, 1, LEFT, 1, 1, TOP), Affine(1, 0, LEFT, 0, -2000, TOP), Affine(1, 0, math.nan, 0, -1, TOP)]
)
def test_a_geotransform_that_makes_no_grid(tmp_path: Path, transform: Affine) -> None:
    path = write_scene(tmp_path / "a.tif", VALUES, transform=transform)
    assert "makes no grid; georeference the raster anew" in refuse(path)


@pytest.mark.parametrize(("lon", "lat", "zone"), [(15.0, 49.6, "EPSG:32633"), (-70.0, -33.0, "EPSG:32719")])
def test_ground_control_points_are_rectified_by_gdalwarp(tmp_path: Path, lon: float, lat: float, zone: str) -> None:
    corners = [(0, 0), (0, 70), (90, 0), (90, 70)]
    points = [GroundControlPoint(row, col, lon + col * 1e-4, lat - row * 1e-4) for row, col in corners]
    path = tmp_path / "a.tif"
    with rasterio.open(path, "w", driver="GTiff", width=70, height=90, count=2, dtype="uint8", gcps=points, crs=4326) as raster:
        raster.write(VALUES)
    message = refuse(path)
    assert message.startswith("scene a: the raster has 4 ground control points instead of a geotransform")
    assert f"gdalwarp -t_srs {zone} -r bilinear {path} rectified.tif" in message
    assert "-a_ullr" not in message


def test_rational_polynomials_are_rectified_by_gdalwarp(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    rpc = RPC(
        height_off=0.0,
        height_scale=500.0,
        lat_off=49.6,
        lat_scale=0.1,
        line_den_coeff=[1.0] + [0.0] * 19,
        line_num_coeff=[0.0, 0.0, -1.0] + [0.0] * 17,
        line_off=45.0,
        line_scale=45.0,
        long_off=15.0,
        long_scale=0.1,
        samp_den_coeff=[1.0] + [0.0] * 19,
        samp_num_coeff=[0.0, 1.0] + [0.0] * 18,
        samp_off=35.0,
        samp_scale=35.0,
    )
    with rasterio.open(path, "w", driver="GTiff", width=70, height=90, count=2, dtype="uint8") as raster:
        raster.write(VALUES)
        raster.rpcs = rpc
    message = refuse(path)
    assert f"gdalwarp -rpc -to RPC_DEM=heights.tif -t_srs EPSG:32633 -r bilinear {path} rectified.tif" in message


@pytest.mark.parametrize("suffix", [".tfw", ".TFW", ".wld"])
def test_a_world_file_beside_a_raster_is_named(tmp_path: Path, suffix: str) -> None:
    path = write_scene(tmp_path / "a.tif", VALUES, transform=Affine.identity(), crs=None)
    world = path.with_suffix(suffix)
    world.write_text("1\n0\n0\n-1\n500000\n5300000\n")
    message = refuse(path)
    assert f"the world file {world} beside it is not read" in message
    assert f"gdal_translate -a_srs EPSG:… {path} georeferenced.tif" in message
