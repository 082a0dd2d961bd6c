"""A search as typed, made into a value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from processor.cli import commands as cli
from processor.cli.commands import main
from processor.cli.search_flags import read_search
from processor.errors import ConfigError
from stac.api.request import SearchRequest

API = "https://api.example.org/v1"
POLYGON = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}


def parse(*flags: str) -> SearchRequest | None:
    return read_search(cli.build_parser().parse_args(["run", "--output", "o", *flags]))


def search(*flags: str) -> SearchRequest:
    found = parse("--api", API, *flags)
    assert found is not None
    return found


def test_a_search_is_a_value() -> None:
    assert parse("in.json") is None
    assert search() == SearchRequest(api=API)
    assert search(
        *("--collections", "a,b", "--ids", "x, y", "--bbox", "-5.5,-1,7,2", "--datetime", "2024-06/2024-07"),
        *("--filter", "eo:cloud_cover < 10", "--sortby", "-properties.datetime,+id", "--max-items", "7"),
        *("--method", "get", "--page-size", "50", "--conforms", "-sort,query"),
    ) == SearchRequest(
        api=API,
        collections=("a", "b"),
        ids=("x", "y"),
        bbox=(-5.5, -1, 7, 2),
        datetime="2024-06/2024-07",
        filter="eo:cloud_cover < 10",
        sortby=("-properties.datetime", "+id"),
        max_items=7,
        method="GET",
        page_size=50,
        conforms=(("sort", False), ("query", True)),
    )


def test_a_value_that_begins_with_a_minus_is_one() -> None:
    assert search("--bbox=-1,-2,3,4").bbox == (-1, -2, 3, 4)
    assert search("--bbox", "-1,-2,3,4").bbox == (-1, -2, 3, 4)
    assert search("--sortby", "-id").sortby == ("-id",)


def test_a_bbox_may_have_heights_and_cross_the_antimeridian() -> None:
    assert search("--bbox", "170,-10,-5,-170,10,99").bbox == (170, -10, -5, -170, 10, 99)


@pytest.mark.parametrize(
    "document",
    [
        POLYGON,
        {"type": "Feature", "properties": {}, "geometry": POLYGON},
        {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": POLYGON}]},
    ],
    ids=lambda document: document["type"],
)
def test_a_geometry_is_text_or_a_file(document: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "area.geojson"
    file.write_text(json.dumps(document))
    assert search("--intersects", json.dumps(document)).intersects == POLYGON
    assert search("--intersects", str(file)).intersects == POLYGON


def test_a_filter_may_be_json() -> None:
    assert search("--filter", ' {"op": "=", "args": []}').filter == {"op": "=", "args": []}


@pytest.mark.parametrize("when", ["2024", "2024-06", "2024-06-01", "2024-06-01T12:00:00Z", "2024/..", "../2024-06", "2024-06/"])
def test_times_are_those_of_stac(when: str) -> None:
    assert search("--datetime", when).datetime == when


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--bbox", "1,2,3"), "--bbox '1,2,3': write west,south,east,north"),
        (("--bbox", "a,b,c,d"), "--bbox 'a,b,c,d'"),
        (("--bbox", "0,nan,1,1"), "--bbox '0,nan,1,1'"),
        (("--bbox", "0,5,1,1"), "south is not below north"),
        (("--bbox", "0,0,500000,1"), "beyond the Earth"),
        (("--datetime", "June"), "--datetime 'June'"),
        (("--datetime", "../.."), "--datetime '../..'"),
        (("--datetime", "2024-13"), "--datetime '2024-13'"),
        (("--datetime", "1/2/3"), "--datetime '1/2/3'"),
        (("--collections", "a,,b"), "--collections 'a,,b'"),
        (("--ids", ""), "--ids ''"),
        (("--sortby", "a b"), "--sortby 'a b'"),
        (("--max-items", "0"), "--max-items '0': write a whole number from 1"),
        (("--max-items", "many"), "--max-items 'many'"),
        (("--filter", " "), "--filter ' '"),
        (("--filter", "{x"), "it begins as JSON and is none"),
        (("--intersects", "/no/such/file"), "--intersects '/no/such/file'"),
        (("--intersects", "{}"), "give one GeoJSON geometry or Feature"),
        (("--intersects", "{x"), "it is not JSON"),
        (("--intersects", '{"type": "FeatureCollection", "features": []}'), "give one"),
        (("--intersects", json.dumps(POLYGON), "--bbox", "0,0,1,1"), "exclude each other"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_makes_no_sense_is_refused_by_name(flags: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        search(*flags)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bbox", "0,0,1,1", "in.json"], "--bbox is of a search: name the STAC API with --api URL"),
        (["--api", API, "in.json"], "both are given: name scenes, or a STAC API with --api URL"),
        ([], "the following arguments are required: INPUT"),
        (["--api", "host", "--io.retries", "0"], "--api host is not the URL of a STAC API"),
        (["--api", API, "--colections", "a"], "did you mean --collections?"),
        (["--api"], "expected one argument"),
        (["--post", API, "in.json", "--collectoin", "c"], "did you mean --collection?"),
    ],
)
def test_the_command_refuses_it_with_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["run", "--output", str(tmp_path), *arguments]) == 2
    assert said in json.loads(capsys.readouterr().err.splitlines()[-1])["message"]
