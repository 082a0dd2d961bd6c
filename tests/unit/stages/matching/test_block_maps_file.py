from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from records import UTM

from processor.errors import InputError
from processor.model import BlockGrid, BlockMap, Bounds
from processor.stages.matching.block_maps_file import parse_block_maps, render_block_maps

GRID = BlockGrid(bounds=Bounds(left=0.0, bottom=0.0, right=80.0, top=60.0), rows=3, cols=4)


def make_maps() -> tuple[tuple[BlockMap, ...], BlockMap]:
    """Two scenes of two bands on parts of the grid, one of them with a block that is missing, and a whole reference."""
    values = np.arange(24, dtype=np.float64).reshape(2, 3, 4) / 7
    first, second = values[:, :2, 1:4].copy(), values[:, 1:, :1].copy()
    first[:, 0, 0] = np.nan
    local = (
        BlockMap(name="a", grid=GRID, values=first, row=0, col=1),
        BlockMap(name="b/ü", grid=GRID, values=second, row=1, col=0),
    )
    return local, BlockMap(name="reference", grid=GRID, values=values)


def render() -> bytes:
    local, reference = make_maps()
    return render_block_maps(local, reference, crs=UTM)


def change(**arrays: Any) -> bytes:
    """The file, with other arrays."""
    with np.load(io.BytesIO(render())) as known:
        merged = {**known, **arrays}
    stream = io.BytesIO()
    np.savez(stream, **merged)
    return stream.getvalue()


def test_what_is_read_is_what_was_written_to_the_last_digit() -> None:
    local, reference = make_maps()
    saved = parse_block_maps(render(), source="x", bands=2)
    assert saved.crs == UTM
    np.testing.assert_array_equal(saved.reference.values, reference.values)
    assert list(saved.local) == ["a", "b/ü"]
    for part in local:
        found = saved.local[part.name]
        np.testing.assert_array_equal(found.values, part.values)
        assert (found.grid, found.row, found.col) == (GRID, part.row, part.col)


def test_the_same_maps_give_the_same_bytes() -> None:
    assert render() == render()


def test_a_scene_takes_no_more_room_in_a_larger_canvas() -> None:
    sizes = []
    for edge in (10, 1000):
        grid = BlockGrid(bounds=GRID.bounds, rows=edge, cols=edge)
        part = BlockMap(name="a", grid=grid, values=np.random.default_rng(1).random((3, 9, 9)), row=1, col=1)
        blank = BlockMap(name="reference", grid=grid, values=np.full((3, edge, edge), np.nan))
        sizes.append(len(render_block_maps((part,), blank, crs="")))
    assert sizes[1] < sizes[0] + 24_000_000 / 500  # of the bytes of a blank reference, packed


def test_no_scene_is_a_file_too() -> None:
    _, reference = make_maps()
    saved = parse_block_maps(render_block_maps((), reference, crs=UTM), source="x", bands=2)
    assert saved.local == {}


BROKEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "no archive": (lambda: b"PK nothing", "x is no file of block maps"),
    "an empty one": (lambda: b"", "x is no file of block maps"),
    "other version": (lambda: change(version=np.array(2)), "version 2"),
    "other bands": (lambda: change(reference=np.zeros((3, 3, 4))), "other than 2 bands"),
    "bounds": (lambda: change(bounds=np.array([0.0, 0.0, -1.0, 1.0])), "no area"),
    "bounds without end": (lambda: change(bounds=np.array([0.0, 0.0, np.inf, 1.0])), "no area"),
    "outside": (lambda: change(places=np.array([[0, 2, 2, 3], [1, 0, 2, 1]])), "beside its grid"),
    "before": (lambda: change(places=np.array([[-1, 1, 2, 3], [1, 0, 2, 1]])), "beside its grid"),
    "too few": (lambda: change(places=np.array([[0, 1, 2, 2], [1, 0, 2, 1]])), "its blocks"),
    "twice": (lambda: change(scenes=np.array(["a", "a"])), "repeated"),
    "nameless": (lambda: change(scenes=np.array(["a", ""])), "repeated or empty"),
    "infinite": (lambda: change(values=np.full((2, 8), np.inf)), "beyond"),
    "objects": (lambda: change(scenes=np.array([{}, []], dtype=object)), "no file of block maps"),
    "kind": (lambda: change(values=np.zeros((2, 8), np.complex128)), "values is not what"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_such_file_is_refused_in_words(name: str) -> None:
    make, words = BROKEN[name]
    with pytest.raises(InputError, match=words):
        parse_block_maps(make(), source="x", bands=2)


def test_an_array_that_claims_more_than_it_holds_is_refused_before_room_is_made() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, zipfile.ZipFile(io.BytesIO(render())) as known:
        for name in known.namelist():
            data = known.read(name)
            archive.writestr(
                name, data.replace(b"(2, 8)", b"(2,8888888888888)", 1).replace(b" " * 11, b"", 1) if "values" in name else data
            )
    with pytest.raises(InputError, match="no file of block maps"):
        parse_block_maps(stream.getvalue(), source="x", bands=2)
