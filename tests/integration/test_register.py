"""Where a published Item is made known: its Collection, the catalogue of its folder, a STAC API, a workflow."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pystac
import pytest
from commands import Finished, call_command, make_items, read_files
from outcomes import leaving_out_drawings
from servers import ObjectServer
from stac_api import FakeApi, Said, run_api

from processor.config import load_config
from processor.errors import StorageError
from processor.publish import register as module
from processor.publish.register import plan_registration
from processor.storage.store import Store
from stac.api.request import SearchRequest


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_items(tmp_path_factory.mktemp("scenes"), edge=60)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("STAC_API_TOKEN", "STAC_POST_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with leaving_out_drawings():
        yield


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with run_api() as api:
        yield api


def run(folder: Path, *arguments: str, item_id: str = "m") -> Finished:
    return call_command(
        *("run", *arguments, "--output", "out", "--item-id", item_id, "--io.retries", "0"),
        cwd=folder,
        scratch=folder / "scratch",
    )


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def list_links(document: dict[str, Any], *rels: str) -> list[tuple[str, str]]:
    return [(link["rel"], link["href"]) for link in document["links"] if link["rel"] in rels]


def list_events(finished: Finished) -> list[str]:
    return [event["event"] for event in finished.events]


def test_a_collection_and_a_catalogue_are_made_extended_and_then_left_alone(items: Path, tmp_path: Path) -> None:
    flags = (str(items), "--collection", "mosaics", "--output.catalog")
    assert run(tmp_path, *flags).code == 0
    item, collection, catalog = (read(tmp_path / "out" / name) for name in ("m/m.json", "collection.json", "catalog.json"))
    assert item["collection"] == collection["id"] == "mosaics"
    assert list_links(item, "root", "parent", "collection") == [
        ("root", "../catalog.json"),
        ("parent", "../collection.json"),
        ("collection", "../collection.json"),
    ]
    assert list_links(collection, "root", "parent", "item") == [
        ("root", "./catalog.json"),
        ("parent", "./catalog.json"),
        ("item", "./m/m.json"),
    ]
    assert list_links(catalog, "root", "item", "child") == [
        ("root", "./catalog.json"),
        ("item", "./m/m.json"),
        ("child", "./collection.json"),
    ]
    assert collection["extent"]["spatial"]["bbox"] == [item["bbox"]]
    walked = pystac.Catalog.from_file(str(tmp_path / "out" / "catalog.json"))
    assert {found.id for found in walked.get_items(recursive=True)} == {"m"}

    before = read_files(tmp_path / "out")
    assert list_events(run(tmp_path, *flags))[-3:] == ["already-done", "collection-extended", "catalog-extended"]
    assert read_files(tmp_path / "out") == before
    assert run(tmp_path, *flags, item_id="n").code == 0
    assert [href for _, href in list_links(read(tmp_path / "out" / "collection.json"), "item")] == ["./m/m.json", "./n/n.json"]


def test_a_users_collection_is_extended_where_it_is(items: Path, tmp_path: Path) -> None:
    extent = {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [[None, None]]}}
    mine = {"type": "Collection", "stac_version": "1.1.0", "id": "mine", "description": "d", "license": "CC0-1.0"}
    path = tmp_path / "stac" / "mine.json"
    path.parent.mkdir()
    root = [{"rel": "root", "href": "../root.json"}]
    path.write_text(json.dumps({**mine, "extent": extent, "links": root}))
    assert run(tmp_path, str(items), "--collection", "stac/mine.json").code == 0
    item, collection = read(tmp_path / "out" / "m" / "m.json"), read(path)
    assert {key: collection[key] for key in mine} == mine
    assert list_links(collection, "item") == [("item", "../out/m/m.json")]
    assert item["collection"] == "mine"
    assert list_links(item, "root", "collection") == [("root", "../../root.json"), ("collection", "../../stac/mine.json")]


def test_an_announcement_that_fails_is_completed_by_the_same_command(
    items: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> bool:
        msg = "the bucket is away"
        raise StorageError(msg)

    flags = (str(items), "--collection", "mosaics")
    with monkeypatch.context() as patch:
        patch.setattr(module, "swap_bytes", fail)
        failed = run(tmp_path, *flags)
    assert failed.code == 1
    assert "the bucket is away" in failed.events[-1]["message"]
    assert (tmp_path / "out" / "m" / "m.json").exists()
    assert not (tmp_path / "out" / "collection.json").exists()
    assert list_events(run(tmp_path, *flags))[-2:] == ["already-done", "collection-extended"]
    assert list_links(read(tmp_path / "out" / "collection.json"), "item") == [("item", "./m/m.json")]


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (("--collection", "a/b"), 2, "neither the path or URL of a Collection (.json) nor an id"),
        (("--collection", "none.json"), 2, "does not exist: give the id of a Collection"),
        (("--collection", "https://host/c.json"), 2, "read only"),
        (("--collection", "items.json"), 13, "not a STAC Collection"),
        (("--post", "https://host"), 2, "needs --collection"),
        (("--post", "nowhere", "--collection", "c"), 2, "--post nowhere is not the URL of a STAC API"),
        (("--post", "http://127.0.0.1:9", "--collection", "c"), 1, "failed 1 times"),
    ],
)
def test_what_cannot_be_is_refused_before_a_pixel_is_read(
    flags: tuple[str, ...], code: int, said: str, items: Path, tmp_path: Path
) -> None:
    (tmp_path / "items.json").write_text(items.read_text())
    refused = run(tmp_path, str(items), *flags)
    assert (refused.code, refused.stdout) == (code, "")
    assert said in refused.events[-1]["message"]
    assert not (tmp_path / "out").exists()


def test_a_folder_has_one_collection_and_an_item_belongs_to_one(items: Path, tmp_path: Path) -> None:
    assert run(tmp_path, str(items)).code == 0
    refused = run(tmp_path, str(items), "--collection", "late")
    assert refused.code == 13
    assert "exists as an Item of no Collection, not of 'late': replace it with --overwrite" in refused.events[-1]["message"]
    assert run(tmp_path, str(items), "--collection", "late", "--overwrite").code == 0
    refused = run(tmp_path, str(items), "--collection", "other", item_id="n")
    assert refused.code == 2
    assert "is the Collection 'late', not 'other'" in refused.events[-1]["message"]


@pytest.mark.parametrize("executor", ["local", "tasks"])
def test_an_item_is_posted_and_an_other_one_of_its_id_is_a_conflict(
    items: Path, tmp_path: Path, api: FakeApi, executor: str
) -> None:
    flags = (str(items), "--collection", "mosaics", "--post", api.url, "--executor", executor)
    assert list_events(run(tmp_path, *flags))[-1] == "item-created"
    assert set(api.collections) == {"mosaics"}
    assert api.items["m"]["collection"] == "mosaics"
    assert api.items["m"]["assets"]["mosaic"]["href"] == f"file://{tmp_path}/out/m/mosaic.tif"
    assert list_events(run(tmp_path, *flags))[-1] == "item-unchanged"
    api.items["m"]["properties"]["mosaic:digest"] = "another"
    refused = run(tmp_path, *flags)
    assert refused.code == 13
    assert "exists and has other content" in refused.events[-1]["message"]
    assert list_events(run(tmp_path, *flags, "--overwrite"))[-1] == "item-replaced"


def test_an_api_that_fails_after_the_item_was_written_gets_it_from_the_next_run(
    items: Path, tmp_path: Path, api: FakeApi
) -> None:
    flags = (str(items), "--collection", "mosaics", "--post", api.url)
    api.say("POST", "/collections", Said(status=503))
    failed = run(tmp_path, *flags)
    assert failed.code == 1
    assert list_links(read(tmp_path / "out" / "collection.json"), "item") == [("item", "./m/m.json")]
    assert list_events(run(tmp_path, *flags))[-1] == "item-created"


@pytest.mark.server
@pytest.mark.parametrize("server", ["s3_server", "gcs_server"])
def test_a_collection_in_a_bucket_is_made_and_extended_there(
    server: str, items: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    bucket: ObjectServer = request.getfixturevalue(server)
    folder, scratch = f"{bucket.base}/announce", tmp_path / "scratch"
    for item_id in ("m", "n", "m"):
        flags = ("--output", folder, "--item-id", item_id, "--collection", "mosaics", "--output.catalog", *bucket.options)
        done = call_command("run", str(items), *flags, cwd=tmp_path, scratch=scratch)
        assert done.code == 0, done.stderr
    files = bucket.get_folder("announce")
    collection, catalog = (json.loads(files[name]) for name in ("collection.json", "catalog.json"))
    assert list_links(collection, "self", "item") == [
        ("self", f"{folder}/collection.json"),
        ("item", "./m/m.json"),
        ("item", "./n/n.json"),
    ]
    assert [href for _, href in list_links(catalog, "item", "child")] == ["./m/m.json", "./collection.json", "./n/n.json"]
    scheme = bucket.base.partition("://")[0]
    alternate = json.loads(files["m/m.json"])["assets"]["mosaic"]["alternate"]
    assert alternate[scheme]["href"] == f"{folder}/m/mosaic.tif"


# Tokens


def find_token(post: str, api: FakeApi, inputs: tuple[str, ...] | SearchRequest = ("in.json",)) -> tuple[str | None, str]:
    registration = plan_registration(
        destination="out", collection="c", post=post, inputs=inputs, config=load_config(environment={}), store=Store()
    )
    assert registration.token is None or registration.token not in repr(registration)
    sent = api.asked[-1].headers.get("Authorization")
    assert sent == (None if registration.token is None else f"Bearer {registration.token}")
    return registration.token, registration.token_name


def test_a_token_for_one_api_is_not_given_to_another(api: FakeApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    elsewhere = SearchRequest(api="https://other.example.org")
    assert find_token(api.url, api) == (None, "STAC_POST_TOKEN")
    monkeypatch.setenv("STAC_API_TOKEN", "read")
    assert find_token(api.url, api) == ("read", "STAC_API_TOKEN")
    assert find_token(api.url, api, SearchRequest(api=f"{api.url}/v1")) == ("read", "STAC_API_TOKEN")
    assert find_token(api.url, api, elsewhere) == (None, "STAC_POST_TOKEN")
    monkeypatch.setenv("STAC_POST_TOKEN", "write")
    assert find_token(api.url, api, elsewhere) == find_token(api.url, api) == ("write", "STAC_POST_TOKEN")


# Workflows


def make_payload(items: Path) -> dict[str, Any]:
    document = read(items)
    for feature in document["features"]:
        feature["assets"]["image"]["href"] = str(items.parent / feature["assets"]["image"]["href"])
    tasks = {"mosaic": {"local_block_adjustment": {"number_of_blocks": [3, 1]}}, "other": {}}
    return {**document, "id": "w/workflow-mosaic/x", "process": [{"workflow": "mosaic", "tasks": tasks}, {"workflow": "next"}]}


@pytest.mark.parametrize("place", ["file", "url", "stdin"])
def test_a_payload_comes_out_with_the_mosaic_in_it(
    place: str, items: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    payload = make_payload(items)
    data = json.dumps(payload).encode()
    argument, flags = str(tmp_path / "payload.json"), ()
    if place == "url":
        argument, flags = "memory://workflow/payload.json", ("--inputs.allow_local_files",)
        fsspec.filesystem("memory").pipe_file(argument, data)
    elif place == "stdin":
        argument, flags = "-", ("--inputs.allow_local_files",)
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    else:
        Path(argument).write_bytes(data)
    finished = run(tmp_path, argument, *flags)
    assert finished.code == 0, finished.stderr
    out = json.loads(finished.stdout)
    assert {key: out[key] for key in out if key != "features"} == {
        key: payload[key] for key in payload if key not in {"features", "links"}
    }
    (item,) = out["features"]
    assert item["id"] == "m"
    assert {asset["href"].partition("/out/")[0] for asset in item["assets"].values()} == {f"file://{tmp_path}"}
    assert item["assets"]["mosaic"]["href"].endswith("/out/m/mosaic.tif")
    assert [link["title"] for link in item["links"] if link["rel"] in {"derived_from", "via"}] == ["a", "b", "c"]
    assert "number_of_blocks:\n  - 3\n  - 1" in (tmp_path / "out" / "m" / "config.yaml").read_text()
    with contextlib.suppress(FileNotFoundError):
        fsspec.filesystem("memory").rm(argument)
    if place == "file":
        again = run(tmp_path, argument)
        assert json.loads(again.stdout) == out


def test_an_item_collection_comes_out_of_one(items: Path, tmp_path: Path) -> None:
    out = json.loads(run(tmp_path, str(items)).stdout)
    assert set(out) == {"type", "features"}


def test_a_plan_for_tasks_cannot_post(items: Path, tmp_path: Path, api: FakeApi) -> None:
    flags = ("--output", "out", "--collection", "mosaics", "--post", api.url)
    done = call_command("plan", str(items), *flags, cwd=tmp_path, scratch=tmp_path / "scratch")
    assert done.code == 2
    assert "--post takes a token, which no task is given" in done.events[-1]["message"]
