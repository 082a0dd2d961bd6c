"""What the engine asks of methods of clipping."""

from __future__ import annotations

from typing import ClassVar

from processor.model.options import Section
from processor.stages.method import OptionsT, Region, StageMethod


class ClipMethod(StageMethod[OptionsT]):
    """Decides which pixels of a scene may go into the mosaic: those of its cell, or those that the user says."""

    @property
    def has_region(self) -> bool:
        """Whether the user says which pixels are kept, by a file."""
        return False

    @property
    def region(self) -> Region | None:
        """Pixels that are kept of each scene, instead of its cell; None: the cell's."""
        return None

    @property
    def keeps_touched(self) -> bool:
        """Whether every pixel that the border touches is kept, not just those whose centre is inside."""
        return False


class NoClipping(ClipMethod[Section]):
    """The stage is off: scenes lie over one another whole."""

    is_on: ClassVar[bool] = False
