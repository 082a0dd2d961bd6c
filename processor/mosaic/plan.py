"""The plan: everything that is decided before a pixel is read."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import reduce
from typing import Final, Literal, get_args

from processor.config import Config
from processor.config.methods import Methods
from processor.geotiff.open import level_grid
from processor.model import Band, BlockGrid, Bounds, Finding, Grid, Scene, Window
from processor.model.bands import merge_bands
from processor.mosaic.chunks import Chunks
from processor.stages.matching.matched_blocks import choose_edge, choose_fine_edge, most_blocks
from processor.stages.matching.reference_blocks import BlockSize
from processor.stages.merge.blending import BlendRule
from processor.stages.merge.method import LayerMethod, StackMethod
from processor.stages.method import Need
from processor.stages.scene_cells import CellLattice, choose_lattice

BLOCK_EDGE = 512  # pixels: blocks of the mosaic
MATCHED_BLOCK: Final = 16
"""Pixels of the mosaic on the edge of a matched block of two scenes, at least."""
FINE_BLOCK: Final = 4
"""The same where a method needs fine blocks."""

_MATCHED_PIXELS = 8  # measured pixels on the edge of a matched block, at least
_FINE_PIXELS = 2  # the same of a fine block
_NEARLY = 0.01  # of a pixel: what is too small by this is large enough

Phase = Literal["measure", "blocks", "solve", "render", "assemble"]
PHASES: Final[tuple[Phase, ...]] = get_args(Phase)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A reference image where the scenes are; never painted."""

    scene: Scene
    """On its own grid and in its own CRS, with the bands of the scenes; of pixels that are no finer than the measured ones."""
    bounds: Bounds
    """What it covers of the mosaic, at least, in the mosaic's CRS."""
    pixel: tuple[float, float]
    """Height and width of its pixels, pixels of the mosaic."""
    scenes: int
    """Number of scenes whose bounds it meets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """An image that the mosaic is judged by; never fitted."""

    scene: Scene
    """On a lattice of the mosaic's grid, with the bands of the scenes."""
    edge: int
    """Edge of the lattice's cells, pixels of the mosaic."""
    joined: int
    """How many of those a side are compared as one cell, so that the mosaic has not too many."""

    @property
    def cell(self) -> int:
        """Edge of what is compared, pixels of the mosaic."""
        return self.edge * self.joined

    def find_shape(self, grid: Grid) -> tuple[int, int]:
        """Rows and columns of the cells that cover the mosaic's grid."""
        return -(-grid.height // self.cell), -(-grid.width // self.cell)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that is decided before a pixel is read."""

    config: Config
    """Configuration of the run."""
    methods: Methods
    """Of the stages, with what the user's own files say."""
    scenes: tuple[Scene, ...]
    """In name order."""
    references: tuple[Reference, ...]
    """What the scenes are matched to, in name order."""
    checks: tuple[Check, ...]
    """What the mosaic is judged by, in name order."""
    grid: Grid
    """Grid of the mosaic."""
    dtype: str
    """Numpy dtype name of the mosaic."""
    nodata: float
    """Value of invalid pixels of the mosaic, maybe NaN."""
    levels: tuple[int | None, ...]
    """For each scene the overview that is measured, None for full resolution."""
    needs: frozenset[Need]
    """What has to be measured; nothing where the first pass has nothing to find out."""
    blocks: BlockGrid | None
    """Block grid of the local adjustment; None where that is off, or follows from the coefficient of variation."""
    pairs: tuple[tuple[int, int], ...]
    """Positions (i, j), i < j, of scenes whose bounds share an area."""
    chunks: Chunks
    """The measuring tasks."""
    window_edge: int
    """Edge of the render windows, pixels."""
    findings: tuple[Finding, ...]
    """What planning brought to light."""

    @property
    def bands(self) -> int:
        """Bands of every scene."""
        return len(self.scenes[0].bands)

    def describe_bands(self) -> tuple[Band, ...]:
        """What the bands of the mosaic are called, and what their values mean: as in references, where there are any."""
        bands = merge_bands(self.scenes)
        if not self.references:
            return bands
        units = merge_bands([reference.scene for reference in self.references])
        return tuple(replace(band, scaling=own.scaling, unit=own.unit) for band, own in zip(bands, units, strict=True))

    @property
    def canvas(self) -> Bounds:
        """Union of the scenes' bounds."""
        return reduce(Bounds.union, (scene.grid.bounds for scene in self.scenes))

    @property
    def lattice(self) -> CellLattice | None:
        """Cells over which the mosaic is compared with the scenes as they came; None where there is no mosaic."""
        return choose_lattice(self.grid) if self.methods.merge.is_on else None

    @property
    def blend(self) -> BlendRule | None:
        """How scenes are blended along their seams; None: they are not."""
        width = self.methods.merge.blend if isinstance(self.methods.merge, LayerMethod) else 0.0
        if not width:
            return None
        return BlendRule(width=width, pixel_height=self.grid.pixel_height, pixel_width=self.grid.pixel_width)

    @property
    def reads_for_measures(self) -> bool:
        """Whether the first pass has anything to find out."""
        return bool(self.needs)

    @property
    def has_late_blocks(self) -> bool:
        """Whether the blocks that are summed hang on the statistics, so that there is a pass of their own for them."""
        return "blocks" in self.needs and self.blocks is None

    @property
    def is_stack(self) -> bool:
        """Whether pixels are made of all scenes, so that there are no cells, and numbers of observations for a scene index."""
        return isinstance(self.methods.merge, StackMethod)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """What the run has to go through, in order."""
        absent = {
            "measure": not self.reads_for_measures,
            "blocks": not self.has_late_blocks,
            "render": not self.methods.merge.is_on,
        }
        return tuple(phase for phase in PHASES if not absent.get(phase, False))

    def find_name(self, source: int) -> str:
        """Name of a scene or, counted on from the scenes, of a reference."""
        return self.scenes[source].name if source < len(self.scenes) else self.references[source - len(self.scenes)].scene.name

    def measure_grid(self, scene: int) -> Grid:
        """The grid on which a scene is measured."""
        return level_grid(self.scenes[scene], self.levels[scene])

    def count_compared(self) -> int:
        """Pairs of scenes, and of scenes with references."""
        return len(self.pairs) + sum(reference.scenes for reference in self.references)

    def block_edge(self, pair: tuple[int, int]) -> int:
        """Edge of the matched blocks of a pair of scenes, pixels of the mosaic, doubled until their number is bounded."""
        size = MATCHED_BLOCK
        coarsest = max(self.measure_grid(scene).pixel_width for scene in pair) / self.grid.pixel_width
        while size < _MATCHED_PIXELS * coarsest:
            size *= 2
        return choose_edge(self._find_overlap(pair), self.count_compared(), size=size)

    def fine_edge(self, pair: tuple[int, int]) -> int:
        """Edge of the blocks in which a pair of scenes is measured, mosaic pixels: fine ones where a method needs them."""
        edge = self.block_edge(pair)
        if "fine_blocks" not in self.needs:
            return edge
        coarsest = max(self.measure_grid(scene).pixel_width for scene in pair) / self.grid.pixel_width
        least = max(FINE_BLOCK, math.ceil(_FINE_PIXELS * coarsest))
        return choose_fine_edge(self._find_overlap(pair), self.count_compared(), edge=edge, least=least)

    def count_fine_blocks(self, pair: tuple[int, int]) -> int:
        """Blocks in which a pair of scenes is measured, at most."""
        overlap, edge = self._find_overlap(pair), self.fine_edge(pair)
        return (overlap.height // edge + 2) * (overlap.width // edge + 2)

    def _find_overlap(self, pair: tuple[int, int]) -> Window:
        """What the bounds of two scenes share, pixels of the mosaic."""
        first, second = (self.scenes[scene].grid.bounds for scene in pair)
        shared = first.intersection(second)
        return Window(row=0, col=0, height=0, width=0) if shared is None else self.grid.window_of_centres(shared)

    def reference_blocks(self, scene: int, reference: Reference) -> BlockSize:
        """Blocks of a scene against a reference: of as few of its pixels as hold 8 x 8 of the scene's, and are bounded."""
        own, (height, width) = self.measure_grid(scene), reference.pixel
        shared = self.scenes[scene].grid.bounds.intersection(reference.bounds)
        down, across = own.pixel_height / self.grid.pixel_height, own.pixel_width / self.grid.pixel_width
        pixels = max(1, math.ceil(_MATCHED_PIXELS * max(down / height, across / width) - _NEARLY))
        if shared is not None:
            rows, cols = shared.height / self.grid.pixel_height / height, shared.width / self.grid.pixel_width / width
            while (rows / pixels + 1) * (cols / pixels + 1) > most_blocks(self.count_compared(), is_reference=True):
                pixels *= 2
        return BlockSize(
            pixels=pixels,
            edge=pixels * math.sqrt(height * width),
            whole=pixels * pixels * height * width / (down * across),
        )
