"""YAML as a configuration needs it: scalars, lists and mappings, no aliases, not deep; every fault is a `yaml.YAMLError`."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

_MOST_DEPTH: Final = 32
_MOST_BITS: Final = 1024  # of a whole number; more is no float either
_QUOTED: Final = re.compile(r"(['\"]).{2,}\1")
_FAULTS: Final = (ValueError, OverflowError, AttributeError, KeyError, IndexError, TypeError)
"""What the constructors of scalars raise at `0x_`, `2024-02-30`, `!!timestamp x`, `!!bool maybe`, `!!int ""`, `{[1]: 2}`."""


def load_yaml(text: str) -> Any:
    """Parse YAML.

    Raises
    ------
    yaml.YAMLError
        The text is not YAML, has aliases (a few lines of them stand for gigabytes), is nested more than 32 deep, or has a
        scalar that is no value of its type.
    """
    return yaml.load(text, Loader=_PlainLoader)  # noqa: S506 - it is a safe loader that takes less


def describe_fault(error: yaml.YAMLError) -> str:
    """What is wrong and where, in words without the text itself: a line of a configuration may hold a secret."""
    if isinstance(error, yaml.reader.ReaderError):
        return f"{error.reason} (character {error.position + 1})"
    if not isinstance(error, yaml.MarkedYAMLError):
        return type(error).__name__
    told = _QUOTED.sub("'…'", " ".join(part for part in (error.context, error.problem) if part))
    mark = error.problem_mark or error.context_mark
    return told if mark is None else f"{told} (line {mark.line + 1}, column {mark.column + 1})"


class _PlainLoader(yaml.SafeLoader):
    """A safe loader with bounds."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node, unless it is an alias or too deep."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        mark: Any = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not taken: write the value out", mark)
        if self._depth >= _MOST_DEPTH:
            told = f"lists and mappings may be {_MOST_DEPTH} deep at most"
            raise yaml.composer.ComposerError(None, None, told, mark)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Construct a value, or say where it is none."""
        try:
            value = super().construct_object(node, deep)
        except _FAULTS as error:
            told = f"no value of {node.tag.rpartition(':')[2]}"
            raise yaml.constructor.ConstructorError(None, None, told, node.start_mark) from error
        if isinstance(value, int) and value.bit_length() > _MOST_BITS:
            raise yaml.constructor.ConstructorError(None, None, "a whole number that is too large", node.start_mark)
        return value
