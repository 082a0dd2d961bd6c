"""Storage backends: one class each, and the registry that everything asks which URLs, options and clients there are.

A backend from outside the package is a subclass of :class:`Backend`, given to :func:`register` before a configuration is made.
"""

from __future__ import annotations

from processor.storage.backends.azure import Azure
from processor.storage.backends.base import Backend, Failure, find_status, is_absence, limit_connecting
from processor.storage.backends.gcs import Gcs
from processor.storage.backends.http import Http, HuggingFace
from processor.storage.backends.local import Archive, Local
from processor.storage.backends.memory import Memory
from processor.storage.backends.s3 import S3

__all__ = [
    "BACKENDS",
    "S3",
    "Azure",
    "Backend",
    "Failure",
    "Gcs",
    "Http",
    "Local",
    "find_backend",
    "find_status",
    "is_absence",
    "limit_connecting",
    "list_protocols",
    "register",
]

BACKENDS: list[type[Backend]] = [S3, Gcs, Azure, HuggingFace, Http, Local, Archive, Memory]
"""All backends, in the order of their options and of messages."""


def register(backend: type[Backend]) -> type[Backend]:
    """Add a backend; its options, all of which have a default, become some of the section ``io``.

    Raises
    ------
    ValueError
        A protocol or the beginning of its options' names is another's.
    """
    taken = [name for name in backend.protocols if find_backend(name) is not None]
    if taken:
        msg = f"there is a backend for {taken[0]}:// already"
        raise ValueError(msg)
    is_free = bool(backend.prefix) and backend.prefix not in {one.prefix for one in BACKENDS}
    names = [] if backend.options is None else backend.options.model_fields
    foreign = [name for name in names if not is_free or not name.startswith(backend.prefix)]
    if foreign:
        msg = f"the option {foreign[0]} of a backend must begin with its prefix {backend.prefix!r}, which no other has"
        raise ValueError(msg)
    BACKENDS.append(backend)
    return backend


def find_backend(protocol: str) -> type[Backend] | None:
    """The backend of a URL's scheme, or None."""
    return next((backend for backend in BACKENDS if protocol.lower() in backend.protocols), None)


def list_protocols(*, followed: bool = False, writable: bool = False) -> list[str]:
    """Schemes of all URLs; on demand only those that documents may name, or that can be written."""
    return [
        protocol
        for backend in BACKENDS
        if (backend.is_followed or not followed) and (backend.is_writable or not writable)
        for protocol in backend.protocols
    ]
