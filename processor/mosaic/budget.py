"""How memory is shared out: bytes in, sizes of windows and caches and numbers of tasks out. No byte of a result depends on it.

A task holds the pixels of its window, so what a run needs grows with the number of tasks at once and with the size of a window,
not with that of the mosaic. Decoded source blocks are kept in what is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from processor.geotiff.gdal import GDAL_CACHE

__all__ = ["FIXED", "SPARE", "Allotment", "find_cache_bytes", "find_total", "fit_window_edge", "share_out"]

FIXED: Final = 180 * 10**6 + GDAL_CACHE
"""Bytes before the first window is read: interpreter, libraries, GDAL's cache. Measured on Python 3.11 to 3.13."""

SPARE: Final = 1.25
"""Bytes that the allocator holds for a byte in use, at most."""

_SHARED: Final = 256 * 10**6
_EACH: Final = 64 * 10**6
_LEAST_CACHE, _MOST_CACHE = 32 * 10**6, 125 * 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Allotment:
    """What a run may use."""

    total: int
    """Memory limit of the run, bytes."""
    cache_bytes: int
    """Size of the cache of decoded source tiles, bytes."""
    measure_threads: int
    """Measuring tasks at once."""
    render_threads: int
    """Windows rendered at once."""


def find_cache_bytes(setting: float | Literal["auto"] | None) -> int:
    """Maximum number of bytes of decoded source blocks that are kept, by ``shared.cache`` (GB)."""
    if setting is None:
        return 0
    return _MOST_CACHE if isinstance(setting, str) else round(setting * 10**9)


def find_total(setting: float | Literal["auto"], threads: int, *, task: int, least: int = FIXED + _LEAST_CACHE) -> int:
    """Bytes that a run may take: as set (GB), or 256 MB and 64 MB a thread, more where the least that it needs is more.

    Parameters
    ----------
    setting
        ``shared.memory``.
    threads
        Tasks at once.
    task
        Bytes of the largest task.
    least
        Bytes beside the tasks.
    """
    if not isinstance(setting, str):
        return round(setting * 10**9)
    return max(_SHARED + threads * _EACH, least + threads * round(SPARE * task))


def fit_window_edge(largest: int, smallest: int, *, pixel: int, setting: float | Literal["auto"], threads: int) -> int:
    """The largest window, halving from ``largest`` down to ``smallest``, whose task fits into one thread's share.

    Parameters
    ----------
    largest, smallest
        Pixels.
    pixel
        Bytes that a rendering task holds for each pixel of its window.
    setting, threads
        As for :func:`find_total`.
    """
    share = _EACH if isinstance(setting, str) else (find_total(setting, threads, task=0) - FIXED - _LEAST_CACHE) // threads
    edge = largest
    while edge > smallest and pixel * edge**2 > share:
        edge //= 2
    return edge


def share_out(
    setting: float | Literal["auto"],
    threads: int,
    *,
    kept: int,
    measure_task: int,
    render_task: int,
    cache: float | Literal["auto"] | None,
) -> Allotment:
    """Share memory out between tasks and the cache.

    Fewer tasks run at once than there are threads where memory is set too low for all; one always runs. The cache gets the
    rest, within 32 and 125 MB unless it is set.

    Parameters
    ----------
    setting
        ``shared.memory``.
    threads
        ``shared.tile_threads``, resolved.
    kept
        Bytes that grow with the number of scenes.
    measure_task, render_task
        Bytes of the largest task of either pass.
    cache
        ``shared.cache``: GB, or None for none.
    """
    if cache is None:
        least = most = 0
    elif isinstance(cache, str):
        least, most = _LEAST_CACHE, _MOST_CACHE
    else:
        least = most = round(cache * 10**9)
    total = find_total(setting, threads, task=max(measure_task, render_task), least=FIXED + kept + least)
    room = total - FIXED - kept
    tasks = [max(1, min(threads, int((room - least) / (SPARE * max(task, 1))))) for task in (measure_task, render_task)]
    held = max(round(SPARE * count * task) for count, task in zip(tasks, (measure_task, render_task), strict=True))
    return Allotment(
        total=total, cache_bytes=min(max(room - held, least), most), measure_threads=tasks[0], render_threads=tasks[1]
    )
