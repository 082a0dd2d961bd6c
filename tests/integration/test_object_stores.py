"""Objects on real servers: the contract of every store, and keys that are wrong or may only read."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from servers import BUCKET, KEY, READ_ONLY_KEY, READ_ONLY_SECRET, WRONG_AZURE_KEY, ObjectServer, azure_access, s3_access
from store_contract import DATA, PART, PartsContract

from processor.errors import InputError
from processor.storage.leftovers import remove_leftovers
from processor.storage.reading import find_filesystem
from processor.storage.store import Store

pytestmark = pytest.mark.server


def _own_folder(server: ObjectServer, request: pytest.FixtureRequest) -> str:
    return f"{server.base}/{request.node.name}"


class TestS3(PartsContract):
    @pytest.fixture
    def store(self, s3_server: ObjectServer) -> Store:
        return s3_server.store

    @pytest.fixture
    def base(self, s3_server: ObjectServer, request: pytest.FixtureRequest) -> str:
        return _own_folder(s3_server, request)

    @pytest.fixture(autouse=True)
    def _server(self, s3_server: ObjectServer) -> None:
        self.server = s3_server

    def assert_no_upload_is_left(self) -> None:
        assert self.server.list_uploads() == []

    def test_uploads_that_dead_writers_left_are_aborted_by_the_next_run_of_their_item(self, store: Store, base: str) -> None:
        filesystem = find_filesystem("s3://", store.access)
        folder = base.removeprefix(f"s3://{BUCKET}/")
        keys = [f"{folder}/{name}" for name in ("m/mosaic.tif", "m/m.json", "copy.json", "m2/mosaic.tif", "collection.json")]
        begun = {key: filesystem.call_s3("create_multipart_upload", Bucket=BUCKET, Key=key)["UploadId"] for key in keys}
        part = {"Bucket": BUCKET, "Key": keys[0], "UploadId": begun[keys[0]], "PartNumber": 1}
        filesystem.call_s3("upload_part", **part, Body=bytes(PART))
        assert sorted(self.server.list_uploads()) == sorted(keys)
        remove_leftovers(store, folders=[f"{base}/m"], files=[f"{base}/copy.json"], shared=[f"{base}/collection.json"])
        assert sorted(self.server.list_uploads()) == sorted(keys[3:])
        remove_leftovers(store, folders=[base], files=[], shared=[])
        self.assert_no_upload_is_left()


@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")  # gcsfs does
class TestGcs(PartsContract):
    @pytest.fixture
    def store(self, gcs_server: ObjectServer) -> Store:
        return gcs_server.store

    @pytest.fixture
    def base(self, gcs_server: ObjectServer, request: pytest.FixtureRequest) -> str:
        return _own_folder(gcs_server, request)


@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")  # adlfs does
class TestAzure(PartsContract):
    @pytest.fixture
    def store(self, azure_server: ObjectServer) -> Store:
        return azure_server.store

    @pytest.fixture
    def base(self, azure_server: ObjectServer, request: pytest.FixtureRequest) -> str:
        return _own_folder(azure_server, request)


@pytest.mark.parametrize("object_server", ["s3", "gs", "az"], indirect=True)
def test_a_bucket_that_does_not_exist(object_server: ObjectServer) -> None:
    server, protocol = object_server, object_server.base.partition("://")[0]
    url = f"{protocol}://no-such-bucket/a.bin"
    calls: list[Callable[[], object]] = [
        lambda: server.store.read_bytes(url, max_bytes=9),
        lambda: server.store.list_objects(f"{protocol}://no-such-bucket/"),
    ]
    if protocol != "s3":  # SeaweedFS makes a bucket that is written to
        calls += [lambda: server.store.write_bytes(url, DATA), lambda: server.store.write_stream(url, [DATA])]
    for call in calls:
        with pytest.raises(InputError, match=r"no-such-bucket/.* does not exist"):
            call()
    assert not server.store.exists(url)


@pytest.mark.parametrize(
    ("object_server", "settings"),
    [
        ("s3", {"key": KEY, "secret": "WRONG"}),
        ("s3", {"key": "NOKEY", "secret": "WRONG"}),
        ("az", {"key": WRONG_AZURE_KEY}),
    ],
    indirect=["object_server"],
)
def test_a_wrong_key_is_refused_and_never_shown(object_server: ObjectServer, settings: dict[str, str]) -> None:
    make = s3_access if object_server.base.startswith("s3") else azure_access
    store = Store(access=make(object_server.endpoint, **settings))
    url = f"{object_server.base}/wrong/a.bin"
    for call in (
        lambda: store.read_bytes(url, max_bytes=9),
        lambda: store.exists(url),
        lambda: store.list_objects(f"{object_server.base}/"),
        lambda: store.write_bytes(url, DATA),
        lambda: store.write_stream(url, [bytes(PART)] * 3),
        lambda: store.check_writable(url),
    ):
        with pytest.raises(InputError, match=r"access to (s3|az)://.* is denied .*; check the credentials") as caught:
            call()
        assert not any(secret in str(caught.value) for secret in settings.values() if secret != KEY)
    assert not object_server.store.exists(url)


@pytest.mark.parametrize("object_server", ["s3", "gs", "az"], indirect=True)
def test_asking_whether_a_name_may_be_written_leaves_it_as_it_was(object_server: ObjectServer) -> None:
    store, url = object_server.store, f"{object_server.base}/asked/a.bin"
    store.check_writable(url)
    assert not store.exists(url)
    store.write_bytes(url, DATA)
    store.check_writable(url)
    assert store.read_bytes(url, max_bytes=100) == DATA


def test_a_key_that_may_only_read_reads_and_does_not_write(s3_server: ObjectServer) -> None:
    url = f"{s3_server.base}/read-only/a.bin"
    s3_server.store.write_bytes(url, DATA)
    store = Store(access=s3_access(s3_server.endpoint, key=READ_ONLY_KEY, secret=READ_ONLY_SECRET))
    assert store.read_bytes(url, max_bytes=100) == DATA
    other = f"{s3_server.base}/read-only/b.bin"
    for call in (
        lambda: store.write_bytes(other, DATA),
        lambda: store.write_stream(other, [bytes(PART)] * 3),
        lambda: store.write_bytes(url, DATA[::-1], overwrite=True),
        lambda: store.remove(url),
    ):
        with pytest.raises(InputError, match=r"access to s3://scenes/read-only/.* is denied .*; check the credentials"):
            call()
    assert s3_server.get_folder("read-only") == {"a.bin": DATA}
