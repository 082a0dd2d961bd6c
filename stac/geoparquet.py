"""Items as stac-geoparquet: one table that query engines read, made by rustac (extra ``geoparquet``)."""

from __future__ import annotations

import importlib
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from processor.errors import ConfigError, InputError
from stac.links import make_absolute

__all__ = ["MEDIA_TYPE", "render_geoparquet"]

MEDIA_TYPE: Final = "application/vnd.apache.parquet"


def render_geoparquet(items: Sequence[Mapping[str, Any]]) -> bytes:
    """Render Items as a stac-geoparquet file; the same Items give the same bytes.

    Hrefs become absolute where an Item has a self link, numbers that JSON cannot hold become null, empty objects (which Parquet
    does not have) are left out, and keys are sorted, so that the order of columns does not depend on who wrote the Items.

    Parameters
    ----------
    items
        Decoded JSON of STAC Items; at least one. Their order is kept.

    Raises
    ------
    ConfigError
        The extra is not installed.
    InputError
        The Items have no common table: a field that is a number in one and a text in another, for example.
    """
    try:
        rustac = importlib.import_module("rustac")
    except ImportError as error:
        msg = "output.inputs_geoparquet needs an extra: pip install 'mosaic-processor[geoparquet]', or set it to false"
        raise ConfigError(msg) from error
    features = [json.loads(json.dumps(_to_json(make_absolute(item)), sort_keys=True, allow_nan=False)) for item in items]
    with tempfile.TemporaryDirectory(prefix="mosaic-processor-") as folder:  # rustac's stores in memory cannot be read back
        file = Path(folder) / "items.parquet"
        try:
            rustac.write_sync(str(file), features, format="parquet", parquet_compression="zstd(3)")
        except rustac.RustacError as error:
            msg = f"the Items of the inputs cannot be one table ({error}): set output.inputs_geoparquet to false"
            raise InputError(msg) from error
        return file.read_bytes()


def _to_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        members = {str(key): _to_json(member) for key, member in value.items()}
        return {key: member for key, member in members.items() if member != {}}
    if isinstance(value, list | tuple):
        return [_to_json(member) for member in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
