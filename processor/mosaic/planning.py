"""What a run will do, decided from the scenes' descriptions and the configuration alone.

Scenes are in name order throughout, so that the order of the input changes nothing; it matters only as priority, where scenes
still overlap after clipping.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
from rasterio.crs import CRS
from shapely import STRtree, box

from processor.config import Config
from processor.config.methods import Methods, choose_methods
from processor.errors import ConfigError, InputError
from processor.geotiff.open import level_grid
from processor.model import BlockGrid, Bounds, Grid, Scene
from processor.model.bands import find_label
from processor.mosaic.budget import count_depth, count_observation_bytes, count_window_bytes, fit_window_edge
from processor.mosaic.chunks import CHUNK_EDGE, plan_chunks
from processor.mosaic.plan import BLOCK_EDGE, Check, Plan, Reference
from processor.mosaic.plan_findings import judge_grid, judge_network
from processor.process.threads import resolve_threads
from processor.scenes.checks import CHECK_PREFIX, place_check
from processor.scenes.references import REFERENCE_PREFIX, place_reference
from processor.scenes.unify import name_crs
from processor.scenes.user_files import UserFiles
from processor.stages.align.align_rasters import choose_target
from processor.stages.merge.blending import MOST_PIXELS
from processor.stages.merge.merge_rasters import choose_nodata
from processor.stages.merge.method import LayerMethod, StackMethod

_ESTIMATE_EDGE = 1000  # pixels on a scene's longer side that are enough for an estimate
_ESTIMATE_BLOCK = 8  # pixels on a block's edge that are enough for its mean
_SMALL_CANVAS = 2**34  # pixels up to which a canvas may be as empty as it likes
_MAX_EMPTINESS = 10_000  # times the pixels of all scenes together that a larger canvas may have


def plan_run(
    scenes: Sequence[Scene],
    config: Config,
    files: UserFiles | None = None,
    references: Sequence[Scene] = (),
    checks: Sequence[Scene] = (),
) -> Plan:
    """Plan a run.

    Parameters
    ----------
    scenes
        Opened, in any order.
    config
        The configuration.
    files
        What the user's own files say; default: nothing.
    references
        As :func:`processor.scenes.references.unify_references` gives them.
    checks
        As :func:`processor.scenes.checks.read_checks` gives them.

    Raises
    ------
    InputError
        If the scenes cannot make one mosaic: they differ in CRS or in number of bands.
    ConfigError
        If the stages that are on make no sense together.
    """
    methods = choose_methods(config, files.contents if files is not None else None)
    clip = methods.clip
    if clip.is_on and not methods.seamlines.is_on and not clip.has_region:
        msg = (
            f"methods.clip_method = {clip.name!r} has nothing to cut by: switch methods.seamline_method on, give "
            f"{clip.name}.vector_mask, or switch methods.clip_method off (null)"
        )
        raise ConfigError(msg)
    if methods.matching_local.solves_gains and methods.matching_global.is_on:
        msg = (
            f"{methods.matching_local.name}.illumination solves for the gains of the scenes itself: set "
            "methods.matching_global_method to null, or use --preset aerial"
        )
        raise ConfigError(msg)
    if not methods.names:
        msg = "methods: every stage is off, so there is nothing to do; switch at least one on"
        raise ConfigError(msg)
    ordered = tuple(sorted(scenes, key=lambda scene: scene.name))
    _check_alike(ordered)
    names = tuple(scene.name for scene in ordered)
    needs = methods.list_needs(names)
    known = methods.matching_global.known_blocks
    if known is not None and known.scenes >= {*names, *(reference.name for reference in references)}:
        needs -= {"matched_blocks"}
    elif references and "matched_blocks" not in needs:
        msg = "reference.images: the methods that are chosen match to no reference; choose --preset satellite or aerial"
        raise ConfigError(msg)
    if checks and not methods.merge.is_on:
        msg = "check.images: there is no mosaic to judge; switch methods.merge_method on, or leave the check out"
        raise ConfigError(msg)
    methods.matching_global.check(names)
    if references and methods.matching_global.hold(names):
        msg = (
            f"{methods.matching_global.name}.specify_model_images and reference.images both say what keeps its radiometry, in "
            "units that may differ: give one of them"
        )
        raise ConfigError(msg)
    canvas = reduce(Bounds.union, (scene.grid.bounds for scene in ordered))
    dtype = config.shared.output_dtype or str(
        np.result_type(*(scene.stored_dtype or scene.dtype for scene in references or ordered))
    )
    blocks = methods.matching_local.plan_blocks(canvas, len(ordered))
    levels = tuple(_choose_level(scene, blocks, methods) for scene in ordered)
    pairs = _find_pairs(ordered)
    grid = choose_target(
        [scene.grid for scene in ordered],
        canvas,
        ordered[0].grid.crs,
        resolution=methods.resolution,
        tap=methods.align.tap,
    )
    nodata = config.shared.custom_nodata_value
    if nodata is None:
        nodata = next((scene.source.nodata for scene in ordered if scene.source.nodata is not None), None)
    _check_blend(methods, grid)
    grids = [level_grid(scene, level) for scene, level in zip(ordered, levels, strict=True)]
    _check_size(ordered, canvas, grid, grids, config.output.max_pixels)
    placed = _place_references(references, ordered, grid, grids)
    return Plan(
        config=config,
        methods=methods,
        scenes=ordered,
        references=placed,
        checks=_place_checks(checks, grid),
        grid=grid,
        dtype=dtype,
        nodata=choose_nodata(nodata, dtype),
        levels=levels,
        needs=needs,
        blocks=blocks,
        pairs=pairs,
        chunks=plan_chunks(grids, canvas),
        window_edge=_window_edge(ordered, grid, dtype, methods, config),
        findings=(*judge_network(ordered, placed, pairs, methods), *judge_grid(ordered, grid, methods)),
    )


def _place_references(
    references: Sequence[Scene], scenes: Sequence[Scene], grid: Grid, measured: Sequence[Grid]
) -> tuple[Reference, ...]:
    """Find the references' parts that meet the mosaic; those that lie beside all scenes are left out.

    Raises
    ------
    InputError
        None meets a scene.
    """
    coarsest = max(own.pixel_width for own in measured) / grid.pixel_width
    tree = STRtree([box(*scene.grid.bounds.as_tuple()) for scene in scenes])
    found = []
    for reference in references:
        place = place_reference(reference, grid, coarsest)
        met = 0 if place is None else len(tree.query(box(*place.bounds.as_tuple())))
        if place is not None and met:
            found.append(Reference(scene=place.scene, bounds=place.bounds, pixel=place.pixel, scenes=met))
    if references and not found:
        msg = f"reference {references[0].name.removeprefix(REFERENCE_PREFIX)} lies beside all scenes; give one of their ground"
        raise InputError(msg)
    return tuple(found)


def _place_checks(checks: Sequence[Scene], grid: Grid) -> tuple[Check, ...]:
    """Put the checks on the mosaic's lattice; those that lie beside it are left out.

    Raises
    ------
    InputError
        None meets the mosaic.
    """
    placed = (place_check(check, grid) for check in checks)
    found = tuple(Check(scene=place[0], edge=place[1], joined=place[2]) for place in placed if place is not None)
    if checks and not found:
        msg = f"check {checks[0].name.removeprefix(CHECK_PREFIX)} lies beside the mosaic; give one of its ground"
        raise InputError(msg)
    return found


def _check_alike(scenes: tuple[Scene, ...]) -> None:
    first = scenes[0]
    crs = CRS.from_wkt(first.grid.crs)
    for scene in scenes[1:]:
        if scene.grid.crs != first.grid.crs and CRS.from_wkt(scene.grid.crs) != crs:
            msg = (
                f"scene {scene.name} is in {name_crs(scene.grid.crs)} and scene {first.name} in {name_crs(first.grid.crs)}; "
                "warp the scenes to one CRS first, e.g. with gdalwarp"
            )
            raise InputError(msg)
        if len(scene.bands) != len(first.bands):
            msg = (
                f"scene {scene.name} has {len(scene.bands)} bands and scene {first.name} has {len(first.bands)}; "
                f"{_propose_bands(scene, first)}"
            )
            raise InputError(msg)


def _propose_bands(scene: Scene, other: Scene) -> str:
    """What to do about scenes with different numbers of bands."""
    known = {find_label(band) or band.name for band in other.bands}
    shared = [label for band in scene.bands if (label := find_label(band) or band.name) in known]
    if shared and len({*shared}) == len(shared):
        return f"choose bands that both have, --inputs.bands {','.join(shared)}"
    if scene.source.asset is None:
        return "choose as many of each by number, as with --inputs.bands 1,2,3, or leave one out"
    return "choose an asset with the same bands in every Item (--inputs.asset), or leave one out"


def _check_blend(methods: Methods, grid: Grid) -> None:
    width = methods.merge.blend if isinstance(methods.merge, LayerMethod) else 0.0
    most = MOST_PIXELS * min(grid.pixel_width, grid.pixel_height)
    if width > most:
        msg = (
            f"{methods.merge.name}.blend = {width:g} is more than {MOST_PIXELS} pixels of the mosaic, which are {most:g} CRS "
            "units: give less; 16 to 30 pixels hide what there is to hide"
        )
        raise ConfigError(msg)


def _check_size(scenes: tuple[Scene, ...], canvas: Bounds, grid: Grid, measured: Sequence[Grid], most: int) -> None:
    """Refuse a mosaic that nobody means: mostly, one scene's georeferencing is wrong and it lies far from the others.

    Tasks are listed in memory, so that there is a limit in any case.
    """
    width = min(grid.pixel_width, *(g.pixel_width for g in measured))
    height = min(grid.pixel_height, *(g.pixel_height for g in measured))
    pixels = canvas.width / width * canvas.height / height
    covered = sum(g.bounds.width / width * g.bounds.height / height for g in measured)
    if pixels <= most and pixels <= max(_SMALL_CANVAS, _MAX_EMPTINESS * covered):
        return
    centres = np.array([((b.left + b.right) / 2, (b.bottom + b.top) / 2) for b in (scene.grid.bounds for scene in scenes)])
    farthest = scenes[int(np.argmax(np.abs(centres - np.median(centres, axis=0)).max(axis=1)))]
    msg = (
        f"the scenes span {canvas.width / width:.0f} x {canvas.height / height:.0f} pixels and cover 1 of "
        f"{pixels / covered:.0f} of them, where {most} in all (--output.max_pixels) and 1 of {_MAX_EMPTINESS} are the "
        f"limits; scene {farthest.name} lies farthest from the others, at {farthest.grid.bounds.as_tuple()}: check where "
        "it lies and its pixel size, leave it out, or raise the limit"
    )
    raise InputError(msg)


def _choose_level(scene: Scene, blocks: BlockGrid | None, methods: Methods) -> int | None:
    """The coarsest overview that still suffices, or None: full resolution."""
    if not methods.matching_global.estimates or methods.align.coregister is True:
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


def _window_edge(scenes: Sequence[Scene], grid: Grid, dtype: str, methods: Methods, config: Config) -> int:
    """The largest power-of-two number of blocks that fits the window size and the memory, at least one block, in pixels.

    Who asks for larger windows than the usual ones gets them, unless memory is set too.
    """
    shared = config.shared
    edge = BLOCK_EDGE << (max(shared.window_size // BLOCK_EDGE, 1).bit_length() - 1)
    if edge > CHUNK_EDGE and shared.memory == "auto":
        return edge
    pixel = count_window_bytes(scenes, grid, dtype, methods, config)
    if isinstance(methods.merge, StackMethod):
        pixel += count_depth(scenes, grid, edge) * count_observation_bytes(len(scenes[0].bands), dtype)
    return fit_window_edge(
        edge,
        BLOCK_EDGE,
        pixel=pixel,
        setting=shared.memory,
        threads=resolve_threads(shared.tile_threads),
    )
