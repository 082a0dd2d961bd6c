"""Co-registration: how far scenes lie beside one another, measured where they overlap, and one shift a scene that mends it.

In windows of each overlap the displacement is found by phase correlation (Kuglin & Hines 1975), which sees structure and not
radiometry; to a hundredth of a pixel by evaluating the correlation between whole pixels around its peak (Guizar-Sicairos,
Thurman & Fienup 2008). A pair's displacement is the median of its windows'; the shifts of the scenes
are solved from all pairs at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from shapely import Geometry
from shapely.affinity import translate

from processor.model import Grid, Window
from processor.stages.matching.pair_network import solve_differences

F64 = NDArray[np.float64]
GeometryT = TypeVar("GeometryT", bound=Geometry)

_EDGE: Final = 64  # pixels of a window
_WINDOWS_A_PAIR: Final = 64
_WINDOWS_A_RUN: Final = 1_000_000
_FARTHEST: Final = 8  # pixels: displacements that are looked for
_CUT: Final = 0.35  # cycles a pixel: above it aliases and the kernel of resampling speak, not the ground
_FINE: Final = ((0.1, 10), (0.01, 10))  # steps in pixels, and how many to either side
_LEAST_PEAK: Final = 0.3  # of perfect agreement: less is what noise gives
_LEAST_WINDOWS: Final = 3  # of a pair that is believed
_ROUNDS: Final = 12
_FLOOR: Final = 0.05  # pixels: pairs that are nearer to the solution than this are equally good
_TUKEY: Final = 4.685


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WindowShifts:
    """Displacements in the windows of a pair, or of a part of it, in which both scenes show the same structure."""

    first: str
    """Name of the scene that comes first in name order."""
    second: str
    """Name of the other scene."""
    right: F64
    """How far right what the first scene shows lies in the second, float64 (n,), CRS units."""
    up: F64
    """How far up, ditto."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairShift:
    """The displacement of a pair."""

    first: str
    """Name of the scene that comes first in name order."""
    second: str
    """Name of the other scene."""
    right: float
    """How far right what the first scene shows lies in the second, CRS units: the median of the windows."""
    up: float
    """How far up, ditto."""
    spread: float
    """1.4826 times the median distance of the windows' displacements from that, CRS units."""
    windows: int
    """Number of windows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coregistration:
    """How far the scenes lie beside one another, and what mends it."""

    pairs: tuple[PairShift, ...]
    """Of the pairs with enough windows, in name order."""
    right: tuple[float, ...]
    """How far right each scene lies of its place among the others, CRS units, in plan order; 0 where nothing is known."""
    up: tuple[float, ...]
    """How far up, ditto."""
    pixel: float
    """Edge of a pixel of the mosaic, CRS units; the geometric mean of width and height."""
    median: float
    """Median over pairs of the length of their displacement, pixels of the mosaic; NaN without pairs."""
    high: float
    """90th percentile of that."""
    median_after: float
    """Median over pairs of what the shifts leave of it, pixels of the mosaic; NaN without pairs."""
    high_after: float
    """90th percentile of that."""
    is_applied: bool
    """Whether the scenes are moved by it."""

    def find_move(self, position: int) -> tuple[float, float]:
        """How far right and up a scene is moved, CRS units, by its position in the plan."""
        return (-self.right[position], -self.up[position]) if self.is_applied else (0.0, 0.0)


def iter_windows(shared: Window, whole: Window, pairs: int) -> Iterator[Window]:
    """Windows of 64 x 64 pixels in what is at hand of an overlap, on a lattice of the grid that keeps their number bounded.

    Parameters
    ----------
    shared
        The pixels of the overlap that are at hand, a window of the first scene's grid.
    whole
        The whole overlap on the same grid.
    pairs
        Number of pairs of the run.
    """
    most = max(4, min(_WINDOWS_A_PAIR, _WINDOWS_A_RUN // max(pairs, 1)))
    step = max(_EDGE, math.ceil(math.sqrt(whole.height * whole.width / most)))
    if step > min(whole.height, whole.width):  # a narrow overlap has windows along it
        step = max(_EDGE, math.ceil(max(whole.height, whole.width) / most))
    for row in range(_first(shared.row, whole.row, step, whole.height), shared.row_end - _EDGE + 1, step):
        for col in range(_first(shared.col, whole.col, step, whole.width), shared.col_end - _EDGE + 1, step):
            yield Window(row=row, col=col, height=_EDGE, width=_EDGE)


def _first(start: int, origin: int, step: int, length: int) -> int:
    """The first place of a lattice, centred in an overlap, from some pixel on."""
    origin += max(0, (length - _EDGE) % step // 2)
    return origin + -(-max(start - origin, 0) // step) * step


def compute_window_shift(first: NDArray[np.generic], second: NDArray[np.generic]) -> tuple[float, float] | None:
    """How far right and down what the first window shows lies in the second, pixels; None where they do not show the same.

    Parameters
    ----------
    first, second
        Pixels of both scenes, (bands, n, n), any real dtype, all valid.
    """
    edge = first.shape[-1]
    frequency = np.fft.fftfreq(edge)
    spectra = [_transform(values) for values in (first, second)]
    power = [(spectrum.real**2 + spectrum.imag**2).sum(axis=(1, 2)) for spectrum in spectra]
    strength = np.sqrt(power[0] * power[1])
    if not (strength > 0).any() or not np.isfinite(strength).all():
        return None
    one, other = (spectrum[strength > 0] for spectrum in spectra)
    cross = (other * one.conj() / strength[strength > 0, None, None]).sum(axis=0)
    radius = np.hypot(frequency[:, None], frequency)
    cross[(radius > _CUT) | (radius == 0)] = 0.0
    size = np.abs(cross)
    # Half whitened: pure phase listens to noise as much as to structure, the plain product to the lowest frequencies alone.
    cross = np.divide(cross, np.sqrt(size), out=np.zeros_like(cross), where=size > 0)
    total = float(np.sqrt(size).sum())
    if total == 0:
        return None
    near = np.arange(-_FARTHEST, _FARTHEST + 1)
    coarse = np.fft.ifft2(cross).real[np.ix_(near, near)]
    row, col = np.unravel_index(int(coarse.argmax()), coarse.shape)
    down, right = float(near[row]), float(near[col])
    peak = 0.0
    for step, reach in _FINE:
        places = step * np.arange(-reach, reach + 1)
        by_row = np.exp(2j * np.pi * np.multiply.outer(down + places, frequency))
        by_col = np.exp(2j * np.pi * np.multiply.outer(frequency, right + places))
        fine = np.einsum("pf,fq->pq", np.einsum("pf,fg->pg", by_row, cross), by_col).real  # small: BLAS's threads cost more
        row, col = np.unravel_index(int(fine.argmax()), fine.shape)
        peak = float(fine[row, col])
        down, right = down + float(places[row]), right + float(places[col])
    if peak < _LEAST_PEAK * total or max(abs(down), abs(right)) >= _FARTHEST:
        return None
    return right, down


def _transform(values: NDArray[np.generic]) -> NDArray[np.complex128]:
    """Spectra of the bands about their means, faded out towards the edges (Hann), complex128 (bands, n, n)."""
    edge = values.shape[-1]
    fade = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(edge) + 0.5) / edge)
    weight = np.multiply.outer(fade, fade)
    wide = values.astype(np.float64)
    mean = (wide * weight).sum(axis=(1, 2), keepdims=True) / weight.sum()
    return np.asarray(np.fft.fft2((wide - mean) * weight))


def compute_window_shifts(
    names: tuple[str, str],
    values: tuple[NDArray[np.generic], NDArray[np.generic]],
    valid: NDArray[np.bool_] | None,
    place: tuple[Grid, Window, Window],
    offset: tuple[float, float],
    pairs: int,
) -> WindowShifts | None:
    """Displacements in the windows of an overlap that are at hand and wholly valid; None where none tells any.

    Parameters
    ----------
    names
        Of the two scenes.
    values
        Pixels of both on the first one's grid, each (bands, height, width), the second taken from its nearest pixels.
    valid
        (height, width), True where both are valid; None: everywhere.
    place
        The grid, the window of it that the pixels are, and the window of the whole overlap.
    offset
        How far right and up the centres of the second scene's pixels lie of those that they are compared with, on average,
        CRS units.
    pairs
        Number of pairs of the run.
    """
    grid, shared, whole = place
    found = []
    for window in iter_windows(shared, whole, pairs):
        rows, cols = window.slices_in(shared)
        if valid is not None and not valid[rows, cols].all():
            continue
        shift = compute_window_shift(values[0][:, rows, cols], values[1][:, rows, cols])
        if shift is not None:
            found.append((shift[0] * grid.pixel_width + offset[0], offset[1] - shift[1] * grid.pixel_height))
    if not found:
        return None
    right, up = np.array(found).T
    return WindowShifts(first=names[0], second=names[1], right=right, up=up)


def merge_window_shifts(parts: Sequence[WindowShifts]) -> PairShift | None:
    """The displacement of a pair, from the parts of one pair in any order; None where too few windows tell it."""
    right = np.concatenate([part.right for part in parts])
    up = np.concatenate([part.up for part in parts])
    if len(right) < _LEAST_WINDOWS:
        return None
    centre = float(np.median(right)), float(np.median(up))
    spread = 1.4826 * float(np.median(np.hypot(right - centre[0], up - centre[1])))
    return PairShift(
        first=parts[0].first, second=parts[0].second, right=centre[0], up=centre[1], spread=spread, windows=len(right)
    )


def solve_coregistration(names: Sequence[str], pairs: Sequence[PairShift], pixel: float, *, is_applied: bool) -> Coregistration:
    """The shifts of all scenes: robust least squares of s_second - s_first = displacement, in a fixed number of rounds.

    A pair counts by its windows over their squared spread, and less the farther it is from the solution: as its distance first,
    then by Tukey's biweight. The shifts of a group of scenes that overlap sum to 0: what all of them have in common cannot be
    seen from within.

    Parameters
    ----------
    names
        Of the scenes, in plan order.
    pairs
        Displacements.
    pixel
        Edge of a pixel of the mosaic, CRS units.
    is_applied
        Whether the scenes will be moved.
    """
    position = {name: number for number, name in enumerate(names)}
    first = np.array([position[pair.first] for pair in pairs], dtype=np.intp)
    second = np.array([position[pair.second] for pair in pairs], dtype=np.intp)
    known = np.array([(pair.right, pair.up) for pair in pairs]).reshape(len(pairs), 2).T / pixel
    spread = np.array([pair.spread for pair in pairs]) / pixel
    base = np.array([pair.windows for pair in pairs]) / (spread**2 + _FLOOR**2)
    held = np.zeros(len(names), np.bool_)
    weight, left = base, np.zeros(len(pairs))
    shifts = np.zeros((2, len(names)))
    for number in range(_ROUNDS if len(pairs) else 0):
        shifts = solve_differences(second, first, weight, known, held)
        left = np.hypot(*(shifts[:, second] - shifts[:, first] - known))
        scale = max(1.4826 * float(np.median(left)), _FLOOR)
        if number < _ROUNDS // 2:
            weight = base * scale / np.maximum(left, scale)
        else:
            weight = base * np.maximum(1.0 - (left / (_TUKEY * scale)) ** 2, 0.0) ** 2
    length = np.hypot(*known)
    return Coregistration(
        pairs=tuple(pairs),
        right=tuple((shifts[0] * pixel).tolist()),
        up=tuple((shifts[1] * pixel).tolist()),
        pixel=pixel,
        median=_quantile(length, 0.5),
        high=_quantile(length, 0.9),
        median_after=_quantile(left, 0.5),
        high_after=_quantile(left, 0.9),
        is_applied=is_applied,
    )


def _quantile(values: F64, share: float) -> float:
    return float(np.quantile(values, share)) if len(values) else math.nan


def move_grid(grid: Grid, known: Coregistration | None, position: int) -> Grid:
    """Where a scene's pixels are laid: its grid, moved as its place in the plan says."""
    right, up = (0.0, 0.0) if known is None else known.find_move(position)
    return replace(grid, left=grid.left + right, top=grid.top + up) if right or up else grid


def move_footprint(footprint: GeometryT, known: Coregistration | None, position: int) -> GeometryT:
    """The outline of a scene's pixels where they are laid, CRS units."""
    right, up = (0.0, 0.0) if known is None else known.find_move(position)
    moved: GeometryT = translate(footprint, right, up) if right or up else footprint
    return moved
