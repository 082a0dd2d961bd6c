"""The configuration: who wins, what is refused and in which words, and what is written back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, get_args

import pytest
import yaml
from pydantic import ValidationError

from processor.config import (
    Config,
    apply_options,
    decisive_settings,
    flat_name,
    iter_parameters,
    list_sections,
    load_config,
    parse_document,
    parse_value,
    render_yaml,
)
from processor.config.document import find_example, render_sample
from processor.errors import ConfigError
from processor.stages import STAGES

NOTHING: Mapping[str, str] = {}
PARAMETERS = tuple(iter_parameters())


def load(flags: Mapping[str, Any] | None = None, document: Any = None, environment: Mapping[str, str] = NOTHING) -> Config:
    return load_config(flags=flags, document=document, environment=environment)


def read(config: Config, path: str) -> Any:
    section, _, name = path.partition(".")
    return getattr(getattr(config, section), name)


def complain(flags: Mapping[str, Any] | None = None, document: Any = None, environment: Mapping[str, str] = NOTHING) -> str:
    with pytest.raises(ConfigError) as caught:
        load(flags, document, environment)
    return str(caught.value)


# The surface


def test_every_parameter_is_described_and_its_example_is_accepted_and_changes_it() -> None:
    for parameter in PARAMETERS:
        assert (parameter.field.description or "?")[-1] in ".:)", parameter.path
        assert load({parameter.path: find_example(parameter)}) != Config(), parameter.path


def test_parameters_come_in_the_order_of_the_model_without_repetition() -> None:
    paths = [parameter.path for parameter in PARAMETERS]
    assert len(set(paths)) == len(paths)
    sections = list(dict.fromkeys(parameter.section for parameter in PARAMETERS))
    assert sections == list(list_sections())


def test_units_are_told() -> None:
    units = {parameter.path: parameter.unit for parameter in PARAMETERS}
    assert units["shared.cache"] == "GB"
    assert units["voronoi_center_seamline.min_point_spacing"] == "CRS units"
    assert units["align_rasters.tap"] is None


def test_building_a_config_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOSAIC_SHARED__WINDOW_SIZE", "2048")
    assert Config().shared.window_size == 1024
    assert load_config().shared.window_size == 2048
    assert load().shared.window_size == 1024


# Who wins


@pytest.mark.parametrize("path", ["shared.window_size", "shared.tile_threads", "inputs.max_scenes"])
def test_flags_win_over_environment_over_document_over_defaults(path: str) -> None:
    section, name = path.split(".")
    document, variable = {section: {name: 32}}, {f"MOSAIC_{section.upper()}__{name.upper()}": "64"}
    assert read(load(document=document), path) == 32
    assert read(load(document=document, environment=variable), path) == 64
    assert read(load({path: 128}, document, variable), path) == 128
    assert read(load({path: 128}), path) == 128
    assert read(load(environment=variable), path) == 64


def test_sources_are_joined_parameter_by_parameter() -> None:
    config = load(
        {"shared.window_size": 512},
        {"shared": {"tile_threads": 3, "window_size": 16}, "align_rasters": {"tap": False}},
        {"MOSAIC_SHARED__CACHE": "0.5"},
    )
    assert (config.shared.window_size, config.shared.tile_threads, config.shared.cache) == (512, 3, 0.5)
    assert config.align_rasters.tap is False
    assert config.merge_rasters == Config().merge_rasters


@pytest.mark.parametrize(
    "given",
    [
        {"flags": {"methods.align_method": None}},
        {"document": {"methods": {"align_method": None}}},
        {"environment": {"MOSAIC_METHODS__ALIGN_METHOD": "null"}},
    ],
)
def test_null_switches_a_stage_off_from_every_source(given: dict[str, Any]) -> None:
    assert load(**given).methods.align_method is None


def test_a_null_flag_wins_over_a_value_in_the_document() -> None:
    assert load({"shared.cache": None}, {"shared": {"cache": 2}}).shared.cache is None


def test_what_is_passed_is_not_changed() -> None:
    flags, document = {"shared.window_size": 512}, {"shared": {"window_size": 16}}
    load(flags, document)
    assert document == {"shared": {"window_size": 16}}
    assert flags == {"shared.window_size": 512}


def test_variables_of_others_are_let_be() -> None:
    others = {
        "MOSAIC_PORT": "tcp://10.0.0.1:80",
        "MOSAIC_SERVICE_HOST": "10.0.0.1",
        "PATH": "/bin",
        "XMOSAIC_SHARED__CACHE": "x",
    }
    assert load(environment=others) == Config()


# Frozen


@pytest.mark.parametrize("section", list_sections())
def test_a_config_cannot_be_changed(section: str) -> None:
    name = next(parameter.name for parameter in PARAMETERS if parameter.section == section)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(getattr(load(), section), name, None)


def test_a_section_cannot_be_replaced() -> None:
    config, name = load(), "shared"
    with pytest.raises(ValidationError, match="frozen"):
        setattr(config, name, config.shared)


# Values


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("shared.cache", "auto", "auto"),
        ("shared.cache", 2, 2.0),
        ("shared.custom_nodata_value", -9999, -9999.0),
        ("shared.tile_threads", "cpu", "cpu"),
        ("shared.tile_threads", None, None),
        ("shared.output_dtype", "int16", "int16"),
        ("local_block_adjustment.number_of_blocks", [20, 30], (20, 30)),
        ("local_block_adjustment.number_of_blocks", "coefficient_of_variation", "coefficient_of_variation"),
        ("global_regression.custom_std_factor", 0, 0.0),
        ("global_regression.custom_mean_factor", "1e-3", 1e-3),  # YAML takes a number without a point as text
        ("global_regression.vector_mask", ["exclude", "clouds.gpkg", "scene"], ("exclude", "clouds.gpkg", "scene")),
        ("global_regression.specify_model_images", ["include", ["a", "b"]], ("include", ("a", "b"))),
        ("global_regression.output_images", ["a.tif", "b.tif"], ("a.tif", "b.tif")),
        ("local_block_adjustment.load_block_maps", [None, ["a.tif"]], (None, ("a.tif",))),
        ("local_block_adjustment.override_bounds_canvas_coords", [0, 0, 10, 20.5], (0.0, 0.0, 10.0, 20.5)),
        ("output.level", 12, 12),
    ],
)
def test_values_are_taken(path: str, value: Any, expected: Any) -> None:
    found = read(load({path: value}), path)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("path", "value", "allowed"),
    [
        ("shared.window_size", 0, "greater than or equal to 16"),
        ("shared.window_size", 100, "multiple of 16"),
        ("shared.window_size", 2**15, "less than or equal to 16384"),
        ("shared.window_size", None, "valid integer"),
        ("shared.cache", 0, "greater than 0"),
        ("shared.cache", math.inf, "finite"),
        ("shared.tile_threads", 0, "greater than or equal to 1 or Input should be 'cpu' or 'auto'"),
        ("shared.output_dtype", "uint64", "'uint8', 'int8', 'uint16'"),
        ("shared.calculation_dtype", "float16", "'float32' or 'float64'"),
        ("methods.align_method", "other", "'align_rasters'"),
        ("global_regression.custom_mean_factor", -1, "greater than or equal to 0"),
        ("global_regression.custom_mean_factor", math.nan, "finite"),
        ("global_regression.custom_std_factor", math.inf, "finite"),
        ("global_regression.estimate_stats", "perhaps", "valid boolean"),
        ("global_regression.vector_mask", ["outside", "a.gpkg"], "'include' or 'exclude'"),
        ("global_regression.specify_model_images", ["include"], "Field required"),
        ("local_block_adjustment.number_of_blocks", 0, "greater than or equal to 1"),
        ("local_block_adjustment.number_of_blocks", [3, 0], "greater than or equal to 1"),
        ("local_block_adjustment.number_of_blocks", "many", "'coefficient_of_variation'"),
        ("local_block_adjustment.alpha", 0, "greater than 0"),
        ("local_block_adjustment.alpha", math.inf, "finite"),
        ("local_block_adjustment.correction_method", "cubic", "'gamma', 'linear' or 'offset'"),
        ("local_block_adjustment.save_block_maps", ["reference.tif", "local.tif"], "$ for the scene"),
        ("local_block_adjustment.load_block_maps", [None, None], "a reference map, local maps, or both"),
        ("local_block_adjustment.override_bounds_canvas_coords", [10, 0, 0, 5], "left < right and bottom < top"),
        ("local_block_adjustment.override_bounds_canvas_coords", [0, 0, 10], "Field required"),
        ("align_rasters.crs", "/etc/passwd", "is no authority code such as EPSG:32632"),
        ("align_rasters.crs", "http://127.0.0.1:9/x", "is no authority code such as EPSG:32632"),
        ("align_rasters.crs", "+proj=longlat +nadgrids=/etc/passwd", "is no authority code such as EPSG:32632"),
        ("voronoi_center_seamline.min_point_spacing", 0, "greater than 0"),
        ("voronoi_center_seamline.min_cut_length", -0.1, "greater than or equal to 0"),
        ("voronoi_center_seamline.image_field_name", "", "at least 1 character"),
        ("align_rasters.resolution", "middle", "'highest', 'average' or 'lowest'"),
        ("output.level", 13, "deflate has levels 1 to 12"),
        ("output.tiles_url", "https://t.example.org/{x}/{y}.png", "has {z}, {x} and {y}"),
        ("output.tiles_url", "https://t.example.org/{mosaic}/{z}/{x}/{y}.png", "URLs below public_url"),
        ("output.license", "all rights reserved", "license"),
        ("output.providers", [{"roles": ["producer"]}], "providers"),
        ("output.providers", [{"name": "a", "roles": ["owner"]}], "providers"),
        ("output.level", 23, "less than or equal to 22"),
        ("inputs.asset", 4, "valid string"),
    ],
)
def test_refusals_name_the_parameter_the_value_and_what_is_allowed(path: str, value: Any, allowed: str) -> None:
    message = complain({path: value})
    assert message.startswith(f"{path} = {value!r}: ")
    assert allowed in message


def test_true_is_a_value_of_switches_only() -> None:
    for parameter in PARAMETERS:
        annotation = parameter.field.annotation
        if annotation is bool or any(kind is bool or kind is True for kind in get_args(annotation)):
            assert read(load({parameter.path: True}), parameter.path) is True
        else:
            shown = "'…'" if parameter.is_secret else "True"
            assert complain({parameter.path: True}).startswith(f"{parameter.path} = {shown}: ")


def test_a_level_of_zstd_may_be_higher_than_one_of_deflate() -> None:
    assert load({"output.level": 19, "output.compression": "zstd"}).output.level == 19


def test_all_that_is_wrong_is_told_at_once() -> None:
    message = complain({"shared.window_size": 8, "align_rasters.tap": "perhaps"})
    assert "shared.window_size = 8: " in message
    assert "align_rasters.tap = 'perhaps': " in message


def test_a_refused_variable_is_named_as_the_parameter() -> None:
    assert complain(environment={"MOSAIC_SHARED__WINDOW_SIZE": "8"}).startswith("shared.window_size = 8: ")


# Unknown names


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("shared.window_sise", "shared.window_size"),
        ("shard.window_size", "shared"),
        ("global_regresion.estimate_stats", "global_regression"),
        ("shared.alpha", "local_block_adjustment.alpha"),
        ("shared.tap", "align_rasters.tap"),
        ("window_size", "shared.window_size"),
        ("global_regression_estimate_stats", "global_regression.estimate_stats"),
    ],
)
def test_unknown_names_are_refused_with_what_may_have_been_meant(path: str, meant: str) -> None:
    message = complain({path: 512})
    assert "no such parameter" in message
    assert f"did you mean {meant}?" in message
    section, dot, name = path.partition(".")
    assert f"did you mean {meant}?" in complain(document={section: {name: 512} if name else 512})
    if dot:
        assert f"did you mean {meant}?" in complain(environment={f"MOSAIC_{section}__{name}".upper(): "512"})


def test_every_namesake_is_offered() -> None:
    message = complain({"shared.output_images": "x"})
    for section in ("global_regression", "local_block_adjustment", "align_rasters", "mask_rasters"):
        assert f"{section}.output_images" in message


def test_a_name_like_no_other_gets_no_guess() -> None:
    message = complain({"zzz.qqq": 1})
    assert "no such parameter" in message
    assert "did you mean" not in message


@pytest.mark.parametrize(
    "document", [{1: {"a": 2}}, {"shared": {1: 2}}, {True: 3}, {"_env_file": "x"}, {"_cli_parse_args": True}]
)
def test_keys_of_any_kind_are_refused_as_unknown(document: Any) -> None:
    assert "no such parameter" in complain(document=document)


@pytest.mark.parametrize("value", [3, "auto", [1], True])
def test_a_section_that_is_no_mapping_is_refused_even_if_a_flag_follows(value: Any) -> None:
    message = complain({"shared.window_size": 512}, {"shared": value})
    assert message.startswith("shared: a section")
    assert "mapping" in message


def test_an_empty_section_is_all_defaults() -> None:
    assert load(document={"shared": None, "methods": {}}) == Config()


# Documents


def test_a_document_is_yaml() -> None:
    text = "shared:\n  window_size: 512  # pixels\nmethods: {align_method: null}\n"
    assert parse_document(text, source="x") == {"shared": {"window_size": 512}, "methods": {"align_method": None}}
    assert parse_document("", source="x") == {}
    assert parse_document("# nothing\n", source="x") == {}


@pytest.mark.parametrize(
    ("text", "words"), [("a: [", "is not YAML"), ("- 1\n", "got list"), ("text", "got str"), ("!!python/none", "is not YAML")]
)
def test_other_documents_are_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=r"my\.yaml") as caught:
        parse_document(text, source="my.yaml")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("true", True),
        ("null", None),
        ("[2, 3]", [2, 3]),
        ("auto", "auto"),
        ("[a.tif, null]", ["a.tif", None]),
        ("{", "{"),
        ("s3://bucket/key: value", {"s3://bucket/key": "value"}),
        ("s3://bucket/a.gpkg", "s3://bucket/a.gpkg"),
    ],
)
def test_typed_values_mean_what_they_say(text: str, value: Any) -> None:
    assert parse_value(text) == value


def test_not_a_number_can_be_typed_as_nodata() -> None:
    for text in (".nan", "nan", "NaN"):
        config = load({"shared.custom_nodata_value": parse_value(text)})
        again = load(document=parse_document(render_yaml(config), source="again"))
        assert repr(config.shared.custom_nodata_value) == repr(again.shared.custom_nodata_value) == "nan"


# Written back


def test_the_sample_is_the_defaults_and_names_everything() -> None:
    sample = render_sample()
    assert load(document=parse_document(sample, source="sample")) == Config()
    parsed = yaml.safe_load(sample)
    assert {f"{section}.{name}" for section, names in parsed.items() for name in names} == {p.path for p in PARAMETERS}
    for parameter in PARAMETERS:
        assert str(parameter.field.description) in sample
    assert all(line == line.rstrip() for line in sample.splitlines())


def test_what_only_changes_time_memory_or_place_decides_nothing() -> None:
    flags = {"shared.window_size": 4096, "shared.tile_threads": 7, "shared.temp_dir": "/scratch", "shared.cache": 2.0}
    assert decisive_settings(load(flags)) == decisive_settings(Config())
    assert decisive_settings(load({"align_rasters.tap": False})) != decisive_settings(Config())


def test_settings_that_decide_are_json_and_complete() -> None:
    settings = decisive_settings(load({"local_block_adjustment.number_of_blocks": [3, 4]}))
    assert json.loads(json.dumps(settings, allow_nan=False)) == settings
    paths = {f"{section}.{name}" for section, values in settings.items() for name in values}
    other = {name for stage in STAGES for name in stage.methods if name != stage.default}
    assert paths == {parameter.path for parameter in PARAMETERS if parameter.is_decisive and parameter.section not in other}


def test_the_configuration_as_run_can_be_given_again() -> None:
    flags: dict[str, Any] = {
        "shared.custom_nodata_value": -9999,
        "local_block_adjustment.number_of_blocks": [3, 4],
        "methods.align_method": None,
        "global_regression.specify_model_images": ["exclude", ["Ä scene"]],
        "voronoi_center_seamline.min_point_spacing": 2.5,
    }
    config = load(flags)
    assert load(document=parse_document(render_yaml(config), source="again")) == config


# Options of a process block


def test_options_fill_in_what_was_not_set_on_purpose() -> None:
    config = load({"shared.window_size": 512})
    options = {"shared": {"window_size": 2048, "tile_threads": 3}, "align_rasters.tap": False, "shared_image_threads": 5}
    filled = apply_options(config, options, is_remote=False)
    assert filled.shared.window_size == 512
    assert (filled.shared.tile_threads, filled.shared.image_threads, filled.align_rasters.tap) == (3, 5, False)
    assert config.shared.tile_threads == "auto"


def test_a_value_set_to_its_default_on_purpose_stays() -> None:
    config = load({"align_rasters.tap": True})
    assert apply_options(config, {"align_rasters.tap": False}, is_remote=False).align_rasters.tap is True


def test_every_flat_name_means_its_parameter() -> None:
    for parameter in PARAMETERS:
        value = find_example(parameter)
        assert apply_options(load(), {flat_name(parameter): value}, is_remote=False) == load({parameter.path: value})


def test_flat_names_are_the_words_that_users_know() -> None:
    names = {parameter.path: flat_name(parameter) for parameter in PARAMETERS}
    assert names["global_regression.estimate_stats"] == "global_regression_estimate_stats"
    assert names["shared.temp_dir"] == "shared_temp_dir"
    assert names["shared.delete_temp_dir"] == "delete_temp_dir"
    assert names["methods.matching_global_method"] == "matching_global_method"
    assert len(set(names.values())) == len(names)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("shared.temp_dir", "/etc"),
        ("mask_rasters.output_images", "/etc/$.tif"),
        ("global_regression.vector_mask", ["include", "/etc/passwd"]),
        ("global_regression.load_adjustments", "/etc/passwd"),
        ("local_block_adjustment.save_block_maps", ["a.tif", "$.tif"]),
        ("voronoi_center_seamline.debug_vectors_path", "x.gpkg"),
    ],
)
def test_a_document_from_a_url_may_not_name_places(path: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{path} = .*may not name files"):
        apply_options(load(), {path: value}, is_remote=True)
    assert apply_options(load(), {path: None}, is_remote=True) == load()
    assert apply_options(load(), {path: value}, is_remote=False) == load({path: value})
    with pytest.raises(ConfigError, match=r"reference\.allow_local_files"):
        apply_options(load({}), {"reference.allow_local_files": True}, is_remote=True)
    trusting = load({"inputs.allow_local_files": True})
    assert apply_options(trusting, {path: value}, is_remote=True) == load({path: value, "inputs.allow_local_files": True})


def test_every_parameter_that_takes_a_path_is_a_place() -> None:
    """Or else documents from URLs could use it."""
    surroundings = {
        "io.s3_endpoint",
        "io.gs_endpoint",
        "io.azure_endpoint",
        "kubernetes.image",
        "output.public_url",
        "output.tiles_url",
    }  # URLs and names, not places
    text = {p.path: str(p.field.examples) for p in PARAMETERS if p.section not in {"inputs", "methods"}}
    text = {path: example for path, example in text.items() if path not in surroundings}
    paths = {path for path, example in text.items() if any(word in example for word in ("/", ".tif", ".gpkg", ".json", ".npz"))}
    assert paths == {parameter.path for parameter in PARAMETERS if parameter.is_path}


@pytest.mark.parametrize("options", [{"shared_window_sise": 3}, {"shard": {"window_size": 3}}, {"shared": 3}, {"x.y": 1}])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"no such parameter|mapping of parameters"):
        apply_options(load(), options, is_remote=False)


def test_kernels_have_a_block_in_their_middle() -> None:
    assert load({"surface_adjustment.kernel": 5}).section("surface_adjustment").kernel == 5  # type: ignore[attr-defined]
    for kernel in (4, 1):
        with pytest.raises(ConfigError, match=r"surface_adjustment.kernel"):
            load({"surface_adjustment.kernel": kernel})
