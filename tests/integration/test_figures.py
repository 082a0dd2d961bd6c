"""Figures of a run's report that its own methods did not fit: known from the published mosaic, and the same by tasks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from commands import CREATED, call_command, read_files
from scenes import LEFT, TOP, gradient_truth, write_items, write_scene

PIXEL = 8
METHODS = Path(__file__).parents[2].parent / "shared" / "METHODS.md"
FIGURES = {
    "seam difference": ("seam_difference", "seam_difference_high"),
    "gradient excess": ("gradient_excess",),
    "illumination trend": ("illumination_trend",),
    "fidelity": ("fidelity_to_scenes", "fidelity"),
    "contrast": ("contrast", "contrast_kept"),
    "share of disagreeing blocks": ("disagreement",),
}
"""The figures that cannot be fooled, as METHODS.md of the shared folder names them, and their names in report and Item."""

NAMES = tuple(name for names in FIGURES.values() for name in names)
OF_BLOCKS = {"seam_difference", "seam_difference_high", "disagreement", "illumination_trend"}


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenes in a row over several blocks, with noise of their own and unlike light, and what another sensor saw."""
    folder = tmp_path_factory.mktemp("scenes")
    random = np.random.default_rng(4)
    truth = gradient_truth(560, 1240, 2)
    texture = random.normal(0, 30, (2, 140, 310)).repeat(4, axis=1).repeat(4, axis=2)
    paths = []
    for number, left in enumerate((0, 320, 640)):
        light = 1 + 0.2 * np.linspace(-1, 1, 600) ** 2
        seen = (truth + texture)[:, :, left : left + 600] * light * (1 + 0.1 * number) + random.normal(0, 4, (2, 560, 600))
        paths.append(write_scene(folder / f"s{number}.tif", seen.clip(1), dtype="uint16", left=LEFT + left))
    coarse = (truth + texture).reshape(2, 560 // PIXEL, PIXEL, 1240 // PIXEL, PIXEL).mean(axis=(2, 4))
    write_scene(folder / "other.tif", 0.3 * coarse[::-1] + 7, pixel=PIXEL, dtype="float32", nodata=None)
    return write_items(folder, paths)


def run(items: Path, folder: Path, *flags: str) -> dict[str, bytes]:
    folder.mkdir()
    target = ("run", str(items), "--output", "out", "--item-id", "m", "--created", CREATED)
    done = call_command(*target, *flags, cwd=folder, scratch=folder / "scratch")
    assert done.code == 0, done.stderr
    return read_files(folder / "out" / "m")


@pytest.mark.parametrize("preset", ["spectralmatch", "satellite", "aerial"])
def test_figures_are_those_of_the_mosaic_and_the_same_by_tasks(items: Path, tmp_path: Path, preset: str) -> None:
    flags = ("--preset", preset, "--check", str(items.parent / "other.tif"), "--check.bands", "2,1")
    made = run(items, tmp_path / "one", *flags, "--shared.window_size", "1024")
    parted = run(items, tmp_path / "tasks", *flags, "--executor", "tasks", "--shared.window_size", "512")
    for name in ("report.json", "report.html", "m.json", "mosaic.tif"):
        assert made[name].replace(b"/one/", b"/tasks/") == parted[name], name
    report = json.loads(made["report.json"])
    properties = json.loads(made["m.json"])["properties"]
    assert {name: properties.get(f"mosaic:{name}") for name in NAMES} == {name: report["summary"][name] for name in NAMES}
    unknown = {name for name in NAMES if report["summary"][name] is None}
    assert unknown == (OF_BLOCKS if preset == "spectralmatch" else set())
    check_fidelity(report, tmp_path / "one" / "out" / "m" / "mosaic.tif", items.parent / "other.tif")
    check_scene_fidelity(report, tmp_path / "one" / "out" / "m" / "mosaic.tif", items.parent)
    assert b"Fidelity" in made["report.html"]
    assert b"the scenes as they came" in made["report.html"]


@pytest.mark.skipif(not METHODS.is_file(), reason=f"there is no {METHODS}")
def test_the_figures_are_those_that_were_asked_for() -> None:
    asked = METHODS.read_text(encoding="utf-8").partition("## Figures that cannot be fooled")[2]
    bold = {name.lower() for name in re.findall(r"\*\*([^*]+)\*\*", asked)}
    assert bold
    assert bold <= FIGURES.keys()
    assert all(name in " ".join(asked.split()) for name in FIGURES)


def test_each_figure_is_in_report_and_item_and_can_fail_a_run(items: Path, tmp_path: Path) -> None:
    flags = ("--preset", "satellite", "--check", str(items.parent / "other.tif"), "--check.bands", "2,1")
    made = run(items, tmp_path / "made", *flags)
    summary, properties = json.loads(made["report.json"])["summary"], json.loads(made["m.json"])["properties"]
    assert {name: properties[f"mosaic:{name}"] for name in NAMES} == {name: summary[name] for name in NAMES}
    conditions = [word for name in NAMES for word in ("--fail-on", f"{name}>={summary[name] - 1e-9:.12g}")]
    target = ("run", str(items), "--output", "out", "--item-id", "m", *flags, *conditions)  # judged by the published report
    done = call_command(*target, cwd=tmp_path / "made", scratch=tmp_path / "scratch")
    assert done.code == 13
    told = done.events[-1]["message"]
    assert [name for name in NAMES if f"{name} is {summary[name]:.9g} (--fail-on" not in told] == []


def test_figures_of_blocks_that_are_known_are_those_of_measured_ones(items: Path, tmp_path: Path) -> None:
    flags = ("--preset", "satellite", "--robust_regression.estimate_stats", "false")
    first = run(items, tmp_path / "first", *flags)
    blocks = str(tmp_path / "first" / "out" / "m" / "matched_blocks.npz")
    again = run(items, tmp_path / "again", *flags, "--robust_regression.load_blocks", blocks)
    before, after = (json.loads(made["report.json"]) for made in (first, again))
    assert before["seams"]["difference_blocks"] > 60
    assert (after["seams"], after["match"]) == (before["seams"], before["match"])


def check_fidelity(report: dict[str, Any], mosaic: Path, other: Path) -> None:
    """Compare the report's R² with that of the published pixels, over whole cells."""
    with rasterio.open(mosaic) as raster:
        values, transform = raster.read().astype(float), raster.transform
    assert (transform.c, transform.f) == (LEFT, TOP)
    with rasterio.open(other) as raster:
        theirs = raster.read()[::-1]
    rows, cols = (size // PIXEL for size in values.shape[1:])
    means = values[:, : rows * PIXEL, : cols * PIXEL].reshape(2, rows, PIXEL, cols, PIXEL).mean(axis=(2, 4))
    (found,) = report["fidelity"]
    assert (found["check"], found["cell_pixels"], found["cells"]) == ("other", PIXEL, rows * cols)
    for band in range(2):
        expected = np.corrcoef(means[band].ravel(), theirs[band, :rows, :cols].ravel())[0, 1] ** 2
        assert found["r2"][band] == pytest.approx(expected, abs=1e-6)


def check_scene_fidelity(report: dict[str, Any], mosaic: Path, folder: Path) -> None:
    """Compare with what the published pixels and the scenes say, over every pixel of the cells and not a few rows of them."""
    with rasterio.open(mosaic) as raster:
        values = raster.read().astype(float)
    scenes, count = np.zeros(values.shape), np.zeros(values.shape[1:])
    for path in sorted(folder.glob("s*.tif")):
        with rasterio.open(path) as raster:
            col, pixels = round(raster.transform.c - LEFT), raster.read()
        scenes[:, :, col : col + pixels.shape[2]] += pixels
        count[:, col : col + pixels.shape[2]] += 1
    found = report["scene_fidelity"]
    edge = found["cell_pixels"]
    rows, cols = (size // edge for size in count.shape)
    assert found["cells"] >= rows * cols

    def average(plane: Any) -> Any:
        return plane[: rows * edge, : cols * edge].reshape(rows, edge, cols, edge).mean(axis=(1, 3)).ravel()

    for band in range(2):
        expected = np.corrcoef(average(values[band]), average(scenes[band]) / average(count))[0, 1] ** 2
        assert found["r2"][band] == pytest.approx(expected, abs=0.01)
    assert 0.5 < np.mean(found["r2"]) < 0.999


def test_a_mosaic_unlike_the_check_fails(items: Path, tmp_path: Path) -> None:
    flags = ("--output", "out", "--item-id", "m", "--check", str(items.parent / "other.tif"), "--check.bands", "2,1")
    done = call_command("run", str(items), *flags, "--fail-on", "fidelity<1", cwd=tmp_path, scratch=tmp_path / "scratch")
    assert done.code == 13
    assert "fidelity is 0." in done.events[-1]["message"]
