"""Names of scenes: made from any id, and found in other names, such as those of map files and vector features.

A scene's name is part of names of files, so it is safe on any storage; the id that it stands for is kept beside it.

A text names a scene if the name stands between characters that are neither letters nor digits: ``block_map_local_ngi_1_Global``
names ``ngi_1``, ``local_ngi_10`` does not. If one scene's name is part of another's, the longer one counts: ``ngi_1_b`` does
not name ``ngi_1`` if both are scenes.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final, Literal

from processor.errors import ConfigError, InputError

_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_RESERVED_NAMES: Final = frozenset({"reference"})  # the reference block map is stored beside the maps of the scenes
_LONGEST: Final = 200
_NAMELESS: Final = "scene_"
_MARK: Final = 8  # hexadecimal digits that keep two ids apart


def is_safe_name(name: str) -> bool:
    """Whether a name is a safe file name on any storage: letters, digits, ``.``, ``_``, ``-``, and no ``.`` first."""
    return _SAFE_NAME.fullmatch(name) is not None and name.lower() not in _RESERVED_NAMES


def safe_name(name: str) -> str:
    """A safe name close to the given one; letters lose their accents, what is no letter or digit becomes ``_``.

    Examples
    --------
    >>> safe_name("46/1220/2021-10-10")
    '46_1220_2021-10-10'
    """
    if is_safe_name(name):
        return name
    near = _make_plain(name).lstrip(".")[: _LONGEST - len("_scene")]
    return near if is_safe_name(near) else f"{near}_scene"


def _make_plain(text: str) -> str:
    """A text of letters, digits, ``.``, ``_`` and ``-`` alone."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return re.sub(r"[^A-Za-z0-9._-]+", "_", plain)


def name_scenes(
    ids: Sequence[str], qualifiers: Sequence[str | None], *, what: str = "scene", origins: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Give scenes names that are safe file names and differ, also on storage that ignores case, whatever their order.

    Parameters
    ----------
    ids
        Of the scenes, any text.
    qualifiers
        What tells scenes of one id apart, such as the id of a Collection or a folder; None where nothing does.
    what
        "Item" or "file", for messages.
    origins
        Where each is from, for messages.

    Returns
    -------
    The ids where they are such names already.

    Raises
    ------
    InputError
        Two scenes have the same id and the same qualifier.

    Examples
    --------
    >>> name_scenes(["17/0313/1030", "a b", "a", "a"], [None, None, "x", "y"])
    ('17_0313_1030', 'a_b', 'x_a', 'y_a')
    """
    often = Counter(ids)
    pairs = zip(ids, qualifiers, strict=True)
    texts = [f"{qualifier}_{text}" if often[text] > 1 and qualifier is not None else text for text, qualifier in pairs]
    near = [safe_name(text) if any(letter.isascii() and letter.isalnum() for letter in text) else _NAMELESS for text in texts]
    alike: dict[str, set[str]] = defaultdict(set)
    for text, name in zip(texts, near, strict=True):
        alike[name.lower()].add(text)
    # Of those that differ in nothing else than case or what is no letter, one keeps the name as it is.
    first = {key: min(found, key=lambda text: (not is_safe_name(text), text)) for key, found in alike.items()}
    names = [
        name if first[name.lower()] == text and (name != _NAMELESS or text == name) else _mark(name, text)
        for text, name in zip(texts, near, strict=True)
    ]
    shown = origins if origins is not None else [repr(text) for text in ids]
    seen: dict[str, int] = {}
    for position, name in enumerate(names):
        earlier = seen.setdefault(name.lower(), position)
        if earlier != position:
            where = f"{shown[earlier]} and {shown[position]} (number {earlier + 1} and {position + 1})"
            msg = f"{what}s {where} have the same name: rename one"
            raise InputError(msg)
    return tuple(names)


def _mark(name: str, text: str) -> str:
    """A name with a digest of the text that it stands for."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{name[: _LONGEST - _MARK - 1].rstrip('_')}_{digest[:_MARK]}"


class SceneNames:
    """Scene names, to be found in many texts; a text that names none as it stands is read as names are made of ids.

    Parameters
    ----------
    scenes
        Names, none of them empty.
    """

    def __init__(self, scenes: Iterable[str]) -> None:
        self._names = frozenset(scenes)
        self._lengths = sorted({len(name) for name in self._names}, reverse=True)

    def find_all(self, text: str) -> tuple[str, ...]:
        """The scenes that a text names, in name order.

        >>> SceneNames(["ngi_1", "ngi_1_b", "ngi_2"]).find_all("ngi_2, ngi_1_b")
        ('ngi_1_b', 'ngi_2')
        """
        found = self._find_all(text)
        return found if found or is_safe_name(text) else self._find_all(_make_plain(text))

    def _find_all(self, text: str) -> tuple[str, ...]:
        starts = [i for i in range(len(text)) if i == 0 or not text[i - 1].isalnum()]
        ends = {i for i in range(1, len(text) + 1) if i == len(text) or not text[i].isalnum()}
        pieces = ((start, start + length) for length in self._lengths for start in starts)  # the longest first
        spans: list[tuple[int, int]] = []
        for start, end in pieces:
            if end not in ends or text[start:end] not in self._names:
                continue
            if not any(first <= start and end <= last for first, last in spans):
                spans.append((start, end))
        return tuple(sorted({text[start:end] for start, end in spans}))

    def find(self, text: str) -> str | None:
        """The scene that a text names, the longest name if several; None if there is none."""
        return max(self.find_all(text), key=lambda name: (len(name), name), default=None)


def _find_known(text: str, known: Collection[str]) -> str:
    """The name that a text means: itself, that of a file, or one that was made of it; itself where there is none."""
    stem = PurePosixPath(text).stem
    return next((name for name in (text, stem, safe_name(text), safe_name(stem)) if name in known), text)


def match_scenes(texts: Collection[str], scenes: Collection[str], *, what: str) -> Mapping[str, str]:
    """{scene: text} of the texts that name a scene.

    Raises
    ------
    InputError
        If two texts name one scene; ``what`` says what they are.
    """
    names = SceneNames(scenes)
    found: dict[str, str] = {}
    for text in sorted(texts):
        scene = names.find(text)
        if scene is None:
            continue
        if scene in found:
            msg = f"scene {scene}: two {what} name it, {found[scene]} and {text}; leave one out"
            raise InputError(msg)
        found[scene] = text
    return found


def choose_scenes(
    setting: tuple[Literal["include", "exclude"], Collection[str]] | None, scenes: Collection[str], *, parameter: str
) -> frozenset[str] | None:
    """Scenes chosen by a setting (include or exclude, names or file names); None without a setting: all scenes.

    Raises
    ------
    ConfigError
        If a name is no scene's, or no scene is left.
    """
    if setting is None:
        return None
    choice, texts = setting
    known = frozenset(scenes)
    names = {text: _find_known(text, known) for text in texts}
    unknown = sorted(text for text, name in names.items() if name not in known)
    shown = ", ".join(sorted(known)[:20])
    if unknown:
        msg = f"{parameter}: {', '.join(map(repr, unknown))} names no scene; the scenes are {shown}"
        raise ConfigError(msg)
    chosen = known.intersection(names.values()) if choice == "include" else known.difference(names.values())
    if not chosen:
        msg = f"{parameter} = {(choice, list(texts))!r} leaves no scene; the scenes are {shown}"
        raise ConfigError(msg)
    return chosen
