"""How far two matched scenes differ in the blocks that they share: from the moments of the raw ones, without another pixel."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processor.model import Adjustment, Grid
from processor.stages.matching.matched_blocks import MatchedBlocks
from processor.stages.matching.method import SceneCorrection
from processor.stages.measures import SceneMeasures


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Radiometry:
    """What matching makes of the scenes; one that it does not name stays as it is."""

    adjusted: Mapping[str, Adjustment]
    """Gains and offsets, by scene."""
    corrected: Mapping[str, SceneCorrection]
    """Corrections by position after them, by scene."""


def make_radiometry(adjustments: Iterable[Adjustment], corrections: Iterable[SceneCorrection]) -> Radiometry:
    """What was decided of each scene, by name."""
    return Radiometry(
        adjusted={adjustment.scene: adjustment for adjustment in adjustments},
        corrected={correction.scene: correction for correction in corrections},
    )


def compute_pair_difference(
    part: MatchedBlocks, blocks: NDArray[np.intp], canvas: Grid, radiometry: Radiometry
) -> NDArray[np.float64]:
    """RMS difference of the two matched scenes over the common pixels of some blocks of a pair.

    It is exact for gains and offsets. A correction by position is taken at the mean position of a block's pixels, as the line
    through what it makes of their mean less and plus a standard deviation.

    Parameters
    ----------
    part
        The pair, measured of the raw scenes.
    blocks
        Indexes of the blocks, intp (n,).
    canvas
        Grid on which the lattice hangs.
    radiometry
        Of the scenes.

    Returns
    -------
    float64 (bands, n), units of the matched scenes.
    """
    count = part.count[blocks]
    x = canvas.left + part.x[blocks] / count * canvas.pixel_width
    y = canvas.top - part.y[blocks] / count * canvas.pixel_height
    sums = part.sums[:, :, blocks] / count
    covariance = sums[4] - sums[0] * sums[1]
    means, gains, variances = [], [], []
    for side, name in enumerate((part.first, part.second)):
        mean = sums[side]
        variance = np.maximum(sums[2 + side] - mean * mean, 0.0)
        gain = np.ones_like(mean)
        adjustment, correction = radiometry.adjusted.get(name), radiometry.corrected.get(name)
        if adjustment is not None:
            gain = gain * adjustment.scale[:, None]
            mean = gain * mean + adjustment.offset[:, None]
        if correction is not None:
            reach = np.maximum(np.abs(gain) * np.sqrt(variance), 1e-6 * np.abs(mean) + 1e-12)
            levels = np.concatenate([mean - reach, mean + reach, mean], axis=1)
            low, high, mean = np.split(correction.apply_at(levels, np.tile(x, 3), np.tile(y, 3)), 3, axis=1)
            gain = gain * (high - low) / (2 * reach)
        means.append(mean)
        gains.append(gain)
        variances.append(gain * gain * variance)
    square = (means[0] - means[1]) ** 2 + variances[0] + variances[1] - 2 * gains[0] * gains[1] * covariance
    return np.asarray(np.sqrt(np.maximum(square, 0.0)))


def compute_spread(scenes: Collection[SceneMeasures], radiometry: Radiometry) -> NDArray[np.float64]:
    """Root mean square of the scenes' standard deviations after their gains, float64 (bands,)."""
    variances = []
    for scene in scenes:
        if scene.valid.count:
            adjustment = radiometry.adjusted.get(scene.name)
            gain = 1.0 if adjustment is None else adjustment.scale
            variances.append((gain * scene.valid.std) ** 2)
    return np.asarray(np.sqrt(np.mean(variances, axis=0)), dtype=np.float64)
