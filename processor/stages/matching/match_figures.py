"""Figures that judge a matching from the moments of matched blocks, without another pixel.

What is left along the seams, where the scenes disagree, and whether light within the scenes is left or was hidden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from processor.model import Adjustment, BlockMap
from processor.stages.matching.block_weights import BlockTable, adjust_scenes
from processor.stages.matching.illumination import compute_trend
from processor.stages.matching.method import SceneCorrection
from processor.stages.matching.pair_difference import Radiometry, compute_pair_difference, make_radiometry
from processor.stages.measures import MatchedPairs

_HIGH: Final = 0.95
_DISAGREE: Final = 0.25  # agreement of a block whose residual is 3.2 robust standard deviations
_MOST_BLOCKS: Final = 200_000  # that a trend is sought in; of more, those of evenly chosen pairs
_COLUMNS: Final = 1 << 32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MatchFigures:
    """What the moments of matched blocks say about a mosaic; NaN: unknown."""

    seam_blocks: int
    """Blocks that seams pass through, of those that were measured."""
    seam_mean: NDArray[np.float64]
    """Mean over those blocks of the RMS difference of the two matched scenes, float64 (bands,), units of the matched scenes;
    weighted by the length of the seam in them.
    """
    seam_high: NDArray[np.float64]
    """Its 95th percentile, float64 (bands,)."""
    disagreement: float
    """Share of the blocks of the overlaps in which the scenes disagree: clouds and change, 0 to 1."""
    trend: float
    """R² of the blocks' differences against a pattern of light that all scenes share, after all matching, 0 to 1."""
    trend_global: float
    """The same after the global adjustment alone, before corrections that vary within a scene."""
    trend_size: float
    """RMS of that pattern's differences between scenes, as a share of the level, after the global adjustment alone."""


def compute_match_figures(
    matched: MatchedPairs,
    seam_blocks: NDArray[np.int64],
    scenes: Sequence[str],
    adjustments: Sequence[Adjustment],
    corrections: Sequence[SceneCorrection],
    agreement: BlockMap | None,
) -> MatchFigures:
    """Judge a matching.

    Parameters
    ----------
    matched
        As measured, of raw scenes.
    seam_blocks
        From :func:`processor.stages.seam_blocks.merge_seam_blocks`, int64 (5, n).
    scenes
        Names of the scenes in the order of their indexes.
    adjustments, corrections
        Of the scenes; a scene that is missing is left as it is.
    agreement
        The map of agreement, where a method made one.
    """
    radiometry = make_radiometry(adjustments, corrections)
    difference, length = _compute_seam_differences(matched, seam_blocks, scenes, radiometry)
    known = agreement.values[np.isfinite(agreement.values)] if agreement is not None else np.zeros(0)
    table = _make_adjusted_table(matched, radiometry.adjusted)
    trend_global, size = compute_trend(table)
    return MatchFigures(
        seam_blocks=len(length),
        seam_mean=difference @ length / length.sum() if len(length) else np.full(matched.bands, np.nan),
        seam_high=_find_quantile(difference, length, _HIGH),
        disagreement=float(np.mean(known < _DISAGREE)) if known.size else float("nan"),
        trend=compute_trend(_correct_means(table, radiometry.corrected))[0] if radiometry.corrected else trend_global,
        trend_global=trend_global,
        trend_size=size,
    )


def _compute_seam_differences(
    matched: MatchedPairs,
    seam_blocks: NDArray[np.int64],
    scenes: Sequence[str],
    radiometry: Radiometry,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """RMS differences of matched scenes in the blocks that seams pass through, (bands, n), and the seams' lengths, (n,)."""
    parts = {(part.first, part.second): part for part in matched.blocks}
    starts = np.flatnonzero(np.diff(seam_blocks[:2], axis=1, prepend=-1).any(axis=0))
    differences, lengths = [np.zeros((matched.bands, 0))], [np.zeros(0)]
    ends = np.append(starts[1:], seam_blocks.shape[1])[: len(starts)]
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        first, second = seam_blocks[:2, start].tolist()
        part = parts.get((scenes[first - 1], scenes[second - 1]))
        if part is None or not len(part.count):
            continue
        keys = part.row.astype(np.int64) * _COLUMNS + part.col
        wanted = seam_blocks[2, start:end] * _COLUMNS + seam_blocks[3, start:end]
        order = np.argsort(keys, kind="stable")  # blocks that were moved to this canvas may have changed places
        place = order[np.searchsorted(keys, wanted, sorter=order).clip(max=len(keys) - 1)]
        found = keys[place] == wanted
        differences.append(compute_pair_difference(part, place[found], matched.canvas, radiometry))
        lengths.append(seam_blocks[4, start:end][found].astype(np.float64))
    return np.concatenate(differences, axis=1), np.concatenate(lengths)


def _find_quantile(values: NDArray[np.float64], weights: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """The least value that so much of the weight does not exceed, by row, (bands,); NaN without any."""
    if not len(weights):
        return np.full(len(values), np.nan)
    order = np.argsort(values, axis=1, kind="stable")
    running = np.cumsum(weights[order], axis=1)
    place = (running < share * running[:, -1:]).sum(axis=1)
    return np.asarray(np.take_along_axis(values, order, axis=1)[np.arange(len(values)), place])


def _make_adjusted_table(matched: MatchedPairs, adjusted: Mapping[str, Adjustment]) -> BlockTable:
    """Blocks of pairs of scenes after the global adjustment: of all pairs, or of evenly chosen ones."""
    references = set(matched.references)
    parts = [part for part in matched.blocks if not {part.first, part.second} & references]
    step = max(1, -(-sum(len(part.count) for part in parts) // _MOST_BLOCKS))
    table = replace(matched, blocks=tuple(parts[::step]), references=(), held=()).make_table()
    return adjust_scenes(table, adjusted)


def _correct_means(table: BlockTable, corrected: Mapping[str, SceneCorrection]) -> BlockTable:
    """The table with block means as corrections leave a pixel at the block's mean position."""
    mean = table.mean.copy()
    for side, scenes in enumerate((table.first, table.second)):
        scene = table.spread(scenes)
        order = np.argsort(scene, kind="stable")
        ends = np.searchsorted(scene[order], np.arange(len(table.names) + 1)).tolist()
        for name, start, end in zip(table.names, ends[:-1], ends[1:], strict=True):
            correction = corrected.get(name)
            if correction is not None and start < end:
                blocks = order[start:end]
                mean[side][:, blocks] = correction.apply_at(mean[side][:, blocks], table.x[blocks], table.y[blocks])
    return replace(table, mean=mean)
