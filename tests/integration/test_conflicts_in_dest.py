"""What stands in the way at the destination is found before a pixel is read, not when the work is done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import Finished, call_command, make_items, read_files
from outcomes import leaving_out_drawings

OPTIONS = ("--output", "out", "--item-id", "m")
CATALOG = {"type": "Catalog", "stac_version": "1.1.0", "id": "c", "description": "d", "links": []}


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_items(tmp_path_factory.mktemp("conflicts"), edge=60)


def run(items: Path, folder: Path, *words: str) -> Finished:
    with leaving_out_drawings():
        return call_command("run", str(items), *OPTIONS, *words, cwd=folder, scratch=folder / "scratch")


def refuse(items: Path, folder: Path, *words: str) -> str:
    """Run, which has to be refused before scenes are opened, and to leave what is there as it is; what it says."""
    before = read_files(folder / "out")
    done = run(items, folder, *words)
    assert done.code in {2, 13}, done.stderr
    assert [event["event"] for event in done.events if event.get("stage") in {"measure", "render"}] == []
    assert read_files(folder / "out") == before
    return str(done.events[-1]["message"])


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.mark.parametrize(
    "content",
    [
        "no JSON",
        "[1, 2]",
        "[" * 100_000,
        {"type": "Collection", "id": "c"},
        {"type": "FeatureCollection", "features": []},
        {"type": "Catalog", "id": "c"},
        {"type": "Catalog", "id": "c", "links": {"rel": "item"}},
        {"type": "Catalog", "id": "c", "links": ["x"]},
        "",
    ],
)
def test_a_catalogue_that_is_none_is_found_before_the_run(content: Any, items: Path, tmp_path: Path) -> None:
    write(tmp_path / "out" / "catalog.json", content)
    assert "catalog.json" in refuse(items, tmp_path, "--output.catalog", "true")
    assert run(items, tmp_path).code == 0  # which nobody asked to extend


@pytest.mark.parametrize(
    "content",
    [
        "no JSON",
        "[1, 2]",
        {**CATALOG},
        {"type": "Collection", "id": "other", "stac_version": "1.1.0"},
        {"type": "Collection", "id": "c", "stac_version": "1.1.0", "links": [], "extent": "everywhere"},
        {"type": "Collection", "id": "c", "stac_version": "1.1.0", "links": [], "extent": {"spatial": {}, "temporal": {}}},
        {"type": "Collection", "id": "c", "stac_version": "1.1.0", "links": 3},
    ],
)
def test_a_collection_of_something_else_is_found_before_the_run(content: Any, items: Path, tmp_path: Path) -> None:
    write(tmp_path / "out" / "collection.json", content)
    refuse(items, tmp_path, "--collection", "c")


def make_folder(path: Path) -> None:
    path.mkdir(parents=True)


def make_link(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [make_folder, make_link])
@pytest.mark.parametrize(
    ("name", "words"), [("catalog.json", ("--output.catalog", "true")), ("collection.json", ("--collection", "c"))]
)
def test_what_is_no_file_where_a_catalogue_goes(
    make: Callable[[Path], None], name: str, words: tuple[str, ...], items: Path, tmp_path: Path
) -> None:
    make(tmp_path / "out" / name)
    assert name in refuse(items, tmp_path, *words)


@pytest.mark.parametrize(
    "name", ["mosaic.tif", "scene_index.tif", "report.json", "report.html", "overview.png", "seamlines.gpkg"]
)
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_files_of_somebody_else_in_the_items_folder(name: str, kind: str, items: Path, tmp_path: Path) -> None:
    place = tmp_path / "out" / "m" / name
    write(place, "something") if kind == "file" else make_folder(place)
    assert f"m/{name}" in refuse(items, tmp_path)


@pytest.mark.parametrize("name", ["mosaic.tif", "m.json", "config.yaml"])
def test_folders_stand_in_the_way_of_overwriting_too(name: str, items: Path, tmp_path: Path) -> None:
    make_folder(tmp_path / "out" / "m" / name)
    assert f"m/{name}" in refuse(items, tmp_path, "--overwrite")


@pytest.mark.parametrize("executor", ["local", "tasks"])
def test_files_of_an_unfinished_attempt_stand_in_nobodys_way(executor: str, items: Path, tmp_path: Path) -> None:
    words = ("--executor", executor, "--created", "2026-01-31T12:00:00Z")
    assert run(items, tmp_path, *words).code == 0
    whole = read_files(tmp_path / "out")
    (tmp_path / "out" / "m" / "m.json").unlink()
    (tmp_path / "out" / "m" / "report.json").unlink()
    assert run(items, tmp_path, *words).code == 0
    assert read_files(tmp_path / "out") == whole
