"""Stage 1, robust regression: gains from spreads and offsets from levels of the blocks that agree, symmetric and unanchored.

Where the anchors of the global regression (Yu et al. 2017) draw all scenes towards the same flat one, here the mean gain of a
group is 1 by definition, so that contrast is kept. What changed between the scenes is left out by robust weights, as invariant
pixels are in IR-MAD (Canty & Nielsen 2008, "Automatic radiometric normalization of multitemporal satellite imagery with the
iteratively re-weighted MAD transformation", doi 10.1016/j.rse.2007.07.013), though by the residuals of blocks and not by
canonical variates.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from processor.model import Adjustment, BlockMap, Finding, Moments, Overlap
from processor.model.names import choose_scenes
from processor.model.options import Paths
from processor.stages.files import BlockRaster, DataFile, TextFile
from processor.stages.matching.adjustments_file import KnownStatistics, render_adjustments
from processor.stages.matching.agreement import draw_agreement, make_agreement_raster
from processor.stages.matching.block_weights import (
    BlockTable,
    adjust_scenes,
    hold_scenes,
    prepare_weighting,
    start_weights,
    sum_pairs,
    update_weights,
)
from processor.stages.matching.blocks_file import KnownBlocks, render_blocks
from processor.stages.matching.method import GlobalMethod, GlobalSolution
from processor.stages.matching.options import RobustRegressionOptions
from processor.stages.matching.pair_network import find_groups, solve_differences
from processor.stages.measures import Measures
from processor.stages.method import Need, Region, WantedCopy

_CONSTANT: Final = 1e-12  # of the mean square: a variance below is rounding
_FLOOR: Final = 1e-6  # of the pairs' typical spread: residuals below are rounding
_LEAST: Final = 1e-200  # source units: a spread that can be divided by


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RobustSolution:
    """Gains and offsets of all scenes of a table, and what they follow from."""

    scale: NDArray[np.float64]
    """Gain of each scene and band, float64 (scenes, bands), dimensionless, positive."""
    offset: NDArray[np.float64]
    """Offset of each scene and band, float64 (scenes, bands), source units."""
    weights: NDArray[np.float64]
    """Weight of each block, float64 (n,), 0 to 1."""
    groups: NDArray[np.intp]
    """Group of scenes that hang together, intp (scenes,), numbered from 0; each has its own level and contrast."""


def solve_robust_regression(table: BlockTable, *, rounds: int = 15, with_offsets: bool = True) -> RobustSolution:
    """Solve for the gain and the offset of every scene and band, robustly.

    For each band with gain a = exp(alpha), least squares of alpha_i - alpha_j = ln(V_j / V_i) / 2, V the variance of a pair's
    blocks, between and within, weighted with w n, and row weight sum(w n); then b_i - b_j = a_j M_j - a_i M_i with the weighted
    means M. In a group in which no scene is held, sum(alpha) = 0, and the offsets keep the sum of the scenes' median levels
    (of the means of their blocks). Weights start and are found as in :mod:`processor.stages.matching.block_weights`, from the
    residuals of the blocks' means and from those of the logarithms of their spreads: a wisp of cloud hardly moves a mean,
    but is most of its variance.

    Parameters
    ----------
    table
        Of all scenes; those held keep gain 1 and offset 0. A scene without blocks does as well.
    rounds
        Solves; each but the last is followed by new weights.
    with_offsets
        False: gains only, and levels agree by them: alpha_i - alpha_j = ln(M_j / M_i), where levels are positive.
    """
    scenes, bands = len(table.names), table.bands
    weighting = prepare_weighting(table)
    weights = start_weights(weighting)
    medians = _compute_medians(table)
    scale, offset = np.ones((scenes, bands)), np.zeros((scenes, bands))
    pair_trust = table.spread(table.trust) * table.count
    weight = np.zeros(len(table.first))
    for number in range(rounds):
        means, variances, weight = _summarise(table, weights * pair_trust)
        if with_offsets:
            scale = np.exp(_solve_gains(table, variances, means, weight))
            offset = _solve_offsets(table, scale, means, weight, medians)
        else:
            scale = np.exp(_solve_gains(table, means * np.abs(means), means, weight))
        if number < rounds - 1:
            floor = np.full(2 * bands, _FLOOR)
            floor[:bands] *= np.maximum(np.sqrt(variances.mean(axis=(0, 2))), _LEAST) if len(weight) else 1.0
            weights = update_weights(weighting, _compute_residuals(table, scale, offset), floor)
    return RobustSolution(
        scale=scale, offset=offset, weights=weights, groups=find_groups(table.first, table.second, weight, scenes)
    )


def _summarise(
    table: BlockTable, weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Weighted means and variances of each pair's blocks, (2, bands, pairs), and the sum of weights (pairs,)."""
    weight = sum_pairs(table, weights)
    safe = np.where(weight > 0, weight, 1.0)
    means = np.empty((2, table.bands, len(weight)))
    variances = np.empty_like(means)
    for side in range(2):
        for band in range(table.bands):
            level = table.mean[side, band]
            means[side, band] = sum_pairs(table, weights * level) / safe
            departure = level - table.spread(means[side, band])
            departure *= departure
            departure += table.variance[side, band]
            departure *= weights
            variances[side, band] = sum_pairs(table, departure) / safe
    return means, variances, weight


def _solve_gains(
    table: BlockTable, variances: NDArray[np.float64], means: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Logarithms of the gains, (scenes, bands). Where a pair is constant in a band it says nothing of that gain."""
    usable = (variances > _CONSTANT * means * means).all(axis=0) & (weight > 0)
    safe = np.where(usable, variances, 1.0)
    difference = 0.5 * np.log(safe[1] / safe[0])
    return _solve_bands(table, usable * weight, difference).T


def _solve_bands(table: BlockTable, weight: NDArray[np.float64], difference: NDArray[np.float64]) -> NDArray[np.float64]:
    """(bands, scenes) from rows of weight (bands, pairs); bands of the same weights share a factorisation."""
    if (weight == weight[:1]).all():
        return solve_differences(table.first, table.second, weight[0], difference, table.held)
    return np.concatenate(
        [
            solve_differences(table.first, table.second, one, rows[None], table.held)
            for one, rows in zip(weight, difference, strict=True)
        ]
    )


def _solve_offsets(
    table: BlockTable,
    scale: NDArray[np.float64],
    means: NDArray[np.float64],
    weight: NDArray[np.float64],
    medians: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Offsets, (scenes, bands), which keep the sum of the median levels in each group where no scene is held."""
    difference = scale[table.second].T * means[1] - scale[table.first].T * means[0]
    offset = solve_differences(table.first, table.second, weight, difference, table.held).T
    groups = find_groups(table.first, table.second, weight, len(table.names))
    number = int(groups.max(initial=-1)) + 1
    anchored = np.zeros(number, np.bool_)
    anchored[groups[table.held]] = True
    known = np.isfinite(medians).all(axis=1)
    size = np.maximum(np.bincount(groups[known], minlength=number), 1)
    for band in range(table.bands):
        excess = (medians[:, band] * (1.0 - scale[:, band]) - offset[:, band])[known]
        level = np.bincount(groups[known], excess, minlength=number) / size
        offset[:, band] += np.where(anchored, 0.0, level)[groups]
    return offset


def _compute_medians(table: BlockTable) -> NDArray[np.float64]:
    """Median of the block means of each scene over all its pairs, (scenes, bands); NaN for a scene without blocks."""
    scene = np.concatenate([table.spread(table.first), table.spread(table.second)])
    order = np.argsort(scene, kind="stable")
    ends = np.searchsorted(scene[order], np.arange(len(table.names) + 1))
    medians = np.full((len(table.names), table.bands), np.nan)
    for band in range(table.bands):
        level = np.concatenate([table.mean[0, band], table.mean[1, band]])[order]
        for number, (start, end) in enumerate(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)):
            if end > start:
                medians[number, band] = np.median(level[start:end])
    return medians


def _compute_residuals(table: BlockTable, scale: NDArray[np.float64], offset: NDArray[np.float64]) -> NDArray[np.float64]:
    """Differences of the adjusted block means, source units, and logarithms of the ratios of their spreads: (2 bands, n)."""
    bands = table.bands
    residuals = np.zeros((2 * bands, len(table.x)))
    for band in range(bands):
        levels, spreads = residuals[band], residuals[bands + band]
        np.multiply(table.spread(scale[table.first, band]), table.mean[0, band], out=levels)
        levels -= table.spread(scale[table.second, band]) * table.mean[1, band]
        levels += table.spread(offset[table.first, band] - offset[table.second, band])
        one, other = table.variance[:, band]
        with np.errstate(over="ignore"):  # to infinity, which is believed as little as any outlier
            ratio = np.divide(one, other, out=np.ones_like(one), where=(one > 0) & (other > 0))
        np.log(ratio, out=spreads)
        spreads *= 0.5
        spreads += table.spread(np.log(scale[table.first, band] / scale[table.second, band]))
        spreads[(one <= 0) | (other <= 0)] = 0.0
    return residuals


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AgreedSolution(GlobalSolution):
    """Adjustments, and where the scenes agree."""

    agreement: BlockMap | None = None
    """How far the scenes agree in each block of their overlaps, 0 to 1, one band; None without overlaps."""


class RobustRegression(GlobalMethod[RobustRegressionOptions]):
    """Solves for all scenes over the blocks in which they agree."""

    records: ClassVar[tuple[type, ...]] = (AgreedSolution,)

    @property
    def output_images(self) -> Paths | None:
        """As configured."""
        return self.options.output_images

    @property
    def has_overviews(self) -> bool:
        """As configured."""
        return self.options.build_overviews

    @property
    def estimates(self) -> bool:
        """As configured."""
        return self.options.estimate_stats

    @property
    def region(self) -> Region | None:
        """Of ``vector_mask``."""
        return self.files.get("vector_mask", Region)

    @property
    def _known(self) -> KnownStatistics:
        return self.files.get("load_adjustments", KnownStatistics) or KnownStatistics()

    @property
    def known_blocks(self) -> KnownBlocks | None:
        """Of ``load_blocks``."""
        return self.files.get("load_blocks", KnownBlocks)

    def recall(self) -> tuple[Mapping[str, Moments], Sequence[Overlap]]:
        """Of ``load_adjustments``."""
        return self._known.whole, self._known.overlaps

    def list_needs(self, scenes: Collection[str]) -> frozenset[Need]:
        """Matched blocks, and moments for the adjustments file, unless those of all scenes are known."""
        blocks: frozenset[Need] = frozenset({"matched_blocks"})
        return blocks if self._known.whole.keys() >= set(scenes) else blocks | {"moments"}

    def list_copies(self, scenes: Sequence[str]) -> Iterator[WantedCopy]:
        """The adjustments."""
        del scenes
        if self.options.save_adjustments is not None:
            yield WantedCopy(option="save_adjustments", key="adjustments", url=self.options.save_adjustments)

    def check(self, scenes: Sequence[str]) -> None:
        """Refuse names of scenes that are none."""
        self.hold(scenes)

    def hold(self, scenes: Sequence[str]) -> tuple[str, ...]:
        """Those of ``specify_model_images``."""
        setting = self.options.specify_model_images
        return tuple(sorted(choose_scenes(setting, scenes, parameter="robust_regression.specify_model_images") or ()))

    def solve(self, measures: Measures) -> GlobalSolution:
        """:func:`solve_robust_regression`."""
        matched = measures.require_matched()
        names = [scene.name for scene in measures.scenes]
        table = hold_scenes(adjust_scenes(matched.make_table(), matched.known), matched.known.keys())
        solved = solve_robust_regression(table, with_offsets=self.options.offsets)
        position = {name: number for number, name in enumerate(table.names)}
        return AgreedSolution(
            adjustments=tuple(
                matched.known.get(name)
                or Adjustment(scene=name, scale=solved.scale[position[name]], offset=solved.offset[position[name]])
                for name in names
            ),
            findings=tuple(self._judge_groups(table, solved, names)),
            agreement=draw_agreement(table, solved.weights, matched.canvas),
        )

    def _judge_groups(self, table: BlockTable, solved: RobustSolution, names: Sequence[str]) -> Iterator[Finding]:
        """Say that there are groups of scenes without a common level."""
        groups = {name: group for name, group in zip(table.names, solved.groups.tolist(), strict=True) if name in names}
        if len(set(groups.values())) == 1 or table.held.any():
            return
        first = [min(name for name, one in groups.items() if one == group) for group in sorted(set(groups.values()))]
        message = (
            f"{len(first)} groups of scenes share no block in which they agree, so each keeps a level of its own; one scene of "
            f"each: {', '.join(first[:5])}"
        )
        yield Finding(severity="warning", code="groups-unconnected", message=message, stage=self.name)

    def _join(self, measures: Measures) -> tuple[dict[str, Moments], tuple[Overlap, ...]]:
        """Statistics of the run's scenes, known ones first."""
        names = {scene.name for scene in measures.scenes}
        whole, overlaps = self._known.join(measures)
        mine = tuple(overlap for overlap in overlaps if {overlap.first, overlap.second} <= names)
        return {name: moments for name, moments in whole.items() if name in names}, mine

    def list_files(self, measures: Measures, solution: GlobalSolution) -> Iterator[TextFile | DataFile | BlockRaster]:
        """The adjustments, and the map of agreement."""
        yield TextFile(
            key="adjustments",
            path="adjustments.json",
            title="Scale and offset of each scene and band, and the statistics of scenes and overlaps",
            media_type="application/json",
            text=render_adjustments(solution.adjustments, *self._join(measures)),
        )
        if measures.matched is not None:
            yield DataFile(
                key="matched_blocks",
                path="matched_blocks.npz",
                title="Moments of the blocks of all overlaps, which the adjustments follow from",
                media_type="application/zip",
                data=render_blocks(measures.matched),
            )
        if isinstance(solution, AgreedSolution) and solution.agreement is not None:
            yield make_agreement_raster(solution.agreement)
