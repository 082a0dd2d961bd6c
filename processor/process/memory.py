"""Memory and scheduling settings of the command line's process. Programs that import the package are left alone."""

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

# From glibc's malloc.h. Windows of pixels are allocated and freed thousands of times. If each went back to the kernel, clearing
# its pages again would take up to a tenth of a run; with one arena a thread, the heap would fragment.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_LARGEST_REUSED: Final = 32 << 20  # bytes; the largest threshold that glibc accepts
_NEVER: Final = 2**31 - 1
_COLLECT_AFTER: Final = 50_000  # objects; few are in cycles, and the libraries alone make a million
_LOOK_EVERY: Final = 0.25  # seconds
_SLACK: Final = 32 * 10**6  # bytes of growth before free pages between blocks in use go back to the kernel
_STATM: Final = Path("/proc/self/statm")
_LATER: Final = ("scipy.sparse", "scipy.spatial", "rio_cogeo.cogeo")
_SWITCH_AFTER: Final = (
    0.0005  # seconds, not the default 5 ms: a thread that has read a block should not wait for one that computes
)


def tune_process() -> None:
    """Settings that must come before libraries load; environment variables of the user stay."""
    # No pixel goes through BLAS, and the solves are small and sparse: its threads would only cost memory and spin.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Pydantic would read the metadata of every installed package to look for plugins: a sixth of a command's start.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "true")
    gc.set_threshold(_COLLECT_AFTER, 20, 20)
    sys.setswitchinterval(_SWITCH_AFTER)
    atexit.register(gc.freeze)  # no collection of a million objects when the process ends
    library = _load_libc()
    if library is not None and hasattr(library, "mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_REUSED)
        library.mallopt(_M_TRIM_THRESHOLD, _NEVER)
        library.mallopt(_M_ARENA_MAX, 1)
    if library is not None and hasattr(library, "malloc_trim") and _STATM.exists():
        _start_trimming(library)


def load_ahead() -> None:
    """Load the libraries that solving and writing need in a thread, while the first pixels are read.

    They take a third of a second, during which reading waits for disk or network. Code that needs one earlier waits for that
    import only.
    """

    def load() -> None:
        for library in _LATER:
            importlib.import_module(library)

    threading.Thread(target=load, name="load").start()


def release_memory() -> None:
    """Return free memory to the kernel, between two phases of a run with different needs."""
    gc.collect()
    library = _load_libc()
    if library is not None and hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


@cache
def _start_trimming(library: ctypes.CDLL) -> None:
    """Return free pages inside the heap to the kernel, in a thread: cached blocks lie between windows that are freed.

    Without it, resident memory doubles; returning every window at once would cost a tenth of the run in cleared pages.
    """

    def keep_trimmed() -> None:
        held = _count_resident()
        while True:
            time.sleep(_LOOK_EVERY)
            if _count_resident() > held + _SLACK:
                library.malloc_trim(0)
                held = _count_resident()
            else:
                held = min(held, _count_resident())

    threading.Thread(target=keep_trimmed, name="trim", daemon=True).start()


def _count_resident() -> int:
    """Resident memory of this process, bytes."""
    return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGESIZE")


@cache
def _load_libc() -> ctypes.CDLL | None:
    """The C library; None where ctypes cannot load it."""
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):
        return None
