"""Documents that several runs extend at once: nobody's words are lost, in any storage."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import fsspec
import pytest
import servers
from botocore.exceptions import ClientError

from processor.errors import ConfigError, StorageError
from processor.storage import conditional as swap
from processor.storage.conditional import read_version, swap_bytes
from processor.storage.store import Store
from stac.write.update import update_document

KIND = "application/json"


@pytest.fixture(params=["file", "memory", *(pytest.param(name, marks=pytest.mark.server) for name in ("s3", "gs", "az"))])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Store, str]:
    """A store, and the URL of a document in it that is not there yet."""
    if request.param == "file":
        return Store(), str(tmp_path / "new" / "d.json")
    name = f"{request.node.name.replace('[', '-').rstrip(']')}/d.json"
    if request.param == "memory":
        fsspec.filesystem("memory").store.pop(f"/{name}", None)
        return Store(), f"memory://{name}"
    server: servers.ObjectServer = request.getfixturevalue(
        {"s3": "s3_server", "gs": "gcs_server", "az": "azure_server"}[request.param]
    )
    return server.store, f"{server.base}/{name}"


def test_a_document_is_made_once_and_replaced_only_while_it_is_the_one_that_was_read(place: tuple[Store, str]) -> None:
    store, url = place
    assert read_version(store, url) == (None, None)
    assert swap_bytes(store, url, b"1", None, content_type=KIND)
    assert not swap_bytes(store, url, b"2", None, content_type=KIND)
    data, version = read_version(store, url)
    assert data == b"1"
    assert swap_bytes(store, url, b"3", version, content_type=KIND)
    assert not swap_bytes(store, url, b"4", version, content_type=KIND)
    assert read_version(store, url)[0] == b"3"


def test_a_version_is_of_the_content_or_a_newer_one_even_where_another_writes_meanwhile(place: tuple[Store, str]) -> None:
    store, url = place
    swap_bytes(store, url, b"1", None, content_type=KIND)
    first = read_version(store, url)[1]
    store.write_bytes(url, b"2", overwrite=True)
    assert not swap_bytes(store, url, b"3", first, content_type=KIND)
    assert store.read_bytes(url, max_bytes=9) == b"2"


def extend(store: Store, url: str, words: list[str]) -> None:
    """Add words to a document, one by one, as a run does."""

    def read() -> tuple[dict[str, list[str]] | None, str | None]:
        data, version = read_version(store, url)
        return (None if data is None else json.loads(data)), version

    for word in words:
        update_document(
            read,
            lambda document, version: swap_bytes(store, url, json.dumps(document).encode(), version, content_type=KIND),
            partial(add, word),
            name=url,
            attempts=100,
        )


def extend_file(url: str, *words: str) -> None:
    """The same, as the program of a process."""
    extend(Store(), url, list(words))


def add(word: str, document: dict[str, list[str]] | None) -> dict[str, list[str]]:
    known = document["words"] if document is not None else []
    return {"words": known if word in known else [*known, word]}


def list_words(count: int, each: int) -> list[list[str]]:
    return [[f"{writer}-{number}" for number in range(each)] for writer in range(count)]


def run_together(calls: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=call, daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_what_two_write_at_once_is_all_there(place: tuple[Store, str]) -> None:
    store, url = place
    words = list_words(2, 5)
    run_together([partial(extend, store, url, own) for own in words])
    found = json.loads(store.read_bytes(url, max_bytes=10_000))["words"]
    assert sorted(found) == sorted(word for own in words for word in own)


def test_what_processes_write_at_once_into_a_file_is_all_there_and_no_lock_is_left(tmp_path: Path) -> None:
    url, words = str(tmp_path / "d.json"), list_words(2, 20)
    paths = [str(Path(module).parent) for module in (__file__, servers.__file__)]
    script = f"import sys; sys.path[:0] = {paths}; import test_conditional as t; t.extend_file(*sys.argv[1:])"
    processes = [subprocess.Popen([sys.executable, "-c", script, url, *own]) for own in words]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    assert sorted(json.loads(Path(url).read_text())["words"]) == sorted(word for own in words for word in own)
    assert [path.name for path in tmp_path.iterdir()] == ["d.json"]


def test_the_lock_of_a_writer_that_was_killed_does_not_stop_the_next_one(tmp_path: Path) -> None:
    (tmp_path / ".d.json.lock").touch()
    assert swap_bytes(Store(), str(tmp_path / "d.json"), b"1", None, content_type=KIND)
    assert [path.name for path in tmp_path.iterdir()] == ["d.json"]


@pytest.mark.parametrize(("code", "lost"), [("ConditionalRequestConflict", True), ("SlowDown", False)])
def test_two_requests_at_one_moment_are_a_race_that_was_lost(code: str, lost: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Amazon says so with status 409; the server of these tests does not."""

    class Bucket:
        def pipe_file(self, *_: object, **__: object) -> None:
            error = OSError(5, "conflict")
            raise error from ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 409}}, "PutObject")

    monkeypatch.setattr(swap, "find_filesystem", lambda *_: Bucket())
    if lost:
        assert not swap_bytes(Store(), "s3://bucket/d.json", b"1", "v", content_type=KIND)
    else:
        with pytest.raises(StorageError):
            swap_bytes(Store(), "s3://bucket/d.json", b"1", "v", content_type=KIND)


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(ConfigError, match="read only"):
        read_version(Store(), "https://host/d.json")
    with pytest.raises(ConfigError, match="read only"):
        swap_bytes(Store(), "https://host/d.json", b"1", None, content_type=KIND)
