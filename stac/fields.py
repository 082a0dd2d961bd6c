"""Bands of an asset and their scale and offset, as an Item of STAC 1.0 or 1.1 has them.

Items come from strangers: a field of the wrong type is an error that names it, never a guess.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard

from processor.errors import InputError
from processor.model import Band, Scaling
from stac.documents import clean_text

_BAND_LISTS: Final = ("bands", "eo:bands", "raster:bands")
_SCALES: Final = ("raster:scale", "scale")  # the second only in raster:bands of STAC 1.0
_OFFSETS: Final = ("raster:offset", "offset")
_BASELINE: Final = re.compile(r"N?([0-9]{1,2})\.?([0-9]{2})|([0-9]{1,2})\.([0-9])")  # 05.09, N0509, 5.1
_TEXT_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{0,15})?([eE][+-]?[0-9]{1,3})?")
_OFFSET_SINCE: Final = 4.0  # Sentinel-2 processing baseline whose pixels hold an offset of 1000
_SENTINEL: Final = Scaling(scale=1e-4, offset=-0.1)  # BOA_QUANTIFICATION_VALUE 10000, BOA_ADD_OFFSET -1000
_SENTINEL_ASSET: Final = re.compile(r"B(0[1-9]|1[0-2]|8A)")
_SENTINEL_NAMES: Final = frozenset(
    {"coastal", "blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "nir08", "nir09", "swir16", "swir22"}
)
_OFFSET_APPLIED: Final = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetFields:
    """An asset, with the Item that it is from."""

    key: str
    """Key of the asset in its Item."""
    fields: Mapping[str, Any]
    """JSON values of the asset."""
    item: ItemFields
    """Item that the asset is from."""

    @property
    def where(self) -> str:
        """The asset's name in messages."""
        return f"Item {self.item.name!r}, asset {clean_text(self.key)!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFields:
    """The fields of an Item that its assets depend on."""

    name: str
    """Its id."""
    assets: Mapping[str, Any]
    """JSON values by key, not checked."""
    properties: Mapping[str, Any]
    """JSON values by name, not checked."""
    collection: str | None
    """Id of its Collection, or None."""
    unusable: list[str] = field(default_factory=list)
    """Fields that say something beside the pixels, in a way that cannot be used: noted while they are parsed."""

    def note(self, key: str, value: object, wanted: str) -> None:
        """Note a field that cannot be used, once."""
        text = f"{key} is {clean_text(value)!r}, not {wanted}"
        if text not in self.unusable:
            self.unusable.append(text)

    def find(self, key: str) -> AssetFields | None:
        """Asset by its key; None where there is none, or it is no object."""
        fields = self.assets.get(key)
        return AssetFields(key=key, fields=fields, item=self) if isinstance(fields, Mapping) else None


def parse_bands(asset: AssetFields, *, names_only: bool = False) -> tuple[Band, ...]:
    """Bands of an asset, from ``bands`` (STAC 1.1) or ``eo:bands`` and ``raster:bands`` (1.0), or all three.

    An asset of one band may have the fields of a band itself, without a list; a band without a name is called like the asset
    where it is the only one, else ``band_1`` …

    Parameters
    ----------
    asset
        Whose bands.
    names_only
        Leave scale and offset out: those of an asset that is not read need not be valid.

    Returns
    -------
    tuple of Band
        In file order; empty where the asset lists none.

    Raises
    ------
    InputError
        Naming Item, asset and key.
    """
    entries = merge_entries(asset)
    alone = clean_text(asset.key) if len(entries) == 1 else None
    return tuple(
        _parse_band(alone or f"band_{i}", entry, asset, names_only=names_only) for i, entry in enumerate(entries, start=1)
    )


def merge_entries(asset: AssetFields) -> list[Mapping[str, Any]]:
    """Merge an asset's lists of bands into one; the newer list wins. Empty where the asset lists no bands.

    Raises
    ------
    InputError
        Naming Item, asset and key.
    """
    fields = asset.fields
    lists = {key: _list_objects(fields[key], key, asset) for key in _BAND_LISTS if fields.get(key) is not None}
    if "bands" in lists:  # an Item that was brought to 1.1 may have kept the old lists; they count where they fit
        lists = {key: bands for key, bands in lists.items() if key == "bands" or len(bands) == len(lists["bands"])}
    count = max(map(len, lists.values()), default=0)
    if not lists and (_says_of_one_band(fields) or _implied_scaling(asset) is not None):
        return [{"name": asset.key, **fields}]
    inherited = {key: fields[key] for key in ("raster:scale", "raster:offset") if fields.get(key) is not None}
    if count == 1 and fields.get("eo:common_name") is not None:
        inherited["eo:common_name"] = fields["eo:common_name"]
    entries: list[Mapping[str, Any]] = []
    for position in range(count):
        merged = dict(inherited)
        for bands in reversed(lists.values()):
            own = bands[position] if position < len(bands) else {}
            merged |= {key: value for key, value in own.items() if value is not None}
        entries.append(merged)
    return entries


def _list_objects(value: object, key: str, asset: AssetFields) -> list[Mapping[str, Any]]:
    """A list of bands; before STAC 1.0, whose traces some migrations leave, they are numbers of the Item's own, from 0."""
    known = asset.item.properties.get(key)
    if isinstance(value, list) and isinstance(known, list) and all(type(n) is int and 0 <= n < len(known) for n in value):
        value = [known[number] for number in value]
    if not isinstance(value, list) or not all(isinstance(entry, Mapping) for entry in value):
        msg = f"{asset.where}: its bands must be lists of objects, but {key} is not; correct the Item"
        raise InputError(msg)
    return value


def _says_of_one_band(fields: Mapping[str, Any]) -> bool:
    return any(fields.get(key) is not None for key in ("eo:common_name", "raster:scale", "raster:offset"))


def _parse_band(unnamed: str, entry: Mapping[str, Any], asset: AssetFields, *, names_only: bool) -> Band:
    common_name = clean_text(entry.get("eo:common_name", entry.get("common_name")))
    name = clean_text(entry.get("name")) or unnamed
    return Band(
        name=name,
        common_name=common_name or None,
        description=clean_text(entry.get("description")) or None,
        scaling=None if names_only else _parse_scaling(entry, name, asset),
        unit=clean_text(entry.get("unit")) or None,
    )


def _parse_scaling(entry: Mapping[str, Any], name: str, asset: AssetFields) -> Scaling | None:
    """Scale and offset of a band, corrected for Sentinel-2 Items whose offset is known to be wrong."""
    where = f"{asset.where}, band {name!r}"
    scale, offset = parse_number(entry, _SCALES, where), parse_number(entry, _OFFSETS, where)
    if scale is None and offset is None:
        return _implied_scaling(asset)
    scaling = Scaling(scale=1.0 if scale is None else scale, offset=0.0 if offset is None else offset)
    if scaling.scale == 0:
        msg = f"{where}: its scale is 0, which would make all its values the same; correct the Item"
        raise InputError(msg)
    if _is_sentinel(scaling) and _is_offset_gone(asset.item):
        return Scaling(scale=scaling.scale)
    return scaling


def _is_sentinel(scaling: Scaling) -> bool:
    return math.isclose(scaling.scale, _SENTINEL.scale) and math.isclose(scaling.offset, _SENTINEL.offset)


def _is_offset_gone(item: ItemFields) -> bool:
    """Whether the pixels of a Sentinel-2 Item hold no offset although its metadata declare one.

    Earth Search declares the offset of the product it was made from, -0.1, in every reflectance band, and has subtracted it
    from the pixels where ``earthsearch:boa_offset_applied`` is true (github.com/Element84/earth-search, issues 23 and 24):
    applied again, it makes dark pixels negative. Products of baselines before 04.00 never had an offset.
    """
    flags = _list_flags(item)
    baseline = _parse_baseline(item) if flags else None
    return any(flags) or (baseline is not None and baseline < _OFFSET_SINCE)


def _list_flags(item: ItemFields) -> list[bool]:
    """What an Item says of whether the offset has been subtracted from its pixels."""
    flags = []
    for key in _OFFSET_APPLIED:
        flag = item.properties.get(key)
        if isinstance(flag, str) and flag.lower() in {"true", "false"}:
            flag = flag.lower() == "true"
        if isinstance(flag, bool):
            flags.append(flag)
        elif flag is not None:
            item.note(key, flag, "true or false")
    return flags


def _implied_scaling(asset: AssetFields) -> Scaling | None:
    """Scaling of a Sentinel-2 L2A Item that declares none, such as the Items of the Planetary Computer.

    Their pixels are those of the product: since processing baseline 04.00 (25 January 2022) they hold an offset of 1000,
    which only the product's XML mentions (github.com/microsoft/PlanetaryComputer, issue 134). Without it,
    scenes before and after do not compare. An Item that says whether the offset has been subtracted is believed, as those of
    Earth Search's version 0, which have ``sentinel:boa_offset_applied`` and no ``raster:bands``.
    """
    item = asset.item
    flags = _list_flags(item)
    if flags and (_SENTINEL_ASSET.fullmatch(asset.key) or asset.key in _SENTINEL_NAMES):
        return Scaling(scale=_SENTINEL.scale) if _is_offset_gone(item) else _SENTINEL
    if item.collection != "sentinel-2-l2a" or not _SENTINEL_ASSET.fullmatch(asset.key):
        return None
    baseline = _parse_baseline(item)
    if baseline is None:
        return None
    return _SENTINEL if baseline >= _OFFSET_SINCE else Scaling(scale=_SENTINEL.scale)


def _parse_baseline(item: ItemFields) -> float | None:
    for key in ("s2:processing_baseline", "sentinel:processing_baseline"):
        value = item.properties.get(key)
        if is_number(value) and 0 <= value < 100:
            return float(value)
        match = _BASELINE.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is not None:
            whole, part = match[1] or match[3], match[2] or match[4]
            return float(f"{whole}.{part}")
        if value is not None:
            item.note(key, value, 'as "05.09"')
    return None


def parse_number(fields: Mapping[str, Any], keys: tuple[str, ...], where: str) -> float | None:
    """The first number found under the keys; None where there is none.

    Raises
    ------
    InputError
        If the value is no finite number.
    """
    for key in keys:
        value = fields.get(key)
        if value is not None:
            if isinstance(value, str) and _TEXT_NUMBER.fullmatch(value.strip()):
                value = float(value)
            if not is_number(value):
                msg = f"{where}: its {key} is {clean_text(value)!r}, not a finite number; correct the Item"
                raise InputError(msg)
            return float(value)
    return None


def is_number(value: object) -> TypeGuard[float]:
    """Whether a JSON value is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and is_finite(value)


def is_finite(value: float) -> bool:
    """Whether a JSON number is finite as float64."""
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float64 holds
        return False
