"""The file of block maps: the reference map and each scene's, so that a later run can draw its scenes to the same.

A numpy archive (.npz) of version 1. ``version``; ``crs`` (WKT); ``bounds`` (left, bottom, right, top, CRS units) and ``shape``
(rows, columns) of the block grid; ``scenes``, names of the n scenes; ``places`` (n, 4), row and column of the upper left block
of each scene's part of the grid, and its rows and columns; ``values`` (bands, blocks of all parts), part after part and row
after row; ``reference`` (bands, rows, columns). NaN is a block that is missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from processor.model import BlockGrid, BlockMap, Bounds
from processor.stages.matching.archive import check_rules, read_archive, render_archive
from processor.stages.matching.file_checks import LARGEST, LARGEST_PLACE

PATH: Final = "block_maps.npz"
"""Path of the published file, relative to the Item's folder."""

_VERSION: Final = 1
_WHAT: Final = "file of block maps"
_MOST_SCENES: Final = 1_000_000
_MOST_LETTERS: Final = 1 << 20  # of the CRS, and of a name
_SHAPES: Final[Mapping[str, tuple[str, int]]] = {
    "version": ("iu", 0),
    "crs": ("U", 0),
    "bounds": ("f", 1),
    "shape": ("iu", 1),
    "scenes": ("U", 1),
    "places": ("iu", 2),
    "values": ("f", 2),
    "reference": ("f", 3),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SavedMaps:
    """What a file of block maps says."""

    crs: str
    """WKT of the mosaic that they were made for."""
    reference: BlockMap
    """Block map that the scenes were drawn to."""
    local: Mapping[str, BlockMap]
    """Each scene's, by its name."""


def render_block_maps(local: Sequence[BlockMap], reference: BlockMap, *, crs: str) -> bytes:
    """The file; the same maps give the same bytes.

    Parameters
    ----------
    local
        One a scene, on the grid of the reference.
    reference
        What they are drawn to.
    crs
        WKT of the canvas.
    """
    bands, grid = len(reference.values), reference.grid
    parts = [(part.row, part.col, *part.values.shape[1:]) for part in local]
    return render_archive(
        {
            "version": np.array(_VERSION),
            "crs": np.array(crs),
            "bounds": np.array(grid.bounds.as_tuple(), np.float64),
            "shape": np.array((grid.rows, grid.cols), np.int64),
            "scenes": np.array([part.name for part in local], dtype=np.str_),
            "places": np.array(parts, np.int64).reshape(-1, 4),
            "values": np.concatenate([np.empty((bands, 0)), *(part.values.reshape(bands, -1) for part in local)], axis=1),
            "reference": reference.expand(),
        }
    )


def parse_block_maps(data: bytes, *, source: str, bands: int) -> SavedMaps:
    """Parse a file of block maps.

    Parameters
    ----------
    source
        Names the file in errors.
    bands
        How many bands the scenes have.

    Raises
    ------
    InputError
        It is no such file, or of another version or number of bands.
    """
    arrays = read_archive(data, source, _SHAPES, version=_VERSION, what=_WHAT)
    check_rules(_list_rules(arrays, bands), source)
    left, bottom, right, top = arrays["bounds"].tolist()
    rows, cols = arrays["shape"].tolist()
    grid = BlockGrid(bounds=Bounds(left=left, bottom=bottom, right=right, top=top), rows=rows, cols=cols)
    local, start = {}, 0
    for name, (row, col, height, width) in zip(arrays["scenes"].tolist(), arrays["places"].tolist(), strict=True):
        values = arrays["values"][:, start : start + height * width].astype(np.float64).reshape(bands, height, width)
        local[name] = BlockMap(name=name, grid=grid, values=values, row=row, col=col)
        start += height * width
    reference = BlockMap(name="reference", grid=grid, values=arrays["reference"].astype(np.float64))
    return SavedMaps(crs=str(arrays["crs"]), reference=reference, local=local)


def _list_rules(arrays: Mapping[str, NDArray[Any]], bands: int) -> Iterator[tuple[str, bool]]:
    """What has to be so of arrays of the right kinds, one after another, with the words for where it is not."""
    bounds, shape, scenes, places = arrays["bounds"], arrays["shape"], arrays["scenes"], arrays["places"]
    values, reference = arrays["values"], arrays["reference"]
    fits = bounds.shape == (4,) and shape.shape == (2,) and places.shape == (len(scenes), 4)
    fits = fits and len(values) == bands and reference.shape == (bands, *shape.tolist())
    yield f"its arrays do not fit one another, or are of other than {bands} bands", fits
    longest = max(arrays["crs"].itemsize, scenes.itemsize)
    fits = len(scenes) <= _MOST_SCENES and longest <= 4 * _MOST_LETTERS
    yield f"it has more than {_MOST_SCENES:,} scenes, or {_MOST_LETTERS:,} letters a name", fits
    yield "names of scenes are repeated or empty", len(np.unique(scenes)) == len(scenes) and all(scenes.tolist())
    fits = bool((np.isfinite(bounds) & (np.abs(bounds) <= LARGEST_PLACE)).all())
    left, bottom, right, top = bounds.tolist()
    yield "its bounds are no area", fits and left < right and bottom < top and reference.size > 0
    rows, cols = shape.tolist()
    inside = all(
        row >= 0 and col >= 0 and 0 < height <= rows - row and 0 < width <= cols - col
        for row, col, height, width in places.tolist()
    )
    yield "scenes lie beside its grid", inside
    blocks = sum(math.prod(place[2:]) for place in places.tolist())
    yield "places does not give each scene its blocks", blocks == values.shape[1]
    fits = not any((np.abs(part) > LARGEST).any() for part in (values, reference))  # NaN is not
    yield f"values are beyond {LARGEST:.4g}", fits
