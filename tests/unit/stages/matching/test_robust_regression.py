"""Gains and offsets of scenes cut from a known truth."""

from __future__ import annotations

import numpy as np
import pytest
from matched_scenes import Scenes, cut_scenes, stack_scenes
from numpy.typing import NDArray

from processor.model import Bounds
from processor.stages.matching.block_weights import make_block_table
from processor.stages.matching.robust_regression import RobustSolution, solve_robust_regression

TRUTH = {"a": (1.2, 30.0), "b": (0.9, -40.0), "c": (1.05, 10.0), "d": (0.8, 100.0)}


def relative_gains(solution: RobustSolution) -> NDArray[np.float64]:
    return solution.scale / np.exp(np.log(solution.scale).mean(axis=0))


def true_gains() -> NDArray[np.float64]:
    gain = np.array([TRUTH[name][0] for name in "abcd"])
    return (gain / np.exp(np.log(gain).mean()))[:, None]


def add_cloud(scenes: Scenes, name: str, rows: slice, cols: slice) -> None:
    values = scenes.values[name]
    shape = values[:, rows, cols].shape
    values[:, rows, cols] = 6000 + np.random.default_rng(8).normal(0, 300, shape)


def test_gains_and_offsets_of_a_known_truth_are_found() -> None:
    scenes = cut_scenes(TRUTH)
    solution = solve_robust_regression(scenes.table())
    np.testing.assert_allclose(relative_gains(solution), np.broadcast_to(true_gains(), (4, 3)), rtol=1e-6)
    adjusted = [
        solution.scale[k][:, None, None] * scenes.values[name] + solution.offset[k][:, None, None]
        for k, name in enumerate("abcd")
    ]
    # One common gain and offset a band is left undetermined: the same line leads from all scenes to the truth.
    for band in range(3):
        lines = [
            np.polyfit(one[band].ravel(), scenes.true_values(name)[band].ravel(), 1)
            for name, one in zip("abcd", adjusted, strict=True)
        ]
        np.testing.assert_allclose(lines, np.broadcast_to(lines[0], (4, 2)), rtol=1e-6, atol=1e-3)
    np.testing.assert_array_equal(solution.groups, 0)


def test_gauge_keeps_the_mean_gain_and_the_mean_of_the_median_levels() -> None:
    scenes = cut_scenes(TRUTH)
    table = scenes.table()
    solution = solve_robust_regression(table)
    np.testing.assert_allclose(np.log(solution.scale).sum(axis=0), 0, atol=1e-12)
    medians = []
    for k in range(4):
        level = np.concatenate(
            [
                table.mean[0][:, np.repeat(table.first, table.sizes) == k],
                table.mean[1][:, np.repeat(table.second, table.sizes) == k],
            ],
            axis=1,
        )
        medians.append(np.median(level, axis=1))
    raw = np.array(medians)
    np.testing.assert_allclose((solution.scale * raw + solution.offset).sum(axis=0), raw.sum(axis=0))


def test_scenes_that_agree_come_out_as_they_are_to_the_last_bit() -> None:
    solution = solve_robust_regression(cut_scenes().table())
    np.testing.assert_array_equal(solution.scale, 1.0)
    np.testing.assert_array_equal(solution.offset, 0.0)
    assert solution.weights.min() > 0.5


def test_unmasked_clouds_and_changed_fields_are_left_out() -> None:
    scenes = cut_scenes(TRUTH)
    rng = np.random.default_rng(3)
    for name in "abcd":
        scenes.values[name] += rng.normal(0, 8, scenes.values[name].shape)
    clear = relative_gains(solve_robust_regression(scenes.table()))
    add_cloud(scenes, "a", slice(120, 200), slice(160, 210))
    add_cloud(scenes, "d", slice(0, 60), slice(40, 120))
    scenes.values["b"][:, 100:140, 10:50] *= 1.4
    table = scenes.table()
    solution = solve_robust_regression(table)
    np.testing.assert_allclose(clear, np.broadcast_to(true_gains(), (4, 3)), rtol=0.01)
    np.testing.assert_allclose(relative_gains(solution), np.broadcast_to(true_gains(), (4, 3)), rtol=0.01)
    pair = int(np.flatnonzero((table.first == 0) & (table.second == 1))[0])
    blocks = np.arange(table.starts[pair], table.starts[pair + 1])
    cloudy = (table.row[blocks] >= 8) & (table.row[blocks] < 12)
    assert solution.weights[blocks][cloudy].max() == 0
    assert np.median(solution.weights[blocks][~cloudy]) > 0.5


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_dates_of_which_few_share_a_clear_block_are_matched(seed: int) -> None:
    """With 40 % of each date under cloud about one block in six is clear in both dates of a pair."""
    random = np.random.default_rng(seed)
    truth = {f"d{date:02}": (float(np.exp(0.1 * random.normal())), float(60 * random.normal())) for date in range(20)}
    solution = solve_robust_regression(stack_scenes(truth, clouds=0.4, seed=seed).table())
    gain = np.array([one for one, _ in truth.values()])[:, None]
    departure = np.log(solution.scale * gain)
    np.testing.assert_allclose(departure - departure.mean(axis=0), 0.0, atol=0.01)


def test_held_scenes_keep_their_values_and_the_others_come_to_them() -> None:
    scenes = cut_scenes(TRUTH)
    solution = solve_robust_regression(scenes.table(held=["b"]))
    np.testing.assert_array_equal(solution.scale[1], 1.0)
    np.testing.assert_array_equal(solution.offset[1], 0.0)
    for k, name in enumerate("abcd"):
        gain = TRUTH[name][0] / TRUTH["b"][0]
        np.testing.assert_allclose(solution.scale[k], gain, rtol=1e-6)
        np.testing.assert_allclose(solution.offset[k], (TRUTH[name][1] - TRUTH["b"][1]) / TRUTH["b"][0], atol=1e-3)


def test_groups_that_share_no_pixel_are_solved_apart() -> None:
    scenes = cut_scenes(TRUTH)
    parts = [part for part in scenes.measure() if {part.first, part.second} in ({"a", "b"}, {"c", "d"})]
    table = make_block_table(parts, scenes.bounds, scenes.canvas, bands=3, held=["c"])
    solution = solve_robust_regression(table)
    assert solution.groups.tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(np.log(solution.scale[:2]).sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(solution.scale[3], TRUTH["d"][0] / TRUTH["c"][0], rtol=1e-6)


def test_one_scene_alone_stays_as_it_is() -> None:
    scenes = cut_scenes()
    table = make_block_table([], {"a": scenes.bounds["a"]}, scenes.canvas, bands=2)
    solution = solve_robust_regression(table)
    assert solution.scale.tolist() == [[1.0, 1.0]]
    assert solution.offset.tolist() == [[0.0, 0.0]]
    assert solution.weights.shape == (0,)
    assert solution.groups.tolist() == [0]


def test_a_constant_band_says_nothing_of_its_gain_and_its_levels_still_meet() -> None:
    scenes = cut_scenes(TRUTH)
    for k, name in enumerate("abcd"):
        scenes.values[name][1] = 50.0 + k
    solution = solve_robust_regression(scenes.table())
    assert np.isfinite(solution.scale).all()
    assert np.isfinite(solution.offset).all()
    np.testing.assert_allclose(solution.scale[:, 1], 1.0)
    np.testing.assert_allclose(solution.offset[:, 1], [1.5, 0.5, -0.5, -1.5], atol=1e-9)
    np.testing.assert_allclose(relative_gains(solution)[:, [0, 2]], np.broadcast_to(true_gains(), (4, 2)), rtol=0.01)


def test_negative_values_are_values() -> None:
    scenes = cut_scenes(TRUTH)
    expected = solve_robust_regression(scenes.table())
    scenes.values = {name: values - 3000.0 for name, values in scenes.values.items()}
    solution = solve_robust_regression(scenes.table())
    np.testing.assert_allclose(solution.scale, expected.scale, rtol=1e-6)


def test_the_result_does_not_depend_on_the_names_of_the_scenes() -> None:
    scenes = cut_scenes(TRUTH)
    other = cut_scenes(TRUTH)
    rename = {"a": "z", "b": "y", "c": "x", "d": "w"}
    other.windows = {rename[name]: window for name, window in scenes.windows.items()}
    other.values = {rename[name]: values for name, values in scenes.values.items()}
    one, two = solve_robust_regression(scenes.table()), solve_robust_regression(other.table())
    np.testing.assert_allclose(one.scale, two.scale[::-1], rtol=1e-9)
    np.testing.assert_allclose(one.offset, two.offset[::-1], atol=1e-6)


def test_the_same_table_gives_the_same_bits() -> None:
    scenes = cut_scenes(TRUTH)
    one = solve_robust_regression(scenes.table())
    two = solve_robust_regression(make_block_table(scenes.measure()[::-1], scenes.bounds, scenes.canvas, bands=3))
    np.testing.assert_array_equal(one.scale, two.scale)
    np.testing.assert_array_equal(one.weights, two.weights)


def test_a_coarse_reference_leads_by_the_variances_between_blocks() -> None:
    scenes = cut_scenes(TRUTH)
    reference = scenes.truth.copy()
    for row in range(0, 384, 16):
        for col in range(0, 384, 16):
            cell = reference[:, row : row + 16, col : col + 16]
            cell[:] = cell.mean(axis=(1, 2), keepdims=True)
    scenes.windows["ref"] = scenes.canvas.window
    scenes.values["ref"] = reference
    solution = solve_robust_regression(scenes.table(references=["ref"]))
    for k, name in enumerate("abcd"):
        np.testing.assert_allclose(solution.scale[k], TRUTH[name][0], rtol=1e-6)
        np.testing.assert_allclose(solution.offset[k], TRUTH[name][1], atol=1e-3)


@pytest.mark.parametrize("name", ["a", "d"])
def test_one_scene_follows_a_reference(name: str) -> None:
    scenes = cut_scenes(TRUTH)
    scenes.windows = {name: scenes.windows[name], "ref": scenes.canvas.window}
    scenes.values["ref"] = scenes.truth
    solution = solve_robust_regression(scenes.table(references=["ref"]))
    np.testing.assert_allclose(solution.scale[0], TRUTH[name][0], rtol=1e-6)


def test_blocks_with_few_pixels_are_left_out() -> None:
    scenes = cut_scenes()
    mask = np.ones((224, 224), np.bool_)
    mask[:, 160:176] = False
    mask[::4, 160:176] = True  # a quarter of each block
    scenes.valid["a"] = mask
    table = scenes.table()
    assert 10 not in table.col[: table.starts[1]]
    assert 11 in table.col[: table.starts[1]]


def test_gains_alone_make_levels_agree() -> None:
    scenes = cut_scenes({name: (gain, 0.0) for name, (gain, _) in TRUTH.items()})
    solution = solve_robust_regression(scenes.table(), with_offsets=False)
    np.testing.assert_allclose(relative_gains(solution), np.broadcast_to(true_gains(), (4, 3)), rtol=1e-6)
    np.testing.assert_array_equal(solution.offset, 0.0)


def test_bounds_of_all_scenes_are_needed() -> None:
    scenes = cut_scenes()
    with pytest.raises(KeyError):
        make_block_table(scenes.measure(), {"a": Bounds(left=0, bottom=0, right=1, top=1)}, scenes.canvas, bands=3)
