"""Whole runs against a reference of other units than the scenes': what comes out is the reference's ground, in its units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from outcomes import run_quietly
from scenes import LEFT, TOP, write_scene
from scipy.ndimage import gaussian_filter

SETTINGS: dict[str, dict[str, str]] = {
    "satellite": {"methods.preset": "satellite"},
    "aerial": {"methods.preset": "aerial"},
    "surfaces after the usual regression": {"methods.matching_local_method": "surface_adjustment"},
}


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("shift", [0, 10])
def test_scenes_of_bytes_come_out_in_a_references_reflectance(tmp_path: Path, settings: str, shift: int) -> None:
    rng = np.random.default_rng(2)
    layers = [gaussian_filter(rng.standard_normal((500, 700)), width) for width in (2, 8, 30)]
    ground = (0.2 + 0.03 * sum(layer / layer.std() for layer in layers)).clip(0.05, 0.5)
    truth = np.stack([ground, ground**1.1])
    for number, (col, gain) in enumerate([(0, 420), (300, 350)]):
        part = truth[:, :, col : col + 400] * gain
        write_scene(tmp_path / "scenes" / f"s{number}.tif", part, left=LEFT + col, dtype="uint8")
    inner = truth[:, shift : shift + 480, shift : shift + 680]
    known = inner.reshape(2, 24, 20, 34, 20).mean(axis=(2, 4))
    reference = write_scene(
        tmp_path / "known.tif", known, pixel=20, left=LEFT + shift, top=TOP - shift, dtype="float32", nodata=None
    )
    inputs = tmp_path / "scenes"
    outcome = run_quietly(inputs, tmp_path / "run", {**SETTINGS[settings], "reference.images": str(reference)})
    mosaic = outcome.read("mosaic.tif")
    assert mosaic.values.dtype == np.float32
    error = mosaic.values - truth
    assert np.sqrt((error**2).mean(axis=(1, 2))).max() < 0.06 * truth.std(axis=(1, 2)).min()
    links = [link["title"] for link in outcome.item["links"] if link["rel"] == "via"]
    assert links[-1] == "reference:known"
    assert "matched to known" in outcome.item["properties"]["processing:lineage"]
