"""JSON of documents with many Items, in little memory."""

from __future__ import annotations

import json
from typing import Any, Final

_SHARED: Final = 16  # members of a list that is worth sharing
_PLAIN: Final = frozenset({str, int, float, bool, type(None)})


def read_text(data: bytes) -> str:
    """Text of JSON, in whichever encoding of Unicode; a ``ValueError`` where it is in none."""
    return data.decode(json.detect_encoding(data), "surrogatepass")


class Decoder:
    """Decodes JSON such that equal strings, and equal lists of plain values, are one object: Items mostly repeat each other.

    What an ItemCollection takes is two to three times its bytes then, instead of five. Nothing that is decoded may be changed
    in place. May be used from several threads, and for several documents that are alike.
    """

    def __init__(self) -> None:
        self._strings: dict[str, str] = {}
        self._lists: dict[str, list[Any]] = {}  # by their text: equality would take 1 for 1.0, and 0.0 for -0.0
        self._decoder = json.JSONDecoder(object_pairs_hook=self._share)

    def decode(self, data: bytes) -> Any:
        """Decode a document.

        Raises
        ------
        ValueError, RecursionError
            It is no JSON, or nested too deep.
        """
        return self.parse(read_text(data))

    def parse(self, text: str) -> Any:
        """Decode a text; errors as of :meth:`decode`."""
        return self._decoder.decode(text)

    def _share(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        shared: dict[str, Any] = {}
        for key, value in pairs:
            kind = type(value)
            if kind is str:
                shared[key] = self._strings.setdefault(value, value)
            elif kind is list and len(value) <= _SHARED and _PLAIN.issuperset(map(type, value)):
                shared[key] = self._lists.setdefault(repr(value), value)
            else:
                shared[key] = value
        return shared
