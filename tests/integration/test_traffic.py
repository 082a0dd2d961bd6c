"""What a run asks of an S3 server, counted before the server: no more bytes than its windows need, in large requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from commands import Finished, call_command, make_items
from effort import exhaustive
from passes import measure_and_solve, open_bench, render_mosaic
from scenes import LEFT, TOP, write_scene
from servers import ObjectServer, run_proxy, s3_access

from processor.config import load_config
from processor.geotiff.compose import Pixels
from processor.geotiff.gdal import GdalReader
from processor.geotiff.open import open_scene
from processor.geotiff.range_cache import RangeCache
from processor.geotiff.reader import RasterReader
from processor.model import RasterRef, Scene, SceneRef, Window
from processor.mosaic.planning import plan_run
from processor.scenes.unify import unify_scenes
from processor.scenes.user_files import read_user_files
from processor.storage.options import Access
from processor.storage.store import Store

pytestmark = [pytest.mark.server, pytest.mark.slow]

EDGE, BLOCK = 2048, 512
CORNERS = {"a": (0, 0), "b": (100, 1500), "c": (1600, 700)}
CACHE = 32 << 20  # bytes: less than half of what the scenes are when they are decoded
MOST_BYTES = 1.1  # times the compressed bytes of the blocks that a pass needs
LEAST_REQUEST = 256 * 2**10  # bytes, on average


@dataclass(slots=True)
class Needed:
    """Blocks that a pass reads: (scene, overview or None, row, column)."""

    blocks: set[tuple[str, int | None, int, int]] = field(default_factory=set)

    def count_bytes(self, folder: Path) -> int:
        """Their compressed size, as the files' own tables have it."""
        total = 0
        for name in sorted(CORNERS):
            with rasterio.open(folder / f"{name}.tif") as raster:
                for scene, level, row, col in self.blocks:
                    if scene == name:
                        total += int(raster.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=1, ovr=level))
        return total


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three COGs of 2048 x 2048 x 3, with the noise of real scenes, so that they are as hard to compress."""
    folder = tmp_path_factory.mktemp("traffic")
    for seed, (name, (row, col)) in enumerate(CORNERS.items()):
        noise = np.random.default_rng(seed)
        y, x = np.mgrid[row : row + EDGE, col : col + EDGE]
        truth = 2000 + 500 * np.sin(x / 200) + 300 * np.cos(y / 150)
        array = np.stack([truth * (1 + 0.1 * band) + noise.normal(0, 30, truth.shape) for band in range(3)])
        plain = write_scene(folder / "plain" / f"{name}.tif", array, left=LEFT + col, top=TOP - row, dtype="uint16")
        rasterio.shutil.copy(
            plain, folder / f"{name}.tif", driver="COG", compress="deflate", predictor=2, blocksize=BLOCK, level=1
        )
        plain.unlink()
    return folder


@contextmanager
def watching(monkeypatch: pytest.MonkeyPatch) -> Iterator[Needed]:
    """Note the blocks of every window that is read from a file."""
    needed, read = Needed(), RasterReader._read_once

    def spy(self: RasterReader, scene: Scene, window: Window, level: int | None) -> Pixels:
        for row in range(window.row // BLOCK, (window.row_end - 1) // BLOCK + 1):
            for col in range(window.col // BLOCK, (window.col_end - 1) // BLOCK + 1):
                needed.blocks.add((scene.name, level, row, col))
        return read(self, scene, window, level)

    with monkeypatch.context() as patch:
        patch.setattr(RasterReader, "_read_once", spy)
        yield needed


def check(sizes: list[int], needed: Needed, folder: Path) -> None:
    """Few bytes, in large requests; then begin anew."""
    assert sum(sizes) <= MOST_BYTES * needed.count_bytes(folder)
    assert sum(sizes) / len(sizes) >= LEAST_REQUEST
    needed.blocks.clear()


@pytest.mark.parametrize(
    ("estimate", "backend"), [(True, "gdal"), *exhaustive((True, "fsspec"), (False, "gdal"), (False, "fsspec"))]
)
def test_each_pass_reads_what_it_needs_in_large_requests(
    s3_server: ObjectServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, estimate: bool
) -> None:
    s3_server.put_folder(folder, "traffic")
    flags = {"global_regression.estimate_stats": estimate}
    config = load_config(flags=flags, environment={})
    with run_proxy(s3_server.endpoint, tmp_path / "log") as proxy, watching(monkeypatch) as needed:
        access = s3_access(proxy.url, backend=backend)
        refs = [RasterRef(href=f"{s3_server.base}/traffic/{name}.tif") for name in CORNERS]
        scene_refs = [SceneRef(name=name, priority=0, rasters=(ref,)) for name, ref in zip(CORNERS, refs, strict=True)]
        opened = [open_scene(ref, access=access) for ref in scene_refs]
        scenes = unify_scenes(opened, config).scenes
        plan = plan_run(scenes, config, read_user_files(scenes, config, Store()))
        assert all((level is not None) == estimate for level in plan.levels)
        proxy.take_counts()
        with open_bench(plan, tmp_path, cache_bytes=CACHE, threads=2, access=access) as bench:
            with bench.reading("test") as reader:
                before = reader.count_traffic()
                measures, solution = measure_and_solve(plan, bench)
                told = reader.count_traffic().minus(before)
            sizes = proxy.take_sizes()
            assert told.bytes == sum(sizes)
            check(sizes, needed, folder)
            with render_mosaic(plan, measures, solution, bench):
                check(proxy.take_sizes(), needed, folder)


@pytest.mark.exhaustive
@pytest.mark.parametrize("backend", ["gdal", "fsspec"])
@pytest.mark.parametrize("room", [10**9, 4 << 20])
def test_what_the_first_pass_read_is_not_fetched_again(
    s3_server: ObjectServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, room: int
) -> None:
    s3_server.put_folder(folder, "kept")
    config = load_config(flags={"global_regression.estimate_stats": False}, environment={})

    def render(base: str, access: Access, kept: RangeCache | None, scratch: Path) -> tuple[list[list[int]], list[bytes]]:
        refs = [SceneRef(name=name, priority=0, rasters=(RasterRef(href=f"{base}/{name}.tif"),)) for name in CORNERS]
        scenes = unify_scenes([open_scene(ref, access=access) for ref in refs], config).scenes
        plan = plan_run(scenes, config, read_user_files(scenes, config, Store()))
        sizes = []
        with open_bench(plan, scratch, cache_bytes=CACHE, threads=2, access=access, range_cache=kept) as bench:
            proxy.take_counts()
            measures, solution = measure_and_solve(plan, bench)
            sizes.append(proxy.take_sizes())
            with render_mosaic(plan, measures, solution, bench) as rendered:
                sizes.append(proxy.take_sizes())
                return sizes, [block for level in range(4) for block in rendered.mosaic.iter_tiles(level)]

    with run_proxy(s3_server.endpoint, tmp_path / "log") as proxy, RangeCache(tmp_path / "ranges", room=room) as kept:
        for name in ("plain", "again"):
            (tmp_path / name).mkdir()
        _, expected = render(str(folder), Access(), None, tmp_path / "plain")
        with watching(monkeypatch) as needed:
            (first, second), blocks = render(
                f"{s3_server.base}/kept", s3_access(proxy.url, backend=backend), kept, tmp_path / "again"
            )
            least = needed.count_bytes(folder)
            check(first, needed, folder)
    assert blocks == expected
    if room == 10**9:
        assert second == []
        assert least <= kept.held <= MOST_BYTES * least
    else:  # the rest is fetched
        assert kept.held <= room
        assert sum(second) > 0


def test_every_task_that_reads_scenes_logs_what_that_took(s3_server: ObjectServer, tmp_path: Path) -> None:
    scenes = s3_server.put_folder(make_items(tmp_path / "in").parent, "traffic-tasks")
    output = f"{s3_server.base}/traffic-tasks-out"

    def call(*arguments: str) -> Finished:
        finished = call_command(*arguments, *s3_server.options, cwd=tmp_path, scratch=tmp_path / "scratch")
        assert finished.code == 0, finished.stderr
        return finished

    url = call("plan", f"{scenes}/items.json", "--output", output, "--item-id", "m").stdout.strip()
    for phase in ("measure", "solve", "render"):
        GdalReader(Access()).forget()  # a task is a process of its own, which has not planned
        events = [event for event in call("task", phase, "--run", url).events if event["event"] == "traffic"]
        assert [event["stage"] for event in events] == ([] if phase == "solve" else [phase])
        assert all(event["requests"] > 0 and event["bytes"] > 0 for event in events)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("options", "stages"), [((), ["measure"]), (("--shared.disk_cache", "null"), ["measure", "render"])])
def test_a_run_reads_the_network_once_unless_nothing_may_be_kept(
    s3_server: ObjectServer, folder: Path, tmp_path: Path, options: tuple[str, ...], stages: list[str]
) -> None:
    scenes = s3_server.put_folder(folder, "traffic-run")
    words = [f"{scenes}/{name}.tif" for name in CORNERS] + ["--output", str(tmp_path / "out"), "--item-id", "m"]
    words += ["--global_regression.estimate_stats", "false", "--shared.cache", "0.001", *options, *s3_server.options]
    finished = call_command("run", *words, cwd=tmp_path, scratch=tmp_path / "scratch")
    assert finished.code == 0, finished.stderr
    assert [event["stage"] for event in finished.events if event["event"] == "traffic"] == stages
