"""Items as real catalogues write them, field by field and version by version, over small synthetic rasters.

The shapes are those of earth-search v1 (Sentinel-2), the Planetary Computer (Sentinel-2, Landsat Collection 2, NAIP,
Sentinel-1), OpenAerialMap (drones), Geoscience Australia (ARD), NASA (HLS), Maxar (open data), CBERS on AWS, LINZ, Umbra,
Capella, Planet, the Copernicus Data Space and USGS landsatlook, with the names, media types and roles that these use; places
and values are made up.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import rasterio
from rasterio.warp import transform_bounds

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
EXTENSIONS = "https://stac-extensions.github.io"


def describe_grid(path: Path, *, length: int = 6) -> dict[str, Any]:
    """``proj:shape`` and ``proj:transform`` of a file."""
    with rasterio.open(path) as raster:
        return {"proj:shape": list(raster.shape), "proj:transform": [*map(float, raster.transform)][:length]}


def _make_feature(
    name: str, path: Path, *, version: str, extensions: Sequence[str], properties: dict[str, Any], assets: dict[str, Any]
) -> dict[str, Any]:
    with rasterio.open(path) as raster:
        west, south, east, north = transform_bounds(raster.crs, "EPSG:4326", *raster.bounds)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "stac_version": version,
        "stac_extensions": [f"{EXTENSIONS}/{extension}/schema.json" for extension in extensions],
        "id": name,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [west, south, east, north],
        "properties": properties,
        "links": [{"rel": "self", "type": "application/geo+json", "href": f"https://example.org/items/{quote(name)}"}],
        "assets": assets,
    }


def make_earth_search(name: str, files: dict[str, Path], *, offset: float, baseline: str, cloud: float) -> dict[str, Any]:
    """Sentinel-2 L2A of earth-search v1: an asset a band named by its colour, and the same again as JPEG 2000.

    files: by key of the asset; "scl" is the scene classification.
    """
    centres = {"blue": 0.49, "green": 0.56, "red": 0.665, "nir": 0.842, "swir16": 1.61}
    assets: dict[str, Any] = {}
    for key, path in files.items():
        size = describe_grid(path)["proj:transform"][0]
        band = {"nodata": 0, "data_type": "uint8" if key == "scl" else "uint16", "spatial_resolution": size}
        asset = {"href": str(path), "type": COG, "title": f"{key} - {size:g}m", **describe_grid(path)}
        if key == "scl":
            assets[key] = {**asset, "raster:bands": [band], "roles": ["data", "reflectance"]}
            continue
        eo = {"name": key, "common_name": key, "center_wavelength": centres[key], "full_width_half_max": 0.038}
        scaled = {**band, "bits_per_sample": 15, "scale": 0.0001, "offset": offset}
        assets[key] = {**asset, "gsd": size, "eo:bands": [eo], "raster:bands": [scaled], "roles": ["data", "reflectance"]}
        jp2 = {**assets[key], "href": f"s3://sentinel-s2-l2a/tiles/{name}/{key}.jp2", "type": "image/jp2"}
        assets[f"{key}-jp2"] = jp2
    assets["thumbnail"] = {"href": "https://example.org/preview.jpg", "type": "image/jpeg", "roles": ["thumbnail"]}
    assets["granule_metadata"] = {"href": "s3://x/metadata.xml", "type": "application/xml", "roles": ["metadata"]}
    properties = {
        "created": "2023-07-15T16:00:00.000Z",
        "updated": "2023-07-15T16:00:00.000Z",
        "datetime": "2023-07-14T10:08:02.345000Z",
        "platform": "sentinel-2b",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "eo:cloud_cover": cloud,
        "proj:epsg": 32633,
        "mgrs:utm_zone": 33,
        "mgrs:latitude_band": "U",
        "mgrs:grid_square": "VP",
        "grid:code": "MGRS-33UVP",
        "view:sun_azimuth": 151.2,
        "view:sun_elevation": 60.1,
        "s2:processing_baseline": baseline,
        "s2:product_type": "S2MSI2A",
        "processing:software": {"sentinel2-to-stac": "0.1.1"},
        "earthsearch:payload_id": f"roda-sentinel2/workflow-sentinel2-to-stac/{name}",
    }
    extensions = (
        *("eo/v1.1.0", "file/v2.1.0", "grid/v1.0.0", "mgrs/v1.0.0", "processing/v1.1.0", "projection/v1.1.0"),
        *("raster/v1.1.0", "sentinel-2/v1.0.0", "view/v1.0.0"),
    )
    return _make_feature(name, files["red"], version="1.0.0", extensions=extensions, properties=properties, assets=assets) | {
        "collection": "sentinel-2-l2a"
    }


def make_planetary_sentinel(name: str, files: dict[str, Path], *, cloud: float) -> dict[str, Any]:
    """Sentinel-2 L2A of the Planetary Computer: an asset a band named by its number, without scale and offset.

    files: by key of the asset; "SCL" is the scene classification.
    """
    names = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir", "B11": "swir16"}
    assets: dict[str, Any] = {}
    for key, path in files.items():
        grid = describe_grid(path)
        with rasterio.open(path) as raster:
            box = list(raster.bounds)
        asset = {"href": str(path), "type": COG, "roles": ["data"], "proj:bbox": box, **grid, "gsd": grid["proj:transform"][0]}
        if key in names:
            asset["eo:bands"] = [{"name": key, "common_name": names[key], "description": f"Band {key} - {names[key]}"}]
        assets[key] = asset
    assets["preview"] = {"href": "https://example.org/preview.tif", "type": COG, "roles": ["thumbnail"]}
    assets["safe-manifest"] = {"href": "https://example.org/manifest.safe", "type": "application/xml", "roles": ["metadata"]}
    assets["tilejson"] = {"href": "https://example.org/tilejson.json", "type": "application/json", "roles": ["tiles"]}
    assets["rendered_preview"] = {"href": "https://example.org/p.png", "type": "image/png", "roles": ["overview"]}
    properties = {
        "datetime": "2023-07-14T10:05:59.024000Z",
        "platform": "Sentinel-2B",
        "constellation": "Sentinel 2",
        "instruments": ["msi"],
        "eo:cloud_cover": cloud,
        "proj:epsg": 32633,
        "s2:mgrs_tile": "33UVP",
        "s2:processing_baseline": "05.09",
        "s2:mean_solar_zenith": 29.9,
        "sat:orbit_state": "descending",
        "sat:relative_orbit": 22,
    }
    extensions = ("eo/v1.0.0", "sat/v1.0.0", "projection/v1.0.0")
    return _make_feature(name, files["B04"], version="1.0.0", extensions=extensions, properties=properties, assets=assets) | {
        "collection": "sentinel-2-l2a"
    }


def make_landsat(name: str, files: dict[str, Path], *, cloud: float) -> dict[str, Any]:
    """Landsat Collection 2 Level 2 of the Planetary Computer: an asset a band, and the bits of QA_PIXEL.

    files: by key of the asset; "qa_pixel" is the mask.
    """
    numbers = {"blue": "OLI_B2", "green": "OLI_B3", "red": "OLI_B4", "nir08": "OLI_B5"}
    assets: dict[str, Any] = {}
    for key, path in files.items():
        asset: dict[str, Any] = {"href": str(path), "type": COG, "title": f"{key} Band"}
        if key == "qa_pixel":
            band = {"unit": "bit index", "nodata": 1, "data_type": "uint16", "spatial_resolution": 30}
            asset |= {"roles": ["cloud", "cloud-shadow", "snow-ice", "water-mask"], "raster:bands": [band]}
            asset["classification:bitfields"] = [
                {"name": "fill", "length": 1, "offset": 0, "description": "Image or fill data"},
                {"name": "cloud", "length": 1, "offset": 3, "description": "Cloud mask"},
            ]
        else:
            band = {"scale": 2.75e-05, "nodata": 0, "offset": -0.2, "data_type": "uint16", "spatial_resolution": 30}
            asset |= {"roles": ["data"], "eo:bands": [{"name": numbers[key], "common_name": key}], "raster:bands": [band]}
        assets[key] = asset
    assets["mtl.json"] = {"href": "https://example.org/MTL.json", "type": "application/json", "roles": ["metadata"]}
    properties = {
        "datetime": "2023-07-20T09:52:30.123456Z",
        "created": "2023-08-02T09:00:00.000000Z",
        "gsd": 30,
        "description": "Landsat Collection 2 Level-2",
        "platform": "landsat-9",
        "instruments": ["oli", "tirs"],
        "eo:cloud_cover": cloud,
        "proj:epsg": 32633,
        **describe_grid(files["red"]),
        "view:off_nadir": 0,
        "view:sun_azimuth": 146.5,
        "view:sun_elevation": 58.6,
        "landsat:wrs_path": "191",
        "landsat:wrs_row": "026",
        "landsat:scene_id": f"LC9{name}",
        "landsat:collection_category": "T1",
        "sci:doi": "10.5066/P9OGBGM6",
    }
    extensions = (
        *("raster/v1.0.0", "eo/v1.0.0", "view/v1.0.0", "projection/v1.0.0", "classification/v1.0.0", "scientific/v1.0.0"),
    )
    return _make_feature(name, files["red"], version="1.0.0", extensions=extensions, properties=properties, assets=assets) | {
        "collection": "landsat-c2-l2"
    }


def make_naip(name: str, path: Path) -> dict[str, Any]:
    """NAIP of the Planetary Computer: one asset of four bands, and pictures beside it."""
    names = [("Red", "red"), ("Green", "green"), ("Blue", "blue"), ("NIR", "nir")]
    bands = [{"name": band, "common_name": common} for band, common in names]
    assets = {
        "image": {"href": str(path), "type": COG, "roles": ["data"], "title": "RGBIR COG tile", "eo:bands": bands},
        "thumbnail": {"href": "https://example.org/t.jpg", "type": "image/jpeg", "roles": ["thumbnail"]},
        "tilejson": {"href": "https://example.org/tilejson.json", "type": "application/json", "roles": ["tiles"]},
        "rendered_preview": {"href": "https://example.org/p.png", "type": "image/png", "roles": ["overview"]},
    }
    with rasterio.open(path) as raster:
        box = list(raster.bounds)
    properties = {
        "gsd": 0.6,
        "datetime": "2022-09-21T16:00:00Z",
        "naip:year": "2022",
        "naip:state": "md",
        "proj:epsg": 26918,
        "proj:bbox": box,
        **describe_grid(path),
        "providers": [{"name": "USDA Farm Service Agency", "roles": ["producer", "licensor"]}],
    }
    return _make_feature(
        name, path, version="1.0.0", extensions=("eo/v1.0.0", "projection/v1.0.0"), properties=properties, assets=assets
    ) | {"collection": "naip"}


def make_drone(name: str, path: Path) -> dict[str, Any]:
    """An orthophoto of a drone as OpenAerialMap has it: STAC 1.1, one asset with the role "visual", a span of time."""
    bands = [{"name": band, "eo:common_name": band} for band in ("red", "green", "blue")]
    assets = {
        "visual": {"href": str(path), "type": COG, "roles": ["visual"], "bands": bands, "gsd": 0.05},
        "thumbnail": {"href": "https://example.org/t.png", "type": "image/png", "roles": ["thumbnail"]},
        "metadata": {"href": "https://example.org/meta.json", "type": "application/json", "roles": ["metadata"]},
    }
    properties = {
        "datetime": None,
        "start_datetime": "2024-03-02T08:00:00Z",
        "end_datetime": "2024-03-02T08:25:00Z",
        "gsd": 0.05,
        "instruments": ["dji fc6310"],
        "oam:platform_type": "uav",
        "oam:producer_name": "Flying Society",
        "proj:code": "EPSG:32636",
        **describe_grid(path, length=9),
        "license": "CC-BY-4.0",
    }
    extensions = ("eo/v2.0.0", "projection/v2.0.0")
    return _make_feature(name, path, version="1.1.0", extensions=extensions, properties=properties, assets=assets) | {
        "collection": "openaerialmap"
    }


def make_geoscience_australia(name: str, files: dict[str, Path]) -> dict[str, Any]:
    """Landsat ARD of Geoscience Australia: an asset a band whose name holds the colour, and keys with a colon beside them.

    files: by key of the asset, ``nbart_…`` or ``oa_…``.
    """
    assets: dict[str, Any] = {}
    for key, path in files.items():
        grid = describe_grid(path, length=9)
        assets[key] = {"title": key, "href": str(path), "type": COG, "roles": ["data"], "eo:bands": [{"name": key}], **grid}
    assets["thumbnail:nbart"] = {"href": "https://example.org/t.jpg", "type": "image/jpeg", "roles": ["thumbnail"]}
    assets["checksum:sha1"] = {"href": "https://example.org/t.sha1", "type": "text/plain", "roles": ["metadata"]}
    properties = {
        "datetime": "2022-08-23T23:56:14.511542Z",
        "title": f"ga_ls8c_ard_3-2-1_090086_2022-08-23_final {name}",
        "platform": "landsat-8",
        "instruments": ["oli", "tirs"],
        "odc:product": "ga_ls8c_ard_3",
        "landsat:wrs_path": 90,
        "landsat:wrs_row": 86,
        "dea:dataset_maturity": "final",
        "proj:epsg": 32633,
    }
    return _make_feature(
        name, files["nbart_red"], version="1.0.0", extensions=("eo/v1.0.0",), properties=properties, assets=assets
    ) | {"collection": "ga_ls8c_ard_3"}


def make_hls(name: str, files: dict[str, Path]) -> dict[str, Any]:
    """Harmonized Landsat Sentinel-2 of NASA's CMR: assets with an href and a title alone, pictures and metadata beside them.

    files: by key of the asset; "Fmask" is the mask.
    """
    assets: dict[str, Any] = {key: {"href": str(path), "title": f"Download {path.name}"} for key, path in files.items()}
    assets["browse"] = {"href": "https://example.org/x.jpg", "type": "image/jpeg", "title": "Download x.jpg"}
    assets["metadata"] = {"href": "https://example.org/x.xml", "type": "application/xml"}
    properties = {"datetime": "2023-07-14T10:08:02.345Z", "start_datetime": "2023-07-14T10:08:02.345Z"}
    properties |= {"end_datetime": "2023-07-14T10:08:26.345Z"}
    return _make_feature(name, files["B04"], version="1.0.0", extensions=(), properties=properties, assets=assets) | {
        "collection": "HLSS30.v2.0"
    }


def make_maxar(name: str, path: Path) -> dict[str, Any]:
    """Open data of Maxar: ids with slashes, times with a blank, a picture beside a mask of vectors."""
    bands = [{"name": f"BAND_{colour[0].upper()}", "common_name": colour} for colour in ("red", "green", "blue")]
    assets = {
        "visual": {"href": str(path), "type": COG, "roles": ["visual"], "title": "Visual Image", "eo:bands": bands},
        "data-mask": {"href": "./x-data-mask.gpkg", "type": "application/geopackage+sqlite3", "roles": ["data-mask"]},
    }
    properties = {
        "datetime": "2022-10-03 16:02:35Z",
        "platform": "WV02",
        "gsd": 0.65,
        "catalog_id": name.rpartition("/")[2],
        "quadkey": name.split("/")[1],
        "proj:epsg": 32617,
        "grid:code": f"MXRA-Z{name.split('/', maxsplit=1)[0]}-{name.split('/')[1]}",
    }
    item = _make_feature(name, path, version="1.0.0", extensions=("eo/v1.0.0",), properties=properties, assets=assets)
    return item | {
        "collection": name.rpartition("/")[2],
        "links": [{"rel": "self", "href": f"./{name.rpartition('/')[2]}.json"}],
    }


def make_cbers(name: str, files: dict[str, Path]) -> dict[str, Any]:
    """CBERS-4 of the bucket on AWS: assets named by number, with common names, in a bucket that the requester pays.

    files: by key of the asset, ``B5`` to ``B8``.
    """
    common = {"B5": "blue", "B6": "green", "B7": "red", "B8": "nir"}
    assets: dict[str, Any] = {
        key: {"href": str(path), "type": COG, "eo:bands": [{"name": key, "common_name": common[key]}]}
        for key, path in files.items()
    }
    assets["thumbnail"] = {"href": "https://example.org/x.jpg", "type": "image/jpeg"}
    assets["metadata"] = {"href": "https://example.org/x.xml", "title": "INPE original metadata", "type": "text/xml"}
    properties = {
        "datetime": "2020-07-30T13:12:43Z",
        "platform": "cbers-4",
        "instruments": ["MUX"],
        "gsd": 20,
        "cbers:data_type": "L4",
        "storage:requester_pays": True,
        "storage:region": "us-east-1",
    }
    return _make_feature(
        name, files["B7"], version="1.0.0", extensions=("eo/v1.0.0",), properties=properties, assets=assets
    ) | {"collection": "CBERS4-MUX"}


def make_linz(name: str, path: Path) -> dict[str, Any]:
    """An orthophoto of LINZ: a relative href that ends in .tiff, a span of time, no word of bands."""
    assets = {"visual": {"href": f"./{path.name}", "type": COG, "file:checksum": f"1220{'0' * 64}"}}
    properties = {
        "datetime": None,
        "start_datetime": "2021-12-02T11:00:00Z",
        "end_datetime": "2022-05-06T12:00:00Z",
        "proj:epsg": 2193,
    }
    item = _make_feature(name, path, version="1.0.0", extensions=("file/v2.0.0",), properties=properties, assets=assets)
    return item | {"collection": "01FY2P6Q0KZ8TRT0NZ1Y0DBV8T", "links": [{"rel": "self", "href": f"./{name}.json"}]}


def make_umbra(name: str, files: dict[str, Path]) -> dict[str, Any]:
    """A radar scene of Umbra: keys that are file names with the time of the collect in them, formats side by side.

    files: by what their names end in, "GEC" and "CSI".
    """
    stem = "2023-11-01-13-20-12_UMBRA-05"
    assets: dict[str, Any] = {
        f"{stem}_{kind}.tif": {"href": str(path), "type": COG, "title": f"{kind} for {name}", "roles": ["data"]}
        for kind, path in files.items()
    }
    assets[f"{stem}_SICD.nitf"] = {"href": "https://example.org/x.nitf", "type": "application/octet-stream"}
    assets[f"{stem}_METADATA.json"] = {"href": "https://example.org/x.json", "type": "application/json", "roles": ["metadata"]}
    properties = {
        "datetime": "2023-11-01T13:20:14Z",
        "platform": "Umbra-05",
        "sar:polarizations": ["VV"],
        "umbra:task_id": "11111111-2222-3333-4444-555555555555",
    }
    return _make_feature(name, files["GEC"], version="1.0.0", extensions=("sar/v1.0.0",), properties=properties, assets=assets)


def make_capella(name: str, path: Path) -> dict[str, Any]:
    """A radar scene of Capella: one asset named by its polarisation, without bands, and a preview that is a COG too."""
    assets = {
        "HH": {"href": str(path), "type": COG, "title": "Data file", "roles": ["data"], "sar:polarizations": ["HH"]},
        "preview": {"href": "https://example.org/preview.tif", "type": COG, "title": "Preview image", "roles": ["overview"]},
        "thumbnail": {"href": "https://example.org/thumb.png", "type": "image/png", "roles": ["thumbnail"]},
        "metadata": {"href": "https://example.org/x.json", "type": "application/json", "roles": ["metadata"]},
    }
    properties = {"datetime": "2020-12-09T21:33:31Z", "platform": "capella-2", "sar:product_type": "GEO"}
    return _make_feature(name, path, version="1.0.0", extensions=("sar/v1.0.0",), properties=properties, assets=assets) | {
        "collection": "capella-geo"
    }


def make_planet(name: str, path: Path, mask: Path) -> dict[str, Any]:
    """PlanetScope of an order: reflectance of four bands, and a mask of eight, which is a COG with the role "data" too."""
    common = ("blue", "green", "red", "nir")
    udm2 = ("clear", "snow", "shadow", "light_haze", "heavy_haze", "cloud", "confidence", "udm1")
    analytic: list[dict[str, Any]] = [{"name": band.capitalize(), "common_name": band} for band in common]
    assets = {
        f"{name}_3B_AnalyticMS_SR_tif": {
            "href": str(path),
            "type": COG,
            "roles": ["data", "reflectance"],
            "eo:bands": analytic,
        },
        f"{name}_3B_udm2_tif": {
            "href": str(mask),
            "type": COG,
            "roles": ["data", "snow-ice", "cloud", "cloud-shadow"],
            "eo:bands": [{"name": band} for band in udm2],
        },
        f"{name}_metadata_json": {"href": "https://example.org/x.json", "type": "application/json", "roles": ["metadata"]},
    }
    properties = {
        "datetime": "2023-06-01T10:00:00.123456Z",
        "instruments": ["PSB.SD"],
        "constellation": "planetscope",
        "gsd": 3.9,
        "pl:item_type": "PSScene",
        "eo:cloud_cover": 3,
    }
    return _make_feature(name, path, version="1.0.0", extensions=("eo/v1.0.0",), properties=properties, assets=assets)


def make_copernicus(name: str, files: dict[str, Path], *, media_type: str = "image/jp2") -> dict[str, Any]:
    """Sentinel-2 of the Copernicus Data Space: STAC 1.1, each band in several resolutions, JPEG 2000 alone.

    files: by key of the asset, such as ``B02_10m``.
    """
    common = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir"}
    assets: dict[str, Any] = {}
    for key, path in files.items():
        band, _, size = key.partition("_")
        asset: dict[str, Any] = {"href": str(path), "type": media_type, "roles": ["data"], "gsd": int(size.removesuffix("m"))}
        asset |= {"proj:code": "EPSG:32633", **describe_grid(path), "nodata": 0, "data_type": "uint16"}
        if band in common:
            asset["bands"] = [{"name": band, "eo:common_name": common[band]}]
            asset |= {"raster:scale": 0.0001, "raster:offset": -0.1, "roles": ["data", "reflectance", "sampling:original"]}
        else:
            asset |= {"data_type": "uint8", "classification:classes": [{"value": 3, "name": "cloud_shadow"}]}
        alternate = {"https": {"href": f"https://example.org/odata/{key}", "auth:refs": ["oidc"]}}
        assets[key] = {**asset, "alternate": alternate, "auth:refs": ["s3"]}
    assets["thumbnail"] = {"href": "https://example.org/t.jpg", "type": "image/jpeg", "roles": ["thumbnail", "overview"]}
    assets["Product"] = {"href": "https://example.org/p", "type": "application/zip", "roles": ["data", "metadata", "archive"]}
    properties = {
        "datetime": "2024-06-01T10:10:31.024Z",
        "platform": "sentinel-2b",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "processing:version": "05.10",
        "grid:code": "MGRS-32TPT",
        "eo:cloud_cover": 4.2,
    }
    first = next(iter(files.values()))
    return _make_feature(name, first, version="1.1.0", extensions=("eo/v2.0.0",), properties=properties, assets=assets) | {
        "collection": "sentinel-2-l2a"
    }


def make_sentinel_1(name: str, files: dict[str, Path]) -> dict[str, Any]:
    """Sentinel-1 RTC of the Planetary Computer: an asset a polarisation, of whose bands nothing is said.

    files: by key of the asset, "vv" and "vh".
    """
    assets: dict[str, Any] = {
        key: {
            "href": str(path),
            "type": COG,
            "roles": ["data"],
            "title": f"{key.upper()}: terrain-corrected gamma naught values",
        }
        for key, path in files.items()
    }
    assets["tilejson"] = {"href": "https://example.org/tilejson.json", "type": "application/json", "roles": ["tiles"]}
    assets["rendered_preview"] = {"href": "https://example.org/p.png", "type": "image/png", "roles": ["overview"]}
    properties = {
        "datetime": "2023-07-14T05:17:25Z",
        "platform": "SENTINEL-1A",
        "constellation": "Sentinel-1",
        "sar:polarizations": ["VV", "VH"],
        "sar:product_type": "GRD",
        "proj:epsg": 32633,
        **describe_grid(files["vv"]),
    }
    return _make_feature(
        name, files["vv"], version="1.0.0", extensions=("sar/v1.0.0",), properties=properties, assets=assets
    ) | {"collection": "sentinel-1-rtc"}


def make_landsatlook(name: str, files: dict[str, Path]) -> dict[str, Any]:
    """Landsat Collection 2 of USGS landsatlook: a media type of its own, an alternate in a bucket that the requester pays.

    files: by key of the asset; "qa_pixel" is the mask.
    """
    numbers = {"blue": "B2", "green": "B3", "red": "B4", "nir08": "B5"}
    kind = "image/vnd.stac.geotiff; cloud-optimized=true"
    assets: dict[str, Any] = {
        "index": {
            "href": f"https://example.org/{name}",
            "type": "text/html",
            "title": "HTML index page",
            "roles": ["metadata"],
        },
        "thumbnail": {"href": f"https://example.org/{name}.jpeg", "type": "image/jpeg", "roles": ["thumbnail"]},
    }
    for key, path in files.items():
        bucket = {"storage:platform": "AWS", "storage:requester_pays": True, "href": f"s3://usgs-landsat/{name}/{path.name}"}
        asset: dict[str, Any] = {"href": str(path), "type": kind, "title": f"{key} Band", "alternate": {"s3": bucket}}
        if key in numbers:
            asset |= {"roles": ["data"], "eo:bands": [{"name": numbers[key], "common_name": key, "gsd": 30}]}
        else:
            asset |= {"roles": ["cloud", "cloud-shadow", "snow-ice", "water-mask"]}
        assets[key] = asset
    properties = {
        "datetime": "2023-07-20T09:52:30.123456Z",
        "platform": "LANDSAT_9",
        "instruments": ["OLI", "TIRS"],
        "eo:cloud_cover": 12.5,
        "landsat:wrs_path": "191",
        "landsat:wrs_row": "026",
        "proj:epsg": 32633,
        **describe_grid(files["red"]),
    }
    return _make_feature(
        name, files["red"], version="1.0.0", extensions=("eo/v1.0.0",), properties=properties, assets=assets
    ) | {"collection": "landsat-c2l2-sr"}


def write_collection(path: Path, items: Sequence[dict[str, Any]]) -> Path:
    """Write an ItemCollection."""
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(items)}))
    return path
