"""A COG assembled from parts is that of one process, however the image is cut, and in whatever way the parts are read."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from processor.errors import StorageError
from processor.execution import tile_parts as parts
from processor.execution.tile_parts import (
    PartedBlocks,
    PartHead,
    PartReader,
    RasterPart,
    describe_raster,
    iter_part,
    part_levels,
    read_head,
)
from processor.execution.wire import Codec, DamagedError
from processor.geotiff.cog.overviews import Pyramid
from processor.geotiff.cog.spec import CogProfile, CogSpec
from processor.geotiff.cog.tiles import ShiftedTiles, TileStore
from processor.geotiff.cog.writer import write_cog
from processor.model import Grid
from processor.process.threads import map_ordered
from processor.storage.store import Store

CODEC = Codec((PartHead, RasterPart))
BLOCK = 16


def make_specs(width: int, height: int, *, overviews: bool = True) -> tuple[CogSpec, CogSpec]:
    grid = Grid(crs="", left=0, top=0, pixel_width=1, pixel_height=1, width=width, height=height)
    return (
        CogSpec(grid=grid, bands=2, dtype="uint16", nodata=0, profile=CogProfile(tile_size=BLOCK), overviews=overviews),
        CogSpec(
            grid=grid,
            bands=1,
            dtype="uint8",
            nodata=0,
            profile=CogProfile(tile_size=BLOCK, overview_resampling="nearest", predictor=False),
            overviews=overviews,
        ),
    )


def make_pixels(spec: CogSpec, seed: int) -> NDArray[Any]:
    """Noise with holes, some of them whole blocks."""
    chance = np.random.default_rng(seed)
    pixels = chance.integers(0, np.iinfo(spec.dtype).max, (spec.bands, *spec.grid.shape)).astype(spec.dtype)
    rows, cols = (-(-edge // BLOCK) for edge in spec.grid.shape)
    holes = np.kron(chance.random((rows, cols)) < 0.4, np.ones((BLOCK, BLOCK), np.bool_))
    pixels[:, holes[: spec.grid.height, : spec.grid.width]] = 0
    return pixels


def write_whole(spec: CogSpec, pixels: NDArray[Any]) -> bytes:
    with TileStore(None, spec.levels) as store:
        pyramid = Pyramid(spec, store)
        for window in pyramid.iter_windows():
            rows, cols = window.slices_in(spec.grid.window)
            pyramid.add(window, pixels[:, rows, cols])
        stream = io.BytesIO()
        write_cog(stream, spec, store)
    return stream.getvalue()


def make_part(specs: tuple[CogSpec, ...], images: list[NDArray[Any]], row: int, col: int, tile_blocks: int) -> bytes:
    with ExitStack() as stack:
        rasters, stores = [], []
        for spec, pixels in zip(specs, images, strict=True):
            levels = part_levels(spec, row, col, tile_blocks)
            store = stack.enter_context(TileStore(None, levels))
            shifted = ShiftedTiles(store=store, row=row * tile_blocks, col=col * tile_blocks)
            pyramid = Pyramid(spec, shifted, top=tile_blocks.bit_length() - 1)
            for window in list(pyramid.iter_windows()):
                edge = tile_blocks * BLOCK
                if (window.row // edge, window.col // edge) == (row, col):
                    rows, cols = window.slices_in(spec.grid.window)
                    pyramid.add(window, pixels[:, rows, cols])
            rasters.append(describe_raster(store, levels, pyramid.take_pending()))
            stores.append(store)
        return b"".join(iter_part(PartHead(row=row, col=col, rasters=tuple(rasters), summary=None), stores, CODEC))


def iter_tiles(spec: CogSpec, tile_blocks: int) -> Iterator[tuple[int, int]]:
    edge = tile_blocks * BLOCK
    for row in range(-(-spec.grid.height // edge)):
        for col in range(-(-spec.grid.width // edge)):
            yield row, col


def make_reader(found: dict[tuple[int, int], bytes], asked: list[int]) -> PartReader:
    def read(row: int, col: int, offset: int, size: int) -> bytes:
        asked.append(size)
        return found[row, col][offset : offset + size]

    return PartReader(
        read=read,
        map_ordered=lambda function, items: map_ordered(function, items, threads=2),
        refuse=lambda row, col: StorageError(f"part {row} {col}"),
    )


def assemble(
    specs: tuple[CogSpec, ...], found: dict[tuple[int, int], bytes], tile_blocks: int
) -> tuple[list[bytes], list[int]]:
    asked: list[int] = []
    sources = [
        PartedBlocks(spec, raster, tile_blocks=tile_blocks, reader=make_reader(found, asked))
        for raster, spec in enumerate(specs)
    ]
    store = Store()
    for (row, col), data in found.items():
        url = f"memory://parts/{row}-{col}"
        store.write_bytes(url, data, overwrite=True)
        head, length = read_head(store, url, CODEC)
        assert (head.row, head.col) == (row, col)
        for source in sources:
            source.add(head, length)
    files = []
    for spec, source in zip(specs, sources, strict=True):
        stream = io.BytesIO()
        write_cog(stream, spec, source)
        files.append(stream.getvalue())
    return files, asked


@pytest.mark.parametrize("limits", [(1 << 24, 1 << 22), (400, 300), (1, 1)], ids=["strips", "short strips", "single blocks"])
@examples(20)
@given(
    width=st.integers(1, 150),
    height=st.integers(1, 150),
    exponent=st.integers(0, 4),
    overviews=st.booleans(),
    seed=st.integers(0, 99),
    order=st.randoms(use_true_random=False),
)
def test_a_file_from_parts_is_that_of_one_process(
    limits: tuple[int, int], width: int, height: int, exponent: int, overviews: bool, seed: int, order: Any
) -> None:
    tile_blocks = 1 << exponent
    specs = make_specs(width, height, overviews=overviews)
    images = [make_pixels(spec, seed + number) for number, spec in enumerate(specs)]
    tiles = list(iter_tiles(specs[0], tile_blocks))
    order.shuffle(tiles)
    found = {tile: make_part(specs, images, *tile, tile_blocks) for tile in tiles}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "_STRIP", limits[0])
        patch.setattr(parts, "_SPAN", limits[1])
        files, _ = assemble(specs, found, tile_blocks)
    assert files == [write_whole(spec, pixels) for spec, pixels in zip(specs, images, strict=True)]


def test_ranges_are_long_and_nothing_is_read_twice() -> None:
    specs = make_specs(512, 512)
    images = [make_pixels(spec, 1) for spec in specs]
    found = {tile: make_part(specs, images, *tile, 8) for tile in iter_tiles(specs[0], 8)}
    _, asked = assemble(specs, found, 8)
    heads = sum(len(CODEC.encode(CODEC.decode(data[: _head_size(data)], PartHead))) for data in found.values())
    assert sum(asked) == sum(map(len, found.values())) - heads
    assert len(asked) <= len(found) * 4 * len(specs)  # one for each level of each raster, since rows are short


def _head_size(data: bytes) -> int:
    return parts.read_frame_size(data[: parts.PREFIX_BYTES])


def test_a_block_with_another_checksum_is_refused() -> None:
    specs = make_specs(64, 64)
    images = [make_pixels(spec, 3) for spec in specs]
    found = {tile: make_part(specs, images, *tile, 2) for tile in iter_tiles(specs[0], 2)}
    data = bytearray(found[1, 0])
    data[-1] ^= 1
    found[1, 0] = bytes(data)
    with pytest.raises(StorageError, match="part 1 0"):
        assemble(specs, found, 2)


@pytest.mark.parametrize("size", [0, 10, 100, -1])
def test_a_part_that_was_cut_short_is_refused(size: int) -> None:
    specs = make_specs(64, 64)
    images = [make_pixels(spec, 3) for spec in specs]
    found = {(0, 0): make_part(specs, images, 0, 0, 4)[:size]}
    with pytest.raises(DamagedError):
        assemble(specs, found, 4)


def test_a_part_of_an_image_of_another_size_is_refused() -> None:
    specs, others = make_specs(64, 64), make_specs(96, 40)
    found = {(0, 0): make_part(others, [make_pixels(spec, 3) for spec in others], 0, 0, 4)}
    with pytest.raises(DamagedError, match="blocks of level 0 instead of"):
        assemble(specs, found, 4)
