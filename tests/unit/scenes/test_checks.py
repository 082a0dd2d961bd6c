"""Checks: how they are read and placed, and that they are refused where nothing can be judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from scenes import LEFT, gradient_truth, write_scene
from small_runs import make_plan, open_scenes

from processor.config.general import Check
from processor.errors import ConfigError, InputError
from processor.model import Scene
from processor.scenes.checks import place_check, read_checks
from processor.storage.options import Access


def read(image: Path, scene: Path, **settings: object) -> tuple[Scene, ...]:
    return read_checks(Check(images=str(image), **settings), open_scenes([scene]), Access(), threads=1).scenes


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_scene(tmp_path / "one.tif", gradient_truth(64, 64, 2), dtype="uint16")


def test_nothing_is_read_where_nothing_is_named(scene: Path) -> None:
    assert read_checks(Check(), open_scenes([scene]), Access(), threads=1).scenes == ()


def test_checks_may_be_in_different_units_and_are_in_name_order(tmp_path: Path, scene: Path) -> None:
    for name, dtype in (("b", "float32"), ("a", "uint16")):
        write_scene(tmp_path / "known" / f"{name}.tif", gradient_truth(8, 8, 2), pixel=10, dtype=dtype)
    assert [check.name for check in read(tmp_path / "known", scene)] == ["check:a", "check:b"]


def test_missing_bands_are_named_with_the_parameter_that_helps(tmp_path: Path, scene: Path) -> None:
    path = write_scene(tmp_path / "a.tif", gradient_truth(8, 8, 1), pixel=10)
    with pytest.raises(InputError, match=r"check a has bands band_1, .*--check.bands"):
        read(path, scene)
    with pytest.raises(InputError, match=r"check.bands names 1 bands, and the scenes have 2"):
        read(path, scene, bands=("1",))


@pytest.mark.parametrize(("pixel", "edge"), [(10.0, 10), (1.0, 1), (0.5, 1), (3.0, 3)])
def test_cells_are_as_large_as_the_checks_pixels(tmp_path: Path, scene: Path, pixel: float, edge: int) -> None:
    path = write_scene(tmp_path / "a.tif", gradient_truth(40, 40, 2, pixel=pixel), pixel=pixel)
    (check,) = make_plan([scene], checks=read(path, scene)).checks
    assert (check.edge, check.joined, check.cell) == (edge, 1, edge)


def test_of_a_large_mosaic_cells_are_joined(tmp_path: Path, scene: Path) -> None:
    path = write_scene(tmp_path / "a.tif", gradient_truth(64, 64, 2), pixel=2)
    grid = replace(make_plan([scene]).grid, width=40_000, height=30_000)
    placed = place_check(read(path, scene)[0], grid)
    assert placed is not None
    assert placed[1:] == (2, 25)  # 800 x 600 cells


def test_a_check_beside_the_mosaic_is_refused(tmp_path: Path, scene: Path) -> None:
    path = write_scene(tmp_path / "far.tif", gradient_truth(8, 8, 2), pixel=10, left=LEFT + 5000)
    with pytest.raises(InputError, match="check far lies beside the mosaic"):
        make_plan([scene], checks=read(path, scene))


def test_a_check_without_a_mosaic_is_refused(tmp_path: Path, scene: Path) -> None:
    path = write_scene(tmp_path / "a.tif", gradient_truth(8, 8, 2), pixel=10)
    with pytest.raises(ConfigError, match="there is no mosaic to judge"):
        make_plan([scene], {"methods.merge_method": None}, checks=read(path, scene))
