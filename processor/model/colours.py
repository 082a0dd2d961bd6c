"""Colours that tell scenes apart: in pictures, in the scene index, and in what the Item says of it."""

from __future__ import annotations

import colorsys
from typing import Final

PALETTE: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#8C8C8C")
"""That people with any common colour blindness tell apart (Okabe and Ito, Color universal design, 2008), and grey."""

_TURN: Final = 0.618_033_988_75  # the golden section: hues of any number of scenes lie apart


def list_scene_colours(scenes: int) -> tuple[str, ...]:
    """A colour for each scene, "#RRGGBB", in the order of the scenes: those of the palette where it has enough.

    Examples
    --------
    >>> list_scene_colours(2)
    ('#0072B2', '#E69F00')
    """
    if scenes <= len(PALETTE):
        return PALETTE[:scenes]
    hues = [(number * _TURN) % 1 for number in range(scenes)]
    mixed = [colorsys.hls_to_rgb(hue, (0.42, 0.6, 0.75)[number % 3], 0.7) for number, hue in enumerate(hues)]
    return tuple("#" + "".join(f"{round(255 * part):02X}" for part in parts) for parts in mixed)
