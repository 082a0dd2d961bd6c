"""Changing a document that others change too."""

from __future__ import annotations

from typing import Any

import pytest

from processor.errors import StorageError
from processor.storage.retry import Backoff
from stac.write.update import update_document


class Shelf:
    """A document, whose versions are numbers; ``rivals`` write before the first so many writes."""

    def __init__(self, document: dict[str, Any] | None, *, rivals: int = 0) -> None:
        self.document, self.version, self.rivals, self.writes = document, 0, rivals, 0

    def read(self) -> tuple[dict[str, Any] | None, int]:
        return self.document, self.version

    def write(self, document: dict[str, Any], version: int) -> bool:
        self.writes += 1
        if self.rivals:
            self.rivals -= 1
            self.document = {**(self.document or {}), f"rival {self.rivals}": True}
            self.version += 1
        if version != self.version:
            return False
        self.document, self.version = document, version + 1
        return True


def add_own(document: dict[str, Any] | None) -> dict[str, Any]:
    return {**(document or {}), "own": True}


def test_what_others_write_meanwhile_stays() -> None:
    shelf, waits = Shelf({"first": True}, rivals=2), []
    backoff = Backoff(first=1.0, sleep=waits.append, jitter=lambda: 1.0)
    result = update_document(shelf.read, shelf.write, add_own, name="x", backoff=backoff)
    assert result == shelf.document == {"first": True, "rival 1": True, "rival 0": True, "own": True}
    assert waits == [1.0, 2.0]


def test_what_is_there_already_is_not_written() -> None:
    shelf = Shelf({"own": True})
    assert update_document(shelf.read, shelf.write, add_own, name="x") == {"own": True}
    assert shelf.writes == 0


def test_what_is_not_there_is_made() -> None:
    shelf = Shelf(None)
    assert update_document(shelf.read, shelf.write, add_own, name="x") == {"own": True} == shelf.document


def test_who_is_always_too_slow_gives_up_for_now() -> None:
    shelf = Shelf({}, rivals=99)
    with pytest.raises(StorageError, match="s3://x was changed by another run at each of 3 attempts"):
        update_document(shelf.read, shelf.write, add_own, name="s3://x", attempts=3)
