"""The command `plan`: write the manifest of a run by tasks."""

from __future__ import annotations

import argparse
from typing import Final

from processor.cli.parser import OptionParser
from processor.cli.run import add_run_options, describe_plan, prepare_run
from processor.errors import ConfigError

_DESCRIPTION: Final = """\
Plan a run that is to be done by tasks, in any number of processes: writes its
document, DEST/.work/ID/DIGEST/run.json, and prints where that is. Then, each
after the one before is complete:

  mosaic-processor task measure  --run URL
  mosaic-processor task blocks   --run URL
  mosaic-processor task solve    --run URL
  mosaic-processor task render   --run URL
  mosaic-processor task assemble --run URL

With --shards N, N processes share the tasks of a phase, each with its --index."""


def add_options(parser: OptionParser) -> None:
    """Add the options of `run`, without ``--executor``."""
    parser.description = _DESCRIPTION
    add_run_options(parser)


def execute(options: argparse.Namespace) -> str:
    """Write the document of the run; returns its URL, or with ``--dry-run`` the estimates of time and memory.

    Raises
    ------
    ConfigError
        If the Item is to be posted.
    MosaicError
        An option, the configuration or the input cannot be used, or storage failed.
    """
    from processor.execution.run import plan_tasks  # noqa: PLC0415 - the engine takes seconds to load

    if options.post is not None:
        msg = "--post takes a token, which no task is given: use `run`, which posts the Item when all tasks are done"
        raise ConfigError(msg)
    request, prepared, _ = prepare_run(options)
    return describe_plan(request, prepared) if options.dry_run else plan_tasks(request, prepared) + "\n"
