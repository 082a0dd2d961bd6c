"""Where tasks hand their results to one another: objects in the folder of a run, each written once, done when it is there.

Two tasks that do the same at once, or one that is done twice, write the same name: the first one wins, and what the second one
made is dropped. What does not hold what was written is removed as soon as it is noticed, so that it is made anew.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from processor.errors import ExistsError, MosaicError, StorageError
from processor.execution.records import make_codec
from processor.execution.tile_parts import PartHead, iter_part, read_head
from processor.execution.wire import DamagedError
from processor.geotiff.cog.tiles import TileStore
from processor.process.logs import log_event
from processor.storage.folders import list_names, read_range, remove_folder
from processor.storage.store import Store, join_url
from processor.storage.url import redact_url

__all__ = ["Workplace"]

T = TypeVar("T")

_LOGGER = logging.getLogger(__name__)
_MAX_BYTES: Final = 4 << 30
_MAX_NOTE: Final = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """A run's folder of results."""

    store: Store
    """Reads and writes the results."""
    folder: str
    """Path or URL."""

    def url(self, name: str) -> str:
        """Path or URL of a result."""
        return join_url(self.folder, *name.split("/"))

    def list_names(self, kind: str) -> frozenset[str]:
        """Names of the results of a kind that are there, without the kind."""
        return list_names(self.store, self.url(kind))

    def write(self, name: str, data: bytes) -> None:
        """Write a result, unless it is there."""
        with suppress(ExistsError):
            self.store.write_bytes(self.url(name), data)

    def write_record(self, name: str, record: object) -> None:
        """Write a record as a result, unless it is there."""
        self.write(name, make_codec().encode(record))

    def write_part(self, name: str, head: PartHead, blocks: Sequence[TileStore]) -> None:
        """Write a part, unless it is there."""
        with suppress(ExistsError):
            self.store.write_stream(self.url(name), iter_part(head, blocks, make_codec()))

    def read_record(self, name: str, expected: type[T]) -> T:
        """Read a result.

        Raises
        ------
        InputError
            There is none.
        StorageError
            It is not what was written, and was removed; or storage failed.
        """
        data = self.store.read_bytes(self.url(name), max_bytes=_MAX_BYTES)
        try:
            return make_codec().decode(data, expected)
        except DamagedError as error:
            raise self.refuse(name, error) from error

    def read_part(self, name: str) -> tuple[PartHead, int]:
        """Read the head of a part, and how long it is; errors as those of :meth:`read_record`."""
        try:
            return read_head(self.store, self.url(name), make_codec())
        except DamagedError as error:
            raise self.refuse(name, error) from error

    def read_range(self, name: str, offset: int, size: int) -> bytes:
        """Read some bytes of a part."""
        return read_range(self.store, self.url(name), offset, size)

    def refuse(self, name: str, reason: object) -> StorageError:
        """Remove a result that is not what was written, and make the error that says so."""
        self.store.remove(self.url(name))
        message = f"{redact_url(self.url(name))} was damaged ({reason}) and was removed; run the phase that makes it again"
        log_event(_LOGGER, "result-damaged", message, level=logging.WARNING, url=redact_url(self.url(name)))
        return StorageError(message)

    def read_note(self, name: str) -> dict[str, str] | None:
        """A small JSON object with texts, or None where there is none.

        Raises
        ------
        StorageError
            It is no such object, and was removed; or storage failed.
        """
        if not self.store.exists(self.url(name)):
            return None
        try:
            note = json.loads(self.store.read_bytes(self.url(name), max_bytes=_MAX_NOTE))
        except ValueError:
            note = None
        if not isinstance(note, dict) or not all(isinstance(value, str) for value in note.values()):
            raise self.refuse(name, "it is no JSON object with texts")
        return note

    def write_note(self, name: str, note: dict[str, str]) -> None:
        """Write a small JSON object, unless it is there."""
        self.write(name, json.dumps(note, sort_keys=True).encode())

    def remove(self, kinds: Iterable[str], names: Iterable[str]) -> None:
        """Remove all results of some kinds, and some others; what cannot be removed is said, and left to a lifecycle rule."""
        try:
            for kind in kinds:
                remove_folder(self.store, self.url(kind))
            for name in names:
                self.store.remove(self.url(name))
        except MosaicError as error:
            message = f"results of tasks were left in {redact_url(self.folder)}: {error}"
            log_event(_LOGGER, "results-left", message, level=logging.WARNING, url=redact_url(self.folder))
