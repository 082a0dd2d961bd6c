"""Search on a STAC API, as a record; the command line can make one without loading the client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

TOKEN: Final = "STAC_API_TOKEN"  # noqa: S105 - the name of a variable
"""Environment variable that holds the bearer token of the API that is searched."""

POST_TOKEN: Final = "STAC_POST_TOKEN"  # noqa: S105 - ditto
"""Environment variable that holds the bearer token of the API that is posted to."""

Ability = Literal["item-search", "filter", "cql2-text", "cql2-json", "query", "sort"]
"""What an API may declare in its ``conformsTo``."""

MOST_ON_A_PAGE: Final = 10_000
"""Items that may be asked for at once."""


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
