"""What to call coordinates: the name and the unit of a coordinate reference system."""

from __future__ import annotations

from dataclasses import dataclass

from pyproj import CRS
from pyproj.exceptions import CRSError

__all__ = ["CrsLabel", "describe_crs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CrsLabel:
    """Words for a coordinate reference system."""

    name: str
    """For people."""
    unit: str
    """Of its axes, e.g. "m" or "°"; "CRS units" where unknown."""
    geographic: bool
    """Whether coordinates are longitude and latitude."""


def describe_crs(wkt: str) -> CrsLabel:
    """Name and unit of a reference system in WKT or any form that PROJ reads; "CRS units" where it reads none."""
    try:
        crs = CRS.from_user_input(wkt)
    except CRSError:
        return CrsLabel(name="unknown", unit="CRS units", geographic=False)
    axes = crs.axis_info
    unit = axes[0].unit_name if axes else "CRS units"
    return CrsLabel(name=crs.name, unit={"metre": "m", "degree": "°"}.get(unit, unit), geographic=bool(crs.is_geographic))
