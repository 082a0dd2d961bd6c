"""Amazon S3 and servers like it.

Keys that neither the configuration nor the environment gives are found by botocore (profiles, web identity, instance roles),
for fsspec and GDAL alike.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, ClassVar, Final, Literal, Self, cast

from processor.errors import ConfigError, InputError
from processor.model.options import Endpoint, Secret, Section, Word
from processor.storage.backends.base import Backend, access_option, choose_switch, limit_connecting, read_variable

_UPLOADS_AT_ONCE: Final = 4  # parts in flight: bounds memory to 64 MiB for objects below 144 GB
_FALSE: Final = frozenset({"no", "false", "off", "0"})
_KEYS_LOCK: Final = threading.Lock()


class S3Options(Section):
    """Options of Amazon S3."""

    s3_endpoint: Endpoint | None = access_option(
        "URL of an S3 server other than Amazon's (AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL).", example="http://127.0.0.1:8333"
    )
    s3_region: Word | None = access_option("Region of the buckets (AWS_REGION, AWS_DEFAULT_REGION).", example="eu-central-1")
    s3_profile: Word | None = access_option("Profile of the shared configuration (AWS_PROFILE).", example="mosaics")
    s3_access_key_id: Secret | None = access_option(
        "Key (AWS_ACCESS_KEY_ID); better left to the environment.", example="AKIAEXAMPLE", secret=True
    )
    s3_secret_access_key: Secret | None = access_option(
        "Its secret (AWS_SECRET_ACCESS_KEY); better left to the environment.", example="example", secret=True
    )
    s3_session_token: Secret | None = access_option(
        "Token of temporary keys (AWS_SESSION_TOKEN).", example="example", secret=True
    )
    s3_anonymous: bool | None = access_option("Do not sign requests: public buckets (AWS_NO_SIGN_REQUEST).", example=True)
    s3_requester_pays: bool | None = access_option(
        "Pay for what is read from buckets that ask for it (AWS_REQUEST_PAYER=requester); those whose Items "
        "say so are paid for anyway.",
        example=True,
    )
    s3_path_style: bool | None = access_option(
        "Name the bucket in the path, not the host (AWS_VIRTUAL_HOSTING=FALSE); null: where an endpoint is set.", example=True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class S3(Backend):
    """How S3 is reached; None: as botocore finds it."""

    endpoint: str | None = None
    """URL of another server."""
    region: str | None = None
    """Of the buckets."""
    profile: str | None = None
    """Of the shared configuration."""
    key: str | None = field(default=None, repr=False)
    """Access key id."""
    secret: str | None = field(default=None, repr=False)
    """Its secret."""
    token: str | None = field(default=None, repr=False)
    """Session token of temporary keys."""
    anonymous: bool = False
    """Whether requests are not signed."""
    requester_pays: bool = False
    """Whether the reader pays."""
    path_style: bool = False
    """Whether the bucket stands in the path, not in the host."""

    protocols: ClassVar[tuple[str, ...]] = ("s3", "s3a")
    title: ClassVar[str] = "S3"
    options: ClassVar[type[Section] | None] = S3Options
    prefix: ClassVar[str] = "s3_"
    is_writable: ClassVar[bool] = True
    repeats: ClassVar[bool] = True
    has_keys: ClassVar[bool] = True
    gdal_prefix: ClassVar[str | None] = "/vsis3/"
    version_key: ClassVar[str | None] = "ETag"

    @classmethod
    def resolve(cls, io: Section, environment: Mapping[str, str]) -> Self:
        """From ``AWS_*``, botocore's and GDAL's."""
        given, env = cast("S3Options", io), environment
        if (given.s3_access_key_id is None) != (given.s3_secret_access_key is None):
            msg = "io.s3_access_key_id and io.s3_secret_access_key belong together: give both, or neither"
            raise ConfigError(msg)
        keys = (given.s3_access_key_id, given.s3_secret_access_key, given.s3_session_token)
        if keys[0] is None and given.s3_profile is None:  # a profile that is named here wins over keys of the environment
            names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
            keys = (read_variable(env, names[0]), read_variable(env, names[1]), read_variable(env, names[2]))
            if keys[0] is None or keys[1] is None:
                keys = (None, None, None)
        endpoint = given.s3_endpoint or read_variable(env, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL") or _gdal_endpoint(env)
        hosting = env.get("AWS_VIRTUAL_HOSTING", "")
        path_style = given.s3_path_style
        if path_style is None:
            path_style = not choose_switch(None, hosting) if hosting else endpoint is not None
        payer = "yes" if env.get("AWS_REQUEST_PAYER", "").lower() == "requester" else ""
        return cls(
            endpoint=None if endpoint is None else endpoint.rstrip("/"),
            region=given.s3_region or read_variable(env, "AWS_REGION", "AWS_DEFAULT_REGION"),
            profile=given.s3_profile or read_variable(env, "AWS_PROFILE", "AWS_DEFAULT_PROFILE"),
            key=keys[0],
            secret=keys[1],
            token=keys[2],
            anonymous=choose_switch(given.s3_anonymous, env.get("AWS_NO_SIGN_REQUEST", "")),
            requester_pays=choose_switch(given.s3_requester_pays, payer),
            path_style=path_style,
        )

    def for_bucket(self, *, requester_pays: bool, region: str | None) -> Self:
        """The same for a bucket of which an Item says more."""
        if not requester_pays and (region is None or self.region is not None):
            return self
        return replace(self, requester_pays=self.requester_pays or requester_pays, region=self.region or region)

    def fsspec_options(self, *, retries: int, timeout: float) -> dict[str, Any]:
        """Of s3fs, which hands them to botocore."""
        config: dict[str, Any] = {
            "connect_timeout": limit_connecting(timeout),
            "read_timeout": timeout,
            "retries": {"mode": "standard", "total_max_attempts": retries + 1},
        }
        if self.path_style:
            config["s3"] = {"addressing_style": "path"}
        options: dict[str, Any] = {
            "anon": self.anonymous,
            "requester_pays": self.requester_pays,
            "config_kwargs": config,
            "client_kwargs": {} if self.region is None else {"region_name": self.region},
        }
        given = {"endpoint_url": self.endpoint, "key": self.key, "secret": self.secret}
        given |= {"token": self.token, "profile": self.profile}
        return options | {name: value for name, value in given.items() if value is not None}

    def find_endpoint(self, url: str) -> str | None:
        """Of another server, or of the region."""
        del url
        region = self.region or (_ask_botocore("region", self.profile) if self.endpoint is None else None)
        return self.endpoint or f"https://s3.{region or 'us-east-1'}.amazonaws.com"

    def make_filesystem(self, options: Mapping[str, Any]) -> Any:
        """S3fs repeats nothing: botocore repeats requests, with jitter; both at it would multiply."""
        filesystem = Backend.make_filesystem(self, options)
        filesystem.retries = 1
        return filesystem

    def gdal_options(self) -> dict[str, str]:
        """Of ``/vsis3/``."""
        options = {
            "AWS_NO_SIGN_REQUEST": "YES" if self.anonymous else "NO",
            "AWS_VIRTUAL_HOSTING": "FALSE" if self.path_style else "TRUE",
            "AWS_REQUEST_PAYER": "requester" if self.requester_pays else "",
        }
        if self.endpoint is not None:
            scheme, _, host = self.endpoint.partition("://")
            options |= {"AWS_S3_ENDPOINT": host.rstrip("/"), "AWS_HTTPS": "YES" if scheme == "https" else "NO"}
        region = self.region or (_ask_botocore("region", self.profile) if self.endpoint is None else None)
        return options if region is None else options | {"AWS_REGION": region}

    def gdal_keys(self) -> dict[str, str]:
        """As given, or as botocore finds and renews them."""
        if self.anonymous:
            return {}
        key, secret, token = self.key, self.secret, self.token
        if key is None or secret is None:
            with _KEYS_LOCK:
                credentials = _ask_botocore("credentials", self.profile)
                if credentials is None:
                    msg = (
                        "there are no credentials for s3://: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or "
                        "--io.s3_profile, or, for a public bucket, --io.s3_anonymous true"
                    )
                    raise InputError(msg)
                frozen = credentials.get_frozen_credentials()
            key, secret, token = frozen.access_key, frozen.secret_key, frozen.token
        return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token or ""}

    def check_writable(self, filesystem: Any, path: str) -> None:
        """Begin an upload in parts and abort it, which needs the same right as writing."""
        bucket, key, _ = filesystem.split_path(path)
        begun = filesystem.call_s3("create_multipart_upload", Bucket=bucket, Key=key)
        _abort(filesystem, bucket, {"Key": key, "UploadId": begun["UploadId"]})

    def upload_options(self, part_size: int) -> dict[str, Any]:
        """Parts, and how many are sent at once."""
        return {"chunksize": part_size, "max_concurrency": _UPLOADS_AT_ONCE}

    def media_type(self, content_type: str) -> dict[str, Any]:
        """As S3 calls it."""
        return {"ContentType": content_type}

    def abort_uploads(self, filesystem: Any, path: str, *, below: bool) -> int:
        """Ask for their list, page by page, which takes a right of its own (``s3:ListBucketMultipartUploads``)."""
        bucket, key, _ = filesystem.split_path(path)
        prefix, count = f"{key}/" if below else key, 0
        marker: dict[str, Any] = {}
        while True:
            listed = filesystem.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix, **marker)
            for upload in listed.get("Uploads", ()):
                if str(upload["Key"]).startswith(prefix) and (below or upload["Key"] == key):
                    count += _abort(filesystem, bucket, upload)
            reached = {"KeyMarker": listed.get("NextKeyMarker"), "UploadIdMarker": listed.get("NextUploadIdMarker")}
            if not listed.get("IsTruncated") or reached == marker:
                return count
            marker = reached

    def replace(self, filesystem: Any, path: str, data: bytes, version: str, content_type: str) -> bool:
        """Write with ``If-Match``; where two such requests come at one moment, S3 wants one of them again."""
        try:
            filesystem.pipe_file(path, data, IfMatch=version, ContentType=content_type)
        except OSError as error:
            response = getattr(error.__cause__, "response", None)
            if isinstance(response, Mapping) and response.get("Error", {}).get("Code") == "ConditionalRequestConflict":
                return False
            raise
        return True

    def foreign_errors(self) -> tuple[type[Exception], ...]:
        """Those of botocore and of what it sends requests with."""
        from aiohttp import ClientError as HttpError  # noqa: PLC0415 - only this protocol needs these
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        return (BotoCoreError, ClientError, HttpError)

    def is_denied(self, error: Exception) -> bool:
        """Whether botocore found no keys."""
        return type(error).__name__ == "NoCredentialsError"


def _abort(filesystem: Any, bucket: str, upload: Mapping[str, Any]) -> bool:
    """Abort an upload; False where it had ended: another run aborts those of an Item that is there."""
    try:
        filesystem.call_s3("abort_multipart_upload", Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    except FileNotFoundError:
        return False
    return True


def _gdal_endpoint(env: Mapping[str, str]) -> str | None:
    """What GDAL's users set: a host, and whether it speaks TLS."""
    host = read_variable(env, "AWS_S3_ENDPOINT")
    if host is None or "://" in host:
        return host
    return f"{'http' if env.get('AWS_HTTPS', 'YES').lower() in _FALSE else 'https'}://{host}"


@lru_cache(maxsize=16)
def _ask_botocore(what: Literal["credentials", "region"], profile: str | None) -> Any:
    """What botocore finds by itself; None where it finds none."""
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - as above
    from botocore.session import Session  # noqa: PLC0415

    try:
        session = Session(profile=profile)
        return session.get_credentials() if what == "credentials" else session.get_config_variable(what)
    except BotoCoreError as error:
        msg = f"no {what} for s3://: {error}"
        raise ConfigError(msg) from error
