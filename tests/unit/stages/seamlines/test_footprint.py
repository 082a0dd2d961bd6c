"""Footprints of known masks."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio.features
import shapely
from affine import Affine
from numpy.typing import NDArray
from shapely import Polygon, box

from processor.errors import InputError
from processor.model import Grid
from processor.stages.seamlines.footprint import compute_footprint


def grid_of(mask: NDArray[np.bool_], *, pixel: float = 2.0) -> Grid:
    height, width = mask.shape
    return Grid(crs="", left=100.0, top=50.0, pixel_width=pixel, pixel_height=pixel, width=width, height=height)


def test_a_footprint_is_the_outline_of_the_valid_pixels() -> None:
    mask = np.zeros((6, 8), np.bool_)
    mask[1:4, 2:7] = True
    mask[2, 4] = False

    footprint = compute_footprint(mask, grid_of(mask))

    assert footprint.equals(box(104, 42, 114, 48).difference(box(108, 44, 110, 46)))


def test_pixels_that_meet_at_a_corner_are_one_valid_footprint() -> None:
    mask = np.eye(4, dtype=np.bool_)

    footprint = compute_footprint(mask, grid_of(mask))

    assert footprint.is_valid
    assert footprint.area == 4 * 4.0
    assert set(shapely.area(shapely.get_parts(footprint))) == {4.0}


def test_a_hole_that_touches_the_outline_at_a_corner_stays_a_hole() -> None:
    mask = np.ones((5, 5), np.bool_)
    mask[1, 1] = mask[2, 2] = mask[0, 0] = False

    footprint = compute_footprint(mask, grid_of(mask))

    assert footprint.is_valid
    assert footprint.area == mask.sum() * 4.0


def test_a_mask_without_valid_pixel_has_an_empty_footprint() -> None:
    mask = np.zeros((3, 3), np.bool_)

    assert compute_footprint(mask, grid_of(mask)).is_empty


def test_a_mask_of_another_shape_is_refused_with_both_shapes() -> None:
    mask = np.ones((3, 4), np.bool_)

    with pytest.raises(InputError, match=r"\(3, 4\).*\(4, 3\)"):
        compute_footprint(mask, grid_of(mask.T))


@pytest.mark.parametrize("seed", range(8))
def test_a_footprint_is_what_tracing_every_pixel_gives_vertex_for_vertex(seed: int) -> None:
    random = np.random.default_rng(seed)
    step = int(random.integers(1, 9))
    coarse = random.random((int(random.integers(1, 12)), int(random.integers(1, 12)))) < 0.7
    mask = np.kron(coarse, np.ones((step, step), np.bool_))
    grid = grid_of(mask, pixel=1 / 3)
    traced = rasterio.features.shapes(mask.view(np.uint8), mask=mask, connectivity=8, transform=Affine(*grid.transform))
    parts = [Polygon(geometry["coordinates"][0], geometry["coordinates"][1:]) for geometry, _ in traced]
    repaired = [shapely.make_valid(part, method="structure", keep_collapsed=False) for part in parts]
    expected = shapely.get_parts(shapely.get_parts([a if a.is_valid else b for a, b in zip(parts, repaired, strict=True)]))
    footprint = shapely.get_parts(compute_footprint(mask, grid))
    assert [part.wkb for part in footprint] == [part.wkb for part in expected if not part.is_empty]
