"""Ways from one coordinate reference system to another."""

from __future__ import annotations

from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from processor.errors import InputError


def make_transformer(source: str, target: str) -> Transformer:
    """The way from one CRS to another, x before y.

    Raises
    ------
    InputError
        There is none, as from a CRS of an object of engineers, of heights alone, or of another planet.
    """
    first, second = CRS.from_user_input(source), CRS.from_user_input(target)
    try:
        return Transformer.from_crs(first, second, always_xy=True)
    except ProjError as error:
        names, reason = f"{first.name[:80]!r} to {second.name[:80]!r}", " ".join(str(error).split())[:150]
        msg = (
            f"there is no way from the CRS {names} ({reason}): leave out the scenes of the one, or choose a CRS that all have "
            "a way to with --align_rasters.crs"
        )
        raise InputError(msg) from error
