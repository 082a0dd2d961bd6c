"""What the scenes agree on, of their bands."""

from __future__ import annotations

from records import make_scene

from processor.model import Band, Scaling
from processor.model.bands import merge_bands


def merge(*bands: Band) -> Band:
    (merged,) = merge_bands([make_scene(bands=(band,)) for band in bands])
    return merged


def test_equal_bands_stay_as_they_are() -> None:
    band = Band(name="B04", common_name="red", description="Red", scaling=Scaling(scale=0.1, offset=-1))
    assert merge(band, band) == band


def test_names_are_the_first_scenes() -> None:
    assert merge(Band(name="B04"), Band(name="band_1")).name == "B04"


def test_a_common_name_that_one_scene_tells_is_told() -> None:
    assert merge(Band(name="B04"), Band(name="B04", common_name="red")).common_name == "red"


def test_common_names_that_differ_are_not_told() -> None:
    assert merge(Band(name="B04", common_name="red"), Band(name="B04", common_name="nir")).common_name is None


def test_a_meaning_of_values_that_only_some_scenes_declare_is_not_told() -> None:
    merged = merge(Band(name="B04", scaling=Scaling(scale=0.1), description="x"), Band(name="B04"))
    assert (merged.scaling, merged.description) == (None, None)
