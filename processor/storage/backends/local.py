"""Files of this machine, and members of zip archives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from processor.storage.backends.base import Backend


@dataclass(frozen=True, slots=True, kw_only=True)
class Local(Backend):
    """Local paths and ``file://`` URLs; written by :mod:`processor.storage.atomic`, read by GDAL as they are."""

    protocols: ClassVar[tuple[str, ...]] = ("file",)
    title: ClassVar[str] = "a file"
    is_local: ClassVar[bool] = True
    is_writable: ClassVar[bool] = True
    is_steady: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive(Backend):
    """Members of archives, ``zip://member::archive``; documents do not name them, because any archive would be opened."""

    protocols: ClassVar[tuple[str, ...]] = ("zip",)
    title: ClassVar[str] = "a zip archive"
    is_followed: ClassVar[bool] = False
