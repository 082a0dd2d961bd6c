"""Objects: what is written is whole, written once, and named without credentials."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import fsspec
import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from store_contract import DATA, StoreContract
from yarl import URL

from processor.errors import ConfigError, ExistsError, InputError, MosaicError, StorageError
from processor.redaction import redact_url
from processor.storage import atomic as local_files
from processor.storage import store as objects
from processor.storage.backends import S3, Gcs
from processor.storage.backends.memory import Memory
from processor.storage.options import Access
from processor.storage.store import Store, Written, iter_file
from processor.storage.url import join_url, local_path, storage_errors


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture(params=["local", "file", "memory"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The same contract holds wherever objects live."""
    if request.param == "memory":
        filesystem = fsspec.filesystem("memory")
        yield f"memory://{tmp_path.name}"
        filesystem.rm(f"/{tmp_path.name}", recursive=True) if filesystem.exists(f"/{tmp_path.name}") else None
    else:
        yield str(tmp_path) if request.param == "local" else f"file://{tmp_path}"


class TestContract(StoreContract):
    """Of memory and local files."""


ENDLESS_WRITE = """
import sys, time
from processor.storage.store import Store

def chunks():
    yield b"begun"
    print("begun", flush=True)
    time.sleep(600)

Store()._write_local(sys.argv[1], chunks(), overwrite=False)
"""


class TestLocal:
    def test_nothing_but_the_object_remains(self, store: Store, tmp_path: Path) -> None:
        store.write_bytes(str(tmp_path / "a.bin"), DATA)
        with pytest.raises(ExistsError):
            store.write_bytes(str(tmp_path / "a.bin"), b"other")
        assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]

    def test_a_failed_write_leaves_nothing(self, store: Store, tmp_path: Path) -> None:
        def chunks() -> Iterator[bytes]:
            yield DATA
            message = "disk is full"
            raise OSError(message)

        with pytest.raises(StorageError, match="disk is full"):
            store._write_local(str(tmp_path / "a.bin"), chunks(), overwrite=False)
        assert list(tmp_path.iterdir()) == []

    def test_parts_of_a_killed_process_are_removed_by_the_next_write_and_those_of_a_living_one_are_not(
        self, store: Store, tmp_path: Path
    ) -> None:
        command = [sys.executable, "-c", ENDLESS_WRITE, str(tmp_path / "big.tif")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(objects.__file__).parents[2]) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            parts = list(tmp_path.glob(".big.tif.*.part"))
            assert len(parts) == 1
            store.write_bytes(str(tmp_path / "a.bin"), DATA)
            assert parts[0].exists()
            process.kill()
        store.write_bytes(str(tmp_path / "b.bin"), DATA)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin", "b.bin"]

    def test_one_of_many_writers_wins(self, store: Store, tmp_path: Path) -> None:
        url, barrier = str(tmp_path / "race.bin"), threading.Barrier(8)

        def write(number: int) -> bool:
            barrier.wait()
            try:
                store.write_bytes(url, bytes([number]) * 100_000)
            except ExistsError:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(write, range(8)))
        assert won.count(True) == 1
        assert store.read_bytes(url, max_bytes=100_000) == bytes([won.index(True)]) * 100_000

    def test_files_of_others_are_not_removed(self, store: Store, tmp_path: Path) -> None:
        others = [
            ".a.part",
            ".a.0123.part",
            "a.0123456789abcdef.part",
            ".a.0123456789abcdeg.part",
            ".a.0123456789abcdef.part.x",
        ]
        for name in others:
            (tmp_path / name).touch()
        store.write_bytes(str(tmp_path / "a.bin"), DATA)
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "a.bin"])

    def test_without_hard_links_the_first_still_wins(
        self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(Path, "hardlink_to", refuse)
        store.write_bytes(str(tmp_path / "a.bin"), DATA)
        with pytest.raises(ExistsError):
            store.write_bytes(str(tmp_path / "a.bin"), b"other")
        assert store.read_bytes(str(tmp_path / "a.bin"), max_bytes=100) == DATA
        assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]

    def test_a_file_is_read_in_pieces(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(bytes(9 << 20))
        assert [len(chunk) for chunk in iter_file(tmp_path / "a")] == [8 << 20, 1 << 20]


class TestJoin:
    @pytest.mark.parametrize(
        ("base", "parts", "joined"),
        [
            ("/data", ("a", "b.tif"), "/data/a/b.tif"),
            ("/data/", ("a/b.tif",), "/data/a/b.tif"),
            ("/", ("a",), "/a"),
            ("", ("a",), "a"),
            ("memory://", ("a",), "memory://a"),
            ("s3://bucket", ("run 1", "ünï.tif"), "s3://bucket/run 1/ünï.tif"),
            ("https://host/x/", ("a",), "https://host/x/a"),
            ("/odd?#", ("a?#",), "/odd?#/a?#"),
        ],
    )
    def test_joins(self, base: str, parts: tuple[str, ...], joined: str) -> None:
        assert join_url(base, *parts) == joined

    @pytest.mark.parametrize(
        "part", ["", ".", "..", "../a", "a/../b", "a/..", "/a", "a//b", "a/", "a\\b", "a\nb", "a\x00", "s3://other/a", "\x7f"]
    )
    @pytest.mark.parametrize("base", ["/data", "s3://bucket/run"])
    def test_no_part_leads_out(self, base: str, part: str) -> None:
        with pytest.raises(ConfigError, match="cannot be a path below"):
            join_url(base, "ok", part)

    @pytest.mark.parametrize("part", ["a?versionId=1", "a#1"])
    def test_no_part_of_a_url_is_a_query_or_fragment(self, part: str) -> None:
        with pytest.raises(ConfigError, match="cannot be a path below"):
            join_url("s3://bucket", part)

    def test_nothing_is_joined_to_a_query(self) -> None:
        with pytest.raises(ConfigError, match=r"https://host/a has a query") as caught:
            join_url("https://host/a?sig=secret", "b")
        assert "secret" not in str(caught.value)

    def test_local_path(self) -> None:
        assert local_path("file:///a/b") == local_path("/a/b") == Path("/a/b")
        with pytest.raises(ConfigError, match="not a local path"):
            local_path("s3://bucket/a")


def answer(url: str, status: int) -> aiohttp.ClientResponseError:
    return aiohttp.ClientResponseError(aiohttp.RequestInfo(URL(url), "GET", {}, URL(url)), (), status=status, message="no")


class TestErrors:
    @pytest.mark.parametrize("url", ["ftp://host/a", "simplecache::s3://bucket/a", "reference://a", "://a"])
    def test_other_schemes_are_refused(self, store: Store, url: str) -> None:
        with pytest.raises(ConfigError, match="not supported"):
            store.exists(url)

    @pytest.mark.parametrize("url", ["http://host/a", "https://host/a"])
    def test_http_is_read_only(self, store: Store, url: str) -> None:
        with pytest.raises(ConfigError, match="read only"):
            store.write_bytes(url, DATA)
        with pytest.raises(ConfigError, match="read only"):
            store.upload_file(__file__, url)

    @pytest.mark.parametrize(
        ("url", "redacted"),
        [
            ("https://me:secret@host:8080/a.tif?sig=secret#secret", "https://host:8080/a.tif"),
            ("s3://bucket/key?versionId=secret", "s3://bucket/key"),
            ("/data/a?b.tif", "/data/a?b.tif"),
            ("https://me:secret@[host/a", "https://…"),
        ],
    )
    def test_urls_are_named_without_credentials(self, url: str, redacted: str) -> None:
        assert redact_url(url) == redacted

    @pytest.mark.parametrize(
        ("raised", "expected"),
        [
            (FileNotFoundError("x"), InputError),
            (IsADirectoryError("x"), InputError),
            (PermissionError("x"), InputError),
            (FileExistsError("x"), ExistsError),
            (TimeoutError("x"), StorageError),
            (OSError(5, "x"), StorageError),
        ],
    )
    @pytest.mark.parametrize("url", ["/data/a", "s3://bucket/a", "gs://bucket/a", "https://host/a"])
    def test_foreign_errors_are_wrapped(self, url: str, raised: OSError, expected: type[MosaicError]) -> None:
        with pytest.raises(expected, match=url) as caught, storage_errors(url):
            raise raised
        assert caught.value.__cause__ is raised

    def test_gcsfs_says_forbidden_in_words_alone(self) -> None:
        with pytest.raises(InputError, match=r"gs://bucket/a is denied .*--io\.gs_"), storage_errors("gs://bucket/a"):
            raise OSError(*("Forbidden: x",))

    @pytest.mark.parametrize(
        ("status", "expected"), [(401, InputError), (403, InputError), (429, StorageError), (503, StorageError)]
    )
    def test_the_status_of_http_decides(self, status: int, expected: type[MosaicError]) -> None:
        url = "https://host/a.json?sig=secret"
        with pytest.raises(expected, match=r"https://host/a\.json") as caught, storage_errors(url):
            raise answer(url, status)
        assert "secret" not in str(caught.value)
        assert caught.value.__cause__ is None

    @pytest.mark.parametrize(("status", "expected"), [(404, InputError), (403, InputError), (503, StorageError)])
    def test_not_found_over_http_is_believed_only_with_its_status(self, status: int, expected: type[MosaicError]) -> None:
        url = "https://host/a.json"
        with pytest.raises(expected, match="denied" if status == 403 else r"a\.json"), storage_errors(url):
            raise FileNotFoundError(url) from answer(url, status)

    def test_a_server_that_does_not_answer_is_no_absence(self) -> None:
        store = Store(access=Access(retries=1).allowing((), everywhere=True))
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]  # nobody listens there once it is closed
        with pytest.raises(StorageError, match=r"127\.0\.0\.1"):
            store.exists(f"http://127.0.0.1:{port}/a.json")
        with pytest.raises(StorageError, match=r"127\.0\.0\.1"):
            store.read_bytes(f"http://127.0.0.1:{port}/a.json", max_bytes=9)

    def test_an_existing_s3_object_is_known_by_its_failed_precondition(self) -> None:
        response = {"Error": {"Code": "PreconditionFailed"}, "ResponseMetadata": {"HTTPStatusCode": 412}}
        with pytest.raises(ExistsError, match="s3://bucket/a"), storage_errors("s3://bucket/a"):
            raise OSError(22, "At least one precondition failed") from ClientError(response, "PutObject")

    def test_missing_s3_credentials_are_no_passing_failure(self) -> None:
        with pytest.raises(InputError, match="credentials"), storage_errors("s3://bucket/a"):
            raise NoCredentialsError

    def test_errors_of_this_project_pass(self) -> None:
        error = ExistsError("as it is")
        with pytest.raises(ExistsError) as caught, storage_errors("/data"):
            raise error
        assert caught.value is error

    def test_a_mistake_is_not_hidden(self) -> None:
        with pytest.raises(KeyError), storage_errors("/data"):
            raise KeyError

    def test_options_are_not_shown(self) -> None:
        access = Access(storages=(S3(key="key-1", secret="secret-1", token="token-1"),))  # noqa: S106
        assert not any(word in repr(Store(access=access)) for word in ("key-1", "secret-1", "token-1"))


class TestUploads:
    @pytest.mark.parametrize("size", [0, 1, 100 << 20, 200 << 30, 5 << 40])
    def test_parts_are_few_and_large_enough(self, size: int) -> None:
        chunksize = S3().upload_options(objects._part_size(size))["chunksize"]
        assert chunksize >= 16 << 20
        assert chunksize % (1 << 20) == 0
        assert -(-size // chunksize) <= 10_000

    def test_the_media_type_is_handed_on(self) -> None:
        assert S3().media_type("image/tiff") == {"ContentType": "image/tiff"}
        assert Gcs().media_type("image/tiff") == {"content_type": "image/tiff"}
        assert Memory().media_type("image/tiff") == {}


def test_a_link_taken_for_a_leftover_by_another_writer_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "scratch"
    source.write_bytes(b"finished")
    answers = iter([False, True])  # the other writer holds the file's lock when we first ask
    monkeypatch.setattr(local_files, "lock_file", lambda _: next(answers))
    written = Written(size=8, sha256=hashlib.sha256(b"finished").hexdigest())
    (tmp_path / "out").mkdir()
    Store().upload_file(source, str(tmp_path / "out" / "a.bin"), written=written)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.bin"]


@pytest.mark.parametrize("name", ["x" * 300, "x" * 5000, "x" * 100_000, "a/" * 1900 + "x", "a/" * 10_000 + "x"])
def test_a_name_that_no_file_can_have_is_no_outage(name: str, tmp_path: Path) -> None:
    with pytest.raises((InputError, ConfigError), match="check its name"):
        Store().read_bytes(str(tmp_path / name), max_bytes=10)
    with pytest.raises((InputError, ConfigError), match="check its name"):
        Store().write_bytes(str(tmp_path / name), b"x")


def test_a_link_to_itself_is_no_outage(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(InputError, match="check its name"):
        Store().read_bytes(str(tmp_path / "loop"), max_bytes=10)
