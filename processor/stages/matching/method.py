"""What the engine asks of methods of radiometric matching."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from processor.model import Adjustment, BlockGrid, Bounds, Finding, Grid, Moments, Overlap, Window
from processor.model.options import Section
from processor.stages.block_sums import BlockSums
from processor.stages.files import BlockArchive, BlockRaster, DataFile, TextFile
from processor.stages.matching.blocks_file import KnownBlocks
from processor.stages.matching.options import GlobalRegressionOptions
from processor.stages.measures import Measures
from processor.stages.method import OptionsT, Region, StageMethod


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GlobalSolution:
    """What a global method decides."""

    adjustments: tuple[Adjustment, ...] = ()
    """One a scene, in name order; empty where the stage is off."""
    others: tuple[Adjustment, ...] = ()
    """Of scenes that are only in the statistics given, by name."""
    findings: tuple[Finding, ...] = ()
    """What solving brought to light."""


class GlobalMethod(StageMethod[OptionsT], ABC):
    """Finds one gain and one offset for each scene and band."""

    @property
    def region(self) -> Region | None:
        """Pixels that count for the statistics; None: all valid ones."""
        return None

    @property
    def estimates(self) -> bool:
        """Whether overviews will do for what is measured."""
        return True

    def check(self, scenes: Sequence[str]) -> None:
        """Refuse options that do not fit the scenes, before any pixel is read.

        Raises
        ------
        ConfigError
            Naming the parameter.
        """

    def hold(self, scenes: Sequence[str]) -> tuple[str, ...]:
        """Names of the scenes that keep their radiometry."""
        del scenes
        return ()

    def recall(self) -> tuple[Mapping[str, Moments], Sequence[Overlap]]:
        """Statistics that are known without measuring: of scenes by name, and of pairs in name order."""
        return {}, ()

    @property
    def known_blocks(self) -> KnownBlocks | None:
        """Matched blocks that are known without measuring, or None."""
        return None

    @abstractmethod
    def solve(self, measures: Measures) -> GlobalSolution:
        """Decide the adjustments of all scenes."""

    def list_files(self, measures: Measures, solution: GlobalSolution) -> Iterator[TextFile | DataFile | BlockRaster]:
        """Files that document the solution."""
        del measures, solution
        yield from ()


class NoGlobalMatching(GlobalMethod[GlobalRegressionOptions]):
    """The stage is off: values stay as they are."""

    is_on: ClassVar[bool] = False

    @property
    def estimates(self) -> bool:
        """As configured of the method that is chosen when nothing is said."""
        return self.options.estimate_stats

    def solve(self, measures: Measures) -> GlobalSolution:
        """No adjustment."""
        del measures
        return GlobalSolution()


class StripCorrection(Protocol):
    """The local correction of a scene over a window, for one thread."""

    def apply(self, values: NDArray[np.floating], band: int, rows: slice) -> NDArray[np.floating]:
        """Correct some rows of a band, globally adjusted, in place; the array is returned.

        Parameters
        ----------
        values
            (rows, width), source units, of the calculation's dtype; invalid pixels may hold anything.
        band
            From 0.
        rows
            Of the window.
        """
        ...


class SceneCorrection(Protocol):
    """The local correction of a scene."""

    @property
    def scene(self) -> str:
        """Name of the scene."""
        ...

    def on_window(self, grid: Grid, window: Window, dtype: type[np.floating], strip: int) -> StripCorrection:
        """The correction over a window of the scene's grid, by absolute position: no value depends on the window.

        Parameters
        ----------
        grid, window
            Where the pixels lie.
        dtype
            Of the calculation.
        strip
            Rows that are corrected at a time, at most.
        """
        ...

    def apply_at(self, values: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Corrected values of scattered pixels, (bands, n), at CRS coordinates (n,); the argument stays as it is."""
        ...

    def compute_factors(self, level: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the correction makes of a level (bands,) where it is decided, as factors (bands, rows, cols); NaN: nothing."""
        ...


class LocalSolution(Protocol):
    """What a local method decides; a frozen dataclass."""

    @property
    def corrections(self) -> Sequence[SceneCorrection]:
        """One a scene, in name order; empty where the stage is off."""
        ...


class LocalMethod(StageMethod[OptionsT], ABC):
    """Finds a correction for each scene that varies within it."""

    @property
    def region(self) -> Region | None:
        """Pixels that count for the sums of blocks; None: all valid ones."""
        return None

    @property
    def solves_gains(self) -> bool:
        """Whether it solves for the gains of scenes too, so that no global method may go before."""
        return False

    @property
    def known_adjustments(self) -> Mapping[str, Adjustment]:
        """Global adjustments, by scene, that corrections which are known were solved after."""
        return {}

    def find_group(self, properties: Mapping[str, Any]) -> str:
        """What scenes that share their illumination have in common, from an Item's properties."""
        del properties
        return ""

    def plan_blocks(self, canvas: Bounds, scenes: int) -> BlockGrid | None:
        """The blocks that are summed, over the scenes' common bounds; None where that hangs on the statistics."""
        del canvas, scenes
        return None

    def find_blocks(self, canvas: Bounds, measures: Measures) -> BlockGrid:
        """The blocks that are summed, once the statistics are known."""
        raise NotImplementedError

    @abstractmethod
    def solve(
        self, measures: Measures, adjustments: Sequence[Adjustment], blocks: BlockGrid | None, sums: Sequence[BlockSums]
    ) -> LocalSolution:
        """Decide the corrections of all scenes.

        Parameters
        ----------
        measures
            Of the raw scenes.
        adjustments
            One a scene, in name order; the identity where global matching is off.
        blocks, sums
            The block grid and each scene's sums in it, if they were needed; else None and empty.
        """

    def list_findings(self, solution: LocalSolution) -> Iterator[Finding]:
        """What solving brought to light."""
        del solution
        yield from ()

    def list_files(self, solution: LocalSolution) -> Iterator[TextFile | BlockArchive | BlockRaster]:
        """Files that document the solution."""
        del solution
        yield from ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Uncorrected:
    """No correction."""

    corrections: tuple[SceneCorrection, ...] = ()


class NoLocalMatching(LocalMethod[Section]):
    """The stage is off: values stay as they are."""

    is_on: ClassVar[bool] = False
    records: ClassVar[tuple[type, ...]] = (_Uncorrected,)

    def solve(
        self, measures: Measures, adjustments: Sequence[Adjustment], blocks: BlockGrid | None, sums: Sequence[BlockSums]
    ) -> LocalSolution:
        """No correction."""
        del measures, adjustments, blocks, sums
        return _Uncorrected()
