"""Scenes of real catalogues, mosaicked as they are: bands in files of their own and of other sizes, masks, scales, alpha."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from commands import CREATED, call_command
from numpy.typing import NDArray
from real_items import (
    describe_grid,
    make_drone,
    make_earth_search,
    make_landsat,
    make_naip,
    make_planetary_sentinel,
    write_collection,
)
from scenes import LEFT, TOP, write_scene

AS_THEY_ARE = ("--methods.matching_global_method", "null", "--methods.matching_local_method", "null")
"""Values stay what they are, so that they can be compared with the truth."""


@dataclass(frozen=True, kw_only=True)
class Mosaic:
    """What a run made: its pixels, its Item and its findings."""

    pixels: NDArray[Any]
    profile: dict[str, Any]
    item: dict[str, Any]
    findings: list[dict[str, Any]]

    def at(self, x: float, y: float) -> list[int]:
        """Values of the pixel at a place."""
        grid = self.profile["transform"]
        return [int(value) for value in self.pixels[:, int((y - grid.f) / grid.e), int((x - grid.c) / grid.a)]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def run(folder: Path, items: Path, *options: str) -> Mosaic:
    """Mosaic an ItemCollection."""
    words = ("--output", str(folder / "out"), "--item-id", "mosaic", "--created", CREATED, *options)
    done = call_command("run", str(items), *words, cwd=folder, scratch=folder / "scratch")
    assert done.code == 0, done.stderr
    with rasterio.open(folder / "out" / "mosaic" / "mosaic.tif") as raster:
        pixels, profile = raster.read(), dict(raster.profile)
    return Mosaic(pixels=pixels, profile=profile, item=done.item, findings=done.events)


def write_band(
    folder: Path, name: str, value: NDArray[Any] | float, *, pixel: float = 10, col: float = 0, **options: Any
) -> Path:
    """A file of one band over 1200 m, ``col`` metres from the left: a number, or an array."""
    edge = round(1200 / pixel)
    array = np.broadcast_to(np.asarray(value, "float64"), (edge, edge)) if np.ndim(value) < 2 else np.asarray(value)
    return write_scene(folder / f"{name}.tif", array, **{"left": LEFT + col, "pixel": pixel, "dtype": "uint16", **options})


def list_bands(item: dict[str, Any]) -> list[tuple[str, str]]:
    return [(band["name"], band["eo:common_name"]) for band in item["assets"]["mosaic"]["bands"]]


def make_sentinel(folder: Path, name: str, *, col: float, offset: float = 0.0, baseline: str = "03.01") -> dict[str, Any]:
    """A Sentinel-2 scene of one surface, with the same reflectances everywhere, and cloud over its upper left corner."""
    files = {}
    surface = {"red": 0.10, "green": 0.12, "blue": 0.14, "nir": 0.30, "swir16": 0.20}
    for key, reflectance in surface.items():
        size = 20 if key == "swir16" else 10
        files[key] = write_band(folder / name, key, round((reflectance - offset) / 0.0001), pixel=size, col=col)
    classes = np.full((60, 60), 4)
    classes[:10, :10] = 9  # cloud, where the other scene may help
    files["scl"] = write_band(folder / name, "scl", classes, pixel=20, col=col, dtype="uint8")
    return make_earth_search(name, files, offset=offset, baseline=baseline, cloud=20.0)


def test_sentinel_2_of_earth_search(folder: Path) -> None:
    names = ("S2B_33UVP_20230714_0_L2A", "S2B_33UVP_20230711_0_L2A")
    items = [make_sentinel(folder, name, col=col) for name, col in zip(names, (0, 600), strict=True)]
    mask = ("--inputs.mask", "{asset: scl, invalid: [0, 1, 3, 8, 9, 10]}")
    bands = ("--inputs.assets", "red,green,blue,nir,swir16")
    made = run(folder, write_collection(folder / "items.json", items), *bands, *mask, *AS_THEY_ARE)
    assert list_bands(made.item) == [(name, name) for name in ("red", "green", "blue", "nir", "swir16")]
    assert made.at(LEFT + 300, TOP - 600) == [1000, 1200, 1400, 3000, 2000]
    assert made.at(LEFT + 100, TOP - 100) == [0, 0, 0, 0, 0], "cloud, and nothing else is there"
    assert made.at(LEFT + 700, TOP - 100) == [1000, 1200, 1400, 3000, 2000], "cloud, and the other scene is there"
    properties = made.item["properties"]
    assert (properties["platform"], properties["instruments"]) == ("sentinel-2b", ["msi"])
    assert properties["gsd"] == 10
    assert properties["eo:cloud_cover"] == pytest.approx(20)
    assert properties["grid:code"] == "MGRS-33UVP"
    derived = {link["href"] for link in made.item["links"] if link["rel"] == "derived_from"}
    assert derived == {f"https://example.org/items/{name}" for name in names}


def test_two_baselines_of_one_surface_make_no_step(folder: Path) -> None:
    """Since baseline 04.00 of Sentinel-2 stored values are 1000 higher, and raster:offset says so."""
    items = [
        make_sentinel(folder, "new", col=0, offset=-0.1, baseline="04.00"),
        make_sentinel(folder, "newer", col=300, offset=-0.1, baseline="05.09"),
        make_sentinel(folder, "old", col=700),
    ]
    bands = ("--inputs.assets", "red,nir")
    made = run(folder, write_collection(folder / "items.json", items), *bands, *AS_THEY_ARE)
    expected = [2000, 4000]  # in the unit that most have
    for x in range(50, 1900, 50):
        assert made.at(LEFT + x, TOP - 900) == expected
    assert [event["scene"] for event in made.findings if event["event"] == "rescaled"] == ["old"]


def test_sentinel_2_of_the_planetary_computer_by_common_names(folder: Path) -> None:
    items = []
    for name, col in (("S2B_MSIL2A_A", 0), ("S2B_MSIL2A_B", 600)):
        values = {"B02": 1400, "B03": 1200, "B04": 1000, "B08": 3000, "B11": 2000}
        sizes = {"B11": 20}
        files = {key: write_band(folder / name, key, value, pixel=sizes.get(key, 10), col=col) for key, value in values.items()}
        classes = np.full((60, 60), 4)
        classes[-5:] = 3  # shadow
        files["SCL"] = write_band(folder / name, "SCL", classes, pixel=20, col=col, dtype="uint8")
        items.append(make_planetary_sentinel(name, files, cloud=7.0))
    options = ("--inputs.bands", "red,green,blue,swir16", "--inputs.mask", "{asset: SCL, invalid: [3, 8, 9]}")
    made = run(folder, write_collection(folder / "items.json", items), *options, *AS_THEY_ARE)
    assert list_bands(made.item) == [("B04", "red"), ("B03", "green"), ("B02", "blue"), ("B11", "swir16")]
    assert made.at(LEFT + 900, TOP - 600) == [1000, 1200, 1400, 2000]
    assert made.at(LEFT + 900, TOP - 1150) == [0, 0, 0, 0]
    assert made.item["properties"]["platform"] == "Sentinel-2B"


def test_landsat_with_the_bits_of_its_quality_band(folder: Path) -> None:
    items = []
    for name, col in (("LC09_L2SP_191026", 0), ("LC08_L2SP_191026", 600)):
        values = {"blue": 9000, "green": 10000, "red": 11000, "nir08": 20000}
        files = {key: write_band(folder / name, key, value, pixel=30, col=col) for key, value in values.items()}
        quality = np.full((40, 40), 0b0101010001000000)
        quality[:, :5] |= 1 << 3  # cloud
        quality[-4:] = 1  # fill
        files["qa_pixel"] = write_band(folder / name, "qa_pixel", quality, pixel=30, col=col, nodata=1)
        items.append(make_landsat(name, files, cloud=12.5))
    options = ("--inputs.assets", "red,green,blue,nir08", "--inputs.mask", "{asset: qa_pixel, bits: [0, 1, 3, 4]}")
    made = run(folder, write_collection(folder / "items.json", items), *options, *AS_THEY_ARE)
    assert list_bands(made.item)[3][1] == "nir08"
    assert made.at(LEFT + 900, TOP - 600) == [11000, 10000, 9000, 20000]
    assert made.at(LEFT + 100, TOP - 600) == [0, 0, 0, 0], "cloud"
    assert made.at(LEFT + 650, TOP - 600) == [11000, 10000, 9000, 20000], "cloud in one of both"
    assert made.at(LEFT + 900, TOP - 1170) == [0, 0, 0, 0], "fill"
    assert made.item["properties"]["gsd"] == 30
    assert made.item["properties"]["eo:cloud_cover"] == pytest.approx(12.5)


def test_naip_of_four_bands_without_nodata(folder: Path) -> None:
    """GDAL marks the fourth of four bands of bytes as alpha when it is not told otherwise; the Item knows that it is not."""
    items = []
    for name, col in (("md_m_3807501_ne", 0.0), ("md_m_3807501_nw", 36.0)):
        array = np.stack([np.full((100, 100), value, "uint8") for value in (90, 100, 80, 160)])
        path = write_scene(
            folder / f"{name}.tif", array, left=400_000 + col, top=4_300_000, pixel=0.6, crs="EPSG:26918", nodata=None
        )
        items.append(make_naip(name, path))
    made = run(folder, write_collection(folder / "items.json", items), *AS_THEY_ARE)
    assert list_bands(made.item) == [("Red", "red"), ("Green", "green"), ("Blue", "blue"), ("NIR", "nir")]
    assert made.at(400_050, 4_299_970) == [90, 100, 80, 160]
    assert {event["scene"] for event in made.findings if event["event"] == "no-alpha"} == {item["id"] for item in items}
    assert made.item["properties"]["proj:code"] == "EPSG:26918"
    assert made.item["properties"]["gsd"] == 0.6
    assert made.item["properties"]["datetime"] == "2022-09-21T16:00:00Z"


def test_an_orthophoto_of_a_drone_with_an_alpha_band(folder: Path) -> None:
    items = []
    for name, col in (("59e62b8e3d6412ef722085f8", 0.0), ("59e62b8e3d6412ef722085f9", 3.0)):
        array = np.stack([np.full((100, 100), value, "uint8") for value in (120, 110, 0)])
        rows, cols = np.mgrid[0:100, 0:100]
        inside = (rows - 50) ** 2 + (cols - 50) ** 2 < 48**2
        place = {"left": 300_000 + col, "top": 200_000, "pixel": 0.05, "crs": "EPSG:32636", "nodata": None}
        items.append(make_drone(name, write_scene(folder / f"{name}.tif", array, alpha=inside, **place)))
    made = run(folder, write_collection(folder / "items.json", items), *AS_THEY_ARE)
    assert list_bands(made.item) == [(name, name) for name in ("red", "green", "blue")]
    assert made.at(300_002.5, 200_000 - 2.5)[:2] == [120, 110]
    assert made.at(300_000.1, 200_000 - 0.1) == made.at(300_007.9, 200_000 - 4.9), "no scene is there"
    properties = made.item["properties"]
    assert (properties["start_datetime"], properties["end_datetime"]) == ("2024-03-02T08:00:00Z", "2024-03-02T08:25:00Z")


def test_where_item_and_file_disagree_the_file_is_taken_and_a_finding_says_so(folder: Path) -> None:
    items = [make_sentinel(folder, name, col=col) for name, col in (("a", 0), ("b", 600))]
    red = items[1]["assets"]["red"]
    grid = describe_grid(Path(red["href"]))
    red["proj:shape"] = [240, 240]
    red["proj:transform"] = [5.0, 0.0, grid["proj:transform"][2], 0.0, -5.0, grid["proj:transform"][5]]
    red["raster:bands"][0]["nodata"] = 65535
    items[1]["properties"]["proj:epsg"] = 32632
    made = run(folder, write_collection(folder / "items.json", items), "--inputs.asset", "red", *AS_THEY_ARE)
    (finding,) = [event for event in made.findings if event["event"] == "item-disagrees"]
    assert finding["scene"] == "b"
    shape, transform = "shape 240 x 240, where it is 120 x 120", "transform [5.0,"
    for words in (shape, transform, "EPSG:32632, where it is EPSG:32633", "nodata 65535"):
        assert words in finding["message"]
    assert made.profile["width"] == 180


def test_an_item_of_version_1_1_says_the_same_as_one_of_1_0(folder: Path) -> None:
    items = [make_sentinel(folder, name, col=col, offset=-0.1) for name, col in (("a", 0), ("b", 600))]
    options = ("--inputs.assets", "red,nir", *AS_THEY_ARE)
    first = run(folder, write_collection(folder / "old.json", json.loads(json.dumps(items))), *options)
    for item in items:
        item["stac_version"] = "1.1.0"
        item["properties"]["proj:code"] = f"EPSG:{item['properties'].pop('proj:epsg')}"
        for asset in item["assets"].values():
            (eo, *_), (raster, *_) = asset.pop("eo:bands", [{}]), asset.pop("raster:bands", [{}])
            band = {("name" if key == "name" else f"eo:{key}"): value for key, value in eo.items()}
            band |= {key if key in {"nodata", "data_type"} else f"raster:{key}": value for key, value in raster.items()}
            asset.update({"bands": [band]} if band else {})
    second = run(folder, write_collection(folder / "new.json", items), *options, "--overwrite")
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert list_bands(first.item) == list_bands(second.item)
