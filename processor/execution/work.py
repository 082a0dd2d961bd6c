"""What each task of a run does, and the shards that tasks are done in."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from processor.errors import MosaicError
from processor.execution.phases import (
    SOLVED,
    Phase,
    Run,
    find_missing,
    find_published_item,
    is_own,
    list_phases,
    name_batch,
    name_tile,
    read_solved,
    require_before,
)
from processor.execution.records import make_codec
from processor.execution.tasks import (
    Batch,
    BlockBatch,
    Overlaps,
    Solved,
    Tile,
    join_measures,
    measure_batch,
    render_tile,
    split_measures,
    sum_batch,
)
from processor.execution.tile_parts import PartedBlocks, PartHead, PartReader
from processor.geotiff.cog.spec import CogSpec
from processor.geotiff.cog.tiles import TileSource
from processor.geotiff.reader import RasterReader
from processor.model import BlockGrid
from processor.mosaic.estimate import allot_memory
from processor.mosaic.measure import ChunkMeasures, Measures, assume_measures, merge_block_chunks, merge_chunks
from processor.mosaic.passes import Rendered, index_spec, make_rendered, mosaic_spec
from processor.mosaic.render import Renderer
from processor.mosaic.render_statistics import Tally, TallyCount
from processor.mosaic.solve import find_block_grid, solve
from processor.process.logs import log_event
from processor.process.progress import Tracker
from processor.process.threads import map_ordered, resolve_threads
from processor.publish.assemble import finish, log_solved, make_rasters
from processor.publish.destination import publish_raster
from processor.publish.item import Result
from processor.publish.register import announce
from processor.report.traffic import PassTraffic
from processor.stages.block_sums import BlockSums
from processor.storage.scratch import ending_passes, scratch_folder
from processor.storage.store import Written

__all__ = ["run_shard"]

T = TypeVar("T")

_LOGGER = logging.getLogger(__name__)
_GRID = "block_grid.bin"
_FORMER = "former.json"
_KINDS = ("measure", "blocks", "solve", "render", "written")


def run_shard(run: Run, phase: Phase, *, shards: int, index: int, tracker: Tracker) -> bool:
    """Do the tasks of a phase that fall to a shard and are not done: tasks[index::shards].

    Returns
    -------
    Whether there was anything to do.

    Raises
    ------
    StorageError
        The phase before is not complete, or storage failed.
    MosaicError
        As everything that is done here.
    """
    if phase not in list_phases(run):
        log_event(_LOGGER, "phase-empty", f"{phase}: this run has no such task")
        return False
    published = find_published_item(run)
    if published is not None:
        url = run.destination.item_url
        log_event(_LOGGER, "already-done", f"already done: {url} has these inputs and this configuration", item=url)
        if phase == "assemble":
            _make_known(run, published)  # the process that published it may not have come so far
        return False
    try:
        require_before(run, phase)
        mine = [number for number in find_missing(run, phase) if number % shards == index]
        if not mine:
            log_event(_LOGGER, "tasks-done", f"{phase}: nothing is left to do for shard {index} of {shards}")
            return False
        _do(run, phase, mine, tracker)
    except MosaicError:
        # Another process may have finished meanwhile, and what this one wanted to read is gone; assembling looks itself.
        if phase == "assemble" or find_published_item(run) is None:
            raise
    return True


def _do(run: Run, phase: Phase, numbers: Sequence[int], tracker: Tracker) -> None:
    if phase == "measure":
        _measure(run, numbers, tracker)
    elif phase == "blocks":
        _sum_blocks(run, numbers, tracker)
    elif phase == "solve":
        _solve(run)
    elif phase == "render":
        _render(run, numbers, tracker)
    else:
        _assemble(run, tracker)


def _make_known(run: Run, item: dict[str, Any]) -> None:
    folder = run.destination.folder
    announce(run.prepared.announcement, item, folder=folder, store=run.work.store, overwrite=run.document.overwrite)


@contextmanager
def _reading(run: Run, name: str) -> Iterator[RasterReader]:
    """Read scenes in a phase, whose requests are logged at its end."""
    cache_bytes = allot_memory(run.prepared.plan).cache_bytes
    with (
        RasterReader(cache_bytes=cache_bytes, access=run.prepared.access) as reader,
        PassTraffic(reader.count_traffic).counting(name),
        ending_passes(),
    ):
        yield reader


def _io_threads(run: Run) -> int:
    return resolve_threads(run.prepared.plan.config.shared.io_threads, auto=4)


def _watch(
    tracker: Tracker,
    items: Sequence[T],
    do: Callable[[T], object],
    *,
    name: str,
    amount: Callable[[T], float],
) -> None:
    """Do something with each item, and let the tracker see it."""

    def work() -> Iterator[T]:
        for item in items:
            do(item)
            yield item

    for _ in tracker.track(work(), name=name, total=sum(map(amount, items)), amount=amount):
        pass


# Measure


def _measure(run: Run, numbers: Sequence[int], tracker: Tracker) -> None:
    plan = run.prepared.plan
    threads = allot_memory(plan).measure_threads
    with _reading(run, "measure") as reader:

        def do(number: int) -> None:
            batch = measure_batch(plan, reader, run.batches[number], threads=threads)
            run.work.write_record(f"measure/{name_batch(number)}", batch)

        _watch(tracker, numbers, do, name="measure", amount=partial(_count_batch, run))


def _count_batch(run: Run, number: int) -> float:
    """Pixels that a measuring task reads, about."""
    plan = run.prepared.plan
    windows = (
        plan.measure_grid(scene).window_of_centres(chunk.bounds) for chunk in run.batches[number] for scene in chunk.scenes
    )
    return float(sum(window.height * window.width for window in windows))


def _sum_blocks(run: Run, numbers: Sequence[int], tracker: Tracker) -> None:
    plan, grid = run.prepared.plan, _find_grid(run)
    threads = allot_memory(plan).measure_threads
    with _reading(run, "blocks") as reader:

        def do(number: int) -> None:
            batch = sum_batch(plan, reader, grid, run.batches[number], threads=threads)
            run.work.write_record(f"blocks/{name_batch(number)}", batch)

        _watch(tracker, numbers, do, name="blocks", amount=partial(_count_batch, run))


def _find_grid(run: Run) -> BlockGrid:
    """The block grid that hangs on the statistics: found by whoever needs it first."""
    name = f"blocks/{_GRID}"
    if _GRID not in run.work.list_names("blocks"):
        grid = find_block_grid(run.prepared.plan, _read_measures(run))
        run.work.write_record(name, grid)
    return run.work.read_record(name, BlockGrid)


# Solve


def _iter_results(run: Run, phase: Phase, expected: type[T]) -> Iterator[tuple[str, T]]:
    """Results of a phase in the order of its tasks, with their names."""
    names = [f"{phase}/{name_batch(number)}" for number in range(len(run.batches))]
    read = partial(run.work.read_record, expected=expected)
    return zip(names, map_ordered(read, names, threads=_io_threads(run)), strict=True)


def _iter_chunks(run: Run) -> Iterator[ChunkMeasures]:
    for batch, (name, result) in zip(run.batches, _iter_results(run, "measure", Batch), strict=True):
        if [chunk.number for chunk in result.chunks] != [chunk.number for chunk in batch]:
            raise run.work.refuse(name, "it is of other chunks")
        yield from result.chunks


def _iter_block_chunks(run: Run) -> Iterator[tuple[tuple[int, BlockSums], ...]]:
    for batch, (name, result) in zip(run.batches, _iter_results(run, "blocks", BlockBatch), strict=True):
        if len(result.chunks) != len(batch):
            raise run.work.refuse(name, "it is of other chunks")
        yield from result.chunks


def _read_measures(run: Run) -> Measures:
    plan = run.prepared.plan
    return merge_chunks(plan, _iter_chunks(run)) if plan.reads_for_measures else assume_measures(plan)


def _solve(run: Run) -> None:
    plan, measures = run.prepared.plan, _read_measures(run)
    blocks = plan.blocks if plan.reads_for_measures else None
    sums = tuple(scene.sums for scene in measures.scenes if scene.sums is not None)
    if "blocks" in list_phases(run):
        blocks, sums = _find_grid(run), merge_block_chunks(plan, _iter_block_chunks(run))
    solution = solve(plan, measures, blocks, sums)
    log_solved(measures)
    note = {}
    for name, record in zip(("solution", "overlaps"), split_measures(measures, solution), strict=True):
        data = make_codec().encode(record)
        note[name] = hashlib.sha256(data).hexdigest()
        run.work.write(f"solve/{note[name]}.bin", data)
    run.work.write_note(SOLVED, note)


# Render


def _render(run: Run, numbers: Sequence[int], tracker: Tracker) -> None:
    plan, blocks, key = run.prepared.plan, run.document.tile_blocks, read_solved(run)[0]
    solved = run.work.read_record(f"solve/{key}.bin", Solved)
    threads = allot_memory(plan).render_threads
    with scratch_folder(plan.config) as scratch, _reading(run, "render") as reader:
        renderer = Renderer(plan, solved.measures, solved.solution, reader)

        def do(tile: Tile) -> None:
            with render_tile(plan, renderer, tile, blocks, scratch, threads=threads) as (head, stores):
                run.work.write_part(f"render/{key}/{name_tile(tile.row, tile.col)}", head, stores)

        tiles = [run.tiles[number] for number in numbers]
        _watch(tracker, tiles, do, name="render", amount=lambda tile: float(tile.window.height * tile.window.width))


# Assemble


def _assemble(run: Run, tracker: Tracker) -> None:
    try:
        item = _publish(run, tracker)
    except MosaicError:
        published = find_published_item(run)
        if published is None:
            raise
        item = published  # another process was faster, and has removed the parts
    if run.prepared.plan.config.shared.delete_temp_dir:
        run.work.remove(_KINDS, (SOLVED, _FORMER))
    _make_known(run, item)


def _publish(run: Run, tracker: Tracker) -> dict[str, Any]:
    """Make and publish everything from the parts; the Item."""
    digests = read_solved(run)
    solved = run.work.read_record(f"solve/{digests[0]}.bin", Solved)
    overlaps = run.work.read_record(f"solve/{digests[1]}.bin", Overlaps)
    with scratch_folder(run.prepared.plan.config) as scratch:
        with _reading(run, "write") as reader:
            rasters = make_rasters(run.prepared, solved.solution, reader, scratch, tracker)
        made = finish(
            run.destination,
            run.prepared,
            join_measures(solved, overlaps),
            solved.solution,
            _gather(run, tracker) if run.tiles else None,
            rasters,
            scratch,
            run.stamp,
            remember=partial(_remember, run),
            is_own=partial(is_own, run),
            write=partial(_write_once, run, digests[0]),
        )
    return made.item if isinstance(made, Result) else made


def _write_once(run: Run, key: str, path: str, spec: CogSpec, blocks: TileSource) -> Written:
    """Write a raster to its place, unless a former attempt that was killed later had done so."""
    name = f"written/{key}/{path}.json"
    note = run.work.read_note(name)
    if note is not None and run.work.store.exists(run.destination.url(path)):
        return Written(size=int(note["size"]), sha256=note["sha256"])
    written = publish_raster(run.destination, path, spec, blocks)
    run.work.store.write_bytes(
        run.work.url(name), json.dumps({"size": str(written.size), "sha256": written.sha256}).encode(), overwrite=True
    )
    return written


def _remember(run: Run, former: frozenset[str]) -> frozenset[str]:
    """Keep which files the replaced Item named, since it is gone when a task that was killed is done again."""
    known = former | (run.work.read_note(_FORMER) or {}).keys()
    if former:
        data = json.dumps(dict.fromkeys(sorted(known), "")).encode()
        run.work.store.write_bytes(run.work.url(_FORMER), data, overwrite=True)
    return known


def _gather(run: Run, tracker: Tracker) -> Rendered:
    """Read the heads of all parts, which makes the overviews above them."""
    plan, key = run.prepared.plan, read_solved(run)[0]
    sources = [
        PartedBlocks(spec, position, tile_blocks=run.document.tile_blocks, reader=_make_reader(run, key))
        for position, spec in enumerate((mosaic_spec(plan), index_spec(plan)))
    ]
    count = TallyCount(plan)

    def read(tile: Tile) -> tuple[Tile, PartHead, Tally, int]:
        name = f"render/{key}/{name_tile(tile.row, tile.col)}"
        head, length = run.work.read_part(name)
        summary = head.summary
        if (head.row, head.col, len(head.rasters)) != (tile.row, tile.col, len(sources)) or not isinstance(summary, Tally):
            raise run.work.refuse(name, "it is of another tile")
        return tile, head, summary, length

    heads = map_ordered(read, run.tiles, threads=_io_threads(run))
    total = plan.grid.height * plan.grid.width
    for _, head, summary, length in tracker.track(
        heads, name="gather", total=total, amount=lambda found: float(found[0].window.height * found[0].window.width)
    ):
        for source in sources:
            source.add(head, length)
        count.add(summary)
    count.check_pixels()
    return make_rendered(plan, count, *sources)


def _make_reader(run: Run, key: str) -> PartReader:
    def name(row: int, col: int) -> str:
        return f"render/{key}/{name_tile(row, col)}"

    return PartReader(
        read=lambda row, col, offset, size: run.work.read_range(name(row, col), offset, size),
        map_ordered=partial(map_ordered, threads=_io_threads(run)),
        refuse=lambda row, col: run.work.refuse(name(row, col), "a block has another checksum"),
    )
