from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from reports import RGB, noise, preview_of

from processor.model import Band
from processor.report.figures import Preview
from processor.report.pictures import render_thumbnail, stretch


def open_thumbnail(preview: Preview, bands: Sequence[Band], **options: Any) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(render_thumbnail(stretch(preview, bands), **options))))


@pytest.mark.parametrize(("shape", "size"), [((300, 1200), (512, 128)), ((1200, 300), (128, 512)), ((30, 40), (40, 30))])
def test_thumbnail_is_below_600_pixels_and_never_enlarged(shape: tuple[int, int], size: tuple[int, int]) -> None:
    image = Image.open(io.BytesIO(render_thumbnail(stretch(preview_of(noise(*shape)), RGB))))
    assert (image.size, image.mode, image.format) == (size, "RGBA", "PNG")


def test_thumbnail_of_a_thread_of_pixels_keeps_one() -> None:
    assert open_thumbnail(preview_of(noise(1, 5000)), RGB).shape == (1, 512, 4)


def test_thumbnail_is_transparent_exactly_where_the_mosaic_is_not_valid() -> None:
    valid = np.random.default_rng(2).random((20, 40)) < 0.5
    np.testing.assert_array_equal(open_thumbnail(preview_of(noise(), valid), RGB)[..., 3] == 255, valid)


def test_colours_at_an_edge_are_not_darkened_by_what_is_invalid() -> None:
    values, valid = np.zeros((3, 64, 64), np.uint8), np.zeros((64, 64), bool)
    valid[:, 21:] = True  # an edge inside the pixels of the thumbnail
    values[:, :32, 21:], values[:, 32:, 21:] = 100, 200
    image = open_thumbnail(preview_of(values, valid), RGB, side=16)
    assert np.unique(image[8:, 5:, :3]).tolist() == [255]
    assert 0 < image[8, 5, 3] < 255


def test_bands_are_shown_as_the_colours_they_are() -> None:
    bands = tuple(Band(name=name, common_name=name) for name in ("nir", "blue", "green", "red"))
    values = np.zeros((4, 20, 40), np.uint16)
    values[3, :, :20], values[1, :, 20:] = 1000, 1000  # red on the left, blue on the right
    image = open_thumbnail(preview_of(values), bands)
    assert image[0, 0].tolist() == [255, 0, 0, 255]
    assert image[0, 30].tolist() == [0, 0, 255, 255]


@pytest.mark.parametrize("by", ["name", "colour"])
def test_bands_are_shown_as_the_colours_that_their_names_or_the_file_say(by: str) -> None:
    names, colours = ("B08", "B02", "B03", "B04"), (None, "blue", "green", "red")
    bands = tuple(
        Band(name=name) if by == "name" else Band(name=f"band_{number}", colour=colour)
        for number, (name, colour) in enumerate(zip(names, colours, strict=True), start=1)
    )
    values = np.zeros((4, 20, 40), np.uint16)
    values[3, :, :20], values[1, :, 20:] = 1000, 1000  # red on the left, blue on the right
    image = open_thumbnail(preview_of(values), bands)
    assert image[0, 0].tolist() == [255, 0, 0, 255]
    assert image[0, 30].tolist() == [0, 0, 255, 255]


def test_red_green_and_blue_share_one_stretch_and_keep_their_hue() -> None:
    values = np.stack([noise()[0], noise()[0] // 2, noise()[0] // 8 + 100])
    image = open_thumbnail(preview_of(values), RGB).astype(float)
    assert image[..., 0].max() == 255
    assert image[..., 1].max() < 150
    assert 80 < image[..., 2].min() < image[..., 2].max() < 150


def test_unnamed_bands_are_stretched_each_for_itself() -> None:
    values = np.stack([noise()[0].astype(np.uint16), noise()[0].astype(np.uint16) * 100, noise()[0].astype(np.uint16)])
    image = open_thumbnail(preview_of(values), tuple(Band(name=str(i)) for i in range(3)))
    np.testing.assert_allclose(image[..., 0].astype(int), image[..., 1].astype(int), atol=1)


@pytest.mark.parametrize("bands", [1, 2])
def test_fewer_than_three_bands_are_grey(bands: int) -> None:
    image = open_thumbnail(preview_of(noise(bands=bands)), tuple(Band(name=str(i)) for i in range(bands)))
    np.testing.assert_array_equal(image[..., 0], image[..., 2])
    assert len(np.unique(image[..., 0])) > 50


@pytest.mark.parametrize("value", [0, 7, 255])
def test_flat_mosaic_has_a_thumbnail(value: float) -> None:
    assert (open_thumbnail(preview_of(np.full((3, 20, 40), value, np.uint8)), RGB)[..., 3] == 255).all()


def test_values_that_are_not_finite_are_left_out() -> None:
    values = noise().astype(np.float32)
    values[0, 0, 0], values[1, 0, 1] = np.nan, np.inf
    alpha = open_thumbnail(preview_of(values), RGB)[..., 3]
    assert alpha[0, :3].tolist() == [0, 0, 255]


def test_mosaic_without_valid_pixels_has_a_thumbnail() -> None:
    assert (open_thumbnail(preview_of(noise(), np.zeros((20, 40), bool)), RGB)[..., 3] == 0).all()


def test_thumbnail_says_nothing_of_when_and_how() -> None:
    png = render_thumbnail(stretch(preview_of(noise()), RGB))
    chunks, position = set(), 8
    while position < len(png):
        length = int.from_bytes(png[position : position + 4])
        chunks.add(png[position + 4 : position + 8])
        position += 12 + length
    assert chunks == {b"IHDR", b"IDAT", b"IEND"}
