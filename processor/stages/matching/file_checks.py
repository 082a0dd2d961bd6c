"""Checks of the files that users load: whoever wrote them, reading takes bounded memory, and every error is in words."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from processor.errors import InputError

LARGEST: Final = float(np.finfo(np.float32).max)
"""The largest number of a radiometry that is believed: that of single precision."""
LARGEST_PLACE: Final = 1e15
"""The largest coordinate that is believed, CRS units: differences of such are numbers."""

_MOST_CONTAINERS: Final = 8_000_000  # lists and mappings of a document: about 2 GB
_MOST_VALUES: Final = 64_000_000  # numbers and strings of a document: about 2.5 GB


def parse_json(text: str, source: str) -> Any:
    """The document in a file's text, of at most 8 million lists and mappings and 64 million values.

    Raises
    ------
    InputError
        Naming the file: it is not JSON, or holds more than any run writes.
    """
    if text.count("[") + text.count("{") > _MOST_CONTAINERS or text.count(",") > _MOST_VALUES:
        msg = f"{source} holds more than {_MOST_CONTAINERS:,} lists or {_MOST_VALUES:,} values; give what another run saved"
        raise InputError(msg)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        msg = f"{source} is not JSON: {error}"
        raise InputError(msg) from error


def require_mapping(value: object, place: str) -> Mapping[str, Any]:
    """A value that has to be a mapping; ``place`` names the file and where in it."""
    if not isinstance(value, dict):
        msg = f"{place}: must be a mapping, got {type(value).__name__}"
        raise InputError(msg)
    return value


def require_member(value: object, key: str, place: str) -> Any:
    """What a mapping has to have under a key."""
    mapping = require_mapping(value, place)
    if key not in mapping:
        msg = f"{place}: key {key!r} is missing"
        raise InputError(msg)
    return mapping[key]


def require_number(row: object, key: str, place: str) -> float:
    """A number that a mapping has to have, within those of single precision."""
    value = require_member(row, key, place)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:  # False where it is NaN
        msg = f"{place}, {key}: must be a finite number of up to {LARGEST:.4g}, got {reprlib.repr(value)}"
        raise InputError(msg)
    return float(value)


def require_numbers(
    entry: Mapping[str, Any], key: str, shape: tuple[int | None, ...], place: str, *, largest: float = LARGEST
) -> NDArray[np.float64]:
    """Nested lists of numbers that a mapping has to have, float64 of a shape in which None is any size."""
    try:
        array = np.array(entry.get(key), dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.empty(0)
    fits = array.ndim == len(shape) and all(want in {None, size} for want, size in zip(shape, array.shape, strict=True))
    if not fits or not (np.abs(array) <= largest).all():  # False where it is NaN
        wanted = " x ".join("any" if size is None else str(size) for size in shape)
        msg = f"{place}, {key}: must be {wanted} finite numbers of up to {largest:.4g}"
        raise InputError(msg)
    return array
