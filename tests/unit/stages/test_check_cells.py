"""The mosaic averaged to cells, against whole arrays, and what share of a check it explains."""

from __future__ import annotations

import numpy as np
import pytest

from processor.stages.check_cells import CellSums, compute_fidelity, merge_cell_sums, sum_cells


@pytest.mark.parametrize("edge", [7, 16, 40])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_sums_of_windows_add_up_to_those_of_the_whole_however_it_is_cut(edge: int, dtype: str) -> None:
    random = np.random.default_rng(2)
    values = random.integers(0, 200, (2, 33, 40)).astype(dtype)
    valid = random.random((33, 40)) < 0.8
    parts = [
        sum_cells(values[:, row : row + edge, col : col + edge], valid[row : row + edge, col : col + edge], (row, col), 5)
        for row in range(0, 33, edge)
        for col in range(0, 40, edge)
    ]
    summed = merge_cell_sums(parts, 2, (7, 8))
    padded = np.pad(np.where(valid, values, 0).astype(float), ((0, 0), (0, 2), (0, 0)))
    np.testing.assert_array_equal(summed.sums, padded.reshape(2, 7, 5, 8, 5).sum(axis=(2, 4)))
    np.testing.assert_array_equal(summed.count, np.pad(valid, ((0, 2), (0, 0))).reshape(7, 5, 8, 5).sum(axis=(1, 3)))


def test_what_invalid_pixels_hold_does_not_matter() -> None:
    values = np.array([[[1.0, np.nan], [np.inf, 3.0]]])
    summed = sum_cells(values, np.array([[True, False], [False, True]]), (4, 2), 2)
    assert (summed.row, summed.col, summed.count.tolist(), summed.sums.tolist()) == (2, 1, [[2]], [[[4.0]]])


def fill(values: np.ndarray, count: int = 4) -> CellSums:
    return CellSums(row=0, col=0, count=np.full(values.shape[1:], count), sums=values * count)


def test_fidelity_is_the_squared_correlation_of_means() -> None:
    random = np.random.default_rng(3)
    truth = random.normal(100, 10, (3, 20, 20))
    seen = np.stack([-2 * truth[0] + 7, truth[1] + random.normal(0, 10, (20, 20)), np.full((20, 20), 5.0)])
    mosaic, check = fill(seen), fill(truth, 1)
    mosaic.count[0] = 3  # three quarters of a cell do not count
    mosaic.sums[:, 0] = 1e6
    check.count[:, 0] = 0
    cells, explained = compute_fidelity(mosaic, 4, check, 1)
    assert cells == 19 * 19
    expected = np.corrcoef(seen[1, 1:, 1:].ravel(), truth[1, 1:, 1:].ravel())[0, 1] ** 2
    np.testing.assert_allclose(explained, [1.0, expected, np.nan])


def test_with_few_cells_fidelity_is_unknown() -> None:
    few = fill(np.arange(9.0).reshape(1, 3, 3))
    cells, explained = compute_fidelity(few, 4, few, 4)
    assert (cells, explained.tolist()) == (9, [pytest.approx(np.nan, nan_ok=True)])
