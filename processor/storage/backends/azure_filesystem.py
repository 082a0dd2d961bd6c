"""Adlfs's filesystem on a client that repeats and waits as the options say; imported only where Azure is reached."""

from __future__ import annotations

import logging
from typing import Any

from adlfs import AzureBlobFileSystem
from azure.identity.aio import DefaultAzureCredential
from azure.storage.blob.aio import BlobServiceClient, ExponentialRetry

from processor.storage.backends.base import limit_connecting

logging.getLogger("azure").setLevel(logging.WARNING)  # it tells of every request


class AzureFilesystem(AzureBlobFileSystem):  # type: ignore[misc]  # adlfs has no types
    """The blobs of one account.

    Parameters
    ----------
    endpoint
        URL of the account's blob service; None: Azure's own.
    names_account
        Whether URLs that are given back name the account.
    retries, timeout
        How often a request is repeated; seconds without a byte that it may last.
    block_size
        Bytes of a block of a file that is uploaded.
    options
        Of adlfs.
    """

    def __init__(
        self, *, endpoint: str | None, names_account: bool, retries: int, timeout: float, block_size: int, **options: Any
    ) -> None:
        self._endpoint, self._names_account = endpoint, names_account
        self._client: dict[str, Any] = {
            "retry_policy": ExponentialRetry(initial_backoff=0, increment_base=2, random_jitter_range=1, retry_total=retries),
            "connection_timeout": limit_connecting(timeout),
            "read_timeout": timeout,
            "max_block_size": block_size,
            "max_single_put_size": block_size,
        }
        super().__init__(**options)

    def _get_default_azure_credential(self, **_: Any) -> tuple[Any, None]:
        return DefaultAzureCredential(), None

    def do_connect(self) -> None:
        """Connect with the key, or else the signature, or else a token; the environment is not asked again."""
        url = self._endpoint or f"https://{self.account_name}.blob.core.windows.net"
        if self.anon:
            credential: Any = None
        elif self.account_key is not None:
            credential = {"account_name": self.account_name, "account_key": self.account_key}
        else:
            credential = self.sas_token or self.credential
        self.service_client = BlobServiceClient(url, credential=credential, **self._client)

    def unstrip_protocol(self, name: str) -> str:
        """The URL of a name, with its account where that came from a URL."""
        container, slash, path = self._strip_protocol(name).partition("/")
        account = f"@{self.account_name}.dfs.core.windows.net" if self._names_account else ""
        return f"{'abfs' if account else 'az'}://{container}{account}{slash}{path}"
