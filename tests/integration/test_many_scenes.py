"""More scenes than an Item links to: the list of all of them beside it, by one process and by tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
from commands import CREATED, Finished, call_command, read_files

from processor.synthetic.scenes import SceneRecipe, make_scenes

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("many scenes")]
ROWS, COLS = 11, 10
EXECUTORS = ("local", "tasks")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The Item's folder by executor."""
    folder = tmp_path_factory.mktemp("many")
    recipe = SceneRecipe(
        rows=ROWS, cols=COLS, height=32, width=32, overlap=0.35, bands=1, seed=5, haze=0.1, rotation=0, ragged=0, noise=0.004,
        block_size=32, keep_truth=False,
    )  # fmt: skip
    items = make_scenes(folder / "scenes", recipe).items
    found = {}
    for executor in EXECUTORS:
        options = ("--output", executor, "--item-id", "m", "--created", CREATED, "--executor", executor)
        done: Finished = call_command("run", str(items), *options, cwd=folder, scratch=folder / "scratch")
        assert done.code == 0, done.stderr
        found[executor] = folder / executor / "m"
    return found


def read_item(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "m.json").read_text()))


def test_one_process_and_tasks_publish_the_same_files(runs: dict[str, Path]) -> None:
    local, tasks = (read_files(runs[executor]) for executor in EXECUTORS)
    local.pop("m.json")
    tasks.pop("m.json")  # which says where it is
    assert local == tasks


def test_all_inputs_are_listed_and_numbered_as_in_the_scene_index(runs: dict[str, Path]) -> None:
    item = read_item(runs["local"])
    links = [link for link in item["links"] if link["rel"] == "derived_from"]
    assert len(links) == 100
    (listed,) = [link["href"] for link in item["links"] if link["rel"] == "related"]
    assert listed == item["assets"]["inputs_items"]["href"] == "./inputs.json"
    inputs = pystac.ItemCollection.from_file(str(runs["local"] / "inputs.json"))
    assert len(inputs) == item["properties"]["mosaic:scene_count"] == ROWS * COLS
    assert [link["title"] for link in links] == [found.id for found in inputs][:100]
    with rasterio.open(runs["local"] / "scene_index.tif") as raster:
        index, transform, tags = raster.read(1), raster.transform, raster.tags()
    for found in inputs:
        number = found.properties["mosaic:number"]
        assert tags[f"SCENE_{number}"] == found.id
        rows, cols = np.nonzero(index == number)
        left, bottom, right, top = found.properties["proj:bbox"]
        x, y = transform.c + transform.a * (cols + 0.5), transform.f + transform.e * (rows + 0.5)
        assert ((x > left) & (x < right) & (y > bottom) & (y < top)).all()


def test_the_item_has_no_class_for_each_and_the_tiff_a_colour_for_each(runs: dict[str, Path]) -> None:
    asset = read_item(runs["local"])["assets"]["scene_index"]
    assert "classification:classes" not in asset
    with rasterio.open(runs["local"] / "scene_index.tif") as raster:
        colours = raster.colormap(1)
    assert len({colours[number] for number in range(ROWS * COLS + 1)}) == ROWS * COLS + 1
