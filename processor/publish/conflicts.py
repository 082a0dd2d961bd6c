"""What the files that a user wants elsewhere may not replace: what a run reads and publishes, one another, and what is no file.

It is found before a pixel is read. What is there is replaced at the end, so a conflict that was not found would lose it.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from processor.config import Config, iter_parameters
from processor.errors import ConfigError
from processor.model import Scene
from processor.publish.output_paths import check_folder, list_output_places
from processor.redaction import redact_url
from processor.stages import STAGES
from processor.storage.url import local_path, parse_url, parse_writable_url

_DEVICES, _MEMORY = ("/dev/", "/proc/", "/sys/"), "/dev/shm/"  # noqa: S108 - which holds files
_OWN = frozenset({"shared.temp_dir"})
"""Parameters that name a place which is neither read nor written under its name."""


def check_places(
    config: Config,
    scenes: Sequence[Scene],
    *,
    read: Mapping[str, str],
    published: Mapping[str, str],
    folder: str | None = None,
    mosaic_url: str | None = None,
) -> None:
    """Refuse places of copies and rasters that would be lost, or would lose something.

    Two names are one place where they lead to one file (links, hard links), or differ by ``.``, ``..``, percent-encoding, upper
    and lower case or the form of accents alone.

    Parameters
    ----------
    read
        What else the run reads: path or URL, and what it is.
    published
        What the run writes by itself: path or URL of a file, or of a folder with all that is in it, and what it is.
    folder
        Path or URL of the Item's folder, from which nothing may be read either; None: it is not known yet.
    mosaic_url
        Where the mosaic goes if not to the Item's folder.

    Raises
    ------
    ConfigError
        Naming the parameter, the place and what it is besides.
    """
    places = list_output_places(config, scenes, mosaic_url=mosaic_url)
    written = frozenset(parameter for parameter, _ in places)
    rasters = ((href, f"scene {scene.name}") for scene in scenes for href in list_hrefs(scene))
    sources = [*rasters, *read.items(), *_list_files(config, written)]
    own = {} if folder is None else {_name(folder): "the Item's folder"}
    for url, what in sources:
        if _find_folder(url, own) is not None:
            msg = f"{what}: {redact_url(url)} is in the folder that this run publishes in; give another --output or --item-id"
            raise ConfigError(msg)
    own |= {_name(url): what for url, what in published.items()}
    taken = {key: what for url, what in sources for key in _identify(url)}
    for parameter, url in places:
        check_kind(parameter, url)
        keys = _identify(url)
        other = next((taken[key] for key in keys if key in taken), None) or _find_folder(url, own)
        if other is not None:
            msg = f"{parameter}: {redact_url(url)} is the place of {other} too, which would be lost; choose another one"
            raise ConfigError(msg)
        taken |= dict.fromkeys(keys, parameter)


def list_hrefs(scene: Scene) -> list[str]:
    """Paths and URLs of a scene's files."""
    parts = [part.raster for part in scene.parts] + ([] if scene.mask is None else [scene.mask.raster])
    return [raster.source.href for raster in (scene, *parts)]


def _list_files(config: Config, written: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Paths and URLs that the configuration names for reading, with the parameters; none of methods that are not chosen."""
    passed_over = {name for stage in STAGES for name in stage.methods} - set(config.chosen)
    for parameter in iter_parameters(config):
        if parameter.is_path and parameter.path not in written | _OWN and parameter.section not in passed_over:
            yield from ((url, parameter.path) for url in _list_texts(config.get(parameter)))


def _list_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for member in value:
            yield from _list_texts(member)


def check_kind(parameter: str, url: str) -> None:
    """Refuse a place that cannot be written, or where something is that is no regular file.

    Raises
    ------
    ConfigError
        Naming what asks for it, and the place.
    """
    try:
        target = parse_writable_url(url)
    except ConfigError as error:
        msg = f"{parameter}: {error}"
        raise ConfigError(msg) from error
    if not target.is_local:
        if url.endswith("/"):
            msg = f"{parameter}: {redact_url(url)} names a folder; give the name of a file"
            raise ConfigError(msg)
        return
    path = Path(target.path).absolute()
    try:
        kind = _describe_kind(path) or ("a folder" if target.path.endswith("/") else None)
    except OSError as error:
        msg = f"{parameter}: {url} cannot be written ({error.strerror}); choose another one"
        raise ConfigError(msg) from error
    if kind is not None:
        msg = f"{parameter}: {url} is {kind}; give the name of a new file, or of a regular one that may be replaced"
        raise ConfigError(msg)
    check_folder(path.parent, f"{parameter}: {url}")


def _describe_kind(path: Path) -> str | None:
    """What is there in place of a regular file; None where there is one, or nothing."""
    places = {os.path.realpath(path), os.path.normpath(path), f"{os.path.realpath(path.parent)}/{path.name}"}
    if any(
        place.startswith(_DEVICES) and not place.startswith(_MEMORY) for place in places
    ):  # also where it leads to a file, as standard output may
        return "among the devices of this machine"
    with suppress(FileNotFoundError, NotADirectoryError):
        path.with_name(f".{path.name}.{'0' * 16}.part").lstat()  # the name under which it is written may be too long
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not path.exists():
        return "a link that leads nowhere"
    mode = path.stat().st_mode
    kinds: dict[int, str | None] = {
        stat.S_IFREG: None,
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "no regular file")


def _identify(url: str) -> frozenset[object]:
    """What the names of one file have in common: any of these."""
    keys: set[object] = {_name(url)}
    if parse_url(url).is_local:
        try:
            status = local_path(url).stat()
        except (OSError, ValueError):
            return frozenset(keys)
        keys.add((status.st_dev, status.st_ino))
    return frozenset(keys)


def _name(url: str) -> str:
    """A path or URL as all its spellings have it."""
    place = parse_url(url)
    if place.is_local:
        return _fold(os.path.realpath(place.path))
    scheme, _, rest = redact_url(url).partition("://")
    return _fold(f"{place.backend.protocols[0] if scheme else ''}://{os.path.normpath(unquote(rest))}")


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _find_folder(url: str, folders: Mapping[str, str]) -> str | None:
    """What a place is that a run publishes by itself, or the folder that it is in; None where it is neither."""
    name = _name(url)
    return next((what for folder, what in folders.items() if name == folder or name.startswith(f"{folder}/")), None)
