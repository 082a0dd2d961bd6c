"""The payload of a workflow (stac-task, Cirrus): an ItemCollection with a process list, handed from task to task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["is_payload", "update_payload"]

_OF_FEATURES: Final = frozenset({"bbox", "context", "numberMatched", "numberReturned", "timeStamp", "timestamp", "links"})


def is_payload(document: object) -> bool:
    """Tell whether a document is the payload of a workflow: an ItemCollection that says how it is processed."""
    return (
        isinstance(document, Mapping)
        and document.get("type", "FeatureCollection") == "FeatureCollection"
        and isinstance(document.get("process"), list | Mapping)
    )


def update_payload(document: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Give the payload that goes to the next task: the same but for its Items.

    Id and process list stay as they came, all entries of a chain included: taking the first off is the business of what runs
    the workflow. What an API said of the Items that came in (how many there are, where the next page is) goes with them.

    Parameters
    ----------
    document
        Decoded JSON, for which :func:`is_payload` holds; not changed.
    items
        What the task made, with absolute hrefs (:func:`stac.links.make_absolute`).
    """
    kept = {key: value for key, value in document.items() if key not in _OF_FEATURES}
    return {**kept, "type": "FeatureCollection", "features": [dict(item) for item in items]}
