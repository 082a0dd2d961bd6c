"""What the engine asks of methods of alignment."""

from __future__ import annotations

from typing import ClassVar, Literal

from processor.model.options import Resolution, Section
from processor.stages.method import OptionsT, StageMethod


class AlignMethod(StageMethod[OptionsT]):
    """Puts all scenes on one pixel grid. As it is, the stage is off: the mosaic's pixel size is that of merging."""

    @property
    def resolution(self) -> Resolution | None:
        """Which of the scenes' pixel sizes the grid has; None: as merging has it."""
        return None

    @property
    def coregister(self) -> Literal["measure"] | bool:
        """Whether it is found out how far scenes lie beside one another ("measure"), and whether that is mended (True)."""
        return False

    @property
    def tap(self) -> bool | None:
        """Whether the bounds snap outward to whole multiples of the pixel size; None: where the scenes share no grid."""
        return False

    @property
    def resampling(self) -> Literal["nearest", "bilinear", "cubic"]:
        """How a scene whose grid does not agree is resampled."""
        return "nearest"


class NoAlignment(AlignMethod[Section]):
    """The stage is off: scenes are moved to the mosaic's grid by their nearest pixels."""

    is_on: ClassVar[bool] = False
