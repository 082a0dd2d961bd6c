"""What a plan will cost, and the plan as a document for people and programs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import yaml

from processor.geotiff.cog.writer import HEADER_EDGE
from processor.geotiff.open import unit_shape
from processor.model import Grid
from processor.mosaic.budget import FIXED, SPARE, Allotment, share_out
from processor.mosaic.chunks import CHUNK_EDGE
from processor.mosaic.measure import SAMPLES_A_PAIR, mask_grid
from processor.mosaic.plan import BLOCK_EDGE, Plan, count_window_bytes
from processor.process.threads import resolve_threads

__all__ = [
    "PhaseEstimate",
    "allot_memory",
    "describe_plan",
    "estimate_memory",
    "estimate_phases",
    "estimate_scratch",
    "render_plan",
]

_REPORT_MEMORY: Final = 230 * 10**6  # bytes: the libraries of the report and of vector files, and drawing, after the passes
_RESULT_MEMORY: Final = 300 * 10**6  # bytes: clients of object stores, and results of tasks while they are packed or read
_COPY_MEMORY: Final = 160 * 10**6  # bytes: ranges of parts and pieces of an upload that are under way
_LEAST_SCRATCH: Final = 256 * 2**20  # bytes: caches of libraries, vectors
_CHUNK_MEMORY: Final = 130  # bytes: of a chunk, while a plan is made
_UPLOAD_PARTS: Final = 9000  # of a large object; two and what the client copies of them are in memory
_SCENE_MEMORY: Final = 30_000  # bytes: an Item, as Python holds it
_MASKS_AT_ONCE: Final = 64  # scenes that are being measured at one time, at most: chunks follow a Z-order curve
_ALL_SAMPLES: Final = 150 * 10**6  # bytes: of all of them together
_LARGEST_LISTING: Final = 100
_BYTES: Final = re.compile(r"^( *\w*bytes\w*: )(\d+)$", re.MULTILINE)


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
    return largest + _estimate_large_blocks(plan)


def _estimate_render_task(plan: Plan) -> int:
    """Bytes of a rendering task: the window's result, its overviews, and one scene's pixels on their way into it."""
    width, height = min(plan.window_edge, plan.grid.width), min(plan.window_edge, plan.grid.height)
    pixel = count_window_bytes(plan.scenes, plan.grid, plan.dtype, plan.methods, plan.config)
    return width * height * pixel + _estimate_large_blocks(plan)


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
    return len(plan.scenes) * _SCENE_MEMORY + held + min(samples, _ALL_SAMPLES)


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


def _count_bytes_read(plan: Plan) -> tuple[int, int | None]:
    """Bytes that both passes read at most: of decoded pixels, and of the files; None where a file's size is unknown."""
    decoded, stored = 0, 0.0
    known = True
    for position, scene in enumerate(plan.scenes):
        measured, whole = plan.measure_grid(position), scene.grid.width * scene.grid.height
        pixels = measured.width * measured.height + whole
        decoded += pixels * plan.bands * np.dtype(scene.dtype).itemsize
        known = known and scene.source.size is not None
        stored += (scene.source.size or 0) * pixels / whole
    return decoded, round(stored) if known else None


def render_plan(plan: Plan, *, item: str, digest: str) -> str:
    """The plan as YAML, with amounts of bytes repeated in MB or GB for people; ``item`` is where the Item will be."""
    document = {"item": item, "digest": digest, **describe_plan(plan)}
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
    return _BYTES.sub(lambda match: f"{match[0]}  # {_show_bytes(int(match[2]))}", text)


def _show_bytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 10**9 else f"{count / 1e6:.1f} MB"


class _Dumper(yaml.SafeDumper):
    """Writes the members of a list on a line each."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        """A list; what is in it stands on one line."""
        node = super().represent_sequence(tag, sequence, flow_style)
        for child in node.value:
            if isinstance(child, yaml.CollectionNode):
                child.flow_style = True
        if all(
            isinstance(child, yaml.ScalarNode) and not isinstance(value, str)
            for child, value in zip(node.value, sequence, strict=True)
        ):
            node.flow_style = True
        return node


def describe_plan(plan: Plan) -> dict[str, Any]:
    """The plan as JSON values; of more than 100 scenes or overlaps only the first 100 are listed."""
    decoded, stored = _count_bytes_read(plan)
    names = [scene.name for scene in plan.scenes]
    return {
        "stages": list(plan.methods.names),
        "scenes": {"count": len(plan.scenes), "first": _list_scenes(plan)},
        "overlaps": {
            "count": len(plan.pairs),
            "first": [[names[i], names[j]] for i, j in plan.pairs[:_LARGEST_LISTING]],
        },
        "grid": _describe_grid(plan),
        "tasks": {"measure": len(plan.chunks), "render": _count_windows(plan)},
        "estimate": {
            "decoded_bytes_read_at_most": decoded,
            "stored_bytes_read_at_most": stored,
            "memory_bytes_at_most": estimate_memory(plan),
            "scratch_bytes_at_most": estimate_scratch(plan),
        },
        "findings": [finding.message for finding in plan.findings],
    }


def _list_scenes(plan: Plan) -> list[dict[str, Any]]:
    return [
        {
            "name": scene.name,
            "width": scene.grid.width,
            "height": scene.grid.height,
            "dtype": scene.dtype,
            "measured_at": "full resolution" if level is None else f"overview 1:{scene.source.overviews[level]}",
            "href": scene.source.href,
        }
        for scene, level in list(zip(plan.scenes, plan.levels, strict=True))[:_LARGEST_LISTING]
    ]


def _describe_grid(plan: Plan) -> dict[str, Any]:
    grid, blocks = plan.grid, plan.blocks
    return {
        "width": grid.width,
        "height": grid.height,
        "pixel_width": grid.pixel_width,
        "pixel_height": grid.pixel_height,
        "bounds": list(grid.bounds.as_tuple()),
        "bands": plan.bands,
        "dtype": plan.dtype,
        "nodata": None if np.isnan(plan.nodata) else plan.nodata,
        "block_rows": None if blocks is None else blocks.rows,
        "block_cols": None if blocks is None else blocks.cols,
    }


def _count_windows(plan: Plan) -> int:
    if not plan.methods.merge.is_on:
        return 0
    return -(-plan.grid.width // plan.window_edge) * -(-plan.grid.height // plan.window_edge)
