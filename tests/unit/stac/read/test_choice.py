"""Which assets and bands of an Item are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from real_items import make_copernicus
from scenes import write_scene

from processor.config import Inputs
from processor.errors import ConfigError, InputError
from processor.scenes.inputs import select_assets
from stac.fields import ItemFields
from stac.read.choice import Choice, MaskSelection, choose_mask, choose_rasters

COG = "image/tiff; application=geotiff; profile=cloud-optimized"


def raster(*bands: tuple[str, str | None], **more: Any) -> dict[str, Any]:
    listed = [{"name": name, **({"eo:common_name": common} if common else {})} for name, common in bands]
    return {"href": "s3://b/x.tif", "type": COG, "roles": ["data"], "bands": listed, **more}


SENTINEL = {
    "B02": raster(("B02", "blue"), gsd=10),
    "B03": raster(("B03", "green"), gsd=10),
    "B04": raster(("B04", "red"), gsd=10),
    "B08": raster(("B08", "nir"), gsd=10),
    "visual": raster(("B04", "red"), ("B03", "green"), ("B02", "blue"), roles=["visual"]),
    "red-jp2": raster(("B04", "red"), type="image/jp2"),
    "SCL": raster(gsd=20),
    "thumbnail": {"href": "t.png", "type": "image/png", "roles": ["thumbnail"]},
}


def choose(rasters: dict[str, Any], /, **inputs: Any) -> list[tuple[str, tuple[int | str, ...]]]:
    item = ItemFields(name="a", assets=rasters, properties={}, collection=None)
    return [(choice.asset.key, choice.wanted) for choice in choose_rasters(item, select_assets(Inputs(**inputs)))]


def test_assets_are_stacked_in_the_order_asked() -> None:
    assert choose(SENTINEL, assets="B08,B02") == [("B08", ()), ("B02", ())]
    assert choose(SENTINEL, asset="visual") == [("visual", ())]


def test_bands_are_found_by_name_and_common_name_data_before_pictures_and_geotiff_before_jpeg_2000() -> None:
    assert choose(SENTINEL, bands="red,B08,blue") == [("B04", (1,)), ("B08", (1,)), ("B02", (1,))]
    assert choose(SENTINEL, asset="visual", bands="blue,red") == [("visual", (3, 1))]
    assert choose(SENTINEL, assets="visual,B08", bands="nir,green") == [("B08", (1,)), ("visual", (2,))]


def test_neighbours_of_one_asset_are_read_together_and_others_are_not() -> None:
    assets = {"x": raster(("a", None), ("b", None), ("c", None)), "y": raster(("d", None))}
    assert choose(assets, bands="c,a,d,b") == [("x", (3, 1)), ("y", (1,)), ("x", (2,))]


def test_among_bands_of_one_name_the_finest_is_read() -> None:
    assets = {"coarse": raster(("red", "red"), gsd=20), "fine": raster(("red", "red"), gsd=10)}
    assert choose(assets, bands="red") == [("fine", (1,))]


def test_an_asset_that_lists_no_bands_is_a_band_of_its_name() -> None:
    assets = {key: {"href": f"s3://b/{key}.tif", "type": COG} for key in ("red", "nir")}
    assert choose(assets, bands="nir,red") == [("nir", (1,)), ("red", (1,))]


def test_a_band_that_may_be_two_is_refused() -> None:
    assets = {"x": raster(("a", "red"), gsd=10), "y": raster(("b", "red"), gsd=10)}
    with pytest.raises(InputError, match=r"2 bands that 'red' may mean .*band 'a' of asset 'x', band 'b' of asset 'y'"):
        choose(assets, bands="red")


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"bands": "swir16"}, r"no band 'swir16' \(--inputs.bands\): it has"),
        ({"assets": "B04,B11"}, r"no asset 'B11' \(--inputs.assets\)"),
        ({"asset": "b04"}, r"did you mean 'B04'\?"),
        ({"asset": "thumbnail"}, "is 'image/png', not a GeoTIFF"),
        ({}, "has 5 raster assets"),
    ],
    ids=str,
)
def test_what_an_item_does_not_have_is_named(inputs: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=f"^Item 'a'.*{said}"):
        choose(SENTINEL, **inputs)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"asset": "x", "assets": "y"}, "exclude each other"),
        ({"assets": "x,y,x"}, "inputs.assets names 'x' twice"),
        ({"bands": "a,a"}, "inputs.bands names 'a' twice"),
    ],
    ids=str,
)
def test_what_contradicts_itself_is_refused(inputs: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        select_assets(Inputs(**inputs))
    select_assets(Inputs(assets="x,y", bands="a,b"))


def test_a_mask_is_an_asset_of_the_item() -> None:
    item = ItemFields(name="a", assets=SENTINEL, properties={}, collection=None)
    found = choose_mask(item, MaskSelection(asset="SCL", invalid=(3,), bits=()))
    assert isinstance(found, Choice)
    assert (found.asset.key, found.wanted) == ("SCL", ())
    for key in ("scl", "thumbnail", "B0*"):
        with pytest.raises(InputError):
            choose_mask(item, MaskSelection(asset=key, invalid=(3,), bits=()))


def test_a_band_of_the_mask_can_be_named() -> None:
    item = ItemFields(name="a", assets={"udm2": raster(("clear", None), ("snow", None))}, properties={}, collection=None)
    assert choose_mask(item, MaskSelection(asset="udm2", invalid=(), bits=(), valid=(1,), band="clear")).wanted == ("clear",)


UMBRA = {
    "2023-11-01_UMBRA-05_CSI.tif": raster(roles=["data"], title="CSI", type=COG),
    "2023-11-01_UMBRA-05_GEC.tif": raster(roles=["data", "amplitude"], title="Geocoded Ellipsoid COG", type=COG),
    "2023-11-01_UMBRA-05_SICD.nitf": {"href": "x.nitf", "type": "application/vnd.nitf", "title": "SICD"},
    "role:odd": raster(),
}


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("*_GEC.tif", "2023-11-01_UMBRA-05_GEC.tif"),
        ("role:amplitude", "2023-11-01_UMBRA-05_GEC.tif"),
        ("title:csi", "2023-11-01_UMBRA-05_CSI.tif"),
        ("title:geocoded*", "2023-11-01_UMBRA-05_GEC.tif"),
        ("role:odd", "role:odd"),
    ],
)
def test_an_asset_is_found_by_pattern_role_and_title(word: str, key: str) -> None:
    assert choose(UMBRA, asset=word) == [(key, ())]
    assert choose(UMBRA, assets=[word]) == [(key, ())]


def test_bands_that_an_item_only_counts_are_looked_up_in_the_file() -> None:
    counted = raster(**{"raster:bands": [{"nodata": 0, "scale": 2}, {"nodata": 0}]})
    del counted["bands"]
    item = ItemFields(name="a", assets={"image": counted}, properties={}, collection=None)
    (choice,) = choose_rasters(item, select_assets(Inputs(bands="red,nir")))
    assert choice.wanted == ("red", "nir")
    assert choice.bands[0].scaling is not None


def test_a_word_that_means_several_assets_stacks_them_or_is_refused() -> None:
    assert choose(SENTINEL, assets="B0*") == [(f"B0{number}", ()) for number in (2, 3, 4, 8)]
    assert choose({"a": raster(), "b": raster(type="image/jp2")}, asset="type:image/tiff") == [("a", ())]
    assert choose({"red": raster(), "red-jp2": raster(type="image/jp2")}, assets="red*") == [("red", ())]
    with pytest.raises(InputError, match=r"has 2 assets that 'role:data' means \(--inputs.asset\), 'a', 'b': give the key"):
        choose({"a": raster(), "b": raster()}, asset="role:data")
    with pytest.raises(InputError, match=r"has no asset 'role:none' \(--inputs.asset\)"):
        choose(SENTINEL, asset="role:none")


def test_jpeg_2000_is_chosen_as_geotiff_is(tmp_path: Path) -> None:
    assert choose(SENTINEL, asset="red-jp2") == [("red-jp2", ())]
    path = write_scene(tmp_path / "x.tif", np.ones((4, 4)), dtype="uint16", pixel=10)
    item = make_copernicus("S2B_MSIL2A_20240601T101031", dict.fromkeys(("B02_10m", "B03_10m", "B04_10m", "SCL_20m"), path))
    with pytest.raises(InputError, match=r"has 4 raster assets, .*: choose bands with --inputs.bands red,green,blue"):
        choose(item["assets"])
    assert choose(item["assets"], bands="red,blue") == [("B04_10m", (1,)), ("B02_10m", (1,))]
    as_tiff = make_copernicus("S2B", dict.fromkeys(("B02_10m", "B02_20m", "B04_10m"), path), media_type=COG)
    assert choose(as_tiff["assets"], bands="red,B02") == [("B04_10m", (1,)), ("B02_10m", (1,))]


@pytest.mark.parametrize(
    ("assets", "proposal"),
    [
        (
            {key: SENTINEL[key] for key in ("B02", "B03", "B04", "B08")},
            "choose bands with --inputs.bands red,green,blue, or one",
        ),
        ({"vv": raster(), "vh": raster()}, "choose bands with --inputs.bands vv,vh, or one"),
        ({"a.tif": raster(), "b.tif": raster()}, "'a.tif', 'b.tif': choose one with --inputs.asset KEY"),
        ({"x": raster(("a", None), ("b", None)), "y": raster(("a", None))}, "'x', 'y': choose one with --inputs.asset KEY"),
    ],
)
def test_an_item_of_several_assets_is_told_the_option_that_works(assets: dict[str, Any], proposal: str) -> None:
    with pytest.raises(InputError) as caught:
        choose(assets)
    assert proposal in str(caught.value)


@pytest.mark.parametrize("assets", [{"x": None}, {"x": "href"}, {"x": {"href": 3, "type": [], "roles": "data"}}], ids=str)
def test_assets_of_wrong_types_are_none(assets: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="has no raster asset"):
        choose(assets)
