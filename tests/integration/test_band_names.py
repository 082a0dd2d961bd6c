"""Bands by name: folders with one file a band, bands in another order, masks and choices among files without Items."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from commands import CREATED, Finished, call_command, read_files
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from scenes import LEFT, write_items, write_scene

AS_THEY_ARE = ("--methods.matching_global_method", "null", "--methods.matching_local_method", "null")
"""Values stay what they are, so that they can be compared with the truth."""

COLOURS = {"red": 1000, "green": 1200, "blue": 1400}
EDGE = 60


@dataclass(frozen=True, kw_only=True)
class Mosaic:
    """What a run made."""

    values: list[list[int]]
    """Values of the pixels in the middle of the left and of the right scene."""
    names: list[tuple[str, str | None]]
    """Name and common name of the bands."""
    descriptions: list[str]
    """Of the file's bands."""
    findings: dict[str, str]
    """Messages by code."""
    files: dict[str, bytes]
    """Everything published."""


def call(folder: Path, *words: str) -> Finished:
    options = ("--output", str(folder / "out"), "--item-id", "m", "--created", CREATED, *AS_THEY_ARE)
    return call_command("run", *words, *options, cwd=folder, scratch=folder / "scratch")


def run(folder: Path, *words: str) -> Mosaic:
    done = call(folder, *words)
    assert done.code == 0, done.stderr
    with rasterio.open(folder / "out" / "m" / "mosaic.tif") as raster:
        pixels, descriptions = raster.read(), list(raster.descriptions)
    middle = pixels.shape[1] // 2
    return Mosaic(
        values=[[int(value) for value in pixels[:, middle, col]] for col in (10, -10)],
        names=[(band["name"], band.get("eo:common_name")) for band in done.item["assets"]["mosaic"]["bands"]],
        descriptions=descriptions,
        findings={event["event"]: event["message"] for event in done.events if event["level"] != "debug"},
        files=read_files(folder / "out"),
    )


def write_band(folder: Path, name: str, value: NDArray[Any] | float, *, col: float = 0, pixel: float = 10, **more: Any) -> Path:
    edge = round(EDGE * 10 / pixel)
    array = np.broadcast_to(np.asarray(value, "float64"), (edge, edge))
    return write_scene(folder / name, array, **{"left": LEFT + col, "pixel": pixel, "dtype": "uint16", **more})


def write_bands(folder: Path, pattern: str, bands: Mapping[str, float], *, col: float = 0) -> None:
    """A file for each band, whose name the pattern's $ stands for."""
    for name, value in bands.items():
        write_band(folder, pattern.replace("$", name), value, col=col)


SENTINEL = {"B02": COLOURS["blue"], "B03": COLOURS["green"], "B04": COLOURS["red"]}
LANDSAT = {"SR_B2": COLOURS["blue"], "SR_B3": COLOURS["green"], "SR_B4": COLOURS["red"]}
LANDSAT_5 = {"SR_B1": COLOURS["blue"], "SR_B2": COLOURS["green"], "SR_B3": COLOURS["red"]}
WORDS = {name: COLOURS[name] for name in ("blue", "green", "red")}


@pytest.mark.parametrize(
    ("left", "right", "bands", "expected"),
    [
        ("x_$.tif", "y_$.tif", SENTINEL, [("B02", "blue"), ("B03", "green"), ("B04", "red")]),
        (
            "T32TPT_20240601T101031_$_10m.tif",
            "T32TQT_20240601T101031_$_10m.tif",
            SENTINEL,
            [("B02", "blue"), ("B03", "green"), ("B04", "red")],
        ),
        (
            "LC09_L2SP_191026_20230720_20230802_02_T1_$.TIF",
            "LC09_L2SP_190026_20230713_20230802_02_T1_$.TIF",
            LANDSAT,
            [("B2", "blue"), ("B3", "green"), ("B4", "red")],
        ),
        (
            "LT05_L2SP_191026_19900720_20200915_02_T1_$.TIF",
            "LT05_L2SP_190026_19900713_20200915_02_T1_$.TIF",
            LANDSAT_5,
            [("B1", "blue"), ("B2", "green"), ("B3", "red")],
        ),
        (
            "HLS.S30.T17RLN.2020209.v2.0.$.tif",
            "HLS.S30.T17RLM.2020209.v2.0.$.tif",
            SENTINEL,
            [("B02", "blue"), ("B03", "green"), ("B04", "red")],
        ),
        ("S2B_33UVP_20230714/$.tif", "S2B_33UVQ_20230714/$.tif", SENTINEL, [("B02", "blue"), ("B03", "green"), ("B04", "red")]),
        ("$_a.tif", "$_b.tif", WORDS, [("red", "red"), ("green", "green"), ("blue", "blue")]),
    ],
)
def test_files_of_one_band_each_are_bands_of_scenes(
    tmp_path: Path, left: str, right: str, bands: dict[str, float], expected: list[tuple[str, str]]
) -> None:
    scenes = tmp_path / "scenes"
    write_bands(scenes, left, bands)
    write_bands(scenes, right, bands, col=300)
    found = run(tmp_path, "scenes/**/*" if "/" in left else "scenes")
    assert found.names == expected
    assert found.values == [[COLOURS[common] for _, common in expected]] * 2
    assert "6 files are taken as the bands of 2 scenes" in found.findings["bands-grouped"]
    chosen = run(tmp_path, "scenes/**/*" if "/" in left else "scenes", "--inputs.bands", "red,blue", "--overwrite")
    assert [common for _, common in chosen.names] == ["red", "blue"]
    assert chosen.values == [[COLOURS["red"], COLOURS["blue"]]] * 2


def test_the_same_by_tasks(tmp_path: Path) -> None:
    made = []
    for name in ("one", "tasks"):
        folder = tmp_path / name
        write_bands(folder / "scenes", "x_$.tif", SENTINEL)
        write_bands(folder / "scenes", "y_$.tif", SENTINEL, col=300)
        write_band(folder / "scenes", "x_SCL.tif", np.pad(np.full((30, 30), 9), ((0, 30), (0, 30)), constant_values=4))
        write_band(folder / "scenes", "y_SCL.tif", 4, col=300)
        mask = ("--inputs.mask", "{asset: SCL, valid: [4, 5, 6]}")
        made.append(run(folder, "scenes", *mask, "--executor", "local" if name == "one" else "tasks"))
    assert made[0].files["m/mosaic.tif"] == made[1].files["m/mosaic.tif"]
    assert made[0].values == made[1].values == [[1400, 1200, 1000]] * 2
    with rasterio.open(tmp_path / "one" / "out" / "m" / "mosaic.tif") as raster:
        assert raster.read(1)[:30, :30].max() == 0, "what the mask does not call valid"
        assert (raster.read(1)[30:, :30] == 1400).all()


def test_files_beside_the_bands_are_left_out_and_named(tmp_path: Path) -> None:
    for name, col in (("LC09_191026_T1", 0), ("LC09_190026_T1", 300)):
        write_bands(tmp_path / "scenes", f"{name}_$.TIF", LANDSAT, col=col)
        write_band(tmp_path / "scenes", f"{name}_QA_PIXEL.TIF", 1, col=col, nodata=1)
        write_band(tmp_path / "scenes", f"{name}_SR_QA_AEROSOL.TIF", 1, col=col, dtype="uint8")
    found = run(tmp_path, "scenes")
    assert found.values == [[1400, 1200, 1000]] * 2
    message = found.findings["bands-grouped"]
    assert "not read: LC09_190026_T1_QA_PIXEL, LC09_190026_T1_SR_QA_AEROSOL, LC09_191026_T1_QA_PIXEL" in message


def test_bands_of_other_resolutions_are_brought_to_the_finest(tmp_path: Path) -> None:
    for name, col in (("T32TPT", 0), ("T32TQT", 300)):
        write_bands(tmp_path / "scenes", f"{name}_$_10m.tif", SENTINEL, col=col)
        write_band(tmp_path / "scenes", f"{name}_B11_20m.tif", 2000, col=col, pixel=20)
        write_band(tmp_path / "scenes", f"{name}_B02_20m.tif", 77, col=col, pixel=20)
    found = run(tmp_path, "scenes")
    assert [name for name, _ in found.names] == ["B02", "B03", "B04", "B11"]
    assert found.values == [[1400, 1200, 1000, 2000]] * 2


@pytest.mark.parametrize("apart", [15, 300])
def test_files_that_lie_elsewhere_are_scenes_of_their_own(tmp_path: Path, apart: float) -> None:
    """Sheets of a map may be called as bands are."""
    for number in (1, 2):
        write_band(tmp_path / "scenes", f"sheet_B{number}.tif", 500, col=apart * number)
    found = run(tmp_path, "scenes")
    assert found.values == [[500], [500]]
    assert found.names == [("band_1", None)]
    assert "bands-grouped" not in found.findings


def test_scenes_with_different_bands_are_refused_with_those_that_all_have(tmp_path: Path) -> None:
    write_bands(tmp_path / "scenes", "x_$.tif", SENTINEL)
    write_bands(tmp_path / "scenes", "y_$.tif", {name: SENTINEL[name] for name in ("B02", "B04")}, col=300)
    done = call(tmp_path, "scenes")
    assert done.code != 0
    assert "choose such as all have, --inputs.bands blue,red" in done.stderr
    assert run(tmp_path, "scenes", "--inputs.bands", "blue,red").values == [[1400, 1000]] * 2


def test_two_products_are_matched_by_the_colours_of_their_numbers(tmp_path: Path) -> None:
    write_bands(tmp_path / "scenes", "LT05_191026_T1_$.TIF", LANDSAT_5)
    write_bands(tmp_path / "scenes", "T32TPT_2024_$_10m.tif", SENTINEL, col=300)
    found = run(tmp_path, "scenes")
    assert found.names == [(name, name) for name in ("blue", "green", "red")], "they have no other name in common"
    assert found.values == [[1400, 1200, 1000]] * 2


# Files of several bands


def write_colours(path: Path, order: tuple[str, ...], *, col: float = 0, described: bool = True, **more: Any) -> Path:
    array = np.stack([np.full((EDGE, EDGE), COLOURS[name] // 10, "uint8") for name in order])
    write_scene(path, array, left=LEFT + col, pixel=10, descriptions=order if described else None, **more)
    with rasterio.open(path, "r+") as raster:
        raster.colorinterp = [ColorInterp[name] for name in order]
    return path


RGB, BGR = ("red", "green", "blue"), ("blue", "green", "red")


@pytest.mark.parametrize("described", [True, False])
@pytest.mark.parametrize("executor", ["local", "tasks"])
def test_red_green_blue_beside_blue_green_red_is_matched_by_name(tmp_path: Path, described: bool, executor: str) -> None:
    write_colours(tmp_path / "scenes" / "a.tif", RGB, described=described)
    write_colours(tmp_path / "scenes" / "b.tif", BGR, col=300, described=described)
    found = run(tmp_path, "scenes", "--executor", executor)
    assert found.values == [[100, 120, 140]] * 2
    assert found.descriptions == ([*RGB] if described else ["band_1", "band_2", "band_3"])
    assert "bands of b are stored in another order" in found.findings["bands-reordered"]


@pytest.mark.parametrize("described", [True, False])
@pytest.mark.parametrize("words", [("green,red", [120, 100]), ("Blue", [140])])
def test_bands_of_files_are_chosen_by_name_and_colour(tmp_path: Path, described: bool, words: tuple[str, list[int]]) -> None:
    write_colours(tmp_path / "scenes" / "a.tif", RGB, described=described)
    write_colours(tmp_path / "scenes" / "b.tif", BGR, col=300, described=described)
    assert run(tmp_path, "scenes", "--inputs.bands", words[0]).values == [words[1]] * 2


def test_bands_of_files_are_chosen_by_number(tmp_path: Path) -> None:
    for name, col in (("a", 0), ("b", 300)):
        array = np.stack([np.full((EDGE, EDGE), value) for value in (7, 8, 9, 10)])
        write_scene(tmp_path / "scenes" / f"{name}.tif", array, left=LEFT + col, pixel=10, dtype="uint16")
    assert run(tmp_path, "scenes", "--inputs.bands", "4,2").values == [[10, 8]] * 2
    assert run(tmp_path, "scenes", "--inputs.bands", "band_3", "--overwrite").values == [[9]] * 2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--inputs.bands", "nir"), "has no band 'nir' (--inputs.bands): its bands are red, green, blue"),
        (("--inputs.asset", "visual"), "name assets of Items, or files with one band of a scene each"),
        (("--inputs.assets", "red,green"), "name assets of Items, or files with one band of a scene each"),
        (("--inputs.mask", "{asset: clouds, invalid: [1]}"), "names 'clouds', and no file has that word in the name"),
    ],
)
def test_a_choice_that_files_cannot_honour_is_an_error(tmp_path: Path, options: tuple[str, ...], reason: str) -> None:
    write_colours(tmp_path / "scenes" / "a.tif", RGB)
    write_colours(tmp_path / "scenes" / "b.tif", RGB, col=300)
    done = call(tmp_path, "scenes", *options)
    assert done.code != 0
    assert reason in done.stderr


def test_bands_that_would_be_mixed_are_refused(tmp_path: Path) -> None:
    for name, order, col in (("a", ("red", "green", "blue"), 0), ("b", ("nir", "red", "green"), 300)):
        array = np.stack([np.full((EDGE, EDGE), 5)] * 3)
        path = tmp_path / "scenes" / f"{name}.tif"
        write_scene(path, array, left=LEFT + col, pixel=10, dtype="uint16", descriptions=order)
    done = call(tmp_path, "scenes")
    assert done.code != 0
    assert "choose bands that all have, with --inputs.bands red,green" in done.stderr
    assert run(tmp_path, "scenes", "--inputs.bands", "red,green").descriptions == ["red", "green"]


@pytest.mark.parametrize(
    ("order", "remedy"),
    [
        (("red", "green"), "choose bands that both have, --inputs.bands red,green"),
        (("x", "y"), "choose bands that both have, --inputs.bands band_1,band_2"),
    ],
)
def test_different_numbers_of_bands_are_refused_with_what_works(tmp_path: Path, order: tuple[str, ...], remedy: str) -> None:
    for name, names, col in (("a", order, 0), ("b", (*order, "z"), 300)):
        array = np.stack([np.full((EDGE, EDGE), 5)] * len(names))
        told = names if "red" in names else None
        write_scene(tmp_path / "scenes" / f"{name}.tif", array, left=LEFT + col, pixel=10, dtype="float32", descriptions=told)
    done = call(tmp_path, "scenes")
    assert done.code != 0
    assert remedy in done.stderr


def test_masks_beside_files_are_found_by_the_word_in_their_names(tmp_path: Path) -> None:
    """As Planet delivers scenes: an analytic product and a mask of eight bands, of which one says what is clear."""
    for name, col in (("20200101_100000_3B", 0), ("20200101_100010_3B", 300)):
        array = np.stack([np.full((EDGE, EDGE), value) for value in (7, 8, 9, 10)])
        write_scene(tmp_path / "scenes" / f"{name}_AnalyticMS_SR_clip.tif", array, left=LEFT + col, pixel=10, dtype="uint16")
        clear = np.ones((8, EDGE, EDGE))
        clear[0, :20] = 0
        names = ["clear", "snow", "shadow", "light_haze", "heavy_haze", "cloud", "confidence", "unusable"]
        options = {"left": LEFT + col, "pixel": 10, "dtype": "uint8", "nodata": None, "descriptions": names}
        write_scene(tmp_path / "scenes" / f"{name}_udm2_clip.tif", clear, **options)
    done = call(tmp_path, "scenes", "--inputs.mask", "{asset: udm2, valid: [1]}")
    assert done.code != 0
    assert "has 8 bands, clear, snow, shadow" in done.stderr
    assert "--inputs.mask '{asset: udm2, band: clear, …}'" in done.stderr
    for band in ("clear", 1):
        found = run(tmp_path, "scenes", "--inputs.mask", f"{{asset: udm2, band: {band}, valid: [1]}}", "--overwrite")
        assert found.values == [[7, 8, 9, 10]] * 2
        with rasterio.open(tmp_path / "out" / "m" / "mosaic.tif") as raster:
            assert raster.read()[:, :20].max() == 0
            assert raster.read()[:, 20:].min() == 7


def test_files_of_any_name_keep_it(tmp_path: Path) -> None:
    write_colours(tmp_path / "scenes" / "Südhang 1.tif", RGB)
    write_colours(tmp_path / "scenes" / "Südhang (2).tif", RGB, col=300)
    found = run(tmp_path, "scenes", "--output.artifacts", "full")
    assert "m/align_rasters/Sudhang_1.tif" in found.files
    with rasterio.open(tmp_path / "out" / "m" / "scene_index.tif") as raster:
        assert {raster.tags()["SCENE_1"], raster.tags()["SCENE_2"]} == {"Südhang 1", "Südhang (2)"}
    scenes = json.loads(found.files["m/report.json"])["scenes"]
    assert {(scene["name"], scene["id"]) for scene in scenes} == {("Sudhang_1", "Südhang 1"), ("Sudhang_2_", "Südhang (2)")}
    assert "Südhang (2)" in found.files["m/report.html"].decode()


# What values mean


def write_scaled(path: Path, values: list[float], *, scale: float, offset: float, unit: str = "", col: float = 0) -> Path:
    """A scene whose file says itself what its values mean; a gradient, so that the level is not all that there is."""
    truth = np.stack([np.linspace(value, 1.5 * value, EDGE)[:, None] + np.zeros(EDGE) for value in values])
    write_scene(path, (truth - offset) / scale, left=LEFT + col, pixel=10, dtype="uint16")
    with rasterio.open(path, "r+") as raster:
        raster.scales, raster.offsets = [scale] * len(values), [offset] * len(values)
        raster.units = [unit] * len(values)
    return path


def read_scaled(path: Path) -> NDArray[np.float64]:
    with rasterio.open(path) as raster:
        return np.asarray(raster.read() * np.array(raster.scales)[:, None, None] + np.array(raster.offsets)[:, None, None])


@pytest.mark.parametrize("executor", ["local", "tasks"])
def test_scale_offset_and_unit_of_the_files_count(tmp_path: Path, executor: str) -> None:
    """As Sentinel-2 before and after baseline 04.00, whose values differ by 1000."""
    scaled = [
        write_scaled(tmp_path / "scenes" / f"{name}.tif", [0.1, 0.2], scale=1e-4, offset=offset, unit="1", col=col)
        for name, offset, col in (("a", 0, 0), ("b", -0.1, 300), ("c", 0, 600))
    ]
    found = run(tmp_path, "scenes", "--executor", executor)
    mosaic = tmp_path / "out" / "m" / "mosaic.tif"
    expected = read_scaled(scaled[0])
    np.testing.assert_allclose(read_scaled(mosaic)[:, :, 40:60], expected[:, :, 40:60], atol=1e-4)
    np.testing.assert_allclose(read_scaled(mosaic)[:, :, -30:], expected[:, :, -30:], atol=1e-4)
    with rasterio.open(mosaic) as raster:
        assert (raster.scales, raster.offsets, raster.units) == ((1e-4, 1e-4), (0, 0), ("1", "1"))
    assert found.findings["rescaled"].startswith("scene b:")
    item = json.loads(found.files["m/m.json"])
    bands = item["assets"]["mosaic"]["bands"]
    assert [(band["raster:scale"], band["raster:offset"], band["unit"]) for band in bands] == [(1e-4, 0, "1")] * 2


def test_a_file_without_a_scale_among_others_is_told(tmp_path: Path) -> None:
    write_scaled(tmp_path / "scenes" / "a.tif", [0.1], scale=1e-4, offset=0)
    write_scaled(tmp_path / "scenes" / "b.tif", [1000], scale=1, offset=0, col=300, unit="DN")
    assert "1 of 2 scenes declare no scale and offset" in run(tmp_path, "scenes").findings["scaling-missing"]


def test_scenes_in_different_units_are_told(tmp_path: Path) -> None:
    write_scaled(tmp_path / "scenes" / "a.tif", [100], scale=1, offset=0, unit="m")
    write_scaled(tmp_path / "scenes" / "b.tif", [300], scale=1, offset=0, unit="ft", col=300)
    found = run(tmp_path, "scenes")
    assert "band 1 is in 'm' in scene a and in 'ft' in b" in found.findings["units-differ"]
    with rasterio.open(tmp_path / "out" / "m" / "mosaic.tif") as raster:
        assert raster.units == (None,)


def test_an_item_counts_before_its_file_and_the_difference_is_told(tmp_path: Path) -> None:
    paths = [
        write_scaled(tmp_path / f"{name}.tif", [0.1], scale=1e-4, offset=-0.1, col=col) for name, col in (("a", 0), ("b", 300))
    ]
    items = write_items(tmp_path, paths, bands=["red"])
    document = json.loads(items.read_text())
    for feature in document["features"]:
        feature["assets"]["image"]["bands"][0] |= {"raster:scale": 1e-4, "raster:offset": 0}
    items.write_text(json.dumps(document))
    found = run(tmp_path, str(items))
    assert "offset -0.1 in the file, 0.0001 and 0 by the Item" in found.findings["scaling-disagrees"]
    assert found.findings["scaling-disagrees"].endswith("the same holds for 1 more scenes: b")
    with rasterio.open(tmp_path / "out" / "m" / "mosaic.tif") as raster:
        assert raster.offsets == (0,)


def test_scenes_without_nodata_are_told_of_once(tmp_path: Path) -> None:
    for name, col in (("a", 0), ("b", 300), ("c", 600)):
        write_colours(tmp_path / "scenes" / f"{name}.tif", RGB, col=col, nodata=None)
    done = call(tmp_path, "scenes")
    (message,) = [event["message"] for event in done.events if event["event"] == "no-nodata"]
    assert message.startswith("scene a has neither")
    assert message.endswith("the same holds for 2 more scenes: b, c")


# Files of one Item that are no bands of one scene


def make_stack(folder: Path, places: dict[str, float]) -> Path:
    """Two Items whose assets lie so many metres to the right."""
    for name, col in (("a", 0), ("b", 300)):
        for key, shift in places.items():
            write_band(folder / name, f"{key}.tif", 500, col=col + shift)
    items = write_items(folder, [folder / name / f"{next(iter(places))}.tif" for name in "ab"])
    document = json.loads(items.read_text())
    for name, feature in zip("ab", document["features"], strict=True):
        feature["id"] = name
        feature["assets"] = {key: {"href": f"./{name}/{key}.tif", "type": "image/tiff", "roles": ["data"]} for key in places}
    items.write_text(json.dumps(document))
    return items


def test_assets_that_cover_different_areas_are_told(tmp_path: Path) -> None:
    items = make_stack(tmp_path, {"x": 0, "y": 450})
    found = run(tmp_path, str(items), "--inputs.assets", "x,y")
    message = found.findings["areas-differ"]
    assert "the files x, y of scene a cover different areas: all of them cover 25% of what the largest covers" in message
    assert "so do those of 1 more scenes: b" in message
    assert found.names == [("x", None), ("y", None)], "they have no other names"


def test_assets_that_have_no_place_in_common_are_refused(tmp_path: Path) -> None:
    done = call(tmp_path, str(make_stack(tmp_path, {"x": 0, "y": 700})), "--inputs.assets", "x,y")
    assert done.code != 0
    assert "scene a: its files x, y have no place in common" in done.stderr


def test_assets_that_cover_one_area_are_not_told(tmp_path: Path) -> None:
    found = run(tmp_path, str(make_stack(tmp_path, {"x": 0, "y": 5})), "--inputs.assets", "x,y")
    assert "areas-differ" not in found.findings


def test_bands_that_items_only_count_have_the_names_of_their_files(tmp_path: Path) -> None:
    paths = [
        write_colours(tmp_path / "a.tif", RGB),
        write_colours(tmp_path / "b.tif", BGR, col=300),
    ]
    items = write_items(tmp_path, paths)
    document = json.loads(items.read_text())
    for feature in document["features"]:
        feature["stac_version"] = "1.0.0"
        feature["assets"]["image"]["raster:bands"] = [{"nodata": 0}] * 3
    items.write_text(json.dumps(document))
    found = run(tmp_path, str(items))
    assert found.descriptions == [*RGB]
    assert found.values == [[100, 120, 140]] * 2
    assert run(tmp_path, str(items), "--inputs.bands", "blue,red", "--overwrite").values == [[140, 100]] * 2
    assert run(tmp_path, str(items), "--inputs.bands", "band_2", "--overwrite").values == [[120]] * 2


def test_a_sentinel_2_product_as_it_is_downloaded(tmp_path: Path) -> None:
    """JPEG 2000, a folder for each resolution, pictures and classes beside the bands."""
    for tile, col in (("T32TPT", 0), ("T32TQT", 300)):
        data = tmp_path / f"S2B_MSIL2A_{tile}.SAFE" / "GRANULE" / "L2A" / "IMG_DATA"
        sizes = {10: {**SENTINEL, "TCI": 77}, 20: {"B02": 77, "B11": 2000, "SCL": 4}}
        for size, bands in sizes.items():
            for name, value in bands.items():
                array = np.full((3 if name == "TCI" else 1, EDGE * 10 // size, EDGE * 10 // size), value)
                dtype = "uint8" if name in {"TCI", "SCL"} else "uint16"
                source = write_scene(tmp_path / "one.tif", array, left=LEFT + col, pixel=size, dtype=dtype)
                target = data / f"R{size}m" / f"{tile}_20240601T101031_{name}_{size}m.jp2"
                target.parent.mkdir(parents=True, exist_ok=True)
                rasterio.shutil.copy(source, target, driver="JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES")
    pattern = str(tmp_path / "*.SAFE" / "**" / "*.jp2")
    found = run(tmp_path, pattern)
    assert found.names == [("B02", "blue"), ("B03", "green"), ("B04", "red"), ("B11", "swir16")]
    assert found.values == [[1400, 1200, 1000, 2000]] * 2
    mask = ("--inputs.mask", "{asset: SCL, valid: [4, 5]}")
    assert run(tmp_path, pattern, "--inputs.bands", "red,green,blue", *mask, "--overwrite").values == [[1000, 1200, 1400]] * 2
