"""What the command line's process inherits and must not depend on: the locale, closed standard streams, PROJ's network.

Programs that import the package are left alone.
"""

from __future__ import annotations

import locale
import os
import sys
from typing import Final

_STREAMS: Final = (("stdin", os.O_RDONLY), ("stdout", os.O_WRONLY), ("stderr", os.O_WRONLY))


def pin_locale() -> None:
    """Let the C libraries compare letters as in English, and write numbers with points.

    In Turkish, "i" is no lower case of "I", so that GDAL knows none of its own options any more.
    """
    for name in ("C.UTF-8", "C"):
        try:
            locale.setlocale(locale.LC_ALL, name)
        except locale.Error:
            continue
        return


def keep_proj_offline() -> None:
    """Let no PROJ of this process, of which several libraries bring one, fetch shift grids for whatever CRS a file has.

    What a transformation gives would depend on the network, too. To be called before these libraries are loaded.
    """
    os.environ["PROJ_NETWORK"] = "OFF"


def open_missing_streams() -> None:
    """Open the null device where a standard stream is closed: the next file would take its number, and be written into."""
    for number, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, mode)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if mode else "r", encoding="utf-8", closefd=False))  # noqa: SIM115
