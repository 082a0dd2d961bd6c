"""Spatial and temporal extent of a Collection, which covers all of its Items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pystac.utils import str_to_datetime

WORLD: Final = [-180.0, -90.0, 180.0, 90.0]
"""Bounding box of an Item without a known location."""

_TOLERANCE: Final = 1e-9  # degrees, a tenth of a millimetre
_LONGITUDES: Final = 360.0


def union_extent(extent: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    """Widen an extent to cover an Item: its first bbox and first interval, which cover all Items together.

    Parameters
    ----------
    extent
        Of a Collection: ``spatial.bbox`` and ``temporal.interval``, neither of them empty.
    item
        Without a bbox, the spatial extent stays.
    """
    spatial, temporal = extent["spatial"], extent["temporal"]
    boxes, intervals = spatial["bbox"], temporal["interval"]
    bbox = union_bbox(boxes[0], item["bbox"]) if item.get("bbox") else list(boxes[0])
    properties = item["properties"]
    taken = [properties.get(key) or properties.get("datetime") for key in ("start_datetime", "end_datetime")]
    return {
        **extent,
        "spatial": {**spatial, "bbox": [bbox, *boxes[1:]]},
        "temporal": {**temporal, "interval": [union_interval(intervals[0], taken), *intervals[1:]]},
    }


def union_bbox(one: Sequence[float], other: Sequence[float]) -> list[float]:
    """Union of two bounding boxes (west, south, east, north); with heights if the first has them.

    A box with west > east crosses the antimeridian (RFC 7946, 5.2). Of the two ways around the Earth the shorter one is taken.

    Examples
    --------
    >>> union_bbox([170, -10, 175, 0], [-175, -5, -170, 5])
    [170, -10, -170, 5]
    """
    high = len(one) // 2
    west, east = _union_arc((one[0], one[high]), (other[0], other[len(other) // 2]))
    south, north = min(one[1], other[1]), max(one[high + 1], other[len(other) // 2 + 1])
    return [west, south, east, north] if high == 2 else [west, south, one[2], east, north, one[5]]


def union_interval(one: Sequence[str | None], other: Sequence[str | None]) -> list[str | None]:
    """Union of two intervals; None is an open end."""
    return [_choose(one[0], other[0], earliest=True), _choose(one[1], other[1], earliest=False)]


def _choose(one: str | None, other: str | None, *, earliest: bool) -> str | None:
    if one is None or other is None:
        return None
    return one if (str_to_datetime(one) <= str_to_datetime(other)) == earliest else other


def _union_arc(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """Shortest arc of longitudes, from west to east, that covers both arcs."""
    if _is_covered(other, one):
        return one
    if _is_covered(one, other):
        return other
    arcs = [arc for arc in ((one[0], other[1]), (other[0], one[1])) if _is_covered(one, arc) and _is_covered(other, arc)]
    return min(arcs, key=lambda arc: (_compute_width(arc), arc[0] > arc[1]), default=(WORLD[0], WORLD[2]))


def _is_covered(inner: tuple[float, float], arc: tuple[float, float]) -> bool:
    width = _compute_width(arc)
    if width >= _LONGITUDES:
        return True
    start = (inner[0] - arc[0] + _TOLERANCE) % _LONGITUDES - _TOLERANCE
    return start + _compute_width(inner) <= width + _TOLERANCE


def _compute_width(arc: tuple[float, float]) -> float:
    return arc[1] - arc[0] if arc[1] >= arc[0] else arc[1] - arc[0] + _LONGITUDES
