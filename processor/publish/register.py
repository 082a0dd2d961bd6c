"""Where a published Item is made known: in its Collection, in the catalogue of its folder, in a STAC API.

All of that comes after the Item, in this order, and does nothing where it was done before. So a run that was interrupted here
is completed by the same command: it finds its Item published, and makes it known. A mosaic that does not meet the thresholds
asked for (:mod:`processor.publish.thresholds`) is published, for its report to be looked at, but never made known.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from processor.config import Config
from processor.errors import ConfigError, ExistsError, InputError
from processor.process.logs import log_event
from processor.publish.artifacts import REPORT
from processor.publish.conflicts import check_kind
from processor.publish.thresholds import Threshold, check_thresholds
from processor.redaction import redact_url
from processor.storage.conditional import MAX_BYTES, read_version, swap_bytes
from processor.storage.store import Store
from processor.storage.url import absolute_path, join_url, parse_writable_url
from stac.api.request import POST_TOKEN, TOKEN, SearchRequest
from stac.api.session import ApiSession, Patience, is_same_api
from stac.api.transactions import check_transactions, post_collection, post_item
from stac.documents import is_item_id
from stac.hrefs import publish_href
from stac.links import absolute_href, list_links
from stac.write.catalog import CATALOG, check_catalog, make_catalog
from stac.write.collection import check_collection, extend_collection, make_collection
from stac.write.item import Parent
from stac.write.update import update_document

_LOGGER = logging.getLogger(__name__)
_COLLECTION: Final = "collection.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """Where an Item is made known besides its own folder; None: not there."""

    collection: str | None = None
    """Path or URL of the Collection that it belongs to, absolute."""
    collection_id: str | None = None
    """Id of that Collection, or None."""
    catalog: str | None = None
    """Path or URL of the catalogue that links to it, absolute."""
    root: str | None = None
    """Path or URL of what is above the Collection, absolute."""
    api: str | None = None
    """Landing page of the STAC API that gets it."""
    thresholds: tuple[Threshold, ...] = ()
    """What its mosaic has to meet before."""
    token: str | None = field(default=None, repr=False)
    """Bearer token of the API, or None."""
    token_name: str = POST_TOKEN
    """Environment variable that the token is from."""

    def list_places(self) -> list[tuple[str | None, str]]:
        """Paths and URLs of the documents that are extended, and what they are."""
        return [(self.root, "what is above them"), (self.catalog, "the catalogue"), (self.collection, "the Collection")]

    @property
    def parent(self) -> Parent | None:
        """What the Item says that it belongs to."""
        if self.collection is not None:
            return Parent(href=self.collection, collection=self.collection_id, root_href=self.root)
        return None if self.catalog is None else Parent(href=self.catalog)


def plan_registration(
    *,
    destination: str,
    collection: str | None,
    post: str | None,
    inputs: tuple[str, ...] | SearchRequest,
    config: Config,
    store: Store,
    thresholds: tuple[Threshold, ...] = (),
) -> Registration:
    """Find out where the Item will be made known, and whether that can be, before any pixel is read.

    Parameters
    ----------
    destination
        Folder path or URL of all Items.
    collection
        The path or URL of a Collection (it ends in ``.json``), or the id of the one in ``destination``, which is made if need
        be.
    post
        Landing page of a STAC API.
    inputs
        The run's; a token for the API that is searched is no token for another one.
    thresholds
        What the mosaic has to meet.

    Raises
    ------
    ConfigError
        What is asked for makes no sense.
    InputError
        A Collection that cannot be extended, or an API that does not take Items.
    StorageError
        Storage or the network failed.
    """
    place, name, root = _find_collection(destination, collection, store) if collection is not None else (None, None, None)
    catalog = absolute_path(join_url(destination, CATALOG)) if config.output.catalog else None
    if catalog is not None:
        check_kind("output.catalog", catalog)
        present, _ = _read(store, catalog)
        if present is not None:
            check_catalog(present, href=redact_url(catalog))
    token_name = POST_TOKEN
    if not os.environ.get(POST_TOKEN) and post is not None:
        shared = not isinstance(inputs, SearchRequest) or is_same_api(inputs.api, post)
        token_name = TOKEN if shared and os.environ.get(TOKEN) else POST_TOKEN
    registration = Registration(
        collection=place,
        collection_id=name,
        catalog=catalog,
        root=root or catalog,
        api=post,
        thresholds=thresholds,
        token=os.environ.get(token_name, "").strip() or None,
        token_name=token_name,
    )
    if post is not None:
        if name is None:
            msg = f"--post {redact_url(post)} needs --collection: an Item belongs to a Collection of the API"
            raise ConfigError(msg)
        with closing(_open_session(registration, store)) as session:
            check_transactions(session, "Items")
    return registration


def _find_collection(destination: str, collection: str, store: Store) -> tuple[str, str, str | None]:
    """Find the place of the Collection, its id, and what it says is above it (None where that is itself)."""
    is_id = not collection.lower().endswith(".json")
    if is_id and not is_item_id(collection):
        msg = (
            f"--collection {collection!r} is neither the path or URL of a Collection (.json) nor an id: use letters, "
            "digits, '.', '_' and '-', beginning with a letter or a digit, at most 200"
        )
        raise ConfigError(msg)
    if not is_id:
        parse_writable_url(collection)
    place = absolute_path(join_url(destination, _COLLECTION) if is_id else collection)
    check_kind("--collection", place)
    present, _ = _read(store, place)
    if present is None:
        if is_id:
            return place, collection, None
        msg = f"--collection {redact_url(place)} does not exist: give the id of a Collection, to make it in --output"
        raise ConfigError(msg)
    check_collection(present)
    if is_id and present["id"] != collection:
        msg = f"{redact_url(place)} is the Collection {present['id']!r}, not {collection!r}: choose another --output"
        raise ConfigError(msg)
    base = publish_href(place)
    hrefs = [link["href"] for link in list_links(present) if link.get("rel") == "root" and isinstance(link.get("href"), str)]
    root = absolute_href(hrefs[0], base=base) if hrefs else base
    return place, str(present["id"]), None if root == base else root


def check_belonging(item: Mapping[str, Any], registration: Registration, *, item_url: str) -> None:
    """Check that a published Item says that it belongs where it is to be made known.

    Raises
    ------
    ExistsError
        It was published for another Collection, or for none.
    """
    wanted = registration.collection_id
    if wanted is not None and item.get("collection") != wanted:
        of = f"of the Collection {item['collection']!r}" if item.get("collection") else "of no Collection"
        msg = f"{item_url} exists as an Item {of}, not of {wanted!r}: replace it with --overwrite or choose another --item-id"
        raise ExistsError(msg)


def register(registration: Registration, item: Mapping[str, Any], *, folder: str, store: Store, overwrite: bool) -> None:
    """Make a published Item known wherever that was asked for, if its mosaic is good enough.

    Parameters
    ----------
    item
        As published, with a self link.
    folder
        Path or URL of everything that was published with it.
    overwrite
        Whether an Item of the same id in the API may be replaced.

    Raises
    ------
    QualityError
        The mosaic does not meet the thresholds.
    ExistsError
        The API has another Item of this id.
    InputError
        What is to be extended is no Collection or Catalog, access is denied, or the API refuses.
    StorageError
        Storage, the network or the API failed for now.
    """
    if registration.thresholds and "report" in item["assets"]:
        url = join_url(folder, REPORT)
        summary = _decode(store.read_bytes(url, max_bytes=MAX_BYTES), url).get("summary", {})
        check_thresholds(registration.thresholds, summary, report=redact_url(url))
    elif registration.thresholds:  # nothing is known of the mosaic
        check_thresholds(registration.thresholds, {}, report=f"{redact_url(folder)}, which has no report")
    extended: dict[str, Any] | None = None
    if registration.collection is not None and registration.collection_id is not None:
        extended = _update(store, registration.collection, partial(_extend, registration, item))
        _log("collection-extended", f"{redact_url(registration.collection)} has the Item", registration.collection)
    if registration.catalog is not None:
        change = partial(_list_item, registration, item)
        _update(store, registration.catalog, change)
        _log("catalog-extended", f"{redact_url(registration.catalog)} leads to the Item", registration.catalog)
    if registration.api is not None and extended is not None:
        with closing(_open_session(registration, store)) as session:
            post_collection(session, extended)
            posted = post_item(session, item, collection=str(registration.collection_id), overwrite=overwrite)
        _log(f"item-{posted.outcome}", f"{posted.href} is {posted.outcome}", posted.href)


def _extend(registration: Registration, item: Mapping[str, Any], present: dict[str, Any] | None) -> dict[str, Any]:
    place, name = str(registration.collection), str(registration.collection_id)
    if present is None:
        return make_collection(item, name, href=place, root_href=registration.root)
    if present.get("id") != name:
        msg = f"{redact_url(place)} is the Collection {present.get('id')!r} now, not {name!r}: choose another --collection"
        raise InputError(msg)
    return extend_collection(present, item, href=place)


def _list_item(registration: Registration, item: Mapping[str, Any], present: dict[str, Any] | None) -> dict[str, Any]:
    own = next(link["href"] for link in list_links(item) if link.get("rel") == "self")
    return make_catalog(
        own,
        href=str(registration.catalog),
        catalog=present,
        item_title=item["properties"].get("title"),
        collection_href=registration.collection,
    )


def _open_session(registration: Registration, store: Store) -> ApiSession:
    return ApiSession(
        str(registration.api),
        option="--post",
        token=registration.token,
        token_name=registration.token_name,
        patience=Patience(retries=store.access.retries, timeout=store.access.timeout),
    )


def _update(store: Store, url: str, change: Callable[[dict[str, Any] | None], dict[str, Any]]) -> dict[str, Any]:
    """Change a document in storage without losing what another run writes into it at the same time."""

    def write(document: dict[str, Any], version: str | None) -> bool:
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        return swap_bytes(store, url, text.encode(), version, content_type="application/json")

    return update_document(
        partial(_read, store, url),
        write,
        change,
        name=redact_url(url),
    )


def _read(store: Store, url: str) -> tuple[dict[str, Any] | None, str | None]:
    data, version = read_version(store, url)
    return (None if data is None else _decode(data, url)), version


def _decode(data: bytes, url: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        msg = f"{redact_url(url)} is not JSON ({error}): choose another place"
        raise InputError(msg) from error
    if not isinstance(document, dict):
        msg = f"{redact_url(url)} is no STAC document: choose another place"
        raise InputError(msg)
    return document


def _log(event: str, message: str, href: str) -> None:
    log_event(_LOGGER, event, message, href=redact_url(href))
