"""Findings that recommend a preset: they fire where scenes are difficult and not where they are clear, and are right.

Each message names a flag; the run with that flag is nearer to the ground.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from known_truth import KnownScenes, cut_known_scenes, draw_fields, draw_hills, judge
from outcomes import Outcome, run_quietly

from processor.synthetic.difficulties import Difficulties
from processor.synthetic.scenes import DEMO_RECIPE, DIFFICULT_RECIPE, make_scenes

GROUNDS = {"fields": draw_fields, "hills": draw_hills}
DEFAULT: dict[str, Any] = {}
SATELLITE = {"methods.preset": "satellite"}
CLEAR: dict[str, float] = {}
HOTSPOT = DIFFICULT_RECIPE.difficulties.hotspot
CLOUDED = {"clouds": 0.12}

CASES = {
    "contrast-lowered": (DEFAULT, CLOUDED, "satellite"),
    "scenes-disagree": (DEFAULT, CLOUDED, "satellite"),
}
"""How a run is done of which the finding speaks, what its scenes have, and the preset that is right."""

TREND = "illumination-trend"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("findings")


def cut(folder: Path, ground: str, traits: dict[str, float]) -> KnownScenes:
    return cut_known_scenes(folder / "-".join([ground, *traits]), GROUNDS[ground](), **traits)


def list_messages(made: Outcome, code: str) -> list[str]:
    report = json.loads(made.files["report.json"])
    return [finding["message"] for finding in report["findings"] if finding["code"] == code]


@pytest.mark.parametrize("code", CASES)
@pytest.mark.parametrize("ground", GROUNDS)
def test_it_fires_on_difficult_scenes_and_names_the_preset_that_is_truer(
    code: str, ground: str, folder: Path, tmp_path: Path
) -> None:
    flags, traits, preset = CASES[code]
    known = cut(folder, ground, traits)
    made = run_quietly(known.items, tmp_path / "made", flags)
    (message, *_) = list_messages(made, code)
    named = re.findall(r"--preset ([a-z]+)", message)
    assert named[0] == preset
    better = run_quietly(known.items, tmp_path / "better", {"methods.preset": named[0]})
    assert judge(better, known).error < 0.8 * judge(made, known).error


@pytest.mark.parametrize("hotspot", [0.0, HOTSPOT])
def test_light_within_scenes_is_told_where_it_is_and_the_preset_for_it_is_truer(hotspot: float, tmp_path: Path) -> None:
    sample = make_scenes(tmp_path / "scenes", replace(DEMO_RECIPE, difficulties=Difficulties(hotspot=hotspot)))
    made = run_quietly(sample.items, tmp_path / "made", SATELLITE)
    messages = list_messages(made, TREND)
    if not hotspot:
        assert messages == []
        return
    assert re.findall(r"--preset ([a-z]+)", messages[0]) == ["aerial"]
    aerial = run_quietly(sample.items, tmp_path / "aerial", {"methods.preset": "aerial"})
    errors = [compute_truth_error(one, sample.truth) for one in (aerial, made)]
    assert errors[0] < 0.9 * errors[1]


def compute_truth_error(made: Outcome, truth: Path) -> float:
    """RMS departure from the truth after one line a band, in its standard deviations, mean over bands."""
    mosaic = made.read("mosaic.tif").values.astype(float)
    with rasterio.open(truth) as raster:
        ground = raster.read().astype(float)
    valid = (mosaic != 0).any(axis=0)
    pairs = [(ours[valid], theirs[valid]) for ours, theirs in zip(mosaic, ground, strict=True)]
    return float(np.mean([np.std(np.polyval(np.polyfit(a, b, 1), a) - b) / b.std() for a, b in pairs]))


@pytest.mark.parametrize("ground", GROUNDS)
def test_they_are_silent_on_clear_scenes(ground: str, folder: Path, tmp_path: Path) -> None:
    known = cut(folder, ground, CLEAR)
    plain = run_quietly(known.items, tmp_path / "plain", DEFAULT)
    assert [message for code in CASES for message in list_messages(plain, code)] == []
    robust = run_quietly(known.items, tmp_path / "robust", SATELLITE)
    assert [message for code in (*CASES, TREND) for message in list_messages(robust, code)] == []


@pytest.mark.parametrize("ground", GROUNDS)
def test_under_the_preset_that_leaves_clouds_out_it_says_where_they_are(ground: str, folder: Path, tmp_path: Path) -> None:
    made = run_quietly(cut(folder, ground, CLOUDED).items, tmp_path, SATELLITE)
    (message,) = list_messages(made, "scenes-disagree")
    assert "agreement.tif" in message
    assert "agreement.tif" in made.files
