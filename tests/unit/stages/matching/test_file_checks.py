"""What is refused of JSON that others wrote, in words, before it takes memory."""

from __future__ import annotations

import math
from typing import Any

import pytest

from processor.errors import InputError
from processor.stages.matching import file_checks
from processor.stages.matching.adjustments_file import parse_adjustments
from processor.stages.matching.file_checks import parse_json, require_mapping, require_number, require_numbers
from processor.stages.matching.surfaces_file import parse_surfaces


@pytest.mark.parametrize("parse", [parse_adjustments, parse_surfaces])
@pytest.mark.parametrize("text", ["[" * 100_000, "{", "", "9" * 5000, "\x00"], ids=["deep", "open", "empty", "digits", "zero"])
def test_text_that_is_no_document_is_refused_by_every_file(parse: Any, text: str) -> None:
    with pytest.raises(InputError, match=r"^f is not JSON"):
        parse(text, source="f", bands=1)


@pytest.mark.parametrize("text", ["[" + "[]," * 20 + "[]]", "[" + "0," * 40 + "0]"])
def test_documents_of_more_than_any_run_writes_are_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_checks, "_MOST_CONTAINERS", 20)
    monkeypatch.setattr(file_checks, "_MOST_VALUES", 30)
    with pytest.raises(InputError, match="f holds more than 20 lists or 30 values"):
        parse_json(text, "f")
    assert parse_json("[" + "[]," * 10 + "[]]", "f") == [[]] * 11


@pytest.mark.parametrize("value", [True, "1", None, [1], math.nan, math.inf, 1e39, 10**400])
def test_what_is_no_number_of_a_radiometry_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match="f, mean: must be a finite number"):
        require_number({"mean": value}, "mean", "f")
    with pytest.raises(InputError, match="f, mean: must be 1 finite numbers"):
        require_numbers({"mean": [value, 2]}, "mean", (1,), "f")


def test_a_long_value_is_not_repeated_whole() -> None:
    with pytest.raises(InputError) as refused:
        require_number({"mean": "x" * 10_000}, "mean", "f")
    assert len(str(refused.value)) < 200
    with pytest.raises(InputError, match="f: must be a mapping, got list"):
        require_mapping([], "f")
