"""What comes of a run: files, and what a user should know of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal

_SHOWN: Final = 10  # scenes in a message


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
    scene: str | None = None
    """Id of the scene that it is of; None where it is of the mosaic."""


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


def merge_findings(findings: Iterable[Finding], codes: Collection[str]) -> tuple[Finding, ...]:
    """Findings of which those of some codes speak for all scenes at once: the first one, with the names of the others.

    Parameters
    ----------
    findings
        In their order, which is kept.
    codes
        Of what one finding a run says.
    """
    ordered = list(findings)
    others: dict[str, dict[str, None]] = {code: {} for code in codes}
    first: dict[str, int] = {}
    for position, finding in enumerate(ordered):
        if finding.code in others and first.setdefault(finding.code, position) != position:
            others[finding.code][str(finding.scene)] = None
    merged = []
    for position, finding in enumerate(ordered):
        if first.get(finding.code, position) != position:
            continue
        rest = [name for name in others.get(finding.code, ()) if name != finding.scene]
        if rest:
            more = ", …" if len(rest) > _SHOWN else ""
            message = f"{finding.message}; the same holds for {len(rest):,} more scenes: {', '.join(rest[:_SHOWN])}{more}"
            merged.append(replace(finding, message=message))
        else:
            merged.append(finding)
    return tuple(merged)
