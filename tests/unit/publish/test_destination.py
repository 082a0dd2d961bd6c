"""Publishing against a store in memory: the lock first, the Item last, nothing of another run named by an Item."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec
import pytest
from records import make_artifact

from processor.errors import ConfigError, ExistsError
from processor.publish.artifacts import LOCK, ArtifactFile
from processor.publish.destination import Destination, check_destination, lock_folder, publish
from processor.storage.store import Store, Written

DIGEST = "d" * 64
CREATED = "2026-01-31T12:00:00Z"


class Recorder(Store):
    """A store that takes a file's name for its content, and remembers the order in which it was given them."""

    written: list[str]
    fail_at: str | None = None

    def upload_file(self, path: object, url: str, **options: Any) -> Written:
        options.pop("written")
        return self.write_bytes(url, str(path).encode(), **options)

    def write_bytes(self, url: str, data: bytes, **options: Any) -> Written:
        name = url.removeprefix("memory://out/m/")
        if name == type(self).fail_at:
            msg = "killed"
            raise KeyboardInterrupt(msg)
        done = super().write_bytes(url, data, **options)
        type(self).written.append(name)
        return done


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    Recorder.written, Recorder.fail_at = [], None
    fsspec.filesystem("memory").store.clear()  # of what tests elsewhere left
    yield
    fsspec.filesystem("memory").store.clear()


def make_destination(
    *, overwrite: bool = False, digest: str = DIGEST, lock: str = "mine", is_shared: bool = False
) -> Destination:
    return Destination(
        store=Recorder(),
        folder="memory://out/m",
        item_id="m",
        overwrite=overwrite,
        digest=digest,
        created=CREATED,
        lock=lock,
        is_shared=is_shared,
    )


def replace_all(artifacts: Sequence[ArtifactFile], item: dict[str, Any], **options: Any) -> None:
    """Publish over what is there, as a run with ``--overwrite`` does."""
    destination = make_destination(overwrite=True)
    publish(destination, artifacts, (), item, previous=lock_folder(destination), **options)


def make_product(path: str, content: str = "") -> ArtifactFile:
    data = content or f"content of {path}"
    checksum = hashlib.sha256(data.encode()).hexdigest()
    artifact = make_artifact(path.replace("/", "_"), path, media_type="text/plain", size=len(data), sha256=checksum)
    return ArtifactFile(artifact=artifact, file=Path(data))


def make_item(*paths: str, digest: str = DIGEST) -> dict[str, Any]:
    assets = {path: {"href": f"./{path}"} for path in paths}
    return {"id": "m", "properties": {"mosaic:digest": digest}, "assets": assets}


PATHS = ("mosaic.tif", "maps/a.tif", LOCK, "report.json")
PRODUCTS = tuple(map(make_product, PATHS))


def list_stored() -> dict[str, str]:
    found = fsspec.filesystem("memory").store
    return {name.removeprefix("/out/m/"): file.getvalue().decode() for name, file in found.items()}


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_the_lock_is_published_first_and_the_item_last(threads: int) -> None:
    publish(make_destination(), PRODUCTS, (), make_item(*PATHS), threads=threads)
    assert Recorder.written[0] == LOCK
    assert Recorder.written[-1] == "m.json"
    assert sorted(Recorder.written) == sorted([*PATHS, "m.json"])
    assert json.loads(list_stored()["m.json"]) == make_item(*PATHS)


def test_a_published_item_with_the_same_digest_is_found_and_another_is_refused() -> None:
    destination = make_destination()
    assert destination.find_item() is None
    publish(destination, PRODUCTS, (), make_item(*PATHS), threads=2)
    assert destination.find_item() == destination.check() == make_item(*PATHS)
    with pytest.raises(ExistsError, match=r"m\.json exists and was made from other inputs.*--overwrite.*--item-id"):
        make_destination(digest="e" * 64).find_item()


def test_where_an_item_is_replaced_only_one_of_the_same_run_in_another_process_counts_as_done() -> None:
    publish(make_destination(), PRODUCTS, (), make_item(*PATHS), threads=2)
    assert make_destination(overwrite=True).find_item() is None
    assert make_destination(overwrite=True, is_shared=True).find_item() is None  # made at another time
    own = make_item(*PATHS)
    own["properties"]["created"] = CREATED
    make_destination().store.write_bytes("memory://out/m/m.json", json.dumps(own).encode(), overwrite=True)
    assert make_destination(overwrite=True, is_shared=True).find_item() == own
    assert make_destination(overwrite=True).find_item() is None
    with pytest.raises(ExistsError, match="published meanwhile"):
        lock_folder(make_destination(overwrite=True, is_shared=True))


def test_a_lock_of_another_run_is_refused_and_ones_own_or_none_is_not() -> None:
    assert make_destination().check() is None
    make_destination().store.write_bytes(f"memory://out/m/{LOCK}", b"mine")
    assert make_destination().check() is None
    with pytest.raises(ExistsError, match=r"config\.yaml.*unfinished run.*--overwrite.*--item-id"):
        make_destination(lock="another's").check()


def test_a_run_that_would_mix_its_files_with_those_of_another_publishes_nothing() -> None:
    make_destination().store.write_bytes(f"memory://out/m/{LOCK}", b"of another run")
    before = list_stored()
    with pytest.raises(ExistsError):
        publish(make_destination(), PRODUCTS, (), make_item(*PATHS), threads=4)
    assert list_stored() == before


def test_files_that_are_there_with_the_same_bytes_are_taken_as_done() -> None:
    destination = make_destination()
    Recorder.fail_at = "m.json"
    with pytest.raises(KeyboardInterrupt):
        publish(destination, PRODUCTS, (), make_item(*PATHS), threads=4)
    assert sorted(list_stored()) == sorted(PATHS)
    Recorder.fail_at = None
    publish(destination, PRODUCTS, (), make_item(*PATHS), threads=4)
    assert sorted(list_stored()) == sorted([*PATHS, "m.json"])


def test_overwriting_replaces_what_differs_and_removes_what_the_former_run_alone_had() -> None:
    former = (*PRODUCTS, make_product("maps/b.tif"))
    publish(make_destination(), former, (), make_item(*PATHS, "maps/b.tif", digest="e" * 64), threads=2)
    make_destination().store.write_bytes("memory://out/m/notes.txt", b"mine")
    new = (*PRODUCTS[1:], make_product("mosaic.tif", "new"))
    replace_all(new, make_item(*PATHS), threads=2)
    stored = list_stored()
    assert sorted(stored) == sorted([*PATHS, "m.json", "notes.txt"])
    assert stored["mosaic.tif"] == "new"
    assert make_destination().find_item() == make_item(*PATHS)


@pytest.mark.parametrize("failing", [*PATHS, "m.json"])
def test_overwriting_that_is_interrupted_leaves_no_item(failing: str) -> None:
    publish(make_destination(), PRODUCTS, (), make_item(*PATHS, digest="e" * 64), threads=2)
    Recorder.fail_at = failing
    with pytest.raises(KeyboardInterrupt):
        replace_all(PRODUCTS, make_item(*PATHS), threads=1)
    assert "m.json" not in list_stored()


@pytest.mark.parametrize(
    "href",
    ["../other/a.tif", "./../other/a.tif", "memory://other/a.tif", "/other/a.tif", "./%2Fother/a.tif", "./%2e%2e/other/a.tif"],
)
def test_overwriting_removes_nothing_outside_the_folder_whatever_the_former_item_names(href: str) -> None:
    fsspec.filesystem("memory").pipe_file("memory://other/a.tif", b"of somebody else")
    fsspec.filesystem("memory").pipe_file("memory://out/other/a.tif", b"of somebody else")
    former = make_item(digest="e" * 64)
    former["assets"]["bad"] = {"href": href}
    make_destination().store.write_bytes("memory://out/m/m.json", json.dumps(former).encode())
    replace_all(PRODUCTS, make_item(*PATHS), threads=1)
    assert {"/other/a.tif", "/out/other/a.tif"} <= set(fsspec.filesystem("memory").store)


def test_overwriting_keeps_files_that_only_a_foreign_item_names() -> None:
    foreign = {"type": "Feature", "properties": {}, "assets": {"source": {"href": "./source.tif"}}}
    make_destination().store.write_bytes("memory://out/m/m.json", json.dumps(foreign).encode())
    make_destination().store.write_bytes("memory://out/m/source.tif", b"precious")
    replace_all(PRODUCTS, make_item(*PATHS), threads=1)
    assert list_stored()["source.tif"] == "precious"


@pytest.mark.parametrize(
    ("url", "said"),
    [("https://example.org/x", "read only"), ("ftp://example.org/x", "not supported"), ("/dev/null", "is not a folder")],
)
def test_a_destination_that_cannot_be_written_is_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_destination(url)


@pytest.mark.parametrize("url", ["s3://bucket/x", "gs://bucket", "memory://x", ".", "new/folder"])
def test_a_destination_that_may_be_written_is_not_refused(url: str) -> None:
    check_destination(url)
