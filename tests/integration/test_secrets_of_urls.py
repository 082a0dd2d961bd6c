"""Signed URLs and passwords in URLs open what they are for and are told nowhere, also where a server refuses them half way."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import pytest
from commands import Finished, call_command, make_items, read_files, run_command
from loopback import Fault
from outcomes import leaving_out_drawings
from servers import run_proxy, run_web
from shapely import box

import processor.execution.run as runs

pytestmark = pytest.mark.server

SECRET = "s3cr3tOfUrls"  # noqa: S105 - made up
SIGNED = f"?X-Amz-Signature={SECRET}&sig={SECRET}&token={SECRET}&se=2999-01-01"


def assert_nothing_left(done: Finished, folder: Path) -> None:
    """Nothing of the secret in all that left, but for what the run keeps for itself."""
    assert SECRET not in done.stdout
    assert SECRET not in done.stderr
    for name in ("out", "scratch"):
        for path, data in read_files(folder / name).items():
            assert SECRET.encode() not in data, path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes, a configuration and an area of interest."""
    folder = tmp_path_factory.mktemp("served")
    make_items(folder, edge=120)
    geopandas.GeoDataFrame(geometry=[box(500_020, 5_299_820, 500_180, 5_299_980)], crs=32633).to_file(folder / "aoi.gpkg")
    (folder / "c.yaml").write_text("local_block_adjustment: {alpha: 0.8}\n")
    return folder


@pytest.mark.parametrize("user", ["", f"me:{SECRET}@"])
def test_files_behind_signed_urls_are_read_and_the_signatures_told_nowhere(user: str, served: Path, tmp_path: Path) -> None:
    with run_web(served, tmp_path / "log") as web:
        base = web.url.replace("http://", f"http://{user}")
        document = json.loads((served / "items.json").read_text())
        for feature in document["features"]:
            feature["assets"]["image"]["href"] = f"{web.url}/{feature['id']}.tif{SIGNED}"
            feature["properties"]["title"] = f"from {web.url}/{feature['id']}.tif{SIGNED}"
        (tmp_path / "led.json").write_text(json.dumps(document))
        done = call_command(
            "run",
            "led.json",
            *("--output", "out", "--item-id", "m", "--config", f"{base}/c.yaml{SIGNED}"),
            *("--voronoi_center_seamline.aoi_path", f"{base}/aoi.gpkg{SIGNED}"),
            *("--mask_rasters.vector_mask", f"[include, '{base}/aoi.gpkg{SIGNED}']"),
            cwd=tmp_path,
            scratch=tmp_path / "scratch",
        )
    assert done.code == 0, done.stderr
    assert "alpha: 0.8" in (tmp_path / "out" / "m" / "config.yaml").read_text()
    assert "aoi.gpkg" in (tmp_path / "out" / "m" / "config.yaml").read_text()
    assert_nothing_left(done, tmp_path)


@pytest.mark.parametrize("executor", ["local", "tasks"])
@pytest.mark.parametrize("status", [403, 500])
def test_a_server_that_refuses_half_way_leaves_no_signature_in_the_log(
    status: int, executor: str, served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GDAL warns with whole URLs of its own accord."""
    with run_web(served, tmp_path / "log") as web, run_proxy(web.url, tmp_path / "proxy") as proxy:
        document = json.loads((served / "items.json").read_text())
        for feature in document["features"]:
            feature["assets"]["image"]["href"] = f"{proxy.url}/{feature['id']}.tif{SIGNED}"
        (tmp_path / "led.json").write_text(json.dumps(document))
        opened, plan = [], runs.plan_run

        def refuse_from_now_on(*arguments: object) -> object:
            if not opened:
                proxy.set_faults(Fault(kind="status", status=status, code="AccessDenied", path="b.tif"))
            opened.append(1)
            return plan(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(runs, "plan_run", refuse_from_now_on)
        with leaving_out_drawings():
            words = ("run", "led.json", "--output", "out", "--item-id", "m", "--io.retries", "1", "--executor", executor)
            done = call_command(*words, cwd=tmp_path, scratch=tmp_path / "scratch")
        assert opened
        assert proxy.count_faults()
    assert done.code == (13 if status == 403 else 1), done.stderr
    assert_nothing_left(done, tmp_path)


def test_gdal_says_nothing_beside_the_log_in_a_process_of_its_own(served: Path, tmp_path: Path) -> None:
    """What C code writes to standard error is seen from outside only."""
    with run_web(served, tmp_path / "log") as web, run_proxy(web.url, tmp_path / "proxy") as proxy:
        document = json.loads((served / "items.json").read_text())
        for feature in document["features"]:
            feature["assets"]["image"]["href"] = f"{proxy.url}/{feature['id']}.tif{SIGNED}"
        (tmp_path / "led.json").write_text(json.dumps(document))
        for number, fault in enumerate((Fault(kind="truncated", methods=("GET",)), Fault(kind="status", status=403))):
            proxy.set_faults(fault)
            words = ("run", "led.json", "--output", "out", "--item-id", f"m{number}", "--io.retries", "1")
            done = run_command(*words, cwd=tmp_path, scratch=tmp_path / "scratch")
            assert done.code in {1, 13}
            assert done.events  # each line is JSON
            assert_nothing_left(done, tmp_path)
