"""What the phases do to the pixels: measure, sum blocks, solve, render; the same over any store of results."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice
from typing import Any

from processor.execution.task_store import TaskStore
from processor.execution.tasks import Batch, Batches, RenderedTile, Tile
from processor.execution.tile_parts import part_levels
from processor.execution.workbench import Workbench
from processor.geotiff.cog.overviews import Pyramid
from processor.geotiff.cog.tiles import ShiftedTiles, TileStore
from processor.model import BlockGrid, Window
from processor.model.z_order import iter_z_order
from processor.mosaic.chunks import Chunk
from processor.mosaic.measure import assume_measures, measure_blocks, measure_chunk, merge_block_chunks, merge_chunks
from processor.mosaic.plan import BLOCK_EDGE, Phase, Plan
from processor.mosaic.render import RenderedWindow, Renderer
from processor.mosaic.rendered import RenderCounter, index_spec, mosaic_spec
from processor.mosaic.solve import find_block_grid
from processor.mosaic.solve import solve as solve_stages
from processor.process.logs import count_things, log_event
from processor.process.threads import map_ordered
from processor.stages.measures import Measures

_LOGGER = logging.getLogger(__name__)
_GRID = "blocks/block_grid"


def measure(plan: Plan, store: TaskStore, phase: Phase, numbers: Sequence[int], bench: Workbench) -> None:
    """Read the chunks of some measuring tasks, several at once across tasks, and hand each task's results to the store.

    The phase ``measure`` measures scenes and overlaps. ``blocks`` sums the blocks of the local adjustment, where their number
    depends on the statistics of all scenes.
    """
    blocks = _find_grid(plan, store) if phase == "blocks" else None
    pixels = plan.chunks.count_pixels()[0]
    chunks = store.batches.list_chunks(numbers)
    with bench.reading(phase) as reader:
        do: Callable[[Chunk], object] = partial(measure_chunk, plan, reader)
        merge: Callable[[Iterable[Any]], object] = partial(merge_chunks, plan)
        if blocks is not None:
            do, merge = partial(measure_blocks, plan, reader, blocks), partial(merge_block_chunks, plan)
        results = map_ordered(do, map(plan.chunks.__getitem__, chunks.tolist()), threads=bench.allotment.measure_threads)
        tracked = bench.tracker.track(
            zip(results, chunks.tolist(), strict=True),
            name=phase,
            total=float(pixels[chunks].sum()),
            amount=lambda result: float(pixels[result[1]]),
        )
        store.put_batches(phase, numbers, _batch(store.batches, numbers, tracked), merge)


def _batch(batches: Batches, numbers: Sequence[int], results: Iterator[tuple[object, int]]) -> Iterator[Batch]:
    """Put the results of single chunks together, task by task."""
    for number in numbers:
        found = tuple(islice(results, len(batches.list_chunks([number]))))
        yield Batch(numbers=tuple(chunk for _, chunk in found), chunks=tuple(result for result, _ in found))
    next(results, None)  # the pass is over: whoever watches it is told


def _read_measures(plan: Plan, store: TaskStore) -> Measures:
    return store.get_merged("measure", partial(merge_chunks, plan)) if "measure" in plan.phases else assume_measures(plan)


def _find_grid(plan: Plan, store: TaskStore) -> BlockGrid:
    """The block grid that depends on the statistics: found by whoever needs it first."""
    return store.get_or_make(_GRID, lambda: find_block_grid(plan, _read_measures(plan, store)), BlockGrid)


def solve(plan: Plan, store: TaskStore) -> None:
    """Decide everything between the two passes."""
    measures = _read_measures(plan, store)
    blocks = plan.blocks if "measure" in plan.phases else None
    sums = tuple(scene.sums for scene in measures.scenes if scene.sums is not None)
    if "blocks" in plan.phases:
        blocks, sums = _find_grid(plan, store), store.get_merged("blocks", partial(merge_block_chunks, plan))
    solution = solve_stages(plan, measures, blocks, sums)
    log_event(
        _LOGGER,
        "solved",
        f"solved {count_things(measures.scenes, 'scene')} over {count_things(measures.overlaps, 'overlap')}",
        scenes=len(measures.scenes),
        overlaps=len(measures.overlaps),
    )
    store.put_solution(measures, solution)


def render(plan: Plan, store: TaskStore, numbers: Sequence[int], bench: Workbench) -> None:
    """Render some tiles of the mosaic and encode them, with the overviews inside them."""
    measures, solution = store.get_solution()
    tiles = [store.tiles[number] for number in numbers]
    with bench.reading("render") as reader:
        renderer = Renderer(plan, measures, solution, reader)
        windows = bench.tracker.track(
            _render_tiles(plan, store, renderer, tiles, bench),
            name="render",
            total=float(sum(tile.window.height * tile.window.width for tile in tiles)),
            amount=lambda result: float(result.window.height * result.window.width),
        )
        for _ in windows:
            pass


def _render_tiles(
    plan: Plan, store: TaskStore, renderer: Renderer, tiles: Sequence[Tile], bench: Workbench
) -> Iterator[RenderedWindow]:
    """Render tiles window by window, each encoded at once, and hand every finished tile to the store."""
    specs = mosaic_spec(plan), index_spec(plan)
    edge = min(plan.window_edge // BLOCK_EDGE, store.cut.tile_blocks)
    for tile in tiles:
        levels = tuple(part_levels(spec, tile.row, tile.col, store.cut.tile_blocks) for spec in specs)
        files = tuple(bench.scratch / f"{name}-{tile.row}-{tile.col}.blocks" for name in ("mosaic", "index"))
        with ExitStack() as stack:
            blocks = tuple(stack.enter_context(TileStore(file, own)) for file, own in zip(files, levels, strict=True))
            pyramids = tuple(
                Pyramid(
                    spec,
                    ShiftedTiles(store=own, row=tile.row * store.cut.tile_blocks, col=tile.col * store.cut.tile_blocks),
                    window_tiles=edge,
                    top=store.cut.tile_blocks.bit_length() - 1,
                )
                for spec, own in zip(specs, blocks, strict=True)
            )

            def task(window: Window, pyramids: tuple[Pyramid, ...] = pyramids) -> RenderedWindow:
                rendered = renderer.render(window)
                pyramids[0].add(window, rendered.values)
                pyramids[1].add(window, rendered.index[None])
                return rendered.without_pixels()

            counter = RenderCounter(plan)
            windows = (
                window.shifted(rows=tile.window.row, cols=tile.window.col)
                for window in iter_z_order(tile.window.height, tile.window.width, edge * BLOCK_EDGE)
            )
            for result in map_ordered(task, windows, threads=bench.allotment.render_threads):
                counter.add(result)
                yield result
            pending = tuple(pyramid.take_pending() for pyramid in pyramids)
            stack.pop_all()
            statistics = counter.sum_up()
            store.put_tile(
                RenderedTile(tile=tile, statistics=statistics, blocks=blocks, files=files, levels=levels, pending=pending)
            )
