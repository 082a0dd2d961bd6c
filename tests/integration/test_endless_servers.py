"""Servers that never come to an end: the time for documents ends the run, with an exit code that says so."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commands import call_command

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def drip_body(connection: socket.socket, stop: threading.Event) -> None:
    """One byte of the body at a time, each soon enough for a time-out between bytes."""
    connection.sendall(HEAD + b"\r\n")
    while not stop.wait(0.05):
        connection.sendall(b" ")


def drip_head(connection: socket.socket, stop: threading.Event) -> None:
    """A header that has no end."""
    connection.sendall(HEAD + b"X: ")
    while not stop.wait(0.05):
        connection.sendall(b"x")


def go_on(connection: socket.socket, stop: threading.Event) -> None:
    """Provisional answers without end."""
    while not stop.wait(0.01):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def announce(connection: socket.socket, stop: threading.Event) -> None:
    """Ten gigabytes, it says, and gives a few bytes of them."""
    connection.sendall(HEAD + b"Content-Length: 10000000000\r\n\r\n{")
    while not stop.wait(0.05):
        connection.sendall(b" ")


Behaviour = Callable[[socket.socket, threading.Event], None]


@contextlib.contextmanager
def serving(behave: Behaviour) -> Iterator[str]:
    """URL of a server on this machine that behaves like this."""
    stop, server = threading.Event(), socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            behave(connection, stop)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        stop.set()
        server.close()


@pytest.mark.parametrize("what", ["document", "api", "catalogue"])
@pytest.mark.parametrize("behave", [drip_body, drip_head, go_on, announce], ids=lambda behave: str(behave.__name__))
def test_the_time_for_documents_ends_what_a_server_does_not(behave: Behaviour, what: str, tmp_path: Path) -> None:
    with serving(behave) as url:
        words = {"document": [f"{url}/items.json"], "api": ["--api", url], "catalogue": ["catalog.json"]}[what]
        links = [{"rel": "item", "href": f"{url}/{n}.json"} for n in range(3)]
        (tmp_path / "catalog.json").write_text(json.dumps({"type": "Catalog", "id": "c", "links": links}))
        begin = time.monotonic()
        bounds = ("--inputs.max_seconds", "0.7", "--io.timeout", "20")
        done = call_command("run", *words, *bounds, "--output", "out", "--dry-run", cwd=tmp_path, scratch=tmp_path / "scratch")
    assert time.monotonic() - begin < 15
    assert done.code == 1, done.stderr
    assert "--inputs.max_seconds 0.7" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
