"""Where an Item and the file that it names disagree: the file is taken as it is, and a finding says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.io import DatasetReader

from processor.model import Declared, Finding, Grid, Scene
from processor.redaction import redact_url

_SAME_PLACE: Final = 0.01  # pixels by which a transform may differ from the file's: Items round


def compare_declared(declared: Declared, scene: Scene, dataset: DatasetReader) -> tuple[Finding, ...]:
    """A finding where the Item says something of the file that the file does not bear out."""
    grid, transform = scene.grid, tuple(dataset.transform)[:6]
    reasons = []
    if declared.shape is not None and declared.shape != grid.shape:
        reasons.append(f"shape {declared.shape[0]} x {declared.shape[1]}, where it is {grid.height} x {grid.width}")
    if declared.transform is not None and _find_departure(declared.transform, transform, grid) > _SAME_PLACE:
        reasons.append(f"transform {list(declared.transform)}, where it is {list(transform)}")
    if declared.crs is not None and dataset.crs is not None and not _is_crs(declared.crs, dataset.crs):
        authority = dataset.crs.to_authority()
        name = ":".join(authority) if authority else str(dataset.crs.to_wkt().split('"')[1])
        reasons.append(f"CRS {declared.crs[:40]}, where it is {name}")
    nodata = scene.source.nodata
    if declared.nodata is not None and (nodata is None or not np.array_equal(declared.nodata, nodata, equal_nan=True)):
        has = "it has none" if nodata is None else f"it is {nodata:g}"
        reasons.append(f"nodata {declared.nodata:g}, where {has}")
    unusable = _report_unusable(declared, scene)
    if not reasons:
        return unusable
    message = (
        f"scene {scene.name}: the Item says of {redact_url(scene.source.href)} {'; '.join(reasons)}: the file is taken as it is"
    )
    told = Finding(severity="warning", code="item-disagrees", message=message, scene=scene.name.partition("/")[0])
    return (told, *unusable)


def _report_unusable(declared: Declared, scene: Scene) -> tuple[Finding, ...]:
    """A finding about what the Item says in a way that nobody understands."""
    if not declared.unusable:
        return ()
    message = f"scene {scene.name}: the Item's {'; '.join(declared.unusable)}: left aside, the file is taken as it is"
    return (Finding(severity="warning", code="item-unusable", message=message, scene=scene.name.partition("/")[0]),)


def _find_departure(declared: Sequence[float], transform: Sequence[float], grid: Grid) -> float:
    """Pixels by which two corners of the grid lie elsewhere."""
    a, b, c, d, e, f = (float(given - own) for given, own in zip(declared, transform, strict=True))
    places = ((0, 0), (grid.width, grid.height))
    return max(
        max(abs(a * col + b * row + c) / grid.pixel_width, abs(d * col + e * row + f) / grid.pixel_height)
        for col, row in places
    )


def _is_crs(declared: str, crs: CRS) -> bool:
    try:
        return bool(CRS.from_user_input(declared) == crs)
    except CRSError:
        return False
