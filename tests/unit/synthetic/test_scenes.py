"""The landscape and the sample scenes: what the truth of other tests rests on."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from processor.model import Window
from processor.synthetic.scenes import DEMO_RECIPE, SceneRecipe, make_demo_scenes, make_scenes
from processor.synthetic.terrain import Landscape, make_noise

SMALL = SceneRecipe(rows=2, cols=2, height=96, width=128, bands=2, block_size=64)


def read(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as raster:
        pixels: NDArray[Any] = raster.read()
    return pixels


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_a_window_of_the_landscape_equals_that_part_of_the_whole() -> None:
    landscape = Landscape(bands=4, seed=3, river_row=100)
    whole = landscape.compute_reflectance(Window(row=0, col=0, height=200, width=300))
    window = Window(row=61, col=130, height=97, width=150)
    part = landscape.compute_reflectance(window)
    np.testing.assert_array_equal(part, whole[:, 61:158, 130:280])


def test_windows_far_apart_in_size_agree_across_districts() -> None:
    landscape = Landscape(bands=1, seed=11, river_row=400)
    wide = landscape.compute_reflectance(Window(row=600, col=0, height=8, width=2600))
    pixel = [landscape.compute_reflectance(Window(row=603, col=col, height=1, width=1))[0, 0, 0] for col in range(0, 2600, 173)]
    np.testing.assert_array_equal(pixel, wide[0, 3, ::173])


def draw(height: int, width: int, *, bands: int, seed: int) -> NDArray[np.float32]:
    landscape = Landscape(bands=bands, seed=seed, river_row=round(0.53 * height))
    return landscape.compute_reflectance(Window(row=0, col=0, height=height, width=width))


def test_the_landscape_has_these_bytes_on_every_machine() -> None:
    """A change of the landscape changes the demo, the benchmark and golden files: it has to be meant."""
    truth = draw(64, 80, bands=3, seed=7)
    digest = hashlib.sha256(truth.tobytes()).hexdigest()
    assert digest == "10f767784a380da2c0d5ef919e6a487d9afbbcc17521f83767a12e9a06f8acbe"


def test_truth_follows_from_its_seed_and_lies_within_natural_reflectances() -> None:
    truth = draw(160, 200, bands=4, seed=5)
    assert truth.dtype == np.float32
    assert truth.shape == (4, 160, 200)
    assert truth.min() >= 0.01
    assert truth.max() <= 0.5
    assert truth.std(axis=(1, 2)).min() > 0.01
    np.testing.assert_array_equal(truth, draw(160, 200, bands=4, seed=5))
    assert (truth != draw(160, 200, bands=4, seed=6)).mean() > 0.9


def test_noise_passes_through_zero_and_stays_in_range() -> None:
    noise = make_noise(1, (40, 11), Window(row=-50, col=-70, height=200, width=300))
    assert -1.7 < noise.min() < -0.3
    assert 0.3 < noise.max() < 1.7


def test_scenes_are_gain_times_truth_plus_offset_when_nothing_else_is_asked_for(tmp_path: Path) -> None:
    made = make_scenes(tmp_path, SMALL)
    truth = read(made.truth).astype(float)
    for scene in made.scenes:
        rows, cols = scene.window.slices_in(Window(row=0, col=0, height=truth.shape[1], width=truth.shape[2]))
        expected = truth[:, rows, cols] * np.reshape(scene.gain, (-1, 1, 1)) + np.reshape(scene.offset, (-1, 1, 1))
        np.testing.assert_allclose(read(tmp_path / f"{scene.name}.tif"), expected, atol=0.502)
    assert len({scene.gain for scene in made.scenes}) == len(made.scenes)


def test_gains_and_offsets_are_centred_on_the_truth(tmp_path: Path) -> None:
    made = make_scenes(tmp_path, replace(SMALL, gain_spread=0.3, offset_spread=0.1))
    np.testing.assert_allclose(np.mean([scene.gain for scene in made.scenes], axis=0), 1.0)
    np.testing.assert_allclose(np.mean([scene.offset for scene in made.scenes], axis=0), 0.0, atol=1e-9)
    assert np.ptp([scene.gain for scene in made.scenes], axis=0).min() > 0.05


def test_truth_json_tells_the_gain_and_offset_of_each_scene_and_band(tmp_path: Path) -> None:
    made = make_scenes(tmp_path, SMALL)
    document = json.loads((tmp_path / "truth" / "truth.json").read_text(encoding="utf-8"))
    assert document["bands"] == ["red", "green"]
    assert {path.stem for path in tmp_path.glob("*.tif")} == set(document["scenes"]), "the folder is the input of a run"
    for scene in made.scenes:
        told = document["scenes"][scene.name]
        assert (told["row"], told["col"]) == (scene.window.row, scene.window.col)
        assert (tuple(told["gain"]), tuple(told["offset"])) == (scene.gain, scene.offset)


def test_scenes_overlap_by_the_share_asked_for_and_lie_on_one_grid(tmp_path: Path) -> None:
    made = make_scenes(tmp_path, replace(SMALL, overlap=0.25))
    assert [(scene.window.row, scene.window.col) for scene in made.scenes] == [(0, 0), (0, 96), (72, 0), (72, 96)]
    with rasterio.open(made.truth) as truth:
        for scene in made.scenes:
            with rasterio.open(tmp_path / f"{scene.name}.tif") as raster:
                assert raster.crs == truth.crs
                left, top = truth.transform.c + 2.0 * scene.window.col, truth.transform.f - 2.0 * scene.window.row
                assert tuple(raster.transform)[:6] == (2.0, 0.0, left, 0.0, -2.0, top)


def test_the_same_recipe_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    recipe = replace(SMALL, haze=0.1, vignette=0.1, noise=0.01, rotation=3, ragged=6)
    make_scenes(tmp_path / "first", recipe)
    make_scenes(tmp_path / "second", recipe)
    make_scenes(tmp_path / "other", replace(recipe, seed=2))
    first = digests(tmp_path / "first")
    assert digests(tmp_path / "second") == first
    same = set(digests(tmp_path / "other").items()) & set(first.items())
    assert {name for name, _ in same} == {"items.json"}


def test_haze_and_vignette_change_a_scene_smoothly_and_by_no_more_than_their_amplitude(tmp_path: Path) -> None:
    recipe = replace(SMALL, gain_spread=0, offset_spread=0, dtype="float32", bands=1)
    plain = make_scenes(tmp_path / "plain", recipe)
    make_scenes(tmp_path / "hazy", replace(recipe, haze=0.1, vignette=0.1))
    for scene in plain.scenes:
        ratio = read(tmp_path / "hazy" / f"{scene.name}.tif") / read(tmp_path / "plain" / f"{scene.name}.tif")
        assert 0.7 < ratio.min() < 0.97
        assert ratio.max() < 1.2
        assert max(np.abs(np.diff(ratio, axis=axis)).max() for axis in (1, 2)) < 0.01


def test_turned_ragged_footprints_leave_nodata_around_pixels_that_are_never_nodata(tmp_path: Path) -> None:
    made = make_scenes(tmp_path, replace(SMALL, rotation=5, ragged=8))
    _, height, width = read(made.truth).shape
    seen: NDArray[np.bool_] = np.zeros((height, width), dtype=np.bool_)
    for scene in made.scenes:
        pixels = read(tmp_path / f"{scene.name}.tif")
        valid = (pixels != 0).any(axis=0)
        np.testing.assert_array_equal(valid, (pixels != 0).all(axis=0))
        assert 0.7 < valid.mean() < 0.99
        assert valid[30:-30, 30:-30].all()
        rows, cols = scene.window.slices_in(Window(row=0, col=0, height=height, width=width))
        seen[rows, cols] |= valid
    assert seen[20:-20, 20:-20].all()


@pytest.mark.parametrize(("dtype", "least", "most"), [("uint8", 20, 245), ("uint16", 250, 6500), ("int16", 250, 6500)])
def test_values_look_natural_and_never_saturate(tmp_path: Path, dtype: Any, least: int, most: int) -> None:
    recipe = replace(SMALL, rows=1, height=256, width=256, bands=4, dtype=dtype, haze=0.1, vignette=0.1, noise=0.01)
    made = make_scenes(tmp_path, recipe)
    for scene in made.scenes:
        pixels = read(tmp_path / f"{scene.name}.tif")
        assert pixels.dtype == dtype
        assert pixels.min() >= least
        assert pixels.max() <= most


def test_noise_of_two_scenes_is_their_own(tmp_path: Path) -> None:
    recipe = replace(SMALL, gain_spread=0, offset_spread=0, noise=0.01)
    made = make_scenes(tmp_path, recipe)
    truth = read(made.truth).astype(float)
    left = read(tmp_path / "scene_1_1.tif") - truth[:, :96, :128]
    right = read(tmp_path / "scene_1_2.tif") - truth[:, :96, 96:]
    assert left.std() == pytest.approx(0.01 * 4750, rel=0.05)
    assert abs(np.corrcoef(left[:, :, 96:].ravel(), right[:, :, :32].ravel())[0, 1]) < 0.05


def test_the_file_is_laid_out_as_asked(tmp_path: Path) -> None:
    make_scenes(tmp_path, replace(SMALL, height=256, width=256, compression="zstd", overviews=True, keep_truth=False))
    with rasterio.open(tmp_path / "scene_1_1.tif") as raster:
        assert raster.block_shapes == [(64, 64)] * 2
        assert raster.compression.name == "zstd"
        assert raster.overviews(1) == [2, 4]
        assert raster.nodata == 0
        assert raster.descriptions == ("red", "green")
    assert not (tmp_path / "truth" / "truth.tif").exists()


def test_items_describe_the_files_they_name(tmp_path: Path) -> None:
    made = make_scenes(tmp_path, SMALL)
    features = json.loads(made.items.read_text(encoding="utf-8"))["features"]
    assert [item["id"] for item in features] == [scene.name for scene in made.scenes]
    times = [item["properties"]["datetime"] for item in features]
    assert times == sorted(set(times))
    for item in features:
        (asset,) = item["assets"].values()
        assert asset["href"].startswith("./")
        with rasterio.open(made.items.parent / asset["href"]) as raster:
            assert item["properties"]["proj:shape"] == list(raster.shape)
            assert item["properties"]["proj:transform"] == list(raster.transform)[:6]
            assert item["properties"]["proj:code"] == "EPSG:32633"
            assert [band["data_type"] for band in asset["bands"]] == list(raster.dtypes)
            assert [band["eo:common_name"] for band in asset["bands"]] == ["red", "green"]
        west, south, east, north = item["bbox"]
        assert 14 < west < east < 16
        assert 47 < south < north < 49


def test_demo_scenes_disagree_plainly_where_they_overlap_and_show_the_same_ground(tmp_path: Path) -> None:
    items = make_demo_scenes(tmp_path)
    assert items == tmp_path / "items.json"
    scenes = {path.stem: read(path).astype(float) for path in tmp_path.glob("scene_*.tif")}
    assert len(scenes) == DEMO_RECIPE.rows * DEMO_RECIPE.cols
    gaps = []
    for row, col in itertools.product((1, 2), (1, 2)):
        first, second = scenes[f"scene_{row}_{col}"][:, :, 525:], scenes[f"scene_{row}_{col + 1}"][:, :, :175]
        both = (first != 0).any(axis=0) & (second != 0).any(axis=0)
        gaps.append(abs(first[:, both].mean() - second[:, both].mean()))
        assert np.corrcoef(first[0, both], second[0, both])[0, 1] > 0.9
    assert min(gaps) > 8
    assert max(scene.max() for scene in scenes.values()) < 255


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"overlap": 1.0}, "overlap 1.0"),
        ({"rows": 0}, "0 x 2 scenes"),
        ({"bands": 9}, "bands 1 to 6"),
        ({"dtype": "uint32"}, "uint32"),
        ({"nodata": None, "ragged": 3.0}, "nodata None"),
    ],
)
def test_a_recipe_that_cannot_be_made_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(SMALL, **change)
