"""What the user gives in files of their own: regions, footprints, statistics, block maps; read before planning, once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.features import shapes
from rasterio.transform import Affine
from shapely import Geometry, box, union_all
from shapely import transform as transform_geometry
from shapely.geometry import shape

from processor.config import Config, VectorMask, iter_parameters
from processor.errors import InputError
from processor.geotiff.reader import read_small
from processor.model import BlockGrid, BlockMap, Bounds, Scene
from processor.model.names import SceneNames, match_scenes
from processor.model.options import FileKind
from processor.model.transformers import make_transformer
from processor.redaction import redact_url
from processor.stages.matching.adjustments_file import KnownStatistics, parse_adjustments
from processor.stages.matching.block_maps_file import SavedMaps, parse_block_maps
from processor.stages.matching.blocks_file import KnownBlocks, parse_blocks
from processor.stages.matching.local_block_adjustment import agree
from processor.stages.matching.surfaces_file import KnownSurfaces, parse_surfaces
from processor.stages.method import BlockMaps, FileContents, Footprints, Region
from processor.stages.seamlines.block_path import Obstacles, make_obstacles
from processor.storage.store import Store
from processor.vector_files import list_parts
from processor.vectors import Feature, read_features
from stac.hrefs import drop_signature

_MAX_BYTES = 1 << 30
_MOST_AREAS: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UserFiles:
    """Everything read from the user's own files; files of methods that are not chosen are neither read nor listed."""

    contents: Mapping[str, FileContents]
    """What they say, by the method whose options name them."""
    fingerprints: Mapping[str, str]
    """SHA-256 of each file's bytes, by URL without signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """What the files are read for."""

    names: tuple[str, ...]
    """Of the scenes, in input order."""
    crs: str
    """WKT of the scenes."""
    canvas: Bounds
    """Union of their bounds."""
    bounds: tuple[Bounds, ...]
    """Of each scene."""
    bands: int
    store: Store
    urls: set[str] = field(default_factory=set)
    """Of all that has been read so far."""

    def read(self, url: str) -> bytes:
        self.urls.add(url)
        return self.store.read_bytes(url, max_bytes=_MAX_BYTES)

    def read_vectors(self, url: str, name_field: str | None, parameter: str) -> tuple[Feature, ...]:
        self.urls.add(url)
        return read_features(url, crs=self.crs, field=name_field, parameter=parameter, store=self.store, near=self.canvas)


def read_user_files(scenes: Sequence[Scene], config: Config, store: Store) -> UserFiles:
    """Read every file that the configuration names, of the stages that are on.

    Raises
    ------
    InputError
        Naming the parameter, the file and what is wrong with it.
    StorageError
        If storage or the network failed.
    """
    context = _Context(
        names=tuple(scene.name for scene in scenes),
        crs=scenes[0].grid.crs,
        canvas=reduce(Bounds.union, (scene.grid.bounds for scene in scenes)),
        bounds=tuple(scene.grid.bounds for scene in scenes),
        bands=len(scenes[0].bands),
        store=store,
    )
    contents: dict[str, dict[str, object]] = {}
    for parameter in iter_parameters(config):
        setting = config.get(parameter)
        if parameter.reads is not None and parameter.section in config.chosen and setting is not None:
            content = _READERS[parameter.reads](setting, parameter.path, context)
            contents.setdefault(parameter.section, {})[parameter.name] = content
    return UserFiles(
        contents={method: FileContents(by_option=by_option) for method, by_option in contents.items()},
        fingerprints={
            drop_signature(part): _fingerprint(part, store) for url in sorted(context.urls) for part in list_parts(url, store)
        },
    )


def _fingerprint(url: str, store: Store) -> str:
    digest = hashlib.sha256()
    with store.open_stream(url) as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _read_region(mask: VectorMask, parameter: str, context: _Context) -> Region:
    is_included, url = mask[0] == "include", mask[1]
    name_field = mask[2] if len(mask) == 3 else None
    features = context.read_vectors(url, name_field, parameter)
    if name_field is None:
        everything = union_all([feature.geometry for feature in features])
        return Region(is_included=is_included, geometries=dict.fromkeys(context.names, everything))
    found = _by_scene(features, context.names)
    if is_included and not found:
        msg = f"{parameter}: no feature of {redact_url(url)} names a scene in field {name_field!r}, so no pixel would be left"
        raise InputError(msg)
    return Region(is_included=is_included, geometries=found)


def _by_scene(features: Sequence[Feature], names: Sequence[str]) -> dict[str, Geometry]:
    """Union of the features that name each scene; a feature may name several."""
    found: dict[str, list[Geometry]] = {}
    known = SceneNames(names)
    for feature in features:
        for name in known.find_all(feature.name or ""):
            found.setdefault(name, []).append(feature.geometry)
    return {name: union_all(geometries) for name, geometries in found.items()}


def _read_footprints(setting: tuple[str, str], parameter: str, context: _Context) -> Footprints:
    url, name_field = setting
    found = _by_scene(context.read_vectors(url, name_field, parameter), context.names)
    missing = [name for name in sorted(context.names) if name not in found]
    if missing:
        msg = f"{parameter}: no feature of {redact_url(url)} names scene {', '.join(missing[:5])} in field {name_field!r}"
        raise InputError(msg)
    return Footprints(geometries=found)


def _read_area(url: str, parameter: str, context: _Context) -> Geometry:
    area = union_all([feature.geometry for feature in context.read_vectors(url, None, parameter)])
    if not any(area.intersects(box(*bounds.as_tuple())) for bounds in context.bounds):
        msg = (
            f"{parameter}: {redact_url(url)} lies outside all scenes, which are within {context.canvas.as_tuple()}; check its "
            "coordinate reference system"
        )
        raise InputError(msg)
    return area


def _read_obstacles(url: str, parameter: str, context: _Context) -> Obstacles:
    return make_obstacles(feature.geometry for feature in context.read_vectors(url, None, parameter))


def _read_mask(url: str, parameter: str, context: _Context) -> Obstacles:
    """The areas of a raster that are not 0, in the scenes' CRS; nodata is 0."""
    what = f"{parameter}: {redact_url(url)}"
    values, valid, grid = read_small(context.read(url), what=what)
    marked = (valid & (values != 0)).any(axis=0)
    found = shapes(marked.astype(np.uint8), mask=marked, transform=Affine(*grid.transform))
    areas = [shape(area) for area, _ in islice(found, _MOST_AREAS + 1)]
    if len(areas) > _MOST_AREAS:
        msg = f"{what} has more than {_MOST_AREAS} separate areas that are not 0: sieve it, or make it coarser"
        raise InputError(msg)
    if CRS.from_wkt(grid.crs) != CRS.from_wkt(context.crs):
        transformer = make_transformer(grid.crs, context.crs)
        areas = list(transform_geometry(np.array(areas, dtype=object), transformer.transform, interleaved=False))
    return make_obstacles(area for area in areas if np.isfinite(area.bounds).all())


def _read_statistics(url: str, parameter: str, context: _Context) -> KnownStatistics:
    del parameter
    text = context.read(url).decode("utf-8", errors="replace")
    return parse_adjustments(text, source=redact_url(url), bands=context.bands)


def _read_maps(setting: tuple[str | None, tuple[str, ...] | None], parameter: str, context: _Context) -> BlockMaps:
    """The reference map and the local maps, rasters or archives of a run; all must agree in shape and extent."""
    del parameter
    given = {url for url in (setting[0], *(setting[1] or ())) if url is not None}
    archives = {url: _read_archive(url, context) for url in sorted(given) if _find_path(url).suffix.lower() == ".npz"}
    reference = None
    if setting[0] is not None:
        reference = archives[setting[0]].reference if setting[0] in archives else _read_map(setting[0], "reference", context)
    by_stem: dict[str, str] = {}
    for url in sorted(set(setting[1] or ()) - archives.keys()):
        stem = _find_path(url).stem
        if by_stem.setdefault(stem, url) != url:
            msg = f"block maps {redact_url(by_stem[stem])} and {redact_url(url)} have one name; leave one out"
            raise InputError(msg)
    scenes = {stem: scene for scene, stem in match_scenes(list(by_stem), context.names, what="block maps").items()}
    local = {scenes.get(stem, stem): url for stem, url in sorted(by_stem.items())}
    maps = {name: _read_map(url, name, context) for name, url in local.items()}
    for url in sorted(archives.keys() & set(setting[1] or ())):
        twice = sorted(maps.keys() & archives[url].local.keys())
        if twice:
            msg = f"{redact_url(url)} and another file of load_block_maps both have the block map of {twice[0]}; leave one out"
            raise InputError(msg)
        maps |= archives[url].local
    if reference is None and not maps:
        msg = "load_block_maps: no block map of any scene is in these files; load maps of these scenes"
        raise InputError(msg)
    first = reference if reference is not None else next(iter(maps.values()))
    for block_map in maps.values():
        if not agree(block_map.grid, first.grid):
            msg = (
                f"block map of {block_map.name} has {block_map.grid.rows} x {block_map.grid.cols} blocks over "
                f"{block_map.grid.bounds.as_tuple()}, that of {first.name} {first.grid.rows} x {first.grid.cols} over "
                f"{first.grid.bounds.as_tuple()}; load maps of one run"
            )
            raise InputError(msg)
    return BlockMaps(
        grid=first.grid,
        reference=reference,
        local={name: replace(block_map, name=name, grid=first.grid) for name, block_map in maps.items()},
    )


def _find_path(url: str) -> PurePosixPath:
    return PurePosixPath(urlsplit(url).path if "://" in url else url)


def _read_archive(url: str, context: _Context) -> SavedMaps:
    what = f"block maps {redact_url(url)}"
    saved = parse_block_maps(context.read(url), source=what, bands=context.bands)
    _check_place(what, saved.crs, saved.reference.grid.bounds, context)
    return saved


def _read_map(url: str, name: str, context: _Context) -> BlockMap:
    what = f"block map {redact_url(url)}"
    values, valid, grid = read_small(context.read(url), what=what)
    if len(values) != context.bands:
        msg = f"{what} has {len(values)} bands and the scenes have {context.bands}"
        raise InputError(msg)
    _check_place(what, grid.crs, grid.bounds, context)
    return BlockMap(
        name=name,
        grid=BlockGrid(bounds=grid.bounds, rows=grid.height, cols=grid.width),
        values=np.where(valid, values.astype(np.float64), np.nan),
    )


def _check_place(what: str, crs: str, bounds: Bounds, context: _Context) -> None:
    """Refuse maps of other scenes."""
    _check_crs(what, crs, context)
    if bounds.intersection(context.canvas) is None:
        msg = f"{what} covers {bounds.as_tuple()} and no scene lies there; load maps of these scenes"
        raise InputError(msg)


def _read_surfaces(url: str, parameter: str, context: _Context) -> KnownSurfaces:
    del parameter
    text = context.read(url).decode("utf-8", errors="replace")
    return parse_surfaces(text, source=redact_url(url), bands=context.bands)


def _read_blocks(url: str, parameter: str, context: _Context) -> KnownBlocks:
    del parameter
    source = redact_url(url)
    known = parse_blocks(context.read(url), source=source, bands=context.bands)
    _check_crs(source, known.canvas.crs, context)
    return known


def _check_crs(what: str, crs: str, context: _Context) -> None:
    """Refuse what was worked out in another CRS than the scenes'."""
    try:
        same = CRS.from_wkt(crs) == CRS.from_wkt(context.crs)
    except CRSError as error:
        msg = f"{what}: its coordinate reference system is not valid WKT ({error}); give what another run published"
        raise InputError(msg) from error
    if not same:
        msg = f"{what} and the scenes have different coordinate reference systems; load what was made of these scenes"
        raise InputError(msg)


_READERS: Final[Mapping[FileKind, Callable[[Any, str, _Context], object]]] = {
    "region": _read_region,
    "footprints": _read_footprints,
    "area": _read_area,
    "obstacles": _read_obstacles,
    "mask": _read_mask,
    "adjustments": _read_statistics,
    "surfaces": _read_surfaces,
    "matched blocks": _read_blocks,
    "block maps": _read_maps,
}
