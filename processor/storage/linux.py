"""System calls of Linux that Python does not offer; elsewhere they do nothing, and nobody depends on them."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any, Final

_KEEP_SIZE: Final = 1  # of fallocate, from linux/falloc.h
_PUNCH_HOLE: Final = 2
_WRITE: Final = 2  # of sync_file_range, from linux/fs.h


def punch_hole(descriptor: int, offset: int, size: int) -> None:
    """Give back the room of a part of an open file, which reads as zeros then; where it cannot be, the part stays."""
    call = _find("fallocate64", ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if call is not None and size:
        call(descriptor, _PUNCH_HOLE | _KEEP_SIZE, offset, size)


def start_writeback(descriptor: int, offset: int, size: int) -> None:
    """Let the kernel begin to write a part of an open file to disk, so that a later fsync has less to wait for."""
    call = _find("sync_file_range", ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    if call is not None and size:
        call(descriptor, offset, size, _WRITE)


@cache
def _find(name: str, *arguments: Any) -> Any:
    """A function of the C library, or None where there is none."""
    if not sys.platform.startswith("linux"):
        return None
    function = getattr(ctypes.CDLL(None), name, None)
    if function is not None:
        function.argtypes = arguments
    return function
