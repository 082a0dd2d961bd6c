"""Programs of others open what a run publishes; each row of the table in docs/stac.md is a test here.

They are the group ``clients`` of pyproject.toml, which the development environment has. Their own warnings are theirs.
"""

from __future__ import annotations

import ctypes
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
from commands import CREATED, call_command, make_items

from processor.geotiff.libgdal import find_library

pytestmark = [
    pytest.mark.xdist_group("clients"),  # their one run is made by one worker
    pytest.mark.filterwarnings("ignore"),
]
COLOURS = ("red", "green", "blue", "nir")
SCENES = ("a", "b", "c")
PAGE = Path(__file__).parents[2] / "docs" / "stac.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The folder of a mosaic of four bands, which tells its license and where its tiles are."""

    folder: Path

    @property
    def path(self) -> Path:
        """The Item's file."""
        return self.folder / "m.json"

    @property
    def item(self) -> pystac.Item:
        """The Item as pystac reads it."""
        return pystac.Item.from_file(str(self.path))

    def file(self, key: str) -> str:
        """Path of an asset's file."""
        return str(self.folder / f"{key}.tif")

    def read(self, key: str) -> Any:
        """Pixels of an asset as rasterio reads them."""
        with rasterio.open(self.file(key)) as dataset:
            return dataset.read()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    items = make_items(tmp_path_factory.mktemp("scenes"), edge=160, bands=4)
    collection = json.loads(items.read_text())
    for feature in collection["features"]:
        for band, name in zip(feature["assets"]["image"]["bands"], COLOURS, strict=True):
            band |= {"name": name, "eo:common_name": name}
    items.write_text(json.dumps(collection))
    folder = tmp_path_factory.mktemp("run")
    finished = call_command(
        "run", str(items), "--output", "out", "--item-id", "m", "--created", CREATED,
        "--output.public_url", "https://data.example.org/mosaics",
        "--output.tiles_url", "https://tiles.example.org/cog/tiles/WebMercatorQuad/{z}/{x}/{y}.png?url={mosaic}",
        "--output.license", "CC-BY-4.0", "--output.providers", "[{name: Example Agency, roles: [producer]}]",
        "--collection", "mosaics",
        cwd=folder, scratch=folder / "scratch",
    )  # fmt: skip
    assert finished.code == 0, finished.stderr
    return Published(folder=folder / "out" / "m")


def list_parameters(render: dict[str, Any]) -> list[tuple[str, Any]]:
    """A render object as query of titiler, as its specification says."""
    query: list[tuple[str, Any]] = [("bidx", band) for band in render.get("bidx", ())]
    query += [("rescale", ",".join(map(str, limits))) for limits in render.get("rescale", ())]
    query += [("colormap", json.dumps(render["colormap"]))] if "colormap" in render else []
    return [*query, *((key, render[key]) for key in ("colormap_name", "resampling") if key in render)]


# One test a row


def test_pystac(published: Published) -> None:
    item = published.item
    assert [band.common_name for band in item.assets["mosaic"].ext.eo.bands or ()] == list(COLOURS)
    assert item.ext.proj.centroid is not None
    assert item.ext.render.renders["true-color"].assets == ["mosaic"]
    classes = item.assets["scene_index"].ext.classification.classes or ()
    assert [(found.value, found.name) for found in classes] == [(0, "none"), (1, "a"), (2, "b"), (3, "c")]
    collection = pystac.Collection.from_file(str(published.folder.parent / "collection.json"))
    assert (collection.license, [provider.name for provider in collection.providers or ()]) == ("CC-BY-4.0", ["Example Agency"])
    assert [found.id for found in collection.get_items()] == ["m"]
    assert "scene_index" in collection.item_assets


def test_odc_stac(published: Published) -> None:
    stac = pytest.importorskip("odc.stac")
    everything = stac.load([published.item])
    assert list(everything.data_vars) == [*COLOURS, "scene_index"]
    chosen = stac.load([published.item], bands=["nir", "red"])
    pixels = published.read("mosaic")
    for name, position in (("nir", 3), ("red", 0)):
        np.testing.assert_array_equal(chosen[name].values[0], pixels[position])
        assert chosen[name].odc.nodata == 0
    assert chosen.odc.crs.epsg == 32633


def test_rio_tiler(published: Published) -> None:
    io = pytest.importorskip("rio_tiler.io")
    with io.Reader(published.file("mosaic")) as reader:
        assert [text for _, text in reader.info().band_descriptions] == list(COLOURS)
    with io.Reader(published.file("scene_index")) as reader:
        colours = reader.info().colormap
        assert colours[1] == (0, 0x72, 0xB2, 255)
    with io.STACReader(str(published.path)) as reader:
        assert list(reader.assets) == ["mosaic", "scene_index"]
        picture = reader.preview(assets=["mosaic"], max_size=None)
    np.testing.assert_array_equal(picture.data[0], published.read("mosaic")[0])


def test_titiler(published: Published) -> None:
    factory = pytest.importorskip("titiler.core.factory")
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    app = FastAPI()
    app.include_router(factory.TilerFactory().router)
    with TestClient(app) as client:
        info = client.get("/info", params={"url": published.file("mosaic")}).json()
        assert [text for _, text in info["band_descriptions"]] == list(COLOURS)
        renders = published.item.properties["renders"]
        assert set(renders) == {"true-color", "scene-index"}
        for render in renders.values():
            (key,) = render["assets"]
            answer = client.get("/preview.png", params=[("url", published.file(key)), *list_parameters(render)])
            assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png"), answer.text


def test_rioxarray(published: Published) -> None:
    rioxarray = pytest.importorskip("rioxarray")
    with rioxarray.open_rasterio(published.file("mosaic"), band_as_variable=True) as bands:
        assert [bands[name].attrs["long_name"] for name in bands.data_vars] == list(COLOURS)
        assert bands.rio.crs.to_epsg() == 32633
        assert bands["band_1"].rio.nodata == 0
        np.testing.assert_array_equal(bands["band_4"].values, published.read("mosaic")[3])


def test_stac_valid(published: Published, tmp_path: Path) -> None:
    stac_validator = pytest.importorskip("stac_validator.stac_validator")
    from conformance import test_item_schemas as schemas

    if not schemas.SCHEMAS.is_dir():
        pytest.skip(f"the extensions' schemas are not in {schemas.SCHEMAS}")
    item = json.loads(published.path.read_text())
    places = {}
    for number, (uri, schema) in enumerate(schemas.schemas().items()):
        places[uri] = str(tmp_path / f"{number}.json")
        Path(places[uri]).write_text(json.dumps(schema))
    anything = tmp_path / "anything.json"
    anything.write_text("{}")
    places |= {uri: str(anything) for uri in item["stac_extensions"] if uri not in places}
    for change, is_valid in (({}, True), ({"proj:shape": [1.5, 2]}, False)):
        validator = stac_validator.StacValidate(extensions=True, schema_map=dict(places))
        document = {**item, "properties": {**item["properties"], **change}}
        assert validator.validate_dict(document) is is_valid, validator.message


def test_gdal(published: Published) -> None:
    """Names of the scene index's values, as gdalinfo and QGIS ask for them, and its colours."""
    library = find_library()
    if library is None:
        pytest.skip("GDAL's library is not found")
    calls = {
        "GDALOpen": (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int),
        "GDALGetProjectionRef": (ctypes.c_char_p, ctypes.c_void_p),
        "GDALGetRasterBand": (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int),
        "GDALGetRasterCategoryNames": (ctypes.POINTER(ctypes.c_char_p), ctypes.c_void_p),
        "GDALClose": (ctypes.c_int, ctypes.c_void_p),
    }
    for name, (result, *arguments) in calls.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    with rasterio.Env():
        dataset = library.GDALOpen(published.file("scene_index").encode(), 0)
        library.GDALGetProjectionRef(dataset)
        names = library.GDALGetRasterCategoryNames(library.GDALGetRasterBand(dataset, 1))
        assert [names[number].decode() for number in range(4)] == ["no scene", *SCENES]
        library.GDALClose(dataset)
    with rasterio.open(published.file("scene_index")) as raster:
        assert raster.colormap(1)[2] == (0xE6, 0x9F, 0x00, 255)
        assert raster.nodata == 0
        assert set(np.unique(raster.read(1)).tolist()) <= {0, 1, 2, 3}


def test_every_row_of_the_table_is_a_test() -> None:
    if not PAGE.is_file():
        pytest.skip("the page is in the repository's docs")
    table = PAGE.read_text(encoding="utf-8").partition("## Which programs open it")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([A-Za-z].*?) \| (?!what)", table, flags=re.MULTILINE)
    names = {f"test_{re.sub('[^a-z]+', '_', row.lower())}" for row in rows if row != "program"}
    assert len(names) >= 7
    assert names <= set(globals())
    assert {name for name in globals() if name.startswith("test_") and name != "test_every_row_of_the_table_is_a_test"} >= names


# What they read


def test_tiles_are_linked_with_how_they_are_shown(published: Published) -> None:
    (link,) = published.item.get_links("xyz")
    url = "https%3A%2F%2Fdata.example.org%2Fmosaics%2Fm%2Fmosaic.tif"
    assert link.get_href() == f"https://tiles.example.org/cog/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png?url={url}"
    assert link.extra_fields["render"] == "true-color"


def test_histograms_and_percentiles_are_those_of_the_pixels(published: Published) -> None:
    pixels = published.read("mosaic")
    valid = (pixels != 0).any(axis=0)
    for position, band in enumerate(published.item.assets["mosaic"].to_dict()["bands"]):
        values, histogram = pixels[position][valid], band["raster:histogram"]
        assert (histogram["min"], histogram["max"]) == (values.min(), values.max())
        expected, _ = np.histogram(values, bins=histogram["count"], range=(histogram["min"], histogram["max"]))
        assert histogram["buckets"] == expected.tolist()
    low, high = published.item.properties["renders"]["true-color"]["rescale"][0]
    ends = [np.percentile(pixels[position][valid], (2, 98)) for position in range(3)]
    assert low == pytest.approx(min(end[0] for end in ends))
    assert high == pytest.approx(max(end[1] for end in ends))
