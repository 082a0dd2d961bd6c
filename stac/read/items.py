"""Parse an ItemCollection into scene references, once; the rest of the program sees no STAC.

STAC 1.0 and 1.1 are read. Documents may come from strangers, so hrefs, sizes and types are all checked here. An id may be any
text: scenes get safe names, and the id is kept beside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any, Final
from urllib.parse import quote

from pystac.utils import datetime_to_str, str_to_datetime

from processor.errors import InputError, StorageError
from processor.model import MaskRef, Provenance, RasterRef, SceneRef
from processor.model.names import name_scenes
from stac.documents import clean_text, json_type, parse_features, parse_ids
from stac.fields import AssetFields, ItemFields
from stac.hrefs import resolve_href
from stac.read.choice import Choice, Selection, choose_mask, choose_rasters
from stac.read.declared import find_endpoint, parse_declared, parse_storage
from stac.read.sign import make_signer

_MAX_DEPTH: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class _Origin:
    """The document that an Item was found in, and how its hrefs are resolved."""

    base: str
    """URL or absolute path that its relative hrefs are resolved against."""
    own: str | None
    """The Item's own URL or path where it is known, else None."""
    is_remote: bool
    allow_local_files: bool
    """Whether it is a stranger's, and whether it may name local files even then."""
    sign: Callable[[str], str]
    """Signs an absolute href."""
    alternate: str | None
    """Key of the alternate that is read where an asset has it, or None."""

    def resolve(self, href: object) -> str:
        """An href of the Item, absolute."""
        return resolve_href(href, base=self.base, is_remote=self.is_remote, allow_local_files=self.allow_local_files)


def parse_item_collection(
    document: object, *, base: str, is_remote: bool, selection: Selection, bases: Sequence[str] | None = None
) -> tuple[SceneRef, ...]:
    """Parse an ItemCollection, a single Item or the payload of a task into scenes, in the order of the document.

    Parameters
    ----------
    document
        Decoded JSON.
    base
        URL or absolute path of the document, which relative hrefs are resolved against; a folder ends with ``/``.
    is_remote
        Whether the document is a stranger's (from a URL or standard input): then it may not name files of this machine, unless
        ``selection.allow_local_files`` is set.
    selection
        Which assets and bands are read, how hrefs are signed, and how many Items are allowed.
    bases
        URL or absolute path of each Item's own document, where the Items come from several documents.

    Raises
    ------
    InputError
        Naming the Item, the asset and what to do.
    ConfigError
        If signing needs a package that is not installed.
    StorageError
        If the service that gives tokens for signed hrefs failed.
    """
    features = parse_features(document)
    if not features:
        msg = "the ItemCollection has no features: nothing to mosaic; widen the search that made it"
        raise InputError(msg)
    if len(features) > selection.max_scenes:
        most = selection.max_scenes
        msg = f"the ItemCollection has {len(features)} Items, more than --inputs.max_scenes {most}: raise the limit"
        raise InputError(msg)
    ids = parse_ids(features)
    collections = [_find_collection(feature) for feature in features]
    names = name_scenes(ids, collections, what="Item", origins=[repr(clean_text(item_id)) for item_id in ids])
    sign = make_signer(selection.sign)
    own = bases if bases is not None else [None] * len(features)
    origins = [
        _Origin(
            base=base if origin is None else origin,
            own=origin,
            is_remote=is_remote if origin is None else not origin.startswith("/"),
            allow_local_files=selection.allow_local_files,
            sign=sign,
            alternate=selection.alternate,
        )
        for origin in own
    ]
    return tuple(
        _parse_item(feature, name=name, priority=priority, origin=origin, selection=selection)
        for priority, (name, feature, origin) in enumerate(zip(names, features, origins, strict=True))
    )


def _find_collection(feature: Mapping[str, Any]) -> str | None:
    collection = feature.get("collection")
    return collection if isinstance(collection, str) else None


def _parse_item(feature: Mapping[str, Any], *, name: str, priority: int, origin: _Origin, selection: Selection) -> SceneRef:
    properties, item_id = feature.get("properties"), clean_text(feature["id"])
    properties = {} if properties is None else properties
    if not isinstance(properties, Mapping):
        msg = f"Item {item_id!r}: its properties are a JSON {json_type(properties)}, not an object; correct the Item"
        raise InputError(msg)
    item = ItemFields(name=item_id, assets=feature["assets"], properties=properties, collection=_find_collection(feature))
    mask = selection.mask
    provenance = _parse_provenance(item, feature["id"], feature.get("links"), origin)
    rasters = [_parse_raster(choice, origin) for choice in choose_rasters(item, selection)]
    marks = None if mask is None else _parse_raster(choose_mask(item, mask), origin)
    rasters[0] = replace(rasters[0], declared=replace(rasters[0].declared, unusable=tuple(item.unusable)))
    return SceneRef(
        name=name,
        priority=priority,
        rasters=tuple(rasters),
        mask=None
        if mask is None or marks is None
        else MaskRef(raster=marks, invalid=mask.invalid, valid=mask.valid, bits=mask.bits),
        provenance=provenance if feature["id"] == name else replace(provenance, title=item_id),
    )


def _parse_raster(choice: Choice, origin: _Origin) -> RasterRef:
    refs = []
    for href, followed in _resolve_asset(choice.asset, origin):
        requester_pays, region = parse_storage(choice.asset, followed)
        refs.append(
            RasterRef(
                href=href,
                asset=choice.asset.key,
                bands=choice.bands,
                wanted=choice.wanted,
                declared=parse_declared(choice.asset),
                requester_pays=requester_pays,
                region=region,
                endpoint=find_endpoint(choice.asset, followed),
            )
        )
    alternates = []
    for other in refs[1:]:
        with suppress(InputError, StorageError):  # of another catalogue: what cannot be signed is no alternate
            alternates.append(replace(other, href=origin.sign(other.href)))
    return replace(refs[0], href=origin.sign(refs[0].href), alternates=tuple(alternates))


def _resolve_asset(asset: AssetFields, origin: _Origin) -> list[tuple[str, Mapping[str, Any]]]:
    """Resolve the hrefs of an asset: that of the wanted alternate, its own, and those of other alternates, ``s3://`` first.

    Those that may not be read are left out; at least one is left.

    Returns
    -------
    list
        Absolute hrefs, and the fields that each is from: those of the asset or of the alternate.
    """
    listed = asset.fields.get("alternate")
    alternates = {key: one for key, one in listed.items() if isinstance(one, Mapping)} if isinstance(listed, Mapping) else {}
    chosen = [alternates.pop(origin.alternate)] if origin.alternate in alternates else []
    others = sorted(alternates.values(), key=lambda other: not str(other.get("href")).lower().startswith("s3://"))
    problem: ValueError | None = None
    found: dict[str, Mapping[str, Any]] = {}
    for fields in (*chosen, asset.fields, *others):
        try:
            found.setdefault(origin.resolve(fields.get("href")), fields)
        except ValueError as error:
            problem = problem or error
    if not found:
        msg = f"{asset.where}: {problem}"
        raise InputError(msg) from problem
    return list(found.items())


def _parse_provenance(item: ItemFields, item_id: str, links: object, origin: _Origin) -> Provenance:
    """Provenance of an Item; without a self link it is identified by its document, and by its id where that holds several."""
    name, properties = item.name, item.properties
    moment = properties.get("datetime")
    start = _parse_datetime(properties.get("start_datetime") or moment, name=name)
    end = _parse_datetime(properties.get("end_datetime") or moment, name=name)
    if start and end and str_to_datetime(start) > str_to_datetime(end):
        msg = f"Item {name!r} starts at {start} and ends before that, at {end}: correct the Item"
        raise InputError(msg)
    known = origin.own or (None if origin.base.endswith("/") else f"{origin.base}#{quote(item_id, errors='replace')}")
    return Provenance(
        self_href=_find_self(links, origin.resolve) or known,
        collection=item.collection,
        start=start,
        end=end,
        properties=_finite(properties, depth=0),
    )


def _find_self(links: object, resolve: Callable[[object], str]) -> str | None:
    """Absolute href of the Item's self link; None where it has none, or none that is read."""
    for link in links if isinstance(links, list) else ():
        if isinstance(link, Mapping) and link.get("rel") == "self":
            try:
                return resolve(link.get("href"))
            except ValueError:
                return None
    return None


def _parse_datetime(value: object, *, name: str) -> str | None:
    """A time as RFC 3339 in UTC; one without a time zone is UTC, as STAC says."""
    if value is None:
        return None
    try:
        moment = str_to_datetime(value if isinstance(value, str) else "")
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        msg = f"Item {name!r} has the datetime {clean_text(value)!r}: give it as 2020-12-31T23:59:59Z"
        raise InputError(msg) from error
    return datetime_to_str(moment)


def _finite(value: Any, *, depth: int) -> Any:
    """A JSON value with NaN, infinity and anything nested deeper than 32 levels replaced by null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if not isinstance(value, Mapping | list):
        return value
    if depth >= _MAX_DEPTH:
        return None
    if isinstance(value, Mapping):
        return {key: _finite(member, depth=depth + 1) for key, member in value.items()}
    return [_finite(member, depth=depth + 1) for member in value]
