"""Signing by the planetary computer's package, with a service of ours in the place of theirs."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from stac_api import serving

from processor.config import Inputs
from processor.errors import ConfigError, InputError, StorageError
from processor.scenes.inputs import select_assets
from processor.storage.renewal import renew_url
from stac.hrefs import publish_href, show_href
from stac.read.items import parse_item_collection
from stac.read.sign import make_signer

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    sas = pytest.importorskip("planetary_computer.sas", reason="the extra planetary-computer is not installed")
    from planetary_computer.settings import Settings

BLOB = "https://account.blob.core.windows.net/container/a/b.tif"
ANSWER = b'{"msft:expiry": "2099-01-01T00:00:00Z", "token": "st=x&sig=SECRET"}'


class Service:
    """What is answered, and what was asked."""

    def __init__(self) -> None:
        self.status, self.body, self.asked = 200, ANSWER, list[tuple[str, str | None]]()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            service.asked.append((self.path, self.headers.get("Ocp-Apim-Subscription-Key")))
            self.send_response(service.status)
            self.send_header("Content-Length", str(len(service.body)))
            self.end_headers()
            self.wfile.write(service.body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with serving(Handler) as url:
        monkeypatch.setattr(Settings, "get", lambda: Settings(sas_url=url, subscription_key="key"))
        monkeypatch.setattr(sas, "TOKEN_CACHE", {})
        yield service


def test_hrefs_of_blobs_are_signed_with_one_token_a_container(service: Service) -> None:
    sign = make_signer("planetary-computer")
    assert sign(BLOB) == f"{BLOB}?st=x&sig=SECRET"
    assert sign(BLOB.replace("b.tif", "c.tif")).endswith("c.tif?st=x&sig=SECRET")
    assert service.asked == [("/account/container", "key")]


def test_a_signed_href_is_neither_published_nor_shown(service: Service) -> None:
    signed = make_signer("planetary-computer")(BLOB)
    assert service.asked
    assert "SECRET" in signed
    assert publish_href(signed) == BLOB
    assert show_href(signed) == BLOB


@pytest.mark.parametrize(
    "href",
    [
        "s3://bucket/a.tif",
        "/data/a.tif",
        "https://data.example.org/a.tif",
        "https://evil.example.org/account.blob.core.windows.net/c/a.tif",
        "https://account.blob.core.windows.net.evil.example.org/c/a.tif",
        f"{BLOB}?sv=1&sig=own&st=1&se=2&sp=r",
    ],
)
def test_other_hrefs_stay_as_they_are_and_nobody_is_asked(href: str, service: Service) -> None:
    assert make_signer("planetary-computer")(href) == href
    assert service.asked == []
    assert make_signer(None)(BLOB) == BLOB


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (404, b"{}", InputError, "status 404"),
        (403, b'{"token": "SECRET"}', InputError, "status 403"),
        (200, b"<html>SECRET", StorageError, "try again later"),
        (200, b"{}", StorageError, "try again later"),
    ],
)
def test_a_service_that_gives_no_token_is_named_without_its_answer(
    status: int, body: bytes, error: type[Exception], said: str, service: Service
) -> None:
    service.status, service.body = status, body
    with pytest.raises(error, match="account/container") as caught:
        make_signer("planetary-computer")(BLOB)
    assert said in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_a_service_that_is_down_is_a_failure_for_now(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stac.read.sign._RETRIES", 1)
    monkeypatch.setattr("stac.read.sign._BACKOFF", 0.0)
    service.status = 503
    with pytest.raises(StorageError, match="try again later"):
        make_signer("planetary-computer")(BLOB)
    assert len(service.asked) == 2


def test_scenes_of_a_signed_catalogue_are_read_signed_and_known_unsigned(service: Service) -> None:
    item = {"type": "Feature", "stac_version": "1.0.0", "id": "a", "properties": {"datetime": None}}
    item |= {
        "links": [{"rel": "self", "href": "https://pc/items/a"}],
        "assets": {"image": {"href": BLOB, "type": "image/tiff"}},
    }
    document = {"type": "FeatureCollection", "features": [item]}
    selection = select_assets(Inputs(sign="planetary-computer"))
    (ref,) = parse_item_collection(document, base="https://pc/search", is_remote=True, selection=selection)
    assert ref.rasters[0].href.endswith("sig=SECRET")
    assert ref.provenance.self_href == "https://pc/items/a"
    assert service.asked == [("/account/container", "key")]


def test_without_the_package_the_run_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "planetary_computer.sas", None)
    with pytest.raises(ConfigError, match=r"pip install 'mosaic-processor\[planetary-computer\]'"):
        make_signer("planetary-computer")


def test_a_signature_that_ends_is_renewed_for_who_reads(service: Service) -> None:
    signed = make_signer("planetary-computer")(BLOB)
    assert renew_url(signed) == signed
    sas.TOKEN_CACHE.clear()  # as when the token has ended
    service.body = ANSWER.replace(b"SECRET", b"LATER")
    assert renew_url(signed) == f"{BLOB}?st=x&sig=LATER"
    assert renew_url(BLOB) == BLOB
    assert len(service.asked) == 2
