"""One configuration through every door: flags, environment, file, an ItemCollection's process block, the Python function."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import fsspec
import pytest
import yaml
from commands import keeping_process_state, make_items, read_files
from outcomes import leaving_out_drawings

from processor.api import pipeline
from processor.cli.commands import main
from processor.config import flat_name, iter_parameters
from processor.errors import ConfigError

#: One parameter of each kind, lists and pairs and null among them, whose values all show in what is published.
SETTINGS: dict[str, dict[str, Any]] = {
    "shared": {"output_dtype": "int32", "custom_nodata_value": -5, "tile_threads": 1},
    "methods": {"align_method": None},
    "global_regression": {"specify_model_images": ["include", ["a", "b"]], "custom_std_factor": 0.5},
    "local_block_adjustment": {
        "number_of_blocks": [3, 4],
        "override_bounds_canvas_coords": [499_990, 5_299_800, 500_200, 5_300_010],
        "correction_method": "linear",
    },
    "align_rasters": {"output_images": ["c_aligned.tif", "a_aligned.tif", "b_aligned.tif"]},
    "voronoi_center_seamline": {"image_field_name": "02", "min_point_spacing": 4},
    "mask_rasters": {"output_images": "cut/of_$.tif", "include_touched_pixels": True},
    "merge_rasters": {"build_overviews": False},
    "output": {"compression": "zstd"},
}
FLAT = {f"{section}.{name}": value for section, values in SETTINGS.items() for name, value in values.items()}


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_items(tmp_path_factory.mktemp("scenes"), edge=90)


@pytest.fixture(autouse=True)
def _quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder to work in, no parameter in the environment, no drawings."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("MOSAIC_")]:
        monkeypatch.delenv(name)
    with keeping_process_state(), leaving_out_drawings():
        yield


def make_payload(items: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """The ItemCollection with absolute hrefs and options for this task."""
    document: dict[str, Any] = json.loads(items.read_text())
    for feature in document["features"]:
        feature["assets"]["image"]["href"] = str(items.parent / feature["assets"]["image"]["href"])
    return {**document, "process": [{"tasks": {"mosaic": dict(options)}}]}


def publish(*arguments: str) -> None:
    assert main(["run", *arguments, "--output", "out", "--item-id", "m", "--created", "2026-01-31T12:00:00Z"]) == 0


def through_flags(items: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del monkeypatch
    publish(
        str(items), *(f"--{path}={json.dumps(value) if not isinstance(value, str) else value}" for path, value in FLAT.items())
    )


def through_the_environment(items: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path, value in FLAT.items():
        text = value if isinstance(value, str) else json.dumps(value)
        monkeypatch.setenv(f"MOSAIC_{path.replace('.', '__').upper()}", text)
    publish(str(items))


def through_a_file(items: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del monkeypatch
    Path("config.yaml").write_text(yaml.safe_dump(SETTINGS))
    publish(str(items), "--config", "config.yaml")


def through_a_process_block(items: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    payload = json.dumps(make_payload(items, SETTINGS)).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(payload)))
    publish("-", "--inputs.allow_local_files")


def through_a_process_block_with_dotted_names(items: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    payload = json.dumps(make_payload(items, FLAT)).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(payload)))
    publish("-", "--inputs.allow_local_files")


def through_a_process_block_with_flat_names(items: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    payload = json.dumps(make_payload(items, make_keywords())).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(payload)))
    publish("-", "--inputs.allow_local_files")


def through_python(items: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mosaic goes where the command puts it, so that all files are in one place; the grid is found as the command does."""
    del monkeypatch
    keywords = {name: tuple(value) if isinstance(value, list) else value for name, value in make_keywords().items()}
    pipeline(items, "out/m/mosaic.tif", align_rasters_tap=None, **keywords)


def make_keywords() -> dict[str, Any]:
    flat = {parameter.path: flat_name(parameter) for parameter in iter_parameters()}
    return {flat[path]: value for path, value in FLAT.items()}


@pytest.fixture(scope="module")
def expected(items: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Every file of the run through flags, by path."""
    with pytest.MonkeyPatch.context() as patch, keeping_process_state(), leaving_out_drawings():
        patch.chdir(tmp_path_factory.mktemp("flags"))
        through_flags(items, patch)
        return without_runs(read_files(Path.cwd()))


def without_runs(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Files without those that name their folder or the way the run was asked for, and without what the test wrote."""
    own = ("config.yaml", "m.json", "mosaic.json", "report.json", "report.html", "overview.png")
    return {
        path.replace("/mosaic/", "/"): data
        for path, data in files.items()
        if Path(path).name not in own or path == "out/m/config.yaml"
    }


def test_the_settings_show_in_what_is_published(expected: dict[str, bytes]) -> None:
    """Or else the doors could all be shut."""
    assert {"c_aligned.tif", "a_aligned.tif"}.isdisjoint(expected)  # alignment is off, so nothing is kept of it
    assert {"cut/of_a.tif", "cut/of_b.tif", "cut/of_c.tif", "out/m/mosaic.tif", "out/m/config.yaml"} <= expected.keys()
    settings = yaml.safe_load(expected["out/m/config.yaml"])
    shown = {f"{section}.{name}": value for section, values in settings.items() for name, value in values.items()}
    assert {path: shown[path] for path in FLAT if path != "shared.tile_threads"} == {
        path: value for path, value in FLAT.items() if path != "shared.tile_threads"
    }


@pytest.mark.parametrize(
    "door",
    [
        through_the_environment,
        through_a_file,
        through_a_process_block,
        through_a_process_block_with_dotted_names,
        through_a_process_block_with_flat_names,
    ],
)
def test_every_door_gives_the_same_files_byte_for_byte(
    door: Callable[[Path, pytest.MonkeyPatch], None], items: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    door(items, monkeypatch)
    found = without_runs(read_files(Path.cwd()))
    assert sorted(found) == sorted(expected)
    assert [path for path in expected if found[path] != expected[path]] == []


def test_the_python_function_gives_the_same_files_byte_for_byte(
    items: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It puts the Item's folder beside the mosaic and names it for it."""
    through_python(items, monkeypatch)
    found = read_files(Path.cwd())
    for path, data in expected.items():
        place = path if not path.startswith("out/m/") or path == "out/m/mosaic.tif" else path.replace("out/m/", "out/m/mosaic/")
        assert found[place] == data, path


# Who wins


def count_blocks(capsys: pytest.CaptureFixture[str], *arguments: str) -> int:
    capsys.readouterr()
    assert main(["run", *arguments, "--output", "out", "--dry-run"]) == 0
    grid = yaml.safe_load(capsys.readouterr().out)["grid"]
    return int(grid["block_rows"] * grid["block_cols"])


def test_flags_win_over_environment_file_process_block_and_defaults(
    items: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("plain.json").write_text(json.dumps({**make_payload(items, {}), "process": []}))
    Path("payload.json").write_text(json.dumps(make_payload(items, {"local_block_adjustment_number_of_blocks": [6, 1]})))
    Path("config.yaml").write_text("local_block_adjustment:\n  number_of_blocks: [5, 1]\n")
    assert count_blocks(capsys, "plain.json") > 200
    assert count_blocks(capsys, "payload.json") == 6
    assert count_blocks(capsys, "payload.json", "--config", "config.yaml") == 5
    monkeypatch.setenv("MOSAIC_LOCAL_BLOCK_ADJUSTMENT__NUMBER_OF_BLOCKS", "[4, 1]")
    assert count_blocks(capsys, "payload.json", "--config", "config.yaml") == 4
    flag = "--local_block_adjustment.number_of_blocks=[3, 1]"
    assert count_blocks(capsys, "payload.json", "--config", "config.yaml", flag) == 3


def test_keywords_win_over_a_process_block(items: Path) -> None:
    document = make_payload(items, {"local_block_adjustment_number_of_blocks": [6, 1], "output.compression": "zstd"})
    pipeline(document, "m.tif", local_block_adjustment_number_of_blocks=(3, 1))
    settings = yaml.safe_load(Path("m/config.yaml").read_text())
    assert settings["local_block_adjustment"]["number_of_blocks"] == [3, 1]
    assert settings["output"]["compression"] == "zstd"


# Documents from elsewhere


def put_document(document: Mapping[str, Any]) -> str:
    """Store a document on another machine; its URL."""
    url = "memory://elsewhere/items.json"
    fsspec.filesystem("memory").pipe_file(url, json.dumps(document).encode())
    return url


def refuse(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(["run", *arguments, "--output", "out"])
    printed = capsys.readouterr()
    assert printed.out == ""
    assert not Path("out").exists()
    return code, str(json.loads(printed.err.splitlines()[-1])["message"])


@pytest.mark.parametrize(
    "options",
    [
        {"mask_rasters": {"output_images": "/etc"}},
        {"global_regression.load_adjustments": "/etc/passwd"},
        {"shared_temp_dir": "/etc"},
        {"inputs_allow_local_files": True},
        {"inputs.allow_local_files": True},
        {"inputs": {"allow_local_files": True}},
        {"inputs_allow_local_files": True, "shared_temp_dir": "/etc"},
    ],
    ids=str,
)
def test_a_process_block_from_a_url_may_not_reach_for_files_under_any_name(
    options: dict[str, Any], items: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, message = refuse(capsys, put_document(make_payload(items, options)))
    assert code in {2, 13}
    assert "may not" in message
    assert "command line" in message


def test_a_process_block_from_a_url_may_set_all_else_and_files_where_they_are_allowed(items: Path) -> None:
    options = {"local_block_adjustment.number_of_blocks": [3, 1], "mask_rasters.output_images": "cut"}
    publish(put_document(make_payload(items, options)), "--inputs.allow_local_files")
    assert sorted(read_files(Path("cut"))) == ["a.tif", "b.tif", "c.tif"]
    assert yaml.safe_load(Path("out/m/config.yaml").read_text())["local_block_adjustment"]["number_of_blocks"] == [3, 1]


# What is refused


@pytest.mark.parametrize(
    ("path", "value", "allowed"),
    [
        ("shared.window_size", 100, "multiple of 16"),
        ("local_block_adjustment.number_of_blocks", [3, 0], "greater than or equal to 1"),
        ("local_block_adjustment.override_bounds_canvas_coords", [10, 0, 0, 5], "left < right and bottom < top"),
        ("align_rasters.resampling_method", "best", "'nearest', 'bilinear' or 'cubic'"),
    ],
)
def test_every_door_refuses_what_cannot_be_with_the_same_words(
    path: str, value: Any, allowed: str, items: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    section, name = path.split(".")
    said = set()
    said.add(refuse(capsys, str(items), f"--{path}={json.dumps(value)}"))
    Path("config.yaml").write_text(yaml.safe_dump({section: {name: value}}))
    said.add(refuse(capsys, str(items), "--config", "config.yaml"))
    Path("payload.json").write_text(json.dumps(make_payload(items, {path: value})))
    said.add(refuse(capsys, "payload.json"))
    with monkeypatch.context() as patch:
        patch.setenv(f"MOSAIC_{path.replace('.', '__').upper()}", json.dumps(value))
        said.add(refuse(capsys, str(items)))
    ((code, message),) = said
    assert code == 2
    assert message.startswith(f"{path} = {value!r}: ")
    assert allowed in message
    with pytest.raises(ConfigError) as caught:
        pipeline(items, "m.tif", **{f"{section}_{name}": value})
    assert str(caught.value) == message.replace(path, f"{section}_{name}")
