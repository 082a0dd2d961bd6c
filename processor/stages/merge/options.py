"""Options of the methods of merging."""

from __future__ import annotations

from typing import Literal

from processor.model.options import Resolution, Section, option

_RESOLUTION = "Pixel size of the mosaic where the scenes were not aligned."
_OVERVIEWS = "Overviews by averaging, down to one block."


class MergeRastersOptions(Section):
    """Stage 6: the mosaic."""

    resolution: Resolution = option("highest", _RESOLUTION, example="average")
    build_overviews: bool = option(True, _OVERVIEWS, example=False)
    blend: float = option(
        0.0,
        "Width over which scenes go over into one another along their seams, half of it on either side: low frequencies over "
        "this width, details at the seam; 0: they are cut.",
        example=20.0,
        unit="CRS units",
        ge=0,
        allow_inf_nan=False,
    )


class StackOptions(Section):
    """What methods that make a pixel of all scenes have in common."""

    resolution: Resolution = option("highest", _RESOLUTION, example="average")
    build_overviews: bool = option(True, _OVERVIEWS, example=False)
    observations: Literal["agreeing", "all"] = option(
        "agreeing",
        "Which observations of a pixel count: those that show what most alike dates show there, without clouds that nothing "
        "marks, or all.",
        example="all",
    )


class MedianOptions(StackOptions):
    """Stage 6: a mosaic of the median of all scenes that have a pixel, band by band: stacks of dates, clouds not masked."""


class GeomedianOptions(StackOptions):
    """Stage 6: a mosaic of the geometric median of all scenes that have a pixel, all bands at once."""

    iterations: int = option(15, "Steps of Weiszfeld's method, from the median on.", example=30, ge=1, le=200)
