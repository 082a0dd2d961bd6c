"""Light within the scenes: one smooth pattern of brightness, shared by the scenes of a group, and a gain for each scene.

Scenes of one camera on one flight, or of one wide swath, are lit alike: hotspot, vignette and the angle of the sun make the
same pattern in each. Where scenes overlap, the same ground lies at different places of the pattern, which is how it is found.
Solving for the radiometry of a whole block of images at once, from what they show of the same ground, is the idea of
radiometric block adjustment (Prós et al. 2013, "Radiometric block adjustment and digital radiometric model generation").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import scipy
from numpy.typing import NDArray

from processor.model import Bounds
from processor.stages.matching.block_weights import BlockTable, prepare_weighting, start_weights, sum_pairs, update_weights
from processor.stages.matching.control_surface import ControlGrid, ControlSurface
from processor.stages.matching.pair_network import find_groups

TERMS: Final = ("v", "u", "v²", "u²", "uv")
"""Terms of the pattern: u to the east and v to the south of the scene's centre, in halves of its longer side."""

_SCENES: Final = 3  # of a group, at least, for terms of the second order
_BLOCKS: Final = 20  # ditto
_LINEAR: Final = 2  # terms of the first order
_RIDGE_PATTERN: Final = 1e-6  # of the number of blocks
_POINTS: Final = (
    33  # control points a side: between them, bilinear interpolation misses 3e-4 of a factor that varies by a third
)
_DARK: Final = 0.02  # of the median level: blocks darker than that say nothing of a factor
_COLUMNS: Final = 100  # of terms, made dense at a time
_FLOOR: Final = 1e-6  # of a level: residuals below are rounding


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IlluminationSolution:
    """The pattern of each group and the gain of each scene; a pixel becomes x exp(pattern(u)) scale."""

    scale: NDArray[np.float64]
    """Gain of each scene and band, float64 (scenes, bands), dimensionless, positive."""
    pattern: NDArray[np.float64]
    """Coefficients of the terms for each group and band, float64 (groups, bands, 5), logarithms of factors."""
    group: NDArray[np.intp]
    """Group of each scene, intp (scenes,), from 0 in the order of the keys' first scenes."""
    order: NDArray[np.intp]
    """Order of each group's pattern, intp (groups,): 2, or 1 with fewer than three scenes or twenty blocks, or 0 (none)."""
    determined: NDArray[np.float64]
    """How well each term is determined, float64 (groups, 5), 0 to 1: the part of its weighted variance over the overlaps that
    no gains of the scenes explain; NaN for a term left out. A tilt near 0 cannot be told from a trend of the gains.
    """
    weights: NDArray[np.float64]
    """Weight of each block, float64 (n,), 0 to 1."""


def solve_illumination(
    table: BlockTable, keys: Sequence[str], *, ridge: float = 0.03, rounds: int = 15
) -> IlluminationSolution:
    """Solve for patterns of brightness and gains of scenes together, robustly: gains only, no offsets.

    Least squares over all blocks of ln m_i + a_i + phi(u_i) . theta_g(i) = ln m_j + a_j + phi(u_j) . theta_g(j), with
    phi = (v, u, v², u², uv), block weight w n, and ridges on a (``ridge`` times the mean weight of a scene) and on theta (1e-6
    of the total weight). With free offsets the problem is ill-posed, so there are none. Scenes held keep a = 0 and no pattern.

    Parameters
    ----------
    table
        Of raw scenes; levels of every band positive: darker blocks are left out.
    keys
        Group of each scene, (scenes,): scenes with the same key share the pattern.
    ridge
        On the gains, dimensionless, positive: the larger, the more of a trend over scenes is taken as light within them.
    rounds
        Solves; each but the last is followed by new weights.

    Raises
    ------
    ValueError
        If there is not one key for each scene.
    """
    if len(keys) != len(table.names):
        msg = f"illumination needs one group for each of {len(table.names)} scenes, got {len(keys)}"
        raise ValueError(msg)
    ordered = list(dict.fromkeys(keys))
    number_of = {key: number for number, key in enumerate(ordered)}
    group = np.array([number_of[key] for key in keys], dtype=np.intp)
    weighting = prepare_weighting(table)
    usable, difference = _compute_differences(table)
    weights = start_weights(weighting) * usable
    order = _choose_orders(table, group, len(ordered), usable)
    terms = _compute_terms(table, group, order)
    allowed = table.count * table.spread(table.trust) * usable
    scenes, bands, columns = len(table.names), table.bands, 5 * len(ordered)
    solution = np.zeros((scenes + columns, bands))
    floor = np.full(bands, _FLOOR)
    for number in range(rounds):
        weight = weights * allowed
        if not weight.any():
            break
        solution = _solve(table, terms, weight, difference, ridge)
        if number < rounds - 1:
            weights = update_weights(weighting, _compute_residuals(table, terms, solution, difference), floor) * usable
    gauge = _compute_gauge(table, solution[:scenes], weights * allowed)
    pattern = solution[scenes:].reshape(len(ordered), 5, bands).transpose(0, 2, 1)
    return IlluminationSolution(
        scale=np.exp(solution[:scenes] - gauge),
        pattern=pattern,
        group=group,
        order=order,
        determined=_compute_determination(table, terms, weights * allowed, order),
        weights=weights,
    )


def compute_pattern(
    coefficients: NDArray[np.float64], bounds: Bounds, x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Factors of a pattern, float64 (bands, n), at positions in a scene.

    Parameters
    ----------
    coefficients
        Float64 (bands, 5), of the terms.
    bounds
        Of the scene, CRS units.
    x, y
        Positions, float64 (n,), CRS units.
    """
    terms = _evaluate_terms(np.array(bounds.as_tuple())[:, None], x, y)
    return np.asarray(np.exp(np.einsum("bk,kn->bn", coefficients, terms)))


def light_table(table: BlockTable, solution: IlluminationSolution) -> BlockTable:
    """The table of scenes with their patterns and scales applied, for what is solved next; correlations stay."""
    mean, variance = table.mean.copy(), table.variance.copy()
    for side, scenes in enumerate((table.first, table.second)):
        scene = table.spread(scenes)
        terms = _evaluate_terms(table.bounds[scene].T, table.x, table.y) * ~table.held[scene]
        for band in range(table.bands):
            light = (solution.pattern[solution.group[scene], band].T * terms).sum(axis=0)
            factor = np.exp(light) * solution.scale[scene, band]
            mean[side, band] *= factor
            variance[side, band] *= factor * factor
    return replace(table, mean=mean, variance=variance)


def make_pattern_surface(scene: str, bounds: Bounds, coefficients: NDArray[np.float64]) -> ControlSurface:
    """A pattern, coefficients (bands, 5), as the correction of a scene on 33 x 33 control points."""
    grid = ControlGrid(bounds=bounds, rows=_POINTS, cols=_POINTS)
    x, y = (axis.ravel() for axis in np.meshgrid(grid.x, grid.y))
    gain = compute_pattern(coefficients, bounds, x, y).reshape(-1, _POINTS, _POINTS)
    return ControlSurface(scene=scene, grid=grid, gain=gain, offset=None)


def _evaluate_terms(bounds: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Phi at positions in scenes of bounds (4, n) or (4, 1), float64 (5, n)."""
    left, bottom, right, top = bounds
    half = np.maximum(right - left, top - bottom) / 2
    u, v = (x - (left + right) / 2) / half, ((top + bottom) / 2 - y) / half
    return np.stack([v, u, v * v, u * u, u * v])


def _compute_differences(table: BlockTable) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Blocks whose levels are positive enough in every band, (n,), and ln m_j - ln m_i, (bands, n)."""
    if not len(table.x):
        return np.zeros(0, np.bool_), np.zeros((table.bands, 0))
    least = np.maximum(_DARK * np.median(table.mean, axis=(0, 2)), 1e-300)
    usable = np.asarray((table.mean > least[:, None]).all(axis=(0, 1)))
    safe = np.where(usable, table.mean, 1.0)
    return usable, np.log(safe[1] / safe[0])


def _choose_orders(table: BlockTable, group: NDArray[np.intp], groups: int, usable: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Order of each group's pattern. Blocks count in the groups of both their scenes, scenes where they have blocks."""
    blocks = np.zeros(groups, np.intp)
    scenes = np.zeros(groups, np.intp)
    sizes = sum_pairs(table, usable.astype(np.float64)).astype(np.intp)
    free = ~table.held
    touched = np.zeros(len(free), np.bool_)
    for side in (table.first, table.second):
        counted = free[side] & (sizes > 0)
        np.add.at(blocks, group[side[counted]], sizes[counted])
        touched[side[counted]] = True
    np.add.at(scenes, group[touched], 1)
    return np.where(blocks == 0, 0, np.where((scenes < _SCENES) | (blocks < _BLOCKS), 1, 2))


def _compute_terms(table: BlockTable, group: NDArray[np.intp], order: NDArray[np.intp]) -> scipy.sparse.csr_array:
    """Phi of the first scene less phi of the second, in the columns of their groups: (n, 5 groups)."""
    blocks = len(table.x)
    values, columns = np.empty((blocks, 2, 5)), np.empty((blocks, 2, 5), np.int32)
    for number, (side, sign) in enumerate(((table.first, 1.0), (table.second, -1.0))):
        scene = table.spread(side)
        terms = sign * _evaluate_terms(table.bounds[scene].T, table.x, table.y)
        terms *= ~table.held[scene]
        terms[_LINEAR:] *= order[group[scene]] > 1
        terms[:_LINEAR] *= order[group[scene]] > 0
        values[:, number] = terms.T
        columns[:, number] = 5 * group[scene][:, None] + np.arange(5)
    # Where both scenes are in one group a column comes twice in a row, which adds up in every product.
    shape = (blocks, 5 * len(order))
    return scipy.sparse.csr_array((values.ravel(), columns.ravel(), np.arange(0, 10 * blocks + 1, 10)), shape=shape)


def _compute_normal(
    table: BlockTable, terms: scipy.sparse.csr_array, weight: NDArray[np.float64]
) -> tuple[scipy.sparse.csr_array, scipy.sparse.csr_array, scipy.sparse.csr_array]:
    """Blocks of the normal equations, without ridges, sparse: gains (scenes, scenes), gains by terms, and terms."""
    incidence = _compute_incidence(table)
    by_pair = _pair_sums(table)
    weighted = scipy.sparse.csr_array(scipy.sparse.diags_array(weight) @ terms)
    gains = scipy.sparse.csr_array(incidence.T @ scipy.sparse.diags_array(sum_pairs(table, weight)) @ incidence)
    mixed = scipy.sparse.csr_array(incidence.T @ (by_pair @ weighted))
    return gains, mixed, scipy.sparse.csr_array(terms.T @ weighted)


def _compute_incidence(table: BlockTable) -> scipy.sparse.csr_array:
    """1 for the first and -1 for the second scene of each pair, (pairs, scenes); 0 for scenes that are held."""
    pairs = len(table.first)
    free = (~table.held).astype(np.float64)
    values = np.concatenate([free[table.first], -free[table.second]])
    places = np.tile(np.arange(pairs), 2), np.concatenate([table.first, table.second])
    return scipy.sparse.csr_array(scipy.sparse.coo_array((values, places), shape=(pairs, len(table.names))))


def _pair_sums(table: BlockTable) -> scipy.sparse.csr_array:
    """The matrix that sums over the blocks of each pair, (pairs, n)."""
    blocks = len(table.x)
    return scipy.sparse.csr_array((np.ones(blocks), np.arange(blocks), table.starts), shape=(len(table.first), blocks))


def _solve(
    table: BlockTable,
    terms: scipy.sparse.csr_array,
    weight: NDArray[np.float64],
    difference: NDArray[np.float64],
    ridge: float,
) -> NDArray[np.float64]:
    """Gains and then coefficients, (scenes + 5 groups, bands)."""
    gains, mixed, pattern = _compute_normal(table, terms, weight)
    scenes, total = len(table.names), float(weight.sum())
    gain_ridge = scipy.sparse.diags_array(np.full(scenes, ridge * total / scenes))
    pattern_ridge = scipy.sparse.diags_array(np.full(pattern.shape[0], _RIDGE_PATTERN * total))
    normal = scipy.sparse.block_array([[gains + gain_ridge, mixed], [mixed.T, pattern + pattern_ridge]], format="csc")
    weighted = difference * weight
    right = np.concatenate([_compute_incidence(table).T @ sum_pairs(table, weighted).T, terms.T @ weighted.T])
    factor = scipy.sparse.linalg.splu(
        scipy.sparse.csc_array(normal / total),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    return np.asarray(factor.solve(np.ascontiguousarray(right / total)), dtype=np.float64)


def _compute_residuals(
    table: BlockTable,
    terms: scipy.sparse.csr_array,
    solution: NDArray[np.float64],
    difference: NDArray[np.float64],
) -> NDArray[np.float64]:
    """What is left of the logarithms' differences, (bands, n)."""
    scenes = len(table.names)
    gains = _compute_incidence(table) @ solution[:scenes]
    return np.asarray(table.spread(gains.T) + (terms @ solution[scenes:]).T - difference)


def _compute_gauge(table: BlockTable, gains: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of the logarithms of the gains in each scene's group of overlaps, (scenes, bands); 0 where a scene is held."""
    groups = find_groups(table.first, table.second, sum_pairs(table, weight), len(table.names))
    number = int(groups.max(initial=-1)) + 1
    anchored = np.zeros(number, np.bool_)
    anchored[groups[table.held]] = True
    size = np.bincount(groups, minlength=number)
    level = np.stack([np.bincount(groups, one, minlength=number) / size for one in gains.T], axis=1)
    return np.asarray(np.where(anchored[:, None], 0.0, level)[groups])


def _compute_determination(
    table: BlockTable, terms: scipy.sparse.csr_array, weight: NDArray[np.float64], order: NDArray[np.intp]
) -> NDArray[np.float64]:
    """For each term, the share of its sum of squares over the overlaps that is left once the gains are fitted to it."""
    result = np.full(5 * len(order), np.nan)
    if weight.any():
        gains, mixed, pattern = _compute_normal(table, terms, weight)
        total = float(weight.sum())
        ridge = scipy.sparse.diags_array(np.full(len(table.names), 1e-9 * total / len(table.names)))
        factor = scipy.sparse.linalg.splu(scipy.sparse.csc_array(gains + ridge))
        explained = np.concatenate(
            [
                np.einsum("sk,sk->k", some, factor.solve(some))
                for start in range(0, len(result), _COLUMNS)
                for some in [mixed[:, start : start + _COLUMNS].toarray()]
            ]
        )
        own = pattern.diagonal()
        result = np.divide(own - explained, own, out=result, where=own > 0).clip(0.0, 1.0)
    return np.asarray(result.reshape(len(order), 5))


def compute_trend(table: BlockTable) -> tuple[float, float]:
    """How much of what is left between the scenes is light within them: a pattern that all of them share.

    Fits ln m_i + phi(u_i) . theta = ln m_j + phi(u_j) . theta to the blocks that agree, with weights as matching has them.

    Parameters
    ----------
    table
        Of scenes as they are to be judged; levels of every band positive: darker blocks are left out.

    Returns
    -------
    R² of the pattern, 0 to 1, and the root of its mean square over the blocks, as a share of the level; mean over the bands.
    NaN with fewer than twenty blocks, or where nothing is left.
    """
    usable, difference = _compute_differences(table)
    weighting = prepare_weighting(table)
    weight = update_weights(weighting, difference, np.full(table.bands, _FLOOR)) * usable * table.count
    used = int(np.count_nonzero(weight))
    if used < _BLOCKS:
        return float("nan"), float("nan")
    group = np.zeros(len(table.names), np.intp)
    terms = _compute_terms(table, group, np.full(1, 2, np.intp))
    weight /= weight.sum()
    weighted = scipy.sparse.csr_array(scipy.sparse.diags_array(weight) @ terms)
    normal = (terms.T @ weighted).toarray() + _RIDGE_PATTERN * np.eye(len(TERMS))
    right = weighted.T @ difference.T
    fitted = np.linalg.solve(normal, right)
    total = (weight * difference * difference).sum(axis=1)
    explained = (fitted * right).sum(axis=0)  # of least squares, but for the ridge
    if not (total > _FLOOR * _FLOOR).all():
        return float("nan"), float("nan")
    left = (1.0 - (explained / total).clip(0.0, 1.0)) * (used - 1) / (used - 1 - len(TERMS))  # adjusted for the number of terms
    return float((1.0 - left).clip(0.0, 1.0).mean()), float(np.sqrt(explained.clip(0.0)).mean())
