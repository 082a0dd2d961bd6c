"""Publishing: check the destination, lock it, upload all files, write the STAC Item last.

A name that exists is complete (:mod:`processor.storage.store`), and where there is an Item, all that it names is there too.
The first file that a run publishes is its configuration with the digest of inputs and configuration. It is the lock: a run
that would mix its files with those of another is refused before it publishes anything, and since files are created once, that
holds between processes and machines.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from processor.errors import ConfigError, ExistsError
from processor.geotiff.cog.spec import CogSpec
from processor.geotiff.cog.tiles import TileSource
from processor.geotiff.cog.writer import MEDIA_TYPE, iter_cog, plan_layout
from processor.process.logs import log_event
from processor.process.threads import read_ahead
from processor.publish.artifacts import LOCK, ArtifactFile
from processor.publish.conflicts import check_kind
from processor.publish.output_paths import Copy, check_folder
from processor.redaction import redact_url
from processor.storage.store import Store, Written
from processor.storage.url import absolute_path, join_url, parse_writable_url
from stac.write.item import render_item

_LOGGER = logging.getLogger(__name__)
_MAX_ITEM_BYTES: Final = 256 * 2**20
_ADVICE: Final = "replace it with --overwrite or choose another --item-id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a run publishes, and what tells its own Item and its own lock from those of others."""

    store: Store
    """Reads and writes what is published."""
    folder: str
    """Path or URL of everything that is published."""
    item_id: str
    """Id of the Item."""
    overwrite: bool
    """Whether what exists there may be replaced."""
    digest: str
    """SHA-256 of inputs, configuration and version, hexadecimal."""
    created: str
    """RFC 3339 time that the Item says it was created at."""
    lock: str
    """Text of the configuration file, which is published first: the lock of the folder."""
    is_shared: bool = False
    """Whether other processes do the same run: with ``overwrite``, an Item of this digest and time is theirs, and stays."""
    paths: tuple[str, ...] = ()
    """Of files that the run is known to publish, relative to the folder."""
    mosaic_url: str | None = None
    """Absolute path or URL of the mosaic where it is not to be in the Item's folder."""

    @property
    def item_url(self) -> str:
        """Path or URL of the Item."""
        return self.url(f"{self.item_id}.json")

    @property
    def absolute_item_url(self) -> str:
        """The same, from the root of the file system where it is local."""
        return absolute_path(self.item_url)

    def url(self, path: str) -> str:
        """Path or URL of a file, given relative to the folder or absolute."""
        if is_outside(path):
            return path
        return join_url(self.folder, *path.split("/"))

    def find_item(self) -> dict[str, Any] | None:
        """The Item of this run, where it is published: the only place that tells whether a run is done.

        Raises
        ------
        ExistsError
            There is another Item, which may not be replaced.
        StorageError
            Storage or the network failed.
        """
        item = _read_item(self)
        if item is None:
            return None
        properties = item.get("properties")
        found = properties if isinstance(properties, dict) else {}
        is_same_time = self.is_shared and found.get("created") == self.created
        if found.get("mosaic:digest") == self.digest and (is_same_time or not self.overwrite):
            return item
        if self.overwrite:
            return None
        msg = f"{self.item_url} exists and was made from other inputs, another configuration or another version; {_ADVICE}"
        raise ExistsError(msg)

    def check(self) -> dict[str, Any] | None:
        """The Item, where a previous run published it; None where this run may publish.

        Raises
        ------
        ExistsError
            There is another Item, or an unfinished run with other inputs or another configuration has locked the folder, or
            somebody else's file has one of the names.
        ConfigError
            Something has one of the names that is no file.
        InputError
            Nothing may be written there.
        StorageError
            Storage or the network failed.
        """
        urls = [self.url(path) for path in (LOCK, *self.paths)]
        for url in (self.item_url, *urls):
            check_kind("--output", url)
        if not self.overwrite:
            item = self.find_item()
            if item is not None:
                return item
            is_locked = self.store.exists(urls[0])
            if is_locked and self.store.read_bytes(urls[0], max_bytes=_MAX_ITEM_BYTES) != self.lock.encode():
                raise ExistsError(_describe_leftover(urls[0]))
            foreign = None if is_locked else next(filter(self.store.exists, urls[1:]), None)
            if foreign is not None:  # the lock is written before all else
                raise ExistsError(_describe_leftover(foreign))
        self.store.check_writable(self.item_url)
        return None


def is_outside(path: str) -> bool:
    """Whether an artifact's path is absolute: the user named its place."""
    return path.startswith("/") or "://" in path


def check_destination(url: str) -> None:
    """Refuse a destination that cannot be written, as far as that can be told without writing.

    Raises
    ------
    ConfigError
        It is read only, of an unknown kind, or a local place where no folder can be made.
    """
    place = parse_writable_url(url)
    if place.is_local:
        check_folder(Path(place.path).absolute(), f"--output {url}")


def lock_folder(destination: Destination) -> frozenset[str]:
    """Lock the folder, before anything else is published there.

    When a previous result is replaced, its Item goes first, so that no Item ever names files of another run.

    Returns
    -------
    Paths of the files that the replaced Item named.

    Raises
    ------
    ExistsError
        Another unfinished run has locked it, or this one is finished.
    StorageError
        Storage or the network failed.
    """
    if destination.overwrite and destination.find_item() is not None:
        msg = f"{destination.item_url} was published meanwhile"
        raise ExistsError(msg)
    previous = _remove_item(destination) if destination.overwrite else frozenset()
    url, lock = destination.url(LOCK), destination.lock.encode()
    try:
        destination.store.write_bytes(url, lock, overwrite=destination.overwrite, content_type="application/yaml")
    except ExistsError as error:
        raise ExistsError(_describe_leftover(url)) from error
    return previous


def publish_raster(destination: Destination, path: str, spec: CogSpec, blocks: TileSource) -> Written:
    """Write a COG to its place as it is assembled; a file whose place the user named replaces what is there.

    Returns
    -------
    Its size and digest.

    Raises
    ------
    ExistsError
        Something else has the name.
    StorageError
        Storage or the network failed.
    """
    url, layout = destination.url(path), plan_layout(spec, blocks)
    message = f"writing {url} ({layout.size / 1e6:.1f} MB)"
    log_event(_LOGGER, "assembling", message, bytes=layout.size, url=redact_url(url))
    try:
        return destination.store.write_stream(
            url,
            read_ahead(iter_cog(spec, blocks)),
            overwrite=destination.overwrite or is_outside(path),
            content_type=MEDIA_TYPE,
            largest=layout.size,
        )
    except ExistsError as error:
        raise ExistsError(_describe_leftover(url)) from error


def publish(
    destination: Destination,
    artifacts: Sequence[ArtifactFile],
    copies: Sequence[Copy],
    item: dict[str, Any],
    *,
    threads: int,
    previous: frozenset[str] = frozenset(),
) -> None:
    """Publish everything that is not published yet, the Item last.

    Files whose places the user named replace what is there.

    Parameters
    ----------
    previous
        Paths of the files of the result that is replaced (:func:`lock_folder`); those that the new one has not are removed.

    Raises
    ------
    ExistsError
        Something else has one of the names; whatever was published before that is complete, and no Item was written.
    StorageError
        Storage or the network failed.
    """
    waiting = [file for file in artifacts if not file.is_published]
    size = sum(file.artifact.size for file in waiting)
    message = f"publishing {len(waiting)} files ({size / 1e6:.1f} MB) in {destination.folder}"
    log_event(_LOGGER, "publishing", message, files=len(waiting), bytes=size)
    _upload_all(destination, waiting, threads)
    for copy in copies:
        destination.store.upload_file(copy.file, copy.url, overwrite=True)
    for path in sorted(previous - {file.artifact.path for file in artifacts}):
        _remove(destination, path)
    text = render_item(item)
    destination.store.write_bytes(
        destination.item_url, text.encode(), overwrite=destination.overwrite, content_type="application/geo+json"
    )


def _upload_all(destination: Destination, products: Sequence[ArtifactFile], threads: int) -> None:
    """Upload the lock, then all else at once; the largest file from this thread, which a signal interrupts."""
    first, *others = sorted(products, key=lambda product: product.artifact.path != LOCK)
    _upload(destination, first)
    others.sort(key=lambda product: product.artifact.size)
    at_once = max(threads - 1, 0)
    pool = ThreadPoolExecutor(max_workers=max(at_once, 1), thread_name_prefix="upload")
    try:
        waiting = [pool.submit(_upload, destination, product) for product in others[:-1]] if at_once else []
        for product in others[-1:] if at_once else others:
            _upload(destination, product)
        for done in waiting:
            done.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _upload(destination: Destination, product: ArtifactFile) -> None:
    artifact = product.artifact
    url = destination.url(artifact.path)
    try:
        destination.store.upload_file(
            product.file,
            url,
            overwrite=destination.overwrite or is_outside(artifact.path),
            content_type=artifact.media_type,
            written=Written(size=artifact.size, sha256=artifact.sha256),
        )
    except ExistsError as error:
        raise ExistsError(_describe_leftover(url)) from error


def _describe_leftover(url: str) -> str:
    return (
        f"{url} exists with other content and there is no Item beside it: an unfinished run with other inputs, another "
        f"configuration or another version left it; {_ADVICE}"
    )


def _read_item(destination: Destination) -> dict[str, Any] | None:
    """The Item, {} where the object is not one, None where there is no object."""
    if not destination.store.exists(destination.item_url):
        return None
    try:
        item = json.loads(destination.store.read_bytes(destination.item_url, max_bytes=_MAX_ITEM_BYTES))
    except ValueError:
        return {}
    return item if isinstance(item, dict) else {}


def _remove_item(destination: Destination) -> frozenset[str]:
    """Remove the Item that is about to be replaced and tell which files it named, if a run wrote it."""
    item = _read_item(destination)
    if item is None:
        return frozenset()
    _remove(destination, f"{destination.item_id}.json")
    properties = item.get("properties")
    if not isinstance(properties, dict) or properties.get("mosaic:digest") is None:
        return frozenset()
    hrefs = (str(asset.get("href", "")) for asset in item.get("assets", {}).values())
    paths = (unquote(href.removeprefix("./")) for href in hrefs if href.startswith("./"))
    return frozenset(path for path in paths if not is_outside(path))  # what lies elsewhere is not ours to remove


def _remove(destination: Destination, path: str) -> None:
    """Remove a file below the folder; one that is gone already, or whose name leads out of it, is left alone."""
    with suppress(ConfigError):
        destination.store.remove(destination.url(path))
