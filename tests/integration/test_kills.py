"""Runs that are killed at random moments: a few of what `benchmarks/kill_runs.py` does by hundreds."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from kills import KINDS, Figures, Trials, draw
from servers import ObjectServer

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_is_killed_and_repeated_has_the_same_bytes_and_leaves_nothing(
    kind: str, s3_server: ObjectServer, tmp_path: Path
) -> None:
    chance, figures = random.Random(f"21 {kind}"), Figures()  # noqa: S311 - late ones, of both signals
    trials = Trials(kind, tmp_path, s3_server)
    trials.try_once("trial", *draw(chance), figures)
    assert figures.faults == []
    assert figures.sent.total() > 0
