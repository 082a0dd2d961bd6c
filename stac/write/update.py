"""Changing a document that several runs change at once, without losing what one of them wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from processor.storage.retry import Backoff, RetryableError, repeat

Version = TypeVar("Version")


def update_document(
    read: Callable[[], tuple[dict[str, Any] | None, Version]],
    write: Callable[[dict[str, Any], Version], bool],
    change: Callable[[dict[str, Any] | None], dict[str, Any]],
    *,
    name: str,
    attempts: int = 10,
    backoff: Backoff | None = None,
) -> dict[str, Any]:
    """Read a document, change it, and write it back; start again if another process wrote it in between.

    No change is lost as long as ``write`` compares and swaps: on S3 by ``If-Match`` with the entity tag (``If-None-Match: *``
    for a new document), on GCS by generation (0 for a new one), on a file system by a lock held from reading to writing.

    Parameters
    ----------
    read
        Returns the document, None where there is none, and its version.
    write
        Writes the document if the stored one still has this version; whether it did.
    change
        Returns the changed document, or an equal one if there is nothing to change. May be called several times.
    name
        Path or URL, for messages.
    attempts
        Largest number of tries.
    backoff
        Pauses between them; default: short ones.

    Returns
    -------
    The document as stored now.

    Raises
    ------
    StorageError
        Another process was faster at every attempt.
    """

    def attempt() -> dict[str, Any]:
        document, version = read()
        changed = change(document)
        if changed == document or write(changed, version):
            return changed
        msg = f"{name} was changed by another run at each of {attempts} attempts to extend it: run again"
        raise RetryableError(msg)

    return repeat(attempt, times=attempts - 1, backoff=backoff or Backoff(first=0.05, longest=5.0), error=RetryableError)
