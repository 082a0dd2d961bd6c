"""Seamless, radiometrically matched mosaics from overlapping scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from processor.api import pipeline

__all__ = ["pipeline"]


def __getattr__(name: str) -> Any:
    """Load the engine only when :func:`pipeline` is asked for: the command line's help needs none of it."""
    if name == "pipeline":
        from processor.api import pipeline  # noqa: PLC0415 - see above

        return pipeline
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
