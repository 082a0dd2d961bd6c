"""Finding scenes: a search on a STAC API, paged to its end; what it answers is no more trusted than any other document."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from pystac.errors import STACError, STACTypeError
from pystac.utils import str_to_datetime
from pystac_client import Client
from pystac_client.conformance import ConformanceClasses
from pystac_client.errors import ClientTypeError
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO

from processor.errors import InputError
from processor.model import Finding
from stac.api.request import TOKEN, SearchRequest
from stac.api.session import ApiSession, Patience, is_same_api
from stac.documents import clean_text, parse_features
from stac.hrefs import resolve_href, show_href

MAX_SEARCH_BYTES: Final = 512 << 20
_PAGE: Final = 100  # Items; larger pages exceed what some APIs can answer
_IDLE_PAGES: Final = 8
_METHODS: Final = frozenset({"GET", "POST"})
_PARSING: Final = (STACError, STACTypeError, ClientTypeError, APIError, KeyError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Items found by a search."""

    document: dict[str, Any]
    """ItemCollection of the Items, each once, in order."""
    bases: tuple[str, ...]
    """URL of each Item; its relative hrefs are resolved against it."""
    findings: tuple[Finding, ...]
    """Warning where the API has more Items than were taken."""


def search_items(
    request: SearchRequest,
    *,
    max_scenes: int,
    patience: Patience,
    allow_local_files: bool,
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

    Raises
    ------
    ConfigError
        If the URL is not that of an API.
    InputError
        If the API does not support the search, refuses it, or answers anything but Items.
    StorageError
        If the API or the network failed at every attempt.
    """
    limit = request.max_items or max_scenes
    session = ApiSession(
        request.api,
        option="--api",
        token=os.environ.get(TOKEN, "").strip() or None,
        token_name=TOKEN,
        patience=patience,
        max_bytes=MAX_SEARCH_BYTES,
    )
    shown = session.name
    try:
        client = Client.from_file(request.api, stac_io=_ApiIO(session))
        _check_conformance(client, request, shown)
        features, matched = _read_pages(_search_pages(client, request, limit + 1), limit + 1)
    except (*_PARSING, RecursionError) as error:
        msg = f"{shown} does not answer as a STAC API does ({type(error).__name__}: {clean_text(error)}): check --api"
        raise InputError(msg) from error
    finally:
        session.close()
    if not features:
        msg = f"the search on {shown} finds no Item: widen it"
        raise InputError(msg)
    taken = sorted(features[:limit], key=_order)
    for field in reversed(request.sortby):
        taken.sort(key=_order_by(field.lstrip("+-")), reverse=field.startswith("-"))
    findings = (_report_rest(shown, limit, matched),) if len(features) > limit else ()
    bases = tuple(_find_base(feature, request.api, allow_local_files=allow_local_files) for feature in taken)
    return Found(document={"type": "FeatureCollection", "features": taken}, bases=bases, findings=findings)


def _check_conformance(client: Client, request: SearchRequest, shown: str) -> None:
    """Check that the API declares all that the search needs: an API without it tends to ignore it and find too much."""
    if not client.has_conforms_to():
        msg = f"{shown} is a static catalogue, not a STAC API (it has no conformsTo): give its URL as INPUT instead of --api"
        raise InputError(msg)
    uris = [str(uri) for uri in client.get_conforms_to()]
    client.set_conforms_to(uris)
    wanted: list[tuple[str, bool]] = [("item-search", client.conforms_to(ConformanceClasses.ITEM_SEARCH))]
    if request.filter is not None:
        language = "cql2-text" if isinstance(request.filter, str) else "cql2-json"
        wanted.append(("item-search#filter (--filter)", client.conforms_to(ConformanceClasses.FILTER)))
        wanted.append((f"{language} (--filter)", any(uri.endswith(f"/{language}") for uri in uris)))
    if request.sortby:
        wanted.append(("item-search#sort (--sortby)", client.conforms_to(ConformanceClasses.SORT)))
    missing = [name for name, is_there in wanted if not is_there]
    if missing:
        msg = f"the STAC API {shown} does not say that it conforms to {', '.join(missing)}: search without, or use another API"
        raise InputError(msg)


def _search_pages(client: Client, request: SearchRequest, limit: int) -> Iterator[Mapping[str, Any]]:
    """Pages of the answer; CQL2 text is sent by GET and CQL2 JSON by POST, as the extension requires."""
    methods = {str(link.extra_fields.get("method") or "GET") for link in client.links if link.rel == "search"}
    preferred = "GET" if isinstance(request.filter, str) else "POST"
    method = preferred if preferred in methods or not methods else min(methods)
    language = None if request.filter is None else "cql2-text" if isinstance(request.filter, str) else "cql2-json"
    search = client.search(
        method=method,
        max_items=limit,
        limit=_PAGE,
        collections=list(request.collections) or None,
        ids=list(request.ids) or None,
        bbox=None if request.bbox is None else list(request.bbox),
        datetime=request.datetime,
        intersects=None if request.intersects is None else dict(request.intersects),
        filter=request.filter if request.filter is None or isinstance(request.filter, str) else dict(request.filter),
        filter_lang=language,
        sortby=list(request.sortby) or None,
    )
    return search.pages_as_dicts()


def _read_pages(pages: Iterator[Mapping[str, Any]], limit: int) -> tuple[list[Mapping[str, Any]], int | None]:
    """Items of the pages, each once, up to the limit; and the number of all matches if the API says so."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    matched: int | None = None
    idle = 0
    for page in pages:
        before = len(found)
        if matched is None:
            context = page.get("context")
            number = page.get("numberMatched", context.get("matched") if isinstance(context, Mapping) else None)
            matched = number if isinstance(number, int) and not isinstance(number, bool) else None
        for feature in parse_features(page):
            if not isinstance(feature, Mapping) or not isinstance(feature.get("id"), str):
                msg = "a feature that it found is no Item"
                raise TypeError(msg)
            found.setdefault((str(feature.get("collection")), feature["id"]), feature)
        if len(found) >= limit:
            break
        idle = 0 if len(found) > before else idle + 1  # single pages may be empty, but the answer must end
        if idle > _IDLE_PAGES:
            msg = f"{idle} pages in a row, each with a link to a next one, bring nothing new"
            raise ValueError(msg)
    return list(found.values()), matched


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


class _ApiIO(StacApiIO):
    """Sends pystac-client's requests through :class:`ApiSession`, with its limits, repetitions and errors."""

    def __init__(self, session: ApiSession) -> None:
        super().__init__()
        self._api = session

    def read_text(self, source: Any, *args: Any, **kwargs: Any) -> str:
        """Read a link or a URL; a local path is refused."""
        if isinstance(source, str) and not source.lower().startswith(("http://", "https://")):
            msg = f"{show_href(source)} is no http or https URL"
            raise InputError(msg)
        return str(super().read_text(source, *args, **kwargs))

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """Send a request; the text of the answer.

        Raises
        ------
        InputError
            If the API refuses the request, or the answer is too large.
        StorageError
            If the API or the network failed at every attempt.
        """
        method = (method or "GET").upper()
        if method not in _METHODS or not href.lower().startswith(("http://", "https://")):
            msg = f"it asks to {clean_text(method)} {show_href(href)}"
            raise ValueError(msg)
        content: dict[str, Any] = {"document": parameters} if method == "POST" else {"parameters": parameters}
        # A link may ask for headers; elsewhere they could make this request one that only this machine may send.
        content["headers"] = headers if is_same_api(self._api.root, href) else None
        answer = self._api.send(method, href, **content)
        if not 200 <= answer.status < 300:
            msg = f"the STAC API {show_href(href)} refuses the request with status {answer.status}{answer.reason}: check --api"
            raise InputError(msg)
        return answer.body.decode("utf-8", errors="replace")
