"""References of every kind through the command, in one process and by tasks: the same bytes, and the ground comes out."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from commands import CREATED, call_command, read_files
from effort import exhaustive
from known_truth import draw_fields
from numpy.typing import NDArray
from outcomes import leaving_out_drawings, write_vectors
from rasterio.io import MemoryFile
from rasterio.transform import Affine
from rasterio.warp import Resampling, reproject, transform_bounds
from rasterio.warp import transform as transform_points
from scenes import LEFT, TOP, UTM, write_items, write_scene
from stac_api import run_api
from task_processes import KILLED, open_nursery

from processor.geotiff.reader import RasterReader
from processor.model import Scene, Window

F64 = NDArray[np.float64]
BANDS = ("red", "green", "blue")
EDGE, STEP, CELL = 200, 120, 8
SIDE = EDGE + STEP
PLACES = {"a": (0, 0), "b": (0, STEP), "c": (STEP, 0), "d": (STEP, STEP)}
GAINS = {"a": (1.0, 0.0), "b": (1.15, -60.0), "c": (0.9, 80.0), "d": (1.05, 30.0)}
CLOUD = np.s_[8:24, 10:26]  # a sixth of the reference
SECRET = "sv=2024&sig=s3cr3tS1gnature"  # noqa: S105 - made up


@pytest.fixture(scope="module")
def ground() -> F64:
    return draw_fields()[:, 100 : 100 + SIDE, 100 : 100 + SIDE]


@pytest.fixture(scope="module")
def items(ground: F64, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four scenes, each with a gain and an offset of its own."""
    folder = tmp_path_factory.mktemp("scenes")
    paths = []
    for name, (row, col) in PLACES.items():
        gain, offset = GAINS[name]
        pixels = ground[:, row : row + EDGE, col : col + EDGE] * gain + offset
        place = {"left": LEFT + col, "top": TOP - row}
        paths.append(write_scene(folder / f"{name}.tif", pixels, dtype="uint16", descriptions=BANDS, **place))
    return write_items(folder, paths, bands=BANDS)


@pytest.fixture(autouse=True)
def _without_drawings() -> Iterator[None]:
    with leaving_out_drawings():
        yield


def average(ground: F64, cell: int = CELL) -> F64:
    bands, height, width = ground.shape
    return np.asarray(ground.reshape(bands, height // cell, cell, width // cell, cell).mean(axis=(2, 4)))


def write_reference(path: Path, coarse: F64, **options: Any) -> Path:
    given = {"pixel": float(CELL), "nodata": None, "descriptions": BANDS[: len(coarse)], **options}
    return write_scene(path, coarse.astype(np.float32), **given)


def run_both(items: Path | str, folder: Path, *flags: str, preset: str = "satellite") -> dict[str, bytes]:
    """What one process publishes, which is what tasks do; nothing that it says or publishes holds a signature."""
    made = {}
    for executor in ("local", "tasks"):
        place = folder / executor
        place.mkdir(parents=True)
        words = ("run", str(items), "--output", "out", "--item-id", "m", "--created", CREATED, "--preset", preset)
        done = call_command(*words, "--executor", executor, *flags, cwd=place, scratch=folder / "scratch")
        assert done.code == 0, done.stderr
        made[executor] = {
            name: data.replace(str(place).encode(), b"PLACE") for name, data in read_files(place / "out" / "m").items()
        }
        told = (done.stdout + done.stderr).encode() + b"".join(made[executor].values())
        assert b"s3cr3tS1gnature" not in told
    untimed = {"traffic.json"}
    assert sorted(made["tasks"]) == sorted(made["local"])
    assert [name for name, data in made["tasks"].items() if data != made["local"][name] and name not in untimed] == []
    return made["local"]


def read_mosaic(files: dict[str, bytes]) -> F64:
    with MemoryFile(files["mosaic.tif"]) as memory, memory.open() as raster:
        return np.asarray(raster.read().astype(np.float64))


def compute_error(files: dict[str, bytes], ground: F64) -> float:
    """RMS of the difference to the ground, in its standard deviations, mean over bands."""
    difference = read_mosaic(files) - ground
    return float(np.mean(np.sqrt((difference**2).mean(axis=(1, 2))) / ground.std(axis=(1, 2))))


# What of a reference does not count


def test_a_mask_of_the_reference_hides_its_clouds(items: Path, ground: F64, tmp_path: Path) -> None:
    coarse = average(ground)
    coarse[:, *CLOUD] = 400  # dark, so that nothing else tells
    sensor = write_reference(tmp_path / "known" / "sensor.tif", coarse)
    classes = np.full((1, *coarse.shape[1:]), 4, np.uint8)
    classes[:, *CLOUD] = 9
    write_scene(tmp_path / "known" / "classes.tif", classes, pixel=float(CELL), nodata=None)
    known = write_items(tmp_path / "known", [sensor], bands=BANDS)
    document = json.loads(known.read_text())
    document["features"][0]["assets"]["SCL"] = {"href": "./classes.tif", "type": "image/tiff", "roles": ["data-mask"]}
    known.write_text(json.dumps(document))
    flags = ("--reference", str(known), "--reference.asset", "image", "--reference.mask", "{asset: SCL, invalid: [9]}")
    assert compute_error(run_both(items, tmp_path / "masked", *flags), ground) < 0.03


@pytest.mark.parametrize("declared", [True, False])
def test_a_reference_has_a_nodata_value_of_its_own(declared: bool, items: Path, ground: F64, tmp_path: Path) -> None:
    coarse = average(ground)
    coarse[:, *CLOUD] = -5
    sensor = write_reference(tmp_path / "sensor.tif", coarse, nodata=-5.0 if declared else None)
    flags = () if declared else ("--reference.nodata", "-5")
    files = run_both(items, tmp_path / "run", "--reference", str(sensor), *flags)
    assert compute_error(files, ground) < 0.03


def test_a_vector_mask_limits_what_is_compared_with_a_reference(items: Path, ground: F64, tmp_path: Path) -> None:
    """Beyond the mask the reference shows a ground that nobody has: it decides nothing."""
    coarse = average(ground)
    coarse[:, :, coarse.shape[2] // 2 + 2 :] *= 1.6
    sensor = write_reference(tmp_path / "sensor.tif", coarse)
    left_half = shapely.box(LEFT - 1, TOP - SIDE - 1, LEFT + SIDE // 2, TOP + 1)
    mask = write_vectors(tmp_path / "mask.gpkg", {"all": left_half})
    flags = ("--reference", str(sensor), "--robust_regression.vector_mask", f"[include, {mask}]")
    made = read_mosaic(run_both(items, tmp_path / "masked", *flags))
    wrong = read_mosaic(run_both(items, tmp_path / "whole", "--reference", str(sensor)))
    right = np.s_[:, :, SIDE // 2 + 40 :]
    assert np.abs(made[right] / ground[right] - 1).mean() < 0.1
    assert np.abs(wrong[right] / ground[right] - 1).mean() > 0.4


# What references are like


def test_one_scene_alone_is_brought_to_the_reference(items: Path, ground: F64, tmp_path: Path) -> None:
    sensor = write_reference(tmp_path / "sensor.tif", average(ground))
    files = run_both(items.parent / "b.tif", tmp_path / "run", "--reference", str(sensor))
    assert compute_error(files, ground[:, :EDGE, STEP:]) < 0.03
    findings = {one["code"] for one in json.loads(files["report.json"])["findings"]}
    assert not {code for code in findings if code.startswith("reference")}


def test_a_reference_lies_in_another_crs(items: Path, ground: F64, tmp_path: Path) -> None:
    beyond, pixel = 40, 12.0
    wide = np.pad(ground, ((0, 0), (beyond, beyond), (beyond, beyond)), mode="edge").astype(np.float32)
    corner = LEFT - beyond, TOP + beyond
    left, bottom, right, top = transform_bounds(
        UTM, "EPSG:3857", corner[0], corner[1] - len(wide[0]), corner[0] + len(wide[0]), corner[1]
    )
    there = Affine(pixel, 0, left, 0, -pixel, top)
    coarse = np.full((3, int((top - bottom) / pixel), int((right - left) / pixel)), -1.0, np.float32)
    place = {"src_transform": Affine(1, 0, corner[0], 0, -1, corner[1]), "src_crs": UTM, "dst_transform": there}
    reproject(wide, coarse, **place, dst_crs="EPSG:3857", resampling=Resampling.average, dst_nodata=-1.0)
    sensor = write_reference(tmp_path / "sensor.tif", coarse, crs="EPSG:3857", transform=there, nodata=-1.0)
    assert compute_error(run_both(items, tmp_path / "run", "--reference", str(sensor)), ground) < 0.05


def test_a_reference_of_few_large_pixels_holds_the_levels(items: Path, ground: F64, tmp_path: Path) -> None:
    """16 pixels, each of 6,400 of the scenes'; 1,000 times as coarse a side is in test_reference_runs."""
    sensor = write_reference(tmp_path / "sensor.tif", 2 * average(ground, 80), pixel=80.0)
    files = run_both(items, tmp_path / "run", "--reference", str(sensor), "--shared.output_dtype", "uint16")
    np.testing.assert_allclose(average(read_mosaic(files), 80), 2 * average(ground, 80), rtol=0.04)


# Where references come from


@pytest.fixture
def tiles(ground: F64, tmp_path: Path) -> list[Path]:
    """The reference in three tiles."""
    coarse = average(ground)
    width = coarse.shape[2]
    cuts = [0, width // 3, 2 * width // 3, width]
    return [
        write_reference(tmp_path / "web" / f"tile{number}.tif", coarse[:, :, start:end], left=LEFT + start * CELL)
        for number, (start, end) in enumerate(pairwise(cuts))
    ]


@contextmanager
def serve(folder: Path, *, signed: bool = False) -> Iterator[str]:
    """A web server of a folder, which gives rasters to those who sign, if that is said."""

    class Handler(SimpleHTTPRequestHandler):
        def send_head(self) -> Any:
            if signed and self.path.endswith(".tif"):
                self.send_error(403)
                return None
            self.path = self.path.partition("?")[0]
            return super().send_head()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_item_alone_and_items_of_other_sizes_are_references(
    items: Path, ground: F64, tiles: list[Path], tmp_path: Path
) -> None:
    folder = tiles[0].parent
    collection = write_items(folder, tiles, bands=BANDS)
    assert compute_error(run_both(items, tmp_path / "items", "--reference", str(collection)), ground) < 0.03
    whole = write_reference(folder / "whole.tif", average(ground))
    (feature,) = json.loads(write_items(folder, [whole], bands=BANDS, name="one.json").read_text())["features"]
    (folder / "item.json").write_text(json.dumps(feature))
    files = run_both(items, tmp_path / "item", "--reference", str(folder / "item.json"))
    assert compute_error(files, ground) < 0.03
    links = [link for link in json.loads(files["m.json"])["links"] if link["rel"] == "via"]
    assert [link["title"] for link in links] == ["reference:whole"]


def write_remote(tiles: list[Path], url: str, query: str) -> Path:
    """Items of the tiles on a server."""
    collection = write_items(tiles[0].parent, tiles, bands=BANDS, name="remote.json")
    document = json.loads(collection.read_text())
    for feature, path in zip(document["features"], tiles, strict=True):
        feature["assets"]["image"]["href"] = f"{url}/{path.name}{query}"
    collection.write_text(json.dumps(document))
    return collection


def test_references_over_http_are_read(items: Path, ground: F64, tiles: list[Path], tmp_path: Path) -> None:
    write_items(tiles[0].parent, tiles, bands=BANDS)
    with serve(tiles[0].parent) as url:
        files = run_both(items, tmp_path / "items", "--reference", str(write_remote(tiles, url, "")))
        whole = run_both(items, tmp_path / "remote", "--reference", f"{url}/items.json")
    assert compute_error(files, ground) < 0.03
    assert whole["mosaic.tif"] == files["mosaic.tif"]


@pytest.mark.parametrize("kind", ["items", "rasters"])
@pytest.mark.parametrize("section", ["reference", "check"])
def test_signatures_of_hrefs_are_told_nowhere(kind: str, section: str, items: Path, tiles: list[Path], tmp_path: Path) -> None:
    with serve(tiles[0].parent, signed=True) as url:
        images = str(write_remote(tiles, url, f"?{SECRET}")) if kind == "items" else f"{url}/{tiles[0].name}?{SECRET}"
        words = ("run", str(items), "--output", "out", "--item-id", "m", "--preset", "satellite", f"--{section}", images)
        done = call_command(*words, cwd=tmp_path, scratch=tmp_path / "scratch")
        assert done.code == 0, done.stderr
        published = read_files(tmp_path / "out")
        assert "m/m.json" in published
        refused = call_command(*words, "--overwrite", "--executor", "tasks", cwd=tmp_path, scratch=tmp_path / "scratch")
    assert refused.code == 2
    assert f"or use --{section}.sign" in refused.events[-1]["message"]
    told = (done.stdout + done.stderr + refused.stdout + refused.stderr).encode()
    assert b"s3cr3tS1gnature" not in told + b"".join(published.values()) + b"".join(read_files(tmp_path / "out").values())


def test_signatures_of_other_files_are_told_nowhere_either(items: Path, tmp_path: Path) -> None:
    place = {"cwd": tmp_path, "scratch": tmp_path / "scratch"}
    words = ("run", str(items), "--output", "out", "--item-id")
    assert call_command(*words, "first", **place).code == 0
    with serve(tmp_path / "out" / "first") as url:
        flags = ("--global_regression.load_adjustments", f"{url}/adjustments.json?{SECRET}")
        done = call_command(*words, "again", *flags, **place)
        assert done.code == 0, done.stderr
        again = call_command(*words, "again", flags[0], flags[1].replace("s3cr3tS1gnature", "another"), **place)
        refused = call_command(*words, "third", *flags, "--executor", "tasks", **place)
    assert refused.code == 2
    assert "global_regression.load_adjustments is a signed URL" in refused.events[-1]["message"]
    assert again.code == 0, again.stderr
    assert "already-done" in [event["event"] for event in again.events]  # a signature decides nothing
    told = (done.stdout + done.stderr + refused.stdout + refused.stderr).encode()
    assert b"s3cr3tS1gnature" not in told + b"".join(read_files(tmp_path / "out").values())


def test_a_search_finds_references_on_all_of_its_pages(items: Path, ground: F64, tiles: list[Path], tmp_path: Path) -> None:
    document = json.loads(write_items(tiles[0].parent, tiles, bands=BANDS).read_text())
    for feature, path in zip(document["features"], tiles, strict=True):
        feature["collection"] = "sensor"
        feature["assets"]["image"]["href"] = str(path)
    with run_api() as api:
        api.items = {feature["id"]: feature for feature in document["features"]}
        flags = ("--reference", f"{api.url}/search?collections=sensor&bbox=14,47,16,48", "--reference.allow_local_files")
        files = run_both(items, tmp_path / "run", *flags)
        asked = [one.body for one in api.asked if one.path == "/search" and one.body]
    assert {"collections": ["sensor"], "bbox": [14.0, 47.0, 16.0, 48.0]}.items() <= asked[0].items()
    assert compute_error(files, ground) < 0.03
    links = [link["title"] for link in json.loads(files["m.json"])["links"] if link["rel"] == "via"]
    assert links == ["reference:tile0", "reference:tile1", "reference:tile2"]


def test_a_page_of_references_that_is_not_the_last_is_told(items: Path, tiles: list[Path], tmp_path: Path) -> None:
    collection = write_items(tiles[0].parent, tiles, bands=BANDS)
    document = json.loads(collection.read_text())
    document["links"] = [{"rel": "next", "href": "https://api.example.org/search?page=2"}]
    collection.write_text(json.dumps(document))
    files = run_both(items, tmp_path / "run", "--reference", str(collection))
    told = [finding["message"] for finding in json.loads(files["report.json"])["findings"]]
    assert any(message.startswith("reference: ") and "page" in message for message in told)


# What reading one may take


@pytest.mark.slow
@pytest.mark.parametrize("crs", [UTM, *exhaustive("EPSG:32634")])
def test_of_a_reference_of_400_million_pixels_what_the_scenes_need_is_read_piece_by_piece(
    crs: str, ground: F64, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pixels are 50 times finer than the scenes', so that a scene of 60 pixels lies on 3,000 of it."""
    size, factor, side = 20_000, 50, 60
    scene = write_scene(tmp_path / "scenes" / "s.tif", ground[:, :side, :side] * 1.2, dtype="uint16", descriptions=BANDS)
    folder = tmp_path / "known"
    folder.mkdir()
    transform = Affine(1 / factor, 0, LEFT, 0, -1 / factor, TOP)
    options: dict[str, Any] = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "sparse_ok": True}
    if crs != UTM:
        left, top = (values[0] for values in transform_points(UTM, crs, [LEFT], [TOP])[:2])
        transform = Affine(1 / factor, 0, left - 30, 0, -1 / factor, top + 30)
    options |= {"width": size, "height": size, "count": 3, "dtype": "uint16", "nodata": 0}
    with rasterio.open(folder / "fine.tif", "w", driver="GTiff", crs=crs, transform=transform, **options) as raster:
        rows, cols = np.indices((6000, 6000))
        x, y = transform.c + (cols + 0.5) / factor, transform.f - (rows + 0.5) / factor
        if crs != UTM:
            x, y = (np.reshape(axis, x.shape) for axis in transform_points(crs, UTM, x.ravel(), y.ravel())[:2])
        row = np.floor(TOP - y).astype(int)
        col = np.floor(x - LEFT).astype(int)
        known = (row >= 0) & (col >= 0) & (row < side + 20) & (col < side + 20)
        raster.write(
            np.where(known, ground[:, row.clip(0, SIDE - 1), col.clip(0, SIDE - 1)], 0).astype(np.uint16),
            window=((0, 6000), (0, 6000)),
        )
    sizes: list[int] = []
    read = RasterReader.read

    def watch(self: RasterReader, scene: Scene, window: Window, *, level: int | None = None) -> Any:
        if scene.name.startswith("reference:") and not scene.parts:
            sizes.append(window.height * window.width)
        return read(self, scene, window, level=level)

    monkeypatch.setattr(RasterReader, "read", watch)
    files = run_both(scene.parent, tmp_path / "run", "--reference", str(folder / "fine.tif"), "--shared.memory", "0.25")
    assert compute_error(files, ground[:, :side, :side]) < 0.05
    assert max(sizes) < 2500**2  # the pixels of 2,048 and a kernel around them
    assert sum(sizes) < 2 * 3 * 2 * (factor * side) ** 2  # of two runs, in three files of a band each


@pytest.mark.slow
def test_a_run_killed_while_it_measures_against_a_reference_comes_out_the_same(
    items: Path, ground: F64, tmp_path: Path
) -> None:
    sensor = write_reference(tmp_path / "sensor.tif", average(ground))
    target = ("--output", "out", "--item-id", "m", "--created", CREATED, "--preset", "satellite", "--reference", str(sensor))
    with open_nursery(tmp_path / "nursery") as nursery:
        made = {}
        for name, executor, die_at in (("plain", "local", 0), ("local", "local", 6), ("tasks", "tasks", 7)):
            place = tmp_path / "work" / name
            place.mkdir(parents=True)
            words = ("run", str(items), *target, "--executor", executor)
            if die_at:
                assert nursery.run(*words, cwd=place, die_at=die_at).code == KILLED
                assert "m/m.json" not in read_files(place / "out")
                assert "m/mosaic.tif" not in read_files(place / "out")
            done = nursery.run(*words, cwd=place)
            assert done.code == 0, done.stderr
            files = read_files(place / "out" / "m")
            made[name] = {key: data.replace(str(place).encode(), b"PLACE") for key, data in files.items()}
    for name in ("local", "tasks"):
        assert sorted(made[name]) == sorted(made["plain"])
        assert [key for key, data in made[name].items() if data != made["plain"][key]] == []
