"""How much of a test `make test` does: what is marked ``exhaustive`` and most random examples wait for `make test-all`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import hypothesis
import pytest

EXAMPLES = {"usual": 30, "all": 100}  # of a hypothesis profile


def examples(count: int) -> hypothesis.settings:
    """So many random examples, or a third of them in the usual profile; two at least."""
    return hypothesis.settings(max_examples=max(2, count * hypothesis.settings().max_examples // EXAMPLES["all"]))


def exhaustive(*cases: object) -> list[Any]:
    """Cases that only `make test-all` runs."""
    return [pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.exhaustive) for case in cases]


def crossed(names: str, *axes: Sequence[object]) -> Callable[[Any], Any]:
    """Parametrise with every combination, of which `make test` runs one in as many as the shortest axis has values.

    Each value is among those, and so is each pair of values of two axes if there are three or more that are as long.
    """
    every = min(len(axis) for axis in axes)
    cases = []
    for places in itertools.product(*(range(len(axis)) for axis in axes)):
        case = tuple(axis[place] for axis, place in zip(axes, places, strict=True))
        cases += [pytest.param(*case)] if sum(places) % every == 0 else exhaustive(case)
    return pytest.mark.parametrize(names.split(), cases)
