"""Web servers and Hugging Face: read only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from processor.storage.backends.base import Backend


@dataclass(frozen=True, slots=True, kw_only=True)
class Http(Backend):
    """Web servers and signed URLs; the query of a URL may be a signature."""

    protocols: ClassVar[tuple[str, ...]] = ("http", "https")
    title: ClassVar[str] = "a web server"

    def fsspec_options(self, *, retries: int, timeout: float) -> dict[str, Any]:
        """Time-outs; fsspec repeats nothing."""
        del retries
        from aiohttp import ClientTimeout  # noqa: PLC0415 - takes a while to import, and only http needs it

        return {"client_kwargs": {"timeout": ClientTimeout(total=None, sock_connect=timeout, sock_read=timeout)}}

    def gdal_path(self, url: str) -> str | None:
        """``/vsicurl/`` and the URL."""
        return f"/vsicurl/{url}"

    def foreign_errors(self) -> tuple[type[Exception], ...]:
        """Those of aiohttp."""
        from aiohttp import ClientError  # noqa: PLC0415 - as above

        return (ClientError,)


@dataclass(frozen=True, slots=True, kw_only=True)
class HuggingFace(Backend):
    """Data sets of the hub, where its package is installed."""

    protocols: ClassVar[tuple[str, ...]] = ("hf",)
    title: ClassVar[str] = "Hugging Face"
