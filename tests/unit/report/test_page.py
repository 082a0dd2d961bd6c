from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from collections.abc import Sequence
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from reports import make_preview, make_report_inputs

from processor.model import Artifact, Band, Finding
from processor.report.bundle import draw_report, make_report
from processor.report.document import build_report
from processor.report.figures import ReportInputs
from processor.report.page import render_page
from processor.report.svg import Picture, assemble, draw_image, draw_text
from processor.report.text import (
    clip_text,
    coverage_text,
    describe_excess,
    format_change,
    format_figure,
    format_figures,
    format_size,
)

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;"
VOID = {"meta", "img", "br", "link"}


class Reader(HTMLParser):
    """Tags, attributes and text of a page; checks that tags are closed in order."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], ""
        self.feed(page.decode())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, *attribute) for attribute in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def render(inputs: ReportInputs, pictures: Sequence[Picture] = ()) -> Reader:
    return Reader(render_page(build_report(inputs), pictures, inputs.artifacts))


def make_artifact(path: str = "mosaic.tif", title: str = "Mosaic") -> Artifact:
    return Artifact(
        key="mosaic",
        path=path,
        media_type="image/tiff; application=geotiff",
        title=title,
        roles=("data",),
        size=1234567,
        sha256="0a" * 32,
    )


PICTURE = assemble(
    "mosaic",
    'a " & b',
    5,
    [draw_image(0, 0, 10, 5, b"\x89PNG", "image/png", smooth=True), draw_text(1, 2, HOSTILE)],
    width=10,
)


def test_page_shows_the_verdict_in_words() -> None:
    text = render(make_report_inputs(local=False)).text
    assert "Good" in text
    assert "Every figure is within its limits." in text
    assert "The mosaic covers 100 % of what the scenes cover." in text
    assert "4 scenes, 4 overlaps" in text
    assert "Nothing to report." in text


def test_page_begins_with_its_doctype() -> None:
    assert render_page(build_report(make_report_inputs()), [], []).startswith(b"<!doctype html>\n<html")


def test_page_asks_for_nothing_and_runs_one_script_that_its_policy_knows_by_hash() -> None:
    page = render(dataclasses.replace(make_report_inputs(), artifacts=(make_artifact(),)), [PICTURE])
    assert not {"link", "iframe", "object", "embed", "form", "base"} & set(page.tags)
    for tag, name, value in page.attributes:
        assert not name.startswith("on")
        if name in {"src", "href", "action", "srcset"}:
            assert value.startswith("data:image/" if tag == "image" else "./")
    policy = next(value for _, name, value in page.attributes if name == "content" and "default-src" in value)
    assert "default-src 'none'" in policy
    style = render_page(build_report(make_report_inputs()), [], []).decode()
    (script,) = re.findall(r"<script>(.*?)</script>", style, flags=re.DOTALL)
    assert f"script-src 'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy
    assert not re.search(r"fetch|XMLHttp|import|eval|innerHTML|location", script)
    assert not re.search(r"url\(|@import|https?://", style)


def test_no_chart_scrolls_and_no_card_overflows_on_a_narrow_screen() -> None:
    style = render_page(build_report(make_report_inputs()), [], []).decode().partition("@media print")[0]
    assert re.search(r"\.plate svg {[^}]*max-width: 100%", style)
    assert not re.search(r"\.plate[^{]*{[^}]*overflow", style)
    assert re.search(r"\.value {[^}]*overflow-wrap: anywhere", style)


def test_charts_have_the_colours_of_the_page() -> None:
    inputs = make_report_inputs()
    preview = make_preview(inputs)
    page = make_report(inputs, draw_report(inputs, preview)).page.decode()
    used, defined = set(re.findall(r"var\((--[a-z-]+)\)", page)), set(re.findall(r"(--[a-z-]+):", page))
    assert {"--ink", "--muted", "--grid", "--edge", "--stripe"} <= used <= defined
    light, dark = (set(re.findall(r"(--[a-z-]+):", part)) for part in page.partition("(prefers-color-scheme: dark)")[::2])
    assert light <= dark


def test_every_picture_has_size_and_words() -> None:
    page = render(make_report_inputs(), [PICTURE])
    drawing = {name: value for tag, name, value in page.attributes if tag == "svg"}
    assert {"role": "img", "aria-label": 'a " & b', "width": "10", "height": "5"}.items() <= drawing.items()
    assert ("image", "href", "data:image/png;base64,iVBORw==") in page.attributes
    assert "Mosaic and seamlines" in page.text


MARKUP = st.lists(
    st.sampled_from([*"<>\"'&;/=!-{}%#x ", "<script>", "</code>", "<!--", "{{ run }}", "{% raw %}", "&lt;"]), min_size=1
)


def plant(word: str) -> ReportInputs:
    """A run in which every text that a stranger can choose is, or has in it, a word."""
    names = [word, f"{word}2", "c", "d"]
    findings = tuple(Finding(severity="warning", code=word, message=word, scene=scene) for scene in (word, None))
    inputs = make_report_inputs(names=names, findings=findings, flags={"inputs.asset": word})
    first, *others = inputs.scenes
    bands = (Band(name=word), Band(name="b", common_name=word), *first.bands[2:])
    return dataclasses.replace(
        inputs,
        item_id=word,
        version=word,
        digest=word,
        scenes=(dataclasses.replace(first, bands=bands), *others),
        artifacts=(dataclasses.replace(make_artifact(f"{word}.tif", word), media_type=word, sha256=word),),
    )


@given(word=MARKUP.map("".join).filter(str.strip))
@example(word=HOSTILE)
def test_words_of_strangers_stay_words(word: str) -> None:
    page, harmless = (render(plant(text), [PICTURE]) for text in (word, "harmless"))
    assert page.tags == harmless.tags
    assert [key[:2] for key in page.attributes] == [key[:2] for key in harmless.attributes]
    assert page.text.count(clip_text(word)) >= harmless.text.count("harmless") - 1 > 20  # the checksum is cut


@pytest.mark.parametrize("name", ["\ud800", "\u202egnp.exe", "景", "x" * 100_000])
def test_any_name_can_be_shown(name: str) -> None:
    page = render_page(build_report(make_report_inputs(names=[name, "b", "c", "d"])), [], [])
    assert len(page) < 100_000
    Reader(page)


def test_the_verdict_comes_first_with_reasons_limits_and_what_to_do() -> None:
    page = render(make_report_inputs(scale=0.7))
    first = page.text.partition("Findings")[0]
    assert "Look here" in first
    assert "Contrast 0.700 (look below 0.8): the gains flatten the scenes." in " ".join(first.split())
    assert "--overwrite --preset satellite" in first


def test_what_nothing_matched_is_not_said_to_have_been() -> None:
    text = render(make_report_inputs(matched=False, local=False)).text
    assert "Where scenes overlap, they differ as they came: RMS " in text
    assert "matching took" not in text


def test_a_warning_comes_first_among_the_findings() -> None:
    page = render(make_report_inputs(scale=0.85))
    assert "Every figure is within its limits." in page.text
    assert "The global solve lowers the contrast" in page.text
    assert "in percent of the scenes' own standard deviation" in page.text


def test_incomplete_coverage_stands_out() -> None:
    inputs = make_report_inputs()
    counts = dataclasses.replace(inputs.counts, union=inputs.counts.mosaic + 1)
    page = render(dataclasses.replace(inputs, counts=counts))
    assert "1 pixel missing" in page.text
    assert "covers 99.9135 %" in page.text
    assert "covers 100 %" not in page.text


def test_run_of_two_thousand_scenes_gives_a_page_of_moderate_size() -> None:
    inputs = make_report_inputs(50, 40, 1, samples=2)
    page = render_page(build_report(inputs), [], [])
    text = Reader(page).text
    assert len(page) < 300_000
    assert "200 of 2,000 scenes are shown; report.json has them all." in text
    assert "100 of 3,910 overlaps are shown" in text


def test_run_without_samples_overlaps_or_cells_can_be_shown() -> None:
    assert "No two scenes overlap" in render(make_report_inputs(1, 1, 1, matched=False, local=False, cells=False)).text
    render(make_report_inputs(sampled=False))
    render(dataclasses.replace(make_report_inputs(), statistics=None))


def test_changed_parameters_are_listed() -> None:
    assert "at its default" in render(make_report_inputs()).text
    page = render(make_report_inputs(flags={"align_rasters.resampling_method": "cubic"}))
    assert "align_rasters.resampling_method" in page.text
    assert "cubic" in page.text


def test_links_lead_from_the_page_to_the_artifacts() -> None:
    inputs = dataclasses.replace(make_report_inputs(), artifacts=(make_artifact("a b/m#.tif"),))
    page = render(inputs)
    assert [value for tag, name, value in page.attributes if (tag, name) == ("a", "href")] == ["./a%20b/m%23.tif"]
    assert "1.23 MB" in page.text


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100 %"), (0.999_999_99, "99.9999 %"), (0.5, "50.0000 %"), (0.0, "0.0000 %"), (None, "\u2013")],
)
def test_only_complete_coverage_is_called_complete(share: float | None, text: str) -> None:
    assert coverage_text(share) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.500"),
        (12.345, "12.3"),
        (-0.09, "\u22120.0900"),
        (999.96, "1000"),
        (1e6 + 0.5, "1,000,000"),
        (0, "0"),
        (3e-7, "3.00e\u221207"),
    ],
)
def test_figures_have_three_digits(value: float, text: str) -> None:
    assert format_figure(value) == text


def test_many_bands_are_summed_up() -> None:
    assert format_figures([1.5, 2.5]) == "1.50 / 2.50"
    assert format_figures([5.5, 1.5, 2.5, 3.5, 4.5]) == "1.50 … 5.50"
    assert format_figures([None, 2.5]) == "\u2013 / 2.50"


def test_changes_and_sizes_are_in_words() -> None:
    assert format_change(10, 5) == "\u221250 %"
    assert format_change(10, 12) == "+20 %"
    assert format_change(0, 12) == ""
    assert format_change(None, 12) == ""
    assert [format_size(size) for size in (999, 1000, 2_500_000, 10**16)] == ["999 B", "1.00 kB", "2.50 MB", "10,000 TB"]


@pytest.mark.parametrize(
    ("excess", "step", "words"),
    [
        (None, None, "no seam was measured"),
        (1.48, 6.25, "that of the ground beside; 6.2 % of the standard deviation more"),
        (1.48, None, "that of the ground beside"),
        (0.8, -1.0, "that of the ground beside; seams are blurred"),
    ],
)
def test_what_the_step_at_seams_means(excess: float | None, step: float | None, words: str) -> None:
    assert describe_excess(excess, step) == words


def test_the_step_at_seams_is_a_tile() -> None:
    assert "Step at seams\n1.25 \u00d7" in re.sub(r"\s*\n\s*", "\n", render(make_report_inputs()).text)
