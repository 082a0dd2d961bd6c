"""The records that tasks hand to one another through a store."""

from __future__ import annotations

from typing import Final

from processor.execution.tasks import Batch, BlockBatch, Overlaps, Solved
from processor.execution.tile_parts import PartHead, RasterPart
from processor.execution.wire import Codec
from processor.model import (
    Adjustment,
    BlockGrid,
    BlockMap,
    Bounds,
    Cell,
    Finding,
    LocalCorrection,
    Moments,
    Overlap,
    OverlapSamples,
    Window,
)
from processor.mosaic.measure import ChunkMeasures, Measures, PairPart, SceneMeasures, ScenePart
from processor.mosaic.render_statistics import Tally
from processor.mosaic.solve import Solution
from processor.stages.matching.local_block_adjustment import BlockSums
from processor.stages.seamlines.voronoi_center_seamline import Cutline, CutlineTrace, Seamlines

__all__ = ["CODEC"]

CODEC: Final = Codec(
    (
        Adjustment,
        Batch,
        BlockBatch,
        BlockGrid,
        BlockMap,
        BlockSums,
        Bounds,
        Cell,
        ChunkMeasures,
        Cutline,
        CutlineTrace,
        Finding,
        LocalCorrection,
        Measures,
        Moments,
        Overlap,
        OverlapSamples,
        Overlaps,
        PairPart,
        PartHead,
        RasterPart,
        SceneMeasures,
        ScenePart,
        Seamlines,
        Solution,
        Solved,
        Tally,
        Window,
    )
)
