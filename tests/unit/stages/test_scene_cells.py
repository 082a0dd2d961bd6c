"""Sums of scenes and of the mosaic over cells: however it is cut, on whatever grid, those of the whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from processor.model import Grid, Window
from processor.stages.check_cells import merge_cell_sums
from processor.stages.scene_cells import CellLattice, choose_lattice, sum_mosaic, sum_scene

MOSAIC = Grid(crs="EPSG:32633", left=1000.0, top=5000.0, pixel_width=2.0, pixel_height=2.0, width=70, height=50)
LATTICE = CellLattice(edge=16, step=8, shape=(4, 5))


def draw(height: int, width: int) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    random = np.random.default_rng(7)
    return random.integers(0, 60_000, (2, height, width)).astype(np.uint16), random.random((height, width)) < 0.8


def sum_by_hand(values: NDArray[np.uint16], valid: NDArray[np.bool_], row: int, col: int) -> tuple[NDArray[np.float64], ...]:
    """Counts and sums over the mosaic's rows 4, 12, 20 …, of pixels that begin at a row and column of it."""
    count, sums = np.zeros(LATTICE.shape), np.zeros((len(values), *LATTICE.shape))
    for i, j in zip(*np.nonzero(valid), strict=True):
        if (i + row) % 8 == 4:
            count[(i + row) // 16, (j + col) // 16] += 1
            sums[:, (i + row) // 16, (j + col) // 16] += values[:, i, j]
    return count, sums


@pytest.mark.parametrize(
    ("height", "width", "edge", "shape"), [(40, 30, 8, (5, 4)), (2283, 1369, 32, (72, 43)), (200_000, 300_000, 4096, (49, 74))]
)
def test_a_lattice_has_at_most_4096_cells(height: int, width: int, edge: int, shape: tuple[int, int]) -> None:
    lattice = choose_lattice(replace(MOSAIC, height=height, width=width))
    assert (lattice.edge, lattice.step, lattice.shape) == (edge, edge // 2, shape)
    assert lattice.pixels == edge * 2


@pytest.mark.parametrize("edge", [3, 16, 70])
def test_sums_of_the_mosaic_are_those_of_its_rows_however_it_is_cut(edge: int) -> None:
    values, valid = draw(50, 70)
    places = [(row, col) for row in range(0, 50, edge) for col in range(0, 70, edge)]
    windows = [(slice(row, row + edge), slice(col, col + edge)) for row, col in places]
    parts = [
        sum_mosaic(values[:, *at], valid[at].astype(np.uint8), place, LATTICE)
        for at, place in zip(windows, places, strict=True)
    ]
    whole = merge_cell_sums([part for part in parts if part is not None], 2, LATTICE.shape)
    count, sums = sum_by_hand(values, valid, 0, 0)
    np.testing.assert_array_equal(whole.count, count)
    np.testing.assert_array_equal(whole.sums, sums)


@pytest.mark.parametrize("edge", [5, 40])
@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_a_scene_of_the_mosaics_pixel_size_is_summed_over_the_same_rows(edge: int, shift: float) -> None:
    values, valid = draw(40, 40)
    grid = replace(MOSAIC, left=1000.0 + 2 * (7 + shift), top=5000.0 - 2 * (5 + shift), width=40, height=40)
    parts = []
    for row in range(0, 40, edge):
        for col in range(0, 40, edge):
            window = Window(row=row, col=col, height=min(edge, 40 - row), width=min(edge, 40 - col))
            rows, cols = window.slices_in(grid.window)
            parts.append(sum_scene(values[:, rows, cols], valid[rows, cols], grid, window, MOSAIC, LATTICE))
    whole = merge_cell_sums([part for part in parts if part is not None], 2, LATTICE.shape)
    count, sums = sum_by_hand(values, valid, 5, 7)
    np.testing.assert_array_equal(whole.count, 8 * count)  # a row stands for eight
    np.testing.assert_array_equal(whole.sums, 8 * sums)


@pytest.mark.parametrize("factor", [0.5, 2, 5, 40])
def test_pixels_of_other_sizes_weigh_by_their_area(factor: float) -> None:
    pixel = 2 * factor
    height, width = round(80 / pixel), round(120 / pixel)
    grid = replace(MOSAIC, pixel_width=pixel, pixel_height=pixel, width=width, height=height)
    values = np.full((1, height, width), 7.0)
    found = sum_scene(values, None, grid, grid.window, MOSAIC, LATTICE)
    assert found is not None
    np.testing.assert_allclose(found.sums[0], 7 * found.count)
    assert found.count.sum() == pytest.approx(height * width * factor**2, rel=0.25)  # as many rows as fit
