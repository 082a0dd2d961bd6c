"""Vector files: reading regions and footprints, writing cells and debug layers."""

from __future__ import annotations

import sqlite3
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

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
from processor.storage.scratch import scratch_folder
from processor.storage.store import Store

if TYPE_CHECKING:
    import geopandas


_FIXED_TIME = "2000-01-01T00:00:00.000Z"
_MAX_BYTES = 1 << 30
_MOST_FEATURES = 5_000_000
_COMPANIONS = {".shp": (".shx", ".dbf", ".prj", ".cpg")}
_FORMATS = "GeoPackage, GeoJSON (also one feature a line), FlatGeobuf, shapefiles (also zipped) and GeoParquet are read"
_JSON = (b"{", b"\x1e")
_BEGINNINGS = {
    ".gpkg": (b"SQLite format 3\0",),
    ".geojson": _JSON,
    ".json": _JSON,
    ".geojsonl": _JSON,
    ".geojsons": _JSON,
    ".ndjson": _JSON,
    ".fgb": (b"fgb",),
    ".shp": (b"\0\0\x27\x0a",),
    ".zip": (b"PK\x03\x04",),
    ".parquet": (b"PAR1",),
    ".geoparquet": (b"PAR1",),
    ".feather": (b"ARROW1", b"FEA1"),
}
_ZIPPED = frozenset({".shp", ".shx", ".dbf", ".prj", ".cpg", ".sbn", ".sbx", ".qix", ".xml"})
_USUAL_VIEWS = frozenset(
    {"st_spatial_ref_sys", "spatial_ref_sys", "st_geometry_columns", "geometry_columns"}
)  # of the standard
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
    with _local_copy(url, what, store) as path:
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


def list_parts(url: str, store: Store) -> tuple[str, ...]:
    """Every file that belongs to a vector file: itself, and the files beside it or below it that hold the rest.

    Raises
    ------
    StorageError
        If storage or the network failed.
    """
    suffix = _suffix(url)
    if "?" in url or suffix.lower() not in _COMPANIONS:
        return (url,)
    stem = url.removesuffix(suffix)
    beside = [stem + (end.upper() if suffix.isupper() else end) for end in _COMPANIONS[suffix.lower()]]
    parts = [url]
    for part in beside:
        with suppress(InputError):  # some stores deny access to what they do not have
            if store.exists(part):
                parts.append(part)
    return tuple(parts)


def _suffix(url: str) -> str:
    return Path(urlsplit(url).path if "://" in url else url).suffix


def _check_file(path: Path, what: str) -> None:
    """Let through what is a regular file of an allowed format by its name and its beginning.

    Other drivers read what a file names, such as OGR's virtual format; so do views and virtual tables of a database.

    Raises
    ------
    InputError
        It is anything else, or too large.
    """
    refused = f"{what} is not a readable vector file: "
    beginnings = _BEGINNINGS.get(path.suffix.lower())
    if beginnings is None or not path.is_file():
        raise InputError(refused + _FORMATS)
    if path.stat().st_size > _MAX_BYTES:
        raise InputError(refused + f"it has {path.stat().st_size} bytes, and at most {_MAX_BYTES} are taken")
    with path.open("rb") as stream:
        start = stream.read(4096)
    if not start.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n" if beginnings is _JSON else b"").startswith(beginnings):
        raise InputError(refused + f"it does not begin as {path.suffix} does; {_FORMATS}")
    try:
        if path.suffix.lower() == ".gpkg":
            _check_database(path, refused)
        elif path.suffix.lower() == ".zip":
            _check_archive(path, refused)
    except (sqlite3.Error, zipfile.BadZipFile) as error:
        raise InputError(refused + str(error)) from error


def _check_database(path: Path, refused: str) -> None:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
        rows = database.execute("SELECT type, lower(name), lower(coalesce(sql, '')) FROM sqlite_master LIMIT 100000").fetchall()
    for kind, name, sql in rows:
        is_virtual = sql.startswith("create virtual table") and " using rtree" not in " ".join(sql.split())
        if (kind == "view" and name not in _USUAL_VIEWS) or is_virtual:
            msg = f"{refused}it has the {'virtual table' if is_virtual else 'view'} {name[:80]!r}; export its rows to a table"
            raise InputError(msg)


def _check_archive(path: Path, refused: str) -> None:
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
    others = [member.filename for member in members if Path(member.filename).suffix.lower() not in _ZIPPED]
    if others or sum(member.file_size for member in members) > _MAX_BYTES:
        reason = f"{others[0][:80]!r} is no part of a shapefile" if others else f"it unpacks to more than {_MAX_BYTES} bytes"
        raise InputError(refused + reason)


def _read_frame(path: Path, what: str) -> geopandas.GeoDataFrame:
    import geopandas  # noqa: PLC0415 - see _write_layer
    from pyogrio.errors import DataLayerError, DataSourceError  # noqa: PLC0415

    arrow = {".parquet": geopandas.read_parquet, ".geoparquet": geopandas.read_parquet, ".feather": geopandas.read_feather}
    _check_file(path, what)
    read = arrow.get(
        path.suffix.lower(), partial(geopandas.read_file, engine="pyogrio", layer=0, max_features=_MOST_FEATURES + 1)
    )
    try:
        frame = read(path)
    except (DataSourceError, DataLayerError, GEOSException, ValueError, OSError, ImportError) as error:
        msg = f"{what} is not a readable vector file: {error}"
        raise InputError(msg) from error
    if not isinstance(frame, geopandas.GeoDataFrame):
        msg = f"{what} has no geometries"
        raise InputError(msg)
    if len(frame) > _MOST_FEATURES:
        msg = f"{what} has more than {_MOST_FEATURES} features: merge them, or leave out what no scene needs"
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


@contextmanager
def _local_copy(url: str, what: str, store: Store) -> Iterator[Path]:
    """The file itself where it is local, else a copy."""
    if "://" not in url:
        if not Path(url).exists():
            msg = f"{what} does not exist"
            raise InputError(msg)
        yield Path(url)
        return
    with scratch_folder() as folder:
        for part in list_parts(url, store):
            copy = folder / f"features{_suffix(part)}"
            copy.write_bytes(store.read_bytes(part, max_bytes=_MAX_BYTES))
        yield folder / f"features{_suffix(url)}"


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
