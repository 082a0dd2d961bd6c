"""What options of several stages say alike."""

from __future__ import annotations

from typing import Final

OUTPUT_IMAGES: Final = (
    "Where to keep this stage's rasters: a folder, a list of files in input order, or a file name with $ for the scene."
)
VECTOR_MASK: Final = "Pixels that {0}: (include or exclude, vector file[, field whose value names the scene])."
