"""The pages of a search's answer, from the first to the last; none is skipped without a word, and there is an end to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urljoin

from processor.errors import InputError
from stac.documents import clean_text, describe_document, find_matched, find_next
from stac.hrefs import show_href

_IDLE_PAGES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """A request for a page."""

    method: str
    """"GET" or "POST"."""
    href: str
    """URL, absolute."""
    parameters: Mapping[str, Any]
    """Of the query (GET), or the JSON that is sent (POST)."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """That a link asks for."""

    @property
    def key(self) -> str:
        """What tells it from others."""
        return json.dumps([self.method, self.href, self.parameters, dict(self.headers)], sort_keys=True, default=str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """What the pages hold."""

    features: tuple[Mapping[str, Any], ...]
    """Items, each once, in the order of the answer; one more than the limit where there are more."""
    matched: int | None
    """Number of all that match, if the API says so."""


def read_pages(first: PageRequest, ask: Callable[[PageRequest], Mapping[str, Any]], *, limit: int, shown: str) -> Pages:
    """Read pages until no link leads on, or there are more Items than the limit.

    An empty page that leads on is no end. The way ends in an error where it comes back to a page that was read, unless all that
    match are there, and after 32 pages without a new Item.

    Parameters
    ----------
    first
        The search.
    ask
        Gives the decoded answer.
    limit
        Largest number of Items.
    shown
        URL of the API, for messages.

    Raises
    ------
    InputError
        Naming the page that is no ItemCollection, or does not lead to an end.
    """
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    matched: int | None = None
    request: PageRequest | None = first
    asked: set[str] = set()
    idle = 0
    while request is not None:
        if request.key in asked:
            if matched is not None and len(found) >= matched:
                break
            msg = (
                f"page {len(asked)} of the search on {shown} leads back to one that was read, so that the answer has no end: "
                "narrow the search, or try --method or --page-size"
            )
            raise InputError(msg)
        asked.add(request.key)
        page = ask(request)
        number = len(asked)
        features = page.get("features")
        if page.get("type") != "FeatureCollection" or not isinstance(features, list):
            what = describe_document(page)
            what = what.partition(":")[0] if page.get("type") is not None else what
            msg = (
                f"page {number} of the search on {shown} is no ItemCollection but {what}: the answer is not complete, search "
                "again, or with another --page-size"
            )
            raise InputError(msg)
        matched = find_matched(page) if matched is None else matched
        before = len(found)
        for feature in features:
            if not isinstance(feature, Mapping) or not isinstance(feature.get("id"), str):
                msg = f"a feature on page {number} of the search on {shown} is no Item: check --api"
                raise InputError(msg)
            found.setdefault((str(feature.get("collection")), feature["id"]), feature)
        if len(found) > limit:
            break
        idle = 0 if len(found) > before else idle + 1
        if idle > _IDLE_PAGES:
            msg = (
                f"{idle} pages in a row of the search on {shown}, each with a link to a next one, bring nothing new: "
                "narrow the search"
            )
            raise InputError(msg)
        request = _follow(page, request, shown)
    return Pages(features=tuple(found.values()), matched=matched)


def _follow(page: Mapping[str, Any], request: PageRequest, shown: str) -> PageRequest | None:
    """The request for the next page; None after the last one."""
    link = find_next(page)
    if link is None:
        return None
    href = urljoin(request.href, str(link["href"]))
    body = link.get("body")
    method = str(link.get("method") or ("POST" if isinstance(body, Mapping) else "GET")).upper()
    if method not in {"GET", "POST"} or not href.lower().startswith(("http://", "https://")):
        msg = f"the search on {shown} leads on by {clean_text(method)} {show_href(href)}, which is not followed: check --api"
        raise InputError(msg)
    headers = link.get("headers")
    parameters: dict[str, Any] = {}
    if method == "POST":
        own = dict(body) if isinstance(body, Mapping) else {}
        former = request.parameters if request.method == "POST" else {}
        parameters = {**former, **own} if link.get("merge") is True or not isinstance(body, Mapping) else own
    return PageRequest(
        method=method,
        href=href,
        parameters=parameters,
        headers={str(name): str(value) for name, value in headers.items()} if isinstance(headers, Mapping) else {},
    )
