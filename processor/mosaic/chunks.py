"""The measuring tasks: rectangles of the canvas, kept as a few numbers each, since large scenes have millions of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from processor.model import Bounds, Grid
from processor.model.z_order import gather_bits, spread_bits

CHUNK_EDGE = 1024  # pixels of the finest grid measured; fixed, because partial sums are merged chunk by chunk


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A rectangle of the canvas, measured as one task."""

    number: int
    """Position in the plan; partial results are merged in this order."""
    bounds: Bounds
    """CRS units; the chunks tile the canvas."""
    scenes: tuple[int, ...]
    """Positions of the scenes whose bounds meet it, ascending."""


class Chunks(Sequence[Chunk]):
    """The chunks of a plan, each made when it is asked for.

    Parameters
    ----------
    canvas
        What they tile; the first row and column begin at its upper left corner.
    width, height
        Of a chunk, CRS units.
    rows, cols
        int64 (n,): where each lies.
    members
        int32: positions of the scenes of all chunks, one chunk after the other.
    ends
        int64 (n,): where those of each chunk end.
    pixels
        int32, as ``members``: how many pixels each scene has in the chunk.
    """

    __slots__ = ("_canvas", "_cols", "_ends", "_height", "_members", "_pixels", "_rows", "_width")

    def __init__(
        self,
        canvas: Bounds,
        width: float,
        height: float,
        *,
        rows: NDArray[np.int64],
        cols: NDArray[np.int64],
        members: NDArray[np.int32],
        ends: NDArray[np.int64],
        pixels: NDArray[np.int32],
    ) -> None:
        self._canvas, self._width, self._height = canvas, width, height
        self._rows, self._cols, self._members, self._ends, self._pixels = rows, cols, members, ends, pixels

    def __len__(self) -> int:
        """How many there are."""
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> Chunk: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Chunk, ...]: ...
    def __getitem__(self, place: int | slice) -> Chunk | tuple[Chunk, ...]:
        """A chunk, or several."""
        if isinstance(place, slice):
            return tuple(self._make(number) for number in range(*place.indices(len(self))))
        return self._make(range(len(self))[place])

    def __iter__(self) -> Iterator[Chunk]:
        """All, in order."""
        return map(self._make, range(len(self)))

    def __eq__(self, other: object) -> bool:
        """Whether they are the same chunks."""
        return isinstance(other, Chunks) and len(self) == len(other) and all(map(Chunk.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]

    def count_pixels(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pixels of all scenes in each chunk together, and of the one that has most there; int64 (n,)."""
        starts = np.concatenate([np.zeros(1, np.int64), self._ends[:-1]])
        return np.add.reduceat(self._pixels, starts, dtype=np.int64), np.maximum.reduceat(self._pixels, starts).astype(np.int64)

    def _make(self, number: int) -> Chunk:
        row, col, canvas = int(self._rows[number]), int(self._cols[number]), self._canvas
        start = int(self._ends[number - 1]) if number else 0
        return Chunk(
            number=number,
            bounds=Bounds(
                left=canvas.left + col * self._width,
                right=canvas.left + (col + 1) * self._width,
                top=canvas.top - row * self._height,
                bottom=canvas.top - (row + 1) * self._height,
            ),
            scenes=tuple(self._members[start : int(self._ends[number])].tolist()),
        )


def plan_chunks(grids: Sequence[Grid], canvas: Bounds) -> Chunks:
    """Cut the canvas where scenes are, along a Z-order curve, which keeps neighbours near each other in time."""
    width = CHUNK_EDGE * min(grid.pixel_width for grid in grids)
    height = CHUNK_EDGE * min(grid.pixel_height for grid in grids)
    codes, scenes, pixels = [], [], []
    for position, grid in enumerate(grids):
        bounds = grid.bounds
        cols = np.arange(int((bounds.left - canvas.left) // width), math.ceil((bounds.right - canvas.left) / width))
        rows = np.arange(int((canvas.top - bounds.top) // height), math.ceil((canvas.top - bounds.bottom) / height))
        codes.append(((spread_bits(rows) << np.uint64(1))[:, None] | spread_bits(cols)).reshape(-1))
        scenes.append(np.full(len(codes[-1]), position, np.int32))
        across = _count_centres(canvas.left - grid.left, width, cols, grid.pixel_width, grid.width)
        down = _count_centres(grid.top - canvas.top, height, rows, grid.pixel_height, grid.height)
        pixels.append((down[:, None] * across).reshape(-1))
    code, members = np.concatenate(codes), np.concatenate(scenes)
    order = np.argsort(code, kind="stable")  # scenes of a chunk stay ascending
    places, counts = np.unique(code[order], return_counts=True)
    return Chunks(
        canvas,
        width,
        height,
        rows=gather_bits(places >> np.uint64(1)),
        cols=gather_bits(places),
        members=members[order],
        ends=np.cumsum(counts, dtype=np.int64),
        pixels=np.concatenate(pixels)[order],
    )


def _count_centres(start: float, step: float, places: NDArray[np.int64], pixel: float, limit: int) -> NDArray[np.int32]:
    """Pixels along one axis whose centres lie in each of some chunks (:meth:`processor.model.Grid.window_of_centres`)."""
    first = np.ceil((start + places * step) / pixel - 0.5).clip(0, limit)
    end = np.ceil((start + (places + 1) * step) / pixel - 0.5).clip(0, limit)
    counts: NDArray[np.int32] = (end - first).astype(np.int32)
    return counts
