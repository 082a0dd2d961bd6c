"""Finding scenes: a search on a STAC API, paged to its end; what it answers is no more trusted than any other document."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

import requests
from pystac.errors import STACError, STACTypeError
from pystac.utils import str_to_datetime
from pystac_client import Client
from pystac_client.conformance import ConformanceClasses
from pystac_client.errors import ClientTypeError
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from urllib3 import Retry
from urllib3.response import BaseHTTPResponse

from processor.errors import InputError, StorageError
from processor.model import Finding
from stac.documents import clean_text, parse_features
from stac.hrefs import resolve_href, show_href
from stac.request import SearchRequest

__all__ = ["Found", "search_items"]

MAX_PAGE_BYTES: Final = 64 << 20
MAX_SEARCH_BYTES: Final = 512 << 20
_PAGE: Final = 100  # Items; larger pages exceed what some APIs can answer
_RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_DENIED: Final = frozenset({401, 403})
_LONGEST_PAUSE: Final = 60.0  # seconds, whatever Retry-After asks for
_PARSING: Final = (STACError, STACTypeError, ClientTypeError, APIError, KeyError, TypeError, ValueError, AttributeError)
_WRONG_URL: Final = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.TooManyRedirects,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search found.

    document: an ItemCollection of the Items, each once, in order.
    bases: URL of each Item, which its relative hrefs start from.
    findings: what a user should know of the search.
    """

    document: dict[str, Any]
    bases: tuple[str, ...]
    findings: tuple[Finding, ...] = ()


def search_items(
    request: SearchRequest,
    *,
    max_scenes: int,
    token: str | None = None,
    retries: int = 5,
    backoff: float = 0.5,
    timeout: float = 60.0,
    allow_local_files: bool = False,
) -> Found:
    """Search a STAC API for Items, to the last page.

    The order is that of time (start, or datetime), then collection, then id, the earliest first, whatever order the API
    answers in; with ``sortby`` it is that of these fields first. Later Items lie on top of earlier ones.

    Parameters
    ----------
    request
        What is searched for.
    max_scenes
        How many Items are taken where the request says nothing.
    token
        Sent as bearer token, but only to the API's own scheme, host and port.
    retries, backoff
        How often a request is repeated that failed for now, and seconds before the second repetition, which double (with
        jitter) up to a minute. Retry-After is honoured up to that.
    timeout
        Seconds to connect, and without a byte.
    allow_local_files
        Whether an Item may say that it is a local file.

    Raises
    ------
    InputError
        If the API cannot do what is asked, refuses it, or answers something else than Items.
    StorageError
        If the API or the network failed for now.
    """
    limit = request.max_items or max_scenes
    io = _ApiIO(request.api, token=token, retries=retries, backoff=backoff, timeout=timeout)
    shown = show_href(request.api)
    try:
        client = Client.from_file(request.api, stac_io=io, timeout=timeout)
        _check_conformance(client, request, shown)
        features, matched = _read_pages(_search_pages(client, request, limit + 1), limit + 1)
    except (*_PARSING, RecursionError) as error:
        msg = f"{shown} does not answer as a STAC API does ({type(error).__name__}: {clean_text(error)}): check --api"
        raise InputError(msg) from error
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
    """Check that the API says it can do what is asked: one that cannot tends to ignore it, and to find too much."""
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
    """Yield the pages of the answer; CQL2 goes as text by GET and as JSON by POST, as the extension wants it."""
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
    """Read Items, each once, until there are enough or no more, and how many there are if the API says so."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    matched: int | None = None
    for page in pages:
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
    return list(found.values()), matched


def _report_rest(shown: str, limit: int, matched: int | None) -> Finding:
    count = f"{matched} Items" if matched is not None and matched > limit else f"more than {limit} Items"
    message = (
        f"The search on {shown} finds {count}, of which {limit} were taken: narrow the search, choose with --sortby, "
        "or raise --max-items."
    )
    return Finding(severity="warning", code="search-has-more", message=message)


def _order(feature: Mapping[str, Any]) -> tuple[datetime, str, str]:
    """Sort by time, collection and id; Items without a time come first."""
    properties = feature.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    text = properties.get("start_datetime") or properties.get("datetime")
    moment = datetime.min.replace(tzinfo=UTC)
    with suppress(ValueError, OverflowError):  # whoever parses the Item says what is wrong with it
        moment = str_to_datetime(text) if isinstance(text, str) else moment
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)), str(feature.get("collection")), str(feature["id"])


def _order_by(field: str) -> Callable[[Mapping[str, Any]], tuple[int, float, str]]:
    """Sort by a field of the Item or its properties: what has none, then numbers, then texts."""
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
    """Find the Item's own URL: its self link or, without one that can be followed, where an API has its Items."""
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


class _Patience(Retry):
    """Repeats with back-off and jitter, and waits no longer than a minute whatever the server asks for."""

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        """Give the seconds that the server asks for, within reason."""
        seconds = super().get_retry_after(response)
        return None if seconds is None else min(seconds, _LONGEST_PAUSE)


class _Bearer(requests.auth.AuthBase):
    """Sends a token; also keeps a .netrc from replacing it."""

    def __init__(self, token: str) -> None:
        self._header = f"Bearer {token}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._header
        return request


class _ApiIO(StacApiIO):
    """Requests to an API, with bounds on size and time, and this project's errors."""

    def __init__(self, api: str, *, token: str | None, retries: int, backoff: float, timeout: float) -> None:
        patience = _Patience(
            total=retries,
            status_forcelist=_RETRIED,
            allowed_methods={"GET", "POST"},  # a search by POST changes nothing
            backoff_factor=backoff,
            backoff_max=_LONGEST_PAUSE,
            backoff_jitter=backoff,
            raise_on_status=False,
        )
        super().__init__(timeout=timeout, max_retries=patience)
        self._origin = _find_origin(api)
        self._token = token
        self._left = MAX_SEARCH_BYTES

    def read_text(self, source: Any, *args: Any, **kwargs: Any) -> str:
        """Read what a link or a URL leads to; a path is no URL."""
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
        """Make a request, and give the text of the answer.

        Raises
        ------
        InputError
            If the API refuses, or answers too much.
        StorageError
            If it fails for now.
        """
        method = (method or "GET").upper()
        as_body = {"json": parameters} if method == "POST" else {"params": parameters}
        is_home = self._token is not None and _find_origin(href) == self._origin
        auth = _Bearer(self._token) if self._token is not None and is_home else None
        shown = show_href(href)
        try:
            prepared = self.session.prepare_request(requests.Request(method, href, headers=headers, auth=auth, **as_body))
            settings = self.session.merge_environment_settings(str(prepared.url), {}, True, None, None)
            with self.session.send(prepared, timeout=self.timeout, **settings) as response:
                body = self._read_body(response, shown)
        except _WRONG_URL as error:
            msg = f"{shown} cannot be asked ({type(error).__name__}): check --api"
            raise InputError(msg) from None
        except requests.RequestException as error:
            # the text of the error may hold the query, which may hold a key
            msg = f"the STAC API {shown} does not answer ({type(error).__name__}): try again later"
            raise StorageError(msg) from None
        self._check_status(response, body, shown)
        return body.decode("utf-8", errors="replace")

    def _read_body(self, response: requests.Response, shown: str) -> bytes:
        """Read an answer within what is left of the bounds."""
        chunks, size = [], 0
        allowed = min(MAX_PAGE_BYTES, self._left)
        for chunk in response.iter_content(1 << 20):
            size += len(chunk)
            if size > allowed:
                msg = f"the STAC API {shown} answers with more than {allowed} bytes: narrow the search"
                raise InputError(msg)
            chunks.append(chunk)
        self._left -= size
        return b"".join(chunks)

    def _check_status(self, response: requests.Response, body: bytes, shown: str) -> None:
        status = response.status_code
        if 200 <= status < 300:
            return
        if status >= 500 or status in _RETRIED:
            msg = f"the STAC API {shown} fails for now (status {status}): try again later"
            raise StorageError(msg)
        if status in _DENIED:
            what = "refuses STAC_API_TOKEN" if self._token else "asks for credentials: set STAC_API_TOKEN"
            msg = f"the STAC API {shown} {what} (status {status})"
            raise InputError(msg)
        msg = f"the STAC API {shown} refuses the request (status {status}): {_find_reason(body) or 'check --api'}"
        raise InputError(msg)


def _find_origin(url: str) -> tuple[str, str | None, int | None]:
    """Give scheme, host and port of a URL."""
    try:
        parts = urlsplit(url)
        return parts.scheme.lower(), parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme.lower())
    except ValueError:
        return "", None, None


def _find_reason(body: bytes) -> str:
    """Find what the API says is wrong."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    keys = ("description", "detail", "message", "title")
    return next((clean_text(answer[key]) for key in keys if answer.get(key)), "") if isinstance(answer, dict) else ""
