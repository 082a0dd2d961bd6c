"""The records that tasks hand to one another through a store."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from processor.execution.tasks import Batch, Overlaps, Solved
from processor.execution.tile_parts import PartHead, RasterPart
from processor.execution.wire import Codec
from processor.model import (
    Adjustment,
    BlockGrid,
    BlockMap,
    Bounds,
    Cell,
    Finding,
    Grid,
    Moments,
    Overlap,
    OverlapSamples,
    Window,
)
from processor.mosaic.close_ups import CloseUp, CloseUpPixels
from processor.mosaic.measure import ChunkMeasures, PairPart, ScenePart
from processor.mosaic.render import RenderStatistics
from processor.mosaic.solve import Solution
from processor.stages import STAGES
from processor.stages.align.coregistration import Coregistration, PairShift, WindowShifts
from processor.stages.block_sums import BlockSums
from processor.stages.check_cells import CellSums
from processor.stages.matching.matched_blocks import MatchedBlocks
from processor.stages.matching.method import GlobalSolution
from processor.stages.measures import MatchedPairs, Measures, SceneMeasures
from processor.stages.method import StageMethod
from processor.stages.seam_steps import SeamSteps
from processor.stages.seamlines.records import Cutline, CutlineTrace, Seamlines

_RECORDS: Final = (
    Adjustment,
    Batch,
    BlockGrid,
    BlockMap,
    BlockSums,
    Bounds,
    Cell,
    CellSums,
    ChunkMeasures,
    CloseUp,
    CloseUpPixels,
    Coregistration,
    Cutline,
    CutlineTrace,
    Finding,
    GlobalSolution,
    Grid,
    MatchedBlocks,
    MatchedPairs,
    Measures,
    Moments,
    Overlap,
    OverlapSamples,
    Overlaps,
    PairPart,
    PairShift,
    PartHead,
    RasterPart,
    SceneMeasures,
    ScenePart,
    Seamlines,
    SeamSteps,
    Solution,
    Solved,
    RenderStatistics,
    Window,
    WindowShifts,
)


def make_codec() -> Codec:
    """The codec of all records, those of the methods among them that are registered now."""
    return _make_codec(tuple(method for stage in STAGES for method in stage.list_implementations()))


@cache
def _make_codec(methods: tuple[type[StageMethod[Any]], ...]) -> Codec:
    return Codec((*_RECORDS, *(record for method in methods for record in method.records)))
