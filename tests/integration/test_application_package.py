"""The OGC Application Package: its CWL file names what the command takes, and the command it makes does what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pystac
import pytest
import yaml
from commands import call_command, make_items, run_command
from outcomes import leaving_out_drawings

from processor.cli import commands as cli
from processor.cli.flags import read_config
from processor.version import read_version

PACKAGE = Path(__file__).parents[2] / "docs" / "cwl" / "mosaic.cwl"
CHOICES: dict[str, str] = {"item_id": "june", "assets": "image", "bands": "band_1,band_0", "crs": "EPSG:32633"}

if not PACKAGE.is_file():
    pytest.skip("the package is in the repository's docs", allow_module_level=True)


def load_graph() -> dict[str, Any]:
    document = yaml.safe_load(PACKAGE.read_text(encoding="utf-8"))
    assert document["s:softwareVersion"] == read_version()
    return {node["id"]: node for node in document["$graph"]}


def build_command(tool: dict[str, Any], values: dict[str, Any]) -> list[str]:
    """The command line that a runner makes of the tool: what has no position comes first, in order of its name."""
    words: list[tuple[tuple[int, int, str], list[str]]] = []
    for index, argument in enumerate(tool["arguments"]):
        word = [argument] if isinstance(argument, str) else [argument["prefix"], argument["valueFrom"]]
        words.append(((0, index, ""), word))
    for name, given in tool["inputs"].items():
        binding, value = given["inputBinding"], values.get(name)
        if value is not None:
            listed = value if isinstance(value, list) else [value]
            prefix = [binding["prefix"]] if "prefix" in binding else []
            words.append(((binding.get("position", 0), len(words), name), [*prefix, *listed]))
    return [*tool["baseCommand"], *(word for _, group in sorted(words) for word in group)]


def stage(items: Path, folder: Path) -> list[str]:
    """Stage every scene in a folder of its own, as platforms do: catalogue, Item and raster; the folders."""
    folders = []
    for feature in json.loads(items.read_text())["features"]:
        own = folder / f"staged-{feature['id']}"
        own.mkdir()
        links = [{"rel": "item", "href": "./item.json"}]
        (own / "catalog.json").write_text(json.dumps({"type": "Catalog", "id": "staged", "links": links}))
        (own / "item.json").write_text(json.dumps(feature))
        (own / f"{feature['id']}.tif").symlink_to(items.parent / f"{feature['id']}.tif")
        folders.append(str(own))
    return folders


def test_the_workflow_hands_on_all_that_the_tool_takes() -> None:
    graph = load_graph()
    workflow, tool = graph["mosaic"], graph["mosaic-processor"]
    assert workflow["inputs"].keys() == tool["inputs"].keys()
    assert {name: given["type"] for name, given in workflow["inputs"].items()} == {
        name: given["type"] for name, given in tool["inputs"].items()
    }
    (step,) = workflow["steps"].values()
    assert step["in"] == {name: name for name in workflow["inputs"]}
    assert step["out"] == list(tool["outputs"])
    assert all(given["label"] and given["doc"] for given in workflow["inputs"].values())
    assert tool["hints"]["DockerRequirement"]["dockerPull"] == f"mosaic-processor:{read_version()}"


def test_every_argument_is_one_of_the_command() -> None:
    tool = load_graph()["mosaic-processor"]
    mask = "{asset: SCL, invalid: [0, 1, 3, 8, 9, 10]}"
    command = build_command(tool, {"scenes": ["a", "b"], **CHOICES, "mask": mask})
    options = cli.build_parser().parse_args(command[1:])
    config = read_config(options, environment={})
    assert (options.input, options.output, options.item_id) == (["a", "b"], ".", "june")
    assert config.output.catalog
    assert config.inputs.assets == ("image",)
    assert config.inputs.bands == ("band_1", "band_0")
    assert config.inputs.mask is not None
    assert config.inputs.mask.invalid == (0, 1, 3, 8, 9, 10)
    assert config.align_rasters.crs == "EPSG:32633"


def test_staged_folders_become_a_folder_with_a_catalogue_that_leads_to_the_mosaic(tmp_path: Path) -> None:
    items = make_items(tmp_path / "scenes", edge=60)
    folders = stage(items, tmp_path)
    place = tmp_path / "runtime"
    place.mkdir()
    program, *arguments = build_command(load_graph()["mosaic-processor"], {"scenes": folders, **CHOICES})
    assert program == "mosaic-processor"
    finished = run_command(*arguments, cwd=place, scratch=tmp_path / "scratch")
    assert finished.code == 0, finished.stderr
    (item,) = pystac.Catalog.from_file(str(place / "catalog.json")).get_items()
    assert item.id == "june"
    href = item.assets["mosaic"].get_absolute_href()
    assert href is not None
    assert Path(href.removeprefix("file://")).is_file()
    origins = {link.get_href() for link in item.links if link.rel == "derived_from"}
    assert origins == {f"file://{folder}/item.json" for folder in folders}


def test_what_comes_out_of_one_package_goes_into_the_next(tmp_path: Path) -> None:
    """A folder with a catalogue, of which an Item's one raster of data is read."""
    items = make_items(tmp_path / "scenes", edge=60)
    with leaving_out_drawings():
        for item_id in ("one", "two"):
            flags = ("--output", "out", "--item-id", item_id, "--output.catalog")
            assert call_command("run", str(items), *flags, cwd=tmp_path, scratch=tmp_path / "scratch").code == 0
        again = call_command("run", "out", "--output", "next", "--item-id", "m", cwd=tmp_path, scratch=tmp_path / "scratch")
    assert again.code == 0, again.stderr
    names = [link["title"] for link in again.item["links"] if link["rel"] == "derived_from"]
    assert names == ["one", "two"]


def test_a_runner_may_hand_the_whole_command_line_to_the_entrypoint(tmp_path: Path) -> None:
    plain = call_command("config", cwd=tmp_path, scratch=tmp_path)
    assert call_command("mosaic-processor", "config", cwd=tmp_path, scratch=tmp_path) == plain
    assert call_command("mosaic-processor", "mosaic-processor", "config", cwd=tmp_path, scratch=tmp_path).code == 2
