"""The command `run`, and the functions that `plan` shares with it."""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from processor.cli.flags import add_parameters, list_flags_given, read_config, spell_out
from processor.cli.parser import OptionParser, format_raw
from processor.cli.search_flags import add_search_options, read_search
from processor.errors import ConfigError, NothingFoundError
from processor.process.logs import configure_logging, log_event
from processor.publish.thresholds import VERDICT_PROPERTY, parse_threshold
from processor.storage.url import absolute_path

if TYPE_CHECKING:
    from processor.execution.run import Outcome, Request
    from processor.process.progress import Tracker
    from processor.publish.item import Prepared

_LOGGER = logging.getLogger(__name__)

_EXECUTORS: Final = ("local", "tasks", "kubernetes")
_USAGE: Final = "%(prog)s (INPUT ... | --api URL) --output DEST [options]"
_DESCRIPTION: Final = """\
Make a mosaic of overlapping scenes: DEST/ID/mosaic.tif, a STAC Item and a
quality report beside it, and all that it can be made again from. The
ItemCollection of the result goes to standard output (on a terminal: where the
files are), all else to standard error."""
_EPILOG: Final = """\
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
  0         done, or done before (with --allow-empty also: nothing found)
  1         storage, the network or the machine failed: try again
  2         usage or configuration
  13        bad input: trying again is useless
  70        a bug: please report it
  130, 143  interrupted by Ctrl-C or SIGTERM: the same command does it again"""


def add_options(parser: OptionParser) -> None:
    """Add the options."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    add_run_options(parser)
    parser.add_argument(
        "--executor",
        choices=_EXECUTORS,
        default="local",
        help="who does the work: local, this process with scratch files on this machine; tasks, this process with results in "
        "DEST/.work, so that the same command goes on where it was interrupted; kubernetes, Jobs (default: %(default)s)",
    )
    parser.add_argument(
        "--allow-empty",
        action="store_true",
        help="exit code 0, not 13, where the search of --api finds no Item, for runs by a timetable",
    )


def add_run_options(parser: OptionParser) -> None:
    """Add the options that `run` and `plan` have in common."""
    parser.usage, parser.formatter_class, parser.spell = _USAGE, format_raw, spell_out
    parser.add_argument(
        "input",
        nargs="*",
        metavar="INPUT",
        help="an ItemCollection, Catalog or Collection (path, URL, or - for standard input), a folder, a quoted pattern, or "
        "rasters (GeoTIFF, JPEG 2000)",
    )
    parser.add_argument("--output", required=True, metavar="DEST", help="folder path or URL; the mosaic goes to DEST/ID/")
    parser.add_argument("--item-id", metavar="ID", help="id of the Item (default: made from the inputs and the configuration)")
    parser.add_argument("--config", metavar="FILE", help="configuration, a YAML file (path or URL)")
    parser.add_argument("--overwrite", action="store_true", help="replace what exists under this id")
    parser.add_argument(
        "--collection",
        metavar="FILE|ID",
        help="Collection that gets the Item: a .json (path or URL), or the id of DEST/collection.json, made if need be",
    )
    parser.add_argument(
        "--post", metavar="URL", help="STAC API that gets the Item, and the Collection if it has none (token: STAC_POST_TOKEN)"
    )
    parser.add_argument(
        "--fail-on",
        action="append",
        default=[],
        metavar="CONDITION",
        help="exit code 13, and no Collection or API gets the Item, where the report's summary meets this, such as "
        "verdict=bad or 'coverage<1'; repeatable",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and what it will cost, and stop")
    parser.add_argument(
        "--created",
        metavar="TIME",
        help="RFC 3339 time for the Item's 'created' (default: SOURCE_DATE_EPOCH, else now)",
    )
    add_search_options(parser)
    add_parameters(parser)


def find_created(text: str | None) -> str:
    """Creation time, RFC 3339 in UTC: from ``--created``, else SOURCE_DATE_EPOCH, else now.

    Raises
    ------
    ConfigError
        If the text is no time.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        if text is not None:
            created = datetime.fromisoformat(text)
        elif epoch:
            created = datetime.fromtimestamp(int(epoch), UTC)
        else:
            created = datetime.now(UTC)
    except (ValueError, OverflowError, OSError) as error:
        source = f"--created {text!r}" if text is not None else f"SOURCE_DATE_EPOCH {epoch!r}"
        msg = f"{source} is not a time: {error}; write --created 2026-01-31T12:00:00Z or SOURCE_DATE_EPOCH=1769860800"
        raise ConfigError(msg) from error
    if created.tzinfo is None:
        created = created.replace(tzinfo=UTC)
    return created.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def prepare_run(options: argparse.Namespace) -> tuple[Request, Prepared, Tracker]:
    """Read the input, open the scenes, and plan.

    Raises
    ------
    MosaicError
        An option, the configuration or the input cannot be used, or storage failed.
    """
    config, created, search = read_config(options), find_created(options.created), read_search(options)
    if (search is None) == (not options.input):
        found = "both are given" if options.input else "the following arguments are required: INPUT"
        msg = f"{found}: name scenes, or a STAC API with --api URL"
        raise ConfigError(msg)
    thresholds = tuple(parse_threshold(text) for text in options.fail_on)
    configure_logging(debug=config.shared.debug_logs)

    from processor.execution.run import Request, prepare  # noqa: PLC0415 - the engine takes seconds: not for a mistyped option
    from processor.process.progress import choose_tracker  # noqa: PLC0415

    gc.freeze()  # what was loaded stays: no collection need look through it
    request = Request(
        inputs=tuple(options.input) if search is None else search,
        destination=options.output,
        item_id=options.item_id,
        overwrite=options.overwrite,
        created=created,
        stdin=sys.stdin.buffer,
        collection=options.collection,
        post=options.post,
        thresholds=thresholds,
        read_from=() if options.config is None else (options.config,),
    )
    tracker = choose_tracker()
    prepared = prepare(request, config, tracker)
    configure_logging(debug=prepared.plan.config.shared.debug_logs, run=prepared.item_id)
    return request, prepared, tracker


def describe_plan(request: Request, prepared: Prepared) -> str:
    """The plan with estimates of time and memory, for ``--dry-run``."""
    from processor.mosaic.plan_document import render_plan  # noqa: PLC0415 - as above

    item = request.find_destination(prepared).absolute_item_url
    return render_plan(prepared.plan, item=item, digest=prepared.digest)


def execute(options: argparse.Namespace) -> str:
    """Make the mosaic; returns its ItemCollection, or on a terminal the paths of its main files.

    Raises
    ------
    ConfigError
        If pods would lack a secret that was set by a flag, or ``--allow-empty`` is given without a search.
    MosaicError
        An option, the configuration or the input cannot be used, or storage failed.
    """
    if options.allow_empty and options.api is None:
        msg = "--allow-empty is of a search: name the STAC API with --api URL"
        raise ConfigError(msg)
    try:
        request, prepared, tracker = prepare_run(options)
    except NothingFoundError as error:
        if not options.allow_empty:
            raise
        log_event(_LOGGER, "nothing-found", f"{error}; nothing was made, which --allow-empty allows")
        empty = {"type": "FeatureCollection", "features": []}
        return "" if options.dry_run or sys.stdout.isatty() else _render_collection(empty)
    if options.dry_run:
        return describe_plan(request, prepared)
    if options.executor == "kubernetes":
        secret = next((parameter.path for parameter in list_flags_given(options) if parameter.is_secret), None)
        if secret is not None:
            msg = f"--{secret} would not reach the pods, which take secrets from the environment of the coordinator's pod alone"
            raise ConfigError(msg)
        from processor.execution.kubernetes.phase_jobs import execute_kubernetes  # noqa: PLC0415 - as above

        outcome = execute_kubernetes(request, prepared, tracker)
    else:
        from processor.execution.run import execute as execute_here  # noqa: PLC0415 - as above
        from processor.execution.tasks import Cut  # noqa: PLC0415

        outcome = execute_here(request, prepared, tracker, cut=Cut() if options.executor == "tasks" else None)
    if sys.stdout.isatty():
        return list_files(outcome)
    return _render_collection(outcome.item_collection)


def _render_collection(collection: Mapping[str, Any]) -> str:
    return json.dumps(collection, ensure_ascii=False, allow_nan=False) + "\n"


def list_files(outcome: Outcome) -> str:
    """Paths or URLs of a mosaic's main files and the verdict on it, one a line."""
    base = absolute_path(outcome.folder)
    wanted = {"mosaic": "mosaic", "preview": "overview", "report": "report_page"}
    assets = outcome.item["assets"]
    lines = [("item", f"{outcome.item['id']}.json")]
    lines += [(title, assets[key]["href"].removeprefix("./")) for title, key in wanted.items() if key in assets]
    told = [(title, f"{base.rstrip('/')}/{name}") for title, name in lines]
    if VERDICT_PROPERTY in outcome.item["properties"]:
        told.append(("verdict", outcome.item["properties"][VERDICT_PROPERTY]))
    return "".join(f"{title:<8} {words}\n" for title, words in told)
