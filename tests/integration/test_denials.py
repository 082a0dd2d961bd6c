"""Servers that deny HEAD and allow GET, denials that stay, and signatures that have ended."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from commands import call_command, make_items, read_files
from loopback import Fault
from outcomes import leaving_out_drawings
from servers import run_guarded, run_proxy, run_web

pytestmark = pytest.mark.server


@pytest.mark.parametrize("executor", ["local", "tasks"])
def test_a_server_that_denies_head_is_read(executor: str, tmp_path: Path) -> None:
    items = make_items(tmp_path / "scenes", edge=60)
    with run_guarded(items.parent, tmp_path / "log", header="X", value="", no_head=True) as server:
        document = json.loads(items.read_text())
        for feature in document["features"]:
            asset = feature["assets"]["image"]
            asset["href"] = f"{server.url}/{asset['href'].removeprefix('./')}"
        (tmp_path / "led.json").write_text(json.dumps(document))
        begun = time.monotonic()
        with leaving_out_drawings():
            for name, inputs in (("led", "led.json"), ("plain", str(items))):
                flags = ("--output", name, "--item-id", "m", "--executor", executor)
                done = call_command("run", inputs, *flags, cwd=tmp_path, scratch=tmp_path / "scratch")
                assert done.code == 0, done.stderr
        assert time.monotonic() - begun < 60
    assert read_files(tmp_path / "led" / "m")["mosaic.tif"] == read_files(tmp_path / "plain" / "m")["mosaic.tif"]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_what_is_denied_or_missing_is_not_asked_for_again(status: int, tmp_path: Path) -> None:
    """A denial stays one; GDAL repeated it for more than a minute."""
    items = make_items(tmp_path / "scenes", edge=60)
    with run_web(items.parent, tmp_path / "log") as web, run_proxy(web.url, tmp_path / "proxy") as proxy:
        proxy.set_faults(Fault(kind="status", status=status, code="Denied", path="a.tif"))
        document = json.loads(items.read_text())
        for feature in document["features"]:
            feature["assets"]["image"]["href"] = f"{proxy.url}/{feature['id']}.tif"
        (tmp_path / "led.json").write_text(json.dumps(document))
        begun = time.monotonic()
        with leaving_out_drawings():
            done = call_command(
                "run", "led.json", "--output", "out", "--item-id", "m", cwd=tmp_path, scratch=tmp_path / "scratch"
            )
        assert done.code == 13
        assert time.monotonic() - begun < 20
        assert proxy.count_faults() <= 6


def test_a_signature_that_has_ended_is_called_that(tmp_path: Path) -> None:
    items = make_items(tmp_path / "scenes", edge=60)
    with run_guarded(items.parent, tmp_path / "log", header="X", value="never") as server:
        document = json.loads(items.read_text())
        for feature in document["features"]:
            feature["assets"]["image"]["href"] = f"{server.url}/{feature['id']}.tif?se=2024-06-01T10%3A00%3A00Z&sp=r&sig=SECRET"
        (tmp_path / "led.json").write_text(json.dumps(document))
        with leaving_out_drawings():
            done = call_command(
                "run", "led.json", "--output", "out", "--item-id", "m", cwd=tmp_path, scratch=tmp_path / "scratch"
            )
    assert done.code == 13
    assert "ended at 2024-06-01T10:00:00Z" in done.events[-1]["message"]
    assert "SECRET" not in done.stderr
