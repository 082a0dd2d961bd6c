"""Gain and offset in small kernels against a reference whose truth is known."""

from __future__ import annotations

import numpy as np
from matched_scenes import Scenes, cut_scenes
from numpy.typing import NDArray

from processor.stages.matching.block_weights import adjust_table
from processor.stages.matching.reference_fit import fit_in_kernels
from processor.stages.matching.robust_regression import solve_robust_regression

TRUTH = {"a": (1.2, 30.0), "b": (0.9, -40.0), "c": (1.05, 10.0), "d": (0.8, 100.0)}


def add_reference(scenes: Scenes, cell: int = 8) -> None:
    reference = scenes.truth.copy()
    bands, height, width = reference.shape
    means = reference.reshape(bands, height // cell, cell, width // cell, cell).mean(axis=(2, 4))
    scenes.windows["ref"] = scenes.canvas.window
    scenes.values["ref"] = np.repeat(np.repeat(means, cell, axis=1), cell, axis=2)


def harmonise(scenes: Scenes, edge: int = 8, prior: float = 0.1) -> dict[str, NDArray[np.float64]]:
    table = scenes.table(edge, references=["ref"])
    solution = solve_robust_regression(table)
    fits = fit_in_kernels(adjust_table(table, solution.scale, solution.offset), solution.weights, scenes.canvas, prior=prior)
    result = {}
    for k, name in enumerate(table.names):
        fit = fits[k]
        if fit is None:
            continue
        x, y = np.broadcast_arrays(*scenes.position(name))
        adjusted = solution.scale[k][:, None, None] * scenes.values[name] + solution.offset[k][:, None, None]
        result[name] = fit.apply_at(adjusted.reshape(3, -1), x.ravel(), y.ravel()).reshape(adjusted.shape)
    return result


def error_of(scenes: Scenes, name: str, values: NDArray[np.float64], where: NDArray[np.bool_] | None = None) -> float:
    truth = scenes.true_values(name)
    departure = (values - truth)[:, where] if where is not None else values - truth
    return float(np.sqrt((departure**2).mean()) / truth.std())


def test_light_within_scenes_is_drawn_to_the_reference() -> None:
    scenes = cut_scenes(TRUTH)
    for name in "abcd":
        x, y = scenes.position(name)
        scenes.values[name] *= 1 + 0.15 * (((x - x.mean()) / 1120) ** 2 + (y - y.mean()) / 1120)
    add_reference(scenes)
    for name, values in harmonise(scenes).items():
        assert error_of(scenes, name, values) < 0.035


def test_a_scene_and_its_own_reference_come_out_as_they_are() -> None:
    scenes = cut_scenes()
    add_reference(scenes)
    for name, values in harmonise(scenes).items():
        assert np.abs(values - scenes.true_values(name)).max() < 1e-6


def test_clouds_on_either_side_do_not_spoil_the_clear_pixels() -> None:
    scenes = cut_scenes(TRUTH)
    add_reference(scenes)
    rng = np.random.default_rng(0)
    scenes.values["a"][:, 40:100, 40:100] = 6000 + rng.normal(0, 200, (3, 60, 60))
    scenes.values["ref"][:, 240:300, 240:300] = 5000 + rng.normal(0, 200, (3, 60, 60))
    result = harmonise(scenes)
    clear = np.ones((224, 224), np.bool_)
    clear[30:110, 30:110] = False
    assert error_of(scenes, "a", result["a"], clear) < 0.05
    assert error_of(scenes, "d", result["d"]) < 0.1


def test_a_scene_without_a_block_against_the_reference_gets_nothing() -> None:
    scenes = cut_scenes()
    table = scenes.table()
    assert fit_in_kernels(table, np.ones(len(table.x)), scenes.canvas) == (None,) * 4


def test_constant_bands_stay_finite_and_come_to_the_level_of_the_reference() -> None:
    scenes = cut_scenes(TRUTH)
    for values in scenes.values.values():
        values[1] = 7.0
    add_reference(scenes)
    for values in harmonise(scenes, prior=0.0).values():
        assert np.isfinite(values).all()
