"""Judging the finished mosaic by its scenes as they came, and by check rasters, the last thing that is read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from processor.geotiff.reader import RasterReader
from processor.model import Window
from processor.mosaic.plan import Check, Plan
from processor.mosaic.rendered import Rendered
from processor.scenes.checks import CHECK_PREFIX
from processor.stages.check_cells import CellSums, Fidelity, compute_fidelity, merge_cell_sums, sum_cells
from processor.stages.measures import Measures

_EDGE = 1024  # pixels of the check that are read at a time


def judge_fidelity(plan: Plan, rendered: Rendered, reader: RasterReader) -> tuple[Fidelity, ...]:
    """How well the mosaic agrees with each check of the plan, in their order.

    Raises
    ------
    InputError, StorageError
        A check cannot be read.
    """
    found = []
    for check, mosaic in zip(plan.checks, rendered.cells, strict=True):
        known = merge_cell_sums(_iter_sums(plan, check, reader), plan.bands, check.find_shape(plan.grid))
        cells, share = compute_fidelity(mosaic, check.cell**2, known, check.joined**2)
        name = check.scene.name.removeprefix(CHECK_PREFIX)
        found.append(Fidelity(name=name, cell=check.cell, cells=cells, explained=share))
    return tuple(found)


def judge_scene_fidelity(plan: Plan, measures: Measures, rendered: Rendered) -> Fidelity | None:
    """How well the mosaic agrees with its scenes as they came, averaged where several lie; None where these were not read.

    Cells count of which the mosaic has 90 %.
    """
    lattice = plan.lattice
    if lattice is None or measures.cells is None or rendered.means is None:
        return None
    least = float(np.finfo(np.float64).tiny)  # what the mosaic has, some scene has too
    cells, share = compute_fidelity(rendered.means, lattice.pixels, measures.cells, least)
    return Fidelity(name="scenes", cell=lattice.edge, cells=cells, explained=share)


def _iter_sums(plan: Plan, check: Check, reader: RasterReader) -> Iterator[CellSums]:
    """Sums of the check's own pixels by cells, window by window."""
    lattice = check.scene.grid
    top = round((plan.grid.top - lattice.top) / lattice.pixel_height)
    left = round((lattice.left - plan.grid.left) / lattice.pixel_width)
    for row in range(0, lattice.height, _EDGE):
        for col in range(0, lattice.width, _EDGE):
            window = Window(row=row, col=col, height=min(_EDGE, lattice.height - row), width=min(_EDGE, lattice.width - col))
            pixels = reader.read(check.scene, window)
            valid = np.ones(window.shape, np.bool_) if pixels.complete is None else pixels.complete
            yield sum_cells(pixels.values, valid, (top + row, left + col), check.joined)
