"""The file of matched blocks: what is written is read, wherever the next mosaic begins, and what is no such file is refused."""

from __future__ import annotations

import io
import pickle
import zipfile
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from processor.errors import InputError
from processor.model import Bounds, Grid
from processor.stages.matching.blocks_file import parse_blocks, render_blocks
from processor.stages.matching.matched_blocks import MatchedBlocks, compute_matched_blocks
from processor.stages.measures import MatchedPairs

CANVAS = Grid(crs="EPSG:32633", left=500.0, top=900.0, pixel_width=2.0, pixel_height=2.0, width=100, height=80)


def make_blocks(first: str, second: str, canvas: Grid = CANVAS) -> MatchedBlocks:
    random = np.random.Generator(np.random.PCG64([ord(first), ord(second)]))
    values = random.integers(0, 4000, (2, 2, 40, 48)).astype(np.uint16)
    grid = Grid(crs="EPSG:32633", left=532.0, top=868.0, pixel_width=2.0, pixel_height=2.0, width=48, height=40)
    return compute_matched_blocks(
        (first, second), (values[0], values[1]), random.random((40, 48)) > 0.3, grid, grid.window, canvas, 16
    )


def make_pairs(*blocks: MatchedBlocks) -> MatchedPairs:
    bounds = dict.fromkeys(("a", "b", "c"), Bounds(left=500.0, bottom=740.0, right=700.0, top=900.0))
    return MatchedPairs(
        canvas=CANVAS, bounds=bounds, references=(), reference_weight=1.0, bands=2, held=(), groups={}, blocks=blocks
    )


PAIRS = make_pairs(make_blocks("a", "b"), make_blocks("b", "c"))


def check_same(found: MatchedBlocks, expected: MatchedBlocks) -> None:
    assert (found.first, found.second, found.edge, found.whole) == (
        expected.first,
        expected.second,
        expected.edge,
        expected.whole,
    )
    for name in ("row", "col", "count", "x", "y", "sums"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("pairs", [PAIRS, make_pairs()], ids=["two pairs", "none"])
def test_what_is_written_is_read(pairs: MatchedPairs) -> None:
    data = render_blocks(pairs)
    assert data == render_blocks(pairs)
    known = parse_blocks(data, source="f.npz", bands=2)
    assert known.scenes == {"a", "b", "c"}
    for found, expected in zip(known.place(CANVAS, ["a", "b", "c"]), pairs.blocks, strict=True):
        check_same(found, expected)


def test_only_pairs_of_the_scenes_asked_for_are_given() -> None:
    known = parse_blocks(render_blocks(PAIRS), source="f.npz", bands=2)
    assert [(pair.first, pair.second) for pair in known.place(CANVAS, ["b", "c"])] == [("b", "c")]


def test_blocks_move_to_a_mosaic_that_begins_elsewhere() -> None:
    other = replace(CANVAS, left=500.0 - 64.0, top=900.0 + 32.0)  # two blocks to the left, one up
    known = parse_blocks(render_blocks(PAIRS), source="f.npz", bands=2)
    check_same(known.place(other, ["a", "b"])[0], make_blocks("a", "b", other))


def test_pixels_of_another_size_are_refused() -> None:
    known = parse_blocks(render_blocks(PAIRS), source="f.npz", bands=2)
    with pytest.raises(InputError, match="2 x 2 CRS units a pixel, and this has 4 x 2"):
        known.place(replace(CANVAS, pixel_width=4.0), ["a", "b"])


def change(**arrays: Any) -> bytes:
    with np.load(io.BytesIO(render_blocks(PAIRS))) as stored:
        found = {name: stored[name] for name in stored.files} | arrays
    stream = io.BytesIO()
    np.savez(stream, **{name: array for name, array in found.items() if array is not None})
    return stream.getvalue()


def make_bomb() -> bytes:
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("row.npy", "w", force_zip64=True) as member,
    ):
        member.write(b"\0" * 1024)
    data = bytearray(stream.getvalue())
    place = data.rindex(b"PK\x01\x02")
    data[place + 24 : place + 28] = (0xFFFFFFF0).to_bytes(4, "little")  # the size that the directory tells
    place = data.rindex(b"PK\x01\x02")
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"no archive", "no file of matched blocks"),
        (b"", "no file of matched blocks"),
        (render_blocks(PAIRS)[:-200], "no file of matched blocks"),
        (change(sums=None), "no file of matched blocks"),
        (change(version=np.array(2)), "of version 2, and this program reads 1"),
        (change(crs=np.array([pickle.dumps(0)], dtype=object)), "no file of matched blocks"),
        (change(row=np.zeros(3)), "row is not what"),
        (change(canvas=np.zeros(3)), "canvas or starts is not what"),
        (change(canvas=np.array([0.0, 0.0, np.nan, 1.0])), "do not fit"),
        (change(pairs=np.array([[0, 1], [1, 9]])), "do not fit"),
        (change(starts=np.array([0, 5, 3])), "do not fit"),
        (change(count=np.zeros(5, np.int64)), "do not fit"),
        (change(scenes=np.array(["a", "a", "c"])), "do not fit"),
        (make_bomb(), r"no file of matched blocks|more than a file"),
    ],
    ids=range(14),
)
def test_what_is_no_such_file_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_blocks(data, source="f.npz", bands=2)


def test_another_number_of_bands_is_refused() -> None:
    with pytest.raises(InputError, match="other than 3 bands"):
        parse_blocks(render_blocks(PAIRS), source="f.npz", bands=3)
