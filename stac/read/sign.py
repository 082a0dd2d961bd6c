"""Signing hrefs of catalogues whose files may only be read with a token that is had for the asking.

A signed href is for reading. :func:`stac.hrefs.publish_href` and :func:`processor.storage.url.redact_url` take the token out
of what is published and shown.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Final, Literal
from urllib.parse import urlsplit

from processor.errors import ConfigError, InputError, StorageError
from processor.storage.renewal import remember_signed
from stac.hrefs import show_href

_BLOB_HOST: Final = ".blob.core.windows.net"
_RETRIES: Final = 5
_BACKOFF: Final = 0.5  # seconds before the third attempt, then twice as long each time
_NOT_NOW: Final = frozenset({408, 425, 429})


def make_signer(kind: Literal["planetary-computer"] | None) -> Callable[[str], str]:
    """Function that signs hrefs; without a kind it returns them unchanged.

    ``planetary-computer`` signs hrefs of Azure's blob storage by the package of that name, which asks for one token a
    container and keeps it until shortly before it ends (that of ``PC_SDK_SAS_URL``, with ``PC_SDK_SUBSCRIPTION_KEY`` if set).
    An href that has a signature already stays as it is. One that was signed here is signed again while it is read
    (:mod:`processor.storage.renewal`).

    Returns
    -------
    Callable
        From an absolute href to the one that can be read; raises InputError where the service refuses a token, StorageError
        where it does not answer.

    Raises
    ------
    ConfigError
        If the package is not installed.
    """
    if kind is None:
        return lambda href: href
    sas = _import_sas()

    def sign(href: str) -> str:
        if not _is_blob(href):
            return href
        signed = _sign(href, sas)
        if signed != href:  # one that is signed already has its own
            remember_signed(signed, lambda: _sign(href, sas))
        return signed

    return sign


def _import_sas() -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of pydantic's classes named Config, which it has
            return importlib.import_module("planetary_computer.sas")  # an extra
    except ImportError as error:
        msg = "inputs.sign planetary-computer needs a package: pip install 'mosaic-processor[planetary-computer]'"
        raise ConfigError(msg) from error


def _is_blob(href: str) -> bool:
    if not href.startswith(("https://", "http://")):
        return False
    parts = urlsplit(href)
    return (parts.hostname or "").endswith(_BLOB_HOST) and parts.path.count("/") > 1


def _sign(href: str, sas: ModuleType) -> str:
    import requests  # noqa: PLC0415 - takes a twentieth of a second to load

    parts = urlsplit(href)
    account, container = parts.netloc.split(".")[0], parts.path.lstrip("/").split("/")[0]
    place = f"{account}/{container}"
    if "?" not in href:
        try:
            # asked for here with few repetitions, the package itself makes ten; it caches the token
            sas.get_token(account, container, retry_total=_RETRIES, retry_backoff_factor=_BACKOFF)
        except requests.HTTPError as error:
            status = 0 if error.response is None else error.response.status_code
            if status >= 500 or status in _NOT_NOW:
                raise StorageError(_message(place, f"status {status}", "try again later")) from None
            advice = "is it of this catalogue? without inputs.sign it is read as it is"
            raise InputError(_message(place, f"status {status}", advice)) from None
        except requests.RequestException as error:
            raise StorageError(_message(place, type(error).__name__, "try again later")) from None
        except ValueError as error:  # no JSON, or not a token
            raise StorageError(_message(place, type(error).__name__, "try again later")) from None
    try:
        return str(sas.sign_url(href))
    except ValueError as error:
        msg = f"{show_href(href)} cannot be signed ({type(error).__name__}): correct the href"
        raise InputError(msg) from None


def _message(place: str, reason: str, advice: str) -> str:
    """Error message without the answer, which may hold a token."""
    return f"no token for container {place} (inputs.sign planetary-computer, {reason}): {advice}"
