"""A search on one STAC API, a mosaic, its Item posted to another and found there: real servers, which `make e2e` installs.

rustac serves the Items of sample scenes, whose rasters a web server has; stac-fastapi-pgstac on PostgreSQL with PostGIS takes
the mosaic's Item.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pystac_client
import pytest
from commands import Finished, read_files, run_command
from servers import answers, find_free_ports, find_program, run_server, run_web

from processor.synthetic.scenes import make_demo_scenes

API = os.environ.get("E2E_API_ENVIRONMENT", "")
POSTGRES = os.environ.get("E2E_POSTGRES", "")
COMMAND = Path(sysconfig.get_path("scripts")) / "mosaic-processor"
COLLECTION = "mosaics"

pytestmark = [
    pytest.mark.server,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not API or not POSTGRES, reason="needs PostGIS and a STAC API with transactions: run `make e2e`"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where everything is.

    source: landing page of the API that has the scenes.
    target: landing page of the API that takes Items.
    folder: working folder of the commands.
    """

    source: str
    target: str
    folder: Path

    @property
    def arguments(self) -> tuple[str, ...]:
        """What the mosaic is made of and where it goes."""
        search = ("--api", self.source, "--collections", "demo", "--bbox", "15,47.8,15.1,47.9", "--datetime", "2024-06")
        announced = ("--collection", COLLECTION, "--post", self.target, "--output.catalog")
        return (*search, "--output", "out", "--item-id", "june", *announced)

    def run(self, *more: str) -> Finished:
        """Run the installed command on what a search finds."""
        return self.call(*self.arguments, *more)

    def call(self, *arguments: str) -> Finished:
        """Run the installed command."""
        scratch = self.folder / "scratch"
        command = [str(COMMAND), "run"]
        trusting = {"MOSAIC_INPUTS__ALLOW_PRIVATE_NETWORKS": "true"}  # the API names scenes on another port of this machine
        return run_command(*arguments, cwd=self.folder, scratch=scratch, program=command, no_proxy="127.0.0.1", **trusting)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("e2e")
    document = json.loads(make_demo_scenes(folder / "web").read_text())
    with (
        run_web(folder / "web", folder / "web-log") as web,
        run_scenes_api(folder / "rustac", document, web.url) as source,
        run_pgstac_api() as target,
    ):
        yield Place(source=source, target=target, folder=folder)


@contextmanager
def run_scenes_api(folder: Path, document: dict[str, Any], rasters: str) -> Iterator[str]:
    """Serve the Items of scenes whose rasters are at a URL; the URL of the landing page."""
    for item in document["features"]:
        item["collection"] = "demo"
        for asset in item["assets"].values():
            asset["href"] = f"{rasters}/{asset['href'].removeprefix('./')}"
    folder.mkdir()
    (folder / "items.json").write_text(json.dumps(document))
    (port,) = find_free_ports(1)
    command = [find_program("rustac"), "serve", "--addr", f"127.0.0.1:{port}", "items.json"]
    url = f"http://127.0.0.1:{port}"
    with run_server(command, folder=folder, ready=lambda: answers(url)):
        yield url


@contextmanager
def run_pgstac_api() -> Iterator[str]:
    """Serve an empty catalogue with transactions from a database of its own; the URL of the landing page."""
    with (
        tempfile.TemporaryDirectory(prefix="mosaic-e2e-", ignore_cleanup_errors=True) as name,
        run_database(Path(name)) as port,
    ):
        folder = Path(name, "api")
        folder.mkdir()
        database = {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(port),
            "PGUSER": "postgres",
            "PGPASSWORD": "none",
            "PGDATABASE": "postgres",
        }
        variables = {**database, "ENABLE_TRANSACTIONS_EXTENSIONS": "TRUE"}
        environment = [f"{name}={value}" for name, value in variables.items()]
        subprocess.run(["env", *environment, f"{API}/bin/pypgstac", "migrate"], check=True, capture_output=True, timeout=100)
        (own,) = find_free_ports(1)
        application = ["stac_fastapi.pgstac.app:create_app", "--factory", "--host", "127.0.0.1", "--port", str(own)]
        command = ["env", *environment, f"{API}/bin/uvicorn", *application]
        url = f"http://127.0.0.1:{own}"
        with run_server(command, folder=folder, ready=lambda: answers(f"{url}/collections")):
            yield url


@contextmanager
def run_database(folder: Path) -> Iterator[int]:
    """PostgreSQL, which does not run as root, in a folder that is removed afterwards; its port."""
    folder.chmod(0o755)
    data = folder / "data"
    data.mkdir()
    as_user: Sequence[str] = ()
    if os.geteuid() == 0:
        shutil.chown(data, "postgres", "postgres")
        as_user = ("runuser", "-u", "postgres", "--")
    owner = pwd.getpwuid(data.stat().st_uid).pw_name
    (port,) = find_free_ports(1)

    def control(*command: str) -> None:
        done = subprocess.run([*as_user, *command], cwd=data, check=False, capture_output=True, timeout=60)
        assert done.returncode == 0, f"{command[0]} as {owner}: {done.stderr.decode()}"

    control(f"{POSTGRES}/initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8")
    settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={data} -c fsync=off"
    control(f"{POSTGRES}/pg_ctl", "-D", str(data), "-w", "-l", str(data / "log"), "-o", settings, "start")
    try:
        yield port
    finally:
        control(f"{POSTGRES}/pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop")


def find_items(place: Place) -> list[dict[str, Any]]:
    """What a search on the API that takes Items finds where the mosaic is."""
    client = pystac_client.Client.open(place.target)
    search = client.search(collections=[COLLECTION], bbox=[15.01, 47.83, 15.02, 47.84], datetime="2024-06-15")
    return list(search.items_as_dicts())


def list_events(finished: Finished) -> list[str]:
    return [event["event"] for event in finished.events]


def known(properties: dict[str, Any]) -> dict[str, Any]:
    """Properties without ``datetime: null``, which pgstac leaves out."""
    return {name: value for name, value in properties.items() if value is not None}


def test_an_item_is_posted_and_found_and_a_rerun_changes_nothing(place: Place) -> None:
    first = place.run()
    assert first.code == 0, first.stderr
    assert list_events(first)[-4:] == ["published", "collection-extended", "catalog-extended", "item-created"]
    (found,) = find_items(place)
    item = first.item
    assert found["collection"] == item["collection"] == COLLECTION
    for key in ("id", "geometry", "bbox", "assets"):
        assert found[key] == item[key], key
    assert known(found["properties"]) == known(item["properties"])
    assert sorted(found["stac_extensions"]) == sorted(item["stac_extensions"])
    origins = [link["href"] for link in found["links"] if link["rel"] == "derived_from"]
    assert origins == [f"{place.source}/collections/demo/items/scene_{row}_{col}" for row in (1, 2) for col in (1, 2, 3)]
    assert [link["href"] for link in found["links"] if link["rel"] == "canonical"] == [
        f"file://{place.folder}/out/june/june.json"
    ]
    collection = pystac_client.Client.open(place.target).get_collection(COLLECTION)
    own = json.loads((place.folder / "out" / "collection.json").read_text())
    assert collection.extent.to_dict() == own["extent"]

    before = read_files(place.folder / "out")
    again = place.run()
    assert again.code == 0, again.stderr
    assert list_events(again)[-4:] == ["already-done", "collection-extended", "catalog-extended", "item-unchanged"]
    assert read_files(place.folder / "out") == before
    assert find_items(place) == [found]


def test_what_the_first_run_did_not_come_to_is_done_by_the_same_command(place: Place) -> None:
    """Such as when the API was away after the Item was written."""
    flags = ("--item-id", "late", "--io.retries", "0")
    nowhere = place.run(*flags, "--post", "http://127.0.0.1:9")
    assert nowhere.code == 1, nowhere.stderr
    assert not (place.folder / "out" / "late").exists()  # it is found out before the work that the API does not answer
    unposted = [word for word in place.arguments if word not in {"--post", place.target}]
    assert place.call(*unposted, *flags).code == 0
    assert [item["id"] for item in find_items(place)] == ["june"]
    posted = place.run(*flags)
    assert posted.code == 0, posted.stderr
    assert list_events(posted)[-4:] == ["already-done", "collection-extended", "catalog-extended", "item-created"]
    assert sorted(item["id"] for item in find_items(place)) == ["june", "late"]


def test_another_item_of_this_id_is_a_conflict_unless_it_may_be_replaced(place: Place) -> None:
    place.run()
    shutil.rmtree(place.folder / "out" / "june")
    refused = place.run("--output.compression", "zstd")
    assert refused.code == 13, refused.stderr
    assert "exists and has other content: replace it with --overwrite" in refused.events[-1]["message"]
    replaced = place.run("--output.compression", "zstd", "--overwrite")
    assert replaced.code == 0, replaced.stderr
    assert list_events(replaced)[-1] == "item-replaced"
    (found,) = (item for item in find_items(place) if item["id"] == "june")
    assert known(found["properties"]) == known(replaced.item["properties"])
    assert found["assets"] == replaced.item["assets"]


def test_what_was_posted_can_be_searched_for_the_next_mosaic(place: Place) -> None:
    """Its files are on this machine, which a document from an API may name only if allowed."""
    place.run()
    search = ("--api", place.target, "--collections", COLLECTION, "--ids", "june", "--filter", "mosaic:scene_count > 1")
    options = ("--inputs.asset", "mosaic", "--output", "next", "--dry-run")
    refused = place.call(*search, *options)
    assert (refused.code, "allow_local_files" in refused.stderr) == (13, True)
    planned = place.call(*search, *options, "--inputs.allow_local_files")
    assert planned.code == 0, planned.stderr
    assert "june" in planned.stdout
