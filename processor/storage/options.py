"""How storage is reached: one set of options, from which those of fsspec and of GDAL are made, so that they never disagree.

What the configuration leaves open is taken from the ecosystem's own variables (``AWS_*``, ``GOOGLE_*``), once. Keys that
neither gives are found by botocore (profiles, web identity, instance roles), for fsspec and GDAL alike.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

from processor.config.sections import Io
from processor.errors import ConfigError, InputError
from processor.storage.url import quieten_gcsfs

__all__ = ["S3", "Access", "Gs", "resolve_access"]

Backend = Literal["auto", "gdal", "fsspec"]

_TRUE: Final = frozenset({"1", "yes", "true", "on"})
_MAX_RETRY_WAIT: Final = 30  # seconds between two attempts of GDAL


@dataclass(frozen=True, slots=True, kw_only=True)
class S3:
    """Amazon S3 and servers like it; None: as botocore finds it."""

    endpoint: str | None = None
    """URL of the server; None: Amazon's."""
    region: str | None = None
    """Region of the bucket."""
    profile: str | None = None
    """Profile of the shared configuration file."""
    key: str | None = field(default=None, repr=False)
    """Access key id."""
    secret: str | None = field(default=None, repr=False)
    """Secret access key."""
    token: str | None = field(default=None, repr=False)
    """Session token."""
    anonymous: bool = False
    """True: requests are not signed."""
    requester_pays: bool = False
    """True: this account pays for the traffic."""
    path_style: bool = False
    """True: the bucket stands in the URL's path, not in its host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gs:
    """Google Cloud Storage and servers like it; None: as Google's libraries find it."""

    endpoint: str | None = None
    """URL of the server; None: Google's."""
    credentials: str | None = None
    """File of a service account's key."""
    anonymous: bool = False
    """True: requests are not signed."""
    user_project: str | None = None
    """Project that pays for the traffic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Everything that is needed to reach storage; may hold credentials, which its representation leaves out."""

    backend: Backend = "auto"
    """What reads rasters."""
    retries: int = 5
    """Of a request that failed for now."""
    timeout: float = 60.0
    """Seconds without a byte after which a request has failed."""
    s3: S3 = S3()
    """Options of S3."""
    gs: Gs = Gs()
    """Options of Google Cloud Storage."""

    def for_bucket(self, *, requester_pays: bool, region: str | None) -> Access:
        """The same for a bucket of which an Item says more."""
        if not requester_pays and (region is None or self.s3.region is not None):
            return self
        return replace(
            self,
            s3=replace(self.s3, requester_pays=self.s3.requester_pays or requester_pays, region=self.s3.region or region),
        )

    def fsspec_options(self, protocol: str) -> dict[str, Any]:
        """Options of fsspec's filesystem for a protocol."""
        options: dict[str, Any] = {}
        if protocol == "s3":
            options = self._s3fs_options()
        elif protocol == "gs":
            options = self._gcsfs_options()
        elif protocol == "http":
            options = {"client_kwargs": {"timeout": _aiohttp_timeout(self.timeout)}}
        if protocol not in {"memory", "zip"}:
            options["use_listings_cache"] = False  # absence is never stale
        return options

    def _s3fs_options(self) -> dict[str, Any]:
        s3 = self.s3
        config: dict[str, Any] = {
            "connect_timeout": self.timeout,
            "read_timeout": self.timeout,
            "retries": {"mode": "standard", "total_max_attempts": self.retries + 1},
        }
        if s3.path_style:
            config["s3"] = {"addressing_style": "path"}
        options: dict[str, Any] = {
            "anon": s3.anonymous,
            "requester_pays": s3.requester_pays,
            "config_kwargs": config,
            "client_kwargs": {} if s3.region is None else {"region_name": s3.region},
        }
        given = {"endpoint_url": s3.endpoint, "key": s3.key, "secret": s3.secret, "token": s3.token, "profile": s3.profile}
        return options | {name: value for name, value in given.items() if value is not None}

    def _gcsfs_options(self) -> dict[str, Any]:
        gs = self.gs
        quieten_gcsfs()
        options: dict[str, Any] = {"token": "anon" if gs.anonymous else gs.credentials}
        if gs.endpoint is not None:
            options["endpoint_url"] = gs.endpoint.rstrip("/")
        if gs.user_project is not None:
            options |= {"project": gs.user_project, "requester_pays": gs.user_project}
        return options

    def gdal_options(self) -> dict[str, str]:
        """Configuration options of GDAL, without keys."""
        options = {
            "GDAL_HTTP_MAX_RETRY": str(self.retries),
            "GDAL_HTTP_RETRY_DELAY": "0.5",
            "GDAL_HTTP_MAX_RETRY_DELAY": str(_MAX_RETRY_WAIT),
            "GDAL_HTTP_RETRY_CODES": "ALL",
            "GDAL_HTTP_CONNECTTIMEOUT": f"{self.timeout:g}",
            "GDAL_HTTP_LOW_SPEED_TIME": f"{max(1, round(self.timeout))}",
            "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
        }
        return options | self._vsis3_options() | self._vsigs_options()

    def _vsis3_options(self) -> dict[str, str]:
        s3 = self.s3
        options = {
            "AWS_NO_SIGN_REQUEST": "YES" if s3.anonymous else "NO",
            "AWS_VIRTUAL_HOSTING": "FALSE" if s3.path_style else "TRUE",
            "AWS_REQUEST_PAYER": "requester" if s3.requester_pays else "",
        }
        if s3.endpoint is not None:
            scheme, _, host = s3.endpoint.partition("://")
            options |= {"AWS_S3_ENDPOINT": host.rstrip("/"), "AWS_HTTPS": "YES" if scheme == "https" else "NO"}
        region = s3.region or (_find_region(s3.profile) if s3.endpoint is None else None)
        return options if region is None else options | {"AWS_REGION": region}

    def _vsigs_options(self) -> dict[str, str]:
        gs = self.gs
        options = {"GS_NO_SIGN_REQUEST": "YES" if gs.anonymous else "NO"}
        if gs.endpoint is not None:
            options["CPL_GS_ENDPOINT"] = gs.endpoint.rstrip("/") + "/"
        if gs.credentials is not None and not gs.anonymous:
            options["GOOGLE_APPLICATION_CREDENTIALS"] = gs.credentials
        if gs.user_project is not None:
            options["GS_USER_PROJECT"] = gs.user_project
        return options

    def gdal_keys(self) -> dict[str, str]:
        """The keys that GDAL signs requests to S3 with, current ones; empty where requests are not signed.

        Raises
        ------
        InputError
            If there are none.
        ConfigError
            If the profile does not exist.
        """
        if self.s3.anonymous:
            return {}
        key, secret, token = _find_keys(self.s3)
        return {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_SESSION_TOKEN": token or "",
        }


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
        If a key is given without its secret, or the file of credentials does not exist.
    """
    io = io if io is not None else Io()
    env = os.environ if environment is None else environment
    return Access(
        backend=io.raster_backend, retries=io.retries, timeout=io.timeout, s3=_resolve_s3(io, env), gs=_resolve_gs(io, env)
    )


def _resolve_s3(io: Io, env: Mapping[str, str]) -> S3:
    if (io.s3_access_key_id is None) != (io.s3_secret_access_key is None):
        msg = "io.s3_access_key_id and io.s3_secret_access_key belong together: give both, or neither"
        raise ConfigError(msg)
    keys = (io.s3_access_key_id, io.s3_secret_access_key, io.s3_session_token)
    if keys[0] is None and io.s3_profile is None:  # a profile that is named here wins over keys of the environment
        keys = (_read(env, "AWS_ACCESS_KEY_ID"), _read(env, "AWS_SECRET_ACCESS_KEY"), _read(env, "AWS_SESSION_TOKEN"))
        if keys[0] is None or keys[1] is None:
            keys = (None, None, None)
    endpoint = io.s3_endpoint or _read(env, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL") or _gdal_endpoint(env)
    hosting = env.get("AWS_VIRTUAL_HOSTING", "").lower()
    path_style = io.s3_path_style
    if path_style is None:
        path_style = hosting not in _TRUE if hosting else endpoint is not None
    return S3(
        endpoint=None if endpoint is None else endpoint.rstrip("/"),
        region=io.s3_region or _read(env, "AWS_REGION", "AWS_DEFAULT_REGION"),
        profile=io.s3_profile or _read(env, "AWS_PROFILE", "AWS_DEFAULT_PROFILE"),
        key=keys[0],
        secret=keys[1],
        token=keys[2],
        anonymous=_choose(io.s3_anonymous, env.get("AWS_NO_SIGN_REQUEST", "")),
        requester_pays=_choose(io.s3_requester_pays, "yes" if env.get("AWS_REQUEST_PAYER", "").lower() == "requester" else ""),
        path_style=path_style,
    )


def _resolve_gs(io: Io, env: Mapping[str, str]) -> Gs:
    credentials = io.gs_credentials or _read(env, "GOOGLE_APPLICATION_CREDENTIALS")
    anonymous = _choose(io.gs_anonymous, env.get("GS_NO_SIGN_REQUEST", ""))
    if credentials is not None and not anonymous and not Path(credentials).is_file():
        msg = f"io.gs_credentials (GOOGLE_APPLICATION_CREDENTIALS): no such file: {credentials}"
        raise ConfigError(msg)
    return Gs(
        endpoint=io.gs_endpoint or _read(env, "STORAGE_EMULATOR_HOST", "CPL_GS_ENDPOINT"),
        credentials=credentials,
        anonymous=anonymous,
        user_project=io.gs_user_project or _read(env, "GS_USER_PROJECT"),
    )


def _choose(setting: bool | None, text: str) -> bool:
    return text.lower() in _TRUE if setting is None else setting


def _read(env: Mapping[str, str], *names: str) -> str | None:
    return next((env[name] for name in names if env.get(name)), None)


def _gdal_endpoint(env: Mapping[str, str]) -> str | None:
    """What GDAL's users set: a host, and whether it speaks TLS."""
    host = _read(env, "AWS_S3_ENDPOINT")
    if host is None or "://" in host:
        return host
    return f"{'http' if env.get('AWS_HTTPS', 'YES').lower() in {'no', 'false', 'off', '0'} else 'https'}://{host}"


def _aiohttp_timeout(seconds: float) -> Any:
    from aiohttp import ClientTimeout  # noqa: PLC0415 - takes a while to import, and only http needs it

    return ClientTimeout(total=None, sock_connect=seconds, sock_read=seconds)


_KEYS_LOCK: Final = threading.Lock()


def _find_keys(s3: S3) -> tuple[str, str, str | None]:
    """Keys as given, or as botocore finds and renews them."""
    if s3.key is not None and s3.secret is not None:
        return s3.key, s3.secret, s3.token
    with _KEYS_LOCK:
        credentials = _find_credentials(s3.profile)
        if credentials is None:
            msg = (
                "there are no credentials for s3://: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or --io.s3_profile, or, "
                "for a public bucket, --io.s3_anonymous true"
            )
            raise InputError(msg)
        frozen = credentials.get_frozen_credentials()
    return frozen.access_key, frozen.secret_key, frozen.token


@lru_cache(maxsize=8)
def _find_credentials(profile: str | None) -> Any:
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - as above, and only s3 needs it

    try:
        return _botocore_session(profile).get_credentials()
    except BotoCoreError as error:
        msg = f"no credentials for s3://: {error}"
        raise ConfigError(msg) from error


@lru_cache(maxsize=8)
def _find_region(profile: str | None) -> str | None:
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415

    try:
        region: str | None = _botocore_session(profile).get_config_variable("region")
    except BotoCoreError as error:
        msg = f"no region for s3://: {error}"
        raise ConfigError(msg) from error
    return region


@lru_cache(maxsize=8)
def _botocore_session(profile: str | None) -> Any:
    from botocore.session import Session  # noqa: PLC0415

    return Session(profile=profile)
