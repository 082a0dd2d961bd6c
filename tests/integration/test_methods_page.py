"""Every command of docs/methods.md does what the page says of it, and its tables name what there is."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import rasterio
from commands import Finished, call_command
from outcomes import leaving_out_drawings

from processor.config.presets import PRESETS
from processor.stages.matching.surfaces_file import parse_surfaces

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "methods.md"
if not PAGE.is_file():
    pytest.skip("the page is in the repository's docs", allow_module_level=True)
TEXT = PAGE.read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL) for line in block.splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def finished(place: Path) -> dict[str, Finished]:
    """Every command, in the page's order."""
    done = {}
    with leaving_out_drawings():
        for line in COMMANDS:
            name, *words = shlex.split(line)
            assert name == "mosaic-processor"
            done[line] = call_command(*words, cwd=place, scratch=place / "scratch")
    return done


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as raster:
        return raster.read().astype(np.float64)


def compute_truth_error(mosaic: Path, truth: Path) -> float:
    """Median departure from the truth after one line a band, in its standard deviations: clouds and change hardly count."""
    found, expected = read(mosaic), read(truth)
    valid = (found != 0).any(axis=0)
    errors = []
    for ours, theirs in zip(found[:, valid], expected[:, valid], strict=True):
        kept = np.ones(ours.shape, np.bool_)
        for _ in range(5):
            departure = np.abs(np.polyval(np.polyfit(ours[kept], theirs[kept], 1), ours) - theirs)
            kept = departure < 4 * np.median(departure)
        errors.append(np.median(departure) / theirs.std())
    return float(np.mean(errors))


@pytest.mark.slow
@pytest.mark.xdist_group("methods page")
def test_every_command_does_its_work(finished: dict[str, Finished], place: Path) -> None:
    assert len(finished) >= 5
    assert {line: (each.code, each.stderr) for line, each in finished.items() if each.code != 0} == {}
    made = place / "mosaics"
    for name in ("satellite", "aerial", "known"):
        agreement = read(made / name / "agreement.tif")
        assert np.nanmin(agreement) < 0.1
        assert np.nanmax(agreement) > 0.9
        surfaces = made / name / "surfaces.json"
        assert len(parse_surfaces(surfaces.read_text(), source=name, bands=3).by_scene) == 6
    assert "surface_adjustment" in next(each.stdout for line, each in finished.items() if " config " in line)


@pytest.mark.slow
@pytest.mark.xdist_group("methods page")
def test_the_presets_are_as_true_as_the_page_says(finished: dict[str, Finished], place: Path) -> None:
    assert finished
    truth = place / "difficult" / "scenes" / "truth" / "truth.tif"
    default, satellite, aerial, known = (
        compute_truth_error(place / folder / "mosaic.tif", truth)
        for folder in ("difficult/mosaic", "mosaics/satellite", "mosaics/aerial", "mosaics/known")
    )
    assert known < aerial < satellite < default


@pytest.mark.slow
@pytest.mark.xdist_group("methods page")
def test_the_findings_about_contrast_and_clouds_recommend_the_preset(finished: dict[str, Finished], place: Path) -> None:
    assert finished
    report = json.loads((place / "difficult" / "mosaic" / "report.json").read_text())
    for code in ("contrast-lowered", "scenes-disagree"):
        assert any("--preset satellite" in one["message"] for one in report["findings"] if one["code"] == code)


def test_every_preset_is_on_the_page_and_none_else() -> None:
    assert set(re.findall(r"--preset ([a-z]+)", TEXT)) == set(PRESETS)


def test_every_link_and_picture_of_the_page_is_there() -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", TEXT)
    assert [target for target in targets if "://" not in target and not (PAGE.parent / target).exists()] == []
    pictures = [PAGE.parent / target for target in targets if target.startswith("images/")]
    assert len(pictures) >= 2
    assert all(picture.stat().st_size <= 150_000 for picture in pictures)
