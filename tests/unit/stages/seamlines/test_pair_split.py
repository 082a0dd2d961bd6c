"""Who gets which part of an intersection, and between which points it is cut."""

from __future__ import annotations

import pytest
import shapely
from shapely import Point, Polygon, box
from shapely.geometry.base import BaseGeometry

from processor.stages.seamlines.centre_line import SplitRule
from processor.stages.seamlines.pair_split import PartSplit, solve_splits
from processor.stages.seamlines.partition import snap_polygons

GRID = 2.0**-30
RULE = SplitRule(min_point_spacing=0.1, min_cut_length=0.0, grid_size=GRID)


def split(first: BaseGeometry, second: BaseGeometry) -> list[PartSplit]:
    return solve_splits(snap_polygons(first, GRID), snap_polygons(second, GRID), RULE)


def ends(part: PartSplit) -> set[tuple[float, float]]:
    assert part.line is not None
    return {(round(x, 3), round(y, 3)) for x, y in (part.line.coords[0], part.line.coords[-1])}


def test_each_scene_wins_the_piece_that_adjoins_what_only_it_covers() -> None:
    left, right = box(0, 0, 6, 4), box(4, 1, 10, 5)

    for first, second in ((left, right), (right, left)):
        (part,) = split(first, second)

        assert part.second_piece.distance(second.difference(first)) == 0
        assert part.second_piece.intersection(first.difference(second)).area == 0
        assert part.second_piece.area == pytest.approx(3.0, rel=0.02)


def test_the_cut_goes_from_crossing_to_crossing() -> None:
    (part,) = split(box(0, 0, 6, 4), box(4, 1, 10, 5))

    assert ends(part) == {(4, 4), (6, 1)}


def test_outlines_that_run_together_cross_halfway() -> None:
    (part,) = split(box(0, 0, 6, 4), box(4, 0, 10, 4))

    assert ends(part) == {(5, 0), (5, 4)}


def test_outlines_that_run_together_across_the_start_of_the_ring_cross_halfway() -> None:
    # Wherever the ring of the intersection starts, here or in the middle of a common stretch.
    first = Polygon([(0, 0), (3, 0), (5, 0), (6, 0), (6, 4), (0, 4)])
    second = Polygon([(4.5, 0), (10, 0), (10, 4), (4, 4), (4, 0)])

    for one, other in ((first, second), (second, first)):
        (part,) = split(one, other)

        assert ends(part) == {(5, 0), (5, 4)}


def test_outlines_that_only_touch_do_not_cross() -> None:
    # The second's long side touches the first's from inside at (6, 2) but crosses it at the corners only.
    notched = Polygon([(4, -1), (5.8, -1), (6, 1.9), (6, 2.1), (5.8, 5), (4, 5)])

    (part,) = split(box(0, 0, 6, 4), notched)

    assert part.line is not None
    assert part.problem is None


def test_of_several_crossings_the_shortest_good_cut_is_taken() -> None:
    # A bar across a bar: the cut goes along one of the short sides, not from corner to corner.
    (part,) = split(box(0, 4, 12, 6), box(4, 0, 8, 10))

    assert ends(part) in ({(4, 4), (4, 6)}, {(8, 4), (8, 6)})


def test_a_nested_polygon_keeps_the_piece_with_its_centroid() -> None:
    outer, inner = box(0, 0, 10, 10), Polygon([(2, 2), (8, 2), (8, 5), (2, 4)])

    (as_second,) = split(outer, inner)
    (as_first,) = split(inner, outer)

    assert as_second.second_piece.distance(inner.centroid) < 0.1
    assert inner.difference(as_first.second_piece).distance(inner.centroid) < 0.1
    assert as_second.second_piece.symmetric_difference(inner.difference(as_first.second_piece)).area < 0.1


def test_a_minor_part_goes_uncut_to_the_scene_it_adjoins() -> None:
    tooth = box(5.95, 8, 6.05, 8.1)
    first = box(0, 0, 6, 4).union(box(0, 0, 1, 8.1)).union(box(0, 8, 6.05, 8.1))
    second = box(4, 1, 10, 5).union(box(5.95, 5, 10, 10))

    main, minor = split(first, second)

    assert main.line is not None
    assert minor.line is None
    assert minor.problem is None
    assert minor.trace is None
    assert minor.second_piece.equals_exact(tooth, 1e-6, normalize=True)


def test_a_hole_of_either_belongs_to_no_piece() -> None:
    hole = Point(5.5, 2.5).buffer(0.2)

    (part,) = split(box(0, 0, 6, 4).difference(hole), box(4, 1, 10, 5))

    assert part.trace is not None
    assert not part.trace.intersection.interiors
    assert part.second_piece.intersection(hole).area < 1e-6


def test_a_hair_along_a_common_border_is_not_cut() -> None:
    (part,) = split(box(0, 0, 1, 1), box(1 - 2 * GRID, 0, 2, 1))

    assert part.line is None
    assert part.problem is None


def test_no_common_area_has_no_part() -> None:
    assert split(box(0, 0, 1, 1), box(1, 0, 2, 1)) == []
    assert split(box(0, 0, 1, 1), Polygon()) == []


def test_both_pieces_make_up_the_part() -> None:
    first, second = Point(0, 0).buffer(3), Point(2, 1).buffer(3)

    (part,) = split(first, second)
    (mirrored,) = split(second, first)

    common = first.intersection(second)
    assert shapely.union(part.second_piece, mirrored.second_piece).symmetric_difference(common).area < 0.05
    assert part.second_piece.area == pytest.approx(common.area / 2, rel=0.02)
