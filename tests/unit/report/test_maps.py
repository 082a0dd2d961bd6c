from __future__ import annotations

import base64
import dataclasses
import io
import re

import numpy as np
import pytest
import shapely
from drawings import find_marks
from numpy.typing import NDArray
from PIL import Image
from reports import RGB, noise, preview_of

from processor.model import Bounds, Cell
from processor.report import maps
from processor.report.axes import CrsLabel, describe_crs
from processor.report.figures import Preview
from processor.report.maps import draw_coverage, draw_mosaic
from processor.report.pictures import stretch
from processor.report.svg import WIDTH, Picture

METRES = CrsLabel(name="somewhere", unit="m", geographic=False)


def both(preview: Preview) -> tuple[Preview, Image.Image]:
    """A preview, and it stretched."""
    return preview, stretch(preview, RGB)


def make_cells(*boxes: tuple[float, float, float, float]) -> tuple[Cell, ...]:
    return tuple(Cell(scene=f"scene {i}", polygon=shapely.box(*box)) for i, box in enumerate(boxes))


def find_raster(picture: Picture) -> tuple[Image.Image, tuple[float, float, float, float]]:
    """The image in a map, and its x, y, width and height in pixels of the page."""
    (image,) = find_marks(picture, "image")
    decoded = Image.open(io.BytesIO(base64.b64decode(image.attrib["href"].partition(",")[2])))
    x, y, width, height = (float(image.attrib[name]) for name in ("x", "y", "width", "height"))
    return decoded, (x, y, width, height)


def find_outlines(picture: Picture, colour: str) -> list[NDArray[np.float64]]:
    """Points of each outline of a colour, pixels of the page."""
    paths = find_marks(picture, "path")
    (data,) = (path.attrib["d"] for path in paths if path.get("stroke") == colour)
    return [np.array(re.findall(r"(\S+) ([\d.-]+)", ring), float) for ring in data.replace("L", " ").split("M") if ring]


def test_mosaic_without_valid_pixels_has_pictures() -> None:
    preview = preview_of(noise(), np.zeros((20, 40), bool), np.zeros((20, 40), int))
    raster, _ = find_raster(draw_mosaic(*both(preview), (), [], METRES))
    assert np.asarray(raster).min() > 250
    assert draw_coverage(preview, (), ["a"], METRES) is not None


def test_mosaic_lies_the_right_way_up_between_its_coordinates() -> None:
    values = np.zeros((3, 20, 40), np.uint8)
    values[0, :10] = 255  # red in the north
    picture = draw_mosaic(*both(preview_of(values)), (), [], METRES)
    raster, (left, top, width, height) = find_raster(picture)
    assert np.asarray(raster)[2, 20].tolist() == pytest.approx([255, 0, 0], abs=3)
    words = {(text.text, "transform" in text.attrib): text.attrib for text in find_marks(picture, "text")}
    assert float(words["20", False]["x"]) == pytest.approx(left + width / 2, abs=0.2)
    assert float(words["10", True]["y"]) == pytest.approx(top + height / 2, abs=0.2)
    assert float(words["15", True]["y"]) < float(words["5", True]["y"])


def test_seamlines_are_drawn_where_they_are() -> None:
    preview = preview_of(np.full((3, 20, 40), 9, np.uint8))
    picture = draw_mosaic(*both(preview), make_cells((0, 0, 10, 20), (10, 5, 40, 20)), [], METRES)
    _, (left, top, width, height) = find_raster(picture)
    for colour in (maps._SEAM, "black"):  # and what keeps it apart from the picture
        first, second = find_outlines(picture, colour)
        np.testing.assert_allclose(
            [*first.min(axis=0), *first.max(axis=0)], [left, top, left + width / 4, top + height], atol=0.11
        )
        np.testing.assert_allclose(
            [*second.min(axis=0), *second.max(axis=0)], [left + width / 4, top, left + width, top + 0.75 * height], atol=0.11
        )


def test_any_name_can_be_drawn() -> None:
    names = [r"$\frac{$", "景色", "🛰" * 40, "a\tb\n", "", "%s {x}", "</text><script>", '"&\ud800']
    cells = tuple(Cell(scene=name, polygon=shapely.box(5 * i, 0, 5 * i + 5, 20)) for i, name in enumerate(names))
    preview = preview_of(noise(), None, np.ones((20, 40), int))
    for picture in (draw_mosaic(*both(preview), cells, names, METRES), draw_coverage(preview, cells, names, METRES)):
        words = [text.text or "" for text in find_marks(picture, "text")]
        assert {r"$\frac{$", "景色", "a?b?", "%s {x}", "</text><script>", '"&?'} < set(words)


def test_many_scenes_get_numbers_and_very_many_none() -> None:
    def words(count: int) -> set[str | None]:
        cells = make_cells(*((x, 0, x + 40 / count, 20) for x in np.arange(count) * 40 / count))
        picture = draw_mosaic(*both(preview_of(noise())), cells, [cell.scene for cell in cells], METRES)
        return {text.text for text in find_marks(picture, "text") if text.get("font-weight")}

    assert words(12) == {f"scene {i}" for i in range(12)}
    assert words(13) == {str(i + 1) for i in range(13)}
    assert words(61) == set()


def test_cells_of_several_parts_with_holes_or_nothing_can_be_drawn() -> None:
    ring = shapely.box(0, 0, 20, 20) - shapely.box(5, 5, 8, 8)
    cells = (
        Cell(scene="a", polygon=shapely.MultiPolygon([ring, shapely.box(30, 0, 40, 20)])),
        Cell(scene="b", polygon=shapely.Polygon()),
    )
    assert len(maps._outlines(cells, 0.01)) == 3
    draw_mosaic(*both(preview_of(noise())), cells, ["a", "b"], METRES)


def test_degrees_are_drawn_in_proportion_to_the_ground() -> None:
    far_north = Bounds(left=0, bottom=59.5, right=1, top=60.5)
    preview = dataclasses.replace(preview_of(np.full((3, 50, 50), 9, np.uint8)), bounds=far_north)
    _, (_, _, width, height) = find_raster(draw_mosaic(*both(preview), (), [], describe_crs("EPSG:4326")))
    assert height / width == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize("bounds", [(0, 0, 1, 1000), (0, 0, 1000, 1), (5e5, 5e6, 5e5 + 1, 5e6 + 1)])
def test_maps_of_any_shape_fit(bounds: tuple[float, float, float, float]) -> None:
    left, bottom, right, top = bounds
    preview = preview_of(noise(), None, np.ones((20, 40), int))
    preview = dataclasses.replace(preview, bounds=Bounds(left=left, bottom=bottom, right=right, top=top))
    for picture in (draw_mosaic(*both(preview), (), ["a"], METRES), draw_coverage(preview, (), ["a" * 99], METRES)):
        _, (x, y, width, height) = find_raster(picture)
        assert picture.width <= WIDTH
        assert picture.height < 900
        assert 0 < x < x + width < picture.width
        assert 0 < y < y + height < picture.height


def test_no_scene_index_gives_no_picture() -> None:
    assert draw_coverage(preview_of(noise()), (), ["a"], METRES) is None


@pytest.mark.parametrize("edge", [3, 7, 14])
def test_neighbours_differ_in_colour(edge: int) -> None:
    row, col = np.indices((edge * 3, edge * 3)) // 3
    index = row * edge + col + 1
    colours = maps._colour_scenes(index, edge * edge)[index]
    for one, two, a, b in (
        (index[1:], index[:-1], colours[1:], colours[:-1]),
        (index[:, 1:], index[:, :-1], colours[:, 1:], colours[:, :-1]),
    ):
        assert (a != b)[one != two].all()


def test_pixel_without_a_scene_has_no_colour() -> None:
    assert maps._colour_scenes(np.array([[0, 1]]), 1).tolist() == [0, 1]


def test_colours_of_the_coverage_are_those_of_its_legend() -> None:
    index = np.repeat([[0, 1, 2, 3]], 20, axis=0).repeat(10, axis=1)
    picture = draw_coverage(preview_of(noise(), None, index), (), ["a", "b", "c"], METRES)
    raster, _ = find_raster(picture)
    legend = [mark.attrib["fill"] for mark in find_marks(picture, "rect")]
    shown = np.asarray(raster.convert("RGB"))[10, [5, 15, 25, 35]]
    assert ["#{:02X}{:02X}{:02X}".format(*colour) for colour in shown.tolist()] == ["#FFFFFF", *legend]


def test_photograph_stays_within_its_limit() -> None:
    data, media_type = maps._encode_jpeg(stretch(preview_of(noise(500, 1000)), RGB))
    assert (media_type, data[:2]) == ("image/jpeg", b"\xff\xd8")
    assert len(data) <= maps._JPEG_LIMIT


def test_pictures_say_nothing_of_when_and_how() -> None:
    picture = draw_coverage(preview_of(noise(), None, np.ones((20, 40), int)), (), ["a"], METRES)
    raster, _ = find_raster(picture)
    assert raster.info == {}
    assert picture == draw_coverage(preview_of(noise(), None, np.ones((20, 40), int)), (), ["a"], METRES)


@pytest.mark.parametrize(
    ("crs", "unit", "geographic"),
    [("EPSG:32633", "m", False), ("EPSG:4326", "°", True), ("nonsense", "CRS units", False)],
)
def test_coordinates_are_called_by_their_unit(crs: str, unit: str, geographic: bool) -> None:
    label = describe_crs(crs)
    assert (label.unit, label.geographic) == (unit, geographic)
