"""Which matched blocks seams pass through: counted while windows are rendered, looked up when the report is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray


def empty_seam_blocks() -> NDArray[np.int64]:
    """No block, int64 (5, 0)."""
    return np.zeros((5, 0), np.int64)


def count_seam_blocks(
    index: NDArray[np.unsignedinteger],
    seams: tuple[NDArray[np.intp], NDArray[np.intp]],
    place: tuple[int, int],
    find_edge: Callable[[int, int], int | None],
) -> NDArray[np.int64]:
    """Count the neighbours of two scenes in each block of that pair's lattice.

    Parameters
    ----------
    index
        (height, width): scene of each pixel of a window of the mosaic, from 1; 0 where there is none.
    seams
        From :func:`processor.stages.seam_steps.find_seams`.
    place
        Row and column of the window's upper left pixel in the mosaic.
    find_edge
        Edge of the blocks of two scenes by their indexes, the lesser first, pixels of the mosaic; None: they are not compared.

    Returns
    -------
    int64 (5, n): indexes of both scenes, the lesser first, row and column of the block in the pair's lattice, and the number of
    neighbours, which count where the upper or left pixel lies; sorted by all but the last.
    """
    flat, width = index.reshape(-1), index.shape[1]
    at = np.concatenate(seams)
    one = flat[at].astype(np.int64)
    other = flat[np.concatenate([seams[0] + width, seams[1] + 1])].astype(np.int64)
    first, second = np.minimum(one, other), np.maximum(one, other)
    row, col = at // width + place[0], at % width + place[1]
    found = []
    for pair in np.unique(np.stack([first, second]), axis=1).T.tolist():
        edge = find_edge(*pair)
        if edge is not None:
            chosen = (first == pair[0]) & (second == pair[1])
            blocks, count = np.unique(np.stack([row[chosen] // edge, col[chosen] // edge]), axis=1, return_counts=True)
            found.append(np.concatenate([np.repeat(np.array(pair)[:, None], len(count), axis=1), blocks, count[None]]))
    return np.concatenate([empty_seam_blocks(), *found], axis=1)


def merge_seam_blocks(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Add up the counts of parts, in any order; int64 (5, n)."""
    joined = np.concatenate([empty_seam_blocks(), *parts], axis=1)
    if not joined.shape[1]:
        return joined
    joined = joined[:, np.lexsort(joined[3::-1])]
    starts = np.flatnonzero(np.concatenate([[True], (np.diff(joined[:4], axis=1) != 0).any(axis=0)]))
    return np.concatenate([joined[:4, starts], np.add.reduceat(joined[4:], starts, axis=1)])
