"""What makes the sample scenes difficult: shares, positions and misregistration are what the recipe says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from processor.model import Window
from processor.synthetic.difficulties import Difficulties, make_changes, make_clouds, make_hotspot
from processor.synthetic.scenes import SampleSet, SceneRecipe, make_scenes

PLAIN = SceneRecipe(rows=1, cols=2, height=256, width=256, bands=3, gain_spread=0, offset_spread=0, block_size=128)
WHOLE = Window(row=0, col=0, height=600, width=600)


def make(folder: Path, **difficulties: float) -> SampleSet:
    return make_scenes(folder, replace(PLAIN, difficulties=Difficulties(**difficulties)))


def read_errors(made: SampleSet) -> list[np.ndarray]:
    """Scene minus truth, source units, of each scene."""
    errors = []
    with rasterio.open(made.truth) as truth:
        whole = truth.read().astype(float)
    for scene in made.scenes:
        with rasterio.open(made.items.parent / f"{scene.name}.tif") as raster:
            errors.append(raster.read() - whole[:, *scene.window.slices_in(Window(row=0, col=0, height=9999, width=9999))])
    return errors


@pytest.mark.parametrize("share", [0.05, 0.12, 0.4])
def test_clouds_and_changes_have_their_share(share: float) -> None:
    assert np.mean(make_clouds(share, 3, WHOLE, WHOLE) >= 0.5) == pytest.approx(share, abs=0.001)
    assert np.mean([np.mean(make_changes(share, seed, WHOLE)) for seed in range(6)]) == pytest.approx(share, abs=0.06)


def test_fields_do_not_depend_on_the_window() -> None:
    part = Window(row=130, col=77, height=90, width=111)
    inner = part.slices_in(WHOLE)
    assert np.array_equal(make_clouds(0.2, 3, WHOLE, WHOLE)[inner], make_clouds(0.2, 3, WHOLE, part))
    assert np.array_equal(make_changes(0.2, 3, WHOLE)[inner], make_changes(0.2, 3, part))


def test_hotspot_is_brightest_opposite_the_sun_and_dark_nowhere() -> None:
    across = np.linspace(-1, 1, 41, dtype=np.float32)
    light = make_hotspot(0.2, across[:, None], across[None, :])
    assert light.max() == pytest.approx(1.2, abs=1e-3)
    assert light.min() == 1.0
    assert np.unravel_index(light.argmax(), light.shape) == (27, 15)


def test_only_every_other_scene_is_cloudy(tmp_path: Path) -> None:
    clear, cloudy = read_errors(make(tmp_path, clouds=0.3))
    assert not clear.any()
    assert 0.3 < np.mean(cloudy.max(axis=0) > 100) < 0.6


def test_haze_only_adds_most_in_blue(tmp_path: Path) -> None:
    for error in read_errors(make(tmp_path, haze=0.1)):
        assert error.min() >= 0
        assert error[2].mean() > error[1].mean() > error[0].mean() > 0


def test_changed_ground_is_ground_elsewhere_the_truth(tmp_path: Path) -> None:
    for error in read_errors(make(tmp_path, changes=0.15)):
        assert 0.02 < np.mean(error.any(axis=0)) < 0.5


def test_misregistered_scenes_are_the_truth_interpolated_beside(tmp_path: Path) -> None:
    made = make(tmp_path, shift=1.5)
    with rasterio.open(made.truth) as truth:
        whole = truth.read(1).astype(float)
    scene = made.scenes[0]
    with rasterio.open(made.items.parent / f"{scene.name}.tif") as raster:
        inner = raster.read(1)[8:-8, 8:-8].astype(float)
    crops = [whole[8 + down : 248 + down, 8 + across : 248 + across] for down in range(-2, 3) for across in range(-2, 3)]
    weights = np.linalg.lstsq(np.stack([crop.ravel() for crop in crops], axis=1), inner.ravel(), rcond=None)[0]
    assert weights.sum() == pytest.approx(1, abs=1e-3)
    assert np.sum(weights > 0.01) in {1, 2, 4}
    assert np.abs(inner - np.tensordot(weights, np.stack(crops), 1)).max() <= 1.5


def test_the_same_recipe_gives_the_same_bytes(tmp_path: Path) -> None:
    hard = {"hotspot": 0.1, "clouds": 0.2, "changes": 0.1, "haze": 0.05, "shift": 1.0}
    first, second = make(tmp_path / "a", **hard), make(tmp_path / "b", **hard)
    for scene in first.scenes:
        name = f"{scene.name}.tif"
        assert (first.items.parent / name).read_bytes() == (second.items.parent / name).read_bytes()
