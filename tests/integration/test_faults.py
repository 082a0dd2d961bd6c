"""What storage and networks do to a run: it goes on, or fails with the right exit code; nothing is ever half published."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest
import rasterio
from blocked_ports import drop_connections, refuse_connections
from commands import COMMAND, Finished, call_command, make_environment, make_items
from effort import crossed, exhaustive
from loopback import Fault
from servers import BUCKET, Counting, ObjectServer, run_proxy, s3_access, s3_options
from store_contract import PART

from processor.errors import InputError, StorageError
from processor.geotiff.open import open_scene
from processor.geotiff.range_cache import RangeCache
from processor.geotiff.reader import RasterReader
from processor.model import Provenance, RasterRef, SceneRef
from processor.storage import retry
from processor.storage import store as objects
from processor.storage.reading import find_filesystem
from processor.storage.store import Store

pytestmark = [pytest.mark.server, pytest.mark.slow]

TRANSIENT, PERMANENT = 1, 13
DATA = bytes(range(256)) * 64
STARTING = 40.0  # seconds that a process takes to load its libraries where others use the processors too
TIMEOUT, SHORT = 30.0, 1.5  # seconds without a byte; short where a body stalls

PASSING: dict[str, dict[str, Any]] = {
    "an error of the server": {"kind": "status", "status": 500, "code": "InternalError"},
    "a gateway without its server": {"kind": "status", "status": 502, "code": "BadGateway"},
    "throttling": {"kind": "status", "status": 503, "code": "SlowDown", "retry_after": 1},
    "too many requests": {"kind": "status", "status": 429, "code": "TooManyRequests", "retry_after": 1},
    "a connection that is reset": {"kind": "reset"},
    "a body that stalls": {"kind": "slow", "stall": 4.0},
    "a body that ends early": {"kind": "truncated"},
}
LASTING: dict[str, tuple[dict[str, Any], int]] = {
    "throttling": ({"kind": "status", "status": 503, "code": "SlowDown"}, TRANSIENT),
    "a connection that is reset": ({"kind": "reset"}, TRANSIENT),
    "a body that ends early": ({"kind": "truncated", "methods": ("GET",)}, TRANSIENT),
    "a bucket that vanishes": ({"kind": "status", "status": 404, "code": "NoSuchBucket"}, PERMANENT),
    "expired credentials": ({"kind": "status", "status": 403, "code": "ExpiredToken"}, PERMANENT),
}
"""What does not pass, and what the command ends with."""


@pytest.fixture(scope="module")
def proxy(s3_server: ObjectServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counting]:
    """A proxy before the S3 server."""
    with run_proxy(s3_server.endpoint, tmp_path_factory.mktemp("proxy")) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def _short_waits(proxy: Counting, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pauses of a test's length, and a proxy that hands everything on."""
    monkeypatch.setattr(retry, "_OF_STORAGE", retry.Backoff(first=0.05))
    yield
    proxy.set_faults()


@pytest.fixture
def store(proxy: Counting) -> Store:
    return Store(access=s3_access(proxy.url, retries=2, timeout=TIMEOUT))


@pytest.fixture(scope="module")
def scenes(s3_server: ObjectServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of an ItemCollection in the bucket."""
    folder = tmp_path_factory.mktemp("faults")
    make_items(folder / "in", edge=120)
    return s3_server.put_folder(folder / "in", "faults/in") + "/items.json"


@pytest.fixture(scope="module")
def mosaic(s3_server: ObjectServer, scenes: str, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a run makes that meets no fault."""
    folder = tmp_path_factory.mktemp("untouched")
    words = ("--output", str(folder), "--item-id", "mosaic", "--created", "2026-01-31T12:00:00Z", *s3_server.options)
    assert call_command("run", scenes, *words, cwd=folder, scratch=folder / "scratch").code == 0
    return (folder / "mosaic" / "mosaic.tif").read_bytes()


def find_timeout(fault: str) -> float:
    return SHORT if PASSING[fault]["kind"] == "slow" else TIMEOUT


class Runs:
    """Runs from and to the bucket through the proxy."""

    def __init__(self, proxy: Counting, items: str, folder: Path) -> None:
        self._proxy, self._items, self._folder = proxy, items, folder

    def with_items(self, items: str) -> Runs:
        """The same of other scenes."""
        return Runs(self._proxy, items, self._folder)

    def run(self, name: str, *options: str, backend: str = "gdal", timeout: float = TIMEOUT) -> Finished:
        """Run the command."""
        folder = f"s3://{BUCKET}/faults/{name}"
        words = ("--output", folder, "--item-id", "mosaic", "--created", "2026-01-31T12:00:00Z", *options)
        quick = ("--io.retries", "1", "--io.timeout", str(timeout), "--io.raster_backend", backend)
        return call_command(
            "run", self._items, *words, *quick, *s3_options(self._proxy.url), cwd=self._folder, scratch=self._folder / "scratch"
        )


@pytest.fixture
def runs(proxy: Counting, scenes: str, tmp_path: Path) -> Runs:
    return Runs(proxy, scenes, tmp_path)


@pytest.mark.parametrize("name", PASSING)
def test_reading_an_object_outlasts(proxy: Counting, s3_server: ObjectServer, name: str) -> None:
    store = Store(access=s3_access(proxy.url, retries=2, timeout=find_timeout(name)))
    url = f"{s3_server.base}/faults/read.bin"
    s3_server.store.write_bytes(url, DATA, overwrite=True)
    proxy.set_faults(Fault(**PASSING[name], times=1, methods=("GET",), path="read.bin"))
    assert store.read_bytes(url, max_bytes=len(DATA)) == DATA
    assert proxy.count_faults() == 1


@pytest.mark.parametrize("name", [name for name in PASSING if not name.startswith("a body")])
@pytest.mark.parametrize("size", [len(DATA), 3 * PART])
def test_writing_an_object_outlasts(
    proxy: Counting,
    s3_server: ObjectServer,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    size: int,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(objects, "_PART", PART)
    url, data, source = f"{s3_server.base}/faults/write-{name.replace(' ', '-')}-{size}.bin", bytes(size), tmp_path / "source"
    source.write_bytes(data)
    proxy.set_faults(Fault(**PASSING[name], times=1, methods=("PUT", "POST"), path="write-"))
    store.upload_file(source, url)
    assert proxy.count_faults() == 1
    assert s3_server.store.read_bytes(url, max_bytes=size) == data
    assert s3_server.list_uploads() == []


def test_a_write_whose_answer_is_lost_is_known_by_its_bytes(proxy: Counting, s3_server: ObjectServer, store: Store) -> None:
    """The object is there, so that creating it again is refused: it holds what was to be written."""
    url = f"{s3_server.base}/faults/lost-answer.bin"
    proxy.set_faults(Fault(kind="truncated", times=1, methods=("POST", "PUT"), path="lost-answer"))
    store.write_bytes(url, DATA)
    assert s3_server.store.read_bytes(url, max_bytes=len(DATA)) == DATA


def test_a_part_that_never_arrives_leaves_no_upload(
    proxy: Counting, s3_server: ObjectServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "_PART", PART)
    url = f"{s3_server.base}/faults/part.bin"
    proxy.set_faults(Fault(kind="status", status=503, code="SlowDown", methods=("PUT",), path="partNumber=2"))
    with pytest.raises(StorageError, match=r"storage failed for s3://scenes/faults/part\.bin"):
        store.write_stream(url, [bytes(PART)] * 3)
    assert not s3_server.store.exists(url)
    assert s3_server.list_uploads() == []


@pytest.mark.parametrize(("code", "status"), [("ExpiredToken", 403), ("ExpiredToken", 400), ("AccessDenied", 403)])
def test_credentials_that_expired_are_not_tried_again(
    proxy: Counting, s3_server: ObjectServer, store: Store, code: str, status: int
) -> None:
    proxy.set_faults(Fault(kind="status", status=status, code=code, path="expired.bin"))
    with pytest.raises(InputError, match="check the credentials"):
        store.write_bytes(f"{s3_server.base}/faults/expired.bin", DATA)
    assert proxy.count_faults() == 1


@crossed("name backend", list(PASSING), ["gdal", "fsspec"])
def test_a_run_outlasts(proxy: Counting, s3_server: ObjectServer, runs: Runs, mosaic: bytes, name: str, backend: str) -> None:
    folder = f"{backend}-{name.replace(' ', '-')}"
    proxy.set_faults(
        Fault(**PASSING[name], times=1, methods=("GET",), path="/a.tif"),
        Fault(**PASSING[name], times=1, methods=("GET",), path="/c.tif"),
    )
    done = runs.run(folder, backend=backend, timeout=find_timeout(name))
    assert done.code == 0, done.stderr
    assert proxy.count_faults() == 2
    files = s3_server.get_folder(f"faults/{folder}/mosaic")
    assert files["mosaic.tif"] == mosaic


@pytest.mark.parametrize(
    ("name", "where"),
    [
        *(("throttling", "/b.tif"), ("expired credentials", "scene_index.tif")),
        *exhaustive(*((name, "/b.tif") for name in LASTING if name != "throttling")),
        *exhaustive(
            *((name, "scene_index.tif") for name in ("throttling", "a connection that is reset", "a bucket that vanishes"))
        ),
    ],
)
def test_a_run_that_fails_publishes_no_item_and_succeeds_when_run_again(
    proxy: Counting, s3_server: ObjectServer, runs: Runs, name: str, where: str
) -> None:
    settings, code = LASTING[name]
    reads = where == "/b.tif"
    folder = f"failed-{reads}-{name.replace(' ', '-')}"
    proxy.set_faults(Fault(**settings, path=where))
    done = runs.run(folder)
    assert done.code == code, done.stderr
    errors = [event for event in done.events if event["level"] == "error"]
    assert [event["exit_code"] for event in errors] == [code]
    assert ("scene b: " if reads else "scene_index.tif") in errors[0]["message"]
    assert proxy.count_faults() > 0
    assert "mosaic.json" not in s3_server.get_folder(f"faults/{folder}/mosaic")
    assert s3_server.list_uploads() == []
    proxy.set_faults()
    again = runs.run(folder)
    assert again.code == 0, again.stderr
    assert "mosaic.json" in s3_server.get_folder(f"faults/{folder}/mosaic")


@pytest.mark.parametrize(
    ("block", "reason", "remote"),
    [
        (drop_connections, "no connection within 5 seconds, something drops it", "scenes"),
        (refuse_connections, "connections are refused", "items"),
    ],
)
def test_a_run_says_within_ten_seconds_that_storage_is_blocked(
    block: Callable[[], AbstractContextManager[str]], reason: str, remote: str, tmp_path: Path
) -> None:
    items = make_items(tmp_path / "in", edge=60)
    items.write_text(items.read_text().replace('"./', f'"s3://{BUCKET}/'))
    given = str(items) if remote == "scenes" else f"s3://{BUCKET}/items.json"
    with block() as url:
        begin = time.monotonic()
        command = [*COMMAND, "run", given, "--output", str(tmp_path / "out"), *s3_options(url)]
        with subprocess.Popen(command, env=make_environment(tmp_path / "scratch"), stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            said = next(event for event in map(json.loads, process.stderr) if event["event"] == "storage-not-reached")
            waited = time.monotonic() - begin
            process.kill()
    assert said["level"] == "warning"
    assert said["message"].startswith(f"{url} is not reached: {reason}")
    assert "NetworkPolicy" in said["message"]
    assert waited < 10 + STARTING, f"after {waited:.1f} s"


# ---- scenes that are damaged, not storage


def damage(path: Path, how: str) -> None:
    """Flip bytes within a compressed tile, cut the file within it, or flip those of its directory."""
    with rasterio.open(path) as dataset:
        values, kept = (
            dataset.read(),
            {name: dataset.profile[name] for name in ("width", "height", "count", "dtype", "crs", "transform")},
        )
    with rasterio.open(path, "w", driver="COG", nodata=0, compress="lzw", blocksize=128, **kept) as dataset:
        dataset.write(values)
    with rasterio.open(path) as dataset:
        offset, size = (int(dataset.get_tag_item(f"BLOCK_{what}_0_0", "TIFF", bidx=1)) for what in ("OFFSET", "SIZE"))
    data, middle = bytearray(path.read_bytes()), offset + size // 2
    if how == "cut":
        del data[middle:]
    else:
        at = middle if how == "flipped" else data.index(b"KNOWN_INCOMPATIBLE_EDITION") + 40
        data[at : at + 64] = bytes(byte ^ 0xFF for byte in data[at : at + 64])
    path.write_bytes(data)


@crossed("how backend", ["flipped", "cut", "directory"], ["gdal", "fsspec"])
def test_a_damaged_scene_is_bad_input_as_on_disk(
    s3_server: ObjectServer, runs: Runs, how: str, backend: str, tmp_path: Path
) -> None:
    items = make_items(tmp_path / "in", edge=120)
    damage(tmp_path / "in" / "b.tif", how)
    local = call_command("run", str(items), "--output", "out", cwd=tmp_path, scratch=tmp_path / "scratch")
    damaged = s3_server.put_folder(tmp_path / "in", f"faults/{how}-{backend}") + "/items.json"
    remote = runs.with_items(damaged).run(f"out-{how}-{backend}", backend=backend)
    for done in (local, remote):
        assert done.code == PERMANENT, done.stderr
        assert "scene b: " in done.events[-1]["message"]
        assert "try again" not in done.events[-1]["message"]


@pytest.mark.parametrize("kept", [False, True], ids=["direct", "kept"])
@pytest.mark.parametrize("how", ["flipped", "cut"])
def test_a_damaged_tile_is_known_from_a_failing_storage(
    proxy: Counting, s3_server: ObjectServer, how: str, kept: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    url = f"{s3_server.base}/faults/tile-{how}-{kept}.tif"
    make_items(tmp_path, edge=120)
    s3_server.store.upload_file(tmp_path / "b.tif", url)
    access = s3_access(proxy.url, retries=0, timeout=TIMEOUT)
    ref = SceneRef(name="b", priority=0, rasters=(RasterRef(href=url),), provenance=Provenance())
    scene = open_scene(ref, access=access).scene

    def read() -> None:
        with ExitStack() as stack:
            ranges = stack.enter_context(RangeCache(tmp_path / "ranges", room=1 << 24)) if kept else None
            reader = stack.enter_context(RasterReader(cache_bytes=0, access=access, range_cache=ranges))
            reader.read(scene, scene.grid.window)

    read()
    proxy.set_faults(Fault(kind="truncated", methods=("GET",), path="tile-"))
    with pytest.raises(StorageError, match="scene b: "):
        read()
    proxy.set_faults()
    damage(tmp_path / "b.tif", how)
    s3_server.store.upload_file(tmp_path / "b.tif", url, overwrite=True)
    with pytest.raises(InputError, match=r"scene b: .* truncated"):
        read()
    assert "Traceback" not in capfd.readouterr().err


def test_clients_do_not_multiply_each_others_attempts(proxy: Counting, s3_server: ObjectServer, store: Store) -> None:
    proxy.set_faults(Fault(kind="status", status=503, code="SlowDown", path="many.bin"))
    with pytest.raises(StorageError):
        store.exists(f"{s3_server.base}/faults/many.bin")
    rounds, requests = store.access.retries + 1, store.access.retries + 1
    assert proxy.count_faults() <= rounds * requests
    assert find_filesystem("s3://", store.access).retries == 1
