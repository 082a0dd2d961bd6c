"""Grid, CRS, nodata and bucket of an asset's file, as its Item declares them.

Items come from strangers: a field of the wrong type is an error that names it, never a guess.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeVar

from pyproj import CRS
from pyproj.exceptions import CRSError

from processor.errors import InputError
from processor.model import Declared
from stac.documents import clean_text, json_type
from stac.fields import AssetFields, is_finite, is_number, merge_entries, parse_number

T = TypeVar("T")

_SPECIAL: Final[Mapping[str, float]] = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_AUTHORITY_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(:[0-9.]+)?:[A-Za-z0-9_-]+")
_REGION: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_SIDE: Final = 2**31 - 1  # pixels; GDAL has no more


def find_resolution(asset: AssetFields) -> float:
    """Declared pixel size of an asset, to compare it with other assets of its Item; inf if unknown.

    From ``gsd``, ``raster:spatial_resolution`` or ``proj:transform`` of the asset or its first band.
    """
    entries = merge_entries(asset)
    places = [asset.fields, *entries[:1]]
    for key in ("gsd", "raster:spatial_resolution", "spatial_resolution"):
        for place in places:
            value = parse_number(place, (key,), asset.where)
            if value is not None:
                return abs(value)
    transform = _parse_transform(asset.fields, asset)
    return math.inf if transform is None else math.hypot(transform[0], transform[3])


def parse_declared(asset: AssetFields) -> Declared:
    """Grid, CRS and nodata that an Item declares for an asset; the asset's own fields win over the Item's properties.

    Raises
    ------
    InputError
        Naming Item, asset and key.
    """
    places = (asset.fields, asset.item.properties)
    return Declared(
        shape=_first(_parse_shape(place, asset) for place in places),
        transform=_first(_parse_transform(place, asset) for place in places),
        crs=_first(_parse_crs(place, asset) for place in places),
        nodata=_parse_nodata(asset),
    )


def _first(values: Iterable[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)


def _parse_shape(place: Mapping[str, Any], asset: AssetFields) -> tuple[int, int] | None:
    value = place.get("proj:shape")
    if value is None:
        return None
    numbers = _integers(value)
    if numbers is None or len(numbers) != 2 or not all(0 < number <= _MAX_SIDE for number in numbers):
        msg = f"{asset.where}: its proj:shape is {clean_text(value)!r}, not [height, width] in pixels; correct the Item"
        raise InputError(msg)
    return numbers[0], numbers[1]


def _integers(value: object) -> list[int] | None:
    """A list of whole numbers as integers (some writers write 10980.0); None for anything else."""
    if not isinstance(value, list) or not all(is_number(number) and number == int(number) for number in value):
        return None
    return [int(number) for number in value]


def _parse_transform(place: Mapping[str, Any], asset: AssetFields) -> tuple[float, float, float, float, float, float] | None:
    """Affine transform of 6 coefficients, or of 9 whose last row is [0, 0, 1]."""
    value = place.get("proj:transform")
    if value is None:
        return None
    is_list = isinstance(value, list) and len(value) in {6, 9}
    if not is_list or not all(map(is_number, value)):
        msg = f"{asset.where}: its proj:transform is {clean_text(value)!r}, not 6 or 9 finite numbers; correct the Item"
        raise InputError(msg)
    a, b, c, d, e, f = (float(number) for number in value[:6])
    if [*value[6:]] not in ([], [0, 0, 1]):
        msg = f"{asset.where}: the last row of its proj:transform is {value[6:]}, not [0, 0, 1]; correct the Item"
        raise InputError(msg)
    return a, b, c, d, e, f


def _parse_crs(place: Mapping[str, Any], asset: AssetFields) -> str | None:
    """CRS as authority code or WKT2, from the first key that is not null."""
    code, epsg = place.get("proj:code"), place.get("proj:epsg")
    if code is not None:
        if not isinstance(code, str) or not _AUTHORITY_CODE.fullmatch(code):
            msg = f"{asset.where}: its proj:code is {clean_text(code)!r}, not as EPSG:32632; correct the Item"
            raise InputError(msg)
        return code.upper() if code.lower().startswith("epsg:") else code
    if epsg is not None:
        if isinstance(epsg, bool) or not isinstance(epsg, int) or epsg <= 0:
            msg = f"{asset.where}: its proj:epsg is {clean_text(epsg)!r}, not a code as 32632; correct the Item"
            raise InputError(msg)
        return f"EPSG:{epsg}"
    for key, kind in (("proj:wkt2", str), ("proj:projjson", Mapping)):
        value = place.get(key)
        if value is not None:
            if not isinstance(value, kind):
                msg = f"{asset.where}: its {key} is a JSON {json_type(value)}; correct the Item"
                raise InputError(msg)
            try:
                return _to_wkt(value if isinstance(value, str) else json.dumps(value), key)
            except (CRSError, RecursionError) as error:
                msg = f"{asset.where}: its {key} is no coordinate reference system; correct the Item"
                raise InputError(msg) from error
    return None


@lru_cache(maxsize=256)
def _to_wkt(text: str, key: str) -> str:
    """A CRS as WKT2; cached, because many Items share one."""
    crs = CRS.from_wkt(text) if key == "proj:wkt2" else CRS.from_json(text)
    return str(crs.to_wkt())


def _parse_nodata(asset: AssetFields) -> float | None:
    """Nodata value of all bands; None where none is declared, or bands differ."""
    values = [_parse_nodata_of(entry, asset) for entry in merge_entries(asset)] or [None]
    whole = _parse_nodata_of(asset.fields, asset)
    values = [whole if value is None else value for value in values]
    first = values[0]
    same = all(value == first or (_is_nan(value) and _is_nan(first)) for value in values)
    return first if same else None


def _is_nan(value: float | None) -> bool:
    return value is not None and math.isnan(value)


def _parse_nodata_of(place: Mapping[str, Any], asset: AssetFields) -> float | None:
    value = place.get("nodata")
    if value is None:
        return None
    if isinstance(value, str) and value.lower() in _SPECIAL:
        return _SPECIAL[value.lower()]
    if isinstance(value, bool) or not isinstance(value, int | float) or (isinstance(value, int) and not is_finite(value)):
        msg = f'{asset.where}: its nodata is {clean_text(value)!r}, not a number, "nan", "inf" or "-inf"; correct the Item'
        raise InputError(msg)
    return float(value)


def parse_storage(asset: AssetFields, followed: Mapping[str, Any]) -> tuple[bool, str | None]:
    """Requester pays and region of the bucket that an href leads to, from the storage extension.

    Parameters
    ----------
    followed
        Fields of the asset or of the alternate whose href is read; the alternate may be in another bucket.

    Returns
    -------
    tuple
        Whether the requester pays, and the region or None. Version 2.0.0 has ``storage:schemes`` in the Item and
        ``storage:refs`` to them; 1.0.0 has ``storage:requester_pays`` and ``storage:region`` in the asset or the Item.

    Raises
    ------
    InputError
        Naming Item, asset and key.
    """
    properties = asset.item.properties
    schemes = _objects_of(properties, "storage:schemes", asset)
    refs = followed.get("storage:refs")
    if refs is not None and (not isinstance(refs, list) or not all(isinstance(ref, str) for ref in refs)):
        msg = f"{asset.where}: its storage:refs is not a list of names; correct the Item"
        raise InputError(msg)
    places = [scheme for ref in refs or () if (scheme := _objects_of(schemes, ref, asset))]
    pays = [_flag(place, "requester_pays", asset) for place in places]
    regions = [_word(place, "region", asset) for place in places]
    own = (followed, properties)  # not the asset where an alternate is followed, which is another bucket
    pays += [_flag(place, "storage:requester_pays", asset) for place in own]
    regions += [_word(place, "storage:region", asset) for place in own]
    return bool(_first(pays)), _first(regions)


def _objects_of(place: Mapping[str, Any], key: str, asset: AssetFields) -> Mapping[str, Any]:
    value = place.get(key)
    if value is not None and not isinstance(value, Mapping):
        msg = f"{asset.where}: {clean_text(key)} of its storage is a JSON {json_type(value)}, not an object; correct the Item"
        raise InputError(msg)
    return value or {}


def _flag(place: Mapping[str, Any], key: str, asset: AssetFields) -> bool | None:
    value = place.get(key)
    if value is not None and not isinstance(value, bool):
        msg = f"{asset.where}: its {key} is {clean_text(value)!r}, not true or false; correct the Item"
        raise InputError(msg)
    return value


def _word(place: Mapping[str, Any], key: str, asset: AssetFields) -> str | None:
    value = place.get(key)
    if value is not None and (not isinstance(value, str) or not _REGION.fullmatch(value)):
        msg = f"{asset.where}: its {key} is {clean_text(value)!r}, not the name of a region; correct the Item"
        raise InputError(msg)
    return value
