"""Blocks that seams pass through."""

from __future__ import annotations

import numpy as np

from processor.stages.seam_blocks import count_seam_blocks, empty_seam_blocks, merge_seam_blocks
from processor.stages.seam_steps import find_seams


def test_neighbours_of_two_scenes_are_counted_in_the_blocks_of_their_pair() -> None:
    index = np.ones((8, 8), np.uint8)
    index[:, 5:] = 3
    index[6:, :5] = 2
    seams = find_seams(index)
    assert seams is not None
    edges = {(1, 2): 4, (1, 3): 8}
    found = count_seam_blocks(index, seams, (8, 16), lambda first, second: edges.get((first, second)))
    assert found.T.tolist() == [
        [1, 2, 3, 4, 4],  # row 13, columns 16 to 19
        [1, 2, 3, 5, 1],  # row 13, column 20
        [1, 3, 1, 2, 6],
    ]


def test_counts_of_parts_add_up_in_any_order() -> None:
    one = np.array([[1, 2, 0, 0, 3], [1, 2, 0, 1, 1]]).T
    other = np.array([[1, 2, 0, 1, 4], [1, 3, 0, 0, 2]]).T
    merged = merge_seam_blocks([one, other])
    assert merged.T.tolist() == [[1, 2, 0, 0, 3], [1, 2, 0, 1, 5], [1, 3, 0, 0, 2]]
    np.testing.assert_array_equal(merge_seam_blocks([other, one]), merged)
    np.testing.assert_array_equal(merge_seam_blocks([]), empty_seam_blocks())
