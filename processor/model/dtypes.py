"""What a dtype can hold."""

from __future__ import annotations

import numpy as np


def is_representable(value: float, dtype: str | np.dtype[np.generic]) -> bool:
    """Whether a nodata value exists in a dtype; if not, no pixel equals it."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        with np.errstate(over="ignore"):  # of values that a text has rounded beyond the last number, the dtype's cast decides
            return bool(not np.isfinite(value) or np.isfinite(kind.type(value)))
    limits = np.iinfo(kind)
    return bool(np.isfinite(value) and value == int(value) and limits.min <= value <= limits.max)
