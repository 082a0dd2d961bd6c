"""Options of the methods of merging."""

from __future__ import annotations

from processor.model.options import Resolution, Section, option


class MergeRastersOptions(Section):
    """Stage 6: the mosaic."""

    resolution: Resolution = option("highest", "Pixel size of the mosaic where the scenes were not aligned.", example="average")
    build_overviews: bool = option(True, "Overviews by averaging, down to one block.", example=False)
