"""Files grouped into scenes by their names and places, without a file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rasterio.crs import CRS

from processor.config import Inputs
from processor.errors import InputError
from processor.geotiff.open import Outline
from processor.model import Grid
from processor.scenes.band_files import FileScene, group_files

GRID = Grid(crs=CRS.from_epsg(32633).to_wkt(), left=0.0, top=0.0, pixel_width=10.0, pixel_height=10.0, width=60, height=60)


def place(left: float = 0.0, *, bands: int = 1, pixel: float = 10.0) -> Outline:
    size = round(600 / pixel)
    grid = replace(GRID, left=left, pixel_width=pixel, pixel_height=pixel, width=size, height=size)
    return Outline(grid=grid, bands=bands)


def group(files: dict[str, Outline | None], **inputs: Any) -> tuple[FileScene, ...]:
    hrefs = {f"s3://b/{name}.tif": outline for name, outline in files.items()}
    return group_files(list(hrefs), Inputs(**inputs), hrefs.__getitem__, has_bands=True)[0]


def show(scenes: tuple[FileScene, ...]) -> dict[str, list[str]]:
    hrefs = {scene.name: [raster.href for raster in scene.rasters] for scene in scenes}
    return {name: [href.removeprefix("s3://b/").removesuffix(".tif") for href in found] for name, found in hrefs.items()}


def test_files_without_a_band_in_their_names_are_not_looked_at() -> None:
    def refuse(href: str) -> Outline | None:
        raise AssertionError(href)

    scenes, findings = group_files(["/x/a.tif", "/x/ngi_1.tif", "/x/c_B04.tif"], Inputs(), refuse, has_bands=True)
    assert [scene.name for scene in scenes] == ["a", "ngi_1", "c_B04"]
    assert findings == ()


def test_bands_in_folders_of_resolutions_are_of_one_scene() -> None:
    names = ("S/R10m/T_B02_10m", "S/R20m/T_B02_20m", "S/R20m/T_B11_20m", "S/R10m/T_TCI_10m")
    outlines = (place(), place(pixel=20), place(pixel=20), place(bands=3))
    assert show(group(dict(zip(names, outlines, strict=True)))) == {"T": ["S/R10m/T_B02_10m", "S/R20m/T_B11_20m"]}


def test_a_panchromatic_band_half_a_pixel_off_is_one_of_the_scene() -> None:
    files = {"T_B8": place(-7.5, pixel=15), "T_B2": place(pixel=30)}
    assert show(group(files)) == {"T": ["T_B2", "T_B8"]}


def test_files_of_several_bands_are_scenes_of_their_own() -> None:
    files = {"T_B02": place(bands=3), "T_B03": place(bands=3)}
    assert show(group(files)) == {"T_B02": ["T_B02"], "T_B03": ["T_B03"]}


def test_what_cannot_be_read_now_stays_a_band_of_its_scene() -> None:
    """So that the scene is left out as a whole where that is allowed."""
    files = {"T_B02": place(), "T_B03": None, "T_B04": place()}
    assert show(group(files)) == {"T": ["T_B02", "T_B03", "T_B04"]}


def test_scenes_keep_the_order_of_their_first_files() -> None:
    files = {"z_B02": place(), "m": place(900), "a_B02": place(), "z_B03": place(), "a_B03": place()}
    assert list(show(group(files))) == ["z", "m", "a"]


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"bands": "b4,B02"}, ["T_B04", "T_B02"]),
        ({"bands": "red"}, ["T_B04"]),
        ({"asset": "B03"}, ["T_B03"]),
        ({"assets": "B04,B0[23]"}, ["T_B04", "T_B02", "T_B03"]),
        ({"assets": "B02,B03", "bands": "green"}, ["T_B03"]),
    ],
)
def test_what_is_read_is_chosen_by_the_names(inputs: dict[str, Any], expected: list[str]) -> None:
    assert show(group({f"T_B0{number}": place() for number in (2, 3, 4)}, **inputs)) == {"T": expected}


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({"bands": "nir"}, r"scene T has no band 'nir' \(--inputs.bands\): its files hold B02 \(blue\), B03 \(green\)"),
        ({"asset": "B08"}, r"scene T has no band 'B08' \(--inputs.asset\)"),
        ({"mask": {"asset": "SCL", "invalid": [3]}}, "names 'SCL', and no file has that word in the name"),
    ],
)
def test_what_is_not_there_is_told(inputs: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        group({"T_B02": place(), "T_B03": place()}, **inputs)


def test_a_mask_is_that_whose_name_begins_most_alike() -> None:
    files = {"a_1": place(), "a_1_x": place(), "a_1_mask": place(), "a_1_x_mask": place()}
    scenes = group(files, mask={"asset": "mask", "valid": [1], "band": 2})
    masks = {scene.name: scene.mask.raster for scene in scenes if scene.mask is not None}
    assert {name: raster.href for name, raster in masks.items()} == {
        "a_1": "s3://b/a_1_mask.tif",
        "a_1_x": "s3://b/a_1_x_mask.tif",
    }
    assert {raster.wanted for raster in masks.values()} == {(2,)}


@pytest.mark.parametrize("others", [["c_mask"], ["b_mask", "b_mask_2"]])
def test_a_scene_without_a_mask_of_its_own_is_told(others: list[str]) -> None:
    files = {name: place() for name in ("b_1", *others)}
    with pytest.raises(InputError, match="beside it that may be its mask"):
        group(files, mask={"asset": "mask", "invalid": [1]})
