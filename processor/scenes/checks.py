"""Check rasters: what the finished mosaic is judged by. They are read as references are, and never fitted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from processor.config.general import Check
from processor.model import Grid, Scene
from processor.scenes.references import open_known, place_reference, unify_known
from processor.storage.options import Access

CHECK_PREFIX: Final = "check:"
"""What names of checks begin with, so that none is a scene's."""

_MOST_CELLS: Final = 500_000


def read_checks(setting: Check, scenes: Sequence[Scene], access: Access, *, threads: int) -> tuple[Scene, ...]:
    """Open the checks that the configuration names, and give them the bands of the scenes, in name order.

    Raises
    ------
    InputError
        They cannot be read, or bands of the scenes are missing in one.
    StorageError
        Storage or the network failed.
    """
    opened = open_known(setting, access, section="check", threads=threads)
    found = (unify_known(check, scenes[0], setting.bands, section="check") for check in opened)
    return tuple(sorted(found, key=lambda check: check.name))


def place_check(check: Scene, grid: Grid) -> tuple[Scene, int, int] | None:
    """Put a check on a lattice of the mosaic's grid.

    Returns
    -------
    The check on a lattice whose cells are as large as its own pixels; the edge of those in pixels of the mosaic; and how many a
    side are joined, so that the mosaic has at most 500,000 cells. None where it lies beside the mosaic.

    Raises
    ------
    InputError
        It cannot be projected to the mosaic's CRS.
    """
    placed = place_reference(check, grid, 1.0)
    if placed is None:
        return None
    edge = round(placed[0].grid.pixel_width / grid.pixel_width)
    joined = 1
    while math.ceil(grid.width / (edge * joined)) * math.ceil(grid.height / (edge * joined)) > _MOST_CELLS:
        joined += 1
    return placed[0], edge, joined
