"""A small STAC API on the loopback interface that says what it is told to, for tests of what real ones never answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

CORE = "https://api.stacspec.org/v1.0.0/core"
SEARCH = "https://api.stacspec.org/v1.0.0/item-search"
SORT = "https://api.stacspec.org/v1.0.0/item-search#sort"
FILTER = "https://api.stacspec.org/v1.0.0/item-search#filter"
TEXT = "http://www.opengis.net/spec/cql2/1.0/conf/cql2-text"
JSON = "http://www.opengis.net/spec/cql2/1.0/conf/cql2-json"
ITEMS = "https://api.stacspec.org/v1.0.0/ogcapi-features/extensions/transaction"
COLLECTIONS = "https://api.stacspec.org/v1.0.0/collections/extensions/transaction"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An answer: JSON, or text as it is."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class FakeApi:
    """An API with Collections and Items that takes both, pages what it is searched for, and does as ``script`` says first.

    url: of the landing page, without a last slash.
    script: answers that are given in turn, by method and path, before the API does what it does.
    asked: every request, in order.
    page: Items on a page.
    """

    url: str = ""
    conforms: list[str] = field(default_factory=lambda: [CORE, SEARCH, SORT, FILTER, TEXT, JSON, ITEMS, COLLECTIONS])
    items: dict[str, Any] = field(default_factory=dict)
    collections: dict[str, Any] = field(default_factory=dict)
    script: dict[tuple[str, str], list[Said]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    page: int = 2
    links: list[dict[str, Any]] | None = None

    def say(self, method: str, path: str, *answers: Said) -> None:
        """Give these answers first."""
        self.script.setdefault((method, path), []).extend(answers)

    def answer(self, asked: Asked) -> Said:
        """Answer a request."""
        self.asked.append(asked)
        planned = self.script.get((asked.method, asked.path))
        if planned:
            return planned.pop(0)
        if asked.path in {"", "/"}:
            return Said(body=self._landing())
        if asked.path == "/search":
            return self._search(asked)
        parts = asked.path.strip("/").split("/")
        if parts[0] != "collections":
            return Said(status=404)
        return self._find(asked, parts[1:])

    def _landing(self) -> dict[str, Any]:
        links = [make_search_link(f"{self.url}/search", method) for method in ("GET", "POST")]
        links = [{"rel": "root", "href": self.url}, *(links if self.links is None else self.links)]
        base = {"type": "Catalog", "id": "fake", "description": "fake", "stac_version": "1.0.0"}
        return {**base, "conformsTo": self.conforms, "links": links}

    def _search(self, asked: Asked) -> Said:
        start = int(asked.query.get("from", ["0"])[0])
        features = list(self.items.values())
        body: dict[str, Any] = {"type": "FeatureCollection", "features": features[start : start + self.page], "links": []}
        if start + self.page < len(features):
            link = {"rel": "next", "href": f"{self.url}/search?from={start + self.page}", "method": asked.method}
            body["links"].append({**link, "body": asked.body} if asked.method == "POST" else link)
        return Said(body={**body, "numberMatched": len(features)})

    def _find(self, asked: Asked, parts: list[str]) -> Said:
        if asked.method == "POST" and not parts:
            return self._create(self.collections, asked.body)
        if parts[0] not in self.collections:
            return Said(status=404, body={"code": "NotFoundError", "description": "no such Collection"})
        if len(parts) == 1:
            return Said(body=self.collections[parts[0]])
        if asked.method == "POST":
            return self._create(self.items, asked.body)
        if asked.method == "PUT":
            self.items[parts[2]] = asked.body
            return Said(body=asked.body)
        return Said(body=self.items[parts[2]]) if parts[2] in self.items else Said(status=404)

    def _create(self, known: dict[str, Any], document: Any) -> Said:
        if document["id"] in known:
            return Said(status=409, body={"code": "ConflictError", "description": "already exists"})
        known[document["id"]] = document
        return Said(status=201, body=document)


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server of ours in a thread, on a free port, and its URL; a client that goes away is no error."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def make_search_link(href: str, method: str) -> dict[str, str]:
    """A landing page's link to its search."""
    return {"rel": "search", "href": href, "type": "application/geo+json", "method": method}


@contextmanager
def run_api() -> Iterator[FakeApi]:
    """A fake API while the block runs."""
    api = FakeApi()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def do_PUT(self) -> None:
            self._answer()

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            data = self.rfile.read(length)
            query, body = parse_qs(parts.query), json.loads(data) if data else None
            asked = Asked(method=self.command, path=parts.path, query=query, headers=dict(self.headers), body=body)
            said = api.answer(asked)
            text = said.body if isinstance(said.body, str) else "" if said.body is None else json.dumps(said.body)
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with serving(Handler) as url:
        api.url = url
        yield api


def make_item(name: str, *, time: str = "2024-06-01T00:00:00Z", collection: str = "scenes", **more: Any) -> dict[str, Any]:
    """A scene's Item."""
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": collection,
        "geometry": None,
        "properties": {"datetime": time, **more.pop("properties", {})},
        "links": more.pop("links", []),
        "assets": {"image": {"href": f"https://data.example.org/{name}.tif", "type": "image/tiff"}},
        **more,
    }
