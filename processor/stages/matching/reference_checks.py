"""Whether references say enough of the scenes: what is held by one that does not would be wrong, and nothing would show it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from processor.errors import InputError
from processor.model import Finding
from processor.stages.matching.block_weights import LEAST_VALID
from processor.stages.matching.matched_blocks import MatchedBlocks
from processor.stages.measures import MatchedPairs

_CONSTANT: Final = 1e-12  # of the mean square: a variance below is rounding
_ENOUGH: Final = 100  # blocks of a reference, from which likeness is judged
_UNLIKE: Final = 0.2  # quadrant correlation; of ground and noise it is 0, of one ground seen by two sensors above 0.4
_NAMED: Final = 5


def judge_references(matched: MatchedPairs) -> tuple[Finding, ...]:
    """Judge what the references of a run say, from their matched blocks.

    Returns
    -------
    Warnings: references without a block, that hold levels alone, or that are unlike the scenes.

    Raises
    ------
    InputError
        No reference has a block, or none varies: what comes out would have neither their units nor the scenes'.
    """
    if not matched.references:
        return ()
    means = {name: _list_means(matched.blocks, name) for name in matched.references}
    known = {name: parts for name, parts in means.items() if parts}
    if not known:
        msg = (
            f"{_call(sorted(means))} says nothing of the scenes: no block has values of both in {LEAST_VALID:.0%} of it; check "
            "its nodata value and mask (reference.nodata, reference.mask), or give a finer one"
        )
        raise InputError(msg)
    everything = np.concatenate([part[1] for parts in known.values() for part in parts], axis=1)
    flat = [str(band + 1) for band, values in enumerate(everything) if not _varies(values)]
    if flat:
        what = f"is constant in band {', '.join(flat)}" if everything.shape[1] > 1 else "has a single block on the scenes"
        msg = f"{_call(sorted(known))} {what}, from which no gain follows; give one that shows the ground of the scenes"
        raise InputError(msg)
    return tuple(_judge(means, known))


def _judge(means: dict[str, list[_Pair]], known: dict[str, list[_Pair]]) -> Iterator[Finding]:
    silent = sorted(means.keys() - known.keys())
    if silent:
        message = f"{_call(silent)} has no value on the scenes, and decides nothing; check its nodata value and mask"
        yield Finding(severity="warning", code="reference-silent", message=message)
    pairs = [part for parts in known.values() for part in parts]
    if not any(all(_varies(values) for values in theirs) for _, theirs in pairs):
        message = (
            f"{_call(sorted(known))} tells one level of each scene, and no gain; where its units are not those of the scenes, "
            "the contrast is wrong: give a finer one"
        )
        yield Finding(severity="warning", code="reference-levels-only", message=message)
    unlike = [name for name, parts in sorted(known.items()) if _compute_likeness(parts) < _UNLIKE]
    if unlike:
        message = (
            f"{_call(unlike)} hardly looks like the scenes, so what it holds is likely wrong; check its place, its bands "
            "(reference.bands), its season and its clouds (reference.mask)"
        )
        yield Finding(severity="warning", code="reference-unlike", message=message)


_Pair = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Block means of a scene and of a reference, float64 (bands, n) each."""


def _list_means(blocks: Sequence[MatchedBlocks], name: str) -> list[_Pair]:
    """Means of the blocks that count of each scene against a reference; scenes without any are left out."""
    found = []
    for part in blocks:
        if name in {part.first, part.second}:
            counts = part.count >= LEAST_VALID * part.whole
            sides = part.sums[:2][:, :, counts] / part.count[counts]
            if counts.any():
                found.append((sides[0], sides[1]) if part.second == name else (sides[1], sides[0]))
    return found


def _varies(values: NDArray[np.float64]) -> bool:
    return len(values) > 1 and bool(values.var() > _CONSTANT * np.square(values).mean())


def _compute_likeness(parts: Sequence[_Pair]) -> float:
    """Quadrant correlation (Blomqvist 1950) of block means, over bands and scenes; 1 where there are too few to judge.

    The share of blocks in which both are brighter or both darker than their medians, from -1 to 1: clouds over less than half
    do not turn it.
    """
    number = sum(scene.shape[1] for scene, _ in parts)
    if number < _ENOUGH:
        return 1.0
    agreed = 0.0
    for part in parts:
        scene, reference = (np.sign(side - np.median(side, axis=1, keepdims=True)) for side in part)
        agreed += float((scene * reference).sum())
    return agreed / float(number * len(parts[0][0]))


def _call(names: Sequence[str]) -> str:
    plain = [name.partition(":")[2] or name for name in names]
    more = f" and {len(plain) - _NAMED} more" if len(plain) > _NAMED else ""
    return f"reference {', '.join(plain[:_NAMED])}{more}"
