"""The bytes of a Cloud-Optimized GeoTIFF, read by a parser that shares nothing with the writer."""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from processor.errors import InputError, StorageError
from processor.geotiff.cog import writer as module
from processor.geotiff.cog.overviews import Pyramid
from processor.geotiff.cog.spec import CogProfile, CogSpec
from processor.geotiff.cog.tiles import TileStore
from processor.geotiff.cog.writer import iter_cog, plan_layout, write_cog, write_cog_array
from processor.model import Grid

GHOST = (
    b"GDAL_STRUCTURAL_METADATA_SIZE=000140 bytes\n"
    b"LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nBLOCK_LEADER=SIZE_AS_UINT4\n"
    b"BLOCK_TRAILER=LAST_4_BYTES_REPEATED\nKNOWN_INCOMPATIBLE_EDITION=NO\n "
)
FORMATS = {2: "B", 3: "H", 4: "I", 12: "d", 16: "Q"}


def make_spec(width: int = 200, height: int = 130, *, bands: int = 2, dtype: str = "uint8", **options: Any) -> CogSpec:
    grid = Grid(crs="", left=100, top=200, pixel_width=2, pixel_height=3, width=width, height=height)
    profile = options.pop("profile", CogProfile(tile_size=32))
    return CogSpec(grid=grid, bands=bands, dtype=dtype, nodata=0, profile=profile, **options)


def make_pixels(spec: CogSpec) -> NDArray[Any]:
    """Noise, with a corner of nodata that empties whole tiles of several levels."""
    pixels = np.random.default_rng(0).integers(1, 200, (spec.bands, *spec.grid.shape)).astype(spec.dtype)
    pixels[:, : spec.grid.height // 2, : spec.grid.width // 2] = 0
    return pixels


def fill(store: TileStore, spec: CogSpec) -> TileStore:
    pyramid, pixels = Pyramid(spec, store), make_pixels(spec)
    for window in pyramid.iter_windows():
        rows, cols = window.slices_in(spec.grid.window)
        pyramid.add(window, pixels[:, rows, cols])
    return store


def parse(content: bytes) -> Iterator[tuple[int, dict[int, tuple[Any, ...]]]]:
    """(offset, tags) of each directory."""
    big = struct.unpack_from("<H", content, 2)[0] == 43
    word, head, entry, inline = ("Q", "<Q", "<HHQ", 8) if big else ("I", "<H", "<HHI", 4)
    (offset,) = struct.unpack_from(f"<{word}", content, 8 if big else 4)
    while offset:
        (count,) = struct.unpack_from(head, content, offset)
        place, tags = offset + struct.calcsize(head), {}
        for _ in range(count):
            code, kind, length = struct.unpack_from(entry, content, place)
            values = f"<{length}{FORMATS[kind]}"
            start = place + struct.calcsize(entry)
            if struct.calcsize(values) > inline:
                (start,) = struct.unpack_from(f"<{word}", content, start)
                assert start % 2 == 0
            tags[code] = struct.unpack_from(values, content, start)
            place += struct.calcsize(entry) + inline
        assert list(tags) == sorted(tags)
        yield offset, tags
        (offset,) = struct.unpack_from(f"<{word}", content, place)


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("compression", ["deflate", "none"])
def test_the_layout_is_that_of_the_format(compression: Any, bigtiff: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if bigtiff:
        monkeypatch.setattr(module, "_LARGEST_CLASSIC", 0)
    spec = make_spec(profile=CogProfile(tile_size=32, compression=compression))
    with TileStore(None, spec.levels) as store:
        content = b"".join(iter_cog(spec, fill(store, spec)))
        directories = list(parse(content))
        start = 16 if bigtiff else 8
        assert content[start : start + len(GHOST)] == GHOST
        assert len(directories) == len(spec.levels) == 4
        offsets = [offset for offset, _ in directories]
        assert offsets == sorted(offsets)
        assert offsets[0] == start + len(GHOST) + 1
        assert [254 in tags for _, tags in directories] == [False, True, True, True]
        end = len(plan_layout(spec, store).header)
        empty = 0
        for level, (_, tags) in list(zip(spec.levels, directories, strict=True))[::-1]:
            assert (tags[256], tags[257], tags[322], tags[323]) == ((level.width,), (level.height,), (32,), (32,))
            assert len(tags[324]) == len(tags[325]) == level.rows * level.cols
            places = np.ndindex(level.rows, level.cols)
            for offset, size, (row, col) in zip(tags[324], tags[325], places, strict=True):
                tile = store.get(level.index, row, col)
                assert size == len(tile)
                if not tile:
                    assert offset == 0
                    empty += 1
                    continue
                assert content[end : end + 4] == struct.pack("<I", size)
                assert offset == end + 4
                assert content[offset : offset + size] == tile
                assert content[offset + size : offset + size + 4] == tile[-4:]
                end = offset + size + 4
        assert end == len(content)
        assert empty > 3


@pytest.mark.parametrize("part_size", [1, 1000, 1 << 20])
def test_parts_have_their_size_and_join_to_the_file(part_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PART", part_size)
    spec = make_spec()
    with TileStore(None, spec.levels) as store:
        whole = io.BytesIO()
        written = write_cog(whole, spec, fill(store, spec))
        parts = list(iter_cog(spec, store))
    assert b"".join(parts) == whole.getvalue()
    assert all(len(part) == part_size for part in parts[:-1])
    assert 0 < len(parts[-1]) <= part_size
    assert written.size == len(whole.getvalue())
    assert written.sha256 == hashlib.sha256(whole.getvalue()).hexdigest()


def test_a_path_and_a_stream_get_the_same_bytes_every_time(tmp_path: Path) -> None:
    spec = make_spec(tags={"b": "2", "a": "1"}, descriptions=("red", None))
    other = make_spec(tags={"a": "1", "b": "2"}, descriptions=("red", None))
    first = write_cog_array(tmp_path / "a.tif", make_pixels(spec), spec)
    stream = io.BytesIO()
    assert write_cog_array(stream, make_pixels(spec), other) == first
    assert (tmp_path / "a.tif").read_bytes() == stream.getvalue()
    assert write_cog_array(str(tmp_path / "a.tif"), make_pixels(spec), spec) == first


def test_an_image_without_a_valid_pixel_is_a_header() -> None:
    spec = make_spec()
    stream = io.BytesIO()
    write_cog_array(stream, np.zeros((2, 130, 200), np.uint8), spec)
    for _, tags in parse(stream.getvalue()):
        assert set(tags[324]) == set(tags[325]) == {0}


class Declared:
    """Blocks that are only declared: their sizes, no bytes."""

    def __init__(self, size: int) -> None:
        self.size = size

    def sizes(self, level: int) -> NDArray[np.uint32]:
        return np.array([[2**31, 2**31 - 10_000 + self.size]] if level == 0 else [[0]], np.uint32)

    def iter_tiles(self, level: int) -> Iterator[bytes]:
        raise AssertionError(level)


def test_bigtiff_begins_where_offsets_would_not_fit() -> None:
    spec = make_spec(64, 32)
    header = len(plan_layout(spec, Declared(0)).header)
    room = 10_000 - 16 - header - 1
    last_classic, first_big = plan_layout(spec, Declared(room)), plan_layout(spec, Declared(room + 1))
    assert last_classic.header[:4] == b"II*\0"
    assert last_classic.size == 2**32 - 1
    assert first_big.header[:4] == b"II+\0"
    assert first_big.size == 2**32 + len(first_big.header) - len(last_classic.header)
    (_, tags), _ = parse(first_big.header)
    assert tags[324] == (len(first_big.header) + 4, len(first_big.header) + 2**31 + 12)
    assert tags[325] == (2**31, 2**31 - 10_000 + room + 1)


def test_wide_images_have_long_sizes() -> None:
    spec = make_spec(70_000, 16, bands=1)
    stream = io.BytesIO()
    write_cog_array(stream, np.zeros((1, 16, 70_000), np.uint8), spec)
    assert next(parse(stream.getvalue()))[1][256] == (70_000,)


def test_missing_tiles_stop_it_before_the_first_byte() -> None:
    spec, stream = make_spec(), io.BytesIO()
    with TileStore(None, spec.levels) as store:
        store.put(0, 0, 0, b"x")
        with pytest.raises(KeyError, match="34 tiles of level 0"):
            write_cog(stream, spec, store)
    assert stream.getvalue() == b""


def test_a_crs_that_is_none_is_told() -> None:
    grid = Grid(crs="no wkt", left=0, top=0, pixel_width=1, pixel_height=1, width=8, height=8)
    with pytest.raises(InputError, match="'no wkt'"):
        write_cog_array(io.BytesIO(), np.ones((1, 8, 8), np.uint8), CogSpec(grid=grid, bands=1, dtype="uint8"))


def test_pixels_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"pixels must be \(2, 130, 200\)"):
        write_cog_array(io.BytesIO(), np.ones((2, 130, 199), np.uint8), make_spec())


def test_a_full_disk_is_a_storage_error() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, a device that is always full")
    spec = make_spec()
    with pytest.raises(StorageError, match="/dev/full"):
        write_cog_array("/dev/full", make_pixels(spec), spec)
