"""Search on a STAC API, as a record; the command line can make one without loading the client."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlsplit, urlunsplit

from processor.errors import InputError

TOKEN: Final = "STAC_API_TOKEN"  # noqa: S105 - the name of a variable
"""Environment variable that holds the bearer token of the API that is searched."""

POST_TOKEN: Final = "STAC_POST_TOKEN"  # noqa: S105 - ditto
"""Environment variable that holds the bearer token of the API that is posted to."""

Ability = Literal["item-search", "filter", "cql2-text", "cql2-json", "query", "sort"]
"""What an API may declare in its ``conformsTo``."""

MOST_ON_A_PAGE: Final = 10_000
"""Items that may be asked for at once."""

_CONDITIONS: Final = frozenset({"collections", "ids", "bbox", "datetime", "intersects", "filter", "sortby"})
_PAGING: Final = frozenset({"limit", "filter-lang"})  # what the client says itself


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """Search on a STAC API; its maker has checked the values."""

    api: str
    """URL of the API's landing page, http or https."""
    collections: tuple[str, ...] = ()
    """Ids of Collections of which any may match; empty: no condition."""
    ids: tuple[str, ...] = ()
    """Ids of Items of which any may match; empty: no condition."""
    bbox: tuple[float, ...] | None = None
    """(west, south, east, north) in degrees, or with heights after each pair; west > east crosses the antimeridian."""
    datetime: str | None = None
    """Instant or interval as in STAC; a day, month or year stands for all of it."""
    intersects: Mapping[str, Any] | None = None
    """GeoJSON geometry; not together with ``bbox``."""
    filter: str | Mapping[str, Any] | None = None
    """CQL2 text, or decoded CQL2 JSON; translated where the API takes another encoding."""
    sortby: tuple[str, ...] = ()
    """Fields, with "-" before those in descending order; Items are sorted before ``max_items`` are taken."""
    max_items: int | None = None
    """Largest number of Items, or None."""
    method: Literal["GET", "POST"] | None = None
    """How the search is sent; None: as the API offers it."""
    page_size: int | None = None
    """Items asked for at once, at most 10,000; None: 100."""
    conforms: tuple[tuple[Ability, bool], ...] = ()
    """What the API can and cannot do, whatever its ``conformsTo`` says."""


def is_search_url(url: str) -> bool:
    """Whether a URL is that of a search, ``https://…/search?collections=…``."""
    parts = urlsplit(url)
    return parts.scheme in {"http", "https"} and parts.path.endswith("/search")


def parse_search_url(url: str) -> SearchRequest:
    """The search that a URL asks for, as STAC APIs take it by GET; all pages of it, whatever its ``limit``.

    >>> parse_search_url("https://x/api/search?collections=a,b&bbox=5,45,6,46").collections
    ('a', 'b')

    Raises
    ------
    InputError
        It has a parameter that is none of a search, or one that does not say what it has to.
    """
    parts = urlsplit(url)
    api = urlunsplit((parts.scheme, parts.netloc, parts.path.removesuffix("/search"), "", ""))
    given = parse_qs(parts.query, keep_blank_values=True)
    texts = {name: ",".join(values) for name, values in given.items() if name not in _PAGING}
    unknown = sorted(texts.keys() - _CONDITIONS)
    if unknown:
        msg = (
            f"the search on {api} has {', '.join(unknown)}, which is none of its conditions ({', '.join(sorted(_CONDITIONS))})"
        )
        raise InputError(msg)
    try:
        return SearchRequest(
            api=api,
            collections=_split(texts.get("collections")),
            ids=_split(texts.get("ids")),
            bbox=tuple(_parse_number(word) for word in _split(texts.get("bbox"))) or None,
            datetime=texts.get("datetime") or None,
            intersects=json.loads(texts["intersects"]) if texts.get("intersects") else None,
            filter=_parse_filter(texts.get("filter")),
            sortby=_split(texts.get("sortby")),
        )
    except (ValueError, RecursionError) as error:
        msg = f"the search on {api} cannot be read: {error}"
        raise InputError(msg) from error


def _split(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip()) if text else ()


def _parse_number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        msg = f"bbox holds {text}"
        raise ValueError(msg)
    return number


def _parse_filter(text: str | None) -> str | Mapping[str, Any] | None:
    if not text:
        return None
    if not text.lstrip().startswith("{"):
        return text
    document: dict[str, Any] = json.loads(text)
    return document
