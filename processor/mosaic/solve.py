"""Between the two passes: every decision that needs no pixel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, Literal

from shapely import Geometry

from processor.model import Adjustment, BandRule, BlockGrid, BlockMap, Finding
from processor.mosaic.close_ups import CloseUp, choose_close_ups
from processor.mosaic.plan import Plan
from processor.process.threads import resolve_threads
from processor.stages.align.coregistration import Coregistration, move_footprint, solve_coregistration
from processor.stages.block_sums import BlockSums
from processor.stages.matching.agreement import compute_scene_agreement
from processor.stages.matching.global_regression import identity_adjustment
from processor.stages.matching.method import GlobalSolution, LocalSolution, SceneCorrection
from processor.stages.matching.pair_difference import Radiometry, make_radiometry
from processor.stages.matching.reference_checks import judge_references
from processor.stages.measures import Measures
from processor.stages.seamlines.cells import clip_cells
from processor.stages.seamlines.rank import rank_scenes
from processor.stages.seamlines.records import Seamlines

_NAMED: Final = 5  # scenes that a finding names
_NOTABLE: Final = 1e-3  # share of a scene's pixels
_SHOWN: Final[Mapping[BandRule, str]] = {
    "any": "left out too",
    "all": "taken as values",
    "band": "nodata in those bands alone",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """What is done to the pixels, stage by stage."""

    matching_global: GlobalSolution
    """Gains and offsets."""
    matching_local: LocalSolution
    """Corrections by position."""
    seamlines: Seamlines | None
    """Cells and cuts, None where the stage is off."""
    coregistration: Coregistration | None = None
    """How far the scenes lie beside one another; None where that is not asked for."""
    findings: tuple[Finding, ...]
    """What solving brought to light."""
    close_ups: tuple[CloseUp, ...] = ()
    """Places on the worst seams that the report shows."""

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
    known = () if measures.matched is None else judge_references(measures.matched)
    matching_global = methods.matching_global.solve(measures)
    adjustments = matching_global.adjustments or tuple(identity_adjustment(scene.name, plan.bands) for scene in plan.scenes)
    matching_local = methods.matching_local.solve(measures, adjustments, blocks, sums)
    coregistration = _solve_coregistration(plan, measures)
    radiometry = make_radiometry(adjustments, matching_local.corrections)
    seamlines = _solve_seamlines(plan, measures, coregistration, radiometry)
    return Solution(
        coregistration=coregistration,
        matching_global=matching_global,
        matching_local=matching_local,
        seamlines=seamlines,
        close_ups=_choose_close_ups(plan, measures, seamlines, radiometry),
        findings=(
            *known,
            *matching_global.findings,
            *methods.matching_local.list_findings(matching_local),
            *(seamlines.findings if seamlines is not None else ()),
            *_find_partial(plan, measures),
        ),
    )


def _choose_close_ups(
    plan: Plan, measures: Measures, seamlines: Seamlines | None, radiometry: Radiometry
) -> tuple[CloseUp, ...]:
    if seamlines is None or not plan.methods.merge.is_on or not plan.methods.cuts_by_cells:
        return ()
    return choose_close_ups(seamlines.cutlines, seamlines.cells, measures, radiometry, plan.grid)


def _find_partial(plan: Plan, measures: Measures) -> tuple[Finding, ...]:
    """Name the scenes in which bands are valid in different pixels."""
    scenes = zip(plan.scenes, measures.scenes, strict=True)
    found = [
        (known.partial / (known.partial + known.valid.count), known.name, scene.band_rule)
        for scene, known in scenes
        if known.partial
    ]
    if not found:
        return ()
    found.sort(key=lambda one: (-one[0], one[1]))
    worst, rule = found[0][0], found[0][2]
    named = ", ".join(f"{name} {share:.2%}" for share, name, _ in found[:_NAMED])
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    message = (
        f"{len(found)} of {len(plan.scenes)} scenes have pixels that hold nodata in some bands and values in others "
        f"({named}{more}): statistics leave them out, and in the mosaic they are {_SHOWN[rule]}; choose with "
        "--inputs.validity any, all or band"
    )
    severity: Literal["warning", "info"] = "warning" if worst >= _NOTABLE else "info"
    return (Finding(severity=severity, code="bands-differ", message=message),)


def _solve_coregistration(plan: Plan, measures: Measures) -> Coregistration | None:
    if "shifts" not in plan.needs:
        return None
    return solve_coregistration(
        tuple(scene.name for scene in plan.scenes),
        measures.shifts,
        math.sqrt(plan.grid.pixel_width * plan.grid.pixel_height),
        is_applied=plan.methods.align.coregister is True,
    )


def _solve_seamlines(
    plan: Plan, measures: Measures, coregistration: Coregistration | None, radiometry: Radiometry
) -> Seamlines | None:
    method = plan.methods.seamlines
    if plan.is_stack:
        return None
    places, findings = _rank_scenes(plan, measures)
    given = method.footprints
    footprints: dict[str, Geometry] = {}
    for position, scene in enumerate(measures.scenes):
        moved = move_footprint(scene.footprint, coregistration, position)
        footprints[scene.name] = moved if given is None else given.geometries[scene.name]
    with ThreadPoolExecutor(resolve_threads(plan.config.shared.tile_threads), thread_name_prefix="cut") as pool:
        seamlines = method.solve(footprints, measures, radiometry, places=places, run=pool.map)
    if seamlines is None:
        return None
    cells = seamlines.cells if method.area is None else clip_cells(seamlines.cells, method.area)
    return replace(seamlines, cells=cells, findings=(*seamlines.findings, *findings))


def _rank_scenes(plan: Plan, measures: Measures) -> tuple[tuple[int, ...] | None, tuple[Finding, ...]]:
    """Places of the scenes by the method's expression, and what there is to say of it; None where there is none."""
    method = plan.methods.seamlines
    if method.rank is None:
        return None, ()
    agreement = {} if measures.matched is None else compute_scene_agreement(measures.matched.make_table())
    known = [
        {
            **scene.provenance.properties,
            "valid_share": measured.valid.count / math.prod(plan.measure_grid(position).shape) or None,
            "agreement": agreement.get(scene.name),
        }
        for position, (scene, measured) in enumerate(zip(plan.scenes, measures.scenes, strict=True))
    ]
    places, lacking = rank_scenes(method.rank, known)
    parameter, findings = f"{method.name}.rank", []
    if lacking:
        named = ", ".join(plan.scenes[position].name for position in lacking[:_NAMED])
        more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
        message = f"{parameter} has no value for {len(lacking)} of {len(places)} scenes ({named}{more}), which come last"
        findings.append(Finding(severity="warning", code="rank-unknown", message=message, stage=method.name))
    if len(set(places)) == 1 and len(places) > 1 and not lacking:
        message = f"{parameter} has one value for all scenes: they are cut as without it"
        findings.append(Finding(severity="info", code="rank-equal", message=message, stage=method.name))
    return places, tuple(findings)
