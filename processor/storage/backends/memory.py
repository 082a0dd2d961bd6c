"""Objects of this process, for tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from processor.storage.backends.base import Backend


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory(Backend):
    """fsspec's filesystem in memory; a document names objects there only where it lies there itself."""

    protocols: ClassVar[tuple[str, ...]] = ("memory",)
    title: ClassVar[str] = "memory"
    is_writable: ClassVar[bool] = True
    is_followed: ClassVar[bool] = False
    is_steady: ClassVar[bool] = True
    creates_streams: ClassVar[bool] = False
