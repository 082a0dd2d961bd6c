"""Turns around the Earth, of which a map has more than one place for the same."""

from __future__ import annotations

import numpy as np
import pytest
from pyproj import CRS

from processor.model import Grid
from processor.stages.align.warp import compute_places, find_turn, project_bounds

WORLD = 40_075_016.68557849  # metres, of web Mercator


def wkt(code: str) -> str:
    return str(CRS.from_user_input(code).to_wkt("WKT2_2019"))


@pytest.mark.parametrize(
    ("code", "turn"),
    [
        ("EPSG:4326", 360.0),
        ("EPSG:4807", 400.0),  # counts gon
        ("EPSG:3857", WORLD),
        ("EPSG:3395", WORLD),
        ("EPSG:3832", WORLD),  # its map ends elsewhere
        ("EPSG:6933", 34_735_060.89),
        ("EPSG:32633", None),
        ("EPSG:3031", None),
        ("ESRI:54009", None),
        ("EPSG:4978", None),
    ],
)
def test_a_turn_is_known_where_meridians_are_parallel(code: str, turn: float | None) -> None:
    assert find_turn(wkt(code)) == (None if turn is None else pytest.approx(turn, rel=1e-9))


def grid(code: str, left: float, top: float, pixel: float, edge: int = 100) -> Grid:
    return Grid(crs=wkt(code), left=left, top=top, pixel_width=pixel, pixel_height=pixel, width=edge, height=edge)


@pytest.mark.parametrize(("code", "end", "tolerance"), [("EPSG:3857", WORLD / 2, 1.0), ("EPSG:4326", 180.0, 1e-5)])
def test_bounds_across_the_end_of_a_map_go_on_beyond_it(code: str, end: float, tolerance: float) -> None:
    across = grid("EPSG:32701", 170_000, 8_200_000, 100)  # zone 1, whose western edge is the antimeridian
    found = project_bounds(across, wkt(code))
    assert found.left < end - tolerance
    assert found.right > end + tolerance
    assert found.width < end / 100


def test_the_whole_world_is_no_wider_than_it_is() -> None:
    world = Grid(crs=wkt("EPSG:4326"), left=-180, top=80, pixel_width=1, pixel_height=1, width=360, height=160)
    found = project_bounds(world, wkt("EPSG:3857"))
    assert (found.left, found.right) == pytest.approx((-WORLD / 2, WORLD / 2))


def test_places_beyond_the_end_of_a_map_are_those_at_its_beginning() -> None:
    source = grid("EPSG:3857", -WORLD / 2, 0.0, 100)
    target = grid("EPSG:4326", 180.0, 0.0, 0.001)
    row, col = compute_places(source, target, target.window, 1)
    np.testing.assert_allclose(col[0], (np.arange(100) + 0.5) * 0.001 / 360 * WORLD / 100, atol=1e-6)
    assert np.isfinite(row).all()
