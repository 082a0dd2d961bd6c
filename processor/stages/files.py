"""Files that a method publishes, as values: what is in them, not how they are written."""

from __future__ import annotations

from dataclasses import dataclass

from processor.model import BlockMap

__all__ = ["BlockRaster", "TextFile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """A file of text."""

    key: str
    """Of the asset."""
    path: str
    """Relative to the Item's folder."""
    title: str
    media_type: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockRaster:
    """A raster with a pixel for each block of a canvas."""

    key: str
    """Of the asset."""
    path: str
    """Relative to the Item's folder."""
    title: str
    blocks: BlockMap
