"""The first thing that a newcomer runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from commands import Finished, run_command

pytestmark = pytest.mark.xdist_group("demo")  # its one run is made by one worker


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def demo(place: Path) -> Finished:
    return run_command("demo", cwd=place, scratch=place / "scratch")


def test_it_says_where_everything_is(demo: Finished, place: Path) -> None:
    assert demo.code == 0, demo.stderr
    lines = dict(line.split(maxsplit=1) for line in demo.stdout.splitlines())
    assert lines.pop("verdict") == "good"
    assert list(lines) == ["item", "mosaic", "preview", "report"]
    assert all(Path(path).is_file() for path in lines.values())
    assert {Path(path).parent for path in lines.values()} == {place / "demo-output" / "mosaic"}
    assert sorted(path.name for path in place.iterdir()) == ["demo-output", "scratch"]


def test_its_log_tells_what_happened(demo: Finished) -> None:
    names = [event["event"] for event in demo.events]
    assert names[0] == "scenes-made"
    assert names[-1] == "published"
    assert not [event for event in demo.events if event["level"] in {"error", "critical"}]


def test_the_mosaic_is_nearer_to_the_truth_than_the_scenes_are_to_each_other(demo: Finished, place: Path) -> None:
    """One gain and one offset a band, for the whole mosaic, lead back to the truth: no scene stands out."""
    assert demo.code == 0
    folder = place / "demo-output"
    with (
        rasterio.open(folder / "mosaic" / "mosaic.tif") as mosaic,
        rasterio.open(folder / "scenes" / "truth" / "truth.tif") as truth,
    ):
        assert (mosaic.shape, mosaic.transform) == (truth.shape, truth.transform)
        found, expected = mosaic.read().astype(np.float64), truth.read().astype(np.float64)
    valid = (found != 0).any(axis=0)
    assert valid.mean() > 0.97
    for ours, theirs in zip(found, expected, strict=True):
        slope, intercept = np.polyfit(ours[valid], theirs[valid], 1)
        residual = theirs[valid] - slope * ours[valid] - intercept
        assert np.corrcoef(ours[valid], theirs[valid])[0, 1] > 0.95
        assert residual.std() < 0.3 * theirs[valid].std()


def test_its_report_compares_it_with_the_truth(demo: Finished, place: Path) -> None:
    assert demo.code == 0
    report = json.loads((place / "demo-output" / "mosaic" / "report.json").read_bytes())
    assert [check["check"] for check in report["fidelity"]] == ["truth"]
    assert report["summary"]["fidelity"] > 0.9


def test_matching_took_most_of_the_differences_away(demo: Finished, place: Path) -> None:
    assert demo.code == 0
    item = json.loads((place / "demo-output" / "mosaic" / "mosaic.json").read_text())["properties"]
    assert item["mosaic:coverage"] == 1
    assert item["mosaic:residual_after"] < 0.15 * item["mosaic:residual_before"]
    assert item["mosaic:scene_count"] == 6


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = run_command("demo", "file/demo", cwd=tmp_path, scratch=tmp_path / "scratch")
    assert refused.code == 2
    assert "file/demo" in refused.events[-1]["message"]
