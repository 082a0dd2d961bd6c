"""The file of matched blocks: what robust methods are solved from, so that a later solve needs no pixel.

A numpy archive (.npz) of version 1. ``version``; ``crs`` (WKT); ``canvas`` (left, top, pixel width, pixel height, CRS units);
``scenes``, names of all scenes and references whose overlaps are in it; and of p pairs with n blocks in all: ``pairs`` (p, 2),
numbers of scenes; ``edge`` (p,), canvas pixels; ``whole`` (p,), measured pixels in a block; ``starts`` (p + 1,), first block of
each pair; ``row``, ``col``, ``count``, ``x``, ``y`` (n,) and ``sums`` (5, bands, n), each as
:class:`processor.stages.matching.matched_blocks.MatchedBlocks` says.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from processor.errors import InputError
from processor.model import Grid
from processor.stages.matching.matched_blocks import MatchedBlocks
from processor.stages.measures import MatchedPairs

_VERSION: Final = 1
_MOST_BYTES: Final = 4 << 30  # of all arrays, unpacked
_SAME: Final = 1e-9  # of a pixel's size
_SHAPES: Final[Mapping[str, tuple[str, int]]] = {
    "version": ("iu", 0),
    "crs": ("U", 0),
    "canvas": ("f", 1),
    "scenes": ("U", 1),
    "pairs": ("iu", 2),
    "edge": ("iuf", 1),
    "whole": ("f", 1),
    "starts": ("iu", 1),
    "row": ("iu", 1),
    "col": ("iu", 1),
    "count": ("iu", 1),
    "x": ("f", 1),
    "y": ("f", 1),
    "sums": ("f", 3),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KnownBlocks:
    """What a file of matched blocks says."""

    canvas: Grid
    """Origin and pixel size of the grid that its lattices hang on; of one pixel."""
    scenes: frozenset[str]
    """Names of the scenes and references whose overlaps are known: two of them without blocks share no pixel."""
    blocks: tuple[MatchedBlocks, ...]
    """One a pair with common valid pixels."""

    def place(self, canvas: Grid, scenes: Collection[str]) -> tuple[MatchedBlocks, ...]:
        """The blocks of pairs of some scenes, on the lattices of another mosaic's grid.

        Raises
        ------
        InputError
            Its pixels have another size.
        """
        sizes = (canvas.pixel_width, self.canvas.pixel_width), (canvas.pixel_height, self.canvas.pixel_height)
        if any(abs(new / old - 1) > _SAME for new, old in sizes):
            msg = (
                f"robust_regression.load_blocks: its blocks are of a mosaic of {self.canvas.pixel_width:g} x "
                f"{self.canvas.pixel_height:g} CRS units a pixel, and this has {canvas.pixel_width:g} x {canvas.pixel_height:g}"
            )
            raise InputError(msg)
        right = (self.canvas.left - canvas.left) / canvas.pixel_width
        down = (canvas.top - self.canvas.top) / canvas.pixel_height
        return tuple(_move(pair, right, down) for pair in self.blocks if {pair.first, pair.second} <= set(scenes))


def _move(blocks: MatchedBlocks, right: float, down: float) -> MatchedBlocks:
    """The same blocks, counted from another corner, by whole cells; where they are is what their positions say."""
    if right == 0 and down == 0:
        return blocks
    return replace(
        blocks,
        x=blocks.x + right * blocks.count,
        y=blocks.y + down * blocks.count,
        row=blocks.row + np.int32(round(down / blocks.edge)),
        col=blocks.col + np.int32(round(right / blocks.edge)),
    )


def render_blocks(matched: MatchedPairs) -> bytes:
    """The file; the same blocks give the same bytes."""
    names, canvas, parts = sorted(matched.bounds), matched.canvas, matched.blocks
    number = {name: position for position, name in enumerate(names)}

    def join(arrays: list[NDArray[Any]], empty: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate(arrays, axis=-1) if arrays else empty

    arrays = {
        "version": np.array(_VERSION),
        "crs": np.array(canvas.crs),
        "canvas": np.array([canvas.left, canvas.top, canvas.pixel_width, canvas.pixel_height]),
        "scenes": np.array(names),
        "pairs": np.array([(number[part.first], number[part.second]) for part in parts], np.int64).reshape(-1, 2),
        "edge": np.array([part.edge for part in parts], np.float64),
        "whole": np.array([part.whole for part in parts], np.float64),
        "starts": np.cumsum([0, *(len(part.row) for part in parts)], dtype=np.int64),
        "row": join([part.row for part in parts], np.empty(0, np.int32)),
        "col": join([part.col for part in parts], np.empty(0, np.int32)),
        "count": join([part.count for part in parts], np.empty(0, np.int64)),
        "x": join([part.x for part in parts], np.empty(0)),
        "y": join([part.y for part in parts], np.empty(0)),
        "sums": join([part.sums for part in parts], np.empty((5, matched.bands, 0))),
    }
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def parse_blocks(data: bytes, *, source: str, bands: int) -> KnownBlocks:
    """Parse a file of matched blocks.

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
    arrays = _read_arrays(data, source)
    left, top, width, height = arrays["canvas"].tolist()
    names, pairs, starts = arrays["scenes"].tolist(), arrays["pairs"], arrays["starts"]
    count = len(arrays["row"])
    fits = (
        pairs.shape == (len(starts) - 1, 2)
        and all(len(arrays[key]) == len(pairs) for key in ("edge", "whole"))
        and all(len(arrays[key]) == count for key in ("col", "count", "x", "y"))
        and arrays["sums"].shape == (5, bands, count)
        and (pairs >= 0).all()
        and (pairs < len(names)).all()
        and starts[0] == 0
        and starts[-1] == count
        and (np.diff(starts) >= 0).all()
        and (arrays["count"] > 0).all()
        and (arrays["edge"] > 0).all()
        and min(width, height) > 0
        and len(set(names)) == len(names)
        and all(np.isfinite(arrays[key]).all() for key in ("canvas", "edge", "whole", "x", "y", "sums"))
    )
    if not fits:
        msg = (
            f"{source}: its arrays do not fit one another, or are of other than {bands} bands; give what another run published"
        )
        raise InputError(msg)
    return KnownBlocks(
        canvas=Grid(crs=str(arrays["crs"]), left=left, top=top, pixel_width=width, pixel_height=height, width=1, height=1),
        scenes=frozenset(names),
        blocks=tuple(
            MatchedBlocks(
                first=names[first],
                second=names[second],
                edge=float(edge),
                whole=float(whole),
                row=arrays["row"][start:end].astype(np.int32),
                col=arrays["col"][start:end].astype(np.int32),
                count=arrays["count"][start:end].astype(np.int64),
                x=arrays["x"][start:end].astype(np.float64),
                y=arrays["y"][start:end].astype(np.float64),
                sums=arrays["sums"][:, :, start:end].astype(np.float64),
            )
            for (first, second), edge, whole, start, end in zip(
                pairs.tolist(), arrays["edge"], arrays["whole"], starts[:-1].tolist(), starts[1:].tolist(), strict=True
            )
        ),
    )


def _read_arrays(data: bytes, source: str) -> dict[str, NDArray[Any]]:
    """The arrays, each of the kind and dimensions that it has to have."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > _MOST_BYTES or len(archive.infolist()) > len(_SHAPES):
            msg = f"{source} holds {size} bytes in {len(archive.infolist())} arrays, more than a file of matched blocks can"
            raise InputError(msg)
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            arrays = {name: np.asarray(stored[name]) for name in _SHAPES}
    # NotImplementedError: what zipfile raises for a compression or an encryption that it does not know
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        msg = f"{source} is no file of matched blocks: {error}"
        raise InputError(msg) from error
    if arrays["version"].shape or arrays["version"] != _VERSION:
        msg = f"{source} is of version {arrays['version']}, and this program reads {_VERSION}"
        raise InputError(msg)
    wrong = [
        name for name, (kinds, axes) in _SHAPES.items() if arrays[name].dtype.kind not in kinds or arrays[name].ndim != axes
    ]
    if wrong or arrays["canvas"].shape != (4,) or not math.prod(arrays["starts"].shape):
        msg = f"{source}: {', '.join(wrong) or 'canvas or starts'} is not what a file of matched blocks has"
        raise InputError(msg)
    return arrays
