"""The solve against the reference vectors: the well-known program's own statistics must give its gains and offsets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from processor.model import Bounds
from processor.scenes.adjustments_file import parse_adjustments, render_adjustments
from processor.stages.matching.global_regression import solve_adjustments
from processor.stages.matching.local_block_adjustment import compute_block_grid

REFERENCE = Path(__file__).parents[2].parent / "shared" / "data" / "ngi" / "reference" / "adjustments.json"
BANDS = 3

pytestmark = pytest.mark.skipif(not REFERENCE.is_file(), reason="the reference vectors are not beside the project")


@pytest.fixture(scope="module")
def text() -> str:
    return REFERENCE.read_text(encoding="utf-8")


def read_published(text: str, scene: str, name: str) -> list[float]:
    document: dict[str, Any] = json.loads(text)
    return [document[scene]["adjustments"][f"band_{band}"][name] for band in range(BANDS)]


def test_scales_and_offsets_follow_from_the_published_statistics(text: str) -> None:
    """They are stored as float32: scales agree to 7e-8, offsets to 8e-6 DN."""
    known = parse_adjustments(text, source=REFERENCE.name, bands=BANDS)
    solved = solve_adjustments(known.whole, known.overlaps)
    assert [adjustment.scene for adjustment in solved] == [f"ngi_{number}" for number in range(1, 5)]
    for adjustment in solved:
        np.testing.assert_allclose(adjustment.scale, read_published(text, adjustment.scene, "scale"), rtol=0, atol=2e-7)
        np.testing.assert_allclose(adjustment.offset, read_published(text, adjustment.scene, "offset"), rtol=0, atol=2e-5)


def test_statistics_survive_the_file(text: str) -> None:
    known = parse_adjustments(text, source=REFERENCE.name, bands=BANDS)
    solved = solve_adjustments(known.whole, known.overlaps)
    written = render_adjustments(solved, known.whole, known.overlaps)
    document, original = json.loads(written), json.loads(text)
    assert set(document) == set(original)
    for scene, entry in original.items():
        for part in ("whole_stats", "overlap_stats"):
            _assert_alike(document[scene][part], entry[part])
    again = parse_adjustments(written, source="again", bands=BANDS)
    for one, other in zip(solve_adjustments(again.whole, again.overlaps), solved, strict=True):
        np.testing.assert_allclose(one.scale, other.scale, rtol=1e-13)


def _assert_alike(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert set(found) == set(expected)
        for key, value in expected.items():
            _assert_alike(found[key], value)
    else:
        assert found == pytest.approx(expected, rel=1e-12)


def test_the_canvas_is_cut_as_published() -> None:
    """26 rows and 15 columns for four scenes and 100 blocks a scene; bounds of the reference's block maps."""
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(REFERENCE.parent / "block_map_reference.tif") as raster:
        bounds, shape = raster.bounds, raster.shape
    blocks = compute_block_grid(
        Bounds(left=bounds.left, bottom=bounds.bottom, right=bounds.right, top=bounds.top), scenes=4, number_of_blocks=100
    )
    assert (blocks.rows, blocks.cols) == shape == (26, 15)
