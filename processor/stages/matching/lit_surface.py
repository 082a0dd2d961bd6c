"""The correction of the surface adjustment: light that scenes share, a surface of the scene's own, and a fit to references."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache, reduce

import numpy as np
from numpy.typing import NDArray

from processor.model import Adjustment, Grid, Window
from processor.stages.matching.control_surface import ControlStrips, ControlSurface, compose_surfaces
from processor.stages.matching.illumination import make_pattern_surface


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LitSurface:
    """What is done to a scene, globally adjusted: x exp(pattern) first, then the surface, then the fit."""

    surface: ControlSurface
    """Of the scene's own."""
    pattern: NDArray[np.float64] | None = None
    """Coefficients of the shared pattern, float64 (bands, 5); None: there is none."""
    fit: ControlSurface | None = None
    """Gain and offset in small kernels against references; None: there are none."""
    adjustment: Adjustment | None = None
    """The global adjustment of the scene that it was solved after; None: not known."""

    @property
    def scene(self) -> str:
        """Name of the scene."""
        return self.surface.scene

    def compose(self) -> ControlSurface:
        """All in one surface; those of the scenes used last are kept, because windows come one after another."""
        return _compose(self)

    def round(self) -> LitSurface:
        """The same in single precision, as the file of surfaces has it."""
        return LitSurface(
            surface=_round_surface(self.surface),
            pattern=None if self.pattern is None else _round(self.pattern),
            fit=None if self.fit is None else _round_surface(self.fit),
            adjustment=self.adjustment,
        )

    def on_window(self, grid: Grid, window: Window, dtype: type[np.floating], strip: int) -> ControlStrips:
        """See :meth:`processor.stages.matching.method.SceneCorrection.on_window`."""
        return self.compose().on_window(grid, window, dtype, strip)

    def apply_at(self, values: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """See :meth:`processor.stages.matching.method.SceneCorrection.apply_at`."""
        return self.compose().apply_at(values, x, y)

    def compute_factors(self, level: NDArray[np.float64]) -> NDArray[np.float64]:
        """See :meth:`processor.stages.matching.method.SceneCorrection.compute_factors`."""
        return self.compose().compute_factors(level)


@lru_cache(maxsize=64)
def _compose(lit: LitSurface) -> ControlSurface:
    parts = [lit.surface]
    if lit.pattern is not None:
        parts.insert(0, make_pattern_surface(lit.scene, lit.surface.grid.bounds, lit.pattern))
    if lit.fit is not None:
        parts.append(lit.fit)
    return reduce(compose_surfaces, parts)


def _round(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values.astype(np.float32).astype(np.float64)


def _round_surface(surface: ControlSurface) -> ControlSurface:
    return replace(
        surface,
        gain=None if surface.gain is None else _round(surface.gain),
        offset=None if surface.offset is None else _round(surface.offset),
    )
