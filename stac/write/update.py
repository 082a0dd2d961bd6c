"""Changing a document that several runs change at once, without losing what one of them wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from processor.errors import StorageError

__all__ = ["amend"]

Version = TypeVar("Version")


def amend(
    read: Callable[[], tuple[dict[str, Any] | None, Version]],
    write: Callable[[dict[str, Any], Version], bool],
    change: Callable[[dict[str, Any] | None], dict[str, Any]],
    *,
    name: str,
    attempts: int = 10,
    wait: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Read a document, change it, and write it unless somebody else wrote it in between; else begin again.

    Nothing is lost as long as ``write`` compares and swaps: S3 takes ``If-Match`` with the entity tag (``If-None-Match: *``
    where there was no document), GCS a generation (0 where there was none), a file system a lock that is held from reading to
    writing. Where none of these holds, write, read again and repeat while the change is missing.

    Parameters
    ----------
    read
        Gives the document, None where there is none, and what tells its version.
    write
        Writes a document if its place still has this version, and tells whether it has.
    change
        Gives the changed document; may be called several times, and gives the same document where nothing is to change.
    name
        Path or URL, for messages.
    attempts
        How often it is tried.
    wait
        Called with the number of the attempt, from 0, before the next one: to wait a little, with jitter.

    Returns
    -------
    The document as it is now stored.

    Raises
    ------
    StorageError
        Somebody else was faster every time.
    """
    for attempt in range(attempts):
        document, version = read()
        changed = change(document)
        if changed == document or write(changed, version):
            return changed
        if wait is not None and attempt + 1 < attempts:
            wait(attempt)
    msg = f"{name} was changed by another run at each of {attempts} attempts to extend it: run again"
    raise StorageError(msg)
