"""Documents that several runs extend at once: read with their version, and replaced only while they still have it.

- ``s3://``: the entity tag, and ``If-Match`` on the request that replaces it. A server that ignores the header overwrites.
- ``gs://``: the generation, as a precondition.
- ``az://``: the entity tag, and ``If-Match``.
- local files: the digest of the bytes, compared under a lock that every run takes.
- ``memory://`` (tests): the same, within the process.

What is not there yet is written once, as everything is (:mod:`processor.storage.store`).
"""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from processor.errors import ExistsError, InputError
from processor.redaction import redact_url
from processor.storage.locks import is_same_file, lock_file
from processor.storage.reading import find_filesystem
from processor.storage.store import Store
from processor.storage.url import local_path, parse_writable_url, storage_errors

MAX_BYTES: Final = 256 << 20
"""Largest document that is extended."""

_IN_MEMORY: Final = threading.Lock()


def read_version(store: Store, url: str) -> tuple[bytes | None, str | None]:
    """Read a document and what tells its version; both None where there is none.

    The version is read first: where another run writes in between, it is too old, and :func:`swap_bytes` refuses.

    Raises
    ------
    ConfigError
        The URL cannot be written.
    InputError
        Access is denied, or the document is larger.
    StorageError
        Storage or the network failed.
    """
    place = parse_writable_url(url)
    if not store.exists(url):
        return None, None
    if place.backend.version_key is None:
        data = store.read_bytes(url, max_bytes=MAX_BYTES)
        return data, _digest(data)
    filesystem = find_filesystem(url, store.access)
    with storage_errors(url):
        info = filesystem.info(place.path)
        if int(info["size"]) > MAX_BYTES:
            msg = f"{redact_url(url)} is larger than the {MAX_BYTES} bytes allowed for it; check that it is the right object"
            raise InputError(msg)
        # In one request: a reader that asks for ranges would get some of the old object and some of the new.
        data = filesystem.cat_file(place.path)
    return data, str(info[place.backend.version_key])


def swap_bytes(store: Store, url: str, data: bytes, version: str | None, *, content_type: str) -> bool:
    """Write a document if its place still has the version (None: nothing), and tell whether it has.

    Errors are those of :func:`read_version`.
    """
    place = parse_writable_url(url)
    if place.backend.version_key is None:
        with storage_errors(url), _locked(local_path(url)) if place.is_local else _IN_MEMORY:
            present = _digest(store.read_bytes(url, max_bytes=MAX_BYTES)) if store.exists(url) else None
            if present == version:
                store.write_bytes(url, data, overwrite=True, content_type=content_type)
            return present == version
    try:
        if version is None:
            store.write_bytes(url, data, content_type=content_type)
            return True
        filesystem = find_filesystem(url, store.access)
        with storage_errors(url):
            return place.backend().replace(filesystem, place.path, data, version, content_type)
    except ExistsError:
        return False


def remove_lock(path: Path) -> None:
    """Remove the lock of a file whose holder was killed; one that is held stays."""
    lock = _name_lock(path)
    with suppress(OSError), lock.open("rb") as stream:  # mostly there is none
        if lock_file(stream) and is_same_file(lock, stream):
            lock.unlink()


def _name_lock(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file that is replaced: that of a hidden file beside it, which is gone afterwards.

    Windows has no such lock here: there two runs that extend one document at the same moment may lose what one wrote.
    """
    if sys.platform == "win32":
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _name_lock(path)
    while True:
        stream = lock.open("ab")
        lock_file(stream, wait=True)
        if is_same_file(lock, stream):
            break
        stream.close()  # its holder removed it while this run waited
    with stream:
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)  # while it is held: the next one's is not ours to remove
