"""What the user gives in files of their own: regions, footprints, statistics, block maps; read before planning, once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import numpy as np
from rasterio.crs import CRS
from shapely import Geometry, box, union_all

from processor.config import Config, VectorMask
from processor.errors import InputError
from processor.geotiff.reader import read_small
from processor.model import BlockGrid, BlockMap, Bounds, Scene
from processor.scenes.names import SceneNames, match_scenes
from processor.stages.clip.mask_rasters import Region
from processor.stages.matching.adjustments_file import KnownStatistics, parse_adjustments
from processor.storage.store import Store, redact_url
from processor.vectors import Feature, list_parts, read_features

__all__ = ["Given", "read_given"]

_MAX_BYTES = 1 << 30
_SAME = 1e-6  # of a block: maps whose corners are this near agree


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Given:
    """Everything read from the user's own files."""

    statistics: KnownStatistics | None = None
    """Of scenes that need not be measured again, or None."""
    statistics_region: Region | None = None
    blocks_region: Region | None = None
    """Pixels that count for the global and for the local statistics."""
    clip_region: Region | None = None
    """Pixels that are kept of each scene, instead of its cell."""
    footprints: Mapping[str, Geometry] | None = None
    """By scene, instead of those of the valid pixels."""
    area: Geometry | None = None
    """Of interest, where the cells end."""
    reference: BlockMap | None = None
    """Block map, or None."""
    local_maps: Mapping[str, BlockMap] = field(default_factory=dict)
    """Block maps by name: of input scenes under their names, of others under their files'."""
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each file's bytes, by URL; files of stages that are off are neither read nor listed."""

    @property
    def blocks(self) -> BlockGrid | None:
        """Block grid of the loaded maps, or None."""
        if self.reference is not None:
            return self.reference.grid
        return next((block_map.grid for block_map in self.local_maps.values()), None)

    def agrees_with(self, bounds: Bounds) -> bool:
        """Whether the loaded maps cover these bounds, up to what a file rounds."""
        return self.blocks is None or _agree(self.blocks, replace(self.blocks, bounds=bounds))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """What the files are read for."""

    names: tuple[str, ...]
    """Of the scenes, in input order."""
    crs: str
    """WKT of the scenes."""
    canvas: Bounds
    """Union of their bounds."""
    bands: int
    store: Store

    def read_vectors(self, url: str, name_field: str | None, parameter: str) -> tuple[Feature, ...]:
        return read_features(url, crs=self.crs, field=name_field, parameter=parameter, store=self.store, near=self.canvas)


def read_given(scenes: Sequence[Scene], config: Config, store: Store) -> Given:
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
        bands=len(scenes[0].bands),
        store=store,
    )
    wanted = _list_wanted(config)
    reference, local_maps = _read_maps(wanted.maps, context) if wanted.maps is not None else (None, {})
    return Given(
        statistics=_read_statistics(wanted.statistics, context) if wanted.statistics is not None else None,
        statistics_region=_read_region(wanted.statistics_mask, "global_regression.vector_mask", context),
        blocks_region=_read_region(wanted.blocks_mask, "local_block_adjustment.vector_mask", context),
        clip_region=_read_region(wanted.clip_mask, "mask_rasters.vector_mask", context),
        footprints=_read_footprints(wanted.footprints, context) if wanted.footprints is not None else None,
        area=_read_area(wanted.area, scenes, context) if wanted.area is not None else None,
        reference=reference,
        local_maps=local_maps,
        fingerprints={part: _fingerprint(part, store) for url in wanted.files for part in list_parts(url, store)},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """The settings that name files, None where a stage is off or nothing is given."""

    statistics: str | None
    statistics_mask: VectorMask | None
    blocks_mask: VectorMask | None
    clip_mask: VectorMask | None
    maps: tuple[str | None, tuple[str, ...] | None] | None
    footprints: tuple[str, str] | None
    area: str | None

    @property
    def files(self) -> tuple[str, ...]:
        """Every path or URL."""
        masks = (self.statistics_mask, self.blocks_mask, self.clip_mask)
        reference, maps = self.maps or (None, None)
        single = (self.statistics, reference, self.area, *(mask[1] for mask in masks if mask is not None))
        footprints = () if self.footprints is None else (self.footprints[0],)
        return tuple(sorted({*(url for url in single if url is not None), *footprints, *(maps or ())}))


def _list_wanted(config: Config) -> _Wanted:
    methods, seamlines = config.methods, config.voronoi_center_seamline
    has_global, has_local = methods.matching_global_method is not None, methods.matching_local_method is not None
    has_cells = methods.seamline_method is not None
    return _Wanted(
        statistics=config.global_regression.load_adjustments if has_global else None,
        statistics_mask=config.global_regression.vector_mask if has_global else None,
        blocks_mask=config.local_block_adjustment.vector_mask if has_local else None,
        clip_mask=config.mask_rasters.vector_mask if methods.clip_method is not None else None,
        maps=config.local_block_adjustment.load_block_maps if has_local else None,
        footprints=seamlines.vector_mask if has_cells else None,
        area=seamlines.aoi_path if has_cells else None,
    )


def _fingerprint(url: str, store: Store) -> str:
    digest = hashlib.sha256()
    with store.open_stream(url) as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _read_region(mask: VectorMask | None, parameter: str, context: _Context) -> Region | None:
    if mask is None:
        return None
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


def _read_footprints(setting: tuple[str, str], context: _Context) -> Mapping[str, Geometry]:
    url, name_field = setting
    parameter = "voronoi_center_seamline.vector_mask"
    found = _by_scene(context.read_vectors(url, name_field, parameter), context.names)
    missing = [name for name in sorted(context.names) if name not in found]
    if missing:
        msg = f"{parameter}: no feature of {redact_url(url)} names scene {', '.join(missing[:5])} in field {name_field!r}"
        raise InputError(msg)
    return found


def _read_area(url: str, scenes: Sequence[Scene], context: _Context) -> Geometry:
    parameter = "voronoi_center_seamline.aoi_path"
    area = union_all([feature.geometry for feature in context.read_vectors(url, None, parameter)])
    if not any(area.intersects(box(*scene.grid.bounds.as_tuple())) for scene in scenes):
        msg = (
            f"{parameter}: {redact_url(url)} lies outside all scenes, which are within {context.canvas.as_tuple()}; check its "
            "coordinate reference system"
        )
        raise InputError(msg)
    return area


def _read_statistics(url: str, context: _Context) -> KnownStatistics:
    text = context.store.read_bytes(url, max_bytes=_MAX_BYTES).decode("utf-8", errors="replace")
    return parse_adjustments(text, source=redact_url(url), bands=context.bands)


def _read_maps(
    setting: tuple[str | None, tuple[str, ...] | None], context: _Context
) -> tuple[BlockMap | None, dict[str, BlockMap]]:
    """The reference map and the local maps; all must agree in shape and extent."""
    reference = None if setting[0] is None else _read_map(setting[0], "reference", context)
    by_stem: dict[str, str] = {}
    for url in sorted(set(setting[1] or ())):
        stem = PurePosixPath(urlsplit(url).path if "://" in url else url).stem
        if by_stem.setdefault(stem, url) != url:
            msg = f"block maps {redact_url(by_stem[stem])} and {redact_url(url)} have one name; leave one out"
            raise InputError(msg)
    scenes = {stem: scene for scene, stem in match_scenes(list(by_stem), context.names, what="block maps").items()}
    local = {}
    for stem, url in sorted(by_stem.items()):
        name = scenes.get(stem, stem)
        local[name] = _read_map(url, name, context)
    first = reference if reference is not None else next(iter(local.values()), None)
    if first is None:
        return None, {}
    for block_map in local.values():
        if not _agree(block_map.grid, first.grid):
            msg = (
                f"block map of {block_map.name} has {block_map.grid.rows} x {block_map.grid.cols} blocks over "
                f"{block_map.grid.bounds.as_tuple()}, that of {first.name} {first.grid.rows} x {first.grid.cols} over "
                f"{first.grid.bounds.as_tuple()}; load maps of one run"
            )
            raise InputError(msg)
    same = {name: BlockMap(name=name, grid=first.grid, values=block_map.values) for name, block_map in local.items()}
    return reference, same


def _agree(one: BlockGrid, other: BlockGrid) -> bool:
    if (one.rows, one.cols) != (other.rows, other.cols):
        return False
    size = min(other.block_width, other.block_height)
    return all(abs(a - b) <= _SAME * size for a, b in zip(one.bounds.as_tuple(), other.bounds.as_tuple(), strict=True))


def _read_map(url: str, name: str, context: _Context) -> BlockMap:
    what = f"block map {redact_url(url)}"
    values, valid, grid = read_small(context.store.read_bytes(url, max_bytes=_MAX_BYTES), what=what)
    if len(values) != context.bands:
        msg = f"{what} has {len(values)} bands and the scenes have {context.bands}"
        raise InputError(msg)
    if CRS.from_wkt(grid.crs) != CRS.from_wkt(context.crs):
        msg = f"{what} and the scenes have different coordinate reference systems; load maps of these scenes"
        raise InputError(msg)
    if grid.bounds.intersection(context.canvas) is None:
        msg = f"{what} covers {grid.bounds.as_tuple()} and no scene lies there; load maps of these scenes"
        raise InputError(msg)
    return BlockMap(
        name=name,
        grid=BlockGrid(bounds=grid.bounds, rows=grid.height, cols=grid.width),
        values=np.where(valid, values.astype(np.float64), np.nan),
    )
