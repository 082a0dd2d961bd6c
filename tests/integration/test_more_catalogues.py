"""Items in the shapes of further catalogues, mosaicked as they are: ids, keys, bands and masks as these have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from commands import CREATED, call_command
from numpy.typing import NDArray
from real_items import (
    make_capella,
    make_cbers,
    make_geoscience_australia,
    make_hls,
    make_landsatlook,
    make_linz,
    make_maxar,
    make_planet,
    make_sentinel_1,
    make_umbra,
    write_collection,
)
from scenes import LEFT, write_scene

AS_THEY_ARE = ("--methods.matching_global_method", "null", "--methods.matching_local_method", "null")
EDGE, STEP = 60, 300  # pixels of 10 m, and metres between two scenes
COLOURS = {"red": 1000, "green": 1200, "blue": 1400, "nir": 3000}


def write(folder: Path, name: str, values: list[float] | NDArray[Any], *, col: float, **more: Any) -> Path:
    array = np.stack([np.full((EDGE, EDGE), value) for value in values]) if isinstance(values, list) else values
    return write_scene(folder / name, array, **{"left": LEFT + col, "pixel": 10, "dtype": "uint16", **more})


def write_files(folder: Path, scene: str, values: dict[str, float], *, col: float, **more: Any) -> dict[str, Path]:
    """A file for each key of a scene."""
    return {
        key: write(folder / scene.replace("/", "-"), f"{key}.tif", [value], col=col, **more) for key, value in values.items()
    }


def write_clouds(folder: Path, scene: str, key: str, marked: int, other: int, *, col: float, **more: Any) -> dict[str, Path]:
    """A mask with clouds in the upper third."""
    array = np.full((1, EDGE, EDGE), other)
    array[:, : EDGE // 3] = marked
    return {key: write(folder / scene, f"{key}.tif", array, col=col, **more)}


def make_ga(folder: Path, name: str, col: float) -> dict[str, Any]:
    values = {f"nbart_{colour}": COLOURS[colour] for colour in ("blue", "green", "red")}
    files = write_files(folder, name, {**values, "nbart_nir": COLOURS["nir"]}, col=col)
    return make_geoscience_australia(name, files | write_clouds(folder, name, "oa_fmask", 2, 1, col=col, dtype="uint8"))


def make_harmonized(folder: Path, name: str, col: float) -> dict[str, Any]:
    values = {"B02": COLOURS["blue"], "B03": COLOURS["green"], "B04": COLOURS["red"]}
    files = write_files(folder, name, values, col=col)
    return make_hls(name, files | write_clouds(folder, name, "Fmask", 2, 64, col=col, dtype="uint8", nodata=255))


def make_look(folder: Path, name: str, col: float) -> dict[str, Any]:
    files = write_files(folder, name, {key: COLOURS[key] for key in ("blue", "green", "red")}, col=col)
    return make_landsatlook(name, files | write_clouds(folder, name, "qa_pixel", 8, 64, col=col, nodata=1))


def make_open_data(folder: Path, name: str, col: float) -> dict[str, Any]:
    return make_maxar(name, write(folder, f"{name.rpartition('/')[2]}.tif", [100, 120, 140], col=col, dtype="uint8"))


def make_cbers_4(folder: Path, name: str, col: float) -> dict[str, Any]:
    values = {"B5": COLOURS["blue"], "B6": COLOURS["green"], "B7": COLOURS["red"], "B8": COLOURS["nir"]}
    return make_cbers(name, write_files(folder, name, values, col=col))


def make_new_zealand(folder: Path, name: str, col: float) -> dict[str, Any]:
    values = np.stack([np.full((EDGE, EDGE), value) for value in (100, 120, 140)])
    options = {"dtype": "uint8", "alpha": np.ones((EDGE, EDGE), np.bool_), "nodata": None}
    return make_linz(name, write(folder, f"{name}.tiff", values, col=col, **options))


def make_umbra_gec(folder: Path, name: str, col: float) -> dict[str, Any]:
    return make_umbra(name, write_files(folder, name, {"GEC": 70, "CSI": 7}, col=col))


def make_capella_geo(folder: Path, name: str, col: float) -> dict[str, Any]:
    return make_capella(name, write(folder, f"{name}.tif", [70], col=col))


def make_rtc(folder: Path, name: str, col: float) -> dict[str, Any]:
    return make_sentinel_1(name, write_files(folder, name, {"vv": 0.25, "vh": 0.5}, col=col, dtype="float32", nodata=-32768))


def make_scope(folder: Path, name: str, col: float) -> dict[str, Any]:
    masks = np.zeros((8, EDGE, EDGE))
    masks[0, EDGE // 3 :] = 1  # clear
    masks[5, : EDGE // 3] = 1  # cloud
    values: list[float] = [COLOURS[colour] for colour in ("blue", "green", "red", "nir")]
    path = write(folder / name, "analytic.tif", values, col=col)
    return make_planet(name, path, write(folder / name, "udm2.tif", masks, col=col, dtype="uint8", nodata=None))


RGB = ("--inputs.bands", "red,green,blue")
MAXAR = ("17/031331303211/10300100DB064000", "17/031331303210/10300100DB064000")


@pytest.mark.parametrize("executor", ["local", "tasks"])
@pytest.mark.parametrize(
    ("make", "names", "options", "expected", "bands", "is_masked"),
    [
        pytest.param(
            make_ga,
            ("94db51ab-4279-4402-8bcf-ec2f4ec494e3", "6241395f-f341-41b0-96b7-60f486c577d0"),
            (*RGB, "--inputs.mask", "{asset: oa_fmask, valid: [1, 4, 5]}"),
            [1000, 1200, 1400],
            ["nbart_red", "nbart_green", "nbart_blue"],
            True,
            id="geoscience-australia",
        ),
        pytest.param(
            make_harmonized,
            ("HLS.S30.T33UVP.2023195T101601.v2.0", "HLS.S30.T33UVQ.2023195T101601.v2.0"),
            ("--inputs.bands", "B04,B03,B02", "--inputs.mask", "{asset: Fmask, bits: [1, 3]}"),
            [1000, 1200, 1400],
            ["B04", "B03", "B02"],
            True,
            id="hls",
        ),
        pytest.param(make_open_data, MAXAR, (), [100, 120, 140], ["BAND_R", "BAND_G", "BAND_B"], False, id="maxar"),
        pytest.param(
            make_cbers_4,
            ("CBERS_4_MUX_20200730_209_139_L4", "CBERS_4_MUX_20200730_209_140_L4"),
            ("--inputs.bands", "red,green,blue,nir"),
            [1000, 1200, 1400, 3000],
            ["B7", "B6", "B5", "B8"],
            False,
            id="cbers",
        ),
        pytest.param(
            make_new_zealand,
            ("BQ31_5000_0608", "BQ31_5000_0609"),
            (),
            [100, 120, 140],
            ["band_1", "band_2", "band_3"],
            False,
            id="linz",
        ),
        pytest.param(
            make_umbra_gec,
            ("b3c7a1f0-0001-4a5e-9d7e-0a1b2c3d4e5f", "b3c7a1f0-0002-4a5e-9d7e-0a1b2c3d4e5f"),
            ("--inputs.asset", "*_GEC.tif"),
            [70],
            ["band_1"],
            False,
            id="umbra",
        ),
        pytest.param(
            make_capella_geo,
            ("CAPELLA_C02_SM_GEO_HH_20201209213329_20201209213332", "CAPELLA_C02_SM_GEO_HH_20201209213339_20201209213342"),
            (),
            [70],
            ["HH"],
            False,
            id="capella",
        ),
        pytest.param(
            make_scope,
            ("20230601_100000_12_2486", "20230601_100002_12_2486"),
            ("--inputs.asset", "*_AnalyticMS_SR_tif", *RGB, "--inputs.mask", "{asset: '*_udm2_tif', band: clear, valid: [1]}"),
            [1000, 1200, 1400],
            ["Red", "Green", "Blue"],
            True,
            id="planet",
        ),
        pytest.param(
            make_rtc,
            ("S1A_IW_GRDH_1SDV_20230714T051725_rtc", "S1A_IW_GRDH_1SDV_20230714T051750_rtc"),
            ("--inputs.bands", "vv,vh"),
            [0.25, 0.5],
            ["vv", "vh"],
            False,
            id="sentinel-1",
        ),
        pytest.param(
            make_look,
            ("LC09_L2SP_191026_20230720_20230802_02_T1_SR", "LC09_L2SP_191027_20230720_20230802_02_T1_SR"),
            (*RGB, "--inputs.mask", "{asset: qa_pixel, bits: [0, 1, 3, 4]}"),
            [1000, 1200, 1400],
            ["B4", "B3", "B2"],
            True,
            id="landsatlook",
        ),
    ],
)
def test_items_of_further_catalogues(
    tmp_path: Path,
    executor: str,
    make: Callable[[Path, str, float], dict[str, Any]],
    names: tuple[str, str],
    options: tuple[str, ...],
    expected: list[float],
    bands: list[str],
    is_masked: bool,
) -> None:
    items = [make(tmp_path, name, STEP * number) for number, name in enumerate(names)]
    words = ("--output", str(tmp_path / "out"), "--item-id", "m", "--created", CREATED, *AS_THEY_ARE, *options)
    collection = write_collection(tmp_path / "items.json", items)
    done = call_command("run", str(collection), *words, "--executor", executor, cwd=tmp_path, scratch=tmp_path / "scratch")
    assert done.code == 0, done.stderr
    with rasterio.open(tmp_path / "out" / "m" / "mosaic.tif") as raster:
        pixels, descriptions = raster.read(), list(raster.descriptions)
    assert descriptions == bands
    for col in (10, -10):
        assert pixels[:, EDGE // 2, col].tolist() == pytest.approx(expected)
    assert (pixels[:, 5, 10] == 0).all() == is_masked
    with rasterio.open(tmp_path / "out" / "m" / "scene_index.tif") as raster:
        assert {raster.tags()["SCENE_1"], raster.tags()["SCENE_2"]} == {*names}
    derived = {link["title"] for link in done.item["links"] if link["rel"] == "derived_from"}
    assert derived == {*names}
    report = json.loads((tmp_path / "out" / "m" / "report.json").read_text())
    assert {scene.get("id", scene["name"]) for scene in report["scenes"]} == {*names}
