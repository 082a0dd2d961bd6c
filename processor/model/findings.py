"""What comes of a run: files, and what a user should know of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A finished object that the run publishes."""

    key: str
    """STAC asset key, e.g. "mosaic"."""
    path: str
    """Relative to the Item's folder with "/" as separator, or absolute (path or URL) where the user named its place."""
    media_type: str
    """IANA media type with parameters."""
    title: str
    """For people."""
    roles: tuple[str, ...]
    """STAC roles."""
    size: int
    """Size of the object, bytes."""
    sha256: str
    """SHA-256 of the object, lower-case hexadecimal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something about quality that a user should know; data, not an exception."""

    severity: Literal["info", "warning"]
    """"warning" where the mosaic may be worse for it, "info" where it is good to know."""
    code: str
    """Short kebab-case word, stable across versions."""
    message: str
    """One sentence that names the value and what to do."""
    scene: str | None = None
    """Name of the scene it is about, or None."""
    stage: str | None = None
    """Name of the stage it is about, or None."""
