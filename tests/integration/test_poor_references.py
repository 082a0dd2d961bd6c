"""References that say too little: each is an error or a finding of its own, and the mosaic is never a wrong one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import CREATED, Finished, call_command, read_files
from known_truth import draw_fields
from numpy.typing import NDArray
from outcomes import leaving_out_drawings
from rasterio.io import MemoryFile
from scenes import LEFT, TOP, write_items, write_scene

F64 = NDArray[np.float64]
BANDS = ("red", "green", "blue")
EDGE, STEP = 200, 120
SIDE = EDGE + STEP


@pytest.fixture(scope="module")
def ground() -> F64:
    return draw_fields()[:, 100 : 100 + EDGE, 100 : 100 + SIDE]


@pytest.fixture(scope="module")
def items(ground: F64, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    paths = [
        write_scene(
            folder / f"{name}.tif", ground[:, :, col : col + EDGE] * gain, dtype="uint16", left=LEFT + col, descriptions=BANDS
        )
        for name, col, gain in (("a", 0, 1.0), ("b", STEP, 1.2))
    ]
    return write_items(folder, paths, bands=BANDS)


def average(ground: F64, cell: int) -> F64:
    bands, height, width = ground.shape
    return np.asarray(ground.reshape(bands, height // cell, cell, width // cell, cell).mean(axis=(2, 4)))


def run(
    items: Path, folder: Path, reference: Path, *flags: str, preset: str = "satellite", executor: str = "local"
) -> Finished:
    folder.mkdir(parents=True, exist_ok=True)
    words = ("run", str(items), "--output", "out", "--item-id", "m", "--created", CREATED, "--preset", preset)
    with leaving_out_drawings():
        return call_command(
            *words, "--executor", executor, "--reference", str(reference), *flags, cwd=folder, scratch=folder / "scratch"
        )


def list_findings(folder: Path) -> dict[str, str]:
    report = json.loads((folder / "out" / "m" / "report.json").read_bytes())
    return {one["code"]: one["message"] for one in report["findings"]}


def read_mosaic(folder: Path) -> F64:
    with MemoryFile((folder / "out" / "m" / "mosaic.tif").read_bytes()) as memory, memory.open() as raster:
        return np.asarray(raster.read().astype(np.float64))


# Refused before any pixel is read


def test_a_reference_beside_all_scenes_is_refused(items: Path, ground: F64, tmp_path: Path) -> None:
    sensor = write_scene(tmp_path / "s.tif", average(ground, 8), pixel=8.0, left=LEFT + 5000, nodata=None, descriptions=BANDS)
    done = run(items, tmp_path / "run", sensor)
    assert done.code == 13
    assert "reference s lies beside all scenes" in done.events[-1]["message"]
    assert not (tmp_path / "run" / "out").exists()


@pytest.mark.parametrize("names", [("nir", "swir16", "swir22"), ("red", "green")], ids=["others", "fewer"])
def test_a_reference_of_other_bands_is_refused(names: tuple[str, ...], items: Path, ground: F64, tmp_path: Path) -> None:
    coarse = average(ground, 8)[: len(names)]
    sensor = write_scene(tmp_path / "known" / "s.tif", coarse, pixel=8.0, nodata=None, descriptions=names)
    known = write_items(tmp_path / "known", [sensor], bands=names)
    done = run(items, tmp_path / "run", known)
    assert done.code == 13, done.stdout
    message = done.events[-1]["message"]
    assert all(word in message for word in ("reference s has bands", *names, "red, green, blue", "--reference.bands"))
    assert not (tmp_path / "run" / "out").exists()


# Told by a finding: the reference decides nothing, or only what it can


def make_poor(kind: str, folder: Path, ground: F64) -> Path:
    coarse = average(ground, 8)
    options: dict[str, Any] = {"pixel": 8.0, "nodata": -1.0, "descriptions": BANDS}
    if kind == "nodata":
        coarse[:] = -1.0
    elif kind == "constant":
        coarse[:] = 700.0
    elif kind == "noise":
        coarse = np.random.default_rng(1).normal(900, 200, coarse.shape)
    elif kind == "constant band":
        coarse[1] = 700.0
    elif kind == "single block":
        coarse = np.full((3, 1, 1), 700.0)
        options["pixel"] = 120.0
    elif kind == "one pixel":
        coarse = np.full((3, 1, 1), 700.0)
        options["pixel"] = 2000.0
        options["left"], options["top"] = LEFT - 800, TOP + 800
    elif kind == "corner":
        coarse[:, :, 2:] = -1.0
        coarse[:, 2:] = -1.0
    return write_scene(folder / "sensor.tif", coarse.astype(np.float32), **options)


REFUSED = {
    "nodata": "reference sensor says nothing of the scenes",
    "one pixel": "reference sensor says nothing of the scenes",
    "single block": "reference sensor has a single block on the scenes",
    "constant": "reference sensor is constant in band 1, 2, 3",
    "constant band": "reference sensor is constant in band 2",
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize(("preset", "executor"), [("satellite", "local"), ("aerial", "tasks")])
def test_a_reference_that_tells_no_level_or_no_gain_is_refused(
    kind: str, preset: str, executor: str, items: Path, ground: F64, tmp_path: Path
) -> None:
    done = run(items, tmp_path / "run", make_poor(kind, tmp_path, ground), preset=preset, executor=executor)
    assert done.code == 13
    assert REFUSED[kind] in done.events[-1]["message"]
    assert "m/m.json" not in read_files(tmp_path / "run" / "out")
    assert "m/mosaic.tif" not in read_files(tmp_path / "run" / "out")


@pytest.mark.parametrize("executor", ["local", "tasks"])
def test_a_reference_that_shows_another_ground_is_told(executor: str, items: Path, ground: F64, tmp_path: Path) -> None:
    done = run(items, tmp_path / "run", make_poor("noise", tmp_path, ground), executor=executor)
    assert done.code == 0, done.stderr
    assert "hardly looks like the scenes" in list_findings(tmp_path / "run")["reference-unlike"]


def test_of_two_references_that_which_says_nothing_is_named(items: Path, ground: F64, tmp_path: Path) -> None:
    empty = make_poor("nodata", tmp_path / "known", ground).rename(tmp_path / "known" / "empty.tif")
    good = make_poor("good", tmp_path / "known", ground).rename(tmp_path / "known" / "good.tif")
    done = run(items, tmp_path / "run", tmp_path / "known")
    assert done.code == 0, done.stderr
    assert (empty.is_file(), good.is_file()) == (True, True)
    findings = list_findings(tmp_path / "run")
    assert "reference empty has no value on the scenes" in findings["reference-silent"]
    assert "reference-unlike" not in findings
    np.testing.assert_allclose(read_mosaic(tmp_path / "run"), ground, rtol=0.05, atol=20)


def test_one_level_a_scene_holds_levels_and_says_so(items: Path, ground: F64, tmp_path: Path) -> None:
    """Two pixels, each of which lies on one scene alone for the most part."""
    coarse = np.full((3, 1, 2), -1.0)
    coarse[:, 0, 0], coarse[:, 0, 1] = ground[:, :, :160].mean(axis=(1, 2)), ground[:, :, 160:].mean(axis=(1, 2))
    sensor = write_scene(tmp_path / "sensor.tif", coarse.astype(np.float32), pixel=160.0, nodata=-1.0, descriptions=BANDS)
    done = run(items, tmp_path / "run", sensor)
    assert done.code == 0, done.stderr
    assert "tells one level of each scene" in list_findings(tmp_path / "run")["reference-levels-only"]


@pytest.mark.parametrize("kind", ["good", "corner"])
def test_a_reference_that_says_enough_is_no_finding(kind: str, items: Path, ground: F64, tmp_path: Path) -> None:
    done = run(items, tmp_path / "run", make_poor(kind, tmp_path, ground))
    assert done.code == 0, done.stderr
    assert not {code for code in list_findings(tmp_path / "run") if code.startswith(("reference", "scenes-disagree"))}
    np.testing.assert_allclose(read_mosaic(tmp_path / "run"), ground, rtol=0.05, atol=20)
