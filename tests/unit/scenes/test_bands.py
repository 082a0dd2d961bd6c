"""Bands of opened scenes, matched and named, without a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from records import make_scene

from processor.errors import InputError
from processor.geotiff.open import OpenedScene
from processor.model import Band
from processor.scenes.bands import list_bands, match_bands


def name(*names: str) -> tuple[Band, ...]:
    return tuple(Band(name=text) for text in names)


def common(*names: str) -> tuple[Band, ...]:
    return tuple(Band(name=f"band_{number}", common_name=text) for number, text in enumerate(names, start=1))


def open_files(scene: str, *files: tuple[Band, ...], assets: Sequence[str] = ()) -> OpenedScene:
    rasters = []
    for number, bands in enumerate(files):
        raster = make_scene(scene if len(files) == 1 else f"{scene}/{number}", bands=bands)
        asset = assets[number] if assets else None
        source = replace(raster.source, band_indexes=tuple(range(1, len(bands) + 1)), asset=asset)
        rasters.append(replace(raster, source=source))
    return OpenedScene(rasters=tuple(rasters), mask=None, findings=())


def match(*scenes: OpenedScene, is_chosen: bool = False) -> tuple[OpenedScene, ...]:
    return match_bands(scenes, is_chosen=is_chosen).opened


def indexes(scene: OpenedScene) -> list[tuple[int, ...]]:
    return [raster.source.band_indexes for raster in scene.rasters]


def names(scene: OpenedScene) -> list[str]:
    return [band.name for band in list_bands(scene)]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (name("blue", "green", "red"), (3, 2, 1)),
        (name("Green", "RED", "Blue"), (2, 1, 3)),
        (name("B02", "B03", "B04"), (3, 2, 1)),
        (common("green", "blue", "red"), (3, 1, 2)),
        (name("a", "b", "c"), (1, 2, 3)),
        (name("band_1", "band_2", "band_3"), (1, 2, 3)),
    ],
)
def test_bands_are_brought_into_the_order_of_most(other: tuple[Band, ...], expected: tuple[int, ...]) -> None:
    usual = name("red", "green", "blue")
    first, second, third = match(open_files("a", other), open_files("b", usual), open_files("c", usual))
    assert indexes(first) == [expected]
    assert indexes(second) == indexes(third) == [(1, 2, 3)]


def test_the_order_of_the_scenes_does_not_matter() -> None:
    a, b = open_files("a", name("red", "green")), open_files("b", name("green", "red"))
    assert [indexes(scene) for scene in match(a, b)] == [[(1, 2)], [(2, 1)]]
    assert [indexes(scene) for scene in match(b, a)] == [[(2, 1)], [(1, 2)]]


def test_a_band_of_which_nothing_is_said_stays_where_it_is() -> None:
    a = open_files("a", (*name("red", "green", "blue"), Band(name="band_4")))
    b = open_files("b", (*name("blue", "green", "red"), Band(name="band_4")))
    assert indexes(match(a, b)[1]) == [(3, 2, 1, 4)]


def test_a_file_is_read_as_two_where_another_file_s_band_comes_between() -> None:
    a = open_files("a", name("red", "nir", "green"))
    b = open_files("b", name("red", "green"), name("nir"))
    matched = match(a, b)[1]
    assert names(matched) == ["red", "nir", "green"]
    assert indexes(matched) == [(1,), (1,), (2,)]
    assert len({raster.name for raster in matched.rasters}) == 3


def test_what_would_be_mixed_is_refused_unless_it_was_chosen() -> None:
    a, b = open_files("a", name("red", "green", "blue")), open_files("b", name("nir", "red", "green"))
    with pytest.raises(InputError, match=r"nir would be mixed with red|red would be mixed with green"):
        match(a, b)
    assert [indexes(scene) for scene in match(a, b, is_chosen=True)] == [[(1, 2, 3)]] * 2


def test_names_that_differ_without_a_contradiction_are_matched_by_position() -> None:
    scenes = match(open_files("a", common("red", "nir")), open_files("b", common("red", "nir08")))
    assert [indexes(scene) for scene in scenes] == [[(1, 2)]] * 2


@pytest.mark.parametrize("count", [1, 3])
def test_scenes_with_another_number_of_bands_are_left_to_the_plan(count: int) -> None:
    scenes = match(open_files("a", name("red", "green")), open_files("b", name(*"xyz"[:count])))
    assert [len(list_bands(scene)) for scene in scenes] == [2, count]


# Names


@pytest.mark.parametrize(
    ("files", "assets", "expected"),
    [
        ((name("B1"), name("B1")), ("vv", "vh"), ["vv", "vh"]),
        ((name("a", "b"), name("a")), ("x", "y"), ["x_a", "b", "y"]),
        ((name("a", "a", "b"),), (), ["a", "a_2", "b"]),
        ((name("a", "b"),), (), ["a", "b"]),
    ],
)
def test_names_differ_within_a_scene(files: tuple[tuple[Band, ...], ...], assets: Sequence[str], expected: list[str]) -> None:
    assert names(match(open_files("s", *files, assets=assets))[0]) == expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (Band(name="B04", common_name="red"), Band(name="OLI_B4", common_name="red"), "red"),
        (Band(name="Red"), Band(name="B04"), "red"),
        (Band(name="a.tif"), Band(name="b.tif"), "band_1"),
        (Band(name="x"), Band(name="x"), "x"),
    ],
)
def test_where_names_differ_the_common_name_is_taken(first: Band, second: Band, expected: str) -> None:
    scenes = match(open_files("a", (first,), assets=("a.tif",)), open_files("b", (second,), assets=("b.tif",)))
    assert [names(scene) for scene in scenes] == [[expected]] * 2
