"""Opening scenes: the only code that names an input raster to GDAL.

Inputs are untrusted: only GeoTIFF is opened, and GDAL is kept from following what a file or its folder names besides
(overviews, masks and metadata elsewhere may be files of any format, anywhere). The one file beside a local scene that is read
is ``scene.tif.msk``, GDAL's form of a mask, and only as GeoTIFF.
"""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from processor.errors import InputError, StorageError
from processor.model import Band, Finding, Grid, Scene, SceneRef, Source

__all__ = [
    "DRIVER",
    "MASK_SUFFIX",
    "OpenedScene",
    "find_mask",
    "first_line",
    "gdal_env",
    "has_mask",
    "is_remote",
    "level_grid",
    "open_dataset",
    "open_scene",
    "read_grid",
    "redact",
    "unit_shape",
]

DRIVER: Final = "GTiff"
"""Nothing else: a VRT could name any file of this machine."""

MASK_SUFFIX: Final = ".msk"

_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
_UNEVEN = 2.0  # pixels of an overview by which its two factors may differ
_MAX_ASPECT = 1000.0  # of a pixel
_PIECES, _PIECE = 16, 64 * 2**10  # of a file's fingerprint: how many, and their bytes
_UNIT_ROWS = 256  # strips are read this many rows at a time, at least
_MAX_UNIT_BYTES = 256 * 2**20
_RETRIES = 5  # of a request that failed for now, after 1, 2, 4 … seconds
_GDAL_CACHE = 64 * 2**20  # bytes; decoded blocks are kept by the reader, GDAL need not keep them too


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedScene:
    """A scene and what opening it brought to light."""

    scene: Scene
    findings: tuple[Finding, ...]


def _gdal_path(href: str) -> str:
    """The name under which GDAL reads an href."""
    parts = urlsplit(href)
    if parts.scheme in ("http", "https"):
        return f"/vsicurl/{href}"
    if parts.scheme == "s3":
        return f"/vsis3/{parts.netloc}{parts.path}"
    if parts.scheme in ("gs", "gcs"):
        return f"/vsigs/{parts.netloc}{parts.path}"
    if parts.scheme == "file":
        return parts.path
    return href


def is_remote(href: str) -> bool:
    """Whether an href is reached over the network."""
    return urlsplit(href).scheme in ("http", "https", "s3", "gs", "gcs")


@contextmanager
def gdal_env() -> Iterator[None]:
    """GDAL's options: no sidecar is looked for, because one may be a VRT that names any file or URL."""
    with rasterio.Env(
        GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR",
        GDAL_PAM_ENABLED="NO",
        GDAL_HTTP_MAX_RETRY=_RETRIES,
        GDAL_HTTP_RETRY_DELAY=1,
        GDAL_CACHEMAX=_GDAL_CACHE,
    ):
        yield


def open_dataset(href: str, scene: str, factor: int | None = None) -> DatasetReader:
    """Open a raster, or its overview of a decimation factor; errors name the scene."""
    dataset = _open_gdal(href, scene)
    if "OVERVIEW_FILE" in dataset.tags(ns="OVERVIEWS"):  # GDAL would open what it names, whatever and wherever that is
        dataset.close()
        msg = (
            f"scene {scene}: the metadata of {redact(href)} name another file as its overviews (OVERVIEW_FILE), which is not "
            "followed; copy it without them, e.g. with rio cogeo create"
        )
        raise InputError(msg)
    if factor is None:
        return dataset
    with dataset:
        factors = dataset.overviews(1)
    if factor not in factors:
        msg = f"scene {scene}: {redact(href)} has lost its overview 1:{factor} since it was planned; run again"
        raise InputError(msg)
    return _open_gdal(href, scene, OVERVIEW_LEVEL=factors.index(factor))


def _open_gdal(href: str, scene: str, **options: int) -> DatasetReader:
    path = _gdal_path(href)
    remote = is_remote(href)
    if not remote and not os.path.isfile(path):  # noqa: PTH113 - a plain name for GDAL, not a path to work on
        msg = f"scene {scene}: no such file: {href}; correct the href, or fetch the file"
        raise InputError(msg)
    # A scene without georeference is an error of ours, and a mask has none; catch_warnings would not be safe in threads.
    warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)
    try:
        return rasterio.open(path, driver=DRIVER, sharing=False, **options)
    except RasterioError as error:
        if remote and not _is_format_error(error):
            msg = f"scene {scene}: cannot read {redact(href)}: {first_line(error)}; check the address and the credentials"
            raise StorageError(msg) from error
        reason = first_line(error)
        msg = f"scene {scene}: {redact(href)} is not a readable GeoTIFF ({reason}); convert it, e.g. with gdal_translate"
        raise InputError(msg) from error


def find_mask(href: str) -> str | None:
    """The mask file beside a local scene, or None."""
    if is_remote(href):
        return None
    path = _gdal_path(href) + MASK_SUFFIX
    return path if os.path.isfile(path) else None  # noqa: PTH113 - as above


def _is_format_error(error: RasterioError) -> bool:
    text = str(error)
    return "not recognized" in text or "404" in text or "does not exist" in text


def first_line(error: Exception) -> str:
    """What an error says, without the details that libraries put on further lines."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def redact(href: str) -> str:
    """An href without what may be secret in it: user, password, query."""
    parts = urlsplit(href)
    if not parts.scheme:
        return href
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def open_scene(ref: SceneRef, *, nodata: float | None = None) -> OpenedScene:
    """Open a scene's raster and describe it; where file and Item disagree, the file wins.

    Parameters
    ----------
    ref
        What the input says.
    nodata
        Value of invalid pixels that replaces the file's own.

    Raises
    ------
    InputError
        Naming the scene and what to do: no such file, no GeoTIFF, no georeferencing, a rotated grid, a type that is not
        supported, blocks too large to decode.
    StorageError
        If a remote file cannot be reached.
    """
    with gdal_env(), open_dataset(ref.href, ref.name) as dataset:
        grid = read_grid(dataset, ref.name)
        alpha = [i for i, role in enumerate(dataset.colorinterp, start=1) if role == ColorInterp.alpha]
        indexes = tuple(i for i in dataset.indexes if i not in alpha)
        dtype = _read_dtype(dataset, indexes, ref.name)
        masked = has_mask(dataset)
        mask = None if masked else find_mask(ref.href)
        if mask is not None:
            _check_mask(mask, grid, ref.name)
        value, findings = _read_nodata(dataset, indexes, nodata, ref.name, dtype)
        validity: Literal["nodata", "alpha", "mask", "all"] = "all" if value is None else "nodata"
        if alpha or masked or mask is not None:
            validity = "alpha" if alpha else "mask"
        # A mask file has no overviews of its own that could be relied on.
        overviews = [] if mask is not None else _read_overviews(dataset, ref)
        source = Source(
            href=ref.href,
            asset=ref.asset,
            band_indexes=indexes,
            validity=validity,
            nodata=value,
            block_height=int(dataset.block_shapes[0][0]),
            block_width=int(dataset.block_shapes[0][1]),
            overviews=tuple(factor for factor, _ in overviews),
            overview_shapes=tuple(shape for _, shape in overviews),
            size=None if is_remote(ref.href) else os.stat(_gdal_path(ref.href)).st_size,  # noqa: PTH116 - as above
            fingerprint=None if is_remote(ref.href) else _fingerprint(Path(_gdal_path(ref.href))),
        )
        bands = _name_bands(dataset, indexes, ref)
    scene = Scene(
        name=ref.name, priority=ref.priority, grid=grid, bands=bands, dtype=dtype, source=source, provenance=ref.provenance
    )
    unit_shape(scene, scene.grid, None)
    return OpenedScene(scene=scene, findings=findings if validity == "all" and np.dtype(dtype).kind != "f" else ())


def _fingerprint(file: Path) -> str:
    """SHA-256 of a file's beginning, its end, and pieces spread between: cheap, and as good as all of a compressed file.

    The tables of a compressed raster's blocks change wherever its pixels do, and they lie at either end.
    """
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        for place in range(_PIECES + 1):
            stream.seek(max(0, (size - _PIECE) * place // _PIECES))
            digest.update(stream.read(_PIECE))
    return digest.hexdigest()


def read_grid(dataset: DatasetReader, scene: str) -> Grid:
    """Where an open raster's pixels lie.

    Raises
    ------
    InputError
        If it has no georeferencing, or its grid is rotated or flipped.
    """
    transform = dataset.transform
    if dataset.crs is None or transform.is_identity:
        missing = "coordinate reference system" if dataset.crs is None else "geotransform"
        msg = f"scene {scene}: the raster has no {missing}; georeference it, e.g. with gdal_translate -a_srs … -a_ullr …"
        raise InputError(msg)
    if transform.b or transform.d or transform.a <= 0 or transform.e >= 0:
        msg = (
            f"scene {scene}: the grid is rotated or flipped (geotransform {tuple(transform)[:6]}); "
            "make it north-up, e.g. with gdalwarp"
        )
        raise InputError(msg)
    right, bottom = transform.c + dataset.width * transform.a, transform.f + dataset.height * transform.e
    aspect = max(transform.a, -transform.e) / min(transform.a, -transform.e)
    in_order = -math.inf < transform.c < right < math.inf and -math.inf < bottom < transform.f < math.inf
    if not (in_order and aspect <= _MAX_ASPECT):
        msg = f"scene {scene}: the geotransform {tuple(transform)[:6]} makes no grid; georeference the raster anew"
        raise InputError(msg)
    return Grid(
        crs=dataset.crs.to_wkt(version="WKT2_2019"),
        left=transform.c,
        top=transform.f,
        pixel_width=transform.a,
        pixel_height=-transform.e,
        width=dataset.width,
        height=dataset.height,
    )


def _read_overviews(dataset: DatasetReader, ref: SceneRef) -> list[tuple[int, tuple[int, int]]]:
    """Factors and shapes of the overviews, from large to small; some writers round sizes up, some down."""
    found = []
    for index, factor in enumerate(dataset.overviews(1)):
        with _open_gdal(ref.href, ref.name, OVERVIEW_LEVEL=index) as overview:
            height, width = overview.shape
        uneven = abs(height / dataset.height - width / dataset.width) * max(height, width)
        if factor > 1 and uneven <= _UNEVEN and overview.count == dataset.count:
            found.append((int(factor), (int(height), int(width))))
    return sorted(found)


def _read_dtype(dataset: DatasetReader, indexes: tuple[int, ...], scene: str) -> str:
    if not indexes:
        msg = f"scene {scene}: the raster has an alpha band and nothing else; name another asset"
        raise InputError(msg)
    if ColorInterp.palette in dataset.colorinterp:
        msg = (
            f"scene {scene}: the raster holds numbers of colours, not values; expand them, e.g. with gdal_translate -expand rgb"
        )
        raise InputError(msg)
    dtypes = sorted({str(dataset.dtypes[i - 1]) for i in indexes})
    if len(dtypes) != 1 or dtypes[0] not in _DTYPES:
        msg = f"scene {scene}: the bands' type is {', '.join(dtypes)}; allowed is one of {', '.join(_DTYPES)} for all bands"
        raise InputError(msg)
    return dtypes[0]


def has_mask(dataset: DatasetReader) -> bool:
    """Whether the file itself holds a mask for all bands."""
    return MaskFlags.per_dataset in dataset.mask_flag_enums[0] and MaskFlags.alpha not in dataset.mask_flag_enums[0]


def _check_mask(path: str, grid: Grid, scene: str) -> None:
    with open_dataset(path, scene) as mask:
        if mask.shape != grid.shape:
            msg = (
                f"scene {scene}: its mask {path} has {mask.height} x {mask.width} pixels, the scene has "
                f"{grid.height} x {grid.width}; remove it or make it anew"
            )
            raise InputError(msg)


def _read_nodata(
    dataset: DatasetReader, indexes: tuple[int, ...], given: float | None, scene: str, dtype: str
) -> tuple[float | None, tuple[Finding, ...]]:
    """The value of invalid pixels, None where the dtype has no such value; and a finding for when nothing else marks them."""
    declared = [given] if given is not None else [dataset.nodatavals[i - 1] for i in indexes]
    values = [float(value) for value in declared if value is not None]
    usable = [value for value in values if _is_storable(value, np.dtype(dtype))]
    if usable:
        return usable[0], ()
    reason = f"a nodata value ({values[0]:g}) that {dtype} cannot hold" if values else "neither a nodata value nor a mask"
    message = (
        f"scene {scene} has {reason}: every pixel is taken as valid; "
        "if it has a border, give its value with --shared.custom_nodata_value"
    )
    return None, (Finding(severity="warning", code="no-nodata", message=message, scene=scene),)


def _name_bands(dataset: DatasetReader, indexes: tuple[int, ...], ref: SceneRef) -> tuple[Band, ...]:
    """Names by the Item where it names each band, else by the file's descriptions."""
    if len(ref.bands) in (len(indexes), dataset.count):
        return tuple(ref.bands[i] for i in range(len(indexes)))
    described = [dataset.descriptions[i - 1] for i in indexes]
    return tuple(Band(name=text or f"band_{i}", description=text) for i, text in enumerate(described, start=1))


def _is_storable(value: float, dtype: np.dtype[Any]) -> bool:
    """Whether a dtype can hold a value; if not, no pixel equals it."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return not math.isfinite(value) or bool(np.isfinite(dtype.type(value)))
    limits = np.iinfo(dtype)
    return limits.min <= value <= limits.max and value == int(value)


def level_grid(scene: Scene, level: int | None) -> Grid:
    """The pixel grid of a scene's overview (0 is the finest), or its own for None."""
    if level is None:
        return scene.grid
    if scene.source.overview_shapes:
        height, width = scene.source.overview_shapes[level]
    else:
        factor = scene.source.overviews[level]
        height, width = math.ceil(scene.grid.height / factor), math.ceil(scene.grid.width / factor)
    return replace(
        scene.grid,
        width=width,
        height=height,
        pixel_width=scene.grid.pixel_width * scene.grid.width / width,
        pixel_height=scene.grid.pixel_height * scene.grid.height / height,
    )


def unit_shape(scene: Scene, grid: Grid, level: int | None) -> tuple[int, int]:
    """What is read at once, (height, width): the file's own blocks, several strips together, or all of a small raster."""
    height, width = scene.source.block_height, scene.source.block_width
    if level is not None:
        height, width = max(height, _UNIT_ROWS), max(width, _UNIT_ROWS)
    if height < _UNIT_ROWS:
        height *= math.ceil(_UNIT_ROWS / height)
    if width < _UNIT_ROWS:
        width *= math.ceil(_UNIT_ROWS / width)
    height, width = min(height, grid.height), min(width, grid.width)
    size = height * width * len(scene.bands) * np.dtype(scene.dtype).itemsize
    if size > _MAX_UNIT_BYTES:
        msg = (
            f"scene {scene.name}: the file is stored in blocks of {height} x {width} pixels ({size / 2**20:.0f} MiB); "
            "store it in tiles, e.g. with rio cogeo create"
        )
        raise InputError(msg)
    return height, width
