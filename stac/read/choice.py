"""Which assets of an Item are read, and which of their bands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import groupby
from typing import Final, Literal

from processor.errors import ConfigError, InputError
from processor.model import Band
from processor.model.bands import find_colour, is_placeholder
from stac.documents import clean_text, list_words
from stac.fields import AssetFields, ItemFields, parse_bands
from stac.hrefs import href_suffix
from stac.read.declared import find_resolution

_GEOTIFF_TYPES: Final = frozenset({"image/tiff", "image/vnd.stac.geotiff", "application/geotiff"})
_JPEG2000_TYPES: Final = frozenset({"image/jp2", "image/jpx", "image/jpeg2000"})
_ANY_TYPES: Final = frozenset({"application/octet-stream", "binary/octet-stream", "application/x-octet-stream"})
_GEOTIFF_SUFFIXES: Final = frozenset({".tif", ".tiff"})
_JPEG2000_SUFFIXES: Final = frozenset({".jp2", ".j2k", ".jpx"})
_SIDE_ROLES: Final = frozenset({"thumbnail", "metadata", "data-mask"})
_SELECTORS: Final = ("role", "title", "type")
_COLOURS: Final = ("red", "green", "blue")
_NAMED: Final = 4  # bands in a proposal
_PICTURE_ROLES: Final = frozenset({"visual", "overview"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskSelection:
    """The asset of each Item that marks invalid pixels."""

    asset: str
    """Its key, or what finds it as :func:`choose_rasters` says."""
    invalid: tuple[int, ...]
    """Values of invalid pixels."""
    bits: tuple[int, ...]
    """Bits of which any marks an invalid pixel, 0 the lowest."""
    valid: tuple[int, ...] = ()
    """Values of valid pixels, all others being invalid; empty: nothing is said by them."""
    band: int | str | None = None
    """Name or 1-based number of its band; None: it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is read of each Item, and of how many.

    Raises
    ------
    ConfigError
        If one asset and several are asked for, or the same one twice.
    """

    asset: str | None
    """Key of the one asset that is read, with all its bands, or what finds it."""
    assets: tuple[str, ...] | None
    """Keys of the assets that are stacked in this order, or what finds them."""
    bands: tuple[str, ...] | None
    """Names or common names of the bands that are read in this order, wherever they are."""
    mask: MaskSelection | None
    """Asset that marks invalid pixels, or None."""
    sign: Literal["planetary-computer"] | None
    """Catalogue whose hrefs are signed."""
    alternate: str | None
    """Key of the ``alternate`` that is read where an asset has it, or None."""
    allow_local_files: bool
    """Whether a document from a URL may name files of this machine."""
    max_scenes: int
    """Largest number of Items."""

    def __post_init__(self) -> None:
        """Check that the choice does not contradict itself."""
        if self.asset is not None and self.assets is not None:
            msg = (
                f"inputs.asset {self.asset!r} and inputs.assets {list_words(self.assets)} exclude each other: give one of them"
            )
            raise ConfigError(msg)
        for option, words in (("assets", self.assets or ()), ("bands", self.bands or ())):
            twice = [word for position, word in enumerate(words) if word in words[:position]]
            if twice:
                msg = f"inputs.{option} names {twice[0]!r} twice: give every one once"
                raise ConfigError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An asset that is read."""

    asset: AssetFields
    """The asset."""
    bands: tuple[Band, ...]
    """As the Item describes them, in file order; empty where it describes none."""
    wanted: tuple[int | str, ...] = ()
    """1-based indexes of the bands to read, or names to be looked up in the file; empty: all bands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Match:
    """A band that matches a name, with its rank: of several matches the lowest rank is read."""

    asset: AssetFields
    index: int
    """1-based."""
    label: str
    rank: tuple[bool, bool, bool, bool, bool, float]
    """In this order: data before pictures, GeoTIFF before JPEG 2000, an asset of exactly this name, a band of this name
    before one of this common name, an asset named after its band, small pixels before large ones.
    """


def choose_rasters(item: ItemFields, selection: Selection) -> tuple[Choice, ...]:
    """Choose the assets and bands of an Item that make up its scene.

    - ``asset``: this asset with all its bands; ``assets``: these assets, stacked in this order. Where no key is so, a word may
      be ``role:data``, ``title:…``, ``type:image/tiff`` or a pattern such as ``*_GEC``: keys may hold the Item's id.
    - ``bands``: these bands in this order, by name or common name, from whichever asset has them. Consecutive bands of one
      asset are read together. An asset that lists no bands counts as one band named after its key.
    - Neither: the only raster asset; data before pictures, never a thumbnail.

    Raises
    ------
    InputError
        Naming the Item, the assets or bands that it has, and what to do.
    """
    named = selection.assets if selection.assets is not None else None if selection.asset is None else (selection.asset,)
    option = "--inputs.assets" if selection.assets is not None else "--inputs.asset"
    assets = None if named is None else _find_assets(item, named, option)
    if selection.bands is not None:
        rasters = _list_rasters(item) if assets is None else assets
        if len(rasters) == 1 and _is_counted(rasters[0]):  # the file itself may name them
            return (Choice(asset=rasters[0], bands=parse_bands(rasters[0]), wanted=selection.bands),)
    if selection.bands is not None:
        return _choose_bands(
            item, selection.bands, _list_rasters(item) if assets is None else assets, is_named=assets is not None
        )
    if assets is None:
        assets = [_choose_only(item)]
    return tuple(_read_whole(asset) for asset in assets)


def _is_counted(asset: AssetFields) -> bool:
    """Whether an Item counts the bands of an asset, and names none of them."""
    bands = parse_bands(asset, names_only=True)
    return len(bands) > 1 and all(band.common_name is None and is_placeholder(band.name) for band in bands)


def choose_mask(item: ItemFields, mask: MaskSelection) -> Choice:
    """The asset that marks invalid pixels, and its band where one is named.

    Raises
    ------
    InputError
        If the Item has no such asset, or several, or it is no raster.
    """
    chosen = _read_whole(_find_one(item, mask.asset, "--inputs.mask"))
    return chosen if mask.band is None else replace(chosen, wanted=(mask.band,))


def _read_whole(asset: AssetFields) -> Choice:
    return Choice(asset=asset, bands=parse_bands(asset))


def _find_assets(item: ItemFields, words: Sequence[str], option: str) -> list[AssetFields]:
    """The assets that words mean, each once."""
    if option == "--inputs.asset":
        return [_find_one(item, words[0], option)]
    found = [asset for word in words for asset in _match_assets(item, word) or [_find_asset(item, word, option)]]
    return list({asset.key: asset for asset in found}.values())


def _find_one(item: ItemFields, word: str, option: str) -> AssetFields:
    matching = _match_assets(item, word)
    if len(matching) > 1:
        keys = list_words(asset.key for asset in matching)
        msg = f"Item {item.name!r} has {len(matching)} assets that {word!r} means ({option}), {keys}: give the key of one"
        raise InputError(msg)
    return matching[0] if matching else _find_asset(item, word, option)


def _match_assets(item: ItemFields, word: str) -> list[AssetFields]:
    """The rasters that a word means which is no key of the Item: by role, title, media type, or pattern of the key."""
    kind, _, text = word.partition(":")
    if word in item.assets or not (kind in _SELECTORS or any(mark in word for mark in "*?[")):
        return []
    assets = (asset for asset in map(item.find, item.assets) if asset is not None)
    rasters = [asset for asset in assets if _is_geotiff(asset) or _is_jpeg2000(asset)]
    if kind in _SELECTORS:
        pattern = text.casefold()
        found = [asset for asset in rasters if any(fnmatchcase(own.casefold(), pattern) for own in _describe(asset, kind))]
    else:
        found = [asset for asset in rasters if fnmatchcase(asset.key, word)]
    return [asset for asset in found if _is_geotiff(asset)] or found  # a band is there in both formats in some catalogues


def _describe(asset: AssetFields, kind: str) -> frozenset[str]:
    """Roles, title or media type of an asset; the last with its parameters and without."""
    if kind == "role":
        return _roles(asset)
    value = asset.fields.get(kind)
    return frozenset({value, value.partition(";")[0].strip()}) if isinstance(value, str) else frozenset()


def _find_asset(item: ItemFields, key: str, option: str) -> AssetFields:
    """Asset by its key; one without a media type may have any file name."""
    asset = item.find(key)
    if asset is None:
        near = {other.casefold(): other for other in item.assets}
        close = get_close_matches(key.casefold(), near, n=1)
        hint = f" (did you mean {near[close[0]]!r}?)" if close else ""
        what = list_words(item.assets) or "no assets at all"
        msg = f"Item {item.name!r} has no asset {key!r} ({option}){hint}: it has {what}"
        raise InputError(msg)
    if _media_type(asset) is not None and not (_is_geotiff(asset) or _is_jpeg2000(asset)):
        what = f"is {clean_text(asset.fields['type'])!r}, not a GeoTIFF or JPEG 2000 file"
        msg = f"{asset.where} {what}: choose another of {list_words(item.assets)}"
        raise InputError(msg)
    return asset


def _list_rasters(item: ItemFields) -> list[AssetFields]:
    """The raster assets that may hold data: no thumbnails, metadata or masks."""
    assets = [asset for asset in map(item.find, item.assets) if asset is not None]
    return [asset for asset in assets if (_is_geotiff(asset) or _is_jpeg2000(asset)) and not _roles(asset) & _SIDE_ROLES]


def _choose_only(item: ItemFields) -> AssetFields:
    rasters = _list_rasters(item)
    rasters = [asset for asset in rasters if _is_geotiff(asset)] or rasters
    data = [asset for asset in rasters if "data" in _roles(asset)]
    others = [asset for asset in rasters if not _is_picture(asset)]
    candidates = data or others or rasters
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        what = list_words(item.assets) or "no assets at all"
        msg = f"Item {item.name!r} has no raster asset among {what}: name one with --inputs.asset KEY"
        raise InputError(msg)
    keys = list_words(asset.key for asset in candidates)
    bands = _propose_bands(candidates)
    by_band = f"choose bands with --inputs.bands {bands}, " if bands else ""
    msg = (
        f"Item {item.name!r} has {len(candidates)} raster assets, {keys}: {by_band}{'or ' if bands else 'choose '}one with "
        "--inputs.asset KEY, or stack several with --inputs.assets KEY,KEY"
    )
    raise InputError(msg)


def _propose_bands(assets: Sequence[AssetFields]) -> str:
    """Bands that can be asked for: red, green and blue where there are such; "" where assets of several bands name none."""
    listed = [(parse_bands(asset, names_only=True) or (Band(name=clean_text(asset.key)),)) for asset in assets]
    bands = [band for found in listed for band in found]
    colours = {band.common_name or find_colour(band.name) for band in bands}
    if {*_COLOURS} <= colours:
        return ",".join(_COLOURS)
    names = [band.name for band in bands if all(letter.isalnum() or letter in "_-" for letter in band.name)]
    is_stack = len(bands) == len(assets) == len(set(names))
    return ",".join(names[:_NAMED]) if is_stack else ""


def _choose_bands(item: ItemFields, wanted: Sequence[str], assets: list[AssetFields], *, is_named: bool) -> tuple[Choice, ...]:
    names = {asset.key: parse_bands(asset, names_only=True) for asset in assets}
    silent = [asset for asset in assets if not names[asset.key]]
    if len(assets) == 1 and silent and (is_named or wanted != (assets[0].key,)):
        return (Choice(asset=assets[0], bands=(), wanted=tuple(wanted)),)  # the file itself may name them
    matches = [_choose_band(item, name, assets, names) for name in wanted]
    choices = []
    for _, group in groupby(matches, key=lambda match: match.asset.key):
        found = list(group)
        asset = found[0].asset
        bands = parse_bands(asset) or (Band(name=clean_text(asset.key)),)
        choices.append(Choice(asset=asset, bands=bands, wanted=tuple(match.index for match in found)))
    return tuple(choices)


def _choose_band(item: ItemFields, name: str, assets: Iterable[AssetFields], names: dict[str, tuple[Band, ...]]) -> _Match:
    """The one asset and band that a name means."""
    matches = [match for asset in assets for match in _match_band(name, asset, names[asset.key])]
    if not matches:
        known = dict.fromkeys(_describe_band(band) for bands in names.values() for band in bands)
        known |= dict.fromkeys(repr(clean_text(key)) for key, bands in names.items() if not bands)
        listed = ", ".join([*known][:40]) + (f" and {len(known) - 40} more" if len(known) > 40 else "")
        msg = f"Item {item.name!r} has no band {name!r} (--inputs.bands): it has {listed or 'no rasters'}"
        raise InputError(msg)
    best = min(match.rank for match in matches)
    candidates = [match for match in matches if match.rank == best]
    if len(candidates) > 1:
        listed = ", ".join(match.label for match in candidates)
        msg = (
            f"Item {item.name!r} has {len(candidates)} bands that {name!r} may mean (--inputs.bands), {listed}: "
            "give the name of one of them, or say with --inputs.assets which assets are meant"
        )
        raise InputError(msg)
    return candidates[0]


def _describe_band(band: Band) -> str:
    return repr(band.name) if band.common_name in {None, band.name} else f"{band.name!r} ({band.common_name})"


def _match_band(name: str, asset: AssetFields, bands: tuple[Band, ...]) -> list[_Match]:
    """The bands of an asset that a name may mean."""
    if not bands and asset.key == name:
        bands = (Band(name=name),)
    known = [(index, band, band.common_name or find_colour(band.name)) for index, band in enumerate(bands, start=1)]
    found = [(index, band, common) for index, band, common in known if name in {band.name, common}]
    resolution = find_resolution(asset) if found else 0.0
    return [
        _Match(
            asset=asset,
            index=index,
            label=f"band {band.name!r} of asset {clean_text(asset.key)!r}",
            rank=(
                _is_picture(asset),
                _is_jpeg2000(asset),
                asset.key != name,
                band.name != name,
                asset.key not in {band.name, common},
                resolution,
            ),
        )
        for index, band, common in found
    ]


def _is_geotiff(asset: AssetFields) -> bool:
    return _is_kind(asset, _GEOTIFF_TYPES, _GEOTIFF_SUFFIXES)


def _is_jpeg2000(asset: AssetFields) -> bool:
    return _is_kind(asset, _JPEG2000_TYPES, _JPEG2000_SUFFIXES)


def _is_kind(asset: AssetFields, types: frozenset[str], suffixes: frozenset[str]) -> bool:
    """Whether an asset is of a format, by its media type, or without one by its file name."""
    kind = _media_type(asset)
    if kind is not None:
        return kind in types
    href = asset.fields.get("href")
    return isinstance(href, str) and href_suffix(href) in suffixes


def _media_type(asset: AssetFields) -> str | None:
    """Media type of an asset; None where it has none, or one of bytes of any kind."""
    kind = asset.fields.get("type")
    kind = kind.partition(";")[0].strip().lower() if isinstance(kind, str) else ""
    return kind if kind and kind not in _ANY_TYPES else None


def _is_picture(asset: AssetFields) -> bool:
    return bool(_roles(asset) & _PICTURE_ROLES)


def _roles(asset: AssetFields) -> frozenset[str]:
    roles = asset.fields.get("roles")
    return frozenset(role for role in roles if isinstance(role, str)) if isinstance(roles, list) else frozenset()
