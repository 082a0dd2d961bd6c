"""What holds for whole mosaics, whatever the scenes are: pixels in, pixels out."""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
from effort import crossed, examples
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scenes import LEFT, TOP, write_scene
from shapely import box
from small_runs import Made, make, write_map

from processor.stages.matching.local_block_adjustment import compute_departure

F64 = NDArray[np.float64]
GLOBAL_ONLY = {"methods.matching_local_method": None}
METHODS = ("offset", "gamma", "linear")
NODATA = {"uint8": 7.0, "int8": -1.0, "uint16": 0.0, "int16": -5.0, "uint32": 9.0, "int32": 0.0, "float32": -9999.0}
SEEDS = st.integers(0, 2**32 - 1)


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A scene: its pixels in its dtype (bands, height, width), where they are valid, and where it lies, in pixels of 1."""

    values: NDArray[Any]
    valid: NDArray[np.bool_]
    col: int
    row: int


def draw_truth(rng: np.random.Generator, height: int, width: int, bands: int, low: float, high: float) -> F64:
    """Waves and noise between two values, different in every band."""
    x, y = np.meshgrid(np.arange(width) / 9, np.arange(height) / 7)
    waves = np.stack([np.sin(x + rng.uniform(0, 6)) * np.cos(y * rng.uniform(0.5, 1.5)) for _ in range(bands)])
    share = 0.5 + 0.35 * waves + 0.1 * rng.uniform(-1, 1, waves.shape)
    return np.asarray(low + (high - low) * share.clip(0, 1))


def to_dtype(values: F64, dtype: str, nodata: float) -> NDArray[Any]:
    """Round and cut, and keep the first band off nodata, so that every pixel is valid; other bands may hold it by chance."""
    if dtype.startswith("float"):
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    rounded = np.clip(np.rint(values), limits.min, limits.max)
    rounded[0][rounded[0] == nodata] += 1
    return rounded.astype(dtype)


def draw_scene(rng: np.random.Generator, truth: F64, dtype: str, *, row: int, col: int, size: int, holes: bool = True) -> Drawn:
    nodata = NODATA.get(dtype, -9999.0)
    values = to_dtype(truth[:, row : row + size, col : col + size].copy(), dtype, nodata)
    valid = np.ones(values.shape[1:], np.bool_)
    if holes:
        corner = rng.integers(2, size // 3, 2)
        valid[: corner[0], : corner[1]] = False
        valid[rng.integers(0, size, 9), rng.integers(0, size, 9)] = False
    values[:, ~valid] = nodata
    return Drawn(values=values, valid=valid, row=row, col=col)


@contextmanager
def written(scenes: Mapping[str, Drawn]) -> Iterator[dict[str, Path]]:
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for name, scene in scenes.items():
            nodata = NODATA.get(scene.values.dtype.name, -9999.0)
            path, left, top = Path(folder) / f"{name}.tif", LEFT + scene.col, TOP - scene.row
            paths[name] = write_scene(path, scene.values, left=left, top=top, nodata=nodata)
        yield paths


def run(scenes: Mapping[str, Drawn], flags: Mapping[str, Any] | None = None, order: Sequence[str] | None = None) -> Made:
    with written(scenes) as paths:
        return make([paths[name] for name in order or scenes], flags)


def find_union(scenes: Mapping[str, Drawn], made: Made) -> NDArray[np.bool_]:
    union = np.zeros(made.index.shape, np.bool_)
    for scene in scenes.values():
        union[place_of(scene, made)] |= scene.valid
    return union


def place_of(scene: Drawn, made: Made) -> tuple[slice, slice]:
    row, col = scene.row - round(TOP - made.plan.grid.top), scene.col - round(made.plan.grid.left - LEFT)
    return slice(row, row + scene.valid.shape[0]), slice(col, col + scene.valid.shape[1])


@st.composite
def scene_sets(draw: st.DrawFn, dtypes: Sequence[str] = ("uint16", "int16", "float32")) -> dict[str, Drawn]:
    """Three or four overlapping scenes of one truth, each with a gain and an offset of its own."""
    rng = np.random.default_rng(draw(SEEDS))
    dtype = draw(st.sampled_from(dtypes))
    low, high = (-800.0, 900.0) if dtype == "int16" else (300.0, 3000.0)
    truth = draw_truth(rng, 80, 80, 2, low, high)
    places = [(0, 0), (4, 31), (33, 7), (30, 32)][: draw(st.integers(3, 4))]
    scenes = {}
    for name, (row, col) in zip("abcd", places, strict=False):
        seen = truth * rng.uniform(0.8, 1.25) + rng.uniform(-100, 100)
        scenes[name] = draw_scene(rng, seen, dtype, row=row, col=col, size=46)
    return scenes


# Identity


@given(SEEDS, st.sampled_from(sorted(NODATA)), st.sampled_from(METHODS), st.integers(2, 4))
@examples(10)
def test_scenes_that_are_identical_are_their_mosaic(seed: int, dtype: str, method: str, count: int) -> None:
    """All stages on; a float may move by its rounding, an integer not at all."""
    rng = np.random.default_rng(seed)
    low, high = (-90.0, 120.0) if dtype.startswith(("int", "float")) else (10.0, 250.0)
    scene = draw_scene(rng, draw_truth(rng, 50, 50, 2, low, high), dtype, row=0, col=0, size=50)
    scenes = {f"s{i}": scene for i in range(count)}
    flags = {"local_block_adjustment.correction_method": method, "local_block_adjustment.number_of_blocks": 9}
    made = run(scenes, flags)
    assert all(scales == [1, 1] for scales in made.scales.values())
    assert all(offsets == [0, 0] for offsets in made.offsets.values())
    np.testing.assert_array_equal(made.valid, scene.valid)
    found, expected = made.mosaic[:, scene.valid].astype(float), scene.values[:, scene.valid].astype(float)
    hit = expected == made.plan.nodata  # one band alone at nodata is a value: it moves to the next one
    assert (np.abs(found - expected)[hit] == 1).all()
    np.testing.assert_allclose(found[~hit], expected[~hit], rtol=0, atol=3e-5 if dtype == "float32" else 0)


@given(SEEDS, st.sampled_from(["uint16", "int16", "float32"]))
@examples(4)
def test_scenes_cut_from_one_truth_are_left_as_they_are_by_the_global_stage(seed: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    truth = draw_truth(rng, 80, 80, 2, 300, 3000)
    scenes = {
        name: draw_scene(rng, truth, dtype, row=row, col=col, size=46)
        for name, (row, col) in zip("abcd", itertools.product((0, 34), (0, 34)), strict=True)
    }
    made = run(scenes, GLOBAL_ONLY)
    union = find_union(scenes, made)
    np.testing.assert_array_equal(made.valid, union)
    expected = to_dtype(truth, dtype, NODATA[dtype])[:, : union.shape[0], : union.shape[1]]
    np.testing.assert_array_equal(made.mosaic[:, union], expected[:, union])


# Order and names


@given(scene_sets(), st.randoms(use_true_random=False))
@examples(4)
def test_the_order_of_the_scenes_changes_no_byte(scenes: dict[str, Drawn], random: Any) -> None:
    order = list(scenes)
    random.shuffle(order)
    first, second = run(scenes), run(scenes, order=order)
    assert first.scales == second.scales
    assert first.offsets == second.offsets
    assert first.mosaic.tobytes() == second.mosaic.tobytes()
    assert first.index.tobytes() == second.index.tobytes()
    assert first.adjustments == second.adjustments


@given(scene_sets(), st.randoms(use_true_random=False))
@examples(4)
def test_scenes_that_change_their_names_keep_their_parameters(scenes: dict[str, Drawn], random: Any) -> None:
    names = list(scenes)
    random.shuffle(names)
    renamed = dict(zip(names, scenes.values(), strict=True))
    first, second = run(scenes), run(renamed)
    for old, new in zip(scenes, renamed, strict=True):
        np.testing.assert_allclose(first.scales[old], second.scales[new], rtol=1e-9)
        np.testing.assert_allclose(first.offsets[old], second.offsets[new], rtol=1e-7, atol=1e-6)
    np.testing.assert_array_equal(first.valid, second.valid)
    reference = first.block_adjustment.reference, second.block_adjustment.reference
    assert reference[0] is not None
    assert reference[1] is not None
    np.testing.assert_allclose(reference[0].values, reference[1].values, rtol=1e-9)


# Clipping


@given(scene_sets(), st.booleans(), st.tuples(*[st.floats(0, 80)] * 4))
@examples(4)
def test_clipping_makes_no_pixel_valid_and_loses_none(
    scenes: dict[str, Drawn], touched: bool, corners: tuple[float, float, float, float]
) -> None:
    """Cells give every pixel that some scene has; an area of interest only takes away."""
    made = run(scenes, {"mask_rasters.include_touched_pixels": touched})
    union = find_union(scenes, made)
    np.testing.assert_array_equal(made.valid, union)
    for position, scene in enumerate(scenes.values(), start=1):
        inside = np.zeros_like(union)
        inside[place_of(scene, made)] = scene.valid
        assert not ((made.index == position) & ~inside).any()
    x, y = sorted(corners[:2]), sorted(corners[2:])
    with tempfile.TemporaryDirectory() as folder:
        area = box(LEFT + x[0], TOP - y[1] - 1, LEFT + x[1] + 1, TOP - y[0])
        geopandas.GeoDataFrame(geometry=[area], crs=32633).to_file(f"{folder}/area.gpkg")
        flags = {"voronoi_center_seamline.aoi_path": f"{folder}/area.gpkg", "mask_rasters.include_touched_pixels": touched}
        cut = run(scenes, flags)
    assert not (cut.valid & ~union).any()
    assert cut.measures.union == cut.valid.sum()


# A gain and an offset of all scenes


@given(scene_sets(["float64"]), st.floats(0.05, 20), st.floats(-3000, 3000))
@examples(4)
def test_a_gain_and_an_offset_of_all_scenes_pass_through(scenes: dict[str, Drawn], gain: float, offset: float) -> None:
    flags: dict[str, Any] = {**GLOBAL_ONLY, "shared.calculation_dtype": "float64"}
    changed = {name: change(scene, gain, offset) for name, scene in scenes.items()}
    first, second = run(scenes, flags), run(changed, flags)
    for name in scenes:
        np.testing.assert_allclose(second.scales[name], first.scales[name], rtol=1e-7)
    np.testing.assert_array_equal(first.index, second.index)
    expected = gain * first.mosaic[:, first.valid] + offset
    np.testing.assert_allclose(second.mosaic[:, first.valid], expected, rtol=1e-7, atol=1e-4)


@given(scene_sets(["float64"]), st.floats(0.05, 20))
@examples(4)
def test_a_gain_of_all_scenes_passes_through_linear_correction(scenes: dict[str, Drawn], gain: float) -> None:
    flags: dict[str, Any] = {"local_block_adjustment.correction_method": "linear", "shared.calculation_dtype": "float64"}
    first, second = run(scenes, flags), run({name: change(scene, gain, 0) for name, scene in scenes.items()}, flags)
    np.testing.assert_allclose(second.mosaic[:, first.valid], gain * first.mosaic[:, first.valid], rtol=1e-6)


def change(scene: Drawn, gain: float, offset: float) -> Drawn:
    values = np.where(scene.valid, scene.values * gain + offset, scene.values)
    return Drawn(values=values, valid=scene.valid, row=scene.row, col=scene.col)


# Every correction on every dtype


RANGES = {
    "uint8": [(0.0, 40.0), (150.0, 255.0)],
    "int8": [(-128.0, -20.0), (-30.0, 40.0)],
    "uint16": [(0.0, 60.0), (60_000.0, 65_535.0)],
    "int16": [(-32_768.0, -20_000.0), (-60.0, 45.0)],
    "uint32": [(0.0, 100.0), (9.0, 4000.0)],
    "int32": [(-4000.0, 50.0), (0.0, 9.0)],
    "float32": [(-1.0, 1.0), (-300.0, -100.0)],
    "float64": [(0.0, 0.5), (-1e5, 1e5)],
}


def compute_expected(made: Made, scene: str, drawn: Drawn) -> F64:
    """The formulas, pixel by pixel in float64, before rounding; (bands, height, width)."""
    position = [s.name for s in made.plan.scenes].index(scene)
    correction, adjustment = made.solution.corrections[position], made.solution.adjustments[position]
    x, y = np.meshgrid(
        LEFT + drawn.col + np.arange(drawn.valid.shape[1]) + 0.5, TOP - drawn.row - np.arange(drawn.valid.shape[0]) - 0.5
    )
    power = 1 + compute_departure(correction, x.ravel(), y.ravel()).reshape(-1, *drawn.valid.shape)
    adjusted = adjustment.scale[:, None, None] * drawn.values + adjustment.offset[:, None, None]
    if correction.method == "linear":
        return np.asarray(adjusted * power)
    base = adjusted + correction.c
    with np.errstate(invalid="ignore", divide="ignore"):
        raised = correction.alpha * np.where(base > 0, base, 1.0) ** power
    if correction.method == "gamma":
        return np.where(base > 0, raised, adjusted)
    return np.where(base > 0, raised, 0.0) - correction.c


@crossed("dtype method push", list(RANGES), METHODS, ["none", "up", "down"])
def test_corrections_follow_their_formulas_are_cut_and_never_become_nodata(dtype: str, method: str, push: str) -> None:
    """Negative values, zeros and both ends of every dtype; a reference far above or below drives values out of the range."""
    for number, (low, high) in enumerate(RANGES[dtype]):
        rng = np.random.default_rng(number)
        truth = draw_truth(rng, 40, 66, 2, low, high)
        truth[:, ::7, ::5] = 0 if low <= 0 <= high else low
        middle = (low + high) / 2
        scenes = {
            "a": draw_scene(rng, truth, dtype, row=0, col=0, size=40),
            "b": draw_scene(rng, middle + 0.8 * (truth - middle), dtype, row=0, col=26, size=40),
        }
        flags: dict[str, Any] = {
            "local_block_adjustment.correction_method": method,
            "local_block_adjustment.number_of_blocks": 12,
            "local_block_adjustment.alpha": 1.0 if push == "none" else 1.05,
            "shared.calculation_dtype": "float64" if dtype == "float64" else "float32",
            "methods.seamline_method": None,  # the scene that comes later lies on top
            "methods.clip_method": None,
        }
        with tempfile.TemporaryDirectory() as folder:
            if push != "none":
                span = high - low
                level = high + 0.8 * span if push == "up" else low - 0.8 * span
                bounds = (LEFT, TOP - 40, LEFT + 66, TOP)
                path = write_map(Path(folder) / "reference.tif", np.full((2, 3, 5), level), bounds)
                flags["local_block_adjustment.load_block_maps"] = [str(path), None]
            made = run(scenes, flags)
        check_mosaic(made, scenes, dtype)


def check_mosaic(made: Made, scenes: Mapping[str, Drawn], dtype: str) -> None:
    np.testing.assert_array_equal(made.valid, find_union(scenes, made))
    assert made.mosaic.dtype == dtype
    assert made.plan.nodata == NODATA.get(dtype, -9999.0)
    assert (made.mosaic[:, ~made.valid] == made.plan.nodata).all()
    assert (made.mosaic[:, made.valid] != made.plan.nodata).all()
    for name, drawn in scenes.items():
        taken = made.take(name)
        place = place_of(drawn, made)
        expected = compute_expected(made, name, drawn)[:, taken[place]]
        found = made.mosaic[:, taken].astype(np.float64)
        assert np.isfinite(found).all()
        if dtype.startswith("float"):
            size = np.abs(expected) + abs(made.solution.corrections[0].c)
            assert (np.abs(found - expected) <= (1e-9 if dtype == "float64" else 1e-5) * size + 1e-6).all()
            continue
        limits = np.iinfo(dtype)
        cut = np.clip(np.rint(expected), limits.min, limits.max)
        off = np.abs(found - cut)
        assert (off[cut == made.plan.nodata] <= 1).all()
        assert (off <= 1 + 1e-6 * np.abs(cut)).all()
        exact = off[cut != made.plan.nodata] == 0
        assert exact.mean() > 0.99 if exact.size else True


@crossed("level method dtype", [0.01, 0.74, 1.26, 50.0], METHODS, ["float32", "float64"])
def test_powers_that_leave_the_range_of_floats_are_cut_too(dtype: str, level: float, method: str) -> None:
    """Reflectance about 1: the logarithm of a block's mean is nearly 0, so P is large; infinity would be no pixel."""
    rng = np.random.default_rng(5)
    scene = draw_scene(rng, draw_truth(rng, 40, 40, 2, 0.9, 1.1), dtype, row=0, col=0, size=40)
    with tempfile.TemporaryDirectory() as folder:
        path = write_map(Path(folder) / "reference.tif", np.full((2, 9, 9), level), (LEFT, TOP - 40, LEFT + 40, TOP))
        flags = {
            "local_block_adjustment.correction_method": method,
            "local_block_adjustment.load_block_maps": [str(path), None],
        }
        made = run({"a": scene}, flags)
    assert np.nanmax(np.abs(made.solution.corrections[0].parameter)) > (100 if method != "linear" else 0.001)
    np.testing.assert_array_equal(made.valid, scene.valid)
    assert np.isfinite(made.mosaic).all()


def test_what_is_not_finite_in_a_float_scene_is_no_pixel() -> None:
    """One band that is NaN makes a pixel invalid; infinity too."""
    rng = np.random.default_rng(4)
    scene = draw_scene(rng, draw_truth(rng, 40, 40, 2, -1, 1), "float32", row=0, col=0, size=40, holes=False)
    values, valid = scene.values.copy(), scene.valid.copy()
    values[0, 3, 4], values[1, 20, 7], values[1, 30, 30] = np.nan, math.inf, -math.inf
    valid[[3, 20, 30], [4, 7, 30]] = False
    made = run({"a": Drawn(values=values, valid=valid, row=0, col=0)})
    np.testing.assert_array_equal(made.valid, valid)
    assert np.isfinite(made.mosaic).all()
