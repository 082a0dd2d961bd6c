"""The network of scenes and pairs: unknowns of which only differences are known, and the groups that hang together."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray


def find_groups(
    first: NDArray[np.intp], second: NDArray[np.intp], weight: NDArray[np.float64], scenes: int
) -> NDArray[np.intp]:
    """Number of the group that each scene is in, intp (scenes,), from 0 in order of the first scene.

    Parameters
    ----------
    first, second
        Scenes of each pair, (pairs,).
    weight
        Of each pair, (pairs,); 0 where a pair connects nothing.
    scenes
        Number of scenes.
    """
    used = weight > 0
    links = scipy.sparse.coo_array((np.ones(int(used.sum())), (first[used], second[used])), shape=(scenes, scenes))
    _, labels = scipy.sparse.csgraph.connected_components(links, directed=False)
    _, start, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(start))
    return np.asarray(rank[inverse], dtype=np.intp)


def solve_differences(
    first: NDArray[np.intp],
    second: NDArray[np.intp],
    weight: NDArray[np.float64],
    difference: NDArray[np.float64],
    held: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Weighted least squares of z_first - z_second = difference.

    A held scene has z = 0. In a group without one the values sum to 0.

    Parameters
    ----------
    first, second
        Scenes of each pair, (pairs,).
    weight
        Of each pair's rows, (pairs,), not negative; pairs of weight 0 do not count.
    difference
        Float64 (k, pairs), k right-hand sides, any unit; finite where the weight is positive.
    held
        Scenes that are held, bool (scenes,).

    Returns
    -------
    Float64 (k, scenes), the unit of the differences.
    """
    scenes = len(held)
    used = np.flatnonzero(weight > 0)
    groups = find_groups(first, second, weight, scenes)
    anchored = np.zeros(int(groups.max(initial=-1)) + 1, np.bool_)
    anchored[groups[held]] = True
    pinned = held.copy()
    _, leading = np.unique(groups, return_index=True)
    pinned[leading[~anchored]] = True
    solution = np.zeros((len(difference), scenes))
    free = np.flatnonzero(~pinned)
    if len(free) and len(used):
        ones, pairs = np.ones(len(used)), np.arange(len(used))
        incidence = scipy.sparse.csr_array(
            scipy.sparse.coo_array(
                (np.concatenate([ones, -ones]), (np.tile(pairs, 2), np.concatenate([first[used], second[used]]))),
                shape=(len(used), scenes),
            )
        )[:, free]
        scaled = weight[used] / weight[used].max()
        weighted = scipy.sparse.csr_array(incidence.T @ scipy.sparse.diags_array(scaled))
        factor = scipy.sparse.linalg.splu(
            scipy.sparse.csc_array(weighted @ incidence),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
        solution[:, free] = factor.solve(np.ascontiguousarray(weighted @ difference[:, used].T)).T
    size = np.bincount(groups, minlength=len(anchored))
    levels = np.stack([np.bincount(groups, values, minlength=len(anchored)) / size for values in solution])
    return np.asarray(solution - np.where(anchored, 0.0, levels)[:, groups])
