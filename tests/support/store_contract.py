"""What holds wherever objects live: inherited by the tests of memory, local files, S3 and GCS."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from processor.errors import ExistsError, InputError
from processor.storage import store as objects
from processor.storage.store import Store, Written
from processor.storage.url import join_url

DATA = b"some bytes"
DATA_WRITTEN = Written(size=len(DATA), sha256=hashlib.sha256(DATA).hexdigest())
PART = 5 << 20  # bytes of a part in these tests: the least that S3 takes


class StoreContract:
    """Tests of any store; a subclass gives the fixtures ``store`` and ``base``, the URL of a folder of the test's own."""

    def test_what_was_written_is_read(self, store: Store, base: str) -> None:
        url = join_url(base, "deep", "er", "a.bin")
        assert not store.exists(url)
        assert store.write_bytes(url, DATA) == DATA_WRITTEN
        assert store.exists(url)
        assert store.read_bytes(url, max_bytes=len(DATA)) == DATA
        with store.open_stream(url) as stream:
            assert stream.read(4) == DATA[:4]

    def test_a_file_that_was_uploaded_is_read(self, store: Store, base: str, tmp_path: Path) -> None:
        source, url = tmp_path / "source.bin", join_url(base, "out", "b.bin")
        source.write_bytes(DATA)
        assert store.upload_file(source, url, content_type="image/tiff") == DATA_WRITTEN
        assert store.read_bytes(url, max_bytes=100) == DATA

    def test_a_stream_that_was_written_is_read(self, store: Store, base: str) -> None:
        url = join_url(base, "out", "c.bin")
        assert store.write_stream(url, iter([DATA[:3], DATA[3:]]), content_type="image/tiff") == DATA_WRITTEN
        assert store.read_bytes(url, max_bytes=100) == DATA

    def test_an_empty_object_exists(self, store: Store, base: str) -> None:
        for name, write in (("a", lambda url: store.write_bytes(url, b"")), ("b", lambda url: store.write_stream(url, []))):
            url = join_url(base, name)
            assert write(url).size == 0
            assert store.exists(url)
            assert store.read_bytes(url, max_bytes=0) == b""

    def test_another_content_does_not_replace_the_first(self, store: Store, base: str, tmp_path: Path) -> None:
        url, source = join_url(base, "a.bin"), tmp_path / "source.bin"
        source.write_bytes(b"other")
        store.write_bytes(url, DATA)
        with pytest.raises(ExistsError, match=r"a\.bin"):
            store.write_bytes(url, b"other")
        with pytest.raises(ExistsError, match=r"a\.bin"):
            store.upload_file(source, url)
        with pytest.raises(ExistsError, match=r"a\.bin"):
            store.write_stream(url, [b"other"])
        assert store.read_bytes(url, max_bytes=100) == DATA

    def test_the_same_content_may_be_written_again(self, store: Store, base: str, tmp_path: Path) -> None:
        url, source = join_url(base, "a.bin"), tmp_path / "source.bin"
        source.write_bytes(DATA)
        assert store.write_bytes(url, DATA) == store.write_bytes(url, DATA) == DATA_WRITTEN
        assert store.upload_file(source, url) == store.write_stream(url, [DATA]) == DATA_WRITTEN

    def test_overwriting_replaces(self, store: Store, base: str, tmp_path: Path) -> None:
        url, source = join_url(base, "a.bin"), tmp_path / "source.bin"
        source.write_bytes(b"third")
        store.write_bytes(url, DATA)
        store.write_bytes(url, b"second", overwrite=True)
        assert store.read_bytes(url, max_bytes=100) == b"second"
        store.upload_file(source, url, overwrite=True)
        assert store.read_bytes(url, max_bytes=100) == b"third"
        store.write_stream(url, [b"four", b"th"], overwrite=True)
        assert store.read_bytes(url, max_bytes=100) == b"fourth"

    def test_one_of_many_writers_wins(self, store: Store, base: str) -> None:
        url, barrier = join_url(base, "race.bin"), Barrier(4)

        def write(number: int) -> bool:
            barrier.wait()
            try:
                store.write_bytes(url, bytes([number]) * 1000)
            except ExistsError:
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            won = list(pool.map(write, range(4)))
        assert won.count(True) == 1
        assert store.read_bytes(url, max_bytes=1000) == bytes([won.index(True)]) * 1000

    def test_reading_is_bounded(self, store: Store, base: str) -> None:
        url = join_url(base, "a.bin")
        store.write_bytes(url, DATA)
        with pytest.raises(InputError, match=r"a\.bin is larger than the 9 bytes"):
            store.read_bytes(url, max_bytes=9)

    def test_a_missing_object_is_an_input_error_that_names_it(self, store: Store, base: str) -> None:
        with pytest.raises(InputError, match=r"no\.bin does not exist"):
            store.read_bytes(join_url(base, "no.bin"), max_bytes=9)
        with pytest.raises(InputError, match=r"no\.bin"):
            store.describe(join_url(base, "no.bin"))

    def test_a_folder_is_not_an_object(self, store: Store, base: str) -> None:
        store.write_bytes(join_url(base, "folder", "a.bin"), DATA)
        assert not store.exists(join_url(base, "folder"))
        with pytest.raises(InputError, match="folder"):
            store.read_bytes(join_url(base, "folder"), max_bytes=9)

    def test_a_version_tells_whether_an_object_was_replaced(self, store: Store, base: str) -> None:
        url = join_url(base, "a.bin")
        store.write_bytes(url, DATA)
        first = store.describe(url)
        assert first.size == len(DATA)
        assert first == store.describe(url)
        store.write_bytes(url, DATA[::-1], overwrite=True)
        assert first.version is None or store.describe(url).version != first.version

    def test_objects_are_listed_and_matched(self, store: Store, base: str) -> None:
        for name in ("b.tif", "a.tif", "a.txt", "deep/c.tif"):
            store.write_bytes(join_url(base, name), DATA)
        names = [url.rpartition("/")[2] for url in store.list_objects(base)]
        assert sorted(names) == ["a.tif", "a.txt", "b.tif"]
        assert sorted(url.rpartition("/")[2] for url in store.glob(f"{base}/*.tif")) == ["a.tif", "b.tif"]
        found = sorted(store.glob(f"{base}/**/*.tif"))
        assert [url.rpartition("/")[2] for url in found] == ["a.tif", "b.tif", "c.tif"]
        assert all(store.read_bytes(url, max_bytes=100) == DATA for url in found)

    def test_what_was_removed_is_gone(self, store: Store, base: str) -> None:
        url = join_url(base, "a.bin")
        store.write_bytes(url, DATA)
        store.remove(url)
        assert not store.exists(url)
        store.remove(url)


class PartsContract(StoreContract):
    """Tests of a store that takes large objects in parts."""

    @pytest.fixture(autouse=True)
    def _small_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(objects, "_PART", PART)

    def test_a_large_file_goes_in_parts(self, store: Store, base: str, tmp_path: Path) -> None:
        data, source, url = _make_bytes(2 * PART + 7), tmp_path / "source.bin", join_url(base, "large.bin")
        source.write_bytes(data)
        written = store.upload_file(source, url)
        assert written == Written(size=len(data), sha256=hashlib.sha256(data).hexdigest())
        assert store.read_bytes(url, max_bytes=len(data)) == data
        source.write_bytes(data[::-1])
        assert store.upload_file(source, join_url(base, "other.bin")) != written
        with pytest.raises(ExistsError):
            store.upload_file(source, url)
        assert store.read_bytes(url, max_bytes=len(data)) == data

    def test_a_long_stream_goes_in_parts_and_never_lies_in_memory(self, store: Store, base: str) -> None:
        piece, count, url = _make_bytes(1 << 20), 48, join_url(base, "long.bin")
        tracemalloc.start()
        try:
            written = store.write_stream(url, (piece for _ in range(count)), largest=count << 20)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert written.size == count << 20
        assert written.sha256 == hashlib.sha256(piece * count).hexdigest()
        assert store.describe(url).size == written.size
        assert peak < 5 * PART  # of 48 MiB

    def test_a_stream_that_fails_leaves_nothing(self, store: Store, base: str) -> None:
        url = join_url(base, "broken.bin")

        def produce() -> Iterator[bytes]:
            yield _make_bytes(2 * PART)
            message = "the producer failed"
            raise KeyError(message)

        with pytest.raises(KeyError, match="the producer failed"):
            store.write_stream(url, produce())
        assert not store.exists(url)
        self.assert_no_upload_is_left()

    def assert_no_upload_is_left(self) -> None:
        """Nothing to check where a store does not tell."""


def _make_bytes(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]
