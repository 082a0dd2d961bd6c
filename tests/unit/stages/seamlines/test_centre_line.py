"""Centre lines of areas whose middle is known, and of areas that make them hard to find."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from shapely import LineString, Polygon

from processor.stages.seamlines.centre_line import CentreLine, SplitRule, compute_seeds, solve_centre_line


def rule(spacing: float, cut: float = 0.0) -> SplitRule:
    return SplitRule(min_point_spacing=spacing, min_cut_length=cut, grid_size=2.0**-40)


def solve(corners: list[tuple[float, float]], start: int, end: int, *, spacing: float = 0.1, cut: float = 0.0) -> CentreLine:
    area = Polygon(corners)
    ring = shapely.get_coordinates(area.exterior)
    shapely.prepare(area)
    solved = solve_centre_line(area, ring, (ring[start], ring[end]), rule(spacing, cut))
    if solved.line is not None:
        assert area.covers(solved.line)
        assert solved.line.is_simple
        assert solved.line.coords[0] == corners[start]
        assert solved.line.coords[-1] == corners[end]
    return solved


def square(side: float) -> NDArray[np.float64]:
    return np.array([[0, 0], [side, 0], [side, side], [0, side], [0, 0]], np.float64)


@pytest.mark.parametrize(("spacing", "steps"), [(1.0, 3), (1.3, 2), (1.19, 3), (2.1, 1), (100.0, 1)])
def test_seeds_divide_each_edge_evenly_into_the_nearest_number_of_steps(spacing: float, steps: int) -> None:
    seeds = compute_seeds(square(3.0), spacing=spacing)

    assert len(seeds) == 4 * steps
    assert np.allclose(np.linalg.norm(np.diff(seeds, axis=0), axis=1), 3.0 / steps)
    assert {(0.0, 0.0), (3.0, 0.0), (3.0, 3.0), (0.0, 3.0)} <= {(x, y) for x, y in seeds.tolist()}


def test_edges_are_divided_each_for_itself() -> None:
    seeds = compute_seeds(np.array([[0, 0], [10, 0], [10, 0.2], [0, 0]], np.float64), spacing=5.0)

    assert seeds.tolist() == [[0, 0], [5, 0], [10, 0], [10, 0.2], [5, 0.1]]


def test_the_line_through_a_rectangle_is_its_middle_axis() -> None:
    solved = solve([(0, 0), (10, 0), (10, 2), (0, 2)], 0, 2)

    assert solved.problem is None
    assert solved.line is not None
    axis = LineString([(0, 0), (1, 1), (9, 1), (10, 2)])
    assert shapely.hausdorff_distance(solved.line, axis, densify=0.01) < 0.1


def test_coordinates_far_from_the_origin_make_no_difference() -> None:
    corners = [(0.0, 0.0), (10.0, 0.0), (10.0, 2.0), (0.0, 2.0)]
    shift = np.array([5e5, 6e6])
    far = [(x + 5e5, y + 6e6) for x, y in corners]

    near_line, far_line = solve(corners, 0, 2).line, solve(far, 0, 2).line

    assert near_line is not None
    assert far_line is not None
    assert shapely.hausdorff_distance(near_line, LineString(shapely.get_coordinates(far_line) - shift)) < 0.02


def test_a_point_in_the_middle_of_an_edge_leads_straight_to_the_axis() -> None:
    # The nearest node of all lies on the branch to a corner; the way there would be a detour.
    solved = solve([(0, 0), (1, 0), (2, 0), (2, 10), (1, 10), (0, 10)], 1, 4)

    assert solved.line is not None
    assert np.abs(shapely.get_coordinates(solved.line)[:, 0] - 1).max() < 0.1


def test_a_line_finds_its_way_through_a_neck_far_narrower_than_the_spacing() -> None:
    # Its sides are longer than the spacing and begin at different places, so that their seeds do not stand opposite.
    below, above = (
        [(0.0, 0.0), (8.0, 9.99), (12.0, 9.99), (20.0, 0.0)],
        [(20.0, 20.0), (12.125, 10.01), (7.875, 10.01), (0.0, 20.0)],
    )
    corners = below + above

    solved = solve(corners, 0, 3, spacing=1.0)

    assert solved.problem is None
    assert solved.line is not None
    assert solved.line.distance(shapely.Point(10, 10)) < 0.02


def test_a_line_does_not_jump_a_bay_far_narrower_than_the_spacing() -> None:
    bay = [(5.001, 0.0), (5.0, 9.0), (4.999, 0.0)]
    corners = [(0.0, 0.0), *bay[::-1], (10.0, 0.0), (10.0, 10.0), (0.0, 10.0)]

    solved = solve(corners, 0, 4, spacing=1.0)

    assert solved.problem is None
    assert solved.line is not None
    assert solved.line.bounds[3] > 9.0


def test_short_edges_can_be_left_out_and_come_back_where_they_are_needed() -> None:
    corners = [(0.0, 0.0), (10.0, 0.0), (10.0, 2.0), (0.0, 2.0)]

    assert solve(corners, 0, 2, cut=0.001).problem is None
    assert solve(corners, 0, 2, cut=50.0).problem == "min-cut-length-ignored"


def test_the_line_is_close_to_the_diagram_and_has_few_vertices() -> None:
    # Seeds of the two long sides stand at different steps, so that the diagram wavers between them.
    solved = solve([(0, 0), (100, 0), (97.25, 2), (0, 2)], 0, 2)

    assert solved.line is not None
    assert shapely.get_num_coordinates(solved.line) < 20
    edges = shapely.linestrings(solved.voronoi_edges.reshape(-1, 2, 2))
    inner = shapely.points(shapely.get_coordinates(solved.line)[1:-1])
    assert shapely.distance(shapely.multilinestrings(edges), inner).max() < 0.1 * 0.05


def test_equal_input_gives_equal_bytes() -> None:
    corners = [(0.0, 0.0), (7.25, 0.5), (9.875, 3.125), (4.25, 5.0)]

    lines = [solve(corners, 0, 2).line for _ in range(2)]

    assert lines[0] is not None
    assert lines[1] is not None
    assert lines[0].wkb == lines[1].wkb
