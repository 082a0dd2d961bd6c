"""How much memory and scratch a plan takes, and how memory is shared out: the one owner of figures in bytes.

A task holds the pixels of its window, so what a run needs grows with the number of tasks at once and with the size of a window,
not with that of the mosaic. Decoded source blocks are kept in what is left. No byte of a result depends on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from shapely import STRtree, box

from processor.config import Config
from processor.config.methods import Methods
from processor.geotiff.cog.writer import HEADER_EDGE
from processor.geotiff.gdal import GDAL_CACHE
from processor.geotiff.open import unit_shape
from processor.model import Grid, Scene, Window
from processor.mosaic.chunks import CHUNK_EDGE
from processor.mosaic.measure import SAMPLES_A_PAIR, mask_grid
from processor.mosaic.plan import BLOCK_EDGE, FINE_BLOCK, MATCHED_BLOCK, Plan
from processor.process.threads import resolve_threads
from processor.stages.align.align_rasters import compute_shift
from processor.stages.matching.matched_blocks import most_blocks
from processor.stages.matching.reference_blocks import STRIP
from processor.stages.merge.blending import BLEND_EDGE
from processor.stages.merge.method import StackMethod

FIXED: Final = 180 * 10**6 + GDAL_CACHE
"""Bytes before the first window is read: interpreter, libraries, GDAL's cache. Measured on Python 3.11 to 3.13."""

SPARE: Final = 1.25
"""Bytes that the allocator holds for a byte in use, at most."""

_SHARED: Final = 256 * 10**6
_EACH: Final = 64 * 10**6
_BLENDED_SCENES: Final = 4  # that meet in a block
_BLEND_SCRATCH: Final = 8  # values of 8 bytes a pixel, beside the blended bands: distances, sums of a band, their means
_LEAST_CACHE, _MOST_CACHE = 32 * 10**6, 125 * 10**6
_REPORT_MEMORY: Final = 230 * 10**6  # bytes: the libraries of the report and of vector files, and drawing, after the passes
_RESULT_MEMORY: Final = 300 * 10**6  # bytes: clients of object stores, and results of tasks while they are packed or read
_COPY_MEMORY: Final = 160 * 10**6  # bytes: ranges of parts and pieces of an upload that are under way
_LEAST_SCRATCH: Final = 256 * 2**20  # bytes: caches of libraries, vectors
_CHUNK_MEMORY: Final = 130  # bytes: of a chunk, while a plan is made
_UPLOAD_PARTS: Final = 9000  # of a large object; two and what the client copies of them are in memory
_SCENE_MEMORY: Final = 30_000  # bytes: an Item, as Python holds it
_MASKS_AT_ONCE: Final = 64  # scenes that are being measured at one time, at most: chunks follow a Z-order curve
_PLACE_MEMORY: Final = 90  # bytes of a pixel that is looked up in a reference
_STACK: Final = 32 * 10**6  # bytes: pixels of all scenes that are held together, unless the least rows are more
_LEAST_STACK_ROWS: Final = 16
_STACK_SCRATCH: Final = 8 * 10**6  # bytes: what is sorted or placed at one time
_ALL_SAMPLES: Final = 150 * 10**6  # bytes: of all of them together


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
    most = find_cache_bytes(cache)
    least = _LEAST_CACHE if cache == "auto" else most
    total = find_total(setting, threads, task=max(measure_task, render_task), least=FIXED + kept + least)
    room = total - FIXED - kept
    tasks = [max(1, min(threads, int((room - least) / (SPARE * max(task, 1))))) for task in (measure_task, render_task)]
    held = max(round(SPARE * count * task) for count, task in zip(tasks, (measure_task, render_task), strict=True))
    return Allotment(
        total=total, cache_bytes=min(max(room - held, least), most), measure_threads=tasks[0], render_threads=tasks[1]
    )


def count_window_bytes(scenes: Sequence[Scene], grid: Grid, dtype: str, methods: Methods, config: Config) -> int:
    """Bytes that a rendering task holds for each pixel: the result, its overviews, and one scene's pixels on their way."""
    source = max(np.dtype(scene.dtype).itemsize for scene in scenes)
    values = 2 * source + 3 * np.dtype(dtype).itemsize
    if any(compute_shift(scene.grid, grid) is None for scene in scenes):
        values += 2 * np.dtype(config.shared.calculation_dtype).itemsize  # corrected, then resampled
    return len(scenes[0].bands) * values + 24 + sum(method.pixel_bytes for _, method in methods)


def count_observation_bytes(bands: int, dtype: str) -> int:
    """Bytes that a scene's pixel takes in a stack: its values and whether it is there."""
    return bands * np.dtype(dtype).itemsize + 1


def find_stack_rows(plan: Plan, scenes: int, width: int) -> int:
    """Rows of a window whose pixels of so many scenes are held together; a whole number of source tiles where that fits."""
    row = max(1, scenes * width * count_observation_bytes(plan.bands, plan.dtype))
    rows = BLOCK_EDGE
    while rows > _LEAST_STACK_ROWS and rows * row > _STACK:
        rows //= 2
    return rows


def count_depth(scenes: Sequence[Scene], grid: Grid, edge: int) -> int:
    """How many scenes meet a window of the mosaic at most, for windows of that edge."""
    tree = STRtree([box(*scene.grid.bounds.as_tuple()) for scene in scenes])
    deepest = 0
    for row in range(0, grid.height, edge):
        height = min(edge, grid.height - row)
        windows = [
            Window(row=row, col=col, height=height, width=min(edge, grid.width - col)) for col in range(0, grid.width, edge)
        ]
        found = tree.query([box(*grid.window_bounds(window).as_tuple()) for window in windows])[0]
        deepest = max(deepest, int(np.bincount(found, minlength=1).max()))
    return deepest


def estimate_memory(plan: Plan) -> int:
    """Bytes of memory at most: libraries, decoded blocks kept, what each thread holds at once, what is kept of each scene."""
    allotment = allot_memory(plan)
    decoded = max(_count_pixels(plan)) * plan.bands * _source_size(plan)
    tasks = max(
        allotment.measure_threads * _estimate_measure_task(plan), allotment.render_threads * _estimate_render_task(plan)
    )
    passes = min(allotment.cache_bytes, decoded) + round(SPARE * tasks)
    return FIXED + _estimate_scenes(plan) + max(passes, _REPORT_MEMORY)


def allot_memory(plan: Plan) -> Allotment:
    """How a run shares its memory out."""
    shared = plan.config.shared
    return share_out(
        shared.memory,
        resolve_threads(shared.tile_threads),
        kept=_estimate_scenes(plan),
        measure_task=_estimate_measure_task(plan),
        render_task=_estimate_render_task(plan),
        cache=shared.cache,
    )


def _source_size(plan: Plan) -> int:
    """Bytes of a sample of the widest source."""
    return max(np.dtype(scene.dtype).itemsize for scene in plan.scenes)


def _estimate_measure_task(plan: Plan) -> int:
    """Bytes of a measuring task: its scenes' pixels, blocks being decoded, and a band of the scene that is being summed."""
    together, single = plan.chunks.count_pixels()
    pixel = plan.bands * _source_size(plan)
    largest = int((together * (pixel + 1) + single * (pixel + 8)).max())
    return largest + _estimate_large_blocks(plan) + _estimate_matching(plan)


def _estimate_matching(plan: Plan) -> int:
    """Bytes of a measuring task for matched blocks: sums of a pair's columns, and places in a reference."""
    if "matched_blocks" not in plan.needs:
        return 0
    edge = FINE_BLOCK if "fine_blocks" in plan.needs else MATCHED_BLOCK
    columns = 5 * plan.bands * 8 * (CHUNK_EDGE // edge) * CHUNK_EDGE
    return max(columns, _PLACE_MEMORY * STRIP if plan.references else 0)


def _estimate_render_task(plan: Plan) -> int:
    """Bytes of a rendering task: the window's result, its overviews, and one scene's pixels on their way into it."""
    width, height = min(plan.window_edge, plan.grid.width), min(plan.window_edge, plan.grid.height)
    pixel = count_window_bytes(plan.scenes, plan.grid, plan.dtype, plan.methods, plan.config)
    own = width * height * pixel + _estimate_stack(plan, width, height) + _estimate_large_blocks(plan)
    return own + _estimate_blend(plan)


def _estimate_blend(plan: Plan) -> int:
    """Bytes of a rendering task while it blends a block of a window: scenes around a corner, their shares, and differences."""
    if plan.blend is None:
        return 0
    pixels = (BLEND_EDGE + 2 * plan.blend.reach) ** 2
    scene = plan.bands * np.dtype(plan.dtype).itemsize + 1 + 2 * 4
    return pixels * (_BLENDED_SCENES * scene + 8 * (plan.bands + _BLEND_SCRATCH))


def _estimate_stack(plan: Plan, width: int, height: int) -> int:
    """Bytes of the pixels of all scenes that a rendering task holds together, and of what is made of them."""
    method = plan.methods.merge
    if not isinstance(method, StackMethod):
        return 0
    depth = count_depth(plan.scenes, plan.grid, plan.window_edge)
    rows = min(find_stack_rows(plan, depth, width), height)
    return rows * width * (depth + 1) * count_observation_bytes(plan.bands, plan.dtype) + max(
        _STACK_SCRATCH, method.count_choosing_bytes(depth, plan.bands)
    )


def _estimate_large_blocks(plan: Plan) -> int:
    """Bytes of source blocks that a task decodes whole because its window touches them, where they are large: long strips."""
    edge = max(plan.window_edge, CHUNK_EDGE)
    largest = 0
    for scene in plan.scenes:
        height, width = unit_shape(scene, scene.grid, None)
        if height * width > BLOCK_EDGE**2:
            rows = min((-(-edge // height) + 1) * height, scene.grid.height)
            cols = min((-(-edge // width) + 1) * width, scene.grid.width)
            largest = max(largest, rows * cols * plan.bands * np.dtype(scene.dtype).itemsize)
    return largest


def _estimate_scenes(plan: Plan) -> int:
    """Bytes that grow with the number of scenes: their Items, masks while they are measured, samples of their overlaps."""
    masks = sorted(_count_cells(mask_grid(plan.measure_grid(scene))) for scene in range(len(plan.scenes)))
    held = sum(masks[-_MASKS_AT_ONCE:]) // 8 + 2 * masks[-1]  # packed; the one that is being traced is not
    samples = len(plan.pairs) * SAMPLES_A_PAIR * (16 + 8 * plan.bands)
    matched = 0
    if "matched_blocks" in plan.needs:  # as measured, and as the table of all
        matched = 2 * plan.count_compared() * most_blocks(plan.count_compared()) * 8 * 5 * (1 + plan.bands)
    if "fine_blocks" in plan.needs:  # in parts and merged
        matched += 2 * sum(map(plan.count_fine_blocks, plan.pairs)) * 8 * (4 + 5 * plan.bands)
    return len(plan.scenes) * _SCENE_MEMORY + held + min(samples, _ALL_SAMPLES) + matched


def _count_cells(grid: Grid) -> int:
    return grid.width * grid.height


def _count_pixels(plan: Plan) -> tuple[int, int]:
    """Pixels that the first and the second pass read at most."""
    measured = sum(_count_cells(plan.measure_grid(scene)) for scene in range(len(plan.scenes)))
    return measured, sum(_count_cells(scene.grid) for scene in plan.scenes)


def estimate_scratch(plan: Plan) -> int:
    """Bytes of scratch files at most, if nothing can be compressed: the blocks of all levels, and what comes first in the file.

    A mosaic on the same disk takes over the room of its blocks as they move there, where the file system makes holes.
    """
    return round(_count_pixel_bytes(plan) * _count_cells(plan.grid) * 4 / 3) + _estimate_head(plan)


def _count_pixel_bytes(plan: Plan) -> int:
    """Bytes of a pixel of the mosaic and of the scene index."""
    return plan.bands * np.dtype(plan.dtype).itemsize + (1 if len(plan.scenes) < 2**8 else 2)


def _estimate_head(plan: Plan) -> int:
    """Bytes of the heads of both files: tables of tiles, and the overviews that pictures are made from."""
    pixels = _count_cells(plan.grid)
    shown = min(pixels, HEADER_EDGE**2) if plan.methods.merge.has_overviews else pixels
    return round(shown * _count_pixel_bytes(plan) * 4 / 3) + 2 * _count_blocks(plan) * 12


def _count_blocks(plan: Plan) -> int:
    """Blocks of all levels of the mosaic."""
    return round(-(-plan.grid.width // BLOCK_EDGE) * -(-plan.grid.height // BLOCK_EDGE) * 4 / 3) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseEstimate:
    """What a phase of a run by tasks takes."""

    amount: int
    """Bytes that all its tasks read and write together, decoded."""
    memory: int
    """Bytes of one process at most."""
    scratch: int
    """Bytes of its scratch files at most."""
    seconds: int
    """Of one process for what cannot be shared."""


def estimate_phases(plan: Plan, tile_blocks: int, *, kept_stages: int) -> dict[str, PhaseEstimate]:
    """What each phase takes, by its name.

    Parameters
    ----------
    tile_blocks
        Edge of a rendering task in blocks.
    kept_stages
        Stages whose rasters of single scenes are kept.
    """
    threads = resolve_threads(plan.config.shared.tile_threads)
    measured, whole = (count * plan.bands * _source_size(plan) for count in _count_pixels(plan))
    cache = min(allot_memory(plan).cache_bytes, max(measured, whole))
    base = FIXED + len(plan.scenes) * _SCENE_MEMORY + len(plan.chunks) * _CHUNK_MEMORY
    measure = base + cache + round(SPARE * threads * _estimate_measure_task(plan)) + _RESULT_MEMORY
    target = _count_pixel_bytes(plan) * _count_cells(plan.grid)
    tile = min(tile_blocks * BLOCK_EDGE, max(plan.grid.width, plan.grid.height)) ** 2
    kept = whole // _source_size(plan) * np.dtype(plan.dtype).itemsize * kept_stages
    solved = base + 2 * _estimate_scenes(plan) + _RESULT_MEMORY
    copying = _COPY_MEMORY + 4 * round(target * 4 / 3) // _UPLOAD_PARTS
    assemble = solved + _REPORT_MEMORY + copying + 6 * 12 * _count_blocks(plan)
    return {
        "measure": PhaseEstimate(amount=measured, memory=measure, scratch=_LEAST_SCRATCH, seconds=0),
        "blocks": PhaseEstimate(amount=measured, memory=measure, scratch=_LEAST_SCRATCH, seconds=0),
        "solve": PhaseEstimate(amount=0, memory=solved, scratch=_LEAST_SCRATCH, seconds=len(plan.scenes)),
        "render": PhaseEstimate(
            amount=whole + target,
            memory=base + cache + round(SPARE * threads * _estimate_render_task(plan)) + _RESULT_MEMORY,
            scratch=_LEAST_SCRATCH + round(_count_pixel_bytes(plan) * tile * 4 / 3),
            seconds=0,
        ),
        "assemble": PhaseEstimate(
            amount=target + kept,
            memory=max(assemble, measure if kept else 0),
            scratch=_LEAST_SCRATCH + _estimate_head(plan) + round(kept * 4 / 3),
            seconds=len(plan.scenes),
        ),
    }
