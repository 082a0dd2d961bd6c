"""A warning while storage is not reached, long before requests have been repeated to their end.

To clients, a port that a NetworkPolicy drops looks like a slow server: each waits for its time-outs in silence. Where a call
takes long, its server is therefore knocked at from beside: one connection, which the port drops, refuses or takes.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from processor.process.logs import log_event
from processor.redaction import redact_url
from processor.storage.networks import Networks, PrivateAddressError, find_proxy

_LOGGER = logging.getLogger(__name__)

_LONG: Final = 2.0  # seconds that a call lasts before its endpoint is knocked at
_KNOCK: Final = 5.0  # seconds that a connection may take; with the others, a warning comes within 10
_AGAIN: Final = 60.0  # seconds between two knocks at one endpoint
_STEP: Final = 0.25  # seconds between two looks at what is under way
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Call:
    """What is under way."""

    endpoint: str
    """URL of the server."""
    hint: str
    """Options that name it."""
    networks: Networks
    """Where requests may go."""
    begin: float
    """Seconds of the monotonic clock."""


class _Watch:
    """One thread that looks after all calls of this process, and sleeps while there are none."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls: set[_Call] = set()
        self._knocked: dict[str, float] = {}
        self._thread: threading.Thread | None = None

    def add(self, call: _Call) -> None:
        """Look after a call."""
        with self._changed:
            self._calls.add(call)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watch-storage", daemon=True)
                self._thread.start()
            if len(self._calls) == 1:
                self._changed.notify()

    def drop(self, call: _Call) -> None:
        """It has ended."""
        with self._changed:
            self._calls.discard(call)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._calls:
                    self._changed.wait()
                now = time.monotonic()
                late = {call.endpoint: call for call in self._calls if now - call.begin >= _LONG}
            for call in late.values():
                if now - self._knocked.get(call.endpoint, -_AGAIN) >= _AGAIN:
                    self._knocked[call.endpoint] = now
                    self._knock(call)
            time.sleep(_STEP)

    def _knock(self, call: _Call) -> None:
        proxy = find_proxy(call.endpoint)
        host, port = _find_door(proxy or call.endpoint)
        try:
            reason = knock(host, port, call.networks if proxy is None else Networks(is_open=True))
        except PrivateAddressError:  # which clients refuse to ask, too, and say so
            return
        with self._changed:
            goes_on = any(other.endpoint == call.endpoint for other in self._calls)
        if reason is not None and goes_on:
            shown = redact_url(call.endpoint)
            message = (
                f"{shown} is not reached: {reason}. Requests are repeated; check {call.hint} and, in a cluster, that a "
                f"NetworkPolicy lets this pod reach {host} on port {port}"
            )
            log_event(_LOGGER, "storage-not-reached", message, level=logging.WARNING, endpoint=shown, port=port)


_WATCH: Final = _Watch()


@contextmanager
def watch_endpoint(endpoint: str | None, hint: str, networks: Networks) -> Iterator[None]:
    """Warn, once a minute, while the block waits for a server that is not reached.

    Parameters
    ----------
    endpoint
        URL of the server, or of anything on it; None: there is none, and nothing is watched.
    hint
        Options to look at.
    networks
        Where requests may go; nobody else is knocked at.
    """
    if endpoint is None:
        yield
        return
    parts = urlsplit(endpoint)
    call = _Call(endpoint=f"{parts.scheme}://{parts.netloc}", hint=hint, networks=networks, begin=time.monotonic())
    _WATCH.add(call)
    try:
        yield
    finally:
        _WATCH.drop(call)


def knock(host: str, port: int, networks: Networks) -> str | None:
    """Why a port of a host takes no connection, for people; None where it does.

    Raises
    ------
    PrivateAddressError
        Requests may not go there.
    """
    said: list[OSError | None] = []

    def attempt() -> None:
        try:
            _connect(host, port, networks)
        except OSError as error:
            said.append(error)
        else:
            said.append(None)

    thread = threading.Thread(target=attempt, name="knock", daemon=True)  # looking up a name knows no time-out
    thread.start()
    thread.join(_KNOCK)
    error = said[0] if said else TimeoutError()
    if isinstance(error, PrivateAddressError):
        raise error
    return None if error is None else _explain(error)


def _connect(host: str, port: int, networks: Networks) -> None:
    """Make a connection to the first address of a host that takes one; errors are those of sockets."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise networks.judge(host, port, error) from error
    addresses = [str(entry[4][0]) for entry in found]
    networks.check(host, port, addresses)
    failure: OSError = TimeoutError()
    for address in addresses:
        try:
            socket.create_connection((address, port), timeout=_KNOCK).close()
        except OSError as error:
            failure = error
        else:
            return
    raise failure


def _explain(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return f"no connection within {_KNOCK:g} seconds, something drops it"
    if isinstance(error, ConnectionRefusedError):
        return "connections are refused, nobody listens there or something rejects them"
    if isinstance(error, socket.gaierror):
        return f"its name is not resolved ({error.strerror})"
    return str(error.strerror or error)


def _find_door(url: str) -> tuple[str, int]:
    """Host and port that a URL's requests go to."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 443)
