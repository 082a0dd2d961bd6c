"""Folders of a run's own objects: what is in them, parts of what is in them, and their removal."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from processor.errors import StorageError
from processor.redaction import redact_url
from processor.storage.backends.base import is_absence
from processor.storage.reading import find_filesystem
from processor.storage.store import Store
from processor.storage.url import parse_url, parse_writable_url, storage_errors


def list_names(store: Store, url: str) -> frozenset[str]:
    """Names of the objects directly in a folder; none where there is no such folder.

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
            folder = Path(place.path)
            return frozenset(path.name for path in folder.iterdir() if path.is_file()) if folder.is_dir() else frozenset()
        try:
            entries = find_filesystem(url, store.access).ls(place.path, detail=True)
        except FileNotFoundError as error:
            if is_absence(error):
                return frozenset()
            raise
        return frozenset(str(entry["name"]).rpartition("/")[2] for entry in entries if entry["type"] == "file")


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
