"""Texts of coordinate reference systems: codes, WKT and PROJJSON, and nothing that names a file."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from processor.model.crs_text import check_crs_text, check_grid_files

SHIFTED = "+proj=longlat +ellps=bessel +nadgrids={} +type=crs"


@pytest.mark.parametrize(
    "text",
    [
        "EPSG:32632",
        "epsg:4326",
        "ESRI:54030",
        "OGC:CRS84",
        "IAU_2015:30100",
        "EPSG:25832+5783",
        "EPSG:25832+EPSG:5783",
        "urn:ogc:def:crs:EPSG::32632",
        CRS.from_epsg(32632).to_wkt("WKT2_2019"),
        CRS.from_epsg(32632).to_wkt("WKT1_GDAL"),
        CRS.from_epsg(32632).to_json(),
        CRS.from_epsg(3857).to_wkt("WKT1_GDAL"),
        CRS.from_user_input(SHIFTED.format("@null")).to_wkt("WKT2_2019"),
        CRS.from_user_input("+proj=utm +zone=33 +ellps=intl +towgs84=-87,-98,-121,0,0,0,0 +type=crs").to_wkt("WKT2_2019"),
    ],
)
def test_codes_wkt_and_projjson_are_taken(text: str) -> None:
    check_crs_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "32632.prj",
        "/etc/passwd",
        "./local.prj",
        "ESRI::/tmp/x.prj",
        "http://127.0.0.1:1/crs",
        "/vsicurl/http://127.0.0.1:1/crs",
        "+proj=longlat +nadgrids=/etc/passwd",
        "+init=epsg:4326",
        "IGNF:FILE/../../x",
        "EPSG:4326\n/etc/passwd",
        "WGS 84",
        "a" * 70_000 + "[",
    ],
)
def test_files_addresses_and_strings_of_parameters_are_not(text: str) -> None:
    with pytest.raises(ValueError, match="is no authority code such as EPSG:32632, WKT2 or PROJJSON"):
        check_crs_text(text)


@pytest.mark.parametrize("name", ["/etc/passwd", "https://cdn.proj.org/x.tif", "@conus", "us_noaa_conus.tif"])
def test_shift_grids_are_refused_by_name_in_every_notation(name: str) -> None:
    crs = CRS.from_user_input(SHIFTED.format(name))
    texts = [crs.to_wkt("WKT2_2019"), crs.to_json(), crs.to_wkt("WKT1_GDAL")]
    texts.append(f'GEOGCS["x",DATUM["y",SPHEROID["z",6378137,298],EXTENSION["PROJ4_GRIDS","{name}"]],PRIMEM["g",0]]')
    texts.append(f'PROJCS["x",EXTENSION["PROJ4","+proj=merc +nadgrids={name} +no_defs"]]')
    for text in texts:
        with pytest.raises(ValueError, match="names the shift grid"):
            check_crs_text(text)


def test_json_that_is_none_is_said_to_be_none() -> None:
    for text in ("{", '{"a": NaN', "{" * 50_000):
        with pytest.raises(ValueError, match="PROJJSON"):
            check_crs_text(text)


@given(st.text(max_size=200))
def test_any_text_is_taken_or_a_value_error(text: str) -> None:
    for check in (check_crs_text, check_grid_files):
        try:
            check(text)
        except ValueError:
            continue


def test_a_parameter_is_found_however_deep() -> None:
    document = {"a": [{"b": {"parameters": [{"name": "x", "value": 1}, {"name": "y", "value": "file.gsb"}]}}]}
    with pytest.raises(ValueError, match=r"'file\.gsb'"):
        check_grid_files(json.dumps(document))
