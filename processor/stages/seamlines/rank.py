"""An order of the scenes by an expression over what is known of them: whose pixels win where scenes cover one another.

The language is arithmetic and nothing else: numbers, names, ``+ - * /``, brackets, dates in single quotes, and the functions
``abs``, ``ceil``, ``floor``, ``max``, ``min`` and ``round``. A name is an Item's property, such as ``eo:cloud_cover``, in
double quotes where it holds other characters, or a measured figure. Instants are days: a difference of two is a number of days.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

_MOST_CHARACTERS: Final = 1000
_MOST_PARTS: Final = 200
_MOST_DEPTH: Final = 40
_DAY: Final = 86_400
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d{1,3})?)|(?P<name>[A-Za-z_][\w:.]*)|\"(?P<quoted>[^\"]+)\""
    r"|'(?P<date>[^']*)'|(?P<sign>[-+*/(),]))",
    re.ASCII,
)

_FUNCTIONS: Final[Mapping[str, tuple[Callable[..., float], int]]] = {
    "abs": (abs, 1),
    "ceil": (math.ceil, 1),
    "floor": (math.floor, 1),
    "max": (max, 2),
    "min": (min, 2),
    "round": (round, 1),
}
"""Functions and how many arguments each has."""

_OPERATORS: Final[Mapping[str, Callable[[float, float], float]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Number:
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Name:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    function: str
    arguments: tuple[_Node, ...]


_Node: TypeAlias = _Number | _Name | _Call


@dataclass(frozen=True, slots=True, kw_only=True)
class RankExpression:
    """What scenes are ranked by: the least value wins."""

    text: str
    """As it was written."""
    names: frozenset[str]
    """Names of properties and figures in it."""
    root: _Node
    """Its outermost operation."""

    def evaluate(self, known: Mapping[str, Any]) -> float | None:
        """Its value for a scene of which this is known; None where a name is not, or the result is not finite.

        Numbers count, and texts that are instants by RFC 3339; nothing else is known.
        """
        try:
            value = _evaluate(self.root, known)
        except (ArithmeticError, ValueError):
            return None
        return value if value is not None and math.isfinite(value) else None


def parse_rank(text: str) -> RankExpression:
    """Read an expression.

    Raises
    ------
    ValueError
        Saying what is wrong with it, and where.

    Examples
    --------
    >>> parse_rank("eo:cloud_cover + 2 * abs(datetime - '2024-06-01')").evaluate(
    ...     {"eo:cloud_cover": 5, "datetime": "2024-06-03T12:00:00Z"}
    ... )
    10.0
    """
    if len(text) > _MOST_CHARACTERS:
        msg = f"has {len(text)} characters, and at most {_MOST_CHARACTERS} are taken"
        raise ValueError(msg)
    parser = _Parser(_split(text))
    root = parser.parse_sum(0)
    parser.expect_end()
    return RankExpression(text=text, names=frozenset(parser.names), root=root)


def rank_scenes(expression: RankExpression, scenes: Sequence[Mapping[str, Any]]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Places of the scenes, from 0, equal ones alike; those without a value share the last.

    Parameters
    ----------
    expression
        The least value comes first.
    scenes
        What is known of each.

    Returns
    -------
    The places, and the positions of the scenes without a value.
    """
    values = [expression.evaluate(known) for known in scenes]
    order = {value: place for place, value in enumerate(sorted({value for value in values if value is not None}))}
    places = tuple(len(order) if value is None else order[value] for value in values)
    return places, tuple(position for position, value in enumerate(values) if value is None)


def read_value(value: object) -> float | None:
    """A number, or an instant in days since 1970; None for anything else.

    >>> read_value("1970-01-02T12:00:00Z")
    1.5
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None
    if isinstance(value, str) and len(value) <= 40:
        try:
            instant = datetime.fromisoformat(value)
        except ValueError:
            return None
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp() / _DAY
    return None


def _evaluate(node: _Node, known: Mapping[str, Any]) -> float | None:
    if isinstance(node, _Number):
        return node.value
    if isinstance(node, _Name):
        return read_value(known.get(node.name))
    values = [_evaluate(argument, known) for argument in node.arguments]
    present = [value for value in values if value is not None]
    if len(present) < len(values):
        return None
    apply = _OPERATORS[node.function] if node.function in _OPERATORS else _FUNCTIONS[node.function][0]
    return float(apply(*present))


def _split(text: str) -> list[tuple[str, str, int]]:
    """Tokens: kind, text and where it begins, from 1."""
    tokens, at = [], 0
    rest = text.rstrip()
    while at < len(rest):
        found = _TOKEN.match(rest, at)
        if found is None or found.lastgroup is None:
            where = len(rest) - len(rest[at:].lstrip())
            msg = f"cannot be read from character {where + 1} on: {rest[where : where + 20]!r}"
            raise ValueError(msg)
        tokens.append((found.lastgroup, found[found.lastgroup], found.start(found.lastgroup) + 1))
        at = found.end()
    if len(tokens) > _MOST_PARTS:
        msg = f"has {len(tokens)} parts, and at most {_MOST_PARTS} are taken"
        raise ValueError(msg)
    return tokens


class _Parser:
    """Reads tokens from left to right; products bind more closely than sums."""

    def __init__(self, tokens: Sequence[tuple[str, str, int]]) -> None:
        self._tokens, self._at = tokens, 0
        self.names: set[str] = set()

    def parse_sum(self, depth: int) -> _Node:
        node = self._parse_product(depth)
        while (sign := self._take("+", "-")) is not None:
            node = _Call(function=sign, arguments=(node, self._parse_product(depth)))
        return node

    def expect_end(self) -> None:
        if self._at < len(self._tokens):
            self._refuse("nothing more")

    def _parse_product(self, depth: int) -> _Node:
        node = self._parse_one(depth)
        while (sign := self._take("*", "/")) is not None:
            node = _Call(function=sign, arguments=(node, self._parse_one(depth)))
        return node

    def _parse_one(self, depth: int) -> _Node:
        if depth > _MOST_DEPTH:
            msg = f"is nested more than {_MOST_DEPTH} deep"
            raise ValueError(msg)
        if self._take("-") is not None:
            return _Call(function="-", arguments=(_Number(value=0.0), self._parse_one(depth + 1)))
        if self._take("(") is not None:
            node = self.parse_sum(depth + 1)
            self._require(")")
            return node
        if self._at == len(self._tokens):
            self._refuse("a number, a name or a bracket")
        kind, text, _ = self._tokens[self._at]
        if kind == "sign":
            self._refuse("a number, a name or a bracket")
        self._at += 1
        if kind == "number":
            return _Number(value=float(text))
        if kind == "date":
            return self._make_date(text)
        if kind == "name" and self._take("(") is not None:
            return self._parse_call(text, depth)
        self.names.add(text)
        return _Name(name=text)

    def _parse_call(self, function: str, depth: int) -> _Node:
        if function not in _FUNCTIONS:
            msg = f"has the function {function!r}, and there are {', '.join(_FUNCTIONS)}"
            raise ValueError(msg)
        arguments = [self.parse_sum(depth + 1)]
        while self._take(",") is not None:
            arguments.append(self.parse_sum(depth + 1))
        self._require(")")
        wanted = _FUNCTIONS[function][1]
        if len(arguments) != wanted:
            msg = f"gives {function} {len(arguments)} arguments; it has {wanted}"
            raise ValueError(msg)
        return _Call(function=function, arguments=tuple(arguments))

    def _make_date(self, text: str) -> _Node:
        value = read_value(text)
        if value is None:
            msg = f"has the date {text!r}; one is written '2024-06-01' or '2024-06-01T12:00:00Z'"
            raise ValueError(msg)
        return _Number(value=value)

    def _take(self, *signs: str) -> str | None:
        if self._at < len(self._tokens) and self._tokens[self._at][0] == "sign" and self._tokens[self._at][1] in signs:
            self._at += 1
            return self._tokens[self._at - 1][1]
        return None

    def _require(self, sign: str) -> None:
        if self._take(sign) is None:
            self._refuse(f"a {sign!r}")

    def _refuse(self, wanted: str) -> None:
        if self._at < len(self._tokens):
            _, text, where = self._tokens[self._at]
            msg = f"has {text!r} at character {where}, where {wanted} is expected"
        else:
            msg = f"ends where {wanted} is expected"
        raise ValueError(msg)
