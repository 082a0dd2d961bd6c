"""The program `mosaic-processor`: its commands, its signals, and its exit codes, which no other module knows.

0: done, or done already. 1: storage, the network or the machine failed, another attempt may help. 2: usage or configuration.
13: bad input, another attempt is useless. 70: a bug of this program, another attempt is useless. 129, 130, 143: interrupted
(hang-up, Ctrl-C, SIGTERM); the same command does the work again.

Each command is a module of this package, loaded when the command is called: ``add_options`` adds its options to its parser,
``execute`` runs it and returns the text for standard output. It imports what its options need. Numpy, GDAL and the other
libraries of a run are imported after the options have been checked.
"""

from __future__ import annotations

import _thread
import errno
import logging
import math
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import FrameType, ModuleType
from typing import Final, TextIO

from processor.cli.parser import OptionParser
from processor.errors import ConfigError, MosaicError, TransientError
from processor.process.logs import configure_logging, log_crash, log_event
from processor.process.memory import tune_process
from processor.process.surroundings import keep_proj_offline, open_missing_streams, pin_locale
from processor.redaction import escape_controls
from processor.version import read_version

DONE: Final = 0
TRANSIENT: Final = 1
USAGE: Final = 2
PERMANENT: Final = 13
BUG: Final = 70

_ERRORS: Final[tuple[tuple[type[MosaicError], str, int], ...]] = (
    (ConfigError, "configuration-refused", USAGE),
    (TransientError, "failed-for-now", TRANSIENT),
    (MosaicError, "refused", PERMANENT),
)

_EXHAUSTED: Final = frozenset({errno.ENOMEM, errno.EAGAIN, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE})

_NAME: Final = "mosaic-processor"
_COMMANDS: Final[Mapping[str, str]] = {
    "run": "make a mosaic",
    "plan": "plan a run that is done by tasks",
    "task": "do a shard of a phase of a planned run",
    "status": "print how far a run by tasks is",
    "config": "print a commented sample of the whole configuration",
    "demo": "make sample scenes with a known truth, and a mosaic of them",
}
_DESCRIPTION: Final = "Seamless, radiometrically matched mosaics: overlapping scenes in, one COG and one STAC Item out."
_EPILOG: Final = "`mosaic-processor demo` makes a first mosaic; `mosaic-processor run --help` lists everything that can be set."

_LOGGER = logging.getLogger("processor.cli.commands")  # not __name__, which is __main__ under `python -m`
_SIGNALS: Final = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_PATIENCE: Final = 5.0  # seconds
_MOMENT: Final = 0.05  # seconds in which a destructor ends


class _Interrupted(BaseException):
    """A signal asked to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns
    -------
    The exit code.
    """
    open_missing_streams()
    pin_locale()
    keep_proj_offline()
    configure_logging()
    tune_process()
    try:
        return _run(arguments)
    finally:
        _flush_errors()


def _run(arguments: Sequence[str] | None) -> int:
    try:
        with _signals():
            words = list(sys.argv[1:] if arguments is None else arguments)
            # Some workflow runners pass an image's entrypoint the whole command line, others replace the entrypoint.
            options = build_parser().parse_args(words[words[:1] == [_NAME] :])
            return _print(_load(options.command).execute(options))
    except MosaicError as error:
        event, code = next((event, code) for kind, event, code in _ERRORS if isinstance(error, kind))
        log_event(_LOGGER, event, str(error), level=logging.ERROR, exit_code=code, kind=type(error).__name__)
        return code
    except _Interrupted as error:
        code = 128 + error.number
        message = (
            f"interrupted by {signal.Signals(error.number).name}: scratch files were removed and nothing half-written was "
            "published; the same command does the work again"
        )
        became = {} if error.__cause__ is None else {"kind": type(error.__cause__).__name__}
        log_event(_LOGGER, "interrupted", message, level=logging.WARNING, exit_code=code, **became)
        return code
    except Exception as error:  # noqa: BLE001 - the last place there is: what arrives here is told and has an exit code
        event, message, code = _judge(error)
        if code == BUG:
            log_crash(error, exit_code=code)
        else:
            message = f"{message} ({type(error).__name__}: {error})"
            log_event(_LOGGER, event, message, level=logging.ERROR, exit_code=code, kind=type(error).__name__)
        return code


def _judge(error: Exception) -> tuple[str, str, int]:
    """Event, message and exit code of an error of no kind of ours: the machine's limits and folders, else a bug."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, MemoryError):
        return "exhausted", "memory ran out: give more, or lower --shared.memory or --shared.tile_threads", TRANSIENT
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return "exhausted", "threads ran out: raise their limit, or lower --shared.tile_threads and io_threads", TRANSIENT
    if number in _EXHAUSTED:
        return "exhausted", "memory, space, processes or open files ran out: raise the limits, or set TMPDIR", TRANSIENT
    if number == errno.ENOENT and "No usable temporary directory" in str(error):
        return "configuration-refused", "no folder takes temporary files: set TMPDIR to one that can be written", USAGE
    if number == errno.ENOENT and not _has_working_directory():
        return "configuration-refused", "the working directory was deleted: change into one that exists", USAGE
    return "crashed", "", BUG


def _has_working_directory() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def build_parser() -> OptionParser:
    """Parser of the whole command line; ``command`` in its result is the name of the command."""
    parser = OptionParser(prog=_NAME, description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"{_NAME} {read_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    for name, text in _COMMANDS.items():
        commands.add_parser(name, help=text, add_options=lambda own, name=name: _load(name).add_options(own))
    return parser


def _load(name: str) -> ModuleType:
    return import_module(f"processor.cli.{name}")


@contextmanager
def _signals() -> Iterator[None]:
    """Turn a signal into an exception. Further signals within seconds are ignored, while the run cleans up.

    An error that comes after a signal is what it was turned into on its way, as pydantic does, or what became of cleaning up.
    An exception that vanishes on its way, in a destructor or in a library, is raised again a moment later. A signal that was
    ignored before stays ignored, as nohup needs it.
    """
    came: list[tuple[int, float]] = []  # numbers and times
    raised: list[weakref.ref[_Interrupted]] = []  # the last one
    timers: list[threading.Timer] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        del frame
        if not came or time.monotonic() - came[-1][1] > _PATIENCE:
            came.append((number, time.monotonic()))
            raise make(number)

    def make(
        number: int,
    ) -> _Interrupted:  # on its own: a frame that holds an exception which holds the frame would keep it alive
        error = _Interrupted(number)
        raised[:] = [weakref.ref(error, lambda _: repeat(number))]
        return error

    def repeat(number: int) -> None:
        came.append((number, -math.inf))
        timers[:] = [threading.Timer(_MOMENT, _thread.interrupt_main, (number,))]
        timers[0].daemon = True
        timers[0].start()

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    handled = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in handled:
        signal.signal(number, interrupt)
    try:
        yield
    except Exception as error:
        if came:
            raise _Interrupted(came[0][0]) from error
        raise
    finally:
        raised.clear()
        for timer in timers:
            timer.cancel()
        for number in handled:
            signal.signal(number, before[number])


def _print(text: str) -> int:
    """Write to standard output and flush at once, so that a closed pipe or a full disk is noticed here."""
    try:
        sys.stdout.write(escape_controls(text, kept="\n\t") if sys.stdout.isatty() else text)
        sys.stdout.flush()
    except OSError as error:
        _drop(sys.stdout)
        reason = "nobody read standard output to its end" if isinstance(error, BrokenPipeError) else f"it failed: {error}"
        log_event(_LOGGER, "output-unread", f"standard output: {reason}", level=logging.WARNING)
        return TRANSIENT
    return DONE


def _flush_errors() -> None:
    """Standard error that cannot be written changes no exit code: the interpreter would end with 120."""
    try:
        sys.stderr.flush()
    except OSError:
        _drop(sys.stderr)


def _drop(stream: TextIO) -> None:
    """Let what is left of a stream go nowhere, else the interpreter complains again when it exits."""
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
