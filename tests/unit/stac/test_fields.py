"""Bands and the meaning of their values, in both STAC versions and in the words of catalogues."""

from __future__ import annotations

from typing import Any

import pytest

from processor.errors import InputError
from processor.model import Band, Scaling
from stac.fields import AssetFields, ItemFields, parse_bands


def parse(fields: dict[str, Any], *, key: str = "x", collection: str | None = None, **properties: Any) -> tuple[Band, ...]:
    item = ItemFields(name="a", assets={key: fields}, properties=properties, collection=collection)
    return parse_bands(AssetFields(key=key, fields=fields, item=item))


def scaling(fields: dict[str, Any], **more: Any) -> Scaling | None:
    (band,) = parse(fields, **more)
    return band.scaling


def test_bands_of_1_0_are_merged_from_two_lists() -> None:
    fields = {"eo:bands": [{"name": "B4", "common_name": "red"}], "raster:bands": [{"scale": 0.5, "offset": -1}]}
    assert parse(fields) == (Band(name="B4", common_name="red", scaling=Scaling(scale=0.5, offset=-1.0)),)


def test_bands_of_1_1_may_say_it_once_for_all() -> None:
    assert scaling({"bands": [{"name": "a", "raster:scale": 2}]}) == Scaling(scale=2.0)
    assert scaling({"eo:common_name": "red", "raster:offset": 3}) == Scaling(offset=3.0)


@pytest.mark.parametrize("offset", [True, False])
def test_an_offset_that_earth_search_has_applied_is_not_applied_again(offset: bool) -> None:
    fields = {"raster:bands": [{"scale": 0.0001, "offset": -0.1}]}
    found = scaling(fields, **{"earthsearch:boa_offset_applied": offset, "s2:processing_baseline": "05.09"})
    assert found == Scaling(scale=0.0001, offset=0.0 if offset else -0.1)


def test_products_before_baseline_4_never_had_an_offset() -> None:
    fields = {"raster:bands": [{"scale": 0.0001, "offset": -0.1}]}
    found = scaling(fields, **{"earthsearch:boa_offset_applied": False, "s2:processing_baseline": "03.01"})
    assert found == Scaling(scale=0.0001)


@pytest.mark.parametrize(("baseline", "offset"), [("02.14", 0.0), ("04.00", -0.1), ("05.11", -0.1)])
def test_sentinel_2_of_the_planetary_computer_has_the_offset_of_its_baseline(baseline: str, offset: float) -> None:
    fields = {"eo:bands": [{"name": "B04", "common_name": "red"}]}
    found = scaling(fields, key="B04", collection="sentinel-2-l2a", **{"s2:processing_baseline": baseline})
    assert found == Scaling(scale=0.0001, offset=offset)


@pytest.mark.parametrize(
    ("key", "collection", "baseline"),
    [("SCL", "sentinel-2-l2a", "05.09"), ("B04", "landsat", "05.09"), ("B04", "sentinel-2-l2a", None)],
)
def test_others_have_none(key: str, collection: str, baseline: str | None) -> None:
    fields = {"eo:bands": [{"name": "B04"}]}
    assert scaling(fields, key=key, collection=collection, **{"s2:processing_baseline": baseline}) is None


@pytest.mark.parametrize(
    ("fields", "properties"),
    [
        ({"bands": 3}, {}),
        ({"bands": ["red"]}, {}),
        ({"eo:bands": {}}, {}),
        ({"bands": [{"raster:scale": 0}]}, {}),
        ({"bands": [{"raster:scale": "one"}]}, {}),
        ({"bands": [{"raster:offset": float("nan")}]}, {}),
        ({"raster:bands": [{"scale": True}]}, {}),
        ({"raster:bands": [{"scale": 10**400}]}, {}),
    ],
    ids=str,
)
def test_what_has_another_type_is_refused_by_name(fields: dict[str, Any], properties: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"^Item 'a'"):
        parse(fields, **properties)


@pytest.mark.parametrize(
    ("properties", "noted"),
    [
        ({"earthsearch:boa_offset_applied": "yes"}, ["earthsearch:boa_offset_applied is 'yes', not true or false"]),
        (
            {"earthsearch:boa_offset_applied": False, "s2:processing_baseline": "five"},
            ["s2:processing_baseline is 'five', not as \"05.09\""],
        ),
        ({"earthsearch:boa_offset_applied": False}, []),
    ],
    ids=str,
)
def test_what_is_said_oddly_of_the_offset_is_noted(properties: dict[str, Any], noted: list[str]) -> None:
    fields = {"raster:bands": [{"scale": 0.0001, "offset": -0.1}]}
    item = ItemFields(name="a", assets={"x": fields}, properties=properties, collection=None)
    asset = item.find("x")
    assert asset is not None
    assert [band.scaling for band in parse_bands(asset)] == [Scaling(scale=0.0001, offset=-0.1)]
    assert item.unusable == noted


@pytest.mark.parametrize(
    ("baseline", "offset"),
    [("04.00", -0.1), ("N0400", -0.1), ("0510", -0.1), (5.11, -0.1), ("5.1", -0.1), ("03.01", 0), ("N0214", 0), (2.14, 0)],
)
def test_baselines_are_written_in_many_ways(baseline: object, offset: float) -> None:
    properties = {"s2:processing_baseline": baseline}
    assert scaling({}, key="B04", collection="sentinel-2-l2a", **properties) == Scaling(scale=1e-4, offset=offset)


@pytest.mark.parametrize(
    ("applied", "baseline", "offset"),
    [(True, None, 0), (False, None, -0.1), (True, "04.00", 0), (False, "04.00", -0.1), (False, "02.14", 0)],
)
def test_the_flag_of_version_0_counts_without_raster_bands(applied: bool, baseline: str | None, offset: float) -> None:
    properties = {"sentinel:boa_offset_applied": applied, "sentinel:processing_baseline": baseline}
    for key in ("B04", "red"):
        assert scaling({}, key=key, collection="sentinel-s2-l2a-cogs", **properties) == Scaling(scale=1e-4, offset=offset)
    assert parse({}, key="SCL", collection="sentinel-s2-l2a-cogs", **properties) == ()
