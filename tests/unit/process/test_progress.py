"""Progress: results pass unchanged, and what is shown follows from the clock."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterable, Iterator
from operator import length_hint

import pytest
from commands import keeping_process_state

from processor.process.logs import configure_logging
from processor.process.progress import LogProgress, Silent, TerminalProgress, Tracker, choose_tracker


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def spend(self, seconds: Iterable[float]) -> Iterator[int]:
        """Yield 0, 1, … after as many seconds each."""
        for number, duration in enumerate(seconds):
            self.now += duration
            yield number


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    with keeping_process_state():
        stream = io.StringIO()
        configure_logging(stream=stream)
        yield stream


def read_lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.usefixtures("stream")  # which keeps the events of this test to itself
@pytest.mark.parametrize("tracker", [Silent(), LogProgress(), TerminalProgress(io.StringIO())])
@pytest.mark.parametrize("results", [[], [3], [3, 1, 2]])
def test_results_pass_unchanged_in_order_and_are_asked_for_one_at_a_time(tracker: Tracker, results: list[int]) -> None:
    passing, seen = iter(results), []
    for result in tracker.track(passing, name="measure", total=6, amount=float):
        seen.append(result)
        assert length_hint(passing) == len(results) - len(seen)
    assert seen == results


def test_an_event_comes_every_ten_seconds_and_at_the_end_with_rate_and_time_left(stream: io.StringIO) -> None:
    clock = Clock()
    tracker = LogProgress(clock)
    list(tracker.track(clock.spend([4, 4, 4, 4, 4]), name="render", total=10e6, amount=lambda _: 2e6))
    progressed, finished = read_lines(stream)
    assert progressed["event"] == "pass-progressed"
    assert progressed["message"] == "render: 60 % of 10.0 million pixels done at 0.5 Mpx/s, about 8 s left"
    assert (progressed["pixels"], progressed["pixels_total"], progressed["seconds_left"]) == (6_000_000, 10_000_000, 8.0)
    assert finished["event"] == "pass-finished"
    assert finished["message"] == "render: 10.0 million pixels done in 20.0 s (0.5 Mpx/s)"
    assert (finished["stage"], finished["seconds"], finished["pixels_per_second"]) == ("render", 20.0, 500_000.0)


def test_a_pass_over_scenes_counts_scenes(stream: io.StringIO) -> None:
    clock = Clock()
    list(LogProgress(clock).track(clock.spend([0.5, 0.5]), name="open", total=2, amount=lambda _: 1, unit="scenes"))
    (finished,) = read_lines(stream)
    assert finished["message"] == "open: 2 scenes done in 1.0 s (2.0 scenes/s)"
    assert (finished["scenes"], finished["scenes_total"]) == (2, 2)


def test_a_pass_that_takes_no_time_has_no_rate(stream: io.StringIO) -> None:
    list(LogProgress(Clock()).track([1], name="measure", total=1e6, amount=lambda _: 1e6))
    (finished,) = read_lines(stream)
    assert finished["pixels_per_second"] == 0
    assert finished["seconds_left"] is None


def test_a_pass_that_fails_is_not_said_to_have_finished(stream: io.StringIO) -> None:
    def results() -> Iterator[int]:
        yield 1
        msg = "no"
        raise ValueError(msg)

    with pytest.raises(ValueError, match="no"):
        list(LogProgress().track(results(), name="measure", total=2, amount=float))
    assert read_lines(stream) == []


def test_every_task_is_logged_on_demand(stream: io.StringIO) -> None:
    configure_logging(stream=stream, debug=True)
    list(LogProgress(Clock()).track([5, 7], name="measure", total=12, amount=float))
    tasks = [line for line in read_lines(stream) if line["event"] == "task-finished"]
    assert [(line["task"], line["pixels"], line["level"]) for line in tasks] == [(1, 5, "debug"), (2, 12, "debug")]


def test_a_terminal_sees_the_name_the_share_and_the_rate() -> None:
    terminal = Terminal()
    list(TerminalProgress(terminal).track([1, 1], name="measure", total=2e6, amount=lambda _: 1e6))
    shown = terminal.getvalue()
    assert "measure" in shown
    assert "100 %" in shown
    assert "Mpx/s" in shown


def test_events_during_a_bar_stand_on_lines_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with keeping_process_state():
        configure_logging()
        tracker = choose_tracker()
        for _ in tracker.track([1, 1], name="measure", total=2, amount=float):
            logging.getLogger("processor.test").warning("between")
    lines = [line.strip() for line in terminal.getvalue().replace("\r", "\n").splitlines()]
    assert sum(line.endswith("warning: between") for line in lines) == 2


def test_the_display_follows_the_stream() -> None:
    assert isinstance(choose_tracker(Terminal()), TerminalProgress)
    assert isinstance(choose_tracker(io.StringIO()), LogProgress)
