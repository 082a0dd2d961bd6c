"""Azure Blob Storage without a server: which account and keys are used, and what GDAL is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from processor.errors import ConfigError, InputError
from processor.storage.backends import azure
from processor.storage.backends.azure import Azure
from processor.storage.options import Access, io_model, resolve_access

URL = "az://c/a.tif"
FULL = "abfs://c@mosaics.dfs.core.windows.net/a.tif"


def resolve(environment: dict[str, str] | None = None, **options: Any) -> Azure:
    storage = resolve_access(io_model()(**options), environment or {}).of(URL)
    assert isinstance(storage, Azure)
    return storage


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("AccountName=a;AccountKey=a2V5==", Azure(account="a", key="a2V5==")),
        (
            "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=k;EndpointSuffix=core.chinacloudapi.cn",
            Azure(account="a", key="k", endpoint="https://a.blob.core.chinacloudapi.cn"),
        ),
        (
            "BlobEndpoint=https://a.example/;SharedAccessSignature=?sv=1&sig=x%3D",
            Azure(endpoint="https://a.example", sas_token="sv=1&sig=x%3D"),  # noqa: S106
        ),
    ],
)
def test_a_connection_string_is_taken_apart(text: str, expected: Azure) -> None:
    assert resolve(azure_connection_string=text) == resolve({"AZURE_STORAGE_CONNECTION_STRING": text}) == expected


@pytest.mark.parametrize("text", ["nonsense", "AccountKey=k", "AccountName"])
def test_what_is_no_connection_string_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ConfigError, match=r"io\.azure_connection_string") as caught:
        resolve(azure_connection_string=text)
    assert text not in str(caught.value).replace("AccountName and", "")


def test_a_key_that_is_an_option_wins_over_what_the_environment_has() -> None:
    environment = {
        "AZURE_STORAGE_CONNECTION_STRING": "AccountName=other;AccountKey=other",
        "AZURE_STORAGE_SAS_TOKEN": "sig=other",
    }
    assert resolve(environment, azure_account="a", azure_access_key="k") == Azure(account="a", key="k")


def test_keys_are_not_sent_to_another_account_and_never_shown() -> None:
    access = Access(storages=(Azure(account="ours", key="KEY-1", sas_token="SAS-1", endpoint="http://h:1/ours"),))  # noqa: S106
    other = access.of(FULL)
    assert other == Azure(account="mosaics", is_from_url=True)
    assert other.gdal_path(FULL) == "/vsiaz/c/a.tif"
    own = access.of(FULL.replace("mosaics", "ours"))
    assert isinstance(own, Azure)
    assert own.key == "KEY-1"
    assert "KEY-1" not in repr(access)
    assert "SAS-1" not in repr(access)


@pytest.mark.parametrize(
    ("storage", "keys"),
    [
        (Azure(account="a", key="k"), {"AZURE_STORAGE_ACCESS_KEY": "k"}),
        (Azure(account="a", sas_token="sig=x"), {"AZURE_STORAGE_SAS_TOKEN": "sig=x"}),  # noqa: S106
        (Azure(account="a", anonymous=True, key="k"), {}),
    ],
)
def test_gdal_gets_one_kind_of_key_and_nothing_of_the_environment(storage: Azure, keys: dict[str, str]) -> None:
    found = storage.gdal_keys()
    assert {name: value for name, value in found.items() if value} == keys
    assert len(found) == 3
    assert storage.gdal_options()["AZURE_STORAGE_CONNECTION_STRING"] == ""


def test_a_token_is_asked_for_each_time_so_that_it_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("azure.core")
    tokens = iter("ab")
    credential = SimpleNamespace(get_token=lambda scope: SimpleNamespace(token=f"{next(tokens)} {scope}"))
    monkeypatch.setattr(azure, "_make_credential", lambda: credential)
    for first in "ab":
        token = Azure(account="a").gdal_keys()["AZURE_STORAGE_ACCESS_TOKEN"]
        assert token == f"{first} https://storage.azure.com/.default"


def test_without_credentials_the_message_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = pytest.importorskip("azure.core.exceptions")

    def refuse(_: str) -> None:
        raise errors.ClientAuthenticationError(message="no credential\nand a long list")

    monkeypatch.setattr(azure, "_make_credential", lambda: SimpleNamespace(get_token=refuse))
    with pytest.raises(InputError, match=r"no credentials for az:// \(no credential\): set AZURE_STORAGE_KEY"):
        Azure(account="a").gdal_keys()


def test_an_account_is_needed() -> None:
    for ask in (Azure().gdal_options, lambda: Azure().make_filesystem({})):
        with pytest.raises(ConfigError, match="az:// needs a storage account: set AZURE_STORAGE_ACCOUNT"):
            ask()


def test_names_that_are_listed_keep_the_account_of_the_url() -> None:
    pytest.importorskip("adlfs")
    access = Access(storages=(Azure(anonymous=True),))
    filesystem = access.of(FULL).make_filesystem(access.fsspec_options(FULL))
    assert filesystem._strip_protocol(FULL) == "c/a.tif"
    assert filesystem.unstrip_protocol("c/a.tif") == FULL
