from __future__ import annotations

import numpy as np
import pytest

from processor.report.axes import Scale, choose_ticks, fit_scale, format_ticks
from processor.report.svg import FONT, measure_text


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 1), (-1e-9, 3e-9), (499987.5, 502573.25), (1e300, 1.0001e300), (-1e9, 5), (0.99999, 1.00001), (-7.3, -7.1)],
)
@pytest.mark.parametrize("pixels", [60, 250, 1000])
def test_ticks_are_round_few_and_within_the_scale(low: float, high: float, pixels: float) -> None:
    scale = Scale(low=low, high=high, start=0, end=pixels)
    ticks = choose_ticks(scale)
    assert 1 <= len(ticks) <= 8
    places = scale.place(ticks)
    assert ((places >= -1e-6) & (places <= pixels + 1e-6)).all()
    texts = format_ticks(ticks)
    assert len(set(texts)) == len(texts)
    np.testing.assert_allclose([float(text.replace("\u2212", "-")) for text in texts], ticks, rtol=1e-4)
    if len(ticks) > 2:
        assert (np.diff(places) >= max(map(measure_text, texts)) + FONT - 1e-6).all()


def test_scale_without_a_range_has_no_ticks() -> None:
    assert choose_ticks(Scale(low=-1.7e308, high=1.7e308, start=0, end=100)) == []


@pytest.mark.parametrize("values", [[], [np.nan, np.inf], [0.0], [5.0, 5.0], [1e-300], [-3.0, 8.0, np.nan]])
@pytest.mark.parametrize("zero", [False, True])
def test_scale_shows_every_finite_value(values: list[float], zero: bool) -> None:
    shown = [abs(value) for value in values] if zero else values
    scale = fit_scale(shown, 10, 110, zero=zero)
    assert scale.low < scale.high
    places = scale.place([value for value in shown if np.isfinite(value)])
    assert ((places >= 10) & (places < 110)).all()


def test_values_may_grow_upwards() -> None:
    assert Scale(low=0, high=10, start=100, end=0).place([0, 2.5, 10]).tolist() == [100, 75, 0]
