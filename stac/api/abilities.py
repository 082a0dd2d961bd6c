"""What a STAC API can do, and how a search is put to it: its method, the encoding of its filter, and who sorts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args
from urllib.parse import urljoin

from processor.errors import InputError
from stac.api.cql2 import UntranslatableError, parse_text, write_query, write_text
from stac.api.request import Ability, SearchRequest
from stac.links import list_links

Method = Literal["GET", "POST"]
Encoding = Literal["cql2-text", "cql2-json", "query"]

METHODS: Final[tuple[Method, ...]] = get_args(Method)

_ABILITIES: Final[Mapping[Ability, re.Pattern[str]]] = {
    "item-search": re.compile(r"https://api\.stacspec\.org/v1\..*/item-search(#.*)?"),
    "filter": re.compile(r"https://api\.stacspec\.org/v1\..*/item-search#filter"),
    "query": re.compile(r"https://api\.stacspec\.org/v1\..*/item-search#query"),
    "sort": re.compile(r"https://api\.stacspec\.org/v1\..*/item-search#sort"),
    "cql2-text": re.compile(r".*/cql2-text"),
    "cql2-json": re.compile(r".*/cql2-json"),
}
_FLAGS: Final[Mapping[str, str]] = {"filter": "item-search#filter (--filter)"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What an API says that it can do, corrected by whoever knows better."""

    has: frozenset[Ability]
    """What it declares."""
    searches: Mapping[Method, str]
    """URL of the search by each method that the landing page links to; GET and POST of ``/search`` where it links to none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a search is put to an API."""

    method: Method
    """Of its first request."""
    encoding: Encoding | None
    """Of the filter, or None without one."""
    filter: str | Mapping[str, Any] | None
    """The filter in that encoding."""
    sorts: bool
    """Whether the API sorts; otherwise whoever asked does."""


def read_abilities(landing: Mapping[str, Any], request: SearchRequest, *, root: str, shown: str) -> Abilities:
    """What a landing page declares.

    Parameters
    ----------
    landing
        Decoded JSON.
    request
        The search, which may correct what is declared.
    root
        URL of the landing page without a last slash.
    shown
        The same, for messages.

    Raises
    ------
    InputError
        If it is that of a static catalogue.
    """
    declared = landing.get("conformsTo")
    corrected = dict(request.conforms)
    if not isinstance(declared, list) and not corrected.get("item-search"):
        msg = f"{shown} is a static catalogue, not a STAC API (it has no conformsTo): give its URL as INPUT instead of --api"
        raise InputError(msg)
    uris = [uri for uri in declared if isinstance(uri, str)] if isinstance(declared, list) else []
    found = {ability for ability, pattern in _ABILITIES.items() if any(map(pattern.fullmatch, uris))}
    has = (found | {ability for ability, can in corrected.items() if can}) - {
        ability for ability, can in corrected.items() if not can
    }
    links = [link for link in list_links(landing) if link.get("rel") == "search" and isinstance(link.get("href"), str)]
    searches: dict[Method, str] = {}
    for link in links:
        method = str(link.get("method") or "GET").upper()
        if method in METHODS:
            searches.setdefault(method, urljoin(f"{root}/", link["href"]))
    if not searches:
        searches = dict.fromkeys(METHODS, f"{root}/search")
    return Abilities(has=frozenset(has), searches=searches)


def plan_search(request: SearchRequest, abilities: Abilities, methods: Sequence[Method], *, shown: str) -> Plan:
    """Choose how a search is put to an API by one of some methods.

    A filter is sent as it was given where the API declares its language, and translated where it declares another. Where it
    cannot sort, whoever asked does.

    Raises
    ------
    InputError
        If the API does not declare what the search needs, or the filter cannot be said in what it declares.
    """
    sorts = "sort" in abilities.has
    if "item-search" not in abilities.has:
        raise _lacking(shown, ["item-search"])
    if request.filter is None:
        preferred: tuple[Method, ...] = ("POST", "GET")
        return Plan(method=_choose(preferred, methods), encoding=None, filter=None, sorts=sorts)
    is_text = isinstance(request.filter, str)
    wanted: tuple[Encoding, ...] = ("cql2-text", "cql2-json") if is_text else ("cql2-json", "cql2-text")
    known: list[Encoding] = [one for one in wanted if one in abilities.has and "filter" in abilities.has]
    if "query" in abilities.has:
        known.append("query")
    if not known:
        missing = [] if "filter" in abilities.has else [_FLAGS["filter"]]
        raise _lacking(shown, [*missing, f"{wanted[0]} (--filter)"])
    problems = []
    for encoding in known:
        try:
            value = _encode(request.filter, encoding)
        except UntranslatableError as error:
            problems.append(f"as {encoding} it cannot be said, {error}")
            continue
        preferred = ("GET", "POST") if encoding == "cql2-text" else ("POST", "GET")
        return Plan(method=_choose(preferred, methods), encoding=encoding, filter=value, sorts=sorts)
    msg = (
        f"--filter is {'text' if is_text else 'JSON'}, and the STAC API {shown} takes {' and '.join(known)}: "
        f"{'; '.join(problems)}: write it in what the API takes, or more simply"
    )
    raise InputError(msg)


def _choose(preferred: Sequence[Method], methods: Sequence[Method]) -> Method:
    return next(method for method in preferred if method in methods)


def _encode(expression: str | Mapping[str, Any], encoding: Encoding) -> str | Mapping[str, Any]:
    """A filter in another encoding, or as it is."""
    if isinstance(expression, str):
        if encoding == "cql2-text":
            return expression
        parsed = parse_text(expression)
        return parsed if encoding == "cql2-json" else write_query(parsed)
    if encoding == "cql2-json":
        return dict(expression)
    return write_text(expression) if encoding == "cql2-text" else write_query(expression)


def _lacking(shown: str, missing: Sequence[str]) -> InputError:
    return InputError(
        f"the STAC API {shown} does not say that it conforms to {', '.join(missing)}: search without, use another API, or, "
        "if it can all the same, say so with --conforms"
    )
