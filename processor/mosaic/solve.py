"""Between the two passes: every decision that needs no pixel."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from processor.model import Adjustment, BlockGrid, BlockMap, Finding
from processor.mosaic.plan import Plan
from processor.process.threads import resolve_threads
from processor.stages.block_sums import BlockSums
from processor.stages.matching.global_regression import identity_adjustment
from processor.stages.matching.method import GlobalSolution, LocalSolution, SceneCorrection
from processor.stages.measures import Measures
from processor.stages.seamlines.records import Seamlines
from processor.stages.seamlines.voronoi_center_seamline import clip_cells


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """What is done to the pixels, stage by stage."""

    matching_global: GlobalSolution
    """Gains and offsets."""
    matching_local: LocalSolution
    """Corrections by position."""
    seamlines: Seamlines | None
    """Cells and cuts, None where the stage is off."""
    findings: tuple[Finding, ...]
    """What solving brought to light."""

    @property
    def adjustments(self) -> tuple[Adjustment, ...]:
        """Global corrections, one a scene in plan order; empty where the stage is off."""
        return self.matching_global.adjustments

    @property
    def corrections(self) -> tuple[SceneCorrection, ...]:
        """Local corrections, one a scene in plan order; empty where the stage is off."""
        return tuple(self.matching_local.corrections)

    @property
    def agreement(self) -> BlockMap | None:
        """How far the scenes agree in the blocks of their overlaps, 0 to 1, one band; None where no method tells it."""
        solutions = (self.matching_global, self.matching_local)
        return next((found for one in solutions if (found := getattr(one, "agreement", None)) is not None), None)


def find_block_grid(plan: Plan, measures: Measures) -> BlockGrid | None:
    """The block grid that hangs on the statistics; None where the plan has it already, or no blocks are needed."""
    return plan.methods.matching_local.find_blocks(plan.canvas, measures) if plan.has_late_blocks else None


def solve(plan: Plan, measures: Measures, blocks: BlockGrid | None, sums: Sequence[BlockSums]) -> Solution:
    """Solve all stages.

    Parameters
    ----------
    blocks, sums
        The block grid and each scene's sums in plan order; None and empty where none are needed.
    """
    methods = plan.methods
    matching_global = methods.matching_global.solve(measures)
    adjustments = matching_global.adjustments or tuple(identity_adjustment(scene.name, plan.bands) for scene in plan.scenes)
    matching_local = methods.matching_local.solve(measures, adjustments, blocks, sums)
    seamlines = _solve_seamlines(plan, measures)
    return Solution(
        matching_global=matching_global,
        matching_local=matching_local,
        seamlines=seamlines,
        findings=(
            *matching_global.findings,
            *methods.matching_local.list_findings(matching_local),
            *(seamlines.findings if seamlines is not None else ()),
        ),
    )


def _solve_seamlines(plan: Plan, measures: Measures) -> Seamlines | None:
    method = plan.methods.seamlines
    given = method.footprints
    footprints = {scene.name: scene.footprint if given is None else given.geometries[scene.name] for scene in measures.scenes}
    with ThreadPoolExecutor(resolve_threads(plan.config.shared.tile_threads), thread_name_prefix="cut") as pool:
        seamlines = method.solve(footprints, measures, run=pool.map)
    if seamlines is None or method.area is None:
        return seamlines
    return replace(seamlines, cells=clip_cells(seamlines.cells, method.area))
