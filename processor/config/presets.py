"""Presets: named sets of values for kinds of scenes. What is set by file, environment or flag wins over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A named set of values."""

    description: str
    """Which scenes it is for, in a line."""
    values: Mapping[str, Mapping[str, Any]]
    """Parameters that differ from their defaults, by section."""


_ROBUST: Final = {"matching_global_method": "robust_regression", "matching_local_method": "surface_adjustment"}

PRESETS: Final[Mapping[str, Preset]] = {
    "spectralmatch": Preset(
        description="what spectralmatch 1.2.1 does, to the last digit", values={"align_rasters": {"tap": True}}
    ),
    "satellite": Preset(
        description="scenes of satellites: gains and offsets differ, and there are clouds and change",
        values={"methods": _ROBUST},
    ),
    "aerial": Preset(
        description="aerial and drone scenes, wide swaths: the light varies within each scene as in all others",
        values={
            "methods": {"matching_global_method": None, "matching_local_method": "surface_adjustment"},
            "surface_adjustment": {"illumination": "shared"},
        },
    ),
}
"""By name. The defaults are those of spectralmatch, but for the grid: where scenes share one, the mosaic has it."""

SPECTRALMATCH: Final = "spectralmatch"
"""The preset of :func:`processor.pipeline` where none is named."""
