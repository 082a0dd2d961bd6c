"""Items as one stac-geoparquet table for query engines, written by rustac (extra ``geoparquet``)."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from processor.errors import ConfigError, InputError
from processor.storage.scratch import scratch_folder
from stac.fields import is_finite
from stac.hrefs import NOWHERE, is_absolute, publish_href
from stac.links import absolute_href, list_links

MEDIA_TYPE: Final = "application/vnd.apache.parquet"
_WITHOUT: Final = {"type": "Polygon", "coordinates": []}  # rustac refuses null
_INT64: Final = range(-(2**63), 2**63)


def render_geoparquet(items: Sequence[Mapping[str, Any]], bases: Sequence[str]) -> bytes:
    """Render Items as a stac-geoparquet file; the same Items give the same bytes.

    Hrefs become absolute and lose credentials. A geometry that is null becomes an empty polygon. NaN and infinity become null,
    integers beyond 64 bits floating-point numbers. Empty objects are left out, because Parquet has none. Keys are sorted, so
    that the order of columns is always the same.

    Parameters
    ----------
    items
        Decoded JSON of STAC Items; at least one. Their order is kept.
    bases
        URL or absolute path of each Item's document.

    Raises
    ------
    ConfigError
        The extra is not installed.
    InputError
        The Items do not fit one table, for example where a field is a number in one Item and text in another.
    """
    try:
        rustac = importlib.import_module("rustac")
    except ImportError as error:
        msg = "output.inputs_geoparquet needs an extra: pip install 'mosaic-processor[geoparquet]', or set it to false"
        raise ConfigError(msg) from error
    if all(item.get("geometry") is None for item in items):
        msg = "no Item of the inputs has a geometry, which such a table is made for: set output.inputs_geoparquet to false"
        raise InputError(msg)
    ready = [_publish(item, publish_href(base)) for item, base in zip(items, bases, strict=True)]
    try:
        features = [json.loads(json.dumps(_to_json(item), sort_keys=True, allow_nan=False)) for item in ready]
    except RecursionError as error:
        msg = "the Items of the inputs are nested too deep for a table: set output.inputs_geoparquet to false"
        raise InputError(msg) from error
    with scratch_folder() as folder:  # rustac's stores in memory cannot be read back
        file = folder / "items.parquet"
        try:
            rustac.write_sync(str(file), features, format="parquet", parquet_compression="zstd(3)")
        except rustac.RustacError as error:
            msg = f"the Items of the inputs cannot be one table ({error}): set output.inputs_geoparquet to false"
            raise InputError(msg) from error
        return file.read_bytes()


def _publish(item: Mapping[str, Any], base: str) -> dict[str, Any]:
    """Copy of an Item whose links, assets and alternates have absolute hrefs without credentials."""
    assets = item.get("assets")
    kept = assets.items() if isinstance(assets, Mapping) else ()
    geometry = item.get("geometry")
    assets = {key: asset for key, asset in kept if isinstance(asset, Mapping) and _is_somewhere(asset, base)}
    return {
        **item,
        "geometry": _WITHOUT if geometry is None else geometry,
        "links": [_lift(link, base) for link in list_links(item) if _is_somewhere(link, base)],
        "assets": {key: _lift(asset, base) for key, asset in assets.items()},
    }


def _is_somewhere(holder: Mapping[str, Any], base: str) -> bool:
    """Whether its href leads anywhere; a relative one of a document without a place does not."""
    href = holder.get("href")
    return base != NOWHERE or not isinstance(href, str) or is_absolute(href)


def _lift(holder: Mapping[str, Any], base: str) -> dict[str, Any]:
    lifted, href, alternates = dict(holder), holder.get("href"), holder.get("alternate")
    if isinstance(href, str):
        lifted["href"] = publish_href(href if is_absolute(href) else absolute_href(href, base=base))
    if isinstance(alternates, Mapping):
        lifted["alternate"] = {key: _lift(other, base) for key, other in alternates.items() if isinstance(other, Mapping)}
    return lifted


def _to_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        members = {str(key): _to_json(member) for key, member in value.items()}
        return {key: member for key, member in members.items() if member != {}}
    if isinstance(value, list | tuple):
        return [_to_json(member) for member in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return value if _INT64.start <= value < _INT64.stop else _to_json(float(value) if is_finite(value) else math.inf)
    return None if isinstance(value, float) and not math.isfinite(value) else value
