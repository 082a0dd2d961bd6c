"""What comes of a run: files, and what a user should know of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Artifact", "Finding"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A finished object that the run publishes.

    key: STAC asset key, e.g. "mosaic".
    path: relative to the Item's folder with "/" as separator, or absolute (path or URL) where the user named its place.
    media_type: IANA media type with parameters.
    title: for people.
    roles: STAC roles.
    size: bytes.
    sha256: lower-case hex digest of the bytes.
    """

    key: str
    path: str
    media_type: str
    title: str
    roles: tuple[str, ...]
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something about quality that a user should know; data, not an exception.

    severity: "info" or "warning".
    code: short kebab-case word, stable across versions.
    message: one sentence that names the value and what to do.
    scene, stage: what it is about, or None.
    """

    severity: Literal["info", "warning"]
    code: str
    message: str
    scene: str | None = None
    stage: str | None = None
