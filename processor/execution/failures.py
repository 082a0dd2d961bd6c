"""Failures of shards, noted beside the results of tasks for `status` to tell of; no task reads them.

A process that is killed notes nothing: what killed it knows why.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final

from processor.errors import MosaicError
from processor.redaction import hide_secrets
from processor.storage.folders import list_times
from processor.storage.store import Store
from processor.storage.url import join_url

FOLDER: Final = "failed"
"""Folder of the notes, in that of the run's tasks."""

_MOST_READ: Final = 20  # notes: the first by name are as good as any
_MOST_BYTES: Final = 1 << 16
_LONGEST: Final = 2000  # characters of a reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A shard whose last attempt failed."""

    phase: str
    """Phase of its tasks."""
    shard: int
    """Its index."""
    shards: int
    """How many share the phase."""
    at: str
    """When it failed, UTC, as RFC 3339 has it."""
    kind: str
    """Name of the class of the error."""
    reason: str
    """What it said, without secrets."""


@contextmanager
def noting_failures(store: Store, folder: str, *, phase: str, shards: int, index: int) -> Iterator[None]:
    """Note that a shard fails, and remove the note of an attempt before where it does not; the error goes on either way."""
    url = join_url(folder, FOLDER, f"{phase}-{shards}-{index}.json")
    try:
        yield
    except MosaicError as error:
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        reason = hide_secrets(str(error))[:_LONGEST]
        failure = Failure(phase=phase, shard=index, shards=shards, at=now, kind=type(error).__name__, reason=reason)
        with suppress(MosaicError):  # where nothing can be written, that is mostly why it failed: the error itself is told
            store.write_bytes(url, json.dumps(asdict(failure)).encode(), overwrite=True)
        raise
    with suppress(MosaicError):  # the note is of no consequence but for who reads it
        store.remove(url)


def read_failures(store: Store, folder: str) -> tuple[list[Failure], int]:
    """Shards whose last attempt failed, some of them, and how many there are.

    Raises
    ------
    InputError
        Access is denied.
    StorageError
        Storage or the network failed.
    """
    names = sorted(list_times(store, join_url(folder, FOLDER)))
    found = []
    for name in names[:_MOST_READ]:
        with suppress(ValueError, TypeError, MosaicError):  # gone meanwhile, or not written by this program
            found.append(Failure(**json.loads(store.read_bytes(join_url(folder, FOLDER, name), max_bytes=_MOST_BYTES))))
    return found, len(names)
