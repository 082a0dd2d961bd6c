"""Chunks of the canvas against the plainest way to find them."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.execution.tasks import Batches
from processor.model import Bounds, Grid
from processor.mosaic.chunks import CHUNK_EDGE, Chunk, plan_chunks

GRIDS = st.lists(
    st.builds(
        Grid,
        crs=st.just(""),
        left=st.floats(-5e3, 5e3),
        top=st.floats(-5e3, 5e3),
        pixel_width=st.sampled_from([1.0, 0.75, 3.0]),
        pixel_height=st.sampled_from([1.0, 1.3]),
        width=st.integers(1, 4000),
        height=st.integers(1, 4000),
    ),
    min_size=1,
    max_size=5,
)


def join(grids: list[Grid]) -> Bounds:
    canvas = grids[0].bounds
    for grid in grids:
        canvas = canvas.union(grid.bounds)
    return canvas


def interleave(row: int, col: int) -> int:
    return sum(((row >> bit) & 1) << (2 * bit + 1) | ((col >> bit) & 1) << (2 * bit) for bit in range(40))


def find_plainly(grids: list[Grid], canvas: Bounds) -> list[Chunk]:
    width = CHUNK_EDGE * min(grid.pixel_width for grid in grids)
    height = CHUNK_EDGE * min(grid.pixel_height for grid in grids)
    members: dict[tuple[int, int], list[int]] = {}
    for position, grid in enumerate(grids):
        bounds = grid.bounds
        for row in range(int((canvas.top - bounds.top) // height), math.ceil((canvas.top - bounds.bottom) / height)):
            for col in range(int((bounds.left - canvas.left) // width), math.ceil((bounds.right - canvas.left) / width)):
                members.setdefault((row, col), []).append(position)
    return [
        Chunk(
            number=number,
            bounds=Bounds(
                left=canvas.left + col * width,
                right=canvas.left + (col + 1) * width,
                top=canvas.top - row * height,
                bottom=canvas.top - (row + 1) * height,
            ),
            scenes=tuple(members[row, col]),
        )
        for number, (row, col) in enumerate(sorted(members, key=lambda place: interleave(*place)))
    ]


@settings(derandomize=True, deadline=None)
@given(grids=GRIDS)
def test_chunks_are_those_that_are_found_plainly(grids: list[Grid]) -> None:
    canvas = join(grids)
    found, expected = plan_chunks(grids, canvas), find_plainly(grids, canvas)
    assert list(found) == expected
    assert found[1:7:2] == tuple(expected[1:7:2])
    assert found[-1] == expected[-1]
    together, single = found.count_pixels()
    windows = [[grids[scene].window_of_centres(chunk.bounds) for scene in chunk.scenes] for chunk in expected]
    pixels = [[window.height * window.width for window in several] for several in windows]
    np.testing.assert_array_equal(together, [sum(several) for several in pixels])
    np.testing.assert_array_equal(single, [max(several) for several in pixels])


def test_large_canvases_keep_their_order() -> None:
    grid = Grid(crs="", left=0.0, top=0.0, pixel_width=1.0, pixel_height=1.0, width=1024, height=1024)
    far = Grid(
        crs="", left=1024.0 * 1_000_000, top=-1024.0 * 700_001, pixel_width=1.0, pixel_height=1.0, width=1024, height=1024
    )
    first, second = plan_chunks([grid, far], join([grid, far]))
    assert (first.bounds.left, first.bounds.top, first.scenes) == (0.0, 0.0, (0,))
    assert (second.bounds.left, second.bounds.top, second.scenes) == (far.left, far.top, (1,))


def test_batches_hold_every_chunk_once_in_order() -> None:
    grid = Grid(crs="", left=0.0, top=0.0, pixel_width=1.0, pixel_height=1.0, width=5000, height=3000)
    chunks = plan_chunks([grid], grid.bounds)
    for size in (1, 2, 7, 100):
        batches = Batches(len(chunks), size)
        assert len(batches) == math.ceil(len(chunks) / size)
        numbers = [number for task in range(len(batches)) for number in batches.list_chunks([task]).tolist()]
        assert numbers == batches.list_chunks(range(len(batches))).tolist() == list(range(len(chunks)))
    assert len(Batches(0, 3)) == 0
