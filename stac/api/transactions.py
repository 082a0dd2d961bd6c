"""Create or replace Items and Collections in a STAC API, through the Transactions extension."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import quote

from processor.errors import ExistsError, InputError
from stac.api.session import Answer, ApiSession
from stac.hrefs import is_absolute
from stac.links import find_self, list_links, make_absolute, make_link

_CLASSES: Final[Mapping[str, tuple[str, ...]]] = {
    "Items": ("/ogcapi-features/extensions/transaction", "/conf/simpletx", "/conf/create-replace-delete"),
    "Collections": ("/collections/extensions/transaction",),
}
_OWN_LINKS: Final = frozenset({"self", "root", "parent", "collection", "items", "item", "child"})  # the API makes its own
_DONE: Final = frozenset({200, 201, 202, 204})
_OK: Final = 200
_MISSING: Final = frozenset({404, 410})
_CONFLICT: Final = 409
_DIGEST: Final = "mosaic:digest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """Result of a post."""

    href: str
    """URL of the Item or Collection in the API."""
    outcome: Literal["created", "replaced", "unchanged"]
    """"unchanged" if the API had it already."""


def post_item(session: ApiSession, item: Mapping[str, Any], *, collection: str, overwrite: bool) -> Posted:
    """Create an Item in a STAC API; posting it again changes nothing.

    The Item gets absolute hrefs, the id of the Collection, and a ``canonical`` link to the published Item. Links that the API
    makes itself are left out.

    Parameters
    ----------
    session
        Of the API.
    item
        As published, with a self link; not changed.
    collection
        Id of the Collection in the API.
    overwrite
        Whether an Item with the same id and other content is replaced.

    Raises
    ------
    InputError
        The API has no transactions or not this Collection, or it refuses the Item or the token.
    ExistsError
        The API has an Item with the same id and other content.
    StorageError
        The API or the network failed at every attempt.
    ValueError
        The Item has no self link, so that its hrefs cannot be absolute.
    """
    body = {**_prepare(item), "collection": collection}
    check_transactions(session, "Items")
    folder = f"/collections/{quote(collection, safe='')}"
    path = f"{folder}/items/{quote(str(item['id']), safe='')}"
    href = f"{session.name}{path}"
    answer = session.request("POST", f"{folder}/items", body)
    if answer.status in _DONE:
        return Posted(href=href, outcome="created")
    if answer.status in _MISSING:
        msg = f"{session.name} has no Collection {collection!r}: create it there, or name one that it has with --collection"
        raise InputError(msg)
    if answer.status != _CONFLICT:
        raise InputError(_describe_refusal(session, answer, "Item", item))
    if not overwrite:
        present = session.request("GET", path)
        if present.status == _OK and _is_same(present.decode(), item):
            return Posted(href=href, outcome="unchanged")
        msg = f"{href} exists and has other content: replace it with --overwrite or choose another --item-id"
        raise ExistsError(msg)
    answer = session.request("PUT", path, body)
    if answer.status not in _DONE:
        raise InputError(_describe_refusal(session, answer, "Item", item))
    return Posted(href=href, outcome="replaced")


def post_collection(session: ApiSession, collection: Mapping[str, Any]) -> Posted:
    """Create a Collection in a STAC API; an existing one with the same id stays as it is.

    Parameters
    ----------
    session
        Of the API.
    collection
        A STAC Collection; not changed.

    Raises
    ------
    InputError, StorageError
        As :func:`post_item` does.
    """
    absolute = make_absolute(collection)
    absolute["links"] = [link for link in list_links(absolute) if link.get("rel") not in _OWN_LINKS]
    path = f"/collections/{quote(str(collection['id']), safe='')}"
    href = f"{session.name}{path}"
    if session.request("GET", path).status == _OK:
        return Posted(href=href, outcome="unchanged")
    check_transactions(session, "Collections")
    answer = session.request("POST", "/collections", absolute)
    if answer.status == _CONFLICT:  # another run was faster
        return Posted(href=href, outcome="unchanged")
    if answer.status not in _DONE:
        raise InputError(_describe_refusal(session, answer, "Collection", collection))
    return Posted(href=href, outcome="created")


def _prepare(item: Mapping[str, Any]) -> dict[str, Any]:
    """The Item as it is sent."""
    origin = find_self(item)
    absolute = make_absolute(item)
    relative = [key for key, asset in absolute["assets"].items() if not is_absolute(str(asset.get("href")))]
    if origin is None or relative:
        msg = f"Item {item.get('id')!r} has no self link, so that the hrefs of {relative} cannot be made absolute"
        raise ValueError(msg)
    links = [link for link in list_links(absolute) if link.get("rel") not in _OWN_LINKS]
    return {**absolute, "links": [make_link("canonical", origin) | {"type": "application/geo+json"}, *links]}


def check_transactions(session: ApiSession, what: Literal["Items", "Collections"]) -> None:
    """Check that the API declares transactions on its landing page.

    Raises
    ------
    InputError, StorageError
        As :func:`post_item` does.
    """
    answer = session.request("GET", "")
    landing = answer.decode()
    declared = landing.get("conformsTo") if isinstance(landing, Mapping) else None
    if answer.status != _OK or not isinstance(declared, list):
        found = f"status {answer.status}{answer.reason}" if answer.status != _OK else "no conformsTo"
        msg = f"{session.name} is not the landing page of a STAC API ({found}): correct the URL of --post"
        raise InputError(msg)
    classes = _CLASSES[what]
    if not any(isinstance(uri, str) and uri.endswith(classes) for uri in declared):
        msg = f"{session.name} does not take {what}: its conformsTo lacks {classes[0]}; give an API with transactions to --post"
        raise InputError(msg)


def _is_same(present: object, item: Mapping[str, Any]) -> bool:
    """Whether the API's Item has the same inputs and configuration, and the same files at the same hrefs."""
    return isinstance(present, Mapping) and _identify(present) == _identify(make_absolute(item))


def _identify(item: Mapping[str, Any]) -> object:
    properties, assets = item.get("properties"), item.get("assets")
    if not isinstance(properties, Mapping) or not isinstance(assets, Mapping):
        return None
    files = {
        key: (asset.get("href"), asset.get("file:checksum")) for key, asset in assets.items() if isinstance(asset, Mapping)
    }
    return properties.get(_DIGEST), files


def _describe_refusal(session: ApiSession, answer: Answer, what: str, document: Mapping[str, Any]) -> str:
    return f"{session.name} refuses the {what} {document.get('id')!r} with status {answer.status}{answer.reason}: correct it"
