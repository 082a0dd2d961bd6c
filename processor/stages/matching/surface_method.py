"""Stage 2, surface adjustment: the method, from what was measured to the correction of every scene."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from processor.model import Adjustment, BlockGrid, BlockMap, Finding
from processor.model.options import Paths
from processor.stages.block_sums import BlockSums
from processor.stages.files import BlockRaster, TextFile
from processor.stages.matching.agreement import draw_agreement, make_agreement_raster
from processor.stages.matching.block_weights import BlockTable, adjust_scenes, adjust_table, compute_level_factors, hold_scenes
from processor.stages.matching.control_surface import ControlGrid, ControlSurface
from processor.stages.matching.illumination import TERMS, IlluminationSolution, light_table, solve_illumination
from processor.stages.matching.lit_surface import LitSurface
from processor.stages.matching.method import LocalMethod, LocalSolution
from processor.stages.matching.options import SurfaceAdjustmentOptions
from processor.stages.matching.reference_fit import fit_in_kernels
from processor.stages.matching.surface_adjustment import SurfaceSolution, correct_table, solve_surfaces
from processor.stages.matching.surfaces_file import KnownSurfaces, render_surfaces
from processor.stages.measures import MatchedPairs, Measures
from processor.stages.method import Need, WantedCopy

_DETERMINED: Final = 0.02  # below, a term of the pattern cannot be told from a trend of the gains


@dataclass(frozen=True, slots=True, kw_only=True)
class Stiffness:
    """What keeps surfaces from following more than the scenes' light; see :func:`solve_surfaces`."""

    smoothness: float
    """Weight against bending."""
    ridge: float
    """Weight against any correction at all."""
    vignettes: bool
    """Whether a vignette of each scene is free of both."""


_ALONE: Final = Stiffness(smoothness=0.3, ridge=0.01, vignettes=True)  # only differences are known: surfaces drift
_LIT: Final = Stiffness(smoothness=0.03, ridge=0.05, vignettes=False)  # the vignette is in the light that scenes share
_HELD: Final = Stiffness(smoothness=0.03, ridge=0.001, vignettes=True)  # references hold the levels


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SurfaceCorrections:
    """What the surface adjustment decides."""

    corrections: tuple[LitSurface, ...]
    """One a scene, in name order."""
    findings: tuple[Finding, ...] = ()
    """How well the shared light is determined, where it is not."""
    agreement: BlockMap | None = None
    """How far the scenes agree, 0 to 1, one band, where no global method tells it."""


class SurfaceAdjustment(LocalMethod[SurfaceAdjustmentOptions]):
    """Solves for the surfaces of all scenes over all overlaps, and for the light that they share first."""

    records: ClassVar[tuple[type, ...]] = (SurfaceCorrections, LitSurface, ControlSurface, ControlGrid)
    pixel_bytes: ClassVar[int] = 0

    @property
    def output_images(self) -> Paths | None:
        """As configured."""
        return self.options.output_images

    @property
    def has_overviews(self) -> bool:
        """As configured."""
        return self.options.build_overviews

    @property
    def solves_gains(self) -> bool:
        """With ``illumination``."""
        return self.options.illumination is not None

    @property
    def _known(self) -> Mapping[str, LitSurface]:
        known = self.files.get("load_surfaces", KnownSurfaces)
        return {} if known is None else known.by_scene

    @property
    def known_adjustments(self) -> Mapping[str, Adjustment]:
        """Of ``load_surfaces``."""
        return {name: lit.adjustment for name, lit in self._known.items() if lit.adjustment is not None}

    def list_needs(self, scenes: Collection[str]) -> frozenset[Need]:
        """Matched blocks, unless the surfaces of all scenes are known."""
        return frozenset() if self._known.keys() >= set(scenes) else frozenset({"matched_blocks"})

    def list_copies(self, scenes: Sequence[str]) -> Iterator[WantedCopy]:
        """The surfaces."""
        del scenes
        if self.options.save_surfaces is not None:
            yield WantedCopy(option="save_surfaces", key="surfaces", url=self.options.save_surfaces)

    def find_group(self, properties: Mapping[str, Any]) -> str:
        """By ``group_by``."""
        wanted = self.options.group_by
        if wanted == "all":
            return ""
        if wanted == "platform":
            return str([properties.get("platform"), properties.get("instruments")])
        return str(properties.get(wanted))

    def solve(
        self, measures: Measures, adjustments: Sequence[Adjustment], blocks: BlockGrid | None, sums: Sequence[BlockSums]
    ) -> LocalSolution:
        """:func:`solve_illumination` where it is asked for, then :func:`solve_surfaces`."""
        del blocks, sums
        names, known = [scene.name for scene in measures.scenes], self._known
        adjusted = {adjustment.scene: adjustment for adjustment in adjustments}
        findings = list(self._compare_adjustments(adjusted))
        if measures.matched is None:
            return SurfaceCorrections(corrections=tuple(known[name] for name in names), findings=tuple(findings))
        table = self._adjust(measures.matched, adjusted)
        scale = np.ones((len(table.names), table.bands))
        scale[~table.held] = compute_level_factors(table)  # what is held may be in other units
        table = adjust_table(table, scale, np.zeros_like(scale))
        light: IlluminationSolution | None = None
        if self.options.illumination == "shared":
            light = solve_illumination(table, [measures.matched.groups.get(name, "") for name in table.names])
            table = light_table(table, light)
            scale = scale * light.scale
            findings += self._judge(light)
        stiffness = self._choose_stiffness(measures.matched)
        solved = solve_surfaces(
            table,
            points=self.options.control_points,
            correction=self.options.correction,
            smoothness=stiffness.smoothness,
            ridge=stiffness.ridge,
            vignettes=stiffness.vignettes,
        )
        fits = self._fit(table, solved, measures.matched)
        found = {
            surface.scene: replace(
                _join(surface, scale[number], None if light is None else light.pattern[light.group[number]], fits),
                adjustment=adjusted.get(surface.scene),
            )
            for number, surface in enumerate(solved.surfaces)
            if surface.scene not in known
        }
        agreement = None if light is None else draw_agreement(table, solved.weights, measures.matched.canvas)
        corrections = tuple(known[name] if name in known else found[name] for name in names)
        return SurfaceCorrections(corrections=corrections, findings=tuple(findings), agreement=agreement)

    def _choose_stiffness(self, matched: MatchedPairs) -> Stiffness:
        """As configured, and as the case asks for where nothing is said."""
        usual = _HELD if matched.references else _LIT if self.options.illumination == "shared" else _ALONE
        told = {name: value for name in ("smoothness", "ridge") if (value := getattr(self.options, name)) is not None}
        return replace(usual, **told)

    def _fit(self, table: BlockTable, solved: SurfaceSolution, matched: MatchedPairs) -> dict[str, ControlSurface]:
        """Fits to references in small kernels, of what the surfaces leave."""
        if not matched.references or self.options.kernel is None:
            return {}
        references = set(matched.references)
        against = np.array([name in references for name in table.names], dtype=np.bool_)
        flattened = correct_table(table, solved.surfaces)
        fits = fit_in_kernels(replace(flattened, held=against), solved.weights, matched.canvas, kernel=self.options.kernel)
        return {fit.scene: fit for fit in fits if fit is not None and fit.scene not in matched.held}

    def _adjust(self, matched: MatchedPairs, adjustments: Mapping[str, Adjustment]) -> BlockTable:
        """The table of globally adjusted scenes, those with known surfaces corrected and held."""
        table = matched.make_table()
        known = [self._known[name].compose() if name in self._known else None for name in table.names]
        return hold_scenes(correct_table(adjust_scenes(table, adjustments), known), self._known.keys())

    def _compare_adjustments(self, adjusted: Mapping[str, Adjustment]) -> Iterator[Finding]:
        """Say that known surfaces lie on other gains and offsets than those that they were solved after."""
        moved = [
            name
            for name, before in self.known_adjustments.items()
            if (now := adjusted.get(name)) is not None
            and not (np.array_equal(now.scale, before.scale) and np.array_equal(now.offset, before.offset))
        ]
        if moved:
            message = (
                f"load_surfaces: {len(moved)} scenes ({', '.join(sorted(moved)[:5])}) have other gains and offsets now than "
                "those that their surfaces were solved after, so that they are not matched as they were; the global method "
                "that keeps them is robust_regression"
            )
            yield Finding(severity="warning", code="surfaces-on-other-gains", message=message, stage=self.name)

    def _judge(self, light: IlluminationSolution) -> Iterator[Finding]:
        """Say where the pattern of a group cannot be told from a trend of the gains."""
        for group, (order, determined) in enumerate(zip(light.order.tolist(), light.determined, strict=True)):
            weak = [term for term, share in zip(TERMS, determined.tolist(), strict=True) if share < _DETERMINED]
            if order and weak:
                message = (
                    f"the light that scenes share is badly determined in {', '.join(weak)} (group {group + 1}): it cannot be "
                    "told from a trend of the gains; more overlap across that direction, or a reference, would decide"
                )
                yield Finding(severity="info", code="illumination-undetermined", message=message, stage=self.name)

    def list_findings(self, solution: LocalSolution) -> Iterator[Finding]:
        """How well the shared light is determined, where it is not."""
        if isinstance(solution, SurfaceCorrections):
            yield from solution.findings

    def list_files(self, solution: LocalSolution) -> Iterator[TextFile | BlockRaster]:
        """The surfaces."""
        if isinstance(solution, SurfaceCorrections):
            yield TextFile(
                key="surfaces",
                path="surfaces.json",
                title="Surfaces of gain and offset of each scene, and the light that scenes share",
                media_type="application/json",
                text=render_surfaces(solution.corrections),
            )
            if solution.agreement is not None:
                yield make_agreement_raster(solution.agreement)


def _join(
    surface: ControlSurface,
    scale: NDArray[np.float64],
    pattern: NDArray[np.float64] | None,
    fits: Mapping[str, ControlSurface],
) -> LitSurface:
    """A scene's surface, with its gain (bands,) before it, the pattern of the light (bands, 5), and its fit if it has one."""
    if (scale != 1.0).any():
        factor = scale[:, None, None]
        shape = (len(scale), surface.grid.rows, surface.grid.cols)
        gain = np.broadcast_to(factor, shape) if surface.gain is None else factor * surface.gain
        surface = replace(surface, gain=np.ascontiguousarray(gain))
    return LitSurface(surface=surface, pattern=pattern, fit=fits.get(surface.scene)).round()
