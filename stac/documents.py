"""Checks of ItemCollections, single Items and workflow payloads, before anything in them is used.

They may come from strangers: errors name the id, field or type that cannot be used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from processor.errors import InputError
from processor.model import Finding

ITEM_ID: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$"
"""Pattern of the ids of Items and Collections that are published: they name files and folders."""

_MAX_TEXT: Final = 200
_LISTED: Final = 20  # words in one message
_MAX_DIGITS: Final = 18


def process_options(document: object) -> dict[str, Any]:
    """Options of this task in a workflow payload, ``process[0].tasks.mosaic``; empty where there are none.

    Both forms in use are read: ``tasks`` as a mapping of names to options and as a list of ``{"name", "parameters"}``.

    Raises
    ------
    InputError
        If the process list is malformed, or allows itself the files of this machine.
    """
    process = document.get("process") if isinstance(document, Mapping) else None
    if isinstance(process, list):
        process = process[0] if process else None
    if process is None:
        return {}
    tasks = process.get("tasks", {}) if isinstance(process, Mapping) else None
    if isinstance(tasks, list) and all(isinstance(entry, Mapping) for entry in tasks):
        tasks = {entry.get("name"): entry.get("parameters", {}) for entry in tasks}
    options = tasks.get("mosaic", {}) if isinstance(tasks, Mapping) else None
    if not isinstance(options, Mapping):
        msg = 'the payload\'s "process" must be a list whose first entry holds {"tasks": {"mosaic": {…}}}'
        raise InputError(msg)
    section = options.get("inputs")
    if "inputs.allow_local_files" in options or (isinstance(section, Mapping) and "allow_local_files" in section):
        msg = "the payload sets inputs.allow_local_files, which a document may not grant itself: set it on the command line"
        raise InputError(msg)
    return dict(options)


def find_page(document: object) -> Finding | None:
    """A warning where the document is a part of a longer answer: the mosaic would silently miss scenes."""
    if not isinstance(document, Mapping) or document.get("type") != "FeatureCollection":
        return None
    features = document.get("features")
    count = len(features) if isinstance(features, list) else 0
    matched, leads_on = find_matched(document), find_next(document) is not None
    if not leads_on and (matched is None or matched <= count):
        return None
    of = "" if matched is None else f" of {matched}"
    more = " and a link to the next" if leads_on else ", as its numberMatched says"
    message = f"The ItemCollection is one page with {count}{of} Items{more}: search with all pages to use the rest."
    return Finding(severity="warning", code="input-is-a-page", message=message)


def find_next(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The link of an ItemCollection to its next page; None where it has none, or one without an href."""
    links = document.get("links")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, Mapping) and link.get("rel") == "next" and isinstance(link.get("href"), str) and link["href"]:
            return link
    return None


def find_matched(document: Mapping[str, Any]) -> int | None:
    """How many Items an ItemCollection says that its search matches; None where it says nothing."""
    for place, key in (
        (document, "numberMatched"),
        (document.get("context"), "matched"),
        (document.get("search:metadata"), "matched"),
    ):
        value = place.get(key) if isinstance(place, Mapping) else None
        if isinstance(value, str) and value.isdecimal() and len(value) <= _MAX_DIGITS:
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None


def is_item_id(text: str) -> bool:
    """Whether a text can be the id of an Item or Collection that is published."""
    return re.fullmatch(ITEM_ID, text) is not None


def parse_features(document: object) -> list[Any]:
    """Features of an ItemCollection; a single Item counts as a collection of one.

    Raises
    ------
    InputError
        If the document is neither; the message says what it is.
    """
    if isinstance(document, Mapping):
        features = document.get("features")
        if document.get("type") == "FeatureCollection" and isinstance(features, list):
            return features
        if document.get("type") == "Feature":
            return [document]
    msg = f"the input is not an ItemCollection but {describe_document(document)}"
    raise InputError(msg)


def describe_document(document: object) -> str:
    """What a document is if it is no ItemCollection, and what to do."""
    if isinstance(document, Mapping):
        return _describe_object(document)
    if isinstance(document, list):
        return f'a list of {len(document)}: wrap it as {{"type": "FeatureCollection", "features": […]}}'
    return f"a JSON {json_type(document)}: give the JSON of a STAC search"


def _describe_object(document: Mapping[str, Any]) -> str:
    kind = document.get("type")
    if kind == "Catalog":
        return f"the Catalog {clean_text(document.get('id'))!r}: give its own path or URL, so that its links can be followed"
    if kind == "Collection":
        return f"the Collection {clean_text(document.get('id'))!r}: give its own path or URL, so that its links can be followed"
    if kind == "FeatureCollection":
        return 'a FeatureCollection whose "features" is not a list'
    old = describe_old(document)
    if old is not None:
        return old
    reasons = [document[key] for key in ("description", "detail", "message", "errorMessage", "error") if document.get(key)]
    if reasons and kind is None:
        code = f" {clean_text(document['code'])}" if "code" in document else ""
        return f"the error{code} of an API: {clean_text(reasons[0])}; repeat the search"
    return f"an object of type {clean_text(kind)!r}: give the JSON of a STAC search"


def describe_old(document: Mapping[str, Any]) -> str | None:
    """What a catalogue from before STAC 1.0, which has no type, is, and what to do; None for anything else."""
    version = document.get("stac_version")
    if document.get("type") is not None or not isinstance(version, str) or "links" not in document:
        return None
    return (
        f"a catalogue of STAC {clean_text(version)}, and 1.0 and 1.1 are read: migrate it with pystac, "
        "pystac.read_file('OLD').normalize_and_save('NEW', 'SELF_CONTAINED')"
    )


def json_type(value: object) -> str:
    """JSON type of a value, for messages."""
    kinds: Mapping[type, str] = {type(None): "null", bool: "boolean", str: "string", list: "array", dict: "object"}
    return kinds.get(type(value), "number")


def parse_ids(features: Sequence[object]) -> tuple[str, ...]:
    """Ids of the Items, any text, after checking that they are STAC Items of version 1.

    Raises
    ------
    InputError
        Naming the feature and what to do.
    """
    return tuple(_parse_id(feature, position) for position, feature in enumerate(features))


def _parse_id(feature: object, position: int) -> str:
    """Id of a feature, after checking that it is a STAC Item."""
    if not isinstance(feature, Mapping):
        msg = f"feature number {position + 1} of the ItemCollection is a JSON {json_type(feature)}, not a STAC Item"
        raise InputError(msg)
    name = feature.get("id")
    if not isinstance(name, str) or not name:
        msg = f"feature number {position + 1} of the ItemCollection has no id (a string): give every Item one"
        raise InputError(msg)
    shown = repr(clean_text(name))
    if feature.get("type") != "Feature" or not isinstance(feature.get("assets"), Mapping):
        missing = "assets" if feature.get("type") == "Feature" else 'type "Feature"'
        msg = f"feature {shown} (number {position + 1}) is not a STAC Item, it has no {missing}: give the JSON of a STAC search"
        raise InputError(msg)
    version = feature.get("stac_version", "1.0.0")
    if not isinstance(version, str) or not version.startswith("1."):
        msg = (
            f"Item {shown} has stac_version {clean_text(version)!r}, and 1.0 and 1.1 are read: migrate it with pystac, "
            "pystac.ItemCollection.from_file('OLD').save_object('NEW'), or what it is from with "
            "pystac.read_file('OLD').normalize_and_save('NEW', 'SELF_CONTAINED')"
        )
        raise InputError(msg)
    return name


def list_words(words: Iterable[str]) -> str:
    """Up to 20 words, quoted, with commas between them; empty where there are none."""
    listed = [repr(clean_text(key)) for key in words]
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return ", ".join(listed[:_LISTED]) + more


def clean_text(value: object) -> str:
    """Text on one printable line of at most 200 characters; empty for None."""
    if value is None:
        return ""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(value)[: 2 * _MAX_TEXT]).split())
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 1]}…"
