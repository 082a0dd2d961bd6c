"""Records without a file behind them, one builder for each kind: what a test does not say is the same everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from numpy.typing import NDArray
from pyproj import CRS

from processor.config import load_config
from processor.model import Artifact, Band, Grid, Moments, Scene, Source
from processor.mosaic.plan import Plan
from processor.mosaic.planning import plan_run
from processor.stages.statistics import compute_valid_moments
from stac.write.item import ItemPlaces, Processing, Summary, create_item

UTM = CRS.from_epsg(32633).to_wkt("WKT2_2019")


def make_grid(crs: Any, left: float, top: float, *, pixel: float = 10.0, size: int = 100) -> Grid:
    """A grid of square pixels of a CRS in any notation, as many rows as columns."""
    wkt = CRS.from_user_input(crs).to_wkt("WKT2_2019")
    return Grid(crs=wkt, left=left, top=top, pixel_width=pixel, pixel_height=pixel, width=size, height=size)


def make_scene(name: str = "a", *, grid: Grid | None = None, bands: Sequence[str | Band] = ("red",), **changes: Any) -> Scene:
    """A scene of 100 x 100 pixels of 1 CRS unit at (0, 100); ``changes`` go to the grid, the source or the scene."""

    def take(record: type, **usual: Any) -> dict[str, Any]:
        return usual | {field.name: changes.pop(field.name) for field in fields(record) if field.name in changes}

    if grid is None:
        place = {"left": 0.0, "top": 100.0, "pixel_width": 1.0, "pixel_height": 1.0, "width": 100, "height": 100}
        grid = Grid(**take(Grid, crs=UTM, **place))
    indexes = tuple(range(1, len(bands) + 1))
    file = {"href": f"/data/{name}.tif", "asset": None, "band_indexes": indexes, "validity": "nodata", "nodata": 0.0}
    source = Source(**take(Source, **file, block_height=256, block_width=256, overviews=()))
    named = tuple(Band(name=band) if isinstance(band, str) else band for band in bands)
    return Scene(name=name, grid=grid, source=source, bands=named, **{"priority": 0, "dtype": "uint16", **changes})


def make_artifact(key: str = "mosaic", path: str | None = None, *, role: str = "data", **changes: Any) -> Artifact:
    """A published file; a GeoTIFF in the Item's folder, named by its key."""
    usual = {"media_type": "image/tiff; application=geotiff; profile=cloud-optimized", "title": key, "size": 10}
    return Artifact(**{"key": key, "path": path or f"{key}.tif", "roles": (role,), "sha256": "0a" * 32, **usual, **changes})


def compute_moments(pixels: NDArray[Any]) -> Moments:
    """Moments of pixels (bands, n) that are all valid."""
    return compute_valid_moments(pixels[:, None], None)


def make_large_scene(name: str, *, left: float = 0, edge: int = 4096, pixel: float = 1.0, size: int | None = 1000) -> Scene:
    """A square scene of two bands in tiles of 512 pixels, with two overviews, in a file of so many bytes."""
    place = {"left": left, "top": 0, "pixel_width": pixel, "pixel_height": pixel, "width": edge, "height": edge}
    file = {"block_height": 512, "block_width": 512, "overviews": (2, 4), "size": size}
    return make_scene(name, bands=("x", "y"), **place, **file)


def make_plan(*scenes: Scene, **flags: Any) -> Plan:
    """A plan for two threads that measures at full resolution; of two large scenes that overlap by half unless told."""
    settings = {"global_regression.estimate_stats": False, "shared.tile_threads": 2, **flags}
    scenes = scenes or (make_large_scene("a"), make_large_scene("b", left=2048))
    return plan_run(scenes, load_config(flags=settings, environment={}))


def create_item_from(values: dict[str, Any]) -> dict[str, Any]:
    """The Item of a mosaic, from what it is told, in one mapping: arguments of ``create_item`` and fields of its records."""
    rest, records = dict(values), {"processing": Processing, "summary": Summary, "places": ItemPlaces}
    for name, record in records.items():
        rest[name] = record(**{field.name: rest.pop(field.name) for field in fields(record) if field.name in rest})
    return create_item(**rest)
