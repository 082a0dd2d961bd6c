"""The adjustments file: what is written, and what is refused when it is read."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from processor.errors import InputError
from processor.model import Adjustment, Moments, Overlap
from processor.stages.matching.adjustments_file import parse_adjustments, render_adjustments


def moments(mean: list[float], std: list[float], count: int) -> Moments:
    return Moments(
        count=count, mean=np.array(mean), m2=np.square(np.array(std)) * count, minimum=np.zeros(2), maximum=np.full(2, 255.0)
    )


WHOLE = {"a": moments([100.5, 50], [10.25, 5], 4000), "b": moments([120, 60], [12, 6], 5000), "c": moments([9, 8], [7, 6], 3)}
OVERLAPS = (
    Overlap(
        first="a",
        second="b",
        first_moments=moments([101, 51], [11, 5.5], 700),
        second_moments=moments([121, 61], [13, 6.5], 700),
    ),
)
ADJUSTMENTS = (
    Adjustment(scene="a", scale=np.array([1.1, 0.9]), offset=np.array([-3.0, 4.5])),
    Adjustment(scene="b", scale=np.array([0.8, 1.25]), offset=np.array([7.0, -2.0])),
    Adjustment(scene="c", scale=np.ones(2), offset=np.zeros(2)),
)


@pytest.fixture
def document() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(render_adjustments(ADJUSTMENTS, WHOLE, OVERLAPS))
    return parsed


def parse(document: Any, *, bands: int = 2) -> Any:
    return parse_adjustments(json.dumps(document), source="known.json", bands=bands)


def test_file_is_laid_out_as_the_well_known_program_does(document: dict[str, Any]) -> None:
    assert document["a"] == {
        "adjustments": {"band_0": {"scale": 1.1, "offset": -3.0}, "band_1": {"scale": 0.9, "offset": 4.5}},
        "whole_stats": {
            "band_0": {"mean": 100.5, "std": 10.25, "size": 4000},
            "band_1": {"mean": 50.0, "std": 5.0, "size": 4000},
        },
        "overlap_stats": {
            "b": {"band_0": {"mean": 101.0, "std": 11.0, "size": 700}, "band_1": {"mean": 51.0, "std": 5.5, "size": 700}}
        },
    }
    assert document["b"]["overlap_stats"]["a"]["band_1"] == {"mean": 61.0, "std": 6.5, "size": 700}
    assert document["c"]["overlap_stats"] == {}
    assert list(document) == ["a", "b", "c"]


def test_file_ends_with_a_line_and_is_the_same_each_time() -> None:
    text = render_adjustments(ADJUSTMENTS, WHOLE, OVERLAPS)
    assert text.endswith("}\n")
    assert text == render_adjustments(ADJUSTMENTS, WHOLE, OVERLAPS)


def test_statistics_that_are_no_numbers_are_never_written() -> None:
    whole = {**WHOLE, "c": moments([np.nan, 1], [1, 1], 3)}
    with pytest.raises(ValueError, match="not JSON compliant"):
        render_adjustments(ADJUSTMENTS, whole, OVERLAPS)


def test_statistics_come_back_as_they_were_written(document: dict[str, Any]) -> None:
    known = parse(document)
    assert sorted(known.whole) == ["a", "b", "c"]
    for name, expected in WHOLE.items():
        assert known.whole[name].count == expected.count
        np.testing.assert_array_equal(known.whole[name].mean, expected.mean)
        np.testing.assert_allclose(known.whole[name].std, expected.std, rtol=1e-15)
        assert np.isnan(known.whole[name].minimum).all()
        assert np.isnan(known.whole[name].maximum).all()
    (overlap,) = known.overlaps
    assert (overlap.first, overlap.second) == ("a", "b")
    np.testing.assert_array_equal(overlap.first_moments.mean, [101, 51])
    np.testing.assert_array_equal(overlap.second_moments.mean, [121, 61])
    assert overlap.first_moments.count == overlap.second_moments.count == 700


def test_pairs_are_in_name_order_whatever_the_order_of_the_file(document: dict[str, Any]) -> None:
    turned = {name: document[name] for name in reversed(document)}
    (overlap,) = parse(turned).overlaps
    assert (overlap.first, overlap.second) == ("a", "b")
    np.testing.assert_array_equal(overlap.first_moments.mean, [101, 51])


def test_overlaps_with_scenes_that_are_not_in_the_file_are_left_out(document: dict[str, Any]) -> None:
    del document["b"]
    known = parse(document)
    assert sorted(known.whole) == ["a", "c"]
    assert known.overlaps == ()


def test_gains_are_not_needed_because_they_are_solved_for_again(document: dict[str, Any]) -> None:
    for entry in document.values():
        del entry["adjustments"]
    assert len(parse(document).overlaps) == 1


@pytest.mark.parametrize("text", ["", "{", "scale: 1"])
def test_text_that_is_not_json_is_refused_by_name(text: str) -> None:
    with pytest.raises(InputError, match=r"known\.json is not JSON"):
        parse_adjustments(text, source="known.json", bands=2)


@pytest.mark.parametrize("value", [[], {}, 3, None, "a"])
def test_a_document_without_scenes_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match=r"known\.json must be a mapping of scenes"):
        parse(value)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("b",), 3, ["scene b", "mapping", "int"]),
        (("b", "whole_stats"), None, ["scene b", "'whole_stats' is missing"]),
        (("b", "overlap_stats"), None, ["scene b", "'overlap_stats' is missing"]),
        (("b", "overlap_stats"), [], ["scene b", "overlap_stats", "mapping", "list"]),
        (("b", "overlap_stats", "a"), None, ["scene b", "a is missing"]),
        (("a", "overlap_stats", "b"), None, ["scene a", "b is missing"]),
        (("b", "whole_stats", "band_1"), None, ["scene b", "whole_stats", "'band_1' is missing"]),
        (("b", "whole_stats", "band_2"), {"mean": 1}, ["scene b", "band_2", "2 bands"]),
        (("b", "whole_stats", "band_1", "std"), None, ["scene b", "band_1", "'std' is missing"]),
        (("b", "whole_stats", "band_1", "std"), -1, ["scene b", "std must not be negative", "-1"]),
        (("b", "whole_stats", "band_1", "mean"), "x", ["scene b", "band_1, mean", "finite number", "'x'"]),
        (("b", "whole_stats", "band_1", "mean"), float("nan"), ["scene b", "finite number", "nan"]),
        (("b", "whole_stats", "band_1", "mean"), True, ["scene b", "finite number", "True"]),
        (("b", "whole_stats", "band_1", "size"), 7, ["scene b", "size must be one whole number", "7"]),
        (("b", "overlap_stats", "a", "band_0", "size"), 2.5, ["scene b", "overlap_stats, a", "size", "2.5"]),
    ],
)
def test_a_malformed_file_is_refused_naming_the_scene_and_the_key(
    document: dict[str, Any], path: tuple[str, ...], value: Any, words: list[str]
) -> None:
    """``None`` takes the key out."""
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    with pytest.raises(InputError) as caught:
        parse(document)
    for word in ["known.json", *words]:
        assert word in str(caught.value)


def test_a_file_of_fewer_bands_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="'band_2' is missing"):
        parse(document, bands=3)
    with pytest.raises(InputError, match="band_1 is more than the 1 bands"):
        parse(document, bands=1)
