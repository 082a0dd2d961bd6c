"""A scene against a reference, in small kernels: a gain and an offset around each block of the reference.

After homonim (Harris & Van Niekerk 2019, "Radiometric homogenisation of aerial images by calibrating with satellite data",
doi 10.1080/01431161.2018.1528404), which fits them in kernels of the reference's pixels, one scene at a time. Here kernels are
weighted by how far each block is believed, gains are drawn to 1 where a kernel says little, and where clouds leave nothing a
wider kernel decides. A block is believed where its surroundings look like the reference's, although they may be much brighter:
what differs in light, in season or in the angle of view is what is to be fitted. Where they do not (clouds, water), its
residual decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from processor.model import Bounds, Grid
from processor.stages.matching.block_weights import BlockTable
from processor.stages.matching.control_surface import ControlGrid, ControlSurface

_UNLIKE: Final = 0.4  # correlation with the reference in the blocks around, below which the weights given decide alone
_LIKE: Final = 0.7  # ditto, above which a block is believed up to a residual that only clouds have
_LARGE: Final = 6.0  # robust standard deviations of a scene's residuals, from which a block may be a cloud
_CLOUD: Final = 12.0  # ditto, from which it is
_MAD: Final = 1.4826  # standard deviations of a normal distribution in its median absolute deviation
_WHOLE: Final = 0.99  # of the pixels of the fullest block
_MOST_CELLS: Final = 1_000_000  # of a scene's lattice: 16 references as fine as they are compared
_ENOUGH: Final = 0.25  # of a kernel's weight if all its blocks were believed


def fit_in_kernels(
    table: BlockTable, weights: NDArray[np.float64], canvas: Grid, *, kernel: int = 3, prior: float = 0.1
) -> tuple[ControlSurface | None, ...]:
    """A surface of gain and offset for each scene, from its blocks against references that are held; None for one without any.

    Around each block of the lattice, over kernel x kernel blocks with weights w n: gain = (C + p U) / (V + p U), with C the
    covariance with the reference, V the scene's variance, U the mean of V over the scene and p the prior; offset = mean of the
    reference - gain times mean of the scene. The control points are the centres of the blocks.

    Parameters
    ----------
    table
        Of globally adjusted scenes and the references, those held.
    weights
        Of its blocks from the residuals of a smoother fit, float64 (n,), 0 to 1.
    canvas
        Grid on which the lattice hangs.
    kernel
        Odd, positive: blocks a side.
    prior
        Weight of gain 1, in kernels of the scene's mean variance; not negative.
    """
    return tuple(
        None if table.held[scene] else _fit_scene(table, weights, canvas, scene, kernel, prior)
        for scene in range(len(table.names))
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Lattice:
    """Weighted sums of a scene's blocks against references, on the part of the lattice that they lie in."""

    edge: float
    """Canvas pixels."""
    top: float
    """Of the first row, canvas pixels from the canvas's top edge."""
    left: float
    """Of the first column, canvas pixels from the canvas's left edge."""
    weight: NDArray[np.float64]
    """(rows, cols)."""
    sums: NDArray[np.float64]
    """Of m, r, m² and m r, (4, bands, rows, cols), about the weighted mean of m and r."""
    centre: NDArray[np.float64]
    """Weighted means of m and r, (2, bands)."""


def _gather(table: BlockTable, weights: NDArray[np.float64], canvas: Grid, scene: int) -> _Lattice | None:
    pairs = [
        (pair, side)
        for side, (own, other) in enumerate(((table.first, table.second), (table.second, table.first)))
        for pair in np.flatnonzero((own == scene) & table.held[other]).tolist()
    ]
    if not pairs:
        return None
    edge = float(max(table.edge[pair] for pair, _ in pairs))
    down_parts, across_parts, counts, w, levels = [], [], [], [], []
    for pair, side in sorted(pairs):
        blocks = slice(int(table.starts[pair]), int(table.starts[pair + 1]))
        down_parts.append((canvas.top - table.y[blocks]) / canvas.pixel_height)
        across_parts.append((table.x[blocks] - canvas.left) / canvas.pixel_width)
        counts.append(table.count[blocks])
        w.append(np.maximum(weights[blocks], _compare(table, blocks)) * table.count[blocks])
        levels.append(table.mean[[side, 1 - side], :, blocks])
    whole, weight, level = np.concatenate(counts), np.concatenate(w), np.concatenate(levels, axis=2)
    if not weight.any():
        return None
    centre = np.average(level, axis=2, weights=weight)
    m, r = level - centre[:, :, None]
    down, across = np.concatenate(down_parts), np.concatenate(across_parts)
    while (np.ptp(down) / edge + 2) * (np.ptp(across) / edge + 2) > _MOST_CELLS:  # small references far apart
        edge *= 2
    (row, top), (col, left) = (_place_blocks(axis, whole, edge) for axis in (down, across))
    shape = (max(2, int(row.max()) + 1), max(2, int(col.max()) + 1))
    index = row * shape[1] + col

    def add(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.bincount(index, weight * values, minlength=shape[0] * shape[1]).reshape(shape), dtype=np.float64)

    return _Lattice(
        edge=edge,
        top=top,
        left=left,
        weight=add(np.ones(len(row))),
        sums=np.stack([np.stack([add(one) for one in kind]) for kind in (m, r, m * m, m * r)]),
        centre=centre,
    )


def _place_blocks(position: NDArray[np.float64], count: NDArray[np.float64], edge: float) -> tuple[NDArray[np.intp], float]:
    """Cell of each block along an axis, from 0, and where cell 0 begins: cells of which whole blocks lie in the middle.

    The lattice is a reference's own, and hangs on nothing else; where it is turned, a cell may hold two blocks or none.
    """
    whole = count >= _WHOLE * count.max()
    turn = np.exp(2j * np.pi * position[whole] / edge).mean()
    start = (np.angle(turn) / (2 * np.pi) - 0.5) * edge
    cell = np.floor((position - start) / edge).astype(np.intp)
    first = int(cell.min())
    return cell - first, float(start + first * edge)


def _compare(table: BlockTable, blocks: slice) -> NDArray[np.float64]:
    """How far a pair's blocks look alike, 0 to 1: by their correlation, unless their residual is that of a cloud."""
    alike = ((table.rho[blocks] - _UNLIKE) / (_LIKE - _UNLIKE)).clip(0.0, 1.0)
    size = np.abs(table.mean[0][:, blocks] - table.mean[1][:, blocks])
    scale = _MAD * np.median(size, axis=1, keepdims=True)
    largest = np.divide(size, scale, out=np.zeros_like(size), where=scale > 0).max(axis=0)
    return np.asarray(alike * ((_CLOUD - largest) / (_CLOUD - _LARGE)).clip(0.0, 1.0))


def _fit_scene(
    table: BlockTable, weights: NDArray[np.float64], canvas: Grid, scene: int, kernel: int, prior: float
) -> ControlSurface | None:
    lattice = _gather(table, weights, canvas, scene)
    if lattice is None:
        return None
    weight, sums = lattice.weight, lattice.sums
    typical = float(np.quantile(weight[weight > 0], 0.9))
    gain = np.ones_like(sums[0])
    offset = np.zeros_like(gain)
    missing = np.ones(weight.shape, np.bool_)
    size, whole = kernel, max(weight.shape)
    spread = np.zeros(len(gain))
    while missing.any():
        near = _box(weight, size)
        last = size >= 2 * whole
        decided = missing & ((near > 0) if last else (near >= _ENOUGH * typical * size * size))
        means = _box(sums, size) / np.where(near > 0, near, 1.0)
        variance = np.maximum(means[2] - means[0] ** 2, 0.0)
        covariance = means[3] - means[0] * means[1]
        if size == kernel:
            believed = near > 0
            spread = (variance * near).sum(axis=(1, 2)) / near[believed].sum()
        pull = prior * spread[:, None, None]
        total = variance + pull
        slope = np.divide(covariance + pull, total, out=np.ones_like(total), where=total > 0)
        level = means[1] + lattice.centre[1][:, None, None] - slope * (means[0] + lattice.centre[0][:, None, None])
        gain[:, decided], offset[:, decided] = slope[:, decided], level[:, decided]
        missing &= ~decided
        size = 2 * size + 1
    return ControlSurface(scene=table.names[scene], grid=_place_points(lattice, canvas), gain=gain, offset=offset)


def _box(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Sums over size x size cells around each, (..., rows, cols); nothing beyond the edges."""
    reach = size // 2
    for axis in (-2, -1):
        padded = np.concatenate([np.zeros_like(values.take([0], axis)), values.cumsum(axis)], axis=axis)
        cells = np.arange(values.shape[axis])
        high = np.minimum(cells + reach + 1, len(cells))
        values = padded.take(high, axis) - padded.take(np.maximum(cells - reach, 0), axis)
    return values


def _place_points(lattice: _Lattice, canvas: Grid) -> ControlGrid:
    """Control points in the centres of the blocks."""
    rows, cols = lattice.weight.shape
    width, height = lattice.edge * canvas.pixel_width, lattice.edge * canvas.pixel_height
    left = canvas.left + lattice.left * canvas.pixel_width + width / 2
    top = canvas.top - lattice.top * canvas.pixel_height - height / 2
    bounds = Bounds(left=left, top=top, right=left + (cols - 1) * width, bottom=top - (rows - 1) * height)
    return ControlGrid(bounds=bounds, rows=rows, cols=cols)
