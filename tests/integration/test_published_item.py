"""What a finished run has published: exactly what the documentation names, true to its Item, and readable by others."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import yaml
from commands import CREATED, Finished, make_items, read_files, run_command
from rio_cogeo import cog_validate
from shapely import box, union_all
from shapely.geometry import shape

from processor.stages.matching.block_maps_file import parse_block_maps
from processor.version import read_version

pytestmark = pytest.mark.xdist_group("published")  # its one run is made by one worker
CANARY = "not-a-real-key-wJalrXUtnFEMI"
SCENES = ("a", "b", "c")
SENSOR = {"platform": "drone-7", "instruments": ["camera"], "constellation": "drones", "gsd": 0.9, "grid:code": "MGRS-33UVP"}
CLOUDS = {"a": 10.0, "b": 20.0, "c": 60.0}
COLOURS = ("red", "green", "blue")
FILES = {
    "m.json",
    "mosaic.tif",
    "scene_index.tif",
    "scene_index.tif.aux.xml",
    "overview.png",
    "report.html",
    "report.json",
    "config.yaml",
    "adjustments.json",
    "seamlines.gpkg",
    "block_maps.npz",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A finished run."""

    items: Path
    folder: Path
    scratch: Path
    finished: Finished

    @property
    def item(self) -> dict[str, Any]:
        """The Item as published."""
        return dict(json.loads((self.folder / "m.json").read_text()))

    def find(self, asset: dict[str, Any]) -> Path:
        """The file that an asset names relative to the Item."""
        return self.folder / unquote(asset["href"])


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    items = make_items(tmp_path_factory.mktemp("scenes"), edge=660, bands=3)
    collection = json.loads(items.read_text())
    collection["features"][0]["links"] = [{"rel": "self", "href": "https://example.org/items/a.json"}]
    for feature in collection["features"]:
        feature["properties"] |= SENSOR | {"eo:cloud_cover": CLOUDS[feature["id"]], "view:off_nadir": 4.0}
        for band, name in zip(feature["assets"]["image"]["bands"], COLOURS, strict=True):
            band |= {"eo:common_name": name, "description": f"The {name} one"}
    items.write_text(json.dumps(collection))
    folder = tmp_path_factory.mktemp("run")
    scratch = tmp_path_factory.mktemp("scratch-of-this-run")
    options = ("--output", "out", "--item-id", "m", "--created", CREATED, "--shared.temp_dir", str(scratch))
    finished = run_command(
        "run", str(items), *options, cwd=folder, scratch=scratch, AWS_SECRET_ACCESS_KEY=CANARY, GDAL_HTTP_USERPWD=f"me:{CANARY}"
    )
    assert finished.code == 0, finished.stderr
    return Published(items=items, folder=folder / "out" / "m", scratch=scratch, finished=finished)


@pytest.fixture(scope="module")
def mosaic(published: Published) -> Iterator[rasterio.DatasetReader]:
    with rasterio.open(published.folder / "mosaic.tif") as dataset:
        yield dataset


def test_exactly_the_documented_files_are_there(published: Published) -> None:
    assert set(read_files(published.folder)) == FILES


def test_every_file_is_an_asset_and_every_asset_a_file_with_its_size_and_checksum(published: Published) -> None:
    assets = published.item["assets"]
    assert {published.find(asset).relative_to(published.folder).as_posix() for asset in assets.values()} == FILES - {"m.json"}
    for asset in assets.values():
        data = published.find(asset).read_bytes()
        assert asset["file:size"] == len(data)
        assert asset["file:checksum"] == "1220" + hashlib.sha256(data).hexdigest()


def test_assets_say_what_they_are_for(published: Published) -> None:
    assets = published.item["assets"]
    roles = {key: asset["roles"] for key, asset in assets.items()}
    assert roles["mosaic"] == ["data"]
    assert "thumbnail" in roles["overview"]
    assert "metadata" in roles["report"]
    assert [key for key, asset in assets.items() if not asset.get("title")] == []
    assert assets["mosaic"]["type"] == "image/tiff; application=geotiff; profile=cloud-optimized"
    assert assets["overview"]["type"] == "image/png"


def test_every_input_is_linked_as_its_item_or_where_it_has_no_link_in_its_document(published: Published) -> None:
    links = published.item["links"]
    document = published.items.absolute().as_uri()
    expected = ["https://example.org/items/a.json", f"{document}#b", f"{document}#c"]
    assert [link["href"] for link in links if link["rel"] == "derived_from"] == expected
    (own,) = [link["href"] for link in links if link["rel"] == "self"]
    assert unquote(urlsplit(own).path) == str(published.folder / "m.json")


def test_the_item_meets_the_schemas_of_stac_and_of_its_extensions(published: Published) -> None:
    from conformance import test_item_schemas as schemas

    if not schemas.SCHEMAS.is_dir():
        pytest.skip(f"the extensions' schemas are not in {schemas.SCHEMAS}")
    assert schemas.find_problems(published.item) == []


def test_standard_output_is_the_item_with_hrefs_that_lead_to_the_files_from_anywhere(published: Published) -> None:
    printed, stored = published.finished.item, published.item
    for key, asset in printed["assets"].items():
        path = Path(unquote(urlsplit(asset.pop("href")).path))
        assert path.read_bytes() == published.find(stored["assets"][key]).read_bytes()
        stored["assets"][key].pop("href")
    for link in stored["links"]:
        link["href"] = urljoin(f"{published.folder.as_uri()}/", link["href"])
    assert printed == stored


def test_the_item_covers_what_the_mosaic_covers(published: Published, mosaic: rasterio.DatasetReader) -> None:
    item = published.item
    assert item["properties"]["created"] == CREATED
    assert item["properties"]["proj:shape"] == list(mosaic.shape)
    assert item["properties"]["proj:transform"][:6] == list(mosaic.transform)[:6]
    assert item["properties"]["proj:code"] == "EPSG:32633"
    assert shape(item["geometry"]).within(box(*item["bbox"]).buffer(1e-9))
    assert len((published.folder / "m.json").read_bytes()) < 30_000


@pytest.mark.parametrize("name", sorted(name for name in FILES if name.endswith(".tif")))
def test_every_raster_is_a_valid_cog_without_warnings(name: str, published: Published) -> None:
    valid, errors, warnings = cog_validate(published.folder / name, strict=True, quiet=True)
    assert (valid, errors, warnings) == (True, [], [])


def test_the_mosaic_opens_in_plain_rasterio_with_all_that_describes_it(mosaic: rasterio.DatasetReader) -> None:
    assert mosaic.driver == "GTiff"
    assert (mosaic.count, mosaic.dtypes) == (3, ("uint16",) * 3)
    assert mosaic.crs.to_epsg() == 32633
    assert mosaic.nodatavals == (0, 0, 0)
    assert mosaic.descriptions == ("band_0", "band_1", "band_2")
    assert mosaic.tags()["AREA_OR_POINT"] == "Area"
    assert mosaic.block_shapes == [(512, 512)] * 3
    assert [mosaic.overviews(band) for band in (1, 2, 3)] == [[2, 4]] * 3 or mosaic.overviews(1) == [2]


def test_statistics_in_the_file_and_in_the_item_are_those_of_the_valid_pixels(
    published: Published, mosaic: rasterio.DatasetReader
) -> None:
    pixels = mosaic.read().astype(np.float64)
    valid = (pixels != 0).any(axis=0)
    for position, band in enumerate(published.item["assets"]["mosaic"]["bands"]):
        values = pixels[position][valid]
        expected = (values.min(), values.max(), values.mean(), values.std())
        tags = mosaic.tags(position + 1)
        stored = [float(tags[f"STATISTICS_{name}"]) for name in ("MINIMUM", "MAXIMUM", "MEAN", "STDDEV")]
        assert stored == pytest.approx(expected, rel=1e-9)
        told = band["statistics"]
        assert [told[name] for name in ("minimum", "maximum", "mean", "stddev")] == pytest.approx(expected, rel=1e-9)
        assert told["valid_percent"] == pytest.approx(100 * valid.mean(), rel=1e-9)
        assert (band["name"], band["data_type"], band["nodata"]) == (f"band_{position}", "uint16", 0)


def test_bands_have_the_names_and_common_names_of_the_inputs(published: Published) -> None:
    assets = published.item["assets"]
    expected = [(f"band_{position}", name) for position, name in enumerate(COLOURS)]
    assert [(band["name"], band["eo:common_name"]) for band in assets["mosaic"]["bands"]] == expected
    assert [(band["name"], band["common_name"]) for band in assets["mosaic"]["eo:bands"]] == expected
    assert [band["description"] for band in assets["mosaic"]["bands"]] == [f"The {name} one" for name in COLOURS]
    assert [band["name"] for band in assets["scene_index"]["bands"]] == ["scene_index"]
    assert assets["mosaic"]["raster:spatial_resolution"] == 1.0


def test_what_all_inputs_agree_on_is_told_and_cloud_cover_is_weighted_by_what_each_contributes(published: Published) -> None:
    properties = published.item["properties"]
    assert {key: properties[key] for key in SENSOR} == SENSOR
    assert properties["view:off_nadir"] == 4.0
    with rasterio.open(published.folder / "scene_index.tif") as dataset:
        counts = np.bincount(dataset.read(1).ravel(), minlength=4)[1:]
    expected = sum(CLOUDS[name] * count for name, count in zip(SCENES, counts.tolist(), strict=True)) / counts.sum()
    assert properties["eo:cloud_cover"] == pytest.approx(expected, abs=1e-6)
    assert properties["processing:software"] == {"mosaic-processor": read_version()}
    assert properties["processing:version"] == read_version()
    assert "global_regression" in properties["processing:lineage"]
    assert properties["processing:expression"]["expression"].startswith("merge_rasters(")
    assert properties["start_datetime"] < properties["end_datetime"]


def test_overviews_are_means_of_the_valid_pixels(published: Published, mosaic: rasterio.DatasetReader) -> None:
    pixels = mosaic.read().astype(np.float64)
    height, width = (size // 2 * 2 for size in mosaic.shape)
    squares = pixels[:, :height, :width].reshape(3, height // 2, 2, width // 2, 2)
    counts = (squares != 0).sum(axis=(2, 4))
    means = squares.sum(axis=(2, 4)) / np.maximum(counts, 1)
    with rasterio.open(published.folder / "mosaic.tif", overview_level=0) as half:
        overview = half.read()[:, : height // 2, : width // 2]
    assert np.array_equal(overview == 0, counts == 0)
    assert np.abs(overview - means).max() <= 0.5


def test_the_scene_index_tells_the_scene_of_every_valid_pixel(published: Published, mosaic: rasterio.DatasetReader) -> None:
    valid = (mosaic.read() != 0).any(axis=0)
    with rasterio.open(published.folder / "scene_index.tif") as dataset:
        index, tags = dataset.read(1), dataset.tags()
        assert (dataset.shape, dataset.transform, dataset.crs) == (mosaic.shape, mosaic.transform, mosaic.crs)
        assert dataset.nodata == 0
    assert {key: text for key, text in tags.items() if key.startswith("SCENE_")} == {
        f"SCENE_{number}": name for number, name in enumerate(SCENES, start=1)
    }
    assert np.array_equal(index > 0, valid)
    assert set(np.unique(index)) == {0, 1, 2, 3}
    for number, name in enumerate(SCENES, start=1):
        with rasterio.open(published.items.parent / f"{name}.tif") as scene:
            rows, cols = np.nonzero(index == number)
            down, right = scene.bounds.top - mosaic.bounds.top, mosaic.bounds.left - scene.bounds.left  # pixels of 1 m
            there = scene.read(1)[rows + round(down), cols + round(right)]
        assert there.all()


def test_seams_vanish_because_the_scenes_differ_by_a_gain(published: Published) -> None:
    properties = published.item["properties"]
    assert properties["mosaic:coverage"] == 1
    assert properties["mosaic:residual_after"] < 0.05 * properties["mosaic:residual_before"]


def test_block_maps_lie_on_the_canvas(published: Published, mosaic: rasterio.DatasetReader) -> None:
    data = (published.folder / "block_maps.npz").read_bytes()
    saved = parse_block_maps(data, source="block_maps.npz", bands=3)
    assert saved.reference.grid.bounds.as_tuple() == pytest.approx(mosaic.bounds)
    assert sorted(saved.local) == list(SCENES)
    reference_values = saved.reference.values
    maps = [saved.local[name].expand() for name in SCENES]
    counts = np.isfinite(maps).sum(axis=0)
    assert np.array_equal(np.isnan(reference_values), counts == 0)
    expected = np.nansum(maps, axis=0)[counts > 0] / counts[counts > 0]
    assert reference_values[counts > 0] == pytest.approx(expected, rel=1e-6)


def test_the_cells_are_readable_and_cut_up_what_the_scenes_cover(published: Published, mosaic: rasterio.DatasetReader) -> None:
    cells = gpd.read_file(published.folder / "seamlines.gpkg", layer="seamlines")
    assert sorted(cells["image"]) == list(SCENES)
    assert cells.crs.to_epsg() == 32633
    assert cells.geometry.is_valid.all()
    union = union_all(cells.geometry.to_numpy())
    assert cells.geometry.area.sum() == pytest.approx(union.area, rel=1e-9)
    valid = (mosaic.read() != 0).any(axis=0).sum() * abs(mosaic.transform.a * mosaic.transform.e)
    assert union.area == pytest.approx(valid, rel=0.002)


def test_the_thumbnail_is_a_small_png(published: Published) -> None:
    data = (published.folder / "overview.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    assert max(width, height) < 600
    assert width / height == pytest.approx(1, abs=0.01)


def test_the_report_page_needs_nothing_but_the_files_beside_it(published: Published) -> None:
    page = (published.folder / "report.html").read_text()
    links = re.findall(r"""(?:\bhref|\bsrc|\baction|\bdata|\bposter|\bsrcset)\s*=\s*["']?([^"'\s>]+)""", page)
    links += re.findall(r"""url\(\s*["']?([^"')]+)""", page)
    outside = [link for link in links if not link.startswith(("data:", "#")) and link.removeprefix("./") not in FILES]
    assert outside == []
    assert "@import" not in page
    assert page.count("<script") == 1
    assert "script-src 'sha256-" in page


def test_the_report_for_programs_agrees_with_the_item(published: Published) -> None:
    report = json.loads((published.folder / "report.json").read_text())
    item = published.item["properties"]
    assert report["run"]["digest"] == item["mosaic:digest"]
    assert report["summary"]["residual_after"] == item["mosaic:residual_after"]
    assert [scene["name"] for scene in report["scenes"]] == list(SCENES)


def test_the_configuration_says_what_decides_the_result_and_its_digest(published: Published) -> None:
    text = (published.folder / "config.yaml").read_text()
    assert published.item["properties"]["mosaic:digest"] in text
    document = yaml.safe_load(text)
    assert document["local_block_adjustment"]["correction_method"] == "offset"
    assert "temp_dir" not in document["shared"]


def test_gains_are_published_as_an_artifact_and_not_as_something_a_reader_would_apply_again(published: Published) -> None:
    adjustments = json.loads((published.folder / "adjustments.json").read_text())
    assert set(adjustments) == set(SCENES)
    assert set(adjustments["a"]["overlap_stats"]) == {"b", "c"}
    text = (published.folder / "m.json").read_text()
    assert "raster:scale" not in text
    assert "raster:offset" not in text


def test_no_file_holds_a_secret_or_the_name_of_a_scratch_folder(published: Published) -> None:
    for name, data in read_files(published.folder).items():
        assert CANARY.encode() not in data, name
        assert published.scratch.name.encode() not in data, name
        assert b"mosaic-processor-" not in data.replace(b"/items/a.json", b""), name


def test_scratch_is_empty_afterwards(published: Published) -> None:
    assert list(published.scratch.iterdir()) == []
