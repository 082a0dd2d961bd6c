"""The arrangement below the cells, with splits made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from partitions import assert_matched
from shapely import GeometryCollection, LineString, MultiPolygon, Point, Polygon, box
from shapely.geometry.base import BaseGeometry

from processor.stages.seamlines.partition import (
    REFINEMENT,
    _compute_inner_points,
    collect_polygons,
    compute_grid_size,
    select_polygons,
    snap_polygons,
    solve_partition,
)

GRID = 2.0**-30


def never(other: int, one: int) -> BaseGeometry:
    msg = f"scenes {one} and {other} do not meet"
    raise AssertionError(msg)


def first_wins(other: int, one: int) -> BaseGeometry:
    assert one < other
    return Polygon()


def solve(polygons: list[BaseGeometry], split: object = first_wins) -> list[BaseGeometry]:
    assert callable(split)
    cells = solve_partition(polygons, [Polygon()] * len(polygons), split, GRID)
    assert_matched(cells)
    return list(cells)


def test_the_precision_grid_is_a_fine_power_of_two() -> None:
    for extent, corner in ((1.0, 0.0), (1e5, 6e6), (1e-3, 0.0), (180.0, -180.0)):
        size = compute_grid_size([box(corner, corner, corner + extent, corner + extent)])

        assert np.frexp(size)[0] == 0.5
        assert size <= max(extent * 1e-10, 1e-6)
        assert size / REFINEMENT >= 8 * np.spacing(corner + extent)


def test_the_precision_grid_of_nothing_is_usable() -> None:
    assert compute_grid_size([]) > 0
    assert compute_grid_size([Polygon(), Polygon()]) > 0


def test_polygons_are_selected_from_any_geometry() -> None:
    mixed = GeometryCollection([Point(0, 0), LineString([(0, 0), (1, 1)]), GeometryCollection([box(0, 0, 1, 1)])])

    assert select_polygons(mixed).equals(box(0, 0, 1, 1))
    assert select_polygons(LineString([(0, 0), (1, 1)])).is_empty
    assert collect_polygons([Polygon(), MultiPolygon([box(0, 0, 1, 1), box(2, 0, 3, 1)])]).area == 2
    assert collect_polygons([]).is_empty


def test_snapping_makes_valid_and_rounds() -> None:
    bow = Polygon([(0, 0), (2, 2), (2, 0), (0, 2.0001)])

    snapped = snap_polygons(bow, 0.5)

    assert snapped.is_valid
    assert snapped.area == pytest.approx(2.0)
    assert (np.mod(shapely.get_coordinates(snapped), 0.5) == 0).all()


def test_polygons_apart_are_their_own_cells_and_never_split() -> None:
    cells = solve([box(0, 0, 1, 1), Polygon(), box(2, 0, 3, 1)], never)

    assert cells[0].equals(box(0, 0, 1, 1))
    assert cells[1].is_empty
    assert cells[2].equals(box(2, 0, 3, 1))


def test_the_winner_takes_its_piece_and_the_rest_stays() -> None:
    cells = solve([box(0, 0, 3, 2), box(2, 0, 5, 2)], lambda _one, _other: box(2, 0, 3, 1))

    assert cells[0].equals(box(0, 0, 3, 2).difference(box(2, 0, 3, 1)))
    assert cells[1].equals(box(3, 0, 5, 2).union(box(2, 0, 3, 1)))


def test_neighbours_share_the_vertices_that_only_one_of_them_needs() -> None:
    # The border of the left scene is one straight edge, where the two right scenes meet halfway.
    cells = solve([box(0, 0, 1, 2), box(1, 0, 2, 1), box(1, 1, 2, 2)])

    assert shapely.get_num_coordinates(cells[0]) == 6


def test_where_three_beat_each_other_in_a_circle_the_place_has_one_owner() -> None:
    square = box(0, 0, 1, 1)
    wins = {(0, 1): Polygon(), (1, 2): Polygon(), (0, 2): square}

    cells = solve([square, square, square], lambda other, one: wins[one, other])

    assert [cell.area for cell in cells] == [0, 0, 1]


def test_a_hole_that_nobody_covers_stays_a_hole() -> None:
    ring = [box(0, 0, 3, 1), box(2, 0, 3, 3), box(0, 2, 3, 3), box(0, 0, 1, 3)]

    cells = solve(list(ring))

    assert shapely.union_all(cells).equals(box(0, 0, 3, 3).difference(box(1, 1, 2, 2)))


def test_a_hair_between_borders_closes() -> None:
    # A tenth of a grid step apart: one arrangement has no room for it.
    cells = solve([box(0, 0, 1, 1), box(1 + GRID / 10, 0, 2, 1)])

    assert shapely.union_all(cells).geom_type == "Polygon"
    assert cells[0].touches(cells[1])


def test_the_inner_point_of_a_face_is_not_in_a_hair_of_it() -> None:
    # Halfway up its bounds there is only a hair; what holds a point there says nothing about the face.
    face = Polygon([(0, 0), (1, 0), (1, 0.1), (0.5 + GRID, 0.1), (0.5, 10), (0.5, 0.1), (0, 0.1)])

    (point,) = _compute_inner_points(np.array([face]), GRID)

    assert point.distance(face.boundary) > 0.04


def test_a_small_detached_piece_goes_to_a_neighbour_that_covers_it() -> None:
    first, second, third = box(0, 0, 10, 10), box(9, 0, 20, 10), box(8.5, 0, 9.5, 10)
    stray = box(8.8, 4, 9, 5)

    def split(other: int, one: int) -> BaseGeometry:
        return {(0, 1): Polygon(), (0, 2): stray, (1, 2): first.intersection(third).intersection(second)}[one, other]

    cells = solve([first, second, third.union(box(8.5, 10, 9.5, 20))], split)

    assert cells[0].covers(stray)
    assert cells[2].geom_type == "Polygon"


def test_a_small_detached_piece_that_no_neighbour_covers_stays() -> None:
    first = box(0, 0, 10, 10).union(box(12, 0, 12.5, 0.5))

    cells = solve([box(10, 0, 14, 10).difference(box(12, 0, 12.5, 0.5)), first])

    assert cells[1].covers(box(12, 0, 12.5, 0.5))


def test_islands_take_what_is_left() -> None:
    polygons = [box(0, 0, 10, 10), box(20, 0, 30, 10)]
    islands = [MultiPolygon([box(25, 5, 26, 6), box(29.5, 4, 30.5, 5)]), box(40, 0, 41, 1)]

    cells = solve_partition(polygons, islands, never, GRID)

    assert_matched(cells)
    assert cells[0].equals(MultiPolygon([box(0, 0, 10, 10), box(30, 4, 30.5, 5)]))
    assert cells[1].equals(MultiPolygon([box(20, 0, 30, 10), box(40, 0, 41, 1)]))
