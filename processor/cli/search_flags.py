"""Flags of a search on a STAC API, parsed into a :class:`SearchRequest`."""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Literal, NoReturn, cast, get_args

from processor.errors import ConfigError, InputError
from stac.api.request import MOST_ON_A_PAGE, Ability, SearchRequest

_OPTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "--collections": ("ID,…", "Collections that Items may be of"),
    "--ids": ("ID,…", "ids that Items may have"),
    "--bbox": ("W,S,E,N", "what Items meet, in degrees; W above E crosses the antimeridian"),
    "--datetime": ("RANGE", "when Items were taken: 2024-06, 2024-06-01/2024-06-30, or ../2024-06-30T12:00:00Z"),
    "--intersects": (
        "GEOJSON",
        "what Items meet: one geometry or Feature, a file (path or URL) or its text; not with --bbox",
    ),
    "--filter": ("CQL2", "as text, \"eo:cloud_cover < 10 AND platform = 'landsat-9'\", or as JSON"),
    "--sortby": ("FIELD,…", "fields to sort by, downwards with - before them; what comes later lies on top (default: time)"),
    "--max-items": ("N", "how many Items are taken (default: all, up to --inputs.max_scenes)"),
    "--method": ("GET|POST", "how the search is sent (default: as the API offers it, by GET where it refuses POST)"),
    "--page-size": ("N", "Items asked for at once (default: 100)"),
    "--conforms": (
        "ABILITY,…",
        "what the API can (or cannot: -), whatever it declares: item-search, filter, cql2-text, cql2-json, query, sort",
    ),
}
SEARCH_FLAGS: Final = ("--api", *_OPTIONS)
"""All flags of a search; each takes a value."""

_GEOMETRIES: Final = frozenset(
    {"Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection"}
)
_SHOWN: Final = 80  # characters
_MAX_GEOMETRY: Final = 16 << 20  # bytes
_FIELD: Final = re.compile(r"[+-]?[A-Za-z_][A-Za-z0-9_.:-]*")
_MONTH: Final = re.compile(r"\d{4}(-\d{2})?")


def add_search_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a search, as a group."""
    group = parser.add_argument_group("search", "Instead of INPUT: what a STAC API finds. A token is in STAC_API_TOKEN.")
    group.add_argument("--api", metavar="URL", help="landing page of the API")
    for flag, (metavar, text) in _OPTIONS.items():
        group.add_argument(flag, metavar=metavar, help=text)


def read_search(options: argparse.Namespace) -> SearchRequest | None:
    """The search that the flags ask for; None without ``--api``.

    Raises
    ------
    ConfigError
        Naming the flag, its value and what is allowed.
    StorageError
        Storage failed while the file of ``--intersects`` was read.
    """
    texts = {flag: getattr(options, flag[2:].replace("-", "_")) for flag in _OPTIONS}
    if options.api is None:
        unused = [flag for flag, value in texts.items() if value is not None]
        if unused:
            msg = f"{unused[0]} is of a search: name the STAC API with --api URL"
            raise ConfigError(msg)
        return None
    if texts["--bbox"] is not None and texts["--intersects"] is not None:
        msg = "--bbox and --intersects exclude each other: give one of them"
        raise ConfigError(msg)
    sortby = _split("sortby", texts["--sortby"])
    if not all(map(_FIELD.fullmatch, sortby)):
        _refuse("sortby", texts["--sortby"], "write fields with commas between them, such as -properties.eo:cloud_cover,id")
    return SearchRequest(
        api=options.api,
        collections=_split("collections", texts["--collections"]),
        ids=_split("ids", texts["--ids"]),
        bbox=None if texts["--bbox"] is None else _parse_bbox(texts["--bbox"]),
        datetime=None if texts["--datetime"] is None else _check_datetime(texts["--datetime"]),
        intersects=None if texts["--intersects"] is None else _read_geometry(texts["--intersects"]),
        filter=None if texts["--filter"] is None else _parse_filter(texts["--filter"]),
        sortby=sortby,
        max_items=None if texts["--max-items"] is None else _parse_count("max-items", texts["--max-items"]),
        method=None if texts["--method"] is None else _parse_method(texts["--method"]),
        page_size=None if texts["--page-size"] is None else _parse_count("page-size", texts["--page-size"], MOST_ON_A_PAGE),
        conforms=tuple(_parse_ability(word) for word in _split("conforms", texts["--conforms"])),
    )


def _refuse(flag: str, value: str, allowed: str) -> NoReturn:
    shown = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…"
    msg = f"--{flag} {shown!r}: {allowed}"
    raise ConfigError(msg)


def _split(flag: str, text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    words = tuple(word.strip() for word in text.split(","))
    if not all(words):
        _refuse(flag, text, "write words with commas between them")
    return words


def _parse_bbox(text: str) -> tuple[float, ...]:
    allowed = "write west,south,east,north in degrees, such as 5.9,45.8,10.5,47.8"
    try:
        numbers = tuple(float(word) for word in text.split(","))
    except ValueError:
        _refuse("bbox", text, allowed)
    if len(numbers) not in {4, 6} or not all(map(math.isfinite, numbers)):
        _refuse("bbox", text, allowed)
    high = len(numbers) // 2
    west, south, east, north = numbers[0], numbers[1], numbers[high], numbers[high + 1]
    if not (-90 <= south <= north <= 90 and -180 <= west <= 180 and -180 <= east <= 180):
        _refuse("bbox", text, f"south is not below north, or it lies beyond the Earth; {allowed}")
    return numbers


def _check_datetime(text: str) -> str:
    """Check an instant, a day, month or year, or an interval of two of these, of which one end may be open."""
    ends = text.split("/")
    known = [end for end in ends if end not in {"", ".."}]
    try:
        for end in known:
            datetime.fromisoformat(f"{end}-01-01"[:10] if _MONTH.fullmatch(end) else end)
    except ValueError:
        known = []
    if len(ends) > 2 or not known:
        _refuse("datetime", text, "write 2024-06, 2024-06-01T12:00:00Z, 2024-06-01/2024-06-30 or 2024-06-01/..")
    return text


def _read_geometry(text: str) -> Mapping[str, Any]:
    """A GeoJSON geometry, Feature, or FeatureCollection of one Feature, from text or a file; its geometry."""
    data: str | bytes = text
    if not text.lstrip().startswith("{"):
        from processor.storage.store import Store  # noqa: PLC0415 - loads fsspec, which only a file needs

        try:
            store = Store()
            data = replace(store, access=store.access.allowing([text])).read_bytes(text, max_bytes=_MAX_GEOMETRY)
        except InputError as error:
            _refuse("intersects", text, str(error))
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        _refuse("intersects", text, f"it is not JSON ({error})")
    if isinstance(document, dict) and document.get("type") == "FeatureCollection":
        features = document.get("features")
        document = features[0] if isinstance(features, list) and len(features) == 1 else None
    if isinstance(document, dict) and document.get("type") == "Feature":
        document = document.get("geometry")
    if not isinstance(document, dict) or document.get("type") not in _GEOMETRIES:
        _refuse("intersects", text, "give one GeoJSON geometry or Feature")
    return document


def _parse_filter(text: str) -> str | Mapping[str, Any]:
    if not text.strip():
        _refuse("filter", text, "write CQL2, such as 'eo:cloud_cover < 10'")
    if not text.lstrip().startswith("{"):
        return text
    try:
        document: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        _refuse("filter", text, f"it begins as JSON and is none ({error})")
    return document


def _parse_count(flag: str, text: str, most: int | None = None) -> int:
    if not text.isdecimal() or int(text) < 1 or (most is not None and int(text) > most):
        _refuse(flag, text, "write a whole number from 1" + ("" if most is None else f" to {most}"))
    return int(text)


def _parse_method(text: str) -> Literal["GET", "POST"]:
    for method in get_args(Literal["GET", "POST"]):
        if text.upper() == method:
            return cast("Literal['GET', 'POST']", method)
    _refuse("method", text, "write GET or POST")


def _parse_ability(word: str) -> tuple[Ability, bool]:
    name = word.lstrip("+-")
    if name not in get_args(Ability):
        _refuse("conforms", word, f"write words of {', '.join(get_args(Ability))}, with - before what the API cannot do")
    return cast("Ability", name), not word.startswith("-")
