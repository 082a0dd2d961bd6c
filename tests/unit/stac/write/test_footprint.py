"""Footprints in longitudes and latitudes: where they are, which way round, and what happens at the edges of the map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Geod, Transformer
from records import make_grid
from shapely import MultiPolygon, Point, Polygon, box
from shapely.geometry.base import BaseGeometry

from processor.model import Grid
from processor.stages.seamlines.footprint import compute_footprint as outline_mask
from stac.write.footprint import LonLatFootprint, compute_footprint, compute_pixel_metres

UTM_35S, UTM_60N = 32735, 32660


def outline(grid: Grid) -> Polygon:
    return box(*grid.bounds.as_tuple())


def compute(footprint: Polygon | MultiPolygon, grid: Grid) -> LonLatFootprint:
    result = compute_footprint(footprint, grid)
    assert result is not None
    return result


def shape(result: LonLatFootprint) -> BaseGeometry:
    return shapely.geometry.shape(result.geometry)


def assert_well_formed(result: LonLatFootprint) -> None:
    """Valid, within the map, right-handed, closed, of 7 decimals (RFC 7946)."""
    geometry = shape(result)
    assert geometry.is_valid
    assert geometry.bounds[0] >= -180
    assert geometry.bounds[2] <= 180
    assert geometry.bounds[1] >= -90
    assert geometry.bounds[3] <= 90
    for part in shapely.get_parts(geometry):
        assert part.exterior.is_ccw
        assert not any(hole.is_ccw for hole in part.interiors)
    coordinates = shapely.get_coordinates(geometry)
    assert [round(value, 7) for value in coordinates.ravel().tolist()] == coordinates.ravel().tolist()


def test_small_square_has_the_corners_that_proj_gives() -> None:
    grid = make_grid(UTM_35S, 257_390, 6_274_765)
    result = compute(outline(grid), grid)
    assert_well_formed(result)
    to_lonlat = Transformer.from_crs(UTM_35S, 4326, always_xy=True)
    left, bottom, right, top = grid.bounds.as_tuple()
    corners = [to_lonlat.transform(x, y) for x, y in [(left, bottom), (right, bottom), (right, top), (left, top)]]
    assert len(result.geometry["coordinates"][0]) == 5
    found = {tuple(corner) for corner in result.geometry["coordinates"][0]}
    assert found == {(round(lon, 7), round(lat, 7)) for lon, lat in corners}
    assert result.bbox == shape(result).bounds


@pytest.mark.parametrize(
    ("crs", "left", "top", "pixel", "size"),
    [
        (UTM_35S, 200_000, 7_000_000, 100, 5000),
        (3035, 2_000_000, 5_500_000, 10, 400_000),
        (3413, 900_000, -1_000_000, 100, 5000),
        (3857, 0, 10_000_000, 1000, 9000),
    ],
)
def test_long_edges_stay_where_they_are_on_the_ground(crs: int, left: float, top: float, pixel: float, size: int) -> None:
    grid = make_grid(crs, left, top, pixel=pixel, size=size)
    result = compute(outline(grid), grid)
    assert_well_formed(result)
    to_crs = Transformer.from_crs(4326, crs, always_xy=True)
    dense = shapely.get_coordinates(shapely.segmentize(shape(result), 0.01))
    x, y = to_crs.transform(dense[:, 0], dense[:, 1])
    distances = shapely.distance(shapely.points(x, y), outline(grid).exterior)
    assert distances.max() < 0.5 * pixel
    assert len(result.geometry["coordinates"][0]) < 5000


def test_holes_and_parts_survive() -> None:
    grid = make_grid(UTM_35S, 300_000, 7_000_000)
    left, _, _, top = grid.bounds.as_tuple()
    holed = box(left, top - 400, left + 400, top).difference(box(left + 100, top - 300, left + 200, top - 200))
    far = box(left + 600, top - 1000, left + 900, top - 700)
    result = compute(MultiPolygon([holed, far]), grid)
    assert_well_formed(result)
    assert result.geometry["type"] == "MultiPolygon"
    assert sorted(len(part) for part in result.geometry["coordinates"]) == [1, 2]
    geod = Geod(ellps="WGS84")
    area = abs(geod.geometry_area_perimeter(shape(result))[0])
    assert area == pytest.approx(holed.area + far.area, rel=0.003)  # UTM's scale, squared, and centimetres


def test_staircase_of_pixels_is_simplified_within_half_a_pixel() -> None:
    grid = make_grid(UTM_35S, 300_000, 7_000_000)
    steps = [(300_000 + 10.0 * ((n + 1) // 2), 7_000_000 - 10.0 * (n // 2)) for n in range(200)]
    stairs = Polygon([*steps, (301_000, 6_999_000), (300_000, 6_999_000)])
    result = compute(stairs, grid)
    assert_well_formed(result)
    to_crs = Transformer.from_crs(4326, UTM_35S, always_xy=True)
    back = shapely.transform(shape(result), lambda c: np.column_stack(to_crs.transform(c[:, 0], c[:, 1])))
    assert back.hausdorff_distance(stairs) <= 5.0 + 0.02


@pytest.mark.parametrize("crs", [UTM_60N, 4326, 4167])
def test_mosaic_across_the_antimeridian_is_cut_there(crs: int) -> None:
    projected = crs == UTM_60N
    grid = make_grid(crs, 700_000, 5_500_000, size=10_000) if projected else make_grid(crs, 179, 50, pixel=0.01, size=200)
    result = compute(outline(grid), grid)
    assert_well_formed(result)
    west, south, east, north = result.bbox
    assert west > 178
    assert east < -178
    assert south < north
    assert result.geometry["type"] == "MultiPolygon"
    spans = sorted(part.bounds[::2] for part in shapely.get_parts(shape(result)))
    assert spans[0][0] == -180
    assert spans[1][1] == 180
    assert all(end - start < 5 for start, end in spans)


def test_the_centre_lies_in_the_middle_of_both_sides_of_the_antimeridian() -> None:
    grid = make_grid(4326, 179.0, 10.0, pixel=0.01, size=300)
    result = compute(outline(grid), grid)
    assert result.centroid == pytest.approx((-179.5, 8.5), abs=1e-6)
    plain = make_grid(4326, 10.0, 10.0, pixel=0.01, size=300)
    assert compute(outline(plain), plain).centroid == pytest.approx((11.5, 8.5), abs=1e-6)


def test_hole_and_part_across_the_antimeridian_stay_in_place() -> None:
    grid = make_grid(4326, 175, 5, pixel=0.1, size=100)
    footprint = box(176, -5, 184, 5).difference(box(179, -1, 181, 1))
    result = compute(footprint, grid)
    assert_well_formed(result)
    assert result.bbox == (176, -5, -176, 5)
    assert shape(result).area == pytest.approx(footprint.area)
    assert not shape(result).contains(Point(-179.5, 0))
    assert shape(result).contains(Point(-178.5, 0))


def test_parts_on_both_sides_that_do_not_meet_the_antimeridian_have_a_plain_bbox() -> None:
    grid = make_grid(4326, -180, 90, pixel=1, size=180)
    result = compute(MultiPolygon([box(-170, 0, -160, 10), box(150, 0, 170, 10)]), grid)
    assert result.bbox == (-170, 0, 170, 10)


def test_whole_world_is_one_rectangle() -> None:
    wkt = CRS.from_epsg(4326).to_wkt()
    grid = Grid(crs=wkt, left=-180, top=90, pixel_width=0.5, pixel_height=0.5, width=720, height=360)
    result = compute(outline(grid), grid)
    assert_well_formed(result)
    assert result.bbox == (-180, -90, 180, 90)
    assert shape(result).equals(box(-180, -90, 180, 90))


@pytest.mark.parametrize(("crs", "pole"), [(3031, -90), (3413, 90)])
def test_mosaic_over_a_pole_covers_all_longitudes_up_to_it(crs: int, pole: int) -> None:
    grid = make_grid(crs, -1e6, 1e6, pixel=1000, size=2000)
    result = compute(outline(grid), grid)
    assert_well_formed(result)
    assert result.bbox[0] == -180
    assert result.bbox[2] == 180
    assert pole in result.bbox
    for lon in range(-175, 180, 10):
        assert shape(result).contains(Point(lon, pole * 0.99))
        assert not shape(result).contains(Point(lon, pole * 0.8))


@pytest.mark.parametrize("inside", [0.5, -0.5, 50, -50])
def test_edge_that_passes_a_pole_closely_leaves_it_on_the_right_side(inside: float) -> None:
    grid = make_grid(3031, -inside, 1e6 + inside / 3, pixel=1000, size=2000)
    result = compute(outline(grid), grid)
    assert_well_formed(result)
    covered = {lon for lon in range(-175, 180, 10) if shape(result).contains(Point(lon, -89))}
    assert covered == {lon for lon in range(-175, 180, 10) if lon > 0}  # x > 0 is the eastern half
    assert (result.bbox[:1] + result.bbox[2:3] == (-180, 180)) == (inside > 0)


def test_hole_over_a_pole_is_kept() -> None:
    grid = make_grid(3031, -1e6, 1e6, pixel=1000, size=2000)
    ring = outline(grid).difference(box(-2e5, -2e5, 2e5, 2e5))
    result = compute(ring, grid)
    assert_well_formed(result)
    assert shape(result).contains(Point(0, -85))
    assert not shape(result).intersects(Point(0, -89.5))


@pytest.mark.parametrize(
    "crs",
    ['LOCAL_CS["plane",UNIT["metre",1]]', "+proj=ortho +lat_0=0 +lon_0=0", "IAU_2015:30100"],
    ids=["local", "beyond the projection", "the Moon"],
)
def test_footprint_without_a_place_on_the_earths_map_is_none(crs: str) -> None:
    grid = make_grid(crs, -7e6, 7e6, pixel=1e5, size=140)
    assert compute_footprint(outline(grid), grid) is None


def test_grid_without_crs_has_no_footprint() -> None:
    grid = Grid(crs="", left=0, top=1, pixel_width=1, pixel_height=1, width=1, height=1)
    assert compute_footprint(outline(grid), grid) is None
    assert compute_pixel_metres(grid) is None


def test_empty_footprint_is_an_error() -> None:
    with pytest.raises(ValueError, match="empty"):
        compute_footprint(Polygon(), make_grid(UTM_35S, 300_000, 7_000_000))


def test_ragged_footprint_stays_small() -> None:
    grid = make_grid(UTM_35S, 300_000, 7_000_000, size=2000)
    left, top = grid.left, grid.top
    holes = [
        box(left + 100 * i, top - 100 * j, left + 100 * i + 30, top - 100 * j + 30) for i in range(1, 90) for j in range(1, 90)
    ]
    big = box(left + 10_000, top - 19_000, left + 19_000, top - 10_000)
    footprint = Polygon(outline(grid).exterior, [hole.exterior for hole in [*holes, big]])
    result = compute(footprint, grid)
    assert_well_formed(result)
    assert shapely.get_num_coordinates(shape(result)) <= 1_000
    assert len(result.geometry["coordinates"]) == 2  # the large hole stays, the many small ones go


@pytest.mark.parametrize("cell", [1, 3])
@pytest.mark.parametrize(("share", "smooth"), [(0.3, 1), (0.6, 1), (0.5, 4), (0.9, 4), (0.5, 16)])
def test_ragged_masks_give_valid_geometries_within_the_stated_tolerance(share: float, smooth: int, cell: int) -> None:
    """Masks from salt and pepper to large blobs, traced along cells of one or three pixels."""
    rng = np.random.default_rng(smooth)
    mask = np.kron(rng.random((64 // smooth, 64 // smooth)) < share, np.ones((smooth, smooth), bool))
    mask &= rng.random((64, 64)) < 0.99
    mask[20:50, 20:50] = True
    grid = make_grid(UTM_35S, 300_000, 7_000_000, size=64 * cell)
    coarse = replace(grid, pixel_width=10.0 * cell, pixel_height=10.0 * cell, width=64, height=64)
    footprint = outline_mask(mask, coarse)
    result = compute_footprint(footprint, grid, within=1.5 * cell)
    assert result is not None
    assert_well_formed(result)
    assert shapely.get_num_coordinates(shape(result)) <= 1_000
    to_crs = Transformer.from_crs(4326, UTM_35S, always_xy=True)
    back = shapely.transform(shape(result), lambda c: np.column_stack(to_crs.transform(c[:, 0], c[:, 1])))
    reach = 10.0 * result.tolerance + 0.1
    found = shapely.get_coordinates(back)
    assert shapely.dwithin(footprint, shapely.points(found), reach).all()
    edge = 10.0 * cell
    inner = box(300_000 + 20 * edge, 7_000_000 - 50 * edge, 300_000 + 50 * edge, 7_000_000 - 20 * edge)
    assert shapely.dwithin(back, shapely.points(shapely.get_coordinates(inner)), reach).all()
    assert len(found) < shapely.get_num_coordinates(footprint)


def test_a_slanted_edge_that_was_traced_along_pixels_is_straight_again() -> None:
    grid = make_grid(UTM_35S, 300_000, 7_000_000, size=200)
    rows, cols = np.indices(grid.shape)
    result = compute_footprint(outline_mask((cols > 0.3 * rows) & (cols + 0.3 * rows < 180), grid), grid, within=1.5)
    assert result is not None
    assert result.tolerance == 1.75
    assert shapely.get_num_coordinates(shape(result)) <= 12


def test_bow_tie_is_made_valid() -> None:
    grid = make_grid(UTM_35S, 300_000, 7_000_000)
    x, y = grid.left, grid.top
    result = compute(Polygon([(x, y), (x + 900, y - 900), (x + 900, y), (x, y - 900)]), grid)
    assert_well_formed(result)
    assert len(result.geometry["coordinates"]) == 2


@examples(30)
@given(st.floats(-170, 170), st.floats(-70, 70), st.integers(1, 1000))
def test_points_of_the_footprint_lie_in_its_geometry(lon: float, lat: float, size: int) -> None:
    crs = f"+proj=laea +lon_0={lon} +lat_0={lat} +datum=WGS84"
    grid = make_grid(crs, -500.0 * size, 500.0 * size, pixel=100, size=10 * size)
    result = compute(outline(grid), grid)
    assert_well_formed(result)
    inner = outline(grid).buffer(-100)  # a pixel
    to_lonlat = Transformer.from_crs(crs, 4326, always_xy=True)
    corners = shapely.get_coordinates(shapely.segmentize(inner.exterior, 250.0 * size))
    x, y = to_lonlat.transform(corners[:, 0], corners[:, 1])
    assert shapely.contains_xy(shape(result), x, y).all()
    west, south, east, north = result.bbox
    assert all(south <= value <= north for value in y)
    assert all(west <= value <= east if west <= east else value >= west or value <= east for value in x)


def test_pixel_of_a_geographic_grid_shrinks_with_latitude() -> None:
    at_equator = compute_pixel_metres(make_grid(4326, 0, 0.5, pixel=0.01))
    at_sixty = compute_pixel_metres(make_grid(4326, 0, 60.5, pixel=0.01))
    assert at_equator == pytest.approx((1113.19, 1105.74), rel=1e-4)
    assert at_sixty is not None
    assert at_sixty[0] == pytest.approx(0.5014 * 1113.19, rel=1e-3)
