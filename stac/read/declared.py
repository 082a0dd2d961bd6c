"""Grid, CRS, nodata and bucket of an asset's file, as its Item declares them.

Items come from strangers: a field that says something beside the pixels and cannot be used is noted, never guessed.
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
from processor.model.crs_text import check_grid_files
from stac.documents import clean_text
from stac.fields import AssetFields, is_number, merge_entries, parse_number

T = TypeVar("T")

_SPECIAL: Final[Mapping[str, float]] = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_AUTHORITY_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(:[0-9.]+)?:[A-Za-z0-9_-]+")
_ENDPOINT: Final = re.compile(r"https?://[A-Za-z0-9._-]{1,253}(:[0-9]{1,5})?")
_REGION: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CODE_DIGITS: Final = 9
_MAX_SIDE: Final = 2**31 - 1  # pixels; GDAL has no more


def find_resolution(asset: AssetFields) -> float:
    """Declared pixel size of an asset, to compare it with other assets of its Item; inf if unknown.

    From ``gsd``, ``raster:spatial_resolution`` or ``proj:transform`` of the asset or its first band.
    """
    entries = merge_entries(asset)
    places = [asset.fields, *entries[:1]]
    for key in ("gsd", "raster:spatial_resolution", "spatial_resolution"):
        for place in places:
            try:
                value = parse_number(place, (key,), asset.where)
            except InputError:
                asset.item.note(key, place[key], "a finite number")
                continue
            if value is not None:
                return abs(value)
    transform = _parse_transform(asset.fields, asset)
    return math.inf if transform is None else math.hypot(transform[0], transform[3])


def parse_declared(asset: AssetFields) -> Declared:
    """Grid, CRS and nodata that an Item declares for an asset; the asset's own fields win over the Item's properties.

    The file knows all of it itself: what cannot be used is noted for a finding, and never ends a run.
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


def _is_empty(value: object) -> bool:
    """Whether a field says nothing: null, an empty list or text, or a list of nulls."""
    return value is None or value in ("", [], {}) or (isinstance(value, list) and all(member is None for member in value))


def _parse_shape(place: Mapping[str, Any], asset: AssetFields) -> tuple[int, int] | None:
    value = place.get("proj:shape")
    if _is_empty(value):
        return None
    numbers = _integers(value)
    if numbers is None or len(numbers) != 2 or not all(0 < number <= _MAX_SIDE for number in numbers):
        asset.item.note("proj:shape", value, "[height, width] in pixels")
        return None
    return numbers[0], numbers[1]


def _integers(value: object) -> list[int] | None:
    """A list of whole numbers as integers (some writers write 10980.0); None for anything else."""
    if not isinstance(value, list) or not all(is_number(number) and number == int(number) for number in value):
        return None
    return [int(number) for number in value]


def _parse_transform(place: Mapping[str, Any], asset: AssetFields) -> tuple[float, float, float, float, float, float] | None:
    """Affine transform of 6 coefficients, or of 9 whose last row is [0, 0, 1]."""
    value = place.get("proj:transform")
    if _is_empty(value):
        return None
    numbers = value if isinstance(value, list) and len(value) in {6, 9} else []
    if not numbers or not all(map(is_number, numbers)) or numbers[6:] not in ([], [0, 0, 1]):
        asset.item.note("proj:transform", value, "6 finite numbers, or 9 that end in 0, 0, 1")
        return None
    a, b, c, d, e, f = (float(number) for number in numbers[:6])
    return a, b, c, d, e, f


def _parse_crs(place: Mapping[str, Any], asset: AssetFields) -> str | None:
    """CRS as authority code or WKT2, from the first key that says one."""
    code, epsg = place.get("proj:code"), place.get("proj:epsg")
    if not _is_empty(code):
        if isinstance(code, str) and _AUTHORITY_CODE.fullmatch(code) and _is_known(code):
            return code.upper() if code.lower().startswith("epsg:") else code
        asset.item.note("proj:code", code, "as EPSG:32632")
    if not _is_empty(epsg):
        text = str(int(epsg)) if is_number(epsg) and epsg == int(epsg) else epsg if isinstance(epsg, str) else ""
        text = text.strip().upper().removeprefix("EPSG:")
        if text.isdecimal() and len(text) <= _CODE_DIGITS and _is_known(f"EPSG:{text}"):
            return f"EPSG:{int(text)}"
        asset.item.note("proj:epsg", epsg, "a code as 32632")
    for key, kind in (("proj:wkt2", str), ("proj:projjson", Mapping)):
        value = place.get(key)
        if _is_empty(value):
            continue
        if isinstance(value, kind):
            try:
                return _to_wkt(value if isinstance(value, str) else json.dumps(value), key)
            except (CRSError, ValueError, RecursionError):
                pass  # noted below, as what is of another type
        asset.item.note(key, value, "a coordinate reference system")
    return None


@lru_cache(maxsize=256)
def _is_known(code: str) -> bool:
    """Whether an authority code is one of a CRS."""
    try:
        CRS.from_user_input(code)
    except CRSError:
        return False
    return True


@lru_cache(maxsize=256)
def _to_wkt(text: str, key: str) -> str:
    """A CRS as WKT2; cached, because many Items share one."""
    check_grid_files(text)
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
    if isinstance(value, str) and value.strip().lower() in _SPECIAL:
        return _SPECIAL[value.strip().lower()]
    if _is_empty(value):
        return None
    if isinstance(value, float):
        return value
    try:
        return parse_number(place, ("nodata",), asset.where)
    except InputError:
        asset.item.note("nodata", value, 'a number, "nan", "inf" or "-inf"')
        return None


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
    """
    properties, places = asset.item.properties, _list_schemes(asset, followed)
    pays = [_flag(place, "requester_pays", asset) for place in places]
    regions = [_word(place, "region", asset) for place in places]
    own = (followed, properties)  # not the asset where an alternate is followed, which is another bucket
    pays += [_flag(place, "storage:requester_pays", asset) for place in own]
    regions += [_word(place, "storage:region", asset) for place in own]
    return bool(_first(pays)), _first(regions)


def find_endpoint(asset: AssetFields, followed: Mapping[str, Any]) -> str | None:
    """URL of the S3 server that ``storage:schemes`` names for an href; None where it is Amazon's, or none is named.

    Examples
    --------
    A ``platform`` of ``https://minio.example.org/{bucket}`` or ``https://{bucket}.minio.example.org`` is
    ``https://minio.example.org``.
    """
    for scheme in _list_schemes(asset, followed):
        platform = scheme.get("platform")
        if isinstance(platform, str) and str(scheme.get("type", "")).lower() in {"custom-s3", "s3"}:
            host = platform.replace("{bucket}.", "").partition("://")[2].partition("/")[0]
            address = f"{platform.partition('://')[0]}://{host}"
            if _ENDPOINT.fullmatch(address) and not host.endswith("amazonaws.com"):
                return address
    return None


def _list_schemes(asset: AssetFields, followed: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What ``storage:schemes`` of the Item says of the places that ``storage:refs`` names."""
    schemes = _objects_of(asset.item.properties, "storage:schemes", asset)
    refs = followed.get("storage:refs")
    if refs is not None and (not isinstance(refs, list) or not all(isinstance(ref, str) for ref in refs)):
        asset.item.note("storage:refs", refs, "a list of names")
        refs = None
    return [scheme for ref in refs or () if (scheme := _objects_of(schemes, ref, asset))]


def _objects_of(place: Mapping[str, Any], key: str, asset: AssetFields) -> Mapping[str, Any]:
    value = place.get(key)
    if value is not None and not isinstance(value, Mapping):
        asset.item.note(f"{clean_text(key)} of its storage", value, "an object")
        return {}
    return value or {}


def _flag(place: Mapping[str, Any], key: str, asset: AssetFields) -> bool | None:
    value = place.get(key)
    if value is not None and not isinstance(value, bool):
        asset.item.note(key, value, "true or false")
        return None
    return value


def _word(place: Mapping[str, Any], key: str, asset: AssetFields) -> str | None:
    value = place.get(key)
    if not _is_empty(value) and (not isinstance(value, str) or not _REGION.fullmatch(value)):
        asset.item.note(key, value, "the name of a region")
        return None
    return value or None
