"""Rotated grids as north-up grids of a CRS of their own: places by the affine transformation itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pyproj import CRS, Transformer

from processor.stages.align.rotated import Affine, find_upright_crs, make_rotated_grid
from processor.stages.align.warp import project_bounds

CRSS = ("EPSG:32633", "EPSG:4326", "EPSG:2264", "EPSG:31467", "EPSG:2180", "EPSG:3857", "EPSG:4807")  # also north before east


def rotate(left: float, top: float, pixel: float, degrees: float, *, mirrored: bool = False) -> Affine:
    """Rows that run so many degrees north of east."""
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    down = -1 if mirrored else 1
    return (pixel * cosine, down * pixel * sine, left, pixel * sine, -down * pixel * cosine, top)


@pytest.mark.parametrize("code", CRSS)
@pytest.mark.parametrize("degrees", [30.0, 90.0, -135.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_corners_lie_where_the_transform_has_them(code: str, degrees: float, mirrored: bool) -> None:
    crs = CRS.from_user_input(code)
    pixel = 1e-4 if crs.is_geographic else 2.0
    middle = crs.area_of_use
    assert middle is not None
    left, top = Transformer.from_crs("OGC:CRS84", crs, always_xy=True).transform(
        (middle.west + middle.east) / 2 + 0.1, (middle.south + middle.north) / 2 + 0.1
    )
    transform = rotate(left, top, pixel, degrees, mirrored=mirrored)
    grid = make_rotated_grid(crs.to_wkt("WKT2_2019"), transform, width=100, height=80)
    assert (grid.left, grid.top, grid.shape) == (0, 0, (80, 100))
    assert (grid.pixel_width, grid.pixel_height) == pytest.approx((pixel, pixel), rel=1e-12)
    a, b, c, d, e, f = transform
    to_crs = Transformer.from_crs(grid.crs, crs, always_xy=True)
    for col, row in ((0, 0), (100, 0), (0, 80), (33.5, 71.0)):
        found = to_crs.transform(col * grid.pixel_width, -row * grid.pixel_height)
        assert np.abs(np.subtract(found, (a * col + b * row + c, d * col + e * row + f))).max() < 1e-6 * pixel


def test_the_crs_that_it_was_derived_from_is_found_again() -> None:
    crs = CRS.from_epsg(32633).to_wkt("WKT2_2019")
    grid = make_rotated_grid(crs, rotate(500_000, 5_300_000, 10, 20), width=10, height=10)
    assert CRS.from_wkt(find_upright_crs(grid.crs)) == CRS.from_wkt(crs)
    assert find_upright_crs(crs) == crs


def test_bounds_are_those_of_the_turned_rectangle() -> None:
    crs = CRS.from_epsg(32633).to_wkt("WKT2_2019")
    grid = make_rotated_grid(crs, rotate(500_000, 5_300_000, 10, 90), width=30, height=20)
    assert project_bounds(grid, crs).as_tuple() == pytest.approx((500_000, 5_300_000, 500_200, 5_300_300), abs=1e-6)


@pytest.mark.parametrize("transform", [(1.0, 1.0, 0.0, 1.0, 1.0, 0.0), (0.0, 1.0, 0.0, 0.0, 1.0, 0.0)])
def test_pixels_without_area_are_refused(transform: Affine) -> None:
    with pytest.raises(ValueError, match="no area"):
        make_rotated_grid(CRS.from_epsg(32633).to_wkt(), transform, width=2, height=2)
