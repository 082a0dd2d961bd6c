from __future__ import annotations

import dataclasses
import io
import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from drawings import find_marks
from PIL import Image
from reports import make_report_inputs

from processor.model import Band
from processor.report import charts
from processor.report.charts import draw_adjustments, draw_agreement, draw_residuals
from processor.report.figures import OverlapResidual, ReportInputs, compute_residuals, pool
from processor.report.svg import PANEL, Picture, measure_text


def residuals_of(inputs: ReportInputs) -> tuple[OverlapResidual, ...]:
    return compute_residuals(inputs.overlaps, inputs.adjustments, inputs.corrections)


def agreement_of(inputs: ReportInputs) -> Picture | None:
    return draw_agreement(inputs.overlaps, residuals_of(inputs), inputs.adjustments, inputs.corrections, inputs.bands)


def find_paths(picture: Picture, **wanted: str) -> list[str]:
    """Path data of the marks with these attributes."""
    paths = find_marks(picture, "path")
    return [path.attrib["d"] for path in paths if wanted.items() <= path.attrib.items()]


def find_words(picture: Picture) -> list[ET.Element]:
    return list(find_marks(picture, "text"))


def measure_bars(picture: Picture, colour: str) -> list[list[float]]:
    """Lengths of the bars of a colour, a list for each panel, without the legends'."""
    panels = []
    for panel in ET.fromstring(picture.markup):  # noqa: S314 - the project's own markup
        _, bars, *_ = [path.attrib["d"] for path in panel if path.get("fill") == colour] + ["", ""]
        panels.append([float(length) for length in re.findall(r"M\S+ \S+?h(\S+?)v", bars)])
    return panels


def test_bars_are_as_long_as_the_residuals() -> None:
    inputs = make_report_inputs(local=False)
    residuals = sorted(residuals_of(inputs), key=charts._badness, reverse=True)
    picture = draw_residuals(residuals)
    assert picture.width == PANEL
    expected = [pool(residual.before.rms) for residual in residuals], [pool(residual.before.bias) for residual in residuals]
    for bars, values in zip(measure_bars(picture, charts._STATE_COLOURS["before"]), expected, strict=True):
        np.testing.assert_allclose(np.array(bars) / max(bars), np.array(values) / max(values), atol=0.001)
        assert max(bars) > 300
    assert measure_bars(picture, charts._STATE_COLOURS["global"]) == [[], []]  # the match is perfect


@pytest.mark.parametrize(("rows", "most"), [(2, 265), (5, 1920), (6, 1040), (20, 1040)])
def test_any_number_of_overlaps_fits(rows: int, most: int) -> None:
    inputs = make_report_inputs(rows, rows, 1, samples=4)
    picture = draw_residuals(residuals_of(inputs))
    assert picture.height <= most
    assert f"{len(inputs.overlaps)} overlaps" in picture.alt


def test_residuals_without_samples_can_be_drawn() -> None:
    assert draw_residuals(residuals_of(make_report_inputs(sampled=False))) is not None
    assert draw_residuals(residuals_of(make_report_inputs(6, 6, 1, sampled=False))) is not None


def test_overlaps_that_agree_perfectly_can_be_drawn() -> None:
    inputs = make_report_inputs(6, 6, 1, matched=False, local=False)
    same = tuple(
        dataclasses.replace(o, samples=dataclasses.replace(o.samples, second=o.samples.first)) for o in inputs.overlaps
    )
    assert draw_residuals(residuals_of(dataclasses.replace(inputs, overlaps=same))) is not None


@pytest.mark.parametrize(("scenes", "bands"), [(1, 1), (40, 1), (41, 1), (100, 12)])
def test_any_number_of_scenes_fits(scenes: int, bands: int) -> None:
    inputs = make_report_inputs(1, scenes, bands, samples=2)
    picture = draw_adjustments(inputs.adjustments, inputs.bands)
    assert picture.height <= 1450


def test_no_two_bands_look_the_same() -> None:
    bands = [Band(name=f"b{i}") for i in range(16)]
    looks = list(zip(charts._band_colours(bands), map(charts._marker, range(16)), strict=True))
    assert len(set(looks)) == 16


def test_colours_of_the_spectrum_are_used_where_they_are_known() -> None:
    bands = [Band(name="x", common_name=name) for name in ("blue", "red")]
    assert charts._band_colours(bands) == [charts._BAND_COLOURS["blue"], charts._BAND_COLOURS["red"]]


def test_agreement_shows_the_worst_pairs() -> None:
    inputs = make_report_inputs()
    panels = [agreement_of(dataclasses.replace(inputs, overlaps=inputs.overlaps[:count])).markup for count in (1, 4)]
    assert [markup.count("<svg ") for markup in panels] == [3, 6]
    assert "2 worst" in agreement_of(inputs).alt


def test_agreement_of_scenes_of_one_value_can_be_drawn() -> None:
    inputs = make_report_inputs(matched=False, local=False)
    flat = tuple(
        dataclasses.replace(
            o,
            samples=dataclasses.replace(
                o.samples, first=np.full((3, 60), 5, np.float32), second=np.full((3, 60), 5, np.float32)
            ),
        )
        for o in inputs.overlaps
    )
    assert agreement_of(dataclasses.replace(inputs, overlaps=flat)) is not None


def test_nothing_to_draw_gives_no_picture() -> None:
    assert draw_residuals(()) is None
    assert draw_adjustments((), make_report_inputs().bands) is None
    assert agreement_of(make_report_inputs(sampled=False)) is None


def test_any_name_can_be_drawn() -> None:
    inputs = make_report_inputs(names=[r"$x_{$", "景色", "x" * 300, "y"])
    assert draw_residuals(residuals_of(inputs)) is not None
    assert draw_adjustments(inputs.adjustments, inputs.bands) is not None
    assert agreement_of(inputs) is not None


@pytest.mark.parametrize("name", ["景" * 30, "W" * 300, "S2A_MSIL2A_20260612T101031_N0511_R022_T33UUP_20260612T164012"])
def test_words_stay_within_the_picture(name: str) -> None:
    inputs = make_report_inputs(names=[name, f"{name}2", "c", "d"], bands=12)
    for picture in (
        draw_residuals(residuals_of(inputs)),
        draw_adjustments(inputs.adjustments, inputs.bands),
        agreement_of(inputs),
    ):
        for words in find_words(picture):
            size, anchor = measure_text(words.text), words.get("text-anchor", "start")
            start = float(words.attrib["x"]) - size * {"start": 0, "middle": 0.5, "end": 1}[anchor]
            if "transform" in words.attrib:  # along the vertical axis
                start, limit = float(words.attrib["y"]) - size / 2, picture.height
            else:
                limit = picture.width
            assert start > -1, words.text
            assert start + size < limit + 1, words.text


def test_values_that_are_not_finite_are_left_out() -> None:
    inputs = make_report_inputs(1, 2, 1)
    odd = dataclasses.replace(inputs.adjustments[0], scale=np.array([np.nan]), offset=np.array([np.inf]))
    for count in (1, 50):
        picture = draw_adjustments((odd, *inputs.adjustments[1:] * count), inputs.bands)
        assert not re.search("nan|inf", picture.markup.partition("</text>")[2])


def test_dots_are_where_the_gains_are() -> None:
    inputs = make_report_inputs(1, 4, 1)
    gains = np.array([a.scale[0] for a in inputs.adjustments])
    colour = charts._band_colours(inputs.bands)[0]
    _, left, *_ = find_paths(draw_adjustments(inputs.adjustments, inputs.bands), fill=colour)
    x, y = np.array([[float(number) for number in place] for place in re.findall(r"M(\S+) ([\d.]+)", left)]).T
    assert np.corrcoef(x, gains)[0, 1] > 0.99999
    np.testing.assert_allclose(np.diff(y), charts._SCENE)


def test_density_counts_every_sample_within_the_limits() -> None:
    values = np.array([0.0, 0.0, 10.0, 3.0]), np.array([0.0, 0.0, 10.0, 8.0])
    image = np.asarray(Image.open(io.BytesIO(charts._render_density(values, (0.0, 10.0)))))
    rows, columns = np.nonzero(image[..., 3])
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 63), (12, 19), (63, 0)]  # upwards from below
    assert image[63, 0, :3].sum() < image[0, 63, :3].sum()  # darker where there are more
