"""Google Cloud Storage and servers like it."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, cast

from processor.errors import ConfigError
from processor.model.options import Endpoint, Place, Section, Word
from processor.storage.backends.base import Backend, access_option, choose_switch, limit_connecting, read_variable


class GcsOptions(Section):
    """Options of Google Cloud Storage."""

    gs_endpoint: Endpoint | None = access_option(
        "URL of a GCS server other than Google's (STORAGE_EMULATOR_HOST).", example="http://127.0.0.1:4443"
    )
    gs_credentials: Place | None = access_option(
        "File of a service account (GOOGLE_APPLICATION_CREDENTIALS).", example="/etc/mosaic/service-account.json", path=True
    )
    gs_anonymous: bool | None = access_option("Do not sign requests: public buckets (GS_NO_SIGN_REQUEST).", example=True)
    gs_user_project: Word | None = access_option("Project that pays for requests (GS_USER_PROJECT).", example="my-project")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gcs(Backend):
    """How Google Cloud Storage is reached; None: as Google's libraries find it."""

    endpoint: str | None = None
    """URL of another server."""
    credentials: str | None = None
    """Path of a service account's file."""
    anonymous: bool = False
    """Whether requests are not signed."""
    user_project: str | None = None
    """Project that pays."""

    protocols: ClassVar[tuple[str, ...]] = ("gs", "gcs")
    title: ClassVar[str] = "Google Cloud Storage"
    options: ClassVar[type[Section] | None] = GcsOptions
    prefix: ClassVar[str] = "gs_"
    is_writable: ClassVar[bool] = True
    repeats: ClassVar[bool] = True
    gdal_prefix: ClassVar[str | None] = "/vsigs/"
    version_key: ClassVar[str | None] = "generation"

    @classmethod
    def resolve(cls, io: Section, environment: Mapping[str, str]) -> Self:
        """From ``STORAGE_EMULATOR_HOST``, ``GOOGLE_APPLICATION_CREDENTIALS`` and GDAL's ``GS_*``."""
        given = cast("GcsOptions", io)
        credentials = given.gs_credentials or read_variable(environment, "GOOGLE_APPLICATION_CREDENTIALS")
        anonymous = choose_switch(given.gs_anonymous, environment.get("GS_NO_SIGN_REQUEST", ""))
        if credentials is not None and not anonymous and not Path(credentials).is_file():
            msg = f"io.gs_credentials (GOOGLE_APPLICATION_CREDENTIALS): no such file: {credentials}"
            raise ConfigError(msg)
        return cls(
            endpoint=given.gs_endpoint or read_variable(environment, "STORAGE_EMULATOR_HOST", "CPL_GS_ENDPOINT"),
            credentials=credentials,
            anonymous=anonymous,
            user_project=given.gs_user_project or read_variable(environment, "GS_USER_PROJECT"),
        )

    def fsspec_options(self, *, retries: int, timeout: float) -> dict[str, Any]:
        """Of gcsfs, which has its own retries."""
        del retries
        _quieten_gcsfs()
        from aiohttp import ClientTimeout  # noqa: PLC0415 - takes a while to import, and only clients need it

        waits = ClientTimeout(total=None, sock_connect=limit_connecting(timeout), sock_read=timeout)
        options: dict[str, Any] = {
            "token": "anon" if self.anonymous else self.credentials,
            "session_kwargs": {"timeout": waits},
        }
        if self.endpoint is not None:
            options["endpoint_url"] = self.endpoint.rstrip("/")
        if self.user_project is not None:
            options |= {"project": self.user_project, "requester_pays": self.user_project}
        return options

    def find_endpoint(self, url: str) -> str | None:
        """Of another server, or Google's."""
        del url
        return self.endpoint or "https://storage.googleapis.com"

    def gdal_options(self) -> dict[str, str]:
        """Of ``/vsigs/``; GDAL finds keys as Google's libraries do."""
        options = {"GS_NO_SIGN_REQUEST": "YES" if self.anonymous else "NO"}
        if self.endpoint is not None:
            options["CPL_GS_ENDPOINT"] = self.endpoint.rstrip("/") + "/"
        if self.credentials is not None and not self.anonymous:
            options["GOOGLE_APPLICATION_CREDENTIALS"] = self.credentials
        if self.user_project is not None:
            options["GS_USER_PROJECT"] = self.user_project
        return options

    def check_writable(self, filesystem: Any, path: str) -> None:
        """Begin a resumable upload and abort it."""
        target = filesystem.open(path, "wb")
        target._initiate_upload()  # noqa: SLF001 - fsspec's hook, which it has no public name for
        with suppress(OSError, *self.foreign_errors()):
            target.discard()
        target.closed = True  # else it would be finished when it is forgotten

    def upload_options(self, part_size: int) -> dict[str, Any]:
        """Parts of a resumable upload, one after the other."""
        return {"chunksize": part_size}

    def media_type(self, content_type: str) -> dict[str, Any]:
        """As gcsfs calls it."""
        return {"content_type": content_type}

    def replace(self, filesystem: Any, path: str, data: bytes, version: str, content_type: str) -> bool:
        """Upload as gcsfs does, with the generation as a precondition; where it fails, the error says so by status 412."""
        bucket, key, _ = filesystem.split_path(path)
        mark = secrets.token_hex(16)
        parts = (("application/json; charset=UTF-8", json.dumps({"name": key}).encode()), (content_type, data))
        body = b"".join(f"--{mark}\r\nContent-Type: {kind}\r\n\r\n".encode() + part + b"\r\n" for kind, part in parts)
        filesystem.call(
            "POST",
            f"{filesystem._location}/upload/storage/v1/b/{{}}/o",  # noqa: SLF001 - where gcsfs itself uploads to
            bucket,
            uploadType="multipart",
            ifGenerationMatch=version,
            headers={"Content-Type": f'multipart/related; boundary="{mark}"'},
            data=body + f"--{mark}--".encode(),
        )
        return True

    def foreign_errors(self) -> tuple[type[Exception], ...]:
        """Those of gcsfs, of Google's libraries and of what they send requests with."""
        _quieten_gcsfs()
        from aiohttp import ClientError  # noqa: PLC0415 - only this protocol needs these
        from gcsfs.retry import HttpError  # noqa: PLC0415
        from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415
        from requests.exceptions import RequestException  # noqa: PLC0415

        # gcsfs raises ValueError where the server calls a request bad.
        return (ValueError, ClientError, HttpError, GoogleAuthError, RequestException)

    def is_denied(self, error: Exception) -> bool:
        """As gcsfs words status 403."""
        return str(error).startswith("Forbidden")


def _quieten_gcsfs() -> None:
    """Keep gcsfs, which has not been imported yet, from asking buckets for hierarchical namespaces at its first call.

    Servers that speak as Google's do not answer that, and it waits a minute for them.
    """
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
