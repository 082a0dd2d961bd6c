from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from processor.model import Band
from processor.report import charts
from processor.report.charts import draw_adjustments, draw_agreement, draw_residuals
from processor.report.figures import OverlapResidual, RunFacts, compute_residuals
from processor.report.pictures import Picture

MakeFacts = Callable[..., RunFacts]


def residuals_of(facts: RunFacts) -> tuple[OverlapResidual, ...]:
    return compute_residuals(facts.overlaps, facts.adjustments, facts.corrections)


def agreement_of(facts: RunFacts, **options: Any) -> Picture | None:
    return draw_agreement(facts.overlaps, residuals_of(facts), facts.adjustments, facts.corrections, facts.bands, **options)


def count_colour(picture: Picture, colour: str) -> int:
    pixels = np.asarray(Image.open(io.BytesIO(picture.data)), int)
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(pixels - wanted).max(axis=2) <= 2).sum())


def test_bars_are_as_long_as_the_residuals(make_facts: MakeFacts) -> None:
    facts = make_facts(local=False)
    picture = draw_residuals(residuals_of(facts))
    assert picture.width == 1200
    assert count_colour(picture, charts._STATE_COLOURS["before"]) > 20_000
    assert count_colour(picture, charts._STATE_COLOURS["global"]) < 1_000  # the legend: the match is perfect


@pytest.mark.parametrize(("rows", "most"), [(2, 400), (5, 1900), (6, 1200), (20, 1200)])
def test_any_number_of_overlaps_fits(make_facts: MakeFacts, rows: int, most: int) -> None:
    facts = make_facts(rows, rows, 1, samples=4)
    picture = draw_residuals(residuals_of(facts))
    assert picture.height <= most
    assert f"{len(facts.overlaps)} overlaps" in picture.alt


def test_residuals_without_samples_can_be_drawn(make_facts: MakeFacts) -> None:
    assert draw_residuals(residuals_of(make_facts(sampled=False))) is not None
    assert draw_residuals(residuals_of(make_facts(6, 6, 1, sampled=False))) is not None


def test_overlaps_that_agree_perfectly_can_be_drawn(make_facts: MakeFacts) -> None:
    facts = make_facts(6, 6, 1, matched=False, local=False)
    same = tuple(dataclasses.replace(o, samples=dataclasses.replace(o.samples, second=o.samples.first)) for o in facts.overlaps)
    assert draw_residuals(residuals_of(dataclasses.replace(facts, overlaps=same))) is not None


@pytest.mark.parametrize(("scenes", "bands"), [(1, 1), (40, 1), (41, 1), (100, 12)])
def test_any_number_of_scenes_fits(make_facts: MakeFacts, scenes: int, bands: int) -> None:
    facts = make_facts(1, scenes, bands, samples=2)
    picture = draw_adjustments(facts.adjustments, facts.bands)
    assert picture.height <= 1450


def test_no_two_bands_look_the_same() -> None:
    bands = [Band(name=f"b{i}") for i in range(16)]
    looks = list(zip(charts._band_colours(bands), map(charts._marker, range(16)), strict=True))
    assert len(set(looks)) == 16


def test_colours_of_the_spectrum_are_used_where_they_are_known() -> None:
    bands = [Band(name="x", common_name=name) for name in ("blue", "red")]
    assert charts._band_colours(bands) == [charts._BAND_COLOURS["blue"], charts._BAND_COLOURS["red"]]


def test_agreement_shows_the_worst_pairs(make_facts: MakeFacts) -> None:
    facts = make_facts()
    assert agreement_of(facts, pairs=1).height < agreement_of(facts, pairs=2).height
    assert "2 worst" in agreement_of(facts).alt


def test_agreement_of_scenes_of_one_value_can_be_drawn(make_facts: MakeFacts) -> None:
    facts = make_facts(matched=False, local=False)
    flat = tuple(
        dataclasses.replace(
            o,
            samples=dataclasses.replace(
                o.samples, first=np.full((3, 60), 5, np.float32), second=np.full((3, 60), 5, np.float32)
            ),
        )
        for o in facts.overlaps
    )
    assert agreement_of(dataclasses.replace(facts, overlaps=flat)) is not None


def test_nothing_to_draw_gives_no_picture(make_facts: MakeFacts) -> None:
    assert draw_residuals(()) is None
    assert draw_adjustments((), make_facts().bands) is None
    assert agreement_of(make_facts(sampled=False)) is None


def test_any_name_can_be_drawn(make_facts: MakeFacts) -> None:
    facts = make_facts(names=[r"$x_{$", "景色", "x" * 300, "y"])
    assert draw_residuals(residuals_of(facts)) is not None
    assert draw_adjustments(facts.adjustments, facts.bands) is not None
    assert agreement_of(facts) is not None
