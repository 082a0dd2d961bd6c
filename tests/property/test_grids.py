"""What holds for grids, masks and resampling wherever the scenes lie."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import shapely
from effort import examples
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely import MultiPoint, Polygon, box

from processor.model import Bounds, Grid, Window
from processor.stages.align.align_rasters import (
    Resampling,
    Shift,
    compute_pixel_size,
    compute_shift,
    compute_source_window,
    resample_window,
    snap_grid,
)
from processor.stages.clip.mask_rasters import compute_cell_mask, compute_owners, compute_region_mask
from processor.stages.method import Region

SEEDS = st.integers(0, 2**32 - 1)
FEW = examples(40)  # where an example takes milliseconds and holds many cases
SIZES = st.sampled_from([0.1, 0.3, 0.5, 1.0, 1.25, 10.0, 30.0, 1 / 3, 8.983152841195215e-05])
METHODS = st.sampled_from(["nearest", "bilinear", "cubic"])
DTYPES = st.sampled_from([np.float32, np.float64])
ORIGINS = st.sampled_from([(0.0, 0.0), (-180.0, 90.0), (499_980.0, 5_300_040.0), (-1234.567, -8_765_432.1)])


@st.composite
def bounds_and_size(draw: st.DrawFn) -> tuple[Bounds, float, float]:
    """Bounds of up to 3000 pixels somewhere on the plane, at any phase."""
    (x, y), width, height = draw(ORIGINS), draw(SIZES), draw(SIZES)
    left, top = x + draw(st.floats(-50, 50)) * width, y + draw(st.floats(-50, 50)) * height
    bounds = Bounds(
        left=left,
        right=left + draw(st.floats(0.01, 3000)) * width,
        top=top,
        bottom=top - draw(st.floats(0.01, 3000)) * height,
    )
    return bounds, width, height


@given(bounds_and_size(), st.booleans())
def test_snapping_twice_is_snapping_once(drawn: tuple[Bounds, float, float], tap: bool) -> None:
    bounds, width, height = drawn
    once = snap_grid(bounds, "", pixel_width=width, pixel_height=height, tap=tap)
    assert snap_grid(once.bounds, "", pixel_width=width, pixel_height=height, tap=tap) == once


@given(bounds_and_size(), st.booleans())
def test_the_grid_covers_the_bounds_and_no_pixel_too_many(drawn: tuple[Bounds, float, float], tap: bool) -> None:
    bounds, width, height = drawn
    found = snap_grid(bounds, "", pixel_width=width, pixel_height=height, tap=tap).bounds
    for gap, size in (
        (bounds.left - found.left, width),
        (found.right - bounds.right, width),
        (found.top - bounds.top, height),
        (bounds.bottom - found.bottom, height),
    ):
        assert -2e-6 <= gap / size < 1 + 2e-6


@given(bounds_and_size())
def test_tapped_bounds_are_whole_multiples_of_the_pixel_size(drawn: tuple[Bounds, float, float]) -> None:
    bounds, width, height = drawn
    found = snap_grid(bounds, "", pixel_width=width, pixel_height=height, tap=True)
    assert found.left == round(found.left / width) * width
    assert found.top == round(found.top / height) * height


@given(bounds_and_size(), bounds_and_size())
def test_tapped_grids_of_one_pixel_size_agree(first: tuple[Bounds, float, float], second: tuple[Bounds, float, float]) -> None:
    bounds, width, height = first
    other = second[0]
    assume(max(abs(other.left - bounds.left) / width, abs(other.top - bounds.top) / height) < 1e7)
    one = snap_grid(bounds, "", pixel_width=width, pixel_height=height, tap=True)
    two = snap_grid(other, "", pixel_width=width, pixel_height=height, tap=True)
    assert compute_shift(one, two) is not None


@given(
    ORIGINS, SIZES, SIZES, st.integers(-5000, 5000), st.integers(-5000, 5000), st.floats(-9e-4, 9e-4), st.floats(-9e-4, 9e-4)
)
def test_whole_pixel_shifts_are_found_within_the_tolerance(
    origin: tuple[float, float], width: float, height: float, rows: int, cols: int, up: float, right: float
) -> None:
    scene = Grid(crs="", left=origin[0], top=origin[1], pixel_width=width, pixel_height=height, width=90, height=80)
    target = Grid(
        crs="",
        left=scene.left + (cols + right) * width,
        top=scene.top - (rows + up) * height,
        pixel_width=width,
        pixel_height=height,
        width=7,
        height=9,
    )
    assert compute_shift(scene, target) == Shift(rows=rows, cols=cols)


@given(
    ORIGINS,
    SIZES,
    st.floats(2e-3, 1 - 2e-3),
    st.floats(0, 1),
    st.integers(-50, 50),
    st.booleans(),
)
def test_other_phases_are_no_shift(
    origin: tuple[float, float], size: float, phase: float, other: float, pixels: int, swap: bool
) -> None:
    scene = Grid(crs="", left=origin[0], top=origin[1], pixel_width=size, pixel_height=size, width=90, height=80)
    x, y = (other, pixels + phase) if swap else (pixels + phase, other)
    target = Grid(
        crs="", left=scene.left + x * size, top=scene.top + y * size, pixel_width=size, pixel_height=size, width=90, height=80
    )
    assert compute_shift(scene, target) is None


@given(st.lists(st.tuples(SIZES, SIZES), min_size=1, max_size=8), st.sampled_from(["highest", "average", "lowest"]))
def test_pixel_size_lies_between_those_of_the_scenes(sizes: list[tuple[float, float]], resolution: Any) -> None:
    grids = [Grid(crs="", left=0, top=0, pixel_width=w, pixel_height=h, width=1, height=1) for w, h in sizes]
    found = compute_pixel_size(grids, resolution)
    for axis in (0, 1):
        along = [size[axis] for size in sizes]
        expected = {"highest": min(along), "lowest": max(along), "average": sum(along) / len(along)}[resolution]
        assert math.isclose(found[axis], expected, rel_tol=1e-14)
        assert min(along) <= found[axis] <= max(along)


# Resampling


@st.composite
def scene_and_target(draw: st.DrawFn) -> tuple[Grid, Grid]:
    """A scene and a target of another phase and another pixel size, from three times finer to four times coarser."""
    (left, top), size = draw(ORIGINS), draw(st.sampled_from([0.3, 1.0, 10.0]))
    ratio = st.floats(0.35, 4.0)
    scene = Grid(crs="", left=left, top=top, pixel_width=size, pixel_height=size, width=draw(st.integers(1, 20)), height=17)
    target = Grid(
        crs="",
        left=left + draw(st.floats(-6, 6)) * size,
        top=top + draw(st.floats(-6, 6)) * size,
        pixel_width=size * draw(ratio),
        pixel_height=size * draw(ratio),
        width=14,
        height=12,
    )
    return scene, target


def resample(
    values: NDArray[Any], valid: NDArray[np.bool_], scene: Grid, target: Grid, window: Window, method: Resampling
) -> tuple[NDArray[Any], NDArray[np.bool_]] | None:
    source = compute_source_window(scene, target, window, method)
    if source is None:
        return None
    inside = source.slices_in(scene.window)
    return resample_window(values[:, *inside], valid[inside], scene, source, target, window, method)


@given(scene_and_target(), METHODS, DTYPES, SEEDS, st.data())
@FEW
def test_resampling_does_not_depend_on_the_window(
    drawn: tuple[Grid, Grid], method: Resampling, dtype: type[np.floating[Any]], seed: int, data: st.DataObject
) -> None:
    scene, target = drawn
    rng = np.random.default_rng(seed)
    values = rng.uniform(-500, 4000, (2, *scene.shape)).astype(dtype)
    valid = rng.random(scene.shape) < 0.8
    row, col = data.draw(st.integers(0, 11)), data.draw(st.integers(0, 13))
    window = Window(row=row, col=col, height=data.draw(st.integers(1, 12 - row)), width=data.draw(st.integers(1, 14 - col)))
    whole, part = (resample(values, valid, scene, target, place, method) for place in (target.window, window))
    if part is None:
        assert whole is None or not whole[1][window.slices_in(target.window)].any()
        return
    assert whole is not None
    rows, cols = window.slices_in(target.window)
    np.testing.assert_array_equal(part[1], whole[1][rows, cols])
    np.testing.assert_array_equal(part[0], whole[0][:, rows, cols])


@given(scene_and_target(), METHODS, SEEDS)
@FEW
def test_resampling_makes_no_pixel_valid_and_no_value_of_nothing(
    drawn: tuple[Grid, Grid], method: Resampling, seed: int
) -> None:
    """Only pixels whose centre lies in a valid source pixel are valid; values stay within those of the source but for cubic."""
    scene, target = drawn
    rng = np.random.default_rng(seed)
    valid = rng.random(scene.shape) < 0.6
    values = np.where(valid, rng.uniform(100, 200, scene.shape), np.nan)[None]
    result = resample(values, valid, scene, target, target.window, method)
    if result is None:
        return
    found, mask = result
    x = target.left + (np.arange(target.width) + 0.5) * target.pixel_width
    y = target.top - (np.arange(target.height) + 0.5) * target.pixel_height
    cols, rows = np.floor((x - scene.left) / scene.pixel_width), np.floor((scene.top - y) / scene.pixel_height)
    phase_x, phase_y = ((x - scene.left) / scene.pixel_width) % 1, ((scene.top - y) / scene.pixel_height) % 1
    assume(bool(((phase_x > 1e-6) & (phase_x < 1 - 1e-6)).all() and ((phase_y > 1e-6) & (phase_y < 1 - 1e-6)).all()))
    inside = ((rows >= 0) & (rows < scene.height))[:, None] & ((cols >= 0) & (cols < scene.width))[None, :]
    under = valid[np.ix_(rows.clip(0, scene.height - 1).astype(int), cols.clip(0, scene.width - 1).astype(int))]
    np.testing.assert_array_equal(mask, inside & under)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[0][~mask], 0)
    if method != "cubic" and mask.any():
        assert found[0][mask].min() >= np.nanmin(values) - 1e-9
        assert found[0][mask].max() <= np.nanmax(values) + 1e-9


@given(scene_and_target(), METHODS, DTYPES, st.floats(-1e4, 1e4), SEEDS)
@FEW
def test_resampling_reproduces_constants(
    drawn: tuple[Grid, Grid], method: Resampling, dtype: type[np.floating[Any]], value: float, seed: int
) -> None:
    scene, target = drawn
    valid = np.random.default_rng(seed).random(scene.shape) < 0.7
    constant = dtype(value)
    values = np.where(valid, constant, np.nan).astype(dtype)[None]
    result = resample(values, valid, scene, target, target.window, method)
    if result is not None:
        # The kernel's negative lobes cost digits where much of it is invalid; half of the weight is always there.
        bound = 60 * float(np.finfo(dtype).eps) * abs(float(constant)) + 1e-300
        assert np.abs(result[0][0][result[1]] - constant).max(initial=0) <= bound


# Masks


@st.composite
def partition(draw: st.DrawFn) -> tuple[Grid, list[Polygon]]:
    """Cells that tile a rectangle: Voronoi cells of any points, or rectangles whose borders run through pixel centres."""
    (left, top), size = draw(ORIGINS), draw(st.sampled_from([0.5, 1.0, 10.0]))
    grid = Grid(crs="", left=left, top=top, pixel_width=size, pixel_height=size, width=24, height=18)
    outline = box(*grid.bounds.as_tuple())
    if draw(st.booleans()):
        rng = np.random.default_rng(draw(SEEDS))
        bounds = grid.bounds
        x, y = rng.uniform(bounds.left, bounds.right, 7), rng.uniform(bounds.bottom, bounds.top, 7)
        points = MultiPoint(np.column_stack([x, y])[: draw(st.integers(2, 7))])
        cells = [shapely.intersection(cell, outline) for cell in shapely.voronoi_polygons(points, extend_to=outline).geoms]
        return grid, [cell for cell in cells if isinstance(cell, Polygon) and cell.area > 0]
    cols = sorted(draw(st.sets(st.integers(1, 47), max_size=4)))
    rows = sorted(draw(st.sets(st.integers(1, 35), max_size=4)))
    xs = [left + col * size / 2 for col in (0, *cols, 48)]
    ys = [top - row * size / 2 for row in (0, *rows, 36)]
    return grid, [box(x, y, right, up) for x, right in itertools.pairwise(xs) for up, y in itertools.pairwise(ys)]


@given(partition())
@FEW
def test_cells_that_partition_give_every_centre_one_owner(drawn: tuple[Grid, list[Polygon]]) -> None:
    grid, cells = drawn
    owners = compute_owners(dict(enumerate(cells, start=1)), grid, grid.window)
    assert (owners > 0).all()
    x = grid.left + (np.arange(grid.width) + 0.5) * grid.pixel_width
    y = grid.top - (np.arange(grid.height) + 0.5) * grid.pixel_height
    points = shapely.points(*np.meshgrid(x, y))
    near = np.stack([shapely.distance(cell, points) for cell in cells])
    assert np.take_along_axis(near, owners[None].astype(int) - 1, axis=0).max() <= 1e-6 * grid.pixel_width


@given(partition())
@FEW
def test_masks_of_cells_that_partition_lose_no_pixel_and_share_only_borders(drawn: tuple[Grid, list[Polygon]]) -> None:
    grid, cells = drawn
    masks = np.stack([compute_cell_mask(cell, grid, grid.window, include_touched_pixels=False) for cell in cells])
    assert masks.any(axis=0).all()
    rows, cols = np.nonzero(masks.sum(axis=0) > 1)
    points = shapely.points(grid.left + (cols + 0.5) * grid.pixel_width, grid.top - (rows + 0.5) * grid.pixel_height)
    borders = shapely.union_all([cell.exterior for cell in cells])
    assert shapely.distance(borders, points).max(initial=0) <= 1e-6 * grid.pixel_width
    touched = np.stack([compute_cell_mask(cell, grid, grid.window, include_touched_pixels=True) for cell in cells])
    assert not (masks & ~touched).any()


@given(partition(), st.data())
@FEW
def test_masks_away_from_borders_do_not_depend_on_the_window(drawn: tuple[Grid, list[Polygon]], data: st.DataObject) -> None:
    """On a border rounding decides, and that hangs on the window; which is why the engine cuts fixed blocks."""
    grid, cells = drawn
    row, col = data.draw(st.integers(0, 17)), data.draw(st.integers(0, 23))
    window = Window(row=row, col=col, height=data.draw(st.integers(1, 18 - row)), width=data.draw(st.integers(1, 24 - col)))
    numbered = dict(enumerate(cells, start=1))
    whole = compute_owners(numbered, grid, grid.window)[window.slices_in(grid.window)]
    part = compute_owners(numbered, grid, window)
    x = grid.left + (col + np.arange(window.width) + 0.5) * grid.pixel_width
    y = grid.top - (row + np.arange(window.height) + 0.5) * grid.pixel_height
    points = shapely.points(*np.meshgrid(x, y))
    on_border = np.any([shapely.distance(cell.exterior, points) < 1e-6 * grid.pixel_width for cell in cells], axis=0)
    np.testing.assert_array_equal(part[~on_border], whole[~on_border])


@given(partition(), st.booleans())
@FEW
def test_included_and_excluded_are_each_others_rest(drawn: tuple[Grid, list[Polygon]], named: bool) -> None:
    grid, cells = drawn
    geometries = {"a": shapely.union_all(cells[::2])} if named else {}
    inside, outside = (
        compute_region_mask(Region(is_included=choice, geometries=geometries), "a", grid, grid.window)
        for choice in (True, False)
    )
    assert (inside | outside).all()
    both = inside & outside
    if both.any():  # centres exactly on the border only
        rows, cols = np.nonzero(both)
        points = shapely.points(grid.left + (cols + 0.5) * grid.pixel_width, grid.top - (rows + 0.5) * grid.pixel_height)
        assert shapely.distance(geometries["a"].boundary, points).max() <= 1e-6 * grid.pixel_width
