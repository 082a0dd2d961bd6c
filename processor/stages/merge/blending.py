"""Blending near seams: low frequencies over a width, high ones by the cut.

A plain ramp blurs what two scenes show a little beside one another, and shows it twice. Two bands do neither (Burt & Adelson
1983, doi 10.1145/245.247): what is coarser than a kernel of two fifths of the width goes over from one scene to the other along
it, and what is finer changes within the two pixels beside the seam. METHODS, "merge: blending".

All distances are between pixel centres on the mosaic's grid and every sum is over a block of a fixed place, so that a pixel
does not hang on the window that it is computed in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy
from numpy.typing import NDArray

from processor.stages.seam_steps import find_seams

BLEND_EDGE: Final = 256
"""Edge of the blocks that are blended at a time, pixels: divides the blocks of the mosaic."""
MOST_PIXELS: Final = 256
"""Pixels of the mosaic that a blend may be wide, at most."""

_KERNEL: Final = 0.4  # of the width: what is coarser is blended over it
_FINE: Final = 1.25  # pixels over which what is finer goes over: the two beside a seam take a tenth of the other scene's


@dataclass(frozen=True, slots=True, kw_only=True)
class BlendRule:
    """How wide scenes are blended."""

    width: float
    """Over which one scene goes over into the other, half of it on either side of the seam, CRS units; positive."""
    pixel_height: float
    """Of the mosaic, CRS units."""
    pixel_width: float
    """Of the mosaic, CRS units."""

    @property
    def pixels(self) -> float:
        """The width in the smaller side of a pixel."""
        return self.width / min(self.pixel_height, self.pixel_width)

    @property
    def reach(self) -> int:
        """Pixels around a block that decide what is in it."""
        return math.ceil(self.pixels / 2) + 1

    @property
    def kernel(self) -> tuple[int, int]:
        """Rows and columns of the box that low frequencies are means of, odd."""
        height, width = (_KERNEL * self.width / size for size in (self.pixel_height, self.pixel_width))
        return 2 * round(height / 2) + 1, 2 * round(width / 2) + 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shares:
    """How much the scenes have of each pixel; over the scenes they add up to 1 where a scene has the pixel."""

    low: Mapping[int, NDArray[np.float32]]
    """Of low frequencies, float32 (height, width), by the scene's number in the index."""
    high: Mapping[int, NDArray[np.float32]]
    """Of high frequencies, likewise."""


def find_surroundings(index: NDArray[np.unsignedinteger], rule: BlendRule) -> tuple[slice, slice] | None:
    """Rows and columns of a part of the index that decide what is blended in it; None: nothing is.

    These are a width on all sides of the neighbours in rows and columns that are of two scenes.
    """
    seams = find_seams(index)
    if seams is None:
        return None
    row, col = np.divmod(np.concatenate(seams), index.shape[1])
    near = 2 * rule.reach
    return (
        slice(max(0, int(row.min()) - near), min(index.shape[0], int(row.max()) + near + 2)),
        slice(max(0, int(col.min()) - near), min(index.shape[1], int(col.max()) + near + 2)),
    )


def compute_shares(
    index: NDArray[np.unsignedinteger], valid: Mapping[int, NDArray[np.bool_]], rule: BlendRule
) -> Shares | None:
    """Shares of the scenes by their distances to the seams and to the places where they have no pixel.

    A scene's share falls from 1 to 0 over the width across its border with the others, and to 0 towards its own edge and its
    holes over half of it; the shares of a pixel are divided by their sum. Where there is no seam within half the width, the
    owner has all.

    Parameters
    ----------
    index
        (height, width): number of the scene that owns each pixel, 0 where none does.
    valid
        (height, width) by number, of all scenes in the index: where a scene may give a pixel. An owner is valid where it owns.
    rule
        How wide.

    Returns
    -------
    None where the owners have everything.
    """
    size = rule.pixel_height, rule.pixel_width
    step = min(size)
    owned = index > 0
    shares: tuple[dict[int, NDArray[np.float32]], dict[int, NDArray[np.float32]]] = ({}, {})
    totals = [np.zeros(index.shape, np.float32) for _ in shares]
    for number, may in valid.items():
        mine = index == number
        others = owned & ~mine
        inside, outside, edge = (_measure(places, size) for places in (others, mine, ~may))
        signed = np.where(mine, inside - step / 2, step / 2 - outside)
        for band, width in enumerate((rule.width, _FINE * step)):
            share = np.clip(0.5 + signed / width, 0.0, 1.0) * np.clip(2 * edge / width, 0.0, 1.0)
            shares[band][number] = np.where(may, share, 0.0).astype(np.float32)
            totals[band] += shares[band][number]
    is_blended = np.zeros(index.shape, np.bool_)
    for found, total in zip(shares, totals, strict=True):
        known = total > 0
        for number, raw in tuple(found.items()):
            mine = index == number
            part = np.where(known, raw / np.where(known, total, np.float32(1)), mine)
            found[number] = part.astype(np.float32)
            is_blended |= mine & (found[number] < 1)
    return Shares(low=shares[0], high=shares[1]) if is_blended.any() else None


def _measure(places: NDArray[np.bool_], size: tuple[float, float]) -> NDArray[np.float64]:
    """Distance of each pixel's centre to that of the nearest such place, CRS units; infinite where there is none."""
    if not places.any():
        return np.full(places.shape, np.inf)
    return np.asarray(scipy.ndimage.distance_transform_edt(~places, sampling=size), dtype=np.float64)


def compute_blend(
    index: NDArray[np.unsignedinteger],
    layers: Mapping[int, NDArray[np.generic]],
    valid: Mapping[int, NDArray[np.bool_]],
    shares: Shares,
    rule: BlendRule,
) -> tuple[NDArray[np.bool_], NDArray[np.floating]]:
    """What the other scenes change of the owners' pixels.

    The owner o of a pixel has the value x_o + Σ_j (w_j L_jo + v_j (x_j - x_o - L_jo)), w and v the shares of low and high
    frequencies, and L_jo the mean of x_j - x_o over those pixels of the kernel that both scenes have: scenes that are equal
    stay as they are, whatever their holes and edges.

    Parameters
    ----------
    index
        (height, width): number of the scene that owns each pixel.
    layers
        (bands, height, width) by number; where a scene is not valid, anything.
    valid
        (height, width) by number.
    shares
        Of the same scenes.
    rule
        How wide.

    Returns
    -------
    The pixels that change, bool (height, width); and their new values, (bands, height, width), unrounded, float64 for layers of
    32 bits and more, else float32; elsewhere anything.
    """
    first = next(iter(layers.values()))
    kind = np.float64 if first.dtype.itemsize > 2 else np.float32
    values = np.zeros(first.shape, kind)
    changed = np.zeros(index.shape, np.bool_)
    for number, layer in layers.items():
        np.copyto(values, layer, where=index == number, casting="unsafe")
    numbers = sorted(layers)
    for position, one in enumerate(numbers):
        for other in numbers[position + 1 :]:
            both = valid[one] & valid[other]
            zones = [
                both & (index == owner) & ((shares.low[guest] > 0) | (shares.high[guest] > 0))
                for owner, guest in ((one, other), (other, one))
            ]
            if not (zones[0].any() or zones[1].any()):
                continue
            weight = scipy.ndimage.uniform_filter(both.astype(kind), rule.kernel, mode="constant")
            for band in range(len(values)):
                difference = np.zeros(index.shape, kind)
                np.subtract(layers[other][band], layers[one][band], out=difference, where=both, dtype=kind, casting="unsafe")
                low = scipy.ndimage.uniform_filter(difference, rule.kernel, mode="constant")
                low = np.divide(low, weight, out=np.zeros_like(low), where=both)
                for zone, guest, sign in zip(zones, (other, one), (1, -1), strict=True):
                    mixed = shares.high[guest] * (difference - low) + shares.low[guest] * low
                    values[band][zone] += sign * mixed[zone]
            changed |= zones[0] | zones[1]
    return changed, values
