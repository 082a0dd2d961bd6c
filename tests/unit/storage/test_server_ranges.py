"""Parts of files of web servers: never more than was asked for, whatever comes."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest

from processor.errors import InputError, StorageError, UnreadableError
from processor.geotiff.ranges import FsspecObject
from processor.geotiff.traffic import Traffic
from processor.storage.options import Access

PIECE = b"0123456789" * 1000


class Handler(BaseHTTPRequestHandler):
    """``/endless`` has no end and no parts; ``/short`` ends before its part does; ``/parts`` is as it should be."""

    stopped = Event()

    def do_GET(self) -> None:
        start, _, end = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        if self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            while not self.stopped.is_set():
                self.wfile.write(PIECE)
        elif self.path in {"/short", "/parts"}:
            data = PIECE[int(start) : int(end) + 1]
            self.send_response(206)
            self.end_headers()
            self.wfile.write(data[:-1] if self.path == "/short" else data)
        else:
            self.send_error(410 if self.path == "/gone" else 403)

    def handle(self) -> None:
        """A client that has seen enough is no error."""
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        Handler.stopped.set()
        server.shutdown()


def read(url: str, start: int, end: int) -> bytes:
    return FsspecObject(url, Access(retries=0, timeout=10).allowing([url]), Traffic()).read(start, end)


def test_a_part_is_what_was_asked_for(url: str) -> None:
    assert read(f"{url}/parts", 3, 8) == b"34567"


def test_a_server_without_parts_gives_the_beginning_and_is_refused_elsewhere(url: str) -> None:
    assert read(f"{url}/endless", 0, 12) == b"012345678901"
    with pytest.raises(InputError, match="it sends no parts of files: fetch the file"):
        read(f"{url}/endless", 3, 8)


def test_a_part_that_ends_early_failed_for_now(url: str) -> None:
    with pytest.raises(StorageError, match="4 bytes came where 5 were asked for"):
        read(f"{url}/short", 3, 8)


@pytest.mark.parametrize(("name", "word"), [("gone", "does not exist"), ("denied", "denied")])
def test_what_is_missing_or_denied_is_unreadable(url: str, name: str, word: str) -> None:
    with pytest.raises(UnreadableError, match=word):
        read(f"{url}/{name}", 3, 8)
