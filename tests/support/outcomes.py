"""Whole runs on scenes small enough for hundreds of them, and what such a run published, taken apart facet by facet.

Everything is done as the command does it, but for the drawings of the report, which take ten times as long as all the rest.
"""

from __future__ import annotations

import io
import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import yaml
from commands import CREATED, read_files
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from registration import make_ground, see_ground
from scenes import gradient_truth, write_items, write_scene

from processor.config import load_config
from processor.execution.run import Request, execute, prepare
from processor.execution.tasks import Cut
from processor.process.progress import Silent
from processor.report import bundle
from processor.stages.matching.block_maps_file import parse_block_maps
from processor.synthetic.scenes import SceneRecipe, make_scenes

ITEM_ID = "m"
LEFT, TOP = 500_000.0, 5_300_000.0


@contextmanager
def leaving_out_drawings() -> Iterator[None]:
    """Make reports without their pictures."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in dir(bundle) if name.startswith("draw_") and name != "draw_report"]:
            patch.setattr(bundle, name, lambda *_, **__: None)
        patch.setattr(bundle, "render_thumbnail", lambda *_, **__: b"no picture")
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run left behind.

    files: what it published in the Item's folder, by path; the Item itself is not among them.
    extra: what it wrote below the folder for everything else, by path.
    item: the Item.
    folder: of the run; everything lies below it.
    """

    files: dict[str, bytes]
    extra: dict[str, bytes]
    item: dict[str, Any]
    folder: Path

    @property
    def texts(self) -> dict[str, bytes]:
        """Every file and the Item as they would be had they been made in a folder called FOLDER."""
        place = str(self.folder).encode()
        files = {**self.files, "item": json.dumps(self.item).encode()}
        return {path: data.replace(place, b"FOLDER") for path, data in files.items()}

    def read(self, path: str) -> Raster:
        """A raster by its path in the Item's folder or, with ``extra/`` before it, in the other one."""
        return read_raster(self.extra[path.removeprefix("extra/")] if path.startswith("extra/") else self.files[path])

    def read_block_maps(self) -> dict[str, Raster]:
        """The published block maps on the whole canvas: each scene's by its name, and ``reference``."""
        return read_block_maps(self.files["block_maps.npz"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Raster:
    """A whole raster."""

    values: NDArray[Any]
    transform: tuple[float, ...]
    nodata: float | None
    overviews: tuple[int, ...]

    @property
    def content(self) -> tuple[object, ...]:
        """Everything but how it is stored; nodata as text, because NaN differs from itself."""
        return self.values.tobytes(), self.values.shape, str(self.values.dtype), self.transform, str(self.nodata)


def read_raster(data: bytes) -> Raster:
    """Decode a GeoTIFF with rasterio."""
    with MemoryFile(data) as memory, memory.open() as raster:
        return Raster(
            values=raster.read(),
            transform=tuple(raster.transform)[:6],
            nodata=raster.nodata,
            overviews=tuple(raster.overviews(1)),
        )


def read_block_maps(data: bytes) -> dict[str, Raster]:
    """Block maps of an archive as the rasters that ``save_block_maps`` makes of them."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        bands = len(arrays["reference"])
    saved = parse_block_maps(data, source="block_maps.npz", bands=bands)
    grid = saved.reference.grid
    transform = (grid.block_width, 0.0, grid.bounds.left, 0.0, -grid.block_height, grid.bounds.top)
    return {
        part.name: Raster(values=part.expand(), transform=transform, nodata=math.nan, overviews=())
        for part in (saved.reference, *saved.local.values())
    }


def run_quietly(inputs: Path | str, folder: Path, flags: Mapping[str, Any], *, cut: Cut | None = None) -> Outcome:
    """Run; ``{folder}`` in the flags' texts stands for the folder of what is written beside the Item's.

    ``{scenes}`` stands for the folder of the ItemCollection. ``cut``: how the run is cut into tasks; None: it is not.
    """
    extra = folder / "extra"
    scratch = extra / "tmp"
    scratch.mkdir(parents=True)
    places = {"{folder}": str(extra), "{scenes}": str(Path(inputs).parent)}
    config = load_config(flags={name: _place(value, places) for name, value in flags.items()}, environment={})
    request = Request(inputs=(str(inputs),), destination=str(folder / "out"), item_id=ITEM_ID, overwrite=False, created=CREATED)
    with pytest.MonkeyPatch.context() as patch, leaving_out_drawings():
        patch.setattr(tempfile, "tempdir", str(scratch))
        item = execute(request, prepare(request, config), Silent(), cut=cut).item
    files = read_files(folder / "out" / ITEM_ID)
    assert json.loads(files.pop(f"{ITEM_ID}.json")) == item
    return Outcome(files=files, extra=read_files(extra), item=item, folder=folder)


def run_both_ways(inputs: Path | str, folder: Path, flags: Mapping[str, Any]) -> Outcome:
    """Run in one process and by small tasks, which have to leave the same files and the same Item."""
    outcome = run_quietly(inputs, folder / "one", flags)
    by_tasks = run_quietly(inputs, folder / "tasks", flags, cut=Cut(chunks_per_task=1, tile_blocks=1))
    assert by_tasks.texts.keys() == outcome.texts.keys()
    for path, text in outcome.texts.items():
        assert by_tasks.texts[path] == text, f"{path} differs by tasks"
    return outcome


def _place(value: Any, places: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for word, place in places.items():
            value = value.replace(word, place)
        return value
    return [_place(member, places) for member in value] if isinstance(value, list) else value


class Bench:
    """Runs in a folder, on scenes that are made when they are first asked for.

    Parameters
    ----------
    folder
        For everything.
    makers
        Of scenes, by name: each writes them into a new folder and gives the path or URL of their ItemCollection.
    """

    def __init__(self, folder: Path, makers: Mapping[str, Callable[[Path], Path | str]]) -> None:
        self._folder, self._makers = folder, makers
        self._inputs: dict[str, Path | str] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._runs = 0

    def find_inputs(self, scenes: str) -> Path | str:
        """The ItemCollection of some scenes."""
        if scenes not in self._inputs:
            self._inputs[scenes] = self._makers[scenes](self._folder / scenes)
        return self._inputs[scenes]

    def run(self, scenes: str, flags: Mapping[str, Any]) -> Outcome:
        """Run anew."""
        self._runs += 1
        return run_quietly(self.find_inputs(scenes), self._folder / f"run-{self._runs}", flags)

    def run_once(self, scenes: str, flags: Mapping[str, Any]) -> Outcome:
        """The outcome of a former run with these flags, or of a new one."""
        key = json.dumps([scenes, flags], sort_keys=True)
        if key not in self._outcomes:
            self._outcomes[key] = self.run(scenes, flags)
        return self._outcomes[key]


# Facets


def find_facets(outcome: Outcome) -> dict[str, object]:
    """What can be said of an outcome, each under a name; equal values mean that nothing changed there.

    ``… file`` is a file's bytes; the same name without it is what the file says.
    """
    facets: dict[str, object] = {"files": frozenset(outcome.files), "extra files": _without_random_names(outcome.extra)}
    for name in ("mosaic", "scene_index", "observations"):
        if f"{name}.tif" in outcome.files:
            raster = outcome.read(f"{name}.tif")
            facets |= {name: raster.content, f"{name} overviews": raster.overviews}
            facets[f"{name} file"] = outcome.files[f"{name}.tif"]
    if "adjustments.json" in outcome.files:
        document = json.loads(outcome.files["adjustments.json"])
        facets["adjustments"] = {scene: entry["adjustments"] for scene, entry in document.items()}
        facets["statistics"] = {scene: (entry["whole_stats"], entry["overlap_stats"]) for scene, entry in document.items()}
    if "block_maps.npz" in outcome.files:
        facets["block maps"] = {name: raster.content for name, raster in outcome.read_block_maps().items()}
    if "agreement.tif" in outcome.files:
        facets["agreement"] = outcome.read("agreement.tif").content
    if "surfaces.json" in outcome.files:
        facets["surfaces"] = json.loads(outcome.files["surfaces.json"])
    if "seamlines.gpkg" in outcome.files:
        facets |= _find_cells(outcome.files["seamlines.gpkg"], outcome.folder)
        facets["seamlines file"] = outcome.files["seamlines.gpkg"]
    return facets


def find_settings(outcome: Outcome) -> dict[str, Any]:
    """The published configuration, by ``section.name``."""
    sections = yaml.safe_load(outcome.texts["config.yaml"])
    return {f"{section}.{name}": value for section, values in sections.items() for name, value in values.items()}


def _without_random_names(files: Mapping[str, bytes]) -> dict[str, object]:
    """Scratch files, whose folder has a random name, count as one that is there."""
    named = {path: data for path, data in files.items() if "mosaic-processor-" not in path}
    return {**named, **{path.partition("mosaic-processor-")[0]: "scratch" for path in files.keys() - named.keys()}}


def _find_cells(data: bytes, folder: Path) -> dict[str, object]:
    path = folder / "cells.gpkg"
    path.write_bytes(data)
    frame = geopandas.read_file(path, layer="seamlines")
    path.unlink()
    (field,) = [column for column in frame.columns if column != "geometry"]
    cells = {name: polygon.wkb for name, polygon in zip(frame[field], frame.geometry, strict=True)}
    return {"cells": cells, "cells' field": field}


# Scenes


def make_plain(folder: Path, *, edge: int = 96) -> Path:
    """Four ragged scenes on one grid that no global adjustment alone makes agree; their ItemCollection."""
    recipe = SceneRecipe(
        rows=2, cols=2, height=edge, width=edge, overlap=0.35, bands=2, seed=5, haze=0.15, rotation=4, ragged=8, noise=0.004,
        block_size=64, keep_truth=False,
    )  # fmt: skip
    return make_scenes(folder, recipe).items


def make_odd(folder: Path) -> Path:
    """Three scenes of which no two are on one grid: shifted by part of a pixel, and of coarser pixels."""
    places = {"a": (0.0, 0.0, 1.0, 80), "b": (40.25, -7.6, 1.0, 80), "c": (20.0, -48.0, 1.6, 50)}
    paths = []
    for name, (right, up, pixel, edge) in places.items():
        left, top = LEFT + 0.5 + right, TOP - 0.25 + up
        truth = gradient_truth(edge, edge, 2, left=left, top=top, pixel=pixel)
        array = truth * {"a": 1.0, "b": 1.15, "c": 0.9}[name]
        array[:, :5, :7] = 0
        paths.append(write_scene(folder / f"{name}.tif", array, dtype="uint16", left=left, top=top, pixel=pixel))
    return write_items(folder, paths)


def make_beside(folder: Path) -> Path:
    """Two scenes of one ground, one of them a pixel and a half beside its place."""
    ground, paths = 1000 + 100 * make_ground(288), []
    for name, col, right in (("a", 0, 0), ("b", 64, 6)):
        array = see_ground(ground, row=0, col=col, height=224, width=224, right=right)[:2]
        paths.append(write_scene(folder / f"{name}.tif", array, dtype="uint16", left=LEFT + col))
    return write_items(folder, paths)


def make_strips(folder: Path) -> Path:
    """Two scenes 2,048 pixels wide and few high, with overviews: several windows, and enough for an estimate."""
    paths = []
    for name, down, gain in (("a", 0, 1.0), ("b", 20, 1.2)):
        truth = gradient_truth(40, 2048, top=TOP - down) * gain
        truth[:, ::7, ::5] *= 1.3  # what overviews lose
        truth[:, :4, :600] = 0
        truth[:, -3:, 1500:] = 0
        paths.append(write_scene(folder / f"{name}.tif", truth, dtype="uint16", top=TOP - down, overviews=[2], block=64))
    return write_items(folder, paths)


def make_twofold(folder: Path) -> Path:
    """Two scenes whose Items have two rasters each, "image" and a brighter one, "other"."""
    truth = gradient_truth(64, 96)
    paths = {}
    for key, factor in (("image", 1.0), ("other", 2.0)):
        for name, col in (("a", 0), ("b", 32)):
            array = truth[:, :, col : col + 64] * (factor + 0.1 * col / 32)
            paths[key, name] = write_scene(folder / key / f"{name}.tif", array, dtype="uint16", left=LEFT + col)
    items = write_items(folder, [paths["image", "a"], paths["image", "b"]])
    document = json.loads(items.read_text())
    for feature in document["features"]:
        other = {**feature["assets"]["image"], "href": f"./other/{feature['id']}.tif"}
        feature["assets"]["other"] = other
    items.write_text(json.dumps(document))
    return items


def write_vectors(path: Path, shapes: Mapping[str, Any], *, field: str = "scene") -> Path:
    """Write polygons with names, in the scenes' CRS."""
    frame = geopandas.GeoDataFrame({field: list(shapes)}, geometry=list(shapes.values()), crs="EPSG:32633")
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_file(path, driver="GPKG", engine="pyogrio")
    return path
