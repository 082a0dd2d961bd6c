"""The first pass: every source pixel is read once, and what all later decisions need is summed.

A task is a chunk of the canvas, not a scene: there all scenes that meet it are at hand together, so a pair's common pixels are
known without reading either scene twice. Partial results are merged in the order of the plan.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from shapely import box

from processor.errors import InputError
from processor.geotiff.compose import Pixels
from processor.geotiff.reader import RasterReader
from processor.model import BlockGrid, Grid, Moments, Overlap, OverlapSamples, Window
from processor.mosaic.chunks import Chunk
from processor.mosaic.contribution import compute_area_mask, compute_scene_mask
from processor.mosaic.plan import Plan
from processor.stages.align.align_rasters import compute_shift
from processor.stages.align.coregistration import PairShift, WindowShifts, compute_window_shifts, merge_window_shifts
from processor.stages.align.warp import choose_lattice, compute_places
from processor.stages.block_sums import BlockSums, compute_block_sums, merge_block_sums
from processor.stages.check_cells import CellSums, merge_cell_sums
from processor.stages.clip.mask_rasters import compute_region_mask
from processor.stages.matching.matched_blocks import MatchedBlocks, coarsen, compute_matched_blocks, merge_matched_blocks
from processor.stages.matching.reference_blocks import STRIP, ReferencePixels, compute_reference_blocks
from processor.stages.measures import MatchedPairs, Measures, SceneMeasures
from processor.stages.method import Region
from processor.stages.scene_cells import sum_scene
from processor.stages.seamlines.footprint import compute_footprint
from processor.stages.statistics import compute_valid_moments, empty_moments, merge_moments

_MASK_EDGE = 2048  # cells on the longer side of a mask, at most
SAMPLES_A_PAIR: Final = 4096
"""Pixels of an overlap that the report compares, at most."""

_SAMPLES_A_RUN = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScenePart:
    """What a chunk says of one scene."""

    scene: int
    """Position of the scene in the plan."""
    moments: Moments
    """Moments of the pixels that count for the global statistics."""
    valid: Moments
    """Moments of all valid pixels in which every band has a value."""
    sums: BlockSums | None
    """Block sums of the pixels that count for the local adjustment; None where it needs none."""
    mask: NDArray[np.bool_]
    """Cells of the scene's footprint mask in the chunk, bool (rows, cols), True where a pixel is valid."""
    mask_row: int
    """Row of the upper left of those cells in the footprint mask."""
    mask_col: int
    """Column of the upper left of those cells in the footprint mask."""
    partial: int
    """Pixels in which some bands have a value and others do not."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairPart:
    """What a chunk says of a pair: moments of both over their common pixels, and samples of them."""

    pair: tuple[int, int]
    """Positions of both among scenes and then references, ascending: a scene's, and that of another or of a reference."""
    first: Moments
    """Moments of the first scene over the common pixels; empty against a reference, of which blocks alone are summed."""
    second: Moments
    """Moments of the second scene over the same pixels; ditto."""
    samples: OverlapSamples
    """Common pixels on the lattice of the report; ditto."""
    blocks: MatchedBlocks | None
    """Moments of their blocks; None where no method needs them."""
    shifts: WindowShifts | None = None
    """How far they lie beside one another; None where that is not asked for, or nothing here tells it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChunkMeasures:
    """The result of one measuring task."""

    number: int
    """Number of the chunk in the plan."""
    scenes: tuple[ScenePart, ...]
    """Measures of each scene that meets the chunk, in plan order."""
    pairs: tuple[PairPart, ...]
    """Measures of each pair that shares pixels in the chunk, in plan order."""
    union: int | None
    """Pixels of the mosaic's grid in the chunk that some scene has; None where it cannot be counted exactly."""
    cells: CellSums | None
    """Sums of all scenes over cells of the mosaic's lattice (:mod:`processor.stages.scene_cells`); None where there is none."""
    pixels: int
    """Number of pixels read, of all scenes."""


def mask_factor(grid: Grid) -> int:
    """Pixels of a grid on the edge of a cell of its mask, which has at most 2048 cells on its longer side."""
    return max(1, math.ceil(max(grid.width, grid.height) / _MASK_EDGE))


def mask_grid(grid: Grid) -> Grid:
    """The grid of a footprint's mask; a cell is set where any of its pixels is valid."""
    factor = mask_factor(grid)
    return Grid(
        crs=grid.crs,
        left=grid.left,
        top=grid.top,
        pixel_width=grid.pixel_width * factor,
        pixel_height=grid.pixel_height * factor,
        width=math.ceil(grid.width / factor),
        height=math.ceil(grid.height / factor),
    )


def measure_chunk(plan: Plan, reader: RasterReader, chunk: Chunk) -> ChunkMeasures:
    """Measure all scenes and pairs in a chunk of the canvas."""
    windows: dict[int, Window] = {}
    pixels: dict[int, Pixels] = {}
    counted: dict[int, Pixels] = {}
    for scene in chunk.scenes:
        window = plan.measure_grid(scene).window_of_centres(chunk.bounds)
        if not window.is_empty:
            windows[scene] = window
            pixels[scene] = reader.read(plan.scenes[scene], window, level=plan.levels[scene])
            counted[scene] = _restrict(plan, plan.methods.matching_global.region, scene, window, pixels[scene])
    scenes = tuple(_measure_scene(plan, scene, windows[scene], pixels[scene], counted[scene]) for scene in windows)
    pairs = [
        _measure_pair(plan, reader, (i, j), windows, counted)
        for i in chunk.scenes
        for j in chunk.scenes
        if i < j and i in windows and plan.scenes[i].grid.bounds.intersection(plan.scenes[j].grid.bounds) is not None
    ]
    pairs += [
        _measure_reference(plan, reader, (i, j), windows[i], counted[i])
        for j, reference in enumerate(plan.references)
        if "matched_blocks" in plan.needs and reference.bounds.intersection(chunk.bounds) is not None
        for i in windows
    ]
    return ChunkMeasures(
        number=chunk.number,
        scenes=scenes,
        pairs=tuple(pair for pair in pairs if pair is not None),
        union=_count_union(plan, chunk, windows, pixels),
        cells=_sum_cells(plan, windows, pixels),
        pixels=sum(window.height * window.width for window in windows.values()),
    )


def _sum_cells(plan: Plan, windows: dict[int, Window], pixels: dict[int, Pixels]) -> CellSums | None:
    """Sums of all scenes of a chunk over cells of the mosaic's lattice, in the part of it that they meet."""
    lattice = plan.lattice
    if lattice is None:
        return None
    summed = (
        sum_scene(pixels[scene].values, pixels[scene].complete, plan.measure_grid(scene), window, plan.grid, lattice)
        for scene, window in windows.items()
    )
    parts = [part for part in summed if part is not None]
    if not parts:
        return None
    row, col = min(part.row for part in parts), min(part.col for part in parts)
    height = max(part.row + part.count.shape[0] for part in parts) - row
    width = max(part.col + part.count.shape[1] for part in parts) - col
    moved = (replace(part, row=part.row - row, col=part.col - col) for part in parts)
    return replace(merge_cell_sums(moved, plan.bands, (height, width)), row=row, col=col)


def _restrict(plan: Plan, region: Region | None, scene: int, window: Window, pixels: Pixels) -> Pixels:
    """The pixels that count: valid only where every band has a value, and where a region allows them."""
    complete = pixels.complete
    if region is not None:
        allowed = compute_region_mask(region, plan.scenes[scene].name, plan.measure_grid(scene), window)
        complete = allowed if complete is None else allowed & complete
    return pixels if complete is pixels.valid else Pixels(values=pixels.values, valid=complete)


def _measure_scene(plan: Plan, scene: int, window: Window, pixels: Pixels, counted: Pixels) -> ScenePart:
    mask, row, col = reduce_mask(pixels.valid, window, mask_factor(plan.measure_grid(scene)))
    complete = pixels.complete
    valid = compute_valid_moments(pixels.values, complete)
    is_all = counted is pixels or (plan.methods.matching_global.region is None)
    return ScenePart(
        scene=scene,
        moments=valid if is_all else compute_valid_moments(counted.values, counted.valid),
        valid=valid,
        sums=None if plan.blocks is None else _sum_blocks(plan, scene, window, pixels, plan.blocks),
        mask=mask,
        mask_row=row,
        mask_col=col,
        partial=pixels.count_partial(),
    )


def _sum_blocks(plan: Plan, scene: int, window: Window, pixels: Pixels, blocks: BlockGrid) -> BlockSums | None:
    allowed = _restrict(plan, plan.methods.matching_local.region, scene, window, pixels)
    return compute_block_sums(allowed.values, allowed.valid, plan.measure_grid(scene), window, blocks)


def reduce_mask(valid: NDArray[np.bool_] | None, window: Window, factor: int) -> tuple[NDArray[np.bool_], int, int]:
    """Cells of a mask that a window touches, set where any pixel is valid, and the first one's row and column."""
    row, col = window.row // factor, window.col // factor
    if factor == 1:
        return (np.ones(window.shape, np.bool_) if valid is None else valid), row, col
    rows = np.maximum(np.arange(row * factor, window.row_end, factor) - window.row, 0)
    cols = np.maximum(np.arange(col * factor, window.col_end, factor) - window.col, 0)
    if valid is None:
        return np.ones((len(rows), len(cols)), np.bool_), row, col
    down = np.logical_or.reduceat(valid, rows, axis=0)
    return np.logical_or.reduceat(down, cols, axis=1), row, col


def _measure_pair(
    plan: Plan,
    reader: RasterReader,
    pair: tuple[int, int],
    windows: dict[int, Window],
    pixels: dict[int, Pixels],
) -> PairPart | None:
    """Both scenes over their common pixels in a chunk, the second sampled nearest-neighbour on the first one's grid."""
    first, second = pair
    grid, other = plan.measure_grid(first), plan.measure_grid(second)
    shared = grid.window_of_centres(other.bounds).intersection(windows[first])
    if shared is None:
        return None
    rows = _nearest(-grid.top, grid.pixel_height, shared.row, shared.height, -other.top, other.pixel_height, other.height)
    cols = _nearest(grid.left, grid.pixel_width, shared.col, shared.width, other.left, other.pixel_width, other.width)
    needed = Window(row=int(rows[0]), col=int(cols[0]), height=int(rows[-1] - rows[0]) + 1, width=int(cols[-1] - cols[0]) + 1)
    held = windows.get(second)
    if held is not None and needed.intersection(held) == needed:
        theirs = _cut(pixels[second], *needed.slices_in(held))
    else:
        read = reader.read(plan.scenes[second], needed, level=plan.levels[second])
        theirs = _restrict(plan, plan.methods.matching_global.region, second, needed, read)
    if needed.shape != shared.shape:
        theirs = _cut(theirs, *np.ix_(rows - rows[0], cols - cols[0]))
    ours = _cut(pixels[first], *shared.slices_in(windows[first]))
    valid = ours.valid if theirs.valid is None else theirs.valid if ours.valid is None else ours.valid & theirs.valid
    if valid is not None and not valid.any():
        return None
    return PairPart(
        pair=pair,
        first=compute_valid_moments(ours.values, valid),
        second=compute_valid_moments(theirs.values, valid),
        samples=_sample(grid, other, shared, ours.values, theirs.values, valid, len(plan.pairs)),
        blocks=_match_blocks(plan, pair, shared, (ours.values, theirs.values), valid),
        shifts=_find_shifts(plan, pair, shared, (rows, cols), (ours.values, theirs.values), valid),
    )


def _find_shifts(
    plan: Plan,
    pair: tuple[int, int],
    shared: Window,
    nearest: tuple[NDArray[np.intp], NDArray[np.intp]],
    values: tuple[NDArray[np.generic], NDArray[np.generic]],
    valid: NDArray[np.bool_] | None,
) -> WindowShifts | None:
    """How far a pair lies beside one another, in the windows of its overlap that are at hand."""
    if "shifts" not in plan.needs:
        return None
    grid, other = plan.measure_grid(pair[0]), plan.measure_grid(pair[1])
    own = shared.col + 0.5 * shared.width, shared.row + 0.5 * shared.height  # mean position of the pixels' centres
    right = other.left + (float(nearest[1].mean()) + 0.5) * other.pixel_width - grid.left - own[0] * grid.pixel_width
    up = other.top - (float(nearest[0].mean()) + 0.5) * other.pixel_height - grid.top + own[1] * grid.pixel_height
    return compute_window_shifts(
        (plan.find_name(pair[0]), plan.find_name(pair[1])),
        values,
        valid,
        (grid, shared, grid.window_of_centres(other.bounds)),
        (right, up),
        len(plan.pairs),
    )


def _match_blocks(
    plan: Plan,
    pair: tuple[int, int],
    shared: Window,
    values: tuple[NDArray[np.generic], NDArray[np.generic]],
    valid: NDArray[np.bool_] | None,
) -> MatchedBlocks | None:
    known = plan.methods.matching_global.known_blocks
    names = plan.find_name(pair[0]), plan.find_name(pair[1])
    if "matched_blocks" not in plan.needs or (known is not None and known.scenes >= set(names)):
        return None
    return compute_matched_blocks(names, values, valid, plan.measure_grid(pair[0]), shared, plan.grid, plan.fine_edge(pair))


def _measure_reference(
    plan: Plan, reader: RasterReader, pair: tuple[int, int], window: Window, pixels: Pixels
) -> PairPart | None:
    """A scene and a reference, by their numbers, over the scene's window; None where they share nothing."""
    number, reference = pair[0], plan.references[pair[1]]
    names, saved = (plan.scenes[number].name, reference.scene.name), plan.methods.matching_global.known_blocks
    if saved is not None and saved.scenes >= set(names):
        return None
    known, grid, size = reference.scene, plan.measure_grid(number), plan.reference_blocks(number, reference)
    shared = grid.window_touching(reference.bounds).intersection(window)
    if shared is None:
        return None
    step = choose_lattice(known.grid, grid)
    rows = max(1, STRIP // shared.width)
    parts = []
    for row in range(shared.row, shared.row_end, rows):
        strip = replace(shared, row=row, height=min(rows, shared.row_end - row))
        down, across = compute_places(known.grid, grid, strip, step)
        near = (down >= 0) & (down < known.grid.height) & (across >= 0) & (across < known.grid.width)
        if not near.any():
            continue
        places = tuple(np.where(near, place, -1.0).astype(np.intp) for place in (down, across))
        (top, bottom), (left, right) = ((int(place[near].min()), int(place[near].max()) + 1) for place in places)
        needed = Window(row=top, col=left, height=bottom - top, width=right - left)
        read = reader.read(known, needed)
        ours = _cut(pixels, *strip.slices_in(window))
        parts.append(
            compute_reference_blocks(
                names,
                ours.values,
                ours.valid,
                (places[0], places[1]),
                ReferencePixels(values=read.values, valid=read.complete, window=needed),
                size,
                (grid, strip, plan.grid),
            )
        )
    parts = [part for part in parts if len(part.count)]
    if not parts:
        return None
    nothing = np.empty((plan.bands, 0), np.float32)
    return PairPart(
        pair=(number, len(plan.scenes) + pair[1]),
        first=empty_moments(plan.bands),
        second=empty_moments(plan.bands),
        samples=OverlapSamples(x=np.empty(0), y=np.empty(0), first=nothing, second=nothing),
        blocks=merge_matched_blocks(parts),
    )


def _nearest(
    origin: float, step: float, start: int, count: int, other_origin: float, other_step: float, limit: int
) -> NDArray[np.intp]:
    """Index of the other grid's pixel under each pixel centre, along one axis, ascending."""
    centres = origin + (start + np.arange(count) + 0.5) * step
    index: NDArray[np.intp] = np.floor((centres - other_origin) / other_step).astype(np.intp)
    return index.clip(0, limit - 1)


def _cut(pixels: Pixels, rows: slice | NDArray[np.intp], cols: slice | NDArray[np.intp]) -> Pixels:
    return Pixels(values=pixels.values[:, rows, cols], valid=None if pixels.valid is None else pixels.valid[rows, cols])


def _sample(
    grid: Grid,
    other: Grid,
    shared: Window,
    ours: NDArray[np.generic],
    theirs: NDArray[np.generic],
    valid: NDArray[np.bool_] | None,
    pairs: int,
) -> OverlapSamples:
    """Common valid pixels on a lattice of the first scene's grid, spaced so that a pair yields a bounded number."""
    whole = grid.window_of_centres(other.bounds)
    wanted = min(SAMPLES_A_PAIR, max(64, _SAMPLES_A_RUN // max(pairs, 1)))
    stride = max(1, math.ceil(math.sqrt(whole.height * whole.width / wanted)))
    rows = np.arange(-shared.row % stride, shared.height, stride)
    cols = np.arange(-shared.col % stride, shared.width, stride)
    place = np.ix_(rows, cols)
    kept = np.ones((len(rows), len(cols)), np.bool_) if valid is None else valid[place]
    y = grid.top - (shared.row + rows + 0.5) * grid.pixel_height
    x = grid.left + (shared.col + cols + 0.5) * grid.pixel_width
    return OverlapSamples(
        x=np.broadcast_to(x, kept.shape)[kept],
        y=np.broadcast_to(y[:, None], kept.shape)[kept],
        first=ours[:, place[0], place[1]][:, kept].astype(np.float32),
        second=theirs[:, place[0], place[1]][:, kept].astype(np.float32),
    )


def _count_union(plan: Plan, chunk: Chunk, windows: dict[int, Window], pixels: dict[int, Pixels]) -> int | None:
    """Pixels of the mosaic's grid that some scene has and may give; None unless all are measured pixel for pixel on it."""
    if any(plan.levels[scene] is not None for scene in chunk.scenes):
        return None
    placed: list[tuple[Window, NDArray[np.bool_] | None]] = []
    for scene, window in windows.items():
        shift = compute_shift(plan.scenes[scene].grid, plan.grid)
        if shift is None:
            return None
        place = window.shifted(rows=-shift.rows, cols=-shift.cols)
        allowed, valid = compute_scene_mask(plan, scene, place), pixels[scene].valid
        placed.append((place, valid if allowed is None else allowed if valid is None else allowed & valid))
    if not placed:
        return 0
    row, col = min(w.row for w, _ in placed), min(w.col for w, _ in placed)
    outer = Window(
        row=row, col=col, height=max(w.row_end for w, _ in placed) - row, width=max(w.col_end for w, _ in placed) - col
    )
    union = np.zeros(outer.shape, np.bool_)
    for window, valid in placed:
        union[window.slices_in(outer)] |= True if valid is None else valid
    inside = compute_area_mask(plan, outer)
    return int(np.count_nonzero(union if inside is None else union & inside))


@dataclass(slots=True)
class _SceneMerge:
    """A scene while its chunks come in; of the masks, packed, an eighth is held until the scene is complete."""

    missing: int
    masks: list[tuple[int, int, tuple[int, int], NDArray[np.uint8]]] = field(default_factory=list)
    """Row, column, shape and bits of each chunk's part."""
    moments: list[Moments] = field(default_factory=list)
    valid: list[Moments] = field(default_factory=list)
    partial: int = 0
    sums: list[BlockSums] = field(default_factory=list)


def merge_chunks(plan: Plan, results: Iterable[ChunkMeasures]) -> Measures:
    """Merge the chunks' results, which must come in plan order; a scene's mask is dropped as soon as it is complete.

    Raises
    ------
    InputError
        If a scene has no valid pixel at all.
    """
    merging = [_SceneMerge(missing=0) for _ in plan.scenes]
    for chunk in plan.chunks:
        for scene in chunk.scenes:
            merging[scene].missing += 1
    done: dict[int, SceneMeasures] = {}
    pairs: dict[tuple[int, int], list[PairPart]] = {}
    union: int | None = 0
    cells: list[CellSums] = []
    for chunk, result in zip(plan.chunks, results, strict=True):
        union = None if union is None or result.union is None else union + result.union
        if result.cells is not None:
            cells.append(result.cells)
        for pair in result.pairs:
            pairs.setdefault(pair.pair, []).append(pair)
        for part in result.scenes:
            _add_part(merging[part.scene], part)
        for scene in chunk.scenes:
            merging[scene].missing -= 1
            if merging[scene].missing == 0:
                done[scene] = _finish_scene(plan, scene, merging[scene])
    empty = [plan.scenes[i].name for i, measures in sorted(done.items()) if measures.footprint.is_empty]
    if empty:
        msg = f"scene {', '.join(empty)}: no valid pixel; leave it out, or correct its nodata value or mask"
        raise InputError(msg)
    return Measures(
        scenes=tuple(done[i] for i in range(len(plan.scenes))),
        overlaps=tuple(_finish_pair(plan, pair, parts) for pair, parts in sorted(pairs.items()) if pair[1] < len(plan.scenes)),
        matched=_join_pairs(plan, pairs),
        shifts=_join_shifts(pairs),
        union=union,
        cells=None if plan.lattice is None else merge_cell_sums(cells, plan.bands, plan.lattice.shape),
    )


def _join_shifts(pairs: Mapping[tuple[int, int], list[PairPart]]) -> tuple[PairShift, ...]:
    """Displacements of the pairs that have enough windows."""
    measured = [[part.shifts for part in parts if part.shifts is not None] for _, parts in sorted(pairs.items())]
    merged = (merge_window_shifts(parts) for parts in measured if parts)
    return tuple(shift for shift in merged if shift is not None)


def _join_pairs(plan: Plan, pairs: Mapping[tuple[int, int], list[PairPart]]) -> MatchedPairs | None:
    """Blocks that are known, and those that were measured; None where no method needs them."""
    known = plan.methods.matching_global.known_blocks
    if known is None and "matched_blocks" not in plan.needs:
        return None
    bounds = {scene.name: scene.grid.bounds for scene in plan.scenes}
    bounds |= {reference.scene.name: reference.bounds for reference in plan.references}
    measured = {pair: [part.blocks for part in parts if part.blocks is not None] for pair, parts in sorted(pairs.items())}
    fine = {pair: merge_matched_blocks(parts) for pair, parts in measured.items() if parts}
    blocks = [_join_blocks(plan, pair, found) for pair, found in fine.items()]
    if known is not None:
        blocks += known.place(plan.grid, bounds)
    return MatchedPairs(
        canvas=plan.grid,
        bounds=bounds,
        references=tuple(reference.scene.name for reference in plan.references),
        reference_weight=plan.config.reference.weight,
        bands=plan.bands,
        held=plan.methods.matching_global.hold(tuple(scene.name for scene in plan.scenes)),
        known={name: one for name, one in plan.methods.matching_local.known_adjustments.items() if name in bounds},
        groups={scene.name: plan.methods.matching_local.find_group(scene.provenance.properties) for scene in plan.scenes},
        blocks=tuple(sorted(blocks, key=lambda pair: (pair.first, pair.second))),
        fine=tuple(fine.values()) if "fine_blocks" in plan.needs else (),
    )


def _join_blocks(plan: Plan, pair: tuple[int, int], blocks: MatchedBlocks) -> MatchedBlocks:
    """The blocks of a pair from those in which it was measured."""
    while pair[1] < len(plan.scenes) and blocks.edge < plan.block_edge(pair):
        blocks = coarsen(blocks)
    return blocks


def _add_part(merging: _SceneMerge, part: ScenePart) -> None:
    merging.moments.append(part.moments)
    merging.valid.append(part.valid)
    merging.partial += part.partial
    if part.sums is not None:
        merging.sums.append(part.sums)
    height, width = part.mask.shape
    merging.masks.append((part.mask_row, part.mask_col, (height, width), np.packbits(part.mask)))


def _join_masks(masks: Iterable[tuple[int, int, tuple[int, int], NDArray[np.uint8]]], grid: Grid) -> NDArray[np.bool_]:
    joined = np.zeros(grid.shape, np.bool_)
    for row, col, (height, width), bits in masks:
        mask = np.unpackbits(bits, count=height * width).view(np.bool_).reshape(height, width)
        joined[row : row + height, col : col + width] |= mask
    return joined


def _finish_scene(plan: Plan, scene: int, merging: _SceneMerge) -> SceneMeasures:
    grid = mask_grid(plan.measure_grid(scene))
    mask = _join_masks(merging.masks, grid)
    merging.masks.clear()
    return SceneMeasures(
        name=plan.scenes[scene].name,
        moments=merge_moments(merging.moments),
        valid=merge_moments(merging.valid),
        sums=None if plan.blocks is None else merge_block_sums(merging.sums, plan.bands),
        footprint=compute_footprint(mask, grid),
        partial=merging.partial,
    )


def _finish_pair(plan: Plan, pair: tuple[int, int], parts: list[PairPart]) -> Overlap:
    return Overlap(
        first=plan.scenes[pair[0]].name,
        second=plan.scenes[pair[1]].name,
        first_moments=merge_moments(part.first for part in parts),
        second_moments=merge_moments(part.second for part in parts),
        samples=OverlapSamples(
            x=np.concatenate([part.samples.x for part in parts]),
            y=np.concatenate([part.samples.y for part in parts]),
            first=np.concatenate([part.samples.first for part in parts], axis=1),
            second=np.concatenate([part.samples.second for part in parts], axis=1),
        ),
    )


def assume_measures(plan: Plan) -> Measures:
    """What stands for the first pass where nothing has to be read: the statistics given, and whole bounds as footprints."""
    unknown = empty_moments(plan.bands)
    whole, known = plan.methods.matching_global.recall()
    names = {scene.name for scene in plan.scenes}
    return Measures(
        scenes=tuple(
            SceneMeasures(
                name=scene.name,
                moments=whole.get(scene.name, unknown),
                valid=whole.get(scene.name, unknown),
                sums=None,
                footprint=box(*scene.grid.bounds.as_tuple()),
            )
            for scene in plan.scenes
        ),
        overlaps=tuple(o for o in known if o.first in names and o.second in names),
        matched=_join_pairs(plan, {}),
        union=None,
        cells=None,
    )


def measure_blocks(plan: Plan, reader: RasterReader, blocks: BlockGrid, chunk: Chunk) -> tuple[tuple[int, BlockSums], ...]:
    """Block sums of a chunk alone, for a canvas whose number of blocks hangs on the statistics ("coefficient_of_variation")."""
    found = []
    for scene in chunk.scenes:
        window = plan.measure_grid(scene).window_of_centres(chunk.bounds)
        if window.is_empty:
            continue
        pixels = reader.read(plan.scenes[scene], window, level=plan.levels[scene])
        sums = _sum_blocks(plan, scene, window, pixels, blocks)
        if sums is not None:
            found.append((scene, sums))
    return tuple(found)


def merge_block_chunks(plan: Plan, results: Iterable[tuple[tuple[int, BlockSums], ...]]) -> tuple[BlockSums, ...]:
    """Block sums of every scene, in plan order, from the chunks' results in plan order."""
    parts: list[list[BlockSums]] = [[] for _ in plan.scenes]
    for result in results:
        for scene, sums in result:
            parts[scene].append(sums)
    return tuple(merge_block_sums(part, plan.bands) for part in parts)
