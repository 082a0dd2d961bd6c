"""Stage 1, global regression: one scale and one offset for each scene and band, solved over all overlaps at once.

After Yu et al. 2017, "An auto-adapting global-to-local color balancing method for optical imagery mosaic",
doi 10.1016/j.isprsjprs.2017.08.002.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
import scipy
from numpy.typing import NDArray

from processor.model import Adjustment, Finding, Moments, Overlap
from processor.model.names import choose_scenes
from processor.model.options import Paths
from processor.stages.files import TextFile
from processor.stages.matching.adjustments_file import KnownStatistics, render_adjustments
from processor.stages.matching.method import GlobalMethod, GlobalSolution
from processor.stages.matching.options import GlobalRegressionOptions
from processor.stages.measures import Measures
from processor.stages.method import Need, Region, WantedCopy

_NEGLIGIBLE = 1e-10  # of its terms' size: a sum that cancels to less is rounding, and its direction is undetermined
_RIDGE = 1e-12  # against a unit diagonal; keeps the factors finite should statistics contradict each other
_REFINEMENTS = 30  # at most; two or three are needed
_CONVERGED = 1e-15  # relative size of a step


def identity_adjustment(scene: str, bands: int) -> Adjustment:
    """Scale 1 and offset 0: what a scene gets when the stage is off."""
    return Adjustment(scene=scene, scale=np.ones(bands), offset=np.zeros(bands))


def solve_adjustments(
    whole: Mapping[str, Moments],
    overlaps: Sequence[Overlap],
    *,
    mean_factor: float = 1.0,
    std_factor: float = 1.0,
    model: Collection[str] | None = None,
) -> tuple[Adjustment, ...]:
    """Solve for every scene's scale and offset, in name order.

    For each band the rows are, unweighted by area, f_mean (a_i m_i + b_i - a_j m_j - b_j) = 0 and f_std (a_i s_i - a_j s_j) = 0
    for each overlap with a scene in the model, and w (a_i M_i + b_i) = w M_i and w a_i S_i = w S_i for each scene in the model,
    with w = overlaps used / (2 N), or 1 without overlaps. Solved in the least-squares sense; what the rows leave undetermined
    departs from scale 1, offset 0 by as little as possible.

    Parameters
    ----------
    whole
        Moments of each scene's own valid pixels, by name, source units.
    overlaps
        Moments of each pair over its common pixels. Pairs without a common pixel are ignored.
    mean_factor, std_factor
        Weights f_mean and f_std.
    model
        Names of the scenes that pull on the model; None: all. The others are fitted to them.

    Raises
    ------
    KeyError
        If an overlap names a scene that has no whole-scene moments.
    """
    names = sorted(whole)
    index = {name: position for position, name in enumerate(names)}
    members = set(names if model is None else model)
    used = sorted(
        (o for o in overlaps if o.first_moments.count and (o.first in members or o.second in members)),
        key=lambda o: (o.first, o.second),
    )
    weight = len(used) / (2 * len(names)) if used else 1.0
    pairs = np.array([(index[o.first], index[o.second]) for o in used], dtype=np.intp).reshape(-1, 2)
    anchored = np.array([index[name] for name in names if name in members and whole[name].count], dtype=np.intp)
    bands = len(whole[names[0]].mean) if names else 0
    solutions = []
    for band in range(bands):
        means = np.array([(o.first_moments.mean[band], o.second_moments.mean[band]) for o in used]).reshape(-1, 2)
        stds = np.array([(o.first_moments.std[band], o.second_moments.std[band]) for o in used]).reshape(-1, 2)
        own_mean = np.array([whole[names[i]].mean[band] for i in anchored])
        own_std = np.array([whole[names[i]].std[band] for i in anchored])
        rows = _system(pairs, mean_factor * means, std_factor * stds, mean_factor, len(names))
        anchors = _anchors(anchored, weight * own_mean, weight * own_std, weight, len(names))
        solutions.append(_solve_departure(rows, anchors))
    return tuple(
        Adjustment(
            scene=name,
            scale=np.array([1.0 + solution[2 * i] for solution in solutions]),
            offset=np.array([solution[2 * i + 1] for solution in solutions]),
        )
        for i, name in enumerate(names)
    )


def _system(
    pairs: NDArray[np.intp], means: NDArray[np.float64], stds: NDArray[np.float64], one: float, scenes: int
) -> scipy.sparse.csc_array:
    """Rows of the overlaps; columns 2 i and 2 i + 1 are a_i and b_i."""
    count = len(pairs)
    row = np.arange(count)
    first, second = 2 * pairs[:, 0], 2 * pairs[:, 1]
    ones = np.full(count, one)
    entries = [
        (row, first, means[:, 0]),
        (row, first + 1, ones),
        (row, second, -means[:, 1]),
        (row, second + 1, -ones),
        (row + count, first, stds[:, 0]),
        (row + count, second, -stds[:, 1]),
    ]
    return _assemble(entries, (2 * count, 2 * scenes))


def _anchors(
    anchored: NDArray[np.intp], means: NDArray[np.float64], stds: NDArray[np.float64], weight: float, scenes: int
) -> scipy.sparse.csc_array:
    """Rows that hold each scene of the model near its own mean and spread."""
    count = len(anchored)
    row = np.arange(count)
    entries = [
        (row, 2 * anchored, means),
        (row, 2 * anchored + 1, np.full(count, weight)),
        (row + count, 2 * anchored, stds),
    ]
    return _assemble(entries, (2 * count, 2 * scenes))


def _assemble(
    entries: list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]], shape: tuple[int, int]
) -> scipy.sparse.csc_array:
    rows = np.concatenate([row for row, _, _ in entries])
    cols = np.concatenate([col for _, col, _ in entries])
    values = np.concatenate([value for _, _, value in entries])
    return scipy.sparse.csc_array(scipy.sparse.coo_array((values, (rows, cols)), shape=shape))


def _compute_basis(system: scipy.sparse.csc_array) -> tuple[scipy.sparse.csc_array, NDArray[np.float64]]:
    """Orthonormal directions of the unknowns that the rows see, as columns, and the norm of the rows along each.

    A scene's scale and offset are nearly collinear wherever its mean is large against its spread. Turning each scene's pair to
    (m, 1) and (1, -m), with m the mean of the means in its rows, parts what moves the level from what stretches about it, and
    takes that correlation out of the solve.

    What is undetermined is undetermined scene by scene: a scene of the model is held by its own anchors, up to its stretch if
    it is constant, and any other has rows with scenes of the model only. So dropping the directions along which the rows vanish
    leaves a system of full rank, and because the turned pair is orthonormal, its solution is the one of least norm.
    """
    scenes = system.shape[1] // 2
    scales, offsets = system[:, 0::2], system[:, 1::2]
    weight = offsets.multiply(offsets).sum(axis=0)
    level = np.divide(scales.multiply(offsets).sum(axis=0), weight, out=np.zeros(scenes), where=weight > 0)
    size = np.sqrt(1.0 + level * level)
    scene = np.arange(scenes)
    rows = np.concatenate([2 * scene, 2 * scene + 1, 2 * scene, 2 * scene + 1])
    columns = np.concatenate([2 * scene, 2 * scene, 2 * scene + 1, 2 * scene + 1])
    values = np.concatenate([level / size, 1.0 / size, 1.0 / size, -level / size])
    turned = scipy.sparse.csc_array(scipy.sparse.coo_array((values, (rows, columns)), shape=(2 * scenes, 2 * scenes)))
    norm, terms = (
        _column_norms(scipy.sparse.csc_array(system @ turned)),
        _column_norms(scipy.sparse.csc_array(abs(system) @ abs(turned))),
    )
    seen = norm > _NEGLIGIBLE * terms
    return scipy.sparse.csc_array(turned[:, seen]), norm[seen]


def _column_norms(matrix: scipy.sparse.csc_array) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(matrix.multiply(matrix).sum(axis=0)), dtype=np.float64)


def _solve_departure(rows: scipy.sparse.csc_array, anchors: scipy.sparse.csc_array) -> NDArray[np.float64]:
    """Least-squares departure from scale 1, offset 0, of least norm where it is not unique.

    The identity satisfies every anchor, so only the overlaps have a residual there. The normal equations, in the basis of what
    the rows see and scaled to a unit diagonal, are factorised once and refined: each step adds the solution for what is left
    of the right-hand side, computed from the rows themselves, which restores the accuracy that squaring costs.
    """
    identity = np.zeros(rows.shape[1])
    identity[0::2] = 1.0
    residual = -(rows @ identity)
    basis, norm = _compute_basis(scipy.sparse.csc_array(scipy.sparse.vstack([rows, anchors])))
    unknowns = len(norm)
    if unknowns == 0:
        return np.zeros(rows.shape[1])
    scaled = scipy.sparse.csc_array(basis @ scipy.sparse.diags_array(1.0 / norm))
    overlap, anchor = scipy.sparse.csc_array(rows @ scaled), scipy.sparse.csc_array(anchors @ scaled)
    normal = scipy.sparse.csc_array(
        overlap.T @ overlap + anchor.T @ anchor + scipy.sparse.diags_array(np.full(unknowns, _RIDGE))
    )
    factor = scipy.sparse.linalg.splu(
        normal, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    solution = np.zeros(unknowns)
    previous = np.inf
    for _ in range(_REFINEMENTS):
        step = factor.solve(overlap.T @ (residual - overlap @ solution) - anchor.T @ (anchor @ solution))
        size = float(np.abs(step).max())
        if size >= previous:  # rounding is all that is left
            break
        solution = solution + step
        previous = size
        if size <= _CONVERGED * float(np.abs(solution).max()):
            break
    return np.asarray(scaled @ solution, dtype=np.float64)


def compute_contrast(adjustments: Sequence[Adjustment]) -> NDArray[np.float64]:
    """Mean scale over the scenes, (bands,): below 1, the solve lowers the mosaic's contrast by that factor."""
    return np.asarray(np.mean([adjustment.scale for adjustment in adjustments], axis=0), dtype=np.float64)


def apply_adjustment(
    values: NDArray[np.generic], scale: float, offset: float, *, out: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Apply y = scale x + offset.

    Parameters
    ----------
    values
        Pixels of one band, source units, any shape.
    scale, offset
        Of that band.
    out
        Floating-point array of the same shape that receives the result; it is returned.
    """
    np.copyto(out, values, casting="unsafe")
    if scale != 1.0:
        np.multiply(out, out.dtype.type(scale), out=out)
    if offset != 0.0:
        np.add(out, out.dtype.type(offset), out=out)
    return out


class GlobalRegression(GlobalMethod[GlobalRegressionOptions]):
    """Solves for all scenes over all overlaps; statistics that the user has from another run need not be measured again."""

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

    def list_needs(self, scenes: Collection[str]) -> frozenset[Need]:
        """Moments, unless those of all scenes are known."""
        return frozenset() if self._known.whole.keys() >= set(scenes) else frozenset({"moments"})

    def list_copies(self, scenes: Sequence[str]) -> Iterator[WantedCopy]:
        """The adjustments."""
        del scenes
        if self.options.save_adjustments is not None:
            yield WantedCopy(option="save_adjustments", key="adjustments", url=self.options.save_adjustments)

    def recall(self) -> tuple[Mapping[str, Moments], Sequence[Overlap]]:
        """Of ``load_adjustments``."""
        return self._known.whole, self._known.overlaps

    def check(self, scenes: Sequence[str]) -> None:
        """Refuse names of scenes that are none."""
        self._find_model(scenes)

    def solve(self, measures: Measures) -> GlobalSolution:
        """:func:`solve_adjustments`."""
        names = [scene.name for scene in measures.scenes]
        whole, overlaps = self.join_statistics(measures)
        solved = solve_adjustments(
            whole,
            overlaps,
            mean_factor=self.options.custom_mean_factor,
            std_factor=self.options.custom_std_factor,
            model=self._find_model(names),
        )
        by_name = {adjustment.scene: adjustment for adjustment in solved}
        return GlobalSolution(
            adjustments=tuple(by_name.pop(name) for name in names),
            others=tuple(by_name[name] for name in sorted(by_name)),
            findings=tuple(self._warn_of_nothing(name) for name in names if not whole[name].count),
        )

    def list_files(self, measures: Measures, solution: GlobalSolution) -> Iterator[TextFile]:
        """The adjustments, also of scenes that are only in the statistics given."""
        whole, overlaps = self.join_statistics(measures)
        adjustments = sorted((*solution.adjustments, *solution.others), key=lambda adjustment: adjustment.scene)
        yield TextFile(
            key="adjustments",
            path="adjustments.json",
            title="Scale and offset of each scene and band, and the statistics they follow from",
            media_type="application/json",
            text=render_adjustments(adjustments, whole, overlaps),
        )

    def join_statistics(self, measures: Measures) -> tuple[dict[str, Moments], tuple[Overlap, ...]]:
        """Statistics of all scenes of the model: known ones, and measured ones of scenes and pairs that are not among these."""
        return self._known.join(measures)

    def _find_model(self, scenes: Sequence[str]) -> frozenset[str] | None:
        """Names of the scenes that pull on the model, also of those that are only in the statistics given, or None: all."""
        setting = self.options.specify_model_images
        return choose_scenes(setting, {*scenes, *self._known.whole}, parameter="global_regression.specify_model_images")

    def _warn_of_nothing(self, scene: str) -> Finding:
        cause = "check global_regression.vector_mask"
        if self.region is None:
            cause = "in none has every band a value: choose bands that it has with --inputs.bands, or leave it out"
        return Finding(
            severity="warning",
            code="no-statistics",
            message=(f"scene {scene} has no pixel that counts for the statistics, so its radiometry is not matched; {cause}"),
            scene=scene,
            stage=self.name,
        )
