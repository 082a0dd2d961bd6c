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
    """Makes one raster from all scenes."""

    @property
    @abstractmethod
    def resolution(self) -> Resolution:
        """Which of the scenes' pixel sizes the mosaic has where they were not aligned."""

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


class NoMerging(MergeMethod[MergeRastersOptions]):
    """The stage is off: there is no mosaic, and the last stage's rasters are the result."""

    is_on: ClassVar[bool] = False

    @property
    def resolution(self) -> Resolution:
        """Of the mosaic that there could be."""
        return self.options.resolution

    def lay(
        self,
        mosaic: NDArray[np.generic],
        index: NDArray[np.generic],
        layer: NDArray[np.generic],
        take: NDArray[np.bool_],
        number: int,
    ) -> None:
        """Nothing."""
