"""The version of this program."""

from __future__ import annotations

from importlib.metadata import version


def read_version() -> str:
    """Version of the installed distribution."""
    return version("mosaic-processor")
