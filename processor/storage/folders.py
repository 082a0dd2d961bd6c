"""Folders of a run's own objects: what is in them, parts of what is in them, and their removal."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from processor.errors import StorageError
from processor.redaction import redact_url
from processor.storage.backends.base import is_absence
from processor.storage.reading import find_filesystem
from processor.storage.store import Store
from processor.storage.url import parse_url, parse_writable_url, storage_errors


def list_names(store: Store, url: str) -> frozenset[str]:
    """Names of the objects directly in a folder; none where there is no such folder. Errors as those of :func:`list_times`."""
    return frozenset(list_times(store, url))


def list_times(store: Store, url: str) -> dict[str, datetime | None]:
    """Names of the objects directly in a folder, and when each was written, None where storage does not tell.

    Raises
    ------
    InputError
        Access is denied.
    StorageError
        Storage or the network failed.
    """
    place = parse_url(url)
    with storage_errors(url):
        if place.is_local:
            return _list_local(Path(place.path))
        try:
            entries = find_filesystem(url, store.access).ls(place.path, detail=True)
        except FileNotFoundError as error:
            if is_absence(error):
                return {}
            raise
    return {str(entry["name"]).rpartition("/")[2]: _find_time(entry) for entry in entries if entry["type"] == "file"}


def _list_local(folder: Path) -> dict[str, datetime | None]:
    found: dict[str, datetime | None] = {}
    if folder.is_dir():
        with os.scandir(folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # gone meanwhile
                    if entry.is_file():
                        found[entry.name] = datetime.fromtimestamp(entry.stat().st_mtime, UTC)
    return found


def _find_time(entry: Mapping[str, Any]) -> datetime | None:
    """When an object was written, by whichever name the protocol's client gives that."""
    value = next(
        (entry[key] for key in ("LastModified", "last_modified", "updated", "mtime", "created") if entry.get(key)), None
    )
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return None
    if not isinstance(time, datetime):
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def read_range(store: Store, url: str, start: int, size: int) -> bytes:
    """Bytes ``start`` to ``start + size`` of an object.

    Raises
    ------
    InputError
        There is no such object, or access is denied.
    StorageError
        The object is shorter, or storage or the network failed.
    """
    place = parse_url(url)
    with storage_errors(url):
        if place.is_local:
            with Path(place.path).open("rb") as stream:
                stream.seek(start)
                data = stream.read(size)
        else:
            data = bytes(find_filesystem(url, store.access).cat_file(place.path, start=start, end=start + size))
    if len(data) != size:
        msg = f"{redact_url(url)} ends before byte {start + size}: it was cut short"
        raise StorageError(msg)
    return data


def remove_folder(store: Store, url: str, *, above: int = 0) -> None:
    """Remove a folder with all that is in it; one that is gone already is no error.

    Parameters
    ----------
    above
        How many folders above it are removed too, where they are empty then; object stores have no empty folders.

    Raises
    ------
    InputError
        Access is denied.
    StorageError
        Storage or the network failed.
    """
    place = parse_writable_url(url)
    with storage_errors(url):
        if place.is_local:
            shutil.rmtree(place.path, ignore_errors=True)
            with suppress(OSError):  # the first that is not empty ends it
                for folder in list(Path(place.path).parents)[:above]:
                    folder.rmdir()
            return
        try:
            find_filesystem(url, store.access).rm(place.path, recursive=True)
        except FileNotFoundError as error:
            if not is_absence(error):
                raise
