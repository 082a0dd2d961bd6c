"""What the engine asks of methods of merging."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from processor.model.options import Resolution
from processor.stages.merge.options import MergeRastersOptions
from processor.stages.method import OptionsT, StageMethod


class MergeMethod(StageMethod[OptionsT], ABC):
    """Makes one raster from all scenes: each pixel from one of them, or (:class:`StackMethod`) from all."""

    @property
    @abstractmethod
    def resolution(self) -> Resolution:
        """Which of the scenes' pixel sizes the mosaic has where they were not aligned."""


class LayerMethod(MergeMethod[OptionsT], ABC):
    """Takes each pixel from one scene."""

    @property
    def blend(self) -> float:
        """Width over which scenes are blended along their seams, CRS units; 0: they are not."""
        return 0.0

    @abstractmethod
    def lay(
        self,
        mosaic: NDArray[np.generic],
        index: NDArray[np.generic],
        layer: NDArray[np.generic],
        take: NDArray[np.bool_],
        number: int,
    ) -> None:
        """Lay the pixels of one scene over a window of the mosaic, in place.

        Parameters
        ----------
        mosaic, index
            (bands, height, width) and (height, width); both are written where ``take`` holds.
        layer
            (bands, height, width), the scene's pixels in the mosaic's dtype.
        take
            (height, width), True where the scene's pixel goes into the mosaic.
        number
            The scene's number in the index.
        """


class StackMethod(MergeMethod[OptionsT], ABC):
    """Makes each pixel of all scenes that have one there; there are no cells, and no scene that a pixel came from."""

    def count_choosing_bytes(self, scenes: int, bands: int) -> int:
        """Bytes that :meth:`choose` holds beside its arguments, at most."""
        del scenes, bands
        return 0

    def choose(self, stack: NDArray[np.generic], valid: NDArray[np.bool_]) -> None:
        """Take observations that are not to count out of ``valid``, in place.

        Parameters
        ----------
        stack
            (scenes, bands, height, width) in the mosaic's dtype, scenes in name order; what is not valid is anything. The upper
            left pixel is that of a block of 16 x 16 pixels of the mosaic.
        valid
            (scenes, height, width).
        """
        del stack, valid

    @abstractmethod
    def combine(
        self, stack: NDArray[np.generic], valid: NDArray[np.bool_], nodata: float, *, out: NDArray[np.generic]
    ) -> NDArray[np.generic]:
        """Make the pixels of a part of the mosaic.

        Parameters
        ----------
        stack
            (scenes, bands, pixels) in the mosaic's dtype, scenes in name order; what is not valid is anything.
        valid
            (scenes, pixels).
        nodata
            Of the mosaic; what a pixel without a valid value becomes.
        out
            (bands, pixels) of the stack's dtype; receives the result and is returned.
        """


class NoMerging(MergeMethod[MergeRastersOptions]):
    """The stage is off: there is no mosaic, and the last stage's rasters are the result."""

    is_on: ClassVar[bool] = False

    @property
    def resolution(self) -> Resolution:
        """Of the mosaic that there could be."""
        return self.options.resolution
