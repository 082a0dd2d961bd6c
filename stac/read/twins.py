"""Items that should perhaps not be used together: the same one twice, reprocessed ones beside the old, deprecated ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pystac.utils import str_to_datetime

from processor.model import Finding, SceneRef
from stac.documents import clean_text, list_words
from stac.hrefs import is_absolute

_SAME_PASS: Final = 60.0  # seconds by which two versions of one acquisition may differ
_TILES: Final = (
    ("grid:code",),
    ("s2:mgrs_tile",),
    ("mgrs:utm_zone", "mgrs:latitude_band", "mgrs:grid_square"),
    ("sentinel:utm_zone", "sentinel:latitude_band", "sentinel:grid_square"),
    ("landsat:wrs_path", "landsat:wrs_row"),
)
"""Properties that name a tile of the ground, the first that are there count."""


def drop_identical(
    features: Sequence[Any], bases: Sequence[str] | None
) -> tuple[list[Any], tuple[str, ...] | None, tuple[Finding, ...]]:
    """Leave out Items that are there twice, as overlapping searches give them; links do not matter.

    Parameters
    ----------
    features
        Decoded JSON, not checked yet.
    bases
        URL or absolute path of each one's document; None: they are from one.

    Returns
    -------
    (features, bases, findings) of which each is there once.
    """
    seen: set[str] = set()
    kept: list[int] = []
    dropped: list[str] = []
    for position, feature in enumerate(features):
        if not isinstance(feature, Mapping):
            kept.append(position)
            continue
        content = {key: value for key, value in feature.items() if key != "links"}
        place = None if bases is None or not _has_relative(feature) else bases[position].rpartition("/")[0]
        key = json.dumps([content, place], sort_keys=True, default=str)
        if key in seen:
            dropped.append(clean_text(feature.get("id")))
        else:
            seen.add(key)
            kept.append(position)
    left = None if bases is None else tuple(bases[position] for position in kept)
    return [features[position] for position in kept], left, tell_dropped(dropped)


def tell_dropped(ids: Sequence[str]) -> tuple[Finding, ...]:
    """The finding about Items that are there more than once."""
    if not ids:
        return ()
    message = f"{len(ids):,} Items are there more than once and are used once: {list_words(dict.fromkeys(ids))}"
    return (Finding(severity="info", code="items-repeated", message=message),)


def _has_relative(feature: Mapping[str, Any]) -> bool:
    assets = feature.get("assets")
    hrefs = (
        [asset.get("href") for asset in assets.values() if isinstance(asset, Mapping)] if isinstance(assets, Mapping) else []
    )
    return any(isinstance(href, str) and not is_absolute(href) for href in hrefs)


def judge_items(refs: Sequence[SceneRef]) -> tuple[Finding, ...]:
    """Findings about deprecated Items, and about several that show one tile at one time."""
    return (*_find_deprecated(refs), *_find_twins(refs))


def _find_deprecated(refs: Sequence[SceneRef]) -> tuple[Finding, ...]:
    names = [ref.provenance.title or ref.name for ref in refs if ref.provenance.properties.get("deprecated") is True]
    if not names:
        return ()
    message = f"{len(names):,} Items are deprecated by their catalogue, {list_words(names)}: use what replaces them"
    return (Finding(severity="warning", code="items-deprecated", message=message),)


def _find_twins(refs: Sequence[SceneRef]) -> tuple[Finding, ...]:
    """Scenes of one platform, tile and time: mostly one acquisition, processed twice."""
    by_tile: dict[tuple[str, ...], list[tuple[float, str]]] = {}
    for ref in refs:
        properties, start = ref.provenance.properties, ref.provenance.start
        tile = next((tile for keys in _TILES if (tile := _read_words(properties, keys)) is not None), None)
        if tile is not None and start is not None:
            key = (str(properties.get("platform")).casefold(), str(ref.provenance.collection), *tile)
            moment = str_to_datetime(start).timestamp()
            by_tile.setdefault(key, []).append((moment, ref.provenance.title or ref.name))
    pairs = [
        (first, second)
        for found in by_tile.values()
        for (earlier, first), (later, second) in zip(sorted(found), sorted(found)[1:], strict=False)
        if later - earlier <= _SAME_PASS
    ]
    if not pairs:
        return ()
    first, second = pairs[0]
    more = f", and {len(pairs) - 1:,} more pairs" if len(pairs) > 1 else ""
    message = (
        f"Items {first!r} and {second!r} are of one platform, tile and time{more}: one may be the other, processed anew; leave "
        "out the older version, whose values differ without a reason on the ground"
    )
    return (Finding(severity="warning", code="items-twice-processed", message=message),)


def _read_words(properties: Mapping[str, Any], keys: Sequence[str]) -> tuple[str, ...] | None:
    values = [properties.get(key) for key in keys]
    return None if any(not isinstance(value, str | int) for value in values) else tuple(map(str, values))
