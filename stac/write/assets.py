"""Assets of a mosaic's Item: size and checksum of files, bands and grid of rasters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

from pyproj import CRS
from pyproj.exceptions import CRSError

from processor.model import Artifact, Grid, Histogram, Scaling
from processor.model.bands import COMMON_NAMES
from processor.storage.backends import find_backend
from stac.hrefs import is_absolute, publish_href
from stac.links import absolute_href
from stac.write.footprint import compute_pixel_metres

_DATA_TYPES: Final = frozenset(
    {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"}
)
_SHA256_MULTIHASH: Final = "1220"  # code of sha2-256 and the digest's 32 bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class MosaicBand:
    """A band of a published raster; statistics are over its valid pixels, None where unknown."""

    name: str
    """Unique in the raster."""
    dtype: str
    """Numpy dtype name."""
    nodata: float | None = None
    """Value of invalid pixels, may be NaN; None for a raster without nodata."""
    common_name: str | None = None
    """STAC ``eo:common_name``; left out if the extension does not define it."""
    description: str | None = None
    """Free text, or None."""
    scaling: Scaling | None = None
    """Scale and offset of the inputs' values; never the gain and offset of an adjustment."""
    unit: str | None = None
    """Unit of the physical values, or None."""
    minimum: float | None = None
    """Smallest stored value."""
    maximum: float | None = None
    """Largest stored value."""
    mean: float | None = None
    """Mean of the stored values."""
    stddev: float | None = None
    """Population standard deviation of the stored values."""
    valid_percent: float | None = None
    """Share of valid pixels, 0 to 100."""
    histogram: Histogram | None = None
    """How its values are spread, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterMetadata:
    """Bands and grid of an artifact that is a raster."""

    bands: tuple[MosaicBand, ...]
    """In file order."""
    grid: Grid | None = None
    """Grid of the raster; None: that of the mosaic."""
    classes: tuple[Mapping[str, Any], ...] = ()
    """Classes of its values (classification extension), JSON values; empty where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Base URLs of an Item's files."""

    base: str | None
    """Published URL of the Item; None where unknown."""
    absolute: bool
    """Whether hrefs are absolute."""
    public_folder: str | None
    """HTTP URL of the Item's folder, or None."""


def describe_asset(artifact: Artifact, raster: RasterMetadata | None, grid: Grid, places: Places) -> dict[str, Any]:
    """Fields of an asset, except href, title, type and roles.

    Parameters
    ----------
    artifact
        The file.
    raster
        Bands and grid; None for other files.
    grid
        Grid of the mosaic; a raster on the same grid does not repeat it.
    places
        Base URLs of its alternate hrefs.
    """
    fields: dict[str, Any] = {"file:size": artifact.size, "file:checksum": f"{_SHA256_MULTIHASH}{artifact.sha256}"}
    alternates = _list_alternates(artifact, places)
    fields |= {"alternate": alternates} if alternates else {}
    fields |= {"mosaic:scene": artifact.scene} if artifact.scene is not None else {}
    if raster is not None:
        own = raster.grid if raster.grid is not None else grid
        fields |= describe_grid(own, with_crs=own.crs != grid.crs) if own != grid else {}
        resolution = compute_resolution(own)
        fields |= {"raster:spatial_resolution": resolution} if resolution is not None else {}
        fields["bands"] = [_describe_band(band) for band in raster.bands]
        fields |= {"classification:classes": list(raster.classes)} if raster.classes else {}
        if "data" in artifact.roles:
            fields["eo:bands"] = [_name_band(band) for band in raster.bands]
    return fields


def make_href(artifact: Artifact, places: Places) -> str:
    """Href of an artifact; always absolute where the user chose its path or URL."""
    if is_absolute(artifact.path):
        return publish_href(artifact.path)
    href = f"./{quote(artifact.path)}"
    return absolute_href(href, base=places.base) if places.absolute and places.base is not None else href


def _list_alternates(artifact: Artifact, places: Places) -> dict[str, Any]:
    """Alternate hrefs of an artifact by protocol, without the main href."""
    if is_absolute(artifact.path):
        return {}
    path = quote(artifact.path)
    alternates: dict[str, Any] = {}
    scheme = (places.base or "").partition("://")[0]
    storage = find_backend(scheme)
    if places.base is not None and storage is not None and storage.version_key is not None:  # a store that others reach too
        alternates[scheme] = {"href": absolute_href(path, base=places.base), "title": f"Object in {storage.title}"}
    if places.public_folder is not None:
        href = publish_href(f"{places.public_folder.rstrip('/')}/{path}")
        alternates[href.partition("://")[0]] = {"href": href, "title": "Public address"}
    own = make_href(artifact, places)
    return {name: alternate for name, alternate in alternates.items() if alternate["href"] != own}


def describe_grid(grid: Grid, *, with_crs: bool) -> dict[str, Any]:
    """Fields of the projection extension."""
    return {
        **(_describe_crs(grid.crs) if with_crs else {}),
        "proj:shape": list(grid.shape),
        "proj:transform": list(grid.transform),
        "proj:bbox": list(grid.bounds.as_tuple()),
    }


@lru_cache(maxsize=64)
def _describe_crs(wkt: str) -> dict[str, Any]:
    """Authority code if it is exactly this CRS, else null with WKT2 and PROJJSON."""
    try:
        crs = CRS.from_wkt(wkt)
    except CRSError:
        return {"proj:code": None}
    authority = crs.to_authority()
    # PROJ's candidate may still differ, for example in its datum. The axis order does not matter: proj:transform fixes it.
    if authority and CRS.from_authority(*authority).equals(crs, ignore_axis_order=True):
        return {"proj:code": ":".join(authority)}
    return {"proj:code": None, "proj:wkt2": crs.to_wkt("WKT2_2019"), "proj:projjson": crs.to_json_dict()}


def compute_resolution(grid: Grid) -> float | None:
    """Mean edge of a pixel, metres: from the CRS where it has a linear unit, else measured on the ground."""
    try:
        axes = CRS.from_wkt(grid.crs).axis_info
    except CRSError:
        return None
    factors = [axis.unit_conversion_factor for axis in axes[:2] if axis.unit_name not in {"degree", "grad", "radian"}]
    if len(factors) == 2 and min(factors) > 0:
        width, height = grid.pixel_width * factors[0], grid.pixel_height * factors[1]
    else:
        metres = compute_pixel_metres(grid)
        if metres is None:
            return None
        width, height = metres
    return float(f"{(width + height) / 2:.9g}")


def _name_band(band: MosaicBand) -> dict[str, Any]:
    """A band as STAC 1.0 has it: pystac and odc-stac know bands by their names from there alone."""
    return {"name": band.name} | ({"common_name": band.common_name} if band.common_name in COMMON_NAMES else {})


def _describe_band(band: MosaicBand) -> dict[str, Any]:
    def number(value: float) -> float:
        return int(value) if "int" in band.dtype and float(value).is_integer() else float(value)

    fields: dict[str, Any] = {"name": band.name, "data_type": band.dtype if band.dtype in _DATA_TYPES else "other"}
    if band.description:
        fields["description"] = band.description
    if band.common_name in COMMON_NAMES:
        fields["eo:common_name"] = band.common_name
    if band.nodata is not None:
        fields["nodata"] = number(band.nodata) if math.isfinite(band.nodata) else str(float(band.nodata))
    if band.scaling is not None:
        fields |= {"raster:scale": band.scaling.scale, "raster:offset": band.scaling.offset}
    if band.unit is not None:
        fields["unit"] = band.unit
    figures = {
        "minimum": band.minimum,
        "maximum": band.maximum,
        "mean": band.mean,
        "stddev": band.stddev,
        "valid_percent": band.valid_percent,
    }
    finite = {key: value for key, value in figures.items() if value is not None and math.isfinite(value)}
    if band.histogram is not None:
        least, most = number(band.histogram.minimum), number(band.histogram.maximum)
        buckets = list(band.histogram.buckets)
        fields["raster:histogram"] = {"count": len(buckets), "min": least, "max": most, "buckets": buckets}
    if finite:
        fields["statistics"] = {
            key: number(value) if key in {"minimum", "maximum"} else float(value) for key, value in finite.items()
        }
    return fields
