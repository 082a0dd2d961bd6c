"""Fill that no file declares is found in its corners, and not where there is none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scenes import gradient_truth, write_scene

from processor.geotiff.open import OpenedScene, open_scene
from processor.geotiff.reader import RasterReader
from processor.model import RasterRef, SceneRef
from processor.scenes.fill import mark_fill

SIZE = (300, 400)


def draw(low: float, high: float, *, bands: int = 1) -> NDArray[np.float64]:
    ground = gradient_truth(*SIZE, bands)
    return low + (high - low) * (ground - ground.min()) / (ground.max() - ground.min())


def slant(array: NDArray[np.float64], value: float) -> NDArray[np.float64]:
    """A collar around a turned footprint."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    u, v = x - 200 + 0.3 * (y - 150), y - 150 - 0.2 * (x - 200)
    array[:, (abs(u) > 140) | (abs(v) > 100)] = value
    return array


def rim(array: NDArray[np.float64], value: float) -> NDArray[np.float64]:
    """Fill along one side alone."""
    array[:, :12] = value
    return array


def corner(array: NDArray[np.float64], value: float) -> NDArray[np.float64]:
    """Fill in one corner alone."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    array[:, x - y > 330] = value
    return array


def look(path: Path, array: NDArray[np.float64], **options: Any) -> OpenedScene:
    write_scene(path, array, **{"nodata": None, **options})
    opened = open_scene(SceneRef(name="a", priority=0, rasters=(RasterRef(href=str(path)),)))
    with RasterReader(cache_bytes=0) as reader:
        return mark_fill(opened, reader)


def list_codes(opened: OpenedScene) -> list[str]:
    return [finding.code for finding in opened.findings]


@pytest.mark.parametrize("shape", [slant, rim, corner])
@pytest.mark.parametrize(
    ("value", "dtype"),
    [(-9999, "float32"), (-9999, "int16"), (-32768, "int16"), (-3.4028234e38, "float32"), (1e20, "float32"), (1e36, "float64")],
)
def test_fill_that_cannot_be_data_is_taken_as_nodata(value: float, dtype: str, shape: Any, tmp_path: Path) -> None:
    opened = look(tmp_path / "a.tif", shape(draw(100, 900), value), dtype=dtype)
    assert opened.scene.source.validity == "nodata"
    assert opened.scene.source.nodata == pytest.approx(value, rel=1e-6)
    (finding,) = opened.findings
    assert (finding.code, finding.severity) == ("undeclared-fill", "info")
    with RasterReader(cache_bytes=0) as reader:
        pixels = reader.read(opened.scene, opened.scene.grid.window)
    expected = np.abs(shape(draw(100, 900), value)[0] - value) > 1
    assert pixels.valid is not None
    np.testing.assert_array_equal(pixels.valid, expected)


@pytest.mark.parametrize("shape", [slant, rim])
@pytest.mark.parametrize(
    ("value", "dtype", "options", "remedy"),
    [
        (0, "uint8", {}, "0"),
        (255, "uint8", {}, "255"),
        (65535, "uint16", {}, "65535"),
        (-500, "float32", {}, "-500"),
        (255, "uint8", {"compress": "JPEG", "block": 128}, r"2\d\d..255"),
        (0, "uint8", {"compress": "JPEG", "block": 128}, r"0..\d+"),
    ],
)
def test_fill_that_may_be_data_is_said_with_what_to_do(
    value: float, dtype: str, options: dict[str, Any], remedy: str, shape: Any, tmp_path: Path
) -> None:
    opened = look(tmp_path / "a.tif", shape(draw(60, 190, bands=3), value), dtype=dtype, **options)
    assert opened.scene.source.validity == "all"
    (finding,) = opened.findings
    assert (finding.code, finding.severity) == ("undeclared-fill", "warning")
    assert re.fullmatch(remedy, finding.message.split("--inputs.nodata ")[1])


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (draw(60, 190, bands=3), "uint8"),
        (draw(0, 255, bands=3), "uint8"),
        (draw(0.05, 0.4), "float32"),
        (np.maximum(draw(-400, 900), 0), "float32"),
        (np.full((1, *SIZE), 7.0), "float32"),
        (rim(draw(-12000, -9000), -9999), "float32"),
        (rim(draw(100, 900), 5), "float32"),
    ],
    ids=["dark", "full range", "index", "sea level", "constant", "near a sentinel", "low but possible"],
)
def test_what_may_well_be_ground_is_left_alone(array: NDArray[np.float64], dtype: str, tmp_path: Path) -> None:
    opened = look(tmp_path / "a.tif", array, dtype=dtype)
    assert opened.scene.source.validity == "all"
    assert "undeclared-fill" not in list_codes(opened)


@pytest.mark.parametrize("ground", [(60, 190), (20, 120)])
def test_a_collar_that_lossy_compression_smeared_is_named(ground: tuple[float, float], tmp_path: Path) -> None:
    array = slant(draw(*ground, bands=3), 0)
    lossy = {"compress": "JPEG", "JPEG_QUALITY": 60, "photometric": "YCBCR", "block": 128, "nodata": 0, "dtype": "uint8"}
    opened = look(tmp_path / "a.tif", array, **lossy)
    (finding,) = opened.findings
    assert finding.code == "lossy-collar"
    assert "--inputs.nodata 0.." in finding.message
    clean = look(tmp_path / "b.tif", array, nodata=0, dtype="uint8")
    assert clean.findings == ()
    whole = look(tmp_path / "c.tif", draw(*ground, bands=3), **lossy)
    assert whole.findings == ()
