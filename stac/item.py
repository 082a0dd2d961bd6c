"""STAC out: the Item that a mosaic is published as, STAC 1.1.0."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import numpy as np
import pystac
from pyproj import CRS
from pyproj.exceptions import CRSError
from pystac.utils import datetime_to_str, str_to_datetime
from shapely import MultiPolygon, Polygon

from processor.model import Artifact, Grid, Scene
from stac.footprint import compute_footprint, compute_pixel_metres
from stac.hrefs import is_absolute, publish_href

__all__ = ["EXTENSIONS", "STAC_VERSION", "MosaicBand", "RasterMetadata", "create_item", "create_item_collection"]

STAC_VERSION: Final = "1.1.0"
EXTENSIONS: Final[Mapping[str, str]] = {
    name: f"https://stac-extensions.github.io/{name}/v{version}/schema.json"
    for name, version in (
        ("projection", "2.0.0"),
        ("raster", "2.0.0"),
        ("eo", "2.0.0"),
        ("processing", "1.2.0"),
        ("file", "2.1.0"),
    )
}
"""URIs of the extensions by their names."""

# The words of eo v2.0.0; its schema refuses others.
_COMMON_NAMES: Final = frozenset(
    {
        "pan",
        "coastal",
        "blue",
        "green",
        "green05",
        "yellow",
        "red",
        "rededge",
        "rededge071",
        "rededge075",
        "rededge078",
        "nir",
        "nir08",
        "nir09",
        "cirrus",
        "swir16",
        "swir22",
        "lwir",
        "lwir11",
        "lwir12",
    }
)
_DATA_TYPES: Final = frozenset(
    {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"}
)
_SHA256_MULTIHASH: Final = "1220"  # code of sha2-256 and the digest's 32 bytes
_SOFTWARE: Final = "mosaic-processor"
_PREFIX: Final = "mosaic:"


@dataclass(frozen=True, slots=True, kw_only=True)
class MosaicBand:
    """What an Item says of a band of a published raster; statistics are of the valid pixels, None where unknown.

    name: unique within the raster.
    dtype: numpy dtype name.
    nodata: value of invalid pixels, maybe NaN; None where the raster has none.
    common_name: STAC ``eo:common_name``; words that the extension does not know are left out.
    unit: of the values, for example "m"; None where unknown.
    minimum, maximum, mean, stddev: in that unit.
    valid_percent: share of valid pixels, 0 to 100.
    """

    name: str
    dtype: str
    nodata: float | None = None
    common_name: str | None = None
    description: str | None = None
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    stddev: float | None = None
    valid_percent: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterMetadata:
    """What an Item says of an artifact that is a raster.

    bands: in file order.
    grid: its pixels; None: those of the mosaic.
    """

    bands: tuple[MosaicBand, ...]
    grid: Grid | None = None


def create_item(
    *,
    item_id: str,
    scenes: Sequence[Scene],
    grid: Grid,
    footprint: Polygon | MultiPolygon,
    artifacts: Sequence[Artifact],
    rasters: Mapping[str, RasterMetadata],
    created: str,
    digest: str,
    version: str,
    stages: Sequence[str] = (),
    properties: Mapping[str, object] | None = None,
    self_href: str | None = None,
) -> dict[str, Any]:
    """Describe a mosaic as a STAC Item.

    Where the scenes' times are unknown, ``datetime`` is the time of processing, because STAC requires one, and the lineage
    says so. The gains and offsets of the adjustment are not published as ``raster:scale`` and ``raster:offset``: they are in
    the pixels already.

    Parameters
    ----------
    item_id
        Id of the Item.
    scenes
        All inputs; each becomes a link ``derived_from`` (an Item) or ``via`` (a plain raster).
    grid
        Pixels of the mosaic.
    footprint
        Where the mosaic has valid pixels, CRS units.
    artifacts
        Everything published; each becomes an asset with an href relative to the Item.
    rasters
        Bands and grids of those artifacts that are rasters, by key.
    created
        RFC 3339 time of processing, UTC.
    digest
        Of inputs and configuration; becomes ``mosaic:digest``.
    version
        Of this program.
    stages
        Names of the stages that ran, in order.
    properties
        More of what is known of the mosaic, by name without the prefix ``mosaic:``. Numbers that JSON cannot hold become null.
    self_href
        Where the Item will be; no self link where it is None or relative.

    Returns
    -------
    JSON values only, no NaN.

    Raises
    ------
    ValueError
        If there are no scenes, the footprint is empty, or two artifacts have one key.
    """
    if not scenes:
        msg = "a mosaic has at least one scene"
        raise ValueError(msg)
    created = datetime_to_str(str_to_datetime(created))
    place = compute_footprint(footprint, grid)
    time = _describe_time(scenes, created)
    item = pystac.Item(
        id=item_id,
        geometry=place.geometry if place else None,
        bbox=list(place.bbox) if place else None,
        datetime=str_to_datetime(time["datetime"]) if time["datetime"] else None,
        properties={
            "title": f"Mosaic of {_count(len(scenes), 'scene')}",
            "created": created,
            "updated": created,
            **{key: value for key, value in time.items() if key != "datetime"},
            **_describe_sensors(scenes, grid),
            **_describe_grid(grid, with_crs=True),
            "processing:software": {_SOFTWARE: version},
            "processing:lineage": _describe_lineage(scenes, stages),
            f"{_PREFIX}digest": digest,
            f"{_PREFIX}scene_count": len(scenes),
            **{f"{_PREFIX}{key}": value for key, value in (properties or {}).items() if value is not None},
        },
    )
    _add_links(item, scenes, self_href)
    _add_assets(item, artifacts, rasters, grid)
    document = item.to_dict(transform_hrefs=False) | {"stac_version": STAC_VERSION}
    document["stac_extensions"] = _list_extensions(document)
    ready: dict[str, Any] = json.loads(json.dumps(_to_json(document), allow_nan=False))
    return ready


def create_item_collection(item: Mapping[str, Any]) -> dict[str, Any]:
    """Wrap an Item for standard output, where relative hrefs lead nowhere: they become absolute if the Item has a self link.

    Parameters
    ----------
    item
        As :func:`create_item` gives it; not changed.
    """
    folder = next((link["href"].rpartition("/")[0] for link in item["links"] if link["rel"] == "self"), None)
    assets = {key: dict(asset) for key, asset in item["assets"].items()}
    for asset in assets.values():
        if folder is not None and not is_absolute(asset["href"]):
            asset["href"] = f"{folder}/{asset['href'].removeprefix('./')}"
    return {"type": "FeatureCollection", "features": [{**item, "assets": assets}]}


def _add_links(item: pystac.Item, scenes: Iterable[Scene], self_href: str | None) -> None:
    if self_href is not None and is_absolute(self_href):
        item.add_link(pystac.Link("self", publish_href(self_href), media_type=pystac.MediaType.GEOJSON, title=item.id))
    for scene in scenes:
        origin = scene.provenance.self_href
        if origin is not None:
            document, mark, item_id = origin.partition("#")  # an Item without a link is known by its document and id
            link = pystac.Link(
                "derived_from",
                f"{publish_href(document)}{mark}{item_id}",
                media_type=pystac.MediaType.GEOJSON,
                title=scene.name,
            )
        else:
            kind = pystac.MediaType.JPEG2000 if scene.source.href.lower().endswith(".jp2") else pystac.MediaType.GEOTIFF
            link = pystac.Link("via", publish_href(scene.source.href), media_type=kind, title=scene.name)
        item.add_link(link)


def _add_assets(item: pystac.Item, artifacts: Iterable[Artifact], rasters: Mapping[str, RasterMetadata], grid: Grid) -> None:
    for artifact in artifacts:
        if artifact.key in item.assets:
            msg = f"two artifacts have the key {artifact.key!r}"
            raise ValueError(msg)
        fields: dict[str, Any] = {"file:size": artifact.size, "file:checksum": f"{_SHA256_MULTIHASH}{artifact.sha256}"}
        raster = rasters.get(artifact.key)
        if raster is not None:
            own = raster.grid if raster.grid is not None else grid
            fields |= _describe_grid(own, with_crs=own.crs != grid.crs) if own != grid else {}
            resolution = _compute_resolution(own)
            fields |= {"raster:spatial_resolution": resolution} if resolution is not None else {}
            fields["bands"] = [_describe_band(band) for band in raster.bands]
        asset = pystac.Asset(
            href=publish_href(artifact.path) if is_absolute(artifact.path) else f"./{quote(artifact.path)}",
            title=artifact.title,
            media_type=artifact.media_type,
            roles=list(artifact.roles),
            extra_fields=fields,
        )
        item.add_asset(artifact.key, asset)


def _describe_time(scenes: Sequence[Scene], created: str) -> dict[str, str | None]:
    """Describe the time from the first scene's start to the last one's end; of those that are known."""
    known = [
        (scene.provenance.start or scene.provenance.end, scene.provenance.end or scene.provenance.start) for scene in scenes
    ]
    starts = [str_to_datetime(start) for start, _ in known if start]
    ends = [str_to_datetime(end) for _, end in known if end]
    if not starts:
        return {"datetime": created}
    start, end = datetime_to_str(min(starts)), datetime_to_str(max(ends))
    if start == end:
        return {"datetime": start}
    return {"datetime": None, "start_datetime": start, "end_datetime": end}


def _describe_lineage(scenes: Sequence[Scene], stages: Sequence[str]) -> str:
    how = f", made by {', '.join(stages)}" if stages else ""
    unknown = sum(1 for scene in scenes if not (scene.provenance.start or scene.provenance.end))
    if unknown == len(scenes):
        time = "; no acquisition time is known, so that datetime is the time of processing"
    else:
        time = f"; the acquisition time of {_count(unknown, 'scene')} is unknown" if unknown else ""
    return f"Mosaic of {_count(len(scenes), 'scene')}{how}{time}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _describe_sensors(scenes: Sequence[Scene], grid: Grid) -> dict[str, Any]:
    """Take platform, instruments, constellation and gsd where all scenes agree; the gsd is else the pixel size."""
    fields: dict[str, Any] = {}
    for key in ("platform", "instruments", "constellation", "gsd"):
        values = [scene.provenance.properties.get(key) for scene in scenes]
        if _is_sensor_value(key, values[0]) and all(value == values[0] for value in values):
            fields[key] = values[0]
    resolution = _compute_resolution(grid)
    return fields if "gsd" in fields or resolution is None else {**fields, "gsd": resolution}


def _is_sensor_value(key: str, value: object) -> bool:
    if key == "gsd":
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
    if key == "instruments":
        return isinstance(value, list) and all(isinstance(word, str) for word in value)
    return isinstance(value, str)


def _describe_grid(grid: Grid, *, with_crs: bool) -> dict[str, Any]:
    return {
        **(_describe_crs(grid.crs) if with_crs else {}),
        "proj:shape": list(grid.shape),
        "proj:transform": list(grid.transform),
        "proj:bbox": list(grid.bounds.as_tuple()),
    }


def _describe_crs(wkt: str) -> dict[str, Any]:
    """Give the authority's code if it stands for exactly this CRS, else null and the whole definition."""
    try:
        crs = CRS.from_wkt(wkt)
    except CRSError:
        return {"proj:code": None}
    authority = crs.to_authority()
    # What PROJ finds similar may still differ, in its datum for example; the order of axes is fixed by proj:transform anyway.
    if authority and CRS.from_authority(*authority).equals(crs, ignore_axis_order=True):
        return {"proj:code": ":".join(authority)}
    return {"proj:code": None, "proj:wkt2": crs.to_wkt("WKT2_2019"), "proj:projjson": crs.to_json_dict()}


def _compute_resolution(grid: Grid) -> float | None:
    """Compute the mean edge of a pixel in metres: nominal where the CRS has a unit of length, else on the ground."""
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


def _describe_band(band: MosaicBand) -> dict[str, Any]:
    def number(value: float) -> float:
        return int(value) if "int" in band.dtype and float(value).is_integer() else float(value)

    fields: dict[str, Any] = {"name": band.name, "data_type": band.dtype if band.dtype in _DATA_TYPES else "other"}
    if band.description:
        fields["description"] = band.description
    if band.common_name in _COMMON_NAMES:
        fields["eo:common_name"] = band.common_name
    if band.nodata is not None:
        fields["nodata"] = number(band.nodata) if math.isfinite(band.nodata) else str(float(band.nodata))
    if band.unit:
        fields["unit"] = band.unit
    figures = {
        "minimum": band.minimum,
        "maximum": band.maximum,
        "mean": band.mean,
        "stddev": band.stddev,
        "valid_percent": band.valid_percent,
    }
    finite = {key: value for key, value in figures.items() if value is not None and math.isfinite(value)}
    if finite:
        fields["statistics"] = {
            key: number(value) if key in {"minimum", "maximum"} else float(value) for key, value in finite.items()
        }
    return fields


def _list_extensions(document: Mapping[str, Any]) -> list[str]:
    """List the extensions whose fields are used; a schema refuses an Item that names it and uses none."""
    assets = document["assets"].values()
    bands = [band for asset in assets for band in asset.get("bands", ())]
    used = {
        "projection": True,
        "raster": any("raster:spatial_resolution" in asset for asset in assets),
        "eo": any("eo:common_name" in band for band in bands),
        "processing": True,
        "file": bool(document["assets"]),
    }
    return [uri for name, uri in EXTENSIONS.items() if used[name]]


def _to_json(value: Any) -> Any:
    """Turn records and numpy values into what JSON can hold; NaN and infinity become null."""
    if isinstance(value, Mapping):
        return {str(key): _to_json(member) for key, member in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _to_json(value.tolist())
    if isinstance(value, list | tuple):
        return [_to_json(member) for member in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
