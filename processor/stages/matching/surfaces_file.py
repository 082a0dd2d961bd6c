"""The file of surfaces: what the surface adjustment does to each scene, so that later scenes can be fitted to it.

{"format": "mosaic-processor surfaces", "version": 1, "scenes": {scene: {"surface": SURFACE, "pattern": for each band the
coefficients of v, u, v², u², uv, or null, "fit": SURFACE or null, "adjustment": {"scale": of each band, "offset": of each band}
or null}}}, each SURFACE {"bounds": [left, bottom, right, top], "gain": bands of rows of control points from the top, or null,
"offset": the same, or null}: a pixel x at p becomes gain(p) x + offset(p), bilinear between the points, in the fit what
exp(pattern(p)) x became in the surface. Single precision. The adjustment is what the global stage did before, in double
precision; null or missing: it is not known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from processor.errors import InputError
from processor.model import Adjustment, Bounds
from processor.stages.matching.control_surface import ControlGrid, ControlSurface
from processor.stages.matching.file_checks import LARGEST_PLACE, parse_json, require_mapping, require_numbers
from processor.stages.matching.illumination import TERMS
from processor.stages.matching.lit_surface import LitSurface

_FORMAT: Final = "mosaic-processor surfaces"
_VERSION: Final = 1
_MOST_POINTS: Final = 8192
_LARGEST_PATTERN: Final = 10.0  # of a coefficient: five of them are a factor that single precision still holds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KnownSurfaces:
    """What a file of surfaces says."""

    by_scene: Mapping[str, LitSurface] = field(default_factory=dict)
    """Surface of each scene, by name."""


def render_surfaces(surfaces: Sequence[LitSurface]) -> str:
    """The file's text."""
    scenes = {
        lit.scene: {
            "surface": _render(lit.surface),
            "pattern": _list(lit.pattern),
            "fit": lit.fit and _render(lit.fit),
            "adjustment": lit.adjustment and _render_adjustment(lit.adjustment),
        }
        for lit in surfaces
    }
    return json.dumps({"format": _FORMAT, "version": _VERSION, "scenes": scenes}, allow_nan=False) + "\n"


def _render_adjustment(adjustment: Adjustment) -> dict[str, Any]:
    return {"scale": adjustment.scale.tolist(), "offset": adjustment.offset.tolist()}


def _render(surface: ControlSurface) -> dict[str, Any]:
    return {"bounds": surface.grid.bounds.as_tuple(), "gain": _list(surface.gain), "offset": _list(surface.offset)}


def _list(values: NDArray[np.float64] | None) -> Any:
    """Nested lists of the shortest numbers that mean these in single precision."""
    if values is None:
        return None
    return np.array([float(str(value)) for value in values.astype(np.float32).ravel()]).reshape(values.shape).tolist()


def parse_surfaces(text: str, *, source: str, bands: int) -> KnownSurfaces:
    """Parse a file of surfaces.

    Parameters
    ----------
    source
        Names the file in errors.
    bands
        How many bands the scenes have.

    Raises
    ------
    InputError
        Naming the scene and the key that is missing or wrong.
    """
    document = parse_json(text, source)
    if not isinstance(document, dict) or (document.get("format"), document.get("version")) != (_FORMAT, _VERSION):
        msg = f"{source} must be what save_surfaces writes: a mapping with format {_FORMAT!r} and version {_VERSION}"
        raise InputError(msg)
    scenes = require_mapping(document.get("scenes"), f"{source}, scenes")
    return KnownSurfaces(by_scene={name: _parse_scene(name, entry, source, bands) for name, entry in scenes.items()})


def _parse_scene(name: str, entry: Any, source: str, bands: int) -> LitSurface:
    place = f"{source}, scene {name}"
    known = require_mapping(entry, place)
    pattern: NDArray[np.float64] | None = None
    if known.get("pattern") is not None:
        pattern = _round(require_numbers(known, "pattern", (bands, len(TERMS)), place, largest=_LARGEST_PATTERN))
    return LitSurface(
        surface=_parse_surface(name, known.get("surface"), f"{place}, surface", bands),
        pattern=pattern,
        fit=None if known.get("fit") is None else _parse_surface(name, known["fit"], f"{place}, fit", bands),
        adjustment=None if known.get("adjustment") is None else _parse_adjustment(name, known["adjustment"], place, bands),
    )


def _parse_adjustment(name: str, entry: Any, place: str, bands: int) -> Adjustment:
    place = f"{place}, adjustment"
    known = require_mapping(entry, place)
    scale, offset = (require_numbers(known, key, (bands,), place) for key in ("scale", "offset"))
    if not (scale > 0).all():
        msg = f"{place}, scale: must be positive"
        raise InputError(msg)
    return Adjustment(scene=name, scale=scale, offset=offset)


def _parse_surface(name: str, entry: Any, place: str, bands: int) -> ControlSurface:
    known = require_mapping(entry, place)
    left, bottom, right, top = require_numbers(known, "bounds", (4,), place, largest=LARGEST_PLACE).tolist()
    if not (left < right and bottom < top):
        msg = f"{place}, bounds: left < right and bottom < top"
        raise InputError(msg)
    given = [key for key in ("gain", "offset") if known.get(key) is not None]
    if not given:
        msg = f"{place}: gain or offset is needed"
        raise InputError(msg)
    values = {key: _round(require_numbers(known, key, (bands, None, None), place)) for key in given}
    shape = values[given[0]].shape
    if any(one.shape != shape for one in values.values()) or not all(2 <= size <= _MOST_POINTS for size in shape[1:]):
        msg = f"{place}: gain and offset must have one shape, of 2 to {_MOST_POINTS} points a side"
        raise InputError(msg)
    grid = ControlGrid(bounds=Bounds(left=left, bottom=bottom, right=right, top=top), rows=shape[1], cols=shape[2])
    return ControlSurface(scene=name, grid=grid, gain=values.get("gain"), offset=values.get("offset"))


def _round(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values.astype(np.float32).astype(np.float64)
