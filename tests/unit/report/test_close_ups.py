"""Close-ups in the page: both states stretched alike, named, and measured."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from drawings import find_marks
from PIL import Image

from processor.model import Band
from processor.report.axes import CrsLabel
from processor.report.close_ups import draw_close_ups
from processor.report.figures import SeamView
from processor.report.svg import Picture

BANDS = tuple(Band(name=name) for name in ("red", "green", "blue"))


METRES = CrsLabel(name="m", unit="m", geographic=False)
DEGREES = CrsLabel(name="d", unit="\u00b0", geographic=True)


def draw(views: list[SeamView], *, is_alike: bool = True, pixel_width: float = 2.5, label: CrsLabel = METRES) -> Picture | None:
    return draw_close_ups(views, BANDS, is_alike=is_alike, pixel_width=pixel_width, label=label)


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
        first_number=1,
        second_number=2,
    )


def read_images(markup: str) -> list[np.ndarray]:
    found = re.findall(r'href="data:image/png;base64,([^"]+)"', markup)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in found]


def test_a_view_is_two_images_with_its_names_and_figures() -> None:
    picture = draw([make_view()])
    assert picture is not None
    before, after = read_images(picture.markup)
    assert before.shape == after.shape == (96, 96, 4)
    assert before[:90, 60:, 0].mean() > after[:90, 60:, 0].mean() + 50, "stretched alike"
    assert (before[90:, :, 3] == 0).all()
    assert "a | b" in picture.markup
    assert "differ by 0.25 standard deviations" in picture.markup
    found = re.search(r"step (\d+\.\d+) \u2192 (\d+\.\d+) times that beside it", picture.markup)
    assert found is not None
    assert float(found[1]) > 4
    assert 0.7 < float(found[2]) < 1.3
    assert "cut along what is alike" in picture.markup
    assert "from row 10, column 20" in picture.markup


def test_scenes_in_other_units_are_stretched_by_themselves() -> None:
    view = make_view(step=0)
    own = draw([view], is_alike=False)
    assert own is not None
    before, after = read_images(own.markup)
    assert np.array_equal(before, after)


def test_each_view_is_a_drawing_of_its_own_that_a_phone_has_room_for() -> None:
    assert draw([]) is None
    six = draw([make_view()] * 6)
    assert six is not None
    assert len(read_images(six.markup)) == 12
    assert [svg.get("width") for svg in find_marks(six, "svg")] == ["328"] * 6


def test_a_step_is_that_of_the_two_scenes_that_are_named() -> None:
    """A third scene in the close-up, far brighter than both, is no part of their seam."""
    view, third = make_view(), make_view()
    for values in (third.before, third.after):
        values[:, :30] = 250
    third.index[:30] = 3
    one, other = draw([view]), draw([third])
    assert one is not None
    assert other is not None
    steps = [float(re.search(r"step (\d+\.\d+)", picture.markup)[1]) for picture in (one, other)]  # type: ignore[index]
    assert steps[1] == pytest.approx(steps[0], rel=0.1)


@pytest.mark.parametrize(
    ("pixel_width", "label", "words", "pixels"),
    [(2.5, METRES, "100 m", 40), (0.1, METRES, "2 m", 20), (30, METRES, "1000 m", 1000 / 30), (0.001, DEGREES, "20 px", 20)],
)
def test_a_bar_says_how_large_it_is(pixel_width: float, label: CrsLabel, words: str, pixels: float) -> None:
    picture = draw([make_view()], pixel_width=pixel_width, label=label)
    assert picture is not None
    assert f">{words}</text>" in picture.markup
    bar = re.search(r"v6h([\d.]+)v-6", picture.markup)
    assert bar is not None
    assert float(bar[1]) == pytest.approx(160 / 96 * pixels, abs=0.1)


def test_words_of_strangers_stay_words_and_what_is_unknown_is_said() -> None:
    picture = draw([make_view(name="<script>", difference=None)])
    assert picture is not None
    assert "<script>" not in picture.markup
    assert "difference not measured" in picture.markup


def test_flat_and_missing_pixels_are_drawn() -> None:
    view = make_view()
    flat = SeamView(
        first="a", second="b", follows="straight-line", row=0, col=0, difference=None,
        before=np.full((3, 8, 8), np.nan, np.float32), after=np.full((3, 8, 8), 7, np.float32), index=np.ones((8, 8), np.uint8),
        first_number=1, second_number=2,
    )  # fmt: skip
    picture = draw([view, flat])
    assert picture is not None
    assert "steps beside the seam are unknown" in picture.markup
