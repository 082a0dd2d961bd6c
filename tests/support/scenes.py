"""Builders for tests: tiny scenes of any shape, written below ``tmp_path`` without the code under test.

Landscapes and whole sets of scenes with known gains and offsets come from :mod:`processor.synthetic.scenes`; what is here makes
single rasters with the quirks that readers meet (strips, alpha, masks, odd transforms, missing nodata), and Items of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.transform import Affine
from rasterio.warp import transform as transform_points

UTM = "EPSG:32633"
LEFT, TOP = 500_000.0, 5_300_000.0


def gradient_truth(
    height: int, width: int, bands: int = 1, *, left: float = LEFT, top: float = TOP, pixel: float = 1.0
) -> NDArray[np.float64]:
    """A smooth function of place sampled at pixel centres: float64 (bands, height, width), above 500 near the
    default corner.

    Grids that cover the same ground agree whatever their phase and pixel size. It bends: a bilinear resampling from pixels
    of p CRS units departs from it by up to 0.02 p² in five bands, and a half of a scene has another mean than the other.
    """
    x = (np.arange(width) + 0.5) * pixel + (left - LEFT)
    y = (np.arange(height) + 0.5) * pixel + (TOP - top)
    slopes = 1 + 0.25 * np.arange(bands)[:, None, None]
    waves = 120 * np.sin(x / 60)[None, :] * np.cos(y / 75)[:, None] + 60 * np.sin((x[None, :] + y[:, None]) / 90)
    truth: NDArray[np.float64] = slopes * (waves + 0.4 * x[None, :] + 0.25 * y[:, None])
    truth += 700 + 100 * np.arange(bands)[:, None, None]
    return truth


def write_scene(
    path: Path,
    array: NDArray[Any],
    *,
    left: float = LEFT,
    top: float = TOP,
    pixel: float = 1.0,
    crs: str | None = UTM,
    nodata: float | None = 0,
    dtype: str | None = None,
    tiled: bool = True,
    block: int = 64,
    overviews: Sequence[int] = (),
    alpha: bool | NDArray[np.bool_] = False,
    mask: bool | NDArray[np.bool_] = False,
    transform: Affine | None = None,
    descriptions: Sequence[str] | None = None,
    **options: Any,
) -> Path:
    """Write an array (bands, height, width), or (height, width) for one band, as a GeoTIFF and return its path.

    Parameters
    ----------
    left, top, pixel
        Outer upper left corner and pixel size, CRS units; ``transform`` replaces them.
    nodata
        Declared value of invalid pixels, or None.
    dtype
        Of the file: the array is rounded to it and cut at its limits if that is an integer; None: the array's own.
    tiled, block
        Square tiles of ``block`` pixels, or strips.
    overviews
        Decimation factors, made by averaging.
    alpha, mask
        An alpha band after the data, or an internal mask: a bool array (height, width) with True = valid, or True for
        "valid where some band differs from 0". Pass ``nodata=None`` with them.
    descriptions
        Of the data bands.
    options
        Further options of GDAL's GTiff driver.
    """
    bands = array[None] if array.ndim == 2 else array
    if dtype is not None:
        if np.issubdtype(np.dtype(dtype), np.integer):
            bands = np.clip(np.rint(bands), np.iinfo(dtype).min, np.iinfo(dtype).max)
        bands = bands.astype(dtype)
    count, height, width = bands.shape
    layout: dict[str, Any] = {"tiled": True, "blockxsize": block, "blockysize": block} if tiled else {"tiled": False}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            height=height,
            width=width,
            count=count + (alpha is not False),
            dtype=bands.dtype,
            crs=None if crs is None else CRS.from_user_input(crs),
            transform=Affine(pixel, 0, left, 0, -pixel, top) if transform is None else transform,
            nodata=nodata,
            **{**layout, **options},
        ) as raster:
            raster.write(bands, indexes=list(range(1, count + 1)))
            for index, text in enumerate(descriptions or (), start=1):
                raster.set_band_description(index, text)
            if alpha is not False:
                opaque = np.iinfo(bands.dtype).max if np.issubdtype(bands.dtype, np.integer) else 1
                raster.write(_to_valid(alpha, bands).astype(bands.dtype) * bands.dtype.type(opaque), count + 1)
                raster.colorinterp = [*raster.colorinterp[:count], ColorInterp.alpha]
            if mask is not False:
                raster.write_mask(_to_valid(mask, bands))
        if overviews:
            with rasterio.open(path, "r+") as raster:
                raster.build_overviews(list(overviews), Resampling.average)
    return path


def _to_valid(choice: bool | NDArray[np.bool_], bands: NDArray[Any]) -> NDArray[np.bool_]:
    return choice if isinstance(choice, np.ndarray) else (bands != 0).any(axis=0)


def write_items(
    folder: Path,
    paths: Sequence[Path],
    *,
    name: str = "items.json",
    asset: str = "image",
    bands: Sequence[str] = (),
    properties: dict[str, Any] | None = None,
) -> Path:
    """Write a STAC 1.1 ItemCollection of rasters, in the order given, with hrefs relative to ``folder``; return its path.

    Each Item is named as its file, has its raster as ``asset`` (with ``bands`` as names and common names, if given) and a
    nominal datetime a minute after the one before; ``properties`` go into every Item.
    """
    folder.mkdir(parents=True, exist_ok=True)
    features = [_make_item(folder, path, index, asset, bands, properties or {}) for index, path in enumerate(paths)]
    target = folder / name
    target.write_text(json.dumps({"type": "FeatureCollection", "features": features}, indent=1), encoding="utf-8")
    return target


def _make_item(
    folder: Path, path: Path, index: int, asset: str, bands: Sequence[str], properties: dict[str, Any]
) -> dict[str, Any]:
    with rasterio.open(path) as raster:
        crs, transform, shape = raster.crs, raster.transform, raster.shape
    a, b, c, d, e, f = tuple(transform)[:6]
    corners = [(0, shape[0]), (shape[1], shape[0]), (shape[1], 0), (0, 0)]  # columns and rows, from the lower left
    xs, ys = [a * col + b * row + c for col, row in corners], [d * col + e * row + f for col, row in corners]
    lons, lats = transform_points(crs, "EPSG:4326", xs, ys)[:2]
    ring = [[round(lon, 7), round(lat, 7)] for lon, lat in zip([*lons, lons[0]], [*lats, lats[0]], strict=True)]
    code = crs.to_authority()
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [
            "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
            "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
        ],
        "id": path.stem,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [min(lons), min(lats), max(lons), max(lats)],
        "properties": {
            "datetime": f"2024-06-15T{10 + index // 60:02d}:{index % 60:02d}:00Z",
            **({"proj:code": ":".join(code)} if code else {"proj:code": None, "proj:wkt2": crs.to_wkt()}),
            "proj:shape": list(shape),
            "proj:transform": list(transform)[:6],
            **properties,
        },
        "links": [],
        "assets": {
            asset: {
                "href": "./" + path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path),
                "type": "image/tiff; application=geotiff",
                "roles": ["data"],
                **({"bands": [{"name": band, "eo:common_name": band} for band in bands]} if bands else {}),
            }
        },
    }
