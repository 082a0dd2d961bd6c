"""The published Item: what it says of pixels, time, origin and files."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pystac
import pytest
import records
from pyproj import CRS
from shapely import Polygon, box

from processor.model import Grid, Provenance, Scaling, Scene
from stac.extensions import EXTENSIONS
from stac.write.assets import MosaicBand, RasterMetadata
from stac.write.item import Parent, create_item_collection

CREATED = "2024-05-06T07:08:09Z"
GRID = replace(records.make_grid(32735, 254_815, 6_274_785, pixel=5, size=40), height=30)
MOSAIC = records.make_artifact(title="Mosaic", size=123, sha256="ab" * 32)
BAND = MosaicBand(name="red", dtype="uint8", nodata=0, common_name="red", minimum=1, maximum=9, mean=5.5, stddev=1.5)


def make_scene(name: str = "a", *, href: str | None = None, **provenance: Any) -> Scene:
    href = href or f"s3://in/{name}.tif"
    return records.make_scene(name, grid=GRID, href=href, dtype="uint8", provenance=Provenance(**provenance))


def make_item(**changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "item_id": "m",
        "scenes": (make_scene(),),
        "grid": GRID,
        "footprint": box(*GRID.bounds.as_tuple()),
        "artifacts": (MOSAIC,),
        "rasters": {"mosaic": RasterMetadata(bands=(BAND,))},
        "created": CREATED,
        "digest": "d1",
        "stages": (),
        "version": "1.2.3",
    }
    return records.create_item_from(arguments | changes)


def test_item_is_json_of_stac_1_1() -> None:
    item = make_item()
    assert item["stac_version"] == "1.1.0"
    assert item["type"] == "Feature"
    text = json.dumps(item, allow_nan=False)
    assert item == json.loads(text)
    assert text == json.dumps(make_item())
    assert pystac.Item.from_dict(item).id == "m"


def test_grid_is_described_once_for_item_and_mosaic() -> None:
    item = make_item()
    properties, asset = item["properties"], item["assets"]["mosaic"]
    assert properties["proj:code"] == "EPSG:32735"
    assert "proj:wkt2" not in properties
    assert properties["proj:shape"] == [30, 40]
    assert properties["proj:transform"] == [5, 0, 254_815, 0, -5, 6_274_785]
    assert properties["proj:bbox"] == [254_815, 6_274_635, 255_015, 6_274_785]
    assert not [key for key in asset if key.startswith("proj:")]
    assert asset["raster:spatial_resolution"] == 5
    west, south, east, north = item["bbox"]
    assert 24 < west < east < 25
    assert -34 < south < north < -33


def test_raster_on_another_grid_has_its_own_shape() -> None:
    coarse = Grid(crs=GRID.crs, left=GRID.left, top=GRID.top, pixel_width=50, pixel_height=25, width=4, height=6)
    asset = make_item(rasters={"mosaic": RasterMetadata(bands=(BAND,), grid=coarse)})["assets"]["mosaic"]
    assert asset["proj:shape"] == [6, 4]
    assert asset["proj:transform"] == [50, 0, 254_815, 0, -25, 6_274_785]
    assert "proj:code" not in asset
    assert asset["raster:spatial_resolution"] == 37.5


@pytest.mark.parametrize(
    ("crs", "code"),
    [
        ("EPSG:3857", "EPSG:3857"),
        ("ESRI:102003", "ESRI:102003"),
        ("+proj=utm +zone=35 +south +datum=WGS84", "EPSG:32735"),
        ("+proj=utm +zone=35 +south +ellps=GRS80", None),
        ("+proj=laea +lat_0=-34 +lon_0=24 +datum=WGS84", None),
        ("EPSG:32735+5773", None),
    ],
)
def test_code_is_given_only_where_it_stands_for_exactly_this_crs(crs: str, code: str | None) -> None:
    grid = records.make_grid(crs, 1000, 1000, pixel=1, size=10)
    properties = make_item(grid=grid, footprint=box(*grid.bounds.as_tuple()))["properties"]
    assert properties["proj:code"] == code
    if code is None:
        assert CRS.from_wkt(properties["proj:wkt2"]).equals(CRS.from_wkt(grid.crs))
        assert CRS.from_json_dict(properties["proj:projjson"]).equals(CRS.from_wkt(grid.crs))
    else:
        assert "proj:wkt2" not in properties


@pytest.mark.parametrize(
    ("grid", "metres"),
    [
        (records.make_grid(4326, 10, 1, pixel=0.001), pytest.approx(110.9, abs=0.1)),
        (records.make_grid(2263, 980_000, 200_000, pixel=2), pytest.approx(0.6096, abs=1e-4)),
    ],
    ids=["degrees", "feet"],
)
def test_resolution_is_in_metres(grid: Grid, metres: float) -> None:
    item = make_item(grid=grid, footprint=box(*grid.bounds.as_tuple()))
    assert item["properties"]["gsd"] == item["assets"]["mosaic"]["raster:spatial_resolution"] == metres


def test_local_crs_leaves_the_geometry_null() -> None:
    grid = records.make_grid('LOCAL_CS["plane",UNIT["metre",1]]', 0, 9, pixel=1, size=9)
    item = make_item(grid=grid, footprint=box(0, 0, 9, 9))
    assert item["geometry"] is None
    assert "bbox" not in item


def test_bands_have_type_nodata_and_statistics() -> None:
    (band,) = make_item()["assets"]["mosaic"]["bands"]
    assert band == {
        "name": "red",
        "data_type": "uint8",
        "eo:common_name": "red",
        "nodata": 0,
        "statistics": {"minimum": 1, "maximum": 9, "mean": 5.5, "stddev": 1.5},
    }


@pytest.mark.parametrize(("value", "text"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")])
def test_nodata_that_json_cannot_hold_is_a_word(value: float, text: str) -> None:
    band = MosaicBand(name="x", dtype="float32", nodata=value, minimum=math.nan, maximum=math.inf, description="d")
    item = make_item(rasters={"mosaic": RasterMetadata(bands=(band,))})
    assert item["assets"]["mosaic"]["bands"] == [{"name": "x", "data_type": "float32", "description": "d", "nodata": text}]


def test_common_names_that_the_extension_does_not_know_are_left_out() -> None:
    item = make_item(
        rasters={"mosaic": RasterMetadata(bands=(MosaicBand(name="x", dtype="complex64", common_name="ultraviolet"),))}
    )
    assert item["assets"]["mosaic"]["bands"] == [{"name": "x", "data_type": "other"}]
    assert item["assets"]["mosaic"]["eo:bands"] == [{"name": "x"}]
    assert EXTENSIONS["eo"] in make_item()["stac_extensions"]


def test_meaning_of_values_is_told_where_the_inputs_tell_it() -> None:
    band = MosaicBand(name="B04", dtype="uint16", scaling=Scaling(scale=0.0001, offset=-0.1))
    item = make_item(rasters={"mosaic": RasterMetadata(bands=(band,))})
    (told,) = item["assets"]["mosaic"]["bands"]
    assert told == {"name": "B04", "data_type": "uint16", "raster:scale": 0.0001, "raster:offset": -0.1}
    assert EXTENSIONS["raster"] in item["stac_extensions"]


def test_assets_have_relative_hrefs_sizes_and_multihashes() -> None:
    about = {"role": "metadata", "media_type": "text/html", "title": "Report"}
    report = records.make_artifact("report", "report/a b.html", **about, size=5, sha256="00" * 32)
    assets = make_item(artifacts=(MOSAIC, report))["assets"]
    assert list(assets) == ["mosaic", "report"]
    assert assets["mosaic"]["href"] == "./mosaic.tif"
    assert assets["mosaic"]["file:checksum"] == "1220" + "ab" * 32
    assert assets["mosaic"]["roles"] == ["data"]
    assert assets["report"] == {
        "href": "./report/a%20b.html",
        "type": "text/html",
        "title": "Report",
        "file:size": 5,
        "file:checksum": "1220" + "00" * 32,
        "roles": ["metadata"],
    }


def test_every_input_has_a_link() -> None:
    scenes = (
        make_scene("a", self_href="https://api/collections/c/items/a"),
        make_scene("b", href="https://u:p@host/b.tif?X-Amz-Signature=secret"),
        make_scene("c", href="/data/c.jp2"),
    )
    links = make_item(scenes=scenes)["links"]
    assert links == [
        {"rel": "derived_from", "href": "https://api/collections/c/items/a", "type": "application/geo+json", "title": "a"},
        {"rel": "via", "href": "https://host/b.tif", "type": "image/tiff; application=geotiff", "title": "b"},
        {"rel": "via", "href": "file:///data/c.jp2", "type": "image/jp2", "title": "c"},
    ]


@pytest.mark.parametrize(
    ("self_href", "expected"),
    [("s3://out/m/m.json", "s3://out/m/m.json"), ("/out/m.json", "file:///out/m.json"), ("m.json", None), (None, None)],
)
def test_self_link_is_absolute_or_absent(self_href: str | None, expected: str | None) -> None:
    links = [link["href"] for link in make_item(self_href=self_href)["links"] if link["rel"] == "self"]
    assert links == ([expected] if expected else [])


def times(item: dict[str, Any]) -> tuple[Any, Any, Any]:
    properties = item["properties"]
    return properties["datetime"], properties.get("start_datetime"), properties.get("end_datetime")


def test_time_spans_all_inputs_and_one_moment_is_a_datetime() -> None:
    moment = {"start": "2020-01-02T00:00:00Z", "end": "2020-01-02T00:00:00Z"}
    longer = make_scene("a", start="2020-01-02T00:00:00.5Z", end="2020-01-03T00:00:00Z")
    assert times(make_item(scenes=(longer, make_scene("b", **moment)))) == (None, moment["end"], "2020-01-03T00:00:00Z")
    item = make_item(scenes=tuple(make_scene(name, **moment) for name in "ab"))
    assert times(item) == (moment["end"], None, None)
    assert item["properties"]["processing:lineage"] == "Mosaic of 2 scenes."


def test_unknown_time_is_that_of_processing_and_the_lineage_says_so() -> None:
    item = make_item(stages=("global_regression", "merge_rasters"))
    assert times(item) == (CREATED, None, None)
    lineage = item["properties"]["processing:lineage"]
    assert lineage == (
        "Mosaic of 1 scene, made by global_regression, merge_rasters; "
        "no acquisition time is known, so that datetime is the time of processing."
    )


def test_scenes_of_unknown_time_are_counted() -> None:
    item = make_item(scenes=(make_scene("a"), make_scene("b", start="2020-01-02T00:00:00Z")))
    assert times(item) == ("2020-01-02T00:00:00Z", None, None)
    assert "the acquisition time of 1 scene is unknown" in item["properties"]["processing:lineage"]


def test_created_and_updated_are_the_given_time() -> None:
    properties = make_item(created="2024-05-06T09:08:09+00:00")["properties"]
    assert (properties["created"], properties["updated"]) == ("2024-05-06T09:08:09Z", "2024-05-06T09:08:09Z")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (
            {"platform": "p", "instruments": ["i"], "constellation": "c", "gsd": 3},
            {"platform": "p", "instruments": ["i"], "constellation": "c", "gsd": 3.0},
            {"platform": "p", "instruments": ["i"], "constellation": "c", "gsd": 3},
        ),
        ({"platform": "p", "instruments": ["i"]}, {"platform": "q", "instruments": ["j"]}, {"gsd": 5}),
        ({"platform": "p", "gsd": 3}, {}, {"gsd": 5}),
        ({"platform": 1, "instruments": "i", "gsd": True}, {"platform": 1, "instruments": "i", "gsd": True}, {"gsd": 5}),
        ({"gsd": -3}, {"gsd": -3}, {"gsd": 5}),
    ],
)
def test_sensor_is_told_where_all_inputs_agree(first: dict[str, Any], second: dict[str, Any], expected: dict[str, Any]) -> None:
    properties = make_item(scenes=(make_scene("a", properties=first), make_scene("b", properties=second)))["properties"]
    told = {key: properties[key] for key in ("platform", "instruments", "constellation", "gsd") if key in properties}
    assert told == expected


def test_software_digest_and_figures_are_properties() -> None:
    figures = {"coverage": np.float32(0.5), "residuals": [math.nan, np.float64(1.5)], "none": None, "shape": np.array([1, 2])}
    properties = make_item(properties=figures)["properties"]
    assert properties["processing:software"] == {"mosaic-processor": "1.2.3"}
    assert {key: value for key, value in properties.items() if key.startswith("mosaic:")} == {
        "mosaic:digest": "d1",
        "mosaic:scene_count": 1,
        "mosaic:geometry_tolerance": 1.75,
        "mosaic:coverage": 0.5,
        "mosaic:residuals": [None, 1.5],
        "mosaic:shape": [1, 2],
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"scenes": ()}, "at least one scene"),
        ({"artifacts": (MOSAIC, MOSAIC)}, "'mosaic'"),
        ({"footprint": Polygon()}, "empty"),
    ],
)
def test_impossible_mosaics_are_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        make_item(**changes)


@pytest.mark.parametrize(
    ("self_href", "expected"),
    [("s3://out/m/m.json", "s3://out/m/mosaic.tif"), ("/out/m.json", "file:///out/mosaic.tif"), (None, "./mosaic.tif")],
)
def test_collection_for_standard_output_has_absolute_hrefs_where_known(self_href: str | None, expected: str) -> None:
    item = make_item(self_href=self_href)
    before = json.dumps(item)
    collection = create_item_collection(item)
    assert collection["type"] == "FeatureCollection"
    (feature,) = collection["features"]
    assert feature["assets"]["mosaic"]["href"] == expected
    assert json.dumps(item) == before


S3 = "s3://out/mosaics/m/m.json"


def test_absolute_hrefs_lead_to_the_files_beside_the_item() -> None:
    elsewhere = records.make_artifact(
        "cells", "https://host/cells.gpkg?sig=1", role="metadata", media_type="application/geopackage+sqlite3"
    )
    assets = make_item(self_href=S3, hrefs="absolute", artifacts=(MOSAIC, elsewhere))["assets"]
    assert assets["mosaic"]["href"] == "s3://out/mosaics/m/mosaic.tif"
    assert "alternate" not in assets["mosaic"]
    assert assets["cells"]["href"] == "https://host/cells.gpkg"


def test_absolute_hrefs_need_a_place() -> None:
    with pytest.raises(ValueError, match=r"m\.json"):
        make_item(self_href="m.json", hrefs="absolute")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"self_href": "/out/m/m.json"}, None),
        ({"self_href": S3}, {"s3": "s3://out/mosaics/m/mosaic.tif"}),
        ({"self_href": S3.replace("s3", "gs")}, {"gs": "gs://out/mosaics/m/mosaic.tif"}),
        (
            {"self_href": S3, "public_folder": "https://data.example.org/m/"},
            {"s3": "s3://out/mosaics/m/mosaic.tif", "https": "https://data.example.org/m/mosaic.tif"},
        ),
        (
            {"self_href": "/out/m/m.json", "public_folder": "http://data.example.org/m"},
            {"http": "http://data.example.org/m/mosaic.tif"},
        ),
    ],
)
def test_alternates_name_every_other_place(changes: dict[str, Any], expected: dict[str, str] | None) -> None:
    item = make_item(**changes)
    alternate = item["assets"]["mosaic"].get("alternate")
    found = {name: place["href"] for name, place in alternate.items()} if alternate else None
    assert found == expected
    assert (EXTENSIONS["alternate-assets"] in item["stac_extensions"]) == (expected is not None)


def test_an_item_of_a_collection_leads_to_it() -> None:
    parent = Parent(href="s3://out/mosaics/collection.json", collection="mosaics")
    item = make_item(self_href=S3, parent=parent)
    assert item["collection"] == "mosaics"
    links = {link["rel"]: link["href"] for link in item["links"] if link["rel"] != "via"}
    assert links == {
        "self": S3,
        "root": "../collection.json",
        "parent": "../collection.json",
        "collection": "../collection.json",
    }


def test_an_item_of_a_catalog_has_no_collection() -> None:
    item = make_item(self_href="/out/m/m.json", hrefs="absolute", parent=Parent(href="/out/catalog.json"))
    assert "collection" not in item
    links = {link["rel"]: link["href"] for link in item["links"] if link["rel"] not in {"via", "self"}}
    assert links == {"root": "file:///out/catalog.json", "parent": "file:///out/catalog.json"}


def test_root_may_be_above_the_collection() -> None:
    parent = Parent(href="s3://out/c/collection.json", collection="c", root_href="s3://out/catalog.json")
    links = make_item(self_href="s3://out/c/m/m.json", parent=parent)["links"]
    assert {"rel": "root", "href": "../../catalog.json", "type": "application/json"} in links
    assert {"rel": "parent", "href": "../collection.json", "type": "application/json"} in links


def test_links_on_standard_output_are_absolute() -> None:
    parent = Parent(href="s3://out/mosaics/collection.json", collection="mosaics")
    (feature,) = create_item_collection(make_item(self_href=S3, parent=parent))["features"]
    hrefs = {link["rel"]: link["href"] for link in feature["links"]}
    assert hrefs["collection"] == hrefs["root"] == "s3://out/mosaics/collection.json"


def weigh(values: list[object], owned: dict[str, int] | None, key: str = "eo:cloud_cover") -> object:
    """What an Item says of scenes a, b, … with these values."""
    scenes = tuple(make_scene("abc"[position], properties={key: value}) for position, value in enumerate(values))
    return make_item(scenes=scenes, owned=owned)["properties"].get(key)


@pytest.mark.parametrize(
    ("values", "owned", "expected"),
    [
        ([10, 40], {"a": 300, "b": 100}, 17.5),
        ([10, 40], {"a": 1}, 10.0),
        ([10, None], {"a": 1, "b": 0}, 10.0),
        ([10, None], {"a": 1, "b": 1}, None),
        ([10, 101], {"a": 1, "b": 1}, None),
        ([10, True], {"a": 1, "b": 1}, None),
        ([10, "40"], {"a": 1, "b": 1}, None),
        ([10, 40], {}, None),
        ([10, 40], None, None),
        ([10, 10], None, 10.0),
    ],
)
def test_cloud_cover_is_weighted_by_the_pixels_that_scenes_contribute(
    values: list[object], owned: dict[str, int] | None, expected: float | None
) -> None:
    assert weigh(values, owned) == expected


@pytest.mark.parametrize(
    ("key", "values", "expected"),
    [
        ("view:sun_azimuth", [350, 10], 0.0),
        ("view:sun_azimuth", [80, 100], 90.0),
        ("view:sun_azimuth", [90, 270], None),
        ("view:sun_azimuth", [359, 357], 358.0),
        ("view:sun_elevation", [-10, 30], 10.0),
        ("view:off_nadir", [2, 4], 3.0),
        ("view:off_nadir", [2, -4], None),
    ],
)
def test_angles_are_means(key: str, values: list[object], expected: float | None) -> None:
    found = weigh(values, {"a": 5, "b": 5}, key)
    assert found == (pytest.approx(expected, abs=1e-6) if expected is not None else None)


def test_sun_and_tile_of_a_sentinel_2_item_are_known_in_its_own_words() -> None:
    properties = {"s2:mean_solar_zenith": 40.0, "s2:mean_solar_azimuth": 150.0, "s2:mgrs_tile": "35HLC"}
    item = make_item(scenes=(make_scene("a", properties=properties), make_scene("b", properties=properties)))
    told = {key: value for key, value in item["properties"].items() if key.startswith(("view:", "grid:"))}
    assert told == {"view:sun_azimuth": 150.0, "view:sun_elevation": 50.0, "grid:code": "MGRS-35HLC"}
    assert {EXTENSIONS["view"], EXTENSIONS["grid"]} <= set(item["stac_extensions"])


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [("MGRS-35HLC", "MGRS-35HLC", "MGRS-35HLC"), ("MGRS-35HLC", "MGRS-35HLD", None), ("35 HLC", "35 HLC", None)],
)
def test_grid_code_is_told_where_all_agree(first: str, second: str, expected: str | None) -> None:
    scenes = (make_scene("a", properties={"grid:code": first}), make_scene("b", properties={"grid:code": second}))
    assert make_item(scenes=scenes)["properties"].get("grid:code") == expected


def test_processing_is_told_with_version_and_expression() -> None:
    properties = make_item(
        scenes=(make_scene(properties={"processing:level": "L2A"}),), stages=("global_regression", "merge_rasters")
    )["properties"]
    assert properties["processing:version"] == "1.2.3"
    assert properties["processing:level"] == "L2A"
    assert properties["processing:expression"] == {
        "format": "mosaic-processor",
        "expression": "merge_rasters(global_regression(scenes))",
    }
    assert "processing:expression" not in make_item()["properties"]


def test_description_says_what_is_known() -> None:
    scenes = (
        make_scene("a", start="2020-01-02T00:00:00Z", properties={"platform": "p"}),
        make_scene("b", start="2020-01-04T00:00:00Z", properties={"platform": "q"}),
    )
    assert make_item(scenes=scenes)["properties"]["description"] == (
        "Radiometrically matched, seamless mosaic of 2 overlapping scenes of p, q, taken from 2020-01-02 to 2020-01-04, "
        "pixels of 5 m."
    )
    assert make_item()["properties"]["description"] == ("Radiometrically matched, seamless mosaic of one scene, pixels of 5 m.")
