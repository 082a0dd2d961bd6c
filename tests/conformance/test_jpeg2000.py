"""JPEG 2000 as GeoTIFF: the same mosaic from lossless files, wherever they lie, and nothing followed that they name."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from commands import CREATED, Finished, call_command
from numpy.typing import NDArray
from rasterio.transform import Affine
from real_items import make_copernicus
from scenes import LEFT, TOP, write_items, write_scene
from servers import run_web

from processor.errors import InputError
from processor.geotiff.gdal import list_drivers
from processor.geotiff.open import OpenedScene, open_scene
from processor.geotiff.reader import RasterReader
from processor.model import RasterRef, SceneRef, Window

PIXEL = 10.0
GROUND = np.random.default_rng(7).integers(1000, 9000, (3, 300, 700)).astype("uint16")
GROUND[:, :40, :60] = 0
CUTS = {"a": np.s_[:, :, :400], "b": np.s_[:, :, 300:]}


def write_jpeg2000(path: Path, values: NDArray[Any], *, col: int = 0, crs: str | None = "EPSG:32633", **options: Any) -> Path:
    """Write a lossless JPEG 2000 file without sidecar, from this column of the ground on."""
    transform = Affine(PIXEL, 0, LEFT + col * PIXEL, 0, -PIXEL, TOP)
    options = {"QUALITY": 100, "REVERSIBLE": "YES", "BLOCKXSIZE": 128, "BLOCKYSIZE": 128, "RESOLUTIONS": 3, **options}
    with (
        rasterio.Env(GDAL_PAM_ENABLED="NO"),
        rasterio.open(
            path,
            "w",
            driver="JP2OpenJPEG",
            width=values.shape[2],
            height=values.shape[1],
            count=len(values),
            dtype=values.dtype,
            crs=crs,
            transform=transform,
            **options,
        ) as raster,
    ):
        raster.write(values)
    return path


def write_both(folder: Path) -> tuple[list[Path], list[Path]]:
    """Two scenes as GeoTIFF and as JPEG 2000, in a folder each."""
    (folder / "tif").mkdir(parents=True)
    (folder / "jp2").mkdir()
    geotiffs, others = [], []
    for name, cut in CUTS.items():
        col = cut[2].start or 0
        place = {"left": LEFT + col * PIXEL, "pixel": PIXEL, "nodata": None}
        geotiffs.append(write_scene(folder / "tif" / f"{name}.tif", GROUND[cut], **place))
        others.append(write_jpeg2000(folder / "jp2" / f"{name}.jp2", GROUND[cut], col=col))
    return geotiffs, others


def run(folder: Path, output: str, *arguments: str | Path) -> Finished:
    words = ("--output", str(folder / output), "--item-id", "m", "--created", CREATED, "--shared.custom_nodata_value", "0")
    words = (*words, "--global_regression.estimate_stats", "false")  # overviews of JPEG 2000 are no averages
    done = call_command("run", *map(str, arguments), *words, cwd=folder, scratch=folder / "scratch")
    assert done.code == 0, done.stderr
    return done


def read_mosaic(folder: Path, output: str) -> NDArray[Any]:
    with rasterio.open(folder / output / "m" / "mosaic.tif") as raster:
        pixels: NDArray[Any] = raster.read()
    return pixels


def open_file(href: Path | str, name: str = "a") -> OpenedScene:
    return open_scene(SceneRef(name=name, priority=0, rasters=(RasterRef(href=str(href)),)))


def test_a_folder_of_files_is_the_mosaic_of_the_same_geotiffs(tmp_path: Path) -> None:
    geotiffs, others = write_both(tmp_path)
    run(tmp_path, "expected", tmp_path / "tif")
    expected = read_mosaic(tmp_path, "expected")
    assert (expected[:, 100:] > 0).all()
    run(tmp_path, "folder", tmp_path / "jp2")
    np.testing.assert_array_equal(read_mosaic(tmp_path, "folder"), expected)
    run(tmp_path, "files", *others)
    run(tmp_path, "pattern", str(tmp_path / "jp2" / "*.jp2"))
    run(tmp_path, "tasks", *others, "--executor", "tasks")
    run(tmp_path, "mixed", geotiffs[0], others[1])
    for output in ("files", "pattern", "tasks", "mixed"):
        np.testing.assert_array_equal(read_mosaic(tmp_path, output), expected)


def test_items_of_jpeg_2000(tmp_path: Path) -> None:
    geotiffs, others = write_both(tmp_path)
    run(tmp_path, "expected", write_items(tmp_path, geotiffs))
    items = write_items(tmp_path, others, name="jp2.json")
    document = json.loads(items.read_text())
    for feature in document["features"]:
        feature["assets"]["image"]["type"] = "image/jp2"
    items.write_text(json.dumps(document))
    run(tmp_path, "items", items)
    np.testing.assert_array_equal(read_mosaic(tmp_path, "items"), read_mosaic(tmp_path, "expected"))


def test_items_of_the_copernicus_data_space(tmp_path: Path) -> None:
    """Bands in files of their own, by their common names, and nodata that only the Items declare."""
    features = []
    for name, cut in CUTS.items():
        files = {
            f"B0{4 - band}_10m": write_jpeg2000(
                tmp_path / f"{name}-{band}.jp2", GROUND[cut][band : band + 1], col=cut[2].start or 0
            )
            for band in range(3)
        }
        features.append(make_copernicus(name, files))
    path = tmp_path / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    run(tmp_path, "items", path, "--inputs.bands", "red,green,blue")
    with rasterio.open(tmp_path / "items" / "m" / "mosaic.tif") as raster:
        assert raster.count == 3
        assert raster.shape == (300, 700)
        assert (raster.read()[:, :40, :60] == 0).all()


@pytest.mark.server
def test_ranges_of_a_file_on_a_server(tmp_path: Path) -> None:
    write_both(tmp_path)
    run(tmp_path, "expected", tmp_path / "jp2")
    with run_web(tmp_path, tmp_path / "web.log") as web:
        hrefs = [f"{web.url}/jp2/{name}.jp2" for name in CUTS]
        for cache in ("auto", "null"):
            run(tmp_path, f"web-{cache}", *hrefs, "--shared.disk_cache", cache)
            np.testing.assert_array_equal(read_mosaic(tmp_path, f"web-{cache}"), read_mosaic(tmp_path, "expected"))


def test_windows_and_overviews_are_those_that_gdal_reads(tmp_path: Path) -> None:
    scene = open_file(write_jpeg2000(tmp_path / "a.jp2", GROUND)).scene
    assert scene.source.overviews == (2, 4)
    with RasterReader(cache_bytes=10**7) as reader, rasterio.open(tmp_path / "a.jp2") as raster:
        np.testing.assert_array_equal(
            reader.read(scene, Window(row=37, col=120, height=201, width=333)).values, raster.read()[:, 37:238, 120:453]
        )
        small = reader.read(scene, Window(row=0, col=0, height=75, width=175), level=1).values
    with rasterio.open(tmp_path / "a.jp2", OVERVIEW_LEVEL=1) as raster:
        np.testing.assert_array_equal(small, raster.read())


def test_the_content_counts_where_the_name_says_something_else(tmp_path: Path) -> None:
    jpeg2000 = write_jpeg2000(tmp_path / "a.jp2", GROUND).rename(tmp_path / "a.tif")
    geotiff = write_scene(tmp_path / "b.tif", GROUND, pixel=PIXEL).rename(tmp_path / "b.jp2")
    assert open_file(jpeg2000).scene.grid == open_file(geotiff).scene.grid


def test_geotiffs_of_a_folder_are_read_alone(tmp_path: Path) -> None:
    """Beside them, JPEG 2000 files are mostly the same again, or a quicklook."""
    geotiffs, others = write_both(tmp_path)
    for path in geotiffs:
        path.rename(tmp_path / "jp2" / path.name)
    done = run(tmp_path, "both", tmp_path / "jp2")
    (told,) = [event for event in done.events if event["event"] == "jpeg2000-left-out"]
    assert told["message"].startswith(f"2 JPEG 2000 files beside 2 GeoTIFFs are left out ({others[0].name} is one)")
    assert [link["title"] for link in done.item["links"] if link["rel"] == "via"] == ["a", "b"]


# What a file or its folder names


def test_sidecars_say_nothing_of_a_file(tmp_path: Path) -> None:
    path = write_jpeg2000(tmp_path / "a.jp2", GROUND)
    scene = open_file(path).scene
    for suffix in (".j2w", ".wld", ".jp2w"):
        path.with_suffix(suffix).write_text("1\n0\n0\n-1\n5\n5\n")
    path.with_name("a.jp2.aux.xml").write_text("<PAMDataset><GeoTransform>7,1,0,7,0,-1</GeoTransform></PAMDataset>")
    path.with_name("a.jp2.ovr").write_bytes(write_scene(tmp_path / "o.tif", GROUND).read_bytes())
    assert open_file(path).scene == scene


VRT = '<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="Byte" band="1"/></VRTDataset>'


def test_nothing_but_both_formats_is_opened(tmp_path: Path) -> None:
    assert list_drivers("/data/a.jp2") == ("JP2OpenJPEG", "GTiff")
    assert list_drivers("https://example.org/a.tif?sig=a.jp2") == ("GTiff", "JP2OpenJPEG")
    assert list_drivers("/data/a.jp2.msk") == ("GTiff",)
    path = tmp_path / "a.jp2"
    path.write_text(VRT)
    with pytest.raises(InputError, match=r"^scene a: .*a\.jp2 is not a readable JPEG 2000 \("):
        open_file(path)


def test_a_mask_beside_it_is_geotiff(tmp_path: Path) -> None:
    path = write_jpeg2000(tmp_path / "a.jp2", GROUND)
    shown = (np.arange(300 * 700).reshape(1, 300, 700) % 3 > 0).astype("uint8") * 255
    mask = path.with_name("a.jp2.msk")
    write_scene(tmp_path / "m.tif", shown, pixel=PIXEL, nodata=None).rename(mask)
    scene = open_file(path).scene
    with RasterReader(cache_bytes=10**7) as reader:
        pixels = reader.read(scene, scene.grid.window)
    assert pixels.valid is not None
    np.testing.assert_array_equal(pixels.valid, shown[0] > 0)
    mask.unlink()
    write_jpeg2000(tmp_path / "m.jp2", shown).rename(mask)
    with pytest.raises(InputError, match=r"a\.jp2\.msk is not a readable GeoTIFF"):
        open_file(path)


def test_overviews_that_metadata_name_are_refused(tmp_path: Path) -> None:
    secret = write_scene(tmp_path / "secret.tif", GROUND[:, ::2, ::2], pixel=2 * PIXEL)
    path = tmp_path / "a.jp2"
    with rasterio.open(write_scene(tmp_path / "a.tif", GROUND, pixel=PIXEL), "r+") as raster:
        raster.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=str(secret))
        rasterio.shutil.copy(raster, path, driver="JP2OpenJPEG", WRITE_METADATA="YES", RESOLUTIONS=1)
    for sidecar in tmp_path.glob("*.aux.xml"):
        sidecar.unlink()
    with pytest.raises(InputError, match="OVERVIEW_FILE"):
        open_file(path)


def test_a_crs_that_a_file_names_elsewhere_is_not_fetched(tmp_path: Path) -> None:
    """The CRS of GML in a file may be a URL; this one waits for a request that must not come."""
    path = write_jpeg2000(tmp_path / "a.jp2", GROUND, GeoJP2="NO", GMLJP2="YES")
    data, known = path.read_bytes(), b"http://www.opengis.net/def/crs/EPSG/0/32633"
    urn = b"urn:ogc:def:crs:EPSG::32633"
    held = known if known in data else urn
    assert held in data
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(2)

        def listen() -> None:
            try:
                connection, _ = server.accept()
            except TimeoutError:
                return
            asked.append(b"a request")
            connection.close()

        waiting = threading.Thread(target=listen)
        waiting.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/".encode()
        path.write_bytes(data.replace(held, url.ljust(len(held), b"x")[: len(held)]))
        with pytest.raises(InputError, match="no coordinate reference system"):
            open_file(path)
        waiting.join()
    assert asked == []
