"""Matched blocks of all pairs in arrays, and how far each block is believed: robust weights without a cloud mask.

Blocks whose texture agrees are where to start: clouds, shadows and change destroy the structure inside a block; gain, offset,
vignette and haze do not. From there Tukey's biweight decides, in a fixed number of rounds, so that a run can be repeated.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from processor.model import Adjustment, Bounds, Grid
from processor.stages.matching.matched_blocks import MatchedBlocks

LEAST_VALID: Final = 0.3
"""Share of a block's pixels that have to be valid in both, for it to count."""

_CUT_OFF: Final = 4.5  # of Tukey's biweight, in robust standard deviations
_MAD: Final = 1.4826  # standard deviations of a normal distribution in its median absolute deviation
_LEAST_RHO: Final = 0.05
_MOST_RHO: Final = 0.99  # no pair has to be better
_BEHIND: Final = 0.5  # of the best z in the same place
_DEEP: Final = 10  # pairs in the same place that tell which of them are behind
_LEAST_SHARE: Final = 8  # a pair starts from one in so many of its blocks at least
_PRIOR: Final = 4.0  # blocks: a pair of few blocks takes its scale partly from the run's typical pair
_UNUSUAL: Final = 3.0  # times the typical scale of residuals: from there on a pair as a whole is believed less
_LEAST_BELIEF: Final = 1e-3
_CONSTANT: Final = 1e-12  # of the mean square: a variance below is rounding
_COLUMNS: Final = 1 << 32  # of any lattice: row and column in one number
_NEIGHBOURS: Final = 2  # blocks to either side that tell how well a scene's block follows the reference


_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockTable:
    """Moments of the matched blocks of all pairs, pair after pair; n blocks."""

    names: tuple[str, ...]
    """Names of the scenes and references, in name order."""
    bounds: NDArray[np.float64]
    """Left, bottom, right and top of each scene, float64 (scenes, 4), CRS units."""
    held: NDArray[np.bool_]
    """Scenes that keep their radiometry, bool (scenes,): references, and those that the user holds."""
    first: NDArray[np.intp]
    """Scene of each pair, intp (pairs,)."""
    second: NDArray[np.intp]
    """The other scene of each pair, intp (pairs,)."""
    starts: NDArray[np.intp]
    """First block of each pair, and n at the end, intp (pairs + 1,)."""
    trust: NDArray[np.float64]
    """Factor on the weights of a pair's blocks, float64 (pairs,): 1, or less for a reference."""
    lattice: NDArray[np.intp]
    """Lattice of each pair's blocks, intp (pairs,): of the canvas 0, of a reference its position among the names plus 1."""
    edge: NDArray[np.float64]
    """Edge of each pair's blocks, float64 (pairs,), canvas pixels."""
    row: NDArray[np.int32]
    """Rows of the blocks in their pair's lattice, int32 (n,)."""
    col: NDArray[np.int32]
    """Columns of the blocks in their pair's lattice, int32 (n,)."""
    x: NDArray[np.float64]
    """Mean x of the pixels of a block, float64 (n,), CRS units."""
    y: NDArray[np.float64]
    """Mean y of the pixels of a block, float64 (n,), CRS units."""
    count: NDArray[np.float64]
    """Common valid pixels, float64 (n,)."""
    rho: NDArray[np.float64]
    """Correlation of both scenes inside the block, mean over bands, float64 (n,), -1 to 1; against a reference, of the means of
    the blocks around.
    """
    mean: NDArray[np.float64]
    """Block means of the first and the second scene, float64 (2, bands, n), source units."""
    variance: NDArray[np.float64]
    """Variances within the blocks, float64 (2, bands, n), squared source units; 0 against a reference, which is too coarse."""

    @property
    def sizes(self) -> NDArray[np.intp]:
        """Blocks of each pair, intp (pairs,)."""
        return np.diff(self.starts)

    @property
    def bands(self) -> int:
        """Number of bands."""
        return int(self.mean.shape[1])

    def spread(self, values: NDArray[_Scalar]) -> NDArray[_Scalar]:
        """Values of pairs, (..., pairs), repeated for each block, (..., n)."""
        return np.repeat(values, self.sizes, axis=-1)


def make_block_table(
    parts: Sequence[MatchedBlocks],
    scenes: Mapping[str, Bounds],
    canvas: Grid,
    *,
    bands: int,
    held: Collection[str] = (),
    references: Collection[str] = (),
    reference_trust: float = 1.0,
) -> BlockTable:
    """Join the matched blocks of all pairs. Blocks with less than 30 % of their pixels are left out, and so is what overflows.

    Parameters
    ----------
    parts
        One a pair, merged, in any order.
    scenes
        Bounds of all scenes and references by name, CRS units; also of those without a pair.
    canvas
        Grid on which the lattices hang.
    bands
        Number of bands.
    held
        Names of scenes that keep their radiometry.
    references
        Names among the scenes of those that are references: held, and only variances between blocks count against them.
    reference_trust
        Factor on the weights of blocks against a reference.

    Raises
    ------
    KeyError
        If a part names a scene without bounds.
    """
    names = tuple(sorted(scenes))
    index = {name: position for position, name in enumerate(names)}
    rows = [
        (part, index[part.first], index[part.second], bool({part.first, part.second} & set(references)))
        for part in sorted(parts, key=lambda part: (part.first, part.second))
    ]
    moments = [_compute_block_moments(part, coarse) for part, _, _, coarse in rows]
    kept = [
        np.flatnonzero((part.count >= LEAST_VALID * part.whole) & one.finite)
        for (part, *_), one in zip(rows, moments, strict=True)
    ]
    used = [number for number, chosen in enumerate(kept) if len(chosen)]
    fixed = {*held, *references}

    def join(arrays: Sequence[NDArray[np.generic]], shape: tuple[int, ...], dtype: type[_Scalar]) -> NDArray[_Scalar]:
        return np.concatenate([np.empty((*shape, 0), dtype), *(arrays[k][..., kept[k]] for k in used)], axis=-1, dtype=dtype)

    count = join([part.count for part, *_ in rows], (), np.float64)
    return BlockTable(
        names=names,
        bounds=np.array([scenes[name].as_tuple() for name in names]).reshape(-1, 4),
        held=np.array([name in fixed for name in names], dtype=np.bool_),
        first=np.array([rows[k][1] for k in used], dtype=np.intp),
        second=np.array([rows[k][2] for k in used], dtype=np.intp),
        starts=np.cumsum([0, *(len(kept[k]) for k in used)], dtype=np.intp),
        trust=np.array([reference_trust if rows[k][3] else 1.0 for k in used]),
        lattice=np.array([_find_lattice(rows[k][0], index, references) for k in used], dtype=np.intp),
        edge=np.array([rows[k][0].edge for k in used], dtype=np.float64),
        row=join([part.row for part, *_ in rows], (), np.int32),
        col=join([part.col for part, *_ in rows], (), np.int32),
        x=canvas.left + join([part.x for part, *_ in rows], (), np.float64) / count * canvas.pixel_width,
        y=canvas.top - join([part.y for part, *_ in rows], (), np.float64) / count * canvas.pixel_height,
        count=count,
        rho=join([one.rho for one in moments], (), np.float64),
        mean=join([one.mean for one in moments], (2, bands), np.float64),
        variance=join([one.variance for one in moments], (2, bands), np.float64),
    )


def _find_lattice(part: MatchedBlocks, index: Mapping[str, int], references: Collection[str]) -> int:
    return next((index[name] + 1 for name in (part.first, part.second) if name in references), 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _BlockMoments:
    """Of one pair."""

    mean: NDArray[np.float64]
    """(2, bands, n)."""
    variance: NDArray[np.float64]
    """(2, bands, n)."""
    rho: NDArray[np.float64]
    """(n,)."""
    finite: NDArray[np.bool_]
    """(n,)."""


def _compute_block_moments(part: MatchedBlocks, coarse: bool) -> _BlockMoments:
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = part.sums / part.count
        mean, square = scaled[:2], scaled[2:4]
        variance = square - mean * mean
        covariance = scaled[4] - mean[0] * mean[1]
        around = _correlate_neighbours(part.row, part.col, mean) if coarse else None
    finite = np.isfinite(scaled).all(axis=(0, 1)) & np.isfinite(variance).all(axis=(0, 1)) & np.isfinite(covariance).all(axis=0)
    variance = np.where(variance > _CONSTANT * square, variance, 0.0)
    if around is not None:
        rho = around
        variance = np.zeros_like(variance)
    else:
        rho = _correlate(covariance, variance[0], variance[1])
    return _BlockMoments(mean=mean, variance=variance, rho=rho, finite=finite & np.isfinite(rho))


def _correlate(covariance: NDArray[np.float64], one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over bands, the first axis, of the correlation; 0 in a band without variance."""
    root = np.sqrt(one) * np.sqrt(other)
    with np.errstate(over="ignore"):  # of sums that no pixels have
        rho = np.divide(covariance, root, out=np.zeros_like(covariance), where=root > 0)
    return np.asarray(rho.clip(-1.0, 1.0).mean(axis=0))


def _correlate_neighbours(row: NDArray[np.int32], col: NDArray[np.int32], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation of the means of the 5 x 5 blocks around each block, mean over bands, (n,); 0 with fewer than five."""
    if not len(row):
        return np.zeros(0)
    bands = mean.shape[1]
    a, b = mean - mean.mean(axis=2, keepdims=True)
    layers = np.concatenate([np.ones((1, len(row))), a, b, a * a, b * b, a * b])
    sums = np.zeros_like(layers)
    for block, other in _iter_neighbours(row, col):
        sums[:, block] += layers[:, other]
    count = sums[0]
    means = (sums[1:] / count).reshape(5, bands, -1)
    covariance = means[4] - means[0] * means[1]
    spread = [np.maximum(means[2 + k] - means[k] ** 2, 0.0) for k in range(2)]
    spread = [np.where(one > _CONSTANT * means[2 + k], one, 0.0) for k, one in enumerate(spread)]
    return np.where(count >= 5, _correlate(covariance, *spread), 0.0)


def _iter_neighbours(row: NDArray[np.int32], col: NDArray[np.int32]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """For each place in the 5 x 5 blocks around a block, the blocks that have one there, and which; row by row.

    It takes no more memory for blocks that lie far apart.
    """
    key = row.astype(np.int64) * _COLUMNS + col
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    for down in range(-_NEIGHBOURS, _NEIGHBOURS + 1):
        for across in range(-_NEIGHBOURS, _NEIGHBOURS + 1):
            wanted = key + (down * _COLUMNS + across)
            place = np.searchsorted(ordered, wanted).clip(max=len(ordered) - 1)
            block = np.flatnonzero(ordered[place] == wanted)
            yield block, order[place[block]]


def adjust_table(table: BlockTable, scale: NDArray[np.float64], offset: NDArray[np.float64]) -> BlockTable:
    """The table of scenes adjusted by y = scale x + offset; correlations stay.

    Parameters
    ----------
    table
        As measured.
    scale, offset
        Float64 (scenes, bands), dimensionless and source units.
    """
    sides = (table.first, table.second)
    mean = np.stack([table.spread(scale[s].T) * table.mean[k] + table.spread(offset[s].T) for k, s in enumerate(sides)])
    variance = np.stack([table.spread(scale[s].T ** 2) * table.variance[k] for k, s in enumerate(sides)])
    return replace(table, mean=mean, variance=variance)


def adjust_scenes(table: BlockTable, adjustments: Mapping[str, Adjustment]) -> BlockTable:
    """The table of scenes with their global adjustments, by name; those that have none stay as they are."""
    scale, offset = np.ones((len(table.names), table.bands)), np.zeros((len(table.names), table.bands))
    for number, name in enumerate(table.names):
        if name in adjustments:
            scale[number], offset[number] = adjustments[name].scale, adjustments[name].offset
    return adjust_table(table, scale, offset)


def hold_scenes(table: BlockTable, names: Collection[str]) -> BlockTable:
    """The table with further scenes held."""
    return replace(table, held=table.held | np.array([name in names for name in table.names], dtype=np.bool_))


def compute_level_factors(table: BlockTable) -> NDArray[np.float64]:
    """Factor between the levels of what is held and of all other scenes, float64 (bands,): 1 where nothing tells it.

    It is the median over the half of the blocks between both with the highest correlation. Gains and surfaces are drawn to 1,
    so scenes have to be in the units of what is held before they are solved for.
    """
    factors = np.ones(table.bands)
    sides = table.spread(table.held[table.first]), table.spread(table.held[table.second])
    between = np.flatnonzero(sides[0] != sides[1])
    if not len(between):
        return factors
    between = between[table.rho[between] >= np.median(table.rho[between])]
    pairs = table.mean[:, :, between]
    known, free = np.where(sides[0][between], pairs, pairs[::-1])
    for band in range(table.bands):
        usable = (known[band] > 0) & (free[band] > 0)
        if usable.any():
            factors[band] = np.exp(np.median(np.log(known[band][usable] / free[band][usable])))
    return factors


def sum_pairs(table: BlockTable, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over each pair's blocks of (..., n), float64 (..., pairs)."""
    if not len(table.first):
        return np.zeros((*values.shape[:-1], 0))
    return np.asarray(np.add.reduceat(values, table.starts[:-1], axis=-1))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weighting:
    """What weights are found with: which blocks of each pair agree best in texture."""

    better: NDArray[np.bool_]
    """The blocks of each pair to start from, bool (n,): the half with the highest correlation (of an odd number the larger),
    without those that are behind others in the same place, but no fewer than an eighth of all.
    """
    halves: tuple[tuple[NDArray[np.intp], NDArray[np.intp]], ...]
    """Pairs (k,), and their better blocks (k, m), for each number m of them."""
    trust: NDArray[np.float64]
    """Correlation limited to 0.05 … 1, less of a block that is behind others in the same place, float64 (n,)."""
    sizes: NDArray[np.intp]
    """Blocks of each pair, intp (pairs,)."""


def prepare_weighting(table: BlockTable) -> Weighting:
    """Rank the blocks of each pair by their correlation; of equal ones, the upper left come first.

    Where most blocks of a pair have a cloud on one side, as in stacks of dates, the half with the highest correlation has
    clouds too, but there other pairs tell. In a place that ten pairs share, so five scenes, a block is behind by r, which is
    Fisher's z = artanh(rho) over half the largest z of a pair there, if that is less than 1. It ranks after those that are
    not, and is trusted by r² as much.
    """
    sizes = table.sizes
    pair = np.repeat(np.arange(len(sizes)), sizes)
    reach = _compare_places(table)
    behind = reach < 1
    order = np.lexsort((-table.rho, behind, pair))
    level = (sizes - sum_pairs(table, behind.astype(np.float64))).astype(np.intp)
    number = np.clip(level, -(-sizes // _LEAST_SHARE), (sizes + 1) // 2)
    better = np.zeros(len(pair), np.bool_)
    better[order[np.arange(len(pair)) - table.starts[pair] < number[pair]]] = True
    chosen = np.flatnonzero(better)
    begins = np.cumsum(number) - number
    halves = tuple(
        (pairs, chosen[begins[pairs][:, None] + np.arange(m)])
        for m in np.unique(number).tolist()
        for pairs in [np.flatnonzero(number == m)]
    )
    return Weighting(better=better, halves=halves, trust=table.rho.clip(_LEAST_RHO, 1.0) * reach * reach, sizes=sizes)


def _compare_places(table: BlockTable) -> NDArray[np.float64]:
    """Fisher's z of each block over half the largest of all pairs in the same place of the same lattice, (n,), 0 to 1."""
    place = table.row.astype(np.int64) * _COLUMNS + table.col
    keys = (place, table.spread(table.edge), table.spread(table.lattice))
    order = np.lexsort(keys)
    changes = np.zeros(max(0, len(order) - 1), np.bool_)
    for key in keys:
        changes |= np.diff(key[order]) != 0
    starts = np.concatenate([np.zeros(min(1, len(order)), np.intp), np.flatnonzero(changes) + 1])
    sizes = np.diff(starts, append=len(order))
    z = np.arctanh(table.rho[order].clip(0.0, _MOST_RHO))
    least = _BEHIND * np.maximum.reduceat(z, starts) if len(starts) else z
    least[sizes < _DEEP] = 0.0
    least = np.repeat(least, sizes)
    reach = np.ones(len(order))
    reach[order] = np.divide(z, least, out=np.ones_like(z), where=z < least)
    return reach


def start_weights(weighting: Weighting) -> NDArray[np.float64]:
    """1 for the better blocks of each pair, else 0; float64 (n,)."""
    return weighting.better.astype(np.float64)


def update_weights(
    weighting: Weighting, residuals: NDArray[np.float64], floor: NDArray[np.float64], *, widened: float = 1.0
) -> NDArray[np.float64]:
    """Tukey's biweight of the largest residual over bands, times the correlation; float64 (n,), 0 to 1.

    The unit of a band's residuals is s = 1.4826 times their median absolute value over the better blocks of the pair,
    drawn to the median over all pairs with the weight of four blocks; w = (1 - (r / 4.5 s)²)² up to 4.5 s, then 0. A pair whose
    s is more than three times that median t, one all under cloud, is believed less than others, by (3 t / s)², at least 0.001.

    Parameters
    ----------
    weighting
        Of the same table.
    residuals
        Float64 (bands, n), any unit.
    floor
        Least s of each band, float64 (bands,), positive: smaller residuals are rounding.
    widened
        Factor on the cut-off: more than 1 while a fit that is still too stiff leaves residuals of its own.
    """
    largest = np.zeros(residuals.shape[1])
    belief = np.ones(len(weighting.sizes))
    for band, one in enumerate(residuals):
        size = np.abs(one)
        scale, typical = _compute_scales(weighting, size)
        scale, typical = np.maximum(scale, floor[band]), max(typical, floor[band])
        np.minimum(belief, (_UNUSUAL * typical / scale) ** 2, out=belief)
        np.maximum(largest, size / np.repeat(scale, weighting.sizes), out=largest)
    part = np.minimum(largest / (_CUT_OFF * widened), 1.0)
    belief = np.repeat(np.maximum(belief, _LEAST_BELIEF), weighting.sizes)
    return np.asarray((1.0 - part * part) ** 2 * weighting.trust * belief)


def _compute_scales(weighting: Weighting, size: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Robust standard deviation of each pair's residuals, (pairs,), and its median over pairs."""
    scale, number = np.zeros(len(weighting.sizes)), np.zeros(len(weighting.sizes))
    for pairs, blocks in weighting.halves:
        scale[pairs] = _MAD * np.median(size[blocks], axis=1)
        number[pairs] = blocks.shape[1]
    typical = float(np.median(scale)) if len(scale) else 0.0
    return np.asarray(np.sqrt((number * scale**2 + _PRIOR * typical**2) / (number + _PRIOR))), typical
