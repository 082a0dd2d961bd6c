"""Inputs of few bytes that say they are huge, and reference systems without a way to others: refused, by name, at once."""

from pathlib import Path
from typing import Any

import pytest
import rasterio
from commands import Finished, call_command
from rasterio.transform import Affine
from scenes import gradient_truth, write_scene

UTM = "EPSG:32633"


def write_holes(path: Path, *, height: int, width: int, pixel: float = 1.0, left: float = 500_000.0, **more: Any) -> Path:
    """Write a GeoTIFF all of whose blocks are left out."""
    profile: dict[str, Any] = {"count": 2, "dtype": "uint16", "crs": UTM, "nodata": 0} | more
    profile |= {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "sparse_ok": True, "BIGTIFF": "YES"}
    place = Affine(pixel, 0.0, left, 0.0, -pixel, 5_300_000.0)
    with rasterio.open(path, "w", driver="GTiff", height=height, width=width, transform=place, **profile):
        return path


def plan(folder: Path, *words: str | Path) -> Finished:
    place = {"cwd": folder, "scratch": folder / "scratch"}
    return call_command("run", *map(str, words), "--output", "out", "--dry-run", **place)  # type: ignore[arg-type]


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_scene(tmp_path / "a.tif", gradient_truth(256, 256, 2), dtype="uint16")


def test_scenes_half_a_million_kilometres_apart(scene: Path, tmp_path: Path) -> None:
    done = plan(tmp_path, scene, write_holes(tmp_path / "b.tif", height=256, width=256, left=5e8))
    assert done.code == 13
    assert "check where it lies" in done.stderr


def test_pixels_of_a_millimetre_beside_others(tmp_path: Path) -> None:
    fine = write_holes(tmp_path / "fine.tif", height=100, width=100, pixel=0.001)
    coarse = write_holes(tmp_path / "coarse.tif", height=20_000, width=20_000, pixel=100.0, left=100_000.0)
    done = plan(tmp_path, fine, coarse)
    assert done.code == 13
    assert "--output.max_pixels" in done.stderr


def test_a_scene_of_a_million_by_a_million_holes_is_planned_in_seconds(scene: Path, tmp_path: Path) -> None:
    done = plan(tmp_path, scene, write_holes(tmp_path / "b.tif", height=1_000_000, width=1_000_000))
    assert done.code == 0, done.stderr
    done = plan(tmp_path, scene, tmp_path / "b.tif", "--output.max_pixels", "1000000000")
    assert done.code == 13
    assert "--output.max_pixels" in done.stderr


def test_a_block_map_of_300_gigabytes(scene: Path, tmp_path: Path) -> None:
    holes = write_holes(tmp_path / "a_map.tif", height=200_000, width=200_000, dtype="float32")
    done = plan(tmp_path, scene, "--local_block_adjustment.load_block_maps", f"[{holes}, [{holes}]]")
    assert done.code == 13
    assert "make it coarser" in done.stderr


APART = {
    "local": 'LOCAL_CS["x",UNIT["m",1]]',
    "engineering": 'ENGCRS["x",EDATUM["y"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]',
    "heights": 'VERT_CS["v",VERT_DATUM["d",2005],UNIT["m",1]]',
    "moon": 'GEOGCS["Moon",DATUM["D_Moon",SPHEROID["Moon",1737400,0]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]]',
    "geocentric": "EPSG:4978",
}


@pytest.mark.parametrize("crs", APART.values(), ids=APART.keys())
def test_a_scene_in_a_reference_system_without_a_way_to_the_others(crs: str, scene: Path, tmp_path: Path) -> None:
    other = write_scene(tmp_path / "b.tif", gradient_truth(256, 256, 2), dtype="uint16", crs=crs)
    done = plan(tmp_path, scene, other)
    assert done.code == 13, done.stderr
    assert "leave" in done.stderr
    assert "--align_rasters.crs" in done.stderr


@pytest.mark.parametrize("name", ["local", "engineering", "moon", "geocentric"])
def test_a_reference_system_that_the_scenes_have_no_way_to(name: str, scene: Path, tmp_path: Path) -> None:
    done = plan(tmp_path, scene, "--align_rasters.crs", APART[name])
    assert done.code == 13, done.stderr
