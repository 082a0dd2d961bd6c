"""Files that a method publishes, as values: what is in them, not how they are written."""

from __future__ import annotations

from dataclasses import dataclass

from processor.model import BlockMap


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """A file of text."""

    key: str
    """Of the asset."""
    path: str
    """Relative to the Item's folder."""
    title: str
    """Title of the asset, for people."""
    media_type: str
    """IANA media type with parameters."""
    text: str
    """Content of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """A file of bytes."""

    key: str
    """Of the asset."""
    path: str
    """Relative to the Item's folder."""
    title: str
    """Title of the asset, for people."""
    media_type: str
    """IANA media type."""
    data: bytes
    """Content of the file."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockRaster:
    """A raster with a pixel for each block of a canvas."""

    key: str
    """Of the asset."""
    path: str
    """Relative to the Item's folder."""
    title: str
    """Title of the asset, for people."""
    blocks: BlockMap
    """Value of each pixel, NaN where a block is missing."""
    bands: tuple[str, ...] = ()
    """Names of the bands; empty: those of the scenes."""
    is_published: bool = True
    """Whether it is published; else it is only copied to where the user wants it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockArchive:
    """The block maps of all scenes in one file (:mod:`processor.stages.matching.block_maps_file`)."""

    key: str
    """Of the asset."""
    path: str
    """Relative to the Item's folder."""
    title: str
    """Title of the asset, for people."""
    local: tuple[BlockMap, ...]
    """One a scene, in name order."""
    reference: BlockMap
    """What they are drawn to."""
