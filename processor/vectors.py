"""Vector files: reading regions and footprints, writing cells and debug layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from shapely import Geometry
from shapely.errors import GEOSException

from processor.errors import InputError
from processor.model import Bounds, Cell
from processor.model.crs_text import check_grid_files
from processor.redaction import redact_url
from processor.storage.store import Store
from processor.vector_files import MOST_FEATURES, stage_vectors

if TYPE_CHECKING:
    import geopandas


_FIXED_TIME = "2000-01-01T00:00:00.000Z"
_JSON_DRIVERS = ("GeoJSON", "GeoJSONSeq")
_PIECES = 256  # of the scenes' extent: how long an edge may be where it is taken to another CRS by its ends


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Feature:
    """A feature of a vector file."""

    geometry: Geometry
    """Valid, without heights, in the CRS asked for."""
    name: str | None
    """Value of the field asked for, or None where there is none."""


def read_features(url: str, *, crs: str, field: str | None, parameter: str, store: Store, near: Bounds) -> tuple[Feature, ...]:
    """Read the polygons of a vector file's first layer.

    Parameters
    ----------
    url
        Path or URL of a GeoPackage, GeoJSON, FlatGeobuf, shapefile (also zipped) or GeoParquet.
    crs
        WKT to which the features are transformed; a file without a CRS is taken to be in it.
    field
        Whose value names the scene that a feature belongs to, or None.
    parameter
        That names the file, for errors.
    near
        Extent of the scenes. Of a file in another CRS, what is farther from it than it is wide is left out, because a
        projection need not hold the whole earth, and longer edges stay as straight in the file's CRS as they are there.

    Raises
    ------
    InputError
        If there is no such file or field, it is no vector file, or it has no polygon.
    StorageError
        If storage or the network failed.
    """
    what = f"{parameter}: {redact_url(url)}"
    with stage_vectors(url, what, store) as path:
        frame = _read_frame(path, what)
    if field is not None and field not in frame.columns:
        columns = ", ".join(str(column) for column in frame.columns if column != frame.geometry.name)
        msg = f"{what} has no field {field!r}; it has {columns or 'none'}"
        raise InputError(msg)
    try:
        frame = frame.set_geometry(shapely.make_valid(shapely.force_2d(frame.geometry.array)), crs=frame.crs)
        frame = frame[shapely.area(frame.geometry.array) > 0]
    except GEOSException as error:  # coordinates that are not finite, or too large to be computed with
        msg = f"{what} has a geometry that is none: {error}"
        raise InputError(msg) from error
    if frame.empty:
        msg = f"{what} has no polygon"
        raise InputError(msg)
    try:
        if frame.crs is not None:
            check_grid_files(frame.crs.to_wkt())
        frame = _transform(frame, crs, near)
    except (ProjError, ValueError, GEOSException) as error:
        msg = f"{what} cannot be transformed to the scenes' CRS: {error}"
        raise InputError(msg) from error
    names: list[str | None] = [None] * len(frame)
    if field is not None:
        known = frame[field].notna()
        names = [str(value) if is_known else None for value, is_known in zip(frame[field], known, strict=True)]
    return tuple(
        Feature(geometry=geometry, name=name)
        for geometry, name in zip(shapely.make_valid(frame.geometry.array), names, strict=True)
        if geometry.area > 0
    )


def _read_frame(path: Path, what: str) -> geopandas.GeoDataFrame:
    """Features of a checked file, by the one driver that its name says."""
    import geopandas  # noqa: PLC0415 - see _write_layer
    from pyogrio.errors import DataLayerError, DataSourceError  # noqa: PLC0415

    is_json = path.suffix not in {".gpkg", ".fgb", ".shp", ".parquet", ".geoparquet"}
    sources = [f"{driver}:{path}" for driver in _JSON_DRIVERS] if is_json else [path]
    errors: list[Exception] = []
    frame = None
    for source in sources:
        try:
            if "parquet" in path.suffix:
                frame = geopandas.read_parquet(source)
            else:
                frame = geopandas.read_file(source, engine="pyogrio", layer=0, max_features=MOST_FEATURES + 1)
            break
        except (DataSourceError, DataLayerError, GEOSException, ValueError, OSError, ImportError) as error:
            errors.append(error)
    if frame is None or (errors and frame.empty):  # anything at all is features of one line each, of which none is one
        msg = f"{what} is not a readable vector file: {errors[0]}"
        raise InputError(msg) from errors[0]
    if not isinstance(frame, geopandas.GeoDataFrame):
        msg = f"{what} has no geometries"
        raise InputError(msg)
    if len(frame) > MOST_FEATURES:
        msg = f"{what} has more than {MOST_FEATURES} features: merge them, or leave out what no scene needs"
        raise InputError(msg)
    return frame


def _transform(frame: geopandas.GeoDataFrame, crs: str, near: Bounds) -> geopandas.GeoDataFrame:
    """The features in a CRS, each edge a line that was straight in the file's; those that end up nowhere are left out."""
    if frame.crs is None:
        return frame.set_crs(crs)
    if frame.crs.equals(crs, ignore_axis_order=True):
        return frame.to_crs(crs)
    area, edge = _find_surroundings(near, crs, frame.crs)
    clipped = shapely.intersection(frame.geometry.array, area)
    frame = frame.set_geometry(shapely.segmentize(clipped, edge), crs=frame.crs).to_crs(crs)
    return frame[np.isfinite(shapely.bounds(frame.geometry.array)).all(axis=1)]


def _find_surroundings(near: Bounds, crs: str, other: CRS) -> tuple[Geometry, float]:
    """An extent in another CRS, grown by its own size on all sides, and how long edges there may be."""
    transformer = Transformer.from_crs(crs, other, always_xy=True)
    left, bottom, right, top = transformer.transform_bounds(*near.as_tuple())
    if not np.isfinite((left, bottom, right, top)).all():
        msg = f"the scenes' extent {near.as_tuple()} does not exist in {other.name}"
        raise ValueError(msg)
    width = right - left if left <= right else right - left + 360  # across the antimeridian
    height = top - bottom
    bottom, top = bottom - height, top + height
    edge = max(width, height) / _PIECES
    if left <= right:
        return shapely.box(left - width, bottom, right + width, top), edge
    sides = shapely.box(left - width, bottom, 180, top), shapely.box(-180, bottom, right + width, top)
    return shapely.union_all(sides), edge


def write_seamlines(path: Path, cells: Sequence[Cell], *, crs: str, field: str) -> None:
    """Write the cells as a GeoPackage with one layer "seamlines", a feature a scene that owns something; there may be none.

    Parameters
    ----------
    path
        New local file.
    cells
        In name order.
    crs
        WKT of their coordinates.
    field
        Name of the field that holds the scene's name.
    """
    owned = [cell for cell in cells if not cell.polygon.is_empty]
    features = [Feature(geometry=cell.polygon, name=cell.scene) for cell in owned]
    _write_layer(path, "seamlines", features, crs=crs, field=field, geometry_type="MultiPolygon")


def write_layers(path: Path, layers: Mapping[str, Sequence[Feature]], *, crs: str, field: str) -> None:
    """Write a new GeoPackage, one layer after the other; an empty layer is left out.

    The file holds no time of writing, so that the same features give the same bytes.
    """
    for layer, features in layers.items():
        if features:
            _write_layer(path, layer, features, crs=crs, field=field, geometry_type=None)


def _write_layer(
    path: Path, layer: str, features: Sequence[Feature], *, crs: str, field: str, geometry_type: str | None
) -> None:
    """Add a layer to a GeoPackage, or make it; without features the type of their geometries has to be told."""
    import geopandas  # noqa: PLC0415 - a quarter of a second and 75 MB, which most runs need when the pixels are done
    import pyogrio  # noqa: PLC0415

    frame = geopandas.GeoDataFrame(
        {field: [feature.name for feature in features]}, geometry=[feature.geometry for feature in features], crs=crs
    )
    options = {"promote_to_multi": True, "geometry_type": geometry_type, "append": path.exists()}
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": _FIXED_TIME})
    try:
        frame.to_file(path, layer=layer, driver="GPKG", engine="pyogrio", **options)
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
