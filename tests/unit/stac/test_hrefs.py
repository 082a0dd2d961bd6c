"""Hrefs of strangers: where relative ones lead, and which are refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stac.hrefs import MAX_HREF_LENGTH, href_name, href_suffix, publish_href, resolve_href, show_href


def resolve(href: object, base: str = "s3://bucket/a/items.json", *, allow: bool = False) -> str:
    return resolve_href(href, base=base, is_remote="://" in base, allow_local_files=allow)


@pytest.mark.parametrize(
    ("base", "href", "expected"),
    [
        ("s3://bucket/a/items.json", "./1.tif", "s3://bucket/a/1.tif"),
        ("s3://bucket/a/items.json", "../b/1.tif", "s3://bucket/b/1.tif"),
        ("s3://bucket/items.json", "1.tif", "s3://bucket/1.tif"),
        ("s3://bucket/a/items.json", "x//y/1.tif", "s3://bucket/a/x//y/1.tif"),
        ("s3://bucket/a?b/items.json", "1#2.tif", "s3://bucket/a?b/1#2.tif"),
        ("https://host/a/items.json?sig=a/b", "1.tif?sig=c/../d", "https://host/a/1.tif?sig=c/../d"),
        ("https://host:8080/search", "1.tif", "https://host:8080/1.tif"),
        ("https://host/items.json", "S3://other/./1.tif", "s3://other/1.tif"),
        ("https://host/items.json", "http://[::1]:80/1.tif", "http://[::1]:80/1.tif"),
        ("/data/a/items.json", "../b/1.tif", "/data/b/1.tif"),
        ("/data/a/", "1.tif", "/data/a/1.tif"),
        ("/data/a/items.json", "/other//1.tif", "/other/1.tif"),
        ("/data/a/items.json", "file:///other/a%20b.tif", "/other/a b.tif"),
        ("file:///data/a%20b/items.json", "1.tif", "/data/a b/1.tif"),
        ("/data/a/items.json", "./S2A:1.tif", "/data/a/S2A:1.tif"),
        ("/data/a/items.json", "gs://bucket/1.tif", "gs://bucket/1.tif"),
        ("https://host/a b/items.json", "c d.tif?x=e f", "https://host/a%20b/c%20d.tif?x=e%20f"),
        ("/data/items.json", "https://host/a b/c.tif?sig=x y", "https://host/a%20b/c.tif?sig=x%20y"),
        ("s3://bucket/a/items.json", "c d%20e.tif", "s3://bucket/a/c d%20e.tif"),
    ],
)
def test_href_becomes_absolute(base: str, href: str, expected: str) -> None:
    assert resolve(href, base) == expected


def test_a_link_on_disk_may_be_percent_encoded(tmp_path: Path) -> None:
    base = str(tmp_path / "catalog.json")
    for name in ("a b.json", "100%25.json", "100%.json"):
        (tmp_path / name).touch()
    assert resolve("./a%20b.json", base) == str(tmp_path / "a b.json")
    assert resolve("100%25.json", base) == str(tmp_path / "100%25.json")  # the name itself comes first
    assert resolve("gone%20.json", base) == str(tmp_path / "gone%20.json")
    with pytest.raises(ValueError, match="file of this machine"):
        resolve(str(tmp_path / "a%20b.json"), "https://host/items.json")


@pytest.mark.parametrize(
    ("href", "reason"),
    [
        (None, "no href"),
        (7, "no href"),
        ("", "no href"),
        ("ftp://host/1.tif", "scheme 'ftp'"),
        ("vrt://1.tif", "scheme 'vrt'"),
        ("zip+s3://bucket/1.zip", "scheme"),
        ("GTIFF_DIR:1:/data/1.tif", "neither a path nor a URL"),
        ("GTIFF_DIR:1:https://host/1.tif", "neither a path nor a URL"),
        ("NETCDF:1.nc", "neither a path nor a URL"),
        ("C:/1.tif", "neither a path nor a URL"),
        ("<VRTDataset/>", "control character"),
        ("a\n.tif", "control character"),
        ("a\\b.tif", "control character"),
        ("//host/1.tif", "names no scheme"),
        ("https://me:secret@host/1.tif", "user name or a password"),
        ("s3://key:secret@bucket/1.tif", "user name or a password"),
        ("s3:///1.tif", "no valid bucket"),
        ("https:// host/1.tif", "no valid host"),
        ("../../1.tif", "above its host or bucket"),
        ("s3://bucket/../1.tif", "above its host or bucket"),
        ("x" * (MAX_HREF_LENGTH + 1), "characters"),
    ],
)
def test_href_is_refused_with_a_reason(href: object, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        resolve(href)


@pytest.mark.parametrize("href", ["/etc/passwd.tif", "file:///etc/passwd.tif", "file://localhost/etc/passwd.tif"])
def test_remote_document_may_name_local_files_only_if_allowed(href: str) -> None:
    with pytest.raises(ValueError, match="allow_local_files"):
        resolve(href)
    assert resolve(href, allow=True) == "/etc/passwd.tif"


@pytest.mark.parametrize(
    "href", ["/vsicurl/http://x/1.tif", "/VSImem/1", "/a/../vsis3/b", "file:///%76simem/1", "../../../../vsizip/1.zip"]
)
def test_virtual_file_systems_are_refused(href: str) -> None:
    with pytest.raises(ValueError, match="virtual file system"):
        resolve(href, "/data/a/items.json")


def test_file_url_cannot_hide_control_characters_behind_percent_signs() -> None:
    with pytest.raises(ValueError, match="control character"):
        resolve("file:///a%0Ab.tif", "/data/items.json")


PIECES = [
    "..",
    ".",
    "/",
    "//",
    ":",
    "vsi",
    "VSI",
    "file://",
    "s3://",
    "https://",
    "a",
    "b.tif",
    "%2e",
    "%2Fvsi",
    "@",
    "?",
    "#",
    " ",
]


@given(
    st.text(max_size=40) | st.lists(st.sampled_from(PIECES), max_size=8).map("".join),
    st.sampled_from(["/data/a/items.json", "s3://bucket/a/items.json", "https://host/a/items.json"]),
)
def test_whatever_is_resolved_begins_with_a_root_or_an_allowed_scheme(href: str, base: str) -> None:
    try:
        resolved = resolve(href, base)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - most texts are no hrefs
        return
    assert re.match(r"(/(?!vsi)(?!/)|(s3|gs|https|http)://[^/@]+/)", resolved)
    assert base.startswith("/") or not resolved.startswith("/")
    assert resolve(resolved, base) == resolved


def test_shown_href_has_no_secrets_and_is_short() -> None:
    shown = show_href("https://me:secret@host/1.tif?X-Amz-Signature=secret#secret")
    assert shown == "https://host/1.tif"
    assert len(show_href("x" * 1000)) < 250
    assert show_href("a\nb") == "a?b"


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        ("https://u:p@host/a b.tif?token=1&file=2&X-Goog-Credential=3#x", "https://host/a%20b.tif?file=2"),
        ("https://host/a.tif?sv=1&sig=2", "https://host/a.tif"),
        ("s3://bucket/a?b#c.tif", "s3://bucket/a?b#c.tif"),
        ("/data/a b.tif", "file:///data/a%20b.tif"),
    ],
)
def test_published_href_is_a_uri_without_credentials(href: str, expected: str) -> None:
    assert publish_href(href) == expected


def test_suffix_and_name_ignore_queries_of_http_only() -> None:
    assert href_suffix("https://host/a.TIFF?x=1.json#y") == ".tiff"
    assert href_name("https://host/b/a.tif?x=/1.json") == "a.tif"
    assert href_name("/data/a?b.tif") == "a?b.tif"
    assert href_suffix("/data/.tif") == ""
    assert href_suffix("/data.tif/a") == ""
