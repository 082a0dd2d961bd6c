"""Where tasks hand their results to one another: the memory and scratch of one process, or objects that any process reaches.

Both take the same results and give the same back. In memory, results are merged as they come and a mosaic's blocks stay in
scratch files. As objects, each result is written once and is done when it is there: two tasks that do the same at once, or one
that is done twice, write the same name, the first one wins, and what the second one made is dropped. An object that does not
hold what was written is removed as soon as that is noticed, so that it is made anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import Any, Final, TypeVar

from processor.errors import ExistsError, MosaicError, StorageError
from processor.execution.failures import FOLDER as FAILED
from processor.execution.records import make_codec
from processor.execution.tasks import Batch, Batches, Cut, Overlaps, RenderedTile, Solved, Tile
from processor.execution.tile_parts import PartedBlocks, PartHead, PartReader, describe_raster, iter_part, read_head
from processor.execution.wire import DamagedError
from processor.mosaic.plan import Plan
from processor.mosaic.render import RenderStatistics
from processor.mosaic.rendered import RenderCounter, Rendered, index_spec, mosaic_spec
from processor.mosaic.solve import Solution
from processor.process.logs import log_event
from processor.process.progress import Tracker
from processor.process.threads import map_ordered, resolve_threads
from processor.redaction import redact_url
from processor.stages.measures import Measures
from processor.storage.folders import list_names, list_times, read_range, remove_folder
from processor.storage.store import Store, Written
from processor.storage.url import join_url

T = TypeVar("T")

SOLVED: Final = "solved.json"
"""Which solution this run has: its digest keys what is rendered with it, so that parts of two never come together."""

_LOGGER = logging.getLogger(__name__)
_PREVIOUS: Final = "previous.json"
_KINDS: Final = ("measure", "blocks", "solve", "render", "written", FAILED)
_MAX_BYTES: Final = 4 << 30
_MAX_NOTE: Final = 16 << 20


@dataclass(slots=True, kw_only=True)
class TaskStore(ABC):
    """Results of the tasks of a run."""

    plan: Plan
    """Plan of the run."""
    cut: Cut
    """How the run is cut into tasks."""
    batches: Batches = field(init=False)
    """The measuring tasks."""
    tiles: tuple[Tile, ...] = field(init=False)
    """The rendering tasks."""

    def __post_init__(self) -> None:
        """List the tasks."""
        self.batches = Batches(len(self.plan.chunks) if self.plan.reads_for_measures else 0, self.cut.chunks_per_task)
        self.tiles = self.cut.list_tiles(self.plan)

    @abstractmethod
    def find_missing(self, phase: str) -> list[int]:
        """Numbers of the tasks of a phase (not of ``assemble``) whose results are not there."""

    @abstractmethod
    def put_batches(
        self, phase: str, numbers: Sequence[int], batches: Iterable[Batch], merge: Callable[[Iterable[Any]], Any]
    ) -> None:
        """Take results of the measuring tasks of these numbers; ``merge`` makes one of what all chunks gave, in their order."""

    @abstractmethod
    def get_merged(self, phase: str, merge: Callable[[Iterable[Any]], T]) -> T:
        """Give what all chunks of a phase gave together."""

    @abstractmethod
    def get_or_make(self, name: str, make: Callable[[], object], expected: type[T]) -> T:
        """Give a record that is made by whoever needs it first."""

    @abstractmethod
    def put_solution(self, measures: Measures, solution: Solution) -> None:
        """Take what rendering and the report need."""

    @abstractmethod
    def get_solution(self, *, with_overlaps: bool = False) -> tuple[Measures, Solution]:
        """Give them back; the overlaps, which only the report needs, where they are asked for."""

    @abstractmethod
    def put_tile(self, tile: RenderedTile) -> None:
        """Take the result of a rendering task."""

    @abstractmethod
    def get_mosaic(self, tracker: Tracker) -> Rendered | None:
        """Give the blocks of the whole mosaic and what was counted; None where there are no rendering tasks."""

    @abstractmethod
    def keep_previous(self, paths: frozenset[str]) -> frozenset[str]:
        """Keep which files a replaced Item named; give them and those that were kept before, by an attempt that was killed."""

    @abstractmethod
    def write_once(self, path: str, is_there: Callable[[], bool], write: Callable[[], Written]) -> Written:
        """Write a raster to its place, unless an attempt that was killed later had done so and it is there."""

    @abstractmethod
    def clear(self) -> None:
        """Remove all results, when the Item is published."""

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Let go of what this process holds."""


@dataclass(slots=True, kw_only=True)
class LocalStore(TaskStore):
    """Results in the memory of one process, and in its scratch files."""

    cut: Cut = field(init=False)
    """A task for each chunk, and one tile."""
    _merged: dict[str, Any] = field(default_factory=dict, init=False)
    _solved: tuple[Measures, Solution] | None = field(default=None, init=False)
    _rendered: RenderedTile | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Cut the run for one process."""
        self.cut = Cut.of_one_process(self.plan)
        TaskStore.__post_init__(self)  # super() needs the class that slots replace

    def find_missing(self, phase: str) -> list[int]:
        """All tasks of a phase, or none: a process does a phase at one go."""
        is_done = {"solve": self._solved is not None, "render": self._rendered is not None}.get(
            phase, phase in self._merged or self._solved is not None
        )
        count = {"solve": 1, "render": len(self.tiles)}.get(phase, len(self.batches))
        return [] if is_done else list(range(count))

    def put_batches(
        self, phase: str, numbers: Sequence[int], batches: Iterable[Batch], merge: Callable[[Iterable[Any]], Any]
    ) -> None:
        """Merge results as they come, so that none is held for longer than it is needed."""
        del numbers
        self._merged[phase] = merge(chain.from_iterable(map(attrgetter("chunks"), batches)))

    def get_merged(self, phase: str, merge: Callable[[Iterable[Any]], T]) -> T:
        """Give what was merged."""
        del merge
        merged: T = self._merged[phase]
        return merged

    def get_or_make(self, name: str, make: Callable[[], object], expected: type[T]) -> T:
        """Make it, once."""
        del expected
        if name not in self._merged:
            self._merged[name] = make()
        made: T = self._merged[name]
        return made

    def put_solution(self, measures: Measures, solution: Solution) -> None:
        """Keep both as they are."""
        self._solved = measures, solution
        self._merged.clear()

    def get_solution(self, *, with_overlaps: bool = False) -> tuple[Measures, Solution]:
        """Give both."""
        del with_overlaps
        if self._solved is None:
            msg = "nothing is solved yet"
            raise RuntimeError(msg)
        return self._solved

    def put_tile(self, tile: RenderedTile) -> None:
        """Keep the blocks of the one tile where they are."""
        self._rendered = tile

    def get_mosaic(self, tracker: Tracker) -> Rendered | None:
        """Give the blocks of the one tile."""
        del tracker
        if self._rendered is None:
            return None
        counter = RenderCounter(self.plan)
        counter.add(self._rendered.statistics)
        return counter.finish(*self._rendered.blocks)

    def keep_previous(self, paths: frozenset[str]) -> frozenset[str]:
        """Give the same: a process that is killed begins again."""
        return paths

    def write_once(self, path: str, is_there: Callable[[], bool], write: Callable[[], Written]) -> Written:
        """Write it."""
        del path, is_there
        return write()

    def clear(self) -> None:
        """Close the blocks; the scratch files go with the workbench."""
        self.close()

    def close(self) -> None:
        """Close the blocks."""
        for blocks in () if self._rendered is None else self._rendered.blocks:
            blocks.close()
        self._rendered = None


@dataclass(slots=True, kw_only=True)
class ObjectStore(TaskStore):
    """Results as objects in the folder of a run."""

    store: Store
    """The store that the folder is reached through."""
    folder: str
    """Path or URL."""
    _key: str = field(default="", init=False)
    """Digest of the solution that was read: what follows from it is kept under this name."""

    def find_missing(self, phase: str) -> list[int]:
        """Numbers of the tasks of a phase whose objects are not there.

        Raises
        ------
        StorageError
            Storage or the network failed; or, for render, nothing is solved yet.
        """
        if phase == "solve":
            return [] if self._read_note(SOLVED) is not None else [0]
        present = list_names(self.store, self._url(self._find_folder(phase)))
        return [number for number, name in enumerate(self._list_files(phase)) if name not in present]

    def list_results(self, phase: str) -> list[datetime | None]:
        """When each result of a phase that is there was written; None where storage does not tell.

        Raises
        ------
        InputError
            Access is denied.
        StorageError
            Storage or the network failed.
        """
        if phase == "assemble" or (phase == "render" and self.find_missing("solve")):
            return []
        if phase == "solve":
            folder, names = self.folder, [SOLVED]
        else:
            folder, names = self._url(self._find_folder(phase)), self._list_files(phase)
        times = list_times(self.store, folder)
        return [times[name] for name in names if name in times]

    def _find_folder(self, phase: str) -> str:
        """Folder of the results of a phase's tasks; what is rendered is kept under the digest of its solution."""
        return f"render/{self._read_solved()[0]}" if phase == "render" else phase

    def _list_files(self, phase: str) -> list[str]:
        """Names of the results of a phase's tasks, in the order of their numbers."""
        if phase == "render":
            return [_name_tile(tile.row, tile.col) for tile in self.tiles]
        return [_name_batch(number) for number in range(len(self.batches))]

    def put_batches(
        self, phase: str, numbers: Sequence[int], batches: Iterable[Batch], merge: Callable[[Iterable[Any]], Any]
    ) -> None:
        """Write each result."""
        del merge
        for number, batch in zip(numbers, batches, strict=True):
            self._write_record(f"{phase}/{_name_batch(number)}", batch)

    def get_merged(self, phase: str, merge: Callable[[Iterable[Any]], T]) -> T:
        """Read all results, in the order of the tasks, and merge them."""
        return merge(self._iter_chunks(phase))

    def _iter_chunks(self, phase: str) -> Iterator[Any]:
        names = [f"{phase}/{_name_batch(number)}" for number in range(len(self.batches))]
        batches = map_ordered(partial(self._read_record, expected=Batch), names, threads=self._threads)
        for number, (name, batch) in enumerate(zip(names, batches, strict=True)):
            if list(batch.numbers) != self.batches.list_chunks([number]).tolist() or len(batch.chunks) != len(batch.numbers):
                raise self._refuse(name, "it is of other chunks")
            yield from batch.chunks

    def get_or_make(self, name: str, make: Callable[[], object], expected: type[T]) -> T:
        """Read it; whoever finds it missing writes it."""
        file = f"{name}.bin"
        if not self.store.exists(self._url(file)):
            self._write_record(file, make())
        return self._read_record(file, expected)

    def put_solution(self, measures: Measures, solution: Solution) -> None:
        """Write both under their digests, what only the report needs apart from what rendering needs."""
        scenes = tuple(replace(scene, sums=None) for scene in measures.scenes)
        solved = Solved(measures=replace(measures, scenes=scenes, overlaps=(), matched=None), solution=solution)
        note = {}
        for name, record in (
            ("solution", solved),
            ("overlaps", Overlaps(overlaps=measures.overlaps, matched=measures.matched)),
        ):
            data = make_codec().encode(record)
            note[name] = hashlib.sha256(data).hexdigest()
            self._write(f"solve/{note[name]}.bin", data)
        self._write(SOLVED, json.dumps(note, sort_keys=True).encode())

    def get_solution(self, *, with_overlaps: bool = False) -> tuple[Measures, Solution]:
        """Read them."""
        self._key, overlaps = self._read_solved()
        solved = self._read_record(f"solve/{self._key}.bin", Solved)
        if not with_overlaps:
            return solved.measures, solved.solution
        rest = self._read_record(f"solve/{overlaps}.bin", Overlaps)
        return replace(solved.measures, overlaps=rest.overlaps, matched=rest.matched), solved.solution

    def put_tile(self, tile: RenderedTile) -> None:
        """Write a part, unless it is there; its scratch files go."""
        rasters = zip(tile.blocks, tile.levels, tile.pending, strict=True)
        head = PartHead(
            row=tile.tile.row,
            col=tile.tile.col,
            rasters=tuple(describe_raster(blocks, levels, pending) for blocks, levels, pending in rasters),
            summary=tile.statistics,
        )
        try:
            with suppress(ExistsError):
                url = self._url(self._name_part(tile.tile.row, tile.tile.col))
                self.store.write_stream(url, iter_part(head, tile.blocks, make_codec()))
        finally:
            for blocks, file in zip(tile.blocks, tile.files, strict=True):
                blocks.close()
                file.unlink(missing_ok=True)

    def get_mosaic(self, tracker: Tracker) -> Rendered | None:
        """Read the headers of all parts, which makes the overviews above them."""
        if not self.tiles:
            return None
        specs = mosaic_spec(self.plan), index_spec(self.plan)
        reader = PartReader(
            read=lambda row, col, *span: read_range(self.store, self._url(self._name_part(row, col)), *span),
            map_ordered=partial(map_ordered, threads=self._threads),
            refuse=lambda row, col: self._refuse(self._name_part(row, col), "a block has another checksum"),
        )
        sources = [
            PartedBlocks(spec, position, tile_blocks=self.cut.tile_blocks, reader=reader) for position, spec in enumerate(specs)
        ]
        counter = RenderCounter(self.plan)
        headers = map_ordered(partial(self._read_header, len(sources)), self.tiles, threads=self._threads)
        for _, head, statistics, length in tracker.track(
            headers,
            name="gather",
            total=float(self.plan.grid.height * self.plan.grid.width),
            amount=lambda found: float(found[0].window.height * found[0].window.width),
        ):
            for source in sources:
                source.add(head, length)
            counter.add(statistics)
        return counter.finish(*sources)

    def _read_header(self, rasters: int, tile: Tile) -> tuple[Tile, PartHead, RenderStatistics, int]:
        """Read the header of a tile's part, and how long it is."""
        name = self._name_part(tile.row, tile.col)
        try:
            head, length = read_head(self.store, self._url(name), make_codec())
        except DamagedError as error:
            raise self._refuse(name, error) from error
        statistics = head.summary
        is_of_tile = (head.row, head.col, len(head.rasters)) == (tile.row, tile.col, rasters)
        if not is_of_tile or not isinstance(statistics, RenderStatistics):
            raise self._refuse(name, "it is of another tile")
        return tile, head, statistics, length

    def keep_previous(self, paths: frozenset[str]) -> frozenset[str]:
        """Write them, since the Item is gone when a task that was killed is done again."""
        known = paths | (self._read_note(_PREVIOUS) or {}).keys()
        if paths:
            self._replace(_PREVIOUS, dict.fromkeys(sorted(known), ""))
        return known

    def write_once(self, path: str, is_there: Callable[[], bool], write: Callable[[], Written]) -> Written:
        """Write it, and note its size and digest."""
        name = f"written/{self._key}/{path}.json"
        note = self._read_note(name)
        if note is not None and is_there():
            return Written(size=int(note["size"]), sha256=note["sha256"])
        written = write()
        self._replace(name, {"size": str(written.size), "sha256": written.sha256})
        return written

    def clear(self) -> None:
        """Remove all results; what cannot be removed is said, and left to a lifecycle rule."""
        try:
            for kind in _KINDS:
                remove_folder(self.store, self._url(kind))
            for name in (SOLVED, _PREVIOUS):
                self.store.remove(self._url(name))
        except MosaicError as error:
            message = f"results of tasks were left in {redact_url(self.folder)}: {error}"
            log_event(_LOGGER, "results-left", message, level=logging.WARNING, url=redact_url(self.folder))

    # Names, records and notes

    @property
    def _threads(self) -> int:
        return resolve_threads(self.plan.config.shared.io_threads, auto=4)

    def _url(self, name: str) -> str:
        return join_url(self.folder, *name.split("/"))

    def _name_part(self, row: int, col: int) -> str:
        return f"render/{self._key}/{_name_tile(row, col)}"

    def _write(self, name: str, data: bytes) -> None:
        """Write a result, unless it is there."""
        with suppress(ExistsError):
            self.store.write_bytes(self._url(name), data)

    def _write_record(self, name: str, record: object) -> None:
        self._write(name, make_codec().encode(record))

    def _read_record(self, name: str, expected: type[T]) -> T:
        """Read a result; one that is not what was written is removed, and an error says so."""
        data = self.store.read_bytes(self._url(name), max_bytes=_MAX_BYTES)
        try:
            return make_codec().decode(data, expected)
        except DamagedError as error:
            raise self._refuse(name, error) from error

    def _refuse(self, name: str, reason: object) -> StorageError:
        """Remove a result that is not what was written, and make the error that says so."""
        url = redact_url(self._url(name))
        self.store.remove(self._url(name))
        message = f"{url} was damaged ({reason}) and was removed; run the phase that makes it again"
        log_event(_LOGGER, "result-damaged", message, level=logging.WARNING, url=url)
        return StorageError(message)

    def _read_note(self, name: str) -> dict[str, str] | None:
        """A small JSON object with texts, or None where there is none; any other is removed, and an error says so."""
        if not self.store.exists(self._url(name)):
            return None
        try:
            note = json.loads(self.store.read_bytes(self._url(name), max_bytes=_MAX_NOTE))
        except ValueError:
            note = None
        if not isinstance(note, dict) or not all(isinstance(value, str) for value in note.values()):
            raise self._refuse(name, "it is no JSON object with texts")
        return note

    def _replace(self, name: str, note: dict[str, str]) -> None:
        self.store.write_bytes(self._url(name), json.dumps(note, sort_keys=True).encode(), overwrite=True)

    def _read_solved(self) -> tuple[str, str]:
        """Digests of the solution and of the overlaps of this run."""
        note = self._read_note(SOLVED)
        if note is None:
            url = redact_url(join_url(self.folder, "run.json"))
            msg = f"nothing is solved yet for {url}; run `mosaic-processor task solve --run {url}` first"
            raise StorageError(msg)
        digests = note.get("solution", ""), note.get("overlaps", "")
        if not all(len(digest) == 64 and set(digest) <= set("0123456789abcdef") for digest in digests):
            raise self._refuse(SOLVED, "it names no solution")
        return digests


def _name_tile(row: int, col: int) -> str:
    """Name of a tile's part."""
    return f"{row:05d}-{col:05d}.part"


def _name_batch(number: int) -> str:
    """Name of a measuring task's result."""
    return f"{number:06d}.bin"
