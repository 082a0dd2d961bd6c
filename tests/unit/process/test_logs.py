"""Events as lines: JSON where a program reads them, text where a person does."""

from __future__ import annotations

import io
import json
import logging
import tempfile
import unicodedata
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Terminal, keeping_process_state
from hypothesis import given
from hypothesis import strategies as st

from processor.process.logs import configure_logging, log_crash, log_event
from processor.redaction import hide_secrets

LOGGER = logging.getLogger("processor.somewhere")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    with keeping_process_state():
        yield


def read_lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_object_with_its_fields_and_what_is_bound() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream, run="r1", shard=3)
    log_event(LOGGER, "scene-read", "read a scene\nwith a line break", scene="ngi_é", pixels=12)
    (line,) = read_lines(stream)
    assert list(line)[:4] == ["time", "level", "event", "message"]
    assert str(line.pop("time")).endswith("Z")
    assert line == {
        "level": "info",
        "event": "scene-read",
        "message": "read a scene\nwith a line break",
        "run": "r1",
        "shard": 3,
        "scene": "ngi_é",
        "pixels": 12,
    }


def test_no_field_can_pass_for_the_level_or_the_event() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream, level="bound")
    LOGGER.error("bad", extra={"event": "true", "fields": {"event": "false", "level": "false"}})
    (line,) = read_lines(stream)
    assert (line["event"], line["level"]) == ("true", "error")


def test_a_terminal_gets_the_message_and_the_level_only_where_it_is_unusual() -> None:
    stream = Terminal()
    configure_logging(stream=stream, run="r1")
    log_event(LOGGER, "published", "published it", item="x")
    log_event(LOGGER, "contrast-lowered", "contrast is low", level=logging.WARNING)
    assert stream.getvalue() == "published it\nwarning: contrast is low\n"


@pytest.mark.parametrize(("debug", "expected"), [(False, ["info"]), (True, ["debug", "info"])])
def test_debug_events_are_logged_only_on_demand(debug: bool, expected: list[str]) -> None:
    stream = io.StringIO()
    configure_logging(stream=stream, debug=debug)
    log_event(LOGGER, "task-finished", "a task", level=logging.DEBUG)
    log_event(LOGGER, "pass-finished", "a pass")
    assert [line["level"] for line in read_lines(stream)] == expected


def test_configuring_again_replaces_and_logs_each_event_once() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logging(stream=first)
    configure_logging(stream=second, run="r2")
    log_event(LOGGER, "planned", "planned")
    logging.getLogger("elsewhere").warning("odd")
    assert first.getvalue() == ""
    assert [line["run"] for line in read_lines(second)] == ["r2", "r2"]


def test_handlers_that_someone_else_set_on_the_root_stay() -> None:
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)
    try:
        configure_logging(stream=io.StringIO())
        assert other in logging.getLogger().handlers
    finally:
        logging.getLogger().removeHandler(other)


def test_what_other_libraries_say_is_json_too() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    logging.getLogger("rasterio._env").warning("CPLE_AppDefined in %s", "a.tif")
    logging.getLogger("rasterio._env").info("of no interest")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    lines = read_lines(stream)
    assert [line["event"] for line in lines] == ["rasterio._env", "py.warnings"]
    assert lines[0]["message"] == "CPLE_AppDefined in a.tif"
    assert "DeprecationWarning: old" in str(lines[1]["message"])


def test_a_crash_is_one_line_with_its_traceback_where_no_file_can_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    stream = io.StringIO()
    configure_logging(stream=stream)
    try:
        _ = {}["nothing"]
    except KeyError as error:
        log_crash(error)
    (line,) = read_lines(stream)
    assert (line["event"], line["level"], line["kind"]) == ("crashed", "critical", "KeyError")
    assert "report it" in str(line["message"])
    assert "test_logs.py" in str(line["traceback"])


def test_standard_error_is_looked_up_at_each_event(monkeypatch: pytest.MonkeyPatch) -> None:
    # A live display replaces sys.stderr while it is shown; a handler that kept the old one would write into its bar.
    monkeypatch.setattr("sys.stderr", io.StringIO())
    configure_logging()
    later = io.StringIO()
    monkeypatch.setattr("sys.stderr", later)
    log_event(LOGGER, "planned", "planned")
    assert len(read_lines(later)) == 1


@pytest.mark.parametrize("kind", [Terminal, io.StringIO])
@given(st.text(), st.text(), st.sampled_from(["processor.somewhere", "rasterio._env"]))
def test_no_text_is_more_than_one_line_of_printable_characters(
    kind: type[io.StringIO], message: str, field: str, logger: str
) -> None:
    stream = kind()
    configure_logging(stream=stream)
    log_event(logging.getLogger(logger), "e", message, level=logging.WARNING, field=field)
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert not [
        one for one in text[:-1] if unicodedata.category(one) in {"Cc", "Cs", "Zl", "Zp"} or one in "\u202e\u2066\u061c"
    ]
    if kind is io.StringIO:
        line = json.loads(text)
        assert (line["message"], line["field"]) == (hide_secrets(message), hide_secrets(field))


def test_a_traceback_keeps_its_lines_and_nothing_else() -> None:
    stream = Terminal()
    configure_logging(stream=stream)
    try:
        int("\x1b[2J\u202e https://host/a?sig=secret")
    except ValueError:
        LOGGER.exception("failed")
    assert "Traceback (most recent call last):\n" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
    assert "secret" not in stream.getvalue().rpartition("ValueError")[2]
