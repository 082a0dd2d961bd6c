"""Local files written atomically: to a hidden ".part" file beside the destination, synced, then linked into place.

A part file is locked as long as it is written; those of writers that were killed are removed by the next write to their folder,
and by the next run that publishes there (:mod:`processor.storage.leftovers`).
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, Literal

from processor.storage.locks import is_same_file, lock_file

_LEFTOVER: Final = re.compile(r"\..+\.[0-9a-f]{16}\.part")
_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EXDEV})

Finish = Callable[[Callable[[], None]], None]
"""Is handed what gives a finished file its name, and calls it."""


def write_file(destination: Path, fill: Callable[[BinaryIO], None], finish: Finish, *, overwrite: bool) -> None:
    """Write a file that appears whole, or not at all.

    Parameters
    ----------
    destination
        Its path; folders are made.
    fill
        Writes the bytes.
    finish
        Calls what it is given, which raises FileExistsError where the name is taken and may not be replaced.
    overwrite
        Whether a file of that name may be replaced.

    Raises
    ------
    OSError
        What the system says.
    """
    with _part(destination, lambda part: part.touch(exist_ok=False), "r+b", finish, overwrite=overwrite) as stream:
        fill(stream)


def link_file(source: str, destination: Path, finish: Finish, *, overwrite: bool) -> bool:
    """Give a finished file another name, as :func:`write_file`; False where that is on another file system."""
    try:
        with _part(destination, lambda part: part.hardlink_to(source), "rb", finish, overwrite=overwrite):
            return True
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return False


@contextmanager
def _part(
    destination: Path, make: Callable[[Path], None], mode: Literal["rb", "r+b"], finish: Finish, *, overwrite: bool
) -> Iterator[BinaryIO]:
    """Open a new hidden file beside the destination, and give it its name at the end; gone afterwards, whatever happens.

    It is locked, so that no other writer takes it for a leftover; one that did, before it was locked, is left what it took.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    remove_parts(destination.parent)
    while True:
        part = destination.with_name(f".{destination.name}.{secrets.token_hex(8)}.part")
        make(part)
        with suppress(FileNotFoundError):
            stream = part.open(mode)
            if lock_file(stream) and is_same_file(part, stream):
                break
            stream.close()
        part.unlink(missing_ok=True)  # a link's lock is that of the file, under whatever name: who has it leaves this one
    try:
        with stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            finish(lambda: _place_part(part, destination, overwrite=overwrite))
    finally:
        part.unlink(missing_ok=True)
    _sync_folder(destination.parent)


def _place_part(part: Path, destination: Path, *, overwrite: bool) -> None:
    """Give a finished part its name."""
    if overwrite:
        part.replace(destination)
        return
    try:
        destination.hardlink_to(part)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        destination.open("xb").close()
        part.replace(destination)


def remove_parts(folder: Path) -> None:
    """Remove the part files of writers that were killed: ours by name, and locked by nobody."""
    for path in folder.glob(".*.part"):
        if _LEFTOVER.fullmatch(path.name):
            with suppress(OSError), path.open("rb") as stream:  # someone else may have removed it, or may own it
                if lock_file(stream):
                    path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a new name survive a crash; where folders cannot be synced, nothing is lost but that promise."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
