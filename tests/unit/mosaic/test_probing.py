"""Whether overviews are those of their raster, and whether a scene has a pixel at all, told from a few windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from scenes import write_scene
from small_runs import open_scenes

from processor.config import load_config
from processor.geotiff.reader import RasterReader
from processor.model import Scene, Window
from processor.mosaic import probing
from processor.mosaic.planning import plan_run
from processor.mosaic.probing import drop_overviews, find_doubtful, find_empty

SIZE = (2061, 403)


def draw(kind: str, *, bands: int = 1, size: tuple[int, int] = SIZE, seed: int = 4) -> NDArray[np.float64]:
    """Smooth hills, or these under strong noise from pixel to pixel."""
    rng = np.random.default_rng(seed)
    y, x = np.arange(size[0])[:, None] / 90, np.arange(size[1])[None, :] / 70
    hills = np.stack([1500 + 600 * np.sin(x + band) * np.cos(y) + 200 * np.sin(3 * x + 2 * y) for band in range(bands)])
    return hills + (rng.normal(0, 250, hills.shape) if kind == "noise" else 0)


def cut(array: NDArray[np.float64], shape: str) -> NDArray[np.float64]:
    """Without pixels at a slanted edge, or in many small holes."""
    height, width = array.shape[1:]
    y, x = np.mgrid[:height, :width]
    if shape == "slanted":
        array[:, (x + 0.1 * y < 120) | (x - 0.1 * y > 300)] = 0
    elif shape == "holes":
        rng = np.random.default_rng(9)
        array[:, np.kron(rng.random((height // 7 + 1, width // 7 + 1)) < 0.2, np.ones((7, 7), bool))[:height, :width]] = 0
    return array


def judge(path: Path, *, nodata: float | None = None) -> dict[str, str]:
    plan = plan_run(open_scenes([path], nodata=nodata), load_config(environment={}))
    assert plan.levels != (None,)
    with RasterReader(cache_bytes=0) as reader:
        return find_doubtful(plan, reader, threads=2)


def add_overviews(path: Path, how: Resampling, factors: tuple[int, ...] = (2, 4, 8)) -> None:
    with rasterio.open(path, "r+") as raster:
        raster.build_overviews(list(factors), how)


@pytest.mark.parametrize("kind", ["smooth", "noise"])
@pytest.mark.parametrize("shape", ["whole", "slanted", "holes"])
@pytest.mark.parametrize("how", ["nearest", "average", "bilinear", "cubic", "lanczos", "mode", "gauss"])
def test_overviews_of_any_kind_are_trusted(how: str, shape: str, kind: str, tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", cut(draw(kind), shape), dtype="uint16", block=256)
    add_overviews(path, Resampling[how])
    assert judge(path) == {}


@pytest.mark.parametrize("block", [64, 512])
def test_overviews_of_a_mask_and_of_an_alpha_band_are_trusted(block: int, tmp_path: Path) -> None:
    array = cut(draw("smooth"), "slanted")
    for name, marks in (("mask", {"mask": True}), ("alpha", {"alpha": True})):
        path = write_scene(tmp_path / f"{name}.tif", array, dtype="uint8", nodata=None, block=block, **marks)
        add_overviews(path, Resampling.nearest)
        assert judge(path) == {}


@pytest.mark.parametrize("shape", ["whole", "slanted", "holes"])
def test_overviews_of_other_pixels_are_found(shape: str, tmp_path: Path) -> None:
    """Recalibrated in place: 30 % more, or another offset of a third of the spread."""
    array = cut(draw("smooth"), shape)
    for name, changed in (("gain", array * 1.3), ("offset", np.where(array == 0, 0, array + 150))):
        path = write_scene(tmp_path / f"{name}.tif", array, dtype="uint16", block=256)
        add_overviews(path, Resampling.average)
        with rasterio.open(path, "r+") as raster:
            raster.write(np.rint(changed).astype("uint16"))
        assert "is off by" in judge(path)[name]


def test_overviews_that_were_made_before_nodata_was_set_are_found(tmp_path: Path) -> None:
    for name, nodata in (("set", None), ("given", 0)):
        path = write_scene(tmp_path / f"{name}.tif", cut(draw("smooth"), "holes"), dtype="uint16", block=256, nodata=None)
        add_overviews(path, Resampling.average)
        if nodata is None:
            with rasterio.open(path, "r+") as raster:
                raster.nodata = 0
        assert set(judge(path, nodata=nodata)) == {name}


@pytest.mark.parametrize("rim", [(0, 150, 0, 100), (150, 0, 100, 0), (0, 0, 0, 60)])
def test_overviews_without_the_mask_that_came_later_are_found(rim: tuple[int, int, int, int], tmp_path: Path) -> None:
    array, valid = draw("smooth"), np.ones(SIZE, np.bool_)
    top, bottom, left, right = rim
    valid[:top], valid[SIZE[0] - bottom :], valid[:, :left], valid[:, SIZE[1] - right :] = False, False, False, False
    array[:, ~valid] = 0
    path = write_scene(tmp_path / "a.tif", array, dtype="uint16", nodata=None, block=256)
    add_overviews(path, Resampling.average)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as raster:
        raster.write_mask(valid)
    assert set(judge(path)) == {"a"}


def test_a_scene_without_its_overviews_is_measured_whole(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", draw("smooth"), dtype="uint16", block=256)
    add_overviews(path, Resampling.average)
    (scene,) = open_scenes([path])
    assert drop_overviews(scene).source.overviews == ()
    assert scene.source.overviews == (2, 4, 8)


# Scenes without a pixel


def look(scenes: list[Scene]) -> frozenset[str]:
    with RasterReader(cache_bytes=0) as reader:
        return find_empty(scenes, reader, threads=3)


@pytest.mark.parametrize("overviews", [(), (2, 4)])
def test_one_valid_pixel_is_enough(overviews: tuple[int, ...], tmp_path: Path) -> None:
    nothing = np.zeros((2, 300, 500))
    single = nothing.copy()
    single[0, 299, 0] = 7
    kinds: dict[str, tuple[NDArray[Any], dict[str, Any]]] = {
        "empty": (nothing, {}),
        "single": (single, {}),
        "nan": (nothing + np.nan, {"dtype": "float32", "nodata": None}),
        "masked": (nothing + 9, {"nodata": None, "mask": np.zeros((300, 500), np.bool_)}),
        "unmarked": (nothing, {"nodata": None}),
    }
    paths = [
        write_scene(tmp_path / f"{name}.tif", array, overviews=overviews, **{"dtype": "uint16", **options})
        for name, (array, options) in kinds.items()
    ]
    assert look(open_scenes(paths)) == {"empty", "nan", "masked"}


def test_of_a_very_large_scene_a_share_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sparse file of a few bytes may say that it has any number of pixels; that they are all invalid is not certain then."""
    reads: list[Window] = []
    read = RasterReader.read

    def count(self: RasterReader, scene: Scene, window: Window, **options: Any) -> Any:
        reads.append(window)
        return read(self, scene, window, **options)

    monkeypatch.setattr(RasterReader, "read", count)
    paths = [write_scene(tmp_path / f"{edge}.tif", np.zeros((1, edge, edge)), dtype="uint16", block=64) for edge in (256, 512)]
    monkeypatch.setattr(probing, "_MOST_LOOKED", 256 * 256)
    assert look(open_scenes(paths)) == {"256"}
    assert (
        sum(window.height * window.width for window in reads) < 256 * 256 + 512 * 512
    )  # of the first all, of the second a share
    single = np.zeros((1, 512, 512))
    single[0, 0, 0] = 7
    assert look(open_scenes([write_scene(tmp_path / "single.tif", single, dtype="uint16", block=64)])) == frozenset()
