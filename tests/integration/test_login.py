"""Reading behind a login: keys reach the host that they are for, and no other; alternates; pages to log in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Finished, call_command, make_items, read_files
from outcomes import leaving_out_drawings
from servers import Counting, run_guarded, run_web
from stac_api import Said, make_search_link, run_api

pytestmark = pytest.mark.server

SECRET = "a-token-that-must-not-leak"  # noqa: S105
BEARER = {"header": "Authorization", "value": f"Bearer {SECRET}"}
OPEN = "--inputs.allow_private_networks"  # servers of tests are on this machine
API_KEY = {"header": "X-Api-Key", "value": SECRET}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_items(tmp_path_factory.mktemp("login") / "scenes", edge=60).parent


def lead_to(folder: Path, url: str, **more: Callable[[str], Any]) -> str:
    """The ItemCollection with hrefs on a server, and further fields of each asset made of its file's name."""
    document = json.loads((folder / "items.json").read_text())
    for feature in document["features"]:
        asset = feature["assets"]["image"]
        name = asset["href"].removeprefix("./")
        asset |= {"href": f"{url}/{name}"} | {key: make(name) for key, make in more.items()}
    return json.dumps(document)


def run(tmp_path: Path, inputs: str, *flags: str, output: str = "out") -> Finished:
    with leaving_out_drawings():
        return call_command(
            "run",
            inputs,
            "--output",
            output,
            "--item-id",
            "m",
            *flags,
            "--io.retries",
            "1",
            cwd=tmp_path,
            scratch=tmp_path / "scratch",
        )


@pytest.fixture
def plain(folder: Path, tmp_path: Path) -> bytes:
    """The mosaic of the files themselves."""
    done = run(tmp_path, str(folder / "items.json"), output="plain")
    assert done.code == 0, done.stderr
    return read_files(tmp_path / "plain" / "m")["mosaic.tif"]


@pytest.fixture
def stranger(folder: Path, tmp_path: Path) -> Iterator[Counting]:
    """A server that gives everything to everybody, and remembers the keys that it was given."""
    with run_guarded(folder, tmp_path / "stranger", header="Authorization", value="") as server:
        yield server


def list_keys(server: Counting) -> set[str]:
    return {text for _, text, _ in server.take_counts() if not text.startswith("/")}


@pytest.mark.parametrize(
    ("rules", "variables", "executor", "remote"),
    [
        (BEARER, {"GDAL_HTTP_BEARER": SECRET}, "local", False),
        (BEARER, {"GDAL_HTTP_BEARER": SECRET}, "tasks", True),
        (BEARER, {"GDAL_HTTP_HEADERS": f"Accept: */*,Authorization: Bearer {SECRET}"}, "local", True),
        (API_KEY, {"GDAL_HTTP_HEADERS": f"X-Api-Key: {SECRET}"}, "tasks", False),
        (API_KEY, {"MOSAIC_IO__HTTP_HEADERS": f"X-Api-Key: {SECRET}"}, "local", True),
        (BEARER, {"MOSAIC_IO__HTTP_BEARER": SECRET}, "tasks", False),
    ],
    ids=["bearer", "bearer by tasks", "headers", "key by tasks", "option", "option by tasks"],
)
def test_keys_of_the_environment_open_documents_and_rasters(
    rules: dict[str, str],
    variables: dict[str, str],
    executor: str,
    remote: bool,
    folder: Path,
    plain: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scratch = tmp_path / "served"
    scratch.mkdir()
    for path in folder.iterdir():
        (scratch / path.name).symlink_to(path)
    with run_guarded(scratch, tmp_path / "log", **rules) as server:
        (scratch / "led.json").write_text(lead_to(folder, server.url))
        inputs = f"{server.url}/led.json" if remote else str(scratch / "led.json")
        done = set_and_run(monkeypatch, variables, tmp_path, inputs, "--executor", executor)
        assert done.code == 0, done.stderr
    assert read_files(tmp_path / "out" / "m")["mosaic.tif"] == plain
    assert_nothing_leaked(done, tmp_path)


def set_and_run(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], tmp_path: Path, inputs: str, *flags: str
) -> Finished:
    """Run with variables, those of the configuration as flags: tests leave them out of the environment."""
    options = []
    for name, value in variables.items():
        if name.startswith("MOSAIC_"):
            options += [f"--{name.removeprefix('MOSAIC_').lower().replace('__', '.')}", value]
        else:
            monkeypatch.setenv(name, value)
    return run(tmp_path, inputs, *flags, *options)


def assert_nothing_leaked(done: Finished, tmp_path: Path) -> None:
    assert SECRET not in done.stderr + done.stdout
    for name, data in read_files(tmp_path / "out").items():
        assert SECRET.encode() not in data, name


def test_a_password_of_netrc_goes_to_its_machine(
    folder: Path, plain: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords = tmp_path / "netrc"
    passwords.write_text(f"machine 127.0.0.1 login me password {SECRET}\nmachine other.example.org login me password x\n")
    passwords.chmod(0o600)
    encoded = "bWU6YS10b2tlbi10aGF0LW11c3Qtbm90LWxlYWs="
    with run_guarded(folder, tmp_path / "log", header="Authorization", value=f"Basic {encoded}") as server:
        (tmp_path / "led.json").write_text(lead_to(folder, server.url))
        done = set_and_run(monkeypatch, {"NETRC": str(passwords)}, tmp_path, "led.json")
    assert done.code == 0, done.stderr
    assert read_files(tmp_path / "out" / "m")["mosaic.tif"] == plain
    assert_nothing_leaked(done, tmp_path)


@pytest.mark.parametrize("header", ["Authorization", "X-Api-Key"])
def test_keys_are_not_sent_along_a_redirect(
    header: str, folder: Path, plain: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        run_guarded(folder, tmp_path / "there", header=header, value="") as there,
        run_guarded(folder, tmp_path / "log", header=header, value=SECRET, send_on=there.url) as server,
    ):
        (tmp_path / "led.json").write_text(lead_to(folder, server.url))
        done = set_and_run(monkeypatch, {"GDAL_HTTP_HEADERS": f"{header}: {SECRET}"}, tmp_path, "led.json", OPEN)
        assert done.code == 0, done.stderr
        assert list_keys(server) == {SECRET}
        assert list_keys(there) == {""}
    assert read_files(tmp_path / "out" / "m")["mosaic.tif"] == plain


@pytest.mark.parametrize("name", ["GDAL_HTTP_BEARER", "GDAL_HTTP_HEADERS"])
def test_keys_are_not_sent_to_hosts_that_nobody_named(
    name: str, folder: Path, stranger: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document from one server that leads to another does not take the keys there."""
    served = tmp_path / "served"
    served.mkdir()
    (served / "led.json").write_text(lead_to(folder, stranger.url))
    with run_guarded(served, tmp_path / "log", **BEARER) as server:
        text = SECRET if name == "GDAL_HTTP_BEARER" else f"Authorization: Bearer {SECRET}"
        done = set_and_run(monkeypatch, {name: text}, tmp_path, f"{server.url}/led.json", OPEN)
        assert done.code == 0, done.stderr
        assert list_keys(server) == {BEARER["value"]}
    assert list_keys(stranger) == {""}


def test_hosts_that_are_named_get_keys_and_no_others(
    folder: Path, stranger: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "led.json").write_text(lead_to(folder, stranger.url))
    done = set_and_run(monkeypatch, {"GDAL_HTTP_BEARER": SECRET}, tmp_path, "led.json", "--io.http_hosts", "data.example.org")
    assert done.code == 0, done.stderr
    assert list_keys(stranger) == {""}
    with run_guarded(folder, tmp_path / "log", **BEARER) as server:
        (tmp_path / "led.json").write_text(lead_to(folder, server.url))
        done = run(tmp_path, "led.json", "--io.http_hosts", "data.example.org", output="other")
        assert done.code == 13
        assert "--io.http_hosts" in done.events[-1]["message"]


def test_a_search_gets_the_keys_of_its_host(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with run_api() as api, run_guarded(folder, tmp_path / "log", **BEARER) as server:
        api.links = [make_search_link(f"{api.url}/search", "GET")]
        items = json.loads(lead_to(folder, server.url))["features"]
        api.items = {item["id"]: item for item in items}
        api.say("GET", "/search", Said(status=429, body={"description": f"{SECRET} asks too often"}))
        monkeypatch.setenv("GDAL_HTTP_BEARER", SECRET)
        hosts = f"{server.url},{api.url}"
        done = run(tmp_path, f"--api={api.url}", OPEN, "--io.http_hosts", hosts)
        assert done.code == 0, done.stderr
        assert {asked.headers.get("Authorization") for asked in api.asked} == {f"Bearer {SECRET}"}
    assert_nothing_leaked(done, tmp_path)


@pytest.mark.parametrize("executor", ["local", "tasks"])
@pytest.mark.parametrize(
    "rules", [BEARER, {**BEARER, "page": True}, {"header": "X", "value": "", "missing": True}], ids=["401", "login page", "404"]
)
def test_an_alternate_is_read_where_the_file_is_not_given(
    rules: dict[str, Any], executor: str, folder: Path, plain: bytes, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    missing = rules.get("missing")
    with (
        run_guarded(empty if missing else folder, tmp_path / "log", **rules) as server,
        run_web(folder, tmp_path / "web") as web,
    ):
        led = lead_to(folder, server.url, alternate=lambda name: {"mirror": {"href": f"{web.url}/{name}"}})
        (tmp_path / "led.json").write_text(led)
        done = run(tmp_path, "led.json", "--executor", executor)
        assert done.code == 0, done.stderr
        (tmp_path / "none.json").write_text(lead_to(folder, server.url))
        alone = run(tmp_path, "none.json", output="none")
    assert read_files(tmp_path / "out" / "m")["mosaic.tif"] == plain
    told = [event["message"] for event in done.events if event["event"] == "alternate-read"]
    assert len(told) == 3
    assert all(f"its alternate {web.url}/" in text for text in told)
    assert alone.code == 13
    assert ("HTML: a login page?" in alone.events[-1]["message"]) == bool(rules.get("page"))


def test_the_alternate_that_is_asked_for_is_read_first(folder: Path, plain: bytes, tmp_path: Path) -> None:
    with run_web(folder, tmp_path / "web") as web, run_web(folder, tmp_path / "mirror") as mirror:
        led = lead_to(folder, web.url, alternate=lambda name: {"mirror": {"href": f"{mirror.url}/{name}"}})
        (tmp_path / "led.json").write_text(led)
        done = run(tmp_path, "led.json", "--inputs.alternate", "mirror")
        assert done.code == 0, done.stderr
        assert web.take_counts() == []
        assert mirror.take_counts() != []
    assert read_files(tmp_path / "out" / "m")["mosaic.tif"] == plain


def test_a_document_that_is_a_login_page_is_called_that(folder: Path, tmp_path: Path) -> None:
    with run_guarded(folder, tmp_path / "log", **BEARER, page=True) as server:
        done = run(tmp_path, f"{server.url}/items.json")
    assert done.code == 13
    assert "HTML: a login page?" in done.events[-1]["message"]
