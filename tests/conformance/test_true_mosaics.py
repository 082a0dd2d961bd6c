"""Mosaics of four real scenes beside two sensors that saw the same ground in the same weeks: they are true, not only seamless.

Measured, R² to Landsat-8 in red, green and blue, seam step, contrast:

======================  ===============  ====  ====
scenes as they are      .62  .52  .39    .971  .97
spectralmatch, default  .44  .32  .22    .025  .89
aerial                  .745 .727 .702   .064  .815
satellite, reference    .875 .853 .794   .018  -
aerial, reference       .882 .857 .798   .018  -
======================  ===============  ====  ====

The reference is Sentinel-2, with which the judge, Landsat-8, has nothing to do. Known truths cut from the same images follow.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fidelity import compute_contrast, compute_fidelity, compute_seam_step
from known_truth import cut_known_scenes, judge, read_ground
from outcomes import Bench, run_quietly

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "ngi"
LANDSAT, LANDSAT_BANDS = SHARED / "references" / "landsat8_byte.tif", (4, 3, 2)
SENTINEL = SHARED / "references" / "sentinel2_b432_byte.tif"

pytestmark = [
    pytest.mark.skipif(not LANDSAT.is_file(), reason=f"the real scenes and references are not at {SHARED}"),
    pytest.mark.slow,
]

UNMATCHED = {"methods.matching_global_method": None, "methods.matching_local_method": None}
AERIAL = {"methods.preset": "aerial"}
SATELLITE = {"methods.preset": "satellite"}
CHECKED = {"check.images": str(LANDSAT), "check.bands": list(map(str, LANDSAT_BANDS))}  # decides no pixel
TO_SENTINEL = {"reference.images": str(SENTINEL)}


@dataclass(frozen=True, kw_only=True)
class Real:
    """Mosaics of the four scenes, each made once."""

    bench: Bench

    def find(self, flags: dict[str, Any]) -> Path:
        return self.bench.run_once("ngi", flags | CHECKED).folder / "out" / "m"

    def report(self, flags: dict[str, Any]) -> dict[str, Any]:
        report: dict[str, Any] = json.loads((self.find(flags) / "report.json").read_bytes())
        return report

    def fidelity(self, flags: dict[str, Any]) -> list[float]:
        """R² to Landsat-8, by band."""
        return [float(r2) for r2 in compute_fidelity(self.find(flags) / "mosaic.tif", LANDSAT, LANDSAT_BANDS)]

    def seam_step(self, flags: dict[str, Any]) -> float:
        return compute_seam_step(self.find(flags) / "mosaic.tif", self.find(flags) / "scene_index.tif")

    def contrast(self, flags: dict[str, Any]) -> float:
        return compute_contrast(self.find(flags) / "mosaic.tif", [SHARED / f"ngi_{number}.tif" for number in range(1, 5)])


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Real:
    return Real(bench=Bench(tmp_path_factory.mktemp("real"), {"ngi": lambda _: SHARED / "items.json"}))


def test_the_judge_finds_what_is_known_of_the_default(real: Real) -> None:
    """The table of METHODS.md, to its last digit."""
    for flags, fidelity, seam in ((UNMATCHED, (0.62, 0.52, 0.39), 0.971), ({}, (0.44, 0.32, 0.22), 0.025)):
        np.testing.assert_allclose(real.fidelity(flags), fidelity, atol=0.006)
        assert real.seam_step(flags) == pytest.approx(seam, abs=6e-4)


def test_aerial_is_true_and_seamless_without_a_reference(real: Real) -> None:
    assert all(found >= bar for found, bar in zip(real.fidelity(AERIAL), (0.73, 0.70, 0.66), strict=True))
    assert real.seam_step(AERIAL) <= 0.08
    assert real.contrast(AERIAL) >= 0.8


@pytest.mark.parametrize("preset", [SATELLITE, AERIAL], ids=["satellite", "aerial"])
def test_with_sentinel_2_as_reference_the_mosaic_is_truer_still(preset: dict[str, Any], real: Real) -> None:
    flags = preset | TO_SENTINEL
    assert all(found >= bar for found, bar in zip(real.fidelity(flags), (0.80, 0.77, 0.70), strict=True))
    assert real.seam_step(flags) <= 0.04


def test_fidelity_ranks_the_mosaics_as_their_makers_know_them(real: Real) -> None:
    """The seam step does not: it likes the default best, which is the least true in every band."""
    order = [real.fidelity(flags) for flags in ({}, UNMATCHED, AERIAL, SATELLITE | TO_SENTINEL)]
    assert all(np.less(worse, better).all() for worse, better in itertools.pairwise(order))
    assert real.seam_step({}) < real.seam_step(AERIAL) < 0.1 * real.seam_step(UNMATCHED)


def test_the_reports_fidelity_to_the_check_ranks_them_alike(real: Real) -> None:
    """On square cells of the mosaic's lattice, and not on the sensor's pixels: up to .015 less than the judge finds."""
    order = ({}, UNMATCHED, AERIAL, SATELLITE | TO_SENTINEL)
    found = [real.report(flags)["fidelity"][0]["r2"] for flags in order]
    assert all(np.less(worse, better).all() for worse, better in itertools.pairwise(found))
    for flags, figures in zip(order, found, strict=True):
        np.testing.assert_allclose(figures, real.fidelity(flags), atol=0.02)


def test_the_report_knows_the_contrast_and_what_became_of_the_scenes(real: Real) -> None:
    """Measured, fidelity to the scenes: .829 unmatched, .794 by default, .598 aerial, which takes out light that they share.

    So it says how far the scenes were changed; whether for the better only a check tells.
    """
    summaries = [real.report(flags)["summary"] for flags in (UNMATCHED, {}, AERIAL)]
    np.testing.assert_allclose([one["contrast_kept"] for one in summaries], (0.97, 0.89, 0.82), atol=0.02)
    kept = [one["fidelity_to_scenes"] for one in summaries]
    assert kept[0] > kept[1] + 0.02
    assert kept[1] > kept[2] + 0.1


def test_the_finding_about_light_names_the_preset_that_is_right(real: Real) -> None:
    found = {one["code"]: one["message"] for one in real.report(SATELLITE)["findings"]}
    assert "--preset aerial" in found["illumination-trend"]
    assert "scenes-disagree" not in found
    assert "scenes-disagree" not in {one["code"] for one in real.report({})["findings"]}
    assert np.less(real.fidelity(SATELLITE), real.fidelity(AERIAL)).all()


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("image", "row", "col"), [(SHARED / "ngi_2.tif", 100, 60), (SENTINEL, 50, 40)], ids=["ngi", "sentinel"]
)
def test_known_truths_cut_from_real_images_come_back(image: Path, row: int, col: int, tmp_path: Path) -> None:
    """Measured, of the default's error: .27 and .29; under clouds 1.01 and 1.05 of the clear scenes'."""
    ground = read_ground(image, row=row, col=col)
    clear, clouded = (cut_known_scenes(tmp_path / f"{clouds}", ground, clouds=clouds) for clouds in (0.0, 0.12))
    default = judge(run_quietly(clear.items, tmp_path / "default", {}), clear)
    robust = judge(run_quietly(clear.items, tmp_path / "robust", SATELLITE), clear)
    hidden = judge(run_quietly(clouded.items, tmp_path / "hidden", SATELLITE), clouded)
    assert robust.error <= 0.6 * default.error
    assert hidden.error <= 1.2 * robust.error
    assert all(0.92 <= made.contrast <= 1.08 for made in (robust, hidden))
    with_reference = SATELLITE | {"reference.images": str(clear.reference)}
    known = judge(run_quietly(clear.items, tmp_path / "known", with_reference), clear)
    assert known.plain_error <= 0.03
    assert known.low_error <= 0.015
