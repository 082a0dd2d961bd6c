"""Stage 2, surface adjustment: a smooth surface a scene and band, all solved at once over all overlaps.

There is no reference map that scenes are drawn to, so nothing jumps where a scene ends, and nothing is flattened: only what
differs between scenes is corrected, and as little as that takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from processor.model import Bounds
from processor.stages.matching.block_weights import BlockTable, prepare_weighting, start_weights, update_weights
from processor.stages.matching.control_surface import ControlGrid, ControlSurface

_BLOCKS: Final = 65_536  # handled at a time
_ENTRIES: Final = 2_000_000  # of dense blocks of the normal equations, handled at a time
_ITERATIONS: Final = 200  # of conjugate gradients, at most
_CONVERGED: Final = 1e-7  # of the right-hand side
_FLOOR: Final = 1e-6  # of a level, or of the typical block mean: residuals below are rounding
_WIDENED: Final = 8.0  # times the usual cut-off in the first round, and half of that in each further one
_LEAST_VIGNETTE: Final = 3  # control points a side that can tell a vignette
_KEPT: Final = 1e-3  # of the penalty on a vignette, so that nothing is free where there are no blocks
_DARK: Final = 0.05  # of the median level: what a block mean has at least once it is shifted


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SurfaceSolution:
    """The surfaces of all scenes of a table."""

    surfaces: tuple[ControlSurface, ...]
    """One a scene, in name order, also of those held (gain 1, offset 0)."""
    weights: NDArray[np.float64]
    """Weight of each block, float64 (n,), 0 to 1."""


def solve_surfaces(
    table: BlockTable,
    *,
    points: int = 5,
    correction: Literal["multiplicative", "additive"] = "multiplicative",
    smoothness: float = 0.3,
    ridge: float = 0.01,
    vignettes: bool = True,
    rounds: int = 6,
) -> SurfaceSolution:
    """Solve for the surfaces f of all scenes, robustly: f_i(p) - f_j(p) = d for each block of each pair at its position p.

    Multiplicative: d = ln((m_j + c) / (m_i + c)), and a pixel becomes (x + c) G - c with G = exp(f) at the control points; the
    shift c of a band keeps the darkest block means at 5 % of the median level. Additive: d = m_j - m_i, and x + f. Rows weigh
    w n; second differences of the control points (horizontal, vertical and mixed) and the points themselves are held to 0
    with ``smoothness`` and ``ridge`` times the mean weight of a control point. A vignette is free of both: see
    :func:`_make_penalty`. The weights' cut-off begins at eight times the
    usual one and halves from round to round, so that a fit which is still too stiff does not reject what it will reach.

    The normal equations are summed block by block, shared by the bands, and solved by conjugate gradients (Hestenes & Stiefel
    1952), preconditioned with each scene's own block of them.

    Parameters
    ----------
    table
        Of the globally adjusted scenes (:func:`processor.stages.matching.block_weights.adjust_table`); scenes held have f = 0.
    points
        K: each surface has K x K control points over the scene's bounds; at least 2.
    correction
        Multiplicative for light, vignette and gain; additive for haze.
    smoothness, ridge
        Dimensionless, not negative; the ridge positive.
    vignettes
        Whether each scene has a vignette of its own, multiplicative and with three control points or more; False where the
        light that scenes share was solved for before.
    rounds
        Solves; each but the last is followed by new weights.
    """
    weighting = prepare_weighting(table)
    weights = start_weights(weighting)
    shift, usable = _find_shift(table) if correction == "multiplicative" else (np.zeros(table.bands), None)
    difference = _compute_differences(table, shift, correction, usable)
    allowed = table.count * table.spread(table.trust) * (1.0 if usable is None else usable)
    floor = np.full(table.bands, _FLOOR)
    if correction == "additive" and len(table.x):
        floor = np.maximum(_FLOOR * np.abs(table.mean).mean(axis=(0, 2)), 1e-300)
    penalty = _make_penalty(points, smoothness, ridge, vignettes=vignettes and correction == "multiplicative")
    solution = np.zeros((len(table.names) * points * points, table.bands))
    for number in range(rounds):
        weight = weights * allowed
        if not weight.any():
            break
        solution = _solve(table, points, weight, difference, penalty, solution)
        if number < rounds - 1:
            residuals = _compute_residuals(table, points, solution, difference)
            weights = update_weights(weighting, residuals, floor, widened=max(1.0, _WIDENED * 0.5**number))
    values = solution.reshape(len(table.names), points, points, table.bands).transpose(0, 3, 1, 2)
    return SurfaceSolution(
        surfaces=tuple(
            _make_surface(name, bounds, f, shift, correction)
            for name, bounds, f in zip(table.names, table.bounds.tolist(), values, strict=True)
        ),
        weights=weights if usable is None else weights * usable,
    )


def correct_table(table: BlockTable, surfaces: Sequence[ControlSurface | None]) -> BlockTable:
    """The table of scenes corrected by surfaces, one a scene in name order (None: as it is); correlations stay.

    A block's mean and spread change as a pixel at its mean position does.
    """
    mean, variance = table.mean.copy(), table.variance.copy()
    for side, scenes in enumerate((table.first, table.second)):
        scene = table.spread(scenes)
        order = np.argsort(scene, kind="stable")
        ends = np.searchsorted(scene[order], np.arange(len(table.names) + 1)).tolist()
        for surface, start, end in zip(surfaces, ends[:-1], ends[1:], strict=True):
            if surface is None or start == end:
                continue
            blocks = order[start:end]
            x, y = table.x[blocks], table.y[blocks]
            mean[side][:, blocks] = surface.apply_at(mean[side][:, blocks], x, y)
            gain = surface.gain_at(x, y)
            if gain is not None:
                variance[side][:, blocks] *= gain * gain
    return replace(table, mean=mean, variance=variance)


def _make_surface(
    name: str,
    bounds: list[float],
    f: NDArray[np.float64],
    shift: NDArray[np.float64],
    correction: Literal["multiplicative", "additive"],
) -> ControlSurface:
    left, bottom, right, top = bounds
    grid = ControlGrid(bounds=Bounds(left=left, bottom=bottom, right=right, top=top), rows=f.shape[1], cols=f.shape[2])
    if correction == "additive":
        return ControlSurface(scene=name, grid=grid, gain=None, offset=f.copy())
    gain = np.exp(f)
    return ControlSurface(scene=name, grid=grid, gain=gain, offset=shift[:, None, None] * (gain - 1.0) if shift.any() else None)


def _find_shift(table: BlockTable) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
    """Shift of each band, (bands,), and the blocks whose levels are positive with it; None: all."""
    if not len(table.x):
        return np.zeros(table.bands), None
    shift = np.empty(table.bands)
    usable = np.ones(len(table.x), np.bool_)
    for band in range(table.bands):
        levels = table.mean[:, band]
        dark, middle = np.quantile(levels, (0.005, 0.5))
        least = _DARK * max(abs(middle), middle - dark)
        shift[band] = max(0.0, least - dark)
        usable &= (levels + shift[band] > 0.5 * least).all(axis=0) & (least > 0)
    return shift, None if usable.all() else usable


def _compute_differences(
    table: BlockTable,
    shift: NDArray[np.float64],
    correction: Literal["multiplicative", "additive"],
    usable: NDArray[np.bool_] | None,
) -> NDArray[np.float64]:
    """D of each block, (bands, n)."""
    if correction == "additive":
        return np.asarray(table.mean[1] - table.mean[0])
    difference = np.empty(table.mean.shape[1:])
    for band, c in enumerate(shift.tolist()):
        one, other = table.mean[0, band] + c, table.mean[1, band] + c
        if usable is not None:
            one, other = np.where(usable, one, 1.0), np.where(usable, other, 1.0)
        difference[band] = np.log(other / one)
    return difference


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Chunk:
    """Some pairs and their blocks; m blocks."""

    pairs: slice
    """Of the table."""
    blocks: slice
    """Of the table."""
    pair: NDArray[np.intp]
    """Pair of each block, from 0 in the chunk, (m,)."""
    nodes: NDArray[np.intp]
    """The four control points around each block in the first and the second scene, (2, 4, m), from 0 in the scene."""
    parts: NDArray[np.float64]
    """Their bilinear weights, (2, 4, m)."""


def _cut_chunks(table: BlockTable, points: int) -> Iterator[_Chunk]:
    """Pairs in order, so many at a time that arrays stay small."""
    most = max(1, _ENTRIES // points**4)
    start, pairs = 0, len(table.first)
    while start < pairs:
        end = int(np.searchsorted(table.starts, table.starts[start] + _BLOCKS, side="right")) - 1
        end = min(max(end, start + 1), start + most, pairs)
        chosen = slice(start, end)
        blocks = slice(int(table.starts[start]), int(table.starts[end]))
        sizes = table.sizes[chosen]
        places = [_place(table, np.repeat(scene[chosen], sizes), blocks, points) for scene in (table.first, table.second)]
        yield _Chunk(
            pairs=chosen,
            blocks=blocks,
            pair=np.repeat(np.arange(end - start), sizes),
            nodes=np.stack([nodes for nodes, _ in places]),
            parts=np.stack([parts for _, parts in places]),
        )
        start = end


def _place(
    table: BlockTable, scene: NDArray[np.intp], blocks: slice, points: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Control points around each block and their bilinear weights, (4, m)."""
    left, bottom, right, top = table.bounds[scene].T
    across = np.clip((table.x[blocks] - left) / (right - left), 0.0, 1.0) * (points - 1)
    down = np.clip((top - table.y[blocks]) / (top - bottom), 0.0, 1.0) * (points - 1)
    col, row = (np.minimum(place.astype(np.intp), points - 2) for place in (across, down))
    tx, ty = across - col, down - row
    node = row * points + col
    nodes = np.stack([node, node + 1, node + points, node + points + 1])
    return nodes, np.stack([(1 - ty) * (1 - tx), (1 - ty) * tx, ty * (1 - tx), ty * tx])


def _solve(
    table: BlockTable,
    points: int,
    weight: NDArray[np.float64],
    difference: NDArray[np.float64],
    penalty: NDArray[np.float64],
    start: NDArray[np.float64],
) -> NDArray[np.float64]:
    """F at the control points of all scenes, (scenes K², bands); the penalty (K², K²) is in mean weights of a control point."""
    unknowns, free = points * points, ~table.held
    own, across, right = _assemble(table, points, weight, difference)
    mean_weight = 2.0 * float(weight.sum()) / (max(int(free.sum()), 1) * unknowns)
    own = own + mean_weight * penalty
    inverse = np.asarray(np.linalg.inv(own), dtype=np.float64)
    matrix = _join_blocks(own) + across + across.T
    return _conjugate_gradients(scipy.sparse.csr_array(matrix), inverse, right, start)


def _assemble(
    table: BlockTable, points: int, weight: NDArray[np.float64], difference: NDArray[np.float64]
) -> tuple[NDArray[np.float64], scipy.sparse.csr_array, NDArray[np.float64]]:
    """Normal equations: each scene's block (scenes, K², K²), the blocks between scenes, sparse, and the right-hand side."""
    scenes, k2, bands = len(table.names), points * points, table.bands
    own = np.zeros((scenes, k2 * k2))
    right = np.zeros((scenes, bands, k2))
    entries: list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]] = []
    for chunk in _cut_chunks(table, points):
        w = weight[chunk.blocks]
        weighted = chunk.parts * w
        number = chunk.pairs.stop - chunk.pairs.start
        ends = (table.first[chunk.pairs], table.second[chunk.pairs])
        for side, (scene, sign) in enumerate(zip(ends, (1.0, -1.0), strict=True)):
            touched, place = np.unique(scene, return_inverse=True)
            base = place[chunk.pair]
            index = (base * k2 + chunk.nodes[side])[:, None] * k2 + chunk.nodes[side][None]
            values = weighted[side][:, None] * chunk.parts[side][None]
            sums = np.bincount(index.ravel(), values.ravel(), minlength=len(touched) * k2 * k2)
            own[touched] += sums.reshape(len(touched), -1)
            index = base * k2 + chunk.nodes[side]
            for band in range(bands):
                values = weighted[side] * (sign * difference[band, chunk.blocks])
                sums = np.bincount(index.ravel(), values.ravel(), minlength=len(touched) * k2)
                right[touched, band] += sums.reshape(len(touched), k2)
        index = (chunk.pair * k2 + chunk.nodes[0])[:, None] * k2 + chunk.nodes[1][None]
        values = weighted[0][:, None] * chunk.parts[1][None]
        between = np.bincount(index.ravel(), values.ravel(), minlength=number * k2 * k2).reshape(number, k2, k2)
        pair, row, col = np.nonzero(between)
        products = np.asarray(between[pair, row, col], dtype=np.float64)
        linked = ~(table.held[ends[0]] | table.held[ends[1]])[pair]
        rows, cols = ends[0][pair] * k2 + row, ends[1][pair] * k2 + col
        entries.append((rows[linked], cols[linked], -products[linked]))
    own[table.held] = 0.0
    right[table.held] = 0.0
    rows, cols, negative = (np.concatenate(part) for part in zip(*entries, strict=True))
    across = scipy.sparse.csr_array(scipy.sparse.coo_array((negative, (rows, cols)), shape=(scenes * k2, scenes * k2)))
    return own.reshape(scenes, k2, k2), across, right.transpose(0, 2, 1).reshape(scenes * k2, bands)


def _make_penalty(points: int, smoothness: float, ridge: float, *, vignettes: bool) -> NDArray[np.float64]:
    """What a surface costs beside what it leaves between scenes, as a matrix (K², K²): its bending, and itself.

    With vignettes, f that bends as u² and v² bend costs nothing for that, and u² + v² nothing at all, u and v from -1 to 1 over
    the scene: only what departs from them does. Scenes darken to their corners, which overlaps see well, for there each
    scene's own edge lies beside the other's; but a penalty on bending alone makes a trend of tilts from scene to scene out of
    it, which overlaps do not see at all.
    """
    bending, itself = _second_differences(points), np.eye(points * points)
    if vignettes and points >= _LEAST_VIGNETTE:
        axis = np.linspace(-1.0, 1.0, points) ** 2 - 1.0 / 3.0  # of mean 0, so that the level stays
        across, down = np.tile(axis, points), np.repeat(axis, points)
        bending, itself = _release(bending, across, down), _release(itself, across + down)
    return np.asarray(smoothness * bending + ridge * itself)


def _release(penalty: NDArray[np.float64], *shapes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The penalty (K², K²) of what departs from the nearest sum of shapes (K²,), which keep a thousandth of their own."""
    free = np.stack(shapes, axis=1)
    pull = penalty @ free
    return penalty - (1.0 - _KEPT) * pull @ np.linalg.solve(free.T @ pull, pull.T)


def _second_differences(points: int) -> NDArray[np.float64]:
    """Sum of squared second differences of K x K control points, as a matrix (K², K²)."""
    one = np.eye(points)
    step, bend = np.diff(one, axis=0), np.diff(one, n=2, axis=0)
    rows = np.concatenate([np.kron(one, bend), np.kron(bend, one), np.kron(step, step)])
    return np.asarray(rows.T @ rows)


def _join_blocks(blocks: NDArray[np.float64]) -> scipy.sparse.csr_array:
    """Block-diagonal matrix of (scenes, K², K²) without its zeros."""
    scenes, k2, _ = blocks.shape
    scene, row, col = np.nonzero(blocks)
    shape = (scenes * k2, scenes * k2)
    return scipy.sparse.csr_array(
        scipy.sparse.coo_array((blocks[scene, row, col], (scene * k2 + row, scene * k2 + col)), shape=shape)
    )


def _conjugate_gradients(
    matrix: scipy.sparse.csr_array, inverse: NDArray[np.float64], right: NDArray[np.float64], start: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Solve for all bands at once; each has its own steps, and all stop when the last has converged."""
    scenes, k2, _ = inverse.shape

    def precondition(residual: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.matmul(inverse, residual.reshape(scenes, k2, -1))).reshape(residual.shape)

    solution = start.copy()
    residual = right - matrix @ solution
    goal = _CONVERGED * np.sqrt((right * right).sum(axis=0))
    step = np.zeros_like(right)
    previous = np.ones(right.shape[1])
    for _ in range(_ITERATIONS):
        if (np.sqrt((residual * residual).sum(axis=0)) <= goal).all():
            break
        conditioned = precondition(residual)
        size = (residual * conditioned).sum(axis=0)
        step = conditioned + step * (size / np.where(previous > 0, previous, 1.0))
        moved = matrix @ step
        curvature = (step * moved).sum(axis=0)
        length = np.divide(size, curvature, out=np.zeros_like(size), where=curvature > 0)
        solution += step * length
        residual -= moved * length
        previous = size
    return solution


def _compute_residuals(
    table: BlockTable, points: int, solution: NDArray[np.float64], difference: NDArray[np.float64]
) -> NDArray[np.float64]:
    """F_i - f_j - d of each block, (bands, n)."""
    residuals = np.negative(difference)
    by_band = np.ascontiguousarray(solution.T)
    for chunk in _cut_chunks(table, points):
        for side, (scene, sign) in enumerate(((table.first, 1.0), (table.second, -1.0))):
            index = scene[chunk.pairs][chunk.pair] * points**2 + chunk.nodes[side]
            for band in range(table.bands):
                residuals[band, chunk.blocks] += sign * (by_band[band][index] * chunk.parts[side]).sum(axis=0)
    return residuals
