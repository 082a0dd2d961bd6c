"""What a STAC API is asked for; light, so that a command line can be checked without loading a client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["POST_TOKEN", "TOKEN", "SearchRequest"]

TOKEN: Final = "STAC_API_TOKEN"  # noqa: S105 - the name of a variable
"""Environment variable that holds the bearer token of the API that is searched."""

POST_TOKEN: Final = "STAC_POST_TOKEN"  # noqa: S105 - ditto
"""Environment variable that holds the bearer token of the API that is posted to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """A search, checked by who made it."""

    api: str
    """URL of the API's landing page, http or https."""
    collections: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    """Of which any may match; empty: no such condition."""
    bbox: tuple[float, ...] | None = None
    """(west, south, east, north) in degrees, or with heights after each pair; west > east crosses the antimeridian."""
    datetime: str | None = None
    """As STAC has it, an instant or an interval; days, months and years count as a whole."""
    intersects: Mapping[str, Any] | None = None
    """GeoJSON geometry, not together with bbox."""
    filter: str | Mapping[str, Any] | None = None
    """CQL2 as text, or as decoded JSON."""
    sortby: tuple[str, ...] = ()
    """Fields, each with "+" or "-" first or neither, which the API sorts by before ``max_items`` are taken."""
    max_items: int | None = None
    """How many are taken at most, or None."""
