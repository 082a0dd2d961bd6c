"""Places of one CRS in another: as exact as is promised, the same in every window, and refused where there are none."""

from __future__ import annotations

import numpy as np
import pytest
from pyproj import CRS, Transformer

from processor.model import Grid, Window
from processor.stages.align.warp import (
    choose_lattice,
    compute_pixel_ratio,
    compute_places,
    project_bounds,
    resample_places,
    shrink,
)

WEST = CRS.from_epsg(32632).to_wkt()
EAST = CRS.from_epsg(32633).to_wkt()
DEGREES = CRS.from_epsg(4326).to_wkt()


def make_grid(crs: str, left: float, top: float, *, pixel: float = 10.0, edge: int = 700) -> Grid:
    return Grid(crs=crs, left=left, top=top, pixel_width=pixel, pixel_height=pixel, width=edge, height=edge)


PAIRS = {
    "neighbouring zones": (make_grid(WEST, 713_000, 5_544_000), make_grid(EAST, 283_000, 5_546_000)),
    "degrees to metres": (make_grid(DEGREES, 11.9, 50.1, pixel=1e-4), make_grid(EAST, 283_000, 5_546_000)),
    "metres to degrees": (make_grid(EAST, 283_000, 5_546_000), make_grid(DEGREES, 11.97, 50.05, pixel=1e-4)),
    "a coarse target": (make_grid(WEST, 713_000, 5_544_000), make_grid(EAST, 283_000, 5_546_000, pixel=60, edge=120)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_interpolated_places_are_where_they_belong(name: str) -> None:
    source, target = PAIRS[name]
    step = choose_lattice(source, target)
    assert step > 1, "nothing would be saved"
    window = Window(row=37, col=11, height=80, width=100)
    rows, cols = compute_places(source, target, window, step)
    x, y = np.meshgrid(np.arange(100) + 11.5, np.arange(80) + 37.5)
    transformer = Transformer.from_crs(target.crs, source.crs, always_xy=True)
    east, north = transformer.transform(target.left + x * target.pixel_width, target.top - y * target.pixel_height)
    assert np.abs(cols - (east - source.left) / source.pixel_width).max() < 0.02
    assert np.abs(rows - (source.top - north) / source.pixel_height).max() < 0.02


def test_places_do_not_depend_on_the_window() -> None:
    source, target = PAIRS["neighbouring zones"]
    step = choose_lattice(source, target)
    whole = compute_places(source, target, Window(row=0, col=0, height=300, width=300), step)
    part = compute_places(source, target, Window(row=101, col=67, height=50, width=90), step)
    for all_places, some in zip(whole, part, strict=True):
        np.testing.assert_array_equal(all_places[101:151, 67:157], some)


def test_pixels_of_a_coarse_target_span_several_of_the_source() -> None:
    down, across = compute_pixel_ratio(*PAIRS["a coarse target"])
    assert down == pytest.approx(6, abs=0.02)
    assert across == pytest.approx(6, abs=0.02)


def test_bounds_across_the_antimeridian_go_on_beyond_it() -> None:
    zone = CRS.from_epsg(32760).to_wkt()
    bounds = project_bounds(make_grid(zone, 815_000, 8_230_000), DEGREES)
    assert 179 < bounds.left < 180 < bounds.right < 181
    degrees = make_grid(DEGREES, 179.97, -16.0, pixel=1e-4)
    back = project_bounds(degrees, zone)
    assert back.width < 10_000
    rows, cols = compute_places(degrees, make_grid(zone, back.left, back.top), Window(row=300, col=300, height=4, width=400), 1)
    assert np.diff(cols, axis=1).min() > 0, "nothing jumps where the degrees begin anew"
    assert np.isfinite(rows).all()


def test_a_grid_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="has no place in WGS 84 / UTM zone 33N"):
        project_bounds(make_grid(DEGREES, 104.97, 0.03, pixel=0.001, edge=64), EAST)


def test_blocks_are_means_of_their_valid_pixels() -> None:
    values = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    valid = np.ones((4, 4), np.bool_)
    valid[0, 0] = False
    valid[2:, 2:] = False
    small, small_valid = shrink(values, valid, (2, 2))
    np.testing.assert_array_equal(small_valid, [[True, True], [True, False]])
    np.testing.assert_allclose(small[0, 0, 0], (1 + 4 + 5) / 3)
    np.testing.assert_allclose(small[0, 0, 1], (2 + 3 + 6 + 7) / 4)


@pytest.mark.parametrize("method", ["nearest", "bilinear", "cubic"])
def test_pixels_that_are_not_moved_are_themselves_and_a_plane_stays_one(method: str) -> None:
    rows, cols = np.mgrid[0:20, 0:20] + 0.5
    values = (3 * rows + 5 * cols)[None]
    valid = np.ones((20, 20), np.bool_)
    same, same_valid = resample_places(values, valid, rows, cols, method)  # type: ignore[arg-type]
    assert same_valid.all()
    np.testing.assert_allclose(same, values)
    if method != "nearest":
        moved, _ = resample_places(values, valid, rows[4:-4] + 0.3, cols[4:-4] - 0.2, method)  # type: ignore[arg-type]
        inner = np.s_[:, :, 4:-4]
        np.testing.assert_allclose(moved[inner], (3 * (rows + 0.3) + 5 * (cols - 0.2))[None][:, 4:-4][inner])


def test_an_invalid_pixel_spreads_to_no_neighbour() -> None:
    values = np.full((1, 9, 9), 100.0)
    values[0, 4, 4] = 1e9
    valid = np.ones((9, 9), np.bool_)
    valid[4, 4] = False
    rows, cols = np.mgrid[1:8, 1:8] + 0.8
    moved, moved_valid = resample_places(values, valid, rows, cols, "cubic")
    np.testing.assert_allclose(moved[0][moved_valid], 100)
    assert np.count_nonzero(~moved_valid) == 1
