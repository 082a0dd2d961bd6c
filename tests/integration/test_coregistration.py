"""Scenes that lie beside their places by known parts of pixels: it is found out, told, and mended where that is asked for."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from commands import CREATED, call_command, read_files
from numpy.typing import NDArray
from registration import PARTS, make_ground, see_ground
from scenes import LEFT, TOP, write_items, write_scene

# Parts of a pixel right and down; they sum to 0, as those do that are found.
PLACES = ((6, -4), (-10, 2), (4, 2))
STEP, SIZE = 160, 288
PIXEL = 2.0


@pytest.fixture(scope="module")
def truth() -> NDArray[np.float64]:
    return 2000 + 300 * make_ground(SIZE + 2 * STEP)


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory, truth: NDArray[np.float64]) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    paths = []
    for number, (right, down) in enumerate(PLACES):
        seen = see_ground(truth, row=0, col=STEP * number, height=SIZE, width=SIZE, right=right, down=down)
        values = (1 + 0.1 * number) * seen + 50 * number
        paths.append(
            write_scene(folder / f"s{number}.tif", values, dtype="uint16", left=LEFT + PIXEL * STEP * number, pixel=PIXEL)
        )
    return write_items(folder, paths)


def run(items: Path, folder: Path, *flags: str) -> dict[str, bytes]:
    folder.mkdir()
    target = ("run", str(items), "--output", "out", "--item-id", "m", "--created", CREATED, "--shared.window_size", "512")
    cubic = ("--align_rasters.resampling_method", "cubic")
    done = call_command(*target, *cubic, *flags, cwd=folder, scratch=folder / "scratch")
    assert done.code == 0, done.stderr
    return read_files(folder / "out" / "m")


def read_report(made: dict[str, bytes]) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(made["report.json"])
    return report


def measure_error(folder: Path, truth: NDArray[np.float64]) -> float:
    """RMS of the mosaic about the truth after one line a band, over the truth's standard deviation."""
    with rasterio.open(folder / "out" / "m" / "mosaic.tif") as raster:
        assert (raster.transform.c, raster.transform.f) == (LEFT, TOP)
        values = raster.read()[:, 8:-8, 8:-8].astype(float)
    height, width = SIZE, SIZE + 2 * STEP
    seen = see_ground(truth, row=0, col=0, height=height, width=width)[:, 8 : height - 8, 8 : width - 8]
    left = []
    for one, other in zip(values, seen, strict=True):
        slope, offset = np.polyfit(one.ravel(), other.ravel(), 1)
        left.append(np.std(other - slope * one - offset) / np.std(other))
    return float(np.mean(left))


def test_shifts_are_found_and_mended_the_same_by_tasks(items: Path, truth: NDArray[np.float64], tmp_path: Path) -> None:
    plain = run(items, tmp_path / "plain")
    told = run(items, tmp_path / "told", "--align_rasters.coregister", "measure")
    mended = run(items, tmp_path / "mended", "--align_rasters.coregister", "true")
    parted = run(items, tmp_path / "tasks", "--align_rasters.coregister", "true", "--executor", "tasks")
    assert told["mosaic.tif"] == plain["mosaic.tif"]
    assert "coregistration" in read_report(plain)
    assert read_report(plain)["coregistration"] is read_report(plain)["summary"]["misregistration"] is None
    for name in ("mosaic.tif", "scene_index.tif", "seamlines.gpkg", "report.json"):
        assert mended[name].replace(b"/mended/", b"/tasks/") == parted[name], name
    check_report(read_report(told), is_applied=False)
    check_report(read_report(mended), is_applied=True)
    assert json.loads(told["m.json"])["properties"]["mosaic:misregistration"] == read_report(told)["summary"]["misregistration"]
    before, after = measure_error(tmp_path / "plain", truth), measure_error(tmp_path / "mended", truth)
    assert after < 0.45 * before  # what is left is resampling and matching
    assert "misregistered" in {finding["code"] for finding in read_report(told)["findings"]}
    assert "misregistered" not in {finding["code"] for finding in read_report(mended)["findings"]}
    assert b"Co-registration" in told["report.html"]
    assert b"Co-registration" not in plain["report.html"]


def check_report(report: dict[str, Any], *, is_applied: bool) -> None:
    found = report["coregistration"]
    assert found["is_applied"] is is_applied
    assert [(pair["first"], pair["second"]) for pair in found["pairs"]] == list(pairwise(("s0", "s1", "s2")))
    pixel = PIXEL / PARTS
    for pair, (first, second) in zip(found["pairs"], pairwise(PLACES), strict=True):
        assert pair["right"] == pytest.approx(pixel * (second[0] - first[0]), abs=0.1 * PIXEL)
        assert pair["up"] == pytest.approx(-pixel * (second[1] - first[1]), abs=0.1 * PIXEL)
    for scene, (right, down) in zip(found["scenes"], PLACES, strict=True):
        assert (scene["right"], scene["up"]) == pytest.approx((pixel * right, -pixel * down), abs=0.1 * PIXEL)
    lengths = [np.hypot(b[0] - a[0], b[1] - a[1]) / PARTS for a, b in pairwise(PLACES)]
    assert report["summary"]["misregistration"] == pytest.approx(np.median(lengths), abs=0.1)
    assert report["summary"]["misregistration_after_high"] < 0.01


def test_overviews_are_not_believed_where_scenes_will_be_moved(items: Path, tmp_path: Path) -> None:
    folder = tmp_path / "with"
    folder.mkdir()
    paths = []
    for scene in sorted(items.parent.glob("s*.tif")):
        with rasterio.open(scene) as raster:
            values, left = raster.read(), raster.transform.c
        big = values.repeat(8, axis=1).repeat(8, axis=2)
        paths.append(write_scene(folder / scene.name, big, left=left, pixel=PIXEL / 8, overviews=(2,)))
    made = run(write_items(folder, paths), tmp_path / "moved", "--align_rasters.coregister", "true")
    moments = [scene["measured_pixels"] for scene in read_report(made)["scenes"]]
    assert moments == [(SIZE * 8) ** 2] * 3


def test_rasters_of_scenes_before_alignment_keep_their_grids(items: Path, tmp_path: Path) -> None:
    kept = ("--global_regression.output_images", "global", "--align_rasters.output_images", "aligned")
    run(items, tmp_path / "kept", "--align_rasters.coregister", "true", *kept)
    with rasterio.open(tmp_path / "kept" / "global" / "s1.tif") as before, rasterio.open(items.parent / "s1.tif") as scene:
        assert before.transform == scene.transform
        correlation = np.corrcoef(before.read(1).ravel(), scene.read(1).ravel())[0, 1]
        assert correlation > 0.99999
    with rasterio.open(tmp_path / "kept" / "aligned" / "s1.tif") as aligned:
        assert aligned.transform != before.transform
