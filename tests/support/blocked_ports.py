"""Ports that do not answer, as behind a NetworkPolicy: the kernel drops what comes, or refuses it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from servers import find_free_ports

__all__ = ["drop_connections", "refuse_connections"]


@contextmanager
def drop_connections() -> Iterator[str]:
    """URL of a port that drops connections: its queue, which nobody takes any from, is full."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def refuse_connections() -> Iterator[str]:
    """URL of a port that refuses connections: nobody listens."""
    (port,) = find_free_ports(1)
    yield f"http://127.0.0.1:{port}"
