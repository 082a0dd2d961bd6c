"""STAC in: an ItemCollection, parsed once into records; nothing behind this module knows STAC.

STAC 1.0 and 1.1 are read. Documents may come from strangers, so everything is checked here: identity, hrefs, sizes, types.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any, Final
from urllib.parse import quote

from pystac.utils import datetime_to_str, str_to_datetime

from processor.config import Inputs
from processor.errors import InputError
from processor.model import Band, Finding, Provenance, SceneRef
from stac.hrefs import href_suffix, resolve_href

__all__ = ["check_names", "find_page", "is_safe_name", "parse_item_collection", "process_options", "safe_name"]

_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_RESERVED_NAMES: Final = frozenset({"reference"})  # the map that all scenes are drawn to is stored beside the scenes' own
_RASTER_TYPES: Final = frozenset({"image/tiff", "image/vnd.stac.geotiff", "image/jp2", "application/geotiff"})
_RASTER_SUFFIXES: Final = (".tif", ".tiff", ".jp2")
_SIDE_ROLES: Final = frozenset({"thumbnail", "metadata", "data-mask"})
_PICTURE_ROLES: Final = frozenset({"visual", "overview"})
_MAX_DEPTH: Final = 32
_MAX_TEXT: Final = 200
_LISTED: Final = 20  # keys in one message


def parse_item_collection(document: object, *, base: str, is_remote: bool, inputs: Inputs) -> tuple[SceneRef, ...]:
    """Parse an ItemCollection, a single Item or the payload of a task into scenes, in the order of the document.

    Parameters
    ----------
    document
        Decoded JSON.
    base
        URL or absolute path of the document, which relative hrefs are resolved against; a folder ends with ``/``.
    is_remote
        Whether the document was read from a URL: then it may not name files of this machine, unless
        ``inputs.allow_local_files`` is set.
    inputs
        Which asset is read and how many scenes are allowed.

    Raises
    ------
    InputError
        Naming the Item, the asset and what to do.
    """
    features = _parse_features(document)
    if not features:
        msg = "the ItemCollection has no features: nothing to mosaic; widen the search that made it"
        raise InputError(msg)
    if len(features) > inputs.max_scenes:
        msg = (
            f"the ItemCollection has {len(features)} Items, more than --inputs.max_scenes {inputs.max_scenes}: raise the limit"
        )
        raise InputError(msg)
    names = [_parse_name(feature, position) for position, feature in enumerate(features)]
    check_names(names, what="Item")
    return tuple(
        _parse_item(feature, name=name, priority=priority, base=base, is_remote=is_remote, inputs=inputs)
        for priority, (name, feature) in enumerate(zip(names, features, strict=True))
    )


def process_options(document: object, *, task: str = "mosaic") -> dict[str, Any]:
    """Give the options of this task in the payload of a workflow: ``process[0].tasks.mosaic``; empty where there are none.

    Both forms in use are read: ``tasks`` as a mapping of names to options and as a list of ``{"name", "parameters"}``.

    Raises
    ------
    InputError
        If the process list is malformed, or grants itself access to this machine's files.
    """
    process = document.get("process") if isinstance(document, Mapping) else None
    if isinstance(process, list):
        process = process[0] if process else None
    if process is None:
        return {}
    tasks = process.get("tasks", {}) if isinstance(process, Mapping) else None
    if isinstance(tasks, list) and all(isinstance(entry, Mapping) for entry in tasks):
        tasks = {entry.get("name"): entry.get("parameters", {}) for entry in tasks}
    options = tasks.get(task, {}) if isinstance(tasks, Mapping) else None
    if not isinstance(options, Mapping):
        msg = f'the payload\'s "process" must be a list whose first entry holds {{"tasks": {{"{task}": {{…}}}}}}'
        raise InputError(msg)
    section = options.get("inputs")
    if "inputs.allow_local_files" in options or (isinstance(section, Mapping) and "allow_local_files" in section):
        msg = "the payload sets inputs.allow_local_files, which a document may not grant itself: set it on the command line"
        raise InputError(msg)
    return dict(options)


def find_page(document: object) -> Finding | None:
    """Find out whether the document is one page of a longer answer, so that a mosaic does not silently miss scenes."""
    if not isinstance(document, Mapping) or document.get("type") != "FeatureCollection":
        return None
    links = document.get("links")
    if not isinstance(links, list) or not any(isinstance(link, Mapping) and link.get("rel") == "next" for link in links):
        return None
    matched = document.get("numberMatched", document.get("context", {}))
    matched = matched.get("matched") if isinstance(matched, Mapping) else matched
    count = len(document.get("features", ()))
    of = f" of {matched}" if isinstance(matched, int) else ""
    message = (
        f"The ItemCollection is one page with {count}{of} Items and a link to the next: search with all pages to use the rest."
    )
    return Finding(severity="warning", code="input-is-a-page", message=message)


def is_safe_name(name: str) -> bool:
    """Tell whether a name can be a file name on any storage: letters, digits, ``.``, ``_``, ``-``, but no ``.`` first."""
    return _SAFE_NAME.fullmatch(name) is not None and name.lower() not in _RESERVED_NAMES


def safe_name(name: str) -> str:
    """Make a safe name close to the given one, to propose in messages.

    Examples
    --------
    >>> safe_name("46/1220/2021-10-10")
    '46_1220_2021-10-10'
    """
    if is_safe_name(name):
        return name
    near = re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".")[: _MAX_TEXT - len("_scene")]
    return near if is_safe_name(near) else f"{near}_scene"


def check_names(names: Sequence[str], *, what: str, origins: Sequence[str] | None = None) -> None:
    """Check that names can be file names and that no two are equal, not even on storage that ignores case.

    Parameters
    ----------
    names
        One a scene.
    what
        What carries the names, for messages: "Item" or "file".
    origins
        Where each name comes from, if that says more than the name.

    Raises
    ------
    InputError
        Naming the scenes and what to do.
    """
    shown = origins if origins is not None else [repr(_clean_text(name)) for name in names]
    unsafe = [position for position, name in enumerate(names) if not is_safe_name(name)]
    if unsafe:
        name = names[unsafe[0]]
        others = f" ({len(unsafe) - 1} more like it)" if len(unsafe) > 1 else ""
        msg = (
            f"{what} {shown[unsafe[0]]}{others} has a name that is no safe file name: allowed are A-Z a-z 0-9 . _ - "
            f"up to {_MAX_TEXT} characters, not starting with '.', and not 'reference'; "
            f"rename it, for example {safe_name(name)!r}"
        )
        raise InputError(msg)
    first: dict[str, int] = {}
    for position, name in enumerate(names):
        earlier = first.setdefault(name.lower(), position)
        if earlier != position:
            alike = "the same name" if names[earlier] == name else "names that differ only in case"
            where = f"{shown[earlier]} and {shown[position]} (number {earlier + 1} and {position + 1})"
            msg = f"{what}s {where} have {alike}: rename one"
            raise InputError(msg)


def _parse_features(document: object) -> list[Any]:
    if isinstance(document, Mapping):
        features = document.get("features")
        if document.get("type") == "FeatureCollection" and isinstance(features, list):
            return features
        if document.get("type") == "Feature":
            return [document]
    msg = f"the input is not an ItemCollection but {_describe(document)}"
    raise InputError(msg)


def _describe(document: object) -> str:
    """Say what a document is instead, and what to do."""
    if isinstance(document, Mapping):
        return _describe_object(document)
    if isinstance(document, list):
        return f'a list of {len(document)}: wrap it as {{"type": "FeatureCollection", "features": […]}}'
    return f"a JSON {_json_type(document)}: give the JSON of a STAC search"


def _describe_object(document: Mapping[str, Any]) -> str:
    kind = document.get("type")
    if kind == "Catalog":
        return f"the Catalog {_clean_text(document.get('id'))!r}: give the Items it links to, as one FeatureCollection"
    if kind == "Collection":
        return f"the Collection {_clean_text(document.get('id'))!r}: search it for Items and give the answer of the search"
    if kind == "FeatureCollection":
        return 'a FeatureCollection whose "features" is not a list'
    reasons = [document[key] for key in ("description", "detail", "message", "errorMessage", "error") if document.get(key)]
    if reasons and kind is None:
        code = f" {_clean_text(document['code'])}" if "code" in document else ""
        return f"the error{code} of an API: {_clean_text(reasons[0])}; repeat the search"
    return f"an object of type {_clean_text(kind)!r}: give the JSON of a STAC search"


def _json_type(value: object) -> str:
    kinds: Mapping[type, str] = {type(None): "null", bool: "boolean", str: "string", list: "array"}
    return kinds.get(type(value), "number")


def _parse_name(feature: object, position: int) -> str:
    """Give the id of an Item, once it is clear that the feature is one."""
    if not isinstance(feature, Mapping):
        msg = f"feature number {position + 1} of the ItemCollection is a JSON {_json_type(feature)}, not a STAC Item"
        raise InputError(msg)
    name = feature.get("id")
    if not isinstance(name, str) or not name:
        msg = f"feature number {position + 1} of the ItemCollection has no id (a string): give every Item one"
        raise InputError(msg)
    shown = repr(_clean_text(name))
    if feature.get("type") != "Feature" or not isinstance(feature.get("assets"), Mapping):
        missing = "assets" if feature.get("type") == "Feature" else 'type "Feature"'
        msg = f"feature {shown} (number {position + 1}) is not a STAC Item, it has no {missing}: give the JSON of a STAC search"
        raise InputError(msg)
    version = feature.get("stac_version", "1.0.0")
    if not isinstance(version, str) or not version.startswith("1."):
        msg = f"Item {shown} has stac_version {_clean_text(version)!r}: STAC 1.0 and 1.1 are read; migrate the Item"
        raise InputError(msg)
    return name


def _parse_item(
    feature: Mapping[str, Any], *, name: str, priority: int, base: str, is_remote: bool, inputs: Inputs
) -> SceneRef:
    def resolve(href: object) -> str:
        return resolve_href(href, base=base, is_remote=is_remote, allow_local_files=inputs.allow_local_files)

    key = _choose_asset(feature["assets"], name=name, wanted=inputs.asset)
    asset = feature["assets"][key]
    return SceneRef(
        name=name,
        priority=priority,
        href=_resolve_asset(asset, where=f"Item {name!r}, asset {_clean_text(key)!r}", resolve=resolve),
        asset=key,
        bands=_parse_bands(asset, key=key, where=f"Item {name!r}, asset {_clean_text(key)!r}"),
        provenance=_parse_provenance(feature, name=name, resolve=resolve, place=None if base.endswith("/") else base),
    )


def _choose_asset(assets: Mapping[str, Any], *, name: str, wanted: str | None) -> str:
    """Choose the asset to read: the one asked for, else the only raster; data before pictures, never a thumbnail."""
    if wanted is not None:
        if not isinstance(assets.get(wanted), Mapping):
            msg = f"Item {name!r} has no asset {wanted!r} (--inputs.asset): it has {_list_keys(assets)}"
            raise InputError(msg)
        if assets[wanted].get("type") is not None and not _is_raster(assets[wanted]):
            what = f"is {_clean_text(assets[wanted]['type'])!r}, not a GeoTIFF or JPEG 2000"
            msg = f"Item {name!r}, asset {wanted!r} {what}: choose another of {_list_keys(assets)}"
            raise InputError(msg)
        return wanted
    rasters = {key: _roles(asset) for key, asset in assets.items() if isinstance(asset, Mapping) and _is_raster(asset)}
    rasters = {key: roles for key, roles in rasters.items() if not roles & _SIDE_ROLES}
    data = [key for key, roles in rasters.items() if "data" in roles]
    others = [key for key, roles in rasters.items() if not roles & _PICTURE_ROLES]
    candidates = data or others or list(rasters)
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        msg = f"Item {name!r} has no raster asset among {_list_keys(assets)}: name one with --inputs.asset KEY"
        raise InputError(msg)
    msg = f"Item {name!r} has {len(candidates)} raster assets, {_list_keys(candidates)}: choose one with --inputs.asset KEY"
    raise InputError(msg)


def _is_raster(asset: Mapping[str, Any]) -> bool:
    """Tell whether an asset is a GeoTIFF or JPEG 2000 by its media type or, without one, by its name."""
    kind = asset.get("type")
    if isinstance(kind, str) and kind:
        return kind.partition(";")[0].strip().lower() in _RASTER_TYPES
    href = asset.get("href")
    return isinstance(href, str) and href_suffix(href) in _RASTER_SUFFIXES


def _roles(asset: Mapping[str, Any]) -> frozenset[str]:
    roles = asset.get("roles")
    return frozenset(role for role in roles if isinstance(role, str)) if isinstance(roles, list) else frozenset()


def _list_keys(keys: Iterable[str]) -> str:
    listed = [repr(_clean_text(key)) for key in keys]
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return ", ".join(listed[:_LISTED]) + more if listed else "no assets at all"


def _resolve_asset(asset: Mapping[str, Any], *, where: str, resolve: Callable[[object], str]) -> str:
    """Resolve the asset's href or, where that cannot be followed, the first of its alternates that can."""
    alternates = asset.get("alternate")
    others = alternates.values() if isinstance(alternates, Mapping) else ()
    hrefs = [asset.get("href"), *(other.get("href") for other in others if isinstance(other, Mapping))]
    problem: ValueError | None = None
    for href in hrefs:
        try:
            return resolve(href)
        except ValueError as error:
            problem = problem or error
    msg = f"{where}: {problem}"
    raise InputError(msg) from problem


def _parse_bands(asset: Mapping[str, Any], *, key: str, where: str) -> tuple[Band, ...]:
    """Parse what the asset says of its bands: STAC 1.1 ``bands``, else 1.0 ``eo:bands`` and ``raster:bands``."""
    declared = [asset[name] for name in ("bands", "eo:bands", "raster:bands") if name in asset]
    if not all(isinstance(bands, list) and all(isinstance(band, Mapping) for band in bands) for bands in declared):
        msg = f"{where}: its bands must be lists of objects; correct the Item"
        raise InputError(msg)
    if "bands" in asset:
        return tuple(_parse_band(position, band) for position, band in enumerate(asset["bands"]))
    if declared:
        count = max(len(bands) for bands in declared)
        merged = [
            {k: v for bands in reversed(declared) for k, v in (bands[i] if i < len(bands) else {}).items()}
            for i in range(count)
        ]
        return tuple(_parse_band(position, band) for position, band in enumerate(merged))
    if "eo:common_name" in asset:  # STAC 1.1 leaves the list out where there is one band
        return (_parse_band(0, {"name": key, **asset}),)
    return ()


def _parse_band(position: int, band: Mapping[str, Any]) -> Band:
    common_name = _clean_text(band.get("eo:common_name", band.get("common_name")))
    return Band(
        name=_clean_text(band.get("name")) or f"band_{position + 1}",
        common_name=common_name or None,
        description=_clean_text(band.get("description")) or None,
    )


def _parse_provenance(
    feature: Mapping[str, Any], *, name: str, resolve: Callable[[object], str], place: str | None
) -> Provenance:
    """An Item without a self link is known by the document that it stands in, at ``place``, and its id."""
    properties = feature.get("properties")
    properties = {} if properties is None else properties
    if not isinstance(properties, Mapping):
        msg = f"Item {name!r}: its properties are a JSON {_json_type(properties)}, not an object; correct the Item"
        raise InputError(msg)
    moment = properties.get("datetime")
    start = _parse_datetime(properties.get("start_datetime") or moment, name=name)
    end = _parse_datetime(properties.get("end_datetime") or moment, name=name)
    if start and end and str_to_datetime(start) > str_to_datetime(end):
        msg = f"Item {name!r} starts at {start} and ends before that, at {end}: correct the Item"
        raise InputError(msg)
    collection = feature.get("collection")
    return Provenance(
        self_href=_find_self(feature.get("links"), resolve) or (None if place is None else f"{place}#{quote(name)}"),
        collection=collection if isinstance(collection, str) else None,
        start=start,
        end=end,
        properties=_finite(properties, depth=0),
    )


def _find_self(links: object, resolve: Callable[[object], str]) -> str | None:
    """Find the Item's own href, absolute; None where it has none that could be followed."""
    for link in links if isinstance(links, list) else ():
        if isinstance(link, Mapping) and link.get("rel") == "self":
            try:
                return resolve(link.get("href"))
            except ValueError:
                return None
    return None


def _parse_datetime(value: object, *, name: str) -> str | None:
    """Normalise to RFC 3339 in UTC; a time without a zone is taken as UTC, which is what STAC asks for."""
    if value is None:
        return None
    try:
        moment = str_to_datetime(value if isinstance(value, str) else "")
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        msg = f"Item {name!r} has the datetime {_clean_text(value)!r}: give it as 2020-12-31T23:59:59Z"
        raise InputError(msg) from error
    return datetime_to_str(moment)


def _finite(value: Any, *, depth: int) -> Any:
    """Replace numbers that JSON cannot hold, and what is nested too deep, by null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if not isinstance(value, Mapping | list):
        return value
    if depth >= _MAX_DEPTH:
        return None
    if isinstance(value, Mapping):
        return {key: _finite(member, depth=depth + 1) for key, member in value.items()}
    return [_finite(member, depth=depth + 1) for member in value]


def _clean_text(value: object) -> str:
    """Bring text onto one printable line of a readable length; empty for None."""
    if value is None:
        return ""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(value)[: 2 * _MAX_TEXT]).split())
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 1]}…"
