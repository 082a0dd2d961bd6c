"""Which headers go to which host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from processor.errors import ConfigError
from processor.storage.backends.http import HostKeys, Http
from processor.storage.options import Access, io_model, resolve_access

SECRET = "a-secret"  # noqa: S105
BEARER = {"Authorization": f"Bearer {SECRET}"}


def resolve(*, environment: dict[str, str] | None = None, **options: Any) -> Access:
    return resolve_access(io_model()(**options), environment=environment or {})


@pytest.mark.parametrize(
    ("host", "url", "gets"),
    [
        ("data.example.org", "https://data.example.org/a.tif", True),
        ("data.example.org", "https://DATA.example.org:443/a.tif", True),
        ("data.example.org", "http://data.example.org/a.tif", False),
        ("data.example.org", "https://data.example.org:8443/a.tif", False),
        ("data.example.org:8443", "https://data.example.org:8443/a.tif", True),
        ("data.example.org", "https://data.example.org.evil.org/a.tif", False),
        ("example.org", "https://data.example.org/a.tif", False),
        ("http://data.example.org", "http://data.example.org/a.tif", True),
        ("127.0.0.1:8000", "http://127.0.0.1:8000/a.tif", True),
        ("localhost", "http://localhost/a.tif", True),
        ("data.example.org", "s3://data.example.org/a.tif", False),
    ],
)
def test_a_host_is_scheme_name_and_port(host: str, url: str, gets: bool) -> None:
    access = resolve(http_bearer=SECRET, http_hosts=[host])
    assert access.find_keys(url) == (BEARER if gets else {})
    if url.startswith("http"):
        assert access.of(url).gdal_path(url) is None  # GDAL would send keys along redirects


def test_hosts_that_were_said_stay_and_others_are_bound_to_what_is_named() -> None:
    url = "https://data.example.org/a.tif"
    assert resolve(http_bearer=SECRET).find_keys(url) == {}
    bound = resolve(http_bearer=SECRET).for_hosts(["items.json", "s3://b/a", url])
    assert bound.find_keys(url) == BEARER
    assert bound.hosts == ("https://data.example.org:443",)
    assert bound.find_keys("https://other.example.org/a.tif") == {}
    assert resolve(http_bearer=SECRET, http_hosts=["x.org"]).for_hosts([url]).find_keys(url) == {}


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        ("X-Api-Key: a", {"X-Api-Key": "a"}),
        ("A: 1,B: 2, 3", {"A": "1", "B": "2, 3"}),
        ("A: 1\r\nB: x:y,z", {"A": "1", "B": "x:y,z"}),
        ({"A": "1", "B": 2}, {"A": "1", "B": "2"}),
    ],
)
def test_headers_are_written_as_gdal_takes_them(text: Any, headers: dict[str, str]) -> None:
    assert resolve(http_headers=text, http_hosts=["x.org"]).find_keys("https://x.org/") == headers


@pytest.mark.parametrize("text", ["no header", ": x", "A\tB: 1", "A: \x01"])
def test_what_is_no_header_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ConfigError, match=r"io\.http_headers") as caught:
        resolve(http_headers=f"{text}{SECRET}", http_hosts=["x.org"])
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("host", ["https://x.org/path", "user@x.org", "x.org:port", "*.x.org", "ftp://x.org"])
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="is no host"):
        resolve(http_bearer=SECRET, http_hosts=[host])


def test_keys_are_in_no_representation_and_tell_clients_apart() -> None:
    one, other = (HostKeys(headers=(("A", text),), hosts=("https://x:443",)) for text in (SECRET, "another"))
    assert SECRET not in repr(one) + repr(Http(keys=one)) + repr(Http(keys=one).fsspec_options(retries=0, timeout=1.0))
    options = [
        repr(Http(keys=keys).fsspec_options(retries=0, timeout=1.0)["client_kwargs"]["request_class"]) for keys in (one, other)
    ]
    assert options[0] != options[1]


def test_gdal_gets_no_keys_of_the_environment() -> None:
    access = resolve(environment={"GDAL_HTTP_BEARER": SECRET, "GDAL_HTTP_HEADERS": f"A: {SECRET}"})
    for url in ("https://x.org/a.tif", "s3://bucket/a.tif"):
        options = access.gdal_options(url)
        assert (options["GDAL_HTTP_BEARER"], options["GDAL_HTTP_HEADERS"]) == ("", "")


def test_a_netrc_file_that_is_none_is_an_error_without_its_text(tmp_path: Path) -> None:
    path = tmp_path / "netrc"
    path.write_text(f"machine x.org {SECRET}")
    with pytest.raises(ConfigError, match="GDAL_HTTP_NETRC=NO") as caught:
        resolve(environment={"NETRC": str(path)}).find_keys("https://x.org/")
    assert SECRET not in str(caught.value)
    assert resolve(environment={"NETRC": str(path), "GDAL_HTTP_NETRC": "NO"}).find_keys("https://x.org/") == {}
