"""What a run leaves at its destination: looked for, claimed, published, the Item last.

A name that exists is complete (:mod:`processor.storage.store`), and where there is an Item, all that it names is there too.
The first file that a run publishes is its configuration with the digest of inputs and configuration. It is the claim: a run
that would mix its files with those of another is refused before it publishes anything, and since files are created once, that
holds between processes and machines.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
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
from processor.publish.artifacts import CLAIM, Product
from processor.publish.output_paths import Copy
from processor.storage.store import Store, Written, join_url, redact_url
from processor.storage.url import parse_writable_url

__all__ = ["Destination", "begin", "check_claim", "check_destination", "find_published", "publish", "publish_raster"]

_LOGGER = logging.getLogger(__name__)
_MAX_ITEM_BYTES: Final = 256 * 2**20
_ADVICE: Final = "replace it with --overwrite or choose another --item-id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a run publishes."""

    store: Store
    """Reads and writes what is published."""
    folder: str
    """Path or URL of everything that is published."""
    item_id: str
    """Id of the Item."""
    overwrite: bool
    """Whether what exists there may be replaced."""

    @property
    def item_url(self) -> str:
        """Path or URL of the Item."""
        return self.url(f"{self.item_id}.json")

    @property
    def absolute_item_url(self) -> str:
        """The same, from the root of the file system where it is local."""
        return self.item_url if "://" in self.item_url else str(Path(self.item_url).absolute())

    def url(self, path: str) -> str:
        """Path or URL of a file, given relative to the folder or absolute."""
        if is_outside(path):
            return path
        return join_url(self.folder, *path.split("/"))


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
    if place.protocol != "file":
        return
    folder = Path(place.path).absolute()
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        reason = "is not a folder" if not nearest.is_dir() else "cannot be written"
        msg = f"--output {url}: {nearest} {reason}; name a folder that can be written"
        raise ConfigError(msg)


def find_published(destination: Destination, digest: str) -> dict[str, Any] | None:
    """The Item of a former run with the same inputs and configuration, or None where there is no Item.

    Raises
    ------
    ExistsError
        There is another Item.
    StorageError
        Storage or the network failed.
    """
    item = _read_item(destination)
    if item is None:
        return None
    if _find_digest(item) != digest:
        msg = (
            f"{destination.item_url} exists and was made from other inputs, another configuration or another version; {_ADVICE}"
        )
        raise ExistsError(msg)
    return item


def check_claim(destination: Destination, claim: str) -> None:
    """Refuse a folder that an unfinished run with other inputs or another configuration has claimed.

    Parameters
    ----------
    claim
        The configuration file that this run will publish.

    Raises
    ------
    ExistsError
        The folder holds another one.
    """
    url, expected = destination.url(CLAIM), claim.encode()
    if destination.store.exists(url) and destination.store.read_bytes(url, max_bytes=_MAX_ITEM_BYTES) != expected:
        raise ExistsError(_describe_leftover(url))


def begin(
    destination: Destination, claim: str, *, is_own: Callable[[dict[str, Any]], bool] = lambda _: False
) -> frozenset[str]:
    """Claim the folder, before anything else is published there.

    When a former result is replaced, its Item goes first, so that no Item ever names files of another run.

    Parameters
    ----------
    claim
        The configuration file that this run publishes.
    is_own
        Tells an Item that this very run has published, by another process that does the same: it is not replaced.

    Returns
    -------
    Paths of the files that the former Item named.

    Raises
    ------
    ExistsError
        Another unfinished run has claimed it, or this one is finished.
    StorageError
        Storage or the network failed.
    """
    item = _read_item(destination) if destination.overwrite else None
    if item is not None and is_own(item):
        msg = f"{destination.item_url} was published meanwhile"
        raise ExistsError(msg)
    former = _remove_item(destination) if destination.overwrite else frozenset()
    url = destination.url(CLAIM)
    try:
        destination.store.write_bytes(url, claim.encode(), overwrite=destination.overwrite, content_type="application/yaml")
    except ExistsError as error:
        raise ExistsError(_describe_leftover(url)) from error
    return former


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
    products: Sequence[Product],
    copies: Sequence[Copy],
    item: dict[str, Any],
    *,
    threads: int,
    former: frozenset[str] | None = None,
) -> None:
    """Publish everything that is not published yet, the Item last.

    Files whose places the user named replace what is there.

    Parameters
    ----------
    former
        Paths of the files of the result that is replaced, as :func:`begin` found them, which has made way; those that the new
        one does not have are removed. None: :func:`begin` was not called.

    Raises
    ------
    ExistsError
        Something else has one of the names; whatever was published before that is complete, and no Item was written.
    StorageError
        Storage or the network failed.
    """
    waiting = [product for product in products if not product.is_published]
    size = sum(product.artifact.size for product in waiting)
    message = f"publishing {len(waiting)} files ({size / 1e6:.1f} MB) in {destination.folder}"
    log_event(_LOGGER, "publishing", message, files=len(waiting), bytes=size)
    if former is None:
        former = _remove_item(destination) if destination.overwrite else frozenset()
    _upload_all(destination, waiting, threads)
    for copy in copies:
        destination.store.upload_file(copy.file, copy.url, overwrite=True)
    for path in sorted(former - {product.artifact.path for product in products}):
        _remove(destination, path)
    text = json.dumps(item, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    destination.store.write_bytes(
        destination.item_url, text.encode(), overwrite=destination.overwrite, content_type="application/geo+json"
    )


def _upload_all(destination: Destination, products: Sequence[Product], threads: int) -> None:
    """Upload the claim, then all else at once; the largest file from this thread, which a signal interrupts."""
    first, *others = sorted(products, key=lambda product: product.artifact.path != CLAIM)
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


def _upload(destination: Destination, product: Product) -> None:
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


def _find_digest(item: dict[str, Any]) -> str | None:
    properties = item.get("properties")
    return properties.get("mosaic:digest") if isinstance(properties, dict) else None


def _remove_item(destination: Destination) -> frozenset[str]:
    """Remove the Item that is about to be replaced and tell which files it named, if a run wrote it."""
    item = _read_item(destination)
    if item is None:
        return frozenset()
    _remove(destination, f"{destination.item_id}.json")
    if _find_digest(item) is None:
        return frozenset()
    hrefs = (str(asset.get("href", "")) for asset in item.get("assets", {}).values())
    paths = (unquote(href.removeprefix("./")) for href in hrefs if href.startswith("./"))
    return frozenset(path for path in paths if not is_outside(path))  # what lies elsewhere is not ours to remove


def _remove(destination: Destination, path: str) -> None:
    """Remove a file below the folder; one that is gone already, or whose name leads out of it, is left alone."""
    with suppress(ConfigError):
        url = destination.url(path)
        destination.store.remove(url)
