"""Input and settings that cannot be used, through the command: one clear error that names the scene, and nothing is written."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from commands import CREATED, keeping_process_state, read_files
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasterio.warp import transform
from scenes import LEFT, TOP, gradient_truth, write_items, write_scene

from processor.cli.commands import main

TRANSIENT, USAGE, PERMANENT = 1, 2, 13


class Shell:
    """Calls the command in this process, with a folder of the test as destination."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.destination = folder / "out"

    def run(self, *arguments: str | Path) -> tuple[int, list[dict[str, Any]], str]:
        """Exit code, events, and what was printed."""
        options = ("--output", str(self.destination), "--item-id", "mosaic", "--created", CREATED)
        code = main(["run", *options, *map(str, arguments)])
        printed = self._capsys.readouterr()
        return code, [json.loads(line) for line in printed.err.splitlines()], printed.out

    def refuse(self, code: int, *arguments: str | Path) -> str:
        """Be refused with one error and nothing written, and give its message."""
        found, events, printed = self.run(*arguments)
        errors = [event for event in events if event["level"] == "error"]
        assert (found, len(errors), printed) == (code, 1, ""), events
        assert errors[0]["exit_code"] == code
        message = str(errors[0]["message"])
        assert "\n" not in message
        assert "Traceback" not in json.dumps(events)
        assert read_files(self.destination) == {}
        return message

    def make(self, *arguments: str | Path) -> tuple[list[dict[str, Any]], NDArray[Any]]:
        """Make a mosaic, and give its findings' events and its pixels."""
        code, events, printed = self.run(*arguments)
        assert code == 0, events
        assert json.loads(printed)["features"][0]["id"] == "mosaic"
        with rasterio.open(self.destination / "mosaic" / "mosaic.tif") as raster:
            pixels: NDArray[Any] = raster.read()
        return [event for event in events if event["level"] == "warning"], pixels


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    for name in [name for name in os.environ if name.startswith("MOSAIC_") or name == "SOURCE_DATE_EPOCH"]:
        monkeypatch.delenv(name)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr("tempfile.tempdir", None)
    with keeping_process_state():
        yield Shell(tmp_path, capsys)
    assert list(scratch.iterdir()) == []  # whatever happened


def write_good(folder: Path, name: str = "good", *, col: int = 0, **options: Any) -> Path:
    """A scene of 64 x 64 pixels that nothing is wrong with, unless the options make it so."""
    truth = gradient_truth(64, 64, options.pop("bands", 2), left=LEFT + col) * options.pop("gain", 1.0)
    return write_scene(folder / f"{name}.tif", truth, **{"left": LEFT + col, "dtype": "uint16", **options})


def write_pair(folder: Path, **options: Any) -> tuple[Path, Path]:
    """A good scene, and one beside it that the options are for."""
    return write_good(folder, "good"), write_good(folder, "odd", col=40, **options)


def write_warped(path: Path, crs: str, *, col: int) -> Path:
    """A scene in another CRS of 64 x 64 pixels of 1 m around the middle of the good one that begins at that column."""
    xs, ys = transform("EPSG:32633", crs, [LEFT + col + 32], [TOP - 32])
    left, top = round(xs[0]) - 40, round(ys[0]) + 40
    return write_scene(path, np.full((2, 80, 80), 2000.0), left=left, top=top, crs=crs, dtype="uint16")


def edit_items(path: Path, change: Callable[[list[dict[str, Any]]], object]) -> Path:
    """Change the features of an ItemCollection."""
    document = json.loads(path.read_text())
    change(document["features"])
    path.write_text(json.dumps(document))
    return path


def test_a_scene_whose_file_is_nowhere(shell: Shell, tmp_path: Path) -> None:
    pair = write_pair(tmp_path / "in")
    items = write_items(tmp_path / "in", pair)
    pair[1].unlink()
    message = shell.refuse(PERMANENT, items)
    assert message == f"scene odd: no such file: {pair[1]}; correct the href, or fetch the file"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("", "is empty"),
        ("{", "is not JSON"),
        ('{"type": "Catalog", "id": "c"}', "links to no Item (rel item), nor do its children"),
        ('{"code": 404, "description": "gone"}', "the error 404 of an API: gone"),
    ],
)
def test_a_document_that_is_no_item_collection(shell: Shell, tmp_path: Path, document: str, said: str) -> None:
    path = tmp_path / "items.json"
    path.write_text(document)
    message = shell.refuse(PERMANENT, path)
    assert said in message
    assert str(path) in message


def test_an_item_with_several_rasters(shell: Shell, tmp_path: Path) -> None:
    items = write_items(tmp_path / "in", write_pair(tmp_path / "in"))

    def add(features: list[dict[str, Any]]) -> None:
        for feature in features:
            feature["assets"]["other"] = dict(feature["assets"]["image"])

    edit_items(items, add)
    message = shell.refuse(PERMANENT, items)
    remedy = "choose bands with --inputs.bands image,other, or one with --inputs.asset KEY"
    assert f"Item 'good' has 2 raster assets, 'image', 'other': {remedy}" in message
    assert "Item 'good' has no asset 'third' (--inputs.asset) (did you mean 'other'?): it has 'image', 'other'" in shell.refuse(
        PERMANENT, items, "--inputs.asset", "third"
    )
    shell.make(items, "--inputs.asset", "other")


@pytest.mark.parametrize("data", [b"", b"nothing", b"II*\0" + b"\xff" * 40, b"<VRTDataset></VRTDataset>"])
def test_a_file_that_is_no_raster(shell: Shell, tmp_path: Path, data: bytes) -> None:
    good, odd = write_pair(tmp_path / "in")
    odd.write_bytes(data)
    message = shell.refuse(PERMANENT, good, odd)
    assert message.startswith(f"scene odd: {odd} is not a readable GeoTIFF (")
    assert message.endswith("convert it, e.g. with gdal_translate")


def test_a_raster_that_was_cut_off(shell: Shell, tmp_path: Path) -> None:
    good, odd = write_pair(tmp_path / "in", block=32)
    odd.write_bytes(odd.read_bytes()[:-3000])
    message = shell.refuse(PERMANENT, good, odd)
    assert message.startswith("scene odd: cannot read rows 0 to 63, columns 0 to 63 of")
    assert message.endswith("the file is truncated or corrupt: fetch it again")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_compressed_raster_that_was_cut_off_anywhere(shell: Shell, tmp_path: Path, share: float) -> None:
    good, odd = write_pair(tmp_path / "in", block=32, compress="deflate", predictor=2)
    data = odd.read_bytes()
    odd.write_bytes(data[: int(share * len(data))])
    assert shell.refuse(PERMANENT, good, odd).startswith("scene odd: ")


def test_a_compressed_raster_with_damaged_bytes(shell: Shell, tmp_path: Path) -> None:
    good, odd = write_pair(tmp_path / "in", block=32, compress="deflate", predictor=2)
    data = bytearray(odd.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)
    odd.write_bytes(data)
    message = shell.refuse(PERMANENT, good, odd)
    assert message.endswith("the file is truncated or corrupt: fetch it again")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"crs": None}, "the raster has no coordinate reference system; georeference it"),
        ({"transform": Affine.identity()}, "the raster has no geotransform; georeference it"),
        ({"crs": None, "transform": Affine.identity()}, "the raster has no coordinate reference system"),
        ({"transform": Affine(1, 1, LEFT + 40, 1, 1, TOP)}, "makes no grid; georeference the raster anew"),
    ],
)
def test_a_raster_whose_place_cannot_be_used(shell: Shell, tmp_path: Path, options: dict[str, Any], said: str) -> None:
    message = shell.refuse(PERMANENT, *write_pair(tmp_path / "in", **options))
    assert message.startswith("scene odd: ")
    assert said in message


def test_scenes_in_several_reference_systems_are_warped_to_the_commonest_and_said_to_be(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    good, other = write_good(folder, "good"), write_good(folder, "other", col=40)
    odd = write_warped(folder / "odd.tif", "EPSG:32632", col=80)
    code, events, _ = shell.run(odd, good, other)
    assert code == 0, events
    warped = [event for event in events if event["event"] == "warped"]
    assert [(event["scene"], event["message"]) for event in warped] == [
        ("odd", "scene odd is warped from EPSG:32632 to EPSG:32633")
    ]
    with rasterio.open(shell.destination / "mosaic" / "mosaic.tif") as raster:
        assert raster.crs == CRS.from_epsg(32633)
        row = round(raster.bounds.top - TOP)
        assert (raster.read(1, window=((row, row + 64), (0, 140))) != 0).all()


def test_a_reference_system_without_a_code_is_warped(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    good, other = write_good(folder, "good"), write_good(folder, "other", col=40)
    odd = write_warped(folder / "odd.tif", "+proj=laea +lat_0=50 +lon_0=11 +datum=WGS84 +units=m", col=80)
    code, events, _ = shell.run(odd, good, other)
    assert code == 0, events
    assert "scene odd is warped from unknown to EPSG:32633" in [event["message"] for event in events]


def test_a_scene_whose_reference_system_is_another_than_its_coordinates_mean(shell: Shell, tmp_path: Path) -> None:
    """Such a scene lies thousands of kilometres away: that is said at once, and no such mosaic is begun."""
    wkt = CRS.from_proj4("+proj=laea +lat_0=50 +lon_0=11 +datum=WGS84 +units=m").to_wkt()
    other = write_good(tmp_path / "in", "other", col=20)
    message = shell.refuse(PERMANENT, *write_pair(tmp_path / "in", crs=wkt), other)
    assert re.match(r"the scenes span \d+ x \d+ pixels and cover 1 of \d+ of them, where .* scene odd lies farthest", message)
    assert "check where it lies" in message


def test_a_scene_that_has_no_place_in_the_reference_system_of_the_others(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    good, other = write_good(folder, "good"), write_good(folder, "other", col=40)
    odd = write_good(folder, "odd", left=104.968, top=0.032, pixel=0.001, crs="EPSG:4326")  # a quarter of the earth away
    message = shell.refuse(PERMANENT, good, other, odd)
    assert re.match(r"scene odd: the grid at \(104.968, .*\) has no place in WGS 84 / UTM zone 33N; ", message)
    assert message.endswith("leave it out, or choose another CRS with --align_rasters.crs")


def test_a_reference_system_that_does_not_exist(shell: Shell, tmp_path: Path) -> None:
    message = shell.refuse(USAGE, *write_pair(tmp_path / "in"), "--align_rasters.crs", "EPSG:1")
    assert message.startswith("align_rasters.crs = 'EPSG:1' is no CRS (")


def test_a_scene_that_lies_far_away_by_mistake(shell: Shell, tmp_path: Path) -> None:
    message = shell.refuse(PERMANENT, *write_pair(tmp_path / "in", left=0.0, top=9e9))
    assert "check where it lies" in message


def test_a_scene_without_a_valid_pixel(shell: Shell, tmp_path: Path) -> None:
    good, odd = write_pair(tmp_path / "in")
    with rasterio.open(odd, "r+") as raster:
        raster.write(np.zeros((2, 64, 64), "uint16"))
    message = shell.refuse(PERMANENT, odd)
    assert message == "scene odd: no valid pixel; give other scenes, or correct their nodata value or mask"
    warnings, _ = shell.make(good, odd)
    assert [event["scene"] for event in warnings if event["event"] == "scene-empty"] == ["odd"]


def test_an_item_without_an_id(shell: Shell, tmp_path: Path) -> None:
    items = write_items(tmp_path / "in", write_pair(tmp_path / "in"))
    edit_items(items, lambda features: features[1].update(id=""))
    assert "feature number 2 of the ItemCollection has no id" in shell.refuse(PERMANENT, items)


@pytest.mark.parametrize("name", ["../odd", "17/031331303211/10300100DB064000", "x" * 300, "Südhang 東"])
def test_an_item_whose_id_is_no_file_name(shell: Shell, tmp_path: Path, name: str) -> None:
    items = write_items(tmp_path / "in", write_pair(tmp_path / "in"))
    edit_items(items, lambda features: features[1].update(id=name))
    shell.make(items)


def test_a_scene_without_nodata_or_mask_is_valid_everywhere_and_said_to_be(shell: Shell, tmp_path: Path) -> None:
    pair = write_pair(tmp_path / "in", nodata=None)
    with rasterio.open(pair[1], "r+") as raster:
        pixels = raster.read()
        pixels[:, 20:30, 50:60] = 0
        raster.write(pixels)
    warnings, mosaic = shell.make(*pair)
    found = [event for event in warnings if event["event"] == "no-nodata"]
    assert [event["scene"] for event in found] == ["odd"]
    assert "every pixel is taken as valid; if it has a border, give its value with --inputs.nodata" in found[0]["message"]
    assert (mosaic != 0).all()


def test_scenes_that_overlap_nothing_are_mosaicked_as_they_are_and_said_to_be(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    pair = write_good(folder, "a"), write_good(folder, "b", col=40, gain=1.2)
    alone = write_good(folder, "c", col=200, gain=1.5)
    warnings, mosaic = shell.make(*pair, alone, "--methods.matching_local_method", "null")
    assert [(event["event"], event["scene"]) for event in warnings if event["event"] == "no-overlap"] == [("no-overlap", "c")]
    with rasterio.open(alone) as raster:
        np.testing.assert_allclose(mosaic[:, :, 200:].astype(int), raster.read().astype(int), atol=1)
    assert (mosaic[:, :, 104:200] == 0).all()


def test_scenes_that_all_overlap_nothing_make_a_mosaic(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    paths = [write_good(folder, f"s{i}", col=100 * i, gain=1 + i / 10) for i in range(3)]
    warnings, mosaic = shell.make(*paths)
    assert {"s0", "s1", "s2"} <= {event.get("scene") for event in warnings if event["event"] == "no-overlap"}
    for number, path in enumerate(paths):
        with rasterio.open(path) as raster:
            part = mosaic[:, :, 100 * number : 100 * number + 64].astype(int)
            np.testing.assert_allclose(part, raster.read().astype(int), atol=1)


def test_a_single_scene_makes_a_mosaic(shell: Shell, tmp_path: Path) -> None:
    path = write_good(tmp_path / "in")
    _, mosaic = shell.make(path)
    with rasterio.open(path) as raster:
        np.testing.assert_allclose(mosaic.astype(int), raster.read().astype(int), atol=1)


@pytest.mark.parametrize("nodata", [None, float("nan"), -9999.0])
def test_nan_in_a_scene_of_floats_is_invalid(shell: Shell, tmp_path: Path, nodata: float | None) -> None:
    pair = write_good(tmp_path / "in", "good", dtype="float32", nodata=nodata), None
    odd = write_good(tmp_path / "in", "odd", col=40, dtype="float32", nodata=nodata)
    with rasterio.open(odd, "r+") as raster:
        pixels = raster.read()
        pixels[:, 5:10, 40:50] = np.nan  # where no other scene is
        pixels[:, 30:35, 2:8] = np.nan  # where the other one is
        raster.write(pixels)
    warnings, mosaic = shell.make(pair[0], odd)
    invalid = np.isnan(mosaic) if nodata is None or np.isnan(nodata) else mosaic == nodata
    assert np.isfinite(mosaic[~invalid]).all()
    expected = np.zeros((64, 104), np.bool_)
    expected[5:10, 80:90] = True
    np.testing.assert_array_equal(invalid, np.broadcast_to(expected, invalid.shape))
    assert "no-nodata" not in {event["event"] for event in warnings}


def test_infinite_and_huge_values_do_not_spoil_the_mosaic(shell: Shell, tmp_path: Path) -> None:
    good = write_good(tmp_path / "in", "good", dtype="float32", nodata=None)
    odd = write_good(tmp_path / "in", "odd", col=40, dtype="float32", nodata=None)
    with rasterio.open(odd, "r+") as raster:
        pixels = raster.read()
        pixels[:, 50, 50], pixels[:, 51, 51] = np.inf, -np.inf
        raster.write(pixels)
    _, mosaic = shell.make(good, odd)
    assert np.count_nonzero(~np.isfinite(mosaic)) == 4


def test_a_destination_below_a_file(shell: Shell, tmp_path: Path) -> None:
    pair = write_pair(tmp_path / "in")
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    shell.destination = blocker / "out"
    message = shell.refuse(USAGE, *pair)
    assert str(blocker) in message
    assert blocker.read_text() == "in the way"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="for root every folder is writable")
def test_a_destination_that_may_not_be_written(shell: Shell, tmp_path: Path) -> None:
    pair = write_pair(tmp_path / "in")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    shell.destination = locked / "out"
    message = shell.refuse(USAGE, *pair)
    assert str(locked) in message


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/out", "ftp://host/out"])
def test_a_destination_that_cannot_be_written_to_at_all(shell: Shell, tmp_path: Path, url: str) -> None:
    pair = write_pair(tmp_path / "in")
    shell.destination = Path("unused")
    code = main(["run", *map(str, pair), "--output", url])
    assert code == USAGE
    assert not Path("unused").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--shared.window_size", "100"], "shared.window_size = 100: Input should be a multiple of 16"),
        (["--methods.seamline_method", "null"], "methods.clip_method = 'mask_rasters' has nothing to cut by"),
        (["--output.compression", "deflate", "--output.level", "22"], "output.level = 22: deflate has levels 1 to 12"),
        (["--created", "yesterday"], "--created 'yesterday'"),
    ],
)
def test_a_setting_that_cannot_be_used(shell: Shell, tmp_path: Path, options: list[str], said: str) -> None:
    assert said in shell.refuse(USAGE, *write_pair(tmp_path / "in"), *options)


def test_a_server_that_does_not_answer_is_worth_another_try(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only one of these errors that may go away by itself."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        port = unused.getsockname()[1]
        items = write_items(tmp_path / "in", write_pair(tmp_path / "in"))
        href = f"http://127.0.0.1:{port}/odd.tif?token=secret"
        edit_items(items, lambda features: features[1]["assets"]["image"].update(href=href))
        message = shell.refuse(TRANSIENT, items, "--io.retries", "1")
    assert message.startswith(f"scene odd: storage failed for http://127.0.0.1:{port}/odd.tif (")
    assert "secret" not in message
    assert message.endswith("try again later")
