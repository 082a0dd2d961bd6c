"""The records that tasks hand to one another through a store."""

from __future__ import annotations

from typing import Final

from processor.engine.measure import ChunkMeasures, Measures, PairPart, SceneMeasures, ScenePart
from processor.engine.solve import Solution
from processor.engine.tally import Tally
from processor.engine.tasks import Batch, BlockBatch, Overlaps, Solved
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
from processor.stages.local_block_adjustment import BlockSums
from processor.stages.voronoi_center_seamline import Cutline, CutlineTrace, Seamlines
from processor.storage.parts import PartHead, RasterPart
from processor.storage.wire import Codec

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
