"""Target grids by hand, and resampling against its definition and against GDAL."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rasterio.enums import Resampling as GdalResampling
from rasterio.transform import Affine
from rasterio.warp import reproject

from processor.model import Bounds, Grid, Window
from processor.stages.align.align_rasters import (
    Resampling,
    Shift,
    choose_target,
    compute_pixel_size,
    compute_shift,
    compute_source_window,
    resample_window,
    share_grid,
    snap_grid,
)

METHODS: tuple[Resampling, ...] = ("nearest", "bilinear", "cubic")
SMOOTH: tuple[Resampling, ...] = ("bilinear", "cubic")
#: Kernel radius in source pixels when pixels are not made coarser.
RADIUS = {"nearest": 0, "bilinear": 1, "cubic": 2}


def grid(height: int, width: int, *, left: float = 0.0, top: float = 0.0, pixel: float | tuple[float, float] = 1.0) -> Grid:
    size = pixel if isinstance(pixel, tuple) else (pixel, pixel)
    return Grid(crs="", left=left, top=top, pixel_width=size[0], pixel_height=size[1], width=width, height=height)


def resample(
    values: NDArray[Any],
    scene: Grid,
    target: Grid,
    method: Resampling,
    *,
    valid: NDArray[np.bool_] | None = None,
    window: Window | None = None,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Resample a window of the target as the engine does: reading only the source window that it needs."""
    place = window or target.window
    everywhere = np.ones(scene.shape, np.bool_) if valid is None else valid
    source = compute_source_window(scene, target, place, method)
    assert source is not None
    inside = source.slices_in(scene.window)
    return resample_window(values[:, *inside], everywhere[inside], scene, source, target, place, method)


def centres(place: Grid) -> tuple[NDArray[Any], NDArray[Any]]:
    x = place.left + (np.arange(place.width) + 0.5) * place.pixel_width
    y = place.top - (np.arange(place.height) + 0.5) * place.pixel_height
    return x, y


# The mosaic's grid


HALF = 15.0  # metres, of pixels of 30: the corners of Landsat's scenes are odd multiples of it
PAIR = [grid(50, 50, left=HALF, top=HALF, pixel=30.0), grid(50, 50, left=HALF + 1200, top=HALF - 300, pixel=30.0)]


def choose(scenes: list[Grid], tap: bool | None, *, bounds: Bounds | None = None, resolution: Any = "highest") -> Grid:
    covered = bounds or functools.reduce(Bounds.union, (scene.bounds for scene in scenes))
    return choose_target(scenes, covered, "", resolution=resolution, tap=tap)


@pytest.mark.parametrize("tap", [None, False])
def test_a_grid_that_all_scenes_share_is_that_of_the_mosaic(tap: bool | None) -> None:
    target = choose(PAIR, tap)
    assert (target.left, target.top, target.shape) == (HALF, HALF, (60, 90))
    assert [compute_shift(scene, target) for scene in PAIR] == [Shift(rows=0, cols=0), Shift(rows=-10, cols=-40)]


def test_tap_moves_it_onto_whole_multiples() -> None:
    target = choose(PAIR, tap=True)
    assert (target.left % 30, target.top % 30) == (0, 0)
    assert [compute_shift(scene, target) for scene in PAIR] == [None, None]


@pytest.mark.parametrize("tap", [None, False])
def test_a_shared_grid_goes_on_where_more_is_to_be_covered(tap: bool | None) -> None:
    """A scene that is warped reaches beyond the others, by fractions of a pixel."""
    target = choose(PAIR, tap, bounds=Bounds(left=-1234.5, bottom=-2500.1, right=9876.5, top=777.7))
    assert all(compute_shift(scene, target) is not None for scene in PAIR)
    found = target.bounds
    assert (found.left, found.bottom) == (HALF - 42 * 30, HALF - 84 * 30)
    assert (found.right, found.top) == (HALF + 329 * 30, HALF + 26 * 30)


def test_scenes_that_share_no_grid_are_put_on_whole_multiples() -> None:
    odd = [*PAIR, grid(50, 50, left=7.0, top=HALF, pixel=30.0)]
    assert not share_grid(odd)
    assert choose(odd, tap=None) == choose(odd, tap=True)
    two_sizes = [*PAIR, grid(50, 50, left=HALF, top=HALF, pixel=60.0)]
    assert choose(two_sizes, tap=None) == choose(two_sizes, tap=True)


def test_whole_multiples_are_kept_to_the_last_bit_where_the_scenes_lie_on_them() -> None:
    scenes = [grid(10, 10, left=0.1 * i, top=0.1 * i, pixel=0.1) for i in (3, 7, 1234567)]
    assert choose(scenes, tap=None) == choose(scenes, tap=True)


def test_the_grid_depends_on_no_order_of_the_scenes() -> None:
    assert choose(PAIR, tap=None) == choose(PAIR[::-1], tap=None)


# Target grid


def test_pixel_size_is_chosen_for_each_axis() -> None:
    grids = [grid(4, 4, pixel=(1.0, 4.0)), grid(4, 4, pixel=(2.0, 2.0)), grid(4, 4, pixel=(6.0, 3.0))]
    assert compute_pixel_size(grids, "highest") == (1.0, 2.0)
    assert compute_pixel_size(grids, "average") == (3.0, 3.0)
    assert compute_pixel_size(grids, "lowest") == (6.0, 4.0)


@pytest.mark.parametrize("resolution", ["highest", "average", "lowest"])
def test_one_size_of_all_scenes_is_kept_to_the_last_bit(resolution: Any) -> None:
    for count, size in itertools.product(range(1, 12), [0.1, 1 / 3, 30.0, 8.983152841195215e-05]):
        assert compute_pixel_size([grid(4, 4, pixel=size)] * count, resolution) == (size, size)


def test_pixel_size_does_not_depend_on_the_order_of_the_scenes() -> None:
    sizes = [0.1, 0.30000000000000004, 0.7, 1e-3, 5.0]
    found = {compute_pixel_size([grid(1, 1, pixel=s) for s in order], "average") for order in itertools.permutations(sizes)}
    assert len(found) == 1


def test_tap_snaps_bounds_outward_to_whole_multiples() -> None:
    bounds = Bounds(left=-7.2, bottom=13.1, right=21.0, top=29.9)
    target = snap_grid(bounds, "crs", pixel_width=5.0, pixel_height=4.0, tap=True)
    assert target == Grid(crs="crs", left=-10.0, top=32.0, pixel_width=5.0, pixel_height=4.0, width=7, height=5)


def test_without_tap_the_grid_starts_at_the_corner_and_covers_the_bounds() -> None:
    bounds = Bounds(left=-7.2, bottom=13.1, right=21.0, top=29.9)
    target = snap_grid(bounds, "crs", pixel_width=5.0, pixel_height=4.0, tap=False)
    assert target == Grid(crs="crs", left=-7.2, top=29.9, pixel_width=5.0, pixel_height=4.0, width=6, height=5)


@pytest.mark.parametrize("tap", [True, False])
def test_bounds_that_are_multiples_up_to_rounding_stay(tap: bool) -> None:
    """300,000.3 is no multiple of 0.1 in binary, and must not cost a row."""
    bounds = Bounds(left=300_000.3, bottom=5_000_000.1, right=300_001.3, top=5_000_000.9)
    target = snap_grid(bounds, "", pixel_width=0.1, pixel_height=0.1, tap=tap)
    assert (target.height, target.width) == (8, 10)
    assert target.left == pytest.approx(300_000.3, abs=1e-9)
    assert target.top == pytest.approx(5_000_000.9, abs=1e-8)


def test_bounds_smaller_than_a_pixel_get_one() -> None:
    bounds = Bounds(left=3.0, bottom=3.0, right=3.0 + 1e-9, top=3.0 + 1e-9)
    for tap in (True, False):
        target = snap_grid(bounds, "", pixel_width=1.0, pixel_height=1.0, tap=tap)
        assert target.shape == (1, 1)


# Shift


@pytest.mark.parametrize(
    ("departure", "agrees"),
    [(0.0, True), (0.0009, True), (-0.0009, True), (0.0011, False), (-0.0011, False), (0.5, False), (0.9995, True)],
)
@pytest.mark.parametrize("axis", ["x", "y"])
def test_a_thousandth_of_a_pixel_is_no_shift(departure: float, agrees: bool, axis: str) -> None:
    scene, move = grid(50, 60, pixel=10.0), 10.0 * departure
    target = grid(50, 60, left=move if axis == "x" else 0, top=move if axis == "y" else 0, pixel=10.0)
    assert (compute_shift(scene, target) is not None) == agrees


@pytest.mark.parametrize(("difference", "width", "agrees"), [(5e-7, 100, True), (5e-7, 10_000, False), (2e-6, 10, False)])
def test_pixel_sizes_may_differ_as_long_as_the_far_end_drifts_by_no_thousandth(
    difference: float, width: int, agrees: bool
) -> None:
    scene = grid(10, width, pixel=(1.0 + difference, 1.0))
    assert (compute_shift(scene, grid(10, width)) is not None) == agrees
    turned = grid(width, 10, pixel=(1.0, 1.0 + difference))
    assert (compute_shift(turned, grid(width, 10)) is not None) == agrees


def test_another_pixel_size_is_never_a_shift() -> None:
    assert compute_shift(grid(10, 10), grid(10, 10, pixel=2.0)) is None
    assert compute_shift(grid(10, 10), grid(10, 10, pixel=(1.0, 2.0))) is None


# Source window


def test_source_window_is_none_where_the_scene_is_not() -> None:
    scene, target = grid(10, 10, left=100, top=100), grid(50, 300, left=0, top=100, pixel=0.7)
    for method in METHODS:
        assert compute_source_window(scene, target, Window(row=0, col=0, height=9, width=9), method) is None
        assert compute_source_window(scene, target, Window(row=0, col=290, height=9, width=9), method) is None
        assert compute_source_window(scene, target, Window(row=0, col=150, height=9, width=9), method) is not None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pixel", [0.45, 1.0, 2.6])
def test_source_window_holds_every_pixel_that_has_a_say(method: Resampling, pixel: float) -> None:
    """A change of a source pixel outside the window changes nothing in the target window."""
    rng = np.random.default_rng(0)
    scene, target = grid(30, 30), grid(20, 20, left=3.3, top=-2.2, pixel=pixel)
    window = Window(row=2, col=3, height=3, width=2)
    source = compute_source_window(scene, target, window, method)
    assert source is not None
    values = rng.uniform(0, 1, (1, 30, 30))
    other = values + 1e6
    rows, cols = source.slices_in(scene.window)
    other[:, rows, cols] = values[:, rows, cols]
    everywhere = np.ones((30, 30), np.bool_)
    whole = (scene, scene.window, target, window, method)
    np.testing.assert_array_equal(resample_window(values, everywhere, *whole)[0], resample_window(other, everywhere, *whole)[0])


# Resampling


@pytest.mark.parametrize("method", SMOOTH)
@pytest.mark.parametrize("pixel", [0.3, 1.0])
def test_linear_ramps_are_reproduced_away_from_the_edge(method: Resampling, pixel: float) -> None:
    scene, target = grid(24, 30), grid(int(20 / pixel), int(25 / pixel), left=2.27, top=-2.13, pixel=pixel)
    x, y = centres(scene)
    values = (3 * x[None, :] - 2 * y[:, None] + 100)[None]
    found, mask = resample(values, scene, target, method)
    x, y = centres(target)
    inner = ((x > 2) & (x < 28))[None, :] & ((y < -2) & (y > -22))[:, None]
    assert mask[inner].all()
    np.testing.assert_allclose(found[0][inner], (3 * x[None, :] - 2 * y[:, None] + 100)[inner], rtol=1e-13)


@pytest.mark.parametrize("method", SMOOTH)
def test_ramps_stay_ramps_where_whole_pixels_are_made_coarser(method: Resampling) -> None:
    """Symmetric taps: the widened kernel weighs both sides alike."""
    scene, target = grid(48, 48), grid(16, 16, pixel=3.0)
    x, y = centres(scene)
    values = (3 * x[None, :] - 2 * y[:, None])[None]
    found, _ = resample(values, scene, target, method)
    x, y = centres(target)
    np.testing.assert_allclose(found[0, 3:-3, 3:-3], (3 * x[None, :] - 2 * y[:, None])[3:-3, 3:-3], atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_grid_that_agrees_gives_the_pixels_themselves(method: Resampling, dtype: type[np.floating[Any]]) -> None:
    values = np.random.default_rng(2).uniform(0, 255, (2, 8, 9)).astype(dtype)
    scene = grid(8, 9)
    found, mask = resample(values, scene, scene, method)
    assert mask.all()
    np.testing.assert_array_equal(found, values)


def test_nearest_takes_the_pixel_under_the_centre() -> None:
    values = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    scene, target = grid(3, 4), grid(2, 3, left=0.3, top=-0.3, pixel=1.2)  # centres x 0.9, 2.1, 3.3; y 0.9, 2.1
    found, mask = resample(values, scene, target, "nearest")
    np.testing.assert_array_equal(found, [[[0, 2, 3], [8, 10, 11]]])
    assert mask.all()


def test_bilinear_by_hand() -> None:
    values = np.array([[[10.0, 20, 40]]])
    scene, target = grid(1, 3), grid(1, 4, left=0.25, top=0.0, pixel=(0.75, 1.0))  # centres 0.625, 1.375, 2.125, 2.875
    found, mask = resample(values, scene, target, "bilinear")
    np.testing.assert_allclose(found[0, 0], [0.875 * 10 + 0.125 * 20, 0.125 * 10 + 0.875 * 20, 0.375 * 20 + 0.625 * 40, 40])
    assert mask.all()


def test_cubic_by_hand() -> None:
    """Half-way between pixels, Keys' kernel with a = -1/2 weighs -1/16, 9/16, 9/16, -1/16."""
    values = np.array([[[3.0, 7, 1, 9, 2]]])
    found, _ = resample(values, grid(1, 5), grid(1, 1, left=1.5), "cubic")
    expected = (-3 + 9 * 7 + 9 * 1 - 9) / 16
    np.testing.assert_allclose(found[0, 0], [expected])


def test_bilinear_leaves_invalid_neighbours_out() -> None:
    values = np.array([[[10.0, np.nan, 40]]])
    valid = np.array([[True, False, True]])
    scene, target = grid(1, 3), grid(1, 4, left=0.25, top=0.0, pixel=(0.75, 1.0))
    found, mask = resample(values, scene, target, "bilinear", valid=valid)
    np.testing.assert_array_equal(mask, [[True, False, True, True]])
    np.testing.assert_allclose(found[0, 0], [10, 0, 40, 40])


def test_kernels_leave_out_what_lies_beyond_the_scene() -> None:
    """Twice as coarse: the triangle weighs 1/4, 3/4, 3/4, 1/4, and the first of these is not there."""
    values = np.array([[[10.0, 20, 40, 80]]])
    found, _ = resample(values, grid(1, 4), grid(1, 2, pixel=(2.0, 1.0)), "bilinear")
    np.testing.assert_allclose(found[0, 0], [(30 + 60 + 40) / 7, (20 + 120 + 240) / 7])


def test_cubic_falls_back_to_the_pixel_under_the_centre_where_little_is_valid() -> None:
    """The pixel itself weighs 0.57 along each axis, so a third in all; the other one pulls backwards."""
    values = np.full((1, 7, 7), np.nan)
    valid = np.zeros((7, 7), np.bool_)
    values[0, 3, 3], valid[3, 3] = 42, True
    values[0, 3, 2], valid[3, 2] = 1000, True
    target = grid(1, 1, left=3.49, top=-3.49)
    found, mask = resample(values, grid(7, 7), target, "cubic", valid=valid)
    assert mask.all()
    assert found[0, 0, 0] == 42


def test_the_arrays_given_are_left_as_they_are() -> None:
    values, valid = np.ones((1, 5, 5), np.float32), np.eye(5, dtype=np.bool_)
    values.flags.writeable = valid.flags.writeable = False
    for method in METHODS:
        resample(values, grid(5, 5), grid(4, 4, left=0.3, top=-0.2), method, valid=valid)


# Against GDAL


def warp_with_gdal(values: NDArray[np.float64], scene: Grid, target: Grid, method: Resampling) -> NDArray[np.float64]:
    result = np.full((len(values), *target.shape), np.nan)
    reproject(
        values,
        result,
        src_transform=Affine(*scene.transform),
        dst_transform=Affine(*target.transform),
        src_crs="EPSG:32633",
        dst_crs="EPSG:32633",
        resampling=GdalResampling[method],
        init_dest_nodata=False,
    )
    return result


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pixel", [0.31, 0.5, 1.0, 1.6, 2.0, 3.7])
def test_interior_pixels_equal_those_of_gdal(method: Resampling, pixel: float) -> None:
    """Same kernels, same widening for coarser pixels; GDAL interpolates coordinates in float64, hence 1e-9 of the range.

    The corner is chosen such that no centre falls on an edge between source pixels, where nearest is a matter of taste.
    """
    rng = np.random.default_rng(5)
    scene = grid(60, 70, left=500_000, top=5_300_000)
    target = grid(int(60 / pixel), int(70 / pixel), left=500_000.137, top=5_299_999.913, pixel=pixel)
    values = rng.uniform(0, 1000, (2, 60, 70))
    found, mask = resample(values, scene, target, method)
    expected = warp_with_gdal(values, scene, target, method)
    margin = RADIUS[method] * max(1.0, pixel) + 1
    x, y = centres(target)
    inner = ((x > scene.left + margin) & (x < scene.bounds.right - margin))[None, :] & (
        (y < scene.top - margin) & (y > scene.bounds.bottom + margin)
    )[:, None]
    assert inner.sum() > 100
    assert mask[inner].all()
    np.testing.assert_allclose(found[:, inner], expected[:, inner], atol=1e-6)
