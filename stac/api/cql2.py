"""CQL2 from one encoding into another: text, JSON, and the older ``query`` extension, as far as each can say it.

Text is parsed by its grammar (OGC 21-065r2, annex B) into CQL2 JSON, from which the others are written. Functions of space and
time, arithmetic and arrays are not translated: an API that takes the filter's own encoding gets them as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

COMPARISONS: Final = ("=", "<>", "<=", ">=", "<", ">")
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![A-Za-z0-9_])
    |(?P<text>'(?:[^']|'')*')|(?P<quoted>"[^"]+")
    |(?P<word>[^\W\d][\w:]*(?:[.-]\w[\w:]*)*)|(?P<mark><=|>=|<>|!=|[=<>(),]))""",
    re.VERBOSE,
)
_MAX_LENGTH: Final = 65536
_MAX_DEPTH: Final = 64
_TIMES: Final = frozenset({"timestamp", "date"})
_QUERY_WORDS: Final[Mapping[str, str]] = {"=": "eq", "<>": "neq", "<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
_PLAIN_NAME: Final = re.compile(r"[^\W\d][\w:]*(\.\w[\w:]*)*")
_KEYWORDS: Final = frozenset({"and", "or", "not", "in", "like", "between", "is", "null", "true", "false", *_TIMES})


class UntranslatableError(ValueError):
    """What a translation cannot say; the end of a sentence."""


def parse_text(text: str) -> dict[str, Any]:
    """Parse CQL2 text into CQL2 JSON.

    Comparisons of a property and a value, ``BETWEEN``, ``IN``, ``LIKE``, ``IS NULL``, ``AND``, ``OR``, ``NOT`` and brackets;
    values are numbers, texts, ``TRUE``, ``FALSE``, ``TIMESTAMP('…')`` and ``DATE('…')``.

    Raises
    ------
    UntranslatableError
        If it is anything else.

    Examples
    --------
    >>> parse_text("eo:cloud_cover < 10")
    {'op': '<', 'args': [{'property': 'eo:cloud_cover'}, 10]}
    """
    return _Parser(text).parse()


def write_text(expression: Mapping[str, Any]) -> str:
    """Write CQL2 JSON as CQL2 text.

    Raises
    ------
    UntranslatableError
        If it holds anything but what :func:`parse_text` makes.

    Examples
    --------
    >>> write_text({"op": "<", "args": [{"property": "eo:cloud_cover"}, 10]})
    'eo:cloud_cover < 10'
    """
    return _write(expression, depth=0)


def write_query(expression: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Write CQL2 JSON as an object of the ``query`` extension, which knows conditions of single properties that all hold.

    Raises
    ------
    UntranslatableError
        If it asks for more.

    Examples
    --------
    >>> write_query({"op": "<", "args": [{"property": "eo:cloud_cover"}, 10]})
    {'eo:cloud_cover': {'lt': 10}}
    """
    query: dict[str, dict[str, Any]] = {}
    for name, word, value in _list_conditions(expression, depth=0):
        known = query.setdefault(name, {})
        if word in known and known[word] != value:
            msg = f"it compares {name!r} twice in one way"
            raise UntranslatableError(msg)
        known[word] = value
    return query


class _Parser:
    """A recursive descent over the tokens of a text."""

    def __init__(self, text: str) -> None:
        if len(text) > _MAX_LENGTH:
            msg = f"it has more than {_MAX_LENGTH} characters"
            raise UntranslatableError(msg)
        self._tokens: list[tuple[str, str]] = []
        position, end = 0, len(text.rstrip())
        while position < end:
            match = _TOKEN.match(text, position)
            if match is None:
                msg = f"{text[position:].strip()[:20]!r} is not understood"
                raise UntranslatableError(msg)
            kind = str(match.lastgroup)
            self._tokens.append((kind, match[kind]))
            position = match.end()
        self._at = 0
        self._depth = 0

    def parse(self) -> dict[str, Any]:
        expression = self._or()
        if self._at < len(self._tokens):
            self._refuse()
        return expression

    def _refuse(self) -> Any:
        found = repr(self._tokens[self._at][1][:40]) if self._at < len(self._tokens) else "its end"
        msg = f"{found} is not understood there"
        raise UntranslatableError(msg)

    def _is_word(self, *words: str) -> bool:
        kind, text = self._tokens[self._at] if self._at < len(self._tokens) else ("", "")
        return (kind == "word" and text.lower() in words) or (kind == "mark" and text in words)

    def _take(self, *words: str) -> bool:
        found = self._is_word(*words)
        self._at += found
        return found

    def _want(self, word: str) -> None:
        if not self._take(word):
            self._refuse()

    def _or(self) -> dict[str, Any]:
        return self._join("or", lambda: self._join("and", self._not))

    def _join(self, word: str, parse: Any) -> dict[str, Any]:
        parts = [parse()]
        while self._take(word):
            parts.append(parse())
        return parts[0] if len(parts) == 1 else {"op": word, "args": parts}

    def _not(self) -> dict[str, Any]:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            msg = f"it is nested more than {_MAX_DEPTH} deep"
            raise UntranslatableError(msg)
        if self._take("not"):
            found: dict[str, Any] = {"op": "not", "args": [self._not()]}
        elif self._take("("):
            found = self._or()
            self._want(")")
        else:
            found = self._predicate()
        self._depth -= 1
        return found

    def _predicate(self) -> dict[str, Any]:
        left = self._scalar()
        negated = self._take("not")
        if self._take("between"):
            low = self._scalar()
            self._want("and")
            found = {"op": "between", "args": [left, low, self._scalar()]}
        elif self._take("in"):
            self._want("(")
            listed = [self._scalar()]
            while self._take(","):
                listed.append(self._scalar())
            self._want(")")
            found = {"op": "in", "args": [left, listed]}
        elif self._take("like"):
            found = {"op": "like", "args": [left, self._scalar()]}
        elif negated:
            return dict(self._refuse())
        elif self._take("is"):
            negated = self._take("not")
            self._want("null")
            found = {"op": "isNull", "args": [left]}
        elif self._is_word(*COMPARISONS, "!="):
            mark = self._tokens[self._at][1]
            self._at += 1
            found = {"op": "<>" if mark == "!=" else mark, "args": [left, self._scalar()]}
        else:
            return dict(self._refuse())
        return {"op": "not", "args": [found]} if negated else found

    def _scalar(self) -> Any:
        kind, text = self._tokens[self._at] if self._at < len(self._tokens) else ("", "")
        word = text.lower()
        self._at += 1
        found: Any = None
        if kind == "number":
            found = int(text) if re.fullmatch(r"[+-]?\d{1,18}", text) else float(text)
        elif kind == "text":
            found = text[1:-1].replace("''", "'")
        elif kind == "quoted":
            found = {"property": text[1:-1]}
        elif kind == "word" and word in {"true", "false"}:
            found = word == "true"
        elif kind == "word" and word in _TIMES and self._take("("):
            value = self._scalar()
            self._want(")")
            found = {word: value} if isinstance(value, str) else None
        elif kind == "word" and word not in _KEYWORDS and not self._is_word("("):
            found = {"property": text}
        if found is None:
            self._at -= 1
            self._refuse()
        return found


def _arguments(expression: object, *, depth: int) -> tuple[str, Sequence[Any]]:
    """Operator and arguments of a node."""
    if depth > _MAX_DEPTH:
        msg = f"it is nested more than {_MAX_DEPTH} deep"
        raise UntranslatableError(msg)
    if isinstance(expression, Mapping) and isinstance(expression.get("op"), str) and isinstance(expression.get("args"), list):
        counts = {"not": 1, "isNull": 1, "in": 2, "like": 2, "between": 3, **dict.fromkeys(COMPARISONS, 2)}
        name, arguments = str(expression["op"]), expression["args"]
        if (name in {"and", "or"} and arguments) or counts.get(name) == len(arguments):
            return name, arguments
        msg = f"its operator {name[:40]!r} is not one of those of comparisons"
        raise UntranslatableError(msg)
    msg = "it is no expression of an op and its args"
    raise UntranslatableError(msg)


def _write(expression: object, *, depth: int) -> str:
    name, arguments = _arguments(expression, depth=depth)
    if name in {"and", "or"}:
        parts = [_write(argument, depth=depth + 1) for argument in arguments]
        return f" {name.upper()} ".join(f"({part})" for part in parts)
    if name == "not":
        return f"NOT ({_write(arguments[0], depth=depth + 1)})"
    if name == "in":
        listed = arguments[1] if isinstance(arguments[1], list) and arguments[1] else [None]
        return f"{_write_value(arguments[0])} IN ({', '.join(map(_write_value, listed))})"
    values = [_write_value(argument) for argument in arguments]
    if name == "isNull":
        return f"{values[0]} IS NULL"
    if name == "between":
        return f"{values[0]} BETWEEN {values[1]} AND {values[2]}"
    return f"{values[0]} {name.upper()} {values[1]}"


def _write_value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        return json.dumps(value)
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, Mapping) and len(value) == 1:
        ((kind, text),) = value.items()
        if kind == "property" and isinstance(text, str) and '"' not in text:
            return text if _PLAIN_NAME.fullmatch(text) and text.lower() not in _KEYWORDS else f'"{text}"'
        if kind in _TIMES and isinstance(text, str):
            return f"{kind.upper()}('{text}')"
    msg = f"it holds {json.dumps(value, default=str)[:40]}, which is no property, number, text, truth or time"
    raise UntranslatableError(msg)


def _list_conditions(expression: object, *, depth: int) -> list[tuple[str, str, Any]]:
    """Conditions that all hold: name of the property, word of the extension, value."""
    name, arguments = _arguments(expression, depth=depth)
    if name == "and":
        return [found for argument in arguments for found in _list_conditions(argument, depth=depth + 1)]
    if name in {"or", "not", "isNull"}:
        msg = f"{name.upper().replace('ISNULL', 'IS NULL')} is none of its words"
        raise UntranslatableError(msg)
    left, right = arguments[0], arguments[1]
    turned = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
    if not _is_property(left) and _is_property(right) and name in COMPARISONS:
        left, right, name = right, left, turned.get(name, name)
    if not _is_property(left):
        msg = "it compares no property with a value"
        raise UntranslatableError(msg)
    key = str(left["property"]).removeprefix("properties.")
    if name == "between":
        return [(key, "gte", _plain(right)), (key, "lte", _plain(arguments[2]))]
    if name == "in" and isinstance(right, list):
        return [(key, "in", [_plain(value) for value in right])]
    if name == "like":
        return [(key, *_match_pattern(_plain(right)))]
    return [(key, _QUERY_WORDS[name], _plain(right))]


def _is_property(value: object) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("property"), str)


def _match_pattern(pattern: object) -> tuple[str, str]:
    """The word of the extension for a pattern with % at its ends, and the text."""
    text = pattern if isinstance(pattern, str) else ""
    core = text.strip("%")
    if core and not any(mark in core for mark in "%_\\"):
        before, after = text.startswith("%"), text.endswith("%")
        return ("contains" if before and after else "endsWith" if before else "startsWith" if after else "eq"), core
    msg = f"the pattern {str(pattern)[:40]!r} has a wildcard inside"
    raise UntranslatableError(msg)


def _plain(value: object) -> Any:
    """A value as the extension has it: times are texts."""
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping) and len(value) == 1 and next(iter(value)) in _TIMES:
        return next(iter(value.values()))
    msg = "it compares a property with something that is no value"
    raise UntranslatableError(msg)
