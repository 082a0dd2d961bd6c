"""What a run is known by: the SHA-256 of all that decides its result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from processor.config import Config, decisive_settings
from processor.config.methods import Methods, choose_methods
from processor.model import Scene
from processor.model.bands import merge_bands
from processor.redaction import redact_url
from processor.stages.seamlines.rank import read_value


def compute_digest(
    scenes: Sequence[Scene],
    config: Config,
    version: str,
    fingerprints: Mapping[str, str] | None = None,
    references: Sequence[Scene] = (),
    checks: Sequence[Scene] = (),
) -> str:
    """SHA-256 of what decides the result: inputs, configuration and version, not threads, memory or folders.

    Parameters
    ----------
    fingerprints
        Digests of the user's own files, by URL.
    references
        As :func:`processor.scenes.references.unify_references` gives them.
    checks
        As :func:`processor.scenes.checks.read_checks` gives them.
    """
    settings, methods = decisive_settings(config), choose_methods(config)
    # The order of the input matters where scenes still overlap as they are merged, and where files are named for them in it.
    matters = (
        not methods.cuts_by_cells
        or methods.clip.keeps_touched
        or any(isinstance(values.get("output_images"), list) for values in settings.values())
    )
    ordered = sorted(scenes, key=lambda scene: scene.name)
    inputs = [
        [scene.name, *_identify(scene), scene.priority if matters else 0, *_list_told(scene, methods)] for scene in ordered
    ]
    known = [[image.name, *_identify(image)] for image in (*references, *checks)]
    # What values mean stands in the mosaic's file.
    units = [
        [band.name, None if band.scaling is None else [float(band.scaling.scale), float(band.scaling.offset)], band.unit]
        for band in merge_bands(ordered)
        if band.scaling is not None or band.unit is not None
    ]
    decisive = [version, settings, inputs, known, dict(fingerprints or {}), *([units] if units else [])]
    text = json.dumps(decisive, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _identify(scene: Scene) -> list[Any]:
    """What decides a scene's pixels."""
    if not scene.parts:
        source = scene.source
        return [redact_url(source.href), source.size, source.fingerprint, source.band_indexes]
    parts = [
        [*_identify(part.raster), [[float(c.scale), float(c.offset)] for c in part.conversions], part.resampling]
        for part in scene.parts
    ]
    mask = scene.mask
    return [
        parts,
        None if mask is None else [*_identify(mask.raster), mask.invalid, mask.bits, *([mask.valid] if mask.valid else [])],
        [*map(float, scene.grid.transform)],
    ]


def _list_told(scene: Scene, methods: Methods) -> list[Any]:
    """What of its Item's properties decides pixels: the group whose illumination it shares, and the values that rank it."""
    properties, rank = scene.provenance.properties, methods.seamlines.rank
    group = methods.matching_local.find_group(properties)
    values = {} if rank is None else {name: read_value(properties.get(name)) for name in rank.names}
    return [told for told in (group, values) if told]
