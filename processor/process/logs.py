"""Logging to standard error: few events with many fields. Readable text on a terminal, else one JSON object a line."""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import traceback
from collections.abc import Sized
from datetime import UTC, datetime
from typing import Any, TextIO

from processor.redaction import escape_controls, hide_secrets

_OWN = ("processor", "stac")
_LOGGER = logging.getLogger(__name__)


def log_event(logger: logging.Logger, event: str, message: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Log one event.

    Parameters
    ----------
    event
        Short kebab-case word, stable across versions.
    message
        A sentence in the past tense, for people.
    fields
        JSON values, for machines.
    """
    logger.log(level, hide_secrets(message), extra={"event": event, "fields": _hide_all(fields)})


def _hide_all(value: Any) -> Any:
    """A field's value without secrets."""
    if isinstance(value, str):
        return hide_secrets(value)
    if isinstance(value, dict):
        return {name: _hide_all(member) for name, member in value.items()}
    return [_hide_all(member) for member in value] if isinstance(value, list | tuple) else value


def hide_in_record(record: logging.LogRecord) -> bool:
    """Hide secrets in a record of another library, as a filter of its logger: whatever handler it goes to."""
    record.msg, record.args = hide_secrets(record.getMessage()), ()
    return True


def count_things(things: Sized, noun: str) -> str:
    """How many there are, in words."""
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def log_crash(error: BaseException, **fields: Any) -> None:
    """Log an unexpected error; its traceback goes to a file of its own, or where there can be none, into the log."""
    path = _write_traceback(error)
    told = "this message" if path is None else path
    message = f"crashed ({type(error).__name__}: {error}): this is a bug; please report it with {told}"
    extra = {"event": "crashed", "fields": {"kind": type(error).__name__, "traceback_file": path, **fields}}
    _LOGGER.critical(message, exc_info=error if path is None else None, extra=extra)


def _write_traceback(error: BaseException) -> str | None:
    """Write the traceback to a file that only this user can read, and return its path; None where there is no place for it."""
    try:
        number, path = tempfile.mkstemp(prefix="mosaic-processor-crash-", suffix=".txt")
        with open(number, "w", encoding="utf-8", errors="backslashreplace") as file:  # noqa: PTH123 - it is open already
            file.write(_clean("".join(traceback.format_exception(error))))
    except OSError:
        return None
    return path


def _clean(text: str) -> str:
    """Lines of text without secrets, and without what a terminal obeys."""
    return escape_controls(hide_secrets(text), kept="\n\t")


class _JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, event, message, bound fields, then the event's own fields."""

    def __init__(self, bound: dict[str, Any]) -> None:
        super().__init__()
        self._bound = bound

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", record.name),
            "message": record.getMessage(),
        }
        line = line | self._bound | getattr(record, "fields", {}) | line
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return escape_controls(json.dumps(_hide_all(line), ensure_ascii=False, default=lambda value: hide_secrets(str(value))))


class _TextFormatter(logging.Formatter):
    """The message, after its level where that is not info."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        text = escape_controls(prefix + hide_secrets(record.getMessage()))
        return text + ("\n" + _clean(self.formatException(record.exc_info)) if record.exc_info else "")


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to the current ``sys.stderr``: a live progress display replaces it, to print above itself."""

    @property
    def stream(self) -> TextIO:
        """The current standard error."""
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        """Ignore the stream that the base class sets."""


def configure_logging(*, debug: bool = False, stream: TextIO | None = None, **bound: Any) -> None:
    """Log this project's events and other libraries' warnings to a stream (default stderr).

    Parameters
    ----------
    debug
        Whether single tasks are logged too.
    stream
        A terminal gets readable text, any other stream JSON.
    bound
        Fields of every JSON line, such as the run.
    """
    target = sys.stderr if stream is None else stream
    handler = _StderrHandler() if stream is None else logging.StreamHandler(stream)
    handler.setFormatter(_TextFormatter() if target.isatty() else _JsonFormatter(bound))
    for name in _OWN:
        _replace_handlers(logging.getLogger(name), handler)
        logging.getLogger(name).setLevel(logging.DEBUG if debug else logging.INFO)
        logging.getLogger(name).propagate = False
    _replace_handlers(logging.getLogger(), handler)
    logging.captureWarnings(capture=True)


def _replace_handlers(logger: logging.Logger, handler: logging.Handler) -> None:
    """Replace the handlers that this module set before; others stay."""
    others = [other for other in logger.handlers if not isinstance(other.formatter, _JsonFormatter | _TextFormatter)]
    logger.handlers[:] = [*others, handler]
