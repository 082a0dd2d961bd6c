"""The Python function: its keywords and defaults are those that users know, and what cannot be is refused before any work."""

from __future__ import annotations

import inspect
import math
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import processor
from processor import api
from processor.api import pipeline
from processor.config import Config, flat_name, iter_parameters, load_config
from processor.errors import ConfigError, ExistsError, InputError, StorageError

#: SPEC.md's table, by flat names: every keyword that users of the well-known pipeline pass, and its default.
KNOWN: dict[str, Any] = {
    "shared_temp_dir": None,
    "delete_temp_dir": True,
    "shared_debug_logs": False,
    "shared_cache": "auto",
    "shared_disk_cache": "auto",
    "shared_custom_nodata_value": None,
    "shared_window_size": 1024,
    "shared_image_threads": "auto",
    "shared_io_threads": "auto",
    "shared_tile_threads": "auto",
    "shared_calculation_dtype": "float32",
    "shared_output_dtype": None,
    "shared_save_as_cog": False,
    "matching_global_method": "global_regression",
    "matching_local_method": "local_block_adjustment",
    "align_method": "align_rasters",
    "seamline_method": "voronoi_center_seamline",
    "clip_method": "mask_rasters",
    "merge_method": "merge_rasters",
    "global_regression_output_images": None,
    "global_regression_vector_mask": None,
    "global_regression_estimate_stats": True,
    "global_regression_specify_model_images": None,
    "global_regression_custom_mean_factor": 1.0,
    "global_regression_custom_std_factor": 1.0,
    "global_regression_save_adjustments": None,
    "global_regression_load_adjustments": None,
    "global_regression_build_overviews": False,
    "local_block_adjustment_output_images": None,
    "local_block_adjustment_vector_mask": None,
    "local_block_adjustment_build_overviews": False,
    "local_block_adjustment_number_of_blocks": 100,
    "local_block_adjustment_alpha": 1.0,
    "local_block_adjustment_correction_method": "offset",
    "local_block_adjustment_save_block_maps": None,
    "local_block_adjustment_load_block_maps": None,
    "local_block_adjustment_override_bounds_canvas_coords": None,
    "align_rasters_output_images": None,
    "align_rasters_resampling_method": "bilinear",
    "align_rasters_tap": True,
    "align_rasters_coregister": False,
    "align_rasters_resolution": "highest",
    "voronoi_center_seamline_output_mask": None,
    "voronoi_center_seamline_aoi_path": None,
    "voronoi_center_seamline_vector_mask": None,
    "voronoi_center_seamline_image_field_name": "image",
    "voronoi_center_seamline_min_point_spacing": 10,
    "voronoi_center_seamline_min_cut_length": 0,
    "voronoi_center_seamline_debug_vectors_path": None,
    "mask_rasters_output_images": None,
    "mask_rasters_vector_mask": None,
    "mask_rasters_include_touched_pixels": False,
    "merge_rasters_resolution": "highest",
    "merge_rasters_build_overviews": True,
}
#: What this project has beyond that.
BEYOND = {"check", "geomedian", "least_difference_seamline", "median", "reference", "robust_regression", "surface_adjustment"}
OWN = {
    "shared_memory": "auto",
    "inputs_asset": None,
    "inputs_assets": None,
    "inputs_bands": None,
    "inputs_mask": None,
    "inputs_nodata": None,
    "inputs_skip_unreadable": None,
    "inputs_validity": None,
    "inputs_sign": None,
    "inputs_allow_local_files": False,
    "inputs_allow_private_networks": False,
    "inputs_alternate": None,
    "inputs_max_scenes": 20_000,
    "inputs_max_bytes": 134_217_728,
    "inputs_max_seconds": 1800.0,
    "align_rasters_crs": None,
    "output_artifacts": "standard",
    "output_compression": "deflate",
    "output_level": None,
    "output_predictor": True,
    "output_hrefs": "relative",
    "output_public_url": None,
    "output_tiles_url": None,
    "output_license": None,
    "output_providers": None,
    "output_inputs_geoparquet": False,
    "output_max_pixels": 1_000_000_000_000,
    "output_catalog": False,
    "preset": None,
    "voronoi_center_seamline_rank": None,
    "merge_rasters_blend": 0.0,
    # How storage and clusters are reached is the program's own business, and so are methods that spectralmatch does not have.
    **{flat_name(p): p.field.default for p in iter_parameters() if p.section in {"io", "kubernetes", *BEYOND}},
}


class _CalledError(Exception):
    """The run was begun."""


@pytest.fixture(autouse=True)
def config(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """Configurations that runs were begun with; none goes on from there."""
    begun: list[Config] = []

    def prepare(request: object, config: Config) -> None:
        del request
        begun.append(config)
        raise _CalledError

    monkeypatch.setattr(api, "prepare", prepare)
    return begun


def refuse(**keywords: Any) -> str:
    """Call the function, be refused before the run begins, and give the reason."""
    with pytest.raises(ConfigError) as caught:
        pipeline("scenes", "mosaic.tif", **keywords)
    return str(caught.value)


def accept(config: list[Config], **keywords: Any) -> Config:
    """The configuration that the run is begun with."""
    with pytest.raises(_CalledError):
        pipeline("scenes", "mosaic.tif", **keywords)
    return config[-1]


# The signature


def test_the_keywords_and_their_defaults_are_those_that_users_know() -> None:
    parameters = inspect.signature(pipeline).parameters
    keywords = {name: parameter.default for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY}
    assert keywords == {**KNOWN, **OWN}
    assert {name: type(keywords[name]) for name in KNOWN if isinstance(KNOWN[name], bool)} == {
        name: bool for name in KNOWN if isinstance(KNOWN[name], bool)
    }


def test_input_and_output_come_first_and_have_no_default() -> None:
    first, second, *_ = inspect.signature(pipeline).parameters.values()
    assert (first.name, second.name) == ("shared_input_images", "shared_output_image_path")
    assert first.default is second.default is inspect.Parameter.empty
    assert first.kind is second.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD


def test_the_package_has_the_function_and_nothing_else() -> None:
    assert processor.pipeline is pipeline
    with pytest.raises(AttributeError, match="no attribute 'pipelines'"):
        _ = processor.pipelines


def test_every_default_given_on_purpose_is_accepted(config: list[Config]) -> None:
    """Scripts pass them all; they are the configuration of somebody who passes none."""
    assert accept(config) == load_config(environment={})
    assert accept(config, **KNOWN, **OWN) == load_config(flags={"align_rasters.tap": True}, environment={})
    for value in (True, False):
        assert accept(config, shared_save_as_cog=value).shared.save_as_cog is value


def test_nothing_is_read_from_the_environment(config: list[Config], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOSAIC_LOCAL_BLOCK_ADJUSTMENT__ALPHA", "0.5")
    assert accept(config).local_block_adjustment.alpha == 1.0


# Values


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("shared_temp_dir", Path("/scratch"), "/scratch"),
        ("global_regression_output_images", [Path("a.tif"), "b.tif"], ("a.tif", "b.tif")),
        ("global_regression_vector_mask", ("include", Path("land.gpkg")), ("include", "land.gpkg")),
        ("global_regression_specify_model_images", ("exclude", ("a", "b")), ("exclude", ("a", "b"))),
        ("local_block_adjustment_number_of_blocks", (20, 30), (20, 30)),
        ("local_block_adjustment_number_of_blocks", np.array([20, 30]), (20, 30)),
        ("local_block_adjustment_number_of_blocks", np.int64(25), 25),
        ("local_block_adjustment_alpha", np.float32(0.5), 0.5),
        ("local_block_adjustment_load_block_maps", (None, [Path("x_a.tif")]), (None, ("x_a.tif",))),
        ("local_block_adjustment_override_bounds_canvas_coords", (0, 0, 10, 20), (0.0, 0.0, 10.0, 20.0)),
        ("align_method", None, None),
    ],
)
def test_values_come_as_python_has_them(config: list[Config], keyword: str, value: Any, expected: Any) -> None:
    section, name = next((p.section, p.name) for p in iter_parameters() if flat_name(p) == keyword)
    assert getattr(getattr(accept(config, **{keyword: value}), section), name) == expected


@pytest.mark.parametrize(
    ("keyword", "value", "allowed"),
    [
        ("shared_window_size", 100, "multiple of 16"),
        ("shared_window_size", "big", "valid integer"),
        ("shared_cache", -1, "greater than 0"),
        ("shared_tile_threads", "all", "'cpu' or 'auto'"),
        ("shared_calculation_dtype", "float16", "'float32' or 'float64'"),
        ("shared_save_as_cog", "perhaps", "valid boolean"),
        ("delete_temp_dir", 3, "valid boolean"),
        ("align_method", "other", "'align_rasters'"),
        ("global_regression_vector_mask", ("outside", "a.gpkg"), "'include' or 'exclude'"),
        ("global_regression_vector_mask", "a.gpkg", "valid tuple"),
        ("global_regression_custom_mean_factor", math.nan, "finite"),
        ("local_block_adjustment_number_of_blocks", (3, 0), "greater than or equal to 1"),
        ("local_block_adjustment_alpha", None, "valid number"),
        ("local_block_adjustment_alpha", True, "true and false are no value"),
        ("local_block_adjustment_override_bounds_canvas_coords", (10, 0, 0, 5), "left < right"),
        ("voronoi_center_seamline_min_point_spacing", 0, "greater than 0"),
        ("merge_rasters_resolution", "middle", "'highest', 'average' or 'lowest'"),
    ],
)
def test_refusals_name_the_keyword_the_value_and_what_is_allowed(
    keyword: str, value: Any, allowed: str, config: list[Config]
) -> None:
    message = refuse(**{keyword: value})
    shown = list(value) if isinstance(value, tuple) else value
    assert message.startswith(f"{keyword} = {shown!r}: ")
    assert allowed in message
    assert config == []


@pytest.mark.parametrize(
    ("keyword", "meant"),
    [
        ("shared_window_sise", "shared_window_size"),
        ("local_block_adjustment_alpa", "local_block_adjustment_alpha"),
        ("methods_align_method", "align_method"),
    ],
)
def test_unknown_keywords_are_refused_with_the_one_that_was_meant(keyword: str, meant: str, config: list[Config]) -> None:
    assert refuse(**{keyword: 512}) == f"pipeline() has no keyword {keyword} (did you mean {meant}?)"
    assert config == []


def test_all_that_is_wrong_is_told_at_once() -> None:
    message = refuse(shared_window_size=8, align_rasters_tap="perhaps")
    assert "shared_window_size = 8: " in message
    assert "align_rasters_tap = 'perhaps': " in message


# Input and output


@pytest.mark.parametrize("place", ["mosaic", "mosaic.jpg", "folder/", "", None, 3, "s3://bucket/mosaic"])
def test_an_output_that_is_no_geotiff_is_refused(place: Any, config: list[Config]) -> None:
    with pytest.raises(ConfigError, match=r"shared_output_image_path = .* must end in \.tif"):
        pipeline("scenes", place)
    assert config == []


@pytest.mark.parametrize("images", [None, 3, [], (), [3], ["a.tif", None], {"a": math}, {1, 2}, b"a.tif"])
def test_an_input_that_is_none_is_refused(images: Any, config: list[Config]) -> None:
    with pytest.raises(ConfigError, match=r"shared_input_images = .*ItemCollection"):
        pipeline(images, "mosaic.tif")
    assert config == []


@pytest.mark.parametrize(
    ("place", "folder", "item_id"),
    [
        ("m.tif", ".", "m"),
        ("/m.TIF", "/", "m"),
        ("out/year 2024/My Mosaic.tiff", "out/year 2024", "My_Mosaic"),
        ("s3://bucket/a/m.v2.tif", "s3://bucket/a", "m.v2"),
        ("_.tif", ".", "mosaic"),
        (Path("/data/x.tif"), "/data", "x"),
    ],
)
def test_the_item_goes_beside_the_mosaic_under_its_name(place: str | Path, folder: str, item_id: str) -> None:
    assert api._split_output(place) == (str(place), folder, item_id)


def test_an_item_collection_of_a_library_is_taken() -> None:
    document = {"type": "FeatureCollection", "features": []}
    arguments, stream = api._find_inputs(types.SimpleNamespace(to_dict=lambda: document))
    assert arguments == ("-",)
    assert stream == b'{"type": "FeatureCollection", "features": []}'


# Errors of the run


@pytest.mark.parametrize("kind", [ConfigError, InputError, ExistsError])
def test_errors_of_the_run_name_keywords_too(kind: type[Exception]) -> None:
    given = "methods.clip_method = 'x': give mask_rasters.vector_mask; see --shared.temp_dir, not a.shared.cache"
    with pytest.raises(kind) as caught, api._naming_keywords():
        raise kind(given)
    message = "clip_method = 'x': give mask_rasters_vector_mask; see shared_temp_dir, not a.shared.cache"
    assert (str(caught.value), type(caught.value)) == (message, kind)


def test_errors_that_name_no_parameter_are_left_alone() -> None:
    for error in (InputError("scene a: broken"), StorageError("shared.cache"), ValueError("shared.cache")):
        with pytest.raises(type(error)) as caught, api._naming_keywords():
            raise error
        assert caught.value is error


def test_every_name_is_translated_as_a_whole() -> None:
    for parameter in iter_parameters():
        given = f"{parameter.path} and --{parameter.path} 1 and {parameter.path}_x"
        with pytest.raises(ConfigError) as caught, api._naming_keywords():
            raise ConfigError(given)
        flat = flat_name(parameter)
        assert str(caught.value) == f"{flat} and {flat} 1 and {parameter.path}_x"
