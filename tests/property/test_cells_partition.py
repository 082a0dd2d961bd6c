"""Cells partition the union of the footprints, whatever the footprints are."""

from __future__ import annotations

from random import Random

import numpy as np
import shapely
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from partitions import assert_partition
from shapely import MultiPolygon, Polygon, box
from shapely.affinity import affine_transform
from shapely.geometry.base import BaseGeometry

from processor.model import Grid
from processor.stages.seamlines.block_path import BlockCosts, find_cheapest_way
from processor.stages.seamlines.cells import FindWays, solve_cells
from processor.stages.seamlines.footprint import compute_footprint
from processor.stages.seamlines.pair_split import FindWay

KINDS = ["star", "ragged", "rectangle", "sliver", "holed", "islands", "equal"]
#: Where footprints lie and how large they are: a unit square, metres in UTM, degrees.
FRAMES = [(1.0, 0.0, 0.0), (1000.0, 500_000.0, 6_000_000.0), (0.1, -179.0, -45.0)]


def star(rng: np.random.Generator, *, vertices: int, raggedness: float) -> BaseGeometry:
    """A closed line about a random centre, crossing itself at will."""
    angle = np.sort(rng.uniform(0, 2 * np.pi, vertices))
    radius = rng.uniform(0.5, 4) * (1 + rng.uniform(-raggedness, raggedness, vertices))
    centre = rng.uniform(0, 10, 2)
    return Polygon(centre + radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)]))


def rectangle(rng: np.random.Generator) -> BaseGeometry:
    """A rectangle on whole coordinates: many share edges and corners."""
    left, bottom, width, height = (int(value) for value in (*rng.integers(0, 9, 2), *rng.integers(1, 7, 2)))
    return box(left, bottom, left + width, bottom + height)


def sliver(rng: np.random.Generator) -> BaseGeometry:
    """A thin triangle across the scene."""
    start, end = rng.uniform(0, 10, (2, 2))
    return Polygon([start, end, end + rng.uniform(-0.02, 0.02, 2)])


def holed(rng: np.random.Generator) -> BaseGeometry:
    """A ragged outline with a ragged hole."""
    outer = shapely.make_valid(star(rng, vertices=30, raggedness=0.1))
    return shapely.difference(outer, shapely.make_valid(star(rng, vertices=12, raggedness=0.4)))


def islands(rng: np.random.Generator) -> BaseGeometry:
    """A main part with specks around it."""
    corners = rng.uniform(0, 10, (12, 2))
    specks = [box(x, y, x + 0.2, y + 0.2) for x, y in corners]
    return shapely.union_all([rectangle(rng), *specks])


@st.composite
def scenes(draw: st.DrawFn, *, most: int) -> dict[str, BaseGeometry]:
    """Footprints of every kind, some of them equal, in one frame."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale, left, bottom = draw(st.sampled_from(FRAMES))
    kinds = draw(st.lists(st.sampled_from(KINDS), max_size=most))
    footprints: dict[str, BaseGeometry] = {}
    for index, kind in enumerate(kinds):
        made: BaseGeometry
        if kind == "equal" and footprints:
            footprints[f"s{index:02d}"] = footprints["s00"]
            continue
        if kind == "star":
            made = star(rng, vertices=int(rng.integers(3, 16)), raggedness=0.8)
        elif kind == "ragged":
            made = star(rng, vertices=100, raggedness=0.03)
        elif kind == "sliver":
            made = sliver(rng)
        elif kind == "holed":
            made = holed(rng)
        elif kind == "islands":
            made = islands(rng)
        else:
            made = rectangle(rng)
        footprints[f"s{index:02d}"] = affine_transform(made, [scale, 0, 0, scale, left, bottom])
    return footprints


def spacing_of(footprints: dict[str, BaseGeometry], share: float) -> float:
    """A share of the width that all footprints cover together."""
    if not footprints:
        return 1.0
    left, _, right, _ = shapely.total_bounds(np.array(list(footprints.values()), dtype=object))
    return float(share * (right - left))


@given(footprints=scenes(most=10), share=st.sampled_from([0.005, 0.02, 0.5]))
@examples(40)
def test_cells_partition_the_union_of_any_footprints(footprints: dict[str, BaseGeometry], share: float) -> None:
    seamlines = solve_cells(footprints, min_point_spacing=spacing_of(footprints, share), min_cut_length=0.0)

    assert_partition(seamlines, footprints)


@given(seed=st.integers(0, 2**32 - 1))
@examples(3)
def test_cells_partition_the_union_of_forty_scenes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    footprints = {f"s{index:02d}": star(rng, vertices=40, raggedness=0.1) for index in range(40)}

    seamlines = solve_cells(footprints, min_point_spacing=0.2, min_cut_length=0.0)

    assert_partition(seamlines, footprints)


def wander(footprints: dict[str, BaseGeometry], seed: int) -> FindWays:
    """Paths through random costs, another lattice for every pair; some pairs have none."""
    left, bottom, right, top = shapely.total_bounds(np.array(list(footprints.values()), dtype=object))

    def find_ways(first: str, second: str) -> FindWay | None:
        rng = np.random.default_rng([seed, *map(int, (first[1:], second[1:]))])
        if rng.random() < 0.1:
            return None
        rows, cols = rng.integers(4, 80, 2)
        row, col = (each.ravel() for each in np.indices((rows, cols), dtype=np.int32))
        costs = BlockCosts(
            left=left,
            top=top,
            width=(right - left) / cols,
            height=(top - bottom) / rows,
            row=row,
            col=col,
            cost=rng.integers(1, 1000, len(row)),
            other=500,
        )
        return lambda area, ends: find_cheapest_way(costs, area, ends)

    return find_ways


@given(footprints=scenes(most=10), seed=st.integers(0, 2**32 - 1))
@examples(40)
def test_cells_by_any_paths_partition_the_union_too(footprints: dict[str, BaseGeometry], seed: int) -> None:
    if not any(not footprint.is_empty for footprint in footprints.values()):
        return
    ways = wander(footprints, seed)
    seamlines = solve_cells(footprints, min_point_spacing=spacing_of(footprints, 0.02), min_cut_length=0.0, find_ways=ways)

    assert_partition(seamlines, footprints)


@given(footprints=scenes(most=10), seed=st.integers(0, 2**32 - 1), ranks=st.integers(1, 6))
@examples(40)
def test_cells_of_ranked_scenes_partition_the_union_and_the_best_have_all(
    footprints: dict[str, BaseGeometry], seed: int, ranks: int
) -> None:
    places = np.random.default_rng(seed).integers(0, ranks, len(footprints)).tolist()
    spacing = spacing_of(footprints, 0.02)
    seamlines = solve_cells(footprints, min_point_spacing=spacing, min_cut_length=0.0, places=places)

    assert_partition(seamlines, footprints)
    alone = [place for place in places if places.count(place) == 1]
    if places and min(places) in alone:
        best = places.index(min(places))
        whole, cell = seamlines.footprints[best], seamlines.cells[best].polygon
        largest = max((part.area for part in shapely.get_parts(whole)), default=0.0)
        lost = shapely.difference(whole, cell).area  # islands and detached pieces may go to others
        assert lost <= 0.1 * largest + seamlines.grid_size * whole.length


@given(seed=st.integers(0, 2**32 - 1))
@examples(3)
def test_cells_of_forty_scenes_by_any_paths_partition_the_union(seed: int) -> None:
    rng = np.random.default_rng(seed)
    footprints = {f"s{index:02d}": star(rng, vertices=40, raggedness=0.1) for index in range(40)}

    seamlines = solve_cells(footprints, min_point_spacing=0.2, min_cut_length=0.0, find_ways=wander(footprints, seed))

    assert_partition(seamlines, footprints)
    assert sum(cut.follows == "difference" for cut in seamlines.cutlines) > len(seamlines.cutlines) / 2


@given(footprints=scenes(most=5), order=st.randoms())
@examples(15)
def test_the_order_of_the_scenes_changes_no_byte(footprints: dict[str, BaseGeometry], order: Random) -> None:
    names = list(footprints)
    order.shuffle(names)
    spacing = spacing_of(footprints, 0.02)

    cells = solve_cells(footprints, min_point_spacing=spacing, min_cut_length=0.0).cells
    shuffled = solve_cells({name: footprints[name] for name in names}, min_point_spacing=spacing, min_cut_length=0.0).cells

    assert [cell.polygon.wkb for cell in cells] == [cell.polygon.wkb for cell in shuffled]


@given(seed=st.integers(0, 2**32 - 1))
@examples(10)
def test_every_valid_pixel_lies_in_a_cell(seed: int) -> None:
    rng = np.random.default_rng(seed)
    footprints: dict[str, BaseGeometry] = {}
    centres = []
    for index in range(4):
        mask = np.zeros((40, 50), np.bool_)
        mask[3:37, 4:46] = True
        mask ^= rng.random(mask.shape) < 0.05
        grid = Grid(
            crs="",
            left=float(rng.integers(0, 80)) + rng.choice([0.0, 0.37]),
            top=float(rng.integers(0, 80)),
            pixel_width=1.0,
            pixel_height=1.0,
            width=50,
            height=40,
        )
        footprints[f"s{index}"] = compute_footprint(mask, grid)
        rows, cols = np.nonzero(mask)
        centres.append(np.column_stack([grid.left + cols + 0.5, grid.top - rows - 0.5]))

    seamlines = solve_cells(footprints, min_point_spacing=2.0, min_cut_length=0.0)

    assert_partition(seamlines, footprints)
    points = shapely.points(np.concatenate(centres))
    owners = np.stack([shapely.intersects(cell.polygon, points) for cell in seamlines.cells])
    assert owners.any(axis=0).all()


def test_a_footprint_of_many_specks_is_affordable() -> None:
    rng = np.random.default_rng(11)
    footprints: dict[str, BaseGeometry] = {}
    for index in range(2):
        specks = [box(x, y, x + 0.02, y + 0.02) for x, y in rng.uniform(0, 60, (2000, 2))]
        footprints[f"s{index}"] = shapely.union_all([box(15 * index, 10, 15 * index + 20, 30), MultiPolygon(), *specks])

    seamlines = solve_cells(footprints, min_point_spacing=0.5, min_cut_length=0.0)

    assert_partition(seamlines, footprints)
