"""Locks on open files: they hold between processes and containers, and go with the process that has them, however it ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO

if sys.platform != "win32":
    import fcntl


def lock_file(stream: BinaryIO, *, wait: bool = False) -> bool:
    """Lock an open file until it is closed or its process dies; False where another holds it and is not waited for.

    Windows has no such lock: there an open file cannot be removed, and that is relied on instead.

    Raises
    ------
    OSError
        The file system has no locks.
    """
    if sys.platform != "win32":
        try:
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
    return True


def is_same_file(path: Path, stream: BinaryIO) -> bool:
    """Whether the name still leads to the open file."""
    try:
        return path.stat().st_ino == os.fstat(stream.fileno()).st_ino
    except FileNotFoundError:
        return False
