"""The second pass: for each window of the mosaic, read, adjust, correct, align, clip and merge, once.

What a pixel becomes does not depend on the window it is computed in, nor on the order of the windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import scipy
from numpy.typing import NDArray
from shapely import Geometry, STRtree, box, prepare

from processor.geotiff.reader import RasterReader
from processor.model import Moments, Window
from processor.model.bands import choose_shown
from processor.model.z_order import iter_z_order
from processor.mosaic.close_ups import CloseUpPixels, take_close_ups
from processor.mosaic.contribution import burn_owners, burn_touched, compute_area_mask, compute_scene_mask
from processor.mosaic.measure import mask_factor, reduce_mask
from processor.mosaic.plan import BLOCK_EDGE, Plan
from processor.mosaic.scene_pipeline import make_pipelines
from processor.mosaic.solve import Solution
from processor.mosaic.stack import combine_scenes
from processor.stages.align.coregistration import move_footprint
from processor.stages.check_cells import CellSums, sum_cells
from processor.stages.measures import Measures
from processor.stages.merge.blending import BLEND_EDGE, BlendRule, compute_blend, compute_shares, find_surroundings
from processor.stages.merge.merge_rasters import apply_dtype
from processor.stages.merge.method import LayerMethod, MergeMethod, StackMethod
from processor.stages.scene_cells import sum_mosaic
from processor.stages.seam_blocks import count_seam_blocks, merge_seam_blocks
from processor.stages.seam_steps import SeamSteps, find_seams, sum_seam_steps
from processor.stages.statistics import compute_valid_moments

_FILL_REACH: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RenderStatistics:
    """Sums over a part of the mosaic; those of all parts together do not depend on how it was cut."""

    moments: tuple[tuple[tuple[int, int], Moments], ...]
    """Of the valid pixels of each block, with the block's (row, column)."""
    steps: tuple[tuple[tuple[int, int], SeamSteps], ...]
    """Steps across seams and beside them, of each block that has a seam, with the block's (row, column)."""
    seam_blocks: NDArray[np.int64]
    """Matched blocks that seams pass through (:func:`processor.stages.seam_blocks.count_seam_blocks`), int64 (5, n)."""
    cells: tuple[tuple[tuple[int, int], int, CellSums], ...]
    """Sums over cells of checks in each block, with the block's (row, column) and the check's position in the plan."""
    means: tuple[tuple[tuple[int, int], CellSums], ...]
    """Sums over cells of the mosaic's lattice (:mod:`processor.stages.scene_cells`) in each block, with its (row, column)."""
    scenes: NDArray[np.int64]
    """Scene indexes that occur, int64 (n,), ascending, 0 for nodata."""
    counts: NDArray[np.int64]
    """Number of pixels of each of them, int64 (n,); in a stack a pixel is of several."""
    close_ups: tuple[CloseUpPixels, ...]
    """Of those close-ups that lie in the part."""
    filled: int
    """Pixels whose cell's owner has none there."""
    mask: NDArray[np.bool_]
    """Cells of the mosaic's mask (:func:`processor.mosaic.measure.mask_grid`) in the part, bool (rows, cols)."""
    mask_row: int
    """Row of the upper left of those cells in the mosaic's mask."""
    mask_col: int
    """Column of the upper left of those cells in the mosaic's mask."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RenderedWindow:
    """A finished window of the mosaic."""

    window: Window
    """Where it lies in the mosaic."""
    values: NDArray[np.generic]
    """(bands, height, width) in the mosaic's dtype, nodata where no scene has a pixel."""
    index: NDArray[np.unsignedinteger]
    """(height, width) uint8 or uint16: position of the pixel's scene in the plan plus 1, or of how many it is made; 0: none."""
    statistics: RenderStatistics
    """What was counted in it."""

    def without_pixels(self) -> RenderedWindow:
        """The same without values and index, once these are stored."""
        return replace(self, values=np.empty((0, 0, 0), self.values.dtype), index=np.empty((0, 0), self.index.dtype))


def _find_known_edges(plan: Plan) -> dict[tuple[int, int], int]:
    """Edges of the matched blocks of pairs of scenes, by their positions, known without measuring; at least a pixel."""
    known = plan.methods.matching_global.known_blocks
    positions = {scene.name: position for position, scene in enumerate(plan.scenes)}
    pairs = () if known is None else (one for one in known.blocks if {one.first, one.second} <= positions.keys())
    return {(positions[one.first], positions[one.second]): max(1, round(one.edge)) for one in pairs}


class Renderer:
    """Renders windows of the mosaic, from any thread.

    Parameters
    ----------
    plan, measures, solution
        What was decided.
    reader
        Where pixels come from.
    """

    def __init__(self, plan: Plan, measures: Measures, solution: Solution, reader: RasterReader) -> None:
        self._plan = plan
        self._scenes = make_pipelines(plan, solution, reader)
        self._boxes = STRtree([box(*scene.placed.bounds.as_tuple()) for scene in self._scenes])
        self._cells: list[Geometry] = []
        if plan.methods.cuts_by_cells and solution.seamlines is not None:
            self._cells = [cell.polygon for cell in solution.seamlines.cells]
            for polygon in self._cells:
                prepare(polygon)
        self._cell_tree = STRtree(self._cells) if self._cells else None
        self._footprints = [
            move_footprint(scene.footprint, solution.coregistration, position) for position, scene in enumerate(measures.scenes)
        ]
        # Footprints from full-resolution masks hold every valid pixel; from overviews they may not.
        self._trusted = all(level is None for level in plan.levels) and measures.union is not None
        self._by_band = plan.bands > 1 and any(scene.band_rule == "band" for scene in plan.scenes)
        self._pairs = frozenset(plan.pairs if "matched_blocks" in plan.needs else ())
        self._lattice = plan.lattice
        self._blend = plan.blend
        self._close_ups = solution.close_ups
        self._shown = list(choose_shown(plan.describe_bands())[0])
        self._places = solution.seamlines.places if solution.seamlines is not None else ()
        self._known_edges = _find_known_edges(plan)
        self._checked = [plan.grid.window_touching(check.scene.grid.bounds) for check in plan.checks]
        self.index_dtype: type[np.unsignedinteger] = np.uint8 if len(plan.scenes) < 2**8 else np.uint16

    def render(self, window: Window) -> RenderedWindow:
        """Render a window of the mosaic's grid."""
        plan = self._plan
        values, index, scenes, counts, filled = self._compose(window)
        # Block by block, so that merging does not depend on the windows.
        counted = self._find_complete(values, index)
        moments, steps, seam_blocks, cells, means = [], [], [], [], []
        for part in iter_z_order(window.height, window.width, BLOCK_EDGE):
            block = part.shifted(rows=window.row, cols=window.col)
            rows, cols = block.slices_in(window)
            place = block.row // BLOCK_EDGE, block.col // BLOCK_EDGE
            moments.append((place, compute_valid_moments(values[:, rows, cols], counted[rows, cols])))
            scenes_here = np.where(counted[rows, cols], index[rows, cols], index.dtype.type(0))
            if plan.is_stack:  # of no scene more than of another, and without a seam
                np.minimum(scenes_here, 1, out=scenes_here)
            if self._lattice is not None:
                kept = sum_mosaic(values[:, rows, cols], scenes_here, (block.row, block.col), self._lattice)
                if kept is not None:
                    means.append((place, kept))
            seams = find_seams(scenes_here)
            if seams is not None:
                steps.append((place, sum_seam_steps(values[:, rows, cols], scenes_here, seams)))
                if self._pairs or self._known_edges:
                    seam_blocks.append(count_seam_blocks(scenes_here, seams, (block.row, block.col), self._find_edge))
            for number, check in enumerate(plan.checks):
                if block.intersection(self._checked[number]) is not None:
                    summed = sum_cells(values[:, rows, cols], counted[rows, cols], (block.row, block.col), check.cell)
                    cells.append((place, number, summed))
        valid = index > 0
        mask, mask_row, mask_col = reduce_mask(None if valid.all() else valid, window, mask_factor(plan.grid))
        return RenderedWindow(
            window=window,
            values=values,
            index=index,
            statistics=RenderStatistics(
                moments=tuple(moments),
                steps=tuple(steps),
                seam_blocks=merge_seam_blocks(seam_blocks),
                scenes=scenes,
                counts=counts,
                filled=filled,
                close_ups=tuple(self._take_close_ups(values, index, window)),
                cells=tuple(cells),
                means=tuple(means),
                mask=mask,
                mask_row=mask_row,
                mask_col=mask_col,
            ),
        )

    def _take_close_ups(
        self, values: NDArray[np.generic], index: NDArray[np.unsignedinteger], window: Window
    ) -> Iterator[CloseUpPixels]:
        """Pixels of the close-ups in a window, and what the scenes had there as they came."""
        for number, close_up in take_close_ups(self._close_ups, window):
            rows, cols = close_up.window.slices_in(window)
            owners = index[rows, cols]
            after = values[:, rows, cols][self._shown].copy()
            before = np.full(after.shape, self._plan.nodata, after.dtype)
            for owner in np.unique(owners[owners > 0]).tolist():
                raw = replace(self._scenes[owner - 1], adjustment=None, correction=None)
                layer = raw.read_aligned(self._plan.grid, close_up.window)
                if layer is not None:
                    down, across = layer.window.slices_in(close_up.window)
                    taken = layer.valid & (owners[down, across] == owner)
                    np.copyto(before[:, down, across], layer.values[self._shown], where=taken)
            yield CloseUpPixels(number=number, before=before, after=after, index=owners.copy())

    def _compose(
        self, window: Window
    ) -> tuple[NDArray[np.generic], NDArray[np.unsignedinteger], NDArray[np.int64], NDArray[np.int64], int]:
        """Pixels of a window and their index; the scenes that occur, and how often; and how many pixels the owners lack."""
        plan = self._plan
        frame = window if self._blend is None else window.grown(self._blend.reach).intersection(plan.grid.window) or window
        values = np.full((plan.bands, *frame.shape), plan.nodata, np.dtype(plan.dtype))
        index = np.zeros(frame.shape, self.index_dtype)
        if isinstance(plan.methods.merge, StackMethod):
            scenes, counts = self._combine(plan.methods.merge, values, index, window)
            return values, index, scenes, counts, 0
        filled = self._cover(plan.methods.merge, values, index, frame, window)
        around = index
        down, across = window.slices_in(frame)
        values, index = values[:, down, across], index[down, across]
        if self._blend is not None:
            self._blend_seams(self._blend, values, around, window, frame)
        counts = np.bincount(index.ravel()).astype(np.int64)
        scenes = np.flatnonzero(counts).astype(np.int64)
        return values, index, scenes, counts[scenes], filled

    def _combine(
        self, method: StackMethod[Any], values: NDArray[np.generic], index: NDArray[np.unsignedinteger], window: Window
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Make the window of all scenes, the index of their number; which scenes gave pixels (0: no one), and how many."""
        near = self._near(window)
        given = combine_scenes(self._plan, method, self._scenes, near, window, values, index)
        scenes = np.array([0, *(position + 1 for position in near)], np.int64)
        counts = np.array([np.count_nonzero(index == 0), *given], np.int64)
        return scenes[counts > 0], counts[counts > 0]

    def _blend_seams(
        self,
        rule: BlendRule,
        values: NDArray[np.generic],
        around: NDArray[np.unsignedinteger],
        window: Window,
        frame: Window,
    ) -> None:
        """Blend a window along its seams, in place, block by block, so that nothing hangs on the window.

        ``around`` is the index of the frame: of the window and what is within reach of it.
        """
        grid = self._plan.grid
        for part in iter_z_order(window.height, window.width, BLEND_EDGE):
            block = part.shifted(rows=window.row, cols=window.col)
            padded = block.grown(rule.reach).intersection(grid.window) or block
            rows, cols = padded.slices_in(frame)
            chosen = find_surroundings(around[rows, cols], rule)
            if chosen is None:
                continue
            near = Window(
                row=padded.row + chosen[0].start,
                col=padded.col + chosen[1].start,
                height=chosen[0].stop - chosen[0].start,
                width=chosen[1].stop - chosen[1].start,
            )
            shared = near.intersection(block)
            if shared is None:
                continue
            index = around[near.slices_in(frame)]
            layers, valid = self._read_layers(np.unique(index[index > 0]).tolist(), near)
            shares = compute_shares(index, valid, rule)
            if shares is None:
                continue
            changed, blended = compute_blend(index, layers, valid, shares, rule)
            down, across = shared.slices_in(near)
            rounded = np.empty((len(blended), *shared.shape), values.dtype)
            apply_dtype(blended[:, down, across], self._plan.dtype, self._plan.nodata, out=rounded)
            np.copyto(values[:, *shared.slices_in(window)], rounded, where=changed[down, across])

    def _read_layers(
        self, numbers: Sequence[int], window: Window
    ) -> tuple[dict[int, NDArray[np.generic]], dict[int, NDArray[np.bool_]]]:
        """Pixels of scenes over a whole window, by their numbers in the index, and where each may give them in all bands."""
        plan, layers, valid = self._plan, {}, {}
        nodata = np.dtype(plan.dtype).type(plan.nodata)
        for number in numbers:
            values, may = np.zeros((plan.bands, *window.shape), np.dtype(plan.dtype)), np.zeros(window.shape, np.bool_)
            layer = self._scenes[number - 1].read_aligned(plan.grid, window)
            if layer is not None:
                rows, cols = layer.window.slices_in(window)
                values[:, rows, cols], may[rows, cols] = layer.values, layer.valid
            allowed = compute_scene_mask(plan, number - 1, window)
            if allowed is not None:
                may &= allowed
            if self._by_band:
                may &= (~np.isnan(values) if np.isnan(nodata) else values != nodata).all(axis=0)
            layers[number], valid[number] = values, may
        return layers, valid

    def _cover(
        self,
        method: MergeMethod[Any],
        values: NDArray[np.generic],
        index: NDArray[np.unsignedinteger],
        window: Window,
        inner: Window,
    ) -> int:
        """Lay the scenes over the window; how many pixels of a part of it their cells' owners have not."""
        if not isinstance(method, LayerMethod):
            msg = f"{method.name} makes no mosaic"
            raise TypeError(msg)
        for position, mask in self._iter_masks(window):
            if mask is None or mask.any():
                self._lay(method, values, index, window, position, mask)
        is_cut = self._cell_tree is not None and not self._plan.methods.clip.has_region
        return self._fill(method, values, index, window, inner) if is_cut else 0

    def _find_complete(self, values: NDArray[np.generic], index: NDArray[np.unsignedinteger]) -> NDArray[np.bool_]:
        """Pixels that every band has: all that a scene gave, unless a scene may give some bands of a pixel."""
        valid = index > 0
        if self._by_band:
            nodata = values.dtype.type(self._plan.nodata)
            valid &= (~np.isnan(values) if np.isnan(nodata) else values != nodata).all(axis=0)
        return valid

    def _find_edge(self, first: int, second: int) -> int | None:
        """Edge of the matched blocks of two scenes, by their indexes; None where they have none."""
        pair = first - 1, second - 1
        if pair in self._known_edges:
            return self._known_edges[pair]
        return self._plan.block_edge(pair) if pair in self._pairs else None

    def _near(self, window: Window) -> list[int]:
        """Positions of the scenes whose bounds meet a window, in name order."""
        bounds = self._plan.grid.window_bounds(window)
        return sorted(int(i) for i in self._boxes.query(box(*bounds.as_tuple())))

    def _iter_masks(self, window: Window) -> Iterator[tuple[int, NDArray[np.bool_] | None]]:
        """Scenes in the order in which they are laid over one another, with the pixels that each gives; None: all of them.

        Where pixels have an owner that order does not matter; elsewhere the scene that comes later in the input is on top.
        """
        clip, grid = self._plan.methods.clip, self._plan.grid
        outline = box(*grid.window_bounds(window).as_tuple())
        tree = None if clip.has_region else self._cell_tree
        near = self._near(window) if tree is None else sorted(map(int, tree.query(outline, predicate="intersects")))
        by_priority = sorted(near, key=lambda position: self._plan.scenes[position].priority)
        if clip.has_region:
            yield from ((position, compute_scene_mask(self._plan, position, window)) for position in by_priority)
        elif tree is None:
            yield from ((position, None) for position in by_priority)
        elif clip.keeps_touched:
            yield from ((position, burn_touched(grid, self._cells[position], window)) for position in by_priority)
        elif len(near) == 1 and self._cells[near[0]].covers(outline):
            yield near[0], None
        else:
            owners = burn_owners(grid, {position: self._cells[position] for position in near}, window)
            yield from ((position, owners == position + 1) for position in near)

    def _fill(
        self,
        method: LayerMethod[Any],
        values: NDArray[np.generic],
        index: NDArray[np.unsignedinteger],
        window: Window,
        inner: Window,
    ) -> int:
        """Where a cell's owner has no pixel, take another scene's: the first in name order, or the best by rank, that has one.

        Of equal ones by rank that is the one whose pixel is farthest from where it has none, as far as 64 pixels.
        """
        inside = compute_area_mask(self._plan, window)
        missing = index == 0 if inside is None else (index == 0) & inside
        before = int(np.count_nonzero(index[inner.slices_in(window)]))
        near = self._near(window) if missing.any() else []
        ranked = [self._places[position] for position in near] if self._places else list(range(len(near)))
        for place in sorted(set(ranked)):
            equal = [position for position, own in zip(near, ranked, strict=True) if own == place]
            for position, chosen in self._choose_fill(equal, missing, window):
                self._lay(method, values, index, window, position, chosen)
                missing &= index == 0
            if not missing.any():
                break
        return int(np.count_nonzero(index[inner.slices_in(window)])) - before

    def _choose_fill(
        self, positions: Sequence[int], missing: NDArray[np.bool_], window: Window
    ) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        """Which of the missing pixels each scene may fill; of several scenes, the one that has most around a pixel."""
        if len(positions) == 1:
            chosen = self._find_fillable(positions[0], missing, window)
            if chosen.any():
                yield positions[0], chosen
            return
        deepest, best = np.zeros(window.shape, np.float32), np.full(window.shape, -1, np.intp)
        for position in positions:  # the first in name order of equal ones; one at a time, because stacks are deep
            depth = self._measure_depth(position, missing, window)
            best[depth > deepest] = position
            np.maximum(deepest, depth, out=deepest)
        for position in positions:
            chosen = missing & (best == position)
            if chosen.any():
                yield position, chosen

    def _find_fillable(self, position: int, missing: NDArray[np.bool_], window: Window) -> NDArray[np.bool_]:
        """The missing pixels that a scene may give and that may be its own."""
        allowed = compute_scene_mask(self._plan, position, window)
        chosen = missing.copy() if allowed is None else missing & allowed
        if self._trusted:
            chosen &= burn_touched(self._plan.grid, self._footprints[position], window)
        return chosen

    def _measure_depth(self, position: int, missing: NDArray[np.bool_], window: Window) -> NDArray[np.float32]:
        """How far each missing pixel of a scene is from one that it has not, pixels, at most 64; 0 where it may not fill."""
        fillable = self._find_fillable(position, missing, window)
        depth = np.zeros(window.shape, np.float32)
        if not fillable.any():
            return depth
        frame = window.grown(_FILL_REACH).intersection(self._plan.grid.window) or window
        layer = self._scenes[position].read_aligned(self._plan.grid, frame)
        if layer is None:
            return depth
        valid = np.zeros(frame.shape, np.bool_)
        valid[layer.window.slices_in(frame)] = layer.valid
        if not valid.all():
            found = scipy.ndimage.distance_transform_edt(valid)[window.slices_in(frame)]
            np.minimum(found, _FILL_REACH, out=depth, where=fillable, casting="unsafe")
        else:
            depth[fillable] = _FILL_REACH
        return depth

    def _lay(
        self,
        method: LayerMethod[Any],
        values: NDArray[np.generic],
        index: NDArray[np.unsignedinteger],
        window: Window,
        position: int,
        mask: NDArray[np.bool_] | None,
    ) -> None:
        """Lay one scene's valid pixels over the window where the mask allows, reading no more than that needs."""
        part = window
        if mask is not None:
            down, across = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            part = Window(
                row=window.row + int(down[0]),
                col=window.col + int(across[0]),
                height=int(down[-1] - down[0]) + 1,
                width=int(across[-1] - across[0]) + 1,
            )
        layer = self._scenes[position].read_aligned(self._plan.grid, part)
        if layer is None:
            return
        rows, cols = layer.window.slices_in(window)
        take = layer.valid if mask is None else mask[rows, cols] & layer.valid
        method.lay(values[:, rows, cols], index[rows, cols], layer.values, take, position + 1)
