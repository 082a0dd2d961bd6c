"""The methods that a configuration chooses, one a stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from processor.config.sections import Config
from processor.stages import STAGES, Stage
from processor.stages.method import FileContents, Need, StageMethod

if TYPE_CHECKING:
    from processor.model.options import Resolution
    from processor.stages.align.method import AlignMethod
    from processor.stages.clip.method import ClipMethod
    from processor.stages.matching.method import GlobalMethod, LocalMethod
    from processor.stages.merge.method import MergeMethod
    from processor.stages.seamlines.method import SeamlineMethod


@dataclass(frozen=True, slots=True, kw_only=True)
class Methods:
    """The method of each stage, with its options and the user's files; of a stage that is off, one that does nothing."""

    matching_global: GlobalMethod[Any]
    """Finds one gain and one offset for each scene and band."""
    matching_local: LocalMethod[Any]
    """Corrects each scene by position."""
    align: AlignMethod[Any]
    """Puts scenes on the mosaic's grid."""
    seamlines: SeamlineMethod[Any]
    """Shares the mosaic out among the scenes."""
    clip: ClipMethod[Any]
    """Cuts scenes by their cells or by the user's regions."""
    merge: MergeMethod[Any]
    """Makes one raster of them."""

    def __iter__(self) -> Iterator[tuple[Stage, StageMethod[Any]]]:
        """The stages that are on, in order, with their methods."""
        every = (self.matching_global, self.matching_local, self.align, self.seamlines, self.clip, self.merge)
        return ((stage, method) for stage, method in zip(STAGES, every, strict=True) if method.is_on)

    def find(self, stage: str) -> StageMethod[Any]:
        """The method of a stage that is on."""
        return next(method for known, method in self if known.name == stage)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the methods of the stages that are on, in order."""
        return tuple(method.name for _, method in self)

    @property
    def resolution(self) -> Resolution:
        """Which of the scenes' pixel sizes the mosaic has."""
        return self.align.resolution or self.merge.resolution

    @property
    def cuts_by_cells(self) -> bool:
        """Whether each scene gives the pixels of its cell, and not those of a file of the user, or all."""
        return self.clip.is_on and self.seamlines.is_on and not self.clip.has_region

    def list_needs(self, scenes: tuple[str, ...]) -> frozenset[Need]:
        """What has to be measured of the scenes of these names."""
        return frozenset().union(*(method.list_needs(scenes) for _, method in self))


def choose_methods(config: Config, files: Mapping[str, FileContents] | None = None) -> Methods:
    """Make the methods that are chosen.

    Parameters
    ----------
    files
        What the user's own files say, by method; default: nothing is known of them.
    """
    chosen: dict[str, Any] = {}
    for stage in STAGES:
        name = config.find_method(stage.switch)
        if name is None:
            chosen[stage.name] = resolve_name(stage.off)(name="", options=config.section(stage.default))
        else:
            known = (files or {}).get(name, FileContents())
            chosen[stage.name] = stage.methods[name].load()(name=name, options=config.section(name), files=known)
    return Methods(**chosen)
