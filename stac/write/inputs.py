"""The inputs of a mosaic: links to the first of them, and an ItemCollection of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pystac import MediaType
from shapely import box

from processor.model import Scene
from stac.extensions import STAC_VERSION, list_extensions
from stac.hrefs import publish_href
from stac.write.assets import describe_grid
from stac.write.footprint import compute_footprint
from stac.write.sensors import merge_properties

MOST_LINKS: Final = 100
"""Inputs that an Item links to; where there are more, all of them are in the file ``INPUTS`` too."""

INPUTS: Final = "inputs.json"
"""Path of the ItemCollection of all inputs, relative to the Item's folder."""


def link_source(scene: Scene, relation: str) -> dict[str, Any]:
    """The link to a scene's Item in a relation, or a ``via`` link to its raster, JSON values."""
    origin = scene.provenance.self_href
    if origin is None:
        href = publish_href(scene.source.href)
        return {"rel": "via", "href": href, "type": _find_type(scene), "title": scene.title}
    document, mark, item_id = origin.partition("#")  # an Item without a link is known by its document and id
    href = f"{publish_href(document)}{mark}{item_id}"
    return {"rel": relation, "href": href, "type": MediaType.GEOJSON.value, "title": scene.title}


def create_inputs(scenes: Sequence[Scene], *, created: str) -> dict[str, Any]:
    """Describe all inputs as an ItemCollection, each by what the mosaic was made from.

    Parameters
    ----------
    scenes
        All inputs, in the order of the numbers in the scene index.
    created
        RFC 3339 time of processing, UTC: ``datetime`` of a scene whose time is not known, because STAC requires one.

    Returns
    -------
    JSON values. An Item has the extent of the scene's pixels as its geometry, grid, time and sensor; the link ``canonical``
    leads to the scene's own Item, ``via`` to a plain raster; ``mosaic:number`` is the scene's value in the scene index.
    """
    features = [_describe(scene, number, created) for number, scene in enumerate(scenes, start=1)]
    return {"type": "FeatureCollection", "features": features}


def _describe(scene: Scene, number: int, created: str) -> dict[str, Any]:
    grid, provenance = scene.grid, scene.provenance
    outline = compute_footprint(box(*grid.bounds.as_tuple()), grid)
    start, end = provenance.start or provenance.end, provenance.end or provenance.start
    time = {"datetime": start or created} if start == end else {"datetime": None, "start_datetime": start, "end_datetime": end}
    hrefs = list(dict.fromkeys(part.raster.source.href for part in scene.parts)) or [scene.source.href]
    keys = ["data"] if len(hrefs) == 1 else [f"data_{position}" for position in range(1, len(hrefs) + 1)]
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": [],
        "id": scene.name,
        "geometry": outline.geometry if outline else None,
        **({"bbox": list(outline.bbox)} if outline else {}),
        "properties": {
            "title": scene.title,
            **time,
            **merge_properties((scene,), None),
            **describe_grid(grid, with_crs=True),
            "mosaic:number": number,
        },
        "links": [link_source(scene, "canonical")],
        "assets": {
            key: {"href": publish_href(href), "type": _find_type(scene), "roles": ["data"]}
            for key, href in zip(keys, hrefs, strict=True)
        },
    }
    return item | {"stac_extensions": list_extensions(item)}


def _find_type(scene: Scene) -> str:
    kind = MediaType.JPEG2000 if scene.source.href.lower().endswith(".jp2") else MediaType.GEOTIFF
    return kind.value
