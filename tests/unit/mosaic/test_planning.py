"""The plan: order, grids, pairs, chunks, tasks, digest; decided from descriptions alone."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS
from records import make_scene

from processor.config import Parameter, iter_parameters, load_config
from processor.config.document import find_example
from processor.errors import ConfigError, InputError
from processor.geotiff.open import level_grid
from processor.model import Bounds, Provenance, Scene, Window
from processor.model.z_order import iter_z_order
from processor.mosaic.digest import compute_digest
from processor.mosaic.plan import BLOCK_EDGE, Plan
from processor.mosaic.planning import plan_run
from processor.stages import STAGES


def plan(scenes: list[Scene], **flags: Any) -> Plan:
    return plan_run(scenes, load_config(flags={k.replace("__", "."): v for k, v in flags.items()}, environment={}))


ROW = [make_scene(f"s{i}", left=80.0 * i, priority=i) for i in range(4)]


def test_scenes_are_in_name_order_whatever_the_order_of_the_input() -> None:
    expected = plan(ROW)
    for order in itertools.permutations(ROW):
        found = plan(list(order))
        assert [scene.name for scene in found.scenes] == ["s0", "s1", "s2", "s3"]
        for part in dataclasses.fields(Plan):
            if part.name not in ("config", "methods"):
                assert getattr(found, part.name) == getattr(expected, part.name), part.name


def test_pairs_are_scenes_whose_bounds_share_an_area() -> None:
    assert plan(ROW).pairs == ((0, 1), (1, 2), (2, 3))


def test_scenes_that_only_touch_are_no_pair_and_both_are_reported() -> None:
    touching = plan([make_scene("a"), make_scene("b", left=100.0), make_scene("c", left=100.0, top=0.0)])
    assert touching.pairs == ()
    assert [(finding.code, finding.severity, finding.scene) for finding in touching.findings] == [
        ("no-overlap", "warning", "a"),
        ("no-overlap", "warning", "b"),
        ("no-overlap", "warning", "c"),
    ]


def test_a_single_scene_is_said_to_be_the_only_one() -> None:
    assert [finding.code for finding in plan([make_scene("a")]).findings] == ["single-scene"]


@given(
    boxes=st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=12
    )
)
def test_pairs_equal_those_of_a_comparison_of_all_with_all(boxes: list[tuple[int, int, int, int]]) -> None:
    scenes = [make_scene(f"s{i:02d}", left=float(x), top=float(y), width=w, height=h) for i, (x, y, w, h) in enumerate(boxes)]
    expected = tuple(
        (i, j)
        for (i, (x, y, w, h)), (j, (u, v, k, m)) in itertools.combinations(enumerate(boxes), 2)
        if max(x, u) < min(x + w, u + k) and max(y - h, v - m) < min(y, v)
    )
    assert plan(scenes).pairs == expected


coordinates = st.floats(-5e3, 5e3, allow_nan=False).map(lambda value: round(value, 3))
sizes = st.sampled_from([1.0, 0.3, 0.5, 2.5, 10.0, 30.0])


@st.composite
def draw_grids(draw: st.DrawFn) -> list[Scene]:
    return [
        make_scene(
            f"s{i}",
            left=draw(coordinates),
            top=draw(coordinates),
            pixel_width=draw(sizes),
            pixel_height=draw(sizes),
            width=draw(st.integers(1, 400)),
            height=draw(st.integers(1, 400)),
        )
        for i in range(draw(st.integers(1, 4)))
    ]


@given(scenes=draw_grids())
def test_chunks_hold_every_pixel_of_every_scene_once(scenes: list[Scene]) -> None:
    made = plan(scenes)
    seen = [np.zeros(scene.grid.shape, np.int8) for scene in made.scenes]
    for number, chunk in enumerate(made.chunks):
        assert chunk.number == number
        assert chunk.scenes == tuple(sorted(chunk.scenes))
        for position, scene in enumerate(made.scenes):
            window = scene.grid.window_of_centres(chunk.bounds)
            if not window.is_empty:
                assert position in chunk.scenes
                seen[position][window.slices_in(scene.grid.window)] += 1
    assert all((count == 1).all() for count in seen)


@given(scenes=draw_grids())
def test_a_chunk_that_has_a_common_pixel_of_a_pair_has_both_scenes(scenes: list[Scene]) -> None:
    made = plan(scenes)
    for chunk, (i, j) in itertools.product(made.chunks, made.pairs):
        grid, other = made.scenes[i].grid, made.scenes[j].grid
        shared = grid.window_of_centres(chunk.bounds).intersection(grid.window_of_centres(other.bounds))
        if shared is not None:
            assert {i, j} <= set(chunk.scenes)


def test_chunks_are_taken_along_a_z_order_curve_and_only_where_scenes_are() -> None:
    far = plan([make_scene("a"), make_scene("b", left=4096.0, top=-4000.0)])
    assert [chunk.scenes for chunk in far.chunks] == [(0,), (1,)]
    large = plan([make_scene("a", width=2048, height=2048, top=2048.0)])
    corners = [(chunk.bounds.left, chunk.bounds.top) for chunk in large.chunks]
    assert corners == [(0, 2048), (1024, 2048), (0, 1024), (1024, 1024)]


def test_chunks_do_not_depend_on_threads_memory_or_windows() -> None:
    scenes = [make_scene("a", width=3000, height=3000, top=3000.0)]
    assert plan(scenes).chunks == plan(scenes, shared__window_size=512, shared__tile_threads=1, shared__cache=None).chunks


@given(height=st.integers(1, 5000), width=st.integers(1, 5000), edge=st.sampled_from([256, 512, 1024]))
def test_z_order_windows_tile_a_raster(height: int, width: int, edge: int) -> None:
    seen = np.zeros((-(-height // edge), -(-width // edge)), np.int8)
    codes = []
    for window in iter_z_order(height, width, edge):
        row, col = window.row // edge, window.col // edge
        assert window == Window(
            row=row * edge, col=col * edge, height=min(edge, height - row * edge), width=min(edge, width - col * edge)
        )
        seen[row, col] += 1
        codes.append(sum((row >> bit & 1) << 2 * bit + 1 | (col >> bit & 1) << 2 * bit for bit in range(16)))
    assert (seen == 1).all()
    assert codes == sorted(codes)


@pytest.mark.parametrize(
    ("window_size", "edge"), [(16, 512), (512, 512), (1008, 512), (1024, 1024), (1536, 1024), (2048, 2048), (16384, 16384)]
)
def test_windows_are_whole_blocks_a_power_of_two_and_no_larger_than_asked_for(window_size: int, edge: int) -> None:
    found = plan(ROW, shared__window_size=window_size).window_edge
    assert found == edge
    assert found % BLOCK_EDGE == 0


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        (["uint8", "uint8"], "uint8"),
        (["uint8", "uint16"], "uint16"),
        (["uint16", "int16"], "int32"),
        (["uint16", "float32"], "float32"),
        (["int32", "float32"], "float64"),
    ],
)
def test_the_mosaic_has_the_least_type_that_holds_all_scenes(dtypes: list[str], expected: str) -> None:
    scenes = [make_scene(f"s{i}", dtype=dtype) for i, dtype in enumerate(dtypes)]
    assert plan(scenes).dtype == expected
    assert plan(scenes, shared__output_dtype="int16").dtype == "int16"


@pytest.mark.parametrize(
    ("declared", "custom", "dtype", "expected"),
    [
        (0.0, None, None, 0.0),
        (255.0, 7.0, None, 7.0),
        (None, None, None, 0.0),
        (-9999.0, None, "uint8", 0.0),
        (-9999.0, None, "int16", -9999.0),
        (None, None, "int16", -32768.0),
        (65535.0, None, "float32", 65535.0),
    ],
)
def test_nodata_is_the_inputs_unless_given_or_not_in_the_type(
    declared: float | None, custom: float | None, dtype: str | None, expected: float
) -> None:
    scenes = [make_scene("a", nodata=None), make_scene("b", nodata=declared)]
    assert plan(scenes, shared__custom_nodata_value=custom, shared__output_dtype=dtype).nodata == expected


def test_nodata_of_floats_is_nan_where_none_is_declared() -> None:
    assert np.isnan(plan([make_scene("a", nodata=None, dtype="float32")]).nodata)


@pytest.mark.parametrize(
    ("width", "blocks", "expected"),
    [
        (900, 100, None),  # below 1000 pixels already
        (1997, 100, None),  # 1:2 would leave 999
        (1999, 100, 0),  # sizes of overviews are rounded up
        (8000, 100, 2),  # 1:8 leaves 1000
        (7990, 100, 1),  # 1:8 would leave 999
        (8000, (1000, 1000), None),  # blocks of 8 pixels at full resolution
        (8000, (500, 500), 0),  # blocks of 16 pixels
    ],
)
def test_estimates_use_the_coarsest_overview_with_enough_pixels(width: int, blocks: Any, expected: int | None) -> None:
    scene = make_scene("a", width=width, height=width, top=float(width), overviews=(2, 4, 8, 16))
    found = plan([scene], local_block_adjustment__number_of_blocks=blocks)
    assert found.levels == (expected,)
    assert found.measure_grid(0) == level_grid(scene, expected)


def test_exact_statistics_are_taken_at_full_resolution() -> None:
    scene = make_scene("a", width=8000, height=8000, overviews=(2, 4, 8))
    assert plan([scene], global_regression__estimate_stats=False).levels == (None,)
    assert plan([make_scene("b", width=8000, height=8000)]).levels == (None,)


def test_blocks_do_not_limit_the_overview_where_the_local_stage_is_off() -> None:
    scene = make_scene("a", width=8000, height=8000, overviews=(2, 4, 8))
    options = {"local_block_adjustment__number_of_blocks": (1000, 1000)}
    assert plan([scene], methods__matching_local_method=None, **options).levels == (2,)


def test_the_block_grid_waits_for_statistics_only_where_it_hangs_on_them() -> None:
    assert plan(ROW).blocks is not None
    assert plan(ROW, local_block_adjustment__number_of_blocks="coefficient_of_variation").blocks is None
    assert plan(ROW, methods__matching_local_method=None).blocks is None


def test_the_mosaic_snaps_to_whole_pixels_and_covers_every_scene() -> None:
    scenes = [make_scene("a", left=0.4, top=100.3), make_scene("b", left=50.0, pixel_width=0.5, pixel_height=0.25)]
    grid = plan(scenes).grid
    assert (grid.pixel_width, grid.pixel_height) == (0.5, 0.25)
    assert (grid.left % 0.5, grid.top % 0.25) == (0, 0)
    assert grid.bounds == Bounds(left=0.0, bottom=0.25, right=100.5, top=100.5)


def test_without_alignment_the_mosaic_starts_at_the_scenes_corner() -> None:
    scenes = [make_scene("a", left=0.4, top=100.3)]
    grid = plan(scenes, methods__align_method=None).grid
    assert (grid.left, grid.top, grid.shape) == (0.4, 100.3, (100, 100))


@pytest.mark.parametrize(("resolution", "expected"), [("highest", 1.0), ("average", 2.0), ("lowest", 3.0)])
def test_resolution_is_that_of_the_stage_that_is_on(resolution: str, expected: float) -> None:
    scenes = [make_scene("a"), make_scene("b", pixel_width=3.0, pixel_height=3.0)]
    assert plan(scenes, align_rasters__resolution=resolution).grid.pixel_width == expected
    off = plan(scenes, methods__align_method=None, merge_rasters__resolution=resolution)
    assert off.grid.pixel_width == expected


def test_scenes_in_another_crs_are_refused_by_name() -> None:
    other = CRS.from_epsg(32634).to_wkt(version="WKT2_2019")
    with pytest.raises(InputError, match="scene b is in EPSG:32634 and scene a in EPSG:32633; warp the scenes to one CRS"):
        plan([make_scene("a"), make_scene("b", crs=other)])


def test_the_same_crs_in_other_words_is_one_crs() -> None:
    assert plan([make_scene("a"), make_scene("b", crs=CRS.from_epsg(32633).to_wkt())]).pairs == ((0, 1),)


def test_scenes_with_other_bands_are_refused_by_name() -> None:
    remedy = r"choose bands that both have, --inputs\.bands red"
    with pytest.raises(InputError, match=f"scene b has 2 bands and scene a has 1; {remedy}"):
        plan([make_scene("a"), make_scene("b", bands=("red", "nir"))])


def test_clipping_needs_something_to_cut_by() -> None:
    with pytest.raises(ConfigError, match=r"methods\.clip_method = 'mask_rasters' has nothing to cut by"):
        plan(ROW, methods__seamline_method=None)


def test_a_run_without_any_stage_is_refused() -> None:
    stages = ("matching_global", "matching_local", "align", "seamline", "clip", "merge")
    with pytest.raises(ConfigError, match="every stage is off"):
        plan(ROW, **{f"methods__{stage}_method": None for stage in stages})


def test_a_scene_far_away_makes_no_mosaic_of_astronomic_size() -> None:
    with pytest.raises(InputError, match=r"scene s9 lies farthest from the others, at \(90000000.0, .*check where it lies"):
        plan([*ROW, make_scene("s9", left=9e7, top=9e7)])


def test_a_scene_that_declares_astronomic_sizes_is_refused() -> None:
    with pytest.raises(InputError, match="scene a"):
        plan([make_scene("a", width=2**31 - 1, height=2**31 - 1)])
    coarse = {"align_rasters__resolution": "lowest"}
    with pytest.raises(InputError, match="the scenes span 100000000000 x 100000000000 pixels"):
        plan(
            [make_scene("a"), make_scene("b", pixel_width=1e-9, pixel_height=1e-9, width=2**31 - 1, height=2**31 - 1)], **coarse
        )


def digest(scenes: list[Scene], **flags: Any) -> str:
    config = load_config(flags={k.replace("__", "."): v for k, v in flags.items()}, environment={})
    return compute_digest(scenes, config, "1.0")


def test_the_digest_follows_from_inputs_configuration_and_version() -> None:
    first = digest(ROW)
    assert len(first) == 64
    assert digest(list(ROW)) == first
    assert compute_digest(ROW, load_config(environment={}), "1.1") != first
    assert digest(ROW[:3]) != first
    assert digest([*ROW[:3], make_scene("s3", left=240.0, priority=3, size=1001)]) != first
    assert digest([*ROW[:3], make_scene("s3", left=240.0, priority=3, href="/other/s3.tif")]) != first
    assert digest([*ROW[:3], make_scene("s3", left=240.0, priority=3, band_indexes=(2, 3))]) != first
    assert digest(ROW, local_block_adjustment__alpha=0.9) != first


def tell(scene: Scene, **properties: Any) -> Scene:
    return dataclasses.replace(scene, provenance=Provenance(properties=properties))


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("cloud", {"voronoi_center_seamline__rank": "cloud"}),
        ("cloud", {"methods__seamline_method": "least_difference_seamline", "least_difference_seamline__rank": "2 - cloud"}),
        ("platform", {"methods__matching_local_method": "surface_adjustment"}),
    ],
)
def test_the_digest_follows_from_those_properties_that_decide_pixels(name: str, flags: dict[str, Any]) -> None:
    first, rest = ROW[0], ROW[1:]
    before = digest([tell(first, **{name: 1}), *rest], **flags)
    assert digest([tell(first, **{name: 2}), *rest], **flags) != before
    assert digest([tell(first, **{name: 1}, title="other"), *rest], **flags) == before
    assert digest([tell(first, **{name: 1}), *rest]) == digest(ROW), "nothing reads it"


@pytest.mark.parametrize("parameter", list(iter_parameters()), ids=lambda parameter: parameter.path)
def test_the_digest_follows_from_what_decides_the_result_and_from_nothing_else(parameter: Parameter) -> None:
    chosen = {f"methods__{s.switch}": parameter.section for s in STAGES if parameter.section in s.methods}
    changed = digest(ROW, **chosen, **{parameter.path.replace(".", "__"): find_example(parameter)})
    sets_others = parameter.path == "methods.preset"
    assert (changed != digest(ROW, **chosen)) == (parameter.is_decisive or sets_others)


def test_options_of_a_method_that_is_not_chosen_decide_nothing() -> None:
    assert digest(ROW, surface_adjustment__control_points=9) == digest(ROW)
    off = {"methods__matching_global_method": None}
    assert digest(ROW, **off, global_regression__estimate_stats=False) != digest(ROW, **off)


def test_a_preset_decides_by_what_it_sets() -> None:
    methods = {"matching_global_method": "robust_regression", "matching_local_method": "surface_adjustment"}
    spelt = {f"methods__{switch}": name for switch, name in methods.items()}
    assert digest(ROW, methods__preset="satellite") == digest(ROW, **spelt) != digest(ROW)
    assert digest(ROW, methods__preset="spectralmatch") == digest(ROW, align_rasters__tap=True) != digest(ROW)


def test_the_order_of_the_input_counts_only_where_scenes_still_overlap() -> None:
    turned = [dataclasses.replace(scene, priority=3 - scene.priority) for scene in ROW]
    assert digest(turned) == digest(ROW)
    for options in ({"methods__clip_method": None}, {"mask_rasters__include_touched_pixels": True}):
        assert digest(turned, **options) != digest(ROW, **options)
