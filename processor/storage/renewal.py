"""Signatures that end while a run reads: who signed a URL says how it is signed again, and every request asks.

A signed URL is known here by itself, in the process that signed it; a task of a run signs its own.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

_LOCK = Lock()
_RENEWALS: dict[str, Callable[[], str]] = {}


def remember_signed(url: str, renew: Callable[[], str]) -> None:
    """Note how a signed URL is signed again; ``renew`` gives the same one as long as that lasts."""
    with _LOCK:
        _RENEWALS[url] = renew


def is_renewed(url: str) -> bool:
    """Whether a URL's signature may be renewed."""
    return url in _RENEWALS


def renew_url(url: str) -> str:
    """A URL with a signature that lasts; as it is where nobody signed it here.

    Raises
    ------
    InputError
        The service refuses a token.
    StorageError
        The service does not answer.
    """
    renew = _RENEWALS.get(url)
    return url if renew is None else renew()
