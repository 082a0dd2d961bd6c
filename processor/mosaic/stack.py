"""Pixels of the mosaic that are made of all scenes that have one there, part by part, so that memory is bounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processor.model import Window
from processor.mosaic.budget import find_stack_rows
from processor.mosaic.contribution import compute_area_mask, compute_scene_mask
from processor.mosaic.plan import Plan
from processor.mosaic.scene_pipeline import ScenePipeline
from processor.stages.merge.method import StackMethod


def combine_scenes(
    plan: Plan,
    method: StackMethod[Any],
    scenes: Sequence[ScenePipeline],
    near: Sequence[int],
    window: Window,
    values: NDArray[np.generic],
    observations: NDArray[np.unsignedinteger],
) -> NDArray[np.int64]:
    """Make a window of the mosaic, in place, and count the pixels that each scene gave, int64 (scenes near,).

    A scene gives a pixel where it has all its bands, where the user's own files allow it, and where the method lets it count.

    Parameters
    ----------
    scenes
        Of the plan.
    near
        Positions of those whose bounds meet the window, in name order.
    values, observations
        (bands, height, width) and (height, width): receive the pixels, and of how many scenes each is.
    """
    given = np.zeros(len(near), np.int64)
    rows = find_stack_rows(plan, len(near), window.width)
    for row in range(0, window.height, rows):
        strip = Window(row=window.row + row, col=window.col, height=min(rows, window.height - row), width=window.width)
        inside = compute_area_mask(plan, strip)
        stack = np.empty((len(near), plan.bands, *strip.shape), values.dtype)
        valid = np.zeros((len(near), *strip.shape), np.bool_)
        for number, position in enumerate(near):
            layer = scenes[position].read_aligned(plan.grid, strip)
            if layer is None:
                continue
            part = layer.window.slices_in(strip)
            stack[number, :, *part] = layer.values
            valid[number, *part] = layer.valid
            if scenes[position].scene.band_rule == "band":
                valid[number, *part] &= ~_find_nodata(layer.values, plan.nodata).any(axis=0)
            allowed = compute_scene_mask(plan, position, strip)
            for mask in (allowed, inside):
                if mask is not None:
                    valid[number] &= mask
        method.choose(stack, valid)
        given += np.count_nonzero(valid, axis=(1, 2))
        flat = stack.reshape(len(near), plan.bands, -1), valid.reshape(len(near), -1)
        made = np.empty((plan.bands, strip.height * strip.width), values.dtype)
        method.combine(*flat, plan.nodata, out=made)
        here = slice(row, row + strip.height)
        values[:, here] = made.reshape(plan.bands, *strip.shape)
        observations[here] = valid.sum(axis=0, dtype=observations.dtype)
    return given


def _find_nodata(values: NDArray[np.generic], nodata: float) -> NDArray[np.bool_]:
    return np.isnan(values) if np.isnan(nodata) else np.asarray(values == values.dtype.type(nodata))
