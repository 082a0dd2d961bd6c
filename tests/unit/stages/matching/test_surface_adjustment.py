"""Surfaces of scenes whose light varies in a known way."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matched_scenes import Scenes, cut_scenes
from numpy.typing import NDArray

from processor.model import Bounds, Grid, Window
from processor.stages.matching.block_weights import make_block_table
from processor.stages.matching.control_surface import ControlGrid, ControlSurface, compose_surfaces
from processor.stages.matching.surface_adjustment import SurfaceSolution, correct_table, solve_surfaces

BOUNDS = Bounds(left=100.0, bottom=200.0, right=500.0, top=800.0)


def correct(scenes: Scenes, solution: SurfaceSolution) -> dict[str, NDArray[np.float64]]:
    corrected = {}
    for surface, name in zip(solution.surfaces, sorted(scenes.windows), strict=True):
        x, y = np.broadcast_arrays(*scenes.position(name))
        values = scenes.values[name]
        corrected[name] = surface.apply_at(values.reshape(len(values), -1), x.ravel(), y.ravel()).reshape(values.shape)
    return corrected


def step_between(scenes: Scenes, values: dict[str, NDArray[np.float64]]) -> float:
    """RMS over pairs of the local differences, as means of 16 x 16 pixels, in the truth's units."""
    squares = []
    for a, b in itertools.combinations(sorted(scenes.windows), 2):
        shared = scenes.windows[a].intersection(scenes.windows[b])
        assert shared is not None
        one, other = (values[name][:, *shared.slices_in(scenes.windows[name])] for name in (a, b))
        difference = (one - other)[:, :64, :64].reshape(3, 4, 16, 4, 16).mean(axis=(2, 4))
        squares.append(np.mean(difference**2))
    return float(np.sqrt(np.mean(squares)))


def shade(scenes: Scenes, kind: str) -> None:
    """Give each scene its own smooth pattern: a factor or a haze, that varies from edge to edge."""
    for k, name in enumerate("abcd"):
        x, y = scenes.position(name)
        u, v = (x - x.mean()) / 1120, (y - y.mean()) / 1120
        pattern = 0.08 * ((-1) ** k * u + (0.5 - k / 3) * v + 0.5 * u * v)
        if kind == "multiplicative":
            scenes.values[name] = scenes.values[name] * np.exp(pattern)
        else:
            scenes.values[name] = scenes.values[name] + 1000 * pattern


@pytest.mark.parametrize("kind", ["multiplicative", "additive"])
def test_smooth_differences_vanish(kind: str) -> None:
    scenes = cut_scenes()
    shade(scenes, kind)
    before = step_between(scenes, scenes.values)
    solution = solve_surfaces(scenes.table(), points=5, correction=kind)  # type: ignore[arg-type]
    assert step_between(scenes, correct(scenes, solution)) < 0.12 * before


def find_unevenness(scenes: Scenes, values: dict[str, NDArray[np.float64]]) -> float:
    """Standard deviation over all scenes of the logarithm of their values over the truth."""
    return float(np.std([np.log(values[name] / scenes.true_values(name)) for name in scenes.windows]))


def darken_corners(scenes: Scenes, strengths: tuple[float, ...], *, across: float = 1.0) -> None:
    """Give each scene a vignette of its own, with a share of it from east to west."""
    for strength, name in zip(strengths, "abcd", strict=True):
        x, y = scenes.position(name)
        u, v = (x - x.mean()) / 1120, (y - y.mean()) / 1120
        scenes.values[name] = scenes.values[name] * (1 - strength * (across * u**2 + v**2) / 2)


@pytest.mark.parametrize("across", [1.0, 0.4])
@pytest.mark.parametrize("points", [5, 9])
def test_vignettes_are_taken_out_and_not_turned_into_a_trend_of_tilts(points: int, across: float) -> None:
    """A long scene's vignette is weaker across."""
    scenes = cut_scenes()
    darken_corners(scenes, (0.1, 0.25, 0.15, 0.2), across=across)
    before = find_unevenness(scenes, scenes.values)
    left = {
        vignettes: find_unevenness(scenes, correct(scenes, solve_surfaces(scenes.table(), points=points, vignettes=vignettes)))
        for vignettes in (True, False)
    }
    assert left[True] < 0.4 * before
    assert left[False] > 0.8 * before


def test_blocks_are_corrected_as_their_pixels_are() -> None:
    scenes = cut_scenes()
    shade(scenes, "multiplicative")
    table = scenes.table()
    solution = solve_surfaces(table)
    scenes.values = correct(scenes, solution)
    expected, corrected = scenes.table(), correct_table(table, solution.surfaces)
    np.testing.assert_allclose(corrected.mean, expected.mean, rtol=2e-3)
    np.testing.assert_allclose(np.sqrt(corrected.variance), np.sqrt(expected.variance), rtol=0.05)
    same = correct_table(table, [None] * 4)
    np.testing.assert_array_equal(same.mean, table.mean)


def test_clouds_do_not_bend_the_surfaces() -> None:
    scenes, cloudy = cut_scenes(), cut_scenes()
    rng = np.random.default_rng(2)
    for one in (scenes, cloudy):
        shade(one, "multiplicative")
    for name in "abcd":
        noise = rng.normal(0, 8, scenes.values[name].shape)
        scenes.values[name] += noise
        cloudy.values[name] += noise
    cloudy.values["a"][:, 40:100, 170:210] = 6000 + rng.normal(0, 300, (3, 60, 40))
    clear, robust = solve_surfaces(scenes.table()), solve_surfaces(cloudy.table())
    for one, other in zip(clear.surfaces, robust.surfaces, strict=True):
        assert one.gain is not None
        assert other.gain is not None
        np.testing.assert_allclose(other.gain, one.gain, atol=0.03)  # under the cloud itself nothing is known
        assert np.abs(other.gain - one.gain).mean() < 0.005


@pytest.mark.parametrize("kind", ["multiplicative", "additive"])
def test_scenes_that_agree_get_the_identity(kind: str) -> None:
    scenes = cut_scenes()
    solution = solve_surfaces(scenes.table(), correction=kind)  # type: ignore[arg-type]
    for name, values in correct(scenes, solution).items():
        np.testing.assert_array_equal(values, scenes.values[name])
    assert solution.weights.min() > 0.5


def test_scenes_that_are_held_stay_and_the_others_come_to_them() -> None:
    scenes = cut_scenes()
    shade(scenes, "multiplicative")
    scenes.windows["ref"], scenes.values["ref"] = scenes.canvas.window, scenes.truth
    solution = solve_surfaces(scenes.table(references=["ref"]), points=5, smoothness=0.03, ridge=1e-3)
    reference = solution.surfaces[4]
    assert reference.gain is not None
    np.testing.assert_array_equal(reference.gain, 1.0)
    corrected = correct(scenes, solution)
    for name in "abcd":
        error = np.abs(corrected[name] / scenes.true_values(name) - 1)
        assert np.quantile(error, 0.99) < 0.02
        assert np.abs(scenes.values[name] / scenes.true_values(name) - 1).max() > 0.05


def test_values_around_zero_are_shifted_before_the_logarithm() -> None:
    scenes = cut_scenes()
    shade(scenes, "additive")
    scenes.values = {name: values - 1000 for name, values in scenes.values.items()}
    before = step_between(scenes, scenes.values)
    solution = solve_surfaces(scenes.table())
    assert solution.surfaces[0].offset is not None
    assert step_between(scenes, correct(scenes, solution)) < 0.5 * before


def test_bands_without_light_and_scenes_without_overlap_stay_finite() -> None:
    scenes = cut_scenes()
    for values in scenes.values.values():
        values[1] = 0.0
    solution = solve_surfaces(scenes.table())
    for values in correct(scenes, solution).values():
        assert np.isfinite(values).all()
    alone = make_block_table([], {"a": scenes.bounds["a"]}, scenes.canvas, bands=3)
    surface = solve_surfaces(alone).surfaces[0]
    assert surface.gain is not None
    np.testing.assert_array_equal(surface.gain, 1.0)


def test_the_same_table_gives_the_same_bits_and_other_names_the_same_surfaces() -> None:
    scenes, other = cut_scenes(), cut_scenes()
    shade(scenes, "multiplicative")
    one, two = solve_surfaces(scenes.table()), solve_surfaces(scenes.table())
    other.windows = dict(zip("zyxw", scenes.windows.values(), strict=True))
    other.values = dict(zip("zyxw", scenes.values.values(), strict=True))
    three = solve_surfaces(other.table())
    for a, b, c in zip(one.surfaces, two.surfaces, three.surfaces[::-1], strict=True):
        assert a.gain is not None
        assert b.gain is not None
        assert c.gain is not None
        np.testing.assert_array_equal(a.gain, b.gain)
        np.testing.assert_allclose(a.gain, c.gain, rtol=1e-5)


# Control surfaces


def draw_surface(rows: int = 4, cols: int = 3, seed: int = 0) -> ControlSurface:
    rng = np.random.default_rng(seed)
    return ControlSurface(
        scene="a",
        grid=ControlGrid(bounds=BOUNDS, rows=rows, cols=cols),
        gain=rng.uniform(0.8, 1.2, (2, rows, cols)),
        offset=rng.normal(0, 10, (2, rows, cols)),
    )


def test_control_points_have_their_values_and_beyond_the_bounds_the_last_ones_hold() -> None:
    surface = draw_surface()
    assert surface.gain is not None
    assert surface.offset is not None
    x, y = np.meshgrid(surface.grid.x, surface.grid.y)
    values = np.full((2, x.size), 7.0)
    expected = (7.0 * surface.gain + surface.offset).reshape(2, -1)
    np.testing.assert_allclose(surface.apply_at(values, x.ravel(), y.ravel()), expected)
    far = surface.apply_at(values[:, :1], np.array([-1e6]), np.array([1e6]))
    np.testing.assert_allclose(far, expected[:, :1])


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-6), (np.float64, 1e-12)])
def test_windows_and_strips_of_any_cut_give_what_points_give(dtype: type[np.floating], tolerance: float) -> None:
    surface = draw_surface()
    grid = Grid(crs="", left=80.0, top=830.0, pixel_width=7.0, pixel_height=9.0, width=70, height=75)
    values = np.random.default_rng(3).uniform(100, 200, (2, *grid.shape))
    x = grid.left + (np.arange(grid.width) + 0.5) * grid.pixel_width
    y = grid.top - (np.arange(grid.height) + 0.5) * grid.pixel_height
    xs, ys = (axis.ravel() for axis in np.meshgrid(x, y))
    expected = surface.apply_at(values.reshape(2, -1), xs, ys).reshape(values.shape)
    whole = surface.on_window(grid, grid.window, dtype, grid.height)
    at_once = np.stack([whole.apply(values[band].astype(dtype), band, slice(0, grid.height)) for band in range(2)])
    np.testing.assert_allclose(at_once, expected, rtol=tolerance)
    for window in (Window(row=11, col=5, height=30, width=33), Window(row=70, col=69, height=5, width=1)):
        strips = surface.on_window(grid, window, dtype, 4)
        rows, cols = window.slices_in(grid.window)
        for band in range(2):
            cut = values[band, rows, cols].astype(dtype)
            for start in range(0, window.height, 4):
                part = slice(start, min(start + 4, window.height))
                strips.apply(cut[part], band, part)
            np.testing.assert_array_equal(cut, at_once[band, rows, cols])


def test_a_surface_of_ones_changes_nothing() -> None:
    surface = ControlSurface(scene="a", grid=ControlGrid(bounds=BOUNDS, rows=3, cols=3), gain=np.ones((1, 3, 3)), offset=None)
    values = np.random.default_rng(0).normal(0, 1e4, (1, 50))
    position = np.linspace(0, 900, 50)
    np.testing.assert_array_equal(surface.apply_at(values, position, position), values)


def test_factors_are_what_a_level_is_multiplied_by() -> None:
    surface = draw_surface()
    level = np.array([50.0, 0.0])
    factors = surface.compute_factors(level)
    x, y = (axis.ravel() for axis in np.meshgrid(surface.grid.x, surface.grid.y))
    corrected = surface.apply_at(np.full((2, x.size), 50.0), x, y).reshape(2, 4, 3)
    np.testing.assert_allclose(factors[0], corrected[0] / 50)
    assert np.isnan(factors[1]).all()


def test_two_corrections_compose_into_one() -> None:
    first, then = draw_surface(3, 5, 1), draw_surface(5, 5, 2)
    both = compose_surfaces(first, then)
    rng = np.random.default_rng(4)
    x, y = rng.uniform(100, 500, 400), rng.uniform(200, 800, 400)
    values = rng.uniform(500, 1000, (2, 400))
    expected = then.apply_at(first.apply_at(values, x, y), x, y)
    np.testing.assert_allclose(both.apply_at(values, x, y), expected, rtol=5e-4)


def test_fewer_than_two_control_points_a_side_are_refused() -> None:
    with pytest.raises(ValueError, match="2 x 2"):
        ControlGrid(bounds=BOUNDS, rows=1, cols=3)
