"""What names of files and bands say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.model.bands import find_colour, find_natural, parse_file_name


@pytest.mark.parametrize(
    ("stem", "scene", "label", "common_name"),
    [
        ("T32TPT_20240601T101031_B8A_20m", "T32TPT_20240601T101031", "B8A", "nir08"),
        ("T32TPT_20240601T101031_B02", "T32TPT_20240601T101031", "B02", "blue"),
        ("LC09_L2SP_191026_20230720_20230802_02_T1_SR_B5", "LC09_L2SP_191026_20230720_20230802_02_T1", "B5", "nir08"),
        ("LC09_L2SP_191026_20230720_20230802_02_T1_ST_B10", "LC09_L2SP_191026_20230720_20230802_02_T1", "B10", "lwir11"),
        ("LE07_L1TP_191026_20000720_20200915_02_T1_B3", "LE07_L1TP_191026_20000720_20200915_02_T1", "B3", "red"),
        ("LE07_L1TP_191026_20000720_20200915_02_T1_B6_VCID_1", "LE07_L1TP_191026_20000720_20200915_02_T1", "B6_VCID_1", None),
        ("HLS.L30.T33UVP.2023195T101601.v2.0.B05", "HLS.L30.T33UVP.2023195T101601.v2.0", "B05", "nir08"),
        ("HLS.S30.T33UVP.2023195T101601.v2.0.B05", "HLS.S30.T33UVP.2023195T101601.v2.0", "B05", "rededge071"),
        ("CBERS_4_AWFI_20200730_209_139_L4_BAND15", "CBERS_4_AWFI_20200730_209_139_L4", "BAND15", "red"),
        ("CBERS_4A_WPM_20200730_209_139_L4_BAND3", "CBERS_4A_WPM_20200730_209_139_L4", "BAND3", "red"),
        ("ga_ls5t_nbart_3-1-0_092084_2008-06-28_final_band03", "ga_ls5t_nbart_3-1-0_092084_2008-06-28_final", "band03", "red"),
        ("ga_s2am_nbart_3-2-1_55HGA_2019-11-21_final_band08", "ga_s2am_nbart_3-2-1_55HGA_2019-11-21_final", "band08", "nir"),
        ("S1A_IW_20230714T051725_RTC_VV", "S1A_IW_20230714T051725_RTC", "VV", None),
        ("survey_red_clip", "survey_clip", "red", "red"),
        ("B04", "", "B04", "red"),
        ("x_B4", "x", "B4", None),
        ("x_band_4", "x", "band_4", None),
    ],
)
def test_the_band_of_a_file_is_found_in_its_name(stem: str, scene: str, label: str, common_name: str | None) -> None:
    found = parse_file_name(stem)
    assert found is not None
    assert (found.scene, found.label, found.common_name) == (scene, label, common_name)


@pytest.mark.parametrize(
    "stem", ["a", "ngi_1", "scene_1_1", "T32TPT_SCL_20m", "x_QA_PIXEL", "Redhill", "x_AnalyticMS", "", "B", "x_b"]
)
def test_other_names_call_no_band(stem: str) -> None:
    assert parse_file_name(stem) is None


def test_the_folder_says_what_product_it_is() -> None:
    found = parse_file_name("B3", folder="LT05_L1TP_191026_19900720_20200915_02_T1")
    assert found is not None
    assert found.common_name == "red"


@given(st.text(max_size=300))
def test_any_name_is_read(stem: str) -> None:
    found = parse_file_name(stem)
    assert found is None or found.label in stem


def test_colours_of_names() -> None:
    assert [find_colour(name) for name in ("Red", " nir ", "nbart_blue", "swir1", "pan", "B02", "b04", "B8A", "Rot")] == [
        *("red", "nir", "blue", "swir16", "pan", "blue", "red", None, None)
    ]
    assert find_natural([None, "blue", "green", "red"]) == (3, 2, 1)
    assert find_natural(["blue", "green", None]) is None
