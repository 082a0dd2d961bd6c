from __future__ import annotations

import pytest

from processor.model.colours import PALETTE, list_scene_colours


@pytest.mark.parametrize("scenes", [0, 1, 8, 9, 40, 255])
def test_every_scene_has_a_colour_and_none_is_black_which_is_no_scene(scenes: int) -> None:
    colours = list_scene_colours(scenes)
    assert len(colours) == scenes
    assert "#000000" not in colours
    assert len(set(colours)) >= min(scenes, 250)
    assert all(len(bytes.fromhex(colour.removeprefix("#"))) == 3 for colour in colours)


def test_few_scenes_have_the_colours_of_the_report() -> None:
    assert list_scene_colours(3) == PALETTE[:3]
