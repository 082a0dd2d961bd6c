"""Where the user wants files to be: rasters of a stage, and copies of what is published."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from processor.config import Config
from processor.config.methods import Methods, choose_methods
from processor.errors import ConfigError
from processor.model import Scene
from processor.mosaic.plan import Plan
from processor.mosaic.solve import Solution
from processor.mosaic.stage_outputs import find_last_stage
from processor.publish.artifacts import ArtifactFile
from processor.stages.method import WantedCopy
from processor.storage.url import absolute_path, join_url
from processor.vectors import Feature, write_layers


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A finished local file that is also wanted somewhere else."""

    file: Path
    """The finished local file."""
    url: str
    """Path or URL that it is copied to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptStage:
    """A stage whose rasters are kept."""

    stage: str
    """Name of the stage."""
    method: str
    """Name of its method."""
    urls: Mapping[str, str] | None
    """Path or URL of each scene's raster, by scene; None: in the Item's folder."""


def find_kept_stages(config: Config, scenes: Sequence[Scene]) -> tuple[KeptStage, ...]:
    """Stages that are on and whose rasters are asked for; with merging off, the last one in any case.

    Raises
    ------
    ConfigError
        Naming the setting of output_images that does not fit the scenes.
    """
    methods, kept = choose_methods(config), []
    last = None if methods.merge.is_on else find_last_stage(methods)
    for stage, method in methods:
        setting, parameter = method.output_images, f"{method.name}.output_images"
        if stage.has_rasters and (setting is not None or config.output.artifacts == "full" or stage.name == last):
            urls = None if setting is None else place_images(setting, scenes, parameter=parameter)
            kept.append(KeptStage(stage=stage.name, method=method.name, urls=urls))
    return tuple(kept)


def list_output_places(config: Config, scenes: Sequence[Scene], *, mosaic_url: str | None = None) -> list[tuple[str, str]]:
    """Every path or URL that is written because the user named it, with the parameter that does; errors as above."""
    methods = choose_methods(config)
    places = [("shared_output_image_path", mosaic_url)] if mosaic_url is not None and methods.merge.is_on else []
    for kept in find_kept_stages(config, scenes):
        places += [(f"{kept.method}.output_images", url) for url in (kept.urls or {}).values()]
    return [*places, *((parameter, copy.url) for copy, parameter in _list_copies(methods, scenes))]


def check_folder(folder: Path, name: str) -> None:
    """Refuse a local folder in which nothing can be written; it need not exist yet.

    Raises
    ------
    ConfigError
        With the name of what was to be written, and the folder at fault.
    """
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        reason = "is not a folder" if not nearest.is_dir() else "cannot be written"
        msg = f"{name}: {nearest} {reason}; name a folder that can be written"
        raise ConfigError(msg)


def _list_copies(methods: Methods, scenes: Sequence[Scene]) -> Iterator[tuple[WantedCopy, str]]:
    """What is also wanted elsewhere, with the parameter that asks for it."""
    names = [scene.name for scene in scenes]
    for _, method in methods:
        for copy in method.list_copies(names):
            yield copy, f"{method.name}.{copy.option}"


def place_images(setting: str | tuple[str, ...], scenes: Sequence[Scene], *, parameter: str) -> dict[str, str]:
    """{scene: path or URL} that a folder, a list in input order, or a file name with $ stands for; local paths are absolute.

    Raises
    ------
    ConfigError
        If a list has not one name for each scene, a name is not that of a GeoTIFF, or two scenes would share a file.
    """
    ordered = sorted(scenes, key=lambda scene: scene.priority)
    if isinstance(setting, tuple):
        if len(setting) != len(ordered):
            msg = f"{parameter}: {len(setting)} files for {len(ordered)} scenes; give one for each, in input order"
            raise ConfigError(msg)
        found = {scene.name: absolute_path(name) for scene, name in zip(ordered, setting, strict=True)}
    elif "$" in setting:
        found = {scene.name: absolute_path(setting.replace("$", scene.name)) for scene in ordered}
    elif _is_geotiff(setting):
        if len(ordered) > 1:
            msg = f"{parameter} = {setting!r} is one file for {len(ordered)} scenes; put a $ for the scene into its name"
            raise ConfigError(msg)
        found = {ordered[0].name: absolute_path(setting)}
    else:
        found = {scene.name: join_url(absolute_path(setting), f"{scene.name}.tif") for scene in ordered}
    other = next((url for url in found.values() if not _is_geotiff(url)), None)
    if other is not None:
        msg = f"{parameter}: {other} is to be a GeoTIFF, so its name must end in .tif"
        raise ConfigError(msg)
    if len(set(found.values())) < len(found):
        msg = f"{parameter}: two scenes would be written to one file; give each its own"
        raise ConfigError(msg)
    return found


def _is_geotiff(url: str) -> bool:
    return Path(urlsplit(url).path).suffix.lower() in {".tif", ".tiff"}


def make_copies(config: Config, scenes: Sequence[Scene], products: Sequence[ArtifactFile]) -> tuple[Copy, ...]:
    """Copies of published files that the user wants under names of their own."""
    by_key = {product.artifact.key: product.file for product in products}
    wanted = [copy for copy, _ in _list_copies(choose_methods(config), scenes) if copy.key in by_key]
    return tuple(Copy(file=by_key[copy.key], url=absolute_path(copy.url)) for copy in sorted(wanted, key=lambda copy: copy.key))


def make_debug_copy(plan: Plan, solution: Solution, scratch: Path) -> tuple[Copy, ...]:
    """The GeoPackage that shows how the seamlines came about, where it is asked for."""
    method = plan.methods.seamlines
    if method.layers_url is None or solution.seamlines is None:
        return ()
    layers = {
        name: [Feature(geometry=geometry, name=text) for geometry, text in features]
        for name, features in method.list_layers(solution.seamlines).items()
    }
    file = scratch / "debug_vectors.gpkg"
    write_layers(file, layers, crs=plan.grid.crs, field=method.scene_field)
    return (Copy(file=file, url=absolute_path(method.layers_url)),)
