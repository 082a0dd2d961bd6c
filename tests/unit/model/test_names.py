"""Scenes' names within other names: never a bare substring."""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Collection
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.errors import ConfigError, InputError
from processor.model.names import SceneNames, choose_scenes, is_safe_name, match_scenes, name_scenes, safe_name

TEXTS = st.text(alphabet="ab1_- é", max_size=12)
Setting = tuple[Literal["include", "exclude"], list[str]]
NAMES = st.text(alphabet="ab1_-", min_size=1, max_size=5)


def stands_in(scene: str, text: str) -> bool:
    """The rule as a pattern: no letter or digit is beside the name."""
    return re.search(rf"(?<![^\W_]){re.escape(scene)}(?![^\W_])", text) is not None


def read_as(text: str, scenes: Collection[str]) -> str:
    """The text, or how names are made of ids where it names none as it stands and is no safe name."""
    if is_safe_name(text) or any(stands_in(scene, text) for scene in scenes):
        return text
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return re.sub(r"[^A-Za-z0-9._-]+", "_", bare)


@pytest.mark.parametrize(
    ("text", "scene", "expected"),
    [
        ("ngi_1", "ngi_1", True),
        ("block_map_local_ngi_1_Global", "ngi_1", True),
        ("local_ngi_10", "ngi_1", False),
        ("local_ngi_10, ngi_1", "ngi_1", True),
        ("sngi_1", "ngi_1", False),
        ("ngi_1b", "ngi_1", False),
        ("NGI_1", "ngi_1", False),
        ("/data/ngi_1.tif", "ngi_1", True),
        ("égi", "gi", False),  # a letter is a letter in every script
        ("a.b", "a.b", True),
        ("axb", "a.b", False),
        ("x(1)", "(1)", False),  # the name begins with a character that ends words, but stands right behind a letter
        ("x (1)", "(1)", True),
        ("", "a", False),
    ],
)
def test_a_name_counts_where_no_letter_or_digit_is_beside_it(text: str, scene: str, expected: bool) -> None:
    assert SceneNames([scene]).find(text) == (scene if expected else None)


@given(TEXTS, NAMES)
def test_one_name_is_found_exactly_where_the_rule_as_a_pattern_finds_it(text: str, scene: str) -> None:
    assert (SceneNames([scene]).find(text) == scene) == stands_in(scene, read_as(text, [scene]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s_1", ("s_1",)),
        ("s_1_2", ("s_1_2",)),  # not s_1, which is part of it
        ("s_1, s_1_2", ("s_1", "s_1_2")),  # s_1 on its own too
        ("s_1_2 and s_3", ("s_1_2", "s_3")),
        ("s_1_22", ("s_1",)),
        ("s_4", ()),
    ],
)
def test_the_longer_name_is_meant_where_one_is_part_of_another(text: str, expected: tuple[str, ...]) -> None:
    assert SceneNames(["s_1", "s_1_2", "s_3"]).find_all(text) == expected
    assert SceneNames(["s_3", "s_1_2", "s_1"]).find(text) == max(expected, key=len, default=None)


@given(TEXTS, st.sets(NAMES, min_size=1, max_size=5))
def test_every_scene_that_is_found_is_named_and_the_others_are_within_longer_ones(text: str, scenes: set[str]) -> None:
    found = SceneNames(scenes).find_all(text)
    assert list(found) == sorted(set(found))
    read = read_as(text, scenes)
    for scene in scenes:
        if scene in found:
            assert stands_in(scene, read)
        elif stands_in(scene, read):
            assert any(scene in other and len(other) > len(scene) for other in found)


def test_ten_thousand_names_are_looked_for_in_ten_thousand_texts_in_seconds() -> None:
    names = SceneNames(f"scene_{i}_{i % 7}" for i in range(10_000))
    start = time.process_time()
    assert all(names.find_all(f"mask of scene_{i}_{i % 7} (cloud)") == (f"scene_{i}_{i % 7}",) for i in range(10_000))
    assert time.process_time() - start < 20  # 0.2 s measured; comparing each with each takes minutes


def test_texts_are_matched_with_the_scenes_that_they_name() -> None:
    texts = ["local_ngi_1_Global", "local_ngi_10_Global", "local_ngi_99_Global"]
    assert match_scenes(texts, ["ngi_1", "ngi_10", "ngi_2"], what="block maps") == {
        "ngi_1": "local_ngi_1_Global",
        "ngi_10": "local_ngi_10_Global",
    }


def test_two_texts_for_one_scene_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="scene a: two block maps name it, new_a and old_a; leave one out"):
        match_scenes(["old_a", "new_a"], ["a", "b"], what="block maps")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (("include", ["b"]), {"b"}),
        (("include", ["b.tif", "/data/a.tif", "b"]), {"a", "b"}),
        (("include", ["c.2024"]), {"c.2024"}),  # a name, though it looks like a file's
        (("include", ["s3://bucket/c.2024.tif"]), {"c.2024"}),
        (("exclude", ["b"]), {"a", "c.2024"}),
        (("exclude", []), {"a", "b", "c.2024"}),
    ],
)
def test_scenes_are_chosen_by_name_or_file(setting: Setting, expected: set[str]) -> None:
    assert set(choose_scenes(setting, ["a", "b", "c.2024"], parameter="p") or ()) == expected


def test_without_a_setting_nothing_is_chosen() -> None:
    assert choose_scenes(None, ["a"], parameter="p") is None


@pytest.mark.parametrize("choice", ["include", "exclude"])
def test_a_name_of_no_scene_is_refused_with_those_that_there_are(choice: Literal["include", "exclude"]) -> None:
    with pytest.raises(ConfigError, match=r"^p: 'a1', 'd\.tif' names no scene; the scenes are a, a10, b$"):
        choose_scenes((choice, ["d.tif", "a", "a1"]), ["b", "a10", "a"], parameter="p")


@pytest.mark.parametrize("setting", [("include", []), ("exclude", ["a", "b"])])
def test_a_choice_that_leaves_no_scene_is_refused(setting: Setting) -> None:
    with pytest.raises(ConfigError, match=r"^p = .* leaves no scene; the scenes are a, b$"):
        choose_scenes(setting, ["a", "b"], parameter="p")


@pytest.mark.parametrize(
    "name", ["S2A_32TNS_20200101_0_L2A", "LC08_L2SP_1", "ca_m_3712213_ne_10_060_20200524", "a.b-c_d", "-a", "x" * 200]
)
def test_usual_names_are_safe(name: str) -> None:
    assert is_safe_name(name)
    assert safe_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".hidden",
        "a/b",
        "a b",
        "a:b",
        "a\\b",
        "a\nb",
        "a\n",
        "ä",
        "x" * 201,
        "%2e",
        "a*",
        "reference",
        "Reference",
    ],
)
def test_unsafe_names_get_a_safe_proposal(name: str) -> None:
    assert not is_safe_name(name)
    assert is_safe_name(safe_name(name))


@given(st.text(max_size=300))
def test_proposed_name_is_always_safe(name: str) -> None:
    assert is_safe_name(safe_name(name))


@pytest.mark.parametrize(
    ("ids", "qualifiers", "expected"),
    [
        (["a", "b"], [None, "c"], ["a", "b"]),
        (["17/031331303211/10300100DB064000"], [None], ["17_031331303211_10300100DB064000"]),
        (["Übersicht Süd"], [None], ["Ubersicht_Sud"]),
        (["a", "a"], ["x", "y"], ["x_a", "y_a"]),
        (["a", "a"], [None, "y"], ["a", "y_a"]),
        (["reference"], [None], ["reference_scene"]),
        (["../../etc/x"], [None], ["_.._etc_x"]),
    ],
)
def test_any_id_gives_a_name(ids: list[str], qualifiers: list[str | None], expected: list[str]) -> None:
    assert name_scenes(ids, qualifiers) == tuple(expected)


@pytest.mark.parametrize("ids", [["a b", "a/b", "a_b"], ["A", "a"], ["東京", "大阪"], ["x" * 300, "x" * 299]])
def test_names_that_come_out_alike_are_told_apart_in_any_order(ids: list[str]) -> None:
    names = dict(zip(ids, name_scenes(ids, [None] * len(ids)), strict=True))
    assert len({name.lower() for name in names.values()}) == len(ids)
    turned = ids[::-1]
    assert dict(zip(turned, name_scenes(turned, [None] * len(ids)), strict=True)) == names
    assert names.get("a_b", "a_b") == "a_b", "the one that needs no change keeps its name"


@given(st.lists(st.text(max_size=250), max_size=6, unique=True))
def test_names_are_always_safe_and_differ(ids: list[str]) -> None:
    names = name_scenes(ids, [None] * len(ids))
    assert all(map(is_safe_name, names))
    assert len({name.lower() for name in names}) == len(ids)


def test_one_id_of_one_collection_is_refused() -> None:
    with pytest.raises(InputError, match=r"Items 'a' and 'a' \(number 1 and 3\) have the same name: rename one"):
        name_scenes(["a", "b", "a"], ["c", "c", "c"], what="Item")


def test_scenes_are_found_by_the_ids_that_their_names_are_made_of() -> None:
    scenes = ["Sudhang_1", "17_0313_1030"]
    assert SceneNames(scenes).find("Südhang 1") == "Sudhang_1"
    assert SceneNames(scenes).find_all("17/0313/1030, Südhang 1") == ("17_0313_1030", "Sudhang_1")
    chosen = choose_scenes(("include", ["Südhang 1.tif", "17/0313/1030"]), scenes, parameter="x")
    assert chosen == frozenset(scenes)
