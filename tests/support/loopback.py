"""Servers of ours for tests, each a process: a plain web server with ranges, and a proxy that does what networks do.

Both count what they are asked for. ``/-/counted`` gives the counts and begins anew, ``/-/faults`` takes the faults that
requests meet from now on, ``/-/seen`` tells how many did. Run as ``loopback.py PORT web FOLDER`` or
``loopback.py PORT proxy HOST:PORT``, or ``loopback.py PORT guarded FOLDER RULES``, whose rules are JSON.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

Kind = Literal["status", "reset", "slow", "truncated"]

_XML = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{code} by the proxy</Message></Error>'
_HOP = frozenset({"transfer-encoding", "connection", "date", "server"})


@dataclass(slots=True)
class Fault:
    """What happens to a request.

    kind: an answer of the proxy's own, a connection that is reset, a body that stalls half way, or one that ends there.
    times: how many requests it is for; None: all.
    methods, path: which ones; the path is a part of it, query included.
    status, code, retry_after: of the answer; the code is S3's.
    stall: seconds.
    """

    kind: Kind
    times: int | None = None
    methods: tuple[str, ...] = ("GET", "HEAD", "PUT", "POST")
    path: str = ""
    status: int = 503
    code: str = "SlowDown"
    retry_after: int | None = None
    stall: float = 0.0
    seen: int = 0

    def takes(self, method: str, path: str) -> bool:
        """Whether it is for this request, which is counted then."""
        if method not in self.methods or self.path not in path or (self.times is not None and self.seen >= self.times):
            return False
        self.seen += 1
        return True


@dataclass(slots=True)
class State:
    """What a server was asked for, and the faults that it has in store."""

    counted: list[tuple[str, str, int]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, method: str, path: str, size: int) -> None:
        """Note a request."""
        with self.lock:
            self.counted.append((method, path, size))

    def find_fault(self, method: str, path: str) -> Fault | None:
        """The first fault that takes a request."""
        with self.lock:
            return next((fault for fault in self.faults if fault.takes(method, path)), None)

    def control(self, path: str, body: bytes | None) -> bytes:
        """Answer a request of the test itself."""
        with self.lock:
            if path == "/-/faults":
                self.faults = [Fault(**{**fault, "methods": tuple(fault["methods"])}) for fault in json.loads(body or b"[]")]
            if path == "/-/seen":
                return json.dumps(sum(fault.seen for fault in self.faults)).encode()
            counted, self.counted = (self.counted, []) if path == "/-/counted" else ([], self.counted)
            return json.dumps(counted).encode()


class _Handler(BaseHTTPRequestHandler):
    """What both servers have."""

    protocol_version = "HTTP/1.1"
    state: State

    def _control(self, body: bytes | None) -> bool:
        if not self.path.startswith("/-/"):
            return False
        data = self.state.control(self.path, body)
        self.send_response_only(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        return True

    def finish(self) -> None:
        """Leave a connection that is gone alone."""
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _FileHandler(_Handler):
    """Files of a folder, whole or by one range, as a plain web server gives them."""

    root: Path

    def _answer(self) -> None:
        if self._control(None):
            return
        path = self.root / self.path.partition("?")[0].lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        size = path.stat().st_size
        start, end = 0, size
        asked = self.headers.get("Range", "")
        if asked.startswith("bytes="):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start = int(first) if first else max(0, size - int(last))
            end = min(size, int(last) + 1) if first and last else size
            if start >= size:
                self.send_error(416)
                return
            self.send_response_only(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        else:
            self.send_response_only(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(end - start))
        self.send_header("ETag", f'"{path.stat().st_mtime_ns:x}"')
        self.end_headers()
        body = b""
        if self.command == "GET":
            with path.open("rb") as stream:
                stream.seek(start)
                body = stream.read(end - start)
            with contextlib.suppress(ConnectionError):  # a client may have seen enough
                self.wfile.write(body)
        self.state.count(self.command, self.path, len(body))

    do_GET = do_HEAD = _answer  # noqa: N815 - the library's names


class _GuardedHandler(_FileHandler):
    """Files for who brings the right header; others are refused, shown a page to log in, or sent elsewhere.

    ``rules`` has ``header`` and ``value``, and may have ``page`` (HTML with status 200 in place of 401), ``send_on`` (a URL
    that requests with the header are redirected to) and ``no_head``. ``/-/counted`` gives the header's value too,
    as a path.
    """

    rules: dict[str, Any]

    def _answer(self) -> None:
        if self._control(None):
            return
        given = self.headers.get(self.rules["header"], "")
        self.state.count(self.command, given, 0)
        if self.rules.get("no_head") and self.command == "HEAD":
            self._say(403, b"")
        elif self.rules["value"] and given != self.rules["value"]:
            page = b"<!DOCTYPE html><html><title>Log in</title></html>"
            self._say(200 if self.rules.get("page") else 401, page, **{"Content-Type": "text/html"})
        elif self.rules.get("send_on"):
            self._say(302, b"", Location=self.rules["send_on"] + self.path)
        else:
            super()._answer()

    do_GET = do_HEAD = _answer  # noqa: N815 - the library's names

    def _say(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


class _ProxyHandler(_Handler):
    """Hands requests on, unless a fault is for them."""

    upstream: str

    def _handle(self) -> None:
        body = self._read_body()
        if self._control(body):
            return
        fault = self.state.find_fault(self.command, self.path)
        if fault is None:
            self._answer(*self._ask(body), part=1.0)
        elif fault.kind == "status":
            self._refuse(fault)
        elif fault.kind == "reset":
            self._reset()
        else:
            self._answer(*self._ask(body), part=0.5, stall=fault.stall)
            self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815 - the library's names

    def _read_body(self) -> bytes | None:
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            pieces = []
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                pieces.append(self.rfile.read(size + 2)[:-2])
            self.rfile.readline()
            return b"".join(pieces)
        length = int(self.headers.get("Content-Length") or 0)
        return self.rfile.read(length) if length else None

    def _ask(self, body: bytes | None) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.upstream, timeout=30)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in {"transfer-encoding", "expect", "content-length"}:
                connection.putheader(name, value)  # the Host too, which is signed
        if body is not None or self.command in {"PUT", "POST"}:
            connection.putheader("Content-Length", str(len(body or b"")))
        connection.endheaders(body)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, answer.getheaders(), data

    def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes, *, part: float, stall: float = 0.0) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP:
                self.send_header(name, value)
        if not any(name.lower() == "content-length" for name, _ in headers) and status >= 200 and status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.state.count(self.command, self.path, len(data))
        if self.command == "HEAD":
            return
        half = int(len(data) * part)
        self.wfile.write(data[:half])
        self.wfile.flush()
        if stall:
            time.sleep(stall)
            self.wfile.write(data[half:])

    def _refuse(self, fault: Fault) -> None:
        data = _XML.format(code=fault.code).encode()
        self.send_response_only(fault.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(data)))
        if fault.retry_after is not None:
            self.send_header("Retry-After", str(fault.retry_after))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _reset(self) -> None:
        """Close so that the other side sees a reset, not an end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True


class _Server(ThreadingHTTPServer):
    """A client that goes away is no error."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        """Say nothing."""


def main(port: str, kind: str, what: str, rules: str = "{}") -> None:
    """Serve until this process is killed."""
    handlers: dict[str, tuple[type[_Handler], dict[str, Any]]] = {
        "web": (_FileHandler, {"root": Path(what)}),
        "guarded": (_GuardedHandler, {"root": Path(what), "rules": json.loads(rules)}),
        "proxy": (_ProxyHandler, {"upstream": what}),
    }
    base, members = handlers[kind]
    _Server(("127.0.0.1", int(port)), type("Handler", (base,), {"state": State(), **members})).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
