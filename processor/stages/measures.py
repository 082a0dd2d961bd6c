"""What the first pass finds out: everything that the methods of the stages are solved from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shapely import MultiPolygon, Polygon

from processor.model import Adjustment, Bounds, Grid, Moments, Overlap
from processor.stages.align.coregistration import PairShift
from processor.stages.block_sums import BlockSums
from processor.stages.check_cells import CellSums
from processor.stages.matching.block_weights import BlockTable, make_block_table
from processor.stages.matching.matched_blocks import MatchedBlocks


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SceneMeasures:
    """Everything measured of one scene."""

    name: str
    """Name of the scene."""
    moments: Moments
    """Moments of the pixels that count for the global statistics."""
    valid: Moments
    """Moments of all valid pixels in which every band has a value."""
    sums: BlockSums | None
    """Block sums; None where the local adjustment needs none."""
    footprint: Polygon | MultiPolygon
    """Outline of the valid pixels, CRS units."""
    partial: int = 0
    """Pixels in which some bands have a value and others do not; those of an overview where the scene was measured there."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MatchedPairs:
    """Moments of the blocks of all pairs of scenes, and of each scene with each reference."""

    canvas: Grid
    """Grid of the mosaic, on which the lattices of all pairs hang."""
    bounds: Mapping[str, Bounds]
    """Bounds of all scenes and references by name, CRS units."""
    references: tuple[str, ...]
    """Names of the references among them."""
    reference_weight: float
    """Factor on the weights of blocks against a reference."""
    bands: int
    """Bands of every scene."""
    held: tuple[str, ...]
    """Names of the scenes that keep their radiometry."""
    known: Mapping[str, Adjustment]
    """Adjustments of scenes that are known and to be kept, by name; of no other scenes than those of the run."""
    groups: Mapping[str, str]
    """What scenes that share their illumination have in common, by name."""
    blocks: tuple[MatchedBlocks, ...]
    """One a pair with common valid pixels."""
    fine: tuple[MatchedBlocks, ...] = ()
    """The same of pairs of scenes that were measured, in blocks of a few pixels; empty where no method needs them."""

    def make_table(self) -> BlockTable:
        """All blocks in arrays."""
        return make_block_table(
            self.blocks,
            self.bounds,
            self.canvas,
            bands=self.bands,
            held=self.held,
            references=self.references,
            reference_trust=self.reference_weight,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measures:
    """The result of the first pass."""

    scenes: tuple[SceneMeasures, ...]
    """In plan order."""
    overlaps: tuple[Overlap, ...]
    """Pairs with at least one common valid pixel, in name order."""
    matched: MatchedPairs | None
    """Moments of the blocks of pairs; None where no method needs them."""
    cells: CellSums | None
    """Sums of all scenes as they came, weighted by area, over cells of the mosaic's lattice
    (:mod:`processor.stages.scene_cells`); None where there is no mosaic, or nothing was read.
    """
    shifts: tuple[PairShift, ...] = ()
    """How far pairs lie beside one another; empty where that is not asked for."""
    union: int | None
    """Pixels of the mosaic's grid that some scene has and may give (within the area of interest, where there is one), or None
    where that was not counted exactly (statistics from overviews, or scenes on other grids).
    """

    def require_matched(self) -> MatchedPairs:
        """The blocks of pairs, which a method that asked for them has."""
        if self.matched is None:
            msg = "matched blocks were not measured"
            raise RuntimeError(msg)
        return self.matched
