"""Sensor, sun and cloud properties of a mosaic, merged from the Items of its scenes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from processor.model import Scene
from stac.fields import is_number

_AGREED: Final = ("platform", "instruments", "constellation", "gsd", "grid:code", "processing:level")
_GRID_CODE: Final = re.compile(r"[A-Z0-9]+-[-_.A-Za-z0-9]+")
_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "eo:cloud_cover": (0, 100),
    "view:off_nadir": (0, 90),
    "view:sun_azimuth": (0, 360),
    "view:sun_elevation": (-90, 90),
}
_CIRCULAR: Final = frozenset({"view:sun_azimuth"})
_DECIMALS: Final = 6  # fewer than those in which sine and cosine differ between machines
_UNDIRECTED: Final = 1e-6  # length below which a mean of unit vectors has no direction


def merge_properties(scenes: Sequence[Scene], owned: Mapping[str, int] | None) -> dict[str, Any]:
    """Merge properties of the scenes' Items.

    Platform, instruments, constellation, gsd, grid code and processing level are kept where all scenes agree. Cloud cover and
    angles are means weighted by the number of mosaic pixels of each scene, if all contributing scenes have a valid value. The
    sun azimuth is a circular mean (Mardia & Jupp, Directional Statistics, 2000, 2.2.1), left out where directions cancel out.

    Parameters
    ----------
    scenes
        All inputs; at least one.
    owned
        Number of mosaic pixels from each scene, by scene name. None where unknown: then a mean is given only if all scenes have
        the same value.
    """
    properties = [_spell_out(scene.provenance.properties) for scene in scenes]
    fields: dict[str, Any] = {}
    for key in _AGREED:
        first = properties[0].get(key)
        if _is_valid(key, first) and all(other.get(key) == first for other in properties):
            fields[key] = first
    weights = [1 if owned is None else owned.get(scene.name, 0) for scene in scenes]
    contributing = [(values, weight) for values, weight in zip(properties, weights, strict=True) if weight > 0]
    for key in _RANGES:
        pairs = [(values.get(key), weight) for values, weight in contributing]
        mean = _compute_mean(key, pairs, same=owned is None)
        if mean is not None:
            fields[key] = mean
    return fields


def _spell_out(properties: Mapping[str, Any]) -> Mapping[str, Any]:
    """Properties with sun angles and grid code added from the ``s2:`` fields of Sentinel-2 Items."""
    spelled = dict(properties)
    zenith, tile = properties.get("s2:mean_solar_zenith"), properties.get("s2:mgrs_tile")
    elevation = 90 - zenith if is_number(zenith) else None
    spelled.setdefault("view:sun_azimuth", properties.get("s2:mean_solar_azimuth"))
    spelled.setdefault("view:sun_elevation", elevation)
    spelled.setdefault("grid:code", f"MGRS-{tile}" if isinstance(tile, str) else None)
    return spelled


def _is_valid(key: str, value: object) -> bool:
    if key == "gsd":
        return is_number(value) and value > 0
    if key == "instruments":
        return isinstance(value, list) and bool(value) and all(isinstance(word, str) for word in value)
    if key == "grid:code":
        return isinstance(value, str) and _GRID_CODE.fullmatch(value) is not None
    return isinstance(value, str)


def _compute_mean(key: str, pairs: Sequence[tuple[Any, int]], *, same: bool) -> float | None:
    low, high = _RANGES[key]
    if not pairs or not all(is_number(value) and low <= value <= high for value, _ in pairs):
        return None
    if all(value == pairs[0][0] for value, _ in pairs):
        return float(pairs[0][0])
    if same:
        return None
    total = sum(weight for _, weight in pairs)
    if key in _CIRCULAR:
        sine = math.fsum(weight * math.sin(math.radians(value)) for value, weight in pairs) / total
        cosine = math.fsum(weight * math.cos(math.radians(value)) for value, weight in pairs) / total
        if math.hypot(sine, cosine) < _UNDIRECTED:
            return None
        return round(math.degrees(math.atan2(sine, cosine)) % 360, _DECIMALS) % 360
    return round(math.fsum(weight * value for value, weight in pairs) / total, _DECIMALS)
