"""How the process of the command line uses memory and processors; programs that import the package are left alone."""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import os
import sys
import threading
import time
from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["load_ahead", "release_memory", "tune_process"]

# From glibc's malloc.h. Windows of pixels come and go thousands of times: given back to the kernel each time, every page of
# them has to be cleared again, which takes up to a tenth of a run; in an arena for each thread, they leave holes everywhere.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_LARGEST_REUSED: Final = 32 << 20  # bytes, the most that glibc takes
_NEVER: Final = 2**31 - 1
_COLLECT_AFTER: Final = 50_000  # objects: few are in cycles, and loading the libraries alone makes a million
_LOOK_EVERY: Final = 0.25  # seconds
_SLACK: Final = 32 * 10**6  # bytes that the process may grow by before free pages between blocks in use go back to the kernel
_STATM: Final = Path("/proc/self/statm")
_LATER: Final = ("scipy.sparse", "scipy.spatial", "rio_cogeo.cogeo")
_SWITCH_AFTER: Final = 0.0005  # seconds: a thread that has read a block should not wait 5 ms for one that draws


def tune_process() -> None:
    """Settle what has to be settled before libraries load; environment variables that are set already stay as they are."""
    # Pixels see no BLAS, and the solves are small and sparse: its threads would cost memory and spin while they wait.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.set_threshold(_COLLECT_AFTER, 20, 20)
    sys.setswitchinterval(_SWITCH_AFTER)
    atexit.register(gc.freeze)  # nothing is looked for in a million objects that end with the process
    library = _load_libc()
    if library is not None and hasattr(library, "mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_REUSED)
        library.mallopt(_M_TRIM_THRESHOLD, _NEVER)
        library.mallopt(_M_ARENA_MAX, 1)
    if library is not None and hasattr(library, "malloc_trim") and _STATM.exists():
        _start_trimming(library)


def load_ahead() -> None:
    """Load the libraries that are needed once pixels were read, in a thread of its own, while the first of them are read.

    They take a third of a second, in which one processor would be idle; and reading from elsewhere waits for the network.
    Whoever needs one earlier waits for it alone.
    """
    threading.Thread(target=_load_all, name="load").start()


def _load_all() -> None:
    for library in _LATER:
        importlib.import_module(library)


def release_memory() -> None:
    """Give memory that is free back to the kernel, between two parts of a run that need it differently."""
    gc.collect()
    library = _load_libc()
    if library is not None and hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


@cache
def _start_trimming(library: ctypes.CDLL) -> None:
    """Keep the heap free of holes, once a process: blocks that the cache keeps lie between windows that come and go.

    Without it, as much again as is in use stays resident; with every window given back at once, a tenth of the time is spent on
    clearing pages.
    """
    threading.Thread(target=_keep_trimmed, args=(library,), name="trim", daemon=True).start()


def _keep_trimmed(library: ctypes.CDLL) -> None:
    held = _count_resident()
    while True:
        time.sleep(_LOOK_EVERY)
        if _count_resident() > held + _SLACK:
            library.malloc_trim(0)
            held = _count_resident()
        else:
            held = min(held, _count_resident())


def _count_resident() -> int:
    """Bytes of this process in memory."""
    return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGESIZE")


@cache
def _load_libc() -> ctypes.CDLL | None:
    """The C library, where it can be asked."""
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):
        return None
