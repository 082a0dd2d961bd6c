"""The plan: what a run will do, decided from the scenes' descriptions and the configuration alone.

Scenes are in name order throughout, so that the order of the input changes nothing; it matters only as priority, where scenes
still overlap after clipping.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from rasterio.crs import CRS
from shapely import STRtree, box

from processor.config import Config, decisive_settings
from processor.errors import ConfigError, InputError
from processor.geotiff.reader import level_grid
from processor.model import BlockGrid, Bounds, Finding, Grid, Scene, Window
from processor.mosaic.budget import fit_window_edge
from processor.mosaic.chunks import CHUNK_EDGE, Chunks, plan_chunks
from processor.process.threads import resolve_threads
from processor.scenes.names import choose_scenes
from processor.scenes.user_files import Given
from processor.stages.align.align_rasters import compute_pixel_size, compute_shift, snap_grid
from processor.stages.matching.local_block_adjustment import compute_block_grid
from processor.stages.merge.merge_rasters import choose_nodata
from processor.storage.url import redact_url

__all__ = [
    "BLOCK_EDGE",
    "Plan",
    "block_bounds",
    "compute_digest",
    "count_window_bytes",
    "find_model",
    "iter_z_order",
    "plan_run",
]

BLOCK_EDGE = 512  # pixels: blocks of the mosaic
_ESTIMATE_EDGE = 1000  # pixels on a scene's longer side that are enough for an estimate
_ESTIMATE_BLOCK = 8  # pixels on a block's edge that are enough for its mean
_MAX_PIXELS = 2**42  # of a mosaic, and of the canvas at the finest resolution; tasks are listed in memory
_SMALL_CANVAS = 2**34  # pixels up to which a canvas may be as empty as it likes
_MAX_EMPTINESS = 10_000  # times the pixels of all scenes together that a larger canvas may have


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that is decided before a pixel is read."""

    config: Config
    given: Given
    """What the user's own files say."""
    scenes: tuple[Scene, ...]
    """In name order."""
    grid: Grid
    """The mosaic's."""
    dtype: str
    nodata: float
    """Of the mosaic."""
    levels: tuple[int | None, ...]
    """For each scene the overview that is measured, None for full resolution."""
    blocks: BlockGrid | None
    """Canvas of the local adjustment; None when that is off, or its number of blocks hangs on the statistics."""
    pairs: tuple[tuple[int, int], ...]
    """Positions (i, j), i < j, of scenes whose bounds share an area."""
    chunks: Chunks
    """The measuring tasks."""
    window_edge: int
    """Pixels, edge of the render windows."""
    findings: tuple[Finding, ...]
    """What planning brought to light."""

    @property
    def bands(self) -> int:
        """Bands of every scene."""
        return len(self.scenes[0].bands)

    @property
    def canvas(self) -> Bounds:
        """Union of the scenes' bounds."""
        return reduce(Bounds.union, (scene.grid.bounds for scene in self.scenes))

    @property
    def reads_for_measures(self) -> bool:
        """Whether the first pass has anything to find out."""
        methods = self.config.methods
        known = self.given.statistics
        statistics = methods.matching_global_method is not None and (
            known is None or any(scene.name not in known.whole for scene in self.scenes)
        )
        cells = methods.seamline_method is not None and self.given.footprints is None
        return statistics or cells or methods.matching_local_method is not None

    def measure_grid(self, scene: int) -> Grid:
        """The grid on which a scene is measured."""
        return level_grid(self.scenes[scene], self.levels[scene])


def plan_run(scenes: Sequence[Scene], config: Config, given: Given | None = None) -> Plan:
    """Plan a run.

    Parameters
    ----------
    scenes
        Opened, in any order.
    config
        The configuration.
    given
        What the user's own files say; default: nothing.

    Raises
    ------
    InputError
        If the scenes cannot make one mosaic: they differ in CRS or in number of bands.
    ConfigError
        If the stages that are on make no sense together.
    """
    given = given if given is not None else Given()
    _check_methods(config)
    ordered = tuple(sorted(scenes, key=lambda scene: scene.name))
    _check_alike(ordered)
    if config.methods.matching_global_method is not None:
        find_model(ordered, config, given)
    canvas = reduce(Bounds.union, (scene.grid.bounds for scene in ordered))
    dtype = config.shared.output_dtype or str(np.result_type(*(scene.dtype for scene in ordered)))
    blocks = _plan_blocks(canvas, len(ordered), config, given)
    levels = tuple(_choose_level(scene, blocks, config) for scene in ordered)
    pairs = _find_pairs(ordered)
    grid = _plan_grid(ordered, canvas, config)
    grids = [level_grid(scene, level) for scene, level in zip(ordered, levels, strict=True)]
    _check_size(ordered, canvas, grid, grids)
    return Plan(
        config=config,
        given=given,
        scenes=ordered,
        grid=grid,
        dtype=dtype,
        nodata=choose_nodata(_preferred_nodata(ordered, config), dtype),
        levels=levels,
        blocks=blocks,
        pairs=pairs,
        chunks=plan_chunks(grids, canvas),
        window_edge=_window_edge(ordered, grid, dtype, config),
        findings=_find_lonely(ordered, pairs),
    )


def find_model(scenes: Sequence[Scene], config: Config, given: Given) -> frozenset[str] | None:
    """Names of the scenes that pull on the model, also of those that are only in the statistics given, or None: all.

    Raises
    ------
    ConfigError
        If a name is no scene's, or none is left.
    """
    names = {scene.name for scene in scenes} | set(given.statistics.whole if given.statistics is not None else ())
    setting = config.global_regression.specify_model_images
    return choose_scenes(setting, names, parameter="global_regression.specify_model_images")


def _check_methods(config: Config) -> None:
    methods = config.methods
    has_cells = methods.seamline_method is not None or config.mask_rasters.vector_mask is not None
    if methods.clip_method is not None and not has_cells:
        msg = (
            "methods.clip_method = 'mask_rasters' has nothing to cut by: switch methods.seamline_method on, give "
            "mask_rasters.vector_mask, or switch methods.clip_method off (null)"
        )
        raise ConfigError(msg)
    if all(method is None for method in methods.model_dump().values()):
        msg = "methods: every stage is off, so there is nothing to do; switch at least one on"
        raise ConfigError(msg)


def _check_alike(scenes: tuple[Scene, ...]) -> None:
    first = scenes[0]
    crs = CRS.from_wkt(first.grid.crs)
    for scene in scenes[1:]:
        if scene.grid.crs != first.grid.crs and CRS.from_wkt(scene.grid.crs) != crs:
            msg = (
                f"scene {scene.name} is in {_crs_name(scene.grid.crs)} and scene {first.name} in {_crs_name(first.grid.crs)}; "
                "warp the scenes to one CRS first, e.g. with gdalwarp"
            )
            raise InputError(msg)
        if len(scene.bands) != len(first.bands):
            msg = (
                f"scene {scene.name} has {len(scene.bands)} bands and scene {first.name} has {len(first.bands)}; "
                "choose an asset with the same bands in every Item (--inputs.asset)"
            )
            raise InputError(msg)


def _check_size(scenes: tuple[Scene, ...], canvas: Bounds, grid: Grid, measured: Sequence[Grid]) -> None:
    """Refuse a mosaic that nobody means: mostly, one scene's georeferencing is wrong and it lies far from the others."""
    width = min(grid.pixel_width, *(g.pixel_width for g in measured))
    height = min(grid.pixel_height, *(g.pixel_height for g in measured))
    pixels = canvas.width / width * canvas.height / height
    covered = sum(g.bounds.width / width * g.bounds.height / height for g in measured)
    if pixels <= _MAX_PIXELS and pixels <= max(_SMALL_CANVAS, _MAX_EMPTINESS * covered):
        return
    centres = np.array([((b.left + b.right) / 2, (b.bottom + b.top) / 2) for b in (scene.grid.bounds for scene in scenes)])
    farthest = scenes[int(np.argmax(np.abs(centres - np.median(centres, axis=0)).max(axis=1)))]
    msg = (
        f"the scenes span {canvas.width / width:.0f} x {canvas.height / height:.0f} pixels and cover 1 of "
        f"{pixels / covered:.0f} of them, where {_MAX_PIXELS} in all and 1 of {_MAX_EMPTINESS} are the limits; scene "
        f"{farthest.name} lies farthest from the others, at {farthest.grid.bounds.as_tuple()}: check where it lies and its "
        "pixel size, or leave it out"
    )
    raise InputError(msg)


def _crs_name(wkt: str) -> str:
    crs = CRS.from_wkt(wkt)
    authority = crs.to_authority()
    return ":".join(authority) if authority else wkt.split('"')[1]


def _plan_grid(scenes: tuple[Scene, ...], canvas: Bounds, config: Config) -> Grid:
    aligned = config.methods.align_method is not None
    resolution = config.align_rasters.resolution if aligned else config.merge_rasters.resolution
    width, height = compute_pixel_size([scene.grid for scene in scenes], resolution)
    return snap_grid(
        canvas, scenes[0].grid.crs, pixel_width=width, pixel_height=height, tap=aligned and config.align_rasters.tap
    )


def _preferred_nodata(scenes: tuple[Scene, ...], config: Config) -> float | None:
    if config.shared.custom_nodata_value is not None:
        return config.shared.custom_nodata_value
    return next((scene.source.nodata for scene in scenes if scene.source.nodata is not None), None)


def _plan_blocks(canvas: Bounds, scenes: int, config: Config, given: Given) -> BlockGrid | None:
    """The block grid of the loaded maps, or over the override or the canvas; None where it hangs on the statistics."""
    local = config.local_block_adjustment
    if config.methods.matching_local_method is None:
        return None
    override = block_bounds(canvas, config)
    if given.blocks is not None:
        if override != canvas and not given.agrees_with(override):
            msg = (
                f"local_block_adjustment.override_bounds_canvas_coords = {override.as_tuple()} disagrees with the loaded block "
                f"maps, which cover {given.blocks.bounds.as_tuple()}; leave one out"
            )
            raise ConfigError(msg)
        return given.blocks
    if local.number_of_blocks == "coefficient_of_variation":
        return None
    return compute_block_grid(override, scenes, local.number_of_blocks)


def block_bounds(canvas: Bounds, config: Config) -> Bounds:
    """Canvas of the blocks: the override, else the union of the scenes' bounds."""
    override = config.local_block_adjustment.override_bounds_canvas_coords
    if override is None:
        return canvas
    left, bottom, right, top = override
    return Bounds(left=left, bottom=bottom, right=right, top=top)


def _choose_level(scene: Scene, blocks: BlockGrid | None, config: Config) -> int | None:
    """The coarsest overview that still suffices, or None: full resolution."""
    if not config.global_regression.estimate_stats:
        return None
    chosen = None
    for level in range(len(scene.source.overviews)):
        grid = level_grid(scene, level)
        enough = max(grid.width, grid.height) >= _ESTIMATE_EDGE
        if blocks is not None:
            edge = min(blocks.block_width / grid.pixel_width, blocks.block_height / grid.pixel_height)
            enough = enough and edge >= _ESTIMATE_BLOCK
        if enough:
            chosen = level
    return chosen


def _find_pairs(scenes: tuple[Scene, ...]) -> tuple[tuple[int, int], ...]:
    boxes = [box(*scene.grid.bounds.as_tuple()) for scene in scenes]
    first, second = STRtree(boxes).query(boxes)
    found = {
        (int(i), int(j))
        for i, j in zip(first, second, strict=True)
        if i < j and scenes[i].grid.bounds.intersection(scenes[j].grid.bounds) is not None
    }
    return tuple(sorted(found))


def _find_lonely(scenes: tuple[Scene, ...], pairs: tuple[tuple[int, int], ...]) -> tuple[Finding, ...]:
    if len(scenes) == 1:
        message = f"scene {scenes[0].name} is the only one: there is nothing to match it with"
        return (Finding(severity="info", code="single-scene", message=message, scene=scenes[0].name),)
    paired = {position for pair in pairs for position in pair}
    return tuple(
        Finding(
            severity="warning",
            code="no-overlap",
            message=f"scene {scene.name} overlaps no other: its radiometry cannot be matched and stays as it is",
            scene=scene.name,
        )
        for position, scene in enumerate(scenes)
        if position not in paired
    )


def iter_z_order(height: int, width: int, edge: int) -> Iterator[Window]:
    """Windows of ``edge`` pixels that tile a raster, clipped to it, along a Z-order curve."""
    for row, col in _iter_places(math.ceil(height / edge), math.ceil(width / edge)):
        yield Window(
            row=row * edge,
            col=col * edge,
            height=min(edge, height - row * edge),
            width=min(edge, width - col * edge),
        )


def _iter_places(rows: int, cols: int) -> Iterator[tuple[int, int]]:
    """(row, column) along a Z-order curve, without listing them."""

    def visit(row: int, col: int, size: int) -> Iterator[tuple[int, int]]:
        if row >= rows or col >= cols:
            return
        if size == 1:
            yield row, col
            return
        half = size // 2
        for down, across in ((0, 0), (0, half), (half, 0), (half, half)):
            yield from visit(row + down, col + across, half)

    return visit(0, 0, 1 << (max(rows, cols) - 1).bit_length())


def _window_edge(scenes: Sequence[Scene], grid: Grid, dtype: str, config: Config) -> int:
    """The largest power-of-two number of blocks that fits the window size and the memory, at least one block, in pixels.

    Who asks for larger windows than the usual ones gets them, unless memory is set too.
    """
    shared = config.shared
    edge = BLOCK_EDGE << (max(shared.window_size // BLOCK_EDGE, 1).bit_length() - 1)
    if edge > CHUNK_EDGE and shared.memory == "auto":
        return edge
    return fit_window_edge(
        edge,
        BLOCK_EDGE,
        pixel=count_window_bytes(scenes, grid, dtype, config),
        setting=shared.memory,
        threads=resolve_threads(shared.tile_threads),
    )


def count_window_bytes(scenes: Sequence[Scene], grid: Grid, dtype: str, config: Config) -> int:
    """Bytes that a rendering task holds for each pixel: the result, its overviews, and one scene's pixels on their way."""
    source = max(np.dtype(scene.dtype).itemsize for scene in scenes)
    values = 2 * source + 3 * np.dtype(dtype).itemsize
    if any(compute_shift(scene.grid, grid) is None for scene in scenes):
        values += 2 * np.dtype(config.shared.calculation_dtype).itemsize  # corrected, then resampled
    return len(scenes[0].bands) * values + 24


def compute_digest(scenes: Sequence[Scene], config: Config, version: str, fingerprints: Mapping[str, str] | None = None) -> str:
    """SHA-256 of what decides the result: inputs, configuration and version, not threads, memory or folders.

    Parameters
    ----------
    fingerprints
        Digests of the user's own files, by parameter.
    """
    settings = decisive_settings(config)
    ordered = sorted(scenes, key=lambda scene: scene.name)
    inputs = [[scene.name, *_identify(scene), scene.priority if _order_matters(config) else 0] for scene in ordered]
    text = json.dumps([version, settings, inputs, dict(fingerprints or {})], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _identify(scene: Scene) -> list[Any]:
    """What decides a scene's pixels."""
    if not scene.parts:
        source = scene.source
        return [redact_url(source.href), source.size, source.fingerprint, source.band_indexes]
    parts = [
        [*_identify(part.raster), [[float(c.scale), float(c.offset)] for c in part.conversions], part.resampling]
        for part in scene.parts
    ]
    mask = scene.mask
    return [
        parts,
        None if mask is None else [*_identify(mask.raster), mask.invalid, mask.bits],
        [*map(float, scene.grid.transform)],
    ]


def _order_matters(config: Config) -> bool:
    """Whether scenes still overlap where they are merged, or files are named for them in input order."""
    sections = (config.global_regression, config.local_block_adjustment, config.align_rasters, config.mask_rasters)
    return (
        config.methods.clip_method is None
        or config.methods.seamline_method is None
        or config.mask_rasters.vector_mask is not None
        or config.mask_rasters.include_touched_pixels
        or any(isinstance(section.output_images, tuple) for section in sections)
    )
