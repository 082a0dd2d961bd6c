"""The fake cluster of :mod:`kubernetes_fake` behind HTTP, and a network between that fails when it is told to."""

from __future__ import annotations

import json
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

from kubernetes_fake import NAMESPACE, Cluster, Refused, Thing

__all__ = ["Fault", "Outage", "serve", "write_kubeconfig"]

TOKEN: Final = "a-token-that-must-not-be-logged"  # noqa: S105 - of a fake
_REASONS: Final = {401: "Unauthorized", 403: "Forbidden", 410: "Expired", 429: "TooManyRequests", 500: "InternalError"}


class _LostError(Exception):
    """The connection breaks here."""


@dataclass(kw_only=True)
class Fault:
    """What goes wrong with the next requests of a kind.

    verb, resource: of the requests.
    kind: refuse (with a status); lose (the connection breaks before anything is done); lose-answer (after all is done);
    cut (a watch breaks in the middle of a line); expire (a watch says 410 in its first line).
    times: how many requests.
    """

    verb: str
    resource: str
    kind: Literal["refuse", "lose", "lose-answer", "cut", "expire"]
    status: int = 503
    message: str = "the server is down for now"
    retry_after: int | None = None
    times: int = 1


@dataclass(frozen=True, kw_only=True)
class Outage:
    """An API server that goes down, and refuses everybody for a while when it comes back: it has not read its roles yet.

    begin: in the cluster's time, seconds. down, refusing: for how long, one after the other.
    """

    begin: float
    down: float
    refusing: float
    status: int = 403


@dataclass(kw_only=True)
class Server:
    """A cluster's address, what goes wrong, and how often what was asked."""

    cluster: Cluster
    url: str = ""
    faults: list[Fault] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def plan_outage(self, outage: Outage) -> None:
        """Have the API server go down."""
        self.outages.append(outage)
        self.cluster.at(outage.begin, lambda: None)  # time stops here, so that open watches break

    def meet_outage(self) -> None:
        """Fail as an outage of this moment says."""
        now = self.cluster.clock()
        for outage in self.outages:
            if outage.begin <= now < outage.begin + outage.down:
                raise _LostError
            if 0 <= now - outage.begin - outage.down < outage.refusing:
                raise Refused(outage.status, _REASONS[outage.status], "clusterrole not found, the server is starting")


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client may go when it likes; what goes wrong else shows in its answers."""
        if not isinstance(sys.exception(), (ConnectionError, ssl.SSLError)):
            super().handle_error(*_)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement
    world: Server

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            self._route(json.loads(body) if body else {})
        except Refused as refused:
            self._refuse(refused)
        except (_LostError, BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _route(self, body: Thing) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        group, _, rest = url.path.partition(f"/namespaces/{NAMESPACE}/")
        if group not in {"/api/v1", "/apis/batch/v1"} or not rest:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        kind, *more = rest.split("/")
        resource = "/".join([kind, *more[1:]])
        name = more[0] if more else ""
        verb = {"POST": "create", "DELETE": "delete"}.get(self.command) or (
            "get" if name else "watch" if query.get("watch", "").lower() == "true" else "list"
        )
        self.world.meet_outage()
        self._authorise(verb, resource)
        fault = self._find_fault(verb, resource)
        if fault is not None and fault.kind == "lose":
            raise _LostError
        if fault is not None and fault.kind == "refuse":
            self._refuse(Refused(fault.status, _REASONS.get(fault.status, ""), fault.message), fault.retry_after)
            return
        if verb == "watch":
            self._watch(query, fault)
            return
        answer = self._answer(verb, resource, name, query, body)
        if fault is not None:
            raise _LostError
        self._send(201 if verb == "create" else 200, answer)

    def _authorise(self, verb: str, resource: str) -> None:
        cluster = self.world.cluster
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise Refused(401, "Unauthorized", "Unauthorized")
        self.world.asked.append((verb, resource))
        if (verb, resource) not in cluster.rights:
            told = f'User "system:serviceaccount:{NAMESPACE}:mosaic-coordinator" cannot {verb} resource "{resource}"'
            raise Refused(403, "Forbidden", f'{resource} is forbidden: {told} in the namespace "{NAMESPACE}"')
        cluster.used.add((verb, resource))

    def _find_fault(self, verb: str, resource: str) -> Fault | None:
        for fault in self.world.faults:
            if (fault.verb, fault.resource) == (verb, resource) and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    def _answer(self, verb: str, resource: str, name: str, query: dict[str, str], body: Thing) -> Thing | str:
        cluster = self.world.cluster
        with cluster.lock:
            match verb, resource:
                case "create", "jobs":
                    return cluster.create_job(body)
                case "get", "jobs":
                    return cluster.find_job(name)
                case "delete", "jobs":
                    cluster.delete_job(name, (body.get("preconditions") or {}).get("uid"))
                    return {"kind": "Status", "apiVersion": "v1", "status": "Success"}
                case "get", "pods":
                    return cluster.find_pod(name)
                case "get", "pods/log":
                    return cluster.read_log(name, query["container"], int(query["tailLines"]))
                case "list", "pods" | "events":
                    found = self._find_pods(query) if resource == "pods" else self._find_events(query)
                    return {"kind": "List", "apiVersion": "v1", "metadata": {}, "items": found[: int(query["limit"])]}
        raise Refused(405, "MethodNotAllowed", f"{verb} {resource}")

    def _find_events(self, query: dict[str, str]) -> list[Thing]:
        where, _, uid = query["fieldSelector"].partition("=")
        assert where == "involvedObject.uid"
        return [event for (about, _, _), event in self.world.cluster.events.items() if about == uid]

    def _find_pods(self, query: dict[str, str]) -> list[Thing]:
        label, _, wanted = query["labelSelector"].partition("=")
        where, _, phase = query["fieldSelector"].partition("=")
        assert where == "status.phase"
        pods = self.world.cluster.pods.values()
        return [pod for pod in pods if pod["metadata"]["labels"].get(label) == wanted and pod["status"]["phase"] == phase]

    def _watch(self, query: dict[str, str], fault: Fault | None) -> None:
        cluster, last = self.world.cluster, int(query["resourceVersion"])
        field_name, _, name = query["fieldSelector"].partition("=")
        assert field_name == "metadata.name"
        self._begin_stream()
        if last < cluster.oldest or (fault is not None and fault.kind == "expire"):
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": f"too old resource version: {last}"}
            self._send_line({"type": "ERROR", "object": gone})
            self._end_stream()
            return
        if fault is not None and fault.kind == "cut":
            self._send_chunk(b'{"type": "MODIFIED", "obj')
            raise _LostError
        until = cluster.clock() + float(query["timeoutSeconds"])
        failed = next((_count_failed(job) for v, _, job in reversed(cluster.history) if v <= last and _name(job) == name), 0)
        while True:
            with cluster.lock:
                news = [entry for entry in cluster.history if entry[0] > last and _name(entry[2]) == name]
            for version, kind, job in news:
                self._send_line({"type": kind, "object": job})
                last = version
                if kind == "DELETED" or _is_finished(job) or _count_failed(job) > failed:
                    self._end_stream()
                    return
            if cluster.clock() >= until:
                self._end_stream()
                return
            cluster.step(until)
            self.world.meet_outage()

    # ---- the wire

    def _send(self, status: int, answer: Thing | str) -> None:
        text = answer if isinstance(answer, str) else json.dumps(answer)
        data, kind = text.encode(), "text/plain" if isinstance(answer, str) else "application/json"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _refuse(self, refused: Refused, retry_after: int | None = None) -> None:
        status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": refused.status}
        data = json.dumps({**status, "reason": refused.reason, "message": refused.message}).encode()
        self.send_response(refused.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        self.end_headers()
        self.wfile.write(data)

    def _begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _send_line(self, event: Thing) -> None:
        self._send_chunk(json.dumps(event).encode() + b"\n")

    def _send_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def _end_stream(self) -> None:
        self.wfile.write(b"0\r\n\r\n")


def _name(job: Thing) -> str:
    return str(job["metadata"]["name"])


def _count_failed(job: Thing) -> int:
    return int(job["status"].get("failed", 0))


def _is_finished(job: Thing) -> bool:
    return any(c["type"] in {"Complete", "Failed"} for c in job["status"].get("conditions", ()))


@contextmanager
def serve(cluster: Cluster, certificate: Path | None = None) -> Iterator[Server]:
    """Serve a cluster on the loopback interface; by TLS with a certificate and its key, in one file."""
    world = Server(cluster=cluster)
    handler = type("Handler", (_Handler,), {"world": world})
    with _HttpServer(("127.0.0.1", 0), handler) as server:
        world.url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_address[1]}"
        if certificate:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield world
        finally:
            server.shutdown()
            thread.join()


def write_kubeconfig(path: Path, url: str, token: str = TOKEN, ca: Path | None = None) -> Path:
    """A kubeconfig for a server; its path."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "fake",
        "clusters": [{"name": "fake", "cluster": {"server": url, **({"certificate-authority": str(ca)} if ca else {})}}],
        "users": [{"name": "fake", "user": {"token": token}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake", "namespace": NAMESPACE}}],
    }
    path.write_text(json.dumps(config))
    return path
