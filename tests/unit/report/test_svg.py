from __future__ import annotations

import pytest
from drawings import find_marks

from processor.report.svg import FONT, assemble, draw_path, draw_text, elide, measure_text


@pytest.mark.parametrize(
    ("text", "length", "expected"),
    [
        ("short", 10, "short"),
        ("S2A_2020_T32UPU", 9, "S2A_…2UPU"),
        ("", 3, ""),
        ("a\u0000b", 5, "a?b"),
        ("景", 5, "景"),
        ("\u202egnp", 5, "?gnp"),
        ("\ud800", 1, "?"),
    ],
)
def test_labels_keep_both_ends_of_long_names(text: str, length: int, expected: str) -> None:
    assert elide(text, length) == expected
    assert len(elide(text, length)) <= length


@pytest.mark.parametrize("text", ["景" * 40, "W" * 40, "a" * 100_000, "🛰" * 3])
def test_wide_names_take_no_more_room_than_others(text: str) -> None:
    label = elide(text, 20)
    assert 10 < len(label) <= 20 or label == text
    assert measure_text(label) <= 20 * FONT


def test_words_of_strangers_stay_words() -> None:
    hostile = "</text></svg><script>alert(1)</script>\"'&amp;"
    parts = [draw_text(1, 2, hostile, fill=hostile), draw_path("", stroke="red")]
    drawing = next(find_marks(assemble("x", hostile, 10, parts, width=20), "svg"))
    assert drawing.attrib["aria-label"] == hostile
    (text,) = drawing
    assert (text.text, text.attrib["fill"]) == (hostile, hostile)
