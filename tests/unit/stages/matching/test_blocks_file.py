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


def place(*names: str) -> dict[str, Bounds]:
    return dict.fromkeys(names, Bounds(left=500.0, bottom=740.0, right=700.0, top=900.0))


def make_pairs(*blocks: MatchedBlocks) -> MatchedPairs:
    return MatchedPairs(
        canvas=CANVAS,
        bounds=place("a", "b", "c"),
        references=(),
        reference_weight=1.0,
        bands=2,
        held=(),
        known={},
        groups={},
        blocks=blocks,
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
    for found, expected in zip(known.place(CANVAS, place("a", "b", "c")), pairs.blocks, strict=True):
        check_same(found, expected)


def test_only_pairs_of_the_scenes_asked_for_are_given() -> None:
    known = parse_blocks(render_blocks(PAIRS), source="f.npz", bands=2)
    assert [(pair.first, pair.second) for pair in known.place(CANVAS, place("b", "c"))] == [("b", "c")]


def test_blocks_move_to_a_mosaic_that_begins_elsewhere() -> None:
    other = replace(CANVAS, left=500.0 - 64.0, top=900.0 + 32.0)  # two blocks to the left, one up
    known = parse_blocks(render_blocks(PAIRS), source="f.npz", bands=2)
    check_same(known.place(other, place("a", "b"))[0], make_blocks("a", "b", other))


def test_pixels_of_another_size_are_refused() -> None:
    known = parse_blocks(render_blocks(PAIRS), source="f.npz", bands=2)
    with pytest.raises(InputError, match="2 x 2 CRS units a pixel, and this has 4 x 2"):
        known.place(replace(CANVAS, pixel_width=4.0), place("a", "b"))


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


def write_claim(shape: str) -> bytes:
    """A file whose array x says in its header that it is larger than what follows."""
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    claim = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(render_blocks(PAIRS))) as known, zipfile.ZipFile(stream, "w") as archive:
        for member in known.namelist():
            archive.writestr(member, claim if member == "x.npy" else known.read(member))
    return stream.getvalue()


def write_many(members: int) -> bytes:
    """An archive of empty members."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number in range(members):
            archive.writestr(f"{number}.npy", b"")
    return stream.getvalue()


BLOCKS = sum(len(part.row) for part in PAIRS.blocks)

REFUSED: dict[str, tuple[bytes, str]] = {
    "no archive": (b"no archive", "no file of matched blocks"),
    "empty": (b"", "no file of matched blocks"),
    "cut off": (render_blocks(PAIRS)[:-200], "no file of matched blocks"),
    "an array is missing": (change(sums=None), "no file of matched blocks"),
    "another version": (change(version=np.array(2)), "of version 2, and this program reads 1"),
    "pickles": (change(crs=np.array([pickle.dumps(0)], dtype=object)), "no file of matched blocks"),
    "another kind": (change(row=np.zeros(3)), "row is not what"),
    "another shape": (change(canvas=np.zeros(3)), "canvas or starts is not what"),
    "no number": (change(canvas=np.array([0.0, 0.0, np.nan, 1.0])), "numbers are not finite"),
    "a scene that is none": (change(pairs=np.array([[0, 1], [1, 9]])), "pairs are not of two scenes each"),
    "a scene with itself": (change(pairs=np.array([[0, 1], [2, 2]])), "pairs are not of two scenes each"),
    "a pair twice": (change(pairs=np.array([[0, 1], [1, 0]])), "pairs are not of two scenes each"),
    "pairs without blocks": (change(starts=np.array([0, 0, BLOCKS])), "starts does not give"),
    "descending starts": (change(starts=np.array([0, BLOCKS + 1, BLOCKS])), "starts does not give"),
    "fewer counts": (change(count=np.zeros(5, np.int64)), "do not fit"),
    "no pixel": (change(count=np.zeros(BLOCKS, np.int64)), "out of reach"),
    "a name twice": (change(scenes=np.array(["a", "a", "c"])), "names of scenes are repeated"),
    "a long name": (change(scenes=np.array(["a", "b", "c" * (1 << 21)])), "letters a name"),
    "a far row": (change(row=np.full(BLOCKS, 2**40)), "blocks lie out of reach"),
    "a far pixel": (change(x=np.full(BLOCKS, 1e300)), "blocks lie out of reach"),
    "a far canvas": (change(canvas=np.array([1e300, 0.0, 2.0, 2.0])), "out of reach"),
    "endless pixels": (change(whole=np.full(2, 1e30)), "out of reach"),
    "too many pixels": (change(count=np.full(BLOCKS, 2**62)), "out of reach"),
    "endless sums": (change(sums=np.full((5, 2, BLOCKS), 1e300)), "sums are of pixels beyond"),
    "no edge": (change(edge=np.full(2, 1e-300)), "out of reach"),
    "an endless edge": (change(edge=np.full(2, 1e300)), "out of reach"),
    "says more than it is": (make_bomb(), r"no file of matched blocks|more than a file"),
    "says a terabyte": (write_claim("(1000000000000,)"), "holds less than"),
    "many members": (write_many(1000), "more arrays than"),
}


@pytest.mark.parametrize(("data", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_such_file_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_blocks(data, source="f.npz", bands=2)


@pytest.mark.parametrize("name", ["a", "b"])
def test_blocks_beside_their_scenes_are_refused(name: str) -> None:
    known = parse_blocks(render_blocks(PAIRS), source="f.npz", bands=2)
    scenes = place("a", "b") | {name: Bounds(left=900.0, bottom=740.0, right=1000.0, top=900.0)}
    with pytest.raises(InputError, match=f"blocks of a and b lie beside {name}"):
        known.place(CANVAS, scenes)


def test_blocks_of_a_mosaic_at_the_end_of_the_world_are_refused() -> None:
    known = parse_blocks(change(canvas=np.array([-9e14, 900.0, 2.0, 2.0])), source="f.npz", bands=2)
    with pytest.raises(InputError, match="far from this one"):
        known.place(CANVAS, place("a", "b"))


def test_another_number_of_bands_is_refused() -> None:
    with pytest.raises(InputError, match="other than 3 bands"):
        parse_blocks(render_blocks(PAIRS), source="f.npz", bands=3)
