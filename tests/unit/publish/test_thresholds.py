"""What a mosaic has to meet."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.errors import ConfigError, PermanentError, QualityError
from processor.publish.thresholds import FIGURES, Threshold, check_thresholds, parse_threshold


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("coverage<1", Threshold(figure="coverage", comparison="<", limit=1.0)),
        (" residual_after >= 5.5 ", Threshold(figure="residual_after", comparison=">=", limit=5.5)),
        ("warnings>0", Threshold(figure="warnings", comparison=">", limit=0.0)),
        (" verdict = bad", Threshold(figure="verdict", comparison="=", limit="bad")),
        ("verdict!=good", Threshold(figure="verdict", comparison="!=", limit="good")),
        ("bias_after<=-1e-3", Threshold(figure="bias_after", comparison="<=", limit=-1e-3)),
    ],
)
def test_a_condition_is_a_figure_a_comparison_and_a_number(text: str, expected: Threshold) -> None:
    assert parse_threshold(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "coverage",
        "coverage=1",
        "coverage==1",
        "coverage<",
        "<1",
        "coverage<one",
        "coverage<nan",
        "coverage<inf",
        "a<1<2",
        "verdict=awful",
        "verdict<bad",
        "coverage=good",
    ],
)
def test_what_is_no_condition_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is no condition; .*'coverage<1'"):
        parse_threshold(text)


def test_an_unknown_figure_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"no figure residual_aftr \(did you mean residual_after\?\); it has coverage, .*infos"
    ):
        parse_threshold("residual_aftr>5")


@pytest.mark.parametrize(
    ("text", "value", "fails"),
    [
        ("coverage<1", 1, False),
        ("coverage<1", 0.999999, True),
        ("coverage<=1", 1, True),
        ("residual_after>5", 5, False),
        ("residual_after>=5", 5, True),
        ("residual_after>5", None, True),
        ("residual_after>5", math.nan, True),
        ("verdict=bad", "bad", True),
        ("verdict=bad", "look", False),
        ("verdict=bad", None, True),
        ("verdict!=good", "look", True),
        ("verdict!=good", "good", False),
    ],
)
def test_a_condition_that_holds_fails_and_so_does_what_is_not_known(text: str, value: float | str | None, fails: bool) -> None:
    threshold = parse_threshold(text)
    assert threshold.is_breached(value) == fails


def test_a_figure_that_the_report_lacks_fails() -> None:
    with pytest.raises(QualityError, match="contrast is not known"):
        check_thresholds([parse_threshold("contrast<0.9")], {}, report="r")


def test_every_figure_that_failed_is_told_with_its_value() -> None:
    thresholds = [
        parse_threshold(text) for text in ("coverage<1", "residual_after>5", "contrast<0.9", "warnings>0", "verdict=bad")
    ]
    summary = {"verdict": "bad", "coverage": 0.9991, "residual_after": 7.25, "contrast": None, "warnings": 0}
    with pytest.raises(QualityError) as caught:
        check_thresholds(thresholds, summary, report="s3://b/summer/report.html")
    assert isinstance(caught.value, PermanentError)
    assert str(caught.value) == (
        "the mosaic was published and is not what was asked for: coverage is 0.9991 (--fail-on 'coverage<1'); "
        "residual_after is 7.25 (--fail-on 'residual_after>5'); contrast is not known (--fail-on 'contrast<0.9'); "
        "verdict is bad (--fail-on 'verdict=bad'); "
        "see s3://b/summer/report.html"
    )


def test_nothing_is_said_where_all_is_well_or_nothing_is_asked() -> None:
    check_thresholds([], {}, report="r")
    check_thresholds([parse_threshold("coverage<1")], {"coverage": 1}, report="r")


@given(
    st.sampled_from(FIGURES),
    st.sampled_from(["<", "<=", ">", ">="]),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
)
def test_a_condition_is_read_as_it_is_written(figure: str, comparison: str, limit: float) -> None:
    threshold = parse_threshold(f"{figure}{comparison}{limit!r}")
    assert threshold == Threshold(figure=figure, comparison=comparison, limit=limit)
    assert parse_threshold(str(threshold)) == threshold
