"""The adjustments file: global corrections and the statistics that they follow from, as spectralmatch 1.2.1 writes them.

{scene: {"adjustments": {"band_0": {"scale", "offset"}}, "whole_stats": {"band_0": {"mean", "std", "size"}},
"overlap_stats": {other: {"band_0": {"mean", "std", "size"}}}}}, bands counted from 0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from processor.errors import InputError
from processor.model import Adjustment, Moments, Overlap
from processor.stages.matching.file_checks import parse_json, require_mapping, require_member, require_number
from processor.stages.measures import Measures

_LARGEST_COUNT: Final = 2**53  # pixels: whole numbers are exact up to there


def render_adjustments(adjustments: Sequence[Adjustment], whole: Mapping[str, Moments], overlaps: Sequence[Overlap]) -> str:
    """The file's text.

    Parameters
    ----------
    adjustments
        Of every scene, in name order.
    whole
        Moments of every scene's valid pixels, by name; of a scene without such pixels only the size, 0, means anything.
    overlaps
        Moments of every pair over its common pixels.
    """
    document: dict[str, dict[str, Any]] = {
        adjustment.scene: {
            "adjustments": {
                f"band_{band}": {"scale": float(scale), "offset": float(offset)}
                for band, (scale, offset) in enumerate(zip(adjustment.scale, adjustment.offset, strict=True))
            },
            "whole_stats": _render_stats(whole[adjustment.scene]),
            "overlap_stats": {},
        }
        for adjustment in adjustments
    }
    for overlap in overlaps:
        document[overlap.first]["overlap_stats"][overlap.second] = _render_stats(overlap.first_moments)
        document[overlap.second]["overlap_stats"][overlap.first] = _render_stats(overlap.second_moments)
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _render_stats(moments: Moments) -> dict[str, dict[str, float | int]]:
    means, stds = (moments.mean, moments.std) if moments.count else (np.zeros(len(moments.mean)),) * 2
    return {
        f"band_{band}": {"mean": float(mean), "std": float(std), "size": moments.count}
        for band, (mean, std) in enumerate(zip(means, stds, strict=True))
    }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KnownStatistics:
    """What an adjustments file says of the scenes' statistics; their minima and maxima are not in it (NaN)."""

    whole: Mapping[str, Moments] = field(default_factory=dict)
    """Moments of each scene, by name."""
    overlaps: tuple[Overlap, ...] = ()
    """Of each pair, in name order."""

    def join(self, measures: Measures) -> tuple[dict[str, Moments], tuple[Overlap, ...]]:
        """Statistics of all scenes: known ones, and measured ones of scenes and pairs that are not among these."""
        new = tuple(o for o in measures.overlaps if not (o.first in self.whole and o.second in self.whole))
        whole = {**{scene.name: scene.moments for scene in measures.scenes}, **self.whole}
        return whole, tuple(sorted((*self.overlaps, *new), key=lambda o: (o.first, o.second)))


def parse_adjustments(text: str, *, source: str, bands: int) -> KnownStatistics:
    """Parse an adjustments file; its gains and offsets are solved for again, so only its statistics are taken.

    Parameters
    ----------
    source
        Names the file in errors.
    bands
        How many bands the scenes have.

    Raises
    ------
    InputError
        Naming the scene and the key that is missing or wrong.
    """
    document = parse_json(text, source)
    if not isinstance(document, dict) or not document:
        msg = f"{source} must be a mapping of scenes to their adjustments and statistics, as save_adjustments writes it"
        raise InputError(msg)
    whole: dict[str, Moments] = {}
    halves: dict[tuple[str, str], Moments] = {}
    for scene, entry in document.items():
        place = f"{source}, scene {scene}"
        whole[scene] = _parse_stats(require_member(entry, "whole_stats", place), f"{place}, whole_stats", bands)
        for other, stats in require_mapping(require_member(entry, "overlap_stats", place), f"{place}, overlap_stats").items():
            if other in document:
                halves[scene, other] = _parse_stats(stats, f"{place}, overlap_stats, {other}", bands)
    overlaps = []
    for first, second in sorted(halves):
        if (second, first) not in halves:
            msg = f"{source}, scene {second}, overlap_stats: {first} is missing, though {first} has {second}"
            raise InputError(msg)
        if first < second:
            moments = halves[first, second], halves[second, first]
            overlaps.append(Overlap(first=first, second=second, first_moments=moments[0], second_moments=moments[1]))
    return KnownStatistics(whole=whole, overlaps=tuple(overlaps))


def _parse_stats(stats: object, place: str, bands: int) -> Moments:
    keys = [f"band_{band}" for band in range(bands)]
    extra = sorted(set(require_mapping(stats, place)) - set(keys))
    if extra:
        msg = f"{place}: {', '.join(extra)} is more than the {bands} bands of the scenes"
        raise InputError(msg)
    rows = [require_mapping(require_member(stats, key, place), f"{place}, {key}") for key in keys]
    numbers = {
        name: [require_number(row, name, f"{place}, {key}") for key, row in zip(keys, rows, strict=True)]
        for name in ("mean", "std", "size")
    }
    count = numbers["size"][0]
    if not 0 <= count <= _LARGEST_COUNT or any(size != count for size in numbers["size"]) or count != int(count):
        msg = f"{place}: size must be one whole number of pixels for all bands, got {numbers['size']}"
        raise InputError(msg)
    if min(numbers["std"]) < 0:
        msg = f"{place}: std must not be negative, got {numbers['std']}"
        raise InputError(msg)
    unknown = np.full(bands, np.nan)
    return Moments(
        count=int(count),
        mean=np.array(numbers["mean"]),
        m2=np.square(np.array(numbers["std"])) * count,
        minimum=unknown,
        maximum=unknown,
    )
