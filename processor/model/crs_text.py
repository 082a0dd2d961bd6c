"""Which texts say a coordinate reference system without naming a file: documents from elsewhere may hold one.

Libraries take paths, URLs and strings of parameters too, and read the files and shift grids that these name.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

_MOST_CHARACTERS: Final = 65_536
_CODE: Final = re.compile(r"[A-Za-z]\w{0,31}:\w[\w.]{0,31}(?:\+(?:[A-Za-z]\w{0,31}:)?\w[\w.]{0,31})?", re.ASCII)
_URN: Final = re.compile(r"urn:ogc:def:crs:[A-Za-z]\w{0,31}:[\w.]{0,16}:\w[\w.]{0,31}", re.ASCII | re.IGNORECASE)
_WKT: Final = re.compile(r"[A-Za-z][A-Za-z_0-9]{2,31}\s*[\[(]", re.ASCII)
_GRIDS: Final = re.compile(
    r"PARAMETERFILE\s*[\[(]\s*\"[^\"]*\"\s*,\s*\"([^\"]*)\"|PROJ4_GRIDS\"\s*,\s*\"([^\"]*)\"|(?:nadgrids|geoidgrids|grids)=([^\s\"+]*)",
    re.IGNORECASE,
)
_NO_GRID: Final = "@null"


def check_crs_text(text: str) -> None:
    """Refuse a text that is no authority code, WKT or PROJJSON, or that names shift grids.

    Raises
    ------
    ValueError
        Saying what is taken.

    Examples
    --------
    >>> check_crs_text("EPSG:32632")
    >>> check_crs_text("/etc/hosts")
    Traceback (most recent call last):
    ValueError: is no authority code such as EPSG:32632, WKT2 or PROJJSON
    """
    stripped = text.strip()
    is_code = _CODE.fullmatch(stripped) or _URN.fullmatch(stripped)
    if len(text) > _MOST_CHARACTERS or not (is_code or _WKT.match(stripped) or stripped.startswith("{")):
        msg = "is no authority code such as EPSG:32632, WKT2 or PROJJSON"
        raise ValueError(msg)
    check_grid_files(stripped)


def check_grid_files(text: str) -> None:
    """Refuse WKT or PROJJSON that names shift grids, which would be looked for on this machine or fetched.

    Raises
    ------
    ValueError
        Naming the first.
    """
    if text.lstrip().startswith("{"):
        try:
            found = next(_iter_files(json.loads(text)), None)
        except (ValueError, RecursionError) as error:
            msg = "is no PROJJSON"
            raise ValueError(msg) from error
    else:
        names = (next((name for name in match.groups() if name is not None), "") for match in _GRIDS.finditer(text))
        found = next((name for name in names if name.strip().lower() != _NO_GRID), None)
    if found is not None:
        msg = f"names the shift grid {found[:80]!r}, and none is read: give the CRS without it"
        raise ValueError(msg)


def _iter_files(value: Any) -> Any:
    """Texts that are values of parameters, wherever they stand."""
    if isinstance(value, list):
        for member in value:
            yield from _iter_files(member)
    if not isinstance(value, dict):
        return
    for key, member in value.items():
        if key == "parameters" and isinstance(member, list):
            for parameter in member:
                given = parameter.get("value") if isinstance(parameter, dict) else None
                if isinstance(given, str) and given.strip().lower() != _NO_GRID:
                    yield given
        yield from _iter_files(member)
