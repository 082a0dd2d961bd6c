"""Options of the methods of alignment."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from processor.model.crs_text import check_crs_text
from processor.model.options import CrsText, Paths, Resolution, Section, option
from processor.stages.options import OUTPUT_IMAGES


class AlignRastersOptions(Section):
    """Stage 3: one pixel grid for all scenes."""

    output_images: Paths | None = option(None, OUTPUT_IMAGES, example="aligned/$.tif", path=True)
    resampling_method: Literal["nearest", "bilinear", "cubic"] = option(
        "bilinear", "How a scene whose grid does not agree is resampled.", example="cubic"
    )
    tap: bool | None = option(
        None,
        "Snap the bounds outward to whole multiples of the pixel size (false: the mosaic begins at the scenes' corner). Null: "
        "the grid that all scenes share, so that no pixel is resampled; true where they share none. The preset spectralmatch "
        "and pipeline() have true.",
        example=False,
    )
    resolution: Resolution = option(
        "highest",
        "Pixel size: the smallest, the mean or the largest of the scenes' that are in the mosaic's CRS, if any is.",
        example="lowest",
    )
    coregister: Literal["measure"] | bool = option(
        False,
        "Find out how far scenes lie beside one another where they overlap: `measure` reports it, true also moves each scene "
        "by one shift, in the same resampling, and measures at full resolution.",
        example=True,
    )
    crs: CrsText | None = option(
        None,
        "CRS of the mosaic, an authority's code, WKT2 or PROJJSON; null: the scenes', the commonest where they differ.",
        example="EPSG:32632",
    )

    @field_validator("crs")
    @classmethod
    def _check_crs(cls, value: str | None) -> str | None:
        if value is not None:
            check_crs_text(value)
        return value
