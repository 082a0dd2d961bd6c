"""Azure Blob Storage: ``az://container/path``, or ``abfs://container@account.dfs.core.windows.net/path`` with its account.

What the configuration and the environment do not give as a key or a signature is a token, which azure-identity finds and renews
(service principal, workload identity, managed identity, the command line's), for fsspec and GDAL alike.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Final, Self, cast
from urllib.parse import urlsplit

from pydantic import StringConstraints

from processor.errors import ConfigError, InputError
from processor.model.options import Secret, Section, Word
from processor.storage.backends.base import Backend, access_option, choose_switch, find_status, read_variable

AccountUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#@]+(/[^\s/?#@]+)?/?$", max_length=2048)]

_EMULATOR: Final = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;"
    "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
"""What "UseDevelopmentStorage=true" stands for; the key is published."""

_AUTHORITY: Final = re.compile(r"[^@/]+@(?P<account>[a-z0-9]+)\.(dfs|blob)\.core\.windows\.net")
_SCOPE: Final = "https://storage.azure.com/.default"
_UPLOADS_AT_ONCE: Final = 4  # blocks in flight
_BLOCK: Final = 16 << 20  # bytes of a block of a file that is uploaded; Azure allows 50,000
_TOKEN_LOCK: Final = threading.Lock()


class AzureOptions(Section):
    """Options of Azure Blob Storage."""

    azure_account: Word | None = access_option(
        "Storage account (AZURE_STORAGE_ACCOUNT, AZURE_STORAGE_ACCOUNT_NAME); a URL may name another.", example="mosaics"
    )
    azure_endpoint: AccountUrl | None = access_option(
        "URL of the account's blob service, of another cloud or an emulator (AZURE_STORAGE_ENDPOINT, CPL_AZURE_ENDPOINT).",
        example="http://127.0.0.1:10000/devstoreaccount1",
    )
    azure_access_key: Secret | None = access_option(
        "Key of the account (AZURE_STORAGE_KEY, AZURE_STORAGE_ACCESS_KEY, AZURE_STORAGE_ACCOUNT_KEY); better left to the "
        "environment.",
        example="example",
        secret=True,
    )
    azure_sas_token: Secret | None = access_option(
        "Shared access signature (AZURE_STORAGE_SAS_TOKEN); better left to the environment.",
        example="sv=2025&sig=example",
        secret=True,
    )
    azure_connection_string: Secret | None = access_option(
        "Account, endpoint and key in one (AZURE_STORAGE_CONNECTION_STRING); better left to the environment.",
        example="UseDevelopmentStorage=true",
        secret=True,
    )
    azure_anonymous: bool | None = access_option(
        "Do not sign requests: public containers (AZURE_NO_SIGN_REQUEST).", example=True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Azure(Backend):
    """How an account is reached; where neither key nor signature is given, with a token that azure-identity finds."""

    account: str | None = None
    """Its name."""
    endpoint: str | None = None
    """URL of its blob service; None: Azure's own."""
    key: str | None = field(default=None, repr=False)
    """Base64."""
    sas_token: str | None = field(default=None, repr=False)
    """Query of a signature, without "?"."""
    anonymous: bool = False
    """Whether requests are not signed."""
    is_from_url: bool = False
    """Whether a URL named the account."""

    protocols: ClassVar[tuple[str, ...]] = ("az", "abfs", "abfss")
    title: ClassVar[str] = "Azure Blob Storage"
    options: ClassVar[type[Section] | None] = AzureOptions
    prefix: ClassVar[str] = "azure_"
    is_writable: ClassVar[bool] = True
    names_account: ClassVar[bool] = True
    repeats: ClassVar[bool] = True
    has_keys: ClassVar[bool] = True
    gdal_prefix: ClassVar[str | None] = "/vsiaz/"
    version_key: ClassVar[str | None] = "etag"

    @classmethod
    def resolve(cls, io: Section, environment: Mapping[str, str]) -> Self:
        """From ``AZURE_STORAGE_*``; keys that are given as options win over all of the environment."""
        given, env = cast("AzureOptions", io), environment
        connection, key, sas_token = given.azure_connection_string, given.azure_access_key, given.azure_sas_token
        if connection is None and key is None and sas_token is None:
            connection = read_variable(env, "AZURE_STORAGE_CONNECTION_STRING")
            key = read_variable(env, "AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY")
            sas_token = read_variable(env, "AZURE_STORAGE_SAS_TOKEN")
        told = {} if connection is None else _parse_connection(connection)
        endpoint = given.azure_endpoint or told.get("endpoint")
        endpoint = endpoint or read_variable(env, "AZURE_STORAGE_ENDPOINT", "CPL_AZURE_ENDPOINT")
        account = given.azure_account or told.get("account")
        sas_token = told.get("sas_token") or sas_token
        return cls(
            account=account or read_variable(env, "AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"),
            endpoint=None if endpoint is None else endpoint.rstrip("/"),
            key=told.get("key") or key,
            sas_token=None if sas_token is None else sas_token.removeprefix("?"),
            anonymous=choose_switch(given.azure_anonymous, env.get("AZURE_NO_SIGN_REQUEST", "")),
        )

    def for_url(self, url: str) -> Self:
        """The account that a URL names; keys and signatures of another are not sent to it."""
        match = _AUTHORITY.fullmatch(urlsplit(url).netloc)
        if match is None or match["account"] == self.account:
            return self if match is None else replace(self, is_from_url=True)
        return replace(self, account=match["account"], endpoint=None, key=None, sas_token=None, is_from_url=True)

    def fsspec_options(self, *, retries: int, timeout: float) -> dict[str, Any]:
        """Of :class:`~processor.storage.backends.azure_filesystem.AzureFilesystem`."""
        return {
            "account_name": self.account,
            "endpoint": self.endpoint,
            "account_key": None if self.anonymous else self.key,
            "sas_token": None if self.anonymous else self.sas_token,
            "anon": self.anonymous,
            "names_account": self.is_from_url,
            "retries": retries,
            "timeout": timeout,
            "block_size": _BLOCK,
        }

    def find_endpoint(self, url: str) -> str | None:
        """Of another server, or the account's."""
        del url
        return self.endpoint or f"https://{self.account}.blob.core.windows.net"

    def make_filesystem(self, options: Mapping[str, Any]) -> Any:
        """Adlfs's, with this project's account, keys, retries and time-outs."""
        self._check_account()
        from processor.storage.backends.azure_filesystem import AzureFilesystem  # noqa: PLC0415 - imports adlfs

        return AzureFilesystem(**options)

    def gdal_options(self) -> dict[str, str]:
        """Of ``/vsiaz/``; variables that GDAL would read by itself are emptied, because they were read here."""
        self._check_account()
        options = {
            "AZURE_STORAGE_ACCOUNT": self.account or "",
            "AZURE_STORAGE_CONNECTION_STRING": "",
            "AZURE_NO_SIGN_REQUEST": "YES" if self.anonymous else "NO",
        }
        return options if self.endpoint is None else options | {"CPL_AZURE_ENDPOINT": self.endpoint}

    def gdal_keys(self) -> dict[str, str]:
        """The key, the signature, or a token that is renewed."""
        keys = dict.fromkeys(("AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_ACCESS_TOKEN"), "")
        if self.anonymous:
            return keys
        if self.key is not None:
            return keys | {"AZURE_STORAGE_ACCESS_KEY": self.key}
        if self.sas_token is not None:
            return keys | {"AZURE_STORAGE_SAS_TOKEN": self.sas_token}
        return keys | {"AZURE_STORAGE_ACCESS_TOKEN": _find_token()}

    def _check_account(self) -> None:
        if self.account is None and self.endpoint is None:
            msg = (
                "az:// needs a storage account: set AZURE_STORAGE_ACCOUNT or --io.azure_account, or write "
                "abfs://container@account.dfs.core.windows.net/path"
            )
            raise ConfigError(msg)

    def check_writable(self, filesystem: Any, path: str) -> None:
        """Write on a condition that nothing meets: whoever may not write hears that first."""
        from azure.core.exceptions import ResourceModifiedError  # noqa: PLC0415 - only this protocol needs these

        try:
            filesystem.pipe_file(path, b"", **_if_version('"0x0"'))
        except ResourceModifiedError:
            return

    def upload_options(self, part_size: int) -> dict[str, Any]:
        """How many blocks are sent at once; their size is the client's."""
        del part_size
        return {"max_concurrency": _UPLOADS_AT_ONCE}

    def media_type(self, content_type: str) -> dict[str, Any]:
        """As adlfs calls it."""
        return {"content_settings": {"content_type": content_type}}

    def replace(self, filesystem: Any, path: str, data: bytes, version: str, content_type: str) -> bool:
        """Write with ``If-Match``."""
        from azure.core.exceptions import ResourceModifiedError  # noqa: PLC0415

        try:
            filesystem.pipe_file(path, data, **self.media_type(content_type), **_if_version(version))
        except ResourceModifiedError:
            return False
        return True

    def foreign_errors(self) -> tuple[type[Exception], ...]:
        """Those of Azure's libraries, and what adlfs makes of them; none where they are not installed."""
        try:
            from azure.core.exceptions import AzureError  # noqa: PLC0415
        except ImportError:
            return ()
        return (AzureError, RuntimeError, ValueError)

    def describe(self, error: Exception) -> str:
        """The first line and the code: the rest is the answer's XML."""
        first = next(iter(str(error).splitlines()), "")
        code = next(
            (getattr(told, "error_code", None) for told in (error, error.__cause__) if hasattr(told, "error_code")), None
        )
        return f"{first} ({getattr(code, 'value', code)})" if code else first

    def is_denied(self, error: Exception) -> bool:
        """Whether azure-identity found no credentials, or the service does not take them."""
        return any(
            type(told).__name__ in {"ClientAuthenticationError", "CredentialUnavailableError"}
            for told in (error, error.__cause__)
        )

    def is_missing(self, error: Exception) -> bool:
        """Whether the container is missing."""
        return find_status(error) == 404


def _if_version(version: str) -> dict[str, Any]:
    """Arguments of an upload that happens only while the object has an entity tag."""
    from azure.core import MatchConditions  # noqa: PLC0415

    return {"etag": version, "match_condition": MatchConditions.IfNotModified}


def _parse_connection(text: str) -> dict[str, str]:
    """Take a connection string apart.

    Raises
    ------
    ConfigError
        It is none.
    """
    pairs = [pair.partition("=") for pair in text.split(";") if pair]
    told = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if told.get("usedevelopmentstorage", "").lower() == "true":
        return _parse_connection(_EMULATOR)
    account, endpoint = told.get("accountname"), told.get("blobendpoint")
    if not all(sign for _, sign, _ in pairs) or (account is None and endpoint is None):
        msg = "io.azure_connection_string (AZURE_STORAGE_CONNECTION_STRING) names no AccountName and no BlobEndpoint"
        raise ConfigError(msg)
    if endpoint is None and ("endpointsuffix" in told or "defaultendpointsprotocol" in told):
        suffix = told.get("endpointsuffix", "core.windows.net")
        endpoint = f"{told.get('defaultendpointsprotocol', 'https')}://{account}.blob.{suffix}"
    found = {
        "account": account,
        "endpoint": endpoint,
        "key": told.get("accountkey"),
        "sas_token": told.get("sharedaccesssignature"),
    }
    return {name: value for name, value in found.items() if value}


def _find_token() -> str:
    """A token for GDAL, from the same sources as adlfs's.

    Raises
    ------
    InputError
        There is none.
    ConfigError
        The extra is not installed.
    """
    try:
        from azure.core.exceptions import ClientAuthenticationError  # noqa: PLC0415
    except ImportError as error:
        msg = f"az:// needs the extra azure: pip install 'mosaic-processor[azure]' ({error})"
        raise ConfigError(msg) from error
    try:
        with _TOKEN_LOCK:
            return str(_make_credential().get_token(_SCOPE).token)
    except ClientAuthenticationError as error:
        reason = (str(error).splitlines() or [""])[0]
        msg = (
            f"there are no credentials for az:// ({reason}): set AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN or the variables "
            "of an identity, or, for a public container, --io.azure_anonymous true"
        )
        raise InputError(msg) from error


@lru_cache(maxsize=1)
def _make_credential() -> Any:
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415

    return DefaultAzureCredential()
