"""One run from and to every kind of storage, local, S3, GCS, Azure, HTTP, memory, archives: the same mosaic byte for byte."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import geopandas
import pytest
import shapely
from commands import CREATED, Finished, call_command, make_items, read_files
from scenes import LEFT, TOP
from servers import (
    AZURE_KEY,
    READ_ONLY_KEY,
    READ_ONLY_SECRET,
    SECRET,
    WRONG_AZURE_KEY,
    Counting,
    ObjectServer,
    azure_options,
    run_web,
    s3_options,
)

OPTIONS = ("--item-id", "mosaic", "--created", CREATED, "--local_block_adjustment.number_of_blocks", "4")
SAME = (
    "mosaic.tif",
    "scene_index.tif",
    "adjustments.json",
    "seamlines.gpkg",
    "block_maps.npz",
    "overview.png",
)
"""What names no input; the report, the Item and the digest in the configuration tell of the inputs' places."""

PERMANENT = 13


@dataclass(frozen=True, kw_only=True)
class Place:
    """A folder of the test's own, with the scenes in it.

    folder: path of the local files from which everything else was copied.
    files: what the run of these files published.
    """

    folder: Path
    items: Path
    scratch: Path
    files: dict[str, bytes]

    def run(self, *arguments: str) -> Finished:
        """Run the command."""
        return call_command("run", *arguments, *OPTIONS, cwd=self.folder, scratch=self.scratch)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Scenes as local files, and what a run makes of them."""
    folder = tmp_path_factory.mktemp("places")
    items = make_items(folder / "web" / "in", edge=300)
    place = Place(folder=folder, items=items, scratch=folder / "scratch", files={})
    done = place.run(str(items), "--output", str(folder / "out"))
    assert done.code == 0, done.stderr
    return Place(folder=folder, items=items, scratch=place.scratch, files=read_files(folder / "out" / "mosaic"))


def assert_same(files: dict[str, bytes], expected: dict[str, bytes]) -> None:
    """The same files, and those that name no input with the same bytes."""
    assert sorted(set(files) - {"traffic.json"}) == sorted(expected)
    assert [name for name in SAME if files[name] != expected[name]] == []


@pytest.mark.server
@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")  # gcsfs and adlfs do
@pytest.mark.parametrize("backend", ["gdal", "fsspec"])
@pytest.mark.parametrize("object_server", ["s3", "gs", "az"], indirect=True)
def test_a_run_from_and_to_a_bucket(local: Place, object_server: ObjectServer, backend: str) -> None:
    server = object_server
    url = server.put_folder(local.folder / "web" / "in", f"places-{backend}/in")
    output = f"{server.base}/places-{backend}/out"
    done = local.run(f"{url}/items.json", "--output", output, *server.options, "--io.raster_backend", backend)
    assert done.code == 0, done.stderr
    files = server.get_folder(f"places-{backend}/out/mosaic")
    assert_same(files, local.files)
    passes = json.loads(files["traffic.json"])["passes"]
    assert passes["measure"]["bytes"] > 0
    assert passes["measure"]["requests"] > 0
    item = json.loads(files["mosaic.json"])
    assert all("traffic" not in asset["href"] for asset in item["assets"].values())
    inputs = [link["href"] for link in item["links"] if link["rel"] in {"derived_from", "via"}]
    assert len(inputs) == 3
    told = done.stderr.encode() + done.stdout.encode() + b"".join(files.values())
    assert SECRET.encode() not in told
    assert AZURE_KEY.encode() not in told
    again = local.run(f"{url}/items.json", "--output", output, *server.options)
    assert [event["event"] for event in again.events if event["event"] == "already-done"] == ["already-done"]


@pytest.fixture(scope="module")
def web(local: Place) -> Iterator[Counting]:
    with run_web(local.folder / "web", local.folder / "log") as server:
        yield server


@pytest.mark.server
def test_a_run_from_a_web_server(local: Place, web: Counting) -> None:
    output = local.folder / "http"
    done = local.run(f"{web.url}/in/items.json", "--output", str(output))
    assert done.code == 0, done.stderr
    assert_same(read_files(output / "mosaic"), local.files)
    assert web.take_sizes(), "the server was not asked"


def test_a_run_from_and_to_memory(local: Place) -> None:
    filesystem = fsspec.filesystem("memory")
    filesystem.put(f"{local.folder}/web/in", "/places/in", recursive=True)
    try:
        done = local.run("memory://places/in/items.json", "--output", "memory://places/out")
        assert done.code == 0, done.stderr
        found = {path.removeprefix("/places/out/mosaic/"): filesystem.cat_file(path) for path in filesystem.find("/places/out")}
        assert_same(found, local.files)
    finally:
        filesystem.rm("/places", recursive=True)


def test_a_run_from_an_archive(local: Place) -> None:
    archive = local.folder / "scenes.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted((local.folder / "web" / "in").glob("*.tif")):
            file.write(path, f"in/{path.name}")
    hrefs = [f"zip://in/{name}.tif::{archive}" for name in "abc"]
    done = local.run(*hrefs, "--output", str(local.folder / "zip"))
    assert done.code == 0, done.stderr
    plain = local.run(*(f"{local.folder}/web/in/{name}.tif" for name in "abc"), "--output", str(local.folder / "plain"))
    assert plain.code == 0, plain.stderr
    assert_same(read_files(local.folder / "zip" / "mosaic"), read_files(local.folder / "plain" / "mosaic"))


def test_gdal_is_not_asked_for_what_it_does_not_speak(local: Place) -> None:
    done = local.run("memory://places/a.tif", "--output", str(local.folder / "never"), "--io.raster_backend", "gdal")
    assert done.code == PERMANENT


@pytest.mark.server
def test_every_other_input_comes_from_a_bucket_too(local: Place, s3_server: ObjectServer, tmp_path: Path) -> None:
    """Configuration, a vector file of several parts, block maps and adjustments."""
    area = geopandas.GeoDataFrame(geometry=[shapely.box(LEFT + 20, TOP - 400, LEFT + 450, TOP - 30)], crs="EPSG:32633")
    given = tmp_path / "given"
    given.mkdir()
    area.to_file(given / "area.shp", engine="pyogrio")
    (given / "block_maps.npz").write_bytes(local.files["block_maps.npz"])
    (given / "adjustments.json").write_bytes(local.files["adjustments.json"])

    def settings(base: str) -> str:
        sections: dict[str, Any] = {
            "global_regression": {"load_adjustments": f"{base}/adjustments.json"},
            "voronoi_center_seamline": {"aoi_path": f"{base}/area.shp"},
            "local_block_adjustment": {"load_block_maps": [f"{base}/block_maps.npz", [f"{base}/block_maps.npz"]]},
        }
        return json.dumps(sections)  # which is YAML

    url = f"{s3_server.base}/given"
    (given / "remote.yaml").write_text(settings(url))
    (tmp_path / "local.yaml").write_text(settings(str(given)))
    s3_server.put_folder(given, "given")
    here = local.run(str(local.items), "--output", str(tmp_path / "here"), "--config", str(tmp_path / "local.yaml"))
    assert here.code == 0, here.stderr
    there = local.run(
        str(local.items), "--output", str(tmp_path / "there"), "--config", f"{url}/remote.yaml", *s3_server.options
    )
    assert there.code == 0, there.stderr
    assert_same(read_files(tmp_path / "there" / "mosaic"), read_files(tmp_path / "here" / "mosaic"))
    assert read_files(tmp_path / "there" / "mosaic")["mosaic.tif"] != local.files["mosaic.tif"]


@pytest.mark.server
@pytest.mark.parametrize("backend", ["gdal", "fsspec"])
@pytest.mark.parametrize("object_server", ["s3", "az"], indirect=True)
def test_a_wrong_key_is_refused_by_either_backend(local: Place, object_server: ObjectServer, backend: str) -> None:
    server = object_server
    url = server.put_folder(local.folder / "web" / "in", "wrong-key/in")
    options = (
        s3_options(server.endpoint, secret="WRONG")  # noqa: S106 - and is meant to be
        if server.base.startswith("s3")
        else azure_options(server.endpoint, key=WRONG_AZURE_KEY)
    )
    done = local.run(f"{url}/a.tif", "--output", f"{server.base}/wrong-key/out", *options, "--io.raster_backend", backend)
    assert done.code == PERMANENT
    (error,) = [event for event in done.events if event["level"] == "error"]
    assert error["message"].startswith(f"scene a: access to {url}/a.tif is denied (")
    assert "check the credentials" in error["message"]
    assert "WRONG" not in done.stderr
    assert WRONG_AZURE_KEY not in done.stderr
    assert server.get_folder("wrong-key/out") == {}


@pytest.mark.server
def test_a_key_that_may_only_read_publishes_nothing_and_is_refused_before_a_pixel_is_read(
    local: Place, s3_server: ObjectServer
) -> None:
    url = s3_server.put_folder(local.folder / "web" / "in", "read-only-key/in")
    options = s3_options(s3_server.endpoint, key=READ_ONLY_KEY, secret=READ_ONLY_SECRET)
    output = f"{s3_server.base}/read-only-key/out"
    done = local.run(f"{url}/items.json", "--output", output, *options)
    assert done.code == PERMANENT
    (error,) = [event for event in done.events if event["level"] == "error"]
    assert error["message"].startswith(f"access to {output}/mosaic/")
    assert "is denied" in error["message"]
    assert "solved" not in [event["event"] for event in done.events]
    assert s3_server.get_folder("read-only-key/out") == {}
    assert s3_server.list_uploads() == []
