"""What a document from elsewhere names is not requested from private networks, by whatever way it leads there."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Finished, call_command, make_items, read_files
from outcomes import leaving_out_drawings
from servers import Counting, run_guarded, run_web
from stac_api import make_search_link, run_api

pytestmark = pytest.mark.server

WORDS = "is not requested: it leads into a private network or nowhere"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_items(tmp_path_factory.mktemp("private") / "scenes", edge=60).parent


@pytest.fixture
def inside(folder: Path, tmp_path: Path) -> Iterator[Counting]:
    """A server in a private network, which nobody named."""
    with run_web(folder, tmp_path / "inside") as server:
        yield server


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """The folder of the server that documents are from."""
    path = tmp_path / "served"
    path.mkdir()
    return path


def lead_to(folder: Path, url: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "items.json").read_text())
    for feature in document["features"]:
        asset = feature["assets"]["image"]
        asset["href"] = f"{url}/{asset['href'].removeprefix('./')}"
    return document


def run(tmp_path: Path, *words: str, output: str = "out") -> Finished:
    fixed = ("--output", output, "--item-id", "m", "--io.retries", "1")
    with leaving_out_drawings():
        return call_command("run", *words, *fixed, cwd=tmp_path, scratch=tmp_path / "scratch")


def assert_refused(done: Finished, inside: Counting) -> None:
    assert done.code == 13, done.stderr
    assert WORDS in done.events[-1]["message"]
    assert inside.take_counts() == []


@pytest.mark.parametrize("executor", ["local", "tasks"])
def test_scenes_are_read_from_the_documents_own_host_and_elsewhere_if_that_is_allowed(
    folder: Path, served: Path, inside: Counting, tmp_path: Path, executor: str
) -> None:
    for path in folder.iterdir():
        (served / path.name).symlink_to(path)
    (served / "led.json").write_text(json.dumps(lead_to(folder, inside.url)))
    with run_web(served, tmp_path / "log") as server:
        assert run(tmp_path, f"{server.url}/items.json", "--executor", executor, output="own").code == 0
        assert_refused(run(tmp_path, f"{server.url}/led.json", "--executor", executor), inside)
        done = run(tmp_path, f"{server.url}/led.json", "--executor", executor, "--inputs.allow_private_networks")
    assert done.code == 0, done.stderr
    assert inside.take_counts() != []
    assert read_files(tmp_path / "out" / "m")["mosaic.tif"] == read_files(tmp_path / "own" / "m")["mosaic.tif"]


def test_documents_of_this_machine_may_name_what_they_like(folder: Path, inside: Counting, tmp_path: Path) -> None:
    (tmp_path / "led.json").write_text(json.dumps(lead_to(folder, inside.url)))
    assert run(tmp_path, "led.json").code == 0


def test_a_catalogue_of_this_machine_may_too_and_what_it_leads_to_may_name_its_own_host(
    folder: Path, served: Path, inside: Counting, tmp_path: Path
) -> None:
    def write(path: Path, *links: tuple[str, str]) -> None:
        listed = [{"rel": rel, "href": href} for rel, href in links]
        path.write_text(json.dumps({"type": "Catalog", "id": path.stem, "links": listed}))

    for path in folder.iterdir():
        (served / path.name).symlink_to(path)
    with run_web(served, tmp_path / "log") as server:
        write(tmp_path / "catalog.json", ("item", "one.json"), ("child", f"{server.url}/child.json"))
        write(served / "child.json", ("item", "two.json"))
        (tmp_path / "one.json").write_text(json.dumps(lead_to(folder, inside.url)["features"][0]))
        (served / "two.json").write_text(json.dumps({**lead_to(folder, server.url)["features"][1], "links": []}))
        done = run(tmp_path, "catalog.json")
    assert done.code == 0, done.stderr


@pytest.mark.parametrize("written", ["2130706433", "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]", "localhost"])
def test_addresses_are_known_however_they_are_written(
    folder: Path, served: Path, inside: Counting, tmp_path: Path, written: str
) -> None:
    url = inside.url.replace("127.0.0.1", written)
    (served / "led.json").write_text(json.dumps(lead_to(folder, url)))
    with run_web(served, tmp_path / "log") as server:
        assert_refused(run(tmp_path, f"{server.url}/led.json"), inside)


def test_ports_cannot_be_told_apart(folder: Path, served: Path, inside: Counting, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    urls = {"open": inside.url, "closed": url, "absent": f"{inside.url}/nowhere"}
    messages = set()
    with run_web(served, tmp_path / "log") as server:
        for name, url in urls.items():
            (served / f"{name}.json").write_text(json.dumps(lead_to(folder, url)))
            done = run(tmp_path, f"{server.url}/{name}.json")
            assert_refused(done, inside)
            messages.add(done.events[-1]["message"].replace(url, "URL"))
    assert len(messages) == 1


@pytest.mark.parametrize("what", ["document", "scene"])
def test_a_redirect_leads_nowhere_else(folder: Path, inside: Counting, tmp_path: Path, what: str) -> None:
    with run_guarded(folder, tmp_path / "log", header="X", value="", send_on=inside.url) as server:
        (tmp_path / "led.json").write_text(json.dumps(lead_to(folder, server.url)))
        assert_refused(run(tmp_path, "led.json" if what == "scene" else f"{server.url}/items.json"), inside)


def test_links_of_a_catalogue_lead_nowhere_else(served: Path, inside: Counting, tmp_path: Path) -> None:
    links = [{"rel": "item", "href": f"{inside.url}/a.json"}]
    (served / "catalog.json").write_text(json.dumps({"type": "Catalog", "id": "c", "links": links}))
    with run_web(served, tmp_path / "log") as server:
        assert_refused(run(tmp_path, f"{server.url}/catalog.json"), inside)


@pytest.mark.parametrize("what", ["search", "scene"])
def test_an_api_leads_nowhere_else(folder: Path, inside: Counting, tmp_path: Path, what: str) -> None:
    with run_api() as api:
        api.links = [make_search_link(f"{inside.url if what == 'search' else api.url}/search", "GET")]
        api.items = {item["id"]: item for item in lead_to(folder, inside.url)["features"]}
        assert_refused(run(tmp_path, f"--api={api.url}"), inside)


def test_references_are_documents_too(folder: Path, served: Path, inside: Counting, tmp_path: Path) -> None:
    (served / "led.json").write_text(json.dumps(lead_to(folder, inside.url)))
    with run_web(served, tmp_path / "log") as server:
        done = run(tmp_path, str(folder / "items.json"), "--reference", f"{server.url}/led.json")
    assert_refused(done, inside)
    assert "--inputs.allow_private_networks" in done.events[-1]["message"]


def test_a_document_from_elsewhere_does_not_allow_itself(folder: Path, served: Path, inside: Counting, tmp_path: Path) -> None:
    options = {"process": {"options": {"inputs.allow_private_networks": True}}}
    (served / "led.json").write_text(json.dumps({**lead_to(folder, inside.url), **options}))
    with run_web(served, tmp_path / "log") as server:
        done = run(tmp_path, f"{server.url}/led.json", "--inputs.allow_local_files")
    assert done.code in {2, 13}, done.stderr
    assert inside.take_counts() == []


def test_gdal_is_not_asked_to_follow_servers(inside: Counting, tmp_path: Path) -> None:
    done = run(tmp_path, f"{inside.url}/a.tif", "--io.raster_backend", "gdal")
    assert done.code == 2
    assert "GDAL does not read http://" in done.events[-1]["message"]
