"""Mosaics blended along their seams: the same by any tasks, cut beyond the width, and nothing of what may not be given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outcomes import Bench, run_both_ways
from scipy.ndimage import distance_transform_edt

from processor.errors import ConfigError
from processor.synthetic.difficulties import Difficulties
from processor.synthetic.scenes import SceneRecipe, make_scenes

RECIPES = {
    "plain": SceneRecipe(rows=2, cols=2, height=400, width=400, bands=3, dtype="uint8", difficulties=Difficulties(shift=1.5)),
    "ragged": SceneRecipe(rows=2, cols=2, height=400, width=400, bands=2, rotation=4.0, ragged=12.0),
}
BLEND: dict[str, Any] = {"merge_rasters.blend": 40.0}  # 20 pixels
LEAST = {"methods.seamline_method": "least_difference_seamline"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(
        tmp_path_factory.mktemp("blend"),
        {name: lambda folder, name=name: make_scenes(folder, RECIPES[name]).items for name in RECIPES},
    )


@pytest.mark.parametrize("scenes", RECIPES)
def test_beyond_half_the_width_every_pixel_is_that_of_the_cut(bench: Bench, scenes: str) -> None:
    cut, blended = (bench.run_once(scenes, flags) for flags in ({}, BLEND))
    index = cut.read("scene_index.tif").values[0]
    assert np.array_equal(index, blended.read("scene_index.tif").values[0])
    before, after = (one.read("mosaic.tif").values for one in (cut, blended))
    reach = np.zeros(index.shape, np.bool_)
    for number in np.unique(index[index > 0]):
        reach |= (index > 0) & (index != number) & (distance_transform_edt(index != number) <= 10.5)
    differs = (before != after).any(axis=0)
    assert not differs[~reach].any()
    assert differs[reach].mean() > 0.3
    assert np.array_equal((before == 0).all(axis=0), (after == 0).all(axis=0)), "nodata stays, and no pixel becomes it"


@pytest.mark.parametrize(
    ("flags", "share"), [({}, 0.5), ({**LEAST, "methods.preset": "satellite"}, 0.2)], ids=["default", "least"]
)
def test_seams_are_hard_to_tell_from_what_is_beside_them(bench: Bench, flags: dict[str, Any], share: float) -> None:
    """Roads and roofs lie beside one another by up to 1.5 pixels: where they are cut in the middle, no blend hides it all."""
    cut, blended = (
        json.loads(bench.run_once("plain", {**flags, **extra}).files["report.json"])["summary"] for extra in ({}, BLEND)
    )
    assert abs(blended["gradient_excess"] - 1) < share * (cut["gradient_excess"] - 1)
    assert blended["contrast_kept"] == pytest.approx(cut["contrast_kept"], rel=0.01)


@pytest.mark.parametrize("scenes", RECIPES)
def test_one_process_and_tasks_of_one_block_give_the_same_bytes(bench: Bench, scenes: str, tmp_path: Path) -> None:
    run_both_ways(bench.find_inputs(scenes), tmp_path, BLEND)


def test_a_blend_of_more_than_256_pixels_is_refused_with_the_most(bench: Bench) -> None:
    with pytest.raises(ConfigError, match=r"merge_rasters\.blend = 600 is more than 256 pixels .* are 512 CRS units"):
        bench.run("plain", {"merge_rasters.blend": 600.0})
