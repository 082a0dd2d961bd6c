"""Rasters without Items: files that hold one band each are grouped into scenes, and what the options name is found in them."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from rasterio.crs import CRS

from processor.config.general import Inputs, MaskSetting
from processor.errors import InputError
from processor.geotiff.open import Outline
from processor.model import Band, Finding, MaskRef, RasterRef
from processor.model.bands import BandOfFile, parse_file_name
from processor.process.threads import map_ordered
from stac.hrefs import href_name, show_href

_NEARLY: Final = 1.0  # coarser pixels by which corners of bands may lie apart: panchromatic ones lie half a pixel off
_THREADS: Final = 8
_SHOWN: Final = 12  # names in a message
_SIZES: Final = re.compile(r"/R(10|20|60)m$")  # folders of a Sentinel-2 product, with bands of one scene
_ASIDE: Final = re.compile(
    r"(SCL|AOT|WVP|TCI|CLD|SNW|VIS|MSK|QA|FMASK|UDM2?|CLOUDS?|MASK|THUMBNAIL|PREVIEW|OVERVIEW|VISUAL|[SV][AZ]A)([-_. 0-9].*)?",
    re.IGNORECASE,
)
_SEPARATORS: Final = "-_. "


@dataclass(frozen=True, slots=True, kw_only=True)
class FileScene:
    """A scene made of files without Items."""

    name: str
    """What its file or files are called; any text."""
    folder: str
    """Path or URL of their folder."""
    rasters: tuple[RasterRef, ...]
    """Its files; of several each holds one band."""
    mask: MaskRef | None
    """File that marks invalid pixels, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A file, and what its name says."""

    href: str
    folder: str
    stem: str
    """Of its name."""
    band: BandOfFile | None
    """The band that its name calls, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Files that hold the bands of one scene."""

    name: str
    folder: str
    stem: str
    """What the names begin with before the band; "" where they begin with it."""
    bands: Mapping[str, _File]
    """{what the names call a band: its file}, in the order of the bands."""
    outline: Outline | None
    """Of one of them; None where none can be read."""


def group_files(
    hrefs: Sequence[str], inputs: Inputs, outline: Callable[[str], Outline | None], *, has_bands: bool
) -> tuple[tuple[FileScene, ...], tuple[Finding, ...]]:
    """Make scenes of files: one of each, or of those that hold its bands.

    Files whose names differ by nothing but the name of a band are bands of one scene where each has one band, and all cover the
    same area. Other files of that area whose names begin alike (quality, angles, pictures) are left out.

    Parameters
    ----------
    hrefs
        Absolute paths and URLs, in order of priority.
    inputs
        What is to be read of them.
    outline
        Reads where a file lies, None where it cannot be read now, which opening it will say; asked only of files whose names
        call a band, and of those beside them.
    has_bands
        Whether ``inputs.bands`` says which bands are read; of references it says which bands are meant.

    Returns
    -------
    (scenes, findings), scenes in the order of their first files.

    Raises
    ------
    InputError
        Something that an option names is not there, or the scenes have different bands.
    """
    files = [_parse(href) for href in hrefs]
    masks = _find_masks(files, inputs.mask)
    marked = {file.href for found in masks.values() for file in found}
    files = [file for file in files if file.href not in marked]
    wanted = inputs.bands if has_bands else None
    assets = (inputs.asset,) if inputs.asset is not None else inputs.assets
    groups = _find_groups(files, outline, least=2 if wanted is None and assets is None else 1)
    members = {file.href: position for position, group in enumerate(groups) for file in group.bands.values()}
    members |= _find_aside([file for file in files if file.href not in members], groups, outline)
    chosen = [_choose(group, assets, wanted) for group in groups]
    if has_bands:
        _check_alike(groups, chosen)
    scenes: list[FileScene] = []
    done: set[int] = set()
    for file in files:
        position = members.get(file.href)
        if position is None:
            _refuse_assets(file, assets, groups)
            rasters: tuple[RasterRef, ...] = (RasterRef(href=file.href, wanted=tuple(wanted or ())),)
            mask = _refer_mask(file.stem, file.stem, file.folder, masks, inputs.mask)
            scenes.append(FileScene(name=file.stem, folder=file.folder, rasters=rasters, mask=mask))
        elif position not in done:
            done.add(position)
            group = groups[position]
            rasters = tuple(_refer(label, group.bands[label]) for label in chosen[position])
            mask = _refer_mask(group.name, group.stem, group.folder, masks, inputs.mask)
            scenes.append(FileScene(name=group.name, folder=group.folder, rasters=rasters, mask=mask))
    return tuple(scenes), _tell(groups, chosen, [file for file in files if file.href in members])


def _parse(href: str) -> _File:
    path = href.partition("?")[0].partition("#")[0] if href.lower().startswith(("http://", "https://")) else href
    folder = _SIZES.sub("", path.rpartition("/")[0])
    stem = href_name(href).rpartition(".")[0]
    return _File(href=href, folder=folder, stem=stem, band=parse_file_name(stem, folder=folder.rpartition("/")[2]))


# Bands of one scene


def _find_groups(files: Sequence[_File], outline: Callable[[str], Outline | None], *, least: int) -> list[_Group]:
    """Files of at least so many bands of one scene."""
    alike: dict[tuple[str, str, str], list[_File]] = defaultdict(list)
    for file in files:
        if file.band is not None:
            alike[file.folder, file.band.scene.casefold(), file.band.stem.casefold()].append(file)
    families = [found for found in alike.values() if len({_label(file).casefold() for file in found}) >= least]
    known = _read_outlines([file for family in families for file in family], outline)
    return [
        _make_group(group, known)
        for family in families
        for group in _part_by_place([file for file in family if _may_be_band(known[file.href])], known)
        if len({_label(file).casefold() for file in group}) >= least
    ]


def _may_be_band(outline: Outline | None) -> bool:
    return outline is None or outline.bands == 1


def _label(file: _File) -> str:
    return file.stem if file.band is None else file.band.label


def _read_outlines(files: Sequence[_File], outline: Callable[[str], Outline | None]) -> dict[str, Outline | None]:
    found = map_ordered(lambda file: outline(file.href), files, threads=_THREADS)
    return {file.href: read for file, read in zip(files, found, strict=True)}


def _part_by_place(files: Sequence[_File], known: Mapping[str, Outline | None]) -> list[list[_File]]:
    """Files that cover the same area, together."""
    parts: list[list[_File]] = []
    for file in files:
        part = next((part for part in parts if _is_same_place(known[part[0].href], known[file.href])), None)
        if part is None:
            parts.append([file])
        else:
            part.append(file)
    return parts


def _is_same_place(first: Outline | None, second: Outline | None) -> bool:
    """Whether two files cover the same area; one that cannot be read is taken to."""
    if first is None or second is None:
        return True
    one, other = first.grid, second.grid
    if one.crs != other.crs and CRS.from_wkt(one.crs) != CRS.from_wkt(other.crs):
        return False
    across, down = max(one.pixel_width, other.pixel_width), max(one.pixel_height, other.pixel_height)
    near = (across * _NEARLY, down * _NEARLY, across * _NEARLY, down * _NEARLY)
    corners = zip(one.bounds.as_tuple(), other.bounds.as_tuple(), near, strict=True)
    return all(abs(a - b) <= limit for a, b, limit in corners)


def _make_group(files: Sequence[_File], known: Mapping[str, Outline | None]) -> _Group:
    """The bands in their order; of several files of one band that of the smallest pixels."""
    sizes = {file.href: math.inf if (own := known[file.href]) is None else own.grid.pixel_width for file in files}
    finest = sorted(files, key=lambda file: sizes[file.href])
    by_label: dict[str, _File] = {}
    for file in finest:
        by_label.setdefault(_label(file).casefold(), file)
    ordered = sorted(by_label.values(), key=lambda file: (file.band.order if file.band else (2, 0, ""), file.href))
    first = files[0]
    name = first.band.scene if first.band else ""
    return _Group(
        name=name or first.folder.rpartition("/")[2] or "scene",
        folder=first.folder,
        stem=first.band.stem if first.band else "",
        bands={_label(file): file for file in ordered},
        outline=known[finest[0].href],
    )


def _find_aside(files: Sequence[_File], groups: Sequence[_Group], outline: Callable[[str], Outline | None]) -> dict[str, int]:
    """Files that belong to a scene of bands and are none of them, each with the position of its scene."""
    begins = {(group.folder, group.stem.casefold()): position for position, group in enumerate(groups)}
    near: dict[str, tuple[_File, int]] = {}
    for file in files:
        position = next(
            (begins[file.folder, text] for text in _list_beginnings(file.stem) if (file.folder, text) in begins), None
        )
        if position is None and _ASIDE.fullmatch(file.stem):
            position = begins.get((file.folder, ""))
        if position is not None:
            near[file.href] = file, position
    known = _read_outlines([file for file, _ in near.values()], outline)
    return {href: position for href, (_, position) in near.items() if _is_same_place(known[href], groups[position].outline)}


def _list_beginnings(stem: str) -> list[str]:
    """What a name begins with before one of its separators, the longest first, in lower case."""
    return [stem[:end].casefold() for end in range(len(stem) - 1, 0, -1) if stem[end] in _SEPARATORS]


# What is read of them


def _choose(group: _Group, assets: Sequence[str] | None, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The bands that are read, as the files' names call them."""
    labels = tuple(group.bands)
    if assets is not None:
        labels = tuple(dict.fromkeys(label for word in assets for label in _find_labels(group, labels, word, "asset")))
    if wanted is not None:
        labels = tuple(dict.fromkeys(label for word in wanted for label in _find_labels(group, labels, word, "bands")))
    return labels


def _find_labels(group: _Group, labels: Sequence[str], word: str, option: str) -> list[str]:
    """The bands that a word means: by what the names call them, also by a pattern, else by common name."""
    found = [label for label in labels if _plain(label) == _plain(word)]
    found = found or [label for label in labels if fnmatchcase(label.casefold(), word.casefold())]
    found = found or [label for label in labels if _find_common(group, label) == word.casefold()]
    if found:
        return found
    msg = f"scene {group.name} has no band {word!r} (--inputs.{option}): its files hold {_list_bands(group, labels)}"
    raise InputError(msg)


def _plain(label: str) -> str:
    """B4 and b04 are one."""
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", label.casefold())


def _find_common(group: _Group, label: str) -> str | None:
    band = group.bands[label].band
    return None if band is None else band.common_name


def _list_bands(group: _Group, labels: Sequence[str]) -> str:
    commons = [(label, _find_common(group, label)) for label in labels]
    return ", ".join(label if common in {None, label.casefold()} else f"{label} ({common})" for label, common in commons)


def _check_alike(groups: Sequence[_Group], chosen: Sequence[Sequence[str]]) -> None:
    """Refuse scenes of different bands, and name those that all have."""
    kinds = [
        tuple(_find_common(group, label) or _plain(label) for label in labels)
        for group, labels in zip(groups, chosen, strict=True)
    ]
    if len({*map(frozenset, kinds)}) <= 1:
        return
    usual = Counter(map(frozenset, kinds)).most_common(1)[0][0]
    first = next(position for position, kind in enumerate(kinds) if frozenset(kind) == usual)
    other = next(position for position, kind in enumerate(kinds) if frozenset(kind) != usual)
    shared = [kind for kind in kinds[first] if all(kind in others for others in kinds)]
    remedy = f"choose such as all have, --inputs.bands {','.join(shared)}" if shared else "leave out what is of another sensor"
    msg = (
        f"the files hold different bands of the scenes: {_list_bands(groups[first], chosen[first])} of {groups[first].name}, "
        f"{_list_bands(groups[other], chosen[other])} of {groups[other].name}; {remedy}"
    )
    raise InputError(msg)


def _refer(label: str, file: _File) -> RasterRef:
    common = None if file.band is None else file.band.common_name
    return RasterRef(href=file.href, asset=label, bands=(Band(name=label, common_name=common),))


def _refuse_assets(file: _File, assets: Sequence[str] | None, groups: Sequence[_Group]) -> None:
    if assets is None:
        return
    what = f"{show_href(file.href)} is no file of one band of a scene" if groups else "the inputs are files without Items"
    msg = (
        f"--inputs.asset and --inputs.assets name assets of Items, or files with one band of a scene each, and {what}: leave "
        "the option out, or choose bands with --inputs.bands red,green,blue or by number"
    )
    raise InputError(msg)


# Masks


def _find_masks(files: Sequence[_File], setting: MaskSetting | None) -> dict[tuple[str, str], list[_File]]:
    """The files that mark invalid pixels: those with the asset's word in their name.

    Returns
    -------
    {folder and what stands before the word, in lower case and without separators at its end: the files}.
    """
    masks: dict[tuple[str, str], list[_File]] = defaultdict(list)
    if setting is None:
        return masks
    word = re.compile(rf"(?:(?P<before>.*)[-_. ])?{re.escape(setting.asset)}(?:[-_. ].*)?", re.IGNORECASE)
    found = [(file, match) for file in files if (match := word.fullmatch(file.stem)) is not None]
    if not found or len(found) == len(files):
        none = "all of the files have" if found else "no file has"
        msg = f"--inputs.mask names {setting.asset!r}, and {none} that word in the name: name what tells masks from scenes"
        raise InputError(msg)
    for file, match in found:
        masks[file.folder, _strip(match["before"] or "")].append(file)
    return masks


def _strip(before: str) -> str:
    parsed = parse_file_name(f"{before}_B1")  # where it ends with what names of bands hold too, such as SR
    return (before if parsed is None else parsed.stem).casefold()


def _refer_mask(
    name: str, stem: str, folder: str, masks: Mapping[tuple[str, str], list[_File]], setting: MaskSetting | None
) -> MaskRef | None:
    """The mask of a scene: of those beside it the one whose name begins most like it."""
    if setting is None:
        return None
    beginnings = (stem.casefold(), *_list_beginnings(stem), "")
    best = next((masks[folder, text] for text in beginnings if (folder, text) in masks), [])
    if len(best) != 1:
        what = f"{len(best)} files" if best else "no file"
        msg = (
            f"scene {name} has {what} beside it that may be its mask (--inputs.mask {setting.asset}): give each scene one, "
            f"named as {stem or name}_{setting.asset}.tif"
        )
        raise InputError(msg)
    wanted = () if setting.band is None else (setting.band,)
    raster = RasterRef(href=best[0].href, asset=setting.asset, wanted=wanted)
    return MaskRef(raster=raster, invalid=setting.invalid, valid=setting.valid, bits=setting.bits)


# What is told


def _tell(groups: Sequence[_Group], chosen: Sequence[Sequence[str]], files: Sequence[_File]) -> tuple[Finding, ...]:
    """How files were taken together, where they were."""
    read = {group.bands[label].href for group, labels in zip(groups, chosen, strict=True) for label in labels}
    if not groups or all(len(group.bands) == 1 for group in groups):
        return ()
    first, labels = groups[0], chosen[0]
    unread = [file.stem for file in files if file.href not in read]
    more = f" and {len(unread) - _SHOWN} more" if len(unread) > _SHOWN else ""
    aside = f"; not read: {', '.join(unread[:_SHOWN])}{more}" if unread else ""
    message = (
        f"{len(read):,} files are taken as the bands of {len(groups):,} scenes, as their names say: {first.name} has "
        f"{_list_bands(first, labels)}{aside}; choose others with --inputs.bands, or by an ItemCollection"
    )
    return (Finding(severity="info", code="bands-grouped", message=message),)
