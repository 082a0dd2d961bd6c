"""Published Items against the schemas of STAC 1.1.0 and of every extension they name, offline.

pystac ships the core's schemas, pyproj that of PROJJSON; those of the extensions lie in ``../shared/schemas``.
"""

from __future__ import annotations

import copy
import functools
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pystac
import pytest
import records
import shapely
from jsonschema import Draft7Validator
from pyproj.datadir import get_data_dir
from pystac.validation.local_validator import get_local_schema_cache
from records import make_artifact, make_grid
from referencing import Registry, Resource
from shapely import MultiPolygon, Polygon, box

from processor.config import Inputs
from processor.model import Band, Grid, Provenance, Scene
from processor.scenes.inputs import select_assets
from stac.extensions import EXTENSIONS
from stac.read.items import parse_item_collection
from stac.write.assets import MosaicBand, RasterMetadata
from stac.write.collection import extend_collection, make_collection
from stac.write.item import Parent, create_item_collection
from stac.write.renders import create_classes

SCHEMAS = Path(__file__).parents[2].parent / "shared" / "schemas"
CORE = "https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/item.json"
COLLECTION = "https://schemas.stacspec.org/v1.1.0/collection-spec/json-schema/collection.json"
UNSTORED = {EXTENSIONS[name] for name in ("alternate-assets", "render", "classification", "web-map-links")}
"""Extensions whose schemas are used where they lie here too; what they ask for is tested below besides."""
COG = "image/tiff; application=geotiff; profile=cloud-optimized"


@functools.cache
def schemas() -> dict[str, Any]:
    """Every schema that may be needed, by its URI."""
    found: dict[str, Any] = dict(get_local_schema_cache())
    found["https://proj.org/schemas/v0.7/projjson.schema.json"] = json.loads(
        (Path(get_data_dir()) / "projjson.schema.json").read_text()
    )
    for path in sorted(SCHEMAS.glob("*/*/schema.json")):
        found[f"https://stac-extensions.github.io/{path.parent.relative_to(SCHEMAS)}/schema.json"] = json.loads(
            path.read_text()
        )
    return found


@functools.cache
def make_validator(uri: str) -> Draft7Validator:
    registry: Registry[Any] = Registry().with_resources(
        [(name, Resource.from_contents(schema)) for name, schema in schemas().items()]
    )
    return Draft7Validator(schemas()[uri], registry=registry)


def find_problems(item: dict[str, Any]) -> list[str]:
    """What the schemas of the core and of the extensions that the Item names say against it, as far as they are here."""
    uris = [CORE, *(uri for uri in item["stac_extensions"] if uri in schemas() or uri not in UNSTORED)]
    return [f"{uri}: {error.json_path}: {error.message}" for uri in uris for error in make_validator(uri).iter_errors(item)]


UTM = make_grid(32735, 254_815, 6_274_785, pixel=5, size=200)


def make_scene(name: str, **provenance: Any) -> Scene:
    return records.make_scene(name, grid=UTM, provenance=Provenance(**provenance))


def make_item(grid: Grid = UTM, footprint: Polygon | MultiPolygon | None = None, **changes: Any) -> dict[str, Any]:
    """An Item with everything in it."""
    properties = {"platform": "aerial", "instruments": ["camera"], "constellation": "one", "gsd": 5}
    scenes = (
        make_scene("a", start="2020-01-01T00:00:00Z", end="2020-01-01T00:00:00Z", properties=properties),
        make_scene("b", self_href="s3://in/b.json", start="2020-01-02T00:00:00.25Z", properties=properties),
    )
    bands = tuple(
        MosaicBand(
            name=name,
            dtype="uint16",
            nodata=0,
            common_name=name,
            minimum=1,
            maximum=2,
            mean=1.5,
            stddev=0.5,
            valid_percent=99.5,
        )
        for name in ("red", "nir")
    )
    index_grid = make_grid(32735, grid.left, grid.top, pixel=50)
    arguments: dict[str, Any] = {
        "item_id": "mosaic-1",
        "scenes": scenes,
        "grid": grid,
        "footprint": footprint if footprint is not None else box(*grid.bounds.as_tuple()),
        "artifacts": (
            make_artifact(),
            make_artifact("block_map_reference", "block_maps/reference.tif", role="metadata"),
            make_artifact("seamlines", "seamlines.gpkg", role="metadata", media_type="application/geopackage+sqlite3"),
        ),
        "rasters": {
            "mosaic": RasterMetadata(bands=bands),
            "block_map_reference": RasterMetadata(
                bands=(MosaicBand(name="red", dtype="float64", nodata=math.nan),), grid=index_grid
            ),
        },
        "created": "2024-05-06T07:08:09Z",
        "digest": "0123",
        "version": "0.1.0",
        "stages": ("global_regression", "merge_rasters"),
        "properties": {"coverage": 0.75, "residual_before": [1.5, math.nan], "findings": {"warning": 1}},
        "self_href": "s3://out/mosaic-1/mosaic-1.json",
    }
    return records.create_item_from(arguments | changes)


def unknown_times() -> dict[str, Any]:
    return make_item(scenes=(make_scene("a"),), self_href=None)


def across_the_antimeridian() -> dict[str, Any]:
    grid = make_grid(32660, 700_000, 5_500_000, pixel=500, size=200)
    return make_item(grid, box(*grid.bounds.as_tuple()).difference(box(710_000, 5_430_000, 730_000, 5_480_000)))


def parts_with_holes() -> dict[str, Any]:
    left, bottom, right, top = UTM.bounds.as_tuple()
    holed = box(left, bottom, left + 400, top).difference(box(left + 100, bottom + 100, left + 200, top - 100))
    return make_item(UTM, MultiPolygon([holed, box(right - 300, bottom, right, top)]))


def make_announced() -> dict[str, Any]:
    """An Item of a Collection, with absolute hrefs and others where it can be read too."""
    parent = Parent(href="s3://out/collection.json", collection="mosaics", root_href="s3://out/catalog.json")
    return make_item(parent=parent, hrefs="absolute", public_folder="https://data.example.org/mosaic-1")


def make_sensed() -> dict[str, Any]:
    """An Item whose inputs tell of clouds, angles and tiles."""
    told = {"eo:cloud_cover": 12.5, "view:off_nadir": 3, "view:sun_azimuth": 350.0, "view:sun_elevation": 40.5}
    other = {**told, "eo:cloud_cover": 80, "view:sun_azimuth": 20.0}
    scenes = tuple(
        make_scene(name, start="2020-01-01T00:00:00Z", properties={**properties, "grid:code": "MGRS-33UVP"})
        for name, properties in (("a", told), ("b", other))
    )
    item = make_item(scenes=scenes, owned={"a": 3, "b": 1})
    assert item["properties"]["eo:cloud_cover"] == 29.375
    return item


ITEMS: dict[str, Callable[[], dict[str, Any]]] = {
    "everything": make_item,
    "unknown times": unknown_times,
    "geographic": lambda: make_item(make_grid(4326, 10, 50, pixel=0.001)),
    "no EPSG code": lambda: make_item(make_grid("+proj=laea +lat_0=52 +lon_0=10 +datum=WGS84", 1000, 1000)),
    "vertical too": lambda: make_item(make_grid("EPSG:32735+5773", 254_815, 6_274_785)),
    "local CRS": lambda: make_item(make_grid('LOCAL_CS["plane",UNIT["metre",1]]', 0, 1000)),
    "no CRS": lambda: make_item(Grid(crs="", left=0, top=9, pixel_width=1, pixel_height=1, width=9, height=9)),
    "antimeridian": across_the_antimeridian,
    "pole": lambda: make_item(make_grid(3031, -1e6, 1e6, pixel=10_000, size=200)),
    "parts with holes": parts_with_holes,
    "float with NaN": lambda: make_item(
        rasters={"mosaic": RasterMetadata(bands=(MosaicBand(name="x", dtype="float32", nodata=math.nan, mean=math.nan),))}
    ),
    "announced": make_announced,
    "clouds, sun and a grid": make_sensed,
    "no rasters": lambda: make_item(rasters={}),
    "no artifacts": lambda: make_item(artifacts=(), rasters={}),
}


@pytest.fixture(params=ITEMS)
def item(request: pytest.FixtureRequest) -> dict[str, Any]:
    made: dict[str, Any] = ITEMS[request.param]()
    return made


def test_alternates_are_objects_with_an_href(item: dict[str, Any]) -> None:
    """What the schema of alternate-assets asks for, which is not among those that lie here."""
    for asset in item["assets"].values():
        for alternate in asset.get("alternate", {}).values():
            assert isinstance(alternate["href"], str)
            assert alternate["href"] != asset["href"]


def test_renders_name_assets_and_ranges_and_links_to_tiles_name_a_render() -> None:
    """What the schemas of render and web-map-links ask for."""
    item = make_item(
        public_folder="https://data.example.org/mosaic-1",
        tiles="https://t.example.org/{z}/{x}/{y}.png?url={mosaic}&item={item}",
    )
    renders = item["properties"]["renders"]
    assert renders
    for render in renders.values():
        assert set(render["assets"]) <= item["assets"].keys()
        assert all(len(limits) == 2 and limits[0] < limits[1] for limits in render.get("rescale", ()))
    (link,) = [link for link in item["links"] if link["rel"] == "xyz"]
    assert all(place in link["href"] for place in ("{z}", "{x}", "{y}", "mosaic-1%2Fmosaic.tif", "mosaic-1%2Fmosaic-1.json"))
    assert link["render"] in renders
    assert {EXTENSIONS["render"], EXTENSIONS["web-map-links"]} <= set(item["stac_extensions"])


def test_classes_have_a_value_a_name_for_programs_and_a_colour() -> None:
    """What the schema of classification asks for."""
    scenes = [make_scene("a"), make_scene("Plot 7/ü", title="Plot 7/ü")]
    classes = create_classes(scenes)
    assert [found["value"] for found in classes] == [0, 1, 2]
    assert all(re.fullmatch(r"[0-9A-Za-z-_]+", found["name"]) for found in classes)
    assert all(re.fullmatch(r"[0-9A-F]{6}", found["color_hint"]) for found in classes[1:])
    assert classes[2]["title"] == "Plot 7/ü"
    assert create_classes(scenes * 51) == []


def test_collections_keep_to_the_schemas(item: dict[str, Any]) -> None:
    if not any(link["rel"] == "self" for link in item["links"]):
        pytest.skip("an Item without a place is in no Collection")
    collection = make_collection(item, "mosaics", href="s3://out/collection.json")
    other = copy.deepcopy(item) | {"id": "other"}
    other["links"][0]["href"] = "s3://out/other/other.json"
    for document in (collection, extend_collection(collection, other, href="s3://out/collection.json")):
        need_schemas(document)
        uris = [COLLECTION, *(uri for uri in document["stac_extensions"] if uri in schemas() or uri not in UNSTORED)]
        problems = [f"{uri}: {error.message}" for uri in uris for error in make_validator(uri).iter_errors(document)]
        assert problems == []
        assert pystac.Collection.from_dict(copy.deepcopy(document), migrate=False).id == "mosaics"


def need_schemas(item: dict[str, Any]) -> None:
    missing = [uri for uri in item["stac_extensions"] if uri not in schemas() and uri not in UNSTORED]
    if missing:
        pytest.skip(f"the extensions' schemas are not in {SCHEMAS}: {', '.join(missing)}")


def test_item_keeps_to_the_core_schema(item: dict[str, Any]) -> None:
    assert [f"{error.json_path}: {error.message}" for error in make_validator(CORE).iter_errors(item)] == []


def test_item_keeps_to_the_schemas_of_its_extensions(item: dict[str, Any]) -> None:
    need_schemas(item)
    assert find_problems(item) == []


def test_fields_of_an_extension_are_used_only_where_it_is_named(item: dict[str, Any]) -> None:
    prefixes = {"projection": "proj:", "raster": "raster:", "eo": "eo:", "processing": "processing:", "file": "file:"}
    prefixes |= {"view": "view:", "grid": "grid:"}
    text = json.dumps(item)
    for name, prefix in prefixes.items():
        assert bool(re.search(rf'"{prefix}\w+": ', text)) == (EXTENSIONS[name] in item["stac_extensions"])


def test_item_holds_no_number_that_json_cannot_hold(item: dict[str, Any]) -> None:
    assert json.loads(json.dumps(item, allow_nan=False)) == item
    assert "NaN" not in json.dumps(item)


def test_geometry_is_valid_and_within_its_bbox(item: dict[str, Any]) -> None:
    if item["geometry"] is None:
        assert "bbox" not in item
        return
    geometry = shapely.geometry.shape(item["geometry"])
    assert geometry.is_valid
    assert geometry.area > 0
    west, south, east, north = item["bbox"]
    for x, y in shapely.get_coordinates(geometry).tolist():
        assert south <= y <= north
        assert west <= x <= east if west <= east else x >= west or x <= east


def test_pystac_reads_the_item_as_it_is(item: dict[str, Any]) -> None:
    read = pystac.Item.from_dict(copy.deepcopy(item), migrate=False)
    assert read.to_dict(transform_hrefs=False) == item
    assert read.get_self_href() == next((link["href"] for link in item["links"] if link["rel"] == "self"), None)


def test_mosaics_can_be_inputs_of_mosaics() -> None:
    collection = create_item_collection(make_item())
    (ref,) = parse_item_collection(collection, base="s3://elsewhere/", is_remote=True, selection=select_assets(Inputs()))
    assert ref.name == "mosaic-1"
    assert ref.rasters[0].href == "s3://out/mosaic-1/mosaic.tif"
    assert ref.rasters[0].asset == "mosaic"
    assert ref.rasters[0].bands == (Band(name="red", common_name="red"), Band(name="nir", common_name="nir"))
    assert ref.provenance.self_href == "s3://out/mosaic-1/mosaic-1.json"
    assert (ref.provenance.start, ref.provenance.end) == ("2020-01-01T00:00:00Z", "2020-01-02T00:00:00.250000Z")


BREAKAGES: dict[str, tuple[tuple[str, ...], Any]] = {
    "projection": (("properties", "proj:shape"), [1.5, 2]),
    "projection: PROJJSON": (("properties", "proj:projjson"), {"type": "NoSuchCRS"}),
    "raster": (("assets", "mosaic", "raster:spatial_resolution"), "5 m"),
    "eo": (("assets", "mosaic", "eo:bands"), [{"common_name": "ultraviolet"}]),
    "processing": (("properties", "processing:software"), {"mosaic-processor": 1}),
    "file": (("assets", "mosaic", "file:checksum"), "sha256:0A"),
    "core: data type": (("assets", "mosaic", "bands"), [{"eo:common_name": "red", "data_type": "complex64"}]),
    "core: time": (("properties", "datetime"), "2020-01-01T00:00:00+01:00"),
    "core: geometry": (("geometry",), {"type": "Polygon", "coordinates": [[0, 0]]}),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_schemas_find_what_is_broken(name: str) -> None:
    item = make_item()
    need_schemas(item)
    path, value = BREAKAGES[name]
    target = item
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    assert find_problems(item)
