"""Levels, the description of a file, and the scratch store of its tiles."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.errors import ConfigError, InputError, StorageError
from processor.geotiff.cog.spec import CogSpec, plan_levels
from processor.geotiff.cog.tiles import TileStore
from processor.model import Grid, Moments, Window


@settings(derandomize=True, deadline=None)
@given(width=st.integers(1, 10**7), height=st.integers(1, 10**7), tile_size=st.sampled_from([16, 256, 512]))
def test_levels_halve_down_to_one_tile(width: int, height: int, tile_size: int) -> None:
    levels = plan_levels(width, height, tile_size)
    assert (levels[0].width, levels[0].height) == (width, height)
    for index, level in enumerate(levels):
        assert level.index == index
        assert (level.width, level.height) == (-(-width // 2**index), -(-height // 2**index))
        assert (level.rows - 1) * tile_size < level.height <= level.rows * tile_size
        assert (level.cols - 1) * tile_size < level.width <= level.cols * tile_size
        assert (level.rows * level.cols == 1) == (index == len(levels) - 1)


def test_windows_of_tiles_end_with_the_image() -> None:
    (level, *_) = plan_levels(100, 70, 32)
    assert level.window(0, 0) == Window(row=0, col=0, height=32, width=32)
    assert level.window(2, 3) == Window(row=64, col=96, height=6, width=4)
    assert level.window(2, 2, tiles=2) == Window(row=64, col=64, height=6, width=36)


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    path = tmp_path / "tiles" if request.param == "file" else None
    with TileStore(path, plan_levels(80, 50, 32)) as opened:
        yield opened


class TestStore:
    def test_blocks_come_back_row_by_row_whatever_order_they_came_in(self, store: TileStore) -> None:
        for row, col in ((1, 2), (0, 0), (1, 0), (0, 2), (0, 1), (1, 1)):
            store.put(0, row, col, b"" if (row, col) == (1, 0) else bytes([row, col]) * (row + col + 1))
        assert list(store.iter_tiles(0)) == [bytes([r, c]) * (r + c + 1) for r in (0, 1) for c in range(3) if (r, c) != (1, 0)]
        np.testing.assert_array_equal(store.sizes(0), [[2, 4, 6], [0, 6, 8]])
        assert store.get(0, 1, 2) == b"\x01\x02" * 4
        assert store.get(0, 1, 0) == b""
        expected, drained = list(store.iter_tiles(0)), store.drain()
        np.testing.assert_array_equal(drained.sizes(0), store.sizes(0))
        assert list(drained.drain().iter_tiles(0)) == expected

    def test_reading_between_writing_changes_nothing(self, store: TileStore) -> None:
        store.put(0, 0, 0, b"first")
        assert store.get(0, 0, 0) == b"first"
        store.put(0, 0, 1, b"second")
        assert store.get(0, 0, 0) == b"first"
        assert store.get(0, 0, 1) == b"second"

    def test_a_tile_is_stored_once(self, store: TileStore) -> None:
        store.put(1, 0, 0, b"")
        with pytest.raises(ValueError, match="tile 0, 0 of level 1 was stored before"):
            store.put(1, 0, 0, b"x")

    def test_missing_tiles_are_told(self, store: TileStore) -> None:
        store.put(0, 0, 0, b"x")
        with pytest.raises(KeyError, match="5 tiles of level 0 were not stored, the first at row 0, column 1"):
            store.sizes(0)
        with pytest.raises(KeyError, match="tile 1, 1 of level 0"):
            store.get(0, 1, 1)

    def test_blocks_come_from_many_threads(self, store: TileStore) -> None:
        places = [(row, col) for row in range(2) for col in range(3)]
        data = {place: bytes([position]) * 300_000 for position, place in enumerate(places)}
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda place: store.put(0, *place, data[place]), places))
        assert list(store.iter_tiles(0)) == [data[place] for place in places]


def test_draining_gives_the_room_of_a_scratch_file_back(tmp_path: Path) -> None:
    path, size = tmp_path / "tiles", 1 << 20
    with TileStore(path, plan_levels(80, 50, 32)) as store:
        for row in range(2):
            for col in range(3):
                store.put(0, row, col, os.urandom(size))
        os.sync()
        room = []
        for _ in store.drain().iter_tiles(0):
            room.append(path.stat().st_blocks * 512)
            if room[0] >= 6 * size:
                pytest.skip("this file system makes no holes")
    assert room == [(5 - position) * size for position in range(6)]


def test_a_scratch_file_that_was_cut_short_is_told(tmp_path: Path) -> None:
    with TileStore(tmp_path / "tiles", plan_levels(8, 8, 16)) as store:
        store.put(0, 0, 0, b"tiles")
        os.truncate(tmp_path / "tiles", 3)
        with pytest.raises(StorageError, match="only 3 of 5 bytes are left"):
            store.get(0, 0, 0)


def test_a_scratch_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere/tiles does not exist"):
        TileStore(tmp_path / "nowhere" / "tiles", plan_levels(8, 8, 16))


def test_a_scratch_file_that_fails_is_a_storage_error(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, a device that is always full")
    (tmp_path / "tiles").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="tiles"), TileStore(tmp_path / "tiles", plan_levels(8, 8, 16)) as store:
        store.put(0, 0, 0, bytes(1 << 20))


GRID = Grid(crs="", left=0, top=0, pixel_width=1, pixel_height=1, width=8, height=8)
NO_STATISTICS = Moments(count=0, mean=np.zeros(3), m2=np.zeros(3), minimum=np.zeros(3), maximum=np.zeros(3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int64"}, "dtype int64"),
        ({"dtype": "uint8", "nodata": 256}, "nodata 256 is not a uint8"),
        ({"dtype": "uint8", "bands": 0}, "got 0"),
        ({"dtype": "uint8", "descriptions": ("a",)}, "got 1 for 2 bands"),
        ({"dtype": "uint8", "statistics": NO_STATISTICS}, "for 2 bands"),
        ({"dtype": "uint8", "photometric": "rgb"}, "three bands"),
        ({"dtype": "uint8", "photometric": "palette"}, "1 to 256 colours"),
        ({"dtype": "uint8", "colours": ("#000000",)}, "1 to 256 colours"),
        ({"dtype": "uint8", "photometric": "palette", "colours": ("#000000",) * 257}, "1 to 256 colours"),
        ({"dtype": "uint16", "photometric": "palette", "colours": ("#000000",)}, "one band of uint8"),
        ({"dtype": "float32", "bands": 3, "photometric": "rgb"}, "uint8 or uint16"),
    ],
)
def test_descriptions_that_a_geotiff_cannot_hold_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CogSpec(**{"grid": GRID, "bands": 2, **options})
