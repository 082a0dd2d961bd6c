"""What is a pixel and what is not, in whole runs: bands that begin in different places, fill that nobody declared, overviews
that lie, scenes without a pixel. In one process and by tasks.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from outcomes import Outcome, run_both_ways, run_quietly
from scenes import LEFT, TOP, write_items, write_scene
from servers import run_web

from processor.config import load_config
from processor.errors import ConfigError, UnreadableError

F64 = NDArray[np.float64]


def draw_ground(height: int, width: int, bands: int = 1, *, low: float = 300, high: float = 3000, seed: int = 1) -> F64:
    """Hills of three sizes that all bands share and some that they do not, between two levels; (bands, height, width)."""
    rng = np.random.default_rng(seed)

    def draw(size: int) -> F64:
        known = rng.normal(size=(height // size + 2, width // size + 2))
        down, across = np.arange(height) / size, np.arange(width) / size
        row, col = down.astype(int), across.astype(int)
        t, u = (down - row)[:, None], (across - col)[None, :]
        upper = known[row][:, col] * (1 - u) + known[row][:, col + 1] * u
        lower = known[row + 1][:, col] * (1 - u) + known[row + 1][:, col + 1] * u
        return np.asarray(upper * (1 - t) + lower * t)

    shared = draw(5) + 2 * draw(17) + 3 * draw(60)
    ground = np.stack([shared + 0.5 * draw(11) for _ in range(bands)])
    ends = ground.min(axis=(1, 2), keepdims=True), ground.max(axis=(1, 2), keepdims=True)
    return np.asarray(low + (high - low) * (ground - ends[0]) / (ends[1] - ends[0]))


def read_gains(outcome: Outcome) -> dict[str, F64]:
    """Scale and offset of each scene and band, (bands, 2)."""
    document = json.loads(outcome.files["adjustments.json"])
    return {
        name: np.array([[band["scale"], band["offset"]] for band in scene["adjustments"].values()])
        for name, scene in document.items()
    }


def read_findings(outcome: Outcome) -> dict[str, str]:
    """Messages of the findings by code; the last of each."""
    return {finding["code"]: finding["message"] for finding in json.loads(outcome.files["report.json"])["findings"]}


def read_mosaic(outcome: Outcome) -> NDArray[Any]:
    return outcome.read("mosaic.tif").values


# Bands that hold nodata in different places


def write_fringed(folder: Path, *, fringe: int, holes: int = 0) -> Path:
    """Two scenes of three bands; in the overlap the bands of the second begin fringe columns one after the other."""
    ground, rng = draw_ground(150, 250, 3), np.random.default_rng(3)
    first, second = ground[:, :, :150].copy(), 0.8 * ground[:, :, 100:]
    for band in range(3):
        second[band, :, : band * fringe] = 0
    second[1].reshape(-1)[rng.integers(0, second[1].size, holes)] = 0
    write_scene(folder / "a.tif", first, dtype="uint16")
    write_scene(folder / "b.tif", second, dtype="uint16", left=LEFT + 100)
    return folder


@pytest.mark.parametrize("rule", ["any", "all", "band"])
def test_nodata_of_one_band_enters_no_statistics(rule: str, tmp_path: Path) -> None:
    """The gains are those of scenes whose fringe is nodata in all bands."""
    fringed = write_fringed(tmp_path / "fringed", fringe=2, holes=60)
    flags = {"inputs.validity": rule, "global_regression.estimate_stats": False}
    found = run_both_ways(fringed, tmp_path / "found", flags)
    first, second = draw_ground(150, 250, 3)[:, :, :150], 0.8 * draw_ground(150, 250, 3)[:, :, 100:]
    second[:, (second.astype("uint16") == 0).any(axis=0)] = 0
    holes = np.random.default_rng(3).integers(0, second[1].size, 60)
    second[:, :, :4] = 0
    second.reshape(3, -1)[:, holes] = 0
    write_scene(tmp_path / "clean" / "a.tif", first, dtype="uint16")
    write_scene(tmp_path / "clean" / "b.tif", second, dtype="uint16", left=LEFT + 100)
    clean = run_quietly(tmp_path / "clean", tmp_path / "run", flags)
    for name, gains in read_gains(clean).items():
        np.testing.assert_allclose(read_gains(found)[name], gains, rtol=1e-9, atol=1e-6)
    assert "b " in read_findings(found)["bands-differ"]
    assert "bands-differ" not in read_findings(clean)


def test_rules_of_validity_say_what_the_mosaic_holds(tmp_path: Path) -> None:
    """ "any": the pixel is taken from elsewhere or nodata; "all": it is a value; "band": nodata in that band alone."""
    array = np.rint(draw_ground(60, 80, 3))
    array[1, 20:30, 5:9] = 0
    write_scene(tmp_path / "in" / "a.tif", array, dtype="uint16")
    place = (slice(20, 30), slice(5, 9))
    found = {}
    for rule in ("any", "all", "band"):
        outcome = run_both_ways(
            tmp_path / "in", tmp_path / rule, {"inputs.validity": rule, "methods.matching_local_method": None}
        )
        found[rule] = read_mosaic(outcome)
        np.testing.assert_array_equal(found[rule][:, 40:], array.astype("uint16")[:, 40:])
    assert (found["any"][:, *place] == 0).all()
    assert (found["all"][1, *place] == 1).all()
    assert (found["band"][1, *place] == 0).all()
    for rule in ("all", "band"):
        np.testing.assert_array_equal(found[rule][::2, *place], array.astype("uint16")[::2, *place])


@pytest.mark.parametrize("rule", ["all", "band"])
def test_nodata_of_one_band_is_mixed_into_no_neighbour(rule: str, tmp_path: Path) -> None:
    """A scene between the pixels of another is resampled; without the rule, half of a neighbour's level would be lost."""
    flat = np.full((3, 60, 80), 1000.0)
    write_scene(tmp_path / "in" / "a.tif", flat, dtype="uint16")
    flat[2, 20:24, 30:34] = 0
    write_scene(tmp_path / "in" / "b.tif", flat, dtype="uint16", left=LEFT + 40.4, top=TOP - 0.3)
    flags = {"inputs.validity": rule, "align_rasters.resampling_method": "bilinear", "methods.matching_local_method": None}
    mosaic = read_mosaic(run_both_ways(tmp_path / "in", tmp_path / "run", flags))
    assert set(np.unique(mosaic[:2]).tolist()) <= {0, 1000}
    assert set(np.unique(mosaic[2]).tolist()) == {0, 1000} | ({1} if rule == "all" else set())


@pytest.mark.parametrize("rule", ["all", "band"])
def test_a_scene_without_one_of_its_bands_keeps_the_others(rule: str, tmp_path: Path) -> None:
    """It has no pixel that every band has, so it is not matched, and comes out as it is."""
    ground = np.rint(draw_ground(60, 120, 2))
    write_scene(tmp_path / "in" / "a.tif", ground[:, :, :80], dtype="uint16")
    second = ground[:, :, 40:].copy()
    second[1] = 0
    write_scene(tmp_path / "in" / "b.tif", second, dtype="uint16", left=LEFT + 40)
    outcome = run_both_ways(tmp_path / "in", tmp_path / "run", {"inputs.validity": rule})
    mosaic = read_mosaic(outcome)
    np.testing.assert_allclose(mosaic[0].astype(float), ground[0], atol=1)
    assert set(np.unique(mosaic[1, :, 90:]).tolist()) == {1 if rule == "all" else 0}
    findings = read_findings(outcome)
    assert "--inputs.bands" in findings["no-statistics"]
    assert "b 100.00%" in findings["bands-differ"]


def write_stack(folder: Path, *, nodata: float, dtype: str, hole: float) -> Path:
    """Two scenes of two assets, one a band; the second band of b holds its nodata in 25 pixels."""
    ground, paths = draw_ground(96, 160, 2), []
    for name, left, gain in (("a", 0, 1.0), ("b", 64, 0.8)):
        for band, key in enumerate(("red", "nir")):
            array = ground[band, :, left : left + 96] * gain
            if (name, key) == ("b", "nir"):
                array[10:15, 10:15] = hole
            path = write_scene(folder / key / f"{name}.tif", array, dtype=dtype, nodata=nodata, left=LEFT + left)
            paths += [path] if key == "red" else []
    items = write_items(folder, paths, asset="red", bands=["red"])
    document = json.loads(items.read_text())
    for feature in document["features"]:
        href = f"./nir/{feature['id']}.tif"
        feature["assets"]["nir"] = {**feature["assets"]["red"], "href": href, "bands": [{"name": "nir"}]}
    items.write_text(json.dumps(document))
    return items


@pytest.mark.parametrize(("dtype", "nodata"), [("int16", -9999), ("uint16", 0), ("float32", -9999)])
def test_a_stack_is_invalid_where_one_of_its_files_is(dtype: str, nodata: float, tmp_path: Path) -> None:
    """25 pixels of -9999 in one of two stacked bands gave gains of 0.32 to 3.63."""
    items = write_stack(tmp_path / "in", nodata=nodata, dtype=dtype, hole=nodata)
    flags = {"inputs.assets": ["red", "nir"]}
    outcome = run_both_ways(items, tmp_path / "run", flags)
    level = draw_ground(96, 160, 2)[1, 12, 76] * 0.8
    clean = run_quietly(write_stack(tmp_path / "clean", nodata=nodata, dtype=dtype, hole=level), tmp_path / "clean-run", flags)
    for name, gains in read_gains(clean).items():
        np.testing.assert_allclose(read_gains(outcome)[name][:, 0], gains[:, 0], rtol=0.01)
    assert "bands-differ" not in read_findings(clean)
    mosaic = read_mosaic(outcome)
    assert mosaic[mosaic != nodata].min() > 200
    assert "left out too" in read_findings(outcome)["bands-differ"]


# Fill that the files do not declare


def write_collared(folder: Path, *, fill: float, dtype: str, **options: Any) -> Path:
    """Two scenes of one band with a border of fill where they lie over one another; b is darker."""
    ground = draw_ground(120, 240, low=50, high=200)
    for name, left, gain in (("a", 0, 1.0), ("b", 90, 0.8)):
        array = ground[:, :, left : left + 150] * gain
        array[:, :9], array[:, :, -7:], array[:, :, :5] = fill, fill, fill
        write_scene(folder / f"{name}.tif", array, dtype=dtype, left=LEFT + left, **{"nodata": None, **options})
    return folder


@pytest.mark.parametrize("fill", [-9999.0, -3.4028234663852886e38, 1e20, float("nan")])
def test_a_border_that_cannot_be_data_is_as_if_it_were_declared(fill: float, tmp_path: Path) -> None:
    found = run_both_ways(write_collared(tmp_path / "in", fill=fill, dtype="float32"), tmp_path / "run", {})
    known = write_collared(tmp_path / "known", fill=-9999, dtype="float32", nodata=-9999)
    expected = run_quietly(known, tmp_path / "known-run", {})
    assert found.files["adjustments.json"] == expected.files["adjustments.json"]
    pixels, nodata = found.read("mosaic.tif").values, found.read("mosaic.tif").nodata
    assert nodata is not None
    valid = ~np.isnan(pixels) if np.isnan(nodata) else pixels != nodata
    np.testing.assert_array_equal(valid, read_mosaic(expected) != -9999)
    np.testing.assert_array_equal(pixels[valid], read_mosaic(expected)[valid])
    assert ("undeclared-fill" in read_findings(found)) == np.isfinite(fill)


@pytest.mark.parametrize("nodata", ["253..255", [254, "255..300", 253], "-5,253..255"])
def test_nodata_may_be_given_as_a_range_and_as_several_values(nodata: Any, tmp_path: Path) -> None:
    """White borders of a lossy file are not quite white."""
    folder = write_collared(tmp_path / "in", fill=255, dtype="uint8")
    for name in "ab":
        with rasterio.open(folder / f"{name}.tif", "r+") as raster:
            pixels = raster.read()
            white = np.flatnonzero(pixels == 255)
            pixels.reshape(-1)[white[::2]] = 254
            pixels.reshape(-1)[white[::3]] = 253
            raster.write(pixels)
    found = run_both_ways(folder, tmp_path / "run", {"inputs.nodata": nodata})
    known = write_collared(tmp_path / "known", fill=0, dtype="uint8", nodata=0)
    expected = run_quietly(known, tmp_path / "known-run", {})
    assert found.files["adjustments.json"] == expected.files["adjustments.json"]
    assert {"undeclared-fill", "no-nodata"} & set(read_findings(found)) == set()


@pytest.mark.parametrize("nodata", ["255..253", "white", "nan", [], "1..x"])
def test_nodata_that_is_no_value_is_refused(nodata: Any) -> None:
    with pytest.raises(ConfigError, match=r"inputs\.nodata"):
        load_config(flags={"inputs.nodata": nodata}, environment={})


def test_what_the_item_declares_counts_where_the_file_says_nothing(tmp_path: Path) -> None:
    """Nodata and CRS of the Item, as the whole file has neither."""
    found = {}
    for kind in ("silent", "said"):
        folder = write_collared(tmp_path / kind, fill=0, dtype="uint16", nodata=0)
        items = write_items(folder, [folder / "a.tif", folder / "b.tif"])
        if kind == "silent":
            write_collared(folder, fill=0, dtype="uint16", crs=None)
        document = json.loads(items.read_text())
        for feature in document["features"]:
            feature["properties"]["proj:code"] = "EPSG:32633"
            feature["assets"]["image"] |= {"bands": [{"name": "grey", "nodata": 0}]}
        items.write_text(json.dumps(document))
        found[kind] = run_both_ways(items, tmp_path / f"{kind}-run", {})
    assert read_mosaic(found["silent"]).tobytes() == read_mosaic(found["said"]).tobytes()
    assert {"nodata-from-item", "crs-from-item"} <= set(read_findings(found["silent"]))
    assert {"nodata-from-item", "crs-from-item", "item-disagrees"} & set(read_findings(found["said"])) == set()


def test_a_collar_that_compression_smeared_is_named_with_what_mends_it(tmp_path: Path) -> None:
    """Blocks of a few nearly black pixels gave corrections by factors of thousands."""
    ground = draw_ground(500, 800, 3, low=90, high=200)
    for name, left, gain, turn in (("a", 0, 1.0, 1), ("b", 300, 0.85, -1)):
        array = ground[:, :, left : left + 500] * gain
        y, x = np.mgrid[:500, :500] - 250
        array[:, (abs(x + turn * 0.35 * y) > 190) | (abs(y - turn * 0.2 * x) > 190)] = 0
        options = {"compress": "JPEG", "JPEG_QUALITY": 60, "photometric": "YCBCR", "block": 128}
        write_scene(tmp_path / "in" / f"{name}.tif", array, dtype="uint8", left=LEFT + left, **options)
    smeared = run_quietly(tmp_path / "in", tmp_path / "run", {})
    remedy = read_findings(smeared)["lossy-collar"].split("--inputs.nodata ")[1].split(";")[0]
    assert remedy.startswith("0..")
    mended = run_both_ways(tmp_path / "in", tmp_path / "mended", {"inputs.nodata": remedy})
    assert "lossy-collar" not in read_findings(mended)
    mosaic = mended.read("mosaic.tif")
    row, col = (round(TOP - mosaic.transform[5]), round(mosaic.transform[2] - LEFT))
    assert (row, col) == (0, 0)
    level = mosaic.values[:, :500, :800] / ground[:, : mosaic.values.shape[1], : mosaic.values.shape[2]]
    level = level[:, (mosaic.values != 0).all(axis=0)]
    assert np.abs(np.median(level) - 0.92) < 0.03
    assert (np.abs(level - 0.92) < 0.15).mean() > 0.99


# Overviews of other pixels


def write_pair(folder: Path, *, stale: float, nodata: float | None = 0, holes: bool = False) -> Path:
    """Two scenes of one level, large enough for an estimate; the overviews of b were made when it was brighter."""
    ground = np.rint(draw_ground(72, 2900, low=400, high=3000))
    for name, left, factor in (("a", 0, 1.0), ("b", 800, stale)):
        array = ground[:, :, left : left + 2100].copy()
        if holes and name == "b":
            array[:, np.random.default_rng(2).random(array.shape[1:]) < 0.1] = 0
        path = write_scene(
            folder / f"{name}.tif", array * factor, dtype="uint16", nodata=nodata, left=LEFT + left, overviews=(2, 4)
        )
        if factor != 1:
            with rasterio.open(path, "r+") as raster:
                raster.write(array.astype("uint16"))
    return folder


def test_scenes_are_measured_whole_where_their_overviews_are_of_other_pixels(tmp_path: Path) -> None:
    """Gains were 2.0 and 0.7, where both scenes are the same ground."""
    stale = run_both_ways(write_pair(tmp_path / "in", stale=3), tmp_path / "run", {})
    for gains in read_gains(stale).values():
        np.testing.assert_allclose(gains[:, 0], 1, atol=0.01)
    message = read_findings(stale)["overviews-differ"]
    assert "of 1 scenes" in message
    assert "b (band 1 is off by +" in message
    good = run_quietly(write_pair(tmp_path / "good", stale=1), tmp_path / "good-run", {})
    assert "overviews-differ" not in read_findings(good)


def test_nodata_that_is_given_by_hand_is_not_mixed_into_overviews(tmp_path: Path) -> None:
    """The files say nothing of nodata, so that their overviews have holes mixed in."""
    folder = write_pair(tmp_path / "in", stale=1, nodata=None, holes=True)
    outcome = run_both_ways(folder, tmp_path / "run", {"shared.custom_nodata_value": 0})
    for gains in read_gains(outcome).values():
        np.testing.assert_allclose(gains[:, 0], 1, atol=0.01)
    assert "b (" in read_findings(outcome)["overviews-differ"]


# Scenes that are left out


def write_row(folder: Path, *, empty: str = "") -> Path:
    """Four scenes beside one another, one of them without a pixel."""
    ground = draw_ground(80, 260, 2)
    for number, (name, gain) in enumerate(zip("abcd", (1.0, 0.8, 1.1, 0.9), strict=True)):
        array = ground[:, :, number * 50 : number * 50 + 110] * gain * (name != empty)
        write_scene(folder / f"{name}.tif", array, dtype="uint16", left=LEFT + number * 50)
    return folder


def test_a_scene_without_a_pixel_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    found = run_both_ways(write_row(tmp_path / "in", empty="b"), tmp_path / "run", {})
    without = write_row(tmp_path / "less")
    (without / "b.tif").unlink()
    expected = run_quietly(without, tmp_path / "less-run", {})
    for name in ("mosaic.tif", "scene_index.tif", "adjustments.json"):
        assert found.files[name] == expected.files[name]
    assert [link["href"] for link in found.item["links"] if link["rel"] == "via" and "b.tif" in link["href"]] == []
    assert "scene b has no valid pixel" in read_findings(found)["scene-empty"]


@pytest.mark.parametrize("allowed", [2, 0.5])
def test_scenes_that_cannot_be_read_are_left_out_where_that_is_allowed(allowed: float, tmp_path: Path) -> None:
    folder = write_row(tmp_path / "in")
    items = write_items(folder, [folder / f"{name}.tif" for name in "abcd"])
    for name in "bd":
        (folder / f"{name}.tif").unlink()
    found = run_both_ways(items, tmp_path / "run", {"inputs.skip_unreadable": allowed})
    expected = run_quietly(write_items(folder, [folder / "a.tif", folder / "c.tif"]), tmp_path / "less", {})
    assert read_mosaic(found).tobytes() == read_mosaic(expected).tobytes()
    findings = json.loads(found.files["report.json"])["findings"]
    assert [one["scene"] for one in findings if one["code"] == "scene-unreadable"] == ["b", "d"]


@pytest.mark.parametrize("allowed", [None, 1, 0.3])
def test_all_scenes_that_cannot_be_read_are_named(allowed: float | None, tmp_path: Path) -> None:
    folder = write_row(tmp_path / "in")
    items = write_items(folder, [folder / f"{name}.tif" for name in "abcd"])
    for name in "bd":
        (folder / f"{name}.tif").unlink()
    with pytest.raises(UnreadableError, match=r"2 of 4 scenes cannot be read: b, d; .*--skip-unreadable 2"):
        run_quietly(items, tmp_path / "run", {"inputs.skip_unreadable": allowed})


@pytest.mark.server
def test_a_scene_that_a_server_does_not_have_may_be_left_out(tmp_path: Path) -> None:
    folder = write_row(tmp_path / "in")
    items = write_items(folder, [folder / f"{name}.tif" for name in "abcd"])
    (folder / "b.tif").unlink()
    with run_web(folder, tmp_path / "log") as web:
        address = f"{web.url}/{items.name}"
        with pytest.raises(UnreadableError, match=r"scene b: .*does not exist"):
            run_quietly(address, tmp_path / "refused", {})
        found = run_quietly(address, tmp_path / "run", {"inputs.skip_unreadable": 1})
    assert "scene b" in read_findings(found)["scene-unreadable"]
