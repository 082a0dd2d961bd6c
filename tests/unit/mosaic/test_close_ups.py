"""Where the worst seams are looked at: on borders that stayed, within one block, and at most six."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely import LineString, box

from processor.model import Cell, Grid, Moments, Window
from processor.mosaic.close_ups import CloseUp, choose_close_ups, take_close_ups
from processor.stages.matching.matched_blocks import compute_matched_blocks
from processor.stages.matching.pair_difference import make_radiometry
from processor.stages.measures import MatchedPairs, Measures, SceneMeasures
from processor.stages.seamlines.records import Cutline

GRID = Grid(crs="EPSG:32633", left=0.0, top=1200.0, pixel_width=1.0, pixel_height=1.0, width=1300, height=1200)
RADIOMETRY = make_radiometry((), ())


def make_measures(matched: MatchedPairs | None, names: tuple[str, ...]) -> Measures:
    moments = Moments(count=9, mean=np.full(1, 5.0), m2=np.full(1, 36.0), minimum=np.zeros(1), maximum=np.full(1, 9.0))
    scenes = tuple(SceneMeasures(name=n, moments=moments, valid=moments, sums=None, footprint=box(0, 0, 1, 1)) for n in names)
    return Measures(scenes=scenes, overlaps=(), matched=matched, cells=None, union=None)


def make_columns(count: int) -> tuple[list[Cutline], list[Cell]]:
    """Scenes side by side, with a cut from top to bottom between each and the next."""
    edges = np.linspace(0, GRID.width, count + 1)
    names = [f"s{number:02}" for number in range(count)]
    cells = [
        Cell(scene=name, polygon=box(left, 0, right, GRID.height))
        for name, left, right in zip(names, edges, edges[1:], strict=False)
    ]
    cuts = [
        Cutline(first=one, second=other, line=LineString([(x, 0), (x, GRID.height)]))
        for one, other, x in zip(names, names[1:], edges[1:], strict=False)
    ]
    return cuts, cells


def choose(cuts: list[Cutline], cells: list[Cell], matched: MatchedPairs | None = None) -> tuple[CloseUp, ...]:
    return choose_close_ups(cuts, cells, make_measures(matched, tuple(cell.scene for cell in cells)), RADIOMETRY, GRID)


@given(count=st.integers(1, 30))
def test_each_is_on_its_seam_and_within_one_block(count: int) -> None:
    cuts, cells = make_columns(count)
    found = choose(cuts, cells)
    assert len(found) == min(count - 1, 6)
    lines = {(cut.first, cut.second): cut.line for cut in cuts}
    for one in found:
        bounds = GRID.window_bounds(one.window)
        assert box(*bounds.as_tuple()).distance(lines[one.first, one.second]) <= 1
        assert one.row // 512 == (one.row + one.height - 1) // 512
        assert one.col // 512 == (one.col + one.width - 1) // 512
        assert one.difference is None
        assert GRID.window.intersection(one.window) == one.window


def test_the_place_where_the_scenes_differ_most_is_shown_first() -> None:
    cuts, cells = make_columns(3)
    names = tuple(cell.scene for cell in cells)
    ground = np.random.default_rng(0).normal(5, 2, (1, *GRID.shape)).astype(np.float32)
    changed = ground.copy()
    changed[:, 300:340, 800:900] += 8  # of the second cut, which lies at column 867
    parts = []
    for pair, other in (((names[0], names[1]), ground + 1), ((names[1], names[2]), changed)):
        parts.append(compute_matched_blocks(pair, (ground, other), None, GRID, GRID.window, GRID, 16))
    matched = MatchedPairs(
        canvas=GRID,
        bounds=dict.fromkeys(names, GRID.bounds),
        references=(),
        reference_weight=1.0,
        bands=1,
        held=(),
        known={},
        groups={},
        blocks=tuple(parts),
    )
    first, second = choose(cuts, cells, matched)
    assert (first.first, first.second) == (names[1], names[2])
    assert first.row <= 320 < first.row + first.height
    assert first.difference == pytest.approx(4, abs=0.2), "8 in standard deviations of 2"
    assert second.difference == pytest.approx(0.5, abs=1e-3)


def test_a_cut_that_another_scene_covers_is_not_shown() -> None:
    cuts, cells = make_columns(2)
    over = Cell(scene="z", polygon=box(0, 100, GRID.width, GRID.height))
    left = [Cell(scene=cell.scene, polygon=shapely.difference(cell.polygon, over.polygon)) for cell in cells]
    (found,) = choose(cuts, [*left, over])
    assert GRID.top - found.row - found.height <= 100
    gone = [Cell(scene=cell.scene, polygon=shapely.Polygon()) for cell in cells]
    assert choose(cuts, [*gone, over]) == ()


def test_every_close_up_is_taken_in_one_window() -> None:
    cuts, cells = make_columns(9)
    found = choose(cuts, cells)
    taken = []
    for row in range(0, GRID.height, 512):
        for col in range(0, GRID.width, 512):
            window = Window(row=row, col=col, height=min(512, GRID.height - row), width=min(512, GRID.width - col))
            taken += take_close_ups(found, window)
    assert sorted(number for number, _ in taken) == list(range(len(found)))
