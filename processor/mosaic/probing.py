"""A look at some pixels of each scene before a run is planned: which scenes have none, and whose overviews are of other pixels.

What is found is recorded in the scenes that are planned with, so that every task of a run agrees on it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from processor.geotiff.compose import Pixels
from processor.geotiff.open import level_grid, unit_shape
from processor.geotiff.reader import RasterReader
from processor.model import Finding, Grid, Scene, Window
from processor.mosaic.plan import Plan
from processor.process.threads import map_ordered
from processor.stages.statistics import zero_invalid

_MEMORY: Final = 128 * 2**20  # bytes of what is decoded at once
_GLANCE: Final = 1024  # pixels a side up to which an overview is looked at as a whole
_WINDOW: Final = 512  # pixels a side of a window that is compared
_SHARE: Final = 16  # of a scene, one part at most is compared, but a window always
_MOST_WINDOWS: Final = 3
_WRONG: Final = 0.01  # share of a window's cells that may be valid in one of both alone
_CERTAIN: Final = 6.0  # standard errors
_BIAS: Final = 0.03  # of the spread of the pixels: less is no matter
_EDGE_BIAS: Final = 0.25  # of the spread, in cells that are partly valid
_BEYOND: Final = 0.01  # share of pixels: less is noise in dark water and shadow
_LEAST_CELLS: Final = 16
_NAMED: Final = 5  # scenes that a finding names
_MOST_LOOKED: Final = (
    1 << 30
)  # pixels of a scene that are looked at for a valid one; a sparse file of a few bytes may say it has 10^12


def find_empty(scenes: Sequence[Scene], reader: RasterReader, *, threads: int) -> frozenset[str]:
    """Names of the scenes without one valid pixel.

    The smallest overview of a scene is looked at, else the middle of it; only where that shows nothing is it read until a valid
    pixel is met. Of a scene of more than 2³⁰ pixels an even share is read; it is not called empty where that shows nothing.

    Raises
    ------
    InputError, StorageError
        A scene cannot be read.
    """
    suspects = [scene for scene in scenes if _may_be_empty(scene)]
    found = map_ordered(lambda scene: _has_pixel(scene, reader), suspects, threads=_limit(suspects, threads))
    return frozenset(scene.name for scene, has_one in zip(suspects, found, strict=True) if not has_one)


def describe_empty(names: frozenset[str]) -> tuple[Finding, ...]:
    """A finding for each scene that is left out because it has no valid pixel."""
    return tuple(
        Finding(
            severity="warning",
            code="scene-empty",
            scene=name,
            message=f"scene {name} has no valid pixel: it is left out; if it should have any, correct its nodata value or mask",
        )
        for name in sorted(names)
    )


def _may_be_empty(scene: Scene) -> bool:
    is_marked = bool(scene.parts) or scene.source.validity != "all"
    return is_marked or np.dtype(scene.dtype).kind == "f"


def _limit(scenes: Sequence[Scene], threads: int) -> int:
    """As many threads as memory allows for."""
    sizes = [math.prod(unit_shape(s, s.grid, None)) * len(s.bands) * np.dtype(s.dtype).itemsize for s in scenes]
    return max(1, min(threads, _MEMORY // (2 * max(sizes, default=1))))


def _has_pixel(scene: Scene, reader: RasterReader) -> bool:
    level = _find_glance(scene)
    if level is not None and _is_any(reader.read(scene, level_grid(scene, level).window, level=level)):
        return True
    if any(_is_any(reader.read(scene, window)) for window in _iter_units(scene)):
        return True
    return _find_step(scene) > 1


def _is_any(pixels: Pixels) -> bool:
    return pixels.valid is None or bool(pixels.valid.any())


def _find_glance(scene: Scene) -> int | None:
    """The smallest overview, where it is small enough to be read as a whole."""
    level = len(scene.source.overviews) - 1
    if level < 0:
        return None
    grid = level_grid(scene, level)
    return level if max(grid.width, grid.height) <= _GLANCE else None


def _iter_units(scene: Scene) -> Iterator[Window]:
    """What is read at once, of the whole scene or an even share of a very large one, the middle first."""
    height, width = unit_shape(scene, scene.grid, None)
    rows, cols = _count_units(scene)
    middle = rows // 2 * cols + cols // 2
    rest = (number for number in range(0, rows * cols, _find_step(scene)) if number != middle)
    for number in itertools.chain((middle,), rest):
        row, col = divmod(number, cols)
        yield _clip(scene.grid, row * height, col * width, height, width)


def _count_units(scene: Scene) -> tuple[int, int]:
    height, width = unit_shape(scene, scene.grid, None)
    return math.ceil(scene.grid.height / height), math.ceil(scene.grid.width / width)


def _find_step(scene: Scene) -> int:
    """Every which unit of a scene is looked at; 1: all."""
    return max(1, -(-scene.grid.height * scene.grid.width // _MOST_LOOKED))


def _clip(grid: Grid, row: int, col: int, height: int, width: int) -> Window:
    return Window(row=row, col=col, height=min(height, grid.height - row), width=min(width, grid.width - col))


# Conversions


def find_clipped(scenes: Sequence[Scene], reader: RasterReader, *, threads: int) -> tuple[Finding, ...]:
    """A finding for each scene whose converted values lie beyond what its files hold: its Item may state a wrong offset.

    The smallest overview of a scene is looked at, else the middle of it.

    Raises
    ------
    InputError, StorageError
        A scene cannot be read.
    """
    suspects = [scene for scene in scenes if scene.stored_dtype is not None]
    shares = map_ordered(lambda scene: _find_share_beyond(scene, reader), suspects, threads=_limit(suspects, threads))
    return tuple(
        Finding(
            severity="warning",
            code="converted-beyond",
            scene=scene.name,
            message=(
                f"scene {scene.name}: {share:.0%} of the pixels looked at lie beyond {scene.stored_dtype} once its scale and "
                "offset are those of most scenes; nothing is clipped before matching, but its Item may state a wrong offset: "
                "compare raster:offset, or boa_offset_applied, with the pixels"
            ),
        )
        for scene, share in zip(suspects, shares, strict=True)
        if share >= _BEYOND
    )


def _find_share_beyond(scene: Scene, reader: RasterReader) -> float:
    """Share of valid pixels that the dtype of the files cannot hold in some band."""
    level = _find_glance(scene)
    window = next(_iter_units(scene)) if level is None else level_grid(scene, level).window
    pixels = reader.read(scene, window, level=level)
    limits = np.iinfo(np.dtype(scene.stored_dtype))
    values = pixels.values.astype(np.float64)
    beyond = ((values < limits.min) | (values > limits.max)).any(axis=0)
    valid = np.ones(beyond.shape, np.bool_) if pixels.valid is None else pixels.valid
    return int(np.count_nonzero(beyond & valid)) / max(1, int(np.count_nonzero(valid)))


# Overviews


def find_doubtful(plan: Plan, reader: RasterReader, *, threads: int) -> dict[str, str]:
    """Scenes that would be measured on an overview whose pixels or validity are not those of the scene, and what differs.

    Some windows of whole blocks are compared in both: where valid and invalid pixels meet, in a corner, in the middle.

    Raises
    ------
    InputError, StorageError
        A scene cannot be read.
    """
    measured = [(scene, level) for scene, level in zip(plan.scenes, plan.levels, strict=True) if level is not None]
    limit = _limit([scene for scene, _ in measured], threads)
    found = map_ordered(lambda one: _compare_scene(one[0], one[1], reader), measured, threads=limit)
    return {scene.name: reason for (scene, _), reason in zip(measured, found, strict=True) if reason is not None}


def describe_doubtful(reasons: dict[str, str]) -> tuple[Finding, ...]:
    """A finding that names the scenes whose overviews are not used."""
    if not reasons:
        return ()
    names = sorted(reasons)
    named = ", ".join(f"{name} ({reasons[name]})" for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    message = (
        f"the overviews of {len(names)} scenes are not of their pixels: {named}{more}; these are measured at full resolution. "
        "Make their overviews anew, e.g. with gdaladdo -clean and then gdaladdo -r average"
    )
    return (Finding(severity="warning", code="overviews-differ", message=message),)


def drop_overviews(scene: Scene) -> Scene:
    """The same scene, read at full resolution only."""
    parts = tuple(replace(part, raster=drop_overviews(part.raster)) for part in scene.parts)
    return replace(scene, source=replace(scene.source, overviews=(), overview_shapes=()), parts=parts)


def _compare_scene(scene: Scene, level: int, reader: RasterReader) -> str | None:
    for window in _choose_windows(scene, reader):
        reason = _compare_window(scene, level, window, reader)
        if reason is not None:
            return reason
    return None


def _choose_windows(scene: Scene, reader: RasterReader) -> list[Window]:
    """Windows of whole blocks that tell most, no more than a share of the scene."""
    height, width = (max(1, _WINDOW // size) * size if size < _WINDOW else size for size in unit_shape(scene, scene.grid, None))
    rows, cols = math.ceil(scene.grid.height / height), math.ceil(scene.grid.width / width)
    places = [(0, cols - 1), (rows // 2, cols // 2), (rows - 1, 0)]
    level = _find_glance(scene)
    if level is not None:
        grid = level_grid(scene, level)
        valid = reader.read(scene, grid.window, level=level).complete
        mixed = (
            None if valid is None else _find_mixed(valid, (rows, cols), (height / scene.grid.height, width / scene.grid.width))
        )
        if mixed is not None:
            places.insert(0, mixed)
    most = max(1, scene.grid.height * scene.grid.width // _SHARE // (height * width))
    chosen = list(dict.fromkeys(places))[: min(most, _MOST_WINDOWS)]
    return [_clip(scene.grid, row * height, col * width, height, width) for row, col in chosen]


def _find_mixed(valid: NDArray[np.bool_], counts: tuple[int, int], sizes: tuple[float, float]) -> tuple[int, int] | None:
    """The window whose pixels are valid and invalid in the most equal parts, by a small overview; None where none is mixed."""
    rows, cols = (
        np.minimum((np.arange(size) + 0.5) / size / share, count - 1).astype(np.intp)
        for size, share, count in zip(valid.shape, sizes, counts, strict=True)
    )
    cell = (rows[:, None] * counts[1] + cols).reshape(-1)
    total = np.bincount(cell, minlength=counts[0] * counts[1])
    share = np.bincount(cell, valid.reshape(-1), minlength=len(total)) / np.maximum(total, 1)
    best = int(np.argmin(np.abs(share - 0.5)))
    return divmod(best, counts[1]) if 0 < share[best] < 1 else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Cells:
    """Full-resolution pixels under each pixel of an overview."""

    whole: NDArray[np.int64]
    """Number of them, (rows, cols)."""
    count: NDArray[np.int64]
    """Number of valid ones."""
    total: NDArray[np.float64]
    """Sums of the valid ones, (bands, rows, cols)."""


def _compare_window(scene: Scene, level: int, window: Window, reader: RasterReader) -> str | None:
    """What differs between a window and the same place of an overview; None where nothing does."""
    grid, small = scene.grid, level_grid(scene, level)
    down, across = grid.height / small.height, grid.width / small.width
    row, col = math.ceil(window.row / down - 1e-9), math.ceil(window.col / across - 1e-9)
    row_end, col_end = (math.floor(end / size + 1e-9) for end, size in ((window.row_end, down), (window.col_end, across)))
    place = Window(row=row, col=col, height=row_end - row, width=col_end - col)
    if place.is_empty:
        return None
    rows = np.rint(np.arange(row, row_end + 1) * down).astype(np.intp) - window.row
    cols = np.rint(np.arange(col, col_end + 1) * across).astype(np.intp) - window.col
    cells = _sum_cells(reader.read(scene, window), rows, cols)
    overview = reader.read(scene, place, level=level)
    shown = np.ones(place.shape, np.bool_) if overview.complete is None else overview.complete
    alone = shown & _all_around(cells.count == 0)
    missing = ~shown & _all_around(cells.count == cells.whole)
    if np.count_nonzero(alone) > _WRONG * alone.size:
        return "they have pixels where it has none"
    if np.count_nonzero(missing) > _WRONG * missing.size:
        return "they have no pixel where it has some"
    known = shown & (cells.count > 0)
    if np.count_nonzero(known) < _LEAST_CELLS:
        return None
    level_is_whole = np.dtype(scene.dtype).kind != "f"
    for band, values in enumerate(overview.values):
        expected = cells.total[band][known] / cells.count[known]
        difference = values[known].astype(np.float64) - expected
        spread = float(expected.std())
        partial = (cells.count < cells.whole)[known]
        rounding = 0.75 if level_is_whole else 1e-6 * float(np.abs(expected).max())
        for chosen, share in ((np.ones_like(partial), _BIAS), (partial, _EDGE_BIAS)):
            if _is_biased(difference[chosen], share * spread + rounding):
                ratio = float(difference[chosen].mean())
                return f"band {band + 1} is off by {ratio:+.3g} there"
    return None


def _is_biased(difference: NDArray[np.float64], allowed: float) -> bool:
    """Whether the mean of some differences is too far from 0 to be chance."""
    if len(difference) < _LEAST_CELLS:
        return False
    error = float(difference.std()) / math.sqrt(len(difference))
    return abs(float(difference.mean())) > allowed + _CERTAIN * error


def _sum_cells(pixels: Pixels, rows: NDArray[np.intp], cols: NDArray[np.intp]) -> _Cells:
    """Sum pixels between edges, ascending; (n + 1,) each."""
    values = pixels.values[:, rows[0] : rows[-1], cols[0] : cols[-1]]
    whole = np.multiply.outer(np.diff(rows), np.diff(cols)).astype(np.int64)
    starts = rows[:-1] - rows[0], cols[:-1] - cols[0]

    def add(plane: NDArray[np.generic]) -> NDArray[np.float64]:
        across = np.add.reduceat(plane, starts[1], axis=-1, dtype=np.float64)
        return np.asarray(np.add.reduceat(across, starts[0], axis=-2))

    if pixels.complete is None:
        return _Cells(whole=whole, count=whole, total=add(values))
    valid = np.ascontiguousarray(pixels.complete[rows[0] : rows[-1], cols[0] : cols[-1]])
    return _Cells(whole=whole, count=add(valid.view(np.uint8)).astype(np.int64), total=add(zero_invalid(values, valid)))


def _all_around(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cells of which all neighbours are set too; none at the edge, whose neighbours are not known."""
    inner = np.zeros_like(mask)
    if min(mask.shape) < 3:
        return inner
    height, width = mask.shape
    inner[1:-1, 1:-1] = np.logical_and.reduce([mask[i : height - 2 + i, j : width - 2 + j] for i in range(3) for j in range(3)])
    return inner
