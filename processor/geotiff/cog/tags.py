"""The TIFF tags that say where a raster lies and what its bands mean, as GDAL itself writes them.

GDAL writes rasters of one pixel into memory, one with the CRS and one with nodata and metadata; their tags are taken over. So
every CRS is written as GDAL reads it, and the many rules of GeoTIFF keys are not repeated here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final, NamedTuple

import rasterio
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.io import DatasetWriter, MemoryFile
from rasterio.transform import Affine

from processor.errors import InputError
from processor.geotiff.cog.spec import CogSpec
from processor.model import Moments

CRS_ITEM: Final = "CRS_WKT2"
"""Metadata item that holds the CRS where GeoTIFF keys cannot express it."""

_SAMPLE_TAGS: Final = frozenset({258, 262, 277, 284, 320, 338, 339, 42113})  # of every level: bits, photometric, …, nodata
_METADATA_TAG: Final = 42112  # of the full resolution: descriptions, statistics, other items
_KEY_TAGS: Final = frozenset({34735, 34736, 34737})  # of the full resolution: GeoTIFF keys
_SIZES: Final[Mapping[int, int]] = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_ANYWHERE: Final = Affine(1, 0, 1, 0, -1, 1)  # rasterio warns where there is none
_FLAVORS: Final = ("STANDARD", "ESRI_PE")


class Tag(NamedTuple):
    """An entry of an image file directory."""

    code: int
    """Number of the tag."""
    kind: int
    """TIFF type of its values."""
    length: int
    """Number of values."""
    data: bytes
    """The values, little-endian."""


def make_tags(spec: CogSpec) -> tuple[tuple[Tag, ...], tuple[Tag, ...]]:
    """Make the tags that do not depend on how the pixels are stored.

    Returns
    -------
    (of the full resolution, of an overview), each in ascending order.

    Raises
    ------
    InputError
        The CRS of the grid is not valid WKT.
    """
    grid, keys = spec.grid, _find_keys(spec.grid.crs)
    items = dict(spec.tags) if keys.kept else {**spec.tags, CRS_ITEM: grid.crs}
    template = tuple(_iter_tags(_write_template(spec, items)))
    reduced = tuple(tag for tag in template if tag.code in _SAMPLE_TAGS)
    metadata = tuple(tag for tag in template if tag.code == _METADATA_TAG)
    place = (  # ModelPixelScale and ModelTiepoint of a north-up grid (GeoTIFF 1.1, section 7.1.3: raster space to model space)
        Tag(33550, 12, 3, struct.pack("<3d", grid.pixel_width, grid.pixel_height, 0)),
        Tag(33922, 12, 6, struct.pack("<6d", 0, 0, 0, grid.left, grid.top, 0)),
    )
    return tuple(sorted((*reduced, *metadata, *keys.tags, *place), key=lambda tag: tag.code)), reduced


def is_crs_kept(wkt: str) -> bool:
    """Whether readers of the file get this CRS back; else it is only in the metadata item ``CRS_WKT2``.

    Raises
    ------
    InputError
        It is not valid WKT.
    """
    return _find_keys(wkt).kept


class _Keys(NamedTuple):
    """The GeoTIFF keys of a CRS, and whether GDAL reads the same CRS from them."""

    tags: tuple[Tag, ...]
    """Tags that hold the keys."""
    kept: bool
    """True where GDAL reads the same CRS from them."""


@lru_cache(maxsize=64)
def _find_keys(wkt: str) -> _Keys:
    """Find the GeoTIFF keys from which GDAL reads this CRS again; the standard ones where there are none."""
    try:
        crs = CRS.from_wkt(wkt) if wkt.strip() else None
    except CRSError as error:
        msg = f"the CRS is not valid WKT ({error}): {wkt[:200]!r}"
        raise InputError(msg) from error
    candidates: list[_Keys] = []
    for flavor in _FLAVORS:
        with MemoryFile() as file:
            with _open_template(file, 1, "uint8", crs=crs, geotiff_keys_flavor=flavor):
                pass
            with file.open() as dataset:
                found = dataset.crs
            tags = tuple(tag for tag in _iter_tags(bytes(file.read())) if tag.code in _KEY_TAGS)
        if found is None or crs is None:
            kept = found is crs
        else:
            kept = bool(found == crs) or (crs.to_epsg() is not None and found.to_epsg() == crs.to_epsg())
        candidates.append(_Keys(tags, kept))
        if kept:
            return candidates[-1]
    return candidates[0]


def _write_template(spec: CogSpec, items: Mapping[str, str]) -> bytes:
    """Let GDAL write a raster of one pixel that has all of the spec but its place and size."""
    options = {"photometric": spec.photometric.upper(), "nodata": spec.nodata}
    with MemoryFile() as file:
        with _open_template(file, spec.bands, spec.dtype, **options) as dataset:
            if spec.colours:
                numbers = [bytes.fromhex(colour.removeprefix("#")) for colour in spec.colours]
                dataset.write_colormap(1, {value: (*parts, 255) for value, parts in enumerate(numbers)})
            if items:
                dataset.update_tags(**dict(sorted(items.items())))
            for index, description in enumerate(spec.descriptions, start=1):
                if description is not None:
                    dataset.set_band_description(index, description)
            if any(spec.scalings):
                dataset.scales = [1.0 if scaling is None else scaling.scale for scaling in spec.scalings]
                dataset.offsets = [0.0 if scaling is None else scaling.offset for scaling in spec.scalings]
            if any(spec.units):
                dataset.units = [unit or "" for unit in spec.units]
            if spec.statistics is not None:
                for band in range(spec.bands):
                    pixels = spec.grid.width * spec.grid.height
                    dataset.update_tags(band + 1, **_format_statistics(spec.statistics, band, pixels))
        return bytes(file.read())


@contextmanager
def _open_template(file: MemoryFile, bands: int, dtype: str, **options: Any) -> Iterator[DatasetWriter]:
    """Write a raster of one pixel, without side-car files: what the TIFF itself cannot hold must not seem to be kept."""
    options = {"photometric": "MINISBLACK", "transform": _ANYWHERE, "bigtiff": "NO", "endianness": "LITTLE"} | options
    options |= {"width": 1, "height": 1, "count": bands, "dtype": dtype, "interleave": "pixel", "alpha": "NO"}
    with rasterio.Env(GDAL_PAM_ENABLED=False), file.open(driver="GTiff", **options) as dataset:
        yield dataset


def _format_statistics(statistics: Moments, band: int, pixels: int) -> dict[str, str]:
    """Word the statistics of a band as GDAL does; nothing where no pixel was valid."""
    if statistics.count == 0:
        return {}
    return {
        "STATISTICS_MAXIMUM": repr(float(statistics.maximum[band])),
        "STATISTICS_MEAN": repr(float(statistics.mean[band])),
        "STATISTICS_MINIMUM": repr(float(statistics.minimum[band])),
        "STATISTICS_STDDEV": repr(float(statistics.std[band])),
        "STATISTICS_VALID_PERCENT": f"{100 * statistics.count / pixels:.4g}",
    }


def _iter_tags(content: bytes) -> Iterator[Tag]:
    """Parse the first directory of a little-endian classic TIFF (TIFF 6.0, section 2)."""
    (start,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, start)
    for index in range(entries):
        entry = start + 2 + 12 * index
        code, kind, count = struct.unpack_from("<HHI", content, entry)
        size = _SIZES[kind] * count
        offset = entry + 8 if size <= 4 else struct.unpack_from("<I", content, entry + 8)[0]
        yield Tag(code, kind, count, content[offset : offset + size])
