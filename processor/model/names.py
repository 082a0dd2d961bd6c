"""Find scene names in other names, such as those of map files and vector features.

A text names a scene if the name stands between characters that are neither letters nor digits: ``block_map_local_ngi_1_Global``
names ``ngi_1``, ``local_ngi_10`` does not. If one scene's name is part of another's, the longer one counts: ``ngi_1_b`` does
not name ``ngi_1`` if both are scenes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Literal

from processor.errors import ConfigError, InputError


class SceneNames:
    """Scene names, to be found in many texts.

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
    names = {text: text if text in known else PurePosixPath(text).stem for text in texts}
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
