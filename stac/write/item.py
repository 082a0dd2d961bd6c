"""STAC 1.1.0 Item of a mosaic."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import quote

import numpy as np
import pystac
from pystac.utils import datetime_to_str, str_to_datetime
from shapely import MultiPolygon, Polygon

from processor.model import Artifact, Grid, Scene
from stac.extensions import STAC_VERSION, list_extensions
from stac.hrefs import is_absolute, publish_href
from stac.links import make_absolute, relative_href
from stac.write.assets import Places, RasterMetadata, compute_resolution, describe_asset, describe_grid, make_href
from stac.write.footprint import compute_footprint
from stac.write.inputs import MOST_LINKS, link_source
from stac.write.renders import MOSAIC_RENDERS, create_renders
from stac.write.sensors import merge_properties

_SOFTWARE: Final = "mosaic-processor"
_PREFIX: Final = "mosaic:"
_RELATIONS: Final[Mapping[str, str]] = {"inputs_items": "related", "inputs": "related", "report_page": "describedby"}
_NUMBERS: Final = re.compile(r"\[\n\s*(-?[\d.eE+-]+(?:,\n\s*-?[\d.eE+-]+)*)\n\s*\]")  # a list of numbers, one a line
_TRACED: Final = 1.5  # cells within which a slanted edge is straight again: its steps lie in a band of up to the root of 2
_NAMED: Final = 3  # platforms, or references, in a sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """The Collection or Catalog that an Item belongs to."""

    href: str
    """Absolute path or URL of its document."""
    collection: str | None = None
    """Id of the Collection; None for a Catalog."""
    root_href: str | None = None
    """Absolute path or URL of the root; None: the parent is the root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemPlaces:
    """Where an Item is published, what it belongs to, and the form of its hrefs."""

    self_href: str | None = None
    """Absolute path or URL of the Item; None or a relative one: no self link."""
    hrefs: Literal["relative", "absolute"] = "relative"
    """Form of the hrefs of files beside the Item; absolute ones need ``self_href``."""
    public_folder: str | None = None
    """HTTP URL of the Item's folder; every file gets an alternate href there."""
    parent: Parent | None = None
    """Collection or catalogue that the Item belongs to, or None."""
    tiles: str | None = None
    """Template of the URL of a tile server's tiles: {z}, {x}, {y}, and {id}, {item} or {mosaic}; or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What may be done with a mosaic, and who made it."""

    license: str | None = None
    """SPDX identifier, or URL of a text; None: nothing is said."""
    providers: tuple[Mapping[str, Any], ...] = ()
    """Providers (STAC common metadata), JSON values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Processing:
    """How a mosaic was made."""

    created: str
    """RFC 3339 time of processing, UTC."""
    digest: str
    """Digest of inputs and configuration; becomes ``mosaic:digest``."""
    version: str
    """Version of this program."""
    stages: tuple[str, ...]
    """Names of the stages that ran, in order."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Summary:
    """What is said of a mosaic as a whole."""

    footprint: Polygon | MultiPolygon
    """Valid pixels of the mosaic, CRS units."""
    cell: float = 1.0
    """Edge of the cells along which the footprint was traced, pixels of the mosaic."""
    properties: Mapping[str, object] = field(default_factory=dict)
    """Further properties by name without the prefix ``mosaic:``. NaN and infinity become null."""
    owned: Mapping[str, int] | None = None
    """Number of mosaic pixels from each scene, by scene name: the weights of cloud cover and angles. None where unknown."""


def create_item(
    *,
    item_id: str,
    scenes: Sequence[Scene],
    references: Sequence[Scene] = (),
    grid: Grid,
    artifacts: Sequence[Artifact],
    rasters: Mapping[str, RasterMetadata],
    processing: Processing,
    summary: Summary,
    places: ItemPlaces,
    rights: Rights | None = None,
) -> dict[str, Any]:
    """Describe a mosaic as a STAC Item.

    If no scene has an acquisition time, ``datetime`` is the time of processing, because STAC requires one; the lineage says so.
    The gains and offsets of the adjustment are applied to the pixels already, so they are no ``raster:scale`` and
    ``raster:offset``.

    Parameters
    ----------
    item_id
        Id of the Item.
    scenes
        All inputs; each of the first 100 becomes a ``derived_from`` link (an Item) or a ``via`` link (a plain raster).
    references
        What the scenes were matched to; each becomes a ``via`` link.
    grid
        Pixels of the mosaic.
    artifacts
        All published files; each becomes an asset.
    rasters
        Bands and grids of those artifacts that are rasters, by key.
    processing
        How the mosaic was made.
    summary
        What is said of it as a whole.
    places
        Where the Item is published, and what it belongs to.
    rights
        Its license and providers; None: nothing is said.

    Returns
    -------
    JSON values only, no NaN.

    Raises
    ------
    ValueError
        If there are no scenes, the footprint is empty, two artifacts have one key, or hrefs cannot be absolute.
    """
    if not scenes:
        msg = "a mosaic has at least one scene"
        raise ValueError(msg)
    self_href, hrefs, parent = places.self_href, places.hrefs, places.parent
    base = publish_href(self_href) if self_href is not None and is_absolute(self_href) else None
    if base is None and hrefs == "absolute":
        msg = f"absolute hrefs need an absolute self_href, not {self_href!r}"
        raise ValueError(msg)
    rights = rights or Rights()
    renders = create_renders(rasters, len(scenes))
    created = datetime_to_str(str_to_datetime(processing.created))
    outline = compute_footprint(summary.footprint, grid, within=_TRACED * summary.cell)
    time = _describe_time(scenes, created)
    title = f"Mosaic of {_count(len(scenes), 'scene')}"
    item = pystac.Item(
        id=item_id,
        geometry=outline.geometry if outline else None,
        bbox=list(outline.bbox) if outline else None,
        datetime=str_to_datetime(time["datetime"]) if time["datetime"] else None,
        properties={
            "title": title,
            "description": _describe_mosaic(scenes, grid, time),
            "created": created,
            "updated": created,
            **{key: value for key, value in time.items() if key != "datetime"},
            **_describe_sensors(scenes, grid, summary.owned),
            **describe_grid(grid, with_crs=True),
            **({"proj:centroid": dict(zip(("lon", "lat"), outline.centroid, strict=True))} if outline else {}),
            **_describe_rights(rights),
            **({"renders": renders} if renders else {}),
            **_describe_processing(scenes, references, processing.stages, processing.version),
            f"{_PREFIX}digest": processing.digest,
            f"{_PREFIX}scene_count": len(scenes),
            **({f"{_PREFIX}geometry_tolerance": outline.tolerance} if outline else {}),
            **{f"{_PREFIX}{key}": value for key, value in summary.properties.items() if value is not None},
        },
    )
    _add_links(item, scenes, base, parent, relative=hrefs == "relative")
    files = Places(base=base, absolute=hrefs == "absolute", public_folder=places.public_folder)
    _link_artifacts(item, artifacts, files)
    if rights.license is not None and is_absolute(rights.license):
        item.add_link(pystac.Link("license", rights.license, title="License"))
    if places.tiles is not None:
        item.add_link(_link_tiles(places.tiles, places.public_folder or "", item.id, artifacts, renders))
    for reference in references:
        item.add_link(_link_source(reference, "via"))
    _add_assets(item, artifacts, rasters, grid, files)
    document = item.to_dict(transform_hrefs=False) | {"stac_version": STAC_VERSION}
    document |= {"collection": parent.collection} if parent is not None and parent.collection is not None else {}
    document["stac_extensions"] = list_extensions(document)
    ready: dict[str, Any] = json.loads(json.dumps(_to_json(document), allow_nan=False))
    return ready


def render_item(item: Mapping[str, Any]) -> str:
    """The text of an Item's file: indented, but with a position or another list of numbers on one line."""
    text = json.dumps(item, indent=2, ensure_ascii=False, allow_nan=False)  # a line break within a text is written as \\n
    return _NUMBERS.sub(lambda found: f"[{', '.join(found[1].replace(',', ' ').split())}]", text) + "\n"


def create_item_collection(item: Mapping[str, Any]) -> dict[str, Any]:
    """ItemCollection of one Item for standard output; hrefs become absolute if the Item has a self link.

    Parameters
    ----------
    item
        From :func:`create_item`; not changed.
    """
    return {"type": "FeatureCollection", "features": [make_absolute(item)]}


def _describe_rights(rights: Rights) -> dict[str, Any]:
    fields: dict[str, Any] = {"providers": [dict(provider) for provider in rights.providers]} if rights.providers else {}
    if rights.license is not None:
        fields["license"] = "other" if is_absolute(rights.license) else rights.license
    return fields


def _link_tiles(
    template: str, folder: str, name: str, artifacts: Iterable[Artifact], renders: Mapping[str, Any]
) -> pystac.Link:
    """The link to a tile server that shows the mosaic (web map links, version 1.2.0); the folder is its public URL."""
    mosaics = (artifact.path for artifact in artifacts if artifact.key == "mosaic")
    hrefs = {"{item}": f"{name}.json", "{mosaic}": next(mosaics, "mosaic.tif")}
    href = template.replace("{id}", quote(name, safe=""))
    for place, path in hrefs.items():
        url = publish_href(path if is_absolute(path) else f"{folder.rstrip('/')}/{quote(path)}")
        href = href.replace(place, quote(url, safe=""))
    shown = next((key for key in MOSAIC_RENDERS if key in renders), None)
    fields = {"render": shown} if shown is not None else {}
    return pystac.Link("xyz", href, media_type="image/png", title="Map tiles", extra_fields=fields)


def _link_artifacts(item: pystac.Item, artifacts: Iterable[Artifact], places: Places) -> None:
    """Links to those files that say more of the Item: the list of its inputs where they are too many, and its report."""
    for artifact in artifacts:
        relation = _RELATIONS.get(artifact.key)
        if relation is not None:
            href = make_href(artifact, places)
            item.add_link(pystac.Link(relation, href, media_type=artifact.media_type, title=artifact.title))


def _add_links(item: pystac.Item, scenes: Sequence[Scene], base: str | None, parent: Parent | None, *, relative: bool) -> None:
    if base is not None:
        item.add_link(pystac.Link("self", base, media_type=pystac.MediaType.GEOJSON, title=item.id))
    if parent is not None:
        for link in _list_parents(parent, base, relative=relative):
            item.add_link(link)
    for scene in scenes[:MOST_LINKS]:
        item.add_link(_link_source(scene, "derived_from"))


def _link_source(scene: Scene, relation: str) -> pystac.Link:
    return pystac.Link.from_dict(link_source(scene, relation))


def _list_parents(parent: Parent, base: str | None, *, relative: bool) -> list[pystac.Link]:
    """The links ``root`` and ``parent``, and ``collection`` if the parent is one."""

    def link_href(href: str) -> str:
        url = publish_href(href)
        return relative_href(url, base=base) if relative and base is not None else url

    own = link_href(parent.href)
    hrefs = {"root": own if parent.root_href is None else link_href(parent.root_href), "parent": own}
    hrefs |= {"collection": own} if parent.collection is not None else {}
    return [pystac.Link(rel, href, media_type=pystac.MediaType.JSON) for rel, href in hrefs.items()]


def _add_assets(
    item: pystac.Item, artifacts: Iterable[Artifact], rasters: Mapping[str, RasterMetadata], grid: Grid, places: Places
) -> None:
    for artifact in artifacts:
        if artifact.key in item.assets:
            msg = f"two artifacts have the key {artifact.key!r}"
            raise ValueError(msg)
        asset = pystac.Asset(
            href=make_href(artifact, places),
            title=artifact.title,
            media_type=artifact.media_type,
            roles=list(artifact.roles),
            extra_fields=describe_asset(artifact, rasters.get(artifact.key), grid, places),
        )
        item.add_asset(artifact.key, asset)


def _describe_time(scenes: Sequence[Scene], created: str) -> dict[str, str | None]:
    """Time range of the scenes with known times; the time of processing where none is known."""
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


def _describe_mosaic(scenes: Sequence[Scene], grid: Grid, time: Mapping[str, str | None]) -> str:
    """One sentence for people: scenes, platforms, dates and pixel size, as far as known."""
    platforms = sorted({str(scene.provenance.properties["platform"]) for scene in scenes if _has_platform(scene)})
    of = f" of {', '.join(platforms)}" if 0 < len(platforms) <= _NAMED else ""
    first, last = (str(time.get(key) or time["datetime"])[:10] for key in ("start_datetime", "end_datetime"))
    taken = any(scene.provenance.start or scene.provenance.end for scene in scenes)
    when = "" if not taken else f", taken on {first}" if first == last else f", taken from {first} to {last}"
    resolution = compute_resolution(grid)
    pixels = f", pixels of {resolution:.4g} m" if resolution is not None else ""
    scenes_of = f"{_count(len(scenes), 'overlapping scene') if len(scenes) > 1 else 'one scene'}{of}"
    return f"Radiometrically matched, seamless mosaic of {scenes_of}{when}{pixels}."


def _has_platform(scene: Scene) -> bool:
    platform = scene.provenance.properties.get("platform")
    return isinstance(platform, str) and bool(platform)


def _describe_processing(
    scenes: Sequence[Scene], references: Sequence[Scene], stages: Sequence[str], version: str
) -> dict[str, Any]:
    """Fields of the processing extension; the parameters of the stages are in the configuration, an asset."""
    fields: dict[str, Any] = {
        "processing:version": version,
        "processing:software": {_SOFTWARE: version},
        "processing:lineage": _describe_lineage(scenes, references, stages),
    }
    if stages:
        expression = "scenes"
        for stage in stages:
            expression = f"{stage}({expression})"
        fields["processing:expression"] = {"format": _SOFTWARE, "expression": expression}
    return fields


def _describe_lineage(scenes: Sequence[Scene], references: Sequence[Scene], stages: Sequence[str]) -> str:
    how = f", made by {', '.join(stages)}" if stages else ""
    unknown = sum(1 for scene in scenes if not (scene.provenance.start or scene.provenance.end))
    if unknown == len(scenes):
        time = "; no acquisition time is known, so that datetime is the time of processing"
    else:
        time = f"; the acquisition time of {_count(unknown, 'scene')} is unknown" if unknown else ""
    names = [reference.name.removeprefix("reference:") for reference in references]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    matched = f", matched to {', '.join(names[:_NAMED])}{more}" if names else ""
    return f"Mosaic of {_count(len(scenes), 'scene')}{how}{matched}{time}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _describe_sensors(scenes: Sequence[Scene], grid: Grid, owned: Mapping[str, int] | None) -> dict[str, Any]:
    """Sensor, sun and cloud fields that the scenes agree on; gsd falls back to the pixel size."""
    fields = merge_properties(scenes, owned)
    resolution = compute_resolution(grid)
    return fields if "gsd" in fields or resolution is None else {**fields, "gsd": resolution}


def _to_json(value: Any) -> Any:
    """A value as JSON: numpy values become Python's, NaN and infinity null."""
    if isinstance(value, Mapping):
        return {str(key): _to_json(member) for key, member in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _to_json(value.tolist())
    if isinstance(value, list | tuple):
        return [_to_json(member) for member in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
