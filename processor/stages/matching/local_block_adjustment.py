"""Stage 2, local block adjustment: every scene is drawn to a reference map of block means.

After Yu et al. 2017, doi 10.1016/j.isprsjprs.2017.08.002. Because the global adjustment is linear, the block means of an
adjusted scene follow from those of the raw one, so blocks are summed in the same read as the scene statistics.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from processor.errors import ConfigError
from processor.model import Adjustment, BlockGrid, BlockMap, Bounds, Grid, Moments, Window
from processor.model.options import Paths
from processor.stages.block_sums import BlockSums
from processor.stages.files import BlockArchive, BlockRaster
from processor.stages.matching.block_maps_file import PATH
from processor.stages.matching.method import LocalMethod, LocalSolution
from processor.stages.matching.options import LocalBlockAdjustmentOptions
from processor.stages.measures import Measures
from processor.stages.method import BlockMaps, Need, Region, WantedCopy

_SAME = 1e-6  # of a block: maps whose corners are this near agree
_REFERENCE_CONTRAST = 45 / 125  # the published rule's coefficient of variation, for which 10 x 10 blocks are right


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalCorrection:
    """The local correction of a scene: P on the part of the block grid that it touches, and how it is applied."""

    scene: str
    """Name of the scene."""
    grid: BlockGrid
    """Block grid of the whole canvas."""
    method: Literal["gamma", "linear", "offset"]
    """How the parameter changes a pixel: a power, a factor or a shift."""
    parameter: NDArray[np.float64]
    """P of each block of the part, float64 (bands, rows, cols), dimensionless; NaN where a block is missing."""
    alpha: float
    """Factor of the corrections "gamma" and "offset", dimensionless."""
    c: float
    """Shift of the correction "offset", source units; 0 for the others."""
    row: int = 0
    """Row of the part's upper left block in the grid."""
    col: int = 0
    """Column of the part's upper left block in the grid."""

    def on_window(self, grid: Grid, window: Window, dtype: type[np.floating], strip: int) -> BlockStrips:
        """See :meth:`processor.stages.matching.method.SceneCorrection.on_window`."""
        surface = compute_surface(self, grid, window, dtype)
        return BlockStrips(correction=self, surface=surface, scratch=np.empty((3, strip, window.width), dtype))

    def compute_factors(self, level: NDArray[np.float64]) -> NDArray[np.float64]:
        """What each block's P does to a level (bands,), as a factor, (bands, rows, cols); NaN where missing or undefined."""
        if self.method == "linear":
            return np.where(self.parameter > 0, self.parameter, np.nan)
        base = np.asarray(level + self.c)[:, None, None]
        usable = base > 0
        return np.where(usable, np.exp((self.parameter - 1.0) * np.log(np.where(usable, base, 1.0))), np.nan)

    def apply_at(self, values: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """See :meth:`processor.stages.matching.method.SceneCorrection.apply_at`."""
        corrected, departure = values.copy(), compute_departure(self, x, y)
        for band, near in zip(corrected, departure, strict=True):
            apply_correction(band, near, self)
        return corrected


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockStrips:
    """The local correction of a scene over a window, applied to strips of its rows."""

    correction: LocalCorrection
    """Correction of the scene."""
    surface: Surface
    """Surface of P - 1 over the window."""
    scratch: NDArray[np.floating]
    """(3, rows, width) of the calculation's dtype, overwritten by every strip."""

    def apply(self, values: NDArray[np.floating], band: int, rows: slice) -> NDArray[np.floating]:
        """See :meth:`processor.stages.matching.method.StripCorrection.apply`."""
        departure = self.surface.read_rows(band, rows, self.scratch[0, : len(values)], self.scratch[1:])
        return apply_correction(values, departure, self.correction)


def compute_contrast_ratio(moments: Sequence[Moments]) -> float:
    """Coefficient of variation of band 1, pooled over the scenes, against the published 45 / 125; NaN where there is none."""
    count = sum(m.count for m in moments)
    if count == 0:
        return math.nan
    mean = sum(m.count * float(m.mean[0]) for m in moments if m.count) / count
    spread = sum(float(m.m2[0]) + m.count * (float(m.mean[0]) - mean) ** 2 for m in moments if m.count)
    return math.sqrt(spread / count) / mean / _REFERENCE_CONTRAST if mean else math.nan


def compute_block_grid(
    bounds: Bounds,
    scenes: int,
    number_of_blocks: int | tuple[int, int] | Literal["coefficient_of_variation"],
    *,
    contrast_ratio: float | None = None,
) -> BlockGrid:
    """Cut the canvas into blocks.

    A target of t blocks a scene gives T = t N blocks: cols = max(1, round(sqrt(T width / height))) and
    rows = max(1, round(T / cols)), then the longer side's count is raised while rows cols < T and lowered while rows cols > T.
    A pair is (rows, cols).
    "coefficient_of_variation" is 10 x 10 times ``contrast_ratio`` of :func:`compute_contrast_ratio`, rounded, at least 1.
    """
    if number_of_blocks == "coefficient_of_variation":
        ratio = contrast_ratio if contrast_ratio is not None and math.isfinite(contrast_ratio) else 1.0
        edge = max(1, round(10 * ratio))
        return BlockGrid(bounds=bounds, rows=edge, cols=edge)
    if isinstance(number_of_blocks, tuple):
        rows, cols = number_of_blocks
        return BlockGrid(bounds=bounds, rows=rows, cols=cols)
    target = number_of_blocks * scenes
    wide = bounds.width >= bounds.height
    cols = max(1, round(math.sqrt(target * bounds.width / bounds.height)))
    rows = max(1, round(target / cols))
    # What raising and then lowering the longer side's count one by one ends at, however long and thin the canvas.
    rows, cols = (rows, max(1, target // rows)) if wide else (max(1, target // cols), cols)
    return BlockGrid(bounds=bounds, rows=rows, cols=cols)


def compute_block_map(sums: BlockSums, blocks: BlockGrid, adjustment: Adjustment) -> BlockMap:
    """Local map of a scene: means of its globally adjusted valid pixels; NaN where a block has none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(sums.area > 0, sums.total / sums.area, np.nan)
    values = adjustment.scale[:, None, None] * means + adjustment.offset[:, None, None]
    return BlockMap(name=adjustment.scene, grid=blocks, row=sums.row, col=sums.col, values=values)


def compute_reference_map(local: Sequence[BlockMap]) -> BlockMap:
    """Reference map: the mean over the local maps of the blocks that are present; NaN where none is.

    Raises
    ------
    ValueError
        If there is no map, or the maps differ in grid.
    """
    if not local or any(block_map.grid != local[0].grid for block_map in local):
        msg = "the reference map needs at least one local map, all on one block grid"
        raise ValueError(msg)
    grid = local[0].grid
    total = np.zeros((local[0].values.shape[0], grid.rows, grid.cols))
    count = np.zeros(total.shape, np.int64)
    for block_map in local:
        present = np.isfinite(block_map.values)
        total[:, *block_map.slices] += np.where(present, block_map.values, 0.0)
        count[:, *block_map.slices] += present
    values = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return BlockMap(name="reference", grid=grid, values=values)


def solve_correction(
    local: BlockMap,
    reference: BlockMap,
    *,
    method: Literal["gamma", "linear", "offset"],
    alpha: float,
    minimum: float,
) -> LocalCorrection:
    """Parameter map P of a scene: linear R / L, gamma ln R / ln L, offset ln (R + c) / ln (L + c).

    P is missing, NaN, where it or the logarithm that it is divided by is not finite: of L = 0, P would be 0, and gamma would
    make every pixel near that block 1.

    Parameters
    ----------
    local, reference
        Maps of the scene and of the reference on one grid; the reference covers the whole canvas.
    method, alpha
        As configured.
    minimum
        Smallest globally adjusted valid value of the scene over all bands; decides c: 0 if it, the smallest of the scene's map
        and the smallest of the reference are positive, else 1 + the absolute value of the smallest of them.
    """
    mean, target = local.values, reference.values[:, *local.slices]
    c = 0.0
    if method == "offset":
        present = [float(np.nanmin(m)) for m in (mean, reference.values) if np.isfinite(m).any()]
        smallest = min([minimum, *present])
        c = 0.0 if smallest > 0 else 1.0 + abs(smallest)
    with np.errstate(invalid="ignore", divide="ignore"):
        upper, lower = (target, mean) if method == "linear" else (np.log(target + c), np.log(mean + c))
        parameter = upper / lower
    parameter = np.where(np.isfinite(parameter) & np.isfinite(lower), parameter, np.nan)
    return LocalCorrection(
        scene=local.name,
        grid=local.grid,
        row=local.row,
        col=local.col,
        method=method,
        parameter=parameter,
        alpha=alpha,
        c=c,
    )


def _take_blocks(correction: LocalCorrection, rows: NDArray[np.intp], cols: NDArray[np.intp]) -> NDArray[np.float64]:
    """P of blocks given by absolute row and column (any broadcastable shapes); NaN beyond the part that the scene touches."""
    height, width = correction.parameter.shape[1:]
    row, col = rows - correction.row, cols - correction.col
    inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    if not (height and width):
        return np.full((len(correction.parameter), *inside.shape), np.nan)
    taken = correction.parameter[:, row.clip(0, height - 1), col.clip(0, width - 1)]
    return np.where(inside, taken, np.nan)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surface:
    """P - 1 on the pixels of a window, interpolated along rows already; columns are interpolated strip by strip."""

    weighted: NDArray[np.floating]
    """(bands, height, columns), P - 1 times the weight of the blocks that are present, at the block columns involved."""
    weight: NDArray[np.floating] | None
    """The same shape, or None where no block is missing."""
    segments: tuple[tuple[int, int, int], ...]
    """(first pixel, end pixel, left column) of runs of pixels between the same two block columns."""
    fraction: NDArray[np.floating]
    """(width,), distance of each pixel from the left column, in blocks."""

    def read_rows(
        self, band: int, rows: slice, out: NDArray[np.floating], scratch: NDArray[np.floating] | None = None
    ) -> NDArray[np.floating]:
        """P - 1 of some rows of a band, into ``out`` (rows, width); 0 where nothing is near.

        ``scratch`` (2, rows, width) is overwritten; whoever asks often gives the same one again.
        """
        low, near = np.empty((2, *out.shape), out.dtype) if scratch is None else scratch[:, : len(out)]
        self._spread(self.weighted[band, rows], low, out)
        if self.weight is not None:
            self._spread(self.weight[band, rows], low, near)
            with np.errstate(divide="ignore", invalid="ignore"):
                np.divide(out, near, out=out)
            nothing = near <= 0
            if nothing.any():
                out[nothing] = 0
        return out

    def _spread(self, columns: NDArray[np.floating], low: NDArray[np.floating], out: NDArray[np.floating]) -> None:
        """Interpolate between columns into ``out``; ``low`` is overwritten. Whole rows are faster than row by segment."""
        steps = columns[:, 1:] - columns[:, :-1]
        for start, end, left in self.segments:
            low[:, start:end] = columns[:, left, None]
            out[:, start:end] = steps[:, left, None]
        np.multiply(out, self.fraction, out=out)
        np.add(out, low, out=out)


def _positions(
    origin: float, step: float, start: int, count: int, first: float, block: float, blocks: int
) -> NDArray[np.float64]:
    """Positions of pixel centres between block centres, in blocks, held at the outermost centres."""
    centres = origin + (start + np.arange(count) + 0.5) * step
    return np.clip((centres - first) / block - 0.5, 0.0, blocks - 1.0)


def compute_surface(correction: LocalCorrection, grid: Grid, window: Window, dtype: type[np.floating]) -> Surface:
    """Bilinear surface of P - 1 over a window; missing blocks are left out and the weights renormalised.

    Computed from absolute pixel positions, so that a pixel's value does not depend on the window it is computed in.
    """
    blocks = correction.grid
    down = _positions(
        -grid.top, grid.pixel_height, window.row, window.height, -blocks.bounds.top, blocks.block_height, blocks.rows
    )
    across = _positions(
        grid.left, grid.pixel_width, window.col, window.width, blocks.bounds.left, blocks.block_width, blocks.cols
    )
    column = np.minimum(across.astype(np.intp), max(blocks.cols - 2, 0))
    row = np.minimum(down.astype(np.intp), max(blocks.rows - 2, 0))
    first, last = int(column[0]), int(column[-1]) + 1
    top, bottom = int(row[0]), int(row[-1]) + 1
    # Beyond the last block there is none; its weight there is 0, so repeating it changes nothing.
    used_rows = np.arange(top, bottom + 1).clip(max=blocks.rows - 1)
    used_cols = np.arange(first, last + 1).clip(max=blocks.cols - 1)
    used = _take_blocks(correction, used_rows[:, None], used_cols[None, :])
    t = (down - row)[None, :, None]
    row = row - top
    present = np.isfinite(used)
    departure = np.where(present, used - 1.0, 0.0)
    weighted = departure[:, row] * (1 - t) + departure[:, row + 1] * t
    weight = None if present.all() else (present[:, row] * (1 - t) + present[:, row + 1] * t).astype(dtype)
    breaks = np.flatnonzero(np.diff(column)) + 1
    starts, ends = [0, *breaks.tolist()], [*breaks.tolist(), window.width]
    segments = tuple((start, end, int(column[start]) - first) for start, end in zip(starts, ends, strict=True))
    return Surface(
        weighted=weighted.astype(dtype),
        weight=weight,
        segments=segments,
        fraction=(across - column).astype(dtype),
    )


def compute_departure(correction: LocalCorrection, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """P - 1 at scattered points, float64 (bands, n): the same surface as :func:`compute_surface`, point by point.

    Parameters
    ----------
    x, y
        CRS coordinates, (n,).
    """
    blocks = correction.grid
    across = np.clip((x - blocks.bounds.left) / blocks.block_width - 0.5, 0.0, blocks.cols - 1.0)
    down = np.clip((blocks.bounds.top - y) / blocks.block_height - 0.5, 0.0, blocks.rows - 1.0)
    col, row = across.astype(np.intp), down.astype(np.intp)
    right, below = np.minimum(col + 1, blocks.cols - 1), np.minimum(row + 1, blocks.rows - 1)
    tx, ty = across - col, down - row
    total = np.zeros((len(correction.parameter), len(x)))
    near = np.zeros_like(total)
    corners = (
        (row, col, (1 - ty) * (1 - tx)),
        (row, right, (1 - ty) * tx),
        (below, col, ty * (1 - tx)),
        (below, right, ty * tx),
    )
    for r, c, weight in corners:
        value = _take_blocks(correction, r, c)
        present = np.isfinite(value)
        total += np.where(present, value - 1.0, 0.0) * weight
        near += present * weight
    return np.divide(total, near, out=np.zeros_like(total), where=near > 0)


def apply_correction(
    values: NDArray[np.floating], departure: NDArray[np.floating], correction: LocalCorrection
) -> NDArray[np.floating]:
    """Apply the local correction of one band in place and return the array.

    The corrections are linear y = x P; gamma y = alpha x^P; offset y = alpha (x + c)^P - c. A power v^P is computed as
    v exp((P - 1) ln v), so that its error shrinks with the departure of P from 1: in float32, for v from 0.001 to 65,535, it
    stays below 4e-7 of v^P while P is within 0.1 of 1 (2.8e-7 measured) and below 2.5e-7 while it is within 0.01 (2.0e-7).
    Where a power is not defined, gamma leaves x <= 0 as it is, and offset takes the power of x + c <= 0 (which only estimated
    statistics make possible) as 0. Invalid pixels among the values change no other.

    Parameters
    ----------
    values
        Floating point, any shape, globally adjusted, source units; overwritten.
    departure
        P - 1, same shape and dtype; overwritten.
    correction
        Method, alpha and c.
    """
    kind = values.dtype.type
    if correction.method == "linear":
        np.add(departure, kind(1), out=departure)
        np.multiply(values, departure, out=values)
        return values
    if correction.c:
        np.add(values, kind(correction.c), out=values)
    undefined: NDArray[np.bool_] | None = None
    kept: NDArray[np.floating] | float = 0.0
    if not values.min(initial=np.inf) > 0:  # NaN too: an invalid pixel must not hide a valid one that is not positive
        undefined = values <= 0
        kept = values[undefined] if correction.method == "gamma" else 0.0
        values[undefined] = 1
    np.multiply(departure, np.log(values), out=departure)
    np.exp(departure, out=departure)
    np.multiply(values, departure, out=values)
    if correction.alpha != 1.0:
        np.multiply(values, kind(correction.alpha), out=values)
    if undefined is not None:
        values[undefined] = kept
    if correction.c:
        np.subtract(values, kind(correction.c), out=values)
    return values


def agree(one: BlockGrid, other: BlockGrid) -> bool:
    """Whether two block grids are the same, up to what a file rounds."""
    if (one.rows, one.cols) != (other.rows, other.cols):
        return False
    size = min(other.block_width, other.block_height)
    return all(abs(a - b) <= _SAME * size for a, b in zip(one.bounds.as_tuple(), other.bounds.as_tuple(), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockAdjustment:
    """What the block adjustment decides."""

    local_maps: tuple[BlockMap, ...]
    """One a scene, in name order."""
    reference: BlockMap
    """Block map that the scenes are drawn to."""
    corrections: tuple[LocalCorrection, ...]
    """One a scene, in name order."""


class LocalBlockAdjustment(LocalMethod[LocalBlockAdjustmentOptions]):
    """Draws the block means of each scene to a reference map, the mean over the scenes or one that the user gives."""

    records: ClassVar[tuple[type, ...]] = (BlockAdjustment, LocalCorrection)

    @property
    def output_images(self) -> Paths | None:
        """As configured."""
        return self.options.output_images

    @property
    def has_overviews(self) -> bool:
        """As configured."""
        return self.options.build_overviews

    @property
    def region(self) -> Region | None:
        """Of ``vector_mask``."""
        return self.files.get("vector_mask", Region)

    def list_needs(self, scenes: Collection[str]) -> frozenset[Need]:
        """Sums of blocks."""
        del scenes
        return frozenset({"blocks"})

    def list_copies(self, scenes: Sequence[str]) -> Iterator[WantedCopy]:
        """The block maps."""
        option = "save_block_maps"
        if self.options.save_block_maps is not None:
            reference, local = self.options.save_block_maps
            yield WantedCopy(option=option, key="block_map_reference", url=reference)
            for name in scenes:
                yield WantedCopy(option=option, key=f"block_map_local_{name}", url=local.replace("$", name))

    def plan_blocks(self, canvas: Bounds, scenes: int) -> BlockGrid | None:
        """The grid of the loaded maps, or over the override or the canvas; None where it hangs on the statistics."""
        bounds, loaded = self._find_bounds(canvas), self._loaded
        if loaded is not None:
            if bounds != canvas and not agree(loaded.grid, replace(loaded.grid, bounds=bounds)):
                msg = (
                    f"{self.name}.override_bounds_canvas_coords = {bounds.as_tuple()} disagrees with the loaded "
                    f"block maps, which cover {loaded.grid.bounds.as_tuple()}; leave one out"
                )
                raise ConfigError(msg)
            return loaded.grid
        if self.options.number_of_blocks == "coefficient_of_variation":
            return None
        return compute_block_grid(bounds, scenes, self.options.number_of_blocks)

    def find_blocks(self, canvas: Bounds, measures: Measures) -> BlockGrid:
        """The grid that the coefficient of variation gives."""
        ratio = compute_contrast_ratio([scene.moments for scene in measures.scenes])
        return compute_block_grid(
            self._find_bounds(canvas), len(measures.scenes), "coefficient_of_variation", contrast_ratio=ratio
        )

    def solve(
        self, measures: Measures, adjustments: Sequence[Adjustment], blocks: BlockGrid | None, sums: Sequence[BlockSums]
    ) -> BlockAdjustment:
        """Block maps, those of the user among them, and the corrections between them."""
        if blocks is None:
            msg = "the block adjustment is solved from sums of blocks"
            raise ValueError(msg)
        loaded = self._loaded.local if self._loaded is not None else {}
        local_maps = tuple(
            loaded.get(a.scene) or compute_block_map(part, blocks, a) for part, a in zip(sums, adjustments, strict=True)
        )
        names = {adjustment.scene for adjustment in adjustments}
        others = tuple(block_map for name, block_map in sorted(loaded.items()) if name not in names)
        given = self._loaded.reference if self._loaded is not None else None
        reference = given or compute_reference_map((*local_maps, *others))
        return BlockAdjustment(
            local_maps=local_maps,
            reference=reference,
            corrections=tuple(
                solve_correction(
                    block_map,
                    reference,
                    method=self.options.correction_method,
                    alpha=self.options.alpha,
                    minimum=_adjusted_minimum(scene.valid, adjustment),
                )
                for block_map, scene, adjustment in zip(local_maps, measures.scenes, adjustments, strict=True)
            ),
        )

    def list_files(self, solution: LocalSolution) -> Iterator[BlockArchive | BlockRaster]:
        """All block maps in one file; each as a raster too, where that is asked for."""
        if not isinstance(solution, BlockAdjustment):
            return
        title = "Block maps: block means of each scene, and the reference that they are drawn to"
        local, reference = solution.local_maps, solution.reference
        yield BlockArchive(key="block_maps", path=PATH, title=title, local=local, reference=reference)
        if self.options.save_block_maps is not None:
            yield _describe_map(reference, "reference", "Reference block map")
            for part in local:
                yield _describe_map(part, f"local_{part.name}", f"Local block map of {part.name}")

    @property
    def _loaded(self) -> BlockMaps | None:
        return self.files.get("load_block_maps", BlockMaps)

    def _find_bounds(self, canvas: Bounds) -> Bounds:
        """Canvas of the blocks: the override, else the union of the scenes' bounds."""
        override = self.options.override_bounds_canvas_coords
        if override is None:
            return canvas
        left, bottom, right, top = override
        return Bounds(left=left, bottom=bottom, right=right, top=top)


def _describe_map(block_map: BlockMap, name: str, title: str) -> BlockRaster:
    path = f"block_maps/{name}.tif"
    return BlockRaster(key=f"block_map_{name}", path=path, title=title, blocks=block_map, is_published=False)


def _adjusted_minimum(moments: Moments, adjustment: Adjustment) -> float:
    """Smallest value of a scene over all bands after the global adjustment, source units; +inf where it has none."""
    if not moments.count:
        return math.inf
    ends = np.stack([moments.minimum, moments.maximum])
    return float((adjustment.scale * ends + adjustment.offset).min())
