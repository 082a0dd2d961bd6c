"""Finding scenes: a search on a STAC API, paged to its end; what it answers is no more trusted than any other document."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from pystac.utils import str_to_datetime
from pystac_client.item_search import ItemSearch

from processor.errors import ConfigError, InputError, NothingFoundError
from processor.model import Finding
from processor.storage.allowance import Allowance
from processor.storage.networks import Networks
from processor.storage.url import describe_html
from stac.api.abilities import Method, Plan, plan_search, read_abilities
from stac.api.pages import PageRequest, Pages, read_pages
from stac.api.request import TOKEN, SearchRequest
from stac.api.session import ApiSession, Patience, RefusedError, is_same_api
from stac.documents import describe_document
from stac.hrefs import resolve_href, show_href

_PAGE: Final = 100  # Items; larger pages exceed what some APIs can answer
_NO_METHOD: Final = frozenset({403, 405, 501})


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Items found by a search."""

    document: dict[str, Any]
    """ItemCollection of the Items, each once, in order."""
    bases: tuple[str, ...]
    """URL of each Item; its relative hrefs are resolved against it."""
    findings: tuple[Finding, ...]
    """Warnings where the API has more Items than were taken, or than it gave; a note where it did not sort them."""


def search_items(
    request: SearchRequest,
    *,
    max_scenes: int,
    patience: Patience,
    allow_local_files: bool,
    allowance: Allowance | None = None,
    find_keys: Callable[[str], Mapping[str, str]] | None = None,
    networks: Networks | None = None,
) -> Found:
    """Search a STAC API for Items, through all pages.

    Items are sorted by ``sortby`` if given, then by time (start, or datetime), collection and id, whatever order the API
    answers in. Later Items lie on top of earlier ones. The environment variable ``STAC_API_TOKEN`` is sent as bearer token,
    only to the API's own scheme, host and port.

    Parameters
    ----------
    request
        The search.
    max_scenes
        Largest number of Items where the request has no ``max_items``.
    patience
        Timeout and repetitions of requests.
    allow_local_files
        Whether the self link of an Item may be a file of this machine.
    allowance
        How much the API may answer in all, and for how long; None: there are only the bounds of a single answer.
    find_keys
        Headers with keys that a request to a URL gets; the token wins over them.
    networks
        Where requests may go besides public addresses and the API's own host.

    Raises
    ------
    ConfigError
        If the URL is not that of an API.
    NothingFoundError
        If no Item is found.
    InputError
        If the API does not support the search, refuses it, or answers anything but Items.
    StorageError
        If the API or the network failed at every attempt.
    """
    session = ApiSession(
        request.api,
        option="--api",
        token=os.environ.get(TOKEN, "").strip() or None,
        token_name=TOKEN,
        patience=patience,
        allowance=allowance,
        find_keys=find_keys,
        networks=networks,
    )
    shown = session.name
    try:
        abilities = read_abilities(
            _read(session, PageRequest(method="GET", href=request.api, parameters={})), request, root=session.root, shown=shown
        )
        methods = _choose_methods(request, abilities.searches, shown)
        plan = plan_search(request, abilities, methods, shown=shown)
        # Where the API cannot sort, the first of all are only known once all are here.
        limit = max_scenes if request.max_items is None or (request.sortby and not plan.sorts) else request.max_items
        try:
            found = _search(session, request, plan, abilities.searches[plan.method], limit, shown)
        except RefusedError as error:
            if plan.method != "POST" or "GET" not in methods or error.status not in _NO_METHOD:
                raise
            plan = plan_search(request, abilities, ("GET",), shown=shown)
            found = _search(session, request, plan, abilities.searches["GET"], limit, shown)
    finally:
        session.close()
    if not found.features and found.matched:
        msg = f"the search on {shown} matches {found.matched} Items, it says, and gives none: try --method or --page-size"
        raise InputError(msg)
    if not found.features:
        msg = f"the search on {shown} finds no Item: widen it"
        raise NothingFoundError(msg)
    return _arrange(found, request, plan, limit=limit, shown=shown, allow_local_files=allow_local_files)


def _choose_methods(request: SearchRequest, searches: Mapping[Method, str], shown: str) -> Sequence[Method]:
    """Methods that the search may be sent by."""
    if request.method is None:
        return tuple(searches)
    if request.method not in searches:
        msg = f"--method {request.method}: the STAC API {shown} offers {' and '.join(searches)}"
        raise ConfigError(msg)
    return (request.method,)


def _search(session: ApiSession, request: SearchRequest, plan: Plan, href: str, limit: int, shown: str) -> Pages:
    """All pages of the answer to a search that is sent as planned."""
    search = ItemSearch(
        href,
        method=plan.method,
        limit=min(request.page_size or _PAGE, limit + 1),
        collections=list(request.collections) or None,
        ids=list(request.ids) or None,
        bbox=None if request.bbox is None else list(request.bbox),
        datetime=request.datetime,
        intersects=None if request.intersects is None else dict(request.intersects),
        sortby=list(request.sortby) or None if plan.sorts else None,
    )
    parameters = dict(search.get_parameters())
    if plan.encoding is not None:
        is_text = isinstance(plan.filter, str)
        value = plan.filter if is_text or plan.method == "POST" else json.dumps(plan.filter, separators=(",", ":"))
        own = {"query": value} if plan.encoding == "query" else {"filter": value, "filter-lang": plan.encoding}
        parameters |= own
    first = PageRequest(method=plan.method, href=href, parameters=parameters)
    return read_pages(first, lambda page: _read(session, page), limit=limit, shown=shown)


def _read(session: ApiSession, page: PageRequest) -> Mapping[str, Any]:
    """Send a request; the object that is answered.

    Raises
    ------
    InputError
        If the API refuses the request, or the answer is too large or no JSON object.
    StorageError
        If the API or the network failed at every attempt.
    """
    content: dict[str, Any] = {("document" if page.method == "POST" else "parameters"): page.parameters or None}
    # A link may ask for headers; elsewhere they could make this request one that only this machine may send.
    content["headers"] = page.headers if is_same_api(session.root, page.href) else None
    if page.method == "POST":
        content["document"] = page.parameters
    answer = session.send(page.method, page.href, **content)
    shown = show_href(page.href)
    if not 200 <= answer.status < 300:
        msg = f"the STAC API {shown} refuses the request with status {answer.status}{answer.reason}: check --api"
        raise RefusedError(msg, answer.status)
    document = answer.decode()
    if not isinstance(document, Mapping):
        is_json = document is not None or answer.body.strip() == b"null"
        what = describe_html(answer.body) or (describe_document(document).partition(":")[0] if is_json else "no JSON")
        msg = f"{shown} does not answer as a STAC API does, with an object, but with {what}: check --api"
        raise InputError(msg)
    return document


def _arrange(found: Pages, request: SearchRequest, plan: Plan, *, limit: int, shown: str, allow_local_files: bool) -> Found:
    """Take the first Items by the wanted order, and say what was left out."""
    most = request.max_items or limit
    rest, matched = len(found.features) > limit, found.matched
    taken: list[Mapping[str, Any]] = list(found.features[:limit])
    if plan.sorts or not request.sortby:
        taken = taken[:most]
    taken.sort(key=_order)
    for field in reversed(request.sortby):
        taken.sort(key=_order_by(field.lstrip("+-")), reverse=field.startswith("-"))
    rest = rest or len(taken) > most
    taken = taken[:most]
    findings = []
    if rest:
        findings.append(_report_rest(shown, most, matched))
    elif matched is not None and matched > len(found.features):
        findings.append(_report_gap(shown, len(found.features), matched))
    if request.sortby and not plan.sorts:
        message = f"{shown} does not say that it sorts: the Items that it finds were sorted here (--sortby)."
        findings.append(Finding(severity="info", code="search-sorted-here", message=message))
    bases = tuple(_find_base(feature, request.api, allow_local_files=allow_local_files) for feature in taken)
    return Found(document={"type": "FeatureCollection", "features": taken}, bases=bases, findings=tuple(findings))


def _report_gap(shown: str, count: int, matched: int) -> Finding:
    message = (
        f"The search on {shown} matches {matched} Items, it says, and gives {count} without a link to more: scenes may be "
        "missing; try --page-size or --method, or narrow the search."
    )
    return Finding(severity="warning", code="search-incomplete", message=message)


def _report_rest(shown: str, limit: int, matched: int | None) -> Finding:
    count = f"{matched} Items" if matched is not None and matched > limit else f"more than {limit} Items"
    message = (
        f"The search on {shown} finds {count}, of which {limit} were taken: narrow the search, choose with --sortby, "
        "or raise --max-items."
    )
    return Finding(severity="warning", code="search-has-more", message=message)


def _order(feature: Mapping[str, Any]) -> tuple[datetime, str, str]:
    """Sort key: time, collection, id; Items without a time come first."""
    properties = feature.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    text = properties.get("start_datetime") or properties.get("datetime")
    moment = datetime.min.replace(tzinfo=UTC)
    with suppress(ValueError, OverflowError):  # parsing the Item reports it
        moment = str_to_datetime(text) if isinstance(text, str) else moment
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)), str(feature.get("collection")), str(feature["id"])


def _order_by(field: str) -> Callable[[Mapping[str, Any]], tuple[int, float, str]]:
    """Sort key of a field of the Item or its properties: Items without it first, then numbers, then texts."""
    name = field.removeprefix("properties.")

    def order(feature: Mapping[str, Any]) -> tuple[int, float, str]:
        properties = feature.get("properties")
        value = properties.get(name) if isinstance(properties, Mapping) else None
        value = feature.get(name) if value is None else value
        if value is None:
            return (0, 0.0, "")
        return (1, float(value), "") if isinstance(value, int | float) else (2, 0.0, str(value))

    return order


def _find_base(feature: Mapping[str, Any], api: str, *, allow_local_files: bool) -> str:
    """URL of an Item: its self link, or without a usable one the URL that every API has for its Items."""
    root = api.partition("?")[0].rstrip("/")
    links = feature.get("links")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, Mapping) and link.get("rel") == "self":
            try:
                return resolve_href(link.get("href"), base=f"{root}/", is_remote=True, allow_local_files=allow_local_files)
            except ValueError:
                break
    collection = feature.get("collection")
    return f"{root}/collections/{quote(str(collection), safe='')}/items/{quote(str(feature['id']), safe='')}"
