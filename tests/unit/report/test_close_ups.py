"""Close-ups in the page: both states stretched alike, named, and measured."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
from PIL import Image

from processor.model import Band
from processor.report.close_ups import draw_close_ups
from processor.report.figures import SeamView

BANDS = tuple(Band(name=name) for name in ("red", "green", "blue"))


def make_view(*, step: float = 40.0, name: str = "a", difference: float | None = 0.25) -> SeamView:
    noise = np.random.default_rng(0).normal(0, 5, (3, 96, 96))
    index = np.ones((96, 96), np.uint8)
    index[:, 48:] = 2
    index[90:] = 0
    before = np.rint(100 + noise + step * (index == 2)).astype(np.uint8)
    return SeamView(
        first=name,
        second="b",
        follows="difference",
        row=10,
        col=20,
        difference=difference,
        before=before,
        after=np.rint(100 + noise).astype(np.uint8),
        index=index,
    )


def read_images(markup: str) -> list[np.ndarray]:
    found = re.findall(r'href="data:image/png;base64,([^"]+)"', markup)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in found]


def test_a_view_is_two_images_with_its_names_and_figures() -> None:
    picture = draw_close_ups([make_view()], BANDS, is_alike=True)
    assert picture is not None
    before, after = read_images(picture.markup)
    assert before.shape == after.shape == (96, 96, 4)
    assert before[:90, 60:, 0].mean() > after[:90, 60:, 0].mean() + 50, "stretched alike"
    assert (before[90:, :, 3] == 0).all()
    assert "a | b" in picture.markup
    assert "matched scenes differ by 0.25 standard deviations" in picture.markup
    found = re.search(r"step across it (\d+\.\d+) to (\d+\.\d+) times that beside it", picture.markup)
    assert found is not None
    assert float(found[1]) > 4
    assert 0.7 < float(found[2]) < 1.3
    assert "cut along what is alike" in picture.markup
    assert "from row 10, column 20" in picture.markup


def test_scenes_in_other_units_are_stretched_by_themselves() -> None:
    view = make_view(step=0)
    own = draw_close_ups([view], BANDS, is_alike=False)
    assert own is not None
    before, after = read_images(own.markup)
    assert np.array_equal(before, after)


def test_six_views_are_two_rows_and_none_is_no_picture() -> None:
    assert draw_close_ups([], BANDS, is_alike=True) is None
    one, six = (draw_close_ups([make_view()] * count, BANDS, is_alike=True) for count in (1, 6))
    assert one is not None
    assert six is not None
    assert abs(six.height - 2 * one.height) <= 1
    assert len(read_images(six.markup)) == 12


def test_words_of_strangers_stay_words_and_what_is_unknown_is_said() -> None:
    picture = draw_close_ups([make_view(name="<script>", difference=None)], BANDS, is_alike=True)
    assert picture is not None
    assert "<script>" not in picture.markup
    assert "difference of the matched scenes not measured" in picture.markup


def test_flat_and_missing_pixels_are_drawn() -> None:
    view = make_view()
    flat = SeamView(
        first="a", second="b", follows="straight-line", row=0, col=0, difference=None,
        before=np.full((3, 8, 8), np.nan, np.float32), after=np.full((3, 8, 8), 7, np.float32), index=np.ones((8, 8), np.uint8),
    )  # fmt: skip
    picture = draw_close_ups([view, flat], BANDS, is_alike=True)
    assert picture is not None
    assert "steps beside the seam are unknown" in picture.markup
