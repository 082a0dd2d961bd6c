"""Bands of several scenes: matched by name, so that red is never mixed with blue, and called alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from processor.errors import InputError
from processor.geotiff.open import OpenedScene
from processor.model import Band, Finding, Scene
from processor.model.bands import find_colour, find_label, is_placeholder

_SHOWN = 3  # scenes in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedBands:
    """Scenes with the same bands in the same order."""

    opened: tuple[OpenedScene, ...]
    """In the order of the input."""
    findings: tuple[Finding, ...]
    """Which scenes have their bands in another order than most."""


def match_bands(opened: Sequence[OpenedScene], *, is_chosen: bool) -> MatchedBands:
    """Bring the bands of all scenes into the order that most have, by what the Items and files call them.

    A band is known by its common name, else by what its own name says, else by its colour in the file. A band of which nothing
    is said stays where it is. Scenes with another number of bands stay as they are.

    Parameters
    ----------
    opened
        The scenes.
    is_chosen
        Whether the user said which bands are read, in which order: then that stands where names contradict it.

    Raises
    ------
    InputError
        Two scenes call bands alike that would be mixed with others, and no order of the bands brings them together.
    """
    kinds = [_find_kinds(scene, with_colour=True) for scene in opened]
    if len({*kinds}) > 1:
        usual = Counter(kinds)
        ordered = sorted(zip(kinds, opened, strict=True), key=lambda pair: _name(pair[1]))
        target, first = max(ordered, key=lambda pair: usual[pair[0]])  # the first of the most frequent
        matched, moved = [], []
        for kind, scene in zip(kinds, opened, strict=True):
            if kind != target and len(kind) == len(target) and {*kind} == {*target} and len({*kind}) == len(kind):
                matched.append(_reorder(scene, [kind.index(name) for name in target]))
                moved.append(scene)
                continue
            if not is_chosen:
                _refuse_mixing(scene, first)
            matched.append(scene)
        findings = (_tell_moved(moved, first),) if moved else ()
    else:
        matched, findings = [*opened], ()
    return MatchedBands(opened=tuple(_name_alike([_name_apart(scene) for scene in matched])), findings=findings)


def list_bands(scene: OpenedScene) -> list[Band]:
    """Bands of a scene, of all its files."""
    return [band for raster in scene.rasters for band in raster.bands]


def _name(scene: OpenedScene) -> str:
    return scene.scene.name.partition("/")[0]


def _find_kinds(scene: OpenedScene, *, with_colour: bool) -> tuple[str, ...]:
    """What each band is known by; its position where nothing is said of it."""
    kinds = []
    for position, band in enumerate(list_bands(scene)):
        label = find_label(band) if with_colour else band.common_name or find_colour(band.name)
        named = None if is_placeholder(band.name) else band.name.casefold()
        kinds.append(label or named or f"#{position}")
    return tuple(kinds)


def _refuse_mixing(scene: OpenedScene, first: OpenedScene) -> None:
    """Refuse a scene in which a band that another scene has too is at another place; colours of files alone do not count."""
    own, others = (_find_kinds(one, with_colour=False) for one in (scene, first))
    if len(own) != len(others) or len({*own}) != len(own) or len({*others}) != len(others):
        return
    mixed = [kind for kind in own if not kind.startswith("#") and kind in others and own.index(kind) != others.index(kind)]
    if mixed:
        shared = [kind for kind in others if kind in own and not kind.startswith("#")]
        msg = (
            f"scene {_name(scene)} has the bands {', '.join(own)} and scene {_name(first)} has {', '.join(others)}, so that "
            f"{mixed[0]} would be mixed with {others[own.index(mixed[0])]}: choose bands that all have, with --inputs.bands "
            f"{','.join(shared)}"
        )
        raise InputError(msg)


def _reorder(scene: OpenedScene, order: Sequence[int]) -> OpenedScene:
    """The scene with its bands in another order; a file whose bands are no longer side by side is read as several rasters."""
    places = [(number, position) for number, raster in enumerate(scene.rasters) for position in range(len(raster.bands))]
    runs = [(number, [position for _, position in run]) for number, run in groupby((places[i] for i in order), lambda p: p[0])]
    often = Counter(number for number, _ in runs)
    rasters = []
    for part, (number, positions) in enumerate(runs):
        raster = scene.rasters[number]
        name = raster.name if often[number] == 1 else f"{raster.name}/{part}"
        rasters.append(_pick(raster, positions, name))
    return replace(scene, rasters=tuple(rasters))


def _pick(raster: Scene, positions: Sequence[int], name: str) -> Scene:
    indexes = tuple(raster.source.band_indexes[position] for position in positions)
    bands = tuple(raster.bands[position] for position in positions)
    return replace(raster, name=name, bands=bands, source=replace(raster.source, band_indexes=indexes))


def _tell_moved(moved: Sequence[OpenedScene], first: OpenedScene) -> Finding:
    names = ", ".join(_name(scene) for scene in moved[:_SHOWN])
    more = f" and {len(moved) - _SHOWN} more" if len(moved) > _SHOWN else ""
    order = ", ".join(_find_kinds(first, with_colour=True))
    message = f"bands of {names}{more} are stored in another order than in most scenes: they are matched by name, as {order}"
    return Finding(severity="info", code="bands-reordered", message=message)


# What bands are called


def _name_apart(scene: OpenedScene) -> OpenedScene:
    """Names that differ within the scene: by their assets where two have the same, else by a number."""
    bands = [(raster, band) for raster in scene.rasters for band in raster.bands]
    if len({band.name for _, band in bands}) == len(bands):
        return scene
    names = [band.name for _, band in bands]
    by_asset = [
        raster.source.asset or band.name if len(raster.bands) == 1 else f"{raster.source.asset or 'file'}_{band.name}"
        for raster, band in bands
    ]
    if len(scene.rasters) > 1:
        names = [name if names.count(name) == 1 else other for name, other in zip(names, by_asset, strict=True)]
    return _rename(scene, _number_equal(names))


def _number_equal(names: Sequence[str]) -> list[str]:
    """Names of which those that are there already get a number."""
    unique: list[str] = []
    for name in names:
        number, own = 1, name
        while own in unique:
            number += 1
            own = f"{name}_{number}"
        unique.append(own)
    return unique


def _name_alike(opened: Sequence[OpenedScene]) -> list[OpenedScene]:
    """The same names in all scenes: where they differ, the common name if that is one, and no name that holds a scene's id."""
    listed = [list_bands(scene) for scene in opened]
    if len({len(bands) for bands in listed}) != 1 or len({tuple(band.name for band in bands) for bands in listed}) == 1:
        return [*opened]
    names: list[str | None] = []
    keys = [[raster.source.asset for raster in scene.rasters for _ in raster.bands] for scene in opened]
    for position in range(len(listed[0])):
        bands = [one[position] for one in listed]
        labels = {band.common_name or find_colour(band.name) for band in bands}
        if len({band.name for band in bands}) == 1:
            names.append(None)
        elif len(labels) == 1 and None not in labels:
            names.append(labels.pop())
        elif all(band.name == own[position] for band, own in zip(bands, keys, strict=True)):
            names.append(f"band_{position + 1}")
        else:
            names.append(None)
    renamed = []
    for scene, bands in zip(opened, listed, strict=True):
        own = [name or band.name for name, band in zip(names, bands, strict=True)]
        renamed.append(_rename(scene, own) if len({*own}) == len(own) else scene)
    return renamed


def _rename(scene: OpenedScene, names: Sequence[str]) -> OpenedScene:
    rest = iter(names)
    rasters = [
        replace(raster, bands=tuple(replace(band, name=next(rest)) for band in raster.bands)) for raster in scene.rasters
    ]
    return replace(scene, rasters=tuple(rasters))
