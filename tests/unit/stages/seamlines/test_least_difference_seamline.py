"""Cuts along the cheapest path through the blocks that two scenes share: where they are equal, and around obstacles."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from shapely import LineString, Polygon, box

from processor.model import Adjustment, Grid
from processor.stages.matching.matched_blocks import MatchedBlocks, compute_matched_blocks
from processor.stages.matching.pair_difference import compute_pair_difference, make_radiometry
from processor.stages.seamlines.block_path import BlockCosts, find_cheapest_way, make_block_costs, make_obstacles

CANVAS = Grid(crs="EPSG:32633", left=1000.0, top=5000.0, pixel_width=2.0, pixel_height=2.0, width=96, height=64)
AREA = box(1000, 4872, 1192, 5000)
ENDS = (np.array([1000.0, 4936.0]), np.array([1192.0, 4936.0]))
EDGE = 8
NOTHING = make_radiometry((), ())


def make_pair(
    first: NDArray[np.floating], second: NDArray[np.floating], valid: NDArray[np.bool_] | None = None
) -> MatchedBlocks:
    return compute_matched_blocks(("a", "b"), (first, second), valid, CANVAS, CANVAS.window, CANVAS, EDGE)


def make_costs(part: MatchedBlocks, spread: float = 1.0) -> BlockCosts:
    difference = compute_pair_difference(part, np.arange(len(part.count)), CANVAS, NOTHING)
    costs = make_block_costs(part, difference, np.full(part.sums.shape[1], spread), CANVAS)
    assert costs is not None
    return costs


def find_way(costs: BlockCosts, area: Polygon = AREA, obstacles: list[Polygon] | None = None) -> LineString:
    shapely.prepare(area)
    line = find_cheapest_way(costs, area, ENDS, obstacles or ())
    assert line is not None
    assert line.is_simple
    assert area.covers(line)
    assert [line.coords[0], line.coords[-1]] == [tuple(end) for end in ENDS]
    return line


def scenes_that_differ(change: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    ground = np.random.default_rng(0).normal(100, 1, (2, *CANVAS.shape))
    return ground, ground + change


def test_the_path_goes_where_the_scenes_are_equal() -> None:
    change = np.full(CANVAS.shape, 3.0)
    change[44:50] = 0  # rows of the canvas in which both are alike, below the middle
    line = find_way(make_costs(make_pair(*scenes_that_differ(change))))
    inner = shapely.intersection(line, box(1050, 4872, 1142, 5000))
    _, bottom, _, top = inner.bounds
    assert (bottom, top) == (5000 - 2 * 44, 5000 - 2 * 44), "the centres of the row of blocks 40 to 47, which is half equal"


def test_a_straight_line_has_no_corner_where_nothing_differs() -> None:
    ground, same = scenes_that_differ(np.zeros(CANVAS.shape))
    line = find_way(make_costs(make_pair(ground, same)))
    assert len(line.coords) <= 4
    assert line.length <= 192 + 2 * 16


def test_gains_and_offsets_count_as_matched() -> None:
    ground = np.random.default_rng(0).normal(100, 1, (1, *CANVAS.shape))
    part = make_pair(ground, 2 * ground + 30)
    matched = make_radiometry([Adjustment(scene="b", scale=np.array([0.5]), offset=np.array([-15.0]))], ())
    blocks = np.arange(len(part.count))
    assert compute_pair_difference(part, blocks, CANVAS, matched).max() < 1e-5
    raw = compute_pair_difference(part, blocks, CANVAS, NOTHING)
    expected = np.sqrt(((ground + 30) ** 2)[0].reshape(8, 8, 12, 8).mean(axis=(1, 3)).ravel())
    assert raw[0] == pytest.approx(expected, rel=1e-9)


def test_costs_are_the_mean_square_in_variances_and_a_little() -> None:
    ground, changed = scenes_that_differ(np.full(CANVAS.shape, 3.0))
    costs = make_costs(make_pair(ground, changed), spread=2.0)
    assert set(costs.cost.tolist()) == {2260}  # 1000 (9 / 4 + 0.01)
    assert costs.other == 2260
    assert costs.cost.dtype == np.int64


def test_blocks_of_few_pixels_cost_as_the_median() -> None:
    change = np.zeros(CANVAS.shape)
    change[:32] = 2.0
    valid = np.ones(CANVAS.shape, np.bool_)
    valid[:8, :6] = valid[0, 8:16] = False  # a quarter of the first block is left, and 7 / 8 of the second
    part = make_pair(*scenes_that_differ(change), valid)
    costs = make_costs(part)
    assert len(costs.cost) == len(part.count) - 1
    assert costs.other in {10, 4010}


def test_bands_that_do_not_vary_do_not_count() -> None:
    part = make_pair(*scenes_that_differ(np.full(CANVAS.shape, 1.0)))
    difference = np.array([[1.0], [50.0]]) * np.ones((2, len(part.count)))
    costs = make_block_costs(part, difference, np.array([1.0, 0.0]), CANVAS)
    assert costs is not None
    assert set(costs.cost.tolist()) == {1010}
    assert make_block_costs(part, difference, np.zeros(2), CANVAS) is None


def test_obstacles_are_gone_around_though_the_scenes_are_equal_there() -> None:
    change = np.full(CANVAS.shape, 2.0)
    change[28:36] = 0
    costs = make_costs(make_pair(*scenes_that_differ(change)))
    building = box(1090, 4920, 1102, 4952)
    assert find_way(costs).intersects(building)
    line = find_way(costs, obstacles=[building])
    assert not line.intersects(building)
    assert line.length < 300


def test_a_wall_that_has_no_way_around_is_cut_once() -> None:
    wall = box(1090, 4800, 1100, 5100)
    line = find_way(make_costs(make_pair(*scenes_that_differ(np.zeros(CANVAS.shape)))), obstacles=[wall])
    assert shapely.intersection(line, wall).length < 3 * 10


def test_a_path_stays_in_an_area_that_is_not_convex() -> None:
    bay = shapely.difference(AREA, box(1060, 4900, 1130, 5000))
    shapely.prepare(bay)
    line = find_way(make_costs(make_pair(*scenes_that_differ(np.zeros(CANVAS.shape)))), area=bay)
    assert bay.covers(line)


@pytest.mark.parametrize("area", [box(1000, 4933, 1192, 4939), box(1000, 4872, 1e6, 4.9e6)])
def test_there_is_no_path_through_what_is_too_narrow_or_too_large(area: Polygon) -> None:
    costs = make_costs(make_pair(*scenes_that_differ(np.zeros(CANVAS.shape))))
    shapely.prepare(area)
    assert find_cheapest_way(costs, area, ENDS) is None


def test_obstacles_are_found_by_area_in_order() -> None:
    things = [box(k, 0, k + 0.5, 1) for k in range(9)]
    assert make_obstacles(things).find(box(2.2, 0, 4.2, 1)) == things[2:5]
    assert make_obstacles([]).find(box(0, 0, 1, 1)) == []


def test_the_path_is_the_same_whatever_else_is_in_the_lattice() -> None:
    rng = np.random.default_rng(3)
    part = make_pair(*scenes_that_differ(rng.uniform(0, 3, CANVAS.shape)))
    costs = make_costs(part)
    whole = find_way(costs)
    order = rng.permutation(len(costs.cost))
    turned = BlockCosts(
        left=costs.left,
        top=costs.top,
        width=costs.width,
        height=costs.height,
        row=costs.row[order],
        col=costs.col[order],
        cost=costs.cost[order],
        other=costs.other,
    )
    assert find_way(turned).equals_exact(whole, 0)
