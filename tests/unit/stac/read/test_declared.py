"""What Items of both STAC versions say of the files behind their assets, and the bucket that they are in."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from pyproj import CRS

from processor.model import Declared
from stac.fields import AssetFields, ItemFields
from stac.read.declared import find_endpoint, find_resolution, parse_declared, parse_storage


def make_asset(fields: dict[str, Any], **properties: Any) -> AssetFields:
    item = ItemFields(name="a", assets={"x": fields}, properties=properties, collection=None)
    return AssetFields(key="x", fields=fields, item=item)


TRANSFORM = (10.0, 0.0, 300000.0, 0.0, -10.0, 5000000.0)


@pytest.mark.parametrize(
    ("fields", "properties", "expected"),
    [
        ({}, {}, Declared()),
        ({"proj:shape": [3, 4]}, {"proj:shape": [5, 6]}, Declared(shape=(3, 4))),
        ({}, {"proj:shape": [10980.0, 10980.0]}, Declared(shape=(10980, 10980))),
        ({"proj:transform": [*TRANSFORM]}, {}, Declared(transform=TRANSFORM)),
        ({"proj:transform": [*TRANSFORM, 0, 0, 1]}, {}, Declared(transform=TRANSFORM)),
        ({"proj:code": "epsg:32632"}, {"proj:epsg": 1}, Declared(crs="EPSG:32632")),
        ({}, {"proj:epsg": 32633}, Declared(crs="EPSG:32633")),
        ({"proj:code": None}, {"proj:epsg": 32633}, Declared(crs="EPSG:32633")),
        ({"nodata": 0}, {}, Declared(nodata=0.0)),
        ({"nodata": "-inf"}, {}, Declared(nodata=-math.inf)),
        ({"raster:bands": [{"nodata": 5}, {"nodata": 5}]}, {}, Declared(nodata=5.0)),
        ({"bands": [{"nodata": 5}, {"nodata": 6}]}, {}, Declared()),
        ({"bands": [{"nodata": 5}, {}], "nodata": 5}, {}, Declared(nodata=5.0)),
    ],
    ids=str,
)
def test_what_is_said_is_found_in_the_asset_first(
    fields: dict[str, Any], properties: dict[str, Any], expected: Declared
) -> None:
    assert parse_declared(make_asset(fields, **properties)) == expected


@pytest.mark.parametrize("text", ["nan", "NaN"])
def test_nodata_may_be_no_number(text: str) -> None:
    found = parse_declared(make_asset({"bands": [{"nodata": text}, {"nodata": text}]})).nodata
    assert found is not None
    assert math.isnan(found)


def test_a_crs_may_be_written_out() -> None:
    crs = CRS.from_epsg(32632)
    for fields in (
        {"proj:wkt2": crs.to_wkt()},
        {"proj:projjson": crs.to_json_dict()},
        {"proj:code": None, "proj:wkt2": crs.to_wkt()},
    ):
        assert parse_declared(make_asset(fields)).crs == crs.to_wkt()


@pytest.mark.parametrize(
    "fields",
    [
        {"proj:shape": [1]},
        {"proj:shape": [0, 5]},
        {"proj:shape": [1.5, 5]},
        {"proj:shape": ["1", "2"]},
        {"proj:shape": [True, 2]},
        {"proj:shape": [2**40, 1]},
        {"proj:shape": {"height": 1}},
        {"proj:transform": [1, 2, 3]},
        {"proj:transform": [*TRANSFORM[:5], math.inf]},
        {"proj:transform": [*TRANSFORM, 0, 1, 1]},
        {"proj:transform": [*TRANSFORM[:5], 10**400]},
        {"proj:code": 32632},
        {"proj:code": "/etc/passwd"},
        {"proj:code": "EPSG:1\nx"},
        {"proj:epsg": -1},
        {"proj:epsg": True},
        {"proj:epsg": "utm"},
        {"proj:code": "EPSG:None"},
        {"proj:wkt2": {"a": 1}},
        {"proj:wkt2": "nonsense"},
        {"proj:projjson": "x"},
        {"proj:projjson": {"type": "nonsense"}},
        {"nodata": "none"},
        {"nodata": True},
        {"nodata": 10**400},
        {"bands": [{"nodata": [1]}]},
    ],
    ids=str,
)
def test_what_cannot_be_used_is_noted_and_says_nothing(fields: dict[str, Any]) -> None:
    asset = make_asset(fields)
    assert parse_declared(asset) == Declared()
    (note,) = asset.item.unusable
    assert re.match(r"(proj:\w+|nodata) is .*, not ", note)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"proj:code": "EPSG:None", "proj:epsg": "32633"}, Declared(crs="EPSG:32633")),
        ({"proj:epsg": "EPSG:32633"}, Declared(crs="EPSG:32633")),
        ({"proj:epsg": 4326.0}, Declared(crs="EPSG:4326")),
        ({"proj:code": "", "proj:epsg": None, "proj:wkt2": ""}, Declared()),
        ({"proj:shape": [], "proj:transform": []}, Declared()),
        ({"proj:shape": [None, None], "proj:transform": [None] * 6}, Declared()),
        ({"nodata": "0"}, Declared(nodata=0)),
        ({"nodata": "-9999.0"}, Declared(nodata=-9999)),
        ({"nodata": ""}, Declared()),
        ({"bands": [{"nodata": "0"}, {"nodata": 0}]}, Declared(nodata=0)),
    ],
    ids=str,
)
def test_odd_ways_to_say_something_or_nothing(fields: dict[str, Any], expected: Declared) -> None:
    assert parse_declared(make_asset(fields)) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"gsd": 10}, 10),
        ({"gsd": "10"}, 10),
        ({"gsd": "ten", "raster:spatial_resolution": 20}, 20),
        ({"raster:bands": [{"spatial_resolution": 20}]}, 20),
        ({"raster:spatial_resolution": 30, "proj:transform": [*TRANSFORM]}, 30),
        ({"proj:transform": [*TRANSFORM]}, 10),
        ({}, math.inf),
    ],
    ids=str,
)
def test_pixel_sizes_are_compared_by_what_is_said_of_them(fields: dict[str, Any], expected: float) -> None:
    assert find_resolution(make_asset(fields)) == expected


# Buckets


@pytest.mark.parametrize(
    ("fields", "properties", "expected"),
    [
        ({}, {}, (False, None)),
        ({"storage:requester_pays": True, "storage:region": "us-west-2"}, {}, (True, "us-west-2")),
        ({}, {"storage:requester_pays": True}, (True, None)),
        ({"storage:requester_pays": False}, {"storage:requester_pays": True}, (False, None)),
        (
            {"storage:refs": ["aws"]},
            {"storage:schemes": {"aws": {"requester_pays": True, "region": "eu-central-1"}, "other": {"region": "x"}}},
            (True, "eu-central-1"),
        ),
        ({"storage:refs": ["none"]}, {"storage:schemes": {"aws": {"requester_pays": True}}}, (False, None)),
        ({"storage:refs": []}, {"storage:schemes": {"aws": {"requester_pays": True}}}, (False, None)),
    ],
    ids=str,
)
def test_who_pays_and_where_is_read_in_both_versions(
    fields: dict[str, Any], properties: dict[str, Any], expected: tuple[bool, str | None]
) -> None:
    asset = make_asset(fields, **properties)
    assert parse_storage(asset, asset.fields) == expected


def test_an_alternate_is_another_bucket() -> None:
    schemes = {"free": {"requester_pays": False}, "paid": {"requester_pays": True, "region": "us-west-2"}}
    alternate = {"href": "s3://b/1.tif", "storage:refs": ["paid"]}
    asset = make_asset({"storage:refs": ["free"], "alternate": {"s3": alternate}}, **{"storage:schemes": schemes})
    assert parse_storage(asset, asset.fields) == (False, None)
    assert parse_storage(asset, alternate) == (True, "us-west-2")
    own = make_asset({"storage:requester_pays": True, "storage:region": "us-west-2"})
    assert parse_storage(own, {"href": "s3://other/1.tif"}) == (False, None)


@pytest.mark.parametrize(
    ("fields", "properties"),
    [
        ({"storage:requester_pays": "yes"}, {}),
        ({"storage:region": "eu central 1"}, {}),
        ({"storage:region": "x" * 65}, {}),
        ({"storage:refs": "aws"}, {}),
        ({"storage:refs": [1]}, {}),
        ({"storage:refs": ["aws"]}, {"storage:schemes": []}),
        ({"storage:refs": ["aws"]}, {"storage:schemes": {"aws": "x"}}),
        ({"storage:refs": ["aws"]}, {"storage:schemes": {"aws": {"region": 3}}}),
    ],
    ids=str,
)
def test_what_is_said_of_buckets_in_another_type_is_noted(fields: dict[str, Any], properties: dict[str, Any]) -> None:
    asset = make_asset(fields, **properties)
    assert parse_storage(asset, asset.fields) == (False, None)
    assert len(asset.item.unusable) == 1


@pytest.mark.parametrize(
    ("scheme", "endpoint"),
    [
        ({"type": "custom-s3", "platform": "https://minio.example.org/{bucket}"}, "https://minio.example.org"),
        ({"type": "custom-s3", "platform": "https://{bucket}.ceph.example.org"}, "https://ceph.example.org"),
        ({"type": "custom-s3", "platform": "http://127.0.0.1:9000"}, "http://127.0.0.1:9000"),
        ({"type": "aws-s3", "platform": "https://{bucket}.s3.{region}.amazonaws.com"}, None),
        ({"type": "custom-s3", "platform": "https://me:pw@minio.example.org"}, None),
        ({"type": "ms-azure", "platform": "https://{account}.blob.core.windows.net"}, None),
        ({"type": "custom-s3", "platform": 3}, None),
    ],
    ids=str,
)
def test_a_server_that_a_scheme_names_is_found(scheme: dict[str, Any], endpoint: str | None) -> None:
    asset = make_asset({"storage:refs": ["own"]}, **{"storage:schemes": {"own": scheme}})
    assert find_endpoint(asset, asset.fields) == endpoint
    assert find_endpoint(asset, {}) is None
