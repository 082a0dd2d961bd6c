"""Private networks: which addresses are ones, however they are written, and that no client connects to one."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import pytest
import requests

from processor.errors import UnreadableError
from processor.storage.networks import REFUSAL, Networks, PrivateAddressError, find_proxy, is_public, is_refusal, make_adapter
from processor.storage.options import Access
from processor.storage.reading import ReadStore

PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",  # noqa: S104 - nothing is bound to it
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "168.63.129.16",
    "192.0.0.192",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:a00:1",
    "::127.0.0.1",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a00:1",
    "2002:7f00:1::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",  # Teredo of 127.0.0.1
]
WRITTEN = ["127.0.0.1", "2130706433", "0177.0.0.1", "0x7f.1", "127.1", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]", "localhost"]
PUBLIC = ["9.9.9.9", "172.32.0.1", "168.63.129.17", "2620:fe::fe", "::ffff:9.9.9.9", "64:ff9b::909:909"]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_of_private_networks(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet(address: str) -> None:
    assert is_public(address)


@pytest.fixture
def listener() -> Iterator[tuple[int, list[bytes]]]:
    """Port of a server on all of this machine's addresses, and the connections that it had."""
    had: list[bytes] = []

    def serve(server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                had.append(connection.recv(4096))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        thread = Thread(target=serve, args=(server,), daemon=True)
        thread.start()
        yield server.getsockname()[1], had
        server.shutdown(socket.SHUT_RDWR)


def read(url: str, networks: Networks) -> bytes:
    return ReadStore(access=Access(retries=0, timeout=5).within(networks)).read_bytes(url, max_bytes=99)


def get(url: str, networks: Networks) -> bytes:
    with requests.Session() as session:
        session.mount("http://", make_adapter(networks))
        return session.get(url, timeout=5).content


def client_error(error: BaseException) -> bool:
    """Whether a client of requests was refused; whoever uses it finds the words."""
    return isinstance(error, OSError) and is_refusal(error)


def find_words(call: Callable[[], object]) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of two clients
        call()
    assert isinstance(caught.value, UnreadableError) or client_error(caught.value)
    return REFUSAL if client_error(caught.value) else str(caught.value)


@pytest.mark.parametrize("host", WRITTEN)
@pytest.mark.parametrize("client", [read, get])
def test_nothing_connects_to_a_private_address_that_nobody_named(
    listener: tuple[int, list[bytes]], host: str, client: Callable[[str, Networks], bytes]
) -> None:
    port, had = listener
    find_words(lambda: client(f"http://{host}:{port}/a.json", Networks()))
    find_words(
        lambda: client(f"http://{host}:{port}/a.json", Networks().naming(["http://localhost:1/", "http://127.0.0.1:2/"]))
    )
    assert had == []


@pytest.mark.parametrize("client", [read, get])
def test_what_was_named_is_reached_and_so_is_everything_where_that_is_allowed(
    listener: tuple[int, list[bytes]], client: Callable[[str, Networks], bytes]
) -> None:
    port, had = listener
    for networks in (Networks().naming([f"http://127.0.0.1:{port}/other"]), Networks(is_open=True)):
        assert client(f"http://127.0.0.1:{port}/a.json", networks) == b"{}"
    assert len(had) >= 2


def test_open_closed_and_unknown_are_told_in_the_same_words(listener: tuple[int, list[bytes]]) -> None:
    port, _ = listener
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    urls = [f"http://127.0.0.1:{port}/a", f"http://127.0.0.1:{closed}/a", f"http://localhost:{port}/a"]
    told = {find_words(lambda url=url: read(url, Networks())).replace(url, "URL") for url in urls}  # type: ignore[misc]
    assert told == {f"URL {REFUSAL}"}


@pytest.mark.parametrize("client", [read, get])
def test_a_name_is_judged_by_its_addresses_and_one_without_any_is_told_alike(
    monkeypatch: pytest.MonkeyPatch, client: Callable[[str, Networks], bytes]
) -> None:
    def resolve(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        if host == "gone.example.org":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if host != "inside.example.org":
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("9.9.9.9", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    words = [
        find_words(lambda host=host: client(f"http://{host}/a", Networks())).replace(host, "HOST")  # type: ignore[misc]
        for host in ("inside.example.org", "gone.example.org")
    ]
    assert words[0] == words[1]


def test_a_name_that_changes_its_address_gains_nothing(
    listener: tuple[int, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What requests connects to is asked of the connection, which the second answer of the name server made."""
    port, had = listener
    answers = iter(["9.9.9.9", "127.0.0.1"])

    def resolve(host: str, port: int, *_: Any, **options: Any) -> list[Any]:
        if options.get("flags") == socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    find_words(lambda: get(f"http://changing.example.org:{port}/a", Networks()))
    assert list(answers) == []
    assert all(not data for data in had)  # closed before a request


def test_names_stand_for_both_usual_ports_and_for_no_other() -> None:
    networks = Networks().naming(["HTTP://Intranet.example.org./a", "s3://bucket/a", "http://[", "a.tif", "https://x:8443/"])
    assert networks.named == (("intranet.example.org", 443), ("x", 8443))
    assert networks.knows("intranet.example.org", 80)
    assert networks.knows("intranet.example.org", 443)
    assert not networks.knows("intranet.example.org", 8080)
    with pytest.raises(PrivateAddressError):
        networks.check("other", 80, ["10.0.0.1"])


def test_proxies_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "inside.example.org")
    assert find_proxy("https://example.org/a") is None
    monkeypatch.setenv("https_proxy", "proxy:3128")
    assert find_proxy("https://example.org/a") == "http://proxy:3128"
    assert find_proxy("https://inside.example.org/a") is None
    monkeypatch.setenv("https_proxy", "socks5://proxy:1080")
    assert find_proxy("https://example.org/a") is None


def test_a_proxy_of_the_environment_is_asked_and_private_addresses_are_not(
    listener: tuple[int, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, had = listener
    monkeypatch.setenv("http_proxy", f"http://me:secret@localhost:{port}")
    monkeypatch.setenv("no_proxy", "")
    assert read("http://data.example.org/a.json", Networks()) == b"{}"
    assert had[-1].startswith((b"GET http://data.example.org/a.json", b"HEAD http://data.example.org/a.json"))
    assert b"Proxy-Authorization: Basic bWU6c2VjcmV0" in had[-1]
    had.clear()
    find_words(lambda: read("http://169.254.169.254/a.json", Networks()))
    find_words(lambda: get("http://169.254.169.254/a.json", Networks()))
    assert had == []
