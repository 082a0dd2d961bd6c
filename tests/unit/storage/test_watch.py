"""Servers that are not reached: said early, by whatever client they are asked, and given up without waiting for an answer."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from blocked_ports import drop_connections, refuse_connections
from servers import azure_access, s3_access

from processor.errors import StorageError
from processor.geotiff.gdal import GdalReader
from processor.storage import watch
from processor.storage.backends import S3, Azure, Backend, Gcs, Http, base
from processor.storage.networks import Networks
from processor.storage.options import Access
from processor.storage.store import Store
from processor.storage.watch import watch_endpoint
from stac.api.session import ApiSession, Patience

ANYWHERE = Networks(is_open=True)
WITHIN = watch._LONG + watch._STEP + watch._KNOCK
BLOCKED: dict[str, tuple[Callable[[], AbstractContextManager[str]], str]] = {
    "dropped": (drop_connections, "no connection within 0.3 seconds, something drops it"),
    "refused": (refuse_connections, "connections are refused"),
}


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience of a test's length, and a watch that has knocked nowhere yet."""
    for name, seconds in {"_LONG": 0.1, "_KNOCK": 0.3, "_STEP": 0.02}.items():
        monkeypatch.setattr(watch, name, seconds)
    monkeypatch.setattr(watch, "_WATCH", watch._Watch())
    monkeypatch.setattr(base, "LONGEST_CONNECTING", 1.0)


@pytest.fixture(params=BLOCKED)
def blocked(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """URL of a server that is not reached, and why."""
    make, reason = BLOCKED[request.param]
    with make() as url:
        yield url, reason


def list_warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if getattr(record, "event", "") == "storage-not-reached"]


def ask_s3(url: str, retries: int) -> None:
    Store(access=s3_access(url, retries=retries)).exists("s3://bucket/a.json")


def ask_azure(url: str, retries: int) -> None:
    pytest.importorskip("adlfs")  # an extra
    Store(access=azure_access(f"{url}/account", retries=retries)).exists("az://bucket/a.json")


def ask_http(url: str, retries: int) -> None:
    Store(access=Access(retries=retries).allowing([url])).read_bytes(f"{url}/a.json?signature=secret", max_bytes=9)


def ask_gdal(url: str, retries: int) -> None:
    access = s3_access(url, retries=retries)
    with GdalReader(access).env("s3://bucket/a.tif"):
        GdalReader(access).open("s3://bucket/a.tif", "a")


def ask_api(url: str, retries: int) -> None:
    ApiSession(url, option="--api", patience=Patience(retries=retries, first=1.0)).request("GET", "/search")


@pytest.mark.parametrize("ask", [ask_s3, ask_azure, ask_http, ask_gdal, ask_api])
def test_a_server_that_is_not_reached_is_named_while_it_is_asked(
    ask: Callable[[str, int], None], blocked: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    url, reason = blocked
    begin = time.monotonic()
    with caplog.at_level(logging.WARNING), pytest.raises(StorageError):
        ask(url, int("refused" in reason))
    assert time.monotonic() - begin < 15, "the time-out of an answer was waited for"
    (said,) = list_warnings(caplog)
    assert said.startswith(f"{url} is not reached: {reason}")
    assert f"NetworkPolicy lets this pod reach 127.0.0.1 on port {url.rpartition(':')[2]}" in said
    assert "secret" not in said


def test_a_warning_comes_within_ten_seconds() -> None:
    assert WITHIN < 10


def test_nothing_is_said_of_a_server_that_is_slow_or_done(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), socket.create_server(("127.0.0.1", 0)) as server, refuse_connections() as refused:
        with watch_endpoint(f"http://127.0.0.1:{server.getsockname()[1]}", "--io.s3_…", ANYWHERE):
            time.sleep(0.5)
        for _ in range(20):
            with watch_endpoint(refused, "--io.s3_…", ANYWHERE):
                time.sleep(0.01)
    assert list_warnings(caplog) == []


def test_nobody_is_knocked_at_whom_requests_may_not_ask(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    knocked: list[object] = []
    monkeypatch.setattr(socket, "create_connection", lambda *place, **_: knocked.append(place))
    for url in ("http://127.0.0.1:9/a.json", "http://localhost:9/a.json", "http://nowhere.invalid/a.json"):
        with caplog.at_level(logging.WARNING), watch_endpoint(url, "INPUT", Networks()):
            time.sleep(0.5)
    assert knocked == []
    assert list_warnings(caplog) == []


def test_it_is_said_again_while_it_lasts(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_AGAIN", 0.2)
    with caplog.at_level(logging.WARNING), refuse_connections() as url, watch_endpoint(url, "--io.s3_…", ANYWHERE):
        time.sleep(1.0)
    assert len(list_warnings(caplog)) > 1


def test_a_proxy_is_what_is_knocked_at(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    with refuse_connections() as proxy:
        monkeypatch.setenv("https_proxy", proxy)
        with caplog.at_level(logging.WARNING), watch_endpoint("https://storage.example.org", "--io.s3_…", ANYWHERE):
            time.sleep(0.5)
        (said,) = list_warnings(caplog)
        assert said.startswith("https://storage.example.org is not reached: connections are refused")
        assert f"port {proxy.rpartition(':')[2]}" in said


@pytest.mark.parametrize(
    ("backend", "url", "endpoint"),
    [
        (S3(region="eu-central-1"), "s3://bucket/a", "https://s3.eu-central-1.amazonaws.com"),
        (S3(endpoint="http://minio:9000"), "s3://bucket/a", "http://minio:9000"),
        (Gcs(), "gs://bucket/a", "https://storage.googleapis.com"),
        (Azure(account="mosaics"), "az://bucket/a", "https://mosaics.blob.core.windows.net"),
        (Http(), "https://example.org/a.tif?sig=1", "https://example.org/a.tif?sig=1"),
    ],
)
def test_every_client_gives_up_connecting_before_it_gives_up_an_answer(backend: Backend, url: str, endpoint: str) -> None:
    assert backend.find_endpoint(url) == endpoint
    if isinstance(backend, Azure):
        pytest.importorskip("adlfs")  # an extra
    options = backend.fsspec_options(retries=1, timeout=60.0)
    found: Any = {
        "s3": lambda: (options["config_kwargs"]["connect_timeout"], options["config_kwargs"]["read_timeout"]),
        "gs": lambda: (options["session_kwargs"]["timeout"].sock_connect, options["session_kwargs"]["timeout"].sock_read),
        "az": lambda: tuple(backend.make_filesystem(options)._client[name] for name in ("connection_timeout", "read_timeout")),
        "http": lambda: (options["client_kwargs"]["timeout"].sock_connect, options["client_kwargs"]["timeout"].sock_read),
    }[backend.protocols[0]]()
    assert found == (1.0, 60.0)
    assert Access(timeout=60.0, storages=(backend,)).gdal_options(url)["GDAL_HTTP_CONNECTTIMEOUT"] == "1"
    assert backend.fsspec_options(retries=1, timeout=0.5) != options
