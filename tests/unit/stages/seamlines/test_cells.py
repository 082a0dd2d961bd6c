"""Footprints of known masks, seamlines of known rectangles, and the cells between them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import permutations

import numpy as np
import pytest
import shapely
from partitions import assert_partition
from shapely import MultiPolygon, Point, Polygon, box
from shapely.affinity import rotate
from shapely.geometry.base import BaseGeometry

from processor.errors import InputError
from processor.stages.seamlines.cells import clip_cells, solve_cells
from processor.stages.seamlines.records import Seamlines


def solve(footprints: dict[str, BaseGeometry], *, spacing: float = 0.25, cut: float = 0.0, debug: bool = False) -> Seamlines:
    seamlines = solve_cells(footprints, min_point_spacing=spacing, min_cut_length=cut, debug=debug)
    assert_partition(seamlines, footprints)
    return seamlines


def cell_of(seamlines: Seamlines, scene: str) -> BaseGeometry:
    return next(cell.polygon for cell in seamlines.cells if cell.scene == scene)


def codes(seamlines: Seamlines) -> list[tuple[str, str | None]]:
    return [(finding.code, finding.scene) for finding in seamlines.findings]


def test_the_cut_of_two_offset_rectangles_is_the_middle_axis_of_their_overlap() -> None:
    # The overlap is [7.5, 10] x [3, 8]: its axis leaves the corners at 45 degrees and then follows x = 8.75.
    line = solve({"a": box(0, 0, 10, 8), "b": box(7.5, 3, 17.5, 11)}, spacing=0.1).cutlines[0].line

    axis = shapely.LineString([(7.5, 8), (8.75, 6.75), (8.75, 4.25), (10, 3)])
    assert shapely.hausdorff_distance(line, axis, densify=0.01) < 0.1
    assert {line.coords[0], line.coords[-1]} == {(7.5, 8.0), (10.0, 3.0)}


def test_rectangles_in_a_row_part_straight_down_the_middle() -> None:
    seamlines = solve({"a": box(0, 0, 10, 8), "b": box(7.5, 0, 17.5, 8)}, spacing=0.1)

    left, _, right, _ = seamlines.cutlines[0].line.bounds
    assert left == pytest.approx(8.75, abs=0.1)
    assert right == pytest.approx(8.75, abs=0.1)
    assert cell_of(seamlines, "a").symmetric_difference(box(0, 0, 8.75, 8)).area < 0.1 * 8


def test_a_cut_stays_in_the_middle_of_a_ragged_overlap() -> None:
    rng = np.random.default_rng(3)
    side = np.column_stack([10 + rng.uniform(-0.4, 0.4, 41), np.linspace(0, 20, 41)])
    first = Polygon([(0, 0), *side, (0, 20)])
    second = Polygon([*(side - [4, 0]), (20, 19), (20, 1)])

    line = solve({"a": first, "b": second}, spacing=0.1).cutlines[0].line

    shared = first.intersection(second)
    assert shared.buffer(1e-9).covers(line)
    middle = line.intersection(box(0, 4, 20, 16))
    vertices = shapely.points(shapely.get_coordinates(middle))
    to_first = shapely.distance(vertices, shapely.LineString(side))
    to_second = shapely.distance(vertices, shapely.LineString(side - [4, 0]))
    assert np.abs(to_first - to_second).max() < 0.1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (box(0, 0, 1, 1), box(2, 0, 3, 1)),
        (box(0, 0, 1, 1), box(1, 0, 2, 1)),
        (box(0, 0, 1, 1), box(1, 1, 2, 2)),
        (box(0, 0, 1, 1), Polygon()),
        (Polygon(), Polygon()),
    ],
    ids=["apart", "common edge", "common corner", "one empty", "both empty"],
)
def test_footprints_that_share_no_area_have_no_cut_and_keep_themselves(first: Polygon, second: Polygon) -> None:
    seamlines = solve({"a": first, "b": second})

    assert not seamlines.cutlines

    assert cell_of(seamlines, "a").equals(first)
    assert cell_of(seamlines, "b").equals(second)
    assert not seamlines.cutlines


def test_no_scene_and_one_scene() -> None:
    assert solve_cells({}, min_point_spacing=1.0, min_cut_length=0.0).cells == ()
    assert cell_of(solve({"a": box(0, 0, 2, 1)}), "a").equals(box(0, 0, 2, 1))


def test_a_nested_scene_keeps_the_half_with_its_centroid() -> None:
    outer, inner = box(0, 0, 10, 10), Polygon([(3, 3), (7, 3), (7, 4.5), (3, 4)])

    for names in (("a", "b"), ("b", "a")):
        seamlines = solve({names[0]: outer, names[1]: inner})

        kept = cell_of(seamlines, names[1])
        assert 0.2 < kept.area / inner.area < 0.8
        assert kept.distance(inner.centroid) < 0.25


def test_equal_footprints_are_shared_along_their_diagonal() -> None:
    square = box(0, 0, 10, 10)

    seamlines = solve({"a": square, "b": square})

    assert cell_of(seamlines, "a").area == pytest.approx(50.0, rel=0.02)


def test_a_stack_of_equal_footprints_leaves_later_scenes_without_a_cell() -> None:
    seamlines = solve({name: box(0, 0, 10, 10) for name in "abcd"})

    empty = [cell.scene for cell in seamlines.cells if cell.polygon.is_empty]
    assert empty
    assert codes(seamlines) == [("empty-cell", scene) for scene in empty]


def test_four_scenes_meet_without_a_hole() -> None:
    scenes = {"a": box(0, 8, 10, 18), "b": box(8, 8, 18, 18), "c": box(0, 0, 10, 10), "d": box(8, 0, 18, 10)}

    seamlines = solve(scenes)

    assert [cell.polygon.area for cell in seamlines.cells] == pytest.approx([81.0] * 4, rel=0.01)
    assert shapely.union_all([cell.polygon for cell in seamlines.cells]).equals(box(0, 0, 18, 18))


def test_a_hole_of_one_scene_is_filled_by_the_other() -> None:
    hole = box(8.2, 4, 8.6, 6)
    seamlines = solve({"a": box(0, 0, 10, 10).difference(hole), "b": box(7, 0, 17, 10)})

    assert cell_of(seamlines, "b").covers(hole.buffer(-1e-6))


def test_every_part_of_an_intersection_is_cut() -> None:
    comb = box(0, 0, 4, 10).union(box(3, 0, 8, 3)).union(box(3, 7, 8, 10))

    seamlines = solve({"a": comb, "b": box(6, -1, 12, 11)})

    assert len(seamlines.cutlines) == 2
    # Of each tooth's 2 x 3 in common a keeps the trapezoid between the side where it enters b and the middle axis.
    assert cell_of(seamlines, "a").area == pytest.approx(comb.area - 2 * (6 - 2), rel=0.01)


def test_outlines_that_cross_many_times_are_cut_once_between_good_crossings() -> None:
    # Two frames of one strip, 10 wide and 8 long in common, whose long sides waver about each other.
    rng = np.random.default_rng(1)
    y = np.linspace(0, 20, 81)

    def frame(bottom: float) -> Polygon:
        waver = rng.uniform(-0.05, 0.05, (2, 81))
        left, right = np.column_stack([waver[0], bottom + y]), np.column_stack([10 + waver[1], bottom + y])
        return Polygon([*left, *right[::-1]])

    seamlines = solve({"a": frame(12.0), "b": frame(0.0)})

    line = seamlines.cutlines[0].line
    assert abs(line.coords[0][0] - line.coords[-1][0]) == pytest.approx(10, abs=0.2)
    assert cell_of(seamlines, "a").distance(Point(5, 31)) == 0
    assert cell_of(seamlines, "b").distance(Point(5, 1)) == 0
    for cell in seamlines.cells:
        assert max(shapely.area(shapely.get_parts(cell.polygon))) > 0.99 * cell.polygon.area


def test_a_small_detached_piece_goes_to_the_neighbour_that_covers_it() -> None:
    # b wins the corner beyond c from a, but c cuts it off from the rest of b.
    scenes = {"a": box(0, 0, 30, 30), "b": rotate(box(10, -5, 40, 35), 3), "c": rotate(box(-5, 10, 35, 40), -4)}

    seamlines = solve(scenes)

    for cell in seamlines.cells:
        parts = shapely.get_parts(cell.polygon)
        others = [scenes[other.scene] for other in seamlines.cells if other is not cell]
        for part in parts[shapely.area(parts) < 0.05 * shapely.area(parts).max()]:
            assert not any(other.covers(part) for other in others)


def test_islands_make_no_seam_and_keep_only_what_no_other_scene_covers() -> None:
    inside, outside = box(12, 4, 12.3, 4.3), box(30, 0, 30.3, 0.3)
    first = MultiPolygon([box(0, 0, 10, 10), inside, outside])

    seamlines = solve({"a": first, "b": box(8, 0, 18, 10)})

    assert len(seamlines.cutlines) == 1
    assert cell_of(seamlines, "a").intersection(outside).area == pytest.approx(outside.area)
    assert cell_of(seamlines, "b").intersection(inside).area == pytest.approx(inside.area)


def test_islands_of_several_scenes_at_one_place_are_shared_out() -> None:
    footprints = {
        name: MultiPolygon([box(20 * index, 0, 20 * index + 10, 10), box(100, 0.25 * index, 100.3, 0.25 * index + 0.3)])
        for index, name in enumerate("abc")
    }

    seamlines = solve(footprints)

    assert [cell.polygon.area - 100 for cell in seamlines.cells] == pytest.approx([0.09, 0.075, 0.075])


def test_the_order_of_the_scenes_does_not_matter() -> None:
    scenes = {"a": box(0, 8, 10, 18), "b": rotate(box(8, 8, 18, 18), 5), "c": box(0, 0, 10, 10), "d": Point(9, 9).buffer(4)}
    wanted = [cell.polygon.wkb for cell in solve(scenes).cells]

    for names in permutations(scenes):
        cells = solve_cells({name: scenes[name] for name in names}, min_point_spacing=0.25, min_cut_length=0.0).cells
        assert [cell.polygon.wkb for cell in cells] == wanted


def test_a_cut_length_that_leaves_no_line_is_reported_and_ignored() -> None:
    scenes: dict[str, BaseGeometry] = {"a": box(0, 0, 10, 8), "b": box(7.5, 3, 17.5, 11)}

    seamlines = solve(scenes, cut=100.0)

    assert codes(seamlines) == [("min-cut-length-ignored", "a")]
    assert "'a' and 'b'" in seamlines.findings[0].message
    assert seamlines.cutlines[0].line.equals(solve(scenes).cutlines[0].line)


def test_a_cut_length_takes_short_edges_out_of_the_way() -> None:
    first, second = box(0, 0, 10, 8), box(7.5, 3, 17.5, 11)

    line = solve({"a": first, "b": second}, cut=0.01).cutlines[0].line

    assert first.intersection(second).covers(line)


@pytest.mark.parametrize(("spacing", "cut"), [(0.0, 0.0), (-1.0, 0.0), (float("nan"), 0.0), (1.0, -0.1), (1.0, float("inf"))])
def test_impossible_parameters_are_refused_by_name(spacing: float, cut: float) -> None:
    with pytest.raises(InputError, match=r"min_point_spacing .* min_cut_length"):
        solve_cells({"a": box(0, 0, 1, 1)}, min_point_spacing=spacing, min_cut_length=cut)


def test_a_footprint_that_is_not_finite_is_refused_by_scene() -> None:
    with pytest.raises(InputError, match="'b'"):
        solve_cells({"a": box(0, 0, 1, 1), "b": box(0, 0, float("inf"), 1)}, min_point_spacing=1.0, min_cut_length=0.0)


def test_a_spacing_wider_than_the_overlap_still_gives_the_middle() -> None:
    # Degrees, with the default spacing of 10 CRS units.
    line = solve({"a": box(0, 0, 1, 0.8), "b": box(0.75, 0.3, 1.75, 1.1)}, spacing=10.0).cutlines[0].line

    axis = shapely.LineString([(0.75, 0.8), (0.875, 0.675), (0.875, 0.425), (1, 0.3)])
    assert shapely.hausdorff_distance(line, axis) < 0.03


def test_a_spacing_far_below_the_overlap_stays_affordable() -> None:
    scenes = {"a": box(0, 0, 1e5, 1e5), "b": box(9e4, 2e4, 1.9e5, 1.2e5)}

    seamlines = solve_cells(scenes, min_point_spacing=0.001, min_cut_length=0.0, debug=True)

    trace = seamlines.cutlines[0].trace
    assert trace is not None
    assert len(trace.seeds) < 2200


def test_invalid_footprints_are_mended() -> None:
    bow = Polygon([(0, 0), (4, 4), (4, 0), (0, 4)])

    seamlines = solve({"a": bow, "b": box(3, 1, 6, 3)})

    assert shapely.union_all([cell.polygon for cell in seamlines.cells]).area == pytest.approx(
        shapely.make_valid(bow).union(box(3, 1, 6, 3)).area
    )


def test_the_trace_is_kept_only_on_request_and_changes_nothing() -> None:
    scenes: dict[str, BaseGeometry] = {"a": box(0, 0, 10, 8), "b": box(7.5, 3, 17.5, 11)}
    plain, traced = solve(scenes), solve(scenes, debug=True)

    trace = traced.cutlines[0].trace
    assert plain.cutlines[0].trace is None
    assert trace is not None
    assert trace.intersection.equals(box(7.5, 3, 10, 8))
    assert trace.seeds.shape[1:] == (2,)
    assert trace.voronoi_edges.shape[1:] == (4,)
    assert shapely.covers(trace.intersection, shapely.points(trace.voronoi_edges.reshape(-1, 2))).all()
    assert [cell.polygon.wkb for cell in plain.cells] == [cell.polygon.wkb for cell in traced.cells]


def test_cells_are_clipped_to_an_area_and_stay_apart() -> None:
    seamlines = solve({"a": box(0, 0, 10, 8), "b": box(7.5, 3, 17.5, 11)})
    area = Point(9, 5).buffer(3)

    clipped = clip_cells(seamlines.cells, area)

    assert [cell.scene for cell in clipped] == ["a", "b"]
    assert sum(cell.polygon.area for cell in clipped) == pytest.approx(
        area.intersection(box(0, 0, 10, 8).union(box(7.5, 3, 17.5, 11))).area
    )
    assert clipped[0].polygon.intersection(clipped[1].polygon).area == pytest.approx(0, abs=1e-9)


def test_a_cell_outside_the_area_is_empty() -> None:
    cells = solve({"a": box(0, 0, 1, 1)}).cells

    assert clip_cells(cells, box(2, 2, 3, 3))[0].polygon.is_empty


def test_cells_are_the_same_bytes_when_cuts_are_found_at_once() -> None:
    squares = {f"{row}{col}": box(col * 7, row * 7, col * 7 + 10, row * 7 + 10) for row in range(4) for col in range(4)}
    alone = solve_cells(squares, min_point_spacing=0.5, min_cut_length=0.0)
    with ThreadPoolExecutor(4) as pool:
        together = solve_cells(squares, min_point_spacing=0.5, min_cut_length=0.0, run=pool.map)
    assert [cell.polygon.wkb for cell in together.cells] == [cell.polygon.wkb for cell in alone.cells]
    assert [cut.line.wkb for cut in together.cutlines] == [cut.line.wkb for cut in alone.cutlines]
