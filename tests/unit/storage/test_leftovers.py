"""What killed runs left at a destination: the next run removes it, and nothing that a living one has."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from processor.storage.backends import S3
from processor.storage.leftovers import remove_leftovers
from processor.storage.options import Access
from processor.storage.store import Store

PART = "0123456789abcdef.part"


def test_files_of_dead_writers_are_removed_and_those_of_living_ones_are_not(tmp_path: Path) -> None:
    item, elsewhere = tmp_path / "m", tmp_path / "elsewhere"
    (item / "block_maps").mkdir(parents=True)
    elsewhere.mkdir()
    dead = [
        item / f".m.json.{PART}",
        item / "block_maps" / f".a.tif.{PART}",
        elsewhere / f".copy.json.{PART}",
        tmp_path / ".collection.json.lock",
        tmp_path / f".collection.json.{PART}",
    ]
    others = [item / ".mine.part", tmp_path / ".yours.lock", tmp_path / "n" / f".m.json.{PART}", elsewhere / "copy.json"]
    living = [item / f".mosaic.tif.{PART}", tmp_path / ".catalog.json.lock"]
    (tmp_path / "n").mkdir()
    for path in (*dead, *others):
        path.touch()
    with living[0].open("wb") as first, living[1].open("wb") as second:
        for stream in (first, second):
            fcntl.flock(stream, fcntl.LOCK_EX)
        remove_leftovers(
            Store(),
            folders=[str(item), str(tmp_path / "none")],
            files=[str(elsewhere / "copy.json"), str(tmp_path / "none" / "copy.json")],
            shared=[str(tmp_path / "collection.json"), str(tmp_path / "catalog.json")],
        )
    assert [path for path in dead if path.exists()] == []
    assert [path for path in (*others, *living) if not path.exists()] == []


class Server:
    """An S3 server that lists two uploads a page, or denies that, or lists without an end."""

    def __init__(self, keys: list[str], *, denies: str = "", is_endless: bool = False) -> None:
        self.uploads = {f"id-{number}": key for number, key in enumerate(keys)}
        self.denies, self.is_endless = denies, is_endless
        self.gone: set[str] = set()

    def split_path(self, path: str) -> tuple[str, str, None]:
        bucket, _, key = path.removeprefix("s3://").partition("/")
        return bucket, key.rstrip("/"), None

    def call_s3(self, method: str, **request: Any) -> dict[str, Any]:
        assert request["Bucket"] == "bucket"
        if method == self.denies:
            raise PermissionError(method)
        if method == "abort_multipart_upload":
            if request["UploadId"] in self.gone:
                raise FileNotFoundError(request["UploadId"])
            assert self.uploads.pop(request["UploadId"]) == request["Key"]
            return {}
        assert method == "list_multipart_uploads"
        listed = sorted((key, number) for number, key in self.uploads.items() if key.startswith(request["Prefix"]))
        listed = [pair for pair in listed if pair > (request.get("KeyMarker", ""), request.get("UploadIdMarker", ""))]
        page = listed[:2]
        answer: dict[str, Any] = {"Uploads": [{"Key": key, "UploadId": number} for key, number in page]}
        if self.is_endless or len(listed) > 2:
            last = page[-1] if page else ("m/z", "id-z")
            answer |= {"IsTruncated": True, "NextKeyMarker": last[0], "NextUploadIdMarker": last[1]}
        return answer


@pytest.fixture
def store() -> Store:
    return Store(access=Access(storages=(S3(region="us-east-1"),)))


@pytest.fixture
def events(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    names: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: names.append(record.event)  # type: ignore[method-assign, attr-defined]
    logger = logging.getLogger("processor.storage.leftovers")
    logger.addHandler(handler)
    with caplog.at_level(logging.DEBUG, logger=logger.name):
        yield names
    logger.removeHandler(handler)


OWN = ["out/m/m.json", "out/m/mosaic.tif", "out/m/mosaic.tif", "out/m/deep/a.tif", "elsewhere/copy.json"]
FOREIGN = ["out/m2/m2.json", "out/m", "out/n/mosaic.tif", "out/collection.json", "elsewhere/copy.json.gz"]


def sweep(monkeypatch: pytest.MonkeyPatch, server: Server, store: Store) -> list[str]:
    """Remove leftovers of an Item, and give the keys of the uploads that stay."""
    monkeypatch.setattr("processor.storage.leftovers.find_filesystem", lambda *_: server)
    remove_leftovers(
        store,
        folders=["s3://bucket/out/m"],
        files=["s3://bucket/elsewhere/copy.json"],
        shared=["s3://bucket/out/collection.json"],
    )
    return sorted(server.uploads.values())


def test_uploads_of_a_runs_own_objects_are_aborted_page_by_page(
    monkeypatch: pytest.MonkeyPatch, store: Store, events: list[str]
) -> None:
    assert sweep(monkeypatch, Server([*OWN, *FOREIGN]), store) == sorted(FOREIGN)
    assert events == ["uploads-aborted", "uploads-aborted"]


@pytest.mark.parametrize("denied", ["list_multipart_uploads", "abort_multipart_upload"])
def test_who_may_not_look_for_uploads_leaves_them_without_a_failure(
    monkeypatch: pytest.MonkeyPatch, store: Store, events: list[str], denied: str
) -> None:
    assert sweep(monkeypatch, Server([*OWN, *FOREIGN], denies=denied), store) == sorted([*OWN, *FOREIGN])
    assert events == ["uploads-unknown", "uploads-unknown"]


def test_an_upload_that_ended_meanwhile_is_no_failure(monkeypatch: pytest.MonkeyPatch, store: Store, events: list[str]) -> None:
    server = Server(OWN)
    server.gone = {"id-0"}
    assert sweep(monkeypatch, server, store) == [OWN[0]]
    assert events == ["uploads-aborted", "uploads-aborted"]


def test_a_list_that_does_not_go_on_ends(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    assert sweep(monkeypatch, Server([], is_endless=True), store) == []
