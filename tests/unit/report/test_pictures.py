from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import shapely
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from processor.model import Band, Bounds, Cell
from processor.report import pictures
from processor.report.figures import Preview
from processor.report.pictures import draw_coverage, draw_mosaic, elide, render_thumbnail, stretch
from processor.report.units import CrsLabel, describe_crs

BOUNDS = Bounds(left=0, bottom=0, right=40, top=20)
METRES = CrsLabel(name="somewhere", unit="m", geographic=False)
RGB = tuple(Band(name=name, common_name=name) for name in ("red", "green", "blue"))


def both(preview: Preview) -> tuple[Preview, Image.Image]:
    """A preview, and it stretched."""
    return preview, stretch(preview, RGB)


def make_preview(
    values: ArrayLike, valid: NDArray[np.bool_] | None = None, scene_index: NDArray[np.integer] | None = None
) -> Preview:
    values = np.asarray(values)
    valid = np.ones(values.shape[1:], bool) if valid is None else valid
    return Preview(values=values, valid=valid, bounds=BOUNDS, scene_index=scene_index)


def open_thumbnail(preview: Preview, bands: Sequence[Band], **options: Any) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(render_thumbnail(stretch(preview, bands), **options))))


def noise(height: int = 20, width: int = 40, bands: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 255, (bands, height, width), np.uint8)


def make_cells(*boxes: tuple[float, float, float, float]) -> tuple[Cell, ...]:
    return tuple(Cell(scene=f"scene {i}", polygon=shapely.box(*box)) for i, box in enumerate(boxes))


@pytest.mark.parametrize(("shape", "size"), [((300, 1200), (512, 128)), ((1200, 300), (128, 512)), ((30, 40), (40, 30))])
def test_thumbnail_is_below_600_pixels_and_never_enlarged(shape: tuple[int, int], size: tuple[int, int]) -> None:
    image = Image.open(io.BytesIO(render_thumbnail(stretch(make_preview(noise(*shape)), RGB))))
    assert (image.size, image.mode, image.format) == (size, "RGBA", "PNG")


def test_thumbnail_of_a_thread_of_pixels_keeps_one() -> None:
    assert open_thumbnail(make_preview(noise(1, 5000)), RGB).shape == (1, 512, 4)


def test_thumbnail_is_transparent_exactly_where_the_mosaic_is_not_valid() -> None:
    valid = np.random.default_rng(2).random((20, 40)) < 0.5
    np.testing.assert_array_equal(open_thumbnail(make_preview(noise(), valid), RGB)[..., 3] == 255, valid)


def test_colours_at_an_edge_are_not_darkened_by_what_is_invalid() -> None:
    values, valid = np.zeros((3, 64, 64), np.uint8), np.zeros((64, 64), bool)
    valid[:, 21:] = True  # an edge inside the pixels of the thumbnail
    values[:, :32, 21:], values[:, 32:, 21:] = 100, 200
    image = open_thumbnail(make_preview(values, valid), RGB, side=16)
    assert np.unique(image[8:, 5:, :3]).tolist() == [255]
    assert 0 < image[8, 5, 3] < 255


def test_bands_are_shown_as_the_colours_they_are() -> None:
    bands = tuple(Band(name=name, common_name=name) for name in ("nir", "blue", "green", "red"))
    values = np.zeros((4, 20, 40), np.uint16)
    values[3, :, :20], values[1, :, 20:] = 1000, 1000  # red on the left, blue on the right
    image = open_thumbnail(make_preview(values), bands)
    assert image[0, 0].tolist() == [255, 0, 0, 255]
    assert image[0, 30].tolist() == [0, 0, 255, 255]


def test_red_green_and_blue_share_one_stretch_and_keep_their_hue() -> None:
    values = np.stack([noise()[0], noise()[0] // 2, noise()[0] // 8 + 100])
    image = open_thumbnail(make_preview(values), RGB).astype(float)
    assert image[..., 0].max() == 255
    assert image[..., 1].max() < 150
    assert 80 < image[..., 2].min() < image[..., 2].max() < 150


def test_unnamed_bands_are_stretched_each_for_itself() -> None:
    values = np.stack([noise()[0].astype(np.uint16), noise()[0].astype(np.uint16) * 100, noise()[0].astype(np.uint16)])
    image = open_thumbnail(make_preview(values), tuple(Band(name=str(i)) for i in range(3)))
    np.testing.assert_allclose(image[..., 0].astype(int), image[..., 1].astype(int), atol=1)


@pytest.mark.parametrize("bands", [1, 2])
def test_fewer_than_three_bands_are_grey(bands: int) -> None:
    image = open_thumbnail(make_preview(noise(bands=bands)), tuple(Band(name=str(i)) for i in range(bands)))
    np.testing.assert_array_equal(image[..., 0], image[..., 2])
    assert len(np.unique(image[..., 0])) > 50


@pytest.mark.parametrize("value", [0, 7, 255])
def test_flat_mosaic_has_a_thumbnail(value: float) -> None:
    assert (open_thumbnail(make_preview(np.full((3, 20, 40), value, np.uint8)), RGB)[..., 3] == 255).all()


def test_values_that_are_not_finite_are_left_out() -> None:
    values = noise().astype(np.float32)
    values[0, 0, 0], values[1, 0, 1] = np.nan, np.inf
    alpha = open_thumbnail(make_preview(values), RGB)[..., 3]
    assert alpha[0, :3].tolist() == [0, 0, 255]


def test_mosaic_without_valid_pixels_has_pictures() -> None:
    preview = make_preview(noise(), np.zeros((20, 40), bool), np.zeros((20, 40), int))
    assert (open_thumbnail(preview, RGB)[..., 3] == 0).all()
    draw_mosaic(*both(preview), (), [], METRES)
    draw_coverage(preview, (), ["a"], METRES)


def test_encoded_pictures_say_nothing_of_when_and_how() -> None:
    data = draw_coverage(make_preview(noise(), None, np.ones((20, 40), int)), (), ["a"], METRES).data
    for png in (data, render_thumbnail(stretch(make_preview(noise()), RGB))):
        chunks, position = set(), 8
        while position < len(png):
            length = int.from_bytes(png[position : position + 4])
            chunks.add(png[position + 4 : position + 8])
            position += 12 + length
        assert chunks == {b"IHDR", b"IDAT", b"IEND"}


def test_settings_of_the_user_neither_show_nor_suffer() -> None:
    preview, cells = make_preview(noise()), make_cells((0, 0, 20, 20), (20, 0, 40, 20))
    plain = draw_mosaic(*both(preview), cells, ["scene 0", "scene 1"], METRES).data
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black", "savefig.dpi": 10, "image.origin": "lower"}):
        assert draw_mosaic(*both(preview), cells, ["scene 0", "scene 1"], METRES).data == plain
        assert mpl.rcParams["font.size"] == 30


def test_mosaic_lies_the_right_way_up_between_its_coordinates() -> None:
    values = np.zeros((3, 20, 40), np.uint8)
    values[0, :10] = 255  # red in the north
    image = np.asarray(Image.open(io.BytesIO(draw_mosaic(*both(make_preview(values)), (), [], METRES).data)), int)
    red = (image[..., 0] > 200) & (image[..., 1] < 60)
    black = image.sum(axis=2) < 60
    rows = np.arange(image.shape[0])
    assert np.average(rows, weights=red.sum(axis=1)) < np.average(rows, weights=black.sum(axis=1))


def test_seamlines_are_drawn_where_they_are() -> None:
    preview = make_preview(np.full((3, 20, 40), 9, np.uint8))
    image = Image.open(io.BytesIO(draw_mosaic(*both(preview), make_cells((0, 0, 10, 20), (10, 0, 40, 20)), [], METRES).data))
    pixels = np.asarray(image, int)
    yellow = (pixels[..., 0] > 180) & (pixels[..., 1] > 180) & (pixels[..., 2] < 130)
    columns = np.flatnonzero(yellow.sum(axis=0) > 0.5 * yellow.sum(axis=0).max())
    left, right = columns.min(), columns.max()
    seam = columns[(columns > left + 20) & (columns < right - 20)].mean()
    assert (seam - left) / (right - left) == pytest.approx(0.25, abs=0.01)


def test_any_name_can_be_drawn() -> None:
    names = [r"$\frac{$", "景色", "🛰" * 40, "a\tb\n", "", "%s {x}"]
    cells = tuple(Cell(scene=name, polygon=shapely.box(6 * i, 0, 6 * i + 6, 20)) for i, name in enumerate(names))
    draw_mosaic(*both(make_preview(noise())), cells, names, METRES)
    assert draw_coverage(make_preview(noise(), None, np.ones((20, 40), int)), cells, names, METRES) is not None


def test_cells_of_several_parts_with_holes_or_nothing_can_be_drawn() -> None:
    ring = shapely.box(0, 0, 20, 20) - shapely.box(5, 5, 8, 8)
    cells = (
        Cell(scene="a", polygon=shapely.MultiPolygon([ring, shapely.box(30, 0, 40, 20)])),
        Cell(scene="b", polygon=shapely.Polygon()),
    )
    assert len(pictures._outlines(cells, 0.01)) == 3
    draw_mosaic(*both(make_preview(noise())), cells, ["a", "b"], METRES)


def test_degrees_are_drawn_in_proportion_to_the_ground() -> None:
    far_north = Bounds(left=0, bottom=59.5, right=1, top=60.5)
    preview = dataclasses.replace(make_preview(np.full((3, 50, 50), 9, np.uint8)), bounds=far_north)
    picture = draw_mosaic(*both(preview), (), [], describe_crs("EPSG:4326"))
    dark = np.asarray(Image.open(io.BytesIO(picture.data)), int).sum(axis=2) < 60
    rows, columns = np.flatnonzero(dark.sum(axis=1) > 100), np.flatnonzero(dark.sum(axis=0) > 100)
    assert np.ptp(rows) / np.ptp(columns) == pytest.approx(2.0, rel=0.05)


def test_no_scene_index_gives_no_picture() -> None:
    assert draw_coverage(make_preview(noise()), (), ["a"], METRES) is None


@pytest.mark.parametrize("edge", [3, 7, 14])
def test_neighbours_differ_in_colour(edge: int) -> None:
    row, col = np.indices((edge * 3, edge * 3)) // 3
    index = row * edge + col + 1
    colours = pictures._colour_scenes(index, edge * edge)[index]
    for one, two, a, b in (
        (index[1:], index[:-1], colours[1:], colours[:-1]),
        (index[:, 1:], index[:, :-1], colours[:, 1:], colours[:, :-1]),
    ):
        assert (a != b)[one != two].all()


def test_pixel_without_a_scene_has_no_colour() -> None:
    assert pictures._colour_scenes(np.array([[0, 1]]), 1).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "length", "expected"),
    [("short", 10, "short"), ("S2A_2020_T32UPU", 9, "S2A_…2UPU"), ("", 3, ""), ("a\u0000b", 5, "a?b"), ("景", 5, "?")],
)
def test_labels_keep_both_ends_of_long_names(text: str, length: int, expected: str) -> None:
    assert elide(text, length) == expected
    assert len(elide(text, length)) <= length


def test_photograph_stays_within_its_limit() -> None:
    picture = draw_mosaic(*both(make_preview(noise(500, 1000))), (), [], METRES)
    assert picture.media_type == "image/jpeg"
    assert len(picture.data) <= pictures._JPEG_LIMIT
    assert picture.width <= 1200


@pytest.mark.parametrize(
    ("crs", "unit", "geographic"),
    [("EPSG:32633", "m", False), ("EPSG:4326", "°", True), ("nonsense", "CRS units", False)],
)
def test_coordinates_are_called_by_their_unit(crs: str, unit: str, geographic: bool) -> None:
    label = describe_crs(crs)
    assert (label.unit, label.geographic) == (unit, geographic)
