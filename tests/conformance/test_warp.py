"""Scenes in other CRSs: against GDAL's own warp, against the truth of the ground, and at the ends of the map."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from commands import CREATED, call_command
from numpy.typing import NDArray
from rasterio.warp import Resampling, reproject, transform
from scenes import write_scene

AS_THEY_ARE = ("--methods.matching_global_method", "null", "--methods.matching_local_method", "null")
EDGE, PIXEL = 400, 10.0
LON, LAT = 12.0, 50.0  # where zones 32 and 33 meet
Truth = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def ground(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of the ground: waves of about 300 m, so that a shift of a pixel changes them by up to 100."""
    east, north = np.radians(lon - LON) * 6378137 * np.cos(np.radians(LAT)), np.radians(lat - LAT) * 6378137
    return np.asarray(3000 + 500 * np.sin(east / 50) + 500 * np.cos(north / 60) + 200 * np.sin((east + north) / 400))


def see(
    crs: str, left: float, top: float, *, edge: int = EDGE, pixel: float = PIXEL, truth: Truth = ground
) -> NDArray[np.float64]:
    """The ground at the centres of pixels."""
    cols, rows = np.meshgrid(np.arange(edge) + 0.5, np.arange(edge) + 0.5)
    lon, lat = transform(crs, "EPSG:4326", (left + cols * pixel).ravel(), (top - rows * pixel).ravel())
    return truth(np.array(lon), np.array(lat)).reshape(edge, edge)


@dataclass(frozen=True, kw_only=True)
class Mosaic:
    """A mosaic of one band, its scene index, grid and Item."""

    pixels: NDArray[Any]
    index: NDArray[Any]
    profile: dict[str, Any]
    item: dict[str, Any]
    events: list[dict[str, Any]]


def run(folder: Path, *arguments: str | Path) -> Mosaic:
    words = ("--output", str(folder / "out"), "--item-id", "mosaic", "--created", CREATED, *AS_THEY_ARE)
    done = call_command("run", *map(str, arguments), *words, cwd=folder, scratch=folder / "scratch")
    assert done.code == 0, done.stderr
    with rasterio.open(folder / "out" / "mosaic" / "mosaic.tif") as raster:
        pixels, profile = raster.read(1), dict(raster.profile)
    with rasterio.open(folder / "out" / "mosaic" / "scene_index.tif") as raster:
        index = raster.read(1)
    return Mosaic(pixels=pixels, index=index, profile=profile, item=done.item, events=done.events)


def write_zones(folder: Path) -> tuple[Path, Path]:
    """Two scenes of 4 x 4 km on either side of 12 degrees east, each in its own zone, that overlap by about 1 km."""
    paths = []
    for name, crs, start in (("west", "EPSG:32632", -3400), ("east", "EPSG:32633", -600)):
        xs, ys = transform("EPSG:4326", crs, [LON], [LAT])
        left, top = round(xs[0] / 10) * 10 + start, round(ys[0] / 10) * 10 + 2000
        paths.append(
            write_scene(folder / f"{name}.tif", see(crs, left, top), left=left, top=top, pixel=PIXEL, crs=crs, dtype="uint16")
        )
    return paths[0], paths[1]


def warp(path: Path, mosaic: Mosaic, method: Resampling) -> NDArray[np.float64]:
    """GDAL's warp of a scene onto the mosaic's grid, exact in every pixel; 0 where the scene has none."""
    found = np.zeros(mosaic.pixels.shape, "float64")
    with rasterio.open(path) as raster:
        reproject(
            raster.read(1).astype("float64"),
            found,
            src_transform=raster.transform,
            src_crs=raster.crs,
            src_nodata=0,
            dst_transform=mosaic.profile["transform"],
            dst_crs=mosaic.profile["crs"],
            dst_nodata=0,
            resampling=method,
            tolerance=0,
        )
    return found


@pytest.mark.parametrize("method", ["bilinear", "cubic"])
def test_scenes_of_neighbouring_zones_meet_without_gap_or_shift(tmp_path: Path, method: str) -> None:
    west, east = write_zones(tmp_path)
    made = run(tmp_path, west, east, "--align_rasters.resampling_method", method, "--align_rasters.crs", "EPSG:32633")
    assert made.profile["crs"].to_epsg() == 32633
    assert made.profile["transform"].a == PIXEL
    oracle = warp(west, made, getattr(Resampling, method))
    rows, cols = np.nonzero(made.index == 2)  # in name order: east, west
    assert len(rows) > 50_000
    inner = oracle[rows, cols] > 0
    assert inner.mean() > 0.99  # all but the outermost pixels
    off = made.pixels[rows, cols].astype("float64") - oracle[rows, cols]
    assert np.abs(off[inner]).max() < 12  # where a shift by half a pixel makes 50, and rounding 0.5
    assert np.sqrt(np.mean(off[inner] ** 2)) < 3
    truth = see_mosaic(made)[rows, cols][inner]
    ours, theirs = (np.sqrt(np.mean((values[inner] - truth) ** 2)) for values in (made.pixels[rows, cols], oracle[rows, cols]))
    assert ours <= theirs + 0.3  # rounding to whole numbers; GDAL widens its kernel a little, and is farther from the truth
    assert measure_shift(made) < 0.05
    assert_no_gap(made)


def see_mosaic(made: Mosaic) -> NDArray[np.float64]:
    """The ground at the centres of the mosaic's pixels."""
    grid = made.profile["transform"]
    cols, rows = np.meshgrid(np.arange(made.pixels.shape[1]) + 0.5, np.arange(made.pixels.shape[0]) + 0.5)
    lon, lat = transform(made.profile["crs"], "EPSG:4326", (grid.c + cols * PIXEL).ravel(), (grid.f - rows * PIXEL).ravel())
    return ground(np.array(lon), np.array(lat)).reshape(made.pixels.shape)


def measure_shift(made: Mosaic) -> float:
    """Pixels by which a scene would have to be moved to agree best with the ground, by gradients (least squares)."""
    truth = see_mosaic(made)
    down, across = np.gradient(truth)
    largest = 0.0
    for scene in (1, 2):
        held = made.index == scene
        system = np.stack([down[held], across[held]], axis=1)
        shift, *_ = np.linalg.lstsq(system, made.pixels[held] - truth[held], rcond=None)
        largest = max(largest, float(np.hypot(*shift)))
    return largest


def assert_no_gap(made: Mosaic) -> None:
    """In every row between the scenes' first and last pixels there is no hole."""
    valid = made.index > 0
    for row in valid[20:-20]:
        places = np.flatnonzero(row)
        assert len(places) == places[-1] - places[0] + 1
    both = (made.index[100:-100] == 1).any() and (made.index[100:-100] == 2).any()
    assert both


def test_the_commonest_reference_system_is_that_of_the_mosaic(tmp_path: Path) -> None:
    west, east = write_zones(tmp_path)
    other = tmp_path / "western.tif"
    other.write_bytes(west.read_bytes())
    made = run(tmp_path, east, other, west)
    assert made.profile["crs"].to_epsg() == 32632
    assert [event["scene"] for event in made.events if event["event"] == "warped"] == ["east"]
    assert made.item["properties"]["proj:code"] == "EPSG:32632"


def test_a_fine_scene_on_a_coarse_grid_is_averaged_and_not_aliased(tmp_path: Path) -> None:
    """A chequerboard of 10 m pixels has the mean 2000; sampled at 80 m it would be 1000 or 3000."""
    _, east = write_zones(tmp_path)
    with rasterio.open(east) as raster:
        left, top = raster.bounds.left, raster.bounds.top
    coarse = write_scene(
        tmp_path / "coarse.tif", np.full((50, 50), 2000.0), left=left, top=top, pixel=80, crs="EPSG:32633", dtype="uint16"
    )
    xs, ys = transform("EPSG:4326", "EPSG:32632", [LON], [LAT])
    board = np.indices((EDGE, EDGE)).sum(axis=0) % 2 * 2000.0 + 1000
    fine = write_scene(
        tmp_path / "fine.tif",
        board,
        left=round(xs[0]) - 3400,
        top=round(ys[0]) + 2000,
        pixel=10,
        crs="EPSG:32632",
        dtype="uint16",
    )
    made = run(tmp_path, coarse, fine, "--align_rasters.crs", "EPSG:32633", "--align_rasters.resolution", "lowest")
    mine = made.pixels[(made.index == 2)].astype(float)
    assert len(mine) > 1000
    assert np.abs(np.median(mine) - 2000) < 1
    assert mine.std() < 100  # of 1000


def test_windows_and_threads_change_no_byte_of_a_warped_mosaic(tmp_path: Path) -> None:
    paths = write_zones(tmp_path)
    first = run(tmp_path, *paths)
    second = run(
        tmp_path, *paths, "--shared.window_size", "512", "--shared.tile_threads", "3", "--shared.cache", "null", "--overwrite"
    )
    np.testing.assert_array_equal(first.pixels, second.pixels)
    np.testing.assert_array_equal(first.index, second.index)


def test_scenes_on_both_sides_of_the_antimeridian(tmp_path: Path) -> None:
    """In degrees the mosaic goes on beyond 180, and its Item's box crosses as GeoJSON has it."""
    size = 0.001
    for name, left in (("east", 179.92), ("west", -180.0)):
        write_scene(
            tmp_path / f"{name}.tif",
            np.full((80, 80), 1500.0),
            left=left,
            top=-16.0,
            pixel=size,
            crs="EPSG:4326",
            dtype="uint16",
        )
    made = run(tmp_path, tmp_path / "east.tif", tmp_path / "west.tif")
    assert made.pixels.shape == (80, 160)
    assert (made.pixels == 1500).all()
    west, south, east, north = made.item["bbox"]
    assert (round(west, 6), round(east, 6)) == (179.92, -179.92)
    assert south < north
    assert json.dumps(made.item["geometry"]).count("180.0") >= 2


def test_zones_on_both_sides_of_the_antimeridian(tmp_path: Path) -> None:
    for name, crs, lon in (("a", "EPSG:32760", 179.985), ("b", "EPSG:32701", -179.985)):
        xs, ys = transform("EPSG:4326", crs, [lon], [-16.0])
        left, top = round(xs[0] / 10) * 10 - 2000, round(ys[0] / 10) * 10 + 2000
        write_scene(
            tmp_path / f"{name}.tif", np.full((400, 400), 1500.0), left=left, top=top, pixel=10, crs=crs, dtype="uint16"
        )
    projected = run(tmp_path, tmp_path / "a.tif", tmp_path / "b.tif")
    assert projected.profile["crs"].to_epsg() == 32760
    assert projected.pixels.shape[1] < 1000
    assert_no_gap(projected)
    degrees = run(tmp_path, tmp_path / "a.tif", tmp_path / "b.tif", "--align_rasters.crs", "EPSG:4326", "--overwrite")
    assert degrees.pixels.shape[1] < 1000
    assert_no_gap(degrees)


def test_scenes_of_other_pixel_sizes_types_and_nodata_are_one_mosaic(tmp_path: Path) -> None:
    place = {"left": 500_000, "top": 5_300_000}
    fine = np.full((120, 120), 200.0)
    coarse = np.full((60, 60), 400.0)
    coarse[:5] = -9999
    write_scene(tmp_path / "fine.tif", fine, **place, pixel=10, dtype="uint8", nodata=255)
    write_scene(tmp_path / "rough.tif", coarse, left=500_600, top=5_300_000, pixel=20, dtype="int16", nodata=-9999)
    made = run(tmp_path, tmp_path / "fine.tif", tmp_path / "rough.tif")
    assert made.profile["transform"].a == 10
    assert made.profile["dtype"] == "int16"
    assert set(np.unique(made.pixels)) == {200, 400, int(made.profile["nodata"])}
    assert made.pixels[5, 5] == 200
    assert made.pixels[60, 170] == 400
    assert made.index[5, 170] == 0
