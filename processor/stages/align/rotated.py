"""Rotated and sheared grids, described as north-up grids of a CRS of their own, so that they are warped like any other.

That CRS is derived from the raster's by an affine transformation (EPSG method 9624): its x runs along the rows and its y
against the columns, both in the unit of the raster's CRS and counted from the outer corner of the first pixel.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Final

import numpy as np
from pyproj import CRS, Transformer

from processor.model import Grid

Affine = tuple[float, float, float, float, float, float]
"""Coefficients (a, b, c, d, e, f): x = a * column + b * row + c, y = d * column + e * row + f, CRS units."""

_METHOD: Final = {"name": "Affine parametric transformation", "id": {"authority": "EPSG", "code": 9624}}
_PARAMETERS: Final = {"A0": 8623, "A1": 8624, "A2": 8625, "B0": 8639, "B1": 8640, "B2": 8641}
_NAME: Final = "rotated grid in "


def make_rotated_grid(crs: str, transform: Affine, *, width: int, height: int) -> Grid:
    """The grid of a raster whose rows do not run east, in a CRS derived from its own.

    Parameters
    ----------
    crs
        WKT of the raster's CRS.
    transform
        From (column, row) to its coordinates.
    width, height
        Columns and rows.

    Returns
    -------
    A grid at (0, 0), with pixels of the size that they have along rows and columns.

    Raises
    ------
    ValueError
        If the pixels have no area.
    """
    a, b, c, d, e, f = transform
    across, down = math.hypot(a, d), math.hypot(b, e)
    if not (across > 0 and down > 0 and abs(a * e - b * d) > 1e-6 * across * down):
        msg = f"the geotransform {transform} gives pixels no area"
        raise ValueError(msg)
    # (u, v) of the derived CRS is (column * across, -row * down).
    matrix = np.array([[a / across, -b / down], [d / across, -e / down]])
    inverse = np.linalg.inv(matrix)
    (um, un), (vm, vn) = inverse.tolist()
    uk, vk = (-inverse @ np.array([c, f])).tolist()
    return Grid(
        crs=_derive_crs(crs, (um, un, uk), (vm, vn, vk)),
        left=0.0,
        top=0.0,
        pixel_width=across,
        pixel_height=down,
        width=width,
        height=height,
    )


def _derive_crs(crs: str, to_u: tuple[float, float, float], to_v: tuple[float, float, float]) -> str:
    """WKT2 of the CRS with u = m x + n y + k of another's coordinates, x before y, and v alike."""
    base = CRS.from_user_input(crs)
    for is_north_first in (False, True):  # some CRSs count north before east, and their own order counts here
        first, second = (to_v, to_u) if is_north_first else (to_u, to_v)
        if is_north_first:
            first, second = ((n, m, k) for m, n, k in (first, second))
        values = (first[2], first[0], first[1], second[2], second[0], second[1])
        document = _describe_crs(base, values)
        derived = CRS.from_json_dict(document).to_wkt("WKT2_2019")
        found = Transformer.from_crs(base, CRS.from_wkt(derived), always_xy=True).transform(1.0, 0.0)
        if np.allclose(found, (to_u[0] + to_u[2], to_v[0] + to_v[2]), rtol=1e-9, atol=1e-6):
            return str(derived)
    msg = f"a rotated grid cannot be described in {base.name}"
    raise ValueError(msg)


def _describe_crs(base: CRS, values: tuple[float, ...]) -> dict[str, Any]:
    """PROJJSON of a CRS derived from another by the parameters of the affine transformation."""
    own = base.to_json_dict()
    schema = own.pop("$schema", None)
    parameters = [
        {"name": name, "value": value, "unit": "metre" if name.endswith("0") else "unity", "id": _identify(code)}
        for (name, code), value in zip(_PARAMETERS.items(), values, strict=True)
    ]
    return {
        "$schema": schema,
        "type": "DerivedGeographicCRS" if base.is_geographic else "DerivedProjectedCRS",
        "name": f"{_NAME}{base.name}",
        "base_crs": own,
        "conversion": {"name": "rotation", "method": _METHOD, "parameters": parameters},
        "coordinate_system": own["coordinate_system"],
    }


def _identify(code: int) -> dict[str, Any]:
    return {"authority": "EPSG", "code": code}


@lru_cache(maxsize=4096)
def find_upright_crs(crs: str) -> str:
    """WKT2 of the CRS that a rotated grid's was derived from; any other CRS as it is given."""
    if _NAME not in crs[:100]:
        return crs
    base = CRS.from_wkt(crs).source_crs
    return crs if base is None else str(base.to_wkt("WKT2_2019"))
