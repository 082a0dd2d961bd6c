"""What planning brings to light before a pixel is read: scenes that nothing ties together, and a grid that costs pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from shapely import STRtree, box

from processor.config.methods import Methods
from processor.model import Finding, Grid, Scene
from processor.mosaic.plan import Reference
from processor.stages.align.align_rasters import compute_shift, share_grid, snap_grid
from processor.stages.matching.pair_network import find_groups

_NAMED = 5  # scenes or groups that a finding names
_SAME = 1e-6  # relative difference of pixel sizes that counts as none
_ENLARGED = 16.0  # times the pixels that the scenes have, of which a mosaic of theirs is too fine for most of them


def judge_network(
    scenes: Sequence[Scene], references: Sequence[Reference], pairs: Sequence[tuple[int, int]], methods: Methods
) -> tuple[Finding, ...]:
    """What is to be known of scenes that no overlap ties to the others, or to a reference.

    Parameters
    ----------
    scenes, references
        In name order.
    pairs
        Positions of scenes whose bounds share an area.
    methods
        Of the stages.
    """
    if len(scenes) == 1 and not references:
        message = f"scene {scenes[0].name} is the only one: there is nothing to match it with"
        return (Finding(severity="info", code="single-scene", message=message, scene=scenes[0].name),)
    first, second = np.array([*pairs, (0, 0)], dtype=np.intp).T
    groups = find_groups(first, second, np.ones(len(first)), len(scenes))
    if references:
        return tuple(_find_out_of_reach(scenes, references, groups))
    return (*_find_lonely(scenes, groups), *_find_apart(scenes, groups, methods))


def _find_out_of_reach(scenes: Sequence[Scene], references: Sequence[Reference], groups: NDArray[np.intp]) -> Iterator[Finding]:
    """Name the scenes that hang on no reference, not by others either: the mosaic has its units, and they keep their own."""
    tree = STRtree([box(*scene.grid.bounds.as_tuple()) for scene in scenes])
    met = [position for reference in references for position in tree.query(box(*reference.bounds.as_tuple())).tolist()]
    out = [scene.name for scene, found in zip(scenes, np.isin(groups, groups[met]).tolist(), strict=True) if not found]
    if out:
        message = (
            f"{len(out)} of {len(scenes)} scenes overlap neither a reference nor scenes that do, so they keep units of their "
            f"own: {_list_names(out)}; give references of their ground too, or leave them out"
        )
        yield Finding(severity="warning", code="reference-out-of-reach", message=message)


def _find_lonely(scenes: Sequence[Scene], groups: NDArray[np.intp]) -> Iterator[Finding]:
    sizes = np.bincount(groups)
    for scene, group in zip(scenes, groups.tolist(), strict=True):
        if sizes[group] == 1:
            yield Finding(
                severity="warning",
                code="no-overlap",
                message=f"scene {scene.name} overlaps no other: its radiometry cannot be matched and stays as it is",
                scene=scene.name,
            )


def _find_apart(scenes: Sequence[Scene], groups: NDArray[np.intp], methods: Methods) -> Iterator[Finding]:
    """Groups of several scenes: each is matched within itself, and their levels are independent."""
    listed = [[scenes[at].name for at in np.flatnonzero(groups == group).tolist()] for group in range(int(groups.max()) + 1)]
    several = [names for names in listed if len(names) > 1]
    held = methods.matching_global.hold(tuple(scene.name for scene in scenes))
    untied = [names for names in several if not set(names) & set(held)] if held else several
    if len(several) < 2 or not untied or not (methods.matching_global.is_on or methods.matching_local.is_on):
        return
    yield Finding(severity="warning", code="groups-apart", message=describe_groups(several))


def describe_groups(groups: Sequence[Sequence[str]]) -> str:
    """What a finding says of groups of scenes, by their names, that nothing ties together."""
    told = "; ".join(_list_names(names) for names in groups[:_NAMED])
    more = f"; and {len(groups) - _NAMED} more groups" if len(groups) > _NAMED else ""
    return (
        f"{len(groups)} groups of scenes overlap within themselves and not with one another, so nothing ties their levels: "
        f"{told}{more}; add scenes between them, or match all to a reference of their ground with --reference.images"
    )


def _list_names(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def judge_grid(scenes: Sequence[Scene], grid: Grid, methods: Methods) -> tuple[Finding, ...]:
    """What is to be known of the mosaic's grid: scenes that are resampled onto it, and pixels that no scene has.

    Parameters
    ----------
    scenes
        In name order, in the mosaic's CRS.
    grid
        Of the mosaic.
    methods
        Of the stages.
    """
    if not methods.merge.is_on and not methods.align.is_on:
        return ()
    return (*_find_resampled(scenes, grid, methods), *_find_enlarged(scenes, grid))


def _find_resampled(scenes: Sequence[Scene], grid: Grid, methods: Methods) -> Iterator[Finding]:
    tap, how, count = methods.align.tap, methods.align.resampling, len(scenes)
    moved = [scene for scene in scenes if compute_shift(scene.grid, grid) is None]
    size = f"{grid.pixel_width:.6g} x {grid.pixel_height:.6g}"
    if share_grid([scene.grid for scene in scenes]):
        own = scenes[0].grid
        down, across = _find_distance(own, _snap(own))
        if moved:
            message = (
                f"all {count} scenes lie on one grid, and are resampled ({how}): align_rasters.tap puts the mosaic on whole "
                f"multiples of its pixel size, {across:.2g} x {down:.2g} pixels beside theirs; to keep their pixels exactly, "
                "give --align_rasters.tap false"
            )
            yield Finding(severity="warning", code="resampled", message=message, stage=methods.align.name or None)
        elif tap is None and methods.align.coregister is not True and compute_shift(own, _snap(own)) is None:
            message = (
                f"the mosaic has the grid that all {count} scenes share, so that none is resampled; --align_rasters.tap true "
                f"would move it by {across:.2g} x {down:.2g} pixels, onto whole multiples of the pixel size"
            )
            yield Finding(severity="info", code="grid-kept", message=message, stage=methods.align.name or None)
        return
    if not moved:
        return
    other = [scene for scene in moved if not _is_of_size(scene.grid, grid)]
    between = [scene for scene in moved if _is_of_size(scene.grid, grid)]
    reasons = []
    if other:
        sizes = dict.fromkeys(f"{scene.grid.pixel_width:.6g} x {scene.grid.pixel_height:.6g}" for scene in other)
        reasons.append(f"{len(other)} with pixels of {_list_names(list(sizes))}, where the mosaic's are {size}")
    if between:
        reasons.append(f"{len(between)} fractions of a pixel beside the mosaic's grid")
    message = (
        f"{len(moved)} of {count} scenes resampled ({how}): {'; '.join(reasons)} ({_list_names([s.name for s in moved])}); "
        "scenes that share one grid are not: put them on one before, e.g. with gdalwarp -tr … -tap, or leave out those that "
        "differ"
    )
    yield Finding(severity="info", code="resampled", message=message, stage=methods.align.name or None)


def _snap(grid: Grid) -> Grid:
    """The grid of whole multiples of its pixel size over a scene."""
    return snap_grid(grid.bounds, grid.crs, pixel_width=grid.pixel_width, pixel_height=grid.pixel_height, tap=True)


def _find_distance(grid: Grid, other: Grid) -> tuple[float, float]:
    """Rows and columns, fractions of a pixel, by which corners of pixels lie apart."""
    rows, cols = (grid.top - other.top) / grid.pixel_height, (grid.left - other.left) / grid.pixel_width
    return abs(rows - round(rows)), abs(cols - round(cols))


def _is_of_size(grid: Grid, other: Grid) -> bool:
    sizes = ((grid.pixel_width, other.pixel_width), (grid.pixel_height, other.pixel_height))
    return all(math.isclose(own, its, rel_tol=_SAME) for own, its in sizes)


def _find_enlarged(scenes: Sequence[Scene], grid: Grid) -> Iterator[Finding]:
    """Whether the finest scenes make far more pixels of the others than these have."""
    factors = [scene.grid.pixel_width * scene.grid.pixel_height / (grid.pixel_width * grid.pixel_height) for scene in scenes]
    own = sum(scene.grid.width * scene.grid.height for scene in scenes)
    made = sum(f * scene.grid.width * scene.grid.height for f, scene in zip(factors, scenes, strict=True))
    if made <= _ENLARGED * own:
        return
    coarse = scenes[int(np.argmax(factors))]
    fine = [scene.name for scene, factor in zip(scenes, factors, strict=True) if factor <= min(factors) * 1.1]
    message = (
        f"the mosaic has {grid.width:,} x {grid.height:,} pixels of {grid.pixel_width:.6g}, {made / own:,.0f} times as many as "
        f"the scenes: its pixel size is that of {_list_names(fine)}, while scene {coarse.name} has "
        f"{coarse.grid.pixel_width:.6g}; choose --align_rasters.resolution lowest, mosaic the fine scenes by themselves, or "
        "give the coarse ones as --reference.images"
    )
    yield Finding(severity="warning", code="oversampled", message=message)
