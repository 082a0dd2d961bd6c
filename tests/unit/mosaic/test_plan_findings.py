"""What is said before a pixel is read: of the mosaic's grid, and of scenes that nothing ties together."""

from __future__ import annotations

from typing import Any

import pytest
from records import make_scene

from processor.config import load_config
from processor.model import Finding, Scene
from processor.mosaic.planning import plan_run

METHODS = [
    {},
    {"methods.preset": "satellite"},
    {"methods.preset": "aerial"},
    {"methods.matching_local_method": None},
    {"methods.matching_global_method": None},
]


def find(scenes: list[Scene], **flags: Any) -> tuple[Finding, ...]:
    config = load_config(flags={key.replace("__", "."): value for key, value in flags.items()}, environment={})
    return plan_run(scenes, config).findings


def codes(found: tuple[Finding, ...]) -> list[str]:
    return [finding.code for finding in found]


@pytest.mark.parametrize("flags", METHODS)
def test_groups_that_nothing_ties_are_named_whatever_the_method(flags: dict[str, Any]) -> None:
    scenes = [make_scene(name, left=left) for name, left in (("a1", 0.0), ("a2", 80.0), ("b1", 500.0), ("b2", 580.0))]
    (finding,) = find(scenes, **{key.replace(".", "__"): value for key, value in flags.items()})
    assert (finding.code, finding.severity) == ("groups-apart", "warning")
    assert finding.message.startswith("2 groups of scenes ")
    assert "a1, a2; b1, b2" in finding.message
    assert "--reference.images" in finding.message


def test_scenes_in_one_group_are_tied() -> None:
    assert find([make_scene(f"s{i}", left=80.0 * i) for i in range(4)]) == ()


def test_groups_are_no_matter_where_nothing_is_matched() -> None:
    scenes = [make_scene(name, left=left) for name, left in (("a1", 0.0), ("a2", 80.0), ("b1", 500.0), ("b2", 580.0))]
    assert find(scenes, methods__matching_global_method=None, methods__matching_local_method=None) == ()


def test_many_groups_are_counted_and_some_of_them_named() -> None:
    scenes = [make_scene(f"g{group:02}-{i}", left=1000.0 * group + 80 * i) for group in range(30) for i in range(7)]
    (finding,) = find(scenes)
    assert finding.message.startswith("30 groups of scenes ")
    assert "g00-4 and 2 more; g01-0" in finding.message
    assert "and 25 more groups" in finding.message
    assert len(finding.message) < 700


SHIFTED = [make_scene(f"s{i}", left=0.5 + 80 * i, top=0.25) for i in range(3)]


def test_a_shared_grid_that_tap_would_move_is_kept_and_said_to_be() -> None:
    (finding,) = find(SHIFTED)
    assert (finding.code, finding.severity) == ("grid-kept", "info")
    assert "all 3 scenes share" in finding.message
    assert "0.5 x 0.25 pixels" in finding.message
    assert find(SHIFTED, align_rasters__tap=False) == ()


@pytest.mark.parametrize("flags", [{"align_rasters__tap": True}, {"methods__preset": "spectralmatch"}])
def test_a_shared_grid_that_tap_moves_is_a_warning(flags: dict[str, Any]) -> None:
    (finding,) = find(SHIFTED, **flags)
    assert (finding.code, finding.severity) == ("resampled", "warning")
    assert "all 3 scenes lie on one grid, and are resampled (bilinear)" in finding.message
    assert finding.message.endswith("give --align_rasters.tap false")


def test_scenes_of_other_sizes_and_places_are_counted() -> None:
    scenes = [
        make_scene("a"),
        make_scene("b", left=80.0),
        make_scene("coarse", left=40.0, pixel_width=2.0, pixel_height=2.0),
        make_scene("off", left=40.25),
    ]
    (finding,) = find(scenes, align_rasters__resampling_method="cubic")
    assert (finding.code, finding.severity) == ("resampled", "info")
    assert finding.message.startswith("2 of 4 scenes resampled (cubic): 1 with pixels of 2 x 2, where the mosaic's are 1 x 1; ")
    assert "1 fractions of a pixel beside the mosaic's grid (coarse, off)" in finding.message


def test_scenes_on_whole_multiples_need_no_word() -> None:
    assert find([make_scene(f"s{i}", left=80.0 * i) for i in range(3)], align_rasters__tap=True) == ()


def test_a_fine_scene_in_a_coarse_one_is_said_to_make_too_many_pixels() -> None:
    coarse = make_scene("satellite", width=6000, height=6000, pixel_width=3.0, pixel_height=3.0, top=18_000.0)
    fine = make_scene("drone", left=90.0, top=17_910.0, width=400, height=400, pixel_width=0.02, pixel_height=0.02)
    found = find([coarse, fine])
    (finding,) = [finding for finding in found if finding.code == "oversampled"]
    assert finding.severity == "warning"
    assert "900,000 x 900,000 pixels" in finding.message
    assert "that of drone, while scene satellite has 3" in finding.message
    assert "--align_rasters.resolution lowest" in finding.message
    assert "oversampled" not in codes(find([coarse, fine], align_rasters__resolution="lowest"))
    bands = [make_scene("ten", pixel_width=10.0, pixel_height=10.0), make_scene("twenty", pixel_width=20.0, pixel_height=20.0)]
    assert codes(find(bands)) == ["resampled"]
