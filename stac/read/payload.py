"""Workflow payloads (stac-task, Cirrus): an ItemCollection with a process list, passed from task to task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

_OF_FEATURES: Final = frozenset({"bbox", "context", "numberMatched", "numberReturned", "timeStamp", "timestamp", "links"})


def is_payload(document: object) -> bool:
    """Whether a document is a workflow payload: an ItemCollection with a ``process`` list."""
    return (
        isinstance(document, Mapping)
        and document.get("type", "FeatureCollection") == "FeatureCollection"
        and isinstance(document.get("process"), list | Mapping)
    )


def update_payload(document: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The payload for the next task, with the Items that this task made.

    Id and process list stay, also the first entry of a chain: the workflow engine removes it. Fields about the input Items
    (their number, the link to the next page) are dropped.

    Parameters
    ----------
    document
        Decoded JSON, for which :func:`is_payload` holds; not changed.
    items
        Items that the task made, with absolute hrefs (:func:`stac.links.make_absolute`).
    """
    kept = {key: value for key, value in document.items() if key not in _OF_FEATURES}
    return {**kept, "type": "FeatureCollection", "features": [dict(item) for item in items]}
