"""The mosaic as the second pass leaves it: encoded blocks, what was counted on the way, and what its files are to be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processor.errors import InputError
from processor.geotiff.cog.spec import CogProfile, CogSpec
from processor.geotiff.cog.tiles import TileSource
from processor.model import Grid, Moments
from processor.model.colours import list_scene_colours
from processor.mosaic.close_ups import CloseUpPixels
from processor.mosaic.measure import mask_grid
from processor.mosaic.plan import BLOCK_EDGE, Plan
from processor.mosaic.render import RenderedWindow, RenderStatistics
from processor.stages.check_cells import CellSums, merge_cell_sums
from processor.stages.seam_blocks import merge_seam_blocks
from processor.stages.seam_steps import SeamSteps, merge_seam_steps
from processor.stages.statistics import merge_moments


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rendered:
    """The result of the second pass: compressed blocks, and what was counted on the way."""

    mosaic: TileSource
    """Blocks of the mosaic, wherever they are."""
    index: TileSource
    """Blocks of the scene index, wherever they are."""
    statistics: Moments
    """Moments of the mosaic's valid pixels."""
    steps: SeamSteps
    """Steps across seams and beside them."""
    seam_blocks: NDArray[np.int64]
    """Matched blocks that seams pass through, int64 (5, n); none where no blocks were matched."""
    cells: tuple[CellSums, ...]
    """Sums over the cells of each check of the plan."""
    means: CellSums | None
    """Sums over cells of the mosaic's lattice; None where the plan has none."""
    counts: NDArray[np.int64]
    """int64 (scenes + 1,), pixels by scene index; 0 is nodata."""
    close_ups: tuple[CloseUpPixels, ...]
    """Pixels of the solution's close-ups, in their order."""
    filled: int
    """Pixels whose cell's owner has none there."""
    mask: NDArray[np.bool_]
    """Where the mosaic has a value, bool (height, width) of ``mask_grid``; a cell is set where any of its pixels is."""
    mask_grid: Grid
    """Grid of the mask, at most 2048 cells wide or high."""


class RenderCounter:
    """Adds up what is counted, in any order.

    Parameters
    ----------
    plan
        Of the run.
    """

    def __init__(self, plan: Plan) -> None:
        self._moments: dict[tuple[int, int], Moments] = {}
        self._steps: dict[tuple[int, int], SeamSteps] = {}
        self._seam_blocks: list[NDArray[np.int64]] = []
        self._cells: dict[tuple[tuple[int, int], int], CellSums] = {}
        self._means: dict[tuple[int, int], CellSums] = {}
        self._lattice = plan.lattice
        self._shapes = [check.find_shape(plan.grid) for check in plan.checks]
        self._bands = plan.bands
        self._counts = np.zeros(len(plan.scenes) + 1, np.int64)
        self._filled = 0
        self._close_ups: dict[int, CloseUpPixels] = {}
        self._grid = mask_grid(plan.grid)
        self._mask = np.zeros(self._grid.shape, np.bool_)
        self._ends = [self._grid.height, self._grid.width, 0, 0]  # of the cells that were touched

    def add(self, piece: RenderedWindow | RenderStatistics) -> None:
        """Count in a window or a part."""
        found = piece.statistics if isinstance(piece, RenderedWindow) else piece
        self._moments.update(found.moments)
        self._steps.update(found.steps)
        self._seam_blocks.append(found.seam_blocks)
        self._cells.update({(place, check): sums for place, check, sums in found.cells})
        self._means.update(found.means)
        self._counts[found.scenes] += found.counts
        self._filled += found.filled
        self._close_ups.update({pixels.number: pixels for pixels in found.close_ups})
        row, col = found.mask_row, found.mask_col
        row_end, col_end = row + found.mask.shape[0], col + found.mask.shape[1]
        self._mask[row:row_end, col:col_end] |= found.mask
        top, left, bottom, right = self._ends
        self._ends = [min(top, row), min(left, col), max(bottom, row_end), max(right, col_end)]

    def sum_up(self) -> RenderStatistics:
        """What was counted."""
        top, left, bottom, right = self._ends
        scenes = np.flatnonzero(self._counts).astype(np.int64)
        return RenderStatistics(
            moments=tuple((place, self._moments[place]) for place in sorted(self._moments)),
            steps=tuple((place, self._steps[place]) for place in sorted(self._steps)),
            seam_blocks=merge_seam_blocks(self._seam_blocks),
            cells=tuple((*key, self._cells[key]) for key in sorted(self._cells)),
            means=tuple((place, self._means[place]) for place in sorted(self._means)),
            scenes=scenes,
            counts=self._counts[scenes],
            filled=self._filled,
            close_ups=tuple(self._close_ups[number] for number in sorted(self._close_ups)),
            mask=self._mask[top:bottom, left:right].copy(),
            mask_row=top,
            mask_col=left,
        )

    def finish(self, mosaic: TileSource, index: TileSource) -> Rendered:
        """The result of the second pass, from all that was counted and the blocks of both files.

        Raises
        ------
        InputError
            If not one pixel is left.
        """
        if not self._counts[1:].any():
            msg = (
                "the mosaic would have no pixel: voronoi_center_seamline.aoi_path, voronoi_center_seamline.vector_mask or "
                "mask_rasters.vector_mask leaves nothing of any scene; check where they lie, and their CRS"
            )
            raise InputError(msg)
        return Rendered(
            mosaic=mosaic,
            index=index,
            statistics=merge_moments(self._moments[place] for place in sorted(self._moments)),
            steps=merge_seam_steps((self._steps[place] for place in sorted(self._steps)), self._bands),
            seam_blocks=merge_seam_blocks(self._seam_blocks),
            cells=tuple(
                merge_cell_sums((self._cells[key] for key in sorted(self._cells) if key[1] == number), self._bands, shape)
                for number, shape in enumerate(self._shapes)
            ),
            means=None
            if self._lattice is None
            else merge_cell_sums((self._means[place] for place in sorted(self._means)), self._bands, self._lattice.shape),
            counts=self._counts,
            close_ups=tuple(self._close_ups[number] for number in sorted(self._close_ups)),
            filled=self._filled,
            mask=self._mask,
            mask_grid=self._grid,
        )


def mosaic_spec(plan: Plan, *, statistics: Moments | None = None) -> CogSpec:
    """What the mosaic's file is."""
    output, bands, told = plan.config.output, plan.scenes[0].bands, plan.describe_bands()
    is_picture = plan.dtype == "uint8" and any(
        colours == ["red", "green", "blue"] for colours in ([band.label for band in bands[:3]], [b.colour for b in told[:3]])
    )
    return CogSpec(
        grid=plan.grid,
        bands=plan.bands,
        dtype=plan.dtype,
        nodata=plan.nodata,
        profile=CogProfile(
            tile_size=BLOCK_EDGE, compression=output.compression, level=output.level, predictor=output.predictor
        ),
        overviews=plan.methods.merge.has_overviews,
        descriptions=tuple(band.name for band in bands),
        scalings=tuple(band.scaling for band in told),
        units=tuple(band.unit for band in told),
        statistics=statistics,
        photometric="rgb" if is_picture else "minisblack",
    )


def index_spec(plan: Plan) -> CogSpec:
    """What the scene index's file is, or that of the numbers of observations; the names stand in the former, by number."""
    output = plan.config.output
    tags = {f"SCENE_{number}": scene.title for number, scene in enumerate(plan.scenes, start=1)}
    is_small = len(plan.scenes) < 2**8
    colours = ("#000000", *list_scene_colours(len(plan.scenes))) if is_small and not plan.is_stack else ()
    return CogSpec(
        grid=plan.grid,
        bands=1,
        dtype="uint8" if is_small else "uint16",
        nodata=0,
        profile=CogProfile(
            tile_size=BLOCK_EDGE,
            compression=output.compression,
            level=output.level,
            predictor=False,
            overview_resampling="nearest",
        ),
        overviews=plan.methods.merge.has_overviews,
        descriptions=("observations" if plan.is_stack else "scene_index",),
        tags={} if plan.is_stack else tags,
        photometric="palette" if colours else "minisblack",
        colours=colours,
    )
