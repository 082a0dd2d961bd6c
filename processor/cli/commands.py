"""The command line: the only place that turns errors into exit codes.

0 done, or already done. 1 transient: storage or the network failed, try again. 2 usage or configuration. 13 permanent: bad
input, trying again is useless. 129, 130 and 143 interrupted (hang-up, Ctrl-C, SIGTERM); a rerun does the work again.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Final

from processor.cli.flags import OptionParser, add_parameters, read_config, spell_out
from processor.cli.search_flags import add_search_options, read_search
from processor.cli.task_commands import PLAN_DESCRIPTION, add_executor, add_task, choose_executor, run_task
from processor.config import load_config, render_sample
from processor.errors import ConfigError, MosaicError, TransientError
from processor.process.logs import configure_logging, log_crash, log_event
from processor.process.memory import tune_process
from processor.publish.thresholds import parse_threshold
from processor.version import read_version
from stac.api.request import SearchRequest

if TYPE_CHECKING:
    from processor.execution.run import Outcome, Request
    from processor.process.progress import Tracker
    from processor.publish.item import Prepared

__all__ = ["main"]

DONE: Final = 0
TRANSIENT: Final = 1
USAGE: Final = 2
PERMANENT: Final = 13

_NAME: Final = "mosaic-processor"
_LOGGER = logging.getLogger("processor.cli.commands")  # not __name__, which is __main__ under `python -m`
_SIGNALS: Final = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_PATIENCE: Final = 5.0  # seconds
_DESCRIPTION: Final = "Seamless, radiometrically matched mosaics: overlapping scenes in, one COG and one STAC Item out."
_EPILOG: Final = "`mosaic-processor demo` makes a first mosaic; `mosaic-processor run --help` lists everything that can be set."
_RUN_USAGE: Final = "%(prog)s (INPUT ... | --api URL) --output DEST [options]"
_RUN_DESCRIPTION: Final = """\
Make a mosaic of overlapping scenes: DEST/ID/mosaic.tif, a STAC Item and a
quality report beside it, and all that it can be made again from. The
ItemCollection of the result goes to standard output (on a terminal: where the
files are), all else to standard error."""
_RUN_EPILOG: Final = """\
Every parameter in a section may also stand in the file of --config
(`mosaic-processor config` prints a sample) or in the environment:
MOSAIC_SHARED__CACHE=0.5 is --shared.cache 0.5. Flags win over the environment,
that over the file. Values are YAML: 3, true, null, [20, 30]. Hyphens may stand
for underscores.

examples:
  mosaic-processor run items.json --output s3://bucket/mosaics --item-id summer
  mosaic-processor run 'scenes/*.tif' --output out --shared.tile_threads 4
  mosaic-processor run - --output out --dry-run < items.json
  mosaic-processor run --api https://earth-search.aws.element84.com/v1 \\
      --collections naip --bbox -77.1,38.8,-77,38.9 --datetime 2021 \\
      --output out

exit codes:
  0         done, or done before
  1         storage or the network failed: try again
  2         usage or configuration
  13        bad input: trying again is useless
  130, 143  interrupted by Ctrl-C or SIGTERM: the same command does it again"""


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
    configure_logging()
    tune_process()
    sys.excepthook = _show_crash
    try:
        with _signals():
            given = list(sys.argv[1:] if arguments is None else arguments)
            # Some runners of workflows hand an image's entrypoint the whole command line, others put it in its place.
            options = _build_parser().parse_args(spell_out(given[given[:1] == [_NAME] :]))
            return int(options.command(options))
    except ConfigError as error:
        return _fail("configuration-refused", error, USAGE)
    except TransientError as error:
        return _fail("failed-for-now", error, TRANSIENT)
    except MosaicError as error:
        return _fail("refused", error, PERMANENT)
    except _Interrupted as error:
        return _show_interrupted(error.number)


@contextmanager
def _signals() -> Iterator[None]:
    """Turn a signal into an exception; those that follow within seconds are ignored, while its consequences are cleaned up.

    A signal that is ignored already stays ignored, as nohup wants it.
    """
    came: list[float] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        del frame
        now = time.monotonic()
        if not came or now - came[-1] > _PATIENCE:
            came.append(now)
            raise _Interrupted(number)

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    handled = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in handled:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])


def _show_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Log what nobody expected in the same form as all else; the exit code is Python's, 1."""
    if issubclass(kind, Exception):
        log_crash(error.with_traceback(trace))
    else:
        sys.__excepthook__(kind, error, trace)


def _fail(event: str, error: MosaicError, code: int) -> int:
    log_event(_LOGGER, event, str(error), level=logging.ERROR, exit_code=code, kind=type(error).__name__)
    return code


def _show_interrupted(number: int) -> int:
    code = 128 + number
    message = (
        f"interrupted by {signal.Signals(number).name}: scratch files were removed and nothing half-written was published; "
        "the same command does the work again"
    )
    log_event(_LOGGER, "interrupted", message, level=logging.WARNING, exit_code=code)
    return code


def _build_parser() -> OptionParser:
    parser = OptionParser(prog=_NAME, description=_DESCRIPTION, epilog=_EPILOG, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"mosaic-processor {read_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    run = commands.add_parser(
        "run",
        help="make a mosaic",
        usage=_RUN_USAGE,
        description=_RUN_DESCRIPTION,
        epilog=_RUN_EPILOG,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=30),
        allow_abbrev=False,
    )
    _add_run_options(run)
    add_executor(run)
    run.set_defaults(command=_run)
    plan = commands.add_parser(
        "plan",
        help="plan a run that is done by tasks",
        usage=_RUN_USAGE,
        description=PLAN_DESCRIPTION,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=30),
        allow_abbrev=False,
    )
    _add_run_options(plan)
    plan.set_defaults(command=_plan)
    add_task(commands).set_defaults(command=_task)
    config = commands.add_parser("config", help="print a commented sample of the whole configuration")
    config.set_defaults(command=_print_config)
    demo = commands.add_parser("demo", help="make sample scenes with a known truth, and a mosaic of them")
    demo.add_argument("folder", nargs="?", default="demo-output", help="where everything goes (default: %(default)s)")
    demo.set_defaults(command=_run_demo)
    return parser


def _add_run_options(run: argparse.ArgumentParser) -> None:
    run.add_argument(
        "input",
        nargs="*",
        metavar="INPUT",
        help="an ItemCollection, Catalog or Collection (path, URL, or - for standard input), a folder, a quoted pattern, or "
        "GeoTIFFs",
    )
    run.add_argument("--output", required=True, metavar="DEST", help="folder path or URL; the mosaic goes to DEST/ID/")
    run.add_argument("--item-id", metavar="ID", help="id of the Item (default: made from the inputs and the configuration)")
    run.add_argument("--config", metavar="FILE", help="configuration, a YAML file (path or URL)")
    run.add_argument("--overwrite", action="store_true", help="replace what exists under this id")
    run.add_argument(
        "--collection",
        metavar="FILE|ID",
        help="Collection that gets the Item: a .json (path or URL), or the id of DEST/collection.json, made if need be",
    )
    run.add_argument(
        "--post", metavar="URL", help="STAC API that gets the Item, and the Collection if it has none (token: STAC_POST_TOKEN)"
    )
    run.add_argument(
        "--fail-on",
        action="append",
        default=[],
        metavar="CONDITION",
        help="exit code 13, and no Collection or API gets the Item, where the report's summary meets this, such as "
        "'coverage<1'; repeatable",
    )
    run.add_argument("--dry-run", action="store_true", help="print the plan and what it will cost, and stop")
    run.add_argument(
        "--created",
        metavar="TIME",
        help="RFC 3339 time for the Item's 'created' (default: SOURCE_DATE_EPOCH, else now)",
    )
    add_search_options(run)
    add_parameters(run)


def _find_created(given: str | None) -> str:
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        if given is not None:
            created = datetime.fromisoformat(given)
        elif epoch:
            created = datetime.fromtimestamp(int(epoch), UTC)
        else:
            created = datetime.now(UTC)
    except (ValueError, OverflowError, OSError) as error:
        source = f"--created {given!r}" if given is not None else f"SOURCE_DATE_EPOCH {epoch!r}"
        msg = f"{source} is not a time: {error}; write --created 2026-01-31T12:00:00Z or SOURCE_DATE_EPOCH=1769860800"
        raise ConfigError(msg) from error
    if created.tzinfo is None:
        created = created.replace(tzinfo=UTC)
    return created.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _find_inputs(options: argparse.Namespace) -> tuple[str, ...] | SearchRequest:
    """What is asked to be read: arguments, or a search."""
    search = read_search(options)
    if (search is None) == (not options.input):
        found = "both are given" if options.input else "the following arguments are required: INPUT"
        msg = f"{found}: name scenes, or a STAC API with --api URL"
        raise ConfigError(msg)
    return tuple(options.input) if search is None else search


def _prepare(options: argparse.Namespace) -> tuple[Request, Prepared, Tracker]:
    """Read the input, open the scenes, and plan."""
    config, created, inputs = read_config(options), _find_created(options.created), _find_inputs(options)
    thresholds = tuple(parse_threshold(text) for text in options.fail_on)
    configure_logging(debug=config.shared.debug_logs)

    from processor.execution.run import Request, prepare  # noqa: PLC0415
    from processor.process.progress import choose_tracker  # noqa: PLC0415 - the engine takes seconds to load: not for a mistyped option

    gc.freeze()  # what was loaded stays: nothing has to be looked for in it
    request = Request(
        inputs=inputs,
        destination=options.output,
        item_id=options.item_id,
        overwrite=options.overwrite,
        created=created,
        stdin=sys.stdin.buffer,
        collection=options.collection,
        post=options.post,
        thresholds=thresholds,
    )
    tracker = choose_tracker()
    prepared = prepare(request, config, tracker)
    configure_logging(debug=prepared.plan.config.shared.debug_logs, run=prepared.item_id)
    return request, prepared, tracker


def _print_plan(request: Request, prepared: Prepared) -> int:
    from processor.mosaic.estimate import render_plan  # noqa: PLC0415 - as above

    place = request.place(prepared.item_id, prepared.access).absolute_item_url
    return _print(render_plan(prepared.plan, item=place, digest=prepared.digest))


def _run(options: argparse.Namespace) -> int:
    request, prepared, tracker = _prepare(options)
    if options.dry_run:
        return _print_plan(request, prepared)
    outcome = choose_executor(options)(request, prepared, tracker)
    if sys.stdout.isatty():
        return _print(_list_places(outcome))
    return _print(json.dumps(outcome.item_collection, ensure_ascii=False, allow_nan=False) + "\n")


def _plan(options: argparse.Namespace) -> int:
    from processor.execution.executors import plan_tasks  # noqa: PLC0415 - as above

    if options.post is not None:
        msg = "--post takes a token, which no task is given: use `run`, which posts the Item when all tasks are done"
        raise ConfigError(msg)
    request, prepared, _ = _prepare(options)
    if options.dry_run:
        return _print_plan(request, prepared)
    return _print(plan_tasks(request, prepared) + "\n")


def _task(options: argparse.Namespace) -> int:
    run_task(options)
    return DONE


def _print(text: str) -> int:
    """Write to standard output, all of it now, so that a reader who has gone is noticed here."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())  # else the interpreter complains again at its end
        log_event(_LOGGER, "output-unread", "nobody read standard output to its end", level=logging.WARNING)
        return TRANSIENT
    return DONE


def _list_places(outcome: Outcome) -> str:
    """Where the most wanted files are, for people."""
    base = outcome.folder if "://" in outcome.folder else str(Path(outcome.folder).absolute())
    wanted = {"mosaic": "mosaic", "preview": "overview", "report": "report_page"}
    assets = outcome.item["assets"]
    lines = [("item", f"{outcome.item['id']}.json")]
    lines += [(title, assets[key]["href"].removeprefix("./")) for title, key in wanted.items() if key in assets]
    return "".join(f"{title:<8} {base.rstrip('/')}/{name}\n" for title, name in lines)


def _print_config(options: argparse.Namespace) -> int:
    del options
    return _print(render_sample())


def _run_demo(options: argparse.Namespace) -> int:
    from processor.execution.run import Request, run  # noqa: PLC0415
    from processor.process.progress import choose_tracker  # noqa: PLC0415 - as above
    from processor.synthetic.scenes import make_demo_scenes  # noqa: PLC0415

    folder = Path(options.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"cannot make the folder {folder}: {error.strerror}; name another one"
        raise ConfigError(msg) from error
    items = make_demo_scenes(folder / "scenes")
    log_event(_LOGGER, "scenes-made", f"made sample scenes with a known truth in {folder / 'scenes'}", items=str(items))
    request = Request(
        inputs=(str(items),),
        destination=str(folder),
        item_id="mosaic",
        overwrite=True,
        created=_find_created(None),
    )
    return _print(_list_places(run(request, load_config(), choose_tracker())))
