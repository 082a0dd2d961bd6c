"""The command line: every parameter is a flag, sources have their order, and errors have their exit codes."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from commands import keeping_process_state

from processor.cli import commands as cli
from processor.cli import config as config_command
from processor.cli.commands import main
from processor.cli.flags import read_config, spell_out
from processor.cli.run import find_created
from processor.config import Config, Parameter, iter_parameters, load_config, parse_value
from processor.errors import ConfigError, ExistsError, InputError, MosaicError, StorageError
from processor.version import read_version

PARAMETERS = list(iter_parameters())


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("MOSAIC_") or name == "SOURCE_DATE_EPOCH"]:
        monkeypatch.delenv(name)
    with keeping_process_state():
        yield


def read_flags(*flags: str, environment: dict[str, str] | None = None) -> Config:
    options = cli.build_parser().parse_args(["run", "in.json", "--output", "out", *flags])
    assert options.input == ["in.json"]
    return read_config(options, environment=environment or {})


def read_errors(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def example_of(parameter: Parameter) -> str:
    return str((parameter.field.examples or [None])[0])


SECTIONS = list(dict.fromkeys(parameter.section for parameter in PARAMETERS))


@pytest.mark.parametrize("section", SECTIONS)
def test_every_parameter_is_a_flag_in_both_spellings_and_as_two_words_or_one(section: str) -> None:
    texts = {parameter.path: example_of(parameter) for parameter in PARAMETERS if parameter.section == section}
    expected = load_config(flags={path: parse_value(text) for path, text in texts.items()}, environment={})
    for spelled in (texts, {path.replace("_", "-"): text for path, text in texts.items()}):
        assert read_flags(*(word for path, text in spelled.items() for word in (f"--{path}", text))) == expected
        assert read_flags(*(f"--{path}={text}" for path, text in spelled.items())) == expected


@pytest.mark.parametrize("section", SECTIONS)
def test_every_parameter_can_come_from_the_environment_and_a_flag_wins(section: str) -> None:
    parameters = [parameter for parameter in PARAMETERS if parameter.section == section]
    environment = {f"MOSAIC_{section.upper()}__{parameter.name.upper()}": example_of(parameter) for parameter in parameters}
    expected = {parameter.path: parse_value(example_of(parameter)) for parameter in parameters}
    assert read_flags(environment=environment) == load_config(flags=expected, environment={})
    # null means "not given here" in a file and in the environment
    defaults = {parameter.path: parameter.field.default for parameter in parameters if parameter.field.default is not None}
    flags = (f"--{path}={yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}" for path, value in defaults.items())
    assert read_flags(*flags, environment=environment) == load_config(flags={**expected, **defaults}, environment={})


def test_help_names_every_parameter_with_its_description(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["run", "--help"])
    assert stopped.value.code == 0
    words = " ".join(capsys.readouterr().out.split())
    for parameter in PARAMETERS:
        assert f"--{parameter.path} " in words
        assert " ".join((parameter.field.description or "?").split()) in words


@pytest.mark.parametrize("columns", [80, 120])
def test_help_fits_the_terminal_and_begins_with_a_short_usage(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "usage: mosaic-processor run (INPUT ... | --api URL) --output DEST [options]"
    prose = [line for line in lines if not line.lstrip().startswith("--")]  # the values of a flag are not broken
    assert max(map(len, prose)) <= columns
    assert "examples:" in lines
    assert any(line.startswith("exit codes:") for line in lines)


def test_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"mosaic-processor {read_version()}\n"


def test_config_prints_a_sample_that_is_the_default_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 0
    document = yaml.safe_load(capsys.readouterr().out)
    assert load_config(document=document, environment={}) == load_config(environment={})


@pytest.mark.parametrize("word", ["", "=true", "=yes", "=on"])
def test_a_boolean_flag_without_a_value_means_true(word: str) -> None:
    assert read_flags(f"--shared.debug_logs{word}").shared.debug_logs


def test_a_boolean_flag_takes_no_input_for_its_value() -> None:
    options = cli.build_parser().parse_args(["run", "--output", "out", "--shared.debug_logs", "a.tif", "b.tif"])
    assert options.input == ["a.tif", "b.tif"]
    assert read_config(options, environment={}).shared.debug_logs
    assert not read_flags("--shared.debug_logs", "False").shared.debug_logs


@pytest.mark.parametrize("words", [("--memory", "2"), ("--memory=2",), ("--shared.memory", "2")])
def test_memory_may_be_set_by_its_short_name(words: tuple[str, ...]) -> None:
    options = cli.build_parser().parse_args(["run", "in.json", "--output", "out", *words])
    assert read_config(options, {}).shared.memory == 2


@pytest.mark.parametrize("text", ["-9999", "-3.4028234663852886e+38", "-1e38"])
def test_a_value_may_be_negative(text: str) -> None:
    assert read_flags("--shared.custom_nodata_value", text).shared.custom_nodata_value == float(text)


@pytest.mark.parametrize("text", ["02", "on", "2024-01-01", "B04", "1.0"])
def test_where_text_is_meant_a_number_is_text_too(text: str) -> None:
    assert read_flags("--inputs.asset", text).inputs.asset == text


def test_what_is_no_parameter_is_left_as_it_is() -> None:
    for text in ("run my-scene.tif --item-id a-b --shared.no-such x", "-- --align-rasters.tap"):
        assert spell_out(text.split()) == text.split()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "COMMAND"),
        (["run"], "--output"),
        (["mosaic"], "invalid choice"),
        (["run", "in.json", "--output", "o", "--overwrit"], "did you mean --overwrite?"),
        (["run", "in.json", "--output", "o", "--shared.tile_thread", "2"], "did you mean --shared.tile_threads?"),
        (["run", "in.json", "--output", "o", "--shared.cache"], "expected one argument"),
        (["run", "in.json", "--output", "o", "--shared.cache", "lots"], "shared.cache = 'lots'"),
        (["run", "in.json", "--output", "o", "--shared.window_size", "100"], "multiple of 16"),
        (["run", "in.json", "--output", "o", "--item-id", "../up"], "not a safe file name"),
        (["run", "in.json", "--output", "o", "--created", "tomorrow"], "--created 'tomorrow' is not a time"),
        (["run", "in.json", "--output", "https://example.org/o"], "read only"),
        (["run", "in.json", "--output", "ftp://example.org/o"], "not supported"),
        (["run", "in.json", "--output", "/dev/null/o"], "is not a folder"),
        (["run", "in.json", "--output", "o", "--config", "/nowhere.yaml"], "--config /nowhere.yaml"),
    ],
)
def test_what_makes_no_sense_is_refused_with_code_2_and_one_line_that_says_why(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    (line,) = read_errors(capsys)
    assert (line["event"], line["level"], line["exit_code"]) == ("configuration-refused", "error", 2)
    assert said in line["message"]


@pytest.mark.parametrize(
    ("error", "code", "event"),
    [
        (ConfigError("bad option"), 2, "configuration-refused"),
        (InputError("bad scene"), 13, "refused"),
        (ExistsError("taken"), 13, "refused"),
        (StorageError("no answer"), 1, "failed-for-now"),
        (cli._Interrupted(signal.SIGINT), 130, "interrupted"),
        (cli._Interrupted(signal.SIGTERM), 143, "interrupted"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_each_kind_of_error_has_its_exit_code(
    error: BaseException, code: int, event: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(options: object) -> str:
        del options
        raise error

    monkeypatch.setattr(config_command, "execute", fail)
    assert main(["config"]) == code
    (line,) = read_errors(capsys)
    assert (line["event"], line["exit_code"]) == (event, code)
    if isinstance(error, MosaicError):
        assert line["message"] == str(error)
        assert line["kind"] == type(error).__name__


def test_an_error_that_nobody_expected_is_one_json_line_and_keeps_its_traceback_in_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(options: object) -> str:
        del options
        msg = "a bug"
        raise ZeroDivisionError(msg)

    monkeypatch.setattr(config_command, "execute", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert main(["config"]) == 70
    (line,) = read_errors(capsys)
    assert (line["event"], line["exit_code"]) == ("crashed", 70)
    assert "traceback" not in line
    (file,) = tmp_path.iterdir()
    assert str(file) in line["message"]
    assert line["traceback_file"] == str(file)
    assert "raise ZeroDivisionError(msg)" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MemoryError(), 1, "--shared.memory"),
        (RuntimeError("can't start new thread"), 1, "--shared.tile_threads"),
        (OSError(errno.ENOSPC, "no space"), 1, "TMPDIR"),
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"), 2, "TMPDIR"),
        (RuntimeError("anything else"), 70, "bug"),
        (FileNotFoundError(errno.ENOENT, "a file that should be there"), 70, "bug"),
    ],
)
def test_what_the_machine_lacks_is_no_bug(
    error: Exception, code: int, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(options: object) -> str:
        del options
        raise error

    monkeypatch.setattr(config_command, "execute", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert main(["config"]) == code
    (line,) = read_errors(capsys)
    assert line["exit_code"] == code
    assert said in line["message"]
    assert "traceback" not in line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_and_those_that_follow_do_not_disturb_cleaning_up(
    number: signal.Signals, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    cleaned = []

    def command(options: object) -> str:
        del options
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(signal.SIGTERM)
            cleaned.append(True)
        return ""

    monkeypatch.setattr(config_command, "execute", command)
    inherited = signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(number, inherited))  # a signal that was ignored would stay so
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    assert main(["config"]) == 128 + number
    assert cleaned == [True]
    assert number.name in read_errors(capsys)[0]["message"]
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_signal_that_a_library_turned_into_an_error_of_its_own_is_a_signal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    def command(options: object) -> str:
        del options
        try:
            signal.raise_signal(signal.SIGTERM)
        except BaseException as error:  # noqa: BLE001 - as Rust does
            msg = f"error building a schema: {error}"  # which pydantic does
            raise ValueError(msg) from None
        return ""

    monkeypatch.setattr(config_command, "execute", command)
    inherited = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    request.addfinalizer(lambda: signal.signal(signal.SIGTERM, inherited))
    assert main(["config"]) == 143
    (line,) = read_errors(capsys)
    assert (line["event"], line["exit_code"], line["kind"]) == ("interrupted", 143, "ValueError")


class Dying:
    """Whose destructor a signal comes in: what is raised there reaches nobody."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


def lose_in_a_library() -> None:
    with contextlib.suppress(BaseException):
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("lose", [lose_in_a_library, Dying])
def test_a_signal_whose_exception_vanishes_ends_the_command_all_the_same(
    lose: Callable[[], object],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    reached = []

    def command(options: object) -> str:
        del options
        lose()
        time.sleep(20)
        reached.append(True)
        return ""

    monkeypatch.setattr(config_command, "execute", command)
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    inherited = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    request.addfinalizer(lambda: signal.signal(signal.SIGTERM, inherited))
    assert main(["config"]) == 143
    assert reached == []
    (line,) = read_errors(capsys)
    assert (line["event"], line["exit_code"]) == ("interrupted", 143)


def test_a_signal_that_was_ignored_before_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    def command(options: object) -> str:
        del options
        signal.raise_signal(signal.SIGHUP)
        return ""

    monkeypatch.setattr(config_command, "execute", command)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert main(["config"]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("given", "epoch", "expected"),
    [
        ("2026-01-31T12:00:00Z", None, "2026-01-31T12:00:00Z"),
        ("2026-01-31T14:00:00+02:00", "0", "2026-01-31T12:00:00Z"),
        ("2026-01-31T12:00:00", None, "2026-01-31T12:00:00Z"),
        (None, "1769860800", "2026-01-31T12:00:00Z"),
    ],
)
def test_the_time_of_creation_is_the_flag_or_the_environment_in_utc(
    given: str | None, epoch: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if epoch is not None:
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    assert find_created(given) == expected


@pytest.mark.parametrize("epoch", ["soon", "1e3", "99999999999999999999"])
def test_an_epoch_that_is_no_time_is_refused(epoch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    with pytest.raises(ConfigError, match="SOURCE_DATE_EPOCH"):
        find_created(None)


def test_an_empty_epoch_means_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "")
    assert find_created(None) > "2020"


def test_a_reader_that_has_gone_is_no_crash(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as gone:
        monkeypatch.setattr("sys.stdout", gone)
        assert main(["config"]) == 1
    monkeypatch.undo()
    (line,) = read_errors(capsys)
    assert line["event"] == "output-unread"


def test_on_a_terminal_places_are_listed_instead_of_the_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    from processor.execution import run as runs

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assets = {"mosaic": {"href": "./mosaic.tif"}, "report_page": {"href": "./report.html"}}
    outcome = runs.Outcome(
        item={"id": "m", "properties": {"mosaic:verdict": "look"}, "assets": assets, "links": []},
        folder="s3://bucket/m",
        already_done=False,
        findings=(),
    )
    plan = SimpleNamespace(config=load_config(environment={}))
    monkeypatch.setattr(runs, "prepare", lambda *_: runs.Prepared(plan=plan, digest="d", item_id="m", findings=()))  # type: ignore[arg-type]
    monkeypatch.setattr(runs, "execute", lambda *_, **__: outcome)
    files = {"item": "m.json", "mosaic": "mosaic.tif", "report": "report.html"}
    listed = "".join(f"{title:<8} s3://bucket/m/{name}\n" for title, name in files.items()) + "verdict  look\n"
    for stream, expected in (
        (Terminal(), listed),
        (io.StringIO(), json.dumps(outcome.item_collection) + "\n"),
    ):
        monkeypatch.setattr("sys.stdout", stream)
        assert main(["run", "in.json", "--output", "s3://bucket"]) == 0
        assert stream.getvalue() == expected
