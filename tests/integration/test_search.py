"""A search on a real STAC API, and the mosaic of what it finds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from commands import Finished, call_command, make_items, read_files
from outcomes import leaving_out_drawings
from servers import answers, find_free_ports, find_program, run_server

from processor.api import pipeline
from stac.api.request import SearchRequest

pytestmark = pytest.mark.server


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """An API, and the file of what it serves."""

    url: str
    items: Path


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogue]:
    folder = tmp_path_factory.mktemp("api")
    items = make_items(folder / "scenes", edge=60)
    document = json.loads(items.read_text())
    for number, feature in enumerate(document["features"]):
        feature["collection"] = "scenes"
        feature["properties"]["datetime"] = f"2024-06-0{number + 1}T10:00:00Z"
        feature["assets"]["image"]["href"] = str(items.parent / feature["assets"]["image"]["href"].removeprefix("./"))
    items.write_text(json.dumps(document))
    (port,) = find_free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [find_program("rustac"), "serve", "--addr", f"127.0.0.1:{port}", str(items)]
    with run_server(command, folder=folder / "server", ready=lambda: answers(url)):
        yield Catalogue(url=url, items=items)


def test_a_mosaic_of_what_a_search_finds_is_that_of_the_items_as_a_file(catalogue: Catalogue, tmp_path: Path) -> None:
    search = ("--api", catalogue.url, "--collections", "scenes", "--bbox", "14,47,16,48", "--datetime", "2024-06")
    found = {}
    with leaving_out_drawings():
        for name, inputs in (("search", (*search, "--inputs.allow_local_files")), ("file", (str(catalogue.items),))):
            done = call_command("run", *inputs, "--output", name, "--item-id", "m", cwd=tmp_path, scratch=tmp_path / "scratch")
            assert done.code == 0, done.stderr
            found[name] = (read_files(tmp_path / name / "m"), done.item)
    for path in ("mosaic.tif", "scene_index.tif", "adjustments.json", "config.yaml"):
        assert found["search"][0][path] == found["file"][0][path]
    origins = [link["href"] for link in found["search"][1]["links"] if link["rel"] == "derived_from"]
    assert origins == [f"{catalogue.url}/collections/scenes/items/{name}" for name in "abc"]


@pytest.mark.parametrize(
    ("conditions", "names"),
    [
        (("--datetime", "2024-06-02/.."), ["b", "c"]),
        (("--ids", "c,a"), ["a", "c"]),
        (("--max-items", "1"), 1),
        (("--bbox", "0,0,1,1"), 13),
        (("--collections", "none"), 13),
        (("--filter", "eo:cloud_cover < 10"), 13),
        (("--sortby", "-datetime"), ["a", "b", "c"]),
    ],
    ids=str,
)
def test_conditions_narrow_a_search_and_those_that_the_api_does_not_know_are_refused(
    conditions: tuple[str, ...], names: list[str] | int, catalogue: Catalogue, tmp_path: Path
) -> None:
    flags = ("--inputs.allow_local_files", "--output", "out", "--item-id", "m")
    with leaving_out_drawings():
        done = call_command("run", "--api", catalogue.url, *conditions, *flags, cwd=tmp_path, scratch=tmp_path / "scratch")
    if names == 13:
        assert done.code == 13
        said = done.events[-1]["message"]
        assert "finds no Item" in said or "does not say that it conforms to" in said
        return
    assert done.code == 0, done.stderr
    origins = [link["title"] for link in done.item["links"] if link["rel"] == "derived_from"]
    assert origins == names if isinstance(names, list) else len(origins) == names
    assert ("search-has-more" in {event["event"] for event in done.events}) == (names == 1)


def test_a_search_that_finds_nothing_is_done_where_that_is_allowed(catalogue: Catalogue, tmp_path: Path) -> None:
    def search(*options: str) -> Finished:
        nowhere = ("--api", catalogue.url, "--bbox", "0,0,1,1", "--output", "out")
        return call_command("run", *nowhere, *options, cwd=tmp_path, scratch=tmp_path / "scratch")

    assert search().code == 13
    done = search("--allow-empty")
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout) == {"type": "FeatureCollection", "features": []}
    (said,) = (event["message"] for event in done.events if event["event"] == "nothing-found")
    assert "finds no Item" in said
    assert not (tmp_path / "out").exists()
    dry = search("--allow-empty", "--dry-run")
    assert (dry.code, dry.stdout) == (0, "")


def test_emptiness_is_allowed_of_a_search_only(catalogue: Catalogue, tmp_path: Path) -> None:
    options = ("--allow-empty", "--output", "out")
    done = call_command("run", str(catalogue.items), *options, cwd=tmp_path, scratch=tmp_path / "scratch")
    assert done.code == 2
    assert "--allow-empty is of a search" in done.events[-1]["message"]


def test_the_python_function_takes_a_search(catalogue: Catalogue, tmp_path: Path) -> None:
    with leaving_out_drawings():
        result = pipeline(
            SearchRequest(api=catalogue.url, ids=("a", "b")), tmp_path / "mosaic.tif", inputs_allow_local_files=True
        )
    assert result["num_input_images"] == 2
    assert (tmp_path / "mosaic.tif").is_file()
