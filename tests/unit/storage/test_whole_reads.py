"""Documents are read to their end, whatever pieces a server sends them in, and what came short is no document."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from processor.config import load_config
from processor.errors import InputError, StorageError
from processor.storage.options import resolve_access
from processor.storage.reading import ReadStore
from processor.storage.url import storage_errors

TEXT = b"local_block_adjustment:\n" + b"# " + b"x" * 300_000 + b"\n  alpha: 2.0\n"


@contextmanager
def serve(*, chunked: bool, length: int | None = None) -> Iterator[str]:
    """A server that sends the text in two pieces, with or without its length."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            if length is not None:
                self.send_header("Content-Length", str(length))
            elif chunked:
                self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Connection", "close")
            self.end_headers()
            for piece in (TEXT[:1000], TEXT[1000:]):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
                self.wfile.flush()
                time.sleep(0.1)  # so that the client has the first piece alone
            if chunked:
                self.wfile.write(b"0\r\n\r\n")
            self.close_connection = True

        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/config.yaml"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def make_store() -> ReadStore:
    config = load_config(flags={"io.retries": 0}, environment={})
    return ReadStore(access=resolve_access(config.io, {}).allowing((), everywhere=True))


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "until the end"])
def test_a_document_without_length_is_read_to_its_end(chunked: bool) -> None:
    with serve(chunked=chunked) as url:
        assert make_store().read_bytes(url, max_bytes=10**6) == TEXT


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "until the end"])
def test_one_that_is_too_large_is_refused_without_its_length_too(chunked: bool) -> None:
    with serve(chunked=chunked) as url, pytest.raises(InputError, match="larger than the 5000 bytes"):
        make_store().read_bytes(url, max_bytes=5000)


def test_one_that_ends_before_its_length_is_an_error() -> None:
    with serve(chunked=False, length=len(TEXT) + 10) as url, pytest.raises(StorageError):
        make_store().read_bytes(url, max_bytes=10**6)


class Dripping(io.RawIOBase):
    """A stream that gives ten bytes at most, and says that it has some number."""

    def __init__(self, data: bytes, size: int | None) -> None:
        self.rest, self.size = data, size

    def read(self, size: int = -1) -> bytes:
        piece, self.rest = self.rest[: min(size, 10)], self.rest[min(size, 10) :]
        return piece


def open_dripping(size: int | None) -> object:
    """What stands for :meth:`ReadStore.open_stream`."""

    @contextmanager
    def open_stream(_: ReadStore, url: str) -> Iterator[Dripping]:
        with storage_errors(url):
            yield Dripping(b"x" * 25, size)

    return open_stream


@pytest.mark.parametrize("size", [None, 25])
def test_reads_that_give_less_than_asked_go_on(size: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReadStore, "open_stream", open_dripping(size))
    assert make_store().read_bytes("memory://x", max_bytes=100) == b"x" * 25
    with pytest.raises(InputError, match="larger than the 24 bytes"):
        make_store().read_bytes("memory://x", max_bytes=24)


def test_a_stream_that_says_it_has_more_than_it_gives_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReadStore, "open_stream", open_dripping(30))
    with pytest.raises(StorageError, match="ended after 25 of 30 bytes"):
        make_store().read_bytes("memory://x", max_bytes=100)
