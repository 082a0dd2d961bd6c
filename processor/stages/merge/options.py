"""Options of the methods of merging."""

from __future__ import annotations

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


class MedianOptions(Section):
    """Stage 6: a mosaic of the median of all scenes that have a pixel, band by band: stacks of dates, clouds not masked."""

    resolution: Resolution = option("highest", _RESOLUTION, example="average")
    build_overviews: bool = option(True, _OVERVIEWS, example=False)


class GeomedianOptions(Section):
    """Stage 6: a mosaic of the geometric median of all scenes that have a pixel, all bands at once."""

    resolution: Resolution = option("highest", _RESOLUTION, example="average")
    build_overviews: bool = option(True, _OVERVIEWS, example=False)
    iterations: int = option(15, "Steps of Weiszfeld's method, from the median on.", example=30, ge=1, le=200)
