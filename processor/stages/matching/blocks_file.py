"""The file of matched blocks: what robust methods are solved from, so that a later solve needs no pixel.

A numpy archive (.npz) of version 1. ``version``; ``crs`` (WKT); ``canvas`` (left, top, pixel width, pixel height, CRS units);
``scenes``, names of all scenes and references whose overlaps are in it; and of p pairs with n blocks in all: ``pairs`` (p, 2),
numbers of scenes; ``edge`` (p,), canvas pixels; ``whole`` (p,), measured pixels in a block; ``starts`` (p + 1,), first block of
each pair; ``row``, ``col``, ``count``, ``x``, ``y`` (n,) and ``sums`` (5, bands, n), each as
:class:`processor.stages.matching.matched_blocks.MatchedBlocks` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from processor.errors import InputError
from processor.model import Bounds, Grid
from processor.stages.matching.archive import check_rules, read_archive, render_archive
from processor.stages.matching.file_checks import LARGEST, LARGEST_PLACE
from processor.stages.matching.matched_blocks import MatchedBlocks
from processor.stages.measures import MatchedPairs

_VERSION: Final = 1
_WHAT: Final = "file of matched blocks"
_MOST_SCENES: Final = 1_000_000
_MOST_PAIRS: Final = 1_000_000
_MOST_LETTERS: Final = 1 << 20  # of the CRS, and of a name
_FARTHEST: Final = 1 << 30  # blocks from the corner of a lattice, and of one lattice from another: int32 holds both
_EDGES: Final = (2.0**-10, 2.0**30)  # of a block, canvas pixels
_MOST_PIXELS: Final = 2.0**40  # in a block
_MOST_TIMES: Final = 100  # the pixels of a whole block, in one: a reference's pixels are not of one size everywhere
_LARGEST_POSITION: Final = 2.0**42  # canvas pixels: no mosaic is larger
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

    def place(self, canvas: Grid, scenes: Mapping[str, Bounds]) -> tuple[MatchedBlocks, ...]:
        """The blocks of pairs of some scenes, on the lattices of another mosaic's grid.

        Parameters
        ----------
        canvas
            Grid of that mosaic.
        scenes
            Bounds of its scenes and references by name, CRS units.

        Raises
        ------
        InputError
            Its pixels have another size, or blocks lie beside the scenes that they are said to be of.
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
        chosen = [pair for pair in self.blocks if {pair.first, pair.second} <= scenes.keys()]
        if any(max(abs(right), abs(down)) > _FARTHEST * pair.edge for pair in chosen):
            msg = "robust_regression.load_blocks: its blocks are of a mosaic far from this one; load blocks of these scenes"
            raise InputError(msg)
        moved = tuple(_move(pair, right, down) for pair in chosen)
        for pair in moved:
            for name in (pair.first, pair.second):
                _check_inside(pair, canvas, name, scenes[name])
        return moved


def _check_inside(pair: MatchedBlocks, canvas: Grid, name: str, bounds: Bounds) -> None:
    """Refuse blocks that lie beside a scene of theirs, by more than the edge of one."""
    x, y = canvas.left + pair.x / pair.count * canvas.pixel_width, canvas.top - pair.y / pair.count * canvas.pixel_height
    beyond_x, beyond_y = pair.edge * canvas.pixel_width, pair.edge * canvas.pixel_height
    inside = (
        bounds.left - beyond_x <= x.min()
        and x.max() <= bounds.right + beyond_x
        and bounds.bottom - beyond_y <= y.min()
        and y.max() <= bounds.top + beyond_y
    )
    if not inside:
        msg = (
            f"robust_regression.load_blocks: blocks of {pair.first} and {pair.second} lie beside {name}, which is at "
            f"{bounds.as_tuple()}; load blocks of these scenes, or leave the file out"
        )
        raise InputError(msg)


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
    return render_archive(arrays)


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
    arrays = read_archive(data, source, _SHAPES, version=_VERSION, what=_WHAT)
    if arrays["canvas"].shape != (4,) or not len(arrays["starts"]):
        msg = f"{source}: canvas or starts is not what a {_WHAT} has"
        raise InputError(msg)
    check_rules(_list_rules(arrays, bands), source)
    left, top, width, height = arrays["canvas"].tolist()
    names, pairs, starts = arrays["scenes"].tolist(), arrays["pairs"], arrays["starts"]
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


def _list_rules(arrays: Mapping[str, NDArray[Any]], bands: int) -> Iterator[tuple[str, bool]]:
    """What has to be so of arrays of the right kinds, one after another, with the words for where it is not."""
    pairs, starts, count, whole = arrays["pairs"], arrays["starts"], arrays["count"], arrays["whole"]
    blocks, scenes, sums = len(arrays["row"]), arrays["scenes"], arrays["sums"]
    fits = pairs.shape == (len(starts) - 1, 2) and sums.shape == (5, bands, blocks)
    fits = fits and all(len(arrays[key]) == len(pairs) for key in ("edge", "whole"))
    fits = fits and all(len(arrays[key]) == blocks for key in ("col", "count", "x", "y"))
    yield f"its arrays do not fit one another, or are of other than {bands} bands", fits
    longest = max(arrays["crs"].itemsize, scenes.itemsize)
    fits = len(scenes) <= _MOST_SCENES and len(pairs) <= _MOST_PAIRS and longest <= 4 * _MOST_LETTERS
    yield f"it has more than {_MOST_SCENES:,} scenes, {_MOST_PAIRS:,} pairs or {_MOST_LETTERS:,} letters a name", fits
    yield "names of scenes are repeated", len(np.unique(scenes)) == len(scenes)
    fits = starts[0] == 0 and starts[-1] == blocks and _all(starts[1:] > starts[:-1])
    yield "starts does not give each pair its blocks", fits
    ordered = np.sort(pairs, axis=1)
    fits = _all((pairs >= 0) & (pairs < len(scenes))) and _all(ordered[:, 0] != ordered[:, 1])
    yield "pairs are not of two scenes each, one a pair", fits and len(np.unique(ordered, axis=0)) == len(pairs)
    names = ("canvas", "edge", "whole", "x", "y", "sums")
    yield "numbers are not finite", all(_all(np.isfinite(arrays[key])) for key in names)
    edge, place, size = arrays["edge"], arrays["canvas"][:2], arrays["canvas"][2:]
    fits = _all(np.abs(place) <= LARGEST_PLACE) and _all((size > 0) & (size <= LARGEST_PLACE))
    fits = fits and _all((edge >= _EDGES[0]) & (edge <= _EDGES[1])) and _all((whole > 0) & (whole <= _MOST_PIXELS))
    fits = fits and _all((count > 0) & (count <= _MOST_TIMES * np.repeat(whole, np.diff(starts))))
    yield "canvas, edge, whole or count is out of reach", fits
    fits = all(_all(np.abs(arrays[key].astype(np.float64)) <= _FARTHEST) for key in ("row", "col"))
    yield "blocks lie out of reach", fits and all(_all(np.abs(arrays[key]) <= _LARGEST_POSITION * count) for key in "xy")
    fits = _all(np.abs(sums[:2]) <= LARGEST * count) and _all(np.abs(sums[2:]) <= LARGEST**2 * count)
    yield f"sums are of pixels beyond {LARGEST:.4g}", fits


def _all(values: NDArray[np.bool_]) -> bool:
    return bool(values.all())
