"""Seams of four real scenes: how far the matched scenes differ along them, at their pixels.

Measured, mean absolute difference over the pixels on both sides of the seams, in the mosaic's standard deviations, mean over
bands:

=========  ===========  ================
matching   centre line  least difference
=========  ===========  ================
default    .182         .086
satellite  .186         .086
aerial     .276         .125
=========  ===========  ================
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from outcomes import Bench
from scipy.ndimage import distance_transform_edt

NGI = Path(__file__).parents[2].parent / "shared" / "data" / "ngi"
SCENES = ("ngi_1", "ngi_2", "ngi_3", "ngi_4")

pytestmark = [pytest.mark.skipif(not NGI.is_dir(), reason=f"the real scenes are not in {NGI}"), pytest.mark.slow]

MATCHINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "satellite": {"methods.preset": "satellite"},
    "aerial": {"methods.preset": "aerial"},
}
LEAST = {"methods.seamline_method": "least_difference_seamline"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("seams"), {"ngi": lambda _: NGI / "items.json"})


def measure(bench: Bench, flags: dict[str, Any]) -> tuple[float, float]:
    """Mean difference along the seams in standard deviations, and the report's gradient excess."""
    outcome = bench.run_once("ngi", {**flags, "align_rasters.output_images": "{folder}/$.tif"})
    index = outcome.read("scene_index.tif").values[0]
    mosaic = outcome.read("mosaic.tif")
    spread = np.array([band[index > 0].std() for band in mosaic.values.astype(np.float64)])
    layers = [read_on(mosaic.transform, index.shape, outcome.folder / "extra" / f"{name}.tif") for name in SCENES]
    found = []
    for down, across in ((1, 0), (0, 1)):
        height, width = index.shape[0] - down, index.shape[1] - across
        one, other = index[:height, :width], index[down:, across:]
        rows, cols = np.nonzero((one != other) & (one > 0) & (other > 0))
        pairs = one[rows, cols], other[rows, cols]
        for place in ((rows, cols), (rows + down, cols + across)):
            both = [np.stack([layer[:, *place] for layer in layers])[side - 1, :, np.arange(len(rows))] for side in pairs]
            found.append(np.abs(both[0] - both[1]))
    differences = np.concatenate(found)
    differences = differences[np.isfinite(differences).all(axis=1)]
    excess = float(json.loads(outcome.files["report.json"])["summary"]["gradient_excess"])
    return float((differences.mean(axis=0) / spread).mean()), excess


def read_on(transform: tuple[float, ...], shape: tuple[int, int], file: Path) -> NDArray[np.float64]:
    """Pixels of a scene on the mosaic's grid, NaN where it has none."""
    layer = np.full((3, *shape), np.nan)
    with rasterio.open(file) as raster:
        values = np.where(raster.read_masks() > 0, raster.read().astype(np.float64), np.nan)
        row = round((raster.transform.f - transform[5]) / transform[4])
        col = round((raster.transform.c - transform[2]) / transform[0])
    layer[:, row : row + values.shape[1], col : col + values.shape[2]] = values
    return layer


def sharpen(bench: Bench, flags: dict[str, Any], blend: float) -> tuple[float, float]:
    """Gradient excess, and sharpness: mean step between neighbours of one scene within the blend, over that of the cut."""
    cut, blended = (bench.run_once("ngi", {**flags, **extra}) for extra in ({}, {"merge_rasters.blend": blend}))
    index = cut.read("scene_index.tif").values[0]
    zone = np.zeros(index.shape, np.bool_)
    for number in np.unique(index[index > 0]):
        zone |= (index > 0) & (index != number) & (distance_transform_edt(index != number, sampling=5.0) < blend / 2)
    steps = []
    for outcome in (cut, blended):
        mosaic, total = outcome.read("mosaic.tif").values.astype(np.float64), 0.0
        for axis in (0, 1):
            before, after = (slice(None, -1), slice(None)), (slice(1, None), slice(None))
            before, after = (before, after) if axis == 0 else (before[::-1], after[::-1])
            inside = zone[before] & zone[after] & (index[before] == index[after])
            total += np.abs(np.diff(mosaic, axis=axis + 1))[:, inside].sum()
        steps.append(total)
    return float(json.loads(blended.files["report.json"])["summary"]["gradient_excess"]), steps[1] / steps[0]


@pytest.mark.parametrize("matching", MATCHINGS)
def test_blended_over_thirty_pixels_no_seam_is_seen_and_nothing_is_blurred(bench: Bench, matching: str) -> None:
    """Measured: excess .96 .95 .97, sharpness 1.001; a plain ramp over 16 pixels along the centre lines .84 and .90."""
    excess, sharpness = sharpen(bench, {**MATCHINGS[matching], **LEAST}, 150.0)
    assert excess <= 1.05
    assert sharpness >= 0.97


@pytest.mark.parametrize("matching", MATCHINGS)
def test_the_scenes_differ_half_as_much_where_they_are_cut(bench: Bench, matching: str) -> None:
    middle, sharp = measure(bench, MATCHINGS[matching])
    least, invisible = measure(bench, {**MATCHINGS[matching], **LEAST})
    assert least <= 0.15
    assert least < 0.55 * middle
    assert invisible < sharp
