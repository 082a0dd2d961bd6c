"""The strip of seams in the published page: pixels of the mosaic, and of the scenes as they came, at their place."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
import rasterio
from commands import call_command
from numpy.typing import NDArray
from PIL import Image
from rasterio.windows import Window
from registration import make_ground, see_ground
from scenes import LEFT, write_items, write_scene

GAINS = {"a": 1.0, "b": 1.3, "c": 0.8}
EDGE = 320


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenes side by side of one ground, each with a gain of its own; a field of b has changed."""
    folder = tmp_path_factory.mktemp("scenes")
    ground, paths = 1000 + 100 * make_ground(3 * EDGE), []
    for number, (name, gain) in enumerate(GAINS.items()):
        col = number * 2 * EDGE // 3
        array = see_ground(ground, row=0, col=col, height=EDGE, width=EDGE)[:3] * gain
        if name == "b":
            array[:, 100:150, 30:80] *= 1.5
        paths.append(write_scene(folder / f"{name}.tif", array, dtype="uint16", left=LEFT + col))
    return write_items(folder, paths, bands=["red", "green", "blue"])


def read_strip(page: str) -> list[tuple[str, str, int, int, NDArray[np.uint8], NDArray[np.uint8]]]:
    """Of each view the names, row and column, and both images."""
    strip = page.partition('<div class="strip close_ups">')[2].partition("</div>")[0]
    found = []
    for view in strip.split("<svg")[1:]:
        names = re.search(r'font-weight="bold">(\w) \| (\w)<', view)
        place = re.search(r"from row (\d+), column (\d+)", view)
        assert names is not None
        assert place is not None
        images = re.findall(r'href="data:image/png;base64,([^"]+)"', view)
        before, after = (np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in images)
        found.append((names[1], names[2], int(place[1]), int(place[2]), before, after))
    return found


@pytest.mark.parametrize(
    ("flags", "heading"),
    [((), "The longest seams, pixel by pixel"), (("--preset", "satellite"), "The worst seams, pixel by pixel")],
)
def test_the_strip_shows_the_mosaic_and_the_scenes_where_it_says(
    items: Path, tmp_path: Path, flags: tuple[str, ...], heading: str
) -> None:
    arguments = ("run", str(items), "--output", "out", "--item-id", "m", *flags)
    done = call_command(*arguments, cwd=tmp_path, scratch=tmp_path / "scratch")
    assert done.code == 0, done.stderr
    folder = tmp_path / "out" / "m"
    page = (folder / "report.html").read_text()
    assert f"<h2>{heading}</h2>" in page
    views = read_strip(page)
    assert [{first, second} for first, second, *_ in sorted(views)] == [{"a", "b"}, {"b", "c"}]
    if flags:
        assert views[0][:2] == ("a", "b"), "where a field changed, the scenes differ most"
    names = dict(enumerate(GAINS, start=1))
    with rasterio.open(folder / "mosaic.tif") as mosaic, rasterio.open(folder / "scene_index.tif") as numbers:
        for first, second, row, col, before, after in views:
            window = Window(col, row, after.shape[1], after.shape[0])
            values, index = mosaic.read(window=window).astype(np.float64), numbers.read(1, window=window)
            assert {names[number] for number in np.unique(index[index > 0]).tolist()} == {first, second}
            assert np.array_equal(after[..., 3] > 0, index > 0)
            assert np.array_equal(before[..., 3] > 0, index > 0)
            for band in range(3):
                shown = after[..., band]
                inside = (shown > 0) & (shown < 255) & (index > 0)
                assert np.corrcoef(shown[inside], values[band][inside])[0, 1] > 0.999
            levels = [before[..., 0][index == number].mean() for number in np.unique(index[index > 0])]
            matched = [after[..., 0][index == number].mean() for number in np.unique(index[index > 0])]
            assert abs(levels[0] - levels[1]) > 2 * abs(matched[0] - matched[1]), "their gains differ as they came"
