"""A pattern of light that scenes share, found from a known one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matched_scenes import Scenes, cut_scenes
from numpy.typing import NDArray

from processor.stages.matching.block_weights import make_block_table
from processor.stages.matching.illumination import (
    compute_pattern,
    light_table,
    make_pattern_surface,
    solve_illumination,
)

PATTERN = np.array([[0.1, -0.05, -0.2, 0.1, 0.08], [0.05, 0.1, 0.15, -0.1, 0.0], [0.0, 0.0, -0.3, -0.3, 0.1]])
GAINS = {"a": (1.1, 0.0), "b": (0.9, 0.0), "c": (1.0, 0.0), "d": (1.05, 0.0)}


def lit_scenes(gains: dict[str, tuple[float, float]] | None = None) -> Scenes:
    scenes = cut_scenes(gains)
    for name, values in scenes.values.items():
        x, y = np.broadcast_arrays(*scenes.position(name))
        light = compute_pattern(PATTERN, scenes.bounds[name], x.ravel(), y.ravel())
        scenes.values[name] = values / light.reshape(values.shape)
    return scenes


def relative(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values / np.exp(np.log(values).mean(axis=0))


def test_pattern_and_gains_of_a_known_truth_are_found_but_for_a_tilt() -> None:
    scenes = lit_scenes(GAINS)
    solution = solve_illumination(scenes.table(edge=8), ["x"] * 4)
    np.testing.assert_allclose(solution.pattern[0][:, 2:], PATTERN[:, 2:], atol=0.01)
    assert solution.order.tolist() == [2]
    # A tilt of the light and a trend of the gains are one and the same for the overlaps: the report can tell.
    assert solution.determined[0, :2].max() < 0.05
    assert solution.determined[0, 2:].min() > 0.5


def test_scenes_agree_once_they_are_lit_alike() -> None:
    scenes = lit_scenes(GAINS)
    table = scenes.table(edge=8)
    solution = solve_illumination(table, ["x"] * 4)
    lit = light_table(table, solution)
    np.testing.assert_allclose(lit.mean[0], lit.mean[1], rtol=0.01)
    for k, name in enumerate("abcd"):
        surface = make_pattern_surface(name, scenes.bounds[name], solution.pattern[0])
        x, y = scenes.position(name)
        position = np.array([float(x[0, 50])]), np.array([float(y[70, 0])])
        factor = compute_pattern(solution.pattern[0], scenes.bounds[name], *position)
        np.testing.assert_allclose(surface.apply_at(np.ones((3, 1)), *position), factor, rtol=5e-4)
        assert solution.scale[k].shape == (3,)


def test_groups_of_one_scene_take_memory_for_what_is_linked_only() -> None:
    scenes = lit_scenes(GAINS)
    table = scenes.table(edge=8)
    alone = solve_illumination(table, ["a", "b", "c", "d"])
    many = replace(
        table,
        names=(*table.names, *(f"x{number}" for number in range(20_000))),
        bounds=np.concatenate([table.bounds, np.repeat(table.bounds[:1], 20_000, axis=0)]),
        held=np.concatenate([table.held, np.zeros(20_000, np.bool_)]),
    )
    solution = solve_illumination(many, many.names)
    assert solution.pattern.shape == (20_004, 3, 5)
    assert np.abs(alone.pattern).max() > 0


def test_clouds_are_left_out() -> None:
    scenes = lit_scenes(GAINS)
    scenes.values["a"][:, 40:100, 170:210] = 6000
    solution = solve_illumination(scenes.table(edge=8), ["x"] * 4)
    np.testing.assert_allclose(solution.pattern[0][:, 2:], PATTERN[:, 2:], atol=0.02)


def test_scenes_that_are_lit_alike_come_out_as_they_are() -> None:
    solution = solve_illumination(cut_scenes().table(), ["x"] * 4)
    np.testing.assert_array_equal(solution.pattern, 0.0)
    np.testing.assert_array_equal(solution.scale, 1.0)


def test_gains_alone_are_gains() -> None:
    solution = solve_illumination(cut_scenes(GAINS).table(), ["a", "b", "c", "d"], ridge=1e-6)
    assert solution.order.tolist() == [1, 1, 1, 1]
    assert np.isfinite(solution.scale).all()


def test_few_scenes_or_blocks_lower_the_order() -> None:
    scenes = lit_scenes()
    solution = solve_illumination(scenes.table(), ["x", "x", "y", "y"])
    assert solution.order.tolist() == [1, 1]
    assert solution.group.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(solution.pattern[:, :, 2:], 0.0)
    assert np.isnan(solution.determined[:, 2:]).all()
    alone = make_block_table([], {"a": scenes.bounds["a"]}, scenes.canvas, bands=3)
    nothing = solve_illumination(alone, ["x"])
    assert nothing.order.tolist() == [0]
    np.testing.assert_array_equal(nothing.scale, 1.0)


def test_the_gauge_is_a_mean_gain_of_one_and_held_scenes_keep_theirs() -> None:
    free = solve_illumination(lit_scenes(GAINS).table(), ["x"] * 4)
    np.testing.assert_allclose(np.log(free.scale).sum(axis=0), 0, atol=1e-12)
    held = solve_illumination(cut_scenes(GAINS).table(held=["b"]), ["x"] * 4, ridge=1e-6)
    np.testing.assert_array_equal(held.scale[1], 1.0)


def test_dark_negative_and_constant_bands_stay_finite() -> None:
    scenes = lit_scenes()
    for values in scenes.values.values():
        values[1] = -5.0
    solution = solve_illumination(scenes.table(), ["x"] * 4)
    assert np.isfinite(solution.scale).all()
    assert np.isfinite(solution.pattern).all()


def test_each_scene_needs_a_group() -> None:
    with pytest.raises(ValueError, match="4 scenes"):
        solve_illumination(cut_scenes().table(), ["x"])
