"""Masks of cells and regions against shapely's own point-in-polygon, and on borders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from shapely import Geometry, GeometryCollection, LineString, MultiPolygon, Point, Polygon, box

from processor.model import Grid, Window
from processor.stages.clip.mask_rasters import compute_cell_mask, compute_owners, compute_region_mask
from processor.stages.method import Region

GRID = Grid(crs="", left=0.0, top=8.0, pixel_width=1.0, pixel_height=1.0, width=10, height=8)
UTM = Grid(crs="", left=499_980.0, top=5_300_040.0, pixel_width=0.5, pixel_height=0.25, width=60, height=80)


def centres(grid: Grid, window: Window) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x = grid.left + (window.col + np.arange(window.width) + 0.5) * grid.pixel_width
    y = grid.top - (window.row + np.arange(window.height) + 0.5) * grid.pixel_height
    return np.meshgrid(x, y)


def contains_centres(geometry: Geometry, grid: Grid, window: Window) -> NDArray[np.bool_]:
    return np.asarray(shapely.contains_xy(geometry, *centres(grid, window)), np.bool_)


def mask(geometry: Geometry, grid: Grid = GRID, window: Window | None = None, *, touched: bool = False) -> NDArray[np.bool_]:
    return compute_cell_mask(geometry, grid, window or grid.window, include_touched_pixels=touched)


def blob(grid: Grid, seed: int, *, points: int = 9) -> Polygon:
    """A ragged polygon about the middle of a grid, with a hole."""
    rng = np.random.default_rng(seed)
    bounds = grid.bounds
    angle = np.sort(rng.uniform(0, 2 * np.pi, points))
    radius = rng.uniform(0.25, 0.55, points)
    x = (bounds.left + bounds.right) / 2 + radius * np.cos(angle) * bounds.width
    y = (bounds.bottom + bounds.top) / 2 + radius * np.sin(angle) * bounds.height
    outline = Polygon(np.column_stack([x, y]))
    hole = shapely.affinity.scale(outline, 0.3, 0.3, origin=outline.centroid)
    return shapely.difference(shapely.make_valid(outline), hole)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("grid", [GRID, UTM], ids=["small", "utm"])
def test_pixels_inside_are_those_whose_centre_is(grid: Grid, seed: int) -> None:
    polygon = blob(grid, seed)
    expected = contains_centres(polygon, grid, grid.window)
    assert expected.any()
    np.testing.assert_array_equal(mask(polygon, grid), expected)


@pytest.mark.parametrize("seed", range(3))
def test_mask_of_a_window_equals_that_part_of_the_whole(seed: int) -> None:
    polygon = blob(UTM, seed)
    whole = mask(polygon, UTM)
    for window in (Window(row=17, col=3, height=40, width=50), Window(row=79, col=59, height=1, width=1)):
        np.testing.assert_array_equal(mask(polygon, UTM, window), whole[window.slices_in(UTM.window)])


def test_touched_pixels_are_those_whose_square_the_polygon_meets() -> None:
    triangle = Polygon([(1.2, 1.3), (6.7, 2.1), (3.4, 6.6)])
    touched = mask(triangle, touched=True)
    squares = shapely.box(
        *np.meshgrid(np.arange(10.0), 8.0 - 1 - np.arange(8.0)), *np.meshgrid(np.arange(1.0, 11), 8.0 - np.arange(8.0))
    )
    np.testing.assert_array_equal(touched, shapely.intersects(squares, triangle))
    assert (touched & ~mask(triangle)).any()
    assert not (mask(triangle) & ~touched).any()


def test_a_sliver_between_centres_has_only_touched_pixels() -> None:
    sliver = box(2.6, 0, 3.4, 8)
    assert not mask(sliver).any()
    np.testing.assert_array_equal(np.flatnonzero(mask(sliver, touched=True).all(axis=0)), [2, 3])


@pytest.mark.parametrize("touched", [False, True])
@pytest.mark.parametrize("geometry", [Polygon(), MultiPolygon(), GeometryCollection(), box(100, 100, 101, 101)])
def test_nothing_is_inside_an_empty_or_distant_polygon(geometry: Geometry, touched: bool) -> None:
    found = mask(geometry, touched=touched)
    assert found.shape == GRID.shape
    assert not found.any()


@pytest.mark.parametrize("touched", [False, True])
def test_lines_and_points_beside_a_polygon_own_nothing(touched: bool) -> None:
    """Clipping and mending polygons leaves such collections."""
    square = box(0, 0, 2, 2)
    mixed = GeometryCollection([Point(7.5, 7.5), MultiPolygon([square, box(5, 0, 6, 1)]), LineString([(0, 5.5), (9, 5.5)])])
    np.testing.assert_array_equal(mask(mixed, touched=touched), mask(MultiPolygon([square, box(5, 0, 6, 1)]), touched=touched))
    np.testing.assert_array_equal(compute_owners({3: mixed}, GRID, GRID.window) == 3, mask(mixed))
    assert not mask(LineString([(0, 5.5), (9, 5.5)]), touched=touched).any()


# Owners


@pytest.mark.parametrize("order", [1, -1])
def test_owners_are_the_numbers_of_the_cells(order: int) -> None:
    cells = {7: box(0, 0, 4, 8), 2: box(4, 0, 10, 3), 300: box(4, 3, 10, 8)}
    owners = compute_owners(dict(list(cells.items())[::order]), GRID, GRID.window)
    assert owners.dtype == np.uint16
    expected = np.zeros(GRID.shape, int)
    for number, cell in cells.items():
        expected[contains_centres(cell, GRID, GRID.window)] = number
    np.testing.assert_array_equal(owners, expected)


def test_nobody_owns_what_no_cell_covers() -> None:
    owners = compute_owners({1: box(0, 0, 2, 8), 2: Polygon()}, GRID, GRID.window)
    assert (owners[:, :2] == 1).all()
    assert not owners[:, 2:].any()
    assert not compute_owners({}, GRID, GRID.window).any()
    assert not compute_owners({1: Polygon()}, GRID, GRID.window).any()


@pytest.mark.parametrize(
    "cells",
    [
        [box(0, 0, 10, 3.5), box(0, 3.5, 10, 8)],
        [box(0, 0, 4.5, 8), box(4.5, 0, 10, 8)],
        [Polygon([(0, 0), (8, 8), (0, 8)]), Polygon([(0, 0), (10, 0), (10, 8), (8, 8)])],
        [
            Polygon([(0, 0), (0, 8), (10, 8), (10, 0)], [[(2.5, 2.5), (6.5, 2.5), (6.5, 5.5), (2.5, 5.5)]]),
            box(2.5, 2.5, 6.5, 5.5),
        ],
    ],
    ids=["horizontal", "vertical", "diagonal", "hole"],
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_centre_on_a_border_has_exactly_one_owner_whichever_way_the_rings_run(cells: list[Polygon], turned: bool) -> None:
    rings = [shapely.reverse(cell) if turned else cell for cell in cells]
    owners = compute_owners(dict(enumerate(rings, start=1)), GRID, GRID.window)
    assert (owners > 0).all()
    on_both = mask(rings[0]) & mask(rings[1])
    assert (owners[on_both] == 2).all()
    assert (mask(rings[0]) | mask(rings[1])).all()


# Regions


@pytest.mark.parametrize("touched", [False, True])
@pytest.mark.parametrize("window", [GRID.window, Window(row=2, col=3, height=4, width=5)], ids=["whole", "part"])
def test_included_region_is_the_mask_of_its_geometry(window: Window, touched: bool) -> None:
    polygon = blob(GRID, 1)
    region = Region(is_included=True, geometries={"a": polygon})
    found = compute_region_mask(region, "a", GRID, window, include_touched_pixels=touched)
    np.testing.assert_array_equal(found, mask(polygon, GRID, window, touched=touched))


@pytest.mark.parametrize("window", [GRID.window, Window(row=2, col=3, height=4, width=5)], ids=["whole", "part"])
def test_excluded_region_is_the_rest(window: Window) -> None:
    polygon = blob(GRID, 2)
    region = Region(is_included=False, geometries={"a": polygon})
    np.testing.assert_array_equal(compute_region_mask(region, "a", GRID, window), ~mask(polygon, GRID, window))
    touched = compute_region_mask(region, "a", GRID, window, include_touched_pixels=True)
    np.testing.assert_array_equal(touched, ~_covered(polygon, window))


def _covered(polygon: Polygon, window: Window) -> NDArray[np.bool_]:
    x, y = centres(GRID, window)
    return np.asarray(shapely.covers(polygon, shapely.box(x - 0.5, y - 0.5, x + 0.5, y + 0.5)), np.bool_)


@pytest.mark.parametrize(("is_included", "allowed"), [(True, False), (False, True)])
def test_a_scene_that_no_feature_names_has_nothing_inside(is_included: bool, allowed: bool) -> None:
    region = Region(is_included=is_included, geometries={"a": GRID_BOX})
    assert (compute_region_mask(region, "b", GRID, GRID.window) == allowed).all()
    assert (compute_region_mask(region, "a", GRID, GRID.window) != allowed).all()


GRID_BOX = box(-5, -5, 20, 20)


def test_a_mended_region_with_loose_lines_counts_by_its_area() -> None:
    spike: Any = shapely.make_valid(Polygon([(0, 0), (4, 0), (4, 4), (2, 4), (2, 7.5), (2, 4), (0, 4)]))
    assert isinstance(spike, GeometryCollection)
    for is_included in (True, False):
        region = Region(is_included=is_included, geometries={"a": spike})
        found = compute_region_mask(region, "a", GRID, GRID.window, include_touched_pixels=is_included)
        assert ((found == is_included) == mask(box(0, 0, 4, 4))).all()
