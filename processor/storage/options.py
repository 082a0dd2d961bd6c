"""How storage is reached: one set of options, from which those of fsspec and of GDAL are made, so that they never disagree.

What the configuration leaves open is taken from the ecosystem's own variables, once; each backend knows which.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final, Literal

from pydantic import create_model

from processor.model.options import Section, option
from processor.redaction import remember_environment
from processor.storage.backends import BACKENDS, Backend, Http, Local, limit_connecting
from processor.storage.networks import Networks
from processor.storage.url import parse_url
from processor.storage.watch import watch_endpoint

RasterBackend = Literal["auto", "gdal", "fsspec"]

_RETRY_CODES: Final = "408,425,429,500,502,503,504"  # what passes by itself; a denial stays one
_MAX_RETRY_WAIT: Final = 30  # seconds between two attempts of GDAL


class Io(Section):
    """How storage is reached, by fsspec and GDAL alike; null: as the variables AWS_…, GOOGLE_… and AZURE_… say."""

    trust = "machine"

    raster_backend: RasterBackend = option(
        "auto",
        "What reads rasters: GDAL (s3, gs, az, files) or fsspec (anything); auto: GDAL where it can.",
        example="fsspec",
        decisive=False,
    )
    retries: int = option(5, "How often a request is repeated that failed for now.", example=8, decisive=False, ge=0, le=20)
    timeout: float = option(
        60.0,
        "Time without a byte after which a request has failed; a connection has ten seconds of it at most.",
        example=20.0,
        unit="seconds",
        decisive=False,
        gt=0,
        le=3600,
    )


def io_model() -> type[Io]:
    """The section ``io``, with the options of all backends that are registered now."""
    return _make_model(tuple(backend.options for backend in BACKENDS if backend.options is not None))


@cache
def _make_model(options: tuple[type[Section], ...]) -> type[Io]:
    bases: tuple[Any, ...] = (*reversed(options), Io)
    return create_model("Io", __base__=bases, __doc__=Io.__doc__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Everything that is needed to reach storage; may hold credentials, which its representation leaves out."""

    backend: RasterBackend = "auto"
    """What reads rasters."""
    retries: int = 5
    """Of a request that failed for now."""
    timeout: float = 60.0
    """Seconds without a byte after which a request has failed."""
    storages: tuple[Backend, ...] = ()
    """How each kind of storage is reached; one that is not here: by its defaults."""

    def of(self, url: str) -> Backend:
        """How the storage of a URL is reached.

        Raises
        ------
        ConfigError
            There is no backend for it.
        """
        backend = parse_url(url).backend
        found = next((storage for storage in self.storages if type(storage) is backend), None)
        return (backend() if found is None else found).for_url(url)

    def watch(self, url: str) -> AbstractContextManager[None]:
        """Warn while the block waits for the server of a URL that is not reached."""
        storage = self.of(url)
        networks = storage.networks if isinstance(storage, Http) else Networks(is_open=True)
        return watch_endpoint(storage.find_endpoint(url), storage.hint, networks)

    def for_bucket(self, *, requester_pays: bool, region: str | None) -> Access:
        """The same for a bucket of which an Item says more."""
        known = self.storages + tuple(one() for one in BACKENDS if one not in {type(storage) for storage in self.storages})
        return replace(self, storages=tuple(one.for_bucket(requester_pays=requester_pays, region=region) for one in known))

    def for_hosts(self, urls: Sequence[str]) -> Access:
        """The same where keys of web servers go to the hosts of URLs, unless it was said which hosts they are for."""
        return replace(self, storages=tuple(one.for_hosts(urls) for one in self.storages))

    def allowing(self, urls: Iterable[str], *, everywhere: bool = False) -> Access:
        """The same where the hosts of URLs may lie in private networks, or everything may."""
        return self.within(self.networks.naming(urls).opened(everywhere=everywhere))

    def within(self, networks: Networks) -> Access:
        """The same where requests to web servers go there besides public addresses, and nowhere else."""
        web = next((one for one in self.storages if isinstance(one, Http)), Http())
        others = tuple(one for one in self.storages if not isinstance(one, Http))
        return replace(self, storages=(*others, replace(web, networks=networks)))

    @property
    def networks(self) -> Networks:
        """Where requests to web servers may go."""
        return next((one.networks for one in self.storages if isinstance(one, Http)), Networks())

    @property
    def hosts(self) -> tuple[str, ...]:
        """Origins that keys of web servers go to, such as ``https://host:443``."""
        return next((one.keys.hosts or () for one in self.storages if isinstance(one, Http)), ())

    def find_keys(self, url: str) -> dict[str, str]:
        """Headers that a request to a URL of a web server gets."""
        return next((one.keys.find(url) for one in self.storages if isinstance(one, Http)), {})

    def fsspec_options(self, url: str) -> dict[str, Any]:
        """Options of the fsspec filesystem that holds a URL."""
        options = self.of(url).fsspec_options(retries=self.retries, timeout=self.timeout)
        return options | {"use_listings_cache": False}  # absence is never stale

    def gdal_options(self, url: str) -> dict[str, str]:
        """Configuration options of GDAL for a URL, without keys."""
        storage = self.of(url)
        if isinstance(storage, Local):
            return {}
        options = {
            "GDAL_HTTP_MAX_RETRY": str(self.retries),
            "GDAL_HTTP_RETRY_DELAY": "0.5",
            "GDAL_HTTP_MAX_RETRY_DELAY": str(_MAX_RETRY_WAIT),
            "GDAL_HTTP_RETRY_CODES": _RETRY_CODES,
            "GDAL_HTTP_CONNECTTIMEOUT": f"{limit_connecting(self.timeout):g}",
            "GDAL_HTTP_LOW_SPEED_TIME": f"{max(1, round(self.timeout))}",
            "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
        }
        # Of the environment: GDAL would send them to every host, and along redirects. What is meant for a host, fsspec reads.
        options |= dict.fromkeys(("GDAL_HTTP_HEADERS", "GDAL_HTTP_BEARER"), "")
        return options | storage.gdal_options()


def resolve_access(io: Io | None = None, environment: Mapping[str, str] | None = None) -> Access:
    """Fill in from the environment what the configuration leaves open.

    Parameters
    ----------
    io
        The section of the configuration; default: nothing is set.
    environment
        Variables; default: the process's own.

    Raises
    ------
    ConfigError
        A backend's options contradict each other, or name a file that does not exist.
    """
    given = io if io is not None else io_model()()
    variables = os.environ if environment is None else environment
    remember_environment(variables)
    storages = tuple(
        backend.resolve(given, variables)
        for backend in BACKENDS
        if backend.options is not None and isinstance(given, backend.options)
    )
    return Access(backend=given.raster_backend, retries=given.retries, timeout=given.timeout, storages=storages)
