"""How an Item's rasters are to be shown: the render extension, and the classes of the scene index."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from processor.model import Scene
from processor.model.colours import list_scene_colours
from stac.write.assets import MosaicBand, RasterMetadata

MOSAIC_RENDERS: Final = ("true-color", "first-band")
"""Keys of how the mosaic is shown, the better one first."""

_COLOURS: Final = ("red", "green", "blue")
_MOST_CLASSES: Final = 100  # about 20 kB; where there are more, the TIFF and the list of inputs name them
_UNFIT: Final = re.compile(r"[^0-9A-Za-z_-]+")


def create_renders(rasters: Mapping[str, RasterMetadata], scenes: int) -> dict[str, Any]:
    """Describe how the mosaic, the scene index or the numbers of observations, and the agreement are shown.

    The mosaic is shown in true colour where its bands say so, else its first band; from the 2nd to the 98th percentile.

    Parameters
    ----------
    rasters
        Bands of the Item's rasters, by key of the asset.
    scenes
        Number of scenes.

    Returns
    -------
    Render objects of the extension (version 2.0.0) by key.
    """
    renders: dict[str, Any] = {}
    if "mosaic" in rasters:
        renders |= _show_mosaic(rasters["mosaic"].bands)
    if "scene_index" in rasters:
        colours = list_scene_colours(scenes)
        shown: dict[str, Any] = {"colormap": {str(number): colour for number, colour in enumerate(colours, start=1)}}
        if scenes > _MOST_CLASSES:
            shown = {"rescale": [[1, scenes]], "colormap_name": "turbo"}
        renders["scene-index"] = {"title": "Scene of each pixel", "assets": ["scene_index"], "resampling": "nearest", **shown}
    if "observations" in rasters:
        shown = {"rescale": [[0, scenes]], "colormap_name": "viridis"}
        renders["observations"] = {"title": "Number of observations", "assets": ["observations"], **shown}
    if "agreement" in rasters:
        shown = {"rescale": [[0, 1]], "colormap_name": "rdylgn"}
        renders["agreement"] = {"title": "Agreement of the scenes", "assets": ["agreement"], **shown}
    return renders


def create_classes(scenes: Sequence[Scene]) -> list[dict[str, Any]]:
    """Classes of the scene index (classification extension, version 2.0.0); empty where they are too many for an Item."""
    if len(scenes) > _MOST_CLASSES:
        return []
    classes: list[dict[str, Any]] = [{"value": 0, "name": "none", "title": "No scene", "nodata": True}]
    for number, (scene, colour) in enumerate(zip(scenes, list_scene_colours(len(scenes)), strict=True), start=1):
        name = _UNFIT.sub("_", scene.name)
        classes.append({"value": number, "name": name, "title": scene.title, "color_hint": colour.removeprefix("#")})
    return classes


def _show_mosaic(bands: Sequence[MosaicBand]) -> dict[str, Any]:
    named = {band.common_name: position for position, band in reversed(list(enumerate(bands, start=1)))}
    is_coloured = all(colour in named for colour in _COLOURS)
    key, title = (MOSAIC_RENDERS[0], "True colour") if is_coloured else (MOSAIC_RENDERS[1], f"Band {bands[0].name}")
    places = [named[colour] for colour in _COLOURS] if is_coloured else [1]
    shown: dict[str, Any] = {"title": title, "assets": ["mosaic"], "bidx": places, "resampling": "bilinear"}
    ranges = [band.histogram for band in (bands[place - 1] for place in places) if band.histogram is not None]
    low, high = min((one.low for one in ranges), default=0.0), max((one.high for one in ranges), default=0.0)
    if len(ranges) == len(places) and low < high:
        shown["rescale"] = [[low, high]] * len(places)  # one for all, as the thumbnail has it: hues are kept
    return {key: shown}
