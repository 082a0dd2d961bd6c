"""Between the two passes: every decision that needs no pixel."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from processor.model import Adjustment, BlockGrid, BlockMap, Finding, LocalCorrection, Moments, Overlap
from processor.mosaic.measure import Measures
from processor.mosaic.plan import Plan, block_bounds, find_model
from processor.process.threads import resolve_threads
from processor.stages.matching.global_regression import identity_adjustment, solve_adjustments
from processor.stages.matching.local_block_adjustment import (
    BlockSums,
    compute_block_grid,
    compute_block_map,
    compute_contrast_ratio,
    compute_reference_map,
    solve_correction,
)
from processor.stages.seamlines.voronoi_center_seamline import Seamlines, clip_cells, solve_cells

__all__ = ["Solution", "find_block_grid", "join_statistics", "solve"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """What is done to the pixels; all tuples in plan order."""

    adjustments: tuple[Adjustment, ...]
    """One a scene, the identity where the global stage is off."""
    others: tuple[Adjustment, ...]
    """Adjustments of scenes that are only in the statistics given, by name."""
    local_maps: tuple[BlockMap, ...]
    reference: BlockMap | None
    """The reference block map, None where the local stage is off."""
    corrections: tuple[LocalCorrection, ...]
    """One a scene, empty where the local stage is off."""
    seamlines: Seamlines | None
    """Cells and cuts, None where the seamline stage is off."""
    findings: tuple[Finding, ...]
    """What solving brought to light."""


def find_block_grid(plan: Plan, measures: Measures) -> BlockGrid | None:
    """The block grid that hangs on the statistics, or None where the plan has it already or the local stage is off."""
    if plan.config.methods.matching_local_method is None or plan.blocks is not None:
        return None
    ratio = compute_contrast_ratio([scene.moments for scene in measures.scenes])
    return compute_block_grid(
        block_bounds(plan.canvas, plan.config), len(plan.scenes), "coefficient_of_variation", contrast_ratio=ratio
    )


def solve(plan: Plan, measures: Measures, blocks: BlockGrid | None, sums: Sequence[BlockSums]) -> Solution:
    """Solve all stages.

    Parameters
    ----------
    blocks, sums
        The block grid and each scene's sums in plan order; None and empty where the local stage is off.
    """
    solved = _solve_global(plan, measures)
    adjustments = tuple(solved.pop(scene.name) for scene in plan.scenes)
    local_maps: tuple[BlockMap, ...] = ()
    reference = None
    corrections: tuple[LocalCorrection, ...] = ()
    if blocks is not None:
        loaded = plan.given.local_maps
        local_maps = tuple(
            loaded.get(a.scene) or compute_block_map(part, blocks, a) for part, a in zip(sums, adjustments, strict=True)
        )
        names = {scene.name for scene in plan.scenes}
        others = tuple(block_map for name, block_map in sorted(loaded.items()) if name not in names)
        reference = plan.given.reference or compute_reference_map((*local_maps, *others))
        corrections = _solve_local(plan, measures, adjustments, local_maps, reference)
    seamlines = _solve_seamlines(plan, measures) if plan.config.methods.seamline_method is not None else None
    return Solution(
        adjustments=adjustments,
        others=tuple(solved[name] for name in sorted(solved)),
        local_maps=local_maps,
        reference=reference,
        corrections=corrections,
        seamlines=seamlines,
        findings=(*_find_uncounted(plan, measures), *(seamlines.findings if seamlines is not None else ())),
    )


def _solve_local(
    plan: Plan,
    measures: Measures,
    adjustments: tuple[Adjustment, ...],
    local_maps: tuple[BlockMap, ...],
    reference: BlockMap,
) -> tuple[LocalCorrection, ...]:
    options = plan.config.local_block_adjustment
    return tuple(
        solve_correction(
            block_map,
            reference,
            method=options.correction_method,
            alpha=options.alpha,
            minimum=_adjusted_minimum(scene.valid, adjustment),
        )
        for block_map, scene, adjustment in zip(local_maps, measures.scenes, adjustments, strict=True)
    )


def _solve_seamlines(plan: Plan, measures: Measures) -> Seamlines:
    options = plan.config.voronoi_center_seamline
    given = plan.given.footprints
    with ThreadPoolExecutor(resolve_threads(plan.config.shared.tile_threads), thread_name_prefix="cut") as pool:
        seamlines = solve_cells(
            {scene.name: scene.footprint if given is None else given[scene.name] for scene in measures.scenes},
            min_point_spacing=options.min_point_spacing,
            min_cut_length=options.min_cut_length,
            debug=options.debug_vectors_path is not None,
            run=pool.map,
        )
    if plan.given.area is None:
        return seamlines
    return replace(seamlines, cells=clip_cells(seamlines.cells, plan.given.area))


def _solve_global(plan: Plan, measures: Measures) -> dict[str, Adjustment]:
    """Adjustments by name, also of scenes that are only in the statistics given."""
    if plan.config.methods.matching_global_method is None:
        return {scene.name: identity_adjustment(scene.name, plan.bands) for scene in plan.scenes}
    options = plan.config.global_regression
    whole, overlaps = join_statistics(plan, measures)
    solved = solve_adjustments(
        whole,
        overlaps,
        mean_factor=options.custom_mean_factor,
        std_factor=options.custom_std_factor,
        model=find_model(plan.scenes, plan.config, plan.given),
    )
    return {adjustment.scene: adjustment for adjustment in solved}


def join_statistics(plan: Plan, measures: Measures) -> tuple[dict[str, Moments], tuple[Overlap, ...]]:
    """Statistics of all scenes of the model: those given, and measured ones of scenes and pairs that are not among these."""
    measured = {scene.name: scene.moments for scene in measures.scenes}
    known = plan.given.statistics
    if known is None:
        return measured, measures.overlaps
    new = tuple(o for o in measures.overlaps if not (o.first in known.whole and o.second in known.whole))
    return {**measured, **known.whole}, tuple(sorted((*known.overlaps, *new), key=lambda o: (o.first, o.second)))


def _find_uncounted(plan: Plan, measures: Measures) -> tuple[Finding, ...]:
    """Scenes of which the global stage knows nothing, because a mask leaves no pixel of them."""
    if plan.config.methods.matching_global_method is None:
        return ()
    whole, _ = join_statistics(plan, measures)
    return tuple(
        Finding(
            severity="warning",
            code="no-statistics",
            message=(
                f"scene {scene.name} has no pixel that counts for the statistics, so its radiometry is not matched; check "
                "global_regression.vector_mask"
            ),
            scene=scene.name,
            stage="global_regression",
        )
        for scene in plan.scenes
        if not whole[scene.name].count
    )


def _adjusted_minimum(moments: Moments, adjustment: Adjustment) -> float:
    """Smallest value of a scene over all bands after the global adjustment, source units."""
    ends = np.stack([moments.minimum, moments.maximum])
    return float((adjustment.scale * ends + adjustment.offset).min())
