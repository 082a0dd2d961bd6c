"""Items of very many scenes: what they link to, and the list of all inputs beside them."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pystac
import pytest
from records import create_item_from, make_artifact, make_grid, make_scene

from processor.model import Grid, Provenance, Scene
from processor.stages.seamlines.footprint import compute_footprint
from stac.write.assets import MosaicBand, RasterMetadata
from stac.write.inputs import MOST_LINKS, create_inputs
from stac.write.item import render_item

EDGE = 1024
GRID = make_grid(32633, 400_000, 5_600_000, size=100 * EDGE)
CREATED = "2024-05-06T07:08:09Z"


def make_scenes(count: int) -> list[Scene]:
    """Scenes in rows of 100 that overlap a little, each with an Item that says much."""
    told: dict[str, Any] = {"platform": "drone-7", "instruments": ["camera"], "gsd": 10.0, "eo:cloud_cover": 4.5}
    scenes = []
    for number in range(count):
        row, col = divmod(number, 100)
        place = {"left": GRID.left + col * 0.98 * EDGE * 10, "top": GRID.top - row * 0.98 * EDGE * 10}
        name = f"survey_2024_scene_of_a_long_name_{number:05d}"
        provenance = Provenance(
            self_href=f"https://stac.example.org/collections/survey/items/{name}",
            start=f"2024-06-{1 + number % 28:02d}T10:00:00Z",
            properties=told,
        )
        grid = replace(GRID, width=EDGE, height=EDGE, **place)
        scenes.append(make_scene(name, grid=grid, bands=("red", "green", "blue", "nir"), provenance=provenance))
    return scenes


def make_mask(grid: Grid) -> tuple[Any, Grid]:
    """A ragged outline with holes, as clouds leave it."""
    coarse = replace(grid, pixel_width=500.0, pixel_height=500.0, width=2048, height=2048)
    rng = np.random.default_rng(7)
    blobs = np.kron(rng.random((256, 256)) < 0.93, np.ones((8, 8), bool))
    return blobs & (rng.random((2048, 2048)) < 0.999), coarse


def make_item(count: int) -> dict[str, Any]:
    names = ("red", "green", "blue", "nir")
    bands = tuple(
        MosaicBand(name=name, common_name=name, dtype="uint16", nodata=0, minimum=1, maximum=9, mean=4.2, stddev=1.1)
        for name in names
    )
    metadata = [make_artifact(key, f"{key}.x", role="metadata") for key in ("inputs_items", "block_maps", "report", "config")]
    return create_item_from(
        {
            "item_id": "survey",
            "scenes": make_scenes(count),
            "grid": GRID,
            "footprint": compute_footprint(*make_mask(GRID)),
            "cell": 50.0,
            "artifacts": (make_artifact(), *metadata),
            "rasters": {"mosaic": RasterMetadata(bands=bands)},
            "created": CREATED,
            "digest": "0" * 64,
            "version": "0.1.0",
            "stages": ("global_regression", "merge_rasters"),
            "properties": {},
            "self_href": "s3://out/survey/survey.json",
        }
    )


@pytest.fixture(scope="module")
def large() -> dict[str, Any]:
    start = time.process_time()
    item = make_item(10_000)
    assert time.process_time() - start < 60
    return item


def test_an_item_of_ten_thousand_scenes_has_at_most_100_kb(large: dict[str, Any]) -> None:
    text = render_item(large)
    assert len(text.encode()) <= 100_000
    assert json.loads(text) == large
    read = pystac.Item.from_dict(json.loads(text), migrate=False)
    assert len(read.assets) == 5


def test_it_links_to_a_hundred_inputs_and_to_the_list_of_all(large: dict[str, Any]) -> None:
    relations = [link["rel"] for link in large["links"]]
    assert relations.count("derived_from") == MOST_LINKS == 100
    (listed,) = [link for link in large["links"] if link["rel"] == "related"]
    assert listed["href"] == large["assets"]["inputs_items"]["href"]
    assert large["properties"]["mosaic:scene_count"] == 10_000


def test_its_geometry_says_how_far_it_was_simplified(large: dict[str, Any]) -> None:
    assert large["properties"]["mosaic:geometry_tolerance"] >= 50


def test_few_scenes_are_all_linked_to() -> None:
    item = make_item(MOST_LINKS)
    assert [link["rel"] for link in item["links"]].count("derived_from") == MOST_LINKS


def test_the_list_has_every_input_with_its_number_place_time_and_origin() -> None:
    scenes = make_scenes(120)
    collection = pystac.ItemCollection.from_dict(create_inputs(scenes, created=CREATED))
    assert [item.id for item in collection] == [scene.name for scene in scenes]
    assert [item.properties["mosaic:number"] for item in collection] == list(range(1, 121))
    last = collection[119]
    assert last.properties["proj:code"] == "EPSG:32633"
    assert last.properties["proj:transform"][:6] == [10, 0, scenes[119].grid.left, 0, -10, scenes[119].grid.top]
    assert last.datetime is not None
    assert last.datetime.isoformat().startswith("2024-06-08T10:00:00")
    assert [link.get_href() for link in last.get_links("canonical")] == [scenes[119].provenance.self_href]
    assert last.assets["data"].href == f"/data/{last.id}.tif" or last.assets["data"].href.startswith("file://")
    assert last.properties["platform"] == "drone-7"


def test_inputs_without_items_times_and_places_on_earth_are_items_all_the_same() -> None:
    scene = make_scene("a", crs="", provenance=Provenance(title="A 1"))
    (item,) = create_inputs([scene], created=CREATED)["features"]
    assert (item["id"], item["properties"]["title"], item["geometry"]) == ("a", "A 1", None)
    assert item["properties"]["datetime"] == CREATED
    assert [link["rel"] for link in item["links"]] == ["via"]


def test_no_signature_and_no_password_is_in_the_list() -> None:
    href = "https://me:secret@example.org/a.tif?X-Amz-Signature=0123&v=2"
    scene = make_scene("a", href=href, provenance=Provenance(self_href="https://me:secret@example.org/a.json?sig=0123"))
    text = json.dumps(create_inputs([scene], created=CREATED))
    assert "secret" not in text
    assert "0123" not in text
