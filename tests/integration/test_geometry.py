"""Scenes as they really lie: whole runs from folders and Items, by one process and by tasks, against the ground itself."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from commands import CREATED, Finished, call_command, read_files
from numpy.typing import NDArray
from rasterio.transform import Affine
from scenes import LEFT, TOP, gradient_truth, write_items, write_scene

from processor import pipeline

AS_THEY_ARE = ("--methods.matching_global_method", "null", "--methods.matching_local_method", "null")
EVEN_LEFT, EVEN_TOP = 500_010.0, 5_300_010.0  # whole multiples of 30
WORLD = 40_075_016.68557849  # metres around the equator, of web Mercator


def run(folder: Path, *arguments: str | Path, output: str = "out") -> Finished:
    words = ("--output", str(folder / output), "--item-id", "m", "--created", CREATED)
    done = call_command("run", *map(str, arguments), *words, cwd=folder, scratch=folder / "scratch")
    assert done.code == 0, done.stderr
    return done


def read_mosaic(folder: Path, *, output: str = "out") -> tuple[NDArray[Any], Any]:
    with rasterio.open(folder / output / "m" / "mosaic.tif") as raster:
        return raster.read(), raster.profile


def find_messages(done: Finished, code: str) -> list[str]:
    return [event["message"] for event in done.events if event["event"] == code]


def assert_same_by_tasks_and_items(folder: Path, paths: list[Path], *arguments: str) -> None:
    """What the mosaic is does not depend on who makes it, or on what names the scenes."""
    expected = read_files(folder / "out" / "m")["mosaic.tif"]
    run(folder, *paths, *arguments, "--executor", "tasks", output="tasks")
    assert read_files(folder / "tasks" / "m")["mosaic.tif"] == expected
    items = write_items(folder, paths)
    run(folder, items, *arguments, output="items")
    for one, other in zip(read_mosaic(folder, output="items"), read_mosaic(folder), strict=True):
        np.testing.assert_equal(one, other)


def write_row(folder: Path, *, left: float = LEFT, top: float = TOP, pixel: float = 30.0) -> tuple[list[Path], NDArray[Any]]:
    """Two scenes on one grid, whose ground is noise: every pixel tells where it is from."""
    ground = np.random.default_rng(5).integers(1000, 9000, (2, 80, 150)).astype("uint16")
    paths = [
        write_scene(folder / f"{name}.tif", ground[:, :, col : col + 90], left=left + col * pixel, top=top, pixel=pixel)
        for name, col in (("a", 0), ("b", 60))
    ]
    return paths, ground


# One grid


def test_scenes_that_share_a_grid_keep_every_pixel(tmp_path: Path) -> None:
    """Corners of Landsat's scenes are odd multiples of half a pixel."""
    paths, ground = write_row(tmp_path, left=EVEN_LEFT + 15, top=EVEN_TOP + 15)
    done = run(tmp_path, *paths, *AS_THEY_ARE)
    pixels, profile = read_mosaic(tmp_path)
    np.testing.assert_array_equal(pixels, ground)
    assert tuple(profile["transform"])[:6] == (30.0, 0.0, EVEN_LEFT + 15, 0.0, -30.0, EVEN_TOP + 15)
    (message,) = find_messages(done, "grid-kept")
    assert "0.5 x 0.5 pixels" in message
    assert_same_by_tasks_and_items(tmp_path, paths, *AS_THEY_ARE)


def test_the_preset_spectralmatch_and_pipeline_tap_and_say_so(tmp_path: Path) -> None:
    paths, ground = write_row(tmp_path, left=EVEN_LEFT + 15, top=EVEN_TOP + 15)
    done = run(tmp_path, *paths, *AS_THEY_ARE, "--preset", "spectralmatch")
    tapped, profile = read_mosaic(tmp_path)
    assert (profile["transform"].c, profile["transform"].f) == (EVEN_LEFT, EVEN_TOP + 30)
    assert tapped.shape == (2, 81, 151)
    (message,) = find_messages(done, "resampled")
    assert "all 2 scenes lie on one grid" in message
    off = {"matching_global_method": None, "matching_local_method": None}
    pipeline([str(path) for path in paths], str(tmp_path / "function" / "m.tif"), **off)
    with rasterio.open(tmp_path / "function" / "m.tif") as raster:
        np.testing.assert_array_equal(raster.read(), tapped)
    pipeline([str(path) for path in paths], str(tmp_path / "exact" / "m.tif"), align_rasters_tap=False, **off)
    with rasterio.open(tmp_path / "exact" / "m.tif") as raster:
        np.testing.assert_array_equal(raster.read(), ground)


def test_options_of_a_document_win_over_the_preset_of_pipeline(tmp_path: Path) -> None:
    paths, ground = write_row(tmp_path, left=EVEN_LEFT + 15, top=EVEN_TOP + 15)
    document = json.loads(write_items(tmp_path, paths).read_text())
    off = {"matching_global_method": None, "matching_local_method": None}
    document["process"] = [{"tasks": {"mosaic": {"align_rasters": {"tap": False}}}}]
    for feature, path in zip(document["features"], paths, strict=True):
        feature["assets"]["image"]["href"] = str(path)
    pipeline(document, str(tmp_path / "function" / "m.tif"), **off)
    with rasterio.open(tmp_path / "function" / "m.tif") as raster:
        np.testing.assert_array_equal(raster.read(), ground)


def test_one_scene_of_another_unit_changes_no_pixel_size(tmp_path: Path) -> None:
    """Two scenes of 1 m, and one of a foot in feet, whose ground is a hundred metres to the east."""
    crs, feet = "EPSG:26917", "EPSG:2264"  # zone 17, and North Carolina in US survey feet
    left, top = 500_000.0, 3_900_000.0
    ground = np.random.default_rng(2).integers(1000, 9000, (1, 80, 150)).astype("uint16")
    paths = [
        write_scene(tmp_path / f"{name}.tif", ground[:, :, col : col + 90], left=left + col, top=top, crs=crs)
        for name, col in (("a", 0), ("b", 60))
    ]
    xs, ys = rasterio.warp.transform(crs, feet, [left + 120], [top - 10])
    odd = write_scene(tmp_path / "c.tif", np.full((1, 200, 200), 5000.0), left=xs[0], top=ys[0], crs=feet, dtype="uint16")
    done = run(tmp_path, *paths, odd, *AS_THEY_ARE)
    pixels, profile = read_mosaic(tmp_path)
    assert (profile["transform"].a, profile["transform"].e) == (1.0, -1.0)
    assert profile["crs"].to_epsg() == 26917
    np.testing.assert_array_equal(pixels[:, :80, :115], ground[:, :, :115])
    assert len(find_messages(done, "warped")) == 1
    assert find_messages(done, "resampled")[0].startswith("1 of 3 scenes resampled (bilinear): they are warped to EPSG:26917")
    assert "c (0.304718 there)" in find_messages(done, "coarsened")[0]


# Ends of maps


def test_web_mercator_on_both_sides_of_the_antimeridian(tmp_path: Path) -> None:
    ground = np.random.default_rng(3).integers(1000, 9000, (1, 60, 160)).astype("uint16")
    place = {"top": -1_900_000.0, "pixel": 50.0, "crs": "EPSG:3857"}
    paths = [
        write_scene(tmp_path / "a.tif", ground[:, :, :90], left=WORLD / 2 - 80 * 50, **place),
        write_scene(tmp_path / "b.tif", ground[:, :, 70:], left=-WORLD / 2 - 10 * 50, **place),
    ]
    run(tmp_path, *paths, *AS_THEY_ARE)
    pixels, _ = read_mosaic(tmp_path)
    np.testing.assert_array_equal(pixels, ground)
    item = json.loads((tmp_path / "out" / "m" / "m.json").read_text())
    west, _, east, _ = item["bbox"]
    assert west > 179.9 > -179.9 > east
    assert item["geometry"]["type"] == "MultiPolygon"
    assert_same_by_tasks_and_items(tmp_path, paths, *AS_THEY_ARE)


def test_zones_on_both_sides_of_the_antimeridian_in_web_mercator(tmp_path: Path) -> None:
    paths = []
    for name, crs, lon in (("a", "EPSG:32760", 179.985), ("b", "EPSG:32701", -179.985)):
        xs, ys = rasterio.warp.transform("EPSG:4326", crs, [lon], [-16.0])
        place = {"left": round(xs[0]) - 2000, "top": round(ys[0]) + 2000, "pixel": 20.0, "crs": crs}
        paths.append(write_scene(tmp_path / f"{name}.tif", np.full((200, 200), 1500.0), dtype="uint16", **place))
    run(tmp_path, *paths, *AS_THEY_ARE, "--align_rasters.crs", "EPSG:3857")
    pixels, _ = read_mosaic(tmp_path)
    assert pixels.shape[2] < 500
    middle = pixels[0, 50:-50]
    assert (middle[:, 20:-20] == 1500).all()


# Directions


def make_south_up(path: Path, values: NDArray[Any], *, left: float, pixel: float = 1.0, **options: Any) -> Path:
    bottom = TOP - values.shape[1] * pixel
    transform = Affine(pixel, 0, left, 0, pixel, bottom)
    return write_scene(path, np.ascontiguousarray(values[:, ::-1]), transform=transform, **options)


def test_south_up_scenes_are_flipped_without_resampling(tmp_path: Path) -> None:
    ground = np.random.default_rng(4).integers(1000, 9000, (2, 80, 150)).astype("uint16")
    ground[:, :9, :20] = 0
    paths = [
        write_scene(tmp_path / "a.tif", ground[:, :, :90]),
        make_south_up(tmp_path / "b.tif", ground[:, :, 60:], left=LEFT + 60),
    ]
    done = run(tmp_path, *paths, *AS_THEY_ARE)
    pixels, _ = read_mosaic(tmp_path)
    np.testing.assert_array_equal(pixels, ground)
    assert find_messages(done, "resampled") == []
    assert_same_by_tasks_and_items(tmp_path, paths, *AS_THEY_ARE)


def test_south_up_scenes_are_matched_as_straight_ones(tmp_path: Path) -> None:
    truth = gradient_truth(120, 200, 2)
    paths = [write_scene(tmp_path / "a.tif", truth[:, :, :120], dtype="uint16")]
    straight = write_scene(tmp_path / "straight" / "b.tif", truth[:, :, 80:] * 1.2, left=LEFT + 80, dtype="uint16")
    south_up = make_south_up(tmp_path / "b.tif", truth[:, :, 80:] * 1.2, left=LEFT + 80, dtype="uint16")
    run(tmp_path, *paths, straight)
    run(tmp_path, *paths, south_up, output="turned")
    assert read_files(tmp_path / "turned" / "m")["mosaic.tif"] == read_files(tmp_path / "out" / "m")["mosaic.tif"]


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326"])
def test_rotated_scenes_are_warped_to_where_their_ground_is(tmp_path: Path, crs: str) -> None:
    pixel, (left, top) = (10.0, (LEFT, TOP)) if crs == "EPSG:32633" else (1e-4, (15.0, 47.0))

    def see(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
        u, v = (x - left) / pixel, (y - top) / pixel
        return np.asarray(3000 + 400 * np.sin(u / 9) + 400 * np.cos(v / 11) + 300 * np.sin((u + v) / 40))

    def write(name: str, transform: Affine, edge: int = 160) -> Path:
        cols, rows = np.meshgrid(np.arange(edge) + 0.5, np.arange(edge) + 0.5)
        x, y = (
            transform.a * cols + transform.b * rows + transform.c,
            transform.d * cols + transform.e * rows + transform.f,
        )
        return write_scene(tmp_path / f"{name}.tif", see(x, y), transform=transform, crs=crs, dtype="uint16")

    sine, cosine = pixel * math.sin(math.radians(20)), pixel * math.cos(math.radians(20))
    paths = [
        write("a", Affine(pixel, 0, left, 0, -pixel, top)),
        write("b", Affine(cosine, sine, left + 90 * pixel, sine, -cosine, top)),
    ]
    done = run(tmp_path, *paths, *AS_THEY_ARE)
    pixels, profile = read_mosaic(tmp_path)
    grid = profile["transform"]
    assert (grid.a, grid.e) == (pixel, -pixel)
    assert find_messages(done, "warped")[0].startswith("scene b is warped from rotated grid in WGS 84")
    cols, rows = np.meshgrid(np.arange(pixels.shape[2]) + 0.5, np.arange(pixels.shape[1]) + 0.5)
    truth = see(grid.c + cols * grid.a, grid.f + rows * grid.e)
    with rasterio.open(tmp_path / "out" / "m" / "scene_index.tif") as raster:
        turned = raster.read(1) == 2
    assert turned.sum() > 10_000
    off = np.abs(pixels[0] - truth)[turned]
    assert np.percentile(off, 99) < 15  # a shift by half a pixel makes 40
    assert_same_by_tasks_and_items(tmp_path, paths, *AS_THEY_ARE)


def test_scenes_that_are_all_rotated_alike_make_a_mosaic_in_their_crs(tmp_path: Path) -> None:
    sine, cosine = math.sin(0.3), math.cos(0.3)
    paths = []
    for name, col in (("a", 0), ("b", 60)):
        transform = Affine(cosine, sine, LEFT + col * cosine, sine, -cosine, TOP + col * sine)
        paths.append(write_scene(tmp_path / f"{name}.tif", np.full((1, 90, 90), 2000.0), transform=transform, dtype="uint16"))
    run(tmp_path, *paths, *AS_THEY_ARE)
    pixels, profile = read_mosaic(tmp_path)
    assert profile["crs"].to_epsg() == 32633
    assert (pixels == 2000).sum() == pytest.approx(150 * 90, rel=0.02)


# Sizes


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (1, 1)])
@pytest.mark.parametrize("preset", ["spectralmatch", "satellite", "aerial"])
def test_scenes_of_one_pixel_in_height_or_width(tmp_path: Path, shape: tuple[int, int], preset: str) -> None:
    truth = gradient_truth(60, 60, 1)
    paths = [
        write_scene(tmp_path / "a.tif", truth, dtype="uint16"),
        write_scene(tmp_path / "b.tif", truth[:, : shape[0], : shape[1]], dtype="uint16"),
        write_scene(tmp_path / "c.tif", truth[:, : shape[0], : shape[1]], left=LEFT + 60, dtype="uint16"),
    ]
    run(tmp_path, *paths, "--preset", preset)
    pixels, _ = read_mosaic(tmp_path)
    assert pixels.shape == (1, 60, 60 + shape[1])
    assert (pixels[:, :, :60] > 0).all()
    assert (pixels[0, : shape[0], 60:] > 0).all()


def test_a_fine_scene_in_a_coarse_one_is_a_finding_before_anything_is_read(tmp_path: Path) -> None:
    coarse = write_scene(tmp_path / "sat.tif", np.full((3, 600, 600), 9), pixel=3.0, dtype="uint8")
    fine = write_scene(tmp_path / "drone.tif", np.full((3, 90, 90), 9), left=LEFT + 90, top=TOP - 90, pixel=0.02, dtype="uint8")
    done = run(tmp_path, coarse, fine, "--dry-run")
    (message,) = find_messages(done, "oversampled")
    assert "90,000 x 90,000 pixels" in message
    assert "--align_rasters.resolution lowest" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("preset", ["spectralmatch", "satellite", "aerial"])
def test_groups_of_scenes_that_nothing_ties(tmp_path: Path, preset: str) -> None:
    truth = gradient_truth(60, 300, 1)
    paths = [
        write_scene(tmp_path / f"{name}.tif", truth[:, :, col : col + 60], left=LEFT + col, dtype="uint16")
        for name, col in (("a1", 0), ("a2", 40), ("b1", 150), ("b2", 190))
    ]
    done = run(tmp_path, *paths, "--preset", preset)
    (message,) = find_messages(done, "groups-apart")
    assert "a1, a2; b1, b2" in message


def test_groups_whose_bounds_overlap_and_whose_pixels_do_not(tmp_path: Path) -> None:
    """Two pairs whose empty margins meet: that nothing ties them is known when pixels have been read."""
    truth = gradient_truth(60, 300, 1)
    paths = []
    for name, col, empty in (("a1", 0, np.s_[:0]), ("a2", 40, np.s_[35:]), ("b1", 90, np.s_[:15]), ("b2", 130, np.s_[:0])):
        values = truth[:, :, col : col + 60].copy()
        values[:, :, empty] = 0
        paths.append(write_scene(tmp_path / f"{name}.tif", values, left=LEFT + col, dtype="uint16"))
    done = run(tmp_path, *paths)
    (message,) = find_messages(done, "groups-apart")
    assert "a1, a2; b1, b2" in message


# Colours


def test_drone_tiles_of_three_colours_and_alpha_stay_coloured(tmp_path: Path) -> None:
    """Nothing names the bands but the colour interpretation of the files."""
    truth = np.clip(gradient_truth(80, 150, 3) / 8, 20, 220).astype("uint8")
    paths = []
    for name, col in (("a", 0), ("b", 60)):
        values = truth[:, :, col : col + 90].copy()
        alpha = np.full((1, 80, 90), 255, "uint8")
        alpha[:, :9], alpha[:, 9] = 0, 128
        values[:, :9] = 255
        options = {"photometric": "RGB", "alpha": "YES"}
        path = tmp_path / f"{name}.tif"
        transform = Affine(1, 0, LEFT + col, 0, -1, TOP)
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=90,
            height=80,
            count=4,
            dtype="uint8",
            crs="EPSG:32633",
            transform=transform,
            **options,
        ) as raster:
            raster.write(np.concatenate([values, alpha]))
        paths.append(path)
    run(tmp_path, *paths)
    with rasterio.open(tmp_path / "out" / "m" / "mosaic.tif") as raster:
        assert [colour.name for colour in raster.colorinterp] == ["red", "green", "blue"]
        assert (raster.read()[:, :9] == raster.nodata).all()
    assert_same_by_tasks_and_items(tmp_path, paths)
