"""Options of the methods of clipping."""

from __future__ import annotations

from processor.model.options import Paths, Section, VectorMask, option
from processor.stages.options import OUTPUT_IMAGES, VECTOR_MASK


class MaskRastersOptions(Section):
    """Stage 5: scenes cut by their cells."""

    output_images: Paths | None = option(None, OUTPUT_IMAGES, example="clipped/$.tif", path=True)
    vector_mask: VectorMask | None = option(
        None, VECTOR_MASK.format("are kept, instead of the cells"), example="[include, parcels.gpkg, scene]", reads="region"
    )
    include_touched_pixels: bool = option(
        False, "Keep every pixel that the cell touches, not just those whose centre is in it.", example=True
    )
